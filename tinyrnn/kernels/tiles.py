"""The micro-kernel of matrix products in LLVM vector types, and how operands lie in memory for it.

A tile of 6 rows times 2 vectors of the result is held in registers, and gone over k once. What is multiplied
are *elements*, told by the dtype of the array that holds them:

- float32 or float64: a number as it is,
- int32: the bits of a float32 that is rounded to bfloat16,
- uint32: a pair of bfloat16 of neighbouring k; where sums are int32, four bytes of neighbouring k: of rows
  1 to 127, of a matrix with a sign.

The instruction ``vdpbf16ps`` (AVX512-BF16) or ``bfdot`` (Arm) multiplies two pairs and adds both products
to a float32. Processors without one multiply rounded float32 of rows by pairs of a matrix, which are taken
apart: the same products. Those of bytes are exact everywhere: ``vpdpbusd`` (VNNI), ``sdot`` (Arm), or
``vpmaddubsw``, whose sums of two products stay below 2^15 because rows have 7 bits.
"""

import functools

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

ROWS, VECTORS = 6, 2  # of the tile that is held in registers
FEW = 3  # rows, at most, that go over several panels at once: few sums would wait for each other
_DOT = {  # features of a processor -> its dot product of pairs, as LLVM's assembler writes it
    "avx512bf16": ("vdpbf16ps $3, $2, $0", "=v,0,v,v"),
    "bf16": ("bfdot $0.4s, $2.8h, $3.8h", "=w,0,w,w"),
}
_BYTES_DOT = {  # the same for four bytes, with the width of its vectors
    "avx512vnni": (64, "vpdpbusd $3, $2, $0", "=v,0,v,v"),
    "avxvnni": (32, "{vex} vpdpbusd $3, $2, $0", "=x,0,x,x"),
    "dotprod": (16, "sdot $0.4s, $2.16b, $3.16b", "=w,0,w,w"),
}
_BYTES_PAIRS = {  # or, in two steps, LLVM's names of sums of two products: of bytes, of what those give
    "avx512bw": (64, "llvm.x86.avx512.pmaddubs.w.512", "llvm.x86.avx512.pmaddw.d.512"),
    "avx2": (32, "llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx2.pmadd.wd"),
}


def _vector_bytes() -> int:
    """Width of the host's vectors: AVX-512, AVX, or 16 bytes (SSE, NEON)."""
    features = llvmlite.binding.get_host_cpu_features()
    return 64 if features.get("avx512f") else 32 if features.get("avx") else 16


VECTOR_BYTES = _vector_bytes()


@functools.cache
def pair_instruction() -> str | None:
    """The feature by which this processor multiplies pairs of bfloat16; None where it has none."""
    features = llvmlite.binding.get_host_cpu_features()
    return next((name for name in _DOT if features.get(name)), None)


@functools.cache
def bytes_instruction() -> str | None:
    """The feature by which this processor multiplies four bytes; None: by shifts, one after the other."""
    features, table = llvmlite.binding.get_host_cpu_features(), _BYTES_DOT | _BYTES_PAIRS
    return next((f for f, how in table.items() if features.get(f) and how[0] == VECTOR_BYTES), None)


def row_elements(precision, dtype) -> np.dtype:
    """What rows of a dtype are laid out as, to be multiplied in a precision."""
    return np.dtype(dtype if precision is None else np.uint32 if pair_instruction() else np.int32)


def panel_width(dtype) -> int:
    """Columns of a packed panel of elements of a dtype."""
    return VECTORS * VECTOR_BYTES // np.dtype(dtype).itemsize


@intrinsic
def width_of(typing_context, array):
    """`panel_width` of an array's dtype, as a constant in compiled code."""
    width = VECTORS * VECTOR_BYTES * 8 // array.dtype.bitwidth

    def codegen(context, builder, signature, args):
        return context.get_constant(types.intp, width)

    return types.intp(array), codegen


@intrinsic
def each(typing_context, array):
    """How many of k an element of ``array`` holds: 1, or the 2 of a pair, as a constant in compiled code."""
    count = 2 if array.dtype == types.uint32 else 1

    def codegen(context, builder, signature, args):
        return context.get_constant(types.intp, count)

    return types.intp(array), codegen


@intrinsic
def at(typing_context, array, offset):
    """Pointer to element ``offset`` of a flat array."""

    def codegen(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.gep(data, [args[1]])

    return types.CPointer(array.dtype)(array, types.intp), codegen


def _vector(pointer, count=1):
    """The type of so many vectors of what ``pointer`` points to."""
    size = 8 if isinstance(pointer.type.pointee, ir.DoubleType) else 4
    return ir.VectorType(pointer.type.pointee, count * VECTOR_BYTES // size)


def _load(builder, pointer, count=1):
    value = builder.load(builder.bitcast(pointer, _vector(pointer, count).as_pointer()))
    value.align = 4
    return value


def _splat(builder, value, count):
    """A vector of ``count`` times a number."""
    undefined = ir.Constant(ir.VectorType(value.type, count), ir.Undefined)
    first = builder.insert_element(undefined, value, ir.IntType(32)(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), count), None))


def _store(builder, value, pointer):
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer())).align = 4


def _rounded(builder, value):
    """The bits of a float32 rounded to the nearest bfloat16, the even one of two that are as near, in the
    lower half, and in the upper; NaN stays NaN.
    """
    vector = isinstance(value.type, ir.VectorType)
    kind = ir.VectorType(ir.IntType(32), value.type.count) if vector else ir.IntType(32)

    def constant(x):
        return ir.Constant(kind, [x] * kind.count if vector else x)

    bits = builder.bitcast(value, kind)
    even = builder.and_(builder.lshr(bits, constant(16)), constant(1))
    nearest = builder.add(bits, builder.add(even, constant(0x7FFF)))
    quiet = builder.or_(bits, constant(0x400000))
    bits = builder.select(builder.fcmp_unordered("uno", value, value), quiet, nearest)
    return builder.lshr(bits, constant(16)), builder.and_(bits, constant(0xFFFF0000))


@intrinsic
def rounded(typing_context, x):
    """A float32 rounded to bfloat16, as bits."""

    def codegen(context, builder, signature, args):
        return _rounded(builder, args[0])[1]

    return types.int32(types.float32), codegen


@intrinsic
def rounded_vector(typing_context, target, source):
    """A vector of `rounded` neighbours."""

    def codegen(context, builder, signature, args):
        _store(builder, _rounded(builder, _load(builder, args[1]))[1], args[0])
        return context.get_dummy_value()

    return types.void(target, source), codegen


@intrinsic
def pair(typing_context, first, second):
    """Two float32 as a pair of bfloat16."""

    def codegen(context, builder, signature, args):
        return builder.or_(_rounded(builder, args[0])[0], _rounded(builder, args[1])[1])

    return types.uint32(types.float32, types.float32), codegen


@intrinsic
def pair_vector(typing_context, target, first, second):
    """A vector of pairs, one of each from the vectors ``first`` and ``second``."""

    def codegen(context, builder, signature, args):
        target, first, second = args
        low, high = _rounded(builder, _load(builder, first))[0], _rounded(builder, _load(builder, second))[1]
        _store(builder, builder.or_(low, high), target)
        return context.get_dummy_value()

    return types.void(target, first, second), codegen


@intrinsic
def pair_row(typing_context, target, source):
    """A vector of pairs from twice as many neighbours."""

    def codegen(context, builder, signature, args):
        target, source = args
        both = _load(builder, source, 2)
        lanes = both.type.count // 2

        def every_other(value, first):
            order = ir.Constant(ir.VectorType(ir.IntType(32), lanes), list(range(first, 2 * lanes, 2)))
            return builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), order)

        low, high = _rounded(builder, both)
        _store(builder, builder.or_(every_other(low, 0), every_other(high, 1)), target)
        return context.get_dummy_value()

    return types.void(target, source), codegen


@intrinsic
def bytes_row(typing_context, target, source, factor):
    """A vector of four bytes each, from four times as many neighbours: each times ``factor``, rounded to the
    nearest integer, the even one of two that are as near, plus 64.
    """

    def codegen(context, builder, signature, args):
        target, source, factor = args
        x = _load(builder, source, 4)
        count, kind = x.type.count, x.type
        name = f"llvm.rint.v{count}f32"
        rint = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind]), name)
        nearest = builder.call(rint, [builder.fmul(x, _splat(builder, factor, count))])
        numbers = builder.fptosi(nearest, ir.VectorType(ir.IntType(32), count))
        numbers = builder.add(numbers, ir.Constant(numbers.type, [64] * count))
        packed = builder.trunc(numbers, ir.VectorType(ir.IntType(8), count))
        _store(builder, builder.bitcast(packed, _vector(target)), target)
        return context.get_dummy_value()

    return types.void(target, source, factor), codegen


@intrinsic
def copy_vector(typing_context, target, source):
    """One vector from ``source`` to ``target``: loops this short are not vectorised by LLVM."""

    def codegen(context, builder, signature, args):
        _store(builder, _load(builder, args[1]), args[0])
        return context.get_dummy_value()

    return types.void(target, source), codegen


def element(out, b, offset, step, left):
    """What ``out`` holds of ``b`` at ``offset``, from where ``left`` numbers of k, ``step`` apart, are
    there: zeros follow.
    """
    raise TypeError("element of tiles is for compiled kernels only")


@overload(element)
def _element(out, b, offset, step, left):
    if out.dtype == b.dtype:
        return lambda out, b, offset, step, left: b[offset]
    if out.dtype == types.int32:
        return lambda out, b, offset, step, left: rounded(b[offset]) if left > 0 else np.int32(0)
    return lambda out, b, offset, step, left: pair(b[offset], b[offset + step] if left > 1 else np.float32(0))


def vector(out, offset, b, source, step):
    """One vector of elements to ``out``, of k at ``source`` and, for pairs, ``step`` behind it in ``b``."""
    raise TypeError("vector of tiles is for compiled kernels only")


@overload(vector)
def _vector_of(out, offset, b, source, step):
    if out.dtype == b.dtype:
        return lambda out, offset, b, source, step: copy_vector(at(out, offset), at(b, source))
    if out.dtype == types.int32:
        return lambda out, offset, b, source, step: rounded_vector(at(out, offset), at(b, source))
    return lambda out, offset, b, source, step: pair_vector(
        at(out, offset), at(b, source), at(b, source + step)
    )


@intrinsic
def tile(typing_context, rows, vectors, a, a_stride, a_step, panel, panel_step, c, c_stride, k, accumulate):
    """C[rows, panel] (+)= A[rows, k] @ panel, the panel two vectors wide, or one, or several panels for `FEW`
    rows; ``k`` counts elements of the panel.

    In A, ``a_stride`` leads to the next row and ``a_step`` to the next element, ``panel_step`` to the next
    panel; C has contiguous rows. There is one loop for each size, so that the tile of C is held in registers.
    """
    i, flag = types.intp, types.boolean
    signature = types.void(rows, vectors, a, i, i, panel, i, c, i, i, flag)

    def codegen(context, builder, signature, args):
        rows, vectors, *rest = args
        function, intp = builder.function, ir.IntType(64)
        cases = [(v, r) for v in (1, VECTORS) for r in range(1, ROWS + 1)]
        cases += [(panels * VECTORS, r) for r in range(1, FEW + 1) for panels in (2, 4) if panels * r <= 6]
        blocks = [function.append_basic_block(f"gemm.{r}x{v}") for v, r in cases]
        done = function.append_basic_block("gemm.done")
        switch = builder.switch(builder.add(builder.mul(vectors, intp(8)), rows), blocks[-1])
        kinds = [signature.args[i] for i in (2, 5, 7)]  # of A, the panel and C
        for (v, r), block in zip(cases, blocks, strict=True):
            switch.add_case(intp(v * 8 + r), block)
            builder.position_at_end(block)
            _emit_tile(builder, (r, v), _dot(builder, *kinds), *rest)
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return signature, codegen


def _fma(builder, kind):
    """LLVM's fused multiply-add of vectors of a type."""
    single = isinstance(kind.element, ir.FloatType)
    name = f"llvm.fma.v{kind.count}{'f32' if single else 'f64'}"
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)


def _dot(builder, rows, panel, sums):
    """How elements of a dtype are multiplied by those of panels: how many of a row are taken, and a function
    of (sum, those, elements of columns) that emits the next sum.
    """
    rows, panel = rows.dtype, panel.dtype
    if sums.dtype == types.int32:
        return 1, _bytes_dot(builder, bytes_instruction())
    real = ir.DoubleType() if sums.dtype == types.float64 else ir.FloatType()
    kind = ir.VectorType(real, VECTOR_BYTES * 8 // sums.dtype.bitwidth)
    fma = _fma(builder, kind)
    if panel != types.uint32:
        return 1, lambda total, row, column: builder.call(fma, [row, column, total])
    elements = ir.VectorType(ir.IntType(32), kind.count)
    feature = pair_instruction()
    if rows == panel and feature:
        llvmlite.binding.initialize_native_asmparser()
        function = ir.FunctionType(kind, [kind, elements, elements])
        instruction = ir.InlineAsm(function, *_DOT[feature], side_effect=False)
        return 1, lambda total, row, column: builder.call(instruction, [total, row, column])
    sixteen, upper = (ir.Constant(elements, [x] * elements.count) for x in (16, 0xFFFF0000))

    def halves(pair):
        """The second first, as the instruction adds them."""
        return builder.and_(pair, upper), builder.shl(pair, sixteen)

    def parted(total, *given):
        *row, column = given
        for pair in zip(halves(*row) if rows == panel else reversed(row), halves(column), strict=True):
            total = builder.call(fma, [*(builder.bitcast(x, kind) for x in pair), total])
        return total

    return 1 if rows == panel else 2, parted


def _bytes_dot(builder, feature):
    """A function of (sums, rows, columns) that emits the next sums, of four products of bytes each, by the
    instructions of a feature.
    """
    count = VECTOR_BYTES // 4
    kind = ir.VectorType(ir.IntType(32), count)
    if feature in _BYTES_DOT:
        llvmlite.binding.initialize_native_asmparser()
        how = ir.FunctionType(kind, [kind] * 3), *_BYTES_DOT[feature][1:]
        instruction = ir.InlineAsm(*how, side_effect=False)
        return lambda total, row, column: builder.call(instruction, [total, row, column])
    if feature in _BYTES_PAIRS:
        eight, sixteen = (ir.VectorType(ir.IntType(b), count * 32 // b) for b in (8, 16))
        forms = zip(_BYTES_PAIRS[feature][1:], (eight, sixteen), (sixteen, kind), strict=True)
        of_bytes, of_sums = (
            cgutils.get_or_insert_function(builder.module, ir.FunctionType(out, [given, given]), name)
            for name, given, out in forms
        )
        ones = ir.Constant(sixteen, [1] * sixteen.count)

        def in_two_steps(total, row, column):
            pairs = builder.call(of_bytes, [builder.bitcast(x, eight) for x in (row, column)])
            return builder.add(total, builder.call(of_sums, [pairs, ones]))

        return in_two_steps

    def one_by_one(total, row, column):
        for bits in (0, 8, 16, 24):
            up, down = (ir.Constant(kind, [b] * count) for b in (24 - bits, 24))
            pair = [builder.ashr(builder.shl(x, up), down) for x in (row, column)]
            total = builder.add(total, builder.mul(*pair))
        return total

    return one_by_one


def _emit_tile(builder, size, how, a, a_stride, a_step, panel, panel_step, c, c_stride, k, accumulate):
    """The loop over k for one size of tile: rows and vectors; ``how`` elements are multiplied, from
    `_dot`.
    """
    (rows, vectors), (taken, dot) = size, how
    intp, sums_kind = ir.IntType(64), _vector(c)
    lanes = sums_kind.count
    a_rows = [builder.gep(a, [builder.mul(a_stride, intp(r))]) for r in range(rows)]
    c_rows = [builder.gep(c, [builder.mul(c_stride, intp(r))]) for r in range(rows)]
    outs = [builder.gep(c_rows[r], [intp(v * lanes)]) for r in range(rows) for v in range(vectors)]

    entry = builder.block
    read, loop, done = (builder.function.append_basic_block(f"gemm.{n}") for n in ("read", "loop", "end"))
    builder.cbranch(accumulate, read, loop)
    builder.position_at_end(read)
    before = [_load(builder, out) for out in outs]
    builder.branch(loop)

    builder.position_at_end(loop)
    i = builder.phi(intp)
    i.add_incoming(intp(0), entry)
    i.add_incoming(intp(0), read)
    sums = [builder.phi(sums_kind) for _ in outs]
    for phi, value in zip(sums, before, strict=True):
        phi.add_incoming(ir.Constant(sums_kind, None), entry)
        phi.add_incoming(value, read)
    offsets = [builder.mul(builder.add(builder.mul(i, intp(taken)), intp(t)), a_step) for t in range(taken)]
    wide = min(vectors, VECTORS)
    starts = [builder.gep(panel, [builder.mul(panel_step, intp(p))]) for p in range(vectors // wide)]
    starts = [builder.gep(start, [builder.mul(i, intp(wide * lanes))]) for start in starts]
    columns = [_load(builder, builder.gep(start, [intp(v * lanes)])) for start in starts for v in range(wide)]
    new = []
    for r in range(rows):
        row = [builder.load(builder.gep(a_rows[r], [offset])) for offset in offsets]
        row = [_splat(builder, x, lanes) for x in row]
        new += [dot(sums[r * vectors + v], *row, columns[v]) for v in range(vectors)]
    i_next = builder.add(i, intp(1))
    i.add_incoming(i_next, loop)
    for phi, value in zip(sums, new, strict=True):
        phi.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", i_next, k), loop, done)

    builder.position_at_end(done)
    for value, out in zip(new, outs, strict=True):
        _store(builder, value, out)
