"""sin and cos for compiled loops, without a branch, right for arguments of any size: these are reduced by as
many bits of 1 / (2 pi) as they need (Payne & Hanek 1983, "Radian reduction for trigonometric functions").
"""

import math

import numpy as np

from .scalars import DOUBLE, SINGLE, pick, polynomial, scalar

# 1 / (2 pi), the first 1216 bits behind the point.
INVERSE = int(
    "28BE60DB9391054A7F09D5F47D4D377036D8A5664F10E4107F9458EAF7AEF1586DC91B8E909374B801924BBA82746487"
    "3F877AC72C4A69CFBA208D7D4BAED1213A671C09AD17DF904E64758E60D4CE7D272117E2EF7E4A0EC7FE25FFF7816603"
    "FBCBC462D6829B47DB4D9FB3C9F2C26DD3D18FD9A797FA8B5D49EEB1FAF97C5ECF41CE7DE294A4BA9AFED7EC47E35742"
    "1580CC11BF1EDAEA",
    16,
)
_BITS = 1216


def float32_sines():
    """sin and cos. A product of the argument with 29 bits is exact in float64, and whole turns are taken off
    each; errors are below 1.6 units in the last place. Polynomials have least maximal errors (4e-9, 1e-10).
    """
    F, D, U = np.float32, np.float64, np.uint32
    wide, as_bits, as_float = DOUBLE.as_bits, SINGLE.as_bits, SINGLE.as_float
    parts = [D((INVERSE >> (_BITS - 29 * k) & (2**29 - 1)) * 2.0 ** (-29 * k)) for k in range(1, 8)]
    p0, p1, p2, p3, p4, p5, p6 = parts
    p34, p56, large, rint = p3 + p4, p5 + p6, D(2.0**83), np.rint
    turn, shift, tiny, half, one = D(2 * math.pi), D(1.5 * 2.0**52), F(2e-4), F(0.5), F(1)
    first, second, up = U(1), U(2), U(30)
    off_turns = scalar(lambda x: x - rint(x))
    s = polynomial(F, -0.00019517296791841102, 0.008332178126084205, -0.1666665494327497)
    c = polynomial(F, 2.4438451855954602e-05, -0.0013887367517775699, 0.04166664686647332)

    def ahead(quarters):
        quarters = U(quarters)

        @scalar
        def sine(x):
            d = D(x)
            far = abs(d) > large  # a multiple of 2**58: the first two parts make whole turns
            t0 = off_turns(d * pick(far, p2, p0))
            t1 = off_turns(d * pick(far, p3, p1))
            t2 = off_turns(d * pick(far, p4, p2))
            t3 = off_turns(d * pick(far, p56, p34))
            shifted = (t0 + t1 + t2 + t3) * 4.0 + shift
            t0 -= (shifted - shift) * 0.25
            r = F((t0 + t1 + t2 + t3) * turn)
            n, z = U(U(wide(shifted)) + quarters), r * r
            y = pick((n & first) == first, one - half * z + z * z * c(z), r + r * z * s(z))
            return as_float(as_bits(y) ^ U(U(n & second) << up))

        return sine

    sine = ahead(0)
    return scalar(lambda x: pick(abs(x) < tiny, x, sine(x))), ahead(1)


def _rows():
    """For every exponent E of an argument M * 2**E of pi/4 or more, M an integer: the first 192 bits of
    2**E / (2 pi) behind the point, 64 in a number, the last first.
    """
    rows = np.zeros((1026, 3), np.uint64)
    for row, exponent in zip(rows[:-1], range(-53, 972), strict=True):
        bits = INVERSE >> (_BITS - 192 - exponent) & (2**192 - 1)
        row[:] = [bits >> 64 * k & (2**64 - 1) for k in range(3)]
    return rows.reshape(-1)


def float64_sines():
    """sin and cos. The mantissa is multiplied, as an integer, by 192 bits; 128 of the product are kept, which
    leaves 60 even for the argument nearest to a multiple of pi/2. Errors are below 1.6 units in the last
    place; polynomials are those of FDLIBM's k_sin.c and k_cos.c.
    """
    U, as_bits, as_float, table = np.uint64, DOUBLE.as_bits, DOUBLE.as_float, _rows()
    low, width, mantissa, implicit = U(0xFFFFFFFF), U(32), U((1 << 52) - 1), U(1 << 52)
    digits, first_row, up = U(52), U(1022), U(62)
    eighth, sign, quarter_bits = U(1 << 29), U(1 << 31), U(30)
    magic, three, first, second = U(1075 << 52), U(3), U(1), U(2)
    scale, unit = 2.0**-32, 2 * math.pi * 2.0**-32
    unit_low = 2.4492935982947064e-16 * 2.0**-32
    limit = math.pi / 4
    s = polynomial(
        np.float64, 1.58969099521155010221e-10, -2.50507602534068634195e-08, 2.75573137070700676789e-06,
        -1.98412698298579493134e-04, 8.33333333332248946124e-03, -1.66666666666666324348e-01,
    )  # fmt: skip
    c = polynomial(
        np.float64, -1.13596475577881948265e-11, 2.08757232129817482790e-09, -2.75573143513906633035e-07,
        2.48015872894767294178e-05, -1.38888888888741095749e-03, 4.16666666666666019037e-02,
    )  # fmt: skip
    to_float = scalar(lambda i: as_float(i | magic) - 2.0**52)

    def ahead(quarters):
        quarters = U(quarters)

        @scalar
        def sine(x):
            size = abs(x)
            bits = as_bits(size)
            exponent, m = bits >> digits, (bits & mantissa) | implicit
            m0, m1 = m & low, m >> width
            row = (pick(exponent > first_row, exponent, first_row) - first_row) * three
            b1, b3, b5 = table[row], table[row + first], table[row + second]
            b0, b2, b4 = b1 & low, b3 & low, b5 & low
            b1, b3, b5 = b1 >> width, b3 >> width, b5 >> width
            c1, c2, c3, c4 = m0 * b1, m0 * b2, m0 * b3, m0 * b4
            d1 = (c1 & low) + m1 * b0
            d2 = (c2 & low) + (c1 >> width) + m1 * b1 + (d1 >> width)
            d3 = (c3 & low) + (c2 >> width) + m1 * b2 + (d2 >> width)
            d4 = (c4 & low) + (c3 >> width) + m1 * b3 + (d3 >> width)
            d5 = m0 * b5 + (c4 >> width) + m1 * b4 + (d4 >> width)
            n = ((d5 & low) + eighth) >> quarter_bits
            # The fraction in parts, of which each may cancel what came before, and what adding them loses.
            t5 = to_float((d5 - (n << quarter_bits) + sign) & low) - 2.0**31
            t4, t3 = to_float(d4 & low) * scale, to_float(d3 & low) * scale**2
            both = t5 + t4
            r = both + t3
            lost = (t5 - both + t4) + (both - r + t3) + to_float(d2 & low) * scale**3
            near = size < limit
            r_low = pick(near, 0.0, r * unit_low + lost * unit)
            r = pick(near, size, r * unit)
            n = pick(near, U(0), n) + quarters
            z = r * r
            cosine = 1.0 - (0.5 * z - (z * z * c(z) - r * r_low))
            y = pick((n & first) == first, cosine, r + (r * z * s(z) + r_low))
            return as_float(as_bits(y) ^ ((n & second) << up)) + (x - x)  # NaN of infinities

        return sine

    sine, top = ahead(0), U(1 << 63)
    return scalar(lambda x: as_float(as_bits(sine(x)) ^ (as_bits(x) & top))), ahead(1)
