"""From the scalar rule of a pointwise op to one compiled loop over its operands."""

import functools
import re

import numpy as np

from ..base.devices import array_module, is_cupy, same_device
from . import jit, scalar_math

_NUMBER = re.compile(r"(?<![\w.])(\d+\.?\d*(?:e-?\d+)?)")

NUMPY_PRELUDE = """\
import numpy as np
from tinyrnn.kernels import scalar_math
from tinyrnn.kernels.jit import jit

F = np.{dtype}
""" + "".join(f"{f} = scalar_math.{{dtype}}.{f}\n" for f in scalar_math.FUNCTIONS)

_SOURCE = """\
{prelude}
@jit
def loop({arguments}, out):
    for i in range(out.size):
{loads}
        out[i] = {rule}
"""

CUDA_PRELUDE = """\
#define round rint
template<typename T> __device__ T sigmoid(T x) { return T(1) / (T(1) + exp(-x)); }
template<typename T> __device__ T maximum(T a, T b) { return (a > b || a != a) ? a : b; }
template<typename T> __device__ T minimum(T a, T b) { return (a < b || a != a) ? a : b; }
template<typename T> __device__ T sign(T x) { return x > T(0) ? T(1) : x < T(0) ? T(-1) : x; }
template<typename T> __device__ T where(bool c, T a, T b) { return c ? a : b; }
template<typename T> __device__ T softplus(T x) { return maximum(x, T(0)) + log1p(exp(-fabs(x))); }
template<typename T> __device__ T mod(T a, T b) {
    T r = fmod(a, b);
    return r != T(0) && (r < T(0)) != (b < T(0)) ? r + b : r;
}
template<typename T> __device__ T logaddexp(T a, T b) {
    return a != b ? maximum(a, b) + log1p(exp(-fabs(a - b))) : a + T(0.6931471805599453);
}
"""


def typed(rule: str, literal) -> str:
    """``rule`` with every number written by ``literal``: a bare ``1`` would make a float32 loop a float64
    one.
    """
    return _NUMBER.sub(lambda match: literal(match[1]), rule)


@functools.cache
def _kernel(name: str, arguments: tuple, scalars: tuple, rule: str, dtype: str):
    loads = [f"        {a}_ = {a}" + ("" if s else "[i]") for a, s in zip(arguments, scalars, strict=True)]
    source = _SOURCE.format(
        prelude=NUMPY_PRELUDE.format(dtype=dtype),
        arguments=", ".join(arguments),
        loads="\n".join(loads),
        rule=re.sub(r"\b(" + "|".join(arguments) + r")\b", r"\1_", typed(rule, "F({})".format)),
    )
    return jit.load_source(name, source).loop


def cuda_rule(rule: str) -> str:
    """``rule`` as a CUDA C++ expression over operands of type ``T``."""
    return typed(rule, "T({})".format)


@functools.cache
def _cuda_kernel(cupy, name: str, arguments: tuple, rule: str):
    inputs = ", ".join(f"T {a}" for a in arguments)
    return cupy.ElementwiseKernel(
        inputs, "T out", f"out = {cuda_rule(rule)}", f"tinyrnn_{name}", preamble=CUDA_PRELUDE
    )


def run(name: str, arguments: tuple, rule: str, *operands):
    """Evaluate ``rule`` over broadcast ``operands``; the result has their common floating dtype.

    float32 and float64 are computed as they are, float16 through float32, integers through NumPy's rule for
    true division.
    """
    on_gpu = any(map(is_cupy, operands))
    if on_gpu:
        same_device(name, *[x for x in operands if hasattr(x, "shape")])
    dtype = np.result_type(*operands)
    if dtype.kind != "f":
        dtype = (
            np.result_type(dtype, np.float16)
            if dtype.itemsize < 4 and dtype.kind != "b"
            else np.dtype(np.float64)
        )
    work = dtype if dtype.itemsize > 2 else np.dtype(np.float32)
    if on_gpu:
        cupy = array_module(next(filter(is_cupy, operands)))
        operands = [x.astype(work, copy=False) if is_cupy(x) else work.type(x) for x in operands]
        return _cuda_kernel(cupy, name, arguments, rule)(*operands).astype(dtype, copy=False)
    shapes = [getattr(x, "shape", ()) for x in operands]
    shape = shapes[0] if shapes.count(shapes[0]) == len(shapes) else np.broadcast_shapes(*shapes)
    scalars = tuple([shape != () and s == () for s in shapes])
    operands = [
        work.type(x) if s else _laid_out(x, shape, work) for x, s in zip(operands, scalars, strict=True)
    ]
    out = np.empty(shape, work)
    _kernel(name, arguments, scalars, rule, work.name)(*operands, out.reshape(-1))
    return out if work is dtype else out.astype(dtype, copy=False)


def _laid_out(x, shape, dtype):
    """``x`` broadcast to ``shape``, in one row of contiguous memory; conditions stay bools."""
    if (
        type(x) is not np.ndarray
        or x.shape != shape
        or not x.flags.c_contiguous
        or (x.dtype != dtype and x.dtype.kind != "b")
    ):
        x = np.asarray(x)
        x = np.ascontiguousarray(np.broadcast_to(x, shape), x.dtype if x.dtype.kind == "b" else dtype)
    return x.reshape(-1)
