"""Products of operands rounded to bfloat16: what is rounded, how it is laid out, and the instruction."""

import platform

import llvmlite.binding
import numpy as np
import pytest
from llvmlite import ir
from matrices import SIZES, operand
from numba import types

from tinyrnn.base import threads
from tinyrnn.kernels import gemm, references, tiles


@pytest.fixture(params=[np.uint32, np.int32], ids=["pairs", "rounded rows"])
def rows(request, monkeypatch):
    """Rows as a processor with an instruction has them laid out, and as one without; both run anywhere."""
    monkeypatch.setattr(gemm, "row_elements", lambda precision, dtype: np.dtype(request.param))
    gemm._parts.cache_clear()
    yield request.param
    gemm._parts.cache_clear()


def exact(a, b):
    a, b = references.bfloat16(a).astype("f8"), references.bfloat16(b).astype("f8")
    return a @ b, np.abs(a) @ np.abs(b)


@pytest.mark.parametrize(
    "layouts", ["plain plain", "transposed plain", "plain transposed", "strided strided"]
)
def test_product_of_every_size(rng, rows, layouts):
    for m, k, n in [*SIZES, (3, 513, 5), (7, 1030, 33), (250, 515, 70)]:
        first, second = layouts.split()
        a, b = operand(rng, m, k, "f", first), operand(rng, k, n, "f", second)
        right, scale = exact(a, b)
        got = gemm.matmul(a, b, np.full((m, n), np.nan, "f"), precision="bfloat16")
        assert (np.abs(got - right) <= 2e-6 * scale + 1e-37).all(), (m, k, n)
        if k:
            again = gemm.matmul(a, b, got.copy(), accumulate=True, precision="bfloat16")
            assert (np.abs(again - 2 * right) <= 5e-6 * scale + 1e-37).all(), (m, k, n)


def test_packed_matrix_inside_larger_arrays(rng):
    """As a recurrent loop uses it: rows at an offset, with a stride; nothing else may be read or written."""
    for m, k, n in SIZES:
        if not (m and k and n):
            continue
        a, b = operand(rng, m, k, "f", "plain"), operand(rng, k, n, "f", "plain")
        around_a, around_c = np.full((m + 2, k + 3), np.nan, "f"), np.full((m + 2, n + 5), 7, "f")
        around_a[1:-1, :k] = a
        packed, flat = gemm.packed_matrix(b, "bfloat16"), (around_a.reshape(-1), around_c.reshape(-1))
        assert packed.dtype == np.float32
        for accumulate in (False, True):
            where = (k + 3, k + 3, False, packed, flat[1], n + 5, n + 5, m, k, n, accumulate)
            gemm.multiply_rounded(flat[0], *where)
        right, scale = exact(a, b)
        assert (np.abs(around_c[1:-1, :n] - 2 * right) <= 5e-6 * scale).all(), (m, k, n)
        around_c[1:-1, :n] = 7
        assert (around_c == 7).all(), (m, k, n)


def test_numbers_are_rounded_to_nearest_even(rows):
    """Each alone times 1: in a matrix, and in rows."""
    bits = np.array(
        [0x3F808000, 0x3F818000, 0x3F807FFF, 0x3F808001, 0xBF808000, 0x80000000, 0x7F7FFFFF], "u4"
    )
    special = np.array([np.inf, -np.inf, np.nan, 0, 1e-30, 3.3895314e38], "f")
    quiet = np.array([0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001], "u4").view("f")
    x = np.concatenate([bits.view("f"), special, quiet])[:, None]
    right = references.bfloat16(x)
    np.testing.assert_array_equal(
        right[:5, 0].view("u4"), [0x3F800000, 0x3F820000, 0x3F800000, 0x3F810000, 0xBF800000]
    )
    one = np.ones((1, 1), "f")
    np.testing.assert_array_equal(gemm.matmul(x, one, precision="bfloat16"), right)
    np.testing.assert_array_equal(gemm.matmul(one, x.T, precision="bfloat16"), right.T)
    rounded = np.empty_like(x)
    packed = gemm.packed_matrix(one, "bfloat16")
    gemm.multiply_rounded(x.reshape(-1), 0, 1, False, packed, rounded.reshape(-1), 0, 1, len(x), 1, 1, False)
    np.testing.assert_array_equal(rounded, right)


def test_rounding_of_whole_vectors(rng, rows):
    """They are rounded by other code than single numbers."""
    x = (rng.standard_normal((70, 64)) * 10.0 ** rng.integers(-30, 30, (70, 64))).astype("f")
    x[::7, ::5] = np.nan
    eye = np.eye(64, dtype="f")
    with np.errstate(invalid="ignore"):
        right = references.bfloat16(np.where(np.isnan(x), 0, x))
    finite = np.where(np.isnan(x), 0, x)
    for a in (finite, np.asfortranarray(finite)):
        np.testing.assert_array_equal(gemm.matmul(a, eye, precision="bfloat16"), right)
        np.testing.assert_array_equal(gemm.matmul(eye, a.T, precision="bfloat16"), right.T)
    reached = gemm.matmul(x, eye, precision="bfloat16")
    assert (np.isnan(reached).all(axis=1) == np.isnan(x).any(axis=1)).all()


def test_both_layouts_of_rows_give_the_same_bits_where_sums_are_exact(rng):
    a, b = (rng.integers(-8, 8, shape).astype("f") for shape in ((40, 300), (300, 50)))
    np.testing.assert_array_equal(gemm.matmul(a, b, precision="bfloat16"), a @ b)


def test_results_do_not_depend_on_threads_or_on_the_other_rows(rng, rows):
    a, b = operand(rng, 100, 700, "f", "plain"), operand(rng, 700, 90, "f", "plain")
    found, before = [], threads.threads()
    for n in (1, 2, 4):
        threads.set_threads(n)
        found += [gemm.matmul(x, b, precision="bfloat16") for x in (a, a.T.copy().T)]
        found += [gemm.matmul(a, b.T.copy().T, precision="bfloat16")]
    threads.set_threads(before)
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
    for few in (1, 2, 3, 7):
        np.testing.assert_array_equal(gemm.matmul(a[:few], b, precision="bfloat16"), found[0][:few])


# ------------------------------------------------------------------ other processors


def test_a_tile_is_assembled_for_processors_with_the_instruction(monkeypatch):
    """Twelve for a tile of six rows and two vectors, and nothing else that multiplies."""
    feature, cpu, instruction, register = {
        "x86_64": ("avx512bf16", "znver4", "vdpbf16ps", "%zmm"),
        "aarch64": ("bf16", "neoverse-v1", "bfdot", ".4s"),
    }.get(platform.machine(), [None] * 4)
    if feature is None:
        pytest.skip(f"no instruction for {platform.machine()} is known")
    llvmlite.binding.initialize_native_target()
    llvmlite.binding.initialize_native_asmprinter()
    target = llvmlite.binding.Target.from_triple(llvmlite.binding.get_process_triple())
    monkeypatch.setattr(tiles, "pair_instruction", lambda: feature)
    monkeypatch.setattr(tiles, "VECTOR_BYTES", 64 if feature == "avx512bf16" else 16)
    module, intp = ir.Module(), ir.IntType(64)
    pairs, real, flag = ir.IntType(32).as_pointer(), ir.FloatType().as_pointer(), ir.IntType(1)
    given = [pairs, intp, intp, pairs, intp, real, intp, intp, flag]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), given), "tile")
    builder = ir.IRBuilder(function.append_basic_block())
    pointers = [types.CPointer(t) for t in (types.uint32, types.uint32, types.float32)]
    tiles._emit_tile(builder, (6, 2), tiles._dot(builder, *pointers), *function.args)
    builder.ret_void()
    machine = target.create_target_machine(cpu=cpu, opt=3)
    lines = machine.emit_assembly(llvmlite.binding.parse_assembly(str(module))).splitlines()
    found = [line for line in lines if instruction in line]
    assert len(found) == 12 and all(register in line for line in found)
    assert not [line for line in lines if "fmadd" in line or "fmla" in line or "mulps" in line]
