"""What a step does besides its tape: what it assigns, appends, draws. A loop would not do it, so such a step runs eagerly.

A recording leaves no trace: all that can be reached from a step is put back as it was.
"""

import functools
import random
import types
from collections import deque

import numpy as np

from ..autograd.tape import Tensor
from ..errors import TraceError

SMALL, MANY = 1 << 16, 400  # elements of an array, and things, beyond which nothing is looked at
_CONTAINERS = (list, dict, set, deque)
_PLAIN = (int, float, str, bytes, bool)
_LIBRARIES = ("tinyrnn", "numpy")  # whose functions change nothing of a step's
_EMPTY = object()


class Surroundings:
    """Everything that a step reaches and may change: attributes, names that it closes over, globals, containers, small arrays.

    Args:
        arrays: also arrays, and the random numbers of NumPy and Python, which takes longer.

    Raises:
        TraceError: among it is an iterator, which cannot be run twice.
    """

    def __init__(self, step, arrays=True):
        self.things = [("random numbers", _Random())] if arrays else []
        seen, todo = set(), deque([("", step)])
        while todo and len(seen) < MANY:  # the nearest first
            name, thing = todo.popleft()
            if hasattr(thing, "__next__"):
                raise TraceError(f"it draws from {name}, an iterator: give what it yields to the step as part of xs")
            if id(thing) in seen or isinstance(thing, type | types.ModuleType):
                continue
            seen.add(id(thing))
            todo.extend([(inner or name, value) for inner, value in _inside(thing)])
            array = thing.data if isinstance(thing, Tensor) else thing
            if isinstance(array, np.ndarray):
                if arrays and array.size <= SMALL and array.flags.writeable:
                    self.things.append((name, array))
            elif isinstance(thing, types.FunctionType):
                self.things.append((name, _Globals(thing)))
            elif isinstance(thing, (*_CONTAINERS, types.CellType)):
                self.things.append((name, thing))
            elif hasattr(thing, "__dict__") and not isinstance(thing, types.MethodType):
                self.things.append((f"an attribute of {type(thing).__name__}", vars(thing)))

    def look(self) -> list:
        """Triples (name, thing, a copy of its content)."""
        return [(name, thing, _content(thing)) for name, thing in self.things]


class _Globals:
    """The global names that a function uses."""

    def __init__(self, function):
        self.space, self.names = function.__globals__, function.__code__.co_names

    def content(self):
        return [self.space.get(n, _EMPTY) for n in self.names]

    def refill(self, content):
        self.space.update({n: x for n, x in zip(self.names, content, strict=True) if x is not _EMPTY})


class _Random:
    """The generators that belong to NumPy and to Python."""

    @staticmethod
    def content():
        return [*[x.tobytes() if isinstance(x, np.ndarray) else x for x in np.random.get_state()], random.getstate()]

    @staticmethod
    def refill(content):
        name, keys, *rest = content[:-1]
        np.random.set_state((name, np.frombuffer(keys, np.uint32), *rest))
        random.setstate(content[-1])


def change(before, after, kind=object) -> str | None:
    """The name of what has another content in the second of two looks, None if nothing ``kind`` has."""
    for (name, thing, was), (_, _, now) in zip(before, after, strict=True):
        if isinstance(thing, kind) and not _same(was, now):
            return name
    return None


def _same(was, now):
    if isinstance(was, np.ndarray):
        return was.tobytes() == now.tobytes()
    return len(was) == len(now) and all(a is b or (type(a) in _PLAIN and a == b) for a, b in zip(was, now, strict=True))


def put_back(look):
    """Make everything what it was at that look."""
    for _, thing, was in look:
        if not _same(was, _content(thing)):
            _refill(thing, was)


def _content(thing):
    """What is in a thing, as something that can be compared: an array, or a list of the objects in it."""
    if isinstance(thing, np.ndarray):
        return thing.copy()
    if isinstance(thing, _Globals | _Random):
        return thing.content()
    if isinstance(thing, types.CellType):
        return [contents(thing)]
    return [x for pair in thing.items() for x in pair] if isinstance(thing, dict) else list(thing)


def _refill(thing, content):
    if isinstance(thing, np.ndarray):
        thing[...] = content
    elif isinstance(thing, _Globals | _Random):
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


def _inside(thing):
    """Pairs (name, value) of what a step reaches through ``thing``."""
    if isinstance(thing, types.MethodType):
        return [("self", thing.__self__), ("", thing.__func__)]
    if isinstance(thing, functools.partial):
        return [("", thing.func), ("", thing.args), ("", thing.keywords)]
    if isinstance(thing, types.FunctionType):
        named = list(zip(thing.__code__.co_freevars, thing.__closure__ or (), strict=True))
        space = {} if thing.__module__.partition(".")[0] in _LIBRARIES else thing.__globals__
        return named + [(n, space[n]) for n in thing.__code__.co_names if n in space]
    if isinstance(thing, types.CellType):
        return [("", contents(thing))]
    if isinstance(thing, dict):
        return [(str(k), v) for k, v in list(thing.items())[:64]]
    if isinstance(thing, list | tuple | deque):
        return [("", v) for v in list(thing)[:64]]
    return list(vars(thing).items())[:64] if hasattr(thing, "__dict__") and not isinstance(thing, Tensor) else []
