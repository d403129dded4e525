"""A compiled recurrence: a plan made into two Numba functions, and the op that runs them over time.

Arrays of the loops, by the first letter of their names: S states over time (one step more than there are inputs), P streams of
hoisted products (or a table whose rows the ids I pick), X bare inputs, C what the step closes over, K what the forward loop
saves, Y and R scratch, W packed matrices; backward G and M gradients of the states (read and written), O gradients of the
outputs, D gradients of streams, E factors of products over time and batch, A sums over time.
"""

import builtins
import functools
import itertools
from dataclasses import replace

import numpy as np

from .. import kernels
from ..autograd import (
    Tensor,
    broadcast_to,
    concat,
    matmul,
    matrix_transpose,
    max,
    min,
    reshape,
    stack,
    sum,
    unstack,
)
from ..autograd.shaping import getitem
from ..autograd.tape import TABLE, Op, apply, is_recording, record
from ..functional import embedding, grad, zeros
from ..functional.layers import source_of
from ..kernels.memory import keep_freed_memory
from .loops import UNIT, Loop, Place, module_source
from .plan import backward, is_cheap, simplified
from .program import Value, order


def _is_sum(v):
    """True for what is summed over time and batch: left to the end."""
    return v.op in ("total", "outer")


class Compiled:
    """The loops of one plan.

    Args:
        trace: the recorded step.
        outputs: which states are returned over time.
        tables: which streams are rows of a table, looked up in the loop.
    """

    def __init__(self, trace, outputs, tables):
        self.outputs, self.tables = outputs, tables
        back = backward(trace, outputs)
        self.news, back = simplified(trace, back)
        self.dtype = trace.states[0].dtype
        inputs = [v for v in order([*self.news, *[v for v in _all(back) if v is not None]]) if v.op == "input"]
        self.inputs = {v.attr: v for v in inputs}
        self.widths = [n.shape[1] for n in trace.states]
        self._plan_backward(back)
        self.forward_loop = Loop("forward", self._forward_sinks(), self._leaves())
        self.backward_loop = Loop("backward", self.sinks, self.leaves, carried=self.carried, backwards=True)
        self.source = module_source((self.forward_loop, self.backward_loop), self.dtype)

    # ------------------------------------------------------------------ planning

    def _leaves(self):
        """What is in memory while a step runs forward."""
        kinds = {"s": ("S", "old"), "x": ("X", "time")}
        leaves = {}
        for (kind, i), v in self.inputs.items():
            if kind == "c":
                leaves[v] = Place(f"C{i}", "batch" if v.rows else "one", v.width)
            elif kind == "p":
                leaves[v] = Place(f"P{i}", "time", v.width)
                if i in self.tables:
                    leaves[v] = Place(f"P{i}", "table", v.width, ids=f"I{i}")
            elif kind in kinds:
                leaves[v] = Place(f"{kinds[kind][0]}{i}", kinds[kind][1], v.width)
        return leaves

    def _plan_backward(self, back):
        """Sinks and leaves of the backward loop; what the forward loop must save; what is left to the end."""
        forward = set(order(self.news))
        self.sinks, self.saved, self.factors, self.sums = [], {}, {}, {}
        leaves = self._leaves()
        new_places = {v: Place(f"S{k}", "new", v.width) for k, v in enumerate(self.news) if v not in leaves}
        for (kind, k), v in self.inputs.items():
            if kind in "go":
                leaves[v] = Place(f"{kind.upper()}{k}", "batch" if kind == "g" else "time", v.width)
        roots = []
        for k, (v, w) in enumerate(zip(back.states, self.widths, strict=True)):
            if v is None:  # nothing flows back to this state
                v = Value("copy", (Value("number", (), 1, False, 0.0),), w)
            roots.append((v, Place(f"M{k}", "batch", w)))
        by_input = {("p", i): v for i, v in enumerate(back.streams)} | {("x", i): v for i, v in enumerate(back.xs)}
        by_input = {attr: v for attr, v in by_input.items() if v is not None}
        roots += [(v, Place(f"D{kind.strip('p')}{i}", "time", v.width)) for (kind, i), v in by_input.items()]
        self.closure = {i: v for i, v in enumerate(back.closure) if v is not None}
        stream_of = {v: place for v, place in roots if place.kind == "time"}
        for root in self.closure.values():
            if root.rows:
                self.sums[root] = Place(f"A{len(self.sums)}", "batch", root.width, True)
                roots.append((root, self.sums[root]))
                continue
            for v in order([root], _is_sum):
                for x in v.inputs if v.op == "outer" else ():
                    self._factor(x, forward, leaves, new_places, stream_of, roots)
        left_to_the_end = [v for v in order([r for r in self.closure.values() if not r.rows], _is_sum) if _is_sum(v)]
        roots, stream_of = self._joined(left_to_the_end, roots, stream_of)
        for v in left_to_the_end:
            if v.op == "total" and v.inputs[0] in stream_of:  # it is kept for each step anyway
                self.sums[v] = stream_of[v.inputs[0]]
            elif v.op == "total":
                self.sums[v] = Place(f"A{len(self.sums)}", "unit", v.width, True)
                roots.append((v.inputs[0], self.sums[v]))
        self._save(forward, leaves, new_places, [v for v, _ in roots])
        self.sinks = roots
        self.gradients = {attr: stream_of[v] for attr, v in by_input.items()}
        self.leaves = leaves | new_places | self.saved
        self.carried = [(f"G{k}", f"M{k}") for k in range(len(self.news))]

    def _factor(self, x, forward, leaves, new_places, stream_of, roots):
        """A place over time for one side of a product over time and batch."""
        if x in self.factors:
            return
        if x.rows and (x in leaves or x in new_places) and not (x in leaves and leaves[x].kind == "table"):
            self.factors[x] = leaves.get(x) or new_places[x]
        elif x in stream_of:
            self.factors[x] = stream_of[x]
        elif x in forward and x.rows:
            self.factors[x] = self.saved[x] = Place(f"K{len(self.saved)}", "time", x.width)
        else:
            self.factors[x] = stream_of[x] = Place(f"E{len(self.factors)}", "time", x.width)
            roots.append((x if x.rows else Value("copy", (x,), x.width), self.factors[x]))

    def _joined(self, sums, roots, stream_of):
        """Lay right sides of products with the same left side in one array, so that they are one product."""
        groups, moved = {}, {}
        for v in sums:
            if v.op == "outer" and v.inputs[1] in stream_of:
                groups.setdefault(v.inputs[0], {})[v.inputs[1]] = None
        for rights in groups.values():
            rights = [v for v in rights if stream_of[v] not in moved]
            ends = list(itertools.accumulate(v.width for v in rights))
            for v, end in zip(rights, ends, strict=True) if len(rights) > 1 else ():
                place = stream_of[v]
                moved[place] = replace(place, array=f"J{stream_of[rights[0]].array}", width=ends[-1], first=end - v.width)
        self.factors = {v: moved.get(p, p) for v, p in self.factors.items()}
        return [(v, moved.get(p, p)) for v, p in roots], {v: moved.get(p, p) for v, p in stream_of.items()}

    def _save(self, forward, leaves, new_places, roots):
        """Decide which values of the forward loop are saved: what cannot be made again cheaply from what is there anyway."""
        needed, seen = set(), set()
        todo = list(roots)
        while todo:
            v = todo.pop()
            if v in seen or v in leaves or v in new_places or v in self.saved:
                continue
            seen.add(v)
            if v in forward:
                needed.add(v)
            else:
                todo.extend(v.inputs)
        available = set(leaves) | set(new_places) | set(self.saved)

        def cheap(v):
            if v in available or v.op == "number":
                return True
            return (is_cheap(v) or v.op == "slice") and all(cheap(x) for x in v.inputs)

        for v in order(self.news):
            if v in needed and not cheap(v):
                self.saved[v] = Place(f"K{len(self.saved)}", "time", v.width)
                available.add(v)

    def _forward_sinks(self):
        sinks = [(v, Place(f"S{k}", "new", self.widths[k])) for k, v in enumerate(self.news)]
        return sinks + list(self.saved.items())

    def prepare(self, name, both):
        """Compile the functions of the loops, the second only if ``both``, or load them from the cache."""
        self.functions = _load(self.source)
        if not all(f.signatures for f in self.functions[: 1 + both]):
            with kernels.notice.compiling(name):
                for function, loop in zip(self.functions[: 1 + both], (self.forward_loop, self.backward_loop), strict=False):
                    function.compile(loop.signature(self.dtype))


@functools.cache
def _load(source):
    module = kernels.jit.load_source("scan", source)
    return module.forward, module.backward


def _all(back):
    return [*back.states, *back.streams, *back.xs, *back.closure]


# ------------------------------------------------------------------ running


def evaluate(value, env):
    """``value`` computed with tensor ops from tensors of its inputs: what the loops must agree with."""
    for v in order([value]):
        if v in env:
            continue
        xs = [env[x] for x in v.inputs]
        if v.op == "number":
            env[v] = v.attr
        elif v.op == "matmul":
            env[v] = matmul(xs[0], matrix_transpose(xs[1]) if v.attr else xs[1])
        elif v.op == "slice":
            env[v] = getitem(xs[0], (Ellipsis, slice(*v.attr)))
        elif v.op == "concat":
            env[v] = concat([_rows_like(x, p, xs) for x, p in zip(xs, v.inputs, strict=True)], axis=-1)
        elif v.op == "copy":
            spread = isinstance(xs[0], Tensor) and v.width != v.inputs[0].width
            env[v] = xs[0] + zeros(v.width, dtype=xs[0].dtype) if spread else xs[0]
        elif v.op in ("rowsum", "rowmax", "rowmin"):
            env[v] = {"rowsum": sum, "rowmax": max, "rowmin": min}[v.op](xs[0], axis=-1, keepdims=True)
        else:
            env[v] = apply(TABLE[v.op], *xs)
    return env[value]


def rows_of(value, env, like):
    """`evaluate` for every sequence of the batch: in the shape of ``like``."""
    return broadcast_to(evaluate(value, env), like.shape)


def _rows_like(x, value, others):
    """``x`` as wide and as high as a part of a concatenation must be."""
    like = next(o for o in others if isinstance(o, Tensor))
    return broadcast_to(x, (*like.shape[:-1], value.width))


def sources(xs) -> dict:
    """Those of ``xs [T, B, F]`` that are rows of a smaller table: number -> (table, ids [T, B])."""
    found = {i: source_of(x) for i, x in enumerate(xs)}
    return {i: source for i, source in found.items() if source and len(source[0].data) < source[1].size}


class Runner:
    """One call of a compiled recurrence: the arrays of both loops. ``looked_up`` holds table and ids of streams."""

    def __init__(self, plan, trace, xs, init, reverse, looked_up):
        self.plan, self.reverse = plan, bool(reverse)
        whole = {id(ids): np.ascontiguousarray(ids, np.int64) for _, ids in looked_up.values()}
        self.ids = {f"I{i}": whole[id(ids)] for i, (_, ids) in looked_up.items()}
        self.T, self.B = xs[0].shape[:2]
        streams = {("x", i): x for i, x in enumerate(xs)}
        closure = {("c", i): t for i, (t, _) in enumerate(trace.closure)}
        env = {trace.reader.values[n]: reshape(x, (-1, x.shape[-1])) for n, x in zip(trace.xs, xs, strict=True)}
        env |= {v: t for t, v in trace.closure}
        of_tables = {}  # env for each x that is looked up: the same, of the table's rows
        rows_needed = {v for i, p in enumerate(trace.hoisted) if i not in looked_up for v in order([p])}
        # Large products over all steps at once, on the ordinary tape; of a table, its rows take the place of x.
        for i, (product, stream) in enumerate(zip(trace.hoisted, trace.streams, strict=True)):
            if i in looked_up:
                table, ids = looked_up[i]
                x = trace.reader.values[trace.xs[trace.tables[i]]]
                known = of_tables.setdefault(x, {**env, x: table})
                known[stream] = streams[stream.attr] = evaluate(product, known)
                if stream in rows_needed:
                    env[stream] = embedding(ids.reshape(-1), known[stream])
            else:
                env[stream] = rows = evaluate(product, env)
                streams[stream.attr] = reshape(rows, (self.T, self.B, rows.shape[-1]))
        states = {("s", k): s for k, s in enumerate(init)}
        everything = streams | states | closure
        self.slots = [a for a in plan.inputs if a[0] in "pxc"] + [("s", k) for k in range(len(init))]
        self.inputs = [everything[a] for a in self.slots]

    def __call__(self, name):
        """``(outputs over time..., final states...)`` as tensors; what has to be compiled is announced as ``name``."""
        keep_freed_memory()
        with kernels.threads.alone():
            return self._called(name)

    def _called(self, name):
        arrays = [np.ascontiguousarray(x.data, self.plan.dtype) for x in self.inputs]
        keep = is_recording() and any(x.requires_grad for x in self.inputs)
        self.plan.prepare(name, both=keep)
        outs, memory = self._forward(dict(zip(self.slots, arrays, strict=True)), keep)
        return record(_scan, tuple(self.inputs), {"runner": self, "memory": memory}, tuple(outs))

    def _forward(self, given, keep):
        plan, T, B = self.plan, self.T, self.B
        memory = {f"{kind.upper()}{i}": a for (kind, i), a in given.items() if kind != "s"}
        for k, w in enumerate(plan.widths):
            memory[f"S{k}"] = states = np.empty((T + 1, B, w), plan.dtype)
            states[T if self.reverse else 0] = given["s", k]
        for place in plan.saved.values():  # where nothing will be differentiated, every step overwrites the last
            memory[place.array] = np.empty((T if keep else 1, B, place.width), plan.dtype)
        self._run(plan.forward_loop, 0, memory, {p.array: 0 for p in plan.saved.values()} if not keep else {})
        over_time = slice(0, T) if self.reverse else slice(1, None)
        outs = [memory[f"S{k}"][over_time] for k in plan.outputs]
        finals = [memory[f"S{k}"][0 if self.reverse else T] for k in range(len(plan.widths))]
        return outs + finals, memory if keep else None

    def _run(self, loop, which, memory, still):
        """Call one loop in parts of the batch, one a thread."""
        T, B, plan = self.T, self.B, self.plan
        function = plan.functions[which]
        arrays = memory | {name: ids.reshape(-1) for name, ids in self.ids.items()}
        for (matrix, turned), name in loop.packed.items():
            c = memory[f"C{matrix.attr[1]}"]
            arrays[name] = kernels.gemm.packed_matrix(c.T if turned else c)
        flat = [arrays[a].reshape(-1) for a in loop.arguments()]
        steps = {a: still.get(a, arrays[a][0].size if arrays[a].ndim == 3 else 0) for a in loop.steps}
        n = np.array(loop.numbers(steps), np.int64)
        products = builtins.sum(v.inputs[0].width * v.width for v in loop.values if v.op == "matmul")
        work = products + 50 * builtins.sum(plan.widths)

        def part(first, last):
            function(T, B, first * UNIT, builtins.min(last * UNIT, B), self.reverse, n, *flat)

        kernels.threads.split(-(-B // UNIT), part, at_least=T * UNIT * work)

    def backward(self, gs, memory):
        """The gradients of ``inputs``, one for each."""
        plan, T, B = self.plan, self.T, self.B
        memory = dict(memory)
        count = len(plan.outputs)
        for k, g in zip(plan.outputs, gs[:count], strict=True):
            memory[f"O{k}"] = np.ascontiguousarray(g.data)
        for k, g in enumerate(gs[count:]):
            memory[f"G{k}"], memory[f"M{k}"] = np.array(g.data), np.empty_like(g.data)
        for _, place in plan.sinks:
            if place.kind == "time" and place.array not in memory:
                memory[place.array] = np.empty((T, B, place.width), plan.dtype)
            elif place.kind == "unit":
                memory[place.array] = np.zeros((-(-B // UNIT), place.width), plan.dtype)
            elif place.add:
                memory[place.array] = np.zeros((B, place.width), plan.dtype)
        self._run(plan.backward_loop, 1, memory, {})
        found = {("s", k): memory[f"{'G' if T % 2 == 0 else 'M'}{k}"] for k in range(len(plan.widths))}
        shared = {}  # sums of rows by id, and products, that several gradients are columns of
        found |= {a: self._stream(a, place, memory, shared) for a, place in plan.gradients.items()}
        for i, root in plan.closure.items():
            found["c", i] = self._finish(root, memory, shared)
        return [
            None if a not in found else Tensor(found[a].reshape(x.shape)) for a, x in zip(self.slots, self.inputs, strict=True)
        ]

    def _stream(self, attr, place, memory, shared):
        """The gradient of a stream or of a bare x: over time, or summed for each row of its table."""
        a, (kind, i) = memory[place.array], attr
        if kind == "p" and i in self.plan.tables:
            ids, key = self.ids[f"I{i}"], (place.array, id(self.ids[f"I{i}"]))
            if key not in shared:
                rows = a.reshape(ids.size, -1), ids.reshape(-1), len(memory[f"P{i}"])
                shared[key] = kernels.scatter.add_rows(*rows)
            a = shared[key]
        return a[..., place.first : place.first + self.plan.inputs[attr].width]

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
            product = kernels.gemm.matmul(self._over_time(left, memory).T, self._over_time(right, memory))
            shared[v.inputs[0], right.array] = product
        product = shared[v.inputs[0], right.array]
        rows, columns = (slice(p.first, p.first + x.width) for p, x in zip((left, right), v.inputs, strict=True))
        return product[rows, columns]

    def _total(self, v, memory, shared):
        """The sum over time and batch of what the loop left for ``v``."""
        place = self.plan.sums[v]
        rows = next((a for key, a in shared.items() if key[0] == place.array), None)  # of a table: less to add up
        rows = self._over_time(place, memory) if rows is None else rows
        return kernels.scatter.sum_rows(rows)[None, place.first : place.first + v.width]

    def _finish(self, root, memory, shared):
        """The gradient of what the step closes over, from the sums and factors that the loop left."""
        plan, done = self.plan, {}
        if root.rows:
            return memory[plan.sums[root].array]
        for v in order([root], _is_sum):
            xs = [done.get(x) for x in v.inputs]
            if v.op == "total":
                done[v] = self._total(v, memory, shared)
            elif v.op == "outer":
                done[v] = self._outer(v, memory, shared)
            elif v.op == "input":
                done[v] = memory.get(f"C{v.attr[1]}") if v.attr[0] == "c" else None
            elif v.op == "number":
                done[v] = v.attr
            elif v.op == "turned":
                done[v] = xs[0].T
            elif v.op == "copy":
                done[v] = np.broadcast_to(xs[0], (1, v.width))
            elif v.op == "slice":
                done[v] = xs[0][..., slice(*v.attr)]
            elif v.op == "concat":
                done[v] = np.concatenate([np.atleast_2d(x) for x in xs], axis=-1)
            elif v.op in TABLE and TABLE[v.op].rule and all(x is not None for x in xs):
                done[v] = TABLE[v.op].forward(*xs)
        return np.asarray(done[root], plan.dtype)

    def interpret(self, inputs):
        """The same recurrence with tensor ops, step by step: for derivatives of second order, and for tests."""
        plan, T = self.plan, self.T
        given = dict(zip(self.slots, inputs, strict=True))
        fixed = {v: given[a] for a, v in plan.inputs.items() if a[0] == "c"}
        rows = {v: given[a] for a, v in plan.inputs.items() if a[0] in "px"}
        rows |= {v: embedding(self.ids[f"I{v.attr[1]}"], x) for v, x in rows.items() if x.ndim == 2}
        over_time = {v: unstack(x) for v, x in rows.items()}
        states = [given["s", k] for k in range(len(plan.widths))]
        columns = [None] * T
        for t in reversed(range(T)) if self.reverse else range(T):
            env = fixed | {v: xs[t] for v, xs in over_time.items()}
            env |= {v: states[a[1]] for a, v in plan.inputs.items() if a[0] == "s"}
            states = [rows_of(v, env, s) for v, s in zip(plan.news, states, strict=True)]
            columns[t] = states
        return [stack([c[k] for c in columns]) for k in plan.outputs] + states


def _vjp(g, inputs, runner, memory):
    if not is_recording():
        with kernels.threads.alone():
            return runner.backward(g, memory)

    def weighted(*inputs):
        return functools.reduce(lambda a, b: a + b, [sum(y * gi) for y, gi in zip(runner.interpret(inputs), g, strict=True)])

    positions = tuple(i for i, x in enumerate(inputs) if x.dtype.kind == "f")
    found = dict(zip(positions, grad(weighted, positions)(*inputs), strict=True))
    return [found.get(i) for i in range(len(inputs))]


_scan = Op("scan", None, _vjp, inputs=(), listed=False)
