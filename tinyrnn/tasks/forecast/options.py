"""Options of forecasts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from ...base.options import PART, option
from ...training.robustness import RobustnessOptions
from ...training.task import TaskOptions
from ..tables.options import DateOptions, TableOptions

# In steps; how the errors of a horizon add up is a matrix of its square.
FURTHEST, LONGEST = 10_000, 1_000_000
CALM = "calm"  # as --difference: those that vary least, as earlier versions chose them


Missing = Literal["error", "interpolate", "zero", "mask", "skip"]


@dataclass(frozen=True, kw_only=True)
class SeriesOptions(TableOptions, DateOptions):
    """What is read of a table of series."""

    encoding: str = option("utf-8", "Encoding of the files.", "Data", encoding=True)
    target: str | None = option(
        None, "Column to forecast. Default: the only numeric one.", "Series", metavar="COLUMN", inherited=True
    )
    columns: str | None = option(
        None,
        "Columns to forecast it from, itself included. Default: all numeric ones.",
        "Series",
        metavar="A,B",
        inherited=True,
    )
    date_column: str | None = option(
        None, "Column of the dates. Default: the first that holds dates. none: there are none.", "Series",
        metavar="COLUMN",
    )  # fmt: skip
    id_column: str | None = option(
        None, "Column that says to which of several series a row belongs.", "Series", metavar="COLUMN"
    )
    future: str | None = option(
        None, "Columns that are known before they happen, such as holidays.", "Series", metavar="A,B"
    )
    missing: Missing = option(
        "error", "What to do with missing rows, and with cells that hold no number.", "Series"
    )

    def listed(self, name: str) -> tuple[str, ...]:
        """The columns that an option names."""
        return tuple(c.strip() for c in (getattr(self, name) or "").split(",") if c.strip())


@dataclass(frozen=True, kw_only=True)
class ForecastOptions(TaskOptions, SeriesOptions):
    """Of ``--task forecast``."""

    hidden: int = 32
    layers: int = 1
    dropout: float = 0.0
    batch_size: int = option(32, "Windows that are read side by side.", "Data", low=1)
    val_fraction: float = option(0.33, "Part at the end that tests the forecasts.", "Data", **PART)
    horizon: int = option(12, "Steps to forecast.", "Series", low=1, high=FURTHEST)
    window: int | None = option(
        None,
        "Steps to forecast from. Default: two seasons, at most 60 and a third of what trains.",
        "Series",
        low=2,
        high=LONGEST,
    )
    season: int | None = option(
        None,
        "Steps a season. Default: from the dates, for months 12.",
        "Series",
        low=1,
        high=LONGEST,
        inherited=True,
    )
    difference: str | None = option(
        None, "Forecast differences, such as 1 or 1,12 (0: none), not the errors of exponential smoothing.",
        "Series", metavar="LAGS", inherited=True,
    )  # fmt: skip
    log: bool | None = option(
        None, "Work on logarithms. Default: if errors become less.", "Series", inherited=True
    )
    head: Literal["gaussian", "quantile", "poisson", "negative-binomial"] = option(
        "gaussian",
        "What is said of the future. quantile: the median; the last two: of counts.",
        "Series",
        inherited=True,
    )
    ensemble: int = option(3, "Networks whose mean forecasts.", "Series", low=1, high=100, inherited=True)
    id_embed: int = option(
        0, "Width of what is learned of each id.", "Series", low=0, high=1000, inherited=True
    )
    interval: float = option(
        0.9, "Part of the future values inside the prediction interval.", "Series", **PART, open_low=True
    )
    teacher_forced: bool = option(False, "Train on true values only, one step ahead.", "Series")
    noise: float = option(
        0.0, "Deviation of noise on what is read while training, which has 1.", "Hardening", low=0
    )
    adversarial: float = option(
        0.0, "By so much values read also move against the model while training.", "Hardening", low=0
    )

    @classmethod
    def of(cls, entries: Mapping[str, Any]) -> Self:
        """As `Options.of`; a run of an earlier version goes on as it began."""
        if {"difference", "horizon"} <= entries.keys() and "head" not in entries:
            old = dict(ensemble=1, id_embed=0, difference=entries.get("difference") or CALM)
            return super().of({**entries, **old})
        return super().of(entries)


@dataclass(frozen=True, kw_only=True)
class SeriesReadingOptions(TableOptions, DateOptions):
    """How a trained forecaster reads a series."""

    encoding: str | None = option(
        None, "Encoding of the file. Default: as in training.", "Data", encoding=True
    )
    missing: Missing | None = option(
        None, "What to do with missing rows and cells. Default: as in training.", "Series"
    )


@dataclass(frozen=True, kw_only=True)
class SeriesPredictionOptions(SeriesReadingOptions):
    """What ``tinyrnn predict`` can be told."""

    series: str | None = option(
        None, "The one of several series that is forecast, and drawn, by its id.", "Series", metavar="ID"
    )
    future_file: str | None = option(
        None, "Table of the columns that are known of the steps to forecast.", "Series", path=True
    )
    plot: str | None = option(
        None, "Draw the forecast, or what each symbol attended to.", "Picture", metavar="FILE.png", path=True
    )


@dataclass(frozen=True, kw_only=True)
class SeriesRobustnessOptions(RobustnessOptions, SeriesReadingOptions):
    """How a series is read, and disturbed."""
