"""Matrix products with packed matrices, for float32 and float64, and with operands in fewer bits.

A recurrent loop multiplies by the same matrix at every time step: BLAS packs it anew each time, here it is
packed once, in panels of two vectors' width, for the micro-kernel of `tiles` (Goto & van de Geijn 2008,
"Anatomy of high-performance matrix multiplication"). Every element is summed in the order of k, in blocks of
`BLOCK` that do not depend on the other sizes: neither the number of threads nor the number of rows changes a
bit of the result.

With ``precision`` "bfloat16" both operands, float32 as ever, are rounded to the nearest bfloat16 where they
are packed or laid out; products and sums are float32. With "int8" a matrix has 8 bits and a scale for each
column, and each row is brought to 7 bits as it is multiplied (`references.quantised`): sums are exact.
"""

import functools

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic, overload

from ..base import threads
from ..base.errors import TooLargeError
from . import references
from .jit import address_of, call_address, jit
from .tiles import (
    FEW,
    ROWS,
    VECTORS,
    at,
    bytes_row,
    each,
    element,
    pair_row,
    panel_width,
    row_elements,
    tile,
    vector,
    width_of,
)

BLOCK = 256  # elements of k that are multiplied before the next panel is taken up
CHUNK = 240  # of rows that share a packed panel
_EACH = {None: 1, "bfloat16": 2}  # of k in an element of a panel
_ROUNDED = row_elements("bfloat16", np.float32).type
_PER_PAIR = 1 if _ROUNDED is np.uint32 else 2  # elements of a row


@jit
def _pack(b, k_stride, n_stride, n, k0, k1, first, last, out):
    """Panels ``first`` to ``last`` of rows ``k0`` to ``k1`` of B, padded with zeros to one vector or two."""
    width, of = width_of(out), each(out)
    depth = (k1 - k0 + of - 1) // of
    done = first  # panels that are packed row by row, along the memory of B
    if n_stride == 1:
        done = max(first, min(last, n // width))
        for i in range((k1 - k0) // of):
            source = (k0 + i * of) * k_stride
            for p in range(first, done):
                here = (p - first) * depth * width + i * width
                for j in range(0, width, width // 2):
                    vector(out, here + j, b, source + p * width + j, k_stride)
    for p in range(first, last):
        columns = min(width, n - p * width)
        stored = width // 2 if columns <= width // 2 else width
        o0, b0 = (p - first) * depth * width, p * width * n_stride
        begin = (k1 - k0) // of if p < done else 0
        if k_stride == 1 and n_stride != 1:  # along the memory of B
            for j in range(columns):
                for i in range(depth):
                    k = k0 + i * of
                    out[o0 + i * stored + j] = element(out, b, b0 + j * n_stride + k, 1, k1 - k)
        else:
            for i in range(begin, depth):
                k = k0 + i * of
                for j in range(columns):
                    at_b = b0 + k * k_stride + j * n_stride
                    out[o0 + i * stored + j] = element(out, b, at_b, k_stride, k1 - k)
        for i in range(depth):
            for j in range(columns, stored):
                out[o0 + i * stored + j] = 0


@jit
def multiply_packed(a, a0, a_stride, tiled, packed, c, c0, c_stride, m, k, n, accumulate):
    """C[m, n] (+)= A[m, k] @ B, ``a`` and ``c`` flat, ``packed`` as `_pack` makes it, all of k in a panel;
    ``k`` counts elements.

    ``tiled``: A lies in tiles as `_lay` makes them, and k is at most `BLOCK`.
    """
    width, more = width_of(packed), each(packed) // each(a)  # elements of A for one of a panel
    edge = np.empty(ROWS * width, c.dtype)  # takes tiles that are wider than C
    tiles = (m + ROWS - 1) // ROWS
    for k0 in range(0, k, BLOCK):
        kb = min(BLOCK, k - k0)
        add = accumulate or k0 > 0
        p = 0
        while p * width < n:
            together = 4 if m == 1 else 2 if m <= FEW else 1  # whole panels
            while together > 1 and (p + together) * width > n:
                together //= 2
            columns = min(together * width, n - p * width)
            stored = width // 2 if columns <= width // 2 else together * width
            vectors = 1 if stored < width else VECTORS * together
            panel = at(packed, p * k * width + k0 * (stored // together))
            whole = columns == stored
            for i in range(tiles):  # of nearly equal height: a low one wastes the pipeline
                r0 = m * i // tiles
                rows, at_c = m * (i + 1) // tiles - r0, c0 + p * width + r0 * c_stride
                at_a = a0 + (r0 * k * more if tiled else k0 * more + r0 * a_stride)
                if add and not whole:
                    for r in range(rows):
                        for j in range(columns):
                            edge[r * stored + j] = c[at_c + r * c_stride + j]
                        for j in range(columns, stored):
                            edge[r * stored + j] = 0
                row, step = (1, rows) if tiled else (a_stride, 1)
                out = at(c, at_c) if whole else at(edge, 0)
                stride = c_stride if whole else stored
                tile(rows, vectors, at(a, at_a), row, step, panel, k * width, out, stride, kb, add)
                if not whole:
                    for r in range(rows):
                        for j in range(columns):
                            c[at_c + r * c_stride + j] = edge[r * stored + j]
            p += together


@jit
def _lay_rows(a, a0, a_stride, m, k, depth, out):
    """Rows of A [m, k] as elements, one row of so many (``depth``) behind the other."""
    of, lanes = each(out), width_of(out) // 2
    for r in range(m):
        source, here, i = a0 + r * a_stride, r * depth, 0
        while (i + lanes) * of <= k:
            if of > 1:
                pair_row(at(out, here + i), at(a, source + i * of))
            else:
                vector(out, here + i, a, source + i, 0)
            i += lanes
        for rest in range(i, depth):
            out[here + rest] = element(out, a, source + rest * of, 1, k - rest * of)


@jit
def multiply_rounded(a, a0, a_stride, tiled, packed, c, c0, c_stride, m, k, n, accumulate):
    """As `multiply_packed`, for rows of float32 times a matrix that is `packed_matrix` with bfloat16; ``k``
    counts numbers, and A lies in rows.
    """
    panels, pairs = packed.view(np.uint32), (k + 1) // 2
    depth = pairs * _PER_PAIR
    rows = np.empty(m * depth, _ROUNDED)
    _lay_rows(a, a0, a_stride, m, k, depth, rows)
    multiply_packed(rows, 0, depth, False, panels, c, c0, c_stride, m, pairs, n, accumulate)


@jit
def _lay_bytes(a, a0, a_stride, m, k, depth, out, scales):
    """Rows of A [m, k] as bytes, one row of so many elements (``depth``) behind the other, and the scales."""
    lanes = width_of(out) // 2
    bits, rest, top = a.view(np.int32), np.zeros(4 * lanes, a.dtype), np.zeros(1, np.int32)
    for r in range(m):
        source, largest = a0 + r * a_stride, np.int32(0)  # as integers absolute values have the same order,
        for i in range(source, source + k):  # and what is not finite is above all others
            largest = max(largest, np.int32(bits[i] & 0x7FFFFFFF))
        top[0] = largest
        size = top.view(np.float32)[0]
        seen = size >= np.float32(2.0**-120)
        if largest >= 0x7F800000:
            scales[r] = np.nan
            continue
        scales[r] = size / np.float32(63) if seen else 0
        # In float64: how it divides may not change what is rounded.
        factor = np.float32(63 / np.float64(size)) if seen else np.float32(0)
        for i in range(0, depth, lanes):  # the last may reach into the next row, which is written after it
            if (i + lanes) * 4 <= k:
                bytes_row(at(out, r * depth + i), at(a, source + i * 4), factor)
            else:
                for j in range(4 * lanes):
                    rest[j] = a[source + i * 4 + j] if i * 4 + j < k else 0
                bytes_row(at(out, r * depth + i), at(rest, 0), factor)


@jit
def multiply_quantised(a, a0, a_stride, tiled, packed, c, c0, c_stride, m, k, n, accumulate):
    """As `multiply_rounded`, with "int8"."""
    depth = (k + 3) // 4
    rows, sums = np.empty(m * depth + width_of(packed), np.uint32), np.empty(m * n, np.int32)
    scales = np.empty(m, np.float32)
    _lay_bytes(a, a0, a_stride, m, k, depth, rows, scales)
    multiply_packed(rows, 0, depth, False, packed.view(np.uint32), sums, 0, n, m, depth, n, False)
    columns, shifts = packed[packed.size - 2 * n : packed.size - n], packed[packed.size - n :].view(np.int32)
    for r in range(m):
        here, scale = c0 + r * c_stride, scales[r]
        for j in range(n):
            product = np.float32(np.int32(sums[r * n + j] - shifts[j])) * (scale * columns[j])
            c[here + j] = c[here + j] + product if accumulate else product


_PRODUCTS = {None: multiply_packed, "bfloat16": multiply_rounded, "int8": multiply_quantised}


@functools.cache
def address(dtype, precision=None) -> int:
    """Where the machine code of the product in a precision, for arrays of a dtype, lies: loops call it there
    (`multiply_at`) instead of holding copies of it, which LLVM would optimise anew for each loop.
    """
    real = numba.from_dtype(np.dtype(dtype))[::1]
    return _address(_PRODUCTS[precision], real, real, real)


def _address(function, rows, panels, real):
    i, flag = numba.intp, numba.boolean
    return address_of(function, (rows, i, i, flag, panels, real, i, i, i, i, i, flag))


@intrinsic
def multiply_at(
    typing_context, address, a, a0, a_stride, tiled, packed, c, c0, c_stride, m, k, n, accumulate
):
    """`multiply_packed` at its `address`."""
    i, flag = types.intp, types.boolean
    return types.void(i, a, i, i, flag, packed, c, i, i, i, i, i, flag), call_address


@functools.cache
def _parts(dtype, precision) -> tuple:
    """Where the machine code of `multiply_packed` and `_pack` lies, as `address`, for a precision, and the
    dtypes of panels and of rows that are laid out.
    """
    dtypes = np.dtype(np.uint32 if precision else dtype), row_elements(precision, dtype)
    real, i = numba.from_dtype(np.dtype(dtype))[::1], numba.intp
    panels, rows = (numba.from_dtype(d)[::1] for d in dtypes)
    pack = address_of(_pack, (real, i, i, i, i, i, i, i, panels))
    return _address(multiply_packed, rows, panels, real), pack, *dtypes


@intrinsic
def _pack_at(typing_context, address, b, k_stride, n_stride, n, k0, k1, first, last, out):
    """`_pack` at its address."""
    i = types.intp
    return types.void(i, b, i, i, i, i, i, i, i, out), call_address


def _lay(a, a0, a_row, a_k, m, k, depth, laid):
    """A [m, k] as so many elements (``depth``) a row as `multiply_packed` takes: an array, the first of them,
    and the way to the next row. Where its rows are not contiguous they are laid in tiles of up to 6, the rows
    of a tile side by side.
    """
    raise TypeError("_lay is for compiled kernels only")


@overload(_lay)
def _laid(a, a0, a_row, a_k, m, k, depth, laid):
    if a.dtype == laid.dtype:

        def rows(a, a0, a_row, a_k, m, k, depth, laid):
            if a_k == 1:
                return a, a0, a_row
            _lay_tiles(a, a0, a_row, a_k, m, k, depth, laid)
            return laid, 0, a_row

    else:

        def rows(a, a0, a_row, a_k, m, k, depth, laid):
            if a_k == 1:
                _lay_rows(a, a0, a_row, m, k, depth, laid)
            else:
                _lay_tiles(a, a0, a_row, a_k, m, k, depth, laid)
            return laid, 0, depth

    return rows


@jit
def _lay_tiles(a, a0, a_row, a_k, m, k, depth, laid):
    """The tiles of `_lay`."""
    of, lanes, tiles = each(laid), width_of(laid) // 2, (m + ROWS - 1) // ROWS
    for i in range(tiles):
        r0, r1 = m * i // tiles, m * (i + 1) // tiles
        here = r0 * depth
        for kk in range(0, depth * of, of):
            source = a0 + r0 * a_row + kk * a_k
            # a vector, of which what is too much is written over next
            if a_row == 1 and lanes >= ROWS and kk + of <= k and source + (of - 1) * a_k + lanes <= a.size:
                vector(laid, here, a, source, a_k)
            else:
                for r in range(r1 - r0):
                    laid[here + r] = element(laid, a, source + r * a_row, a_k, k - kk)
            here += r1 - r0


@jit
def _product(multiply, pack, panels, laid, a, a_row, a_k, b, b_k, b_n, c, k, n, m0, m1, p0, p1, accumulate):
    """Rows ``m0`` to ``m1`` and panels ``p0`` to ``p1`` of C (+)= A @ B; ``multiply`` and ``pack`` from
    `_parts`; ``panels`` and ``laid``: memory for what is packed of B and laid out of A.
    """
    width, block, more = width_of(panels), BLOCK * each(panels), each(panels) // each(laid)
    for k0 in range(0, k, block):
        kb = min(block, k - k0)
        depth = (kb + each(panels) - 1) // each(panels)
        _pack_at(pack, b, b_k, b_n, n, k0, k0 + kb, p0, p1, panels)
        for first in range(m0, m1, CHUNK):
            m = min(CHUNK, m1 - first)
            a0 = first * a_row + k0 * a_k
            rows, r0, stride = _lay(a, a0, a_row, a_k, m, kb, depth * more, laid)
            columns, add = min(n, p1 * width) - p0 * width, accumulate or k0 > 0
            c0 = first * n + p0 * width
            multiply_at(multiply, rows, r0, stride, a_k != 1, panels, c, c0, n, m, depth, columns, add)


def _flat(x):
    """The memory of ``x`` as a flat array, and its strides in elements; a copy unless it or its transpose is
    contiguous.
    """
    if x.flags.c_contiguous:
        return x.reshape(-1), x.shape[1], 1
    if x.T.flags.c_contiguous:
        return x.T.reshape(-1), 1, x.shape[0]
    return np.ascontiguousarray(x).reshape(-1), x.shape[1], 1


def packed_matrix(b, precision=None):
    """``b [k, n]`` in panels, for the product at `address`: a flat array of its dtype, of which each number
    holds a pair where the precision is "bfloat16". With "int8" it holds four, and behind the panels are the
    scales of columns and, as int32, their sums times 64, which rows without a sign add to products.

    Raises:
        TooLargeError: sums of so many products of bytes may not fit.
    """
    if precision == "int8":
        return _packed_bytes(b)
    (k, n), width, of = b.shape, panel_width(b.dtype), _EACH[precision]
    flat, k_stride, n_stride = _flat(b)
    panels, depth = -(-n // width), -(-k // of)
    out = np.empty(panels * depth * width, np.uint32 if precision else b.dtype)

    def part(first, last):
        _pack(flat, k_stride, n_stride, n, 0, k, first, last, out[first * depth * width :])

    threads.split(panels, part, at_least=k * width)
    return out.view(b.dtype)


def _packed_bytes(b):
    (k, n), depth = b.shape, -(-b.shape[0] // 4)
    if k > 2**31 // (127 * 63):
        raise TooLargeError(f"a matrix of {k:,} rows is too high for products of int8: use bfloat16")
    integers, scales = references.quantised(b, 0, 127)
    padded = np.zeros((4 * depth, n), np.int8)
    padded[:k] = integers
    fours = np.ascontiguousarray(padded.reshape(depth, 4, n).transpose(0, 2, 1)).view(np.float32)
    shifts = 64 * padded.sum(axis=0, dtype=np.int32)
    return np.concatenate([packed_matrix(fours[..., 0]), scales[0], shifts.view(np.float32)])


def matmul(a, b, out=None, accumulate=False, precision=None):
    """``a [m, k] @ b [k, n]``, both float32 or both float64; ``out [m, n]`` is contiguous and may be added
    to. ``precision``: "bfloat16" rounds both, float32, to it, "int8" brings them to 8 and 7 bits.
    """
    (m, k), n = a.shape, b.shape[1]
    if out is None:
        out, accumulate = np.empty((m, n), a.dtype), False
    if not k and not accumulate:
        out[...] = 0
    if not (m and k and n):
        return out
    if precision == "int8":
        rows, packed, flat = np.ascontiguousarray(a).reshape(-1), packed_matrix(b, precision), out.reshape(-1)

        def some(m0, m1):
            where = flat, m0 * n, n, m1 - m0, k, n, accumulate
            multiply_quantised(rows, m0 * k, k, False, packed, *where)

        threads.split(m, some, at_least=k * n)
        return out
    width = panel_width(a.dtype)
    panels, of = -(-n // width), _EACH[precision]
    multiply, pack, elements, laid_as = _parts(a.dtype.char, precision)
    a, a_row, a_k = _flat(a)
    operands, depth = (a, a_row, a_k, *_flat(b), out.reshape(-1), k, n), min(BLOCK, -(-k // of))
    lays = of > 1 or a_k != 1

    def part(m0, m1, p0, p1):
        packed = np.empty(depth * width * (p1 - p0), elements)
        laid = np.empty((min(CHUNK, m1 - m0) * depth * of + width) * lays, laid_as)
        _product(multiply, pack, packed, laid, *operands, m0, m1, p0, p1, accumulate)

    if m >= n:
        threads.split(m, lambda m0, m1: part(m0, m1, 0, panels), at_least=k * n)
    else:
        threads.split(panels, lambda p0, p1: part(0, m, p0, p1), at_least=k * m * n // panels)
    return out
