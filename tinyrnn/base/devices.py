"""Which array library a piece of data belongs to. CuPy is looked up, never imported, until a CUDA device is
asked for.
"""

import sys
from typing import Any

import numpy as np

from .errors import InputError


def is_cupy(array: Any) -> bool:
    """True for a CuPy array; a process that never imported CuPy cannot hold one."""
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(array, cupy.ndarray)


def is_array(x: Any) -> bool:
    """True for an array of NumPy or CuPy."""
    return isinstance(x, np.ndarray) or is_cupy(x)


def array_module(array: Any) -> Any:
    """``numpy`` or ``cupy``: the module whose functions work on ``array``."""
    return sys.modules["cupy"] if is_cupy(array) else np


def device_of(array: Any) -> str:
    """``"cpu"`` or ``"cuda"``."""
    return "cuda" if is_cupy(array) else "cpu"


def to_device(array: Any, device: str) -> Any:
    """``array`` on ``"cpu"`` or ``"cuda"``; the array itself where it is there already.

    Raises:
        InputError: an unknown device, or a CUDA device that cannot be used (the sentence says why).
    """
    if device == device_of(array):
        return array
    if device == "cpu":
        return array.get()
    return require_cupy(device).asarray(array)


def require_cupy(device: str) -> Any:
    """Import CuPy and run one trivial kernel: finding the package is no proof that it works."""
    if device != "cuda":
        raise InputError(f"unknown device {device!r}: use 'cpu' or 'cuda'")
    try:
        import cupy
    except ImportError as error:
        raise InputError(
            "device 'cuda' needs CuPy: pip install 'tinyrnn[cuda12]' or 'tinyrnn[cuda13]'"
        ) from error
    try:
        cupy.zeros(1).sum()
    except Exception as error:  # CuPy raises its own classes for a missing GPU, driver, toolkit or header
        raise InputError(
            f"device 'cuda': CuPy {cupy.__version__} cannot use a GPU ({error}): use the cpu"
        ) from error
    return cupy


def cuda_status() -> str:
    """One line for ``tinyrnn doctor``: the GPU that was found, or why none is used."""
    try:
        cupy = require_cupy("cuda")
    except InputError as error:
        return str(error)
    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    return f"CuPy {cupy.__version__}, {properties['name'].decode()}"
