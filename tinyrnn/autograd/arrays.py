"""Array functions under NumPy's names that are composed of ops."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

import numpy as np

from ..base.devices import is_cupy, to_device
from ..base.errors import InputError, ShapeError
from . import tape
from .pointwise import abs, as_tensor, constant, equal, isnan, not_equal, sqrt, square, where
from .reductions import along, argsort, floating, joined, kept, max, mean, min, single, size_along, sum
from .shaping import (
    axes_of,
    axis_of,
    broadcast_to,
    getitem,
    indices_of,
    permute_dims,
    place,
    reshape,
    shape_of,
    split,
)
from .tape import is_tracing, looked_at, values_of
from .types import ArrayLike, Axis, Shape

__all__ = [
    "array_split", "cummax", "diag", "diff", "hsplit", "median", "moveaxis", "norm", "quantile", "repeat",
    "sort", "std", "take", "take_along_axis", "tile", "trace", "tril", "triu", "var", "vsplit",
]  # fmt: skip


def var(
    x: ArrayLike, /, axis: Axis = None, *, correction: float = 0.0, keepdims: bool = False
) -> tape.Tensor:
    """Variance over ``axis``: squared deviations summed and divided by ``n - correction``, or by 0 if that is
    negative.
    """
    x = as_tensor(x)
    x, dtype = single(x), x.dtype
    n = size_along(x.shape, None if axis is None else axes_of(axis, x.ndim))
    total = sum(square(x - mean(x, axis=axis, keepdims=True)), axis=axis, keepdims=keepdims)
    divisor = n - correction
    with np.errstate(divide="ignore", invalid="ignore"):  # infinite or NaN where nothing is left to divide by
        y = total / (divisor if divisor > 0 else 0.0)
    return y.astype(dtype) if dtype == np.float16 else y


def std(
    x: ArrayLike, /, axis: Axis = None, *, correction: float = 0.0, keepdims: bool = False
) -> tape.Tensor:
    """Standard deviation over ``axis``: the root of ``var``; gradient 0 where that is 0."""
    return _root(var(x, axis=axis, correction=correction, keepdims=keepdims), 2)


def norm(x: ArrayLike, /, axis: Axis = None, ord: float = 2, *, keepdims: bool = False) -> tape.Tensor:
    """Vector norm over ``axis`` (the array API's ``vector_norm``): ``ord`` a number or +-inf; gradient 0 at
    the origin.
    """
    x = as_tensor(x)
    if x.dtype == np.float16:
        return norm(single(x), axis, ord, keepdims=keepdims).astype(x.dtype)
    size = abs(x)
    if ord in (math.inf, -math.inf):
        return (max if ord > 0 else min)(size, axis=axis, keepdims=keepdims)
    if ord == 0:
        return sum(not_equal(size, 0).astype(size.dtype), axis=axis, keepdims=keepdims)
    if ord == 1:
        return sum(size, axis=axis, keepdims=keepdims)
    return _root(sum(square(x) if ord == 2 else _steep(size, ord), axis=axis, keepdims=keepdims), ord)


def _steep(size: tape.Tensor, ord: float) -> tape.Tensor:
    """``size ** ord`` with gradient 0 at 0, where its slope is infinite for ``ord < 1``."""
    if ord >= 1:
        return size**ord
    origin = equal(size, 0)
    return where(origin, 0.0 if ord > 0 else math.inf, where(origin, 1, size) ** ord)


def _root(total: tape.Tensor, n: float) -> tape.Tensor:
    """The n-th root with gradient 0 at 0, where its slope is infinite."""
    origin = equal(total, 0)
    if not is_tracing() and not is_cupy(origin.data) and not origin.data.any():  # a GPU is not waited for
        return sqrt(total) if n == 2 else total ** (1 / n)
    safe = where(origin, 1, total)  # so that no infinite slope is multiplied by zero
    return where(origin, 0, sqrt(safe) if n == 2 else safe ** (1 / n))


def tile(x: ArrayLike, /, reps: Shape) -> tape.Tensor:
    """``x`` repeated as a whole, ``reps`` times along each axis."""
    x = as_tensor(x)
    reps = shape_of(reps)
    shape = (1,) * (len(reps) - x.ndim) + x.shape
    reps = (1,) * (x.ndim - len(reps)) + reps
    x = reshape(x, tuple(m for n in shape for m in (1, n)))
    x = broadcast_to(x, tuple(m for pair in zip(reps, shape, strict=True) for m in pair))
    return reshape(x, tuple(r * n for r, n in zip(reps, shape, strict=True)))


def repeat(x: ArrayLike, /, repeats: Shape, axis: int | None = None) -> tape.Tensor:
    """Each element along ``axis`` (None: of the elements in one row) ``repeats`` times: a number, or one for
    each.
    """
    x, axis = along(x, axis)
    n = x.shape[axis]
    if np.ndim(repeats) and np.size(repeats) not in (1, n):
        raise ShapeError(f"repeat: {np.size(repeats)} repeats for {n} elements: give one, or one for each")
    return take(x, np.repeat(np.arange(n), repeats), axis=axis)


def take(x: ArrayLike, indices: ArrayLike, /, axis: int | None = None) -> tape.Tensor:
    """Elements along ``axis`` (None: of the elements in one row) at integer ``indices [...]``; repeats add
    their gradients.
    """
    x, axis = along(x, axis)
    return getitem(x, (slice(None),) * axis + (indices_of("take", indices),))


def take_along_axis(x: ArrayLike, indices: ArrayLike, /, axis: int = -1) -> tape.Tensor:
    """``x[..., indices[..., j, ...], ...]``: along ``axis`` by ``indices`` of as many dimensions as ``x``."""
    x, at = as_tensor(x), indices_of("take_along_axis", indices)
    if at.ndim != x.ndim:
        needed = f"the {x.ndim} dimensions of {list(x.shape)}"
        raise ShapeError(f"take_along_axis: indices {list(at.shape)} need {needed}")
    axis = axis_of(axis, x.ndim)
    grid = np.ogrid[tuple(slice(n) for n in x.shape)]
    return getitem(x, tuple(at if i == axis else grid[i] for i in range(x.ndim)))


def triu(x: ArrayLike, /, k: int = 0) -> tape.Tensor:
    """The last two axes on and above diagonal ``k``, zero below."""
    x = as_tensor(x)
    return where(constant(np.triu(np.ones(x.shape[-2:], bool), k), x), x, x.dtype.type(0).item())


def tril(x: ArrayLike, /, k: int = 0) -> tape.Tensor:
    """The last two axes on and below diagonal ``k``, zero above."""
    x = as_tensor(x)
    return where(constant(np.tril(np.ones(x.shape[-2:], bool), k), x), x, x.dtype.type(0).item())


def diag(x: ArrayLike, /, k: int = 0) -> tape.Tensor:
    """Diagonal ``k`` of a matrix, or the matrix that has ``x [n]`` there and is zero elsewhere."""
    x = as_tensor(x)
    if x.ndim not in (1, 2):
        raise ShapeError(f"diag: {list(x.shape)} is neither a row nor a matrix")
    if x.ndim == 1:
        n = len(x) + int(np.abs(k))
        return place(x, np.nonzero(np.eye(n, k=k)), (n, n))
    return getitem(x, np.nonzero(np.eye(x.shape[0], x.shape[1], k)))


def trace(x: ArrayLike, /, offset: int = 0, axis1: int = 0, axis2: int = 1) -> tape.Tensor:
    """Sum over diagonal ``offset`` of the matrices along ``axis1`` and ``axis2``."""
    x = moveaxis(x, (axis1, axis2), (-2, -1))
    diagonal = np.nonzero(np.eye(x.shape[-2], x.shape[-1], offset))
    return sum(getitem(x, (..., *diagonal)), axis=-1)


def moveaxis(x: ArrayLike, /, source: int | Sequence[int], destination: int | Sequence[int]) -> tape.Tensor:
    """``x`` with the axes ``source`` at the positions ``destination``, the others in their order."""
    x = as_tensor(x)
    here, there = axes_of(source, x.ndim), axes_of(destination, x.ndim)
    if len(here) != len(there):
        raise ShapeError(f"moveaxis: {len(here)} axes and {len(there)} positions: give one for each")
    order = [i for i in range(x.ndim) if i not in here]
    for position, axis in sorted(zip(there, here, strict=True)):
        order.insert(position, axis)
    return permute_dims(x, order)


def array_split(x: ArrayLike, indices_or_sections: Shape, /, axis: int = -1) -> tuple[tape.Tensor, ...]:
    """``split`` whose parts need not be equal: of ``n`` elements the first ``n % sections`` parts get one
    more. As there the last axis is the default.
    """
    x = as_tensor(x)
    if not hasattr(indices_or_sections, "__index__"):
        return split(x, indices_or_sections, axis=axis)
    n, k = x.shape[axis_of(axis, x.ndim)], operator.index(indices_or_sections)
    if k < 1:
        raise ShapeError(f"array_split: {k} parts: at least 1 is needed")
    return split(x, [i * (n // k) + np.minimum(i, n % k) for i in range(1, k)], axis=axis)


def hsplit(x: ArrayLike, indices_or_sections: Shape, /) -> tuple[tape.Tensor, ...]:
    """``split`` along the second axis, or along the only one."""
    x = as_tensor(x)
    return split(x, indices_or_sections, axis=int(x.ndim > 1))


def vsplit(x: ArrayLike, indices_or_sections: Shape, /) -> tuple[tape.Tensor, ...]:
    """``split`` along the first axis of at least two."""
    x = as_tensor(x)
    if x.ndim < 2:
        raise ShapeError(f"vsplit: {list(x.shape)} has no rows: use split(x, ..., axis=0)")
    return split(x, indices_or_sections, axis=0)


def diff(x: ArrayLike, /, n: int = 1, axis: int = -1) -> tape.Tensor:
    """Differences of neighbours along ``axis``, taken ``n`` times; of bools, whether they differ."""
    x = as_tensor(x)
    if n < 0:
        raise InputError(f"diff: n is {n}: differences are taken 0 times or more")
    before = (slice(None),) * axis_of(axis, x.ndim)
    for _ in range(n):
        left, right = getitem(x, (*before, slice(None, -1))), getitem(x, (*before, slice(1, None)))
        x = not_equal(right, left) if x.dtype == np.bool_ else right - left
    return x


def sort(x: ArrayLike, /, axis: int | None = -1) -> tape.Tensor:
    """``x`` in rising order along ``axis`` (None: its elements in one row), NaN last. Equal elements stay in
    their order, and so do their gradients.
    """
    x, axis = along(x, axis)
    return take_along_axis(x, argsort(x, axis=axis), axis=axis)


def cummax(x: ArrayLike, /, axis: int | None = None) -> tape.Tensor:
    """Largest element so far along ``axis`` (None: of the elements in one row), as
    ``numpy.maximum.accumulate``; of equal ones the last gets the gradient.
    """
    x, axis = along(x, axis)
    values = to_device(looked_at(x), "cpu")
    largest = (values == np.maximum.accumulate(values, axis)) | (values != values)
    positions = np.arange(x.shape[axis]).reshape((-1,) + (1,) * (x.ndim - axis - 1))
    at = np.maximum.accumulate(np.where(largest, positions, 0), axis)
    return take_along_axis(x, at, axis=axis)


def _ordered(x: ArrayLike, axis: Axis, keepdims: bool) -> tuple[tape.Tensor, tuple[int, ...]]:
    """``x`` in rising order over ``axis``, as the last axis, and the shape of what is reduced over it."""
    x = floating(x)
    axes = None if axis is None else axes_of(axis, x.ndim)
    rows = sort(joined(x, axes))
    return rows, kept(x.shape, axes) if keepdims else rows.shape[:-1]


def median(x: ArrayLike, /, axis: Axis = None, keepdims: bool = False) -> tape.Tensor:
    """The middle element over ``axis``, or the mean of the two in the middle; NaN where one is NaN. Of equal
    elements those get the gradient that are in the middle of a sort that keeps their order.
    """
    rows, shape = _ordered(x, axis, keepdims)
    n = rows.shape[-1]
    y = mean(getitem(rows, (..., slice((n - 1) // 2, n // 2 + 1))), axis=-1)
    if n:
        last = getitem(rows, (..., -1))
        y = where(isnan(last), last, y)
    return reshape(y, shape)


def quantile(x: ArrayLike, q: ArrayLike, /, axis: Axis = None, keepdims: bool = False) -> tape.Tensor:
    """What a share ``q``, a number or an array ``[...]`` of them, of the elements over ``axis`` is below, by
    linear interpolation between neighbours: ``[..., rest of the shape]``. NaN and ties as in ``median``; no
    gradient flows to ``q``.
    """
    rows, shape = _ordered(x, axis, keepdims)
    shares = to_device(values_of(floating(q), "quantile", "detach() q"), "cpu").astype(np.float64)
    if not ((shares >= 0) & (shares <= 1)).all():
        raise InputError("quantile: q must be from 0 to 1")
    n = rows.shape[-1]
    if not n:
        raise ShapeError("quantile: there is no element: give at least one along the axis")
    at = shares * (n - 1)
    part = constant((at % 1).astype(single(rows).dtype), rows)
    low, high = (take(single(rows), f(at).astype(int), axis=-1) for f in (np.floor, np.ceil))
    last = reshape(getitem(rows, (..., -1)), rows.shape[:-1] + (1,) * at.ndim)
    y = where(isnan(last), last, low + where(equal(part, 0), 0, high - low) * part)
    y = moveaxis(y, range(y.ndim - at.ndim, y.ndim), range(at.ndim))
    return reshape(y, at.shape + shape).astype(rows.dtype)
