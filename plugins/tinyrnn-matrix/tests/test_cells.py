"""Each cell against its paper's formulas, written for one sequence and column vectors (W x), beside a
transcription in PyTorch, for its gradients, and what every cell must do.
"""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from parity import parity_suite
from tinyrnn_matrix import MLSTM, DeltaNet, FastWeights, GatedDeltaNet, Selective

import tinyrnn as tr
from tinyrnn.compiler.report import report_cell
from tinyrnn.nn import registry
from tinyrnn.testing import cell_suite

CELLS = {
    "fastweights": FastWeights,
    "matrix-lstm": MLSTM,
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


# ------------------------------------------------------------------ in PyTorch: p are parameters


def fast_weights(decay=0.95, rate=0.5, steps=1):
    def step(p, x, h, A):
        torch = pytest.importorskip("torch")

        def normed(z):
            return torch.nn.functional.layer_norm(z, z.shape[1:], p["gain"], p["b"]).relu()

        A = decay * A + rate * torch.bmm(h.unsqueeze(2), h.unsqueeze(1))
        z = h @ p["W"] + x @ p["C"]
        g = normed(z)
        for _ in range(steps):
            g = normed(z + torch.bmm(A, g.unsqueeze(2)).squeeze(2))
        return g, A

    return step


def mlstm(heads=1):
    """Head by head, with the stabiliser of the paper's appendix."""

    def step(p, x, h, C, n, m):
        torch = pytest.importorskip("torch")
        d = C.shape[-1]
        q, k, v, o = (x @ p["W"] + p["b"]).chunk(4, 1)
        log_i = x @ p["w_i"] + p["b_i"]
        log_f = torch.nn.functional.logsigmoid(x @ p["w_f"] + p["b_f"])
        found = [], [], [], []
        for j in range(heads):
            q_j, k_j, v_j = (z[:, j * d : (j + 1) * d] for z in (q, k / d**0.5, v))
            m_j = torch.maximum(log_f[:, j] + m[:, j], log_i[:, j])
            i, f = (log_i[:, j] - m_j).exp()[:, None], (log_f[:, j] + m[:, j] - m_j).exp()[:, None]
            C_j = f[:, :, None] * C[:, j] + i[:, :, None] * torch.bmm(v_j.unsqueeze(2), k_j.unsqueeze(1))
            n_j = f * n[:, j] + i * k_j
            below = torch.maximum((n_j * q_j).sum(1).abs(), (-m_j).exp())
            read = torch.bmm(C_j, q_j.unsqueeze(2)).squeeze(2) / below[:, None]
            for values, value in zip(found, (read, C_j, n_j, m_j), strict=True):
                values.append(value)
        h, (C, n, m) = torch.cat(found[0], 1), (torch.stack(values, 1) for values in found[1:])
        return o.sigmoid() * h, C, n, m

    return step


def delta(heads=1, key=16, gated=False):
    def step(p, x, h, S):
        torch = pytest.importorskip("torch")
        functional, d = torch.nn.functional, S.shape[2]

        def unit(z):
            z = functional.silu(z)
            return z / (z.square().sum(1, keepdim=True) + 1e-6).sqrt()

        out, memories = [], []
        for j in range(heads):
            k, q = (unit(x @ W[:, key * j : key * (j + 1)]) for W in (p["W_k"], p["W_q"]))
            v = x @ p["W_v"][:, d * j : d * (j + 1)]
            beta = torch.sigmoid(x @ p["w_b"][:, j] + p["b_b"][j])[:, None, None]
            S_j = S[:, j]
            if gated:
                rate = p["a"][j].exp() * functional.softplus(x @ p["w_a"][:, j] + p["b_a"][j])
                S_j = (-rate).exp()[:, None, None] * S_j
            kk, vk = (torch.bmm(z.unsqueeze(2), k.unsqueeze(1)) for z in (k, v))
            S_j = torch.bmm(S_j, torch.eye(key, dtype=x.dtype) - beta * kk) + beta * vk
            out.append(torch.bmm(S_j, q.unsqueeze(2)).squeeze(2))
            memories.append(S_j)
        return torch.cat(out, 1), torch.stack(memories, 1)

    return step


def selective():
    def step(p, x, h, S):
        torch = pytest.importorskip("torch")
        u, delta = x @ p["W"], torch.nn.functional.softplus(x @ p["W_d"] + p["b_d"])
        B_t, C_t = (x @ p["W_BC"]).chunk(2, 1)
        A_bar = torch.exp(torch.einsum("bh,hn->bhn", delta, -p["log_A"].exp()))
        S = A_bar * S + torch.einsum("bh,bn->bhn", delta * u, B_t)
        return torch.einsum("bhn,bn->bh", S, C_t) + p["D"] * u, S

    return step


test_fast_weights_gradients = parity_suite(FastWeights, fast_weights())
test_fast_weights_steps_gradients = parity_suite(
    FastWeights, fast_weights(0.8, 0.3, 3), decay=0.8, rate=0.3, steps=3
)
test_mlstm_gradients = parity_suite(MLSTM, mlstm())
test_mlstm_heads_gradients = parity_suite(MLSTM, mlstm(2), heads=2)
test_delta_gradients = parity_suite(DeltaNet, delta())
test_delta_heads_gradients = parity_suite(DeltaNet, delta(3, 4), heads=3, key=4)
test_gated_delta_gradients = parity_suite(GatedDeltaNet, delta(gated=True))
test_gated_delta_heads_gradients = parity_suite(GatedDeltaNet, delta(2, 4, gated=True), heads=2, key=4)
test_selective_gradients = parity_suite(Selective, selective())
test_selective_size_gradients = parity_suite(Selective, selective(), size=3)


# ------------------------------------------------------------------ what every cell must do


@pytest.mark.parametrize(("name", "cell"), CELLS.items())
def test_registered_and_compiled(name, cell):
    assert registry.get_cell(name) is cell
    assert report_cell(cell(5, 4)).reason is None


def test_all_that_the_package_registers_is_tested():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    registered = project["project"]["entry-points"]["tinyrnn.cells"]
    assert registered == {name: f"tinyrnn_matrix:{cell.__name__}" for name, cell in CELLS.items()}


test_fastweights = cell_suite(FastWeights)
test_mlstm_suite = cell_suite(MLSTM)
test_deltanet = cell_suite(DeltaNet)
test_gateddeltanet = cell_suite(GatedDeltaNet)
test_selective_suite = cell_suite(Selective)
