"""Finding cells: built-ins and plugins alike come through the entry-point group ``tinyrnn.cells``."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import hashlib
import importlib.util
import inspect
import math
import os
import sys
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, overload

from ..base.errors import InputError, near, shown
from ..base.options import path_of
from ..base.plugins import Entry, Group
from .cell import Cell

_TYPES = bool, int, float, str  # of options, as a command line can give them


def problem_of(cell: type[Cell]) -> str:
    """What is wrong with the form of a `Cell` subclass, as what may follow its name; empty: nothing. Whatever
    takes a cell asks this.
    """
    if cell is Cell:
        return "is Cell itself: give a subclass of it, with build and step"
    if missing := [name for name in ("build", "step") if getattr(cell, name) is getattr(Cell, name)]:
        return f"has no {missing[0]}: define it as in the example of tr.Cell"
    if cell.__init__ is not Cell.__init__:
        mend = (
            "override build(self, input_size, hidden_size, *, ...), which is called once the sizes are known"
        )
        return f"has an __init__ of its own: {mend}"
    states: Any = cell.states
    named = isinstance(states, tuple) and all(isinstance(s, str) and s.isidentifier() for s in states)
    if not named or not states or len(set(states)) < len(states):
        return f'has states = {shown(states)}: it must be a tuple of different names, as in states = ("h",)'
    try:
        parameters = list(inspect.signature(cell.build, eval_str=True).parameters.values())
    except Exception as error:  # an annotation may be any expression
        return f"has a build whose annotations cannot be read: {type(error).__name__}: {error}"
    form = (
        "options of build are keyword-only, with defaults: build(self, input_size, hidden_size, *, gain=1.0)"
    )
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) != 3 and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return f"has build({', '.join(positional)}): {form}"
    for p in options_of(cell).values():
        if p.default is p.empty:
            return f"has the option {p.name} without a default: {form}"
        if not _is_known(p.annotation):
            mend = (
                "use bool, int, float, str or Literal, which a command line can give, or one of them | None"
            )
            return f"has the option {p.name} of the type {describe_type(p.annotation)}: {mend}"
    return ""


def _is_known(annotation: Any) -> bool:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return all(a is types.NoneType or _is_known(a) for a in typing.get_args(annotation))
    if typing.get_origin(annotation) is typing.Literal:
        return True
    return annotation in (inspect.Parameter.empty, Any, *_TYPES)


class _Cells(Group):
    """Cells of packages and of this process."""

    def problem(self, found: type) -> str:
        return problem_of(found)


CELLS = _Cells("tinyrnn.cells", "cell", Cell)
registered = CELLS.registered


_C = TypeVar("_C", bound=type[Cell])


@overload
def register(name: str, cell: _C) -> _C: ...
@overload
def register(name: str, cell: None = None) -> Callable[[_C], _C]: ...
def register(name: str, cell: Any = None) -> Any:
    """Give a `Cell` subclass a name in this process, as in a notebook or a test.

    Also as a decorator, ``@register("mine")``. The name may be given anew. Returns the class.

    Raises:
        InputError: an installed package has that name, or it is not a `Cell`.
    """
    if cell is None:
        return functools.partial(register, name)
    return CELLS.register(name, cell, "tr.cells.register")


@dataclass(frozen=True)
class _InFile:
    """A class in a Python file, in the form of an entry point."""

    path: Path
    name: str
    source: bytes

    @property
    def value(self) -> str:
        return f"{self.path}:{self.name}"

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.source).hexdigest()

    def load(self) -> type[Cell]:
        module = _module(self.path, self.source)
        if not hasattr(module, self.name):
            classes = {k: v for k, v in vars(module).items() if isinstance(v, type) and v is not Cell}
            cells = [k for k, v in classes.items() if issubclass(v, Cell)]
            raise InputError(f"{self.path} has no {self.name}: its cells are {', '.join(cells) or 'none'}")
        made: type[Cell] = getattr(module, self.name)
        return made


@functools.cache
def _module(path: Path, source: bytes) -> types.ModuleType:
    """The module in a file, loaded anew when the file has changed. What is run is its source, whose digest
    was taken: not what compiled Python lies beside it.
    """
    spec: Any = importlib.util.spec_from_file_location(f"tinyrnn_file_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    exec(compile(source, path, "exec", dont_inherit=True), vars(module))
    return module


def _in_file(name: str) -> Entry | None:
    """The entry of ``FILE.py:CLASS``, None for a name of another form."""
    file, colon, cell = name.rpartition(":")
    if name.endswith(".py") or (colon and not file.endswith(".py") and "/" in file):
        raise InputError(f"cell {name!r}: write it as FILE.py:CLASS")
    if not file.endswith(".py"):
        return None
    path = Path(file).resolve()
    if not path.is_file():
        raise InputError(f"cell {name!r}: there is no file {path}")
    point = _InFile(path, cell, path.read_bytes())
    if not point.digest.startswith((_consented.get() or {}).get(path, "")):
        raise InputError(f"cell {name!r}: its file is being changed at this moment: put back what it was")
    hint = f"is in the file {path}: put it back there"
    return Entry(CELLS, point.value, f"the file {path.name}", point.digest[:12], (point,), hint)


def get_entry(name: str) -> Entry:
    """The entry of a cell by its name, or by ``FILE.py:CLASS``; InputError with near matches if there is
    none.
    """
    if entry := _in_file(name):
        return entry
    return CELLS.entry(name)


def package_of(name: str) -> dict[str, str]:
    """Where a cell comes from, as a checkpoint stores it; of a cell in a file with the file's SHA-256."""
    entry = get_entry(name)
    found = {"name": entry.package, "version": entry.version, "origin": entry.origin}
    return found | ({"sha256": entry.points[0].digest} if has_code(name) else {})


def has_code(name: str) -> bool:
    """Whether ``name`` is that of a cell in a file, ``FILE.py:CLASS``."""
    return name.rpartition(":")[0].endswith(".py")


AllowCode = bool | str | os.PathLike[str]
CONSENT = "--allow-code (in Python: allow_code=True)"
ELSEWHERE = "--code FILE.py (in Python: allow_code='FILE.py')"


def allowed(name: str, allow_code: AllowCode, source: object) -> str:
    """The cell's name ``name`` that the run or checkpoint ``source`` gives, once its code may run.

    To look up a cell in a file is to run that file, and whoever made ``source`` chose it. A cell that the
    user names needs no such question: neither here nor in what is called for it.

    Args:
        allow_code: True is consent to the file that ``source`` names; a path is consent to that file, where
            the cell's is now.

    Raises:
        InputError: the cell is in a file, and nothing was said of that; or it is in none, and a file was
            named.
    """
    path, _, cell = name.rpartition(":")
    if not isinstance(allow_code, bool):
        if not has_code(name):
            raise InputError(f"{source} has the cell {shown(name)}, which is in no file: leave --code out")
        return f"{os.path.realpath(path_of(allow_code, 'allow_code'))}:{cell}"
    if has_code(name) and not allow_code:
        said = f"{source} has its cell {cell!r} from the file {path!r}"
        if not Path(path).is_file():
            raise InputError(f"{said}, which is not here: if you have it and trust both, say {ELSEWHERE}")
        raise InputError(f"{said}, and to load it is to run that file: if you trust both, say {CONSENT}")
    return name


# Files whose code was consented to, with the digests that they had in training: what is read later of them is
# held to that as well.
_consented: contextvars.ContextVar[dict[Path, str] | None] = contextvars.ContextVar("consented", default=None)


@contextlib.contextmanager
def as_in_training(meta: Mapping[str, Any]) -> Iterator[None]:
    """A block in which the cell of a checkpoint's ``meta`` is looked up; raises as `refuse_changed`, and
    if another process changes the file meanwhile.
    """
    refuse_changed(meta)
    name = meta["model"]["cell"]
    files = {Path(name.rpartition(":")[0]): _digest_of(meta["package"])} if has_code(name) else {}
    token = _consented.set({**(_consented.get() or {}), **files})
    try:
        yield
    finally:
        _consented.reset(token)


def refuse_changed(meta: Mapping[str, Any]) -> None:
    """InputError if the cell of a checkpoint's ``meta`` is one in a file, and the file is not named by its
    whole path, or is not what it was in training: consent was given to that. Runs nothing.
    """
    name, digest = meta["model"]["cell"], _digest_of(meta["package"])
    path = name.rpartition(":")[0]
    if not has_code(name):
        return
    if not Path(path).is_absolute():
        mend = "a file that is found from any folder alone is run, so train it again with this version"
        raise InputError(f"its cell is in the file {path!r}, named without its folder: {mend}")
    if os.path.realpath(path) != path:
        raise InputError(
            f"its cell is in the file {path!r}, which is named through a link: put the file there"
        )
    if Path(path).is_file() and (len(digest) < 12 or not package_of(name)["sha256"].startswith(digest)):
        mend = "put back what it was then, or train again"
        raise InputError(f"its cell is in the file {path!r}, which is another than in training: {mend}")


def _digest_of(package: Mapping[str, str]) -> str:
    """The SHA-256 that the file of a cell had in training; of older checkpoints its beginning."""
    return package.get("sha256", package["version"])


def refuse_missing(meta: Mapping[str, Any]) -> None:
    """InputError if the cell of a checkpoint's ``meta`` is not there. What the checkpoint says of where to
    get it is quoted: these are words of whoever made it.
    """
    name = meta["model"]["cell"]
    try:
        get_entry(name)
    except InputError:
        package = meta["package"]
        known = f"comes from the package {package['name']} {package['version']}"  # all that old ones say
        said, mend = "is not here", f"the checkpoint says that it {package.get('origin', known)!r}"
        if has_code(name):
            said = f"is in the file {name.rpartition(':')[0]!r}, which is not here"
            mend = f"put it there, or say {ELSEWHERE}"
        raise InputError(f"this model's cell {shown(name.rpartition(':')[2])} {said}: {mend}") from None


def full_name(name: str) -> str:
    """``name`` as it is found from any folder: that of a cell in a file with the file's whole path."""
    return get_entry(name).name


def short_name(name: str) -> str:
    """``name`` as it can stand in a table or a file name: of a cell in a file, the class."""
    return name.rpartition(":")[2].lower() if ".py:" in name else name


def get_cell(name: str | type[Cell]) -> type[Cell]:
    """The cell class of a name, or of ``FILE.py:CLASS``; a class is the cell itself."""
    if isinstance(name, type) and issubclass(name, Cell):
        if problem := problem_of(name):
            raise InputError(f"cell {name.__name__} {problem}")
        return name
    if not isinstance(name, str):
        raise InputError(f"cell is {shown(name)}: give the name of a registered cell, or a subclass of Cell")
    return get_entry(name).load()


def options_of(cell: type[Cell]) -> dict[str, inspect.Parameter]:
    """A cell's options: the keyword-only arguments of its ``build``."""
    parameters = inspect.signature(cell.build, eval_str=True).parameters.values()
    return {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}


def parse_options(pairs: Iterable[str]) -> dict[str, str]:
    """``["name=value", ...]`` as a dict; InputError for what is not of that form."""
    parts = [pair.partition("=") for pair in pairs]
    if bad := [name for name, equals, _ in parts if not equals]:
        raise InputError(f"--cell-opt {bad[0][:80]}: write it as NAME=VALUE")
    return {name: value for name, _, value in parts}


def read_options(name: str, pairs: Iterable[str]) -> dict[str, Any]:
    """The options of the cell ``name`` from ``["name=value", ...]``, as a command line gives them."""
    return check_options(get_cell(name), parse_options(pairs))


def check_options(cell: type[Cell], given: Mapping[str, Any]) -> dict[str, Any]:
    """``given`` with every value converted to its option's annotation; strings, as from a command line, are
    parsed.

    Raises:
        InputError: an unknown option (near matches are listed), or a value that does not fit its type.
    """
    if not isinstance(given, Mapping):
        raise InputError(f"the options of a cell are {shown(given)}: give a dict of names and values")
    known = options_of(cell)
    checked: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            hint = near(name, known, "it has") if known else "it has none"
            raise InputError(f"cell {cell.__name__} has no option {name!r}: {hint}")
        checked[name] = _convert(name, value, _type_of(known[name]))
    return checked


def describe_type(annotation: Any) -> str:
    """An option's type as help text: ``float``, ``true|false``, ``tanh|relu``."""
    if annotation is bool:
        return "true|false"
    if typing.get_origin(annotation) is typing.Literal:
        return "|".join(map(str, typing.get_args(annotation)))
    return getattr(annotation, "__name__", str(annotation))


def _type_of(option: inspect.Parameter) -> Any:
    """An option's annotation; of one that has none the type of its default, a number for a number."""
    kind = type(option.default)
    if option.annotation is not inspect.Parameter.empty or kind not in _TYPES:
        return option.annotation
    return int | float if kind is int else kind


def _convert(name: str, value: Any, annotation: Any) -> Any:
    if annotation in (inspect.Parameter.empty, Any):
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
        several = [a for a in typing.get_args(annotation) if a is not types.NoneType]
        for each in several[:-1]:
            with contextlib.suppress(InputError):
                return _convert(name, value, each)
        annotation = several[-1]
    if annotation is bool:
        if str(value).lower() in ("true", "false", "1", "0"):
            return str(value).lower() in ("true", "1")
        raise complaint
    try:
        converted = annotation(value)
    except (TypeError, ValueError, OverflowError):
        raise complaint from None
    if annotation is int and isinstance(value, float) and value != converted:
        raise complaint
    if isinstance(converted, float) and not math.isfinite(converted):
        raise InputError(f"cell option {name}={value}: it must be a finite number")
    return converted
