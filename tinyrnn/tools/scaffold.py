"""The packages that ``tinyrnn new-cell`` and ``tinyrnn new-task`` write: an entry point, a module, tests, a
README, from the files in ``templates/``.
"""

import re
import string
import tempfile
from pathlib import Path

from ..base.errors import InputError
from ..nn.registry import CELLS
from ..training.task import TASKS

_TEMPLATES = Path(__file__).parent / "templates"
_FILES = {  # what is written: the template it is made of
    "pyproject.toml": "pyproject.toml.txt",
    "README.md": "{noun}_README.md.txt",
    "{module}.py": "{template}.py.txt",
    "tests/test_{module}.py": "{template}_test.py.txt",
}


def templates() -> list[str]:
    """Names of what a new cell may start from."""
    names = sorted(p.name.removesuffix("_test.py.txt") for p in _TEMPLATES.glob("*_test.py.txt"))
    return [name for name in names if name != "task"]


def write_package(name: str, template: str, parent) -> Path:
    """Write the package ``tinyrnn-NAME`` into the folder ``parent``, whole or not at all; returns its folder.

    Raises:
        InputError: a name that cannot be a cell's or task's or is taken, a folder that exists or cannot be
            written.
    """
    group = TASKS if template == "task" else CELLS
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
        raise InputError(
            f"{name!r} cannot name a {group.noun}: use small letters, digits, - and _, a letter first"
        )
    if taken := group.registered().get(name):
        raise InputError(f"the {group.noun} {name!r} exists already, in {taken.package}: choose another name")
    folder = Path(parent) / f"tinyrnn-{name}"
    if folder.exists():
        raise InputError(f"{folder} exists and is not overwritten: choose another name, or another --out")
    module = f"tinyrnn_{name.replace('-', '_')}"
    words = dict(name=name, package=folder.name, module=module, noun=group.noun, group=group.name)
    words["cls"] = "".join(part.capitalize() for part in re.split("[-_]", name))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as work:
            made = Path(work) / folder.name
            for target, source in _FILES.items():
                file = _TEMPLATES / source.format(template=template, noun=group.noun)
                text = string.Template(file.read_text(encoding="utf-8"))
                path = made / target.format(module=module)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text.substitute(words), encoding="utf-8")
            made.rename(folder)
    except OSError as error:
        raise InputError(
            f"{folder} could not be written ({error.strerror or error}): choose another --out"
        ) from None
    return folder
