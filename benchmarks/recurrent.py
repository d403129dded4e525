"""Recurrent training steps, generation and start-up beside PyTorch and JAX: the table of docs/performance.md.

    python benchmarks/recurrent.py [--hidden 128,256,512,1024] [--rounds 5] [--quick] [--only NAME]

Workload: characters, vocabulary 65, embedding 128, one layer, batch 64, 50 steps; a whole training step
(forward, cross-entropy, backward, global-norm clip, Adam), in float32, and with products in bfloat16 (of
PyTorch: all in bfloat16, and under torch.autocast). Then the forward pass alone, generation, start-up, and
the limits of the machine that `roofline.py` draws them in. Each contender has a process of its own; they take
turns.
"""

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace

import generation
import numpy as np
import timing

import tinyrnn as tr
from tinyrnn.base.errors import InputError
from tinyrnn.kernels.gemm import matmul
from tinyrnn.tools.bench import (
    WHAT,
    Workload,
    gemm_peak,
    ours,
    peak_flops,
    seconds,
    torch_layers,
    torch_steps,
)


class PlainLSTM(tr.Cell):
    """The equations of an LSTM, one gate at a time, as a plugin's author may write them."""

    states = ("h", "c")

    def build(self, input_size, hidden_size):
        self.gates = [self.affine(input_size, hidden_size) for _ in range(4)]

    def step(self, x, h, c):
        i, f, g, o = [x @ W + h @ U + b for W, U, b in self.gates]
        c = tr.sigmoid(f) * c + tr.sigmoid(i) * tr.tanh(g)
        return tr.sigmoid(o) * tr.tanh(c), c


class LayerNormLSTM(tr.Cell):
    """Ba, Kiros & Hinton 2016, eq. 20 to 22: the input's and the state's products, and the cell, are
    normalised.
    """

    states = ("h", "c")

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size, gates=4)
        self.gain_x, self.gain_h = (self.bias(hidden_size, gates=4, init=1.0) for _ in range(2))
        self.gain_c, self.bias_c = self.bias(hidden_size, init=1.0), self.bias(hidden_size)

    def step(self, x, h, c):
        n = 4 * self.hidden_size
        a = tr.layer_norm(x @ self.W, n, self.gain_x) + tr.layer_norm(h @ self.U, n, self.gain_h) + self.b
        i, f, g, o = tr.split(a, 4)
        c = tr.sigmoid(f) * c + tr.sigmoid(i) * tr.tanh(g)
        return tr.sigmoid(o) * tr.tanh(tr.layer_norm(c, self.hidden_size, self.gain_c, self.bias_c)), c


class LightGRU(tr.Cell):
    """A GRU variant: two products in sequence, an update gate that looks at the reset state."""

    states = ("h",)

    def build(self, input_size, hidden_size):
        self.r, self.z, self.n = (self.affine(input_size, hidden_size) for _ in range(3))

    def step(self, x, h):
        (W_r, U_r, b_r), (W_z, U_z, b_z), (W_n, U_n, b_n) = self.r, self.z, self.n
        s = tr.sigmoid(x @ W_r + h @ U_r + b_r) * h
        z = tr.sigmoid(x @ W_z + s @ U_z + b_z)
        return (1 - z) * h + z * tr.tanh(x @ W_n + s @ U_n + b_n)


def torch_layer_norm_layer(size, H):
    """The layer-norm LSTM in PyTorch, a Python loop over time, for inputs of a size."""
    import torch

    class Layer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.W, self.U = torch.nn.Linear(size, 4 * H), torch.nn.Linear(H, 4 * H, bias=False)
            self.norm_x, self.norm_h, self.norm_c = (torch.nn.LayerNorm(n) for n in (4 * H, 4 * H, H))

        def forward(self, xs):
            h = c = xs.new_zeros(xs.shape[1], H)
            a, ys = self.norm_x(self.W(xs)), []
            for x in a.unbind(0):
                i, f, g, o = (x + self.norm_h(self.U(h))).chunk(4, 1)
                c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                h = o.sigmoid() * self.norm_c(c).tanh()
                ys.append(h)
            return torch.stack(ys), (h, c)

    return Layer()


def torch_layer_norm(work, what, compiled):
    """A model with that layer, or with it through torch.compile."""
    import torch

    layer = torch_layer_norm_layer(work.embed, work.hidden)
    layer = torch.compile(layer) if compiled else layer
    output = torch.nn.Linear(work.hidden, work.vocabulary)
    modules = [torch.nn.Embedding(work.vocabulary, work.embed), layer, output]
    return torch_steps(torch.nn.ModuleList(modules), work, what)


def jax_scan(work, what, layer_norm):
    """An LSTM, or a layer-norm LSTM, by jax.lax.scan inside jax.jit; Adam and clipping inside as well."""
    import jax
    import jax.numpy as jnp

    H, keys = work.hidden, iter(jax.random.split(jax.random.PRNGKey(0), 9))

    def matrix(*shape):
        return 0.05 * jax.random.normal(next(keys), shape)

    p = dict(
        E=matrix(work.vocabulary, work.embed),
        W=matrix(work.embed, 4 * H),
        U=matrix(H, 4 * H),
        b=jnp.zeros(4 * H),
    )
    p |= dict(V=matrix(H, work.vocabulary), d=jnp.zeros(work.vocabulary))
    if layer_norm:
        p |= dict(gx=jnp.ones(4 * H), gh=jnp.ones(4 * H), gc=jnp.ones(H), bc=jnp.zeros(H))

    def norm(x, gain):
        return (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-5) * gain

    def loss(p, ids, targets):
        a = p["E"][ids] @ p["W"]
        a = (norm(a, p["gx"]) if layer_norm else a) + p["b"]

        def step(state, x):
            h, c = state
            u = h @ p["U"]
            i, f, g, o = jnp.split(x + (norm(u, p["gh"]) if layer_norm else u), 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(norm(c, p["gc"]) + p["bc"] if layer_norm else c)
            return (h, c), h

        zeros = jnp.zeros((work.batch, H))
        logits = jax.nn.log_softmax(jax.lax.scan(step, (zeros, zeros), a)[1] @ p["V"] + p["d"])
        return -jnp.take_along_axis(logits, targets[..., None], -1).mean()

    def train(p, m, v, t, ids, targets):
        value, g = jax.value_and_grad(loss)(p, ids, targets)
        leaves = jax.tree.leaves(g)
        scale = jnp.minimum(1, 5 / jnp.sqrt(sum((x * x).sum() for x in leaves)))
        g = jax.tree.map(lambda x: x * scale, g)
        m = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, m, g)
        v = jax.tree.map(lambda a, b: 0.999 * a + 0.001 * b * b, v, g)
        p = jax.tree.map(
            lambda w, a, b: w - 1e-3 * a / (1 - 0.9**t) / (jnp.sqrt(b / (1 - 0.999**t)) + 1e-8), p, m, v
        )
        return value, p, m, v

    ids, targets = work.ids()
    moments = [jax.tree.map(jnp.zeros_like, p) for _ in range(2)]
    state, compiled = [p, *moments, 1.0], jax.jit(train, donate_argnums=(0, 1, 2))

    def run():
        value, *state[:3] = compiled(*state, ids, targets)
        state[3] += 1
        return float(value)

    return run


SCRIPT = """import sys, time; began = time.perf_counter()
import numpy as np, tinyrnn as tr
rnn = tr.RNN({cell!r}, 128, 256, seed=0)
rnn(tr.ones((50, 64, 128), dtype="float32"))[0].sum().backward()
print(time.perf_counter() - began)"""


def start_up(cell, cache):
    """Seconds of a process from its start to the end of its first training step."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(cell=cell)],
        env={**os.environ, "TINYRNN_CACHE": cache},
        capture_output=True,
        check=True,
    )
    return float(done.stdout)


def bandwidth(size):
    """A function that negates so many bytes of float32, 2**26 in all; memcpy is slow on some processors."""
    a = np.ones(size // 4, np.float32)
    b, times = np.zeros_like(a), max(1, 2**26 // size)

    def run():
        for _ in range(times):
            np.negative(a, out=b)

    return run


LARGE, SMALL = 2**27, 2**18  # bytes that lie in memory, and that stay in a core's own cache


def low_peak(n=1024):
    """A function that multiplies two matrices ``[n, n]`` in bfloat16, packed anew as for weight gradients."""
    a, b = np.random.default_rng(0).standard_normal((2, n, n)).astype(np.float32)
    out = np.empty_like(a)
    return lambda: [matmul(a, b, out, precision="bfloat16") for _ in range(2)]


def main():
    parser = timing.parser(__doc__)
    parser.add_argument("--hidden", default="128,256,512,1024")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="leave out torch.compile (minutes) and JAX")
    parser.add_argument("--only", help="contenders whose names hold this")
    options = parser.parse_args()
    rows, forward, peaks = [], [], []
    for hidden in map(int, options.hidden.split(",")):
        rows += training(hidden, options, peaks)
        forward += forward_alone(hidden, options)
    print(timing.table(["hidden", "contender", "ms", "of GEMM peak", "against"], rows), "\n")
    print(timing.table(["hidden", "contender", "ms", "against"], forward), "\n")
    spoken = [
        generation.measured(cell, hidden, samples, generation.TOKENS, options.rounds)
        for cell, hidden in itertools.product(("gru", "lstm"), (128, 512))
        for samples in (1, 16)[: 1 + (hidden == 512)]
        if not options.only
    ]
    print(timing.table(list(spoken[0]) if spoken else [], spoken), "\n")
    with tempfile.TemporaryDirectory() as cache:
        starts = [
            {
                "cell": "lstm",
                "cold s": round(start_up("lstm", cache), 1),
                "from cache s": round(start_up("lstm", cache), 2),
            }
        ]
    print(timing.table(["cell", "cold s", "from cache s"], starts))
    limits = seconds([(low_peak, ()), (bandwidth, (LARGE,)), (bandwidth, (SMALL,))], options.rounds)
    machine = {"GFLOP/s": round(statistics.median(peaks) / 1e9)}
    machine["GFLOP/s of bfloat16"] = round(peak_flops() / limits[0] / 1e9)
    machine["GB/s of memory"] = round(2 * LARGE / limits[1] / 1e9, 1)
    machine["GB/s of a core's cache"] = round(2 * 2**26 / limits[2] / 1e9, 1)
    print(timing.table(list(machine), [machine]))
    command = (
        f"python benchmarks/recurrent.py --hidden {options.hidden} --rounds {options.rounds}"
        + " --quick" * options.quick
    )
    found = {"limits": machine, "training": rows, "forward": forward, "generation": spoken, "start": starts}
    if not options.only:
        timing.save("recurrent", command, found)


OWN = {
    "lstm": "lstm",
    "gru": "gru",
    "rnn": "rnn",
    "LSTM in plain equations": PlainLSTM,
    "layer-norm LSTM": LayerNormLSTM,
    "GRU variant": LightGRU,
}
LOW = "bfloat16"


def contenders(hidden, options):
    """(name, job) of all of a training step; those of PyTorch in bfloat16 cannot run on every processor."""
    work = Workload(hidden=hidden)
    for name, cell in OWN.items():
        yield name, (ours, (replace(work, cell=cell), "train"))
        yield f"{name} {LOW}", (ours, (replace(work, cell=cell, dtype=LOW), "train"))
    for cell in ("lstm", "gru", "rnn"):
        for dtype in ("float32", LOW, "autocast"):
            name = f"PyTorch nn.{cell.upper()}" + f" {dtype}" * (dtype != "float32")
            yield name, (torch_layers, (replace(work, cell=cell, dtype=dtype), "train"))
    yield "PyTorch layer-norm LSTM", (torch_layer_norm, (work, "train", False))
    if not options.quick:
        yield "JAX scan LSTM", (jax_scan, (work, "train", False))
        yield "JAX scan layer-norm LSTM", (jax_scan, (work, "train", True))
        if hidden == 256:
            yield "PyTorch layer-norm LSTM, torch.compile", (torch_layer_norm, (work, "train", True))


def measured(jobs, options):
    """Seconds by name, None where a contender of PyTorch in bfloat16 cannot run."""
    jobs, only = dict(jobs), (options.only or "").lower()
    wanted = {name: job for name, job in jobs.items() if only in name.lower() or name == "peak"}
    if not wanted.keys() - {"peak"}:
        raise InputError(f"--only {options.only} names none of {', '.join(jobs)}: give a part of a name")
    may_fail = [i for i, n in enumerate(wanted) if n.startswith("PyTorch") and n.endswith((LOW, "autocast"))]
    return dict(zip(wanted, seconds(list(wanted.values()), options.rounds, may_fail), strict=True))


def rivals(name, found):
    """What a contender of ours is compared with: its peers in float32 and in its own precision."""
    plain = name.removesuffix(f" {LOW}")
    kin = {"LSTM in plain equations": ["lstm"], "GRU variant": ["gru"], "layer-norm LSTM": ["lstm"]}
    own = [f"{n} {LOW}" if name != plain else n for n in kin.get(plain, [])]
    if plain in ("lstm", "gru", "rnn"):
        own += [n for n in found if n.startswith(f"PyTorch nn.{plain.upper()}")]
    if plain == "lstm":
        own += ["JAX scan LSTM"]
    if plain == "layer-norm LSTM":
        own += [n for n in found if "layer-norm" in n and n.startswith(("PyTorch", "JAX"))]
    return [n for n in own if found.get(n)]


def training(hidden, options, peaks):
    """Rows of one hidden size; the GEMM peak, flops a second, is added to ``peaks``."""
    began = time.perf_counter()
    found = measured([("peak", (gemm_peak, ())), *contenders(hidden, options)], options)
    print(f"# hidden {hidden}: {time.perf_counter() - began:.0f} s", flush=True)
    peaks.append(peak_flops() / found.pop("peak"))
    rows = []
    for name, s in found.items():
        ratios = [f"{found[r] / s:.2f} x {r}" for r in rivals(name, found)] if s else []
        row = {"hidden": hidden, "contender": name, "ms": round(1e3 * s, 1) if s else "cannot run"}
        row |= {"of GEMM peak": "", "against": ", ".join(ratios)}
        cell = OWN.get(name.removesuffix(f" {LOW}"))
        if cell:
            row["of GEMM peak"] = f"{Workload(cell, hidden=hidden).flops('train') / s / peaks[-1]:.0%}"
        rows.append(row)
    return rows


def forward_alone(hidden, options):
    """Rows: the forward pass without gradients."""
    jobs = [
        (
            f"{cell} {LOW}" if dtype == LOW else cell,
            (ours, (Workload(cell, hidden=hidden, dtype=dtype), WHAT[0])),
        )
        for cell in ("lstm", "gru", "rnn")
        for dtype in ("float32", LOW)
    ]
    jobs += [
        (f"PyTorch nn.{cell.upper()}", (torch_layers, (Workload(cell, hidden=hidden), WHAT[0])))
        for cell in ("lstm", "gru", "rnn")
    ]
    found, rows = measured(jobs, options), []
    for name, s in found.items():
        ratios = [f"{found[r] / s:.2f} x {r}" for r in rivals(name, found)]
        rows.append(
            {"hidden": hidden, "contender": name, "ms": round(1e3 * s, 2), "against": ", ".join(ratios)}
        )
    return rows


if __name__ == "__main__":
    timing.run(main)
