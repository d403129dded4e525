"""How a table is read, where what is found by trying is to be another."""

from dataclasses import dataclass
from typing import Literal

from ...base.options import Options, option


@dataclass(frozen=True, kw_only=True)
class TableOptions(Options):
    """Of all tasks that read tables; None: found by trying, and said."""

    separator: str | None = option(
        None, r"What stands between columns, such as ';' or '\t'. Default: found by trying.", "Table"
    )
    decimal: Literal[".", ","] | None = option(
        None, "Sign before the fractions of numbers. Default: found by trying.", "Table"
    )
    header: bool | None = option(
        None, "The first row names the columns. Default: unless it looks like the others.", "Table"
    )
    sheet: str | None = option(None, "Sheet of an Excel file. Default: the only one.", "Table")


@dataclass(frozen=True, kw_only=True)
class DateOptions(Options):
    """Of tasks that read dates."""

    dayfirst: bool | None = option(
        None, "03/04/2020 is the third of April. Default: what all dates together allow.", "Table"
    )
    date_format: str | None = option(
        None, "How dates are written, such as %d.%m.%Y. Default: found by trying.", "Table", metavar="FORMAT"
    )
    time_zone: str | None = option(
        None, "Where clocks show the hours, such as Europe/Berlin. Default: clocks are never changed.",
        "Table", metavar="ZONE",
    )  # fmt: skip
