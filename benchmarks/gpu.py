"""A GPU: the tests, and figures beside PyTorch's and JAX's, the most important first.

    PYTHONPATH=. python benchmarks/gpu.py [--out FOLDER] [--text tinyshakespeare.txt] [--only PART] [--try]

Every part is a process with a time limit of its own; a part that fails or takes too long does not end the
run. After each part ``gpu.json`` in the folder holds what is known so far, and ``gpu.log`` all that was
printed. Everything together takes less than eight minutes. ``--try`` runs every part on the CPU at tiny
sizes, to see that the script itself works.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import timing
from recurrent import LayerNormLSTM, torch_layer_norm_layer

import tinyrnn as tr

ROUNDS = 11


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=timing.RESULTS)
    parser.add_argument("--text", type=Path, help="also train on it, to 1.50 nats a character")
    parser.add_argument("--only", choices=PARTS, help="one part, in this process")
    parser.add_argument("--try", dest="trying", action="store_true", help="tiny sizes on the CPU")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(PARTS[options.only][0](options)))
        return
    options.out.mkdir(parents=True, exist_ok=True)
    found, log = (
        {"date": time.strftime("%Y-%m-%d %H:%M"), "device": device_name(options)},
        options.out / "gpu.log",
    )
    found["command"] = " ".join(["python", *sys.argv])
    log.write_text("")
    for part, (_, limit) in PARTS.items():
        began = time.perf_counter()
        outcome = run_part(part, limit, log)
        found[part] = {"seconds": round(time.perf_counter() - began, 1), **outcome}
        (options.out / "gpu.json").write_text(json.dumps(found, indent=1))
        print(f"{part}: {json.dumps(found[part])[:2000]}", flush=True)


def run_part(part, limit, log):
    """What a part found, or why there is nothing."""
    command = [sys.executable, __file__, *sys.argv[1:], "--only", part]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired as late:
        output, done = (late.stdout or b"") + (late.stderr or b""), None
        output = output.decode(errors="replace")
    else:
        output = done.stdout + done.stderr
    with log.open("a") as file:
        file.write(f"==== {part}\n{output}\n")
    if done is None:
        return {"failed": f"more than {limit} s"}
    if done.returncode:
        return {"failed": output.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]}
    return {"result": json.loads(done.stdout.strip().splitlines()[-1])}


def device_name(options):
    if options.trying:
        return "the CPU, a try"
    import cupy

    return cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()


# ------------------------------------------------------------------ how things are measured


def interleaved(contenders, options):
    """Median milliseconds of each contender, ``name -> function``, taken in turns and synchronised; a
    contender that cannot run has its error.
    """
    found, running = {}, {}
    for name, make in contenders.items():
        try:
            running[name] = make()
            for _ in range(3):
                running[name]()
        except Exception as error:
            found[name] = f"{type(error).__name__}: {str(error)[:300]}"
            running.pop(name, None)
    times = {name: [] for name in running}
    for _ in range(ROUNDS if not options.trying else 2):
        for name, run in running.items():
            synchronise(options)
            began = time.perf_counter()
            run()
            synchronise(options)
            times[name].append(1e3 * (time.perf_counter() - began))
    return found | {name: round(statistics.median(taken), 3) for name, taken in times.items()}


def synchronise(options):
    if not options.trying:
        import cupy

        cupy.cuda.Device().synchronize()  # of all streams of the device, PyTorch's and JAX's too


def where(options):
    return "cpu" if options.trying else "cuda"


def sizes(options, T, B, H):
    return (3, 2, 8) if options.trying else (T, B, H)


def ours(cell, T, B, H, options, precision=None):
    """A training step of one layer: forward and backward, gradients of everything."""

    def make():
        layer = tr.RNN(cell, H, H, seed=0, precision=None if options.trying else precision).to(where(options))
        xs = tr.tensor(np.random.default_rng(0).standard_normal((T, B, H)).astype("f"), device=where(options))
        xs.requires_grad = True

        def run():
            for p in layer.parameters():
                p.grad = None
            xs.grad = None
            layer(xs)[0].sum().backward()

        return run

    return make


def torch_run(module, T, B, H, options, dtype="float32"):
    """The same with PyTorch; ``dtype`` "tf32": float32, but products as cuDNN makes them by default."""

    def make():
        import torch

        tf32, kind = dtype == "tf32", "float32" if dtype == "tf32" else dtype
        layer = module(torch, H).to(where(options), getattr(torch, kind))
        if hasattr(layer, "flatten_parameters"):
            layer.flatten_parameters()
        xs = torch.randn(T, B, H, device=where(options), dtype=getattr(torch, kind), requires_grad=True)

        def run():
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
            layer.zero_grad()
            xs.grad = None
            layer(xs)[0].sum().backward()

        return run

    return make


def torch_layer_norm(torch, H):
    return torch_layer_norm_layer(H, H)


def jax_layer_norm(T, B, H):
    """The same by ``jax.lax.scan`` inside ``jax.jit``."""

    def make():
        import jax
        import jax.numpy as jnp

        keys = iter(jax.random.split(jax.random.PRNGKey(0), 9))
        p = {k: 0.05 * jax.random.normal(next(keys), (H, 4 * H)) for k in "WU"}
        p |= {
            "b": jnp.zeros(4 * H),
            "x": jnp.ones(4 * H),
            "h": jnp.ones(4 * H),
            "c": jnp.ones(H),
            "d": jnp.zeros(H),
        }
        xs = jax.random.normal(next(keys), (T, B, H))

        def norm(a, gain):
            return (a - a.mean(-1, keepdims=True)) / jnp.sqrt(a.var(-1, keepdims=True) + 1e-5) * gain

        def loss(p, xs):
            a = norm(xs @ p["W"], p["x"]) + p["b"]

            def step(state, x):
                h, c = state
                i, f, g, o = jnp.split(x + norm(h @ p["U"], p["h"]), 4, 1)
                c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
                h = jax.nn.sigmoid(o) * jnp.tanh(norm(c, p["c"]) + p["d"])
                return (h, c), h

            return jax.lax.scan(step, (jnp.zeros((B, H)), jnp.zeros((B, H))), a)[1].sum()

        step = jax.jit(jax.grad(loss, argnums=(0, 1)))
        return lambda: jax.block_until_ready(step(p, xs))

    return make


# ------------------------------------------------------------------ the parts


def tests(options):
    """``pytest -m gpu``: what it prints last."""
    command = [sys.executable, "-m", "pytest", "tests/gpu", "-m", "gpu", "--co" if options.trying else "-q"]
    if importlib.util.find_spec("xdist") and not options.trying:
        command += ["-n", "8", "-p", "no:benchmark"]  # most of the time is spent on compiling
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout[-6000:], done.stderr[-2000:])
    return {"pytest": done.stdout.strip().splitlines()[-3:], "exit": done.returncode}


def lstm(options):
    """The built-in LSTM against cuDNN's, float32 and bfloat16."""
    rows = {}
    for H in (256, 512, 1024):
        T, B, H = sizes(options, 128, 64, H)
        contenders = {
            "tinyrnn float32": ours("lstm", T, B, H, options),
            "nn.LSTM float32": torch_run(lambda torch, H: torch.nn.LSTM(H, H), T, B, H, options),
            "tinyrnn tf32": ours("lstm", T, B, H, options, "tf32"),
            "nn.LSTM tf32": torch_run(lambda torch, H: torch.nn.LSTM(H, H), T, B, H, options, "tf32"),
            "tinyrnn bfloat16": ours("lstm", T, B, H, options, "bfloat16"),
            "nn.LSTM bfloat16": torch_run(lambda torch, H: torch.nn.LSTM(H, H), T, B, H, options, "bfloat16"),
            "tinyrnn gru": ours("gru", T, B, H, options),
            "nn.GRU": torch_run(lambda torch, H: torch.nn.GRU(H, H), T, B, H, options),
        }
        rows[H] = interleaved(contenders, options)
    return rows


def layer_norm(options):
    """A layer-norm LSTM from plain equations: what falls off the fast path elsewhere."""
    T, B, H = sizes(options, 128, 64, 512)
    contenders = {
        "tinyrnn": ours(LayerNormLSTM, T, B, H, options),
        "tinyrnn lstm": ours("lstm", T, B, H, options),
        "PyTorch": torch_run(torch_layer_norm, T, B, H, options),
        "JAX scan": jax_layer_norm(T, B, H),
    }
    return interleaved(contenders, options)


def torch_compile(options):
    """The same through ``torch.compile``, which takes minutes to compile."""
    T, B, H = sizes(options, 128, 64, 512)

    def compiled(torch, H):
        return torch.compile(torch_layer_norm(torch, H))

    return interleaved({"torch.compile": torch_run(compiled, T, B, H, options)}, options)


def long_sequences(options):
    """B 16, T 1024, H 768 in bfloat16, forward and backward: the setting of FlashRNN's figures."""
    T, B, H = sizes(options, 1024, 16, 768)
    return interleaved({
        "tinyrnn": ours("lstm", T, B, H, options, "bfloat16"),
        "nn.LSTM": torch_run(lambda torch, H: torch.nn.LSTM(H, H), T, B, H, options, "bfloat16"),
    }, options)  # fmt: skip


def forms(options):
    """One launch for all steps against one a phase, and gradients of float32 against float64 on the CPU."""
    found = {}
    T, B, H = sizes(options, 64, 32, 256)
    for cell in ("lstm", "gru", "rnn", LayerNormLSTM):
        name = cell if isinstance(cell, str) else cell.__name__
        os.environ["TINYRNN_CUDA_LOOP"] = "phases"
        phases = interleaved({"phases": ours(cell, T, B, H, options)}, options)
        del os.environ["TINYRNN_CUDA_LOOP"]
        found[name] = phases | interleaved({"persistent": ours(cell, T, B, H, options)}, options)
        found[name]["largest relative error of gradients"] = error_of_gradients(cell, options)
    return found


def error_of_gradients(cell, options):
    results = []
    for device, dtype in ((where(options), "float32"), ("cpu", "float64")):
        layer = tr.RNN(cell, 48, 80, seed=0, dtype=dtype).to(device)
        xs = np.random.default_rng(0).standard_normal((20, 9, 48)).astype(dtype)
        ys, _ = layer(tr.tensor(xs, device=device))
        (ys * ys).sum().backward()
        results.append([ys.numpy(), *[p.grad.numpy() for p in layer.parameters()]])
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(*results, strict=True))


def generation(options):
    """Tokens a second of gru 2 x 512, one sequence."""
    from tinyrnn.tasks.lm.task import LanguageModel
    from tinyrnn.tasks.text.vocabulary import Characters

    symbols = Characters([chr(0x4E00 + i) for i in range(65)])
    model = LanguageModel(
        symbols, cell="gru", hidden=8 if options.trying else 512, layers=2, embed=128, seed=0
    )
    model.to(where(options))
    model.generate(length=100, seed=0)
    rates = []
    for seed in range(5):
        began = time.perf_counter()
        model.generate(length=2000, seed=seed)
        rates.append(2000 / (time.perf_counter() - began))
    return {"tokens/s": round(statistics.median(rates))}


def text(options):
    """The default recipe to 1.50 nats a character."""
    if options.text is None:
        return {"left out": "no --text"}
    began = time.perf_counter()
    steps = {"steps": 2} if options.trying else {"minutes": 0.5}
    run = tr.train(str(options.text), device=where(options), out=str(options.out / "gpu-run"), **steps)
    log = [(e["seconds"], e["val_loss"]) for e in run.log if e.get("val_loss") is not None]
    reached = next((s for s, loss in log if loss <= 1.5), None)
    return {
        "seconds to 1.50": reached,
        "last": log[-1],
        "seconds in all": round(time.perf_counter() - began, 1),
    }


PARTS = {  # in this order: function, limit in seconds
    "tests": (tests, 150),
    "forms": (forms, 60),
    "lstm": (lstm, 90),
    "layer_norm": (layer_norm, 60),
    "long_sequences": (long_sequences, 40),
    "generation": (generation, 30),
    "text": (text, 120),
    "torch_compile": (torch_compile, 120),
}

if __name__ == "__main__":
    main()
