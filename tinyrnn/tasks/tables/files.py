"""Files of tables, read by pandas: CSV, TSV, JSON, Parquet, Excel, compressed or not; and frames in memory.

What separates columns, and whether the first row names them, is found by trying every way: where two fit,
both are shown in an error that asks. What was found is in ``said``. Whatever holds a table ends as a `Table`,
and everything that follows is the same for all: `_headed` decides whether a first row of CSV or Excel names
the columns, `_plain` has one sign for what is missing.
"""

import csv
import datetime
import decimal
import io
import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...base.compressed import inner_name, unpacked
from ...base.errors import InputError, TooLargeError, few, near, shown
from ...training.screen import note
from ..text.sources import lines_of, read_lines, text_of, with_line_ends
from .numbers import is_missing, looks_like_value
from .options import TableOptions

_JSON = (".jsonl", ".ndjson", ".json")
ENDINGS = (".csv", ".tsv", ".tab", *_JSON, ".parquet", ".xlsx", ".xls", ".ods")
_ENGINES = {".xlsx": "openpyxl", ".xls": "xlrd", ".ods": "odf"}
SEPARATORS = {",": "','", ";": "';'", "\t": "tabs", "|": "'|'"}
_TRIED = 1 << 18  # characters of a file that ways are tried on
_TOLD = re.compile(r'"?sep=([^"\n])"?\n')
_DATES = (datetime.date, datetime.time, datetime.timedelta)
_PRIVATE = range(0xE000, 0xF900)  # code points that no script uses
_BESIDE = "\x1f"  # separates columns where several characters do, and where nothing does
_USUAL = 0.5  # part of the rows that have as many cells as the first, of a file that is so separated


def pandas() -> Any:
    """The library.

    Raises:
        InputError: it is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise InputError("tables are read by pandas: pip install 'tinyrnn[tables]'") from None
    return pandas


@dataclass
class Table:
    """Rows and columns of a file.

    ``frame``: a pandas frame; of files of text its cells are texts, of others what these hold, None where
    that is nothing; ``rows``: the number of each row in the file, the first being 1; ``how``: as it was asked
    for; ``said``: what was found; ``separator``: what stands between columns, of a file of texts.

    Raises:
        InputError: two columns have one name.
    """

    name: str
    frame: Any
    rows: list[int]
    how: TableOptions = field(default_factory=TableOptions)
    said: list[str] = field(default_factory=list)
    separator: str = ""

    def __post_init__(self) -> None:
        name, n = next(iter(Counter(self.columns).most_common(1)), ("", 0))
        if n > 1:
            raise InputError(f"{self.name} has {n} columns {shown(name)}: rename all but one")

    @property
    def columns(self) -> list[str]:
        return list(self.frame.columns)

    def __len__(self) -> int:
        return len(self.frame)

    def column(self, name: str, flag: str) -> list[Any]:
        """The cells of a column that the option ``flag`` names; InputError if there is none."""
        if name not in self.columns:
            choice = f"choose {flag} from {few(map(shown, self.columns))}"
            found = choice if self.columns else "name its columns"
            if self.how.header is None and name.isdecimal():
                found += ", or say --no-header where the first row is data"
            raise InputError(f"{self.name} has no column {shown(name)}: {found}")
        return self.frame[name].tolist()

    def texts(self, name: str, flag: str) -> list[str]:
        """The cells of a column as texts, a number as it is written; what is missing is empty.

        Raises:
            InputError: there is no such column, or a cell holds something else.
        """
        cells = self.column(name, flag)
        for i, (cell, missing) in enumerate(zip(cells, self.frame[name].isna(), strict=True)):
            if isinstance(cell, str):
                continue
            if isinstance(cell, bytes | list | tuple | dict) or hasattr(cell, "shape"):
                raise InputError(f"{self.at(i, name)} holds {shown(cell)}, which is no text: write a text")
            cells[i] = "" if missing else str(cell)
        return cells

    def tell(self, used: Iterable[str] = ()) -> None:
        """Say what was found, and which columns are read where others are there."""
        others = [name for name in self.columns if name not in set(used)] if used else []
        read, rest = (few(c[:40] for c in names) for names in (used, others))
        said = [f"{len(self):,} rows, columns {read}; left out: {rest}"] if others else []
        if said := [*self.said, *said]:
            note(f"{self.name}: {'; '.join(said)}")

    def at(self, i: int, name: str) -> str:
        """Where a cell is, for messages."""
        return f"{self.name} row {self.rows[i]}: column {shown(name)}"


def is_table(path: Path) -> bool:
    """Whether a file is one, by its ending."""
    return os.path.isfile(path) and Path(inner_name(Path(path))).suffix.lower() in ENDINGS


def read_table(
    path,
    how: TableOptions | None = None,
    encoding="utf-8",
    wanted=(),
    *,
    names: Callable[[Sequence[str]], bool] | None = None,
    least: int | None = None,
) -> Table:
    """A file as a `Table`.

    Args:
        wanted: names of columns that there must be: a way to read the file that gives them is taken.
        names: of a table of texts, whether a first row looks like names of columns, whose reader says itself
            what the first row is; default: a first row of texts does.
        least: rows have so many cells, or more; None: as many as the first.

    Raises:
        InputError: names file and row of what cannot be read, or asks which of two ways is right.
    """
    path, how = Path(path), how or TableOptions()
    if not os.path.isfile(path):
        raise InputError(f"{path} does not exist or is no file: give a table ({', '.join(ENDINGS[:5])})")
    ending = Path(inner_name(path)).suffix.lower()
    if ending in _ENGINES:
        cells, rows, said = _sheet(path, ending, how)
        table = _headed(path, cells, rows, how, wanted, names, said)
    elif ending in (".parquet", *_JSON):
        if how.header is False:
            raise InputError(f"{path} names its columns in any case: say --header in place of --no-header")
        how = replace(how, header=True)
        if ending == ".parquet":
            table = from_frame(str(path), _by_pandas(path, ending, "read_parquet"), how)
        else:
            table = _json(path, text_of(path, encoding), how)
    else:
        table = _separated(path, text_of(path, encoding), ending, how, wanted, names, least)
    if not len(table):
        raise InputError(f"{path} has no rows of data: give some below the names of the columns")
    return table


# ------------------------------------------------------------------ text


@dataclass(frozen=True)
class _Way:
    """To take a text apart; ``quoted``: '"' encloses cells."""

    separator: str
    quoted: bool

    def records(self, text: str, cut: bool = False) -> list[list[str]]:
        """Cells of each row, blank ones included; csv.Error where quotes enclose no whole cells.

        ``cut``: the text may end inside of a row, which is left out.
        """
        csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
        file, found = io.StringIO(text, newline="\n"), list[list[str]]()
        rows = csv.reader(file, delimiter=self.separator, quoting=self.quoting, strict=True)
        try:
            found.extend(rows)
        except csv.Error as error:
            if not cut or rows.line_num < text.count("\n"):
                raise csv.Error(f"row {len(found) + 1}: {error}") from None
        return found[:-1] if cut and self.quoted and len(found) > 1 else found

    @property
    def quoting(self) -> Literal[0, 3]:
        return csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE

    @property
    def words(self) -> str:
        of = SEPARATORS.get(self.separator, repr(self.separator))
        return f"columns separated by {of}" + ("" if self.quoted else ", quotes as they are")


def _separated(path, text, ending, how, wanted, names, least) -> Table:
    text = with_line_ends(text)
    told = _TOLD.match(text) if how.separator is None else None
    if told:  # Excel's own, above the first row
        how, text = replace(how, separator=told[1]), text[told.end() :]
    if not text.strip():
        raise InputError(f"{path} is empty: there are no rows in it")
    if stands_for := "\r" in text and next(c for c in map(chr, _PRIVATE) if c not in text):
        text = text.replace("\r", stands_for)  # which readers of CSV take for the end of a row
    text, given = _given_separator(text, how)
    way = _way(path, text, ending, given, wanted)
    if way.separator != _BESIDE:  # whether quotes enclose cells is seen in the whole of it
        way = _fit(way.separator, text, least=least).way
    frame = _frame(path, text, way, least)
    if stands_for:
        frame = frame.map(lambda cell: cell.replace(stands_for, "\r"))
    rows = [
        i for i, row in enumerate(frame.itertuples(index=False), 1) if any(c and str(c).strip() for c in row)
    ]
    if not rows:
        raise InputError(f"{path} is empty: there are no rows in it")
    frame = frame.iloc[[i - 1 for i in rows]].reset_index(drop=True)
    said, usual = list[str](), "\t" if ending in (".tsv", ".tab") else ","
    if how.separator is None and len(frame.columns) > 1 and way.separator != usual:
        said = [way.words]
    elif not way.quoted and '"' in text and given != _BESIDE:
        said = ["quotes are as they are: they enclose no cells"]
    between = way.separator if len(frame.columns) > 1 else ","
    return _headed(path, frame, [i + bool(told) for i in rows], how, wanted, names, said, between)


def _headed(path, frame, rows, how, wanted, names, said, separator="") -> Table:
    """A `Table` of cells whose first row names the columns, or does not: the one place that decides it."""
    cells = ["" if c is None else str(c).strip() for c in frame.iloc[0]]
    named = how.header
    if named is None:  # a task that asks for names says which are missing
        named = bool(wanted) or _are_names(path, frame, cells, names)
    numbers = [str(i) for i in range(1, len(cells) + 1)]
    if named:
        frame = frame.iloc[1:].reset_index(drop=True)
        rows = rows[1:]
    if named and names and how.header is None and not wanted:
        first = few((c[:40] for c in cells), 3)
        said = [*said, f"the first row ({first}) names the columns (--no-header: it is data)"]
    elif not named and not names:
        said = [*said, "the first row is data: columns are named 1, 2, ... (--header: it names them)"]
    columns = [c or n for c, n in zip(cells, numbers, strict=True)] if named else numbers
    return Table(str(path), frame.set_axis(columns, axis=1), rows, how, said, separator)


def _given_separator(text, how) -> tuple[str, str | None]:
    """The text and ``--separator``: in the place of several characters stands one."""
    if how.separator is None:
        return text, None
    given = how.separator.replace("\\t", "\t")
    if given in ("", '"', "\n", "\r"):
        raise InputError(
            f"--separator is {shown(given) if given else 'empty'}: give what stands between columns"
        )
    return (text, given) if len(given) == 1 else (text.replace(given, _BESIDE), _BESIDE)


def _frame(path, text, way, least):
    """All rows as a frame of texts without names."""
    try:
        records = way.records(text)
    except csv.Error as error:
        raise InputError(f"{path} {error}: mend the quotes") from None
    except MemoryError:
        raise TooLargeError(f"{path} does not fit into memory: give a part of it") from None
    width, widest = next(len(row) for row in records if row), max(map(len, records))
    for i, row in enumerate(records, 1):
        n = len(row)
        blank = n < width and not any(cell.strip() for cell in row)
        if n != width and not blank and (least is None or n < least):
            first = f"the first row has {width}"
            mend = "put texts in double quotes, or mend the row" if n > width else "mend or delete the row"
            raise InputError(f"{path} row {i} has {n} cells, {first}: {mend}")
    return pandas().DataFrame([row + [""] * (widest - len(row)) for row in records], dtype=object)


def _way(path, text, ending, given, wanted) -> _Way:
    """How a text is taken apart."""
    head = text[:_TRIED]
    cut = len(head) < len(text)
    head = head[: head.rfind("\n") + 1] if cut and "\n" in head else head
    if not head.strip():
        raise InputError(f"{path} begins with {len(head):,} blank characters: delete them")
    if given:
        return _Way(given, given != _BESIDE)
    fits = [_fit(s, head, cut) for s in SEPARATORS]
    if wanted and len(named := [f for f in fits if set(wanted) <= f.names]) == 1 and len(set(wanted)) > 1:
        return named[0].way  # whatever is wrong with its rows is named
    usual = "\t" if ending in (".tsv", ".tab") else ","
    found = [f for f in fits if f.share == 1 and f.width > 1]
    found = [f for f in found if set(wanted) <= f.names] or found if wanted else found
    if len(found) > 1:
        best = max(f.clean for f in found)
        found = [f for f in found if f.clean == best]
    if len(found) > 1:
        ways = " or ".join(f"{f.way.words}: {few((c[:40] for c in f.records[-1]), 4)}" for f in found)
        raise InputError(f"{path} can be read in several ways, {ways}: say which by --separator")
    if found:
        return found[0].way
    near = max(fits, key=lambda f: (f.share if f.width > 1 else 0, f.way.separator == usual))
    if near.width > 1 and near.share >= _USUAL:
        return near.way  # whoever reads it all names the row that is wrong
    below = [f for f in fits if f.below > 1]
    lines = [line for line in head.split("\n") if line.strip()]
    if below and not all(looks_like_value(line) for line in lines[1:]):
        first, n, sign = below[0].width, below[0].below, below[0].way.separator
        rows = below[0].records[1:]
        mend = "delete what stands above the names of the columns"
        if all(not row[-1].strip() for row in rows) and n == first + 1:
            mend = f"delete the {shown(sign)} at their ends, or name that column too"
        elif sign == "," and any(looks_like_value(",".join(c)) for c in itertools.pairwise(rows[0])):
            mend = f"{mend}; or put numbers with ',' in them in double quotes"
        raise InputError(
            f"{path}: its first row has {first} cells, those below have {n} ({below[0].way.words}): {mend}"
        )
    if lines[0][0] == "#" and any(s in line for s in SEPARATORS for line in lines if line[0] != "#"):
        said = f"{path} begins with comments, {shown(lines[0][:40])}"
        raise InputError(f"{said}: delete the rows that begin with #")
    whole = next((f for f in fits if f.share == 1), None)  # one column
    if whole is not None and whole.way.quoted:
        return whole.way
    return _Way(_BESIDE, False)


@dataclass
class _Fit:
    """How well a way fits: ``share`` of the rows have as many cells as the first, ``width``."""

    way: _Way
    records: list[list[str]]

    @classmethod
    def of(cls, way: _Way, text: str, cut: bool = False) -> "_Fit | None":
        """None where its quotes enclose no whole cells, or there is no row."""
        try:
            records = [r for r in way.records(text, cut) if any(c.strip() for c in r)]
        except csv.Error:
            return None
        return cls(way, records) if records else None

    def fits(self, least: int | None = None) -> bool:
        """Whether all rows have as many cells as the first, or at least so many."""
        return all(len(r) == self.width or (least is not None and len(r) >= least) for r in self.records)

    @property
    def width(self) -> int:
        return len(self.records[0])

    @property
    def share(self) -> float:
        return sum(len(r) == self.width for r in self.records) / len(self.records)

    @property
    def below(self) -> int:
        """Of three rows or more below the first, how many cells all of them have; 1: they differ."""
        widths = {len(r) for r in self.records[1:]}
        return widths.pop() if len(widths) == 1 and len(self.records) > 3 else 1

    @property
    def merged(self) -> bool:
        """Whether quotes enclose ends of lines."""
        return any("\n" in cell for r in self.records for cell in r)

    @property
    def names(self) -> set[str]:
        return {cell.strip() for cell in self.records[0]}

    @property
    def clean(self) -> float:
        """The part of the cells below the first row that are numbers or dates."""
        cells = list(itertools.chain.from_iterable(self.records[1:101]))
        return sum(looks_like_value(c) for c in cells) / max(len(cells), 1)


def _fit(separator, text, cut=False, least=None) -> _Fit:
    """The better of two ways: with quotes that enclose cells, or with quotes as they are. As no rule has them
    enclose anything in files with tabs, they do so there only where they merge no lines.
    """
    quoted = _Fit.of(_Way(separator, True), text, cut)
    encloses = quoted is not None and quoted.fits(least) and not (quoted.merged and separator == "\t")
    if quoted is not None and (encloses or '"' not in text):
        return quoted
    rows = [line.split(separator) for line in text.split("\n")]
    plain = _Fit(_Way(separator, False), [r for r in rows if any(c.strip() for c in r)] or [[""]])
    if plain.fits(least):
        return plain
    return quoted or _Fit(_Way(separator, True), plain.records)  # whoever reads it names the wrong quote


def _are_names(path, frame, cells, names) -> bool:
    """Whether the first row names the columns: unless a number or a date stands in each column of such."""
    filled = [[c for c in frame[name].iloc[1:201] if not is_missing(c)] for name in frame.columns]
    like = [2 * sum(map(looks_like_value, column)) > len(column) for column in filled]
    first = [looks_like_value(c) and not is_missing(c) for c in cells]
    of_values = [v for v, c, column in zip(first, cells, like, strict=True) if column and not is_missing(c)]
    if names is not None:
        return names(cells) or (bool(of_values) and not any(of_values))
    if not any(of_values):
        return True
    years = [int(c) for c in cells if c.isdecimal() and len(c) == 4 and 1800 <= int(c) <= 2200]
    if not all(of_values) or (len(years) == sum(first) and len(years) > 1):
        row = few((c[:40] for c in cells), 4)
        ask = "say by --header or --no-header"
        raise InputError(f"{path}: the first row ({row}) may name the columns or be data: {ask}")
    return False


# ------------------------------------------------------------------ other files


def _json(path, text, how) -> Table:
    """Of objects, one a line, or all in one list."""
    listed = text.lstrip("\ufeff \t\r\n").startswith("[")
    try:
        objects = _loaded(text.strip("\ufeff")) if listed else []
    except (ValueError, RecursionError) as error:
        where = "" if inner_name(path).lower().endswith(".json") else " row 1"
        said = f"{path}{where}: {error}: every row must be one JSON object, or the file one list of them"
        raise InputError(said) from None
    rows = list(range(1, len(objects) + 1))
    for number, line in enumerate([] if listed else lines_of(text), 1):
        if not line.strip():
            continue
        try:
            objects.append(_loaded(line))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} row {number}: {error}: every row must be one JSON object") from None
        rows.append(number)
    for number, row in zip(rows, objects, strict=True):
        if not isinstance(row, dict):
            raise InputError(f"{path} row {number}: {shown(row)} is no JSON object: write one a row")
        if lacks := objects[0].keys() - row.keys():
            raise InputError(
                f"{path} row {number} has no {shown(min(lacks))}, which the first row has: add it"
            )
    library = pandas()
    frame = library.DataFrame(objects, dtype=object) if objects else library.DataFrame()
    return Table(str(path), _plain(frame), rows, how)


def _loaded(text):
    def whole(pairs):
        if len(found := dict(pairs)) < len(pairs):
            name = Counter(name for name, _ in pairs).most_common(1)[0][0]
            raise ValueError(f"{shown(name)} is there twice")
        return found

    return json.loads(text, object_pairs_hook=whole)


def _by_pandas(path, ending, function, **options):
    """What a function of pandas reads; InputError where it cannot."""
    library = pandas()
    try:
        with unpacked(path) as file:
            data = io.BytesIO(file.read())
        return getattr(library, function)(data, **options)
    except ImportError as error:
        raise InputError(f"{path}: {error}: pip install 'tinyrnn[tables]'") from None
    except InputError:
        raise
    except MemoryError:
        raise TooLargeError(f"{path} does not fit into memory: give a part of it") from None
    except Exception as error:  # whatever its library meets in bytes that are anybody's
        raise InputError(
            f"{path} is no {ending[1:]} file that pandas can read ({error}): save it anew"
        ) from None


def _sheet(path, ending, how):
    """The cells of a sheet, a frame without names; the numbers of its rows; and what was found."""
    engine = dict(engine=_ENGINES[ending], header=None, dtype=object, na_filter=False)
    sheets = _by_pandas(path, ending, "read_excel", sheet_name=None, **engine)
    if how.sheet is not None and how.sheet not in sheets:
        raise InputError(f"{path} has no sheet {shown(how.sheet)}: {near(how.sheet, sheets, 'choose from')}")
    sheets = {
        name: _plain(frame).dropna(how="all").dropna(axis=1, how="all") for name, frame in sheets.items()
    }
    full = [name for name, frame in sheets.items() if len(frame) > 1]
    if how.sheet is None and len(full) > 1:
        raise InputError(f"{path} has {len(full)} sheets ({few(full)}): choose one by --sheet")
    name = how.sheet or next(iter(full or sheets))
    frame, said = sheets[name], [f"sheet {name}"] if len(sheets) > 1 else []
    if not len(frame):
        raise InputError(f"{path} is empty: there are no rows in it")
    filled, title = frame.notna().sum(axis=1), frame.iloc[0].dropna().iloc[0]
    wide = 2 * int((filled.iloc[1:] > 1).sum()) > len(frame) - 1
    if frame.iloc[0, 0] is not None and filled.iloc[0] == 1 and wide and not looks_like_value(title):
        has = f"its first row has 1 cell, {shown(str(title))}, those below have more"
        raise InputError(f"{path}: {has}: delete what stands above the names of the columns, or name all")
    rows = [int(i) + 1 for i in frame.index]
    return frame.reset_index(drop=True), rows, said


def _plain(frame: Any) -> Any:
    """The same with cells of Python's own, None where there is nothing; columns of dates as they are."""

    def plain(cell: Any) -> Any:
        cell = cell.item() if isinstance(cell, np.bool_ | np.number) else cell
        if isinstance(cell, bytes):
            try:
                return cell.decode()
            except UnicodeDecodeError:
                return cell
        return None if isinstance(cell, str) and not cell.strip() else cell

    library = pandas()
    columns = [frame.iloc[:, i] for i in range(frame.shape[1])]
    for i, column in enumerate(columns):
        if str(column.dtype).startswith(("datetime", "period")):
            continue
        gone = column.isna().to_numpy()
        if gone.any() or column.dtype == object or not isinstance(column.dtype, np.dtype):
            cells = [None if no else plain(c) for c, no in zip(column.tolist(), gone, strict=True)]
            columns[i] = library.Series(cells, index=frame.index, dtype=object)
    made = library.concat(columns, axis=1) if columns else frame
    return made.set_axis(frame.columns, axis=1)


def from_frame(name: str, frame: Any, how: TableOptions | None = None) -> Table:
    """A `Table` of a pandas frame, whose index becomes columns, unless it numbers the rows.

    Raises:
        InputError: two columns have one name; or the index may number the rows or be years.
    """
    library, index, said = pandas(), frame.index, list[str]()
    unnamed = index.names == [None]
    if unnamed and len(index) and index.inferred_type == "integer":
        if index.min() >= 1800 and index.max() <= 2200 and (np.diff(index) == 1).all():
            may = f"its index, {few(index, 3)}, may be years or number the rows"
            raise InputError(f"{name}: {may}: say rename_axis('year'), or reset_index(drop=True)")
        if not isinstance(index, library.RangeIndex):
            said = [f"the index, integers without a name such as {index[0]}, is left out"]
    elif not (unnamed and isinstance(index, library.RangeIndex)) and len(index):
        usual = "date" if isinstance(index, library.DatetimeIndex | library.PeriodIndex) else "index"
        names = [str(n or usual) for n in index.names]
        beside = [library.Series(index.get_level_values(i), name=n) for i, n in enumerate(names)]
        beside = [b for b in beside if b.name not in frame or b.tolist() != list(frame[b.name])]
        frame = library.concat([*beside, frame.reset_index(drop=True)], axis=1)
    frame = frame.set_axis([str(c).strip() for c in frame.columns], axis=1).reset_index(drop=True)
    how = replace(how or TableOptions(), header=True)
    return Table(name, _plain(frame), list(range(2, len(frame) + 2)), how, said)


def frame_lines(data: Any) -> str | None:
    """A pandas frame or series as JSON lines, which `read_table` takes for the same table; None: it is none.

    What is said of its index is told.
    """
    if not (hasattr(data, "iloc") and hasattr(data, "index")):
        return None
    frame = data.to_frame("value" if data.name is None else data.name) if data.ndim == 1 else data
    table = from_frame("the frame", frame)
    if not len(table):
        raise InputError("the frame has no rows: give some")
    table.tell()
    columns = [_as_texts(table.frame[name]) for name in table.columns]
    rows = (dict(zip(table.columns, row, strict=True)) for row in zip(*columns, strict=True))
    return "".join(json.dumps(row, ensure_ascii=False, default=_written) + "\n" for row in rows)


def _as_texts(column: Any) -> list[Any]:
    """The cells of a column, dates as texts."""
    kind = str(column.dtype)
    if kind.startswith("period") and kind[7:8] in "QW" and kind != "period[Q-DEC]":
        column, kind = column.dt.start_time, "datetime"
    texts = column.astype(str) if kind.startswith(("datetime", "period")) else column
    return [None if no else cell for cell, no in zip(texts.tolist(), column.isna(), strict=True)]


def _written(cell: Any) -> Any:
    if isinstance(cell, decimal.Decimal):
        return float(cell)
    if isinstance(cell, _DATES):
        return str(cell)
    if hasattr(cell, "tolist"):
        return cell.tolist()
    raise InputError(f"the frame holds {shown(cell)}: give texts, numbers, dates or lists of texts")


def texts_of_inputs(
    inputs: Sequence[str],
    read: Callable[[str], tuple[Table, str]],
    encoding: str,
    id_column: str | None = None,
) -> tuple[list[str], list[str], list[dict[str, Any]]]:
    """Texts, where each stands, and what tells its row apart (file, row, id): those of a column of each table
    that ``inputs`` name, of anything else as `read_lines`.

    Args:
        read: of the path of a table: the table, and the name of the column.
        encoding: of lines.
    """
    texts, places, rows = list[str](), list[str](), list[dict[str, Any]]()
    for given in inputs:
        if given != "-" and is_table(Path(given)):
            table, column = read(given)
            texts += [text.strip() for text in table.texts(column, "the column")]
            table.tell()
            places += [f"{given} row {row}" for row in table.rows]
            file = {"file": given} if len(inputs) > 1 else {}
            ids = table.texts(id_column, "--id-column") if id_column else []
            named = [{"id": key} for key in ids] or [{}] * len(table)
            rows += [{**file, "row": row, **key} for row, key in zip(table.rows, named, strict=True)]
        else:
            lines = read_lines([given], encoding)
            name = "standard input" if given == "-" else given if os.path.isfile(given) else ""
            places += [f"{name} line {i}" if name else shown(given) for i in range(1, len(lines) + 1)]
            texts += lines
            rows += [{}] * len(lines)
    return texts, places, rows
