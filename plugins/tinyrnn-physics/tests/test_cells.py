"""Every cell beside an independent transcription of its paper in PyTorch, and through the checks of
`tinyrnn.testing`.
"""

import numpy as np
import pytest
import tinyrnn_physics as physics
from parity import parity_suite
from tinyrnn_physics.legendre import delay

import tinyrnn as tr
from tinyrnn.compiler.report import report_cell
from tinyrnn.nn import registry
from tinyrnn.testing import cell_suite

CELLS = {
    "cornn": physics.CoRNN,
    "unicornn": physics.UnICORNN,
    "lem": physics.LEM,
    "antisymmetric": physics.AntisymmetricRNN,
    "lipschitz": physics.LipschitzRNN,
    "lmu": physics.LMU,
    "ode-rnn": physics.ODERNN,
}

# ------------------------------------------------------------------ the papers, in PyTorch: p are parameters


def blocks(parameter, count):
    return parameter.chunk(count, dim=-1)


def cornn(dt=0.5, gamma=1.0, epsilon=1.0):
    def step(p, u, y, z):
        torch = pytest.importorskip("torch")
        W = torch.cat([p["W"], p["W_z"]])  # of the concatenation, as the authors' code has it
        acceleration = torch.tanh(torch.cat([y, z], 1) @ W + u @ p["V"] + p["b"]) - gamma * y - epsilon * z
        z_new = z + dt * acceleration
        return y + dt * z_new, z_new

    return step


def unicornn(dt=1.0, alpha=0.5):
    def step(p, u, y, z):
        control = dt * (0.5 + 0.5 * (p["c"] / 2).tanh())  # the paper's sigma hat
        z_new = z - control * ((p["w"] * y + (u @ p["V"] + p["b"])).tanh() + alpha * y)
        return y + control * z_new, z_new

    return step


def lem(dt=1.0):
    def step(p, u, y, z):
        (W_1, W_2, W_z), (V_1, V_2, V_z, V_y) = blocks(p["W"], 3), blocks(p["V"], 4)
        b_1, b_2, b_z, b_y = blocks(p["b"], 4)
        slow = dt * (y @ W_1 + u @ V_1 + b_1).sigmoid()
        fast = dt * (y @ W_2 + u @ V_2 + b_2).sigmoid()
        z_new = z - slow * z + slow * (y @ W_z + u @ V_z + b_z).tanh()
        return y - fast * y + fast * (z_new @ p["W_y"] + u @ V_y + b_y).tanh(), z_new

    return step


def antisymmetric(gated=False, epsilon=0.3, gamma=0.5):
    def step(p, x, h):
        torch = pytest.importorskip("torch")
        n = h.shape[1]
        # paper: columns, (W_h - W_h^T - gamma I) h with W_h = W^T, so the transposed matrix is W - W^T
        A = p["W"] - p["W"].T - gamma * torch.eye(n, dtype=torch.float64)
        if not gated:
            return h + epsilon * torch.tanh(h @ A + x @ p["V"] + p["b"])
        (V_h, V_z), (b_h, b_z) = blocks(p["V"], 2), blocks(p["b"], 2)
        z = torch.sigmoid(h @ A + x @ V_z + b_z)
        return h + epsilon * z * torch.tanh(h @ A + x @ V_h + b_h)

    return step


def lipschitz(epsilon=0.3, beta=0.75, gamma=0.001):
    def step(p, x, h):
        torch = pytest.importorskip("torch")
        unit = torch.eye(h.shape[1], dtype=torch.float64)
        A, W = (
            (1 - beta) * (M + M.T) + beta * (M - M.T) - gamma * unit
            for M in (p["M_A"].T, p["M_W"].T)  # the paper's matrices act on columns
        )
        column = h.T
        slope = A @ column + torch.tanh(W @ column + p["U"].T @ x.T + p["b"][:, None])
        return (column + epsilon * slope).T

    return step


def lmu(order=16, theta=50.0):
    def step(p, x, h, m):
        torch = pytest.importorskip("torch")
        A, B = torch.empty(order, order, dtype=torch.float64), torch.empty(order, 1, dtype=torch.float64)
        for i in range(order):
            B[i] = (2 * i + 1) * (-1) ** i
            for j in range(order):
                A[i, j] = (2 * i + 1) * (-1 if i < j else (-1) ** (i - j + 1))
        A_bar = torch.linalg.matrix_exp(A / theta)
        B_bar = torch.linalg.solve(A, (A_bar - torch.eye(order, dtype=torch.float64)) @ B)
        u = x @ p["e_x"] + h @ p["e_h"] + m @ p["e_m"]
        m = (A_bar @ m.T + B_bar @ u.T).T
        return torch.tanh(x @ p["W_x"] + h @ p["W_h"] + m @ p["W_m"]), m

    return step


def ode_rnn(substeps=1, time=0.2):
    """The Runge-Kutta scheme by its tableau."""

    def step(p, x, h):
        def f(h):
            return (h @ p["F_1"] + p["c_1"]).tanh() @ p["F_2"] + p["c_2"]

        size = time / substeps
        for _ in range(substeps):
            slopes = []
            for node in (0.0, 0.5, 0.5, 1.0):
                slopes.append(f(h + size * node * slopes[-1] if slopes else h))
            h = h + size * sum(w * k for w, k in zip((1 / 6, 1 / 3, 1 / 3, 1 / 6), slopes, strict=True))
        (W_r, W_z, W_n), (b_r, b_z, b_n) = blocks(p["W"], 3), blocks(p["b"], 3)
        U_r, U_z = blocks(p["U"], 2)
        r, z = (x @ W_r + b_r + h @ U_r).sigmoid(), (x @ W_z + b_z + h @ U_z).sigmoid()
        return z * h + (1 - z) * (x @ W_n + b_n + (r * h) @ p["U_n"]).tanh()

    return step


def beside(cell, paper, **options):
    return parity_suite(cell, paper(**options), **options)


test_cornn_paper = beside(physics.CoRNN, cornn)
test_cornn_options_paper = beside(physics.CoRNN, cornn, dt=0.1, gamma=2.7, epsilon=4.7)
test_unicornn_paper = beside(physics.UnICORNN, unicornn)
test_unicornn_options_paper = beside(physics.UnICORNN, unicornn, dt=0.2, alpha=3.0)
test_lem_paper = beside(physics.LEM, lem, dt=0.7)
test_antisymmetric_paper = beside(physics.AntisymmetricRNN, antisymmetric)
test_antisymmetric_gated_paper = beside(physics.AntisymmetricRNN, antisymmetric, gated=True, gamma=0.1)
test_lipschitz_paper = beside(physics.LipschitzRNN, lipschitz)
test_lipschitz_options_paper = beside(physics.LipschitzRNN, lipschitz, epsilon=0.1, beta=0.6, gamma=0.4)
test_lmu_paper = beside(physics.LMU, lmu)
test_lmu_short_paper = beside(physics.LMU, lmu, order=5, theta=4.0)
test_ode_rnn_paper = beside(physics.ODERNN, ode_rnn)
test_ode_rnn_substeps_paper = beside(physics.ODERNN, ode_rnn, substeps=3, time=0.6)

# ------------------------------------------------------------------ what every cell must do

test_cornn = cell_suite(physics.CoRNN)
test_unicornn = cell_suite(physics.UnICORNN)
test_lem = cell_suite(physics.LEM)
test_antisymmetric = cell_suite(physics.AntisymmetricRNN)
test_antisymmetric_gated = cell_suite(physics.AntisymmetricRNN, gated=True)
test_lipschitz = cell_suite(physics.LipschitzRNN)
test_lmu = cell_suite(physics.LMU)
test_ode_rnn = cell_suite(physics.ODERNN)


@pytest.mark.parametrize(("name", "cell"), CELLS.items())
def test_registered_and_compiled(name, cell):
    assert registry.get_cell(name) is cell
    assert report_cell(cell(5, 6)).reason is None


# ------------------------------------------------------------------ what the papers say of their cells


def test_the_memory_of_the_lmu_is_a_delay():
    """Read at its end, sum_i m_i P_i(2 - 1), the memory gives a slow input of theta steps ago."""
    order, theta = 6, 40.0
    A, B = delay(order, theta)
    u = np.sin(np.arange(400) / 25)
    m, found = np.zeros(order), []
    for value in u:
        m = A @ m + B * value
        found.append(m.sum())  # every shifted Legendre polynomial is 1 at the end of its window
    np.testing.assert_allclose(found[200:], u[200 - 40 : -40], atol=0.03)


def test_unicornn_keeps_its_energy():
    """Without an input and weights it is a symplectic oscillator: what it holds after 10,000 steps is what it
    had.
    """
    cell = physics.UnICORNN(1, 1, dtype="float64", dt=0.5, alpha=1.0)
    for p in cell.parameters():
        p.assign_(np.zeros(p.shape))
    ys, _ = tr.scan(cell.step, np.zeros((10_000, 1, 1)), (tr.ones((1, 1)), tr.zeros((1, 1))))
    late = np.abs(ys.numpy()[-100:]).max()
    assert 0.95 < late < 1.05


def test_the_runge_kutta_error_falls_with_the_fourth_power():
    """Of a linear equation, whose solution is known: a turn, after a time of 2."""
    errors = []
    for substeps in (8, 16):
        cell = physics.ODERNN(1, 2, dtype="float64", substeps=substeps, time=2.0)
        cell._slope = lambda h: h @ tr.tensor([[0.0, 1.0], [-1.0, 0.0]])
        h = cell._evolved(tr.tensor([[1.0, 0.0]])).numpy()[0]
        errors.append(np.abs(h - [np.cos(2), np.sin(2)]).max())
    assert 12 < errors[0] / errors[1] < 20


@pytest.mark.parametrize("name", CELLS)
def test_a_wide_network_starts_with_gradients_that_fit(name):
    """Over 64 steps, with the options that a user gets."""
    rnn = tr.RNN(name, 64, 128, seed=0, compile=False)
    xs = np.random.default_rng(0).standard_normal((64, 8, 64)).astype(np.float32)
    ys, _ = rnn(0.3 * xs)
    (ys[-1] ** 2).sum().backward()
    norm = np.sqrt(
        sum((p.grad.numpy().astype(float) ** 2).sum() for p in rnn.parameters() if p.grad is not None)
    )
    assert norm < 1e4


def test_initial_deviations():
    one, other = physics.AntisymmetricRNN(64, 200), physics.LipschitzRNN(64, 200)
    for parameter, std in ((one.W, 200**-0.5), (one.V, 64**-0.5), (other.M_A, 1 / 200), (other.M_W, 1 / 200)):
        assert parameter.numpy().std() == pytest.approx(std, rel=0.1)


def test_what_is_fixed_is_no_parameter():
    cell = physics.LMU(5, 6, order=4)
    assert {name for name, _ in cell.named_parameters()} == {"e_x", "e_h", "e_m", "W_x", "W_h", "W_m"}
    assert not cell.e_m.numpy().any()


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("lmu", {"order": 0}, "order is 0"),
        ("lmu", {"theta": 0.0}, "theta 0"),
        ("ode-rnn", {"substeps": 0}, "substeps is 0"),
        ("ode-rnn", {"width": -1}, "width -1"),
    ],
)
def test_mistakes_get_a_sentence(name, options, said):
    with pytest.raises(tr.InputError, match=said):
        tr.RNN(name, 5, 6, cell_options=options)
