"""What recipes learn: ``tinyrnn train`` with other options, on texts and seeds, one after the other.

    python benchmarks/defaults.py TEXT... --vary "" --vary "--lr 0.005" [--also OPTIONS] [--seeds 3]
        [--out FOLDER] [--save NAME]

Each ``--vary`` is what is added to the command; all runs share ``--also``. Runs that the folder holds already
are not repeated. Shown is the best validation loss, that of every seed and the seconds of training.
"""

import shlex
import statistics
import subprocess
import sys
from pathlib import Path

import timing

import tinyrnn as tr


def trained(text, out, options):
    """The log of the run with these options of the command, a list of words."""
    name = " ".join([Path(text).stem, *options]).replace("--", "").replace("/", "-").replace(" ", "_")
    if not (out / name / "config.json").exists():
        command = [sys.executable, "-m", "tinyrnn", "train", text, *options, "--quiet"]
        subprocess.run([*command, "--out", str(out / name)], check=True, stdout=subprocess.DEVNULL)
    return tr.Run(out / name).log


def main():
    parser = timing.parser(__doc__)
    parser.add_argument("texts", nargs="+")
    parser.add_argument("--vary", action="append", required=True)
    parser.add_argument("--also", default="")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/defaults"))
    parser.add_argument("--save", default="defaults")
    options = parser.parse_args()
    rows = []
    for text in options.texts:
        for varied in options.vary:
            shared = shlex.split(f"{options.also} {varied}")
            logs = [trained(text, options.out, [*shared, "--seed", str(s)]) for s in range(options.seeds)]
            losses = [min(record["val_loss"] for record in log) for log in logs]
            row = {
                "text": Path(text).name,
                "options": " ".join(shared),
                "losses": losses,
                "mean": statistics.mean(losses),
                "steps": [log[-1]["step"] for log in logs],
                "seconds": [log[-1]["seconds"] for log in logs],
            }
            rows.append(row)
            print(f"{row['mean']:.4f}  {row['text']}  {row['options'] or '(nothing)'}  {row}", flush=True)
    texts = " ".join(Path(text).name for text in options.texts)
    command = f"python benchmarks/defaults.py {texts} --also {options.also!r} --seeds {options.seeds}"
    timing.save(options.save, command, {"rows": rows})


if __name__ == "__main__":
    timing.run(main)
