"""The loops of PyTorch and JAX that `benchmarks/cells.py` times: they compute what the cell computes."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import published
import pytest

import tinyrnn as tr
from tinyrnn.base.errors import InputError
from tinyrnn.compiler.targets.numba import interpreted
from tinyrnn.tools import bench

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SIZE = 6, 3, 4  # hidden units, sequences, steps
CELLS = {
    "lstm": "lstm",
    "gru": "gru",
    **{name: getattr(published, name) for name in ("GRUD", "ACT", "KRU", "OnLSTM", "HeadNorm", "StackRNN")},
}


@pytest.fixture
def cells(monkeypatch):
    """The module, with tinyrnn's eager loop."""
    monkeypatch.setenv("TINYRNN_COMPILE", "0")
    monkeypatch.syspath_prepend(BENCHMARKS)
    spec = importlib.util.spec_from_file_location("cells_benchmark", BENCHMARKS / "cells.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_what_recording_and_checking_cost_can_be_measured(monkeypatch):
    """`benchmarks/truth.py` calls inner functions of the compiler."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    truth = importlib.import_module("truth")
    called = []

    def once(functions):
        called.extend(f() for f in functions)
        return [1.0] * len(functions)

    monkeypatch.setattr(truth.timing, "interleaved", once)
    monkeypatch.setattr(truth, "B", 2)
    monkeypatch.setattr(truth, "T", 3)
    with interpreted():
        assert set(truth.milliseconds("rnn").values()) == {1000.0} and len(called) == 4


class Noisy(tr.Cell):
    def build(self, input_size, hidden_size):
        self.W = self.weight(input_size, hidden_size)

    def step(self, x, h):
        return tr.tanh(x @ self.W + h + tr.randn_like(h))


@pytest.mark.parity
@pytest.mark.parametrize("library", ["torch", "jax"])
@pytest.mark.parametrize("name", CELLS)
def test_the_loops_have_the_values_of_the_cell(cells, name, library):
    pytest.importorskip(library)
    work = cells.Work(CELLS[name], (), *SIZE)
    step = cells.Translation(work.layer().cells[0], work.batch)
    make = {"torch": cells.pytorch, "jax": cells.jax_scan}[library]
    arrays = step.parameters, step.constants, step.first
    found = make(work, step.source(library), *arrays)()
    expected = [t.detach().numpy() for t in cells.ours(work)()]
    assert len(expected) == 2 + len(step.parameters)
    assert any(g.any() for g in expected[2:])
    assert cells.difference(found, expected) < 1e-5


@pytest.mark.parity
def test_a_cell_whose_values_differ_is_told_and_not_timed(cells, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setitem(cells.Translation.source.__globals__["PYTORCH"], "sigmoid", "xp.tanh({0})")
    row = cells.measured(cells.Work("gru", (), *SIZE), 1, False)
    assert "the values differ" in row["difference"]
    assert not row["PyTorch ms"]


@pytest.mark.parametrize(
    ("cell", "said"), [(Noisy, "it draws random numbers"), (published.SuperSpike, "the op custom_vjp")]
)
def test_what_has_no_translation_is_told(cells, cell, said):
    row = cells.measured(cells.Work(cell, (), *SIZE), 1, False)
    assert said in row["difference"]
    assert not row["tinyrnn ms"]


def test_every_script_says_what_it_does_and_does_nothing_else(tmp_path):
    scripts = [
        p
        for p in sorted(BENCHMARKS.glob("*.py"))
        if "__main__" in p.read_text() or "parser(" in p.read_text()
    ]
    scripts = [p for p in scripts if p.stem != "timing"]
    results = {p: p.read_bytes() for p in (BENCHMARKS / "results").iterdir()}
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    how = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=env)
    running = [subprocess.Popen([sys.executable, str(p), "--help"], **how) for p in scripts]
    for script, process in zip(scripts, running, strict=True):
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out[:7]) == (0, "usage: "), (script.name, err)
    assert len(scripts) > 12
    assert {p: p.read_bytes() for p in (BENCHMARKS / "results").iterdir()} == results


def test_a_contender_that_cannot_run_is_left_out_where_that_may_be():
    jobs = [(bench.gemm_peak, (8,)), (bench.peak_flops, (8,))]  # the second gives no function
    found = bench.seconds(jobs, 1, may_fail=[1])
    assert found[0] > 0 and found[1] is None
    with pytest.raises(InputError, match="peak_flops cannot run: TypeError"):
        bench.seconds(jobs, 1)
