"""Options of classification."""

from dataclasses import dataclass
from typing import Literal

from ...base.options import option
from ...training.robustness import RobustnessOptions
from ..text.options import LONGEST, Level, ReadingOptions, TextOptions


@dataclass(frozen=True, kw_only=True)
class ClassifyOptions(TextOptions):
    """Of ``--task classify``."""

    level: Level = "word"
    hidden: int = 128
    layers: int = 1
    embed: int = 128
    dropout: float = 0.5
    bidirectional: bool = option(False, "Read from both ends.", "Model", inherited=True)
    max_length: int = option(400, "Symbols of a text that are read.", "Data", low=1, high=LONGEST)
    text_column: str = option("text", "Column of the texts.", "Labels")
    label_column: str = option("label", "Column of the labels.", "Labels")
    pooling: Literal["last", "mean", "max", "attention"] = option(
        "mean", "How steps become one.", "Labels", inherited=True
    )
    class_weights: Literal["balanced"] | None = option(None, "balanced: rare labels count more.", "Labels")


@dataclass(frozen=True, kw_only=True)
class LabelReadingOptions(ReadingOptions):
    """How a trained classifier reads files of examples."""

    encoding: str | None = option(
        None, "Encoding of the files. Default: as in training.", "Data", encoding=True
    )
    text_column: str | None = option(None, "Column of the texts. Default: as in training.", "Labels")
    label_column: str | None = option(None, "Column of the labels. Default: as in training.", "Labels")


@dataclass(frozen=True, kw_only=True)
class LabelRobustnessOptions(RobustnessOptions, LabelReadingOptions):
    """How examples are read, and disturbed."""
