"""Cells of little recurrence: but for sLSTM's, all their matrix products are of the inputs alone, and leave
the time loop.
"""

from .diagonal import RGLRU, IndRNN
from .minimal import MinGRU, MinLSTM
from .pooling import QRNN, SRU
from .slstm import SLSTM

__all__ = ["QRNN", "RGLRU", "SLSTM", "SRU", "IndRNN", "MinGRU", "MinLSTM"]
