"""Losses of a linear layer with many classes, whose logits are not all in memory at once."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ... import kernels
from ...autograd import Tensor, reshape, sum
from ...autograd.arrays import take_along_axis
from ...autograd.functional.transforms import grad
from ...autograd.linalg import ambient_precision, autocast, refuse_gradient
from ...autograd.pointwise import as_tensor, constant
from ...autograd.softmaxes import log_softmax
from ...autograd.tape import Op, apply, is_recorded, is_recording, is_tracing
from ...autograd.types import ArrayLike
from ...base.devices import array_module, device_of
from ...kernels.quicker import rounded_product
from .layers import linear
from .losses import checked_smoothing, checked_targets, cross_entropy, reduced

__all__ = ["linear_cross_entropy"]

WIDE = 1024  # classes, from which on it is done by blocks


def _add_product(precision: str | None, a: Any, b: Any, out: Any, accumulate: bool) -> None:
    """``out (+)= a @ b``, with operands of a precision (see `autocast`)."""
    if type(a) is np.ndarray and precision != "tf32":
        kernels.gemm.matmul(a, b, out, accumulate, precision)
    else:
        product = rounded_product(a, b, precision) if precision else a @ b
        out[...] = out + product if accumulate else product


def _forward(
    x: Any, weight: Any, bias: Any, *, targets: Any, precision: str | None, gradients: list[Any] | None
) -> Any:
    add_product, wanted = functools.partial(_add_product, precision), gradients is not None
    given = x, weight, bias, targets.beside(x), add_product
    losses, found = kernels.losses.linear_cross_entropy(*given, slopes=wanted)
    if gradients is not None:
        gradients[:] = found
    return losses


def _plain(targets: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The same in tensor ops, with all logits: derivatives of second order go through it."""
    scores, (ids, own, live, spread) = log_softmax(linear(x, weight, bias)), targets
    losses = -own * take_along_axis(scores, ids[:, None])[:, 0]
    return losses if spread is None else losses - live * sum(spread * scores, axis=-1)


def _vjp(
    g: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Any,
    precision: str | None,
    gradients: list[Any] | None,
) -> Any:
    rows, targets = g.data, targets.beside(g.data)
    if is_recording():
        with autocast(precision):
            return grad(lambda *given: sum(g * _plain(targets, *given)), (0, 1, 2))(x, weight, bias)
    if gradients is None or not len(rows) or (rows != rows[0]).any() or not abs(rows[0]) < np.inf:
        found: list[Any] = []
        where = array_module(rows).where  # what counts nothing has no gradient, whatever arrives
        own, live = (where(each == 0, 0, each * rows) for each in (targets.own, targets.live))
        targets = targets._replace(own=own, live=live)
        _forward(x.data, weight.data, bias.data, targets=targets, precision=precision, gradients=found)
    else:
        found = gradients if rows[0] == 1 else [each * rows[0] for each in gradients]
    return [Tensor(each) for each in found]


# ``targets``: `kernels.losses.Targets`. ``gradients``: None, or a list that takes the gradients of the sum of
# the losses, made in the same pass.
_linear_cross_entropy = Op("linear_cross_entropy", _forward, _vjp, inputs=("x", "weight", "bias"))


def linear_cross_entropy(
    input: ArrayLike,
    linear_weight: ArrayLike,
    target: ArrayLike,
    /,
    *,
    linear_bias: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """``cross_entropy(linear(input, linear_weight, linear_bias), target, ...)``; where there are many classes
    without all logits in memory at once.

    From 1,024 classes on (float32 and float64, class ids, no gradient of ``weight``) logits are made for a
    block of rows at a time, and where something is to be learned they become their own gradient at once
    (Wijmans et al. 2024, "Cut your losses in large-vocabulary language models"). The walk back only scales
    it; blocks are made again where ``"none"`` was asked for. Derivatives of second order go through all
    logits.

    Args:
        input: ``[..., in_features]``.
        linear_weight: ``[in_features, classes]``, ``linear_bias`` ``[classes]``.
        target, weight, ignore_index, label_smoothing, reduction: as for `cross_entropy`.
    """
    x, matrix, goal = as_tensor(input), as_tensor(linear_weight), as_tensor(target)
    bias = None if linear_bias is None else as_tensor(linear_bias)
    counted = None if weight is None else as_tensor(weight)
    if not _by_blocks(x, matrix, bias, counted) or goal.dtype.kind not in "iu" or is_recorded(counted):
        rule: dict[str, Any] = dict(ignore_index=ignore_index, label_smoothing=label_smoothing)
        return cross_entropy(linear(x, matrix, bias), goal, counted, **rule, reduction=reduction)
    checked_smoothing("linear_cross_entropy", label_smoothing)
    shape, spread = (*x.shape[:-1], matrix.shape[1]), None
    facts = shape, goal, counted, ignore_index
    ids, ignored, counts = checked_targets("linear_cross_entropy", x, *facts)
    live = np.ones(ids.size, x.dtype) if ignored is None else (~ignored).astype(x.dtype).reshape(-1)
    own = live if counts is None else counts.data.reshape(-1)
    if label_smoothing:
        each = np.ones(shape[-1], x.dtype) if counted is None else counted.data
        own, spread = own * (1 - label_smoothing), each * (label_smoothing / shape[-1])
    targets = kernels.losses.Targets(ids.reshape(-1), own, live, spread)
    rows = reshape(x, (-1, x.shape[-1]))
    losses = losses_of_rows(rows, matrix, bias, targets, once=reduction != "none")
    with np.errstate(invalid="ignore"):  # a mean over nothing is NaN, as in PyTorch
        return reduced(reshape(losses, ids.shape), reduction, counts)


def _by_blocks(x: Tensor, matrix: Tensor, *others: Tensor | None) -> bool:
    """Whether the logits are many, of one dtype that the kernels take, and no error is to be raised."""
    if matrix.ndim != 2 or matrix.shape[1] < WIDE or x.shape[-1:] != matrix.shape[:1] or is_tracing():
        return False
    rows = [t for t in others if t is not None]
    alike = len({(t.dtype.char, device_of(t.data)) for t in (x, matrix, *rows)}) == 1
    return alike and x.dtype.char in "fd" and all(t.shape == matrix.shape[1:] for t in rows)


def losses_of_rows(x: Tensor, matrix: Tensor, bias: Tensor | None, targets: Any, *, once: bool) -> Tensor:
    """Losses ``[n]`` of ``x [n, k]`` and `kernels.losses.Targets`, by blocks.

    ``once``: all rows will get the same gradient, so that it is made in the same pass.
    """
    bias = constant(np.zeros(matrix.shape[1], x.dtype), x) if bias is None else bias
    learned = any(is_recorded(t) for t in (x, matrix, bias))
    targets = targets._replace(ids=targets.ids.astype(np.int64, copy=False))
    how: dict[str, Any] = dict(targets=targets, gradients=[] if once and learned else None)
    how["precision"] = ambient_precision() if x.dtype == np.float32 else None
    refuse_gradient(how["precision"])
    return apply(_linear_cross_entropy, x, matrix, bias, **how)
