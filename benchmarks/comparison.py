"""Every registered cell trained on one text with as many parameters as `lstm`: the figures of docs/cells.md.

    python benchmarks/comparison.py TEXT && python docs/make_cells.py

TEXT is tiny Shakespeare. About half a minute a cell; a quarter of an hour or more for `fastweights` and
`matrix-lstm`, which have matrices of [268, 268] and [329, 329] for each sequence at as many parameters.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import timing

import tinyrnn as tr

MODEL = "--layers 1 --hidden 128 --embed 64 --seq-len 64 --dropout 0"
TRAINING = "--steps 300 --eval-every 200 --lr 0.002"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text")
    text = parser.parse_args().text
    cells = ",".join(sorted(tr.cells.registered(), key=lambda name: (name != "lstm", name)))
    options = ["--cells", cells, *MODEL.split(), *TRAINING.split()]
    with tempfile.TemporaryDirectory() as runs:
        tinyrnn = [sys.executable, "-m", "tinyrnn", "compare", text, *options]
        done = subprocess.run([*tinyrnn, "--out", runs, "--json"], stdout=subprocess.PIPE, check=True)
    command = " ".join(["tinyrnn compare", Path(text).name, *options])
    timing.save("comparison", command, json.loads(done.stdout))


if __name__ == "__main__":
    main()
