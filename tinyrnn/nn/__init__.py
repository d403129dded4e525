"""Networks: cells, layers, the recurrent layer that runs a cell over time."""

from .attention import Attention
from .cell import Cell
from .layers import Dropout, Embedding, LayerNorm, Linear
from .module import Module
from .rnn import RNN

__all__ = ["RNN", "Attention", "Cell", "Dropout", "Embedding", "LayerNorm", "Linear", "Module"]
