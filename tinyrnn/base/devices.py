"""Which array library a piece of data belongs to. CuPy is looked up, never imported, until a CUDA device is
asked for.
"""

import math
import sys
from typing import Any

import numpy as np

from .errors import DeviceError, InputError

WORTH_A_GPU = 4096  # a GPU computes so many numbers at once, in a launch that costs microseconds

_working: list[Any] = []  # the CuPy that has run a kernel in this process
_INSTALL = {12: "pip install 'tinyrnn[cuda12]'", 13: "pip install 'tinyrnn[cuda13]'"}


def is_cupy(array: Any) -> bool:
    """True for a CuPy array; a process that never imported CuPy cannot hold one."""
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(array, getattr(cupy, "ndarray", ()))


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


def beside(array: Any, other: Any) -> Any:
    """``array``, of indices, a mask or constants, on the device of the array ``other``."""
    return to_device(array, device_of(other))


def same_device(name: str, *arrays: Any) -> None:
    """Nothing, if ``arrays`` are on one device.

    Raises:
        DeviceError: they are not.
    """
    if len({device_of(a) for a in arrays}) > 1:
        raise DeviceError(f"{name}: operands on cpu and cuda: move them to one with .to(device)")


def chosen(device: str, work: float = math.inf) -> str:
    """``"cpu"`` or ``"cuda"`` for ``device``, where ``"auto"`` is cuda where that works and there is enough
    to do.

    Args:
        work: numbers that a step computes side by side; below `WORTH_A_GPU` it is no gain.

    Raises:
        InputError: as `require_cupy`.
    """
    if device == "auto" and work < WORTH_A_GPU:
        return "cpu"
    if device != "cpu":
        try:
            require_cupy("cuda" if device == "auto" else device)
        except InputError:
            if device != "auto":
                raise
            return "cpu"
    return "cpu" if device == "cpu" else "cuda"


def require_cupy(device: str) -> Any:
    """Import CuPy and run one trivial kernel: finding the package is no proof that it works.

    Raises:
        InputError: what is missing (package, driver, GPU, CUDA libraries or headers), and what to install.
    """
    if device != "cuda":
        raise InputError(f"unknown device {device!r}: use 'cpu' or 'cuda'")
    try:
        import cupy
    except ImportError as error:
        raise InputError(f"device 'cuda' {_not_imported(error)}") from error
    if not hasattr(cupy, "ndarray"):
        found = getattr(cupy, "__file__", None) or next(iter(getattr(cupy, "__path__", [])), "cupy")
        raise InputError(f"device 'cuda' needs CuPy, and {found} has its name: rename that")
    if not (_working and _working[0] is cupy):
        try:
            try_kernel(cupy)
        except Exception as error:  # CuPy raises its own classes for a missing GPU, driver, library or header
            raise InputError(f"device 'cuda': {_not_working(cupy, error)}") from error
        _working[:] = [cupy]
    return cupy


def try_kernel(cupy: Any) -> None:
    """Compile a kernel and run it: that needs a driver, a GPU, CUDA's libraries and its headers."""
    twice = cupy.ElementwiseKernel("T x", "T y", "y = x + x", "tinyrnn_try")
    if twice(cupy.ones(2, np.float32)).tolist() != [2.0, 2.0]:
        raise RuntimeError("a trivial kernel computed 1 + 1 wrongly")


def _not_imported(error: ImportError) -> str:
    from importlib.metadata import distributions

    major = _driver_major()
    install = _INSTALL.get(major) or " or ".join(_INSTALL.values())
    wheels = {str(d.metadata["Name"]).lower() for d in distributions()}
    found = sorted(name for name in wheels if name == "cupy" or name.startswith("cupy-"))
    if not found:
        return f"needs CuPy: {install}"
    said = str(error).strip().splitlines()[-1:] or ["no reason was given"]
    return f"needs CuPy, and {', '.join(found)} cannot be imported ({said[0]}): uninstall it, then {install}"


def _not_working(cupy: Any, error: Exception) -> str:
    """What is missing, and what to install: asked of the driver step by step, from the ground up."""
    name, runtime = f"CuPy {cupy.__version__}", cupy.cuda.runtime
    said = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
    driver, built = _asked(runtime.driverGetVersion), _asked(runtime.runtimeGetVersion)
    if not driver:
        return f"{name} finds no NVIDIA driver: install one, or use the cpu"
    has = f"the driver of this machine is for CUDA {_version(driver)}"
    if driver // 1000 < built // 1000:
        wheel = f"pip uninstall cupy-cuda{built // 1000}x, then {_INSTALL.get(driver // 1000)}"
        mend = wheel if driver // 1000 in _INSTALL else "install a driver for CUDA 12 at least"
        return f"{name} is for CUDA {built // 1000}, {has}: {mend}"
    if not _asked(runtime.getDeviceCount):
        return f"{name} finds no GPU ({said}), {has}: use the cpu"
    lacking = ("lib", ".dll", "nvrtc", "header", "cannot open source", "CUDA root")
    if any(word in str(error) for word in lacking):
        wheel = f"pip install 'cupy-cuda{built // 1000 or driver // 1000}x[ctk]'"
        return f"{name}: a library or header of CUDA is missing ({said}): {wheel}"
    return f"{name} cannot run a kernel ({said}): see tinyrnn doctor, or use the cpu"


def _asked(question: Any) -> int:
    """The answer of the driver; 0 where it has none."""
    try:
        return int(question())
    except Exception:  # of CuPy's own classes, or of the loader of libraries
        return 0


def _version(number: int) -> str:
    """``13000`` as ``13.0``."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _driver_major() -> int:
    """The newest CUDA that this machine's driver is for; 0 without a driver."""
    import ctypes

    number = ctypes.c_int()
    try:
        library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        failed = library.cuDriverGetVersion(ctypes.byref(number))
    except OSError:
        return 0
    return 0 if failed else min(number.value // 1000, max(_INSTALL))


def cuda_status() -> str:
    """One line for ``tinyrnn doctor``: the GPU that was found, or why none is used."""
    try:
        cupy = require_cupy("cuda")
    except InputError as error:
        return str(error)
    runtime, device = cupy.cuda.runtime, cupy.cuda.Device()
    free, total = runtime.memGetInfo()
    facts = [
        f"CuPy {cupy.__version__}",
        runtime.getDeviceProperties(device.id)["name"].decode(),
        f"compute capability {'.'.join(device.compute_capability)}",
        f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free",
        f"CUDA {_version(runtime.runtimeGetVersion())}, driver for {_version(runtime.driverGetVersion())}",
    ]
    return ", ".join(facts)


def memory_full(error: MemoryError) -> str:
    """A sentence of what did not fit, with sizes; the caller adds what to lower."""
    cupy = _working[0] if _working else None  # else no array is on a GPU
    if cupy is None or not isinstance(error, cupy.cuda.memory.OutOfMemoryError):
        return "this does not fit into memory"
    free, total = cupy.cuda.runtime.memGetInfo()
    sizes = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB are free"
    return f"the GPU's memory is full ({sizes}; {str(error).strip()})"
