"""What is said of a step that is wrong, or that no loop can run: the op, the shapes, the line, the mend."""

import inspect
import re
import sys
import warnings

import numpy as np
import pytest

import tinyrnn as tr
from tinyrnn.autograd.tape import Op, apply
from tinyrnn.base.errors import OutOfRangeError
from tinyrnn.compiler import CompileWarning, lines
from tinyrnn.compiler.report import report, report_cell

T, B, F, H = 3, 4, 3, 5
rng = np.random.default_rng(0)
W, U = (tr.tensor(rng.uniform(-1, 1, s).astype("float32"), requires_grad=True) for s in ((F, H), (H, H)))
MEMORY = tr.tensor(rng.uniform(-1, 1, (B + 3, H)).astype("float32"))
WIDE = np.ones(H)
UNKNOWN = Op("twice", lambda a: 2 * a, {"a": lambda g: 2 * g}, listed=False)


@pytest.fixture(autouse=True)
def anew(monkeypatch):
    monkeypatch.setenv("TINYRNN_COMPILE", "python")
    sys.modules["tinyrnn.compiler.scan"].forget_warnings()


def run(step, dtype="float32", batch=B):
    return tr.scan(step, np.full((T, batch, F), 0.5, dtype), tr.full((batch, H), 0.1, dtype=dtype))


# Each step has a mark at the line that its message must name.


def from_the_left(x, h):
    z = x @ W
    return tr.tanh(z + (U @ h.T).T)  # this


def over_the_batch(x, h):
    z = x @ W
    z = z - z.mean(axis=0)  # this
    return tr.tanh(z + h @ U)


def softmax_over_the_batch(x, h):
    return tr.softmax(x @ W + h, axis=0)  # this


def one_sequence(x, h):
    first = h[0]  # this
    return tr.tanh(x @ W + first)


def batch_reversed(x, h):
    return tr.tanh(x @ W + h[::-1])  # this


def flattened(x, h):
    z = h.reshape(-1)[:5]  # this
    return tr.tanh(x @ W + z)


def ranks(x, h):
    z = x @ W + h
    return tr.argsort(z, axis=1).astype(h.dtype) + z  # this


def sorts(x, h):
    return tr.tanh(x @ W + tr.sort(h, axis=1))  # this


def side_by_side(x, h):
    both = tr.concat([h, x @ W], axis=0)  # this
    return tr.tanh(both[: len(h)])


def drops(x, h):
    return tr.tanh(x @ W + tr.dropout(h, 0.5, generator=tr.Generator(0)))  # this


def calls_an_unknown_op(x, h):
    z = apply(UNKNOWN, h)  # this
    return tr.tanh(x @ W + z)


def helper(z):
    return z + tr.argsort(z, axis=1).astype(z.dtype)  # this


def by_a_helper(x, h):
    return helper(x @ W + h)


def numpys_where(x, h):
    v = x @ W + h
    return np.where(v > 0, 1.0, 0.0)  # this


def where_of_two_numbers(x, h):
    v = x @ W + h
    s = tr.where(v > 0, 1.0, 0.0)  # this
    return s * v


def a_wide_constant(x, h):
    v = h * WIDE  # this
    return tr.tanh(v + x @ W)


def a_wide_number(x, h):
    v = h * np.float64(0.5)  # this
    return tr.tanh(v + x @ W)


def zeros_of_another_dtype(x, h):
    v = h + tr.zeros((H,), dtype="float64")  # this
    return tr.tanh(v + x @ W)


def casts(x, h):
    v = h.astype("float64")  # this
    return tr.tanh(v + x @ W)


def casts_and_comes_back(x, h):
    v = h.astype("float64")  # this
    return tr.tanh(v + x @ W).astype("float32")


def asks_for_a_value(x, h):
    scale = h.sum().item()  # this
    return tr.tanh(x @ W) * scale


def becomes_an_array(x, h):
    v = tr.tanh(x @ W + h)
    return v.detach().numpy()  # this


def reads_data(x, h):
    z = x @ W
    z.data[:] = 0  # this
    return z + h


def without_a_gradient(x, h):
    with tr.no_grad():
        gate = tr.sigmoid(x @ W + h)
    return gate * h  # this


def an_index_twice(x, h):
    z = h[:, [0, 0, 1, 2, 3]]  # this
    return tr.tanh(x @ W + z)


EAGER = [  # what is said, in this order: the reason with its mend, and (the op of the shapes in the line)
    (from_the_left, r"\[5, 5\] from the left .*: write h @ U.T .*\(matmul of \[5, 5\] and \[5, 4\] in "),
    (over_the_batch, r"mixes the sequences .*: take sums, .* over the features .*\(mean of \[4, 5\] in "),
    (softmax_over_the_batch, r"mixes the sequences .*: take sums, .*\(softmax of \[5, 4\] in "),
    (one_sequence, r"one sequence .* is picked: .* treat all alike \(getitem of \[4, 5\] in "),
    (batch_reversed, r"indexing along the batch .*: use slices of the axis of .*\(getitem of \[4, 5\] in "),
    (flattened, r"getitem of \[batch \* features\] .*work on \[batch, features\] \(getitem of \[20\] in "),
    (ranks, r"the op argsort has no compiled form: write it with .* \(argsort of \[4, 5\] in "),
    (sorts, r": .* \((gather|argsort) of .*\[4, 5\] in "),
    (side_by_side, r"concat along axis 0 .*: use the axes of features \(concat of \[4, 5\] and \[4, 5\] in "),
    (drops, r"the op dropout has no compiled form: use recurrent_dropout .*\(dropout of \[4, 5\] in "),
    (calls_an_unknown_op, r"the op twice has no compiled form: write it with .*\(twice of \[4, 5\] in "),
    (by_a_helper, r"the op argsort .* \(argsort of \[4, 5\] in "),
    (numpys_where, r"state 0 changes .* \(where of bool \[4, 5\] and 1.0 and 0.0 in "),
    (where_of_two_numbers, r"state 0 changes .* \(where of bool \[4, 5\] and 1.0 and 0.0 in "),
    (a_wide_constant, r"state 0 changes .* \(multiply of \[4, 5\] and float64 \[5\] in "),
    (a_wide_number, r"state 0 changes .* \(multiply of \[4, 5\] and float64 number in "),
    (zeros_of_another_dtype, r"state 0 changes .* \(add of \[4, 5\] and float64 \[5\] in "),
    (casts, r"state 0 changes .* \(astype of \[4, 5\] in "),
    (casts_and_comes_back, r"astype makes float64 .*: write .astype\(h.dtype\) .*\(astype of \[4, 5\] in "),
    (asks_for_a_value, r"looks at the values .*item\(\).*: use where\(c, a, b\) \(in "),
    (becomes_an_array, r"looks at the values .*numpy\(\).*: use where\(c, a, b\) \(in "),
    (reads_data, r"reads .data, .*: use the tensor itself, or detach\(\) \(in "),
    (without_a_gradient, r"outside of the tape .*no_grad\(\), .*; use tensor functions, .*\(multiply of "),
    (an_index_twice, r"an index that picks .*: use a product .*\(the gradient of gather of \[4, 5\] in "),
]  # fmt: skip


def marked(step):
    """The line of a step with the mark, as messages write it."""
    found, first = inspect.getsourcelines(helper if step is by_a_helper else step)
    (n,) = (i for i, line in enumerate(found) if line.endswith("# this\n"))
    return f"`{found[n].strip()}`, test_messages.py:{first + n})"


@pytest.mark.parametrize(("step", "said"), EAGER, ids=lambda x: getattr(x, "__name__", ""))
def test_a_step_that_runs_eagerly(step, said):
    with pytest.warns(CompileWarning) as seen:
        run(step)
    (message,) = [str(w.message) for w in seen if w.category is CompileWarning]
    assert message.startswith(f"{step.__name__} runs eagerly: ")
    assert re.search(said, message), message
    assert message.endswith(marked(step))
    assert "\n" not in message
    if "changes its dtype" in message:
        assert "from float32 to float64: write .astype(h.dtype) where that comes in, or use " in message
    x, h = (tr.full((B, n), 0.5, dtype="float32") for n in (F, H))
    reason = report(step, x, (h,)).reason
    assert f"{step.__name__} runs eagerly: {reason}" == message


def test_a_new_state_that_nothing_made():
    constant = tr.ones((B, H), dtype="float64")
    with pytest.warns(CompileWarning, match=r"state 0 changes its dtype .*, or use tensors of float32$"):
        run(lambda x, h: constant)


def narrow_parameters(x, h):
    z = x @ W  # this
    return tr.tanh(z + h)


SQUARE = tr.tensor(rng.uniform(-1, 1, (H, H)).astype("float32"))


def in_two_ways(x, h):
    z = h * SQUARE + h  # this
    return tr.tanh(x @ W + z @ SQUARE)


@pytest.mark.parametrize(("step", "how", "said"), [
    (narrow_parameters, dict(dtype="float64"),
     "over float32, x and states are float64: bring them to one dtype, with astype() "
     "(matmul of [4, 3] and float32 [3, 5] in "),
    (in_two_ways, dict(batch=H),
     "[5, 5] is used in two ways, as rows of the batch and otherwise (multiply of [5, 5] and [5, 5] in "),
])  # fmt: skip
def test_what_a_step_closes_over_by_the_line_that_uses_it(step, how, said):
    with pytest.warns(CompileWarning, match=re.escape(f"{said}{marked(step)}")):
        run(step, **how)


# ------------------------------------------------------------------ steps that are wrong


def wrong_width(x, h):
    z = x @ W
    return (z + h) @ U[:, :2]  # this


def too_few(x, h):
    return ()  # this


def too_many(x, h):
    return h, h  # this


def two_products(x, h):
    z = x @ U  # this
    return tr.tanh(z + h)


def another_batch(x, h):
    z = tr.tanh(x @ W)
    return z + MEMORY  # this


def nothing(x, h):
    h = tr.tanh(x @ W + h)  # this


def a_hole(x, h):
    return [h, None]  # this


def an_axis_that_is_not_there(x, h):
    return tr.sum(h, axis=2) + h  # this


def no_dtype(x, h):
    return h.astype("complex64")  # this


WRONG = [
    (wrong_width, tr.ShapeError, r"state 0 as \[4, 2\], it was given as \[4, 5\]: return it so \(in "),
    (too_few, tr.ShapeError, r"0 states, it was given 1: return one for each state"),
    (too_many, tr.ShapeError, r"2 states, it was given 1: return one for each state"),
    (two_products, tr.ShapeError, r"matmul: \[4, 3\] @ \[5, 5\]: .*: transpose or reshape one of them"),
    (another_batch, tr.ShapeError, r"add: shapes \[4, 5\] and \[7, 5\] .*: sizes must be equal or 1"),
    (nothing, tr.ShapeError, r"step returned NoneType: return the next state"),
    (a_hole, tr.DtypeError, r"cannot hold dtype object: use float16 to float64"),
    (an_axis_that_is_not_there, OutOfRangeError, r"axis 2"),
    (no_dtype, tr.DtypeError, r"complex64"),
]


@pytest.mark.parametrize("compile", [None, False])
@pytest.mark.parametrize(("step", "error", "said"), WRONG, ids=lambda x: getattr(x, "__name__", ""))
def test_a_step_that_is_wrong(step, error, said, compile):
    with pytest.raises(error, match=said) as caught:
        tr.scan(step, np.ones((T, B, F), "float32"), tr.zeros((B, H), dtype="float32"), compile=compile)
    assert str(caught.value).endswith(f"(in {marked(step)}")
    assert str(caught.value).count("test_messages.py") == 1


def test_a_step_without_one_line_that_returns_is_named_by_its_first():
    def two_ways(x, h):
        if len(x) > 100:
            return h
        return h[:, :2]

    with pytest.raises(tr.ShapeError, match=r"\(in `def two_ways\(x, h\):`, test_messages.py:\d+\)$"):
        run(two_ways)


def test_a_step_of_no_file():
    names = {"tr": tr}
    exec("def step(x, h):\n    return tr.argsort(h).astype(h.dtype) + x[:, :1]", names)
    with pytest.warns(CompileWarning, match=r"\(argsort of \[4, 5\] in <string>:2\)$"):
        run(names["step"])


# ------------------------------------------------------------------ cells


class Ranked(tr.Cell):
    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size)

    def step(self, x, h):
        z = tr.argsort(h, axis=1)  # this
        return tr.tanh(x @ self.W + h @ self.U + self.b) + 0.1 * z.astype(h.dtype)


class Narrow(Ranked):
    def step(self, x, h):
        return tr.tanh(x @ self.W + h @ self.U)[:, :1]  # this


def test_a_cell_by_its_own_line():
    assert report_cell(Ranked(F, H)).reason.endswith(f"(argsort of [2, 5] in {marked(Ranked.step)}")
    net = tr.RNN(Ranked, F, H, num_layers=2, bidirectional=True, zoneout=0.1, dtype="float64")
    with pytest.warns(CompileWarning, match=re.escape(marked(Ranked.step))):
        net(np.ones((T, B, F)))
    with pytest.raises(tr.InputError, match=f"cannot take this cell: .*{re.escape(marked(Ranked.step))}"):
        tr.RNN(Ranked, F, H, recurrent_dropout=0.1, dtype="float64")(np.ones((T, B, F)))
    with pytest.raises(tr.ShapeError, match=re.escape(f"return it so (in {marked(Narrow.step)}")):
        tr.RNN(Narrow, F, H, dtype="float64")(np.ones((T, B, F)))


def test_a_cell_of_tinyrnns_own_by_its_line_and_one_inside_of_another_by_the_outer():
    gru = tr.RNN("gru", F, H, dtype="float64").cells[0]
    with pytest.raises(tr.ShapeError, match=r"\(in `.*x @ self.*`, gru.py:\d+\)$"):
        tr.scan(gru.step, np.ones((T, B, F + 1)), tr.zeros((B, H), dtype="float64"))

    def outer(x, h):
        return gru.step(tr.concat([x, x], axis=1), h)  # this

    with pytest.raises(tr.ShapeError, match=re.escape(marked(outer))):
        run(outer, "float64")


# ------------------------------------------------------------------ what it costs, and leaves behind


def test_no_line_is_looked_for_where_nothing_fails(monkeypatch):
    def fine(x, h):
        return tr.tanh(x @ W + h @ U)

    def failing(x, h):
        return fine(x, h[::-1])

    looked = []
    monkeypatch.setattr(lines, "line_of", looked.append)
    for _ in range(2):
        run(fine)
    assert looked == []
    with pytest.warns(CompileWarning):
        run(failing)
    assert looked


def test_it_is_said_once_for_all_sizes_of_the_batch():
    for step in (from_the_left, over_the_batch, a_wide_constant):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            for batch in (4, 6):
                run(step, batch=batch)
        assert [w.category for w in seen] == [CompileWarning]


def test_what_is_refused_is_not_planned_again(monkeypatch):
    """Whose gradient has no compiled form: that is found out once."""
    planned, save = [], sys.modules["tinyrnn.compiler.save"]
    monkeypatch.setattr(save, "backward", lambda *given, own=save.backward: planned.append(1) or own(*given))
    for _ in range(3):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CompileWarning)
            run(lambda x, h: tr.tanh(x @ W + 3 * h[:, [0, 0, 1, 2, 4]]))
    assert len(planned) == 1


def test_looking_for_the_line_leaves_no_trace():
    left = []
    for compile in (None, False):
        log, noise = [], tr.Generator(3)

        def step(x, h, log=log, noise=noise):
            log.append(len(log))
            return tr.argsort(h, axis=1) * tr.randn(h.shape, generator=noise)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CompileWarning)
            ys, _ = tr.scan(step, np.ones((T, B, F)), tr.zeros((B, H)), compile=compile)
        left.append((log, noise.state, ys.numpy().tolist()))
    assert left[0] == left[1]
