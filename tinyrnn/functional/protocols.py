"""NumPy's functions on tensors: ``np.exp(t)`` is the op of that name, and so is ``np.sum(t)``."""

import numpy as np

from ..autograd import Tensor
from ..autograd.pointwise import holds_gradient
from ..errors import GradientError

_FUNCTIONS = {}  # NumPy's name: the function here
_ALIASES = {"absolute": "abs", "concatenate": "concat", "amax": "max", "amin": "min"}
# What only looks at shapes and values, and has no derivative to lose.
_LOOKING = set("shape ndim size result_type shares_memory may_share_memory array_equal allclose isclose".split())
_LOOKING |= set("array_repr array_str array2string copyto save savez".split())


def install(functions: dict):
    """Make NumPy's functions of the names in ``functions`` work on tensors."""
    _FUNCTIONS.update(functions)
    _FUNCTIONS.update({alias: functions[name] for alias, name in _ALIASES.items()})
    Tensor.__array_ufunc__, Tensor.__array_function__ = _array_ufunc, _array_function


def _array_ufunc(self, ufunc, method, *inputs, **kwargs):
    if method == "__call__" and ufunc.__name__ in _FUNCTIONS and not kwargs:
        return _FUNCTIONS[ufunc.__name__](*inputs)
    if "out" in kwargs:
        return NotImplemented
    _refuse_gradients(ufunc.__name__, inputs)
    return getattr(ufunc, method)(*_arrays(inputs), **kwargs)


def _array_function(self, function, types, args, kwargs):
    name = function.__name__
    if name in _FUNCTIONS:
        return _FUNCTIONS[name](*args, **{k: v for k, v in kwargs.items() if v is not np._NoValue})
    if name not in _LOOKING:
        _refuse_gradients(name, [*args, *kwargs.values()])
    return function(*_arrays(args), **dict(zip(kwargs, _arrays(kwargs.values()), strict=True)))


def _refuse_gradients(name, values):
    if any(holds_gradient(v) for v in values):
        raise GradientError(f"numpy.{name} has no derivative here: use a function of tinyrnn, or detach() the tensor")


def _arrays(values):
    """``values`` with arrays in place of tensors."""
    return [type(x)(_arrays(x)) if type(x) in (list, tuple) else x.numpy() if isinstance(x, Tensor) else x for x in values]
