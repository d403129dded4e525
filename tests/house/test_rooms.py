"""The house: nine rooms, one above the other; a file imports from its own room and from rooms below, public
names only.
"""

import ast
import sys
from pathlib import Path

import pytest

import tinyrnn

HOUSE = Path(tinyrnn.__file__).parent
ROOMS = "base kernels autograd compiler nn training tasks tools cli".split()  # from the ground up
# The front doors, above all rooms: what people import by these names. No room imports them.
DOORS = {"__init__", "__main__", "front", "linalg", "optim", "sklearn", "testing"}


def imports(file, run=False):
    """What a file imports of tinyrnn: (module, name or None, line); the module in full,
    ``tinyrnn.nn.rnn``. ``run``: only what runs, not what stands there for type checkers.
    """
    parts = file.relative_to(HOUSE.parent).with_suffix("").parts
    package = parts[:-1]
    tree = ast.parse(file.read_text(encoding="utf-8"))
    if run:
        tree.body = [
            n for n in tree.body if not (isinstance(n, ast.If) and "TYPE_CHECKING" in ast.dump(n.test))
        ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((a.name, None, node.lineno) for a in node.names if a.name.split(".")[0] == "tinyrnn")
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *filter(None, [node.module])])
            if module.split(".")[0] == "tinyrnn":
                yield from ((module, a.name, node.lineno) for a in node.names)


def target(module, name):
    """The file that an import reads first: a module of that name, else the module that holds the name."""
    path = HOUSE.parent.joinpath(*module.split("."))
    for candidate in (path / name, path) if name else (path,):
        if candidate.with_suffix(".py").is_file():
            return candidate.with_suffix(".py")
        if (candidate / "__init__.py").is_file():
            return candidate / "__init__.py"
    raise AssertionError(f"{module} {name}: no such file")


def room(file):
    """The room that a file is in; None for a front door."""
    parts = file.relative_to(HOUSE).parts
    return parts[0] if len(parts) > 1 else None


FILES = sorted(HOUSE.rglob("*.py"))


def test_there_are_nine_rooms_and_the_doors():
    assert sorted(p.name for p in HOUSE.iterdir() if p.is_dir() and p.name != "__pycache__") == sorted(ROOMS)
    assert {p.stem for p in HOUSE.glob("*.py")} <= DOORS
    assert {p.name for p in HOUSE.iterdir() if p.is_file() and p.suffix != ".py"} == {"py.typed"}


@pytest.mark.parametrize("name", ROOMS)
def test_imports_point_down(name):
    up = []
    for file in FILES:
        if room(file) != name:
            continue
        for module, imported, line in imports(file):
            other = room(target(module, imported))
            if other is None or ROOMS.index(other) > ROOMS.index(name):
                up.append(f"{file.relative_to(HOUSE)}:{line} imports {module} {imported or ''}")
    assert up == []


def test_no_file_imports_a_private_name():
    private = [
        f"{file.relative_to(HOUSE)}:{line} imports {module} {name or ''}"
        for file in FILES
        for module, name, line in imports(file)
        if any(
            part.startswith("_") and not part.startswith("__") for part in [*module.split("."), name or ""]
        )
    ]
    assert private == []


def test_no_circle():
    """The imports of files, as far as they run when the file is imported, have an order."""
    edges = {file: {target(m, n) for m, n, _ in imports(file, run=True)} - {file} for file in FILES}
    # A package's __init__ gathers its files, which never need it; importing a file of a package runs it all
    # the same.
    edges = {
        f: {t for t in targets if t.name != "__init__.py"}
        for f, targets in edges.items()
        if f.name != "__init__.py"
    }
    done, path = set(), []

    def visit(file):
        assert file not in path, " -> ".join(
            str(f.relative_to(HOUSE)) for f in [*path[path.index(file) :], file]
        )
        if file not in done:
            path.append(file)
            for other in sorted(edges.get(file, ())):
                visit(other)
            done.add(path.pop())

    for file in FILES:
        visit(file)
    assert sys.getrecursionlimit() > len(FILES)
