"""One loop for what is summed over axes of an array and for what is made of its elements and of a value for
each sum: the derivatives of reductions, softmax along any axis.

Arrays are read in the order in which they lie in memory, as ``[outer, n, inner]`` of which ``n`` is summed
over. Sums run in the arrays' own precision, in an order that depends on the shape and that order alone.
"""

import functools
import math
import re

import numpy as np

from . import jit
from .pointwise import NUMPY_PRELUDE, typed


@functools.cache
def _kernel(name: str, elements: tuple, rows: tuple, total: str, rule: str, last: bool, dtype: np.dtype):
    """The loop over ``[outer, n]``, with one sum at a time, or over ``[outer, n, inner]``, with ``inner`` of
    them side by side.
    """
    words = "|".join([*elements, *rows, "total", "part"])
    total, rule = (re.sub(rf"\b({words})\b", r"\1_", typed(r, "F({})".format)) for r in (total, rule))
    at, made = ("o" if last else "o, k"), [f"made = out[{'o' if last else 'o, k'}]"]
    slices = [f"{a}s = {a}[{at}]" for a in elements]
    loads = [f"{a}_ = {a}s[i]" for a in (elements if last else elements + rows)]
    lines = [f"{r}{'_' if last else 's'} = {r}[o]" for r in rows]

    def loop(statements, first):
        inner = [*first, f"for i in range({elements[0]}s.size):", *["    " + s for s in statements]]
        return inner if last else [f"for k in range({elements[0]}.shape[1]):", *["    " + s for s in inner]]

    if total:
        sums, kept = ("total_" if last else "totals[i]"), "part_" in rule
        adds = [f"part_ = {total}", *(["made[i] = part_"] if kept else []), f"{sums} += part_"]
        lines += ["total_ = F(0)" if last else "totals[:] = 0"]
        lines += loop([*loads, *adds], slices + (made if kept else []))
        loads += ([] if last else ["total_ = totals[i]"]) + (["part_ = made[i]"] if kept else [])
    if rule:
        lines += loop([*loads, f"made[i] = {rule}"], slices + made)
    else:
        lines += ["out[o] = total_" if last else "out[o, :] = totals"]
    source = [NUMPY_PRELUDE.format(dtype=dtype.name), "@jit", f"def loop({', '.join(elements + rows)}, out):"]
    source += [] if last else [f"    totals = np.empty({elements[0]}.shape[2], F)"]
    source += [f"    for o in range({elements[0]}.shape[0]):", *["        " + line for line in lines], ""]
    return jit.load_source(name, "\n".join(source)).loop


@functools.lru_cache(1024)
def _layout(shape: tuple, strides: tuple, axes: tuple):
    """Of an array and the axes summed over: its axes as they lie in memory and the inverse of that order, the
    sizes of the array and of the sums to a loop, the shape of the sums. None where the axes lie apart.
    """
    order = sorted(range(len(shape)), key=lambda i: (-strides[i], i))
    places, sizes = sorted([order.index(a) for a in axes]), [shape[i] for i in order]
    first, end = (places[0], places[-1] + 1) if places else (0, 0)
    if end - first != len(places):
        return None
    outer, n, inner = math.prod(sizes[:first]), math.prod(sizes[first:end]), math.prod(sizes[end:])
    kept = tuple([1 if i in axes else m for i, m in enumerate(shape)])
    size, sums = ((outer, n), (outer,)) if inner == 1 else ((outer, n, inner), (outer, inner))
    return order, [order.index(i) for i in range(len(shape))], size, sums, kept


def run(name: str, elements: dict, rows: dict, axes: tuple | None, total: str = "", rule: str = ""):
    """``rule`` for each element: an expression in elements, rows, ``total``, the sum of the expression
    ``total``, and ``part``, what an element added to it. Without a rule the totals, ``axes`` of size 1. None
    where there is no loop: for axes that lie apart, other dtypes, nothing, a GPU.

    Args:
        elements: arrays of one shape, float32 or float64, by their names in the expressions.
        rows: arrays of that dtype with one value for each sum.
        axes: those summed over (None: all).
    """
    given = [*elements.values(), *rows.values()]
    x = given[0]
    if x.dtype.char not in "fd" or not x.size:
        return None
    if not all(type(a) is np.ndarray and a.dtype == x.dtype for a in given):
        return None
    layout = _layout(x.shape, x.strides, tuple(range(x.ndim)) if axes is None else axes)
    if layout is None:
        return None
    order, inverse, size, sums, kept = layout
    arrays = [np.ascontiguousarray(a.transpose(order)).reshape(size) for a in elements.values()]
    arrays += [np.ascontiguousarray(r.reshape(kept).transpose(order)).reshape(sums) for r in rows.values()]
    shape = x.shape if rule else kept
    made = np.empty([shape[i] for i in order], x.dtype)
    _kernel(name, tuple(elements), tuple(rows), total, rule, len(sums) == 1, x.dtype)(
        *arrays, made.reshape(size if rule else sums)
    )
    return made if order == inverse == sorted(order) else made.transpose(inverse)
