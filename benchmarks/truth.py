"""What it costs that no step is compiled into something else: recordings, and the referee.

    python benchmarks/truth.py

For cells of the package: the recording of a step that is known (each call), its examination (once a step and
size of the batch), and the referee (once a step, program and process; compilation aside), beside a training
step of the layer. B 64, T 50, H 256.
"""

import importlib
import sys
import time

import numpy as np
import timing

import tinyrnn as tr
from tinyrnn.compiler import record, referee
from tinyrnn.compiler.targets.numba import mode

scan = importlib.import_module("tinyrnn.compiler.scan")  # the package has a function of that name

B, T, F, H = 64, 50, 128, 256


def milliseconds(cell):
    """Milliseconds of each part, for one cell."""
    rnn = tr.RNN(cell, F, H, seed=0)
    xs = tr.tensor(np.random.default_rng(0).standard_normal((T, B, F)), "float32", requires_grad=True)
    init, layer = rnn.initial_state(B)[0], rnn.cells[0]
    inner = scan._inner(layer.step, 0, 1, False, False)
    first = (xs.data[0],), tuple([s.data for s in init])

    def train():
        rnn(xs)[0].sum().backward()

    def known():
        record.recorded(inner, *first)

    def new():
        record._known.clear()
        record.recorded(inner, *first)

    def judged():
        problem = referee.small(recording, [xs], 0, (), {}, False)
        referee.check(plan, recording, eager, problem, True, "")

    def eager(xs, init, held, reverse):
        return scan._eager(inner, xs, init, held, reverse, (0,))

    train()
    recording = record.recorded(inner, *first)
    plan = scan.plan_of(recording, (0,), frozenset())
    names = {"recording, known": known, "recording, new": new, "referee": judged, "training step": train}
    return dict(zip(names, [1e3 * t for t in timing.interleaved(list(names.values()))], strict=True))


def main():
    timing.parser(__doc__).parse_args()
    assert mode() == "numba"
    rows, began = [], time.perf_counter()
    for cell in ("rnn", "gru", "lstm"):
        rows.append({"cell": cell} | {k: round(v, 2) for k, v in milliseconds(cell).items()})
    print(timing.table(list(rows[0]), rows), f"\n{time.perf_counter() - began:.0f} s")
    timing.save("truth", " ".join(["python", *sys.argv]), rows)


if __name__ == "__main__":
    main()
