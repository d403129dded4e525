"""The cells against their papers, transcribed in NumPy, and through the checks that every cell must pass.

The transcriptions work on columns, one sequence at a time, as the papers write them: a matrix there is ours
    transposed.
"""

import numpy as np
import pytest
import tinyrnn_norm as norm

import tinyrnn as tr
from tinyrnn.compiler.report import report_cell
from tinyrnn.nn import registry as plugins
from tinyrnn.tools import check as testing

T, B, I, H = 6, 3, 5, 4
CELLS = {"rhn": norm.RHN, "mlstm": norm.MultiplicativeLSTM, "mogrifier": norm.MogrifierLSTM}


# ------------------------------------------------------------------ the papers


def sigma(z):
    return 0.5 + 0.5 * np.tanh(0.5 * z)


def blocks(parameter, names):
    """A parameter's gates by name: matrices that act on columns, or columns."""
    return dict(zip(names, np.split(parameter.numpy().T, len(names)), strict=True))


def lstm(f, i, o, g, c):
    """The memory and the output of an LSTM, unit by unit, from what enters its gates."""
    c = np.array([sigma(f[k]) * c[k] + sigma(i[k]) * np.tanh(g[k]) for k in range(H)])
    return c, lambda seen: sigma(o) * np.tanh(seen)


def rhn(p, x, s):
    """Zilly et al. 2017, equations 6 to 9."""
    W = blocks(p.W, "HT")
    for layer in range(1, len(p.R) + 1):
        R, b = blocks(p.R[layer - 1], "HT"), blocks(p.b[layer - 1], "HT")
        first = 1.0 if layer == 1 else 0.0
        h = np.tanh(W["H"] @ x * first + R["H"] @ s + b["H"])
        t = sigma(W["T"] @ x * first + R["T"] @ s + b["T"])
        carry = 1 - t
        s = h * t + s * carry
    return (s,)


def mlstm(p, x, h, c):
    """Krause et al. 2016: the recurrent matrix W_m W_mx W_mh of a product depends on x, through a diagonal
    one.
    """
    W_x, W_m, b = blocks(p.W_x, "muiof"), blocks(p.W_m, "uiof"), blocks(p.b, "uiof")
    entering = {
        g: W_x[g] @ x + (W_m[g] @ np.diag(W_x["m"] @ x) @ p.W_mh.numpy().T) @ h + b[g] for g in "fiou"
    }
    c, output = lstm(*entering.values(), c)
    return output(c), c


def mogrifier(p, x, h, c):
    """Melis, Kočiský & Blunsom 2020, equations 1 and 2, indexed as there."""
    xs, hs = {-1: x}, {0: h}
    for i in range(1, p.rounds + 1):
        if i % 2 == 1:
            xs[i] = 2 * sigma(p.Q[(i - 1) // 2].numpy().T @ hs[i - 1]) * xs[i - 2]
        else:
            hs[i] = 2 * sigma(p.R[i // 2 - 1].numpy().T @ xs[i - 1]) * hs[i - 2]
    x, h = xs[max(xs)], hs[max(hs)]
    W, U, b = (blocks(q, "fijo") for q in (p.W, p.U, p.b))
    c, output = lstm(*[W[g] @ x + U[g] @ h + b[g] for g in "fioj"], c)
    return output(c), c


@pytest.mark.parametrize(
    ("name", "paper", "options"),
    [
        *[("rhn", rhn, {"depth": depth}) for depth in (1, 2, 3, 5)],
        ("mlstm", mlstm, {}),
        *[("mogrifier", mogrifier, {"rounds": rounds}) for rounds in (0, 1, 2, 5, 6)],
    ],
)
def test_equations_of_the_paper(name, paper, options):
    rng = np.random.default_rng(7)
    rnn = tr.RNN(name, I, H, dtype="float64", cell_options=options)
    for p in rnn.parameters():
        p.assign_(0.6 * rng.standard_normal(p.shape))
    xs, first = (
        rng.standard_normal((T, B, I)),
        [0.5 * rng.standard_normal((B, H)) for _ in CELLS[name].states],
    )
    ys, (final,) = rnn(tr.tensor(xs), [tuple(map(tr.tensor, first))])
    for b in range(B):
        states = [s[b] for s in first]
        for t in range(T):
            states = paper(rnn.cells[0], xs[t, b], *states)
            np.testing.assert_allclose(ys.numpy()[t, b], states[0], rtol=1e-10, atol=1e-10)
        for ours, theirs in zip(final, states, strict=True):
            np.testing.assert_allclose(ours.numpy()[b], theirs, rtol=1e-10, atol=1e-10)


# ------------------------------------------------------------------ what every cell must do

test_rhn = testing.cell_suite(norm.RHN)
test_mlstm = testing.cell_suite(norm.MultiplicativeLSTM)
test_mogrifier = testing.cell_suite(norm.MogrifierLSTM)


@pytest.mark.parametrize(("name", "cell"), CELLS.items())
def test_registered_and_compiled(name, cell):
    assert plugins.get_cell(name) is cell
    assert report_cell(cell(I, H)).reason is None


# ------------------------------------------------------------------ options and initial values


def build(name, **options):
    return tr.RNN(name, I, H, seed=0, cell_options=options).cells[0]


@pytest.mark.parametrize("name", CELLS)
def test_options(name):
    expected = {
        "rhn": {"depth": 3, "transform_bias": -2.0},
        "mlstm": {"forget_bias": 1.0},
        "mogrifier": {"rounds": 5, "forget_bias": 1.0},
    }
    assert {o.name: o.default for o in plugins.options_of(CELLS[name]).values()} == expected[name]


@pytest.mark.parametrize(("name", "gates", "f"), [("mlstm", "uiof", "f"), ("mogrifier", "fijo", "f")])
@pytest.mark.parametrize("options", [{}, {"forget_bias": "0.5"}])
def test_forget_bias_is_that_of_the_forget_gate(name, gates, f, options):
    b = blocks(build(name, **options).b, gates)
    np.testing.assert_array_equal(b.pop(f), float(options.get("forget_bias", 1)))
    assert not np.any(list(b.values()))


def test_depth_and_transform_bias():
    cell = build("rhn", depth="4", transform_bias="-3")
    assert len(cell.R) == len(cell.b) == 4
    for b in cell.b:
        np.testing.assert_array_equal(b.numpy(), [0] * H + [-3] * H)


def test_rounds():
    assert [(len(c.Q), len(c.R)) for c in (build("mogrifier", rounds=r) for r in (0, 1, 2, 5))] == [
        (0, 0),
        (1, 0),
        (1, 1),
        (3, 2),
    ]


def test_mogrifier_of_zero_rounds_is_the_lstm():
    cell, lstm = build("mogrifier", rounds=0), build("lstm")
    for name, p in lstm.named_parameters():
        f, i, j, o = np.split(getattr(cell, name).numpy(), 4, axis=-1)
        p.assign_(np.concatenate([i, f, j, o], axis=-1))
    x, h, c = (
        tr.tensor(np.random.default_rng(k).standard_normal((B, n)), "float32")
        for k, n in enumerate((I, H, H))
    )
    for ours, theirs in zip(cell.step(x, h, c), lstm.step(x, h, c), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [("rhn", {"depth": 0}, "depth is 0"), ("mogrifier", {"rounds": -1}, "rounds is -1")],
)
def test_mistakes_get_a_sentence(name, options, said):
    with pytest.raises(tr.InputError, match=said):
        build(name, **options)
