"""What a cell may have beside its equations: states to begin with, constraints, names of gates, cells inside,
states that are matrices; and groups of parameters.
"""

import ast
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import tinyrnn as tr
from tinyrnn.cli import main
from tinyrnn.compiler.report import report_cell
from tinyrnn.nn import init, registry
from tinyrnn.nn.gates import gate_names
from tinyrnn.tasks.lm.model import LanguageModel
from tinyrnn.tasks.text.vocabulary import Characters
from tinyrnn.tools.check import CHECKS, results_of
from tinyrnn.tools.export import torch as to_torch_form
from tinyrnn.tools.inspection import look, page
from tinyrnn.training import runs, trainer

T, B, F, H = 5, 3, 4, 6


class Learned(tr.Cell):
    """An LSTM that learns where it begins."""

    states = ("h", "c")

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size, gates=4)
        self.name_gates("i", "f", "g", "o")
        self.h0 = self.bias(hidden_size, init=0.3)
        self.c0 = self.weight(1, hidden_size)

    def initial_state(self, batch_size):
        rows = batch_size, self.hidden_size
        return tr.broadcast_to(tr.sigmoid(self.h0), rows), tr.broadcast_to(self.c0, rows)

    def step(self, x, h, c):
        i, f, g, o = tr.split(x @ self.W + h @ self.U + self.b, 4)
        c = tr.sigmoid(f) * c + tr.sigmoid(i) * tr.tanh(g)
        return tr.sigmoid(o) * tr.tanh(c), c


class Dale(tr.Cell):
    """Four of five units excite, the others inhibit (Song, Yang & Wang 2016): signs of rows of U."""

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size)
        self.signs = np.where(np.arange(hidden_size) % 5 < 4, 1.0, -1.0).astype(self.dtype)[:, None]

    def constrain(self):
        self.U.assign_(self.signs * tr.maximum(self.signs * self.U, 0.0))

    def step(self, x, h):
        return tr.tanh(x @ self.W + h @ self.U + self.b)


class Bounded(tr.Cell):
    """The largest singular value of U is at most 0.5."""

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size)

    def constrain(self):
        norm = np.linalg.norm(self.U.numpy(), 2)
        self.U.assign_(self.U * min(1.0, 0.5 / norm))

    def step(self, x, h):
        return tr.tanh(x @ self.W + h @ self.U + self.b)


class Two(tr.Cell):
    """A GRU below `Learned`, in one step; the GRU's state lies beside c."""

    states = ("h", "c")

    def build(self, input_size, hidden_size):
        self.below = tr.cells.get_cell("gru")(input_size, hidden_size)
        self.above = Learned(hidden_size, hidden_size)
        self.state_sizes = {"h": hidden_size, "c": 2 * hidden_size}

    def initial_state(self, batch_size):
        h, c = self.above.initial_state(batch_size)
        return h, tr.concat([c, *self.below.initial_state(batch_size)], axis=-1)

    def step(self, x, h, c):
        c, g = tr.split(c, 2)
        g = self.below.step(x, g)
        h, c = self.above.step(g, h, c)
        return h, tr.concat([c, g], axis=-1)


class Fast(tr.Cell):
    """Fast weights (Ba et al. 2016, with one inner step), that begin at a learned matrix."""

    states = ("h", "A")

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size)
        self.A0 = self.weight(hidden_size, hidden_size, init="zeros")
        self.state_sizes = {"h": hidden_size, "A": (hidden_size, hidden_size)}

    def initial_state(self, batch_size):
        h, A = super().initial_state(batch_size)
        return h, A + self.A0

    def step(self, x, h, A):
        A = 0.9 * A + 0.5 / self.hidden_size * h[:, :, None] * h[:, None, :]
        return tr.tanh(x @ self.W + h @ self.U + self.b + tr.einsum("bij,bj->bi", A, h)), A


CELLS = {"learned": Learned, "signed": Dale, "bounded": Bounded, "two": Two, "fast": Fast}


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setattr(registry.CELLS, "own", {})
    for name, cell in CELLS.items():
        tr.cells.register(name, cell)


def layers(cell, **settings):
    return tr.RNN(cell, F, H, **{"dtype": "float64", "seed": 0, **settings})


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def outcome(rnn, xs, *init, **flags):
    """Outputs, final states, and the gradients of all parameters."""
    rnn.zero_grad()
    ys, final = rnn(xs, *init, **flags)
    states = [s for layer in final for s in layer]
    ((ys * ys).sum() + sum((s * s).sum() for s in states)).backward()
    gradients = [np.zeros(p.shape) if p.grad is None else p.grad.numpy() for p in rnn.parameters()]
    return [t.numpy() for t in (ys, *states)] + gradients


@pytest.mark.parametrize("name", CELLS)
def test_each_does_what_every_cell_must(name):
    checks = {r.name: r for r in results_of(list(CHECKS)[:-1], CELLS[name], {})}  # but for speed
    assert all(r.passed for r in checks.values()), checks
    assert checks["compiled"].detail.startswith("compiled")


def test_the_blocks_of_the_page_run():
    text = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
    section = text.split("\n## More than equations\n")[1].split("\n## ")[0]
    blocks, names = re.findall(r"```python\n(.*?)```", section, re.DOTALL), {}
    for block in blocks:
        exec(compile(block, "docs/plugins.md", "exec"), names)
    assert (names["rnn"].cells[0].U.numpy()[3::4] <= 0).all() and len(blocks) == 6
    for cell in ("Begun", "Dale", "Contracting", "Stacked", "FastWeights"):
        checks = {r.name: r for r in results_of(list(CHECKS)[:7], names[cell], {})}
        assert all(r.passed for r in checks.values()), (cell, checks)
        assert checks["compiled"].detail.startswith("compiled")


# ------------------------------------------------------------------ initial states


@pytest.mark.parametrize("name", ["learned", "two", "fast"])
@pytest.mark.parametrize("flags", ["", "mask", "resets", "mask resets"])
def test_initial_states_learn_in_layers_and_directions(name, flags):
    """Compiled and eager agree, and so do the states that are given with those that are the cell's own."""
    xs, given = numbers(T, B, F), {"mask": np.tri(T, B, 1), "resets": np.eye(T, B)}
    flags = {flag: given[flag] for flag in flags.split()}
    shape = dict(num_layers=2, bidirectional=True)
    rnn, eager = layers(name, **shape), layers(name, **shape, compile=False)
    for k, (p, q) in enumerate(zip(rnn.parameters(), eager.parameters(), strict=True)):
        p.assign_(p + 0.1 * numbers(*p.shape, seed=k))
        q.assign_(p)
    own = outcome(rnn, xs, **flags)
    for others in (outcome(eager, xs, **flags), outcome(eager, xs, eager.initial_state(B), **flags)):
        for a, b in zip(own, others, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    gradients = {n: p.grad for n, p in rnn.named_parameters() if n.endswith(("h0", "c0", "A0"))}
    assert len(gradients) in (4, 8)
    assert all(np.abs(g.numpy()).sum() > 0 for g in gradients.values())
    assert not np.allclose(own[0], outcome(eager, xs, [
        tuple(s * 0 for s in layer) for layer in eager.initial_state(B)
    ], **flags)[0])  # fmt: skip


@pytest.mark.parametrize(("made", "said"), [
    (lambda s, B: s.h0, "it must be a tuple of tensors float32 .2, 6., of h"),
    (lambda s, B: (s.h0,), r"returned float32 \[6\]: .* \[2, 6\]"),
    (lambda s, B: (tr.broadcast_to(s.h0, (3, 6)),), r"returned float32 \[3, 6\]"),
    (lambda s, B: (tr.zeros((B, 6), dtype="float64"),), r"returned float64 \[2, 6\]: .* float32 \[2, 6\]"),
    (lambda s, B: [tr.zeros((B, 6))], "must be a tuple"),
    (lambda s, B: (tr.zeros((B, 6)),) * 2, "must be a tuple"),
    (lambda s, B: None, "returned None"),
    (lambda s, B: (np.zeros((B, 6)),), "a tuple of tensors"),
])  # fmt: skip
def test_initial_states_that_are_none_are_one_sentence(made, said):
    class Odd(tr.Cell):
        initial_state = made

        def build(self, input_size, hidden_size):
            self.W, self.U, self.h0 = self.affine(input_size, hidden_size)

        def step(self, x, h):
            return tr.tanh(x @ self.W + h @ self.U)

    with pytest.raises(tr.InputError, match=rf"Odd: initial_state\(2\) .*{said}"):
        tr.RNN(Odd, F, H)


def test_chrono_is_its_equation():
    assert init.chrono(2.0)(tr.Generator(0), 1, 5).tolist() == [[0.0] * 5]
    drawn = np.exp(init.chrono(100)(tr.Generator(0), 100, 100))
    assert 1 <= drawn.min() < 1.1 and 98.8 < drawn.max() < 99 and drawn.mean() == pytest.approx(50, abs=1)
    for longest in (1.9, -3, np.nan):
        with pytest.raises(tr.InputError, match="it must be at least 2"):
            init.chrono(longest)
    lstm = tr.RNN("lstm", F, 500, seed=0, cell_options={"chrono": 50}).cells[0]
    i, f, g, o = (lstm.gate_views(gate)["b"] for gate in "ifgo")
    np.testing.assert_array_equal(i, -f)
    assert np.exp(f).min() >= 1 and 47 < np.exp(f).max() <= 49 and not g.any() and not o.any()
    gru = tr.RNN("gru", F, 500, seed=0, cell_options={"chrono": 50}).cells[0]
    r, z, n = (gru.gate_views(gate)["b"] for gate in "rzn")
    assert np.exp(z).min() >= 1 and 47 < np.exp(z).max() <= 49 and not r.any() and not n.any()
    plain = tr.RNN("lstm", F, 500, seed=0).cells[0]
    np.testing.assert_array_equal(plain.U.numpy(), lstm.U.numpy())  # what is drawn else is the same
    with pytest.raises(tr.InputError, match="leave out forget_bias"):
        tr.RNN("lstm", F, H, cell_options={"chrono": 50, "forget_bias": 2.0})


# ------------------------------------------------------------------ in tasks: trained, resumed, used

LINES = "the quick brown fox jumps over the lazy dog\n" * 8
DATA = {
    "lm": ("text.txt", LINES),
    "classify": ("labels.csv", "text,label\n" + "".join(f"{w} {i},{w}\n" for i in range(12) for w in "ab")),
    "forecast": ("series.csv", "date,value\n" + "".join(
        f"{2010 + i // 12}-{i % 12 + 1:02}-01,{10 + i % 12 + i / 7:.3f}\n" for i in range(96)
    )),
    "translate": ("pairs.tsv", "".join(f"{i:03}\t{str(i)[::-1]}\n" for i in range(100, 160))),
}  # fmt: skip
OWN = {
    "lm": dict(seq_len=10, embed=4),
    "classify": dict(embed=4, max_length=20),
    "forecast": dict(horizon=3, window=6, season=12),
    "translate": dict(embed=4, level="char", max_length=20),
}
HELD = ("h0", "c0", "A0")


def trained(folder, name, task, steps, **options):
    file, text = DATA[task]
    (folder / file).write_text(text)
    shape = dict(hidden=5, layers=2, dropout=0.0, batch_size=4, eval_every=3, warmup=0, schedule="constant")
    shape |= {**OWN[task], "cell": name, "steps": steps, "quiet": True, **options}
    return tr.train(str(folder / file), task, out=folder / f"{steps}", **shape)


def kept(run):
    return runs.load_tensors(Path(run.path) / runs.TRAINER)[0]


@pytest.mark.parametrize("task", DATA)
@pytest.mark.parametrize("name", ["two", "fast", "bounded"])
def test_each_task_trains_and_resumes_to_the_last_bit(name, task, tmp_path):
    whole, parts = trained(tmp_path, name, task, 6), trained(tmp_path, name, task, 3)
    first, parts = kept(parts), parts.resume(steps=6, quiet=True)
    a, b = kept(whole), kept(parts)
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(a[key], b[key], err_msg=key)
    begun = [key for key in a if key.startswith("model.") and key.endswith(HELD)]
    assert bool(begun) == (name != "bounded")
    # A language model takes its states along: only the first window of an epoch begins at these.
    changed = [key for key in begun if not np.array_equal(a[key], first[key])]
    assert task == "lm" or changed == begun
    if task != "lm":
        assert whole.predict(
            {"classify": ["a 1"], "translate": ["123"]}.get(task, str(tmp_path / DATA[task][0]))
        )
    assert np.isfinite([v for v in whole.evaluate().values() if isinstance(v, float)]).all()
    for cell in (m for m in whole.model.modules() if isinstance(m, Bounded)):
        assert np.linalg.norm(cell.U.numpy(), 2) <= 0.5 + 1e-6


@pytest.mark.parametrize("name", ["learned", "two", "fast"])
def test_generation_begins_where_the_cell_says(name, monkeypatch):
    model = LanguageModel(
        Characters.build([LINES], None), cell=name, hidden=8, embed=4, layers=2, dtype="float64", seed=3
    )
    for k, (n, p) in enumerate(model.named_parameters()):
        if n.endswith(HELD):
            p.assign_(3 * numbers(*p.shape, seed=k))
    model.eval()
    logits, _ = model(np.array([[0]]))
    np.testing.assert_allclose(model.step(np.array([0]), None)[0], logits.numpy()[0], rtol=1e-10)
    said = model.generate("the ", length=40, seed=0)
    assert model.token_loop() is not None
    monkeypatch.setenv("TINYRNN_COMPILE", "0")
    assert model.generate("the ", length=40, seed=0) == said
    found = look(model, "the quick")
    assert len(found["symbols"]) == 9 and page(found, "a title")
    _, arrays = to_torch_form.to_torch(model, "weights.safetensors")
    for layer, states in enumerate(model.rnn.initial_state(1)):
        for s, state in zip(model.rnn.cells[layer].states, states, strict=True):
            np.testing.assert_array_equal(arrays[f"initial_{s}_{layer}"], state.numpy()[0].reshape(-1))


# ------------------------------------------------------------------ constraints


@pytest.mark.parametrize("name", ["signed", "bounded"])
def test_constraints_hold_after_every_update_wherever_the_cell_is(name):
    class Inside(tr.Cell):
        def build(self, input_size, hidden_size):
            self.cells = {"a": [CELLS[name](input_size, hidden_size)]}

        def step(self, x, h):
            return self.cells["a"][0].step(x, h)

    def holds(module):
        found = [m for m in module.modules() if isinstance(m, CELLS[name])]
        for cell in found:
            U = cell.U.numpy()
            if name == "signed":
                assert (cell.signs * U >= 0).all() and (U != 0).any()
            else:
                assert np.linalg.norm(U, 2) <= 0.5 + 1e-12
        return len(found)

    for cell in (CELLS[name], Inside):
        rnn = layers(cell, num_layers=2, bidirectional=True)
        assert holds(rnn) == 4
        optimizer = tr.optim.Adam(rnn.parameters(), 0.1)
        broken = 0
        for k in range(5):
            optimizer.zero_grad()
            ((rnn(numbers(T, B, F, seed=k))[0] - 1) ** 2).sum().backward()
            optimizer.step()
            try:
                holds(rnn)
            except AssertionError:
                broken += 1
            rnn.apply_constraints()
            assert holds(rnn) == 4
            assert all(p.is_leaf for p in rnn.parameters())
        assert broken  # what the update alone does


def test_every_loop_that_updates_applies_constraints():
    """In each function of tinyrnn that calls ``optimizer.step``; the benchmarks of PyTorch have none."""

    def functions(node):
        for child in ast.iter_child_nodes(node):
            if not (isinstance(child, ast.FunctionDef) and "torch" in child.name):
                yield from [child] if isinstance(child, ast.FunctionDef) else []
                yield from functions(child)

    loops = []
    for file in Path(tr.__file__).parent.rglob("*.py"):
        for function in functions(ast.parse(file.read_text(encoding="utf-8"))):
            called = {ast.unparse(n.func) for n in ast.walk(function) if isinstance(n, ast.Call)}
            if any(name.endswith("optimizer.step") for name in called):
                loops.append(f"{file.name}: {function.name}")
                assert any(name.endswith("apply_constraints") for name in called), loops[-1]
    assert len(loops) >= 4


def test_a_run_trains_within_its_constraints(tmp_path, monkeypatch):
    seen = []

    def stepped(self, made, loss):
        cell = made.model.rnn.cells[0]
        seen.append((cell.signs * cell.U.numpy()).min())

    monkeypatch.setattr(trainer.Reporter, "stepped", stepped)
    run = trained(tmp_path, "signed", "lm", 6, lr=0.1)
    assert len(seen) == 6 and min(seen) >= 0
    model = tr.load(run.path).rnn.cells[0]
    assert (model.signs * model.U.numpy() >= 0).all()


# ------------------------------------------------------------------ groups of parameters


@pytest.mark.parity
@pytest.mark.parametrize("name", ["SGD", "RMSprop", "Adagrad", "Adam", "AdamW"])
def test_groups_step_as_those_of_pytorch(name):
    torch = pytest.importorskip("torch")
    start = [numbers(3, 2, seed=1), numbers(4, seed=2), numbers(2, 2, seed=3)]
    p, q = (
        [tr.tensor(s, requires_grad=True) for s in start],
        [torch.tensor(s, requires_grad=True) for s in start],
    )

    def groups(ps):
        return [{"params": [ps[2], ps[0]], "weight_decay": 0.1}, {"params": [ps[1]], "lr": 0.03}]

    ours = getattr(tr.optim, name)(groups(p), lr=0.01, weight_decay=0.02)
    theirs = getattr(torch.optim, name)(groups(q), lr=0.01, weight_decay=0.02)
    for k in range(10):
        ours.zero_grad(), theirs.zero_grad()
        sum(((x - 1) ** 2).sum() for x in p).backward()
        sum(((x - 1) ** 2).sum() for x in q).backward()
        if k == 5:  # a schedule
            ours.lr /= 2
            for group in theirs.param_groups:
                group["lr"] /= 2
        ours.step(), theirs.step()
    for a, b in zip(p, q, strict=True):
        np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-9, atol=1e-12)


def test_one_group_is_no_group_and_a_state_goes_on(rng):
    def make(grouped):
        ps = [
            tr.tensor(rng.standard_normal(s) * 0 + 1.5, "float32", requires_grad=True) for s in ((3, 2), (5,))
        ]
        return ps, tr.optim.AdamW([{"params": ps}] if grouped else ps, 0.1)

    def go(ps, optimizer, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            sum((p**3).sum() for p in ps).backward()
            norm = optimizer.step(max_norm=1.0)
        return norm

    (a, one), (b, other), (c, third) = make(False), make(True), make(True)
    assert go(a, one, 6) == go(b, other, 6)
    go(c, third, 3)
    again, fourth = make(True)
    for x, y in zip(again, c, strict=True):
        x.assign_(y)
    fourth.load_state_dict(third.state_dict())
    go(again, fourth, 3)
    for x, y, z in zip(a, b, again, strict=True):
        np.testing.assert_array_equal(x.numpy(), y.numpy())
        np.testing.assert_array_equal(x.numpy(), z.numpy())


P, Q = tr.ones((2, 2), requires_grad=True), tr.ones(3, requires_grad=True)


@pytest.mark.parametrize(("groups", "said"), [
    ([{"params": [P]}, Q], "give dicts with params"),
    ([{"param": [P]}], "give dicts with params"),
    ([{"params": [P], "momentum": 0.9}], "perhaps lr and weight_decay"),
    ([{"params": P}], r"pass module.parameters\(\)"),
    ([{"params": [P]}, {"params": [P]}], "a parameter twice"),
    ([{"params": []}], "no parameters"),
    ([{"params": [P], "weight_decay": -1}], "weight_decay of a group is -1"),
    ([{"params": [P], "lr": "much"}], "lr of a group is 'much'"),
    ({"params": [P]}, r"pass module.parameters\(\)"),
])  # fmt: skip
def test_groups_that_are_none_are_one_sentence(groups, said):
    with pytest.raises(tr.InputError, match=said):
        tr.optim.AdamW(groups)


def test_groups_of_a_module_leave_out_biases_gains_and_initial_states():
    class Model(tr.Module):
        def __init__(self):
            self.rnn, self.norm = layers(Two), tr.LayerNorm(H)
            self.fast, self.output = layers(Fast), tr.Linear(H, 2)

    model = Model()
    (decayed, bare), names = model.parameter_groups(0.1), {id(p): n for n, p in model.named_parameters()}
    assert (decayed["weight_decay"], bare["weight_decay"]) == (0.1, 0.0)
    sides = [
        {names[id(p)].removeprefix("rnn.cells.0.") for p in group["params"]} for group in (decayed, bare)
    ]
    assert sides[0] == {
        "below.W", "below.U", "below.U_n", "above.W", "above.U", "fast.cells.0.W", "fast.cells.0.U",
        "output.weight",
    }  # fmt: skip
    assert sides[0] | sides[1] == {n.removeprefix("rnn.cells.0.") for n in names.values()}
    assert {"above.h0", "above.c0", "fast.cells.0.A0", "below.b"} <= sides[1]
    (only,) = tr.Linear(2, 2, bias=False).parameter_groups(0.1)
    assert len(only["params"]) == 1


def test_weight_decay_of_a_run_pulls_at_matrices_alone(tmp_path):
    """In one step of AdamW, which takes ``lr weight_decay p`` beside the gradient's part."""
    options = dict(optimizer="adamw", lr=0.01, clip=0.0)
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    plain, pulled = (
        trained(tmp_path / "a", "fast", "lm", 1, **options),
        trained(tmp_path / "b", "fast", "lm", 1, **options, weight_decay=0.5),
    )
    made = LanguageModel(
        plain.model.vocabulary,
        **plain.model.settings,
        seed=runs.RunFolder(plain.path).config["options"]["seed"],
    )
    spared = {id(p) for p in made.parameter_groups(1.0)[1]["params"]}
    assert len(spared) == 5
    before, after = plain.model.state_dict(), pulled.model.state_dict()
    for name, p in made.named_parameters():
        expected = 0 if id(p) in spared else 0.005 * p.numpy()
        np.testing.assert_allclose(before[name] - after[name], expected, atol=1e-7, err_msg=name)


def test_a_run_of_an_earlier_version_decays_all_as_it_did(tmp_path):
    run = trained(tmp_path, "gru", "lm", 3, lr=0.01, weight_decay=0.5)
    file = Path(run.path) / runs.TRAINER
    tensors, meta = runs.load_tensors(file)
    assert meta.pop("decayed") == "matrices"
    # As that version kept them: by the order of the model's parameters.
    names = [n for n, _ in run.model.named_parameters()]
    groups = run.model.parameter_groups(1.0)
    where = {id(p): i for i, p in enumerate([p for g in groups for p in g["params"]])}
    moved = {k: v for k, v in tensors.items() if not k.startswith("optimizer.")}
    for i, p in enumerate(dict(run.model.named_parameters()).values()):
        for slot in ("mean", "square"):
            moved[f"optimizer.{slot}.{i}"] = tensors[f"optimizer.{slot}.{where[id(p)]}"]
    runs.save_tensors(file, moved, meta)
    with_bias = {n: tensors[f"model.{n}"] for n in names}
    grown = run.resume(steps=4, quiet=True)
    assert "decayed" not in runs.load_tensors(file)[1]
    (tmp_path / "again").mkdir()
    new = trained(tmp_path / "again", "gru", "lm", 3, lr=0.01, weight_decay=0.5).resume(steps=4, quiet=True)
    for name, p in grown.model.named_parameters():
        difference = new.model.state_dict()[name] - p.numpy()
        expected = 0.005 * with_bias[name] if p.ndim < 2 else 0
        np.testing.assert_allclose(difference, expected, atol=1e-7, err_msg=name)
    assert any(with_bias[n].any() for n, p in grown.model.named_parameters() if p.ndim < 2)


# ------------------------------------------------------------------ gates by name


@pytest.mark.parametrize(("name", "options", "expected"), [
    ("gru", {}, ["r", "z"]),
    ("gru", {"reset_after": True}, ["r", "z"]),
    ("lstm", {}, ["f", "i", "o"]),
    ("lstm", {"peephole": True}, ["f", "i", "o"]),
    ("learned", {}, ["f", "i", "o"]),
    ("two", {}, [""] * 5),  # it has given no names: those inside it may be any cell's
    ("rnn", {"activation": "sigmoid"}, [""]),
])  # fmt: skip
def test_sigmoids_have_the_names_of_their_columns(name, options, expected):
    rnn = layers(name, num_layers=2, cell_options=options)
    for k, p in enumerate(rnn.parameters()):
        p.assign_(p + 0.1 * numbers(*p.shape, seed=k))
    assert gate_names(rnn, tr.tensor(numbers(1, F)), rnn.initial_state(1)) == [expected] * 2


def test_names_are_shown_where_gates_are():
    model = LanguageModel(Characters.build(["abc"], None), cell="lstm", hidden=4, embed=3, seed=0)
    found = look(model, "abcab")
    assert [gate["name"] for gate in found["layers"][0]["gates"]] == ["f", "i", "o"]
    assert '"name": "f"' in page(found, "t") and "gate ${gate.name}" in page(found, "t")
    model = LanguageModel(Characters.build(["abc"], None), cell="two", hidden=4, embed=3, seed=0)
    assert [gate["name"] for gate in look(model, "abcab")["layers"][0]["gates"]] == list("12345")
    shown = CliRunner().invoke(main, ["cells", "gru"]).output
    assert "\ngates       W: r z n; b: r z n; U: r z\n" in shown
    facts = json.loads(CliRunner().invoke(main, ["cells", "fast", "--json"]).output)
    assert facts["gates"] == {} and facts["sizes"] == [[128], [128, 128]]
    assert "\nstates      h, A [128, 128]; the first" in CliRunner().invoke(main, ["cells", "fast"]).output


def test_views_of_a_gate_are_its_columns():
    cell = layers("gru").cells[0]
    views = cell.gate_views("z")
    assert {name: v.shape for name, v in views.items()} == {"W": (F, H), "b": (H,), "U": (H, H)}
    np.testing.assert_array_equal(views["W"], cell.W.numpy()[:, H : 2 * H])
    views["b"][...] = 7.0
    assert (cell.b.numpy() == np.repeat([0.0, 7.0, 0.0], H)).all()
    with pytest.raises(tr.InputError, match="GRU has no gate 'o': it has r, z, n"):
        cell.gate_views("o")
    with pytest.raises(tr.InputError, match="it has none: call name_gates in build"):
        layers("rnn").cells[0].gate_views("z")


@pytest.mark.parametrize(("names", "said"), [
    (("r", "z"), "names 2 gates, the widest parameter has 3: give one for each of gates=3"),
    (("r", "z", "z"), "give different names"),
    (("r", "z", 3), "give different names"),
    (("r", "z", "n 2"), "give different names"),
])  # fmt: skip
def test_names_that_do_not_fit_are_one_sentence(names, said):
    class Odd(Learned):
        def build(self, input_size, hidden_size):
            super().build(input_size, hidden_size)
            self.W = self.weight(input_size, hidden_size, gates=3)
            self.U, self.b = self.W, self.h0
            self.name_gates(*names)

    with pytest.raises(tr.InputError, match=said):
        Odd(F, H)


# ------------------------------------------------------------------ cells inside cells


def test_a_cell_of_cells_is_what_they_are_one_after_the_other():
    one = layers("two")
    two = [layers(cell, seed=9) for cell in ("gru", "learned")]
    two[1] = tr.RNN("learned", H, H, dtype="float64", seed=9)
    assert [n for n, _ in one.named_parameters()] == [
        *[f"cells.0.below.{n}" for n in ("W", "b", "U", "U_n")],
        *[f"cells.0.above.{n}" for n in ("W", "U", "b", "h0", "c0")],
    ]
    for rnn, part in zip(two, ("below", "above"), strict=True):
        state = {n: v for n, v in one.state_dict().items() if f".{part}." in n}
        rnn.load_state_dict({n.replace(f"{part}.", ""): v for n, v in state.items()})
    xs = numbers(T, B, F)
    ys = two[1](two[0](xs)[0])[0]
    np.testing.assert_allclose(one(xs)[0].numpy(), ys.numpy(), rtol=1e-12)


def test_cells_inside_share_dtype_and_seed():
    a, b, other = (layers("two", seed=s) for s in (1, 1, 2))
    for p, q, r in zip(a.parameters(), b.parameters(), other.parameters(), strict=True):
        assert p.dtype == np.float64
        np.testing.assert_array_equal(p.numpy(), q.numpy())
        assert not p.numpy().any() or p.shape == (H,) or not np.array_equal(p.numpy(), r.numpy())
    assert Two(F, H).below.W.dtype == np.float32  # alone, the default is what it was

    class Own(tr.Cell):
        def build(self, input_size, hidden_size):
            self.inner = Learned(input_size, hidden_size, dtype="float32", generator=tr.Generator(5))

        def step(self, x, h):
            return h

    inner = Own(F, H, dtype="float64").inner
    assert inner.dtype == np.float32
    np.testing.assert_array_equal(inner.W.numpy(), Learned(F, H, generator=tr.Generator(5)).W.numpy())


# ------------------------------------------------------------------ states that are matrices


def test_a_matrix_goes_through_a_layer_as_its_equations_say():
    rnn = layers("fast", num_layers=2)
    rnn.cells[0].A0.assign_(numbers(H, H))
    xs, mask, resets = numbers(T, B, F), np.tri(T, B, 1), np.eye(T, B)
    ys, final = rnn(xs, mask=mask, resets=resets)
    cell = rnn.cells[0]
    W, U, b, A0 = (p.numpy() for p in (cell.W, cell.U, cell.b, cell.A0))
    h, A = np.zeros((B, H)), np.broadcast_to(A0, (B, H, H))
    for t in range(T):
        fresh, live = resets[t] == 1, mask[t] == 1
        h, A = np.where(fresh[:, None], 0, h), np.where(fresh[:, None, None], A0, A)
        new = 0.9 * A + 0.5 / H * h[:, :, None] * h[:, None, :]
        A, old = np.where(live[:, None, None], new, A), h
        h = np.tanh(xs[t] @ W + h @ U + b + np.einsum("bij,bj->bi", new, h))
        h = np.where(live[:, None], h, old)
    np.testing.assert_allclose(final[0][0].numpy(), h, rtol=1e-10)
    np.testing.assert_allclose(final[0][1].numpy(), A, rtol=1e-10)
    assert ys.shape == (T, B, H) and final[1][1].shape == (B, H, H)
    bad = [(s[0], s[1][:, :1]) for s in rnn.initial_state(B)]
    with pytest.raises(
        tr.ShapeError, match=r"states \[3, 6\], \[3, 1, 6\]: they must be \[3, 6\], \[3, 6, 6\]"
    ):
        rnn(xs, bad)


def test_what_regularises_takes_matrices():
    rnn = layers("fast", zoneout={"A": 0.5}, num_layers=2)
    _, final = rnn(numbers(T, B, F))
    assert final[0][1].shape == (B, H, H)
    rnn.eval()(numbers(T, B, F))
    one, other = (
        layers("fast", recurrent_dropout=0.5, compile=c)(numbers(T, B, F))[0] for c in (True, False)
    )
    np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-10)
    assert str(report_cell(Fast(F, H))) == "compiled"


@pytest.mark.parametrize(("sizes", "said"), [
    ({"h": (H, 2), "A": H}, r"first state, h, has the size \(6, 2\), but is the output: it must be of rows"),
    ({"h": H, "A": (H, 0)}, "state_sizes: A is 0"),
    ({"h": H, "A": ()}, r"state_sizes: A is \(\)"),
    ({"h": H, "A": (H, 2.5)}, "state_sizes: A is 2.5"),
    ({"h": H, "A": [H, 2]}, r"state_sizes: A is \[6, 2\]"),
])  # fmt: skip
def test_sizes_that_are_none_are_one_sentence(sizes, said):
    class Odd(Fast):
        def build(self, input_size, hidden_size):
            self.W, self.U, self.b = self.affine(input_size, hidden_size)
            self.state_sizes = sizes

    with pytest.raises(tr.InputError, match=said):
        tr.RNN(Odd, F, H)
