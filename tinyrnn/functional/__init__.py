"""Floor 1, on top of the core: functions composed of its ops, losses, and transformations of functions."""

from .. import autograd
from ..autograd import Tensor
from . import (
    activations,
    arrays,
    check,
    creation,
    ctc,
    ctc_decoding,
    layers,
    losses,
    products,
    protocols,
    softmaxes,
    transforms,
)
from .activations import *
from .arrays import *
from .check import *
from .creation import *
from .ctc import *
from .ctc_decoding import *
from .layers import *
from .losses import *
from .products import *
from .softmaxes import *
from .transforms import *

__all__ = activations.__all__ + arrays.__all__ + creation.__all__ + ctc.__all__ + layers.__all__ + losses.__all__
__all__ += ctc_decoding.__all__ + products.__all__ + softmaxes.__all__ + transforms.__all__ + check.__all__

_arrays = (activations, arrays, products, softmaxes)
protocols.install({n: getattr(autograd, n) for n in autograd.__all__} | {n: getattr(m, n) for m in _arrays for n in m.__all__})
for _module in (activations, arrays, softmaxes):
    for _name in _module.__all__:
        setattr(Tensor, _name, getattr(_module, _name))
