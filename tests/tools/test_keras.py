"""Weights of Keras 3: files as it writes them, read and written, and Keras itself where it is installed."""

import os

import numpy as np
import pytest
from click.testing import CliRunner

import tinyrnn as tr
from tinyrnn.cli import main
from tinyrnn.tasks.lm.model import LanguageModel

h5py = pytest.importorskip("h5py")
F, H, T, B = 3, 4, 5, 2


def drawn(*shapes):
    random = np.random.default_rng(0)
    return [random.standard_normal(shape) for shape in shapes]


def written(path, arrays):
    """A file in Keras' layout; with the names of layers and a seed, which Keras writes too."""
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
            file[name.rpartition("/")[0]].attrs["name"] = "a_name"
        file["layers/dropout/seed_generator/vars/0"] = np.zeros(2, np.uint32)
        file["optimizer/vars/0"] = np.zeros(3)
    return path


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(x, h, c, W, U, b):
    """Keras' LSTMCell: i, f, c, o."""
    i, f, g, o = np.split(x @ W + h @ U + b, 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru(x, h, W, U, b):
    """Keras' GRUCell: z, r, h; with reset_after its bias has two rows."""
    xz, xr, xh = np.split(x @ W + (b[0] if b.ndim == 2 else b), 3, axis=1)
    if b.ndim == 2:
        hz, hr, hh = np.split(h @ U + b[1], 3, axis=1)
        z, r = sigmoid(xz + hz), sigmoid(xr + hr)
        n = np.tanh(xh + r * hh)
    else:
        hz, hr = np.split(h @ U[:, : 2 * H], 2, axis=1)
        z, r = sigmoid(xz + hz), sigmoid(xr + hr)
        n = np.tanh(xh + (r * h) @ U[:, 2 * H :])
    return (z * h + (1 - z) * n,)


def simple(x, h, W, U, b):
    return (np.tanh(x @ W + h @ U + b),)


STEPS = {"lstm": (lstm, 4, 2), "gru": (gru, 3, 1), "simple_rnn": (simple, 1, 1)}


def loop(kind, xs, arrays, back=False):
    step, _, count = STEPS[kind.removesuffix(" before")]
    states, ys = [np.zeros((xs.shape[1], H))] * count, []
    for x in xs[::-1] if back else xs:
        states = step(x, *states, *arrays)
        ys.append(states[0])
    return np.stack(ys[::-1] if back else ys)


KINDS = ["lstm", "gru", "gru before", "simple_rnn"]


def weights(kind, width, seed):
    gates = STEPS[kind.removesuffix(" before")][1] * H
    random = np.random.default_rng(seed)
    bias = (2, gates) if kind == "gru" else (gates,)
    return [0.7 * random.standard_normal(shape) for shape in ((width, gates), (H, gates), bias)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 11])
def test_recurrent_layers_by_the_equations_of_keras(kind, both, depth, tmp_path):
    """Eleven layers, since the tenth stands before the second in a file."""
    arrays, (xs,) = {}, drawn((T, B, F))
    layer = "bidirectional" if both else kind.removesuffix(" before")
    ys = xs
    for i in range(depth):
        joined = []
        for back in range(1 + both):
            own = weights(kind, ys.shape[2], 2 * i + back)
            place = ("/forward_layer", "/backward_layer")[back] if both else ""
            folder = f"layers/{layer}{f'_{i}' * bool(i)}{place}/cell/vars"
            arrays |= {f"{folder}/{n}": a for n, a in enumerate(own)}
            joined.append(loop(kind, ys, own, back))
        ys = np.concatenate(joined, axis=2)
    said = {"activation": "tanh"} if kind == "simple_rnn" else {}
    rnn = tr.from_keras(written(tmp_path / "a.weights.h5", arrays), **said)
    rnn.compile = False
    assert (rnn.num_layers, rnn.directions) == (depth, 1 + both)
    np.testing.assert_allclose(rnn(xs)[0].numpy(), ys, rtol=1e-12, atol=1e-12)
    tr.to_keras(rnn, tmp_path / "b.weights.h5")
    again = tr.from_keras(tmp_path / "b.weights.h5", **said)
    for one, other in zip(rnn.parameters(), again.parameters(), strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    with h5py.File(tmp_path / "b.weights.h5") as file:
        for name, array in arrays.items():
            assert file[name].shape == array.shape
            if "gru" not in kind or not name.endswith("/2"):
                np.testing.assert_allclose(file[name], array, rtol=1e-15)


def test_without_a_bias(tmp_path):
    W, U, _ = weights("gru", F, 0)
    file = written(tmp_path / "a.weights.h5", {"layers/gru/cell/vars/0": W, "layers/gru/cell/vars/1": U})
    with pytest.raises(tr.InputError, match="layers/gru needs reset_after=True or False"):
        tr.from_keras(file)
    xs = drawn((T, B, F))[0]
    for after, bias in ((True, np.zeros((2, 3 * H))), (False, np.zeros(3 * H))):
        found = tr.from_keras(file, reset_after=after)(xs)[0].numpy()
        np.testing.assert_allclose(found, loop("gru", xs, [W, U, bias]), rtol=1e-12, atol=1e-12)


def language_arrays(kind, symbols):
    arrays = {"layers/embedding/vars/0": drawn((symbols, F))[0]}
    for i, width in enumerate((F, H)):
        folder = f"layers/{kind}{'_1' * i}/cell/vars"
        arrays |= {f"{folder}/{n}": a for n, a in enumerate(weights(kind, width, i))}
    W, b = drawn((H, symbols), (symbols,))
    return arrays | {"layers/dense/vars/0": W, "layers/dense/vars/1": b}


def test_language_models(tmp_path):
    arrays = language_arrays("gru", 7)
    file = written(tmp_path / "a.weights.h5", arrays)
    model = tr.from_keras(file, symbols="abcdefg")
    assert isinstance(model, LanguageModel)
    ids = np.random.default_rng(0).integers(0, 7, (T, B))
    ys = arrays["layers/embedding/vars/0"][ids]
    for layer in ("gru", "gru_1"):
        ys = loop("gru", ys, [arrays[f"layers/{layer}/cell/vars/{n}"] for n in range(3)])
    logits = ys @ arrays["layers/dense/vars/0"] + arrays["layers/dense/vars/1"]
    np.testing.assert_allclose(model(ids)[0].numpy(), logits, rtol=1e-12, atol=1e-12)
    tr.to_keras(model, tmp_path / "b.weights.h5")
    again = tr.from_keras(tmp_path / "b.weights.h5", symbols="abcdefg")
    np.testing.assert_array_equal(again(ids)[0].numpy(), model(ids)[0].numpy())
    parts = tr.from_keras(file)
    assert sorted(parts) == ["layers/dense", "layers/embedding", "layers/gru"]
    (tmp_path / "symbols.txt").write_text("abcdefg")
    command = ["import", file, "--symbols", tmp_path / "symbols.txt", "--out", tmp_path / "run"]
    done = CliRunner().invoke(main, [str(a) for a in command])
    assert done.exit_code == 0, done.output
    np.testing.assert_array_equal(tr.load(tmp_path / "run")(ids)[0].numpy(), model(ids)[0].numpy())


REFUSED = [
    ({"layers/simple_rnn/cell/vars/0": (F, H), "layers/simple_rnn/cell/vars/1": (H, H)}, "needs activation="),
    ({"layers/conv/vars/0": (3, F, H), "layers/conv/vars/1": (H,)}, "layers/conv of [3, 3, 4], [4] is no"),
    ({"layers/x/vars/0": (F, H)}, "layers/x of [3, 4] is no recurrent layer, Dense or Embedding"),
    ({"layers/lstm/cell/vars/0": (F, 8), "layers/lstm/cell/vars/1": (H, 8)}, "is no SimpleRNN, LSTM or GRU"),
    ({"layers/lstm/cell/vars/0": (F, H)}, "is no SimpleRNN, LSTM or GRU"),
    ({"layers/b/forward_layer/cell/vars/0": (F, H)}, "holds /forward_layer/cell: not the cell"),
    ({"dense/kernel": (F, H)}, "holds no weights of layers"),
]


@pytest.mark.parametrize(("shapes", "said"), REFUSED)
def test_what_has_no_counterpart_is_one_sentence(shapes, said, tmp_path):
    file = tmp_path / "a.weights.h5"
    with h5py.File(file, "w") as made:
        for name, shape in shapes.items():
            made[name] = np.ones(shape)
    with pytest.raises(tr.InputError) as error:
        tr.from_keras(file)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_other_files_and_layers(tmp_path):
    (tmp_path / "a.weights.h5").write_text("no")
    with pytest.raises(tr.InputError, match="cannot be read as a file of Keras 3"):
        tr.from_keras(tmp_path / "a.weights.h5")
    with pytest.raises(tr.InputError, match="a name that ends in .weights.h5"):
        tr.to_keras(tr.RNN("lstm", 2, 3), tmp_path / "a.h5")
    with pytest.raises(tr.InputError, match="LayerNormGRU has no counterpart"):
        tr.to_keras(tr.RNN("ln-gru", 2, 3), tmp_path / "a.weights.h5")
    with pytest.raises(tr.InputError, match="a Linear is not known there"):
        tr.to_keras(tr.Linear(2, 3), tmp_path / "a.weights.h5")
    (tmp_path / "b").mkdir()
    with h5py.File(tmp_path / "b" / "other.h5", "w") as file:
        file["0"], file["1"] = np.ones((F, H)), np.ones(H)
    with h5py.File(tmp_path / "c.weights.h5", "w") as file:  # what another file holds is not read
        file["layers/dense/vars"] = h5py.ExternalLink(tmp_path / "b" / "other.h5", "/")
    with pytest.raises(tr.InputError, match="holds no weights of layers"):
        tr.from_keras(tmp_path / "c.weights.h5")
    for how in (
        {"external": [(tmp_path / "a.weights.h5", 0, 24)]},
        {"shape": (10**6, 10**6), "chunks": (9, 9)},
    ):
        with h5py.File(tmp_path / "d.weights.h5", "w") as file:
            file.create_dataset("layers/dense/vars/0", **{"shape": (3, 1), "dtype": "f8", **how})
        with pytest.raises(tr.InputError, match="is no array that is in the file"):
            tr.from_keras(tmp_path / "d.weights.h5")


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
@pytest.mark.parametrize("own", [{}, {"use_bias": False}, {"reset_after": False}])
@pytest.mark.filterwarnings("ignore")  # Keras has some of its own
def test_keras_itself(kind, own, both, tmp_path, monkeypatch):
    if kind != "GRU" and "reset_after" in own:
        pytest.skip("of a GRU alone")
    monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "numpy"))
    keras = pytest.importorskip("keras", minversion="3")
    layers, random = keras.layers, np.random.default_rng(0)

    def made():
        stack = [getattr(layers, kind)(H, return_sequences=True, **own) for _ in range(2)]
        stack = [layers.Bidirectional(layer) for layer in stack] if both else stack
        ends = layers.Embedding(7, F), layers.Dense(7)
        return keras.Sequential([keras.Input((None,), dtype="int32"), ends[0], *stack, ends[1]])

    theirs = made()
    theirs.set_weights([0.7 * random.standard_normal(w.shape) for w in theirs.get_weights()])
    theirs.save_weights(tmp_path / "a.weights.h5")
    said = {"activation": "tanh"} if kind == "SimpleRNN" else {}
    said |= {"reset_after": True} if kind == "GRU" and own == {"use_bias": False} else {}
    ids = random.integers(0, 7, (T, B))
    expected = np.asarray(keras.ops.convert_to_numpy(theirs(ids.T))).transpose(1, 0, 2)
    parts = tr.from_keras(tmp_path / "a.weights.h5", **said)
    (rnn,) = [layer for layer in parts.values() if isinstance(layer, tr.RNN)]
    rnn.compile = False
    ys = parts["layers/dense"](rnn(parts["layers/embedding"](ids))[0])
    np.testing.assert_allclose(ys.numpy(), expected, rtol=1e-4, atol=1e-5)
    if not both and "use_bias" not in own:
        model = tr.from_keras(tmp_path / "a.weights.h5", symbols="abcdefg", **said)
        tr.to_keras(model, tmp_path / "b.weights.h5")
        again = made()
        again.load_weights(tmp_path / "b.weights.h5")
        found = np.asarray(keras.ops.convert_to_numpy(again(ids.T))).transpose(1, 0, 2)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
