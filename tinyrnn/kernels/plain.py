"""What a generated loop calls, for the Python interpreter: ``TINYRNN_COMPILE=python`` runs loops line by
line.

Same names as in compiled loops, so that the source is the same but for its imports. Slow, and made for
breakpoints and tests.
"""

import math

import numpy as np

from . import references, tiles

__all__ = ["abs", "access", "choose", "jit", "multiply"]
__all__ += "acos acosh asin asinh atan atan2 atanh ceil cos cosh erf exp expm1 floor hypot".split()
__all__ += "log log10 log1p log2 logaddexp maximum minimum mod pow round".split()
__all__ += "sigmoid sign sin sinh softplus sqrt tan tanh where".split()

abs, ceil, cos, exp, expm1, floor = np.abs, np.ceil, np.cos, np.exp, np.expm1, np.floor
log, log1p, logaddexp, pow, round, sign = np.log, np.log1p, np.logaddexp, np.power, np.rint, np.sign
sin, sqrt, tanh, log2, log10 = np.sin, np.sqrt, np.tanh, np.log2, np.log10
tan, sinh, cosh, hypot, mod = np.tan, np.sinh, np.cosh, np.hypot, np.remainder
asin, acos, atan, atan2 = np.arcsin, np.arccos, np.arctan, np.arctan2
asinh, acosh, atanh = np.arcsinh, np.arccosh, np.arctanh


def jit(function):
    return function


def access(scope, scopes):
    return (lambda array, offset: array[offset]), _store


def _store(array, offset, value):
    array[offset] = value


def erf(x):
    return type(x)(math.erf(x))


def maximum(a, b):
    return a if a > b or a != a else b


def minimum(a, b):
    return a if a < b or a != a else b


def sigmoid(x):
    return type(x)(1) / (type(x)(1) + np.exp(-x))


def softplus(x):
    return np.logaddexp(x, type(x)(0))


def where(condition, a, b):
    return a if condition else b


def multiply(precision, a, a0, a_stride, tiled, packed, c, c0, c_stride, m, k, n, accumulate):
    """C[m, n] (+)= A[m, k] @ B, as `gemm.multiply_at`, with operands in a precision."""
    width, at, panels = tiles.panel_width(packed.dtype), 0, []
    depth = -(-k // {None: 1, "bfloat16": 2, "int8": 4}[precision])
    for first in range(0, n, width):
        columns = width if n - first > width // 2 else width // 2
        panel = packed[at : at + depth * columns].reshape(depth, columns)
        if precision == "int8":
            panel = panel.view(np.int8).reshape(depth, columns, 4).transpose(0, 2, 1)
        elif precision:
            pairs = panel.view(np.uint32)
            panel = np.stack([pairs << 16, pairs & 0xFFFF0000], axis=1).view(np.float32)
        panels.append(panel.reshape(-1, columns)[:k])
        at = (first // width + 1) * depth * width
    matrix = np.concatenate(panels, axis=1)[:, :n]
    for r in range(m):
        row, given = (
            c[c0 + r * c_stride : c0 + r * c_stride + n],
            a[a0 + r * a_stride : a0 + r * a_stride + k],
        )
        if precision == "int8":
            integers, scale = references.quantised(given, 0, 63)
            sums, scales = integers.astype(np.int32) @ matrix, packed[packed.size - 2 * n : packed.size - n]
            product = sums.astype(np.float32) * (scale * scales)
        else:
            product = (references.bfloat16(given) if precision else given) @ matrix
        row[...] = row + product if accumulate else product


def choose(logits, banned, temperature, top_k, top_p, u):
    """The choice of a token, as `sampling.choose`."""
    from .sampling import choose as compiled

    return compiled.py_func(logits, banned, temperature, top_k, top_p, u)
