"""Losses. ``reduction`` is ``"mean"``, ``"sum"`` or ``"none"`` (one loss an element); the class axis is the
last one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import kernels
from ...autograd import Tensor, abs, maximum, mean, minimum, reshape, softplus, square, sum, where
from ...autograd.arrays import take, take_along_axis
from ...autograd.pointwise import as_tensor, operand
from ...autograd.softmaxes import log_softmax, softmax
from ...autograd.tape import Op, apply, looked_at
from ...autograd.types import ArrayLike
from ...base.devices import beside
from ...base.errors import InputError, ShapeError
from ..checks import checked_number

__all__ = [
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "huber_loss",
    "l1_loss",
    "mse_loss",
    "nll_loss",
    "quantile_loss",
]


def reduced(losses: Tensor, reduction: str, weights: Tensor | None = None) -> Tensor:
    """``losses`` reduced; a mean is one weighted by ``weights`` where they are given."""
    if reduction == "mean":
        return mean(losses) if weights is None else sum(losses) / sum(weights)
    if reduction == "sum":
        return sum(losses)
    if reduction == "none":
        return losses
    raise InputError(f"reduction {reduction!r}: use 'mean', 'sum' or 'none'")


def _grad_vjp_logits(ct: Tensor, g: Tensor, logits: Tensor) -> Tensor:
    """d/dlogits of sum(ct * (softmax - onehot) * g): the softmax's own VJP."""
    p = softmax(logits)
    return reshape(g, (-1, 1)) * p * (ct - sum(ct * p, axis=-1, keepdims=True))


_cross_entropy: Op = Op(
    "cross_entropy",
    kernels.row_kernel("cross_entropy"),
    {"logits": lambda g, logits, ids: apply(_cross_entropy_grad, g, logits, ids=ids)},
    inputs=("logits",),
)
_cross_entropy_grad: Op = Op(
    "cross_entropy_grad",
    kernels.row_kernel("cross_entropy_grad"),
    {
        "g": lambda ct, logits, ids: sum(
            ct * apply(_cross_entropy_grad, Tensor(_ones(logits)), logits, ids=ids), axis=-1
        ),
        "logits": _grad_vjp_logits,
    },
    inputs=("g", "logits"),
)


def _ones(logits: Tensor) -> Any:
    return beside(np.ones(len(logits.data), logits.dtype), logits.data)


def nll_loss(
    input: ArrayLike,
    target: ArrayLike,
    /,
    weight: ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood ``-input[target]`` of log-probabilities ``[..., classes]`` and class ids
    ``[...]``.

    Args:
        weight: ``[classes]``; a mean is divided by the sum of the weights of the targets.
        ignore_index: targets of this id cost nothing and do not count in a mean.

    Raises:
        ShapeError: the shapes do not fit.
        InputError: an id that is neither ``ignore_index`` nor in ``[0, classes)``.
    """
    scores = as_tensor(input)
    ids, ignored, counts = checked_targets("nll_loss", scores, scores.shape, target, weight, ignore_index)
    losses = -take_along_axis(scores, ids[..., None])[..., 0]
    return _counted(losses, ignored, counts, reduction)


def checked_targets(
    name: str,
    like: Tensor,
    shape: tuple[int, ...],
    target: ArrayLike,
    weight: ArrayLike | None,
    ignore_index: int,
) -> tuple[Any, Any, Tensor | None]:
    """Ids (0 where ignored), the mask of ignored ones or None, and what each target counts, None where that
    is 1 for all: for scores of a ``shape``, with the device and dtype of ``like``.
    """
    ids = looked_at(as_tensor(target)).copy()
    if not shape or shape[:-1] != ids.shape or ids.dtype.kind not in "iu":
        needed = f"scores {list(shape)} need integer class ids {list(shape[:-1])}"
        raise ShapeError(f"{name}: {needed}, got {ids.dtype} {list(ids.shape)}")
    ignored = ids == ignore_index
    ids, ignored = (np.where(ignored, 0, ids), ignored) if ignored.any() else (ids, None)
    classes = shape[-1]
    if ids.size and not (ids.min() >= 0 and ids.max() < classes):
        span = f"from {ids.min()} to {ids.max()}"
        raise InputError(f"{name}: class ids run {span}, there are {classes} classes")
    ids, ignored = beside(ids, like.data), ignored if ignored is None else beside(ignored, like.data)
    if weight is not None and (given := as_tensor(weight).shape) != (classes,):
        raise ShapeError(f"{name}: weight {list(given)} must be [{classes}], one for each class")
    counts = None if weight is None else take(weight, ids)
    if ignored is not None:
        seen = as_tensor((~ignored).astype(like.dtype))
        counts = seen if counts is None else counts * seen
    return ids, ignored, counts


def _counted(losses: Tensor, ignored: Any, counts: Tensor | None, reduction: str) -> Tensor:
    """Losses weighted by what they count, zero where ignored, and reduced."""
    if ignored is not None:
        losses = where(ignored, 0, losses)
    if counts is None:
        return reduced(losses, reduction)
    with np.errstate(invalid="ignore"):  # a mean over nothing is NaN, as in PyTorch
        return reduced(losses * counts, reduction, counts)


def checked_smoothing(name: str, share: float) -> None:
    """InputError unless ``share`` may be a label smoothing."""
    if checked_number(f"{name}: label_smoothing", share) > 1:
        raise InputError(f"{name}: label_smoothing is {share}: it must be from 0 to 1")


def cross_entropy(
    input: ArrayLike,
    target: ArrayLike,
    /,
    weight: ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """Softmax cross-entropy, in nats, of logits ``[..., classes]``.

    Args:
        target: integer class ids ``[...]``, or probabilities ``[..., classes]``.
        weight: ``[classes]``; with class ids a mean is divided by the sum of the weights of the targets.
        ignore_index: class ids equal to it cost nothing and do not count in a mean.
        label_smoothing: this share of the target is spread evenly over all classes (Szegedy et al. 2016, sec.
            7).

    Raises:
        ShapeError: the shapes do not fit.
        InputError: an id that is neither ``ignore_index`` nor in ``[0, classes)``; a smoothing outside [0,
            1].
    """
    logits, goal = as_tensor(input), as_tensor(target)
    checked_smoothing("cross_entropy", label_smoothing)
    if not logits.ndim:
        raise ShapeError("cross_entropy: logits [] must be [..., classes]: give one score for each class")
    classes = logits.shape[-1]
    if goal.dtype.kind == "f":
        if goal.shape != logits.shape:
            needed = f"logits {list(logits.shape)} need probabilities of that shape"
            raise ShapeError(f"cross_entropy: {needed}, got {list(goal.shape)}")
        goal = goal * (1 - label_smoothing) + label_smoothing / classes
        scores = log_softmax(logits)
        return reduced(-sum(goal * (scores if weight is None else scores * weight), axis=-1), reduction)
    facts = logits.shape, target, weight, ignore_index
    ids, ignored, counts = checked_targets("cross_entropy", logits, *facts)
    losses = reshape(apply(_cross_entropy, reshape(logits, (-1, classes)), ids=ids.reshape(-1)), ids.shape)
    if not label_smoothing:
        return _counted(losses, ignored, counts, reduction)
    scores = log_softmax(logits)
    spread = -sum(scores if weight is None else scores * weight, axis=-1) / classes
    spread = spread if ignored is None else where(ignored, 0, spread)
    own = _counted(losses, ignored, counts, "none")
    return reduced((1 - label_smoothing) * own + label_smoothing * spread, reduction, counts)


def _pair(name: str, input: ArrayLike, target: ArrayLike) -> tuple[Tensor, Tensor]:
    x, t = as_tensor(input), as_tensor(target)
    if x.shape != t.shape:
        shapes = f"input {list(x.shape)} and target {list(t.shape)}"
        raise ShapeError(f"{name}: {shapes} differ: reshape one of them")
    return x, t


def binary_cross_entropy_with_logits(
    input: ArrayLike,
    target: ArrayLike,
    /,
    weight: ArrayLike | None = None,
    *,
    pos_weight: ArrayLike | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``-t log s(x) - (1 - t) log(1 - s(x))`` with ``s`` the sigmoid, as ``(1 - t) x + log(1 + exp(-x))``.

    ``weight`` multiplies the losses, ``pos_weight`` their first term; both broadcast.
    """
    x, t = _pair("binary_cross_entropy_with_logits", input, target)
    log_weight = 1 if pos_weight is None else 1 + (operand(pos_weight) - 1) * t
    losses = (1 - t) * x + log_weight * softplus(-x)
    return reduced(losses if weight is None else losses * weight, reduction)


def mse_loss(input: ArrayLike, target: ArrayLike, /, *, reduction: str = "mean") -> Tensor:
    """Squared error ``(input - target)**2``."""
    x, t = _pair("mse_loss", input, target)
    return reduced(square(x - t), reduction)


def l1_loss(input: ArrayLike, target: ArrayLike, /, *, reduction: str = "mean") -> Tensor:
    """Absolute error ``|input - target|``."""
    x, t = _pair("l1_loss", input, target)
    return reduced(abs(x - t), reduction)


def huber_loss(
    input: ArrayLike, target: ArrayLike, /, *, delta: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """``d**2 / 2`` where ``|d| <= delta``, else ``delta (|d| - delta / 2)``, of ``d = input - target`` (Huber
    1964).
    """
    x, t = _pair("huber_loss", input, target)
    checked_number("huber_loss: delta", delta, positive=True)
    d = abs(x - t)
    near = minimum(d, delta)  # so that the square cannot overflow where it is not used
    return reduced(0.5 * square(near) + delta * (d - near), reduction)


def quantile_loss(input: ArrayLike, target: ArrayLike, /, q: float, *, reduction: str = "mean") -> Tensor:
    """``max(q d, (q - 1) d)`` of ``d = target - input``: least where ``input`` is the quantile ``q`` (Koenker
    & Bassett 1978).

    Raises:
        InputError: ``q`` is not between 0 and 1.
    """
    x, t = _pair("quantile_loss", input, target)
    checked_number("quantile_loss: q", q, below=1, positive=True)
    d = t - x
    return reduced(maximum(q * d, (q - 1) * d), reduction)
