"""Softmax and its kin: compiled along the last axis, one pass forward."""

from __future__ import annotations

from ..kernels import row_kernel
from . import tape
from .pointwise import exp, multiply, where
from .reductions import floating, fused, joined, kept, sum
from .shaping import axes_of, axis_of, expand_dims, reshape, swapaxes
from .tape import Op, apply
from .types import ArrayLike, Axis

__all__ = ["log_softmax", "logsumexp", "softmax"]


def _softmax_x(g: tape.Tensor, y: tape.Tensor) -> tape.Tensor:
    """``y * (g - sum(g * y))``."""
    made = fused("softmax_grad", (g.ndim - 1,), "g * y", "y * (g - total)", {"g": g, "y": y})
    return y * (g - sum(g * y, axis=-1, keepdims=True)) if made is None else made


def _log_softmax_x(g: tape.Tensor, y: tape.Tensor) -> tape.Tensor:
    """``g - exp(y) * sum(g)``."""
    made = fused("log_softmax_grad", (g.ndim - 1,), "g", "g - exp(y) * total", {"g": g, "y": y})
    return g - multiply(exp(y), sum(g, axis=-1, keepdims=True)) if made is None else made


_softmax = Op("softmax", row_kernel("softmax"), {"x": _softmax_x}, inputs=("x",))
_log_softmax = Op("log_softmax", row_kernel("log_softmax"), {"x": _log_softmax_x}, inputs=("x",))


def _logsumexp_x(g: tape.Tensor, x: tape.Tensor, y: tape.Tensor) -> tape.Tensor:
    """``g softmax(x)``; 0 where all of a row is -inf, of which the softmax is NaN."""
    rule = "where((y < 0) & (y == 2 * y), 0, g * part / total)"
    made = fused("logsumexp_grad", (x.ndim - 1,), "exp(x - y)", rule, {"x": x}, {"g": g, "y": y})
    if made is not None:
        return made
    g, empty = expand_dims(g, axis=-1), expand_dims((y < 0) & (y == 2 * y), axis=-1)
    return where(empty, 0, multiply(g, softmax(where(empty, 0, x))))  # safe inside: second derivatives


_logsumexp = Op("logsumexp", row_kernel("logsumexp"), {"x": _logsumexp_x}, inputs=("x",))


def _along(op: Op, x: ArrayLike, axis: int) -> tape.Tensor:
    x = floating(x)
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
    """``log(sum(exp(x)))`` over ``axis``, shifted so that it cannot overflow; over no element, or where all
    are -inf, it is -inf, with gradient 0.
    """
    x = floating(x)
    axes = None if axis is None else axes_of(axis, x.ndim)
    y = apply(_logsumexp, joined(x, axes))
    return reshape(y, kept(x.shape, axes)) if keepdims else y
