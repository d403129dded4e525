"""On top of the core: functions composed of its ops, and transformations of functions."""

from ... import autograd
from .. import Tensor
from . import activations, arrays, check, creation, gather, products, protocols, softmaxes, transforms
from .activations import *
from .arrays import *
from .check import *
from .creation import *
from .gather import *
from .products import *
from .softmaxes import *
from .transforms import *

__all__ = activations.__all__ + arrays.__all__ + creation.__all__ + gather.__all__ + products.__all__
__all__ += softmaxes.__all__ + transforms.__all__ + check.__all__

_arrays = (activations, arrays, products, softmaxes)
protocols.install(
    {n: getattr(autograd, n) for n in autograd.__all__}
    | {n: getattr(m, n) for m in _arrays for n in m.__all__}
)
for _module in (activations, arrays, softmaxes):
    for _name in _module.__all__:
        setattr(Tensor, _name, getattr(_module, _name))
