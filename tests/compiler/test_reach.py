"""What a step may be beyond rows: features of several axes, memories, random numbers, derivatives given by
hand. Each step is compiled, and equal to the eager loop, values and gradients.
"""

import warnings

import numpy as np
import pytest

import tinyrnn as tr
from tinyrnn.compiler.ir import CompileWarning
from tinyrnn.compiler.report import report_cell
from tinyrnn.compiler.targets.numba import interpreted
from tinyrnn.compiler.views import View, blocks, part, view_of

B, T, F, H, N, S = 3, 4, 3, 4, 3, 5


class Weights:
    """Parameters by name, each of the shape that it is first asked in."""

    def __init__(self):
        self.rng, self.made = np.random.default_rng(1), {}

    def __call__(self, name, *shape):
        if name not in self.made:
            self.made[name] = tr.tensor(self.rng.standard_normal(shape) / 2, requires_grad=True)
        return self.made[name]


def fast_weights(x, y, M, w):
    """Ba et al. 2016, one inner step."""
    k, v = x @ w("k", F, N), x @ w("v", F, H)
    M = 0.9 * M + v[:, :, None] * k[:, None, :]
    return tr.tanh((M * (x @ w("q", F, N))[:, None, :]).sum(axis=2)), M


def delta(x, y, M, w):
    """Schlag, Irie & Schmidhuber 2021, in einsum."""
    k, v = tr.softmax(x @ w("k", F, N)), x @ w("v", F, H)
    beta = tr.sigmoid(x @ w("b", F, 1))
    M = M + tr.einsum("bh,bn->bhn", beta * (v - tr.einsum("bhn,bn->bh", M, k)), k)
    return tr.einsum("bhn,bn->bh", M, x @ w("q", F, N)), M


def products(x, y, M, w):
    """The same kind in products of matrices of the same sequence."""
    M = tr.tanh(M + (x @ w("v", F, H))[:, :, None] @ (x @ w("k", F, N))[:, None, :])
    read = (M @ (x @ w("q", F, N))[:, :, None])[:, :, 0]
    back = (read[:, None, :] @ M)[:, 0]
    return tr.tanh(read * back.sum(axis=1, keepdims=True)), M


def selective(x, y, M, w):
    """A selective state space (Gu & Dao 2023)."""
    d = tr.softplus(x @ w("d", F, H))
    M = tr.exp(-d[:, :, None] * tr.exp(w("A", H, N))) * M
    M = M + (d * (x @ w("u", F, H)))[:, :, None] * (x @ w("B", F, N))[:, None, :]
    return (M * (x @ w("C", F, N))[:, None, :]).sum(axis=-1), M


def softmaxes(x, y, M, w):
    """Softmax along either axis, of a transpose, and reductions that gradients are shared by."""
    M = tr.softmax(M + (x @ w("v", F, H))[:, :, None], axis=1)
    M = M + tr.softmax(tr.permute_dims(M, (0, 2, 1)), axis=-1).reshape((-1, H * N)).reshape((-1, H, N))
    return M.mean(axis=2) + M.max(axis=2) - M.min(axis=2), M * 0.5


def moved(x, y, M, w):
    """Flips, rolls, steps, single columns."""
    M = M * (x @ w("v", F, H))[:, :, None] + 0.3 * tr.roll(M, 1, axis=1) - 0.2 * tr.flip(M, axis=2)
    return tr.tanh(M[:, ::-1, 0] * M[:, :, 1] + M[:, :, -1]), tr.tanh(M[:, ::-1, ::-1])


def heads(x, y, M, w):
    """Two heads of linear attention."""
    k, v, q = (tr.reshape(z, (-1, 2, 2)) for z in tr.split(x @ w("kvq", F, 12), 3))
    M = tr.reshape(M, (-1, 2, 2, 3))[..., :2] + v[:, :, :, None] * tr.softmax(k)[:, :, None, :]
    M = tr.concat([M, tr.zeros_like(M[..., :1])], axis=-1)
    return tr.einsum("bhdn,bhn->bhd", M[..., :2], q).reshape(-1, H), tr.reshape(M, (-1, H, N))


def rows_of_a_sequence(x, y, M, w):
    """Each row of a sequence times one matrix."""
    return tr.tanh((M @ w("W", N, 2)).reshape(-1, 2 * H) @ w("o", 2 * H, H)), M + (x @ w("v", F, H))[
        :, :, None
    ]


def pieces(x, y, M, w):
    """Stacks, parts and borders."""
    even, odd = y[:, ::2], y[:, 1::2]
    z = tr.stack([tr.concat([odd, even], axis=1), x @ w("v", F, H)], axis=2).reshape(-1, 2 * H)
    z = tr.tanh(z @ w("o", 2 * H, H)) + tr.pad(y[:, 1:], ((0, 0), (1, 0)))
    a, b = tr.split(M, [1], axis=1)
    return z, tr.concat([b, a * 0.9], axis=1)


def dot_attention(x, y, M, w):
    """Luong, Pham & Manning 2015, over a closed-over memory, masked."""
    q = x @ w("x", F, H) + y @ w("h", H, H)
    live = tr.tensor((np.arange(B * S).reshape(B, S) % 4 > 0) * 1.0)
    a = tr.softmax(tr.einsum("bh,bsh->bs", q, w("memory", B, S, H)) - 1e3 * (1 - live))
    return tr.tanh(tr.einsum("bs,bsh->bh", a, w("memory", B, S, H)) + q), M


def additive_attention(x, y, M, w):
    """Bahdanau, Cho & Bengio 2015."""
    q = x @ w("x", F, H) + y @ w("h", H, H)
    a = tr.softmax((tr.tanh(w("keys", B, S, H) + q[:, None, :]) @ w("score", H, 1))[:, :, 0])
    return tr.tanh((a[:, :, None] * w("memory", B, S, H)).sum(axis=1) + q), M


@tr.custom_vjp
def spike(v):
    """A hard step with a surrogate gradient (Zenke & Ganguli 2018)."""
    return (v > 0).astype(v.dtype)


spike.defvjp(lambda v: ((v > 0).astype(v.dtype), v), lambda v, g: (g / (1 + 10 * abs(v)) ** 2,))


@tr.custom_vjp
def both(a, b):
    """Two values of two arguments, and a derivative that is none of theirs."""
    return a * b, a + b


both.defvjp(lambda a, b: ((a * b, a + b), (a, b)), lambda ab, g: (g[0] * ab[1] + g[1], g[0] * ab[0] / 2))


def spikes(x, y, M, w):
    """Leaky integration and fire."""
    v = 0.8 * M[:, :, 0] + x @ w("x", F, H) + y @ w("h", H, H) - 0.5 * y
    return spike(v - 0.1), tr.stack([v, M[:, :, 1], M[:, :, 2]], axis=2)


def by_hand(x, y, M, w):
    """Also of what depends on x alone, which may not leave the loop then."""
    p, q = both(x @ w("x", F, H), y)
    return tr.tanh(p + q @ w("h", H, H)) + spike(x)[:, :1] @ w("s", 1, H), M


STEPS = [
    fast_weights, delta, products, selective, softmaxes, moved, heads, rows_of_a_sequence, pieces,
    dot_attention, additive_attention, spikes, by_hand,
]  # fmt: skip
FORMS = {
    "plain": {},
    "reversed": dict(reverse=True),
    "mask and resets": dict(mask=np.arange(T * B).reshape(T, B) % 3 > 0, resets=np.eye(T, B)),
}


def results(step, compile, steps=T, **form):
    """Outputs, and the gradients of everything."""
    rng, w = np.random.default_rng(0), Weights()
    given = [rng.standard_normal(s) / 2 for s in ((steps, B, F), (B, H), (B, H, N))]
    xs, *init = (tr.tensor(a, requires_grad=True) for a in given)
    step(xs[0], *init, w)  # which makes the parameters
    form = {k: v[:steps] if isinstance(v, np.ndarray) else v for k, v in form.items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*runs eagerly", CompileWarning)
        ys, final = tr.scan(
            lambda x, y, M: step(x, y, M, w), xs, tuple(init), return_states=True, compile=compile, **form
        )
    loss = sum(((i + 1) * y * y).sum() for i, y in enumerate(ys)) + sum(f.sum() for f in final)
    loss.backward()
    leaves = [xs, *init, *w.made.values()]
    return [t.numpy() for t in (*ys, *final)] + [
        np.zeros(t.shape) if t.grad is None else t.grad.numpy() for t in leaves
    ]


def agree(one, other):
    for a, b in zip(one, other, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


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
    monkeypatch.setitem(globals(), "B", 1)
    for step in STEPS:
        with interpreted():
            agree(results(step, True), results(step, False))


def test_a_batch_as_large_as_its_features(monkeypatch):
    for size in (H, N, S):
        monkeypatch.setitem(globals(), "B", size)
        for step in STEPS:
            with interpreted():
                agree(results(step, True), results(step, False))


def test_second_derivatives_past_a_rule_by_hand_are_refused():
    W = tr.tensor(np.ones((F, H)))

    def loss(x):
        return tr.scan(lambda x, h: spike(x @ W) * h, x, tr.ones((B, H)))[0].sum()

    with interpreted(), pytest.raises(tr.GradientError, match="custom_vjp of a step: give scan"):
        tr.grad(lambda x: tr.grad(loss)(x).sum())(np.ones((T, B, F)))


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


def test_random_numbers_need_a_source():
    with pytest.raises(tr.InputError, match=r"randn_like has no random numbers: give generator=tr.Generator"):
        tr.scan(lambda x, h: h + tr.randn_like(h), np.ones((T, B, F)), tr.ones((B, H)))
    with pytest.raises(tr.DtypeError, match="give probabilities as floats"):
        tr.bernoulli(np.ones(3, int), generator=tr.Generator(0))
    assert tr.randn_like(np.ones((2, 3), np.float32), generator=tr.Generator(0)).dtype == np.float32


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
