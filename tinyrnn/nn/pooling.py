"""From the steps of a sequence to one row: pooling over time."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import autograd
from ..autograd import Tensor, exp, maximum, softmax, where
from ..autograd.pointwise import constant
from ..compiler.graph import Graph, Item
from .layers import Linear
from .rnn import RNN, joined

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


def pooled_into(
    graph: Graph,
    pooling: str,
    rnn: RNN,
    ys: Item,
    final: Sequence[Sequence[Item]],
    score: Linear | None = None,
) -> Item:
    """`pooled` of sequences that all have the same length, into a `Graph`."""
    if pooling == "last":
        return graph.call(joined, *[states[0] for states in final[-rnn.directions :]])

    def start(value: float, width: int = rnn.output_size) -> Item:
        return graph.constant(np.full((1, width), value, graph.dtype), f"{pooling}_start")

    if pooling == "max":
        greatest = graph.scan(
            lambda xs, old: ((), (maximum(old[0], xs[0]),)), [ys], [start(-np.inf)], name="max"
        )
        return greatest[1][0]
    if pooling == "attention" and score is not None:
        return weighted_into(graph, lambda xs: score(xs[0]), [ys], ys)[0]
    total = graph.scan(
        lambda xs, old: ((), (old[0] + xs[0], old[1] + 1.0)), [ys], [start(0.0), start(0.0, 1)], name="mean"
    )
    return graph.call(autograd.divide, *total[1])


def weighted_into(
    graph: Graph, score: Callable[[Sequence[Tensor]], Tensor], xs: Sequence[Item], values: Item
) -> tuple[Item, Item]:
    """The mean of ``values`` over time, weighted by the softmax of ``score(xs) [B, 1]``, and the weights,
    into a `Graph`.

    One pass over time, with the greatest score so far, and sums relative to it (Milakov & Gimelshein 2018,
    algorithm 3).
    """

    def step(given: Sequence[Tensor], old: Sequence[Tensor]) -> Any:
        *read, value = given
        best, total, mean = old
        found = score(read)
        now = maximum(best, found)
        keep, own = exp(best - now), exp(found - now)
        return (found,), (now, total * keep + own, mean * keep + own * value)

    first = [(-1e30, 1), (0.0, 1), (0.0, values.width)]
    init = [graph.constant(np.full((1, n), x, graph.dtype), "attention_start") for x, n in first]
    (scores,), (best, total, mean) = graph.scan(step, [*xs, values], init, name="attention")
    weights = graph.call(lambda s, m, z: exp(s - m) / z, scores, best, total)
    return graph.call(autograd.divide, mean, total), weights
