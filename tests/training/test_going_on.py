"""Runs that go on from a trained one: what is kept, what is new, what is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from cell_files import CELL
from click.testing import CliRunner

import tinyrnn as tr
from tinyrnn.cli import main
from tinyrnn.tasks import Task, TaskModel, TaskOptions
from tinyrnn.tasks.classify.model import Classifier
from tinyrnn.tasks.classify.task import Classification
from tinyrnn.tasks.forecast.model import Forecaster
from tinyrnn.tasks.forecast.options import ForecastOptions
from tinyrnn.tasks.forecast.task import Forecasting
from tinyrnn.tasks.text.vocabulary import Characters
from tinyrnn.training import experiments, pictures, runs
from tinyrnn.training.origin import options_with, take_over
from tinyrnn.training.task import TASKS

SMALL_OPTIONS = dict(hidden=8, layers=1)
SMALL = dict(**SMALL_OPTIONS, steps=3, quiet=True)
OF_TEXTS = dict(embed=6)
OWN = {
    "lm": dict(**OF_TEXTS, batch_size=4, seq_len=10),
    "classify": dict(**OF_TEXTS, level="char"),
    "translate": OF_TEXTS,
    "forecast": dict(horizon=3, season=4, window=8),
}


def tinyrnn(*args, code=0):
    result = CliRunner().invoke(main, list(map(str, args)), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def series(n):
    wave = np.sin(np.arange(n) * np.pi / 2) + np.arange(n) / 9
    return "date,v\n" + "".join(f"{np.datetime64('1990-01') + i},{v}\n" for i, v in enumerate(wave))


@pytest.fixture(scope="module", autouse=True)
def without_pictures():
    """Which would take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "available", lambda: False)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Of each task what RUN is trained on, and new data, in which there is more and begins something else."""
    folder = tmp_path_factory.mktemp("data")
    rows = [(f"good{i % 3}", "pos") for i in range(20)] + [(f"evil{i % 3}", "neg") for i in range(20)]
    more = [("Zap!", "odd")] * 20 + [("Ahem", "aha")] * 20 + rows
    pairs = [(f"one {i}", f"un {i}") for i in range(20)]
    new = [(f"Zwei {i}", f"Deux {i} !") for i in range(20)] + pairs
    texts = {
        "lm": ("txt", "abc de fgh. " * 60, "Zabc hgf! " * 60),
        "classify": ("csv", *("text,label\n" + "".join(f"{t},{y}\n" for t, y in r) for r in (rows, more))),
        "translate": ("tsv", *("".join(f"{s}\t{t}\n" for s, t in p) for p in (pairs, new))),
        "forecast": ("csv", series(80), series(100)),
    }
    made = {}
    for task, (ending, *two) in texts.items():
        made[task] = []
        for name, text in zip(("old", "new"), two, strict=True):
            path = folder / f"{task}-{name}.{ending}"
            path.write_text(text, encoding="utf-8")
            made[task].append(path)
    return made


@pytest.fixture(scope="module")
def old(data, tmp_path_factory):
    """RUN, one of each task."""
    folder = tmp_path_factory.mktemp("old")
    return {
        task: tr.train(files[0], task, out=folder / task, cell="gru", **SMALL, **OWN[task])
        for task, files in data.items()
    }


def begun(path, task, out, **given):
    """The model of a run that goes on, before its first step."""
    configuration = experiments.configured(task, [str(path)], given)
    trainer = experiments.begin(configuration, out=out)
    trainer.run.unlock()
    return trainer.task.model


TASK_NAMES = ["lm", "classify", "translate", "forecast"]


@pytest.mark.parametrize("task", TASK_NAMES)
def test_on_the_same_data_it_begins_with_what_was_learned(data, old, tmp_path, task):
    model = begun(data[task][0], task, tmp_path / "run", from_run=old[task].path)
    before, now = old[task].model.state_dict(), model.state_dict()
    assert before.keys() == now.keys()
    for name in before:
        np.testing.assert_array_equal(before[name], now[name], err_msg=name)
    assert model.facts() == old[task].model.facts()
    assert model.settings == old[task].model.settings
    made = tr.Run(tmp_path / "run")
    assert made.evaluate() == old[task].evaluate()
    assert made.options["from_run"] == str(old[task].path)
    assert f"{len(now)} of {len(now)} arrays" in made._folder.config["from"]


def test_logits_of_old_symbols_stay(data, old, tmp_path):
    before, now = old["lm"].model, begun(data["lm"][1], "lm", tmp_path / "run", from_run=old["lm"].path)
    assert set(now.vocabulary.symbols) - set(before.vocabulary.symbols) == {"Z", "!"}
    assert sorted(now.vocabulary.symbols) != now.vocabulary.symbols  # as a new run would have numbered them
    text = "abc fgh. de"
    with now.evaluating():
        after = now(now.vocabulary.encode(text)[:, None])[0].numpy()
    with before.evaluating():
        wanted = before(before.vocabulary.encode(text)[:, None])[0].numpy()
    where = [now.vocabulary.ids[s] for s in before.vocabulary.symbols]
    np.testing.assert_allclose(after[..., where], wanted, rtol=1e-6, atol=1e-7)


def test_predictions_of_old_labels_stay(data, old, tmp_path):
    now, before = begun(data["classify"][1], "classify", tmp_path / "run", from_run=old["classify"].path), old
    before = before["classify"].model
    assert now.labels == ["neg", "pos", "aha", "odd"]
    texts = ["good1", "evil2", "good"]
    with now.evaluating(), before.evaluating():
        for text in texts:
            ids = [m.encode(text)[:, None] for m in (now, before)]
            after, wanted = (
                m(i, np.ones_like(i)).numpy()[0] for m, i in zip((now, before), ids, strict=True)
            )
            np.testing.assert_allclose(after[:2], wanted, rtol=1e-6, atol=1e-7)


def test_a_translator_keeps_its_end_symbol_though_its_number_moves(data, old, tmp_path):
    now = begun(data["translate"][1], "translate", tmp_path / "run", from_run=old["translate"].path)
    before = old["translate"].model
    assert now.end == before.end + len(set("Deux!") - set(before.target.symbols)) > before.end
    for name, axis in (("target_embedding", 0), ("output", 1)):
        after, wanted = (np.moveaxis(getattr(m, name).weight.numpy(), axis, 0) for m in (now, before))
        np.testing.assert_array_equal(after[now.end], wanted[before.end])
        for symbol, number in before.target.ids.items():
            np.testing.assert_array_equal(after[now.target.ids[symbol]], wanted[number])


def test_rows_go_by_symbol_whatever_their_order(tmp_path):
    """Also if the vocabulary of the new model has another order, as a plugin's may."""
    shape = dict(embed=3, hidden=4)
    old, new = (
        Classifier(Characters(symbols), labels, seed=seed, **shape)
        for seed, (symbols, labels) in enumerate((("abc", ["x", "y"]), ("?cab", ["y", "z", "x"])))
    )
    fresh = new.state_dict()

    holder = object.__new__(Classification)
    holder.model = new
    said = take_over(holder, old, "RUN")
    assert said == f"RUN: {len(fresh)} of {len(fresh)} arrays, 1 new symbols, 1 new labels"
    rows = new.embedding.weight.numpy()
    np.testing.assert_array_equal(rows[1:], old.embedding.weight.numpy()[[2, 0, 1]])
    np.testing.assert_array_equal(rows[0], fresh["embedding.weight"][0])
    np.testing.assert_array_equal(new.output.weight.numpy()[:, [2, 0]], old.output.weight.numpy())
    np.testing.assert_array_equal(new.output.weight.numpy()[:, 1], fresh["output.weight"][:, 1])


@pytest.mark.parametrize("task", TASK_NAMES)
def test_without_the_run_it_came_from_it_is_evaluated_and_resumed_exactly(data, old, tmp_path, task):
    shutil.copytree(old[task].path, tmp_path / "old")
    for name, steps in (("whole", 6), ("parts", 3)):
        options = ["--steps", steps, "--schedule", "constant", "--warmup", 0, "--eval-every", 2]
        said = tinyrnn("train", data[task][1], "--from", tmp_path / "old", *options, "--out", tmp_path / name)
        assert f"from        {tmp_path / 'old'}: " in said.output
    shutil.rmtree(tmp_path / "old")
    tinyrnn("train", "--resume", tmp_path / "parts", "--steps", 6)
    whole, parts = (tr.Run(tmp_path / name) for name in ("whole", "parts"))
    for name, array in whole.model.state_dict().items():
        np.testing.assert_array_equal(array, parts.model.state_dict()[name], err_msg=name)
    assert whole.evaluate() == parts.evaluate()
    assert [r["step"] for r in parts.log] == [0, 2, 4, 6]
    assert [r["val_loss"] for r in whole.log] == [r["val_loss"] for r in parts.log]


def test_what_it_begins_with_is_the_best_until_something_is_better(data, old, tmp_path):
    run = tr.train(data["lm"][0], from_run=old["lm"], lr=1e-20, **SMALL_PLAN, out=tmp_path / "run")
    assert run.log[0]["step"] == 0
    assert run.log[0]["val_loss"] == pytest.approx(old["lm"].evaluate()["loss"], rel=1e-6)
    assert run.log[0]["train_loss"] is None


SMALL_PLAN = dict(steps=2, quiet=True, batch_size=4, seq_len=10)


@pytest.mark.parametrize(("task", "given", "said"), [
    ("lm", ["--hidden", "9"], "--hidden is 9, but {run}, which the run goes on from, has 8: leave"),
    ("lm", ["--cell", "lstm"], "--cell is lstm, but {run}, which the run goes on from, has gru"),
    ("lm", ["--cell-opt", "reset_after=true"], "--cell-opt is {{'reset_after': True}}, but {run}, which"),
    ("lm", ["--layers", "2"], "--layers is 2, but {run}"),
    ("lm", ["--dtype", "float64"], "--dtype is float64, but {run}, which the run goes on from, has float32"),
    ("lm", ["--level", "word"], "--level is word, but {run}, which the run goes on from, has char"),
    ("lm", ["--softmax", "adaptive"], "--softmax is adaptive, but {run}"),
    ("lm", ["--tie"], "--tie is True, but {run}, which the run goes on from, has False"),
    ("classify", ["--pooling", "attention"], "--pooling is attention, but {run}"),
    ("classify", ["--bidirectional"], "--bidirectional is True, but {run}"),
    ("translate", ["--attention", "bahdanau"], "--attention is bahdanau, but {run}"),
    ("forecast", ["--season", "12"], "--season is 12, but {run}, which the run goes on from, has 4"),
    ("forecast", ["--difference", "5"], "--difference is 5, but {run}"),
    ("lm", ["--task", "translate"], "{run} is of task lm: --task translate goes on from runs of translate"),
    ("forecast", ["--task", "classify"], "{run} is of task forecast: --task classify goes on from runs of"),
])  # fmt: skip
def test_what_contradicts_the_run_is_one_sentence_that_names_both(data, old, tmp_path, task, given, said):
    run = old[task].path
    out = tmp_path / "run"
    result = tinyrnn("train", data[task][1], "--from", run, *given, "--out", out, code=2)
    assert said.format(run=run) in " ".join(result.output.split())
    assert not out.exists()


def test_what_agrees_with_the_run_or_may_be_changed_is_taken(data, old, tmp_path):
    agreeing = dict(hidden=8, cell="gru", level="char", dtype="auto", task="classify", pooling="mean")
    run = tr.train(
        data["classify"][1], from_run=str(old["classify"].path), dropout=0.1, steps=2, quiet=True,
        out=tmp_path / "run", **agreeing,
    )  # fmt: skip
    assert run.model.settings["dropout"] == 0.1 and run.model.settings["dtype"] == "float32"
    again = begun(data["classify"][1], "classify", tmp_path / "again", from_run=run.path)
    assert again.settings["dropout"] == 0.1  # of a run of the same task


def test_a_classifier_begins_with_a_language_model(data, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text(" good evil good1 evil1\n" * 60)
    options = dict(level="word", dropout=0.3, **OWN["lm"], **SMALL)
    lm = tr.train(text, out=tmp_path / "lm", **options)
    model = begun(data["classify"][1], "classify", tmp_path / "run", from_run=lm.path)
    assert model.settings["hidden"] == 8 and model.vocabulary.level == "word"
    assert model.settings["dropout"] == 0.5  # a classifier's own
    np.testing.assert_array_equal(
        model.embedding.weight.numpy()[: len(lm.model.vocabulary)], lm.model.embedding.weight.numpy()
    )
    for name, array in lm.model.rnn.state_dict().items():
        np.testing.assert_array_equal(array, model.rnn.state_dict()[name])
    said = tr.Run(tmp_path / "run")._folder.config["from"]
    assert said.startswith(f"{lm.path}: 10 of 12 arrays, ") and "new symbols" in said
    result = tinyrnn(
        "train", "--task", "classify", data["classify"][1], "--from", lm.path, "--bidirectional", code=2
    )
    assert "--bidirectional is True, but" in result.output


def test_an_adaptive_softmax_grows_in_its_last_cluster(tmp_path):
    words = [f"w{i}" for i in range(60)]
    old, new = tmp_path / "old.txt", tmp_path / "new.txt"
    old.write_text(" ".join(w for i, w in enumerate(words) for _ in range(1 + 90 // (i + 1))) * 2)
    new.write_text(old.read_text() + " unheard of words" * 5)
    options = dict(level="word", softmax="adaptive", hidden=32, layers=1, embed=6, steps=2, quiet=True)
    lm = tr.train(old, batch_size=4, seq_len=10, out=tmp_path / "lm", **options)
    model = begun(new, "lm", tmp_path / "run", from_run=lm.path, batch_size=4, seq_len=10)
    assert model.output.cutoffs[:-1] == lm.model.output.cutoffs[:-1]
    grown = len(model.vocabulary) - len(lm.model.vocabulary)
    assert grown == 3
    np.testing.assert_array_equal(
        model.output.tail[-1][1].weight.numpy()[:, :-grown], lm.model.output.tail[-1][1].weight.numpy()
    )
    assert tr.Run(tmp_path / "run").evaluate()["tokens"] > 0


def test_byte_pairs_are_kept(data, tmp_path):
    pytest.importorskip("tokenizers")
    lm = tr.train(
        data["lm"][0], out=tmp_path / "lm", level="bpe", vocab_size=260, embed=6, **SMALL, batch_size=4,
        seq_len=10,
    )  # fmt: skip
    model = begun(data["lm"][1], "lm", tmp_path / "run", from_run=lm.path, batch_size=4, seq_len=10)
    assert model.vocabulary.to_json() == lm.model.vocabulary.to_json()
    for name, array in lm.model.state_dict().items():
        np.testing.assert_array_equal(array, model.state_dict()[name])
    result = tinyrnn("train", data["lm"][1], "--from", lm.path, "--vocab-size", 300, code=2)
    assert "byte pairs are kept as they are" in result.output


def test_a_vocabulary_without_unknown_symbols_gets_one_with_a_limit():
    grown = Characters("ab").enlarged(lambda: Characters.build(["abccd"], 3), 3)
    assert grown.symbols[:2] == ["a", "b"] and grown.symbols[grown.unknown] == "\N{REPLACEMENT CHARACTER}"
    assert Characters("\N{REPLACEMENT CHARACTER}a", 0).enlarged(lambda: Characters("ab"), None).unknown == 0


def test_forecasts_of_other_columns_are_refused_and_another_scale_is_no_matter(data, old, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text(data["forecast"][1].read_text().replace("date,v", "date,w"))
    result = tinyrnn("train", other, "--from", old["forecast"].path, code=2)
    assert "has no column 'v'" in result.output
    large = tmp_path / "large.csv"
    lines = data["forecast"][0].read_text().splitlines()
    rows = [line.split(",") for line in lines[1:]]
    large.write_text("\n".join([lines[0], *(f"{d},{float(v) * 1000}" for d, v in rows)]))
    model = begun(large, "forecast", tmp_path / "run", from_run=old["forecast"].path)
    before, now = old["forecast"].model.transforms[0], model.transforms[0]
    assert (now.lags, now.log) == (before.lags, before.log)
    assert now.scale == pytest.approx(1000 * before.scale)


def test_a_run_that_is_no_longer_whole_is_one_sentence(data, old, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(old["lm"].path, broken)
    file = broken / runs.BEST
    file.write_bytes(file.read_bytes()[:-9])
    result = tinyrnn("train", data["lm"][1], "--from", broken, "--out", tmp_path / "run", code=2)
    assert "is damaged or not a checkpoint" in result.output and "Traceback" not in result.output
    file.unlink()
    (broken / runs.LAST).unlink()
    result = tinyrnn("train", data["lm"][1], "--from", broken, code=2)
    assert "does not exist" in result.output
    result = tinyrnn("train", data["lm"][1], "--from", old["lm"].path / runs.TRAINER, code=2)
    assert "holds the trainer's state, not a model" in result.output
    result = tinyrnn("train", "--from", old["lm"].path, code=2)
    assert f"--from {old['lm'].path} needs data to learn from" in result.output
    assert not (tmp_path / "run").exists()


def test_resuming_another_run_than_the_one_it_came_from_is_refused(data, old, tmp_path):
    tr.train(data["lm"][1], from_run=old["lm"].path, **SMALL_PLAN, out=tmp_path / "run")
    result = tinyrnn("train", "--resume", tmp_path / "run", "--from", old["translate"].path, code=2)
    assert f"was trained with --from {old['lm'].path}, not" in result.output
    last = tmp_path / "run" / runs.LAST
    last.write_bytes(b"?")
    result = tinyrnn("train", "--resume", tmp_path / "run", "--steps", 4, code=2)
    assert "is damaged or not a checkpoint" in result.output


def test_a_file_of_options_names_it_and_so_does_the_help(data, old, tmp_path):
    file = tmp_path / "options.toml"
    file.write_text(f"from = {json.dumps(str(old['classify'].path))}\nsteps = 2\n")
    said = tinyrnn("train", data["classify"][1], "--config", file, "--out", tmp_path / "run")
    assert "2 new labels" in said.output
    assert tr.Run(tmp_path / "run").options["task"] == "classify"
    assert "--from RUN" in tinyrnn("train", "--help").output
    assert "--from" not in tinyrnn("compare", "--help").output


def test_in_python_messages_name_the_keyword(data, old):
    with pytest.raises(
        tr.InputError, match=r"hidden= is 9, but .* leave hidden= out, or start without from_run="
    ):
        tr.train(data["lm"][1], from_run=old["lm"], hidden=9)


def test_a_model_so_good_that_its_first_loss_trebles_has_not_diverged(data, old, tmp_path):
    """What counts as divergence is measured by an untrained model."""
    configuration = experiments.configured("lm", [str(data["lm"][0])], {"from_run": str(old["lm"].path)})
    trainer = experiments.begin(configuration, out=tmp_path / "run")
    trainer.run.unlock()
    assert trainer.first_loss == pytest.approx(np.log(len(trainer.task.model.vocabulary)), rel=0.2)
    fresh = experiments.Configuration.make("lm", [str(data["lm"][0])], {**SMALL_OPTIONS, **OWN["lm"]})
    assert trainer.model.generator.state == fresh.trainer(None, "cpu").model.generator.state
    assert trainer.task.states is None  # nor does the first step go on from what was read for that


def test_each_column_of_a_forecast_stays_transformed_as_it_was(tmp_path):
    file = tmp_path / "two.csv"
    file.write_text("v,w\n" + "".join(f"{i % 7},{i % 5}\n" for i in range(120)))
    kept = [
        dict(log=False, lags=(2,), mean=0.0, scale=1.0),
        dict(log=False, lags=(3, 4), mean=0.0, scale=1.0),
    ]
    origin = Forecaster(["v", "w"], kept, season=4, window=8, horizon=2, hidden=4)
    given = options_with(Forecasting, origin, {"from_run": "RUN"})
    made = Forecasting.build(ForecastOptions.of(given), [str(file)], origin)
    assert [t.lags for t in made.model.transforms] == [(2,), (3, 4)]
    assert (given["target"], given["columns"], given["difference"]) == ("v", "v,w", "2")


def test_a_cell_in_a_file_is_run_with_consent_only(data, tmp_path):
    cell = tmp_path / "cell.py"
    cell.write_text(CELL)
    options = dict(**OWN["lm"], **SMALL)
    run = tr.train(data["lm"][0], cell=f"{cell}:Mine", out=tmp_path / "old", **options)
    asked = ["train", data["lm"][1], "--from", run.path, "--steps", 2, "--out", tmp_path / "new"]
    assert "if you trust both, say --allow-code" in tinyrnn(*asked, code=2).output
    tinyrnn(*asked, "--allow-code")
    tinyrnn("train", "--resume", tmp_path / "new", "--steps", 4, "--allow-code")
    with pytest.raises(tr.InputError, match="tr.Run\\(path, allow_code=True\\)"):
        tr.train(data["lm"][1], from_run=str(run.path))
    trusted = tr.Run(run.path, allow_code=True)
    tr.train(data["lm"][1], from_run=trusted, steps=2, quiet=True, out=tmp_path / "again")


class WordModel(TaskModel):
    """Of a plugin's task: a vector a word, layers, and a number for each place."""

    task = "words"

    def __init__(self, words, *, seed=0, **settings):
        super().__init__(seed, settings)
        self.words = list(words)
        self.embedding = tr.Embedding(len(words), 4, **self.shared)
        self.rnn = self.recurrent(4)
        self.output = tr.Linear(self.rnn.output_size, 1, **self.shared)

    def forward(self, ids):
        return self.output(self.rnn(self.embedding(ids))[0])

    def rows(self):
        return {"embedding.weight": ("words", self.words, 0)}

    def facts(self):
        return {"words": self.words}


class Words(Task):
    """The length of each word of a text."""

    name = "words"
    in_nats = False
    tokens_per_step = steps_per_epoch = 1
    shape = "the text"

    @classmethod
    def build(cls, options, texts, origin=None):
        made = cls()
        made.text = (text := Path(texts[0]).read_text().split())
        words = [] if origin is None else origin.words
        made.model = WordModel(list(dict.fromkeys([*words, *text])), seed=options.seed, **options.settings())
        made.fingerprint = "-".join(text)
        return made

    @staticmethod
    def rebuild(meta):
        return WordModel.restored(TaskOptions, meta["model"], meta["words"])

    def introduction(self):
        return f"{len(self.text)} words"

    def loss(self, step):
        ids = np.array([[self.model.words.index(w)] for w in self.text])
        return tr.mse_loss(self.model(ids), np.array([[[len(w)]] for w in self.text], np.float32))

    def evaluate(self, stop=lambda: False):
        with self.model.evaluating():
            return {"val_loss": self.loss(0).item()}


def test_a_task_of_a_plugin_goes_on_by_the_same_door(tmp_path, monkeypatch):
    monkeypatch.setattr(TASKS, "own", {})
    TASKS.register("words", Words, "a test")
    old, new = tmp_path / "old.txt", tmp_path / "new.txt"
    old.write_text("a bcd ef")
    new.write_text("ef ghij a bcd")
    run = tr.train(old, "words", out=tmp_path / "old", **SMALL)
    model = begun(new, "words", tmp_path / "new", from_run=run.path)
    assert model.words == ["a", "bcd", "ef", "ghij"]
    before = run.model.state_dict()
    np.testing.assert_array_equal(model.embedding.weight.numpy()[:3], before["embedding.weight"])
    np.testing.assert_array_equal(model.output.weight.numpy(), before["output.weight"])
    assert "7 of 7 arrays, 1 new words" in tr.Run(tmp_path / "new")._folder.config["from"]
    shutil.rmtree(run.path)
    assert tr.Run(tmp_path / "new").resume(steps=2, quiet=True).model.words == model.words


def test_thresholds_of_several_labels_begin_as_they_were(tmp_path):
    pairs = [(f"good{i % 3} film", ["fun", "long"][: 1 + i % 2]) for i in range(30)]
    before = tr.train(pairs, "classify", out=tmp_path / "old", hidden=8, steps=2, quiet=True)
    now = tr.train(pairs, "classify", out=tmp_path / "new", from_run=before.path, steps=1, quiet=True)
    assert now.model.labels == before.model.labels and now.model.thresholds.shape == (2,)
