"""Tokens a second of generation beside PyTorch: one sample and several, weights in float32, bfloat16, int8.

    python benchmarks/generation.py [--cells gru,lstm] [--hidden 512] [--samples 1,16] [--rounds 5]

Two layers, embedding 128, vocabulary 65, sampling included, of weights that nothing was learned with.
PyTorch: `nn.GRU` and `nn.LSTM` in a loop under `no_grad`, as they are and after
`torch.ao.quantization.quantize_dynamic`. Each contender has a process of its own, with all threads; they take
turns, medians are shown. What weights in fewer bits cost is not here: `tinyrnn evaluate RUN --weights int8`
says it for a model.
"""

import time
import warnings

import timing

from tinyrnn.kernels import tiles
from tinyrnn.tasks.lm import sampling
from tinyrnn.tasks.lm.task import LanguageModel
from tinyrnn.tasks.text.vocabulary import Characters
from tinyrnn.tools.bench import seconds

EMBED, SYMBOLS, LAYERS = 128, 65, 2


def ours(cell, hidden, samples, tokens, weights):
    """A function that takes the next ``tokens`` of each of so many endless samples."""
    symbols = Characters([chr(0x4E00 + i) for i in range(SYMBOLS)])
    model = LanguageModel(symbols, cell=cell, hidden=hidden, layers=LAYERS, embed=EMBED).eval()
    how = dict(length=10**12, temperature=1.0, seed=0, weights=weights)
    streams = sampling.generate_many(model, None, samples, **how)

    def run():
        for stream in streams:
            for _ in range(tokens):
                next(stream)

    return run


def torch_loop(cell, hidden, samples, tokens, quantised):
    """The same by PyTorch's layers."""
    import torch

    kind = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[cell]
    layers = [
        torch.nn.Embedding(SYMBOLS, EMBED),
        kind(EMBED, hidden, LAYERS),
        torch.nn.Linear(hidden, SYMBOLS),
    ]
    model = torch.nn.ModuleList(layers).eval()
    if quantised:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that another package is to take its place
            model = torch.ao.quantization.quantize_dynamic(model, {kind, torch.nn.Linear}, dtype=torch.qint8)
    embedding, rnn, output = model
    token, state = torch.zeros(1, samples, dtype=torch.long), None

    def run():
        nonlocal token, state
        with torch.no_grad():
            for _ in range(tokens):
                y, state = rnn(embedding(token), state)
                token = torch.multinomial(torch.softmax(output(y)[0], -1), 1).T

    return run


CONTENDERS = {
    "tinyrnn float32": (ours, "float32"),
    "tinyrnn bfloat16": (ours, "bfloat16"),
    "tinyrnn int8": (ours, "int8"),
    "PyTorch float32": (torch_loop, False),
    "PyTorch int8": (torch_loop, True),
}


def measured(cell, hidden, samples, tokens, rounds):
    """A row: tokens a second of each of `CONTENDERS`, in a run of so many of each sample."""
    jobs = [(make, (cell, hidden, samples, tokens, how)) for make, how in CONTENDERS.values()]
    began = time.perf_counter()
    found = dict(zip(CONTENDERS, seconds(jobs, rounds), strict=True))
    row = {"model": f"{cell} {LAYERS} x {hidden}", "samples": samples}
    row |= {name: round(samples * tokens / s) for name, s in found.items()}
    row["float32 / PyTorch float32"] = round(found["PyTorch float32"] / found["tinyrnn float32"], 1)
    row["int8 / PyTorch int8"] = round(found["PyTorch int8"] / found["tinyrnn int8"], 1)
    print(f"# {row['model']}, {samples}: {time.perf_counter() - began:.0f} s", flush=True)
    return row


TOKENS = 2 * sampling.STRETCH


def main():
    parser = timing.parser(__doc__)
    parser.add_argument("--cells", default="gru,lstm")
    parser.add_argument("--hidden", default="512")
    parser.add_argument("--samples", default="1,16")
    parser.add_argument("--tokens", type=int, default=TOKENS, help="a run, of each sample")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rows = [
        measured(cell, int(hidden), int(samples), options.tokens, options.rounds)
        for cell in options.cells.split(",")
        for hidden in options.hidden.split(",")
        for samples in options.samples.split(",")
    ]
    print(timing.table(list(rows[0]), rows))
    instructions = {"bfloat16": tiles.pair_instruction(), "int8": tiles.bytes_instruction()}
    print(f"\ninstructions: {instructions}")
    given = " ".join(f"--{name} {value}" for name, value in vars(options).items())
    timing.save("generation", f"python benchmarks/generation.py {given}", rows, instructions=instructions)


if __name__ == "__main__":
    timing.run(main)
