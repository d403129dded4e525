"""Scalar functions that the rules of pointwise ops are written in, for float32 and float64.

Most are branch-free polynomials, because the calls to libm that LLVM would make are scalar: these vectorise.
Their largest errors in units in the last place, found by samples of the whole range (tests/kernels),
with and without fused multiplication:

========  =======  =======  ===============================================================
function  float32  float64  by
========  =======  =======  ===============================================================
exp       2        2        Cephes expf; the Taylor series to degree 13 (0 below -86.6, -707.5)
tanh      6        5        Eigen's rational approximation; Cephes
log       1        1.3      Cephes logf, log
log1p     1.3      1.3      log of the rounded 1 + x, and what was lost by rounding
log2      2        2        log
log10     2        3        log
expm1     1.7      2        exp's reduction
erf       1.3      2        least maximal errors; Cephes erf and erfc
sin, cos  1.6      1.6      ``sines.py``
pow       0.6      1.3      ``powers.py``
========  =======  =======  ===============================================================

They are compiled without "reassoc", which would cancel rounding tricks. Limits, signs of zero, infinities,
NaN, and subnormal arguments and results are NumPy's, but that exp and tanh give 0 for subnormals and -0. The
other functions call libm.
"""

import math
from types import SimpleNamespace

import numpy as np
from numba import types
from numba.extending import overload

from . import powers, sines
from .scalars import DOUBLE, SINGLE, pick, polynomial, scalar


def _exponentials(form, series, ln2, top, bottom):
    """exp and expm1 by 2**n and exp(r) - 1 = r + r * r * series(r), |r| <= ln(2)/2. Adding ``shift`` rounds
    to an integer, which then stands in the last bits.
    """
    F, U, bits, bias, as_bits, as_float = form
    half, one, two, inf, zero = F(0.5), F(1), F(2), F(np.inf), F(0)
    log2e, shift, lowest, tiny = F(1.4426950408889634), F(1.5 * 2.0**bits), F(-40), F(2.0 ** (-bits - 2))
    (high, low), top, bottom = map(F, ln2), F(top), F(bottom)  # ln(2) in two parts, so that n * high is exact
    bias, bits = U(bias - 1), U(bits)

    @scalar
    def exp(x):
        shifted = x * log2e + shift
        n = shifted - shift
        r = x - n * high - n * low
        y = series(r) * r * r + r + one
        y = y * as_float((as_bits(shifted) + bias) << bits) * two
        y = inf if x > top else y
        return zero if x < bottom else y

    @scalar
    def expm1(x):
        z = pick(x < lowest, lowest, x)
        shifted = z * log2e + shift
        n = shifted - shift
        r = z - n * high - n * low
        scale = as_float((as_bits(shifted) + bias) << bits)  # 2**n / 2
        y = (scale * (series(r) * r * r + r) + (scale - half)) * two
        return pick(abs(x) < tiny, x, pick(x > top, inf, y))

    return exp, expm1


def _logarithms(form, p, q, ln2):
    """log, log2, log10 and log1p by log(1 + f) = f - f * f / 2 + f**3 * p(f) / q(f), sqrt(1/2) <= 1 + f <
    sqrt(2), and log(1 + u) for 0 <= u <= 1.
    """
    F, bits, bias, (exponent, rest) = form.F, form.bits, form.bias, form.split()
    zero, half, one, inf, nan = F(0), F(0.5), F(1), F(np.inf), F(np.nan)
    smallest, lift, steps, tiny = F(2.0 ** (1 - bias)), F(2.0**bits), F(bits), F(2.0 ** (-bits - 2))
    lower, upper = F(0.5**0.5 - 1), F(2**0.5 - 1)

    @scalar
    def near_one(f):
        return f + (f * p(f) / q(f) - half) * (f * f)

    def logarithm(high, low, factor):
        """``factor * log(x)``, for a base in which the logarithm of 2 is ``high + low``."""
        high, low, factor = F(high), F(low), F(factor)

        @scalar
        def log(x):
            subnormal = x < smallest
            z = pick(subnormal, x * lift, x)
            k = exponent(z)
            k = pick(subnormal, k - steps, k)
            y = near_one(rest(z)) * factor + k * low + k * high
            y = pick(x > zero, y, pick(x == zero, -inf, nan))
            return pick(x < inf, y, x)

        return log

    high, low = map(F, ln2)

    @scalar
    def log1p(x):
        u = one + x
        near = (x > lower) & (x < upper)
        lost = pick(near, zero, (x - (u - one)) / u)
        k, f = pick(near, zero, exponent(u)), pick(near, x, rest(u))
        y = near_one(f) + (k * low + lost) + k * high
        y = pick(x > -one, y, pick(x == -one, -inf, nan))
        return pick((x < inf) & (abs(x) >= tiny), y, x)

    @scalar
    def log1p_unit(u):
        large = u > upper
        y = near_one(pick(large, (u - one) * half, u))
        return pick(large, y + (high + low), y)

    log2 = logarithm(1, 0, 1 / math.log(2))
    log10 = logarithm(*[x / math.log(10) for x in ln2], 1 / math.log(10))
    return dict(log=logarithm(*ln2, 1), log2=log2, log10=log10, log1p=log1p, log1p_unit=log1p_unit)


def _erf(F, limit, near_zero, top, complement):
    """x + x * near_zero(x * x) below ``limit``, else 1 - complement(|x|), which is 1 from ``top`` on."""
    zero, one, limit, top = F(0), F(1), F(limit), F(top)

    @scalar
    def erf(x):
        size = abs(x)
        y = one - complement(pick(size > top, top, size))
        return pick(size < limit, x + x * near_zero(x * x), pick(x < zero, -y, y))

    return erf


def _float32_functions():
    F = np.float32
    series = polynomial(
        F,
        1.9875691500e-4,
        1.3981999507e-3,
        8.3334519073e-3,
        4.1665795894e-2,
        1.6666665459e-1,
        5.0000001201e-1,
    )
    ln2 = 0.693359375, -2.12194440e-4
    exp, expm1 = _exponentials(SINGLE, series, ln2, 88.73, -86.6)
    p = polynomial(
        F, -2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08,
        1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03,
    )  # fmt: skip
    q = polynomial(F, 1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)

    @scalar
    def tanh(x):
        x = F(-7.9053111) if x < F(-7.9053111) else x
        x = F(7.9053111) if x > F(7.9053111) else x
        return x * p(x * x) / q(x * x)

    p_log = polynomial(
        F, 7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
        -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
    )  # fmt: skip
    # erf(x) / x - 1 and -log(1 - erf(x)) / x, with least maximal errors 4e-10 and 8e-10 of erf
    near_zero = polynomial(
        F, 8.362309607086805e-05, -0.000814148094045001, 0.005200990036316995, -0.026859413507414,
        0.11283696496447135, -0.37612633861488676, 0.12837916665909044,
    )  # fmt: skip
    exponent = polynomial(
        F, 1.1231226655160672e-05, -0.0003228031029054105, 0.0036424561440741026, -0.023762057232427,
        0.10623687154946804, 0.6351513197980261, 1.1286484894857265,
    )  # fmt: skip
    erf = _erf(F, 0.925, near_zero, 4, scalar(lambda x: exp(-x * exponent(x))))
    sin, cos = sines.float32_sines()
    made = dict(exp=exp, expm1=expm1, tanh=tanh, erf=erf, sin=sin, cos=cos, pow=powers.float32_pow())
    return made | _logarithms(SINGLE, p_log, polynomial(F, 1.0), ln2)


def _float64_functions():
    F = np.float64
    series = polynomial(F, *[1 / math.factorial(n) for n in range(13, 1, -1)])
    ln2 = 0.6931471803691238, 1.9082149292705877e-10
    exp, expm1 = _exponentials(DOUBLE, series, ln2, 709.79, -707.5)
    p = polynomial(F, -9.64399179425052238628e-1, -9.92877231001918586564e1, -1.61468768441708447952e3)
    q = polynomial(F, 1.0, 1.12811678491632931402e2, 2.23548839060100448583e3, 4.84406305325125486048e3)

    @scalar
    def tanh(x):  # a rational function near 0, where 1 - 2 / (exp(2x) + 1) would cancel
        z = x * x
        return pick(abs(x) < 0.625, x + x * z * p(z) / q(z), 1.0 - 2.0 / (exp(2.0 * x) + 1.0))

    p_log = polynomial(
        F, 1.01875663804580931796e-4, 4.97494994976747001425e-1, 4.70579119878881725854,
        1.44989225341610930846e1, 1.79368678507819816313e1, 7.70838733755885391666,
    )  # fmt: skip
    q_log = polynomial(
        F, 1.0, 1.12873587189167450590e1, 4.52279145837532221105e1, 8.29875266912776603211e1,
        7.11544750618563894466e1, 2.31251620126765340583e1,
    )  # fmt: skip
    t = (
        0.0, 9.60497373987051638749, 9.00260197203842689217e1, 2.23200534594684319226e3,
        7.00332514112805075473e3, 5.55923013010394962768e4,
    )  # fmt: skip
    u = (
        1.0, 3.35617141647503099647e1, 5.21357949780152679795e2, 4.59432382970980127987e3,
        2.26290000613890934246e4, 4.92673942608635921086e4,
    )  # fmt: skip
    over, under = polynomial(F, *[a - b for a, b in zip(t, u, strict=True)]), polynomial(F, *u)
    p_erf = polynomial(
        F, 2.46196981473530512524e-10, 5.64189564831068821977e-1, 7.46321056442269912687,
        4.86371970985681366614e1, 1.96520832956077098242e2, 5.26445194995477358631e2,
        9.34528527171957607540e2, 1.02755188689515710272e3, 5.57535335369399327526e2,
    )  # fmt: skip
    q_erf = polynomial(
        F, 1.0, 1.32281951154744992508e1, 8.67072140885989742329e1, 3.54937778887819891062e2,
        9.75708501743205489753e2, 1.82390916687909736289e3, 2.24633760818710981792e3,
        1.65666309194161350182e3, 5.57535340817727675546e2,
    )  # fmt: skip
    near_zero = scalar(lambda z: over(z) / under(z))
    erf = _erf(F, 1, near_zero, 6, scalar(lambda x: exp(-x * x) * p_erf(x) / q_erf(x)))
    sin, cos = sines.float64_sines()
    made = dict(exp=exp, expm1=expm1, tanh=tanh, erf=erf, sin=sin, cos=cos, pow=powers.float64_pow(series))
    return made | _logarithms(DOUBLE, p_log, q_log, ln2)


def _rounded(F, function):
    """A function of libm, its result in the precision of its argument."""
    return scalar(lambda x: F(function(x)))


_LIBM = {
    "sqrt": math.sqrt, "round": np.rint, "floor": np.floor, "ceil": np.ceil, "tan": np.tan,
    "sinh": np.sinh, "cosh": np.cosh, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
}  # fmt: skip


def _library(F, functions):
    made = functions()
    exp, log1p_unit = made["exp"], made["log1p_unit"]
    one, zero = F(1), F(0)
    sigmoid = scalar(lambda x: one / (one + exp(-x)))
    maximum = scalar(lambda a, b: a if (a > b) | (a != a) else b)
    minimum = scalar(lambda a, b: a if (a < b) | (a != a) else b)
    where = scalar(lambda condition, a, b: a if condition else b)
    softplus = scalar(lambda x: maximum(x, zero) + log1p_unit(exp(-abs(x))))
    # Equal infinities have no difference to take.
    logaddexp = scalar(lambda a, b: maximum(a, b) + log1p_unit(exp(zero if a == b else -abs(a - b))))
    sign = scalar(lambda x: one if x > zero else (-one if x < zero else x))
    mod = scalar(lambda a, b: F(a % b))
    hypot = scalar(lambda a, b: F(np.hypot(a, b)))
    atan2 = scalar(lambda a, b: F(np.arctan2(a, b)))
    made |= {k: v for k, v in locals().items() if hasattr(v, "py_func")}
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
