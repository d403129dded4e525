"""Matrix products by a packed micro-kernel in LLVM vector types, for float32 and float64.

A recurrent loop multiplies by the same matrix at every time step: BLAS packs it anew each time, here it is packed once. The
micro-kernel keeps 6 rows times 2 vectors of the result in registers and goes once over k (Goto & van de Geijn 2008, "Anatomy of
high-performance matrix multiplication"). Every element is summed in the order of k, in blocks of `BLOCK` that do not depend on
the other sizes: neither the number of threads nor the number of rows changes a bit of the result.
"""

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from . import threads
from .jit import jit

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


def _micro_kernel(rows):
    """Intrinsic: C[rows, panel] (+)= A[rows, k] @ panel. A may have any strides, C has contiguous rows."""

    @intrinsic
    def kernel(typing_context, a, row_stride, k_stride, panel, c, c_stride, k, accumulate):
        signature = types.void(a, types.intp, types.intp, panel, c, types.intp, types.intp, types.boolean)
        lanes = VECTOR_BYTES * 8 // a.dtype.bitwidth

        def codegen(context, builder, signature, args):
            a, row_stride, k_stride, panel, c, c_stride, k, accumulate = args
            scalar = a.type.pointee
            vector = ir.VectorType(scalar, lanes)
            intp = ir.IntType(64)
            suffix = "f32" if isinstance(scalar, ir.FloatType) else "f64"
            fma = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{lanes}{suffix}"
            )

            def vector_at(pointer, offset):
                return builder.bitcast(builder.gep(pointer, [offset]), vector.as_pointer())

            def load(pointer):
                value = builder.load(pointer)
                value.align = 4 if suffix == "f32" else 8
                return value

            def store(value, pointer):
                builder.store(value, pointer).align = 4 if suffix == "f32" else 8

            a_rows = [builder.gep(a, [builder.mul(row_stride, intp(r))]) for r in range(rows)]
            c_rows = [builder.gep(c, [builder.mul(c_stride, intp(r))]) for r in range(rows)]
            tile = [vector_at(c_rows[r], intp(v * lanes)) for r in range(rows) for v in range(VECTORS)]

            entry, function = builder.block, builder.function
            read, loop, done = (function.append_basic_block(n) for n in ("gemm.read", "gemm.loop", "gemm.done"))
            builder.cbranch(accumulate, read, loop)
            builder.position_at_end(read)
            before = [load(p) for p in tile]
            builder.branch(loop)

            builder.position_at_end(loop)
            i, a_offset = builder.phi(intp), builder.phi(intp)
            for phi in (i, a_offset):
                phi.add_incoming(intp(0), entry)
                phi.add_incoming(intp(0), read)
            sums = [builder.phi(vector) for _ in tile]
            for phi, value in zip(sums, before, strict=True):
                phi.add_incoming(ir.Constant(vector, [0.0] * lanes), entry)
                phi.add_incoming(value, read)
            panel_row = builder.gep(panel, [builder.mul(i, intp(VECTORS * lanes))])
            columns = [load(vector_at(panel_row, intp(v * lanes))) for v in range(VECTORS)]
            new = []
            for r in range(rows):
                element = builder.load(builder.gep(a_rows[r], [a_offset]))
                one = builder.insert_element(ir.Constant(vector, ir.Undefined), element, ir.IntType(32)(0))
                lane0 = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
                broadcast = builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), lane0)
                for v in range(VECTORS):
                    new.append(builder.call(fma, [broadcast, columns[v], sums[r * VECTORS + v]]))
            i_next, a_next = builder.add(i, intp(1)), builder.add(a_offset, k_stride)
            i.add_incoming(i_next, loop)
            a_offset.add_incoming(a_next, loop)
            for phi, value in zip(sums, new, strict=True):
                phi.add_incoming(value, loop)
            builder.cbranch(builder.icmp_signed("<", i_next, k), loop, done)

            builder.position_at_end(done)
            for value, pointer in zip(new, tile, strict=True):
                store(value, pointer)
            return context.get_dummy_value()

        return signature, codegen

    return kernel


_tile_1, _tile_2, _tile_3, _tile_4, _tile_5, _tile_6 = (_micro_kernel(m) for m in range(1, ROWS + 1))


@jit
def _tile(rows, a, a0, row_stride, k_stride, panel, p0, c, c0, c_stride, k, accumulate):
    if rows == 6:
        _tile_6(_at(a, a0), row_stride, k_stride, _at(panel, p0), _at(c, c0), c_stride, k, accumulate)
    elif rows == 5:
        _tile_5(_at(a, a0), row_stride, k_stride, _at(panel, p0), _at(c, c0), c_stride, k, accumulate)
    elif rows == 4:
        _tile_4(_at(a, a0), row_stride, k_stride, _at(panel, p0), _at(c, c0), c_stride, k, accumulate)
    elif rows == 3:
        _tile_3(_at(a, a0), row_stride, k_stride, _at(panel, p0), _at(c, c0), c_stride, k, accumulate)
    elif rows == 2:
        _tile_2(_at(a, a0), row_stride, k_stride, _at(panel, p0), _at(c, c0), c_stride, k, accumulate)
    else:
        _tile_1(_at(a, a0), row_stride, k_stride, _at(panel, p0), _at(c, c0), c_stride, k, accumulate)


@jit
def _panel_product(a, a0, row_stride, k_stride, panel, p0, c, c0, c_stride, m, k, columns, accumulate, edge):
    """C[m, columns] (+)= A[m, k] @ one packed panel; ``edge`` takes tiles that are wider than C."""
    width = _panel_width(panel)
    tiles = (m + 5) // 6
    for i in range(tiles):
        r0, r1 = m * i // tiles, m * (i + 1) // tiles  # tiles of nearly equal height: a low one wastes the pipeline
        at_a, at_c = a0 + r0 * row_stride, c0 + r0 * c_stride
        if columns == width:
            _tile(r1 - r0, a, at_a, row_stride, k_stride, panel, p0, c, at_c, c_stride, k, accumulate)
            continue
        if accumulate:
            for r in range(r1 - r0):
                for j in range(columns):
                    edge[r * width + j] = c[at_c + r * c_stride + j]
                for j in range(columns, width):
                    edge[r * width + j] = 0
        _tile(r1 - r0, a, at_a, row_stride, k_stride, panel, p0, edge, 0, width, k, accumulate)
        for r in range(r1 - r0):
            for j in range(columns):
                c[at_c + r * c_stride + j] = edge[r * width + j]


@jit
def _pack(b, k_stride, n_stride, n, k0, k1, p, out, o0):
    """Panel ``p`` of rows ``k0`` to ``k1`` of B, at ``out[o0:]``, padded with zeros to its full width."""
    width = _panel_width(out)
    columns = min(width, n - p * width)
    for k in range(k0, k1):
        at, source = o0 + (k - k0) * width, k * k_stride + p * width * n_stride
        for j in range(columns):
            out[at + j] = b[source + j * n_stride]
        for j in range(columns, width):
            out[at + j] = 0


@jit
def _pack_panels(b, k_stride, n_stride, k, n, out, first, last):
    for p in range(first, last):
        _pack(b, k_stride, n_stride, n, 0, k, p, out, p * k * _panel_width(out))


@jit
def multiply_packed(a, a0, a_stride, packed, c, c0, c_stride, m, k, n, accumulate):
    """C[m, n] (+)= A[m, k] @ B, ``a`` and ``c`` flat, ``packed`` from `packed_matrix`: the product of a recurrent loop."""
    width = _panel_width(packed)
    edge = np.empty(6 * width, c.dtype)
    for k0 in range(0, k, BLOCK):
        kb = min(BLOCK, k - k0)
        add = accumulate or k0 > 0
        for p in range((n + width - 1) // width):
            at, columns = (p * k + k0) * width, min(width, n - p * width)
            _panel_product(a, a0 + k0, a_stride, 1, packed, at, c, c0 + p * width, c_stride, m, kb, columns, add, edge)


@jit
def _product(a, a_row, a_k, b, b_k, b_n, c, k, n, m0, m1, p0, p1, accumulate):
    """Rows ``m0`` to ``m1`` and panels ``p0`` to ``p1`` of C (+)= A @ B."""
    width = _panel_width(c)
    panel, edge = np.empty(BLOCK * width, c.dtype), np.empty(6 * width, c.dtype)
    for r in range(m0, m1, CHUNK):
        rows = min(CHUNK, m1 - r)
        for k0 in range(0, k, BLOCK):
            kb = min(BLOCK, k - k0)
            add = accumulate or k0 > 0
            for p in range(p0, p1):
                _pack(b, b_k, b_n, n, k0, k0 + kb, p, panel, 0)
                at_a, at_c, columns = r * a_row + k0 * a_k, r * n + p * width, min(width, n - p * width)
                _panel_product(a, at_a, a_row, a_k, panel, 0, c, at_c, n, rows, kb, columns, add, edge)


def _flat(x):
    """The memory of ``x`` as a flat array, and its strides in elements; a copy unless it or its transpose is contiguous."""
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
    threads.split(panels, lambda p0, p1: _pack_panels(flat, k_stride, n_stride, k, n, out, p0, p1), at_least=k * width)
    return out


def matmul(a, b, out=None, accumulate=False):
    """``a [m, k] @ b [k, n]``, both float32 or both float64; ``out [m, n]`` is contiguous and may be added to."""
    (m, k), n = a.shape, b.shape[1]
    if out is None:
        out, accumulate = np.empty((m, n), a.dtype), False
    if not k and not accumulate:
        out[...] = 0
    if not (m and k and n):
        return out
    panels = -(-n // panel_width(a.dtype))
    operands = *_flat(a), *_flat(b), out.reshape(-1), k, n
    if m >= n:
        threads.split(m, lambda m0, m1: _product(*operands, m0, m1, 0, panels, accumulate), at_least=k * n)
    else:
        threads.split(panels, lambda p0, p1: _product(*operands, 0, m, p0, p1, accumulate), at_least=k * m * n // panels)
    return out
