"""What models say that they compute, as graphs, against the models themselves."""

import dataclasses

import numpy as np
import pytest

import tinyrnn as tr
from tinyrnn.nn.registry import registered
from tinyrnn.tasks.classify.model import Classifier
from tinyrnn.tasks.forecast.series import read_series
from tinyrnn.tasks.lm.model import LanguageModel
from tinyrnn.tasks.text.vocabulary import Characters
from tinyrnn.tasks.translate.model import Translator

SYMBOLS = Characters("abcdefgh")
SHAPE = dict(hidden=6, embed=5, dtype="float64", seed=1)


def again(graph, made):
    """The states of a graph after a call that made these outputs."""
    return {name: made[new] for name, (_, new) in graph.states.items()}


@pytest.mark.parametrize("cell", registered())
def test_a_language_model(cell, rng):
    model = LanguageModel(SYMBOLS, cell=cell, layers=2, **SHAPE).eval()
    ids, states, wanted = rng.integers(0, 8, (4, 3)), None, []
    for row in ids:
        logits, states = model.step(row, states)
        wanted.append(logits)
    of_sequences = model.graphs(over_time=True)["step"].run(ids=ids)
    np.testing.assert_allclose(of_sequences["logits"], wanted, rtol=1e-9, atol=1e-12)
    graph, before = model.graphs()["step"], {}
    for row in ids:
        made = graph.run(ids=row, **before)
        before = again(graph, made)
    np.testing.assert_allclose(made["logits"], wanted[-1], rtol=1e-9, atol=1e-12)
    for s, name in zip(model.rnn.flat(states), before, strict=True):
        np.testing.assert_allclose(before[name], s.numpy().reshape(3, -1), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
def test_a_classifier(pooling, bidirectional, rng):
    of = dict(cell="gru", layers=2, pooling=pooling, bidirectional=bidirectional)
    model = Classifier(SYMBOLS, ["x", "y", "z"], **of, **SHAPE).eval()
    ids = rng.integers(0, 8, (4, 3))
    with tr.no_grad():
        wanted = tr.softmax(model(ids, np.ones((4, 3))), axis=-1).numpy()
    found = model.graphs()["classify"].run(ids=ids)["probabilities"]
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


@pytest.mark.parametrize("attention", ["luong", "bahdanau"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_translator(attention, cell, rng):
    model = Translator(SYMBOLS, SYMBOLS, cell=cell, layers=2, attention=attention, **SHAPE).eval()
    ids, fed = rng.integers(0, 8, (5, 3)), rng.integers(0, 9, (4, 3))
    with tr.no_grad():
        logits, weights = model(ids, np.ones((5, 3)), fed)
    graphs = model.graphs()
    states = graphs["read"].run(ids=ids)
    memory = {name: states.pop(name) for name in ("keys", "projected")}
    for t, row in enumerate(fed):
        made = graphs["step"].run(ids=row, **memory, **states)
        np.testing.assert_allclose(made["logits"], logits.numpy()[t], rtol=1e-8)
        np.testing.assert_allclose(made["weights"][:, :, 0].T, weights.numpy()[t], rtol=1e-8)
        states = again(graphs["step"], made)


@pytest.fixture(scope="module")
def seasonal(tmp_path_factory):
    path, t = tmp_path_factory.mktemp("series") / "a.csv", np.arange(130)
    y = 100 + 0.5 * t + 20 * np.sin(2 * np.pi * t / 12) + np.random.default_rng(0).normal(0, 3, 130)
    path.write_text("y\n" + "\n".join(f"{v:.3f}" for v in y))
    return path


def forecast(graphs, series, model):
    """Forecasts ``[3, horizon]`` by the three graphs of a forecaster."""
    values = series.values[:, 0][:, None, None]
    phases = np.array([[series.phase(series.dates[:1], season)[0] for season in model.seasons]])
    before = graphs["read"].run(values=values, first_phases=phases)
    step, end, said = graphs["step"], graphs["end"], [before["said"]]
    given = {x.name: before[x.name] for x in step.inputs if x.name in before}
    for _ in range(model.horizon - 1):
        made = step.run(**given)
        said.append(made["said"])
        given |= again(step, made)
    known = {x.name: before[x.name] for x in end.inputs if x.name != "said"}
    made = end.run(said=np.concatenate(said, axis=-1), **known)
    return np.concatenate([made[name] for name in ("forecast", "lower", "upper")])


@pytest.mark.parametrize("how", [
    {}, {"difference": "1,12"}, {"difference": "0"}, {"difference": "1", "log": True}, {"log": True},
    {"season": 12, "head": "quantile"}, {"ensemble": 2},
], ids=str)  # fmt: skip
def test_a_forecaster(seasonal, tmp_path, how):
    shape = dict(horizon=5, window=24, hidden=4, layers=2, steps=2, dtype="float64", threads=1, quiet=True)
    model = tr.train(seasonal, "forecast", out=tmp_path / "run", **shape, **how).model
    noise = np.random.default_rng(1)
    for p in model.parameters():  # untrained networks say nothing
        p.assign_(p.numpy() + noise.normal(0, 0.3, p.shape))
    model.trust = 1.0
    # more than the window, and where smoothing needs fewer, fewer; intervals as networks say, and even ones
    for rows, even in ((130, False), (130, True), (model.needed + 1, False)):
        model.even = even
        whole = read_series(seasonal)
        last = {name: getattr(whole, name)[-rows:] for name in ("values", "dates", "known")}
        series = dataclasses.replace(whole, **last)
        wanted = model.forecast(series)[:, 0]
        np.testing.assert_allclose(forecast(model.graphs(), series, model), wanted, rtol=1e-9)


def test_what_has_no_graph_says_why(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("y,z\n" + "\n".join(f"{t % 7 + t},{t % 3}" for t in range(90)))
    shape = dict(target="y", horizon=3, window=8, hidden=4, steps=2, quiet=True)
    run = tr.train(path, "forecast", out=tmp_path / "r", **shape)
    with pytest.raises(tr.InputError, match="several columns or series cannot be written out yet"):
        run.model.graphs()
