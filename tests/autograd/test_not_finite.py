"""Gradients where a slope is missing or infinite: decided, of both orders, on every way that a step runs."""

import numpy as np
import pytest

import tinyrnn as tr

INF = np.inf
ZERO_AT = {  # a function, where its gradient is 0 though a formula would say NaN
    "logsumexp": (lambda x: tr.logsumexp(x), [-INF, -INF]),
    "logsumexp of rows": (lambda x: tr.logsumexp(x, axis=-1)[0], [[-INF, -INF], [0.0, -INF]]),
    "logsumexp of columns": (lambda x: tr.logsumexp(x, axis=0)[1], [[0.0, -INF], [1.0, -INF]]),
    "logaddexp": (lambda x: tr.logaddexp(x[0], x[1]), [[-INF, -INF], [-INF, -INF]]),
    "norm": (tr.norm, [0.0, 0.0]),
    "norm, ord 3": (lambda x: tr.norm(x, ord=3), [0.0, 0.0]),
    "norm, ord 0.5": (lambda x: tr.norm(x, ord=0.5), [0.0, 0.0]),
    "std": (tr.std, [2.0, 2.0]),
    "double where": (lambda x: tr.where(x > 0, tr.sqrt(tr.where(x > 0, x, 1.0)), 0.0), [0.0, -1.0]),
}


def first_and_second(f, x):
    """The gradient of the sum of ``f``, and that of a product of it with fixed numbers."""
    weights = tr.tensor(1.0 + np.arange(x.size, dtype=x.dtype).reshape(x.shape)).to(x.device)
    first = tr.grad(lambda x: f(x).sum())
    return first(x).to("cpu").numpy(), tr.grad(lambda x: (first(x) * weights).sum())(x).to("cpu").numpy()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ZERO_AT)
def test_the_gradient_is_zero(name, dtype):
    f, x = ZERO_AT[name]
    for found in first_and_second(f, tr.tensor(np.array(x, dtype))):
        np.testing.assert_array_equal(found, 0)
        assert found.dtype == dtype


@pytest.mark.parametrize("name", ["logsumexp of rows", "logaddexp", "norm"])
def test_the_gradient_is_zero_on_a_gpu(name, cupy):
    f, x = ZERO_AT[name]
    for found in first_and_second(f, tr.tensor(np.array(x), device="cuda")):
        np.testing.assert_array_equal(found, 0)


def test_others_beside_are_what_they_were(rng):
    """Rows without an infinity, ties, and -inf beside a number; checked by differences where they exist."""
    a, b = rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
    b[0] = a[0]
    tr.check_grad(tr.logaddexp, a, b)
    tr.check_grad(lambda x: tr.logsumexp(x, axis=-1), a)
    mixed = tr.tensor(np.vstack([a, np.full(4, -INF)]))
    for found, alone in zip(
        first_and_second(lambda x: tr.logsumexp(x, axis=-1), mixed),
        first_and_second(lambda x: tr.logsumexp(x, axis=-1), tr.tensor(a)),
        strict=True,
    ):
        np.testing.assert_allclose(found[:3], alone, rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(found[3], 0)
    one = tr.grad(lambda a, b: tr.logaddexp(a, b).sum(), (0, 1))(
        tr.tensor([-INF, 3.0]), tr.tensor([1.0, -INF])
    )
    assert [g.tolist() for g in one] == [[0.0, 1.0], [1.0, 0.0]]


def masked_step(x, h):
    """A step that meets rows of nothing but -inf."""
    total = tr.logsumexp(x + 0 * h, axis=-1, keepdims=True)
    pair = tr.logaddexp(x, tr.where(h > 1e9, 0.0, x))
    return (tr.where(total > -1e30, total, 0.0) + 0.1 * tr.where(pair > -1e30, pair, 0.0) + 0.5 * h,)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_in_compiled_loops(rng, device, request):
    if device == "cuda":
        request.getfixturevalue("standin")
    values = rng.standard_normal((3, 2, 4))
    values[1, 0] = -INF
    found = []
    for compiled in (True, False):
        xs = tr.tensor(values, device=device, requires_grad=True)
        h = tr.tensor(np.ones((2, 4)), device=device, requires_grad=True)
        ys, _ = tr.scan(masked_step, xs, (h,), compile=compiled)
        (ys * ys).sum().backward()
        found.append([t.to("cpu").numpy() for t in (ys, xs.grad, h.grad)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
        assert np.isfinite(one).all()
    assert (found[0][1][1, 0] == 0).all()


@pytest.mark.parametrize("x", [[0.0, 4.0], [4.0, 0.0]])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_check_grad_explains_a_gradient_that_is_not_finite(x):
    with pytest.raises(tr.GradientError, match=r"is nan.*where\(x > 0, sqrt\(where\(x > 0, x, 1\)\), 0\)"):
        tr.check_grad(lambda x: tr.where(x > 0, tr.sqrt(x), 0.0), np.array(x))
    with pytest.raises(
        tr.GradientError, match=r"is 0\..*difference 0\.\d*$"
    ):  # a plain error has no such words
        tr.check_grad(wrong, np.array([1.0]), order=1)


@tr.custom_vjp
def wrong(x):
    """``2.1 x`` with the gradient of ``2 x``."""
    return 2.1 * x


wrong.defvjp(lambda x: (2.1 * x, None), lambda saved, g: (2.0 * g,))
