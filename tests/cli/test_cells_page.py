"""What ``tinyrnn cells NAME`` shows of a docstring, and what is said of configuration files and of names."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import tinyrnn as tr
from tinyrnn.base.errors import near
from tinyrnn.cli import main
from tinyrnn.nn.registry import registered

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", registered())
def test_a_docstring_is_filled_again(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    lines = CliRunner().invoke(main, ["cells", name]).output.split("\nstates  ")[0].split("\n")
    assert not any("`" in line for line in lines)
    assert all(len(line) <= 60 or "=" in line for line in lines), lines


def test_equations_stay_as_they_are():
    lines = CliRunner().invoke(main, ["cells", "gru"]).output.split("\n")
    assert "r = sigmoid(x W_r + h U_r + b_r)" in lines and "h' = z h + (1 - z) n" in lines


@pytest.mark.parametrize(("text", "said"), [
    ('{"hidden": 8}', "is no TOML .*write lines like hidden = 256 .*--resume takes it up"),
    ("hiden = 8", r"no option 'hiden': did you mean hidden\?$"),
    ("[options]\nhidden = 8", r"no option 'options': of tables there is \[train\] alone"),
])  # fmt: skip
def test_configuration_files_that_are_none(tmp_path, text, said):
    path = tmp_path / "c.toml"
    path.write_text(text)
    result = CliRunner().invoke(main, ["train", "none.txt", "--config", str(path)])
    assert result.exit_code == 2
    assert re.search(said, " ".join(result.output.split())), result.output


def test_the_configuration_file_of_the_page_is_one(tmp_path):
    page = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    path, text = tmp_path / "small.toml", tmp_path / "text.txt"
    path.write_text(re.search(r"```toml\n(.*?)```", page, re.DOTALL)[1])
    text.write_text("to be or not to be " * 50)
    more = [
        "--steps",
        "1",
        "--hidden",
        "4",
        "--seq-len",
        "9",
        "--batch-size",
        "2",
        "--out",
        str(tmp_path / "run"),
    ]
    result = CliRunner().invoke(main, ["train", str(text), "--config", str(path), *more])
    assert result.exit_code == 0, result.output
    options = tr.Run(tmp_path / "run").options
    assert options["cell"] == "lstm" and options["hidden"] == 4 and options["cell_opt"] == ["peephole=true"]


def test_what_is_far_less_alike_is_not_named():
    assert near("hiden", ["hidden", "tie", "horizon"]) == "did you mean hidden?"
    assert near("dropot", ["dropout", "dropouts"]) == "did you mean dropout or dropouts?"
