"""Every cell's loops in CUDA C++, in every form, against the eager tape, in ten orders of their threads."""

import importlib
import re
import shutil
import subprocess
import warnings

import numpy as np
import on_cpu
import pytest

import tinyrnn as tr
from tinyrnn.autograd.tape import TABLE, apply
from tinyrnn.compiler import CompileWarning
from tinyrnn.compiler.products import recorded_step
from tinyrnn.compiler.targets import cuda
from tinyrnn.nn.registry import get_cell, registered

scan = importlib.import_module("tinyrnn.compiler.scan")
T, B, F, H = 4, 5, 7, 10  # nothing divides evenly
ORDERS = 10


class Everything(tr.Cell):
    """Two widths, products in sequence and side by side, row reductions, slices that are no gates."""

    states = ("h", "c")

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size)
        self.V, self.R = self.weight(hidden_size, 6), self.weight(6, hidden_size)
        self.state_sizes = {"h": hidden_size, "c": 6}

    def step(self, x, h, c):
        z = x @ self.W + tr.clip(h, -0.5, 0.5) @ self.U + self.b
        y = tr.softmax(z) - tr.min(z, axis=-1, keepdims=True) + tr.tanh(c @ self.R)
        c = tr.tanh(y @ self.V) * tr.sigmoid(c) + tr.max(h, axis=-1, keepdims=True) * 0.1
        y = tr.concat([y[:, 1:], tr.sum(y, axis=-1, keepdims=True)], axis=1)
        return tr.where(y > 0.3, tr.sin(y), tr.expm1(y)), c * (c > 0).astype(c.dtype)


class LayerNorm(tr.Cell):
    """Ba, Kiros & Hinton 2016."""

    states = ("h",)

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size)
        self.gain = self.bias(hidden_size, init=1.0)

    def step(self, x, h):
        return tr.tanh(tr.layer_norm(x @ self.W + h @ self.U + self.b, self.hidden_size, self.gain))


CELLS = {name: (get_cell(name), {}) for name in registered()}
CELLS |= {"everything": (Everything, {}), "layer norm": (LayerNorm, {})}
CELLS |= {"peephole": (get_cell("lstm"), dict(peephole=True))}
CELLS |= {"reset after": (get_cell("gru"), dict(reset_after=True))}
CALLS = {"plain": dict(), "masked": dict(mask=np.tri(T, B), resets=np.eye(T, B))}


def results(cell, options, how, compile, dtype="float64", size=(T, B, F, H), **settings):
    """Outputs, final states and all gradients of a layer; with eager loops, or compiled ones."""
    draw, (T, B, F, H) = np.random.default_rng(0), size
    layer = tr.RNN(cell, F, H, dtype=dtype, seed=0, compile=compile, cell_options=options, **settings)
    xs = tr.tensor(draw.standard_normal((T, B, F)).astype(dtype), requires_grad=True)
    ys, final = layer(xs, **how)
    weights = tr.tensor(draw.standard_normal(ys.shape).astype(dtype))
    ((ys * weights).sum() + sum((s * s).sum() for s in final[0])).backward()
    found = [ys, *final[0], xs.grad, *[p.grad for p in layer.parameters() if p.grad is not None]]
    return [t.numpy() for t in found]


def in_orders(cell, options, how, orders=ORDERS, **settings):
    """`results` by loops, in so many orders of their threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", CompileWarning)
        for seed in range(orders):
            on_cpu.Kernel.seed = seed
            yield results(cell, options, how, True, **settings)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("cell", CELLS)
def test_loops_of_every_cell_agree_with_the_eager_tape_in_every_form(cell, call, device, monkeypatch):
    """Matrices in shared memory, matrices that do not fit there, one launch a phase."""
    right = results(*CELLS[cell], CALLS[call], False)
    launches = on_cpu.Kernel.calls
    for form in ("resident", "persistent", "phases"):
        device.shared = 60_000 if form == "persistent" else 227 * 1024
        device.at_once = 0 if form == "phases" else 1
        orders = list(in_orders(*CELLS[cell], CALLS[call], ORDERS if form == "resident" else 3))
        for found in orders:
            for a, b in zip(found, right, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11, err_msg=form)
            for a, b in zip(found, orders[0], strict=True):
                np.testing.assert_array_equal(a, b)
        assert on_cpu.Kernel.calls >= launches + 2 * len(orders)
        launches = on_cpu.Kernel.calls


@pytest.mark.parametrize("settings", [dict(size=(3, 70, 5, 40)), dict(bidirectional=True, num_layers=2)])
def test_more_rows_than_a_block_takes_at_once_and_both_directions(settings, device):
    right = results(get_cell("lstm"), {}, {}, False, **settings)
    for found in in_orders(get_cell("lstm"), {}, {}, 2, **settings):
        for a, b in zip(found, right, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def rounded(a, precision):
    """float32 numbers as tensor cores read them: bfloat16 to nearest, ties to even; TF32 ties away from 0."""
    bits = 16 if precision == "bfloat16" else 13
    whole = np.ascontiguousarray(a, np.float32).view(np.uint32).astype(np.int64)
    tie = (whole >> bits) & 1 if precision == "bfloat16" else 1
    return ((whole + (1 << (bits - 1)) - 1 + tie) >> bits << bits).astype(np.uint32).view(np.float32)


@pytest.mark.parametrize("precision", ["bfloat16", "tf32"])
@pytest.mark.parametrize("shared", [227 * 1024, 30_000])
def test_tensor_cores_multiply_rounded_numbers_and_add_them_up_in_float32(precision, shared, device):
    """Inline PTX on a GPU, here a function of the same fragments; the matrix in shared memory or not."""
    draw = np.random.default_rng(0)
    h, U = draw.standard_normal((70, 40)).astype("f"), draw.standard_normal((40, 40)).astype("f")
    device.precision, device.shared = precision, shared
    launches, matrix = on_cpu.Kernel.calls, tr.tensor(U)
    for seed in range(3):
        on_cpu.Kernel.seed = seed
        _, found = tr.scan(
            lambda x, h: x + h @ matrix, np.zeros((1, 70, 40), "f"), tr.tensor(h), compile=True
        )
        right = rounded(h, precision).astype(float) @ rounded(U, precision)
        np.testing.assert_allclose(found.numpy(), right, rtol=1e-5, atol=1e-5)
    assert on_cpu.Kernel.calls > launches


@pytest.mark.parametrize("precision", ["bfloat16", "tf32"])
def test_gradients_in_low_precision_are_near_those_of_float32(precision, device):
    settings = dict(dtype="float32", size=(6, B, F, 24))
    right = results(get_cell("lstm"), {}, {}, False, **settings)
    device.precision = precision
    for found in in_orders(get_cell("lstm"), {}, {}, 2, **settings):
        for a, b in zip(found, right, strict=True):
            assert np.abs(a - b).max() < (3e-2 if precision == "bfloat16" else 4e-3) * np.abs(b).max()
        assert any((a != b).any() for a, b in zip(found, right, strict=True))


def test_rows_of_a_table_are_looked_up(device):
    table = tr.tensor(np.random.default_rng(0).standard_normal((6, F)), requires_grad=True)
    ids = np.random.default_rng(1).integers(0, 6, (T, B))
    found = []
    for compile in (True, False):
        table.grad = None
        layer = tr.RNN("gru", F, H, dtype="float64", seed=0, compile=compile)
        ys, _ = layer(tr.embedding(ids, table))
        (ys * ys).sum().backward()
        found.append([ys.numpy(), table.grad.numpy(), *[p.grad.numpy() for p in layer.parameters()]])
    assert on_cpu.Kernel.calls
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.filterwarnings("ignore:.*compiled for the third time")
def test_every_pointwise_op_is_cuda_as_it_is_python(device):
    """A new op with a scalar rule needs nothing in this target."""
    ops = [op for op in TABLE.values() if op.rule]
    for first in range(0, len(ops), 24):  # a few at a time: one translation unit each

        def step(x, h, some=tuple(ops[first : first + 24])):
            y = 0.1 * x + 0.3 * h
            for op in some:
                operands = [y, 0.5 * y + 0.7, y * y + 0.9][: len(op.inputs)]
                positive = op.name in ("log", "sqrt", "power", "log1p", "divide", "reciprocal")
                operands = [abs(v) + 0.5 for v in operands] if positive else operands
                y = y + 0.1 * apply(op, *operands).astype(np.float64)
            return y

        xs, h = np.random.default_rng(first).standard_normal((3, 5, 6)), np.zeros((5, 6))
        launches, found = on_cpu.Kernel.calls, []
        for compile in (True, False):
            x = tr.tensor(xs, requires_grad=True)
            ys, _ = tr.scan(step, x, tr.tensor(h), compile=compile)
            ys.sum().backward()
            found.append([ys.numpy(), x.grad.numpy()])
        assert on_cpu.Kernel.calls > launches
        for a, b in zip(*found, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


# ------------------------------------------------------------------ faults put in on purpose


FAULTS = {
    "no barrier of the grid": ("if (phase < 0) GRID_SYNC(arrived, goal);", ""),
    "no barrier of the warp before a tile is read": (
        "        __syncwarp();\n        int deep",
        "        int deep",
    ),
    "no barrier of the block before parts are added up": ("sums[r][c];\n    __syncthreads();", "sums[r][c];"),
    "no barrier before the next turn": ("__syncthreads();\n                for (I j", "for (I j"),
    "no barrier before a sum over a row": (" = value;\n    __syncthreads();", " = value;"),
    "columns laid out wrongly": ("c / UNITS * span + unit", "c % GROUPS * span + unit"),
    "fragments laid out wrongly": ("(16 * m + group + h % 2 * 8)", "(16 * m + group + h / 2 * 8)"),
    "rows of another tile": ("e / UNITS * TILE + e % UNITS", "e % UNITS * TILE + e / UNITS"),
    "a state that is not exchanged": ("grad0 = grad_next0;", ""),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_put_in_is_found(fault, device, monkeypatch):
    """In a cell that has row reductions, or, where units stay in their blocks, in an LSTM."""
    monkeypatch.setenv("TINYRNN_REFEREE", "0")
    cell = "lstm" if "laid out" in fault else "everything"
    device.precision = "tf32" if "fragments" in fault else None
    size = (3, B, F, 20)  # so that more than one warp has a part of the inner sums
    right, device.fault = results(*CELLS[cell], {}, False, size=size), FAULTS[fault]
    wrong = 0
    try:
        for found in in_orders(*CELLS[cell], {}, size=size):
            wrong += not all(map(np.allclose, found, right))
            if wrong:
                break
    except on_cpu.NeverOpens:
        wrong = 1
    assert wrong


# ------------------------------------------------------------------ the compiler of NVIDIA


def sources():
    """(cell, dtype, precision): the built-in cells always, all others in the long run."""
    for cell in CELLS:
        for dtype, precision in (
            ("float32", None),
            ("float32", "bfloat16"),
            ("float32", "tf32"),
            ("float64", None),
        ):
            quick = cell in registered() and dtype == "float32" and (precision is None or cell == "lstm")
            yield pytest.param(cell, dtype, precision, marks=() if quick else pytest.mark.slow)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
@pytest.mark.parametrize(("cell", "dtype", "precision"), list(sources()))
def test_every_source_compiles_for_gpus_without_spills(cell, dtype, precision, device, tmp_path, monkeypatch):
    monkeypatch.setattr(cuda, "THREADS", 256)
    device.precision, device.processors = precision, 132
    path = tmp_path / "loops.cu"
    path.write_text(source_of(*CELLS[cell], dtype))
    gpus = [f"-gencode=arch=compute_{n},code=sm_{n}" for n in (80, 90)]
    command = ["nvcc", "-std=c++17", *gpus, "-fatbin", "-Xptxas", "-v", str(path), "-o", str(path) + "bin"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    kernels = re.findall(r"properties for (?:forward|backward)\n.*?(\d+) bytes spill stores", done.stderr)
    assert len(kernels) == 4, done.stderr
    if cell in registered():
        assert set(kernels) == {"0"}, done.stderr


def source_of(cell, options, dtype):
    layer = tr.RNN(cell, F, 64, dtype=dtype, seed=0, cell_options=options)
    x, states = np.ones((3, F), dtype), [s.data for s in layer.initial_state(3)[0]]
    recording = recorded_step(layer.cells[0].step, x, states)
    return scan.plan_of(recording, (0,), frozenset()).loops.source
