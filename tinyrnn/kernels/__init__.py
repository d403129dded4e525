"""Loops over plain arrays. Numba on NumPy arrays, CuPy's own functions on CUDA arrays.

The modules that hold Numba kernels import Numba when they are imported, so they are reached as attributes of
this package (``kernels.rows.softmax``): the first use imports the module, ``import tinyrnn`` alone does not.
"""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from . import references

_LAZY = frozenset(
    "ctc gemm groups jit losses noalias notice pointwise random rows sampling scalar_math scatter smoothing "
    "tiles updates".split()
)


def row_kernel(name: str) -> Callable[..., Any]:
    """The forward of an op along the last axis: ``rows.NAME`` on NumPy float32 / float64, else
    ``references.NAME``.
    """
    reference = getattr(references, name)

    def forward(*arrays: Any, **params: Any) -> Any:
        if all(type(a) is np.ndarray and a.dtype.char in "fd" and a.size for a in arrays):
            return getattr(importlib.import_module(f"{__name__}.rows"), name)(*arrays, **params)
        return reference(*arrays, **params)

    return forward


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
