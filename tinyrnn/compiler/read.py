"""From the tape of a step to a program.

Each axis of every tensor on the tape has a role: ``b`` the batch, ``f`` features, ``1`` a size of 1. Roles
come from the inputs of the step and are carried on from op to op; a closed-over tensor gets those of what it
is combined with. They, not sizes, decide what a value is, so that a batch as large as a row of features is no
trouble. Features may have several axes: a value is a row of them all, and what moves them is a view of it. A
matrix that rows are multiplied by has the roles ``kf`` where it is a gradient, and ``p`` is the batch and
features in one axis, ``[B * H, N]``. What is none of these, or not made by the kinds of `ir.Kind`, raises
`TraceError`, and the step runs eagerly.
"""

import copy
import itertools
import math
import re
from typing import NamedTuple

import numpy as np

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
from .views import View, view_of

TRUTHS = frozenset(  # pointwise ops that give truth values of numbers and truth values alike
    "equal not_equal less less_equal greater greater_equal logical_and logical_or logical_not logical_xor "
    "isnan isinf isfinite where maximum minimum multiply".split()
)
MOVES = frozenset(
    "reshape broadcast_to getitem gather place permute_dims split concat stack unstack flip roll pad detach "
    "astype sum max min".split()
)
SEVERAL = 16  # parts that an index may be taken apart into, at most
_REDUCTIONS = {"sum": Kind.ROWSUM, "max": Kind.ROWMAX, "min": Kind.ROWMIN, "mean": Kind.ROWSUM}
_LAYOUT = re.compile("[b1]?[f1]*")  # of what is rows, or one row
_SHAPED = frozenset(  # ops whose result has roles of its own
    "reshape getitem gather broadcast_to place concat stack flip roll pad".split()
)


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
            width = math.prod(node.shape[1:])
            self._give(node, Read(Value(Kind.INPUT, (), width, True, given), roles_of(node.shape, True)))

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
            read = self.closed(read, roles_of(shape, True))
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
        rows = x.ndim > 1 and x.shape[0] == self.batch
        known = rows or x.ndim == 0 or (x.shape[0] == 1 if x.ndim > 1 else x.shape[0] != self.batch)
        if not known or not x.size or not (x.data == x.data.reshape(-1)[0]).all():
            raise TraceError("a derivative of the step uses a constant that the step does not have")
        width = math.prod(x.shape[1:] if rows else x.shape)
        return Read(widened(number(x.data.reshape(-1)[0]), width, rows), roles_of(x.shape, rows))

    def closed(self, given, axes) -> Read:
        """A closed-over tensor as a row, as rows of the batch, or as a matrix: ``axes`` is "matrix" or its
        roles.
        """
        slot, t = given
        if "b" in axes and slot in self.arguments and t.shape[0] == self.batch:
            return Read(widened(self.arguments[slot], math.prod(t.shape[1:]), True), axes)
        if (slot, axes) not in self.forms:
            attr = Input(Source.CLOSURE, slot)
            if axes == "matrix":
                value = Value(Kind.INPUT, (), t.shape[1], False, attr, t.shape[0])
            else:
                width = math.prod([n for n, role in zip(t.shape, axes, strict=True) if role != "b"])
                value = Value(Kind.INPUT, (), width, "b" in axes, attr)
            self.forms[slot, axes] = value
        return Read(self.forms[slot, axes], axes)

    def own_axes(self, given) -> str:
        """The roles of a closed-over tensor that meets nothing but numbers and others of its kind."""
        return roles_of(given.tensor.shape, False)

    def aligned(self, name, reads, shape):
        """``reads`` with roles for closed-over tensors, and the roles of the result ``shape``, by NumPy's
        broadcasting.
        """
        known = [r for r in reads if isinstance(r, Read)]
        axes = ""
        for back in range(1, len(shape) + 1):
            here = {r.axes[-back] for r in known if len(r.axes) >= back} - {"1"}
            if len(here) > 1 or ("b" in here and shape[-back] != self.batch):
                raise self._unfit(name, reads, "the batch meets an axis of features")
            axes = (here.pop() if here else "f" if shape[-back] != 1 else "1") + axes
        out, features = [], [n for n, role in zip(shape, axes, strict=True) if role not in "bpk"]
        for r in reads:
            if isinstance(r, Open):
                own = r.tensor.shape
                roles = zip(own, axes[len(axes) - len(own) :], strict=True)
                r = self.closed(r, "".join(["1" if n == 1 else role for n, role in roles]))
            out.append(r if {"k", "p"} & {*axes} else self.spread(r, axes, features))
        return out, axes

    def spread(self, read, axes, features):
        """``read`` broadcast to the columns of ``features``, sizes of the axes that are neither batch nor
        rows; one column stays one, for that is what it is in a loop.
        """
        value, width = read.value, math.prod(features)
        if value.width in (1, width):
            return read
        own = [n for n, role in zip(self.sizes(read, axes, features), read.axes, strict=True) if role != "b"]
        columns = np.broadcast_to(np.arange(value.width).reshape(own), features)
        return Read(self._view(value, columns), read.axes)

    @staticmethod
    def sizes(read, axes, features):
        """The sizes of the axes of ``read``, which broadcasts to ``axes`` whose features are ``features``."""
        left = iter(reversed(features))
        whole = [next(left) if role not in "bpk" else 0 for role in reversed(axes)][: len(read.axes)]
        return [1 if role == "1" else n for role, n in zip(read.axes, reversed(whole), strict=True)]

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
            read = self._lower(current)
            if isinstance(read, Read) and read.axes != "matrix":
                self._check(current, *read)
            self._give(current, read)

    def _check(self, node, value, axes):
        """Refuse a layout that is none of rows. Roles say what the sizes are: of a wrong reading the two
        would not agree.
        """
        if {"k", "p"} & {*axes} or axes in ("fb", "1b"):
            return
        if not _LAYOUT.fullmatch(axes):
            raise no_form(f"{node.op.name if node.op is not ITEM else 'a part'} to {a_row(axes)}")
        width = math.prod([n for n, role in zip(node.shape, axes, strict=True) if role != "b"])
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

    def _moved(self, node, reads, move, roles=None):
        """An op that moves features: ``move`` is what it does to an array of the sizes of their axes, the
        numbers of the columns.
        """
        x = self._row(node.op.name, reads[0])
        if {"k", "p"} & {*x.axes} or not _LAYOUT.fullmatch(x.axes):
            raise no_form(f"{node.op.name} of {a_row(x.axes)}")
        shape, rows = np.shape(node.saved[0].data), "b" in x.axes
        columns = move(np.arange(x.value.width).reshape(shape[1:] if rows else shape))
        if columns.shape != tuple(node.shape[rows:]):
            raise no_form(f"{node.op.name} from {list(shape)} to {list(node.shape)}")
        return Read(self._view(x.value, columns), roles or roles_of(node.shape, rows))

    def _reshape(self, node, reads, newshape):
        x, old = self._row("reshape", reads[0]), np.shape(node.saved[0].data)
        axes = None if "p" in x.axes else inserted(x.axes, old, node.shape)
        if axes is not None:
            return Read(x.value, axes)
        if x.axes[:1] in ("b", "p") and node.shape:
            if node.shape[0] == self.batch:
                return Read(x.value, roles_of(node.shape, True))
            if x.axes[0] == "b" and len(node.shape) > 1 and node.shape[0] % self.batch == 0:
                return Read(x.value, "p" + roles_of(node.shape[1:], False))
        elif _LAYOUT.fullmatch(x.axes) and "b" not in x.axes:
            return Read(x.value, roles_of(node.shape, False))
        raise no_form(f"reshape from {list(old)} to {list(node.shape)}")

    def _broadcast_to(self, node, reads, to):
        x = self._row("broadcast_to", reads[0])
        axes, features = "", []
        for back in range(1, len(node.shape) + 1):
            role, n = x.axes[-back] if len(x.axes) >= back else "1", node.shape[-back]
            if role == "1" and n != 1:
                first = back == len(node.shape) > 1 and n == self.batch and "b" not in x.axes
                role = "b" if first else "f"
            axes = role + axes
            features = features if role == "b" else [n, *features]
        if not _LAYOUT.fullmatch(axes):
            raise no_form(f"broadcast from {a_row(x.axes)} to {list(node.shape)}")
        value = self.spread(x, axes, features).value
        return Read(widened(value, math.prod(features), "b" in axes), axes)

    def _flip(self, node, reads, axis):
        return self._moved(node, reads, self._along("flip", node, reads[0], axis, np.flip))

    def _roll(self, node, reads, shift, axis):
        def roll(a, axes):
            return np.roll(a, shift, axes)

        return self._moved(node, reads, self._along("roll", node, reads[0], axis, roll))

    def _along(self, name, node, read, axis, function):
        """``function`` of features along the axes ``axis`` of a tensor."""
        axes, rows = tuple(range(len(node.shape))) if axis is None else axis, self._has_batch(read)
        axes = (axes,) if isinstance(axes, int) else axes
        if rows and 0 in axes:
            raise no_form(f"{name} along the batch", "use the axes of features")
        return lambda a: function(a, tuple([i - rows for i in axes]))

    @staticmethod
    def _has_batch(read):
        return isinstance(read, Read) and "b" in read.axes

    def _pad(self, node, reads, widths, value):
        x, shape = self._row("pad", reads[0]), np.shape(node.saved[0].data)
        if value != 0 or ("b" in x.axes and tuple(widths[0]) != (0, 0)):
            raise no_form("pad with other numbers than 0, or of the batch", "use concat with zeros_like")
        key = tuple([slice(a, a + n) for (a, _), n in zip(widths, shape, strict=True)])
        return self._place(node, reads, key, node.shape)

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

    def _parts(self, node, read, axis, keys):
        """Parts of a tensor, each a key along one axis."""
        x, shape = self._row(node.op.name, read), np.shape(node.saved[0].data)
        rows = "b" in x.axes
        if {"k", "p"} & {*x.axes} or (rows and axis == 0):
            raise no_form(f"{node.op.name} along axis {axis} of {a_row(x.axes)}", "use the axes of features")
        columns = np.moveaxis(np.arange(x.value.width).reshape(shape[rows:]), axis - rows, 0)
        found = []
        for key in keys:
            picked = columns[key]
            picked = np.moveaxis(picked, 0, axis - rows) if isinstance(key, slice) else picked
            if not picked.size:
                raise TraceError("split makes a part without columns")
            roles = roles_of((self.batch, *picked.shape) if rows else picked.shape, rows)
            found.append(Read(self._view(x.value, picked), roles))
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
        live = next((r for r in reads if isinstance(r, Read)), None)
        first = live.axes[:1] if live else self.own_axes(reads[0])[:1]

        def row(read):
            if isinstance(read, Read):
                return read
            shape = read.tensor.shape
            return self.closed(read, roles_of(shape, first == "b" and shape[0] == self.batch and axis > 0))

        reads = [row(r) for r in reads]
        rows = any("b" in r.axes for r in reads)
        if (rows and axis == 0) or any({"k", "p"} & {*r.axes} for r in reads):
            raise no_form(f"concat along axis {axis} of {a_row(reads[0].axes)}", "use the axes of features")
        if any(
            ("b" in r.axes) != rows and len(x) > 1 and x[0] != 1 for r, x in zip(reads, shapes, strict=True)
        ):
            raise self._unfit("concat", reads, "they lie otherwise")
        outer = math.prod(node.shape[int(rows) : axis])
        parts = [
            widened(r.value, math.prod(x[int(rows) :]), r.value.rows)
            for r, x in zip(reads, shapes, strict=True)
        ]
        return Read(beside(parts, outer), roles_of(node.shape, rows))

    def _stack(self, node, reads, axis):
        shape = list(node.shape)
        shape[axis] = 1
        shapes = [shape] * len(reads)
        known = [r if isinstance(r, Open) else Read(r.value, roles_of(shape, "b" in r.axes)) for r in reads]
        if any(isinstance(r, Open) for r in reads):
            raise self._unfit("stack", reads, "stack closed-over tensors outside of the step")
        return self._concat(node, known, axis, shapes)

    def _getitem(self, node, reads, key):
        x, shape = self._row("getitem", reads[0]), np.shape(node.saved[0].data)
        key = self._key(key, x.axes, shape)
        return self._moved(node, [x], lambda a: a[key])

    _gather = _getitem

    def _place(self, node, reads, key, into):
        """The transpose of `_getitem`: zeros but at ``key``."""
        g = self._row("place", reads[0])
        rows = "b" in g.axes
        if {"k", "p"} & {*g.axes} or (rows and into[0] != self.batch):
            raise no_form(f"place of {a_row(g.axes)} into {list(into)}")
        own = self._key(key, "b" + "f" * (len(into) - 1) if rows else "f" * len(into), into)
        shape = into[1:] if rows else into
        positions = np.arange(math.prod(shape)).reshape(shape)[own].reshape(-1)
        value = widened(g.value, positions.size, g.value.rows)
        value, positions = self._added_up(value, positions)
        order = np.argsort(positions, kind="stable")
        if len(np.unique(positions)) < len(positions):
            raise no_form("the gradient of an index that picks a column twice", "use a product with a matrix")
        value, positions = self._view(value, order), positions[order]
        run = math.gcd(len(positions), *(np.flatnonzero(np.diff(positions) != 1) + 1).tolist())
        found = placed(value, positions[::run], run, math.prod(shape))
        if found is None:
            raise no_form(f"the gradient of the index {key}", "pick columns by slices")
        return Read(found, roles_of(into, rows))

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
        """The part of a key of a tensor that picks features. Raises for what picks from the batch."""
        keys = list(key) if isinstance(key, tuple) else [key]
        if "b" not in axes:
            return tuple(keys)
        at = next((i for i, k in enumerate(keys) if k is Ellipsis), len(keys))
        named = sum(k is not None and k is not Ellipsis for k in keys)
        keys[at : at + 1] = [slice(None)] * (len(shape) - named)
        if keys[0] is None:
            raise no_form("a new axis before the batch", "put it behind the batch")
        if not isinstance(keys[0], slice):
            raise TraceError("one sequence of the batch is picked: a step must treat all alike")
        if keys[0].indices(shape[0]) != (0, shape[0], 1):
            raise no_form("indexing along the batch", "use slices of the axis of features")
        return tuple(keys[1:])

    # ------------------------------------------------------------------ products and reductions

    def _permute_dims(self, node, reads, axes):
        if axes == tuple(range(len(axes))):
            return self._row("permute_dims", reads[0])
        x = reads[0]
        if isinstance(x, Open):
            if axes == (1, 0):
                x = self.closed(x, "matrix")
                shape = np.shape(node.saved[0].data)
                return Read(Value(Kind.TURNED, (x.value,), shape[0], False), "matrix")
            x = self.closed(x, self.own_axes(x))
        if _LAYOUT.fullmatch(x.axes) and ("b" not in x.axes or axes[0] == 0):
            rows = "b" in x.axes
            return self._moved(node, [x], lambda a: a.transpose([i - rows for i in axes if i or not rows]))
        if axes != (1, 0):
            raise no_form(f"transposing {a_row(x.axes)}", "keep the batch first")
        if x.value.kind is Kind.TURNED:
            return Read(x.value.inputs[0], x.axes if x.axes == "matrix" else x.axes[::-1])
        if "p" in x.axes:
            return Read(x.value, x.axes[::-1])
        value = Value(Kind.TURNED, (x.value,), np.shape(node.saved[0].data)[0], x.value.rows)
        return Read(value, x.axes if x.axes == "matrix" else x.axes[::-1])

    def _matmul(self, node, reads):
        a, b = reads
        shapes = [np.shape(x.data) for x in node.saved]
        if isinstance(a, Read) and isinstance(b, Read) and a.axes in ("fb", "1b"):
            if b.axes not in ("bf", "b1"):
                raise no_form("a product over the batch")
            return Read(Value(Kind.OUTER, (a.value.inputs[0], b.value), shapes[1][1], False), "kf")
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
        if any(isinstance(x, Read) and "p" in x.axes for x in reads):
            return self._by_rows(reads, shapes)
        letters = iter("abcdefghijlmnopqrstuvwxyz")  # k: what is summed over
        leading = [next(letters) for _ in range(max(len(s) for s in shapes) - 2)]
        (m, n), terms = (next(letters), next(letters)), []
        for s, own in zip(shapes, ([m, "k"], ["k", n]), strict=True):
            own = ["k"] if len(s) == 1 else own
            terms.append("".join([*leading[len(leading) - len(s) + len(own) :], *own]))
        output = "".join([*leading, *[m] * (len(shapes[0]) > 1), *[n] * (len(shapes[1]) > 1)])
        return self._contracted(node, reads, terms, output)

    def _by_rows(self, reads, shapes):
        """Products of ``[B * H, K]``, each row of a sequence on its own, with a closed-over matrix; and what
        its gradient is made of.
        """
        a, b = reads
        if isinstance(a, Read) and a.axes[-1:] == "p":  # [K, B * H] @ [B * H, N], over the batch
            k, n = shapes[0][0], shapes[1][1]
            h = shapes[0][1] // self.batch
            one = self._view(a.value, np.broadcast_to(np.arange(h * k).reshape(h, k, 1), (h, k, n)))
            other = self._view(b.value, np.broadcast_to(np.arange(h * n).reshape(h, 1, n), (h, k, n)))
            each = reduced(Kind.ROWSUM, pointwise("multiply", one, other), k * n, k * n)
            return Read(Value(Kind.TOTAL, (each,), k * n, False), roles_of((k, n), False))
        turned = isinstance(b, Read) and b.value.kind is Kind.TURNED
        if turned:
            b = Open(b.value.inputs[0].attr.index, self.recording.closures[b.value.inputs[0].attr.index])
        if not isinstance(b, Open) or not isinstance(a, Read):
            raise no_form("this product of rows of a sequence")
        k, n = shapes[1]
        h = shapes[0][0] // self.batch
        matrix = np.arange(k * n).reshape(n, k).T if turned else np.arange(k * n).reshape(k, n)
        other = self._view(self.closed(b, self.own_axes(b)).value, np.broadcast_to(matrix.T, (h, n, k)))
        one = self._view(a.value, np.broadcast_to(np.arange(h * k).reshape(h, 1, k), (h, n, k)))
        value = Value(Kind.ROWSUM, (pointwise("multiply", one, other),), h * n, True)
        return Read(value, "p" + role_of(n))

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
        return self._contracted(node, reads, terms, output)

    def _contracted(self, node, reads, terms, output):
        """A sum of products by labels, one for each axis; the batch's is that of an operand's first axis."""
        shapes = [np.shape(x.data) for x in node.saved]
        batch = {t[0] for t, r in zip(terms, reads, strict=True) if self._has_batch(r)}
        if len(batch) > 1 or any(isinstance(r, Read) and not _LAYOUT.fullmatch(r.axes) for r in reads):
            raise self._unfit(node.op.name, reads, "the batch must be one axis, the first")
        label, sizes = (batch.pop() if batch else ""), {}
        for t, s in zip(terms, shapes, strict=True):
            for c, n in zip(t, s, strict=True):
                sizes[c] = max(sizes.get(c, 1), n)
        free = [c for c in output if c != label]
        summed = [c for c in sizes if c not in output and c != label]
        if label in output and output[:1] != label:
            raise no_form(f"{node.op.name} that moves the batch", "keep the batch first")
        order = _as_they_lie(free, summed, [t.replace(label, "") for t in terms])
        dims, factors = [sizes[c] for c in order], []
        for r, t, s in zip(reads, terms, shapes, strict=True):
            rows = bool(label) and t[:1] == label
            if isinstance(r, Open):
                r = self.closed(r, roles_of(s, rows and s[0] != 1))  # one row for all, where it is one
            if label and label in t[1:]:
                raise no_form(f"{node.op.name} that moves the batch", "keep the batch first")
            own, columns = (t[1:], s[1:]) if rows else (t, s)
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
        return Read(widened(value, width, value.rows), roles_of(node.shape, label in output and bool(label)))

    def _reduce(self, node, reads, axis, keepdims):
        """A sum, mean, max or min over columns, over the batch, or over both."""
        name, shape = node.op.name, np.shape(node.saved[0].data)
        x = self._row(name, reads[0])
        axis = tuple(range(len(shape))) if axis is None else axis
        roles = {x.axes[i] for i in axis}
        if (
            {"k", "p"} & {*x.axes}
            or not _LAYOUT.fullmatch(x.axes)
            or ("b" in roles and name in ("max", "min"))
        ):
            raise no_form(f"{name} of {a_row(x.axes)} over {axis}")
        value, count = x.value, math.prod(shape[i] for i in axis)
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
        rows = "b" in x.axes
        rest = [i for i in range(rows, len(shape)) if i not in axis]
        width = math.prod(shape[i] for i in rest)
        wide = sorted([i for i in axis if shape[i] > 1])
        if all(i in axis for i in range(wide[0], wide[-1])):
            return reduced(kind, x.value, width, math.prod(shape[wide[-1] + 1 :]))
        columns = np.arange(x.value.width).reshape(shape[rows:])
        ordered = columns.transpose([i - rows for i in (*rest, *axis)])
        return reduced(kind, self._view(x.value, ordered), width)

    _sum = _mean = _max = _min = _reduce

    def _exponentials(self, node, reads):
        """exp of x less its largest element along the last axis; the sum of that and the largest element,
        both also for each column of x; x.
        """
        name = node.op.name
        x, shape = self._row(name, reads[0]), np.shape(node.saved[0].data)
        if x.axes[-1:] == "b":
            raise TraceError(_MIXES)
        if not x.axes or not _LAYOUT.fullmatch(x.axes):
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


def roles_of(shape, rows) -> str:
    """The roles of the axes of features, after the batch if it has ``rows``."""
    return "b" * bool(rows) + "".join([role_of(n) for n in shape[bool(rows) :]])


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
