"""Shape, dtype, indexing, joining and taking apart. Where NumPy gives a view, so do these."""

from __future__ import annotations

import array
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ..base.devices import beside, device_of, is_cupy, to_device
from ..base.errors import DtypeError, OutOfRangeError, ShapeError
from ..base.explain import EXPLAINED, explained
from ..kernels import keys
from . import tape
from .pointwise import as_tensor, checked_dtype
from .tape import Op, apply, record, record_few, values_of
from .types import ArrayLike, Axis, DType, Shape

__all__ = [
    "array_split", "astype", "broadcast_to", "concat", "expand_dims", "flip", "hsplit", "matrix_transpose",
    "moveaxis", "pad", "permute_dims", "reshape", "roll", "split", "squeeze", "stack", "swapaxes",
    "transpose", "unstack", "vsplit",
]  # fmt: skip

_INTS = frozenset({int})
_REVERSED = [tuple(range(n))[::-1] for n in range(65)]  # NumPy knows 64 axes

_reshape = Op(
    "reshape",
    lambda x, *, newshape: x.reshape(newshape),
    {"x": lambda g, shape: reshape(g, shape)},
    view=True,
)
_permute = Op(
    "permute_dims",
    lambda x, *, axes: x.transpose(axes),
    {"x": lambda g, axes: permute_dims(g, np.argsort(axes).tolist())},
    view=True,
)
# The tape sums what was broadcast, here as everywhere.
_broadcast = Op("broadcast_to", lambda x, *, to: np.broadcast_to(x, to), {"x": lambda g: g}, view=True)
_flip = Op("flip", lambda x, *, axis: np.flip(x, axis), {"x": lambda g, axis: flip(g, axis=axis)}, view=True)
_roll = Op(
    "roll",
    lambda x, *, shift, axis: np.roll(x, shift, axis),
    {"x": lambda g, shift, axis: roll(g, tuple(-s for s in shift), axis=axis)},
)


def _unpadded(g: tape.Tensor, shape: tuple[int, ...], widths: list[tuple[int, int]]) -> tape.Tensor:
    return getitem(g, tuple(slice(w, w + n) for (w, _), n in zip(widths, shape, strict=True)))


_pad = Op("pad", lambda x, *, widths, value: np.pad(x, widths, constant_values=value), {"x": _unpadded})
_astype = Op("astype", lambda x, *, dtype: x.astype(dtype), {"x": lambda g: g})  # and casts what was promoted
_to: Op = Op(
    "to",
    lambda x, *, device, source: to_device(x, device),
    {"x": lambda g, device, source: apply(_to, g, device=source, source=device)},
    view=True,
)


_getitem = Op(
    "getitem", lambda x, *, key: x[key], {"x": lambda g, shape, key: place(g, key, shape)}, view=True
)
_gather = Op("gather", lambda x, *, key: x[key], {"x": lambda g, shape, key: place(g, key, shape)})
_take_along: Op = Op(
    "take_along_axis",
    lambda x, at, *, axis: x[keys.along(at, axis, x.shape)],
    {"x": lambda g, at, shape, axis: apply(_put_along, g, at, axis=axis, into=shape)},
)
_put_along: Op = Op(
    "put_along_axis",
    lambda g, at, *, axis, into: keys.place(g, key=keys.along(at, axis, into), into=into),
    {"g": lambda ct, at, axis: apply(_take_along, ct, at, axis=axis)},
)
_lookup: Op = Op(
    "lookup", lambda x, ids: x[ids], {"x": lambda g, ids, shape: apply(_place_rows, g, ids, into=shape)}
)
_place_rows: Op = Op(
    "place_rows",
    lambda g, ids, *, into: keys.place(g, key=ids, into=into),
    {"g": lambda ct, ids: apply(_lookup, ct, ids)},
)
_place_op = Op("place", keys.place, {"g": lambda ct, key: getitem(ct, key)}, inputs=("g",))


def _piece(g: tape.Tensor, axis: int, i: int, sizes: tuple[int, ...]) -> tape.Tensor:
    """The part of `g` that belongs to input `i`."""
    start = sum(sizes[:i])
    return getitem(g, (slice(None),) * axis + (slice(start, start + sizes[i]),))


_concat = Op("concat", lambda *xs, axis, sizes: np.concatenate(xs, axis), {"*": _piece}, inputs=())
_stack = Op(
    "stack",
    lambda *xs, axis: np.stack(xs, axis=axis),
    {"*": lambda g, axis, i: getitem(g, (slice(None),) * axis + (i,))},
    inputs=(),
)
_split = Op(
    "split",
    lambda x, *, axis, points: tuple(np.split(x, points, axis)),
    {"x": lambda gs, axis: concat(gs, axis=axis)},
    view=True,
)


def _slices(x: Any, axis: int) -> list[Any]:
    x = np.moveaxis(x, axis, 0)
    return [x[i, ...] for i in range(len(x))]  # arrays, also where they have no axis


_unstack = Op(
    "unstack",
    lambda x, *, axis: tuple(_slices(x, axis)),
    {"x": lambda gs, axis: stack(gs, axis=axis)},
    view=True,
)


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """``axis``, an int or several, as a tuple of different ints from 0 to ``ndim - 1``.

    Raises:
        OutOfRangeError: no such axis; ``ShapeError``: an axis named twice.
    """
    if type(axis) is int and -ndim <= axis < ndim:
        return (axis % ndim,)
    if type(axis) is tuple:
        found = [i % ndim for i in axis if type(i) is int and -ndim <= i < ndim]
        if len({*found}) == len(axis):
            return tuple(found)
    try:
        return normalize_axis_tuple(axis, ndim)
    except IndexError as error:
        usable = f"{error}: use {-ndim} to {ndim - 1}" if ndim else "a 0-d tensor has no axes"
        raise OutOfRangeError(usable) from error
    except ValueError as error:
        raise ShapeError(f"axis {axis} names an axis twice: name each once") from error
    except TypeError as error:
        raise DtypeError(f"axis is {axis!r}: give an int or a tuple of ints") from error


def shape_of(shape: Any) -> tuple[int, ...]:
    """``shape``, an int or several, as a tuple of Python ints."""
    if type(shape) is tuple and _INTS.issuperset(map(type, shape)):
        return shape
    try:
        sizes = (shape,) if hasattr(shape, "__index__") else shape
        return tuple(operator.index(n) for n in sizes)
    except TypeError as error:
        raise ShapeError(f"a shape is {shape!r}: give an int or ints") from error


def indices_of(name: str, indices: ArrayLike, computed: bool = False) -> Any:
    """Integer ``indices`` as an array that nobody else will change; with ``computed`` those that are
    `is_computed` as they are.
    """
    if computed and is_computed(indices):
        return indices
    found = tape.looked_at(as_tensor(indices)).copy()
    if found.dtype.kind not in "iu" and found.size:
        raise DtypeError(f"{name}: indices are {found.dtype}: they must be integers")
    return found if found.size else found.astype(np.intp)


def axis_of(axis: Any, ndim: int) -> int:
    """The same for the one axis of functions that work along one."""
    if type(axis) is int and -ndim <= axis < ndim:
        return axis % ndim
    if not isinstance(axis, int | np.integer):
        raise DtypeError(f"axis is {axis!r}: this function works along one axis, give an int")
    return axes_of(int(axis), ndim)[0]


def along(x: ArrayLike, axis: int | None) -> tuple[tape.Tensor, int]:
    """``x`` as a tensor and one axis of it; None: that of its elements in one row."""
    x = as_tensor(x)
    return (reshape(x, -1), 0) if axis is None else (x, axis_of(axis, x.ndim))


def reshape(x: ArrayLike, /, shape: Shape) -> tape.Tensor:
    """``x`` in another shape of the same size; one size may be -1 ("the rest")."""
    x, shape = x if type(x) is tape.Tensor else as_tensor(x), shape_of(shape)
    try:
        out = x.data.reshape(shape)
    except EXPLAINED as error:
        has = f"{list(x.shape)} has {x.data.size} elements"
        raise ShapeError(f"reshape: {has}, {list(shape)} does not hold as many") from error
    return record_few(_reshape, {"newshape": shape}, out, x, x.node)


def permute_dims(x: ArrayLike, /, axes: Sequence[int]) -> tape.Tensor:
    """Axes in a new order: axis ``i`` of the result is axis ``axes[i]`` of ``x``."""
    x, axes = x if type(x) is tape.Tensor else as_tensor(x), tuple(axes)
    order = axes_of(axes, x.data.ndim)
    if len(order) != x.data.ndim:
        needed = f"each of the {x.ndim} axes of {list(x.shape)} once"
        raise ShapeError(f"permute_dims: axes {list(axes)} must name {needed}")
    return record_few(_permute, {"axes": order}, x.data.transpose(order), x, x.node)


def transpose(x: ArrayLike, /, axes: Sequence[int] | None = None) -> tape.Tensor:
    """NumPy's name of ``permute_dims``; None: all axes in reverse order."""
    x = x if type(x) is tape.Tensor else as_tensor(x)
    if axes is None:
        return record_few(_permute, {"axes": _REVERSED[x.data.ndim]}, x.data.T, x, x.node)
    return permute_dims(x, axes)


def swapaxes(x: ArrayLike, /, axis1: int, axis2: int) -> tape.Tensor:
    """``x`` with two axes exchanged."""
    x = as_tensor(x)
    order, i, j = [*range(x.ndim)], axis_of(axis1, x.ndim), axis_of(axis2, x.ndim)
    order[i], order[j] = j, i
    return record_few(_permute, {"axes": tuple(order)}, x.data.transpose(order), x, x.node)


def matrix_transpose(x: ArrayLike, /) -> tape.Tensor:
    """The last two axes exchanged."""
    return swapaxes(x, -1, -2)


def expand_dims(x: ArrayLike, /, axis: int | Sequence[int] = 0) -> tape.Tensor:
    """New axes of size 1 at the positions ``axis`` of the result."""
    x = as_tensor(x)
    new = axes_of(axis, x.ndim + (len(axis) if isinstance(axis, tuple | list) else 1))
    sizes = iter(x.shape)
    return reshape(x, tuple(1 if i in new else next(sizes) for i in range(x.ndim + len(new))))


def moveaxis(x: ArrayLike, /, source: int | Sequence[int], destination: int | Sequence[int]) -> tape.Tensor:
    """``x`` with the axes ``source`` at the positions ``destination``, the others in their order."""
    x = as_tensor(x)
    here, there = axes_of(source, x.ndim), axes_of(destination, x.ndim)
    if len(here) != len(there):
        raise ShapeError(f"moveaxis: {len(here)} axes and {len(there)} positions: give one for each")
    order = [i for i in range(x.ndim) if i not in here]
    for position, axis in sorted(zip(there, here, strict=True)):
        order.insert(position, axis)
    return permute_dims(x, order)


def squeeze(x: ArrayLike, /, axis: Axis = None) -> tape.Tensor:
    """``x`` without the size-1 axis (or axes) ``axis``; None: without any axis of size 1."""
    x = as_tensor(x)
    try:
        out = x.data.squeeze(None if axis is None else axes_of(axis, x.data.ndim))
    except ValueError as error:
        needed = f"squeeze: axis {axis} of {list(x.shape)} is not of size 1: leave it, or index it"
        raise ShapeError(needed) from error
    return record_few(_reshape, {"newshape": out.shape}, out, x, x.node)


def broadcast_to(x: ArrayLike, /, shape: Shape) -> tape.Tensor:
    """``x`` repeated to ``shape`` without a copy (read-only memory)."""
    return apply(_broadcast, as_tensor(x), to=shape_of(shape))


def flip(x: ArrayLike, /, axis: Axis = None) -> tape.Tensor:
    """Elements in reverse order along ``axis`` (None: all axes)."""
    x = as_tensor(x)
    return apply(_flip, x, axis=None if axis is None else axes_of(axis, x.ndim))


def astype(x: ArrayLike, dtype: DType, /) -> tape.Tensor:
    """``x`` as another dtype; gradients flow between floating dtypes."""
    x, params = x if type(x) is tape.Tensor else as_tensor(x), {"dtype": checked_dtype(dtype)}
    return record_few(_astype, params, x.data.astype(params["dtype"]), x, x.node)


def to(x: ArrayLike, device: str, /) -> tape.Tensor:
    """``x`` on ``"cpu"`` or ``"cuda"``; the gradient travels back."""
    x = as_tensor(x)
    source = device_of(x.data)
    return x if device == source else apply(_to, x, device=device, source=source)


def getitem(x: ArrayLike, key: Any, /) -> tape.Tensor:
    """``x[key]`` with NumPy's basic and advanced indexing; repeated indices add their gradients."""
    x = x if type(x) is tape.Tensor else as_tensor(x)
    if not keys.is_basic(key):
        found = _by_computed(x, key if type(key) is tuple else (key,)) if tape.is_tracing() else None
        if found is not None:
            return found
        key = tuple(map(_plain_key, key)) if type(key) is tuple else _plain_key(key)
        if not keys.is_basic(key):
            return apply(_gather, x, key=_key_beside(key, x))
    try:
        out = x.data[key]
    except EXPLAINED as error:
        raise explained(_getitem, (x,), error) from error
    return record_few(_getitem, {"key": key}, out, x, x.node)


def is_computed(ids: Any) -> bool:
    """True for integers that a program being recorded has made: what they pick is another at every call."""
    return isinstance(ids, tape.Tensor) and ids.node is not None and ids.dtype.kind in "iu"


def _by_computed(x: tape.Tensor, keys: tuple[Any, ...]) -> Any:
    """``x[ids]`` and ``x[arange(len(x)), ids]`` for integers that are computed; None for other keys."""
    if not 0 < len(keys) < 3 or not is_computed(keys[-1]):
        return None
    ids = keys[-1]
    if len(keys) == 1:
        return apply(_lookup, x, ids)
    rows = keys[0].data if isinstance(keys[0], tape.Tensor) else keys[0]
    if ids.ndim != 1 or not isinstance(rows, np.ndarray) or not np.array_equal(rows, np.arange(len(x.data))):
        return None
    ids = broadcast_to(reshape(ids, (-1, *[1] * (x.ndim - 1))), (x.shape[0], 1, *x.shape[2:]))
    return getitem(apply(_take_along, x, ids, axis=1), (slice(None), 0))


def take_along(x: tape.Tensor, ids: tape.Tensor, axis: int) -> tape.Tensor:
    """`take_along_axis` by integers that are computed."""
    shape = np.broadcast_shapes(*[(*s[:axis], 1, *s[axis + 1 :]) for s in (x.shape, ids.shape)])
    own, others = [broadcast_to(t, (*shape[:axis], t.shape[axis], *shape[axis + 1 :])) for t in (x, ids)]
    return apply(_take_along, own, others, axis=axis)


def _plain_key(k: Any) -> Any:
    """A part of a key in terms of NumPy alone, which the tape can keep."""
    if isinstance(k, slice):
        parts = k.start, k.stop, k.step
        try:
            return slice(*[v if v is None else operator.index(v) for v in parts])
        except TypeError as error:
            raise DtypeError(f"{k} has an end that is no integer: write int(...)") from error
    if isinstance(k, int):  # of a class of its own
        return int(k)
    if isinstance(k, tape.Tensor):
        return tape.looked_at(k)
    return np.asarray(k) if isinstance(k, array.array | memoryview) else k


def _key_beside(key: Any, x: tape.Tensor) -> Any:
    """``key`` with its arrays on the device of ``x``. CuPy takes indices out of bounds modulo the size, and
    knows no more than one mask, so on the way to a GPU NumPy looks at them first.
    """
    keys = [to_device(k, "cpu") if is_cupy(k) else k for k in (key if type(key) is tuple else (key,))]
    if is_cupy(x.data):
        keys = [np.asarray(k) if isinstance(k, list | bool | np.generic) else k for k in keys]
        try:
            _ = np.broadcast_to(np.False_, x.shape)[tuple(keys)]
        except EXPLAINED as error:
            raise explained(_gather, (x,), error) from error
        numbers = [
            k.nonzero() if isinstance(k, np.ndarray) and k.dtype == np.bool_ and k.ndim else (k,)
            for k in keys
        ]
        keys = [beside(k, x.data) if hasattr(k, "dtype") else k for several in numbers for k in several]
    return tuple(keys) if type(key) is tuple or len(keys) > 1 else keys[0]


def place(g: ArrayLike, key: Any, into: tuple[int, ...], /) -> tape.Tensor:
    """Zeros of shape ``into`` with ``g`` at ``key``, summed where ``key`` names an element twice: the
    transpose of indexing.
    """
    return apply(_place_op, as_tensor(g), key=key, into=into)


def concat(xs: Iterable[ArrayLike], /, axis: int | None = 0) -> tape.Tensor:
    """Join tensors along an existing axis (None: their elements in one row)."""
    tensors = _several("concat", xs)
    if axis is None:
        tensors, axis = [reshape(x, -1) for x in tensors], 0
    arrays, axis = [x.data for x in tensors], axis_of(axis, tensors[0].data.ndim)
    try:
        out = np.concatenate(arrays, axis)
    except EXPLAINED as error:
        raise explained(_concat, tensors, error) from error
    return record(_concat, tensors, {"axis": axis, "sizes": tuple([a.shape[axis] for a in arrays])}, out)


def stack(xs: Iterable[ArrayLike], /, axis: int = 0) -> tape.Tensor:
    """Join tensors of one shape along a new axis."""
    tensors = _several("stack", xs)
    return apply(_stack, *tensors, axis=axis_of(axis, tensors[0].ndim + 1))


def _several(name: str, xs: Iterable[ArrayLike]) -> list[tape.Tensor]:
    tensors = [x if type(x) is tape.Tensor else as_tensor(x) for x in xs]
    if not tensors:
        raise ShapeError(f"{name}: there is nothing to join: give at least one tensor")
    return tensors


def split(x: ArrayLike, indices_or_sections: Shape, /, axis: int = -1) -> tuple[tape.Tensor, ...]:
    """Take apart along ``axis`` into equal parts (an int) or at the given positions, as views.

    NumPy's ``split`` with the last axis as default: the one along which gates lie.
    """
    x = as_tensor(x)
    axis = axis_of(axis, x.ndim)
    n = x.shape[axis]
    if hasattr(indices_or_sections, "__index__"):
        k = operator.index(indices_or_sections)
        if k < 1 or n % k:
            raise ShapeError(f"split: axis {axis} of {list(x.shape)} cannot be cut into {k} equal parts")
        points = tuple(range(n // k, n, n // k))[: k - 1]
    else:
        points = shape_of(indices_or_sections)
        if list(points) != sorted(points) or (points and not 0 <= points[0] <= points[-1] <= n):
            raise ShapeError(f"split: positions {list(points)} must rise from 0 to at most {n}")
    return apply(_split, x, axis=axis, points=points)


def array_split(x: ArrayLike, indices_or_sections: Shape, /, axis: int = -1) -> tuple[tape.Tensor, ...]:
    """``split`` whose parts need not be equal: of ``n`` elements the first ``n % sections`` parts get one
    more. As there the last axis is the default.
    """
    x = as_tensor(x)
    if not hasattr(indices_or_sections, "__index__"):
        return split(x, indices_or_sections, axis=axis)
    n, k = x.shape[axis_of(axis, x.ndim)], operator.index(indices_or_sections)
    if k < 1:
        raise ShapeError(f"array_split: {k} parts: at least 1 is needed")
    return split(x, [i * (n // k) + min(i, n % k) for i in range(1, k)], axis=axis)


def hsplit(x: ArrayLike, indices_or_sections: Shape, /) -> tuple[tape.Tensor, ...]:
    """``split`` along the second axis, or along the only one."""
    x = as_tensor(x)
    return split(x, indices_or_sections, axis=int(x.ndim > 1))


def vsplit(x: ArrayLike, indices_or_sections: Shape, /) -> tuple[tape.Tensor, ...]:
    """``split`` along the first axis of at least two."""
    x = as_tensor(x)
    if x.ndim < 2:
        raise ShapeError(f"vsplit: {list(x.shape)} has no rows: use split(x, ..., axis=0)")
    return split(x, indices_or_sections, axis=0)


def unstack(x: ArrayLike, /, axis: int = 0) -> tuple[tape.Tensor, ...]:
    """The slices along ``axis``, as views without it."""
    x = as_tensor(x)
    return apply(_unstack, x, axis=axis_of(axis, x.ndim))


def roll(x: ArrayLike, /, shift: Shape, axis: Axis = None) -> tape.Tensor:
    """Elements shifted along ``axis`` (None: as one row), those that leave at one end coming in at the
    other.
    """
    x = as_tensor(x)
    shifts = tuple(np.reshape(indices_of("roll", shift), -1).tolist())  # type: ignore[arg-type]
    if axis is not None:
        axis = tuple(axis_of(a, x.ndim) for a in (axis if isinstance(axis, tuple | list) else (axis,)))
    return apply(_roll, x, shift=shifts, axis=axis)


def pad(x: ArrayLike, /, pad_width: ArrayLike, *, constant_values: ArrayLike = 0) -> tape.Tensor:
    """``x`` with ``pad_width`` elements of ``constant_values`` around it: a number, a pair, or a pair an
    axis.
    """
    x = as_tensor(x)
    try:
        widths = np.broadcast_to(np.asarray(pad_width, int), (x.ndim, 2)).tolist()
    except (ValueError, TypeError) as error:
        needed = f"number, pair, or pair for each of {x.ndim} axes"
        raise ShapeError(f"pad: pad_width {pad_width!r} is no {needed}") from error
    value = to_device(values_of(as_tensor(constant_values), "pad: constant_values", "use concat()"), "cpu")
    return apply(_pad, x, widths=[tuple(w) for w in widths], value=value if value.ndim else value.item())
