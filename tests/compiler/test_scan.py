"""The compiled time loop against the eager one, for cells of all kinds; `test_random_steps` has random
ones.
"""

import copy
import pickle
import random
import subprocess
import sys
import warnings
import weakref

import numpy as np
import pytest

import tinyrnn as tr
from tinyrnn.autograd.functional.gather import source_of
from tinyrnn.base import threads
from tinyrnn.compiler import CompileWarning
from tinyrnn.compiler import run as compiled
from tinyrnn.compiler.targets import numba as loops

rng = np.random.default_rng(0)
F, H, G, T, B = 5, 7, 11, 6, 4


def matrix(rng, *shape):
    return tr.tensor(rng.standard_normal(shape) / np.sqrt(shape[0]), requires_grad=True)


def row(rng, n):
    return tr.tensor(rng.standard_normal(n) * 0.5, requires_grad=True)


W, U, b = matrix(rng, F, 4 * H), matrix(rng, H, 4 * H), row(rng, 4 * H)
W1, W2, U1, U2, b1, b2 = (
    matrix(rng, F, H),
    matrix(rng, F, H),
    matrix(rng, H, H),
    matrix(rng, H, H),
    row(rng, H),
    row(rng, H),
)
gain, gain_h, gain_c, joint, wide, back, decay = (
    row(rng, 4 * H),
    row(rng, 4 * H),
    row(rng, H),
    matrix(rng, F + H, 4 * H),
    matrix(rng, F + H, G),
    matrix(rng, G, H),
    row(rng, H),
)
PARAMETERS = [W, U, b, W1, W2, U1, U2, b1, b2, gain, gain_h, gain_c, joint, wide, back, decay]
fixed = tr.tensor(rng.standard_normal((H, H)) / 3)  # needs no gradient
condition = tr.tensor(rng.standard_normal((B, H)), requires_grad=True)  # a row for each sequence
PARAMETERS.append(condition)


def normalised(a, g):
    d = a - tr.mean(a, axis=-1, keepdims=True)
    return d / tr.sqrt(tr.mean(d * d, axis=-1, keepdims=True) + 1e-5) * g


def lstm_gates(z, c):
    i, f, g, o = tr.split(z, 4)
    c = tr.sigmoid(f) * c + tr.sigmoid(i) * tr.tanh(g)
    return tr.sigmoid(o), c


def layer_norm_lstm(x, h, c):
    o, c = lstm_gates(normalised(x @ W, gain) + normalised(h @ U, gain_h) + b, c)
    return o * tr.tanh(normalised(c, gain_c)), c


def joined_lstm(x, h, c):
    o, c = lstm_gates(tr.concat([x, h], axis=-1) @ joint + b, c)
    return o * tr.tanh(c), c


def mgu(x, h):
    f = tr.sigmoid(x @ W1 + h @ U1 + b1)
    return (1 - f) * h + f * tr.tanh(x @ W2 + (f * h) @ U2 + b2)


def min_gru(x, h):
    z = tr.sigmoid(x @ W1 + b1)
    return (1 - z) * h + z * (x @ W2 + b2)


def linear_unit(x, h):
    a = tr.exp(-tr.exp(decay))
    return a * h + tr.sqrt(1 - a * a) * (x @ W1)


def bare_x(x, h):
    return tr.tanh(h @ U1) * 0.5 + x @ W1 * tr.mean(x, axis=-1, keepdims=True) + x[:, 1:2] + x[..., 2:3]


def other_widths(x, h, c):
    c = tr.tanh(tr.concat([h, x], axis=-1) @ wide + c)
    return tr.relu(c @ back) + 0.1 * h, c


def overlapping_slices(x, h):
    z = h @ U
    return tr.tanh(z[:, :H] + z[:, 2 * H : 3 * H] * x[:, :1] + z[:, 3:10]) + 0.1 * h


def recurrent_depth(x, h):
    s = tr.tanh(x @ W1 + h @ U1)
    for _ in range(2):
        s = s + tr.tanh(s @ U2 + b2) * tr.sigmoid(s @ U1)
    return s


STEPS = {
    "layer-norm LSTM": (layer_norm_lstm, (H, H)),
    "LSTM with joined input": (joined_lstm, (H, H)),
    "MGU": (mgu, (H,)),
    "minGRU, no product": (min_gru, (H,)),
    "linear unit": (linear_unit, (H,)),
    "multiplicative": (lambda x, h: tr.tanh((x @ W1) * (h @ U1)), (H,)),
    "bare x": (bare_x, (H,)),
    "states of other widths": (other_widths, (H, G)),
    "overlapping slices": (overlapping_slices, (H,)),
    "products in sequence": (recurrent_depth, (H,)),
    "softmax and max": (
        lambda x, h: tr.softmax(h @ U1 + x @ W1) * h + tr.max(h, axis=-1, keepdims=True),
        (H,),
    ),
    "logsumexp": (
        lambda x, h: h - 0.1 * tr.logsumexp(h, axis=-1, keepdims=True) + tr.log_softmax(x @ W1),
        (H,),
    ),
    "where": (lambda x, h: tr.where(h > 0.1, tr.tanh(h @ U1), 0.3 * h) + x @ W1, (H,)),
    "detach": (lambda x, h: tr.tanh(x @ W1 + (h @ U1).detach() * h), (H,)),
    "states exchanged": (lambda x, h, c: (c, tr.tanh(x @ W1 + h @ U1)), (H, H)),
    "state unchanged": (lambda x, h, c: (tr.tanh(x @ W1) + c, c), (H, H)),
    "closure without gradient": (lambda x, h: tr.tanh(x @ W1 + h @ fixed), (H,)),
    "closure of the batch": (lambda x, h: tr.tanh(x @ W1 + h @ U1 + condition) * condition, (H,)),
    "same matrix twice": (lambda x, h: tr.tanh(tr.tanh(h @ U1 + x @ W1) @ U1), (H,)),
    "std and var": (
        lambda x, h: h / (tr.std(h, axis=-1, keepdims=True) + 1) + tr.var(x @ W1, axis=-1, keepdims=True),
        (H,),
    ),
    "activations": (
        lambda x, h: tr.gelu(h @ U1) + tr.silu(x @ W1) - tr.elu(h) + tr.clip(h, -0.5, 0.5) + tr.abs(h),
        (H,),
    ),
    "linear": (lambda x, h: tr.linear(h, U1, b1) * 0.3 + tr.layer_norm(x @ W1, H, gain_c, b2), (H,)),
}


def run(step, sizes, compile, *, dtype="float64", steps=T, batch=B, parameters=PARAMETERS, **options):
    """Outputs, final states and all gradients of one recurrence."""
    random = np.random.default_rng(1)
    xs = tr.tensor(random.standard_normal((steps, batch, F)), dtype, requires_grad=True)
    init = tuple(tr.tensor(random.standard_normal((batch, n)), dtype, requires_grad=True) for n in sizes)
    for p in parameters:
        p.grad = None
    ys, final = tr.scan(step, xs, init, compile=compile, **options)
    outs = [*(ys if isinstance(ys, tuple) else [ys]), *final]
    total = sum(
        ((o * random.standard_normal(o.shape).astype(dtype)).sum() for o in outs), tr.zeros((), dtype=dtype)
    )
    total.backward()
    return [o.numpy() for o in outs], [
        None if t.grad is None else t.grad.numpy() for t in (xs, *init, *parameters)
    ]


def assert_equal(a, b, rtol=1e-10):
    for left, right in zip(a[0] + a[1], b[0] + b[1], strict=True):
        if left is None or right is None:
            left, right = (np.zeros(1) if v is None else v for v in (left, right))
        scale = np.abs(right).max(initial=1e-3)
        assert np.abs(left - right).max(initial=0) <= rtol * scale


FORMS = {
    "plain": {},
    "reversed, all states": {"reverse": True, "return_states": True},
    "mask and resets": {"mask": rng.random((T, B)) > 0.3, "resets": rng.random((T, B)) > 0.7},
}


@pytest.mark.sample(4)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", STEPS)
def test_compiled_equals_eager(name, form):
    step, sizes = STEPS[name]
    assert_equal(run(step, sizes, True, **FORMS[form]), run(step, sizes, False, **FORMS[form]))


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    ("name", "options"),
    [("rnn", {}), ("lstm", {"peephole": True}), ("gru", {}), ("gru", {"reset_after": True})],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_built_in_cells_compiled_equal_eager(rng, name, options, dtype):
    cell = tr.cells.get_cell(name)(F, 33, dtype=dtype, **options)
    for p in cell.parameters():
        p.data += 0.1 * rng.standard_normal(p.shape).astype(dtype)
    sizes = [33] * len(cell.states)

    def make(compile):
        form = FORMS["mask and resets"]
        return run(cell.step, sizes, compile, dtype=dtype, parameters=cell.parameters(), **form)

    assert_equal(make(True), make(False), 1e-10 if dtype == "float64" else 1e-4)


def test_second_order_goes_through_the_plain_loop(rng):
    x0 = rng.standard_normal((3, 2, F))
    small = [tr.tensor(p.data) for p in (W1, U1, b1)]

    def f(xs, h0, w, u, bias):
        ys, final = tr.scan(lambda x, h: tr.tanh(x @ w + h @ u + bias), xs, h0, compile=True)
        return ys, final

    tr.check_grad(f, x0, rng.standard_normal((2, H)), *small, order=2)


# ------------------------------------------------------------------ what is promised


@pytest.mark.parametrize("name", ["layer-norm LSTM", "MGU"])
def test_results_do_not_depend_on_the_number_of_threads(name, monkeypatch):
    monkeypatch.setattr(threads, "WORTH", 1)  # small as the work is, split it
    step, sizes = STEPS[name]
    before, results = threads.threads(), []
    try:
        for n in (1, 2, 4):
            threads.set_threads(n)
            results.append(run(step, sizes, True, batch=70, parameters=PARAMETERS[:-1]))
    finally:
        threads.set_threads(before)
    for other in results[1:]:
        for x, y in zip(results[0][0] + results[0][1], other[0] + other[1], strict=True):
            assert (x is None and y is None) or np.array_equal(x, y)


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 64])
def test_any_batch_size(batch):
    """Each sequence is computed as if it were alone."""
    whole = run(mgu, (H,), True, batch=64)[0]
    part = run(mgu, (H,), False, batch=batch)
    assert_equal(run(mgu, (H,), True, batch=batch), part)
    random = np.random.default_rng(1)
    xs, h = random.standard_normal((T, 64, F)), random.standard_normal((64, H))
    ys, _ = tr.scan(mgu, tr.tensor(xs[:, :batch]), tr.tensor(h[:batch]), compile=True)
    np.testing.assert_array_equal(ys.numpy(), whole[0][:, :batch])


def test_nan_reaches_the_output_and_nothing_unwritten_is_read(monkeypatch):
    empty = np.empty

    def poisoned(*args, **kwargs):
        a = empty(*args, **kwargs)
        if a.dtype.kind == "f":
            a.fill(np.nan)
        return a

    named = [STEPS[name] for name in ("layer-norm LSTM", "bare x", "states of other widths", "MGU")]
    for step, sizes in named:  # what is not compiled yet cannot be under the patch
        run(step, sizes, True)
    monkeypatch.setattr(compiled.np, "empty", poisoned)
    for step, sizes in named:
        assert all(np.isfinite(v).all() for part in run(step, sizes, True) for v in part if v is not None)
    xs = np.ones((T, B, F))
    xs[2, 1, 0] = np.nan
    ys, _ = tr.scan(mgu, tr.tensor(xs), tr.zeros((B, H)), compile=True)
    assert np.isnan(ys.numpy()[2:, 1]).all() and np.isfinite(np.delete(ys.numpy(), 1, axis=1)).all()


def test_one_compilation_serves_all_sizes_and_lengths(rng):
    loads = loops.load.cache_info().misses
    for hidden, steps in ((6, 2), (9, 30)):
        w, u = matrix(rng, F, hidden), matrix(rng, hidden, hidden)
        tr.scan(
            lambda x, h, w=w, u=u: tr.tanh(x @ w - h @ u),
            tr.tensor(rng.standard_normal((steps, 2, F))),
            tr.zeros((2, hidden)),
        )
    assert loops.load.cache_info().misses - loads <= 1


@pytest.mark.parametrize("rows", [3, 500])
def test_rows_of_an_embedding(rng, rows):
    """A small table is multiplied in place of the inputs; a large one is not."""
    table, ids = matrix(rng, rows, F), rng.integers(0, 3, (T, B))
    both = []
    for c in (True, False):
        for p in (table, W1, W2, U1, U2, b1, b2):
            p.grad = None
        ys, _ = tr.scan(mgu, tr.embedding(ids, table), tr.zeros((B, H)), compile=c)
        (ys * np.arange(H)).sum().backward()
        both.append([ys.numpy(), *[p.grad.numpy() for p in (table, W1, W2, U1, U2, b1, b2)]])
    for x, y in zip(*both, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-12)


@pytest.mark.sample(3)
@pytest.mark.parametrize("name", [n for n in STEPS if "batch" not in n])
def test_every_step_on_a_larger_batch_and_on_rows_of_a_table(rng, name):
    """A step is recorded on a few rows of the batch, and what depends on x alone is computed for each row of
    the table.
    """
    step, sizes = STEPS[name]
    batch, table = 9, matrix(rng, 4, F)
    ids, both = rng.integers(0, 4, (T, batch)), []
    for c in (True, False):
        for p in (table, *PARAMETERS):
            p.grad = None
        init = tuple(tr.tensor(np.ones((batch, n)), requires_grad=True) for n in sizes)
        try:
            ys, final = tr.scan(step, tr.embedding(ids, table), init, compile=c)
        except tr.ShapeError:
            pytest.skip("it closes over rows of a batch of another size")
        ((ys * np.arange(1, 1 + ys.shape[-1])).sum() + sum(s.sum() for s in final)).backward()
        grads = [p.grad for p in (table, *init, *PARAMETERS)]
        both.append(
            ([ys.numpy(), *[s.numpy() for s in final]], [None if g is None else g.numpy() for g in grads])
        )
    assert_equal(*both)


def gates_of_x(x, h):
    z = tr.sigmoid(x @ W1)
    return z * tr.tanh(h @ U1) + (1 - z) * h


def products_in_a_row(x, h):
    p = tr.tanh(x @ W1)
    return tr.tanh(p + p @ U2 + h @ U1)


def half_a_parameter(x, h):
    first, second = tr.split(W, 2, axis=-1)
    return tr.tanh(x @ first[:, :H] + x @ second[:, :H] + h @ U1)


@pytest.mark.parametrize("step", [gates_of_x, products_in_a_row, half_a_parameter])
@pytest.mark.parametrize("rows", [True, False])
def test_values_of_x_that_are_made_of_each_other(rng, step, rows):
    table, ids, both = matrix(rng, 3, F), rng.integers(0, 3, (T, B)), []
    for c in (True, False):
        for p in (table, W, W1, U1, U2):
            p.grad = None
        xs = tr.embedding(ids, table) if rows else tr.embedding(ids, table) * 1.0
        ys, _ = tr.scan(step, xs, tr.zeros((B, H)), compile=c)
        (ys * np.arange(H)).sum().backward()
        both.append([ys.numpy(), *[p.grad.numpy() for p in (table, W, W1, U1, U2) if p.grad is not None]])
    for x, y in zip(*both, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12)


def test_two_inputs_one_of_them_rows_of_a_table(rng):
    table, ids, both = matrix(rng, 3, F), rng.integers(0, 3, (T, B)), []
    more = tr.tensor(rng.standard_normal((T, B, H)), requires_grad=True)
    for c in (True, False):
        for p in (table, more, W1, U1, U2):
            p.grad = None
        xs = tr.embedding(ids, table), more
        ys, _ = tr.scan(
            lambda x, h: tr.tanh((x[0] @ W1 + x[1]) @ U2 + x[0] @ W1 + h @ U1),
            xs,
            tr.zeros((B, H)),
            compile=c,
        )
        (ys * np.arange(H)).sum().backward()
        both.append([ys.numpy(), *[p.grad.numpy() for p in (table, more, W1, U1, U2)]])
    for x, y in zip(*both, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12)


def test_the_first_scan_of_a_process():
    code = "import numpy as np, tinyrnn as tr\nstep = lambda x, h: h / 2 + x\n"
    code += "print(tr.scan(step, np.ones((3, 2, 1)), tr.zeros((2, 1)))[1].numpy())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["[[1.75]", "[1.75]]"], done.stderr


@pytest.mark.parametrize("name", ["MGU", "layer-norm LSTM"])
def test_a_large_batch_equals_its_sequences_one_by_one(rng, name):
    step, sizes = STEPS[name]
    xs = rng.standard_normal((T, 20, F))
    whole, _ = tr.scan(step, tr.tensor(xs), tuple(tr.zeros((20, n)) for n in sizes), compile=True)
    for k in (0, 7, 19):
        one, _ = tr.scan(
            step, tr.tensor(xs[:, k : k + 1]), tuple(tr.zeros((1, n)) for n in sizes), compile=False
        )
        np.testing.assert_allclose(whole.numpy()[:, k], one.numpy()[:, 0], rtol=1e-10)


def test_a_step_that_knows_the_size_of_the_batch(rng):
    for batch in (10, 20, 7):
        xs, rows = tr.tensor(rng.standard_normal((T, batch, F))), tr.tensor(rng.standard_normal((batch, H)))
        for step in (
            lambda x, h: tr.tanh(x @ W1 + h @ U1) / x.shape[0],
            lambda x, h, rows=rows: tr.tanh(x @ W1 + h * rows),
            lambda x, h, batch=batch: tr.tanh(x @ W1 + h + tr.ones((batch, H))),
        ):
            both = [tr.scan(step, xs, tr.zeros((batch, H)), compile=c)[0].numpy() for c in (True, False)]
            np.testing.assert_allclose(*both, rtol=1e-10)


def test_rows_that_were_changed_are_not_looked_up(rng):
    table, ids = matrix(rng, 3, F), rng.integers(0, 3, (T, B))
    for change in (lambda xs: xs.assign_(xs * 2), lambda xs: table.assign_(np.ones((3, F))), lambda xs: None):
        with tr.no_grad():
            xs = tr.embedding(ids, table)
            found = source_of(xs)
            assert found[0] is table and (found[1] == ids).all()
            change(xs)
            both = [tr.scan(mgu, xs, tr.zeros((B, H)), compile=c)[0].numpy() for c in (True, False)]
            np.testing.assert_allclose(*both, rtol=1e-10)


def test_the_origin_of_rows_goes_with_them_alone(rng):
    table, ids = matrix(rng, 3, F), rng.integers(0, 3, (T, B))
    with tr.no_grad():
        xs = tr.embedding(ids, table)
    others = copy.copy(xs), copy.deepcopy(xs), pickle.loads(pickle.dumps(xs)), xs.detach(), xs.copy(), xs + 0
    assert source_of(xs)[0] is table and [source_of(x) for x in others] == [None] * len(others)
    assert source_of(tr.embedding(ids, table.numpy())) is None  # nobody would notice that the array changes
    held = weakref.ref(table)
    del table
    assert held() is not None
    del xs
    assert held() is None  # at once: nothing else keeps it


def test_values_that_a_step_closes_over_may_change_between_calls():
    loads = loops.load.cache_info().misses
    for scale in (0.5, 0.25):
        alpha = tr.tensor(scale)
        both = [
            tr.scan(
                lambda x, h, alpha=alpha: h * alpha + tr.ones((B, H)) + x @ W1,
                tr.tensor(np.ones((3, B, F))),
                tr.zeros((B, H)),
                compile=c,
            )
            for c in (True, False)
        ]
        np.testing.assert_allclose(both[0][0].numpy(), both[1][0].numpy())
    assert loops.load.cache_info().misses - loads <= 1


def looks_at_values(x, h):
    return tr.tanh(x @ W1) if h.sum().item() > 0 else h


def ranked(x, h):
    return tr.sort(h, axis=-1) * 0.1 + x @ W1


def mixes_the_batch(x, h):
    return h - tr.mean(h, axis=0, keepdims=True) + x @ W1


def draws(x, h):
    return tr.dropout(h, 0.5, generator=tr.Generator(1)) + x @ W1


@pytest.mark.parametrize(("step", "why"), [
    (looks_at_values, "looks at the values"), (ranked, "the op argsort"), (mixes_the_batch, "mixes the sequences"), (draws, "the op dropout"),
])  # fmt: skip
def test_a_step_that_cannot_be_compiled_runs_eagerly_and_says_why(step, why):
    sys.modules["tinyrnn.compiler.scan"]._warned.clear()
    with pytest.warns(CompileWarning, match=f"{step.__name__} runs eagerly: .*{why}"):
        first = run(step, (H,), True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = run(step, (H,), True)  # says it once
    assert_equal(first, run(step, (H,), False))
    assert_equal(again, first)


@tr.checkpoint
def checkpointed(x, h):
    return tr.tanh(x @ W1 + h)


def seeds(x, h):
    random.seed(3)
    return tr.tanh(x @ W1 + h)


@pytest.mark.parametrize(("step", "why"), [
    (lambda x, h: tr.tanh(x @ W1) + tr.tensor(np.eye(H))[np.argsort(h.detach(), axis=1)[:, 0]], "looks at the values"),
    (lambda x, h: tr.softmax(x @ W1 + h, axis=0), "the step mixes the sequences of a batch"),
    (lambda x, h: checkpointed(x, h), "the op checkpoint has no compiled form"),
    (seeds, "the state of random numbers is changed by it.*draw or seed them before the loop"),
])  # fmt: skip
def test_the_reason_names_what_the_user_wrote(step, why):
    sys.modules["tinyrnn.compiler.scan"].forget_warnings()
    with pytest.warns(CompileWarning, match=why):
        run(step, (H,), True)


@pytest.mark.parametrize("rows", [np.ones((T, B, 3)), np.ones((T, B)), np.ones((T, B, 2, 3))])
def test_states_of_one_number_and_inputs_of_any_shape(rows):
    def step(x, h, m):
        x = tr.reshape(x, (len(h), -1)).sum(axis=1)
        return tr.tanh(0.3 * x + h), m * 0.5 + h

    with warnings.catch_warnings():
        warnings.simplefilter("error", CompileWarning)
        found = [
            tr.scan(step, rows, (tr.ones(B), tr.zeros(B)), compile=c, return_states=True)
            for c in (True, False)
        ]
    for one, other in zip(*[[*ys, *final] for ys, final in found], strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-12)


def test_compilation_can_be_turned_off(monkeypatch):
    monkeypatch.setattr(compiled, "Runner", None)
    monkeypatch.setenv("TINYRNN_COMPILE", "0")
    run(mgu, (H,), None)
    with pytest.warns(CompileWarning, match="a fault of tinyrnn's compiler"):
        run(mgu, (H,), True)


def test_changing_a_weight_before_backward_is_noticed(rng):
    w = matrix(rng, H, H)
    ys, _ = tr.scan(
        lambda x, h: tr.tanh(x @ W1 + h @ w),
        tr.tensor(rng.standard_normal((3, 2, F))),
        tr.zeros((2, H)),
        compile=True,
    )
    with tr.no_grad():
        w += 1
    with pytest.raises(tr.ChangedInPlaceError):
        ys.sum().backward()
