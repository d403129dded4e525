"""The output layer of a word model: training steps with all logits at once, by blocks, with an adaptive
softmax, beside PyTorch doing the same.

    python benchmarks/vocabulary.py [TEXT] [--vocab-size 10000] [--hidden 128,256,512] [--rounds 5]

An LSTM of one layer over the words of TEXT (default: the documentation inside Python), embedding 128, 64
streams of 35 words; a whole training step (forward, loss, backward, global-norm clip, Adam), float32. Each
contender has a process of its own; they take turns. Of a step of ours also the CPU time of its parts.
"""

import time
from collections import Counter
from dataclasses import dataclass

import numpy as np
import timing

from tinyrnn.base import threads
from tinyrnn.kernels import losses, scatter
from tinyrnn.nn.adaptive import chosen_cutoffs
from tinyrnn.nn.functional import linear_losses
from tinyrnn.nn.optim import Adam
from tinyrnn.tasks.lm.model import LanguageModel
from tinyrnn.tasks.text import corpus, sources
from tinyrnn.tools.bench import gemm_peak, peak_flops, seconds

EMBED, BATCH, LENGTH = 128, 64, 35


@dataclass(frozen=True)
class Words:
    """What is read, and by how wide a layer."""

    texts: tuple
    size: int
    hidden: int

    def read(self):
        """Vocabulary, counts, and ids ``[LENGTH + 1, BATCH]`` from all over the text."""
        found = corpus.load(sources.resolve(self.texts), "word", vocab_size=self.size, by_frequency=True)
        starts = np.linspace(0, len(found.tokens) - LENGTH - 1, BATCH, dtype=int)
        ids = found.tokens[starts + np.arange(LENGTH + 1)[:, None]].astype(np.int64)
        return found.vocabulary, np.bincount(found.tokens, minlength=len(found.vocabulary)), ids


def stepper(words: Words, how):
    """A training step as a function of a `Counter` of seconds; ``how``: logits, blocks or adaptive."""
    vocabulary, counts, ids = words.read()
    linear_losses.WIDE = len(vocabulary) + 1 if how == "logits" else 1024
    own = dict(softmax="adaptive", cutoffs=chosen_cutoffs(counts, words.hidden)) if how == "adaptive" else {}
    model = LanguageModel(vocabulary, cell="lstm", hidden=words.hidden, layers=1, embed=EMBED, seed=0, **own)
    optimizer = Adam(model.parameters())

    def step(spent):
        with threads.alone():
            marks = [time.process_time()]
            optimizer.zero_grad()
            loss, _ = model.cost(ids[:-1], ids[1:])
            marks.append(time.process_time())
            loss.backward()
            marks.append(time.process_time())
            optimizer.step(max_norm=5.0)
            marks.append(time.process_time())
        for name, took in zip(("forward", "backward", "clip and Adam"), np.diff(marks), strict=True):
            spent[name] += took
        return loss.item()

    return step


def ours(words: Words, how):
    """A function that runs one step."""
    step = stepper(words, how)
    return lambda: step(Counter())


def shares(words: Words, how, steps=5):
    """Milliseconds of CPU that the parts of a step take."""
    step, spent = stepper(words, how), Counter()

    def timed(label, function):
        def called(*given, **some):
            began = time.process_time()
            found = function(*given, **some)
            spent[label] += time.process_time() - began
            return found

        return called

    losses.linear_cross_entropy = timed("output layer", losses.linear_cross_entropy)
    scatter.add_rows = timed("rows of the embedding", scatter.add_rows)
    step(spent)
    spent.clear()
    for _ in range(steps):
        step(spent)
    return {name: round(1e3 * s / steps, 1) for name, s in spent.items()}


def pytorch(words: Words, how):
    """The same with nn.LSTM, and nn.Linear or nn.AdaptiveLogSoftmaxWithLoss."""
    import torch

    vocabulary, counts, ids = words.read()
    inputs, targets = torch.from_numpy(ids[:-1]), torch.from_numpy(ids[1:]).flatten()
    n, hidden = len(vocabulary), words.hidden
    embedding, rnn = torch.nn.Embedding(n, EMBED), torch.nn.LSTM(EMBED, hidden)
    adaptive = how == "adaptive"
    cutoffs = chosen_cutoffs(counts, hidden)
    output = (
        torch.nn.AdaptiveLogSoftmaxWithLoss(hidden, n, cutoffs) if adaptive else torch.nn.Linear(hidden, n)
    )
    parameters = [p for module in (embedding, rnn, output) for p in module.parameters()]
    optimizer = torch.optim.Adam(parameters)

    def step():
        optimizer.zero_grad()
        ys = rnn(embedding(inputs))[0].flatten(0, 1)
        loss = (
            output(ys, targets).loss if adaptive else torch.nn.functional.cross_entropy(output(ys), targets)
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        return loss.item()

    return step


def main():
    parser = timing.parser(__doc__)
    parser.add_argument("texts", nargs="*")
    parser.add_argument("--vocab-size", type=int, default=10_000)
    parser.add_argument("--hidden", default="128,256,512")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rows, parts = [], []
    for hidden in map(int, options.hidden.split(",")):
        words = Words(tuple(options.texts), options.vocab_size, hidden)
        jobs = {"peak": (gemm_peak, ())}
        jobs |= {how: (ours, (words, how)) for how in ("logits", "blocks", "adaptive")}
        jobs |= {f"PyTorch {how}": (pytorch, (words, how)) for how in ("logits", "adaptive")}
        found = dict(zip(jobs, seconds(list(jobs.values()), options.rounds), strict=True))
        peak = peak_flops() / found.pop("peak")
        size = len(words.read()[0])
        flops = 6 * BATCH * LENGTH * hidden * size / peak
        for how, s in found.items():
            rival = found.get(f"PyTorch {'logits' if how == 'blocks' else how}")
            row = {"hidden": hidden, "softmax": how, "ms": round(1e3 * s, 1)}
            row["logits at the GEMM peak, ms"] = "" if "adaptive" in how else round(1e3 * flops, 1)
            rows.append(row | {"PyTorch / ours": round(rival / s, 2) if rival else ""})
        parts += [{"hidden": hidden, "softmax": how} | shares(words, how) for how in ("blocks", "adaptive")]
    print(timing.table(list(rows[0]), rows), "\n")
    print(timing.table(list(parts[0]), parts))
    command = " ".join(["python benchmarks/vocabulary.py", *options.texts])
    command += f" --vocab-size {options.vocab_size} --hidden {options.hidden} --rounds {options.rounds}"
    timing.save("vocabulary", command, {"training": rows, "CPU ms of parts": parts})


if __name__ == "__main__":
    timing.run(main)
