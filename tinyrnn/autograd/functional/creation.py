"""New tensors. ``dtype`` is NumPy's default where it is None; ``device`` is ``"cpu"`` or ``"cuda"``."""

from __future__ import annotations

import copy
import operator
from typing import Any, Never, TypedDict, Unpack

import numpy as np

from ...base.devices import array_module, device_of, require_cupy
from ...base.errors import DtypeError, InputError, ShapeError
from ...kernels.generator import Generator, source, step_draw
from .. import Tensor, broadcast_to
from ..pointwise import as_tensor, checked_dtype
from ..shaping import reshape, shape_of
from ..tape import values_of
from ..tensor import new
from ..types import ArrayLike, DType, Shape

__all__ = [
    "arange", "asarray", "bernoulli", "eye", "from_dlpack", "full", "full_like", "linspace",
    "ones", "ones_like", "rand", "rand_like", "randint", "randn", "randn_like", "zeros",
    "zeros_like",
]  # fmt: skip


class Place(TypedDict, total=False):
    """Keywords of every function that makes a tensor."""

    device: str  # default: "cpu"
    requires_grad: bool  # default: False


class Options(Place, total=False):
    """These, and the dtype."""

    dtype: DType  # default: float64


def asarray(obj: ArrayLike, /, dtype: DType = None, *, device: str | None = None) -> Tensor:
    """``obj`` as a tensor that shares its memory where dtype and device allow it (``tr.tensor`` copies)."""
    # One who changes the array knows that it is shared, so it is wrapped anew, not BORROWED.
    t = obj if isinstance(obj, Tensor) else Tensor(as_tensor(obj).data)
    t = t if dtype is None or t.dtype == dtype else t.astype(dtype)
    return t if device is None else t.to(device)


def from_dlpack(x: Any, /) -> Tensor:
    """A tensor over the memory of ``x`` (a PyTorch, CuPy, NumPy ... array that speaks DLPack), without a
    copy.
    """
    if isinstance(x, Tensor):
        return copy.copy(x)
    if not hasattr(x, "__dlpack_device__"):
        raise InputError(f"from_dlpack: a {type(x).__name__} does not speak DLPack: use tr.asarray")
    if x.__dlpack_device__()[0] in (1, 3):  # kDLCPU and kDLCUDAHost
        return asarray(np.from_dlpack(x))
    return Tensor(require_cupy("cuda").from_dlpack(x))


def from_torch(x: Any, /) -> Tensor:
    """A tensor over the memory of a PyTorch tensor, on the CPU or a GPU, without a copy or a gradient.

    Raises:
        InputError: it is no PyTorch tensor, or requires a gradient.
    """
    if type(x).__module__.partition(".")[0] != "torch" or not hasattr(x, "detach"):
        raise InputError(f"from_torch: a {type(x).__name__} is no tensor of PyTorch: use tr.asarray")
    if x.requires_grad:
        raise InputError("from_torch: the gradient of PyTorch's tensor would be lost: write x.detach()")
    return from_dlpack(x)


def to_torch(x: ArrayLike, /) -> Any:
    """A PyTorch tensor over the memory of ``x``, on the CPU or a GPU, without a copy or a gradient.

    Raises:
        GradientError: ``x`` is on the tape; ``InputError``: PyTorch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise InputError("to_torch: PyTorch is not installed: pip install torch") from error
    given = values_of(as_tensor(x), "to_torch", "write to_torch(t.detach())")
    return torch.from_dlpack(given)  # type: ignore[attr-defined]


def _refuse(name: str, sizes: tuple[Any, ...], more: tuple[Any, ...]) -> None:
    """ShapeError where sizes were given as ``more`` arguments than one."""
    if more:
        given = (*sizes, *more)
        raise ShapeError(f"{name}{given}: a shape is one argument: {name}({given}), or shape={given}")


def zeros(shape: Shape, *more: Never, **options: Unpack[Options]) -> Tensor:
    """All 0."""
    _refuse("zeros", (shape,), more)
    return full(shape, 0.0, **options)


def ones(shape: Shape, *more: Never, **options: Unpack[Options]) -> Tensor:
    """All 1."""
    _refuse("ones", (shape,), more)
    return full(shape, 1.0, **options)


def full(shape: Shape, fill_value: ArrayLike, *, dtype: DType = None, **place: Unpack[Place]) -> Tensor:
    """All ``fill_value``."""
    if isinstance(fill_value, Tensor):
        return broadcast_to(fill_value if dtype is None else fill_value.astype(dtype), shape)
    data = np.full(shape_of(shape), fill_value, None if dtype is None else checked_dtype(dtype))
    return new(data, **place)


def arange(
    start: float,
    /,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: DType = None,
    **place: Unpack[Place],
) -> Tensor:
    """``start``, ``start + step`` ... below ``stop``; with one argument from 0 to there."""
    start, stop, step = _constants("arange", start, stop, step)
    first, last = (0, start) if stop is None else (start, stop)
    return new(np.arange(first, last, step, dtype=dtype), **place)


def linspace(
    start: float,
    stop: float,
    /,
    num: int = 50,
    *,
    endpoint: bool = True,
    dtype: DType = None,
    **place: Unpack[Place],
) -> Tensor:
    """``num`` evenly spaced numbers from ``start`` to ``stop``."""
    start, stop = _constants("linspace", start, stop)
    return new(np.linspace(start, stop, num, endpoint=endpoint, dtype=dtype), **place)


def eye(
    n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: DType = None, **place: Unpack[Place]
) -> Tensor:
    """1 on diagonal ``k``, else 0."""
    return new(np.eye(n_rows, n_cols, k, dtype or np.float64), **place)


def zeros_like(x: ArrayLike, /, *, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """All 0, in the shape, dtype and place of ``x``."""
    return full_like(x, 0, dtype=dtype, requires_grad=requires_grad)


def ones_like(x: ArrayLike, /, *, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """All 1, in the shape, dtype and place of ``x``."""
    return full_like(x, 1, dtype=dtype, requires_grad=requires_grad)


def full_like(
    x: ArrayLike, /, fill_value: ArrayLike, *, dtype: DType = None, requires_grad: bool = False
) -> Tensor:
    """All ``fill_value``, in the shape, dtype and place of ``x``."""
    data = as_tensor(x).data
    if isinstance(fill_value, Tensor):
        return full(data.shape, fill_value, dtype=dtype or data.dtype)
    filled = array_module(data).full(data.shape, fill_value, dtype or data.dtype)
    return new(filled, device_of(data), requires_grad)


def rand(
    shape: Shape,
    *more: Never,
    generator: Generator,
    low: float = 0.0,
    high: float = 1.0,
    dtype: DType = None,
    **place: Unpack[Place],
) -> Tensor:
    """Evenly distributed in ``[low, high)``, from a `Generator`."""
    _refuse("rand", (shape,), more)
    low, high = _constants("rand", low, high)
    values = generator.uniform(low, high, shape_of(shape)).astype(dtype or np.float64)
    below = np.nextafter(values.dtype.type(high), values.dtype.type(low))  # rounding may have reached `high`
    return new(np.minimum(values, below), **place)


def randn(
    shape: Shape,
    *more: Never,
    generator: Generator,
    mean: float = 0.0,
    std: float = 1.0,
    dtype: DType = None,
    **place: Unpack[Place],
) -> Tensor:
    """Normally distributed, from a `Generator`."""
    _refuse("randn", (shape,), more)
    mean, std = _constants("randn", mean, std)
    return new(generator.normal(mean, std, shape_of(shape)).astype(dtype or np.float64), **place)


def rand_like(x: ArrayLike, /, *, generator: Generator | None = None) -> Tensor:
    """Evenly distributed in ``[0, 1)``, in the shape, dtype and place of ``x``.

    In a step of `scan` or of a cell these are other numbers at every step, drawn for all steps before the
    loop: the same compiled and eagerly, in both passes, for any number of threads.

    Args:
        x: in a step, rows of the batch.
        generator: where they come from; in a cell's step the default is that of its `RNN`.

    Raises:
        InputError: no generator is given, and none is in use.
    """
    return _drawn("rand", x, generator)


def randn_like(x: ArrayLike, /, *, generator: Generator | None = None) -> Tensor:
    """Normally distributed, in the shape, dtype and place of ``x``.

    With mean 0 and variance 1; for steps see `rand_like`.
    """
    return _drawn("randn", x, generator)


def bernoulli(p: ArrayLike, /, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability ``p``, else 0, in the shape, dtype and place of ``p``.

    No gradient flows to ``p``; for steps see `rand_like`.
    """
    p = as_tensor(p)
    if p.dtype.kind != "f":
        raise DtypeError(f"bernoulli: p is {p.dtype}: give probabilities as floats")
    return (rand_like(p, generator=generator) < p.detach()).astype(p.dtype)


def _drawn(kind: str, x: ArrayLike, generator: Generator | None) -> Tensor:
    x, generator = as_tensor(x), source(f"{kind}_like", generator)
    if x.dtype.kind != "f":
        raise DtypeError(f"{kind}_like: x is {x.dtype}: give a tensor of floats")
    given = step_draw(kind, x.shape, generator)
    if given is not None:
        if given.shape != x.shape and given.size == x.size:
            given = reshape(given, x.shape)
        if given.shape != x.shape:
            mend = "a step must draw the same at every step, in the same order"
            raise ShapeError(
                f"{kind}_like: {list(x.shape)} where the first step drew {list(given.shape)}: {mend}"
            )
        return given
    draw: Any = {"rand": rand, "randn": randn}[kind]
    found: Tensor = draw(x.shape, generator=generator, dtype=x.dtype, device=device_of(x.data))
    return found


def randint(
    low: int, high: int, shape: Shape, *, generator: Generator, dtype: DType = None, device: str = "cpu"
) -> Tensor:
    """Integers in ``[low, high)``, evenly distributed, from a `Generator`.

    Raises:
        InputError: there is no such integer, or ``dtype`` does not hold all of them.
    """
    try:
        low, high = operator.index(low), operator.index(high)
    except TypeError as error:
        raise DtypeError(f"randint: low {low!r} and high {high!r} must be integers") from error
    if not low < high:
        raise InputError(f"randint: no integer is in [{low}, {high}): low must be less than high")
    dtype = checked_dtype(dtype or np.int64)
    first, last = {"f": (low, high), "b": (0, 1)}.get(dtype.kind) or (
        int(np.iinfo(dtype).min),
        int(np.iinfo(dtype).max),
    )
    if low < first or high - 1 > last:
        held = f"{dtype} holds {first} to {last}, not all of [{low}, {high})"
        raise InputError(f"randint: {held}: use a larger dtype")
    return new(generator.integers(low, high, shape_of(shape)).astype(dtype), device)


def _constants(name: str, *values: Any) -> list[Any]:
    """``values`` as plain numbers: what is made from them is not differentiable by them."""
    mend = "write it with tensors (as t + arange(n) * step, or mean + std * randn(...)), or detach() it"
    return [values_of(x, name, mend)[()] if isinstance(x, Tensor) else x for x in values]
