"""Reductions. ``axis`` is None (all axes), an int or a tuple of ints; ``keepdims`` keeps reduced axes with
size 1.
"""

import math

import numpy as np

from .pointwise import as_tensor, equal, isnan, logical_and, logical_or, where
from .shaping import astype, axes_of, axis_of, broadcast_to, expand_dims, flip, permute_dims, reshape
from .tape import Op, Tensor, apply, is_tracing

__all__ = ["all", "any", "argmax", "argmin", "count_nonzero", "cumsum", "max", "mean", "min", "prod", "sum"]


def _spread(g, shape, axis, keepdims):
    """Broadcast the gradient of a reduction back over the axes that were reduced."""
    if not keepdims:
        g = reshape(g, kept(shape, axis))
    return broadcast_to(g, shape)


def kept(shape, axis):
    return tuple(1 if axis is None or i in axis else n for i, n in enumerate(shape))


def single(x):
    """``x``, where it is of half precision in single: counts and sums of squares do not fit into float16."""
    return astype(x, np.float32) if x.dtype == np.float16 else x


def size_along(shape, axis):
    return math.prod(n for i, n in enumerate(shape) if axis is None or i in axis)


def joined(x, axis):
    """``x`` with the axes of ``axis`` (None: all) moved to the end and made one."""
    axes = tuple(range(x.ndim)) if axis is None else axis
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    return reshape(permute_dims(x, rest + axes), (*[x.shape[i] for i in rest], size_along(x.shape, axis)))


def _share(g, x, y, axis, keepdims):
    """Gradient of max and min: the elements equal to the result share it evenly."""
    shape = kept(x.shape, axis)
    y, g = reshape(y, shape), reshape(g, shape)
    hit = equal(x, y)
    if not is_tracing() and np.isnan(y.data).any():
        hit = logical_or(hit, logical_and(isnan(x), isnan(y)))
    return where(hit, g / sum(hit, axis=axis, keepdims=True).astype(g.dtype), 0)


def _prod_vjp(g, x, y, axis, keepdims):
    """Each element gets the product of the others; where one is zero that cannot be had by division."""
    if x.data.all():
        return _spread(g * y, x.shape, axis, keepdims) / x
    rows = joined(x, axis)
    own = np.eye(rows.shape[-1], dtype=bool)
    others = prod(where(own, 1, expand_dims(rows, axis=-2)), axis=-1)
    axes = tuple(range(x.ndim)) if axis is None else axis
    order = (*[i for i in range(x.ndim) if i not in axes], *axes)
    others = permute_dims(reshape(others, tuple(x.shape[i] for i in order)), np.argsort(order).tolist())
    return _spread(g, x.shape, axis, keepdims) * others


def reduction(loop, vjp, doc, checked=axes_of):
    """Enter a reduction under the name of NumPy's ``loop`` into the table and return its public function.

    ``checked`` is ``axis_of`` for what NumPy reduces along one axis only.
    """
    name = loop.__name__
    adds = name in ("sum", "mean", "prod")

    def method(x, *, axis, keepdims):
        if adds and x.dtype == np.float16:  # whose own sums stop growing at 2048 ones
            return np.asarray(getattr(x, name)(axis, dtype=np.float32, keepdims=keepdims)).astype(x.dtype)
        return getattr(x, name)(axis, keepdims=keepdims)  # the method is the function without its dispatch

    def function_of_numpy(x, *, axis, keepdims):
        return loop(x, axis=axis, keepdims=keepdims)

    forward = method if hasattr(np.ndarray, name) else function_of_numpy
    op = Op(name, forward, {"x": vjp} if vjp else None)

    def function(x, /, axis=None, keepdims=False):
        x = x if type(x) is Tensor else as_tensor(x)
        return apply(op, x, axis=None if axis is None else checked(axis, x.data.ndim), keepdims=keepdims)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


sum = reduction(np.sum, _spread, "Sum over ``axis``. The sum over no element is 0.")
mean = reduction(
    np.mean,
    lambda g, shape, axis, keepdims: _spread(single(g) / size_along(shape, axis), shape, axis, keepdims),
    "Arithmetic mean over ``axis``.",
)
prod = reduction(np.prod, _prod_vjp, "Product over ``axis``. The product of no element is 1.")
max = reduction(np.max, _share, "Largest element over ``axis``; at a tie the gradient is shared evenly.")
min = reduction(np.min, _share, "Smallest element over ``axis``; at a tie the gradient is shared evenly.")
all = reduction(np.all, None, "True where every element over ``axis`` is true (no gradient).")
any = reduction(np.any, None, "True where an element over ``axis`` is true (no gradient).")
count_nonzero = reduction(
    np.count_nonzero, None, "How many elements over ``axis`` are not zero (no gradient)."
)
argmax = reduction(np.argmax, None, "Index of the first largest element (no gradient).", axis_of)
argmin = reduction(np.argmin, None, "Index of the first smallest element (no gradient).", axis_of)

_cumsum = Op(
    "cumsum",
    lambda x, *, axis: (
        np.cumsum(x, axis, dtype="f4").astype("f2") if x.dtype == np.float16 else np.cumsum(x, axis)
    ),
    {"x": lambda g, axis: flip(cumsum(flip(g, axis=axis), axis=axis), axis=axis)},
)


def cumsum(x, /, axis=None):
    """Cumulative sum along ``axis`` (None: of the elements in one row)."""
    x = as_tensor(x)
    if axis is None:
        x, axis = reshape(x, -1), 0
    return apply(_cumsum, x, axis=axis_of(axis, x.ndim))
