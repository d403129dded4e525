"""Layers, recurrences, optimisers and checkpoints with ``device="cuda"``: as on the CPU, and the same on
every run.
"""

import numpy as np
import pytest

import tinyrnn as tr
from tinyrnn import optim
from tinyrnn.kernels import random, references, scatter, updates


def close(a, b, rtol=2e-5, atol=2e-6):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=rtol, atol=atol)


# ------------------------------------------------------------------ random numbers, and sums in a fixed order


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(7, 5), (), (0, 3), (2, 3, 4)])
def test_dropout_masks_are_the_same_on_both_devices(dtype, shape, cupy):
    x = np.ones(shape, dtype)
    for key in (3, 2**64 - 5):
        ours, cpu = random.dropout(cupy.asarray(x), 0.3, key), random.dropout(x, 0.3, key)
        assert ours.dtype == cpu.dtype
        np.testing.assert_array_equal(ours.get(), cpu)
    y = tr.dropout(tr.tensor(x.T, device="cuda"), 0.3, generator=tr.Generator(1))  # not contiguous
    np.testing.assert_array_equal(
        y.numpy(), tr.dropout(tr.tensor(x.T), 0.3, generator=tr.Generator(1)).numpy()
    )


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_rows_are_added_in_their_order(dtype, cupy, rng):
    for n, rows, width in ((500, 7, 3), (40, 60, 1), (1, 1, 1), (0, 3, 2)):
        g, ids = rng.standard_normal((n, width)).astype(dtype), rng.integers(0, rows, n)
        ours = scatter.add_rows(cupy.asarray(g), ids, rows)
        again = scatter.add_rows(cupy.asarray(g), cupy.asarray(ids), rows)
        np.testing.assert_array_equal(ours.get(), scatter.add_rows(g, ids, rows))  # to the last bit
        np.testing.assert_array_equal(ours.get(), again.get())


def test_a_gradient_of_indexing_adds_up(cupy, rng):
    x, ids = rng.standard_normal((4, 3)), np.array([[0, 3, 3], [3, 3, 1]])
    for key in (ids, (slice(None), ids % 3), (ids, ids % 3), (None, ids[0]), (Ellipsis, ids % 3)):
        grads = []
        for device in ("cpu", "cuda"):
            t = tr.tensor(x, device=device, requires_grad=True)
            y = t[key]
            (y * y).sum().backward()
            grads.append(t.grad.numpy())
        close(*grads)


# ------------------------------------------------------------------ optimisers

NUMBERS = {
    "sgd": [0.1, 0.9, True, 0.01, 0.5],
    "rmsprop": [0.1, 0.9, 0.1, 1e-6, 0.8, 0.01, 0.5],
    "adagrad": [0.1, 1e-6, 0.01, 0.5],
    "adam": [0.1, 0.9, 0.1, 0.99, 0.01, 1e-6, 0.02, False, 0.1, 0.01, 0.5],
}
SLOTS = {"sgd": 1, "rmsprop": 2, "adagrad": 1, "adam": 2}


@pytest.mark.parametrize("rule", sorted(NUMBERS))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("flag", [False, True])
def test_updates_equal_their_plain_references(rule, dtype, flag, cupy, rng):
    F = np.dtype(dtype).type
    numbers = [flag if isinstance(x, bool) else F(x) for x in NUMBERS[rule]]
    arrays = [np.abs(rng.standard_normal(9)).astype(dtype) for _ in range(2 + SLOTS[rule])]
    ours = [cupy.asarray(a) for a in arrays]
    updates.cuda(cupy, rule)(*ours, *numbers)
    getattr(updates, f"{rule}_reference")(*arrays, *numbers)
    for a, b in zip(ours, arrays, strict=True):
        close(a.get(), b)


class Net(tr.Module):
    def __init__(self, seed=0):
        self.embedding = tr.Embedding(9, 4, generator=tr.Generator(seed))
        self.rnn = tr.RNN("gru", 4, 5, num_layers=2, bidirectional=True, seed=seed)
        self.norm = tr.LayerNorm(10)
        self.output = tr.Linear(10, 9, generator=tr.Generator(seed))

    def forward(self, ids, **flags):
        ys, _ = self.rnn(self.embedding(ids), **flags)
        return self.output(self.norm(ys))


def trained(device, optimizer, steps=3, **flags):
    rng, net = np.random.default_rng(0), Net().to(device)
    chosen = optimizer(net.parameters())
    for _ in range(steps):
        ids = rng.integers(0, 9, (6, 3))
        loss = tr.cross_entropy(net(ids, **flags), np.roll(ids, -1, 0))
        chosen.zero_grad()
        loss.backward()
        assert {p.grad.device for p in net.parameters()} == {device}
        norm = chosen.step(max_norm=0.5)
        assert isinstance(norm, float)
    return net, chosen, loss.item()


OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    "RMSprop": lambda p: optim.RMSprop(p, 0.01, momentum=0.5),
    "Adagrad": lambda p: optim.Adagrad(p, 0.01),
    "Adam": lambda p: optim.Adam(p, 0.01, weight_decay=0.1),
    "AdamW": lambda p: optim.AdamW(p, 0.01),
}


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_training_equals_that_of_the_cpu(name, cupy):
    (ours, chosen, a), (cpu, plain, b) = (trained(d, OPTIMIZERS[name]) for d in ("cuda", "cpu"))
    close(a, b)
    state = chosen.state_dict()
    assert all(isinstance(v, np.ndarray | int) for v in state.values())
    for key, value in ours.state_dict().items():
        close(value, cpu.state_dict()[key], rtol=1e-3, atol=2e-5)
    plain.load_state_dict(state)  # from the GPU to the CPU, and back
    chosen.load_state_dict(plain.state_dict())
    for key, value in chosen.state_dict().items():
        np.testing.assert_array_equal(value, state[key])


def test_the_gradients_of_one_step_are_read_back_once(standin):
    net, chosen, _ = trained("cuda", OPTIMIZERS["Adam"], steps=1)
    before = standin._array.Count.reads
    chosen.step(max_norm=0.5)
    assert standin._array.Count.reads == before + 1
    assert tr.optim.clip_grad_norm(net.parameters(), 0.1) > 0


def test_an_optimiser_made_before_the_move_says_so(cupy):
    net = Net()
    chosen = optim.SGD(net.parameters())
    tr.sum(net(np.zeros((2, 1), int))).backward()
    net.to("cuda")
    assert {p.grad.device for p in net.parameters() if p.grad is not None} == {"cuda"}
    with pytest.raises(tr.DeviceError, match=r"after module.to\(\)"):
        chosen.step()


# ------------------------------------------------------------------ recurrences


@pytest.mark.sample(5)
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_recurrence_runs_op_by_op(cell, reverse, cupy, rng):
    xs = rng.standard_normal((5, 3, 4)).astype("float32")
    mask, resets = rng.random((5, 3)) > 0.3, rng.random((5, 3)) > 0.7
    found = []
    for device in ("cuda", "cpu"):
        net = tr.RNN(cell, 4, 6, num_layers=2, bidirectional=reverse, seed=1).to(device)
        x = tr.tensor(xs, device=device, requires_grad=True)
        place = tr.tensor(mask, device=device) if reverse else mask
        ys, final = net(x, mask=place, resets=resets)
        assert ys.device == device
        (tr.sum(ys * ys) + tr.sum(final[-1][0])).backward()
        found.append([ys.detach(), x.grad, *[p.grad for p in net.parameters()]])
    for a, b in zip(*found, strict=True):
        close(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        dict(dropout=0.4, variational=True),
        dict(recurrent_dropout=0.3),
        dict(weight_drop=0.3),
        dict(zoneout=0.2),
        dict(recurrent_dropout=0.3, variational=True, zoneout=0.1),
    ],
    ids=str,
)
def test_regularised_recurrences_drop_the_same(options, cupy, rng):
    xs = rng.standard_normal((5, 3, 4)).astype("float32")
    found = []
    for device in ("cuda", "cpu"):
        net = tr.RNN("lstm", 4, 6, num_layers=2, seed=1, compile=False, **options).to(device)
        ys, _ = net(tr.tensor(xs, device=device))
        tr.sum(ys * ys).backward()
        found.append([ys.detach(), *[p.grad for p in net.parameters()]])
    for a, b in zip(*found, strict=True):
        close(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)


def test_attention_and_the_losses_of_sequences(cupy, rng):
    q, k, mask = rng.standard_normal((2, 3, 4)), rng.standard_normal((5, 3, 4)), rng.random((5, 3)) > 0.3
    mask[0] = True
    lp, lengths = rng.standard_normal((5, 3, 4)), np.array([5, 4, 3])
    targets = np.array([[1, 2], [3, 0], [2, 2]])
    found = []
    for device in ("cuda", "cpu"):
        values = []
        for kind in ("luong", "bahdanau"):
            layer = tr.Attention(4, 4, kind=kind, dtype="float64", generator=tr.Generator(0)).to(device)
            values += layer(tr.tensor(q, device=device), tr.tensor(k, device=device), mask)
        t = tr.tensor(lp, device=device, requires_grad=True)
        loss = tr.ctc_loss(tr.log_softmax(t), targets, lengths, np.array([2, 1, 2]))
        loss.backward()
        found.append([v.detach().numpy() for v in (*values, loss, t.grad)])
    for a, b in zip(*found, strict=True):
        close(a, b, rtol=1e-9)


def test_random_fields(cupy, rng):
    arrays = [rng.standard_normal(shape) for shape in ((5, 3, 4), (4, 4), 4, 4)]
    tags, mask = rng.integers(0, 4, (5, 3)), np.arange(5)[:, None] < np.array([5, 3, 1])
    found, decoded = [], []
    for device in ("cuda", "cpu"):
        tensors = [tr.tensor(a, device=device, requires_grad=True) for a in arrays]
        loss = tr.crf_loss(tensors[0], tags, *tensors[1:], mask)
        assert loss.device == device
        loss.backward()
        found.append([v.detach().numpy() for v in (loss, *(t.grad for t in tensors))])
        on = tr.tensor(mask, device=device)
        decoded.append(tr.crf_decode(*tensors, on))
        given = tr.tensor(np.where(mask, tags, 9), device=device)
        assert tr.crf_loss(tensors[0], given, *tensors[1:], on).item() == loss.item()
    for a, b in zip(*found, strict=True):
        close(a, b, rtol=1e-9)
    assert str(decoded[0]) == str(decoded[1])


def test_references_take_empty_rows(cupy):
    for shape in ((0, 3), (2, 0)):
        for f in (references.softmax, references.log_softmax, references.logsumexp):
            ours, cpu = f(cupy.asarray(np.zeros(shape))), f(np.zeros(shape))
            np.testing.assert_array_equal(ours.get(), cpu)


# ------------------------------------------------------------------ checkpoints


def test_checkpoints_know_no_device(cupy, tmp_path):
    net = Net().to("cuda")
    assert {p.device for p in net.parameters()} == {"cuda"}
    state = net.state_dict()
    assert all(type(a) is np.ndarray and a.flags.c_contiguous for a in state.values())
    net.save(tmp_path / "weights.safetensors")
    cpu, gpu = Net(seed=5), Net(seed=5).to("cuda")
    for other in (cpu, gpu):
        other.load_weights(tmp_path / "weights.safetensors")
        for key, value in other.state_dict().items():
            np.testing.assert_array_equal(value, state[key])
    assert {p.device for p in gpu.parameters()} == {"cuda"}
    assert {p.device for p in net.to("cpu").parameters()} == {"cpu"}


def test_derivatives_of_functions(cupy):
    x, v = np.array([0.3, -0.7, 1.1]), np.array([1.0, 2.0, -1.0])
    f = lambda t: tr.sum(tr.tanh(t) * t * t)  # noqa: E731
    again = tr.checkpoint(lambda u: tr.tanh(u) * u)
    found = []
    for device in ("cuda", "cpu"):
        t, d = tr.tensor(x, device=device), tr.tensor(v, device=device)
        value, slope = tr.value_and_grad(f)(t)
        out = [
            value,
            slope,
            tr.hessian(f)(t),
            tr.hvp(f, t, d),
            *tr.jvp(tr.tanh, t, d),
            tr.jacobian(tr.exp)(t),
        ]
        out.append(tr.grad(lambda u: tr.sum(again(u)))(t))
        assert {o.device for o in out} == {device}
        found.append([o.detach().numpy() for o in out])
    for a, b in zip(*found, strict=True):
        close(a, b, rtol=1e-9)
    with pytest.raises(tr.DeviceError):
        tr.vjp(tr.tanh, tr.tensor(x, device="cuda"))[1](v)


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_pooling_takes_masks_of_the_cpu(pooling, cupy, rng):
    from tinyrnn.nn.pooling import pooled

    xs, mask = rng.standard_normal((5, 3, 4)).astype("float32"), rng.random((5, 3)) > 0.3
    mask[0] = True
    found = []
    for device in ("cuda", "cpu"):
        net = tr.RNN("gru", 4, 6, bidirectional=True, seed=1, compile=False).to(device)
        ys, final = net(tr.tensor(xs, device=device), mask=mask)
        row = pooled(pooling, net, ys, final, mask)
        assert row.device == device
        found.append(row.detach().numpy())
    close(*found)


def test_gates_and_labels_come_to_the_cpu(cupy, rng):
    from tinyrnn.nn.gates import step_and_gates

    net = tr.RNN("lstm", 4, 6, seed=1).to("cuda")
    x = tr.tensor(rng.standard_normal((2, 4)), "float32", device="cuda")
    _, _, layers = step_and_gates(net, x, net.initial_state(2))
    assert all(type(gate) is np.ndarray for layer in layers for gate in layer) and layers[0]
    lp = rng.standard_normal((6, 2, 3))
    there = tr.tensor(lp, device="cuda")
    lengths = np.array([6, 4])
    for decode in (tr.ctc_greedy_decode, tr.ctc_beam_decode):
        ours, cpu = decode(there, tr.tensor(lengths, device="cuda")), decode(lp, lengths)
        assert str(ours) == str(cpu)


def test_hooks_and_bits(cupy):
    x = tr.tensor([1.0, 2.0], device="cuda", requires_grad=True)
    y = x * 2
    y.register_hook(lambda g: g.data * 3)  # an array of the device
    y.sum().backward()
    assert x.grad.tolist() == [6.0, 6.0]
    y = x * 2
    y.register_hook(lambda g: np.ones(2))
    with pytest.raises(tr.DeviceError, match="hook"):
        y.sum().backward()
    a, b = (tr.tensor(v, device="cuda") for v in ([1, 2], [3, 6]))
    assert (a & b).tolist() == [1, 2] and (a | 4).tolist() == [5, 6] and (~a).tolist() == [-2, -3]
    assert ((a > 1) & (b > 1)).tolist() == [False, True] and (a == None).tolist() == [False, False]  # noqa: E711
    with pytest.raises(tr.DeviceError):
        a & tr.tensor([1, 2])
    empty = tr.tensor(np.zeros(0), device="cuda")
    assert tr.jacobian(lambda t: t * 2)(empty).device == "cuda"


# ------------------------------------------------------------------ large vocabularies


def test_a_loss_by_blocks_and_an_adaptive_softmax(cupy, rng, monkeypatch):
    from tinyrnn.nn.functional import linear_losses

    monkeypatch.setattr(linear_losses, "WIDE", 1)
    arrays = [rng.standard_normal(shape) for shape in ((6, 16), (16, 20), 20)]
    ids, weight = rng.integers(0, 20, 6), rng.uniform(0.5, 2, 20)
    found = {}
    for device in ("cpu", "cuda"):
        x, w, b = (tr.tensor(a, device=device, requires_grad=True) for a in arrays)
        some = dict(weight=tr.tensor(weight, device=device), label_smoothing=0.1, ignore_index=int(ids[0]))
        loss = tr.linear_cross_entropy(x, w, ids, linear_bias=b, **some)
        layer = tr.nn.AdaptiveLogSoftmaxWithLoss(16, 20, [5, 9], dtype="float64", generator=tr.Generator(0))
        rare = layer.to(device)(x, ids)
        (loss + rare.loss).backward()
        ys = [loss, rare.output, layer.log_prob(x), layer.predict(x)]
        gradients = [p.grad for p in (x, w, b, *layer.parameters())]
        assert {t.device for t in (*ys, *gradients)} == {device}
        found[device] = [t.detach().numpy() for t in (*ys, *gradients)]
    for a, c in zip(found["cuda"], found["cpu"], strict=True):
        close(a, c, rtol=1e-10, atol=1e-12)
