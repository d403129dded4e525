"""The loss for sequences whose alignment is unknown: connectionist temporal classification (Graves et al.
2006).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import kernels
from ...autograd import Tensor, expand_dims, logaddexp, stack, sum, where
from ...autograd.arrays import take_along_axis
from ...autograd.functional.transforms import grad
from ...autograd.pointwise import as_tensor, constant
from ...autograd.tape import Op, apply, is_recording, looked_at
from ...autograd.types import ArrayLike
from ...base.devices import array_module, to_device
from ...base.errors import InputError, ShapeError
from ..checks import checked_flag
from .losses import reduced

__all__ = ["ctc_loss"]


def ctc_loss(
    log_probs: ArrayLike,
    targets: ArrayLike,
    input_lengths: ArrayLike,
    target_lengths: ArrayLike,
    /,
    blank: int = 0,
    *,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Connectionist temporal classification (Graves et al. 2006): minus the log-likelihood of all alignments
    of a target.

    Args:
        log_probs: ``[T, N, C]``, the log_softmax of the network's output.
        targets: class ids ``[N, S]`` padded with anything, or all targets one after the other
            ``[sum(target_lengths)]``.
        input_lengths, target_lengths: ``[N]``.
        blank: the class that stands for "no label".
        reduction: ``"mean"`` divides each loss by its target's length first, as PyTorch does.
        zero_infinity: a target too long for its input costs 0 instead of inf.

    Raises:
        InputError: lengths or ids out of range; ``ShapeError``: shapes that do not fit.
    """
    lp = checked_log_probs("ctc_loss", log_probs, blank)
    T, N, C = lp.shape
    given = (targets, input_lengths, target_lengths)
    ids, steps, lengths = (np.asarray(to_device(looked_at(as_tensor(a)), "cpu"), np.int64) for a in given)
    ids = _ctc_targets(ids, steps, lengths, T, N)
    live = np.arange(ids.shape[1]) < lengths[:, None]
    if (live & ((ids < 0) | (ids >= C) | (ids == blank))).any():
        raise InputError(f"ctc_loss: target ids must be from 0 to {C - 1} and not the blank {blank}")
    losses = apply(_ctc, lp, targets=np.where(live, ids, blank), steps=steps, lengths=lengths, blank=blank)
    if checked_flag("ctc_loss: zero_infinity", zero_infinity):
        losses = where(losses.data == np.inf, 0, losses)
    if reduction == "mean":
        losses = losses / constant(np.maximum(lengths, 1).astype(lp.dtype), lp)
    return reduced(losses, reduction)


def checked_log_probs(name: str, log_probs: ArrayLike, blank: int) -> Tensor:
    """A tensor ``[T, N, C]``, of whose classes ``blank`` is one."""
    lp = as_tensor(log_probs)
    if lp.ndim != 3:
        raise ShapeError(f"{name}: log_probs {list(lp.shape)} must be [T, N, C]")
    if not isinstance(blank, int | np.integer) or not 0 <= blank < lp.shape[2]:
        classes = f"the {lp.shape[2]} classes, from 0 to {lp.shape[2] - 1}"
        raise InputError(f"{name}: the blank {blank!r} must be one of {classes}")
    return lp


def _ctc_targets(ids: Any, inputs: Any, lengths: Any, T: int, N: int) -> Any:
    """Targets as ``[N, S]``, checked like both lengths."""
    if inputs.shape != (N,) or lengths.shape != (N,):
        raise ShapeError(
            f"ctc_loss: {N} sequences need {N} input and target lengths, got {inputs.size} and {lengths.size}"
        )
    if N and (inputs.min() < 1 or inputs.max() > T or lengths.min() < 0):
        raise InputError(f"ctc_loss: input lengths must be from 1 to {T}, target lengths not negative")
    if ids.ndim == 1:
        if ids.size != lengths.sum():
            raise ShapeError(
                f"ctc_loss: {ids.size} target ids in a row, the target lengths add up to {lengths.sum()}"
            )
        rows = np.zeros((N, lengths.max(initial=0)), np.int64)
        rows[np.arange(rows.shape[1]) < lengths[:, None]] = ids
        ids = rows
    if ids.ndim != 2 or len(ids) != N or ids.shape[1] < lengths.max(initial=0):
        raise ShapeError(
            f"ctc_loss: targets {list(ids.shape)} must hold {N} rows of up to {lengths.max(initial=0)} ids"
        )
    return ids


LOG_ZERO = -1e30  # finite, so that it can be added and differentiated


def ctc_reference(lp: Tensor, *, targets: Any, steps: Any, lengths: Any, blank: int) -> Tensor:
    """The plain form of the kernel in tensor ops: log-likelihoods ``[N]``, those below ``LOG_ZERO / 2``
    standing for log 0.

    Derivatives of second order go through it.
    """
    low, (T, N, _) = LOG_ZERO, lp.shape
    labels = np.full((N, 2 * targets.shape[1] + 1), blank)
    labels[:, 1::2] = targets
    skip = np.zeros(labels.shape, bool)
    skip[:, 3::2] = targets[:, 1:] != targets[:, :-1]
    start = np.arange(labels.shape[1]) < np.where(lengths, 2, 1)[:, None]
    at = [take_along_axis(lp[t], labels) for t in range(T)]
    alpha = where(constant(start, lp), at[0], low)

    def later(a: Tensor, n: int) -> Tensor:
        first = constant(np.full(N, low, lp.dtype), lp)
        return stack([a[:, i - n] if i >= n else first for i in range(labels.shape[1])], axis=1)

    for t in range(1, T):
        skipped = where(constant(skip, lp), later(alpha, 2), low)
        step = logaddexp(logaddexp(alpha, later(alpha, 1)), skipped) + at[t]
        alpha = where(constant((t < steps)[:, None], lp), step, alpha)
    end = 2 * lengths[:, None]
    last = take_along_axis(alpha, end)
    before = take_along_axis(alpha, np.maximum(end - 1, 0))
    return logaddexp(last, where(constant(end > 0, lp), before, low))[:, 0]


def _ctc_forward(lp: Any, *, targets: Any, steps: Any, lengths: Any, blank: int) -> Any:
    losses = kernels.ctc.ctc(to_device(lp, "cpu"), targets, steps, lengths, blank, False)[0]
    return array_module(lp).asarray(losses)


def _ctc_vjp(g: Tensor, lp: Tensor, targets: Any, steps: Any, lengths: Any, blank: int) -> Tensor:
    facts: dict[str, Any] = dict(targets=targets, steps=steps, lengths=lengths, blank=blank)
    if is_recording():

        def weighted(lp: Tensor, g: Tensor) -> Tensor:
            likelihoods = ctc_reference(lp, **facts)
            return sum(where(likelihoods.data > LOG_ZERO / 2, -likelihoods * g, 0))

        return grad(weighted)(lp, g)
    slope = kernels.ctc.ctc(to_device(lp.data, "cpu"), **facts, with_grad=True)[1]
    return expand_dims(g, axis=-1) * array_module(lp.data).asarray(slope)


_ctc = Op("ctc", _ctc_forward, {"lp": _ctc_vjp})
