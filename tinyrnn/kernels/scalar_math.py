"""Scalar functions that the rules of pointwise ops are written in, for float32 and float64.

``exp`` and ``tanh`` are branch-free polynomials because the calls to libm that LLVM would make are scalar:
these vectorise. Errors are below 2 (exp) and 5 (tanh) units in the last place. They are compiled without
"reassoc", which would cancel the rounding trick in ``exp``; NaN passes through, overflow gives inf.
"""

import functools
import math
from types import SimpleNamespace
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

# What only compiled code calls: without the entries for Python and C it compiles in less time.
_inner: dict[str, Any] = dict(no_cpython_wrapper=True, no_cfunc_wrapper=True)
scalar = numba.njit(error_model="numpy", fastmath={"contract"}, **_inner)


def _bitcast(source, target, llvm_type):
    @intrinsic
    def bitcast(typing_context, x):
        return target(source), lambda context, builder, signature, args: builder.bitcast(args[0], llvm_type)

    return bitcast


def _polynomial(F, *coefficients):
    """The polynomial with these coefficients, the highest power's first, by Horner's rule."""
    rule = functools.reduce(
        lambda rule, c: f"({rule}) * x + F({c!r})", coefficients[1:], f"F({coefficients[0]!r})"
    )
    return scalar(eval(f"lambda x: {rule}", {"F": F}))


def _exp(F, series, as_int, as_float, shift, ln2, bias, bits, top, bottom):
    """2**n * exp(r), |r| <= ln(2)/2: exp(r) = 1 + r + r * r * series(r). Adding ``shift`` rounds to an
    integer.
    """
    one, two, log2e, shift, inf, zero = F(1), F(2), F(1.4426950408889634), F(shift), F(np.inf), F(0)
    (high, low), top, bottom = map(F, ln2), F(top), F(bottom)  # ln(2) in two parts, so that n * high is exact

    @scalar
    def exp(x):
        shifted = x * log2e + shift
        n = shifted - shift
        r = x - n * high - n * low
        y = series(r) * r * r + r + one
        y = y * as_float((as_int(shifted) + bias) << bits) * two
        y = inf if x > top else y
        return zero if x < bottom else y

    return exp


def _log1p_unit(F, p, q):
    """log(1 + u) for 0 <= u <= 1: the argument is brought to [1/sqrt(2), sqrt(2))."""
    one, half, limit, ln2 = F(1), F(0.5), F(0.41421356237309503), F(0.6931471805599453)

    @scalar
    def log1p_unit(u):
        upper = u > limit
        f = (u - one) * half if upper else u
        y = f + (f * p(f) / q(f) - half) * (f * f)
        return y + ln2 if upper else y

    return log1p_unit


def _float32_functions():
    """exp and log1p_unit by Cephes expf and logf, tanh by the rational minimax approximation of degree 13 / 6
    in Eigen.
    """
    F, polynomial = np.float32, functools.partial(_polynomial, np.float32)
    as_int = _bitcast(types.float32, types.int32, ir.IntType(32))
    as_float = _bitcast(types.int32, types.float32, ir.FloatType())
    series = polynomial(
        1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1
    )
    ln2 = 0.693359375, -2.12194440e-4
    exp = _exp(F, series, as_int, as_float, 12582912, ln2, np.int32(126), np.int32(23), 88.72, -86.6)
    p = polynomial(
        -2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08,
        1.48572235717979e-05,
        6.37261928875436e-04, 4.89352455891786e-03,
    )  # fmt: skip
    q = polynomial(1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)

    @scalar
    def tanh(x):
        x = F(-7.9053111) if x < F(-7.9053111) else x
        x = F(7.9053111) if x > F(7.9053111) else x
        return x * p(x * x) / q(x * x)

    p_log = polynomial(
        7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
        -1.6668057665e-1,
        2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
    )  # fmt: skip
    return exp, tanh, _log1p_unit(F, p_log, polynomial(1.0))


def _float64_functions():
    """exp by the Taylor series to degree 13 (error on |r| <= ln(2)/2 below 1e-17), tanh and log1p_unit by
    Cephes.
    """
    F, polynomial = np.float64, functools.partial(_polynomial, np.float64)
    as_int = _bitcast(types.float64, types.int64, ir.IntType(64))
    as_float = _bitcast(types.int64, types.float64, ir.DoubleType())
    series = polynomial(*[1 / math.factorial(n) for n in range(13, 1, -1)])
    ln2 = 0.6931471803691238, 1.9082149292705877e-10
    exp = _exp(
        F, series, as_int, as_float, 6755399441055744, ln2, np.int64(1022), np.int64(52), 709.78, -707.5
    )
    p = polynomial(-9.64399179425052238628e-1, -9.92877231001918586564e1, -1.61468768441708447952e3)
    q = polynomial(1.0, 1.12811678491632931402e2, 2.23548839060100448583e3, 4.84406305325125486048e3)

    @scalar
    def tanh(x):  # a rational function near 0, where 1 - 2 / (exp(2x) + 1) would cancel
        z = x * x
        return x + x * z * p(z) / q(z) if abs(x) < 0.625 else 1.0 - 2.0 / (exp(2.0 * x) + 1.0)

    p_log = polynomial(
        1.01875663804580931796e-4, 4.97494994976747001425e-1, 4.70579119878881725854,
        1.44989225341610930846e1,
        1.79368678507819816313e1, 7.70838733755885391666,
    )  # fmt: skip
    q_log = polynomial(
        1.0, 1.12873587189167450590e1, 4.52279145837532221105e1, 8.29875266912776603211e1,
        7.11544750618563894466e1,
        2.31251620126765340583e1,
    )  # fmt: skip
    return exp, tanh, _log1p_unit(F, p_log, q_log)


def _rounded(F, function):
    """A function of libm, its result in the precision of its argument."""
    return scalar(lambda x: F(function(x)))


_LIBM = {f: getattr(math, f) for f in ("cos", "erf", "expm1", "log", "log1p", "sin", "sqrt")} | {
    "round": np.rint, "floor": np.floor, "ceil": np.ceil, "log2": np.log2, "log10": np.log10, "tan": np.tan,
    "sinh": np.sinh, "cosh": np.cosh, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
}  # fmt: skip


def _library(F, functions):
    exp, tanh, log1p_unit = functions()
    one, zero = F(1), F(0)
    sigmoid = scalar(lambda x: one / (one + exp(-x)))
    maximum = scalar(lambda a, b: a if (a > b) | (a != a) else b)
    minimum = scalar(lambda a, b: a if (a < b) | (a != a) else b)
    where = scalar(lambda condition, a, b: a if condition else b)
    softplus = scalar(lambda x: maximum(x, zero) + log1p_unit(exp(-abs(x))))
    # Equal infinities have no difference to take.
    logaddexp = scalar(lambda a, b: maximum(a, b) + log1p_unit(exp(zero if a == b else -abs(a - b))))
    sign = scalar(lambda x: one if x > zero else (-one if x < zero else x))
    pow = scalar(lambda a, b: F(a**b))
    mod = scalar(lambda a, b: F(a % b))
    hypot = scalar(lambda a, b: F(np.hypot(a, b)))
    atan2 = scalar(lambda a, b: F(np.arctan2(a, b)))
    made = {k: v for k, v in locals().items() if hasattr(v, "py_func")}
    return SimpleNamespace(**made, **{name: _rounded(F, f) for name, f in _LIBM.items()})


def exp(x):
    """``exp`` of either precision, for kernels that are written once for both."""
    raise TypeError("exp of scalar_math is for compiled kernels only: use np.exp")


float32 = _library(np.float32, _float32_functions)
float64 = _library(np.float64, _float64_functions)


_exp32, _exp64 = float32.exp, float64.exp


@overload(exp)
def _exp_by_type(x):
    return (lambda x: _exp32(x)) if x == types.float32 else (lambda x: _exp64(x))


FUNCTIONS = tuple(sorted(vars(float32)))
