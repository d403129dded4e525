"""From the steps of a sequence to one row: pooling over time."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import autograd
from ..autograd import Tensor, softmax, where
from ..autograd.pointwise import constant
from .layers import Linear
from .rnn import RNN

POOLINGS = ("last", "mean", "max", "attention")


def pooled(
    pooling: str,
    rnn: RNN,
    ys: Tensor,
    final: Sequence[Sequence[Tensor]],
    mask: Any,
    score: Linear | None = None,
) -> Tensor:
    """What ``rnn`` returned, ``ys [T, B, size]`` and ``final`` states, as one row a sequence ``[B, size]``.

    Args:
        pooling: ``last``: the outputs at the ends of a sequence, of a bidirectional network at both; ``mean``
            and ``max`` over its steps; ``attention``: a mean weighted by a learned score of each step (Yang
            et al. 2016, eq. 5 to 7, without the hidden layer).
        mask: ``[T, B]``, what is not padding.
        score: for ``attention``: the `Linear` layer from ``size`` to the one score.
    """
    if pooling == "last":
        return autograd.concat([states[0] for states in final[-rnn.directions :]], axis=-1)
    mask = mask[:, :, None]
    live = constant(mask, ys)
    if pooling == "max":
        return autograd.max(where(live, ys, -np.inf), axis=0)
    if pooling == "attention" and score is not None:
        weights = softmax(where(live, score(ys), -np.inf), axis=0)
    else:
        weights = constant((mask / mask.sum(axis=0)).astype(ys.dtype), ys)
    return autograd.sum(weights * where(live, ys, 0.0), axis=0)
