"""`tr.train`, the twin of the command, and `Run`."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import tinyrnn as tr
from tinyrnn.cli import main
from tinyrnn.tasks.lm.task import LanguageModeling
from tinyrnn.training.runs import load_tensors
from tinyrnn.training.task import Task

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
    assert json.loads((tmp_path / "other" / "config.json").read_text())["options"] == run.options


def test_what_a_run_offers(run):
    assert [r["step"] for r in run.log] == [3, 6]
    assert isinstance(run.model.generate("the ", length=5, seed=0), str)
    assert run.evaluate()["loss"] == pytest.approx(min(r["val_loss"] for r in run.log), rel=1e-6)
    assert "step 6" in repr(run)
    assert "lm, ln-gru" in repr(run)
    assert run.plot().read_bytes()[:4] == b"\x89PNG"
    assert run.generate("the ", length=5, seed=0) == run.model.generate("the ", length=5, seed=0)
    assert run.options["hidden"] == 8 and run.path.name == "run"
    offered = {name for name in dir(run) if not name.startswith("_")}
    assert offered == set("of path options model log evaluate robust predict generate plot resume".split())


def test_what_does_not_predict_says_so(run, monkeypatch):
    with pytest.raises(tr.InputError, match="predicts no labels: use generate"):
        run.predict("a text")
    monkeypatch.setattr(LanguageModeling, "predict", Task.predict)  # a task without it
    with pytest.raises(tr.InputError, match="predicts nothing: use evaluate"):
        run.predict("a text")


def test_predict_says_what_the_command_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for task, inputs in (("classify", ["a lovely film"]), ("translate", ["12 34"]), ("forecast", [])):
        data, options = from_memory(task)
        run = tr.train(data, task, quiet=True, **options)
        said = CliRunner().invoke(main, ["predict", str(run.path), *inputs, "--json"])
        assert said.exit_code == 0, said.output
        assert [json.loads(line) for line in said.stdout.splitlines()] == run.predict(inputs)
        if inputs:
            assert run.predict(inputs[0]) == run.predict(inputs)
            for wrong in (5, [5]):
                with pytest.raises(tr.InputError, match="5 cannot be predicted from"):
                    run.predict(wrong)
        with pytest.raises(tr.InputError, match="predicts without 'beams'"):
            run.predict(inputs, beams=3)
        with pytest.raises(tr.InputError, match="is no language model: use predict"):
            run.generate()


def test_a_run_is_resumed_exactly(tmp_path, text_file, run):
    longer = run.resume(steps=9, quiet=True)
    whole = tr.train(text_file, out=tmp_path / "whole", quiet=True, **SMALL | dict(steps=9))
    assert longer.log[-1]["step"] == 9
    for name, value in weights(whole.path).items():
        np.testing.assert_array_equal(value, weights(longer.path)[name])
    with pytest.raises(tr.InputError, match="leave hidden= out"):
        run.resume(hidden=9)


def test_it_shows_what_the_command_shows(tmp_path, text_file, capsys):
    tr.train(text_file, out=tmp_path / "run", **SMALL)
    said = capsys.readouterr().out
    assert "model       ln-gru, 2 x 8" in said
    assert "validation" in said


@pytest.mark.parametrize(("given", "said"), [
    (dict(hiden=8), "no option 'hiden': did you mean hidden"),
    (dict(task="forcast"), "did you mean forecast"),
    (dict(minutes=float("nan")), "minutes is nan"),
    (dict(horizon=3), "task lm has no option 'horizon': give task='forecast'"),
    (dict(cell="grue"), "did you mean gru"),
    (dict(task=0), "unknown task 0"),
    (dict(task=5), "unknown task 5"),
    (dict(task=["lm"]), "unknown task"),
    (dict(threads="2"), "threads is '2': it must be an integer of at least 1"),
    (dict(threads=-1), "threads is -1: it must be an integer of at least 1"),
    (dict(out=5), "out is 5: it must be the path of a file or folder"),
    (dict(device="gpu"), "device is 'gpu': use one of cpu, cuda"),
    (dict(device=5), "device is 5: use one of cpu, cuda"),
    (dict(cell=5), "cell is 5: it must be a text"),
    (dict(cell_opt=5), "cell_opt is 5: it must be a text"),
    (dict(cell_opt=0), "cell_opt is 0: it must be a text"),
    (dict(cell_opt=[3]), "it must be a text"),
    (dict(val=5), "val is 5: it must be the path"),
    (dict(hidden=10**12), "does not fit into memory: hidden 1,000,000,000,000, layers 2, batch_size 32"),
    (dict(embed=10**18), "does not fit into memory: .*embed 1,000,000,000,000,000,000"),
    (dict(hidden=10**400), "hidden is 10+[.]{3}, which is too large: it must be an integer"),
    (dict(hidden=10**5000), "hidden is int too long to be written, which is too large"),
    (dict(lr=10**400), "lr is 10+[.]{3}, which is too large: it must be a finite number"),
    (dict(seed=-1), "seed is -1"),
    (dict(encoding="foo"), "encoding is 'foo': use an encoding of texts, such as utf-8"),
    (dict(encoding="hex"), "encoding is 'hex': use an encoding"),
    (dict(encoding="a\0b"), "use an encoding of texts"),
    (dict(encoding=5), "encoding is 5: use an encoding"),
    (dict(cell_opt={"reset": True}), "reset"),
])  # fmt: skip
def test_bad_options(tmp_path, text_file, given, said):
    with pytest.raises(tr.InputError, match=said):
        tr.train(text_file, **dict(out=tmp_path / "run", quiet=True, steps=1) | given)
    assert not (tmp_path / "run").exists()


def test_paths_are_texts_or_paths(tmp_path, text_file):
    run = tr.train(text_file, val=text_file, out=tmp_path / "run", quiet=True, **SMALL | dict(steps=1))
    assert run.options["val"] == str(text_file)


def test_large_seeds_stay_what_they_are(tmp_path, text_file):
    seed = 2**60 + 1
    run = tr.train(text_file, seed=seed, out=tmp_path / "run", quiet=True, **SMALL | dict(steps=1))
    flags = [f"--{k.replace('_', '-')}={v}" for k, v in (SMALL | dict(steps=1, seed=seed)).items()]
    result = CliRunner().invoke(main, ["train", str(text_file), *flags, "--out", str(tmp_path / "other")])
    assert result.exit_code == 0, result.output
    assert run.options["seed"] == tr.Run(tmp_path / "other").options["seed"] == seed


def test_cell_options_are_a_dict(tmp_path, text_file):
    settings = SMALL | dict(steps=1, cell_opt={"reset_after": True})
    run = tr.train(text_file, out=tmp_path / "run", quiet=True, **settings)
    assert run.options["cell_opt"] == ["reset_after=true"]
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


@pytest.mark.sample(2)
@pytest.mark.parametrize("task", ["lm", "classify", "translate", "forecast"])
def test_data_from_memory_is_stored_beside_the_run(tmp_path, monkeypatch, task):
    monkeypatch.chdir(tmp_path)
    data, options = from_memory(task)
    run = tr.train(data, task, quiet=True, **options)
    (stored,) = run.options["texts"]
    assert stored.startswith(str(tmp_path / "runs" / "data-"))
    again = tr.train(stored, task, quiet=True, **options)
    for name, value in weights(run.path).items():
        np.testing.assert_array_equal(value, weights(again.path)[name])
    assert run.resume(steps=3, quiet=True).log[-1]["step"] == 3
    assert run.evaluate()


def test_data_of_no_kind_that_a_task_reads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for task in ("lm", "classify", "translate", "forecast"):
        with pytest.raises(tr.InputError, match=f"task {task} is 3.5: give paths of files, or "):
            tr.train(3.5, task, quiet=True)
    with pytest.raises(tr.InputError, match="does not exist"):
        tr.train("a text and no path", quiet=True)
    assert not list(tmp_path.glob("runs/*-gru*"))


def closed():
    text = io.StringIO("some text")
    text.close()
    return text


PAIRS = [("a lovely film", "good"), ("an awful bore", "bad")] * 20


@pytest.mark.parametrize(("task", "data", "options", "said"), [
    ("lm", [], {}, "the data is empty"),
    ("lm", (), {}, "the data is empty"),
    ("lm", ["a.txt", 5], {}, "give paths of files, or an open text"),
    ("lm", closed(), {}, "cannot be read .*closed.*: open it anew"),
    ("lm", io.BytesIO(b"\xff\xfe no text"), {}, "is not utf-8 text"),
    ("lm", io.StringIO(""), {}, "there is no text in it"),
    ("lm", io.StringIO("half \ud800 of one " * 99), {}, r"holds '\\ud800', which is no character of utf-8"),
    ("lm", io.StringIO("snow \u2603 " * 99), dict(encoding="latin-1"), "is no character of latin-1"),
    ("lm", io.StringIO("a text " * 99), dict(encoding="rot13"), "encoding is 'rot13': use an encoding"),
    ("lm", io.StringIO("a text " * 99), dict(hidden=10**12), "does not fit into memory"),
    ("lm", io.StringIO("a text " * 99), dict(cell="grue"), "did you mean gru"),
    ("classify", [("a", 1)], {}, r"entry 0 of the data is \('a', 1\): give pairs \(text, label\) of texts"),
    ("classify", ["ab", "cd"], {}, "ab does not exist"),
    ("classify", [{"text": "a", "label": "b"}], {}, "entry 0 of the data is {'text'"),
    ("classify", [*PAIRS, ("half \ud800", "good")], {}, "which is no character of utf-8"),
    ("classify", PAIRS[:1], {}, "there is nothing to tell apart"),
    ("classify", closed(), {}, "give paths of files, or pairs"),
    ("translate", [("a", "b", "c")], {}, "entry 0 of the data is"),
    ("translate", [("a\rb", "c")] * 20, {}, "there are 1 different sources"),
    ("translate", [("a\0b", "c")] * 20, {}, "may hold no NUL"),
    ("translate", [("a", "b")] * 20, {}, "there are 1 different sources"),
    ("forecast", [1.0, 2.0], {}, r"task forecast is \[1.0, 2.0\]: give paths of files, or an array"),
    ("forecast", np.ones(5), {}, "too few"),
])  # fmt: skip
def test_data_that_cannot_be_used_leaves_nothing(tmp_path, monkeypatch, task, data, options, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(tr.InputError, match=said) as error:
        tr.train(data, task, quiet=True, **options)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_what_was_there_before_a_failed_call_stays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data, options = from_memory("classify")
    run = tr.train(data, "classify", quiet=True, **options)
    before = sorted(tmp_path.rglob("*"))
    for wrong in (dict(cell="grue"), dict(hidden=10**12), dict(out=run.path)):
        with pytest.raises(tr.InputError):
            tr.train(data, "classify", quiet=True, **options | wrong)
        assert sorted(tmp_path.rglob("*")) == before


def test_data_of_a_run_that_diverged_stays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data, options = from_memory("lm")
    with pytest.raises(tr.Diverged):
        tr.train(data, quiet=True, **options | dict(steps=50, lr=1e9, warmup=0, clip=0))
    (stored,) = tr.Run(next(tmp_path.glob("runs/*-gru"))).options["texts"]
    assert stored in map(str, tmp_path.glob("runs/data-*.txt"))


def test_data_from_memory_is_read_as_it_is(tmp_path, monkeypatch):
    """Whatever its encoding, and whatever its characters: none ends a line that is not the end of one."""
    monkeypatch.chdir(tmp_path)
    small = dict(hidden=8, steps=1, quiet=True)
    run = tr.train(io.StringIO("Grüße " * 99), encoding="latin-1", embed=4, seq_len=10, **small)
    assert run.model.vocabulary.symbols == sorted(set("Grüße "))
    odd = [("a\u2028b\x85c\x0bd\re\nf\0g", "x")] * 5 + PAIRS[:2] * 5
    run = tr.train(odd, "classify", level="char", **small)
    assert set("\u2028\x85\x0b\r\n\0") < set(run.model.vocabulary.symbols)
    pairs = [(f"{i}\u2028b\x85c\x0bd", f"{i}") for i in range(20)]
    assert set("\u2028\x85\x0b") < set(tr.train(pairs, "translate", **small).model.source.symbols)


def test_a_frame_with_gaps(tmp_path, monkeypatch):
    pandas = pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    frame = pandas.DataFrame({"text": ["a", "b"], "label": ["x", None]})
    with pytest.raises(tr.InputError, match=r"row 2: column 'label' is empty"):
        tr.train(frame, "classify", quiet=True)


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


def test_messages_name_keywords_where_commands_name_flags(tmp_path, text_file, run, monkeypatch):
    """What is said to Python is what a command says, in Python's words."""
    monkeypatch.chdir(tmp_path)
    short = tmp_path / "short.txt"
    short.write_text("to be or not " * 3)
    table = tmp_path / "table.csv"
    table.write_text("texts,label\na,b\nc,d\n")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\xfa" * 50)
    asked = {
        "choose another out=, or tr.Run": lambda: tr.train(text_file, out=run.path),
        "name its encoding=": lambda: tr.train(tmp_path / "bytes.txt"),
        "or use level='byte'": lambda: tr.train(tmp_path / "bytes.txt"),
        "choose text_column= from": lambda: tr.train(table, "classify"),
        "task='classify' needs data": lambda: tr.train(None, "classify"),
        "use a lower lr= than|lower lr=": lambda: tr.train(
            text_file, **{**SMALL, "steps": 50}, lr=1e9, warmup=0, clip=0, quiet=True, out="wild"
        ),
        "use generate": lambda: run.predict("a text"),
        "leave optimizer= out": lambda: run.resume(optimizer="sgd", quiet=True),
        "is complete|past": lambda: run.resume(steps=2, quiet=True),
    }
    for said, ask in asked.items():
        with pytest.raises((tr.InputError, tr.Diverged), match=said) as caught:
            ask()
        assert "--" not in str(caught.value) and "tinyrnn " not in str(caught.value)
    with pytest.raises(tr.InputError, match="a--steps.txt does not exist"):  # which is no flag
        tr.train(tmp_path / "a--steps.txt")
    there = tmp_path / "README.md"
    there.write_text("mine")
    with pytest.raises(tr.InputError, match="choose another out=$"):  # it is no run to go on with
        tr.train(text_file, out=there)


def test_equal_runs_have_equal_files(tmp_path, text_file):
    """From two processes too: the library of the checkpoints orders their metadata anew in each."""
    code = f"import tinyrnn as tr; tr.train({str(text_file)!r}, out=OUT, quiet=True, **{SMALL})"
    for name in ("a", "b"):
        subprocess.run([sys.executable, "-c", code.replace("OUT", repr(str(tmp_path / name)))], check=True)
    for file in ("best.safetensors", "last.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    size = int.from_bytes((tmp_path / "a" / "best.safetensors").read_bytes()[:8], "little")
    header = json.loads((tmp_path / "a" / "best.safetensors").read_bytes()[8 : 8 + size])
    assert list(header["__metadata__"]) == sorted(header["__metadata__"])


def test_nothing_to_predict_from(tmp_path):
    table = tmp_path / "a.csv"
    table.write_text("text,label\n" + "good,pos\nbad,neg\n" * 20)
    run = tr.train(table, "classify", out=tmp_path / "run", quiet=True, hidden=4, embed=4, steps=1)
    for given, said in (
        (None, "nothing to predict from"),
        ("", "a text is empty"),
        (b"good", "b'good' cannot"),
    ):
        with pytest.raises(tr.InputError, match=said):
            run.predict(given)
    assert run.predict([]) == []
