"""Loops of CUDA C++: every cell, in every form, against the eager tape. On the stand-in threads run in ten
orders that are drawn; on a GPU in its own.
"""

import importlib
import re
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
from click.testing import CliRunner

import tinyrnn as tr
from tinyrnn.autograd.tape import TABLE, apply
from tinyrnn.base import devices
from tinyrnn.base.errors import InputError
from tinyrnn.cli import main
from tinyrnn.compiler import CompileWarning
from tinyrnn.compiler.products import recorded_step
from tinyrnn.compiler.record import Kept
from tinyrnn.compiler.targets import cuda
from tinyrnn.nn.registry import get_cell, registered
from tinyrnn.tools import check

scan = importlib.import_module("tinyrnn.compiler.scan")  # the package's name for it is the function
T, B, F, H = 4, 5, 7, 10  # nothing divides evenly
ORDERS = 10


def forget():
    """Every program is planned anew."""
    scan._plans.clear()
    scan._programs.clear()


@pytest.fixture
def fresh(monkeypatch):
    """No program was planned, compiled or checked before."""
    for kept in ("_plans", "_programs"):
        monkeypatch.setattr(scan, kept, Kept(64))
    cuda._kernel.cache_clear()
    yield
    cuda._kernel.cache_clear()


@pytest.fixture
def facts(standin, fresh, monkeypatch):
    """What the stand-in says of its device, for tests to set."""
    facts = dict(standin.cuda.runtime.facts)
    monkeypatch.setattr(standin.cuda.runtime, "facts", facts)
    monkeypatch.setattr(standin.Grid, "seed", 0)
    monkeypatch.setattr(standin.Grid, "faults", ())
    return facts


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
        return tr.where(y > 0.3, tr.sin(y), tr.expm1(tr.minimum(y, 0.3))), c * (c > 0).astype(c.dtype)


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


def results(cell, options, how, device, dtype="float64", size=(T, B, F, H), **settings):
    """Outputs, final states and all gradients of a layer: eager on the CPU, or compiled on a GPU."""
    draw, (T, B, F, H) = np.random.default_rng(0), size
    layer = tr.RNN(cell, F, H, dtype=dtype, seed=0, compile=device != "cpu", cell_options=options, **settings)
    layer.to(device)
    xs = tr.tensor(draw.standard_normal((T, B, F)).astype(dtype), requires_grad=True, device=device)
    ys, final = layer(xs, **how)
    weights = tr.tensor(draw.standard_normal(ys.shape).astype(dtype), device=device)
    ((ys * weights).sum() + sum((s * s).sum() for s in final[0])).backward()
    found = [ys, *final[0], xs.grad, *[p.grad for p in layer.parameters() if p.grad is not None]]
    return [t.numpy() for t in found]


def in_orders(cell, options, how, orders=ORDERS, **settings):
    """`results` on the GPU; on the stand-in in so many orders of the threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", CompileWarning)
        for seed in range(orders):
            grid = getattr(sys.modules["cupy"], "Grid", None)
            if grid is not None:
                grid.seed = seed
            yield results(cell, options, how, "cuda", **settings)


def agree(found, right, rtol=1e-9, atol=1e-11):
    for a, b in zip(found, right, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


@pytest.mark.filterwarnings("ignore:.*compiled for the third time")
@pytest.mark.sample(3)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("cell", CELLS)
def test_loops_of_every_cell_agree_with_the_eager_tape_in_every_form(cell, call, standin, facts):
    """Matrices in shared memory, matrices that do not fit there, one launch a phase."""
    right, grid = results(*CELLS[cell], CALLS[call], "cpu"), standin.Grid
    for form in ("resident", "persistent", "phases"):
        facts["shared"] = 60_000 if form == "persistent" else 227 * 1024
        facts["blocks at once"] = 0 if form == "phases" else 1
        forget()
        before = grid.launches
        orders = list(in_orders(*CELLS[cell], CALLS[call], ORDERS if form == "resident" else 3))
        for found in orders:
            agree(found, right)
            for a, b in zip(found, orders[0], strict=True):
                np.testing.assert_array_equal(a, b)
        steps = T if form == "phases" else 1
        assert grid.launches - before >= 2 * len(orders) * steps


@pytest.mark.gpu
@pytest.mark.parametrize("form", ["persistent", "phases"])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("cell", CELLS)
def test_loops_on_a_gpu(cell, call, form, fresh, monkeypatch):
    try:
        devices.require_cupy("cuda")
    except devices.InputError as error:
        pytest.skip(str(error))
    if form == "phases":
        monkeypatch.setenv("TINYRNN_CUDA_LOOP", "phases")
    first, again = in_orders(*CELLS[cell], CALLS[call], 2)
    agree(first, results(*CELLS[cell], CALLS[call], "cpu"))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    # In float32 at another size; of `Everything`, which jumps, rounding errors grow tenfold a step, as
    # they do on the eager tape.
    size, tolerance = ((2, 40, 48, 80), 1e-3) if cell == "everything" else ((20, 40, 48, 80), 1e-4)
    right = results(*CELLS[cell], {}, "cpu", size=size)
    (found,) = in_orders(*CELLS[cell], {}, 1, dtype="float32", size=size)
    for a, b in zip(found, right, strict=True):
        assert np.abs(a - b).max() <= tolerance * np.abs(b).max()


@pytest.mark.parametrize("settings", [dict(size=(3, 70, 5, 40)), dict(bidirectional=True, num_layers=2)])
def test_more_rows_than_a_block_takes_at_once_and_both_directions(settings, facts):
    right = results(get_cell("lstm"), {}, {}, "cpu", **settings)
    for found in in_orders(get_cell("lstm"), {}, {}, 2, **settings):
        agree(found, right)


def rounded(a, precision):
    """float32 numbers as tensor cores read them: bfloat16 to nearest, ties to even; TF32 ties away from 0."""
    bits = 16 if precision == "bfloat16" else 13
    whole = np.ascontiguousarray(a, np.float32).view(np.uint32).astype(np.int64)
    tie = (whole >> bits) & 1 if precision == "bfloat16" else 1
    return ((whole + (1 << (bits - 1)) - 1 + tie) >> bits << bits).astype(np.uint32).view(np.float32)


@pytest.mark.filterwarnings("ignore:.*compiled for the third time")
@pytest.mark.parametrize("precision", ["bfloat16", "tf32"])
@pytest.mark.parametrize("shared", [227 * 1024, 30_000])
def test_tensor_cores_multiply_rounded_numbers_and_add_them_up_in_float32(precision, shared, standin, facts):
    """Inline PTX on a GPU, here a function of the same fragments; the matrix in shared memory or not."""
    draw = np.random.default_rng(0)
    h, U = draw.standard_normal((70, 40)).astype("f"), draw.standard_normal((40, 40)).astype("f")
    xs, matrix = tr.zeros((1, 70, 40), dtype="float32", device="cuda"), tr.tensor(U, device="cuda")
    facts["shared"], before = shared, standin.Grid.launches
    for seed in range(3):
        standin.Grid.seed = seed
        start = tr.tensor(h, device="cuda")
        _, found = tr.scan(lambda x, h: x + h @ matrix, xs, start, compile=True, precision=precision)
        right = rounded(h, precision).astype(float) @ rounded(U, precision)
        np.testing.assert_allclose(found.numpy(), right, rtol=1e-5, atol=1e-5)
    assert standin.Grid.launches > before


@pytest.mark.parametrize("precision", ["bfloat16", "tf32"])
def test_gradients_in_low_precision_are_near_those_of_float32(precision, cupy, fresh):
    settings = dict(dtype="float32", size=(6, B, F, 24))
    right = results(get_cell("lstm"), {}, {}, "cpu", **settings)
    for found in in_orders(get_cell("lstm"), {}, {}, 2, precision=precision, **settings):
        for a, b in zip(found, right, strict=True):
            assert np.abs(a - b).max() < (3e-2 if precision == "bfloat16" else 4e-3) * np.abs(b).max()
        assert any((a != b).any() for a, b in zip(found, right, strict=True))


def test_a_precision_that_arrays_cannot_have_is_refused(standin):
    xs = tr.zeros((3, 2, 4), dtype="float32", device="cuda")
    for given, precision in ((xs.astype("float64"), "tf32"), (xs, "half"), (xs, 16)):
        with pytest.raises(InputError, match=r"use bfloat16 or tf32 for float32 arrays, or leave it out"):
            tr.scan(lambda x, h: x + h, given, given[0], precision=precision)


def test_rows_of_a_table_are_looked_up(standin, facts):
    ids, found = np.random.default_rng(1).integers(0, 6, (T, B)), []
    for device in ("cuda", "cpu"):
        before = standin.Grid.launches
        rows = np.random.default_rng(0).standard_normal((6, F))
        table = tr.tensor(rows, requires_grad=True, device=device)
        layer = tr.RNN("gru", F, H, dtype="float64", seed=0, compile=device == "cuda").to(device)
        ys, _ = layer(tr.embedding(ids, table))
        (ys * ys).sum().backward()
        found.append([ys.numpy(), table.grad.numpy(), *[p.grad.numpy() for p in layer.parameters()]])
        assert (standin.Grid.launches > before) == (device == "cuda")
    agree(*found)


@pytest.mark.filterwarnings("ignore:.*compiled for the third time")
def test_every_pointwise_op_is_cuda_as_it_is_python(standin, facts):
    """A new op with a scalar rule needs nothing in this target."""
    ops = [op for op in TABLE.values() if op.rule]
    for first in range(0, len(ops), 24):  # a few at a time: one translation unit each

        def step(x, h, some=tuple(ops[first : first + 24])):
            y = 0.1 * x + 0.3 * h
            for op in some:
                operands = [y, 0.5 * y + 0.7, y * y + 0.9][: len(op.inputs)]
                if op.name in "log log2 log10 log1p sqrt power divide reciprocal".split():
                    operands = [abs(v) + 0.5 for v in operands]
                if op.name in "asin acos atanh exp2 sinh cosh tan".split():  # in (-1, 1), or they grow
                    operands = [0.9 * tr.tanh(v) for v in operands]
                if op.name == "acosh":
                    operands = [v * v + 1.5 for v in operands]
                y = y + 0.1 * apply(op, *operands).astype(np.float64)
            return y

        xs, h = np.random.default_rng(first).standard_normal((3, 5, 6)), np.zeros((5, 6))
        before, found = standin.Grid.launches, []
        for device in ("cuda", "cpu"):
            x = tr.tensor(xs, requires_grad=True, device=device)
            ys, _ = tr.scan(step, x, tr.tensor(h, device=device), compile=device == "cuda")
            ys.sum().backward()
            found.append([ys.numpy(), x.grad.numpy()])
        assert standin.Grid.launches > before
        agree(*found)


# ------------------------------------------------------------------ faults put in on purpose


FAULTS = {
    "no barrier of the grid": ("if (phase < 0) GRID_WAIT(arrived, goal);", ""),
    "no barrier of the block before parts are added up": (
        "columns, work);\n            __syncthreads();",
        "columns, work);",
    ),
    "no barrier of the block before parts are written anew": (
        "(const F *)z);\n            }\n            __syncthreads();",
        "(const F *)z);\n            }",
    ),
    "no barrier before the next turn": ("__syncthreads();\n                over_columns", "over_columns"),
    "no barrier before a sum over a row": (" = value;\n    __syncthreads();", " = value;"),
    "columns laid out wrongly": ("c / UNITS * span + unit", "c % GROUPS * span + unit"),
    "fragments laid out wrongly": (
        "bottom.number[i], top.number[i + 1]",
        "top.number[i + 1], bottom.number[i]",
    ),
    "results laid out wrongly": ("(16 * m + group + h / 2 * 8)", "(16 * m + group + h % 2 * 8)"),
    "rows of another part": ("row = tile % parts * ROWS", "row = tile / parts * ROWS"),
    "rows of the next step at the time of this one": ("const I t = t_next;", ""),
    "a state that is not exchanged": ("grad0 = grad_next0;", ""),
}


@pytest.mark.sample(3)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_put_in_is_found(fault, standin, facts, monkeypatch):
    """In a cell that has row reductions, or, where units stay in their blocks, in an LSTM."""
    monkeypatch.setenv("TINYRNN_REFEREE", "0")
    cell, settings = "lstm" if "laid out" in fault or "next step" in fault else "everything", {}
    cores = "fragments" in fault or "results" in fault
    if cores:
        settings = dict(precision="tf32", dtype="float32")
    settings |= dict(
        size=(3, B, F, 40)
    )  # more than one warp has a part of the inner sums, a block several tiles
    right = results(*CELLS[cell], {}, "cpu", **{k: v for k, v in settings.items() if k != "precision"})
    standin.Grid.faults = [FAULTS[fault]]
    source, sources = cuda.module_source, []
    monkeypatch.setattr(cuda, "module_source", lambda *args: sources.append(source(*args)) or sources[-1])
    tolerance = dict(rtol=1e-2, atol=1e-2) if cores else {}
    try:
        wrong = any(
            not np.allclose(a, b, **tolerance)
            for found in in_orders(*CELLS[cell], {}, **settings)
            for a, b in zip(found, right, strict=True)
        )
    except standin.NeverOpens:
        wrong = True
    assert any(FAULTS[fault][0] in text for text in sources)
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


@pytest.mark.sample(5)
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
@pytest.mark.parametrize(("cell", "dtype", "precision"), list(sources()))
def test_every_source_compiles_for_gpus_without_spills(cell, dtype, precision, facts, tmp_path):
    facts["processors"] = 132
    gpus, said = [f"-gencode=arch=compute_{n},code=sm_{n}" for n in (80, 90)], ""
    for number, source in enumerate(sources_of(*CELLS[cell], dtype, precision)):
        path = tmp_path / f"loops{number}.cu"
        path.write_text(source)
        command = ["nvcc", "-std=c++17", *gpus, "-fatbin", "-Xptxas", "-v", str(path), "-o", f"{path}bin"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert not done.returncode, done.stderr
        said += done.stderr
    kernels = re.findall(r"properties for (?:forward|backward)\n.*?(\d+) bytes spill stores", said)
    assert len(kernels) == 8, said
    if cell in registered():
        assert set(kernels) == {"0"}, said


def sources_of(cell, options, dtype, precision):
    """Both loops for the smallest tile and the largest."""
    layer = tr.RNN(cell, F, 64, dtype=dtype, seed=0, cell_options=options).to("cuda")
    x, states = tr.ones((3, F), dtype=dtype, device="cuda"), layer.initial_state(3)[0]
    recording = recorded_step(layer.cells[0].step, x.data, [s.data for s in states])
    loops = scan.plan_of(recording, (0,), frozenset(), precision).loops
    shapes = [cuda.Shape(8, 16, 1), cuda.Shape(32, 64, 1)]
    return [loops.source(loop, shape) for loop in loops.loops for shape in shapes]


@pytest.mark.parametrize(("rows", "forward", "backward"), [
    (64, (32, 32, 2), (16, 16, 4)), (16, (16, 16, 1), (8, 16, 1)), (4096, (32, 64, 2), (32, 64, 8)),
])  # fmt: skip
def test_tiles_are_chosen_so_that_every_block_has_work(rows, forward, backward, facts):
    """Of an LSTM with 512 units on 132 multiprocessors: (columns, rows, parts of the rows)."""
    facts["processors"] = 132
    layer = tr.RNN("lstm", 512, 512, seed=0).to("cuda")
    x, states = tr.ones((3, 512), dtype="float32", device="cuda"), layer.initial_state(3)[0]
    recording = recorded_step(layer.cells[0].step, x.data, [s.data for s in states])
    loops = scan.plan_of(recording, (0,), frozenset(), None).loops
    shapes = [loops.shape(loop, rows) for loop in loops.loops]
    assert shapes == [cuda.Shape(*forward), cuda.Shape(*backward)]
    assert all(loops.blocks(loop, s, rows) >= 64 for loop, s in zip(loops.loops, shapes, strict=True))


@pytest.mark.slow
def test_check_says_in_which_form_loops_run(standin, facts):
    assert check.run_check("cuda", get_cell("gru"), {}).detail.startswith("equal to the eager loop")
    said = check.run_check("form on cuda", get_cell("lstm"), {}).detail
    assert "forward: one launch for all steps, the grid waits once a step, matrices read from memory" in said
    facts["processors"] = 132
    forget()
    assert "backward: one launch for all steps, the grid waits once a step, matrices in shared memory" in (
        check.run_check("form on cuda", get_cell("lstm"), {}).detail
    )
    facts["blocks at once"] = 0
    forget()
    assert "forward: 1 launches a step" in check.run_check("form on cuda", get_cell("lstm"), {}).detail
    how = CliRunner().invoke(main, ["check", "rnn", "--device", "cuda"])
    assert how.exit_code == 0 and "form on cuda" in how.output


@pytest.mark.filterwarnings("ignore:.*cuda")
def test_auto_takes_a_gpu_that_works_for_a_model_that_is_large_enough(standin, monkeypatch):
    assert devices.chosen("auto", 100) == "cpu" and devices.chosen("auto", 10**5) == "cuda"
    monkeypatch.setattr(devices, "try_kernel", lambda cupy: 1 / 0)
    monkeypatch.setattr(devices, "_working", [])
    assert devices.chosen("auto") == "cpu" == devices.chosen("cpu")
    with pytest.raises(InputError):
        devices.chosen("cuda")


def test_lower_precisions_train_on_a_gpu_and_their_checkpoints_run_anywhere(standin, text_file, tmp_path):
    how = dict(hidden=12, layers=1, embed=4, steps=3, seq_len=8, batch_size=4, quiet=True)
    with pytest.raises(InputError, match=r"tf32= needs a GPU: give device='cuda'"):
        tr.train(str(text_file), out=tmp_path / "cpu", tf32=True, **how)
    run = tr.train(str(text_file), out=tmp_path / "tf32", device="cuda", tf32=True, **how)
    assert run.model.precision is None and "tf32" in str(run.model.to("cuda").precision)
    assert len(tr.load(run.path).generate("a", length=5, seed=0)) == 6
    run = tr.train(str(text_file), out=tmp_path / "run", device="cuda", dtype="auto", **how)
    assert run.model.precision == "bfloat16" and run.model.dtype == "float32"
    assert standin.Grid.launches > 6
    assert len(tr.load(run.path).generate("a", length=5, seed=0)) == 6


def test_the_referee_checks_every_call_on_its_own_values(standin, facts, monkeypatch):
    monkeypatch.setenv("TINYRNN_REFEREE", "always")
    before = standin.Grid.launches
    for found in in_orders(get_cell("gru"), {}, CALLS["masked"], 2):
        agree(found, results(get_cell("gru"), {}, CALLS["masked"], "cpu"))
    assert (
        standin.Grid.launches - before == 8
    )  # forward and backward, twice each: the referee's, and the call's
    standin.Grid.faults = [("z[0]", "z[1]")]
    forget()
    cuda._kernel.cache_clear()
    with pytest.warns(CompileWarning, match="differs from the eager loop"):
        found = results(get_cell("gru"), {}, {}, "cuda")
    agree(found, results(get_cell("gru"), {}, {}, "cpu"))  # a fault costs speed, never truth
