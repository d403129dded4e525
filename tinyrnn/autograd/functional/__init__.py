"""On top of the core: functions composed of its ops, and transformations of functions."""

from ... import autograd
from .. import activations, arrays, protocols, softmaxes
from ..activations import *
from ..arrays import *
from ..softmaxes import *
from . import check, creation, gather, products, transforms
from .check import *
from .creation import *
from .gather import *
from .products import *
from .transforms import *

__all__ = []
__all__ += activations.__all__
__all__ += arrays.__all__
__all__ += check.__all__
__all__ += creation.__all__
__all__ += gather.__all__
__all__ += products.__all__
__all__ += softmaxes.__all__
__all__ += transforms.__all__

_functions = {name: getattr(autograd, name) for name in autograd.__all__}
protocols.install(_functions | {name: getattr(products, name) for name in products.__all__})
