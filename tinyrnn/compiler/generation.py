"""Generation as one compiled loop: a token's row, the step, logits, the choice of the next token.

The step is recorded as `scan` records it. What depends on the token alone is computed once for every token,
as a table.
"""

import numba
import numpy as np

from ..autograd import Tensor, no_grad
from ..base import threads
from ..base.errors import TraceError
from . import referee
from .ir import CompilerFault, Kind, Source, numbered, order
from .plan import hoist
from .record import recorded
from .rewrite import simplify
from .scan import is_on
from .schedule import Place, Schedule, input_place
from .targets.numba import Loop, compiled, load, mode, module_source
from .targets.tensor import environment, evaluate

_EXTRA = {  # what the choice of a token takes besides the logits
    "ids": numba.int64[::1], "u": numba.float64[::1], "known": numba.int64, "banned": numba.int64,
    "temperature": numba.float64, "top_k": numba.int64, "top_p": numba.float64,
}  # fmt: skip


class TokenLoop:
    """A recurrent model that reads and writes tokens, one sequence of them.

    Args:
        step: ``(x, *states) -> (*states, logits)`` in tensor ops, ``x [B, E]``.
        table: Tensor ``[tokens, E]``, the rows that tokens stand for.
        states: arrays ``[1, width]`` to start from.
        name: what to announce its compilation as.

    Raises:
        TraceError: the step cannot be compiled.
    """

    def __init__(self, step, table, states, name):
        dtype, K = table.dtype, len(states)
        if table.device != "cpu" or dtype.char not in "fd" or any(s.dtype != dtype for s in states):
            raise TraceError("it is not float32 or float64 on the CPU")
        logits = np.zeros((1, len(table.data)), dtype)

        def inner(xs, old, held):
            return step(xs[0], *old[:K])

        with no_grad():
            recording = recorded(inner, (table.data[[0]],), (*states, logits))
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
                self.arrays[place.array] = np.ascontiguousarray(given[source][i].data, dtype)
        sinks = [(v, Place(f"state_next{k}", "batch", v.width)) for k, v in enumerate(news)]
        choice = f"choose(state_next{K}, banned, temperature, top_k, top_p, u[t])"
        carried = [(f"state{k}", f"state_next{k}") for k in range(K)]
        after = [f"if t + 1 >= known: ids[t + 1] = {choice}"]
        loop = Loop("generate", Schedule(sinks, leaves, carried=carried), after=after, extra=_EXTRA)
        self.arrays |= loop.packed_matrices(self.arrays)
        self.states = [s.copy() for s in states]
        self.spare = [np.empty_like(s) for s in [*states, logits[:1]]]
        self.loop, self.integers = loop, np.array(loop.integers(dict.fromkeys(loop.steps, 0)), np.int64)
        self.gemm = loop.gemm(dtype)
        self.arrays["numbers"] = np.array(loop.all_numbers(recording.numbers), dtype)
        module = load("generate", module_source([loop], dtype, mode()))
        (self.function,) = compiled(module, [loop], dtype, name)
        if referee.setting() != "0":
            self._check(step, table)

    def _check(self, step, table):
        """The referee: three tokens by the loop and by the step itself."""
        before = [s.copy() for s in self.states]
        ids = np.arange(4) % len(table.data)
        states = [Tensor(s) for s in before]
        with no_grad(), np.errstate(all="ignore"):
            for i in ids[:3]:
                *states, logits = step(Tensor(table.data[[i]]), *states)
            self(ids.copy(), 4, np.zeros(3))
        names = [f"state {k}" for k in range(len(states))] + ["logits"]
        right = dict(zip(names, [*states, logits], strict=True))
        found = dict(zip(names, map(Tensor, [*self.states, self.spare[-1]]), strict=True))
        referee.compare(right, found, table.dtype)
        self.states = before

    def __call__(self, ids, known, u, *, banned=-1, temperature=1.0, top_k=None, top_p=None):
        """Read ``ids[t]`` and write ``ids[t + 1]`` for each t, the first ``known`` of which are given.

        Args:
            ids: int64 ``[n + 1]``.
            u: uniform numbers in [0, 1), float64 ``[n]``.
            banned: an id that is never written.
        """
        n, arrays = len(u), dict(self.arrays)
        arrays |= {f"state{k}": s for k, s in enumerate(self.states)}
        arrays |= {f"state_next{k}": s for k, s in enumerate(self.spare)}
        flat = [arrays[a].reshape(-1) for a in self.loop.arguments()]
        how = float(temperature), int(top_k or 0), float(1 if top_p is None else top_p)
        self.function(n, 1, 0, 1, False, self.gemm, self.integers, *flat, ids, u, known, banned, *how)
        if n % 2:  # what was written last is read next
            K = len(self.states)
            self.states, self.spare[:K] = self.spare[:K], self.states


def token_loop(step, table, states, name):
    """A `TokenLoop`, or None where the step cannot be compiled, or is not to be."""
    if not is_on():
        return None
    try:
        with threads.alone():  # a few rows are recorded and compared: waking BLAS's threads costs more
            return TokenLoop(step, table, [s.data if isinstance(s, Tensor) else s for s in states], name)
    except (TraceError, CompilerFault):
        return None
