"""Linear-chain conditional random fields (Lafferty, McCallum & Pereira 2001), as the output of a network that
tags sequences (Lample et al. 2016): their loss by the forward algorithm, their best tags by Viterbi's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...autograd import Tensor, astype, logsumexp, reshape, sum, where
from ...autograd.arrays import take, take_along_axis
from ...autograd.pointwise import as_tensor, constant
from ...autograd.tape import looked_at
from ...autograd.types import ArrayLike
from ...base.devices import to_device
from ...base.errors import InputError, ShapeError
from ...compiler import scan
from .losses import checked_targets, reduced

__all__ = ["crf_decode", "crf_loss"]

NEVER = np.iinfo(np.int64).min  # an id that no target has: none is ignored


def crf_loss(
    emissions: ArrayLike,
    tags: ArrayLike,
    transitions: ArrayLike,
    start_transitions: ArrayLike,
    end_transitions: ArrayLike,
    /,
    mask: ArrayLike | None = None,
    *,
    reduction: str = "mean",
) -> Tensor:
    """Minus the log-likelihood of the tags of sequences under a linear-chain conditional random field
    (Lafferty, McCallum & Pereira 2001), in nats a sequence.

    The score of tags is the sum of their emissions, of the transitions between neighbours, and of how they
    start and end (Lample et al. 2016, section 2.2). What it is normalised by, the sum over all tags of a
    sequence, is made by the forward algorithm in log space, in one compiled loop.

    Args:
        emissions: ``[T, N, K]``, a score for each of K tags at each step.
        tags: ids ``[T, N]``, anything where ``mask`` is 0.
        transitions: ``[K, K]``, from the tag of the row to that of the column.
        start_transitions, end_transitions: ``[K]``.
        mask: ``[T, N]``, 1 for the steps of a sequence, 0 after its end; default: all are as long.

    Raises:
        ShapeError: the shapes do not fit.
        InputError: an id that is no tag, a mask with gaps or with a sequence of no steps.
    """
    scores, (between, start, end), lengths = _checked(
        "crf_loss", emissions, (transitions, start_transitions, end_transitions), mask
    )
    steps, batch, count = scores.shape
    given_in = np.result_type(*(a.dtype for a in (scores, between, start, end)))
    precision = np.promote_types(given_in, np.float32)  # of the sums
    scores, between, start, end = (astype(a, precision) for a in (scores, between, start, end))
    live = np.arange(steps)[:, None] < lengths
    given = looked_at(as_tensor(tags))
    if given.shape == live.shape:  # what stands after the end may be anything
        given = np.where(live, to_device(given, "cpu"), 0)
    ids = to_device(checked_targets("crf_loss", scores, scores.shape, given, None, NEVER)[0], "cpu")
    emitted = take_along_axis(scores, ids[..., None])[..., 0]
    told = sum(where(constant(live, scores), emitted, 0.0), axis=0)
    told = told + take(start, ids[0]) + take(end, ids[lengths - 1, np.arange(batch)])
    alpha = scores[0] + start
    if steps > 1:
        passed = take(reshape(between, (-1,)), (ids[:-1] * count + ids[1:]).reshape(-1))
        passed = reshape(passed, (steps - 1, batch))
        told = told + sum(passed * constant(live[1:].astype(scores.dtype), scores), axis=0)

        def step(x: Tensor, alpha: Tensor) -> Tensor:
            return logsumexp(alpha[:, :, None] + between, axis=1) + x

        alpha = scan(step, scores[1:], alpha, mask=live[1:])[1]
    return astype(reduced(logsumexp(alpha + end, axis=-1) - told, reduction), given_in)


def crf_decode(
    emissions: ArrayLike,
    transitions: ArrayLike,
    start_transitions: ArrayLike,
    end_transitions: ArrayLike,
    /,
    mask: ArrayLike | None = None,
) -> list[np.ndarray[Any, Any]]:
    """The tags of the highest score of each sequence, an array of ids each, by Viterbi's algorithm; sums run
    in float64.

    Args:
        emissions, transitions, start_transitions, end_transitions, mask: as in `crf_loss`. A transition of
            ``-inf`` is never taken.

    Raises:
        ShapeError: the shapes do not fit.
        InputError: a mask with gaps or with a sequence of no steps, scores that are NaN.
    """
    scores, weights, lengths = _checked(
        "crf_decode", emissions, (transitions, start_transitions, end_transitions), mask
    )
    between, start, end = (to_device(w.data, "cpu").astype(np.float64) for w in weights)
    rows = to_device(scores.data, "cpu").astype(np.float64)
    live = np.arange(len(rows))[:, None] < lengths
    if any(np.isnan(a).any() for a in (rows[live], between, start, end)):
        raise InputError("crf_decode: the scores hold NaN: train with a lower learning rate")
    best, came, stay = rows[0] + start, [], np.arange(scores.shape[2])
    for t in range(1, len(rows)):
        paths = best[:, :, None] + between
        came.append(np.where(live[t, :, None], paths.argmax(axis=1), stay))
        best = np.where(live[t, :, None], paths.max(axis=1) + rows[t], best)
    found = [(best + end).argmax(axis=-1)]
    for pointers in reversed(came):
        found.append(np.take_along_axis(pointers, found[-1][:, None], axis=1)[:, 0])
    tags = np.stack(found[::-1])
    return [tags[:n, b] for b, n in enumerate(lengths)]


def _checked(
    name: str, emissions: ArrayLike, weights: tuple[ArrayLike, ...], mask: ArrayLike | None
) -> tuple[Tensor, list[Tensor], Any]:
    """Emissions, transitions and those of start and end as tensors that fit, and the lengths ``[N]``."""
    scores = as_tensor(emissions)
    if scores.ndim != 3 or 0 in scores.shape:
        raise ShapeError(f"{name}: emissions {list(scores.shape)} must be [T, N, K], none of them 0")
    steps, batch, count = scores.shape
    found = [as_tensor(w) for w in weights]
    needed = {"transitions": (count, count), "start_transitions": (count,), "end_transitions": (count,)}
    for (what, shape), w in zip(needed.items(), found, strict=True):
        if w.shape != shape:
            raise ShapeError(f"{name}: {what} {list(w.shape)} must be {list(shape)} for {count} tags")
    if mask is None:
        return scores, found, np.full(batch, steps)
    live = to_device(looked_at(as_tensor(mask)), "cpu") != 0
    if live.shape != (steps, batch):
        raise ShapeError(f"{name}: the mask {list(live.shape)} must be {[steps, batch]}")
    lengths = live.sum(axis=0)
    if not (live == (np.arange(steps)[:, None] < lengths)).all() or not lengths.all():
        raise InputError(f"{name}: the mask must be 1 for the first steps of each sequence, one at least")
    return scores, found, lengths
