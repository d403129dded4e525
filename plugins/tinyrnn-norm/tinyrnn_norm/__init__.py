"""Cells for tinyrnn whose products are normalised, stacked within a step, or gated by one another."""

from .highway import RHN
from .layer_norm import LayerNormGRU, LayerNormLSTM
from .multiplicative import MogrifierLSTM, MultiplicativeLSTM

__all__ = ["RHN", "LayerNormGRU", "LayerNormLSTM", "MogrifierLSTM", "MultiplicativeLSTM"]
