"""Networks: cells, layers, the recurrent layer that runs a cell over time."""

from typing import TYPE_CHECKING, Any

from ..base.elsewhere import missing
from .adaptive import AdaptiveLogSoftmaxWithLoss
from .attention import Attention
from .cell import Cell
from .crf import CRF
from .layers import Dropout, Embedding, LayerNorm, Linear
from .module import Module
from .rnn import RNN

__all__ = ["CRF", "RNN", "Attention", "Cell", "Dropout", "Embedding", "LayerNorm", "Linear", "Module"]
__all__ += ["AdaptiveLogSoftmaxWithLoss"]

if not TYPE_CHECKING:  # a checker would take every name for one of these

    def __getattr__(name: str) -> Any:
        raise AttributeError(missing(f"module {__name__!r}", name))
