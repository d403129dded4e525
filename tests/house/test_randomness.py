"""The numbers of a test must not depend on which tests ran before: no test draws from a generator of its
module.
"""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
MAKERS = {"default_rng", "RandomState", "Random", "Generator"}


def names(node):
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def drawn_from(source):
    """(test or fixture, generator) pairs: those that it reaches, itself or through functions of the file."""
    tree = ast.parse(source)
    generators, functions = set(), {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            called = node.value.func
            if getattr(called, "attr", getattr(called, "id", None)) in MAKERS:
                generators |= {name for target in node.targets for name in names(target)}
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            functions[node.name] = node
        elif isinstance(node, ast.Assign):  # as in N = rng.standard_normal
            functions.update({name: node for target in node.targets for name in names(target)})
    pairs = set()
    for test, node in functions.items():
        fixture = any("fixture" in ast.dump(d) for d in getattr(node, "decorator_list", ()))
        if not (test.lower().startswith("test") or fixture):
            continue
        seen, todo = set(), [node]
        while todo:
            node = todo.pop()
            body = node.body if isinstance(node, ast.FunctionDef) else [node]
            own = {a.arg for a in ast.walk(node) if isinstance(a, ast.arg)}
            used = set().union(*map(names, body)) - own
            pairs |= {(test, name) for name in used & generators}
            # A value that was made when the file was imported is the same for all tests.
            new = {n for n in used - seen if isinstance(functions.get(n), ast.FunctionDef | ast.ClassDef)}
            new |= {
                n for n in used - seen if isinstance(getattr(functions.get(n), "value", None), ast.Attribute)
            }
            seen |= new
            todo += [functions[n] for n in new]
    return pairs


@pytest.mark.parametrize("file", sorted(TESTS.rglob("test_*.py")), ids=lambda f: f.stem)
def test_no_test_draws_from_a_generator_of_its_module(file):
    assert drawn_from(file.read_text(encoding="utf-8")) == set()


def test_what_is_looked_for_is_found():
    made = "rng = np.random.default_rng(0)\n"
    direct = made + "def test_a():\n    x = rng.random(3)\n"
    helper = made + "def draw():\n    return rng.random(3)\ndef test_b():\n    draw()\n"
    method = made + "N = rng.standard_normal\ndef test_c():\n    N(3)\n"
    assert drawn_from(direct) == {("test_a", "rng")}
    assert drawn_from(helper) == {("test_b", "rng")}
    assert drawn_from(method) == {("test_c", "rng")}
    assert drawn_from(made + "X = rng.random(3)\ndef test_d():\n    print(X)\n") == set()
    assert drawn_from(made + "def test_e(rng):\n    rng.random(3)\n") == set()
