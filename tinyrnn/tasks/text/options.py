"""Options of all tasks that read texts."""

from dataclasses import dataclass
from typing import Literal

from ...base.options import PART, Options, option
from ...training.robustness import RobustnessOptions
from ...training.task import TaskOptions

LONGEST = 1_000_000_000  # of a text, in symbols
VOCAB_SIZE = "Most frequent symbols. Default: all; words 20,000; bpe 4,000."
Level = Literal["char", "byte", "word", "token", "bpe"]


@dataclass(frozen=True, kw_only=True)
class TextOptions(TaskOptions):
    """How texts become symbols, and symbols vectors."""

    level: Level = option(
        "char",
        "What one symbol is. token: what stands between spaces, or a line end.",
        "Data",
        inherited=True,
    )
    vocab_size: int | None = option(
        None, VOCAB_SIZE, "Data", low=2, needs=("level", ("char", "word", "token", "bpe"))
    )
    embed: int = option(64, "Width of the embedding.", "Model", low=1, inherited=True)
    noise: float = option(
        0.0, "Part of the symbols read that are others at random while training.", "Hardening", **PART
    )
    adversarial: float = option(
        0.0, "Norm by which embedded texts also move against the model while training.", "Hardening", low=0
    )


@dataclass(frozen=True, kw_only=True)
class ReadingOptions(Options):
    """How files are read that a trained model is used on."""

    encoding: str | None = option(None, "Encoding of the files. Default: utf-8.", "Data", encoding=True)


@dataclass(frozen=True, kw_only=True)
class TextRobustnessOptions(RobustnessOptions, ReadingOptions):
    """How a text is read, and disturbed."""
