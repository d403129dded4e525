"""Models of every task with graphs, and their files run by onnxruntime and PyTorch: for tests of exports."""

import importlib.util
import json

import numpy as np
import pytest

import tinyrnn as tr
from tinyrnn.nn.cells.lstm import LSTM
from tinyrnn.tasks.classify.model import Classifier
from tinyrnn.tasks.classify.signals import SignalClassifier
from tinyrnn.tasks.lm.model import LanguageModel
from tinyrnn.tasks.signals.features import Features
from tinyrnn.tasks.text.vocabulary import Characters
from tinyrnn.tasks.translate.model import Translator
from tinyrnn.tools.export import graphs_of
from tinyrnn.tools.export import onnx as onnx_form
from tinyrnn.tools.export import torch as torch_form

VOCABULARY = Characters.build(["abcde"], None)
NUMBERS = Features(("left", "right"), 0, 1, 1, True, (0.0,) * 4, (1.0,) * 4)
SHAPE = {"hidden": 4, "layers": 2, "seed": 1}


class Odd(tr.Cell):
    """States of several widths, one of them a matrix; sums over rows; a row of a table; ops that the
    registered cells do not use.
    """

    states = ("h", "m", "s")

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size)
        self.table = self.weight(3, hidden_size)
        self.state_sizes = {"h": hidden_size, "m": (hidden_size, 3), "s": 2}

    def step(self, x, h, m, s):
        z = x @ self.W + tr.clip(h, -0.5, 0.5) @ self.U + self.b + self.table[1]
        share = tr.softmax(tr.sum(m * tr.expand_dims(z, axis=2), axis=1), axis=-1)
        m = 0.5 * m + tr.expand_dims(tr.tanh(z), axis=2) * tr.expand_dims(share, axis=1)
        y = tr.where(z > 0.1, tr.log1p(tr.square(z)), tr.expm1(tr.minimum(z, 0.0))) + tr.logaddexp(z, h)
        y = y / (1 + tr.mean(tr.abs(z), axis=-1, keepdims=True)) + tr.sum(m, axis=2)
        both = tr.logical_or(tr.logical_not(z < 0), tr.not_equal(h, 0.0))
        y = tr.concat([y[:, 1:], y[:, :1]], axis=1) * (0.5 + 0.5 * both.astype(y.dtype))
        s = 0.5 * s + tr.concat([tr.sum(z, axis=1, keepdims=True), tr.min(z, axis=1, keepdims=True)], axis=1)
        return tr.tanh(y), m, s


class Elsewhere(LSTM):
    """Not the LSTM that it is called, and it learns where it begins."""

    def build(self, input_size, hidden_size):
        super().build(input_size, hidden_size)
        self.h, self.c = self.bias(hidden_size, init=0.3), self.bias(hidden_size, init=-0.2)

    def initial_state(self, batch_size):
        rows = tr.zeros((batch_size, 1), dtype=self.dtype)
        return rows + self.h, rows + self.c

    def step(self, x, h, c):
        h, c = super().step(x, h, c)
        return 0.5 * h, c


def shaken(model):
    """With no parameter at the value, often 0, that all of them begin with."""
    draw = np.random.default_rng(2)
    for p in model.parameters():
        p.data += draw.normal(0, 0.1, p.shape).astype(p.dtype)
    return model.eval()


def language_model(cell="gru", options=None, **more):
    shape = {**SHAPE, "embed": 5, **more}
    return shaken(LanguageModel(VOCABULARY, cell=cell, cell_options=options or {}, **shape))


def classifier(pooling, cell="gru", thresholds=None, **more):
    shape = {**SHAPE, "embed": 5, "bidirectional": True, **more}
    return shaken(Classifier(VOCABULARY, ["x", "y"], thresholds, pooling=pooling, cell=cell, **shape))


def of_signals(cell="lstm", **more):
    return shaken(SignalClassifier(NUMBERS, ["x", "y", "z"], cell=cell, **{**SHAPE, **more}))


def translator(attention, cell="gru", **more):
    other = Characters.build(["wxyz"], None)
    shape = {**SHAPE, "embed": 5, **more}
    return shaken(Translator(VOCABULARY, other, attention=attention, cell=cell, **shape))


OTHERS = {  # of the other tasks
    **{f"classify-{pooling}": (classifier, pooling) for pooling in ("mean", "max", "last", "attention")},
    "classify-several": (lambda cell: classifier("mean", cell, np.array([0.4, 0.6])), "lstm"),
    "classify-elsewhere": (lambda cell: classifier("last", cell), Elsewhere),
    "signals": (of_signals, "lstm"),
    "signals-ln-gru": (of_signals, "ln-gru"),
    "translate-luong": (translator, "luong"),
    "translate-bahdanau": (translator, "bahdanau"),
}


def given(graph, batch, steps, seed=0):
    """Random inputs of a graph by their names, the states included."""
    draw = np.random.default_rng(seed)

    def one(x):
        leading = (steps, batch) if x.over_time else (batch,)
        if x.count:
            return draw.integers(0, x.count, leading)
        return draw.standard_normal((*leading, x.width)).astype(graph.dtype)

    return {x.name: one(x) for x in graph.inputs}


def right(graph, arrays):
    return {name: np.asarray(a) for name, a in graph.run(**arrays).items()}


class ByOnnx:
    """Graph name -> a function from inputs to outputs, both by their names."""

    def __init__(self, model, folder=None, **how):
        onnx = pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
        import onnxruntime as ort

        files = onnx_form.to_onnx(model, **how)
        self.made = {name: onnx.load_from_string(file) for name, file in files.items()}
        self.ops = {n.op_type for made in self.made.values() for n in made.graph.node}
        for made in self.made.values():  # what is fused is named after them
            names = [n.name for n in made.graph.node]
            assert all(names) and len(set(names)) == len(names)
        self.facts = {
            name: {p.key: json.loads(p.value) for p in made.metadata_props}
            for name, made in self.made.items()
        }
        options = ort.SessionOptions()
        options.log_severity_level = 3
        # By default what is multiplied by int8 matrices has 8 bits then, too.
        options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
        self.sessions = {
            name: ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
            for name, file in files.items()
        }

    def __call__(self, name, arrays):
        session = self.sessions[name]
        names = [o.name for o in session.get_outputs()]
        return dict(zip(names, session.run(None, arrays), strict=True))


class ByTorch:
    """The same by the modules of PyTorch."""

    def __init__(self, model, folder, **how):
        self.torch = pytest.importorskip("torch")
        from safetensors.numpy import save_file

        source, self.arrays = torch_form.to_torch(model, "m.safetensors", **how)
        save_file(self.arrays, folder / "m.safetensors")
        (folder / "m.py").write_text(source)
        found = importlib.util.spec_from_file_location("m", folder / "m.py")
        self.module = importlib.util.module_from_spec(found)
        found.loader.exec_module(self.module)
        graphs = graphs_of(model, how.get("in_bytes", False), how.get("sequence", False))
        self.outputs = {name: list(graph.outputs) for name, graph in graphs.items()}
        self.models = {name: getattr(self.module, name.capitalize())() for name in graphs}

    def __call__(self, name, arrays):
        made = self.models[name](**{n: self.torch.tensor(a) for n, a in arrays.items()})
        made = made if isinstance(made, tuple) else (made,)
        return {n: y.detach().numpy() for n, y in zip(self.outputs[name], made, strict=True)}


def check(model, form, folder, **how):
    """Hold all graphs of ``model`` in a form against the reference, for some sizes."""
    made = form(model, folder, **how)
    for name, graph in graphs_of(model, False, how.get("sequence", False)).items():
        for batch, steps in ((1, 1), (3, 1), (1, 7), (3, 7)):
            arrays = given(graph, batch, steps)
            found, expected = made(name, arrays), right(graph, arrays)
            assert list(found) == list(graph.outputs)
            for out, y in expected.items():
                assert found[out].dtype == y.dtype and found[out].shape == y.shape, (name, out)
                close = (
                    {"rtol": 2e-5, "atol": 2e-6} if y.dtype == np.float32 else {"rtol": 1e-9, "atol": 1e-12}
                )
                np.testing.assert_allclose(found[out], y, **close, err_msg=f"{name} {out} {batch} {steps}")
    return made
