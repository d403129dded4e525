"""Each cell against its paper's formulas, written for one sequence and column vectors (W x), and what every
cell must do.
"""

import numpy as np
import pytest
from tinyrnn_matrix import MLSTM, DeltaNet, FastWeights, GatedDeltaNet, Selective

import tinyrnn as tr
from tinyrnn.compiler.report import report_cell
from tinyrnn.testing import cell_suite

CELLS = {
    "fastweights": FastWeights,
    "mlstm": MLSTM,
    "deltanet": DeltaNet,
    "gateddeltanet": GatedDeltaNet,
    "selective": Selective,
}
T, B, HIDDEN = 6, 3, 4


def sigma(a):
    return 1 / (1 + np.exp(-a))


def softplus(a):
    return np.log1p(np.exp(a))


def unit(a):
    return a / np.sqrt((a * a).sum() + 1e-6)


def silu(a):
    return a * sigma(a)


def run(cell, **options):
    """A layer with random parameters on random inputs: those inputs, the outputs, and its parameters."""
    rng = np.random.default_rng(7)
    rnn = tr.RNN(cell, 5, HIDDEN, dtype="float64", seed=1, cell_options=options)
    for p in rnn.parameters():
        p.assign_(rng.standard_normal(p.shape) / 2)
    xs = rng.standard_normal((T, B, 5))
    ys, _ = rnn(tr.tensor(xs))
    return xs, ys.numpy(), {name: p.numpy() for name, p in rnn.cells[0].named_parameters()}


def agree(xs, found, step):
    """``step(x, memory)`` is one of a single sequence: an output and the memory, None at first."""
    for b in range(B):
        memory = None
        for t in range(T):
            expected, memory = step(xs[t, b], memory)
            np.testing.assert_allclose(found[t, b], expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("options", [{}, {"steps": 3, "decay": 0.8, "rate": 0.3}])
def test_fast_weights(options):
    xs, ys, p = run(FastWeights, **options)
    decay, rate, steps = (options.get(k, v) for k, v in {"decay": 0.95, "rate": 0.5, "steps": 1}.items())

    def normed(z):
        z = (z - z.mean()) / np.sqrt(z.var() + 1e-5)
        return np.maximum(p["gain"] * z + p["b"], 0)

    def step(x, memory):
        A, h = memory or (np.zeros((HIDDEN, HIDDEN)), np.zeros(HIDDEN))
        A = decay * A + rate * np.outer(h, h)
        z = p["W"].T @ h + p["C"].T @ x
        g = normed(z)
        for _ in range(steps):
            g = normed(z + A @ g)
        return g, (A, g)

    agree(xs, ys, step)


@pytest.mark.parametrize("heads", [1, 2])
def test_mlstm(heads):
    """Without the stabiliser: equations 19 to 27 as they stand."""
    xs, ys, p = run(MLSTM, heads=heads)
    d = HIDDEN // heads

    def step(x, memory):
        C, n = memory or (np.zeros((heads, d, d)), np.zeros((heads, d)))
        C, n, out = C.copy(), n.copy(), []
        q, k, v, o = (W.T @ x + b for W, b in zip(np.split(p["W"], 4, 1), np.split(p["b"], 4), strict=True))
        for j in range(heads):
            part = slice(j * d, (j + 1) * d)
            i = np.exp(p["w_i"][:, j] @ x + p["b_i"][j])
            f = sigma(p["w_f"][:, j] @ x + p["b_f"][j])
            C[j] = f * C[j] + i * np.outer(v[part], k[part] / np.sqrt(d))
            n[j] = f * n[j] + i * k[part] / np.sqrt(d)
            out.append(C[j] @ q[part] / max(abs(n[j] @ q[part]), 1))
        return sigma(o) * np.concatenate(out), (C, n)

    agree(xs, ys, step)


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("cell", [DeltaNet, GatedDeltaNet])
def test_delta_networks(cell, heads):
    xs, ys, p = run(cell, heads=heads, key=3)
    d = HIDDEN // heads

    def step(x, S):
        S = np.zeros((heads, d, 3)) if S is None else S.copy()
        out = []
        for j in range(heads):
            keys, values = slice(3 * j, 3 * j + 3), slice(d * j, d * j + d)
            k, q = (unit(silu(W[:, keys].T @ x)) for W in (p["W_k"], p["W_q"]))
            v, beta = p["W_v"][:, values].T @ x, sigma(p["w_b"][:, j] @ x + p["b_b"][j])
            alpha = 1.0
            if cell is GatedDeltaNet:
                alpha = np.exp(-np.exp(p["a"][j]) * softplus(p["w_a"][:, j] @ x + p["b_a"][j]))
            S[j] = alpha * S[j] @ (np.eye(3) - beta * np.outer(k, k)) + beta * np.outer(v, k)
            out.append(S[j] @ q)
        return np.concatenate(out), S

    agree(xs, ys, step)


def test_selective():
    xs, ys, p = run(Selective, size=3)

    def step(x, S):
        S = np.zeros((HIDDEN, 3)) if S is None else S.copy()
        u, delta = p["W"].T @ x, softplus(p["W_d"].T @ x + p["b_d"])
        B_t, C_t = np.split(p["W_BC"].T @ x, 2)
        y = np.zeros(HIDDEN)
        for i in range(HIDDEN):
            S[i] = np.exp(delta[i] * -np.exp(p["log_A"][i])) * S[i] + delta[i] * u[i] * B_t
            y[i] = S[i] @ C_t + p["D"][i] * u[i]
        return y, S

    agree(xs, ys, step)
    net = tr.RNN(Selective, 5, 64, seed=0).cells[0]
    first = softplus(net.b_d.numpy())
    assert 0.00099 < first.min() < 0.003 and 0.03 < first.max() < 0.1001


def test_what_cannot_be_dealt_to_heads_is_refused():
    for cell in (MLSTM, DeltaNet, GatedDeltaNet):
        with pytest.raises(tr.InputError, match="hidden 4 is no multiple of heads=3"):
            cell(5, 4, heads=3)


@pytest.mark.parametrize("name", CELLS)
def test_they_are_compiled(name):
    assert report_cell(CELLS[name](5, 4)).reason is None


test_fastweights = cell_suite(FastWeights)
test_mlstm_suite = cell_suite(MLSTM)
test_deltanet = cell_suite(DeltaNet)
test_gateddeltanet = cell_suite(GatedDeltaNet)
test_selective_suite = cell_suite(Selective)
