"""Regularisation inside the loop: for every cell compiled as eager, by the papers' equations, off when not
training.
"""

import numpy as np
import pytest

import tinyrnn as tr
from tinyrnn.base import threads
from tinyrnn.compiler.targets.numba import interpreted
from tinyrnn.nn import registry as plugins
from tinyrnn.nn.regularise import Regulariser, drop_mask

T, B, I, H = 6, 5, 4, 7
KINDS = {
    "recurrent dropout": dict(recurrent_dropout=0.4),
    "variational": dict(recurrent_dropout=0.4, dropout=0.3, variational=True),
    "zoneout": dict(zoneout=0.3),
    "weight drop": dict(weight_drop=0.5),
    "all": dict(recurrent_dropout=0.2, zoneout=0.1, weight_drop=0.2, dropout=0.1),
}
x = np.random.default_rng(0).standard_normal((T, B, I))


def run(cell, rates, *, dtype="float64", training=True, **how):
    rnn = tr.RNN(
        cell, I, H, num_layers=2, seed=3, dtype=dtype, compile=how.pop("compile", True), **rates
    ).train(training)
    xs = tr.tensor(x, dtype, requires_grad=True)
    ys, final = rnn(xs, **how)
    ((ys * ys).sum() + sum(s.sum() for layer in final for s in layer)).backward()
    return [
        ys.numpy(),
        *[s.numpy() for layer in final for s in layer],
        xs.grad.numpy(),
        *[p.grad.numpy() for p in rnn.parameters()],
    ]


def equal(a, b, rtol=1e-10, atol=1e-12):
    for u, v in zip(a, b, strict=True):
        np.testing.assert_allclose(u, v, rtol=rtol, atol=atol)


@pytest.mark.sample(4)
@pytest.mark.parametrize("cell", plugins.registered())
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("special", ["plain", "mask and resets"])
def test_compiled_equals_eager(cell, kind, special):
    how = {}
    if special != "plain":
        how = dict(
            mask=np.arange(T)[:, None] < np.array([6, 3, 5, 6, 1]),
            resets=np.arange(T * B).reshape(T, B) % 4 == 0,
        )
    equal(run(cell, KINDS[kind], **how), run(cell, KINDS[kind], compile=False, **how))


@pytest.mark.sample(3)
@pytest.mark.parametrize("cell", plugins.registered())
@pytest.mark.parametrize("kind", [None, "all"])
def test_compiled_equals_eager_in_single_precision(cell, kind):
    rates = KINDS.get(kind, {})
    equal(
        run(cell, rates, dtype="float32"),
        run(cell, rates, dtype="float32", compile=False),
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_it_does_something_in_training_and_nothing_out_of_it(kind):
    plain = run("lstm", {})
    assert not np.allclose(run("lstm", KINDS[kind])[0], plain[0])
    if "zoneout" not in KINDS[kind]:
        equal(run("lstm", KINDS[kind], training=False), plain)


def test_same_masks_for_any_number_of_threads():
    before, found = threads.threads(), []
    try:
        for n in (1, 2, 4):
            threads.set_threads(n)
            found.append(run("lstm", KINDS["all"], dtype="float32"))
    finally:
        threads.set_threads(before)
    for other in found[1:]:
        assert all((u == v).all() for u, v in zip(found[0], other, strict=True))


@pytest.mark.filterwarnings("ignore:.*compiled for the third time")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_layers_in_one_loop_equal_one_loop_each(cell, kind, training):
    """Also what is drawn; with feedback, and what is seen of every step."""
    found = []
    for together in (True, False):
        rnn = tr.RNN(cell, I, H, num_layers=3, seed=3, dtype="float64", **KINDS[kind]).train(training)
        xs, init = tr.tensor(x, requires_grad=True), rnn.initial_state(B)

        def read(x, states, before):
            return x, before + states[-1][0]

        with interpreted():
            if together:
                ys, (seen,), final = rnn.driven(read, xs, init, [tr.ones((B, H), dtype="float64")])
                sums = 1 + np.cumsum([np.zeros((B, H)), *ys.numpy()[:-1]], axis=0)
                np.testing.assert_allclose(seen.numpy(), sums, rtol=1e-12)
            else:
                ys, final = rnn(xs, init)
            ((ys * ys).sum() + sum(s.sum() for layer in final for s in layer)).backward()
        states = [s.numpy() for layer in final for s in layer]
        found.append([ys.numpy(), *states, xs.grad.numpy(), *[p.grad.numpy() for p in rnn.parameters()]])
    equal(*found)
    with pytest.raises(tr.InputError, match="reads its inputs from both ends"):
        tr.RNN(cell, I, H, bidirectional=True).driven(read, x, [])


def elman():
    """Weights of a plain layer, and its step."""
    cell = plugins.get_cell("rnn")(I, H, dtype="float64", generator=tr.Generator(1))
    return cell.W, cell.U, cell.b, cell.step


def scanned(regulariser, step, h0):
    step, streams = regulariser(step, tr.tensor(x), (h0,))
    return tr.scan(step, streams, (h0,))[0].numpy()


@pytest.mark.parametrize("variational", [False, True])
def test_recurrent_dropout_by_its_equation(variational):
    W, U, b, step = elman()
    h = h0 = tr.ones((B, H), dtype="float64")
    ys = scanned(
        Regulariser(("h",), recurrent_dropout=0.5, variational=variational, generator=tr.Generator(7)),
        step,
        h0,
    )
    mask = drop_mask((B, H) if variational else (T, B, H), h, 0.5, tr.Generator(7))
    for t in range(T):
        h = tr.tanh(tr.tensor(x[t]) @ W + (h * (mask if variational else mask[t])) @ U + b)
        np.testing.assert_allclose(ys[t], h.numpy(), rtol=1e-12)


def test_zoneout_by_its_equation():
    W, U, b, step = elman()
    h0 = tr.ones((B, H), dtype="float64")
    zoneout = Regulariser(("h",), zoneout={"h": 0.25}, generator=tr.Generator(7))
    mask = drop_mask((T, B, H), h0, 0.25, tr.Generator(7)).numpy()
    for training in (True, False):
        ys, h = scanned(zoneout.train(training), step, h0), h0.numpy()
        for t in range(T):
            new = np.tanh(x[t] @ W.numpy() + h @ U.numpy() + b.numpy())
            h = np.where(mask[t], new, h) if training else 0.25 * h + 0.75 * new
            np.testing.assert_allclose(ys[t], h, rtol=1e-12)


def test_weight_drop_by_its_equation():
    W, U, b, step = elman()
    h = h0 = tr.ones((B, H), dtype="float64")
    ys = scanned(Regulariser(("h",), weight_drop=0.5, generator=tr.Generator(7)), step, h0)
    dropped = tr.dropout(U, 0.5, generator=tr.Generator(7))
    for t in range(T):
        h = tr.tanh(tr.tensor(x[t]) @ W + h @ dropped + b)
        np.testing.assert_allclose(ys[t], h.numpy(), rtol=1e-12)


def test_a_state_that_is_carried_on_is_not_dropped():
    """With the update gate shut, a GRU keeps its state whatever is dropped."""
    rnn = tr.RNN("gru", I, H, recurrent_dropout=0.9, seed=0, dtype="float64")
    for p in rnn.parameters():
        p.assign_(np.zeros(p.shape))
    equation = tr.zeros((T, B, I), dtype="float64")
    start = np.random.default_rng(1).standard_normal((B, H))
    ys, _ = rnn(equation, [(tr.tensor(start),)])
    for t in range(T):  # z is 1/2 and the candidate 0
        np.testing.assert_allclose(ys.numpy()[t], start / 2 ** (t + 1), rtol=1e-12)


def test_masks_have_the_stated_rate_and_mean():
    mask = drop_mask((200, 50, 20), tr.zeros(1), 0.3, tr.Generator(0)).numpy()
    assert abs((mask == 0).mean() - 0.3) < 0.005 and abs(mask.mean() - 1) < 0.01
    held = tr.Dropout(0.5, variational=True, generator=tr.Generator(0))(tr.ones((9, 4, 50))).numpy()
    assert (held == held[:1]).all() and 0.3 < (held == 0).mean() < 0.7


def test_a_cell_without_recurrent_products_is_left_as_it_is():
    W, _, _, _ = elman()

    def decay(x, h):
        return 0.5 * h + x @ W

    h0 = tr.zeros((B, H), dtype="float64")
    rates = dict(recurrent_dropout=0.5, weight_drop=0.5)
    equal([scanned(Regulariser(("h",), **rates), decay, h0)], [scanned(Regulariser(("h",)), decay, h0)])


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        (
            dict(recurrent_dropout=1.0),
            "recurrent_dropout is 1.0: it must be a finite number of at least 0 and",
        ),
        (dict(weight_drop=-0.1), "weight_drop is -0.1"),
        (dict(zoneout={"c": 2}), "zoneout is 2"),
        (dict(zoneout={"q": 0.1}), "zoneout names the state 'q': this cell has h, c"),
    ],
)
def test_bad_rates(rates, said):
    with pytest.raises(tr.InputError, match=said):
        tr.RNN("lstm", I, H, **rates)


def test_a_cell_that_cannot_be_read():
    class Ranked(tr.Cell):
        def build(self, input_size, hidden_size):
            self.W, self.U, self.b = self.affine(input_size, hidden_size)

        def step(self, x, h):
            return tr.sort(h @ self.U, axis=-1) * 0.1 + x @ self.W

    with pytest.raises(tr.InputError, match="cannot take this cell: the op argsort has no compiled form"):
        tr.RNN(Ranked, I, H, recurrent_dropout=0.1)(tr.tensor(x.astype("f")))
