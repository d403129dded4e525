"""A training step of `--task translate` with Bahdanau's attention beside one with Luong's.

    python benchmarks/translate.py [--hidden 128] [--layers 1] [--batch 32] [--length 20] [--rounds 15]

A whole step (encoder from both ends, decoder, cross-entropy, backward, global-norm clip, Adam), GRU, float32,
64 symbols, sources and targets of one length, a dropout of 0.2. "step by step" is the decoder op by op, as
scheduled sampling runs it. They take turns.
"""

import argparse
import string

import numpy as np
import timing

import tinyrnn as tr
from tinyrnn.tasks.text.vocabulary import Characters
from tinyrnn.tasks.translate.model import Translator

SYMBOLS = string.ascii_letters + string.digits + " ."
ALMOST_NEVER = 1e-300  # a probability of sampling


def training_step(attention, sampling, options):
    """A function that makes one training step."""
    vocabulary, rng = Characters.build([SYMBOLS], None), np.random.default_rng(0)
    size = dict(hidden=options.hidden, embed=options.hidden, layers=options.layers)
    model = Translator(vocabulary, vocabulary, cell="gru", attention=attention, dropout=0.2, seed=0, **size)
    optimizer = tr.optim.Adam(model.train().parameters(), 1e-3)
    shape = options.length, options.batch
    ids, inputs, targets = (rng.integers(0, len(vocabulary), shape) for _ in range(3))
    mask = np.ones(shape, bool)

    def step():
        optimizer.zero_grad()
        tr.cross_entropy(model(ids, mask, inputs, sampling)[0], targets).backward()
        optimizer.step(max_norm=1.0)

    return step


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sizes = {"hidden": 128, "layers": 1, "batch": 32, "length": 20, "rounds": 15}
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    steps = {
        "luong": training_step("luong", 0.0, options),
        "bahdanau": training_step("bahdanau", 0.0, options),
        "bahdanau, step by step": training_step("bahdanau", ALMOST_NEVER, options),
    }
    found = timing.interleaved(list(steps.values()), options.rounds)
    rows = [
        {"attention": name, "ms": round(1e3 * s, 1), "over luong": round(s / found[0], 2)}
        for name, s in zip(steps, found, strict=True)
    ]
    print(timing.table(["attention", "ms", "over luong"], rows))
    given = " ".join(f"--{name} {getattr(options, name)}" for name in sizes)
    timing.save("translate", f"python benchmarks/translate.py {given}", rows)


if __name__ == "__main__":
    main()
