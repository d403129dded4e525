"""How runs and what is written from them end: killed while a run is made, a full disk, pictures that fail."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import tinyrnn as tr
from tinyrnn.base import files
from tinyrnn.cli import main
from tinyrnn.training import pictures, runs

TINY = "--hidden 4 --embed 4 --layers 1 --batch-size 2 --seq-len 8 --steps 2 --quiet".split()
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(tr.__file__).parents[1])}


def invoke(*arguments):
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ends")
    (folder / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 20)
    assert invoke("train", folder / "text.txt", *TINY, "--out", folder / "run").exit_code == 0
    return folder


# ------------------------------------------------------------------ creations that were killed

CREATE = """
import os, sys, time
from pathlib import Path
from tinyrnn.training import runs
calls, fatal, path = [0], int(sys.argv[1]), Path(sys.argv[2])

def fill(folder):
    runs.save_tensors(folder / runs.LAST, {}, {})
    if fatal < 0:
        print("filling", flush=True)
        time.sleep(60)

def hook(event, arguments):  # the process dies at the n-th thing that it does to a file
    if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod") and calls is not None:
        if str(path) in str(arguments[0]) or f"/.{path.name}." in str(arguments[0]):
            calls[0] += 1
            if calls[0] == fatal:
                os._exit(9)

sys.addaudithook(hook)
runs.RunFolder.create(path, {}, fill)
"""


def test_what_a_killed_creation_leaves_is_removed_by_the_next(tmp_path):
    """At whatever file operation it was killed."""
    outcomes = []
    for fatal in range(1, 60):
        path = tmp_path / str(fatal) / "r"
        path.parent.mkdir()
        done = subprocess.run([sys.executable, "-c", CREATE, str(fatal), path], env=ENVIRONMENT)
        outcomes.append(done.returncode)
        hidden, whole = list(path.parent.glob(".*")), path.exists()
        runs.RunFolder.create(path.parent / "other", {}, lambda folder: None)
        assert {p.name for p in path.parent.iterdir()} == {"other"} | ({"r"} if whole else set()), hidden
        if whole:
            assert {p.name for p in path.iterdir()} == {runs.CONFIG, runs.LOG, runs.TRAINING, runs.LAST}
        if done.returncode == 0:
            break
    assert outcomes.count(9) > 8 and outcomes[-1] == 0


def test_a_creation_that_lives_is_left_alone(tmp_path):
    command = [sys.executable, "-c", CREATE, "-1", tmp_path / "r"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as other:
        assert other.stdout.readline() == "filling\n"
        before = sorted(p for p in tmp_path.rglob("*"))
        runs.RunFolder.create(tmp_path / "mine", {}, lambda folder: None)
        assert set(before) <= set(tmp_path.rglob("*")) and len(before) == 6
        other.kill()
    runs.RunFolder.create(tmp_path / "third", {}, lambda folder: None)
    assert {p.name for p in tmp_path.iterdir()} == {"mine", "third"}


def test_files_of_somebody_in_such_a_folder_stay(tmp_path):
    for name in (".r.0123abcd/thesis.txt", ".r.0123abcd/last.safetensors", ".x.0123abcd/thesis.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    (tmp_path / f".r.0123abcd{runs.CREATING}").touch()
    (tmp_path / f".l.0123abcd{runs.CREATING}").touch()
    (tmp_path / ".l.0123abcd").symlink_to(tmp_path / ".x.0123abcd")
    runs.RunFolder.create(tmp_path / "mine", {}, lambda folder: None)
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.glob(".*/*")) == [
        ".l.0123abcd/thesis.txt",
        ".r.0123abcd/thesis.txt",
        ".x.0123abcd/thesis.txt",
    ]


# ------------------------------------------------------------------ pictures


def broken(*arguments, **settings):
    raise RuntimeError("no font")


@pytest.mark.parametrize("task", ["lm", "forecast"])
def test_a_picture_that_fails_is_not_the_run_s_failure(tmp_path, trained, monkeypatch, task):
    pytest.importorskip("matplotlib")
    data, options = trained / "text.txt", TINY
    if task == "forecast":
        data = tmp_path / "s.csv"
        data.write_text("x\n" + "".join(f"{np.sin(t):.3f}\n" for t in range(300)))
        options = "--task forecast --hidden 4 --steps 2 --horizon 3 --batch-size 2 --quiet".split()
    monkeypatch.setattr(pictures, "save", broken)
    monkeypatch.setattr("tinyrnn.tasks.forecast.pictures.save", broken, raising=False)
    result = invoke("train", data, *options, "--out", tmp_path / "r")
    assert result.exit_code == 0, result.output
    assert "curve.png could not be drawn (RuntimeError: no font)" in result.stderr
    assert task == "lm" or "forecast.png and errors.png could not be drawn" in result.stderr
    assert tr.load(tmp_path / "r")


def test_a_picture_replaces_a_link_and_does_not_follow_it(tmp_path, trained):
    pytest.importorskip("matplotlib")
    (tmp_path / "mine.txt").write_text("mine")
    run = tr.train(trained / "text.txt", hidden=4, embed=4, layers=1, steps=2, seq_len=8, batch_size=2,
                   quiet=True, out=tmp_path / "r")  # fmt: skip
    for name in ("curve.png", "inspect.html", "model.py", "model.safetensors"):
        (run.path / name).unlink(missing_ok=True)
        (run.path / name).symlink_to(tmp_path / "mine.txt")
    run.resume(steps=3, quiet=True)
    assert invoke("inspect", run.path, "the quick").exit_code == 0
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert not (run.path / "curve.png").is_symlink() and not (run.path / "inspect.html").is_symlink()


# ------------------------------------------------------------------ exports, and full disks


def full(descriptor):
    raise OSError(28, "No space left on device")


WRITING = {
    "export-torch": (["export", "run", "--format", "torch", "--out", "step.py"], ["step.safetensors"]),
    "inspect": (["inspect", "run", "the quick fox", "--out", "page.html"], ["page.html"]),
    "plot": (["plot", "run", "--out", "p.png"], ["p.png"]),
    "generate": (["generate", "run", "--length", "3", "--out", "t.txt"], ["t.txt"]),
    "train": (["train", "text.txt", *TINY, "--out", "new"], []),
    "resume": (["train", "--resume", "run", "--steps", "9", "--quiet"], ["run/"]),
}


@pytest.mark.parametrize("name", WRITING)
def test_a_full_disk_is_one_sentence_that_names_the_file(trained, tmp_path, monkeypatch, name):
    command, named = WRITING[name]
    folder = shutil.copytree(trained, tmp_path / "here")
    monkeypatch.chdir(folder)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        result = invoke(*command)
    assert result.exit_code == 2 and "No space left on device" in result.stderr, result.output
    assert result.stderr.count("\n") == 1 and all(n in result.stderr for n in named), result.stderr
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    assert invoke(*command).exit_code == 0


def test_half_an_export_is_none(tmp_path, monkeypatch):
    """However often it is killed or fails, the file that names the others is beside those it names, or is not
    there.
    """
    weights, source = tmp_path / "m.safetensors", tmp_path / "m.py"
    files.replace_files({weights: b"old", source: b"old"})
    usual = {name: getattr(os, name) for name in ("fsync", "replace", "chmod", "unlink")}
    for fatal in range(12):
        calls = 0

        def killed(name, fatal=fatal):
            def call(*arguments, **settings):
                nonlocal calls
                calls += 1
                if calls > fatal:  # and nothing works from then on, as for a killed process
                    raise KeyboardInterrupt
                return usual[name](*arguments, **settings)

            return call

        with monkeypatch.context() as patch:
            for name in usual:
                patch.setattr(os, name, killed(name))
            try:
                files.replace_files({weights: b"new", source: b"new"})
            except KeyboardInterrupt:
                ended = False
            else:
                ended = True
        assert not source.exists() or source.read_bytes() == weights.read_bytes(), fatal
        if ended:
            break
        files.replace_files({weights: b"old", source: b"old"})
    assert ended and fatal > 5 and source.read_bytes() == b"new"


def test_the_lock_ends_with_its_process(trained, tmp_path):
    """Two that take a run up at once: one goes on, the other is told; after kill -9 the run is free."""
    run = shutil.copytree(trained / "run", tmp_path / "run")
    command = [sys.executable, "-m", "tinyrnn", "train", "--resume", run, "--steps", "1000000", "--quiet"]
    both = [subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    while all(p.poll() is None for p in both):
        time.sleep(0.05)
    (lost,) = [p for p in both if p.returncode is not None]
    (holder,) = [p for p in both if p is not lost]
    said = lost.communicate()[1]
    assert lost.returncode == 2 and f"is being trained by process {holder.pid}: wait" in said
    leftover = run / f".last.safetensors.abcdefgh{files.PARTIAL}"
    leftover.touch()  # as if the holder were writing it
    assert invoke("train", "--resume", run, "--steps", 9, "--quiet").exit_code == 2 and leftover.exists()
    holder.kill()
    holder.communicate()
    step = tr.Run(run).log[-1]["step"]
    result = invoke("train", "--resume", run, "--steps", step + 1000, "--quiet")
    assert result.exit_code == 0, result.output
    assert not leftover.exists()
