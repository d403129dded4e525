"""Matrix products, and the precision of their operands."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ..base.errors import InputError, ShapeError
from ..base.explain import EXPLAINED, explained
from ..kernels.quicker import product, rounded_product
from . import tape
from .pointwise import as_tensor
from .shaping import expand_dims, matrix_transpose, reshape
from .tape import NONE, Op, apply, record_few
from .types import ArrayLike

__all__ = ["matmul"]


def _matmul_a(g: tape.Tensor, b: tape.Tensor, shape: tuple[int, ...]) -> tape.Tensor:
    if b.ndim == 1:  # every row of a was multiplied by this one vector
        return expand_dims(g, axis=-1) * b
    if len(shape) == 1:
        return reshape(matmul(b, expand_dims(g, axis=-1)), b.shape[:-1])
    return matmul(g, matrix_transpose(b))


def _rows(x: tape.Tensor) -> tape.Tensor:
    """``[..., k]`` as a matrix ``[n, k]``."""
    return reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))


def _matmul_b(g: tape.Tensor, a: tape.Tensor, shape: tuple[int, ...]) -> tape.Tensor:
    if len(shape) == 1:
        return matmul(reshape(g, -1), _rows(a))
    if a.ndim == 1:
        return expand_dims(a, axis=-1) * expand_dims(g, axis=-2)
    return matmul(matrix_transpose(a), g)


_matmul = Op("matmul", product, {"a": _matmul_a, "b": _matmul_b}, inputs=("a", "b"))


PRECISIONS = "bfloat16", "tf32", "int8"


@contextmanager
def autocast(precision: str | None) -> Iterator[None]:
    """Context in which float32 matrices are multiplied in a lower precision, forward and backward; sums,
    results and everything else stay float32. As ``torch.autocast``, for products alone.

    It holds for ``x @ matrix`` with a matrix of two axes, also by `einsum`, and for the products in `scan`
    and `RNN`; products of two batches of matrices, and in a step those of features of several axes, stay as
    they are. On a CPU, and in compiled loops on a GPU, operands are rounded to the nearest bfloat16; other
    products on a GPU to TensorFloat-32, which is no coarser. "int8" is for trained weights, in `no_grad` on a
    CPU: a matrix has 8 bits and a scale for each column, rows have 7 bits and a scale each.

    Args:
        precision: "bfloat16"; "tf32", on a GPU; "int8"; None: as the arrays are, also inside of another.

    Raises:
        InputError: another precision.
    """
    if precision is not None and precision not in PRECISIONS:
        known = f"{', '.join(PRECISIONS)} or None"
        raise InputError(f"autocast: precision {precision!r} is unknown: use one of {known}")
    with tape.multiplying((precision, of_rows_alone())):
        yield


def ambient_precision() -> str | None:
    """The precision of the `autocast` that this runs in."""
    return tape.state.products[0]


def of_rows_alone() -> bool:
    """True where products are those of a step, whose compiled loop rounds rows of the batch alone."""
    return tape.state.products[1]


def refuse_gradient(precision: str | None) -> None:
    """InputError where products in a precision without a gradient would be recorded."""
    if precision == "int8" and tape.is_recording() and not tape.is_tracing():
        raise InputError("products of int8 have no gradient: use them in tr.no_grad(), or bfloat16")


def _rounded_a(g: tape.Tensor, b: tape.Tensor, precision: str) -> tape.Tensor:
    with autocast(precision):
        return matmul(g, matrix_transpose(b))


def _rounded_b(g: tape.Tensor, a: tape.Tensor, precision: str) -> tape.Tensor:
    with autocast(precision):
        return matmul(matrix_transpose(a), g)


_rounded_vjps = {"a": _rounded_a, "b": _rounded_b}
_rounded_matmul = Op("rounded_matmul", rounded_product, _rounded_vjps, inputs=("a", "b"), listed=False)


def _applied(a: tape.Tensor, b: tape.Tensor) -> tape.Tensor:
    """The product in the precision that holds here."""
    precision = tape.state.products[0]
    if precision and a.ndim == b.ndim == 2 and a.data.dtype == b.data.dtype == np.float32:
        refuse_gradient(precision)
        return apply(_rounded_matmul, a, b, precision=precision)
    try:
        out = product(a.data, b.data)
    except EXPLAINED as error:
        raise explained(_matmul, (a, b), error) from error
    return record_few(_matmul, NONE, out, a, a.node, b, b.node)


def matmul(x1: ArrayLike, x2: ArrayLike, /) -> tape.Tensor:
    """Matrix product ``[..., n, k] @ [..., k, m] -> [..., n, m]``; leading axes broadcast, a 1-D operand is a
    vector.

    Raises:
        ShapeError: the inner sizes differ.
    """
    a, b = as_tensor(x1), as_tensor(x2)
    left, right = a.data.shape, b.data.shape
    if not (left and right):
        raise ShapeError("matmul: operands need at least one axis: use * to scale by a number")
    inner = right[-2] if len(right) > 1 else right[0]
    if left[-1] != inner:
        differ = f"matmul: {list(left)} @ {list(right)}: inner sizes {left[-1]} and {inner} differ"
        raise ShapeError(f"{differ}: transpose or reshape one of them")
    if len(left) > 2 and len(right) == 2:  # one large product instead of many small ones, both ways
        rows = _rows(a)
        product = apply(_matmul, rows, b) if tape.state.products[1] else _applied(rows, b)
        return reshape(product, (*left[:-1], right[-1]))
    return _applied(a, b)
