"""Optimisers, schedules and clipping: ``tinyrnn.nn.optim`` under the name that scripts use, ``tr.optim``."""

from .nn import optim as _module
from .nn.optim import *

__all__ = list(_module.__all__)
