"""Initial values of weights. Each function fills an array ``[n_in, n_out]`` from a `Generator`.

Glorot & Bengio 2010 (eq. 16) for weights of the input, orthogonal matrices (Saxe et al. 2014) for recurrent
weights: their singular values are 1, so a linear recurrence neither shrinks nor blows up the state. Weights
that hold several gates side by side are filled gate by gate, since each gate is a product of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from ..base import threads
from ..base.errors import InputError
from ..kernels.generator import Generator

_Array = np.ndarray[Any, Any]
Initialiser = Callable[[Generator, int, int], _Array]


def glorot_uniform(generator: Generator, n_in: int, n_out: int) -> _Array:
    """Uniform in ``+-sqrt(6 / (n_in + n_out))``."""
    limit = math.sqrt(6 / (n_in + n_out))
    return generator.uniform(-limit, limit, (n_in, n_out))


def orthogonal(generator: Generator, n_in: int, n_out: int) -> _Array:
    """A matrix with orthonormal rows or columns, whichever are fewer: Q of the QR decomposition of a normal
    matrix.
    """
    tall = generator.normal(0.0, 1.0, (max(n_in, n_out), min(n_in, n_out)))
    with threads.alone():  # its threads wait for each other longer than this takes
        q, r = np.linalg.qr(tall)
    q = q * np.sign(np.diag(r))  # makes the distribution uniform (Mezzadri 2007)
    return q if n_in >= n_out else q.T


def normal(generator: Generator, n_in: int, n_out: int, std: float = 0.02) -> _Array:
    """Normal with standard deviation ``std``."""
    return generator.normal(0.0, std, (n_in, n_out))


def zeros(generator: Generator, n_in: int, n_out: int) -> _Array:
    """All 0."""
    return np.zeros((n_in, n_out))


def identity(generator: Generator, n_in: int, n_out: int) -> _Array:
    """The identity (Le, Jaitly & Hinton 2015)."""
    return np.eye(n_in, n_out)


def chrono(longest: float) -> Initialiser:
    """For the bias of a gate that keeps its state where it is open: ``log(uniform(1, longest - 1))``, so that
    the units forget within 2 to ``longest`` steps (Tallec & Ollivier 2018, section 3, eq. 16 for an LSTM: the
    input gate's bias is minus that of the forget gate).

    Raises:
        InputError: ``longest`` is less than 2.
    """
    if not longest >= 2:
        raise InputError(f"chrono: the longest time is {longest:g} steps: it must be at least 2")
    return lambda generator, n_in, n_out: np.log(generator.uniform(1.0, longest - 1.0, (n_in, n_out)))


_bound: ContextVar[list[Any]] = ContextVar("_bound")  # of the block of `at_most`: values left, and for whom


@contextmanager
def at_most(count: int, source: object) -> Iterator[None]:
    """In this block so many initial values can be made: who reads sizes from ``source``, a file, cannot be
    made to fill the memory, or to go on without an end, by sizes that its weights do not have.

    Raises:
        InputError: there were more.
    """
    before = _bound.set([count, source])
    try:
        yield
    finally:
        _bound.reset(before)


INITS: dict[str, Initialiser] = {f.__name__: f for f in (glorot_uniform, orthogonal, normal, zeros, identity)}


def fill(init: str | Initialiser, generator: Generator, n_in: int, n_out: int, gates: int = 1) -> _Array:
    """``[n_in, gates * n_out]`` from an initialiser (a function, or its name), applied to each gate's
    block.
    """
    if isinstance(init, str):
        if init not in INITS:
            usable = f"use one of {', '.join(INITS)}, or a function (generator, n_in, n_out)"
            raise InputError(f"unknown initialiser {init!r}: {usable}")
        init = INITS[init]
    if bound := _bound.get(None):
        bound[0] -= n_in * n_out * gates
        if bound[0] < 0:
            raise InputError(
                f"{bound[1]} names sizes larger than those of its weights: restore it from a copy"
            )
    return np.concatenate([init(generator, n_in, n_out) for _ in range(gates)], axis=1)
