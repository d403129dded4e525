"""Microseconds a step of exported models: C, compiled by GCC or Clang, beside onnxruntime and PyTorch.

    python benchmarks/deploy.py [--layers 1,2] [--hidden 40,256] [--rounds 16] [--compiler gcc] [--save]

Language models of lstm with 65 symbols and an embedding of 32, of weights that nothing was learned with: one
step from a symbol to logits, one sequence, one thread. C in float32, bfloat16 and int8, with ``-O3
-march=native``; onnxruntime runs the same step from ONNX (`tinyrnn export`), given its states; PyTorch
`nn.LSTM`, under `no_grad`. They take turns, medians are shown. ``--layers`` and ``--hidden`` go in pairs.
``--save`` writes `results/deploy.json`.
"""

import ctypes
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import timing

from tinyrnn.base.errors import InputError
from tinyrnn.tasks.lm.task import LanguageModel
from tinyrnn.tasks.text.vocabulary import Characters
from tinyrnn.tools.export import How, exported

EMBED, SYMBOLS, STEPS = 32, 65, 50
DRIVER = """
static model_state m;
void begin(void) { model_init(&m, 0); }
void run(int n) { for (int i = 0; i < n; i++) model_step(&m, i % MODEL_SYMBOLS); }
"""


def by_c(model, folder, compiler, weights):
    """A function that does `STEPS` steps."""
    folder = folder / str(weights)
    folder.mkdir()
    for path, data in exported(model, "c", folder / "model.c", How(weights=weights)).items():
        path.write_bytes(data)
    (folder / "all.c").write_text('#include "model.c"\n' + DRIVER)
    command = [
        compiler,
        "-O3",
        "-march=native",
        "-std=c99",
        "-shared",
        "-fPIC",
        "all.c",
        "-o",
        "all.so",
        "-lm",
    ]
    try:
        subprocess.run(command, cwd=folder, check=True)
    except FileNotFoundError:
        raise InputError(
            f"there is no compiler {compiler}: install it, or name another by --compiler"
        ) from None
    library = ctypes.CDLL(folder / "all.so")
    library.begin()
    return lambda: library.run(STEPS)


def by_onnxruntime(model, folder):
    import onnxruntime

    path = folder / "model.onnx"
    path.write_bytes(next(iter(exported(model, "onnx", path, How()).values())))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()][1:]
    first = [np.zeros((1, model.settings["hidden"]), np.float32) for _ in names]

    def run():
        states = first
        for i in range(STEPS):
            given = dict(zip(names, states, strict=True))
            _, *states = session.run(None, {"ids": np.array([i % SYMBOLS]), **given})

    return run


def by_torch(layers, hidden):
    import torch

    torch.set_num_threads(1)
    embedding, output = torch.nn.Embedding(SYMBOLS, EMBED), torch.nn.Linear(hidden, SYMBOLS)
    rnn = torch.nn.LSTM(EMBED, hidden, layers).eval()
    ids = torch.arange(SYMBOLS).reshape(-1, 1, 1)

    def run():
        state = None
        with torch.no_grad():
            for i in range(STEPS):
                y, state = rnn(embedding(ids[i % SYMBOLS]), state)
                output(y)

    return run


def measured(layers, hidden, rounds, compiler, folder):
    symbols = Characters([chr(0x4E00 + i) for i in range(SYMBOLS)])
    model = LanguageModel(symbols, cell="lstm", hidden=hidden, layers=layers, embed=EMBED).eval()
    functions = {f"C {w or 'float32'}": by_c(model, folder, compiler, w) for w in (None, "bfloat16", "int8")}
    functions["onnxruntime"] = by_onnxruntime(model, folder)
    functions["PyTorch"] = by_torch(layers, hidden)
    times = timing.interleaved([*functions.values()], rounds)
    row = {name: f"{1e6 * t / STEPS:.2f}" for name, t in zip(functions, times, strict=True)}
    return {"lstm": f"{layers} x {hidden}", **row}


def main():
    parser = timing.parser(__doc__)
    parser.add_argument("--layers", default="1,2")
    parser.add_argument("--hidden", default="40,256")
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--compiler", default="gcc")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    rows = []
    for layers, hidden in zip(options.layers.split(","), options.hidden.split(","), strict=True):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measured(int(layers), int(hidden), options.rounds, options.compiler, Path(folder)))
    print(timing.table(list(rows[0]), rows))
    if options.save:
        timing.save("deploy", "python benchmarks/deploy.py", rows, compiler=options.compiler)


if __name__ == "__main__":
    timing.run(main)
