"""Sums of rows: by id, the gradient of an embedding, and of all rows. Threads share columns, so each sum
keeps its order.
"""

import numpy as np

from ..base import threads
from ..base.devices import array_module
from .jit import jit


@jit
def _add_rows(g, ids, out, first, last):
    for i in range(ids.size):
        row, target = g[i, first:last], out[ids[i], first:last]
        for j in range(row.size):
            target[j] += row[j]


@jit
def _sum_rows(g, out, first, last):
    target = out[first:last]
    for i in range(len(g)):
        row = g[i, first:last]
        for j in range(row.size):
            target[j] += row[j]


def add_rows(g, ids, rows):
    """``out[ids[i]] += g[i]`` for ``g [n, w]``: ``[rows, w]``, added in the order of ``i``, so the same on
    every run.
    """
    xp = array_module(g)
    out = xp.zeros((rows, g.shape[1]), g.dtype)
    if xp is not np:
        xp.add.at(
            out, xp.asarray(ids), g
        )  # CuPy adds atomically: the order, and with it the last bit, varies
    elif ids.size:
        work = out if g.dtype != np.float16 else out.astype(np.float32)
        g, ids = np.ascontiguousarray(g, work.dtype), np.ascontiguousarray(ids, np.int64)
        threads.split(g.shape[1], lambda first, last: _add_rows(g, ids, work, first, last), at_least=ids.size)
        out = work.astype(out.dtype, copy=False)
    return out


def sum_rows(g):
    """The sum of the rows of ``g [n, w]``, contiguous: ``[w]``."""
    out = np.zeros(g.shape[1], g.dtype)
    threads.split(g.shape[1], lambda first, last: _sum_rows(g, out, first, last), at_least=len(g))
    return out
