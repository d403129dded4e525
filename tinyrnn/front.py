"""The names that ``import tinyrnn as tr`` offers."""

from typing import TYPE_CHECKING

from . import linalg, nn, optim
from .autograd.activations import *
from .autograd.arrays import *
from .autograd.functional.check import *
from .autograd.functional.creation import *
from .autograd.functional.gather import *
from .autograd.functional.products import *
from .autograd.functional.transforms import *
from .autograd.linalg import *
from .autograd.linalg import autocast
from .autograd.ordered import *
from .autograd.pointwise import *
from .autograd.reductions import *
from .autograd.shaping import *
from .autograd.softmaxes import *
from .autograd.tape import no_grad
from .autograd.tensor import Tensor, tensor
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
from .compiler import scan
from .kernels.generator import Generator
from .nn import CRF, RNN, Attention, Cell, Dropout, Embedding, LayerNorm, Linear, Module, cells
from .nn.adaptive import AdaptiveLogSoftmaxWithLoss
from .nn.functional.crf import *
from .nn.functional.ctc import *
from .nn.functional.ctc_decoding import *
from .nn.functional.layers import *
from .nn.functional.linear_losses import *
from .nn.functional.losses import *
from .nn.optim import clip_grad_norm

if TYPE_CHECKING:  # else imported when it is asked for
    from .tools.compress import compress
    from .tools.keras import from_keras, to_keras
    from .tools.pytorch import from_torch, to_torch
    from .training.experiments import load
    from .training.run import Run, train

# fmt: off
__all__ = [
    # tensors
    "arange", "asarray", "bernoulli", "eye", "from_dlpack", "from_torch", "full", "full_like", "Generator",
    "linspace", "ones", "ones_like", "rand", "rand_like", "randint", "randn", "randn_like", "Tensor",
    "tensor", "to_torch", "zeros", "zeros_like",
    # gradients
    "autocast", "check_grad", "checkpoint", "custom_vjp", "grad", "hessian", "hvp", "jacobian", "jvp",
    "no_grad", "value_and_grad", "vjp",
    # pointwise functions
    "abs", "acos", "acosh", "add", "asin", "asinh", "atan", "atan2", "atanh", "ceil", "clip", "cos",
    "cosh", "divide", "elu", "equal", "erf", "exp", "exp2", "expm1", "floor", "gelu", "greater",
    "greater_equal", "hardsigmoid", "hypot", "isfinite", "isinf", "isnan", "leaky_relu", "less",
    "less_equal", "log", "log10", "log1p", "log2", "logaddexp", "logical_and", "logical_not",
    "logical_or", "logical_xor", "maximum", "minimum", "multiply", "negative", "not_equal", "power",
    "reciprocal", "relu", "remainder", "round", "sigmoid", "sign", "silu", "sin", "sinh", "softplus",
    "sqrt", "square", "subtract", "tan", "tanh", "where",
    # reductions, and what else goes along an axis
    "all", "any", "argmax", "argmin", "argsort", "count_nonzero", "cummax", "cumprod", "cumsum",
    "log_softmax", "logsumexp", "max", "mean", "median", "min", "norm", "prod", "quantile", "softmax",
    "sort", "std", "sum", "var",
    # shapes and indexing
    "array_split", "astype", "broadcast_to", "concat", "diag", "diff", "embedding", "expand_dims", "flip",
    "hsplit", "matrix_transpose", "moveaxis", "pad", "permute_dims", "repeat", "reshape", "roll", "split",
    "squeeze", "stack", "swapaxes", "take", "take_along_axis", "tile", "transpose", "tril", "triu",
    "unstack", "vsplit",
    # products and linear algebra
    "dot", "einsum", "kron", "linalg", "matmul", "outer", "tensordot", "trace", "vecdot",
    # losses
    "binary_cross_entropy_with_logits", "crf_decode", "crf_loss", "cross_entropy", "ctc_beam_decode",
    "ctc_greedy_decode", "ctc_loss", "huber_loss", "l1_loss", "linear_cross_entropy", "mse_loss",
    "nll_loss", "quantile_loss",
    # networks
    "AdaptiveLogSoftmaxWithLoss", "Attention", "Cell", "cells", "CRF", "Dropout", "dropout", "Embedding",
    "layer_norm", "LayerNorm", "Linear", "linear", "Module", "nn", "RNN", "scaled_dot_product_attention",
    "scan",
    # training
    "clip_grad_norm", "compress", "from_keras", "load", "optim", "Run", "to_keras", "train",
    # errors
    "ChangedInPlaceError", "DeviceError", "Diverged", "DtypeError", "GradientError", "InputError",
    "ShapeError", "TapeFreedError", "TinyrnnError",
]
# fmt: on
