"""The tape: ops, the record of their use, and the walk back over it.

An `Op` is a forward function on arrays and one VJP (vector-Jacobian product) for each input. Applying it to
tensors makes a `Node` that points at the nodes of its inputs: all nodes together are the tape. VJPs are
written in tensor ops, so walking back is itself recorded when asked (``create_graph``), which gives
derivatives of any order.

Nodes are numbered as they are made, and an op's inputs exist before its output. The walk back therefore takes
the highest number first from a heap: no recursion, no search for an order, and every node is final when it
is taken.

`Tensor`, the class, knows all functions of tensors as its methods, so it is defined after them, in
``tensor.py``, and becomes the ``Tensor`` of this file there (`tensors_are`). Files between the two write
``tape.Tensor``: they make tensors only when they are called.
"""

from __future__ import annotations

import heapq
import inspect
import itertools
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..base import errors
from ..base.devices import array_module, is_cupy, same_device
from ..base.explain import EXPLAINED, explained

if TYPE_CHECKING:
    from .tensor import Tensor as Tensor

Array = Any  # of NumPy or CuPy, which has no types
_Class = TypeVar("_Class")
# Every op by name: the gradient check, the documentation and the compiler read it.
TABLE: dict[str, Op] = {}

# How `linalg.matmul` multiplies: in which precision (None: that of the arrays), and whether in a step.
Products = tuple[str | None, bool]

_numbers = itertools.count()


class _State(threading.local):
    recording: bool | str = True
    looked = False  # at values, while a program was recorded
    note: Callable[[Node], None] | None = None  # is told of each node of a program that is recorded
    products: Products = None, False


state = _State()
# What the surrounding derivatives of functions differentiate by: a thread or task that is given this context
# sees them too.
differentiated: ContextVar[frozenset[Any]] = ContextVar("differentiated", default=frozenset())
LOOKED = "it looks at the values of a tensor (item(), numpy(), if ...): use where(c, a, b)"
TRACE = "trace"  # in state.recording: record every op, with all its inputs, also where no gradient flows


def tensors_are(made: type[_Class]) -> type[_Class]:
    """Class decorator: that class is the ``Tensor`` of this file."""
    globals()["Tensor"] = made
    return made


@contextmanager
def _set_recording(value: bool | str) -> Iterator[None]:
    previous = state.recording
    state.recording = TRACE if value and previous is TRACE else value
    try:
        yield
    finally:
        state.recording = previous


@contextmanager
def multiplying(how: Products) -> Iterator[None]:
    """Context of `state.products`."""
    before, state.products = state.products, how
    try:
        yield
    finally:
        state.products = before


def no_grad() -> AbstractContextManager[None]:
    """Context (or decorator) in which nothing is recorded: for inference and for changing parameters in
    place.
    """
    return _set_recording(False)


def recording() -> AbstractContextManager[None]:
    """Context in which operations are recorded, also inside ``no_grad()``."""
    return _set_recording(True)


def tracing() -> AbstractContextManager[None]:
    """Context in which the tape holds the whole program: what a compiler reads."""
    return _set_recording(TRACE)


@contextmanager
def noting(note: Callable[[Node], None]) -> Iterator[None]:
    """Context in which ``note`` is told of each node of a program that is recorded, while it is made."""
    state.note, before = note, state.note
    try:
        yield
    finally:
        state.note = before


def mark() -> int:
    """A number between those of the nodes made so far and those to come."""
    return next(_numbers)


def is_tracing() -> bool:
    """True while a program is recorded that must hold for any values."""
    return state.recording is TRACE


def is_recording() -> bool:
    """False inside ``no_grad()`` of this thread."""
    return bool(state.recording)


def is_recorded(x: Any) -> bool:
    """True for a tensor on the tape while recording, and for a list or tuple of such: its values alone lose a
    gradient.
    """
    if isinstance(x, list | tuple):
        return any(is_recorded(v) for v in x)
    return isinstance(x, Tensor) and x.node is not None and bool(state.recording)


def values_of(x: Tensor, user: str, mend: str) -> Array:
    """The array of a tensor, for ``user``, code that takes values without saying that no gradient is wanted.

    Raises:
        GradientError: the tensor is on the tape; ``mend`` says what to write instead.
    """
    if is_recorded(x) and state.recording is not TRACE:
        raise errors.GradientError(f"{user} would lose the gradient of a tensor that is on the tape: {mend}")
    return looked_at(x)


def looked_at(x: Tensor) -> Array:
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

    # The last four say what a node is to save.
    __slots__ = "name forward inputs rule view vjps joint keeps keeps_output keeps_shapes plans".split()

    def __init__(
        self,
        name: str,
        forward: Any,
        vjps: Any = None,
        *,
        inputs: tuple[str, ...] | None = None,
        rule: str | None = None,
        view: bool = False,
        listed: bool = True,
    ) -> None:
        self.name, self.forward, self.rule, self.view = name, forward, rule, view
        self.joint = callable(vjps)
        vjps = {"*": vjps} if self.joint else vjps or {}
        if inputs is None:
            arguments = inspect.signature(forward).parameters.values()
            inputs = tuple(p.name for p in arguments if p.kind != p.KEYWORD_ONLY)
        self.inputs = inputs
        needed = {n: tuple(inspect.signature(f).parameters)[1:] for n, f in vjps.items()}
        used: set[str] = set().union(*needed.values())
        # For each input, and for the output: the inputs whose VJPs need it. What no gradient will need is not
        # kept.
        each = [needed.get("*", needed.get(n, ())) for n in inputs]
        keeps = tuple(frozenset(i for i, need in enumerate(each) if n in need) for n in inputs)
        self.keeps: Any = "inputs" in used or keeps
        self.keeps_output = frozenset(i for i, need in enumerate(each) if "y" in need)
        self.keeps_shapes = "shape" in used
        # Of an op of one or two inputs: whether (the first, the second, the output) is kept where on the tape
        # are neither, the first, the second, both.
        needs = (*(*keeps, frozenset(), frozenset())[:2], self.keeps_output)
        self.plans = [[not need.isdisjoint(live) for need in needs] for live in ((), (0,), (1,), (0, 1))]
        self.vjps: Any = {n: _bind(f, needed[n], inputs) for n, f in vjps.items()}
        if "*" not in vjps:  # by position, for speed
            self.vjps = tuple(self.vjps.get(n) for n in inputs) if vjps else ()
        if listed and TABLE.setdefault(name, self) is not self:
            raise errors.TinyrnnError(f"op {name!r} is in the table already: choose another name")

    def vjp(self, position: int) -> Any:
        """The VJP of the input at ``position`` as a function ``(g, node, position)``, or None."""
        return self.vjps[position] if type(self.vjps) is tuple else self.vjps["*"]

    def __repr__(self) -> str:
        return f"<op {self.name}>"


def _bind(function: Any, needed: Sequence[str], inputs: tuple[str, ...]) -> Callable[..., Any]:
    """Turn a VJP with named needs into a function of (gradient, node, position of the input)."""

    def getter(name: str) -> Callable[[Node, int], Any]:
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

    # The last three are what its VJPs need.
    __slots__ = "__weakref__ op parents params shape dtype number grad hooks saved output shapes".split()
    shapes: Any

    def __init__(self, op: Any, parents: Any, params: Any, data: Array, saved: Any = None) -> None:
        self.op, self.parents, self.params, self.saved = op, parents, params, saved
        self.shape, self.dtype = data.shape, data.dtype
        self.number = next(_numbers)
        self.grad: Tensor | None = None
        self.output: Any = None
        self.hooks: Any = None

    def restore_output(self) -> Tensor:
        data, version = self.output
        return Tensor(data, self, version)

    def check_versions(self) -> None:
        """Raise if a saved value was changed in place: versions and nodes are numbered by one counter."""
        versions = [x.version for x in self.saved or () if type(x) is Tensor]
        if self.output is not None:
            versions.append(self.output[1])
        check_unchanged(self.op.name, versions, self.number)

    def free(self) -> None:
        self.op, self.parents = FREED, ()
        self.saved = self.output = self.params = self.shapes = None


def check_unchanged(name: str, versions: Iterable[Any], number: int) -> None:
    """Raise if memory with one of ``versions`` was changed in place since node ``number`` of op ``name``."""
    if any(v is not None and v[0] > number for v in versions):
        raise errors.ChangedInPlaceError(
            f"{name}: a value its gradient needs was changed in place after it was computed: "
            "use the functional form (x = x + y), change it after backward(), "
            "or detach() what is kept meanwhile"
        )


# Stand-ins in Node.op: a tape already walked, and "output i of an op with several outputs".
FREED, ITEM = "freed", "item"
NONE: dict[str, Any] = {}  # the parameters of an op that has none
# In Tensor.version: an array of the caller's, given without a tensor; what is kept of it is a copy.
BORROWED = (0,)


def apply(op: Op, *inputs: Any, **params: Any) -> Any:
    """Run ``op`` on tensors (and bare Python numbers) and record it if any input requires a gradient."""
    try:
        out = op.forward(*[x.data if type(x) is Tensor else x for x in inputs], **params)
    except EXPLAINED as error:
        if isinstance(error, errors.TinyrnnError):
            raise
        raise explained(op, inputs, error) from error
    one = len(inputs) == 1 and type(inputs[0]) is Tensor and type(out) is not tuple
    if one and not op.joint and op.keeps is not True:
        return record_few(op, params, out, inputs[0], inputs[0].node)
    return record(op, inputs, params, out)


def record_few(
    op: Op,
    params: Mapping[str, Any],
    out: Any,
    x1: Any,
    n1: Node | None,
    x2: Any = None,
    n2: Node | None = None,
) -> Tensor:
    """`record` of an op of one tensor or of two operands, which have these nodes, written out: small arrays
    pay for every Python instruction.
    """
    if type(out) is not np.ndarray:
        out = as_array(out)
    version = x1.shared_version() if op.view else None
    recording = False if n1 is None and n2 is None else state.recording
    if recording is TRACE:
        return record(op, (x1,) if x2 is None else (x1, x2), params, out)
    if not recording or not op.vjps or out.dtype.kind != "f":
        return Tensor(out, None, version)
    keep_1, keep_2, keep_y = op.plans[(n1 is not None) + 2 * (n2 is not None)]
    saved = None
    if keep_1 or keep_2:
        saved = (
            (x1 if n1 is not None else owned(x1)) if keep_1 else None,
            (x2 if n2 is not None else owned(x2)) if keep_2 else None,
        )
    if params and not op.view:  # those of a view are numbers
        params = _owned_params(params)
    node = Node(op, (n1, n2), params, out, saved)
    if op.keeps_shapes:
        node.shapes = x1.data.shape, x2.data.shape if type(x2) is Tensor else ()
    if keep_y:
        version = version or [0]
        node.output = out, version
    return Tensor(out, node, version)


def record(op: Op, inputs: Sequence[Any], params: Mapping[str, Any], out: Any) -> Any:
    """``out``, computed by ``op`` from ``inputs``, as a tensor (or a tuple of them) with its place on the
    tape.
    """
    if type(out) is tuple:
        return _record_many(op, inputs, params, out)
    if type(out) is not np.ndarray:
        out = as_array(out)
    y = Tensor(out, None, inputs[0].shared_version() if op.view else None)
    if out.dtype.kind == "f" or state.recording is TRACE:
        y.node = node = _node(op, inputs, params, out)
        if node is not None and any(node.parents[i] is not None for i in op.keeps_output):
            node.output = out, y.shared_version()
    return y


def as_array(out: Any) -> Array:
    """What a function of NumPy or CuPy returned, as an array: a scalar stands for a 0-d one."""
    return np.asarray(out) if isinstance(out, np.generic) or not hasattr(out, "shape") else out


def _record_many(op: Op, inputs: Any, params: Any, outs: tuple[Array, ...]) -> tuple[Tensor, ...]:
    ys = tuple([Tensor(out, None, inputs[0].shared_version() if op.view else None) for out in outs])
    node = _node(op, inputs, params, outs[0])
    if node is not None:
        node.shape, node.dtype = [out.shape for out in outs], [out.dtype for out in outs]
        for i, y in enumerate(ys):
            if y.data.dtype.kind == "f":
                y.node = Node(ITEM, (node,), {"i": i}, y.data)
    return ys


def _node(op: Op, inputs: Any, params: Any, out: Array) -> Node | None:
    """The node of this application, or None where nothing is to be recorded."""
    parents = tuple([x.node if type(x) is Tensor else None for x in inputs])
    recording = state.recording
    if not (recording and any(parents) and (op.vjps or recording is TRACE)):
        return None
    saved = inputs if recording is TRACE else None
    if saved is None and (op.keeps is True or any(op.keeps)):
        live = {i for i, p in enumerate(parents) if p is not None}
        keeps = [live] * len(inputs) if op.keeps is True else op.keeps
        saved = [None if live.isdisjoint(need) else owned(x) for x, need in zip(inputs, keeps, strict=True)]
    if params and not op.joint:  # a joint op answers for its parameters itself
        params = _owned_params(params)
    node = Node(op, parents, params, out, saved)
    if op.keeps_shapes:
        node.shapes = [x.data.shape if type(x) is Tensor else () for x in inputs]
    if recording is TRACE and state.note is not None:
        state.note(node)
    return node


_IMMUTABLE = frozenset({int, float, bool, str, type(None), *(type(np.dtype(c)) for c in "efdilq?")})


def _owned_params(params: Mapping[str, Any]) -> Mapping[str, Any]:
    for v in params.values():
        if type(v) not in _IMMUTABLE and (type(v) is not tuple or not _IMMUTABLE.issuperset(map(type, v))):
            return {n: owned(v) for n, v in params.items()}
    return params


def owned(x: Any) -> Any:
    """``x``, an input or a parameter of an op, as the tape may keep it: arrays that the caller may change are
    copied.

    The one place for that: whatever an op keeps is passed through here.
    """
    if type(x) is Tensor:
        return Tensor(x.data.copy()) if x.version is BORROWED else x
    if type(x) in _IMMUTABLE or (type(x) is tuple and _IMMUTABLE.issuperset(map(type, x))):
        return x
    if type(x) in (tuple, list):
        return type(x)([owned(v) for v in x])
    return x.copy() if isinstance(x, np.ndarray) or is_cupy(x) else x


def fit(g: Tensor, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Tensor:
    """Undo broadcasting and promotion: sum ``g`` to ``shape`` and cast it to ``dtype``. The one place for
    both.
    """
    if g.data.shape != shape:
        extra = g.data.ndim - len(shape)
        stretched = (i + extra for i, n in enumerate(shape) if n == 1 and g.data.shape[i + extra] != 1)
        if axes := (*range(extra), *stretched):
            g = apply(TABLE["sum"], g, axis=axes, keepdims=False)
        if g.data.shape != shape:
            g = apply(TABLE["reshape"], g, newshape=shape)
    return g if g.data.dtype == dtype else apply(TABLE["astype"], g, dtype=dtype)


class _Sums:
    """Gradients under way, by node. A sum that owns its array grows in place."""

    def __init__(self, create_graph: bool) -> None:
        self.create_graph = create_graph
        self.sums: dict[Node, Any] = {}
        self.owned: set[Node] = set()
        self.heap: list[tuple[int, Node]] = []

    def add(self, node: Node, g: Tensor, fresh: bool = False) -> None:
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

    def add_item(self, node: Node, i: int, g: Tensor) -> None:
        """Set the gradient of output ``i`` of a node with several outputs."""
        if node not in self.sums:
            self.sums[node] = [None] * len(node.shape)
            heapq.heappush(self.heap, (-node.number, node))
        self.sums[node][i] = g

    def pop(self) -> tuple[Node, Any]:
        _, node = heapq.heappop(self.heap)
        g = self.sums.pop(node)
        if type(g) is list:  # outputs that nothing used
            xp = array_module(next(gi.data for gi in g if gi is not None))
            kinds = zip(node.shape, node.dtype, strict=True)
            g = [Tensor(xp.zeros(*kind)) if gi is None else gi for gi, kind in zip(g, kinds, strict=True)]
        return node, g

    def final(self, node: Node, g: Any) -> Tensor:
        """``g`` as it is handed out: not sharing memory with another gradient (``a + b`` gives both the
        same).
        """
        return owned(g) if self.create_graph or node in self.owned else Tensor(g.data.copy())


def backpropagate(
    roots: Iterable[tuple[Node, Tensor]],
    *,
    create_graph: bool = False,
    retain_graph: bool = False,
    targets: Collection[Node] | None = None,
    hooks: bool = True,
) -> dict[Node, Tensor]:
    """Walk the tape back from ``roots``, pairs (node, gradient), and return the gradients of ``targets`` by
    node.

    ``targets`` None means every leaf; else only paths that end in a target are walked, and none goes past
    one. Unless ``retain_graph`` or ``create_graph``, each node is freed as soon as it has been passed.
    ``hooks`` False does not call any.

    Raises:
        TapeFreedError: part of the tape was freed by an earlier walk.
        ChangedInPlaceError: a saved value was changed in place.
    """
    roots = list(roots)
    useful = None if targets is None else leading_to(targets, [node for node, _ in roots])
    found: dict[Node, Tensor] = {}
    sums = _Sums(create_graph)
    for node, g in roots:
        if useful is None or node in useful:
            sums.add(node, g)
    with _set_recording(create_graph), multiplying((None, False)):  # each op says how it is differentiated
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


def _same_memory(gi: Tensor, g: Any) -> bool:
    return any(gi.data is x.data for x in g) if type(g) is list else gi.data is g.data


def _hooked(node: Node, g: Tensor) -> Tensor:
    for hook in node.hooks:
        replaced = hook.function(Tensor(g.data.copy(), g.node))  # a copy: a hook may change it, or keep it
        if replaced is not None:
            replaced = replaced if isinstance(replaced, Tensor) else Tensor(as_array(replaced))
            same_device("a hook's gradient", replaced.data, g.data)
            if replaced.data.shape != g.data.shape:
                change = f"{list(g.shape)} by {list(replaced.data.shape)}"
                raise errors.GradientError(f"a hook replaced a gradient {change}: return that shape, or None")
            g = fit(replaced, g.data.shape, g.data.dtype)
    return g


def _gradients(node: Node, g: Any, useful: set[Node] | None) -> list[tuple[Node, Tensor]]:
    """Pairs (parent, gradient) for the parents of ``node`` that are to be walked."""
    if node.op.joint:
        pairs = zip(node.parents, node.op.vjps["*"](g, node, None), strict=True)
        wanted = [pair for pair in pairs if pair[0] is not None and pair[1] is not None]
        return [(p, gi) for p, gi in wanted if useful is None or p in useful]
    gradients = []
    for i, parent in enumerate(node.parents if node.op.vjps else ()):
        # While a program is recorded, integers and bools have nodes as well: no gradient flows to those.
        if parent is not None and parent.dtype.kind == "f" and (useful is None or parent in useful):
            vjp = node.op.vjp(i)
            if vjp is not None:
                gradients.append((parent, vjp(g, node, i)))
    return gradients


def leading_to(targets: Collection[Node], roots: Iterable[Node]) -> set[Node]:
    """The nodes between ``roots`` and ``targets``: those from which a target is reached."""
    oldest = min((t.number for t in targets), default=0)
    reached = walk(roots, oldest, targets)
    useful: set[Node] = set()
    for node in sorted(reached, key=lambda n: n.number):
        if node in targets or any(p in useful for p in node.parents):
            useful.add(node)
    return useful


def walk(roots: Iterable[Node | None], oldest: int = 0, ends: Collection[Node] = ()) -> set[Node]:
    """All nodes that ``roots`` depend on, themselves included, not older than number ``oldest`` nor beyond
    ``ends``.
    """
    reached: set[Node] = set()
    todo = [n for n in roots if n is not None]
    while todo:
        node = todo.pop()
        if node not in reached and node.number >= oldest:
            reached.add(node)
            if node not in ends:
                todo.extend(p for p in node.parents if p is not None)
    return reached
