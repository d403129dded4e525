"""On top of the core: functions composed of its ops, and transformations of functions."""

from ... import autograd
from .. import protocols
from ..tensor import and_, or_, xor
from . import check, creation, gather, linalg, products, transforms
from .check import *
from .creation import *
from .gather import *
from .products import *
from .transforms import *

__all__ = check.__all__ + creation.__all__ + gather.__all__ + products.__all__ + transforms.__all__

_functions = {name: getattr(autograd, name) for name in autograd.__all__}
_bitwise = {"bitwise_and": and_, "bitwise_or": or_, "bitwise_xor": xor}
protocols.install(
    _functions | _bitwise | {name: getattr(products, name) for name in products.__all__},
    {name: getattr(linalg, name) for name in linalg.__all__},
)
