"""`tinyrnn compress` and `tr.compress` on every task: what is stored, what it costs, what is refused."""

import io
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from cell_files import CELL
from click.testing import CliRunner
from conftest import TEXT
from safetensors.numpy import load as read_arrays

import tinyrnn as tr
from tinyrnn.cli import main
from tinyrnn.kernels.references import quantised
from tinyrnn.tools import compress
from tinyrnn.tools.export import torch as torch_form
from tinyrnn.training import pictures, runs
from tinyrnn.training.trainer import Trainer

SMALL = dict(hidden=24, layers=1, steps=8, eval_every=4, batch_size=8, seed=2, quiet=True)
LETTERS = [np.sin(np.arange(12)[:, None] / (i % 2 + 1)) for i in range(24)]
TASKS = {
    "lm": (TEXT[:900], dict(seq_len=10, embed=8, dropout=0.1)),
    "classify": ([(w * 3, w[0]) for w in ("ab", "ba", "abb", "baa") * 8], dict(embed=8, level="char")),
    "sequences": ((LETTERS, ["ab"[i % 2] for i in range(24)]), {}),
    "forecast": (np.sin(np.arange(120) / 3) + np.arange(120) / 50, dict(horizon=3, window=8)),
    "translate": (
        [(f"{a}{b}", f"{b}{a}") for a in "abcd" for b in "efgh"],
        dict(embed=8, bidirectional=True),
    ),
}


def tinyrnn(*args, code=0):
    result = CliRunner().invoke(main, list(map(str, args)), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    """Speed is measured in a moment, and nothing is drawn but where that is tested."""
    monkeypatch.setattr(compress, "TIMED", 1e-4)
    monkeypatch.setattr(pictures, "available", lambda: False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "available", lambda: False)
        patch.chdir(folder)
        return {
            name: tr.train(
                io.StringIO(data) if isinstance(data, str) else data,
                "classify" if name == "sequences" else name, out=folder / name, **SMALL, **options,
            )
            for name, (data, options) in TASKS.items()
        }  # fmt: skip


def used(run):
    """Something that the run's task says."""
    inputs = {"classify": ["abab"], "translate": ["ae"], "forecast": None}
    task = run._folder.config["task"]
    if task == "lm":
        return run.generate("the ", length=20, seed=0)
    if run.path.name.startswith("sequences") or "features" in run.model.facts():
        return run.evaluate()
    return run.predict(inputs[task])


@pytest.mark.parametrize("name", TASKS)
def test_every_task(trained, tmp_path, name):
    run = trained[name]
    given = ["--int8", "--prune", "0.5,0.8", "--steps", 6, "--out", tmp_path / "out", "--json"]
    rows = [json.loads(line) for line in tinyrnn("compress", run.path, *given).stdout.splitlines()]
    names = [
        "original",
        *["prune0.5", "prune0.5-int8", "prune0.5-int8"],
        *["prune0.8", *["prune0.8-int8"] * 2],
    ]
    assert [row["name"] for row in rows] == names
    assert [row["products"] for row in rows] == ["float32", *["float32", "float32", "int8"] * 2]
    size = {row["name"]: row["bytes"] for row in rows}
    assert size["original"] > size["prune0.5"] > size["prune0.8"] > size["prune0.8-int8"]
    assert size["prune0.5"] > size["prune0.5-int8"]
    assert all(row["steps_per_s"] > 0 and np.isfinite(row["loss"]) for row in rows)
    before = {n: p.numpy() for n, p in run.model.matrices().items()}
    for row in rows:
        made = tr.Run(row["path"])
        file = runs.weights_file(row["path"])
        assert file.stat().st_size == row["bytes"]
        part = 0.8 if "0.8" in row["name"] else 0.5 if "0.5" in row["name"] else 0
        assert row["sparsity"] == pytest.approx(part, abs=0.06), row  # and int8 rounds some more to 0
        for kind in ("evaluate", "log", "model"):
            assert getattr(made, kind)
        assert made.evaluate().keys() == run.evaluate().keys() and used(made)
        assert {n: p.shape for n, p in made.model.matrices().items()} == {
            n: a.shape for n, a in before.items()
        }
        if row["name"] == "prune0.8":
            zeros = {n: p.numpy() == 0 for n, p in made.model.matrices().items()}
        if row["name"] == "prune0.8-int8":
            assert all((made.model.state_dict()[n][z] == 0).all() for n, z in zeros.items())
            facts = runs.load_tensors(file)[1]["compressed"]
            assert facts["sparsity"] == 0.8 and facts["int8"]["calibrated_on_steps"] == compress.CALIBRATION
    exact = tr.Run(rows[0]["path"])
    assert rows[0]["path"] == str(run.path) and "prune" not in str(exact.options.get("prune", ""))
    if name in ("lm", "classify", "translate", "sequences"):
        assert rows[0]["loss"] == pytest.approx(run.evaluate()["loss"], rel=1e-6)
        made = tr.Run(rows[2]["path"])
        assert rows[2]["loss"] == pytest.approx(made.evaluate()["loss"], rel=1e-6)
        assert rows[2]["loss"] == pytest.approx(made.log[-1]["val_loss"], rel=1e-6)


def test_the_table_and_the_picture(trained, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.undo()
    monkeypatch.setattr(compress, "TIMED", 1e-4)
    said = tinyrnn("compress", trained["lm"].path, "--int8", "--out", tmp_path / "run").stdout
    lines = said.splitlines()
    assert lines[0].split() == ["products", "bytes", "zeros", "symbols/s", "loss", "change"]
    first, plain, fast = (line.split() for line in lines[1:4])
    assert first[:2] == ["original", "float32"] and first[3:5] == ["100%", "0.0%"]
    assert plain[:2] == ["int8", "float32"] and fast[:2] == ["int8", "int8"]
    size = (tmp_path / "run" / runs.BEST).stat().st_size
    assert plain[2] == fast[2] == f"{size:,}" and plain[-1][0] in "+-"
    assert lines[-2:] == [str(tmp_path / "run"), str(tmp_path / "run" / "compress.png")]
    assert b"tinyrnn" in (tmp_path / "run" / "compress.png").read_bytes()[:1024]


# ------------------------------------------------------------------ 8 bits


def test_8_bits_are_those_of_the_kernels(trained, tmp_path, monkeypatch):
    """Integers times scales, as `quantised` has them; a second rounding in products changes nothing."""
    monkeypatch.setattr(compress, "CLIPS", np.ones(1))
    run = trained["lm"]
    tr.compress(run, int8=True, out=tmp_path / "run", quiet=True)
    now, before = tr.Run(tmp_path / "run").model, run.model.state_dict()
    stored = read_arrays((tmp_path / "run" / runs.BEST).read_bytes())
    assert {name for name, a in stored.items() if a.dtype == np.int8} == now.matrices().keys()
    for name, array in now.state_dict().items():
        if name not in now.matrices():
            np.testing.assert_array_equal(array, before[name], err_msg=name)
            continue
        axis = 1 if name == "embedding.weight" else 0
        integers, scale = quantised(before[name], axis, 127)
        np.testing.assert_array_equal(stored[name], integers)
        np.testing.assert_array_equal(stored[f"{name}.scale"], scale)
        np.testing.assert_array_equal(array, integers * scale)
        np.testing.assert_array_equal(quantised(array, axis, 127)[0], integers)
    exported = torch_form.to_torch(now, "w", in_bytes=True)[1]
    np.testing.assert_array_equal(exported["output_weight"], stored["output.weight"])
    np.testing.assert_array_equal(exported["embedding_weight"], stored["embedding.weight"])


def test_clipped_scales_are_rounded_to_the_same_integers_again(rng):
    x = rng.normal(size=(50, 40)).astype("f")
    integers, scale = compress.in_bytes(x, 0, np.linspace(0.5, 1, 40)[None])
    again, scale_again = quantised(integers * scale, 0, 127)
    np.testing.assert_array_equal(again, integers)
    np.testing.assert_allclose(scale_again, scale, rtol=1e-6)
    np.testing.assert_allclose(np.abs(integers).max(axis=0), 127)


def test_calibration_cuts_off_what_does_not_matter():
    """A column with one large weight whose gradient is 0: its scale is that of the others."""
    model = tr.Linear(20, 3, generator=tr.Generator(0))
    weight = model.weight.numpy().copy()
    weight[0, 1] = 1.6 * np.abs(weight[:, 1]).max()
    model.weight.assign_(weight)
    model.generator = tr.Generator(1)
    x = np.random.default_rng(0).normal(size=(30, 20)).astype("f")
    x[:, 0] = 0  # nothing is ever read there
    reset = []
    task = SimpleNamespace(
        model=model, loss=lambda step: (model(x) ** 2).mean(), load_state_arrays=reset.append
    )
    clips, cut = compress.calibrated(task, {"weight": 0})
    assert clips["weight"].shape == (1, 3) and reset == [{}, {}]
    assert clips["weight"][0, 1] <= 0.7 and 0 < cut <= 1
    assert not model.training and model.weight.grad is None

    def change(clip):
        integers, scale = compress.in_bytes(weight, 0, clip)
        return np.square(x @ weight - x @ (integers * scale)).sum(axis=0)

    assert change(clips["weight"])[1] < 0.7 * change(1.0)[1]


def test_a_run_in_8_bits_goes_nowhere_but_begins_others(trained, tmp_path):
    run = trained["lm"]
    tr.compress(run, int8=True, out=tmp_path / "run", quiet=True)
    said = tinyrnn("train", "--resume", tmp_path / "run", "--steps", 20, code=2).output
    assert f"was compressed, not trained: begin a new run with --from {tmp_path / 'run'}" in said
    said = tinyrnn("compress", tmp_path / "run", "--int8", code=2).output
    assert "is in 8 bits already: leave --int8 out" in said
    more = [
        "--from",
        tmp_path / "run",
        "--steps",
        1,
        "--batch-size",
        4,
        "--seq-len",
        8,
        "--out",
        tmp_path / "more",
    ]
    tinyrnn("train", run.options["texts"][0], *more)
    rows = tr.compress(tmp_path / "run", prune=0.5, steps=4, out=tmp_path / "pruned", quiet=True)
    assert rows[1]["sparsity"] == pytest.approx(0.5, abs=0.01)


# ------------------------------------------------------------------ pruning


def test_a_pruned_run_goes_on_and_stays_pruned(trained, tmp_path):
    run = trained["lm"]
    rows = tr.compress(run, prune=0.7, steps=20, lr=0.01, out=tmp_path / "run", quiet=True)
    assert [row["name"] for row in rows] == ["original", "prune0.7"]
    made = tr.Run(tmp_path / "run")
    assert made.options["prune"] == 0.7 and made.options["steps"] == 20 and made.options["lr"] == 0.01
    assert made.options["from_run"] == str(run.path) and made.log[0]["step"] == 0
    before = {n: a == 0 for n, a in made.model.state_dict().items()}
    assert before["rnn.cells.0.W"].any() if "rnn.cells.0.W" in before else True
    longer = made.resume(steps=30, quiet=True).model.state_dict()
    for name, zero in before.items():
        if name.endswith(("weight", "W", "U", "W_x", "W_h")):
            np.testing.assert_array_equal(longer[name] == 0, zero, err_msg=name)


def test_how_long_it_is_trained_on_follows_from_the_run(trained, tmp_path):
    run = trained["classify"]
    tr.compress(run, prune=0.5, out=tmp_path / "run", quiet=True)
    made = tr.Run(tmp_path / "run").options
    assert (
        made["steps"] == round(compress.LENGTH * SMALL["steps"])
        and made["lr"] == run.options["lr"] * compress.RATE
    )


def test_an_interruption_says_what_goes_on(trained, tmp_path, monkeypatch):
    step = Trainer._train_step

    def stopping(self):
        step(self)
        if self.step == 3:
            self._stop.set()

    monkeypatch.setattr(Trainer, "_train_step", stopping)
    given = ["compress", trained["lm"].path, "--prune", "0.5,0.8", "--steps", 6, "--out", tmp_path / "out"]
    said = tinyrnn(*given, code=130).stderr
    where = tmp_path / "out" / "prune0.5"
    assert f"interrupted at step 3, saved; go on with: tinyrnn train --resume {where}" in said
    monkeypatch.undo()
    monkeypatch.setattr(pictures, "available", lambda: False)
    tinyrnn("train", "--resume", where)
    zeros = [p.numpy() == 0 for p in tr.load(where).matrices().values()]
    assert np.mean(np.concatenate([z.ravel() for z in zeros])) == pytest.approx(0.5, abs=0.02)


def test_a_cell_in_a_file_needs_consent(tmp_path):
    (tmp_path / "cell.py").write_text(CELL)
    (tmp_path / "text.txt").write_text(TEXT[:600])
    run = tr.train(
        tmp_path / "text.txt", cell=f"{tmp_path}/cell.py:Mine", out=tmp_path / "run", seq_len=8, **SMALL
    )
    given = ["compress", tmp_path / "run", "--int8", "--prune", "0.5", "--steps", 2]
    assert "--allow-code" in tinyrnn(*given, code=2).output
    assert not (tmp_path / "run-compressed").exists()
    tinyrnn(*given, "--allow-code")
    made = tr.Run(tmp_path / "run-compressed" / "prune0.5-int8", allow_code=True)
    assert made.evaluate()["loss"] > 0
    assert tr.compress(run, int8=True, quiet=True, out=tmp_path / "twin")[1]["name"] == "int8"


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(("given", "said"), [
    ([], "there is nothing to do: give --int8, --prune 0.8, or both"),
    (["--prune", "80%"], "--prune is '80%': give different numbers between 0 and 1"),
    (["--prune", "1"], "--prune is '1': give different numbers between 0 and 1"),
    (["--prune", "0.5,0.5"], "--prune is '0.5,0.5': give different numbers"),
    (["--prune", "0.5,"], "--prune is '0.5,': give different numbers"),
    (["--prune", "nan"], "--prune is 'nan': give different numbers"),
    (["--int8", "--steps", "5"], "--steps and --lr are of pruning: give --prune 0.8 as well"),
    (["--prune", "0.5", "--steps", "0"], "it must be an integer of at least 1, not 0"),
    (["--int8", "--out", "RUN"], "exists and is never overwritten: choose another --out"),
    (["nowhere.txt", "--int8"], "RUN was trained on nowhere.txt, which is not here: name the same data"),
    (["OTHER", "--int8"], "RUN was trained on other data: name that after RUN"),
])  # fmt: skip
def test_bad_input_is_one_sentence(trained, tmp_path, given, said):
    run = trained["lm"].path
    other = tmp_path / "other.txt"
    other.write_text(TEXT[:800])
    args = [{"RUN": run, "OTHER": other}.get(a, a) for a in given]
    out = tmp_path / "out"
    found = tinyrnn("compress", run, *args, *([] if "--out" in given else ["--out", out]), code=2)
    text = " ".join(found.output.replace(str(run), "RUN").split())
    assert "Traceback" not in text and not out.exists()
    assert said in text, text


def test_what_cannot_be_compressed(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT[:600])
    wide = tr.train("text.txt", out="wide", dtype="float64", seq_len=8, **SMALL)
    said = tinyrnn("compress", "wide", "--int8", code=2).output
    assert "int8 weights are for models of float32 on cpu, not float64 on cpu: leave them out" in said
    assert tr.compress(wide, prune=0.5, steps=2, quiet=True)[1]["products"] == "float64"
    (tmp_path / "text.txt").rename("there.txt")
    said = tinyrnn("compress", "wide", "--prune", "0.5", "--out", "new", code=2).output
    assert "wide was trained on" in said and "name the same data after RUN" in said
    tinyrnn("compress", "wide", "there.txt", "--prune", "0.5", "--steps", 2, "--out", "new")
    assert "is not a run folder" in tinyrnn("compress", "nothing", "--int8", code=2).output
    with pytest.raises(tr.InputError, match="compress has no option 'int4': it has int8"):
        tr.compress("wide", int4=True)
    shutil.copytree(trained["lm"].path, "piped")
    config = json.loads((tmp_path / "piped" / runs.CONFIG).read_text())
    config["options"]["texts"], config["digest"] = ["-"], None
    (tmp_path / "piped" / runs.CONFIG).write_text(json.dumps(config))
    said = tinyrnn("compress", "piped", "--int8", code=2).output
    assert "piped was trained on standard input, which is not kept: name the data after RUN" in said


def test_the_twin_says_what_the_command_says(trained, tmp_path):
    run = trained["lm"]
    rows = tr.compress(run, int8=True, prune=[0.5], steps=4, out=tmp_path / "twin", quiet=True)
    given = ["--int8", "--prune", "0.5", "--steps", 4, "--out", tmp_path / "command", "--json"]
    said = [json.loads(line) for line in tinyrnn("compress", run.path, *given).stdout.splitlines()]
    for one, other in zip(rows, said, strict=True):
        own = ("name", "bytes", "sparsity", "products", "loss")
        assert {k: one[k] for k in own} | {"bytes": 0} == {k: other[k] for k in own} | {"bytes": 0}
    with pytest.raises(tr.InputError, match="there is nothing to do: give int8=, prune=0.8, or both"):
        tr.compress(run)
