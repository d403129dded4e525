"""The package that ``tinyrnn new-task`` writes is found, trained and passes its own tests."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import tinyrnn.tasks.text
from tinyrnn.cli import main


def test_a_new_task_passes_its_own_tests(tmp_path):
    result = CliRunner().invoke(main, ["new-task", "last-number", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    folder = tmp_path / "tinyrnn-last-number"
    # As an installed package has them: its metadata beside its module.
    metadata = folder / "tinyrnn_last_number-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tinyrnn-last-number\nVersion: 0.1.0\n")
    text = (folder / "pyproject.toml").read_text()
    assert '[project.entry-points."tinyrnn.tasks"]\nlast-number = "tinyrnn_last_number:LastNumber"' in text
    (metadata / "entry_points.txt").write_text(
        "[tinyrnn.tasks]\nlast-number = tinyrnn_last_number:LastNumber\n"
    )
    paths = os.pathsep.join([str(folder), str(Path(tinyrnn.__file__).parents[1])])
    environment = os.environ | {"PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(folder)],
        capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    shown = subprocess.run(
        [sys.executable, "-m", "tinyrnn", "train", "--task", "last-number", "--help"],
        capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=120,
    )  # fmt: skip
    assert "What all numbers are divided by." in shown.stdout, shown.stderr


def test_what_tasks_are_written_with_is_told():
    """Names of the rooms that are doors to a task of another package."""
    page = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
    for room in (tinyrnn.tasks, tinyrnn.tasks.text):
        row = next(line for line in page.splitlines() if line.startswith(f"- `{room.__name__}`:"))
        assert set(re.findall(r"`(\w+)`", row)) == set(room.__all__)
        assert all(hasattr(room, name) for name in room.__all__)


@pytest.mark.parametrize("name", ["lm", "Bad Name"])
def test_names_that_are_taken_or_none(tmp_path, name):
    result = CliRunner().invoke(main, ["new-task", name, "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "task" in result.output
    assert not list(tmp_path.iterdir())
