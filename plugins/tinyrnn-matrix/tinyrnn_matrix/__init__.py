"""Cells whose state is a matrix for each sequence: what was seen is written into it, and read by a query."""

from .delta import DeltaNet, GatedDeltaNet
from .fast import FastWeights
from .mlstm import MLSTM
from .selective import Selective

__all__ = ["MLSTM", "DeltaNet", "FastWeights", "GatedDeltaNet", "Selective"]
