"""How many threads BLAS uses inside matrix products."""

import ctypes
import functools
from pathlib import Path

import numpy as np

_PREFIXES = ("scipy_openblas", "openblas")
_SUFFIXES = ("64_", "")


@functools.cache
def _openblas():
    """Functions (set, get) of the OpenBLAS inside NumPy's wheel, or None where NumPy uses another BLAS."""
    root = Path(np.__file__).parent
    for path in [*root.parent.glob("numpy.libs/*openblas*"), *root.glob(".dylibs/*openblas*")]:
        library = ctypes.CDLL(str(path))
        for prefix in _PREFIXES:
            for suffix in _SUFFIXES:
                names = [f"{prefix}_{verb}_num_threads{suffix}" for verb in ("set", "get")]
                if all(hasattr(library, name) for name in names):
                    return tuple(getattr(library, name) for name in names)
    return None


def set_blas_threads(n: int) -> bool:
    """Let BLAS use ``n`` threads from now on; False where this BLAS cannot be told."""
    functions = _openblas()
    if functions:
        functions[0](n)
    return functions is not None


def blas_threads() -> int | None:
    """Threads that BLAS uses, None where it does not tell."""
    functions = _openblas()
    return functions[1]() if functions else None


def blas_name() -> str:
    """Name and version of NumPy's BLAS."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{blas['name']} {blas['version']}"
