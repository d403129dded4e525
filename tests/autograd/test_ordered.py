"""Edges of sorts, quantiles, cumulative and linear algebra: NumPy's values and dtypes, NaN, ties, nothing at
all, and NumPy's own functions of these names, which are recorded.
"""

import numpy as np
import pytest

import tinyrnn as tr

INF, NAN = np.inf, np.nan
ALONG = ["argsort", "cummax", "cumprod", "cumsum", "diff", "median", "sort"]
ROWS = {
    "plain": [3, 1, 2, 2],
    "ties": [2, 2, 2, 1],
    "one": [5],
    "NaN": [3, NAN, 1, 2],
    "infinite": [INF, 1, -INF, INF],
}
DTYPES = ["float16", "float32", "float64", "int64", "int8", "bool"]
CASES = [(row, dtype) for row in ROWS for dtype in DTYPES[: 3 if row in ("NaN", "infinite") else None]]


def numpys(name):
    return np.maximum.accumulate if name == "cummax" else getattr(np, name)


def same(found, right):
    assert (found.shape, found.dtype) == (np.shape(right), np.asarray(right).dtype)
    np.testing.assert_array_equal(found.numpy(), right)


@pytest.mark.parametrize(("row", "dtype"), CASES)
@pytest.mark.parametrize("name", ALONG)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_values_and_dtypes_are_numpys(name, row, dtype):
    x = np.array([ROWS[row], ROWS[row][::-1]]).astype(dtype)
    for axis in (0, 1, -1):
        same(getattr(tr, name)(x, axis=axis), numpys(name)(x, axis=axis))


@pytest.mark.parametrize("q", [0, 0.5, 1, 0.3, [0.0, 0.25], []])
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_quantiles_are_numpys(row, q):
    x = np.array([ROWS[row], ROWS[row]]).astype(float)
    for axis in (None, 0, 1):
        if row == "infinite" and np.isnan(np.quantile(x, q, axis)).any():
            continue  # NumPy takes inf - inf, also where it is multiplied by 0
        np.testing.assert_allclose(tr.quantile(x, q, axis).numpy(), np.quantile(x, q, axis), rtol=1e-14)
    assert tr.quantile(x.astype("f"), q).dtype == np.float32
    assert tr.quantile(np.arange(4), 0.5).item() == 1.5


def test_of_nothing():
    for name in ("argsort", "cummax", "cumprod", "diff", "sort"):
        for shape, axis in (((0,), 0), ((2, 0), 1), ((0, 3), 1)):
            same(getattr(tr, name)(np.zeros(shape), axis=axis), numpys(name)(np.zeros(shape), axis=axis))
    with np.errstate(invalid="ignore"), pytest.warns(RuntimeWarning, match="empty"):
        assert np.isnan(tr.median(np.zeros((2, 0)), axis=1).numpy()).all()
    same(tr.median(np.zeros((0, 3)), axis=1), np.zeros(0))
    same(tr.quantile(np.zeros((0, 3)), [0.1, 0.2], axis=1), np.zeros((2, 0)))
    assert [len(part) for part in tr.array_split(np.zeros(2), 4)] == [1, 1, 0, 0]


def gradient(f, x):
    weights = np.arange(1.0, 10)
    return tr.grad(lambda x: (f(x) * weights[: f(x).size]).sum())(np.array(x, float)).tolist()


def test_gradients_at_ties_go_where_the_docstrings_say():
    assert gradient(tr.sort, [2, 1, 2]) == [2, 1, 3]  # in their order
    assert gradient(tr.cummax, [2, 1, 2, 2]) == [3, 0, 3, 4]  # of the last
    assert gradient(tr.median, [2, 2, 1, 2]) == [0.5, 0.5, 0, 0]
    assert gradient(lambda x: tr.quantile(x, 0.5), [2, 2, 2]) == [0, 1, 0]
    assert gradient(tr.median, [1, NAN, 2]) == [0, 1, 0]
    assert gradient(tr.cummax, [1, NAN, 2]) == [1, 5, 0]
    assert tr.grad(lambda x: tr.linalg.norm(x, 1))(np.ones((2, 2))).tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_where_of_a_condition_alone_gives_indices():
    c = np.array([[0.0, 2.0], [NAN, 0.0]])
    for found, right in zip(tr.where(c), np.where(c), strict=True):
        same(found, right)
    for found, right in zip(np.where(tr.tensor(c) > 1), np.where(c > 1), strict=True):
        same(found, right)
    x = tr.tensor(c, requires_grad=True)
    assert not any(i.requires_grad for i in tr.where(x)) and x[tr.where(x > 1)].tolist() == [2.0]
    assert tr.where(np.zeros((0, 2)))[1].shape == (0,)


def test_remainder_is_numpys():
    a, b = np.meshgrid([5.5, -5.5, 0.0, 1.0, INF, NAN], [2.0, -2.0, 0.1, INF])
    with np.errstate(invalid="ignore"):
        same(tr.tensor(a) % b, a % b)
        same(a % tr.tensor(b), a % b)
    same(7 % tr.tensor([2, -3]), 7 % np.array([2, -3]))
    same(tr.tensor([7, -7], "int8") % 4, np.array([7, -7], "int8") % 4)


MATRIX = np.array([[2.0, 1.0], [1.0, 3.0]])
DISPATCHED = {
    "sort": lambda xp, x: xp.sort(x, axis=0),
    "median": lambda xp, x: xp.median(x, axis=1),
    "quantile": lambda xp, x: xp.quantile(x, 0.3),
    "cumprod": lambda xp, x: xp.cumprod(x, axis=0),
    "diff": lambda xp, x: xp.diff(x, axis=0),
    "moveaxis": lambda xp, x: xp.moveaxis(x, 0, 1),
    "dot": lambda xp, x: xp.dot(x, x),
    "vecdot": lambda xp, x: xp.vecdot(x, x),
    "kron": lambda xp, x: xp.kron(x, x),
    "trace": lambda xp, x: xp.trace(x),
    "array_split": lambda xp, x: xp.array_split(x, 2, axis=0)[1],
    "hsplit": lambda xp, x: xp.hsplit(x, 2)[1],
    "vsplit": lambda xp, x: xp.vsplit(x, 2)[0],
    "arctan2": lambda xp, x: (xp.atan2 if xp is tr else xp.arctan2)(x, 2.0),
    "det": lambda xp, x: xp.linalg.det(x),
    "slogdet": lambda xp, x: xp.linalg.slogdet(x).logabsdet,
    "inv": lambda xp, x: xp.linalg.inv(x),
    "solve": lambda xp, x: xp.linalg.solve(x, x[0]),
    "cholesky": lambda xp, x: xp.linalg.cholesky(x),
    "norm": lambda xp, x: xp.linalg.norm(x, "nuc"),
    "norm of rows": lambda xp, x: xp.linalg.norm(x, 3, axis=1, keepdims=True),
}


@pytest.mark.parametrize("name", DISPATCHED)
def test_numpys_functions_are_recorded(name):
    x = tr.tensor(MATRIX, requires_grad=True)
    by_numpy, own = DISPATCHED[name](np, x), DISPATCHED[name](tr, x)
    assert by_numpy.requires_grad
    np.testing.assert_array_equal(by_numpy.detach(), own.detach())
    np.testing.assert_allclose(own.detach(), DISPATCHED[name](np, MATRIX), rtol=1e-14)


def test_matrix_norms_through_numpy():
    x = tr.tensor(np.stack([MATRIX, 2 * MATRIX]), requires_grad=True)
    for options in ({}, {"ord": "nuc"}, {"ord": -1, "keepdims": True}):
        found = np.linalg.matrix_norm(x, **options)
        assert found.requires_grad
        np.testing.assert_allclose(found.detach(), np.linalg.matrix_norm(x.detach().numpy(), **options))


def test_the_gradient_of_a_singular_determinant():
    """Of rank 2, 1 and 0: the minors, of second order too."""
    a, b = np.array([1.0, 2.0, -1.0]), np.array([0.5, 3.0, 2.0])
    for x in (np.outer(a, b) + np.outer(b, b), np.outer(a, b), np.zeros((3, 3)), np.zeros((1, 1))):
        tr.check_grad(tr.linalg.det, x)
    tr.check_grad(tr.linalg.det, np.stack([np.outer(a, b), np.eye(3)]))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "bool"])
def test_linear_algebra_of_any_dtype(dtype):
    """Half precision, which NumPy refuses, is computed in single; integers become floats."""
    x = np.array([[1, 0], [1, 1]]).astype(dtype)
    right = "float64" if dtype in ("int64", "bool") else dtype
    calls = [tr.linalg.det(x), tr.linalg.inv(x), *tr.linalg.slogdet(x), tr.linalg.norm(x, 2)]
    calls += [tr.linalg.solve(x, x), tr.linalg.solve(x, x[0]), tr.linalg.norm(x, 1), tr.linalg.norm(x)]
    assert {str(y.dtype) for y in calls} == {right}
    assert tr.linalg.inv(x).tolist() == [[1, 0], [-1, 1]] and tr.linalg.cholesky(x * x.T).dtype == right
