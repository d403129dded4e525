"""The package that ``tinyrnn new-cell`` writes: an entry point, a module, tests, a README, from the files in
``templates/``.
"""

import re
import string
import tempfile
from pathlib import Path

from ..base.errors import InputError
from ..nn.registry import registered

_TEMPLATES = Path(__file__).parent / "templates"
_FILES = {  # what is written: the template it is made of
    "pyproject.toml": "pyproject.toml.txt",
    "README.md": "README.md.txt",
    "{module}.py": "{template}.py.txt",
    "tests/test_{module}.py": "{template}_test.py.txt",
}


def templates() -> list[str]:
    """Names of what a new cell may start from."""
    return sorted(p.name.removesuffix("_test.py.txt") for p in _TEMPLATES.glob("*_test.py.txt"))


def write_package(name: str, template: str, parent) -> Path:
    """Write the package ``tinyrnn-NAME`` into the folder ``parent``, whole or not at all; returns its folder.

    Raises:
        InputError: a name that cannot be a cell's or is taken, a folder that exists or cannot be written.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
        raise InputError(f"{name!r} cannot name a cell: use small letters, digits, - and _, a letter first")
    if name in registered():
        raise InputError(
            f"the cell {name!r} exists already, in {registered()[name].package}: choose another name"
        )
    folder = Path(parent) / f"tinyrnn-{name}"
    if folder.exists():
        raise InputError(f"{folder} exists and is not overwritten: choose another name, or another --out")
    module, cls = (
        f"tinyrnn_{name.replace('-', '_')}",
        "".join(part.capitalize() for part in re.split("[-_]", name)),
    )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as work:
            made = Path(work) / folder.name
            for target, source in _FILES.items():
                text = string.Template(
                    (_TEMPLATES / source.format(template=template)).read_text(encoding="utf-8")
                )
                path = made / target.format(module=module)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(
                    text.substitute(name=name, package=folder.name, module=module, cls=cls), encoding="utf-8"
                )
            made.rename(folder)
    except OSError as error:
        raise InputError(
            f"{folder} could not be written ({error.strerror or error}): choose another --out"
        ) from None
    return folder
