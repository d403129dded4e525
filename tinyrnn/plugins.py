"""Finding cells: built-ins and plugins alike come through the entry-point group ``tinyrnn.cells``."""

import difflib
import functools
import importlib.metadata
import inspect
import types
import typing
from dataclasses import dataclass

from .errors import InputError
from .nn.cell import Cell

GROUP = "tinyrnn.cells"


@dataclass(frozen=True)
class Entry:
    """One registered cell: its name, where it is, and the package (and version) that brings it."""

    name: str
    package: str
    version: str
    points: tuple

    @property
    def target(self) -> str:
        return self.points[0].value

    def load(self) -> type:
        """Import the cell class.

        Raises:
            InputError: two packages claim the name, the import fails, or the object is not a cell.
        """
        if len(self.points) > 1:
            raise InputError(f"cell {self.name!r} is registered by {self.package}: uninstall all but one of them")
        try:
            cell = self.points[0].load()
        except Exception as error:  # whatever a plugin's import raises must not reach the others
            raise InputError(
                f"cell {self.name!r} of package {self.package} cannot be imported: {type(error).__name__}: {error}"
            ) from error
        if not (isinstance(cell, type) and issubclass(cell, Cell)):
            raise InputError(f"cell {self.name!r} of package {self.package} is not a subclass of tinyrnn.Cell: {self.target}")
        return cell


@functools.cache
def registered() -> dict[str, Entry]:
    """All registered cells by name, found without importing any of them."""
    found = {}
    for point in importlib.metadata.entry_points(group=GROUP):
        found.setdefault(point.name, []).append(point)
    entries = {}
    for name, points in sorted(found.items()):
        unique = {(p.dist.name if p.dist else "?", p.value): p for p in points}
        packages = " and ".join(sorted({package for package, _ in unique}))
        version = points[0].dist.version if points[0].dist else "?"
        entries[name] = Entry(name, packages, version, tuple(unique.values()))
    return entries


def get_entry(name: str) -> Entry:
    """The entry of a cell's name; InputError with near matches if there is none."""
    entries = registered()
    if name not in entries:
        near = difflib.get_close_matches(name, entries, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"registered are {', '.join(entries)}"
        raise InputError(f"unknown cell {name!r}: {hint}")
    return entries[name]


def get_cell(name: str) -> type:
    """The cell class registered as ``name``."""
    return get_entry(name).load()


def options_of(cell: type) -> dict[str, inspect.Parameter]:
    """A cell's options: the keyword-only arguments of its ``build``."""
    parameters = inspect.signature(cell.build, eval_str=True).parameters.values()
    return {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}


def parse_options(pairs) -> dict:
    """``["name=value", ...]`` as a dict; InputError for what is not of that form."""
    parts = [pair.partition("=") for pair in pairs]
    if bad := [name for name, equals, _ in parts if not equals]:
        raise InputError(f"--cell-opt {bad[0]}: write it as NAME=VALUE")
    return {name: value for name, _, value in parts}


def check_options(cell: type, given: dict) -> dict:
    """``given`` with every value converted to its option's annotation; strings, as from a command line, are parsed.

    Raises:
        InputError: an unknown option (near matches are listed), or a value that does not fit its type.
    """
    known = options_of(cell)
    checked = {}
    for name, value in given.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1) or list(known)
            hint = f"it has {', '.join(near)}" if known else "it has none"
            raise InputError(f"cell {cell.__name__} has no option {name!r}: {hint}")
        checked[name] = _convert(name, value, known[name].annotation)
    return checked


def describe_type(annotation) -> str:
    """An option's type as help text: ``float``, ``true|false``, ``tanh|relu``."""
    if annotation is bool:
        return "true|false"
    if typing.get_origin(annotation) is typing.Literal:
        return "|".join(map(str, typing.get_args(annotation)))
    return getattr(annotation, "__name__", str(annotation))


def _convert(name, value, annotation):
    if annotation is inspect.Parameter.empty:
        return value
    complaint = InputError(f"cell option {name}={value}: it must be {describe_type(annotation)}")
    if typing.get_origin(annotation) is typing.Literal:
        for choice in typing.get_args(annotation):
            if str(choice) == str(value):
                return choice
        raise complaint
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        if value is None or str(value).lower() == "none":
            return None
        annotation = next(a for a in typing.get_args(annotation) if a is not type(None))
    if annotation is bool:
        if str(value).lower() in ("true", "false", "1", "0"):
            return str(value).lower() in ("true", "1")
        raise complaint
    try:
        return annotation(value)
    except (TypeError, ValueError):
        raise complaint from None
