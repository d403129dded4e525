"""What commands write never replaces a file that tinyrnn did not make."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import tinyrnn as tr
from tinyrnn.cli import main
from tinyrnn.training.trainer import runs

TINY = "--hidden 4 --embed 4 --layers 1 --batch-size 2 --seq-len 8 --steps 2".split()


def invoke(*arguments):
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("overwriting")
    (folder / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 20)
    (folder / "pairs.tsv").write_text("".join(f"{n}\t{n}{n}\n" for n in range(40)))
    assert invoke("train", folder / "text.txt", *TINY, "--quiet", "--out", folder / "run").exit_code == 0
    task = ["--task", "translate", "--out", folder / "translate"]
    assert invoke("train", folder / "pairs.tsv", *TINY, "--quiet", *task).exit_code == 0
    return folder


@pytest.fixture
def here(trained, tmp_path, monkeypatch):
    """The current folder: a text, two runs, and a copy of a run's checkpoint under the name that an export
    would take.
    """
    folder = shutil.copytree(trained, tmp_path / "here")
    shutil.copy(folder / "run" / runs.BEST, folder / "model.safetensors")
    monkeypatch.chdir(folder)
    return folder


WRITING = {  # a command line, and the files that it writes
    "export": (["export", "run", "--format", "torch", "--out", "step.py"], ["step.py", "step.safetensors"]),
    "c": (["export", "run", "--format", "c", "--out", "step.c"], ["step.c", "step.h"]),
    "export-beside": (["export", "model.safetensors", "--format", "torch"], ["model.py"]),
    "onnx": (["export", "run", "--out", "step.onnx"], ["step.onnx"]),
    "inspect": (["inspect", "run", "the quick fox", "--out", "page.html"], ["page.html"]),
    "inspect-beside": (["inspect", "model.safetensors", "the quick fox"], ["inspect.html"]),
    "plot": (["plot", "run", "--out", "p.png"], ["p.png"]),
    "robust": (["robust", "run", "--kinds", "drop", "--examples", "3", "--out", "r.png"], ["r.png"]),
    "predict": (["predict", "translate", "12", "--plot", "p.png"], ["p.png"]),
    "generate": (["generate", "run", "--length", "3", "--out", "t.txt"], ["t.txt"]),
    "compare": (
        ["compare", "text.txt", "--cells", "rnn", "--out", "cmp", *TINY],
        ["cmp/compare.json", "cmp/compare.png"],
    ),
}


@pytest.mark.parametrize(
    "case", [(n, name) for n, (_, written) in WRITING.items() for name in written], ids="-".join
)
def test_a_file_of_the_user_is_refused(here, case):
    command, foreign = WRITING[case[0]][0], Path(case[1])
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_text("# mine: made without tinyrnn\n")
    before = {p: p.read_bytes() for p in here.rglob("*") if p.is_file()}
    result = invoke(*command)
    assert (
        result.exit_code == 2
        and f"{foreign} exists and is" in result.stderr
        and "not overwritten" in result.stderr
    )
    assert {p: p.read_bytes() for p in here.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("name", [n for n in WRITING if n not in ("generate", "export-beside")])
def test_a_file_of_the_same_command_is_replaced(here, name):
    if name == "onnx":
        pytest.importorskip("onnx")
    command, written = WRITING[name]
    for _ in range(2):
        result = invoke(*command)
        assert result.exit_code == 0 and all(Path(w).stat().st_size for w in written), result.output


def test_an_export_never_replaces_a_checkpoint(here):
    """Not the one that it reads, nor one of the run that bears the name of its weights."""
    pytest.importorskip("onnx")
    for command in (
        ["export", "model.safetensors", "--format", "torch"],
        ["export", "run", "--format", "torch", "--out", "run/best.py"],
        ["export", "run", "--format", "torch", "--out", "run/last.safetensors"],
        ["export", "run", "--out", "run/trainer.safetensors"],
    ):
        result = invoke(*command)
        assert result.exit_code == 2 and "is not overwritten" in result.stderr, command
    for path in ("model.safetensors", "run/best.safetensors", "run/last.safetensors"):
        assert tr.load(path).settings["cell"] == "ln-gru"
    assert not Path("model.py").exists() and not Path("run/best.py").exists()


def test_a_run_folder_holds_what_commands_write_by_default(here):
    Path("run/curve.png").write_bytes(b"a picture of an earlier version")
    for _ in range(2):
        for command in (
            ["plot", "run"],
            ["inspect", "run", "the fox"],
            ["export", "run/best.safetensors", "--format", "torch"],
        ):
            assert invoke(*command).exit_code == 0
    assert {"curve.png", "inspect.html", "model.py", "model.safetensors"} <= {
        p.name for p in Path("run").iterdir()
    }


def test_a_picture_goes_to_the_very_name(here):
    Path("p.png").write_text("mine")
    assert invoke("plot", "run", "--out", "p").exit_code == 0
    assert Path("p").read_bytes()[:4] == b"\x89PNG" and Path("p.png").read_text() == "mine"


def test_output_to_a_device(here):
    assert invoke("generate", "run", "--length", "3", "--out", "/dev/null").exit_code == 0
    assert invoke("inspect", "run", "the fox", "--out", "/dev/null").exit_code == 2
    assert Path("/dev/null").is_char_device()


def test_the_folder_of_another_program_is_no_run(here):
    Path("project").mkdir()
    files = {
        "config.json": json.dumps({"name": "theirs"}),
        "log.jsonl": "theirs\n",
        ".config.json.swp": "theirs",
    }
    for name, text in files.items():
        Path("project", name).write_text(text)
    for command in (["train", "--resume", "project"], ["plot", "project"]):
        result = invoke(*command)
        assert result.exit_code == 2 and "Traceback" not in result.output
    assert {p.name: p.read_text() for p in Path("project").iterdir()} == files


@pytest.mark.parametrize("command", ["plot", "robust"])
@pytest.mark.parametrize(
    ("out", "said"), [("x.zzz", "no name of a picture"), ("nowhere/x.png", "there is no folder")]
)
def test_what_can_be_no_picture_is_refused_at_once(command, out, said, monkeypatch, tmp_path):
    def computed(*_, **__):
        raise AssertionError

    monkeypatch.setattr("tinyrnn.training.experiments.load", computed)
    monkeypatch.setattr("tinyrnn.training.pictures.curves", computed)
    result = CliRunner().invoke(main, [command, str(tmp_path), "--out", str(tmp_path / out)])
    assert result.exit_code == 2 and said in result.output, result.output
