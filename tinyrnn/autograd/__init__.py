"""Differentiable arrays. Knows nothing of cells, compilers or files."""

from . import activations, arrays, linalg, ordered, pointwise, reductions, shaping, softmaxes
from .activations import *
from .arrays import *
from .linalg import *
from .ordered import *
from .pointwise import *
from .reductions import *
from .shaping import *
from .softmaxes import *
from .tape import no_grad
from .tensor import Tensor, tensor

__all__ = ["Tensor", "no_grad", "tensor"]
__all__ += activations.__all__
__all__ += arrays.__all__
__all__ += linalg.__all__
__all__ += ordered.__all__
__all__ += pointwise.__all__
__all__ += reductions.__all__
__all__ += shaping.__all__
__all__ += softmaxes.__all__
