"""`Generator`: where the keys of random streams come from. Its whole state is two integers."""

from __future__ import annotations

import math
import operator
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import numpy as np

from .. import kernels
from ..base.errors import InputError, TooLargeError

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 0xFFFFFFFFFFFFFFFF
_MOST = 2**59  # numbers of 8 bytes in one array


def mix(z: int) -> int:
    """The SplitMix64 finaliser on a Python integer."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


class Generator:
    """A source of random streams. ``state`` is ``(seed, counter)``: setting it continues where it was read.

    Args:
        seed: any non-negative integer; None takes one from the operating system.
    """

    def __init__(self, seed: int | None = None) -> None:
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
        try:
            self.seed = operator.index(seed)
        except TypeError as error:
            raise InputError(f"Generator: seed {seed!r} is no integer: use one of 0 or more") from error
        if self.seed < 0:
            raise InputError(f"Generator: seed {seed} is negative: use 0 or more")
        self.counter = 0

    @property
    def state(self) -> tuple[int, int]:
        """``(seed, counter)``."""
        return self.seed, self.counter

    @state.setter
    def state(self, value: tuple[int, int]) -> None:
        self.seed, self.counter = map(int, value)

    def key(self) -> int:
        """The key of the next stream."""
        if _watch.drawn is not None:
            _watch.drawn.setdefault(self, self.state)
        self.counter += 1
        return mix((mix(self.seed & _MASK) + self.counter * _GOLDEN) & _MASK)

    def _draw(self, shape: tuple[int, ...], each: int = 1) -> Any:
        """The next stream's ``each`` numbers in ``[0, 1)`` for each element of ``shape``."""
        n, key = each * math.prod(shape), self.key()
        if n < _MOST:
            with suppress(MemoryError):
                return kernels.random.uniform(key, n)
        raise TooLargeError(f"{n:,} random numbers, for {list(shape)}, do not fit into memory: lower a size")

    def uniform(self, low: float, high: float, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        """Array of ``shape``, float64, evenly in ``[low, high)``."""
        return low + (high - low) * self._draw(shape).reshape(shape)

    def integers(self, low: int, high: int, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        """Array of ``shape``, integers evenly in ``[low, high)``: int64, or Python integers where those may
        not fit.
        """
        span = high - low
        wide = span > 2**32  # then 53 random bits would favour some integers
        u = self._draw(shape, 2 if wide else 1)
        if wide:
            bits = [int(a) << 53 | int(b) for a, b in (u.reshape(-1, 2) * 2.0**53).tolist()]
            drawn = [low + (b * span >> 106) for b in bits]
            return np.array(drawn, object).reshape(shape)
        offsets = np.floor(span * u).astype(np.int64)
        held = low >= -(2**63) and high <= 2**63
        return ((low + offsets) if held else (low + offsets.astype(object))).reshape(shape)

    def normal(self, mean: float, std: float, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        """Array of ``shape``, float64, normally distributed (Box & Muller 1958)."""
        n, u = math.prod(shape), self._draw(shape, 2)
        radius = np.sqrt(-2 * np.log1p(-u[:n]))
        return (mean + std * radius * np.cos(2 * np.pi * u[n:])).reshape(shape)


class Wanted(BaseException):
    """A step draws random numbers that its loop has not drawn yet: ``draw`` says which."""

    def __init__(self, draw: Draw) -> None:
        super().__init__()
        self.draw = draw


class Draw(NamedTuple):
    """Random numbers of a step: how they are distributed, the shape of one sequence's, and their source."""

    kind: str  # "rand" or "randn"
    shape: tuple[int, ...]
    generator: Generator

    def over_time(self, steps: int, batch: int) -> np.ndarray[Any, Any]:
        """For every step and sequence, float64 ``[steps, batch, *shape]``."""
        shape = (steps, batch, *self.shape)
        if self.kind == "rand":
            return self.generator.uniform(0.0, 1.0, shape)
        return self.generator.normal(0.0, 1.0, shape)


class _InStep(threading.local):
    left: list[Any] | None = None  # what the step that runs is given of random numbers, in its order
    generator: Generator | None = None  # of a step that names none


_in_step = _InStep()


@contextmanager
def in_step(given: Sequence[Any]) -> Iterator[None]:
    """In this block, a step of a loop, random numbers are those ``given``, in the order in which they are
    asked for; `Wanted` is raised where they do not suffice.
    """
    before = _in_step.left
    _in_step.left = list(given)
    try:
        yield
    finally:
        _in_step.left = before


def is_in_step() -> bool:
    """True while a step of a loop runs."""
    return _in_step.left is not None


@contextmanager
def using(generator: Generator) -> Iterator[None]:
    """In this block a step that names no generator draws from this one."""
    before = _in_step.generator
    _in_step.generator = generator
    try:
        yield
    finally:
        _in_step.generator = before


def source(name: str, generator: Generator | None) -> Generator:
    """The generator of a call of the function ``name``.

    Raises:
        InputError: none is given, and none is in use.
    """
    found = generator or _in_step.generator
    if not isinstance(found, Generator):
        mend = "give generator=tr.Generator(seed); in a cell's step that of tr.RNN is used"
        raise InputError(f"{name} has no random numbers: {mend}")
    return found


def step_draw(kind: str, shape: tuple[int, ...], generator: Generator) -> Any:
    """What the step that runs is given for a tensor of ``shape``, the batch first; None outside of steps."""
    if _in_step.left is None:
        return None
    if not _in_step.left:
        raise Wanted(Draw(kind, shape[1:], generator))
    return _in_step.left.pop(0)


class _Watch(threading.local):
    drawn: dict[Generator, tuple[int, int]] | None = None


_watch = _Watch()


@contextmanager
def draws() -> Iterator[dict[Generator, tuple[int, int]]]:
    """Gives a dict that collects the generators drawn from in this block, each with its state before."""
    outer = _watch.drawn
    inner: dict[Generator, tuple[int, int]] = {}
    _watch.drawn = inner
    try:
        yield inner
    finally:
        _watch.drawn = outer
        if outer is not None:
            for generator, state in inner.items():
                outer.setdefault(generator, state)


@contextmanager
def drawn_again(states: Mapping[Generator, tuple[int, int]]) -> Iterator[None]:
    """In this block the generators of ``states`` (from `draws`) are where they were then; afterwards, where
    they are now.
    """
    now = {generator: generator.state for generator in states}
    try:
        for generator, state in states.items():
            generator.state = state
        yield
    finally:
        for generator, state in now.items():
            generator.state = state
