"""Options of language models."""

from dataclasses import dataclass
from typing import Literal

from ...base.options import option
from ..text.options import TextOptions


@dataclass(frozen=True, kw_only=True)
class LanguageModelOptions(TextOptions):
    """Of ``--task lm``."""

    seq_len: int = option(100, "Steps that gradients flow back (window).", "Data", low=1)
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
