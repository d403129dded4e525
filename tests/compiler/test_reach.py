"""What a step may be beyond rows: each is compiled, and equal to the eager loop, values and gradients."""

import warnings

import numpy as np
import pytest
import reach_steps
from reach_steps import FORMS, STEPS, B, F, H, N, S, T, Weights, agree, results, selective, spike

import tinyrnn as tr
from tinyrnn.compiler.ir import CompileWarning
from tinyrnn.compiler.products import recorded_step
from tinyrnn.compiler.report import report_cell
from tinyrnn.compiler.scan import forget_warnings, plan_of
from tinyrnn.compiler.targets.numba import interpreted
from tinyrnn.compiler.views import View, blocks, part, view_of


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_as_the_eager_loop(step, form):
    with interpreted():
        compiled = results(step, True, **FORMS[form])
    agree(compiled, results(step, False, **FORMS[form]))


@pytest.mark.sample(4)
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_compiled_by_numba(step):
    agree(results(step, True), results(step, False))


def test_one_sequence(monkeypatch):
    """Where roles alone tell the batch from features of one column."""
    monkeypatch.setattr(reach_steps, "B", 1)
    for step in STEPS:
        with interpreted():
            agree(results(step, True), results(step, False))


@pytest.mark.parametrize(
    "step",
    [
        lambda z, h: z.mean(axis=0) + z.max(axis=0) + h * len(h),
        lambda z, h: z[0] * len(h) + z.sum(axis=(0, 2))[:, None],
    ],
)
def test_the_gradient_of_a_reduction_before_a_batch_of_one(step):
    """The axis that it puts back is told from the batch, which is as large."""
    U, xs, found = tr.tensor(np.eye(H) / 2), np.arange(T * H).reshape(T, 1, H) / 20, []
    for compile in (True, False):
        x = tr.tensor(xs, requires_grad=True)
        forget_warnings()
        with interpreted(), warnings.catch_warnings():
            warnings.simplefilter("error", CompileWarning)
            ys, _ = tr.scan(
                lambda x, h: tr.tanh(step(tr.stack([h, x, h @ U]), h)), x, tr.zeros((1, H)), compile=compile
            )
        ys.sum().backward()
        found.append([ys.numpy(), x.grad.numpy()])
    agree(*found)


def test_a_batch_as_large_as_its_features(monkeypatch):
    for size in (H, N, S):
        monkeypatch.setattr(reach_steps, "B", size)
        for step in STEPS:
            with interpreted():
                agree(results(step, True), results(step, False))


def test_second_derivatives_past_a_rule_by_hand_are_refused():
    W = tr.tensor(np.ones((F, H)))

    def loss(x):
        return tr.scan(lambda x, h: spike(x @ W) * h, x, tr.ones((B, H)))[0].sum()

    with interpreted(), pytest.raises(tr.GradientError, match="custom_vjp of a step: give scan"):
        tr.grad(lambda x: tr.grad(loss)(x).sum())(np.ones((T, B, F)))


def test_loops_over_matrices_compute_once_and_go_along_memory():
    """The state that is reduced to the output is read, not computed again; where the gradient of what all
    units share is summed, neighbours are read one after the other.
    """
    weights = Weights()
    states = np.zeros((B, H)), np.zeros((B, H, N))
    recording = recorded_step(lambda x, y, M: selective(x, y, M, weights), np.ones((B, F)), states)
    forward, backward = plan_of(recording, (0, 1), frozenset()).loops.source.split("def ")[1:3]
    assert forward.startswith("forward")
    assert forward.count("exp(") == 1 and "for g in" not in forward
    sums = backward.split("for g in")[1]  # after their first values
    outer, inner = [line.strip() for line in sums.splitlines() if "for j" in line]
    assert outer.startswith("for j0 ") and inner.startswith("for j1 ")
    assert "+ j)" in sums and "j0 + j1 * " not in sums


def test_second_derivatives_past_what_nothing_reads():
    """Rows that a step closes over, of which it then uses no column: the loops do not have them."""
    W, rows = tr.tensor(np.eye(F, H), requires_grad=True), tr.tensor(np.arange(B * H).reshape(B, H) / 9.0)

    def step(x, h):
        return tr.tanh(x @ W + h * tr.concat([h, rows, h], axis=1)[:, -1:])

    def slopes(x, compile):
        return tr.grad(lambda x: (tr.scan(step, x, tr.ones((B, H)), compile=compile)[0] ** 2).sum())(x)

    x = np.ones((T, B, F))
    with interpreted():
        one, other = (tr.grad(lambda x, c=c: (slopes(x, c) ** 2).sum())(x) for c in (True, False))
    agree([one.numpy()], [other.numpy()])


@pytest.mark.parametrize("batch", [1, 3, 6])
def test_a_product_of_what_proves_to_be_rows_of_a_table(batch):
    """Only once the program is simplified is it seen that no state is in it."""
    table, W, V = (tr.tensor(np.ones(s) / 3, requires_grad=True) for s in ((5, 4), (4, H), (H, H)))
    ids, found = np.arange(T * batch).reshape(T, batch) % 5, []
    forget_warnings()
    for compile in (True, False):
        for w in (table, W, V):
            w.grad = None
        with interpreted(), warnings.catch_warnings():
            warnings.simplefilter("error", CompileWarning)
            ys, _ = tr.scan(
                lambda x, h: tr.tanh(tr.concat([h, x @ W], axis=1)[:, H:] @ V + 0.5 * h),
                tr.embedding(ids, table),
                tr.zeros((batch, H)),
                compile=compile,
            )
        (ys * ys).sum().backward()
        found.append([ys.numpy(), *[w.grad.numpy() for w in (table, W, V)]])
    agree(*found)


# ------------------------------------------------------------------ random numbers


def noisy(generator):
    weights = Weights()
    weights("x", F, H), weights("h", H, H)

    def step(x, h):
        z = x @ weights("x", F, H) + h @ weights("h", H, H) + 0.3 * tr.randn_like(h, generator=generator)
        gate = tr.bernoulli(tr.sigmoid(z), generator=generator)
        return tr.tanh(z) * gate + h * (1 - gate) * tr.rand_like(h, generator=generator)

    return step, weights


@pytest.mark.parametrize("form", FORMS)
def test_random_numbers_are_those_of_the_eager_loop(form):
    found = []
    for compile in (True, False):
        step, weights = noisy(tr.Generator(3))
        xs = tr.tensor(np.random.default_rng(0).standard_normal((T, B, F)), requires_grad=True)
        with interpreted(), warnings.catch_warnings():
            warnings.simplefilter("error", CompileWarning)
            first, again = (
                tr.scan(step, xs, tr.ones((B, H)), compile=compile, **FORMS[form])[0] for _ in range(2)
            )
        assert not np.allclose(first.numpy(), again.numpy())  # other numbers at each call
        assert len(np.unique(np.round(np.diff(first.numpy(), axis=0), 12))) > 2  # and step
        (first * first).sum().backward()
        found.append([first.numpy(), again.numpy(), *[w.grad.numpy() for w in weights.made.values()]])
    agree(*found)


def test_random_numbers_are_distributed_as_they_say():
    drawn = []

    def step(x, h):
        return tr.concat([tr.randn_like(h[:, :1]), tr.rand_like(h[:, :1]), tr.bernoulli(x)], axis=1)

    class Drawing(tr.Cell):
        def build(self, input_size, hidden_size):
            pass

        def step(self, x, h):
            return step(x, h)

    net = tr.RNN(Drawing, 1, 3, dtype="float64", seed=0)
    drawn = net(tr.tensor(np.full((50, 400, 1), 0.3)))[0].numpy().reshape(-1, 3)
    again = tr.RNN(Drawing, 1, 3, dtype="float64", seed=0, compile=False)
    np.testing.assert_array_equal(
        drawn, again(tr.tensor(np.full((50, 400, 1), 0.3)))[0].numpy().reshape(-1, 3)
    )
    assert abs(drawn[:, 0].mean()) < 0.03 and abs(drawn[:, 0].std() - 1) < 0.03
    assert abs(drawn[:, 1].mean() - 0.5) < 0.01 and drawn[:, 1].min() >= 0 and drawn[:, 1].max() < 1
    assert abs(drawn[:, 2].mean() - 0.3) < 0.02 and set(drawn[:, 2]) == {0, 1}
    assert report_cell(net.cells[0]).reason is None


def test_noise_and_recurrent_dropout_together():
    class Noisy(tr.Cell):
        def build(self, input_size, hidden_size):
            self.W, self.U, self.b = self.affine(input_size, hidden_size)

        def step(self, x, h):
            return tr.tanh(x @ self.W + h @ self.U + self.b + 0.1 * tr.randn_like(h))

    x = tr.tensor(np.ones((T, B, F)))
    with interpreted():
        nets = [
            tr.RNN(
                Noisy,
                F,
                H,
                dtype="float64",
                seed=0,
                recurrent_dropout=0.3,
                zoneout=0.2,
                num_layers=2,
                compile=c,
            )
            for c in (True, False)
        ]
        agree([nets[0](x)[0].numpy()], [nets[1](x)[0].numpy()])


def test_what_a_step_draws_itself_is_the_same_in_both_loops():
    """Although it is run once more for each number that the loop gives it."""
    found = []
    for compile in (True, False):
        g = tr.Generator(0)

        def step(x, h, g=g):
            return 0.5 * h + tr.randn(h.shape, generator=g) + tr.randn_like(h, generator=g)

        with interpreted(), warnings.catch_warnings():
            warnings.simplefilter("ignore", CompileWarning)
            ys, _ = tr.scan(step, np.ones((T, B, F)), np.zeros((B, H)), compile=compile)
        found.append([ys.numpy(), np.array(g.state)])
    agree(*found)


def test_random_numbers_need_a_source():
    with pytest.raises(tr.InputError, match=r"randn_like has no random numbers: give generator=tr.Generator"):
        tr.scan(lambda x, h: h + tr.randn_like(h), np.ones((T, B, F)), tr.ones((B, H)))
    with pytest.raises(tr.DtypeError, match="give probabilities as floats"):
        tr.bernoulli(np.ones(3, int), generator=tr.Generator(0))
    assert tr.randn_like(np.ones((2, 3), np.float32), generator=tr.Generator(0)).dtype == np.float32


@pytest.mark.parametrize(
    "step",
    [
        lambda x, h, U, i: h + U[i, 1][:, None],
        lambda x, h, U, i: h + U[i, i][:, None],
        lambda x, h, U, i: h + tr.take(h, i[:1], axis=1),
        lambda x, h, U, i: h + x[..., i[0]][:, None],
        lambda x, h, U, i: tr.roll(h, i[0], axis=1) + 1,
        lambda x, h, U, i: h + tr.nll_loss(tr.log_softmax(h), i, reduction="none")[:, None],
        lambda x, h, U, i: h + tr.tensor((i & 1).numpy(), "float64")[:, None],
    ],
)
def test_what_reads_the_values_of_a_tensor_says_so(step):
    """Also where the first step gives the same on all other values that it is tried on."""
    U, xs = tr.tensor(np.random.default_rng(0).standard_normal((F, H))), np.zeros((T, B, F))
    xs[0], xs[1:, ::2, 0] = 1, 1

    def flagged(x, h):
        return tr.tanh(step(x, h, U, (x[:, 0] != 0).astype(int)))

    found = []
    for compile in (True, False):
        forget_warnings()
        with interpreted(), warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            found.append([tr.scan(flagged, xs, np.full((B, H), 0.1), compile=compile)[0].numpy()])
        assert not compile or "looks at the values" in str(seen[0].message)
    agree(*found)


@pytest.mark.parametrize(
    "step",
    [lambda M: M.max(axis=2), lambda M: M.min(axis=1)[:, :1] + M[:, :, 0], lambda M: tr.prod(M, axis=2)],
)
def test_nan_stays_visible_in_gradients(step):
    x, found = np.ones((2, 2, H, N)), []
    x[1, 0, 1, 1] = np.nan  # not in the step that is recorded
    for compile in (True, False):
        xs = tr.tensor(x, requires_grad=True)
        forget_warnings()
        with interpreted(), warnings.catch_warnings():
            warnings.simplefilter("ignore", CompileWarning)  # of the third program of one lambda
            ys, _ = tr.scan(lambda x, h: tr.tanh(step(x) + h), xs, tr.zeros((2, H)), compile=compile)
        (ys * ys).sum().backward()
        found.append([ys.numpy(), xs.grad.numpy()])
    agree(*found)


def test_truth_values_are_numbers_in_every_loop():
    """Also in those that the interpreter runs, where they might be added and rounded as bools."""

    def step(x, h):
        up = (h > 0).astype(h.dtype)
        both = up + (x[:, :H] > 0).astype(h.dtype)
        return tr.tanh(up) * both - up + 0.1 * tr.cumsum(-up, axis=1) + tr.exp(0.1 * up) + x

    xs, found = np.random.default_rng(0).standard_normal((T, B, H)), []
    for compile in (True, False):
        forget_warnings()
        with interpreted(), warnings.catch_warnings():
            warnings.simplefilter("error", CompileWarning)
            found.append([tr.scan(step, xs, np.zeros((B, H)), compile=compile)[0].numpy()])
    agree(*found)


@pytest.mark.parametrize(
    "step",
    [
        lambda x, h: tr.concat([h[:, :0], h], axis=1) + x,
        lambda x, h: h + h[:, :0].sum(axis=1, keepdims=True) + x,
        lambda x, h: h + x + tr.split(h, [0], axis=1)[0].sum(axis=1)[:, None],
    ],
)
def test_what_leaves_no_columns_runs_eagerly_and_says_so(step):
    forget_warnings()
    with interpreted(), pytest.warns(CompileWarning, match="leaves no columns .*: leave out what is empty"):
        tr.scan(step, np.ones((T, B, H)), np.ones((B, H)))


@pytest.mark.parametrize("compile", [True, False])
def test_what_a_scan_in_a_step_masks_may_be_no_number(compile):
    x = tr.tensor(np.random.default_rng(0).standard_normal((T, B, H)), requires_grad=True)
    live = np.array([1, 0, 1])[:, None] * np.ones((1, B))

    def step(x, h):
        inner = tr.stack([x, tr.log(-tr.square(x)), h])
        return tr.scan(lambda z, y: tr.tanh(z * y + x), inner, h, mask=live)[1]

    with interpreted(), np.errstate(invalid="ignore"):
        ys, _ = tr.scan(step, x, tr.ones((B, H)), compile=compile)
        ys.sum().backward()
    assert np.isfinite(ys.numpy()).all() and np.isfinite(x.grad.numpy()).all()


# ------------------------------------------------------------------ views


@pytest.mark.parametrize("shape", [(6,), (2, 3), (4, 1, 3), (2, 3, 4)])
def test_views_are_what_numpy_says(shape):
    a = np.arange(np.prod(shape)).reshape(shape)
    found = [
        a.T,
        a[::-1],
        a[..., ::-1],
        a[..., :1],
        np.broadcast_to(a, (2, *shape)),
        a[1:],
        a.reshape(-1)[::2],
    ]
    for each in found:
        np.testing.assert_array_equal(view_of(each).columns, each.reshape(-1))
    assert view_of(a) == part(0, a.size) == View(0, ((a.size, 1),))
    assert view_of(np.array([0, 1, 3])) is None
    np.testing.assert_array_equal(blocks(2, 5, 1, 3).columns, [1, 2, 6, 7])
