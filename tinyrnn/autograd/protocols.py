"""NumPy's functions on tensors: ``np.exp(t)`` is the op of that name, and so is ``np.sum(t)``.

What stands for a function of NumPy is found by the function itself, never by its name: another library's
ufunc may have the same. Its arguments are those of NumPy's signature, NumPy's defaults included; with one
that has no counterpart here, and for any other function, NumPy computes on the values, unless a gradient
would be lost.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..base.errors import GradientError, InputError
from . import tape
from .arrays import norm
from .pointwise import abs
from .reductions import max, min, sum
from .tape import is_recorded
from .types import Axis

_UFUNCS: dict[Any, Callable[..., Any]] = {}  # of NumPy: what does the same here
_FUNCTIONS: dict[Any, Callable[..., Any]] = {}
_RENAMED = {"a_min": "min", "a_max": "max", "ddof": "correction"}  # NumPy's older names
# What looks at shapes and values only and has no derivative, or writes to a file or as text: nothing is lost
# by it.
_LOOKING = {
    getattr(np, name)
    for name in (
        "shape ndim size result_type shares_memory may_share_memory array_equal array_equiv allclose isclose "
        "array_repr array_str array2string save savez savez_compressed savetxt zeros_like ones_like "
        "empty_like iscomplexobj isrealobj can_cast"
    ).split()
}


# Of functions in C, which tell their signatures from NumPy 2.4 on.
_SIGNATURES: dict[Any, inspect.Signature] = {
    np.where: inspect.signature(lambda condition, x=None, y=None, /: None),
    np.concat: inspect.signature(
        lambda arrays, /, axis=0, out=None, *, dtype=None, casting="same_kind": None
    ),
}


class _NotTheSame(Exception):
    """An argument, or a value of one, that the function here does not have."""


def install(functions: dict[str, Callable[..., Any]]) -> None:
    """Make NumPy's functions of the names in ``functions`` work on tensors."""
    for name, function in functions.items():
        numpys = getattr(np, name, None)
        if isinstance(numpys, np.ufunc):
            _UFUNCS[numpys] = function
        elif callable(numpys):
            _FUNCTIONS[numpys] = _translated(numpys, function)
    for name in ("matmul", "matrix_transpose", "tensordot"):
        numpys = getattr(np.linalg, name)
        _FUNCTIONS[numpys] = _translated(numpys, functions[name])
    _FUNCTIONS[np.linalg.norm] = _norm
    _FUNCTIONS[np.linalg.vector_norm] = _translated(np.linalg.vector_norm, norm)
    _FUNCTIONS[np.einsum] = _einsum(functions["einsum"])
    _FUNCTIONS[np.amax], _FUNCTIONS[np.amin] = _FUNCTIONS[np.max], _FUNCTIONS[np.min]


def _translated(numpys: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` behind the signature of ``numpys``: the first arguments by position, the others by
    name.
    """
    theirs, ours = (
        _SIGNATURES.get(numpys) or inspect.signature(numpys),
        inspect.signature(function).parameters,
    )
    required = [n for n, p in ours.items() if p.default is p.empty]

    def call(*args: Any, **kwargs: Any) -> Any:
        bound = theirs.bind(*args, **kwargs)
        bound.apply_defaults()
        arguments, named = list(bound.arguments.items()), {}
        first = [value for _, value in arguments[: len(required)]]
        rest = dict(arguments[len(required) :])
        for p in theirs.parameters.values():
            if p.kind is p.VAR_KEYWORD:
                rest |= rest.pop(p.name, {})
        for name, value in rest.items():
            default = (
                theirs.parameters[name].default if name in theirs.parameters else inspect.Parameter.empty
            )
            name = _RENAMED.get(name, name)
            if name in ours and value is not np._NoValue:
                named[name] = value
            elif value is not default and (type(value) is not type(default) or value != default):
                raise _NotTheSame
        return function(*first, **named)

    return call


def _einsum(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*operands: Any, **kwargs: Any) -> Any:
        if not isinstance(operands[0], str) or not kwargs.keys() <= {"optimize"}:
            raise _NotTheSame
        return function(*operands)

    return call


def _norm(x: tape.Tensor, ord: Any = None, axis: Axis = None, keepdims: bool = False) -> tape.Tensor:
    """NumPy's norm: of a vector by any ``ord``, of a matrix those that are no function of its singular
    values.
    """
    axes = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    if ord is None or len(axes) == 1:
        return norm(x, axis, 2 if ord is None else ord, keepdims=keepdims)
    if len(axes) != 2 or ord not in ("fro", 1, -1, np.inf, -np.inf):
        raise _NotTheSame
    if ord == "fro":
        return norm(x, axis, 2, keepdims=keepdims)
    rows = [a % x.ndim for a in axes][0 if np.abs(ord) == 1 else 1]  # the axis that is summed over
    most = (max if ord > 0 else min)(sum(abs(x), axis=rows, keepdims=True), axis=axes, keepdims=True)
    return most if keepdims else most.squeeze(axes)


def array_ufunc(self: Any, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """NumPy's ufuncs on tensors."""
    if method == "__call__" and ufunc in _UFUNCS and not kwargs:
        return _UFUNCS[ufunc](*inputs)
    if any(isinstance(x, tape.Tensor) for x in kwargs.get("out", ())):
        mend = "assign the result, as in y = np.exp(t)"
        raise InputError(f"numpy.{ufunc.__name__}: out= would write into a tensor: {mend}")
    _refuse_gradients(ufunc.__name__, [*inputs, *kwargs.values()])
    return getattr(ufunc, method)(*_arrays(inputs), **_named_arrays(kwargs))


def array_function(self: Any, function: Any, types: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """NumPy's other functions on tensors."""
    if function in _FUNCTIONS:
        try:
            return _FUNCTIONS[function](*args, **kwargs)
        except _NotTheSame:
            pass  # computed by NumPy below, where no gradient is lost
    if function not in _LOOKING:
        _refuse_gradients(function.__name__, [*args, *kwargs.values()])
    return function(*_arrays(args), **_named_arrays(kwargs))


def _refuse_gradients(name: str, values: Iterable[Any]) -> None:
    if any(is_recorded(v) for v in values):
        mend = "use a function of tinyrnn, or detach()"
        raise GradientError(f"numpy.{name} with these arguments has no derivative here: {mend}")


def _arrays(values: Iterable[Any]) -> list[Any]:
    """``values`` with arrays in place of tensors."""
    return [
        type(x)(_arrays(x)) if type(x) in (list, tuple) else x.numpy() if isinstance(x, tape.Tensor) else x
        for x in values
    ]


def _named_arrays(values: dict[str, Any]) -> dict[str, Any]:
    return dict(zip(values, _arrays(values.values()), strict=True))
