"""Losses. ``reduction`` is ``"mean"``, ``"sum"`` or ``"none"`` (one loss an element); the class axis is the last one."""

import numpy as np

from .. import kernels
from ..autograd import (
    Tensor,
    abs,
    expand_dims,
    grad,
    log_softmax,
    logaddexp,
    mean,
    reshape,
    softplus,
    square,
    stack,
    sum,
    where,
)
from ..autograd.neural import softmax_cross_entropy
from ..autograd.pointwise import as_tensor
from ..autograd.tape import Op, apply, is_recording
from ..errors import InputError, ShapeError
from ..kernels.arrays import to_device
from .arrays import take, take_along_axis

__all__ = [
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "ctc_loss",
    "huber_loss",
    "l1_loss",
    "mse_loss",
    "nll_loss",
]


def _reduced(losses, reduction, weights=None):
    """``losses`` reduced; a mean is one weighted by ``weights`` where they are given."""
    if reduction == "mean":
        return mean(losses) if weights is None else sum(losses) / sum(weights)
    if reduction == "sum":
        return sum(losses)
    if reduction == "none":
        return losses
    raise InputError(f"reduction {reduction!r}: use 'mean', 'sum' or 'none'")


# ------------------------------------------------------------------ classes


def _class_ids(name, scores, target):
    """``target`` as an array of class ids, one for each row of ``scores [..., classes]``."""
    ids = target.data if isinstance(target, Tensor) else np.asarray(target)
    if scores.shape[:-1] != ids.shape or ids.dtype.kind not in "iu":
        raise ShapeError(
            f"{name}: scores {list(scores.shape)} need integer class ids {list(scores.shape[:-1])}, "
            f"got {ids.dtype} {list(ids.shape)}"
        )
    return ids


def nll_loss(input, target, /, weight=None, *, ignore_index=-100, reduction="mean"):
    """Negative log-likelihood ``-input[target]`` of log-probabilities ``[..., classes]`` and class ids ``[...]``.

    Args:
        weight: ``[classes]``; a mean is divided by the sum of the weights of the targets.
        ignore_index: targets of this id cost nothing and do not count in a mean.

    Raises:
        ShapeError: the shapes do not fit.
        InputError: an id that is neither ``ignore_index`` nor in ``[0, classes)``.
    """
    scores = as_tensor(input)
    ids, ignored, weights = _targets("nll_loss", scores, target, weight, ignore_index)
    losses = -take_along_axis(scores, ids[..., None])[..., 0]
    return _counted(losses, ignored, weights, reduction)


def _targets(name, scores, target, weight, ignore_index):
    """Ids (0 where ignored), the mask of ignored ones or None, and the weights of the targets or None."""
    ids = _class_ids(name, scores, target)
    ignored = ids == ignore_index
    if ignored.any():
        ids = np.where(ignored, 0, ids)
    else:
        ignored = None
    classes = scores.shape[-1]
    if ids.size and not (ids.min() >= 0 and ids.max() < classes):
        raise InputError(f"{name}: class ids run from {ids.min()} to {ids.max()}, there are {classes} classes")
    return ids, ignored, None if weight is None else take(weight, ids)


def _counted(losses, ignored, weights, reduction):
    """Losses weighted, zero where ignored, and reduced."""
    if ignored is not None:
        losses = where(ignored, 0, losses)
        counts = as_tensor((~ignored).astype(losses.dtype))
        weights = counts if weights is None else weights * counts
    if weights is None:
        return _reduced(losses, reduction)
    with np.errstate(invalid="ignore"):  # a mean over nothing is NaN, as in PyTorch
        return _reduced(losses * weights, reduction, weights)


def cross_entropy(input, target, /, weight=None, *, ignore_index=-100, label_smoothing=0.0, reduction="mean"):
    """Softmax cross-entropy, in nats, of logits ``[..., classes]``.

    Args:
        target: integer class ids ``[...]``, or probabilities ``[..., classes]``.
        weight: ``[classes]``; with class ids a mean is divided by the sum of the weights of the targets.
        ignore_index: class ids equal to it cost nothing and do not count in a mean.
        label_smoothing: this share of the target is spread evenly over all classes (Szegedy et al. 2016, sec. 7).

    Raises:
        ShapeError: the shapes do not fit.
        InputError: an id that is neither ``ignore_index`` nor in ``[0, classes)``; a smoothing outside [0, 1].
    """
    logits, goal = as_tensor(input), as_tensor(target)
    if not 0 <= label_smoothing <= 1:
        raise InputError(f"cross_entropy: label_smoothing is {label_smoothing}: it must be from 0 to 1")
    classes = logits.shape[-1]
    if goal.dtype.kind == "f":
        if goal.shape != logits.shape:
            raise ShapeError(
                f"cross_entropy: logits {list(logits.shape)} need probabilities of that shape, got {list(goal.shape)}"
            )
        goal = goal * (1 - label_smoothing) + label_smoothing / classes
        scores = log_softmax(logits)
        return _reduced(-sum(goal * (scores if weight is None else scores * weight), axis=-1), reduction)
    ids, ignored, weights = _targets("cross_entropy", logits, target, weight, ignore_index)
    losses = reshape(softmax_cross_entropy(reshape(logits, (-1, classes)), ids.reshape(-1)), ids.shape)
    if not label_smoothing:
        return _counted(losses, ignored, weights, reduction)
    scores = log_softmax(logits)
    spread = -sum(scores if weight is None else scores * weight, axis=-1) / classes
    spread = spread if ignored is None else where(ignored, 0, spread)
    own = _counted(losses, ignored, weights, "none")
    counts = weights if ignored is None else (1 if weights is None else weights) * as_tensor((~ignored).astype(losses.dtype))
    return _reduced((1 - label_smoothing) * own + label_smoothing * spread, reduction, counts)


# ------------------------------------------------------------------ numbers


def _pair(name, input, target):
    x, t = as_tensor(input), as_tensor(target)
    if x.shape != t.shape:
        raise ShapeError(f"{name}: input {list(x.shape)} and target {list(t.shape)} differ: reshape one of them")
    return x, t


def binary_cross_entropy_with_logits(input, target, /, weight=None, *, pos_weight=None, reduction="mean"):
    """``-t log s(x) - (1 - t) log(1 - s(x))`` with ``s`` the sigmoid, as ``(1 - t) x + log(1 + exp(-x))``.

    ``weight`` multiplies the losses, ``pos_weight`` their first term; both broadcast.
    """
    x, t = _pair("binary_cross_entropy_with_logits", input, target)
    log_weight = 1 if pos_weight is None else 1 + (as_tensor(pos_weight) - 1) * t
    losses = (1 - t) * x + log_weight * softplus(-x)
    return _reduced(losses if weight is None else losses * weight, reduction)


def mse_loss(input, target, /, *, reduction="mean"):
    """Squared error ``(input - target)**2``."""
    x, t = _pair("mse_loss", input, target)
    return _reduced(square(x - t), reduction)


def l1_loss(input, target, /, *, reduction="mean"):
    """Absolute error ``|input - target|``."""
    x, t = _pair("l1_loss", input, target)
    return _reduced(abs(x - t), reduction)


def huber_loss(input, target, /, *, delta=1.0, reduction="mean"):
    """``d**2 / 2`` where ``|d| <= delta``, else ``delta (|d| - delta / 2)``, of ``d = input - target`` (Huber 1964)."""
    x, t = _pair("huber_loss", input, target)
    d = abs(x - t)
    return _reduced(where(d <= delta, 0.5 * square(d), delta * (d - 0.5 * delta)), reduction)


# ------------------------------------------------------------------ sequences without alignment


def ctc_loss(
    log_probs,
    targets,
    input_lengths,
    target_lengths,
    /,
    blank=0,
    *,
    reduction="mean",
    zero_infinity=False,
):
    """Connectionist temporal classification (Graves et al. 2006): minus the log-likelihood of all alignments of a target.

    Args:
        log_probs: ``[T, N, C]``, the log_softmax of the network's output.
        targets: class ids ``[N, S]`` padded with anything, or all targets one after the other ``[sum(target_lengths)]``.
        input_lengths, target_lengths: ``[N]``.
        blank: the class that stands for "no label".
        reduction: ``"mean"`` divides each loss by its target's length first, as PyTorch does.
        zero_infinity: a target too long for its input costs 0 instead of inf.

    Raises:
        InputError: lengths or ids out of range; ``ShapeError``: shapes that do not fit.
    """
    lp = as_tensor(log_probs)
    T, N, C = lp.shape
    long = [np.asarray(to_device(as_tensor(a).data, "cpu"), np.int64) for a in (targets, input_lengths, target_lengths)]
    ids, inputs, lengths = _ctc_batch(*long, T, N)
    live = np.arange(ids.shape[1]) < lengths[:, None]
    if (live & ((ids < 0) | (ids >= C) | (ids == blank))).any():
        raise InputError(f"ctc_loss: target ids must be from 0 to {C - 1} and not the blank {blank}")
    losses = apply(_ctc, lp, targets=np.where(live, ids, blank), inputs=inputs, lengths=lengths, blank=blank)
    if zero_infinity:
        losses = where(losses.data == np.inf, 0, losses)
    return _reduced(losses / np.maximum(lengths, 1).astype(lp.dtype) if reduction == "mean" else losses, reduction)


def _ctc_batch(ids, inputs, lengths, T, N):
    """Targets as ``[N, S]``, and both lengths, checked."""
    if inputs.shape != (N,) or lengths.shape != (N,):
        raise ShapeError(f"ctc_loss: {N} sequences need {N} input and target lengths, got {inputs.size} and {lengths.size}")
    if N and (inputs.min() < 1 or inputs.max() > T or lengths.min() < 0):
        raise InputError(f"ctc_loss: input lengths must be from 1 to {T}, target lengths not negative")
    if ids.ndim == 1:
        if ids.size != lengths.sum():
            raise ShapeError(f"ctc_loss: {ids.size} target ids in a row, the target lengths add up to {lengths.sum()}")
        rows = np.zeros((N, lengths.max(initial=0)), np.int64)
        rows[np.arange(rows.shape[1]) < lengths[:, None]] = ids
        ids = rows
    if ids.ndim != 2 or len(ids) != N or ids.shape[1] < lengths.max(initial=0):
        raise ShapeError(f"ctc_loss: targets {list(ids.shape)} must hold {N} rows of up to {lengths.max(initial=0)} ids")
    return ids, inputs, lengths


def ctc_reference(lp, *, targets, inputs, lengths, blank):
    """The plain form of the kernel, in tensor ops: losses ``[N]``. Derivatives of second order go through it."""
    low, (T, N, _) = -1e30, lp.shape  # "log 0" that can be added and differentiated
    labels = np.full((N, 2 * targets.shape[1] + 1), blank)
    labels[:, 1::2] = targets
    skip = np.zeros(labels.shape, bool)
    skip[:, 3::2] = targets[:, 1:] != targets[:, :-1]
    start = np.arange(labels.shape[1]) < np.where(lengths, 2, 1)[:, None]
    at = [take_along_axis(lp[t], labels) for t in range(T)]
    alpha = where(start, at[0], low)

    def later(a, n):
        return stack([a[:, i - n] if i >= n else as_tensor(np.full(N, low, lp.dtype)) for i in range(labels.shape[1])], axis=1)

    for t in range(1, T):
        step = logaddexp(logaddexp(alpha, later(alpha, 1)), where(skip, later(alpha, 2), low)) + at[t]
        alpha = where((t < inputs)[:, None], step, alpha)
    end = 2 * lengths[:, None]
    last = take_along_axis(alpha, end)
    total = logaddexp(last, where(end > 0, take_along_axis(alpha, np.maximum(end - 1, 0)), low))[:, 0]
    return where(total.data < low / 2, np.inf, -total)


def _ctc_forward(lp, *, targets, inputs, lengths, blank):
    losses = kernels.ctc.ctc(to_device(lp, "cpu"), targets, inputs, lengths, blank, False)[0]
    return kernels.arrays.array_module(lp).asarray(losses)


def _ctc_vjp(g, lp, targets, inputs, lengths, blank):
    facts = dict(targets=targets, inputs=inputs, lengths=lengths, blank=blank)
    if is_recording():
        return grad(lambda x, g: sum(where(g.data == 0, 0, g * ctc_reference(x, **facts))))(lp, g)
    slope = kernels.ctc.ctc(to_device(lp.data, "cpu"), **facts, with_grad=True)[1]
    return expand_dims(g, axis=-1) * kernels.arrays.array_module(lp.data).asarray(slope)


_ctc = Op("ctc", _ctc_forward, {"lp": _ctc_vjp})
