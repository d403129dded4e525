"""Options of classification."""

from dataclasses import dataclass
from typing import Literal

from ...base.options import option
from ..text.options import Level, ReadingOptions, TextOptions


@dataclass(frozen=True, kw_only=True)
class ClassifyOptions(TextOptions):
    """Of ``--task classify``."""

    level: Level = option("word", "What one symbol is.", "Data")
    hidden: int = option(128, "Width of each recurrent layer.", "Model", low=1)
    layers: int = option(1, "Recurrent layers.", "Model", low=1)
    embed: int = option(128, "Width of the embedding.", "Model", low=1)
    dropout: float = option(
        0.5, "Dropped part of inputs and outputs of layers.", "Model", low=0, high=1, open_high=True
    )
    bidirectional: bool = option(False, "Read from both ends.", "Model")
    max_length: int = option(400, "Symbols of a text that are read.", "Data", low=1)
    text_column: str = option("text", "Column of the texts.", "Labels")
    label_column: str = option("label", "Column of the labels.", "Labels")
    pooling: Literal["last", "mean", "max", "attention"] = option("mean", "How steps become one.", "Labels")
    class_weights: Literal["balanced"] | None = option(None, "balanced: rare labels count more.", "Labels")


@dataclass(frozen=True, kw_only=True)
class LabelReadingOptions(ReadingOptions):
    """How a trained classifier reads files of examples."""

    encoding: str | None = option(None, "Encoding of the files. Default: as in training.", "Data")
    text_column: str | None = option(None, "Column of the texts. Default: as in training.", "Labels")
    label_column: str | None = option(None, "Column of the labels. Default: as in training.", "Labels")
