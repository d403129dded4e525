"""tinyrnn: recurrent networks on a small tape-based autograd core.

``import tinyrnn as tr`` gives differentiable NumPy (``tr.tensor``, ``tr.tanh``, ``tr.grad`` ...), cells and layers
(``tr.Cell``, ``tr.RNN`` ...), optimisers (``tr.optim``) and trained models (``tr.load``).
"""

__version__ = "0.1.0"

from . import cells, nn, optim, plugins
from .autograd import *
from .autograd import __all__ as _autograd_names
from .compiler import scan
from .errors import (
    ChangedInPlaceError,
    DeviceError,
    Diverged,
    DtypeError,
    GradientError,
    InputError,
    ShapeError,
    TapeFreedError,
    TinyrnnError,
)
from .functional import *
from .functional import __all__ as _functional_names
from .kernels.generator import Generator
from .nn import RNN, Attention, Cell, Dropout, Embedding, LayerNorm, Linear, Module
from .optim import clip_grad_norm
from .tasks import load

__all__ = [
    *_autograd_names,
    *_functional_names,
    "RNN",
    "Attention",
    "Cell",
    "ChangedInPlaceError",
    "DeviceError",
    "Diverged",
    "Dropout",
    "DtypeError",
    "Embedding",
    "Generator",
    "GradientError",
    "InputError",
    "LayerNorm",
    "Linear",
    "Module",
    "ShapeError",
    "TapeFreedError",
    "TinyrnnError",
    "cells",
    "clip_grad_norm",
    "load",
    "nn",
    "optim",
    "plugins",
    "scan",
]
