"""Ops that move features, from the tape of a step to Values: nothing is computed, they are views and values
side by side.
"""

import itertools
import math
import operator

import numpy as np

from ..base.errors import TraceError
from ..kernels.keys import is_basic
from .ir import CUSTOM, Kind, Value, aliased, beside, framed, number, placed, pointwise, reduced, widened
from .roles import (
    Open,
    Read,
    a_row,
    batch_of,
    columns_of,
    has_batch,
    is_rows,
    merged,
    no_form,
    roles_of,
    unfit,
    without_batch,
)
from .views import View, view_of


def _moved(reader, node, reads, move):
    """An op that moves features: ``move`` is what it does to an array."""
    x = reader.row(node.op.name, reads[0])
    columns, roles = columns_of(node.op.name, x.axes, np.shape(node.saved[0].data), move)
    return Read(reader.view(x.value, columns), roles)


def _reshape(reader, node, reads, newshape):
    x, old = reader.row("reshape", reads[0]), np.shape(node.saved[0].data)
    role, at = merged(x.axes), batch_of(x.axes)
    axes = None if role else _inserted(x.axes, old, node.shape)
    if axes is not None:
        return Read(x.value, axes)
    if not role and at is None and is_rows(x.axes):
        return Read(x.value, roles_of(node.shape))
    before = math.prod(old[:at]) if at is not None else 1 if role == "p" else old[0] // reader.batch
    for new, n in enumerate(node.shape) if at is not None or x.axes[0] == role else ():
        if n == reader.batch and math.prod(node.shape[:new]) == before:
            return Read(x.value, roles_of(node.shape, new))
    if at is not None and node.shape:
        if node.shape[0] == before * reader.batch and at > 0:
            return Read(x.value, "q" + roles_of(node.shape[1:]))
        if node.shape[0] % reader.batch == 0 and at == 0:
            return Read(x.value, "p" + roles_of(node.shape[1:]))
    raise no_form(f"reshape from {list(old)} to {list(node.shape)}")


def _broadcast_to(reader, node, reads, to):
    x = reader.row("broadcast_to", reads[0])
    if np.shape(node.saved[0].data) == tuple(node.shape):
        return x
    axes = ""
    for back in range(1, len(node.shape) + 1):
        role, n = x.axes[-back] if len(x.axes) >= back else "1", node.shape[-back]
        if role == "1" and n != 1:
            first = back == len(node.shape) > 1 and n == reader.batch and "b" not in x.axes
            role = "b" if first else "f"
        axes = role + axes
    if not is_rows(axes):
        raise no_form(f"broadcast from {a_row(x.axes)} to {list(node.shape)}")
    width = math.prod(without_batch(node.shape, axes))
    return Read(widened(reader.spread(x, axes, node.shape).value, width, "b" in axes), axes)


def _flip(reader, node, reads, axis):
    return _moved(reader, node, reads, _along(reader, "flip", node, reads[0], axis, np.flip))


def _roll(reader, node, reads, shift, axis):
    def roll(a, axes):
        return np.roll(a, shift, axes)

    return _moved(reader, node, reads, _along(reader, "roll", node, reads[0], axis, roll))


def _along(reader, name, node, read, axis, function):
    """``function`` of features along the axes ``axis`` of a tensor."""
    axes = tuple(range(len(node.shape))) if axis is None else axis
    axes = (axes,) if isinstance(axes, int) else axes
    if isinstance(read, Read) and batch_of(read.axes) in axes:
        raise no_form(f"{name} along the batch", "use the axes of features")
    return lambda a: function(a, axes)


def _pad(reader, node, reads, widths, value):
    x = reader.row("pad", reads[0])
    if has_batch(x) and tuple(widths[batch_of(x.axes)]) != (0, 0):
        raise no_form("pad along the batch", "use the axes of features")
    sizes = without_batch(np.shape(node.saved[0].data), x.axes)
    found = widened(x.value, math.prod(sizes), x.value.rows)
    for axis, (before, after) in enumerate(without_batch(widths, x.axes)):
        found = padded(found, sizes, axis, before, after, value)
        sizes[axis] += before + after
    return Read(found, roles_of(node.shape, batch_of(x.axes)))


def padded(value, sizes, axis, before, after, fill):
    """A value, whose features have ``sizes``, with so many more of a number along one axis."""
    each = math.prod(sizes[axis + 1 :])
    return framed(value, math.prod(sizes[:axis]), before * each, after * each, fill)


def _astype(reader, node, reads, dtype):
    x = reader.row("astype", reads[0])
    was = node.saved[0].dtype
    if was == dtype:
        return x
    if dtype.kind in "iu" and was.kind == "f":
        return Read(_integer(x.value, dtype), x.axes)
    if dtype.kind == "b":
        return Read(pointwise("not_equal", x.value, number(0.0)), x.axes)
    return Read(aliased(Kind.CAST, x.value), x.axes)


def _integer(x, dtype):
    """``x`` towards 0; what does not fit is the least number, as on the processors that we know."""
    if dtype != np.int64:
        raise no_form(f"astype from a float to {dtype}", "use int64, or round with floor() or round()")
    whole = pointwise("where", pointwise("less", x, 0.0), pointwise("ceil", x), pointwise("floor", x))
    return pointwise("where", pointwise("less", pointwise("abs", x), 2.0**63), whole, -(2.0**63))


def _detach(reader, node, reads):
    x = reader.row("detach", reads[0])
    return Read(aliased(Kind.DETACH, x.value), x.axes)


def _parts(reader, node, read, axis, keys):
    """Parts of a tensor, each a key along one axis."""
    x, found = reader.row(node.op.name, read), []
    if batch_of(x.axes) == axis:
        raise no_form(f"{node.op.name} along axis {axis} of {a_row(x.axes)}", "use the axes of features")
    for key in keys:
        move = operator.itemgetter((*[slice(None)] * axis, key))
        columns, roles = columns_of(node.op.name, x.axes, np.shape(node.saved[0].data), move)
        found.append(Read(reader.view(x.value, columns), roles))
    return found


def _custom_vjp(reader, node, reads, custom, hidden):
    """What the forward function gave; its past is the backward function's matter."""
    outputs = hidden.outputs
    found = [
        Read(Value(Kind.DETACH, (r.value,), r.value.width, r.value.rows, CUSTOM), r.axes)
        for r in reads[-outputs:]
    ]
    return found if isinstance(node.shape, list) else found[0]


def _split(reader, node, reads, axis, points):
    ends = itertools.pairwise([0, *points, np.shape(node.saved[0].data)[axis]])
    return _parts(reader, node, reads[0], axis, [slice(a, b) for a, b in ends])


def _unstack(reader, node, reads, axis):
    return _parts(reader, node, reads[0], axis, range(np.shape(node.saved[0].data)[axis]))


def _concat(reader, node, reads, axis, sizes):
    return _joined(reader, node, reads, axis, [np.shape(x.data) for x in node.saved])


def _joined(reader, node, reads, axis, shapes):
    at = next((batch_of(r.axes) for r in reads if has_batch(r)), None)
    if at is not None and axis == at:
        row = a_row(roles_of(node.shape, at))
        raise no_form(f"{node.op.name} along axis {axis} of {row}", "use the axes of features")

    def row(read, shape):
        number = isinstance(read, Read) and "c" in read.axes
        return Read(read.value, roles_of(shape, at)) if number else reader.along_batch(read, shape, at)

    reads = [row(r, shape) for r, shape in zip(reads, shapes, strict=True)]
    if not all(is_rows(r.axes) for r in reads):
        raise no_form(f"{node.op.name} along axis {axis} of {a_row(reads[0].axes)}")
    others = [(r, x) for r, x in zip(reads, shapes, strict=True) if batch_of(r.axes) != at]
    if any("b" in r.axes or x[at] != 1 for r, x in others):
        raise unfit(node.op.name, reads, "they lie otherwise")
    roles = roles_of(node.shape, at)
    outer = math.prod(without_batch(node.shape[:axis], roles[:axis]))
    parts = [
        widened(r.value, math.prod(without_batch(x, roles)), r.value.rows)
        for r, x in zip(reads, shapes, strict=True)
    ]
    return Read(beside(parts, outer), roles)


def _stack(reader, node, reads, axis):
    axes = next((r.axes for r in reads if has_batch(r)), None)
    shape = list(node.shape)
    shape[axis] = 1
    reads = [reader.closed(r, axes or reader.own_axes(r)) if isinstance(r, Open) else r for r in reads]
    known = [Read(r.value, r.axes[:axis] + ("c" if "c" in r.axes else "1") + r.axes[axis:]) for r in reads]
    return _joined(reader, node, known, axis, [shape] * len(reads))


def _getitem(reader, node, reads, key):
    x, shape = reader.row("getitem", reads[0]), np.shape(node.saved[0].data)
    return _moved(reader, node, [x], operator.itemgetter(_key(reader, key, x.axes, shape)))


def _place(reader, node, reads, key, into):
    """The transpose of `_getitem`: zeros but at ``key``."""
    g, keys = reader.row("place", reads[0]), _expanded(key, len(into))
    if not is_rows(g.axes):
        raise no_form(f"place of {a_row(g.axes)} into {list(into)}")
    for at in range(len(into)) if "b" in g.axes else [None]:
        axes = roles_of(into, at)
        if at is not None and (into[at] != reader.batch or not _is_whole(keys[_spots(keys)[at]], into[at])):
            continue
        own = _key(reader, key, axes, into)
        positions, found = columns_of("place", axes, into, operator.itemgetter(own))
        if batch_of(found) == batch_of(g.axes):
            break
    else:
        raise no_form(f"place of {a_row(g.axes)} into {list(into)}")
    if is_basic(key):
        parts = [keys[i] for i in _spots(keys)]
        sizes, parts = without_batch(into, axes), without_batch(parts, axes)
        return Read(_framed(reader, widened(g.value, positions.size, g.value.rows), sizes, parts), axes)
    positions, sizes = positions.reshape(-1), without_batch(into, axes)
    value = widened(g.value, positions.size, g.value.rows)
    value, positions = _added_up(reader, value, positions)
    order = np.argsort(positions, kind="stable")
    if len(np.unique(positions)) < len(positions):
        raise no_form("the gradient of an index that picks a column twice", "use a product with a matrix")
    value, positions = reader.view(value, order), positions[order]
    run = math.gcd(len(positions), *(np.flatnonzero(np.diff(positions) != 1) + 1).tolist())
    found = placed(value, positions[::run], run, math.prod(sizes))
    if found is None:
        raise no_form(f"the gradient of the index {key}", "pick columns by slices")
    return Read(found, axes)


def _framed(reader, value, into, keys):
    """A value at basic ``keys``, one for each axis of features of sizes ``into``, zeros elsewhere."""
    sizes = [1 if isinstance(k, int) else len(range(n)[k]) for k, n in zip(keys, into, strict=True)]
    for axis, (key, n) in enumerate(zip(keys, into, strict=True)):
        first, _, step = (range(n)[key], 0, 1) if isinstance(key, int) else key.indices(n)
        if step < 0:
            first, step = first + (sizes[axis] - 1) * step, -step
            value = reader.view(value, np.flip(np.arange(value.width).reshape(sizes), axis))
        count, each = sizes[axis], math.prod(sizes[axis + 1 :])
        outer, sizes[axis] = math.prod(sizes[:axis]), n
        if step > 1:
            value = framed(value, outer * count, 0, (step - 1) * each)
            kept = np.arange(value.width).reshape(outer, count * step, each)[:, : n - first]
            value, count = reader.view(value, kept), kept.shape[1]
        value = framed(value, outer, first * each, (n - first - count) * each)
    return value


def _added_up(reader, value, positions):
    """The columns of a value, those that go to one position added up; and the positions."""
    view = view_of(positions)
    if view is None or all(stride for _, stride in view.axes):
        return value, positions
    sizes, zero = [n for n, _ in view.axes], [i for i, (_, stride) in enumerate(view.axes) if not stride]
    rest = [i for i in range(len(sizes)) if i not in zero]
    columns = np.arange(value.width).reshape(sizes).transpose(*rest, *zero)
    width = math.prod(sizes[i] for i in rest)
    value = reduced(Kind.ROWSUM, reader.view(value, columns), width)
    return value, View(view.offset, tuple([view.axes[i] for i in rest]) or ((1, 1),)).columns


def _key(reader, key, axes, shape):
    """A key of a tensor that picks features. Raises for what picks from the batch."""
    keys, at = _expanded(key, len(shape)), batch_of(axes)
    if at is not None:
        spot = _spots(keys)[at]
        if not isinstance(keys[spot], slice):
            raise TraceError("one sequence of the batch is picked: a step must treat all alike")
        if not _is_whole(keys[spot], shape[at]):
            raise no_form("indexing along the batch", "use slices of the axis of features")
        keys[spot] = slice(None)
    return tuple(keys)


def _permute_dims(reader, node, reads, axes):
    if axes == tuple(range(len(axes))):
        return reader.row("permute_dims", reads[0])
    x = reads[0]
    if isinstance(x, Open):
        if axes != (1, 0):
            order = x.order or range(len(axes))
            return x._replace(order=tuple([order[i] for i in axes]))
        x = reader.closed(x, "matrix")
        return Read(Value(Kind.TURNED, (x.value,), np.shape(node.saved[0].data)[0], False), "matrix")
    if is_rows(x.axes):
        return _moved(reader, node, [x], lambda a: a.transpose(axes))
    if axes != (1, 0):
        raise no_form(f"transposing {a_row(x.axes)}", "keep the batch first")
    if x.value.kind is Kind.TURNED:
        return Read(x.value.inputs[0], x.axes if x.axes == "matrix" else x.axes[::-1])
    if merged(x.axes):
        return Read(x.value, x.axes[::-1])
    value = Value(Kind.TURNED, (x.value,), np.shape(node.saved[0].data)[0], x.value.rows)
    return Read(value, x.axes if x.axes == "matrix" else x.axes[::-1])


def _expanded(key, ndim) -> list:
    """The parts of a key, a slice for each axis that it does not name."""
    keys = list(key) if isinstance(key, tuple) else [key]
    at = next((i for i, k in enumerate(keys) if k is Ellipsis), len(keys))
    named = sum(k is not None and k is not Ellipsis for k in keys)
    keys[at : at + 1] = [slice(None)] * (ndim - named)
    return keys


def _spots(keys) -> list:
    """Of each axis, where in an expanded key it is."""
    return [i for i, k in enumerate(keys) if k is not None]


def _is_whole(key, size) -> bool:
    """True for a slice that has all of an axis."""
    return isinstance(key, slice) and key.indices(size) == (0, size, 1)


def _inserted(axes, old, new):
    """The roles of ``new``, where a reshape from ``old`` only takes out or puts in axes of size 1, else
    None.
    """
    pending = [(role, n) for role, n in zip(axes, old, strict=True) if role != "1"]
    found = ""
    for n in new:
        if pending and pending[0][1] == n:
            found += pending.pop(0)[0]
        elif n == 1:
            found += "1"
        else:
            return None
    return None if pending else found


LOWERED = {
    "reshape": _reshape,
    "broadcast_to": _broadcast_to,
    "flip": _flip,
    "roll": _roll,
    "pad": _pad,
    "astype": _astype,
    "detach": _detach,
    "custom_vjp": _custom_vjp,
    "split": _split,
    "unstack": _unstack,
    "concat": _concat,
    "stack": _stack,
    "getitem": _getitem,
    "place": _place,
    "permute_dims": _permute_dims,
    "gather": _getitem,
}
