"""The machine code of loops: what LLVM could not vectorise is right, and several times as slow."""

import functools
import inspect
import re

import llvmlite.binding
import numba
import numpy as np
import pytest

import tinyrnn as tr
from tinyrnn.compiler.products import recorded_step
from tinyrnn.compiler.scan import plan_of
from tinyrnn.kernels import jit, noalias, pointwise, scalar_math

pytestmark = pytest.mark.skipif(
    not llvmlite.binding.get_host_cpu_features().get("avx2"), reason="reads instructions of AVX2"
)

_ARITHMETIC = re.compile(
    r"^\tv?(?:add|sub|mul|div|max|min|sqrt|fn?m(?:add|sub)\d+)([ps])[sd]\b", re.MULTILINE
)


# What a function may call: memory, errors, and products, which are called at an address.
_CALLABLE = re.compile(r"_ZN|NRT_|numba_|Py|_Py|\.|L$|mem(?:cpy|set|move)$")


def packed_loops(function, *signature):
    """How many loops of a function compute with packed instructions alone: a loop that is vectorised is one
    block of code, which jumps to its own beginning. No function of libm may be called.
    """
    options = dict(nogil=True, error_model="numpy", fastmath=jit.FAST, no_cpython_wrapper=True)
    compiled = numba.njit(**options, no_cfunc_wrapper=True)(function)
    compiled.compile(signature)  # code from the cache cannot be inspected
    (assembly,) = compiled.inspect_asm().values()
    called = {s for s in re.findall(r"\$([A-Za-z_.]\w*)", assembly) if not _CALLABLE.match(s)}
    assert not called, f"calls {', '.join(sorted(called))}"
    loops = re.findall(r"^(\.LBB\w+):((?:(?!^\.LBB).)*?)^\tj\w+\t\1$", assembly, re.DOTALL | re.MULTILINE)
    return sum(set(_ARITHMETIC.findall(block)) == {"p"} for _, block in loops)


LIBM = {
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cosh", "hypot", "mod", "sinh", "tan",
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(set(scalar_math.FUNCTIONS) - LIBM))
def test_loops_of_scalar_functions(name, dtype):
    inputs = {"where": ("a < 1", "a", "b")}.get(name, ("a", "b"))
    count = getattr(scalar_math.float64, name).py_func.__code__.co_argcount
    rule = f"2 * {name}({', '.join(inputs[:count])}) + b"  # arithmetic also where the function is a choice
    kernel = pointwise._kernel(f"loop_of_{name}", ("a", "b"), (False, False), rule, dtype)
    flat = numba.from_dtype(np.dtype(dtype))[::1]
    assert packed_loops(kernel.py_func, flat, flat, flat) >= 1


class Weights:
    def __init__(self, hidden):
        made = np.random.default_rng(0)
        self.W, self.U, *self.rows = [
            tr.tensor(made.standard_normal(shape).astype("f4"), requires_grad=True)
            for shape in [(hidden, 4 * hidden)] * 2 + [(hidden,)] * 16
        ]


def layer_norm_lstm(w, x, h, c):
    """An LSTM whose gates and cell state are normalised (Ba et al. 2016)."""
    n, parts = h.shape[1], tr.split(x @ w.W + h @ w.U, 4, axis=1)
    i, f, g, o = [tr.layer_norm(p, n) * gain for p, gain in zip(parts, w.rows, strict=False)]
    new = tr.sigmoid(f) * c + tr.sigmoid(i) * tr.tanh(g)
    return tr.sigmoid(o) * tr.tanh(tr.layer_norm(new, n) * w.rows[4]), new


def all_functions(w, x, h, c):
    a = tr.log(1.5 + h * h) + tr.log1p(c * c) + tr.expm1(tr.sin(x)) + tr.erf(h) * tr.cos(c)
    return tr.gelu(a), tr.tanh(c + (1.1 + a * a) ** tr.tanh(h) + a**3)


def many_arrays(w, x, *states):
    """Each state turns towards its neighbour: more arrays in one loop than LLVM would compare."""
    turned = zip(states, (*states[1:], x), w.rows[::2], w.rows[1::2], strict=True)
    return tuple([tr.tanh(gain * a + tr.sigmoid(bias * b) * b) for a, b, gain, bias in turned])


STEPS = {layer_norm_lstm: 2, all_functions: 2, many_arrays: 8}


@pytest.mark.parametrize("step", STEPS)
def test_fused_loops(step):
    """Forward and backward, as they are generated."""
    hidden = 8
    rows, weights = np.ones((2, hidden), np.float32), Weights(hidden)
    recording = recorded_step(functools.partial(step, weights), rows, (rows,) * STEPS[step])
    loops = plan_of(recording, tuple(range(STEPS[step])), frozenset()).loops
    module = jit.load_source("vectorised", loops.source)
    for loop in loops.loops:
        function = getattr(module, loop.function).py_func
        expected = inspect.getsource(function).count("for j in")
        found = packed_loops(function, *loop.signature(np.float32))
        assert found >= expected, f"{loop.function}: {found} of {expected} loops are packed"


def test_squares_and_cubes_are_products():
    """Of literal exponents, in the loop forward and in that of their derivatives."""
    rows = np.ones((2, 3), np.float32)
    for step, calls in [(lambda x, h: x**2 + h**3, 0), (lambda x, h: x**2.5 + h**3, 1)]:
        recording = recorded_step(step, rows, (rows,))
        forward, backward = plan_of(recording, (0,), frozenset()).loops.source.split("def ")[1:]
        assert forward.count("pow(") == calls and backward.count("pow(") == calls


def test_a_call_of_libm_is_noticed(monkeypatch):
    monkeypatch.setattr(scalar_math.float32, "log", scalar_math.float32.atan)
    with pytest.raises(AssertionError, match="calls atan"):
        test_fused_loops(all_functions)


def test_lost_scopes_are_noticed(monkeypatch):
    """Without what `noalias` says of each array, loops of many are not vectorised."""
    one_for_all = noalias.access(0, 1)
    monkeypatch.setattr(noalias, "access", lambda scope, scopes: one_for_all)
    with pytest.raises(AssertionError, match="0 of 1 loops are packed"):
        test_fused_loops(many_arrays)
