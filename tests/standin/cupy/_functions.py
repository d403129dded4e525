"""Functions that CuPy has, with the arguments that it takes, computed by NumPy."""

import inspect

import numpy as np

from ._array import given, ndarray, wrapped

UFUNCS = (
    "absolute add arccos arccosh arcsin arcsinh arctan arctan2 arctanh bitwise_and bitwise_or "
    "bitwise_xor ceil copysign cos cosh divide equal exp exp2 expm1 floor floor_divide fmax fmin "
    "greater greater_equal hypot invert isfinite isinf isnan left_shift less less_equal log log10 "
    "log1p log2 logaddexp logical_and logical_not logical_or logical_xor maximum minimum multiply "
    "negative not_equal positive power reciprocal remainder right_shift rint sign signbit sin sinh "
    "sqrt square subtract tan tanh true_divide trunc "
).split()

# As they are in cupy-cuda13x 14.2.0.
FUNCTIONS = """
all(a, axis=None, out=None, keepdims=False)
allclose(a, b, rtol=1e-05, atol=1e-08, equal_nan=False)
any(a, axis=None, out=None, keepdims=False)
arange(start, stop=None, step=1, dtype=None)
argmax(a, axis=None, dtype=None, out=None, keepdims=False)
argmin(a, axis=None, dtype=None, out=None, keepdims=False)
argsort(a, axis=-1, kind=None)
ascontiguousarray(a, dtype=None)
broadcast_to(array, shape)
clip(a, a_min, a_max, out=None)
concatenate(tup, axis=0, out=None, *, dtype=None, casting='same_kind')
copyto(dst, src, casting='same_kind', where=None)
count_nonzero(a, axis=None)
cumprod(a, axis=None, dtype=None, out=None)
cumsum(a, axis=None, dtype=None, out=None)
einsum(*operands, **kwargs)
empty(shape, dtype=float, order='C')
empty_like(prototype, dtype=None, order='K', subok=None, shape=None)
expand_dims(a, axis)
eye(N, M=None, k=0, dtype=float, order='C')
flip(a, axis=None)
full(shape, fill_value, dtype=None, order='C')
full_like(a, fill_value, dtype=None, order='K', subok=None, shape=None)
matmul(*args, **kwargs)
max(a, axis=None, out=None, keepdims=False)
mean(a, axis=None, dtype=None, out=None, keepdims=False)
min(a, axis=None, out=None, keepdims=False)
moveaxis(a, source, destination)
nonzero(a)
ones(shape, dtype=float, order='C')
ones_like(a, dtype=None, order='K', subok=None, shape=None)
pad(array, pad_width, mode='constant', **kwargs)
prod(a, axis=None, dtype=None, out=None, keepdims=False)
repeat(a, repeats, axis=None)
reshape(a, newshape, order='C', *, copy=None)
resize(a, new_shape)
array_equal(a1, a2, equal_nan=False)
roll(a, shift, axis=None)
round(a, decimals=0, out=None)
searchsorted(a, v, side='left', sorter=None)
sort(a, axis=-1, kind=None)
split(ary, indices_or_sections, axis=0)
squeeze(a, axis=None)
stack(tup, axis=0, out=None, *, dtype=None, casting='same_kind')
sum(a, axis=None, dtype=None, out=None, keepdims=False)
take(a, indices, axis=None, out=None)
tensordot(a, b, axes=2)
transpose(a, axes=None)
tril(m, k=0)
triu(m, k=0)
where(condition, x=None, y=None)
zeros(shape, dtype=float, order='C')
zeros_like(a, dtype=None, order='K', subok=None, shape=None)
""".strip().splitlines()

# Where CuPy calls the method of its first argument.
_METHODS = "all any argmax argmin clip cumprod cumsum max mean min prod repeat round squeeze sum take".split()
_METHODS += "transpose reshape argsort".split()
_RENAMED = {"reshape": {"newshape": "shape"}, "clip": {"a_min": "min", "a_max": "max"}}


def function(text):
    """The function with the signature ``text``."""
    name, _, parameters = text.partition("(")
    scope = {"__name__": "cupy"}
    exec(f"def {name}({parameters}: pass", {"float": float}, scope)
    signature = inspect.signature(scope[name])

    def call(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)  # a TypeError for an argument that CuPy lacks
        values = [*bound.args], bound.kwargs
        return (globals().get(f"_{name}") or _by_numpy(name))(*values[0], **values[1])

    call.__name__ = call.__qualname__ = name
    call.__module__ = "cupy"
    call.__signature__ = signature
    return call


def _by_numpy(name):
    def call(*args, **kwargs):
        if name in _METHODS:
            first = args[0]
            if not isinstance(first, ndarray):
                raise TypeError(f"cupy.{name} takes a cupy.ndarray, not {type(first)}")
            kwargs = {_RENAMED.get(name, {}).get(k, k): v for k, v in kwargs.items()}
            return getattr(first, name)(*args[1:], **kwargs)
        y = getattr(np, name)(*map(given, args), **{k: given(v) for k, v in kwargs.items()})
        return args[0]._of(y) if isinstance(args[0], ndarray) else wrapped(y)

    return call


def _arrays(name, several):
    several = list(several)
    if not all(isinstance(x, ndarray) for x in several):
        raise TypeError(f"Only cupy arrays can be {name}")
    return [given(x) for x in several]


def _concatenate(tup, axis=0, **options):
    return wrapped(np.concatenate(_arrays("concatenated", tup), axis=axis, **options))


def _stack(tup, axis=0, **options):
    return wrapped(np.stack(_arrays("stacked", tup), axis=axis, **options))


def _split(ary, indices_or_sections, axis=0):
    return [ary._of(x) for x in np.split(given(ary), indices_or_sections, axis)]


def _nonzero(a):
    return tuple(wrapped(x) for x in np.nonzero(given(a)))


def _where(condition, x=None, y=None):
    if x is None or y is None:
        raise NotImplementedError("where of a condition alone waits for the GPU: use nonzero()")
    condition = condition.astype("?", copy=False)  # an AttributeError for a number, as in CuPy
    return wrapped(np.where(given(condition), given(x), given(y)))


def _copyto(dst, src, casting="same_kind", where=None):
    if isinstance(src, np.ndarray) and src.size != 1:
        raise ValueError("non-scalar numpy.ndarray cannot be used for copyto")
    if where is not None:
        raise NotImplementedError("copyto with a mask")
    np.copyto(given(dst), src if isinstance(src, np.ndarray) else given(src), casting=casting)


def _einsum(*operands, **kwargs):
    if not kwargs.keys() <= {"dtype", "optimize"}:
        raise TypeError(f"einsum() got unexpected keyword arguments {sorted(kwargs)}")
    operands = [operands[0], *[x if isinstance(x, np.ndarray) else given(x) for x in operands[1:]]]
    return wrapped(np.einsum(*operands, **kwargs))


def _matmul(*args, **kwargs):
    if kwargs or len(args) != 2:
        raise NotImplementedError("matmul with more than two arrays")
    return wrapped(np.matmul(*_arrays("multiplied", args)))


def _pad(array, pad_width, mode="constant", **kwargs):
    if mode != "constant" or any(isinstance(v, ndarray) for v in kwargs.values()):
        raise NotImplementedError(f"pad with mode {mode}, or with a device array as value")
    return wrapped(np.pad(given(array), pad_width, **kwargs))


def _roll(a, shift, axis=None):
    if isinstance(shift, ndarray):
        raise NotImplementedError("roll by a shift on the device")
    return wrapped(np.roll(given(a), shift, axis))


def _made(name):
    def call(*args, **kwargs):
        if any(isinstance(v, np.ndarray) for v in (*args, *kwargs.values())):
            raise TypeError(f"cupy.{name}: a numpy.ndarray is no argument of it")
        args = [v.item() if isinstance(v, ndarray) else v for v in args]
        kwargs = {k: v.item() if isinstance(v, ndarray) else v for k, v in kwargs.items()}
        if kwargs.get("dtype") is object:
            raise ValueError("Unsupported dtype object")
        return wrapped(getattr(np, name)(*args, **kwargs))

    return call


_arange, _eye, _full, _ones, _zeros = map(_made, "arange eye full ones zeros".split())


def _empty(*args, **kwargs):
    made = _made("empty")(*args, **kwargs)
    made._a.fill(np.nan if made.dtype.kind == "f" else 77)  # anything
    return made


def _empty_like(prototype, dtype=None, **options):
    return wrapped(np.full_like(given(prototype), 77, dtype, **options))  # anything


def _searchsorted(a, v, side="left", sorter=None):
    if not isinstance(a, ndarray) or not isinstance(v, ndarray) or sorter is not None:
        raise NotImplementedError("searchsorted takes device arrays here")
    return wrapped(np.searchsorted(given(a), given(v), side))
