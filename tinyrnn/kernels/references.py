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


def quantised(x, axis, most):
    """float32 as integers from ``-most`` to ``most`` (int8) and the scales along an axis that they are
    multiples of: ``x`` is about integers * scales.

    What is below 2^-120 throughout counts as zero. Where something is not finite the scale is NaN.
    """
    top = np.abs(x).max(axis=axis, keepdims=True, initial=0)
    finite, nothing = np.isfinite(top), np.where(np.isfinite(top), 0, np.nan).astype(np.float32)
    seen = finite & (top >= 2.0**-120)
    factor = np.divide(most, top, out=np.zeros(top.shape), where=seen).astype(np.float32)
    integers = np.rint(np.where(finite, x, 0) * factor).astype(np.int8)
    return integers, np.where(seen, top / np.float32(most), nothing)


def int8_product(a, b):
    """``a [m, k] @ b [k, n]`` of float32, `quantised`: columns of b to 8 bits, rows of a to 7."""
    (rows, row_scales), (columns, column_scales) = quantised(a, 1, 63), quantised(b, 0, 127)
    sums = rows.astype(np.int32) @ columns.astype(np.int32)
    return sums.astype(np.float32) * (row_scales * column_scales)


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
