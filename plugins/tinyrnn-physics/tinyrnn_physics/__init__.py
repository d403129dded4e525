"""Cells for tinyrnn that are differential equations, discretised as their papers do it."""

from .legendre import LMU
from .ode import ODERNN
from .oscillators import LEM, CoRNN, UnICORNN
from .stable import AntisymmetricRNN, LipschitzRNN

__all__ = ["LEM", "LMU", "ODERNN", "AntisymmetricRNN", "CoRNN", "LipschitzRNN", "UnICORNN"]
