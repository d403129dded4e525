"""The tape is never left without a word: conversion, threads, closures, memory that changes, half precision,
NumPy's rules.
"""

import collections
import contextvars
import copy
import math
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from function_cases import FUNCTIONS, NO_GRADIENT, public
from op_samples import SAMPLES

import tinyrnn as tr
from tinyrnn.autograd.functional.trees import tree_leaves
from tinyrnn.autograd.pointwise import operand
from tinyrnn.autograd.tape import TABLE, Tensor, apply

V = np.array([0.3, 0.7])


def leaf(*values):
    return tr.tensor(np.array(values), requires_grad=True)


# ------------------------------------------------------------------ implicit conversion

LOSING = {
    "np.asarray": np.asarray,
    "np.array of tensors": lambda t: np.array([t[0], t[1]]),
    "np.array of a matrix of tensors": lambda t: np.array([[t[0], -t[1]], [t[1], t[0]]]),
    "np.array of objects": lambda t: np.array([t[0], None], dtype=object),
    "np.exp of a list": lambda t: np.exp([t[0], t[1]]),
    "assignment to an array": lambda t: np.zeros(2).__setitem__(slice(None), t),
    "np.r_": lambda t: np.r_[t, t],
    "np.c_": lambda t: np.c_[t, t],
    "np.full": lambda t: np.full(2, t[0]),
    "np.pad of an array": lambda t: np.pad(V, 1, constant_values=t[0]),
    "np.copyto": lambda t: np.copyto(np.zeros(2), t),
    "np.add.at": lambda t: np.add.at(np.zeros(2), [0], t[0]),
    "np.add with out": lambda t: np.add(t, t, out=np.zeros(2)),
    "np.einsum with out": lambda t: np.einsum("i,i->i", t, t, out=np.zeros(2)),
    "a method of an array": lambda t: V.dot(t),
    "np.random": lambda t: np.random.default_rng(0).normal(t),
    "np.vectorize": lambda t: np.vectorize(lambda v: v * v)(t),
    "np.frompyfunc": lambda t: np.frompyfunc(lambda v: v * v, 1, 1)(t),
    "np.from_dlpack": np.from_dlpack,
    "math.exp": lambda t: math.exp(t[0]),
    "float": lambda t: float(t[0]),
    "int": lambda t: int(t[0]),
    "complex": lambda t: complex(t[0]),
    "printf": lambda t: "%f" % t[0],  # noqa: UP031
    "deepcopy": copy.deepcopy,
    "deepcopy of a part": lambda t: copy.deepcopy(t[0]),
    "tensor": tr.tensor,
    "tensor of a list": lambda t: tr.tensor([t[0], t[1]]),
    "arange": lambda t: tr.arange(t[0], 3.0),
    "arange by a step": lambda t: tr.arange(0.0, 3.0, t[0]),
    "linspace": lambda t: tr.linspace(0.0, t[0]),
    "rand": lambda t: tr.rand(3, high=t[0], generator=tr.Generator(0)),
    "randn": lambda t: tr.randn(3, mean=t[0], generator=tr.Generator(0)),
    "pad": lambda t: tr.pad(V, 1, constant_values=t[0]),
    "dropout": lambda t: tr.dropout(V, t[0], generator=tr.Generator(0)),
    "an operand that is a list": lambda t: tr.exp([t[0], t[1]]),
}


@pytest.mark.parametrize("use", LOSING.values(), ids=LOSING)
def test_values_do_not_leave_the_tape_unasked(use):
    def f(t):
        use(t)
        return t.sum()

    with pytest.raises(tr.GradientError):
        tr.grad(f)(V)
    with pytest.raises(tr.GradientError):
        use(leaf(*V) * 2)
    with tr.no_grad():
        use(leaf(*V) * 2)
    use((leaf(*V) * 2).detach())


def test_errors_of_conversion_say_what_to_write():
    t = leaf(0.5)
    for f, mend in [
        (np.asarray, "detach"),
        (float, r"\.item\(\)"),
        (copy.deepcopy, "detach"),
        (np.from_dlpack, "detach"),
    ]:
        with pytest.raises(tr.GradientError, match=mend):
            f(t * 2)
    assert (
        t.numpy().tolist() == [0.5] == t.tolist()
        and t.item() == 0.5
        and f"{t:.2f} {t}" == "0.50 tensor([0.5], requires_grad=True)"
    )
    assert bool(t > 0) and t and np.shape(t) == (1,) and np.allclose(t, [0.5])


def test_scipy_and_torch_do_not_take_what_is_on_the_tape():
    special = pytest.importorskip("scipy.special")
    for f in (
        special.expit,
        special.erf,
        special.logsumexp,
        special.softmax,
    ):  # two of them with names of functions here
        with pytest.raises(tr.GradientError):
            f(leaf(0.5, 1.0))
        np.testing.assert_allclose(f(tr.tensor(V)), f(V))
    torch = pytest.importorskip("torch")
    with pytest.raises(tr.GradientError, match="DLPack"):
        torch.from_dlpack(leaf(0.5))


def test_leaves_and_modules_are_copied_and_tensors_keep_their_past_where_they_can():
    w = leaf(1.0, 2.0)
    again = copy.deepcopy(w)
    assert again.requires_grad and again.is_leaf and not np.shares_memory(again.data, w.data)
    layer = copy.deepcopy(tr.Linear(2, 2))
    assert all(p.requires_grad for _, p in layer.named_parameters())
    np.testing.assert_array_equal(
        tr.grad(lambda t: (tr.from_dlpack(t) * tr.asarray(t) * copy.copy(t)).sum())(V), 3 * V**2
    )
    with pytest.raises(tr.GradientError):  # being differentiated, also where they are leaves
        tr.grad(lambda m: copy.deepcopy(m)(V).sum())(tr.Linear(2, 2, dtype="float64"))
    assert pickle.loads(pickle.dumps(w * 2)).is_leaf


# ------------------------------------------------------------------ threads

INNER = {
    "grad": lambda x: tr.grad(lambda y: x * y * y)(1.0),
    "value_and_grad": lambda x: tr.value_and_grad(lambda y: x * y * y)(1.0)[1],
    "vjp": lambda x: tr.vjp(lambda y: x * y * y, 1.0)[1](1.0)[0],
    "jvp": lambda x: tr.jvp(lambda y: x * y * y, 1.0, 1.0)[1],
    "jacobian": lambda x: tr.jacobian(lambda y: x * y * y)(1.0),
    "hessian": lambda x: tr.hessian(lambda y: x * y * y)(1.0),
    "hvp": lambda x: tr.hvp(lambda y: x * y * y, 1.0, 1.0),
    "by the input itself": lambda x: tr.grad(lambda y: y * y)(x),
}


@pytest.mark.parametrize("inner", INNER.values(), ids=INNER)
@pytest.mark.parametrize("around", [lambda f: f, tr.checkpoint], ids=["plain", "checkpoint"])
@pytest.mark.parametrize("threaded", [False, True])
def test_an_inner_derivative_knows_what_surrounds_it(inner, around, threaded):
    """``inner`` is 2 x, so that the function is 2 x ** 3."""
    with ThreadPoolExecutor(1) as pool:
        run = (lambda g, x: pool.submit(g, x).result()) if threaded else lambda g, x: g(x)
        f = around(lambda x: x * x * run(inner, x))
        assert tr.grad(f)(3.0).item() == pytest.approx(54)
        assert tr.grad(tr.grad(f))(3.0).item() == pytest.approx(36)
        x = leaf(3.0)[0]
        assert tr.grad(f)(x).item() == pytest.approx(54)
        w = tr.tensor(3.0, requires_grad=True)
        f(w).backward()
        assert w.grad.item() == pytest.approx(54)


def test_first_order_results_are_constants_in_every_thread():
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(tr.value_and_grad(lambda x: (x * x).sum()), [V, V]))
    value, pullback = tr.vjp(lambda x: x * x, V)
    for t in (*results[0], *results[1], value, pullback(V)[0], tr.grad(lambda g: pullback(g)[0].sum())(V)):
        assert not t.requires_grad


def test_a_gradient_penalty_on_a_module_in_another_context():
    """The parameters are leaves of both calls: the thread is given the context of the call around it."""
    layer = tr.Linear(2, 1, dtype="float64")
    inner = lambda: sum((g * g).sum() for g in tr.grad(lambda m: (tr.tanh(m(V)) ** 2).sum())(layer).values())  # noqa: E731
    expected = tr.grad(lambda m: inner())(layer)
    with ThreadPoolExecutor(1) as pool:
        got = tr.grad(lambda m: pool.submit(contextvars.copy_context().run, inner).result())(layer)
    for name in expected:
        assert np.abs(expected[name].numpy()).max() > 0
        np.testing.assert_array_equal(got[name], expected[name])


def test_no_grad_stays_with_its_thread():
    seen = []
    with tr.no_grad():
        thread = threading.Thread(target=lambda: seen.append(tr.grad(lambda x: x * x)(3.0).item()))
        thread.start()
        thread.join()
    assert seen == [6]


# ------------------------------------------------------------------ closures, structures, changes:
# custom_vjp, checkpoint, vjp


def doubled(f):
    """A custom_vjp of ``f`` whose derivative by its first argument is 2, and none by others."""
    made = tr.custom_vjp(f)
    made.defvjp(lambda *args: (f(*args), None), lambda _, g: (2 * g, *[None] * (f.__code__.co_argcount - 1)))
    return made


def test_custom_vjp_refuses_what_its_function_closes_over():
    w, x, layer = leaf(2.0, 3.0), leaf(1.0, 1.0), tr.Linear(2, 2, dtype="float64")
    v = w * 1.0
    for f in (lambda x: x * w, lambda x: x * v, lambda x: layer(x), lambda x: w, lambda x: (x, v)):
        with pytest.raises(tr.GradientError, match="pass it as an argument"):
            doubled(f)(x)
    with pytest.raises(tr.GradientError, match="pass it as an argument"):
        tr.grad(lambda w: doubled(lambda x: x * w)(x).sum())(V)
    doubled(lambda x: x * w.detach())(x).sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 2])
    with tr.no_grad():
        doubled(lambda x: x * w)(x)


def test_custom_vjp_differentiates_structures_of_arguments():
    @tr.custom_vjp
    def f(p, pair, n):
        return (p["a"] * pair[0] + p["b"] * pair[1]) * n

    def backward(needed, g):
        p, pair = needed
        return {"a": g * 10 * pair[0], "b": g * 20 * pair[1]}, (g * 30 * p["a"], None), None

    f.defvjp(lambda p, pair, n: (f._f(p, pair, n), (p, pair)), backward)
    a, b, c, d = leaf(1.0, 2.0), leaf(3.0, 4.0), leaf(5.0, 6.0), leaf(7.0, 8.0)
    f({"a": a, "b": b}, (c, d), 2).sum().backward()
    np.testing.assert_array_equal(a.grad, [50, 60])
    np.testing.assert_array_equal(b.grad, [140, 160])
    np.testing.assert_array_equal(c.grad, [30, 60])
    assert d.grad is None
    f.defvjp(lambda p, pair, n: (f._f(p, pair, n), None), lambda _, g: ({"a": g}, None, None))
    with pytest.raises(tr.GradientError, match="keys"):
        f({"a": a, "b": b}, (c, d), 2).sum().backward()


def change(x):
    """Another value in place, as an update of parameters does it, or as NumPy does."""
    if isinstance(x, Tensor):
        with tr.no_grad():
            x += 1
    else:
        x += 1


KINDS = {
    "leaf": lambda: leaf(1.0, 2.0),
    "tensor": lambda: tr.tensor([1.0, 2.0]),
    "array": lambda: np.array([1.0, 2.0]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_primal_changed_before_the_pullback(kind):
    x = KINDS[kind]()
    _, pullback = tr.vjp(lambda x: x**3, x)
    change(x)
    if kind == "array":  # of which there is a copy
        np.testing.assert_array_equal(pullback(np.ones(2))[0].detach(), [3, 12])
    else:
        with pytest.raises(tr.ChangedInPlaceError):
            pullback(np.ones(2))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["closed over", "in a list", "by keyword", "returned as it is", "at zero"])
def test_what_checkpoint_uses_may_not_change_before_backward(kind, how):
    x, c = leaf(0.0 if how == "at zero" else 3.0, 4.0), KINDS[kind]()
    if how == "in a list":
        y = tr.checkpoint(lambda x, cs: tr.sin(x * cs[0]))(x, [c])
    elif how == "by keyword":
        y = tr.checkpoint(lambda x, c: tr.sin(x * c))(x, c=c)
    elif how == "returned as it is":
        y = tr.checkpoint(lambda x: (tr.asarray(c), x * x))(x)[1] + tr.checkpoint(lambda x: x * c)(x)
    else:
        y = tr.checkpoint(lambda x: tr.sin(x * c))(x)
    change(c)
    with pytest.raises(tr.ChangedInPlaceError):
        y.sum().backward()


def test_checkpoint_reaches_a_closed_over_tensor_that_is_returned_as_it_is():
    w, x = leaf(2.0), leaf(3.0)
    y = w * 1.0
    a, b = tr.checkpoint(lambda x: (y, x * x))(x)
    (a * b).sum().backward()
    assert (w.grad.item(), x.grad.item()) == (9, 12)


def test_checkpoint_refuses_noise_that_it_cannot_draw_again():
    rng = np.random.default_rng(0)
    y = tr.checkpoint(lambda x: x * rng.standard_normal(2))(leaf(1.0, 2.0))
    with pytest.raises(tr.ChangedInPlaceError, match="Generator"):
        y.sum().backward()


def test_what_custom_vjp_needs_may_not_change_before_backward():
    f = tr.custom_vjp(lambda x, c: x * c)
    f.defvjp(
        lambda x, c: (x * c, (tr.exp(x) if isinstance(c, Tensor) else x, c)),
        lambda needed, g: (g * needed[1], None),
    )
    for make, error in ((lambda: tr.tensor([5.0, 6.0]), True), (lambda: np.array([5.0, 6.0]), False)):
        x, c = leaf(1.0, 2.0), make()
        y = f(x, c)
        change(c)
        if error:
            with pytest.raises(tr.ChangedInPlaceError):
                y.sum().backward()
        else:
            y.sum().backward()
            np.testing.assert_array_equal(x.grad, [5, 6])


# ------------------------------------------------------------------ arrays of the caller that change before
# backward


def scrambled(x):
    """Change the arrays and lists in a structure in place; return how many there are."""
    if isinstance(x, np.ndarray):
        if x.dtype.kind == "f":
            x[...] = 0.37 * x + 0.6
        elif x.dtype.kind == "b":
            x[...] = ~x
        else:
            x[...] = 0
        return 1
    if isinstance(x, list) and x and all(isinstance(v, int | float) for v in x):
        x[:] = [type(v)(0) for v in x]
        return 1
    return (
        sum(map(scrambled, x.values() if isinstance(x, dict) else x))
        if isinstance(x, list | tuple | dict)
        else 0
    )


def gradients(call, args, kwargs, i, disturb, given=lambda x: x):
    """The gradient by argument ``i`` of ``call(*args, **kwargs)``; with ``disturb`` all other arrays change
    before backward.
    """
    args, kwargs = copy.deepcopy((list(args), kwargs))
    args = [
        given(a) if j != i and isinstance(a, np.ndarray) and a.dtype.kind == "f" else a
        for j, a in enumerate(args)
    ]
    x = args[i] = tr.tensor(args[i], requires_grad=True)
    y = call(*args, **kwargs)
    outs = [y] if isinstance(y, Tensor) else list(y)
    loss = sum(((k + 1.5) * tr.sin(z)).sum() for k, z in enumerate(outs) if z.requires_grad)
    if not isinstance(loss, Tensor):
        return None
    if disturb:
        for j, a in enumerate(args):
            if isinstance(a, Tensor) and j != i:
                change(a)
            elif j != i:
                scrambled(a)
        scrambled(kwargs)
    loss.backward()
    return x.grad.numpy()


def cases(table):
    """Each float array of each sample of a table, as (call, args, kwargs, position)."""
    for name, samples, call in table:
        for k, (args, kwargs) in enumerate(samples):
            for i, a in enumerate(args):
                if isinstance(a, np.ndarray) and a.dtype.kind == "f" and a.size:
                    yield pytest.param(call, args, kwargs, i, id=f"{name}-{k}-{i}")


def of_op(name):
    return lambda *args, **params: apply(TABLE[name], *map(operand, args), **params)


def of_list(f):
    return lambda *args, **kwargs: f(list(args), **kwargs)


# The function of that name copies what its op is given (tests/nn/test_vocabulary.py).
APART = {"linear_cross_entropy"}
OPS = [
    (name, samples, of_op(name))
    for name, samples in SAMPLES.items()
    if TABLE[name].vjps and name not in APART
]
PUBLIC = [
    (name, samples, of_list(public(name)) if isinstance(samples[0][0], list) else public(name))
    for name, (_, samples) in FUNCTIONS.items()
    if name not in NO_GRADIENT
]


@pytest.mark.parametrize("given", [lambda x: x, tr.tensor], ids=["arrays", "tensors"])
@pytest.mark.parametrize(("call", "args", "kwargs", "i"), [*cases(OPS), *cases(PUBLIC)])
def test_what_an_op_was_given_may_change_before_backward(call, args, kwargs, i, given):
    """The gradient is that of the values at the time of the call; of a changed tensor it may be refused."""
    expected = gradients(call, args, kwargs, i, False, given)
    try:
        got = gradients(call, args, kwargs, i, True, given)
    except tr.ChangedInPlaceError:
        assert given is tr.tensor
        return
    np.testing.assert_array_equal(got, expected)


def test_views_and_keys_of_the_callers_memory():
    a, n, key, mask = np.array([1.0, 2.0, 3.0]), tr.tensor(1), [0, 2], np.array([True, False, True])
    w = leaf(1.0, 2.0, 3.0)
    y = (
        (w * tr.reshape(a, (3,)) * tr.flip(a[::-1])).sum()
        + (w[key] * 10).sum()
        + (w[mask] * 100).sum()
        + w[n:].sum()
    )
    a += 1
    key[0] = 1
    mask[:] = True
    n += 1
    y.backward()
    np.testing.assert_array_equal(w.grad, [111, 5, 120])


@pytest.mark.parametrize("transform", ["backward", "grad", "vjp", "jvp"])
def test_directions_and_points_are_copied(transform):
    """What is left on the tape by an inner derivative does not see later changes of the arrays that were
    given.
    """
    w, x, g = leaf(2.0), np.array([3.0]), np.array([5.0])
    f = lambda x: w * x * x  # noqa: E731
    if transform == "backward":
        t = tr.tensor(x, requires_grad=True)
        f(t).backward(g, create_graph=True)
        y = t.grad
        w.grad = None
    elif transform == "grad":
        y, g = tr.grad(lambda x: f(x).sum())(x) * 5.0, g
    else:
        y = tr.vjp(f, x)[1](g)[0] if transform == "vjp" else tr.jvp(f, x, g)[1]
    x[:], g[:] = 100, 100
    y.sum().backward()  # y is 5 * 2 * w * x
    assert w.grad.item() == 30


# ------------------------------------------------------------------ half precision and special points


def test_half_precision_adds_up_in_single():
    n = 70_000
    x = (np.arange(n) % 3).astype("float16")
    single = x.astype("float32")
    t = tr.tensor(x, requires_grad=True)
    t.mean().backward()
    np.testing.assert_array_equal(t.grad, np.full(n, np.float16(1 / n)))
    for f, expected in [(tr.mean, single.mean()), (tr.var, single.var()), (tr.std, single.std())]:
        np.testing.assert_allclose(f(x).item(), expected, rtol=2e-3)
    slope = tr.grad(lambda x: tr.var(x))(x[: n // 2 * 2]).numpy()
    np.testing.assert_allclose(slope, 2 * (single - single.mean()) / n, rtol=0.02, atol=1e-7)
    ones = np.ones((5000, 2), "float16")
    for y in (
        tr.sum(ones, axis=0),
        tr.cumsum(ones, axis=0)[-1],
        tr.einsum("ij->j", ones),
        np.ones(5000, "float16") @ tr.asarray(ones),
    ):
        np.testing.assert_array_equal(y, [5000, 5000])
        assert y.dtype == np.float16
    bias = tr.tensor(np.zeros(2, "float16"), requires_grad=True)
    (ones + bias).sum().backward()
    np.testing.assert_array_equal(bias.grad, [5000, 5000])
    rows = tr.tensor(np.zeros((1, 2), "float16"), requires_grad=True)
    rows[np.zeros(5000, int)].sum().backward()
    np.testing.assert_array_equal(rows.grad, [[5000, 5000]])
    assert tr.norm(np.full(4, 300, "float16")).item() == 600
    assert np.isfinite(tr.layer_norm(np.array([-3e4, 3e4], "float16"), 2)).all()


def test_powers_and_norms_at_special_points_are_those_of_torch():
    torch = pytest.importorskip("torch")
    with np.errstate(all="ignore"):
        for a in (0.0, 2.0, np.inf):
            for b in (-1.5, -1.0, 0.0, 0.5, 1.0, 2.0):
                ta, tb = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (a, b))
                (ta**tb).backward()
                got = tr.grad(tr.power, (0, 1))(a, b)
                np.testing.assert_array_equal(
                    [g.item() for g in got], [ta.grad.item(), tb.grad.item()], err_msg=f"{a} ** {b}"
                )
        for ord in (-1.0, 0.5, 1, 1.5, 2, 3, np.inf, 0):
            for x in ([0.0, 3.0, -2.0], [0.0, 0.0, 0.0]):
                t = torch.tensor(x, dtype=torch.float64, requires_grad=True)
                torch.linalg.vector_norm(t, ord).backward()
                got = tr.grad(lambda x, ord=ord: tr.norm(x, ord=ord))(np.array(x))
                np.testing.assert_allclose(got, 0 if t.grad is None else t.grad, err_msg=f"{ord} of {x}")
    tr.check_grad(
        tr.power, np.array([1.5, 2.0]), np.array([0.0, 1.0])
    )  # the mixed derivative at exponent 0 is 1 / a


# ------------------------------------------------------------------ NumPy's rules


def test_numpys_functions_with_arguments_of_their_own():
    m = np.arange(1.0, 7).reshape(2, 3) ** 1.5
    t = tr.tensor(m)
    assert [p.shape for p in np.split(t, 2)] == [(1, 3)] * 2 and [p.shape for p in tr.split(t, 3)] == [
        (2, 1)
    ] * 3
    for ord in (None, "fro", 1, -1, 2, -2, np.inf, -np.inf, "nuc"):
        np.testing.assert_allclose(np.linalg.norm(t, ord), np.linalg.norm(m, ord))
        f = lambda x, ord=ord: np.linalg.norm(x, ord)  # noqa: E731
        tr.check_grad(f, m)
        assert np.linalg.norm(t, ord, axis=(1, 0), keepdims=True).shape == (1, 1)
    np.testing.assert_allclose(np.linalg.norm(t, 1, axis=(1, 0)), np.linalg.norm(m, 1, axis=(1, 0)))
    for f in (
        lambda x: np.var(x, ddof=1),
        lambda x: np.var(x, 1, correction=1),
        lambda x: np.clip(x, a_min=2, a_max=5),
        lambda x: np.sum(x, 0, None, None, True),
        lambda x: np.take(x, [1], 1),
        lambda x: np.pad(x, 1, "constant", constant_values=2),
        lambda x: np.reshape(x, (3, 2)),
        lambda x: np.linalg.vector_norm(x, axis=1, ord=1),
    ):
        np.testing.assert_allclose(f(t), f(m))
        tr.check_grad(f, m, order=1)
    for f in (
        lambda x: np.sum(x, dtype="float32"),
        lambda x: np.sum(x, where=m > 2),
        lambda x: np.sum(x, initial=3.0),
        lambda x: np.round(x, 1),
        lambda x: np.reshape(x, (3, 2), order="F"),
        lambda x: np.take(x, [7], mode="wrap"),
        lambda x: np.pad(x, 1, mode="edge"),
        lambda x: np.emath.sqrt(x - 3),
        lambda x: np.add.reduce(x),
    ):
        np.testing.assert_array_equal(f(t), f(m))
        with pytest.raises(tr.GradientError):
            f(tr.tensor(m, requires_grad=True))


def test_a_foreign_ufunc_of_the_same_name_is_not_replaced():
    special = pytest.importorskip("scipy.special")
    x = tr.tensor([-1.0, 2.0])
    assert type(special.erf(x)) is np.ndarray and type(np.exp(x)) is Tensor
    foreign = np.frompyfunc(lambda v: 7.0, 1, 1)
    assert foreign(x).tolist() == [7, 7]


def test_comparisons_with_what_no_tensor_holds():
    for x in (tr.tensor([1.0, 2.0]), leaf(1.0, 2.0)):
        assert (x == None).tolist() == [False, False] and (x != None).tolist() == [True, True]  # noqa: E711
        assert (x == "a").tolist() == [False, False] and (x != "a").tolist() == [True, True]
        assert (x == 1j).tolist() == [False, False]
        with pytest.raises(tr.DtypeError):
            x < None  # noqa: B015


DTYPES = ["bool", "int8", "uint8", "int16", "int32", "int64", "float16", "float32", "float64"]


@pytest.mark.parametrize("a", DTYPES)
@pytest.mark.parametrize("b", [*DTYPES, int, bool])
def test_promotion_is_numpys(a, b):
    x = np.ones(2, a)
    y = b(1) if isinstance(b, type) else np.ones(2, b)
    pairs = [(tr.add, np.add), (tr.logaddexp, np.logaddexp), (tr.maximum, np.maximum)]
    pairs += [
        (lambda x, y: tr.clip(x, y), lambda x, y: np.clip(x, y, None)),
        (lambda x, y: tr.clip(x, None, y), lambda x, y: np.clip(x, None, y)),
    ]
    pairs += [(lambda x, y: tr.clip(x, y, y), lambda x, y: np.clip(x, y, y))]
    if not (a.startswith("float") or str(b).startswith("float")):
        pairs += [(lambda x, y, f=f: f(tr.tensor(x), y), f) for f in (np.bitwise_and, np.bitwise_or)]
        pairs += [
            (lambda x, y: tr.tensor(x) & y, lambda x, y: x & y),
            (lambda x, y: y | tr.tensor(x), lambda x, y: y | x),
        ]
        pairs += [(lambda x, y: tr.tensor(x) ^ y, lambda x, y: x ^ y)]
    for ours, numpys in pairs:
        got, expected = ours(x, y), numpys(x, y)
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got, expected, rtol=1e-2)


def test_variance_of_too_few_elements_is_not_a_number():
    for x, correction, said in [
        (np.ones(3), 3, np.isnan),
        (np.arange(3.0), 3, np.isinf),
        (np.arange(3.0), 5, np.isinf),
    ]:
        assert said(tr.var(x, correction=correction).item()) and said(tr.std(x, correction=correction).item())


def test_iteration_and_unstacking_give_tensors():
    for parts in (list(leaf(1.0, 2.0)), tr.unstack(leaf(1.0, 2.0)), list(tr.tensor([1, 2]))):
        assert [(type(p), type(p.data), p.shape) for p in parts] == [(Tensor, np.ndarray, ())] * 2


def test_random_integers_of_any_size():
    g = tr.Generator(0)
    for low, high, dtype in [(0, 300, "int8"), (-1, 3, "uint8"), (0, 3, "bool"), (0, 2**63 + 1, "int64")]:
        with pytest.raises(tr.InputError, match="larger dtype"):
            tr.randint(low, high, 3, generator=g, dtype=dtype)
    with pytest.raises(tr.DtypeError):
        tr.randint(0.5, 3, 3, generator=g)
    assert set(tr.randint(-128, 128, 20_000, generator=g, dtype="int8").tolist()) == set(range(-128, 128))
    for low, high in [(2**60, 2**60 + 100), (-(2**63), -(2**63) + 5), (2**53 + 1, 2**53 + 8)]:
        counts = collections.Counter(tr.randint(low, high, 20_000, generator=g).tolist())
        assert set(counts) == set(range(low, high))
        assert max(counts.values()) < 1.5 * 20_000 / (high - low)
    wide = np.array(tr.randint(-(2**63), 2**63, 4000, generator=g).tolist(), float) / 2**63
    np.testing.assert_allclose(np.quantile(wide, [0.25, 0.5, 0.75]), [-0.5, 0, 0.5], atol=0.06)
    assert len({v % 1024 for v in tr.randint(0, 2**64, 20_000, generator=g, dtype="uint64").tolist()}) == 1024
    # The streams of seeds are kept: these are the numbers of the first version.
    assert tr.randint(0, 10, 8, generator=tr.Generator(1)).tolist() == [3, 9, 3, 4, 0, 6, 8, 0]


def test_structures_keep_their_type():
    Pair = collections.namedtuple("Pair", "x y")
    trees = [
        collections.OrderedDict(b=V, a=V),
        collections.defaultdict(list, a=V),
        Pair(V, [V]),
        {"a": collections.OrderedDict(a=V)},
    ]
    for tree in trees:
        total = lambda p: sum((leaf * leaf).sum() for leaf in tree_leaves(p))  # noqa: E731
        g = tr.grad(total)(tree)
        assert type(g) is type(tree) and (not isinstance(tree, dict) or list(g) == list(tree))
    assert type(g["a"]) is collections.OrderedDict
    assert tr.grad(total)(trees[1]).default_factory is list
    np.testing.assert_array_equal(tr.jvp(total, trees[0], trees[0])[1], 4 * (V * V).sum())


@pytest.mark.parametrize("constant", [3.0, 2, np.float32(1.5), np.array([2.0]), tr.tensor(4.0)])
def test_the_derivative_of_a_constant_is_zero(constant):
    f = lambda x: constant  # noqa: E731
    np.testing.assert_array_equal(tr.grad(f)(V), [0, 0])
    value, g = tr.value_and_grad(f)(V)
    assert value.item() == float(np.asarray(constant).item()) and g.tolist() == [0, 0]
    assert (
        tr.jacobian(f)(V).numpy().any()
        == tr.hessian(f)(V).numpy().any()
        == tr.vjp(f, V)[1](np.ones(np.shape(constant)))[0].numpy().any()
        == 0
    )
    assert tr.jvp(f, V, V)[1].item() == 0 and tr.hvp(f, V, V).tolist() == [0, 0]
    with pytest.raises(tr.GradientError, match="one element"):
        tr.grad(lambda x: None)(V)


@pytest.mark.parametrize("axis", [0, -1, None])
@pytest.mark.parametrize(
    "name", ["sum", "prod", "max", "min", "all", "any", "count_nonzero", "argmax", "cumsum"]
)
def test_a_0d_tensor_is_reduced_as_numpy_reduces_it(name, axis):
    x = np.array(3.0)
    found, wanted = getattr(tr, name)(tr.tensor(x), axis=axis), getattr(np, name)(x, axis=axis)
    assert found.shape == np.shape(wanted) and found.numpy() == wanted
    with pytest.raises(tr.TinyrnnError, match="0-d"):
        getattr(tr, name)(tr.tensor(x), axis=1)
