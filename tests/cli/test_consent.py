"""No run or checkpoint makes tinyrnn run a Python file that the user did not name: not without
--allow-code.
"""

import importlib.util
import json
import py_compile
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from cell_files import CELL
from click.testing import CliRunner

import tinyrnn as tr
from tinyrnn.cli import COMMANDS, main
from tinyrnn.nn import registry as plugins
from tinyrnn.training.trainer import runs

TINY = "--hidden 4 --embed 4 --layers 1 --batch-size 2 --seq-len 8 --steps 2 --quiet".split()
SOURCE = f"""
from pathlib import Path

Path(__file__).with_name("sentinel").touch()  # this file was run
{CELL}"""


def invoke(*arguments):
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with ``cell.py`` and two runs of its cell: ``lm`` and ``classify``."""
    folder = tmp_path_factory.mktemp("consent")
    (folder / "cell.py").write_text(SOURCE)
    (folder / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 20)
    (folder / "data.csv").write_text("text,label\n" + "a good film,yes\na bad film,no\n" * 20)
    for task, data in {"lm": "text.txt", "classify": "data.csv"}.items():
        cell = f"{folder / 'cell.py'}:Mine"
        result = invoke("train", folder / data, "--task", task, "--cell", cell, *TINY, "--out", folder / task)
        assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def received(trained, tmp_path):
    """The same files as if somebody had sent them: copies, the cell named by the copy's path, nothing
    imported so far.
    """
    folder = shutil.copytree(trained, tmp_path / "received")
    (folder / "sentinel").unlink()
    for path in (*folder.glob("*/*.safetensors"), *folder.glob("*/config.json")):
        if path.name == "config.json":
            config = json.loads(path.read_text().replace(str(trained), str(folder)))
            path.write_text(json.dumps(config | {"digest": None}))
        else:
            tensors, meta = runs.load_tensors(path)
            runs.save_tensors(path, tensors, json.loads(json.dumps(meta).replace(str(trained), str(folder))))
    plugins._module.cache_clear()
    return folder


READING = {
    "generate": ["lm", "--length", "3"],
    "evaluate": ["lm"],
    "predict": ["classify", "a good film"],
    "robust": ["classify", "--kinds", "drop"],
    "inspect": ["lm", "the quick fox"],
    "export": ["lm", "--format", "torch"],
    "compress": ["lm", "--int8"],
    "train": ["--resume", "lm", "--steps", "4"],
}


def test_every_command_that_takes_a_run_is_tested_here():
    takes_run = {
        name for name in COMMANDS if "run" in {p.name for p in main.get_command(None, name).params}
    } | {"train"}
    assert takes_run == READING.keys() | {"plot"}  # which reads the log alone


@pytest.mark.parametrize("command", READING)
def test_a_command_runs_the_file_that_a_run_names_with_consent_only(received, monkeypatch, command):
    monkeypatch.chdir(received)
    names = {p.name for p in received.rglob("*")}
    result = invoke(command, *READING[command])
    assert result.exit_code == 2 and not (received / "sentinel").exists()
    assert (
        f"its cell 'Mine' from the file '{received / 'cell.py'}'" in result.stderr
        and "--allow-code" in result.stderr
    )
    assert result.stderr.count("\n") == 1 and result.stdout == ""
    assert {p.name for p in received.rglob("*")} == names
    result = invoke(command, *READING[command], "--allow-code")
    assert result.exit_code == 0, result.output
    assert (received / "sentinel").exists()


def test_plot_runs_no_file(received):
    assert invoke("plot", received / "lm", "--out", received / "p.png").exit_code == 0
    assert not (received / "sentinel").exists()


@pytest.mark.parametrize("which", ["lm", "classify", "lm/last.safetensors", "classify/best.safetensors"])
def test_load_runs_the_file_with_consent_only(received, which):
    with pytest.raises(
        tr.InputError,
        match=r"its cell 'Mine' from the file '.*cell\.py'.*: if you trust both.*allow_code=True",
    ):
        tr.load(received / which)
    assert not (received / "sentinel").exists()
    assert tr.load(received / which, allow_code=True).settings["cell"] == f"{received / 'cell.py'}:Mine"
    assert (received / "sentinel").exists()


def test_a_run_uses_the_file_with_consent_only(received):
    for use in (lambda run: run.model, lambda run: run.evaluate(), lambda run: run.resume(steps=9)):
        with pytest.raises(tr.InputError, match="allow_code=True"):
            use(tr.Run(received / "lm"))
    assert "lm" in repr(tr.Run(received / "lm"))
    assert not (received / "sentinel").exists()
    assert tr.Run(received / "lm", allow_code=True).model.settings["cell"].endswith("cell.py:Mine")


@pytest.mark.parametrize(
    "name", ["cell.py:Mine", "./cell.py:Mine", "../received/cell.py:Mine", "cell.py:x.py:Mine", "cell.py:"]
)
def test_no_spelling_of_the_name_gets_round_the_question(received, monkeypatch, name):
    monkeypatch.chdir(received)
    (received / "cell.py:x.py").write_text(SOURCE)
    tensors, meta = runs.load_tensors(received / "lm" / runs.LAST)
    meta["model"]["cell"] = name
    runs.save_tensors(received / "one.safetensors", tensors, meta)
    config = runs.RunFolder("lm").config
    config["options"]["cell"] = name
    runs.RunFolder("lm").update_config(**config)
    for arguments in (["generate", "one.safetensors"], ["train", "--resume", "lm", "--steps", 4]):
        result = invoke(*arguments)
        assert result.exit_code == 2 and "--allow-code" in result.stderr
    assert not (received / "sentinel").exists()


@pytest.mark.parametrize(
    "command", [["check"], ["cells"], ["bench", "--cell"], ["compare", "--cells"], ["train", "--cell"]]
)
def test_a_file_that_the_user_names_needs_no_consent(received, monkeypatch, command):
    """Its name alone: what is found in it (no class of that name) shows that it was run."""
    monkeypatch.chdir(received)
    result = invoke(*command, "cell.py:Nine")
    assert result.exit_code == 2 and "cell.py has no Nine: its cells are Mine" in result.output
    assert (received / "sentinel").exists()


def test_a_configuration_file_and_a_comparison_are_consent(received, monkeypatch):
    monkeypatch.chdir(received)
    (received / "c.toml").write_text('cell = "cell.py:Mine"\n')
    result = invoke("train", "text.txt", "--config", "c.toml", *TINY, "--out", "new")
    assert result.exit_code == 0 and (received / "sentinel").exists(), result.output
    for _ in range(2):  # the second time its run is taken up
        result = invoke("compare", "text.txt", "--cells", "cell.py:Mine", *TINY[:-1], "--out", "cmp")
        assert result.exit_code == 0, result.output
    assert "was there already" in result.output


def test_naming_the_cell_again_is_consent_to_resume_with_that_very_file(received, monkeypatch):
    monkeypatch.chdir(received)
    (received / "other.py").write_text("raise SystemExit('was run')")
    result = invoke("train", "--resume", "lm", "--cell", "other.py:Mine", "--steps", 4)
    assert result.exit_code == 2 and "was trained with --cell" in result.stderr
    assert not (received / "sentinel").exists()
    result = invoke("train", "--resume", "lm", "--cell", "cell.py:Mine", "--steps", 4)
    assert result.exit_code == 0 and (received / "sentinel").exists(), result.output


@pytest.mark.parametrize("command", READING)
def test_consent_is_given_to_the_file_that_was_there_in_training(received, monkeypatch, command):
    """Not to one that stands there now, nor to one of that name in the reader's folder."""
    monkeypatch.chdir(received)
    usual = (received / "cell.py").read_text()
    (received / "cell.py").write_text(usual + "# changed\n")
    result = invoke(command, *READING[command], "--allow-code")
    assert result.exit_code == 2 and "which is another than in training: put back" in result.stderr
    (received / "cell.py").write_text(usual)
    for path in (*received.glob("*/*.safetensors"), *received.glob("*/config.json")):
        if path.name == "config.json":
            path.write_text(path.read_text().replace(str(received / "cell.py"), "cell.py"))
        else:
            tensors, meta = runs.load_tensors(path)
            text = json.dumps(meta).replace(str(received / "cell.py"), "cell.py")
            runs.save_tensors(path, tensors, json.loads(text))
    result = invoke(command, *READING[command], "--allow-code")
    assert result.exit_code == 2 and "named without its folder" in result.stderr
    assert not (received / "sentinel").exists()


@pytest.mark.parametrize("digest", ["", "e25", None, "0" * 12])
def test_a_digest_that_is_missing_or_short_is_no_consent(received, digest):
    tensors, meta = runs.load_tensors(received / "lm" / runs.LAST)
    del meta["package"]["sha256"]
    meta["package"]["version"] = meta["package"]["version"][:12] if digest is None else digest
    runs.save_tensors(received / "one.safetensors", tensors, meta)
    result = invoke("generate", received / "one.safetensors", "--length", 3, "--allow-code")
    assert result.exit_code == (0 if digest is None else 2), result.output  # an earlier version has 12
    assert (received / "sentinel").exists() == (digest is None)


def test_compiled_python_beside_the_file_is_not_what_is_run(received, tmp_path):
    """Who reads the file and consents has not seen that."""
    bad = tmp_path / "cell.py"
    bad.write_text(f"open({str(tmp_path / 'planted')!r}, 'w')\n{SOURCE}")
    code = py_compile.compile(str(bad), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    target = Path(importlib.util.cache_from_source(str(received / "cell.py")))
    target.parent.mkdir(exist_ok=True)
    shutil.copy(code, target)
    assert invoke("generate", received / "lm", "--length", 3, "--allow-code").exit_code == 0
    assert (received / "sentinel").exists() and not (tmp_path / "planted").exists()


@pytest.mark.parametrize("name", ["evil", "os", "evil_cell:Evil", "../evil", "/x/evil:Evil"])
def test_a_package_that_is_not_installed_is_neither_imported_nor_recommended(received, monkeypatch, name):
    """What the sender says of it is shown as his words, on one line, with what it hides made visible."""
    monkeypatch.chdir(received)
    (received / "evil.py").write_text(SOURCE)
    shutil.copy(received / "evil.py", received / "evil_cell.py")
    monkeypatch.syspath_prepend(received)
    origin = "comes from evil\n\x1b[2J\u202e: pip install evil\nError: run this now"
    for path in received.glob("lm/*.safetensors"):
        tensors, meta = runs.load_tensors(path)
        if "model" in meta:
            meta["model"]["cell"] = name
            meta["package"] = {"name": "evil", "version": "1", "origin": origin}
            runs.save_tensors(path, tensors, meta)
    for consent in ([], ["--allow-code"]):
        result = invoke("generate", "lm", *consent)
        assert result.exit_code == 2 and result.stderr.count("\n") == 1
        assert "the checkpoint says that it 'comes from evil\\n\\x1b[2J\\u202e: pip install" in result.stderr
    assert not (received / "sentinel").exists() and not {"evil", "evil_cell"} & set(sys.modules)


def test_a_file_that_is_gone_is_said_with_consent(received):
    (received / "cell.py").unlink()
    result = invoke("generate", received / "lm", "--allow-code")
    said = f"is in the file '{received / 'cell.py'}', which is not here: put it there, or say --code FILE.py"
    assert result.exit_code == 2 and said in result.stderr


def test_a_file_that_is_elsewhere_can_be_named(received, tmp_path):
    """Once moved it must be what it was; the run then names its new place."""
    here = (received / "cell.py").rename(tmp_path / "moved.py")
    assert "if you have it and trust both, say --code" in invoke("generate", received / "lm").stderr
    options = "lm", "--length", "3", "--code", here
    result = invoke("generate", received / options[0], *options[1:])
    assert result.exit_code == 0, result.output
    assert tr.load(received / "lm", allow_code=here).settings["cell"].startswith(f"{here}:")
    assert "lm" in repr(tr.Run(received / "lm", allow_code=str(here)))
    assert tr.Run(received / "lm", allow_code=str(here)).evaluate()["loss"] > 0
    result = invoke("train", "--resume", received / "lm", "--steps", "7", "--code", here)
    assert result.exit_code == 0, result.output
    assert runs.RunFolder(received / "lm").options["cell"].startswith(f"{here}:")
    assert invoke("generate", received / "lm", "--length", "3", "--allow-code").exit_code == 0
    here.write_text(here.read_text(encoding="utf-8") + "# more\n", encoding="utf-8")
    for command in (["generate", received / "lm"], ["train", "--resume", received / "lm", "--steps", "8"]):
        result = invoke(*command, "--code", here)
        assert result.exit_code == 2 and "which is another than in training" in result.stderr


def test_a_file_for_a_cell_of_a_package_is_refused(tmp_path):
    (tmp_path / "x.py").write_text("raise SystemExit(9)", encoding="utf-8")
    run = shutil.copytree(
        Path(__file__).parents[1] / "training" / "formats" / "2" / "lm" / "run", tmp_path / "run"
    )
    for command in (["generate", run], ["train", "--resume", run]):
        result = invoke(*command, "--code", tmp_path / "x.py")
        assert result.exit_code == 2 and "which is in no file: leave --code out" in result.stderr


def test_what_train_says_to_do_next_works(trained, tmp_path, monkeypatch):
    """As it stands, for each task and a cell of a file."""
    monkeypatch.chdir(tmp_path)
    loud = [t for t in TINY if t != "--quiet"]
    for task, data in {"lm": "text.txt", "classify": "data.csv"}.items():
        cell = f"{trained / 'cell.py'}:Mine"
        result = invoke(
            "train", trained / data, "--task", task, "--cell", cell, *loud, "--out", f"a run {task}"
        )
        hint = result.output.splitlines()[-1]
        assert hint.startswith("next: tinyrnn ")
        done = CliRunner().invoke(main, shlex.split(hint)[2:], input=None)
        assert done.exit_code == 0, hint + done.output
        assert "waiting" not in done.output and done.output.strip()
