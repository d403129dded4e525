"""New tensors. ``dtype`` is NumPy's default where it is None; ``device`` is ``"cpu"`` or ``"cuda"``."""

import copy
import operator

import numpy as np

from ...base.devices import array_module, device_of, require_cupy
from ...base.errors import DtypeError, InputError
from .. import Tensor, broadcast_to
from ..pointwise import as_tensor, checked_dtype
from ..shaping import shape_of
from ..tape import values_of
from ..tensor import new

__all__ = [
    "arange", "asarray", "eye", "from_dlpack", "full", "full_like", "linspace", "ones", "ones_like", "rand", "randint", "randn",
    "zeros", "zeros_like",
]  # fmt: skip


def asarray(obj, /, dtype=None, *, device=None):
    """``obj`` as a tensor that shares its memory where dtype and device allow it (``tr.tensor`` copies)."""
    t = (
        obj if isinstance(obj, Tensor) else Tensor(as_tensor(obj).data)
    )  # which the caller changes knowing that it is shared
    t = t if dtype is None or t.dtype == dtype else t.astype(dtype)
    return t if device is None else t.to(device)


def from_dlpack(x, /):
    """A tensor over the memory of ``x`` (a PyTorch, CuPy, NumPy ... array that speaks DLPack), without a
    copy.
    """
    if isinstance(x, Tensor):
        return copy.copy(x)
    if not hasattr(x, "__dlpack_device__"):
        raise InputError(f"from_dlpack: a {type(x).__name__} does not speak DLPack: use tr.asarray")
    if x.__dlpack_device__()[0] in (1, 3):  # kDLCPU and kDLCUDAHost
        return asarray(np.from_dlpack(x))
    return asarray(require_cupy("cuda").from_dlpack(x))


def zeros(shape, *, dtype=None, device="cpu", requires_grad=False):
    """All 0."""
    return full(shape, 0.0, dtype=dtype, device=device, requires_grad=requires_grad)


def ones(shape, *, dtype=None, device="cpu", requires_grad=False):
    """All 1."""
    return full(shape, 1.0, dtype=dtype, device=device, requires_grad=requires_grad)


def full(shape, fill_value, *, dtype=None, device="cpu", requires_grad=False):
    """All ``fill_value``."""
    if isinstance(fill_value, Tensor):
        return broadcast_to(fill_value if dtype is None else fill_value.astype(dtype), shape)
    return new(np.full(shape_of(shape), fill_value, dtype and checked_dtype(dtype)), device, requires_grad)


def arange(start, /, stop=None, step=1, *, dtype=None, device="cpu", requires_grad=False):
    """``start``, ``start + step`` ... below ``stop``; with one argument from 0 to there."""
    start, stop, step = _constants("arange", start, stop, step)
    return new(
        np.arange(*((0, start) if stop is None else (start, stop)), step, dtype=dtype), device, requires_grad
    )


def linspace(start, stop, /, num=50, *, endpoint=True, dtype=None, device="cpu", requires_grad=False):
    """``num`` evenly spaced numbers from ``start`` to ``stop``."""
    start, stop = _constants("linspace", start, stop)
    return new(np.linspace(start, stop, num, endpoint=endpoint, dtype=dtype), device, requires_grad)


def eye(n_rows, n_cols=None, /, *, k=0, dtype=None, device="cpu", requires_grad=False):
    """1 on diagonal ``k``, else 0."""
    return new(np.eye(n_rows, n_cols, k, dtype or np.float64), device, requires_grad)


def zeros_like(x, /, *, dtype=None, requires_grad=False):
    """All 0, in the shape, dtype and place of ``x``."""
    return full_like(x, 0, dtype=dtype, requires_grad=requires_grad)


def ones_like(x, /, *, dtype=None, requires_grad=False):
    """All 1, in the shape, dtype and place of ``x``."""
    return full_like(x, 1, dtype=dtype, requires_grad=requires_grad)


def full_like(x, /, fill_value, *, dtype=None, requires_grad=False):
    """All ``fill_value``, in the shape, dtype and place of ``x``."""
    data = as_tensor(x).data
    if isinstance(fill_value, Tensor):
        return full(data.shape, fill_value, dtype=dtype or data.dtype)
    return new(
        array_module(data).full(data.shape, fill_value, dtype or data.dtype), device_of(data), requires_grad
    )


def rand(shape, *, generator, low=0.0, high=1.0, dtype=None, device="cpu", requires_grad=False):
    """Evenly distributed in ``[low, high)``, from a `Generator`."""
    low, high = _constants("rand", low, high)
    values = generator.uniform(low, high, shape_of(shape)).astype(dtype or np.float64)
    below = np.nextafter(values.dtype.type(high), values.dtype.type(low))  # rounding may have reached `high`
    return new(np.minimum(values, below), device, requires_grad)


def randn(shape, *, generator, mean=0.0, std=1.0, dtype=None, device="cpu", requires_grad=False):
    """Normally distributed, from a `Generator`."""
    mean, std = _constants("randn", mean, std)
    return new(
        generator.normal(mean, std, shape_of(shape)).astype(dtype or np.float64), device, requires_grad
    )


def randint(low, high, shape, *, generator, dtype=None, device="cpu"):
    """Integers in ``[low, high)``, evenly distributed, from a `Generator`.

    Raises:
        InputError: there is no such integer, or ``dtype`` does not hold all of them.
    """
    try:
        low, high = operator.index(low), operator.index(high)
    except TypeError as error:
        raise DtypeError(f"randint: low {low!r} and high {high!r} must be integers") from error
    if not low < high:
        raise InputError(
            f"randint: no integer is at least {low} and below {high}: low must be less than high"
        )
    dtype = checked_dtype(dtype or np.int64)
    first, last = {"f": (low, high), "b": (0, 1)}.get(dtype.kind) or (
        np.iinfo(dtype).min,
        np.iinfo(dtype).max,
    )
    if low < first or high - 1 > last:
        raise InputError(
            f"randint: {dtype} holds {first} to {last}, not all of [{low}, {high}): use a larger dtype"
        )
    return new(generator.integers(low, high, shape_of(shape)).astype(dtype), device)


def _constants(name, *values):
    """``values`` as plain numbers: what is made from them is not differentiable by them."""
    mend = "write it with tensors (as t + arange(n) * step, or mean + std * randn(...)), or detach() it"
    return [values_of(x, name, mend)[()] if isinstance(x, Tensor) else x for x in values]
