"""Cells for tinyrnn from neuroscience: networks of rates in continuous time, and of spikes."""

from .rates import CTRNN, DaleRNN, LowRankRNN, PlasticRNN
from .spikes import ALIF, LIF

__all__ = ["ALIF", "CTRNN", "LIF", "DaleRNN", "LowRankRNN", "PlasticRNN"]
