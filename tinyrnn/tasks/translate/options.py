"""Options of translation."""

from dataclasses import dataclass
from typing import Literal

from ...base.options import PART, Options, option
from ...nn.rnn import DEEPEST
from ...training.robustness import RobustnessOptions
from ..tables.options import TableOptions
from ..text.options import LONGEST, VOCAB_SIZE, Level, ReadingOptions, TextOptions


@dataclass(frozen=True, kw_only=True)
class PairOptions(TableOptions):
    """Where pairs are."""

    source: str | None = option(
        None, "File of sources, a text a line.", "Translation", metavar="FILE", path=True
    )
    target: tuple[str, ...] = option(
        (), "File of its targets, line by line; again: other references.", "Translation", metavar="FILE",
        path=True,
    )  # fmt: skip
    source_column: str | None = option(
        None, "Column of the sources. Default: source, or the first.", "Translation", metavar="NAME"
    )
    target_column: str | None = option(
        None, "Column of the targets; one,two: references. Default: target, or the second.", "Translation",
        metavar="NAME",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TranslateOptions(TextOptions, PairOptions):
    """Of ``--task translate``."""

    target_level: Level | None = option(
        None, "What one symbol of a target is. Default: as of a source, --level.", "Data", inherited=True
    )
    vocab_size: int | None = option(None, VOCAB_SIZE, "Data", low=2)  # of either level
    hidden: int = 128
    layers: int = option(
        1, "Recurrent layers of encoder and decoder.", "Model", low=1, high=DEEPEST, inherited=True
    )
    bidirectional: bool = option(True, "Read sources from both ends.", "Model", inherited=True)
    max_length: int = option(
        400, "Symbols of a text that are read, learned and written.", "Data", low=1, high=LONGEST
    )
    attention: Literal["luong", "bahdanau"] = option(
        "luong", "luong asks after the step, bahdanau before it.", "Translation", inherited=True
    )
    scheduled_sampling: float = option(
        0.0, "Part of its own symbols it is fed at the end.", "Translation", **PART
    )


@dataclass(frozen=True, kw_only=True)
class SearchOptions(Options):
    """How a trained translator searches."""

    beam: int = option(1, "Beams; 1 is greedy.", "Translation", low=1)
    length_penalty: float = option(0.6, "Higher prefers longer translations; 0 is off.", "Translation")

    def search(self) -> dict[str, float]:
        """As `Translator.scored` takes them."""
        return {"beam": self.beam, "length_penalty": self.length_penalty}


@dataclass(frozen=True, kw_only=True)
class PairReadingOptions(ReadingOptions, PairOptions):
    """How a trained translator reads pairs."""

    encoding: str | None = option(
        None, "Encoding of the files. Default: as in training.", "Data", encoding=True
    )


@dataclass(frozen=True, kw_only=True)
class TranslationReadingOptions(PairReadingOptions, SearchOptions):
    """What ``tinyrnn evaluate`` can be told."""


@dataclass(frozen=True, kw_only=True)
class TranslationRobustnessOptions(RobustnessOptions, PairReadingOptions):
    """How pairs are read, and their sources disturbed."""


@dataclass(frozen=True, kw_only=True)
class TranslationPredictionOptions(ReadingOptions, TableOptions, SearchOptions):
    """What ``tinyrnn predict`` can be told."""

    source_column: str | None = option(
        None, "Column of the sources. Default: as in training.", "Translation", metavar="NAME"
    )
    id_column: str | None = option(
        None, "Column that is kept beside what is said of each row.", "Translation", metavar="COLUMN"
    )
    plot: str | None = option(
        None, "Draw the forecast, or what each symbol attended to.", "Picture", metavar="FILE.png", path=True
    )
