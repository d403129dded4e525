"""What layers, losses and optimisers are given, checked: an InputError names it and says what it must be."""

from __future__ import annotations

import math
from typing import Any, SupportsFloat

import numpy as np

from ..base.errors import InputError
from ..kernels.generator import Generator


def _number(value: Any) -> float:
    """``value`` as a float; NaN, which is in no range, for what is no number."""
    is_number = (
        isinstance(value, SupportsFloat) and not isinstance(value, bool) and not getattr(value, "ndim", 0)
    )
    return float(value) if is_number else math.nan


def checked_integer(name: str, value: Any, least: int) -> int:
    """An integer of at least ``least``."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise InputError(f"{name} is {value!r}: it must be an integer of at least {least}")
    return int(value)


def checked_sizes(layer: str, **sizes: Any) -> None:
    """The widths of a layer: integers of at least 1."""
    for name, n in sizes.items():
        checked_integer(f"{layer}: {name}", n, 1)


def checked_rate(name: str, p: Any) -> float:
    """A probability of dropping: from 0 to below 1."""
    if not 0 <= _number(p) < 1:
        raise InputError(f"{name} is {p!r}: it must be at least 0 and below 1")
    return float(p)


def checked_number(name: str, value: Any, *, below: float = math.inf, positive: bool = False) -> float:
    """A number of at least 0, or above 0 if it must be ``positive``; below ``below``."""
    if not 0 <= _number(value) < below or (positive and not value):
        least = "above 0" if positive else "of at least 0"
        limit = "" if below == math.inf else f" and below {below:g}"
        raise InputError(f"{name} is {value!r}: it must be a finite number {least}{limit}")
    return float(value)


def checked_generator(generator: Any) -> Generator:
    """A `Generator`; a new one for None."""
    if generator is not None and not isinstance(generator, Generator):
        raise InputError(f"generator is {generator!r}: it must be a tr.Generator")
    return Generator() if generator is None else generator
