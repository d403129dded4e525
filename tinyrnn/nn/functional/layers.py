"""Functions that layers are made of: linear, dropout, normalisation, attention."""

from __future__ import annotations

import math

import numpy as np

from ... import kernels
from ...autograd import Tensor, equal, matmul, matrix_transpose, max, mean, sqrt, square, where
from ...autograd.arrays import tril
from ...autograd.pointwise import as_tensor, constant
from ...autograd.reductions import single
from ...autograd.shaping import shape_of
from ...autograd.softmaxes import softmax
from ...autograd.tape import Op, apply, is_tracing
from ...autograd.types import ArrayLike, Shape
from ...base.devices import is_cupy
from ...base.errors import InputError, ShapeError
from ...kernels.generator import Generator
from ..checks import checked_flag, checked_rate

__all__ = ["dropout", "layer_norm", "linear", "scaled_dot_product_attention"]


def linear(x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, /) -> Tensor:
    """``x @ weight + bias`` with ``weight [n_in, n_out]``."""
    y = matmul(x, weight)
    return y if bias is None else y + bias


_dropout: Op = Op(
    "dropout",
    lambda x, *, p, key: kernels.random.dropout(x, p, key),
    {"x": lambda g, p, key: apply(_dropout, g, p=p, key=key)},
)


def dropout(x: ArrayLike, p: float = 0.5, *, generator: Generator | None) -> Tensor:
    """Zero each element with probability ``p`` and scale the rest by ``1 / (1 - p)`` (Srivastava et al.
    2014).

    The mask is a function of the generator's key and the element's position, so it is never stored:
    the gradient makes it again.
    """
    p, x = checked_rate("dropout: p", p), as_tensor(x)
    if not p:
        return x
    if not isinstance(generator, Generator):
        raise InputError("dropout: give generator=tr.Generator(seed), where its random numbers come from")
    return apply(_dropout, x, p=p, key=generator.key())


def _affine(x: Tensor, weight: ArrayLike | None, bias: ArrayLike | None) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def layer_norm(
    x: ArrayLike,
    /,
    normalized_shape: Shape,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Mean 0 and variance 1 over the last axes, then scaled and shifted (Ba, Kiros & Hinton 2016, eq. 4).

    Args:
        normalized_shape: sizes of the axes to normalise over (an int: the last one).
        weight, bias: of that shape, or None.
    """
    x = as_tensor(x)
    if isinstance(normalized_shape, Tensor | np.ndarray):
        given = f"an array {list(normalized_shape.shape)}"
        raise InputError(
            f"layer_norm: normalized_shape is {given}: give sizes, as layer_norm(x, {x.shape[-1:]}, weight)"
        )
    sizes = shape_of(normalized_shape)
    if x.shape[x.ndim - len(sizes) :] != sizes:
        raise ShapeError(
            f"layer_norm: normalized_shape {list(sizes)} must be the last sizes of {list(x.shape)}"
        )
    axes = tuple(range(-len(sizes), 0))
    dtype, x = x.dtype, single(x)
    d = x - mean(x, axis=axes, keepdims=True)
    y = d / sqrt(mean(square(d), axis=axes, keepdims=True) + eps)
    return _affine(y.astype(dtype) if dtype == np.float16 else y, weight, bias)


def scaled_dot_product_attention(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    /,
    attn_mask: ArrayLike | None = None,
    *,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """``softmax(query @ key^T * scale + mask) @ value`` (Vaswani et al. 2017, eq. 1).

    Args:
        query: ``[..., L, E]``; key ``[..., S, E]``; value ``[..., S, V]``. The result is ``[..., L, V]``.
        attn_mask: broadcasts to ``[..., L, S]``: bools (True: may be attended to), or numbers that are added
            to the scores.
        is_causal: position i attends to positions up to i.
        scale: default ``1 / sqrt(E)``.
        dropout_p: dropout on the attention weights, from ``generator``.
    """
    query, key, value = as_tensor(query), as_tensor(key), as_tensor(value)
    scores = matmul(query, matrix_transpose(key)) * (
        1 / math.sqrt(query.shape[-1]) if scale is None else scale
    )
    if checked_flag("is_causal", is_causal):
        scores = where(constant(tril(np.ones(scores.shape[-2:], bool)), scores), scores, -np.inf)
    if attn_mask is not None:
        mask = constant(attn_mask, scores)
        scores = where(mask, scores, -np.inf) if mask.dtype.kind == "b" else scores + mask
    blind = equal(
        max(scores, axis=-1, keepdims=True), -np.inf
    )  # a query that may attend to nothing gets zeros
    if is_tracing() or is_cupy(blind.data) or blind.data.any():  # a GPU is not waited for
        weights = where(blind, 0, softmax(where(blind, 0, scores)))
    else:
        weights = softmax(scores)
    if dropout_p:
        weights = dropout(weights, dropout_p, generator=generator)
    return matmul(weights, value)
