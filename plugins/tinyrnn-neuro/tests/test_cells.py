"""Every cell beside an independent transcription of its paper in PyTorch, and through the checks of
`tinyrnn.testing`.
"""

import math
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import tinyrnn_neuro as neuro
from parity import parity_suite

import tinyrnn as tr
from tinyrnn.compiler import CompileWarning
from tinyrnn.compiler.report import report_cell
from tinyrnn.compiler.targets.numba import interpreted
from tinyrnn.nn import registry
from tinyrnn.testing import cell_suite

CELLS = {
    "ctrnn": neuro.CTRNN,
    "dale": neuro.DaleRNN,
    "low-rank": neuro.LowRankRNN,
    "stp": neuro.PlasticRNN,
    "lif": neuro.LIF,
    "alif": neuro.ALIF,
}

# ------------------------------------------------------------------ the papers, in PyTorch: p are parameters


def ctrnn(dt=50.0, tau=100.0, rate="relu", gain=1.0):
    def step(p, u, r, x):
        torch = pytest.importorskip("torch")
        x = x + dt / tau * (-x + r @ p["W_rec"] + u @ p["W_in"] + p["b"])
        return {"relu": torch.relu, "tanh": torch.tanh, "softplus": torch.nn.functional.softplus}[rate](x), x

    return step


def dale(dt=50.0, tau=100.0, excitatory=0.8):
    def step(p, u, r, x):
        torch = pytest.importorskip("torch")
        n = r.shape[1]
        D = torch.diag(torch.tensor([1.0 if i < round(excitatory * n) else -1.0 for i in range(n)]).double())
        W = p["W_rec"].T.abs() @ D  # the paper's |W| D, which acts on columns
        x = x + dt / tau * (-x + (W @ r.T).T + u @ p["W_in"] + p["b"])
        return x.relu(), x

    return step


def low_rank(rank=2, g=0.0, dt=50.0, tau=100.0):
    def step(p, u, r, x):
        torch = pytest.importorskip("torch")
        n = r.shape[1]
        J = sum(torch.outer(p["m"][:, k], p["n"][:, k]) for k in range(rank)) / n
        if g:
            chi = neuro.LowRankRNN(5, n, dtype="float64", g=1.0).chi.numpy()
            J = J + g * torch.tensor(chi).T  # J_ij leads from j to i
        x = x + dt / tau * (-x + r @ J.T + u @ p["W_in"])
        return x.tanh(), x

    return step


def plastic(dt=10.0, tau=100.0):
    """As in the authors' code: the time constants unit by unit, efficacies before the current."""

    def step(p, i, r, x, u):
        torch = pytest.importorskip("torch")
        n = r.shape[1]
        tau_x, tau_u, U = (
            torch.tensor([both[k % 2] for k in range(n)], dtype=torch.float64)
            for both in ((200.0, 1500.0), (1500.0, 200.0), (0.15, 0.45))
        )
        seconds = dt / 1000
        x_new = x + dt / tau_x * (1 - x) - seconds * u * x * r
        u_new = u + dt / tau_u * (U - u) + seconds * U * (1 - u) * r
        x_new, u_new = (v.clamp(0, 1) for v in (x_new, u_new))
        drive = (u_new * x_new * r) @ p["W_rec"] + i @ p["W_in"] + p["b"]
        return torch.relu(r * (1 - dt / tau) + dt / tau * drive), x_new, u_new

    return step


def spike(v, damping):
    """The hard step with its own backward function, as the authors' code has it."""
    torch = pytest.importorskip("torch")

    class Spike(torch.autograd.Function):
        @staticmethod
        def forward(ctx, v):
            ctx.save_for_backward(v)
            return (v > 0).to(v.dtype)

        @staticmethod
        def backward(ctx, g):
            (v,) = ctx.saved_tensors
            return g * damping * torch.clamp(1 - v.abs(), min=0)

    return Spike.apply(v)


def lif(tau=20.0, threshold=0.1, damping=0.3):
    def step(p, x, z, V):
        decay = math.exp(-1 / tau)
        current = x @ p["W"] + z @ p["U"]
        V = decay * V + (1 - decay) * current - threshold * z
        return spike((V - threshold) / threshold, damping), V

    return step


def alif(tau=20.0, tau_a=200.0, threshold=0.1, beta=1.8, damping=0.3):
    def step(p, x, z, V, b):
        decay, rho = math.exp(-1 / tau), math.exp(-1 / tau_a)
        V = decay * V + (1 - decay) * (x @ p["W"] + z @ p["U"]) - (threshold + beta * b) * z
        b = rho * b + (1 - rho) * z
        B = threshold + beta * b
        return spike((V - B) / B, damping), V, b

    return step


def beside(cell, paper, **options):
    return parity_suite(cell, paper(**options), **options)


test_ctrnn_paper = beside(neuro.CTRNN, ctrnn)
test_ctrnn_tanh_paper = beside(neuro.CTRNN, ctrnn, rate="tanh", dt=20.0, gain=2.0)
test_ctrnn_softplus_paper = beside(neuro.CTRNN, ctrnn, rate="softplus", tau=50.0)
test_dale_paper = beside(neuro.DaleRNN, dale)
test_dale_options_paper = beside(neuro.DaleRNN, dale, excitatory=0.5, dt=10.0)
test_low_rank_paper = beside(neuro.LowRankRNN, low_rank)
test_low_rank_options_paper = beside(neuro.LowRankRNN, low_rank, rank=1, g=0.8, dt=100.0)
test_plastic_paper = beside(neuro.PlasticRNN, plastic)
test_plastic_options_paper = beside(neuro.PlasticRNN, plastic, dt=20.0, tau=50.0)
test_lif_paper = beside(neuro.LIF, lif)
test_lif_options_paper = beside(neuro.LIF, lif, tau=4.0, threshold=0.3, damping=1.0)
test_alif_paper = beside(neuro.ALIF, alif)
test_alif_options_paper = beside(neuro.ALIF, alif, tau=4.0, tau_a=9.0, threshold=0.2, beta=0.5, damping=0.7)

# ------------------------------------------------------------------ noise: in NumPy, given the same numbers

NOISY = {"ctrnn": (50.0, 100.0), "dale": (50.0, 100.0), "stp": (10.0, 100.0)}


def noisy_steps(name, p, us, draws, sigma, *states):
    """The outputs of the papers' networks, ``draws`` being their normal numbers."""
    alpha, outs = NOISY[name][0] / NOISY[name][1], []
    units = np.arange(len(p["b"]))
    for u, xi in zip(us, draws, strict=True):
        noise = np.sqrt(2 * alpha * sigma**2) * xi
        if name == "stp":
            r, x, s = states
            tau_x, tau_u, U = (np.where(units % 2, b, a) for a, b in ((200, 1500), (1500, 200), (0.15, 0.45)))
            x, s = (
                x + 10 / tau_x * (1 - x) - 0.01 * s * x * r,
                s + 10 / tau_u * (U - s) + 0.01 * U * (1 - s) * r,
            )
            x, s = np.clip(x, 0, 1), np.clip(s, 0, 1)
            drive = (s * x * r) @ p["W_rec"] + u @ p["W_in"] + p["b"]
            states = np.maximum((1 - alpha) * r + alpha * drive + noise, 0), x, s
        else:
            r, x = states
            D = np.where(units < round(0.8 * len(units)), 1.0, -1.0)
            W = D[:, None] * abs(p["W_rec"]) if name == "dale" else p["W_rec"]
            x = (1 - alpha) * x + alpha * (r @ W + u @ p["W_in"] + p["b"]) + noise
            states = np.maximum(x, 0), x
        outs.append(states[0])
    return np.array(outs)


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("name", NOISY)
def test_noise_is_that_of_the_papers(name, compile):
    """Of a network in use as of one that is trained; compiled without a warning."""
    options = {"dt": NOISY[name][0], "tau": NOISY[name][1], "noise": 0.3}
    rnn = tr.RNN(name, 5, 6, dtype="float64", seed=4, compile=compile, cell_options=options)
    us = np.random.default_rng(0).standard_normal((7, 3, 5))
    p = {key: value.numpy() for key, value in rnn.cells[0].named_parameters()}
    first = [s.numpy() for s in rnn.initial_state(3)[0]]
    for mode in (True, False):
        rnn.train(mode)
        generator = tr.Generator(0)
        generator.state = rnn.regulariser.generator.state
        draws = generator.normal(0.0, 1.0, (7, 3, 6))
        with interpreted(), warnings.catch_warnings():
            warnings.simplefilter("error", CompileWarning)
            ys, _ = rnn(us)
        expected = noisy_steps(name, p, us, draws, 0.3, *first)
        np.testing.assert_allclose(ys.numpy(), expected, rtol=1e-12, atol=1e-13)
        assert np.abs(expected - noisy_steps(name, p, us, draws, 0.0, *first)).max() > 0.1


def test_noise_follows_the_seed():
    found = []
    for seed in (1, 1, 2):
        rnn = tr.RNN("ctrnn", 5, 6, seed=seed, cell_options={"noise": 0.1})
        with interpreted():
            found.append([rnn(np.ones((4, 2, 5), np.float32))[0].numpy() for _ in range(2)])
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.allclose(found[0][0], found[0][1])  # other numbers at the next call
    assert not np.allclose(found[0], found[2])


def test_noise_between_distant_steps_has_its_standard_deviation():
    """Of currents without input or weights, as dt goes to 0."""
    rnn = tr.RNN("ctrnn", 1, 50, seed=0, compile=False, cell_options={"noise": 0.2, "dt": 5.0})
    for parameter in rnn.parameters():
        parameter.assign_(np.zeros(parameter.shape))
    with tr.no_grad():
        x = rnn(np.zeros((200, 100, 1), np.float32))[1][0][1]
    assert x.numpy().std() == pytest.approx(0.2, rel=0.05)


def test_noise_by_the_command(tmp_path):
    """Two runs of one seed are one; what is evaluated and generated is the same each time."""
    (tmp_path / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 20)
    environment = os.environ | {"TINYRNN_COMPILE": "python"}

    def tinyrnn(*arguments):
        command = [sys.executable, "-m", "tinyrnn", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert not done.returncode, done.stderr
        return done.stdout

    sizes = "--hidden 8 --embed 4 --seq-len 10 --batch-size 3 --steps 3".split()
    for run in ("one", "two"):
        tinyrnn("train", "text.txt", "--cell", "ctrnn", "--cell-opt", "noise=0.1", *sizes, "--out", run)
    one, one_again, two = (tinyrnn("evaluate", run).splitlines()[2:] for run in ("one", "one", "two"))
    assert one == one_again == two
    assert tinyrnn("generate", "one", "--seed", "1") == tinyrnn("generate", "two", "--seed", "1")


# ------------------------------------------------------------------ what every cell must do

test_ctrnn = cell_suite(neuro.CTRNN)
test_ctrnn_noise = cell_suite(neuro.CTRNN, noise=0.1)
test_dale = cell_suite(neuro.DaleRNN)
test_low_rank = cell_suite(neuro.LowRankRNN)
test_low_rank_and_random = cell_suite(neuro.LowRankRNN, g=0.8)
test_plastic = cell_suite(neuro.PlasticRNN)
test_lif = cell_suite(neuro.LIF)
test_alif = cell_suite(neuro.ALIF)


@pytest.mark.parametrize(("name", "cell"), CELLS.items())
def test_registered_and_compiled(name, cell):
    assert registry.get_cell(name) is cell
    assert report_cell(cell(5, 6)).reason is None


# ------------------------------------------------------------------ what the papers say of their cells


@pytest.mark.parametrize("excitatory", [0.8, 0.5, 1.0, 0.0])
def test_dales_law(excitatory):
    """All that leaves a unit has one sign, whatever is learned; the first matrix has the spectral radius, and
    as much inhibition as excitation.
    """
    cell = neuro.DaleRNN(3, 50, dtype="float64", excitatory=excitatory, radius=1.5, generator=tr.Generator(1))
    W = cell.D.numpy()[:, None] * np.abs(cell.W_rec.numpy())
    assert np.abs(np.linalg.eigvals(W)).max() == pytest.approx(1.5)
    assert ((W > 0).all(axis=1) | (W < 0).all(axis=1)).all()
    assert (W > 0).all(axis=1).sum() == round(excitatory * 50)
    if 0 < excitatory < 1:
        assert W[W > 0].sum() == pytest.approx(-W[W < 0].sum(), rel=0.2)
    assert "D" not in dict(cell.named_parameters())


def test_all_that_a_low_rank_network_does_is_low_rank():
    cell = neuro.LowRankRNN(3, 40, rank=2, dtype="float64", generator=tr.Generator(0))
    cell.n.assign_(2 * cell.m.numpy())  # an eigenvalue of about 2: activity does not die out
    first = np.random.default_rng(0).standard_normal((1, 40))
    _, x = tr.scan(cell.step, np.zeros((60, 1, 3)), (np.tanh(first), first), return_states=True)[0]
    directions = np.linalg.svd(x.numpy()[30:, 0], compute_uv=False)
    assert directions[0] > 1
    assert directions[2] < 1e-6


def test_a_random_part_does_not_depend_on_the_seed():
    one, two = (neuro.LowRankRNN(3, 40, g=0.5, generator=tr.Generator(seed)) for seed in (0, 1))
    assert (one.chi.numpy() == two.chi.numpy()).all()
    assert one.chi.numpy().std() == pytest.approx(40**-0.5, rel=0.1)
    assert neuro.LowRankRNN(3, 40).chi is None


def test_synapses_start_full_and_depress_or_facilitate():
    cell = neuro.PlasticRNN(3, 4, dtype="float64")
    r, x, u = (s.numpy() for s in cell.initial_state(2))
    assert not r.any() and (x == 1).all() and (u == [0.15, 0.45, 0.15, 0.45]).all()
    state = (tr.full((2, 4), 5.0), *cell.initial_state(2)[1:])
    cell.W_rec.assign_(np.zeros((4, 4)))
    cell.W_in.assign_(np.zeros((3, 4)))
    cell.b.assign_(np.full(4, 5.0))  # a rate of 5 a second, held
    efficacies = []
    for _ in range(200):
        state = cell.step(tr.zeros((2, 3)), *state)
        efficacies.append((state[1] * state[2]).numpy()[0])
    assert efficacies[-1][0] > 2 * efficacies[0][0]  # facilitating
    assert efficacies[-1][1] < 0.5 * efficacies[0][1]  # depressing


def test_spikes_are_0_and_1_and_a_membrane_is_reset():
    rnn = tr.RNN("lif", 5, 30, dtype="float64", seed=0)
    xs = np.random.default_rng(0).standard_normal((50, 4, 5))
    spikes, (_, V) = tr.scan(rnn.cells[0].step, xs, rnn.initial_state(4)[0])
    assert set(np.unique(spikes.numpy())) == {0.0, 1.0}
    assert V.shape == (4, 30)


def test_adaptation_makes_spikes_rarer():
    counts = []
    for beta in (0.0, 1.8):
        cell = neuro.ALIF(1, 1, dtype="float64", beta=beta)
        cell.W.assign_([[1.0]])
        cell.U.assign_([[0.0]])
        ys, _ = tr.scan(cell.step, np.ones((400, 1, 1)), cell.initial_state(1))
        counts.append(ys.numpy()[200:].sum())
    assert counts[1] < 0.7 * counts[0]


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("ctrnn", {"dt": 200.0}, "dt is 200.0, tau 100.0"),
        ("stp", {"dt": 0.0}, "dt is 0.0"),
        ("dale", {"excitatory": 1.5}, "excitatory is 1.5"),
        ("ctrnn", {"noise": -0.1}, "ctrnn: noise is -0.1"),
        ("low-rank", {"rank": 0}, "rank is 0"),
        ("lif", {"tau": 0.0}, "lif: tau is 0.0"),
        ("alif", {"tau_a": -1.0}, "alif: tau_a is -1.0"),
    ],
)
def test_mistakes_get_a_sentence(name, options, said):
    with pytest.raises(tr.InputError, match=said):
        tr.RNN(name, 5, 6, cell_options=options)
