"""Optimisers against PyTorch, clipping, schedules."""

import gc
import tracemalloc

import numpy as np
import pytest

import tinyrnn as tr
from tinyrnn.base import threads
from tinyrnn.nn import optim

SETTINGS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9, "momentum": 0.5, "weight_decay": 0.01}),
    ("Adagrad", {"lr": 0.1}),
    ("Adam", {"lr": 0.05, "betas": (0.8, 0.99), "weight_decay": 0.01}),
    ("AdamW", {"lr": 0.05}),
]


@pytest.mark.parity
@pytest.mark.parametrize(("name", "options"), SETTINGS)
def test_steps_equal_pytorch(name, options):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start, target = rng.standard_normal((4, 3)), rng.standard_normal((4, 3))
    p, q = tr.tensor(start, requires_grad=True), torch.tensor(start, requires_grad=True)
    ours, theirs = getattr(optim, name)([p], **options), getattr(torch.optim, name)([q], **options)
    for _ in range(20):
        ours.zero_grad()
        theirs.zero_grad()
        ((p - target) ** 2).sum().backward()
        ((q - torch.tensor(target)) ** 2).sum().backward()
        ours.step()
        theirs.step()
    np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("name", "options"), SETTINGS)
def test_state_dict_continues_bit_for_bit(name, options):
    def make():
        p = tr.tensor(np.arange(1.0, 5.0), "float32", requires_grad=True)
        return p, getattr(optim, name)([p], **options)

    def steps(p, o, n):
        for _ in range(n):
            o.zero_grad()
            (p**2).sum().backward()
            o.step()

    p, o = make()
    steps(p, o, 10)
    q, r = make()
    steps(q, r, 5)
    again, s = make()
    again.assign_(q)
    s.load_state_dict(r.state_dict())
    steps(again, s, 5)
    np.testing.assert_array_equal(p.numpy(), again.numpy())
    with pytest.raises(tr.InputError):
        s.load_state_dict({"steps": 1})


def test_clipping_scales_to_the_norm():
    a, b = tr.tensor([3.0], requires_grad=True), tr.tensor([4.0], requires_grad=True)
    ((a * a + b * b) / 2).sum().backward()
    assert tr.clip_grad_norm([a, b], 1.0) == pytest.approx(5)
    assert a.grad.item() == pytest.approx(0.6) and b.grad.item() == pytest.approx(0.8)
    assert tr.clip_grad_norm([a, b], 2.0) == pytest.approx(1) and a.grad.item() == pytest.approx(0.6)


@pytest.mark.parametrize("name", sorted(optim.SCHEDULES))
def test_schedules_warm_up_and_stay_in_range(name):
    of = {"epoch": 20, "hold": 2, "gamma": 0.5}  # of exponential
    schedule = optim.Schedule(name, warmup=10, total=100, **of)
    factors = [schedule.at(t, t / 100) for t in range(101)]
    np.testing.assert_allclose(factors[:10], np.arange(1, 11) / 10)
    assert all(0 <= f <= 1 for f in factors)
    ends = {"constant": 1.0, "plateau": 1.0, "step": 0.5**11, "exponential": 0.5**4}
    assert factors[-1] == ends.get(name, 0.0)
    until = min(schedule.stable_until, 100)
    longer = optim.Schedule(name, warmup=10, total=1000, **of)
    assert [longer.at(t, t / 1000) for t in range(until)] == factors[:until]


def test_exponential_is_that_of_zaremba():
    """Rate 1 in the first four epochs, half of it in the fifth, and so on."""
    schedule = optim.Schedule("exponential", epoch=10, hold=4, gamma=0.5)
    assert [schedule.at(step, 0.1) for step in (0, 39, 40, 49, 50)] == [1, 1, 0.5, 0.5, 0.25]
    with pytest.raises(tr.InputError, match="goes by epochs"):
        optim.Schedule("exponential")


def test_plateau_halves_after_evaluations_without_improvement():
    schedule = optim.Schedule("plateau")
    for bad_evaluations in (0, 0, 1, 2):
        schedule.observe(bad_evaluations)
    assert schedule.at(0, 0.5) == 1
    schedule.observe(3)
    assert schedule.at(0, 0.5) == 0.5
    for bad_evaluations in (4, 5):
        schedule.observe(bad_evaluations)
    assert schedule.at(0, 0.5) == 0.5
    schedule.observe(6)
    assert schedule.at(0, 0.5) == 0.25


def test_scalar_and_transposed_parameters_keep_their_shape():
    scalar = tr.tensor(2.0, requires_grad=True)
    turned = tr.Tensor(np.arange(6.0).reshape(2, 3).T)
    turned.requires_grad = True
    optimizer = optim.Adam([scalar, turned], lr=0.1)
    (scalar * turned.sum()).backward()
    optimizer.step()
    assert scalar.shape == ()
    assert scalar.item() == pytest.approx(1.9)
    np.testing.assert_allclose(turned.numpy(), np.arange(6.0).reshape(2, 3).T - 0.1)


def test_unknown_names_and_empty_parameters():
    with pytest.raises(tr.InputError, match="use one of"):
        optim.Schedule("cosin")
    with pytest.raises(tr.InputError, match="no parameters"):
        optim.Adam([])
    with pytest.raises(tr.InputError, match="lr is -1: it must be a finite number of at least 0"):
        optim.Adam([tr.tensor(1.0, requires_grad=True)], lr=-1)


def several(*dtypes):
    parameters = [
        tr.tensor(np.arange(1.0, 4.0) * (i + 1), d, requires_grad=True) for i, d in enumerate(dtypes)
    ]
    for p in parameters:
        (p**2).sum().backward()
    return parameters


@pytest.mark.parametrize("dtypes", [("float64", "float64"), ("float32", "float64", "float32")])
def test_clipping_in_the_step_equals_clipping_before_it(dtypes):
    one, two = several(*dtypes), several(*dtypes)
    norm = optim.Adam(one, 0.1).step(max_norm=0.5)
    assert norm == pytest.approx(tr.clip_grad_norm(two, 0.5))
    optim.Adam(two, 0.1).step()
    for p, q in zip(one, two, strict=True):
        np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-6)


def test_parameters_without_a_gradient_stay_and_views_are_kept():
    p, q, r = several(*["float32"] * 3)
    optimizer = optim.Adam([p, q, r], 0.1)
    q.grad = None
    before = q.numpy().copy()
    optimizer.step()
    assert (q.numpy() == before).all() and (p.numpy() != [1, 2, 3]).all() and (r.numpy() != [3, 6, 9]).all()
    p.data = np.full(3, 5, np.float32)  # somebody puts another array in its place
    optimizer.step()
    assert (np.abs(p.numpy() - 4.9) < 0.05).all()


def test_a_gradient_that_is_not_finite_changes_nothing_if_clipped():
    for bad in (np.nan, np.inf):
        p, q = several("float32", "float32")
        q.grad = tr.tensor([bad, 0, 0], "float32")
        optimizer = optim.Adam([p, q], 0.1)
        assert not np.isfinite(optimizer.step(max_norm=1.0)) and optimizer.steps == 0
        assert (p.numpy() == [1, 2, 3]).all() and (q.numpy() == [2, 4, 6]).all()
        optimizer.step()
        assert np.isnan(q.numpy()[0])  # without clipping it stays visible, as in PyTorch


def test_threads_do_not_change_an_update():
    def updated(n):
        before = threads.threads()
        threads.set_threads(n)
        try:
            p = tr.tensor(np.linspace(-1, 1, 100_001), "float32", requires_grad=True)
            p.grad = tr.tensor(np.linspace(3, -1, 100_001), "float32")
            optim.AdamW([p], 0.1).step(max_norm=1.0)
            return p.numpy()
        finally:
            threads.set_threads(before)

    assert (updated(1) == updated(2)).all() and (updated(1) == updated(4)).all()


def test_memory_does_not_grow_with_steps():
    gc.collect()
    gc.disable()  # nothing may need the garbage collector
    rnn = tr.RNN("gru", 8, 64, seed=0)
    optimizer = optim.Adam(rnn.parameters())
    xs, used = tr.ones((50, 16, 8), dtype="float32"), []
    tracemalloc.start()
    try:
        for _ in range(30):
            optimizer.zero_grad()
            rnn(xs)[0].sum().backward()
            optimizer.step(max_norm=1.0)
            used.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
        gc.enable()
    assert (
        used[-1] - used[9] < 50 * 16 * 64 * 4
    )  # one state over time; Python's own lists of free tuples grow a little
