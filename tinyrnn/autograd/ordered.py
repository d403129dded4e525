"""What depends on the order along an axis: differences, cumulative sums and products, sorts, quantiles."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base.devices import array_module, to_device
from ..base.errors import InputError, ShapeError
from . import tape
from .arrays import take, take_along_axis
from .pointwise import as_tensor, constant, equal, isnan, not_equal, where
from .reductions import Axes, floating, is_all, joined, kept, mean, reduced, reduction, single, spread
from .shaping import along, axes_of, axis_of, flip, getitem, moveaxis, pad, permute_dims, reshape, swapaxes
from .tape import Op, apply, looked_at, values_of
from .types import ArrayLike, Axis

__all__ = ["argsort", "cummax", "cumprod", "cumsum", "diff", "median", "prod", "quantile", "sort"]


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


def _cumulative(function: Any, vjp: Any) -> Op:
    def forward(x: Any, *, axis: int) -> Any:
        half = x.dtype == np.float16
        return function(x, axis, dtype=np.float32).astype(x.dtype) if half else function(x, axis)

    return Op(function.__name__, forward, {"x": vjp})


def _later(x: tape.Tensor) -> tape.Tensor:
    """``x`` one place later along the last axis, where it begins with 1."""
    return pad(getitem(x, (..., slice(None, -1))), [(0, 0)] * (x.ndim - 1) + [(1, 0)], constant_values=1)


def _cumsum_vjp(g: tape.Tensor, axis: int) -> tape.Tensor:
    return flip(cumsum(flip(g, axis=axis), axis=axis), axis=axis)


def _cumprod_vjp(g: tape.Tensor, x: tape.Tensor, y: tape.Tensor, axis: int) -> tape.Tensor:
    """The product of what is before each element, times what all products from it on do with it: ``s_i = g_i
    + x_(i+1) s_(i+1)``, by doubling how far that reaches.
    """
    g, x, y = (swapaxes(t, axis, -1) for t in (g, x, y))
    total, factor, reach = g, _sooner(x, 1), 1
    while reach < x.shape[-1]:
        total, factor = total + factor * _sooner(total, reach), factor * _sooner(factor, reach)
        reach *= 2
    return swapaxes(_later(y) * total, axis, -1)


def _sooner(x: tape.Tensor, n: int) -> tape.Tensor:
    """``x`` so many places sooner along the last axis, where it ends with 0."""
    return pad(getitem(x, (..., slice(n, None))), [(0, 0)] * (x.ndim - 1) + [(0, n)])


_cumsum, _cumprod = _cumulative(np.cumsum, _cumsum_vjp), _cumulative(np.cumprod, _cumprod_vjp)


def _cumulated(op: Op, x: ArrayLike, axis: int | None) -> tape.Tensor:
    x = as_tensor(x)
    x, axis = along(x, None if is_all(axis, x.ndim) else axis)
    return apply(op, x, axis=axis)


def cumsum(x: ArrayLike, /, axis: int | None = None) -> tape.Tensor:
    """Cumulative sum along ``axis`` (None: of the elements in one row)."""
    return _cumulated(_cumsum, x, axis)


def cumprod(x: ArrayLike, /, axis: int | None = None) -> tape.Tensor:
    """Cumulative product along ``axis`` (None: of the elements in one row)."""
    return _cumulated(_cumprod, x, axis)


def _before(x: tape.Tensor) -> tape.Tensor:
    """The product of what stands before each element along the last axis."""
    return cumprod(_later(x), axis=-1)


def _prod_vjp(g: tape.Tensor, x: tape.Tensor, y: tape.Tensor, axis: Axes, keepdims: bool) -> tape.Tensor:
    """Each element gets the product of the others: of those before it and those behind."""
    if x.size in (0, y.size):  # of one element, or of none
        return spread(g, x.shape, axis, keepdims)
    rows = joined(x, axis)
    others = _before(rows) * flip(_before(flip(rows, axis=-1)), axis=-1)
    axes = tuple(range(x.ndim)) if axis is None else axis
    order = (*[i for i in range(x.ndim) if i not in axes], *axes)
    others = permute_dims(reshape(others, tuple(x.shape[i] for i in order)), np.argsort(order).tolist())
    return spread(g, x.shape, axis, keepdims) * others


_prod = reduction(np.prod, _prod_vjp)


def prod(x: ArrayLike, /, axis: Axis = None, keepdims: bool = False) -> tape.Tensor:
    """Product over ``axis``. The product of no element is 1."""
    return reduced(_prod, x, axis, keepdims)


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


_argsort = Op("argsort", lambda x, *, axis: array_module(x).argsort(x, axis, kind="stable"))


def argsort(x: ArrayLike, /, axis: int | None = -1) -> tape.Tensor:
    """The indices that sort ``x`` along ``axis`` (None: its elements in one row), ties in their order (no
    gradient).
    """
    x, axis = along(x, axis)
    return apply(_argsort, x, axis=axis)


def sort(x: ArrayLike, /, axis: int | None = -1) -> tape.Tensor:
    """``x`` in rising order along ``axis`` (None: its elements in one row), NaN last. Equal elements stay in
    their order, and so do their gradients.
    """
    x, axis = along(x, axis)
    return take_along_axis(x, argsort(x, axis=axis), axis=axis)


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
    rise = where(equal(part, 0), 0, high - low)  # which may be infinite: taken from the nearer side
    y = where(isnan(last), last, where(part < 0.5, low + rise * part, high - rise * (1 - part)))
    y = moveaxis(y, range(y.ndim - at.ndim, y.ndim), range(at.ndim))
    return reshape(y, at.shape + shape).astype(rows.dtype)
