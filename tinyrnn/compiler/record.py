"""The recording of a step: it is run on templates, and what leaves its tape is refused.

What a step does outside of the tape (under ``no_grad``, by drawing random numbers, with the size of the
batch) would be frozen at the values of the recording. So a step is recorded again before it is trusted, with
other values of x and states
and another size of the batch: whatever differs is not the program's. A step that is known costs one recording
on a few rows of the batch; one whose code asks for a size, one on all of it.
"""

import functools
import inspect
import itertools
import math
import threading
import types
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np

from ..autograd import reshape
from ..autograd.linalg import ambient_precision
from ..autograd.pointwise import as_tensor
from ..autograd.tape import ITEM, LOOKED, Node, Tensor, leading_to, mark, no_grad, state, tracing, walk
from ..base.devices import array_module, beside, device_of, is_array, to_device
from ..base.errors import InputError, ShapeError, TinyrnnError, TraceError
from ..kernels.generator import draws
from .effects import RANDOM, Reach, change, contents, is_fixed, put_back
from .ir import Input, Source, needs_grad, numbered, order, own_faults
from .lines import completed, located
from .read import Reader
from .targets.tensor import environment, rows_of

# Rows of the batch that a step is recorded on, and where FEW is the whole batch, the second time.
FEW, OTHER = 3, 4


def next_states(step, x, old) -> tuple:
    """``step(x, *old)`` as a tuple of as many states as ``old``, of their shapes.

    Raises:
        ShapeError: they are not.
        InputError: it exits.
    """
    try:
        return _states(step(x, *old), old)
    except SystemExit as error:  # which would end the program without a word
        raise InputError(f"step exits ({error}): raise another error") from error
    except TinyrnnError as error:
        raise located(error, code_of(step))  # noqa: B904  the same error


def _states(new, old):
    if not isinstance(new, tuple | list | Tensor | np.ndarray):
        mend = "return the next state, a Tensor, or a tuple of them"
        raise ShapeError(f"step returned {type(new).__name__}: {mend}")
    new = tuple([as_tensor(n) for n in (new if isinstance(new, tuple | list) else [new])])
    if len(new) != len(old):
        mend = "return one for each state, in their order"
        raise ShapeError(f"step returned {len(new)} states, it was given {len(old)}: {mend}")
    for i, (n, o) in enumerate(zip(new, old, strict=True)):
        if n.shape != o.shape:
            given = f"it was given as {list(o.shape)}: return it so"
            raise ShapeError(f"step returned state {i} as {list(n.shape)}, {given}")
    return new


def as_rows(x, leading):
    """``x`` with its axes of features, those after the ``leading`` ones, as one."""
    if x.ndim == leading + 1 or x.ndim < leading or 0 in x.shape:  # it is one; or is refused later
        return x
    return x.reshape((*x.shape[:leading], math.prod(x.shape[leading:])))


def of_rows(step, several, shapes, sizes):
    """``step`` of rows alone: what x and states have as several axes of features, ``shapes`` and ``sizes``,
    is one, ``[B, H * N]``, and the step is given it in its own shape.
    """
    if all(len(s) == 1 for s in (*shapes, *sizes)):
        return step

    @functools.wraps(step)
    def rows(x, *given):
        parts = of_sizes(x if several else [x], shapes)
        new = next_states(step, tuple(parts) if several else parts[0], of_sizes(given, sizes))
        return tuple(of_sizes(new, [(math.prod(s),) for s in sizes]))

    return rows


def of_sizes(tensors, sizes) -> list:
    """``tensors`` with features of ``sizes``, behind the batch."""
    pairs = zip(tensors, sizes, strict=True)
    return [t if t.shape[1:] == s else reshape(t, (-1, *s)) for t, s in pairs]


class Recording:
    """One run of ``step(xs, states, held)``, and its tape.

    Args:
        xs, states, held: tuples of arrays ``[B, width]``.
        varying: places of numbers that were seen to change from call to call.

    Attributes:
        news: tensors, the new states.
        inputs: leaf node -> `Input`.
        nodes: between the inputs and ``news``, in the order in which they were made.
        closures: the tensors that the step closes over, or makes of such.
        numbers: those that may differ from call to call; ``arguments``: their places, (node, operand).
        places: place -> number, of all.
        key: what the step did, without the values of ``closures`` and ``numbers``.
        who: what tells its step from others.
        precision: in which rows are multiplied by matrices, None: that of the arrays.
        origins: node of its backward pass -> the one of ``nodes`` whose gradient it belongs to.
        again: function that records on the whole batch of that call, for messages.
    """

    def __init__(self, step, xs, states, held, varying=frozenset()):
        self.batch, self.dtype, self.who = len(states[0]), states[0].dtype, None
        self.device = device_of(states[0])
        self.origins, self.precision = {}, ambient_precision()
        leaves, self.inputs, self.given = [], {}, {}
        for source, arrays in ((Source.X, xs), (Source.STATE, states), (Source.HELD, held)):
            for i, a in enumerate(arrays):
                leaves.append(Tensor(a, Node(None, (), None, a)))
                self.inputs[leaves[-1].node] = Input(source, i)
                self.given[Input(source, i)] = Tensor(a.copy())
        self.start = mark()
        groups = iter(leaves)
        given = [tuple(itertools.islice(groups, len(arrays))) for arrays in (xs, states, held)]
        state.looked = False
        with tracing():
            self.news = step(*given)
        if state.looked:
            raise TraceError(LOOKED)
        self.widths = tuple([s.shape[1] for s in states])
        live = leading_to(set(self.inputs), [t.node for t in self.news])
        self.nodes = sorted([n for n in live if n not in self.inputs], key=lambda n: n.number)
        self.closures, self.numbers, self._slots = [], [], {}
        self.arguments, self.places = set(), {}
        self.key = self._described(varying)
        self.ops = tuple([line[0] for line in self.key[0]])
        self.by_hand, self.literals = self._backwards()
        self.key = *self.key, self.by_hand

    def _described(self, varying):
        """The tape as nested tuples; fills ``closures`` and ``numbers``."""
        names = dict(self.inputs)
        lines = []
        for node in self.nodes:
            name, saved = (node.op, ()) if node.op is ITEM else (node.op.name, node.saved)
            operands = tuple(
                [self._operand(name, x, (len(lines), i), names, varying) for i, x in enumerate(saved)]
            )
            parents = tuple([names.get(p) for p in node.parents]) if node.op is ITEM else ()
            described = node.params and name != "custom_vjp"  # what that does is said by `_backwards`
            params, hooked = frozen(node.params) if described else (), bool(node.hooks)
            lines.append((name, operands, parents, params, frozen(node.shape), frozen(node.dtype), hooked))
            names[node] = len(lines) - 1
        heads = tuple([names[t.node] if t.node in names else self._closed(t) for t in self.news])
        shapes = tuple([(i, n.shape) for n, i in self.inputs.items()])
        return tuple(lines), heads, shapes, self.dtype

    def _backwards(self):
        """What derivatives that are given by hand do: their tapes, with all numbers and constants, in words;
        and of these what does not depend on the size of the batch.
        """
        customs = [n for n in self.nodes if n.op is not ITEM and n.op.name == "custom_vjp"]
        lines, literals, names = [], [], {}
        if customs:
            names = dict(self.inputs) | {n: i for i, n in enumerate(self.nodes)}
        for node in customs:
            several = isinstance(node.shape, list)
            shapes = node.shape if several else [node.shape]
            seeds = [np.random.default_rng(0).standard_normal(s).astype(self.dtype) for s in shapes]
            seeds = [to_device(a, self.device) for a in seeds]
            gs, start = [Tensor(a, Node(None, (), None, a)) for a in seeds], mark()
            own = names | {g.node: ("gradient", i) for i, g in enumerate(gs)}
            with tracing():
                found = node.op.vjp(0)(gs if several else gs[0], node, 0)

            def word(x, own=own):
                if not isinstance(x, Tensor):
                    literals.append(repr(x))
                    return literals[-1]
                if x.node in own or self.slot_of(x) is not None:
                    return own[x.node] if x.node in own else ("closure", self.slot_of(x))
                if x.size and (x.data == x.data.reshape(-1)[0]).all():
                    literals.append(repr(x.data.reshape(-1)[0]))
                return x.shape, str(x.dtype), x.data.tobytes()

            live = walk([t.node for t in found if t is not None], start)
            for n in sorted(live, key=lambda n: n.number):
                if n.op is None or n in own:
                    continue
                name, saved = (n.op, ()) if n.op is ITEM else (n.op.name, n.saved)
                said = name, tuple([word(x) for x in saved]), frozen(n.params or {}), frozen(n.shape)
                literals.append(name)
                lines.append((*said, tuple([own.get(p) for p in n.parents]) if n.op is ITEM else ()))
                own[n] = "by hand", len(lines)
            lines.append(tuple([None if t is None else word(t) for t in found]))
        return tuple(lines), tuple(literals)

    def _operand(self, op, x, place, names, varying):
        """An operand in words. Numbers are arguments, but small integers, and those that decide what a
        derivative looks like, are the program's. Unless they were seen to change.
        """
        if isinstance(x, Tensor):
            return names[x.node] if x.node in names else self._closed(x)
        literal = op == "power" or (isinstance(x, int) and -2 <= x <= 2)
        if np.isfinite(x):
            self.places[place] = float(x)
        if not np.isfinite(x) or (literal and place not in varying):
            return "number", type(x).__name__, repr(float(x))
        self.arguments.add(place)
        self.numbers.append(float(x))
        return "argument", len(self.numbers) - 1

    def _closed(self, t):
        made = walk([t.node], self.start) if self.precision else ()
        if any(getattr(node.op, "name", None) == "rounded_matmul" for node in made):
            mend = "multiply them before the loop, or in tr.autocast(None)"
            raise TraceError(f"it multiplies closed-over matrices in lower precision: {mend}")
        slot, filled = self._slots.setdefault(closure_key(t), len(self._slots)), self.is_filled(t)
        if slot == len(self.closures):
            self.closures.append(t)
            if filled:
                self.numbers.append(float(t.data.reshape(-1)[0]))
        shape = (None, *t.shape[1:]) if filled else t.shape
        return "closure", slot, shape, t.dtype, needs_grad(t), filled

    def user_of(self, slot):
        """The first node that is given ``closures[slot]``, None if none is."""
        for node, (_, operands, *_) in zip(self.nodes, self.key[0], strict=True):
            if any(isinstance(x, tuple) and x[:2] == ("closure", slot) for x in operands):
                return node
        return None

    def is_filled(self, t) -> bool:
        """True for rows of the batch that are all one number, as ``zeros_like(h)`` makes them: a number, not
        a closure.
        """
        a = t.data
        rows = t.node is None and a.ndim > 1 and len(a) == self.batch > 1 and a.dtype == self.dtype
        return rows and bool((a == a.reshape(-1)[0]).all())

    def slot_of(self, t):
        """The number among ``closures`` of an operand of its tape, None if it is none."""
        return self._slots.get(closure_key(t))

    def has_slot(self, node) -> bool:
        return node in self._slots

    @functools.cached_property
    def program(self):
        """The `Program` that the tape says.

        Raises:
            TraceError: it has no compiled form; the message says why.
        """
        with own_faults("reading the step"):
            return self.reader.program()

    @functools.cached_property
    def reader(self):
        return Reader(self)


def closure_key(t):
    return t.node if t.node is not None else id(t)


def frozen(x):
    """``x``, parameters of an op, as something that can be compared and hashed."""
    if x is None or isinstance(x, (int, str)):
        return x
    if isinstance(x, dict):
        return tuple([(k, frozen(v)) for k, v in x.items()])
    if isinstance(x, (list, tuple)):
        return tuple([frozen(v) for v in x])
    if isinstance(x, slice):
        return "slice", x.start, x.stop, x.step
    if is_array(x):
        return "array", x.shape, str(x.dtype), to_device(x, "cpu").tobytes()
    try:
        hash(x)
    except TypeError:
        return id(x)
    return x


# ------------------------------------------------------------------ what a step is trusted for


class Kept(OrderedDict):
    """A bounded dict that forgets what was not used for longest."""

    def __init__(self, size):
        super().__init__()
        self.size, self.lock = size, threading.RLock()

    def get(self, key, make=lambda: None):
        """The value of ``key``; where there is none, ``make()`` is stored, unless it is None, and
        returned.
        """
        with self.lock:
            value = self.pop(key, None)
            value = make() if value is None else value
            if value is not None:
                self[key] = value
            return value

    def __setitem__(self, key, value):
        with self.lock:
            super().__setitem__(key, value)
            while len(self) > self.size:
                self.popitem(last=False)


_known = Kept(512)  # (traits, size of the batch) -> what is known of a step on a batch of that size
_changing = Kept(512)  # traits -> which numbers of a step were seen to change


@dataclass
class _Keys:
    free: set = field(default_factory=set)  # on FEW rows: the step does not know the size of its batch
    tied: set = field(default_factory=set)  # on the whole batch
    refused: dict = field(default_factory=dict)  # and why


@dataclass
class _Numbers:
    seen: dict = field(default_factory=dict)  # ops -> (place -> number)
    varying: frozenset = frozenset()

    def changed(self, recording) -> bool:
        """True if numbers are new in this recording that were other ones before: from now on they are
        arguments.
        """
        before = self.seen.setdefault(recording.ops, recording.places)
        if len(self.seen) > 16:
            self.seen.clear()
        changed = {place for place, x in recording.places.items() if before.get(place, x) != x}
        found = changed - recording.arguments
        self.varying |= found
        return bool(found)


def recorded(step, xs, states, held=()) -> Recording:
    """The recording of ``step(xs, states, held)`` at this call.

    Args:
        xs, states, held: tuples of arrays ``[B, width]``: the first step of this call.

    Raises:
        TraceError: something leaves the tape; the message names it and the mend.
    """
    reach = Reach(step)
    recording = _recorded(step, xs, states, held, reach)
    recording.who = reach.traits
    return recording


def _recorded(step, xs, states, held, reach):
    size = len(states[0])
    known = _known.get((reach.traits, size), _Keys)
    numbers = _changing.get(reach.traits, _Numbers)

    def run(rows, seed=None):  # no name of its own in it: a circle would be left to the garbage collector
        return _on_rows(step, (xs, states, held), numbers, rows, seed)

    if known.free:
        few = _attempt(lambda: run(FEW))
        if few is not None and few.key in known.free:
            return few
    before = reach.look() if not known.tied else []
    with draws() as drawn:
        try:
            whole = _whole(run, size, known, numbers)
            if whole.key in known.tied:
                return whole
            if whole.key in known.refused:
                raise TraceError(known.refused[whole.key])
            try:
                return _examined(run, whole, known, size, reach, drawn, before)
            except TraceError as error:
                known.refused[whole.key] = str(completed(error, whole))
                raise
        finally:
            put_back(before)
            for generator, state in drawn.items():
                generator.state = state


def _on_rows(step, groups, numbers, rows, seed=None):
    """The recording of a step on so many rows of what it is given; with a seed, of other values."""
    arrays = [tuple([_template(a, rows, seed) for a in group]) for group in groups]
    with np.errstate(**({"all": "ignore"} if seed else {})):  # those values are not the user's
        made = Recording(step, *arrays, numbers.varying)
    made.again = functools.partial(_on_rows, step, groups, numbers, len(groups[1][0]))
    return made


def _whole(run, size, known, numbers):
    """A recording on the whole batch, in which numbers that were seen to change are arguments."""
    try:
        whole = run(size)
        return run(size) if whole.key not in known.tied and numbers.changed(whole) else whole
    except TraceError:
        raise
    except Exception as error:  # where it is the step's, the eager loop raises it as well
        raise TraceError(f"it raises {type(error).__name__} while it is recorded: {error}") from error


def _attempt(record):
    """What ``record`` returns, or None: a step may raise anything on a batch of another size than its own."""
    try:
        return record()
    except Exception:
        return None


def _examined(run, whole, known, size, reach, drawn, start):
    """A recording of a step that is not known yet, once it was run again on other values, and on another
    number of rows.
    """
    whole.program  # noqa: B018  raises where it has no compiled form
    _refuse_other_values(whole)
    before, seen = [t.data.copy() for t in whole.closures], reach.look()
    _refuse(change(start or seen, seen, is_fixed))
    others = [_attempt(lambda seed=seed: run(size, seed)) for seed in SEEDS]
    if others[0] is None:
        raise TraceError("it cannot be run twice: on other values of x and states it raises an error")
    if drawn:
        mend = "draw them for all steps, and give them to the step as part of xs"
        raise TraceError(f"it draws random numbers, which a loop would not draw anew: {mend}")
    for other in others:
        found = None if other is None else _difference(whole, other, before)
        if found is not None:
            raise TraceError(_blamed(found[0], run, whole, size)).at(found[1])
    _refuse(change(seen, reach.look()))
    if not reach.asks_size:
        few = _attempt(lambda: run(FEW if size != FEW else OTHER, SEEDS[0]))
        if few is not None and _agree(whole, few, before):
            few = few if size != FEW else whole
            known.free.add(few.key)
            return few
    known.tied.add(whole.key)
    return whole


def _refuse(changed):
    if changed is not None:
        mend = "return what is to be kept as a state"
        if changed == RANDOM:
            mend = "draw or seed them before the loop"
        raise TraceError(f"{changed} is changed by it, outside of its tape: {mend}")


def _refuse_other_values(whole):
    """Raise where the program of a recording does not give what the step gave: values were changed in
    place.
    """
    program = whole.program
    given = whole.given | numbered(Source.ARGUMENT, whole.numbers)
    given |= numbered(Source.CLOSURE, [t.detach() for t in whole.closures])
    env = environment(order(program.news), given)
    with no_grad(), np.errstate(all="ignore"):
        for v, t in zip(program.news, whole.news, strict=True):
            found = rows_of(v, env, t.shape, whole.dtype)
            if not np.allclose(found.numpy(), t.numpy(), rtol=1e-3, atol=1e-4, equal_nan=True):
                mend = "use tensor functions"
                raise TraceError(
                    f"values are changed in place, outside of its tape (.data[...] = ...): {mend}"
                )


def _agree(whole, other, before):
    """True where a recording on another number of rows says the same."""
    try:
        same = whole.program.fingerprint() == other.program.fingerprint()
    except TraceError:
        return False
    same = same and whole.literals == other.literals
    return same and whole.numbers == other.numbers and _changed(whole, other, before) is None


def _changed(whole, other, before):
    """The first closed-over tensor of two recordings that is not the same in both, None if all are."""
    for a, b, was in zip(whole.closures, other.closures, before, strict=True):
        touched = a.version is not None and a.version[0] > whole.start
        if touched or (not whole.is_filled(a) and not _equal(was, b.data)):
            return a
    return None


def _equal(a, b):
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return bool(((a == b) | ((a != a) & (b != b))).all())


def differing(before, now) -> str:
    """What differs between two keys of recordings, in words."""
    for a, b in zip(before[0], now[0], strict=False):
        if a == b:
            continue
        if a[0] != b[0]:
            return f"an op, {a[0]} before, {b[0]} now"
        for x, y in zip(a[1], b[1], strict=False):
            if x != y and "number" in (x[0], y[0]) and len(x) == len(y) == 3:
                return f"a number of {a[0]}, {x[2]} before, {y[2]} now: use a tensor, or a float"
        if a[3] != b[3]:
            return f"how {a[0]} is called, {dict(a[3])} before, {dict(b[3])} now"
        return f"what {a[0]} is given"
    if len(before[0]) == len(now[0]):
        return "what the backward function of a custom_vjp does"
    return f"how many ops it has, {len(before[0])} before, {len(now[0])} now"


def _difference(whole, again, before):
    """What differs between two recordings on the same rows, in words, and the node of the first that it is
    about, if known; None if nothing does.
    """
    if whole.key != again.key:
        return differing(whole.key, again.key), None
    for a, b in zip(whole.numbers, again.numbers, strict=True):
        if a != b:
            return f"the number {a:g}, then {b:g}", None
    changed = _changed(whole, again, before)
    if changed is None:
        return None
    return f"a tensor {list(changed.shape)} that is not on the tape", whole.user_of(whole.slot_of(changed))


def _blamed(reason, run, whole, size):
    """The sentence about ``reason``: whether it comes from the values, or from run to run."""
    before = [t.data.copy() for t in whole.closures]
    repeated = _attempt(lambda: run(size))
    if repeated is None or _difference(whole, repeated, before) is not None:
        why = f"from one run to the next something changes that is not on the tape ({reason})"
        mend = (
            "a random draw, a counter, or a buffer changed in place; give it to the step in xs or as a state"
        )
    else:
        why = f"something is made of x or a state outside of the tape ({reason})"
        mend = (
            "an index (argsort) or a comparison, no_grad(), .data or a buffer; use tensor functions, and "
            "detach() to stop gradients"
        )
    return f"{why}: {mend}"


# Of other values: near the given ones, with the other sign, and twice in another order, where each element is
# zero once.
SEEDS = 1, 2, 3, 4


def _template(a, rows, seed):
    """So many rows of ``a``; with a seed, other values."""
    a = a if rows == len(a) else array_module(a).resize(a, (rows, *a.shape[1:]))
    if seed is None:
        return a
    random = np.random.default_rng(seed)
    if seed > 2:
        kept = beside(np.indices(a.shape).sum(axis=0) % 2 == seed % 2, a)
        return a.reshape(-1)[beside(random.permutation(a.size), a)].reshape(a.shape) * kept
    factor, shift = (beside(random.random(a.shape), a) for _ in range(2))
    other = a * (0.5 + factor) + 0.1 * shift
    return (other if seed == 1 else -other).astype(a.dtype)


# ------------------------------------------------------------------ of whom messages speak


def origin(step):
    """The step that a user wrote, where it was wrapped."""
    step = inspect.unwrap(step)
    return step.func if isinstance(step, functools.partial) else step


def owners(step) -> tuple:
    """The ids of the objects that a step belongs to: of two models of one class each has a step of its
    own.
    """
    step = origin(step)
    held = [getattr(step, "__self__", None), *[contents(c) for c in getattr(step, "__closure__", None) or ()]]
    return tuple([id(x) for x in held if hasattr(x, "__dict__") and not isinstance(x, types.FunctionType)])


def code_of(step):
    """The code object of a step; None where it is no Python function."""
    step = origin(step)
    return getattr(getattr(step, "__func__", step), "__code__", None)
