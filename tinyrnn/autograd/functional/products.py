"""Sums of products: dot, vecdot, trace, outer, kron, tensordot, einsum."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...base.devices import array_module, beside, same_device
from ...base.errors import ShapeError
from .. import Tensor, broadcast_to, matmul, moveaxis, permute_dims, reshape, sum
from ..linalg import ambient_precision, of_rows_alone
from ..pointwise import as_tensor
from ..shaping import axes_of, axis_of, getitem
from ..tape import Op, apply
from ..types import ArrayLike

__all__ = ["dot", "einsum", "kron", "outer", "tensordot", "trace", "vecdot"]


def dot(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """Sum of products over the last axis of ``x1`` and the last but one of ``x2`` (its only one if it is a
    row); a number scales.
    """
    a, b = as_tensor(x1), as_tensor(x2)
    return tensordot(a, b, ([-1], [-min(b.ndim, 2)])) if a.ndim and b.ndim else a * b


def vecdot(x1: ArrayLike, x2: ArrayLike, /, *, axis: int = -1) -> Tensor:
    """Sum of products along ``axis``; the other axes broadcast."""
    a, b = as_tensor(x1), as_tensor(x2)
    if a.shape[axis_of(axis, a.ndim)] != b.shape[axis_of(axis, b.ndim)]:
        raise ShapeError(f"vecdot: axis {axis} of {list(a.shape)} and {list(b.shape)} differ in size")
    return sum(a * b, axis=axis)


def kron(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """Kronecker product: ``x2`` scaled by each element of ``x1``, as blocks at their places."""
    a, b = as_tensor(x1), as_tensor(x2)
    left, right = ((1,) * (y.ndim - x.ndim) + x.shape for x, y in ((a, b), (b, a)))
    blocks = [reshape(a, [k for m in left for k in (m, 1)]), reshape(b, [k for m in right for k in (1, m)])]
    return reshape(blocks[0] * blocks[1], [m * k for m, k in zip(left, right, strict=True)])


def trace(x: ArrayLike, /, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """Sum over diagonal ``offset`` of the matrices along ``axis1`` and ``axis2``."""
    x = moveaxis(x, (axis1, axis2), (-2, -1))
    diagonal = np.nonzero(np.eye(x.shape[-2], x.shape[-1], offset))
    return sum(getitem(x, (..., *diagonal)), axis=-1)


def outer(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """``x1[i] * x2[j]``, operands taken as rows of their elements."""
    return reshape(x1, (-1, 1)) * reshape(x2, (1, -1))


def tensordot(x1: ArrayLike, x2: ArrayLike, /, axes: int | Sequence[int | Sequence[int]] = 2) -> Tensor:
    """Sum of products over ``axes``: the last n of ``x1`` with the first n of ``x2``, or two lists of
    axes.
    """
    a, b = as_tensor(x1), as_tensor(x2)
    n: Any = axes  # how many, or both lists
    both = (range(a.ndim - n, a.ndim), range(n)) if hasattr(n, "__index__") else n
    over_a, over_b = ([*axes_of(o, x.ndim)] for x, o in zip((a, b), both, strict=True))
    free_a, free_b = ([i for i in range(x.ndim) if i not in o] for x, o in ((a, over_a), (b, over_b)))
    if [a.shape[i] for i in over_a] != [b.shape[i] for i in over_b]:
        both = f"axes {over_a} of {list(a.shape)} and {over_b} of {list(b.shape)}"
        raise ShapeError(f"tensordot: {both} differ in size")
    rows, columns = [a.shape[i] for i in free_a], [b.shape[i] for i in free_b]
    inner = math.prod(a.shape[i] for i in over_a)
    left = reshape(permute_dims(a, free_a + over_a), (math.prod(rows), inner))
    right = reshape(permute_dims(b, over_b + free_b), (inner, math.prod(columns)))
    return reshape(matmul(left, right), rows + columns)


def _einsum_vjp(g: Tensor, inputs: Sequence[Tensor], i: int, terms: Sequence[str], output: str) -> Tensor:
    """The sum of products of ``g`` and the other operands that has the labels of operand ``i``."""
    others = [(t, x) for j, (t, x) in enumerate(zip(terms, inputs, strict=True)) if j != i]
    # A label that only operand i has was summed over: its gradient is the same everywhere along it.
    known = set(output).union(*(t for t, _ in others))
    alone = [label for label in terms[i] if label not in known]
    x, sizes = inputs[i], dict(zip(terms[i], inputs[i].shape, strict=True))
    ones = [(label, Tensor(beside(np.ones(sizes[label], x.dtype), g.data))) for label in alone]
    labels, operands = zip((output, g), *others, *ones, strict=True)
    y = apply(_einsum, *operands, terms=labels, output=terms[i])
    return broadcast_to(y, np.broadcast_shapes(y.shape, x.shape))  # where another operand had size 1


def _sum_of_products(xs: Sequence[Any], subscripts: str) -> Any:
    same_device("einsum", *xs)  # CuPy would copy arrays of NumPy to the GPU without a word
    dtype = np.result_type(*xs)
    half: dict[str, Any] = (
        {"dtype": np.float32} if dtype == np.float16 else {}
    )  # which does not add up by itself
    y = array_module(xs[0]).einsum(subscripts, *xs, optimize=len(xs) > 2, **half)
    return y.astype(dtype, copy=False)


def _forward(*xs: Any, terms: Sequence[str], output: str) -> Any:
    return _sum_of_products(xs, f"{','.join(terms)}->{output}")


_einsum = Op("einsum", _forward, {"*": _einsum_vjp}, inputs=())


def einsum(subscripts: str, /, *operands: ArrayLike) -> Tensor:
    """Sums of products by Einstein's convention, as ``numpy.einsum``: ``einsum("bij,jk->bik", x, w)``;
    ``...`` is understood.

    Raises:
        ShapeError: the subscripts do not fit the operands.
    """
    xs = [as_tensor(x) for x in operands]
    before, arrow, output = subscripts.replace(" ", "").partition("->")
    terms = before.split(",")
    if len(terms) != len(xs):
        raise ShapeError(f"einsum: {subscripts!r} names {len(terms)} operands, {len(xs)} were given")
    free = [c for c in string.ascii_letters if c not in subscripts]
    dims = [x.ndim - len(t.replace("...", "")) if "..." in t else 0 for t, x in zip(terms, xs, strict=True)]
    rest = "".join(free[: max(dims, default=0)])
    terms = [
        t.replace("...", rest[len(rest) - n :] if n > 0 else "") for t, n in zip(terms, dims, strict=True)
    ]
    if not arrow:
        once = "".join(terms)
        output = rest + "".join(c for c in sorted(set(once) - set(rest)) if once.count(c) == 1)
    output = output.replace("...", rest)
    for t, x in zip(terms, xs, strict=True):
        if len(t) != x.ndim:
            given = f"{subscripts!r} gives {len(t)} labels to an operand {list(x.shape)}"
            raise ShapeError(f"einsum: {given}: one for each axis")
    pairs = [_diagonals(t, x) for t, x in zip(terms, xs, strict=True)]
    if ambient_precision() and (found := _by_matrix(pairs, output)) is not None:
        return found
    return apply(_einsum, *[x for _, x in pairs], terms=tuple(t for t, _ in pairs), output=output)


def _by_matrix(pairs: Sequence[tuple[str, Tensor]], output: str) -> Tensor | None:
    """A product with a matrix of two axes, as `matmul` makes it, in whatever precision; None for others."""
    for (s, x), (t, y) in (pairs, pairs[::-1]) if len(pairs) == 2 else ():
        if of_rows_alone() and x.ndim != 2:
            continue
        inner, free = set(s) & set(t) - set(output), set(t) & set(output) - set(s)
        labels = [*(c for c in s if c not in inner), *free]
        if len(t) == 2 and len(inner) == len(free) == 1 and sorted(labels) == sorted(output):
            (label,) = inner
            axes = s.index(label), t.index(label)
            if x.shape[axes[0]] == y.shape[axes[1]]:
                found = tensordot(x, y, ([axes[0]], [axes[1]]))
                return permute_dims(found, [labels.index(c) for c in output])
    return None


def _diagonals(term: str, x: Tensor) -> tuple[str, Tensor]:
    """Labels and operand with each repeated label replaced by the diagonal it stands for."""
    for label in dict.fromkeys(term):
        while term.count(label) > 1:
            i, j = term.index(label), term.rindex(label)
            rest = [k for k in range(len(term)) if k not in (i, j)]
            n = np.arange(x.shape[i])
            x = getitem(permute_dims(x, (*rest, i, j)), (Ellipsis, n, n))
            term = "".join(term[k] for k in rest) + label
    return term, x
