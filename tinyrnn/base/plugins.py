"""Finding plugins: built-in parts and those of other packages come through the same entry-point groups."""

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import InputError, near, shown
from .version import __version__

PACKAGES = {  # that lie beside tinyrnn in its repository, and the names that each brings
    "tinyrnn-classic": "cifg irnn janet mgu mut1 mut2 mut3 peephole scrn ugrnn",
    "tinyrnn-linear": "indrnn mingru minlstm qrnn rglru slstm sru",
    "tinyrnn-matrix": "deltanet fastweights gateddeltanet matrix-lstm selective",
    "tinyrnn-neuro": "alif ctrnn dale lif low-rank stp",
    "tinyrnn-norm": "mlstm mogrifier rhn",
    "tinyrnn-physics": "antisymmetric cornn lem lipschitz lmu ode-rnn unicornn",
    "tinyrnn-tag": "tag",
}


@dataclass(frozen=True)
class Here:
    """A class that needs no import, in the form of an entry point."""

    made: type

    @property
    def value(self) -> str:
        return f"{self.made.__module__}:{self.made.__qualname__}"

    def load(self) -> type:
        return self.made


@dataclass(frozen=True)
class Entry:
    """One plugin that can be had: its name, where it is, and the package (and version) that brings it."""

    group: "Group"
    name: str
    package: str
    version: str
    points: tuple[Any, ...]  # `importlib.metadata.EntryPoint`, or what is like one
    hint: str = ""  # how to get it, if it is missing; default: by installing the package

    @property
    def target(self) -> str:
        return self.points[0].value

    @property
    def origin(self) -> str:
        """Where it comes from, and what to do if it is not there."""
        return (
            self.hint or f"comes from the package {self.package} {self.version}: pip install {self.package}"
        )

    def load(self) -> type:
        """Import the class.

        Raises:
            InputError: two packages claim the name, the import fails, or the object is of another kind.
        """
        what = f"{self.group.noun} {self.name!r}"
        if len(self.points) > 1:
            raise InputError(f"{what} is registered by {self.package}: uninstall all but one of them")
        try:
            found = self.points[0].load()
        except InputError:
            raise
        except (Exception, SystemExit) as error:  # whatever its import raises must not reach the others
            said = f"cannot be imported: {type(error).__name__}: {error}"
            raise InputError(f"{what} of package {self.package} {said}") from error
        if not (isinstance(found, type) and issubclass(found, self.group.base)):
            said = f"is not a subclass of tinyrnn.{self.group.base.__name__}: {self.target}"
            raise InputError(f"{what} of package {self.package} {said}")
        if problem := self.group.problem(found):
            raise InputError(f"{what} of package {self.package} {problem}")
        return found


def points_of_checkout(group: str) -> list[Any]:
    """What `pyproject.toml` beside this package declares: tinyrnn runs from a checkout (``PYTHONPATH=.``)
    on machines where nothing can be installed.
    """
    import importlib.metadata
    import tomllib

    declaration = Path(__file__).parents[2] / "pyproject.toml"
    if not declaration.is_file():
        return []
    project = tomllib.loads(declaration.read_text(encoding="utf-8"))["project"]
    if project["name"] != "tinyrnn":
        return []
    members = project["entry-points"].get(group, {})
    return [importlib.metadata.EntryPoint(name, value, group) for name, value in members.items()]


class Group:
    """An entry-point group.

    Args:
        name: of the group, as in ``[project.entry-points."tinyrnn.cells"]``.
        noun: what one of its members is called.
        base: the class that every member is a subclass of.
    """

    def __init__(self, name: str, noun: str, base: type):
        self.name, self.noun, self.base = name, noun, base
        self.own: dict[str, Entry] = {}  # what `register` was given

    def problem(self, found: type) -> str:
        """What a member lacks; empty: nothing."""
        return ""

    @functools.cached_property
    def installed(self) -> dict[str, Entry]:
        """The members that packages bring, found without importing any of them."""
        import importlib.metadata  # heavy for `import tinyrnn`

        found: dict[str, list[Any]] = {}
        points = list(importlib.metadata.entry_points(group=self.name))
        if not any(point.dist and point.dist.name == "tinyrnn" for point in points):
            points += points_of_checkout(self.name)
        for point in points:
            found.setdefault(point.name, []).append(point)
        entries = {}
        for name, points in found.items():
            unique = {(p.dist.name if p.dist else "tinyrnn", p.value): p for p in points}
            packages = " and ".join(sorted({package for package, _ in unique}))
            version = points[0].dist.version if points[0].dist else __version__
            entries[name] = Entry(self, name, packages, version, tuple(unique.values()))
        return entries

    def registered(self) -> dict[str, Entry]:
        """All members by name: of installed packages, and of this process."""
        return dict(sorted((self.installed | self.own).items()))

    def broken(self) -> list[str]:
        """What is wrong with each member that cannot be used. Imports them all."""
        said = []
        for entry in self.registered().values():
            try:
                entry.load()
            except InputError as error:
                said.append(str(error))
        return said

    def entry(self, name: str) -> Entry:
        """The member of that name; InputError with near matches if there is none."""
        entries = self.registered()
        if not isinstance(name, str) or name not in entries:
            packages = [p for p, names in PACKAGES.items() if isinstance(name, str) and name in names.split()]
            mend = [
                f"it comes with the package {p}: in tinyrnn's repository pip install ./plugins/{p}"
                for p in packages
            ]
            mend = mend or [near(name, entries, "registered are")]
            raise InputError(f"unknown {self.noun} {shown(name)}: {mend[0]}")
        return entries[name]

    def register(self, name: str, made: type, where: str) -> type:
        """Give ``made`` a name in this process; it may be given anew. ``where``: the function that people
        call for it.

        Raises:
            InputError: an installed package has that name, or ``made`` is of another kind.
        """
        if name in self.installed:
            package = self.installed[name].package
            raise InputError(
                f"the name {name!r} belongs to a {self.noun} of the package {package}: choose another"
            )
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
            mend = "use letters, digits, - and _, a letter first"
            raise InputError(f"{shown(name)} cannot name a {self.noun}: {mend}")
        if not isinstance(made, type):
            raise InputError(f"{where} was given {shown(made)}: give a subclass of {self.base.__name__}")
        point = Here(made)
        hint = f"was registered by {where} in {point.value}: run that first"
        entry = Entry(self, name, "this process", "", (point,), hint)
        entry.load()
        self.own[name] = entry
        return made
