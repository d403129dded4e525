"""Exported models in onnxruntime and in PyTorch against the reference of graphs and the model itself, for
every registered cell and every task that can be written out.
"""

import sys

import numpy as np
import pytest
from click.testing import CliRunner
from exported_models import (
    OTHERS,
    VOCABULARY,
    ByOnnx,
    ByTorch,
    Elsewhere,
    Odd,
    check,
    classifier,
    given,
    language_model,
    of_signals,
    right,
    shaken,
    translator,
)

import tinyrnn as tr
from tinyrnn.cli import main
from tinyrnn.compiler.graph import Graph
from tinyrnn.nn.registry import registered
from tinyrnn.tasks.forecast.model import Forecaster
from tinyrnn.tasks.lm.task import LanguageModel
from tinyrnn.tools.export import graphs_of
from tinyrnn.tools.export import torch as torch_form

FORMS = [ByOnnx, pytest.param(ByTorch, marks=pytest.mark.parity)]
CASES = [(name, {}, {}) for name in registered()]
CASES += [
    ("rnn", {"activation": "relu"}, {}),
    ("rnn", {"activation": "sigmoid"}, {}),
    ("lstm", {"peephole": True}, {}),
    ("gru", {"reset_after": True}, {}),
    ("gru", {}, {"tie": True, "hidden": 5}),
    ("lstm", {}, {"zoneout": 0.2}),
    (Odd, {}, {}),
    (Elsewhere, {}, {}),
]
NAMES = ["-".join([getattr(c, "__name__", c), *o, *m]) for c, o, m in CASES]


@pytest.mark.parametrize("sequence", [False, True], ids=["step", "sequence"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("cell", "options", "more"), CASES, ids=NAMES)
def test_every_cell(cell, options, more, form, sequence, tmp_path):
    """Of a standard cell the operator in ONNX is the cell with all its options, of any other it is none."""
    model = language_model(cell, options, **more)
    made = check(model, form, tmp_path, sequence=sequence)
    if form is ByOnnx and sequence:
        standard = cell in ("rnn", "lstm", "gru") and "zoneout" not in more
        assert made.ops & {"RNN", "LSTM", "GRU", "Scan"} == {cell.upper() if standard else "Scan"}
    if form is ByOnnx and not sequence:
        assert not made.ops & {"Scan", "Loop"}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", OTHERS)
def test_every_other_task(name, form, tmp_path):
    make, what = OTHERS[name]
    check(make(what), form, tmp_path)


@pytest.mark.parametrize("form", FORMS)
def test_double_precision(form, tmp_path):
    """Evaluators have no standard operators for it: these are loops then."""
    made = check(language_model("lstm", dtype="float64"), form, tmp_path, sequence=True)
    assert form is not ByOnnx or "Scan" in made.ops


class Plain:
    """What graphs may have that no model of today has: steps that read nothing, what is not over time beside
    what is, numbers alone, a state that stays.
    """

    task, settings = "plain", {"cell": "none"}

    def graphs(self, over_time=False):
        graph = Graph(np.dtype(np.float32), {id(self.weight): "weight"})
        x, row = graph.rows("x", 2, over_time=True), graph.rows("row", 3)
        old = [graph.state(n, tr.tensor(np.full((1, 3), 0.5, np.float32))) for n in ("s", "stays")]
        (counted,), (last, same) = graph.scan(
            lambda xs, states: ((states[0] @ self.weight,), (states[0] * 0.5 + 1.0, states[1])), [x], old
        )
        graph.keep(old[0], last)
        graph.keep(old[1], same)
        graph.output("counted", counted)
        graph.output("beside", graph.call(lambda x, row: tr.sum(x, axis=1, keepdims=True) * row, x, row))
        graph.output("always", graph.call(lambda x: tr.zeros((len(x), 2), dtype=x.dtype) + 2.0, x))
        (back,), _ = graph.scan(
            lambda xs, states: ((states[0],), (states[0] + xs[0] @ self.narrow + xs[1],)),
            [x, row],
            [graph.constant(np.ones((1, 3)))],
            reverse=True,
        )
        graph.output("back", back)
        return {"plain": graph}

    def __init__(self):
        draw = np.random.default_rng(0)
        self.weight, self.narrow = (
            tr.tensor(draw.standard_normal((n, 3)).astype(np.float32)) for n in (3, 2)
        )

    def precision_with(self, weights):
        return weights

    def eval(self):
        return self

    def facts(self):
        return {}


@pytest.mark.parametrize("form", FORMS)
def test_any_graph(form, tmp_path):
    check(Plain(), form, tmp_path)


# ------------------------------------------------------------------ against the model itself


def ids(*shape, below=5):
    return np.random.default_rng(0).integers(0, below, shape)


@pytest.mark.parametrize("form", FORMS)
def test_a_language_model_step_by_step_and_as_a_whole(form, tmp_path):
    """From the states that the files hold, both say what the model does."""
    model, read = language_model("lstm", {"peephole": True}), ids(7, 3)
    expected, states = [], None
    for row in read:
        logits, states = model.step(row, states)
        expected.append(logits)
    last = [s.numpy() for layer in states for s in layer]
    for sequence in (False, True):
        made = form(model, tmp_path, sequence=sequence)
        if form is ByOnnx:
            rows = {
                n: np.array([row] * 3, np.float32) for n, row in made.facts["step"]["initial_states"].items()
            }
            assert made.facts["step"]["vocabulary"]["symbols"] == list("abcde")
        else:
            assert list("abcde") == made.module.SYMBOLS
            rows = {
                n: s.numpy()
                for n, s in zip(
                    ["h_0", "c_0", "h_1", "c_1"], made.models["step"].initial_states(3), strict=True
                )
            }
        said = []
        for row in [read] if sequence else read:
            found = made("step", {"ids": row, **rows})
            rows = {n: found[f"new_{n}"] for n in rows}
            said.append(found["logits"])
        said = said[0] if sequence else np.stack(said)
        np.testing.assert_allclose(said, np.stack(expected), rtol=1e-5, atol=1e-6)
        for ours, theirs in zip(last, rows.values(), strict=True):
            np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_a_classifier(form, tmp_path):
    model = classifier("attention", "lstm", np.array([0.4, 0.6]))
    made = form(model, tmp_path)
    found = made("classify", {"ids": np.array([model.encode("abcdd")]).T})["probabilities"]
    np.testing.assert_allclose(found, model.predict(["abcdd"]), rtol=1e-5)
    facts = made.facts["classify"] if form is ByOnnx else made.module.FACTS
    assert facts["labels"] == ["x", "y"] and facts["thresholds"] == [0.4, 0.6] and facts["task"] == "classify"


@pytest.mark.parametrize("form", FORMS)
def test_a_classifier_of_numbers(form, tmp_path):
    """The scaling is among the facts."""
    model = of_signals("gru", bidirectional=True)
    rows = np.random.default_rng(0).standard_normal((6, 2)).astype(np.float32)
    made = form(model, tmp_path)
    found = made("classify", {"features": model.encode(rows)[:, None]})["probabilities"]
    np.testing.assert_allclose(found, model.predict([rows]), rtol=1e-5)
    facts = made.facts["classify"] if form is ByOnnx else made.module.FACTS
    assert facts["features"]["deviation"] == [1.0] * 4


@pytest.mark.parametrize("attention", ["luong", "bahdanau"])
@pytest.mark.parametrize("form", FORMS)
def test_a_translator_writes_what_the_model_writes(form, attention, tmp_path):
    """Greedily, symbol by symbol."""
    model = translator(attention, "lstm", hidden=8)
    model.output.bias.data[model.end] -= 1.2  # so that it writes something
    source = ids(6)
    made = form(model, tmp_path)
    if form is ByOnnx:  # the reader gives the first states
        assert "initial_states" not in made.facts["step"] and made.facts["read"]["target"]["symbols"]
    else:
        assert "keys, projected, h_0, c_0, h_1, c_1 = read(ids)" in made.module.__doc__
    memory = made("read", {"ids": source[:, None]})
    said, states, seen = [model.end], {n: a for n, a in memory.items() if n not in ("keys", "projected")}, {}
    keys = {n: memory[n] for n in ("keys", "projected")}
    while len(said) < 12 and (len(said) == 1 or said[-1] != model.end):
        seen = made("step", {"ids": np.array(said[-1:]), **keys, **states})
        states = {n: seen[f"new_{n}"] for n in states}
        said.append(int(seen["logits"].argmax()))
    ((expected, _),) = model.search([source])
    written = [*expected, model.end][: len(said) - 1]
    assert said[1:] == written and len(written) > 1
    assert seen["weights"].shape == (6, 1, 1)


@pytest.mark.parametrize("how", [
    {"lags": [1, 4]}, {"lags": [], "smoothing": [0.3, 0.1, 0.2, 0.9], "season": 4},
], ids=["differences", "smoothing"])  # fmt: skip
@pytest.mark.parametrize("form", FORMS)
def test_a_forecaster_reads_goes_on_and_ends(form, how, tmp_path):
    """Also of a standard cell, which waits until the window begins: no operator does that."""
    transform = {"log": False, "mean": 0.1, "scale": 2.0, **how}
    shape = dict(season=4, window=6, horizon=3, ensemble=2, hidden=4, seed=1)
    model = shaken(Forecaster(["y"], [transform], cell="gru", **shape))
    made, graphs = form(model, tmp_path), graphs_of(model, False, False)
    draw = np.random.default_rng(0)
    known = {"values": draw.normal(0, 1, (20, 2, 1)).cumsum(axis=0), "first_phases": np.full((2, 1), 0.25)}
    known |= {name: np.tile(start, (2, 1)) for name, (start, _) in graphs["step"].states.items()}
    said = []
    for name in ("read", "step", "step", "end"):
        graph = graphs[name]
        known["said"] = np.concatenate([*said, np.zeros((2, 9))], axis=-1)[:, :9]
        arrays = {x.name: known[x.name].astype(np.float32) for x in graph.inputs}
        found, expected = made(name, arrays), right(graph, arrays)
        for out, y in expected.items():
            np.testing.assert_allclose(found[out], y, rtol=2e-5, atol=1e-5, err_msg=f"{name} {out}")
        new = {graph.states[state][1]: state for state in graph.states}
        known |= {new.get(out, out): y for out, y in expected.items()}
        said += [expected["said"]] if "said" in expected else []
    assert np.ptp(expected["forecast"]) > 0.1
    if form is ByOnnx:
        assert "Scan" in made.ops and "GRU" not in made.ops


def test_a_module_names_its_cell_without_the_path_of_its_file():
    model = language_model(Odd)
    assert "with tinyrnn (Odd, lm), in PyTorch" in torch_form.to_torch(model, "m")[0]
    model.settings["cell"] = r"C:\users\x\odd.py:Odd"  # which a docstring would read as escapes
    assert "with tinyrnn (Odd, lm), in PyTorch" in torch_form.to_torch(model, "m")[0]


def test_a_model_in_pytorch_can_be_trained(tmp_path):
    """Everything that it learned is a parameter that a gradient reaches."""
    made = ByTorch(language_model("ln-gru"), tmp_path, sequence=True)
    step = made.models["step"]
    logits, *_ = step(made.torch.tensor(ids(4, 2)), *step.initial_states(2))
    logits.sum().backward()
    assert {n for n, _ in step.named_buffers()} == {"initial_h_0", "initial_h_1"}
    assert all(p.grad is not None for p in step.parameters())


# ------------------------------------------------------------------ 8 bits


class Tied(tr.Cell):
    """Multiplies by one matrix and by another's transpose."""

    def build(self, input_size, hidden_size):
        self.W, self.U = self.weight(input_size, hidden_size), self.weight(hidden_size, hidden_size)

    def step(self, x, h):
        return tr.tanh(x @ self.W + h @ tr.matrix_transpose(self.U))


EIGHT = [(Tied, {"hidden": 64, "embed": 64, "tie": True})]
EIGHT += [(cell, {"hidden": 64, "embed": 32}) for cell in registered()]
EIGHT = [pytest.param(*case, id=getattr(case[0], "__name__", case[0])) for case in EIGHT]


@pytest.mark.sample(4)
@pytest.mark.parametrize(("cell", "shape"), EIGHT)
def test_8_bits(cell, shape, tmp_path):
    """Both formats hold the same matrices, which are off by half a step at most, and do what the model does
    but for that.
    """
    model = language_model(cell, **shape)
    small = ByTorch(model, tmp_path, in_bytes=True)
    small_arrays = small.arrays
    whole, step = ByTorch(model, tmp_path).arrays, small.models["step"]
    names = {n for n, a in small_arrays.items() if a.dtype == np.int8}
    assert {"embedding_weight"} | ({"output_weight"} if not shape.get("tie") else set()) <= names
    assert all(a.ndim == 2 and min(a.shape) > 1 for n, a in small_arrays.items() if n in names)
    by_rows = {"embedding_weight", *([f"rnn_cells_{k}_U" for k in (0, 1)] if cell is Tied else [])}
    for name, p in step.named_parameters():
        if name not in names:
            np.testing.assert_array_equal(p.detach().numpy(), whole[name])
            continue
        gap, scale = np.abs(p.detach().numpy() - whole[name]), small_arrays[name + ".scale"]
        assert (gap <= scale * 0.5001).all() and gap.any()
        assert scale.shape == ((len(gap), 1) if name in by_rows else (1, gap.shape[1]))
    onnx = pytest.importorskip("onnx")
    for sequence in (False, True):
        made = ByOnnx(model, in_bytes=True, sequence=sequence)
        stored = {i.name: onnx.numpy_helper.to_array(i) for i in made.made["step"].graph.initializer}
        for name in names if not sequence else ():
            np.testing.assert_array_equal(stored[name + "_int8"], small_arrays[name])
        parted = cell == "gru" and sequence  # of R, which is one there
        assert sum(a.dtype == np.int8 for a in stored.values()) == len(names) - 2 * parted
        graph = graphs_of(model, False, sequence)["step"]
        arrays = given(graph, 3, 4)
        found, exact = made("step", arrays), right(graph, arrays)["logits"]
        assert 0 < np.abs(found["logits"] - exact).max() <= 0.03 * np.abs(exact).max()
        same = ByTorch(model, tmp_path, in_bytes=True, sequence=sequence)("step", arrays)
        for name, y in same.items():
            np.testing.assert_allclose(found[name], y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["signals", "translate-luong", "translate-bahdanau"])
def test_8_bits_of_other_tasks(name, tmp_path):
    make, what = OTHERS[name]
    model = make(what)
    forms = [form(model, tmp_path, in_bytes=True) for form in (ByOnnx, ByTorch)]
    for graph_name, graph in graphs_of(model, True, False).items():
        arrays = given(graph, 2, 5)
        by_onnx, by_torch = (form(graph_name, arrays) for form in forms)
        for out, y in right(graph, arrays).items():
            np.testing.assert_allclose(by_onnx[out], by_torch[out], rtol=1e-4, atol=1e-5)
            assert 0 < np.abs(by_onnx[out] - y).max() <= 0.05 * np.abs(y).max()


def test_8_bits_of_another_model():
    with pytest.raises(tr.InputError, match="int8 weights are for models of float32"):
        torch_form.to_torch(language_model(dtype="float64"), "m", True)


def test_8_bits_take_a_quarter():
    model = LanguageModel(VOCABULARY, cell="lstm", hidden=256, embed=64).eval()
    sizes = [sum(a.nbytes for a in torch_form.to_torch(model, "m", b)[1].values()) for b in (True, False)]
    assert sizes[0] < 0.27 * sizes[1]


# ------------------------------------------------------------------ the command


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_the_command(tmp_path, monkeypatch):
    text = tmp_path / "a.txt"
    text.write_text("to be or not to be, that is the question.\n" * 20)
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
    step = run("export", tmp_path / "run"), (tmp_path / "run" / "model.onnx").read_bytes()
    whole = run("export", tmp_path / "run", "--sequence"), (tmp_path / "run" / "model.onnx").read_bytes()
    assert (
        step[0].exit_code == whole[0].exit_code == 0
        and step[1] != whole[1]
        and b"Scan" in whole[1]
        and b"Scan" not in step[1]
    )
    monkeypatch.setitem(sys.modules, "onnx", None)
    result = run("export", tmp_path / "run")
    assert result.exit_code == 2 and "needs onnx: pip install 'tinyrnn[onnx]'" in result.output


def test_the_command_for_other_tasks(tmp_path):
    table, pairs = tmp_path / "reviews.csv", tmp_path / "pairs.tsv"
    table.write_text("text,label\n" + "".join(f"good {i},yes\nbad {i},no\n" for i in range(20)))
    pairs.write_text("".join(f"one {i}\teins {i}\n" for i in range(30)))
    small = ["--hidden", "4", "--embed", "4", "--layers", "1", "--steps", "1", "--quiet"]
    assert run("train", "--task", "classify", table, *small, "--out", tmp_path / "c").exit_code == 0
    done = run("export", tmp_path / "c")
    assert done.stdout.split() == [str(tmp_path / "c" / "model.onnx")]
    done = run("export", tmp_path / "c", "--sequence")
    assert done.exit_code == 2 and "it reads whole sequences as it is: leave it out" in " ".join(
        done.output.split()
    )
    assert run("train", "--task", "translate", pairs, *small, "--out", tmp_path / "t").exit_code == 0
    done = run("export", tmp_path / "t", "--out", tmp_path / "german.onnx")
    assert done.stdout.split() == [str(tmp_path / f"german{part}.onnx") for part in ("-read", "")]
    done = run("export", tmp_path / "t", "--sequence")
    assert done.exit_code == 2 and "its step reads what it said before" in " ".join(done.output.split())
    done = run("export", tmp_path / "t", "--format", "torch", "--out", tmp_path / "german.py")
    assert done.stdout.split() == [str(tmp_path / f"german{end}") for end in (".safetensors", ".py")]


def test_a_cell_that_does_not_compile_says_so():
    class Branching(tr.Cell):
        states = ("h",)

        def build(self, input_size, hidden_size):
            self.W, self.U, self.b = self.affine(input_size, hidden_size)

        def step(self, x, h):
            return h if float(tr.sum(h)) > 0 else tr.tanh(x @ self.W + h @ self.U + self.b)

    with pytest.raises(tr.InputError, match="layer0 cannot be written out: it looks at the values"):
        torch_form.to_torch(language_model(Branching), "m")
