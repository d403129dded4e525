"""Layers without time: linear, embedding, dropout, layer normalisation."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..autograd import Tensor, tensor
from ..autograd.functional import embedding, ones
from ..autograd.types import ArrayLike, DType
from ..base.errors import InputError
from ..kernels.generator import Generator
from . import init as inits
from .checks import checked_flag, checked_generator, checked_number, checked_rate, checked_sizes
from .functional import dropout, layer_norm, linear
from .module import Module


class Linear(Module):
    """``y = x @ weight + bias``, weight ``[in_features, out_features]`` (Glorot uniform), bias zeros.

    ``weight`` may be given, to share it with another layer.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        weight: Tensor | None = None,
        dtype: DType = "float32",
        generator: Generator | None = None,
    ) -> None:
        checked_sizes("Linear", in_features=in_features, out_features=out_features)
        biased = checked_flag("Linear: bias", bias)
        if weight is None:
            values = inits.fill("glorot_uniform", checked_generator(generator), in_features, out_features)
            weight = tensor(values, dtype, requires_grad=True)
        elif not isinstance(weight, Tensor) or weight.shape != (in_features, out_features):
            shape = list(getattr(weight, "shape", ())) or repr(weight)
            raise InputError(f"Linear: weight is {shape}: it must be a Tensor {[in_features, out_features]}")
        self.weight = weight
        self.bias = tensor(np.zeros(out_features), dtype, requires_grad=True) if biased else None

    def from_pytorch(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Its weight is ours transposed."""
        return {name: np.transpose(array) if name == "weight" else array for name, array in state.items()}

    def forward(self, x: ArrayLike) -> Tensor:
        """``[..., in_features] -> [..., out_features]``."""
        return linear(x, self.weight, self.bias)


class Embedding(Module):
    """Rows of ``weight [num_embeddings, embedding_dim]``, normal with standard deviation ``std``; None: 1 /
    sqrt(embedding_dim).
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        std: float | None = None,
        dtype: DType = "float32",
        generator: Generator | None = None,
    ) -> None:
        checked_sizes("Embedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        std = embedding_dim**-0.5 if std is None else checked_number("Embedding: std", std)
        init = functools.partial(inits.normal, std=std)
        values = inits.fill(init, checked_generator(generator), num_embeddings, embedding_dim)
        self.weight = tensor(values, dtype, requires_grad=True)

    def forward(self, ids: ArrayLike) -> Tensor:
        """Integer ids ``[...] -> [..., embedding_dim]``."""
        return embedding(ids, self.weight)


class Dropout(Module):
    """Dropout with probability ``p`` while training, the identity otherwise.

    ``variational``: what is dropped is the same along the first axis, time (Gal & Ghahramani 2016).
    """

    def __init__(
        self, p: float = 0.5, *, variational: bool = False, generator: Generator | None = None
    ) -> None:
        p = checked_rate("Dropout: p", p)
        self.variational = checked_flag("Dropout: variational", variational)
        self.p, self.generator = p, checked_generator(generator)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        if not (self.training and self.p):
            return x
        if self.variational:
            return x * dropout(
                ones(x.shape[1:], dtype=x.dtype, device=x.device), self.p, generator=self.generator
            )
        return dropout(x, self.p, generator=self.generator)


class LayerNorm(Module):
    """Each row to mean 0 and variance 1, then scaled and shifted (Ba, Kiros & Hinton 2016, eq. 4)."""

    def __init__(self, size: int, *, eps: float = 1e-5, dtype: DType = "float32") -> None:
        checked_sizes("LayerNorm", size=size)
        self.eps = checked_number("LayerNorm: eps", eps)
        self.weight = tensor(np.ones(size), dtype, requires_grad=True)
        self.bias = tensor(np.zeros(size), dtype, requires_grad=True)

    def forward(self, x: ArrayLike) -> Tensor:
        """``[..., size] -> [..., size]``."""
        return layer_norm(x, self.weight.shape[0], self.weight, self.bias, self.eps)
