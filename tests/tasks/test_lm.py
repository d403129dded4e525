"""Language modelling: what is evaluated, while training and afterwards, and what a window begins with."""

import json
import warnings

import numpy as np
import pytest
from click.testing import CliRunner

import tinyrnn as tr
from tinyrnn.cli import main
from tinyrnn.tasks.lm import adapting, task
from tinyrnn.tasks.text.vocabulary import Characters, Words, build_vocabulary


def test_the_first_tokens_of_a_long_validation_text_are_evaluated(monkeypatch):
    """Its first part is what the model says, its last the contrary."""
    vocabulary = build_vocabulary(["ab"], "char", None)
    model = task.LanguageModel(vocabulary, cell="gru", hidden=8, embed=4, seed=0)
    model.output.weight.assign_(np.zeros_like(model.output.weight.data))
    model.output.bias.assign_(np.array([3.0, -3.0], "float32"))  # says a, whatever it reads
    val = np.repeat([0, 1], [300, 900])
    training = task.LanguageModeling(model, np.tile([0, 1], 50), val, batch_size=2, seq_len=10, seed=0)
    monkeypatch.setattr(task, "EVALUATION_TOKENS", 300)
    assert training.evaluate()["val_loss"] == pytest.approx(np.log1p(np.exp(-6)), rel=1e-3)
    assert task.evaluate(model, val)["loss"] > 4


# ------------------------------------------------------------------ state, dynamic evaluation, cache


def model_of(text="abc", **settings):
    vocabulary = build_vocabulary([text], "char", None)
    return task.LanguageModel(vocabulary, **{"cell": "gru", "hidden": 8, "embed": 4, "seed": 0, **settings})


def test_a_state_that_is_reset_begins_every_window_anew():
    tokens = np.random.default_rng(0).integers(0, 3, 401)
    carried, reset = (model_of(state=state) for state in ("carry", "reset"))
    np.testing.assert_array_equal(carried.output.weight.data, reset.output.weight.data)
    windows = [tokens[i : i + 51] for i in range(0, 400, 50)]
    alone = np.mean([task.evaluate(carried, w, seq_len=50)["loss"] for w in windows])
    assert task.evaluate(reset, tokens, batch_size=1, seq_len=50)["loss"] == pytest.approx(alone, rel=1e-6)
    assert task.evaluate(carried, tokens, batch_size=1, seq_len=50)["loss"] != pytest.approx(alone, rel=1e-6)
    losses = {}
    for model in (carried, reset):
        training = task.LanguageModeling(model, tokens, tokens[:50], batch_size=2, seq_len=20, seed=0)
        losses[model.carries] = [training.loss(k).item() for k in range(3)]
    assert losses[True][0] == losses[False][0] and losses[True][1] != losses[False][1]
    first = task.windows.Windows(tokens, 2, 20, 0)[1]
    assert losses[False][1] == reset.cost(*first[:2])[0].item()


def test_dynamic_evaluation_is_that_of_the_paper():
    """Beside equations 7 to 9 of Krause et al. 2018, step by step in NumPy on gradients of the tape."""
    model, rng = model_of(dtype="float64"), np.random.default_rng(0)
    train, tokens = rng.integers(0, 3, 900), rng.integers(0, 3, 31)
    trained = model.state_dict()
    dynamic = adapting.Dynamic(model, train, window=5, lr=0.01, decay=0.3)
    squares, windows = {}, list(task.windows.evaluation_windows(train, 100, 5))
    assert windows.pop()[2] == "last"  # what is left of one stream alone is no window
    for inputs, targets, _ in windows:
        for p in model.parameters():
            p.grad = None
        model.cost(inputs, targets)[0].backward()
        for name, p in model.named_parameters():
            squares[name] = squares.get(name, 0) + p.grad.numpy() ** 2
    rms = {name: np.sqrt(s / len(windows)) for name, s in squares.items()}
    mean = np.concatenate([r.ravel() for r in rms.values()]).mean()
    theta, total, states = {n: a.copy() for n, a in trained.items()}, 0.0, None
    for k in range(0, 30, 5):
        model.load_state_dict(theta)
        for p in model.parameters():
            p.grad = None
        loss, states = model.cost(tokens[k : k + 5, None], tokens[k + 1 : k + 6, None], states)
        states = [tuple(s.detach() for s in layer) for layer in states]
        loss.backward()
        total += 5 * loss.item()
        for name, p in model.named_parameters():
            back = np.minimum(0.3 * rms[name] / mean, 1) * (trained[name] - theta[name])
            theta[name] = theta[name] - 0.01 * p.grad.numpy() / (rms[name] + 1e-3) + back
    model.load_state_dict(trained)
    found = adapting.adapted_loss(model, tokens, 5, dynamic, None)
    assert found == pytest.approx(total / 30, rel=1e-10)
    for name, array in model.state_dict().items():  # nothing of it stays
        np.testing.assert_array_equal(array, trained[name])


def test_where_nothing_is_learned_or_mixed_the_loss_is_the_static_one():
    for state in ("carry", "reset"):
        model = task.LanguageModel(
            Characters("abcd"), hidden=5, embed=3, state=state, dtype="float64", seed=1
        )
        tokens = np.random.default_rng(0).integers(0, 4, 351)
        static = task.evaluate(model, tokens, batch_size=1)["loss"]
        cache = adapting.Cache(size=10, theta=0.3, part=0.0)
        assert adapting.adapted_loss(model, tokens, 7, None, cache) == pytest.approx(static, rel=1e-12)
        still = adapting.Dynamic(model, tokens, window=20, lr=0.0, decay=0.0)
        assert adapting.adapted_loss(model, tokens, 20, still, None) == pytest.approx(static, rel=1e-12)


def test_dynamic_evaluation_that_diverges_is_told():
    model, tokens = model_of(), np.random.default_rng(0).integers(0, 3, 200)
    trained = model.state_dict()
    dynamic = adapting.Dynamic(model, tokens, window=5, lr=1e30, decay=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(tr.InputError, match="became .*: lower --dynamic-lr"):
            adapting.adapted_loss(model, tokens, 5, dynamic, None)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, trained[name])


@pytest.mark.parametrize("window", [1, 7, 30])
def test_a_cache_is_that_of_the_paper(window):
    """Beside equations 2 to 4 of Grave et al. 2017, token by token."""
    model = model_of(dtype="float64")
    tokens = np.random.default_rng(1).integers(0, 3, 31)
    with model.evaluating():
        ys, _ = model.outputs(tokens[:-1, None], None)
        p = tr.softmax(model.logits(ys)).numpy()[:, 0]
    h, total = ys.numpy()[:, 0], 0.0
    for t in range(30):
        past = range(max(0, t - 10), t)
        weights = np.array([np.exp(2.0 * h[t] @ h[i]) for i in past])
        own = p[t, tokens[t + 1]]
        if len(past):
            same = np.array([tokens[i + 1] == tokens[t + 1] for i in past])
            own = 0.7 * own + 0.3 * (weights * same).sum() / weights.sum()
        total -= np.log(own)
    cache = adapting.Cache(size=10, theta=2.0, part=0.3)
    assert adapting.adapted_loss(model, tokens, window, None, cache) == pytest.approx(total / 30, rel=1e-10)


def test_what_is_read_again_is_learned(tmp_path):
    """The same sentences over and over, of which the model was never told."""
    rng = np.random.default_rng(0)
    (tmp_path / "a.txt").write_text("".join(rng.choice(list("abcd \n"), 3000)))
    (tmp_path / "b.txt").write_text("a bad cab, a dab\n" * 60)
    out = tmp_path / "run"
    small = dict(hidden=16, embed=8, layers=1, steps=20, batch_size=8, seq_len=20, quiet=True)
    tr.train(tmp_path / "a.txt", out=out, **small)
    figures = {}
    for options in ("--dynamic", "--cache 100 --cache-theta 5 --cache-lambda 0.5", "--dynamic --cache 50"):
        arguments = ["evaluate", out, tmp_path / "b.txt", "--json", *options.split()]
        result = CliRunner().invoke(main, list(map(str, arguments)))
        assert result.exit_code == 0, result.output
        figures[options] = json.loads(result.stdout)
    assert all(f["adapted_loss"] < f["loss"] - 0.2 for f in figures.values())
    still = [
        "evaluate",
        out,
        tmp_path / "b.txt",
        "--json",
        *"--dynamic --dynamic-lr 0 --dynamic-decay 0".split(),
    ]
    unmoved = json.loads(CliRunner().invoke(main, list(map(str, still))).stdout)  # both are of one reading
    assert unmoved["adapted_loss"] == pytest.approx(unmoved["loss"], rel=1e-5)
    assert all(f["adapted_perplexity"] == pytest.approx(np.exp(f["adapted_loss"])) for f in figures.values())


def test_what_adapting_needs_is_told(tmp_path):
    text = "a bad cab, a dab\n" * 60
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(text)
    out = tmp_path / "run"
    small = dict(hidden=16, embed=8, layers=1, steps=1, batch_size=8, seq_len=20)
    tr.train(tmp_path / "a.txt", out=out, quiet=True, **small)

    def evaluated(*options):
        return CliRunner().invoke(main, list(map(str, ["evaluate", out, tmp_path / "b.txt", *options])))

    result = evaluated("--cache", 10, "--weights", "int8")
    assert result.exit_code == 0 and "adapted loss" in result.output
    result = evaluated("--dynamic", "--weights", "int8")
    assert "--dynamic learns, which weights in int8 cannot: leave --weights out" in result.stderr
    result = evaluated("--cache", 10, "--cache-theta", 1e308)
    assert result.exit_code == 2 and "at most 1,000,000, not 1e+308" in " ".join(result.stderr.split())
    result = evaluated("--streams", 100000000)
    assert "too short for 100,000,000 streams of 100 symbols: it is read in 10\n" in result.stderr
    assert evaluated("--streams", 10).stderr == evaluated().stderr == ""
    (tmp_path / "a.txt").write_text(text * 2)
    result = evaluated("--dynamic")
    assert result.exit_code == 2 and "changed since it was trained; --dynamic needs the text" in result.stderr
    assert evaluated().exit_code == 0
    (tmp_path / "a.txt").unlink()
    result = evaluated("--dynamic")
    assert "which is not here; --dynamic needs the text of the run's training, for its stati" in result.stderr
    assert "have that in its file as it was, or leave --dynamic out\n" in result.stderr
    fed = CliRunner().invoke(main, ["train", "-", "--out", str(tmp_path / "fed"), "--steps", "1"], input=text)
    assert (
        fed.exit_code == 0
        and "the text is too short for 32 streams (--batch-size)" in fed.stderr + fed.stdout
    )
    out = tmp_path / "fed"
    result = evaluated("--dynamic")
    assert "standard input, which is not kept; --dynamic needs the text" in result.stderr


def test_two_words_are_never_written_as_one():
    """A symbol without its space, which stands at the beginning of lines, may be drawn anywhere."""
    words = Words(["<unk>", "good", "a", " minute", "'", "\n", ".", "é"], unknown=0)
    number = {s: i for i, s in enumerate(words.symbols)}
    drawn = [number[s] for s in ("good", "a", " minute", ".", "a", "\n", "good", "'", "a", "é")]
    assert words.decode(drawn) == "good a minute.a\ngood'a é"
    decode, text = words.decoder(), ""
    for i in drawn:
        appended, text = words.appended(text, i), text + decode(i)
        assert appended == text
    true = "one two, three's\n(four) 5.6 don't"
    built = Words.build([true], None)
    assert built.decode(built.encode(true)) == true


def test_the_embedding_has_a_dropout_of_its_own():
    tokens = np.random.default_rng(0).integers(0, 3, (21, 4))

    def loss(**settings):
        return model_of(**settings).cost(tokens[:-1], tokens[1:])[0].item()

    assert loss(dropout=0.5) == loss(dropout=0.5, embed_dropout=0.5)  # drawn in the same order
    assert loss(dropout=0.0, embed_dropout=0.5) not in (loss(dropout=0.0), loss(dropout=0.5))
    ones = model_of(dropout=0.5, embed_dropout=0.0)
    assert ones.embed_dropout.p == 0 and ones.dropout.p == ones.rnn.dropout.p == 0.5
