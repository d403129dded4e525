"""The array and the ufunc of the stand-in."""

import functools
import inspect

import numpy as np

from . import cuda

SCALARS = int | float | complex | bool | np.generic  # what a kernel takes beside arrays


class Count:
    """How often something was read back from the device: each time, a real GPU would be waited for."""

    reads = 0


def wrapped(x, base=None):
    """``x``, an array or scalar of NumPy, as an array of the device: reductions have no scalars there."""
    if type(x) is tuple:
        return tuple(map(wrapped, x))
    a = ndarray.__new__(ndarray)
    a._a = np.asarray(x)
    a.base = base
    if a._a.dtype.kind not in "fiubc" or a._a.dtype.itemsize > 8 * (1 + (a._a.dtype.kind == "c")):
        raise ValueError(f"Unsupported dtype {a._a.dtype}")
    if base is None:
        cuda.memory.took(a._a.nbytes)
    return a


def given(x):
    """An argument as NumPy may have it.

    Raises:
        TypeError: an array of NumPy, or a list, which CuPy does not move to the device by itself.
    """
    if isinstance(x, ndarray):
        return x._a
    if isinstance(x, np.ndarray) or (isinstance(x, list | tuple) and any(map(_is_array, x))):
        raise TypeError(f"Unsupported type {type(x)}")
    return x


def _is_array(x):
    return isinstance(x, ndarray | np.ndarray)


def asarray(a, dtype=None, order=None, *, blocking=False, copy=None):
    """Anything to the device; this is how CuPy is told to."""
    if isinstance(a, ndarray):
        return a.astype(dtype or a.dtype, copy=bool(copy))
    if isinstance(a, list | tuple) and any(map(_is_array, a)):
        raise NotImplementedError("a list of arrays is stacked explicitly here")
    return wrapped(np.array(a, dtype))


def array(obj, dtype=None, copy=True, order="K", subok=False, ndmin=0, *, blocking=False):
    """A copy on the device."""
    if subok or ndmin:
        raise NotImplementedError("subok, ndmin")
    return asarray(obj, dtype, copy=copy)


class ufunc:
    def __init__(self, numpys):
        self._numpys, self.__name__, self.name = numpys, numpys.__name__, f"cupy_{numpys.__name__}"
        self.nin, self.nout, self.nargs = numpys.nin, numpys.nout, numpys.nargs

    def __repr__(self):
        return f"<ufunc '{self.name}'>"

    def __call__(self, *args, out=None, dtype=None, casting="same_kind", **kwargs):
        if kwargs:
            raise TypeError(f"Wrong arguments {kwargs}")
        if not self.nin <= len(args) <= self.nargs:
            raise TypeError(f"Wrong number of arguments for {self.name!r}")
        args, outs = args[: self.nin], args[self.nin :] or (() if out is None else (out,))
        for x in args:
            if isinstance(x, np.ndarray) or not isinstance(x, ndarray | SCALARS):
                raise TypeError(f"Unsupported type {type(x)}")
        if any(not isinstance(x, ndarray) for x in outs):
            raise TypeError("return arrays must be of ArrayType")
        options = {} if dtype is None else {"dtype": dtype}
        y = self._numpys(*map(given, args), out=tuple(map(given, outs)) or None, casting=casting, **options)
        return outs[0] if outs else wrapped(y)

    def at(self, a, indices, b=None):
        raise AssertionError(f"cupy.{self.__name__}.at is atomic: the order, and the last bit, varies")


def _binary(name, reflected=False):
    function = getattr(np, name)

    def method(self, other):
        if not isinstance(other, ndarray) and getattr(other, "__array_ufunc__", 0) is None:
            return NotImplemented
        return function(other, self) if reflected else function(self, other)

    return method


def _in_place(name):
    def method(self, other):
        import cupy

        return getattr(cupy, name)(self, other, self)

    return method


# Methods along axes, as they are in cupy-cuda13x 14.2.0.
METHODS = """
all(self, axis=None, out=None, keepdims=False)
any(self, axis=None, out=None, keepdims=False)
argmax(self, axis=None, out=None, dtype=None, keepdims=False)
argmin(self, axis=None, out=None, dtype=None, keepdims=False)
argsort(self, axis=-1, kind=None)
clip(self, min=None, max=None, out=None)
cumprod(self, axis=None, dtype=None, out=None)
cumsum(self, axis=None, dtype=None, out=None)
max(self, axis=None, out=None, keepdims=False)
mean(self, axis=None, dtype=None, out=None, keepdims=False)
min(self, axis=None, out=None, keepdims=False)
prod(self, axis=None, dtype=None, out=None, keepdims=False)
repeat(self, repeats, axis=None)
round(self, decimals=0, out=None)
sum(self, axis=None, dtype=None, out=None, keepdims=False)
""".strip().splitlines()


def _method(text):
    """The method with the signature ``text``, computed by NumPy's; ``out`` is not taken."""
    name, _, parameters = text.partition("(")
    scope = {}
    exec(f"def {name}({parameters}: pass", scope)
    signature = inspect.signature(scope[name])

    def method(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)  # a TypeError for an argument that CuPy lacks
        self, options = bound.arguments.pop("self"), {k: given(v) for k, v in bound.arguments.items()}
        if options.pop("out", None) is not None:
            raise NotImplementedError(f"{name} with out")
        if name in ("max", "min", "argmax", "argmin") and not self.size:
            kind = f"zero-size array to reduction operation cupy_{name}"
            raise ValueError(f"{kind} which has no identity")
        if name == "argsort":
            if options.get("kind") not in (None, "stable"):
                raise ValueError("kind can only be None or 'stable'")
            options["kind"] = "stable"
        if name == "clip":  # an array's method takes no None
            return wrapped(np.clip(self._a, options.get("min"), options.get("max")))
        return wrapped(getattr(self._a, name)(**options))

    method.__name__ = name
    return method


class Flags:
    """Of CuPy: read-only, and there is no ``writeable``."""

    __slots__ = "c_contiguous", "f_contiguous", "owndata"

    def __init__(self, a):
        for name in Flags.__slots__:
            object.__setattr__(self, name, bool(getattr(a.flags, name)))

    def __setattr__(self, name, value):
        raise AttributeError(f"attribute {name!r} of flags is not writable")


class ndarray:
    __array_priority__ = 100
    __hash__ = None

    def __init__(self, shape, dtype=float, memptr=None, strides=None, order="C"):
        if memptr is not None or strides is not None:
            raise NotImplementedError("arrays over given memory")
        self._a, self.base = np.full(shape, 77, dtype, order), None
        cuda.memory.took(self._a.nbytes)

    # What it is.
    shape = property(lambda self: self._a.shape)
    dtype = property(lambda self: self._a.dtype)
    ndim = property(lambda self: self._a.ndim)
    size = property(lambda self: self._a.size)
    itemsize = property(lambda self: self._a.itemsize)
    nbytes = property(lambda self: self._a.nbytes)
    strides = property(lambda self: self._a.strides)
    flags = property(lambda self: Flags(self._a))
    device = property(lambda self: cuda.Device(0))
    T = property(lambda self: self._of(self._a.T))

    # The way to the CPU: said, or refused.
    def get(self, stream=None, order="C", out=None, blocking=True):
        Count.reads += 1
        if out is not None:
            out[...] = self._a
            return out
        return np.array(self._a, order=order)

    def set(self, arr, stream=None):
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if arr.dtype != self.dtype or arr.shape != self.shape:
            raise TypeError(f"{arr.dtype} {arr.shape} array cannot be set to {self.dtype} {self.shape} array")
        self._a[...] = arr

    def item(self):
        if self.size != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        return self.get().item()

    def tolist(self):
        return self.get().tolist()

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def __bool__(self):
        return bool(self.get())

    def __int__(self):
        return int(self.get())

    def __float__(self):
        return float(self.get())

    def __complex__(self):
        return complex(self.get())

    def __repr__(self):
        return repr(self.get())

    def __format__(self, spec):
        return format(self.get(), spec)

    def __reduce__(self):
        return asarray, (self.get(),)

    def __len__(self):
        if not self.ndim:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self):
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    # What NumPy's functions do with it.
    def __array_ufunc__(self, numpys, method, *inputs, **kwargs):
        import cupy

        if numpys.signature is not None:  # matmul: it differs between CuPy's versions, and is named here
            return NotImplemented
        if method != "__call__" or not hasattr(cupy, numpys.__name__):
            return NotImplemented
        if "out" in kwargs:
            (kwargs["out"],) = kwargs["out"]
        for x in inputs:
            if not isinstance(x, ndarray | np.ndarray | SCALARS):
                return NotImplemented
        if numpys.__name__ in "greater greater_equal less less_equal equal not_equal".split():
            inputs = [x.item() if isinstance(x, np.ndarray) and not x.ndim else x for x in inputs]
        return getattr(cupy, numpys.__name__)(*inputs, **kwargs)

    def __array_function__(self, function, types, args, kwargs):
        import cupy

        if function is np.clip and isinstance(args[0], np.ndarray):
            raise RecursionError(
                "maximum recursion depth exceeded"
            )  # in CuPy it calls NumPy's, which calls it
        try:
            module = functools.reduce(getattr, function.__module__.split(".")[1:], cupy)
            ours = getattr(module, function.__name__)
        except AttributeError:
            return NotImplemented
        if ours is function or any(t not in (ndarray, np.ndarray) for t in types):
            return NotImplemented
        return ours(*args, **kwargs)

    # Other libraries. The memory is the CPU's, so only something that knows of this test can read it.
    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        if stream == 0 or not (stream is None or isinstance(stream, int)):
            raise ValueError(
                f"On CUDA, the valid stream for the DLPack protocol is -1, 1, 2 ..., not {stream}"
            )
        return self._a.__dlpack__(max_version=max_version)

    def __dlpack_device__(self):
        return 2, 0

    # Copies and shapes.
    def astype(self, dtype, order="K", casting=None, subok=None, copy=True):
        if casting is not None or subok is not None:
            raise TypeError("casting is not supported yet")
        if not copy and np.dtype(dtype) == self.dtype:
            return self
        return wrapped(self._a.astype(dtype, order=order))

    def copy(self, order="C"):
        return wrapped(self._a.copy(order))

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()

    def view(self, dtype=None):
        return wrapped(self._a.view() if dtype is None else self._a.view(dtype), self._root())

    def _root(self):
        return self if self.base is None else self.base

    def _of(self, a):
        """``a``, made of this: a view where NumPy made one, which knows its base."""
        return wrapped(a, self._root() if np.may_share_memory(a, self._a) else None)

    def reshape(self, *shape, order="C", copy=None):
        shape = shape[0] if len(shape) == 1 else shape
        return self._of(self._a.reshape(shape, order=order))

    def transpose(self, *axes):
        axes = axes[0] if len(axes) == 1 else axes or None
        return self._of(self._a.transpose(axes))

    def swapaxes(self, axis1, axis2):
        return self._of(self._a.swapaxes(axis1, axis2))

    def squeeze(self, axis=None):
        return self._of(self._a.squeeze(axis))

    def ravel(self, order="C"):
        return self._of(self._a.ravel(order))

    def flatten(self, order="C"):
        return wrapped(self._a.flatten(order))

    def fill(self, value):
        if isinstance(value, np.ndarray) and value.shape != ():
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        self._a.fill(value.item() if isinstance(value, np.ndarray | ndarray) else value)

    def nonzero(self):
        Count.reads += 1  # how many there are
        return tuple(map(wrapped, self._a.nonzero()))

    # Indexing.
    def take(self, indices, axis=None, out=None):
        at = indices._a if isinstance(indices, ndarray) else np.asarray(indices)
        size = self.size if axis is None else self.shape[axis]
        return wrapped(np.take(self._a, at % size if size else at, axis))  # out of bounds: modulo, as in CuPy

    def __getitem__(self, key):
        key, advanced = self._key(key)
        found = self._a[key]
        return wrapped(found) if advanced else wrapped(found, self._root())

    def __setitem__(self, key, value):
        key, advanced = self._key(key)
        if not advanced:
            if isinstance(value, ndarray):
                self._a[key] = value._a
            elif isinstance(value, np.ndarray) and value.ndim:
                raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
            else:
                self._a[key] = value
            return
        numbers = np.arange(self.size).reshape(self.shape)[key].reshape(-1)
        if numbers.size != np.unique(numbers).size:
            raise AssertionError("an element is set twice: which value stays is undefined in CuPy")
        self._a[key] = value._a if isinstance(value, ndarray) else value

    def _key(self, key):
        """``key`` for NumPy, and whether it is advanced: one mask, or arrays of integers modulo the sizes."""
        keys = list(key) if isinstance(key, tuple) else [key]
        keys = [
            np.asarray(k, None if not isinstance(k, list) or k else np.int32)
            if isinstance(k, list | bool | np.bool_)
            else k._a
            if isinstance(k, ndarray)
            else k
            for k in keys
        ]
        arrays = [k for k in keys if isinstance(k, np.ndarray)]
        if not arrays:
            return tuple(keys), False
        if any(k.dtype.kind not in "iub" for k in arrays):
            raise IndexError("arrays used as indices must be of integer or boolean type.")
        masks = [k for k in arrays if k.dtype == bool]
        if masks and len(arrays) > 1:
            raise ValueError("currently, CuPy only supports slices that consist of one boolean array.")
        if not masks and any(isinstance(k, np.integer) for k in keys):
            raise IndexError("only integers, slices, ellipsis, newaxis and arrays are valid indices")
        if any(k is Ellipsis for k in keys):
            at = next(i for i, k in enumerate(keys) if k is Ellipsis)
            masked = sum(k.ndim - 1 for k in masks)
            taken = masked + sum(k is not None and k is not Ellipsis for k in keys)
            keys[at : at + 1] = [slice(None)] * (self.ndim - taken)
        if not masks:
            axis = 0
            for i, k in enumerate(keys):
                if isinstance(k, np.ndarray) and self.shape[axis]:
                    keys[i] = k % self.shape[axis]
                axis += k is not None
        return tuple(keys), True

    # Operators.
    __neg__ = lambda self: np.negative(self)  # noqa: E731
    __pos__ = lambda self: np.positive(self)  # noqa: E731
    __abs__ = lambda self: np.absolute(self)  # noqa: E731
    __invert__ = lambda self: np.invert(self)  # noqa: E731

    def __matmul__(self, other):
        import cupy

        return cupy.matmul(self, other)


for _text in METHODS:
    setattr(ndarray, _text.partition("(")[0], _method(_text))
for _operator, _name in {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "true_divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "power",
    "lshift": "left_shift",
    "rshift": "right_shift",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
}.items():
    setattr(ndarray, f"__{_operator}__", _binary(_name))
    setattr(ndarray, f"__r{_operator}__", _binary(_name, reflected=True))
    setattr(ndarray, f"__i{_operator}__", _in_place(_name))
for _operator, _name in {
    "eq": "equal",
    "ne": "not_equal",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
}.items():
    setattr(ndarray, f"__{_operator}__", _binary(_name))
