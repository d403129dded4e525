"""Disturbances as functions, `tinyrnn robust` and `Run.robust` on every task, and training against them."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

import tinyrnn as tr
from tinyrnn.cli import main
from tinyrnn.compiler.ir import CompileWarning
from tinyrnn.kernels.generator import Generator
from tinyrnn.tasks.lm.task import LanguageModel
from tinyrnn.tasks.text.robustness import Texts
from tinyrnn.tasks.text.vocabulary import Characters, Words
from tinyrnn.training import disturbances
from tinyrnn.training.disturbances import KEYS, Symbols
from tinyrnn.training.robustness import Numbers
from tinyrnn.training.runs import load_tensors
from tinyrnn.training.task import Task

RANDOM = Texts.random
SEQUENCES = [np.arange(40) % 7, np.array([3]), np.arange(59) % 5]  # 100 symbols of 8
SMALL = dict(hidden=6, layers=1, steps=4, eval_every=2, warmup=0, quiet=True)


def symbols():
    return Symbols.of(SEQUENCES, Characters(list("abcdefgh")))


def same(one, other):
    return all(np.array_equal(getattr(one, k), getattr(other, k)) for k in ("ids", "texts", "places"))


# ------------------------------------------------------------------ symbols


@pytest.mark.parametrize("kind", RANDOM)
def test_strength_0_changes_nothing_and_seeds_repeat(kind):
    text, disturb = symbols(), RANDOM[kind]
    assert same(disturb(text, 0.0, Generator(1)), text)
    first, again, other = (disturb(text, 0.3, Generator(seed)) for seed in (1, 1, 2))
    assert same(first, again) and not same(first, other)
    assert same(text, symbols())  # what was given is as it was
    for s, places in zip(first.split(first.ids), first.split(first.places), strict=True):
        assert len(s) == len(places) >= 1


@pytest.mark.parametrize("strength", [0.07, 0.3, 1.0])
def test_so_many_symbols_are_replaced(strength):
    text = symbols()
    for kind in ("typo", "replace"):
        found = RANDOM[kind](text, strength, Generator(3))
        assert (found.ids != text.ids).sum() == round(100 * strength)
        assert found.ids.max() < 8 and np.array_equal(found.places, text.places)


def test_so_many_are_dropped_inserted_and_swapped():
    text = symbols()
    found = disturbances.dropped(text, 0.3, Generator(0))
    assert len(found.ids) == 70
    assert all(
        np.array_equal(SEQUENCES[t][p], i)
        for t, p, i in zip(found.texts, found.places, found.ids, strict=True)
    )
    found = disturbances.dropped(text, 1.0, Generator(0))
    assert found.ids.tolist() == [s[0] for s in SEQUENCES]  # no text is empty
    found = disturbances.inserted(text, 0.3, Generator(0))
    assert len(found.ids) == 130
    new = np.flatnonzero((np.diff(found.places) == 0) & (np.diff(found.texts) == 0)) + 1
    assert len(new) == 30 and np.array_equal(np.delete(found.ids, new), text.ids)
    found = disturbances.swapped(text, 0.2, Generator(0))
    (early,) = np.nonzero(found.places != text.places)
    assert len(early) == 20 and (found.places - text.places)[early].tolist() == [1] * 20
    assert (np.diff(early) > 1).all()  # pairs that share no symbol
    back = found.ids.copy()
    back[early], back[early + 1] = found.ids[early + 1], found.ids[early]
    assert np.array_equal(back, text.ids)


def test_greater_strengths_keep_what_smaller_ones_did():
    few, many = (disturbances.chosen(100, s, Generator(5)) for s in (0.1, 0.4))
    assert len(few) == 10 and len(many) == 40 and set(few) < set(many)


def test_typos_are_of_keys_beside():
    assert set(KEYS["g"]) == set("tyfhvb") and set(KEYS["Q"]) == {"W", "A", "1", "2"}
    vocabulary = Characters(list("qwertyuiopasdfghjklzxcvbnm"))
    text = Symbols.of([np.arange(26)], vocabulary)
    found = disturbances.mistyped(text, 1.0, Generator(0))
    assert all(
        vocabulary.symbols[b] in KEYS[vocabulary.symbols[a]] for a, b in zip(text.ids, found.ids, strict=True)
    )
    words = Words(["<unk>", " bad", " bed", " bat"], unknown=0)
    found = disturbances.mistyped(Symbols.of([np.full(50, 2)], words), 1.0, Generator(0))
    assert set(found.ids) == {0}  # a word of no other key is unknown: e is not beside a


# ------------------------------------------------------------------ gradients


def probe(dtype="float64"):
    model = LanguageModel(Characters(list("abcdefgh")), cell="gru", hidden=5, layers=1, embed=4, dtype=dtype)
    model.eval()
    following = [np.roll(s, -1) for s in SEQUENCES]

    def said(ids, mask, examples, places):
        true = np.full(mask.shape, -100)
        for b, (i, at) in enumerate(zip(examples, places, strict=True)):
            true[: len(at), b] = following[i][at]
        return model(ids)[0], true

    return Texts(model, model.embedding, model.vocabulary, SEQUENCES, said)


def test_hotflips_first_order_gain_is_that_of_the_loss():
    texts = probe()
    weight = texts.embedding.weight
    text, n = texts.data, 100
    slopes, before = texts.slopes(text), n * texts.figures(text)["loss"]
    rise = disturbances.gains(slopes, text.ids, weight.numpy())
    np.testing.assert_allclose(rise[np.arange(n), text.ids], 0, atol=1e-12)
    assert texts.model.embedding.weight.grad is None  # no parameter received any
    near = weight.numpy().copy()
    for place, symbol in [(3, 6), (39, 2), (40, 7), (77, 7)]:
        # a symbol 7 that lies so near to the one that it replaces that first order is all
        step = 1e-5 * (near[symbol] - near[text.ids[place]])
        weight.assign_(np.concatenate([near[:7], [near[text.ids[place]] + step]]))
        true = n * texts.figures(text.put(np.array([place]), np.array([7])))["loss"] - before
        weight.assign_(near)
        assert true == pytest.approx(1e-5 * rise[place, symbol], rel=1e-3)


def test_hotflip_flips_so_many_and_the_worst():
    texts = probe()
    found = texts.disturbed("hotflip", 0.1, Generator(0))
    assert (found.ids != texts.data.ids).sum() == 10
    assert same(texts.disturbed("hotflip", 0.0, Generator(0)), texts.data)
    random = [texts.figures(texts.disturbed("replace", 0.1, Generator(s)))["loss"] for s in range(5)]
    assert texts.figures(found)["loss"] > max(random)
    one = disturbances.hotflip(texts.data, 0.01, texts.slopes, texts.embedding.weight.numpy())
    (place,) = np.flatnonzero(one.ids != texts.data.ids)
    rise = disturbances.gains(texts.slopes(texts.data), texts.data.ids, texts.embedding.weight.numpy())
    rows = np.flatnonzero(texts.data.texts == texts.data.texts[place])
    assert rise[place, one.ids[place]] == rise[rows].max()


def test_numbers_are_disturbed_as_much_as_is_said():
    values = np.ones((5, 8, 5))
    numbers = Numbers(probe().model, values, lambda x: -((x - 1.25) * (x - 1.25)).sum(), None)
    for kind in Numbers.kinds:
        assert np.array_equal(numbers.disturbed(kind, 0.0, Generator(0)), values)
        one, again = (numbers.disturbed(kind, 0.4, Generator(7)) for _ in range(2))
        assert np.array_equal(one, again) and (values == 1).all()
    assert (numbers.disturbed("missing", 0.37, Generator(0)) == 0).sum() == 74
    noise = numbers.disturbed("noise", 0.4, Generator(0)) - values
    assert noise.std() == pytest.approx(0.4, rel=0.15) and abs(noise.mean()) < 0.1
    found = numbers.disturbed("fgsm", 0.4, Generator(0))
    np.testing.assert_allclose(np.abs(found - values), 0.4)
    strong = numbers.disturbed("pgd", 0.4, Generator(0))
    assert np.abs(strong - values).max() <= 0.4 + 1e-12
    costs = [numbers.cost(tr.tensor(x)).item() for x in (values, found, strong)]
    assert costs[0] < costs[1] < costs[2]  # one step goes too far here


# ------------------------------------------------------------------ every task


@pytest.fixture
def data(tmp_path, text_file):
    random = np.random.default_rng(0)
    (tmp_path / "r.csv").write_text("text,label\n" + "a warm film,pos\nan awful bore,neg\n" * 30)
    pairs = (f"see {a} of {b}\t{b} {a}\n" for a, b in random.integers(10, 99, (60, 2)))
    (tmp_path / "p.tsv").write_text("".join(pairs))
    rows = (f"{np.datetime64('2020-01-01') + t},{v}\n" for t, v in enumerate(random.standard_normal(200)))
    (tmp_path / "s.csv").write_text("date,x\n" + "".join(rows))
    return dict(
        lm=(text_file, dict(seq_len=20, batch_size=4)),
        classify=(tmp_path / "r.csv", dict(batch_size=16)),
        translate=(tmp_path / "p.tsv", dict(batch_size=16)),
        forecast=(tmp_path / "s.csv", dict(window=10, horizon=3)),
    )


def train(data, task, out, **options):
    file, own = data[task]
    return tr.train(file, task, out=out, **{**SMALL, **own, "seed": 3, **options})


@pytest.mark.parametrize("task", ["lm", "classify", "translate", "forecast"])
def test_every_task_is_disturbed(data, tmp_path, task):
    run = train(data, task, tmp_path / "run")
    rows = run.robust(examples=10_000, strengths="0.2")
    figures = run.evaluate()
    name = "rmse" if task == "forecast" else "loss"
    assert rows[0]["kind"] == "none"
    # pieces of a text begin without memory; else the undisturbed figures are those of `evaluate`
    assert rows[0][name] == pytest.approx(figures[name], rel=0.02 if task == "lm" else 1e-5)
    worst = {"forecast": "pgd"}.get(task, "hotflip")
    assert next(r for r in rows if r["kind"] == worst)["loss"] > rows[0]["loss"]
    assert {r["kind"] for r in rows[1:]} == {*(Numbers if task == "forecast" else Texts).kinds}
    command = ["robust", str(run.path), str(data[task][0]), "--strengths", "0,0.2", "--examples", "9"]
    shown = CliRunner().invoke(main, command)
    assert shown.exit_code == 0, shown.output
    assert worst in shown.output and "undisturbed" in shown.output
    assert (run.path / "robust.png").read_bytes()[:4] == b"\x89PNG"
    said = CliRunner().invoke(main, [*command, "--json", "--kinds", worst, "--seed", "5"])
    first, still, more = map(json.loads, said.output.splitlines())
    assert {**first, "kind": worst} == still and more["strength"] == 0.2  # strength 0 is undisturbed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--kinds", "typo,pgd"], "kinds has 'pgd': this task has typo, replace"),
        (["--strengths", "0.1,x"], "strengths is '0.1,x': give numbers"),
        (["--strengths", "nan"], "strengths is 'nan'"),
        (["--strengths", "1.5"], "strengths has 1.5, and that of typo is a share"),
        (["--text-column", "a"], "--text-column is not for task lm"),
    ],
)
def test_what_cannot_be_tried_is_one_sentence(data, tmp_path, options, said):
    run = train(data, "lm", tmp_path / "run")
    result = CliRunner().invoke(main, ["robust", str(run.path), *options])
    assert result.exit_code == 2 and said in result.output


def test_a_task_that_cannot_be_disturbed_says_so(data, tmp_path, monkeypatch):
    run = train(data, "lm", tmp_path / "run")
    monkeypatch.setattr(type(run)._task.fget(run), "probe", Task.probe)
    result = CliRunner().invoke(main, ["robust", str(run.path)])
    assert result.exit_code == 2 and "cannot be disturbed: use tinyrnn evaluate" in result.output
    with pytest.raises(tr.InputError, match="use evaluate"):
        run.robust()


@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_no_figure_is_cut(data, tmp_path, monkeypatch, columns):
    run = train(data, "lm", tmp_path / "run")
    monkeypatch.setenv("COLUMNS", columns)
    strengths = "0.01,0.02,0.05,0.1,0.2,0.5,0.9"
    shown = CliRunner().invoke(main, ["robust", str(run.path), "--kinds", "typo", "--strengths", strengths])
    assert shown.exit_code == 0 and "…" not in shown.output
    rows = run.robust(kinds=["typo"], strengths=[float(s) for s in strengths.split(",")])
    assert len(rows) == 8 and all(f"{row['loss']:.4g}" in shown.output for row in rows)
    assert run.robust(kinds=["typo"], strengths=0.2)[1] == rows[5]


EAGER = """
import tinyrnn as tr

class Counting(tr.Cell):
    states = ("h",)

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size)
        self.steps = 0

    def step(self, x, h):
        self.steps += 1  # which a compiled loop would not do
        return tr.tanh(x @ self.W + h @ self.U + self.b)
"""


def test_an_eager_cell_in_a_file(data, tmp_path):
    (tmp_path / "cell.py").write_text(EAGER)
    cell = f"{tmp_path / 'cell.py'}:Counting"
    with pytest.warns(CompileWarning, match="runs eagerly"):
        run = train(data, "classify", tmp_path / "run", cell=cell, adversarial=0.1)
    kinds = [row["kind"] for row in run.robust(kinds="swap,hotflip", strengths="0.2")]
    assert kinds == ["none", "swap", "hotflip"]
    command = ["robust", str(run.path), "--kinds", "drop", "--json"]
    refused = CliRunner().invoke(main, command)
    assert refused.exit_code == 2 and "--allow-code" in refused.output
    assert CliRunner().invoke(main, [*command, "--allow-code"]).exit_code == 0


# ------------------------------------------------------------------ training


@pytest.mark.sample(3)
@pytest.mark.parametrize("task", ["lm", "classify", "translate", "forecast"])
@pytest.mark.parametrize("option", ["noise", "adversarial"])
def test_hardened_runs_repeat_differ_and_resume(data, tmp_path, task, option):
    how = {option: 0.3, "schedule": "constant"}
    one = train(data, task, tmp_path / "one", **how)
    again = train(data, task, tmp_path / "again", **how, steps=2).resume(steps=4, quiet=True)
    plain = train(data, task, tmp_path / "plain", schedule="constant")
    assert again.options[option] == 0.3 and plain.options[option] == 0
    assert not np.isclose(one.log[-1]["val_loss"], plain.log[-1]["val_loss"], rtol=1e-9)
    for name, value in load_tensors(one.path / "last.safetensors")[0].items():
        np.testing.assert_array_equal(value, load_tensors(again.path / "last.safetensors")[0][name])


def test_the_norm_of_an_adversary_is_what_is_said():
    moved = []

    def cost(x):
        moved.append(x)
        return (x * x * x).sum()

    embedding = tr.Embedding(9, 4)
    ids = np.array([[1, 2], [3, 4], [5, 6]])
    found = disturbances.hardened_text(cost, ids, embedding, Generator(0), adversarial=0.7)
    clean, worse = embedding(ids).numpy(), moved[1].numpy()
    np.testing.assert_allclose(np.sqrt(((worse - clean) ** 2).sum(axis=(0, 2))), 0.7, rtol=1e-4)
    np.testing.assert_array_equal(moved[-1].numpy(), clean)  # whose states go on
    assert found.item() == pytest.approx(((clean**3).sum() + (worse**3).sum()) / 2, rel=1e-4)
    assert (worse**3).sum() > (clean**3).sum()
    found.backward()
    assert embedding.weight.grad is not None
    values = np.linspace(-1, 1, 6, dtype=np.float32).reshape(3, 2, 1)
    model = SimpleNamespace(device="cpu", generator=Generator(0))
    disturbances.hardened_numbers(cost, values, model, adversarial=0.2)
    np.testing.assert_allclose(moved[-2].numpy(), values + 0.2, rtol=1e-5)  # 3 x^2 is positive


def test_noise_replaces_that_part_of_the_symbols():
    ids, seen, generator = np.zeros((100, 50), int), [], Generator(0)
    for _ in range(2):
        disturbances.hardened_text(
            lambda x: seen.append(x) or tr.tensor(0.0), ids, tr.Embedding(9, 4), generator, noise=0.2
        )
    assert all((s != 0).mean() == pytest.approx(0.2, abs=0.02) for s in seen)
    assert (seen[0] != seen[1]).any() and set(np.unique(seen[0])) == set(range(9))
