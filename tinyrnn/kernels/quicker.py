"""Functions of arrays, each by NumPy's or CuPy's loop or by one of ours: whichever is quicker."""

import importlib
from typing import Any

import numpy as np

from ..base.devices import array_module, is_cupy
from ..base.errors import InputError

LARGE = 1 << 18  # multiplications: below, BLAS on one thread is as fast


def product(a: Any, b: Any) -> Any:
    """``a @ b``. The packed product for large matrices: it runs on our own threads, beside which BLAS would
    have to run on one.
    """
    if type(a) is not np.ndarray:
        return array_module(a).matmul(a, b)
    if a.size * b.shape[-1] > LARGE and a.ndim == b.ndim == 2 and a.dtype == b.dtype and a.dtype.char in "fd":
        return importlib.import_module(f"{__package__}.gemm").matmul(a, b)
    return np.matmul(a, b)


def rounded_product(a: Any, b: Any, precision: str) -> Any:
    """The product of float32 matrices whose operands are rounded: see `autocast`."""
    if type(a) is np.ndarray:
        if precision == "tf32":
            raise InputError("autocast: tf32 needs arrays on a GPU: use bfloat16")
        return importlib.import_module(f"{__package__}.gemm").matmul(a, b, precision=precision)
    if precision == "int8":
        raise InputError("autocast: int8 needs arrays on a CPU: use bfloat16")
    from cupy._core import _routines_linalg as routines  # CuPy has no public name for it

    before = routines.get_compute_type(a.dtype)
    routines.set_compute_type(a.dtype, routines.COMPUTE_TYPE_TF32)
    try:
        return array_module(a).matmul(a, b)
    finally:
        routines.set_compute_type(a.dtype, before)


def _pointwise() -> Any:
    return importlib.import_module(f"{__package__}.pointwise")  # and Numba with it, at the first use


def where(c: Any, a: Any, b: Any) -> Any:
    """NumPy's where, which is slow for large arrays of floats: those go through the rule."""
    if type(c) is np.ndarray and c.size > 1000 and np.result_type(a, b).kind == "f":
        c = c.astype(bool, copy=False)
        return _pointwise().run("where", ("c", "a", "b"), "where(c, a, b)", c, a, b)
    if type(c) is np.ndarray or not (is_cupy(a) or is_cupy(b)):
        return np.where(c, a, b)
    xp = array_module(a if is_cupy(a) else b)
    return xp.where(c if hasattr(c, "shape") else xp.asarray(c), a, b)  # CuPy takes no number for c


def logaddexp(a: Any, b: Any) -> Any:
    """The compiled loop; integers and bools go through NumPy's, whose promotion depends on both dtypes."""
    if np.result_type(a, b).kind != "f":
        return np.logaddexp(a, b)
    return _pointwise().run("logaddexp", ("a", "b"), "logaddexp(a, b)", a, b)
