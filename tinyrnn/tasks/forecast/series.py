"""Time series: CSV files with numeric columns and, where there is one, a column of dates."""

import csv
import io
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...base.errors import InputError, few, shown
from ...training.screen import note
from ..text.sources import text_of

_DATE = re.compile(r"(\d{4})[-/.](\d{1,2})(?:[-/.](\d{1,2})(?:[T ](\d{1,2}):(\d{2})(?::(\d{2}))?)?)?Z?")
_DAY = 86_400  # seconds
LARGEST = 1e100  # number of a series: what is squared and added up stays finite


@dataclass(frozen=True)
class Series:
    """Columns of numbers over time.

    ``values``: float64 ``[N, columns]``, the column that is forecast first; ``dates``: datetime64 in seconds
    ``[N]``, or the numbers of the rows where there are none; ``unit``: in which dates are shown, as NumPy
    names it (``"M"``, ``"D"``, ``"m"``).
    """

    name: str
    columns: list
    values: np.ndarray
    dates: np.ndarray
    unit: str = "D"

    def __len__(self):
        return len(self.values)

    def step(self) -> tuple[str, float]:
        """What lies between two rows as a rule: ``("months", n)``, ``("business days", 1)`` or ``("seconds",
        n)``.
        """
        if self.dates.dtype.kind != "M":
            return "rows", 1
        gaps = np.diff(self.dates).astype(np.int64)
        usual = float(np.median(gaps))
        if usual >= 28 * _DAY:
            return "months", max(1, round(float(np.median(np.diff(_months(self.dates))))))
        weekdays = (self.dates.astype("datetime64[D]").astype(np.int64) + 3) % 7
        if usual == _DAY and len(self) >= 10 and weekdays.max() < 5:
            return "business days", 1
        return "seconds", usual

    def gaps(self) -> np.ndarray:
        """The rows after which dates are missing: more than a step lies between them and the next."""
        kind, n = self.step()
        if kind == "rows":
            return np.arange(0)
        if kind == "months":
            steps = np.diff(_months(self.dates)) / n
        elif kind == "business days":
            days = self.dates.astype("datetime64[D]")
            steps = np.busday_count(days[:-1], days[1:])
        else:
            steps = np.diff(self.dates).astype(np.int64) / n
        return np.flatnonzero(steps >= 1.5)

    def season(self) -> int:
        """Steps a season by custom: 12 months, 4 quarters, 52 weeks, 365 days (7 below two years), 24 hours;
        else 1.
        """
        kind, n = self.step()
        if kind == "rows":
            return 1
        if kind != "seconds":
            return 5 if kind == "business days" else max(1, round(12 / n))
        if n < _DAY:
            return round(_DAY / n)
        year = round(365.25 * _DAY / n)
        return year if n > _DAY or len(self) >= 2 * year else 7

    def phase(self, dates, season) -> np.ndarray:
        """Where in the season ``dates`` are, in [0, 1)."""
        kind, n = self.step()
        if kind == "rows":
            return dates / season % 1
        if kind == "months":
            return _months(dates) / (season * n) % 1
        if kind == "business days":
            n = _DAY * 7 / 5
        elif (season, n) == (365, _DAY):  # a year is a quarter of a day longer
            season = 365.25
        return dates.astype(np.int64) / (season * n) % 1

    def future(self, count) -> np.ndarray:
        """The dates of the ``count`` steps after the end (row numbers for a series without dates)."""
        kind, n = self.step()
        ahead = np.arange(1, count + 1)
        if kind == "rows":
            return self.dates[-1] + ahead
        last = self.dates[-1]
        if kind == "business days":
            return np.busday_offset(last.astype("datetime64[D]"), ahead).astype("datetime64[s]")
        if kind == "seconds":
            return last + (ahead * n).astype("timedelta64[s]")
        month = last.astype("datetime64[M]")
        # the 31st of a short month is its last day
        ends = (month + ahead * n + 1).astype("datetime64[s]") - np.timedelta64(_DAY, "s")
        return np.minimum(
            (month + ahead * n).astype("datetime64[s]") + (last - month.astype("datetime64[s]")), ends
        )

    def shown(self, dates) -> list[str]:
        """Dates as they were written, row numbers as they are."""
        if dates.dtype.kind != "M":
            return [str(d) for d in dates]
        return [str(d).replace("T", " ") for d in np.datetime_as_string(dates, unit=self.unit)]


def read_series(
    path, *, target=None, columns=None, date_column=None, missing="error", encoding="utf-8"
) -> Series:
    """A CSV file as a `Series`.

    Args:
        target: the column to forecast; default: the only numeric one.
        columns: what to read beside it; default: every numeric column.
        date_column: default: the first column that begins with a date (ISO 8601, such as 1949-01 or
            2012-01-01 06:00).
        missing: ``"interpolate"`` puts values between their neighbours in place of cells that hold no number.

    Raises:
        InputError: names file, row and column of what cannot be used.
    """
    path = Path(path)
    header, rows, lines = _table(path, encoding)
    for name in (target, date_column, *(columns or ())):
        if name is not None and name not in header:
            raise InputError(f"{path} has no column {shown(name)}: choose from {few(map(shown, header))}")
    if date_column is None:
        date_column = next((c for i, c in enumerate(header) if _DATE.fullmatch(rows[0][i].strip())), None)
    numeric = [c for i, c in enumerate(header) if c != date_column and _is_numeric([row[i] for row in rows])]
    if target is None:
        among = columns or numeric
        if not among:
            raise _no_numbers(path, [c for c in header if c != date_column], header, rows, lines)
        if len(among) != 1:
            names = few(map(shown, among))
            raise InputError(f"{path} has several numeric columns: choose --target from {names}")
        target = among[0]
    names = [target, *[c for c in columns or numeric if c != target]]
    values = np.stack(
        [_numbers(path, c, [r[header.index(c)] for r in rows], lines, missing) for c in names], axis=1
    )
    if len(values) < 2:
        raise InputError(f"{path} has one row of data: give a series of several")
    for name in header if columns is None else ():
        if name not in (date_column, *names):
            cell = rows[0][header.index(name)]
            neither = f"it holds {shown(cell)}, no number and no date like 2012-01-31"
            note(f"{path}: column {shown(name)} is left out: {neither}")
    if date_column is None:
        return Series(path.name, names, values, np.arange(len(values)))
    dates = [r[header.index(date_column)] for r in rows]
    series = Series(path.name, names, values, *_dates(path, date_column, dates, lines))
    if len(gaps := series.gaps()):
        more = f" ({len(gaps)} such gaps)" if len(gaps) > 1 else ""
        between = f"between {dates[gaps[0]].strip()} and {dates[gaps[0] + 1].strip()}{more}"
        note(f"{path}: dates are missing {between}: what follows counts as the next step; fill in the rows")
    return series


def _no_numbers(path, names, header, rows, lines):
    """That no column is numeric, with the cell that is to blame where one has numbers in other rows."""
    for name in names:
        cells = [row[header.index(name)] for row in rows]
        bad = [i for i, cell in enumerate(cells) if np.isnan(_number(cell))]
        if len(bad) < len(cells):
            holds = f"column {shown(name)} holds {shown(cells[bad[0]])} in row {lines[bad[0]]}"
            return InputError(f"{path}: {holds}, which is no number: mend it")
    if len(header) == 1 and (found := next((d for d in ";\t|" if d in header[0]), "")):
        return InputError(
            f"{path} is separated by {found!r}, not by ',': save it with ',' between its columns"
        )
    columns = few(map(shown, header))
    return InputError(f"{path} has no numeric column among {columns}: write numbers like 1234.5")


def _table(path, encoding):
    """Header, rows and the rows' line numbers."""
    if not os.path.isfile(path):
        raise InputError(
            f"{path} does not exist: give a CSV file with a column of dates and columns of numbers"
        )
    try:
        reader = csv.reader(io.StringIO(text_of(path, encoding), newline=""), strict=True)
        found = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise InputError(f"{path} row {reader.line_num}: {error}: mend the row") from None
    if len(found) < 2:
        raise InputError(f"{path} has no rows of data: give a CSV file whose first row names the columns")
    header = [cell.strip() for cell in found[0][1]]
    for line, row in found[1:]:
        if len(row) != len(header):
            raise InputError(
                f"{path} row {line} has {len(row)} cells, the first row has {len(header)}: mend or delete "
                "the row"
            )
    return header, [row for _, row in found[1:]], [line for line, _ in found[1:]]


def _months(dates):
    """Since 1970."""
    return dates.astype("datetime64[M]").astype(np.int64)


def _number(cell, largest=LARGEST):
    """A number of at most so much, or NaN."""
    try:
        value = float(cell)
    except ValueError:
        return np.nan
    return value if abs(value) <= largest else np.nan


def _is_numeric(cells):
    return sum(not np.isnan(_number(c)) for c in cells) > len(cells) / 2


def _numbers(path, column, cells, lines, missing):
    values = np.array([_number(c) for c in cells])
    bad = np.flatnonzero(np.isnan(values))
    if len(bad) and (missing == "error" or len(bad) == len(values)):
        i, more = bad[0], f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        large = not np.isnan(_number(cells[i], np.finfo(float).max))
        which = f"which is beyond {LARGEST:g}" if large else "which is no number"
        said = f"holds {shown(cells[i])}, {which}" if cells[i].strip() else "is empty"
        where = f"{path} row {lines[i]}: column {shown(column)}"
        raise InputError(f"{where} {said}{more}: mend it, or give --missing interpolate")
    if len(bad):
        good = np.flatnonzero(~np.isnan(values))
        values[bad] = np.interp(bad, good, values[good])
    return values


def _dates(path, column, cells, lines):
    """Dates, which must rise, and the unit in which they are written."""
    dates = np.empty(len(cells), "datetime64[s]")
    finest = 0
    for i, cell in enumerate(cells):
        match = _DATE.fullmatch(cell.strip())
        try:
            year, month, day, hour, minute, second = (
                int(g or d) for g, d in zip(match.groups(), "111000", strict=True)
            )
            dates[i] = np.datetime64(f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
        except (AttributeError, ValueError):
            holds = f"column {shown(column)} holds {shown(cell)}, which is no date"
            raise InputError(f"{path} row {lines[i]}: {holds}: write it like 2012-01-31") from None
        finest = max(finest, sum(g is not None for g in match.groups()))
        if i and dates[i] <= dates[i - 1]:
            order = f"{cell.strip()} does not come after {cells[i - 1].strip()} of the row before"
            mend = "sort the rows by date, one row a date"
            raise InputError(f"{path} row {lines[i]}: column {shown(column)}: {order}: {mend}")
    return dates, {2: "M", 3: "D", 5: "m", 6: "s"}[finest]
