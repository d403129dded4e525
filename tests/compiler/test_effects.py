"""What a step does besides its tape: compiled it is what it is eagerly, and leaves as much behind."""

import contextlib
import functools
import gc
import random
import sys
import threading
import warnings
import weakref

import numpy as np
import pytest

import tinyrnn as tr

F, H, T, B = 3, 5, 6, 4
rng = np.random.default_rng(0)
W, U = (tr.tensor(rng.uniform(-1, 1, shape), requires_grad=True) for shape in ((F, H), (H, H)))
X, b = rng.uniform(-1, 1, (T, B, F)), tr.tensor(rng.uniform(-1, 1, H), requires_grad=True)
COUNT, LOG, LAST, SWITCH = 0, [], None, False
TABLE = {"on": False}
BUFFER = np.zeros(H)


@pytest.fixture(autouse=True, params=["0", "first"])
def as_python(request, monkeypatch):
    monkeypatch.setenv("TINYRNN_COMPILE", "python")
    monkeypatch.setenv("TINYRNN_REFEREE", request.param)
    sys.modules["tinyrnn.compiler.scan"].forget_warnings()


def cell(x, h):
    return tr.tanh(x @ W + h @ U + b)


def run(step, compile, xs=X):
    W.grad = U.grad = b.grad = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tr.compiler.CompileWarning)
        ys, _ = tr.scan(step, tr.tensor(xs), tr.zeros((xs.shape[1], H)), compile=compile)
    if ys.requires_grad:
        (ys * np.arange(H)).sum().backward()
    return ys.numpy().copy(), [np.zeros(1) if p.grad is None else p.grad.numpy() for p in (W, U, b)]


def equal(make, xs=X):
    """Compiled twice equals eager twice; ``make`` gives the step and a function that tells what it left
    behind.
    """
    results = []
    for compile in (False, True):
        step, left = make()
        results.append([run(step, compile, xs), run(step, compile, xs), left()])
    for (ys, grads), (other, others) in zip(results[0][:2], results[1][:2], strict=True):
        np.testing.assert_allclose(ys, other, rtol=1e-9, atol=1e-12)
        for g, o in zip(grads, others, strict=True):
            np.testing.assert_allclose(g, o, rtol=1e-9, atol=1e-12)
    assert results[0][2] == results[1][2]


class Slots:
    __slots__ = ("last", "n")

    def __init__(self):
        self.last, self.n = None, 0

    def step(self, x, h):
        self.n += 1
        y = cell(x, h) + (0 if self.last is None else self.last)
        self.last = y.detach()
        return y


class Held:
    def __init__(self):
        self.log, self.deep, self.n, self.gate = [], {"a": {"b": {"c": []}}}, 0, None

    def appends(self, x, h):
        self.log.append(h.shape)
        return cell(x, h)

    def deeply(self, x, h):
        self.deep["a"]["b"]["c"].append(1)
        return cell(x, h)

    def counts(self, x, h):
        self.n += 1
        return cell(x, h) / self.n

    def keeps(self, x, h):
        self.gate = tr.sigmoid(x @ W).detach()
        return self.gate * cell(x, h)

    def told(self):
        return self.log, self.deep, self.n, None if self.gate is None else self.gate.shape


class Counted:
    n = 0


def of_a_method(name):
    def make():
        held = Held()
        return getattr(held, name), held.told

    return make


def counting_globally():
    global COUNT
    COUNT = 0

    def step(x, h):
        global COUNT
        COUNT += 1
        return cell(x, h) if COUNT < 4 else 0.5 * h

    return step, lambda: COUNT


def remembering_globally():
    global LAST
    LAST = None

    def step(x, h):
        global LAST
        y = cell(x, h) + (0 if LAST is None else LAST)
        LAST = y.detach()
        return y

    return step, lambda: None if LAST is None else LAST.shape


def note(h):
    LOG.append(h.shape)


def a_helper_that_notes():
    LOG.clear()

    def step(x, h):
        note(h)
        return cell(x, h)

    return step, lambda: list(LOG)


def a_function_attribute():
    def step(x, h):
        step.n += 1
        return cell(x, h) * step.n

    step.n = 0
    return step, lambda: step.n


def a_class_attribute():
    Counted.n = 0

    def step(x, h):
        Counted.n += 1
        return cell(x, h)

    return step, lambda: Counted.n


def a_buffer_filled_once():
    buffer = np.zeros(H)

    def step(x, h):
        y = cell(x, h) + buffer
        buffer[:] = 1
        return y

    return step, buffer.tolist


def a_global_buffer():
    BUFFER[:] = 0

    def step(x, h):
        BUFFER[:] += 1
        return cell(x, h)

    return step, BUFFER.tolist


def of_slots():
    held = Slots()
    return held.step, lambda: (held.n, held.last.shape)


def of_a_partial():
    log = []

    def step(log, x, h):
        log.append(1)
        return cell(x, h)

    return functools.partial(step, log), lambda: log


def drawing(draw):
    def make():
        random.seed(3)
        np.random.seed(3)
        return (lambda x, h: cell(x, h) if draw() < 0.9 else h), lambda: (random.random(), np.random.rand())

    return make


def caught(x, h):
    with contextlib.suppress(Exception):
        if h.sum() > 0:
            return 0.5 * h
    return cell(x, h)


def set_in_place(x, h):
    y = tr.tanh(x @ W + h @ U)
    y.data[:, 0] = 0.0
    return y


def mask_of_values(x, h):
    m = (~np.isnan(x.data)).astype(float)
    return tr.tanh(tr.where(tr.isnan(x), 0.0, x) @ W + m @ W.detach() + h @ U)


def guard(x, h):
    z = x @ W + 2 * (h @ U)
    return tr.tanh(z * 0.1 if np.abs(z.data).max() > 2 else z)


def input_changed(x, h):
    x = x.detach() * 1.0
    x.data[x.data > 0.5] = 0.5
    return tr.tanh(x @ W + h @ U)


EFFECTS = {
    "a list of an object": of_a_method("appends"), "a list far down": of_a_method("deeply"),
    "a counter": of_a_method("counts"),
    "a gate": of_a_method("keeps"), "a global counter": counting_globally,
    "a global tensor": remembering_globally,
    "a helper": a_helper_that_notes, "a function's attribute": a_function_attribute, ("a class's "
        "attribute"): a_class_attribute,
    "a buffer filled once": a_buffer_filled_once, "a global buffer": a_global_buffer, "slots": of_slots,
    "a partial": of_a_partial,
    "Python's random numbers": drawing(random.random), "NumPy's": drawing(lambda: np.random.rand()),
}  # fmt: skip


@pytest.mark.parametrize("name", EFFECTS)
def test_what_a_step_leaves_behind(name):
    equal(EFFECTS[name])


@pytest.mark.parametrize("step", [caught, set_in_place, mask_of_values, guard, input_changed])
def test_values_that_are_looked_at_or_set(rng, step):
    xs = np.where(rng.random(X.shape) < 0.3, np.nan, X) if step is mask_of_values else X
    plain = lambda x, h: tr.tanh(x @ W + h @ U)  # noqa: E731
    run(plain, True)  # a program of the same tape that was found right
    equal(lambda: (step, lambda: None), xs)


@pytest.mark.parametrize("batch", [B, 1])
@pytest.mark.parametrize("column", [0, 1])
def test_what_the_tape_does_not_know_is_seen_by_other_values(batch, column, monkeypatch):
    """A flag of the first step is the same for all values near its own, and for those of the other sign."""
    record = sys.modules["tinyrnn.compiler.record"]
    monkeypatch.setattr(record, "_known", record.Kept(4))  # of the other column

    def step(x, h):
        behind = getattr(x, "da" + "ta")[:, column, None] != 0
        return tr.tanh(h @ U + x @ W) * behind

    xs = X[:, :batch].copy()
    xs[1:, ::2, column] = 0
    np.testing.assert_array_equal(run(step, True, xs)[0], run(step, False, xs)[0])


def test_a_recording_keeps_nothing_that_the_garbage_collector_must_find():
    record = sys.modules["tinyrnn.compiler.record"]
    gc.disable()
    try:
        for known in (False, True, True):
            x = X[0].copy()
            left = weakref.ref(x)
            record.recorded(lambda xs, states, held: (cell(xs[0], states[0]),), (x,), (np.zeros((B, H)),))
            del x
            assert left() is None or not known
    finally:
        gc.enable()


def test_effects_inside_a_network():
    class Appending(tr.Cell):
        states = ("h",)

        def build(self, input_size, hidden_size):
            self.W, self.U, self.b = self.affine(input_size, hidden_size)
            self.seen = []

        def step(self, x, h):
            self.seen.append(h)
            return tr.tanh(x @ self.W + h @ self.U + self.b)

    shapes = []
    for compile in (True, False):
        rnn = tr.RNN(Appending, F, H, seed=0, compile=compile, zoneout=0.1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", tr.compiler.CompileWarning)
            rnn(tr.tensor(X, "float32"))
        shapes.append([h.shape for h in rnn.cells[0].seen])
        assert [n for n, _ in rnn.named_parameters()] == ["cells.0.W", "cells.0.U", "cells.0.b"]
    assert shapes == [[(B, H)] * T] * 2


class Scaled(tr.Cell):
    """Divides by the size of the batch if an option says so."""

    states = ("h",)

    def build(self, input_size, hidden_size, *, scale: float = 0.0):
        self.W, self.U, self.b = self.affine(input_size, hidden_size)
        self.scale, self.settings = scale, {"deep": {"scale": scale}}

    def step(self, x, h):
        return tr.tanh(x @ self.W + h @ self.U) * (self.scale or 1 / x.shape[0])


def test_an_option_that_brings_the_size_of_the_batch_in():
    for scale in (0.3, 0.0, 0.5):
        for batch in (4, 9, 1):
            both = [
                tr.RNN(Scaled, F, H, seed=0, compile=c, cell_options={"scale": scale})(
                    np.ones((T, batch, F), "f")
                )[0].numpy()
                for c in (True, False)
            ]
            np.testing.assert_allclose(*both, rtol=1e-4, atol=1e-6)


def switched_by_a_name(x, h):
    return cell(x, h) * (1 / x.shape[0] if SWITCH else 0.3)


def switched_by_a_table(x, h):
    return cell(x, h) * (1 / x.shape[0] if TABLE["on"] else 0.3)


@pytest.mark.parametrize("step", [switched_by_a_name, switched_by_a_table])
def test_switches(step):
    global SWITCH
    for on in (False, True, False, True):
        SWITCH, TABLE["on"] = on, on
        np.testing.assert_allclose(run(step, True)[0], run(step, False)[0], rtol=1e-9)
    SWITCH, TABLE["on"] = False, False


def test_helpers_of_one_form():
    make = lambda act: lambda x, h: act(x @ W + h @ U)  # noqa: E731
    for act in (
        lambda z: tr.tanh(z) * 0.5,
        lambda z: tr.tanh(z) * (1 / z.shape[0]),
        lambda z: tr.tanh(z) * 0.5,
    ):
        np.testing.assert_allclose(run(make(act), True)[0], run(make(act), False)[0], rtol=1e-9)


def test_a_cache_of_a_step_is_no_effect():
    class Cached:
        def __init__(self):
            self.masks = {}

        def step(self, x, h):
            if x.shape[0] not in self.masks:
                self.masks[x.shape[0]] = np.tri(x.shape[0], H)
            return cell(x, h) * self.masks[x.shape[0]]

    held = Cached()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tr.scan(held.step, X, tr.zeros((B, H)), compile=True)


def test_an_open_file_is_no_iterator(tmp_path):
    with open(tmp_path / "log", "w") as file, warnings.catch_warnings():
        warnings.simplefilter("error")
        tr.scan(lambda x, h, file=file: cell(x, h), X, tr.zeros((B, H)), compile=True)


def test_an_iterator_is_not_drawn_from():
    def make():
        steps = iter(range(100))
        return (lambda x, h: cell(x, h) * (1 + next(steps))), lambda: next(steps)

    equal(make)


def test_other_threads_keep_what_they_write():
    class Shared:
        def __init__(self):
            self.log = []

        def step(self, x, h):
            return cell(x, h)

    held, stop, written = Shared(), threading.Event(), []

    def write():
        while not stop.is_set():
            held.log.append(len(written))
            written.append(1)

    tr.scan(held.step, X, tr.zeros((B, H)), compile=True)
    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(30):
            tr.scan(held.step, X, tr.zeros((B, H)), compile=True)
    finally:
        stop.set()
        thread.join()
    assert held.log == list(range(len(written)))


def test_a_step_that_returns_nothing_says_so():
    with pytest.raises(tr.ShapeError, match="step returned NoneType: return the next state"):
        tr.scan(lambda x, h: None, X, tr.zeros((B, H)))


def test_where_the_eager_loop_raises_nothing_else_is_said():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(tr.GradientError):
            tr.scan(lambda x, h: cell(x, h) * float((h @ U).sum()), X, tr.zeros((B, H)))


def test_the_warning_stands_at_the_line_of_the_caller():
    with pytest.warns(tr.compiler.CompileWarning) as seen:
        tr.RNN(Appends, F, H)(np.ones((T, B, F), "f"))
    assert seen[0].filename == __file__ == sys.modules[__name__].__file__


class Appends(tr.Cell):
    states = ("h",)

    def build(self, input_size, hidden_size):
        self.W, self.seen = self.weight(input_size, hidden_size), []

    def step(self, x, h):
        self.seen.append(1)
        return tr.tanh(x @ self.W + h)
