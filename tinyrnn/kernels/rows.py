"""Kernels along the last axis, and softmax cross-entropy, for NumPy arrays of float32 or float64.

Their plain references are in ``kernels/references.py``. Sums run in the arrays' own
precision, in an order that depends on the width alone.
"""

import numpy as np

from ..base import threads
from . import groups
from .jit import jit
from .scalar_math import exp


@jit
def _largest(row):
    top = row[0]
    for j in range(1, row.size):
        top = row[j] if row[j] > top else top
    return top


@jit
def _top(row):
    """What to subtract so that exp cannot overflow: the largest element, or 0 if that is infinite; NaN stays
    NaN.
    """
    top = _largest(row)
    return row.dtype.type(0) if abs(top) == np.inf else top


@jit
def _softmax(x, out):
    for r in range(x.shape[0]):
        row, o = x[r], out[r]
        top, total = _largest(row), row.dtype.type(0)
        for j in range(row.size):
            e = exp(row[j] - top)
            o[j] = e
            total += e
        scale = row.dtype.type(1) / total
        for j in range(row.size):
            o[j] *= scale


@jit
def _logsumexp(x, out):
    for r in range(x.shape[0]):
        row = x[r]
        top, total = _top(row), row.dtype.type(0)
        for j in range(row.size):
            total += exp(row[j] - top)
        out[r] = np.log(total) + top


@jit
def _log_softmax(x, out):
    for r in range(x.shape[0]):
        row, o = x[r], out[r]
        top, total = _largest(row), row.dtype.type(0)
        for j in range(row.size):
            total += exp(row[j] - top)
        shift = row.dtype.type(np.log(total)) + top
        for j in range(row.size):
            o[j] = row[j] - shift


@jit
def _cross_entropy(logits, ids, out):
    for r in range(logits.shape[0]):
        row = logits[r]
        top, total = _top(row), row.dtype.type(0)
        for j in range(row.size):
            total += exp(row[j] - top)
        out[r] = np.log(total) + (top - row[ids[r]])


@jit
def _cross_entropy_grad(g, logits, ids, out):
    for r in range(logits.shape[0]):
        row, o = logits[r], out[r]
        top, total = _top(row), row.dtype.type(0)
        for j in range(row.size):
            e = exp(row[j] - top)
            o[j] = e
            total += e
        scale = g[r] / total
        for j in range(row.size):
            o[j] *= scale
        o[ids[r]] -= g[r]


@jit
def _biased_cross_entropy(logits, ids, own, live, losses, bias, spread, slope):
    total_spread = logits.dtype.type(0)
    for j in range(spread.size):
        total_spread += spread[j]
    for r in range(len(logits)):
        row, total, even = logits[r], logits.dtype.type(0), logits.dtype.type(0)
        if own[r] == 0 and live[r] == 0:
            losses[r] = 0
            row[:] = 0
            continue
        for j in range(row.size):
            row[j] += bias[j]
        top, at = _top(row), row[ids[r]]
        for j in range(spread.size):
            even += spread[j] * (row[j] - top)
        for j in range(row.size):
            e = exp(row[j] - top)
            row[j] = e
            total += e
        share = np.log(total)
        losses[r] = own[r] * (share + (top - at)) + live[r] * (total_spread * share - even)
        if slope:
            scale = (own[r] + live[r] * total_spread) / total
            for j in range(row.size):
                row[j] *= scale
            for j in range(spread.size):
                row[j] -= live[r] * spread[j]
            row[ids[r]] -= own[r]


def _rows_of(x):
    return np.ascontiguousarray(x).reshape(-1, x.shape[-1])


def _by_rows(kernel, width, *arrays):
    """Call a kernel of ``arrays``, which have a row for each of n, in parts of the rows."""

    def part(first, last):
        kernel(*[a[first:last] for a in arrays])

    threads.split(len(arrays[0]), part, at_least=10 * width)


def _logsumexp_of_columns(x):
    """``[..., w] -> [..., 1]`` where rows do not lie one behind the other."""
    top = x.max(-1, keepdims=True)
    top = np.where(np.isinf(top), x.dtype.type(0), top)
    with np.errstate(divide="ignore"):  # of the logarithm, where all are -inf
        return np.log(groups.run("sum_exp", {"x": x}, {"top": top}, (x.ndim - 1,), "exp(x - top)")) + top


def softmax(x):
    """``[..., w] -> [..., w]``."""
    if not x.flags.c_contiguous:
        rows = {"top": x.max(-1, keepdims=True)}
        return groups.run("softmax", {"x": x}, rows, (x.ndim - 1,), "exp(x - top)", "part / total")
    out = np.empty(x.shape, x.dtype)
    _by_rows(_softmax, x.shape[-1], _rows_of(x), _rows_of(out))
    return out


def log_softmax(x):
    """``[..., w] -> [..., w]``."""
    if not x.flags.c_contiguous:
        return x - _logsumexp_of_columns(x)
    out = np.empty(x.shape, x.dtype)
    _by_rows(_log_softmax, x.shape[-1], _rows_of(x), _rows_of(out))
    return out


def logsumexp(x):
    """``[..., w] -> [...]``."""
    if not x.flags.c_contiguous:
        return _logsumexp_of_columns(x)[..., 0]
    out = np.empty(x.shape[:-1], x.dtype)
    _by_rows(_logsumexp, x.shape[-1], _rows_of(x), out.reshape(-1))
    return out


def cross_entropy(logits, ids):
    """Losses ``[n]`` of logits ``[n, w]`` and ids ``[n]``."""
    out = np.empty(len(logits), logits.dtype)
    ids = np.ascontiguousarray(ids, np.int64)
    _by_rows(_cross_entropy, logits.shape[1], np.ascontiguousarray(logits), ids, out)
    return out


def cross_entropy_grad(g, logits, ids):
    """``g [n]`` times softmax minus one-hot: ``[n, w]``, softmax and derivative in one pass."""
    out = np.empty(logits.shape, logits.dtype)
    g = np.ascontiguousarray(g, logits.dtype)
    ids = np.ascontiguousarray(ids, np.int64)
    _by_rows(_cross_entropy_grad, logits.shape[1], g, np.ascontiguousarray(logits), ids, out)
    return out


def biased_cross_entropy(logits, bias, ids, own, live, spread, slope):
    """Losses ``[n]`` of ``logits [n, w] + bias [w]``; of -log p each row counts ``own[r]`` of its class
    ``ids[r]`` and ``live[r] * spread[j]`` of each class. Rows that count nothing cost 0, whatever they hold.

    ``logits``, contiguous, are written over: with ``slope`` by their gradient.
    """
    losses = np.empty(len(logits), logits.dtype)
    spread = np.zeros(0, logits.dtype) if spread is None else spread

    def kernel(*rows):
        _biased_cross_entropy(*rows, bias, spread, slope)

    _by_rows(kernel, logits.shape[1], logits, ids, own, live, losses)
    return losses
