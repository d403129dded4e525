"""`tr.train`, the twin of the command, and `Run`."""

import io
import json

import numpy as np
import pytest
from click.testing import CliRunner

import tinyrnn as tr
from tinyrnn.cli import main
from tinyrnn.training.runs import load_tensors

SMALL = dict(hidden=8, embed=4, seq_len=20, batch_size=4, steps=6, eval_every=3)


def weights(path):
    return load_tensors(path / "last.safetensors")[0]


@pytest.fixture
def run(tmp_path, text_file):
    return tr.train(text_file, out=tmp_path / "run", quiet=True, **SMALL)


def test_the_run_is_that_of_the_command(tmp_path, text_file, run):
    flags = [f"--{k.replace('_', '-')}={v}" for k, v in SMALL.items()]
    result = CliRunner().invoke(main, ["train", str(text_file), *flags, "--out", str(tmp_path / "other")])
    assert result.exit_code == 0, result.output
    for name, value in weights(tmp_path / "other").items():
        np.testing.assert_array_equal(value, weights(run.path)[name])
    assert json.loads((tmp_path / "other" / "config.json").read_text()) == run.config


def test_what_a_run_offers(run):
    assert [r["step"] for r in run.log] == [3, 6]
    assert isinstance(run.model.generate("the ", length=5, seed=0), str)
    assert run.evaluate()["loss"] == pytest.approx(min(r["val_loss"] for r in run.log), rel=1e-6)
    assert "step 6" in repr(run)
    assert "lm, gru" in repr(run)
    assert run.plot().read_bytes()[:4] == b"\x89PNG"


def test_a_run_is_resumed_exactly(tmp_path, text_file, run):
    longer = run.resume(steps=9, quiet=True)
    whole = tr.train(text_file, out=tmp_path / "whole", quiet=True, **SMALL | dict(steps=9))
    assert longer.log[-1]["step"] == 9
    for name, value in weights(whole.path).items():
        np.testing.assert_array_equal(value, weights(longer.path)[name])
    with pytest.raises(tr.InputError, match="--hidden"):
        run.resume(hidden=9)


def test_it_shows_what_the_command_shows(tmp_path, text_file, capsys):
    tr.train(text_file, out=tmp_path / "run", **SMALL)
    said = capsys.readouterr().out
    assert "model       gru, 2 x 8" in said
    assert "validation" in said


@pytest.mark.parametrize(("given", "said"), [
    (dict(hiden=8), "no option 'hiden': did you mean hidden"),
    (dict(task="forcast"), "did you mean forecast"),
    (dict(minutes=float("nan")), "minutes is nan"),
    (dict(horizon=3), "task lm has no option 'horizon'"),
    (dict(cell="grue"), "did you mean gru"),
    (dict(cell_opt={"reset": True}), "reset"),
])  # fmt: skip
def test_bad_options(tmp_path, text_file, given, said):
    with pytest.raises(tr.InputError, match=said):
        tr.train(text_file, out=tmp_path / "run", quiet=True, **given)
    assert not (tmp_path / "run").exists()


def test_cell_options_are_a_dict(tmp_path, text_file):
    settings = SMALL | dict(steps=1, cell_opt={"reset_after": True})
    run = tr.train(text_file, out=tmp_path / "run", quiet=True, **settings)
    assert run.config["options"]["cell_opt"] == ["reset_after=true"]
    assert run.model.settings["cell_options"] == {"reset_after": True}


def from_memory(name):
    """Data in memory for each task, and small options."""
    draw = np.random.default_rng(0)
    small = dict(hidden=8, steps=2, batch_size=4)
    if name == "lm":
        return io.StringIO("how now, brown cow?\n" * 40), small | dict(embed=4, seq_len=10)
    if name == "classify":
        return [("a lovely film", "good"), ("an awful bore", "bad")] * 20, small | dict(embed=4)
    if name == "translate":
        return [(f"{a} {b}", f"{b} {a}") for a, b in draw.integers(0, 99, (40, 2))], small | dict(embed=4)
    return np.cumsum(draw.standard_normal((200, 2)), axis=0), small | dict(target="value1", horizon=3)


@pytest.mark.parametrize("task", ["lm", "classify", "translate", "forecast"])
def test_data_from_memory_is_stored_beside_the_run(tmp_path, monkeypatch, task):
    monkeypatch.chdir(tmp_path)
    data, options = from_memory(task)
    run = tr.train(data, task, quiet=True, **options)
    (stored,) = run.config["options"]["texts"]
    assert stored.startswith(str(tmp_path / "runs" / "data-"))
    again = tr.train(stored, task, quiet=True, **options)
    for name, value in weights(run.path).items():
        np.testing.assert_array_equal(value, weights(again.path)[name])
    assert run.resume(steps=3, quiet=True).log[-1]["step"] == 3
    assert run.evaluate()


def test_data_of_no_kind_that_a_task_reads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for task in ("lm", "classify", "translate", "forecast"):
        with pytest.raises(tr.InputError, match="give their paths, not"):
            tr.train(3.5, task, quiet=True)
    with pytest.raises(tr.InputError, match="does not exist"):
        tr.train("a text and no path", quiet=True)
    assert not list(tmp_path.glob("runs/*-gru*"))


def test_a_frame_without_dates_is_its_columns(tmp_path, monkeypatch):
    pandas = pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    frame = pandas.DataFrame({"sales": np.cumsum(np.random.default_rng(0).standard_normal(200))})
    run = tr.train(frame, "forecast", hidden=8, steps=2, horizon=3, quiet=True)
    assert run.model.columns == ["sales"]
    frame.index = pandas.date_range("2020-01-01", periods=200, name="day")
    dated = tr.train(frame, "forecast", hidden=8, steps=2, horizon=3, quiet=True)
    assert dated.model.season == 7
    with pytest.raises(tr.InputError):  # no column of numbers: its row numbers are none
        tr.train(pandas.DataFrame({"name": ["x"] * 200}), "forecast", quiet=True)


def test_a_text_in_place_of_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in ("the cat sat on the mat. " * 40, "two\nlines", "a\0b"):
        with pytest.raises(tr.InputError, match=r"io\.StringIO\(text\)"):
            tr.train(text, quiet=True)


def test_options_that_evaluation_does_not_have(run):
    with pytest.raises(tr.InputError, match="evaluated without 'beam'"):
        run.evaluate(beam=3)


def test_a_run_is_not_taken_up_as_another_task(run):
    for more in ([], ["--text-column", "a"]):
        arguments = ["train", "--resume", str(run.path), "--task", "classify", *more]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 2
        assert "was trained with --task lm, not classify" in result.output
