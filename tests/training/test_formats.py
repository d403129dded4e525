"""Runs of earlier versions load for ever: a small one of each format and task, by ``formats/make.py``."""

import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from formats import make

import tinyrnn as tr
from tinyrnn.cli import main
from tinyrnn.tasks.model import WEIGHTS
from tinyrnn.training import runs

FOLDER = Path(__file__).parent / "formats"
RUNS = sorted(p.parent.relative_to(FOLDER).as_posix() for p in FOLDER.glob("*/*/run"))


def tinyrnn(*words):
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    return result.stdout


def numbers(text):
    return [float(n) for n in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", text)]


def test_each_format_and_task_is_there():
    formats = {name.split("/")[0] for name in RUNS}
    assert {name.split("-")[0] for name in formats} == {str(n + 1) for n in range(runs.FORMAT)}
    assert {name.split("/")[1] for name in RUNS} == set(make.DATA)


@pytest.mark.parametrize("task", make.DATA)
def test_weights_in_fewer_bits_of_each_task(task, tmp_path):
    place = shutil.copytree(FOLDER / str(runs.FORMAT) / task, tmp_path / "place")
    found = []
    for weights in (None, *WEIGHTS):
        how = () if weights is None else ("--weights", weights)
        said = tinyrnn("evaluate", "--json", str(place / "run"), str(place / make.DATA[task][0]), *how)
        figures = json.loads(said)
        found.append(figures["rmse" if task == "forecast" else "loss"])
    assert found[0] == found[1] and len(set(found)) == 3
    assert found[2:] == pytest.approx([found[0]] * 2, rel=0.01)


@pytest.mark.parametrize("name", RUNS)
def test_a_run_of_an_earlier_version_says_what_it_said_then(name, tmp_path, monkeypatch):
    place = shutil.copytree(FOLDER / name, tmp_path / "place")
    monkeypatch.chdir(place)
    task, expected = place.parent.joinpath(name).name, json.loads(Path("expected.json").read_text())
    tr.load("run")
    file, (command, *words) = make.DATA[task][0], make.ASKED[task]
    for said, then in (
        (tinyrnn("evaluate", "--json", "run", file), expected["evaluate"]),
        (tinyrnn(command, "run", *words), expected[command]),
    ):
        if task == "forecast" and said.count("\n") == 1:  # there are more figures by now
            found, before = json.loads(said), json.loads(then)
            assert {k: found[k] for k in before} == pytest.approx(before, rel=1e-4, abs=1e-6)
            continue
        assert re.sub(r"[-\d.e]+", "#", said) == re.sub(r"[-\d.e]+", "#", then)
        assert numbers(said) == pytest.approx(numbers(then), rel=1e-4, abs=1e-6)
    tinyrnn("train", file, "--resume", "run", "--steps", str(make.MORE), "--quiet")
    log = tr.Run("run").log
    assert [record["step"] for record in log] == [3, 6, 9]
    then = expected["resumed"]
    # The first version read validation texts in as many streams as it trained on, which is another loss.
    for key in ("step", "train_loss", *(() if name.startswith("1-first") else ("val_loss",))):
        assert log[-1][key] == pytest.approx(then[key], rel=1e-4)
    config = json.loads((place / "run" / runs.CONFIG).read_text())
    assert config["format"] == runs.FORMAT and "digest" in config  # what goes on is of this version
    assert runs.RunFolder("run").config["options"]["steps"] == make.MORE


def test_a_newer_format_is_refused(tmp_path):
    run = shutil.copytree(FOLDER / "2" / "lm" / "run", tmp_path / "run")
    config = json.loads((run / runs.CONFIG).read_text())
    (run / runs.CONFIG).write_text(json.dumps(config | {"format": runs.FORMAT + 1, "tinyrnn": "9.0"}))
    with pytest.raises(
        tr.InputError, match="written by tinyrnn 9.0, of format 3, .* up to 2: upgrade tinyrnn"
    ):
        tr.Run(run).options  # noqa: B018
    tensors, meta = runs.load_tensors(run / runs.BEST)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "FORMAT", runs.FORMAT + 1)
        runs.save_tensors(run / runs.BEST, tensors, meta)
    with pytest.raises(tr.InputError, match=r"best.safetensors: it was written by .*: upgrade tinyrnn"):
        tr.load(run)
