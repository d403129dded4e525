"""Softmax and its kin: compiled along the last axis, one pass forward."""

from __future__ import annotations

import numpy as np

from ..kernels import row_kernel
from . import tape
from .pointwise import as_tensor, exp, multiply
from .reductions import joined, kept, sum
from .shaping import axes_of, axis_of, expand_dims, reshape, swapaxes
from .tape import Op, apply
from .types import ArrayLike, Axis

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
    {"x": lambda g, y: g - multiply(exp(y), sum(g, axis=-1, keepdims=True))},
    inputs=("x",),
)
_logsumexp = Op(
    "logsumexp",
    row_kernel("logsumexp"),
    {"x": lambda g, x: multiply(expand_dims(g, axis=-1), softmax(x))},
    inputs=("x",),
)


def _floating(x: ArrayLike) -> tape.Tensor:
    x = as_tensor(x)
    return x if x.dtype.kind == "f" else x.astype(np.float64)


def _along(op: Op, x: ArrayLike, axis: int) -> tape.Tensor:
    x = _floating(x)
    axis = axis_of(axis, x.ndim)
    if axis == x.data.ndim - 1:
        return apply(op, x)
    return swapaxes(apply(op, swapaxes(x, axis, -1)), axis, -1)


def softmax(x: ArrayLike, /, axis: int = -1) -> tape.Tensor:
    """``exp(x) / sum(exp(x))`` along ``axis``, shifted so that it cannot overflow."""
    return _along(_softmax, x, axis)


def log_softmax(x: ArrayLike, /, axis: int = -1) -> tape.Tensor:
    """``log(softmax(x))`` along ``axis`` without forming the softmax."""
    return _along(_log_softmax, x, axis)


def logsumexp(x: ArrayLike, /, axis: Axis = None, keepdims: bool = False) -> tape.Tensor:
    """``log(sum(exp(x)))`` over ``axis``, shifted so that it cannot overflow; over no element it is -inf."""
    x = _floating(x)
    axes = None if axis is None else axes_of(axis, x.ndim)
    y = apply(_logsumexp, joined(x, axes))
    return reshape(y, kept(x.shape, axes)) if keepdims else y
