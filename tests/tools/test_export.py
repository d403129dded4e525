"""Exported steps against the model itself: in ONNX's reference evaluator and in PyTorch, for every registered
cell.
"""

import importlib.util
import json
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import tinyrnn as tr
from tinyrnn.cli import main
from tinyrnn.nn.registry import registered
from tinyrnn.tasks.lm.task import LanguageModel
from tinyrnn.tasks.text.vocabulary import Characters
from tinyrnn.tools.export import onnx as to_onnx_form
from tinyrnn.tools.export import torch as to_torch_form

CASES = [(name, {}, {}) for name in registered()]
CASES += [
    ("lstm", {"peephole": True}, {}),
    ("gru", {"reset_after": True}, {"zoneout": 0.2}),
    ("gru", {}, {"tie": True, "hidden": 5}),
]
CASES += [("rnn", {"activation": "relu"}, {"dtype": "float32"})]


class Everything(tr.Cell):
    """Ops that the registered cells do not use."""

    states = ("h", "c")

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size)

    def step(self, x, h, c):
        z = x @ self.W + tr.clip(h, -0.5, 0.5) @ self.U + self.b
        y = tr.where(z > 0.1, tr.log1p(tr.square(z)), tr.expm1(z)) * tr.softmax(z)
        y = y + tr.logaddexp(z, c) - tr.maximum(z, 0.2) / (1 + tr.mean(tr.abs(z), axis=-1, keepdims=True))
        m = tr.logical_or(tr.logical_not(z < 0), tr.not_equal(c, 0.0))
        y = tr.concat([y[:, 1:], y[:, :1]], axis=1) * tr.where(m, 1.0, 0.5) - tr.min(
            z, axis=-1, keepdims=True
        )
        return tr.tanh(y), c * 0.5 + tr.sqrt(tr.abs(y) + 1e-3)


def make(cell, options, more):
    vocabulary = Characters.build(["abcde"], None)
    shape = {"hidden": 4, "embed": 5, "layers": 2, "dtype": "float64", "seed": 1, **more}
    return LanguageModel(vocabulary, cell=cell, cell_options=options, **shape).eval()


def expected(model, ids):
    """Logits over time and the last states."""
    states, found = None, []
    for row in ids:
        logits, states = model.step(row, states)
        found.append(logits)
    return np.stack(found), [s.numpy() for layer in states for s in layer]


IDS = np.random.default_rng(0).integers(0, 5, (4, 3))
CASES = [pytest.param(*case, id="-".join([case[0], *case[1], *case[2]])) for case in CASES]
CASES.append(pytest.param(Everything, {}, {}, id="everything"))


@pytest.mark.parametrize(("cell", "options", "more"), CASES)
def test_onnx(cell, options, more):
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    model = make(cell, options, more)
    made = onnx.load_from_string(to_onnx_form.to_onnx(model))
    facts = {p.key: json.loads(p.value) for p in made.metadata_props}
    assert facts["vocabulary"]["symbols"] == list("abcde")
    names = [i.name for i in made.graph.input][1:]
    states = [np.tile(np.array(facts["initial_states"][n], model.settings["dtype"]), (3, 1)) for n in names]
    run, (logits, final) = ReferenceEvaluator(made), expected(model, IDS)
    for t, row in enumerate(IDS):
        found, *states = run.run(None, {"ids": row, **dict(zip(names, states, strict=True))})
        np.testing.assert_allclose(
            found, logits[t], rtol=1e-5 if model.settings["dtype"] == "float32" else 1e-9, atol=1e-6
        )
    for ours, theirs in zip(final, states, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-6)


@pytest.mark.parity
@pytest.mark.parametrize(("cell", "options", "more"), CASES)
def test_torch(cell, options, more, tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.numpy import save_file

    model = make(cell, options, more)
    source, arrays = to_torch_form.to_torch(model, "m.safetensors")
    save_file(arrays, tmp_path / "m.safetensors")
    (tmp_path / "m.py").write_text(source)
    found = importlib.util.spec_from_file_location("m", tmp_path / "m.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    step = module.Step()
    states, (logits, final) = step.initial_states(3), expected(model, IDS)
    for t, row in enumerate(IDS):
        said, *states = step(torch.tensor(row), *states)
        np.testing.assert_allclose(said.detach().numpy(), logits[t], rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(final, states, strict=True):
        np.testing.assert_allclose(theirs.detach().numpy(), ours, rtol=1e-5, atol=1e-6)
    said.sum().backward()
    assert all(p.grad is not None for p in step.parameters()) and list("abcde") == module.SYMBOLS


class Tied(tr.Cell):
    """Multiplies by one matrix and by another's transpose."""

    def build(self, input_size, hidden_size):
        self.W, self.U = self.weight(input_size, hidden_size), self.weight(hidden_size, hidden_size)

    def step(self, x, h):
        return tr.tanh(x @ self.W + h @ tr.matrix_transpose(self.U))


EIGHT = [(Tied, {"hidden": 64, "embed": 64, "dtype": "float32", "tie": True})]
EIGHT += [(cell, {"hidden": 64, "embed": 32, "layers": 2, "dtype": "float32"}) for cell in registered()]
EIGHT = [pytest.param(*case, id=getattr(case[0], "__name__", case[0])) for case in EIGHT]


def loaded(model, folder, in_bytes):
    """The exported module, and the bytes of its arrays."""
    from safetensors.numpy import save_file

    source, arrays = to_torch_form.to_torch(model, "m.safetensors", in_bytes)
    save_file(arrays, folder / "m.safetensors")
    (folder / "m.py").write_text(source)
    found = importlib.util.spec_from_file_location("m", folder / "m.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module.Step(), arrays


@pytest.mark.sample(4)
@pytest.mark.parametrize(("cell", "shape"), EIGHT)
def test_8_bits(cell, shape, tmp_path):
    """Both formats hold the same matrices, which are off by half a step at most, and do what the model does
    but for that.
    """
    onnx, torch = pytest.importorskip("onnx"), pytest.importorskip("torch")
    from onnx.reference import ReferenceEvaluator

    model = LanguageModel(Characters.build(["abcde"], None), cell=cell, seed=1, **shape).eval()
    step, arrays = loaded(model, tmp_path, True)
    exact, whole = loaded(model, tmp_path, False)
    small = {n for n, a in arrays.items() if a.dtype == np.int8}
    assert {"embedding", "output_weight"} <= small
    assert all(a.ndim == 2 and min(a.shape) > 1 for n, a in arrays.items() if n in small)
    for name, p in step.named_parameters():
        if name in small:
            gap = np.abs(p.detach().numpy() - whole[name])
            assert (gap <= arrays[name + ".scale"] * 0.5001).all() and gap.any()
            shape = (len(gap), 1) if name == "embedding" else (1, gap.shape[1])
            assert arrays[name + ".scale"].shape == shape
        else:
            np.testing.assert_array_equal(p.detach().numpy(), whole[name])
    made = onnx.load_from_string(to_onnx_form.to_onnx(model, True))
    initializers = {i.name: onnx.numpy_helper.to_array(i) for i in made.graph.initializer}
    for name in small:
        np.testing.assert_array_equal(initializers[name + "_int8"], arrays[name])
    run, states, right = ReferenceEvaluator(made), step.initial_states(3), exact.initial_states(3)
    names = [i.name for i in made.graph.input][1:]
    for row in IDS:
        given = {n: s.detach().numpy() for n, s in zip(names, states, strict=True)}
        by_onnx = run.run(None, {"ids": row, **given})
        said, *states = step(torch.tensor(row), *states)
        for ours, theirs in zip([said, *states], by_onnx, strict=True):
            np.testing.assert_allclose(theirs, ours.detach().numpy(), rtol=1e-4, atol=1e-5)
        other, *right = exact(torch.tensor(row), *right)
        assert 0 < (said - other).abs().max() <= 0.03 * other.abs().max()


def test_8_bits_of_another_model():
    with pytest.raises(tr.InputError, match="int8 weights are for models of float32"):
        to_torch_form.to_torch(make("gru", {}, {}), "m", True)


def test_8_bits_take_a_quarter(tmp_path):
    model = LanguageModel(Characters.build(["abcde"], None), cell="lstm", hidden=256, embed=64).eval()
    sizes = [sum(a.nbytes for a in to_torch_form.to_torch(model, "m", b)[1].values()) for b in (True, False)]
    assert sizes[0] < 0.27 * sizes[1]


def test_the_command(tmp_path, monkeypatch):
    text = tmp_path / "a.txt"
    text.write_text("to be or not to be, that is the question.\n" * 20)

    def run(*arguments):
        return CliRunner().invoke(main, [str(a) for a in arguments])

    small = ["--hidden", "6", "--embed", "4", "--steps", "2", "--seq-len", "10", "--quiet"]
    assert run("train", text, *small, "--out", tmp_path / "run").exit_code == 0
    assert run("export", tmp_path / "run", "--format", "torch").stdout.splitlines()[-1] == str(
        tmp_path / "run" / "model.py"
    )
    assert (tmp_path / "run" / "model.safetensors").exists()
    before = (tmp_path / "run" / "model.safetensors").stat().st_size
    result = run("export", tmp_path / "run", "--format", "torch", "--weights", "int8")
    assert result.exit_code == 0 and (tmp_path / "run" / "model.safetensors").stat().st_size != before
    assert run("export", tmp_path / "run", "--weights", "bfloat16").exit_code == 2
    monkeypatch.setitem(sys.modules, "onnx", None)
    result = run("export", tmp_path / "run")
    assert result.exit_code == 2 and "needs onnx: pip install 'tinyrnn[onnx]'" in result.output


def test_a_cell_that_does_not_compile_says_so():
    class Branching(tr.Cell):
        states = ("h",)

        def build(self, input_size, hidden_size):
            self.W, self.U, self.b = self.affine(input_size, hidden_size)

        def step(self, x, h):
            return h if float(tr.sum(h)) > 0 else tr.tanh(x @ self.W + h @ self.U + self.b)

    with pytest.raises(tr.TinyrnnError, match="Branching|value|depends"):
        to_torch_form.to_torch(make(Branching, {}, {}), "m")
