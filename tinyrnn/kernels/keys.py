"""Keys, what stands in the brackets of an array: which of them give a view, and the transpose of indexing."""

import importlib
import math
from typing import Any

import numpy as np

from ..base.devices import array_module

_ENDS = frozenset({int, type(None)})  # of a slice
_SINGLE = frozenset({int, bool, type(None), type(Ellipsis)})


def is_basic(key: Any) -> bool:
    """True where indexing with ``key`` gives a view and is in terms of Python alone: ints, slices of ints,
    None and Ellipsis.
    """
    for k in key if type(key) is tuple else (key,):
        if type(k) is slice:
            if not (type(k.start) in _ENDS and type(k.stop) in _ENDS and type(k.step) in _ENDS):
                return False
        elif type(k) not in _SINGLE:
            return False
    return True


def along(at: Any, axis: int, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """The key of the elements ``at`` along ``axis`` of what has a shape."""
    arange, ndim = array_module(at).arange, len(shape)
    grid = [arange(n).reshape([-1 if j == i else 1 for j in range(ndim)]) for i, n in enumerate(shape)]
    return (*grid[:axis], at, *grid[axis + 1 :])


def place(g: Any, *, key: Any, into: tuple[int, ...]) -> Any:
    """Zeros of shape ``into`` with ``g`` at ``key``, summed where ``key`` names an element twice."""
    xp = array_module(g)
    if is_basic(key):
        out = xp.zeros(into, g.dtype)
        out[key] = g
        return out
    if xp is not np:  # by the number of each element, since adding in place would be in any order
        add_rows = importlib.import_module(f"{__package__}.scatter").add_rows
        numbers = xp.arange(math.prod(into)).reshape(into)[key].reshape(-1)
        return add_rows(g.reshape(-1, 1), numbers, math.prod(into)).reshape(into)
    out = np.zeros(into, np.float32 if g.dtype == np.float16 else g.dtype)  # half precision would not add up
    np.add.at(out, key, g)
    return out.astype(g.dtype, copy=False)
