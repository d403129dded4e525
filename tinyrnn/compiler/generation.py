"""Generation as one compiled loop: a token's row, the step, logits, the choice of the next token.

The step is recorded as `scan` records it. What depends on the token alone is computed once for every token, as a table.
"""

import functools

import numba
import numpy as np

from .. import kernels
from ..autograd import Tensor, no_grad
from ..errors import TraceError
from . import plan
from .compiled import evaluate
from .loops import Loop, Place, module_source
from .program import order
from .rewrite import simplify
from .scan import is_on

_EXTRA = ("ids", "u", "known", "banned", "temperature", "top_k", "top_p")
_EXTRA_TYPES = (numba.int64[::1], numba.float64[::1], *[numba.int64] * 2, numba.float64, numba.int64, numba.float64)


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
        two = [np.repeat(s, 2, axis=0) for s in states]  # a batch of one would look like a row that all sequences share
        logits = np.zeros((2, len(table.data)), dtype)
        with no_grad():
            trace = plan.trace(lambda xs, *old: step(xs[0], *old[:K]), [table.data[[0, 0]]], [*two, logits])
            news = simplify(trace.news)
            env = {trace.reader.values[trace.xs[0]]: table} | {v: t for t, v in trace.closure}
            for product, stream in zip(trace.hoisted, trace.streams, strict=True):
                env[stream] = evaluate(product, env)
        tables = {stream.attr: env[stream] for stream in trace.streams}
        self.arrays, leaves = {}, {}
        for v in order(news):
            if v.op != "input":
                continue
            kind, i = v.attr
            if kind == "s":
                leaves[v] = Place(f"G{i}", "batch", v.width)
            elif kind == "c":
                leaves[v] = Place(f"C{i}", "one", v.width)
                self.arrays[f"C{i}"] = np.ascontiguousarray(trace.closure[i][0].data)
            else:
                leaves[v] = place = Place(f"{kind.upper()}{i}", "table", v.width, ids="ids")
                self.arrays[place.array] = np.ascontiguousarray((table if kind == "x" else tables[v.attr]).data)
        sinks = [(v, Place(f"M{k}", "batch", v.width)) for k, v in enumerate(news)]
        choice = f"if t + 1 >= known: ids[t + 1] = choose(M{K}, banned, temperature, top_k, top_p, u[t])"
        loop = Loop("generate", sinks, leaves, carried=[(f"G{k}", f"M{k}") for k in range(K)], after=[choice], extra=_EXTRA)
        for (matrix, turned), packed in loop.packed.items():
            c = self.arrays[f"C{matrix.attr[1]}"]
            self.arrays[packed] = kernels.gemm.packed_matrix(c.T if turned else c)
        self.states = [s.copy() for s in states]
        self.spare = [np.empty_like(s) for s in [*states, logits[:1]]]
        self.loop, self.numbers = loop, np.array(loop.numbers(dict.fromkeys(loop.steps, 0)), np.int64)
        self.function = _load(module_source([loop], dtype))
        if not self.function.signatures:
            with kernels.notice.compiling(name):
                self.function.compile((*loop.signature(dtype), *_EXTRA_TYPES))

    def __call__(self, ids, known, u, *, banned=-1, temperature=1.0, top_k=None, top_p=None):
        """Read ``ids[t]`` and write ``ids[t + 1]`` for each t, the first ``known`` of which are given.

        Args:
            ids: int64 ``[n + 1]``.
            u: uniform numbers in [0, 1), float64 ``[n]``.
            banned: an id that is never written.
        """
        n, arrays = len(u), dict(self.arrays)
        arrays |= {f"G{k}": s for k, s in enumerate(self.states)} | {f"M{k}": s for k, s in enumerate(self.spare)}
        flat = [arrays[a].reshape(-1) for a in self.loop.arguments()]
        how = float(temperature), int(top_k or 0), float(1 if top_p is None else top_p)
        self.function(n, 1, 0, 1, False, self.numbers, *flat, ids, u, known, banned, *how)
        if n % 2:  # what was written last is read next
            K = len(self.states)
            self.states, self.spare[:K] = self.spare[:K], self.states


@functools.cache
def _load(source):
    return kernels.jit.load_source("generate", source).generate


def token_loop(step, table, states, name):
    """A `TokenLoop`, or None where the step cannot be compiled, or is not to be."""
    if not is_on():
        return None
    try:
        return TokenLoop(step, table, [s.data if isinstance(s, Tensor) else s for s in states], name)
    except TraceError:
        return None
