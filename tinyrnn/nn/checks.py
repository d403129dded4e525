"""What layers, losses and optimisers are given, checked by the `Rule` of options: an InputError names it and
says what it must be.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from numbers import Integral
from typing import Any

from ..base.errors import InputError
from ..base.options import PART, Rule
from ..kernels.generator import Generator

_rule = functools.cache(Rule)  # losses are called at every step
_RATE = Rule(float, **PART)


def checked_integer(name: str, value: Any, least: int) -> int:
    """An integer of at least ``least``; no float that equals one, since arrays are made with it."""
    rule = _rule(int, low=least)
    if not isinstance(value, Integral):
        raise rule.refusal(value, name)
    return int(rule.checked(value, name))


def checked_sizes(layer: str, **sizes: Any) -> None:
    """The widths of a layer: integers of at least 1."""
    for name, n in sizes.items():
        checked_integer(f"{layer}: {name}", n, 1)


def checked_rate(name: str, p: Any) -> float:
    """A probability of dropping: from 0 to below 1."""
    return float(_RATE.checked(p, name))


def checked_number(name: str, value: Any, *, below: float = math.inf, positive: bool = False) -> float:
    """A number of at least 0, or above 0 if it must be ``positive``; below ``below``."""
    return float(_rule(float, low=0, open_low=positive, high=below, open_high=True).checked(value, name))


def checked_choice(name: str, value: Any, choices: Iterable[str]) -> str:
    """One of several words."""
    return str(_rule(str, choices=tuple(choices)).checked(value, name))


def checked_flag(name: str, value: Any) -> bool:
    """True or False; no word for it, and no number."""
    return bool(_rule(bool).checked(value, name))


def checked_generator(generator: Any) -> Generator:
    """A `Generator`; a new one for None."""
    if generator is not None and not isinstance(generator, Generator):
        raise InputError(f"generator is {generator!r}: it must be a tr.Generator")
    return Generator() if generator is None else generator
