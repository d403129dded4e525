"""NumPy's functions on tensors: ``np.exp(t)`` is the op of that name, and so is ``np.sum(t)``.

What stands for a function of NumPy is found by the function itself, never by its name: another library's
ufunc may have the same. Its arguments are those of NumPy's signature, NumPy's defaults included; with one
that has no counterpart here, and for any other function, NumPy computes on the values, unless a gradient
would be lost.
"""

import inspect

import numpy as np

from ...base.errors import GradientError, InputError
from .. import Tensor, abs, max, min, sum
from ..tape import is_recorded
from .arrays import norm

_UFUNCS, _FUNCTIONS = {}, {}  # of NumPy: what does the same here
_RENAMED = {"a_min": "min", "a_max": "max", "ddof": "correction"}  # NumPy's older names
# What looks at shapes and values only and has no derivative, or writes to a file or as text: nothing is lost
# by it.
_LOOKING = {
    np.shape,
    np.ndim,
    np.size,
    np.result_type,
    np.shares_memory,
    np.may_share_memory,
    np.array_equal,
    np.allclose,
}
_LOOKING |= {
    np.isclose,
    np.array_repr,
    np.array_str,
    np.array2string,
    np.save,
    np.savez,
    np.savez_compressed,
    np.savetxt,
}
_LOOKING |= {
    np.zeros_like,
    np.ones_like,
    np.empty_like,
    np.array_equiv,
    np.iscomplexobj,
    np.isrealobj,
    np.can_cast,
}


class _NotTheSame(Exception):
    """An argument, or a value of one, that the function here does not have."""


def install(functions: dict):
    """Make NumPy's functions of the names in ``functions`` work on tensors."""
    for name, function in functions.items():
        numpys = getattr(np, name, None)
        if isinstance(numpys, np.ufunc):
            _UFUNCS[numpys] = function
        elif callable(numpys):
            _FUNCTIONS[numpys] = _translated(numpys, function)
    linalg = {name: functions[name] for name in ("matmul", "matrix_transpose", "tensordot")}
    _FUNCTIONS.update(
        {getattr(np.linalg, name): _translated(getattr(np.linalg, name), f) for name, f in linalg.items()}
    )
    _FUNCTIONS.update(
        {np.amax: _FUNCTIONS[np.max], np.amin: _FUNCTIONS[np.min], np.einsum: _einsum(functions["einsum"])}
    )
    _FUNCTIONS[np.linalg.norm], _FUNCTIONS[np.linalg.vector_norm] = (
        _norm,
        _translated(np.linalg.vector_norm, norm),
    )
    Tensor.__array_ufunc__, Tensor.__array_function__ = _array_ufunc, _array_function


def _translated(numpys, function):
    """``function`` behind the signature of ``numpys``: the first arguments by position, the others by
    name.
    """
    theirs, ours = inspect.signature(numpys), inspect.signature(function).parameters
    required = [n for n, p in ours.items() if p.default is p.empty]

    def call(*args, **kwargs):
        bound = theirs.bind(*args, **kwargs)
        bound.apply_defaults()
        given = list(bound.arguments.items())
        first, named = [value for _, value in given[: len(required)]], {}
        for name, value in given[len(required) :]:
            extra = (
                value.items()
                if theirs.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
                else [(name, value)]
            )
            for n, v in extra:
                default = theirs.parameters[n].default if n in theirs.parameters else inspect.Parameter.empty
                n = _RENAMED.get(n, n)
                if n in ours and v is not np._NoValue:
                    named[n] = v
                elif v is not default and (type(v) is not type(default) or v != default):
                    raise _NotTheSame
        return function(*first, **named)

    return call


def _einsum(function):
    def call(*operands, **kwargs):
        if not isinstance(operands[0], str) or not kwargs.keys() <= {"optimize"}:
            raise _NotTheSame
        return function(*operands)

    return call


def _norm(x, ord=None, axis=None, keepdims=False):
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


def _array_ufunc(self, ufunc, method, *inputs, **kwargs):
    if method == "__call__" and ufunc in _UFUNCS and not kwargs:
        return _UFUNCS[ufunc](*inputs)
    if any(isinstance(x, Tensor) for x in kwargs.get("out", ())):
        raise InputError(
            f"numpy.{ufunc.__name__}: out= would write into a tensor: assign the result, as in y = np.exp(t)"
        )
    _refuse_gradients(ufunc.__name__, [*inputs, *kwargs.values()])
    return getattr(ufunc, method)(
        *_arrays(inputs), **dict(zip(kwargs, _arrays(kwargs.values()), strict=True))
    )


def _array_function(self, function, types, args, kwargs):
    if function in _FUNCTIONS:
        try:
            return _FUNCTIONS[function](*args, **kwargs)
        except _NotTheSame:
            pass  # computed by NumPy below, where no gradient is lost
    if function not in _LOOKING:
        _refuse_gradients(function.__name__, [*args, *kwargs.values()])
    return function(*_arrays(args), **dict(zip(kwargs, _arrays(kwargs.values()), strict=True)))


def _refuse_gradients(name, values):
    if any(is_recorded(v) for v in values):
        raise GradientError(
            f"numpy.{name} with these arguments has no derivative here: use a function of tinyrnn, or "
            "detach()"
        )


def _arrays(values):
    """``values`` with arrays in place of tensors."""
    return [
        type(x)(_arrays(x)) if type(x) in (list, tuple) else x.numpy() if isinstance(x, Tensor) else x
        for x in values
    ]
