"""Options of language models."""

from dataclasses import dataclass
from typing import Literal

from ...base.options import PART, option
from ..text.options import ReadingOptions, TextOptions


@dataclass(frozen=True, kw_only=True)
class LanguageModelEvaluation(ReadingOptions):
    """What ``tinyrnn evaluate`` can be told of a language model."""

    streams: int = option(
        64,
        "Parts of the text that are read side by side; 1: from end to end, as --dynamic and --cache do.",
        "Data",
        low=1,
    )
    dynamic: bool = option(False, "Also evaluate a model that learns from what it has read.", "Adapting")
    dynamic_lr: float = option(0.002, "Its rate.", "Adapting", low=0, needs=("dynamic", ()))
    dynamic_decay: float = option(
        0.02, "Its pull back to the trained weights.", "Adapting", low=0, needs=("dynamic", ())
    )
    dynamic_window: int = option(
        20, "Tokens that it learns from at once.", "Adapting", low=1, needs=("dynamic", ())
    )
    cache: int = option(0, "Also evaluate with a cache of so many tokens.", "Adapting", low=0)
    cache_theta: float = option(
        0.3, "How alike the outputs must be, the higher the more.", "Adapting", low=0, high=1e6,
        needs=("cache", ()),
    )  # fmt: skip
    cache_lambda: float = option(
        0.1, "Part of the probability that is the cache's.", "Adapting", **PART, needs=("cache", ())
    )


@dataclass(frozen=True, kw_only=True)
class LanguageModelOptions(TextOptions):
    """Of ``--task lm``."""

    preset: Literal["tiny", "default", "large", "best"] = option(
        "default", "How much to learn, and with that sizes and length.", "Run", replaced_by="minutes"
    )
    seq_len: int = option(100, "Steps that gradients flow back (window).", "Data", low=1)
    embed_dropout: float | None = option(
        None, "Dropped part of the embedding. Default: as --dropout.", "Model", **PART
    )
    state: Literal["carry", "reset"] = option(
        "carry",
        "What a window begins with: carry the state of the one before it; reset: none, where states grow.",
        "Model",
        inherited=True,
    )
    jitter: bool = option(True, "Each pass cuts the text into other windows.", "Data")
    init_uniform: float | None = option(
        None, "All weights start uniform within +- this. Default: as each layer has it.", "Model", low=0,
        high=100,
    )  # fmt: skip
    tie: bool = option(
        False,
        "Output layer shares the embedding's weights (needs --embed = --hidden).",
        "Model",
        inherited=True,
    )
    softmax: Literal["full", "adaptive"] = option(
        "full",
        "Over the vocabulary. adaptive: cheaper for rare ones of many characters or words.",
        "Model",
        inherited=True,
    )
