"""Each cell against its paper's formulas, written for one sequence and column vectors (W x), and what every
cell must do.
"""

import numpy as np
import pytest
from tinyrnn_linear import QRNN, RGLRU, SLSTM, SRU, IndRNN, MinGRU, MinLSTM

import tinyrnn as tr
from tinyrnn.compiler.report import report_cell
from tinyrnn.tasks.lm.task import LanguageModel
from tinyrnn.tasks.text.vocabulary import Characters
from tinyrnn.testing import cell_suite

CELLS = {
    "mingru": MinGRU,
    "minlstm": MinLSTM,
    "sru": SRU,
    "qrnn": QRNN,
    "indrnn": IndRNN,
    "rglru": RGLRU,
    "slstm": SLSTM,
}
T, B = 6, 3


def sigma(a):
    return 1 / (1 + np.exp(-a))


def run(cell, input_size=5, hidden_size=4, **options):
    """A layer with random parameters on random inputs: those inputs, outputs and final states, and its
    parameters.
    """
    rng = np.random.default_rng(7)
    rnn = tr.RNN(cell, input_size, hidden_size, dtype="float64", seed=1, cell_options=options)
    for p in rnn.parameters():
        p.assign_(rng.standard_normal(p.shape))
    xs = rng.standard_normal((T, B, input_size))
    ys, (final,) = rnn(tr.tensor(xs))
    parameters = {name: p.numpy() for name, p in rnn.cells[0].named_parameters()}
    return xs, ys.numpy(), dict(zip(cell.states, (s.numpy() for s in final), strict=True)), parameters


def rows(W, parts):
    """The matrices that lie side by side in ``W``, each as the paper multiplies it: from the left."""
    return [part.T for part in np.split(W, parts, axis=1)]


def agree(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


def g(a):
    return np.array([v + 0.5 if v >= 0 else sigma(v) for v in a])


# ------------------------------------------------------------------ the equations of the papers


@pytest.mark.parametrize("positive", [False, True])
def test_mingru_equations(positive):
    xs, ys, _, p = run(MinGRU, positive=positive)
    (W_z, W_h), (b_z, b_h) = rows(p["W"], 2), np.split(p["b"], 2)
    for k in range(B):
        h = np.zeros(4)
        for t in range(T):
            z, candidate = sigma(W_z @ xs[t, k] + b_z), W_h @ xs[t, k] + b_h
            h = h + z * ((g(candidate) if positive else candidate) - h)
            agree(ys[t, k], h)


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
def test_minlstm_equations(normalize, positive):
    xs, ys, _, p = run(MinLSTM, normalize=normalize, positive=positive)
    (W_f, W_i, W_h), (b_f, b_i, b_h) = rows(p["W"], 3), np.split(p["b"], 3)
    for k in range(B):
        h = np.zeros(4)
        for t in range(T):
            f, i = sigma(W_f @ xs[t, k] + b_f), sigma(W_i @ xs[t, k] + b_i)
            total = f + i if normalize else 1.0
            candidate = W_h @ xs[t, k] + b_h
            h = f / total * h + i / total * (g(candidate) if positive else candidate)
            agree(ys[t, k], h)


@pytest.mark.parametrize("input_size", [5, 4])
@pytest.mark.parametrize("highway_bias", [0.0, -2.0])
def test_sru_equations(input_size, highway_bias):
    xs, ys, final, p = run(SRU, input_size, highway_bias=highway_bias)
    W, W_f, W_r, *projection = rows(p["W"], 3 if input_size == 4 else 4)
    alpha = np.sqrt(1 + np.exp(highway_bias) * 2)
    for k in range(B):
        c = np.zeros(4)
        for t in range(T):
            x = xs[t, k]
            f, r = (
                sigma(W_f @ x + p["v_f"] * c + p["b_f"]),
                sigma(W_r @ x + p["v_r"] * c + p["b_r"]),
            )  # both of the old c
            c = f * c + (1 - f) * (W @ x)
            agree(ys[t, k], r * c + (1 - r) * (projection[0] @ x if projection else x) * alpha)
        agree(final["c"][k], c)


@pytest.mark.parametrize("window", [2, 3, 4])
def test_qrnn_equations(window):
    """The masked convolution over the whole sequence first, padded by zeros on the left; then fo-pooling."""
    xs, ys, final, p = run(QRNN, window=window)
    padded = np.concatenate([np.zeros((window - 1, B, 5)), xs])
    newest_first = [rows(W.T, 3) for W in rows(p["W"], window)]  # of each tap: W_z, W_f, W_o
    z, f, o = (
        np.stack(
            [sum(padded[t + window - 1 - j] @ newest_first[j][i].T for j in range(window)) for t in range(T)]
        )
        + b
        for i, b in enumerate(np.split(p["b"], 3))
    )
    z, f, o = np.tanh(z), sigma(f), sigma(o)
    c = np.zeros((B, 4))
    for t in range(T):
        c = f[t] * c + (1 - f[t]) * z[t]
        agree(ys[t], o[t] * c)
    agree(final["c"], c)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_indrnn_equations(activation):
    """Unit by unit."""
    xs, ys, _, p = run(IndRNN, activation=activation, bound=1.2)
    for k in range(B):
        for unit in range(4):
            w, u, b, h = p["W"][:, unit], p["u"][unit], p["b"][unit], 0.0
            u = min(max(u, -1.2), 1.2)
            for t in range(T):
                a = float(w @ xs[t, k]) + u * h + b
                h = max(a, 0.0) if activation == "relu" else np.tanh(a)
                agree(ys[t, k, unit], h)


@pytest.mark.parametrize("input_size", [5, 4])
@pytest.mark.parametrize("c", [8.0, 2.0])
def test_rglru_equations(input_size, c):
    xs, ys, _, p = run(RGLRU, input_size, c=c)
    W_a, W_x, *projection = rows(p["W"], 2 if input_size == 4 else 3)
    a = sigma(p["Lambda"])
    for k in range(B):
        h = np.zeros(4)
        for t in range(T):
            x = xs[t, k]
            r, i = sigma(W_a @ x + p["b_a"]), sigma(W_x @ x + p["b_x"])
            a_t = a ** (c * r)
            h = a_t * h + np.sqrt(1 - a_t**2) * (i * (projection[0] @ x if projection else x))
            agree(ys[t, k], h)


@pytest.mark.parametrize("forget_gate", ["sigmoid", "exp"])
def test_slstm_equations(forget_gate):
    """Equations 8 to 14, which do without m: what the cell keeps in c and n is their c and n by exp(-m),
    equations 15 to 17.
    """
    xs, ys, final, p = run(SLSTM, forget_gate=forget_gate)
    W_i, W_f, W_z, W_o = rows(p["W"], 4)
    R_i, R_f, R_z, R_o = rows(p["R"], 4)
    b_i, b_f, b_z, b_o = np.split(p["b"], 4)
    for k in range(B):
        h, c, n, m = np.zeros((4, 4))
        for t in range(T):
            x = xs[t, k]
            i = np.exp(W_i @ x + R_i @ h + b_i)
            f = W_f @ x + R_f @ h + b_f
            f = sigma(f) if forget_gate == "sigmoid" else np.exp(f)
            z, o = np.tanh(W_z @ x + R_z @ h + b_z), sigma(W_o @ x + R_o @ h + b_o)
            c, n = f * c + i * z, f * n + i
            h = o * (c / n)
            m = np.maximum(np.log(f) + m, np.log(i))
            agree(ys[t, k], h)
        agree(final["m"][k], m)
        agree(final["c"][k], c * np.exp(-m))
        agree(final["n"][k], n * np.exp(-m))


# ------------------------------------------------------------------ what every cell must do

test_mingru, test_mingru_positive = cell_suite(MinGRU), cell_suite(MinGRU, positive=True)
test_minlstm, test_minlstm_plain = cell_suite(MinLSTM), cell_suite(MinLSTM, normalize=False)
test_sru = cell_suite(SRU)
test_qrnn, test_qrnn_window = cell_suite(QRNN), cell_suite(QRNN, window=3)
test_indrnn, test_indrnn_tanh = cell_suite(IndRNN), cell_suite(IndRNN, activation="tanh")
test_rglru = cell_suite(RGLRU)
test_slstm, test_slstm_exp = cell_suite(SLSTM), cell_suite(SLSTM, forget_gate="exp")


@pytest.mark.parametrize("name", CELLS)
def test_registered_and_compiled(name):
    assert tr.cells.get_cell(name) is CELLS[name]
    for input_size in (5, 6):
        assert report_cell(CELLS[name](input_size, 6)).reason is None


@pytest.mark.parametrize("name", [name for name in CELLS if name != "slstm"])
def test_no_product_is_recurrent(name):
    recurrent, others = report_cell(CELLS[name](5, 6)).products
    assert recurrent == 0
    assert others > 0


@pytest.mark.parametrize("name", CELLS)
def test_huge_inputs_leave_numbers(name):
    """Gates that are closed and open to the last bit: neither outputs nor gradients are NaN or infinite."""
    rnn = tr.RNN(name, 5, 4, seed=0)
    xs = tr.tensor(1e3 * np.random.default_rng(0).standard_normal((20, B, 5)).astype("f"), requires_grad=True)
    ys, _ = rnn(xs)
    (ys * ys).mean().backward()
    assert all(np.isfinite(a.numpy()).all() for a in (ys, xs.grad, *(p.grad for p in rnn.parameters())))


@pytest.mark.parametrize("name", CELLS)
def test_generation_is_the_plain_one(name, monkeypatch):
    model = LanguageModel(
        Characters.build(["abcdefgh"], None), cell=name, hidden=6, layers=2, embed=5, seed=0
    )
    compiled = [model.generate("ab", length=n, seed=1) for n in (20, 21)]
    monkeypatch.setenv("TINYRNN_COMPILE", "0")
    assert compiled == [model.generate("ab", length=n, seed=1) for n in (20, 21)]


# ------------------------------------------------------------------ options and first values


def test_a_window_of_one_is_no_filter():
    with pytest.raises(tr.InputError, match="window is 1: it must be at least 2"):
        tr.RNN("qrnn", 5, 4, cell_options={"window": 1})


def test_forget_biases():
    for name, at in (("minlstm", 0), ("slstm", 1)):
        for options, expected in (({}, 1.0), ({"forget_bias": 3.0}, 3.0)):
            b = CELLS[name](5, 4, **options).b.numpy().reshape(-1, 4)
            assert (b[at] == expected).all()
            assert (np.delete(b, at, axis=0) == 0).all()


def test_indrnn_starts_within_its_bound_and_stays_there():
    u = IndRNN(5, 500, bound=0.9).u.numpy()
    assert 0 <= u.min() < 0.01
    assert 0.89 < u.max() <= 0.9
    rnn = tr.RNN(IndRNN, 5, 4, seed=0)
    rnn.cells[0].u.assign_(np.full(4, 1.5, "f"))
    ys, _ = rnn(tr.ones((200, 1, 5), dtype="float32"))
    assert np.abs(ys.numpy()).max() < 1e4  # 1.5^200 is 1e35


def test_sru_starts_with_variances_of_the_paper():
    cell = SRU(300, 200, highway_bias=-2.0)
    W, W_f, W_r, W_p = np.split(cell.W.numpy(), 4, axis=1)
    for part, variance in (
        (W, 1 / 300),
        (W_f, 0.5 / 300),
        (W_r, 0.5 / 300),
        (W_p, 1 / 300),
        (cell.v_f.numpy(), 0.5),
    ):
        assert part.var() == pytest.approx(variance, rel=0.2)
    assert (cell.b_r.numpy() == -2).all()
    assert (cell.b_f.numpy() == 0).all()


@pytest.mark.parametrize(("options", "low"), [({}, 0.9), ({"c": 2.0}, 0.9), ({"min_decay": 0.5}, 0.5)])
def test_rglru_starts_between_its_decays(options, low):
    decay = sigma(RGLRU(5, 2000, **options).Lambda.numpy().astype("d")) ** options.get("c", 8.0)
    assert decay.min() == pytest.approx(low, abs=2e-3)
    assert decay.max() == pytest.approx(0.999, abs=2e-3)
    assert decay.mean() == pytest.approx((low + 0.999) / 2, abs=2e-2)


def test_rglru_keeps_its_digits_where_the_decay_is_slow():
    """float32 beside float64, with a recurrence gate that is all but closed."""
    outputs = []
    for dtype in ("float32", "float64"):
        rnn = tr.RNN(RGLRU, 4, 4, dtype=dtype, seed=0)
        rnn.cells[0].b_a.assign_(np.full(4, -12.0))
        outputs.append(rnn(tr.ones((20, 1, 4), dtype=dtype))[0].numpy())
    np.testing.assert_allclose(*outputs, rtol=1e-5)
