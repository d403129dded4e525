"""Products and reductions, from the tape of a step to Values."""

import math

import numpy as np

from ..base.errors import TraceError
from .ir import Kind, Source, Value, pointwise, reduced, widened
from .read_shapes import padded
from .roles import (
    MIXES,
    Open,
    Read,
    a_row,
    among_features,
    batch_of,
    has_batch,
    is_rows,
    merged,
    no_form,
    role_of,
    roles_of,
    unfit,
    without_batch,
)

_REDUCTIONS = {
    "sum": Kind.ROWSUM, "mean": Kind.ROWSUM, "count_nonzero": Kind.ROWSUM, "max": Kind.ROWMAX,
    "any": Kind.ROWMAX, "min": Kind.ROWMIN, "all": Kind.ROWMIN, "prod": Kind.ROWPROD,
}  # fmt: skip


def _matmul(reader, node, reads, precision=None):
    """In lower precision rows are rounded where the tape says so; other products are sums in that of the
    arrays.
    """
    a, b = reads
    shapes = [np.shape(x.data) for x in node.saved]
    if precision and precision != reader.recording.precision:
        mend = "give precision= to the loop, or call it in autocast"
        raise TraceError(f"a step changes the precision of its products to {precision} by itself: {mend}")
    if reader.recording.precision and not precision:
        return _summed(reader, node, reads, shapes)
    if isinstance(a, Read) and isinstance(b, Read) and a.axes in ("fb", "1b"):
        if b.axes not in ("bf", "b1"):
            raise no_form("a product over the batch")
        return Read(Value(Kind.OUTER, (a.value, b.value), shapes[1][1], False), "kf")
    if isinstance(a, Open) and len(shapes[0]) == len(shapes[1]) == 2:
        mend = "write h @ U.T for (U @ h.T).T"
        raise no_form(f"a product of a closed-over {list(shapes[0])} from the left", mend)
    if isinstance(a, Read) and a.axes in ("bf", "b1") and len(shapes[1]) == 2:
        b = reader.closed(b, "matrix") if isinstance(b, Open) else b
        turned = b.value.kind is Kind.TURNED
        matrix = b.value.inputs[0] if turned else b.value
        if b.axes == "matrix" and matrix.is_input(Source.CLOSURE):
            width = shapes[1][1]
            return Read(Value(Kind.MATMUL, (a.value, matrix), width, True, turned), "b" + role_of(width))
        raise no_form("a product with a matrix that changes over time", "give the rows an axis of their own")
    if precision:
        raise no_form(f"rows of features in {precision}", "give them axes of their own: [B, N, K] @ U")
    return _summed(reader, node, reads, shapes)


def _summed(reader, node, reads, shapes):
    """Products as sums of products."""
    if any(isinstance(x, Read) and merged(x.axes) for x in reads):
        return _by_rows(reader, node, reads, shapes)
    b, labels = _opened(reader, reads[1])
    if labels == "nk" and len(shapes[0]) == 2:
        return _contracted(reader, node, [reads[0], b], [shapes[0], b.shape], ["mk", labels], "mn")
    letters = iter("abcdefghijlmnopqrstuvwxyz")  # k: what is summed over
    leading = [next(letters) for _ in range(max(len(s) for s in shapes) - 2)]
    (m, n), terms = (next(letters), next(letters)), []
    for s, own in zip(shapes, ([m, "k"], ["k", n]), strict=True):
        own = ["k"] if len(s) == 1 else own
        terms.append("".join([*leading[len(leading) - len(s) + len(own) :], *own]))
    output = "".join([*leading, *[m] * (len(shapes[0]) > 1), *[n] * (len(shapes[1]) > 1)])
    return _contracted(reader, node, reads, shapes, terms, output)


def _opened(reader, matrix):
    """A closed-over matrix as it lies in memory, and the labels of its axes."""
    if isinstance(matrix, Read) and matrix.value.kind is Kind.TURNED:
        slot = matrix.value.inputs[0].attr.index
        return Open(slot, reader.recording.closures[slot]), "nk"
    return matrix, "kn"


def _by_rows(reader, node, reads, shapes):
    """Products of ``[B * H, K]``, each row of a sequence on its own, with a closed-over matrix; and what
    its gradient is made of, ``[K, B * H] @ [B * H, N]``.
    """
    a, (b, closed) = reads[0], _opened(reader, reads[1])
    role = merged(a.axes) if isinstance(a, Read) else ""
    if not role or (isinstance(b, Read) and a.axes[-1] != role):
        raise no_form("this product of rows of a sequence")
    turned, closed = a.axes[-1] == role, closed[: len(shapes[1])]
    rows, *k = shapes[0][::-1] if turned else shapes[0]
    h = rows // reader.batch
    left = Read(a.value, roles_of((reader.batch, h, *k), 0)), (reader.batch, h, *k), "bhk"[: 2 + len(k)]
    right, output = (b, b.shape, closed) if isinstance(b, Open) else None, "bh" + closed.strip("k")
    if right is None:
        shape = (reader.batch, h, *shapes[1][1:])
        right = Read(b.value, roles_of(shape, 0)), shape, "bhn"[: len(shape)]
        output = left[2][2:] + right[2][2:]
    found = _contracted(reader, node, *zip(left, right, strict=True), output)
    return Read(found.value, role + roles_of(node.shape[1:])) if "b" in output else found


def _einsum(reader, node, reads, terms, output):
    live = [i for i, r in enumerate(reads) if isinstance(r, Read)]
    if reader.recording.precision:  # else it would be a product
        return _contracted(reader, node, reads, [np.shape(x.data) for x in node.saved], terms, output)
    if len(reads) == 2 and len(live) == 1 and reads[live[0]].axes == "bf":
        row, matrix = terms[live[0]], terms[1 - live[0]]
        batch, k = row
        n = matrix.replace(k, "")
        if len(matrix) == 2 and k in matrix and batch not in matrix and output == batch + n:
            value = reader.closed(reads[1 - live[0]], "matrix").value
            turned, width = matrix[1] == k, np.shape(node.saved[1 - live[0]].data)[matrix.index(n)]
            product = Value(Kind.MATMUL, (reads[live[0]].value, value), width, True, turned)
            return Read(product, "b" + role_of(width))
    if len(live) == 2 == len(reads) and {reads[0].axes, reads[1].axes} <= {"bf", "b1"}:
        one, other = terms
        if one[0] == other[0] and one[1] != other[1] and output in (one[1] + other[1], other[1] + one[1]):
            left, right = reads if output[0] == one[1] else reads[::-1]
            return Read(Value(Kind.OUTER, (left.value, right.value), right.value.width, False), "kf")
    return _contracted(reader, node, reads, [np.shape(x.data) for x in node.saved], terms, output)


def _contracted(reader, node, reads, shapes, terms, output):
    """A sum of products by labels, one for each axis."""
    batch = {t[batch_of(r.axes)] for t, r in zip(terms, reads, strict=True) if has_batch(r)}
    if len(batch) > 1 or any(isinstance(r, Read) and not is_rows(r.axes.replace("c", "f")) for r in reads):
        raise unfit(node.op.name, reads, "the batch must be one axis")
    label, sizes = (batch.pop() if batch else ""), {}
    for t, s in zip(terms, shapes, strict=True):
        for c, n in zip(t, s, strict=True):
            sizes[c] = max(sizes.get(c, 1), n)
    free = [c for c in output if c != label]
    summed = [c for c in sizes if c not in output and c != label]
    order = _as_they_lie(free, summed, [t.replace(label, "") for t in terms])
    dims, factors = [sizes[c] for c in order], []
    for r, t, s in zip(reads, terms, shapes, strict=True):
        at = t.index(label) if label and label in t else None
        r = reader.along_batch(r, s, at)
        own = [c for c in t if c != label]
        columns = [n for c, n in zip(t, s, strict=True) if c != label]
        if r.value.width == 1:
            factors.append(r.value)
            continue
        a = np.arange(r.value.width).reshape(columns)
        a = a.transpose([own.index(c) for c in order if c in own])
        a = a.reshape([sizes[c] if c in own and s[t.index(c)] > 1 else 1 for c in order])
        factors.append(reader.view(r.value, np.broadcast_to(a, dims)))
    value = factors[0]
    for other in factors[1:]:
        value = pointwise("multiply", value, other)
    width = math.prod(sizes[c] for c in free)
    value = widened(value, math.prod(dims), value.rows) if summed else value
    if value.width > width:
        last = max(order.index(c) for c in summed)
        value = reduced(Kind.ROWSUM, value, width, math.prod(dims[last + 1 :]))
    if label and label not in output:
        value = Value(Kind.TOTAL, (widened(value, value.width, True),), value.width, False)
    at = output.index(label) if label and label in output else None
    return Read(widened(value, width, value.rows), roles_of([sizes[c] for c in output], at))


def _reduce(reader, node, reads, axis, keepdims):
    """A sum, mean, max or min over columns, over the batch, or over both."""
    name, shape = node.op.name, np.shape(node.saved[0].data)
    x = reader.row(name, reads[0])
    axis = tuple(range(len(shape))) if axis is None else axis
    if name == "sum" and axis == (0,) and merged(x.axes[:1]):  # of all sequences, and of features of each
        width = math.prod(shape[1:])
        value = reduced(Kind.ROWSUM, widened(x.value, x.value.width, True), width, width)
        axes = "1" * keepdims + x.axes[1:]
        return Read(Value(Kind.TOTAL, (value,), width, False), axes)
    roles = {x.axes[i] for i in axis}
    if not is_rows(x.axes) or ("b" in roles and name not in ("sum", "mean")):
        raise no_form(f"{name} of {a_row(x.axes)} over {axis}")
    value, count = x.value, math.prod(shape[i] for i in axis)
    if name in ("any", "all", "count_nonzero"):
        value = pointwise("not_equal", value, 0.0)
        x = Read(value, x.axes)
    if "f" in roles:
        value = _folded(reader, _REDUCTIONS[name], x, shape, [i for i in axis if x.axes[i] != "b"])
    if "b" in roles:
        value = Value(Kind.TOTAL, (value,), value.width, False)
    if name == "mean" and count != 1:
        if "b" in roles:
            raise TraceError(MIXES)
        value = pointwise("multiply", value, 1 / count)
    axes = "".join("1" if i in axis else r for i, r in enumerate(x.axes) if keepdims or i not in axis)
    return Read(value, axes)


def _folded(reader, kind, x, shape, axis):
    """A reduction over some of the axes of features: as they lie, if they are neighbours."""
    names, sizes = without_batch(range(len(shape)), x.axes), without_batch(shape, x.axes)
    picked = [names.index(i) for i in axis]
    rest = [i for i in range(len(sizes)) if i not in picked]
    width, wide = math.prod(sizes[i] for i in rest), sorted([i for i in picked if sizes[i] > 1])
    if all(i in picked for i in range(wide[0], wide[-1])):
        return reduced(kind, x.value, width, math.prod(sizes[wide[-1] + 1 :]))
    columns = np.arange(x.value.width).reshape(sizes).transpose([*rest, *picked])
    return reduced(kind, reader.view(x.value, columns), width)


_CUMULATED = {"cumsum": ("add", 0.0), "cumprod": ("multiply", 1.0)}  # the op, and what it begins with


def _cumulated(reader, node, reads, axis):
    """Sums or products up to each column, by shifts: so many steps as the size has bits."""
    name = node.op.name
    x, (op, fill) = reader.row(name, reads[0]), _CUMULATED[name]
    if not is_rows(x.axes) or axis == batch_of(x.axes):
        raise no_form(f"{name} along axis {axis} of {a_row(x.axes)}", "use the axes of features")
    sizes, value, shift = without_batch(node.shape, x.axes), x.value, 1
    axis = among_features(x.axes, axis)
    numbers = np.arange(value.width).reshape(sizes)
    while shift < sizes[axis]:
        rest = numbers.take(range(sizes[axis] - shift), axis)
        later = padded(reader.view(value, rest), rest.shape, axis, shift, 0, fill)
        value = Value(Kind.LAID, (pointwise(op, value, later),), value.width, value.rows, True)
        shift *= 2
    return Read(value, x.axes)


def _exponentials(reader, node, reads):
    """exp of x less its largest element along the last axis; the sum of that and the largest element,
    both also for each column of x; x.
    """
    name = node.op.name
    x, shape = reader.row(name, reads[0]), np.shape(node.saved[0].data)
    if x.axes[-1:] == "b":
        raise TraceError(MIXES)
    if not x.axes or not is_rows(x.axes):
        raise no_form(f"{name} along an axis of {a_row(x.axes)}", "use an axis of features")
    width = x.value.width // shape[-1]
    whole = np.repeat(np.arange(width), shape[-1])

    def along(kind, value):
        found = reduced(kind, value, width)
        return found, reader.view(found, whole) if width > 1 else found

    top, tops = along(Kind.ROWMAX, x.value)
    if name == "logsumexp":  # an infinite one is not subtracted: of nothing but -inf that is -inf, not NaN
        top, tops = [
            pointwise("where", pointwise("equal", t, pointwise("add", t, t)), 0.0, t) for t in (top, tops)
        ]
    e = pointwise("exp", pointwise("subtract", x.value, tops))
    total, totals = along(Kind.ROWSUM, e)
    return e, (total, totals), (top, tops), x


def _softmax(reader, node, reads):
    e, (_, totals), _, x = _exponentials(reader, node, reads)
    return Read(pointwise("divide", e, totals), x.axes)


def _logsumexp(reader, node, reads):
    _, (total, _), (top, _), x = _exponentials(reader, node, reads)
    return Read(pointwise("add", pointwise("log", total), top), x.axes[:-1])


def _log_softmax(reader, node, reads):
    _, (_, totals), (_, tops), x = _exponentials(reader, node, reads)
    return Read(pointwise("subtract", x.value, pointwise("add", pointwise("log", totals), tops)), x.axes)


def _as_they_lie(free, summed, terms) -> list:
    """The labels of columns, those that are ``summed`` beside each other: in the order of one of ``terms``,
    which is then read as it lies in memory, where one has them all so.
    """
    for t in terms:
        first = min([t.find(c) for c in summed], default=-1)
        last = first + len(summed)
        if first >= 0 and {*t[first:last]} == {*summed} and [*t[:first], *t[last:]] == free:
            return [*t]
    return [*free, *summed]


LOWERED = {
    "matmul": _matmul,
    "rounded_matmul": _matmul,
    "einsum": _einsum,
    "softmax": _softmax,
    "logsumexp": _logsumexp,
    "log_softmax": _log_softmax,
    "sum": _reduce,
    "mean": _reduce,
    "max": _reduce,
    "min": _reduce,
    "prod": _reduce,
    "any": _reduce,
    "all": _reduce,
    "count_nonzero": _reduce,
    "cumsum": _cumulated,
    "cumprod": _cumulated,
}
