"""Tensors: a program evaluated op by op. What loops must agree with, how hoisted values are computed, and
the second order.
"""

import math

import numpy as np

from ...autograd import Tensor, broadcast_to, concat, matmul, matrix_transpose, max, min, prod, reshape, sum
from ...autograd.shaping import getitem
from ...autograd.tape import TABLE, apply
from ...base.devices import beside
from ..ir import Kind, Source, grouped
from . import Target


class Tensors(Target):
    """Values as tensors (numbers as numbers) of one dtype."""

    name = "tensor"

    def __init__(self, dtype):
        self.like: Tensor | None = None
        self.dtype = dtype

    def walk(self, roots, made):
        self.like = next((x for x in made.values() if isinstance(x, Tensor)), None)
        return super().walk(roots, made)

    def tensor(self, x):
        """``x``, a number as a tensor where the others are."""
        if isinstance(x, Tensor):
            return x
        array = np.asarray(x, self.dtype)
        return Tensor(array if self.like is None else beside(array, self.like.data))

    def _concat(self, v, *xs):
        xs = [self.tensor(x) for x in xs]
        high = next((x.shape[:-1] for x in xs if x.ndim == 2), ())
        high = next((x.shape[:-1] for x, p in zip(xs, v.inputs, strict=True) if p.rows and x.ndim == 2), high)
        parts = [broadcast_to(x, (*high, p.width)) for x, p in zip(xs, v.inputs, strict=True)]
        if v.attr == 1:
            return concat(parts, axis=-1)
        in_blocks = [reshape(x, (*high, v.attr, -1)) for x in parts]
        return reshape(concat(in_blocks, axis=-1), (*high, v.width))

    def _copy(self, v, x):
        x = self.tensor(x)
        return x if v.width == v.inputs[0].width else broadcast_to(x, (*x.shape[:-1], v.width))

    def _view(self, v, x):
        x, view = self.tensor(x), v.attr
        if view.is_slice:
            return getitem(x, (..., slice(view.offset, view.offset + v.width)))
        return getitem(x, (..., beside(view.columns, x.data)))

    def _folded(self, v, x, function):
        x = self.tensor(x)
        high, (groups, _, apart) = x.shape[:-1], grouped(v)
        found = function(reshape(x, (*high, groups, -1, apart)), axis=-2)
        return reshape(found, (*high, v.width))

    kinds = {  # noqa: RUF012
        Kind.NUMBER: lambda self, v: v.attr,
        Kind.INDEX: lambda self, v: self.tensor(v.attr.columns[None]),
        Kind.POINTWISE: lambda self, v, *xs: apply(TABLE[v.attr], *xs),
        Kind.MATMUL: lambda self, v, x, matrix: matmul(x, matrix_transpose(matrix) if v.attr else matrix),
        Kind.ROWSUM: lambda self, v, x: self._folded(v, x, sum),
        Kind.ROWMAX: lambda self, v, x: self._folded(v, x, max),
        Kind.ROWMIN: lambda self, v, x: self._folded(v, x, min),
        Kind.ROWPROD: lambda self, v, x: self._folded(v, x, prod),
        Kind.VIEW: _view,
        Kind.CONCAT: _concat,
        Kind.COPY: _copy,
        Kind.TURNED: lambda self, v, x: matrix_transpose(x),
        Kind.DETACH: lambda self, v, x: x.detach(),
        Kind.LAID: lambda self, v, x: x,
        Kind.CAST: lambda self, v, x: x.astype(self.dtype),
    }


def evaluate(value, env, dtype):
    """``value`` from tensors (and numbers) of its inputs in ``env``, which is filled with all that it is made
    of.
    """
    return Tensors(dtype).walk([value], env)[0]


def environment(values, given):
    """What ``given``, `Input` -> tensor or number, has for those of ``values`` that are inputs, in the shape
    that they have in a program: a column of the batch ``[B]`` as ``[B, 1]``, features in one row.
    """
    env = {v: given[v.attr] for v in values if v.kind is Kind.INPUT and v.attr in given}
    flat = [v for v, x in env.items() if isinstance(x, Tensor) and not v.height and _is_other(v, x)]
    return env | {v: reshape(env[v], (len(env[v].data) if v.rows else 1, v.width)) for v in flat}


def _is_other(v, x):
    """True for a tensor without time of another shape than a row, or rows, of the width of ``v``."""
    if v.is_input(Source.X, Source.STREAM):
        return False
    return x.ndim != 2 if v.rows else x.ndim > 2 or (x.ndim == 2 and x.shape[0] != 1)


def rows_of(value, env, shape, dtype):
    """`evaluate` for every sequence of the batch: in ``shape``."""
    target = Tensors(dtype)
    found = target.tensor(target.walk([value], env)[0])
    if found.shape == shape:
        return found
    return reshape(
        broadcast_to(found, (shape[0], value.width if value.width > 1 else math.prod(shape[1:]))), shape
    )
