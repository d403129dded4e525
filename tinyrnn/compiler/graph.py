"""A whole model as lookups and loops of recorded steps: what is written for places where tinyrnn is not.

A model says once what it computes (``graphs`` of a task's model): which steps run over which sequences,
in the same tensor functions that it is trained with. Each step is recorded as `scan` records it. Targets
that write (C, JavaScript, ONNX, PyTorch) take the nodes one after the other; `Graph.run` is their reference.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from ..autograd import Tensor, no_grad
from ..autograd.pointwise import as_tensor
from ..base.errors import InputError, TraceError
from ..kernels.generator import Wanted, in_step
from .ir import CompilerFault, Input, Kind, Source, Value, numbered, order, rebuilt
from .record import of_sizes, recorded
from .rewrite import simplify
from .targets.tensor import environment, rows_of

ROWS = 3  # of a batch, which a step is recorded on


@dataclass(frozen=True)
class Item:
    """Something that a node makes or takes: rows ``[B, width]``, or over time ``[T, B, width]``.

    ``count``: of ids, integers ``[B]`` or ``[T, B]``, how many there are; else 0.
    """

    name: str
    shape: tuple[int, ...]
    over_time: bool
    count: int = 0

    @property
    def width(self) -> int:
        return math.prod(self.shape)


class Lookup(NamedTuple):
    """``out`` has the rows of the constant ``table`` that ``ids`` name."""

    table: str
    ids: Item
    out: Item


class Standard(NamedTuple):
    """A recurrence that other libraries have as one operation.

    ``kind`` is RNN, LSTM or GRU; ``gates`` names those of the columns, a letter each (h; i, f, g, o; r, z,
    n); ``W [inputs, gates * H]``, ``R [H, gates * H]``, ``b [gates * H]``, ``b_R`` the bias of products with
    R; ``activation`` of an RNN, by its name in ONNX; ``reset_after`` of a GRU: r acts on the product with R;
    ``peepholes``: gate -> ``[H]``.
    """

    kind: str
    gates: str
    W: np.ndarray
    R: np.ndarray
    b: np.ndarray
    b_R: np.ndarray
    activation: str = "Tanh"
    reset_after: bool = False
    peepholes: dict[str, np.ndarray] | None = None


@dataclass(frozen=True)
class Loop:
    """A step over time, or where none of ``xs`` is over time, once.

    Attributes:
        xs: what the step reads; what is not over time is the same at each step.
        init: the states before the first step, rows.
        values: of the step, first those of ``outs``, then the next ones of the states.
        outs: what is made at each step; finals: the states after the last.
        closed: the inputs of ``values`` that are not of xs or states -> name of a constant, or a number.
        reverse: from the last step of time to the first.
        standard: what the step is, if it is known to be that.
    """

    name: str
    xs: list[Item]
    init: list[Item]
    values: list[Value]
    outs: list[Item]
    finals: list[Item]
    closed: dict[Input, str | float]
    reverse: bool
    standard: Standard | None = None

    @property
    def over_time(self) -> bool:
        return any(x.over_time for x in self.xs)

    @property
    def matrices(self) -> dict[str, bool]:
        """The constants that rows are multiplied by -> whether that is transposed."""
        products = [v for v in order(self.values) if v.kind is Kind.MATMUL]
        named = {v: self.closed.get(v.inputs[1].attr) for v in products if v.inputs[1].kind is Kind.INPUT}
        return {name: v.attr for v, name in named.items() if isinstance(name, str)}


@dataclass
class Graph:
    """Built by its methods, in the order in which things are computed.

    Args:
        dtype: of everything but ids.
        names: of the parameters of the model, as ``named_parameters`` gives them.

    Attributes:
        inputs: what is given from outside; outputs: name -> Item of what is to be seen.
        states: of inputs that have a value to begin with -> (that of one row, name of the output that is
            their next value).
        constants: name -> array.
        nodes: lookups and loops, in order.
    """

    dtype: Any
    names: Mapping[int, str] = field(default_factory=dict)
    inputs: list[Item] = field(default_factory=list)
    outputs: dict[str, Item] = field(default_factory=dict)
    states: dict[str, tuple[np.ndarray, str]] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    nodes: list[Lookup | Loop] = field(default_factory=list)
    count: int = 0
    fixed: dict[str, Item] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Any, dtype: Any = None) -> "Graph":
        """An empty one for a model, in its dtype, or for a layer in that which is given."""
        names = {id(p): name.replace(".", "_") for name, p in model.named_parameters()}
        return cls(np.dtype(dtype or model.dtype), names)

    # ------------------------------------------------------------------ what comes in and goes out

    def ids(self, name: str, count: int, *, over_time: bool) -> Item:
        """Integers below ``count`` from outside."""
        return self._input(Item(name, (), over_time, count))

    def rows(self, name: str, shape: Sequence[int] | int, *, over_time: bool = False) -> Item:
        """Numbers from outside."""
        return self._input(Item(name, _shape(shape), over_time))

    def state(self, name: str, start: Tensor) -> Item:
        """Rows from outside that begin as ``start [1, ...]``; `keep` says what they are next."""
        item = self.rows(name, start.shape[1:])
        self.states[name] = np.array(start.numpy()).reshape(-1), f"new_{name}"
        return item

    def keep(self, state: Item, item: Item) -> None:
        """``item`` is what a state is the next time."""
        self.outputs[self.states[state.name][1]] = item

    def output(self, name: str, item: Item) -> None:
        """``item`` is to be seen from outside as ``name``."""
        self.outputs[name] = item

    def constant(self, rows: Any, name: str = "constant") -> Item:
        """Rows that are always the same: a tensor or array ``[1, ...]``."""
        array = np.asarray(as_tensor(rows).numpy(), self.dtype)
        item = Item(self._named(name), array.shape[1:], False)
        self.constants[item.name], self.fixed[item.name] = array.reshape(1, -1), item
        return item

    # ------------------------------------------------------------------ what is computed

    def lookup(self, table: Tensor, ids: Item) -> Item:
        """Rows of ``table [count, ...]``."""
        found = Item(self._named("rows"), table.shape[1:], ids.over_time)
        name = self._stored(table)
        self.nodes.append(Lookup(name, ids, found))
        return found

    def call(self, function: Callable[..., Any], *xs: Item) -> Item:
        """``function(*xs)``, a tensor ``[B, ...]`` of such; at each step where one of xs is over time."""
        (found,), _ = self.scan(lambda xs, states: ((function(*xs),), ()), xs, name=function.__name__)
        return found

    def scan(
        self,
        step: Callable[[Sequence[Tensor], Sequence[Tensor]], tuple[Sequence[Tensor], Sequence[Tensor]]],
        xs: Sequence[Item],
        init: Sequence[Item] = (),
        *,
        reverse: bool = False,
        name: str = "step",
        standard: Standard | None = None,
    ) -> tuple[list[Item], list[Item]]:
        """``step(xs, states) -> (outs, states)`` over time, all tensors ``[B, ...]``.

        Args:
            standard: what the step is besides, where it gives its first state.

        Returns:
            outs, over time where one of ``xs`` is; and the states after the last step.

        Raises:
            InputError: the step cannot be written out; the message says why.
        """
        said = name.replace("<lambda>", "made")
        name = self._named(said)
        xs, init = list(xs), list(init)
        try:
            with no_grad(), np.errstate(all="ignore"):  # of values that are nobody's
                recording, shapes, counted = self._recorded(step, xs, init)
                values = list(simplify(recording.program.news))
        except Wanted:
            raise InputError(f"{said} draws random numbers, which what is written out cannot") from None
        except (TraceError, CompilerFault) as error:
            raise InputError(f"{said} cannot be written out: {error}") from None
        over_time = any(x.over_time for x in xs)
        made = [Item(self._named(name), s, over_time) for s in shapes[:counted]]
        finals = [Item(self._named(f"{name}_state"), s, False) for s in shapes[counted:]]
        closed: dict[Input, str | float] = {}
        for v in order(values):
            if v.kind is Kind.INPUT and v.attr.source is Source.ARGUMENT:
                closed[v.attr] = recording.numbers[v.attr.index]
            elif v.kind is Kind.INPUT and v.attr.source is Source.CLOSURE:
                closed[v.attr] = self._stored(recording.closures[v.attr.index], v)
        self.nodes.append(Loop(name, xs, init, values, made, finals, closed, reverse, standard))
        return made, finals

    def _recorded(self, step, xs, init):
        random = np.random.default_rng(0)

        def template(item):
            return random.standard_normal((ROWS, item.width)).astype(self.dtype)

        def rows(given, old):
            with in_step(()):
                made, new = step(
                    of_sizes(given, [x.shape for x in xs]), of_sizes(old, [s.shape for s in init])
                )
            return [as_tensor(y) for y in made], [as_tensor(s) for s in new]

        given, old = tuple(map(template, xs)), tuple(map(template, init))
        made, new = rows(list(map(Tensor, given)), list(map(Tensor, old)))
        shapes, counted = [tuple(t.shape[1:]) for t in (*made, *new)], len(made)
        widths = [(math.prod(s),) for s in shapes]
        blank = tuple([np.zeros((ROWS, *w), self.dtype) for w in widths[:counted]])

        def inner(given, old, held):
            made, new = rows(list(given), list(old[counted:]))
            return tuple(of_sizes([*made, *new], widths))

        inner.__wrapped__ = step  # what messages are about
        return recorded(inner, given, (*blank, *old)), shapes, counted

    # ------------------------------------------------------------------ names

    def _input(self, item):
        self.inputs.append(item)
        return item

    def _named(self, name):
        self.count += 1
        return f"{name}_{self.count}"  # as no array of a loop's own is named

    def _stored(self, tensor, value=None):
        """The name of a tensor among the constants: rows and columns as a program has them."""
        name = self.names.get(id(tensor)) or self._named("constant")
        array = tensor.numpy()
        if value is not None and not value.height and array.shape != (1, value.width):
            array, name = array.reshape(1, -1), name + "_row" * (array.ndim > 1)
        self.constants[name] = np.ascontiguousarray(array, self.dtype)
        return name

    @property
    def matrices(self) -> dict[str, bool]:
        """The constants that rows are multiplied by, or that are looked up in -> whether in 8 bits each row
        has a scale, as of tables and of what is transposed, or each column.
        """
        found: dict[str, bool] = {}
        for node in self.nodes:
            found |= node.matrices if isinstance(node, Loop) else {}
        return found | {n.table: True for n in self.nodes if isinstance(n, Lookup)}

    def tabled(self, most: int) -> "Graph":
        """The same with a table of products in the place of a table and the matrix that its rows are
        multiplied by, where it has at most ``most`` numbers, or no more than both.
        """
        made = replace(self, inputs=[*self.inputs], constants={**self.constants}, nodes=[], count=self.count)
        looked = {n.out.name: n for n in self.nodes if isinstance(n, Lookup)}
        for node in self.nodes:
            made.nodes.append(made._by_tables(node, looked, most) if isinstance(node, Loop) else node)
        used = {x.name for n in made.nodes if isinstance(n, Loop) for x in n.xs}
        made.nodes = [n for n in made.nodes if isinstance(n, Loop) or n.out.name in used]
        return made

    def _by_tables(self, node, looked, most):
        xs, given = [*node.xs], {}
        for v in order(node.values):
            row, matrix = v.inputs if v.kind is Kind.MATMUL else (None, None)
            if row is None or not (row.is_input(Source.X) and matrix.is_input(Source.CLOSURE)):
                continue
            i, lookup = row.attr.index, looked.get(node.xs[row.attr.index].name)
            others = [u for u in order(node.values) if row in u.inputs and u is not v] + [
                r for r in node.values if r is row
            ]
            if lookup is None or others:
                continue
            table, by = self.constants[lookup.table], self.constants[node.closed[matrix.attr]]
            if len(table) * v.width > max(most, table.size + by.size):
                continue
            name = self._named("products")
            product = table.reshape(len(table), -1).astype(np.float64) @ (by.T if v.attr else by).astype(
                np.float64
            )
            self.constants[name] = product.astype(self.dtype)
            xs[i] = Item(self._named("rows"), (v.width,), lookup.out.over_time)
            self.nodes.append(Lookup(name, lookup.ids, xs[i]))
            given[v] = Value(Kind.INPUT, (), v.width, True, row.attr)
        new = rebuilt(node.values, given)
        return replace(node, xs=xs, values=[new[v] for v in node.values])

    # ------------------------------------------------------------------ the reference

    def run(self, **given: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs, op by op: what every target must agree with.

        Args:
            given: the inputs by their names, ``[B, ...]`` or ``[T, B, ...]``; states may be left out.
        """
        batch = next(np.asarray(given[x.name]).shape[x.over_time] for x in self.inputs if x.name in given)
        known: dict[str, np.ndarray] = {}
        for x in self.inputs:
            value = given.get(x.name)
            if value is None:
                value = np.tile(self.states[x.name][0], (batch, 1))
            leading = np.asarray(value).shape[: 1 + x.over_time]
            known[x.name] = (
                np.asarray(value) if x.count else np.asarray(value, self.dtype).reshape(*leading, -1)
            )
        for name in self.fixed:
            known[name] = np.repeat(self.constants[name], batch, axis=0)
        with no_grad():
            for node in self.nodes:
                if isinstance(node, Lookup):
                    table = self.constants[node.table]
                    known[node.out.name] = table.reshape(len(table), -1)[known[node.ids.name]]
                else:
                    self._loop(node, known, batch)
        return {name: known[item.name] for name, item in self.outputs.items()}

    def _loop(self, node, known, batch):
        steps = len(next(known[x.name] for x in node.xs if x.over_time)) if node.over_time else 1
        times = list(range(steps))[:: -1 if node.reverse else 1]
        states = [known[s.name] for s in node.init]
        closed = {
            key: Tensor(self.constants[c]) if isinstance(c, str) else c for key, c in node.closed.items()
        }
        inputs = [v for v in order(node.values) if v.kind is Kind.INPUT]
        outs: list[list] = [[None] * steps for _ in node.outs]
        for t in times:
            xs = [Tensor(known[x.name][t] if x.over_time else known[x.name]) for x in node.xs]
            old = [Tensor(s) for s in states]
            given = closed | numbered(Source.X, xs)
            given |= {Input(Source.STATE, len(outs) + i): s for i, s in enumerate(old)}
            env = environment(inputs, given)
            found = [rows_of(v, env, (batch, v.width), self.dtype).numpy() for v in node.values]
            found = [y.astype(self.dtype, copy=False) for y in found]  # numbers alone are float64
            for out, row in zip(outs, found, strict=False):
                out[t] = row
            states = found[len(outs) :]
        for item, rows in zip(node.outs, outs, strict=True):
            known[item.name] = np.stack(rows) if node.over_time else rows[0]
        known |= {item.name: s for item, s in zip(node.finals, states, strict=True)}


def _shape(shape):
    return (shape,) if isinstance(shape, int) else tuple(shape)
