"""What is no well-formed cell is one sentence, wherever a cell is taken; so is one that breaks when built."""

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner

import tinyrnn as tr
from tinyrnn.cli import main
from tinyrnn.nn import registry
from tinyrnn.tools.check import check_cell

HEAD = "import sys\nimport tinyrnn as tr\n\n\nclass Odd(tr.Cell):\n"
BUILD = "    def build(self, n, h):\n        self.W, self.U, self.b = self.affine(n, h)\n"
STEP = "    def step(self, x, h):\n        return tr.tanh(x @ self.W + h @ self.U + self.b)\n"
MALFORMED = {  # the class, and what is said of it
    "no build": (STEP, "has no build"),
    "no step": (BUILD, "has no step"),
    "no states": (f"    states = ()\n{BUILD}{STEP}", "states = ().*a tuple of different names"),
    "states of letters": (f"    states = 'h'\n{BUILD}{STEP}", "states = 'h'.*a tuple of different names"),
    "states twice": (f"    states = ('h', 'h')\n{BUILD}{STEP}", "a tuple of different names"),
    "numbers for states": (f"    states = (1, 2)\n{BUILD}{STEP}", "a tuple of different names"),
    "its own init": (f"    def __init__(self, n, h):\n        pass\n{BUILD}{STEP}", "override build"),
    "a third size": (BUILD.replace("n, h", "n, h, rate", 1) + STEP, "keyword-only, with defaults"),
    "a third size with a default": (BUILD.replace("n, h", "n, h, r=1", 1) + STEP, "keyword-only, with"),
    "one size": ("    def build(self, n):\n        pass\n" + STEP, "keyword-only, with defaults"),
    "no default": (BUILD.replace("n, h", "n, h, *, r: float", 1) + STEP, "option r without a default"),
    "a list": (BUILD.replace("n, h", "n, h, *, r: list = None", 1) + STEP, "option r of the type list"),
    "an unknown name": (BUILD.replace("n, h", 'n, h, *, r: "Nix" = 1', 1) + STEP, "cannot be read"),
}
BROKEN = {  # well formed, until it is built or runs
    "sizes": (
        f"{BUILD}        self.state_sizes = (h + 1,)\n{STEP}",
        "must be a dict with a width for each of h",
    ),
    "other names": (f"{BUILD}        self.state_sizes = dict(c=h)\n{STEP}", "a width for each of h"),
    "no width": (f"{BUILD}        self.state_sizes = dict(h=0)\n{STEP}", "h is 0: it must be an integer"),
    "a hidden method": (f"{BUILD}        self.step = 3\n{STEP}", "build sets self.step, which hides"),
    "no return": (BUILD + "    def step(self, x, h):\n        pass\n", "step returned NoneType"),
    "an exit": (BUILD + "    def step(self, x, h):\n        sys.exit(3)\n", r"step exits \(3\): raise"),
    "an exit of build": (f"{BUILD}        sys.exit(3)\n{STEP}", r"build exits \(3\): raise"),
}


def made(body):
    names = {}
    exec(HEAD + body, names)
    return names["Odd"]


def is_said(said, result, code):
    """That a command ended with one sentence."""
    assert result.exit_code == code and "Traceback" not in result.output, result.output
    assert re.search(said, " ".join(result.output.split())), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)


@pytest.mark.parametrize("fault", MALFORMED)
def test_a_malformed_cell_is_one_sentence_wherever_it_is_taken(fault, tmp_path, monkeypatch):
    body, said = MALFORMED[fault]
    monkeypatch.setattr(registry.CELLS, "own", {})
    cell = made(body)
    for take in (
        lambda: tr.RNN(cell, 3, 4),
        lambda: tr.cells.register("odd", cell),
        lambda: check_cell(cell),
    ):
        with pytest.raises(tr.InputError, match=said):
            take()
    file, text = tmp_path / "odd.py", tmp_path / "text.txt"
    file.write_text(HEAD + body)
    text.write_text("to be or not to be " * 50)
    name = f"{file}:Odd"
    for command in (["cells", name], ["check", name], ["train", str(text), "--cell", name, "--steps", "1"]):
        is_said(said, CliRunner().invoke(main, command), 2)


@pytest.mark.parametrize("fault", BROKEN)
def test_a_cell_that_breaks_is_one_sentence(fault, tmp_path, monkeypatch):
    body, said = BROKEN[fault]
    monkeypatch.chdir(tmp_path)
    with pytest.raises((tr.InputError, tr.ShapeError), match=said):
        tr.RNN(made(body), 3, 4)(np.ones((2, 1, 3)))
    file, text = tmp_path / "odd.py", tmp_path / "text.txt"
    file.write_text(HEAD + body)
    text.write_text("to be or not to be " * 50)
    command = [
        "train",
        str(text),
        "--cell",
        f"{file}:Odd",
        "--steps",
        "1",
        "--seq-len",
        "9",
        "--batch-size",
        "2",
    ]
    is_said(said, CliRunner().invoke(main, command), 2)
    checked = CliRunner().invoke(main, ["check", f"{file}:Odd"])
    is_said(said, checked, 1)
    assert checked.output.count("FAILED") == 1  # and no more checks are made
    found = json.loads(CliRunner().invoke(main, ["check", f"{file}:Odd", "--json"]).output)
    assert not found["passed"] and [check["name"] for check in found["checks"]] == ["states"]


def test_an_output_without_parameters_is_said():
    cell = made(BUILD + "    def step(self, x, h):\n        return h * 1.0\n")
    assert "depends on no parameter" in check_cell(cell)[-1].detail


def test_cell_itself_is_no_cell(tmp_path):
    with pytest.raises(tr.InputError, match="Cell is Cell itself"):
        tr.RNN(tr.Cell, 3, 4)
    (tmp_path / "odd.py").write_text("from tinyrnn import Cell\n")
    is_said("is Cell itself", CliRunner().invoke(main, ["check", f"{tmp_path / 'odd.py'}:Cell"]), 2)


@pytest.mark.parametrize("name", ["a b[", "", "a:b", "a,b", "3", None, 3])
def test_names_that_no_cell_can_have(name):
    with pytest.raises(tr.InputError, match="cannot name a cell"):
        tr.cells.register(name, made(BUILD + STEP))


def test_what_is_no_class_is_not_registered():
    with pytest.raises(tr.InputError, match="tr.cells.register was given 3: give a subclass of Cell"):
        tr.cells.register("zz", 3)


def test_a_class_that_is_to_be_trained_needs_a_name(tmp_path):
    with pytest.raises(tr.InputError, match=r"cell is the class Odd: .*tr.cells.register\(.odd., Odd\)"):
        tr.train(tmp_path / "text.txt", cell=made(BUILD + STEP))


@pytest.mark.parametrize("weights", [None, {"weight": "x", "bias": "y"}, {"weight": None, "bias": None}, 3])
def test_weights_that_are_none(weights):
    with pytest.raises(tr.InputError, match="give"):
        tr.Linear(3, 4).load_state_dict(weights)


def test_a_slice_between_elements():
    with pytest.raises(tr.DtypeError, match="no integer"):
        tr.tensor([1.0, 2.0, 3.0])[0.5:2]
