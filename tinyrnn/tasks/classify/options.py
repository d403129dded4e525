"""Options of classification."""

from dataclasses import dataclass
from typing import Literal

from ...base.options import option
from ...training.robustness import RobustnessOptions
from ..tables.options import TableOptions
from ..text.options import LONGEST, Level, ReadingOptions, TextOptions


@dataclass(frozen=True, kw_only=True)
class ClassifyOptions(TextOptions, TableOptions):
    """Of ``--task classify``."""

    level: Level = "word"
    hidden: int = 128
    layers: int = 1
    embed: int = 128
    dropout: float = 0.5
    bidirectional: bool = option(False, "Read from both ends.", "Model", inherited=True)
    max_length: int = option(400, "Symbols of a text that are read.", "Data", low=1, high=LONGEST)
    text_column: str = option("text", "Column of the texts.", "Labels")
    label_column: str = option("label", "Column of the labels, or several of 0 and 1: good,funny.", "Labels")
    multi_label: str | None = option(
        None, "Texts have several labels: what stands between them.", "Labels", metavar="TEXT"
    )
    pooling: Literal["last", "mean", "max", "attention"] = option(
        "mean", "How steps become one.", "Labels", inherited=True
    )
    class_weights: Literal["balanced"] | None = option(None, "balanced: rare labels count more.", "Labels")
    baseline: bool | None = option(
        None, "Show what TF-IDF with logistic regression reaches. Default: if that is quick.", "Labels"
    )


@dataclass(frozen=True, kw_only=True)
class LabelPredictionOptions(ReadingOptions, TableOptions):
    """How a trained classifier reads texts."""

    text_column: str | None = option(None, "Column of the texts. Default: as in training.", "Labels")


@dataclass(frozen=True, kw_only=True)
class LabelReadingOptions(LabelPredictionOptions):
    """How a trained classifier reads files of examples."""

    encoding: str | None = option(
        None, "Encoding of the files. Default: as in training.", "Data", encoding=True
    )
    label_column: str | None = option(None, "Column of the labels. Default: as in training.", "Labels")
    multi_label: str | None = option(None, "What stands between labels. Default: as in training.", "Labels")


@dataclass(frozen=True, kw_only=True)
class LabelEvaluationOptions(LabelReadingOptions):
    """What ``tinyrnn evaluate`` can be told."""

    baseline: bool = option(False, "Show what TF-IDF with logistic regression reaches.", "Labels")


@dataclass(frozen=True, kw_only=True)
class LabelRobustnessOptions(RobustnessOptions, LabelReadingOptions):
    """How examples are read, and disturbed."""
