"""Every registered cell beside PyTorch's loop over time and JAX's lax.scan, forward and backward.

    python benchmarks/cells.py [--cells A,B[heads=4],...] [--sizes 64x16x100,256x32x100] [--rounds 5]
                               [--quick]

A size is hidden units x batch x steps; inputs are as wide as the cell. One layer, float32: outputs, and the
gradients of a weighted sum of them by inputs and parameters. The loops of PyTorch and JAX are the cell's own
step, op by op (`translation.py`; ``--show CELL`` prints it), called at every time step as a user writes it:
no product with x, and nothing of parameters alone, is taken out of the loop by hand; JAX compiles it. First
all three must have the same values: a cell that has not is told, and not timed. Then each contender runs in
a process of its own; they take turns. JAX is left out where it is not installed.
"""

import argparse
import importlib.util
from dataclasses import dataclass

import numpy as np
import timing
from translation import Translation, read

import tinyrnn as tr
from tinyrnn.cli.compare import cells_in
from tinyrnn.compiler.report import report_cell
from tinyrnn.nn import registry
from tinyrnn.tools.bench import seconds

ALLOWED = 1e-3  # relative difference of values in float32, after a hundred steps
COLUMNS = ["cell", "size", "loop", "tinyrnn ms", "PyTorch ms", "ratio", "JAX ms", "JAX ratio", "difference"]


@dataclass(frozen=True)
class Work:
    """A cell, its options, and sizes."""

    cell: str
    options: tuple
    hidden: int
    batch: int
    steps: int

    def layer(self):
        """An RNN of one layer."""
        return tr.RNN(self.cell, self.hidden, self.hidden, seed=0, cell_options=dict(self.options))

    def data(self, width):
        """Inputs, and weights of outputs of so many features: ``[steps, batch, width]``."""
        random = np.random.default_rng(0)
        shapes = [(self.steps, self.batch, n) for n in (self.hidden, width)]
        return [random.standard_normal(shape).astype(np.float32) for shape in shapes]


def ours(work):
    """A function that runs once, and returns outputs and gradients."""
    rnn = work.layer()
    xs, weights = work.data(rnn.output_size)
    xs = tr.tensor(xs, requires_grad=True)
    leaves = [xs, *rnn.parameters()]

    def run():
        for x in leaves:
            x.grad = None
        ys, _ = rnn(xs)
        (ys * weights).sum().backward()
        return [ys, *[tr.zeros_like(x) if x.grad is None else x.grad for x in leaves]]

    return run


def pytorch(work, source, parameters, constants, first):
    """The same by PyTorch's loop over time."""
    import torch

    step = read(source, "torch")
    xs, weights = map(torch.from_numpy, work.data(first[0].shape[1]))
    parameters = [torch.tensor(p, requires_grad=True) for p in parameters]
    constants, first = [torch.tensor(c) for c in constants], [torch.tensor(s) for s in first]
    leaves = [xs.requires_grad_(), *parameters]

    def run():
        for x in leaves:
            x.grad = None
        states, ys = first, []
        for x in xs.unbind(0):
            states = step(parameters, constants, x, *states)
            ys.append(states[0])
        ys = torch.stack(ys)
        (ys * weights).sum().backward()
        return [ys.detach(), *[torch.zeros_like(x) if x.grad is None else x.grad for x in leaves]]

    return run


def jax_scan(work, source, parameters, constants, first):
    """The same by jax.lax.scan inside jax.jit."""
    import jax

    step = read(source, "jax")
    xs, weights = work.data(first[0].shape[1])

    def loss(leaves, weights, first):
        xs, *parameters = leaves

        def body(states, x):
            states = step(parameters, constants, x, *states)
            return states, states[0]

        _, ys = jax.lax.scan(body, first, xs)
        return (ys * weights).sum(), ys

    constants = [jax.numpy.asarray(c) for c in constants]
    given = jax.device_put(([xs, *parameters], weights, tuple(first)))
    compiled = jax.jit(jax.value_and_grad(loss, has_aux=True))

    def run():
        (_, ys), gradients = jax.block_until_ready(compiled(*given))
        return [ys, *gradients]

    return run


def difference(found, expected):
    """The largest difference of arrays, each relative to the largest value of the one expected."""
    pairs = [(np.asarray(a), np.asarray(b)) for a, b in zip(found, expected, strict=True)]
    return max(float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-6)) for a, b in pairs)


def measured(work, rounds, with_jax):
    """The row of one cell at one size."""
    layer = work.layer()
    (cell,) = layer.cells
    reason = report_cell(cell).reason
    row = dict.fromkeys(COLUMNS, "") | {
        "cell": f"{work.cell}{[f'{k}={v}' for k, v in work.options] or ''}".replace("'", ""),
        "size": f"{work.hidden}x{work.batch}x{work.steps}",
        "loop": f"eager: {reason}" if reason else "compiled",
    }
    try:
        step = Translation(cell, work.batch)
        arrays = step.parameters, step.constants, step.first
        jobs = {"tinyrnn": (ours, (work,)), "PyTorch": (pytorch, (work, step.source("torch"), *arrays))}
        if with_jax:
            jobs["JAX"] = jax_scan, (work, step.source("jax"), *arrays)
        values = {name: make(*given)() for name, (make, given) in jobs.items()}
    except Exception as error:  # one cell's failure is a result, too
        return row | {"difference": f"{type(error).__name__}: {error}"}
    own = [t.detach().numpy() for t in values.pop("tinyrnn")]
    row["difference"] = max(difference(other, own) for other in values.values())
    if not row["difference"] <= ALLOWED:  # NaN is not
        return row | {"difference": f"{row['difference']:.1e}: the values differ, nothing is timed"}
    row["difference"] = f"{row['difference']:.1e}"
    times = dict(zip(jobs, seconds(list(jobs.values()), rounds), strict=True))
    for name, ratio in {"tinyrnn": None, "PyTorch": "ratio", "JAX": "JAX ratio"}.items():
        if name in times:
            row[f"{name} ms"] = f"{1e3 * times[name]:.2f}"
            if ratio:
                row[ratio] = f"{times[name] / times['tinyrnn']:.2f}"
    return row


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", help="names; options follow in [ ] (default: all that are registered)")
    parser.add_argument("--sizes", default="64x16x100,256x32x100")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one tiny size, one round: whether all works")
    parser.add_argument("--show", metavar="CELL", help="print the step in PyTorch and in JAX, no more")
    options = parser.parse_args()
    sizes, rounds = ("8x4x6", 1) if options.quick else (options.sizes, options.rounds)
    sizes = [tuple(map(int, size.split("x"))) for size in sizes.split(",")]
    if options.show:
        ((name, pairs),) = cells_in(options.show)
        work = Work(name, tuple(registry.read_options(name, pairs).items()), *sizes[0])
        step = Translation(work.layer().cells[0], work.batch)
        print(*[f"# {dialect}\n{step.source(dialect)}" for dialect in ("torch", "jax")], sep="\n")
        return
    with_jax = importlib.util.find_spec("jax") is not None
    if not with_jax:
        print("# JAX is not installed: left out (pip install jax)")
    cells = cells_in(options.cells) if options.cells else [(name, []) for name in registry.registered()]
    rows = []
    for size in sizes:
        for name, pairs in cells:
            work = Work(name, tuple(registry.read_options(name, pairs).items()), *size)
            rows.append(measured(work, rounds, with_jax))
            print("#", *[f"{column}: {value}" for column, value in rows[-1].items() if value], flush=True)
    columns = [c for c in COLUMNS if with_jax or "JAX" not in c]
    print("\n" + timing.table(columns, rows))
    if not options.quick:
        given = f" --cells '{options.cells}'" if options.cells else ""
        command = f"python benchmarks/cells.py{given} --sizes {options.sizes} --rounds {rounds}"
        timing.save("cells", command, rows)


if __name__ == "__main__":
    main()
