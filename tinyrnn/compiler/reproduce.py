"""What the script of a fault's report runs: the step that it holds, compiled and eagerly, on the same
values.
"""

import os

import numpy as np

from ..autograd.tape import Tensor, backpropagate
from .ir import Input, Kind, Source, Value, numbered
from .referee import STEPS, leaf
from .scan import scan
from .targets.tensor import environment, rows_of
from .views import View


def reproduce(news, widths, closures, numbers, batch, dtype, reverse, values):
    """Print what the step of a report gives as a compiled loop and as the eager one: sums of values and of
    gradients.
    """
    os.environ["TINYRNN_REFEREE"] = "0"
    draw, made = np.random.default_rng(0), []

    def tensor(*shape):
        return leaf((draw.standard_normal(shape) / 2).astype(dtype))

    for kind, operands, width, rows, attr, height in values:
        attr = Input(Source[attr[0]], attr[1]) if kind == "INPUT" else attr
        attr = View(*attr) if kind == "VIEW" else attr
        made.append(Value(Kind[kind], tuple([made[i] for i in operands]), width, rows, attr, height))
    inputs = {v: v.attr for v in made if v.kind is Kind.INPUT}
    closures = {slot: tensor(*shape) for slot, shape in closures.items()}
    init = tuple([tensor(batch, w) for w in widths])
    streams = {a.index: v.width for v, a in inputs.items() if a.source is Source.X}
    xs = tuple([tensor(STEPS, batch, streams.get(i, 1)) for i in range(max(streams, default=0) + 1)])

    def step(x, *states):
        given = numbered(Source.X, x) | numbered(Source.STATE, states) | numbered(Source.HELD, init)
        given |= numbered(Source.ARGUMENT, numbers) | {
            Input(Source.CLOSURE, i): t for i, t in closures.items()
        }
        env = environment(made, given)
        pairs = zip(news, states, strict=True)
        return tuple([rows_of(made[i], env, s.shape, np.dtype(dtype)) for i, s in pairs])

    for compile in (True, False):
        ys, _ = scan(step, xs, init, compile=compile, reverse=reverse, return_states=True)
        seeds = [(y.node, Tensor(np.ones_like(y.data))) for y in ys]
        found = backpropagate(seeds, targets={t.node for t in (*xs, *init, *closures.values())})
        sums = [float(np.abs(found[n].data).sum()) for n in sorted(found, key=lambda n: n.number)]
        values = [float(np.abs(y.data).sum()) for y in ys]
        print("compiled" if compile else "eager   ", values, "gradients", sums)
