"""Run folders and files that somebody made to do harm: nothing outside tinyrnn's own files is touched, and no
other code is run than was consented to.
"""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

import tinyrnn as tr
from tinyrnn.base import files
from tinyrnn.nn import registry
from tinyrnn.training import experiments, runs

CELL = """
import tinyrnn as tr

class A(tr.Cell):
    states = ("h",)

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size)

    def step(self, x, h):
        return tr.tanh(x @ self.W + h @ self.U + self.b)
"""
OPTIONS = dict(hidden=4, embed=4, layers=1, seq_len=5, batch_size=2, steps=2, eval_every=2)
posix = pytest.mark.skipif(os.name != "posix", reason="links and bytes in names, as POSIX has them")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    text = folder / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 20, encoding="utf-8")
    (folder / "cell.py").write_text(CELL, encoding="utf-8")
    tr.train(str(text), out=folder / "run", **OPTIONS)
    tr.train(str(text), out=folder / "own", cell=f"{folder / 'cell.py'}:A", **OPTIONS)
    return folder


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of the runs beside their text and cell, which stay where they were."""
    for name in ("run", "own"):
        shutil.copytree(trained / name, tmp_path / name)
    return tmp_path


def tinyrnn(*arguments, **more):
    command = [sys.executable, "-m", "tinyrnn", *map(os.fsdecode, arguments)]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, **more)


@posix
@pytest.mark.parametrize("kind", ["link", "dangling", "hard", "other"])
def test_a_lock_that_is_something_else_is_left_as_it_is(folder, kind):
    victim, lock = folder / "victim", folder / "run" / runs.LOCK
    victim.write_text("precious\n", encoding="utf-8")
    if kind == "hard":
        os.link(victim, lock)
    elif kind == "other":
        lock.write_text("precious\n", encoding="utf-8")
    else:
        lock.symlink_to(victim if kind == "link" else folder / "new")
    with pytest.raises(tr.InputError, match="train.lock"):
        tr.Run(folder / "run").resume(steps=4)
    assert victim.read_text(encoding="utf-8") == "precious\n" and not (folder / "new").exists()
    assert kind != "other" or lock.read_text(encoding="utf-8") == "precious\n"


@posix
def test_what_lies_beside_runs_is_left_as_it_is(folder, trained):
    victim, project = folder / "victim", folder / ".vscode"
    victim.write_text("precious\n", encoding="utf-8")
    (folder / f".x.01234567{runs.CREATING}").symlink_to(victim)
    project.mkdir()
    (project / "config.json").write_text("{}", encoding="utf-8")
    (folder / f".vscode{runs.CREATING}").touch()
    tr.train(str(trained / "text.txt"), out=folder / "new", **OPTIONS)
    assert victim.read_text(encoding="utf-8") == "precious\n" and (project / "config.json").exists()


def test_code_that_changes_after_it_was_looked_at_is_not_run(folder, trained, monkeypatch):
    file, ran = trained / "cell.py", folder / "ran"
    looked, source = registry.refuse_changed, file.read_bytes()

    def looked_and_changed(meta):
        looked(meta)
        file.write_text(CELL + f"open({str(ran)!r}, 'w').close()\n", encoding="utf-8")

    monkeypatch.setattr(registry, "refuse_changed", looked_and_changed)
    try:
        with pytest.raises(tr.InputError, match="being changed"):
            tr.load(folder / "own", allow_code=True)
    finally:
        file.write_bytes(source)
    assert not ran.exists()
    monkeypatch.undo()
    assert tr.load(folder / "own", allow_code=True).settings["cell"].endswith("cell.py:A")


@posix
def test_a_cell_is_not_found_through_the_folder_of_the_reader(folder, trained, monkeypatch):
    if not os.path.isdir("/proc/self/cwd"):
        pytest.skip("needs /proc")
    monkeypatch.chdir(trained)
    tensors, meta = runs.load_tensors(folder / "own" / runs.BEST)
    meta["model"]["cell"] = "/proc/self/cwd/cell.py:A"
    runs.save_tensors(folder / "own" / runs.BEST, tensors, meta)
    with pytest.raises(tr.InputError, match="named through a link"):
        tr.load(folder / "own", allow_code=True)


def test_who_names_a_changed_file_is_told(folder, trained, capsys):
    changed = folder / "cell.py"
    changed.write_text(CELL + "# another\n", encoding="utf-8")
    config = json.loads((folder / "own" / runs.CONFIG).read_text(encoding="utf-8"))
    config["options"]["cell"], config["digest"] = f"{changed}:A", None
    (folder / "own" / runs.CONFIG).write_text(json.dumps(config), encoding="utf-8")
    for name in (runs.BEST, runs.LAST):
        tensors, meta = runs.load_tensors(folder / "own" / name)
        meta["model"]["cell"] = f"{changed}:A"
        runs.save_tensors(folder / "own" / name, tensors, meta)
    trainer = experiments.take_up(folder / "own", {"cell": f"{changed}:A", "steps": 4})
    trainer.run.unlock()
    assert "the cell's file is another than in training" in capsys.readouterr().err


@pytest.mark.parametrize(
    "package", [None, [], "x", {}, {"version": 5}, {"name": "a", "version": "b", "sha256": 5}]
)
def test_a_forged_package_is_one_sentence(folder, package):
    file = folder / "own" / runs.BEST
    tensors, meta = runs.load_tensors(file)
    runs.save_tensors(file, tensors, {**meta, "package": package})
    for call in (
        lambda: tr.load(folder / "own", allow_code=True),
        lambda: experiments.take_up(folder / "own", {"steps": 4}, allow_code=True),
    ):
        with pytest.raises(tr.InputError, match="best.safetensors"):
            call()


@pytest.mark.parametrize("package", [None, [], {"sha256": 5}])
def test_who_names_the_cell_needs_no_checkpoint_that_says_where_it_was(folder, trained, package):
    file = folder / "own" / runs.BEST
    tensors, meta = runs.load_tensors(file)
    runs.save_tensors(file, tensors, {**meta, "package": package})
    trainer = experiments.take_up(folder / "own", {"cell": f"{trained / 'cell.py'}:A", "steps": 4})
    trainer.run.unlock()
    assert trainer.step == 2


def test_a_file_that_memory_cannot_hold_is_named(folder, monkeypatch):
    class Endless:
        def read(self):
            raise MemoryError

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

    monkeypatch.setattr(files, "_regular", lambda path: Endless())
    for name, call in (
        ("config.json", lambda: runs.RunFolder(folder / "run").config),
        ("log.jsonl", lambda: runs.RunFolder(folder / "run").read_log()),
        ("best.safetensors", lambda: tr.load(folder / "run")),
    ):
        with pytest.raises(tr.InputError, match=f"{name}.*does not fit into memory"):
            call()


@posix
def test_odd_names_are_drawn_and_shown(folder, trained):
    pytest.importorskip("matplotlib")
    for name in (r"a$\frac$b", "$x_{$", os.fsdecode(b"\xffrun")):
        shutil.copytree(folder / "run", folder / name)
        tr.Run(folder / name).plot()
        done = tinyrnn("inspect", folder / name, trained / "text.txt")
        assert done.returncode == 0, done.stderr


@posix
def test_a_run_may_have_the_longest_name_of_a_file_system(folder, trained):
    tr.train(str(trained / "text.txt"), out=folder / ("n" * 240), **OPTIONS)
    assert tr.load(folder / ("n" * 240)) is not None


def test_tracebacks_are_visible_too():
    done = tinyrnn("evaluate", "\x1b]0;X\x07", "--debug")
    assert "Traceback" in done.stderr and "\x1b" not in done.stderr and "\\u001b]0;X" in done.stderr


def test_a_log_of_impossible_steps_is_damaged(folder, capsys):
    pytest.importorskip("matplotlib")
    line = json.dumps({"step": 2**64, "val_loss": 1e300, "seconds": 1e300})
    (folder / "run" / runs.LOG).write_text(
        line + "\n" + json.dumps(dict(step=1, val_loss=2.0, seconds=1)) + "\n"
    )
    assert [r["step"] for r in runs.RunFolder(folder / "run").read_log()] == [1]
    assert "line 1 is damaged" in capsys.readouterr().err
    assert np.isfinite(tr.Run(folder / "run").log[0]["val_loss"])
