"""What scalar functions of compiled loops are made of: polynomials, choices without a branch, and the bits of
a float.
"""

import functools
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

# What only compiled code calls: without the entries for Python and C it compiles in less time. Inlined
# whatever their size, because a loop that calls is not vectorised.
_inner: dict[str, Any] = dict(no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True)
scalar = numba.njit(error_model="numpy", fastmath={"contract"}, **_inner)


@intrinsic
def pick(typing_context, condition, a, b):
    """``a`` where ``condition``, else ``b``. Both are made: a branch would keep a loop from being
    vectorised.
    """
    return a(types.boolean, a, a), lambda context, builder, signature, args: builder.select(*args)


def polynomial(F, *coefficients):
    """The polynomial with these coefficients, the highest power's first, by Horner's rule."""
    rule = functools.reduce(
        lambda rule, c: f"({rule}) * x + F({c!r})", coefficients[1:], f"F({coefficients[0]!r})"
    )
    return scalar(eval(f"lambda x: {rule}", {"F": F}))


def estrin(F, *coefficients):
    """The same by Estrin's scheme, half of whose products wait for no other: for long chains of operations
    that fill few pipelines.
    """
    terms, power, lines = [f"F({c!r})" for c in reversed(coefficients)], "x", ["def polynomial(x):"]
    while len(terms) > 1:
        last = terms[len(terms) // 2 * 2 :]
        terms = [f"({a} + {power} * {b})" for a, b in zip(terms[::2], terms[1::2], strict=False)] + last
        lines.append(f" {power}_2 = {power} * {power}")
        power += "_2"
    space = {"F": F}
    exec("\n".join([*lines, f" return {terms[0]}"]), space)
    return scalar(space["polynomial"])


def _bitcast(source, target, llvm_type):
    @intrinsic
    def bitcast(typing_context, x):
        return target(source), lambda context, builder, signature, args: builder.bitcast(args[0], llvm_type)

    return bitcast


class Format(NamedTuple):
    """A precision ``F``: the type of its bits ``U``, how many of them are the mantissa's, the exponent that
    stands for 2**0, and the functions between both types. Numba computes with 64-bit integers, so results are
    put into ``U``.
    """

    F: Any
    U: Any
    bits: int
    bias: int
    as_bits: Any
    as_float: Any

    def split(self):
        """Of a normal x = 2**k * (1 + f), sqrt(1/2) <= 1 + f < sqrt(2): the functions that give k and f."""
        F, U, bits, bias, as_bits, as_float = self
        root, one = int(np.array(0.5**0.5, F).view(U)), F(1)  # mantissas are counted from that of sqrt(1/2)
        up, mantissa = U((bias << bits) - root), U((1 << bits) - 1)
        # An exponent becomes a float as the last bits of 2**bits: AVX2 does not convert 64-bit integers.
        exponents, least = U((bias + bits) << bits), F(2.0**bits + bias)
        root, bits = U(root), U(bits)

        @scalar
        def exponent(x):
            return as_float(U(U(as_bits(x) + up) >> bits) | exponents) - least

        @scalar
        def rest(x):
            return as_float(U(U(as_bits(x) + up) & mantissa) + root) - one

        return exponent, rest


def _format(F, U, bits, bias, llvm_type):
    floats, integers = numba.from_dtype(np.dtype(F)), numba.from_dtype(np.dtype(U))
    whole = ir.IntType(np.dtype(F).itemsize * 8)
    return Format(F, U, bits, bias, _bitcast(floats, integers, whole), _bitcast(integers, floats, llvm_type))


SINGLE = _format(np.float32, np.uint32, 23, 127, ir.FloatType())
DOUBLE = _format(np.float64, np.uint64, 52, 1023, ir.DoubleType())
