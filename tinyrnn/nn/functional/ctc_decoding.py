"""From the output of a network trained with CTC to labels: the best path, and prefix beam search."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...autograd.pointwise import as_tensor
from ...autograd.types import ArrayLike
from ...base.devices import to_device
from ...base.errors import InputError, ShapeError
from ..checks import checked_integer
from .ctc import checked_log_probs

__all__ = ["ctc_beam_decode", "ctc_greedy_decode"]


def ctc_greedy_decode(
    log_probs: ArrayLike, input_lengths: ArrayLike | None = None, /, blank: int = 0
) -> list[np.ndarray[Any, Any]]:
    """The labels of the most probable path: repeats merged, then blanks dropped (Graves et al. 2006, sec.
    3.2).

    Args:
        log_probs: ``[T, N, C]``, the log_softmax of the network's output.
        input_lengths: ``[N]``; default: all ``T`` steps.
        blank: the class that stands for "no label".

    Returns:
        An array of labels for each of the N sequences.

    Raises:
        InputError: lengths or blank out of range, log_probs that are NaN or infinite; ``ShapeError``: shapes
            that do not fit.
    """
    paths = [lp.argmax(axis=1) for lp in _sequences("ctc_greedy_decode", log_probs, input_lengths, blank)]
    return [path[(path != blank) & (np.diff(path, prepend=blank) != 0)] for path in paths]


def ctc_beam_decode(
    log_probs: ArrayLike, input_lengths: ArrayLike | None = None, /, blank: int = 0, *, beam_width: int = 10
) -> list[tuple[np.ndarray[Any, Any], float]]:
    """The most probable labels and their log-probability, by prefix beam search (Hannun et al. 2014,
    algorithm 1).

    The probability of labels is the sum over all their paths, so that they need not be those of the most
    probable path.

    Args:
        log_probs, input_lengths, blank: as in `ctc_greedy_decode`.
        beam_width: how many prefixes are followed. What has been dropped is missing from the log-probability,
            so that it is at most, and with a wide beam exactly, minus the ``ctc_loss`` of the labels.

    Returns:
        A pair ``(labels, log_probability)`` for each of the N sequences.

    Raises:
        InputError, ShapeError: as `ctc_greedy_decode`; a width below 1.
    """
    checked_integer("ctc_beam_decode: beam_width", beam_width, 1)
    sequences = _sequences("ctc_beam_decode", log_probs, input_lengths, blank)
    return [_search(lp, blank, beam_width) for lp in sequences]


def _sequences(
    name: str, log_probs: ArrayLike, input_lengths: ArrayLike | None, blank: int
) -> list[np.ndarray[Any, Any]]:
    """The ``[steps, C]`` of each sequence in float64, checked."""
    lp = to_device(checked_log_probs(name, log_probs, blank).data, "cpu")
    T, N, _ = lp.shape
    lengths = np.full(N, T)
    if input_lengths is not None:
        lengths = np.asarray(to_device(as_tensor(input_lengths).data, "cpu"), np.int64)
    if lengths.shape != (N,):
        raise ShapeError(f"{name}: {N} sequences need {N} input lengths, got {list(lengths.shape)}")
    if ((lengths < 0) | (lengths > T)).any():
        raise InputError(f"{name}: input lengths must be from 0 to {T}")
    sequences = [lp[:steps, n].astype(np.float64) for n, steps in enumerate(lengths)]
    if not all(np.isfinite(s.max(axis=1)).all() for s in sequences):
        fault = "a step that is NaN or infinite in all classes"
        raise InputError(f"{name}: log_probs have {fault}: take them from log_softmax")
    return sequences


def _search(lp: np.ndarray[Any, Any], blank: int, width: int) -> tuple[np.ndarray[Any, Any], float]:
    """The labels of ``lp [T, C]`` and their log-probability."""
    # Of each prefix, the log-probability of its paths that end in a blank, and of those that end in its last
    # label.
    prefixes: list[tuple[int, ...]] = [()]
    in_blank, in_label = np.zeros(1), np.full(1, -np.inf)
    for row in lp:
        last = np.array([p[-1] if p else blank for p in prefixes])
        total = np.logaddexp(in_blank, in_label)
        grown = total[:, None] + row  # by one label, [prefixes, C]
        grown[np.arange(len(last)), last] = in_blank + row[last]  # the same label again needs a blank between
        grown[:, blank] = -np.inf
        in_blank, in_label = total + row[blank], in_label + row[last]
        place = {p: i for i, p in enumerate(prefixes)}
        for i, p in enumerate(prefixes):
            # What grows into a prefix that is there joins it.
            if p and (parent := place.get(p[:-1])) is not None:
                in_label[i] = np.logaddexp(in_label[i], grown[parent, p[-1]])
                grown[parent, p[-1]] = -np.inf
        in_blank = np.concatenate([in_blank, np.full(grown.size, -np.inf)])
        in_label = np.concatenate([in_label, grown.ravel()])
        score = np.logaddexp(in_blank, in_label)
        best = np.argpartition(-score, min(width, len(score)) - 1)[:width]
        best = best[score[best] > -np.inf]
        in_blank, in_label, old = in_blank[best], in_label[best], len(prefixes)
        parents, labels = (a.tolist() for a in np.divmod(best - old, len(row)))
        prefixes = [
            prefixes[b] if b < old else (*prefixes[p], c)
            for b, p, c in zip(best, parents, labels, strict=True)
        ]
    score = np.logaddexp(in_blank, in_label)
    return np.array(prefixes[score.argmax()], np.int64), float(score.max())
