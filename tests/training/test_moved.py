"""Runs whose data or cell is elsewhere now, and comparisons and lengths that were others: what is said then
can be done.
"""

import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import tinyrnn as tr
from tinyrnn.cli import main
from tinyrnn.nn.registry import CELLS
from tinyrnn.training import robustness, screen

FORMATS = Path(__file__).parent / "formats" / "2"
SMALL = "--hidden 8 --embed 4 --layers 1 --seq-len 8 --batch-size 4 --eval-every 5".split()


def invoke(*arguments):
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.mark.parametrize("task", ["lm", "classify", "forecast", "translate"])
def test_data_that_is_elsewhere_can_be_named(tmp_path, monkeypatch, task):
    """For evaluate, robust and --resume alike."""
    folder = shutil.copytree(FORMATS / task, tmp_path / "sent")
    (data,) = [p for p in folder.iterdir() if p.suffix in (".txt", ".csv", ".tsv")]
    data = data.rename(tmp_path / data.name)
    monkeypatch.chdir(folder)
    for command, mend in {
        ("evaluate", "run"): "name the same data after RUN",
        ("robust", "run"): "name the same data after RUN",
        (
            "train",
            "--resume",
            "run",
            "--steps",
            "7",
        ): "name the same data before it: tinyrnn train DATA --resume",
    }.items():
        result = invoke(*command)
        assert result.exit_code == 2, result.output
        assert f"{data.name}, which is not here: {mend}" in result.stderr
    assert invoke("evaluate", "run", data).exit_code == 0
    result = invoke("train", data, "--resume", "run", "--steps", "7", "--quiet")
    assert result.exit_code == 0, result.output


def test_a_cell_whose_package_is_missing_is_named_by_every_command(tmp_path, text_file, monkeypatch):
    class Mine(tr.cells.get_cell("gru")):
        pass

    tr.cells.register("mine", Mine)
    tr.train(text_file, cell="mine", hidden=4, steps=2, quiet=True, out=tmp_path / "run")
    monkeypatch.delitem(CELLS.own, "mine")
    for command in (["generate", tmp_path / "run"], ["train", "--resume", tmp_path / "run"]):
        result = invoke(*command)
        assert result.exit_code == 2 and "this model's cell 'mine' is not here" in result.stderr


def test_a_comparison_with_other_options_says_what_to_give(tmp_path, text_file):
    first = "compare", text_file, "--cells", "gru", *SMALL[2:], "--out", tmp_path / "c", "--steps", "2"
    result = invoke(*first, "--hidden", "8")
    assert result.exit_code == 0, result.output
    result = invoke(*first)
    assert result.exit_code == 2
    assert "was trained with --hidden 8, in this comparison it is 256: give the options" in result.stderr


def test_the_warm_up_of_a_resumed_run_is_that_which_it_began_with(tmp_path, text_file):
    run = "--out", tmp_path / "run"
    said = invoke("train", text_file, *SMALL, "--steps", "40", *run).stdout
    assert "warm-up     4 steps, no more than a tenth of the run, not 100" in said
    said = invoke("train", *run, "--resume", "--steps", "60").stdout
    assert "warm-up     4 steps, as the run began, not 100" in said


def test_a_sweep_that_is_interrupted_shows_what_it_found(monkeypatch):
    """And in a terminal a line says how far it is."""
    monkeypatch.chdir(FORMATS / "classify")
    rows, lines = robustness.rows, []

    def interrupted(*args):
        for count, row in enumerate(rows(*args)):
            if count == 3:
                raise KeyboardInterrupt
            yield row

    def live_line(render):
        lines.append(render)
        return screen_line(render)

    screen_line = screen.live_line
    monkeypatch.setattr(screen, "live_line", live_line)
    monkeypatch.setattr(screen, "is_terminal", lambda stream: stream is sys.stdout)
    monkeypatch.setattr(robustness, "rows", interrupted)
    result = invoke("robust", "run", "--kinds", "typo,drop", "--examples", "4", "--strengths", "0.1,0.2")
    assert result.exit_code == 130 and "typo" in result.stdout and "drop" not in result.stdout
    assert [line(30).plain for line in lines] == ["2 done; the last: typo 0.2"]
