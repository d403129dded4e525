"""Classic recurrent cells for tinyrnn, each in the equations of its paper."""

from .lstm import CIFG, PeepholeLSTM
from .mutants import MUT1, MUT2, MUT3
from .simple import IRNN, SCRN
from .single_gate import JANET, MGU, UGRNN

__all__ = ["CIFG", "IRNN", "JANET", "MGU", "MUT1", "MUT2", "MUT3", "SCRN", "UGRNN", "PeepholeLSTM"]
