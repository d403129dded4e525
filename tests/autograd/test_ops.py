"""Every op of the table: forward against NumPy, gradients of first and second order, wrong gradients
rejected.
"""

import warnings

import numpy as np
import pytest
from op_samples import SAMPLES

import tinyrnn as tr
from tinyrnn.autograd.tape import TABLE, Op, Tensor, apply
from tinyrnn.kernels import pointwise, references
from tinyrnn.nn.functional import ctc

OPS = dict(TABLE)
CASES = [
    pytest.param(name, i, id=f"{name}-{i}") for name in sorted(OPS) for i in range(len(SAMPLES.get(name, ())))
]


def test_every_op_has_samples():
    assert sorted(OPS) == sorted(SAMPLES)


def applied(name, inputs, params):
    """The op as a function of its array inputs alone; Python numbers stay as they are."""
    arrays = [x for x in inputs if isinstance(x, np.ndarray)]

    def f(*tensors):
        tensors = iter(tensors)
        y = apply(OPS[name], *[next(tensors) if isinstance(x, np.ndarray) else x for x in inputs], **params)
        return y if isinstance(y, Tensor) else list(y)

    return f, arrays


@pytest.mark.parametrize(("name", "i"), CASES)
def test_gradients_of_first_and_second_order(name, i):
    f, arrays = applied(name, *SAMPLES[name][i])
    if OPS[name].vjps:
        tr.check_grad(f, *arrays, order=2)
    else:
        y = f(*[Tensor(a) for a in arrays])
        assert not y.requires_grad


REFERENCES = {
    **{
        name: getattr(references, name)
        for name in ("softmax", "log_softmax", "logsumexp", "cross_entropy", "cross_entropy_grad")
    },
    "ctc": lambda lp, **facts: -ctc.ctc_reference(Tensor(lp), **facts).numpy(),
}


@pytest.mark.parametrize(("name", "i"), [c for c in CASES if c.values[0] in REFERENCES])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernels_equal_their_plain_references(name, i, dtype):
    inputs, params = SAMPLES[name][i]
    inputs = [x.astype(dtype) if isinstance(x, np.ndarray) else x for x in inputs]
    got = OPS[name].forward(*inputs, **params)
    assert got.dtype == dtype
    tolerance = dict(rtol=1e-5, atol=1e-6) if dtype == "float32" else dict(rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(got, REFERENCES[name](*inputs, **params), **tolerance)


@pytest.mark.parametrize(("name", "i"), [c for c in CASES if OPS[c.values[0]].rule and OPS[c.values[0]].vjps])
def test_compiled_derivatives_equal_those_of_tensor_ops(name, i):
    """A derivative that is not recorded runs as one loop; the same rule evaluated with tensor ops is its
    reference.
    """
    f, arrays = applied(name, *SAMPLES[name][i])
    gradients = []
    for create_graph in (False, True):
        leaves = [tr.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
        y = f(*leaves)
        y.backward(np.linspace(0.5, 2, y.size).reshape(y.shape), create_graph=create_graph)
        gradients.append([t.grad for t in leaves if t.requires_grad])
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_allclose(a, b.detach(), rtol=1e-12, atol=1e-14)


@pytest.mark.sample(3)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(name for name, op in OPS.items() if op.rule))
def test_rules_equal_the_loops_that_stand_for_them(name, dtype):
    """Code generators use the rule of an op, the eager op its loop: both must be the same function."""
    op = OPS[name]
    for inputs, _ in SAMPLES[name]:
        inputs = [x.astype(dtype) if isinstance(x, np.ndarray) else x for x in inputs]
        expected = np.asarray(op.forward(*inputs))
        got = pointwise.run(f"rule_{name}", op.inputs, op.rule, *inputs)
        tolerance = dict(rtol=2e-6, atol=1e-7) if dtype == "float32" else dict(rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(got.astype(expected.dtype), expected, **tolerance)


@pytest.mark.parametrize("layout", ["transposed", "strided", "read-only", "reversed"])
def test_compiled_ops_take_any_memory_layout(layout):
    x = np.random.default_rng(0).standard_normal((6, 8))
    view = {"transposed": x.T, "strided": x[::2, 1::3], "reversed": x[::-1], "read-only": x.copy()}[layout]
    view.flags.writeable = layout != "read-only"
    np.testing.assert_allclose(tr.sigmoid(Tensor(view)).numpy(), 1 / (1 + np.exp(-view)), rtol=1e-12)
    np.testing.assert_allclose(tr.softmax(Tensor(view)).numpy(), references.softmax(view), rtol=1e-12)


def test_nan_and_infinity_propagate():
    x = tr.tensor([np.nan, np.inf, -np.inf, 1e4, -1e4])
    np.testing.assert_array_equal(tr.sigmoid(x).numpy(), [np.nan, 1, 0, 1, 0])
    np.testing.assert_array_equal(tr.tanh(x).numpy(), [np.nan, 1, -1, 1, -1])
    np.testing.assert_array_equal(tr.softplus(x).numpy(), [np.nan, np.inf, 0, 1e4, 0])
    rows = tr.tensor([[0.0, np.nan], [0.0, -np.inf], [-np.inf, -np.inf]])
    np.testing.assert_array_equal(tr.logsumexp(rows, axis=-1).numpy(), [np.nan, 0, -np.inf])
    assert np.isnan(tr.softmax(rows).numpy()[0]).all()
    assert np.isnan(tr.cross_entropy(rows[:1], np.array([0])).item())


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtypes_follow_numpy(dtype):
    x = tr.tensor([0.5, 1.0], dtype)
    for y in (x + 1, x * 2.5, 1 - x, tr.sigmoid(x), tr.relu(x), tr.where(x > 0.7, x, 0), x**2, x.mean()):
        assert y.dtype == dtype
    assert (x + np.float64(1)).dtype == np.result_type(dtype, np.float64)
    w = tr.tensor([1.0, 2.0], dtype, requires_grad=True)
    (w * tr.tensor([1.0, 2.0], "float64")).sum().backward()
    assert w.grad.dtype == dtype


def test_ties_share_the_gradient_evenly():
    x = tr.tensor([2.0, 1.0, 2.0], requires_grad=True)
    x.max().backward()
    np.testing.assert_array_equal(x.grad, [0.5, 0, 0.5])
    a, b = tr.tensor([1.0, 3.0], requires_grad=True), tr.tensor([1.0, 2.0], requires_grad=True)
    tr.maximum(a, b).sum().backward()
    np.testing.assert_array_equal(a.grad, [0.5, 1])
    np.testing.assert_array_equal(b.grad, [0.5, 0])


# ------------------------------------------------------------------ the tests are tested


def wrong_op(name, vjp):
    """A square op with another VJP, outside the table."""
    op = Op(f"wrong {name}", np.square, {"x": vjp}, inputs=("x",))
    del TABLE[op.name]
    return lambda x: apply(op, x)


def test_check_grad_accepts_the_right_gradient():
    tr.check_grad(wrong_op("not at all", lambda g, x: 2 * g * x), np.array([0.5, -1.5]))


@pytest.mark.parametrize(
    ("name", "vjp", "said"),
    [
        ("by 0.1 %", lambda g, x: 2.002 * g * x, "order 1"),
        ("in sign", lambda g, x: -2 * g * x, "order 1"),
        ("in second order", lambda g, x: 2 * g * x.detach(), "order 2"),
        ("by a NaN", lambda g, x: g * float("nan"), "nan"),
    ],
)
def test_check_grad_rejects_a_wrong_gradient(name, vjp, said):
    with pytest.raises(tr.GradientError, match=said):
        tr.check_grad(wrong_op(name, vjp), np.array([0.5, -1.5]))


def test_check_grad_names_argument_and_index():
    bad = wrong_op("at one index", lambda g, x: 2 * g * x * np.array([1.0, 1.0, 1.5]))
    with pytest.raises(tr.GradientError, match=r"argument 1 at index \(2,\)"):
        tr.check_grad(lambda a, x: bad(x) * a, np.ones(3), np.array([1.0, 2.0, 3.0]))


def test_a_missing_unbroadcast_is_rejected(monkeypatch):
    from tinyrnn.autograd import tape

    monkeypatch.setattr(tape, "fit", lambda g, shape, dtype: g)
    with pytest.raises(tr.GradientError, match="shape"):
        tr.check_grad(tr.add, np.ones((2, 3)), np.ones(3))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_squares_and_cubes_are_products(dtype, monkeypatch):
    """To the last bit, with their derivatives; other exponents and dtypes are NumPy's."""
    x = (0.5 + np.random.default_rng(0).random((4, 5))).astype(dtype)
    leaf, integers = tr.tensor(x, requires_grad=True), np.arange(5)
    np.testing.assert_array_equal(tr.asarray(x) ** 1.5, np.power(x, 1.5))
    np.testing.assert_array_equal(tr.asarray(integers) ** 3, integers**3)
    np.testing.assert_array_equal(tr.asarray(x.astype("f2")) ** 3, np.power(x.astype("f2"), 3))
    monkeypatch.setattr(np, "power", None)
    for exponent, value, slope in [(2, x * x, 2 * x), (3.0, x * x * x, 3 * (x * x))]:
        y = leaf**exponent
        leaf.grad = None
        y.sum().backward()
        np.testing.assert_array_equal(y.detach(), value)
        np.testing.assert_array_equal(leaf.grad, slope)
        assert y.dtype == leaf.grad.dtype == dtype


@pytest.mark.parametrize("function", [tr.var, tr.std, tr.mean, tr.sum])
@pytest.mark.parametrize(("shape", "axis"), [((0, 3), 0), ((0,), None), ((2, 0), 1)])
def test_gradients_of_reductions_over_nothing_are_empty(function, shape, axis):
    x = tr.tensor(np.ones(shape), requires_grad=True)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tr.sum(function(x, axis=axis)).backward()
    assert x.grad.shape == shape
