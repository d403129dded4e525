"""The roles of the axes of a step's tensors, which say what a value of the step is.

``b`` is the batch, ``f`` features, ``1`` a size of 1. Roles come from the inputs of the step and are carried
on from op to op; a closed-over tensor gets those of what it is combined with. They, not sizes, decide what a
value is, so that a batch as large as a row of features is no trouble. Features may have several axes, before
and after the batch: a value is a row of them all, and what moves them is a view of it. A matrix that rows are
multiplied by has the roles ``kf`` where it is a gradient; ``p`` is the batch and features in one axis, ``[B *
H, N]``, and ``q`` features and the batch; ``c`` is a number that a derivative repeats, of which no more is
known than its size.
"""

import math
import re
from typing import NamedTuple

import numpy as np

from ..autograd.tape import Tensor
from ..base.errors import TraceError
from .ir import Value

_LAYOUT = re.compile("[f1]*b?[f1]*")  # of what is rows, or one row
MIXES = "the step mixes the sequences of a batch: take sums, means and products over the features of each"


class Read(NamedTuple):
    """A Value, and the roles of its tensor's axes."""

    value: Value
    axes: str


class Open(NamedTuple):
    """A closed-over tensor whose axes have no roles yet, and the order that they were put in."""

    slot: int
    tensor: Tensor
    order: tuple | None = None

    @property
    def shape(self) -> tuple:
        return tuple([self.tensor.shape[i] for i in self.order or range(self.tensor.ndim)])


def a_row(axes) -> str:
    """The roles, for messages."""
    names = {"b": "batch", "1": "1", "p": "batch * features", "q": "features * batch", "c": "a number"}
    return "a matrix" if axes == "matrix" else f"[{', '.join([names.get(r, 'features') for r in axes])}]"


def is_rows(axes) -> bool:
    """True for what is rows, or one row: axes of features, and the batch among them or not."""
    return _LAYOUT.fullmatch(axes) is not None


def merged(axes) -> str:
    """The role of the axis that is the batch and features at once; "" where there is none."""
    return next((role for role in axes if role in "pq"), "")


def without_batch(values, axes) -> list:
    """Those of ``values``, one for each of ``axes``, that are of features."""
    return [x for x, role in zip(values, axes, strict=True) if role != "b"]


def batch_of(axes) -> int | None:
    """Where the batch is among the axes."""
    return axes.index("b") if "b" in axes else None


def among_features(axes, axis) -> int:
    """An axis of features, counted without the batch."""
    return axis - ("b" in axes[:axis])


def no_form(what, instead="a step must work on [batch, features]"):
    """The error of a step that does ``what`` no loop can do."""
    return TraceError(f"{what} has no compiled form: {instead}")


def role_of(n) -> str:
    """The role of an axis of features."""
    return "f" if n > 1 else "1"


def roles_of(shape, at=None) -> str:
    """The roles of the axes of features, and of the batch, which is the axis ``at``."""
    return "".join(["b" if i == at else role_of(n) for i, n in enumerate(shape)])


def has_batch(read) -> bool:
    """True for what has roles, one of them the batch's."""
    return isinstance(read, Read) and "b" in read.axes


def unfit(name, reads, why):
    """The error of operands that do not go together."""
    shapes = [a_row(r.axes) if isinstance(r, Read) else str(list(r.shape)) for r in reads]
    return no_form(f"{name} of {' and '.join(shapes)} ({why})")


def columns_of(name, axes, shape, move):
    """The numbers of a tensor's columns, as ``move`` leaves them behind, and the roles of the result."""
    if not is_rows(axes):
        raise no_form(f"{name} of {a_row(axes)}")
    at, sizes = batch_of(axes), without_batch(shape, axes)
    numbers = np.arange(math.prod(sizes)).reshape(sizes)
    two = numbers if at is None else np.stack([numbers, numbers + numbers.size], at)
    moved = move(two)  # of two sequences, to see where they are then
    if not moved.size:
        raise no_form(f"{name} that leaves no columns of {a_row(axes)}", "leave out what is empty")
    if at is None:
        return moved, roles_of(moved.shape)
    apart = [(np.diff(moved, axis=i) == numbers.size).all() for i in range(moved.ndim)]
    at = next(i for i, n in enumerate(moved.shape) if n == 2 and apart[i])
    return moved.take(0, at), roles_of(moved.shape, at)
