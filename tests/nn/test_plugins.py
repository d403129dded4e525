"""Cells from everywhere: packages, files, this process; new packages; comparisons."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import tinyrnn as tr
from tinyrnn.base.plugins import PACKAGES
from tinyrnn.cli import main
from tinyrnn.nn import registry as plugins
from tinyrnn.tools import scaffold
from tinyrnn.tools.check import CHECKS
from tinyrnn.training.task import TASKS

TINY = [
    "--hidden",
    "8",
    "--embed",
    "4",
    "--layers",
    "1",
    "--seq-len",
    "10",
    "--batch-size",
    "4",
    "--eval-every",
    "5",
    "--steps",
    "10",
]
SOURCE = '''
import tinyrnn as tr

class Mine(tr.Cell):
    """A cell in a file."""
    states = ("h",)

    def build(self, input_size, hidden_size, *, gain: float = 1.0):
        self.W, self.U, self.b = self.affine(input_size, hidden_size)
        self.gain = gain

    def step(self, x, h):
        return tr.tanh(x @ self.W + h @ self.U + self.b) * self.gain

class NotACell:
    pass
'''


def invoke(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture
def text_file(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("the quick brown fox jumps over the lazy dog. " * 60)
    return path


@pytest.fixture
def own(monkeypatch):
    monkeypatch.setattr(plugins.CELLS, "own", {})


@pytest.fixture
def cell_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return path


# ------------------------------------------------------------------ this process


def test_a_cell_of_this_process_trains_and_loads(own, tmp_path, text_file):
    @tr.cells.register("mine")
    class Mine(tr.Cell):
        """My cell."""

        def build(self, input_size, hidden_size):
            self.W, self.U, self.b = self.affine(input_size, hidden_size)

        def step(self, x, h):
            return tr.tanh(x @ self.W + h @ self.U + self.b)

    assert plugins.get_cell("mine") is Mine and "My cell." in invoke("cells", "mine").stdout
    assert invoke("train", text_file, *TINY, "--cell", "mine", "--out", tmp_path / "run").exit_code == 0
    assert tr.load(tmp_path / "run").generate("the", length=5, seed=0)
    tr.cells.register("mine", Mine)  # a notebook runs its cells again
    plugins.CELLS.own.clear()
    with pytest.raises(
        tr.InputError,
        match=r"not here.*that it 'was registered by tr.cells.register in test_plugins:.*run that first'",
    ):
        tr.load(tmp_path / "run")


def test_an_option_without_a_type_has_that_of_its_default(own):
    class Mine(tr.cells.get_cell("rnn")):
        def build(
            self, input_size, hidden_size, *, gain=1.0, count=2, fast=False, name="a", x: int | str = 1
        ):
            super().build(input_size, hidden_size)

    given = dict(gain="0.5", count="3", fast="true", name="7", x="b")
    assert plugins.check_options(Mine, given) == dict(gain=0.5, count=3, fast=True, name="7", x="b")
    assert plugins.check_options(Mine, dict(count="0.5", x="4")) == dict(count=0.5, x=4)
    for wrong in (dict(gain="fast"), dict(count="x"), dict(fast="2")):
        with pytest.raises(tr.InputError, match="it must be"):
            plugins.check_options(Mine, wrong)


def test_a_whole_number_is_not_made_of_another(own):
    class Mine(tr.cells.get_cell("rnn")):
        def build(self, input_size, hidden_size, *, count: int = 2):
            super().build(input_size, hidden_size)

    assert plugins.check_options(Mine, dict(count=3.0)) == dict(count=3)
    with pytest.raises(tr.InputError, match=r"count=2\.7: it must be int"):
        plugins.check_options(Mine, dict(count=2.7))


def test_names_and_classes_that_cannot_be_registered(own):
    with pytest.raises(tr.InputError, match="belongs to a cell of the package tinyrnn"):
        tr.cells.register("gru", plugins.get_cell("rnn"))
    with pytest.raises(tr.InputError, match=r"not a subclass of tinyrnn\.Cell"):
        tr.cells.register("mine", dict)
    assert "mine" not in plugins.registered()


# ------------------------------------------------------------------ a file


def test_a_cell_in_a_file_trains_from_anywhere(tmp_path, text_file, cell_file, monkeypatch):
    monkeypatch.chdir(cell_file.parent)
    result = invoke(
        "train",
        text_file,
        *TINY,
        "--cell",
        "mine.py:Mine",
        "--cell-opt",
        "gain=0.5",
        "--out",
        tmp_path / "run",
    )
    assert result.exit_code == 0, result.output
    monkeypatch.chdir("/")
    assert invoke("generate", tmp_path / "run", "--length", "5", "--allow-code").exit_code == 0
    assert invoke("train", "--resume", tmp_path / "run", "--steps", "12", "--allow-code").exit_code == 0
    assert "A cell in a file." in invoke("cells", f"{cell_file}:Mine").stdout
    cell_file.rename(tmp_path / "elsewhere.py")
    result = invoke("generate", tmp_path / "run", "--allow-code")
    assert (
        result.exit_code == 2
        and f"'Mine' is in the file '{cell_file}', which is not here: put it there" in result.output
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("{}:Nine", "has no Nine: its cells are Mine"),
        ("{}:NotACell", "not a subclass of tinyrnn.Cell"),
        ("{}", "write it as FILE.py:CLASS"),
        ("{}x.py:Mine", "there is no file"),
    ],
)
def test_files_that_cannot_be_used(cell_file, name, said):
    result = invoke("cells", name.format(cell_file))
    assert result.exit_code == 2 and said in result.output


def test_a_file_that_cannot_be_imported_is_one_sentence(tmp_path):
    (tmp_path / "bad.py").write_text("import no_such_module_at_all")
    result = invoke("cells", f"{tmp_path / 'bad.py'}:Cell")
    assert (
        result.exit_code == 2
        and "cannot be imported: ModuleNotFoundError" in result.output
        and "Traceback" not in result.output
    )


def test_a_file_that_changed_is_loaded_anew(cell_file):
    name = f"{cell_file}:Mine"
    first = plugins.get_cell(name)
    assert plugins.get_cell(name) is first
    cell_file.write_text(SOURCE.replace("A cell in a file.", "Changed."))
    os.utime(cell_file, ns=(1, 1))
    assert plugins.get_cell(name).__doc__ == "Changed."


# ------------------------------------------------------------------ new packages


@pytest.mark.sample(3)
@pytest.mark.parametrize("template", scaffold.templates())
def test_a_new_package_passes_its_own_tests(tmp_path, template):
    result = invoke("new-cell", "my-own", "--template", template, "--out", tmp_path)
    folder = tmp_path / "tinyrnn-my-own"
    assert result.exit_code == 0 and str(folder) in result.output
    assert 'my-own = "tinyrnn_my_own:MyOwn"' in (folder / "pyproject.toml").read_text()
    source = (folder / "tinyrnn_my_own.py").read_text() + (
        folder / "tests" / "test_tinyrnn_my_own.py"
    ).read_text()
    assert "$" not in source + (folder / "README.md").read_text().replace("$ ", "")
    select = [] if template == "minimal" else ["-k", "equations or gradients or compiled"]
    done = own_tests(folder, *select)
    assert done.returncode == 0, done.stdout
    ruff = [sys.executable, "-m", "ruff", "format", "--check", "--line-length", "128", folder]
    assert subprocess.run(ruff, capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gru", "exists already"),
        ("My Cell", "cannot name a cell"),
        ("taken", "exists and is not overwritten"),
    ],
)
def test_names_that_a_new_package_cannot_have(tmp_path, name, said):
    (tmp_path / "tinyrnn-taken").mkdir()
    result = invoke("new-cell", name, "--out", tmp_path)
    assert result.exit_code == 2 and said in result.output
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tinyrnn-taken"] and not list(
        (tmp_path / "tinyrnn-taken").iterdir()
    )


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (
            lambda self, x, h: (h, h),
            "step returned 2 states, it was given 1: return one for each state, in their order",
        ),
        (lambda self, x, h: h[:, :3], r"step returned state 0 as \[4, 3\], it was given as \[4, 8\]"),
    ],
)
def test_a_step_that_returns_something_else_is_one_sentence(own, tmp_path, text_file, step, said):
    parts = {"step": step, "build": lambda self, n_in, n: setattr(self, "W", self.weight(n_in, n))}
    tr.cells.register("odd", type("Odd", (tr.Cell,), parts))
    result = invoke("train", text_file, *TINY, "--cell", "odd", "--out", tmp_path / "run")
    assert result.exit_code == 2 and re.search(said, result.output) and "Traceback" not in result.output
    assert invoke("train", text_file, *TINY, "--out", tmp_path / "other").exit_code == 0


# ------------------------------------------------------------------ comparisons


def test_a_comparison_on_equal_terms(tmp_path, text_file):
    out = tmp_path / "cmp"
    command = [
        "compare",
        text_file,
        "--cells",
        "gru[reset_after=true], rnn",
        "--seeds",
        "2",
        "--out",
        out,
        *TINY,
        "--json",
    ]
    first = invoke(*command)
    assert first.exit_code == 0, first.output
    found = json.loads(first.stdout)
    assert (
        found == json.loads((out / "compare.json").read_text())
        and (out / "compare.png").read_bytes()[:4] == b"\x89PNG"
    )
    by_name = {row["cell"]: row for row in found["cells"]}
    assert by_name["gru"]["hidden"] == 8 and by_name["gru"]["parameters"] == found["budget"]
    assert by_name["rnn"]["hidden"] > 8 and abs(by_name["rnn"]["parameters"] / found["budget"] - 1) < 0.1
    for row in found["cells"]:
        losses = [run["val_loss"] for run in row["runs"]]
        assert row["val_loss"] == pytest.approx(np.mean(losses)) and row["val_loss_std"] == pytest.approx(
            np.std(losses, ddof=1)
        )
        model = tr.load(out / row["runs"][1]["path"])
        assert model.settings["hidden"] == row["hidden"]
        assert sum(p.size for p in model.parameters()) == row["parameters"]
    assert [row["val_loss"] for row in found["cells"]] == sorted(row["val_loss"] for row in found["cells"])
    config = json.loads((out / "gru-1" / "config.json").read_text())["options"]
    assert config["seed"] == 1 and config["cell_opt"] == ["reset_after=true"]

    stamps = {p: p.stat().st_mtime_ns for p in out.glob("*/last.safetensors")}
    again = invoke(*[a for a in command if a != "--json"])
    assert again.output.count("was there already") == 4
    assert stamps == {p: p.stat().st_mtime_ns for p in out.glob("*/last.safetensors")}
    longer = invoke(*[15 if a == "10" and command[i - 1] == "--steps" else a for i, a in enumerate(command)])
    assert longer.exit_code == 0
    assert json.loads((out / "rnn-0" / "log.jsonl").read_text().splitlines()[-1])["step"] == 15


def test_a_cell_that_diverges_is_a_row_of_the_table(own, tmp_path, text_file):
    @tr.cells.register("wild")
    class Wild(tr.Cell):
        def build(self, input_size, hidden_size):
            self.W, self.U, self.b = self.affine(input_size, hidden_size)

        def step(self, x, h):
            return 30 * (x @ self.W + h @ self.U + self.b)

    result = invoke("compare", text_file, "--cells", "wild,gru", "--out", tmp_path / "cmp", *TINY)
    assert result.exit_code == 0 and "diverged" in result.output, result.output
    found = json.loads((tmp_path / "cmp" / "compare.json").read_text())
    assert [(row["cell"], row["val_loss"] is None) for row in found["cells"]] == [
        ("gru", False),
        ("wild", True),
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cells", "gru,gruu"], "did you mean gru"),
        (["--cells", "gru,rnn,gru"], "names gru twice"),
        (["--cells", "gru[nonsense=1]"], "has no option 'nonsense'"),
        (["--cells", "gru", "--params", "10"], "more than 10: raise --params"),
        (["--cells", ", "], "names no cell"),
        *[(["--cells", cells], "not closed") for cells in ("gru,lstm[", "gru]", "gru[a=[1]]", "gru[a=1,rnn")],
        (["-", "--cells", "gru"], "which standard input cannot"),
        (["--cells", "gru", "--hidden", "9"], "--hidden"),
    ],
)
def test_comparisons_that_cannot_be(tmp_path, text_file, arguments, said):
    out = tmp_path / "cmp"
    if "--hidden" in arguments:  # other runs are in the folder
        assert invoke("compare", text_file, "--cells", "gru", "--out", out, *TINY).exit_code == 0
    result = invoke("compare", text_file, *TINY, "--out", out, *arguments)
    assert result.exit_code == 2 and said in result.output, result.output


def test_a_comparison_says_which_precision_it_takes(tmp_path, text_file):
    result = invoke("compare", text_file, *TINY, "--cells", "rnn", "--dtype", "auto", "--out", tmp_path / "c")
    assert result.exit_code == 0 and result.stderr.count("dtype auto: float32, the faster of") == 1


def test_every_train_option_is_an_option_of_compare():
    shown = invoke("compare", "--help").stdout
    assert all(
        o in shown for o in ("--cells", "--seeds", "--params", "--steps", "--recurrent-dropout", "--lr")
    )
    assert "--resume" not in shown and "--cell " not in shown


def test_runs_are_named_after_the_class_of_a_file(tmp_path, text_file, cell_file, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert invoke("train", text_file, *TINY, "--cell", f"{cell_file}:Mine").exit_code == 0
    assert Path("runs/text-mine").is_dir()


# ------------------------------------------------------------------ the tutorial


PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
PASTED = dict(re.findall(r"stands in\s`([^`]+)`:\n\n```python\n(.*?)```", PAGE, re.DOTALL))


def own_tests(folder, *select):
    """The tests of a package that is not installed, run in a process of their own."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *select, str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=300)


def test_the_tutorial_fits_the_package_that_new_cell_writes(tmp_path, monkeypatch):
    """docs/plugins.md followed to the letter: its package, its blocks in the files it names, its tests."""
    monkeypatch.chdir(tmp_path)
    first = next(line for line in PAGE.splitlines() if line.startswith("$ tinyrnn new-cell"))
    assert invoke(*shlex.split(first)[2:]).exit_code == 0
    assert len(PASTED) == PAGE.split("\n## More than equations\n")[0].count("```python") == 2
    for name, block in PASTED.items():
        assert Path(name).is_file(), f"new-cell writes no {name}"
        Path(name).write_text(block, encoding="utf-8")
    done = own_tests(tmp_path / "tinyrnn-leaky")
    assert done.returncode == 0, done.stdout
    assert f"{len(CHECKS) + 1} passed" in done.stdout  # the suite and the equations
    assert subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--check", "--line-length", "110", "tinyrnn-leaky"],
        capture_output=True,
    ).returncode == 0  # fmt: skip


def test_the_commands_of_the_tutorial(tmp_path, text_file, monkeypatch, own):
    """docs/plugins.md: its commands run (short), and its cell does what the page shows."""
    names = {}
    exec(compile(PASTED["tinyrnn-leaky/tinyrnn_leaky.py"], "docs/plugins.md", "exec"), names)
    tr.cells.register("leaky", names["Leaky"])
    monkeypatch.chdir(tmp_path)
    commands = [line[10:] for line in PAGE.splitlines() if line.startswith("$ tinyrnn ")]
    assert [c.split()[0] for c in commands] == ["new-cell", "cells", "check", "train", "compare"]
    for line in commands:
        arguments = shlex.split(line)
        if arguments[0] == "new-cell":
            arguments[1] = "leaky-again"  # leaky has its name already
        if "--minutes" in arguments:
            i = arguments.index("--minutes")
            arguments[i : i + 2] = TINY
        result = invoke(*arguments)
        assert result.exit_code == 0, f"{line}\n{result.output}"
        if arguments[0] == "check":
            shown = PAGE[PAGE.index("$ tinyrnn check leaky") :].split("```")[0].splitlines()[1:]
            assert [x[:24] for x in shown] == [x[:24] for x in result.stdout.splitlines()]
    assert len(json.loads(Path("runs/compare/compare.json").read_text())["cells"]) == 3
    for message in re.findall(r"^\| `(.*?)` \|", PAGE, re.MULTILINE):
        assert message.split("(")[0].split(" argsort")[0] in SOURCES, message


FILES = (Path(tr.__file__).parent / "compiler").rglob("*.py")
SOURCES = "".join(p.read_text(encoding="utf-8") for p in FILES)
SOURCES = SOURCES.replace("{found}", "float32, float64").replace("{name}", "argsort")
SOURCES += (Path(tr.__file__).parent / "autograd" / "tape.py").read_text(encoding="utf-8")


def test_what_another_package_brings_is_told_with_its_name():
    """The packages that lie beside tinyrnn: their names are those of their own declarations."""
    declared = {}
    for file in sorted((Path(__file__).parents[2] / "plugins").glob("*/pyproject.toml")):
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        names = [name for group in project["entry-points"].values() for name in group]
        declared[project["name"]] = " ".join(sorted(names))
    assert declared == PACKAGES
    for group, name, package in (
        (TASKS, "tag", "tinyrnn-tag"),
        (plugins.CELLS, "peephole", "tinyrnn-classic"),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(group, "registered", dict)
            with pytest.raises(tr.InputError, match=f"package {package}: .*pip install ./plugins/{package}"):
                group.entry(name)
