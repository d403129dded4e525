"""The layer-normalised cells against their paper, transcribed in NumPy.

The transcriptions work on columns, one sequence at a time, as the paper writes them: a matrix there is ours
transposed.
"""

import numpy as np
import pytest

import tinyrnn as tr
from tinyrnn.compiler.report import report_cell
from tinyrnn.nn.cells.layer_norm import LayerNormGRU, LayerNormLSTM
from tinyrnn.tools import check as testing

T, B, I, H = 6, 3, 5, 4


def sigma(z):
    return 0.5 + 0.5 * np.tanh(0.5 * z)


def blocks(parameter, names):
    """A parameter's gates by name: matrices that act on columns, or columns."""
    return dict(zip(names, np.split(parameter.numpy().T, len(names)), strict=True))


def ln(z, alpha, beta=0.0):
    """Ba, Kiros & Hinton 2016, equations 15 and 16, with the epsilon of the authors' code."""
    D = len(z)
    mu = sum(z) / D
    return alpha / np.sqrt(sum((z - mu) ** 2) / D + 1e-5) * (z - mu) + beta


def lstm(f, i, o, g, c):
    """The memory and the output of an LSTM, unit by unit, from what enters its gates."""
    c = np.array([sigma(f[k]) * c[k] + sigma(i[k]) * np.tanh(g[k]) for k in range(H)])
    return c, lambda seen: sigma(o) * np.tanh(seen)


def ln_lstm(p, x, h, c):
    """Equations 20 to 22."""
    entering = (
        ln(p.W_h.numpy().T @ h, p.alpha_1.numpy()) + ln(p.W_x.numpy().T @ x, p.alpha_2.numpy()) + p.b.numpy()
    )
    c, output = lstm(*entering.reshape(4, H), c)
    return output(ln(c, p.alpha_3.numpy(), p.beta_3.numpy())), c


def ln_gru(p, x, h):
    """Equations 26 to 28."""
    W_x, W_h = blocks(p.W_x, "zrn"), blocks(p.W_h, "zrn")
    of_h, of_x = (np.concatenate([W["z"] @ v, W["r"] @ v]) for W, v in ((W_h, h), (W_x, x)))
    gates = ln(of_h, p.alpha_1.numpy(), p.b.numpy()) + ln(of_x, p.alpha_2.numpy())
    z, r = sigma(gates[:H]), sigma(gates[H:])
    of_x, of_h = (
        ln(v, a.numpy(), b.numpy())
        for v, a, b in ((W_x["n"] @ x, p.alpha_3, p.beta_3), (W_h["n"] @ h, p.alpha_4, p.beta_4))
    )
    candidate = np.tanh(of_x + r * of_h)
    return (h + z * (candidate - h),)


@pytest.mark.parametrize(("name", "paper"), [("ln-lstm", ln_lstm), ("ln-gru", ln_gru)])
def test_equations_of_the_paper(name, paper):
    rng = np.random.default_rng(7)
    rnn = tr.RNN(name, I, H, dtype="float64")
    for p in rnn.parameters():
        p.assign_(0.6 * rng.standard_normal(p.shape))
    xs = rng.standard_normal((T, B, I))
    first = [0.5 * rng.standard_normal((B, H)) for _ in rnn.cells[0].states]
    ys, (final,) = rnn(tr.tensor(xs), [tuple(map(tr.tensor, first))])
    for b in range(B):
        states = [s[b] for s in first]
        for t in range(T):
            states = paper(rnn.cells[0], xs[t, b], *states)
            np.testing.assert_allclose(ys.numpy()[t, b], states[0], rtol=1e-10, atol=1e-10)
        for ours, theirs in zip(final, states, strict=True):
            np.testing.assert_allclose(ours.numpy()[b], theirs, rtol=1e-10, atol=1e-10)


test_ln_lstm = testing.cell_suite(LayerNormLSTM)
test_ln_gru = testing.cell_suite(LayerNormGRU)


@pytest.mark.parametrize("cell", [LayerNormLSTM, LayerNormGRU])
def test_compiled(cell):
    assert report_cell(cell(I, H)).reason is None


@pytest.mark.parametrize("options", [{}, {"forget_bias": "0.5"}])
def test_forget_bias_is_that_of_the_forget_gate(options):
    b = blocks(tr.RNN("ln-lstm", I, H, seed=0, cell_options=options).cells[0].b, "fiog")
    np.testing.assert_array_equal(b.pop("f"), float(options.get("forget_bias", 1)))
    assert not np.any(list(b.values()))
