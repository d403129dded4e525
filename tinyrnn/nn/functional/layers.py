"""Functions that layers are made of: linear, dropout, normalisation, attention, convolution over time."""

from __future__ import annotations

import math

import numpy as np

from ... import kernels
from ...autograd import Tensor, equal, matmul, matrix_transpose, max, mean, pad, reshape, sqrt, square, where
from ...autograd.arrays import tril
from ...autograd.pointwise import as_tensor, constant
from ...autograd.reductions import single
from ...autograd.shaping import shape_of
from ...autograd.softmaxes import softmax
from ...autograd.tape import Op, apply
from ...autograd.types import ArrayLike, Shape
from ...base.devices import is_cupy
from ...base.errors import InputError, ShapeError
from ...kernels.generator import Generator
from ..checks import checked_flag, checked_rate

__all__ = ["batch_norm", "conv1d", "dropout", "layer_norm", "linear", "scaled_dot_product_attention"]


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


def batch_norm(
    x: ArrayLike,
    /,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Mean 0 and variance 1 for each channel of ``x [N, C]`` or ``[N, C, L]`` (Ioffe & Szegedy 2015,
    algorithm 1).

    Args:
        running_mean, running_var: tensors ``[C]`` or None. While ``training`` they move towards the batch's
            values by ``momentum``, in place (the variance unbiased, as in PyTorch); otherwise they are used.
        weight, bias: ``[C]`` or None.
    """
    x = as_tensor(x)
    axes = (0, *range(2, x.ndim))
    channels = (1, -1) + (1,) * (x.ndim - 2)
    if (running_mean is None) != (running_var is None):
        raise InputError("batch_norm: give both running_mean and running_var, or None for both")
    if checked_flag("batch_norm: training", training) or running_mean is None or running_var is None:
        mu = mean(x, axis=axes, keepdims=True)
        d = x - mu
        v = mean(square(d), axis=axes, keepdims=True)
        n = x.size // x.shape[1]
        if training and running_mean is not None and running_var is not None:
            if n < 2:
                mend = "a batch of at least 2 is needed in training"
                raise ShapeError(f"batch_norm: {list(x.shape)} has one value a channel: {mend}")
            for running, now in ((running_mean, mu), (running_var, v * (n / (n - 1)))):
                running.assign_((1 - momentum) * running.data + momentum * now.data.reshape(-1))
    else:
        d, v = x - reshape(running_mean, channels), reshape(running_var, channels)
    weight, bias = (p if p is None else reshape(p, channels) for p in (weight, bias))
    return _affine(d / sqrt(v + eps), weight, bias)


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
    if is_cupy(blind.data) or blind.data.any():  # a GPU is not waited for
        weights = where(blind, 0, softmax(where(blind, 0, scores)))
    else:
        weights = softmax(scores)
    if dropout_p:
        weights = dropout(weights, dropout_p, generator=generator)
    return matmul(weights, value)


def conv1d(
    x: ArrayLike,
    weight: ArrayLike,
    /,
    bias: ArrayLike | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation over time, as PyTorch's: ``x [N, C_in, L]``, ``weight [C_out, C_in / groups, K]``.

    ``[N, C_out, (L + 2 padding - dilation (K - 1) - 1) // stride + 1]``. One product for each of the K taps;
    for a causal convolution pad on the left with ``pad(x, [(0, 0), (0, 0), (dilation * (K - 1), 0)])``.
    """
    x, weight = as_tensor(x), as_tensor(weight)
    if x.ndim != 3 or weight.ndim != 3:
        wanted = f"weight {list(weight.shape)} [C_out, C_in / groups, K]"
        raise ShapeError(f"conv1d: x {list(x.shape)} must be [N, C_in, L], {wanted}")
    limits = ((stride, 1), (padding, 0), (dilation, 1), (groups, 1))
    if not all(isinstance(v, int) and v >= low for v, low in limits):
        raise InputError(
            "conv1d: stride, dilation and groups must be ints of at least 1, padding of at least 0"
        )
    n, c_in, _ = x.shape
    c_out, per_group, taps = weight.shape
    if per_group * groups != c_in or c_out % groups:
        needed = f"{groups} groups needs {per_group * groups} input channels, got {c_in}"
        raise ShapeError(f"conv1d: weight {list(weight.shape)} in {needed}")
    if padding:
        x = pad(x, [(0, 0), (0, 0), (padding, padding)])
    steps = (x.shape[2] - dilation * (taps - 1) - 1) // stride + 1
    if steps < 1:
        span = f"{taps} taps with dilation {dilation}"
        raise ShapeError(f"conv1d: {span} are longer than the input of {x.shape[2]} steps")
    x = reshape(x, (n, groups, per_group, x.shape[2]))
    weight = reshape(weight, (groups, c_out // groups, per_group, taps))
    y: Tensor | None = None
    for k in range(taps):
        start = k * dilation
        tap = matmul(weight[:, :, :, k], x[:, :, :, start : start + (steps - 1) * stride + 1 : stride])
        y = tap if y is None else y + tap
    joined = reshape(y, (n, c_out, steps))  # type: ignore[arg-type]
    return joined if bias is None else joined + reshape(bias, (-1, 1))
