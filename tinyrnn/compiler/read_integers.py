"""Integers that a step computes, and what they pick, from its tape to Values."""

import math

import numpy as np

from .ir import Kind, Value, index, pointwise, reduced, widened
from .roles import Read, a_row, among_features, batch_of, has_batch, is_rows, no_form, roles_of, without_batch


def _position(reader, node, reads, axis, keepdims):
    """The number of the first largest, or smallest, along an axis of features."""
    name, shape = node.op.name, np.shape(node.saved[0].data)
    x = reader.row(name, reads[0])
    if not is_rows(x.axes) or axis == batch_of(x.axes) or (axis is None and "b" in x.axes):
        raise no_form(f"{name} of {a_row(x.axes)} over {axis}", "use an axis of features")
    sizes, at = without_batch(shape, x.axes), batch_of(x.axes)
    columns, n = np.arange(x.value.width), x.value.width
    if axis is not None:
        along = among_features(x.axes, axis)
        columns, n = np.moveaxis(columns.reshape(sizes), along, -1), sizes[along]
    width, values = x.value.width // n, reader.view(x.value, columns)
    ordered = reduced(Kind.ROWMAX if name == "argmax" else Kind.ROWMIN, values, width)
    most = reader.view(ordered, np.repeat(np.arange(width), n))
    hit = pointwise("logical_or", pointwise("equal", values, most), pointwise("isnan", values))
    numbers = pointwise("where", hit, index(np.tile(np.arange(n), width)), float(n))
    found = reduced(Kind.ROWMIN, widened(numbers, width * n, x.value.rows), width)
    at = at if keepdims or at is None or axis > at else at - 1
    return Read(found, roles_of(node.shape, at))


def _together(reader, name, reads, shapes, other):
    """Two operands of as many axes, closed-over ones with the batch of the other."""
    at = next((batch_of(r.axes) for r in reads if has_batch(r)), None)
    reads = [reader.along_batch(r, shape, at) for r, shape in zip(reads, shapes, strict=True)]
    if other == at or any(not is_rows(r.axes) or batch_of(r.axes) not in (at, None) for r in reads):
        raise no_form(f"{name} of {' and '.join(a_row(r.axes) for r in reads)} along axis {other}")
    return reads, at


def _one_of(reader, values, ids, asked, n):
    """Of each ``n`` columns of ``values`` the one that ``asked``, columns of ``ids``, say; NaN where they
    name none of them.
    """
    width, rows, asked = np.size(asked), values.rows or ids.rows, np.reshape(asked, -1)
    hit = _hits(reader.view(ids, np.repeat(asked, n)), index(np.tile(np.arange(n), width)), n)
    found = widened(pointwise("where", hit, values, 0.0), width * n, rows)
    found, ids = reduced(Kind.ROWSUM, found, width), reader.view(ids, asked)
    least, most = pointwise("greater_equal", ids, -float(n)), pointwise("less", ids, float(n))
    return pointwise("where", pointwise("logical_and", least, most), found, math.nan)


def _hits(ids, numbers, n):
    """Where ``ids`` are ``numbers`` of something of a size, counted from its end if they are negative."""
    return pointwise(
        "logical_or",
        pointwise("equal", ids, numbers),
        pointwise("equal", pointwise("add", ids, float(n)), numbers),
    )


def _take_along_axis(reader, node, reads, axis):
    shapes = [np.shape(x.data) for x in node.saved]
    (x, ids), at = _together(reader, "take_along_axis", reads, shapes, axis)
    roles, n = roles_of(node.shape, at), shapes[0][axis]
    sizes, own = without_batch(node.shape, roles), among_features(roles, axis)
    values = _lined_up(reader, x, without_batch(shapes[0], roles), own, sizes, n)
    asked = np.arange(ids.value.width).reshape(without_batch(shapes[1], roles))
    return Read(_one_of(reader, values, ids.value, np.broadcast_to(asked, sizes), n), roles)


def _lined_up(reader, read, own, axis, sizes, n):
    """For each column of features of ``sizes``: all ``n`` that a value of sizes ``own`` has along an
    axis.
    """
    own = np.arange(read.value.width).reshape(own)
    own = np.expand_dims(np.moveaxis(own, axis, -1), axis)
    return reader.view(read.value, np.broadcast_to(own, (*sizes, n)))


def _put_along_axis(reader, node, reads, axis, into):
    """The transpose of `_take_along_axis`."""
    shapes = [np.shape(x.data) for x in node.saved]
    (g, ids), at = _together(reader, "put_along_axis", reads, shapes, axis)
    roles, n = roles_of(into, at), into[axis]
    sizes, own, count = without_batch(into, roles), among_features(roles, axis), shapes[0][axis]
    values = _lined_up(reader, g, without_batch(shapes[0], roles), own, sizes, count)
    each = _lined_up(reader, ids, without_batch(shapes[1], roles), own, sizes, count)
    along = [n if i == own else 1 for i in range(len(sizes))]
    numbers = np.broadcast_to(np.arange(n).reshape([*along, 1]), (*sizes, count))
    hit, rows = _hits(each, index(numbers), n), g.value.rows or ids.value.rows
    found = widened(pointwise("where", hit, values, 0.0), math.prod(sizes) * count, rows)
    return Read(reduced(Kind.ROWSUM, found, math.prod(sizes)), roles)


def _lookup(reader, node, reads):
    """Rows of a table ``[V, ...]`` by ``ids``."""
    (table, ids), (shape, own) = reads, [np.shape(x.data) for x in node.saved]
    table, ids = reader.row("lookup", table), reader.row("lookup", ids)
    if "b" in table.axes or not is_rows(ids.axes):
        mend = "use arange(len(h)), ids for [batch, ids], or take_along_axis"
        raise no_form(f"indexing {a_row(table.axes)} by computed integers {a_row(ids.axes)}", mend)
    n, rest, asked = shape[0], shape[1:], without_batch(own, ids.axes)
    sizes = (*asked, *rest)
    columns = np.arange(table.value.width).reshape(shape)
    values = reader.view(table.value, np.broadcast_to(np.moveaxis(columns, 0, -1), (*sizes, n)))
    asked = np.arange(ids.value.width).reshape([*asked, *[1] * len(rest)])
    found = _one_of(reader, values, ids.value, np.broadcast_to(asked, sizes), n)
    return Read(found, roles_of(node.shape, batch_of(ids.axes)))


def _place_rows(reader, node, reads, into):
    """The transpose of `_lookup`: the gradient of the table."""
    (g, ids), n = reads, into[0]
    ids = reader.row("lookup", ids)
    if not isinstance(g, Read) or g.axes not in ("bf", "b1") or ids.axes != "b":
        raise no_form("the gradient of a table that is indexed so", "index [V, E] by [batch]")
    rows = pointwise("where", _hits(ids.value, index(np.arange(n)), n), 1.0, 0.0)
    return Read(Value(Kind.OUTER, (rows, g.value), into[1], False), "kf")


LOWERED = {
    "take_along_axis": _take_along_axis,
    "put_along_axis": _put_along_axis,
    "lookup": _lookup,
    "place_rows": _place_rows,
    "argmax": _position,
    "argmin": _position,
}
