"""`tinyrnn.sklearn`: estimators with scikit-learn's conventions, and the picture of their errors."""

import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinyrnn as tr

pytest.importorskip("sklearn", "1.6")  # earlier ones cannot be told which checks do not apply

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from tinyrnn.sklearn import SequenceClassifier, SequenceRegressor, SequenceTagger, plot_errors

SMALL = dict(hidden_size=8, epochs=8, batch_size=16, lr=2e-2, random_state=0)
RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 5, 2))
LABELS = np.where(X[:, :, 0].sum(axis=1) > 0, "up", "down")
VALUES = X[:, :, 0].sum(axis=1) * 3 + 100
STEPS = X[:, :, 0] * 3 + 100
RAGGED = [x[: 2 + i % 4] for i, x in enumerate(X)]
TAGS = [np.where(x[:, 0] > 0, "hi", "lo") for x in RAGGED]


def equal(a, b):
    return all(np.array_equal(one, other) for one, other in zip(a, b, strict=True))


# ------------------------------------------------------------------ scikit-learn's own checks

COLUMNS_ARE_STEPS = "a matrix is samples by steps of one feature: another number of columns is another length"
DO_NOT_APPLY = {
    "check_n_features_in": COLUMNS_ARE_STEPS,
    "check_n_features_in_after_fitting": COLUMNS_ARE_STEPS,
    "check_classifiers_train": COLUMNS_ARE_STEPS,
    "check_estimators_empty_data_messages": "no columns are no steps, and that is what the error says",
    "check_dtype_object": "what is no number is an InputError, a ValueError, whatever it is",
}


@parametrize_with_checks(
    [
        SequenceClassifier(**SMALL | dict(dtype="float64")),
        SequenceRegressor(**SMALL | dict(dtype="float64", epochs=12, lr=5e-2)),
    ],
    expected_failed_checks=lambda estimator: DO_NOT_APPLY,
)
def test_conventions(estimator, check):
    check(estimator)


# ------------------------------------------------------------------ what comes in and goes out


def test_a_classifier_labels_sequences():
    model = SequenceClassifier(**SMALL | dict(epochs=30))
    assert model.fit(X, LABELS) is model
    assert model.classes_.tolist() == ["down", "up"] and model.n_features_in_ == 2
    assert model.score(X, LABELS) > 0.95
    probabilities = model.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert equal(model.classes_[probabilities.argmax(axis=1)], model.predict(X))
    assert len(model.history_["train_loss"]) == 30 and model.history_["val_loss"] == []
    assert model.history_["train_loss"][-1] < model.history_["train_loss"][0] / 3


@pytest.mark.parametrize("labels", [LABELS == "up", np.where(LABELS == "up", 7, -2), LABELS.astype(object)])
def test_labels_come_back_as_they_were(labels):
    said = SequenceClassifier(**SMALL).fit(X, list(labels)).predict(X)
    assert set(said.tolist()) <= set(labels.tolist()) and said.shape == (60,)
    assert type(said.tolist()[0]) is type(labels.tolist()[0])


@pytest.mark.parametrize("y", [VALUES, np.stack([VALUES, -VALUES, VALUES / 10], axis=1)], ids=["N", "N,K"])
def test_a_regressor_values_sequences(y):
    model = SequenceRegressor(**SMALL | dict(epochs=60)).fit(X, y)
    assert not model.per_step_
    assert model.predict(X).shape == y.shape and model.score(X, y) > 0.9
    assert SequenceRegressor(**SMALL).fit(RAGGED, y).predict(RAGGED).shape == y.shape


@pytest.mark.parametrize("y", [STEPS, np.stack([STEPS, -STEPS], axis=2)], ids=["N,T", "N,T,K"])
def test_a_regressor_values_steps(y):
    model = SequenceRegressor(**SMALL | dict(epochs=60)).fit(X, y)
    assert model.per_step_
    assert model.predict(X).shape == y.shape and model.score(X, y) > 0.9
    parts = [target[: len(x)] for target, x in zip(y, RAGGED, strict=True)]
    ragged = SequenceRegressor(**SMALL | dict(epochs=60)).fit(RAGGED, parts)
    assert [part.shape for part in ragged.predict(RAGGED)] == [part.shape for part in parts]
    assert ragged.score(RAGGED, parts) > 0.9
    assert isinstance(ragged.predict(list(X)), list) and ragged.predict(X).shape == y.shape


def test_pooling_says_what_as_many_values_as_steps_are():
    assert SequenceRegressor(**SMALL).fit(X, STEPS).per_step_
    values = SequenceRegressor(**SMALL, pooling="mean").fit(X, STEPS)
    assert not values.per_step_ and values.predict(X[:, :3]).shape == (60, 5)
    assert not SequenceRegressor(**SMALL).fit(X[:, :4], STEPS).per_step_
    with pytest.raises(tr.InputError, match="sample 0: y has shape .5., X has 4 steps"):
        SequenceRegressor(**SMALL, pooling=None).fit(X[:, :4], STEPS)


def test_a_tagger_labels_steps():
    model = SequenceTagger(**SMALL | dict(epochs=40)).fit(RAGGED, TAGS)
    said = model.predict(RAGGED)
    assert [len(tags) for tags in said] == [len(x) for x in RAGGED] and said[0].dtype == TAGS[0].dtype
    assert model.score(RAGGED, TAGS) > 0.95
    assert [p.shape for p in model.predict_proba(RAGGED)] == [(len(x), 2) for x in RAGGED]
    assert model.predict(X).shape == (60, 5)
    assert equal(said, clone(model).fit(RAGGED, [list(tags) for tags in TAGS]).predict(RAGGED))
    weights = np.arange(60.0)
    right = [(a == b) * w for a, b, w in zip(said, TAGS, weights, strict=True)]
    total = sum(len(tags) * w for tags, w in zip(TAGS, weights, strict=True))
    assert model.score(RAGGED, TAGS, weights) == pytest.approx(np.concatenate(right).sum() / total)


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
def test_what_a_sequence_is_padded_with_changes_nothing(pooling):
    model = SequenceClassifier(**SMALL | dict(dtype="float64"), pooling=pooling, bidirectional=True)
    model.fit(RAGGED, LABELS)
    alone = [model.predict_proba([x])[0] for x in RAGGED[:6]]
    np.testing.assert_allclose(model.predict_proba(RAGGED)[:6], alone, rtol=1e-12)


@pytest.fixture
def frames():
    """The same ragged samples, features ``a`` and ``b``, as a frame of steps and as one of sequences."""
    pandas = pytest.importorskip("pandas")
    names = [f"s{i:02}" for i in range(60)][::-1]
    index = [(name, step) for name, x in zip(names, RAGGED, strict=True) for step in range(len(x))]
    index = pandas.MultiIndex.from_tuples(index, names=["sample", "step"])
    long = pandas.DataFrame(np.concatenate(RAGGED), index=index, columns=["a", "b"])
    nested = pandas.DataFrame({"a": [x[:, 0] for x in RAGGED], "b": [x[:, 1] for x in RAGGED]}, index=names)
    return long, nested, pandas.Series(LABELS, index=names)


def test_frames_are_read_as_what_they_are(frames):
    long, nested, labels = frames
    plain = SequenceClassifier(**SMALL).fit(RAGGED, LABELS).predict_proba(RAGGED)
    for X_frame in (long, nested):
        model = SequenceClassifier(**SMALL).fit(X_frame, labels)
        assert equal(model.predict_proba(X_frame), plain) and model.score(X_frame, labels) > 0.5
        assert model.feature_names_in_.tolist() == ["a", "b"]
        with pytest.raises(tr.InputError, match=r"columns \['b', 'a'\]: give \['a', 'b'\]"):
            model.predict(X_frame[["b", "a"]])
    tags = long["a"].gt(0)
    assert [len(t) for t in SequenceTagger(**SMALL).fit(long, tags).predict(long)] == [*map(len, RAGGED)]
    matrix = type(long)(X[:, :, 0])
    assert SequenceRegressor(**SMALL).fit(matrix, type(long)(STEPS)).predict(matrix).shape == (60, 5)


def test_frames_in_another_order_are_not_taken_for_the_same(frames):
    long, _, labels = frames
    model = SequenceClassifier(**SMALL).fit(long, labels)
    for call in (clone(model).fit, model.score):
        with pytest.raises(tr.InputError, match="y is indexed by other samples"):
            call(long, labels.sort_index())
    with pytest.raises(tr.InputError, match="y is indexed by other samples"):
        SequenceTagger(**SMALL).fit(long, long["a"].gt(0).sort_index())
    with pytest.raises(tr.InputError, match="the steps of sample 's59' do not ascend"):
        model.fit(long.iloc[::-1].sort_index(level=0, sort_remaining=False, ascending=False), labels)


# ------------------------------------------------------------------ training


@pytest.mark.parametrize(
    "options", [{}, dict(dropout=0.3, num_layers=2, validation_fraction=0.2, cell="lstm")]
)
def test_the_same_seed_gives_the_same_bits(options):
    model = SequenceClassifier(**SMALL, **options)
    first = model.fit(RAGGED, LABELS).network_.state_dict()
    again = model.fit(RAGGED, LABELS).network_.state_dict()
    other = clone(model).set_params(random_state=1).fit(RAGGED, LABELS).network_.state_dict()
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not any(np.array_equal(first[name], other[name]) for name in first if "weight" in name)


def test_early_stopping_keeps_the_best_weights(rng):
    noise = rng.standard_normal(60)
    model = SequenceRegressor(**SMALL | dict(epochs=60), validation_fraction=0.3, patience=4).fit(X, noise)
    losses = model.history_["val_loss"]
    best = int(np.argmin(losses))
    assert len(losses) == len(model.history_["train_loss"]) == best + 5 < 60
    held = np.random.default_rng(model.network_.settings["seed"]).permutation(60)[:18]
    scaled = (model.predict(X) - noise)[held] / model.target_scale_
    assert np.mean(scaled**2) == pytest.approx(losses[best], rel=1e-4)
    longer = clone(model).set_params(patience=None).fit(X, noise)  # goes the same way, and on
    assert len(longer.history_["val_loss"]) == 60 and longer.history_["val_loss"][: best + 5] == losses


def test_inputs_are_scaled_by_the_samples_that_are_trained_on():
    shifted = X * [1e4, 1e-4] + [1e6, -3]
    kept = SequenceClassifier(**SMALL).fit(X, LABELS).predict_proba(X)
    np.testing.assert_allclose(
        SequenceClassifier(**SMALL).fit(shifted, LABELS).predict_proba(shifted), kept, atol=1e-3
    )
    model = SequenceClassifier(**SMALL, validation_fraction=0.5).fit(shifted, LABELS)
    assert not np.allclose(model.input_mean_, shifted.mean(axis=(0, 1)), rtol=1e-12)
    values = SequenceRegressor(**SMALL, validation_fraction=0.5).fit(X, VALUES)
    order = np.random.default_rng(values.network_.settings["seed"]).permutation(60)
    assert values.target_mean_ == pytest.approx(VALUES[order[30:]].mean(), rel=1e-12)
    raw = SequenceClassifier(**SMALL, standardise=False).fit(X, LABELS)
    assert raw.input_mean_.tolist() == [0, 0] and raw.input_scale_.tolist() == [1, 1]
    constant = np.concatenate([X, np.full((60, 5, 1), 0.1)], axis=2)
    assert SequenceClassifier(**SMALL).fit(constant, LABELS).input_scale_[2] == 1


def test_verbose_prints_a_line_an_epoch(capsys):
    SequenceClassifier(**SMALL | dict(epochs=2), verbose=True, validation_fraction=0.2).fit(X, LABELS)
    assert re.fullmatch(r"(epoch +\d  train \d\.\d{4}  validation \d\.\d{4}\n){2}", capsys.readouterr().out)


def test_every_cell_with_its_options():
    model = SequenceClassifier(**SMALL, cell="lstm", cell_options={"peephole": True}).fit(X, LABELS)
    assert type(model.network_.rnn.cells[0]) is tr.cells.get_cell("lstm")
    assert SequenceClassifier(**SMALL, cell=tr.cells.get_cell("gru")).fit(X, LABELS).score(X, LABELS) > 0.5


# ------------------------------------------------------------------ beside scikit-learn


def test_in_pipelines_and_searches():
    scores = cross_val_score(SequenceClassifier(**SMALL | dict(epochs=20)), X, LABELS, cv=3)
    assert scores.shape == (3,) and scores.mean() > 0.8
    assert cross_val_score(SequenceTagger(**SMALL), RAGGED, TAGS, cv=2).shape == (2,)
    search = GridSearchCV(
        SequenceRegressor(**SMALL), {"hidden_size": np.array([4, 8]), "lr": [1e-3, 3e-2]}, cv=2
    )
    search.fit(RAGGED, [steps[: len(x)] for steps, x in zip(STEPS, RAGGED, strict=True)])
    assert search.best_params_["lr"] == 3e-2
    piped = make_pipeline(FunctionTransformer(np.diff, kw_args={"axis": 1}), SequenceClassifier(**SMALL))
    assert piped.fit(X, LABELS).predict(X).shape == (60,)
    flat = make_pipeline(StandardScaler(), SequenceClassifier(**SMALL))
    assert flat.fit(X[:, :, 0], LABELS).score(X[:, :, 0], LABELS) > 0.5
    assert flat.get_params()["sequenceclassifier__hidden_size"] == 8


@pytest.mark.parametrize(
    ("model", "y"), [(SequenceClassifier, LABELS), (SequenceRegressor, VALUES), (SequenceTagger, TAGS)]
)
def test_pickles_hold_the_weights(model, y):
    fitted = model(**SMALL, pooling="auto", dropout=0.2).fit(RAGGED, y)
    fitted.set_params(hidden_size=5)  # of the next fit
    again = pickle.loads(pickle.dumps(fitted))
    assert equal(again.predict(RAGGED), fitted.predict(RAGGED)) and again.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        clone(fitted).predict(RAGGED)


# ------------------------------------------------------------------ errors


def broken(value):
    x = X.copy()
    x[3, 1, 0] = value
    return x


@pytest.mark.parametrize(("X", "y", "said"), [
    (broken(np.nan), LABELS, "X: sample 3 contains NaN"),
    (broken(-np.inf), LABELS, "X: sample 3 contains infinity"),
    (X, LABELS[:-1], "X has 60 samples, y has 59"),
    (X, ["up"] * 60, "y has one class only, 'up'"),
    (X, None, "the target y is None"),
    (X, [1, *["up"] * 58, None], "y contains None"),
    ([], [], "X has 0 samples"),
    (X[:0], [], "X has 0 samples"),
    ([*RAGGED[:-1], RAGGED[0][:0]], LABELS, "sample 59 has shape .0, 2., no steps"),
    ([*RAGGED[:-1], X[0, :, :1]], LABELS, "sample 59 has 1 features a step, sample 0 has 2"),
    (X[0, 0], LABELS, r"X has shape \[2\]: give \[samples, steps, features\]"),
    (X[None], LABELS, r"X has shape \[1, 60, 5, 2\]"),
    (["a text"] * 60, LABELS, "sample 0 cannot be read as numbers"),
])  # fmt: skip
def test_what_cannot_be_learned_from(X, y, said):
    with pytest.raises(tr.InputError, match=said) as error:
        SequenceClassifier(**SMALL).fit(X, y)
    assert isinstance(error.value, ValueError)


@pytest.mark.parametrize(("model", "X", "y", "said"), [
    (SequenceRegressor, X, broken(np.nan)[:, :, 0], "y: sample 3 contains NaN"),
    (SequenceRegressor, X, X[:, :4], "sample 0: y has shape .4, 2., X has 5 steps"),
    (SequenceRegressor, RAGGED, [x[:-1, 0] for x in RAGGED], "sample 0: y has shape .1., X has 2 steps"),
    (SequenceRegressor, X, [*VALUES[:-1], [1.0, 2.0]], "y has targets of different or wrong shapes"),
    (SequenceRegressor, X, [*X[:-1], X[0, :, :1]], "y has targets of different or wrong shapes"),
    (SequenceTagger, RAGGED, [*TAGS[:-1], TAGS[0]], "sample 59: y has shape .2., X has 5 steps"),
    (SequenceTagger, RAGGED, LABELS, "sample 0: y has shape .., X has 2 steps"),
    (SequenceTagger, RAGGED[:2], [["a", "b"], [1, 2, 3]], "y mixes labels"),
    (SequenceTagger, X, np.ones((60, 5), int), "y has one class only"),
])  # fmt: skip
def test_targets_that_do_not_fit(model, X, y, said):
    with pytest.raises(tr.InputError, match=said):
        model(**SMALL).fit(X, y)


@pytest.mark.parametrize("value", ["no", 2, None])
@pytest.mark.parametrize("estimator", [SequenceClassifier, SequenceRegressor, SequenceTagger])
def test_flags_are_true_or_false(estimator, value):
    flags = [name for name, default in estimator().get_params().items() if isinstance(default, bool)]
    assert {"bidirectional", "standardise", "verbose"} <= set(flags)
    for name in flags:
        with pytest.raises(tr.InputError, match=f"{name} is .*true or false"):
            estimator(**SMALL | {name: value}).fit(X, LABELS)


@pytest.mark.parametrize(("options", "said"), [
    (dict(hidden_size=0), "hidden_size is 0: it must be an integer of at least 1"),
    (dict(epochs=1.5), "epochs is 1.5: it must be an integer"),
    (dict(lr=0), "lr is 0: it must be a finite number above 0"),
    (dict(dropout=1.0), "dropout is 1.0: it must be a finite number of at least 0 and below 1"),
    (dict(clip="1"), "clip is '1'"),
    (dict(pooling="sum"), "pooling is 'sum': use one of auto, last, mean, max, attention"),
    (dict(pooling=None), "pooling is None, but a sequence has one label"),
    (dict(dtype="float16"), "dtype is 'float16': use one of float32, float64"),
    (dict(patience=3), "patience needs held-out samples"),
    (dict(validation_fraction=0.999), "validation_fraction holds out all 60 samples"),
    (dict(cell="gruu"), "unknown cell 'gruu': did you mean gru"),
    (dict(cell=5), "cell is 5: give the name of a registered cell, or a subclass of Cell"),
    (dict(cell_options=5), "the options of a cell are 5: give a dict"),
    (dict(hidden_size=10**12), "do not fit into memory: lower a size"),
    (dict(hidden_size=10**400), "which is too large"),
    (dict(batch_size=32.0), "batch_size is 32.0: it must be an integer"),
    (dict(cell_options={"peep": 1}), "cell GRU has no option 'peep'"),
])  # fmt: skip
def test_options_are_checked_by_fit(options, said):
    model = SequenceClassifier(**SMALL | options)
    with pytest.raises(tr.InputError, match=said):
        model.fit(X, LABELS)


def test_what_cannot_be_predicted():
    model = SequenceClassifier(**SMALL).fit(X, LABELS)
    with pytest.raises(tr.InputError, match="X has 1 features, but SequenceClassifier is expecting 2"):
        model.predict(X[:, :, :1])
    with pytest.raises(tr.InputError, match="X has 60 samples, y has 2"):
        model.score(X, LABELS[:2])
    with pytest.raises(tr.InputError, match="X: sample 3 is too large for float32"):
        model.predict(broken(1e300))


def test_a_fit_that_fails_leaves_nothing_to_predict_with():
    model = SequenceRegressor(**SMALL).fit(X, VALUES)
    with pytest.raises(tr.Diverged, match="infinite in epoch 1: use a lower lr"):
        model.set_params(lr=1e30).fit(X, VALUES)
    with pytest.raises(NotFittedError):
        model.predict(X)
    tagger = SequenceTagger(**SMALL)
    with pytest.raises(tr.InputError, match="unknown cell"):
        tagger.set_params(cell="gruu").fit(RAGGED, TAGS)
    with pytest.raises(NotFittedError):
        tagger.predict(RAGGED)


def test_without_scikit_learn_one_sentence_says_what_to_install():
    hide = "import sys; sys.modules['sklearn'] = None; import tinyrnn.sklearn"
    done = subprocess.run([sys.executable, "-c", hide], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == (
        "ImportError: tinyrnn.sklearn needs scikit-learn: pip install 'tinyrnn[sklearn]'"
    )


# ------------------------------------------------------------------ the picture, the page


def test_plot_errors():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    true = [x[:, 0] for x in RAGGED]
    ax = plot_errors(true, [t + 0.5 for t in true])
    shown = ax.images[0].get_array()
    assert shown.shape == (60, 5) and np.isnan(shown.filled(np.nan)).sum() == 300 - sum(map(len, true))
    np.testing.assert_allclose(shown.compressed(), 0.5)
    assert ax.images[0].get_clim() == pytest.approx((-0.5, 0.5))
    assert ax.get_title().startswith("errors: mean 0.5, standard deviation ")
    profile = ax.figure.axes[1]
    np.testing.assert_allclose(profile.lines[-1].get_ydata(), 0.5)
    assert (ax.get_ylabel(), profile.get_xlabel(), profile.get_ylabel()) == ("sample", "step", "error")
    own = pyplot.figure().add_subplot()
    assert plot_errors(STEPS, STEPS, ax=own) is own and own.get_xlabel() == "step"
    with pytest.raises(tr.InputError, match="of one output"):
        plot_errors(X, X)
    with pytest.raises(tr.InputError, match="y_true has 60 samples, y_pred 2"):
        plot_errors(STEPS, STEPS[:2])
    pyplot.close("all")


def test_the_page_runs(tmp_path, monkeypatch):
    pytest.importorskip("pandas")
    pytest.importorskip("matplotlib").use("Agg")
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "arrays.md").read_text(encoding="utf-8")
    blocks, names = re.findall(r"```python\n(.*?)```", page, re.DOTALL), {}
    for block in blocks:
        exec(compile(block, "docs/arrays.md", "exec"), names)
    assert len(blocks) == 3 and Path("errors.png").exists()


def test_what_cannot_be_scaled_is_refused(rng):
    X, y = rng.normal(size=(20, 5, 2)), rng.integers(0, 2, 20)
    with pytest.raises(tr.InputError, match="X holds .*e.300, too large to be standardised"):
        SequenceClassifier(epochs=1).fit(X * 1e300, y)
    with pytest.raises(tr.InputError, match="y holds .*too large to be standardised"):
        SequenceRegressor(epochs=1).fit(X, (y + rng.normal(size=20)) * 1e300)


def test_targets_of_the_wrong_kind_say_what_is_wrong(rng):
    X = rng.normal(size=(4, 5, 2))
    with pytest.raises(tr.InputError, match="y: sample 0 .*give numbers, or use a classifier"):
        SequenceRegressor(epochs=1).fit(X, ["a", "b", "a", "b"])
    with pytest.raises(tr.InputError, match="y contains None"):
        SequenceClassifier(epochs=1).fit(X, [None] * 4)
