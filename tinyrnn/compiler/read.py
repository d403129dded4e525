"""From the tape of a step to a program.

Each axis of every tensor on the tape has a role: ``b`` the batch, ``f`` features, ``1`` a size of 1. Roles
come from the inputs of the step and are carried on from op to op; a closed-over tensor gets those of what it
is combined with. They, not sizes, decide what a value is, so that a batch as large as a row of features is no
trouble. Features may have several axes, before and after the batch: a value is a row of them all, and what
moves them is a view of it. A matrix that rows are multiplied by has the roles ``kf`` where it is a gradient;
``p`` is the batch and features in one axis, ``[B * H, N]``, and ``q`` features and the batch; ``c`` is a
number that a derivative repeats, of which no more is known than its size. What is none of these, or not made
by the kinds of `ir.Kind`, raises `TraceError`, and the step runs eagerly.
"""

import copy
import itertools
import math
import operator
import re
from typing import NamedTuple

import numpy as np

from ..autograd.shaping import is_basic
from ..autograd.tape import ITEM, Node, Tensor
from ..base.devices import to_device
from ..base.errors import TraceError
from .ir import (
    CUSTOM,
    SUMS,
    Closed,
    CompilerFault,
    Input,
    Kind,
    Program,
    Source,
    Value,
    aliased,
    beside,
    framed,
    index,
    needs_grad,
    number,
    order,
    placed,
    pointwise,
    reduced,
    verify,
    viewed,
    widened,
)
from .views import SEVERAL, View, view_of

TRUTHS = frozenset(  # pointwise ops that give truth values of numbers and truth values alike
    "equal not_equal less less_equal greater greater_equal logical_and logical_or logical_not logical_xor "
    "isnan isinf isfinite where maximum minimum multiply".split()
)
MOVES = frozenset(
    "reshape broadcast_to getitem gather place permute_dims split concat stack unstack flip roll pad detach "
    "astype sum max min argmax argmin count_nonzero any all take_along_axis lookup".split()
)
_REDUCTIONS = {
    "sum": Kind.ROWSUM, "mean": Kind.ROWSUM, "count_nonzero": Kind.ROWSUM, "max": Kind.ROWMAX,
    "any": Kind.ROWMAX, "min": Kind.ROWMIN, "all": Kind.ROWMIN, "prod": Kind.ROWPROD,
}  # fmt: skip
_LAYOUT = re.compile("[f1]*b?[f1]*")  # of what is rows, or one row
_SHAPED = frozenset(  # ops whose result has roles of its own
    "reshape getitem gather broadcast_to place concat stack flip roll pad".split()
)


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
    names = {"b": "batch", "1": "1", "p": "batch * features", "q": "features * batch"}
    return "a matrix" if axes == "matrix" else f"[{', '.join([names.get(r, 'features') for r in axes])}]"


_CONSTANT = "a derivative of the step uses a constant that the step does not have"
_MIXES = "the step mixes the sequences of a batch: take sums, means and products over the features of each"
_MEND = "write it with other ops, or compute it for all steps before the loop, as part of xs"
_MENDS = {"dropout": "use recurrent_dropout or zoneout of tr.RNN, or multiply by tr.bernoulli"}


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
            width = math.prod(node.shape[1:])
            self._give(node, Read(Value(Kind.INPUT, (), width, True, given), roles_of(node.shape, 0)))

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
                    self.arguments[slot] = self.reads[argument(float(x.data.reshape(-1)[0])).node].value
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
            if isinstance(read, Open):
                other.reads[node] = read
                continue
            several = isinstance(read, list)
            reads = [r._replace(value=new.get(r.value, r.value)) for r in (read if several else [read])]
            other.reads[node] = reads if several else reads[0]
        return other

    def program(self) -> Program:
        """The program of the step."""
        news = []
        for k, t in enumerate(self.recording.news):
            if t.dtype != self.dtype:
                mend = f"write .astype(h.dtype) where that comes in, or use tensors of {self.dtype}"
                error = TraceError(f"state {k} changes its dtype from {self.dtype} to {t.dtype}: {mend}")
                raise error.at(next((n for n in self.recording.nodes if n.dtype == t.dtype), None))
            news.append(self.rows(self.read(t), t.shape))
        for v in order(news):
            if v.kind in SUMS or v.kind is Kind.TURNED:
                raise TraceError(_MIXES).at(self.makers.get(v))
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
            error = TraceError(f"a closed-over tensor {list(t.shape)} {both}")
            raise error.at(self.recording.user_of(slot))
        shape = tuple([None if by_batch and i == 0 else n for i, n in enumerate(t.shape)])
        grad = needs_grad(t) and bool(forms)
        if grad and t.dtype != self.dtype:
            mend = "bring them to one dtype, with astype()"
            error = TraceError(f"it closes over {t.dtype}, x and states are {self.dtype}: {mend}")
            raise error.at(self.recording.user_of(slot))
        return Closed(slot, grad, shape)

    def rows(self, read, shape) -> Value:
        """A new state as rows ``[B, w]``."""
        if isinstance(read, Open):
            read = self.closed(read, roles_of(shape, 0))
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
        if not x.size or not (x.data == x.data.reshape(-1)[0]).all():
            raise TraceError(_CONSTANT)
        value, rows = number(x.data.reshape(-1)[0]), x.ndim > 1 and x.shape[0] == self.batch
        if not rows and x.ndim and (x.shape[0] != 1 if x.ndim > 1 else x.shape[0] == self.batch):
            return Read(value, "c" * x.ndim)
        width = math.prod(x.shape[1:] if rows else x.shape)
        return Read(widened(value, width, rows), roles_of(x.shape, 0 if rows else None))

    def closed(self, given, axes) -> Read:
        """A closed-over tensor as a row, as rows of the batch, or as a matrix: ``axes`` is "matrix" or its
        roles.
        """
        slot, t, order = given
        if order is not None:
            base = self.closed(Open(slot, t), "".join([axes[order.index(i)] for i in range(t.ndim)]))
            columns, roles = self._columns("permute_dims", base.axes, t.shape, lambda a: a.transpose(order))
            return Read(self._view(base.value, columns), roles)
        at = batch_of(axes)
        if at is not None and slot in self.arguments and t.shape[at] == self.batch:
            return Read(widened(self.arguments[slot], math.prod(without_batch(t.shape, axes)), True), axes)
        if at:
            raise no_form(f"a closed-over {list(t.shape)} with the batch as axis {at}", "put the batch first")
        if (slot, axes) not in self.forms:
            attr = Input(Source.CLOSURE, slot)
            if axes == "matrix":
                value = Value(Kind.INPUT, (), t.shape[1], False, attr, t.shape[0])
            else:
                value = Value(Kind.INPUT, (), math.prod(without_batch(t.shape, axes)), "b" in axes, attr)
            self.forms[slot, axes] = value
        return Read(self.forms[slot, axes], axes)

    def own_axes(self, given) -> str:
        """The roles of a closed-over tensor that meets nothing but numbers and others of its kind."""
        return roles_of(given.shape, 0 if given.slot in self.arguments else None)

    def aligned(self, name, reads, shape):
        """``reads`` with roles for closed-over tensors, and the roles of the result ``shape``, by NumPy's
        broadcasting.
        """
        known = [r.axes for r in reads if isinstance(r, Read)]
        if not any("b" in own for own in known):
            known += [self.own_axes(r) for r in reads if isinstance(r, Open) and r.slot in self.arguments]
        axes = ""
        for back in range(1, len(shape) + 1):
            here = {own[-back] for own in known if len(own) >= back} - {"1"}
            if here == {"c"} and not any(isinstance(r, Open) for r in reads):
                raise TraceError(_CONSTANT)
            here -= {"c"}
            if len(here) > 1 or ("b" in here and shape[-back] != self.batch):
                raise self._unfit(name, reads, "the batch meets an axis of features")
            axes = (here.pop() if here else "f" if shape[-back] != 1 else "1") + axes
        out = []
        for r in reads:
            if isinstance(r, Open):
                own = r.shape
                roles = zip(own, axes[len(axes) - len(own) :], strict=True)
                r = self.closed(r, "".join(["1" if n == 1 else role for n, role in roles]))
            out.append(self.spread(r, axes, shape) if is_rows(axes) else r)
        return out, axes

    def spread(self, read, axes, shape):
        """``read`` broadcast to the features of ``shape``, whose roles are ``axes``. One column stays one, as
        it is in a loop.
        """
        value, features = read.value, without_batch(shape, axes)
        if value.width in (1, math.prod(features)):
            return read
        own = zip(
            read.axes, axes[len(axes) - len(read.axes) :], shape[len(axes) - len(read.axes) :], strict=True
        )
        sizes = [1 if role == "1" else n for role, whole, n in own if whole != "b"]
        columns = np.broadcast_to(np.arange(value.width).reshape(sizes), features)
        return Read(self._view(value, columns), read.axes)

    def _view(self, value, columns) -> Value:
        """The ``columns`` of a value, an array of their numbers: one view, or several side by side."""
        found = viewed(value, columns)
        if found is not None:
            return found
        columns = np.reshape(columns, -1)
        bounds, parts = [0], []
        while bounds[-1] < columns.size:
            first = bounds[-1]
            steps = np.flatnonzero(np.diff(np.diff(columns[first:])))
            bounds.append(first + int(steps[0]) + 2 if steps.size else columns.size)
            parts.append(viewed(value, columns[first : bounds[-1]]))
            if len(parts) > SEVERAL:
                raise no_form(
                    "an index without a rule", "pick columns by slices, or by a product with a matrix"
                )
        return beside(parts)

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
            try:
                read = self._lower(current)
                if isinstance(read, Read) and read.axes != "matrix":
                    self._check(current, *read)
            except TraceError as error:
                error.at(current)
                raise
            self._give(current, read)

    def _check(self, node, value, axes):
        """Refuse a layout that is none of rows. Roles say what the sizes are: of a wrong reading the two
        would not agree.
        """
        if {*"kpq"} & {*axes}:
            return
        if not is_rows(axes):
            raise no_form(f"{node.op.name if node.op is not ITEM else 'a part'} to {a_row(axes)}")
        width = math.prod(without_batch(node.shape, axes))
        batch = {n for n, role in zip(node.shape, axes, strict=True) if role == "b"} <= {self.batch}
        if value.rows != ("b" in axes) or value.width != width or not batch:
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
            raise TraceError(f"the op {name} has no compiled form: {_MENDS.get(name, _MEND)}")
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

    def _moved(self, node, reads, move):
        """An op that moves features: ``move`` is what it does to an array."""
        x = self._row(node.op.name, reads[0])
        columns, roles = self._columns(node.op.name, x.axes, np.shape(node.saved[0].data), move)
        return Read(self._view(x.value, columns), roles)

    def _columns(self, name, axes, shape, move):
        """The numbers of a tensor's columns, as ``move`` leaves them behind, and the roles of the result."""
        if not is_rows(axes):
            raise no_form(f"{name} of {a_row(axes)}")
        at, sizes = batch_of(axes), without_batch(shape, axes)
        numbers = np.arange(math.prod(sizes)).reshape(sizes)
        if at is None:
            moved = move(numbers)
            return moved, roles_of(moved.shape)
        moved = move(np.stack([numbers, numbers + numbers.size], at))  # two sequences, to see where they are
        apart = [(np.diff(moved, axis=i) == numbers.size).all() for i in range(moved.ndim)]
        at = next(i for i, n in enumerate(moved.shape) if n == 2 and apart[i])
        return moved.take(0, at), roles_of(moved.shape, at)

    def _reshape(self, node, reads, newshape):
        x, old = self._row("reshape", reads[0]), np.shape(node.saved[0].data)
        role, at = merged(x.axes), batch_of(x.axes)
        axes = None if role else inserted(x.axes, old, node.shape)
        if axes is not None:
            return Read(x.value, axes)
        if not role and at is None and is_rows(x.axes):
            return Read(x.value, roles_of(node.shape))
        before = math.prod(old[:at]) if at is not None else 1 if role == "p" else old[0] // self.batch
        for new, n in enumerate(node.shape) if at is not None or x.axes[0] == role else ():
            if n == self.batch and math.prod(node.shape[:new]) == before:
                return Read(x.value, roles_of(node.shape, new))
        if at is not None and node.shape:
            if node.shape[0] == before * self.batch and at > 0:
                return Read(x.value, "q" + roles_of(node.shape[1:]))
            if node.shape[0] % self.batch == 0 and at == 0:
                return Read(x.value, "p" + roles_of(node.shape[1:]))
        raise no_form(f"reshape from {list(old)} to {list(node.shape)}")

    def _broadcast_to(self, node, reads, to):
        x = self._row("broadcast_to", reads[0])
        if np.shape(node.saved[0].data) == tuple(node.shape):
            return x
        axes = ""
        for back in range(1, len(node.shape) + 1):
            role, n = x.axes[-back] if len(x.axes) >= back else "1", node.shape[-back]
            if role == "1" and n != 1:
                first = back == len(node.shape) > 1 and n == self.batch and "b" not in x.axes
                role = "b" if first else "f"
            axes = role + axes
        if not is_rows(axes):
            raise no_form(f"broadcast from {a_row(x.axes)} to {list(node.shape)}")
        width = math.prod(without_batch(node.shape, axes))
        return Read(widened(self.spread(x, axes, node.shape).value, width, "b" in axes), axes)

    def _flip(self, node, reads, axis):
        return self._moved(node, reads, self._along("flip", node, reads[0], axis, np.flip))

    def _roll(self, node, reads, shift, axis):
        def roll(a, axes):
            return np.roll(a, shift, axes)

        return self._moved(node, reads, self._along("roll", node, reads[0], axis, roll))

    def _along(self, name, node, read, axis, function):
        """``function`` of features along the axes ``axis`` of a tensor."""
        axes = tuple(range(len(node.shape))) if axis is None else axis
        axes = (axes,) if isinstance(axes, int) else axes
        if isinstance(read, Read) and batch_of(read.axes) in axes:
            raise no_form(f"{name} along the batch", "use the axes of features")
        return lambda a: function(a, axes)

    @staticmethod
    def _has_batch(read):
        return isinstance(read, Read) and "b" in read.axes

    def _pad(self, node, reads, widths, value):
        x = self._row("pad", reads[0])
        if self._has_batch(x) and tuple(widths[batch_of(x.axes)]) != (0, 0):
            raise no_form("pad along the batch", "use the axes of features")
        sizes = without_batch(np.shape(node.saved[0].data), x.axes)
        found = widened(x.value, math.prod(sizes), x.value.rows)
        for axis, (before, after) in enumerate(without_batch(widths, x.axes)):
            found = self._padded(found, sizes, axis, before, after, value)
            sizes[axis] += before + after
        return Read(found, roles_of(node.shape, batch_of(x.axes)))

    @staticmethod
    def _padded(value, sizes, axis, before, after, fill):
        """A value, whose features have ``sizes``, with so many more of a number along one axis."""
        each = math.prod(sizes[axis + 1 :])
        return framed(value, math.prod(sizes[:axis]), before * each, after * each, fill)

    def _astype(self, node, reads, dtype):
        x = self._row("astype", reads[0])
        was = node.saved[0].dtype
        if was == dtype:
            return x
        if dtype.kind in "iu" and was.kind == "f":
            return Read(self._integer(x.value, dtype), x.axes)
        if dtype.kind == "b":
            return Read(pointwise("not_equal", x.value, number(0.0)), x.axes)
        return Read(aliased(Kind.CAST, x.value), x.axes)

    @staticmethod
    def _integer(x, dtype):
        """``x`` towards 0; what does not fit is the least number, as on the processors that we know."""
        if dtype != np.int64:
            raise no_form(f"astype from a float to {dtype}", "use int64, or round with floor() or round()")
        whole = pointwise("where", pointwise("less", x, 0.0), pointwise("ceil", x), pointwise("floor", x))
        return pointwise("where", pointwise("less", pointwise("abs", x), 2.0**63), whole, -(2.0**63))

    def _detach(self, node, reads):
        x = self._row("detach", reads[0])
        return Read(aliased(Kind.DETACH, x.value), x.axes)

    def _parts(self, node, read, axis, keys):
        """Parts of a tensor, each a key along one axis."""
        x, found = self._row(node.op.name, read), []
        if batch_of(x.axes) == axis:
            raise no_form(f"{node.op.name} along axis {axis} of {a_row(x.axes)}", "use the axes of features")
        for key in keys:
            own = (*[slice(None)] * axis, key)
            move = operator.itemgetter(own)
            columns, roles = self._columns(node.op.name, x.axes, np.shape(node.saved[0].data), move)
            if not columns.size:
                raise TraceError("split makes a part without columns")
            found.append(Read(self._view(x.value, columns), roles))
        return found

    def _custom_vjp(self, node, reads, custom, hidden):
        """What the forward function gave; its past is the backward function's matter."""
        outputs = hidden.outputs
        found = [
            Read(Value(Kind.DETACH, (r.value,), r.value.width, r.value.rows, CUSTOM), r.axes)
            for r in reads[-outputs:]
        ]
        return found if isinstance(node.shape, list) else found[0]

    def _split(self, node, reads, axis, points):
        ends = itertools.pairwise([0, *points, np.shape(node.saved[0].data)[axis]])
        return self._parts(node, reads[0], axis, [slice(a, b) for a, b in ends])

    def _unstack(self, node, reads, axis):
        return self._parts(node, reads[0], axis, range(np.shape(node.saved[0].data)[axis]))

    def _concat(self, node, reads, axis, shapes):
        at = next((batch_of(r.axes) for r in reads if self._has_batch(r)), None)
        if at is not None and axis == at:
            row = a_row(roles_of(node.shape, at))
            raise no_form(f"{node.op.name} along axis {axis} of {row}", "use the axes of features")

        def row(read, shape):
            if isinstance(read, Read):
                return Read(read.value, roles_of(shape, at)) if "c" in read.axes else read
            of_batch = at is not None and shape[at] == self.batch
            return self.closed(read, roles_of(shape, at if of_batch else None))

        reads = [row(r, shape) for r, shape in zip(reads, shapes, strict=True)]
        if not all(is_rows(r.axes) for r in reads):
            raise no_form(f"{node.op.name} along axis {axis} of {a_row(reads[0].axes)}")
        others = [(r, x) for r, x in zip(reads, shapes, strict=True) if batch_of(r.axes) != at]
        if any("b" in r.axes or x[at] != 1 for r, x in others):
            raise self._unfit(node.op.name, reads, "they lie otherwise")
        roles = roles_of(node.shape, at)
        outer = math.prod(without_batch(node.shape[:axis], roles[:axis]))
        parts = [
            widened(r.value, math.prod(without_batch(x, roles)), r.value.rows)
            for r, x in zip(reads, shapes, strict=True)
        ]
        return Read(beside(parts, outer), roles)

    def _stack(self, node, reads, axis):
        axes = next((r.axes for r in reads if self._has_batch(r)), None)
        shape = list(node.shape)
        shape[axis] = 1
        reads = [self.closed(r, axes or self.own_axes(r)) if isinstance(r, Open) else r for r in reads]
        known = [
            Read(r.value, r.axes[:axis] + ("c" if "c" in r.axes else "1") + r.axes[axis:]) for r in reads
        ]
        return self._concat(node, known, axis, [shape] * len(reads))

    def _getitem(self, node, reads, key):
        x, shape = self._row("getitem", reads[0]), np.shape(node.saved[0].data)
        return self._moved(node, [x], operator.itemgetter(self._key(key, x.axes, shape)))

    _gather = _getitem

    def _place(self, node, reads, key, into):
        """The transpose of `_getitem`: zeros but at ``key``."""
        g, keys = self._row("place", reads[0]), expanded(key, len(into))
        if not is_rows(g.axes):
            raise no_form(f"place of {a_row(g.axes)} into {list(into)}")
        for at in range(len(into)) if "b" in g.axes else [None]:
            axes = roles_of(into, at)
            if at is not None and (into[at] != self.batch or not is_whole(keys[spots(keys)[at]], into[at])):
                continue
            own = self._key(key, axes, into)
            positions, found = self._columns("place", axes, into, operator.itemgetter(own))
            if batch_of(found) == batch_of(g.axes):
                break
        else:
            raise no_form(f"place of {a_row(g.axes)} into {list(into)}")
        if is_basic(key):
            parts = [keys[i] for i in spots(keys)]
            sizes, parts = without_batch(into, axes), without_batch(parts, axes)
            return Read(self._framed(widened(g.value, positions.size, g.value.rows), sizes, parts), axes)
        positions, sizes = positions.reshape(-1), without_batch(into, axes)
        value = widened(g.value, positions.size, g.value.rows)
        value, positions = self._added_up(value, positions)
        order = np.argsort(positions, kind="stable")
        if len(np.unique(positions)) < len(positions):
            raise no_form("the gradient of an index that picks a column twice", "use a product with a matrix")
        value, positions = self._view(value, order), positions[order]
        run = math.gcd(len(positions), *(np.flatnonzero(np.diff(positions) != 1) + 1).tolist())
        found = placed(value, positions[::run], run, math.prod(sizes))
        if found is None:
            raise no_form(f"the gradient of the index {key}", "pick columns by slices")
        return Read(found, axes)

    def _framed(self, value, into, keys):
        """A value at basic ``keys``, one for each axis of features of sizes ``into``, zeros elsewhere."""
        sizes = [1 if isinstance(k, int) else len(range(n)[k]) for k, n in zip(keys, into, strict=True)]
        for axis, (key, n) in enumerate(zip(keys, into, strict=True)):
            first, _, step = (range(n)[key], 0, 1) if isinstance(key, int) else key.indices(n)
            if step < 0:
                first, step = first + (sizes[axis] - 1) * step, -step
                value = self._view(value, np.flip(np.arange(value.width).reshape(sizes), axis))
            count, each = sizes[axis], math.prod(sizes[axis + 1 :])
            outer, sizes[axis] = math.prod(sizes[:axis]), n
            if step > 1:
                value = framed(value, outer * count, 0, (step - 1) * each)
                kept = np.arange(value.width).reshape(outer, count * step, each)[:, : n - first]
                value, count = self._view(value, kept), kept.shape[1]
            value = framed(value, outer, first * each, (n - first - count) * each)
        return value

    def _added_up(self, value, positions):
        """The columns of a value, those that go to one position added up; and the positions."""
        view = view_of(positions)
        if view is None or all(stride for _, stride in view.axes):
            return value, positions
        sizes, zero = [n for n, _ in view.axes], [i for i, (_, stride) in enumerate(view.axes) if not stride]
        rest = [i for i in range(len(sizes)) if i not in zero]
        columns = np.arange(value.width).reshape(sizes).transpose(*rest, *zero)
        width = math.prod(sizes[i] for i in rest)
        value = Value(Kind.ROWSUM, (self._view(value, columns),), width, value.rows)
        return value, View(view.offset, tuple([view.axes[i] for i in rest]) or ((1, 1),)).columns

    def _key(self, key, axes, shape):
        """A key of a tensor that picks features. Raises for what picks from the batch."""
        keys, at = expanded(key, len(shape)), batch_of(axes)
        if at is not None:
            spot = spots(keys)[at]
            if not isinstance(keys[spot], slice):
                raise TraceError("one sequence of the batch is picked: a step must treat all alike")
            if not is_whole(keys[spot], shape[at]):
                raise no_form("indexing along the batch", "use slices of the axis of features")
            keys[spot] = slice(None)
        return tuple(keys)

    # ------------------------------------------------------------------ products and reductions

    def _permute_dims(self, node, reads, axes):
        if axes == tuple(range(len(axes))):
            return self._row("permute_dims", reads[0])
        x = reads[0]
        if isinstance(x, Open):
            if axes != (1, 0):
                order = x.order or range(len(axes))
                return x._replace(order=tuple([order[i] for i in axes]))
            x = self.closed(x, "matrix")
            return Read(Value(Kind.TURNED, (x.value,), np.shape(node.saved[0].data)[0], False), "matrix")
        if is_rows(x.axes):
            return self._moved(node, [x], lambda a: a.transpose(axes))
        if axes != (1, 0):
            raise no_form(f"transposing {a_row(x.axes)}", "keep the batch first")
        if x.value.kind is Kind.TURNED:
            return Read(x.value.inputs[0], x.axes if x.axes == "matrix" else x.axes[::-1])
        if merged(x.axes):
            return Read(x.value, x.axes[::-1])
        value = Value(Kind.TURNED, (x.value,), np.shape(node.saved[0].data)[0], x.value.rows)
        return Read(value, x.axes if x.axes == "matrix" else x.axes[::-1])

    def _matmul(self, node, reads):
        a, b = reads
        shapes = [np.shape(x.data) for x in node.saved]
        if isinstance(a, Read) and isinstance(b, Read) and a.axes in ("fb", "1b"):
            if b.axes not in ("bf", "b1"):
                raise no_form("a product over the batch")
            return Read(Value(Kind.OUTER, (a.value, b.value), shapes[1][1], False), "kf")
        if isinstance(a, Open) and len(shapes[0]) == len(shapes[1]) == 2:
            mend = "write h @ U.T for (U @ h.T).T"
            raise no_form(f"a product of a closed-over {list(shapes[0])} from the left", mend)
        if isinstance(a, Read) and a.axes in ("bf", "b1") and len(shapes[1]) == 2:
            b = self.closed(b, "matrix") if isinstance(b, Open) else b
            turned = b.value.kind is Kind.TURNED
            matrix = b.value.inputs[0] if turned else b.value
            if b.axes == "matrix" and matrix.is_input(Source.CLOSURE):
                width = shapes[1][1]
                return Read(Value(Kind.MATMUL, (a.value, matrix), width, True, turned), "b" + role_of(width))
            raise no_form(
                "a product with a matrix that changes over time", "give the rows an axis of their own"
            )
        if any(isinstance(x, Read) and merged(x.axes) for x in reads):
            return self._by_rows(node, reads, shapes)
        letters = iter("abcdefghijlmnopqrstuvwxyz")  # k: what is summed over
        leading = [next(letters) for _ in range(max(len(s) for s in shapes) - 2)]
        (m, n), terms = (next(letters), next(letters)), []
        for s, own in zip(shapes, ([m, "k"], ["k", n]), strict=True):
            own = ["k"] if len(s) == 1 else own
            terms.append("".join([*leading[len(leading) - len(s) + len(own) :], *own]))
        output = "".join([*leading, *[m] * (len(shapes[0]) > 1), *[n] * (len(shapes[1]) > 1)])
        return self._contracted(node, reads, shapes, terms, output)

    def _by_rows(self, node, reads, shapes):
        """Products of ``[B * H, K]``, each row of a sequence on its own, with a closed-over matrix; and what
        its gradient is made of, ``[K, B * H] @ [B * H, N]``.
        """
        (a, b), closed = reads, "kn"
        if isinstance(b, Read) and b.value.kind is Kind.TURNED:
            slot = b.value.inputs[0].attr.index
            b, closed = Open(slot, self.recording.closures[slot]), "nk"
        role = merged(a.axes) if isinstance(a, Read) else ""
        if not role or (isinstance(b, Read) and a.axes[-1] != role):
            raise no_form("this product of rows of a sequence")
        turned, closed = a.axes[-1] == role, closed[: len(shapes[1])]
        rows, *k = shapes[0][::-1] if turned else shapes[0]
        h = rows // self.batch
        left = Read(a.value, roles_of((self.batch, h, *k), 0)), (self.batch, h, *k), "bhk"[: 2 + len(k)]
        right, output = (b, b.shape, closed) if isinstance(b, Open) else None, "bh" + closed.strip("k")
        if right is None:
            shape = (self.batch, h, *shapes[1][1:])
            right = Read(b.value, roles_of(shape, 0)), shape, "bhn"[: len(shape)]
            output = left[2][2:] + right[2][2:]
        found = self._contracted(node, *zip(left, right, strict=True), output)
        return Read(found.value, role + roles_of(node.shape[1:])) if "b" in output else found

    def _einsum(self, node, reads, terms, output):
        live = [i for i, r in enumerate(reads) if isinstance(r, Read)]
        if len(reads) == 2 and len(live) == 1 and reads[live[0]].axes == "bf":
            row, matrix = terms[live[0]], terms[1 - live[0]]
            batch, k = row
            n = matrix.replace(k, "")
            if len(matrix) == 2 and k in matrix and batch not in matrix and output == batch + n:
                value = self.closed(reads[1 - live[0]], "matrix").value
                turned, width = matrix[1] == k, np.shape(node.saved[1 - live[0]].data)[matrix.index(n)]
                product = Value(Kind.MATMUL, (reads[live[0]].value, value), width, True, turned)
                return Read(product, "b" + role_of(width))
        if len(live) == 2 == len(reads) and {reads[0].axes, reads[1].axes} <= {"bf", "b1"}:
            one, other = terms
            if one[0] == other[0] and one[1] != other[1] and output in (one[1] + other[1], other[1] + one[1]):
                left, right = reads if output[0] == one[1] else reads[::-1]
                return Read(Value(Kind.OUTER, (left.value, right.value), right.value.width, False), "kf")
        return self._contracted(node, reads, [np.shape(x.data) for x in node.saved], terms, output)

    def _contracted(self, node, reads, shapes, terms, output):
        """A sum of products by labels, one for each axis."""
        batch = {t[batch_of(r.axes)] for t, r in zip(terms, reads, strict=True) if self._has_batch(r)}
        if len(batch) > 1 or any(
            isinstance(r, Read) and not is_rows(r.axes.replace("c", "f")) for r in reads
        ):
            raise self._unfit(node.op.name, reads, "the batch must be one axis")
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
            if isinstance(r, Open):  # one row for all, where it is one
                r = self.closed(r, roles_of(s, at if at is not None and s[at] != 1 else None))
            own = [c for c in t if c != label]
            columns = [n for c, n in zip(t, s, strict=True) if c != label]
            if r.value.width == 1:
                factors.append(r.value)
                continue
            a = np.arange(r.value.width).reshape(columns)
            a = a.transpose([own.index(c) for c in order if c in own])
            a = a.reshape([sizes[c] if c in own and s[t.index(c)] > 1 else 1 for c in order])
            factors.append(self._view(r.value, np.broadcast_to(a, dims)))
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

    def _reduce(self, node, reads, axis, keepdims):
        """A sum, mean, max or min over columns, over the batch, or over both."""
        name, shape = node.op.name, np.shape(node.saved[0].data)
        x = self._row(name, reads[0])
        axis = tuple(range(len(shape))) if axis is None else axis
        roles = {x.axes[i] for i in axis}
        if not is_rows(x.axes) or ("b" in roles and name not in ("sum", "mean")):
            raise no_form(f"{name} of {a_row(x.axes)} over {axis}")
        value, count = x.value, math.prod(shape[i] for i in axis)
        if name in ("any", "all", "count_nonzero"):
            value = pointwise("not_equal", value, 0.0)
            x = Read(value, x.axes)
        if "f" in roles:
            value = self._folded(_REDUCTIONS[name], x, shape, [i for i in axis if x.axes[i] != "b"])
        if "b" in roles:
            value = Value(Kind.TOTAL, (value,), value.width, False)
        if name == "mean" and count != 1:
            if "b" in roles:
                raise TraceError(_MIXES)
            value = pointwise("multiply", value, 1 / count)
        axes = "".join("1" if i in axis else r for i, r in enumerate(x.axes) if keepdims or i not in axis)
        return Read(value, axes)

    def _folded(self, kind, x, shape, axis):
        """A reduction over some of the axes of features: as they lie, if they are neighbours."""
        names, sizes = without_batch(range(len(shape)), x.axes), without_batch(shape, x.axes)
        picked = [names.index(i) for i in axis]
        rest = [i for i in range(len(sizes)) if i not in picked]
        width, wide = math.prod(sizes[i] for i in rest), sorted([i for i in picked if sizes[i] > 1])
        if all(i in picked for i in range(wide[0], wide[-1])):
            return reduced(kind, x.value, width, math.prod(sizes[wide[-1] + 1 :]))
        columns = np.arange(x.value.width).reshape(sizes).transpose([*rest, *picked])
        return reduced(kind, self._view(x.value, columns), width)

    _sum = _mean = _max = _min = _prod = _any = _all = _count_nonzero = _reduce

    def _cumulated(self, node, reads, axis):
        """Sums or products up to each column, by shifts: so many steps as the size has bits."""
        name = node.op.name
        x, op, fill = self._row(name, reads[0]), *{"cumsum": ("add", 0.0), "cumprod": ("multiply", 1.0)}[name]
        if not is_rows(x.axes) or axis == batch_of(x.axes):
            raise no_form(f"{name} along axis {axis} of {a_row(x.axes)}", "use the axes of features")
        sizes, value, shift = without_batch(node.shape, x.axes), x.value, 1
        axis -= "b" in x.axes[:axis]
        numbers = np.arange(value.width).reshape(sizes)
        while shift < sizes[axis]:
            rest = numbers.take(range(sizes[axis] - shift), axis)
            later = self._padded(self._view(value, rest), rest.shape, axis, shift, 0, fill)
            value = Value(Kind.LAID, (pointwise(op, value, later),), value.width, value.rows, True)
            shift *= 2
        return Read(value, x.axes)

    _cumsum = _cumprod = _cumulated

    # ------------------------------------------------------------------ integers that are computed

    def _position(self, node, reads, axis, keepdims):
        """The number of the first largest, or smallest, along an axis of features."""
        name, shape = node.op.name, np.shape(node.saved[0].data)
        x = self._row(name, reads[0])
        if not is_rows(x.axes) or axis == batch_of(x.axes) or (axis is None and "b" in x.axes):
            raise no_form(f"{name} of {a_row(x.axes)} over {axis}", "use an axis of features")
        sizes, at = without_batch(shape, x.axes), batch_of(x.axes)
        columns, n = np.arange(x.value.width), x.value.width
        if axis is not None:
            along = axis - (at is not None and at < axis)
            columns, n = np.moveaxis(columns.reshape(sizes), along, -1), sizes[along]
        width, values = x.value.width // n, self._view(x.value, columns)
        ordered = reduced(Kind.ROWMAX if name == "argmax" else Kind.ROWMIN, values, width)
        most = self._view(ordered, np.repeat(np.arange(width), n))
        hit = pointwise("logical_or", pointwise("equal", values, most), pointwise("isnan", values))
        numbers = pointwise("where", hit, index(np.tile(np.arange(n), width)), float(n))
        found = reduced(Kind.ROWMIN, widened(numbers, width * n, x.value.rows), width)
        at = at if keepdims or at is None or axis > at else at - 1
        return Read(found, roles_of(node.shape, at))

    _argmax = _argmin = _position

    def _together(self, name, reads, shapes, other):
        """Two operands of as many axes, closed-over ones with the batch of the other."""
        at = next((batch_of(r.axes) for r in reads if self._has_batch(r)), None)

        def row(read, shape):
            if isinstance(read, Read):
                return read
            return self.closed(read, roles_of(shape, at if at is not None and shape[at] != 1 else None))

        reads = [row(r, shape) for r, shape in zip(reads, shapes, strict=True)]
        if other == at or any(not is_rows(r.axes) or batch_of(r.axes) not in (at, None) for r in reads):
            raise no_form(f"{name} of {' and '.join(a_row(r.axes) for r in reads)} along axis {other}")
        return reads, at

    def _one_of(self, values, ids, asked, n):
        """Of each ``n`` columns of ``values`` the one that ``asked``, columns of ``ids``, say; NaN where they
        name none of them.
        """
        width, rows, asked = np.size(asked), values.rows or ids.rows, np.reshape(asked, -1)
        hit = self._hits(self._view(ids, np.repeat(asked, n)), index(np.tile(np.arange(n), width)), n)
        found = widened(pointwise("where", hit, values, 0.0), width * n, rows)
        found, ids = reduced(Kind.ROWSUM, found, width), self._view(ids, asked)
        least, most = pointwise("greater_equal", ids, -float(n)), pointwise("less", ids, float(n))
        return pointwise("where", pointwise("logical_and", least, most), found, math.nan)

    @staticmethod
    def _hits(ids, numbers, n):
        """Where ``ids`` are ``numbers`` of something of a size, counted from its end if they are negative."""
        return pointwise(
            "logical_or",
            pointwise("equal", ids, numbers),
            pointwise("equal", pointwise("add", ids, float(n)), numbers),
        )

    def _take_along_axis(self, node, reads, axis):
        shapes = [np.shape(x.data) for x in node.saved]
        (x, ids), at = self._together("take_along_axis", reads, shapes, axis)
        roles, n = roles_of(node.shape, at), shapes[0][axis]
        sizes, own = without_batch(node.shape, roles), axis - ("b" in roles[:axis])
        values = self._lined_up(x, without_batch(shapes[0], roles), own, sizes, n)
        asked = np.arange(ids.value.width).reshape(without_batch(shapes[1], roles))
        return Read(self._one_of(values, ids.value, np.broadcast_to(asked, sizes), n), roles)

    def _lined_up(self, read, own, axis, sizes, n):
        """For each column of features of ``sizes``: all ``n`` that a value of sizes ``own`` has along an
        axis.
        """
        own = np.arange(read.value.width).reshape(own)
        own = np.expand_dims(np.moveaxis(own, axis, -1), axis)
        return self._view(read.value, np.broadcast_to(own, (*sizes, n)))

    def _put_along_axis(self, node, reads, axis, into):
        """The transpose of `_take_along_axis`."""
        shapes = [np.shape(x.data) for x in node.saved]
        (g, ids), at = self._together("put_along_axis", reads, shapes, axis)
        roles, n = roles_of(into, at), into[axis]
        sizes, own, count = without_batch(into, roles), axis - ("b" in roles[:axis]), shapes[0][axis]
        values = self._lined_up(g, without_batch(shapes[0], roles), own, sizes, count)
        each = self._lined_up(ids, without_batch(shapes[1], roles), own, sizes, count)
        along = [n if i == own else 1 for i in range(len(sizes))]
        numbers = np.broadcast_to(np.arange(n).reshape([*along, 1]), (*sizes, count))
        hit, rows = self._hits(each, index(numbers), n), g.value.rows or ids.value.rows
        found = widened(pointwise("where", hit, values, 0.0), math.prod(sizes) * count, rows)
        return Read(reduced(Kind.ROWSUM, found, math.prod(sizes)), roles)

    def _lookup(self, node, reads):
        """Rows of a table ``[V, ...]`` by ``ids``."""
        (table, ids), (shape, own) = reads, [np.shape(x.data) for x in node.saved]
        table, ids = self._row("lookup", table), self._row("lookup", ids)
        if "b" in table.axes or not is_rows(ids.axes):
            mend = "use arange(len(h)), ids for [batch, ids], or take_along_axis"
            raise no_form(f"indexing {a_row(table.axes)} by computed integers {a_row(ids.axes)}", mend)
        n, rest, asked = shape[0], shape[1:], without_batch(own, ids.axes)
        sizes = (*asked, *rest)
        columns = np.arange(table.value.width).reshape(shape)
        values = self._view(table.value, np.broadcast_to(np.moveaxis(columns, 0, -1), (*sizes, n)))
        asked = np.arange(ids.value.width).reshape([*asked, *[1] * len(rest)])
        found = self._one_of(values, ids.value, np.broadcast_to(asked, sizes), n)
        return Read(found, roles_of(node.shape, batch_of(ids.axes)))

    def _place_rows(self, node, reads, into):
        """The transpose of `_lookup`: the gradient of the table."""
        (g, ids), n = reads, into[0]
        ids = self._row("lookup", ids)
        if not isinstance(g, Read) or g.axes not in ("bf", "b1") or ids.axes != "b":
            raise no_form("the gradient of a table that is indexed so", "index [V, E] by [batch]")
        rows = pointwise("where", self._hits(ids.value, index(np.arange(n)), n), 1.0, 0.0)
        return Read(Value(Kind.OUTER, (rows, g.value), into[1], False), "kf")

    def _exponentials(self, node, reads):
        """exp of x less its largest element along the last axis; the sum of that and the largest element,
        both also for each column of x; x.
        """
        name = node.op.name
        x, shape = self._row(name, reads[0]), np.shape(node.saved[0].data)
        if x.axes[-1:] == "b":
            raise TraceError(_MIXES)
        if not x.axes or not is_rows(x.axes):
            raise no_form(f"{name} along an axis of {a_row(x.axes)}", "use an axis of features")
        width = x.value.width // shape[-1]
        whole = np.repeat(np.arange(width), shape[-1])

        def along(kind, value):
            found = Value(kind, (value,), width, x.value.rows)
            return found, self._view(found, whole) if width > 1 else found

        top, tops = along(Kind.ROWMAX, x.value)
        if (
            name == "logsumexp"
        ):  # an infinite one is not subtracted: of nothing but -inf that is -inf, not NaN
            top, tops = [
                pointwise("where", pointwise("equal", t, pointwise("add", t, t)), 0.0, t) for t in (top, tops)
            ]
        e = pointwise("exp", pointwise("subtract", x.value, tops))
        total, totals = along(Kind.ROWSUM, e)
        return e, (total, totals), (top, tops), x

    def _softmax(self, node, reads):
        e, (_, totals), _, x = self._exponentials(node, reads)
        return Read(pointwise("divide", e, totals), x.axes)

    def _logsumexp(self, node, reads):
        _, (total, _), (top, _), x = self._exponentials(node, reads)
        return Read(pointwise("add", pointwise("log", total), top), x.axes[:-1])

    def _log_softmax(self, node, reads):
        _, (_, totals), (_, tops), x = self._exponentials(node, reads)
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


def _placed(data):
    """A tensor over ``data`` that has a place on the tape."""
    return Tensor(data, Node(None, (), None, data))


def role_of(n) -> str:
    """The role of an axis of features."""
    return "f" if n > 1 else "1"


def roles_of(shape, at=None) -> str:
    """The roles of the axes of features, and of the batch, which is the axis ``at``."""
    return "".join(["b" if i == at else role_of(n) for i, n in enumerate(shape)])


def expanded(key, ndim) -> list:
    """The parts of a key, a slice for each axis that it does not name."""
    keys = list(key) if isinstance(key, tuple) else [key]
    at = next((i for i, k in enumerate(keys) if k is Ellipsis), len(keys))
    named = sum(k is not None and k is not Ellipsis for k in keys)
    keys[at : at + 1] = [slice(None)] * (ndim - named)
    return keys


def spots(keys) -> list:
    """Of each axis, where in an expanded key it is."""
    return [i for i, k in enumerate(keys) if k is not None]


def is_whole(key, size) -> bool:
    """True for a slice that has all of an axis."""
    return isinstance(key, slice) and key.indices(size) == (0, size, 1)


def inserted(axes, old, new):
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
