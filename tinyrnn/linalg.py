"""Linear algebra: ``tinyrnn.autograd.functional.linalg`` under the name that scripts use, ``tr.linalg``."""

from .autograd.functional import linalg
from .autograd.functional.linalg import *

__all__ = []
__all__ += linalg.__all__
