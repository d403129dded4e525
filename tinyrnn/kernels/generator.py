"""`Generator`: where the keys of random streams come from. Its whole state is two integers."""

import math
import threading
from contextlib import contextmanager

import numpy as np

from .. import kernels
from ..base.errors import InputError

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 0xFFFFFFFFFFFFFFFF


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

    def __init__(self, seed=None):
        if seed is not None and int(seed) < 0:
            raise InputError(f"seed {seed} is negative: use 0 or more")
        self.seed = np.random.SeedSequence().entropy & _MASK if seed is None else int(seed)
        self.counter = 0

    @property
    def state(self):
        return self.seed, self.counter

    @state.setter
    def state(self, value):
        self.seed, self.counter = map(int, value)

    def key(self) -> int:
        """The key of the next stream."""
        if _watch.drawn is not None:
            _watch.drawn.setdefault(self, self.state)
        self.counter += 1
        return mix((mix(self.seed & _MASK) + self.counter * _GOLDEN) & _MASK)

    def uniform(self, low, high, shape):
        """Array of ``shape``, float64, evenly in ``[low, high)``."""
        return low + (high - low) * kernels.random.uniform(self.key(), math.prod(shape)).reshape(shape)

    def integers(self, low: int, high: int, shape):
        """Array of ``shape``, integers evenly in ``[low, high)``: int64, or Python integers where those may
        not fit.
        """
        span, n = high - low, math.prod(shape)
        wide = span > 2**32  # then 53 random bits would favour some integers
        u = kernels.random.uniform(self.key(), 2 * n if wide else n)
        if wide:
            bits = [int(a) << 53 | int(b) for a, b in (u.reshape(n, 2) * 2.0**53).tolist()]
            drawn = [low + (b * span >> 106) for b in bits]
            return np.array(drawn, object).reshape(shape)
        offsets = np.floor(span * u).astype(np.int64)
        held = low >= -(2**63) and high <= 2**63
        return ((low + offsets) if held else (low + offsets.astype(object))).reshape(shape)

    def normal(self, mean, std, shape):
        """Array of ``shape``, float64, normally distributed (Box & Muller 1958)."""
        n = math.prod(shape)
        u = kernels.random.uniform(self.key(), 2 * n)
        radius = np.sqrt(-2 * np.log1p(-u[:n]))
        return (mean + std * radius * np.cos(2 * np.pi * u[n:])).reshape(shape)


class _Watch(threading.local):
    drawn = None


_watch = _Watch()


@contextmanager
def draws():
    """Gives a dict that collects the generators drawn from in this block, each with its state before."""
    outer, _watch.drawn = _watch.drawn, {}
    try:
        yield _watch.drawn
    finally:
        inner, _watch.drawn = _watch.drawn, outer
        for generator, state in inner.items() if outer is not None else ():
            outer.setdefault(generator, state)


@contextmanager
def drawn_again(states):
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
