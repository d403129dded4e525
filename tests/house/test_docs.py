"""The README and the examples do what they say."""

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tinyrnn.cli import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHORT = ["--hidden", "16", "--embed", "8", "--seq-len", "20", "--steps", "5"]


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands():
    """The tinyrnn commands of the README, in order, training runs made short."""
    for block in blocks("console"):
        for line in block.splitlines():
            if line.startswith("$ tinyrnn "):
                yield line.removeprefix("$ tinyrnn ")


def shortened(arguments):
    """The same command with a small model and a few steps; the run and its options stay."""
    if arguments[0] not in ("train", "compare"):
        return arguments
    if "--minutes" in arguments:
        i = arguments.index("--minutes")
        arguments = arguments[:i] + arguments[i + 2 :]
    if "--hidden" in arguments:
        i = arguments.index("--hidden")
        arguments = arguments[:i] + arguments[i + 2 :]
    return [*arguments, "--steps", "8"] if "--resume" in arguments else [*arguments, *SHORT]


def test_readme_commands_and_blocks_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("text.txt", "tinyshakespeare.txt"):
        Path(name).write_text("ROMEO: The quick brown fox jumps over the lazy dog.\n" * 60)
    for line in commands():
        result = CliRunner().invoke(main, shortened(shlex.split(line)))
        assert result.exit_code == 0, f"{line}\n{result.output}"
    assert Path("curves.png").exists()
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), {})


def test_readme_shows_the_real_commands():
    shown = [
        line
        for block in blocks("console")
        for line in block.splitlines()
        if line.startswith("$ python -m venv")
    ]
    assert len(shown) == 2
    assert shown[0].endswith("tinyrnn train")
    assert "pytest" in shown[1]


@pytest.mark.parametrize(("name", "arguments", "said"), [
    ("autograd_tour", [], "fitted    3.0 -1.0"),
    ("char_lm", [str(ROOT / "README.md"), "20"], "nats a character"),
    ("sine_forecast", [], "free-running: RMSE 0."),
    ("arrays", ["{folder}/errors.png"], "digits read row by row: accuracy 0.9"),
])  # fmt: skip
def test_examples_run(name, arguments, said, tmp_path):
    if name == "arrays":
        pytest.importorskip("sklearn")
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / f"{name}.py", *[a.format(folder=tmp_path) for a in arguments]],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    assert [line for line in done.stderr.splitlines() if not line.startswith("compiling ")] == []


def test_the_training_loop_stays_a_lesson():
    assert len((ROOT / "examples" / "char_lm.py").read_text().splitlines()) < 60


def test_line_budgets():
    """Of all lines in autograd, and of code in tinyrnn: lines that are neither blank nor comment nor
    docstring.
    """
    files = {p: p.read_text(encoding="utf-8") for p in (ROOT / "tinyrnn").rglob("*.py")}
    assert sum(len(text.splitlines()) for p, text in files.items() if p.parent.name == "autograd") <= 1650
    code = 0
    for text in files.values():
        nodes = [
            n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef)
        ]
        documented = [n.body[0] for n in nodes if ast.get_docstring(n)]
        code += sum(bool(line.strip()) and not line.strip().startswith("#") for line in text.splitlines())
        code -= sum(
            bool(line.strip()) for d in documented for line in text.splitlines()[d.lineno - 1 : d.end_lineno]
        )
    assert code <= 11000
