"""What a step reaches besides its arguments, and what it does besides its tape: what it assigns, appends,
draws.

A loop would not do it, so such a step runs eagerly. A recording leaves no trace: all that was reached is put
back as it was.
"""

import functools
import io
import random
import types
from collections import deque

import numpy as np

from ..autograd.tape import Tensor
from ..base.devices import is_array, to_device
from ..base.errors import TraceError
from .lines import in_code

SMALL, MANY = 1 << 20, 1000  # elements of an array, and things reached, beyond which nothing is looked at
_CONTAINERS = (list, dict, set, deque)
_PLAIN = (int, float, str, bytes, bool, tuple)
_FLAGS = (bool, str, types.NoneType)
_SIMPLE = (int, float, str, bytes, types.NoneType, types.ModuleType)
_LIBRARIES = ("tinyrnn", "numpy")  # whose functions change nothing of a step's
_SIZES = {"shape", "size", "len", "nbytes"}  # names by which code asks how large something is
RANDOM = "the state of random numbers"  # the name of what belongs to no step
_EMPTY = object()


class Reach:
    """Everything that a step reaches: attributes, names that it closes over, globals, containers, arrays,
    functions.

    Attributes:
        things: pairs (name, thing) of what it may change.
        traits: what tells this step from another one with the same tape: the code and the flags that it sees.
        asks_size: its code asks for the size of something.

    Raises:
        TraceError: its code reads ``.data``, or it reaches an iterator, which cannot be run twice.
    """

    def __init__(self, step):
        self.things, self.asks_size = [(RANDOM, _Random())], False
        traits, seen, todo = [], set(), deque([("", step)])
        while todo and len(seen) < MANY:  # the nearest first
            name, thing = todo.popleft()
            if isinstance(thing, _FLAGS):
                traits.append(thing)
            if isinstance(thing, _SIMPLE) or id(thing) in seen:
                continue
            seen.add(id(thing))
            if hasattr(thing, "__next__") and not isinstance(thing, io.IOBase):
                mend = "give what it yields to the step as part of xs"
                raise TraceError(f"it draws from {name}, an iterator: {mend}")
            traits.append(type(thing))
            if isinstance(thing, types.FunctionType) and not _of_library(thing):
                traits.append(thing.__code__)
                self._read_code(thing.__code__)
            self.things += [(name, t) for t in _changeable(thing)]
            todo.extend([(inner or name, value) for inner, value in _inside(thing)])
        self.traits = tuple(traits)

    def _read_code(self, code):
        """What the code of a function asks for, and that of functions inside of it."""
        if "data" in code.co_names:
            mend = "use the tensor itself, or detach()"
            where = in_code(code, "data")
            raise TraceError(f"{code.co_name} reads .data, which is not on the tape: {mend}{where}")
        self.asks_size |= not _SIZES.isdisjoint(code.co_names)
        for inner in _inner(code):
            self._read_code(inner)

    def look(self) -> list:
        """Triples (name, thing, a copy of its content)."""
        return [(name, thing, _content(thing)) for name, thing in self.things]


class _Names:
    """Attributes of an object that has no ``__dict__`` to be filled, or global names that a function uses."""

    def __init__(self, names, get, put):
        self.names, self.get, self.put = names, get, put

    def content(self):
        return [self.get(n, _EMPTY) for n in self.names]

    def refill(self, content):
        for n, x in zip(self.names, content, strict=True):
            if x is not _EMPTY and self.get(n, _EMPTY) is not x:
                self.put(n, x)


class _Random:
    """The generators that belong to NumPy and to Python."""

    @staticmethod
    def content():
        name, keys, *rest = np.random.get_state()
        return [(name, keys.tobytes(), *rest), random.getstate()]

    @staticmethod
    def refill(content):
        (name, keys, *rest), state = content
        np.random.set_state((name, np.frombuffer(keys, np.uint32), *rest))
        random.setstate(state)


def change(before, after, only=lambda thing: True) -> str | None:
    """The name of what has another content in the second of two looks, None if nothing has; ``only`` what it
    holds for.
    """
    for (name, thing, was), (_, _, now) in zip(before, after, strict=True):
        if only(thing) and not _same(was, now):
            return name
    return None


def is_fixed(thing) -> bool:
    """True for what no step may change, not even once."""
    return is_array(thing) or isinstance(thing, _Random)


def put_back(look):
    """Make everything what it was at that look."""
    for _, thing, was in look:
        if not _same(was, _content(thing)):
            _refill(thing, was)


def _same(was, now):
    if is_array(was):
        return to_device(was, "cpu").tobytes() == to_device(now, "cpu").tobytes()
    pairs = zip(was, now, strict=False)
    return len(was) == len(now) and all(a is b or (type(a) in _PLAIN and a == b) for a, b in pairs)


def _content(thing):
    """What is in a thing, as something that can be compared: an array, or a list of the objects in it."""
    if is_array(thing):
        return thing.copy()
    if isinstance(thing, _Names | _Random):
        return thing.content()
    if isinstance(thing, types.CellType):
        return [contents(thing)]
    return [x for pair in thing.items() for x in pair] if isinstance(thing, dict) else list(thing)


def _refill(thing, content):
    if is_array(thing):
        thing[...] = content
    elif isinstance(thing, _Names | _Random):
        thing.refill(content)
    elif isinstance(thing, types.CellType):
        thing.cell_contents = content[0]
    else:
        thing.clear()
        if isinstance(thing, dict):
            thing.update(zip(content[::2], content[1::2], strict=True))
        else:
            (thing.update if isinstance(thing, set) else thing.extend)(content)


def contents(cell):
    """What a closed-over name stands for."""
    try:
        return cell.cell_contents
    except ValueError:  # it is not assigned yet
        return _EMPTY


def _of_library(thing):
    if isinstance(thing, types.FunctionType):  # which may have taken the name of another (functools.wraps)
        return str(thing.__globals__.get("__name__")).partition(".")[0] in _LIBRARIES
    return (getattr(thing, "__module__", None) or "").partition(".")[0] in _LIBRARIES


def _slots(thing) -> list:
    """The names of an object's attributes that are not in its ``__dict__``."""
    named = [n for c in type(thing).__mro__ for n in (getattr(c, "__slots__", None) or ())]
    return [] if _of_library(type(thing)) else [n for n in named if n not in ("__dict__", "__weakref__")]


def _attributes(thing):
    """The ``__dict__`` of an object, None where it has none that can be changed."""
    held = getattr(thing, "__dict__", None)
    return held if isinstance(held, dict) else None


def _changeable(thing) -> list:
    """The parts of a thing that a step may change."""
    array = thing.data if isinstance(thing, Tensor) else thing
    if is_array(array):
        return [array] if array.size <= SMALL and getattr(array.flags, "writeable", True) else []
    if isinstance(thing, (*_CONTAINERS, types.CellType)):
        return [thing]
    of_library = isinstance(thing, type | types.FunctionType) and _of_library(thing)
    if isinstance(thing, types.MethodType) or of_library:
        return []
    if isinstance(thing, types.FunctionType):
        space = thing.__globals__
        return [vars(thing), _Names(thing.__code__.co_names, space.get, space.__setitem__)]
    slots = _slots(thing)
    if isinstance(thing, type):
        kinds = (*_PLAIN, *_CONTAINERS)
        slots = [n for n, x in vars(thing).items() if type(x) in kinds and not n.startswith("__")]
    held = _attributes(thing)
    get, put = functools.partial(_attribute, thing), functools.partial(setattr, thing)
    return [*([] if held is None else [held]), *([_Names(slots, get, put)] if slots else [])]


def _attribute(thing, name, default):
    return getattr(thing, name, default)


def _inside(thing) -> list:
    """Pairs (name, value) of what a step reaches through ``thing``."""
    if isinstance(thing, types.MethodType):
        return [("self", thing.__self__), ("", thing.__func__)]
    if isinstance(thing, functools.partial):
        return [("", thing.func), ("", thing.args), ("", thing.keywords)]
    if isinstance(thing, types.FunctionType):
        named: list = list(zip(thing.__code__.co_freevars, thing.__closure__ or (), strict=True))
        if _of_library(thing):
            return named
        named += [("", thing.__defaults__ or ()), ("", thing.__kwdefaults__ or {})]
        return named + [(n, thing.__globals__[n]) for n in _names(thing.__code__) if n in thing.__globals__]
    if isinstance(thing, types.CellType):
        return [("", contents(thing))]
    if isinstance(thing, dict):
        return [(str(k), v) for k, v in list(thing.items())[:256]]
    if isinstance(thing, list | tuple | deque):
        return [("", v) for v in list(thing)[:256]]
    if isinstance(thing, Tensor) or is_array(thing) or (isinstance(thing, type) and _of_library(thing)):
        return []
    if isinstance(thing, type):
        own = vars(thing).items()
        return [(n, x) for n, x in own if isinstance(x, types.FunctionType) or not n.startswith("__")]
    held = list((_attributes(thing) or {}).items())[:256]
    call = [] if _of_library(type(thing)) or not callable(thing) else [("", type(thing).__call__)]
    return held + [(n, getattr(thing, n)) for n in _slots(thing) if hasattr(thing, n)] + call


def _inner(code) -> list:
    """The code of functions that are defined inside of a function."""
    return [c for c in code.co_consts if isinstance(c, types.CodeType)]


def _names(code):
    """The global names that a function may use, with those of functions inside of it."""
    return [*code.co_names, *[n for c in _inner(code) for n in _names(c)]]
