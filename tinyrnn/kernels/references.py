"""The plain NumPy form of the row kernels: what they must agree with, and what serves dtypes and devices they
do not take.
"""

import numpy as np

from ..base.devices import array_module


def _largest(x):
    """``[..., 1]``; of nothing it is -inf. CuPy's ``max`` has no initial value."""
    return (
        x.max(axis=-1, keepdims=True)
        if x.size
        else array_module(x).full((*x.shape[:-1], 1), -np.inf, x.dtype)
    )


def bfloat16(x):
    """float32 rounded to the nearest bfloat16, of two that are as near to the even one; NaN stays NaN."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    nearest = bits + (0x7FFF + (bits >> 16 & 1)).astype(np.uint32)
    quiet = bits | np.uint32(0x400000)
    return (np.where(np.isnan(x), quiet, nearest) & np.uint32(0xFFFF0000)).view(np.float32)


def softmax(x):
    with np.errstate(invalid="ignore"):  # infinities give NaN
        e = np.exp(x - _largest(x))
        return e / e.sum(axis=-1, keepdims=True)


def log_softmax(x):
    with np.errstate(divide="ignore", invalid="ignore"):  # the sum over nothing, infinities
        x = x - _largest(x)
        return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def logsumexp(x):
    top = _largest(x)
    top = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore"):  # the sum over nothing
        return np.log(np.exp(x - top).sum(axis=-1)) + top[..., 0]


def cross_entropy(logits, *, ids):
    """The plain form of the fused kernel: loss ``[n]`` of logits ``[n, classes]`` and ids ``[n]``."""
    xp, top = array_module(logits), _largest(logits)
    sums = xp.log(xp.exp(logits - top).sum(axis=-1)) + top[:, 0]
    return sums - logits[xp.arange(len(ids)), xp.asarray(ids)]


def cross_entropy_grad(g, logits, *, ids):
    xp, e = array_module(logits), softmax(logits)
    e[xp.arange(len(ids)), xp.asarray(ids)] -= 1
    return e * g[:, None]


def biased_cross_entropy(logits, bias, ids, own, live, spread, slope):
    logits += bias
    xp, scores = array_module(logits), log_softmax(logits)
    at, spread = (xp.arange(len(ids)), ids), xp.zeros_like(bias) if spread is None else spread
    counts = (own != 0) | (live != 0)
    losses = xp.where(counts, -own * scores[at] - live * (spread * scores).sum(axis=-1), 0)
    if slope:
        grad = xp.exp(scores) * (own + live * spread.sum())[:, None] - live[:, None] * spread
        grad[at] -= own
        logits[...] = xp.where(counts[:, None], grad, 0)
    return losses
