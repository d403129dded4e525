"""From a recorded step to a plan: what is computed before the loop, in it, and after it, and what the backward loop needs.

- Products of what depends on x alone are *hoisted*: the loop reads their rows as a stream. Where x are rows of a table smaller
  than x, all that depends on x alone is hoisted, and computed once for each row of the table. What depends on neither x nor
  states is computed once a call, by ordinary ops. All this happens on the ordinary tape, and so do the gradients.
- The rest is the forward loop. The backward loop starts from the gradients of the new states and ends at those of the old
  states, of the streams, and of what the step closes over; sums over time and batch of products are left to one large product
  after the loop.
- The forward loop saves what the backward loop cannot make again by cheap pointwise ops of what it has anyway.
"""

import itertools
from dataclasses import dataclass, field

import numpy as np

from ..autograd.tape import Node, Tensor, backpropagate, leading_to, mark, tracing
from ..errors import ShapeError, TraceError
from .program import Reader, Value, order, pointwise
from .rewrite import simplify

CHEAP = frozenset(
    "add subtract multiply negative square where maximum minimum abs relu copy equal not_equal less less_equal greater "
    "greater_equal logical_and logical_or logical_not logical_xor sign clip".split()
)


def is_cheap(v) -> bool:
    """True where computing ``v`` from its inputs costs no more than reading it from memory."""
    return v.op in CHEAP or (v.op == "divide" and v.inputs[1].width == 1)  # by one number a row: a multiplication


@dataclass
class Trace:
    """One recorded step: what it makes, and what it closes over (``closure``: tensors in the order of their inputs)."""

    news: list  # Values of the new states
    nodes: list  # their nodes
    states: list  # leaf nodes of the states
    xs: list  # leaf nodes of the streams
    reader: Reader
    hoisted: list = field(default_factory=list)  # Values that become streams
    streams: list = field(default_factory=list)  # the inputs that stand for them
    tables: dict = field(default_factory=dict)  # which streams are rows of a table: the number of the x they are made of
    closure: list = field(default_factory=list)  # (Tensor, Value)


def trace(step, xs, states, *, hoist=True, tabled=()) -> Trace:
    """Run ``step((x, ...), *states)`` once on templates, arrays ``[B, F]``; ``hoist`` what depends on x alone.

    ``tabled`` are the numbers of those xs that are rows of a small table.

    Raises:
        TraceError: the step cannot be a loop; the message says why.
    """
    batch = states[0].shape[0]
    leaves = [Tensor(a) for a in (*xs, *states)]
    for t in leaves:
        t.requires_grad = True
    old = leaves[len(xs) :]
    with tracing():
        new = next_states(step, tuple(leaves[: len(xs)]), old)
    if any(n.dtype != o.dtype for n, o in zip(new, old, strict=True)):
        raise TraceError("a state changes its dtype")
    out = Trace([], [t.node for t in new], [t.node for t in old], [t.node for t in leaves[: len(xs)]], None)
    live, end = leading_to({t.node for t in leaves}, out.nodes), mark()
    by_node, closure = {}, out.closure  # not `out`: that would be a cycle, kept alive until the garbage collector comes by

    def closed(tensor, matrix=False):
        """The input that stands for a tensor which is the same at every step."""
        key = tensor.node if tensor.node is not None else id(tensor), matrix
        if key not in by_node:
            by_node[key] = _closure_value(tensor, 0 if matrix else batch, len(closure))
            closure.append((tensor, by_node[key]))
        return by_node[key]

    reader = out.reader = Reader(batch, closed, lambda node: node not in live and node.number < end)
    for kind, nodes, arrays in (("x", out.xs, xs), ("s", out.states, states)):
        for i, (node, a) in enumerate(zip(nodes, arrays, strict=True)):
            reader.give(node, Value("input", (), a.shape[1], True, (kind, i)))
    out.news = [reader.read(t) for t in new]
    if any(v.op in ("total", "outer", "turned") for v in order(out.news)):
        raise TraceError("the step mixes the sequences of a batch")
    if hoist:
        _hoist_rows(out, tabled)
        _hoist_products(out)
    return out


def next_states(step, x, old) -> tuple:
    """``step(x, *old)`` as a tuple of as many states as ``old``, of their shapes.

    Raises:
        ShapeError: they are not.
    """
    new = step(x, *old)
    new = (new,) if isinstance(new, Tensor) else tuple(new)
    if len(new) != len(old):
        raise ShapeError(f"step returned {len(new)} states, it was given {len(old)}: return one for each state, in their order")
    for i, (n, o) in enumerate(zip(new, old, strict=True)):
        if n.shape != o.shape:
            raise ShapeError(f"step returned state {i} as {list(n.shape)}, it was given as {list(o.shape)}")
    return new


def _closure_value(tensor, batch, i):
    """The input Value of a closed-over tensor: a row [w], a matrix [k, n], or rows of the batch [B, w]."""
    shape = tensor.shape
    if len(shape) > 2:
        raise TraceError(f"the step closes over a tensor of shape {list(shape)}: at most a matrix can be used in a loop")
    rows = len(shape) == 2 and shape[0] == batch and batch > 1
    return Value("input", (), shape[-1] if shape else 1, rows, ("c", i))


def _hoist_products(out):
    """Turn products that depend on x alone into streams."""
    by_state = depending_on_states(out)
    for v in order(out.news):
        if v.op == "matmul" and v not in by_state and not any(_batch_constant(u) for u in order([v])):
            _make_stream(out, v)


def _hoist_rows(out, tabled):
    """Turn the largest values that are made of one x in ``tabled`` and of constants into streams."""
    made_of = {}
    for v in order(out.news):
        if v.op == "input":
            kind, i = v.attr
            alike = () if kind == "c" and not v.rows else (i if kind == "x" and i in tabled else None,)
        else:
            alike = {x for u in v.inputs for x in made_of[u]}
        made_of[v] = frozenset(alike)

    def from_table(v):
        return len(made_of[v]) == 1 and None not in made_of[v]

    nodes = {id(v) for v in out.reader.values.values()}  # what has a gradient of its own
    todo = [v for v in out.news if from_table(v)]
    todo += [u for v in order(out.news) if not from_table(v) for u in v.inputs if from_table(u)]
    chosen = set()
    while todo:
        v = todo.pop()
        if v.op == "input":
            continue
        if v.op in ("slice", "copy") or id(v) not in nodes:
            todo += [u for u in v.inputs if from_table(u)]
        else:
            chosen.add(v)
    for v in [v for v in order(out.news) if v in chosen]:  # a stream may be made of one before it, as 1 - z is of z
        out.tables[len(out.hoisted)] = next(iter(made_of[v]))
        _make_stream(out, v)


def _make_stream(out, v):
    """Move what ``v`` is to ``out.hoisted``; ``v`` itself becomes an input."""
    out.hoisted.append(Value(v.op, v.inputs, v.width, v.rows, v.attr))
    v.op, v.inputs, v.attr = "input", (), ("p", len(out.streams))
    out.streams.append(v)


def depending_on_states(out: Trace) -> set:
    """The values of the step that depend on its states."""
    found = set()
    for v in order(out.news):
        if (v.op == "input" and v.attr[0] == "s") or any(x in found for x in v.inputs):
            found.add(v)
    return found


def _batch_constant(v):
    return v.op == "input" and v.attr[0] == "c" and v.rows


def signature(out: Trace):
    """What makes two steps the same program: its values in order, and what it closes over."""
    names, rows = {}, []
    for v in order([*out.hoisted, *out.news]):
        names[v] = len(names)
        rows.append((v.op, tuple(names[x] for x in v.inputs), v.width, v.rows, v.attr))
    heads = tuple(names[v] for v in (*out.hoisted, *out.news))
    closure = tuple((t.requires_grad, t.shape, v.rows) for t, v in out.closure)
    return tuple(rows), heads, closure, tuple(n.shape[1] for n in out.states)


@dataclass
class Backward:
    """The backward program: gradients of old states, streams, bare xs, and closure (None where there is none)."""

    states: list
    streams: list
    xs: list
    closure: list


def backward(out: Trace, outputs) -> Backward:
    """Record the backward pass of a traced step and read it.

    The gradient of a new state is what later steps carry back (input ``g``), and for states in ``outputs`` what arrives at the
    outputs over time (input ``o``).
    """
    reader = out.reader
    reader.in_derivative = True
    g = [Tensor(np.random.default_rng(k).standard_normal(n.shape).astype(n.dtype)) for k, n in enumerate(out.states)]
    for k, t in enumerate(g):
        t.requires_grad = True
        parts = [Value("input", (), t.shape[1], True, (kind, k)) for kind in ("g", "o")[: 1 + (k in outputs)]]
        reader.give(t.node, parts[0] if len(parts) == 1 else pointwise("add", *parts))
    hoisted = [next(n for n, v in reader.values.items() if v is p) for p in out.streams]
    closed = [t.node if t.requires_grad else None for t, _ in out.closure]
    targets = [*out.states, *hoisted, *out.xs, *closed]
    roots = [(n, t) for n, t in zip(out.nodes, g, strict=True) if n is not None]
    # What needs no gradient gets a place on the tape as well, so that what a VJP makes of it is recorded.
    plain = [(t, v) for t, v in out.closure if t.node is None]
    for t, v in plain:
        t.node = Node(None, (), None, t.data)
        reader.give(t.node, v)
    try:
        with tracing():
            found = backpropagate(roots, create_graph=True, targets={n for n in targets if n is not None})
        values = [reader.read(found[n]) if n is not None and n in found else None for n in targets]
    finally:
        for t, _ in plain:
            t.node = None
    if len(out.closure) != len(closed):
        raise TraceError("a derivative of the step uses a constant that the step does not have")
    cuts = list(itertools.accumulate([0, len(out.states), len(hoisted), len(out.xs), len(closed)]))
    return Backward(*[values[a:b] for a, b in itertools.pairwise(cuts)])


def simplified(out: Trace, back: Backward):
    """Both programs rewritten together, so that what they share stays shared."""
    parts = [out.news, back.states, back.streams, back.xs, back.closure]
    flat = iter(simplify([v for part in parts for v in part if v is not None]))
    news, *rest = [[None if v is None else next(flat) for v in part] for part in parts]
    return news, Backward(*rest)
