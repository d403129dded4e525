"""Scalar functions that the rules of pointwise ops are written in, for float32 and float64.

``exp`` and ``tanh`` are branch-free polynomials because the calls to libm that LLVM would make are scalar: these
vectorise. Errors are below 2 (exp) and 5 (tanh) units in the last place. They are compiled without "reassoc",
which would cancel the rounding trick in ``exp``; NaN passes through, overflow gives inf.
"""

import math
from types import SimpleNamespace

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

scalar = numba.njit(error_model="numpy", fastmath={"contract"})


def _bitcast(source, target, llvm_type):
    @intrinsic
    def bitcast(typing_context, x):
        return target(source), lambda context, builder, signature, args: builder.bitcast(args[0], llvm_type)

    return bitcast


_int_of_f32 = _bitcast(types.float32, types.int32, ir.IntType(32))
_f32_of_int = _bitcast(types.int32, types.float32, ir.FloatType())
_int_of_f64 = _bitcast(types.float64, types.int64, ir.IntType(64))
_f64_of_int = _bitcast(types.int64, types.float64, ir.DoubleType())


def _float32_functions():
    F = np.float32

    @scalar
    def exp(x):
        """2**n * exp(r), |r| <= ln(2)/2, polynomial from Cephes expf. Adding 1.5 * 2**23 rounds to an integer."""
        shifted = x * F(1.44269504) + F(12582912)
        n = shifted - F(12582912)
        r = x - n * F(0.693359375) - n * F(-2.12194440e-4)
        p = F(1.9875691500e-4)
        p = p * r + F(1.3981999507e-3)
        p = p * r + F(8.3334519073e-3)
        p = p * r + F(4.1665795894e-2)
        p = p * r + F(1.6666665459e-1)
        p = p * r + F(5.0000001201e-1)
        y = p * r * r + r + F(1)
        y = y * _f32_of_int((_int_of_f32(shifted) + np.int32(126)) << np.int32(23)) * F(2)
        y = F(np.inf) if x > F(88.72) else y
        return F(0) if x < F(-86.6) else y

    @scalar
    def tanh(x):
        """Rational minimax approximation of degree 13 / 6, as in Eigen."""
        x = F(-7.9053111) if x < F(-7.9053111) else x
        x = F(7.9053111) if x > F(7.9053111) else x
        z = x * x
        p = F(-2.76076847742355e-16)
        p = p * z + F(2.00018790482477e-13)
        p = p * z + F(-8.60467152213735e-11)
        p = p * z + F(5.12229709037114e-08)
        p = p * z + F(1.48572235717979e-05)
        p = p * z + F(6.37261928875436e-04)
        p = p * z + F(4.89352455891786e-03)
        q = F(1.19825839466702e-06)
        q = q * z + F(1.18534705686654e-04)
        q = q * z + F(2.26843463243900e-03)
        q = q * z + F(4.89352518554385e-03)
        return x * p / q

    @scalar
    def log1p_unit(u):
        """log(1 + u) for 0 <= u <= 1: Cephes logf, the argument brought to [1/sqrt(2), sqrt(2))."""
        upper = u > F(0.41421356)
        f = (u - F(1)) * F(0.5) if upper else u
        p = F(7.0376836292e-2)
        p = p * f - F(1.1514610310e-1)
        p = p * f + F(1.1676998740e-1)
        p = p * f - F(1.2420140846e-1)
        p = p * f + F(1.4249322787e-1)
        p = p * f - F(1.6668057665e-1)
        p = p * f + F(2.0000714765e-1)
        p = p * f - F(2.4999993993e-1)
        p = p * f + F(3.3333331174e-1)
        y = f + (p * f - F(0.5)) * (f * f)
        return y + F(0.6931471805599453) if upper else y

    return exp, tanh, log1p_unit


def _float64_functions():
    @scalar
    def exp(x):
        """As for float32, with the Taylor series to degree 13: its error on |r| <= ln(2)/2 is below 1e-17."""
        shifted = x * 1.4426950408889634 + 6755399441055744.0
        n = shifted - 6755399441055744.0
        r = x - n * 0.6931471803691238 - n * 1.9082149292705877e-10
        p = 1.6059043836821613e-10
        p = p * r + 2.08767569878681e-09
        p = p * r + 2.505210838544172e-08
        p = p * r + 2.755731922398589e-07
        p = p * r + 2.7557319223985893e-06
        p = p * r + 2.48015873015873e-05
        p = p * r + 0.0001984126984126984
        p = p * r + 0.001388888888888889
        p = p * r + 0.008333333333333333
        p = p * r + 0.041666666666666664
        p = p * r + 0.16666666666666666
        p = p * r + 0.5
        y = p * r * r + r + 1.0
        y = y * _f64_of_int((_int_of_f64(shifted) + np.int64(1022)) << np.int64(52)) * 2.0
        y = np.inf if x > 709.78 else y
        return 0.0 if x < -707.5 else y

    @scalar
    def tanh(x):
        """Cephes: a rational function near 0, where 1 - 2 / (exp(2x) + 1) would cancel."""
        z = x * x
        p = (-9.64399179425052238628e-1 * z - 9.92877231001918586564e1) * z - 1.61468768441708447952e3
        q = ((z + 1.12811678491632931402e2) * z + 2.23548839060100448583e3) * z + 4.84406305325125486048e3
        return x + x * z * p / q if abs(x) < 0.625 else 1.0 - 2.0 / (exp(2.0 * x) + 1.0)

    @scalar
    def log1p_unit(u):
        """As for float32, with the rational function of Cephes log."""
        upper = u > 0.41421356237309503
        f = (u - 1.0) * 0.5 if upper else u
        p = 1.01875663804580931796e-4
        p = p * f + 4.97494994976747001425e-1
        p = p * f + 4.70579119878881725854
        p = p * f + 1.44989225341610930846e1
        p = p * f + 1.79368678507819816313e1
        p = p * f + 7.70838733755885391666
        q = f + 1.12873587189167450590e1
        q = q * f + 4.52279145837532221105e1
        q = q * f + 8.29875266912776603211e1
        q = q * f + 7.11544750618563894466e1
        q = q * f + 2.31251620126765340583e1
        y = f + (f * p / q - 0.5) * (f * f)
        return y + 0.6931471805599453 if upper else y

    return exp, tanh, log1p_unit


def _library(F, functions):
    exp, tanh, log1p_unit = functions()
    one, zero = F(1), F(0)

    @scalar
    def sigmoid(x):
        return one / (one + exp(-x))

    @scalar
    def maximum(a, b):
        return a if (a > b) | (a != a) else b

    @scalar
    def minimum(a, b):
        return a if (a < b) | (a != a) else b

    @scalar
    def where(condition, a, b):
        return a if condition else b

    @scalar
    def softplus(x):
        return maximum(x, zero) + log1p_unit(exp(-abs(x)))

    @scalar
    def logaddexp(a, b):
        apart = zero if a == b else -abs(a - b)  # equal infinities have no difference to take
        return maximum(a, b) + log1p_unit(exp(apart))

    @scalar
    def sign(x):
        return one if x > zero else (-one if x < zero else x)

    @scalar
    def pow(a, b):
        return F(a**b)

    @scalar
    def erf(x):
        return F(math.erf(x))

    @scalar
    def log(x):
        return F(math.log(x))

    @scalar
    def log1p(x):
        return F(math.log1p(x))

    @scalar
    def expm1(x):
        return F(math.expm1(x))

    @scalar
    def sqrt(x):
        return F(math.sqrt(x))

    @scalar
    def sin(x):
        return F(math.sin(x))

    @scalar
    def cos(x):
        return F(math.cos(x))

    @scalar
    def floor(x):
        return F(np.floor(x))

    @scalar
    def ceil(x):
        return F(np.ceil(x))

    @scalar
    def round(x):
        return F(np.rint(x))

    return SimpleNamespace(**{k: v for k, v in locals().items() if hasattr(v, "py_func")})


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
