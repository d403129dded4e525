"""How the loops of a program run: one call's arrays, both loops, and what is left to their end.

Arrays of the loops: ``state`` over time (one step more than there are inputs), ``stream`` of hoisted values
(or a table whose rows the ``ids`` pick), bare ``input``, ``held`` and ``closure``, ``packed`` matrices,
``saved`` by the forward loop, ``rows`` and ``row`` scratch, ``numbers``; backward ``grad`` and ``grad_next``
of the states, ``grad_output``, ``grad_stream``, ``grad_input``, ``factor`` of products over time and batch
(``joined`` side by side), ``sum`` over time.
"""

import functools
import warnings

import numpy as np

from .. import kernels
from ..autograd import Tensor, reshape, stack, sum, unstack
from ..autograd.functional import embedding, grad
from ..autograd.linalg import autocast
from ..autograd.tape import Op, is_recording, record, recording
from ..base import threads
from ..base.devices import beside
from ..base.errors import ChangedInPlaceError, GradientError
from ..base.memory import keep_freed_memory
from .ir import CompileWarning, Input, Kind, Source, numbered, order
from .save import Saved, is_sum
from .targets import cuda, numba
from .targets.tensor import environment, evaluate, rows_of


class Compiled(Saved):
    """The loops of one program as functions.

    Attributes:
        precision: of the operands of products, where the source of the loops says it.
        passed: directions of time, and whether gradients were asked for, in which the referee found no fault.
        fault: what it found, or None.
    """

    def __init__(self, recording, outputs, tabled, device, precision=None):
        super().__init__(recording, outputs, tabled)
        target = cuda if device == "cuda" else numba
        pair = [target.Loop("forward", self.forward), target.Loop("backward", self.backward)]
        self.loops = target.Loops(pair, self.dtype, precision)
        self.passed, self.fault, self.precision = set(), None, precision


class Runner:
    """One call of a compiled recurrence.

    Args:
        plan: `Compiled`.
        closures, numbers: of the recording of this call.
        xs: tensors ``[T, B, F]``; init: tensors ``[B, H]``; held: as many of those as return at a reset.
        looked_up: table and ids of those xs that are rows of a table, by number.
        precision: of the operands of products, None: that of the arrays, or of the plan.
        poison: fill memory with NaN before it is written.
    """

    def __init__(
        self, plan, closures, numbers, xs, init, held, reverse, looked_up, precision=None, poison=False
    ):
        self.plan, self.reverse, self.poison = plan, bool(reverse), poison
        self.precision = plan.precision or precision
        self.T, self.B = xs[0].shape[:2]
        self.np = plan.loops.arrays  # NumPy or CuPy
        of_table = {id(ids): beside(ids, xs[0].data) for _, ids in looked_up.values()}
        whole = {key: self.np.ascontiguousarray(ids, np.int64) for key, ids in of_table.items()}
        self.ids = {f"ids{i}": whole[id(looked_up[x][1])] for i, x in plan.tables.items()}
        tensors = numbered(Source.X, xs) | numbered(Source.HELD, held) | numbered(Source.CLOSURE, closures)
        self.numbers = numbers
        tables = {i: table for i, (table, _) in looked_up.items()}
        with autocast(self.precision):
            tensors |= numbered(Source.STREAM, self._streams(tensors, tables))
        slots = (plan.read & set(tensors)) | set(plan.gradients) | set(plan.shared)
        states = numbered(Source.STATE, init)
        self.slots = [*sorted(slots), *states]
        self.inputs = [(tensors | states)[slot] for slot in self.slots]

    def _environment(self, values, tensors):
        """What stands for inputs of the program: tensors and numbers."""
        return environment(values, tensors | numbered(Source.ARGUMENT, self.numbers))

    def _streams(self, tensors, tables):
        """Hoisted values over all steps at once, on the ordinary tape; of a table, its rows take the place of
        x.
        """
        program, streams, dtype = self.plan.program, [], self.plan.dtype
        values = order([h.value for h in program.hoisted])
        flat = {v.attr: tensors[v.attr] for v in values if v.attr in tensors and not v.is_input(Source.X)}
        for v in order([h.value for h in program.hoisted if h.table is None]):
            if v.is_input(Source.X):
                flat[v.attr] = reshape(tensors[v.attr], (-1, v.width))
        of_tables, by_step = {}, self._environment(values, flat)  # the first: for each x that is looked up
        for h in program.hoisted:
            if h.table is not None:
                rows = flat | {Input(Source.X, h.table): tables[h.table]}
                env = of_tables.setdefault(h.table, self._environment(values, rows))
                streams.append(evaluate(h.value, env, dtype))
                env[h.stream] = streams[-1]
                continue
            for v in order([h.value]):
                if v.is_input(Source.STREAM) and v not in by_step:
                    i = v.attr.index
                    by_step[v] = embedding(self.ids[f"ids{i}"].reshape(-1), streams[i])
            by_step[h.stream] = found = evaluate(h.value, by_step, dtype)
            streams.append(reshape(found, (self.T, self.B, found.shape[-1])))
        return streams

    def __call__(self, name):
        """``(outputs over time..., final states...)`` as tensors; what has to be compiled is announced as
        ``name``.
        """
        keep_freed_memory()
        with threads.alone():
            return self._called(name)

    def keeps(self) -> bool:
        """True where gradients may be asked for: the forward loop then saves what the backward loop needs."""
        return is_recording() and any(x.requires_grad for x in self.inputs)

    def _called(self, name):
        arrays = [self.np.ascontiguousarray(x.data, self.plan.dtype) for x in self.inputs]
        keep = self.keeps()
        self.functions = self.plan.loops.compile(name, 1 + keep, self.B)
        outs, memory = self._forward(dict(zip(self.slots, arrays, strict=True)), keep)
        cells = []
        params = {"runner": self, "memory": memory, "cells": cells}
        tensors = record(_scan, tuple(self.inputs), params, tuple(outs))
        if tensors[0].node is not None:  # outputs share memory with what the backward loop reads
            made = tensors[0].node.number
            cells += [(t.shared_version(), made) for t in tensors[: len(self.plan.outputs)]]
        return tensors

    def _empty(self, shape):
        a = self.np.empty(shape, self.plan.dtype)
        if self.poison:
            a.fill(np.nan)
        return a

    def _forward(self, given, keep):
        plan, T, B = self.plan, self.T, self.B
        memory = {_name(at): a for at, a in given.items() if at.source is not Source.STATE}
        for k, w in enumerate(plan.widths):
            memory[f"state{k}"] = states = self._empty((T + 1, B, w))
            states[T if self.reverse else 0] = given[Input(Source.STATE, k)]
        for (
            place
        ) in plan.saved.values():  # where nothing will be differentiated, each step overwrites the last
            memory[place.array] = self._empty((T if keep else 1, B, place.width))
        self._run(0, memory, {p.array: 0 for p in plan.saved.values()} if not keep else {})
        over_time = slice(0, T) if self.reverse else slice(1, None)
        outs = [memory[f"state{k}"][over_time] for k in plan.outputs]
        finals = [memory[f"state{k}"][0 if self.reverse else T].copy() for k in range(len(plan.widths))]
        return outs + finals, memory if keep else None

    def _run(self, which, memory, still):
        """Call one loop; arrays in ``still`` have a step in time of their own."""
        loops = self.plan.loops
        loop, arrays = loops.loops[which], memory | {name: ids.reshape(-1) for name, ids in self.ids.items()}
        steps = {a: still.get(a, arrays[a][0].size if arrays[a].ndim == 3 else 0) for a in loop.steps}
        how = steps, self.T, self.B, self.reverse
        loops.run(self.functions[which], loop, arrays, self.numbers, *how, precision=self.precision)

    def backward(self, gs, memory):
        """The gradients of ``inputs``, one for each."""
        plan, T, B = self.plan, self.T, self.B
        memory = dict(memory)
        count = len(plan.outputs)
        for k, g in zip(plan.outputs, gs[:count], strict=True):
            memory[f"grad_output{k}"] = self.np.ascontiguousarray(g.data)
        for k, g in enumerate(gs[count:]):
            memory[f"grad{k}"] = self.np.array(g.data, order="C")
            memory[f"grad_next{k}"] = self._empty(g.shape)
        for _, place in plan.sinks:
            if place.kind == "time" and place.array not in memory:
                memory[place.array] = self._empty((T, B, place.width))
            elif place.kind == "unit":
                memory[place.array] = self.np.zeros((-(-B // plan.loops.unit), place.width), plan.dtype)
            elif place.add:
                memory[place.array] = self.np.zeros((B, place.width), plan.dtype)
        self._run(1, memory, {})
        word = "grad" if T % 2 == 0 else "grad_next"
        found = numbered(Source.STATE, [memory[f"{word}{k}"] for k in range(len(plan.widths))])
        shared = {}  # sums of rows by id, and products, that several gradients are columns of
        for at, (place, width) in plan.gradients.items():
            found[at] = self._columns(at, place, memory, shared)[..., place.first : place.first + width]
        for at, root in plan.shared.items():
            found[at] = self._finish(root, memory, shared)
        gradients = [(found.get(at), x.shape) for at, x in zip(self.slots, self.inputs, strict=True)]
        return [None if g is None else Tensor(g.reshape(shape)) for g, shape in gradients]

    def _columns(self, at, place, memory, shared):
        """The array of the gradient of a stream, a bare x or rows of the batch: over time, or summed for each
        row of its table.
        """
        a = memory[place.array]
        if at.source is not Source.STREAM or at.index not in self.plan.tables:
            return a
        ids = self.ids[f"ids{at.index}"]
        key = (place.array, id(ids))
        if key not in shared:
            rows = a.reshape(ids.size, -1), ids.reshape(-1)
            shared[key] = kernels.scatter.add_rows(*rows, len(memory[_name(at)]))
        return shared[key]

    def _over_time(self, place, memory):
        """An array over time as rows over time and batch."""
        a = memory[place.array]
        if place.kind in ("old", "new"):
            first = (place.kind == "new") != self.reverse
            a = a[int(first) : int(first) + self.T]
        return a.reshape(-1, place.width)

    def _outer(self, v, memory, shared):
        """The product over time and batch of what the loop left for both sides of ``v``."""
        left, right = (self.plan.factors[x] for x in v.inputs)
        if (v.inputs[0], right.array) not in shared:
            rows = self._over_time(left, memory).T, self._over_time(right, memory)
            shared[v.inputs[0], right.array] = self.plan.loops.matmul(*rows, self.precision)
        product, (x, y) = shared[v.inputs[0], right.array], v.inputs
        return product[left.first : left.first + x.width, right.first : right.first + y.width]

    def _total(self, v, memory, shared):
        """The sum over time and batch of what the loop left for ``v``."""
        place = self.plan.sums[v]
        tabled = [a for key, a in shared.items() if key[0] == place.array]  # less to add up
        rows = tabled[0] if tabled else self._over_time(place, memory)
        return kernels.scatter.sum_rows(rows)[None, place.first : place.first + v.width]

    def _finish(self, root, memory, shared):
        """The gradient of what the step closes over, from the sums and factors that the loop left."""
        values = order([root], is_sum)
        given = {
            v.attr: Tensor(memory[_name(v.attr)]) for v in values if v.is_input(Source.CLOSURE) and not v.rows
        }
        env = self._environment(values, given)
        for v in values:
            if is_sum(v):
                finish = self._total if v.kind is Kind.TOTAL else self._outer
                env[v] = Tensor(finish(v, memory, shared))
        return evaluate(root, env, self.plan.dtype).data

    def interpret(self, inputs):
        """The same recurrence with tensor ops, step by step: for derivatives of second order, and for
        tests.
        """
        program, T, dtype = self.plan.program, self.T, self.plan.dtype
        given = dict(zip(self.slots, inputs, strict=True))
        values = [v for v in order(program.news) if v.kind is Kind.INPUT]
        fixed, over_time = self._environment(values, given), {}
        for v in values:
            if v.is_input(Source.X, Source.STREAM):
                rows = fixed.pop(v)
                if v.is_input(Source.STREAM) and v.attr.index in self.plan.tables:
                    rows = embedding(self.ids[f"ids{v.attr.index}"], rows)
                over_time[v] = unstack(rows)
        states = [given[Input(Source.STATE, k)] for k in range(len(program.widths))]
        columns = [None] * T
        for t in reversed(range(T)) if self.reverse else range(T):
            env = fixed | {v: xs[t] for v, xs in over_time.items()}
            env |= {v: states[v.attr.index] for v in values if v.is_input(Source.STATE)}
            states = [rows_of(v, env, s.shape, dtype) for v, s in zip(program.news, states, strict=True)]
            columns[t] = states
        return [stack([c[k] for c in columns]) for k in self.plan.outputs] + states


def _name(at):
    """The array of an input."""
    return f"{at.source.value}{at.index}"


def _vjp(g, inputs, runner, memory, cells):
    if any(version[0] > number for version, number in cells):
        raise ChangedInPlaceError(
            "scan: its outputs were changed in place after they were computed, and its gradient needs them: "
            "use the functional form (ys = ys + y), or change them after backward()"
        )
    if not is_recording():
        try:
            with threads.alone():
                return runner.backward(g, memory)
        except Exception as error:  # a fault costs speed, never truth: the gradients come from the plain loop
            said = "a backward loop runs eagerly because of a fault of tinyrnn's compiler"
            warnings.warn(f"{said}: {type(error).__name__}: {error}", CompileWarning, stacklevel=2)

    if runner.plan.has_custom:
        mend = "give scan (or RNN) compile=False"
        raise GradientError(f"scan: derivatives of second order go past the custom_vjp of a step: {mend}")

    def weighted(*inputs):
        parts = [sum(y * gi) for y, gi in zip(runner.interpret(inputs), g, strict=True)]
        return functools.reduce(lambda a, b: a + b, parts)

    positions = tuple(i for i, x in enumerate(inputs) if x.dtype.kind == "f")
    create_graph = is_recording()
    with recording(), autocast(runner.precision):
        found = dict(zip(positions, grad(weighted, positions)(*inputs), strict=True))
    found = found if create_graph else {i: x.detach() for i, x in found.items()}
    return [found.get(i) for i in range(len(inputs))]


_scan = Op("scan", None, _vjp, inputs=(), listed=False)
