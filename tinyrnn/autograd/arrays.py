"""Array functions under NumPy's names that are composed of ops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..base.devices import is_cupy
from ..base.errors import ShapeError
from . import shaping, tape
from .pointwise import abs, as_tensor, constant, equal, not_equal, sqrt, square, where
from .reductions import Axes, fused, is_all, kept, max, mean, min, reduced, single, size_along, sum
from .shaping import along, axes_of, axis_of, broadcast_to, getitem, indices_of, place, reshape, shape_of
from .tape import TABLE, Op, apply, is_tracing
from .types import ArrayLike, Axis, Shape

__all__ = ["diag", "norm", "repeat", "std", "take", "take_along_axis", "tile", "tril", "triu", "var"]


def _deviations(x: Any, *, axis: Axes, keepdims: bool, divisor: float) -> Any:
    parts = x - TABLE["mean"].forward(x, axis=axis, keepdims=True)
    parts *= parts
    total = TABLE["sum"].forward(parts, axis=axis, keepdims=keepdims)
    with np.errstate(divide="ignore", invalid="ignore"):  # infinite or NaN where nothing is left to divide by
        return total / (divisor if divisor > 0 else 0.0)


def _var_vjp(g: tape.Tensor, x: tape.Tensor, axis: Axes, divisor: float) -> tape.Tensor:
    """Deviations are centred once more: of equal elements all that is left is how their mean was rounded."""
    g, middle = g * (2 / divisor if divisor > 0 else math.inf), mean(x, axis=axis, keepdims=True)
    rows = {
        "g": g,
        "middle": middle,
        "share": tape.Tensor(np.full_like(middle.data, 1 / (size_along(x.shape, axis) or 1))),
    }
    made = fused("var_grad", axis, "x - middle", "g * (part - total * share)", {"x": x}, rows)
    if made is None:
        parts = x - middle
        made = reshape(g, middle.shape) * (parts - mean(parts, axis=axis, keepdims=True))
    return made


_var = Op("var", _deviations, {"x": _var_vjp}, listed=False)


def _squares_vjp(g: tape.Tensor, x: tape.Tensor, axis: Axes) -> tape.Tensor:
    made = fused("squares_grad", axis, "", "2 * g * x", {"x": x}, {"g": g})
    return 2 * reshape(g, kept(x.shape, axis)) * x if made is None else made


def _sum_of_squares(x: Any, *, axis: Axes, keepdims: bool) -> Any:
    return TABLE["sum"].forward(x * x, axis=axis, keepdims=keepdims)


_squares = Op("sum_of_squares", _sum_of_squares, {"x": _squares_vjp}, listed=False)


def var(
    x: ArrayLike, /, axis: Axis = None, *, correction: float = 0.0, keepdims: bool = False
) -> tape.Tensor:
    """Variance over ``axis``: squared deviations summed and divided by ``n - correction``, or by 0 if that is
    negative.
    """
    x = as_tensor(x)
    x, dtype = single(x), x.dtype
    axes = None if is_all(axis, x.ndim) else axes_of(axis, x.ndim)
    n = size_along(x.shape, axes)
    divisor = n - correction
    if is_tracing():  # in ops that programs know
        with np.errstate(divide="ignore", invalid="ignore"):
            total = sum(square(x - mean(x, axis=axis, keepdims=True)), axis=axis, keepdims=keepdims)
            y = total / (divisor if divisor > 0 else 0.0)
    else:
        y = apply(_var, x, axis=axes, keepdims=keepdims, divisor=divisor)
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
    if ord == 2 and not is_tracing():
        return _root(reduced(_squares, x, axis, keepdims), 2)
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
    if not is_tracing() and not is_cupy(total.data) and total.data.all():  # a GPU is not waited for
        return sqrt(total) if n == 2 else total ** (1 / n)
    origin = equal(total, 0)
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
    return getitem(x, (slice(None),) * axis + (indices_of("take", indices, computed=axis == 0),))


def take_along_axis(x: ArrayLike, indices: ArrayLike, /, axis: int = -1) -> tape.Tensor:
    """``x[..., indices[..., j, ...], ...]``: along ``axis`` by ``indices`` of as many dimensions as ``x``."""
    x = as_tensor(x)
    at = indices_of("take_along_axis", indices, computed=True)
    if at.ndim != x.ndim:
        needed = f"the {x.ndim} dimensions of {list(x.shape)}"
        raise ShapeError(f"take_along_axis: indices {list(at.shape)} need {needed}")
    axis = axis_of(axis, x.ndim)
    if is_tracing():
        return shaping.take_along(x, constant(at, x), axis)
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
