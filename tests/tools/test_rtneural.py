"""RTNeural's JSON, read and run as its own files do: model_loader.h, lstm.tpp, gru.tpp."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import tinyrnn as tr
from tinyrnn.cli import main
from tinyrnn.tasks.lm.model import LanguageModel
from tinyrnn.tasks.text.vocabulary import Characters
from tinyrnn.tools.export.rtneural import to_rtneural


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class RTNeural:
    """A model of what it parsed, one sample after the other."""

    def __init__(self, text):
        model = json.loads(text)
        self.width, self.layers = model["in_shape"][-1], model["layers"]
        self.states = [np.zeros((2, layer["shape"][-1])) for layer in self.layers]

    def forward(self, x):
        assert x.shape == (self.width,)
        for layer, state in zip(self.layers, self.states, strict=True):
            x = getattr(self, layer["type"])(x, state, layer["shape"][-1], *map(np.array, layer["weights"]))
            if layer["type"] == "dense" and layer["activation"]:
                x = {"tanh": np.tanh, "sigmoid": sigmoid}[layer["activation"]](x)
        return x

    def dense(self, x, state, n, W, b):
        return x @ W + b

    def lstm(self, x, state, n, W, U, b):
        i, f, c, o = ((x @ W + state[0] @ U + b)[k * n : (k + 1) * n] for k in range(4))
        state[1] = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(c)
        state[0] = sigmoid(o) * np.tanh(state[1])
        return state[0].copy()

    def gru(self, x, state, n, W, U, b):
        assert b.shape == (2, 3 * n)
        z, r = (sigmoid((x @ W + b[0] + state[0] @ U + b[1])[k * n : (k + 1) * n]) for k in range(2))
        c = np.tanh((x @ W + b[0])[2 * n :] + r * (state[0] @ U + b[1])[2 * n :])
        state[0] = (1 - z) * c + z * state[0]
        return state[0].copy()


CELLS = [("lstm", {}), ("gru", {"reset_after": True})]


def drawn(module):
    random = np.random.default_rng(0)
    for p in module.parameters():
        p.assign_(0.7 * random.standard_normal(p.shape))
    return module


@pytest.mark.parametrize(("cell", "options"), CELLS)
def test_an_effect(cell, options):
    shape = dict(num_layers=2, dtype="float64", cell_options=options)
    rnn = drawn(tr.RNN(cell, 2, 5, **shape))
    first, last = (drawn(tr.Linear(5, n, dtype="float64", bias=n == 1)) for n in (5, 1))
    model = RTNeural(to_rtneural([rnn, first, "tanh", last]))
    xs = np.random.default_rng(1).standard_normal((8, 2))
    expected = last(tr.tanh(first(rnn(xs[:, None])[0]))).numpy()[:, 0]
    np.testing.assert_allclose([model.forward(x) for x in xs], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("cell", "options"), CELLS)
@pytest.mark.parametrize("tie", [False, True])
def test_a_language_model(cell, options, tie):
    vocabulary = Characters.build(["abcde"], None)
    made = LanguageModel(vocabulary, cell=cell, cell_options=options, hidden=4, embed=4, tie=tie, layers=2)
    model, text = drawn(made), to_rtneural(made)
    assert json.loads(text)["symbols"] == list("abcde")
    assert len(text) < 20 * sum(p.size for p in model.parameters()) + 999  # no digits that mean nothing
    run, ids = RTNeural(text), np.random.default_rng(1).integers(0, 5, 9)
    found = [run.forward(np.eye(5)[i]) for i in ids]
    np.testing.assert_allclose(found, model(ids[:, None])[0].numpy()[:, 0], rtol=1e-5, atol=1e-5)


def test_numbers_are_those_of_the_model():
    layer = drawn(tr.Linear(3, 2))
    ((kernel, bias),) = [part["weights"] for part in json.loads(to_rtneural([layer]))["layers"]]
    np.testing.assert_array_equal(np.float32(kernel), layer.weight.numpy())
    np.testing.assert_array_equal(np.float32(bias), layer.bias.numpy())


LSTM, LINEAR = tr.RNN("lstm", 1, 3), tr.Linear(3, 1)
REFUSED = [
    ([tr.RNN("lstm", 1, 3, bidirectional=True)], "reads step by step"),
    ([tr.RNN("gru", 1, 3)], "gru without reset_after has no counterpart in RTNeural"),
    ([tr.RNN("rnn", 1, 3)], "no simple recurrent cell"),
    ([tr.RNN("ln-lstm", 1, 3)], "LayerNormLSTM has no counterpart"),
    ([tr.RNN("lstm", 1, 3, zoneout=0.1)], "zoneout is part of the step"),
    ([LSTM, tr.LayerNorm(3)], "nothing for a LayerNorm"),
    ([LSTM, "tanh"], "nothing for 'tanh'"),
    ([LSTM, LINEAR, "gelu"], "nothing for 'gelu'"),
    ([LINEAR, LINEAR], "reads 3 numbers, and the one before it gives 1"),
    ([], "no layer to write"),
]


@pytest.mark.parametrize(("layers", "said"), REFUSED)
def test_what_it_does_not_know_is_one_sentence(layers, said):
    with pytest.raises(tr.InputError) as error:
        to_rtneural(layers)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_the_command(text_file, tmp_path):
    settings = dict(hidden=6, embed=5, seq_len=10, batch_size=4, steps=2, quiet=True)
    run = tr.train(text_file, cell="lstm", out=tmp_path / "run", **settings)
    invoke = CliRunner().invoke
    for _ in range(2):  # it replaces what it wrote
        done = invoke(main, ["export", str(run.path), "--format", "rtneural"])
        assert done.exit_code == 0 and done.stdout.strip() == str(tmp_path / "run" / "model.json"), (
            done.output
        )
    model = RTNeural((tmp_path / "run" / "model.json").read_text(encoding="utf-8"))
    found = model.forward(np.eye(len(run.model.vocabulary))[0])
    np.testing.assert_allclose(found, run.model(np.zeros((1, 1), int))[0].numpy()[0, 0], rtol=1e-5, atol=1e-6)
    done = invoke(main, ["export", str(run.path), "--format", "rtneural", "--weights", "int8"])
    assert done.exit_code == 2 and "holds floats" in done.stderr
    (tmp_path / "mine.json").write_text("{}")
    done = invoke(
        main, ["export", str(run.path), "--format", "rtneural", "--out", str(tmp_path / "mine.json")]
    )
    assert done.exit_code == 2 and (tmp_path / "mine.json").read_text() == "{}"
