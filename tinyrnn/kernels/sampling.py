"""The choice of a token from its logits, compiled: ``tinyrnn/tasks/lm/sampling.py`` says what it does, and
holds its plain reference.
"""

import numpy as np

from .jit import jit


@jit
def choose(logits, banned, temperature, top_k, top_p, u):
    """One id; ``banned`` (-1: none) is never it, ``top_k`` 0 and ``top_p`` 1 leave all in."""
    n = logits.size
    best = -1
    for i in range(n):
        if i != banned and (best < 0 or logits[i] > logits[best]):
            best = i
    if temperature == 0:
        return best
    p = np.empty(n, np.float64)
    for i in range(n):
        p[i] = (
            0.0 if i == banned else np.exp((np.float64(logits[i]) - np.float64(logits[best])) / temperature)
        )
    if top_k == 0 and top_p == 1:
        return _picked(p, u)
    order = _largest_first(p)
    kept = n if top_k == 0 else min(n, top_k)
    ranked = np.empty(kept, np.float64)
    for i in range(kept):
        ranked[i] = p[order[i]]
    p = ranked
    if top_p < 1:
        goal, total = top_p * np.sum(p), 0.0
        for i in range(p.size):
            total += p[i]
            if total >= goal:
                p = p[: i + 1]
                break
    return order[_picked(p, u)]


@jit
def _largest_first(p):
    """Indices of ``p``, the largest first, equal ones as they stand. A merge sort of our own: NumPy's takes
    longer to compile than all that is here.
    """
    n, run = p.size, 1
    order, merged = np.empty(n, np.int64), np.empty(n, np.int64)
    for i in range(n):
        order[i] = i
    while run < n:
        for first in range(0, n, 2 * run):
            a, middle, end = first, min(first + run, n), min(first + 2 * run, n)
            b = middle
            for i in range(first, end):
                if b == end or (a < middle and p[order[a]] >= p[order[b]]):
                    merged[i] = order[a]
                    a += 1
                else:
                    merged[i] = order[b]
                    b += 1
        order, merged, run = merged, order, 2 * run
    return order


@jit
def _picked(p, u):
    """The first index at which the sum of ``p`` up to it exceeds ``u`` of the whole."""
    goal, total, last = u * np.sum(p), 0.0, 0
    for i in range(p.size):
        total += p[i]
        if p[i] > 0:
            last = i
        if total > goal:
            return i
    return last
