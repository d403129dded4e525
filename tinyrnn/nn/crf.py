"""`CRF`: the output layer of networks that tag sequences."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Tensor, tensor
from ..autograd.types import ArrayLike, DType
from ..kernels.generator import Generator
from . import init as inits
from .checks import checked_generator, checked_sizes
from .functional.crf import crf_decode, crf_loss
from .module import Module


class CRF(Module):
    """A linear-chain conditional random field over ``num_tags`` tags: what follows on what, learned (Lample
    et al. 2016, section 2.2).

    Its parameters, ``transitions [K, K]`` from a row's tag to a column's, ``start_transitions``
    and ``end_transitions [K]``, are named and begin within (-0.1, 0.1) as in pytorch-crf.

    Example:
        >>> crf = tr.CRF(3)
        >>> emissions, tags = np.zeros((5, 2, 3), "float32"), np.zeros((5, 2), int)
        >>> crf(emissions, tags).backward()
        >>> crf.decode(emissions)
    """

    def __init__(
        self, num_tags: int, *, dtype: DType = "float32", generator: Generator | None = None
    ) -> None:
        checked_sizes("CRF", num_tags=num_tags)
        draw = checked_generator(generator)
        values = inits.fill(lambda g, *shape: g.uniform(-0.1, 0.1, shape), draw, num_tags + 2, num_tags)
        start, end, between = values[0], values[1], values[2:]
        self.start_transitions = tensor(start, dtype, requires_grad=True)
        self.end_transitions = tensor(end, dtype, requires_grad=True)
        self.transitions = tensor(between, dtype, requires_grad=True)

    def forward(
        self, emissions: ArrayLike, tags: ArrayLike, mask: ArrayLike | None = None, *, reduction: str = "mean"
    ) -> Tensor:
        """The loss of ``tags [T, N]`` for ``emissions [T, N, K]``: minus the log-likelihood, see
        `crf_loss`.
        """
        return crf_loss(emissions, tags, *self._scores, mask, reduction=reduction)

    def decode(self, emissions: ArrayLike, mask: ArrayLike | None = None) -> list[np.ndarray[Any, Any]]:
        """The best tags of each sequence, see `crf_decode`."""
        return crf_decode(emissions, *self._scores, mask)

    @property
    def _scores(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.transitions, self.start_transitions, self.end_transitions
