"""Time series out of tables: columns of numbers and, as a rule, of dates; one series or, by an id, many."""

import itertools
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...base.errors import InputError, few, shown
from ...training.screen import note
from ..tables.dates import BESIDE_MONTH, LIKE_DATES, date_column, number_like_date, read_dates, written
from ..tables.files import read_table
from ..tables.numbers import LARGEST, Notation, is_missing, is_numeric, units_of
from .calendar import Calendar
from .options import DateOptions, SeriesOptions

NO_DATES = "none"  # as --date-column
_MEND = "give --missing interpolate, zero, mask or skip (which counts what follows as the next step)"
_LOGICAL = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}


@dataclass(frozen=True)
class Series:
    """Columns of numbers over time.

    ``values``: float64 ``[N, columns]``, the column that is forecast first; ``dates``: datetime64 in seconds
    ``[N]``, or the numbers of the rows where there are none; ``unit``: in which dates are shown, as
    `written` takes it; ``known``: bool ``[N, columns]``, what was measured; ``id``: of one of several;
    ``foreseen``: columns that are known before they happen; ``said``: how the file was understood.
    """

    name: str
    columns: list
    values: np.ndarray
    dates: np.ndarray
    unit: str = "D"
    known: np.ndarray = None
    calendar: Calendar = None
    id: str = ""
    foreseen: tuple = ()
    said: tuple = ()
    filled: int = 0  # rows that were put in; below 0: that were skipped
    cells: int = 0  # of its own rows, that hold no number and were filled

    def __post_init__(self):
        if self.known is None:
            object.__setattr__(self, "known", np.ones(self.values.shape, bool))
        if self.calendar is None:
            dated = self.dates.dtype.kind == "M"
            object.__setattr__(self, "calendar", Calendar.of([self.dates]) if dated else Calendar("rows"))

    def __len__(self):
        return len(self.values)

    def seasons(self) -> list[int]:
        """Steps of the seasons by custom, the usual one first; `Calendar.seasons`."""
        return self.calendar.seasons(len(self))

    def season(self) -> int:
        """Steps of the usual season; 1: there is none."""
        return next(iter(self.seasons()), 1)

    def phase(self, dates, season) -> np.ndarray:
        """Where in the season ``dates`` are, in [0, 1)."""
        return self.calendar.phase(dates, season)

    def future(self, count) -> np.ndarray:
        """The dates of the ``count`` steps after the end (row numbers for a series without dates)."""
        return self.calendar.dates(self.dates[-1], count)

    def shown(self, dates) -> list[str]:
        """Dates as they were written, row numbers as they are."""
        if dates.dtype.kind != "M":
            return [str(d) for d in dates]
        return written(dates, self.unit, self.calendar.zone)


def read_series(path, **how) -> Series:
    """A table that holds one series; ``how``: options of `SeriesOptions`, ``columns`` also as a list.

    Raises:
        InputError: as `read_panel`, or it holds several.
    """
    how = {k: ",".join(v) if k == "columns" and isinstance(v, list | tuple) else v for k, v in how.items()}
    found = read_panel(path, SeriesOptions(**how))
    if len(found) > 1:
        raise InputError(f"{path} holds {len(found)} series: use read_panel")
    return found[0]


def read_panel(path, how: SeriesOptions, future=False, told=True) -> list[Series]:
    """A table as `Series`, one for each id; see `SeriesOptions`.

    Args:
        future: read the columns alone that are known before they happen; the values of others are NaN.
        told: say which columns are left out.

    Raises:
        InputError: names file, row and column of what cannot be used; rows that are missing, where nothing
            says what to do with them; what can be read in two ways.
    """
    named = [how.target, how.date_column, how.id_column, *(how.listed("columns")), *how.listed("future")]
    wanted = [n for n in named if n not in (None, NO_DATES)]
    table = read_table(path, how, how.encoding, [] if future else wanted)
    for flag, name in zip(("--target", "--date-column", "--id-column"), named, strict=False):
        if name not in (None, NO_DATES) and not (future and flag == "--target"):
            table.column(name, flag)
    for name in {*(how.listed("columns")), *how.listed("future")}:
        table.column(name, "columns" if name not in how.listed("future") else "--future")
    groups = None if how.id_column is None else _ids(table, how.id_column)
    dated, dates = _dates_of(table, how, groups)
    rest = [c for c in table.columns if c not in dated and c != how.id_column]
    notation = Notation.of(table, rest)
    numeric = [c for c in rest if is_numeric(table, c, notation) or _is_logical(table, c)]
    names = _columns(table, how, numeric, rest, dated, future)
    parts = [np.arange(len(table))] if groups is None else list(groups.values())
    cells = {n: _numbers(table, n, notation, how.missing, parts) for n in names if n in table.columns}
    for name in rest if how.columns is None and told and not future else ():
        if name not in names:
            also = date_column(replace(table, frame=table.frame[[name]]), DateOptions())
            where = "no number, and dates stand in another column"
            what = where if also and dated else "neither a number nor a date"
            holds = f"it holds {shown(_example(table, name))}, {what}"
            note(f"{table.name}: column {shown(name)} is left out: {holds}")
    units = [f"{n} in {u}" for n in names if n in cells and (u := units_of(table, n))]
    said = [*table.said, *filter(None, [notation.said, dates and dates.said]), *units]
    values = np.stack([cells.get(n, np.full(len(table), np.nan)) for n in names], axis=1)
    calendar = Calendar("rows")
    if dates is not None:
        for rows in parts:
            _refuse_falling(table, dates, rows)
        calendar = Calendar.of([dates.values[rows] for rows in parts], dates.zone)
    found, short, without = [], [], []
    for key, rows in zip(groups or [""], parts, strict=True):
        if len(rows) < 2 and not future:
            short.append(key)
            continue
        if not future and np.isnan(values[rows, 0]).all():
            without.append(key)
            continue
        when = np.arange(len(rows)) if dates is None else dates.values[rows]
        made = Series(
            Path(table.name).name, names, values[rows], when, "D" if dates is None else dates.unit,
            ~np.isnan(values[rows]), calendar, key, how.listed("future"), tuple(said),
        )  # fmt: skip
        found.append(made if future else _whole(table, made, rows, dated, how.missing))
    if not found:
        raise InputError(f"{path} has one row of data: give a series of several")
    for what, keys in (("of one row", short), (f"without any number in {shown(names[0])}", without)):
        if keys:
            note(f"{table.name}: series {what} are left out: {few(keys)}")
    return found


# ------------------------------------------------------------------ columns


def _ids(table, name):
    """The rows of each id, in the order in which they appear."""
    found: dict[str, list[int]] = {}
    for i, cell in enumerate(table.frame[name].tolist()):
        if is_missing(cell):
            raise InputError(f"{table.at(i, name)} is empty: every row needs an id")
        found.setdefault(str(cell).strip(), []).append(i)
    return {key: np.array(rows) for key, rows in found.items()}


def _dates_of(table, how, groups):
    """The columns of the dates, and the dates; (): there are none."""
    if how.date_column == NO_DATES:
        return (), None
    by_row = None
    if groups is not None:
        by_row = np.empty(len(table), np.int64)
        for k, rows in enumerate(groups.values()):
            by_row[rows] = k
    columns = date_column(table, how) if how.date_column is None else (how.date_column,)
    if columns:
        return columns, read_dates(table, columns, how, by_row)
    numeric = [c for c in table.columns if c != how.id_column and is_numeric(table, c, Notation())]
    for name in table.columns:
        if name != how.id_column and name not in (how.target, *(how.listed("columns"))):
            _refuse_like_dates(table, name, groups, only=how.target is None and numeric == [name])
    return (), None


def _refuse_like_dates(table, name, groups, only):
    """That a column may be one of dates that nobody could read: its cells have digits and rise, or it is
    named as such are, or has names of months; numbers: they rise, and are as large as dates are.

    Args:
        only: there are no other numbers, which could be forecast.
    """
    cells = [str(c).strip() for c in table.frame[name].tolist()]
    values, parts = Notation().values(cells), list(groups.values()) if groups else [np.arange(len(cells))]
    if np.isfinite(values[:50]).mean() > 0.5:
        like = bool(LIKE_DATES.search(name))
        may = [number_like_date(values[rows], like) for rows in parts if len(rows) > 1]
        if (
            may
            and all(may)
            and (like if only else like or name == table.columns[0])
            and len(table.columns) > 1
        ):
            mend = "write dates like 2012-01-31" if like else f"--date-column {shown(name)}"
            holds = f"holds {shown(cells[0])}, which is a number or {may[0]}"
            raise InputError(
                f"{table.name}: column {shown(name)} {holds}: give --date-column none, or {mend}"
            )
        return
    digits = [c for c in cells if re.search(r"\d", c)]
    if 2 * len(digits) <= len(cells):
        return
    keys = [tuple(int(n) for n in re.findall(r"\d{1,18}", c)) for c in cells]
    rising = all(keys[a] < keys[b] for rows in parts for a, b in itertools.pairwise(rows))
    marks, months = (
        2 * sum(bool(re.search(p, c)) for c in cells[:50]) > len(cells[:50])
        for p in (r"\d\D+\d", BESIDE_MONTH)
    )
    if rising or months or (LIKE_DATES.search(name) and marks):
        like = f"may hold dates, such as {shown(cells[0])}, in a form that is unknown"
        mend = "give --date-format, such as %d.%m.%Y, or --date-column none if they are none"
        raise InputError(f"{table.name}: column {shown(name)} {like}: {mend}")


def _is_logical(table, name):
    cells = [str(c).strip().lower() for c in table.frame[name].tolist() if not is_missing(c)]
    return bool(cells) and all(c in _LOGICAL for c in cells)


def _columns(table, how, numeric, rest, dated, future):
    """Names of the columns that are read, the target first."""
    chosen, target = how.listed("columns"), how.target
    if future:
        return list(how.listed("future"))
    if target is None:
        among = [c for c in chosen or numeric if c not in how.listed("future")]
        if not among:
            raise _no_numbers(table, rest)
        if len(among) != 1:
            names = few(map(shown, among))
            raise InputError(f"{table.name} has several numeric columns: choose --target from {names}")
        target = among[0]
    if target in dated:
        raise InputError(f"{table.name}: column {shown(target)} holds dates: choose another --target")
    others = [*(chosen or numeric), *how.listed("future")]
    return list(dict.fromkeys([target, *others]))


def _example(table, name):
    cells = table.frame[name].tolist()
    return next((c for c in cells if not is_missing(c)), cells[0])


def _no_numbers(table, names):
    """That no column is numeric, with the cell that is to blame where one has numbers in other rows."""
    for name in names:
        cells = table.frame[name].tolist()
        bad = np.flatnonzero(np.isnan(Notation().values(cells)))
        if 0 < len(bad) < len(cells):
            holds = f"column {shown(name)} holds {shown(cells[bad[0]])} in row {table.rows[bad[0]]}"
            return InputError(f"{table.name}: {holds}, which is no number: mend it")
    columns = few(map(shown, table.columns))
    return InputError(f"{table.name} has no numeric column among {columns}: write numbers like 1234.5")


def _numbers(table, column, notation, missing, parts):
    """float64 ``[N]``, NaN where a cell holds no number and ``missing`` says what to do with that."""
    cells = table.frame[column].tolist()
    if _is_logical(table, column):
        return np.array([_LOGICAL.get(str(c).strip().lower(), np.nan) for c in cells])
    values = notation.values(cells)
    large = np.abs(values) > LARGEST
    values[large] = np.nan
    bad = np.flatnonzero(np.isnan(values))
    if len(bad) and (missing == "error" or len(bad) == len(values)):
        i, more = bad[0], f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        which = f"which is beyond {LARGEST:g}" if large[i] else "which is no number"
        empty = is_missing(cells[i]) and (not isinstance(cells[i], str) or not cells[i].strip())
        said = "is empty" if empty else f"holds {shown(cells[i])}, {which}"
        mend = "mend it, or give --missing interpolate, zero, mask or skip"
        none = np.isnan(values)
        if (
            empty and i and not any((none[rows[:-1]] & ~none[rows[1:]]).any() for rows in parts)
        ):  # at the ends alone
            own = "if the last rows are the future, put them into a file of their own, name what is known"
            mend = f"{own} of them by --future, and give tinyrnn predict that --future-file; else {mend}"
        raise InputError(f"{table.at(i, column)} {said}{more}: {mend}")
    if wrong := [i for i in bad.tolist() if not is_missing(cells[i])]:
        holds = f"{table.at(wrong[0], column)} holds {shown(cells[wrong[0]])}"
        note(
            f"{holds}, which is no number{f' (and {len(wrong) - 1:,} more)' * (len(wrong) > 1)}: as if empty"
        )
    return values


# ------------------------------------------------------------------ rows


def _refuse_falling(table, dates, rows):
    gaps = np.diff(dates.values[rows]).astype(np.int64)
    if (gaps > 0).all():
        return
    i, name = int(np.argmax(gaps <= 0)), dates.columns[0]
    before, here = (str(table.frame[name].iloc[rows[j]]).strip() for j in (i, i + 1))
    order = f"column {shown(name)}: {here} does not come after {before} of the row before"
    mend = "sort the rows by date, one row a date"
    if dates.unit in "ms" and dates.zone is None:
        mend += " (or give --time-zone, if clocks were put back)"
    elif len(table.columns) > 2:
        mend += " (or give --id-column, if there are several series)"
    raise InputError(f"{table.name} row {table.rows[rows[i + 1]]}: {order}: {mend}")


def _whole(table, series, rows, dated, missing):
    """A series with a row for each step of its calendar."""
    if missing == "skip":
        kept = series.known.all(axis=1)
        if kept.sum() < 2:
            raise InputError(f"{table.name} has fewer than two whole rows: mend its cells")
        span = series.calendar.index(series.dates[[0, -1]])
        skipped = max(0, round(span[1] - span[0]) + 1 - int(kept.sum()))
        return _with(series, series.values[kept], series.dates[kept], series.known[kept], -skipped)
    index = series.calendar.index(series.dates)
    at = np.round(index - index[0]).astype(np.int64)
    steps = np.diff(at)
    where = f"{table.name}: series {series.id}" if series.id else table.name
    if (steps < 1).any():
        i = int(np.argmax(steps < 1))
        between = " and ".join(series.shown(series.dates[i : i + 2]))
        rule = f"a row a step ({series.calendar.words}): {between} are less than a step apart"
        raise InputError(f"{where} has not {rule}: make them regular, or give --missing skip")
    lacking = int(at[-1] + 1 - len(at))
    if lacking:
        i = int(np.argmax(steps > 1))
        if missing == "error":
            first, calendar = " and ".join(series.shown(series.dates[i : i + 2])), series.calendar
            many = (
                f"{lacking:,} rows of {calendar.words} are"
                if lacking > 1
                else f"1 row of {calendar.words} is"
            )
            clocks = calendar.kind in ("seconds", "slots") and calendar.zone in (None, "UTC")
            clocks &= series.unit in "ms"
            mend = _MEND + " (or --time-zone, if clocks were changed)" * clocks
            row = f"row {table.rows[rows[i + 1]]}"
            raise InputError(f"{where} {row}: {many} missing, the first between {first}: {mend}")
        if lacking > 20 * len(at):
            raise InputError(f"{where} lacks {lacking:,} of {at[-1] + 1:,} rows: give --missing skip")
    values = np.full((at[-1] + 1, series.values.shape[1]), np.nan)
    values[at] = series.values
    known = ~np.isnan(values)
    dates = series.dates
    if lacking:
        # Between two rows dates go on from the earlier one.
        gaps = np.flatnonzero(steps > 1)
        made = [series.calendar.dates(dates[i], steps[i] - 1) for i in gaps]
        dates = np.insert(dates, np.repeat(gaps + 1, steps[gaps] - 1), np.concatenate(made))
    for c in range(values.shape[1]):
        good = np.flatnonzero(known[:, c])
        bad = np.flatnonzero(~known[:, c])
        if missing == "interpolate" and not len(good):
            raise InputError(
                f"{where} has no number in column {shown(series.columns[c])}: give --columns without it"
            )
        if len(bad):
            empty = missing == "zero" or not len(good)
            values[bad, c] = 0.0 if empty else np.interp(bad, good, values[good, c])
    return _with(series, values, dates, known if missing == "mask" else None, lacking)


def _with(series, values, dates, known, filled=0):
    if series.calendar.kind == "rows":
        dates = np.arange(len(values))
    cells = int((~series.known).sum()) if known is None else 0
    return replace(series, values=values, dates=dates, known=known, filled=filled, cells=cells)


def understood(panel) -> str:
    """What was read, in words."""
    first, calendar = panel[0], panel[0].calendar
    rows = sum(map(len, panel))
    parts = [f"{len(panel):,} series, {rows:,} rows" if len(panel) > 1 else f"{rows:,} rows"]
    if calendar.kind == "rows":
        parts.append("without dates")
    else:
        ends = min(s.dates[0] for s in panel), max(s.dates[-1] for s in panel)
        parts.append(f"{calendar.words} from {' to '.join(first.shown(np.array(ends)))}")
        if calendar.zone:
            parts.append(f"by the clocks of {calendar.zone}")
    filled, unknown = sum(s.filled for s in panel), sum(int((~s.known).sum()) for s in panel)
    if filled < 0:
        parts.append(f"{-filled:,} missing rows skipped")
    elif filled or unknown:
        parts.append(f"{filled:,} missing rows put in" + f", {unknown:,} values masked" * bool(unknown))
    cells = sum(s.cells for s in panel)
    if cells:
        parts.append(f"{cells:,} cells without a number filled")
    elif not filled and not unknown:
        parts.append("none missing")
    return ", ".join([*parts, *first.said])
