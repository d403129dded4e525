"""Where each size of a training step stands below the limits of the machine: docs/pictures/roofline.png from
results/recurrent.json. Run: python benchmarks/roofline.py

Williams, Waterman & Patterson 2009, "Roofline: an insightful visual performance model". A point is a training
step of the lstm, the gru or the rnn of recurrent.py: floating-point operations of its products a second, over
what it does for each byte of the recurrent matrix that it reads: each of two threads reads that whole at
every time step, forward and backward, and both factors of its gradient once.
"""

import json
from pathlib import Path

import timing

from tinyrnn.tools.bench import Workload

PICTURE = timing.RESULTS.parents[1] / "docs" / "pictures" / "roofline.png"
GATES, MARKS = {"lstm": 4, "gru": 3, "rnn": 1}, {"float32": "o", "bfloat16": "s"}
COLOURS = {"lstm": "tab:blue", "gru": "tab:green", "rnn": "tab:orange"}


def intensity(cell, hidden, size, threads=2, factors=4):
    """Operations for each byte that products of a step read, if numbers of the matrix have a ``size``."""
    work, width = Workload(cell, hidden=hidden), GATES[cell] * hidden
    matrix = 2 * threads * work.length * hidden * width * size
    gradient = work.tokens("train") * (hidden + width) * factors
    return work.flops("train") / (matrix + gradient)


def draw(results, path):
    """The picture of the results of recurrent.py."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    rows, limits = results["rows"]["training"], results["rows"]["limits"]
    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    x = [2, 120]
    for name, style in (("GFLOP/s", "-"), ("GFLOP/s of bfloat16", "--")):
        axes.plot(x, [limits[name]] * 2, "k" + style, lw=1)
        side = "bottom" if style == "-" else "top"
        axes.annotate(f"{name}: {limits[name]}", (x[1], limits[name]), ha="right", va=side, fontsize=8)
    for name in ("GB/s of memory", "GB/s of a core's cache"):
        count = 2 if "core" in name else 1
        axes.plot(x, [v * limits[name] * count for v in x], "k:", lw=1)
        at = x[0] * 1.1
        axes.annotate(f"{limits[name]:.0f} {name}", (at, at * limits[name] * count), fontsize=8, va="bottom")
    curves = {}
    for row in rows:
        cell, _, dtype = row["contender"].partition(" ")
        dtype = dtype or "float32"
        if cell not in GATES or dtype not in MARKS or not isinstance(row["ms"], float):
            continue
        speed = Workload(cell, hidden=row["hidden"]).flops("train") / row["ms"] / 1e6
        at = intensity(cell, row["hidden"], 4 if dtype == "float32" else 2), speed
        curves.setdefault((cell, dtype), []).append((row["hidden"], *at))
    for (cell, dtype), points in curves.items():
        widths, *at = zip(*sorted(points), strict=True)
        axes.plot(*at, MARKS[dtype] + "-", color=COLOURS[cell], lw=0.7, ms=5)
        for width, *where in zip(widths, *at, strict=True) if cell == "lstm" else ():
            axes.annotate(width, where, xytext=(-6, -3), textcoords="offset points", fontsize=7, ha="right")
    for cell, colour in COLOURS.items():
        axes.plot([], [], "o", color=colour, label=cell)
    for dtype, mark in MARKS.items():
        axes.plot([], [], mark, color="0.5", label=dtype)
    axes.set(xscale="log", yscale="log", xlim=x, ylim=(20, 3 * limits["GFLOP/s of bfloat16"]))
    axes.set(xlabel="operations of products for each byte of their operands", ylabel="GFLOP/s of products")
    axes.set_title(f"A training step by width, {results['machine']}, {results['date']}", fontsize=10)
    axes.legend(fontsize=8, loc="lower right")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    timing.parser(__doc__).parse_args()
    draw(json.loads(Path(timing.RESULTS / "recurrent.json").read_text()), PICTURE)
    print(PICTURE)
