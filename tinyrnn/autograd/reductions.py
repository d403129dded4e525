"""Reductions. ``axis`` is None (all axes), an int or a tuple of ints; ``keepdims`` keeps reduced axes with
size 1.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Any

import numpy as np

from .. import kernels
from . import tape
from .pointwise import as_tensor, equal, isnan, logical_and, logical_or, where
from .shaping import astype, axes_of, axis_of, broadcast_to, getitem, permute_dims, reshape
from .tape import Op, apply, is_tracing, state
from .types import ArrayLike, Axis

__all__ = ["all", "any", "argmax", "argmin", "count_nonzero", "max", "mean", "min", "sum"]


Axes = tuple[int, ...] | None  # None: all


def spread(g: tape.Tensor, shape: tuple[int, ...], axis: Axes, keepdims: bool) -> tape.Tensor:
    """Broadcast the gradient of a reduction back over the axes that were reduced."""
    return broadcast_to(g if keepdims else _unreduced(g, shape, axis), shape)


def _unreduced(g: tape.Tensor, shape: tuple[int, ...], axis: Axes) -> tape.Tensor:
    """``g`` with axes of size 1 in the place of those that were reduced."""
    if axis is None or not is_tracing():
        return reshape(g, kept(shape, axis))
    return getitem(g, tuple([None if i in axis else slice(None) for i in range(len(shape))]))


def kept(shape: tuple[int, ...], axis: Axes) -> tuple[int, ...]:
    """``shape`` with the axes of ``axis`` (None: all) of size 1."""
    return tuple(1 if axis is None or i in axis else n for i, n in enumerate(shape))


def single(x: tape.Tensor) -> tape.Tensor:
    """``x``, where it is of half precision in single: counts and sums of squares do not fit into float16."""
    return astype(x, np.float32) if x.dtype == np.float16 else x


def floating(x: ArrayLike) -> tape.Tensor:
    """``x`` as a tensor of floats: integers and bools in double precision."""
    x = as_tensor(x)
    return x if x.dtype.kind == "f" else astype(x, np.float64)


def size_along(shape: tuple[int, ...], axis: Axes) -> int:
    """How many elements there are along ``axis`` (None: in all)."""
    return math.prod(n for i, n in enumerate(shape) if axis is None or i in axis)


def joined(x: tape.Tensor, axis: Axes) -> tape.Tensor:
    """``x`` with the axes of ``axis`` (None: all) moved to the end and made one."""
    axes = tuple(range(x.ndim)) if axis is None else axis
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    return reshape(permute_dims(x, rest + axes), (*[x.shape[i] for i in rest], size_along(x.shape, axis)))


def fused(
    name: str, axis: Axes, total: str, rule: str, elements: Any, rows: Any = MappingProxyType({})
) -> tape.Tensor | None:
    """`kernels.groups.run` of tensors; None where the result is to be recorded, or there is no such loop."""
    if state.recording:
        return None
    given = [{n: t.data for n, t in tensors.items()} for tensors in (elements, rows)]
    made = kernels.groups.run(name, *given, axis, total, rule)
    return None if made is None else tape.Tensor(made)


_HIT = "(x == y) | ((x != x) & (y != y))"


def _share(g: tape.Tensor, x: tape.Tensor, y: tape.Tensor, axis: Axes) -> tape.Tensor:
    """Gradient of max and min: the elements equal to the result share it evenly."""
    total, rule = f"where({_HIT}, 1, 0)", f"where({_HIT}, g / total, 0)"
    made = fused("extreme_grad", axis, total, rule, {"x": x}, {"g": g, "y": y})
    if made is not None:
        return made
    y, g = [t if t.ndim == x.ndim else _unreduced(t, x.shape, axis) for t in (y, g)]
    hit = equal(x, y)
    hit = logical_or(hit, logical_and(isnan(x), isnan(y)))
    return where(hit, g / sum(hit, axis=axis, keepdims=True).astype(g.dtype), 0)


def _mean_vjp(g: tape.Tensor, shape: tuple[int, ...], axis: Axes, keepdims: bool) -> tape.Tensor:
    return spread(single(g) / size_along(shape, axis), shape, axis, keepdims)


_UFUNCS: Any = {"sum": np.add, "mean": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}


def reduction(loop: Any, vjp: Any = None) -> Op:
    """A reduction, entered into the table under the name of NumPy's ``loop``."""
    name = loop.__name__
    adds, numpys = name in ("sum", "mean", "prod"), _UFUNCS.get(name)

    def method(x: Any, *, axis: Axes, keepdims: bool) -> Any:
        if adds and x.dtype == np.float16:  # whose own sums stop growing at 2048 ones
            return getattr(x, name)(axis, dtype=np.float32, keepdims=keepdims).astype(x.dtype)
        if numpys and type(x) is np.ndarray and (name != "mean" or (x.dtype.kind == "f" and x.size)):
            y = numpys.reduce(x, axis, None, None, keepdims)  # what the method calls
            return y / size_along(x.shape, axis) if name == "mean" else y
        return getattr(x, name)(axis, keepdims=keepdims)  # the method is the function without its dispatch

    return Op(name, method, {"x": vjp} if vjp else None)


def is_all(axis: Any, ndim: int) -> bool:
    """True for None, and for the axis that NumPy lets a 0-d array have here."""
    return axis is None or (not ndim and axis in (0, -1))


def reduced(op: Op, x: ArrayLike, axis: Axis, keepdims: bool, axes_of: Any = axes_of) -> tape.Tensor:
    """``op`` over ``axis``, which ``axes_of`` makes one or several axes from 0 on."""
    x = x if type(x) is tape.Tensor else as_tensor(x)
    ndim = x.data.ndim
    return apply(op, x, axis=None if is_all(axis, ndim) else axes_of(axis, ndim), keepdims=keepdims)


_sum, _mean = reduction(np.sum, spread), reduction(np.mean, _mean_vjp)
_max, _min = reduction(np.max, _share), reduction(np.min, _share)
_all, _any = reduction(np.all), reduction(np.any)
_count = Op("count_nonzero", lambda x, *, axis, keepdims: (x != 0).sum(axis, keepdims=keepdims))
_argmax, _argmin = reduction(np.argmax), reduction(np.argmin)


def sum(x: ArrayLike, /, axis: Axis = None, keepdims: bool = False) -> tape.Tensor:
    """Sum over ``axis``. The sum over no element is 0."""
    return reduced(_sum, x, axis, keepdims)


def mean(x: ArrayLike, /, axis: Axis = None, keepdims: bool = False) -> tape.Tensor:
    """Arithmetic mean over ``axis``."""
    return reduced(_mean, x, axis, keepdims)


def max(x: ArrayLike, /, axis: Axis = None, keepdims: bool = False) -> tape.Tensor:
    """Largest element over ``axis``; at a tie the gradient is shared evenly."""
    return reduced(_max, x, axis, keepdims)


def min(x: ArrayLike, /, axis: Axis = None, keepdims: bool = False) -> tape.Tensor:
    """Smallest element over ``axis``; at a tie the gradient is shared evenly."""
    return reduced(_min, x, axis, keepdims)


def all(x: ArrayLike, /, axis: Axis = None, keepdims: bool = False) -> tape.Tensor:
    """True where every element over ``axis`` is true (no gradient)."""
    return reduced(_all, x, axis, keepdims)


def any(x: ArrayLike, /, axis: Axis = None, keepdims: bool = False) -> tape.Tensor:
    """True where an element over ``axis`` is true (no gradient)."""
    return reduced(_any, x, axis, keepdims)


def count_nonzero(x: ArrayLike, /, axis: Axis = None, keepdims: bool = False) -> tape.Tensor:
    """How many elements over ``axis`` are not zero (no gradient)."""
    return reduced(_count, x, axis, keepdims)


def argmax(x: ArrayLike, /, axis: int | None = None, keepdims: bool = False) -> tape.Tensor:
    """Index of the first largest element (no gradient)."""
    return reduced(_argmax, x, axis, keepdims, axis_of)


def argmin(x: ArrayLike, /, axis: int | None = None, keepdims: bool = False) -> tape.Tensor:
    """Index of the first smallest element (no gradient)."""
    return reduced(_argmin, x, axis, keepdims, axis_of)
