"""Matrix products by a packed micro-kernel in LLVM vector types, for float32 and float64.

A recurrent loop multiplies by the same matrix at every time step: BLAS packs it anew each time, here it is
packed once. The micro-kernel keeps 6 rows times 2 vectors of the result in registers and goes once over k
(Goto & van de Geijn 2008, "Anatomy of high-performance matrix multiplication"). Every element is summed in
the order of k, in blocks of `BLOCK` that do not depend on
the other sizes: neither the number of threads nor the number of rows changes a bit of the result.
"""

import functools

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..base import threads
from .jit import address_of, call_address, jit

ROWS, VECTORS = 6, 2  # of the tile that is held in registers
BLOCK = 256  # of k that is multiplied before the next panel is taken up
CHUNK = 240  # of rows that share a packed panel


def _vector_bytes() -> int:
    """Width of the host's vectors: AVX-512, AVX, or 16 bytes (SSE, NEON)."""
    features = llvmlite.binding.get_host_cpu_features()
    return 64 if features.get("avx512f") else 32 if features.get("avx") else 16


VECTOR_BYTES = _vector_bytes()


def panel_width(dtype) -> int:
    """Columns of a packed panel."""
    return VECTORS * VECTOR_BYTES // np.dtype(dtype).itemsize


@intrinsic
def _panel_width(typing_context, array):
    """`panel_width` of an array's dtype, as a constant in compiled code."""
    width = VECTORS * VECTOR_BYTES * 8 // array.dtype.bitwidth

    def codegen(context, builder, signature, args):
        return context.get_constant(types.intp, width)

    return types.intp(array), codegen


@intrinsic
def _at(typing_context, array, offset):
    """Pointer to element ``offset`` of a flat array."""

    def codegen(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.gep(data, [args[1]])

    return types.CPointer(array.dtype)(array, types.intp), codegen


@intrinsic
def _copy_vector(typing_context, target, source):
    """One vector from ``source`` to ``target``: loops this short are not vectorised by LLVM."""

    def codegen(context, builder, signature, args):
        target, source = args
        vector = ir.VectorType(source.type.pointee, VECTOR_BYTES * 8 // signature.args[1].dtype.bitwidth)
        size = signature.args[1].dtype.bitwidth // 8
        value = builder.load(builder.bitcast(source, vector.as_pointer()))
        value.align = size
        builder.store(value, builder.bitcast(target, vector.as_pointer())).align = size
        return context.get_dummy_value()

    return types.void(target, source), codegen


@intrinsic
def _tile(typing_context, rows, narrow, a, a_stride, a_step, panel, c, c_stride, k, accumulate):
    """C[rows, panel] (+)= A[rows, k] @ panel, the panel two vectors wide, or one (``narrow``).

    In A, ``a_stride`` leads to the next row and ``a_step`` to the next k; C has contiguous rows. There is one
    loop for each number of rows, so that the tile of C is held in registers.
    """
    i, flag = types.intp, types.boolean
    signature = types.void(rows, flag, a, i, i, panel, c, i, i, flag)

    def codegen(context, builder, signature, args):
        rows, narrow, *rest = args
        function, intp = builder.function, ir.IntType(64)
        cases = [(v, r) for v in (1, VECTORS) for r in range(1, ROWS + 1)]
        blocks = [function.append_basic_block(f"gemm.{r}x{v}") for v, r in cases]
        done = function.append_basic_block("gemm.done")
        switch = builder.switch(builder.add(builder.select(narrow, intp(0), intp(ROWS)), rows), blocks[-1])
        for i, block in enumerate(blocks):
            switch.add_case(intp(i + 1), block)
        for (v, r), block in zip(cases, blocks, strict=True):
            builder.position_at_end(block)
            _emit_tile(builder, r, v, *rest)
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return signature, codegen


def _emit_tile(builder, rows, vectors, a, a_stride, a_step, panel, c, c_stride, k, accumulate):
    """The loop over k for one size of tile."""
    scalar, intp = a.type.pointee, ir.IntType(64)
    single = isinstance(scalar, ir.FloatType)
    size = 4 if single else 8
    lanes = VECTOR_BYTES // size
    vector = ir.VectorType(scalar, lanes)
    fma_type = ir.FunctionType(vector, [vector] * 3)
    fma = cgutils.get_or_insert_function(
        builder.module, fma_type, f"llvm.fma.v{lanes}{'f32' if single else 'f64'}"
    )
    undefined, lane_0 = (
        ir.Constant(vector, ir.Undefined),
        ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes),
    )

    def vector_at(pointer, offset):
        return builder.bitcast(builder.gep(pointer, [offset]), vector.as_pointer())

    def load(pointer):
        value = builder.load(pointer)
        value.align = size
        return value

    a_rows = [builder.gep(a, [builder.mul(a_stride, intp(r))]) for r in range(rows)]
    c_rows = [builder.gep(c, [builder.mul(c_stride, intp(r))]) for r in range(rows)]
    tile = [vector_at(c_rows[r], intp(v * lanes)) for r in range(rows) for v in range(vectors)]

    entry = builder.block
    read, loop, done = (builder.function.append_basic_block(f"gemm.{n}") for n in ("read", "loop", "end"))
    builder.cbranch(accumulate, read, loop)
    builder.position_at_end(read)
    before = [load(p) for p in tile]
    builder.branch(loop)

    builder.position_at_end(loop)
    i = builder.phi(intp)
    i.add_incoming(intp(0), entry)
    i.add_incoming(intp(0), read)
    sums = [builder.phi(vector) for _ in tile]
    for phi, value in zip(sums, before, strict=True):
        phi.add_incoming(ir.Constant(vector, [0.0] * lanes), entry)
        phi.add_incoming(value, read)
    a_offset = builder.mul(i, a_step)
    panel_row = builder.gep(panel, [builder.mul(i, intp(vectors * lanes))])
    columns = [load(vector_at(panel_row, intp(v * lanes))) for v in range(vectors)]
    new = []
    for r in range(rows):
        element = builder.load(builder.gep(a_rows[r], [a_offset]))
        broadcast = builder.shuffle_vector(
            builder.insert_element(undefined, element, ir.IntType(32)(0)), undefined, lane_0
        )
        new += [builder.call(fma, [broadcast, columns[v], sums[r * vectors + v]]) for v in range(vectors)]
    i_next = builder.add(i, intp(1))
    i.add_incoming(i_next, loop)
    for phi, value in zip(sums, new, strict=True):
        phi.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", i_next, k), loop, done)

    builder.position_at_end(done)
    for value, pointer in zip(new, tile, strict=True):
        builder.store(value, pointer).align = size


@jit
def _pack(b, k_stride, n_stride, n, k0, k1, first, last, out):
    """Panels ``first`` to ``last`` of rows ``k0`` to ``k1`` of B, padded with zeros to one vector or two."""
    width = _panel_width(out)
    for p in range(first, last):
        columns = min(width, n - p * width)
        stored = width // 2 if columns <= width // 2 else width
        o0, b0 = (p - first) * (k1 - k0) * width, p * width * n_stride
        if k_stride == 1 and n_stride != 1:  # along the memory of B
            for j in range(columns):
                for k in range(k0, k1):
                    out[o0 + (k - k0) * stored + j] = b[b0 + j * n_stride + k]
        else:
            for k in range(k0, k1):
                at, source = o0 + (k - k0) * stored, b0 + k * k_stride
                if n_stride == 1 and columns == stored:
                    for j in range(0, stored, width // 2):
                        _copy_vector(_at(out, at + j), _at(b, source + j))
                else:
                    for j in range(columns):
                        out[at + j] = b[source + j * n_stride]
        for k in range(k1 - k0):
            for j in range(columns, stored):
                out[o0 + k * stored + j] = 0


@jit
def multiply_packed(a, a0, a_stride, tiled, packed, c, c0, c_stride, m, k, n, accumulate):
    """C[m, n] (+)= A[m, k] @ B, ``a`` and ``c`` flat, ``packed`` as `_pack` makes it, all of k in a panel.

    ``tiled``: A lies in tiles as `_product` makes them, and k is at most `BLOCK`.
    """
    width = _panel_width(packed)
    edge = np.empty(ROWS * width, c.dtype)  # takes tiles that are wider than C
    tiles = (m + ROWS - 1) // ROWS
    for k0 in range(0, k, BLOCK):
        kb = min(BLOCK, k - k0)
        add = accumulate or k0 > 0
        for p in range((n + width - 1) // width):
            columns = min(width, n - p * width)
            narrow = columns <= width // 2
            stored = width // 2 if narrow else width
            panel, whole = _at(packed, p * k * width + k0 * stored), columns == stored
            for i in range(tiles):  # of nearly equal height: a low one wastes the pipeline
                r0 = m * i // tiles
                rows, at_c = m * (i + 1) // tiles - r0, c0 + p * width + r0 * c_stride
                at_a = a0 + (r0 * k if tiled else k0 + r0 * a_stride)
                if add and not whole:
                    for r in range(rows):
                        for j in range(columns):
                            edge[r * stored + j] = c[at_c + r * c_stride + j]
                        for j in range(columns, stored):
                            edge[r * stored + j] = 0
                row, step = (1, rows) if tiled else (a_stride, 1)
                out = _at(c, at_c) if whole else _at(edge, 0)
                stride = c_stride if whole else stored
                _tile(rows, narrow, _at(a, at_a), row, step, panel, out, stride, kb, add)
                if not whole:
                    for r in range(rows):
                        for j in range(columns):
                            c[at_c + r * c_stride + j] = edge[r * stored + j]


@functools.cache
def address(dtype) -> int:
    """Where the machine code of `multiply_packed` lies: loops call it there (`multiply_at`) instead of
    holding copies of it, which LLVM would optimise anew for each loop.
    """
    real = numba.from_dtype(np.dtype(dtype))[::1]
    i, flag = numba.intp, numba.boolean
    return address_of(multiply_packed, (real, i, i, flag, real, real, i, i, i, i, i, flag))


@intrinsic
def multiply_at(
    typing_context, address, a, a0, a_stride, tiled, packed, c, c0, c_stride, m, k, n, accumulate
):
    """`multiply_packed` at its `address`."""
    i, flag = types.intp, types.boolean
    return types.void(i, a, i, i, flag, packed, c, i, i, i, i, i, flag), call_address


@functools.cache
def _pack_address(dtype) -> int:
    """Where the machine code of `_pack` lies, as `address`."""
    real, i = numba.from_dtype(np.dtype(dtype))[::1], numba.intp
    return address_of(_pack, (real, i, i, i, i, i, i, i, real))


@intrinsic
def _pack_at(typing_context, address, b, k_stride, n_stride, n, k0, k1, first, last, out):
    """`_pack` at its address."""
    i = types.intp
    return types.void(i, b, i, i, i, i, i, i, i, out), call_address


@jit
def _product(multiply, pack, a, a_row, a_k, b, b_k, b_n, c, k, n, m0, m1, p0, p1, accumulate):
    """Rows ``m0`` to ``m1`` and panels ``p0`` to ``p1`` of C (+)= A @ B; ``multiply`` and
    ``pack``: `address` and `_pack_address`.

    Where the rows of A are not contiguous, they are laid in tiles of up to 6, the rows of a tile side by side
    for each k.
    """
    width = _panel_width(c)
    vector = width // VECTORS
    tiled = a_k != 1
    panels = np.empty(min(BLOCK, k) * width * (p1 - p0), c.dtype)
    laid = np.empty(min(CHUNK, m1 - m0) * min(BLOCK, k) + width if tiled else 0, c.dtype)
    for k0 in range(0, k, BLOCK):
        kb = min(BLOCK, k - k0)
        _pack_at(pack, b, b_k, b_n, n, k0, k0 + kb, p0, p1, panels)
        for first in range(m0, m1, CHUNK):
            m, a0 = min(CHUNK, m1 - first), first * a_row + k0 * a_k
            tiles = (m + ROWS - 1) // ROWS if tiled else 0
            for i in range(tiles):
                r0, r1 = m * i // tiles, m * (i + 1) // tiles
                at = r0 * kb
                for kk in range(kb):
                    source = a0 + r0 * a_row + kk * a_k
                    if a_row == 1 and vector >= ROWS and source + vector <= a.size:
                        _copy_vector(_at(laid, at), _at(a, source))  # what is too much is written over next
                    else:
                        for r in range(r1 - r0):
                            laid[at + r] = a[source + r * a_row]
                    at += r1 - r0
            columns, add = min(n, p1 * width) - p0 * width, accumulate or k0 > 0
            c0 = first * n + p0 * width
            source, s0 = (laid, 0) if tiled else (a, a0)
            multiply_at(multiply, source, s0, a_row, tiled, panels, c, c0, n, m, kb, columns, add)


def _flat(x):
    """The memory of ``x`` as a flat array, and its strides in elements; a copy unless it or its transpose is
    contiguous.
    """
    if x.flags.c_contiguous:
        return x.reshape(-1), x.shape[1], 1
    if x.T.flags.c_contiguous:
        return x.T.reshape(-1), 1, x.shape[0]
    return np.ascontiguousarray(x).reshape(-1), x.shape[1], 1


def packed_matrix(b):
    """``b [k, n]`` in panels, for `multiply_packed`: a flat array."""
    (k, n), width = b.shape, panel_width(b.dtype)
    flat, k_stride, n_stride = _flat(b)
    panels = -(-n // width)
    out = np.empty(panels * k * width, b.dtype)

    def part(first, last):
        _pack(flat, k_stride, n_stride, n, 0, k, first, last, out[first * k * width :])

    threads.split(panels, part, at_least=k * width)
    return out


def matmul(a, b, out=None, accumulate=False):
    """``a [m, k] @ b [k, n]``, both float32 or both float64; ``out [m, n]`` is contiguous and may be added
    to.
    """
    (m, k), n = a.shape, b.shape[1]
    if out is None:
        out, accumulate = np.empty((m, n), a.dtype), False
    if not k and not accumulate:
        out[...] = 0
    if not (m and k and n):
        return out
    panels = -(-n // panel_width(a.dtype))
    addresses = address(a.dtype.char), _pack_address(a.dtype.char)
    operands = *addresses, *_flat(a), *_flat(b), out.reshape(-1), k, n
    if m >= n:
        threads.split(m, lambda m0, m1: _product(*operands, m0, m1, 0, panels, accumulate), at_least=k * n)
    else:
        threads.split(
            panels, lambda p0, p1: _product(*operands, 0, m, p0, p1, accumulate), at_least=k * m * n // panels
        )
    return out
