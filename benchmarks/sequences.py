"""Accuracy of classified sequences of numbers, over seeds. Run: python benchmarks/sequences.py
[--sounds FOLDER] [--vowels FILE.npz] [--seeds N] [options of tinyrnn train]

scikit-learn's digits (rows of 8 numbers are the steps; a fifth of each label is held out, another for each
seed); with --sounds the Free Spoken Digit Dataset, a folder of DIGIT_SPEAKER_INDEX.wav, by digit, by speaker
(indices 0 and 1 are held out), and by digit of speakers that were never heard (each is held out in turn);
with --vowels Japanese vowels (Kudo et al. 1999) in their own parts, train and test, as this wrote them:

    python benchmarks/sequences.py --export vowels.npz    # where aeon is installed

What is tested is the model at the end of its run: nothing is chosen by looking at the test part. Beside it a
support vector machine with scikit-learn's defaults, on means and deviations of the same features in four
quarters of a sequence.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import timing

from tinyrnn.training.experiments import Configuration

SPEAKERS = "george jackson lucas nicolas theo yweweler".split()
PATTERN = "{digit}_{speaker}_{index}.wav"
parser = timing.parser(__doc__)
parser.add_argument("--sounds")
parser.add_argument("--vowels")
parser.add_argument("--export")
parser.add_argument("--seeds", type=int, default=3)
given, options = parser.parse_known_args()


def tinyrnn(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "tinyrnn", *map(str, arguments)], check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def trained(path, seed, own):
    """Accuracy at the end of a run, and seconds that it took, kernels included."""
    with tempfile.TemporaryDirectory() as folder:
        run, start = Path(folder, "run"), time.perf_counter()
        arguments = ["--task", "classify", path, "--out", run, "--quiet", "--seed", seed, *own, *options]
        tinyrnn("train", *arguments)
        seconds = time.perf_counter() - start
        return json.loads(tinyrnn("evaluate", run / "last.safetensors", "--json"))["accuracy"], seconds


def simple(path, seed, own):
    """Accuracy of the support vector machine."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    entries = {k[2:].replace("-", "_"): v for k, v in zip(own[::2], own[1::2], strict=True)}
    if "val_fraction" in entries:
        entries["val_fraction"] = float(entries["val_fraction"])
    configuration = Configuration.make("classify", [str(path)], {**entries, "seed": seed})
    task = configuration.task.build(configuration.options, configuration.texts)
    machine = make_pipeline(StandardScaler(), SVC())
    machine.fit([summary(s) for s in task.train], task.targets)
    return machine.score([summary(s) for s in task.val], task.val_targets)


def summary(sequence):
    quarters = [q if len(q) else sequence for q in np.array_split(sequence, 4)]
    return np.concatenate([f(q, axis=0) for q in quarters for f in (np.mean, np.std)])


def measured(name, path, *variants):
    """A line: mean and lowest over variants of the options and seeds."""
    found = [trained(path, seed, own) for own in variants for seed in range(given.seeds)]
    accuracies = [accuracy for accuracy, _ in found]
    beside = np.mean([simple(path, seed, own) for own in variants for seed in range(given.seeds)])
    seconds = np.median([seconds for _, seconds in found])
    said = f"accuracy {np.mean(accuracies):.4f}, lowest {min(accuracies):.4f} of {len(found)}"
    print(f"{name:28} {said}; support vectors {beside:.4f}; {seconds:.0f} s a run", flush=True)


def export(path):
    """Japanese vowels, as ``aeon`` downloads or bundles them, to ``.npz``."""
    from aeon.datasets import load_japanese_vowels

    parts = {part: load_japanese_vowels(split=part) for part in ("train", "test")}
    xs = [np.asarray(x).T for sequences, _ in parts.values() for x in sequences]
    ys = np.concatenate([labels for _, labels in parts.values()]).astype(str)
    part = np.repeat(list(parts), [len(labels) for _, labels in parts.values()])
    np.savez(path, x=np.concatenate(xs), lengths=[len(x) for x in xs], y=ys, part=part)


def main():
    if given.export:
        export(given.export)
        return
    with tempfile.TemporaryDirectory() as folder:
        from sklearn.datasets import load_digits

        images, path = load_digits(), Path(folder, "digits.npz")
        np.savez(path, x=images.images, y=images.target)
        measured("digits by rows", path, ["--val-fraction", "0.2"])
    if given.vowels:
        measured("Japanese vowels", given.vowels, ["--hold-out", "part=test"])
    if given.sounds:
        named = ["--label-pattern", PATTERN]
        held = [*named, "--hold-out", "index=0,1"]
        measured("spoken digits", given.sounds, [*held, "--label-column", "digit"])
        measured("speakers", given.sounds, [*held, "--label-column", "speaker"])
        new = [[*named, "--label-column", "digit", "--hold-out", f"speaker={s}"] for s in SPEAKERS]
        measured("spoken digits, new speakers", given.sounds, *new)


timing.run(main)
