"""NumPy's functions on tensors: ``np.exp(t)`` is the op of that name, and so is ``np.sum(t)``.

What stands for a function of NumPy is found by the function itself, never by its name: another library's
ufunc may have the same. Its arguments are those of NumPy's signature, NumPy's defaults included; with one
that has no counterpart here, and for any other function, NumPy computes on the values, unless a gradient
would be lost.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..base.errors import GradientError, InputError
from . import tape
from .pointwise import where
from .tape import is_recorded

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
    np.where: inspect.signature(where),
    np.dot: inspect.signature(lambda a, b, out=None: None),
    np.concat: inspect.signature(
        lambda arrays, /, axis=0, out=None, *, dtype=None, casting="same_kind": None
    ),
}


class _NotTheSame(Exception):
    """An argument, or a value of one, that the function here does not have."""


def install(functions: dict[str, Callable[..., Any]], linalg: dict[str, Callable[..., Any]]) -> None:
    """Make NumPy's functions of the names in ``functions``, and those of ``numpy.linalg`` in ``linalg``, work
    on tensors.
    """
    for name, function in functions.items():
        numpys = getattr(np, name, None)
        if isinstance(numpys, np.ufunc):
            _UFUNCS[numpys] = function
        elif callable(numpys):
            _FUNCTIONS[numpys] = _translated(numpys, function)
    both = ("matmul", "matrix_transpose", "tensordot", "vecdot")
    matrix_norm = functools.partial(linalg["norm"], ord="fro", axis=(-2, -1))
    linalg = linalg | {"vector_norm": functions["norm"], "matrix_norm": matrix_norm}
    for name, function in {**linalg, **{n: functions[n] for n in both}}.items():
        numpys = getattr(np.linalg, name)
        _FUNCTIONS[numpys] = _translated(numpys, function)
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
    values = list(values)
    if any(is_recorded(v) for v in values):
        for v in values if tape.is_tracing() else ():  # the eager loop says what is lost, if anything is
            if isinstance(v, tape.Tensor):
                tape.looked_at(v)
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
