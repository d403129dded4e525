"""A program evaluated with tensor ops: what loops must agree with, how hoisted values are computed, and the
second order.
"""

import numpy as np

from ..autograd import Tensor, broadcast_to, concat, matmul, matrix_transpose, max, min, reshape, sum
from ..autograd.shaping import getitem
from ..autograd.tape import TABLE, apply
from .ir import Kind, order

_REDUCTIONS = {Kind.ROWSUM: sum, Kind.ROWMAX: max, Kind.ROWMIN: min}


def evaluate(value, env, dtype):
    """``value`` from tensors (and numbers) of its inputs in ``env``, which is filled with all that it is made
    of.
    """
    for v in order([value], env.__contains__):
        if v not in env:
            env[v] = _one(v, [env[x] for x in v.inputs], dtype)
    return env[value]


def _one(v, xs, dtype):
    kind = v.kind
    if kind is Kind.NUMBER:
        return v.attr
    if kind is Kind.POINTWISE:
        return apply(TABLE[v.attr], *xs)
    if kind is Kind.MATMUL:
        return matmul(xs[0], matrix_transpose(xs[1]) if v.attr else xs[1])
    if kind is Kind.SLICE:
        return getitem(xs[0], (Ellipsis, slice(*v.attr)))
    if kind is Kind.CONCAT:
        xs = [_tensor(x, dtype) for x in xs]
        high = next((x.shape[:-1] for x in xs if x.ndim == 2), ())
        high = next((x.shape[:-1] for x, p in zip(xs, v.inputs, strict=True) if p.rows and x.ndim == 2), high)
        return concat([broadcast_to(x, (*high, p.width)) for x, p in zip(xs, v.inputs, strict=True)], axis=-1)
    if kind is Kind.COPY:
        x = _tensor(xs[0], dtype)
        return x if v.width == v.inputs[0].width else broadcast_to(x, (*x.shape[:-1], v.width))
    if kind is Kind.TURNED:
        return matrix_transpose(xs[0])
    if kind is Kind.DETACH:
        return xs[0].detach()
    if kind is Kind.CAST:
        return xs[0].astype(dtype)
    return _REDUCTIONS[kind](xs[0], axis=-1, keepdims=True)


def as_read(v, t):
    """A closed-over tensor in the shape that its Value has in a program: a column of the batch ``[B]`` as
    ``[B, 1]``.
    """
    return reshape(t, (-1, 1)) if v.rows and t.ndim == 1 else t


def rows_of(value, env, shape, dtype):
    """`evaluate` for every sequence of the batch: in ``shape``."""
    found = _tensor(evaluate(value, env, dtype), dtype)
    return found if found.shape == shape else broadcast_to(found, shape)


def _tensor(x, dtype):
    return x if isinstance(x, Tensor) else Tensor(np.asarray(x, dtype))
