"""Ten-fold cross-validation of texts with labels. Run: python benchmarks/cross_validation.py DATA [options of
tinyrnn train]

DATA as for `--task classify`. The examples are shuffled with seed 0 and cut into ten parts of equal size;
each is the test of a model trained on the other nine. What is tested is the model at the end of its run:
nothing is chosen by looking at the test part, nor is a part kept for choosing.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import timing

from tinyrnn.tasks.classify.reader import read_examples

FOLDS = 10
parser = timing.parser(__doc__)
parser.add_argument("data")
given, options = parser.parse_known_args()
data = given.data
encoding = options[options.index("--encoding") + 1] if "--encoding" in options else "utf-8"
options = [o for i, o in enumerate(options) if o != "--encoding" and options[i - 1 : i] != ["--encoding"]]
examples = np.array(list(zip(*read_examples([data], encoding=encoding), strict=True)), object)
part = np.random.default_rng(0).permutation(len(examples)) % FOLDS


def tinyrnn(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "tinyrnn", *map(str, arguments)], check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


accuracies = []
for fold in range(FOLDS):
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, "train.jsonl"), Path(folder, "test.jsonl")
        for file, chosen in zip(files, (part != fold, part == fold), strict=True):
            file.write_text("".join(json.dumps({"text": t, "label": y}) + "\n" for t, y in examples[chosen]))
        run = Path(folder, "run")
        tinyrnn(
            "train", "--task", "classify", files[0], "--out", run, "--quiet", "--val-fraction", 0.02, *options
        )
        found = json.loads(tinyrnn("evaluate", run / "last.safetensors", files[1], "--json"))
    accuracies.append(found["accuracy"])
    print(f"part {fold}: accuracy {found['accuracy']:.4f}, macro-F1 {found['macro_f1']:.4f}", flush=True)
print(
    f"mean accuracy {np.mean(accuracies):.4f}, standard deviation over parts {np.std(accuracies, ddof=1):.4f}"
)
