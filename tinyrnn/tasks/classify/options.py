"""Options of classification."""

from dataclasses import dataclass
from typing import Literal

from ...base.options import PART, option
from ...training.robustness import RobustnessOptions
from ..tables.options import DateOptions, TableOptions
from ..text.options import LONGEST, Level, ReadingOptions, TextOptions

# What is read of one kind of data alone.
OF_TEXTS = ("level", "vocab_size", "embed", "max_length", "text_column", "multi_label", "baseline")
OF_TABLES = ("id_column", "time_column", "columns", "dayfirst", "date_format", "time_zone")
OF_SOUNDS = ("label_pattern", "bands")
OF_SEQUENCES = ("hold_out", "group_column", "joined", "deltas", "speed", "shift")


@dataclass(frozen=True, kw_only=True)
class ClassifyOptions(TextOptions, TableOptions, DateOptions):
    """Of ``--task classify``; the defaults are those of texts."""

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
    noise: float = option(
        0.0, "Part of the symbols that are others at random; of numbers and sound, the deviation of noise.",
        "Hardening", **PART,
    )  # fmt: skip
    inputs: Literal["texts", "numbers", "sound"] | None = option(
        None, "What is classified. Default: what the data holds.", "Sequences"
    )
    id_column: str | None = option(
        None,
        "Column of a table that tells its sequences apart: a row is a step.",
        "Sequences",
        metavar="COLUMN",
    )
    time_column: str | None = option(
        None,
        "Column that orders the rows of a sequence. Default: as they stand.",
        "Sequences",
        metavar="COLUMN",
    )
    columns: str | None = option(
        None,
        "Columns that are read at each step. Default: all other numeric ones.",
        "Sequences",
        metavar="A,B",
    )
    label_pattern: str | None = option(
        None, "What names of sounds hold: {label}_{speaker}_{index}.wav. Default: their folder is the label.",
        "Sequences", metavar="PATTERN",
    )  # fmt: skip
    hold_out: str | None = option(
        None, "Sequences that validate, by a column or a field of the pattern: index=0,1.", "Sequences",
        metavar="NAME=A,B",
    )  # fmt: skip
    group_column: str | None = option(
        None, "Column or field, such as speaker, that validates on values it never trains on.", "Sequences",
        metavar="NAME",
    )  # fmt: skip
    bands: int = option(32, "Bands of the spectrum of sound.", "Sequences", low=1, high=1000, inherited=True)
    joined: int = option(
        1, "Steps of a sequence that are read together as one.", "Sequences", low=1, high=1000, inherited=True
    )
    deltas: bool = option(False, "Read also how each number changes.", "Sequences", inherited=True)
    speed: float = option(
        0.0, "Sequences are up to that part faster or slower while training.", "Sequences", **PART
    )
    shift: float = option(
        0.0,
        "They begin up to that part of their length later or earlier while training.",
        "Sequences",
        **PART,
    )

    def without_effect(self, names) -> list[str]:
        """A sentence for each of ``names`` that has another value than its default."""
        changed = [n for n in names if getattr(self, n) != self.rules()[n].default]
        kind = self.inputs or "texts"
        return [f"--{n.replace('_', '-')} has no effect on {kind}" for n in changed]


@dataclass(frozen=True, kw_only=True)
class NumbersOptions(ClassifyOptions):
    """Of sequences of numbers."""

    inputs: Literal["texts", "numbers", "sound"] | None = "numbers"
    batch_size: int = 32
    bidirectional: bool = True


@dataclass(frozen=True, kw_only=True)
class SoundOptions(NumbersOptions):
    """Of sounds."""

    inputs: Literal["texts", "numbers", "sound"] | None = "sound"
    joined: int = 2
    noise: float = 0.03
    speed: float = 0.15
    shift: float = 0.1


@dataclass(frozen=True, kw_only=True)
class LabelledOptions(ReadingOptions, TableOptions, DateOptions):
    """How a trained classifier finds texts in tables."""

    text_column: str | None = option(None, "Column of the texts. Default: as in training.", "Labels")


@dataclass(frozen=True, kw_only=True)
class LabelPredictionOptions(LabelledOptions):
    """How a trained classifier reads texts."""

    id_column: str | None = option(
        None, "Column that is kept beside what is said of each row.", "Labels", metavar="COLUMN"
    )


@dataclass(frozen=True, kw_only=True)
class LabelReadingOptions(LabelledOptions):
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
