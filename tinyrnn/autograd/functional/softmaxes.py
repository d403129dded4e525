"""Softmax and its kin: compiled along the last axis, one pass forward."""

import numpy as np

from ...kernels import row_kernel
from .. import exp, expand_dims, reshape, sum, swapaxes
from ..pointwise import as_tensor
from ..reductions import joined, kept
from ..shaping import axes_of, axis_of
from ..tape import Op, apply

__all__ = ["log_softmax", "logsumexp", "softmax"]

_softmax = Op(
    "softmax",
    row_kernel("softmax"),
    {"x": lambda g, y: y * (g - sum(g * y, axis=-1, keepdims=True))},
    inputs=("x",),
)
_log_softmax = Op(
    "log_softmax",
    row_kernel("log_softmax"),
    {"x": lambda g, y: g - exp(y) * sum(g, axis=-1, keepdims=True)},
    inputs=("x",),
)
_logsumexp = Op(
    "logsumexp",
    row_kernel("logsumexp"),
    {"x": lambda g, x: expand_dims(g, axis=-1) * softmax(x)},
    inputs=("x",),
)


def _along(op, x, axis):
    x = as_tensor(x)
    axis = axis_of(axis, x.ndim)
    x = x if x.dtype.kind == "f" else x.astype(np.float64)
    if axis == x.data.ndim - 1:
        return apply(op, x)
    return swapaxes(apply(op, swapaxes(x, axis, -1)), axis, -1)


def softmax(x, /, axis=-1):
    """``exp(x) / sum(exp(x))`` along ``axis``, shifted so that it cannot overflow."""
    return _along(_softmax, x, axis)


def log_softmax(x, /, axis=-1):
    """``log(softmax(x))`` along ``axis`` without forming the softmax."""
    return _along(_log_softmax, x, axis)


def logsumexp(x, /, axis=None, keepdims=False):
    """``log(sum(exp(x)))`` over ``axis``, shifted so that it cannot overflow; over no element it is -inf."""
    x = as_tensor(x)
    axes = None if axis is None else axes_of(axis, x.ndim)
    y = apply(_logsumexp, joined(x if x.dtype.kind == "f" else x.astype(np.float64), axes))
    return reshape(y, kept(x.shape, axes)) if keepdims else y
