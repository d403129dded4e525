"""Floor 1, on top of the core: functions composed of its ops, losses, and transformations of functions."""

from ..autograd import Tensor
from . import activations, arrays, creation, ctc, layers, losses, products, transforms
from .activations import *
from .arrays import *
from .creation import *
from .ctc import *
from .layers import *
from .losses import *
from .products import *
from .transforms import *

__all__ = activations.__all__ + arrays.__all__ + creation.__all__ + ctc.__all__ + layers.__all__ + losses.__all__
__all__ += products.__all__ + transforms.__all__

for _module in (activations, arrays):
    for _name in _module.__all__:
        setattr(Tensor, _name, getattr(_module, _name))
