"""Sums of rows by id: the gradient of an embedding."""

import numpy as np

from .arrays import array_module
from .jit import jit


@jit
def _add_rows(g, ids, out):
    for i in range(ids.size):
        row, target = g[i], out[ids[i]]
        for j in range(row.size):
            target[j] += row[j]


def add_rows(g, ids, rows):
    """``out[ids[i]] += g[i]`` for ``g [n, w]``: ``[rows, w]``, added in the order of ``i``, so the same on every run."""
    xp = array_module(g)
    out = xp.zeros((rows, g.shape[1]), g.dtype)
    if xp is not np:
        xp.add.at(out, xp.asarray(ids), g)  # CuPy adds atomically: the order, and with it the last bit, varies
    elif ids.size:
        work = out if g.dtype != np.float16 else out.astype(np.float32)
        _add_rows(np.ascontiguousarray(g, work.dtype), np.ascontiguousarray(ids, np.int64), work)
        out = work.astype(g.dtype, copy=False)
    return out
