"""What lies between the rows of a series: years, months, days, business days, hours, hours of trading."""

from dataclasses import dataclass

import numpy as np

from ..tables.dates import instants, local

DAY = 86_400  # seconds
WEEK = 7 * DAY
_MONDAY = 4 * DAY  # 1970-01-05
_LEAST = 0.6  # part of the slots of a week that as a rule have a row, of a calendar of slots
_WORDS = {60: "minute", 3600: "hour", DAY: "day", WEEK: "week"}
_MONTHS = {1: "months", 3: "quarters", 6: "half years", 12: "years"}


@dataclass(frozen=True)
class Calendar:
    """Numbers the steps of time, as a rule of how dates follow each other.

    ``kind``: ``"rows"``, where there are no dates; ``"months"``, of which a step has ``n``; ``"seconds"``,
    likewise; ``"slots"``: seconds of the week (from Monday on) that have rows, ``slots``, as on business days
    or while an exchange is open. ``zone``: in which clocks days begin; instants are of UTC then.
    """

    kind: str
    n: float = 1
    slots: tuple = ()
    zone: str | None = None

    @classmethod
    def of(cls, parts, zone=None):
        """That of dates, datetime64 in seconds, of several series; each rises."""
        parts = [local(p, zone) for p in parts if len(p) > 1]
        gaps = [np.diff(p).astype(np.int64) for p in parts]
        if not gaps:
            return cls("seconds", DAY, zone=zone)
        usual = float(np.median(np.concatenate(gaps)))
        if usual >= 28 * DAY and not _every(parts, gaps, usual):
            months = np.concatenate([np.diff(_months(p)) for p in parts])
            return cls("months", max(1, round(float(np.median(months)))), zone=zone)
        return cls._slotted(parts, usual, zone) or cls("seconds", usual, zone=zone)

    @classmethod
    def _slotted(cls, parts, usual, zone):
        """A calendar of slots, where a good part of a week never has rows: each closed slot was passed in two
        weeks or more, or is of a weekend that is closed, or at a time of day that is closed on all days.
        """
        seen = np.concatenate([(p.astype(np.int64) - _MONDAY) % WEEK for p in parts])
        weeks = np.concatenate([np.unique((p.astype(np.int64) - _MONDAY) // WEEK) for p in parts])
        slots, counts = np.unique(seen, return_counts=True)
        whole = round(WEEK / usual)
        often = slots[counts >= 0.5 * counts.max()]
        if usual > DAY or len(seen) < 10 or len(slots) > 0.9 * whole or len(weeks) < 2:
            return None
        # All rows are in them, most of them have rows, and what they leave out is a night or a weekend.
        if len(often) < len(slots) * _LEAST or len(seen) < _LEAST * len(slots) * (len(weeks) - 1):
            return None
        closed = np.setdiff1d((slots[0] + np.round(np.arange(whole) * usual).astype(np.int64)) % WEEK, slots)
        ends = [((p[[0, -1]].astype(np.int64) - _MONDAY)[:, None] - closed) / WEEK for p in parts]
        passed = np.max([np.floor(last) - np.ceil(first) + 1 for first, last in ends], axis=0)
        usually = ((slots < 5 * DAY).all() & (closed >= 5 * DAY)) | ~np.isin(closed % DAY, slots % DAY)
        if (passed < 2 - usually).any():
            return None
        return cls("slots", usual, tuple(int(s) for s in slots), zone)

    def index(self, dates) -> np.ndarray:
        """``[N]``, the numbers of the steps that dates are, fractions where they are between two."""
        if self.kind == "rows":
            return np.asarray(dates, np.float64)
        if self.kind == "months":
            return _months(local(dates, self.zone)) / self.n
        seconds = (local(dates, self.zone) if self._by_clock else dates).astype(np.int64)
        if self.kind == "seconds":
            return seconds / self.n
        week, second = np.divmod(seconds - _MONDAY, WEEK)
        return week * len(self.slots) + np.interp(
            second, [*self.slots, WEEK + self.slots[0]], np.arange(len(self.slots) + 1)
        )

    def position(self, dates) -> np.ndarray:
        """``[N]``, integers: the step that a date is, by clocks, which show the hours of a day."""
        if self.kind == "seconds":
            return np.round(local(dates, self.zone).astype(np.int64) / self.n).astype(np.int64)
        return np.round(self.index(dates)).astype(np.int64)

    def dates(self, last, count) -> np.ndarray:
        """Those of the ``count`` steps after the date ``last`` (numbers of rows where there are none)."""
        ahead = np.arange(1, count + 1)
        if self.kind == "rows":
            return last + ahead
        if self.kind == "seconds" and not self._by_clock:
            return last + (ahead * self.n).astype("timedelta64[s]")
        here = local(np.array([last]), self.zone)[0]
        if self.kind == "seconds":
            found = here + (ahead * self.n).astype("timedelta64[s]")
        elif self.kind == "slots":
            week, slot = np.divmod(np.floor(self.index(np.array([last]))) + ahead, len(self.slots))
            seconds = _MONDAY + week * WEEK + np.array(self.slots)[slot.astype(np.int64)]
            found = seconds.astype(np.int64).astype("datetime64[s]")
        else:
            month = here.astype("datetime64[M]")
            # the 31st of a short month is its last day
            ends = (month + ahead * self.n + 1).astype("datetime64[s]") - np.timedelta64(DAY, "s")
            found = np.minimum(
                (month + ahead * self.n).astype("datetime64[s]") + (here - month.astype("datetime64[s]")),
                ends,
            )
        if self.zone is None:
            return found
        # an hour that clocks show twice is the first, one that they leave out is the next
        first = np.ones(len(found), bool)
        return instants(found, self.zone, ambiguous=first, nonexistent="shift_forward")

    @property
    def _days(self) -> int:
        """Of a week on which there are slots."""
        return len({s // DAY for s in self.slots})

    @property
    def _by_clock(self) -> bool:
        """Whether steps are told by clocks, not by instants: days, slots."""
        return self.zone is not None and (self.kind != "seconds" or self.n % DAY == 0)

    def seasons(self, rows) -> list[int]:
        """Steps of the seasons by custom, the first the usual one: 12 months, 4 quarters, 52 weeks, 365 days
        (of two years) and 7, 24 hours and 168, days and weeks of slots; empty: there are none.
        """
        if self.kind == "rows":
            return []
        if self.kind == "months":
            found = [round(12 / self.n)]
        elif self.kind == "slots":
            count, days = len(self.slots), self._days
            found = [count] if days == count else [count // days, count]
        elif self.n < DAY:
            found = [round(DAY / self.n), round(WEEK / self.n)]
        else:
            year = round(365.25 * DAY / self.n)
            found = [year, 7] if self.n == DAY and rows >= 2 * year else [7] if self.n == DAY else [year]
        return [m for i, m in enumerate(found) if m > 1 and (i == 0 or rows >= 2 * m)]

    def phase(self, dates, season) -> np.ndarray:
        """Where in the season dates are, in [0, 1); by clocks, where they have a zone."""
        here = dates if self.kind == "rows" else local(dates, self.zone)
        if self.kind == "slots":
            days = self._days
            of = DAY if len(self.slots) // days == season and days != len(self.slots) else WEEK
            n = of / season
            return (here.astype(np.int64) - _MONDAY) / (season * n) % 1
        if self.kind == "seconds":
            year = (season, self.n) == (365, DAY)  # a year is a quarter of a day longer
            return here.astype(np.int64) / ((365.25 if year else season) * self.n) % 1
        return (here if self.kind == "rows" else _months(here) / self.n) / season % 1

    @property
    def steps(self) -> str:
        """What a row is to a model: as `words`, but slots that a few weeks lack are not told."""
        if self.kind == "slots" and self._days != len(self.slots):
            return f"{len(self.slots) / self._days:.0f} times a day on {self._days} days a week"
        return self.words

    @property
    def words(self) -> str:
        """What a row is, in words."""
        if self.kind == "months":
            return _MONTHS.get(int(self.n), f"every {self.n} months")
        if self.kind == "slots":
            days = self._days
            if self.slots == tuple(DAY * i for i in range(5)):
                return "business days"
            if days == len(self.slots):
                return f"{days} days a week"
            return f"{len(self.slots)} times a week on {days} days"
        if self.kind == "rows":
            return "rows without dates"
        unit = max((u for u in _WORDS if self.n % u == 0), default=1)
        word, many = _WORDS.get(unit, "second"), self.n / unit
        return f"{word}s" if many == 1 else f"every {many:g} {word}s"


def _every(parts, gaps, usual):
    """Whether dates are so many days apart, not months: on other days of the month, not its last."""
    days = [p.astype("datetime64[D]") for p in parts]
    of_month = np.unique(np.concatenate([(d - d.astype("datetime64[M]")).astype(np.int64) for d in days]))
    even = usual % DAY == 0 and all((g % usual == 0).all() for g in gaps)
    return even and len(of_month) > 1 and of_month.min() < 27


def _months(dates):
    """Since 1970."""
    return dates.astype("datetime64[M]").astype(np.int64)
