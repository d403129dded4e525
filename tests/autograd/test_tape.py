"""The tape: accumulation, order, freeing, versions, derivatives of derivatives, neighbours."""

import copy
import gc
import pickle
import threading
import tracemalloc
import weakref

import numpy as np
import pytest

import tinyrnn as tr


def leaf(*values):
    return tr.tensor(np.array(values), requires_grad=True)


def test_a_tensor_used_many_times_sums_its_gradients():
    x = leaf(2.0, 3.0)
    y = x * x + x * 3 + x
    (y + y).sum().backward()
    np.testing.assert_array_equal(x.grad, 2 * (2 * x.numpy() + 4))


def test_backward_accumulates_into_grad():
    x = leaf(1.0)
    for _ in range(3):
        (x * 2).sum().backward()
    assert x.grad.numpy() == [6]


def test_gradients_do_not_share_memory():
    a, b = leaf(1.0), leaf(2.0)
    (a + b).sum().backward()
    a.grad.data[0] = 99
    assert b.grad.numpy() == [1]


def test_long_unroll_without_recursion():
    x = leaf(0.5)
    y = x
    for _ in range(100_000):
        y = y * 0.9999 + 0.1
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 0.9999**100_000)
    del y  # nor when it is freed


def test_a_long_chain_can_be_dropped_without_backward():
    y = leaf(0.5)
    for _ in range(200_000):
        y = y + 1
    del y


def test_graphs_die_without_the_garbage_collector():
    gc.disable()
    try:
        x = leaf(1.0, 2.0)
        y = tr.tanh(tr.sigmoid(x * 2))
        parts = tr.split(y, 2)
        loss = (parts[0] * parts[1]).sum()
        watched = [weakref.ref(t.node) for t in (y, parts[0], loss)]
        loss.backward()
        del y, parts, loss
        assert [w() for w in watched] == [None] * 3
    finally:
        gc.enable()


def test_memory_is_freed_while_backward_runs():
    x = leaf(*np.zeros(1000))
    kept = []
    y = x
    for _ in range(5):
        y = tr.sigmoid(y)
        kept.append(weakref.ref(y.node))
    nodes = [k() for k in kept]
    y.sum().backward()
    assert all(n.saved is None and n.output is None for n in nodes)


def test_second_backward_needs_retain_graph():
    x = leaf(2.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.numpy() == [8]
    with pytest.raises(tr.TapeFreedError, match="retain_graph"):
        y.backward()


def test_changing_a_saved_value_in_place_is_an_error():
    x, w = tr.tensor([1.0, 2.0]), leaf(3.0, 4.0)
    y = (x * w).sum()
    x += 1
    with pytest.raises(tr.ChangedInPlaceError, match="multiply"):
        y.backward()


def test_changing_a_view_or_an_output_in_place_is_noticed():
    w = leaf(3.0, 4.0)
    y = tr.exp(w)
    with tr.no_grad():
        part = y.detach().reshape(2, 1)
        part *= 2
    with pytest.raises(tr.ChangedInPlaceError, match="exp"):
        y.sum().backward()


def test_values_that_no_gradient_needs_may_change():
    x, w = tr.tensor([1.0, 2.0]), leaf(3.0, 4.0)
    y = (x + w).sum()
    x += 1
    y.backward()
    np.testing.assert_array_equal(w.grad, [1, 1])


def test_in_place_sums_do_not_lose_a_gradient():
    w, total = leaf(1.0), tr.zeros(1)
    with pytest.raises(tr.ChangedInPlaceError, match=r"a = a \+ b"):
        total += w


def test_in_place_update_of_parameters_under_no_grad():
    w = leaf(3.0)
    with pytest.raises(tr.ChangedInPlaceError, match="no_grad"):
        w -= 1
    with tr.no_grad():
        w -= 1
    assert w.numpy() == [2] and w.requires_grad
    with pytest.raises(tr.ChangedInPlaceError, match="where"):
        w[0] = 1


def test_no_grad_is_per_thread():
    seen = {}

    def other():
        seen["requires"] = (leaf(1.0) * 2).requires_grad

    with tr.no_grad():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert not (leaf(1.0) * 2).requires_grad
    assert seen["requires"]


def test_two_threads_differentiate_independently():
    results = {}

    def work(k):
        x = leaf(float(k))
        for _ in range(200):
            (tr.tanh(x) * k).sum().backward()
        results[k] = x.grad.item()

    threads = [threading.Thread(target=work, args=(k,)) for k in (1, 2, 3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for k in (1, 2, 3):
        assert results[k] == pytest.approx(200 * k * (1 - np.tanh(k) ** 2))


def test_higher_orders():
    def f(x):
        return (x**4).sum()

    d = f
    for order, expected in enumerate((32.0, 48.0, 48.0, 24.0)):
        d = tr.grad(d)
        assert d(np.array([2.0])).numpy() == [expected], order
        inner = d
        d = lambda x, inner=inner: inner(x).sum()  # noqa: E731


def test_create_graph():
    x = leaf(2.0)
    (x**3).sum().backward(create_graph=True)
    g = x.grad
    x.grad = None
    g.sum().backward()
    assert x.grad.numpy() == [12]


def test_grad_of_containers_and_value():
    value, g = tr.value_and_grad(lambda p: (p["a"] * p["b"][0]).sum())(
        {"a": np.ones(2), "b": [np.full(2, 3.0)]}
    )
    assert value.item() == 6
    np.testing.assert_array_equal(g["a"], [3, 3])
    np.testing.assert_array_equal(g["b"][0], [1, 1])


def test_grad_leaves_other_leaves_alone():
    w = leaf(2.0)
    g = tr.grad(lambda x: (x * x * w).sum())(np.array([3.0]))
    assert w.grad is None
    g.sum().backward()  # the gradient depends on w, and can be differentiated by it
    assert w.grad.numpy() == [6]


def test_argnums():
    g = tr.grad(lambda a, b: (a * b).sum(), argnums=(0, 1))(np.array([2.0]), np.array([5.0]))
    assert [x.numpy().tolist() for x in g] == [[5], [2]]


def test_unused_outputs_of_split_get_zero_gradient():
    x = leaf(*range(6), 0.0)[:6]
    tr.split(x, 3)[1].sum().backward()
    x = tr.tensor(np.arange(6.0), requires_grad=True)
    tr.split(x, 3)[1].sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 0, 1, 1, 0, 0])


ERRORS = [
    (
        lambda: tr.tensor(np.ones((3, 4))) @ np.ones((5, 2)),
        tr.ShapeError,
        r"matmul: \[3, 4\] @ \[5, 2\]: inner sizes 4 and 5",
    ),
    (
        lambda: tr.tensor(np.ones((3, 4))) + np.ones(3),
        tr.ShapeError,
        r"add: shapes \[3, 4\] and \[3\] do not broadcast",
    ),
    (lambda: tr.tensor(np.ones((3, 4))).reshape(5, 2), tr.ShapeError, "12 elements"),
    (lambda: tr.split(tr.tensor(np.ones(4)), 3), tr.ShapeError, "3 equal parts"),
    (lambda: leaf(1.0, 2.0).backward(), tr.GradientError, "gradient="),
    (lambda: tr.tensor(1.0).backward(), tr.GradientError, "requires_grad"),
    (lambda: tr.tensor([1, 2], requires_grad=True), tr.GradientError, "floating"),
    (lambda: tr.tensor("abc"), tr.DtypeError, "dtype"),
    (lambda: tr.zeros(2, dtype="bfloat16"), tr.DtypeError, "for products tr.autocast"),
    (lambda: tr.embedding(np.array([5]), np.ones((4, 2))), tr.InputError, "rows 0 to 3"),
    (lambda: tr.embedding(np.array([0.5]), np.ones((4, 2))), tr.DtypeError, "integers"),
    (lambda: tr.cross_entropy(np.ones((2, 3)), np.array([0, 3])), tr.InputError, "3 classes"),
    (lambda: tr.cross_entropy(np.ones((2, 3)), np.array([0])), tr.ShapeError, "class ids"),
    (lambda: tr.mse_loss(np.ones(2), np.ones(3)), tr.ShapeError, "differ"),
    (lambda: tr.dropout(np.ones(2), 1.5, generator=tr.Generator(0)), tr.InputError, "below 1"),
    (lambda: tr.grad(lambda x: x)(np.ones(2)), tr.GradientError, "one element"),
    (lambda: leaf(1.0).sum(axis=3), IndexError, "out of bounds"),
    (lambda: leaf(1.0)[3], IndexError, "out of bounds"),
    (lambda: tr.concat([np.ones((2, 3)), np.ones((2, 4))]), tr.ShapeError, "concat"),
    (lambda: tr.tanh("no"), tr.DtypeError, "dtype <U2"),
    (lambda: tr.tensor([1.0]) + np.array(["a"]), tr.DtypeError, "dtype <U1"),
    (lambda: tr.tensor([1j]), tr.DtypeError, "complex"),
    (lambda: tr.tensor([True]) - np.array([True]), tr.DtypeError, "subtract does not take bool and bool"),
    (lambda: tr.asarray(np.zeros(2, object)), tr.DtypeError, "object"),
    (lambda: tr.asarray(np.zeros(2, np.longdouble)), tr.DtypeError, "longdouble|float128"),
    (lambda: tr.einsum("ij,jk", np.ones((2, 3))), tr.ShapeError, "names 2 operands, 1"),
    (lambda: tr.einsum("ijk", np.ones((2, 3))), tr.ShapeError, "3 labels"),
    (lambda: tr.einsum("ij,jk", np.ones((2, 3)), np.ones((2, 3))), tr.ShapeError, "einsum"),
    (lambda: tr.tensordot(np.ones((2, 3)), np.ones((2, 3)), axes=1), tr.ShapeError, "differ in size"),
    (lambda: tr.take(np.ones(3), [0.5]), tr.DtypeError, "integers"),
    (lambda: tr.take(np.ones(3), [3]), IndexError, "out of bounds"),
    (lambda: tr.take_along_axis(np.ones((2, 3)), np.array([0])), tr.ShapeError, "2 dimensions"),
    (lambda: tr.permute_dims(np.ones((2, 3)), (0, 0)), tr.ShapeError, "twice"),
    (lambda: tr.permute_dims(np.ones((2, 3)), (0,)), tr.ShapeError, "each of the 2 axes"),
    (lambda: tr.squeeze(np.ones((2, 3)), 0), tr.ShapeError, "size 1"),
    (lambda: tr.sum(np.ones((2, 3)), axis=(0, -2)), tr.ShapeError, "twice"),
    (lambda: tr.stack([[1.0, 2.0]], axis=5), IndexError, "out of bounds"),
    (lambda: tr.cumsum(np.ones((2, 2)), axis=(0, 1)), tr.DtypeError, "one axis"),
    (lambda: tr.argmax(np.ones((2, 2)), axis=(0, 1)), tr.DtypeError, "one axis"),
    (lambda: tr.swapaxes(np.ones((2, 2)), 0, 3), IndexError, "out of bounds"),
    (lambda: tr.concat([]), tr.ShapeError, "nothing to join"),
    (lambda: leaf(1.0) * [leaf(1.0)[0]], tr.GradientError, "stack"),
    (lambda: tr.tensor([1.0]) & tr.tensor([True]), tr.DtypeError, "compare floats"),
    (lambda: tr.zeros(2, dtype=complex), tr.DtypeError, "complex"),
    (lambda: tr.tensor([1.0]).astype("U3"), tr.DtypeError, "U3"),
    (lambda: tr.tensor([1, 2]) ** -1, tr.InputError, "negative integer powers"),
    (lambda: tr.check_grad(lambda x: x, [1, 2]), tr.GradientError, "nothing to vary"),
    (lambda: tr.grad(lambda x: x.sum(), 2)(np.ones(2)), tr.GradientError, "1 positional"),
    (lambda: tr.randint(5, 5, 3, generator=tr.Generator(0)), tr.InputError, "less than"),
    (lambda: tr.Generator(-1), tr.InputError, "negative"),
    (lambda: tr.dropout(np.ones(2), 0.5, generator=None), tr.InputError, "generator="),
    (lambda: tr.max(np.ones((0, 3))), tr.ShapeError, "max"),
    (lambda: tr.layer_norm(np.ones((2, 3)), 4), tr.ShapeError, "normalized_shape"),
    (lambda: tr.mse_loss(np.ones(2), np.ones(2), reduction="avg"), tr.InputError, "'mean', 'sum' or 'none'"),
    (
        lambda: tr.cross_entropy(np.ones((2, 3)), np.ones((2, 2))),
        tr.ShapeError,
        "probabilities of that shape",
    ),
    (
        lambda: tr.cross_entropy(np.ones((2, 3)), np.array([0, 1]), label_smoothing=2),
        tr.InputError,
        "label_smoothing",
    ),
    (lambda: tr.ctc_loss(np.ones((4, 1, 3)), [[0, 1]], [4], [2]), tr.InputError, "not the blank"),
    (lambda: tr.ctc_loss(np.ones((4, 1, 3)), [[1, 2]], [5], [2]), tr.InputError, "from 1 to 4"),
    (lambda: tr.ctc_loss(np.ones((4, 1, 3)), [1, 2, 1], [4], [2]), tr.ShapeError, "add up to 2"),
    (lambda: tr.ctc_loss(np.ones((4, 2, 3)), [[1], [2]], [4], [1, 1]), tr.ShapeError, "2 sequences"),
    (lambda: tr.ctc_loss(np.ones((4, 1, 3)), [[1]], [4], [1], 3), tr.InputError, "blank 3"),
    (lambda: tr.embedding(np.array([0]), np.ones(4)), tr.ShapeError, "rows, width"),
    (
        lambda: tr.cross_entropy(np.ones((2, 3)), np.array([0, 1]), np.ones(2)),
        tr.ShapeError,
        "one for each class",
    ),
    (lambda: tr.gelu(1.0, approximate="tan"), tr.InputError, "'tanh'"),
    (lambda: tr.split(np.ones(5), [3, 1]), tr.ShapeError, "rise"),
    (lambda: tr.array_split(np.ones(5), 0), tr.ShapeError, "at least 1"),
    (lambda: tr.hsplit(1.0, 1), IndexError, "no axes"),
    (lambda: tr.vsplit(np.ones(4), 2), tr.ShapeError, "axis=0"),
    (lambda: tr.moveaxis(np.ones((2, 3)), (0, 1), 0), tr.ShapeError, "one for each"),
    (lambda: tr.diff(np.ones(3), n=-1), tr.InputError, "0 times or more"),
    (lambda: tr.sort(1.0), IndexError, "no axes"),
    (lambda: tr.trace(np.ones(3)), IndexError, "use -1 to 0"),
    (lambda: tr.where(True), tr.ShapeError, "0-d condition"),
    (lambda: tr.where(np.ones(2), 1.0), tr.InputError, r"where\(condition, x, y\)"),
    (lambda: tr.quantile(np.ones(3), 1.5), tr.InputError, "from 0 to 1"),
    (lambda: tr.quantile(np.ones(0), 0.5), tr.ShapeError, "at least one"),
    (
        lambda: tr.grad(lambda q: tr.quantile(np.ones(3), q))(tr.tensor(0.5)),
        tr.GradientError,
        r"detach\(\) q",
    ),
    (lambda: tr.vecdot(np.ones((2, 3)), np.ones((2, 1))), tr.ShapeError, "differ in size"),
    (lambda: tr.dot(np.ones((2, 3)), np.ones((2, 3))), tr.ShapeError, "differ in size"),
    (lambda: tr.linalg.inv(np.ones((2, 3))), tr.ShapeError, r"give \[..., n, n\]"),
    (lambda: tr.linalg.det(np.ones(3)), tr.ShapeError, "no square matrix"),
    (lambda: tr.linalg.inv(np.ones((2, 2))), tr.InputError, "inv: the matrix is singular: add"),
    (lambda: tr.linalg.solve(np.ones((2, 2)), np.ones(2)), tr.InputError, "solve: the matrix is singular"),
    (lambda: tr.linalg.solve(np.eye(2), np.ones(3)), tr.ShapeError, "must have 2 rows"),
    (lambda: tr.linalg.cholesky(-np.eye(2)), tr.InputError, "not positive definite: add"),
    (lambda: tr.grad(tr.linalg.det)(np.zeros((17, 17))), tr.InputError, "17 x 17 matrix"),
    (lambda: tr.linalg.norm(np.ones((2, 3)), 3), tr.InputError, "'nuc'"),
    (lambda: tr.linalg.norm(np.ones((2, 3, 4)), "fro"), tr.InputError, "over 3 axes"),
    (lambda: tr.linalg.norm(np.array([[np.nan, 1], [1, 2]]), 2), tr.InputError, "NaN or infinity"),
    (lambda: tr.tensordot(np.ones((2, 3)), np.ones((3, 2)), axes=([5], [0])), IndexError, "out of bounds"),
    (lambda: tr.tensor([[1, 2], [3]]), tr.ShapeError, "different lengths"),
    (lambda: tr.zeros(2, dtype="flaot"), tr.DtypeError, "no dtype"),
    (lambda: tr.zeros(2.5), tr.ShapeError, "shape is"),
    (lambda: tr.sum(np.ones(2), axis=0.0), tr.DtypeError, "axis"),
    (lambda: tr.tensor([1, 2]).__iadd__(0.5), tr.InputError, "new tensor"),
    (lambda: tr.tensor([1.0]).assign_("a"), tr.DtypeError, "dtype"),
    (lambda: tr.tensor([1], "int8") + 300, tr.InputError, "int8"),
    (lambda: tr.jvp(lambda p: p["a"], {"a": np.ones(1)}, {"b": np.ones(1)}), tr.ShapeError, "keys"),
    (lambda: tr.check_grad(lambda x: x > 0, np.ones(2)), tr.GradientError, "no floating"),
    (
        lambda: tr.check_grad(lambda m: m(np.ones(2)), tr.Linear(2, 2)),
        tr.GradientError,
        "parameters of a module",
    ),
    (lambda: tr.from_dlpack([1.0]), tr.InputError, "DLPack"),
    (lambda: tr.checkpoint(lambda x: {"a": x})(leaf(1.0)), tr.GradientError, "tuple of Tensors"),
    (lambda: tr.grad(lambda x: x.sum(), has_aux=True)(np.ones(1)), tr.GradientError, "pair"),
    (lambda: tr.hvp(lambda x: x.sum(), np.ones(2), np.ones(3)), tr.ShapeError, "hvp"),
    (lambda: tr.jvp(tr.tanh, np.ones(2), np.ones(3)), tr.ShapeError, "jvp"),
    (lambda: setattr(leaf(1.0) * 2, "requires_grad", False), tr.GradientError, "detach"),
    (lambda: leaf(1.0, 2.0).sum().backward(np.ones(2)), tr.GradientError, "must have this tensor's shape"),
    (lambda: tr.tensor(1.0).to("cuda"), tr.InputError, "CuPy"),
    (lambda: tr.tensor(1.0).to("tpu"), tr.InputError, "unknown device"),
    (lambda: len(tr.tensor(1.0)), TypeError, "0-d"),
]


@pytest.mark.parametrize("case", range(len(ERRORS)))
def test_errors_name_the_op_and_the_mend(case):
    f, kind, said = ERRORS[case]
    with pytest.raises(kind, match=said):
        f()


def test_gradients_do_not_grow_into_each_other():
    """A VJP that hands on the array it was given, and hooks that change or keep theirs."""
    x, b = leaf(1.0, 2.0), leaf(1.0, 2.0)
    k = (x * 3).sum()
    (((x.to("cpu") + b) * np.array([10.0, 20.0])).sum() + k).backward()
    np.testing.assert_array_equal(b.grad, [10, 20])

    def doubled(g):
        g *= 2
        return g

    a, b, kept = leaf(1.0, 2.0), leaf(1.0, 2.0), []
    b.register_hook(doubled)
    a.register_hook(kept.append)
    ((a + b) * np.array([1.0, 1.0])).sum().backward()
    np.testing.assert_array_equal(a.grad, [1, 1])
    np.testing.assert_array_equal(b.grad, [2, 2])
    a.grad.data[...] = 0
    np.testing.assert_array_equal(kept[0], [1, 1])


def test_an_index_is_what_it_was_when_it_was_used():
    w, i = leaf(1.0, 2.0, 3.0), tr.tensor([0, 1])
    y = (w[i] * np.array([5.0, 7.0])).sum() + tr.take(w, i).sum()
    i += 1
    y.backward()
    np.testing.assert_array_equal(w.grad, [6, 8, 0])


def test_only_what_a_gradient_needs_is_kept():
    w, y = leaf(1.0, 2.0), None
    y = (w * 2.0).sum()
    with tr.no_grad():
        w += 1  # the gradient by w needs the 2.0 alone
    y.backward()
    np.testing.assert_array_equal(w.grad, [2, 2])
    y = w / 2
    with tr.no_grad():
        y += 1
    y.sum().backward()
    h = tr.tensor(np.zeros(50_000), requires_grad=True)
    tracemalloc.start()
    for _ in range(50):
        h = h * 0.99
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 3 * 400_000


def test_errors_do_not_keep_tensors_alive():
    gc.collect()
    gc.disable()
    try:
        watched = []
        for wrong in (
            lambda y: y[50],
            lambda y: y @ np.ones(3),
            lambda y: y + np.ones(7),
            lambda y: tr.take(y, [50]),
        ):
            y = leaf(1.0, 2.0) * 2
            watched.append(weakref.ref(y))
            with pytest.raises(tr.TinyrnnError):
                wrong(y)
            del y
        assert [w for w in watched if w() is not None] == []
    finally:
        gc.enable()


def test_grad_can_be_set_to_a_fitting_tensor_only():
    w = leaf(1.0, 2.0)
    w.grad = tr.ones(2)
    w.sum().backward(np.float64(1))
    np.testing.assert_array_equal(w.grad, [2, 2])
    w.requires_grad = True
    with pytest.raises(tr.GradientError, match="shape"):
        w.grad = tr.ones(3)


# ------------------------------------------------------------------ neighbours


def test_numpy_neighbours():
    t = tr.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert isinstance(np.asarray(t), np.ndarray) and np.shares_memory(np.asarray(t), t.data)
    assert np.array(t, dtype="float32").dtype == np.float32
    assert isinstance(np.ones(2) + t, tr.Tensor)
    np.testing.assert_array_equal(np.ones(2, "f") * t, t.numpy())
    assert [row.numpy().tolist() for row in t] == [[1, 2], [3, 4]]
    assert (
        repr(tr.tensor([1.5], "float32", requires_grad=True))
        == "tensor([1.5], dtype=float32, requires_grad=True)"
    )
    assert repr(tr.zeros((2, 0))) == "tensor([], shape=(2, 0))"
    assert f"{tr.tensor(2.5):.2f} {+tr.tensor(1)}" == "2.50 tensor(1)"
    np.testing.assert_array_equal(tr.tensor([6]) & tr.tensor([3]), [2])
    np.testing.assert_array_equal(~tr.tensor([6]), [-7])
    np.testing.assert_array_equal(~(tr.tensor([1.0, -1.0]) > 0) | np.array([True, False]), [True, True])
    assert bool(tr.tensor(1.0) > 0) and float(tr.tensor(2.5)) == 2.5 and int(tr.tensor(3)) == 3


def test_numpys_ufuncs_are_the_ops():
    x = np.array([0.3, -0.4])
    tr.check_grad(lambda t: np.exp(np.sin(t)) * np.abs(t) + np.maximum(x[::-1], t) @ t, x)
    assert isinstance(np.tanh(tr.tensor(x)), tr.Tensor)
    tr.check_grad(np.arctan, x)
    # The values, where there is no derivative to lose.
    np.testing.assert_array_equal(np.cbrt(tr.tensor(x)), np.cbrt(x))
    with pytest.raises(tr.GradientError, match="numpy.cbrt"):
        np.cbrt(leaf(1.0))
    with pytest.raises(tr.GradientError, match="numpy.add"):
        x += leaf(1.0)
    m = np.arange(6.0).reshape(2, 3) / 7
    tr.check_grad(lambda t: np.sum(np.mean(t, axis=0) ** 2) + np.max(np.concatenate([t, t * 2], axis=1)), m)
    tr.check_grad(
        lambda t: np.where(m > 0.3, np.transpose(np.transpose(t)), np.clip(t, 0, 1)).std(), m + 0.01
    )
    assert np.shape(leaf(1.0, 2.0)) == (2,) and np.allclose(leaf(1.0), [1.0])
    np.testing.assert_array_equal(np.cov(tr.tensor(m)), np.cov(m))
    with pytest.raises(tr.GradientError, match=r"numpy\.cov"):
        np.cov(leaf(1.0, 2.0))


def test_integers_of_numpy_and_tensors_serve_as_sizes_and_indices():
    n, t = np.int64(2), tr.tensor(2)
    assert (
        tr.zeros(n).shape == (2,)
        and tr.zeros((n, t)).shape == (2, 2)
        and tr.arange(4.0).reshape(n, -1).shape == (2, 2)
    )
    assert tr.split(tr.arange(4.0), n)[1].tolist() == [2, 3] and tr.tile(tr.ones(1), n).shape == (2,)
    assert [5, 6, 7][tr.argmax(np.array([0, 3, 1]))] == 6 and tr.arange(5.0)[t : tr.tensor(4)].tolist() == [
        2,
        3,
    ]
    assert tr.broadcast_to(1.0, n).shape == (2,) and round(tr.tensor(1.26), 1).item() == 1.3
    np.testing.assert_array_equal(np.array([True, False]) & tr.tensor([True, True]), [True, False])
    x = tr.tensor(np.arange(6.0).reshape(2, 3))
    assert (
        x.reshape(shape=(3, 2)).shape == x.permute_dims(axes=(1, 0)).shape == tr.transpose(x).shape == (3, 2)
    )
    assert tr.zeros(3, dtype=">f4").dtype.isnative
    assert type(tr.asarray(np.ma.masked_array([1.0])).data) is np.ndarray


def test_values_given_as_tensors_keep_their_gradient_or_are_refused():
    v = leaf(2.0)[0]
    tr.check_grad(lambda v: tr.full((2, 2), v) * tr.full_like(np.ones(2), v), np.array(2.0))
    for lost in (
        lambda: tr.tensor([[v, v]]),
        lambda: tr.pad(np.ones(2), 1, constant_values=v),
        lambda: tr.ones((1, 2)) * [[v, v]],
    ):
        with pytest.raises(tr.GradientError):
            lost()


def test_dlpack_shares_memory_both_ways():
    t = tr.tensor([1.0, 2.0])
    view = np.from_dlpack(t)
    t.data[0] = 5  # NumPy before 2.2 makes what it takes read-only
    assert view[0] == 5 and t.__dlpack_device__() == (1, 0)
    source = np.arange(3.0)
    z = tr.from_dlpack(t)
    assert z.version is t.version
    shared = tr.from_dlpack(source)
    source[0] = 7
    assert shared.numpy()[0] == 7 and isinstance(shared, tr.Tensor)


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))], ids=["deepcopy", "pickle"]
)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "bool"])
def test_pickling_and_copying(copied, dtype):
    t = tr.tensor([[1, 0], [1, 1]], dtype, requires_grad=dtype.startswith("f"))
    made = copied(t)
    np.testing.assert_array_equal(made.numpy(), t.numpy())
    assert (
        made.dtype == t.dtype
        and made.requires_grad == t.requires_grad
        and not np.shares_memory(made.data, t.data)
    )
    tied = copied({"a": t, "b": t})
    assert tied["a"] is tied["b"]
    if dtype == "float64":
        if copied is copy.deepcopy:
            with pytest.raises(tr.GradientError, match="deepcopy"):
                copied(t * 2)
        else:
            past = copied(t * 2)
            assert past.requires_grad and past.is_leaf  # values travel, the tape does not
        module = copied(tr.Linear(2, 2))
        assert [n for n, _ in module.named_parameters()] == ["weight", "bias"]
    assert np.shares_memory(copy.copy(t).data, t.data)


def test_a_shallow_copy_shares_the_version():
    w = leaf(1.0, 2.0)
    x = tr.tensor([1.0, 2.0])
    y = (w * x).sum()
    other = copy.copy(x)
    other += 1
    with pytest.raises(tr.ChangedInPlaceError):
        y.backward()


LAYOUTS = {
    "fortran": np.asfortranarray,
    "strided": lambda x: np.repeat(x, 2, 1)[:, ::2],
    "reversed": lambda x: x[::-1],
    "broadcast": lambda x: np.broadcast_to(x[:, :1], x.shape),
    "big-endian": lambda x: x.astype(">f8"),
    "big-endian single": lambda x: x.astype(">f4"),
    "half": lambda x: x.astype("f2"),
    "scalar": lambda x: np.float64(2.0),
    "0-d": lambda x: np.array(2.0),
    "empty": lambda x: np.zeros((0, 3)),
    "int": lambda x: x.astype("i4"),
    "bool": lambda x: x > 0,
    "list": lambda x: x.tolist(),
}


@pytest.mark.parametrize("make", LAYOUTS.values(), ids=LAYOUTS)
def test_inputs_of_any_layout_and_kind(make):
    """Kernels of every kind, forward and backward, on what NumPy may hand over; read-only too."""
    x = make(np.random.default_rng(0).standard_normal((3, 4)))
    if isinstance(x, np.ndarray):
        x.flags.writeable = False
    w = leaf(2.0)
    native = np.asarray(x, np.asarray(x).dtype.newbyteorder("="))
    for f, reference in [
        (tr.add, np.add),
        (lambda x, w: tr.sigmoid(x * w), lambda x, w: 1 / (1 + np.exp(-(x * w)))),
        (lambda x, w: tr.sum(x * w), lambda x, w: np.sum(x * w)),
    ]:
        y = f(x, w)
        expected = reference(native, np.array([2.0]))
        assert y.dtype == expected.dtype and y.dtype.isnative
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-6)
        y.sum().backward()
    if np.ndim(x):
        y = tr.softmax(x)
        assert y.shape == np.shape(x) and y.dtype.isnative
    assert np.isfinite(w.grad).all() and w.grad.dtype == np.float64


def test_empty_tensors_have_gradients():
    w = tr.tensor(np.zeros((0, 3)), requires_grad=True)
    (tr.softmax(tr.tanh(w)) @ np.ones((3, 2))).sum().backward()
    assert w.grad.shape == (0, 3)


def test_half_precision_is_stored_as_such():
    w = tr.tensor([0.5, 1.0], "float16", requires_grad=True)
    y = tr.sigmoid(w) * tr.softmax(w)
    y.sum().backward()
    assert y.dtype == w.grad.dtype == np.float16


def test_a_tensor_of_another_threads_no_grad():
    made = []

    def other(w):
        with tr.no_grad():
            made.append((w * 2).sum())

    thread = threading.Thread(target=other, args=(leaf(1.0),))
    thread.start()
    thread.join()
    with pytest.raises(tr.GradientError, match="no_grad.*another thread"):
        made[0].backward()


def test_devices_do_not_mix(monkeypatch):
    """A stand-in for CuPy: there is no GPU here, the error is the same."""
    monkeypatch.setattr(tr.Tensor, "device", property(lambda x: "cuda" if x.size == 3 else "cpu"))
    with pytest.raises(tr.DeviceError, match=r"\.to\(device\)"):
        tr.tensor([1.0, 2.0, 3.0]) + tr.tensor([1.0, 2.0])
