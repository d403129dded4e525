"""`Tensor`, with the functions of the op files as its methods under NumPy's names; and how one is made."""

from __future__ import annotations

import functools
import operator
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np

from ..base.devices import beside, device_of, same_device, to_device
from ..base.elsewhere import PYTORCH, Elsewhere
from ..base.errors import ChangedInPlaceError, DtypeError, GradientError, InputError, shown
from . import activations, arrays, linalg, ordered, pointwise, protocols, reductions, shaping, softmaxes, tape
from .pointwise import as_tensor, checked_dtype, operand
from .tape import (
    BORROWED,
    TRACE,
    Array,
    Node,
    Op,
    apply,
    as_array,
    is_recorded,
    looked_at,
    owned,
    state,
    values_of,
)
from .types import ArrayLike, Binary, DType, Shape


def tensor(
    data: ArrayLike, dtype: DType = None, *, requires_grad: bool = False, device: str | None = None
) -> Tensor:
    """A new leaf tensor holding a copy of ``data`` (an array, a number, nested lists, or a tensor).

    Args:
        dtype: NumPy dtype or its name; default: NumPy's choice for ``data``.
        requires_grad: gradients are to flow to it; its dtype must be floating.
        device: ``"cpu"`` or ``"cuda"``; default: where ``data`` is.
    """
    source = values_of(as_tensor(data), "tensor(t)", "write t.copy() to keep it, or tensor(t.detach())")
    dtype = checked_dtype(dtype or source.dtype)
    return new(source.astype(dtype, copy=True), device or device_of(source), requires_grad)


def new(data: Array, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    """A leaf over ``data``, moved to ``device`` if it is not there."""
    t = Tensor(to_device(data.astype(checked_dtype(data.dtype), copy=False), device))
    t.requires_grad = requires_grad
    return t


_accumulating = threading.Lock()  # threads may add to the gradient of one leaf
_detach = Op("detach", lambda x: x, view=True, listed=False)


class Hook:
    """What ``register_hook`` returns. Without a function it is the hook of ``retain_grad``."""

    def __init__(self, node: Node, function: Callable[[Tensor], Any] | None = None) -> None:
        self.node = weakref.ref(node)  # the node holds its hooks
        self.function, self.retains = function or self._retain, function is None
        node.hooks = [*(node.hooks or ()), self]

    def remove(self) -> None:
        """Do not call the function any more."""
        node = self.node()
        if node is not None:
            node.hooks = [h for h in node.hooks if h is not self]

    def _retain(self, g: Tensor) -> None:
        node = cast(Node, self.node())
        node.grad = g if node.grad is None else node.grad + g


def _in_place(function: Any, symbol: str) -> Callable[[Tensor, Any], Tensor]:
    def change(self: Tensor, other: Any) -> Tensor:
        if tape.is_recording() and (self.node is not None or is_recorded(other)):
            raise ChangedInPlaceError(
                f"{symbol} changes a tensor in place, and its gradient would be lost: "
                f"write a = a {symbol[0]} b, or wrap an update of parameters in no_grad()"
            )
        value = other.data if isinstance(other, Tensor) else other
        add = lambda: function(self.data, value, out=self.data, casting="same_kind")  # noqa: E731
        return _changed(self, symbol, add, value)

    return change


def _changed(x: Tensor, name: str, change: Callable[[], Any], value: Any = 0) -> Tensor:
    try:
        change()
    except (ValueError, TypeError) as error:
        if not isinstance(value, int | float | np.generic):
            same_device(name, x.data, value)
        raise InputError(f"{name}: {error}: write a new tensor instead") from error
    return x.mark_changed()


def _number(x: Tensor, kind: type) -> Any:
    mend = "write .item(), or use a function of tinyrnn (tr.exp for math.exp)"
    return kind(values_of(x, f"{kind.__name__}()", mend).item())


def _bitwise(logical: Callable[..., Tensor], bitwise: Callable[..., Any]) -> Callable[..., Tensor]:
    """An operator that is ``logical`` for bools and ``bitwise`` for integers, as in NumPy."""

    def function(*operands: Any) -> Tensor:
        # A Python number promotes weakly.
        arrays = [x.data if isinstance(x, Tensor) else x for x in map(operand, operands)]
        kinds = [np.result_type(a).kind for a in arrays]
        if "f" in kinds:
            raise DtypeError(f"{bitwise.__name__} takes bools or integers: compare floats first, as in x > 0")
        if set(kinds) == {"b"}:
            return logical(*operands)
        same_device(bitwise.__name__, *[a for a in arrays if hasattr(a, "shape")])
        return Tensor(as_array(bitwise(*[looked_at(x) if isinstance(x, Tensor) else x for x in operands])))

    return function


def _comparison(function: Binary, numpys: Callable[[Any, Any], Any]) -> Callable[[Tensor, object], Tensor]:
    """``function``, or NumPy's answer where the other side is nothing a tensor could hold (None, a
    string).
    """

    @functools.wraps(function)
    def compare(self: Tensor, other: Any) -> Tensor:
        try:
            other = operand(other)
        except DtypeError:
            answer = as_array(numpys(to_device(looked_at(self), "cpu"), other))
            return Tensor(beside(answer, self.data))
        return function(self, other)

    return compare


def _reflected(function: Callable[..., Tensor]) -> Callable[[Tensor, Any], Tensor]:
    return lambda self, other: function(other, self)


def _one(sizes: tuple[Any, ...]) -> tuple[Any, ...]:
    """One argument that may be given as several: ``x.reshape(2, 3)``, ``x.reshape((2, 3))``."""
    return sizes if len(sizes) < 2 else (sizes,)


and_, or_ = (_bitwise(pointwise.logical_and, np.bitwise_and), _bitwise(pointwise.logical_or, np.bitwise_or))
xor = _bitwise(pointwise.logical_xor, np.bitwise_xor)


@tape.tensors_are
class Tensor:
    """An array that remembers how it was computed.

    Args:
        data: the array (NumPy or CuPy); it is not copied. Use ``tensor`` to make one from anything else.

    ``data`` is the array, ``node`` its place on the tape (None: no gradient flows to it), ``version`` a cell
    shared by all tensors over the same memory, made when there is a second one: the number, in the order in
    which nodes are made, of the last change in place, or BORROWED. ``origin`` is set for rows of a table
    alone, by `embedding`.
    """

    origin: tuple[Tensor, Any, int]

    __slots__ = ("data", "node", "version", "origin", "__weakref__")

    def __init__(self, data: Array, node: Node | None = None, version: Any = None) -> None:
        self.data = data
        self.node = node
        self.version = version

    # -------------------------------------------------------------- what it is

    @property
    def shape(self) -> tuple[int, ...]:
        """NumPy's ``shape``."""
        try:
            return self.data.shape
        except AttributeError:  # it is looked at here, since making a tensor must cost nothing
            given = f"Tensor(...) was given {shown(self.data)}, which is no array"
            raise InputError(f"{given}: make tensors with tr.tensor(...)") from None

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's ``dtype``."""
        return self.data.dtype

    @property
    def ndim(self) -> int:
        """NumPy's ``ndim``."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """NumPy's ``size``."""
        return self.data.size

    @property
    def nbytes(self) -> int:
        """NumPy's ``nbytes``."""
        return self.data.nbytes

    @property
    def device(self) -> str:
        """``"cpu"`` or ``"cuda"``."""
        return device_of(self.data)

    def item(self) -> Any:
        """The one element as a Python number."""
        return looked_at(self).item()

    def numpy(self) -> np.ndarray[Any, Any]:
        """The values as a NumPy array: the tensor's own memory on the CPU, a copy from a GPU."""
        return to_device(looked_at(self), "cpu")

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        return self.numpy().tolist()

    def __repr__(self) -> str:
        shape = self.shape  # first: it says what is wrong where there is no array
        body = np.array2string(self.numpy(), separator=", ", prefix="tensor(")
        body += f", shape={shape}" if not self.size and shape != (0,) else ""
        notes = "" if self.data.dtype in (np.float64, np.int64, np.bool_) else f", dtype={self.data.dtype}"
        notes += ", device='cuda'" if self.device == "cuda" else ""
        return f"tensor({body}{notes}{', requires_grad=True' if self.requires_grad else ''})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    def __len__(self) -> int:
        if not self.data.ndim:
            raise TypeError("a 0-d tensor has no length: use item()")
        return len(self.data)

    def __bool__(self) -> bool:
        return bool(looked_at(self))

    def __float__(self) -> float:
        return _number(self, float)

    def __int__(self) -> int:
        return _number(self, int)

    def __complex__(self) -> complex:
        return _number(self, complex)

    def __index__(self) -> int:
        return operator.index(self.item())

    # -------------------------------------------------------------- gradients

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to it. It can be set on a leaf."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if not self.is_leaf:
            if value:
                return
            raise GradientError("requires_grad can be taken from leaf tensors only: call detach()")
        if value and self.node is None:
            if self.data.dtype.kind != "f":
                mend = "make it a floating dtype first"
                raise GradientError(f"a tensor of {self.dtype} has no gradient: {mend}")
            if self.version is BORROWED:
                self.data, self.version = self.data.copy(), None
            self.node = Node(None, (), None, self.data)
            # So that a recomputation can ask whether the leaf changed.
            self.node.output = None, self.shared_version()
        elif not value:
            self.node = None

    @property
    def is_leaf(self) -> bool:
        """True when no recorded op made this tensor."""
        return self.node is None or self.node.op is None

    @property
    def grad(self) -> Tensor | None:
        """The accumulated gradient of a leaf, a Tensor of its shape and dtype, or None."""
        return None if self.node is None else self.node.grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if self.node is None:
            raise GradientError("this tensor does not require grad: set requires_grad = True first")
        if value is not None and getattr(value, "shape", None) != self.data.shape:
            raise GradientError(f"grad must be None or a tensor of its own shape {list(self.data.shape)}")
        self.node.grad = value

    def backward(
        self, gradient: ArrayLike | None = None, *, retain_graph: bool = False, create_graph: bool = False
    ) -> None:
        """Add to ``grad`` of every leaf the derivative of this tensor (times ``gradient``, needed unless it
        has one element).

        With ``create_graph`` a leaf's ``grad`` has a past that leads back to the leaf: set it to None when
        done with it, or use ``tr.grad``, which makes no such cycle.

        Raises:
            GradientError: nothing here requires a gradient, or ``gradient`` is missing or of another shape.
            TapeFreedError: backward ran over this tape before, without ``retain_graph``.
            ChangedInPlaceError: a value that a derivative needs was changed in place.
        """
        if self.node is None:
            raise GradientError(
                "backward: no operation that led to this tensor was recorded: set requires_grad on a leaf, "
                "and compute outside of no_grad() (also that of another thread) and without detach()"
            )
        shape = list(self.shape)
        if gradient is None:
            if self.data.size != 1:
                mend = "or reduce it with sum() or mean()"
                raise GradientError(f"backward: a tensor of shape {shape} needs gradient=..., {mend}")
            g = Tensor(np.ones_like(self.data))
        else:
            g = owned(as_tensor(gradient))
            if g.shape != self.shape:
                needed = f"must have this tensor's shape {shape}"
                raise GradientError(f"backward: gradient {list(g.shape)} {needed}")
            same_device("backward: gradient", g.data, self.data)
            g = g if g.dtype == self.dtype else g.astype(self.dtype)
        found = tape.backpropagate([(self.node, g)], create_graph=create_graph, retain_graph=retain_graph)
        with _accumulating:
            for node, g in found.items():
                node.grad = g if node.grad is None else node.grad + g

    def detach(self) -> Tensor:
        """The same values (and memory) with no past: no gradient flows through."""
        if state.recording is TRACE:
            return apply(_detach, self)
        return Tensor(self.data, None, self.shared_version())

    def register_hook(self, hook: Callable[[Tensor], Any]) -> Hook:
        """Call ``hook(gradient)`` whenever backward has the whole gradient of this tensor; a Tensor it
        returns replaces it.

        Returns an object whose ``remove()`` ends that.
        """
        if self.node is None:
            mend = "set requires_grad, or compute it from one that does"
            raise GradientError(f"register_hook: no gradient flows to this tensor: {mend}")
        return Hook(self.node, hook)

    def retain_grad(self) -> None:
        """Keep the gradient of this intermediate tensor in ``grad``, too (leaves do so anyway)."""
        if self.node and not (self.is_leaf or any(h.retains for h in self.node.hooks or ())):
            Hook(self.node)

    # -------------------------------------------------------------- changes in place

    def shared_version(self) -> Any:
        """The version cell, for another tensor over the same memory."""
        if self.version is None:
            self.version = [0]
        return self.version

    def mark_changed(self) -> Tensor:
        """Say that ``data`` was changed in place: derivatives recorded before will refuse to use it. Returns
        the tensor.
        """
        if self.version is not BORROWED:
            self.shared_version()[0] = tape.mark()
        return self

    def assign_(self, value: ArrayLike) -> Tensor:
        """Overwrite the values in place, from any device and outside the tape: for optimisers and state that
        is carried along.
        """
        value = as_tensor(value)
        if value.shape not in (self.shape, ()):
            given = f"{list(value.shape)} does not fit"
            raise InputError(f"assign_: {given} a tensor of shape {list(self.shape)}")
        new = beside(value.data, self.data)
        return _changed(self, "assign_", lambda: np.copyto(self.data, new, casting="unsafe"))

    def __setitem__(self, key: Any, value: Any) -> None:
        raise ChangedInPlaceError(
            "assigning to a part of a tensor would break recorded derivatives: build the result with "
            "where(), concat() or stack(), or change tensor.data and call mark_changed()"
        )

    __iadd__ = _in_place(np.add, "+=")
    __isub__ = _in_place(np.subtract, "-=")
    __imul__ = _in_place(np.multiply, "*=")
    __itruediv__ = _in_place(np.divide, "/=")

    # -------------------------------------------------------------- operators

    __add__, __radd__ = pointwise.add, _reflected(pointwise.add)
    __sub__, __rsub__ = pointwise.subtract, _reflected(pointwise.subtract)
    __mul__, __rmul__ = pointwise.multiply, _reflected(pointwise.multiply)
    __truediv__, __rtruediv__ = pointwise.divide, _reflected(pointwise.divide)
    __mod__, __rmod__ = pointwise.remainder, _reflected(pointwise.remainder)
    __pow__, __rpow__ = pointwise.power, _reflected(pointwise.power)
    __matmul__, __rmatmul__ = linalg.matmul, _reflected(linalg.matmul)
    __and__, __rand__ = and_, _reflected(and_)
    __or__, __ror__ = or_, _reflected(or_)
    __xor__, __rxor__ = xor, _reflected(xor)
    __invert__ = _bitwise(pointwise.logical_not, np.invert)
    __neg__ = pointwise.negative
    __abs__ = pointwise.abs
    __eq__ = _comparison(pointwise.equal, operator.eq)  # type: ignore[assignment]
    __ne__ = _comparison(pointwise.not_equal, operator.ne)  # type: ignore[assignment]
    __lt__ = pointwise.less
    __le__ = pointwise.less_equal
    __gt__ = pointwise.greater
    __ge__ = pointwise.greater_equal
    __hash__ = object.__hash__
    __getitem__ = shaping.getitem

    def __pos__(self) -> Tensor:
        return self

    def __round__(self, digits: int = 0) -> Tensor:
        return pointwise.round(self * 10**digits) / 10**digits

    def __iter__(self) -> Iterator[Tensor]:
        return iter(shaping.unstack(self))

    # -------------------------------------------------------------- functions

    abs = pointwise.abs
    ceil = pointwise.ceil
    clip = pointwise.clip
    cos = pointwise.cos
    elu = activations.elu
    erf = pointwise.erf
    exp = pointwise.exp
    expm1 = pointwise.expm1
    floor = pointwise.floor
    gelu = activations.gelu
    hardsigmoid = activations.hardsigmoid
    isfinite = pointwise.isfinite
    isinf = pointwise.isinf
    isnan = pointwise.isnan
    leaky_relu = activations.leaky_relu
    log = pointwise.log
    log1p = pointwise.log1p
    log_softmax = softmaxes.log_softmax
    maximum = pointwise.maximum
    minimum = pointwise.minimum
    reciprocal = pointwise.reciprocal
    relu = pointwise.relu
    round = pointwise.round
    sigmoid = pointwise.sigmoid
    sign = pointwise.sign
    silu = activations.silu
    sin = pointwise.sin
    softmax = softmaxes.softmax
    softplus = pointwise.softplus
    sqrt = pointwise.sqrt
    square = pointwise.square
    tanh = pointwise.tanh

    all = reductions.all
    any = reductions.any
    argmax = reductions.argmax
    argmin = reductions.argmin
    count_nonzero = reductions.count_nonzero
    cumsum = ordered.cumsum
    logsumexp = softmaxes.logsumexp
    max = reductions.max
    mean = reductions.mean
    min = reductions.min
    norm = arrays.norm
    prod = ordered.prod
    std = arrays.std
    sum = reductions.sum
    var = arrays.var

    astype = shaping.astype
    diag = arrays.diag
    expand_dims = shaping.expand_dims
    flip = shaping.flip
    pad = shaping.pad
    repeat = arrays.repeat
    roll = shaping.roll
    split = shaping.split
    squeeze = shaping.squeeze
    swapaxes = shaping.swapaxes
    take = arrays.take
    take_along_axis = arrays.take_along_axis
    tile = arrays.tile
    to = shaping.to
    tril = arrays.tril
    triu = arrays.triu
    unstack = shaping.unstack

    def reshape(self, *sizes: Any, **shape: Shape) -> Tensor:
        """``reshape``; the shape may be several arguments."""
        if len(sizes) > 1 and not shape:
            return shaping.reshape(self, sizes)
        return shaping.reshape(self, *sizes, **shape)

    def broadcast_to(self, *sizes: Shape, **shape: Shape) -> Tensor:
        """``broadcast_to``; the shape may be several arguments."""
        return shaping.broadcast_to(self, *_one(sizes), **shape)

    def permute_dims(self, *order: Shape, **axes: Any) -> Tensor:
        """``permute_dims``; the axes may be several arguments."""
        return shaping.permute_dims(self, *_one(order), **axes)

    def transpose(self, *order: Shape, **axes: Any) -> Tensor:
        """``transpose``; the axes may be several arguments."""
        return shaping.transpose(self, *_one(order), **axes)

    def where(self, condition: ArrayLike, other: ArrayLike) -> Tensor:
        """This tensor where ``condition``, else ``other``."""
        return pointwise.where(condition, self, other)

    def flatten(self) -> Tensor:
        """The elements in one row."""
        return shaping.reshape(self, (-1,))

    ravel = flatten

    @property
    def T(self) -> Tensor:
        """Axes reversed."""
        return shaping.transpose(self)

    @property
    def mT(self) -> Tensor:
        """The last two axes exchanged."""
        return shaping.matrix_transpose(self)

    # -------------------------------------------------------------- copies, and other libraries

    def copy(self) -> Tensor:
        """The same values in memory of its own; the gradient flows through."""
        return shaping.astype(self, self.dtype)

    def __copy__(self) -> Tensor:
        return Tensor(self.data, self.node, self.shared_version())

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        """A leaf over memory of its own. What is being differentiated has no copy that a gradient would
        reach.
        """
        node, leaf = self.node, self.is_leaf
        if node is not None and (node.params is not None or node in tape.differentiated.get()):
            leaf = False
        mend = "write .copy() to keep it, or .detach()"
        data = looked_at(self) if leaf else values_of(self, "deepcopy", mend)
        memo[id(self)] = made = Tensor(data.copy())
        made.requires_grad = leaf and self.requires_grad
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return new, (self.data, self.device, self.requires_grad)

    def __array__(self, dtype: DType = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        mend = "use the function of tinyrnn (stack() joins tensors), or write .detach()"
        return np.array(to_device(values_of(self, "an array of NumPy", mend), "cpu"), dtype=dtype, copy=copy)

    __array_ufunc__ = protocols.array_ufunc
    __array_function__ = protocols.array_function

    def __dlpack__(self, **options: Any) -> Any:
        return values_of(self, "DLPack", "write .detach()").__dlpack__(**options)

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not isinstance(vars(Tensor).get(name), Elsewhere)]

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.data.__dlpack_device__()


for _name in PYTORCH:
    if _name[0].islower() and not hasattr(Tensor, _name):
        setattr(Tensor, _name, Elsewhere(_name))  # a __getattr__ would slow down every attribute
