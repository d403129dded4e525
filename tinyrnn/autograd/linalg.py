"""Matrix products."""

import numpy as np

from ..errors import ShapeError
from .pointwise import as_tensor
from .shaping import expand_dims, matrix_transpose, reshape, squeeze
from .tape import Op, apply

# fmt: off
__all__ = [
    "matmul",
]
# fmt: on

_matmul = Op(
    "matmul",
    np.matmul,
    {"a": lambda g, b: matmul(g, matrix_transpose(b)), "b": lambda g, a: matmul(matrix_transpose(a), g)},
    inputs=("a", "b"),
)


def matmul(x1, x2, /):
    """Matrix product ``[..., n, k] @ [..., k, m] -> [..., n, m]``; leading axes broadcast, a 1-D operand is a vector.

    Raises:
        ShapeError: the inner sizes differ.
    """
    a, b = as_tensor(x1), as_tensor(x2)
    if not (a.ndim and b.ndim):
        raise ShapeError("matmul: operands need at least one axis: use * to scale by a number")
    inner = b.shape[-2] if b.ndim > 1 else b.shape[0]
    if a.shape[-1] != inner:
        raise ShapeError(
            f"matmul: {list(a.shape)} @ {list(b.shape)}: inner sizes {a.shape[-1]} and {inner} differ: "
            "transpose or reshape one of them"
        )
    if a.ndim == 1:
        return squeeze(matmul(expand_dims(a, axis=0), b), axis=-2 if b.ndim > 1 else 0)
    if b.ndim == 1:
        return squeeze(matmul(a, expand_dims(b, axis=1)), axis=-1)
    if a.ndim > 2 and b.ndim == 2:  # one large product instead of a batch of small ones, forward and backward
        return reshape(apply(_matmul, reshape(a, (-1, a.shape[-1])), b), (*a.shape[:-1], b.shape[-1]))
    return apply(_matmul, a, b)
