"""The packed matrix product, over all edge sizes, and the threads it runs on."""

import os
import signal
import sys
import threading
import time

import numpy as np
import pytest
from matrices import SIZES, operand

import tinyrnn as tr
from tinyrnn.base import threads
from tinyrnn.kernels import gemm

TOLERANCE = {"float32": 2e-6, "float64": 1e-14}


@pytest.fixture(autouse=True)
def restored():
    """The number of threads is a setting of the process."""
    before = threads.threads()
    yield
    threads.set_threads(before)


@pytest.mark.parametrize(
    "layouts", ["plain plain", "transposed plain", "plain transposed", "strided strided"]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_product_of_every_size(rng, dtype, layouts):
    for m, k, n in SIZES:
        first, second = layouts.split()
        a, b = operand(rng, m, k, dtype, first), operand(rng, k, n, dtype, second)
        expected = a.astype("f8") @ b.astype("f8")
        scale = np.abs(a.astype("f8")) @ np.abs(b.astype("f8")) + 1e-300
        got = gemm.matmul(a, b, np.full((m, n), np.nan, dtype))
        assert got.dtype == dtype and got.shape == (m, n)
        assert (np.abs(got - expected) <= TOLERANCE[dtype] * scale).all(), (m, k, n)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_accumulation(rng, dtype):
    for m, k, n in SIZES[::7]:
        a, b, c = (
            operand(rng, m, k, dtype, "plain"),
            operand(rng, k, n, dtype, "plain"),
            operand(rng, m, n, dtype, "plain"),
        )
        expected = c + a @ b
        np.testing.assert_allclose(gemm.matmul(a, b, c, accumulate=True), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_product_with_a_packed_matrix_inside_larger_arrays(rng, dtype):
    """As a recurrent loop uses it: rows at an offset, with a stride; nothing else may be read or written."""
    for m, k, n in SIZES:
        if not (m and k and n):
            continue
        a, b = operand(rng, m, k, dtype, "plain"), operand(rng, k, n, dtype, "plain")
        around_a, around_c = np.full((m + 2, k + 3), np.nan, dtype), np.full((m + 2, n + 5), 7, dtype)
        around_a[1:-1, :k] = a
        packed = gemm.packed_matrix(b)
        for accumulate in (False, True):
            gemm.multiply_packed(
                around_a.reshape(-1),
                k + 3,
                k + 3,
                False,
                packed,
                around_c.reshape(-1),
                n + 5,
                n + 5,
                m,
                k,
                n,
                accumulate,
            )
        np.testing.assert_allclose(around_c[1:-1, :n], 2 * (a.astype("f8") @ b), rtol=1e-3, atol=1e-3)
        around_c[1:-1, :n] = 7
        assert (around_c == 7).all(), (m, k, n)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_do_not_depend_on_threads_or_on_the_other_rows(rng, dtype):
    a, b = operand(rng, 100, 700, dtype, "plain"), operand(rng, 700, 90, dtype, "plain")
    results = []
    for n in (1, 2, 4):
        threads.set_threads(n)
        results += [gemm.matmul(a, b), gemm.matmul(a.T.copy().T, b), gemm.matmul(b.T, a.T).T]
    for r in results[1:]:
        np.testing.assert_array_equal(r, results[0])
    packed, c = gemm.packed_matrix(b), np.empty((100, 90), dtype)
    gemm.multiply_packed(a.reshape(-1), 0, 700, False, packed, c.reshape(-1), 0, 90, 100, 700, 90, False)
    np.testing.assert_array_equal(c, results[0])
    for rows in (1, 2, 3, 7):
        np.testing.assert_array_equal(gemm.matmul(a[:rows], b), results[0][:rows])


def test_nan_reaches_the_result():
    a, b = np.ones((4, 5), "f"), np.ones((5, 3), "f")
    a[2, 3] = np.nan
    np.testing.assert_array_equal(np.isnan(gemm.matmul(a, b)), np.isnan(a @ b))


def test_loops_share_one_product():
    """Layers of different sizes, with and without a table before them, and products outside of loops."""
    embedding = tr.Embedding(7, 5)
    rnn = tr.RNN("gru", 5, 6, num_layers=2, seed=0)
    rnn(embedding(np.zeros((3, 2), int)))[0].sum().backward()
    gemm.matmul(np.ones((3, 4), "f"), np.ones((4, 5), "f"))
    found = [s[0].dtype.name for s in gemm.multiply_packed.signatures]
    assert found.count("float32") == 1


# ------------------------------------------------------------------ threads


@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_split_covers_everything_once(n):
    threads.set_threads(n)
    for size in (0, 1, 2, 7, 100):
        seen, lock = [], threading.Lock()

        def part(first, last, seen=seen, lock=lock):
            with lock:
                seen.extend(range(first, last))

        threads.split(size, part, at_least=threads.WORTH)
        assert sorted(seen) == list(range(size))


def test_little_work_stays_on_the_calling_thread():
    threads.set_threads(4)
    names = set()
    threads.split(100, lambda first, last: names.add(threading.current_thread().name), at_least=1)
    assert names == {threading.current_thread().name}


def test_an_error_in_a_part_is_raised_after_all_parts_ended():
    threads.set_threads(4)
    ended = []

    def part(first, last):
        if first:
            ended.append(first)
        if first == 25:
            raise ZeroDivisionError("part")

    with pytest.raises(ZeroDivisionError, match="part"):
        threads.split(100, part, at_least=threads.WORTH)
    assert sorted(ended) == [25, 50, 75]


def test_parts_may_be_split_again_and_two_threads_may_split_at_once():
    """What one of ours is to split it computes alone."""
    threads.set_threads(3)
    seen, lock = [], threading.Lock()

    def inner(first, last):
        with lock:
            seen.extend(range(first, last))

    def outer(first, last):
        for _ in range(first, last):
            threads.split(7, inner, at_least=threads.WORTH)

    callers = [threading.Thread(target=outer, args=(0, 5)) for _ in range(4)]
    for caller in callers:
        caller.start()
    threads.split(10, outer, at_least=threads.WORTH)
    for caller in callers:
        caller.join(timeout=60)
        assert not caller.is_alive()
    assert sorted(seen) == sorted([*range(7)] * 30)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own():
    threads.set_threads(2)
    a = np.ones((100, 100), "f")
    right = gemm.matmul(a, a)
    if (child := os.fork()) == 0:  # pragma: no cover
        os._exit(0 if (gemm.matmul(a, a) == right).all() else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_an_interrupt_waits_for_what_still_writes():
    threads.set_threads(2)
    done, interrupted = [], threading.Event()

    def interrupt():
        os.kill(os.getpid(), signal.SIGINT)
        interrupted.set()

    def part(first, last):
        if first:
            assert interrupted.wait(60)
            time.sleep(0.2)
            done.append(first)
        else:
            threading.Timer(0.1, interrupt).start()

    with pytest.raises(KeyboardInterrupt):
        threads.split(2, part, at_least=threads.WORTH)
    assert done == [1]


def test_interrupts_at_any_line_leave_threads_that_work():
    """Whatever line of `split` is interrupted, once or twice: nothing writes afterwards, and all threads are
    used again.
    """
    threads.set_threads(3)
    written, lines = [], 0

    def part(first, last):
        if first:
            time.sleep(0.002)
        written.append(first)

    for at in range(200):
        left = [at, at + 3]

        def tracer(frame, event, argument, left=left):
            if frame.f_code.co_filename != threads.__file__:
                return None
            if event == "line" and frame.f_code.co_name in (
                "split",
                "_shared",
                "<listcomp>",
                "give",
                "_let_them_end",
            ):
                left[:] = [n - 1 for n in left]
                if left and left[0] < 0:
                    del left[0]
                    raise KeyboardInterrupt
            return tracer

        sys.settrace(tracer)
        try:
            threads.split(3, part, at_least=threads.WORTH)
        except KeyboardInterrupt:
            lines += 1
        finally:
            sys.settrace(None)
        if len(left) == 2:
            break
        count = len(written)
        time.sleep(0.01)
        assert len(written) == count, "a part still wrote"
    assert lines > 10
    names = set()

    def named(first, last):
        names.add(threading.current_thread().name)
        time.sleep(0.01)

    threads.split(3, named, at_least=threads.WORTH)
    assert len(names) == 3


def test_blas_gets_its_threads_back():
    before = threads.blas_threads()
    if before is None:
        pytest.skip("this BLAS does not tell how many threads it uses")
    threads.set_blas_threads(2)
    try:
        with pytest.raises(KeyError), threads.alone():
            raise KeyError(threads.blas_threads())
        with threads.alone():
            assert threads.blas_threads() == 1
        assert threads.blas_threads() == 2
    finally:
        threads.set_blas_threads(before)


def test_blas_has_one_thread_inside_of_a_compiled_recurrence(monkeypatch):
    if threads.blas_threads() is None:
        pytest.skip("this BLAS does not tell its threads")
    seen, before = [], threads.blas_threads()
    threads.set_blas_threads(2)
    split = threads.split
    monkeypatch.setattr(
        threads, "split", lambda *a, **k: (seen.append(threads.blas_threads()), split(*a, **k))[1]
    )
    try:
        rnn = tr.RNN("rnn", 3, 4, seed=0)
        rnn(tr.ones((5, 2, 3), dtype="float32"))[0].sum().backward()
        assert seen and set(seen) == {1} and threads.blas_threads() == 2
        with pytest.raises(ZeroDivisionError), threads.alone(), threads.alone():
            1 / 0  # noqa: B018
        assert threads.blas_threads() == 2
    finally:
        threads.set_blas_threads(before)
