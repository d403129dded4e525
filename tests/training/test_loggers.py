"""Loggers: what they write, that it stays right when a run is resumed, and that they only look."""

import csv
import json
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import tinyrnn as tr
from tinyrnn.cli import main
from tinyrnn.cli.train import command as train
from tinyrnn.training import loggers, runs
from tinyrnn.training.trainer import Reporter

SMALL = "--cell gru --hidden 12 --embed 8 --dropout 0.1 --batch-size 4 --seq-len 20 --eval-every 10".split()
SMALL += ["--quiet"]
LOGGERS = ["--logger", "csv", "--logger", "tensorboard"]


def tinyrnn(*arguments, code=0):
    result = CliRunner().invoke(main, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def events(run):
    """What TensorBoard shows of a run, read by its own reader."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.plugin_event_accumulator")
    shown = accumulator.EventAccumulator(str(run / loggers.EVENTS), tensor_size_guidance={})
    shown.Reload()
    return {tag: shown.Tensors(tag) for tag in shown.Tags()["tensors"]}


def values(series):
    tensor_util = pytest.importorskip("tensorboard.util.tensor_util")
    return [(e.step, tensor_util.make_ndarray(e.tensor_proto)) for e in series]


def rows(run):
    with (run / runs.TABLE).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def assert_the_log_three_times(run):
    """``log.csv`` and the event files say what ``log.jsonl`` says."""
    log = runs.RunFolder(run).read_log()
    assert [{k: "" if v is None else str(v) for k, v in r.items()} for r in log] == rows(run)
    shown = events(run)
    for column in set(log[0]) - {"step"}:
        expected = [(r["step"], np.float32(r[column])) for r in log if r[column] is not None]
        assert values(shown[column]) == expected, column


def test_loggers_write_the_log_and_what_the_model_is_like(tmp_path, text_file):
    pytest.importorskip("tensorboard")
    run = tmp_path / "run"
    tinyrnn("train", text_file, *SMALL, "--steps", 20, "--out", run, *LOGGERS)
    assert_the_log_three_times(run)
    shown, model = events(run), tr.load(run / runs.LAST)
    for name, p in model.named_parameters():
        (_, first), (step, last) = values(shown[f"weights/{name}"])
        assert step == 20 and last[:, 2].sum() == p.size  # of each bucket: left end, right end, count
        assert last[0, 0] == p.numpy().min() and last[-1, 1] == p.numpy().max()
        assert not np.array_equal(first, last)
        assert values(shown[f"gradients/{name}"])[-1][1][:, 2].sum() == p.size
    assert {tag for tag in shown if tag.startswith("gates/")} == {
        "gates/0.0", "gates/0.1", "gates/1.0", "gates/1.1",
    }  # fmt: skip
    for _, gate in values(shown["gates/1.1"]):
        assert 0 < gate[0, 0] <= gate[-1, 1] < 1 and gate[:, 2].sum() % 12 == 0
    (sample,) = values(shown["text"])[-1][1].ravel().tolist() or [b""]
    assert sample.decode() == model.generate(length=200, seed=0)


def test_logging_changes_no_weight(tmp_path, text_file):
    pytest.importorskip("tensorboard")
    rates = ["--recurrent-dropout", 0.2, "--zoneout", 0.1]
    for name, more in (("with", LOGGERS), ("without", [])):
        tinyrnn("train", text_file, *SMALL, *rates, "--steps", 20, "--out", tmp_path / name, *more)
    for file in (runs.LAST, runs.BEST, runs.TRAINER):
        ours, theirs = (runs.load_tensors(tmp_path / name / file)[0] for name in ("with", "without"))
        assert ours.keys() == theirs.keys()
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=f"{file} {name}")
    assert (tmp_path / "with" / "config.json").read_text() == (
        (tmp_path / "without" / "config.json").read_text()
    )  # a logger is no part of the run's configuration


@pytest.mark.parametrize("schedule", ["constant", "wsd"])  # wsd goes back to before its rate fell
def test_a_resumed_run_is_logged_once(tmp_path, text_file, schedule):
    pytest.importorskip("tensorboard")
    run, options = tmp_path / "run", [*SMALL, "--schedule", schedule]
    tinyrnn("train", text_file, *options, "--steps", 27, "--out", run, *LOGGERS)
    assert [int(r["step"]) for r in rows(run)] == [10, 20, 27]
    tinyrnn("train", "--resume", run, "--steps", 40, "--quiet", *LOGGERS)
    assert [int(r["step"]) for r in rows(run)] == [10, 20, 30, 40]
    assert_the_log_three_times(run)


def test_a_table_begun_late_holds_the_whole_run(tmp_path, text_file):
    run = tmp_path / "run"
    tinyrnn("train", text_file, *SMALL, "--schedule", "constant", "--steps", 20, "--out", run)
    assert not (run / runs.TABLE).exists()
    tinyrnn("train", "--resume", run, "--steps", 30, "--quiet", "--logger", "csv")
    assert [int(r["step"]) for r in rows(run)] == [10, 20, 30]


def test_other_tasks_are_logged_without_text(tmp_path):
    pytest.importorskip("tensorboard")
    data = tmp_path / "reviews.csv"
    data.write_text("text,label\n" + "a fine film,good\nan awful film,bad\n" * 20)
    run = tmp_path / "run"
    options = "--task classify --hidden 8 --embed 4 --steps 4 --eval-every 2 --quiet".split()
    tinyrnn("train", *options, data, "--out", run, *LOGGERS)
    assert_the_log_three_times(run)
    shown = events(run)
    assert "text" not in shown and any(tag.startswith("gradients/") for tag in shown)


def test_a_missing_extra_is_one_sentence_before_anything_is_trained(tmp_path, text_file, monkeypatch):
    for name in [n for n in sys.modules if n.split(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    result = tinyrnn("train", text_file, *SMALL, "--out", tmp_path / "run", "--logger", "tensorboard", code=2)
    assert (
        result.stderr == "Error: --logger tensorboard needs tensorboard: pip install 'tinyrnn[tensorboard]'\n"
    )
    assert not (tmp_path / "run").exists()


def test_the_option_names_every_logger():
    (option,) = [p for p in train.params if p.name == "logger"]
    assert list(option.type.choices) == list(loggers.LOGGERS)
    with pytest.raises(tr.InputError, match=r"unknown logger 'csw': use one of csv, tensorboard"):
        loggers.make(["csw"])
    assert len(loggers.make(["csv", "csv"])) == 1


def test_together_tells_all_that_a_reporter_is_told():
    told = []

    class Told(Reporter):
        """Whatever it is told, it notes."""

        def __init__(self, name):
            for told_of in [n for n in vars(Reporter) if not n.startswith("_")]:
                setattr(self, told_of, lambda *a, n=told_of: told.append((name, n, a)))

    class Failing(Told):
        def __init__(self):
            super().__init__("failing")
            self.finished = lambda: json.loads("")

    both = loggers.Together([Told("a"), Failing(), Told("b")])
    for name in [n for n in vars(Reporter) if not n.startswith("_") and n != "finished"]:
        getattr(both, name)(1)
        assert told == [("a", name, (1,)), ("failing", name, (1,)), ("b", name, (1,))]
        told.clear()
    with pytest.raises(ValueError, match="Expecting value"):
        both.finished()  # all the same the others end as they should: a bar leaves the screen
    assert told == [("a", "finished", ()), ("b", "finished", ())]
