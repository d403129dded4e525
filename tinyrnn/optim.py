"""Optimisers, schedules and clipping: ``tinyrnn.nn.optim`` under the name that scripts use, ``tr.optim``."""

from .nn import optim
from .nn.optim import *

__all__ = []
__all__ += optim.__all__
