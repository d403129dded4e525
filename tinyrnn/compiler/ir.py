"""The intermediate representation: what one step computes, as `Value`s, and the check that a program makes
sense.

A Value is one row for each sequence of a batch, ``[B, width]`` (``rows``), or one row that all sequences
share, ``[1, width]``.
Values are never changed: a pass makes new ones. `verify` is run after reading and after every rewrite,
    always.
"""

import enum
import itertools
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..autograd.tape import ITEM, TABLE
from ..base.errors import TinyrnnError


class CompileWarning(UserWarning):
    """A step runs eagerly although it was to be compiled, or is compiled again and again; the message says
    why.
    """


class CompilerFault(TinyrnnError):
    """The compiler contradicts itself: its own fault, never that of the step. The step runs eagerly."""


class Kind(enum.Enum):
    """What a Value is; ``attr`` says more."""

    INPUT = enum.auto()  # attr: an Input
    NUMBER = enum.auto()  # attr: a float that is part of the program
    POINTWISE = enum.auto()  # attr: the name of an op with a rule
    MATMUL = enum.auto()  # rows times a matrix; attr: the matrix is transposed
    OUTER = enum.auto()  # rows^T rows, over the batch
    TOTAL = enum.auto()  # the sum over the batch
    ROWSUM = enum.auto()  # over the columns, to width 1
    ROWMAX = enum.auto()
    ROWMIN = enum.auto()
    SLICE = enum.auto()  # attr: (first column, column after the last)
    CONCAT = enum.auto()  # side by side
    PLACE = enum.auto()  # attr: the first column; zeros elsewhere
    COPY = enum.auto()  # to a width, or to every row
    TURNED = enum.auto()  # transposed
    DETACH = enum.auto()  # the same, and no gradient flows back
    CAST = enum.auto()  # a truth value or a count as a float


ROW_REDUCTIONS = frozenset({Kind.ROWSUM, Kind.ROWMAX, Kind.ROWMIN})
SUMS = frozenset({Kind.TOTAL, Kind.OUTER})  # over the batch, and then over time: left to the end
ALIASES = frozenset({Kind.DETACH, Kind.CAST})  # in a loop: what they are made of
_ARITY = {
    Kind.INPUT: 0, Kind.NUMBER: 0, Kind.MATMUL: 2, Kind.OUTER: 2, Kind.TOTAL: 1, Kind.ROWSUM: 1, Kind.ROWMAX: 1,
    Kind.ROWMIN: 1, Kind.SLICE: 1, Kind.PLACE: 1, Kind.COPY: 1, Kind.TURNED: 1, Kind.DETACH: 1, Kind.CAST: 1,
}  # fmt: skip


class Source(enum.Enum):
    """Where an input of a program comes from."""

    X = "input"  # a stream that the step is given
    STATE = "state"
    HELD = "held"  # a row for each sequence, the same at every step: what a state returns to at a reset
    CLOSURE = "closure"  # a tensor that the step closes over
    ARGUMENT = "argument"  # a Python number of the step
    STREAM = "stream"  # computed for all steps before the loop
    GRAD = "grad"  # what later steps carry back to a new state
    GRAD_OUTPUT = "grad_output"  # what arrives at an output over time

    def __lt__(self, other):
        return self.value < other.value


FORWARD_SOURCES = frozenset(Source) - {Source.GRAD, Source.GRAD_OUTPUT}


class Input(NamedTuple):
    """An input of a program: the ``index``-th of a source."""

    source: Source
    index: int


@dataclass(frozen=True, eq=False, slots=True)
class Value:
    """One value of a program; two are the same only if they are one object.

    ``height`` is 0, or the rows of a closed-over matrix ``[height, width]``.
    """

    kind: Kind
    inputs: tuple["Value", ...] = ()
    width: int = 1
    rows: bool = True
    attr: Any = None
    height: int = 0

    def __repr__(self):
        what = self.attr if self.kind is Kind.POINTWISE else self.kind.name.lower()
        if self.kind is Kind.INPUT:
            what = f"{self.attr.source.value}{self.attr.index}"
        elif self.attr is not None and self.kind is not Kind.POINTWISE:
            what += str(self.attr)
        return f"{what} [{'B' if self.rows else self.height or 1}, {self.width}]"

    def is_input(self, *sources) -> bool:
        """True for an input from one of ``sources`` (none given: any)."""
        return self.kind is Kind.INPUT and (not sources or self.attr.source in sources)


def number(x) -> Value:
    """A constant."""
    return Value(Kind.NUMBER, (), 1, False, float(x))


def pointwise(op, *inputs) -> Value:
    """A pointwise value of ``inputs`` (Values or numbers)."""
    inputs = tuple([x if isinstance(x, Value) else number(x) for x in inputs])
    return Value(Kind.POINTWISE, inputs, max(x.width for x in inputs), any(x.rows for x in inputs), op)


def aliased(kind, x) -> Value:
    """``x`` behind one of `ALIASES`."""
    return Value(kind, (x,), x.width, x.rows)


def sliced(x, first, last) -> Value:
    """Columns ``first`` to ``last`` of ``x``."""
    return (
        x if (first, last) == (0, x.width) else Value(Kind.SLICE, (x,), last - first, x.rows, (first, last))
    )


def widened(x, width, rows) -> Value:
    """``x`` at a width, and for every sequence if ``rows``."""
    return x if (x.width, x.rows) == (width, rows) else Value(Kind.COPY, (x,), width, rows)


def pieces(x) -> list:
    """Pairs (first column, value) of what lies side by side in ``x``."""
    parts = x.inputs if x.kind is Kind.CONCAT else (x,)
    return list(zip(itertools.accumulate([0, *[p.width for p in parts[:-1]]]), parts, strict=True))


def order(roots, ends=lambda value: False) -> list:
    """All values that ``roots`` are made of, inputs first; not what values for which ``ends`` holds are made
    of.
    """
    done, out = set(), []
    for root in roots:
        todo = [(root, False)]
        while todo:
            v, ready = todo.pop()
            if ready:
                out.append(v)
            elif v not in done:
                done.add(v)
                todo.append((v, True))
                if not ends(v):
                    todo.extend((x, False) for x in v.inputs if x not in done)
    return out


def rebuilt(roots, given) -> dict:
    """Every value of ``roots`` with those in ``given`` (Value -> Value) in the place of what they stand
    for.
    """
    done = dict(given)
    for v in order(roots, given.__contains__):
        if v not in done:
            inputs = tuple([done[x] for x in v.inputs])
            same = all(a is b for a, b in zip(inputs, v.inputs, strict=True))
            done[v] = v if same else Value(v.kind, inputs, v.width, v.rows, v.attr, v.height)
    return done


@dataclass(frozen=True)
class Closed:
    """How a step uses a tensor that it closes over: the ``slot`` among those of its recording, and a Value
    for each form.
    """

    slot: int
    needs_grad: bool
    shape: tuple  # with None in the place of the size of the batch


@dataclass(frozen=True)
class Hoisted:
    """What is computed before the loop: ``stream`` stands for ``value`` in it; ``table``: the x whose rows it
    is made of.
    """

    stream: Value
    value: Value
    table: int | None


@dataclass(frozen=True)
class Program:
    """One step: its new states of its inputs."""

    news: tuple[Value, ...]
    widths: tuple[int, ...]  # of the states
    closures: tuple[Closed, ...]
    arguments: int
    hoisted: tuple[Hoisted, ...] = ()

    @property
    def roots(self) -> list:
        return [*[h.value for h in self.hoisted], *self.news]

    def fingerprint(self):
        """What makes two steps the same program."""
        return (
            _described(self.roots),
            self.widths,
            self.closures,
            self.arguments,
            tuple(h.table for h in self.hoisted),
        )


@dataclass(frozen=True)
class Backward:
    """Gradients of old states, streams, bare xs, held rows and closures; None where nothing flows."""

    states: tuple
    streams: tuple
    xs: tuple
    held: tuple
    closures: tuple

    def parts(self) -> list:
        return [self.states, self.streams, self.xs, self.held, self.closures]

    @property
    def roots(self) -> list:
        return [v for part in self.parts() for v in part if v is not None]


def _described(roots):
    names, lines = {}, []
    for v in order(roots):
        names[v] = len(names)
        lines.append((v.kind, tuple([names[x] for x in v.inputs]), v.width, v.rows, v.attr, v.height))
    return tuple(lines), tuple([names[v] for v in roots])


# ------------------------------------------------------------------ the check


def verify(program: Program, back: Backward | None = None):
    """Raise `CompilerFault` where a program, or its backward program, contradicts itself.

    Checked are: arity, widths and rows of every value; that the forward program reads no gradient and sums
    over no batch; that every state is written and every gradient has the form of what it is the gradient of;
    and that what is summed over the batch is used linearly, so that sums may be added up over time before
    they are used.
    """
    for v in order(program.roots):
        _check_value(v)
        if v.kind in SUMS or v.kind is Kind.TURNED:
            raise CompilerFault(f"{v!r} stands in a forward program")
        if v.kind is Kind.INPUT and v.attr.source not in FORWARD_SOURCES:
            raise CompilerFault(f"a forward program reads {v!r}")
    _check_count("states", len(program.news), len(program.widths))
    for v, w in zip(program.news, program.widths, strict=True):
        if v.width not in (1, w):
            raise CompilerFault(f"a state of width {w} is {v!r}")
    streams = [h.stream for h in program.hoisted]
    for i, h in enumerate(program.hoisted):
        if (h.stream.width, h.stream.attr) != (h.value.width, Input(Source.STREAM, i)):
            raise CompilerFault(f"{h.stream!r} stands for {h.value!r}")
        if any(
            v.is_input(Source.STATE) or (v.is_input(Source.STREAM) and v.attr.index >= i)
            for v in order([h.value])
        ):
            raise CompilerFault(f"{h.value!r} is hoisted, and depends on a state or on a later stream")
    if back is None:
        return
    _check_count("gradients of states", len(back.states), len(program.widths))
    _check_count("gradients of streams", len(back.streams), len(streams))
    _check_count("gradients of closures", len(back.closures), len(program.closures))
    for v in order(back.roots):
        _check_value(v)
        if v.rows and any(x.kind in SUMS for x in v.inputs):
            raise CompilerFault(f"{v!r} reads a sum over the batch inside of the loop")
    for what, widths, values in (
        ("state", program.widths, back.states),
        ("stream", [s.width for s in streams], back.streams),
        ("held row", program.widths[: len(back.held)], back.held),
    ):
        for v, w in zip(values, widths, strict=True):
            if v is not None and v.width not in (1, w):
                raise CompilerFault(f"the gradient of a {what} of width {w} is {v!r}")
    for closed, v in zip(program.closures, back.closures, strict=True):
        if v is None:
            continue
        if v.rows != (None in closed.shape):
            raise CompilerFault(f"the gradient of a closed-over {list(closed.shape)} is {v!r}")
        if not v.rows:
            _check_linear(v)


def _check_count(what, found, needed):
    if found != needed:
        raise CompilerFault(f"{found} {what} where {needed} are needed")


def _check_value(v):
    """Raise where the widths, rows or inputs of one value do not fit its kind."""

    def demand(holds):
        if not holds:
            raise CompilerFault(f"{v!r} is made of {', '.join(map(repr, v.inputs)) or 'nothing'}")

    kind, xs = v.kind, v.inputs
    demand(len(xs) == _ARITY[kind] if kind in _ARITY else xs)
    demand(v.width >= 1)
    if kind is Kind.POINTWISE:
        demand(v.attr in TABLE and TABLE[v.attr].rule and len(xs) == len(TABLE[v.attr].inputs))
        demand(v.width == max(x.width for x in xs) and all(x.width in (1, v.width) for x in xs))
        demand(v.rows == any(x.rows for x in xs))
    elif kind is Kind.MATMUL:
        row, matrix = xs
        demand(matrix.is_input(Source.CLOSURE) and matrix.height and row.rows and v.rows)
        inner, outer = (matrix.width, matrix.height) if v.attr else (matrix.height, matrix.width)
        demand((row.width, v.width) == (inner, outer))
    elif kind is Kind.OUTER:
        demand(xs[1].rows and v.width == xs[1].width and not v.rows)
    elif kind is Kind.TOTAL:
        demand(v.width == xs[0].width and not v.rows)
    elif kind in ROW_REDUCTIONS:
        demand(v.width == 1 and v.rows == xs[0].rows)
    elif kind is Kind.SLICE:
        first, last = v.attr
        demand(0 <= first < last <= xs[0].width and v.width == last - first and v.rows == xs[0].rows)
    elif kind is Kind.CONCAT:
        demand(v.width == sum(x.width for x in xs) and (v.rows or not any(x.rows for x in xs)))
    elif kind is Kind.PLACE:
        demand(v.attr >= 0 and v.attr + xs[0].width <= v.width and v.rows == xs[0].rows)
    elif kind is Kind.COPY:
        demand(xs[0].width in (1, v.width) and (v.rows or not xs[0].rows))
    elif kind in ALIASES:
        demand((v.width, v.rows) == (xs[0].width, xs[0].rows))


_LINEAR = frozenset({Kind.SLICE, Kind.CONCAT, Kind.PLACE, Kind.COPY, Kind.TURNED, Kind.CAST})


def _check_linear(root):
    """Raise unless ``root`` is linear in the sums over the batch that it is made of."""
    made_of_sums = set()
    for v in order([root], lambda v: v.kind in SUMS):
        used = [x in made_of_sums for x in v.inputs]
        if v.kind in SUMS:
            made_of_sums.add(v)
        elif any(used):
            made_of_sums.add(v)
            zeros = all(
                u or (x.kind is Kind.NUMBER and x.attr == 0) for x, u in zip(v.inputs, used, strict=True)
            )
            summed = v.kind is Kind.POINTWISE and v.attr in ("add", "subtract", "negative")
            plain = zeros and (v.kind in _LINEAR or summed)
            scaled = v.kind is Kind.POINTWISE and (v.attr, *used) in (
                ("multiply", True, False), ("multiply", False, True), ("divide", True, False),
            )  # fmt: skip
            if not (plain or scaled):
                raise CompilerFault(f"{v!r} is not linear in a sum over the batch")


def needs_grad(t) -> bool:
    """True if a gradient flows to a tensor, not only a place on the tape."""
    return (
        t.node is not None
        and t.dtype.kind == "f"
        and (t.node.op is None or t.node.op is ITEM or bool(t.node.op.vjps))
    )
