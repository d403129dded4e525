"""Published cells (`tests/published.py`; others are in `plugins/`) beside independent transcriptions in
PyTorch: values and gradients, eager and compiled; and which of them are compiled.

The transcriptions follow the papers' letters; they take p, the parameters by name, x and the states.
"""

import math
import re
from typing import Any

import numpy as np
import published
import pytest
from parity import FORMS, parity_suite

from tinyrnn.compiler import CompileWarning
from tinyrnn.compiler.report import report_cell

torch: Any = pytest.importorskip("torch")
F = torch.nn.functional

ROWS = "has no compiled form: a step must work on [batch, features]"

# Those that run eagerly, and why.
EAGER = {
    "OnLSTM": "the op cumsum has no compiled form",
    "StatisticalRU": f"reshape to [1, batch, 1, features] {ROWS}",
}


def blocks(parameter, count):
    return parameter.chunk(count, dim=-1)


def lstm(a, c):
    """PyTorch's order: i, f, g, o."""
    i, f, g, o = a.chunk(4, dim=1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


# ------------------------------------------------------------------ gates


def brc(p, x, h):
    U, U_a, U_c = blocks(p["U"], 3)
    a = 1 + torch.tanh(x @ U_a + h @ torch.diag(p["w_a"]))
    c = torch.sigmoid(x @ U_c + h @ torch.diag(p["w_c"]))
    return c * h + (1 - c) * torch.tanh(x @ U + a * h)


def nbrc(p, x, h):
    (U, U_a, U_c), (W_a, W_c) = blocks(p["U"], 3), blocks(p["W"], 2)
    a, c = 1 + torch.tanh(x @ U_a + h @ W_a), torch.sigmoid(x @ U_c + h @ W_c)
    return c * h + (1 - c) * torch.tanh(x @ U + a * h)


def ran(p, x, h, c):
    (W_ih, W_fh), (W_ix, W_fx), (b_i, b_f) = blocks(p["W_h"], 2), blocks(p["W_x"], 2), blocks(p["b"], 2)
    i = torch.sigmoid(h @ W_ih + x @ W_ix + b_i)
    f = torch.sigmoid(h @ W_fh + x @ W_fx + b_f)
    c = i * (x @ p["W_cx"]) + f * c
    return torch.tanh(c), c


def cfn(p, x, h):
    (U_t, U_e), (V_t, V_e), (b_t, b_e) = blocks(p["U"], 2), blocks(p["V"], 2), blocks(p["b"], 2)
    theta, eta = torch.sigmoid(h @ U_t + x @ V_t + b_t), torch.sigmoid(h @ U_e + x @ V_e + b_e)
    return theta * torch.tanh(h) + eta * torch.tanh(x @ p["W"])


def star(p, x, h):
    W_z, W_k = blocks(p["W_x"], 2)
    k = torch.sigmoid(x @ W_k + h @ p["W_h"] + p["b_k"])
    return torch.tanh((1 - k) * h + k * torch.tanh(x @ W_z + p["b_z"]))


def fastgrnn(p, x, h):
    z = torch.sigmoid(x @ p["W"] + h @ p["U"] + p["b_z"])
    candidate = torch.tanh(x @ p["W"] + h @ p["U"] + p["b_h"])
    return (p["zeta"].sigmoid() * (1 - z) + p["nu"].sigmoid()) * candidate + z * h


def fastrnn(p, x, h):
    candidate = torch.tanh(torch.cat([x, h], 1) @ torch.cat([p["W"], p["U"]]) + p["b"])
    return p["alpha"].sigmoid() * candidate + p["beta"].sigmoid() * h


def ligru(p, x, h):
    (W_z, W_h), (U_z, U_h), (b_z, b_h) = (blocks(p[n], 2) for n in "WUb")
    z = torch.sigmoid(x @ W_z + h @ U_z + b_z)
    return z * h + (1 - z) * torch.relu(x @ W_h + h @ U_h + b_h)


def atr(p, x, h):
    q, k = h @ p["U"], x @ p["W"]
    i, f = torch.sigmoid(k + q), torch.sigmoid(k - q)
    return i * k + f * h


def cudnn_gru(p, x, h):
    """PyTorch's own cell."""
    return torch.func.functional_call(
        torch.nn.GRUCell(x.shape[1], h.shape[1], dtype=torch.float64),
        {"weight_ih": p["W"].T, "weight_hh": p["U"].T, "bias_ih": p["b"], "bias_hh": p["b_h"]},
        (x, h),
    )


def minimal_rnn(p, x, h):
    U_h, U_z = blocks(p["U"], 2)
    z = torch.tanh(x @ p["W_x"] + p["b_x"])
    u = torch.sigmoid(h @ U_h + z @ U_z + p["b"])
    return u * h + (1 - u) * z


def nas(p, x, h, c):
    """As the tree of TensorFlow's contrib: four pairs, two pairs, the memory, one."""
    m, i = (h @ p["U"]).chunk(8, 1), (x @ p["W"]).chunk(8, 1)
    first = [
        torch.sigmoid,
        torch.relu,
        torch.sigmoid,
        None,
        torch.tanh,
        torch.sigmoid,
        torch.tanh,
        torch.sigmoid,
    ]
    layer = [torch.relu(a * b) if f is None else f(a + b) for f, a, b in zip(first, i, m, strict=True)]
    left, right = torch.tanh(layer[0] * layer[1]), torch.tanh(layer[2] + layer[3])
    third, fourth = torch.tanh(layer[4] * layer[5]), torch.sigmoid(layer[6] + layer[7])
    c = torch.tanh(left + c) * right
    return torch.tanh(c * torch.tanh(third + fourth)), c


def on_lstm(p, x, h, c):
    a = x @ p["W"] + h @ p["U"] + p["b"]
    f, i, o, g, master_f, master_i = a.chunk(6, 1)
    f, i, o, g = f.sigmoid(), i.sigmoid(), o.sigmoid(), g.tanh()
    master_f = master_f.softmax(1).cumsum(1)
    master_i = 1 - master_i.softmax(1).cumsum(1)
    omega = master_f * master_i
    c = (f * omega + master_f - omega) * c + (i * omega + master_i - omega) * g
    return o * c.tanh(), c


# ------------------------------------------------------------------ time


def phased_lstm(p, x, h, c):
    x, t = x[:, :-1], x[:, -1:]
    tau, r = p["tau"].abs() + 0.5, p["r_on"].sigmoid()
    phi = ((t - p["s"]) / tau) - torch.floor((t - p["s"]) / tau).detach()
    k = torch.where(phi < 0.5 * r, 2 * phi / r, torch.where(phi < r, 2 - 2 * phi / r, 0.001 * phi))
    h_new, c_new = lstm(x @ p["W"] + h @ p["U"] + p["b"], c)
    return k * h_new + (1 - k) * h, k * c_new + (1 - k) * c


def clockwork(p, x, h):
    """Module by module: one whose period divides the step sees those that are as slow or slower."""
    x, t = x[:, :-1], x[:, -1:]
    n, new = h.shape[1] // 3, []
    for k in range(3):
        own, seen = slice(k * n, (k + 1) * n), slice(k * n, None)
        a = torch.tanh(h[:, seen] @ p["U"][seen, own] + x @ p["W"][:, own] + p["b"][own])
        new.append(torch.where(torch.remainder(t, 2.0**k) == 0, a, h[:, own]))
    return torch.cat(new, 1)


def gru_d(p, x, h, last):
    x, m, delta = x.chunk(3, 1)
    m = (m > 0).double()
    gamma_x = torch.exp(-torch.relu(p["w_x"] * delta + p["b_x"]))
    gamma_h = torch.exp(-torch.relu(delta @ p["W_h"] + p["b_h"]))
    last = torch.where(m > 0, x, last)
    x = torch.where(m > 0, x, gamma_x * last + (1 - gamma_x) * p["mean"])
    h = gamma_h * h
    (W_z, W_r, W), (U_z, U_r, U), (V_z, V_r, V), (b_z, b_r, b) = (blocks(p[n], 3) for n in "WUVb")
    z = torch.sigmoid(x @ W_z + h @ U_z + m @ V_z + b_z)
    r = torch.sigmoid(x @ W_r + h @ U_r + m @ V_r + b_r)
    candidate = torch.tanh(x @ W + (r * h) @ U + m @ V + b)
    return (1 - z) * h + z * candidate, last


def time_lstm(p, x, h, c):
    x, elapsed = x[:, :-1], x[:, -1:].abs()
    short = torch.tanh(c @ p["W_d"] + p["b_d"])
    adjusted = (c - short) + short / torch.log(math.e + elapsed)
    return lstm(x @ p["W"] + h @ p["U"] + p["b"], adjusted)


def gru_decay(p, x, h):
    x, elapsed = x[:, :-1], x[:, -1:] ** 2
    h = h * torch.exp(-F.softplus(p["decay"]) * elapsed)
    given = {
        "weight_ih": p["W"].T,
        "weight_hh": p["U"].T,
        "bias_ih": p["b"],
        "bias_hh": torch.zeros_like(p["b"]),
    }
    return torch.func.functional_call(
        torch.nn.GRUCell(x.shape[1], h.shape[1], dtype=torch.float64), given, (x, h)
    )


def ltc(p, x, h):
    for _ in range(3):
        f = torch.sigmoid(x @ p["W"] + h @ p["U"] + p["b"])
        dt = 1 / 3
        h = (h + dt * f * p["A"]) / (1 + dt * (1 / p["tau"].abs() + f))
    return h


def cfc(p, x, h):
    x, t = x[:, :-1], x[:, -1:]
    hidden = 1.7159 * torch.tanh(0.666 * (torch.cat([x, h], 1) @ p["W_1"] + p["b_1"]))
    (W_g, W_k, W_a, W_b), (b_g, b_k, b_a, b_b) = blocks(p["W_2"], 4), blocks(p["b_2"], 4)
    gate = torch.sigmoid((hidden @ W_a + b_a) * t + (hidden @ W_b + b_b))
    return torch.tanh(hidden @ W_g + b_g) * (1 - gate) + gate * torch.tanh(hidden @ W_k + b_k)


def hippo(p, x, h, c):
    A, B = torch.zeros(4, 4).double(), torch.zeros(4).double()
    for n in range(4):
        B[n] = math.sqrt(2 * n + 1)
        for k in range(n + 1):
            A[n, k] = math.sqrt((2 * n + 1) * (2 * k + 1)) if n > k else n + 1
    x, t = x[:, :-1], 1 + x[:, -1:].abs()
    (W_g, W_n), (U_g, U_n), (b_g, b_n), (C_g, C_n) = (blocks(p[n], 2) for n in ("W", "U", "b", "C"))
    g = torch.sigmoid(x @ W_g + h @ U_g + c @ C_g + b_g)
    h = (1 - g) * h + g * torch.tanh(x @ W_n + h @ U_n + c @ C_n + b_n)
    f = h @ p["F"]
    c = torch.einsum("bnk,bk->bn", torch.eye(4).double() - A / t[:, :, None], c) + B / t * f
    return h, c


# ------------------------------------------------------------------ linear, complex, orthogonal


def lru(p, x, y, re, im):
    """In complex numbers."""
    s = torch.complex(re, im)
    turn = torch.exp(torch.complex(-torch.exp(p["nu"]), torch.exp(p["theta"])))
    gamma = torch.sqrt(1 - turn.abs() ** 2)
    s = turn * s + gamma * (x.to(s.dtype) @ torch.complex(p["B_re"], p["B_im"]))
    y = (s @ torch.complex(p["C_re"], p["C_im"])).real + x @ p["D"]
    return y, s.real, s.imag


def exp_rnn(p, x, h):
    n = h.shape[1]
    A = np.random.default_rng(0).standard_normal((n, n))
    z = x @ p["T"] + h @ torch.tensor(np.linalg.qr(A - A.T)[0])
    return torch.sgn(z) * F.relu(z.abs() + p["b"])


def urnn(p, x, re, im):
    """In complex numbers: a reflection I - 2 v v* / |v|^2 between two diagonals of phases."""
    h = torch.complex(re, im) * torch.exp(1j * p["d_1"])
    v = torch.complex(p["v_re"], p["v_im"])
    h = h - 2 * (h @ v.conj())[:, None] * v / (v.abs() ** 2).sum()
    h = h * torch.exp(1j * p["d_2"]) + torch.complex(x @ p["V_re"], x @ p["V_im"])
    size = h.abs()
    h = h * (torch.relu(size + p["b"]) / (size + 1e-5))
    return h.real, h.imag


def eunn(p, x, h):
    """By the whole matrix of rotations."""
    n = h.shape[1]
    R = torch.zeros(n, n).double()
    for k in range(n // 2):
        c, s = torch.cos(p["angle"][k]), torch.sin(p["angle"][k])
        for (i, j), value in {(0, 0): c, (0, 1): s, (1, 0): -s, (1, 1): c}.items():
            R = R.index_put((torch.tensor(2 * k + i), torch.tensor(2 * k + j)), value)
    return torch.tanh(h @ R + x @ p["W"] + p["b"])


def retention(p, x, o, S):
    n = o.shape[1]
    q, k, v = x @ p["W_q"], x @ p["W_k"], x @ p["W_v"]
    S = 0.9 * S.view(-1, 3, n) + k[:, :, None] * v[:, None, :]
    return (q[:, None, :] @ S)[:, 0], S.reshape(-1, 3 * n)


def s6(p, x, y, s):
    """Channel by channel."""
    n = y.shape[1]
    u, delta = x @ p["W_u"], F.softplus(x @ p["W_d"] + p["b_d"])
    B, C = x @ p["W_B"], x @ p["W_C"]
    ys, states = [], []
    for k in range(n):
        old = s[:, 2 * k : 2 * k + 2]
        new = torch.exp(-delta[:, k : k + 1] * torch.exp(p["A"][k])) * old
        new = new + delta[:, k : k + 1] * u[:, k : k + 1] * B
        states.append(new)
        ys.append((new * C).sum(1, keepdim=True))
    return torch.cat(ys, 1), torch.cat(states, 1)


def shuffling_rnn(p, x, h):
    (W, W_g), (b, b_g) = blocks(p["W"], 2), blocks(p["b"], 2)
    permuted = h[:, [h.shape[1] - 1, *range(h.shape[1] - 1)]]
    return torch.relu(permuted + (x @ W + b) * torch.sigmoid(x @ W_g + b_g))


# ------------------------------------------------------------------ several parts


def hyper_lstm(p, x, h, c, h2, c2):
    h2, c2 = lstm(torch.cat([x, h], 1) @ p["W2"] + h2 @ p["U2"] + p["b2"], c2)
    (Z_x, Z_h), (b_x, b_h) = blocks(p["Z"], 2), blocks(p["Z_b"], 2)
    d_x, d_h = (h2 @ Z_x + b_x) @ p["D_x"], (h2 @ Z_h + b_h) @ p["D_h"]
    return *lstm(d_x * (x @ p["W"]) + d_h * (h @ p["U"]) + p["b"], c), h2, c2


def head_norm(p, x, h):
    a = F.group_norm(x @ p["W"] + h @ p["U"], 2, eps=1e-5)
    return torch.tanh(a + p["b"])


def mi_rnn(p, x, h):
    Wx, Uz = x @ p["W"], h @ p["U"]
    return torch.tanh(p["alpha"] * Wx * Uz + p["beta_1"] * Uz + p["beta_2"] * Wx + p["b"])


def hornn(p, x, h, older):
    both = torch.cat([x, h, older], 1) @ torch.cat([p["W"], p["U"], p["U_2"]])
    return torch.tanh(both + p["b"]), h


def stack_rnn(p, x, h, stack):
    h = torch.sigmoid(x @ p["W"] + h @ p["U"] + stack[:, :2] @ p["P"] + p["b"])
    push, pop = torch.softmax(h @ p["A"], 1).unbind(1)
    rows = []
    for k in range(4):
        above = torch.sigmoid(h @ p["D"])[:, 0] if k == 0 else stack[:, k - 1]
        below = stack[:, k + 1] if k < 3 else torch.zeros_like(push)
        rows.append(push * above + pop * below)
    return h, torch.stack(rows, 1)


def statistical_ru(p, x, o, mu):
    r = torch.relu(mu @ p["W_r"] + p["b_r"])
    phi = torch.relu(r @ p["W_p"] + x @ p["W_x"] + p["b_p"])
    mu = torch.cat(
        [a * old + (1 - a) * phi for a, old in zip((0.0, 0.5, 0.9), mu.chunk(3, 1), strict=True)], 1
    )
    return torch.relu(mu @ p["W_o"] + p["b_o"]), mu


def act(p, x, h):
    left, total = torch.ones(len(x), 1).double(), torch.zeros_like(h)
    for k in range(3):
        h = torch.tanh(x @ p["W"] + h @ p["U"] + p["b"])
        halt = torch.sigmoid(h @ p["w_h"] + p["b_h"])
        share = left if k == 2 else torch.where(halt < left, halt, left)
        total, left = total + share * h, left - share
    return total


class Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx, W):
        return torch.clamp(2 * W, -1, 1).round()

    @staticmethod
    def backward(ctx, g):
        return g


def ternary_rnn(p, x, h):
    return torch.tanh(x @ Straight.apply(p["W"]) + h @ Straight.apply(p["U"]) + p["b"])


def weight_norm(p, x, h):
    U = F.normalize(p["U"], dim=0, eps=0.0) * p["g"]
    return torch.tanh(x @ p["W"] + h @ U + p["b"])


def block_diagonal(p, x, h):
    return torch.tanh(x @ p["W"] + h @ torch.block_diag(*[p[f"U.{k}"] for k in range(3)]) + p["b"])


def irnn_equilibrium(p, x, h):
    g = torch.zeros_like(h)
    for k in range(2):
        g = g + p[f"eta.{k}"] * (torch.tanh((g + h) @ p["U"] + x @ p["W"] + p["b"]) - 0.5 * (g + h))
    return g


def delta_rnn(p, x, h):
    data, recurrent = x @ p["W"], h @ p["V"]
    both = p["alpha"] * recurrent * data + p["beta_1"] * recurrent + p["beta_2"] * data
    r = torch.sigmoid(data + p["b_r"])
    return torch.tanh((1 - r) * torch.tanh(both + p["b"]) + r * h)


def kru(p, x, h):
    return torch.tanh(h @ torch.kron(p["A"], p["B"]) + x @ p["W"] + p["b"])


class Fast(torch.autograd.Function):
    @staticmethod
    def forward(ctx, v):
        ctx.save_for_backward(v)
        return (v > 0).double()

    @staticmethod
    def backward(ctx, g):
        return g / (1 + 10 * ctx.saved_tensors[0].abs()) ** 2


def superspike(p, x, z, V, I):
    I = 0.8 * I + x @ p["W"] + z @ p["U"]
    V = (1 - z) * (0.9 * V + I)
    return Fast.apply(V - 1), V, I


CELLS = {
    "BRC": brc,
    "NBRC": nbrc,
    "RAN": ran,
    "CFN": cfn,
    "STAR": star,
    "FastGRNN": fastgrnn,
    "FastRNN": fastrnn,
    "LiGRU": ligru,
    "ATR": atr,
    "CuDNNGRU": cudnn_gru,
    "MinimalRNN": minimal_rnn,
    "NAS": nas,
    "OnLSTM": on_lstm,
    "PhasedLSTM": phased_lstm,
    "Clockwork": clockwork,
    "GRUD": gru_d,
    "TimeLSTM": time_lstm,
    "GRUDecay": gru_decay,
    "LTC": ltc,
    "CfC": cfc,
    "HiPPO": hippo,
    "LRU": lru,
    "ExpRNN": exp_rnn,
    "URNN": urnn,
    "EUNN": eunn,
    "Retention": retention,
    "S6": s6,
    "ShufflingRNN": shuffling_rnn,
    "HyperLSTM": hyper_lstm,
    "HeadNorm": head_norm,
    "MIRNN": mi_rnn,
    "HORNN": hornn,
    "StackRNN": stack_rnn,
    "StatisticalRU": statistical_ru,
    "ACT": act,
    "TernaryRNN": ternary_rnn,
    "WeightNorm": weight_norm,
    "BlockDiagonal": block_diagonal,
    "IRNNEquilibrium": irnn_equilibrium,
    "DeltaRNN": delta_rnn,
    "KRU": kru,
    "SuperSpike": superspike,
}


@pytest.mark.parity
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", CELLS)
def test_beside_pytorch(name, form):
    cell = getattr(published, name)
    how = dict(inputs=6, counted=name == "Clockwork", compiled=name not in EAGER)
    parity_suite(cell, CELLS[name], **how)(form)


@pytest.mark.parity
@pytest.mark.parametrize("form", FORMS)
def test_what_differs_is_found(form):
    """Other values, other gradients, a step that runs eagerly."""
    other_values = lambda p, x, h, older: (hornn(p, x, h, 1.001 * older)[0], h)  # noqa: E731
    other_gradients = lambda p, x, h, older: (hornn(p, x, h, older.detach())[0], h)  # noqa: E731
    for step in (other_values, other_gradients):
        with pytest.raises(AssertionError):
            parity_suite(published.HORNN, step)(form)
    with pytest.raises(CompileWarning):
        parity_suite(published.OnLSTM, CELLS["OnLSTM"])(form)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.xfail(reason=EAGER[name], strict=True))
        if name in EAGER
        else name
        for name in CELLS
    ],
)
def test_is_compiled(name):
    assert report_cell(getattr(published, name)(6, 6)).reason is None


@pytest.mark.parametrize("name", EAGER)
def test_why_it_is_not(name):
    reason = report_cell(getattr(published, name)(6, 6)).reason
    assert reason.startswith(EAGER[name]) and re.search(r"`, published.py:\d+\)$", reason), reason


def test_every_published_cell_is_here():
    found = {n for n, c in vars(published).items() if isinstance(c, type) and c.__module__ == "published"}
    assert found == CELLS.keys()
