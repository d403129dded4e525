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
    order = np.argsort(-p, kind="mergesort")
    kept = n if top_k == 0 else min(n, top_k)
    p = p[order][:kept]
    if top_p < 1:
        goal, total = top_p * np.sum(p), 0.0
        for i in range(p.size):
            total += p[i]
            if total >= goal:
                p = p[: i + 1]
                break
    return order[_picked(p, u)]


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
