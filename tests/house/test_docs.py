"""The README and the examples do what they say."""

import ast
import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

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


PAGES = [
    p
    for pattern in ("*.md", "docs/*.md", "docs/tasks/*.md", "benchmarks/*.md", "plugins/*/README.md")
    for p in ROOT.glob(pattern)
]
FILES = {
    p.relative_to(ROOT).as_posix()
    for folder in "tinyrnn tests docs examples plugins benchmarks .ci .github".split()
    for p in [ROOT / folder, *(ROOT / folder).rglob("*")]
}
ELSEWHERE = {
    "FILE.py",
    "build",
    "reports",
    "tinyrnn-leaky/tinyrnn_leaky.py",
    "tinyrnn-leaky/tests/test_tinyrnn_leaky.py",
}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_the_files_that_a_page_names_exist(page):
    """Python files and folders in `backticks`, with what ``file.py: name`` says is in them; links."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for span in re.findall(r"`([^`]+)`", text):
        for path, name in re.findall(
            r"(?:^|\s)((?:[\w.-]+/)*[\w-]+\.py|(?:[\w.-]+/)+)(?:: (\w+))?(?=$|\s)", span
        ):
            found = [f for f in FILES if f"/{f}".endswith(f"/{path.rstrip('/')}")]
            assert found or path.rstrip("/") in ELSEWHERE, f"`{span}`: there is no {path}"
            if name:
                assert any(
                    re.search(rf"\b{name}\b", (ROOT / f).read_text(encoding="utf-8")) for f in found
                ), span
    for link in re.findall(r"\]\((?!http)([^)#\s]+)", text):
        assert (page.parent / link).exists(), link


def test_pictures_are_small_and_whole():
    pictures = list((ROOT / "docs" / "pictures").iterdir())
    pages = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "docs").rglob("*.md"))
    shown = re.findall(r"\((?:docs/|\.\./)?pictures/([^)]+)\)", README + pages)
    assert {p.name for p in pictures} == set(shown) != set()
    for picture in pictures:
        assert picture.stat().st_size < 200_000, picture
        if picture.suffix == ".svg":  # well-formed, and nothing is fetched from elsewhere
            drawn = picture.read_text(encoding="utf-8")
            assert ElementTree.fromstring(drawn).tag == "{http://www.w3.org/2000/svg}svg"
            assert not re.search(r"url\((?!#)|href|<script", drawn), picture


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals are POSIX's")
def test_the_screen_of_a_picture_is_that_of_a_terminal():
    screen = runpy.run_path(ROOT / "docs" / "make_pictures.py")["screen"]
    assert screen("a\r\nb\r\n") == ["a", "b"]
    assert screen("bar 1\r\x1b[2Kbar 2\r\x1b[2Kline\n\x1b[?25h") == ["line"]
    two = "first\nsecond\r\x1b[2K\x1b[1A\x1b[2K\x1b[1mnew\x1b[0m\nA"
    assert screen(two) == ["\x1b[1mnew\x1b[0m", "A"]


EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
NEEDED = {  # what an example imports beside Python's own modules and tinyrnn's requirements
    path: {
        name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [node.module] if isinstance(node, ast.ImportFrom) else []
        )
        if name.split(".")[0] not in sys.stdlib_module_names | {"numpy", "tinyrnn"}
    }
    for path in EXAMPLES
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "package"),
    [(p, n) for p in EXAMPLES for n in sorted(NEEDED[p])],
    ids=lambda v: getattr(v, "stem", v),
)
def test_an_example_whose_extra_is_missing_says_so(path, package):
    hidden = f"import runpy, sys; sys.modules[{package!r}] = None; "
    script = f"{hidden}runpy.run_path({str(path)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stdout == ""
    wanted = r"this example needs [\w -]+: pip install 'tinyrnn\[[\w,]+\]'\n"
    assert re.fullmatch(wanted, done.stderr)


def test_the_training_loop_stays_a_lesson():
    assert len((ROOT / "examples" / "char_lm.py").read_text().splitlines()) < 60


def test_line_budgets():
    """Lines of code, which are neither blank nor comment nor docstring, of two rooms and of all."""
    # What there is, so that it does not grow unseen; the goals are 2,000, 2,800 and 12,500.
    assert code_lines("autograd") <= 2905
    assert code_lines("compiler") <= 5830
    assert code_lines("") <= 28700


def code_lines(room):
    """How many lines of code the Python files of a room have, all folders in it included."""
    code = 0
    for text in [p.read_text(encoding="utf-8") for p in (ROOT / "tinyrnn" / room).rglob("*.py")]:
        nodes = [
            n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef)
        ]
        documented = [n.body[0] for n in nodes if ast.get_docstring(n)]
        code += sum(bool(line.strip()) and not line.strip().startswith("#") for line in text.splitlines())
        code -= sum(
            bool(line.strip()) for d in documented for line in text.splitlines()[d.lineno - 1 : d.end_lineno]
        )
    return code


def test_the_page_of_options_is_current():
    script = ROOT / "docs" / "make_options.py"
    assert subprocess.run([sys.executable, script, "--check"]).returncode == 0, f"run python {script}"
