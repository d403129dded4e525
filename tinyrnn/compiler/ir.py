"""The intermediate representation: what one step computes, as `Value`s, and the check that a program makes
sense.

A Value is one row for each sequence of a batch, ``[B, width]`` (``rows``), or one row that all sequences
share, ``[1, width]``; features of several axes are one row too (`views`).
Values are never changed: a pass makes new ones. `verify` is run after reading and after every rewrite,
    always.
"""

import contextlib
import enum
import itertools
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..autograd.tape import ITEM, TABLE
from ..base.errors import TinyrnnError
from .views import part, view_of


class CompileWarning(UserWarning):
    """A step runs eagerly although it was to be compiled, or is compiled again and again; the message says
    why.
    """


class CompilerFault(TinyrnnError):
    """The compiler contradicts itself: its own fault, never that of the step. The step runs eagerly."""


@contextlib.contextmanager
def own_faults(doing):
    """Whatever goes wrong inside is the compiler's fault and not the step's, but for what has a name."""
    try:
        yield
    except (TinyrnnError, MemoryError):
        raise
    except Exception as error:
        raise CompilerFault(f"{doing}: {type(error).__name__}: {error}") from error


class Kind(enum.Enum):
    """What a Value is; ``attr`` says more."""

    INPUT = enum.auto()  # attr: an Input
    NUMBER = enum.auto()  # attr: a float that is part of the program
    INDEX = enum.auto()  # the numbers of columns; attr: the `View` that says which
    POINTWISE = enum.auto()  # attr: the name of an op with a rule
    MATMUL = enum.auto()  # rows times a matrix; attr: the matrix is transposed
    OUTER = enum.auto()  # rows^T rows, over the batch
    TOTAL = enum.auto()  # the sum over the batch
    # Over the columns, to fewer: those of a group are so many apart as attr says (None: neighbours).
    ROWSUM = enum.auto()
    ROWMAX = enum.auto()
    ROWMIN = enum.auto()
    ROWPROD = enum.auto()
    VIEW = enum.auto()  # attr: the `View` of the columns that it has
    CONCAT = enum.auto()  # side by side; attr: of how many blocks, in each a part of each
    COPY = enum.auto()  # one column to a width, or a row to every row
    LAID = enum.auto()  # the same, made once for all that read it; attr: in both loops
    TURNED = enum.auto()  # transposed
    DETACH = enum.auto()  # the same, and no gradient flows back; attr CUSTOM: but by a rule of the step
    CAST = enum.auto()  # a truth value or a count as a float


CUSTOM = "custom"
COMPARISONS = frozenset("equal not_equal less less_equal greater greater_equal".split())
TRUTHS = COMPARISONS | frozenset(  # pointwise ops that give truth values
    "logical_and logical_or logical_not logical_xor isnan isinf isfinite".split()
)
ROW_REDUCTIONS = frozenset({Kind.ROWSUM, Kind.ROWMAX, Kind.ROWMIN, Kind.ROWPROD})
SUMS = frozenset({Kind.TOTAL, Kind.OUTER})  # over the batch, and then over time: left to the end
ALIASES = frozenset({Kind.DETACH, Kind.CAST})  # in a loop: what they are made of


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


def numbered(source, things) -> dict:
    """``things`` by their inputs, all of one source."""
    return {Input(source, i): x for i, x in enumerate(things)}


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


def index(columns) -> Value | None:
    """The numbers ``columns`` as a row; None where no `View` has them."""
    view = view_of(columns)
    return view and Value(Kind.INDEX, (), view.width, False, view)


def pointwise(op, *inputs) -> Value:
    """A pointwise value of ``inputs`` (Values or numbers)."""
    inputs = tuple([x if isinstance(x, Value) else number(x) for x in inputs])
    return Value(Kind.POINTWISE, inputs, max(x.width for x in inputs), any(x.rows for x in inputs), op)


def aliased(kind, x) -> Value:
    """``x`` behind one of `ALIASES`."""
    return Value(kind, (x,), x.width, x.rows)


def viewed(x, columns) -> Value | None:
    """The ``columns`` of ``x``, an array of numbers; None where no `View` gives them."""
    columns = np.reshape(columns, -1)
    if columns.size == x.width and (columns == np.arange(x.width)).all():
        return x
    if x.width == 1:
        return widened(x, columns.size, x.rows)
    view = view_of(columns)
    return view and Value(Kind.VIEW, (x,), columns.size, x.rows, view)


def sliced(x, first, last) -> Value:
    """Columns ``first`` to ``last`` of ``x``."""
    whole = (first, last) == (0, x.width)
    return x if whole else Value(Kind.VIEW, (x,), last - first, x.rows, part(first, last))


def placed(x, starts, run, width) -> Value | None:
    """Zeros of a ``width``, and from each of ``starts`` on so many (``run``) of the columns of ``x``; None
    where they lie too irregularly.
    """
    starts = np.asarray(starts)
    if len(starts) == 1:
        first = int(starts[0])
        whole = max(width, first + run)
        if run < whole:
            x = framed(x, 1, first, whole - first - run)
        return sliced(x, 0, width)
    step = int(starts[1] - starts[0])
    if step < run or starts[0] % step + run > step:
        return None
    first = int(starts[0]) % step
    even = np.flatnonzero(np.diff(starts) != step)
    count = int(even[0]) + 1 if even.size else len(starts)
    if len(starts) % count or ((starts - first).reshape(-1, count)[:, 1:] % step).any():
        return None
    if step > run:
        x = framed(x, len(starts), first, step - first - run)
    return placed(x, starts[::count] - first, count * step, width)


def beside(parts, outer=1) -> Value:
    """``parts`` side by side, in each of ``outer`` blocks."""
    width, rows = sum(p.width for p in parts), any(p.rows for p in parts)
    return parts[0] if len(parts) == 1 else Value(Kind.CONCAT, tuple(parts), width, rows, outer)


def framed(x, outer, before, after, fill=0.0) -> Value:
    """``x`` in so many blocks, each with so many more columns of a number before and behind it."""
    sides = [n and widened(number(fill), n * outer, x.rows) for n in (before, after)]
    return beside([part for part in (sides[0], x, sides[1]) if part], outer)


def widened(x, width, rows) -> Value:
    """``x`` at a width, and for every sequence if ``rows``."""
    return x if (x.width, x.rows) == (width, rows) else Value(Kind.COPY, (x,), width, rows)


def reduced(kind, x, width, apart=1) -> Value:
    """The columns of ``x`` reduced to a ``width``; those of a group are so many columns ``apart``."""
    return Value(kind, (x,), width, x.rows, apart if apart > 1 else None)


def grouped(v) -> tuple:
    """The columns that a reduction ``v`` reads as three axes, of which it reduces the second."""
    apart = v.attr or 1
    return v.width // apart, v.inputs[0].width // v.width, apart


def pieces(x, outer=1) -> list:
    """Pairs (first column in each of ``outer`` blocks, value) of what lies side by side in ``x``."""
    parts = x.inputs if x.kind is Kind.CONCAT else (x,)
    widths = [p.width // outer for p in parts]
    return list(zip(itertools.accumulate([0, *widths[:-1]]), parts, strict=True))


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
        tables = tuple([h.table for h in self.hoisted])
        return listed(self.roots), self.widths, self.closures, self.arguments, tables


def listed(roots):
    """``roots`` as plain data: a line for each value that they are made of, with the numbers of the lines of
    its inputs; and the numbers of the roots.
    """
    names, lines = {}, []
    for v in order(roots):
        names[v] = len(names)
        lines.append((v.kind, tuple([names[x] for x in v.inputs]), v.width, v.rows, v.attr, v.height))
    return tuple(lines), tuple([names[v] for v in roots])


# ------------------------------------------------------------------ the check


def verify(program: Program, back: dict[Input, Value] | None = None):
    """Raise `CompilerFault` where a program, or its backward program (the gradients of its inputs),
    contradicts itself.

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
    if len(program.news) != len(program.widths):
        raise CompilerFault(f"{len(program.news)} states where {len(program.widths)} are needed")
    for v, w in zip(program.news, program.widths, strict=True):
        if v.width not in (1, w):
            raise CompilerFault(f"a state of width {w} is {v!r}")
    for i, h in enumerate(program.hoisted):
        if (h.stream.width, h.stream.attr) != (h.value.width, Input(Source.STREAM, i)):
            raise CompilerFault(f"{h.stream!r} stands for {h.value!r}")
        later = [v for v in order([h.value]) if v.is_input(Source.STREAM) and v.attr.index >= i]
        if later or any(v.is_input(Source.STATE) for v in order([h.value])):
            raise CompilerFault(f"{h.value!r} is hoisted, and depends on a state or on a later stream")
    if back is not None:
        _verify_backward(program, back)


def _verify_backward(program, back):
    widths = {Source.STATE: program.widths, Source.HELD: program.widths}
    widths |= {Source.STREAM: [h.stream.width for h in program.hoisted]}
    for v in order(list(back.values())):
        _check_value(v)
        if v.rows and any(x.kind in SUMS for x in v.inputs):
            raise CompilerFault(f"{v!r} reads a sum over the batch inside of the loop")
    for (source, i), v in back.items():
        if source is Source.CLOSURE:
            by_batch = None in program.closures[i].shape
            if v.rows != by_batch:
                raise CompilerFault(
                    f"the gradient of a closed-over {list(program.closures[i].shape)} is {v!r}"
                )
            if not by_batch:
                _check_linear(v)
        elif source is not Source.X and v.width not in (1, widths[source][i]):
            raise CompilerFault(f"the gradient of {source.value}{i}, of width {widths[source][i]}, is {v!r}")


def _check_value(v):
    """Raise where the widths, rows or inputs of one value do not fit its kind."""
    arity, fits = _FORMS[v.kind]
    counted = len(v.inputs) > 0 if arity is None else len(v.inputs) == arity
    if v.width < 1 or not counted or not fits(v, *v.inputs):
        raise CompilerFault(f"{v!r} is made of {', '.join(map(repr, v.inputs)) or 'nothing'}")


def _fits_pointwise(v, *xs):
    width, known = max(x.width for x in xs), v.attr in TABLE and TABLE[v.attr].rule
    widths = v.width == width and all(x.width in (1, width) for x in xs)
    return known and len(xs) == len(TABLE[v.attr].inputs) and widths and v.rows == any(x.rows for x in xs)


def _fits_product(v, row, matrix):
    sizes = (matrix.width, matrix.height) if v.attr else (matrix.height, matrix.width)
    whole = matrix.is_input(Source.CLOSURE) and matrix.height
    return whole and row.rows and v.rows and (row.width, v.width) == sizes


def _fits_view(v, x):
    columns = v.attr.columns
    return columns.size == v.width and columns.min() >= 0 and columns.max() < x.width and v.rows == x.rows


def _fits_reduction(v, x):
    return x.width % v.width == 0 == v.width % (v.attr or 1) and v.rows == x.rows


def _fits_concat(v, *xs):
    even = all(x.width % v.attr == 0 for x in xs)
    return even and v.width == sum(x.width for x in xs) and v.rows >= max(x.rows for x in xs)


def _fits_alias(v, x):
    return (v.width, v.rows) == (x.width, x.rows)


_FORMS = {  # kind: how many inputs (None: any number, but some), and how they must fit
    Kind.INPUT: (0, lambda v: True),
    Kind.NUMBER: (0, lambda v: True),
    Kind.INDEX: (0, lambda v: v.attr.width == v.width and not v.rows),
    Kind.POINTWISE: (None, _fits_pointwise),
    Kind.MATMUL: (2, _fits_product),
    Kind.OUTER: (2, lambda v, x, y: y.rows and v.width == y.width and not v.rows),
    Kind.TOTAL: (1, lambda v, x: v.width == x.width and not v.rows),
    **dict.fromkeys(ROW_REDUCTIONS, (1, _fits_reduction)),
    Kind.VIEW: (1, _fits_view),
    Kind.CONCAT: (None, _fits_concat),
    Kind.COPY: (1, lambda v, x: x.width in (1, v.width) and v.rows >= x.rows),
    Kind.TURNED: (1, lambda v, x: True),
    **dict.fromkeys((*ALIASES, Kind.LAID), (1, _fits_alias)),
}
_LINEAR = frozenset({Kind.LAID, Kind.VIEW, Kind.ROWSUM, Kind.CONCAT, Kind.COPY, Kind.TURNED, Kind.CAST})


def _check_linear(root):
    """Raise unless ``root`` is linear in the sums over the batch that it is made of."""
    made_of_sums = set()
    for v in order([root], lambda v: v.kind in SUMS):
        used = tuple([x in made_of_sums for x in v.inputs])
        if v.kind in SUMS or any(used):
            made_of_sums.add(v)
        if v.kind not in SUMS and any(used) and not _is_linear(v, used):
            raise CompilerFault(f"{v!r} is not linear in a sum over the batch")


def _is_linear(v, used):
    """True if ``v`` is linear in those of its inputs that are ``used``."""
    if v.kind is Kind.POINTWISE and v.attr in ("multiply", "divide"):
        return used == (True, False) or (v.attr == "multiply" and used == (False, True))
    zeros = [x.kind is Kind.NUMBER and x.attr == 0 for x in v.inputs]
    summed = v.kind is Kind.POINTWISE and v.attr in ("add", "subtract", "negative")
    return (v.kind in _LINEAR or summed) and all(u or zero for u, zero in zip(used, zeros, strict=True))


def needs_grad(t) -> bool:
    """True if a gradient flows to a tensor, not only a place on the tape."""
    return (
        t.node is not None
        and t.dtype.kind == "f"
        and (t.node.op is None or t.node.op is ITEM or bool(t.node.op.vjps))
    )
