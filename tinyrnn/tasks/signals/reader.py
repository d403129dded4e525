"""Sequences of numbers from files: folders of sound, long tables, arrays."""

import os
import re
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...base.errors import InputError, TooLargeError, few, near, shown
from ...base.files import opened
from ..tables import numbers
from ..tables.files import is_table, read_table
from ..tables.options import DateOptions, TableOptions
from ..text.sources import refuse_splits
from . import sound

SOUND, ARRAYS, HALF_A_DAY = ".wav", ".npz", 43_200
_CLOCK = re.compile(r"(?:(-?\d+) days?,? +)?(\d+):(\d{1,2})(?::(\d{1,2}(?:\.\d+)?))?")
_DAMAGE = (ValueError, OSError, EOFError, LookupError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass
class Signals:
    """Sequences, and what is known of each.

    ``names``: by which they are shown; ``values``: ``[N, channels]`` float32, of sound ``[N]``; ``fields``:
    texts, one a sequence, by name: labels, speakers ...; ``channels``: what the numbers are; ``rates``:
    samples a second of sound, else 0; ``said``: what was found.
    """

    names: list[str] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)
    fields: dict[str, list[str]] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    rates: list[int] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.names)

    def of(self, name: str, flag: str) -> list[str]:
        """The field that the option ``flag`` names; InputError if there is none."""
        if name not in self.fields:
            there = (
                near(name, self.fields, "there are")
                if self.fields
                else "nothing is known of them but their names"
            )
            raise InputError(f"{flag} names {shown(name)}, which the sequences do not have: {there}")
        return self.fields[name]


def holds_sound(path: str) -> bool:
    """Whether a path is that of a sound, or of a folder with one somewhere in it."""
    if os.path.isdir(path):
        return any(name.lower().endswith(SOUND) for _, _, files in os.walk(path) for name in files)
    return path.lower().endswith(SOUND)


def read_signals(paths, options, *, channels=(), rate=0, labelled=True) -> Signals:
    """All sequences of some files.

    Args:
        paths: sounds and folders of them; tables; or ``.npz``.
        options: ``label_column label_pattern id_column time_column columns group_column hold_out`` and those
            of tables.
        channels: what the numbers are to be; none: what there is.
        rate: of all sounds; 0: the lowest of theirs.
        labelled: whether each is to have a label.

    Raises:
        InputError: names what cannot be read.
    """
    found = Signals()
    for path in map(Path, paths):
        if not os.path.exists(path):
            raise InputError(f"{path} does not exist: give .wav, .npz, a table, or a folder of .wav")
        if holds_sound(str(path)):
            part = _sounds(path, options, labelled)
        elif os.path.isdir(path):
            raise InputError(f"{path} holds no {SOUND} file: give a folder with sounds, a table or {ARRAYS}")
        elif path.suffix.lower() == ARRAYS:
            part = _arrays(path, options, labelled)
        elif is_table(path):
            part = _rows(path, options, channels, labelled)
        else:
            raise InputError(
                f"{path}: {path.suffix or 'a file without ending'} is not known: give .wav, .npz or a table"
            )
        if len(found) and (bool(part.rates[0]), part.channels) != (bool(found.rates[0]), found.channels):
            mend = "give files of one kind"
            raise InputError(
                f"{path} has channels {few(part.channels)}, {paths[0]} has {few(found.channels)}: {mend}"
            )
        kept = part.fields.keys() & found.fields.keys() if len(found) else part.fields.keys()
        fields = {k: found.fields.get(k, []) + part.fields[k] for k in sorted(kept)}
        found = Signals(
            found.names + part.names, found.values + part.values, fields, part.channels,
            found.rates + part.rates, found.said + part.said,
        )  # fmt: skip
    if channels and found.channels != tuple(channels):
        raise InputError(
            f"{few(paths)} has channels {few(found.channels)}, the model reads {few(channels)}: give such"
        )
    if found.rates[0]:
        _at_one_rate(found, rate)
    return found


# ------------------------------------------------------------------ sound


def _sounds(path, options, labelled) -> Signals:
    files, others = [path], []
    if os.path.isdir(path):
        every = sorted(
            Path(parent, name)
            for parent, _, names in os.walk(path)
            for name in names
            if not name.startswith(".")
        )
        files = [f for f in every if f.suffix.lower() == SOUND]
        others = [f.relative_to(path) for f in every if f.suffix.lower() != SOUND]
    fields: dict[str, list[str]] = {}
    for file in files if labelled else ():
        for name, value in _named(path, file, options).items():
            fields.setdefault(name, []).append(value)
    if options.label_pattern is None:
        refuse_splits(path, fields.get(options.label_column, ()))
    read = [sound.read_wav(file) for file in files]
    said = [f"{len(others)} files that are no sounds are left out: {few(others, 3)}"] if others else []
    if mixed := sum(channels > 1 for *_, channels in read):
        said.append(f"channels are mixed down in {mixed:,} of {len(read):,} files")
    rates = [rate for _, rate, _ in read]
    return Signals([str(f) for f in files], [s for s, *_ in read], fields, ("sound",), rates, said)


def _named(path, file, options) -> dict[str, str]:
    """What folders and name of a file say."""
    inside = file.relative_to(path) if file != path else Path(file.name)
    if options.label_pattern is None:
        if len(inside.parts) < 2:
            mend = "sort sounds into folders named after their labels, or give --label-pattern"
            raise InputError(f"{file} lies in no folder of a label in {path}: {mend}")
        return {options.label_column: inside.parts[0]}
    text = Path(*file.parts[-1 - options.label_pattern.count("/") :]).as_posix()
    little, much = (r.fullmatch(text) for r in _pattern(options.label_pattern))
    if little is None or much is None:
        raise InputError(
            f"{file} is not named like --label-pattern {options.label_pattern}: rename it, or take it away"
        )
    if little.groupdict() != much.groupdict():
        ways = [", ".join(f"{k} {v}" for k, v in match.groupdict().items()) for match in (little, much)]
        mend = "rename it, or give a plainer --label-pattern"
        raise InputError(f"{file} can be read as {' or as '.join(ways)}: {mend}")
    return little.groupdict()


def _pattern(text) -> list[re.Pattern[str]]:
    """As expressions that take as little as they can for each field from the left, and as much."""
    parts = re.split(r"\{([A-Za-z_]\w*)\}", text)
    fields = parts[1::2]
    if not fields or len(set(fields)) < len(fields) or "{" in "".join(parts[::2]):
        raise InputError(
            f"--label-pattern is {shown(text)}: write it like {{label}}_{{speaker}}_{{index}}.wav"
        )
    return [
        re.compile("".join(f"(?P<{p}>[^/]+{lazy})" if i % 2 else re.escape(p) for i, p in enumerate(parts)))
        for lazy in ("?", "")
    ]


def _at_one_rate(signals, rate):
    """Bring sounds to one rate, and make them equally loud."""
    counts = Counter(signals.rates)
    to = rate or min(counts)
    if counts.keys() != {to}:
        others = few(f"{r:,} Hz ({n:,})" for r, n in sorted(counts.items()) if r != to)
        signals.said.append(f"sounds of {others} are read at {to:,} Hz")
    signals.values = [
        sound.levelled(sound.resampled(v, r, to)) for v, r in zip(signals.values, signals.rates, strict=True)
    ]
    signals.rates = [to] * len(signals)


# ------------------------------------------------------------------ tables


def _rows(path, options, channels, labelled) -> Signals:
    """Of a long table: a row is a step, rows of one id are a sequence."""
    if options.id_column is None:
        raise InputError(f"{path} is a table: name the column that tells its sequences apart by --id-column")
    how = TableOptions.of(options.entries())
    label = [options.label_column] if labelled else []
    table = read_table(path, how, options.encoding, wanted=(options.id_column, *label))
    parted: dict[str, list[int]] = {}
    for i, cell in enumerate(table.column(options.id_column, "--id-column")):
        if numbers.is_missing(cell):
            raise InputError(f"{table.at(i, options.id_column)} is empty: fill it, or delete the row")
        parted.setdefault(str(cell).strip(), []).append(i)
    said = list(table.said)
    if broken := [k for k, rows in parted.items() if rows[-1] - rows[0] >= len(rows)]:
        said.append(
            f"rows of {len(broken):,} sequences ({few(broken, 3)}) do not stand together: they are joined"
        )
    known = [
        n for n in dict.fromkeys([*label, options.group_column, _field(options.hold_out)]) if n and labelled
    ]
    flags = {options.group_column: "--group-column", options.label_column: "--label-column"}
    for name in known:
        table.column(name, flags.get(name, "--hold-out"))
    fields = {name: _constant(table, name, parted) for name in known}
    kept = {options.id_column, options.time_column, options.label_column, *known}
    columns, said_too = _channels(table, options, channels, kept)
    notation = numbers.Notation.of(table, columns)
    said_too += [f"{n} in {unit}" for n in columns if (unit := numbers.units_of(table, n))]
    values = np.stack([_column(table, name, notation) for name in columns], axis=1).astype(np.float32)
    if options.time_column is not None:
        parted, when = _by_time(table, options.time_column, parted, DateOptions.of(options.entries()))
        said_too += [f"{options.time_column}: {when}"] * bool(when)
    sequences = [values[rows] for rows in parted.values()]
    same = [c for i, c in enumerate(columns) if all((s[:, i] == s[0, i]).all() for s in sequences)]
    if same:
        said_too.append(f"{few(same)} never changes within a sequence: --columns chooses others")
    return Signals(
        list(parted),
        sequences,
        fields,
        tuple(columns),
        [0] * len(parted),
        said + said_too + [notation.said] * bool(notation.said),
    )


def _field(hold_out):
    return None if hold_out is None else hold_out.partition("=")[0].strip()


def _constant(table, name, parted):
    """The one value of a column in each sequence."""
    cells, found = table.frame[name].tolist(), []
    for key, rows in parted.items():
        values = {str(cells[i]).strip(): i for i in reversed(rows)}
        if any(numbers.is_missing(cells[i]) for i in rows):
            i = next(i for i in rows if numbers.is_missing(cells[i]))
            raise InputError(f"{table.at(i, name)} is empty: fill it, or delete the row")
        if len(values) > 1:
            (a, i), (b, j) = sorted(values.items(), key=lambda item: item[1])[:2]
            holds = f"holds {shown(a)} in row {table.rows[i]} and {shown(b)} in row {table.rows[j]}"
            raise InputError(
                f"{table.name}: column {shown(name)} of sequence {key} {holds}: bring it to one value"
            )
        found.append(next(iter(values)))
    return found


def _channels(table, options, wanted, kept):
    """Names of the columns that are channels, and what is said of the others."""
    if wanted or options.columns:
        columns = list(wanted) or [name.strip() for name in options.columns.split(",")]
        for name in columns:
            table.column(name, "--columns")
        return columns, []
    free = [c for c in table.columns if c not in kept]
    notation = numbers.Notation.of(table, free)
    columns = [c for c in free if numbers.is_numeric(table, c, notation)]
    if not columns:
        beside = few(sorted(filter(None, kept)))
        raise InputError(f"{table.name} has no numeric column beside {beside}: name some by --columns")
    others = [c for c in free if c not in columns]
    return columns, [f"left out, since they hold no numbers: {few(others)}"] if others else []


def _column(table, name, notation):
    values = notation.values(table.frame[name].tolist())
    wrong = np.flatnonzero(~np.isfinite(values) | (np.abs(values) > 1e30))
    if len(wrong):
        cell = table.frame[name][int(wrong[0])]
        holds = "is empty" if numbers.is_missing(cell) else f"holds {shown(cell)}, which is no number"
        more = f" (and {len(wrong) - 1:,} more)" if len(wrong) > 1 else ""
        raise InputError(
            f"{table.at(int(wrong[0]), name)} {holds}{more}: mend it, or leave the column out by --columns"
        )
    return values


def _by_time(table, name, parted, how):
    """Rows of each sequence in the order of a column of numbers, dates, times of day or spans of time; and
    how dates were read.
    """
    said, cells = "", table.column(name, "--time-column")
    notation = numbers.Notation.of(table, [name])
    clocks = [_CLOCK.fullmatch(str(cell).strip()) for cell in cells]
    if all(clocks):
        parts = np.array([[float(part or 0) for part in clock.groups()] for clock in clocks])
        times = parts @ (86_400, 3600, 60, 1)
        for key, rows in parted.items():
            falls = np.flatnonzero(np.diff(times[rows]) < 0)
            midnight = len(falls) == 1 and -np.diff(times[rows])[falls[0]] > HALF_A_DAY
            if midnight and not parts[:, 0].any():
                i = rows[int(falls[0]) + 1]
                holds = f"goes back to {cells[i]} in sequence {key}, which may be the day after"
                raise InputError(f"{table.at(i, name)} {holds}: give dates too, or leave --time-column out")
    elif numbers.is_numeric(table, name, notation):
        numbers.units_of(table, name)
        times = _column(table, name, notation)
    else:
        from ..tables.dates import read_dates

        groups = np.empty(len(table), object)
        for key, rows in parted.items():
            groups[rows] = key
        dates = read_dates(table, (name,), how, groups)
        times, said = dates.values, dates.said
    found = {}
    for key, rows in parted.items():
        order = np.argsort(times[rows], kind="stable")
        found[key] = [rows[i] for i in order]
        twice = np.flatnonzero(times[found[key]][1:] == times[found[key]][:-1])
        if len(twice):
            i = found[key][int(twice[0]) + 1]
            holds = f"holds {shown(str(cells[i]).strip())} twice in sequence {key}"
            raise InputError(
                f"{table.at(i, name)} {holds}: give each step a time of its own, or leave --time-column out"
            )
    return found, said


# ------------------------------------------------------------------ arrays


def _arrays(path, options, labelled) -> Signals:
    """Of ``.npz``: ``x [N, T, channels]`` or ``[N, T]``; with ``lengths [N]`` also ``[sum of lengths,
    channels]``; ``y [N]``; any other array ``[N]`` is a field.
    """
    try:
        with opened(path) as file, np.load(file, allow_pickle=False) as stored:
            held = {name: stored[name] for name in stored.files}
    except _DAMAGE as error:
        with opened(path) as file:
            begins = file.read(6)
        objects = "allow_pickle" in str(error) or "Object arrays" in str(error)
        why = "objects, which only running code could read" if objects else shown(str(error))
        if not begins.startswith((b"PK", b"\x93NUMPY", b"\x80")):
            why = "it is no file of NumPy"
        mend = "store x, lengths and y as arrays of numbers by numpy.savez"
        raise InputError(f"{path} cannot be read ({why}): {mend}") from None
    except MemoryError:
        raise TooLargeError(f"{path} does not fit into memory: give a part of it") from None
    others = [name for name, array in held.items() if not isinstance(array, np.ndarray)]
    held = {name: array for name, array in held.items() if name not in others}
    x = held.pop("x", held.pop("X", None))
    if x is None:
        raise InputError(
            f"{path} holds {few(held) or 'nothing'} and no x: store the sequences as x, the labels as y"
        )
    sequences = _parted(path, x, held.pop("lengths", None))
    for i, s in enumerate(sequences):
        if not np.isfinite(s).all() or np.abs(s).max() > 1e30:
            raise InputError(f"{path}: sequence {i} holds what is no finite number: mend it, or leave it out")
    fields = {}
    for name, array in held.items():
        if array.ndim == 1 and len(array) == len(sequences):
            fields[options.label_column if name == "y" else name] = [_text(v) for v in array.tolist()]
    if labelled and options.label_column not in fields:
        mend = "store one, or name another by --label-column"
        raise InputError(f"{path} has no labels, an array y of {len(sequences)}: {mend}")
    channels = tuple(str(i + 1) for i in range(sequences[0].shape[1]))
    left = others + [name for name in held if (options.label_column if name == "y" else name) not in fields]
    said = [f"left out of {path.name}: {few(left)}"] if left else []
    return Signals(
        [f"{path.name} {i}" for i in range(len(sequences))],
        sequences,
        fields,
        channels,
        [0] * len(sequences),
        said,
    )


def _parted(path, x, lengths) -> list[np.ndarray]:
    """Sequences ``[T_i, channels]`` of the array x."""
    if x.dtype.kind not in "fiub" or not x.size:
        raise InputError(f"{path}: x is of {x.dtype} and shape {list(x.shape)}: store numbers")
    x = x.astype(np.float64)
    if lengths is None:
        if x.ndim not in (2, 3):
            raise InputError(
                f"{path}: x has shape {list(x.shape)}: store [N, steps, channels], or lengths beside it"
            )
        return [s.reshape(len(s), -1).astype(np.float32) for s in x]
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or not len(lengths) or lengths.min() < 1:
        raise InputError(f"{path}: lengths are {shown(lengths.tolist())}: store [N] integers, 1 at least")
    whole = x.ndim == 3 and len(x) == len(lengths) and lengths.max() <= x.shape[1]
    if not whole and (x.ndim > 2 or len(x) != lengths.sum()):
        wanted = f"[{len(lengths)}, steps, channels] or [{lengths.sum()}, channels]"
        raise InputError(f"{path}: x has shape {list(x.shape)}, by its lengths {wanted} is needed: mend it")
    parts = (
        [s[:n] for s, n in zip(x, lengths, strict=True)] if whole else np.split(x, np.cumsum(lengths)[:-1])
    )
    return [s.reshape(len(s), -1).astype(np.float32) for s in parts]


def _text(value: Any) -> str:
    """A label of an array as text."""
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
