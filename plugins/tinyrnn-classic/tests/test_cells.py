"""Every cell beside its paper's formulas in plain NumPy, and through the checks of `tinyrnn.testing`."""

import numpy as np
import pytest
import tinyrnn_classic as classic

import tinyrnn as tr
from tinyrnn.compiler.report import report_cell
from tinyrnn.nn import registry as plugins
from tinyrnn.testing import cell_suite

T, B, F, H, C = 7, 3, 5, 4, 3
NAMES = ["cifg", "irnn", "janet", "mgu", "mut1", "mut2", "mut3", "peephole", "scrn", "ugrnn"]

# ------------------------------------------------------------------ the papers: one step of one sequence,
# matrices on the left


def sigm(a):
    return 1 / (1 + np.exp(-a))


def blocks(p, name, count):
    """The ``count`` blocks that lie side by side in a parameter, as the matrices (or biases) that papers
    write on the left.
    """
    return [block.T for block in np.split(p[name], count, axis=-1)]


def mut1(p, x, h):
    W_xz, W_xr = blocks(p, "W", 2)
    b_z, b_r = blocks(p, "b", 2)
    W_hr, W_hh = p["W_hr"].T, p["W_hh"].T
    z = sigm(W_xz @ x + b_z)
    r = sigm(W_xr @ x + W_hr @ h + b_r)
    u = p["P"].T @ x if "P" in p else x
    return [np.tanh(W_hh @ (r * h) + np.tanh(u) + p["b_h"]) * z + h * (1 - z)]


def mut2(p, x, h):
    W_xz, W_xh = blocks(p, "W", 2)
    W_hz, W_hr = blocks(p, "U", 2)
    b_z, b_h = blocks(p, "b", 2)
    u = p["P"].T @ x if "P" in p else x
    z = sigm(W_xz @ x + W_hz @ h + b_z)
    r = sigm(u + W_hr @ h + p["b_r"])
    return [np.tanh(p["W_hh"].T @ (r * h) + W_xh @ x + b_h) * z + h * (1 - z)]


def mut3(p, x, h):
    W_xz, W_xr, W_xh = blocks(p, "W", 3)
    b_z, b_r, b_h = blocks(p, "b", 3)
    z = sigm(W_xz @ x + p["W_hz"].T @ np.tanh(h) + b_z)
    r = sigm(W_xr @ x + p["W_hr"].T @ h + b_r)
    return [np.tanh(p["W_hh"].T @ (r * h) + W_xh @ x + b_h) * z + h * (1 - z)]


def peephole(p, x, y, s, *, output="identity"):
    """In the letters of Gers et al.: net inputs, gates y_in, y_phi, y_out, the cell's state s, its output
    y.
    """
    net_in, net_phi, net_c, net_out = (
        W @ x + U @ y + b for W, U, b in zip(*[blocks(p, name, 4) for name in "WUb"], strict=True)
    )
    y_in, y_phi = sigm(net_in + p["p_i"] * s), sigm(net_phi + p["p_f"] * s)
    s = y_phi * s + y_in * np.tanh(net_c)
    y_out = sigm(net_out + p["p_o"] * s)
    return [y_out * (s if output == "identity" else np.tanh(s)), s]


def cifg(p, x, y, c, *, peephole=True):
    (W_z, W_i, W_o), (R_z, R_i, R_o), (b_z, b_i, b_o) = (blocks(p, name, 3) for name in "WRb")
    p_i, p_o = (p["p_i"], p["p_o"]) if peephole else (0, 0)
    z = np.tanh(W_z @ x + R_z @ y + b_z)
    i = sigm(W_i @ x + R_i @ y + p_i * c + b_i)
    f = 1 - i
    c = z * i + c * f
    o = sigm(W_o @ x + R_o @ y + p_o * c + b_o)
    return [np.tanh(c) * o, c]


def mgu(p, x, h):
    (W_f, W_h), (b_f, b_h) = (blocks(p, name, 2) for name in "Wb")
    joined_f, joined_h = np.hstack([p["U_f"].T, W_f]), np.hstack([p["U_h"].T, W_h])
    f = sigm(joined_f @ np.concatenate([h, x]) + b_f)
    n = np.tanh(joined_h @ np.concatenate([f * h, x]) + b_h)
    return [(1 - f) * h + f * n]


def ugrnn(p, x, h, *, activation=np.tanh):
    (W_cx, W_gx), (W_ch, W_gh), (b_c, b_g) = (blocks(p, name, 2) for name in "WUb")
    c = activation(W_ch @ h + W_cx @ x + b_c)
    g = sigm(W_gh @ h + W_gx @ x + b_g)
    return [g * h + (1 - g) * c]


def janet(p, x, c, *, beta=1.0):
    (W_f, W_c), (U_f, U_c), (b_f, b_c) = (blocks(p, name, 2) for name in "WUb")
    s = U_f @ c + W_f @ x + b_f
    new = np.tanh(U_c @ c + W_c @ x + b_c)
    return [sigm(s) * c + (1 - sigm(s - beta)) * new]


def irnn(p, x, h):
    return [np.maximum(0, p["W"].T @ x + p["U"].T @ h + p["b"])]


def scrn(p, x, y, *, alpha=0.95):
    context = p["P"].shape[0]
    h, s = y[:-context], y[-context:]
    s = (1 - alpha) * p["B"].T @ x + alpha * s
    h = sigm(p["P"].T @ s + p["A"].T @ x + p["R"].T @ h)
    return [np.concatenate([h, s])]


# The cell, its options, the paper's step, the width of the inputs.
CASES = {
    "mut1": ("mut1", {}, mut1, F),
    "mut1, inputs as wide as the state": ("mut1", {}, mut1, H),
    "mut2": ("mut2", {}, mut2, F),
    "mut2, inputs as wide as the state": ("mut2", {}, mut2, H),
    "mut3": ("mut3", {}, mut3, F),
    "peephole": ("peephole", {}, peephole, F),
    "peephole, tanh": ("peephole", {"output": "tanh"}, lambda *a: peephole(*a, output="tanh"), F),
    "cifg": ("cifg", {}, cifg, F),
    "cifg without peepholes": ("cifg", {"peephole": False}, lambda *a: cifg(*a, peephole=False), F),
    "mgu": ("mgu", {}, mgu, F),
    "ugrnn": ("ugrnn", {}, ugrnn, F),
    "ugrnn, relu": (
        "ugrnn",
        {"activation": "relu"},
        lambda *a: ugrnn(*a, activation=lambda u: np.maximum(0, u)),
        F,
    ),
    "janet": ("janet", {}, janet, F),
    "janet, beta 0.3": ("janet", {"beta": 0.3}, lambda *a: janet(*a, beta=0.3), F),
    "irnn": ("irnn", {}, irnn, F),
    "scrn": ("scrn", {"context": C}, scrn, F),
    "scrn, alpha 0.5": ("scrn", {"context": C, "alpha": 0.5}, lambda *a: scrn(*a, alpha=0.5), F),
}


def layer(name, options=None, inputs=F, **settings):
    return tr.RNN(name, inputs, H, dtype="float64", seed=1, cell_options=options, **settings)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("compiled", [True, False])
def test_the_formulas_of_the_paper(case, compiled):
    name, options, paper, inputs = CASES[case]
    rng = np.random.default_rng(0)
    rnn = layer(name, options, inputs, compile=compiled)
    for p in rnn.parameters():
        p.assign_(0.7 * rng.standard_normal(p.shape))
    p = {k: v.numpy() for k, v in rnn.cells[0].named_parameters()}
    xs, first = (
        rng.standard_normal((T, B, inputs)),
        [0.5 * rng.standard_normal(s.shape) for s in rnn.initial_state(B)[0]],
    )
    ys, final = rnn(tr.tensor(xs), [tuple(map(tr.tensor, first))])
    for b in range(B):
        states = [s[b] for s in first]
        for t in range(T):
            states = paper(p, xs[t, b], *states)
            np.testing.assert_allclose(ys.numpy()[t, b], states[0], rtol=1e-10, atol=1e-10)
        for ours, theirs in zip(final[0], states, strict=True):
            np.testing.assert_allclose(ours.numpy()[b], theirs, rtol=1e-10, atol=1e-10)


# ------------------------------------------------------------------ what every cell must do

test_cifg = cell_suite(classic.CIFG)
test_irnn = cell_suite(classic.IRNN)
test_janet = cell_suite(classic.JANET)
test_mgu = cell_suite(classic.MGU)
test_mut1 = cell_suite(classic.MUT1)
test_mut2 = cell_suite(classic.MUT2)
test_mut3 = cell_suite(classic.MUT3)
test_peephole = cell_suite(classic.PeepholeLSTM)
test_scrn = cell_suite(classic.SCRN)
test_ugrnn = cell_suite(classic.UGRNN)


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_is_registered_and_compiled(name):
    cell = plugins.get_cell(name)
    assert cell.__name__ in classic.__all__
    for inputs in (F, H):
        assert report_cell(cell(inputs, H)).reason is None


def test_no_cell_is_forgotten():
    ours = [name for name, entry in plugins.registered().items() if entry.package == "tinyrnn-classic"]
    assert ours == NAMES
    assert {plugins.get_cell(name).__name__ for name in NAMES} == set(classic.__all__)


# ------------------------------------------------------------------ options and initial values


def test_inputs_as_wide_as_the_state_are_added_as_they_are():
    for name in ("mut1", "mut2"):
        assert layer(name, inputs=H).cells[0].P is None
        assert layer(name).cells[0].P.shape == (F, H)


def test_a_squashed_peephole_lstm_is_the_lstm_of_tinyrnn():
    ours, theirs = layer("peephole", {"output": "tanh"}), layer("lstm", {"peephole": True})
    rng = np.random.default_rng(0)
    theirs.load_state_dict({k: rng.standard_normal(v.shape) for k, v in ours.state_dict().items()})
    ours.load_state_dict(theirs.state_dict())
    xs = tr.tensor(rng.standard_normal((T, B, F)))
    np.testing.assert_allclose(ours(xs)[0].numpy(), theirs(xs)[0].numpy(), rtol=1e-12)


def test_forget_biases():
    for name, block, count, sign in (("peephole", 1, 4, 1), ("cifg", 1, 3, -1), ("ugrnn", 1, 2, 1)):
        for options, value in (({}, 1.0), ({"forget_bias": 2.5}, 2.5)):
            biases = np.split(layer(name, options).cells[0].b.numpy(), count)
            np.testing.assert_array_equal(biases.pop(block), sign * value)
            assert not np.any(biases)


def test_janet_remembers_for_up_to_t_max_steps():
    b = tr.RNN("janet", F, 2000, seed=0, cell_options={"t_max": 50.0}).cells[0].b.numpy()
    times = np.exp(b[:2000])
    assert 1 <= times.min() < times.max() <= 49
    assert times.mean() == pytest.approx(25, abs=1)
    assert not b[2000:].any()
    with pytest.raises(tr.InputError, match="at least 2"):
        layer("janet", {"t_max": 1})


def test_irnn_starts_from_the_identity():
    for options, scale in (({}, 1.0), ({"scale": 0.01}, 0.01)):
        cell = tr.RNN("irnn", 200, 50, seed=0, cell_options=options).cells[0]
        np.testing.assert_allclose(cell.U.numpy(), scale * np.eye(50))
        assert cell.W.numpy().std() == pytest.approx(0.001, rel=0.05)
        assert not cell.b.numpy().any()


def test_scrn_gives_hidden_and_context_units():
    rnn = layer("scrn", {"context": C}, num_layers=2)
    assert rnn.output_size == rnn.cells[1].input_size == H + C
    ys, final = rnn(tr.tensor(np.ones((T, B, F))))
    assert ys.shape == (T, B, H + C)
    assert [s.shape for s in final[0]] == [(B, H + C)]
    for options in ({"context": 0}, {"alpha": 1.5}):
        with pytest.raises(tr.InputError, match="1 unit at least"):
            layer("scrn", options)


def test_the_context_of_scrn_is_an_average_of_its_inputs():
    rnn = layer("scrn", {"context": C, "alpha": 0.9})
    ys, _ = rnn(tr.tensor(np.ones((200, 1, F))))
    np.testing.assert_allclose(ys.numpy()[-1, 0, H:], rnn.cells[0].B.numpy().sum(0), rtol=1e-6)
