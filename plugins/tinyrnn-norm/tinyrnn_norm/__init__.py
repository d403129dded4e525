"""Cells for tinyrnn that are deep within a step, or whose products are gated by one another."""

from .highway import RHN
from .multiplicative import MogrifierLSTM, MultiplicativeLSTM

__all__ = ["RHN", "MogrifierLSTM", "MultiplicativeLSTM"]
