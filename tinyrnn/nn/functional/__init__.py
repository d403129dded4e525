"""What networks are made of, as functions: layers, losses, connectionist temporal classification."""

from . import crf, ctc, ctc_decoding, layers, linear_losses, losses
from .crf import *
from .ctc import *
from .ctc_decoding import *
from .layers import *
from .linear_losses import *
from .losses import *

__all__ = []
__all__ += crf.__all__
__all__ += ctc.__all__
__all__ += ctc_decoding.__all__
__all__ += layers.__all__
__all__ += linear_losses.__all__
__all__ += losses.__all__
