"""Counter-based random numbers: element ``i`` of the stream with key ``k`` is a hash of ``(k, i)``.

The hash is SplitMix64 (Steele, Lea & Flood 2014, fig. 13), whose state is the counter itself. A stream can
therefore be made again from its key, in any order and by any number of threads. Keys come from a `Generator`
(``kernels/generator.py``).
"""

import functools

import numpy as np

from ..base import threads
from ..base.devices import array_module, is_cupy
from .jit import jit


@jit
def _bits(key, i):
    z = key + (np.uint64(i) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@jit
def _uniform(key, first, out):
    for i in range(out.size):
        out[i] = np.float64(_bits(key, first + i) >> np.uint64(11)) * 1.1102230246251565e-16


@jit
def _dropout(x, key, threshold, scale, out, first, last):
    zero = x.dtype.type(0)
    for i in range(first, last):
        out[i] = x[i] * scale if (_bits(key, i) >> np.uint64(32)) >= threshold else zero


@functools.cache
def _cuda_dropout(cupy):
    """The same for CuPy: `_bits`, in C."""
    return cupy.ElementwiseKernel(
        "T x, uint64 key, uint64 threshold, T scale",
        "T out",
        """
        unsigned long long z = key + ((unsigned long long)i + 1) * 0x9E3779B97F4A7C15ull;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
        out = ((z ^ (z >> 31)) >> 32) >= threshold ? x * scale : T(0)
        """,
        "tinyrnn_dropout",
    )


def uniform(key: int, n: int, first: int = 0):
    """``n`` numbers in ``[0, 1)``, float64 with 53 random bits: those of the stream from number ``first``
    on.
    """
    out = np.empty(n, np.float64)
    _uniform(np.uint64(key), first, out)
    return out


def dropout(x, p: float, key: int):
    """``x`` with each element zeroed with probability ``p`` and the rest divided by ``1 - p``, by the stream
    of ``key``.
    """
    if x.dtype.char not in "fd":
        half = x.dtype == np.float16
        y = dropout(x.astype(np.float32 if half else np.float64), p, key)
        return y.astype(x.dtype) if half else y
    scale = x.dtype.type(1 / (1 - p))
    settings = np.uint64(key), np.uint64(int(p * 2**32)), scale
    if is_cupy(x):
        return _cuda_dropout(array_module(x))(x, *settings)
    out = np.empty(x.shape, x.dtype)
    flat, target = np.ascontiguousarray(x).reshape(-1), out.reshape(-1)
    threads.split(x.size, lambda first, last: _dropout(flat, *settings, target, first, last), at_least=4)
    return out
