"""What a language model of one's own gives a classifier (Howard & Ruder 2018). Run:
python benchmarks/from_language_model.py DATA [--encoding E] [--parts 0,1,2] [--model OPTIONS] [--lm OPTIONS]
[--classify OPTIONS]

DATA as for `--task classify`. The examples are cut into ten parts as in cross_validation.py; of each part
that is asked for, whose number is the seed as well, a language model learns the sentences of the other nine,
without labels; a classifier learns their labels, once from the start and once `--from` that language model.
What is tested, on the part left out, are the models at the end of their runs.
"""

import json
import shlex
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
parser.add_argument("--encoding", default="utf-8")
parser.add_argument("--parts", default="0,1,2")
parser.add_argument("--model", default="--hidden 128 --embed 128 --layers 1", help="of both")
parser.add_argument(
    "--lm",
    default="--vocab-size 10000 --softmax adaptive --batch-size 32 --seq-len 35 --epochs 12 --dropout 0.4 "
    "--lr 3e-3",
)
parser.add_argument("--classify", default="", help="options of both classifiers")
parser.add_argument("--going-on", default="", help="options of the one that goes on")
given = parser.parse_args()
examples = np.array(list(zip(*read_examples([given.data], encoding=given.encoding), strict=True)), object)
part = np.random.default_rng(0).permutation(len(examples)) % FOLDS


def tinyrnn(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "tinyrnn", *map(str, arguments)], check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def accuracy(files, run, *options):
    tinyrnn(
        "train", "--task", "classify", files[0], "--out", run, "--quiet", "--val-fraction", 0.02, *options
    )
    return json.loads(tinyrnn("evaluate", run / "last.safetensors", files[1], "--json"))["accuracy"]


found = []
for fold in map(int, given.parts.split(",")):
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, "train.jsonl"), Path(folder, "test.jsonl")
        for file, chosen in zip(files, (part != fold, part == fold), strict=True):
            rows = [json.dumps({"text": text, "label": label}) for text, label in examples[chosen]]
            file.write_text("\n".join(rows) + "\n")
        text, lm = Path(folder, "train.txt"), Path(folder, "lm")
        sentences = np.random.default_rng(fold).permutation(examples[part != fold][:, 0])
        text.write_text("".join(f" {' '.join(sentence.split())}\n" for sentence in sentences))
        shape, own = shlex.split(given.model), ["--seed", fold, *shlex.split(given.classify)]
        how = [*shape, *shlex.split(given.lm), "--val-fraction", 0.02, "--seed", fold]
        tinyrnn("train", text, "--level", "word", *how, "--out", lm, "--quiet")
        loss = min(json.loads(line)["val_loss"] for line in (lm / "log.jsonl").open())
        start = accuracy(files, Path(folder, "start"), *shape, *own)
        more = accuracy(files, Path(folder, "more"), "--from", lm, *own, *shlex.split(given.going_on))
    found.append((start, more))
    print(f"part {fold}: {start:.4f}, from a language model of {loss:.2f} nats {more:.4f}", flush=True)
print("mean {:.4f} and {:.4f}".format(*np.mean(found, axis=0)))
