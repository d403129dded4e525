"""The referee: the first use of a program in a process is checked against the eager tape, on a small problem
of its own.

Values and all gradients of a few steps and rows, on random values, in memory that is full of NaN before it is
written. A
program that fails is never used: a fault of the compiler costs speed, never truth. ``TINYRNN_REFEREE=0``
turns it off, ``=always`` checks every call, on its own values.
"""

import hashlib
import os
import pprint

import numpy as np

from ..autograd.functional import embedding
from ..autograd.tape import ITEM, Node, Tensor, backpropagate, no_grad, recording
from ..base.devices import to_device
from ..base.errors import TraceError
from ..base.files import make_cache_folder, replace_file
from .ir import CompilerFault, Kind, listed
from .run import Runner

STEPS = 3
TOLERANCE = {  # by precision, of the largest element
    "float32": 2e-3, "float64": 1e-7, "bfloat16": 5e-2, "tf32": 1e-2,
}  # fmt: skip


def setting() -> str:
    """``"0"``, ``"always"``, or ``"first"``."""
    value = os.environ.get("TINYRNN_REFEREE", "")
    return value if value in ("0", "always") else "first"


class Problem:
    """Inputs of a recurrence as leaves of their own.

    Args:
        xs, init, held: tuples of arrays; looked_up: number of an x -> (table, ids).
    """

    def __init__(self, xs, init, held, looked_up, reverse, device):
        self.init, self.held = [tuple([leaf(a, device) for a in group]) for group in (init, held)]
        tables = {i: (leaf(table, device), to_device(ids, device)) for i, (table, ids) in looked_up.items()}
        self.tables, self.reverse = tables, reverse
        self.plain = {i: leaf(x, device) for i, x in enumerate(xs) if i not in looked_up}

    def xs(self):
        """The streams; those that are rows of a table are looked up on the tape."""
        rows = {i: embedding(ids, table) for i, (table, ids) in self.tables.items()} | self.plain
        return [rows[i] for i in range(len(rows))]

    def leaves(self):
        named = {f"x {i}": t for i, t in self.plain.items()}
        named |= {f"table {i}": t for i, (t, _) in self.tables.items()}
        named |= {f"initial state {i}": t for i, t in enumerate(self.init)}
        return named | {f"state {i} at resets": t for i, t in enumerate(self.held)}


def small(recorded, xs, flags, held, looked_up, reverse) -> Problem:
    """A problem of `STEPS` steps on the rows that a step was recorded on; the last ``flags`` of ``xs`` are
    ones and zeros.
    """
    draw, B, dtype = np.random.default_rng(0), recorded.batch, recorded.dtype
    arrays, tables = [], {}
    for i, x in enumerate(xs):
        if i in looked_up:
            rows = np.resize(looked_up[i][0].numpy(), (4, x.shape[2]))
            tables[i] = _near(rows, draw), draw.integers(0, 4, (STEPS, B))
            arrays.append(None)
        elif i >= len(xs) - flags:
            arrays.append((draw.random((STEPS, B, 1)) < 0.6).astype(dtype))
        else:
            arrays.append(_near(np.resize(Tensor(x.data[0]).numpy(), (STEPS, B, x.shape[2])), draw))
    init = [draw.standard_normal((B, w)).astype(dtype) / 2 for w in recorded.widths]
    again = [draw.standard_normal((B, w)).astype(dtype) / 2 for w in recorded.widths[: len(held)]]
    return Problem(arrays, init, again, tables, reverse, recorded.device)


def _near(a, draw):
    return (a * (0.5 + draw.random(a.shape)) + 0.1 * draw.standard_normal(a.shape)).astype(a.dtype)


def leaf(a, device="cpu"):
    """An array as a tensor that gradients flow to."""
    a = to_device(a, device)
    return Tensor(a, Node(None, (), None, a))


def check(plan, recorded, eager, problem, gradients, name, poison=True):
    """Raise `CompilerFault` unless the loops of ``plan`` do what ``eager`` does on a problem.

    Args:
        eager: function of ``(xs, init, held, reverse)`` that gives outputs and final states.
        gradients: also those of everything that the step closes over.
    """
    with np.errstate(all="ignore"), recording() if gradients else no_grad():
        try:
            columns, finals = eager(problem.xs(), problem.init, problem.held, problem.reverse)
        except Exception:
            return  # these values are not the user's: there is nothing to compare with
        expected = [*columns, *finals]
        draw = np.random.default_rng(1)
        seeds = [to_device(draw.standard_normal(t.shape).astype(t.dtype), t.device) for t in expected]
        seeds = [Tensor(seed) for seed in seeds]
        given = problem.xs(), problem.init, problem.held, problem.reverse, problem.tables
        runner = Runner(plan, recorded.closures, recorded.numbers, *given, poison=poison)
        found = runner(name)
        names = [f"output {k}" for k in range(len(columns))]
        names += [f"final state {k}" for k in range(len(finals))]
        right = dict(zip(names, expected, strict=True))
        try:
            compare(right, dict(zip(names, found, strict=True)), plan.loops.precision)
        except CompilerFault:
            try:
                again = runner.interpret(runner.inputs)
                compare(right, dict(zip(names, again, strict=True)), plan.loops.precision)
            except CompilerFault:  # nor do tensor ops: it is not what was recorded
                why = "something leaves its tape"
                raise TraceError(f"it does not always do what it did when it was recorded: {why}") from None
            raise
        if gradients:
            leaves = {n: t.node for n, t in problem.leaves().items()}
            leaves |= {f"closed-over tensor {k}": n for k, n in enumerate(_closed_over(recorded))}
            both = [_gradients(ts, seeds, leaves) for ts in (expected, found)]
            compare(*both, plan.loops.precision, "the gradient of ")


def _closed_over(recorded):
    """The nodes, older than the recording, that what it closes over was made of."""
    found, seen, todo = [], set(), [t.node for t in recorded.closures]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.number < recorded.start:
            if node.op is None or node.op is ITEM or node.op.vjps:
                found.append(node)
        else:
            todo.extend(node.parents)
    return sorted(found, key=lambda n: n.number)


def _gradients(tensors, seeds, leaves):
    roots = [(t.node, g) for t, g in zip(tensors, seeds, strict=True) if t.node is not None]
    found = backpropagate(roots, targets=set(leaves.values()), retain_graph=True, hooks=False)
    return {name: found.get(node) for name, node in leaves.items()}


def compare(expected, found, precision, what=""):
    """Raise `CompilerFault` unless two dicts of tensors (None: zeros) agree to the rounding of
    ``precision``.
    """
    largest = max((float(np.nanmax(np.abs(_finite(t)), initial=0)) for t in expected.values()), default=0)
    for name, right in expected.items():
        a, b = _finite(right), found[name]
        b = np.zeros_like(a) if b is None else b.numpy()
        a = np.zeros_like(b) if right is None else a
        known = np.isfinite(a)
        scale = np.abs(a[known]).max(initial=0) + 1e-3 * largest + 1e-6
        gap = np.abs(np.where(known, a, 0) - np.where(known, b, 0)).max(initial=0)
        if not gap <= TOLERANCE[precision] * scale:
            sizes = f"by {gap:.1e} where values are up to {scale:.1e}"
            raise CompilerFault(f"{what}{name} differs from the eager loop {sizes}")


def _finite(t):
    """The values of a tensor, NaN where they are not finite: there rounding decides."""
    if t is None:
        return np.zeros(1)
    return np.where(np.isfinite(t.numpy()), t.numpy(), np.nan)


# ------------------------------------------------------------------ what is left for a report

_SCRIPT = '''"""A fault of tinyrnn's compiler: {message}

This script runs the step with and without it, on random values. Please send it in with a report.
"""

from tinyrnn.compiler.reproduce import reproduce

# values: kind, numbers of its inputs, width, rows, attribute, height
reproduce(
    **{facts}
)
'''


def _plain(kind, attr):
    """What a value's ``attr`` is in a script."""
    if kind is Kind.INPUT:
        return attr.source.name, attr.index
    return tuple(attr) if kind is Kind.VIEW else attr


def report(recorded, message, reverse) -> str:
    """Write a script that shows a fault into the cache folder; returns its path, or why there is none."""
    program = recorded.program
    lines, news = listed(program.news)
    values = [
        (kind.name, inputs, width, rows, _plain(kind, attr), height)
        for kind, inputs, width, rows, attr, height in lines
    ]
    closures = {c.slot: recorded.closures[c.slot].shape for c in program.closures}
    facts = dict(news=news, widths=program.widths, closures=closures, numbers=recorded.numbers)
    facts |= dict(batch=recorded.batch, dtype=str(recorded.dtype), reverse=reverse, values=values)
    text = _SCRIPT.format(message=message, facts=pprint.pformat(facts, width=110, sort_dicts=False))
    try:
        path = make_cache_folder("reports") / f"fault_{hashlib.sha256(text.encode()).hexdigest()[:12]}.py"
        replace_file(path, text.encode())
    except OSError as error:
        return f"(not written: {error.strerror or error})"
    return str(path)
