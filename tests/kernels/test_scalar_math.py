"""Scalar functions of compiled loops against longer floats, and at the ends of what floats hold."""

import math

import numpy as np
import pytest

from tinyrnn.kernels import pointwise, scalar_math

# Largest errors in units in the last place, as the docstring of scalar_math states them.
LIMITS = {
    "exp": (2, 2), "tanh": (6, 5), "log": (1, 1.3), "log1p": (1.3, 1.3), "log2": (2, 2), "log10": (2, 3),
    "expm1": (1.7, 2), "erf": (1.3, 2), "sin": (1.6, 1.6), "cos": (1.6, 1.6), "pow": (0.6, 1.3),
}  # fmt: skip
DTYPES = ["float32", "float64"]
BELOW_ONE = {"log": 0, "log2": 0, "log10": 0, "log1p": -1}  # where they are -inf
# On some machines a long double is a float64, whose functions err as well.
SLACK = 0 if np.finfo(np.longdouble).eps < 1e-17 else 1


def run(name, *x):
    names = ("x", "y")[: len(x)]
    return pointwise.run(f"only_{name}", names, f"{name}({', '.join(names)})", *x)


def exact(name, *x):
    if name == "erf":  # NumPy has none
        return np.array([math.erf(v) for v in x[0].tolist()], np.longdouble)
    names = {"pow": "power"}
    with np.errstate(all="ignore"):
        return getattr(np, names.get(name, name))(*[v.astype(np.longdouble) for v in x])


def any_bits(rng, dtype, n):
    """Floats of any size, with subnormals, infinities and NaN among them."""
    whole = np.dtype(f"u{np.dtype(dtype).itemsize}")
    return rng.integers(0, np.iinfo(whole).max, n, whole, endpoint=True).view(dtype)


def arguments(rng, dtype):
    """Of any size, and dense where functions change: near 0, 1 and multiples of pi/4."""
    info, signs = np.finfo(dtype), np.array([1, -1], dtype)
    ladder = np.concatenate(
        [10.0 ** np.arange(-37, 38, 0.25), np.arange(1, 9) * float(info.smallest_subnormal)]
    )
    near = [
        np.linspace(-20, 20, 100_001), rng.standard_normal(50_000), np.linspace(0.6, 1.6, 50_001),
        np.arange(2000) * (np.pi / 4), np.ravel(ladder[:, None] * signs),
    ]  # fmt: skip
    return np.concatenate([any_bits(rng, dtype, 100_000), *[x.astype(dtype) for x in near]])


def errors(found, right):
    """In units in the last place, of what is finite; NaN, infinities and signs of zero must be the same."""
    rounded = right.astype(found.dtype)
    special = ~np.isfinite(rounded) | (rounded == 0)
    np.testing.assert_array_equal(found[special], rounded[special])
    zero = rounded == 0
    np.testing.assert_array_equal(np.signbit(found[zero]), np.signbit(rounded[zero]))
    return np.abs(found - right)[~special] / np.spacing(np.abs(rounded[~special]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in LIMITS if name != "pow"])
def test_errors_are_those_that_are_stated(rng, name, dtype):
    x = arguments(rng, dtype)
    if name == "erf":
        x = x[-200_000::4]  # one by one in Python
    info = np.finfo(dtype)
    if name == "exp":  # which gives no subnormals, nor the smallest normals
        x = x[~(x < np.log(2 * info.tiny) + 0.1)]
    if name == "tanh":  # nor does this
        x = x[~(np.abs(x) < 1000 * info.tiny)]
    with np.errstate(all="ignore"):
        found = errors(run(name, x), exact(name, x))
    slack = SLACK + (name == "erf") * (dtype == "float64")
    assert float(found.max()) < LIMITS[name][dtype == "float64"] + slack


@pytest.mark.parametrize("dtype", DTYPES)
def test_powers_of_any_numbers(rng, dtype):
    n, largest = 100_000, math.log(np.finfo(dtype).max)
    a = np.concatenate([any_bits(rng, dtype, n), (1 + 0.001 * rng.standard_normal(n)).astype(dtype)])
    with np.errstate(all="ignore"):
        b = rng.uniform(-1.1, 1.1, 2 * n) * largest / np.abs(np.log(np.abs(a.astype("f8"))))
        b = np.where(rng.random(2 * n) < 0.5, np.rint(b), b).astype(dtype)
        found = errors(run("pow", a, b), exact("pow", a, b))
    assert float(found.max()) < LIMITS["pow"][dtype == "float64"] + SLACK


SPECIAL = [
    0.0, -0.0, 1, -1, 2, -2, 3, -3, 0.5, -0.5, 1.5, 1e-3, -1e-3, 1e6 + 1, -1e6, 2.0**24 - 1,
    np.inf, -np.inf, np.nan,
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LIMITS)
def test_special_arguments_as_numpy_has_them(name, dtype):
    info = np.finfo(dtype)
    ends = [info.max, -info.max, info.tiny, info.smallest_subnormal, -info.smallest_subnormal, 1 + info.eps]
    x = np.array([*SPECIAL, *ends], dtype)
    operands = [v.reshape(-1) for v in np.meshgrid(x, x)] if name == "pow" else [x]
    found, right = run(name, *operands), exact(name, *operands)
    with np.errstate(over="ignore", under="ignore"):
        right = right.astype(dtype)
    np.testing.assert_allclose(found, right, rtol=4 * info.eps, atol=(name == "tanh") * info.tiny)
    real = ~np.isnan(right) & ((right != 0) | (name != "tanh"))  # which gives 0 for -0
    np.testing.assert_array_equal(np.signbit(found[real]), np.signbit(right[real]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_sines_of_the_worst_arguments(dtype):
    """Those nearest to a multiple of pi/2 (Muller, Elementary Functions, table 11.1): values by exact
    reduction.
    """
    worst, cosine = {
        "float32": (np.float32(16367173 * 2.0**72), -1.6147697982476211e-09),
        "float64": (6381956970095103 * 2.0**797, -4.68716592425462761112e-19),
    }[dtype]
    x = np.array([worst, -worst], dtype)
    np.testing.assert_allclose(run("cos", x), [cosine, cosine], rtol=2 * np.finfo(dtype).eps)
    np.testing.assert_allclose(np.abs(run("sin", x)), 1, rtol=0)
    assert run("sin", x[:1]) == -run("sin", x[1:])


def test_powers_of_two_are_exact():
    x, n = np.exp2(np.arange(-1074, 1024.0)), np.arange(-1074, 1024.0)
    np.testing.assert_array_equal(run("log2", x), n)
    np.testing.assert_array_equal(run("pow", np.full(len(n), 2.0), n), x)


def test_scalar_math_is_for_loops():
    with pytest.raises(TypeError, match="compiled"):
        scalar_math.exp(1.0)
