"""Ops of the field that have kernels of their own: embedding, dropout, softmax cross-entropy."""

import numpy as np

from .. import kernels
from ..errors import InputError
from ..kernels.arrays import array_module
from .linalg import matmul
from .pointwise import as_tensor
from .reductions import softmax, sum
from .shaping import reshape
from .tape import Op, Tensor, apply

# fmt: off
__all__ = [
    "dropout", "embedding", "linear",
]
# fmt: on

# ------------------------------------------------------------------ embedding


def _rows(table, *, ids):
    if ids.size and not (ids.min() >= 0 and ids.max() < len(table)):
        raise InputError(f"embedding: ids run from {ids.min()} to {ids.max()}, the table has rows 0 to {len(table) - 1}")
    return table.take(array_module(table).asarray(ids), axis=0)


def _add_rows(g, *, ids, rows):
    """[rows, width]: the rows of ``g`` summed by id, in the order of ``ids``: the same on every run."""
    return kernels.scatter.add_rows(g.reshape(-1, g.shape[-1]), ids.reshape(-1), rows)


_embedding = Op("embedding", _rows, {"table": lambda g, shape, ids: apply(_scatter, g, ids=ids, rows=shape[0])})
_scatter = Op("scatter_rows", _add_rows, {"g": lambda ct, ids: apply(_embedding, ct, ids=ids)})


def embedding(ids, weight, /):
    """Rows of ``weight [n, width]`` by integer ``ids [...]``: ``[..., width]``. The gradient is a deterministic sum.

    Raises:
        InputError: an id outside ``[0, n)``.
    """
    ids = ids.data if isinstance(ids, Tensor) else np.asarray(ids)
    if ids.dtype.kind not in "iu":
        raise InputError(f"embedding: ids are {ids.dtype}: they must be integers")
    return apply(_embedding, as_tensor(weight), ids=ids)


def linear(x, weight, bias=None, /):
    """``x @ weight + bias`` with ``weight [n_in, n_out]``."""
    y = matmul(x, weight)
    return y if bias is None else y + bias


# ------------------------------------------------------------------ dropout

_dropout = Op(
    "dropout",
    lambda x, *, p, key: kernels.random.dropout(x, p, key),
    {"x": lambda g, p, key: apply(_dropout, g, p=p, key=key)},
)


def dropout(x, p=0.5, *, generator):
    """Zero each element with probability ``p`` and scale the rest by ``1 / (1 - p)`` (Srivastava et al. 2014).

    The mask is a function of the generator's key and the element's position, so it is never stored:
    the gradient makes it again.
    """
    if not 0 <= p < 1:
        raise InputError(f"dropout: p is {p}: it must be at least 0 and below 1")
    return apply(_dropout, as_tensor(x), p=p, key=generator.key()) if p else as_tensor(x)


# ------------------------------------------------------------------ softmax cross-entropy


def _grad_vjp_logits(ct, g, logits):
    """d/dlogits of sum(ct * (softmax - onehot) * g): the softmax's own VJP."""
    p = softmax(logits)
    return reshape(g, (-1, 1)) * p * (ct - sum(ct * p, axis=-1, keepdims=True))


_cross_entropy = Op(
    "cross_entropy",
    kernels.row_kernel("cross_entropy"),
    {"logits": lambda g, logits, ids: apply(_cross_entropy_grad, g, logits, ids=ids)},
    inputs=("logits",),
)
_cross_entropy_grad = Op(
    "cross_entropy_grad",
    kernels.row_kernel("cross_entropy_grad"),
    {
        "g": lambda ct, logits, ids: sum(ct * apply(_cross_entropy_grad, Tensor(_ones(logits)), logits, ids=ids), axis=-1),
        "logits": _grad_vjp_logits,
    },
    inputs=("g", "logits"),
)


def _ones(logits):
    return np.ones_like(logits.data[:, 0])


def softmax_cross_entropy(logits, ids):
    """Losses ``[n]`` in nats of logits ``[n, classes]`` against class ids ``[n]``: one pass forward, one pass back.

    Raises:
        InputError: an id outside ``[0, classes)``.
    """
    classes = logits.shape[-1]
    if ids.size and not (ids.min() >= 0 and ids.max() < classes):
        raise InputError(f"cross_entropy: class ids run from {ids.min()} to {ids.max()}, there are {classes} classes")
    return apply(_cross_entropy, logits, ids=ids)
