"""Generation as one compiled loop: a token's row, the step, logits, the choice of the next token.

The step is recorded as `scan` records it. What depends on the token alone is computed once for every token,
as a table.
"""

import math

import numpy as np

from ..autograd import Tensor, no_grad
from ..autograd.tape import multiplying
from ..base import threads
from ..base.devices import array_module
from ..base.errors import TraceError
from . import referee
from .ir import CompilerFault, Kind, Source, numbered, order
from .plan import hoist
from .record import as_rows, of_sizes, recorded
from .rewrite import simplify
from .scan import is_on
from .schedule import Place, Schedule, input_place
from .targets import cuda, numba
from .targets.tensor import environment, evaluate


class TokenLoop:
    """A recurrent model that reads and writes tokens, sequences of equal length side by side.

    Args:
        step: ``(x, *states) -> (*states, logits)`` in tensor ops, ``x [B, E]``.
        table: Tensor ``[tokens, E]``, the rows that tokens stand for.
        states: arrays ``[1, width]`` to start from.
        name: what to announce its compilation as.
        batch: how many sequences; on a GPU 1.
        precision: of the products of a step, None: that of the arrays. What depends on a token alone is made
            once, in that of the arrays.

    Raises:
        TraceError: the step cannot be compiled.
    """

    def __init__(self, step, table, states, name, batch=1, precision=None):
        dtype, K, target = table.dtype, len(states), cuda if table.device == "cuda" else numba
        if dtype.char not in "fd" or any(s.dtype != dtype for s in states):
            raise TraceError("it is not float32 or float64")
        xp = array_module(table.data)
        logits = xp.zeros((1, len(table.data)), dtype)

        sizes = [s.shape[1:] for s in states]

        def inner(xs, old, held):
            *new, found = step(xs[0], *of_sizes(old[:K], sizes))
            return (*of_sizes(new, [(math.prod(s),) for s in sizes]), found)

        with no_grad():
            recording = recorded(inner, (table.data[[0]],), (*[as_rows(s, 1) for s in states], logits))
            program, _ = hoist(recording.program, recording.reader.makers)
            given = numbered(Source.X, [table]) | numbered(Source.CLOSURE, recording.closures)
            given |= numbered(Source.ARGUMENT, recording.numbers)
            env, tables = environment(order([h.value for h in program.hoisted]), given), {}
            for h in program.hoisted:
                env[h.stream] = tables[h.stream.attr.index] = evaluate(h.value, env, dtype)
        news = simplify(program.news)
        self.arrays, leaves = {}, {}
        for v in order(news):
            if v.kind is not Kind.INPUT:
                continue
            source, i = v.attr
            looked_up = source in (Source.X, Source.STREAM)
            leaves[v] = place = input_place(v, {Source.STATE: "batch"}, "ids" if looked_up else "")
            if source is Source.CLOSURE and v.rows:
                raise TraceError("it closes over rows of a batch")
            given = {Source.X: [table], Source.STREAM: tables, Source.CLOSURE: recording.closures}
            if source in given:
                self.arrays[place.array] = xp.ascontiguousarray(given[source][i].data, dtype)
        sinks = [(v, Place(f"state_next{k}", "batch", v.width)) for k, v in enumerate(news)]
        carried = [(f"state{k}", f"state_next{k}") for k in range(K)]
        schedule = Schedule(sinks, leaves, carried=carried)
        self.loop = loop = target.token_loop(schedule, f"state_next{K}", len(table.data))
        self.loops = target.Loops([loop], dtype, file="generate")
        (self.function,) = self.loops.compile(name)
        self.states = [xp.repeat(s, batch, axis=0) for s in states]
        self.spare = [xp.empty_like(xp.repeat(s, batch, axis=0)) for s in [*states, logits]]
        self.numbers, self.steps = recording.numbers, dict.fromkeys(loop.steps, 0)
        self.batch, self.precision = batch, None
        if referee.setting() != "0":
            self._check(step, table)
        self.precision = precision
        self.arrays |= self.loops.matrices(loop, self.arrays, precision)

    def _check(self, step, table):
        """The referee: three tokens of each sequence by the loop and by the step itself, in the precision of
        the arrays.
        """
        before = [s.copy() for s in self.states]
        ids = (np.arange(4)[:, None] + np.arange(self.batch)) % len(table.data)
        states = [Tensor(s) for s in before]
        with no_grad(), np.errstate(all="ignore"):
            for i in ids[:3]:
                *states, logits = step(Tensor(table.data[i]), *states)
            self(ids.copy(), 4, np.zeros((3, self.batch)))
        names = [f"state {k}" for k in range(len(states))] + ["logits"]
        right = dict(zip(names, [*states, logits], strict=True))
        found = dict(zip(names, map(Tensor, [*self.states, self.spare[-1]]), strict=True))
        referee.compare(right, found, table.dtype.name)
        self.states = before

    def __call__(self, ids, known, u, *, banned=-1, temperature=1.0, top_k=None, top_p=None):
        """Read ``ids[t]`` and write ``ids[t + 1]`` for each t, the first ``known`` of which are given.

        Args:
            ids: int64 ``[n + 1, batch]``, contiguous.
            u: uniform numbers in [0, 1), float64 ``[n, batch]``.
            banned: an id that is never written.
        """
        n, arrays, xp = len(u), dict(self.arrays), self.loops.arrays
        arrays |= {f"state{k}": s for k, s in enumerate(self.states)}
        arrays |= {f"state_next{k}": s for k, s in enumerate(self.spare)}
        there, top_k, top_p = xp.asarray(ids), top_k or 0, 1 if top_p is None else top_p
        flat = [a.reshape(-1) for a in (there, xp.asarray(u))]
        extra = [*flat, np.int64(known), np.int64(banned), np.float64(temperature)]
        extra += [np.int64(top_k), np.float64(top_p)]
        if "odds" in self.loop.extra:
            extra.append(xp.empty(2 * self.spare[-1].size, np.float64))
        how = dict(extra=extra, precision=self.precision)
        self.loops.run(self.function, self.loop, arrays, self.numbers, self.steps, n, self.batch, **how)
        if there is not ids:
            ids[...] = there.get()
        if n % 2:  # what was written last is read next
            K = len(self.states)
            self.states, self.spare[:K] = self.spare[:K], self.states

    def read(self, ids):
        """The logits ``[tokens]`` after ``ids [n]`` of one sequence."""
        ids = np.asarray([*ids, 0], np.int64)[:, None]  # what follows them is not looked at
        self(ids, len(ids), np.zeros((len(ids) - 1, 1)))
        logits = self.spare[-1][0]
        return logits.get() if self.loops.arrays is not np else logits


def token_loop(step, table, states, name, batch=1, precision=None):
    """A `TokenLoop`, or None where the step cannot be compiled, or is not to be."""
    if not is_on():
        return None
    try:
        # A few rows are recorded and compared, whatever the precision: waking BLAS's threads costs more.
        with threads.alone(), multiplying((None, True)):
            states = [s.data if isinstance(s, Tensor) else s for s in states]
            return TokenLoop(step, table, states, name, batch, precision)
    except (TraceError, CompilerFault):
        return None
