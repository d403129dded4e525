"""Dates as people write them, as instants: ISO 8601 and its weeks, quarters, day or month first, names of
months, seconds since 1970, a column each for year, month and day.

Where days and months can be told apart in two ways, what all dates together allow is taken: that they rise,
and that none is missing. Where both do, the error asks.
"""

import functools
import re
import zoneinfo
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, cast

import numpy as np

from ...base.errors import InputError, shown
from .files import Table, pandas
from .numbers import is_missing
from .options import DateOptions

_TIME = r"(?:[T ]+(?P<time>\d{1,2}(?::\d{2}(?::\d{2}(?:[.,]\d+)?)?)?)\s*(?P<half>[AaPp]\.?[Mm]\.?)?)?"
_OFFSET = r"\s*(?P<offset>Z|UTC|GMT|[+-]\d{2}:?\d{2}|[+-]\d{2})?"
_ISO = re.compile(rf"(\d{{4}})(?:([-/.])(\d{{1,2}})(?:\2(\d{{1,2}}){_TIME}{_OFFSET})?)?")
_QUARTER = re.compile(r"(?:(\d{4})[-\s]?[Qq]([1-4])|[Qq]([1-4])[-\s/]?(\d{4}))")
_WEEK = re.compile(r"(\d{4})-?[Ww](\d{2})(?:-?([1-7]))?")
_MIXED = re.compile(rf"(\d{{1,2}})([-/.])(\d{{1,2}})\2(\d{{4}}|\d{{2}}){_TIME}{_OFFSET}")
_WEEKDAY = r"(?:(?:Mon|Tues?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?\.?,?\s+)"
_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"
_NAMED = re.compile(
    rf"{_WEEKDAY}?(?:\d{{1,2}}[-\s./]*)?(?i:{_MONTH})\.?[-\s.,/]*(?:\d{{1,2}},?\s+)?\d{{2,4}}{_TIME}{_OFFSET}"
)
_COMPACT = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])")
_NAMES = ("%d-%b-%Y", "%d-%B-%Y", "%d-%b-%y", "%d-%B-%y", "%b-%d-%Y", "%B-%d-%Y", "%b-%Y", "%B-%Y", "%b-%y")
LIKE_DATES = re.compile(
    r"(?i)(?<![a-z])(dates?|times?|days?|months?|years?|weeks?|quarters?|period|epoch|ds|datum|index)(?![a-z])"
    r"|date$|time|stamp"
)
_PARTS = ("year", "month", "day", "hour", "minute", "second")
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")
_WHOLE = re.compile(r"[0-9]{1,19}")
_DOTTED = re.compile(r"\d{1,2}\.\d{2}(\.\d{2})?")  # which numbers are as well
_HOURS = re.compile(r"(?i)^(hour|hr|time|uhrzeit|heure)s?$")
_RANGES = {
    "quarter": (1, 4),
    "week": (1, 53),
    "year": (1000, 3000),
    "month": (1, 12),
    "day": (1, 31),
    "hour": (0, 23),
    "minute": (0, 59),
    "second": (0, 59),
}
_EPOCHS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}  # a second
_SINCE, _UNTIL = 1e8, 5e9  # seconds since 1970 that are taken for dates: 1973 to 2128
UNITS = {1: "Y", 2: "M", 3: "D", 5: "m", 6: "s"}  # parts of a date that are written -> how it is shown


@dataclass(frozen=True)
class Dates:
    """Instants, datetime64 in seconds ``[N]``: of UTC where dates have offsets or a ``zone``.

    ``unit``: in which they are shown, ``Y Q M W D m s``; ``columns``: they were read from; ``said``: how.
    """

    values: np.ndarray
    unit: str
    columns: tuple[str, ...]
    zone: str | None = None
    said: str = ""

    def shown(self, values: np.ndarray) -> list[str]:
        """Instants as they were written."""
        return written(values, self.unit, self.zone)


def written(values: np.ndarray, unit: str, zone: str | None = None) -> list[str]:
    """Instants in a unit, by the clocks of a zone."""
    values = local(values, zone)
    if unit == "Q":
        months = values.astype("datetime64[M]").astype(np.int64)
        return [f"{1970 + m // 12}Q{m % 12 // 3 + 1}" for m in months.tolist()]
    if unit == "W":
        return [
            f"{d.isocalendar().year}-W{d.isocalendar().week:02}"
            for d in values.astype("datetime64[D]").tolist()
        ]
    texts = np.datetime_as_string(values, unit=cast(Any, unit))
    return [str(d).replace("T", " ") for d in texts]


def local(values: np.ndarray, zone: str | None) -> np.ndarray:
    """What clocks of a zone show at instants."""
    if zone is None:
        return values
    there = pandas().DatetimeIndex(values).tz_localize("UTC").tz_convert(zone).tz_localize(None)
    return there.to_numpy().astype("datetime64[s]")


def instants(values: np.ndarray, zone: str, **clocks: Any) -> np.ndarray:
    """What clocks of a zone show, as instants of UTC; ``clocks``: what pandas' ``tz_localize`` is to do with
    hours that they show twice, or not at all.
    """
    there = pandas().DatetimeIndex(values).tz_localize(zone, **clocks)
    return there.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[s]")


def date_column(table: Table, how: DateOptions) -> tuple[str, ...]:
    """The columns of the dates: the first that holds dates, with the times of day beside it, or those of
    year, month, day and so on; empty: none.
    """
    parts = _parts(table)
    for name in table.columns:
        if name not in parts and _form(table, name, how) is not None:
            return (name, *_hours_beside(table, name))
    return parts


def read_dates(table: Table, columns: Sequence[str], how: DateOptions, groups: Any = None) -> Dates:
    """The dates of a column, or of columns of their parts.

    Args:
        groups: of each row the series that it belongs to, where there are several.

    Raises:
        InputError: names the row of what is no date, or asks whether the day or the month is first.
    """
    if len(columns) > 1 and columns != _parts(table):
        day, hour = columns
        return replace(read_dates(_with_hours(table, day, hour), (day,), how, groups), columns=tuple(columns))
    if len(columns) > 1:
        found = _joined(table, columns, how, groups)
    elif (form := _form(table, columns[0], how)) is not None:
        found = form(table, columns[0], how, groups)
    else:
        holds = f"holds {shown(table.frame[columns[0]][0])}, which is no date"
        mend = "write it like 2012-01-31, or give --date-format"
        raise InputError(f"{table.at(0, columns[0])} {holds}: {mend}")
    return found if how.time_zone is None else _localised(table, found, how.time_zone, groups)


def _form(table: Table, name: str, how: DateOptions) -> Callable[..., Dates] | None:
    """How the dates of a column are written; None: it holds none."""
    series = _as_dates(table, name)
    if str(series.dtype).startswith(("datetime", "period")):
        return _ready
    cells = [str(c).strip() for c in series.tolist() if not is_missing(c)]
    if not cells:
        return None
    if how.date_format is not None:
        obeyed = _some(cells, functools.partial(_strptime, pattern=how.date_format))
        return _by_pattern(how.date_format, "", f"--date-format {how.date_format}") if obeyed else None
    like = bool(LIKE_DATES.search(name))
    for form, fits in _FORMS.items():
        if _some(cells, fits.fullmatch):
            return form
    if all(_WHOLE.fullmatch(c) for c in cells):
        whole = np.array([int(c) for c in cells[:1000]], np.float64)
        if like and _some(cells, _COMPACT.fullmatch):
            return _by_pattern("%Y%m%d", "dates as 20200131")
        first = name == table.columns[0]
        if like and len(cells[0]) == 4 and (whole >= 1000).all() and (whole <= 3000).all():
            return _by_pattern("%Y", "years")
        if (like or first) and _epoch(whole) and (np.diff(whole) >= 0).all():
            return _by_epoch
    return None


def _as_dates(table: Table, name: str) -> Any:
    """A column; one of objects that are dates, as from Excel, as pandas keeps such."""
    series = table.frame[name]
    if series.dtype == object and len(series) and hasattr(series[0], "year"):
        try:
            return pandas().to_datetime(series)
        except (ValueError, TypeError):
            return series
    return series


def _some(cells: Sequence[str], fits: Callable[[str], Any]) -> bool:
    """Whether a way of writing is that of most of the first cells."""
    tried = cells[:100]
    return 2 * sum(bool(fits(c)) for c in tried) > len(tried)


# ------------------------------------------------------------------ ways to write a date


def _no_date(table: Table, name: str, i: int, like: str) -> InputError:
    cell = table.frame[name][i]
    said = "is empty" if is_missing(cell) else f"holds {shown(str(cell).strip())}, which is no date"
    return InputError(f"{table.at(i, name)} {said} like {like}: mend it, or give --date-format")


def _matched(
    table: Table, name: str, fits: re.Pattern[str], instant: Callable[[re.Match[str]], str]
) -> tuple[np.ndarray, list[re.Match[str]]]:
    """All cells of a column: datetime64 in seconds, and how each matched."""
    cells = [str(c).strip() for c in table.frame[name].tolist()]
    found, matches = np.empty(len(cells), "datetime64[s]"), list[re.Match[str]]()
    for i, cell in enumerate(cells):
        match = fits.fullmatch(cell)
        try:
            if match is None:
                raise ValueError
            found[i] = np.datetime64(instant(match), "s")
        except ValueError:
            raise _no_date(table, name, i, next(c for c in cells if fits.fullmatch(c))) from None
        matches.append(match)
    return found, matches


def _clock(match: re.Match[str]) -> str:
    """The time of day that a match holds, as ISO 8601."""
    if match["time"] is None:
        return "T00:00:00"
    hour, *rest = match["time"].replace(",", ".").split(":")
    hours = int(hour)
    if match["half"]:
        if not 1 <= hours <= 12:
            raise ValueError
        hours = hours % 12 + 12 * (match["half"][0] in "pP")
    return f"T{hours:02}:{':'.join(rest) or '00'}"


def _finest(matches: Sequence[re.Match[str]], parts: int) -> str:
    """The unit of dates of so many parts and their times of day."""
    times = [m["time"] for m in matches if m["time"]]
    return (
        ("s" if any(t.count(":") > 1 and not t.split(":")[2].startswith("00") for t in times) else "m")
        if times
        else UNITS[parts]
    )


def _with_offsets(
    table: Table, name: str, found: np.ndarray, matches: Sequence[re.Match[str]]
) -> tuple[np.ndarray, str | None]:
    """Instants of UTC, where cells have offsets, and its name."""
    offsets = [m["offset"] for m in matches]
    if not any(offsets):
        return found, None
    if not all(offsets):
        i = offsets.index(None)
        raise InputError(f"{table.at(i, name)} has no offset from UTC, which others have: add it")
    seconds = {o: 0 if o.isalpha() else _seconds(o) for o in set(offsets) if o}
    return found - np.array([seconds[o] for o in offsets]).astype("timedelta64[s]"), "UTC"


def _seconds(offset: str) -> int:
    digits = offset[1:].replace(":", "").ljust(4, "0")
    return (int(digits[:2]) * 3600 + int(digits[2:]) * 60) * (-1 if offset[0] == "-" else 1)


def _iso(table: Table, name: str, how: DateOptions, groups: Any) -> Dates:
    def instant(m: re.Match[str]) -> str:
        return f"{m[1]}-{int(m[3] or 1):02}-{int(m[4] or 1):02}{_clock(m)}"

    found, matches = _matched(table, name, _ISO, instant)
    parts = max(1 + (m[3] is not None) + (m[4] is not None) for m in matches)
    unit = _finest(matches, parts)
    found, zone = _with_offsets(table, name, found, matches)
    return Dates(found, unit, (name,), zone, "dates with offsets, in UTC" if zone else "")


def _quarters(table: Table, name: str, how: DateOptions, groups: Any) -> Dates:
    def instant(m: re.Match[str]) -> str:
        return f"{m[1] or m[4]}-{3 * int(m[2] or m[3]) - 2:02}-01"

    return Dates(_matched(table, name, _QUARTER, instant)[0], "Q", (name,), None, "quarters")


def _weeks(table: Table, name: str, how: DateOptions, groups: Any) -> Dates:
    def instant(m: re.Match[str]) -> str:
        return date.fromisocalendar(int(m[1]), int(m[2]), int(m[3] or 1)).isoformat()

    found, matches = _matched(table, name, _WEEK, instant)
    unit = "D" if any(m[3] for m in matches) else "W"
    return Dates(found, unit, (name,), None, "weeks of ISO 8601" if unit == "W" else "")


def _day_and_month(table: Table, name: str, how: DateOptions, groups: Any) -> Dates:
    """Day first or month first, as all of them together allow."""
    readings: dict[bool, Dates] = {}
    errors: dict[bool, InputError] = {}
    example = str(table.frame[name][0]).strip()
    ways = (True, False) if how.dayfirst is None else (how.dayfirst,)
    for dayfirst in (True,) if how.dayfirst is None and "." in example[:3] else ways:  # 31.01.2020

        def instant(m: re.Match[str], dayfirst: bool = dayfirst) -> str:
            day, month = (m[1], m[3]) if dayfirst else (m[3], m[1])
            year = int(m[4]) + (0 if len(m[4]) == 4 else 2000 if int(m[4]) < 69 else 1900)
            return f"{year:04}-{int(month):02}-{int(day):02}{_clock(m)}"

        try:
            found, matches = _matched(table, name, _MIXED, instant)
        except InputError as error:
            errors[dayfirst] = error
            continue
        found, zone = _with_offsets(table, name, found, matches)
        said = f"dates like {example} with the {'day' if dayfirst else 'month'} first"
        readings[dayfirst] = Dates(found, _finest(matches, 3), (name,), zone, said)
    if not readings:
        raise max(errors.values(), key=lambda e: str(e))
    rising = {k: d for k, d in readings.items() if _rises(d.values, groups)} or readings
    regular = {k: d for k, d in rising.items() if _is_regular(d.values, groups)} or rising
    if len(regular) > 1 and any((regular[True].values != regular[False].values).tolist()):
        first = [d.shown(d.values[:2])[-1] for d in regular.values()]
        second = str(table.frame[name][min(1, len(table) - 1)]).strip()
        said = f"has dates like {second[:40]}, which is {first[0]} or {first[1]}"
        raise InputError(f"{table.name}: column {shown(name)} {said}: say by --dayfirst or --no-dayfirst")
    return next(iter(regular.values()))


def _named(table: Table, name: str, how: DateOptions, groups: Any) -> Dates:
    """With the name of a month, in English."""
    cells = [str(c).strip() for c in table.frame[name].tolist()]
    parts = [_date_part(m) for m in map(_NAMED.fullmatch, cells) if m]
    ways = [p for p in _NAMES if _some(parts, functools.partial(_strptime, pattern=p))]
    if not ways:
        raise _no_date(table, name, 0, "06-Jan-2020")

    def instant(m: re.Match[str]) -> str:
        return f"{_strptime(_date_part(m), ways[0])}{_clock(m)}"

    found, matches = _matched(table, name, _NAMED, instant)
    found, zone = _with_offsets(table, name, found, matches)
    unit = _finest(matches, 3 if "%d" in ways[0] else 2)
    return Dates(found, unit, (name,), zone, f"dates like {cells[0]}")


def _date_part(match: re.Match[str]) -> str:
    """A match without its day of the week and its time of day, ``-`` between what is left."""
    end = match.start("time") if match["time"] else match.start("offset") if match["offset"] else match.end()
    day = re.sub(f"^{_WEEKDAY}", "", match[0][: end - match.start()].rstrip(" T"))
    return re.sub(r"(?i)-sept-", "-Sep-", re.sub(r"[-\s.,/]+", "-", day).strip("-"))


def _strptime(text: str, pattern: str) -> str | None:
    """A day (and time, where the pattern has one; of UTC, where it has an offset) as ISO 8601."""
    try:
        found = datetime.strptime(text, pattern)
    except ValueError:
        return None
    if found.tzinfo is not None:
        found = found.astimezone(UTC).replace(tzinfo=None)
    return found.isoformat() if _has(pattern, "HIMS") else f"{found:%Y-%m-%d}"


def _has(pattern: str, letters: str) -> bool:
    return any(f"%{letter}" in pattern for letter in letters)


def _by_pattern(pattern: str, said: str, like: str = "") -> Callable[..., Dates]:
    """By a format of ``strptime``; ``like``: what a date is like, in place of the first of them."""

    def read(table: Table, name: str, how: DateOptions, groups: Any) -> Dates:
        found = []
        for i, cell in enumerate(table.frame[name].tolist()):
            value = _strptime(str(cell).strip(), pattern)
            if value is None:
                raise _no_date(table, name, i, like or str(table.frame[name][0]).strip())
            found.append(np.datetime64(value, "s"))
        unit = (
            "s"
            if _has(pattern, "S")
            else "m"
            if _has(pattern, "HI")
            else "D"
            if _has(pattern, "djx")
            else "M"
        )
        unit = "Y" if pattern == "%Y" else unit
        return Dates(np.array(found), unit, (name,), "UTC" if _has(pattern, "z") else None, said)

    return read


def _epoch(values: np.ndarray) -> str | None:
    """The unit of integers that may count from 1970 on."""
    return next(
        (u for u, n in _EPOCHS.items() if (values >= _SINCE * n).all() and (values <= _UNTIL * n).all()), None
    )


def _by_epoch(table: Table, name: str, how: DateOptions, groups: Any) -> Dates:
    cells = [str(c).strip() for c in table.frame[name].tolist()]
    for i, cell in enumerate(cells):
        if not _WHOLE.fullmatch(cell):
            raise _no_date(table, name, i, cells[0])
    values = [int(c) for c in cells]
    unit = _epoch(np.array(values[:1000], np.float64)) or "s"
    seconds = np.array([v // _EPOCHS[unit] for v in values], np.int64)
    words = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}[unit]
    found = seconds.astype("datetime64[s]")
    return Dates(found, _coarsest(found), (name,), "UTC", f"{words} since 1970, in UTC")


def _coarsest(found: np.ndarray) -> str:
    """The unit that is enough to show instants: days, minutes, seconds."""
    seconds = found.astype(np.int64)
    return "D" if not (seconds % 86_400).any() else "m" if not (seconds % 60).any() else "s"


_FORMS: dict[Callable[..., Dates], re.Pattern[str]] = {
    _quarters: _QUARTER,
    _weeks: _WEEK,
    _iso: re.compile(rf"(?!\d{{4}}$)(?:{_ISO.pattern})"),  # a year alone is a number, or `_form` says
    _day_and_month: _MIXED,
    _named: _NAMED,
}


# ------------------------------------------------------------------ other columns


def _parts(table: Table) -> tuple[str, ...]:
    """Columns named year, month, day and so on that hold such numbers, the largest first, or year and
    quarter or week; empty: there are none.
    """
    names = {c.strip().lower(): c for c in table.columns}
    for parts in (_PARTS, ("year", "quarter"), ("year", "week")):
        found: list[str] = []
        for part in parts:
            low, high = _RANGES[part]
            cells = [str(c).strip() for c in table.frame[names[part]].tolist()] if part in names else ["-"]
            if not all(re.fullmatch(r"\d+(\.0)?", c) and low <= float(c) <= high for c in cells):
                break
            found.append(names[part])
        if len(found) > 1:
            return tuple(found)
    return ()


def _hours_beside(table: Table, name: str) -> tuple[str, ...]:
    """The column of the times of day of a column of days; empty: there is none."""
    days = [str(c).strip().removesuffix(" 00:00:00") for c in table.frame[name].tolist()]
    repeated = len(set(days)) < len(days)  # else a row is a day, whatever time it also holds
    for other in table.columns if not any(":" in c for c in days[:100]) else ():
        cells, named = [str(c).strip() for c in table.frame[other].tolist()], _HOURS.search(other.strip())
        hours = all(re.fullmatch(r"\d+(\.0)?", c) and float(c) < 24 for c in cells)
        clock = all(_CLOCK.fullmatch(c) for c in cells)
        dotted = named and all(_DOTTED.fullmatch(c) for c in cells)
        if other != name and ((repeated and named and hours) or ((repeated or named) and (clock or dotted))):
            return (other,)
    return ()


def _with_hours(table: Table, day: str, hour: str) -> Table:
    """The table with times of day behind its days."""
    times = [str(c).strip().replace(".", ":") for c in table.frame[hour].tolist()]
    times = [t if t.count(":") and not t.endswith(":0") else f"{t.removesuffix(':0')}:00" for t in times]
    days = [str(c).strip().removesuffix(" 00:00:00") for c in table.frame[day].tolist()]
    joined = [f"{d} {t}" for d, t in zip(days, times, strict=True)]
    return replace(table, frame=table.frame.assign(**{day: joined}))


def _joined(table: Table, columns: Sequence[str], how: DateOptions, groups: Any) -> Dates:
    parts = [[int(float(str(c).strip())) for c in table.frame[name].tolist()] for name in columns]
    said, last = f"dates from columns {', '.join(columns)}", columns[-1].strip().lower()
    if last in ("quarter", "week"):
        texts = [f"{y}Q{q}" if last == "quarter" else f"{y}-W{q:02}" for y, q in zip(*parts, strict=True)]
        one = replace(table, frame=table.frame.assign(**{columns[0]: texts}))
        form = _quarters if last == "quarter" else _weeks
        return replace(form(one, columns[0], how, groups), columns=tuple(columns), said=said)
    found = np.empty(len(table), "datetime64[s]")
    for i in range(len(table)):
        row = [part[i] for part in parts]
        year, month, day, hour, minute, second = [*row, *[1, 1, 1, 0, 0, 0][len(row) :]]
        try:
            found[i] = np.datetime64(f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}", "s")
        except ValueError:
            day_shown = f"{year}-{month}-{day}"
            raise InputError(f"{table.name} row {table.rows[i]}: {day_shown} is no day: mend it") from None
    unit = {1: "Y", 2: "M", 3: "D", 4: "m", 5: "m", 6: "s"}[len(columns)]
    return Dates(found, unit, tuple(columns), None, said)


def _ready(table: Table, name: str, how: DateOptions, groups: Any) -> Dates:
    """Of a column that holds dates already."""
    library, series = pandas(), _as_dates(table, name)
    if series.isna().any():
        raise _no_date(table, name, int(series.isna().to_numpy().argmax()), "2012-01-31")
    if isinstance(series.dtype, library.PeriodDtype):
        unit = str(series.dtype).removeprefix("period[")[0]
        values = series.dt.to_timestamp().to_numpy().astype("datetime64[s]")
        return Dates(values, unit if unit in "YQMWD" else "m", (name,))
    zone = None if series.dt.tz is None else str(series.dt.tz)
    if zone is not None:
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    values = series.to_numpy().astype("datetime64[s]")
    unit = _coarsest(values)
    return Dates(values, "m" if zone is not None and unit == "D" else unit, (name,), zone)


def _localised(table: Table, dates: Dates, zone: str, groups: Any) -> Dates:
    """Dates by the clocks of a zone as instants."""
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise InputError(f"--time-zone {shown(zone)} is unknown: write it like Europe/Berlin") from None
    if dates.zone is not None:  # instants already
        return replace(dates, zone=zone, said=f"dates by the clocks of {zone}")
    found = dates.values.copy()
    for rows in _rows_by_group(len(found), groups):
        try:
            found[rows] = instants(found[rows], zone, ambiguous="infer", nonexistent="raise")
        except Exception as error:  # pandas raises errors of pytz, of zoneinfo and of its own here
            what = f"an hour that clocks of {zone} do not show once ({error})"
            raise InputError(f"{table.name}: column {shown(dates.columns[0])} has {what}: mend it") from None
    return replace(dates, values=found, zone=zone, said=f"dates by the clocks of {zone}")


def _rows_by_group(count: int, groups: Any) -> list[np.ndarray]:
    """The rows of each series."""
    if groups is None:
        return [np.arange(count)]
    groups = np.asarray(groups)
    order, (_, sizes) = np.argsort(groups, kind="stable"), np.unique(groups, return_counts=True)
    return np.split(order, np.cumsum(sizes)[:-1])


def _rises(values: np.ndarray, groups: Any) -> bool:
    return all(
        (np.diff(values[rows]).astype(np.int64) > 0).all() for rows in _rows_by_group(len(values), groups)
    )


def _is_regular(values: np.ndarray, groups: Any) -> bool:
    """Whether dates are as far from each other as a rule: in days or in months, weekends left out or not."""
    for rows in _rows_by_group(len(values), groups):
        v = values[rows]
        days = v.astype("datetime64[D]")
        months = np.diff(v.astype("datetime64[M]").astype(np.int64))
        ways: list[Any] = [np.diff(v).astype(np.int64), months]
        if len(days) and ((days.astype(np.int64) + 3) % 7).max() < 5:
            ways.append(np.busday_count(days[:-1], days[1:]))
        if not any(len(w) == 0 or (w[0] > 0 and (w == w[0]).all()) for w in ways):
            return False
    return True
