"""Finding cells: built-ins and plugins alike come through the entry-point group ``tinyrnn.cells``."""

import difflib
import functools
import hashlib
import importlib.metadata
import importlib.util
import inspect
import sys
import types
import typing
from dataclasses import dataclass
from pathlib import Path

from .errors import InputError
from .nn.cell import Cell

GROUP = "tinyrnn.cells"


@dataclass(frozen=True)
class Entry:
    """One cell that can be had: its name, where it is, and the package (and version) that brings it."""

    name: str
    package: str
    version: str
    points: tuple
    hint: str = ""  # how to get it, if it is missing; default: by installing the package

    @property
    def target(self) -> str:
        return self.points[0].value

    @property
    def origin(self) -> str:
        """Where the cell comes from, and what to do if it is not there."""
        return self.hint or f"comes from the package {self.package} {self.version}: pip install {self.package}"

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
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"cell {self.name!r} of package {self.package} cannot be imported: {type(error).__name__}: {error}"
            ) from error
        if not (isinstance(cell, type) and issubclass(cell, Cell)):
            raise InputError(f"cell {self.name!r} of package {self.package} is not a subclass of tinyrnn.Cell: {self.target}")
        return cell


@functools.cache
def installed() -> dict[str, Entry]:
    """The cells of installed packages by name, found without importing any of them."""
    found = {}
    for point in importlib.metadata.entry_points(group=GROUP):
        found.setdefault(point.name, []).append(point)
    entries = {}
    for name, points in found.items():
        unique = {(p.dist.name if p.dist else "?", p.value): p for p in points}
        packages = " and ".join(sorted({package for package, _ in unique}))
        version = points[0].dist.version if points[0].dist else "?"
        entries[name] = Entry(name, packages, version, tuple(unique.values()))
    return entries


_own = {}  # name: Entry of what `register` was given


def registered() -> dict[str, Entry]:
    """All cells that have a name: of installed packages, and of this process."""
    return dict(sorted((installed() | _own).items()))


@dataclass(frozen=True)
class _Here:
    """A class that needs no import, in the form of an entry point."""

    cell: type

    @property
    def value(self):
        return f"{self.cell.__module__}:{self.cell.__qualname__}"

    def load(self):
        return self.cell


def register(name: str, cell=None):
    """Give a `Cell` subclass a name in this process, as in a notebook or a test; also as a decorator, ``@register("mine")``.

    The name may be given anew. Returns the class.

    Raises:
        InputError: an installed package has that name, or it is not a `Cell`.
    """
    if cell is None:
        return functools.partial(register, name)
    if name in installed():
        raise InputError(f"the name {name!r} belongs to a cell of the package {installed()[name].package}: choose another")
    point = _Here(cell)
    entry = Entry(name, "this process", "", (point,), f"was registered by tr.cells.register in {point.value}: run that first")
    entry.load()
    _own[name] = entry
    return cell


@dataclass(frozen=True)
class _InFile:
    """A class in a Python file, in the form of an entry point."""

    path: Path
    name: str

    @property
    def value(self):
        return f"{self.path}:{self.name}"

    def load(self):
        module = _module(self.path, self.path.stat().st_mtime_ns)
        if not hasattr(module, self.name):
            cells = [k for k, v in vars(module).items() if isinstance(v, type) and issubclass(v, Cell) and v is not Cell]
            raise InputError(f"{self.path} has no {self.name}: its cells are {', '.join(cells) or 'none'}")
        return getattr(module, self.name)


@functools.cache
def _module(path, changed):
    """The module in a file, loaded anew when the file has changed."""
    spec = importlib.util.spec_from_file_location(f"tinyrnn_file_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _in_file(name):
    """The entry of ``FILE.py:CLASS``, None for a name of another form."""
    path, colon, cell = name.rpartition(":")
    if name.endswith(".py") or (colon and not path.endswith(".py") and "/" in path):
        raise InputError(f"cell {name!r}: write it as FILE.py:CLASS")
    if not path.endswith(".py"):
        return None
    path = Path(path).resolve()
    if not path.is_file():
        raise InputError(f"cell {name!r}: there is no file {path}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    point = _InFile(path, cell)
    return Entry(point.value, f"the file {path.name}", digest, (point,), f"is in the file {path}: put it back there")


def get_entry(name: str) -> Entry:
    """The entry of a cell by its name, or by ``FILE.py:CLASS``; InputError with near matches if there is none."""
    if entry := _in_file(name):
        return entry
    entries = registered()
    if name not in entries:
        near = difflib.get_close_matches(name, entries, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"registered are {', '.join(entries)}"
        raise InputError(f"unknown cell {name!r}: {hint}")
    return entries[name]


def package_of(name: str) -> dict:
    """Where a cell comes from, as a checkpoint stores it."""
    entry = get_entry(name)
    return {"name": entry.package, "version": entry.version, "origin": entry.origin}


def refuse_code(name: str, source):
    """InputError if ``name``, which the run or checkpoint ``source`` gives as its cell's, is that of a cell in a file.

    To look such a cell up is to run its file, and whoever made ``source`` chose the file. A cell that the user names needs no
    such question: neither here nor in what is called for it.
    """
    path, _, cell = name.rpartition(":")
    if path.endswith(".py"):
        raise InputError(
            f"{source} has its cell {cell!r} from the file {path!r}, and to load it is to run that file: "
            "if you trust both, say --allow-code (in Python: allow_code=True)"
        )


def refuse_missing(meta: dict):
    """InputError if the cell of a checkpoint's ``meta`` is not there; it says how to get it."""
    name = meta["model"]["cell"]
    try:
        get_entry(name)
    except InputError:
        raise InputError(f"this model's cell {short_name(name)!r} {meta['package']['origin']}") from None


def full_name(name: str) -> str:
    """``name`` as it is found from any folder: that of a cell in a file with the file's whole path."""
    return get_entry(name).name


def short_name(name: str) -> str:
    """``name`` as it can stand in a table or a file name: of a cell in a file, the class."""
    return name.rpartition(":")[2].lower() if ".py:" in name else name


def get_cell(name: str) -> type:
    """The cell class of a name, or of ``FILE.py:CLASS``."""
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


def read_options(name: str, pairs) -> dict:
    """The options of the cell ``name`` from ``["name=value", ...]``, as a command line gives them."""
    return check_options(get_cell(name), parse_options(pairs))


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
