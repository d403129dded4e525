"""tinyrnn: recurrent networks on a small tape-based autograd core.

``import tinyrnn as tr`` gives differentiable NumPy (``tr.tensor``, ``tr.tanh``, ``tr.grad`` ...), cells and
layers (``tr.Cell``, ``tr.RNN`` ...), optimisers (``tr.optim``) and trained models (``tr.load``).
"""

from . import nn, optim
from .autograd import *
from .autograd import __all__ as _autograd_names
from .autograd.functional import *
from .autograd.functional import __all__ as _functional_names
from .base.errors import (
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
from .base.version import __version__
from .compiler import scan
from .kernels.generator import Generator
from .nn import RNN, Attention, Cell, Dropout, Embedding, LayerNorm, Linear, Module, cells
from .nn.functional import *
from .nn.functional import __all__ as _network_names
from .nn.optim import clip_grad_norm
from .training.experiments import load
from .training.run import Run, train

__all__ = [
    *_autograd_names,
    *_functional_names,
    *_network_names,
    "RNN",
    "Run",
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
    "scan",
    "train",
]
