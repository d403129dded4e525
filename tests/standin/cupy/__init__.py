"""A strict stand-in for CuPy: its surface over arrays of NumPy, for machines without a GPU.

It raises where CuPy raises: nothing of NumPy's is mixed in or converted by itself, functions take the
arguments that CuPy's take, and what is not listed here does not exist. Where CuPy is lenient and wrong
(indices out of bounds, adding in place in any order, undefined duplicates), it is as wrong, or it
raises. Its names and signatures are compared with the real package's by ``tests/gpu/test_standin.py``,
wherever that is installed.
"""

import numpy as _numpy

# CuPy has these from NumPy.
from numpy import (  # noqa: F401
    bool_,
    broadcast_shapes,
    dtype,
    e,
    finfo,
    float16,
    float32,
    float64,
    generic,
    iinfo,
    inf,
    int8,
    int16,
    int32,
    int64,
    intp,
    nan,
    newaxis,
    pi,
    promote_types,
    uint8,
    uint16,
    uint32,
    uint64,
)

from . import cuda, linalg  # noqa: F401
from ._array import METHODS, array, asarray, ndarray, ufunc, wrapped  # noqa: F401
from ._functions import FUNCTIONS, UFUNCS, function
from ._grid import Grid, NeverOpens, RawModule  # noqa: F401
from ._kernels import ElementwiseKernel, RawKernel  # noqa: F401

__version__ = "14.2.0"

for _name in UFUNCS:
    globals()[_name] = ufunc(getattr(_numpy, _name))
for _signature in FUNCTIONS:
    _made = function(_signature)
    globals()[_made.__name__] = _made
abs, amax, amin = globals()["absolute"], globals()["max"], globals()["min"]


def shape(a):
    return a.shape


def size(a):
    return a.size


def ndim(a):
    return a.ndim


def result_type(*arrays_and_dtypes):
    return _numpy.result_type(*[a.dtype if isinstance(a, ndarray) else a for a in arrays_and_dtypes])


def get_array_module(*args):
    import sys

    return sys.modules[__name__] if any(isinstance(a, ndarray) for a in args) else _numpy


def asnumpy(a, stream=None, order="C", out=None, *, blocking=True):
    return a.get() if isinstance(a, ndarray) else _numpy.asarray(a)


def from_dlpack(x, *, device=None, copy=None):
    """Of a CUDA array, as its own ``__dlpack_device__`` says; here its memory is the CPU's."""
    kind, _ = x.__dlpack_device__()
    if kind not in (2, 3, 13):  # CUDA, its host memory, managed
        raise TypeError("CPU arrays cannot be directly imported to CuPy.")

    class OnHost:
        def __dlpack__(self, **options):
            return x.__dlpack__(stream=1, **{k: v for k, v in options.items() if k == "max_version"})

        def __dlpack_device__(self):
            return 1, 0

    return wrapped(_numpy.from_dlpack(OnHost()))
