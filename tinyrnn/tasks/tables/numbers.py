"""Numbers as people write them: ``1,234.5``, ``1.234,5``, ``1 234``, ``$12``, ``(3.50)``, ``12 %``."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...base.errors import InputError, few, shown
from .options import TableOptions

MISSING = {"", *"na n/a #n/a <na> nan nat null none - -- ? . nd missing".split()}
LARGEST = 1e100  # what is squared and added up stays finite
_UNIT = r"(?:[$€£¥₹]|USD|EUR|GBP|JPY|CHF|INR|CNY)"
_NUMBER = re.compile(
    rf"(?P<open>\()?\s*(?P<sign1>[-+−])?\s*(?P<unit1>{_UNIT})?\s*(?P<sign2>[-+−])?"
    rf"(?P<digits>\d[\d.,' \u00a0\u202f’]*|[.,]\d+)(?P<power>[eE][-+]?\d+)?"
    rf"\s*(?P<percent>%)?\s*(?P<unit2>{_UNIT})?\s*(?P<close>\))?"
)
_SPACES = str.maketrans("", "", "' \u00a0\u202f’")
_SPACED = re.compile(r"\d{1,3}(?:[' \u00a0\u202f’]\d{3})+(?:[.,]\d*)?")
_GROUPS = {",": re.compile(r"\d{1,3}(?:,\d{3})+"), ".": re.compile(r"\d{1,3}(?:\.\d{3})+")}
_DATE = re.compile(
    r"\d{4}(-?(W\d\d(-?\d)?|Q[1-4])|[-/.]\d{1,2}([-/.]\d{1,2})?)([T ].*)?"
    r"|\d{1,2}[-/.](\d{1,2}|[A-Za-z]{3,9})[-/.]\d{2,4}.*"
    r"|[A-Za-z]{3,9}\.?[- ]\d{1,2},?[- ]\d{2,4}|\d{1,2} [A-Za-z]{3,9} \d{2,4}|Q[1-4][- ]?\d{4}"
)
_OTHER = {",": ".", ".": ","}


def looks_like_value(cell: Any) -> bool:
    """Whether a cell is a number, a date or nothing, however written."""
    text = str(cell).strip()
    return bool(_NUMBER.fullmatch(text) or _DATE.fullmatch(text)) or text.lower() in MISSING


@dataclass
class Notation:
    """How the numbers of a table are written.

    ``decimal``: the sign before fractions; ``said``: what is worth saying of it.
    """

    decimal: str = "."
    said: str = ""

    @classmethod
    def of(cls, table: Any, columns: Any) -> "Notation":
        """What all cells of ``columns`` together allow.

        Raises:
            InputError: both signs stand before fractions, or nothing tells what ``1,234`` is.
        """
        how: TableOptions = table.how
        if how.decimal is not None:
            return cls(how.decimal)
        seen: dict[str, tuple[int, str]] = {}  # decimal sign -> a cell that shows it
        open_cells: dict[str, tuple[int, str]] = {}  # sign -> a cell where it may be either
        for name in columns:
            for i, cell in enumerate(table.frame[name].tolist()):
                digits = _digits(cell)
                if digits is None:
                    continue
                sign, sure = _decimal(digits)
                if sign is not None:
                    (seen if sure else open_cells).setdefault(sign, (i, name))
        if len(seen) > 1:
            (i, a), (j, b) = seen["."], seen[","]
            one, other = (table.frame[name][k].strip()[:40] for name, k in ((a, i), (b, j)))
            cells = f"{one} in row {table.rows[i]} and {other} in row {table.rows[j]}"
            raise InputError(
                f"{table.name} writes fractions as {cells}: say by --decimal which sign is right"
            )
        if seen:
            decimal = next(iter(seen))
            return cls(decimal, "fractions after ','" if decimal == "," else "")
        if "," in open_cells:  # 1,234 and nothing else
            i, name = open_cells[","]
            cell = table.frame[name][i]
            if table.separator != ",":
                value = cell.strip()
                readings = f"{value.replace(',', '')} or {value.replace(',', '.')}"
                mend = "say by --decimal . or --decimal ,"
                raise InputError(f"{table.at(i, name)} holds {shown(cell)}, which is {readings}: {mend}")
            return cls(".", f"numbers like {cell.strip()[:40]} have thousands")
        if "." in open_cells and table.separator == ";":
            i, name = open_cells["."]
            value = table.frame[name][i].strip()
            readings = f"{value.replace('.', '')[:40]} or {value[:40]}"
            mend = "say by --decimal , or --decimal ."
            raise InputError(f"{table.at(i, name)} holds {shown(value)}, which is {readings}: {mend}")
        return cls()

    def value(self, cell: Any) -> float:
        """A cell as a number; NaN where it is none."""
        if isinstance(cell, bool):
            return np.nan
        if not isinstance(cell, str):
            try:
                return float(cell)
            except (TypeError, ValueError):
                return np.nan
            except OverflowError:  # which whoever reads it refuses as too large
                return np.inf if cell > 0 else -np.inf
        match = _NUMBER.fullmatch(cell.strip())
        if match is None or bool(match["open"]) != bool(match["close"]):
            return np.nan
        digits = match["digits"].strip()
        if any(c in digits for c in "' \u00a0\u202f’") and not _SPACED.fullmatch(digits):
            return np.nan
        digits, thousands = digits.translate(_SPACES), _OTHER[self.decimal]
        whole, point, rest = digits.partition(self.decimal)
        if (
            self.decimal in rest
            or thousands in rest
            or (thousands in whole and not _GROUPS[thousands].fullmatch(whole))
        ):
            return np.nan
        value = float(f"{whole.replace(thousands, '')}{'.' if point else ''}{rest}{match['power'] or ''}")
        signs = [match["sign1"], match["sign2"]]
        minus = sum(s in ("-", "−") for s in signs if s) + bool(match["open"])
        return -value if minus % 2 else value

    def values(self, cells: Any) -> np.ndarray:
        """Cells as float64, NaN where they are no numbers."""
        return np.array([self.value(c) for c in cells], np.float64)


def is_missing(cell: Any) -> bool:
    """Whether a cell stands for nothing: empty, ``NA``, ``?``, None, NaN, and what pandas has for these."""
    return str(cell).strip().lower() in MISSING  # as texts: cells that can be compared to nothing too


def units_of(table: Any, name: str) -> str:
    """What stands beside the numbers of a column, in words; empty: nothing.

    Raises:
        InputError: some have a sign that others lack, or another one.
    """
    found: dict[str, int] = {}
    for i, cell in enumerate(table.frame[name].tolist()):
        match = _NUMBER.fullmatch(cell.strip()) if isinstance(cell, str) else None
        if match is not None:
            unit = (match["unit1"] or match["unit2"] or "") + (match["percent"] or "")
            found.setdefault(unit, i)
    if len(found) > 1 and ("%" in "".join(found) or len([u for u in found if u]) > 1):
        rows = few([f"{table.frame[name][i].strip()[:40]} in row {table.rows[i]}" for i in found.values()], 3)
        raise InputError(f"{table.name}: column {shown(name)} holds {rows}: bring all to one unit")
    return next((u for u in found if u), "")


def is_numeric(table: Any, name: str, notation: Notation) -> bool:
    """Whether more than half of the cells of a column that hold something are numbers."""
    cells = [c for c in table.frame[name].tolist() if not is_missing(c)]
    return 2 * int(np.isfinite(notation.values(cells)).sum()) > len(cells)


def _digits(cell: Any) -> str | None:
    match = _NUMBER.fullmatch(cell.strip()) if isinstance(cell, str) else None
    return None if match is None else match["digits"].strip().translate(_SPACES)


def _decimal(digits: str) -> tuple[str | None, bool]:
    """The sign before the fraction of a number, and whether it can be no other; None: it says nothing."""
    signs = [c for c in digits if c in ".,"]
    if not signs:
        return None, False
    if len(set(signs)) == 2:
        return signs[-1], True
    if len(signs) > 1:  # thousands and millions, or no number
        return (_OTHER[signs[0]], True) if _GROUPS[signs[0]].fullmatch(digits) else (None, False)
    if _GROUPS[signs[0]].fullmatch(digits) and not digits.startswith("0"):
        return signs[0], False
    return signs[0], True
