"""From a program to a plan: what is computed before the loop, in it, and after it, and what flows back.

- Products of what depends on x alone are *hoisted*: the loop reads their rows as a stream. Where x are rows
  of a table smaller than x, all that depends on x alone is hoisted, and computed once for each row of the
  table. All this happens on the ordinary tape, and so do the gradients.
- The rest is the forward loop. The backward loop starts from the gradients of the new states and ends at
  those of the old states, of the streams, and of what the step closes over; sums over time and batch of
  products are left to one large product after the loop.
"""

import dataclasses

import numpy as np

from ..autograd.tape import Node, Tensor, backpropagate, tracing
from ..base.devices import to_device
from ..base.errors import TraceError
from .ir import (
    CUSTOM,
    Hoisted,
    Input,
    Kind,
    Program,
    Source,
    Value,
    order,
    pointwise,
    rebuilt,
    verify,
    widened,
)
from .lines import walked
from .rewrite import simplify
from .roles import Open, Read, role_of

CHEAP = frozenset(
    "add subtract multiply negative square where maximum minimum abs relu equal not_equal less less_equal "
    "greater greater_equal logical_and logical_or logical_not logical_xor sign clip".split()
)


def is_cheap(v) -> bool:
    """True where computing ``v`` from its inputs costs no more than reading it from memory."""
    if v.kind in (Kind.COPY, Kind.DETACH, Kind.CAST):
        return True
    by_one_number = v.attr == "divide" and v.inputs[1].width == 1  # a row: a multiplication
    return v.kind is Kind.POINTWISE and (v.attr in CHEAP or by_one_number)


def depending_on_states(program) -> set:
    """The values of a program that depend on its states."""
    found = set()
    for v in order(program.news):
        if v.is_input(Source.STATE) or any(x in found for x in v.inputs):
            found.add(v)
    return found


def hoist(program, makers, tabled=()) -> tuple[Program, dict]:
    """``program`` with what depends on x alone as streams, and what stands for each of its values now.

    Args:
        makers: the values that have a gradient of their own.
        tabled: the numbers of those xs that are rows of a small table.
    """
    chosen = _of_tables(program, makers, tabled)
    by_state = depending_on_states(program)
    for v in order(program.news, chosen.__contains__):
        product = v.kind is Kind.MATMUL and v not in by_state and v not in chosen
        if product and not any(_is_held(u) or u.attr == CUSTOM for u in order([v])):
            chosen[v] = None
    streams, hoisted, new = {}, [], {}
    for v in order(program.news):
        if v in chosen:
            value = rebuilt([v], {s: streams[s] for s in streams})[v]
            streams[v] = Value(Kind.INPUT, (), v.width, True, Input(Source.STREAM, len(hoisted)))
            hoisted.append(Hoisted(streams[v], value, chosen[v]))
    new = rebuilt(program.news, streams)
    made = dataclasses.replace(program, news=tuple([new[v] for v in program.news]), hoisted=tuple(hoisted))
    verify(made)
    return made, new


def _is_held(v):
    """True for rows of the batch that do not change over time."""
    return v.is_input(Source.HELD) or (v.is_input(Source.CLOSURE) and v.rows)


def _of_tables(program, makers, tabled) -> dict:
    """The largest values that are made of one x in ``tabled`` and of constants: value -> the number of that
    x.
    """
    made_of = {}
    for v in order(program.news):
        if v.kind is Kind.INPUT:
            source, i = v.attr
            constant = source is Source.ARGUMENT or (source is Source.CLOSURE and not v.rows)
            alike = () if constant else (i if source is Source.X and i in tabled else None,)
        else:
            alike = {x for u in v.inputs for x in made_of[u]} | ({None} if v.attr == CUSTOM else set())
        made_of[v] = frozenset(alike)

    def from_table(v):
        return len(made_of[v]) == 1 and None not in made_of[v]

    todo = [v for v in program.news if from_table(v)]
    todo += [u for v in order(program.news) if not from_table(v) for u in v.inputs if from_table(u)]
    chosen = {}
    while todo:
        v = todo.pop()
        if v.kind is Kind.INPUT:
            continue
        if v.kind in (Kind.VIEW, Kind.COPY, Kind.CAST) or v not in makers:
            todo += [u for u in v.inputs if from_table(u)]
        else:
            chosen[v] = next(iter(made_of[v]))
    return chosen


def backward(program, recording, new, outputs) -> dict[Input, Value]:
    """Record the backward pass of a recorded step and read it: the gradients of its inputs, where one flows.

    The gradient of a new state is what later steps carry back, and for states in ``outputs`` what arrives at
    the outputs over time as well. ``new``: what stands for each of the recording's values in ``program``.
    """
    reader = recording.reader.with_values(new)
    targets = _targets(program, recording, new)
    seeds = []
    for k, t in enumerate(recording.news):
        a = np.random.default_rng(k).standard_normal(t.shape).astype(t.dtype)
        a = to_device(a, recording.device)
        seeds.append(Tensor(a, Node(None, (), None, a)))
        sources = [Source.GRAD, Source.GRAD_OUTPUT][: 1 + (k in outputs)]
        parts = [Value(Kind.INPUT, (), t.shape[1], True, Input(s, k)) for s in sources]
        value = parts[0] if len(parts) == 1 else pointwise("add", *parts)
        reader.reads[seeds[-1].node] = Read(value, "b" + role_of(t.shape[1]))
    roots = [(t.node, g) for t, g in zip(recording.news, seeds, strict=True) if t.node is not None]
    with tracing(), walked(recording.origins):
        found = backpropagate(roots, create_graph=True, targets=set(targets.values()), hooks=False)
    back = {}
    for at, node in targets.items():
        if node in found:
            shape = program.closures[at.index].shape if at.source is Source.CLOSURE else (None,)
            back[at] = _gradient(reader.read(found[node]), at, None in shape)
    verify(program, back)
    return back


def _targets(program, recording, new) -> dict:
    """The nodes of inputs to which gradients flow: old states, streams, bare xs, held rows, closures."""
    nodes = {given: node for node, given in recording.inputs.items()}
    makers = {new.get(v, v): node for v, node in recording.reader.makers.items()}
    nodes |= {h.stream.attr: makers[h.stream] for h in program.hoisted}
    closures = [c.slot for c in program.closures if c.needs_grad]
    nodes |= {Input(Source.CLOSURE, slot): recording.closures[slot].node for slot in closures}
    sources = [Source.STATE, Source.STREAM, Source.X, Source.HELD, Source.CLOSURE]
    return {at: nodes[at] for source in sources for at in sorted(nodes) if at.source is source}


def _gradient(read, at, by_batch) -> Value:
    """The gradient of an input: rows of the batch, or a sum over it."""
    if isinstance(read, Open):
        raise TraceError(f"the gradient of {at.source.value}{at.index} is a closed-over tensor")
    value = read.value
    if by_batch and not value.rows:
        if at.source is not Source.CLOSURE:
            raise TraceError("the gradient of a row of the batch does not depend on the batch")
        return widened(value, value.width, True)
    if value.rows and not by_batch:  # recorded on a batch of one, where there was nothing to sum
        return Value(Kind.TOTAL, (value,), value.width, False)
    return value


def simplified(program, back) -> tuple[Program, dict[Input, Value]]:
    """Both programs rewritten together, so that what they share stays shared."""
    roots = [*program.news, *back.values()]
    flat = [widened(new, v.width, v.rows) for v, new in zip(roots, simplify(roots), strict=True)]
    count = len(program.news)
    program = dataclasses.replace(program, news=tuple(flat[:count]))
    back = dict(zip(back, flat[count:], strict=True))
    verify(program, back)
    return program, back


def used_inputs(program, back) -> list:
    """All inputs of both loops."""
    return [v for v in order([*program.news, *back.values()]) if v.kind is Kind.INPUT]
