"""A walk over NumPy's public functions, each given tensors that are being differentiated.

What comes out must have the right value and gradient, or a GradientError must say what to do: never a plain
array or number that lost the gradient. The reference for values and derivatives is the NumPy function itself
on arrays.
"""

import inspect
import warnings

import numpy as np
import pytest

import tinyrnn as tr

# ------------------------------------------------------------------ how a function may be called, x [4] being
# differentiated

KEYS = np.array([True, False, True, False])


_BUFFERS = []  # the arrays of one call, which it may have written into


def buffer():
    _BUFFERS.append(np.array([0.11, 0.37, 0.58, 0.83]))
    return _BUFFERS[-1]


def square(x):
    return x.reshape(2, 2)


CALLS = {
    "f(v)": lambda f, x: f(x),
    "f(m)": lambda f, x: f(square(x)),
    "f(s)": lambda f, x: f(x[0]),
    "f(v, v)": lambda f, x: f(x, x * x),
    "f(m, m)": lambda f, x: f(square(x), square(x * x)),
    "f(m, v)": lambda f, x: f(square(x), x[:2]),
    "f(v, 2)": lambda f, x: f(x, 2),
    "f(v, 0.5)": lambda f, x: f(x, 0.5),
    "f(v, s)": lambda f, x: f(x, x[1]),
    "f(0.5, v)": lambda f, x: f(0.5, x),
    "f(a, v)": lambda f, x: f(buffer(), x),
    "f(s, 0.9)": lambda f, x: f(x[0], 0.9),
    "f(s, 3)": lambda f, x: f(x[0], 3),
    "f([v, v])": lambda f, x: f([x, x * x]),
    "f([s, s])": lambda f, x: f([x[0], x[1]]),
    "f([[s, s], [s, s]])": lambda f, x: f([[x[0], -x[1]], [x[1], x[0]]]),
    "f([s, s], 0.5)": lambda f, x: f([x[0], x[1]], 0.5),
    "f([s, s], [s, s])": lambda f, x: f([x[0], x[1]], [x[2], x[3]]),
    "f((m, m))": lambda f, x: f((square(x), square(x * x))),
    "f(m, 1)": lambda f, x: f(square(x), 1),
    "f(m, 0, 1)": lambda f, x: f(square(x), 0, 1),
    "f(m, 2)": lambda f, x: f(square(x), 2),
    "f(m, -2)": lambda f, x: f(square(x), -2),
    "f(m, 'nuc')": lambda f, x: f(square(x), "nuc"),
    "f(m, 'fro')": lambda f, x: f(square(x), "fro"),
    "f(m, inf)": lambda f, x: f(square(x), np.inf),
    "f(m, axis=0)": lambda f, x: f(square(x), axis=0),
    "f(m, axis=1, keepdims=True)": lambda f, x: f(square(x), axis=1, keepdims=True),
    "f(m, dtype=float32)": lambda f, x: f(square(x), dtype="float32"),
    "f(v, out=a)": lambda f, x: f(x, out=buffer()),
    "f(v, v, out=a)": lambda f, x: f(x, x, out=buffer()),
    "f(v, out=a, where=k)": lambda f, x: f(x, out=buffer(), where=KEYS),
    "f(v + 1)": lambda f, x: f(x + 1),
    "f(M, s)": lambda f, x: f(buffer().reshape(2, 2), x[0]),
    "f(v, ddof=1)": lambda f, x: f(x, ddof=1),
    "f(v, (2, 2))": lambda f, x: f(x, (2, 2)),
    "f(v, [0, 2])": lambda f, x: f(x, [0, 2]),
    "f(v, k)": lambda f, x: f(x, KEYS),
    "f(k, v)": lambda f, x: f(KEYS, x),
    "f(k, v, 0.5)": lambda f, x: f(KEYS, x, 0.5),
    "f([k], [v])": lambda f, x: f([KEYS], [x]),
    "f([0, 1, 1, 0], v)": lambda f, x: f([0, 1, 1, 0], x),
    "f(v, v, v)": lambda f, x: f(x, x * x, x + 1),
    "f(v, a, v)": lambda f, x: f(x, buffer(), x),
    "f(v, 0.3, 0.7)": lambda f, x: f(x, 0.3, 0.7),
    "f(a, s)": lambda f, x: f(buffer(), x[0]),
    "f(a, s, 0.9)": lambda f, x: f(buffer(), x[0], 0.9),
    "f(a, 0, s)": lambda f, x: f(buffer(), 0, x[0]),
    "f(a, [0], s)": lambda f, x: f(buffer(), [0], x[0]),
    "f(a, k, v)": lambda f, x: f(buffer(), KEYS, x),
    "f(a, k, v[:2])": lambda f, x: f(buffer(), KEYS, x[:2]),
    "f(m, [[0], [1]], s, 1)": lambda f, x: f(buffer().reshape(2, 2), np.array([[0], [1]]), x[0], 1),
    "f(a, 1, constant_values=s)": lambda f, x: f(buffer(), 1, constant_values=x[0]),
    "f(a, v, v)": lambda f, x: f(buffer(), x, x),
    "f(s, a, v)": lambda f, x: f(x[0], buffer(), x),
    "f(2, s)": lambda f, x: f(2, x[0]),
    "f((2, 2), s)": lambda f, x: f((2, 2), x[0]),
    "f((2, 2), s, float)": lambda f, x: f((2, 2), x[0], float),
    "f(s, 3, 4)": lambda f, x: f(x[0], 3, 4),
    "f('i,i', v, v)": lambda f, x: f("i,i", x, x),
    "f('ij,jk', m, m)": lambda f, x: f("ij,jk", square(x), square(x)),
    "f(m, m, axes=1)": lambda f, x: f(square(x), square(x), axes=1),
    "f(g, 0, m)": lambda f, x: f(lambda row: row * row, 0, square(x)),
    "f(g, m, [0])": lambda f, x: f(lambda row, axis: row.sum(axis=axis, keepdims=True), square(x), [0]),
    "f(a, [k, ~k], [s, 1])": lambda f, x: f(buffer(), [KEYS, ~KEYS], [x[0], 1.0]),
    "f(v, [(0, 1)], ...)": lambda f, x: f(x, (1, 1), "edge"),
    "f(m, [[0, 1], [1, 0]], 1)": lambda f, x: f(square(x), np.array([[0, 1], [1, 0]]), 1),
    "f([0, 1], [m, m])": lambda f, x: f([0, 1, 0, 1], [x, x * x]),
    "f(v, v, v, v)": lambda f, x: f(x, x, x, x),
    "f(v, bins=3, weights=v)": lambda f, x: f(buffer(), bins=3, weights=x),
    "f(v, dt)": lambda f, x: f(x, np.float64),
    "f(v[0:3], v[1:])": lambda f, x: f(x[:3], x[1:]),
    "f([m, v])": lambda f, x: f([square(x), x[:2]]),
    "f(spd)": lambda f, x: f(square(x) @ square(x).T + np.eye(2)),
    "f(t4, 2)": lambda f, x: f(
        (x * np.arange(1.0, 5)).reshape(2, 2, 1, 1) * np.eye(2).reshape(1, 1, 2, 2), 2
    ),
    "f(a, dtype, s)": lambda f, x: f(lambda i: i * x[0], (2,)),
    "f(iter)": lambda f, x: f(iter([x[0], x[1]]), float),
    "f(a, v, k)": lambda f, x: f(buffer(), x, out=buffer(), where=KEYS),
    "f((m, m), axis)": lambda f, x: f((square(x), square(x)), axis=1),
    "f([0, 2] v)": lambda f, x: f((np.array([0, 1]), np.array([0, 1])), (2, 2), x),
}

METHODS = {
    "f.reduce(v)": lambda f, x: f.reduce(x),
    "f.accumulate(v)": lambda f, x: f.accumulate(x),
    "f.reduceat(v, [0, 2])": lambda f, x: f.reduceat(x, [0, 2]),
    "f.outer(v, v)": lambda f, x: f.outer(x, x * x),
    "f.at(a, [0], s)": lambda f, x: f.at(buffer(), [0], x[0]),
    "f.at(v, [0])": lambda f, x: f.at(x, [0]),
    "f(v, out=a)": lambda f, x: f(x, out=buffer()),
}

# ------------------------------------------------------------------ what is not walked, each with its reason

NOT_WALKED = {
    "they read or write files, print, or run something": "fromfile genfromtxt loadtxt load save savez savez_compressed savetxt "
    "fromregex test info show_config show_runtime get_include",
    "their results are memory that nobody has written yet": "empty empty_like",
    "they take nothing that has the methods of a tensor (a TypeError, or None)": "bmat frombuffer",
    "they set or tell how NumPy itself behaves": "seterr geterr seterrcall geterrcall errstate setbufsize getbufsize "
    "set_printoptions get_printoptions printoptions",
    "they are about dtypes": "dtype issubdtype isdtype can_cast promote_types min_scalar_type mintypecode typename "
    "common_type result_type finfo iinfo",
}
NAMES_NOT_WALKED = {name for names in NOT_WALKED.values() for name in names.split()}

# Functions that no call above brings to a float that depends on x. Whatever appears here needs its reason.
WITHOUT_A_DERIVATIVE = {
    "their results are truth values": "all any allclose array_equal array_equiv isclose iscomplex iscomplexobj isfinite "
    "isfortran isin isinf isnan isnat isneginf isposinf isreal isrealobj isscalar iterable equal not_equal "
    "greater "
    "greater_equal less less_equal logical_and logical_not logical_or logical_xor signbit shares_memory "
    "may_share_memory",
    "their results are counts, indices, shapes or text": "argmax argmin argpartition argsort argwhere array2string array_repr "
    "array_str count_nonzero digitize flatnonzero lexsort matrix_rank ndim nonzero searchsorted shape size "
    "nanargmax nanargmin "
    "broadcast_shapes format_float_positional format_float_scientific",
    "they are flat almost everywhere": "ceil fix floor floor_divide rint round around sign trunc spacing angle imag "
    "ones_like zeros_like isfinite",
    "their arguments are integers, bools, bits, dates, characters or sizes": "base_repr binary_repr bitwise_and bitwise_count "
    "bitwise_invert bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor busday_count "
    "busday_offset "
    "datetime_as_string datetime_data diag_indices diag_indices_from eye gcd identity indices invert "
    "is_busday "
    "lcm left_shift mask_indices ones packbits ravel_multi_index right_shift tri tril_indices "
    "tril_indices_from triu_indices triu_indices_from unpackbits unravel_index zeros bartlett blackman "
    "hamming hanning "
    "fromstring einsum_path nested_iters frompyfunc",
}
NO_DERIVATIVE = {name for names in WITHOUT_A_DERIVATIVE.values() for name in names.split()}

MODULES = {"np": np, "np.linalg": np.linalg, "np.fft": np.fft, "np.emath": np.emath}


def public(module):
    names = [n for n in dir(module) if not n.startswith("_") and n not in NAMES_NOT_WALKED]
    found = {n: getattr(module, n) for n in names}
    return {
        n: f for n, f in found.items() if callable(f) and not inspect.isclass(f) and not inspect.ismodule(f)
    }


FUNCTIONS = [
    pytest.param(f, id=f"{where}.{n}") for where, module in MODULES.items() for n, f in public(module).items()
]
UFUNCS = [p for p in FUNCTIONS if isinstance(p.values[0], np.ufunc)]

X = np.array([0.61, 0.23, 0.42, 0.87])
DIRECTION = np.array([0.3, -0.7, 0.5, 0.9])


def floats(result):
    """The floating parts of a result, in order: tensors as they are, the rest as arrays."""
    if isinstance(result, tr.Tensor):
        return [result] if result.dtype.kind == "f" else []
    if isinstance(result, dict):
        return [y for v in result.values() for y in floats(v)]
    if isinstance(result, np.poly1d):
        return floats(result.coeffs)
    if isinstance(result, list | tuple) or inspect.isgenerator(result):
        return [y for v in result for y in floats(v)]
    if isinstance(result, np.ndarray) and result.dtype.kind == "O":
        return floats(result.tolist())
    if (
        isinstance(result, float | complex | np.inexact | np.ndarray)
        and np.asarray(result).dtype.kind in "fc"
    ):
        result = np.array(result)
        return [result] if result.dtype.kind == "f" else [result.real, result.imag]
    return []


def called(call, f, x):
    """The floating results of one call, with the arrays it was given, which it may have written into."""
    _BUFFERS.clear()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return floats(call(f, x)) + [a.copy() for a in _BUFFERS]


def slopes(call, f):
    """The results at X and their derivatives along DIRECTION, by differences of the NumPy function; None if
    it does not run.
    """
    try:
        at, above, below = (called(call, f, X + h * DIRECTION) for h in (0.0, 1e-6, -1e-6))
    except Exception:
        return None
    pairs = list(zip(above, below, strict=True))
    if any(a.shape != b.shape for a, b in pairs) or not all(
        np.isfinite(a).all() for a in (*at, *above, *below)
    ):
        return None
    return at, [(a.astype(float) - b.astype(float)) / 2e-6 for a, b in pairs]


def refused(error):
    """An error of tinyrnn, or one that NumPy made of it (``array[0] = t`` becomes a ValueError)."""
    while error is not None:
        if isinstance(error, tr.TinyrnnError):
            return True
        error = error.__cause__ or error.__context__
    return False


def check(call, f):
    """True if ``f`` was called so that a gradient had to be kept, and it was, or was refused."""
    reference = slopes(call, f)
    if reference is None or not any(np.abs(d).max(initial=0) > 1e-6 for d in reference[1]):
        return False
    values, derivatives = reference

    def loss(x):
        results = called(call, f, x)
        assert len(results) == len(values)
        total = 0.0 * x.sum()
        for k, (y, z, d) in enumerate(zip(results, values, derivatives, strict=True)):
            if not isinstance(y, tr.Tensor):
                assert np.abs(d).max(initial=0) <= 1e-6, "a plain array lost the gradient"
                continue
            np.testing.assert_allclose(y.numpy(), z, rtol=1e-6, err_msg="another value than NumPy's")
            total = total + ((k + 1.5) * y).sum()
        return total

    try:
        gradient = tr.grad(loss)(X)
    except AssertionError:
        raise
    except Exception as error:
        if not refused(error):
            raise AssertionError(f"neither a gradient nor an error of tinyrnn: {error!r}") from error
        return True
    expected = sum((k + 1.5) * d.sum() for k, d in enumerate(derivatives))
    assert (gradient.numpy() * DIRECTION).sum() == pytest.approx(expected, rel=1e-4, abs=1e-6)
    return True


@pytest.mark.parametrize("f", FUNCTIONS)
def test_no_function_of_numpy_loses_a_gradient(f, request):
    reached = []
    for name, call in CALLS.items():
        try:
            reached.append(check(call, f))
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
    name = request.node.callspec.id.rpartition(".")[2]
    assert any(reached) != (name in NO_DERIVATIVE), (
        "no call depends on x, or one does: put it in the table, or take it out"
    )


@pytest.mark.parametrize("f", UFUNCS)
def test_no_method_of_a_ufunc_loses_a_gradient(f):
    for name, call in METHODS.items():
        try:
            check(call, f)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
