"""Layers without time: linear, embedding, dropout, layer normalisation."""

import numpy as np

from ..autograd import tensor
from ..autograd.functional import embedding, ones
from ..kernels.generator import Generator
from . import init as inits
from .functional import dropout, layer_norm, linear
from .module import Module


class Linear(Module):
    """``y = x @ weight + bias``, weight ``[in_features, out_features]`` (Glorot uniform), bias zeros.

    ``weight`` may be given, to share it with another layer.
    """

    def __init__(self, in_features, out_features, *, bias=True, weight=None, dtype="float32", generator=None):
        if weight is None:
            values = inits.glorot_uniform(generator or Generator(), in_features, out_features)
            weight = tensor(values, dtype, requires_grad=True)
        self.weight = weight
        self.bias = tensor(np.zeros(out_features), dtype, requires_grad=True) if bias else None

    def forward(self, x):
        """``[..., in_features] -> [..., out_features]``."""
        return linear(x, self.weight, self.bias)


class Embedding(Module):
    """Rows of ``weight [num_embeddings, embedding_dim]``, normal with standard deviation 1 /
    sqrt(embedding_dim).
    """

    def __init__(self, num_embeddings, embedding_dim, *, dtype="float32", generator=None):
        values = inits.normal(
            generator or Generator(), num_embeddings, embedding_dim, std=embedding_dim**-0.5
        )
        self.weight = tensor(values, dtype, requires_grad=True)

    def forward(self, ids):
        """Integer ids ``[...] -> [..., embedding_dim]``."""
        return embedding(ids, self.weight)


class Dropout(Module):
    """Dropout with probability ``p`` while training, the identity otherwise.

    ``variational``: what is dropped is the same along the first axis, time (Gal & Ghahramani 2016).
    """

    def __init__(self, p=0.5, *, variational=False, generator=None):
        self.p, self.variational, self.generator = p, variational, generator or Generator()

    def forward(self, x):
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

    def __init__(self, size, *, eps=1e-5, dtype="float32"):
        self.eps = eps
        self.weight = tensor(np.ones(size), dtype, requires_grad=True)
        self.bias = tensor(np.zeros(size), dtype, requires_grad=True)

    def forward(self, x):
        """``[..., size] -> [..., size]``."""
        return layer_norm(x, self.weight.shape[0], self.weight, self.bias, self.eps)
