"""Does a run with bfloat16 products end as well as one in float32? The default recipe of ``tinyrnn train``
with both, seed by seed: the differences in validation loss, their mean and its standard error.

    python benchmarks/precision.py TEXT [--seeds 10] [--steps N] [--out FOLDER]

N: default, that of the recipe. Runs that the folder holds already are not repeated, and cut ones go on.
"""

import math
import statistics
from pathlib import Path

import timing

import tinyrnn as tr

DTYPES = "float32", "bfloat16"


def trained(text, out, steps, seed, dtype):
    """The last validation loss of a run."""
    path = out / f"{dtype}-{seed}"
    how = {} if steps is None else {"steps": steps}
    if (path / "config.json").exists():
        run = tr.Run(path)
        run = run if run.log and run.log[-1]["step"] == run.options["steps"] else run.resume()
    else:
        run = tr.train(text, out=path, dtype=dtype, seed=seed, quiet=True, **how)
    return run.log[-1]["val_loss"]


def main():
    parser = timing.parser(__doc__)
    parser.add_argument("text")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--out", type=Path, default=Path("runs/precision"))
    options = parser.parse_args()
    rows = []
    for seed in range(options.seeds):
        losses = {d: trained(options.text, options.out, options.steps, seed, d) for d in DTYPES}
        rows.append({"seed": seed, **losses, "difference": losses["bfloat16"] - losses["float32"]})
        print(rows[-1], flush=True)
    gaps = [row["difference"] for row in rows]
    spread = statistics.stdev(gaps) if len(gaps) > 1 else math.nan
    mean, error = statistics.mean(gaps), spread / len(gaps) ** 0.5
    print(f"bfloat16 - float32: {mean:+.5f} nats a character, standard error {error:.5f}")
    said = f" --steps {options.steps}" * (options.steps is not None)
    command = f"python benchmarks/precision.py {Path(options.text).name} --seeds {options.seeds}{said}"
    timing.save("precision", command, {"runs": rows, "mean": mean, "standard error": error})


if __name__ == "__main__":
    timing.run(main)
