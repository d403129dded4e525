"""Reductions. ``axis`` is None (all axes), an int or a tuple of ints; ``keepdims`` keeps reduced axes with size 1."""

import math

import numpy as np

from ..kernels import row_kernel
from .pointwise import as_tensor, equal, exp, sqrt, square
from .shaping import broadcast_to, expand_dims, flip, permute_dims, reshape, swapaxes
from .tape import Op, apply

# fmt: off
__all__ = [
    "argmax", "argmin", "cumsum", "log_softmax", "logsumexp", "max", "mean", "min", "softmax", "std", "sum", "var",
]
# fmt: on


def _spread(g, shape, axis, keepdims):
    """Broadcast the gradient of a reduction back over the axes that were reduced."""
    if not keepdims:
        g = reshape(g, _kept(shape, axis))
    return broadcast_to(g, shape)


def _kept(shape, axis):
    return tuple(1 if axis is None or i in axis else n for i, n in enumerate(shape))


def _axes(x, axis):
    """``axis`` as None or a tuple of non-negative ints."""
    if axis is None:
        return None
    axes = axis if isinstance(axis, tuple) else (axis,)
    ndim = x.data.ndim
    for a in axes:
        if not -ndim <= a < ndim:
            raise IndexError(f"axis {a} is out of range for a tensor of {ndim} dimensions: use {-ndim} to {ndim - 1}")
    return tuple(a % ndim for a in axes)


def _count(shape, axis):
    return math.prod(n for i, n in enumerate(shape) if axis is None or i in axis)


def _share(g, x, y, axis, keepdims):
    """Gradient of max and min: the elements equal to the result share it evenly."""
    shape = x.shape
    hit = equal(x, y if keepdims else reshape(y, _kept(shape, axis))).astype(g.dtype)
    return _spread(g, shape, axis, keepdims) * hit / sum(hit, axis=axis, keepdims=True)


def reduction(loop, vjp, doc):
    """Enter a reduction under the name of NumPy's ``loop`` into the table and return its public function."""
    name = loop.__name__
    op = Op(name, lambda x, *, axis, keepdims: loop(x, axis=axis, keepdims=keepdims), {"x": vjp})

    def function(x, /, *, axis=None, keepdims=False):
        x = as_tensor(x)
        return apply(op, x, axis=_axes(x, axis), keepdims=keepdims)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


sum = reduction(np.sum, _spread, "Sum over ``axis``. The sum over no element is 0.")
mean = reduction(
    np.mean,
    lambda g, shape, axis, keepdims: _spread(g / _count(shape, axis), shape, axis, keepdims),
    "Arithmetic mean over ``axis``.",
)
max = reduction(np.max, _share, "Largest element over ``axis``; at a tie the gradient is shared evenly.")
min = reduction(np.min, _share, "Smallest element over ``axis``; at a tie the gradient is shared evenly.")

_cumsum = Op(
    "cumsum",
    lambda x, *, axis: np.cumsum(x, axis=axis),
    {"x": lambda g, axis: flip(cumsum(flip(g, axis=axis), axis=axis), axis=axis)},
)
_argmax = Op("argmax", lambda x, *, axis, keepdims: np.argmax(x, axis=axis, keepdims=keepdims))
_argmin = Op("argmin", lambda x, *, axis, keepdims: np.argmin(x, axis=axis, keepdims=keepdims))


def var(x, /, *, axis=None, correction=0.0, keepdims=False):
    """Variance over ``axis``: squared deviations summed and divided by ``n - correction``."""
    x = as_tensor(x)
    n = _count(x.shape, _axes(x, axis))
    return sum(square(x - mean(x, axis=axis, keepdims=True)), axis=axis, keepdims=keepdims) / (n - correction)


def std(x, /, *, axis=None, correction=0.0, keepdims=False):
    """Standard deviation over ``axis``: the root of ``var``."""
    return sqrt(var(x, axis=axis, correction=correction, keepdims=keepdims))


def cumsum(x, /, *, axis=-1):
    """Cumulative sum along ``axis``."""
    x = as_tensor(x)
    return apply(_cumsum, x, axis=_axes(x, axis)[0])


def argmax(x, /, *, axis=None, keepdims=False):
    """Index of the first largest element (no gradient)."""
    return apply(_argmax, as_tensor(x), axis=axis, keepdims=keepdims)


def argmin(x, /, *, axis=None, keepdims=False):
    """Index of the first smallest element (no gradient)."""
    return apply(_argmin, as_tensor(x), axis=axis, keepdims=keepdims)


# ------------------------------------------------------------------ softmax and its kin, along the last axis


def softmax_reference(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def log_softmax_reference(x):
    return x - logsumexp_reference(x)[..., None]


def logsumexp_reference(x):
    top = x.max(axis=-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    return np.log(np.exp(x - top).sum(axis=-1)) + top[..., 0]


_softmax = Op(
    "softmax",
    row_kernel("softmax", softmax_reference),
    {"x": lambda g, y: y * (g - sum(g * y, axis=-1, keepdims=True))},
    inputs=("x",),
)
_log_softmax = Op(
    "log_softmax",
    row_kernel("log_softmax", log_softmax_reference),
    {"x": lambda g, y: g - exp(y) * sum(g, axis=-1, keepdims=True)},
    inputs=("x",),
)
_logsumexp = Op(
    "logsumexp",
    row_kernel("logsumexp", logsumexp_reference),
    {"x": lambda g, x: reshape(g, (*g.shape, 1)) * softmax(x)},
    inputs=("x",),
)


def _along(op, x, axis):
    x = as_tensor(x)
    if axis in (-1, x.data.ndim - 1):
        return apply(op, x)
    return swapaxes(apply(op, swapaxes(x, axis, -1)), axis, -1)


def softmax(x, /, *, axis=-1):
    """``exp(x) / sum(exp(x))`` along ``axis``, shifted so that it cannot overflow."""
    return _along(_softmax, x, axis)


def log_softmax(x, /, *, axis=-1):
    """``log(softmax(x))`` along ``axis`` without forming the softmax."""
    return _along(_log_softmax, x, axis)


def logsumexp(x, /, *, axis=-1, keepdims=False):
    """``log(sum(exp(x)))`` over one ``axis``, shifted so that it cannot overflow."""
    x = as_tensor(x)
    (axis,) = _axes(x, axis)
    if axis != x.data.ndim - 1:
        x = permute_dims(x, (*[i for i in range(x.data.ndim) if i != axis], axis))
    y = apply(_logsumexp, x)
    return expand_dims(y, axis=axis) if keepdims else y
