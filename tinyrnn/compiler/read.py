"""From the tape of a step to a program.

Each axis of every tensor on the tape has a role: ``b`` the batch, ``f`` features, ``1`` a size of 1. Roles
come from the inputs of the step and are carried on from op to op; a closed-over tensor gets those of what it
is combined with. They, not sizes, decide what a value is, so that a batch as large as a row of features is no
trouble. What is not rows ``[B, w]`` made by the kinds of `ir.Kind` raises `TraceError`, and the step runs
eagerly.
"""

import copy
import itertools
from typing import NamedTuple

import numpy as np

from ..autograd.tape import ITEM, Node, Tensor
from ..base.devices import to_device
from ..base.errors import TraceError
from .ir import (
    SUMS,
    Closed,
    CompilerFault,
    Input,
    Kind,
    Program,
    Source,
    Value,
    aliased,
    needs_grad,
    number,
    order,
    pointwise,
    sliced,
    verify,
    widened,
)

TRUTHS = frozenset(  # pointwise ops that give truth values of numbers and truth values alike
    "equal not_equal less less_equal greater greater_equal logical_and logical_or logical_not logical_xor "
    "isnan isinf isfinite where maximum minimum multiply".split()
)
MOVES = frozenset(
    "reshape broadcast_to getitem place permute_dims split concat detach astype sum max min".split()
)
_REDUCTIONS = {"sum": Kind.ROWSUM, "max": Kind.ROWMAX, "min": Kind.ROWMIN, "mean": Kind.ROWSUM}
_LAYOUTS = frozenset(["", "1", "f", "b", "11", "1f", "b1", "bf"])  # that a row can have
_MATRICES = frozenset(["ff", "f1"])
_ROWS_ONLY = frozenset("broadcast_to place concat".split())  # ops that no matrix goes through
_SHAPED = frozenset("reshape getitem".split()) | _ROWS_ONLY  # and whose result has roles of its own


class Read(NamedTuple):
    """A Value, and the roles of its tensor's axes."""

    value: Value
    axes: str


class Open(NamedTuple):
    """A closed-over tensor whose axes have no roles yet."""

    slot: int
    tensor: Tensor


def a_row(axes) -> str:
    """The roles, for messages."""
    return "[" + ", ".join({"b": "batch", "f": "features", "1": "1"}[r] for r in axes) + "]"


_MIXES = "the step mixes the sequences of a batch"


def no_form(what, instead="a step must work on [batch, features]"):
    """The error of a step that does ``what`` no loop can do."""
    return TraceError(f"{what} has no compiled form: {instead}")


class Reader:
    """Turns the nodes of a `Recording`, and of its derivative, into Values; the same node always into the
    same Value.
    """

    def __init__(self, recording):
        self.recording, self.batch, self.dtype = recording, recording.batch, recording.dtype
        self.reads = {}  # node -> Read; of an op with several outputs: a list
        self.makers = {}  # Value -> the node that made it
        self.forms = {}  # (slot, axes or "matrix") -> Value
        # of a node's number: (node, position) -> Value; of a filled closure: its slot -> Value
        self.arguments = {}
        # of a tensor without a place on the tape, and of a number: a tensor that has one
        self.substitutes = {}
        self._stand_in()
        for node, given in recording.inputs.items():
            self._refuse_hooks(node)
            width = node.shape[1]
            self._give(node, Read(Value(Kind.INPUT, (), width, True, given), "b" + role_of(width)))

    def _stand_in(self):
        """Put tensors of its own on the recording's tape for those that have no place there, and for numbers.

        A derivative that uses them is then recorded with all it is made of. The tape is the recording's own.
        """
        count, seen = itertools.count(), set()

        def argument(data):
            read = Read(Value(Kind.INPUT, (), 1, False, Input(Source.ARGUMENT, next(count))), "")
            standing = _placed(to_device(np.asarray(data, self.dtype), self.recording.device))
            self.reads[standing.node] = read
            return standing

        def met(x):
            """The slot of a closed-over tensor; one that is filled with a number has an argument."""
            slot = self.recording.slot_of(x)
            if slot is not None and slot not in seen:
                seen.add(slot)
                if self.recording.is_filled(x):
                    self.arguments[slot] = self.reads[argument(float(x.data.flat[0])).node].value
            return slot

        def standing(x, place):
            if not isinstance(x, Tensor):
                return argument(x) if place in self.recording.arguments else x
            slot = met(x)
            if slot is None or x.node is not None:
                return x
            if slot not in self.substitutes:
                self.substitutes[slot] = _placed(x.data)
            return self.substitutes[slot]

        for line, node in enumerate(self.recording.nodes):
            if node.op is not ITEM:
                node.saved = [standing(x, (line, i)) for i, x in enumerate(node.saved)]
        for t in self.recording.news:
            met(t)
        self.count = next(count)
        self.slots = {t.node: slot for slot, t in self.substitutes.items()}

    def _give(self, node, read):
        self.reads[node] = read
        if isinstance(read, Read):
            self.makers.setdefault(read.value, node)

    def with_values(self, new) -> "Reader":
        """A reader of the same tape, for which every Value is what ``new`` says."""
        other = copy.copy(self)
        other.reads = {}
        for node, read in self.reads.items():
            several = isinstance(read, list)
            reads = [r._replace(value=new.get(r.value, r.value)) for r in (read if several else [read])]
            other.reads[node] = reads if several else reads[0]
        return other

    def program(self) -> Program:
        """The program of the step."""
        news = []
        for k, t in enumerate(self.recording.news):
            if t.dtype != self.dtype:
                raise TraceError(f"state {k} changes its dtype from {self.dtype} to {t.dtype}")
            news.append(self.rows(self.read(t), t.shape))
        if any(v.kind in SUMS or v.kind is Kind.TURNED for v in order(news)):
            raise TraceError(_MIXES)
        closures = tuple([self._closure(slot, t) for slot, t in enumerate(self.recording.closures)])
        program = Program(tuple(news), self.recording.widths, closures, self.count)
        verify(program)
        return program

    def _closure(self, slot, t) -> Closed:
        """How the step uses what it closes over."""
        forms = {axes for s, axes in self.forms if s == slot}
        by_batch = any("b" in axes for axes in forms)
        if by_batch and len(forms) > 1:
            both = "is used in two ways, as rows of the batch and otherwise"
            raise TraceError(f"a closed-over tensor {list(t.shape)} {both}")
        shape = tuple([None if by_batch and i == 0 else n for i, n in enumerate(t.shape)])
        grad = needs_grad(t) and bool(forms)
        if grad and t.dtype != self.dtype:
            mend = "bring them to one dtype, with astype()"
            raise TraceError(f"it closes over {t.dtype}, x and states are {self.dtype}: {mend}")
        return Closed(slot, grad, shape)

    def rows(self, read, shape) -> Value:
        """A new state as rows ``[B, w]``."""
        if isinstance(read, Open):
            read = self.closed(read, "b" + role_of(shape[1]))
        if read.axes not in ("bf", "b1"):
            mend = "a step must return rows [batch, features]"
            raise TraceError(f"a state has the axes {a_row(read.axes)}: {mend}")
        return read.value

    # ------------------------------------------------------------------ operands

    def read(self, x):
        """The `Read` of an operand, or `Open` for a closed-over tensor."""
        if not isinstance(x, Tensor):
            return Read(number(x), "")
        if x.node is not None and x.node in self.reads:
            return self.reads[x.node]
        slot = self.slots.get(x.node) if x.node is not None else None
        slot = self.recording.slot_of(x) if slot is None else slot
        if slot is not None:
            return Open(slot, x)
        if x.node is None:
            return self._constant(x)
        self._read_nodes(x.node)
        return self.reads[x.node]

    def _constant(self, x):
        """A tensor that a derivative made: all its elements are one number."""
        rows, width = x.ndim > 0 and x.shape[0] == self.batch, x.shape[-1] if x.ndim else 1
        known = rows or x.shape[0] == 1 if x.ndim == 2 else x.ndim == 0 or (x.ndim == 1 and not rows)
        if not known or not x.size or not (x.data == x.data.flat[0]).all():
            raise TraceError("a derivative of the step uses a constant that the step does not have")
        axes = ("b" if rows else "1") * (x.ndim - 1) + role_of(width) if x.ndim else ""
        return Read(widened(number(x.data.flat[0]), width, rows), axes)

    def closed(self, given, axes) -> Read:
        """A closed-over tensor as a row, as rows of the batch, or as a matrix: ``axes`` is "matrix" or its
        roles.
        """
        slot, t = given
        if "b" in axes and slot in self.arguments and t.shape[0] == self.batch:
            return Read(widened(self.arguments[slot], t.shape[1], True), axes)
        if (slot, axes) not in self.forms:
            attr = Input(Source.CLOSURE, slot)
            if axes == "matrix":
                value = Value(Kind.INPUT, (), t.shape[1], False, attr, t.shape[0])
            else:
                width = t.shape[-1] if t.ndim and axes[-1] != "b" else 1
                value = Value(Kind.INPUT, (), width, "b" in axes, attr)
            self.forms[slot, axes] = value
        return Read(self.forms[slot, axes], axes)

    def own_axes(self, given) -> str:
        """The roles of a closed-over tensor that meets nothing but numbers and others of its kind."""
        shape = given.tensor.shape
        if len(shape) > 2:
            raise TraceError(f"it closes over a tensor {list(shape)}: a loop can use at most a matrix")
        return "".join("1" if n == 1 else "f" for n in shape)

    def aligned(self, name, reads, shape):
        """``reads`` with roles for closed-over tensors, and the roles of the result ``shape``, by NumPy's
        broadcasting.
        """
        known = [r for r in reads if isinstance(r, Read)]
        axes = ""
        for back in range(1, len(shape) + 1):
            here = {r.axes[-back] for r in known if len(r.axes) >= back}
            if {"b", "f"} <= here or ("b" in here and shape[-back] != self.batch):
                raise self._unfit(name, reads, "the batch meets an axis of features")
            role = "b" if "b" in here else "f" if "f" in here or shape[-back] != 1 else "1"
            axes = role + axes
        out = []
        for r in reads:
            if isinstance(r, Open):
                own = r.tensor.shape
                roles = zip(own, axes[len(axes) - len(own) :], strict=True)
                r = self.closed(r, "".join(["1" if n == 1 else role for n, role in roles]))
            out.append(r)
        return out, axes

    def _unfit(self, name, reads, why):
        shapes = [a_row(r.axes) if isinstance(r, Read) else str(list(r.tensor.shape)) for r in reads]
        return no_form(f"{name} of {' and '.join(shapes)} ({why})")

    # ------------------------------------------------------------------ nodes

    def _read_nodes(self, node):
        """Read ``node`` and what it was made of (no recursion: tapes are long)."""
        todo = [node]
        while todo:
            current = todo[-1]
            if current in self.reads:
                todo.pop()
                continue
            missing = [n for n in self._needed(current) if n not in self.reads]
            if missing:
                todo.extend(missing)
                continue
            read = self._lower(current)
            if isinstance(read, Read) and read.axes != "matrix":
                self._check(current, *read)
            self._give(current, read)

    def _check(self, node, value, axes):
        """Refuse a layout that is none of rows. Roles say what the sizes are: of a wrong reading the two
        would not agree.
        """
        shaped = node.op is not ITEM and (node.op.rule or node.op.name in _SHAPED) and axes not in _LAYOUTS
        if shaped and (axes not in _MATRICES or node.op.name in _ROWS_ONLY):
            raise no_form(f"{node.op.name} to {a_row(axes)}")
        sizes = {"1": 1, "b": self.batch, "f": value.width}
        fits = value.rows == ("b" in axes) and [sizes[r] for r in axes] == list(node.shape)
        if not fits and axes not in ("ff", "fb", "1b"):
            raise CompilerFault(f"{node.op} of shape {list(node.shape)} was read as {a_row(axes)}, {value!r}")

    def _needed(self, node):
        if node.op is ITEM:
            return [node.parents[0]]
        if node.op is None:
            return []
        nodes = [x.node for x in node.saved if isinstance(x, Tensor) and x.node is not None]
        return [n for n in nodes if n not in self.slots and not self.recording.has_slot(n)]

    def _refuse_hooks(self, node):
        if node.hooks:
            raise TraceError("it hooks a gradient (register_hook): write the change into the equations")

    def _lower(self, node):
        """The Read of one node whose operands have been read."""
        if node.op is ITEM:
            return self.reads[node.parents[0]][node.params["i"]]
        if node.op is None:
            raise TraceError("its derivative meets a tensor that the step does not have")
        self._refuse_hooks(node)
        name, reads = node.op.name, [self.read(x) for x in node.saved]
        lower = getattr(self, f"_{name}", None)
        if not node.op.rule and lower is None:
            raise TraceError(f"the op {name} has no compiled form")
        self._check_dtype(node, name)
        if lower is not None:
            return lower(node, reads, **node.params)
        reads, axes = self.aligned(name, reads, node.shape)
        return Read(pointwise(name, *[r.value for r in reads]), axes)

    def _check_dtype(self, node, name):
        """Floats are of the one dtype of the loop; truth values and counts of them are numbers in it, and
        must act as such.
        """
        kinds = "biu" if name in MOVES else "b" if name in TRUTHS else ""
        for dtype in node.dtype if isinstance(node.dtype, list) else [node.dtype]:
            if dtype != self.dtype and dtype.kind not in kinds:
                mend = "write .astype(h.dtype) before it, or cast outside of the step"
                raise TraceError(f"{name} makes {dtype} where x and states are {self.dtype}: {mend}")

    def _row(self, name, read) -> Read:
        """An operand that has roles; a closed-over one gets its own."""
        return self.closed(read, self.own_axes(read)) if isinstance(read, Open) else read

    # ------------------------------------------------------------------ shapes

    def _reshape(self, node, reads, newshape):
        x, old = self._row("reshape", reads[0]), np.shape(node.saved[0].data)
        pending = [(role, n) for role, n in zip(x.axes, old, strict=True) if role != "1"]
        axes = ""
        for n in node.shape:
            if pending and pending[0][1] == n:
                axes += pending.pop(0)[0]
            elif n == 1:
                axes += "1"
            else:
                break
        if pending or len(axes) < len(node.shape):
            raise no_form(f"reshape from {list(old)} to {list(node.shape)}")
        return Read(x.value, axes)

    def _broadcast_to(self, node, reads, to):
        x = self._row("broadcast_to", reads[0])
        axes = ""
        for back in range(1, len(node.shape) + 1):
            role, n = x.axes[-back] if len(x.axes) >= back else "1", node.shape[-back]
            if role == "1" and n != 1:
                if back > 1 and n != self.batch:
                    raise no_form(f"broadcast from {a_row(x.axes)} to {list(node.shape)}")
                role = "f" if back == 1 else "b"
            axes = role + axes
        width = node.shape[-1] if axes and axes[-1] == "f" else 1
        return Read(widened(x.value, width, "b" in axes), axes)

    def _astype(self, node, reads, dtype):
        x = self._row("astype", reads[0])
        was = node.saved[0].dtype
        if was == dtype:
            return x
        if dtype.kind in "iu" and was.kind == "f":
            raise no_form(f"astype from {was} to {dtype}", "round with floor() or round()")
        if dtype.kind == "b":
            return Read(pointwise("not_equal", x.value, number(0.0)), x.axes)
        return Read(aliased(Kind.CAST, x.value), x.axes)

    def _detach(self, node, reads):
        x = self._row("detach", reads[0])
        return Read(aliased(Kind.DETACH, x.value), x.axes)

    def _split(self, node, reads, axis, points):
        x = self._row("split", reads[0])
        self._features("split", axis, x.axes)
        ends = list(itertools.pairwise([0, *points, x.value.width]))
        if any(a == b for a, b in ends):
            raise TraceError("split makes a part without columns")
        return [Read(sliced(x.value, a, b), x.axes[:-1] + role_of(b - a)) for a, b in ends]

    def _concat(self, node, reads, axis, shapes):
        live = next((r for r in reads if isinstance(r, Read)), None)
        first = live.axes[:-1] if live else self.own_axes(reads[0])[:-1]

        def beside(read):
            if isinstance(read, Read):
                return read
            shape = read.tensor.shape
            rows = "1" if len(shape) > 1 and shape[0] == 1 else first
            return self.closed(read, rows + role_of(shape[-1]))

        reads, axes = [beside(r) for r in reads], first + role_of(node.shape[-1])
        self._features("concat", axis, axes)
        if any(r.axes[:-1] != first and "b" in r.axes for r in reads):
            raise self._unfit("concat", reads, "they lie otherwise")
        parts = tuple([r.value for r in reads])
        return Read(Value(Kind.CONCAT, parts, sum(p.width for p in parts), any(p.rows for p in parts)), axes)

    def _features(self, name, axis, axes):
        if axis != len(axes) - 1 or axes[axis] == "b":
            raise no_form(f"{name} along axis {axis} of {a_row(axes)}", "use the axis of features")

    def _getitem(self, node, reads, key):
        x = self._row("getitem", reads[0])
        axes, value = "", x.value
        for role, n, k in self._picked(key, x.axes, np.shape(node.saved[0].data)):
            if role is None:
                axes += "1"
            elif role == "f":
                first, last = _range(k, n)
                value = sliced(value, first, last)
                axes += "" if isinstance(k, int) else role_of(last - first)
            else:
                axes += "" if isinstance(k, int) else role
        return Read(value, axes)

    def _place(self, node, reads, key, into):
        """The transpose of `_getitem`: zeros but at ``key``."""
        g = self._row("place", reads[0])
        axes, value, theirs = "", g.value, iter(g.axes)
        for role, n, k in self._picked(key, "?" * len(into), into):
            given = None if isinstance(k, int) else next(theirs, None)
            if role is None:
                continue
            role = "b" if given == "b" else "f" if n > 1 else "1"
            if role == "f" and (n != value.width or given is None):
                value = Value(Kind.PLACE, (value,), n, value.rows, _range(k, n)[0])
            axes += role
        return Read(value, axes)

    def _picked(self, key, axes, shape):
        """For each axis, and each None in ``key``: (role or None, size, key). Raises for what picks from the
        batch.
        """
        keys = list(key) if isinstance(key, tuple) else [key]
        if Ellipsis not in keys:
            keys.append(Ellipsis)
        i, named = keys.index(Ellipsis), sum(k is not None and k is not Ellipsis for k in keys)
        keys[i : i + 1] = [slice(None)] * (len(shape) - named)
        out, axis = [], 0
        for k in keys:
            if k is None:
                out.append((None, 1, None))
                continue
            role, n = axes[axis], shape[axis]
            if role in "b1" and isinstance(k, slice) and k.indices(n) != (0, n, 1):
                raise no_form("indexing along the batch", "use slices of the axis of features")
            if role == "b" and not isinstance(k, slice):
                raise TraceError("one sequence of the batch is picked: a step must treat all alike")
            out.append((role, n, k))
            axis += 1
        return out

    # ------------------------------------------------------------------ products and reductions

    def _permute_dims(self, node, reads, axes):
        if axes == tuple(range(len(axes))):
            return self._row("permute_dims", reads[0])
        if axes != (1, 0):
            raise no_form("transposing more than a matrix")
        x = self.closed(reads[0], "matrix") if isinstance(reads[0], Open) else reads[0]
        axes = x.axes if x.axes == "matrix" else x.axes[::-1]
        if x.value.kind is Kind.TURNED:
            return Read(x.value.inputs[0], axes)
        return Read(Value(Kind.TURNED, (x.value,), np.shape(node.saved[0].data)[0], x.value.rows), axes)

    def _matmul(self, node, reads):
        a, b = reads
        shapes = [list(np.shape(x.data)) for x in node.saved]
        if [len(s) for s in shapes] != [2, 2]:
            raise no_form(f"matmul of shapes {shapes}", "use [batch, k] @ [k, n]")
        if isinstance(a, Open):
            raise no_form(
                f"a product of a closed-over {shapes[0]} from the left", "write h @ U.T for (U @ h.T).T"
            )
        width = shapes[1][1]
        if a.axes in ("fb", "1b"):
            if isinstance(b, Open) or b.axes not in ("bf", "b1"):
                raise no_form("a product over the batch")
            return Read(Value(Kind.OUTER, (a.value.inputs[0], b.value), width, False), "ff")
        b = self.closed(b, "matrix") if isinstance(b, Open) else b
        turned = b.value.kind is Kind.TURNED
        matrix = b.value.inputs[0] if turned else b.value
        if b.axes != "matrix" or not matrix.is_input(Source.CLOSURE):
            raise no_form("a product with a matrix that changes over time")
        if a.axes not in ("bf", "b1"):
            raise no_form(f"a product of {a_row(a.axes)}")
        return Read(Value(Kind.MATMUL, (a.value, matrix), width, True, turned), "b" + role_of(width))

    def _reduce(self, node, reads, axis, keepdims):
        """A sum, mean, max or min over columns, over the batch, or over both."""
        name, shape = node.op.name, np.shape(node.saved[0].data)
        x = self._row(name, reads[0])
        axis = tuple(range(len(shape))) if axis is None else axis
        roles = {x.axes[i] for i in axis}
        value, count = x.value, 1
        if x.axes not in _LAYOUTS or ("b" in roles and name in ("max", "min")):
            raise no_form(f"{name} of {a_row(x.axes)} over {axis}")
        if "f" in roles:
            count *= shape[-1]
            value = Value(_REDUCTIONS[name], (value,), 1, value.rows)
        if "b" in roles:
            count *= self.batch
            value = Value(Kind.TOTAL, (value,), value.width, False)
        if name == "mean" and count != 1:
            if "b" in roles:
                raise TraceError(_MIXES)
            value = pointwise("multiply", value, 1 / count)
        axes = "".join("1" if i in axis else r for i, r in enumerate(x.axes) if keepdims or i not in axis)
        return Read(value, axes)

    _sum = _mean = _max = _min = _reduce

    def _exponentials(self, name, reads):
        """exp of x less its largest element, the sum of that, the largest element; and the roles of x."""
        x = self._row(name, reads[0])
        if x.axes[-1:] == "b":
            raise TraceError(_MIXES)
        if not x.axes or x.axes not in _LAYOUTS:
            raise no_form(f"{name} along an axis of {a_row(x.axes)}", "use the axis of features")
        top = Value(Kind.ROWMAX, (x.value,), 1, x.value.rows)
        if (
            name == "logsumexp"
        ):  # an infinite one is not subtracted: of nothing but -inf that is -inf, not NaN
            infinite = pointwise("equal", top, pointwise("add", top, top))  # or 0
            top = pointwise("where", infinite, 0.0, top)
        e = pointwise("exp", pointwise("subtract", x.value, top))
        return e, Value(Kind.ROWSUM, (e,), 1, x.value.rows), top, x

    def _softmax(self, node, reads):
        e, total, _, x = self._exponentials("softmax", reads)
        return Read(pointwise("divide", e, total), x.axes)

    def _logsumexp(self, node, reads):
        _, total, top, x = self._exponentials("logsumexp", reads)
        return Read(pointwise("add", pointwise("log", total), top), x.axes[:-1])

    def _log_softmax(self, node, reads):
        _, total, top, x = self._exponentials("log_softmax", reads)
        return Read(pointwise("subtract", x.value, pointwise("add", pointwise("log", total), top)), x.axes)


def _placed(data):
    """A tensor over ``data`` that has a place on the tape."""
    return Tensor(data, Node(None, (), None, data))


def role_of(n) -> str:
    """The role of an axis of features."""
    return "f" if n > 1 else "1"


def _range(key, n):
    """First column, and the one after the last, that a key picks of ``n``."""
    if isinstance(key, int):
        first = key % n
        return first, first + 1
    first, last, step = key.indices(n)
    if step != 1 or first >= last:
        raise TraceError("slices of the features must go up by one, and not be empty")
    return first, last
