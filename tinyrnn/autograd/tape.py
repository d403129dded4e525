"""The tape: ops, the record of their use, and the walk back over it.

An `Op` is a forward function on arrays and one VJP (vector-Jacobian product) for each input. Applying it to
tensors makes a `Node` that points at the nodes of its inputs: all nodes together are the tape. VJPs are
written in tensor ops, so walking back is itself recorded when asked (``create_graph``), which gives
derivatives of any order.

Nodes are numbered as they are made, and an op's inputs exist before its output. The walk back therefore takes
the highest
number first from a heap: no recursion, no search for an order, and every node is final when it is taken.
"""

import heapq
import inspect
import itertools
import threading
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from ..base import errors
from ..base.devices import array_module, device_of, is_cupy

TABLE: dict[
    str, "Op"
] = {}  # every op by name: the gradient check, the documentation and the compiler read it
EXPLAINED = (ValueError, TypeError, IndexError, OverflowError)  # of NumPy and CuPy: see `explained`

_numbers = itertools.count()


class _State(threading.local):
    recording = True
    looked = False  # at values, while a program was recorded


state = _State()
# What the surrounding derivatives of functions differentiate by: a thread or task that is given this context
# sees them too.
differentiated = ContextVar("differentiated", default=frozenset())
LOOKED = "it looks at the values of a tensor (item(), numpy(), if ...)"
TRACE = "trace"  # in state.recording: record every op, with all its inputs, also where no gradient flows


@contextmanager
def _set_recording(value):
    previous = state.recording
    state.recording = TRACE if value and previous is TRACE else value
    try:
        yield
    finally:
        state.recording = previous


def no_grad():
    """Context (or decorator) in which nothing is recorded: for inference and for changing parameters in
    place.
    """
    return _set_recording(False)


def recording():
    """Context in which operations are recorded, also inside ``no_grad()``."""
    return _set_recording(True)


def tracing():
    """Context in which the tape holds the whole program: what a compiler reads."""
    return _set_recording(TRACE)


def mark() -> int:
    """A number between those of the nodes made so far and those to come."""
    return next(_numbers)


def is_tracing() -> bool:
    """True while a program is recorded that must hold for any values."""
    return state.recording is TRACE


def is_recording() -> bool:
    """False inside ``no_grad()`` of this thread."""
    return bool(state.recording)


def is_recorded(x) -> bool:
    """True for a tensor on the tape while recording, and for a list or tuple of such: its values alone lose a
    gradient.
    """
    if isinstance(x, list | tuple):
        return any(is_recorded(v) for v in x)
    return isinstance(x, Tensor) and x.node is not None and bool(state.recording)


def values_of(x, user, mend):
    """The array of a tensor, for ``user``, code that takes values without saying that no gradient is wanted.

    Raises:
        GradientError: the tensor is on the tape; ``mend`` says what to write instead.
    """
    if is_recorded(x) and state.recording is not TRACE:
        raise errors.GradientError(f"{user} would lose the gradient of a tensor that is on the tape: {mend}")
    return looked_at(x)


def looked_at(x):
    """``x.data``, for code that looks at the values, which a program for any values cannot do."""
    if state.recording is TRACE and x.node is not None:
        state.looked = True  # also if the step catches the error
        raise errors.TraceError(LOOKED)
    return x.data


class Op:
    """One entry of the op table.

    Args:
        name: NumPy's or the field's name.
        forward: function of arrays (and keyword parameters) to an array, or to a tuple of arrays.
        vjps: for each differentiable input, by name, its VJP. A VJP names what it needs as arguments, and the
            tape keeps just that: ``g`` the gradient of the output (a list for several outputs), ``y`` the
            output, an input by its name, ``inputs`` all of them, ``shape`` the shape of the input
            differentiated, ``i`` its position, any keyword parameter by its name. With variadic inputs the
            one entry ``"*"`` serves them all. A function instead of a dict returns the gradients of all
            inputs at once (None: no gradient).
        inputs: names of the inputs; default: the positional arguments of ``forward``.
        rule: for pointwise ops the scalar expression that code generators use (Python and C alike).
        view: the output may share memory with the first input.
        listed: enter it into ``TABLE``; False for what is no function of arrays alone.
    """

    __slots__ = ("name", "forward", "inputs", "rule", "view", "vjps", "joint")
    __slots__ += ("keeps", "keeps_output", "keeps_shapes")  # what a node is to save

    def __init__(self, name, forward, vjps=None, *, inputs=None, rule=None, view=False, listed=True):
        self.name, self.forward, self.rule, self.view = name, forward, rule, view
        self.joint = callable(vjps)
        vjps = {"*": vjps} if self.joint else vjps or {}
        if inputs is None:
            inputs = tuple(
                n for n, p in inspect.signature(forward).parameters.items() if p.kind != p.KEYWORD_ONLY
            )
        self.inputs = inputs
        needed = {n: tuple(inspect.signature(f).parameters)[1:] for n, f in vjps.items()}
        used = set().union(*needed.values())
        # For each input, and for the output: the inputs whose VJPs need it. What no gradient will need is not
        # kept.
        each = [needed.get("*", needed.get(n, ())) for n in inputs]
        self.keeps = "inputs" in used or tuple(
            frozenset(i for i, need in enumerate(each) if n in need) for n in inputs
        )
        self.keeps_output = frozenset(i for i, need in enumerate(each) if "y" in need)
        self.keeps_shapes = "shape" in used
        self.vjps = {n: _bind(f, needed[n], inputs) for n, f in vjps.items()}
        if "*" not in vjps:  # by position, for speed
            self.vjps = tuple(self.vjps.get(n) for n in inputs) if vjps else ()
        if listed and TABLE.setdefault(name, self) is not self:
            raise errors.TinyrnnError(f"op {name!r} is in the table already: choose another name")

    def vjp(self, position: int):
        """The VJP of the input at ``position`` as a function ``(g, node, position)``, or None."""
        return self.vjps[position] if type(self.vjps) is tuple else self.vjps["*"]

    def __repr__(self):
        return f"<op {self.name}>"


def _bind(function, needed, inputs):
    """Turn a VJP with named needs into a function of (gradient, node, position of the input)."""

    def getter(name):
        if name == "y":
            return lambda node, i: node.restore_output()
        if name == "shape":
            return lambda node, i: node.shapes[i]
        if name == "i":
            return lambda node, i: i
        if name == "inputs":
            return lambda node, i: node.saved
        if name in inputs:
            position = inputs.index(name)
            return lambda node, i: node.saved[position]
        return lambda node, i: node.params[name]

    getters = [getter(name) for name in needed]
    if not getters:
        return lambda g, node, i: function(g)
    if len(getters) == 1:
        (get,) = getters
        return lambda g, node, i: function(g, get(node, i))
    return lambda g, node, i: function(g, *[get(node, i) for get in getters])


class Node:
    """One application of an op, or a leaf (``op`` is None). Holds what the VJPs need, never the output tensor
    itself.

    ``params`` of a leaf that a derivative of a function made of an argument is a list, not empty while one is
    being taken.
    """

    __slots__ = ("op", "parents", "params", "shape", "dtype", "number", "grad", "hooks")  # what it is
    __slots__ += ("saved", "output", "shapes", "__weakref__")  # what its VJPs need

    def __init__(self, op, parents, params, data, saved=None):
        self.op, self.parents, self.params, self.shape, self.dtype = (
            op,
            parents,
            params,
            data.shape,
            data.dtype,
        )
        self.saved = saved
        self.number = next(_numbers)
        self.grad = self.output = self.hooks = None

    def restore_output(self):
        data, version = self.output
        return Tensor(data, self, version)

    def check_versions(self):
        """Raise if a saved value was changed in place: versions and nodes are numbered by one counter."""
        versions = [x.version for x in self.saved or () if type(x) is Tensor]
        if self.output is not None:
            versions.append(self.output[1])
        check_unchanged(self.op.name, versions, self.number)

    def free(self):
        self.op, self.saved, self.output, self.params, self.shapes, self.parents = (
            FREED,
            None,
            None,
            None,
            None,
            (),
        )


def check_unchanged(name, versions, number):
    """Raise if memory with one of ``versions`` was changed in place since node ``number`` of op ``name``."""
    if any(v is not None and v[0] > number for v in versions):
        raise errors.ChangedInPlaceError(
            f"{name}: a value its gradient needs was changed in place after it was computed: "
            "use the functional form (x = x + y), or change it after backward()"
        )


# Stand-ins in Node.op: a tape already walked, and "output i of an op with several outputs".
FREED, ITEM = "freed", "item"
NONE: dict = {}  # the parameters of an op that has none
BORROWED = (
    0,
)  # in Tensor.version: an array of the caller's, given without a tensor; what is kept of it is a copy


class Tensor:
    """An array that remembers how it was computed.

    Args:
        data: the array (NumPy or CuPy); it is not copied. Use ``tensor`` to make one from anything else.

    ``data`` is the array, ``node`` its place on the tape (None: no gradient flows to it), ``version`` a cell
    shared by all
    tensors over the same memory, made when there is a second one: the number, in the order in which nodes are
    made, of the last change in place, or BORROWED. ``origin`` is set for rows of a table alone, by
    `embedding`.
    """

    __slots__ = ("data", "node", "version", "origin", "__weakref__")

    def __init__(self, data, node=None, version=None):
        self.data = data
        self.node = node
        self.version = version

    def shared_version(self) -> list:
        """The version cell, for another tensor over the same memory."""
        if self.version is None:
            self.version = [0]
        return self.version

    @property
    def requires_grad(self) -> bool:
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool):
        if not self.is_leaf:
            if value:
                return
            raise errors.GradientError("requires_grad can be taken from leaf tensors only: call detach()")
        if value and self.node is None:
            if self.data.dtype.kind != "f":
                raise errors.GradientError(
                    f"a tensor of {self.data.dtype} has no gradient: make it a floating dtype first"
                )
            if self.version is BORROWED:
                self.data, self.version = self.data.copy(), None
            self.node = Node(None, (), None, self.data)
            self.node.output = (
                None,
                self.shared_version(),
            )  # so that a recomputation can ask whether the leaf changed
        elif not value:
            self.node = None

    @property
    def is_leaf(self) -> bool:
        """True when no recorded op made this tensor."""
        return self.node is None or self.node.op is None

    @property
    def grad(self):
        """The accumulated gradient of a leaf, a Tensor of its shape and dtype, or None."""
        return None if self.node is None else self.node.grad

    @grad.setter
    def grad(self, value):
        if self.node is None:
            raise errors.GradientError("this tensor does not require grad: set requires_grad = True first")
        if value is not None and getattr(value, "shape", None) != self.data.shape:
            raise errors.GradientError(
                f"grad must be None or a tensor of shape {list(self.data.shape)}, like its own"
            )
        self.node.grad = value

    def mark_changed(self):
        """Say that ``data`` was changed in place: derivatives recorded before will refuse to use it. Returns
        the tensor.
        """
        if self.version is not BORROWED:
            self.shared_version()[0] = next(_numbers)
        return self


def apply(op: Op, *inputs, **params):
    """Run ``op`` on tensors (and bare Python numbers) and record it if any input requires a gradient."""
    try:
        out = op.forward(*[x.data if type(x) is Tensor else x for x in inputs], **params)
    except EXPLAINED as error:
        if isinstance(error, errors.TinyrnnError):
            raise
        raise explained(op, inputs, error) from error
    return record(op, inputs, params, out)


def record(op, inputs, params, out):
    """``out``, computed by ``op`` from ``inputs``, as a tensor (or a tuple of them) with its place on the
    tape.
    """
    if type(out) is tuple:
        return _record_many(op, inputs, params, out)
    if type(out) is not np.ndarray and (isinstance(out, np.generic) or not hasattr(out, "shape")):
        out = np.asarray(out)  # a scalar stands for a 0-d array
    y = Tensor(out, None, inputs[0].shared_version() if op.view else None)
    if out.dtype.kind == "f" or state.recording is TRACE:
        y.node = node = _node(op, inputs, params, out)
        if node is not None and any(node.parents[i] is not None for i in op.keeps_output):
            node.output = out, y.shared_version()
    return y


def _record_many(op, inputs, params, outs):
    ys = tuple([Tensor(out, None, inputs[0].shared_version() if op.view else None) for out in outs])
    node = _node(op, inputs, params, outs[0])
    if node is not None:
        node.shape, node.dtype = [out.shape for out in outs], [out.dtype for out in outs]
        for i, y in enumerate(ys):
            if y.data.dtype.kind == "f":
                y.node = Node(ITEM, (node,), {"i": i}, y.data)
    return ys


def _node(op, inputs, params, out):
    """The node of this application, or None where nothing is to be recorded."""
    parents = tuple([x.node if type(x) is Tensor else None for x in inputs])
    recording = state.recording
    if not (recording and any(parents) and (op.vjps or recording is TRACE)):
        return None
    saved = None
    if op.keeps is True or recording is TRACE:
        saved = inputs
    elif any(op.keeps):
        live = {i for i, p in enumerate(parents) if p is not None}
        saved = [None if live.isdisjoint(need) else x for x, need in zip(inputs, op.keeps, strict=True)]
    if recording is not TRACE:
        saved = saved and [owned(x) if p is None else x for x, p in zip(saved, parents, strict=True)]
    if params and not op.joint:  # a joint op answers for its parameters itself
        params = {n: v if type(v) in _IMMUTABLE else owned(v) for n, v in params.items()}
    node = Node(op, parents, params, out, saved)
    if op.keeps_shapes:
        node.shapes = [x.data.shape if type(x) is Tensor else () for x in inputs]
    return node


_IMMUTABLE = {int, float, bool, str, type(None)}


def owned(x):
    """``x``, an input or a parameter of an op, as the tape may keep it: arrays that the caller may change are
    copied.

    The one place for that: whatever an op keeps is passed through here.
    """
    if type(x) is Tensor:
        return Tensor(x.data.copy()) if x.version is BORROWED else x
    if type(x) in (tuple, list):
        return type(x)([v if type(v) in _IMMUTABLE else owned(v) for v in x])
    return x.copy() if isinstance(x, np.ndarray) or is_cupy(x) else x


def explained(op, inputs, error):
    """What to raise for an error of NumPy or CuPy in the forward of ``op``: named, with the shapes and the
    mend.
    """
    shapes = " and ".join(str(list(getattr(x, "shape", ()))) for x in inputs[:4])
    said = str(error)
    if len({device_of(x.data) for x in inputs if isinstance(x, Tensor)}) > 1:
        return errors.DeviceError(
            f"{op.name}: operands on cpu and cuda: move them to one device with .to(device)"
        )
    if "could not be broadcast" in said or "remapped" in said:
        return errors.ShapeError(
            f"{op.name}: shapes {shapes} do not broadcast: sizes must be equal or 1, counted from the right"
        )
    if isinstance(error, IndexError):
        return errors.OutOfRangeError(f"{op.name}: {said} (shapes {shapes})")
    if isinstance(error, TypeError) and ("ufunc" in said or "boolean" in said or "dtype" in said):
        dtypes = " and ".join(str(getattr(x, "dtype", type(x).__name__)) for x in inputs[:4])
        return errors.DtypeError(f"{op.name} does not take {dtypes}: convert with .astype(dtype)")
    about_shapes = any(word in said for word in ("shape", "dimension", "size", "axis", "axes", "operand"))
    return (errors.ShapeError if about_shapes else errors.InputError)(f"{op.name}: {said} (shapes {shapes})")


def fit(g: Tensor, shape, dtype) -> Tensor:
    """Undo broadcasting and promotion: sum ``g`` to ``shape`` and cast it to ``dtype``. The one place for
    both.
    """
    if g.data.shape != shape:
        extra = g.data.ndim - len(shape)
        axes = tuple(range(extra)) + tuple(
            i + extra for i, n in enumerate(shape) if n == 1 and g.data.shape[i + extra] != 1
        )
        if axes:
            g = apply(TABLE["sum"], g, axis=axes, keepdims=False)
        if g.data.shape != shape:
            g = apply(TABLE["reshape"], g, newshape=shape)
    return g if g.data.dtype == dtype else apply(TABLE["astype"], g, dtype=dtype)


class _Sums:
    """Gradients under way, by node. A sum that owns its array grows in place."""

    def __init__(self, create_graph):
        self.create_graph = create_graph
        self.sums, self.owned, self.heap = {}, set(), []

    def add(self, node, g, fresh=False):
        """Add ``g`` to the gradient of ``node``; ``fresh`` says that nobody else holds its array."""
        held = self.sums.get(node)
        if held is None:
            self.sums[node] = g
            heapq.heappush(self.heap, (-node.number, node))
        elif node in self.owned:
            np.add(held.data, g.data, out=held.data)
            return
        else:
            self.sums[node] = apply(TABLE["add"], held, g)
            fresh = True
        if fresh and not self.create_graph:
            self.owned.add(node)

    def add_item(self, node, i, g):
        """Set the gradient of output ``i`` of a node with several outputs."""
        if node not in self.sums:
            self.sums[node] = [None] * len(node.shape)
            heapq.heappush(self.heap, (-node.number, node))
        self.sums[node][i] = g

    def pop(self):
        _, node = heapq.heappop(self.heap)
        g = self.sums.pop(node)
        if type(g) is list:  # outputs that nothing used
            xp = array_module(next(gi.data for gi in g if gi is not None))
            g = [
                Tensor(xp.zeros(node.shape[i], node.dtype[i])) if gi is None else gi for i, gi in enumerate(g)
            ]
        return node, g

    def final(self, node, g):
        """``g`` as it is handed out: not sharing memory with another gradient (``a + b`` gives both the
        same).
        """
        return owned(g) if self.create_graph or node in self.owned else Tensor(g.data.copy())


def backpropagate(roots, *, create_graph=False, retain_graph=False, targets=None, hooks=True) -> dict:
    """Walk the tape back from ``roots``, pairs (node, gradient), and return the gradients of ``targets`` by
    node.

    ``targets`` None means every leaf; else only paths that end in a target are walked, and none goes past
    one. Unless ``retain_graph`` or ``create_graph``, each node is freed as soon as it has been passed.
    ``hooks`` False does not call any.

    Raises:
        TapeFreedError: part of the tape was freed by an earlier walk.
        ChangedInPlaceError: a saved value was changed in place.
    """
    useful = None if targets is None else leading_to(targets, [node for node, _ in roots])
    found, sums = {}, _Sums(create_graph)
    for node, g in roots:
        if useful is None or node in useful:
            sums.add(node, g)
    with _set_recording(create_graph):
        while sums.heap:
            node, g = sums.pop()
            if node.hooks and hooks:
                g = _hooked(node, g)
                sums.owned.discard(node)  # what a hook returned may be somebody's
            if node.op is None or (targets is not None and node in targets):
                found[node] = sums.final(node, g)
                continue
            if node.op is FREED:
                raise errors.TapeFreedError(
                    "backward ran over this part of the tape before and freed it: "
                    "pass retain_graph=True to the first backward()"
                )
            if node.op is ITEM:
                sums.add_item(node.parents[0], node.params["i"], g)
                continue
            node.check_versions()
            for parent, gi in _gradients(node, g, useful):
                gi = fit(gi, parent.shape, parent.dtype)
                # A joint VJP may give one array to two inputs, or an array that someone else holds.
                fresh = not node.op.joint and gi.data.base is None and not _same_memory(gi, g)
                sums.add(parent, gi, fresh=fresh)
            if not (retain_graph or create_graph):
                node.free()
    return found


def _same_memory(gi, g):
    return any(gi.data is x.data for x in g) if type(g) is list else gi.data is g.data


def _hooked(node, g):
    for hook in node.hooks:
        replaced = hook.function(Tensor(g.data.copy(), g.node))  # a copy: a hook may change it, or keep it
        if replaced is not None:
            replaced = replaced if isinstance(replaced, Tensor) else Tensor(np.asarray(replaced))
            if replaced.data.shape != g.data.shape:
                raise errors.GradientError(
                    f"a hook replaced a gradient {list(g.shape)} by {list(replaced.data.shape)}: return that shape, or None"
                )
            g = fit(replaced, g.data.shape, g.data.dtype)
    return g


def _gradients(node, g, useful):
    """Pairs (parent, gradient) for the parents of ``node`` that are to be walked."""
    if node.op.joint:
        all_at_once = node.op.vjps["*"](g, node, None)
        pairs = zip(node.parents, all_at_once, strict=True)
        return [
            (p, gi) for p, gi in pairs if p is not None and gi is not None and (useful is None or p in useful)
        ]
    pairs = []
    for i, parent in enumerate(node.parents if node.op.vjps else ()):
        # While a program is recorded, integers and bools have nodes as well: no gradient flows to those.
        if parent is not None and parent.dtype.kind == "f" and (useful is None or parent in useful):
            vjp = node.op.vjp(i)
            if vjp is not None:
                pairs.append((parent, vjp(g, node, i)))
    return pairs


def leading_to(targets, roots) -> set:
    """The nodes between ``roots`` and ``targets``: those from which a target is reached."""
    oldest = min((t.number for t in targets), default=0)
    reached = walk(roots, oldest, targets)
    useful = set()
    for node in sorted(reached, key=lambda n: n.number):
        if node in targets or any(p in useful for p in node.parents):
            useful.add(node)
    return useful


def walk(roots, oldest=0, ends=()) -> set:
    """All nodes that ``roots`` depend on, themselves included, not older than number ``oldest`` nor beyond
    ``ends``.
    """
    reached, todo = set(), [n for n in roots if n is not None]
    while todo:
        node = todo.pop()
        if node not in reached and node.number >= oldest:
            reached.add(node)
            if node not in ends:
                todo.extend(p for p in node.parents if p is not None)
    return reached
