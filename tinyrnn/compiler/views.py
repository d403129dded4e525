"""Which columns of a row a value reads, as an affine map of its own columns.

The features of a value may have several axes, ``[B, H, N]``; in a program they are one row of ``H * N``
columns. Whatever only moves them (reshape, transpose, slices, steps, flips, broadcasting along an axis) is a
`View`: the column of the row that each column comes from, which a loop computes from its counters. Nothing is
copied.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

SEVERAL = 16  # views that columns without a map of their own may be taken apart into, at most


class View(NamedTuple):
    """Column (i, j, ...) of so many axes is the column ``offset + i * stride + j * stride + ...``."""

    offset: int
    axes: tuple[tuple[int, int], ...]  # (size, stride), the last counts fastest

    @property
    def width(self) -> int:
        return math.prod(n for n, _ in self.axes)

    @property
    def columns(self) -> np.ndarray:
        """All of them, in order."""
        found = np.array([self.offset])
        for n, stride in self.axes:
            found = (found[:, None] + stride * np.arange(n)).reshape(-1)
        return found

    @property
    def name(self) -> str:
        """As part of a name."""
        return "_".join(map(str, (self.offset, *sum(self.axes, ())))).replace("-", "m")

    @property
    def is_slice(self) -> bool:
        """True for columns that lie side by side."""
        return len(self.axes) == 1 and self.axes[0][1] == 1

    @property
    def repeats(self) -> bool:
        """True where a column is read more than once."""
        return len(np.unique(self.columns)) < self.width

    @property
    def suffixes(self) -> list[int]:
        """How many columns one count of each axis stands for."""
        return [math.prod(n for n, _ in self.axes[k + 1 :]) for k in range(len(self.axes))]


def part(first: int, last: int) -> View:
    """The columns from ``first`` to ``last``."""
    return View(first, ((last - first, 1),))


def blocks(outer: int, width: int, first: int, last: int) -> View:
    """The columns from ``first`` to ``last`` of each of so many blocks of a ``width``."""
    found = view_of((np.arange(outer)[:, None] * width + np.arange(first, last)).reshape(-1))
    assert found is not None  # it is affine
    return found


def view_of(columns: np.ndarray) -> View | None:
    """The map that gives these columns, in its shortest form; None if none does."""
    columns = np.asarray(columns).reshape(-1)
    axes: list[tuple[int, int]] = []
    offset, left = int(columns[0]), columns - columns[0]
    while left.size > 1:
        stride = left[1] - left[0]
        ends = np.flatnonzero(np.diff(left) != stride)
        run = int(ends[0]) + 1 if ends.size else left.size
        for n in range(run, 1, -1):
            if left.size % n == 0:
                rows = left.reshape(-1, n)
                if (rows - rows[:, :1] == stride * np.arange(n)).all():
                    break
        else:
            return None
        axes.insert(0, (n, int(stride)))
        left = left.reshape(-1, n)[:, 0]
    return View(offset, tuple(axes) or ((1, 1),))
