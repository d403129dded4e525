"""``pow(a, b)`` for compiled loops, without a branch: signs and limits as in C99 and NumPy."""

import numpy as np

from .scalars import DOUBLE, SINGLE, estrin, pick, scalar

_SHIFT = 1.5 * 2.0**52  # added and taken away it rounds to an integer, which stands in the last bits between
_BIAS, _BITS = np.uint64(DOUBLE.bias), np.uint64(DOUBLE.bits)
_as_bits, _as_float = DOUBLE.as_bits, DOUBLE.as_float
_exponent, _rest = DOUBLE.split()
_INF = np.inf


@scalar
def _power_of_two(shifted):
    """2**n of n + _SHIFT, -1023 < n < 1024."""
    return _as_float((_as_bits(shifted) + _BIAS) << _BITS)


def _signed(form, magnitude):
    """pow by ``magnitude(size, b)``, the power of a number of 0 or more."""
    F, U, as_bits, as_float = form.F, form.U, form.as_bits, form.as_float
    sign, none = U(1 << (8 * np.dtype(U).itemsize - 1)), U(0)
    zero, half, one, inf, nan, rint = F(0), F(0.5), F(1), F(np.inf), F(np.nan), np.rint

    @scalar
    def pow(a, b):
        size, halved, broken = abs(a), b * half, rint(b) != b
        y = magnitude(size, b)
        y = pick((size == one) | (b == zero), one, y)
        y = as_float(as_bits(y) | pick((rint(halved) == halved) | broken, none, as_bits(a) & sign))
        y = pick(broken & (a < zero) & (a > -inf), nan, y)
        return pick(((a == a) & (b == b)) | (b == zero) | (a == one), y, nan)

    return pow


def float32_pow():
    """pow of float32 by log2 and exp2 in float64, of degrees that suffice for float32 (least maximal errors,
    4e-12 and 2e-9): rounded correctly but for few arguments, errors below 0.6 units in the last place.
    """
    log2 = estrin(
        np.float64, 0.3407474527132875, 0.4116717484900667, 0.5770836018888298, 0.9617966732476299,
        2.8853900817901676,
    )  # fmt: skip
    exp2 = estrin(
        np.float64, 0.00015476299648400322, 0.001340026973278639, 0.009618003891608185,
        0.05550327790948212, 0.24022651345907683, 0.693147206248409,
    )  # fmt: skip
    D, F, zero, inf = np.float64, np.float32, np.float32(0), np.float32(np.inf)

    @scalar
    def magnitude(size, b):
        x = D(size)
        f = _rest(x)
        s = f / (2.0 + f)
        y = D(b) * (s * log2(s * s) + _exponent(x))
        y = pick(y > 129.0, 129.0, y)
        y = pick(y < -151.0, -151.0, y)
        shifted = y + _SHIFT
        r = y - (shifted - _SHIFT)
        y = F((r * exp2(r) + 1.0) * _power_of_two(shifted))
        limit = pick((b < zero) != (size == inf), inf, zero)
        return pick((size == zero) | (size == inf), limit, y)

    return _signed(SINGLE, magnitude)


def float64_pow(series):
    """pow of float64, as FDLIBM's e_pow.c: log2 in two parts of which the first has 26 bits, so that its
    product with the first bits of b is exact. Errors are below 1.3 units in the last place.

    ``series``: exp(r) = 1 + r + r * r * series(r).
    """
    # log2(1 + f) = factor * s * (3 + s * s + s**4 * tail(s * s)), s = f / (2 + f); least maximal error 1e-20
    tail = estrin(
        np.float64, 0.1979540407502865, 0.1988513093965442, 0.2308013999353966, 0.2727267646650258,
        0.3333333378081511, 0.4285714285514433, 0.600000000000034,
    )  # fmt: skip
    factor, factor_h, factor_l = 0.9617966939259756, 0.9617967009544373, -7.028461650952758e-09
    ln2, ln2_h, ln2_l = 0.6931471805599453, 0.6931471824645996, -1.904654299957768e-09
    first = np.uint64(0xFFFFFFFFF8000000)
    head = scalar(lambda x: _as_float(_as_bits(x) & first))

    @scalar
    def magnitude(size, b):
        subnormal = size < 2.0**-1022
        x = pick(subnormal, size * 2.0**52, size)
        k = _exponent(x)
        k, f = pick(subnormal, k - 52.0, k), _rest(x)
        inverse = 1.0 / (f + 2.0)
        s = f * inverse
        s_h, t_h = head(s), head(f + 2.0)
        s_l = inverse * ((f - s_h * t_h) - s_h * (f - (t_h - 2.0)))
        z, z_h = s * s, s_h * s_h
        t = z * z * tail(z) + s_l * (s_h + s)
        t_h = head(3.0 + z_h + t)
        t_l = t - ((t_h - 3.0) - z_h)
        u, v = s_h * t_h, s_l * t_h + t_l * s
        p_h = head(u + v)
        p_l = v - (p_h - u)
        u, v = factor_h * p_h, factor_l * p_h + p_l * factor
        log_h = head(u + v + k)
        log_l = v - ((log_h - k) - u)
        about = b * pick(size == 0.0, -_INF, pick(size < _INF, log_h, size))
        b_h = head(b)
        y_h, y_l = b_h * log_h, (b - b_h) * log_h + b * log_l
        shifted = y_h + y_l + _SHIFT
        n = shifted - _SHIFT
        y_h -= n
        t = head(y_h + y_l)
        u, v = t * ln2_h, (y_l - (t - y_h)) * ln2 + t * ln2_l
        x = u + v
        x_l = v - (x - u)
        y = 1.0 + (x + (series(x) * x * x + x_l + x_l * x))
        half = n * 0.5 + _SHIFT  # by two factors: results may be subnormal
        y = y * _power_of_two(half) * _power_of_two(n - (half - _SHIFT) + _SHIFT)
        return pick(about > 1025.0, _INF, pick(about < -1080.0, 0.0, y))

    return _signed(DOUBLE, magnitude)
