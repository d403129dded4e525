"""Derivatives of functions, functions with a derivative of their own, recomputation, hooks."""

import gc
import threading
import tracemalloc
import weakref
from collections import namedtuple

import numpy as np
import pytest

import tinyrnn as tr

rng = np.random.default_rng(5)
A, B = rng.standard_normal((3, 3)), rng.standard_normal((3, 2))


def f(x):
    """[3] -> [2]."""
    return tr.tanh(A @ x) @ B


def scalar(x):
    return (tr.tanh(A @ x) ** 2).sum()


def numeric_jacobian(f, x, eps=1e-6):
    columns = [(f(x + e) - f(x - e)) / (2 * eps) for e in eps * np.eye(len(x))]
    return np.stack(columns, -1)


X, V = rng.standard_normal(3), rng.standard_normal(3)
JACOBIAN = numeric_jacobian(lambda x: np.tanh(A @ x) @ B, X)
HESSIAN = numeric_jacobian(lambda x: tr.grad(scalar)(x).numpy(), X)
close = dict(rtol=1e-6, atol=1e-8)


def test_jacobian_hessian_and_their_products_agree_with_differences():
    np.testing.assert_allclose(tr.jacobian(f)(X), JACOBIAN, **close)
    np.testing.assert_allclose(tr.hessian(scalar)(X), HESSIAN, **close)
    np.testing.assert_allclose(tr.hvp(scalar, X, V), HESSIAN @ V, **close)
    y, tangent = tr.jvp(f, X, V)
    np.testing.assert_allclose(y, f(X))
    np.testing.assert_allclose(tangent, JACOBIAN @ V, **close)
    y, pullback = tr.vjp(f, X)
    np.testing.assert_allclose(y, f(X))
    for g in (np.array([1.0, 0.0]), np.array([0.5, -2.0])):  # may be called again
        np.testing.assert_allclose(pullback(g)[0], g @ JACOBIAN, **close)


def test_transforms_nest():
    np.testing.assert_allclose(tr.jacobian(tr.grad(scalar))(X), HESSIAN, **close)
    np.testing.assert_allclose(tr.jvp(tr.grad(scalar), X, V)[1], HESSIAN @ V, **close)
    np.testing.assert_allclose(tr.vjp(tr.grad(scalar), X)[1](V)[0], V @ HESSIAN, **close)
    tr.check_grad(lambda x: tr.jvp(f, x, V)[1], X)
    tr.check_grad(lambda x: tr.vjp(f, x)[1](np.array([1.0, 2.0]))[0], X)
    tr.check_grad(lambda x: tr.hessian(scalar)(x), X, order=1)
    tr.check_grad(lambda x: tr.hvp(scalar, x, V), X, order=1)
    third = tr.jacobian(tr.hessian(lambda x: (x**4).sum()))(np.array([2.0]))
    np.testing.assert_allclose(third, [[[48.0]]])


def test_products_are_differentiable_by_their_vectors():
    _, pullback = tr.vjp(f, X)
    tr.check_grad(lambda g: pullback(g)[0], np.array([1.0, 2.0]))
    tr.check_grad(lambda t: tr.jvp(f, X, t)[1], V)
    tr.check_grad(lambda t: tr.hvp(scalar, X, t), V, order=1)
    slope = tr.grad(lambda t: tr.hvp(scalar, X, t).sum())(V)
    np.testing.assert_allclose(slope, HESSIAN.sum(0), **close)
    assert not slope.requires_grad


def test_several_arguments_and_structures():
    g = lambda p, c: {"s": (p["a"] * c).sum(), "v": [p["b"] ** 2]}  # noqa: E731
    p, c = {"a": np.ones(2), "b": np.array([1.0, 3.0])}, np.array([2.0, 5.0])
    jacobian = tr.jacobian(g, argnums=(0, 1))(p, c)
    np.testing.assert_array_equal(jacobian["s"][0]["a"], [2, 5])
    np.testing.assert_array_equal(jacobian["s"][0]["b"], [0, 0])
    np.testing.assert_array_equal(jacobian["s"][1], [1, 1])
    np.testing.assert_array_equal(jacobian["v"][0][0]["b"], [[2, 0], [0, 6]])
    y, tangents = tr.jvp(g, (p, c), ({"a": np.ones(2), "b": np.ones(2)}, np.zeros(2)))
    assert y["s"].item() == 7 and tangents["s"].item() == 7
    np.testing.assert_array_equal(tangents["v"][0], [2, 6])
    blocks = tr.hessian(lambda a, b: (a * a * b).sum(), argnums=(0, 1))(np.array([3.0]), np.array([2.0]))
    assert [[b.item() for b in row] for row in blocks] == [[4, 6], [6, 0]]
    products = tr.hvp(
        lambda a, b: (a * a * b).sum(), (np.array([3.0]), np.array([2.0])), (np.ones(1), np.ones(1))
    )
    assert [p.item() for p in products] == [10, 6]
    Pair = namedtuple("Pair", "x y")
    slopes = tr.grad(lambda p: (p.x * p.y).sum())(Pair(np.array([2.0]), np.array([3.0])))
    assert type(slopes) is Pair and slopes.x.item() == 3 and slopes.y.item() == 2


def test_the_gradient_by_a_module_is_a_dict_by_name(rng):
    layer = tr.Linear(3, 2, dtype="float64")
    x = rng.standard_normal((4, 3))
    loss = lambda layer: (layer(x) ** 2).mean()  # noqa: E731
    value, gradient = tr.value_and_grad(loss)(layer)
    assert list(gradient) == [name for name, _ in layer.named_parameters()]
    loss(layer).backward()
    for name, p in layer.named_parameters():
        np.testing.assert_allclose(gradient[name], p.grad)
    assert value.item() == loss(layer).item()
    both = tr.grad(lambda parts: loss(parts["layer"]) + parts["w"].sum())({"layer": layer, "w": np.ones(2)})
    np.testing.assert_allclose(both["layer"]["bias"], gradient["bias"])


def test_a_gradient_penalty_on_a_module(rng):
    """The gradient of a function of the gradient by the same parameters: the inner walk must be recorded."""
    layer = tr.Linear(2, 1, dtype="float64")
    x = rng.standard_normal((3, 2))

    def penalty(layer):
        inner = tr.grad(lambda layer: (tr.tanh(layer(x)) ** 2).sum())(layer)
        return sum((g * g).sum() for g in inner.values())

    got = tr.grad(penalty)(layer)
    w = layer.weight
    for i in range(2):
        values = []
        for sign in (1, -1):
            w.data[i, 0] += sign * 1e-6
            values.append(penalty(layer).item())
            w.data[i, 0] -= sign * 1e-6
        assert got["weight"].numpy()[i, 0] == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-6)


def test_value_and_grad_with_aux_and_what_it_leaves_behind():
    (value, aux), g = tr.value_and_grad(lambda x: ((x * x).sum(), "more"), has_aux=True)(np.array([3.0]))
    assert (value.item(), aux, g.item()) == (9, "more", 6)
    assert not value.requires_grad and not g.requires_grad
    assert tr.grad(lambda x: ((x * x).sum(), 5), has_aux=True)(np.array([3.0]))[1] == 5
    np.testing.assert_array_equal(tr.grad(lambda x: tr.zeros(()))(X), np.zeros(3))


def test_transforms_of_a_function_that_ignores_its_argument():
    constant = lambda x: tr.ones(2)  # noqa: E731
    np.testing.assert_array_equal(tr.jacobian(constant)(X), np.zeros((2, 3)))
    np.testing.assert_array_equal(tr.jvp(constant, X, V)[1], np.zeros(2))
    np.testing.assert_array_equal(tr.vjp(constant, X)[1](np.ones(2))[0], np.zeros(3))
    np.testing.assert_array_equal(tr.hvp(lambda x: x.sum(), X, V), np.zeros(3))
    assert tr.jacobian(lambda x: x[:0])(X).shape == (0, 3)


# ------------------------------------------------------------------ a derivative of one's own


def test_custom_vjp_replaces_the_derivative():
    @tr.custom_vjp
    def rounded(x):
        """Straight-through."""
        return tr.round(x)

    rounded.defvjp(lambda x: (tr.round(x), None), lambda _, g: g)
    assert rounded.__doc__ == "Straight-through."
    x = tr.tensor([0.4, 1.6], requires_grad=True)
    (rounded(x * 1.0) * np.array([2.0, 3.0])).sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 3])
    assert not rounded(np.array([0.4])).requires_grad


def test_custom_vjp_has_higher_orders_and_closes_over_its_value():
    @tr.custom_vjp
    def squashed(x, scale):
        return tr.tanh(x) * scale

    def forward(x, scale):
        y = tr.tanh(x)
        return y * scale, (y, scale)

    squashed.defvjp(forward, lambda needed, g: (g * needed[1] * (1 - needed[0] ** 2), None))
    tr.check_grad(lambda x: squashed(x, 2.0), X)
    tr.check_grad(lambda x: squashed(x * x, tr.tensor(2.0)), X)


def test_custom_vjp_may_return_what_it_holds():
    """A gradient that is an array of somebody else must not be added to in place."""
    held = tr.tensor([1.0, 1.0])

    @tr.custom_vjp
    def f(a, b):
        return a + b

    f.defvjp(lambda a, b: (a + b, None), lambda _, g: (held, held))
    a, b = tr.tensor([1.0, 2.0], requires_grad=True), tr.tensor([1.0, 2.0], requires_grad=True)
    (f(a, b) + f(a, b) + a + b).sum().backward()
    np.testing.assert_array_equal(a.grad, [3, 3])
    np.testing.assert_array_equal(b.grad, [3, 3])
    np.testing.assert_array_equal(held, [1, 1])


def test_custom_vjp_of_several_values():
    both = tr.custom_vjp(lambda x: (x * x, x * 3))
    both.defvjp(lambda x: ((x * x, x * 3), x), lambda x, g: 2 * x * g[0] + 3 * g[1])
    tr.check_grad(lambda x: both(x)[0] * both(x)[1], X)
    assert isinstance(both(X), tuple)


def test_structures_are_matched_by_key_and_none_is_no_leaf():
    def f(p):
        return (tr.sin(p["a"]) * 2 + p["b"] ** 3).sum()

    p = {"a": np.array([1.0, 2.0]), "b": np.array([3.0, 4.0]), "none": None}
    first, second = np.array([1.0, 0.0]), np.zeros(2)
    expected = 2 * np.cos(1.0)
    for tangent in ({"a": first, "b": second, "none": None}, {"none": None, "b": second, "a": first}):
        np.testing.assert_allclose(tr.jvp(f, p, tangent)[1], expected)
        np.testing.assert_allclose(tr.hvp(f, p, tangent)["a"], [-2 * np.sin(1.0), 0])
    assert tr.grad(f)(p)["none"] is None


def test_custom_vjp_gradients_must_fit_and_shared_memory_is_known():
    same = tr.custom_vjp(lambda x: x)
    same.defvjp(lambda x: (x, None), lambda _, g: g)
    x = tr.tensor([1.0, 2.0], requires_grad=True)
    z, y = (x * x).sum(), same(x)
    with tr.no_grad():
        y += 1
    with pytest.raises(tr.ChangedInPlaceError):
        z.backward()
    same.defvjp(lambda x: (x, None), lambda _, g: g.reshape(1, 2))
    with pytest.raises(tr.GradientError, match=r"does not fit argument 0: shape \[1, 2\] was given, \[2\]"):
        same(x).sum().backward()


def test_custom_vjp_errors_name_the_function():
    @tr.custom_vjp
    def halved(x):
        return x / 2

    x = tr.tensor(1.0, requires_grad=True)
    with pytest.raises(tr.GradientError, match=r"halved.*defvjp"):
        halved(x)
    halved.defvjp(lambda x: (x / 2, None), lambda _, g: (g, g))
    with pytest.raises(tr.GradientError, match="halved: backward returned 2 gradients for 1 arguments"):
        halved(x).backward()


# ------------------------------------------------------------------ recomputation


def deep(x, w, n=20):
    for _ in range(n):
        x = tr.tanh(x * w)
    return x


def test_checkpoint_gives_the_same_gradients_of_any_order(rng):
    w = rng.standard_normal(3)
    plain = lambda x, w: deep(x, w).sum()  # noqa: E731
    again = lambda x, w: tr.checkpoint(deep)(x, w).sum()  # noqa: E731
    for a, b in zip(tr.grad(plain, (0, 1))(X, w), tr.grad(again, (0, 1))(X, w), strict=True):
        np.testing.assert_array_equal(a, b)
    tr.check_grad(again, X, w)
    two = tr.checkpoint(lambda x: (tr.sin(x), x * x))
    tr.check_grad(lambda x: two(x)[0] * two(tr.exp(x))[1], X)
    x = tr.tensor(X, requires_grad=True)
    two(x)[1].sum().backward()
    np.testing.assert_allclose(x.grad, 2 * X)


def test_checkpoint_reaches_what_the_function_closes_over(rng):
    layer = tr.Linear(3, 3, dtype="float64")
    scale = tr.tensor(2.0, requires_grad=True)
    inner = scale * 3  # a node of its own, in the middle of the outer tape
    x = tr.tensor(rng.standard_normal((4, 3)), requires_grad=True)
    (tr.checkpoint(lambda x: tr.tanh(layer(x)) * inner * scale)(x) ** 2).sum().backward()
    got = [t.grad.numpy() for t in (x, scale, layer.weight, layer.bias)]
    for t in (x, scale, layer.weight, layer.bias):
        t.grad = None
    ((tr.tanh(layer(x)) * (scale * 3) * scale) ** 2).sum().backward()
    for g, t in zip(got, (x, scale, layer.weight, layer.bias), strict=True):
        np.testing.assert_allclose(g, t.grad, rtol=1e-12)


def test_checkpoint_takes_any_arguments():
    power = tr.checkpoint(lambda x, n, scale=1.0, extra=None: sum((x * scale for _ in range(n)), tr.zeros(3)))
    tr.check_grad(lambda x: power(x, 3, scale=2.0), X)
    assert power(X, 2).shape == (3,)


def test_checkpoint_draws_the_same_random_numbers_again():
    generator = tr.Generator(1)
    dropped = tr.checkpoint(lambda x: tr.dropout(x, 0.5, generator=generator) * 2)
    x = tr.tensor(np.ones(100), requires_grad=True)
    y = dropped(x)
    after = generator.state
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, y.numpy())
    assert generator.state == after


def peak(f, x):
    x = tr.tensor(x, requires_grad=True)
    tracemalloc.start()
    f(x).sum().backward()
    size = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return size


def test_checkpoint_saves_memory():
    x = np.zeros(50_000)

    def segments(f):
        def run(x):
            for _ in range(8):
                x = f(x)
            return x

        return run

    segment = lambda x: deep(x, 1.0, 8)  # noqa: E731
    assert peak(segments(tr.checkpoint(segment)), x) < 0.5 * peak(segments(segment), x)


# ------------------------------------------------------------------ hooks, memory, threads


def test_hooks_read_and_replace_gradients_of_intermediates():
    x = tr.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    seen = []
    reading = y.register_hook(lambda g: seen.append(g.numpy().copy()))
    clipping = y.register_hook(lambda g: tr.clip(g, -1, 1))
    y.retain_grad()
    (y * np.array([0.5, 4.0])).sum().backward(retain_graph=True)
    np.testing.assert_array_equal(seen, [[0.5, 4.0]])
    np.testing.assert_array_equal(y.grad, [0.5, 1.0])
    np.testing.assert_array_equal(x.grad, [1.5, 3.0])
    reading.remove()
    clipping.remove()
    x.grad = None
    (y * 2).sum().backward()
    assert len(seen) == 1
    np.testing.assert_array_equal(x.grad, [6, 6])
    leaf_seen = []
    x.register_hook(lambda g: leaf_seen.append(g.shape))
    (x + x).sum().backward()
    assert leaf_seen == [(2,)]  # once, with the whole gradient
    x.register_hook(lambda g: tr.zeros(5))
    with pytest.raises(tr.GradientError, match="hook"):
        x.sum().backward()
    with pytest.raises(tr.GradientError, match="register_hook"):
        tr.tensor(1.0).register_hook(print)


def test_memory_of_a_long_chain_is_freed_as_backward_runs():
    """The chain holds 100 arrays of 400 kB; walking back adds a few, however long it is."""
    x = tr.tensor(np.zeros(50_000), requires_grad=True)
    tracemalloc.start()
    y = x
    for _ in range(100):
        y = tr.sigmoid(y)
    held = tracemalloc.get_traced_memory()[0]
    assert held > 100 * 390_000
    tracemalloc.reset_peak()
    loss = y.sum()
    del y
    loss.backward()
    now, top = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert top < held + 6 * 400_000
    assert now < 3 * 400_000  # the gradient, the loss; nothing of the chain


def test_no_transform_keeps_a_graph_alive():
    gc.collect()
    gc.disable()
    try:
        watched = []

        def watch(x):
            y = tr.tanh(x * 2)
            watched.append(weakref.ref(y.node))
            y.retain_grad()
            return (y * y).sum()

        tr.grad(watch)(X)
        tr.grad(lambda x: tr.grad(watch)(x).sum())(X)
        tr.hessian(watch)(X)
        tr.jvp(watch, X, V)
        tr.grad(tr.checkpoint(watch))(X)
        x = tr.tensor(X, requires_grad=True)
        watch(x).backward()
        assert len(watched) >= 7
        assert [w for w in watched if w() is not None] == []
    finally:
        gc.enable()


def test_threads_differentiate_independently_with_every_transform():
    layer = tr.Linear(3, 3, dtype="float64")
    expected = {
        k: float(tr.hvp(lambda x, k=k: (tr.tanh(layer(x)) * k).sum(), X, V).sum().item()) for k in range(4)
    }
    results, errors = {}, []

    def work(k):
        try:
            for _ in range(20):
                with tr.no_grad():
                    assert not tr.tanh(layer(X)).requires_grad
                results[k] = float(tr.hvp(lambda x: (tr.tanh(layer(x)) * k).sum(), X, V).sum().item())
                tr.grad(lambda m: (m(X) ** 2).sum())(layer)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors and results == expected


def test_threads_may_add_to_the_gradient_of_one_leaf():
    import sys

    w, interval = tr.tensor(0.0, requires_grad=True), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [
            threading.Thread(target=lambda: [(w * 1.0).backward() for _ in range(300)]) for _ in range(4)
        ]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    finally:
        sys.setswitchinterval(interval)
    assert w.grad.item() == 1200


def test_check_grad_takes_structures():
    tr.check_grad(lambda p: p["a"] * p["b"][0], {"a": np.ones(2), "b": [np.array([2.0, 3.0])]})
    with pytest.raises(tr.GradientError, match="argument 1 at index"):
        tr.check_grad(lambda p: p["a"] * p["b"].detach(), {"a": np.ones(2), "b": np.array([2.0, 3.0])})


def test_a_wrong_tie_rule_is_rejected():
    from tinyrnn.autograd.tape import TABLE, Op, apply

    vjps = {"x1": lambda g, x1, x2: g * (x1 >= x2), "x2": lambda g, x1, x2: g * (x1 < x2)}
    op = Op("wrong maximum", np.maximum, vjps,
            inputs=("x1", "x2"), listed=False)  # fmt: skip
    assert "wrong maximum" not in TABLE
    a, b = np.array([1.0, 2.0]), np.array([1.0, 3.0])
    tr.check_grad(tr.maximum, a, b, order=1)
    with pytest.raises(tr.GradientError, match=r"index \(0,\)"):
        tr.check_grad(lambda a, b: apply(op, a, b), a, b, order=1)


def test_check_grad_remembers_a_nan_and_works_inside_no_grad():
    wrong = tr.custom_vjp(tr.square)
    wrong.defvjp(lambda x: (tr.square(x), x), lambda x, g: 2 * g * x * np.array([np.nan, 1, 1]))
    with pytest.raises(tr.GradientError, match=r"index \(0,\) is nan"):
        tr.check_grad(wrong, X, order=1)
    with tr.no_grad():
        tr.check_grad(tr.tanh, X)


def test_check_grad_of_large_arguments_still_names_the_index(rng):
    x = rng.standard_normal((40, 40))
    tr.check_grad(tr.tanh, x)
    bad = np.ones((40, 40))
    bad[7, 9] = 1.001
    wrong = tr.custom_vjp(tr.square)
    wrong.defvjp(lambda x: (tr.square(x), x), lambda x, g: 2 * g * x * bad)
    with pytest.raises(tr.GradientError, match=r"order 1: the gradient of argument 0 at index \(7, 9\)"):
        tr.check_grad(wrong, x)
