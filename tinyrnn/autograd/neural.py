"""Ops of the field: embedding, dropout, linear, losses."""

import numpy as np

from .. import kernels
from ..errors import InputError, ShapeError
from ..kernels.arrays import array_module
from .linalg import matmul
from .pointwise import abs, as_tensor, maximum, softplus, square
from .reductions import mean, softmax, sum
from .shaping import reshape
from .tape import Op, Tensor, apply

# fmt: off
__all__ = [
    "binary_cross_entropy_with_logits", "cross_entropy", "dropout", "embedding", "linear", "mse_loss",
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


# ------------------------------------------------------------------ losses


def _reduced(losses, reduction):
    if reduction == "mean":
        return mean(losses)
    if reduction == "sum":
        return sum(losses)
    if reduction == "none":
        return losses
    raise InputError(f"reduction {reduction!r}: use 'mean', 'sum' or 'none'")


def cross_entropy_reference(logits, *, ids):
    """The plain form of the fused kernel: loss ``[n]`` of logits ``[n, classes]`` and ids ``[n]``."""
    xp, top = array_module(logits), logits.max(axis=-1)
    return xp.log(xp.exp(logits - top[:, None]).sum(axis=-1)) + top - logits[xp.arange(len(ids)), xp.asarray(ids)]


def cross_entropy_grad_reference(g, logits, *, ids):
    xp = array_module(logits)
    e = xp.exp(logits - logits.max(axis=-1, keepdims=True))
    e /= e.sum(axis=-1, keepdims=True)
    e[xp.arange(len(ids)), xp.asarray(ids)] -= 1
    return e * g[:, None]


def _grad_vjp_logits(ct, g, logits):
    """d/dlogits of sum(ct * (softmax - onehot) * g): the softmax's own VJP."""
    p = softmax(logits)
    return reshape(g, (-1, 1)) * p * (ct - sum(ct * p, axis=-1, keepdims=True))


_cross_entropy = Op(
    "cross_entropy",
    kernels.row_kernel("cross_entropy", cross_entropy_reference),
    {"logits": lambda g, logits, ids: apply(_cross_entropy_grad, g, logits, ids=ids)},
    inputs=("logits",),
)
_cross_entropy_grad = Op(
    "cross_entropy_grad",
    kernels.row_kernel("cross_entropy_grad", cross_entropy_grad_reference),
    {
        "g": lambda ct, logits, ids: sum(ct * apply(_cross_entropy_grad, Tensor(_ones(logits)), logits, ids=ids), axis=-1),
        "logits": _grad_vjp_logits,
    },
    inputs=("g", "logits"),
)


def _ones(logits):
    return np.ones_like(logits.data[:, 0])


def cross_entropy(input, target, /, *, reduction="mean"):
    """Softmax cross-entropy, in nats, of logits ``[..., classes]`` against integer class ids ``[...]``.

    Raises:
        ShapeError: the shapes do not fit.
        InputError: an id outside ``[0, classes)``.
    """
    logits = as_tensor(input)
    ids = target.data if isinstance(target, Tensor) else np.asarray(target)
    if logits.shape[:-1] != ids.shape:
        raise ShapeError(
            f"cross_entropy: logits {list(logits.shape)} need class ids {list(logits.shape[:-1])}, got {list(ids.shape)}"
        )
    classes = logits.shape[-1]
    if ids.size and not (ids.min() >= 0 and ids.max() < classes):
        raise InputError(f"cross_entropy: class ids run from {ids.min()} to {ids.max()}, there are {classes} classes")
    losses = apply(_cross_entropy, reshape(logits, (-1, classes)), ids=ids.reshape(-1))
    return _reduced(reshape(losses, ids.shape), reduction)


def binary_cross_entropy_with_logits(input, target, /, *, reduction="mean"):
    """``-t log s(x) - (1 - t) log(1 - s(x))`` with ``s`` the sigmoid, as ``max(x, 0) - x t + log(1 + exp(-|x|))``."""
    x, t = as_tensor(input), as_tensor(target)
    return _reduced(maximum(x, 0) - x * t + softplus(-abs(x)), reduction)


def mse_loss(input, target, /, *, reduction="mean"):
    """Squared error ``(input - target)**2``."""
    x, t = as_tensor(input), as_tensor(target)
    if x.shape != t.shape:
        raise ShapeError(f"mse_loss: input {list(x.shape)} and target {list(t.shape)} differ: reshape one of them")
    return _reduced(square(x - t), reduction)
