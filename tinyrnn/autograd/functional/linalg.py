"""Linear algebra, ``tr.linalg``: of matrices ``[..., n, n]``, with the names of ``numpy.linalg``. Half
precision is computed in single. On a GPU it is not noticed that a matrix is singular or not positive
definite, as nothing waits for it: the result is not finite, or makes no sense.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ...base.devices import array_module
from ...base.errors import InputError, ShapeError
from .. import Tensor, abs, equal, expand_dims, max, min, moveaxis, reshape, square, sum, where
from .. import norm as vector_norm
from ..linalg import matmul
from ..pointwise import constant
from ..reductions import floating, kept
from ..shaping import axes_of, getitem, matrix_transpose
from ..tape import Op, apply, as_array
from ..types import ArrayLike, Axis

__all__ = ["cholesky", "det", "inv", "norm", "slogdet", "solve"]

_SINGULAR = "the matrix is singular: add a small multiple of the identity, as a + 1e-6 * tr.eye(n)"
_FAILURES = {  # what NumPy's LinAlgError means, and what to do
    "cholesky": "the matrix is not positive definite: add a small multiple of the identity, "
    "as a + 1e-6 * tr.eye(n)",
    "inv": _SINGULAR,
    "solve": _SINGULAR,
    "svd": "the singular values were not found: look for NaN or infinity in the matrix",
}


def _lapack(name: str, *arrays: Any, **options: Any) -> Any:
    """NumPy's function of that name: an array, or a tuple of them."""
    dtype = np.result_type(*arrays)
    if dtype == np.float16:
        arrays = tuple(a.astype(np.float32) for a in arrays)
    try:
        y = getattr(array_module(arrays[0]).linalg, name)(*arrays, **options)
    except np.linalg.LinAlgError as error:
        raise InputError(f"{name}: {_FAILURES[name]}") from error
    several = tuple(as_array(v).astype(dtype, copy=False) for v in (y if isinstance(y, tuple) else (y,)))
    return several if isinstance(y, tuple) else several[0]


def _square(name: str, x: ArrayLike) -> Tensor:
    x = floating(x)
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"{name}: {list(x.shape)} is no square matrix, nor several: give [..., n, n]")
    return x


def _cofactors(x: Tensor) -> Tensor:
    """The signed determinants of the matrices without a row and a column: right for singular ones too, but of
    n^2 (n - 1)^2 numbers.
    """
    n = x.shape[-1]
    if n > 16:
        mend = "add a small multiple of the identity, as x + 1e-6 * tr.eye(n)"
        raise InputError(f"det: the gradient of a singular {n} x {n} matrix takes too many minors: {mend}")
    rest = np.array([[j for j in range(n) if j != i] for i in range(n)], int).reshape(n, n - 1)
    signs = constant((-1.0) ** np.add.outer(range(n), range(n)).astype(x.dtype), x)
    return det(getitem(x, (..., rest[:, None, :, None], rest[:, None, :]))) * signs


def _det_x(g: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """``g y inv(x)^T``; where a matrix is singular, from its minors."""
    g, y = (expand_dims(t, axis=(-2, -1)) for t in (g, y))
    return g * (y * matrix_transpose(inv(x)) if y.data.all() else _cofactors(x))


def _cholesky_x(g: Tensor, y: Tensor) -> Tensor:
    """Murray 2016, "Differentiation of the Cholesky decomposition", eq. 9, for the lower triangle."""
    halved = constant((np.tri(y.shape[-1]) - 0.5 * np.eye(y.shape[-1])).astype(y.dtype), y)
    upper = matrix_transpose(y)
    s = apply(_solve, upper, halved * matmul(upper, g))
    s = apply(_solve, upper, matrix_transpose(s))
    return halved * (s + matrix_transpose(s))


def _svd_x(g: list[Tensor], x: Tensor) -> Tensor:
    """Townsend 2016, "Differentiating the singular value decomposition"; 0 for what equal or zero singular
    values leave open.
    """
    (gu, gs, gvh), (u, s, vh) = g, apply(_svd, x)
    v, gv = matrix_transpose(vh), matrix_transpose(gvh)
    gaps = square(expand_dims(s, axis=-2)) - square(expand_dims(s, axis=-1))
    over_gaps = where(equal(gaps, 0), 0, 1 / where(equal(gaps, 0), 1, gaps))
    columns = expand_dims(s, axis=-2)
    over = where(equal(columns, 0), 0, 1 / where(equal(columns, 0), 1, columns))
    along_u, along_v = matmul(matrix_transpose(u), gu), matmul(vh, gv)
    turn_u = over_gaps * (along_u - matrix_transpose(along_u)) * columns
    turn_v = over_gaps * (along_v - matrix_transpose(along_v)) * expand_dims(s, axis=-1)
    stretch = constant(np.eye(s.shape[-1], dtype=x.dtype), x) * expand_dims(gs, axis=-1)
    outside_u, outside_v = over * (gu - matmul(u, along_u)), over * (gv - matmul(v, along_v))
    inside = matmul(turn_u + turn_v + stretch, vh) + matrix_transpose(outside_v)
    return matmul(u, inside) + matmul(outside_u, vh)


def _solved(a: Any, b: Any) -> Any:
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])  # which CuPy does not do by itself
    both = (array_module(a).broadcast_to(x, lead + x.shape[-2:]) for x in (a, b))
    return _lapack("solve", *both)


_solve: Op = Op(
    "solve",
    _solved,
    {
        "a": lambda g, a, y: -matmul(apply(_solve, matrix_transpose(a), g), matrix_transpose(y)),
        "b": lambda g, a: apply(_solve, matrix_transpose(a), g),
    },
)
_inv = Op(
    "inv",
    lambda x: _lapack("inv", x),
    {"x": lambda g, y: -matmul(matmul(matrix_transpose(y), g), matrix_transpose(y))},
)
_det = Op("det", lambda x: _lapack("det", x), {"x": _det_x})
_slogdet = Op(
    "slogdet",
    lambda x: _lapack("slogdet", x),
    {"x": lambda gs, x: expand_dims(gs[1], axis=(-2, -1)) * matrix_transpose(inv(x))},
)
_cholesky = Op("cholesky", lambda x: _lapack("cholesky", x), {"x": _cholesky_x})
_svd = Op("svd", lambda x: _lapack("svd", x, full_matrices=False), {"x": _svd_x})


def solve(a: ArrayLike, b: ArrayLike, /) -> Tensor:
    """``x`` of ``a @ x = b``, for a row ``b [n]`` or ``b [..., n, k]``; leading axes broadcast.

    Raises:
        InputError: a matrix is singular; ``ShapeError``: ``a`` is not square, or ``b`` does not fit.
    """
    a, b = _square("solve", a), floating(b)
    columns = expand_dims(b, axis=-1) if b.ndim == 1 else b
    if not b.ndim or columns.shape[-2] != a.shape[-1]:
        raise ShapeError(f"solve: b {list(b.shape)} must have {a.shape[-1]} rows, as a {list(a.shape)} has")
    y = apply(_solve, a, columns)
    return getitem(y, (..., 0)) if b.ndim == 1 else y


def inv(x: ArrayLike, /) -> Tensor:
    """The inverse; ``solve(a, b)`` is more exact than ``inv(a) @ b``.

    Raises:
        InputError: a matrix is singular.
    """
    return apply(_inv, _square("inv", x))


def det(x: ArrayLike, /) -> Tensor:
    """Determinant; its gradient is right for singular matrices, too, up to 16 x 16.

    Raises:
        InputError: when the gradient of a larger singular matrix is taken.
    """
    return apply(_det, _square("det", x))


class SignAndLog(NamedTuple):
    """What ``slogdet`` returns."""

    sign: Tensor
    logabsdet: Tensor


def slogdet(x: ArrayLike, /) -> SignAndLog:
    """Sign and logarithm of the absolute value of the determinant, as a named pair ``(sign, logabsdet)``. The
    gradient of a singular matrix's, whose logarithm is -inf, raises an `InputError`.
    """
    return SignAndLog(*apply(_slogdet, _square("slogdet", x)))


def cholesky(x: ArrayLike, /, *, upper: bool = False) -> Tensor:
    """Lower triangle ``L`` of ``L @ L.mT = x`` (``upper``: its transpose). As in NumPy the lower triangle of
    ``x`` is read and stands for the upper one, too; it alone has a gradient.

    Raises:
        InputError: a matrix is not positive definite.
    """
    y = apply(_cholesky, _square("cholesky", x))
    return matrix_transpose(y) if upper else y


def norm(
    x: ArrayLike, /, ord: float | str | None = None, axis: Axis = None, keepdims: bool = False
) -> Tensor:
    """Norm over ``axis`` (None: all): over two axes a matrix norm, ``ord`` being "fro", "nuc" (the sum of
    singular values), 2 and -2 (the largest and smallest), 1 and -1 (sums of columns), inf and -inf (sums of
    rows); over one the vector norm ``tr.norm``; without ``ord`` the root of the sum of squares.

    Gradients are 0 at the origin and shared at a tie; those of "nuc" at a singular matrix are one of several.
    """
    x = floating(x)
    axes = tuple(range(x.ndim)) if axis is None else axes_of(axis, x.ndim)
    if ord is None or (ord == "fro" and len(axes) == 2):
        return vector_norm(x, axes, keepdims=keepdims)
    if len(axes) == 1 and not isinstance(ord, str):
        return vector_norm(x, axes, ord, keepdims=keepdims)
    if len(axes) != 2 or ord not in ("nuc", 1, -1, 2, -2, math.inf, -math.inf):
        known = "'fro', 'nuc', 1, -1, 2, -2, inf or -inf over two axes, a number over one"
        raise InputError(f"norm: ord {ord!r} over {len(axes)} axes is no norm: use {known}")
    matrices = moveaxis(x, axes, (-2, -1))
    if ord in ("nuc", 2, -2):
        sizes = apply(_svd, matrices)[1]
    else:
        sizes = sum(abs(matrices), axis=-2 if ord in (1, -1) else -1)
    y = sum(sizes, axis=-1) if ord == "nuc" else (max if float(ord) > 0 else min)(sizes, axis=-1)
    return reshape(y, kept(x.shape, axes)) if keepdims else y
