"""From the tape of a step to a program.

Each axis of every tensor on the tape has a role (`roles`). What has none of them, or is not made by the kinds
of `ir.Kind`, raises `TraceError`, and the step runs eagerly. Pointwise ops are read here; each of the others
has a function, in `read_shapes`, `read_sums` or `read_integers`.
"""

import copy
import itertools
import math

import numpy as np

from ..autograd.tape import ITEM, Node, Tensor
from ..base.devices import to_device
from ..base.errors import TraceError
from . import read_integers, read_shapes, read_sums
from .ir import (
    SUMS,
    TRUTHS,
    Closed,
    CompilerFault,
    Input,
    Kind,
    Program,
    Source,
    Value,
    beside,
    needs_grad,
    number,
    order,
    pointwise,
    verify,
    viewed,
    widened,
)
from .roles import (
    MIXES,
    Open,
    Read,
    a_row,
    batch_of,
    columns_of,
    is_rows,
    merged,
    no_form,
    roles_of,
    unfit,
    without_batch,
)
from .views import SEVERAL

# Pointwise ops that may give truth values: of numbers and truth values alike.
_MAY_BE_TRUTHS = TRUTHS | {"where", "maximum", "minimum", "multiply"}
MOVES = frozenset(
    "reshape broadcast_to getitem gather place permute_dims split concat stack unstack flip roll pad detach "
    "astype sum max min argmax argmin count_nonzero any all take_along_axis lookup".split()
)
_CONSTANT = "a derivative of the step uses a constant that the step does not have"
_MEND = "write it with other ops, or compute it for all steps before the loop, as part of xs"
_MENDS = {"dropout": "use recurrent_dropout or zoneout of tr.RNN, or multiply by tr.bernoulli"}
LOWERED = read_shapes.LOWERED | read_sums.LOWERED | read_integers.LOWERED


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
                raise TraceError(MIXES).at(self.makers.get(v))
        closures = tuple([self._closure(slot, t) for slot, t in enumerate(self.recording.closures)])
        program = Program(tuple(news), self.recording.widths, closures, self.count)
        verify(program)
        return program

    def _closure(self, slot, t) -> Closed:
        """How the step uses what it closes over; what it only gives to a `custom_vjp`, as that does."""
        forms = {axes for s, axes in self.forms if s == slot}
        forms = forms or {axes for s, axes in self.forms if self._is_detached(s, t)}
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

    def _is_detached(self, slot, t):
        """True where a closed-over tensor is another one, ``t``, detached."""
        node = self.recording.closures[slot].node
        detached = node is not None and node.op not in (None, ITEM) and node.op.name == "detach"
        return detached and node.saved[0].node is t.node

    def rows(self, read, shape) -> Value:
        """A new state as rows ``[B, w]``."""
        if isinstance(read, Open):
            read = self.closed(read, roles_of(shape, 0))
        if read.axes not in ("bf", "b1"):
            mend = "a step must return rows [batch, features]"
            raise TraceError(f"a state has the axes {a_row(read.axes)}: {mend}")
        return read.value

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
            columns, roles = columns_of("permute_dims", base.axes, t.shape, lambda a: a.transpose(order))
            return Read(self.view(base.value, columns), roles)
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

    def along_batch(self, read, shape, at) -> Read:
        """An operand beside others whose batch is the axis ``at``: what is closed over, of a ``shape``, has
        rows there, or one for all.
        """
        if isinstance(read, Read):
            return read
        return self.closed(read, roles_of(shape, at if at is not None and shape[at] != 1 else None))

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
            if "k" in here and len(here) > 1 and "b" not in here:
                mend = "write U * 1 in one of the two"
                raise no_form(
                    f"a closed-over {list(shape)} that is the matrix of a product and used otherwise", mend
                )
            if len(here) > 1 or ("b" in here and shape[-back] != self.batch):
                raise unfit(name, reads, "the batch meets an axis of features")
            axes = (here.pop() if here else "f" if shape[-back] != 1 else "1") + axes
        out = []
        for r in reads:
            if isinstance(r, Open):
                own = r.shape
                roles = zip(own, axes[len(axes) - len(own) :], strict=True)
                r = self.closed(r, "".join(["1" if n == 1 else role for n, role in roles]))
            out.append(r if {*"km"} & {*axes} else self.spread(r, axes, shape))
        return out, axes

    def spread(self, read, axes, shape):
        """``read`` broadcast to the features of ``shape``, whose roles are ``axes``. One column stays one, as
        it is in a loop.
        """
        role, first = merged(axes), len(axes) - len(read.axes)
        if role:  # as the batch and features of their own
            at = axes.index(role)
            sizes, two = [self.batch, shape[at] // self.batch], "bf"
            sizes, two = (sizes, two) if role == "p" else (sizes[::-1], two[::-1])
            own = [two if r == role else "11" if i == at - first else r for i, r in enumerate(read.axes)]
            whole = (*shape[:at], *sizes, *shape[at + 1 :])
            found = self.spread(Read(read.value, "".join(own)), axes.replace(role, two), whole)
            return Read(found.value, read.axes)
        value, features = read.value, without_batch(shape, axes)
        if value.width in (1, math.prod(features)):
            return read
        own = zip(read.axes, axes[first:], shape[first:], strict=True)
        sizes = [1 if role == "1" else n for role, whole, n in own if whole != "b"]
        columns = np.broadcast_to(np.arange(value.width).reshape(sizes), features)
        return Read(self.view(value, columns), read.axes)

    def view(self, value, columns) -> Value:
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
        if self.batch == 1 and not (batch and (value.rows, value.width) == ("b" in axes, width)):
            which = "of a batch of one it cannot be told which axis is the batch"
            raise TraceError(f"{node.op.name} to {list(node.shape)}: {which}; larger ones are compiled")
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
        lower = LOWERED.get(name)
        if not node.op.rule and lower is None:
            raise TraceError(f"the op {name} has no compiled form: {_MENDS.get(name, _MEND)}")
        self._check_dtype(node, name)
        if lower is not None:
            return lower(self, node, reads, **node.params)
        reads, axes = self.aligned(name, reads, node.shape)
        return Read(pointwise(name, *[r.value for r in reads]), axes)

    def _check_dtype(self, node, name):
        """Floats are of the one dtype of the loop; truth values and counts of them are numbers in it, and
        must act as such.
        """
        kinds = "biu" if name in MOVES else "b" if name in _MAY_BE_TRUTHS else ""
        for dtype in node.dtype if isinstance(node.dtype, list) else [node.dtype]:
            if dtype != self.dtype and dtype.kind not in kinds:
                mend = "write .astype(h.dtype) before it, or cast outside of the step"
                raise TraceError(f"{name} makes {dtype} where x and states are {self.dtype}: {mend}")

    def row(self, name, read) -> Read:
        """An operand that has roles; a closed-over one gets its own."""
        return self.closed(read, self.own_axes(read)) if isinstance(read, Open) else read


def _placed(data):
    """A tensor over ``data`` that has a place on the tape."""
    return Tensor(data, Node(None, (), None, data))
