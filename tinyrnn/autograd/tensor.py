"""Making tensors, and the methods and operators of `Tensor`: the functions of the op files under NumPy's
method names.
"""

import functools
import operator
import threading
import weakref

import numpy as np

from ..base.devices import device_of, to_device
from ..base.errors import ChangedInPlaceError, DtypeError, GradientError, InputError
from . import linalg, pointwise, reductions, shaping
from .pointwise import as_tensor, checked_dtype, operand
from .tape import (
    TRACE,
    Op,
    Tensor,
    apply,
    backpropagate,
    differentiated,
    is_recorded,
    is_recording,
    looked_at,
    owned,
    state,
    values_of,
)


def tensor(data, dtype=None, *, requires_grad=False, device=None) -> Tensor:
    """A new leaf tensor holding a copy of ``data`` (an array, a number, nested lists, or a tensor).

    Args:
        dtype: NumPy dtype or its name; default: NumPy's choice for ``data``.
        requires_grad: gradients are to flow to it; its dtype must be floating.
        device: ``"cpu"`` or ``"cuda"``; default: where ``data`` is.
    """
    source = values_of(as_tensor(data), "tensor(t)", "write t.copy() to keep it, or tensor(t.detach())")
    dtype = checked_dtype(dtype or source.dtype)
    return new(source.astype(dtype, copy=True), device or device_of(source), requires_grad)


def new(data, device="cpu", requires_grad=False) -> Tensor:
    """A leaf over ``data``, moved to ``device`` if it is not there."""
    t = Tensor(to_device(data.astype(checked_dtype(data.dtype), copy=False), device))
    t.requires_grad = requires_grad
    return t


_accumulating = threading.Lock()  # threads may add to the gradient of one leaf


def backward(self, gradient=None, *, retain_graph=False, create_graph=False):
    """Add to ``grad`` of every leaf the derivative of this tensor (times ``gradient``, needed unless it has
    one element).

    With ``create_graph`` a leaf's ``grad`` has a past that leads back to the leaf: set it to None when done
    with it, or use ``tr.grad``, which makes no such cycle.

    Raises:
        GradientError: nothing here requires a gradient, or ``gradient`` is missing or of another shape.
        TapeFreedError: backward ran over this tape before, without ``retain_graph``.
        ChangedInPlaceError: a value that a derivative needs was changed in place.
    """
    if self.node is None:
        raise GradientError(
            "backward: no operation that led to this tensor was recorded: set requires_grad on a leaf, and "
            "compute outside of "
            "no_grad() (also that of another thread) and without detach()"
        )
    if gradient is None:
        if self.data.size != 1:
            raise GradientError(
                f"backward: a tensor of shape {list(self.shape)} needs gradient=..., or reduce it with sum() "
                "or mean()"
            )
        g = Tensor(np.ones_like(self.data))
    else:
        g = owned(as_tensor(gradient))
        if g.shape != self.shape:
            raise GradientError(
                f"backward: gradient {list(g.shape)} must have this tensor's shape {list(self.shape)}"
            )
        g = g if g.dtype == self.dtype else shaping.astype(g, self.dtype)
    found = backpropagate([(self.node, g)], create_graph=create_graph, retain_graph=retain_graph)
    with _accumulating:
        for node, g in found.items():
            node.grad = g if node.grad is None else node.grad + g


def detach(self) -> Tensor:
    """The same values (and memory) with no past: no gradient flows through."""
    if state.recording is TRACE:
        return apply(_detach, self)
    return Tensor(self.data, None, self.shared_version())


_detach = Op("detach", lambda x: x, view=True, listed=False)


class _Hook:
    """What ``register_hook`` returns. Without a function it is the hook of ``retain_grad``."""

    def __init__(self, node, function=None):
        self.node = weakref.ref(node)  # the node holds its hooks
        self.function, self.retains = function or self._retain, function is None
        node.hooks = [*(node.hooks or ()), self]

    def remove(self):
        """Do not call the function any more."""
        node = self.node()
        if node is not None:
            node.hooks = [h for h in node.hooks if h is not self]

    def _retain(self, g):
        node = self.node()
        node.grad = g if node.grad is None else node.grad + g


def register_hook(self, hook):
    """Call ``hook(gradient)`` whenever backward has the whole gradient of this tensor; a Tensor it returns
    replaces it.

    Returns an object whose ``remove()`` ends that.
    """
    if self.node is None:
        raise GradientError(
            "register_hook: no gradient flows to this tensor: set requires_grad, or compute it from one that "
            "does"
        )
    return _Hook(self.node, hook)


def retain_grad(self):
    """Keep the gradient of this intermediate tensor in ``grad``, too (leaves do so anyway)."""
    if not (self.is_leaf or any(h.retains for h in self.node.hooks or ())):
        _Hook(self.node)


def assign_(self, value):
    """Overwrite the values in place, outside the tape: for optimisers and state that is carried along."""
    value = as_tensor(value)
    if value.shape not in (self.shape, ()):
        raise InputError(f"assign_: {list(value.shape)} does not fit a tensor of shape {list(self.shape)}")
    return _changed(self, "assign_", lambda: np.copyto(self.data, value.data, casting="unsafe"))


def _changed(self, name, change):
    try:
        change()
    except (ValueError, TypeError) as error:
        raise InputError(f"{name}: {error}: write a new tensor instead") from error
    return self.mark_changed()


def _in_place(function, symbol):
    def change(self, other):
        if is_recording() and (self.node is not None or is_recorded(other)):
            raise ChangedInPlaceError(
                f"{symbol} changes a tensor in place, and its gradient would be lost: write a = a "
                f"{symbol[0]} b, "
                "or wrap an update of parameters in no_grad()"
            )
        value = other.data if isinstance(other, Tensor) else other
        return _changed(self, symbol, lambda: function(self.data, value, out=self.data, casting="same_kind"))

    return change


def _setitem(self, key, value):
    raise ChangedInPlaceError(
        "assigning to a part of a tensor would break recorded derivatives: build the result with where(), "
        "concat() or "
        "stack(), or change tensor.data and call mark_changed()"
    )


def item(self):
    """The one element as a Python number."""
    return looked_at(self).item()


def numpy(self):
    """The values as a NumPy array: the tensor's own memory on the CPU, a copy from a GPU."""
    return to_device(looked_at(self), "cpu")


def _array(self, dtype=None, copy=None):
    data = values_of(
        self, "an array of NumPy", "use the function of tinyrnn (stack() joins tensors), or write .detach()"
    )
    return np.array(to_device(data, "cpu"), dtype=dtype, copy=copy)


def _dlpack(self, **options):
    return values_of(self, "DLPack", "write .detach()").__dlpack__(**options)


def _number(kind):
    def convert(self):
        data = values_of(
            self, f"{kind.__name__}()", "write .item(), or use a function of tinyrnn (tr.exp for math.exp)"
        )
        return kind(data.item())

    return convert


def _deepcopy(self, memo):
    """A leaf over memory of its own. What is being differentiated has no copy that a gradient would reach."""
    leaf = self.is_leaf and not (
        self.requires_grad and (self.node.params is not None or self.node in differentiated.get())
    )
    data = looked_at(self) if leaf else values_of(self, "deepcopy", "write .copy() to keep it, or .detach()")
    memo[id(self)] = made = Tensor(data.copy())
    made.requires_grad = leaf and self.requires_grad
    return made


def _repr(self):
    body = np.array2string(self.numpy(), separator=", ", prefix="tensor(")
    body += f", shape={self.shape}" if not self.size and self.shape != (0,) else ""
    notes = "" if self.data.dtype in (np.float64, np.int64, np.bool_) else f", dtype={self.data.dtype}"
    notes += ", device='cuda'" if self.device == "cuda" else ""
    return f"tensor({body}{notes}{', requires_grad=True' if self.requires_grad else ''})"


def _len(self):
    if not self.data.ndim:
        raise TypeError("a 0-d tensor has no length: use item()")
    return len(self.data)


def _spread(function, name):
    """``function`` as a method whose one argument may be given as several: ``x.reshape(2, 3)``,
    ``x.reshape((2, 3))``.
    """

    def method(self, *sizes, **keyword):
        if keyword or not sizes:
            return function(self, *sizes, **keyword)
        return function(self, sizes[0] if len(sizes) == 1 else sizes)

    method.__name__, method.__doc__ = (
        function.__name__,
        f"{function.__doc__} ``{name}`` may be several arguments.",
    )
    return method


def _bitwise(logical, bitwise):
    """An operator that is ``logical`` for bools and ``bitwise`` for integers, as in NumPy."""

    def function(*operands):
        arrays = [
            x.data if isinstance(x, Tensor) else x for x in map(operand, operands)
        ]  # a Python number promotes weakly
        kinds = [np.asarray(a).dtype.kind for a in arrays]
        if "f" in kinds:
            raise DtypeError(f"{bitwise.__name__} takes bools or integers: compare floats first, as in x > 0")
        return logical(*operands) if set(kinds) == {"b"} else Tensor(np.asarray(bitwise(*arrays)))

    return function


def _comparison(function, numpys):
    """``function``, or NumPy's answer where the other side is nothing a tensor could hold (None, a
    string).
    """

    @functools.wraps(function)
    def compare(self, other):
        try:
            other = operand(other)
        except DtypeError:
            return Tensor(np.asarray(numpys(looked_at(self), other)))
        return function(self, other)

    return compare


def _reflected(function):
    return lambda self, other: function(other, self)


for _name in ("shape", "dtype", "ndim", "size", "nbytes"):
    setattr(Tensor, _name, property(operator.attrgetter(f"data.{_name}"), doc=f"NumPy's ``{_name}``."))
Tensor.device = property(lambda self: device_of(self.data), doc="``'cpu'`` or ``'cuda'``.")
Tensor.T = property(lambda self: shaping.permute_dims(self, range(self.ndim)[::-1]), doc="Axes reversed.")
Tensor.mT = property(shaping.matrix_transpose, doc="The last two axes exchanged.")

for _function in (
    backward,
    detach,
    register_hook,
    retain_grad,
    assign_,
    item,
    numpy,
    shaping.astype,
    shaping.to,
):
    setattr(Tensor, _function.__name__, _function)
_METHODS = {
    pointwise: "abs ceil clip cos erf exp expm1 floor isfinite isinf isnan log log1p maximum minimum reciprocal relu round "
    "sigmoid sign sin softplus sqrt square tanh",
    reductions: " ".join(reductions.__all__),
    shaping: "expand_dims flip pad roll split squeeze swapaxes unstack",
}
for _module, _names in _METHODS.items():
    for _name in _names.split():
        setattr(Tensor, _name, getattr(_module, _name))
Tensor.where = lambda self, condition, other: pointwise.where(condition, self, other)
Tensor.reshape = _spread(shaping.reshape, "shape")
Tensor.broadcast_to = _spread(shaping.broadcast_to, "shape")
Tensor.permute_dims = _spread(shaping.permute_dims, "axes")
Tensor.transpose = _spread(shaping.transpose, "axes")
Tensor.flatten = Tensor.ravel = lambda self: shaping.reshape(self, -1)
Tensor.tolist = lambda self: self.numpy().tolist()
Tensor.copy = lambda self: shaping.astype(self, self.dtype)

for _name, _function in {
    "add": pointwise.add,
    "sub": pointwise.subtract,
    "mul": pointwise.multiply,
    "truediv": pointwise.divide,
    "pow": pointwise.power,
    "matmul": linalg.matmul,
    "and": _bitwise(pointwise.logical_and, np.bitwise_and),
    "or": _bitwise(pointwise.logical_or, np.bitwise_or),
    "xor": _bitwise(pointwise.logical_xor, np.bitwise_xor),
}.items():
    setattr(Tensor, f"__{_name}__", _function)
    setattr(Tensor, f"__r{_name}__", _reflected(_function))
for _name, _function, _symbol in (
    ("add", np.add, "+="),
    ("sub", np.subtract, "-="),
    ("mul", np.multiply, "*="),
):
    setattr(Tensor, f"__i{_name}__", _in_place(_function, _symbol))
Tensor.__itruediv__ = _in_place(np.divide, "/=")
Tensor.__eq__ = _comparison(pointwise.equal, operator.eq)
Tensor.__ne__ = _comparison(pointwise.not_equal, operator.ne)
Tensor.__lt__, Tensor.__le__ = pointwise.less, pointwise.less_equal
Tensor.__gt__, Tensor.__ge__ = pointwise.greater, pointwise.greater_equal
Tensor.__hash__ = object.__hash__
Tensor.__neg__ = pointwise.negative
Tensor.__abs__ = pointwise.abs
Tensor.__invert__ = _bitwise(pointwise.logical_not, np.invert)
Tensor.__getitem__ = shaping.getitem
Tensor.__iter__ = lambda self: iter(shaping.unstack(self))
Tensor.__setitem__ = _setitem
Tensor.__repr__, Tensor.__len__ = _repr, _len
Tensor.__bool__ = lambda self: bool(looked_at(self))
Tensor.__format__ = lambda self, spec: format(self.item(), spec) if spec else repr(self)
Tensor.__pos__ = lambda self: self
Tensor.__float__, Tensor.__int__, Tensor.__complex__ = map(_number, (float, int, complex))
Tensor.__index__ = lambda self: operator.index(self.item())
Tensor.__round__ = lambda self, digits=0: pointwise.round(self * 10**digits) / 10**digits
Tensor.__array__, Tensor.__dlpack__, Tensor.__deepcopy__ = _array, _dlpack, _deepcopy
Tensor.__dlpack_device__ = lambda self: self.data.__dlpack_device__()
Tensor.__reduce__ = lambda self: (new, (self.data, self.device, self.requires_grad))
Tensor.__copy__ = lambda self: Tensor(self.data, self.node, self.shared_version())
