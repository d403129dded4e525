"""Every public function: forward against NumPy, derivatives of first and second order, methods, dtypes,
layouts, Hypothesis.
"""

import inspect

import numpy as np
import pytest
from function_cases import ELSEWHERE, EXTRA, FUNCTIONS, NO_GRADIENT, public
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinyrnn as tr
from tinyrnn import autograd
from tinyrnn.autograd import functional
from tinyrnn.nn import functional as networks

CASES = [
    pytest.param(name, i, id=f"{name}-{i}")
    for name, (_, cases) in FUNCTIONS.items()
    for i in range(len(cases))
]


def test_every_public_function_has_an_entry():
    public = autograd.__all__ + functional.__all__ + networks.__all__
    public = [*public, *[f"linalg.{name}" for name in tr.linalg.__all__]]
    assert set(FUNCTIONS) - EXTRA == set(public) - ELSEWHERE


def case(name, i):
    """The public function of the float arrays of a case alone, the same for NumPy, and those arrays."""
    reference, cases = FUNCTIONS[name]
    args, kwargs = cases[i]
    varied = [isinstance(a, np.ndarray) and a.dtype.kind == "f" for a in args]

    def with_arrays(f, listed):
        def function(*arrays):
            arrays = iter(arrays)
            full = [next(arrays) if v else a for v, a in zip(varied, args, strict=True)]
            return f(full, **kwargs) if listed else f(*full, **kwargs)

        return function

    arrays = [a for a, v in zip(args, varied, strict=True) if v]
    return with_arrays(public(name), isinstance(args, list)), with_arrays(reference, False), arrays


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("name", "i"), CASES)
def test_forward_equals_numpy(name, i, dtype):
    f, reference, arrays = case(name, i)
    arrays = [a.astype(dtype) for a in arrays]
    tensors = [tr.asarray(a) for a in arrays]
    got, expected = f(*tensors), reference(*arrays)
    for y, z in zip(
        got if isinstance(got, tuple) else [got],
        expected if isinstance(got, tuple) else [expected],
        strict=True,
    ):
        assert isinstance(y, tr.Tensor) and y.shape == np.shape(z)
        if np.asarray(z).dtype.kind == "f" and arrays and name not in ("astype",):
            assert y.dtype == dtype
        tolerance = dict(rtol=1e-12, atol=1e-13) if dtype == "float64" else dict(rtol=2e-5, atol=2e-6)
        np.testing.assert_allclose(y.numpy(), z, **tolerance)


@pytest.mark.parametrize(("name", "i"), [c for c in CASES if c.values[0] not in NO_GRADIENT])
def test_derivatives_of_first_and_second_order(name, i):
    f, _, arrays = case(name, i)
    tr.check_grad(f, *arrays, order=2)


@pytest.mark.parametrize("name", sorted(NO_GRADIENT))
def test_functions_without_a_gradient_record_nothing(name):
    f, _, arrays = case(name, 0)
    assert not f(*[tr.tensor(a, requires_grad=True) for a in arrays]).requires_grad


METHODS = sorted(n for n in FUNCTIONS if hasattr(tr.Tensor, n) and n not in ("maximum", "minimum"))


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_the_functions(name):
    for args, kwargs in FUNCTIONS[name][1]:
        if name in ("where", "reshape", "permute_dims", "broadcast_to", "transpose") or isinstance(
            args, list
        ):
            continue
        first, *others = args
        a = public(name)(tr.asarray(first), *others, **kwargs)
        b = getattr(tr.asarray(first), name)(*others, **kwargs)
        for x, y in zip(a if isinstance(a, tuple) else [a], b if isinstance(b, tuple) else [b], strict=True):
            np.testing.assert_array_equal(x.numpy(), y.numpy())


def test_methods_that_take_a_shape_in_either_form():
    x = tr.tensor(np.arange(24.0).reshape(2, 3, 4))
    np.testing.assert_array_equal(x.reshape(6, -1), x.numpy().reshape(6, 4))
    np.testing.assert_array_equal(x.reshape((6, -1)), x.numpy().reshape(6, 4))
    np.testing.assert_array_equal(x.transpose(2, 0, 1), x.numpy().transpose(2, 0, 1))
    np.testing.assert_array_equal(x.permute_dims((2, 0, 1)), x.numpy().transpose(2, 0, 1))
    np.testing.assert_array_equal(x.transpose(), x.numpy().T)
    np.testing.assert_array_equal(x.mT, x.numpy().swapaxes(1, 2))
    np.testing.assert_array_equal(x.flatten(), x.numpy().ravel())
    np.testing.assert_array_equal(x.where(x > 5, 0), np.where(x.numpy() > 5, x.numpy(), 0))
    assert x.tolist() == x.numpy().tolist() and x.nbytes == 192
    y = x.copy()
    y.data[...] = 0
    assert x.numpy()[0, 0, 1] == 1


def test_arrays_lists_and_numbers_are_taken_as_they_are():
    np.testing.assert_allclose(tr.silu([1.0, 2.0]), np.array([1, 2]) / (1 + np.exp([-1.0, -2])))
    np.testing.assert_allclose(tr.tanh(0.5), np.tanh(0.5))
    np.testing.assert_allclose(tr.sum([[1, 2], [3, 4]], axis=0), [4, 6])
    np.testing.assert_allclose(tr.concat([[1.0], np.array([2.0])]), [1, 2])
    assert tr.sum(np.ones(3, np.int32)).dtype == np.int64
    assert tr.clip(np.arange(5), 1).dtype == np.int64


def test_derivatives_at_special_points():
    np.testing.assert_array_equal(tr.grad(lambda x: tr.elu(x).sum())(np.zeros(2)), [1, 1])
    np.testing.assert_array_equal(tr.grad(tr.std)(np.full(3, 0.5)), np.zeros(3))
    np.testing.assert_array_equal(tr.grad(tr.norm)(np.zeros(3)), np.zeros(3))
    assert tr.where(np.ones(2000, int), np.ones(2000, "f"), np.zeros(2000, "f")).dtype == np.float32
    np.testing.assert_allclose(tr.hessian(tr.norm)(np.array([0.0, 3, 4]))[0, 0], 0.2)
    np.testing.assert_array_equal(
        tr.grad(lambda x: tr.huber_loss(x, np.zeros(2)))(np.array([np.inf, -np.inf])), [0.5, -0.5]
    )
    np.testing.assert_array_equal(tr.grad(lambda x: tr.relu(x).sum())(np.array([np.nan, 0, 2])), [1, 0, 1])
    np.testing.assert_array_equal(tr.grad(tr.max)(np.array([1.0, np.nan])), [0, 1])
    step = tr.tensor(0.5, requires_grad=True)
    tr.floor(step).backward(np.inf)
    assert step.grad.item() == 0
    for dtype in ("float16", "float32", "float64"):
        for f in (tr.softmax, tr.log_softmax):
            assert np.isnan(f(tr.tensor([np.inf, 1.0], dtype))).all()
    blind = np.array([[True, False, True], [False, False, False]])
    x = np.random.default_rng(0).standard_normal((3, 2))
    attended = lambda q: tr.scaled_dot_product_attention(q, x, x, blind)  # noqa: E731
    np.testing.assert_array_equal(attended(x[:2])[1], [0, 0])
    tr.check_grad(attended, x[:2])
    assert tr.softmax(np.zeros((0, 3)), axis=0).shape == (0, 3)
    assert tr.grad(lambda x: tr.logsumexp(x, axis=1).sum())(np.zeros((2, 0))).shape == (2, 0)


def test_half_precision_through_every_kernel():
    for name, (_, cases) in FUNCTIONS.items():
        if name in NO_GRADIENT or name in ("einsum", "astype", "getitem", "to"):
            continue
        args, kwargs = cases[0]
        half = [
            tr.tensor(a, "float16", requires_grad=True) if getattr(a, "dtype", "") == np.float64 else a
            for a in args
        ]
        y = public(name)(half, **kwargs) if isinstance(args, list) else public(name)(*half, **kwargs)
        y = y if isinstance(y, tr.Tensor) else y[0]
        assert y.dtype == np.float16, name
        y.sum().backward()
        assert all(t.grad is None or t.grad.dtype == np.float16 for t in half if isinstance(t, tr.Tensor)), (
            name
        )


# ------------------------------------------------------------------ Hypothesis: any shapes that broadcast,
# any axes

shapes = hnp.mutually_broadcastable_shapes(num_shapes=3, min_side=0, max_side=4, max_dims=3)


@given(shapes, st.integers(0, 2**32 - 1))
def test_broadcasting_in_every_direction(shapes, seed):
    rng = np.random.default_rng(seed)
    a, b, c = (rng.standard_normal(s) for s in shapes.input_shapes)
    f = lambda a, b, c: tr.where(a > 0, a * b - tr.exp(c), a / (2 + tr.tanh(b)) + tr.sigmoid(c))  # noqa: E731
    with np.errstate(all="ignore"):
        expected = np.where(a > 0, a * b - np.exp(c), a / (2 + np.tanh(b)) + 1 / (1 + np.exp(-c)))
    np.testing.assert_allclose(f(*map(tr.asarray, (a, b, c))).numpy(), expected, rtol=1e-12, atol=1e-14)
    tr.check_grad(f, a, b, c, order=1)


@given(hnp.array_shapes(min_dims=0, max_dims=4, max_side=4), st.data())
def test_reductions_over_any_axes(shape, data):
    axes = (
        st.lists(st.integers(-len(shape), len(shape) - 1), unique_by=lambda a: a % len(shape))
        if shape
        else st.just([])
    )
    axis = data.draw(st.one_of(st.none(), axes.map(tuple)))
    keepdims = data.draw(st.booleans())
    n = np.prod(shape, dtype=int)
    x = (
        np.random.default_rng(0).permutation(n).reshape(shape) / n * 1.3 - 0.63
    )  # apart from each other and from zero
    for name in ("sum", "mean", "max", "min", "var", "prod", "logsumexp"):
        reference = FUNCTIONS[name][0]
        f = lambda t, name=name: getattr(tr, name)(t, axis=axis, keepdims=keepdims)  # noqa: E731
        np.testing.assert_allclose(
            f(tr.asarray(x)).numpy(), reference(x, axis=axis, keepdims=keepdims), rtol=1e-12, atol=1e-13
        )
        tr.check_grad(f, x, order=1)


@given(hnp.array_shapes(min_dims=1, max_dims=3, max_side=5), st.data())
def test_indexing_of_any_kind(shape, data):
    basic = hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True)
    integers = hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=3))
    key = data.draw(st.one_of(basic, integers, hnp.arrays(bool, shape)))
    x = np.random.default_rng(1).standard_normal(shape)
    np.testing.assert_array_equal(tr.asarray(x)[key], x[key])
    tr.check_grad(lambda t: t[key], x)


@given(st.data())
def test_matmul_of_any_batch_shapes(data):
    batch = data.draw(
        hnp.mutually_broadcastable_shapes(signature=np.matmul.signature, max_dims=2, max_side=3, min_side=0)
    )
    a, b = (np.random.default_rng(2).standard_normal(s) for s in batch.input_shapes)
    np.testing.assert_allclose(tr.matmul(a, b).numpy(), a @ b, atol=1e-12)
    tr.check_grad(tr.matmul, a, b)


# ------------------------------------------------------------------ creation


def test_creation_functions_are_numpys():
    for got, expected in [
        (tr.zeros((2, 3)), np.zeros((2, 3))),
        (tr.ones(3, dtype="float32"), np.ones(3, "f")),
        (tr.full((2,), 7), np.full((2,), 7)),
        (tr.arange(5), np.arange(5)),
        (tr.arange(1, 2, 0.25), np.arange(1, 2, 0.25)),
        (tr.linspace(0, 1, 5), np.linspace(0, 1, 5)),
        (tr.linspace(0, 1, 4, endpoint=False), np.linspace(0, 1, 4, endpoint=False)),
        (tr.eye(3), np.eye(3)),
        (tr.eye(2, 3, k=1), np.eye(2, 3, 1)),
        (tr.zeros_like(np.ones((2, 2), "f")), np.zeros((2, 2), "f")),
        (tr.ones_like(tr.arange(3)), np.ones(3, int)),
        (tr.full_like(tr.zeros(2), 3, dtype="float16"), np.full(2, 3, "e")),
    ]:
        assert got.dtype == expected.dtype and not got.requires_grad
        np.testing.assert_array_equal(got, expected)
    assert tr.zeros(2, requires_grad=True).requires_grad


def test_random_tensors_come_from_the_generator_alone():
    make = lambda: (  # noqa: E731
        g := tr.Generator(3),
        tr.rand((2, 3), generator=g),
        tr.randn(1000, generator=g, mean=2.0, std=0.5, dtype="float32"),
        tr.randint(3, 7, 1000, generator=g),
    )
    (_, u, n, k), (_, *again) = make(), make()
    for x, y in zip((u, n, k), again, strict=True):
        np.testing.assert_array_equal(x, y)
    assert u.shape == (2, 3) and u.min().item() >= 0 and u.max().item() < 1
    assert n.dtype == np.float32 and abs(n.mean().item() - 2) < 0.1 and abs(n.std().item() - 0.5) < 0.05
    assert tr.rand(10_000, generator=tr.Generator(1), dtype="float16").max().item() < 1
    assert k.dtype == np.int64 and set(k.tolist()) == {3, 4, 5, 6}


def test_asarray_shares_memory_and_tensor_copies():
    x = np.ones(3)
    assert np.shares_memory(tr.asarray(x).numpy(), x) and not np.shares_memory(tr.tensor(x).numpy(), x)
    assert tr.asarray(x, "float32").dtype == np.float32


def test_public_functions_have_docstrings():
    for name in tr.__all__:
        item = getattr(tr, name)
        assert (
            not callable(item)
            or (inspect.getdoc(item) or "").endswith((".", "::", "|", "``"))
            or inspect.getdoc(item)
        ), name
