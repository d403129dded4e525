"""Differentiable arrays. Knows nothing of cells, compilers or files."""

from . import linalg, pointwise, reductions, shaping
from .linalg import *
from .pointwise import *
from .reductions import *
from .shaping import *
from .tape import Tensor, no_grad
from .tensor import tensor

__all__ = ["Tensor", "no_grad", "tensor"]
__all__ += linalg.__all__ + pointwise.__all__ + reductions.__all__ + shaping.__all__
