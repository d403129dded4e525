"""Products of arrays, each by what is fastest at its size."""

from typing import Any

import numpy as np

from ..base.devices import array_module

LARGE = 1 << 18  # multiplications: below, BLAS on one thread is as fast


def product(a: Any, b: Any) -> Any:
    """``a @ b``. The packed product for large matrices: it runs on our own threads, beside which BLAS would
    have to run on one.
    """
    if type(a) is not np.ndarray:
        return array_module(a).matmul(a, b)
    if a.size * b.shape[-1] > LARGE and a.ndim == b.ndim == 2 and a.dtype == b.dtype and a.dtype.char in "fd":
        from . import gemm

        return gemm.matmul(a, b)
    return np.matmul(a, b)


def rounded_product(a: Any, b: Any) -> Any:
    """A product of arrays on a GPU whose operands are rounded to TensorFloat-32, by tensor cores."""
    from cupy._core import _routines_linalg as routines  # CuPy has no public name for it

    before = routines.get_compute_type(a.dtype)
    routines.set_compute_type(a.dtype, routines.COMPUTE_TYPE_TF32)
    try:
        return array_module(a).matmul(a, b)
    finally:
        routines.set_compute_type(a.dtype, before)
