"""Floor 0: loops over plain arrays. Numba on NumPy arrays, CuPy's own functions on CUDA arrays.

The modules that hold Numba kernels import Numba when they are imported, so they are reached as attributes of this
package (``kernels.rows.softmax``): the first use imports the module, ``import tinyrnn`` alone does not.
"""

import importlib

_LAZY = frozenset({"pointwise", "random", "rows", "scalar_math", "scatter", "updates"})


def __getattr__(name):
    if name in _LAZY:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
