"""What a step does besides its tape: what it assigns, appends, draws. A loop would not do it, so such a step runs eagerly.

A recording leaves no trace: all that can be reached from a step is put back as it was.
"""

import functools
import types
from collections import deque

import numpy as np

from ..autograd.tape import Tensor
from ..errors import TraceError

SMALL = 1 << 16  # elements: larger arrays are not looked at
_CONTAINERS = (list, dict, set, deque)
_EMPTY = object()


class Surroundings:
    """Everything that a step reaches and may change: attributes, closed-over names, containers and small arrays.

    Raises:
        TraceError: among it is an iterator, which cannot be run twice.
    """

    def __init__(self, step, arrays=True):
        self.things = {}  # id -> (name, thing)
        todo = [("", step, 0)]
        while todo:
            name, thing, depth = todo.pop()
            if hasattr(thing, "__next__"):
                raise TraceError(f"it draws from {name}, an iterator: give what it yields to the step as part of xs")
            if depth > 4 or id(thing) in self.things or isinstance(thing, type | types.ModuleType):
                continue
            for inner, value in _inside(thing):
                todo.append((inner or name, value, depth + 1))
            array = thing.data if isinstance(thing, Tensor) else thing
            if isinstance(array, np.ndarray):
                if arrays and array.size <= SMALL and array.flags.writeable:
                    self.things[id(array)] = name, array
            elif isinstance(thing, (*_CONTAINERS, types.CellType)):
                self.things[id(thing)] = name, thing
            elif hasattr(thing, "__dict__") and not isinstance(thing, types.FunctionType | types.MethodType):
                self.things[id(vars(thing))] = f"an attribute of {type(thing).__name__}", vars(thing)

    def look(self) -> list:
        """Triples (name, thing, a copy of its content)."""
        return [(name, thing, _content(thing)) for name, thing in self.things.values()]


def change(before, after) -> str | None:
    """The name of what has another content in the second of two looks, None if nothing has."""
    for (name, _, was), (_, _, now) in zip(before, after, strict=True):
        if isinstance(was, np.ndarray):
            same = was.tobytes() == now.tobytes()
        else:
            same = len(was) == len(now) and all(a is b for a, b in zip(was, now, strict=True))
        if not same:
            return name
    return None


def put_back(look):
    """Make everything what it was at that look."""
    for _, thing, was in look:
        now = _content(thing)
        if isinstance(thing, np.ndarray):
            if was.tobytes() != now.tobytes():
                thing[...] = was
        elif len(was) != len(now) or any(a is not b for a, b in zip(was, now, strict=True)):
            _refill(thing, was)


def _content(thing):
    """What is in a thing, as something that can be compared: an array, or a list of the objects in it."""
    if isinstance(thing, np.ndarray):
        return thing.copy()
    if isinstance(thing, types.CellType):
        return [contents(thing)]
    return [x for pair in thing.items() for x in pair] if isinstance(thing, dict) else list(thing)


def _refill(thing, content):
    if isinstance(thing, types.CellType):
        thing.cell_contents = content[0]
        return
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
        used = [(n, thing.__globals__[n]) for n in thing.__code__.co_names if n in thing.__globals__]
        return [*named, *[(n, v) for n, v in used if isinstance(v, _CONTAINERS) or hasattr(v, "__next__")]]
    if isinstance(thing, types.CellType):
        return [("", contents(thing))]
    if isinstance(thing, dict):
        return [(str(k), v) for k, v in list(thing.items())[:64]]
    if isinstance(thing, list | tuple | deque):
        return [("", v) for v in list(thing)[:64]]
    return list(vars(thing).items())[:64] if hasattr(thing, "__dict__") and not isinstance(thing, Tensor) else []
