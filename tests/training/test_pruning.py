"""Training that sets weights to 0: which, when, and that they stay so; how a file holds what is left."""

import numpy as np
import pytest
from conftest import TEXT
from safetensors.numpy import load as read_arrays

import tinyrnn as tr
from tinyrnn.training import experiments, pictures, runs
from tinyrnn.training.packing import in_bytes, packed, unpacked
from tinyrnn.training.pruning import EVERY, Pruning, densities, smallest, sparsity
from tinyrnn.training.trainer import Reporter, Trainer

OPTIONS = dict(
    hidden=12, layers=1, dropout=0.1, lr=5e-3, embed=6, batch_size=4, seq_len=10, seed=1, eval_every=10
)


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch):
    monkeypatch.setattr(pictures, "available", lambda: False)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT[:1500])
    return path


# ------------------------------------------------------------------ when and which


def test_the_schedule_is_equation_1_of_the_paper():
    s_i, s_f, t_0, n, dt = 0.1, 0.8, 50, 20, 10
    for t in range(t_0, t_0 + n * dt + 1, dt):
        right = s_f + (s_i - s_f) * (1 - (t - t_0) / (n * dt)) ** 3
        assert sparsity(t, t_0 + n * dt, s_f, s_i, t_0) == pytest.approx(right, abs=1e-12)
    assert sparsity(0, 250, s_f, s_i, t_0) == pytest.approx(s_i)
    assert sparsity(1000, 250, s_f, s_i, t_0) == s_f
    assert sparsity(50, 100, 0.8) == pytest.approx(0.7)  # by hand: 0.8 - 0.8 / 8


def test_the_smallest_go_exactly_so_many_and_never_come_back():
    x = np.array([[0.1, -3.0, 0.2, 0.0], [-0.05, 5.0, -1.0, 2.0]])
    assert np.flatnonzero(smallest(x, 0.5)).tolist() == [0, 2, 3, 4]
    assert smallest(np.ones((4, 5)), 0.3).sum() == 6  # also of equal ones
    assert not smallest(x, 0.0).any() and smallest(x, 1.0).all()
    gone = np.zeros((2, 4), bool)
    gone[0, 1] = gone[1, 1] = True  # though large
    assert np.flatnonzero(smallest(x, 0.375, gone)).tolist() == [1, 3, 5]
    assert np.flatnonzero(smallest(x, 0.1, gone)).tolist() == [1, 5]


@pytest.mark.parametrize("part", [0.01, 0.2, 0.5, 0.95, 1.0])
def test_small_matrices_keep_more_and_all_together_a_part(part):
    shapes = [(65, 64), (64, 768), (256, 768), (2, 3, 4)]
    found, sizes = densities(shapes, part), [np.prod(s) for s in shapes]
    assert np.dot(found, sizes) == pytest.approx(part * sum(sizes))
    assert all(0 <= d <= 1 for d in found)
    if part == 0.01:  # none is whole: in proportion to the sum of the sides
        assert found[2] / found[1] == pytest.approx((1024 / 256) / (832 / 64))
    assert found[0] >= found[1] >= found[2] and (part > 0.5 or found[1] > found[2])
    assert densities([], part) == []


class Watch(Reporter):
    """Remembers where the weights are 0 after every step."""

    def __init__(self):
        self.zeros, self.biases = [], []

    def stepped(self, trainer, loss):
        matrices = trainer.model.matrices()
        self.zeros.append({name: p.numpy() == 0 for name, p in matrices.items()})
        self.biases.append(
            {n: p.numpy().copy() for n, p in trainer.model.named_parameters() if n not in matrices}
        )


@pytest.mark.parametrize("how", [
    dict(optimizer="adamw", weight_decay=0.1), dict(optimizer="sgd", lr=0.5),
    dict(cell="ln-gru", dropout=0.2, tie=True, embed=12),
])  # fmt: skip
def test_what_is_0_stays_0_after_every_step(text, tmp_path, how):
    watch = Watch()
    given = {**OPTIONS, "steps": 60, "prune": 0.7, "prune_until": 0.6, **how}
    trainer = experiments.begin(experiments.configured("lm", [str(text)], given), watch, out=tmp_path / "run")
    trainer.fit()
    for before, after in zip(watch.zeros, watch.zeros[1:], strict=False):
        for name in before:
            assert (after[name] | ~before[name]).all(), name
    sizes = {name: gone.size for name, gone in watch.zeros[0].items()}
    counts = [sum(gone.sum() for gone in zeros.values()) for zeros in watch.zeros]
    for step in range(EVERY, 37):
        at = step if step == 36 else step // EVERY * EVERY
        assert counts[step - 1] / sum(sizes.values()) == pytest.approx(sparsity(at, 36, 0.7), abs=0.01), step
    for zeros in watch.zeros[36:]:  # then they are where they are
        assert all((zeros[name] == watch.zeros[35][name]).all() for name in zeros)
    assert all((b != 0).all() for b in watch.biases[-1].values())  # and biases and gains are whole
    grads = {name: p.grad.numpy() for name, p in trainer.model.matrices().items()}
    assert all((grads[name][gone] == 0).all() for name, gone in watch.zeros[-1].items())
    model = tr.load(tmp_path / "run")
    zeros = [p.numpy() == 0 for p in model.matrices().values()]
    assert sum(z.sum() for z in zeros) / sum(sizes.values()) == pytest.approx(0.7, abs=0.01)


def test_a_cells_constraint_revives_nothing(text, tmp_path):
    class Lifted(tr.Cell):
        states = ("h",)

        def build(self, input_size, hidden_size):
            self.W, self.U, self.b = self.affine(input_size, hidden_size)

        def step(self, x, h):
            return tr.tanh(x @ self.W + h @ self.U + self.b)

        def constrain(self):
            self.U.assign_(np.where(np.abs(self.U.numpy()) < 0.01, 0.01, self.U.numpy()))

    tr.cells.register("lifted", Lifted)
    given = {**OPTIONS, "cell": "lifted", "steps": 20, "prune": 0.6}
    run = tr.train(text, out=tmp_path / "run", quiet=True, **given)
    assert (run.model.rnn.cells[0].U.numpy() == 0).sum() > 30


def test_matrices_without_gradients_are_left_alone():
    model, other = (tr.Linear(4, 5, generator=tr.Generator(seed)) for seed in (0, 1))

    class Both(tr.Module):
        def __init__(self):
            self.one, self.two = model, other

    both = Both()
    pruning = Pruning(both, 0.5, 10)
    model(np.ones((1, 4), "f")).sum().backward()
    pruning.after(10)
    assert (model.weight.numpy() == 0).sum() == 10 and not (other.weight.numpy() == 0).any()


def stopped(monkeypatch, at, text, out, **given):
    step = Trainer._train_step

    def stopping(self):
        step(self)
        if self.step == at:
            self._stop.set()

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_train_step", stopping)
        with pytest.raises(KeyboardInterrupt):
            tr.train(text, out=out, **given)


def test_a_run_that_becomes_longer_is_pruned_until_when_it_was_to(text, tmp_path, monkeypatch):
    given = {**OPTIONS, "prune": 0.6, "schedule": "constant", "warmup": 0, "quiet": True}
    whole = tr.train(text, out=tmp_path / "whole", **given, steps=60, prune_until=1 / 3)
    stopped(monkeypatch, 13, text, tmp_path / "parts", **given, steps=40)
    assert not (tmp_path / "parts" / runs.BEST).exists()  # though it was evaluated at step 10
    assert (tr.load(tmp_path / "parts").rnn.cells[0].parameters()[0].numpy() == 0).any()
    parts = tr.Run(tmp_path / "parts").resume(steps=60, quiet=True)
    for name, array in whole.model.state_dict().items():
        np.testing.assert_array_equal(array, parts.model.state_dict()[name], err_msg=name)


def test_a_resumed_run_is_the_one_that_was_not_stopped(text, tmp_path, monkeypatch):
    given = {**OPTIONS, "steps": 40, "prune": 0.6, "schedule": "constant", "quiet": True}
    whole = tr.train(text, out=tmp_path / "whole", **given)
    for stop in (13, 27):  # while it is pruned, and after
        interrupt = tmp_path / f"parts{stop}"
        stopped(monkeypatch, stop, text, interrupt, **given)
        parts = tr.Run(interrupt).resume(quiet=True)
        for name, array in whole.model.state_dict().items():
            np.testing.assert_array_equal(array, parts.model.state_dict()[name], err_msg=name)
        first, second = ((run.path / runs.BEST).read_bytes() for run in (whole, parts))
        assert first == second
    longer = tr.Run(interrupt).resume(
        steps=60, quiet=True
    )  # what is gone stays gone, though the run is longer
    for name, p in longer.model.matrices().items():
        gone = whole.model.state_dict()[name] == 0
        assert gone.any() and (p.numpy()[gone] == 0).all() and (p.numpy() == 0).sum() == gone.sum()


def test_the_best_model_is_a_pruned_one(text, tmp_path):
    run = tr.train(text, out=tmp_path / "run", **OPTIONS, steps=40, prune=0.9, quiet=True)
    assert [r["sparsity"] for r in run.log] == pytest.approx([0.7875, 0.9, 0.9, 0.9], abs=1e-4)
    log = [{"val_loss": 1.0}, {"val_loss": 0.5, "sparsity": 0.2}, {"val_loss": 0.9, "sparsity": 0.8}]
    assert runs.judged(log) == log[2:] and runs.judged(log[:1]) == log[:1] and runs.judged([]) == []
    first = tr.train(
        text, from_run=run, out=tmp_path / "second", batch_size=4, seq_len=10, steps=20, lr=1e-9, prune=0.95,
        eval_every=5, quiet=True,
    )  # fmt: skip
    least = min(r["val_loss"] for r in first.log)
    assert first.log[0]["sparsity"] == 0.0 and first.log[0]["val_loss"] == pytest.approx(least, abs=1e-4)
    best = runs.load_tensors(first.path / runs.BEST)[1]
    assert best["val_loss"] == min(r["val_loss"] for r in runs.judged(first.log)) and best["step"] >= 10
    zeros = [p.numpy() == 0 for p in first.model.matrices().values()]
    assert np.mean(np.concatenate([z.ravel() for z in zeros])) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize(("given", "said"), [
    (dict(minutes=1), "prune= needs a length in steps or passes: give steps= or epochs="),
    (dict(prune=1.0), "prune is 1.0: it must be a finite number of at least 0 and below 1"),
    (dict(prune_until=0.0), "prune_until is 0.0: it must be a finite number above 0"),
])  # fmt: skip
def test_what_cannot_be_pruned_so_is_one_sentence(text, tmp_path, given, said):
    with pytest.raises(tr.InputError) as caught:
        tr.train(text, out=tmp_path / "run", quiet=True, **{**OPTIONS, "prune": 0.5, **given})
    assert said in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_run_cannot_be_pruned_otherwise_when_it_goes_on(text, tmp_path):
    tr.train(text, out=tmp_path / "run", **OPTIONS, steps=10, prune=0.5, quiet=True)
    with pytest.raises(tr.InputError, match=r"was trained with --prune 0.5|prune= ?0.5, not 0.8"):
        tr.Run(tmp_path / "run").resume(steps=20, prune=0.8, quiet=True)


# ------------------------------------------------------------------ files


def test_files_of_sparse_weights_are_smaller_and_give_them_back(text, tmp_path):
    dense = tr.train(text, out=tmp_path / "dense", **{**OPTIONS, "hidden": 64}, steps=10, quiet=True)
    thin = tr.train(text, out=tmp_path / "thin", **{**OPTIONS, "hidden": 64}, steps=10, prune=0.9, quiet=True)
    sizes = [(run.path / runs.BEST).stat().st_size for run in (dense, thin)]
    assert sizes[1] < 0.3 * sizes[0]
    held = read_arrays((thin.path / runs.BEST).read_bytes())
    assert any(name.endswith(".kept") for name in held)
    meta = runs.load_tensors(thin.path / runs.BEST)[1]
    assert meta["compressed"] == {"sparsity": 0.9}
    assert thin.evaluate()["loss"] == pytest.approx(thin.log[-1]["val_loss"], rel=1e-6)


def test_what_is_packed_is_unpacked(rng):
    x = {
        "a": rng.normal(size=(7, 9)).astype("f"),
        "b": rng.normal(size=5).astype("f"),
        "c": np.float32(3)[()],
    }
    x["c"] = np.array(3, "f")
    x["a"][rng.random((7, 9)) < 0.8] = 0
    x["d"], x["e"] = rng.normal(size=(4, 3)).astype("f"), np.zeros((2, 2, 3))
    x["f"] = x["a"].T.copy()
    pairs = {n: in_bytes(x[n], 0) for n in "df"}
    ready = {**x, **{n: integers for n, (integers, _) in pairs.items()}}
    stored, meta = packed(ready, "adef", {n: scale for n, (_, scale) in pairs.items()})
    assert meta["packed"].keys() == {*"adef"}
    assert {"a.kept", "d.scale", "f.scale", "f.kept"} <= stored.keys() and "d.kept" not in stored
    assert stored["f"].dtype == np.int8 and len(stored["f"]) == (pairs["f"][0] != 0).sum()
    found = unpacked(stored, meta["packed"])
    assert found.keys() == x.keys()
    for name in "abce":
        np.testing.assert_array_equal(found[name], x[name])
        assert found[name].dtype == x[name].dtype
    for name in "df":
        np.testing.assert_array_equal(found[name], pairs[name][0] * pairs[name][1])
        np.testing.assert_allclose(found[name], x[name], atol=np.abs(x[name]).max() / 250)
    assert packed({"b": x["b"]}, "b") == ({"b": x["b"]}, {})


GOOD = {"w": np.ones(2, "f"), "w.kept": np.array([0b11000000], np.uint8)}
SCALED = {"w": np.ones((2, 2), np.int8), "w.scale": np.ones((1, 2), "f")}


@pytest.mark.parametrize(("stored", "shapes"), [
    (GOOD, []), (GOOD, {"w": "x"}), (GOOD, {"w": [-1]}), (GOOD, {"v": [2, 2]}), (GOOD, {"w": [10**9, 10**9]}),
    (GOOD, {"w": [3, 3]}), ({**GOOD, "w": np.ones(3, "f")}, {"w": [2, 2]}),
    ({**GOOD, "w.kept": np.ones(1, "f")}, {"w": [2, 2]}), ({"w": np.ones((2, 2), "f")}, {"w": [2, 2]}),
    (SCALED, {"w": [2, 3]}), ({**SCALED, "w": np.ones((2, 2), "f")}, {"w": [2, 2]}),
    ({**SCALED, "w.scale": np.ones(2, "f")}, {"w": [2, 2]}),
    ({**SCALED, "w.scale": np.ones((5, 2), "f")}, {"w": [2, 2]}),
    ({**SCALED, "w.scale": np.ones((1, 2))}, {"w": [2, 2]}),
])  # fmt: skip
def test_what_nobody_packed_is_refused(stored, shapes, tmp_path):
    with pytest.raises((ValueError, tr.InputError)):
        unpacked(stored, shapes)
    runs.save_tensors(tmp_path / "file", stored, {"packed": shapes, "task": "lm"})
    with pytest.raises(tr.InputError, match="file"):
        runs.load_tensors(tmp_path / "file")


def test_the_examples_of_that_are_else_good():
    assert unpacked(GOOD, {"w": [2, 2]})["w"].tolist() == [[1, 1], [0, 0]]
    assert unpacked(SCALED, {"w": [2, 2]})["w"].tolist() == [[1, 1], [1, 1]]
