"""Kernels against their plain references, and what they promise about accuracy, order and caching."""

import gc
import os
import re
import subprocess
import sys
import warnings

import numba
import numpy as np
import pytest
from numba import types
from numba.extending import intrinsic

import tinyrnn as tr
from tinyrnn.kernels import groups, jit, notice, pointwise, random, rows, sampling, scatter, updates

rng = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_integers_and_half_precision_go_through_a_float(dtype):
    assert pointwise.run("s", ("x",), "sigmoid(x)", np.array([0, 1])).dtype == np.float64
    assert pointwise.run("s", ("x",), "sigmoid(x)", np.array([0, 1], np.float16)).dtype == np.float16
    assert pointwise.run("s", ("x",), "sigmoid(x)", np.array(0.0, dtype)).shape == ()


def test_add_rows_sums_repeated_ids_in_order(rng):
    g, ids = rng.standard_normal((50, 3)), rng.integers(0, 5, 50)
    expected = np.zeros((5, 3))
    np.add.at(expected, ids, g)
    np.testing.assert_array_equal(scatter.add_rows(g, ids, 5), expected)


@pytest.mark.parametrize("ids_type", [np.uint8, np.int32, np.int64])
def test_cross_entropy_takes_any_integer_type(rng, ids_type):
    logits = rng.standard_normal((4, 3)).astype(np.float32)
    assert rows.cross_entropy(logits, np.array([0, 1, 2, 0], ids_type)).shape == (4,)


# ------------------------------------------------------------------ random numbers


def test_splitmix64_equals_the_published_sequence():
    # the first outputs for seed 1234567 of the reference implementation (Vigna, splitmix64.c)
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    got = [random._bits(np.uint64(1234567), i) for i in range(5)]
    assert [int(g) for g in got] == expected


def test_uniform_and_normal_have_their_moments():
    g = tr.Generator(3)
    u, n = g.uniform(-1, 1, (100_000,)), g.normal(2.0, 3.0, (100_000,))
    assert abs(u.mean()) < 0.01 and abs(u.var() - 1 / 3) < 0.01
    assert abs(n.mean() - 2) < 0.05 and abs(n.std() - 3) < 0.05
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 0.01


def test_generator_state_continues_the_stream():
    g = tr.Generator(5)
    g.key()
    state = g.state
    after = g.uniform(0, 1, (4,))
    g.state = state
    np.testing.assert_array_equal(g.uniform(0, 1, (4,)), after)
    assert len({tr.Generator(s).key() for s in range(100)}) == 100


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dropout_keeps_the_mean_and_repeats_itself(dtype):
    x = np.ones((300, 300), dtype)
    y = random.dropout(x, 0.3, 42)
    assert y.dtype == dtype and abs(float(y.astype("f8").mean()) - 1) < 0.01
    assert abs((y == 0).mean() - 0.3) < 0.01
    np.testing.assert_array_equal(y, random.dropout(x, 0.3, 42))
    assert (y != random.dropout(x, 0.3, 43)).any()


# ------------------------------------------------------------------ optimiser updates


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adagrad", "adam"])
def test_updates_equal_their_references(rng, name, dtype):
    F = np.dtype(dtype).type
    numbers = {
        "sgd": (0.1, 0.9, True, 0.01, 0.5),
        "rmsprop": (0.1, 0.9, 0.1, 1e-8, 0.5, 0.01, 0.5),
        "adagrad": (0.1, 1e-10, 0.01, 0.5),
        "adam": (0.1, 0.9, 0.1, 0.99, 0.01, 1e-8, 0.01, True, 0.1, 0.01, 0.5),
    }[name]
    numbers = [n if isinstance(n, bool) else F(n) for n in numbers]
    slots = {"sgd": 1, "rmsprop": 2, "adagrad": 1, "adam": 2}[name]
    a = [rng.standard_normal(50).astype(dtype) for _ in range(2)] + [
        np.zeros(50, dtype) for _ in range(slots)
    ]
    b = [x.copy() for x in a]
    for _ in range(3):
        getattr(updates, name)(*a, *numbers)
        getattr(updates, f"{name}_reference")(*b, *numbers)
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(
            x, y, rtol=1e-5 if dtype == "float32" else 1e-12, atol=1e-7 if dtype == "float32" else 0
        )


# ------------------------------------------------------------------ the cache

USE_KERNEL = "import tinyrnn as tr; print(tr.sigmoid(tr.tensor([0.0])).item())"


def run_python(code, cache):
    environment = {**os.environ, "TINYRNN_CACHE": str(cache)}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120
    )


def test_kernels_are_found_again_in_another_process(tmp_path):
    first = run_python(USE_KERNEL, tmp_path)
    files = sorted(p.name for p in tmp_path.rglob("*") if p.suffix in (".nbc", ".py"))
    again = run_python(USE_KERNEL, tmp_path)
    assert first.stdout == "0.5\n" and re.fullmatch(
        r"(compiling .*\n)*", first.stderr
    )  # on a busy machine that takes long
    assert (again.stdout, again.stderr) == ("0.5\n", "")
    assert any(f.endswith(".nbc") for f in files)
    assert files == sorted(p.name for p in tmp_path.rglob("*") if p.suffix in (".nbc", ".py"))


def test_a_damaged_cache_is_survived_with_one_warning(tmp_path):
    run_python(USE_KERNEL, tmp_path)
    for file in tmp_path.rglob("*.nb?"):
        file.write_bytes(b"damaged")
    result = run_python(USE_KERNEL, tmp_path)
    assert result.stdout == "0.5\n" and result.stderr.count("Warning") == 1
    assert "Traceback" not in result.stderr


def test_a_cache_that_cannot_be_made_is_survived(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    result = run_python(USE_KERNEL, blocked / "cache")
    assert result.stdout == "0.5\n" and result.stderr.count("Warning") == 1


def test_a_full_disk_is_survived(tmp_path):
    pytest.importorskip("resource")
    limit = "import resource, signal; resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)); "
    result = run_python(limit + USE_KERNEL, tmp_path)
    assert (
        result.stdout == "0.5\n" and result.stderr.count("Warning") == 1 and "not writable" in result.stderr
    )
    assert run_python(USE_KERNEL, tmp_path).stdout == "0.5\n"


def test_processes_that_fill_the_cache_together(tmp_path):
    environment = {**os.environ, "TINYRNN_CACHE": str(tmp_path)}
    command = [sys.executable, "-W", "error", "-c", USE_KERNEL]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    together = [subprocess.Popen(command, env=environment, **pipes) for _ in range(3)]
    for process in together:
        out, err = process.communicate(timeout=120)
        assert out == "0.5\n" and "Warning" not in err


def test_what_compiles_for_long_is_announced_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(notice, "PATIENCE", 0.0)

    def inner(x):
        return x + 1

    def outer(x):
        return f(x) * 2

    f, g = numba.njit(inner), numba.njit(outer)
    assert g(1) == 4  # inner is compiled inside of outer
    assert re.fullmatch(r"compiling outer, once: \d+\.\d s\n", capsys.readouterr().err)
    with notice.compiling("cell"):
        f(1.0), g(1.0)
    assert re.fullmatch(r"compiling cell, once: \d+\.\d s\n", capsys.readouterr().err)
    f(1), g(1.0)
    monkeypatch.setattr(notice, "PATIENCE", 100.0)
    g(1j)
    assert capsys.readouterr().err == ""


def test_generated_source_is_repaired_if_someone_changed_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYRNN_CACHE", str(tmp_path))
    source = "value = 1\n"
    assert jit.load_source("x", source).value == 1
    next(tmp_path.rglob("x_*.py")).write_text("value = 2\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert jit.load_source("x", source).value == 1


def test_the_order_of_choices_is_that_of_a_stable_sort(rng):
    for n in [*range(1, 20), 100, 257]:
        p = rng.integers(0, 5, n) / 4.0
        order = sampling._largest_first(p)
        np.testing.assert_array_equal(order, np.argsort(-p, kind="stable"))


def test_an_error_at_an_address_is_raised_by_the_caller():
    @jit.jit
    def halved(x):
        if x % 2:
            raise ValueError("odd")
        return x // 2

    @intrinsic
    def at(typing_context, address, x):
        return types.int64(types.intp, types.int64), jit.call_address

    @jit.jit
    def caller(address, x):
        return at(address, x) + 1

    address = jit.address_of(halved, (types.int64,))
    assert caller(address, 8) == 5
    with pytest.raises(ValueError, match="odd"):
        caller(address, 7)


def test_the_garbage_collector_rests_while_kernels_are_made():
    assert gc.isenabled()
    with notice.making():
        with notice.making():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(KeyError), notice.making():
        raise KeyError
    assert gc.isenabled()
    gc.disable()
    try:
        with notice.making():
            pass
        assert not gc.isenabled()  # it was not this that put it to rest
    finally:
        gc.enable()


# ------------------------------------------------------------------ sums over axes and what is made of them


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (1, 2), None])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_groups_are_those_of_numpy_in_any_order_of_memory(rng, order, axes, dtype):
    x = rng.standard_normal((3, 5, 20)).astype(dtype).transpose(order)
    over = (0, 1, 2) if axes is None else axes
    top = x.max(over, keepdims=True)
    got = groups.run("shares", {"x": x}, {"top": top}, axes, "exp(x - top)", "part / total + top")
    if got is None:  # the axes lie apart
        assert order == (1, 0, 2) and axes == (1, 2)
        return
    e = np.exp(x - top)
    tolerance = {"rtol": 1e-5 if dtype == "float32" else 1e-13}
    np.testing.assert_allclose(got, e / e.sum(over, keepdims=True) + top, **tolerance)
    totals = groups.run("sums", {"x": x}, {"top": top}, axes, "exp(x - top)")
    np.testing.assert_allclose(totals, e.sum(over, keepdims=True), **tolerance)
    assert got.dtype == dtype and got.strides == np.empty_like(x).strides  # as x lies


def test_groups_take_no_other_arrays():
    x = np.ones((2, 3), np.float32)
    for other in (x.astype(np.float16), x.astype(int), x[:0]):
        assert groups.run("twice", {"x": other}, {}, (1,), "", "x + x") is None
    assert groups.run("mixed", {"x": x, "y": x.astype(float)}, {}, (1,), "", "x + y") is None


@pytest.mark.parametrize("axis", [0, 1, -1, (0, 1), None])
@pytest.mark.parametrize("name", ["max", "min", "var", "std", "norm", "logsumexp", "softmax", "log_softmax"])
def test_gradients_of_loops_are_those_of_the_tape(rng, name, axis):
    """With ``create_graph`` a derivative is made of ops, without of one loop."""
    if name.endswith("softmax") and not isinstance(axis, int):
        pytest.skip("along one axis only")
    x = tr.tensor(rng.integers(0, 5, (4, 3, 6)) / 4.0, requires_grad=True)  # with ties
    y = getattr(tr, name)(x, axis=axis)
    g, gradients = tr.asarray(rng.standard_normal(y.shape)), []
    for of_ops in (True, False):
        y.backward(g, create_graph=of_ops)
        gradients.append(x.grad.numpy())
        x.grad = None
    np.testing.assert_allclose(*gradients, atol=1e-12)
    assert np.abs(gradients[0]).max() > 0.001
