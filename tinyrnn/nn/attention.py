"""Attention: where to look in a sequence that has been read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..autograd import Tensor, expand_dims, matmul, permute_dims, softmax, sum, tanh, where
from ..autograd.pointwise import constant
from ..autograd.types import DType
from ..base.errors import InputError
from ..compiler.graph import Graph, Item
from ..kernels.generator import Generator
from .checks import checked_sizes
from .layers import Linear
from .module import Module
from .pooling import weighted_into


class Attention(Module):
    """For each query a mean of the keys, weighted by the softmax of how well they fit it.

    Args:
        query_size, key_size: widths of queries and keys.
        kind: ``luong``: the score is ``query . (key W)`` (Luong, Pham & Manning 2015, eq. 7 and 8,
            "general"), one product for all queries; ``bahdanau``: ``v . tanh(query W + key U + b)``
            (Bahdanau, Cho & Bengio 2015, eq. 6 and A.1.2).
        attention_size: width inside the tanh of ``bahdanau``; default: ``query_size``.
        dtype, generator: of the initial weights.

    Raises:
        InputError: another kind.
    """

    def __init__(
        self,
        query_size: int,
        key_size: int,
        *,
        kind: str = "luong",
        attention_size: int | None = None,
        dtype: DType = "float32",
        generator: Generator | None = None,
    ) -> None:
        if kind not in ("luong", "bahdanau"):
            raise InputError(f"unknown attention {kind!r}: use luong or bahdanau")
        self.kind = kind
        shared: dict[str, Any] = {"dtype": dtype, "generator": generator}
        size = query_size if kind == "luong" or attention_size is None else attention_size
        checked_sizes("Attention", query_size=query_size, key_size=key_size, attention_size=size)
        self.keys = Linear(key_size, size, bias=kind == "bahdanau", **shared)
        if kind == "bahdanau":
            self.queries = Linear(query_size, size, bias=False, **shared)
            self.score = Linear(size, 1, bias=False, **shared)

    def project(self, keys: Tensor) -> Tensor:
        """What the scores need of ``keys [S, B, key_size]``; it may be kept as long as the keys are the
        same.
        """
        return self.keys(keys)

    def forward(
        self, queries: Tensor, keys: Tensor, mask: Any = None, projected: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Contexts and weights of all queries.

        Args:
            queries: ``[T, B, query_size]``.
            keys: ``[S, B, key_size]``, and where they count: mask an array ``[S, B]``, no column of it all 0.
            projected: ``project(keys)``, if it is known already.

        Returns:
            ``(context [T, B, key_size], weights [T, B, S])``.
        """
        projected = self.project(keys) if projected is None else projected
        if self.kind == "luong":
            scores = matmul(permute_dims(queries, (1, 0, 2)), permute_dims(projected, (1, 2, 0)))
        else:
            together = tanh(expand_dims(self.queries(queries), axis=1) + projected)  # [T, S, B, size]
            scores = permute_dims(self.score(together)[..., 0], (2, 0, 1))
        if mask is not None:
            scores = where(constant(mask.T[:, None] != 0, scores), scores, -float("inf"))
        weights = softmax(scores)  # [B, T, S]
        context = matmul(weights, permute_dims(keys, (1, 0, 2)))
        return permute_dims(context, (1, 0, 2)), permute_dims(weights, (1, 0, 2))

    def into(self, graph: Graph, query: Item, keys: Item, projected: Item) -> tuple[Item, Item]:
        """``look`` into a `Graph`: the context, and the weights over time, of a query that is not over
        time.
        """

        def score(given: Sequence[Tensor]) -> Tensor:
            asked, key = given
            if self.kind == "luong":
                return sum(asked * key, axis=-1, keepdims=True)
            return self.score(tanh(self.queries(asked) + key))

        return weighted_into(graph, score, [query, projected], keys)

    def look(self, query: Tensor, keys: Tensor, mask: Tensor, projected: Tensor) -> tuple[Tensor, Tensor]:
        """``forward`` of one query, the batch first everywhere: as a step of `scan` may ask it.

        Args:
            query: ``[B, query_size]``.
            keys, mask, projected: as of ``forward``, ``[B, S, ...]``; mask a Tensor of bools.

        Returns:
            ``(context [B, key_size], weights [B, S])``.
        """
        if self.kind == "luong":
            scores = sum(expand_dims(query, axis=1) * projected, axis=2)
        else:
            scores = self.score(tanh(expand_dims(self.queries(query), axis=1) + projected))[:, :, 0]
        weights = softmax(where(mask, scores, -float("inf")))
        return sum(expand_dims(weights, axis=2) * keys, axis=1), weights
