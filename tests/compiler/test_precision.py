"""Products in bfloat16: loops as the eager tape, every cell, both orders of derivatives, where it holds."""

import json
import threading
import warnings

import numpy as np
import pytest

import tinyrnn as tr
from tinyrnn.base.errors import InputError
from tinyrnn.compiler import CompileWarning
from tinyrnn.compiler.targets import numba
from tinyrnn.kernels import references, tiles
from tinyrnn.nn.registry import registered

rounded = references.bfloat16


def results(cell, precision, compile, **options):
    """Outputs, final states and all gradients of a small network."""
    rnn = tr.RNN(cell, 13, 21, seed=0, precision=precision, compile=compile, **options)
    xs = tr.tensor(np.random.default_rng(1).standard_normal((6, 5, 13)).astype("f"), requires_grad=True)
    ys, states = rnn(xs)
    (ys * ys).sum().backward()
    found = [ys, *[s for layer in states for s in layer], xs.grad, *[p.grad for p in rnn.parameters()]]
    return [x.numpy() for x in found if x is not None]


def gap(found, right):
    return max(np.abs(a - b).max() / (np.abs(b).max() + 1e-6) for a, b in zip(found, right, strict=True))


@pytest.mark.parametrize("cell", registered())
def test_a_loop_rounds_where_the_eager_tape_does(cell):
    """A sum in another order may round one number of the next product otherwise: by a part of what rounding
    changes.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", CompileWarning)
        compiled = results(cell, "bfloat16", True)
    eager, single = results(cell, "bfloat16", False), results(cell, None, True)
    changed = gap(single, eager)
    assert gap(compiled, eager) <= 0.3 * changed + 1e-6
    assert 0 < changed < 0.15


@pytest.mark.parametrize("options", [dict(num_layers=2), dict(bidirectional=True), dict(compile=False)])
def test_stacks_and_directions(options):
    how = {"compile": True} | options
    found, right = results("gru", "bfloat16", **how), results("gru", "bfloat16", **(how | {"compile": False}))
    assert gap(found, right) < 2e-3


def test_products_are_those_of_rounded_operands(rng):
    a, b = (rng.standard_normal(shape).astype("f") for shape in ((7, 5), (5, 3)))
    x, y = tr.tensor(a, requires_grad=True), tr.tensor(b, requires_grad=True)
    with tr.autocast("bfloat16"):
        product = x @ y
    g = rng.standard_normal((7, 3)).astype("f")
    product.backward(g)  # outside: its products are rounded as its own were
    np.testing.assert_allclose(product.numpy(), rounded(a) @ rounded(b), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(x.grad.numpy(), rounded(g) @ rounded(b).T, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(y.grad.numpy(), rounded(a).T @ rounded(g), rtol=1e-5, atol=1e-6)


def test_autocast_holds_for_matrices_of_float32_in_its_block_and_thread(rng):
    a, b = (rng.standard_normal(shape).astype("f") for shape in ((7, 5), (5, 3)))
    exact, low = a @ b, rounded(a) @ rounded(b)

    def is_exact(found, right=exact):
        return np.abs(found.numpy() - right).max() < 1e-6

    seen = []
    with tr.autocast("bfloat16"):
        assert not is_exact(tr.matmul(a, b)) and is_exact(tr.matmul(a, b), low)
        many = tr.matmul(np.stack([a, a]), b)  # rows of a batch by one matrix
        assert is_exact(many[1], low)
        assert is_exact(tr.matmul(a[None], b[None])[0])  # two batches of matrices
        assert is_exact(tr.matmul(a.astype("f8"), b.astype("f8")), a.astype("f8") @ b)
        assert is_exact(tr.matmul(a[0], b), exact[0])
        with tr.autocast(None):
            assert is_exact(tr.matmul(a, b))
        assert not is_exact(tr.matmul(a, b))
        worker = threading.Thread(target=lambda: seen.append(is_exact(tr.matmul(a, b))))
        worker.start()
        worker.join()
        linear = tr.Linear(5, 3, generator=tr.Generator(0))
        assert not is_exact(linear(a), a @ linear.weight.numpy() + linear.bias.numpy())
    assert seen == [True] and is_exact(tr.matmul(a, b))
    with pytest.raises(ZeroDivisionError), tr.autocast("bfloat16"):
        1 / 0  # noqa: B018
    assert is_exact(tr.matmul(a, b))


def test_scan_takes_the_precision_around_it(rng):
    xs, h = rng.standard_normal((4, 3, 5)).astype("f"), np.zeros((3, 5), "f")
    weights = {d: tr.tensor(rng.standard_normal((5, 5)).astype(d)) for d in ("float32", "float64")}

    def step(x, h):
        W = weights[str(x.dtype)]
        return tr.tanh(x @ W + h @ W)

    single, _ = tr.scan(step, xs, h)
    asked, _ = tr.scan(step, xs, h, precision="bfloat16")
    with tr.autocast("bfloat16"):
        around, _ = tr.scan(step, xs, h)
        eager, _ = tr.scan(step, xs, h, compile=False)
        double, _ = tr.scan(step, xs.astype(float), h.astype(float))
    assert (asked.numpy() == around.numpy()).all() and (asked.numpy() != single.numpy()).any()
    np.testing.assert_allclose(eager.numpy(), asked.numpy(), atol=2e-3)
    with tr.autocast(None):
        np.testing.assert_array_equal(tr.scan(step, xs.astype(float), h.astype(float))[0], double)


def test_derivatives_of_second_order(rng):
    """They go through the program op by op, rounded as the loop. A gradient comes to a product in two parts,
    each rounded, where on the eager tape both are rounded as one: by more than a sum in another order.
    """
    xs, h, U = (rng.standard_normal(shape).astype("f") for shape in ((3, 2, 4), (2, 4), (4, 4)))
    matrix = tr.tensor(U)

    def loss(xs, **how):
        return (tr.scan(lambda x, h: tr.tanh(x + h @ matrix), xs, h, **how)[0] ** 2).sum()

    ways = dict(precision="bfloat16"), dict(precision="bfloat16", compile=False), dict(compile=False)
    compiled, eager, single = (
        tr.hvp(lambda xs, how=how: loss(xs, **how), xs, np.ones_like(xs)).numpy() for how in ways
    )
    assert np.abs(compiled - eager).max() < 0.6 * np.abs(single - eager).max()


def test_what_cannot_be_is_refused_in_a_sentence():
    xs = np.zeros((3, 2, 4), "f")
    for given, precision in ((xs, "tf32"), (xs.astype(float), "bfloat16"), (xs, "half"), (xs, 16)):
        with pytest.raises(
            InputError, match=r"precision .*: use bfloat16 or int8 for float32 arrays, or leave"
        ):
            tr.scan(lambda x, h: x + h, given, tr.tensor(given[0]), precision=precision)
    with pytest.raises(InputError, match="'half' is unknown: use one of bfloat16, tf32"), tr.autocast("half"):
        raise AssertionError
    with tr.autocast("tf32"), pytest.raises(InputError, match="tf32 needs arrays on a GPU: use bfloat16"):
        tr.matmul(xs[0], xs[0].T)
    with pytest.raises(InputError, match="precision"):
        tr.RNN("gru", 4, 6, precision="float16")


def test_a_network_with_tf32_computes_in_float32_on_a_cpu():
    right = results("gru", None, True)
    for a, b in zip(results("gru", "tf32", True), right, strict=True):
        np.testing.assert_array_equal(a, b)


def test_one_compilation_serves_both_precisions():
    """The source of a loop does not say how it multiplies."""
    xs = np.zeros((2, 1, 3), "f")
    tr.RNN("gru", 3, 5, seed=0)(xs)
    before = numba.load.cache_info().currsize
    tr.RNN("gru", 3, 5, seed=0, precision="bfloat16")(xs)
    assert numba.load.cache_info().currsize == before


# ------------------------------------------------------------------ runs

SMALL = dict(hidden=16, layers=1, embed=8, seq_len=8, batch_size=4, quiet=True, seed=3)


def test_training_in_bfloat16_is_resumed_to_the_same_bits(text_file, tmp_path):
    how = SMALL | dict(schedule="constant", warmup=0)
    whole = tr.train(str(text_file), out=tmp_path / "whole", dtype="bfloat16", steps=6, **how)
    part = tr.train(str(text_file), out=tmp_path / "part", dtype="bfloat16", steps=3, **how).resume(steps=6)
    single = tr.train(str(text_file), out=tmp_path / "single", steps=6, **how)
    assert whole.model.precision == "bfloat16" and whole.model.dtype == "float32"
    weights, again, others = (dict(run.model.named_parameters()) for run in (whole, part, single))
    for name, p in weights.items():
        assert p.dtype == np.float32
        np.testing.assert_array_equal(p.numpy(), again[name].numpy())
    assert any((p.numpy() != others[name].numpy()).any() for name, p in weights.items())
    assert abs(whole.log[-1]["val_loss"] - single.log[-1]["val_loss"]) < 0.01
    assert len(tr.load(whole.path).generate("a", length=5, seed=0)) == 6


@pytest.mark.parametrize(
    ("instruction", "hidden", "chosen"),
    [(None, 256, "float32"), ("avx512bf16", 256, "bfloat16"), ("avx512bf16", 16, "float32")],
)
def test_auto_takes_bfloat16_where_it_is_faster(
    instruction, hidden, chosen, text_file, tmp_path, monkeypatch
):
    monkeypatch.setattr(tiles, "pair_instruction", lambda: instruction)
    how = SMALL | dict(hidden=hidden, seq_len=4, steps=1)
    run = tr.train(str(text_file), out=tmp_path / "run", dtype="auto", **how)
    stored = json.loads((run.path / "config.json").read_text())["options"]
    assert stored["dtype"] == chosen == run.model.settings["dtype"]


# ------------------------------------------------------------------ 8 bits


@pytest.mark.sample(4)
@pytest.mark.parametrize("cell", registered())
def test_a_loop_of_8_bits_is_the_eager_one(cell):
    xs = tr.tensor(np.random.default_rng(1).standard_normal((6, 5, 13)).astype("f"))
    found = []
    for precision, compile in (("int8", True), ("int8", False), (None, True)):
        rnn = tr.RNN(cell, 13, 21, seed=0, precision=precision, compile=compile)
        with warnings.catch_warnings(), tr.no_grad():
            warnings.simplefilter("error", CompileWarning)
            found.append([rnn(xs)[0].numpy()])
    compiled, eager, single = found
    changed = gap(single, eager)
    assert gap(compiled, eager) <= 0.3 * changed + 1e-6
    assert 0 < changed < 0.15


def test_8_bits_have_no_gradient_and_no_gpu(standin):
    x, w = tr.tensor(np.ones((4, 3), "f")), tr.tensor(np.ones((3, 3), "f"), requires_grad=True)
    rnn = tr.RNN("gru", 3, 3, precision="int8")

    def closed_over():
        tr.scan(lambda x, h: tr.tanh(x + h @ w), x[:, None], x[:1])

    for wrong in (
        lambda: x @ w,
        closed_over,
        lambda: rnn(x[:, None]),
        lambda: rnn.step(x, rnn.initial_state(4)),
    ):
        with (
            tr.autocast("int8"),
            pytest.raises(InputError, match="int8 have no gradient: use them in tr.no_g"),
        ):
            wrong()
    with tr.no_grad(), tr.autocast("int8"):
        np.testing.assert_array_equal((x @ w).numpy(), references.int8_product(x.numpy(), w.numpy()))
        with pytest.raises(InputError, match="int8 needs arrays on a CPU: use bfloat16"):
            x.to("cuda") @ w.to("cuda")
        with pytest.raises(InputError, match="'int8' of float32 on cuda: use bfloat16 or tf32"):
            tr.scan(lambda x, h: tr.tanh(x @ w.to("cuda")), x[:, None].to("cuda"), x[:1].to("cuda"))


@pytest.mark.parametrize(
    "subscripts", ["ij,jk->ik", "jk,ij->ik", "ij,jk", "tij,jk->tik", "ij,kj->ki", "bij,kj->bik", "ij,jk->ki"]
)
def test_einsum_with_a_matrix_rounds_as_a_product_does(subscripts, rng):
    first, second = subscripts.partition("->")[0].split(",")
    sizes = dict(t=2, b=2, i=3, j=4, k=5)
    a, b = (rng.standard_normal([sizes[c] for c in term]).astype("f") for term in (first, second))
    x, y = tr.tensor(a, requires_grad=True), tr.tensor(b, requires_grad=True)
    with tr.autocast("bfloat16"):
        found = tr.einsum(subscripts, x, y)
    right = np.einsum(subscripts, rounded(a), rounded(b))
    np.testing.assert_allclose(found.numpy(), right, rtol=1e-5, atol=1e-6)
    assert found.shape == np.einsum(subscripts, a, b).shape
    g = rng.standard_normal(found.shape).astype("f")
    found.backward(g)
    whole = tr.tensor(a.astype(float), requires_grad=True), tr.tensor(b.astype(float), requires_grad=True)
    tr.einsum(subscripts, *whole).backward(g.astype(float))
    for got, exact in zip((x, y), whole, strict=True):
        np.testing.assert_allclose(got.grad.numpy(), exact.grad.numpy(), rtol=0.05, atol=0.05)
        assert (got.grad.numpy() != exact.grad.numpy().astype("f")).any()


def test_a_step_with_einsum_is_the_same_compiled(rng):
    W = tr.tensor(rng.standard_normal((6, 6)).astype("f"))
    xs, h = rng.standard_normal((5, 3, 6)).astype("f"), np.zeros((3, 6), "f")

    def step(x, h):
        return tr.tanh(x + tr.einsum("bi,ij->bj", h, W))

    both = [tr.scan(step, xs, h, precision="bfloat16", compile=c)[0].numpy() for c in (None, False)]
    single = tr.scan(step, xs, h)[0].numpy()
    assert np.abs(both[0] - both[1]).max() < 0.3 * np.abs(single - both[0]).max()


# ------------------------------------------------------------------ steps whose products are not all of rows


def both(step, rng, **how):
    """A step in bfloat16 compiled, eager, and the eager one in float32: outputs and the gradient of xs."""
    found, given = [], rng.standard_normal((5, 3, 6)).astype("f")
    for compile, precision in ((None, "bfloat16"), (False, "bfloat16"), (False, None)):
        xs = tr.tensor(given, requires_grad=True)
        ys, _ = tr.scan(step, xs, np.zeros((3, 6), "f"), compile=compile, precision=precision, **how)
        (ys * ys).sum().backward()
        found.append(np.concatenate([ys.numpy().ravel(), xs.grad.numpy().ravel()]))
    return found


def steps(rng):
    U, V = (tr.tensor(rng.standard_normal((n, n)).astype("f"), requires_grad=True) for n in (6, 2))

    def exactly(h):
        with tr.autocast(None):
            return h @ U

    def heads(x, h):
        return tr.tanh(x + (h.reshape(h.shape[0], 3, 2) @ V).reshape(h.shape[0], 6))

    return {
        "heads": heads,
        "heads and rows": lambda x, h: heads(x @ U, h @ U),
        "einsum of heads": lambda x, h: tr.tanh(
            x + tr.einsum("bni,ij->bnj", h.reshape(h.shape[0], 3, 2), V).reshape(h.shape[0], 6)
        ),
        "autocast(None)": lambda x, h: tr.tanh(x @ U + exactly(h)),
        "one row each": lambda x, h: tr.tanh(x + (tr.expand_dims(h, axis=1) @ U)[:, 0]),
        "a transposed matrix": lambda x, h: tr.tanh(x + h @ U.T),
    }


@pytest.mark.parametrize("name", steps(np.random.default_rng(0)))
def test_every_product_of_a_step_is_rounded_compiled_as_it_is_eagerly(name, rng):
    with warnings.catch_warnings():
        warnings.simplefilter("error", CompileWarning)
        compiled, eager, single = both(steps(rng)[name], rng)
    changed = np.abs(eager - single).max()
    assert np.abs(compiled - eager).max() <= 0.3 * changed + 1e-5
    assert (changed > 1e-3) == (name not in ("heads", "einsum of heads", "one row each"))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda U: lambda x, h: tr.tanh(x + h @ (U @ U)),
            "multiplies closed-over matrices in lower precision",
        ),
        (lambda U: lambda x, h: tr.tanh(x + (h.reshape(-1, 1) @ U[:1, :1]).reshape(-1, 6)), "give them axes"),
    ],
)
def test_what_a_loop_would_round_otherwise_runs_eagerly(make, said, rng):
    U = tr.tensor(rng.standard_normal((6, 6)).astype("f"), requires_grad=True)
    with pytest.warns(CompileWarning, match=said):
        compiled, eager, _ = both(make(U), rng)
    np.testing.assert_array_equal(compiled, eager)


def test_a_step_that_rounds_by_itself_is_told_the_mend(rng):
    U = tr.tensor(rng.standard_normal((6, 6)).astype("f"))

    def step(x, h):
        with tr.autocast("bfloat16"):
            return tr.tanh(x + h @ U)

    xs, h = rng.standard_normal((5, 3, 6)).astype("f"), np.zeros((3, 6), "f")
    with pytest.warns(CompileWarning, match="bfloat16 by itself: give precision= to the loop, or call it in"):
        found, _ = tr.scan(step, xs, h)
    np.testing.assert_array_equal(found.numpy(), tr.scan(step, xs, h, compile=False)[0].numpy())


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("around", ["forward", "backward", "both"])
def test_gradients_are_in_the_precision_of_the_forward_pass(inside, around, rng):
    """Wherever backward() is called, and also of what `checkpoint` computes again."""
    a, b = (rng.standard_normal(shape).astype("f") for shape in ((7, 5), (5, 3)))
    x, f = tr.tensor(a, requires_grad=True), (lambda x: tr.tanh(x @ b))
    with tr.autocast("bfloat16" if around != "backward" else None):
        y = (tr.checkpoint(f) if inside else f)(x)
    with tr.autocast("bfloat16" if around != "forward" else None):
        y.sum().backward()
    cast = rounded if around != "backward" else np.asarray
    right = cast(1 - np.tanh(cast(a) @ cast(b)) ** 2) @ cast(b).T
    np.testing.assert_allclose(x.grad.numpy(), right, rtol=2e-5, atol=2e-6 if cast is np.asarray else 3e-3)
    other = rounded if cast is np.asarray else np.asarray
    wrong = other(1 - np.tanh(cast(a) @ cast(b)) ** 2) @ other(b).T
    assert np.abs(x.grad.numpy() - right).max() < 0.5 * np.abs(wrong - right).max()


class Heads(tr.Cell):
    """Rows of three features of the state, each times one matrix."""

    states = ("h",)

    def build(self, input_size, hidden_size):
        self.W, self.V = self.weight(input_size, hidden_size), self.weight(2, 2)

    def step(self, x, h):
        return tr.tanh(x @ self.W + (h.reshape(h.shape[0], 3, 2) @ self.V).reshape(h.shape[0], 6))


def test_steps_one_by_one_are_rounded_as_those_of_a_loop(rng):
    """As in generation: also where features have several axes."""
    xs = rng.standard_normal((5, 3, 4)).astype("f")
    rnn = tr.RNN(Heads, 4, 6, seed=0, precision="bfloat16")
    whole, _ = rnn(xs)
    states, found = rnn.initial_state(3), []
    for x in xs:
        y, states = rnn.step(tr.tensor(x), states)
        found.append(y.numpy())
    np.testing.assert_allclose(found, whole.numpy(), rtol=1e-6, atol=1e-6)
