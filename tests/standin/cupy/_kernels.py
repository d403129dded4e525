"""Elementwise kernels, compiled by the C++ compiler of this machine: the same source as on a GPU, one element
after the other.
"""

import ctypes
import hashlib
import itertools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from . import cuda
from ._array import SCALARS, ndarray, wrapped

COMPILER = shutil.which("c++") or shutil.which("g++")

_HEADER = """\
#include <cmath>
#include <cstddef>
#include <cstdint>
using namespace std;
#define __device__
#define __forceinline__ inline
#ifdef _WIN32
#define EXPORT extern "C" __declspec(dllexport)
#else
#define EXPORT extern "C"
#endif
"""
_C = {
    "float32": "float",
    "float64": "double",
    "bool": "bool",
    "int32": "int",
    "int64": "long long",
    "uint32": "unsigned int",
    "uint64": "unsigned long long",
    "uint8": "unsigned char",
    "int8": "signed char",
}
_loaded, made = {}, {}  # libraries; kernels by name


class _Parameter:
    def __init__(self, text):
        *flags, self.type, self.name = text.split()
        if set(flags) - {"raw"}:
            raise Exception(f"Unknown keyword in {text!r}")
        self.raw, self.free = "raw" in flags, len(self.type) == 1
        if self.name in ("i", "n", "_ind"):
            raise ValueError(f"Can not use {self.name!r} as a parameter name")


class ElementwiseKernel:
    """As CuPy's: types of one letter are those of the arguments, the loop goes over what is not ``raw``."""

    def __init__(self, in_params, out_params, operation, name="kernel", preamble="", **more):
        if more:
            raise TypeError(f"ElementwiseKernel with {sorted(more)}")
        self.inputs = [_Parameter(p) for p in in_params.split(",") if p.strip()]
        self.outputs = [_Parameter(p) for p in out_params.split(",")]
        self.nin, self.nout, self.nargs = len(self.inputs), len(self.outputs), None
        self.operation, self.name, self.preamble = operation, name, preamble
        made[name] = self

    def __call__(self, *args, size=None, stream=None, block_size=128):
        if len(args) not in (self.nin, self.nin + self.nout):
            raise TypeError(f"Wrong number of arguments for {self.name!r}: {len(args)}")
        if size is not None:
            raise NotImplementedError("size")
        for x in args:
            if isinstance(x, np.ndarray) or not isinstance(x, ndarray | SCALARS):
                raise TypeError(f"Unsupported type {type(x)}")
        parameters, types = [*self.inputs, *self.outputs], {}
        for p, x in zip(parameters, args, strict=False):
            if isinstance(x, ndarray):
                wanted = types.setdefault(p.type, x.dtype.name) if p.free else p.type
                if wanted != x.dtype.name:
                    raise TypeError(f"Type is mismatched. {p.name} {x.dtype.name} {wanted}")
        if missing := [p.type for p in parameters if p.free and p.type not in types]:
            raise TypeError(f"the type {missing[0]} of {self.name} is not decided: no array has it")
        dtype = lambda p: np.dtype(types[p.type] if p.free else p.type)  # noqa: E731
        looped = [x.shape for p, x in zip(parameters, args, strict=False) if not p.raw and _is(x)]
        if not looped:
            raise ValueError("Loop size is undecided.")
        shape = np.broadcast_shapes(*looped)
        outs = list(args[self.nin :])
        if any(x.shape != shape for x in outs):
            raise ValueError(f"an output of {self.name} is not {shape}")
        outs = outs or [wrapped(np.empty(shape, dtype(p))) for p in self.outputs]
        cuda.Launches.names.append(self.name)
        if not np.prod(shape, dtype=int):
            return outs[0] if self.nout == 1 else tuple(outs)
        held = []
        for p, x in zip(self.inputs, args, strict=False):
            if not _is(x):
                held.append(np.full(1 if p.raw else shape, x, dtype(p)))
            else:
                held.append(np.ascontiguousarray(x._a if p.raw else np.broadcast_to(x._a, shape)))
        results = [np.ascontiguousarray(x._a) for x in outs]
        count = int(np.prod(shape, dtype=int))
        self._function(types)(count, *[a.ctypes.data_as(ctypes.c_void_p) for a in (*held, *results)])
        for x, result in zip(outs, results, strict=True):
            if result is not x._a:
                x._a[...] = result
        return outs[0] if self.nout == 1 else tuple(outs)

    def _function(self, types):
        key = (self, *sorted(types.items()))
        if key not in _loaded:
            library = ctypes.CDLL(compiled(self.source(types)))
            _loaded[key] = library.run
            library.run.argtypes = [ctypes.c_ssize_t, *[ctypes.c_void_p] * (self.nin + self.nout)]
            library.run.restype = None
        return _loaded[key]

    def source(self, types, head=_HEADER, declare="EXPORT void run"):
        """In C++: a function of the number of elements and pointers to all arguments."""
        lines = [head, *[f"typedef {_C[name]} {letter};" for letter, name in types.items()], self.preamble]
        everything = [*self.inputs, *self.outputs]
        c = [p.type if p.free else _C[p.type] for p in everything]
        lines.append(f"{declare}(ptrdiff_t n, {', '.join(f'void *p{k}' for k in range(len(c)))}) {{")
        lines.append("for (ptrdiff_t i = 0; i < n; ++i) {")
        for k, (p, t) in enumerate(zip(everything, c, strict=True)):
            const = "const " * (k < self.nin)
            value = f"*{p.name} = ({const}{t} *)p{k}" if p.raw else f"&{p.name} = (({const}{t} *)p{k})[i]"
            lines.append(f"{const}{t} {value};")
        return "\n".join([*lines, f"{self.operation};", "}}", ""])


def _is(x):
    return isinstance(x, ndarray)


def compiled(source, *flags):
    """The library of a source; kept between runs."""
    folder = Path(os.environ.get("TINYRNN_CACHE", tempfile.gettempdir())) / "standin"
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / hashlib.sha256(source.encode()).hexdigest()[:24]
    library = stem.with_suffix(".so")
    if not library.exists():
        if COMPILER is None:
            raise RuntimeError("the stand-in for CuPy needs a C++ compiler to run kernels")
        unique = f"{os.getpid()}-{next(_number)}"
        text, made = stem.with_suffix(f".{unique}.cpp"), stem.with_suffix(f".{unique}.so")
        text.write_text(source)
        command = [
            COMPILER,
            "-std=c++17",
            "-O1",
            "-ffp-contract=off",
            "-shared",
            "-fPIC",
            *flags,
            "-o",
            made,
            text,
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        text.unlink()
        if done.returncode:
            raise cuda.compiler.CompileException(done.stderr, source)
        made.replace(library)
    return str(library)


_number = itertools.count()


class RawKernel:
    def __init__(self, code, name, *options, **more):
        raise NotImplementedError(f"the stand-in for CuPy runs no RawKernel ({name})")
