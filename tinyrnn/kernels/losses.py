"""Softmax cross-entropy of a linear layer, by blocks of rows: the logits of all rows are nowhere at once.

With its gradients in the same pass a block's logits are made once and become their own gradient in place, as
in Wijmans et al. 2024, "Cut your losses in large-vocabulary language models".
"""

from typing import Any, NamedTuple

import numpy as np

from ..base.devices import array_module, beside
from . import references, rows, scatter

ELEMENTS = 1 << 22  # of the logits of a block: more is hardly faster
LEAST = 64  # rows of a block: with fewer, packing the weight costs as much as multiplying by it


class Targets(NamedTuple):
    """What is true of n rows: of -log p each row counts ``own`` of its class and ``live`` times ``spread`` of
    every class.
    """

    ids: Any  # [n], int64
    own: Any  # [n]
    live: Any  # [n]: 0 or 1, or what it was multiplied by
    spread: Any = None  # [w]; None: 0

    def beside(self, x):
        """On the device of ``x``."""
        return Targets(*(each if each is None else beside(each, x) for each in self))


def linear_cross_entropy(x, weight, bias, targets, add_product, slopes):
    """Losses ``[n]`` of the logits ``x [n, k] @ weight [k, w] + bias [w]`` and `Targets`.

    Args:
        add_product: ``(a, b, out, accumulate)``: ``out (+)= a @ b``.
        slopes: whether the gradients of the sum of the losses by x, weight and bias are wanted too.

    Returns:
        ``(losses, gradients)``, these None where they are not wanted.
    """
    xp, (n, w) = array_module(x), (len(x), weight.shape[1])
    plain, size = rows if xp is np else references, max(LEAST, ELEMENTS // w)
    losses, block = xp.empty(n, x.dtype), xp.empty((min(size, n), w), x.dtype)
    if slopes:
        turned = not weight.flags.c_contiguous  # its gradient lies as it does
        dx, db = xp.empty(x.shape, x.dtype), xp.zeros(w, x.dtype)
        dw = xp.zeros(weight.shape[::-1] if turned else weight.shape, x.dtype)
    for first in range(0, n, size):
        part = slice(first, first + size)
        given, at = x[part], Targets(*(each[part] for each in targets[:3]), targets.spread)
        logits = block[: len(given)]
        add_product(given, weight, logits, False)
        losses[part] = plain.biased_cross_entropy(logits, bias, *at, slopes)
        if slopes:
            add_product(logits, weight.T, dx[part], False)
            add_product(*((logits.T, given) if turned else (given.T, logits)), dw, True)
            db += scatter.sum_rows(logits)
    return losses, (dx, dw.T if turned else dw, db) if slopes else None
