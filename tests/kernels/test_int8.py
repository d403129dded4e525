"""Products of 8 bits: what is quantised, how it is laid out, every way to multiply bytes."""

import ctypes
import platform

import llvmlite.binding
import numpy as np
import pytest
from llvmlite import ir
from matrices import SIZES, operand
from numba import types

import tinyrnn as tr
from tinyrnn.base import threads
from tinyrnn.kernels import gemm, plain, references, tiles


def product(a, b, function=gemm.multiply_quantised):
    """As a recurrent loop makes it: rows at an offset, with a stride; nothing else may be read or written."""
    (m, k), n = a.shape, b.shape[1]
    around_a, around_c = np.full((m + 2, k + 3), np.nan, "f"), np.full((m + 2, n + 5), 7, "f")
    around_a[1:-1, :k] = a
    where = k + 3, k + 3, False, gemm.packed_matrix(b, "int8"), around_c.reshape(-1), n + 5, n + 5, m, k, n
    function(around_a.reshape(-1), *where, False)
    found = around_c[1:-1, :n].copy()
    around_c[1:-1, :n] = 0
    function(around_a.reshape(-1), *where, True)
    np.testing.assert_array_equal(around_c[1:-1, :n], found)
    around_c[1:-1, :n] = 7
    assert (around_c == 7).all(), (m, k, n)
    return found


@pytest.mark.parametrize("layout", ["plain", "transposed", "strided"])
def test_product_of_every_size(rng, layout):
    for m, k, n in [*SIZES, (3, 1027, 5), (7, 2060, 33)]:
        if not (m and k and n):
            continue
        a, b = operand(rng, m, k, "f", "plain"), operand(rng, k, n, "f", layout)
        right = references.int8_product(a, b)
        for found in (product(a, b), gemm.matmul(np.asfortranarray(a), b, precision="int8")):
            np.testing.assert_allclose(found, right, rtol=1e-6, err_msg=str((m, k, n)))
        if m < 4:
            by_python = product(a, b, lambda *given: plain.multiply("int8", *given))
            np.testing.assert_allclose(by_python, right, rtol=1e-6)
    assert gemm.matmul(np.ones((2, 0), "f"), np.ones((0, 3), "f"), precision="int8").tolist() == [[0] * 3] * 2


def test_what_is_quantised():
    """Halves go to the even integer; the largest of a row is 63, of a column 127."""
    x = np.array([[63, 0.5, -1.5, 2.5, -63, 0]], "f")
    integers, scales = references.quantised(4 * x, 1, 63)
    assert integers.tolist() == [[63, 0, -2, 2, -63, 0]] and scales.tolist() == [[4]]
    np.testing.assert_array_equal(product(4 * x, np.eye(6, dtype="f")), 4 * np.rint(x))
    integers, scales = references.quantised(np.array([[254, 3], [-1, -1.5]], "f"), 0, 127)
    assert integers.tolist() == [[127, 127], [0, -64]] and scales[0, 0] == 2


def test_error_is_what_so_many_bits_leave(rng):
    a, b = rng.standard_normal((50, 300)).astype("f"), rng.standard_normal((300, 40)).astype("f")
    steps = np.abs(a).max(1, keepdims=True) / 63, np.abs(b).max(0, keepdims=True) / 127
    gap = product(a, b) - a @ b
    assert (np.abs(gap) <= np.abs(a) @ (steps[1] / 2 + 0 * b) + (steps[0] / 2 + 0 * a) @ np.abs(b) + 5).all()
    expected = np.sqrt(300 * (steps[0] ** 2 + steps[1] ** 2) / 12)  # of numbers rounded evenly
    assert 0.8 < np.sqrt(np.mean((gap / expected) ** 2)) < 1.2


def test_numbers_that_are_none(rng):
    """What is not finite in a row or in a column makes all of it NaN; zeros stay zero."""
    for k in (5, 64, 300):
        a, b = rng.standard_normal((7, k)).astype("f"), rng.standard_normal((k, 6)).astype("f")
        a[1, k // 2], a[2, -1], a[3, 0], a[4], a[5] = np.nan, np.inf, -np.inf, 0, 1e-37
        b[:, 1], b[k // 3, 2], b[-1, 3] = 0, np.nan, -np.inf
        found = product(a, b)
        bad = ~np.isfinite(a).all(axis=1)[:, None] | ~np.isfinite(b).all(axis=0)
        np.testing.assert_array_equal(np.isnan(found), bad)
        assert not found[4:6][~bad[4:6]].any() and not found[:, 1][~bad[:, 1]].any()
        np.testing.assert_allclose(found, references.int8_product(a, b), rtol=1e-6)
    large = np.full((1, 8), 3e38, "f")
    assert np.isinf(product(large, np.ones((8, 1), "f"))).all()
    assert product(large, np.full((8, 1), 1e-30, "f")) == pytest.approx(2.4e9)


def test_the_largest_sums_are_exact(rng):
    """Sums of two products stay below 2^15 where they are made in 16 bits, all of them below 2^31."""
    k = 2**31 // (127 * 63)
    a, b = np.full((1, k), -63, "f"), np.full((k, 2), 127, "f")
    b[:, 1] = -127
    np.testing.assert_allclose(product(a, b), [[-63 * 127 * k, 63 * 127 * k]], rtol=1e-7)
    with pytest.raises(tr.InputError, match="rows is too high for products of int8: use bfloat16"):
        gemm.packed_matrix(np.zeros((k + 1, 1), "f"), "int8")


def test_results_do_not_depend_on_threads_or_on_the_other_rows(rng):
    a, b = operand(rng, 100, 700, "f", "plain"), operand(rng, 700, 90, "f", "plain")
    found, before = [], threads.threads()
    for n in (1, 2, 4):
        threads.set_threads(n)
        found.append(gemm.matmul(a, b, precision="int8"))
    threads.set_threads(before)
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
    for few in (1, 2, 3, 7):
        np.testing.assert_array_equal(product(a[:few], b), found[0][:few])


# ------------------------------------------------------------------ ways to multiply bytes


def tile_module(feature, size, monkeypatch):
    """A function of (rows, their stride, panel, sums, their stride, k) that multiplies one tile of a size."""
    monkeypatch.setattr(tiles, "bytes_instruction", lambda: feature)
    module, i = ir.Module(), ir.IntType(64)
    pointer = ir.IntType(32).as_pointer()
    function = ir.Function(
        module, ir.FunctionType(ir.VoidType(), [pointer, i, pointer, pointer, i, i]), "tile"
    )
    builder = ir.IRBuilder(function.append_basic_block())
    a, a_stride, panel, c, c_stride, k = function.args
    kinds = [types.CPointer(t) for t in (types.uint32, types.uint32, types.int32)]
    rest = a, a_stride, i(1), panel, i(0), c, c_stride, k, ir.IntType(1)(0)
    tiles._emit_tile(builder, size, tiles._dot(builder, *kinds), *rest)
    builder.ret_void()
    return llvmlite.binding.parse_assembly(str(module))


HERE = llvmlite.binding.get_host_cpu_features()
WAYS = {None: (tiles.VECTOR_BYTES,), **tiles._BYTES_DOT, **tiles._BYTES_PAIRS}


@pytest.mark.parametrize("feature", WAYS)
def test_every_way_gives_the_same_sums(feature, rng, monkeypatch):
    if feature and not HERE.get(feature):
        pytest.skip(f"this processor has no {feature}")
    monkeypatch.setattr(tiles, "VECTOR_BYTES", WAYS[feature][0])
    columns, k = 2 * WAYS[feature][0] // 4, 37
    module = tile_module(feature, (6, 2), monkeypatch)
    host = llvmlite.binding.get_host_cpu_features().flatten()
    target = llvmlite.binding.Target.from_triple(llvmlite.binding.get_process_triple())
    machine = target.create_target_machine(llvmlite.binding.get_host_cpu_name(), host, 3)
    a = rng.integers(1, 128, (6, k, 4), np.uint8)
    b = rng.integers(-127, 128, (k, columns, 4), np.int8)
    a[:2], b[:, :2] = [[[1]], [[127]]], 127
    b[:, 2:4] = -127
    c = np.full((6, columns), 5, np.int32)
    with llvmlite.binding.create_mcjit_compiler(module, machine) as engine:
        pointer, i = ctypes.c_void_p, ctypes.c_int64
        kind = ctypes.CFUNCTYPE(None, pointer, i, pointer, pointer, i, i)
        call = kind(engine.get_function_address("tile"))
        call(a.ctypes.data, k, b.ctypes.data, c.ctypes.data, columns, k)
    right = np.einsum("rkx,kcx->rc", a.astype(np.int64), b.astype(np.int64))
    np.testing.assert_array_equal(c, right)


ASSEMBLED = {
    "avx512vnni": ("x86_64", "znver4", "vpdpbusd", "%zmm"),
    "avxvnni": ("x86_64", "alderlake", "{vex} vpdpbusd", "%ymm"),
    "avx512bw": ("x86_64", "skylake-avx512", "vpmaddubsw", "%zmm"),
    "avx2": ("x86_64", "haswell", "vpmaddubsw", "%ymm"),
    "dotprod": ("aarch64", "neoverse-n1", "sdot", ".4s"),
}


def assembled(cpu, module):
    """The text, with blanks for tabs."""
    llvmlite.binding.initialize_native_target()
    llvmlite.binding.initialize_native_asmprinter()
    target = llvmlite.binding.Target.from_triple(llvmlite.binding.get_process_triple())
    return target.create_target_machine(cpu=cpu, opt=3).emit_assembly(module).replace("\t", " ")


@pytest.mark.parametrize("feature", ASSEMBLED)
def test_a_tile_is_assembled_for_processors_with_the_instruction(feature, monkeypatch):
    """Twelve for a tile of six rows and two vectors, for processors that this one need not be."""
    kind, cpu, instruction, register = ASSEMBLED[feature]
    if platform.machine() != kind:
        pytest.skip(f"LLVM assembles only for {platform.machine()} here")
    monkeypatch.setattr(tiles, "VECTOR_BYTES", WAYS[feature][0])
    lines = assembled(cpu, tile_module(feature, (6, 2), monkeypatch)).splitlines()
    found = [line for line in lines if f"{instruction} " in line]
    assert len(found) == 12 and all(register in line for line in found)
    assert not [line for line in lines if "vpmulld" in line]


@pytest.mark.parametrize(
    ("feature", "order"), [("avx512vnni", "%zmm2, %zmm1, %zmm0"), ("avxvnni", "%ymm2, %ymm1, %ymm0")]
)
def test_order_of_operands(feature, order, monkeypatch):
    """Sums, bytes without a sign, bytes with one: last to first, as LLVM writes its own ``vpdpbusd``."""
    kind, cpu, instruction, _ = ASSEMBLED[feature]
    if platform.machine() != kind:
        pytest.skip(f"LLVM assembles only for {platform.machine()} here")
    monkeypatch.setattr(tiles, "VECTOR_BYTES", WAYS[feature][0])
    vector = ir.VectorType(ir.IntType(32), WAYS[feature][0] // 4)
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(vector, [vector] * 3), "dot")
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(tiles._bytes_dot(builder, feature)(*function.args))
    assert f"{instruction} {order}" in assembled(cpu, llvmlite.binding.parse_assembly(str(module)))
