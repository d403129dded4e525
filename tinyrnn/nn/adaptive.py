"""A softmax over many classes that spends little on rare ones."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

from .. import kernels
from ..autograd import Tensor, argmax, concat, log_softmax, mean, reshape
from ..autograd.arrays import take
from ..autograd.functional import embedding
from ..autograd.pointwise import as_tensor, constant
from ..autograd.types import ArrayLike, DType
from ..base.devices import to_device
from ..base.errors import InputError
from ..kernels.generator import Generator
from .checks import checked_generator, checked_number, checked_sizes
from .functional.linear_losses import losses_of_rows
from .functional.losses import checked_targets
from .layers import Linear
from .module import Module

NEVER = np.iinfo(np.int64).min  # an id that no target has: none is ignored
HEAD = 0.85  # part of the targets that a chosen head reaches
CLUSTERS, FEATURES = 3, 8  # clusters that are chosen at most, and features of those beyond the first at least
SCALE = 50  # cutoffs between 1 and the number of classes that are tried


class AdaptiveLoss(NamedTuple):
    """What `AdaptiveLogSoftmaxWithLoss` returns."""

    output: Tensor  # log-probabilities of the targets
    loss: Tensor  # minus their mean


class AdaptiveLogSoftmaxWithLoss(Module):
    """Adaptive softmax (Grave et al. 2017, "Efficient softmax approximation for GPUs"): a head of the
    frequent classes and of one class for each cluster of rare ones, whose classes see a projection to fewer
    features. Classes are numbered by falling frequency.

    Args:
        cutoffs: rising; classes below the first are the head's, those from each on a cluster.
        div_value: cluster ``i``, from 1, has ``in_features // div_value**i`` features.
        head_bias: whether the head has a bias; clusters have none.

    Raises:
        InputError: cutoffs that do not rise from 1 to below ``n_classes``, or a cluster without features.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Any,
        div_value: float = 4.0,
        head_bias: bool = False,
        *,
        dtype: DType = "float32",
        generator: Generator | None = None,
    ) -> None:
        name = type(self).__name__
        checked_sizes(name, in_features=in_features, n_classes=n_classes)
        checked_number(f"{name}: div_value", div_value, positive=True)
        known = isinstance(cutoffs, list | tuple) and cutoffs and all(type(c) is int for c in cutoffs)
        if not known or any(a >= b for a, b in itertools.pairwise([0, *cutoffs, n_classes])):
            span = f"they must be integers that rise from 1 on and stay below {n_classes}"
            raise InputError(f"{name}: cutoffs are {cutoffs!r}: {span}")
        sizes = [int(in_features // div_value**i) for i in range(1, len(cutoffs) + 1)]
        if not min(sizes):
            raise InputError(f"{name}: {in_features} features leave none for a cluster: give fewer cutoffs")
        self.cutoffs = [*cutoffs, n_classes]
        shared: Any = dict(dtype=dtype, generator=checked_generator(generator))
        self.head = Linear(in_features, cutoffs[0] + len(cutoffs), bias=head_bias, **shared)
        self.tail = []
        for size, (low, high) in zip(sizes, itertools.pairwise(self.cutoffs), strict=True):
            projection = Linear(in_features, size, bias=False, **shared)
            self.tail.append([projection, Linear(size, high - low, bias=False, **shared)])

    def forward(self, input: ArrayLike, target: ArrayLike) -> AdaptiveLoss:
        """``[..., in_features]`` and class ids ``[...]`` to log-probabilities ``[...]`` and the loss (nats).

        Logits are made by blocks, as by `linear_cross_entropy`, and rare ones where they are asked for.
        """
        x = as_tensor(input)
        if x.shape[-1:] != self.head.weight.shape[:1] or x.dtype != self.head.weight.dtype:
            needed = f"{self.head.weight.dtype} [..., {self.head.weight.shape[0]}]"
            raise InputError(
                f"{type(self).__name__}: input is {x.dtype} {list(x.shape)}: it must be {needed}"
            )
        shape = (*x.shape[:-1], self.cutoffs[-1])
        ids = to_device(checked_targets(type(self).__name__, x, shape, target, None, NEVER)[0], "cpu")
        rows, ids = reshape(x, (-1, x.shape[-1])), ids.reshape(-1)
        cluster = np.searchsorted(self.cutoffs[:-1], ids, side="right")  # 0: the head's own
        head = _losses(rows, self.head, np.where(cluster == 0, ids, self.cutoffs[0] + cluster - 1))
        rare, place, total = [constant(np.zeros(1, x.dtype), x)], np.zeros(len(ids), np.int64), 1
        for i, (projection, output) in enumerate(self.tail, 1):
            at = np.flatnonzero(cluster == i)
            rare.append(_losses(projection(embedding(at, rows)), output, ids[at] - self.cutoffs[i - 1]))
            place[at] = total + np.arange(len(at))
            total += len(at)
        found = -reshape(head + take(concat(rare), place), shape[:-1])
        return AdaptiveLoss(found, -mean(found))

    def log_prob(self, input: ArrayLike) -> Tensor:
        """Log-probabilities of all classes: ``[..., in_features] -> [..., n_classes]``."""
        head, first = log_softmax(self.head(input)), self.cutoffs[0]
        parts = [head[..., :first]]
        for i, (projection, output) in enumerate(self.tail, first):
            parts.append(log_softmax(output(projection(input))) + head[..., i : i + 1])
        return concat(parts, axis=-1)

    def predict(self, input: ArrayLike) -> Tensor:
        """The most probable class: ``[..., in_features] -> [...]``."""
        return argmax(self.log_prob(input), axis=-1)


def _losses(x: Tensor, layer: Linear, ids: Any) -> Tensor:
    """Of rows, each in the same measure: ``[n]``."""
    one = np.ones(len(ids), x.dtype)
    return losses_of_rows(x, layer.weight, layer.bias, kernels.losses.Targets(ids, one, one), once=True)


def chosen_cutoffs(counts: Any, in_features: int, div_value: int = 4) -> list[int]:
    """Cutoffs for `AdaptiveLogSoftmaxWithLoss`: the head's classes reach `HEAD` of the targets, and of such
    cutoffs, on a logarithmic scale, these need the fewest multiplications for a target (Grave et al. 2017,
    section 4.2, where the head is large because on a GPU it costs nothing up to a size). Empty where there
    are too few classes or features.

    ``counts``: how often each class is a target, in the order of the classes.
    """
    n = len(counts)
    reached = np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)]) / max(np.sum(counts), 1)
    sizes = [in_features // div_value**i for i in range(1, CLUSTERS + 1)]

    def cost(cutoffs: tuple[int, ...]) -> float:
        total = float(in_features * (cutoffs[0] + len(cutoffs)))
        for size, (low, high) in zip(sizes, itertools.pairwise([*cutoffs, n]), strict=False):
            total += (reached[high] - reached[low]) * size * (in_features + high - low)
        return total

    grid = sorted({round(c) for c in np.geomspace(1, n, SCALE)} - {n})
    grid = [c for c in grid if reached[c] >= HEAD]
    clusters = max(sizes[0] > 0, sum(size >= FEATURES for size in sizes))
    several: list[tuple[int, ...]] = []
    for k in range(1, clusters + 1):
        several += itertools.combinations(grid, k)
    best = min(several, key=cost) if several else ()
    return list(best)
