"""Steps that were once compiled into something else than what they say, of each kind several, against the
eager loop.

The generated loops run as plain Python here (TINYRNN_COMPILE=python), a few are really compiled. Every test
runs without the referee, so that a fault of the compiler is seen, and with it at every call, so that it is
seen to raise no false alarm.
"""

import itertools
import re
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest

import tinyrnn as tr
from tinyrnn.compiler import CompileWarning

F, H, G, T, B = 3, 5, 2, 3, 4


@pytest.fixture(autouse=True, params=["0", "always"], ids=["no referee", "referee"])
def referee(request, monkeypatch):
    monkeypatch.setenv("TINYRNN_COMPILE", "python")
    monkeypatch.setenv("TINYRNN_REFEREE", request.param)
    for kept in ("_warned", "_sources"):  # a warning is given once
        getattr(sys.modules["tinyrnn.compiler.scan"], kept).clear()
    return request.param


# ------------------------------------------------------------------ one recurrence, compiled or not

SHAPES = {
    "W": (F, H), "W2": (F, H), "U": (H, H), "U2": (H, H), "V": (H, G), "V2": (G, H), "A": (H, 2), "C": (2,
    H), "D": (H, H + 2),
    "b": (H,), "g": (H,), "row": (1, H), "s": (), "one": (1,), "wide": (F + H, H),
}  # fmt: skip
OF_THE_BATCH = {"c1": H, "c2": H, "c3": H, "d1": 1, "d2": 1}


def parameters(batch=B, dtype="float64"):
    """Fresh leaves, always of the same values: of `SHAPES`, and rows of the batch."""
    random = np.random.default_rng(0)
    shapes = SHAPES | {name: (batch, n) for name, n in OF_THE_BATCH.items()} | {"e1": (batch,)}
    return types.SimpleNamespace(
        **{
            name: tr.tensor(random.uniform(-1, 1, shape), dtype, requires_grad=True)
            for name, shape in shapes.items()
        }
    )


def weighted(ys, final):
    """A loss in which every element of the outputs and final states has a weight of its own."""
    random = np.random.default_rng(2)
    outs = [*(ys if isinstance(ys, tuple) else [ys]), *(final if isinstance(final, tuple) else [final])]
    return sum(
        ((o * random.uniform(-1, 1, o.shape).astype(o.dtype)).sum() for o in outs),
        tr.zeros((), dtype=outs[0].dtype),
    )


def run(
    make, compile, *, widths=(H,), batch=B, steps=T, dtype="float64", loss=weighted, before=None, **options
):
    """Outputs, final states and all gradients, by name; ``make(p)`` gives the step that closes over ``p``."""
    p, random = parameters(batch, dtype), np.random.default_rng(1)
    xs = tr.tensor(random.uniform(-1, 1, (steps, batch, F)), dtype, requires_grad=True)
    init = tuple(tr.tensor(random.uniform(-1, 1, (batch, n)), dtype, requires_grad=True) for n in widths)
    if before is not None:
        before(p)
    ys, final = tr.scan(make(p), xs, init if len(init) > 1 else init[0], compile=compile, **options)
    loss(ys, final).backward()
    outs = [*(ys if isinstance(ys, tuple) else [ys]), *(final if isinstance(final, tuple) else [final])]
    leaves = {"xs": xs} | {f"state {k}": t for k, t in enumerate(init)} | vars(p)
    found = {f"output {k}": o.numpy().copy() for k, o in enumerate(outs)}
    return found | {
        k: np.zeros(t.shape) if t.grad is None else t.grad.numpy()
        for k, t in leaves.items()
        if hasattr(t, "grad")
    }


def assert_equal(found, expected, rtol=1e-9):
    assert found.keys() == expected.keys()
    for name, right in expected.items():
        scale = max(np.abs(right).max(initial=0), 1e-2)
        assert found[name].shape == right.shape, name
        assert np.abs(found[name] - right).max(initial=0) <= rtol * scale, name


def eagerly_or_not(make, compile, **how):
    """`run` of what may be compiled or not, as long as the compiler does not say that it is at fault."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", CompileWarning)
        found = run(make, compile, **how)
    assert not [w for w in seen if re.search(r"\bfault\b", str(w.message))]
    return found


def check(make, *, compiled=True, **how):
    """Compiled equals eager; ``compiled``: a `CompileWarning` is an error."""
    eager = run(make, False, **how)
    for compile in (True, None):
        assert_equal((run if compiled else eagerly_or_not)(make, compile, **how), eager)


def elman(p):
    return lambda x, h: tr.tanh(x @ p.W + h @ p.U + p.b)


_numbers = itertools.count()


def fresh(step):
    """``step`` as another function of a name of its own: what is said once a step is said again."""
    name = f"{step.__name__.strip('<>')}_{next(_numbers)}"
    copy = types.FunctionType(
        step.__code__.replace(co_name=name, co_qualname=name), step.__globals__, name, None, step.__closure__
    )
    copy.__defaults__ = step.__defaults__
    return copy


def table(cases):
    """Parametrise a test over a dict: names and their values."""
    return pytest.mark.parametrize("case", [pytest.param(v, id=k) for k, v in cases.items()])


# ------------------------------------------------------------------ 1: several rows of the batch with one
# gradient

ROWS_OF_THE_BATCH = {
    "two": lambda p: lambda x, h: tr.tanh((h + p.c1 + p.c2) @ p.U * p.b),
    "three": lambda p: lambda x, h: tr.tanh((h + p.c1 + p.c2 + p.c3) @ p.U * p.b),
    "one of them negative": lambda p: lambda x, h: tr.tanh((h + p.c1 - p.c2) @ p.U),
    "columns": lambda p: lambda x, h: tr.tanh((h + p.d1 + p.d2) @ p.U * p.b),
    "rows and a column": lambda p: lambda x, h: tr.tanh((h + p.c1 + p.d1 + p.c2 + p.d2) * p.b),
    "and sums of rows": lambda p: lambda x, h: tr.tanh(((h + p.c1 + p.c2) * p.g + p.b) @ p.U + p.row),
    "gate of both": lambda p: lambda x, h: tr.sigmoid(p.c1 + p.c2) * h + x @ p.W,
    "the same twice": lambda p: lambda x, h: tr.tanh(h @ p.U + p.c1 + p.c1) + p.c1,
    "one that needs no gradient": lambda p: lambda x, h: tr.tanh((h + p.c1 + p.c2.detach()) @ p.U),
    "computed from parameters": lambda p: (lambda c: lambda x, h: tr.tanh((h + c + p.c2) @ p.U))(p.c1 @ p.U2),
}


@table(ROWS_OF_THE_BATCH)
def test_rows_of_the_batch_with_one_gradient(case):
    check(case)


def test_rows_of_the_batch_in_several_states():
    def make(p):
        return lambda x, h, c: (tr.tanh(h + p.c1 + p.c2) + c * p.d1, 0.5 * c + p.c1 + p.c2)

    check(make, widths=(H, H))


# ------------------------------------------------------------------ 2: bare products in the updates of later
# states

LATER_STATES = {
    "decay and product": ((H, H), lambda p: lambda x, h, c: (tr.tanh(x @ p.W + c), 0.9 * c + h @ p.U)),
    "product alone": ((H, H), lambda p: lambda x, h, c: (tr.tanh(x @ p.W + c), h @ p.U)),
    "half a product": ((H, H), lambda p: lambda x, h, c: (tr.tanh(x @ p.W + c), 0.5 * (h @ p.U))),
    "two products": ((H, H), lambda p: lambda x, h, c: (tr.tanh(x @ p.W + c), 0.9 * c + h @ p.U + c @ p.U2)),
    "with a bias": ((H, H), lambda p: lambda x, h, c: (tr.tanh(x @ p.W + c), 0.9 * c + h @ p.U + p.b)),
    "of x": ((H, H), lambda p: lambda x, h, c: (tr.tanh(h @ p.U + c), 0.9 * c + x @ p.W)),
    "of both": ((H, H), lambda p: lambda x, h, c: (tr.tanh(h @ p.U + c), 0.9 * c + x @ p.W + h @ p.U2)),
    "of another width": ((H, G), lambda p: lambda x, h, c: (tr.tanh(x @ p.W + c @ p.V2), 0.9 * c + h @ p.V)),
    "of the new state": (
        (H, H),
        lambda p: lambda x, h, c: (lambda y: (y, 0.5 * c + y @ p.U))(tr.tanh(x @ p.W + c)),
    ),
    "less a product": ((H, H), lambda p: lambda x, h, c: (tr.tanh(x @ p.W + c), 0.9 * c - h @ p.U)),
    "three states": (
        (H, H, H),
        lambda p: lambda x, h, c, m: (tr.tanh(x @ p.W + m), 0.9 * c + h @ p.U, 0.5 * m + c @ p.U2 + h @ p.U),
    ),
    "turned matrix": ((H, H), lambda p: lambda x, h, c: (tr.tanh(x @ p.W + c), 0.9 * c + h @ p.U.T)),
    "first state too": ((H, H), lambda p: lambda x, h, c: (0.5 * h + x @ p.W + c, 0.9 * c + h @ p.U)),
    "exchanged": ((H, H), lambda p: lambda x, h, c: (c, h @ p.U + x @ p.W)),
    "returned twice": ((H, H), lambda p: lambda x, h, c: (lambda y: (y, y))(0.9 * c + h @ p.U)),
    "constant": ((H, H), lambda p: lambda x, h, c: (tr.tanh(x @ p.W + c), tr.zeros_like(h))),
    "closure": ((H, H), lambda p: lambda x, h, c: (tr.tanh(x @ p.W + c), p.c1)),
}
FORMS = {
    "plain": {},
    "all states": {"return_states": True},
    "reversed, mask and resets": {
        "reverse": True,
        "mask": np.arange(T * B).reshape(T, B) % 3 > 0,
        "resets": np.arange(T * B).reshape(T, B) % 4 == 1,
    },
}


@pytest.mark.parametrize("form", FORMS)
@table(LATER_STATES)
def test_linear_updates_of_later_states(case, form):
    widths, make = case
    check(make, widths=widths, **FORMS[form])


# ------------------------------------------------------------------ 3: values [B], and columns made of them

FLAT_VALUES = {
    "sum": lambda p: lambda x, h: h - 0.2 * h.sum(axis=1)[:, None] + x @ p.W,
    "last column": lambda p: lambda x, h: 0.5 * h + h[:, -1][:, None] + x @ p.W,
    "first column": lambda p: lambda x, h: tr.tanh(h * h[:, 0][:, None] + x @ p.W),
    "column of x": lambda p: lambda x, h: tr.tanh(h @ p.U + x[..., 1][:, None]),
    "slice of one": lambda p: lambda x, h: tr.tanh(h * h[:, 0:1] + x @ p.W),
    "expand_dims": lambda p: lambda x, h: tr.tanh(h - tr.expand_dims(h.mean(axis=1), axis=1) + x @ p.W),
    "expand_dims at the end": lambda p: (
        lambda x, h: tr.tanh(h - tr.expand_dims(h.max(axis=-1), axis=-1) + x @ p.W)
    ),
    "reshape": lambda p: lambda x, h: tr.tanh(h * h.sum(axis=-1).reshape(-1, 1) + x @ p.W),
    "reshape of a column": lambda p: lambda x, h: tr.tanh(h * h[:, 1].reshape(-1, 1) + x @ p.W),
    "squeeze": lambda p: lambda x, h: tr.tanh(h * h[:, 2:3].squeeze(1)[:, None] + x @ p.W),
    "product of two": lambda p: lambda x, h: tr.tanh(h + (h.sum(axis=1) * x[:, 0])[:, None] @ p.row),
    "of a product": lambda p: lambda x, h: tr.tanh(h * (h @ p.U).mean(axis=1)[:, None] + x @ p.W),
    "pointwise": lambda p: lambda x, h: tr.tanh(h * tr.tanh(h.sum(axis=1) + 0.1)[:, None] + x @ p.W),
    "with a closure": lambda p: lambda x, h: tr.tanh(h * (h.mean(axis=1) * p.e1)[:, None] + x @ p.W),
    "with a number": lambda p: lambda x, h: tr.tanh(h * (h.mean(axis=1) * p.s)[:, None] + x @ p.W),
    "logsumexp": lambda p: lambda x, h: 0.5 * h - 0.1 * tr.logsumexp(h, axis=1)[:, None] + x @ p.W,
    "norm": lambda p: lambda x, h: tr.tanh(h / (1 + tr.sqrt((h * h).sum(axis=1)))[:, None] + x @ p.W),
    "dot product": lambda p: lambda x, h: tr.tanh(((h @ p.U) * h).sum(axis=-1)[:, None] * p.b + x @ p.W),
    "detached": lambda p: lambda x, h: tr.tanh(h - h.max(axis=1)[:, None].detach() + x @ p.W),
    "variance": lambda p: lambda x, h: tr.tanh(h / (1 + tr.var(h, axis=1))[:, None] + x @ p.W),
    "joined": lambda p: lambda x, h: tr.tanh(tr.concat([h.sum(axis=1)[:, None], h[:, 1:]], axis=1) @ p.U),
    "product of the sum of both": lambda p: (
        lambda x, h: tr.tanh((h + 0.3 * h.sum(axis=1)[:, None]) @ p.U + x @ p.W)
    ),
    "product with the last column": lambda p: lambda x, h: tr.tanh((h - h[:, -1][:, None]) @ p.U + x @ p.W),
    "product with a column of x": lambda p: lambda x, h: tr.tanh((x * x[:, 0][:, None]) @ p.W + h),
    "product of a column": lambda p: lambda x, h: tr.tanh(h.mean(axis=1)[:, None] @ p.row + x @ p.W),
    "both sides": lambda p: (
        lambda x, h: tr.tanh((h * x.sum(axis=1)[:, None]) @ p.U * h.max(axis=1)[:, None] + x @ p.W)
    ),
    "stacked": lambda p: lambda x, h: tr.tanh(tr.stack([h.sum(axis=1), h[:, 0]], axis=1) @ p.C + x @ p.W),
}


@pytest.mark.parametrize("batch", [1, 2, F, 4, H, 9])
@table(FLAT_VALUES)
def test_one_value_for_each_sequence(case, batch):
    check(case, compiled=False, batch=batch)


LAID_ALONG_COLUMNS = {  # [B] meets [B, H] or [H] where B == H
    "rows": lambda p: lambda x, h: tr.tanh(h + h.sum(axis=1) + x @ p.W),
    "column of rows": lambda p: lambda x, h: tr.tanh(h * h[:, 0] + x @ p.W),
    "a bias": lambda p: lambda x, h: tr.tanh(h * (h.mean(axis=1) * p.b)[:, None] + x @ p.W),
    "a closure [B]": lambda p: lambda x, h: tr.tanh(h * p.e1 + x @ p.W),
    "made a row": lambda p: lambda x, h: tr.tanh(h + h.sum(axis=1)[None, :] + x @ p.W),
}


@table(LAID_ALONG_COLUMNS)
def test_as_many_sequences_as_features(case):
    check(case, compiled=False, batch=H)


# ------------------------------------------------------------------ 4: what the tape does not record


def without_recording(p):
    def step(x, h):
        with tr.no_grad():
            q = tr.tanh(h)
        return tr.tanh(x @ p.W + q @ p.U)

    return step


def without_recording_of_x(p):
    def step(x, h):
        with tr.no_grad():
            gate = tr.sigmoid(x @ p.W)
        return gate * h + x @ p.W2

    return step


def drawn_noise(p):
    noise = tr.Generator(3)
    return lambda x, h: tr.tanh(x @ p.W + h + 0.1 * tr.randn(h.shape, generator=noise))


def drawn_uniformly(p):
    noise = tr.Generator(3)
    return lambda x, h: tr.where(tr.rand(h.shape, generator=noise) > 0.5, h, x @ p.W)


def buffer_assigned(p):
    last = tr.zeros((B, H))

    def step(x, h):
        new = tr.tanh(x @ p.W + h @ p.U + last.copy() * p.b)
        with tr.no_grad():
            last.assign_(h)
        return new

    return step


def buffer_added_to(p):
    total = tr.zeros((B, H))

    def step(x, h):
        nonlocal total
        with tr.no_grad():
            total += 1.0
        return tr.tanh(x @ p.W + h * total.copy())

    return step


NOT_RECORDED = {  # the step, and what the message is to mention
    "no_grad": (without_recording, r"no_grad|recorded"),
    "no_grad of x": (without_recording_of_x, r"no_grad|recorded"),
    "tensor of a value": (
        lambda p: lambda x, h: tr.tanh(x @ p.W + tr.tensor(tr.tanh(h)) @ p.U),
        r"tensor|values|recorded",
    ),
    "tensor of a detached value": (
        lambda p: lambda x, h: tr.tanh(x @ p.W + tr.tensor(tr.tanh(h).detach()) @ p.U),
        r"tensor|values|recorded",
    ),
    "data": (lambda p: lambda x, h: tr.tanh(x @ p.W + np.tanh(h.data) @ p.U), r"data|values|recorded"),
    "data of x": (lambda p: lambda x, h: tr.tanh(x @ p.W + h * x.data.sum()), r"data|values|recorded"),
    "array": (lambda p: lambda x, h: tr.tanh(x @ p.W + np.asarray(h) * p.b), r"numpy|array|values|recorded"),
    "array of a detached value": (
        lambda p: lambda x, h: tr.tanh(x @ p.W + np.tanh(np.asarray(h.detach())) * p.b),
        r"numpy|array|values|recorded",
    ),
    "item": (lambda p: lambda x, h: tr.tanh(x @ p.W + h * h.sum().item()), r"item|values"),
    "decision": (lambda p: lambda x, h: tr.tanh(x @ p.W) if h.sum() > 0 else 0.5 * h, r"values"),
    "noise": (drawn_noise, r"random|drawn?|draws|noise"),
    "uniform noise": (drawn_uniformly, r"random|drawn?|draws|noise"),
    "buffer assigned": (buffer_assigned, r"in place|assign|changed"),
    "buffer added to": (buffer_added_to, r"in place|\+=|changed"),
}


def outcome(make, compile, **how):
    """What `run` gives, or the class of what it raises."""
    try:
        return run(make, compile, **how)
    except tr.TinyrnnError as error:
        return type(error)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@table(NOT_RECORDED)
def test_what_the_tape_does_not_record_runs_eagerly(case, dtype):
    make, why = case
    if dtype == "float32" and make in (drawn_noise, buffer_assigned, buffer_added_to):
        pytest.skip("its noise and buffers are float64")
    eager = outcome(make, False, dtype=dtype)
    if isinstance(
        eager, type
    ):  # an array of a tensor that is being differentiated is refused by the eager loop as well
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CompileWarning)
            assert outcome(make, None, dtype=dtype) is eager
        return
    with pytest.warns(CompileWarning, match=f"runs eagerly: .*({why})"):
        found = run(lambda p: fresh(make(p)), None, dtype=dtype)
    assert_equal(found, eager, 1e-9 if dtype == "float64" else 1e-4)


def test_the_state_of_a_generator_is_that_of_the_eager_loop():
    after = []
    for compile in (None, False):
        noise = tr.Generator(3)

        def step(x, h, noise=noise):
            return 0.5 * h + tr.randn(h.shape, generator=noise) + x

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CompileWarning)
            tr.scan(step, np.zeros((T, B, H)), tr.zeros((B, H)), compile=compile)
        after.append(noise.state)
    assert after[0] == after[1]


def test_noise_of_numpy_is_other_noise_at_every_step():
    random = np.random.default_rng(0)

    def step(x, h):
        return 0 * h + x + random.standard_normal(h.shape)

    with pytest.warns(CompileWarning, match="runs eagerly"):
        ys, _ = tr.scan(fresh(step), np.zeros((T, B, H)), tr.zeros((B, H)))
    assert not np.isclose(ys.numpy()[0], ys.numpy()[1]).any()


def test_an_attribute_that_is_kept_between_steps():
    class Delayed:
        """Adds what it was given at the step before."""

        def __init__(self, p):
            self.p, self.last = p, tr.zeros((B, F))

        def step(self, x, h):
            new = tr.tanh(x @ self.p.W + self.last @ self.p.W2)
            self.last = x.detach()
            return new

    xs = np.random.default_rng(4).uniform(-1, 1, (5, B, F))
    with pytest.warns(CompileWarning, match="step runs eagerly"):
        ys, _ = tr.scan(Delayed(parameters()).step, xs, tr.zeros((B, H)))
    expected, _ = tr.scan(Delayed(parameters()).step, xs, tr.zeros((B, H)), compile=False)
    # A recording leaves its own inputs in the attribute: they reach the first step alone.
    np.testing.assert_allclose(ys.numpy()[1:], expected.numpy()[1:], rtol=1e-12)


# ------------------------------------------------------------------ 5 and 8: batch sizes in all orders


def own_batch_asserted(p):
    batch = p.c1.shape[0]

    def step(x, h):
        assert h.shape == (batch, H) and x.shape == (batch, F)
        return tr.tanh(x @ p.W + h @ p.U)

    return step


KNOWS_THE_BATCH = {
    "divided by it": lambda p: lambda x, h: tr.tanh(x @ p.W + h @ p.U) / x.shape[0],
    "times its inverse": lambda p: lambda x, h: tr.tanh(x @ p.W + h @ p.U) * (1 / h.shape[0]),
    "length": lambda p: lambda x, h: tr.tanh(x @ p.W + h) / len(x),
    "decided by it": lambda p: lambda x, h: tr.tanh(x @ p.W + h) if x.shape[0] > 5 else 0.5 * h + x @ p.W,
    "of a closure": lambda p: lambda x, h: tr.tanh(x @ p.W + h @ p.U) / p.c1.shape[0],
    "asserted": own_batch_asserted,
    "size": lambda p: lambda x, h: tr.tanh(x @ p.W + h @ p.U) / h.size,
    "depth": lambda p: lambda x, h: [h := tr.tanh(h + x @ p.W) for _ in range(min(x.shape[0], 3))][-1],
    "ones made in the step": lambda p: lambda x, h: tr.tanh(x @ p.W + h + tr.ones((x.shape[0], H))),
    "reshape": lambda p: lambda x, h: tr.tanh(h * tr.reshape(h.sum(axis=1), (x.shape[0], 1)) + x @ p.W),
    "numpy of its size": lambda p: lambda x, h: tr.tanh(h + x @ p.W + np.linspace(0, 1, x.shape[0])[:, None]),
}
ONE_ROW = {
    "row": lambda p: lambda x, h: tr.tanh(x @ p.W + h @ p.U + p.row),
    "row, multiplied": lambda p: lambda x, h: tr.tanh(x @ p.W + h * p.row),
    "row computed": lambda p: (lambda row: lambda x, h: tr.tanh(x @ p.W + h * row))(tr.tanh(p.row)),
    "row and bias": lambda p: lambda x, h: tr.tanh((h + p.row) @ p.U * p.b),
    "row made in the step": lambda p: lambda x, h: tr.tanh(h + x @ p.W + tr.ones((1, H)) * p.b),
    "rows of the batch": lambda p: lambda x, h: tr.tanh(h + x @ p.W + p.c1 * p.row),
    "column of the batch": lambda p: lambda x, h: tr.tanh(h + x @ p.W + p.d1 * p.row),
    "number": lambda p: lambda x, h: tr.tanh(h * p.s + x @ p.W + p.one),
    "matrix": lambda p: lambda x, h: tr.tanh(h @ p.A @ p.C + x @ p.W),
}
ORDERS = [(1, 4, 9, 4, 1), (9, 1, 4), (4, 1, 9, 2, 3, 7), (2, 6, 12, 7)]


@pytest.mark.parametrize("order", ORDERS, ids=str)
@table(KNOWS_THE_BATCH | ONE_ROW)
def test_batch_sizes_in_any_order(case, order):
    for batch in order:
        check(case, compiled=False, batch=batch)


# ------------------------------------------------------------------ 6: detach

DETACHED = {
    "x": lambda p: lambda x, h: tr.tanh(x.detach() @ p.W + h @ p.U),
    "x, and x itself": lambda p: lambda x, h: tr.tanh(x.detach() @ p.W + x @ p.W2 + h @ p.U),
    "product of x": lambda p: lambda x, h: tr.tanh((x @ p.W).detach() * p.b + h @ p.U),
    "matrix": lambda p: lambda x, h: tr.tanh(x @ p.W.detach() + h @ p.U),
    "matrix of the state": lambda p: lambda x, h: tr.tanh(x @ p.W + h @ p.U.detach()),
    "matrix, and itself": lambda p: lambda x, h: tr.tanh(x @ p.W + h @ p.U.detach() + h @ p.U),
    "computed parameter": lambda p: lambda x, h: tr.tanh(x @ tr.tanh(p.W).detach() + h @ p.U),
    "bias": lambda p: lambda x, h: tr.tanh(x @ p.W + h @ p.U + p.b.detach() * p.g),
    "state": lambda p: lambda x, h: tr.tanh(x @ p.W + h.detach() @ p.U),
    "half of the state": lambda p: lambda x, h: tr.tanh(x @ p.W + h @ p.U - h.detach()),
    "gate of x": lambda p: lambda x, h: tr.sigmoid(x @ p.W).detach() * h + x @ p.W2,
    "rows of the batch": lambda p: lambda x, h: tr.tanh(x @ p.W + h + p.c1.detach() * p.b),
    "straight through": lambda p: lambda x, h: h + (tr.sign(h) - h).detach() + x @ p.W,
    "all": lambda p: lambda x, h: tr.tanh(x @ p.W + h @ p.U).detach() + 0 * h,
    "in a row": lambda p: lambda x, h: tr.tanh((x.detach() @ p.W).detach() @ p.U.detach() + h * p.b),
}


@table(DETACHED)
def test_detach(case):
    check(case)


@pytest.mark.parametrize("rows", [2, 40])
@table(DETACHED)
def test_detach_with_rows_of_a_table(case, rows):
    found, ids = [], np.arange(T * B).reshape(T, B) % rows
    for compile in (True, False):
        p, table = (
            parameters(),
            tr.tensor(np.random.default_rng(3).uniform(-1, 1, (rows, F)), requires_grad=True),
        )
        ys, final = tr.scan(
            case(p), tr.embedding(ids, table), tr.zeros((B, H), requires_grad=True), compile=compile
        )
        weighted(ys, final).backward()
        leaves = vars(p) | {"table": table}
        found.append(
            {"ys": ys.numpy()}
            | {k: np.zeros(t.shape) if t.grad is None else t.grad.numpy() for k, t in leaves.items()}
        )
    assert_equal(*found)


def second_order(make, compile):
    """Gradients of the sum of the squares of all gradients of first order."""
    random = np.random.default_rng(1)
    xs, h = random.uniform(-1, 1, (T, B, F)), random.uniform(-1, 1, (B, H))
    names = ["W", "U", "b", "c1"]
    values = [getattr(parameters(), name).numpy() for name in names]

    def slopes(*primals):
        def loss(xs, h, *values):
            p = types.SimpleNamespace(**(vars(parameters()) | dict(zip(names, values, strict=True))))
            return weighted(*tr.scan(make(p), xs, h, compile=compile))

        return sum((g * g).sum() for g in tr.grad(loss, tuple(range(len(primals))))(*primals))

    found = tr.grad(slopes, tuple(range(2 + len(names))))(
        tr.tensor(xs), tr.tensor(h), *map(tr.tensor, values)
    )
    return dict(zip(["xs", "h", *names], (g.numpy() for g in found), strict=True))


@table(
    {
        k: DETACHED[k]
        for k in ("x", "product of x", "matrix", "state", "half of the state", "gate of x", "in a row")
    }
)
def test_detach_in_second_order(case):
    assert_equal(second_order(case, True), second_order(case, False))


@pytest.mark.parametrize("form", ["recurrent_dropout", "variational", "weight_drop"])
@pytest.mark.parametrize("compile", [True, False])
@table({k: v for k, v in DETACHED.items() if "batch" not in k})
def test_detach_under_recurrent_dropout(case, compile, form):
    """A probability so small that nothing is dropped: outputs and gradients are those of the step itself."""

    class Detaching(tr.Cell):
        def build(self, input_size, hidden_size):
            self.p = p
            for name in SHAPES:
                setattr(self, name, getattr(p, name))

        def step(self, x, h):
            return case(p)(x, h)

    rates = (
        {"weight_drop": 1e-15}
        if form == "weight_drop"
        else {"recurrent_dropout": 1e-15, "variational": form != "recurrent_dropout"}
    )
    expected = run(case, False)
    p = parameters()
    random = np.random.default_rng(1)
    xs = tr.tensor(random.uniform(-1, 1, (T, B, F)), requires_grad=True)
    h = tr.tensor(random.uniform(-1, 1, (B, H)), requires_grad=True)
    try:
        ys, final = tr.RNN(Detaching, F, H, dtype="float64", seed=0, compile=compile, **rates).train()(
            xs, [(h,)]
        )
    except tr.InputError as error:
        pytest.skip(str(error))  # a cell that cannot be read is refused, not changed
    weighted(ys, final[0][0]).backward()
    leaves = {"xs": xs, "state 0": h} | vars(p)
    found = {"output 0": ys.numpy(), "output 1": final[0][0].numpy()}
    assert_equal(
        found | {k: np.zeros(t.shape) if t.grad is None else t.grad.numpy() for k, t in leaves.items()},
        expected,
    )


# ------------------------------------------------------------------ 7: losses that use what they are given in
# other forms

_weights = np.random.default_rng(5).uniform(-1, 1, (12, 12))
LOSSES = {
    "final, transposed": lambda ys, final: (final.T * _weights[:H, :B]).sum() + ys.sum(),
    "final alone, transposed": lambda ys, final: (final.T * _weights[:H, :B]).sum(),
    "mean over the batch": lambda ys, final: (final.mean(axis=0) * _weights[0, :H]).sum(),
    "sum over the batch": lambda ys, final: (final.sum(axis=0) * _weights[0, :H]).sum(),
    "backwards": lambda ys, final: (final[:, ::-1] * _weights[:B, :H]).sum(),
    "broadcast": lambda ys, final: (
        (tr.broadcast_to(final[:, :1], (B, H)) * _weights[:B, :H]).sum() + final.sum()
    ),
    "sum": lambda ys, final: final.sum(),
    "mean": lambda ys, final: final.mean() + ys.mean(),
    "one sequence": lambda ys, final: (final[1] * _weights[0, :H]).sum(),
    "product of itself": lambda ys, final: (final.T @ final * _weights[:H, :H]).sum(),
    "flipped": lambda ys, final: (tr.flip(final, axis=0) * _weights[:B, :H]).sum(),
    "outputs, axes moved": lambda ys, final: (
        tr.permute_dims(ys, (2, 0, 1)) * _weights[:H, : len(ys), None]
    ).sum(),
    "outputs, batch first": lambda ys, final: (
        (tr.swapaxes(ys, 0, 1) * _weights[:B, : len(ys), None]).sum() + final.sum()
    ),
    "last output": lambda ys, final: (ys[-1].T * _weights[:H, :B]).sum(),
    "outputs, backwards": lambda ys, final: (ys[::-1, :, ::-1] * _weights[:B, :H]).sum(),
    "outputs over time": lambda ys, final: (ys.mean(axis=0).T * _weights[:H, :B]).sum(),
    "outputs and final": lambda ys, final: (ys * final).sum(),
    "outputs twice": lambda ys, final: (ys * ys).sum() + (ys[0] * ys[-1]).sum(),
}


@table(LOSSES)
@pytest.mark.parametrize("steps", [2, 3])
def test_losses_in_other_forms(case, steps):
    check(elman, loss=case, steps=steps)


@pytest.mark.parametrize("used", [0, 1, 2])
@pytest.mark.parametrize("form", ["{}.T", "{}.mean(axis=0)", "{}[:, ::-1]", "{}"])
def test_losses_on_one_of_several_final_states(form, used):
    def loss(ys, final):
        o = eval(form.format("o"), {"o": final[used]})
        return (o * (_weights[: o.shape[0], : o.shape[1]] if o.ndim == 2 else _weights[0, : o.size])).sum()

    def make(p):
        return lambda x, h, c, m: (
            tr.tanh(x @ p.W + m @ p.U),
            tr.tanh(h @ p.V + c),
            0.5 * m + h @ p.U2 + c @ p.V2,
        )

    check(make, widths=(H, G, H), loss=loss)


# ------------------------------------------------------------------ 9 and 10: casts, and sums of bools

CASTS = {
    "int64": lambda p: lambda x, h: tr.tanh(x @ p.W + h + (3 * h).astype("int64") * p.b),
    "int64 of x": lambda p: lambda x, h: tr.tanh((3 * x).astype("int64") * 1.0 @ p.W + h),
    "int64 and back": lambda p: lambda x, h: tr.tanh(x @ p.W + (4 * h).astype("int64").astype("float64")),
    "bool": lambda p: lambda x, h: tr.tanh(x @ p.W + h.astype(bool) * p.b),
    "bool and back": lambda p: lambda x, h: tr.tanh(x @ p.W + (h - h).astype(bool).astype("float64") + h),
    "round trip": lambda p: lambda x, h: tr.tanh(x @ p.W + h.astype("float32").astype("float64") @ p.U),
    "round trip of a gate": lambda p: (
        lambda x, h: tr.sigmoid(x @ p.W).astype("float32").astype("float64") * h
    ),
    "half precision": lambda p: lambda x, h: tr.tanh(x @ p.W + h.astype("float16").astype("float64")),
    "the same": lambda p: lambda x, h: tr.tanh(x @ p.W + h.astype("float64") @ p.U),
    "copy": lambda p: lambda x, h: tr.tanh(x @ p.W + h.copy() @ p.U),
    "comparison": lambda p: lambda x, h: tr.tanh(x @ p.W + (h > 0).astype("float64") * p.b),
    "comparison as integers": lambda p: lambda x, h: tr.tanh(x @ p.W + (h > 0).astype("int64") * p.b),
}
BOOLS = {
    "sum": lambda p: lambda x, h: tr.tanh(x @ p.W + 0.5 * h + ((h > 0) + (x @ p.W > 0)) * p.b),
    "sum of three": lambda p: lambda x, h: tr.tanh(h + ((h > 0) + (x @ p.W > 0) + (h < 0.5)) * p.b),
    "sum, then a number": lambda p: lambda x, h: tr.tanh(h + x @ p.W) * (((h > 0) + (h > 0.2)) + 1),
    "a number, then a sum": lambda p: lambda x, h: tr.tanh(h + x @ p.W) * ((h > 0) + 1 + (h > 0.2)),
    "product": lambda p: lambda x, h: tr.tanh(h + x @ p.W) * ((h > 0) * (x @ p.W > 0)),
    "not": lambda p: lambda x, h: tr.tanh(h + x @ p.W) * ~(h > x @ p.W),
    "and, or, xor": lambda p: (
        lambda x, h: tr.where(((h > 0) & (h < 1)) | (x @ p.W > 0) ^ (h > 0.5), h, x @ p.W)
    ),
    "mean": lambda p: lambda x, h: tr.tanh(h + x @ p.W) * (h > 0).mean(axis=-1, keepdims=True),
    "sum over features": lambda p: lambda x, h: tr.tanh(h + x @ p.W) * (h > 0).sum(axis=-1, keepdims=True),
    "any": lambda p: lambda x, h: tr.where(tr.any(h > 0.9, axis=-1, keepdims=True), h, x @ p.W),
    "maximum": lambda p: lambda x, h: tr.tanh(h + x @ p.W) * tr.maximum(h > 0, x @ p.W > 0),
    "equal": lambda p: lambda x, h: tr.tanh(h + x @ p.W) * ((h > 0) == (x @ p.W > 0)),
    "sum as a condition": lambda p: lambda x, h: tr.where((h > 0) + (x @ p.W > 0), h @ p.U, x @ p.W),
    "sum compared": lambda p: lambda x, h: tr.where(((h > 0) + (x @ p.W > 0)) > 1, h @ p.U, x @ p.W),
    "of integers": lambda p: lambda x, h: tr.tanh(h + x @ p.W) * ((h > 0) * 3 / 2),
}


@table(CASTS | BOOLS)
def test_casts_and_bools_as_numbers(case):
    check(case, compiled=False)


def test_a_round_trip_of_a_matrix():
    """Its gradient is rounded to float32: in the eager loop at every step, in the compiled one once."""
    make = lambda p: lambda x, h: tr.tanh(x @ p.W.astype("float32").astype("float64") + h)  # noqa: E731
    assert_equal(run(make, True), run(make, False), 1e-6)


# ------------------------------------------------------------------ 13: what is laid side by side and cut
# apart again

JOINED = {
    "state of x and state": lambda p: lambda x, h: tr.tanh(tr.concat([x, h], -1)[:, F:] @ p.U),
    "x of x and state": lambda p: lambda x, h: tr.tanh(tr.concat([h, x], -1)[:, H:] @ p.W + h),
    "part of each": lambda p: lambda x, h: tr.tanh(tr.concat([x, h], -1)[:, 1 : H + 1] @ p.U),
    "x alone is cut": lambda p: lambda x, h: tr.tanh(tr.concat([x, x], -1)[:, :F] @ p.W + h),
    "state, then pointwise": lambda p: lambda x, h: tr.tanh(tr.concat([x, h], -1))[:, F:] @ p.U,
    "split": lambda p: lambda x, h: tr.tanh(tr.split(tr.concat([x, h], -1), [F], axis=-1)[1] @ p.U),
    "unused product": lambda p: lambda x, h: tr.tanh(tr.concat([x @ p.W, h @ p.U], -1)[:, H:]),
    "closure is cut away": lambda p: lambda x, h: tr.tanh(tr.concat([p.c1, h], -1)[:, H:] @ p.U + x @ p.W),
    "bare": lambda p: lambda x, h: tr.concat([x, h], -1)[:, F:] * 0.5,
    "times zero": lambda p: lambda x, h: tr.tanh(x @ p.W * 0 + h @ p.U),
    "less itself": lambda p: lambda x, h: tr.tanh((x - x) @ p.W + h @ p.U),
    "pieces of one column": lambda p: lambda x, h: tr.tanh(tr.concat([x[:, :1], h, p.d1], -1)[:, 1:-1] @ p.U),
}


@table(JOINED)
def test_joined_and_cut_apart(case):
    check(case)


# ------------------------------------------------------------------ 11: outputs are the caller's


def scanned(p, compile):
    xs = tr.tensor(np.random.default_rng(1).uniform(-1, 1, (T, B, F)))
    return tr.scan(elman(p), xs, tr.zeros((B, H)), compile=compile)


CHANGES = {
    "outputs assigned": lambda ys, final: ys.assign_(np.full(ys.shape, 1e3)),
    "outputs set to zero": lambda ys, final: ys.assign_(0.0),
    "outputs multiplied": lambda ys, final: ys.__imul__(3.0),
    "final assigned": lambda ys, final: final.assign_(np.full(final.shape, 1e3)),
    "detached outputs": lambda ys, final: ys.detach().assign_(0.0),
    "detached final": lambda ys, final: final.detach().assign_(0.0),
    "array of the outputs": lambda ys, final: (ys.numpy().fill(0.0), ys.mark_changed()),
    "array of the final state": lambda ys, final: (final.numpy().fill(0.0), final.mark_changed()),
}


@table(CHANGES)
def test_outputs_that_are_changed_before_backward(case):
    """Refused, or without a consequence: never another gradient."""
    p = parameters()
    ys, final = scanned(p, False)
    loss = ys.sum() + final.sum()
    loss.backward()
    expected = {name: t.grad.numpy() for name, t in vars(p).items() if t.grad is not None}
    p = parameters()
    ys, final = scanned(p, True)
    loss = ys.sum() + final.sum()
    with tr.no_grad():
        case(ys, final)
    try:
        loss.backward()
    except tr.ChangedInPlaceError:
        return
    assert_equal({name: t.grad.numpy() for name, t in vars(p).items() if t.grad is not None}, expected)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_changed_final_state_does_not_change_the_outputs(reverse):
    p = parameters()
    xs = tr.tensor(np.random.default_rng(1).uniform(-1, 1, (T, B, F)))
    ys, final = tr.scan(elman(p), xs, tr.zeros((B, H)), reverse=reverse, compile=True)
    before = ys.numpy().copy()
    with tr.no_grad():
        final.detach().assign_(0.0)
    np.testing.assert_array_equal(ys.numpy(), before)
    last = final.numpy().copy()
    with tr.no_grad():
        ys.detach().assign_(7.0)
    np.testing.assert_array_equal(final.numpy(), last)


def test_a_changed_output_does_not_change_the_first_states():
    first = tr.tensor(np.ones((B, H)))
    xs = np.zeros((T, B, H))
    ys, final = tr.scan(lambda x, h: h, xs, first, compile=True)
    with tr.no_grad():
        ys.assign_(5.0)
        final.assign_(6.0)
    np.testing.assert_array_equal(first.numpy(), np.ones((B, H)))


# ------------------------------------------------------------------ 12: hooks

HOOKED = {
    "matrix of the state": lambda p: p.U,
    "matrix of x": lambda p: p.W,
    "bias": lambda p: p.b,
    "rows of the batch": lambda p: p.c1,
    "row": lambda p: p.row,
}


@pytest.mark.parametrize("when", ["before the first call", "after the first call"])
@table(HOOKED)
def test_hooks_on_what_a_step_closes_over(case, when):
    """A hook acts once a backward pass, as in the eager loop, and not any more when it is removed."""

    def rounds(compile):
        p, found, seen = parameters(), [], []

        def step(x, h):
            return tr.tanh(x @ p.W + h @ p.U + p.b + p.c1 * p.row)

        def call():
            for t in vars(p).values():
                t.grad = None
            seen.clear()
            xs = np.random.default_rng(1).uniform(-1, 1, (T, B, F))
            weighted(*tr.scan(step, xs, tr.zeros((B, H)), compile=compile)).backward()
            found.append({k: t.grad.numpy().copy() for k, t in vars(p).items() if t.grad is not None})
            found.append({"calls": np.array(len(seen))} | {f"seen {k}": g for k, g in enumerate(seen)})

        def double(g):
            seen.append(g.numpy().copy())
            return 2 * g

        if when == "after the first call":
            call()
        hook = case(p).register_hook(double)
        call()
        call()
        other = case(p).register_hook(lambda g: g * g)
        call()
        other.remove()
        hook.remove()
        call()
        return found

    for found, expected in zip(rounds(True), rounds(False), strict=True):
        assert_equal(found, expected)


def test_hooks_on_computed_parameters_and_on_inputs():
    def rounds(compile):
        p, found = parameters(), []
        for factor in (None, 2.0, 3.0, None):
            for t in vars(p).values():
                t.grad = None
            U = tr.tanh(p.U)
            xs = tr.tensor(np.random.default_rng(1).uniform(-1, 1, (T, B, F)), requires_grad=True)
            if factor:
                U.register_hook(lambda g, factor=factor: g * factor)
                xs.register_hook(lambda g, factor=factor: g * factor)
            weighted(
                *tr.scan(lambda x, h, U=U: tr.tanh(x @ p.W + h @ U), xs, tr.zeros((B, H)), compile=compile)
            ).backward()
            found.append({"U": p.U.grad.numpy(), "W": p.W.grad.numpy(), "xs": xs.grad.numpy()})
        return found

    for found, expected in zip(rounds(True), rounds(False), strict=True):
        assert_equal(found, expected)


# ------------------------------------------------------------------ 14: states of other numbers of axes


@pytest.mark.parametrize("compile", [False, None])
@pytest.mark.parametrize("shape", [(B,), (B, H), (B, 2, 3), (B, 2, 1, 3)], ids=str)
@pytest.mark.parametrize("flags", ["mask", "resets", "both"])
def test_mask_and_resets_for_states_of_any_number_of_axes(shape, flags, compile):
    random = np.random.default_rng(0)
    mask, resets = random.random((T, B)) > 0.4, random.random((T, B)) > 0.6
    options = (
        {"mask": mask}
        if flags == "mask"
        else {"resets": resets}
        if flags == "resets"
        else {"mask": mask, "resets": resets}
    )
    xs = tr.tensor(random.uniform(-1, 1, (T, B, F)), requires_grad=True)
    first = tr.tensor(random.uniform(-1, 1, shape), requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompileWarning)
        ys, final = tr.scan(
            lambda x, s: tr.tanh(0.5 * s + x.sum().detach()), xs, first, compile=compile, **options
        )
        loss = (ys * ys).sum() + (final * np.arange(final.size).reshape(shape)).sum()
    loss.backward()
    state, expected = first.numpy(), []
    around = (B,) + (1,) * (len(shape) - 1)
    for t in range(T):  # the same with NumPy
        if "resets" in options:
            state = np.where(resets[t].reshape(around), first.numpy(), state)
        new = np.tanh(0.5 * state + xs.numpy()[t].sum())
        state = np.where(mask[t].reshape(around), new, state) if "mask" in options else new
        expected.append(state)
    assert ys.shape == (T, *shape) and final.shape == shape
    np.testing.assert_allclose(ys.numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(final.numpy(), state, rtol=1e-12)
    assert first.grad.shape == shape and np.isfinite(first.grad.numpy()).all()


@pytest.mark.parametrize("shape", [(B,), (B, 2, 3)], ids=str)
def test_gradients_of_states_of_other_numbers_of_axes(shape):
    random = np.random.default_rng(0)
    mask, resets = random.random((T, B)) > 0.4, random.random((T, B)) > 0.6

    def f(xs, s):
        return tr.scan(
            lambda x, s: tr.tanh(0.5 * s + x[:, :1].sum()), xs, s, mask=mask, resets=resets, compile=False
        )

    tr.check_grad(f, random.uniform(-1, 1, (T, B, F)), random.uniform(-1, 1, shape))


# ------------------------------------------------------------------ 15: numbers that change, programs that
# are kept, warnings


def generated_modules(folder) -> set:
    """The modules that were written for compilation of loops."""
    return {path.name for path in Path(folder, "generated").glob("scan*.py")}


def kept_programs() -> int:
    """How many programs of steps the process holds."""
    return len(sys.modules["tinyrnn.compiler.scan"]._plans)


NUMBERS = [0.1, 0.9, 1.0, 0.0, 2.0, -1.5, 1, 0, 0.30000000000000004, 1e-3]
NUMBERED = {
    "factor": lambda k: lambda p: lambda x, h: tr.tanh(x @ p.W + k * h),
    "divisor": lambda k: lambda p: lambda x, h: tr.tanh((x @ p.W + h) / (k * k + 1)),
    "power of a number": lambda k: lambda p: lambda x, h: tr.tanh(x @ p.W + h) * 0.5 ** abs(k),
    "added": lambda k: lambda p: lambda x, h: tr.tanh(x @ p.W + h @ p.U + k),
    "of the matrix": lambda k: lambda p: lambda x, h: tr.tanh(x @ (k * p.W) + h @ p.U),
    "of the product of x": lambda k: lambda p: lambda x, h: tr.tanh(k * (x @ p.W) + h @ p.U),
    "of what is cast to a row": lambda k: lambda p: lambda x, h: tr.tanh(x @ p.W + h + k * p.b),
    "both sides": lambda k: lambda p: lambda x, h: k * h + (1 - k) * tr.tanh(x @ p.W),
    "threshold": lambda k: lambda p: lambda x, h: tr.where(h > k, 0.5 * h, x @ p.W),
    "clipped": lambda k: lambda p: lambda x, h: tr.clip(h + x @ p.W, -abs(k) - 0.1, abs(k) + 0.1),
    "filled": lambda k: lambda p: lambda x, h: tr.tanh(x @ p.W + h * tr.full_like(h, k)),
    "NumPy's": lambda k: lambda p: lambda x, h: tr.tanh(x @ p.W + h * np.float64(k)),
    "power": lambda k: lambda p: lambda x, h: tr.sigmoid(x @ p.W + h) ** k,
    "of the softmax": lambda k: lambda p: lambda x, h: tr.softmax((h + x @ p.W) / (k * k + 0.5)),
}


@table(NUMBERED)
def test_python_numbers_that_change(case):
    for k in NUMBERS:
        check(case(k))


@pytest.mark.slow
def test_python_numbers_that_change_are_compiled_once(tmp_path, monkeypatch, referee):
    if referee != "0":
        pytest.skip("compiled once is enough")
    monkeypatch.setenv("TINYRNN_COMPILE", "1")
    monkeypatch.setenv("TINYRNN_CACHE", str(tmp_path))
    for k in NUMBERS:

        def make(p, k=k):
            return lambda x, h: tr.tanh(x @ p.W + tr.sin(h) / (k * k + 0.75) + 0.125 * k)

        check(make)
    assert 1 <= len(generated_modules(tmp_path)) <= 2


@pytest.mark.slow
def test_batch_sizes_with_resets_are_compiled_once(tmp_path, monkeypatch, referee):
    if referee != "0":
        pytest.skip("compiled once is enough")
    monkeypatch.setenv("TINYRNN_COMPILE", "1")
    monkeypatch.setenv("TINYRNN_CACHE", str(tmp_path))
    for batch in (*range(1, 12), 33):
        resets = np.arange(T * batch).reshape(T, batch) % 3 == 0
        check(lambda p: lambda x, h: tr.tanh(x @ p.W - tr.cos(h) @ p.U), batch=batch, resets=resets)
    assert 1 <= len(generated_modules(tmp_path)) <= 2  # one row is another program than several


def test_the_third_program_of_a_step_says_what_changed():
    def deep(depth):
        def deepening(x, h):
            for _ in range(depth):
                h = tr.tanh(h + x)
            return h

        return deepening

    xs, first = np.ones((T, B, H)), tr.zeros((B, H))
    for depth in (1, 2):
        tr.scan(deep(depth), xs, first)
    with pytest.warns(CompileWarning, match="deepening.*changed"):
        tr.scan(deep(3), xs, first)


def test_programs_that_are_kept_are_bounded(referee):
    if referee != "0":
        pytest.skip("the bound is the same")
    functions = [tr.tanh, tr.sin, tr.cos, tr.sigmoid]
    xs, first = np.ones((2, 2, 2)), tr.zeros((2, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompileWarning)  # one step, and always another program
        for chosen in itertools.product(functions, repeat=4):

            def step(x, h, chosen=chosen):
                for f in chosen:
                    h = f(h + x)
                return h

            tr.scan(step, xs, first)
    assert 1 <= kept_programs() < len(functions) ** 4


def test_every_step_has_its_own_warning():
    xs, first = np.ones((T, B, H)), tr.zeros((B, H))
    one, two = fresh(lambda x, h: tr.sort(h + x, axis=-1)), fresh(lambda x, h: tr.sort(h - x, axis=-1))
    one.__qualname__ = two.__qualname__ = "<lambda>"
    for step in (one, two):
        with pytest.warns(CompileWarning, match="runs eagerly"):
            tr.scan(step, xs, first)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # each once
        for step in (one, two):
            tr.scan(step, xs, first)


# ------------------------------------------------------------------ really compiled


def all_bools(p):
    """Where plain Python and Numba may differ: NumPy's sum of two bools is a bool, Numba's is an integer."""

    def step(x, h):
        q = x @ p.W
        counted = (
            ((h > 0) + (q > 0)) * p.b
            + (((h > 0) + (h > 0.2)) + 1) * p.g
            + ((h > 0) + (q > 0) + (h < 0.5)) * p.row
        )
        chosen = tr.where((h > 0) + (q > 0), h, q) + tr.maximum(h > 0, q > 0) * ~(h > q) * p.b
        return tr.tanh(h + q) * counted + tr.tanh(chosen * (((h > 0) == (q > 0)) * 0.5))

    return step


COMPILED = {
    "rows of the batch": (ROWS_OF_THE_BATCH["rows and a column"], {}),
    "later states": (
        LATER_STATES["three states"][1],
        {"widths": (H, H, H), **FORMS["reversed, mask and resets"]},
    ),
    "values of each sequence": (FLAT_VALUES["sum"], {}),
    "detached": (DETACHED["x, and x itself"], {"loss": LOSSES["mean over the batch"]}),
    "joined": (JOINED["state of x and state"], {}),
    "bools": (all_bools, {}),
}


@pytest.mark.slow
@table(COMPILED)
def test_really_compiled(case, monkeypatch, referee):
    if referee != "0":
        pytest.skip("compiled once is enough")
    monkeypatch.setenv("TINYRNN_COMPILE", "1")
    make, how = case
    for batch in (B,) if "mask" in how or "loss" in how else (1, B, 9):
        check(make, compiled=False, batch=batch, **how)
