"""Sums of rows: by id, the gradient of an embedding, and of all rows. Threads share columns, so each sum
keeps its order.
"""

import functools

import numpy as np

from ..base import threads
from ..base.devices import array_module, beside, is_cupy
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


@functools.cache
def _cuda_add_rows(cupy):
    """Each element of the result adds up its own, in the order of the rows: no atomics."""
    return cupy.ElementwiseKernel(
        "raw T g, raw int64 order, raw int64 ends, int64 width",
        "T out",
        """
        long long row = i / width, column = i % width;
        T total = 0;
        for (long long k = row ? ends[row - 1] : 0; k < ends[row]; ++k) total += g[order[k] * width + column];
        out = T(total)
        """,
        "tinyrnn_add_rows",
    )


def _sorted(cupy, ids, rows):
    """``(order, ends)``: where the rows of each id are, id by id, and where in that each id ends."""
    order = ids.argsort()  # a stable sort: equal ids keep their order
    return order, cupy.searchsorted(ids[order], cupy.arange(rows), side="right")


def add_rows(g, ids, rows):
    """``out[ids[i]] += g[i]`` for ``g [n, w]``: ``[rows, w]``, added in the order of ``i``, so the same on
    every run.
    """
    xp = array_module(g)
    out = xp.zeros((rows, g.shape[1]), g.dtype)
    if is_cupy(g) and g.size:
        g = xp.ascontiguousarray(g, np.float32 if g.dtype == np.float16 else g.dtype)
        order, ends = _sorted(xp, beside(ids, g).astype(np.int64, copy=False), rows)
        total = xp.empty(out.shape, g.dtype)
        out = _cuda_add_rows(xp)(g, order, ends, g.shape[1], total).astype(out.dtype, copy=False)
    elif ids.size and not is_cupy(g):
        work = out if g.dtype != np.float16 else out.astype(np.float32)
        g, ids = np.ascontiguousarray(g, work.dtype), np.ascontiguousarray(ids, np.int64)
        threads.split(g.shape[1], lambda first, last: _add_rows(g, ids, work, first, last), at_least=ids.size)
        out = work.astype(out.dtype, copy=False)
    return out


def sum_rows(g):
    """The sum of the rows of ``g [n, w]``, contiguous: ``[w]``."""
    if is_cupy(g):
        return g.sum(0)  # a tree that does not change from run to run
    out = np.zeros(g.shape[1], g.dtype)
    threads.split(g.shape[1], lambda first, last: _sum_rows(g, out, first, last), at_least=len(g))
    return out
