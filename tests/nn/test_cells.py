"""Cells and `RNN`: gradients of every registered cell, parity with PyTorch, masks, resets, stacks, initial
values.
"""

import numpy as np
import pytest

import tinyrnn as tr
from tinyrnn.nn import init as inits
from tinyrnn.nn import registry as plugins
from tinyrnn.tools.check import set_parameters

rng = np.random.default_rng(0)
T, B, I, H = 4, 3, 5, 4

OPTIONS = {
    "rnn": [{"activation": a} for a in ("tanh", "relu", "sigmoid")],
    "lstm": [{}, {"forget_bias": 0.0}, {"peephole": True}],
    "gru": [{}, {"reset_after": True}],
}
CELLS = [
    pytest.param(name, o, id=f"{name} {o}") for name in plugins.registered() for o in OPTIONS.get(name, [{}])
]


def make(name, options, **kwargs):
    return tr.RNN(name, I, H, dtype="float64", seed=1, cell_options=options, **kwargs)


@pytest.mark.sample(4)
@pytest.mark.parametrize(("name", "options"), CELLS)
@pytest.mark.parametrize("special", ["plain", "mask and resets", "bidirectional stack"])
def test_gradients_by_finite_differences(rng, name, options, special):
    """Inputs, first states and every parameter, through several time steps."""
    if plugins.get_cell(name).surrogate_gradient:
        pytest.skip("its gradients are surrogates")
    stack = special == "bidirectional stack"
    B, T, I = 2, 3, 3  # one difference takes two runs for every number of every parameter
    rnn = tr.RNN(
        name,
        I,
        2,
        dtype="float64",
        seed=1,
        cell_options=options,
        num_layers=2 if stack else 1,
        bidirectional=stack,
    )
    parameters = dict(rnn.named_parameters())
    for p in parameters.values():  # zeros hide mistakes
        p.assign_(p.numpy() + 0.1 * rng.standard_normal(p.shape))
    init = [s for layer in rnn.initial_state(B) for s in layer]
    extra = {}
    if special == "mask and resets":
        extra = {"mask": np.arange(T)[:, None] < np.array([3, 2]), "resets": rng.random((T, B)) < 0.4}

    def f(xs, *rest):
        states, weights = list(rest[: len(init)]), rest[len(init) :]
        set_parameters(rnn, dict(zip(parameters, weights, strict=True)))
        grouped = [tuple(states.pop(0) for _ in cell.states) for cell in rnn.cells]
        ys, final = rnn(xs, grouped, **extra)
        return ys, [s for layer in final for s in layer]

    first = [0.5 * rng.standard_normal(s.shape) for s in init]
    tr.check_grad(
        f, rng.standard_normal((T, B, I)), *first, *[p.numpy() for p in parameters.values()], order=1
    )


# ------------------------------------------------------------------ PyTorch


def torch_twin(name, options, **kwargs):
    torch = pytest.importorskip("torch")
    kind = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[name]
    if name == "rnn":
        kwargs["nonlinearity"] = options["activation"]
    return torch, kind(I, H, dtype=torch.float64, **kwargs)


def copy_to_torch(rnn, twin, torch):
    """Our parameters into PyTorch's, which are transposed, gate blocks in rows, with two biases."""
    with torch.no_grad():
        for i, cell in enumerate(rnn.cells):
            suffix = f"l{i // rnn.directions}" + ("_reverse" if i % rnn.directions else "")
            p = {k: v.numpy() for k, v in cell.named_parameters()}
            getattr(twin, f"weight_ih_{suffix}").copy_(torch.tensor(p["W"].T))
            getattr(twin, f"weight_hh_{suffix}").copy_(torch.tensor(p["U"].T))
            getattr(twin, f"bias_ih_{suffix}").copy_(torch.tensor(p["b"]))
            bias_hh = getattr(twin, f"bias_hh_{suffix}")
            bias_hh.zero_()
            if "b_hn" in p:
                bias_hh[2 * H :] = torch.tensor(p["b_hn"])


PARITY = [
    ("rnn", {"activation": "tanh"}),
    ("rnn", {"activation": "relu"}),
    ("lstm", {}),
    ("gru", {"reset_after": True}),
]


@pytest.mark.parity
@pytest.mark.parametrize(("name", "options"), PARITY)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_forward_and_backward_equal_pytorch(rng, name, options, layers, bidirectional):
    torch, twin = torch_twin(name, options, num_layers=layers, bidirectional=bidirectional)
    rnn = make(name, options, num_layers=layers, bidirectional=bidirectional)
    for p in rnn.parameters():
        p.assign_(rng.standard_normal(p.shape))
    copy_to_torch(rnn, twin, torch)
    x = rng.standard_normal((7, B, I))
    xs, xt = tr.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    ys, final = rnn(xs)
    yt, final_t = twin(xt)
    np.testing.assert_allclose(ys.numpy(), yt.detach().numpy(), rtol=1e-10, atol=1e-12)
    final_t = final_t if isinstance(final_t, tuple) else (final_t,)
    for j, states in enumerate(final_t):
        for i, layer in enumerate(final):
            np.testing.assert_allclose(layer[j].numpy(), states[i].detach().numpy(), rtol=1e-10, atol=1e-12)
    weights = rng.standard_normal(ys.shape)
    (ys * weights).sum().backward()
    (yt * torch.tensor(weights)).sum().backward()
    np.testing.assert_allclose(xs.grad.numpy(), xt.grad.numpy(), rtol=1e-10, atol=1e-12)
    for i, cell in enumerate(rnn.cells):
        suffix = f"l{i // rnn.directions}" + ("_reverse" if i % rnn.directions else "")
        for ours, theirs in (("W", "weight_ih"), ("U", "weight_hh"), ("b", "bias_ih")):
            expected = getattr(twin, f"{theirs}_{suffix}").grad.numpy().T
            np.testing.assert_allclose(getattr(cell, ours).grad.numpy(), expected, rtol=1e-10, atol=1e-12)


def test_gru_equations_of_the_paper(rng):
    """Cho et al. 2014, equations 5 to 8, transcribed in NumPy."""
    rnn = make("gru", {})
    p = {k: v.numpy() for k, v in rnn.cells[0].named_parameters()}
    x, h = rng.standard_normal((1, B, I)), rng.standard_normal((B, H))
    s = lambda a: 1 / (1 + np.exp(-a))  # noqa: E731
    W_r, W_z, W_n = np.split(p["W"], 3, axis=1)
    U_r, U_z = np.split(p["U"], 2, axis=1)
    r, z = s(x[0] @ W_r + h @ U_r), s(x[0] @ W_z + h @ U_z)
    expected = z * h + (1 - z) * np.tanh(x[0] @ W_n + (r * h) @ p["U_n"])
    np.testing.assert_allclose(rnn(tr.tensor(x), [(tr.tensor(h),)])[0].numpy()[0], expected)


def test_peepholes_of_the_paper(rng):
    """Gers, Schraudolph & Schmidhuber 2002: i and f see the old cell, o the new one."""
    rnn = make("lstm", {"peephole": True})
    cell = rnn.cells[0]
    for p in (cell.p_i, cell.p_f, cell.p_o):
        p.assign_(rng.standard_normal(H))
    p = {k: v.numpy() for k, v in cell.named_parameters()}
    x, h, c = rng.standard_normal((B, I)), rng.standard_normal((B, H)), rng.standard_normal((B, H))
    s = lambda a: 1 / (1 + np.exp(-a))  # noqa: E731
    i, f, g, o = np.split(x @ p["W"] + h @ p["U"] + p["b"], 4, axis=1)
    c_new = s(f + p["p_f"] * c) * c + s(i + p["p_i"] * c) * np.tanh(g)
    got = cell.step(*map(tr.tensor, (x, h, c)))
    np.testing.assert_allclose(got[1].numpy(), c_new)
    np.testing.assert_allclose(got[0].numpy(), s(o + p["p_o"] * c_new) * np.tanh(c_new))


# ------------------------------------------------------------------ the time loop


@pytest.mark.sample(3)
@pytest.mark.parametrize(("name", "options"), CELLS)
def test_mask_gives_what_the_short_sequence_gives(rng, name, options):
    rnn = make(name, options, num_layers=2, bidirectional=True)
    xs = rng.standard_normal((T, 2, I))
    lengths = np.array([T, 2])
    ys, final = rnn(tr.tensor(xs), mask=np.arange(T)[:, None] < lengths)
    short, short_final = rnn(tr.tensor(xs[:2, 1:]))
    np.testing.assert_allclose(ys.numpy()[:2, 1:], short.numpy(), rtol=1e-12)
    for a, b in zip(final, short_final, strict=True):
        for s, t in zip(a, b, strict=True):
            np.testing.assert_allclose(s.numpy()[1:], t.numpy(), rtol=1e-12)


@pytest.mark.sample(3)
@pytest.mark.parametrize(("name", "options"), CELLS)
def test_reset_gives_what_a_fresh_start_gives(rng, name, options):
    rnn = make(name, options)
    xs = rng.standard_normal((T, 2, I))
    resets = np.zeros((T, 2), bool)
    resets[2, 1] = True
    ys, _ = rnn(tr.tensor(xs), resets=resets)
    fresh, _ = rnn(tr.tensor(xs[2:, 1:]))
    straight, _ = rnn(tr.tensor(xs))
    np.testing.assert_allclose(ys.numpy()[2:, 1:], fresh.numpy(), rtol=1e-12)
    np.testing.assert_allclose(ys.numpy()[:, :1], straight.numpy()[:, :1], rtol=1e-12)


def test_carried_state_continues_the_sequence(rng):
    rnn = make("lstm", {}, num_layers=2)
    xs = tr.tensor(rng.standard_normal((6, B, I)))
    whole, _ = rnn(xs)
    first, states = rnn(xs[:3])
    second, _ = rnn(xs[3:], states)
    np.testing.assert_allclose(np.concatenate([first.numpy(), second.numpy()]), whole.numpy(), rtol=1e-12)


def test_scan_returns_all_states_and_takes_any_step():
    ys, final = tr.scan(lambda x, s: s + x, tr.tensor(np.ones((4, 2, 3))), tr.tensor(np.zeros((2, 3))))
    assert ys.numpy()[:, 0, 0].tolist() == [1, 2, 3, 4] and final.numpy()[0, 0] == 4
    (a, b), _ = tr.scan(
        lambda x, a, b: (a + x, a * b),
        tr.tensor(np.ones((3, 1, 1))),
        (tr.tensor(np.ones((1, 1))), tr.tensor(np.ones((1, 1)))),
        return_states=True,
        reverse=True,
    )
    assert a.numpy().ravel().tolist() == [4, 3, 2] and b.numpy().ravel().tolist() == [6, 2, 1]


def test_dropout_between_layers_only_while_training(rng):
    rnn = tr.RNN("gru", I, H, num_layers=2, dropout=0.5, seed=3)
    xs = tr.tensor(rng.standard_normal((T, B, I)), "float32")
    assert (rnn(xs)[0].numpy() != rnn(xs)[0].numpy()).any()
    rnn.eval()
    np.testing.assert_array_equal(rnn(xs)[0].numpy(), rnn(xs)[0].numpy())
    single = tr.RNN("gru", I, H, dropout=0.5, seed=3)
    np.testing.assert_array_equal(single(xs)[0].numpy(), single(xs)[0].numpy())


# ------------------------------------------------------------------ initial values


def test_initial_values_follow_the_literature():
    lstm = tr.RNN("lstm", 30, 20, seed=0).cells[0]
    for block in np.split(lstm.U.numpy(), 4, axis=1):
        np.testing.assert_allclose(block.T @ block, np.eye(20), atol=1e-6)
    limit = np.sqrt(6 / 50)
    assert np.abs(lstm.W.numpy()).max() <= limit and lstm.W.numpy().std() == pytest.approx(
        limit / np.sqrt(3), rel=0.05
    )
    np.testing.assert_array_equal(np.split(lstm.b.numpy(), 4)[1], np.ones(20))
    assert np.abs(np.delete(np.split(lstm.b.numpy(), 4), 1, axis=0)).max() == 0
    tall = inits.orthogonal(tr.Generator(0), 7, 3)
    np.testing.assert_allclose(tall.T @ tall, np.eye(3), atol=1e-12)


def test_a_seed_fixes_the_weights():
    a, b, c = (tr.RNN("gru", I, H, seed=s).state_dict() for s in (1, 1, 2))
    assert all((a[k] == b[k]).all() for k in a) and (a["cells.0.W"] != c["cells.0.W"]).any()


# ------------------------------------------------------------------ a cell of one's own, and mistakes


class MGU(tr.Cell):
    """Minimal gated unit (Zhou et al. 2016, eq. 4)."""

    states = ("h",)

    def build(self, input_size, hidden_size, *, bias: float = 0.0):
        self.W_f, self.U_f, self.b_f = self.affine(input_size, hidden_size, bias_init=bias)
        self.W_h, self.U_h, self.b_h = self.affine(input_size, hidden_size)

    def step(self, x, h):
        f = tr.sigmoid(x @ self.W_f + h @ self.U_f + self.b_f)
        n = tr.tanh(x @ self.W_h + (f * h) @ self.U_h + self.b_h)
        return (1 - f) * h + f * n


class TwoWidths(tr.Cell):
    """A cell whose second state is wider than its first."""

    states = ("h", "memory")

    def build(self, input_size, hidden_size):
        self.state_sizes = {"h": hidden_size, "memory": 2 * hidden_size}
        self.W = self.weight(input_size, 2 * hidden_size)
        self.V = self.weight(2 * hidden_size, hidden_size)

    def step(self, x, h, memory):
        memory = 0.9 * memory + x @ self.W
        return tr.tanh(memory @ self.V + h), memory


@pytest.mark.parametrize("cell", [MGU, TwoWidths])
def test_a_cell_class_can_be_used_without_registering(rng, cell):
    rnn = tr.RNN(cell, I, H, num_layers=2, dtype="float64", seed=0)
    ys, final = rnn(tr.tensor(rng.standard_normal((T, B, I))))
    assert ys.shape == (T, B, H) and [s.shape[1] for s in final[0]] == list(rnn.cells[0].state_sizes.values())
    ys.sum().backward()
    assert all(p.grad is not None for p in rnn.parameters())


class WrongCount(MGU):
    def step(self, x, h):
        return h, h


class WrongShape(MGU):
    def step(self, x, h):
        return tr.concat([h, h], axis=1)


MISTAKES = [
    (lambda: tr.RNN("grue", I, H), "did you mean gru"),
    (
        lambda: tr.RNN("gru", I, H, cell_options={"reset_afte": True}),
        "no option 'reset_afte': did you mean reset_after?",
    ),
    (lambda: tr.RNN("gru", I, H, cell_options={"reset_after": "maybe"}), "true|false"),
    (lambda: tr.RNN("rnn", I, H, cell_options={"activation": "softmax"}), "tanh|relu|sigmoid"),
    (lambda: tr.RNN("lstm", I, H, cell_options={"forget_bias": "much"}), "float"),
    (lambda: tr.RNN("lstm", I, 0), "hidden_size is 0"),
    (lambda: tr.RNN("lstm", I, H)(tr.tensor(np.ones((T, B, I + 1)))), "must be \\[T, B, 5\\]"),
    (lambda: tr.RNN("lstm", I, H)(tr.tensor(np.ones((0, B, I)))), "no time steps"),
    (lambda: tr.RNN("lstm", I, H)(tr.tensor(np.ones((T, B, I))), mask=np.ones((T, B + 1))), "mask"),
    (lambda: tr.RNN("lstm", I, H)(tr.tensor(np.ones((T, B, I))), []), "init holds states of 0"),
    (
        lambda: tr.RNN(WrongCount, I, H)(tr.ones((T, B, I), dtype="float32")),
        "step returned 2 states, it was given 1",
    ),
    (lambda: tr.RNN(WrongShape, I, H)(tr.ones((T, B, I), dtype="float32")), "state 0 as \\[3, 8\\]"),
]


@pytest.mark.parametrize("case", range(len(MISTAKES)))
def test_mistakes_get_a_sentence(case):
    f, said = MISTAKES[case]
    with pytest.raises(tr.TinyrnnError, match=said.replace("|", "\\|")):
        f()


def test_module_lists_saves_and_loads():
    model = tr.RNN("lstm", I, H, num_layers=2, seed=0)
    names = [n for n, _ in model.named_parameters()]
    assert names == [f"cells.{i}.{k}" for i in range(2) for k in ("W", "U", "b")]
    other = tr.RNN("lstm", I, H, num_layers=2, seed=1)
    other.load_state_dict(model.state_dict())
    assert all(
        (a.numpy() == b.numpy()).all() for a, b in zip(model.parameters(), other.parameters(), strict=True)
    )
    with pytest.raises(tr.InputError, match="another model"):
        tr.RNN("lstm", I, H).load_state_dict(model.state_dict())
    with pytest.raises(tr.InputError, match="cells.0.W"):
        tr.RNN("lstm", I + 1, H, num_layers=2).load_state_dict(model.state_dict())


def test_layers():
    x = tr.tensor(np.random.default_rng(1).standard_normal((2, 3, I)))
    assert tr.Linear(I, 2, dtype="float64")(x).shape == (2, 3, 2)
    assert tr.Linear(I, 2, bias=False, dtype="float64")(x).shape == (2, 3, 2)
    y = tr.LayerNorm(I, dtype="float64")(x).numpy()
    np.testing.assert_allclose(y.mean(-1), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(-1), 1, atol=1e-4)
    layer = tr.Dropout(0.5, generator=tr.Generator(0))
    assert (layer(x).numpy() == 0).any() and (layer.eval()(x).numpy() == x.numpy()).all()
    assert tr.Embedding(4, 3)(np.array([[1, 3]])).shape == (1, 2, 3)
