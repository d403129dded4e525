"""The output layer of a large vocabulary: logits by blocks, adaptive softmax."""

import json
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from click.testing import CliRunner

import tinyrnn as tr
from tinyrnn.base import threads
from tinyrnn.cli import main
from tinyrnn.kernels import losses, references, rows
from tinyrnn.nn.adaptive import HEAD, chosen_cutoffs
from tinyrnn.nn.functional import linear_losses
from tinyrnn.tasks.lm.model import LanguageModel
from tinyrnn.tasks.text.vocabulary import Characters, Words, build_vocabulary

draw = np.random.default_rng(5)  # of what is made when this file is imported
X, W, B = draw.standard_normal((3, 4, 5)), draw.standard_normal((5, 11)), draw.standard_normal(11)
IDS = draw.integers(0, 11, (3, 4))
COUNTS, GIVEN = draw.uniform(0.5, 2, 11), draw.standard_normal(IDS.shape)
OPTIONS = {
    "plain": {},
    "weighted": dict(weight=COUNTS, ignore_index=int(IDS[0, 0])),
    "smoothed": dict(label_smoothing=0.2, ignore_index=int(IDS[0, 0])),
    "both": dict(label_smoothing=0.3, weight=COUNTS),
}


@pytest.fixture
def blocks(monkeypatch):
    """Blocks of five rows, however few classes there are."""
    monkeypatch.setattr(linear_losses, "WIDE", 1)
    monkeypatch.setattr(losses, "ELEMENTS", 55)
    monkeypatch.setattr(losses, "LEAST", 5)


def composed(x, w, b, **some):
    return tr.cross_entropy(tr.linear(x, w, b), IDS, **some)


def by_blocks(x, w, b, **some):
    return tr.linear_cross_entropy(x, w, IDS, linear_bias=b, **some)


def gradients(f, *arrays, given=None, times=1, **some):
    leaves = [tr.tensor(a, requires_grad=True) for a in arrays]
    y = f(*leaves, **some)
    for _ in range(times):
        for leaf in leaves:
            leaf.grad = None
        y.backward(given, retain_graph=times > 1)
    return [y.numpy(), *(leaf.grad.numpy() for leaf in leaves)]


def alike(found, wanted, **tolerance):
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, **{"rtol": 1e-10, "atol": 1e-12} | tolerance)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("some", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("tied", [False, True])
def test_blocks_equal_the_composition(blocks, some, reduction, dtype, tied):
    arrays = [a.astype(dtype) for a in (X, np.ascontiguousarray(W.T) if tied else W, B)]
    given = (GIVEN if reduction == "none" else GIVEN[0, 0]).astype(dtype)
    some = {k: v.astype(dtype) if k == "weight" else v for k, v in some.items()}

    def turned(f):
        def g(x, w, b):
            return f(x, tr.matrix_transpose(w) if tied else w, b, **some, reduction=reduction)

        return g

    found = gradients(turned(by_blocks), *arrays, given=given)
    assert {a.dtype.name for a in found} == {dtype}
    wide = dict(rtol=1e-4, atol=1e-5) if dtype == "float32" else {}
    alike(found, gradients(turned(composed), *arrays, given=given), **wide)


@pytest.mark.parametrize("some", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_derivatives_of_both_orders(blocks, some, reduction):
    tr.check_grad(lambda *given: by_blocks(*given, **some, reduction=reduction), X, W, B, order=2)


def test_a_second_walk_gives_the_same(blocks):
    once, twice = (gradients(by_blocks, X, W, B, given=np.array(3.0), times=n) for n in (1, 2))
    for a, b in zip(once, twice, strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_a_bias_and_what_is_learned_of_it_alone(blocks):
    w = tr.tensor(W, requires_grad=True)
    tr.linear_cross_entropy(X, w, IDS).backward()
    alike([w.grad.numpy()], [gradients(composed, X, W, np.zeros(11))[2]])


def test_ignored_rows_may_hold_anything(blocks):
    x = X.copy()
    x[IDS == 8] = np.nan
    found, wanted = (gradients(by_blocks, a, W, B, ignore_index=8) for a in (x, X))
    assert (IDS == 8).sum() > 1
    alike([found[0], found[3]], [wanted[0], wanted[3]])
    assert np.isnan(by_blocks(x, W, B).item())  # where they count it stays visible


def test_nothing_to_learn_from(blocks):
    x, w = tr.tensor(X[:0], requires_grad=True), tr.tensor(W, requires_grad=True)
    tr.linear_cross_entropy(x, w, IDS[:0], reduction="sum").backward()
    assert x.grad.shape == (0, 4, 5) and not w.grad.numpy().any()


def test_errors_are_those_of_the_composition(blocks):
    with pytest.raises(tr.ShapeError, match="inner sizes 4 and 5"):
        tr.linear_cross_entropy(X[..., :4], W, IDS)
    with pytest.raises(tr.InputError, match="11 classes"):
        tr.linear_cross_entropy(X, W, IDS + 11)
    with pytest.raises(tr.ShapeError, match="class ids"):
        tr.linear_cross_entropy(X, W, IDS[:2])
    with pytest.raises(tr.InputError, match="from 0 to 1"):
        tr.linear_cross_entropy(X, W, IDS, label_smoothing=1.5)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_products_have_the_precision_around(blocks, reduction):
    """Operands are rounded as in the composition."""
    arrays, given = [a.astype("float32") for a in (X, W, B)], GIVEN.astype("float32")
    given = given if reduction == "none" else given[0, 0]
    exact = gradients(by_blocks, *arrays, given=given, reduction=reduction)
    with tr.autocast("bfloat16"):
        found = gradients(by_blocks, *arrays, given=given, reduction=reduction)
        wanted = gradients(composed, *arrays, given=given, reduction=reduction)
    alike(found[:1], wanted[:1], rtol=1e-5, atol=1e-6)
    alike(found, wanted, rtol=2e-2, atol=2e-2)
    assert all((a != b).any() for a, b in zip(found[1:3], exact[1:3], strict=True))
    with tr.autocast("tf32"), pytest.raises(tr.InputError, match="needs arrays on a GPU"):
        by_blocks(*arrays)


def test_few_classes_are_computed_as_before_to_the_last_bit(rng):
    arrays = [rng.standard_normal(shape).astype("float32") for shape in ((12, 16, 32), (32, 65), 65)]
    ids = rng.integers(0, 65, (12, 16))
    found = gradients(lambda x, w, b: tr.linear_cross_entropy(x, w, ids, linear_bias=b), *arrays)
    wanted = gradients(lambda x, w, b: tr.cross_entropy(tr.linear(x, w, b), ids), *arrays)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


def test_results_do_not_depend_on_the_number_of_threads(rng):
    arrays = [rng.standard_normal(shape).astype("float32") for shape in ((6000, 8), (8, 1500), 1500)]
    ids, before, found = rng.integers(0, 1500, 6000), threads.threads(), []
    try:
        for n in (1, 3):
            threads.set_threads(n)
            found.append(
                gradients(lambda x, w, b: tr.linear_cross_entropy(x, w, ids, linear_bias=b), *arrays)
            )
    finally:
        threads.set_threads(before)
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def peak(f, *arrays):
    """Bytes that a training step of ``f`` holds at once beyond its arrays."""
    gradients(f, *arrays)  # compiles
    tracemalloc.start()
    try:
        gradients(f, *arrays)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_rows_times_classes(rng):
    w, b = rng.standard_normal((4, 2048)).astype("float32"), np.zeros(2048, "float32")
    peaks = []
    for n in (8_000, 16_000):
        x, ids = rng.standard_normal((n, 4)).astype("float32"), rng.integers(0, 2048, n)
        peaks.append(
            peak(lambda *a, ids=ids: tr.linear_cross_entropy(a[0], a[1], ids, linear_bias=a[2]), x, w, b)
        )
        assert peaks[-1] < 1.5 * 4 * losses.ELEMENTS < 0.5 * 4 * n * 2048
    assert peaks[1] - peaks[0] < 0.05 * 4 * 8_000 * 2048  # rows of four features and of their losses
    whole = peak(lambda *a: tr.cross_entropy(tr.linear(*a), ids), x, w, b)
    assert whole > 4 * 16_000 * 2048


@pytest.mark.parametrize("spread", [None, np.full(11, 0.02)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_kernel_equals_its_plain_reference(spread, dtype, rng):
    logits, own, live = rng.standard_normal((6, 11)), rng.uniform(0, 2, 6), np.array([1.0, 1, 0, 1, 1, 0])
    own[2] = 0
    given = [logits, B, own, live] + ([] if spread is None else [spread])
    logits, bias, own, live, *rest = (a.astype(dtype) for a in given)
    outs = []
    for kernel in (rows.biased_cross_entropy, references.biased_cross_entropy):
        held = logits.copy()
        found = kernel(held, bias, IDS.reshape(-1)[:6], own, live, *(rest or [None]), True)
        outs.append([found, held])
    alike(*outs, **(dict(rtol=1e-4, atol=1e-5) if dtype == "float32" else {}))
    assert not outs[0][1][2].any()


# ------------------------------------------------------------------ adaptive softmax


def adaptive_pair(torch, rng, head_bias, cutoffs=(4, 7, 12), classes=20, features=64):
    ours = tr.nn.AdaptiveLogSoftmaxWithLoss(
        features, classes, list(cutoffs), 4.0, head_bias, dtype="float64", generator=tr.Generator(1)
    )
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(features, classes, list(cutoffs), 4.0, head_bias).double()
    for name, p in ours.named_parameters():
        p.assign_(rng.standard_normal(p.shape) * 0.3)
        with torch.no_grad():
            theirs.get_parameter(name).copy_(torch.tensor(p.numpy().T.copy()))
    assert {n for n, _ in ours.named_parameters()} == {n for n, _ in theirs.named_parameters()}
    return ours, theirs


@pytest.mark.parity
@pytest.mark.parametrize("head_bias", [False, True])
@pytest.mark.parametrize("ids", [draw.integers(0, 20, 30), np.arange(4), np.array([19, 19])], ids=len)
def test_adaptive_softmax_equals_pytorch(head_bias, ids, rng):
    torch = pytest.importorskip("torch")
    ours, theirs = adaptive_pair(torch, rng, head_bias)
    x = rng.standard_normal((len(ids), 64))
    own, other = tr.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    found, wanted = ours(own, ids), theirs(other, torch.tensor(ids))
    found.loss.backward()
    wanted.loss.backward()
    alike([found.output.numpy(), found.loss.numpy()], [t.detach().numpy() for t in wanted])
    alike([own.grad.numpy()], [other.grad.numpy()])
    for name, p in ours.named_parameters():
        theirs_grad = theirs.get_parameter(name).grad
        wanted = np.zeros(p.shape) if theirs_grad is None else theirs_grad.numpy().T
        np.testing.assert_allclose(p.grad.numpy(), wanted, rtol=1e-9, atol=1e-12, err_msg=name)
    alike([ours.log_prob(x).numpy()], [theirs.log_prob(torch.tensor(x)).detach().numpy()])
    np.testing.assert_array_equal(ours.predict(x).numpy(), theirs.predict(torch.tensor(x)).numpy())


def test_adaptive_softmax_of_further_axes_and_other_uses_of_its_output(rng):
    layer = tr.nn.AdaptiveLogSoftmaxWithLoss(16, 20, [5, 9], dtype="float64", generator=tr.Generator(0))
    ids, x = rng.integers(0, 20, (3, 4)), rng.standard_normal((3, 4, 16))
    rows = np.log(np.exp(layer.log_prob(x).numpy()).sum(axis=-1))
    np.testing.assert_allclose(rows, 0, atol=1e-12)
    picked = np.take_along_axis(layer.log_prob(x).numpy(), ids[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(layer(x, ids).output.numpy(), picked, rtol=1e-10)
    uneven = rng.standard_normal((3, 4))
    tr.check_grad(lambda x: (layer(x, ids).output * uneven).sum(), x, order=2)

    def composed(x):
        return tr.take_along_axis(layer.log_prob(x), ids[..., None], axis=-1)[..., 0]

    found = gradients(lambda x: (layer(x, ids).output * uneven).sum(), x)
    alike(found, gradients(lambda x: (composed(x) * uneven).sum(), x))


@pytest.mark.parametrize(
    "cutoffs", [[], [0, 4], [4, 4], [5, 3], [4, 20], [4.0], [True], "4", None, [2, 4, 6]], ids=str
)
def test_cutoffs_that_cannot_be(cutoffs):
    with pytest.raises(tr.InputError, match="cutoffs"):
        tr.nn.AdaptiveLogSoftmaxWithLoss(16, 20, cutoffs)


def test_targets_and_inputs_of_an_adaptive_softmax_are_checked():
    layer = tr.nn.AdaptiveLogSoftmaxWithLoss(16, 20, [5, 9])
    x = np.zeros((3, 16), "float32")
    for ids in ([0, 1, 20], [0, 1, -100]):
        with pytest.raises(tr.InputError, match="20 classes"):
            layer(x, np.array(ids))
    with pytest.raises(tr.InputError, match=r"float32 \[..., 16\]"):
        layer(x[:, :3], np.zeros(3, int))


def test_cutoffs_are_chosen_so_that_the_head_reaches_most_targets():
    counts = 1e6 / np.arange(1, 10_001)
    cutoffs = chosen_cutoffs(counts, 256)
    assert cutoffs == sorted(set(cutoffs)) and len(cutoffs) == 2 and all(type(c) is int for c in cutoffs)
    assert counts[: cutoffs[0]].sum() / counts.sum() >= HEAD
    assert len(chosen_cutoffs(counts, 16)) == 1  # a second cluster would have one feature
    assert chosen_cutoffs(counts, 3) == chosen_cutoffs([5], 256) == []


def test_symbols_by_frequency():
    found = Characters("abc").by_frequency(["ccab", "cb"])
    assert found.symbols == ["c", "b", "a"] and found.unknown is None
    text = "it is what it is , it was said"
    words = build_vocabulary([text], "word", None).by_frequency([" " + text])
    assert words.symbols[0] == "<unk>" and words.unknown == 0 and words.symbols[1:] == [" it", " is"]


# ------------------------------------------------------------------ the task


def invoke(*args):
    return CliRunner().invoke(main, [str(a) for a in args])


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """1,300 words, some of them often."""
    words = np.minimum(np.random.default_rng(0).zipf(1.3, 9000), 1300)
    path = tmp_path_factory.mktemp("words") / "words.txt"
    path.write_text(" ".join(f"w{n}" for n in [*words, *range(1300)]), encoding="utf-8")
    return path


SIZES = (
    "--level word --hidden 16 --embed 8 --layers 1 --batch-size 4 --seq-len 20 --eval-every 4 --quiet".split()
)


def weights(run):
    return (run / "last.safetensors").read_bytes()


@pytest.mark.parametrize("softmax", ["full", "adaptive"])
def test_a_word_model_is_taken_up_bit_for_bit(softmax, text, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    given = [*SIZES, "--softmax", softmax]
    for out, steps in ((whole, 8), (parts, 4)):
        done = invoke("train", text, *given, "--steps", steps, "--schedule", "constant", "--out", out)
        assert done.exit_code == 0, done.output
    done = invoke("train", "--resume", parts, "--steps", 8)
    assert done.exit_code == 0, done.output
    ours, theirs = tr.load(whole).state_dict(), tr.load(parts).state_dict()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
    assert json.loads((whole / "config.json").read_text())["options"]["softmax"] == softmax


def test_what_an_adaptive_model_can_do(text, tmp_path):
    run = tmp_path / "run"
    done = invoke("train", text, *SIZES[:-1], "--softmax", "adaptive", "--steps", 4, "--out", run)
    assert done.exit_code == 0 and "adaptive softmax: " in done.output and "rarer ones" in done.output
    for command in (["evaluate", run], ["generate", run, "--length", 5, "--seed", 1], ["robust", run]):
        done = invoke(*command)
        assert done.exit_code == 0, done.output
    done = invoke("export", run)
    assert done.exit_code == 2 and "adaptive softmax cannot be written out" in done.output
    model = tr.load(run)
    often = Counter(Words.PIECES.findall(text.read_text()))
    assert often[model.vocabulary.symbols[1]] > 10 > often[model.vocabulary.symbols[-1]]
    ids = np.arange(6).reshape(3, 2)
    logits, _ = model(ids)
    cost, _ = model.cost(ids, ids)
    assert cost.item() == pytest.approx(tr.cross_entropy(logits, ids).item(), rel=1e-5)


def test_evaluation_says_how_many_words_are_unknown(text, tmp_path):
    """What they are costs nothing in bits per character."""
    run = tmp_path / "run"
    few = ["--level", "word", "--vocab-size", 4]
    assert invoke("train", text, *SIZES, *few, "--steps", 1, "--out", run).exit_code == 0
    own = json.loads(invoke("evaluate", run, text, "--json").stdout)
    model, words = tr.load(run), Words.PIECES.findall(text.read_text())
    lacking = [w not in model.vocabulary.ids for w in words[1:]]
    assert own["unknown"] == pytest.approx(sum(lacking) / len(lacking)) and 0 < own["unknown"] < 1
    assert "unknown" in invoke("evaluate", run, text).stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tie", "--embed", 16], "--tie could share"),
        (["--level", "byte"], "use --level word, token or char"),
        (["--level", "word", "--vocab-size", 2], "too few symbols"),
        (["--level", "word", "--hidden", 2], "--hidden 2 is too narrow"),
    ],
    ids=str,
)
def test_an_adaptive_softmax_that_cannot_be(text, options, said, tmp_path):
    done = invoke(
        "train", text, *SIZES, "--softmax", "adaptive", *options, "--steps", 2, "--out", tmp_path / "r"
    )
    assert done.exit_code == 2 and said in done.output and done.output.count("\n") == 1


def test_comparisons_refuse_an_adaptive_softmax(text, tmp_path):
    given = ["--cells", "gru,rnn", "--softmax", "adaptive", "--steps", 2, "--out", tmp_path / "c"]
    done = invoke("compare", text, "--level", "word", *given)
    assert done.exit_code == 2 and "leave it out" in done.output


@pytest.mark.parametrize("tie", [False, True])
def test_training_by_blocks_equals_training_by_logits(blocks, tie, monkeypatch, rng):
    ids = rng.integers(0, 7, (6, 3))
    model = LanguageModel(Characters("abcdefg"), hidden=6, embed=6, tie=tie, dtype="float64", seed=2)
    found = []
    for wide in (1, 10**6):
        monkeypatch.setattr(linear_losses, "WIDE", wide)
        model.zero_grad()
        loss, _ = model.cost(ids[:-1], ids[1:])
        loss.backward()
        found.append([loss.numpy(), *(p.grad.numpy() for p in model.parameters())])
    alike(*found)
    low = LanguageModel(Characters("abcdefg"), hidden=6, embed=6, tie=tie, dtype="bfloat16", seed=2)
    for wide in (1, 10**6):
        monkeypatch.setattr(linear_losses, "WIDE", wide)
        logits, _ = low(ids[:-1])
        loss = low.cost(ids[:-1], ids[1:])[0].item()
        assert loss == pytest.approx(tr.cross_entropy(logits, ids[1:]).item(), rel=1e-6)


@pytest.mark.parametrize("classes", [1023, 1024])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_of_nothing_but_ignored_targets_there_is_no_gradient(classes, reduction, rng):
    x, weight = rng.standard_normal((2, 3)), rng.standard_normal((3, classes))
    x, weight = tr.tensor(x, requires_grad=True), tr.tensor(weight, requires_grad=True)
    with np.errstate(all="ignore"):
        loss = tr.linear_cross_entropy(x, weight, np.array([-100, -100]), reduction=reduction)
        loss.backward()
    assert np.isnan(loss.item()) == (reduction == "mean")
    assert not x.grad.numpy().any() and not weight.grad.numpy().any()


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_what_was_given_may_change_before_backward(reduction):
    found = []
    for change in (False, True):
        made = np.random.default_rng(0)
        weight, bias, ids = made.standard_normal((3, 1100)), made.standard_normal(1100), np.arange(5)
        counts = 0.5 + made.random(1100)
        x = tr.tensor(made.standard_normal((5, 3)), requires_grad=True)
        how = dict(linear_bias=bias, weight=counts, label_smoothing=0.1, reduction=reduction)
        loss = tr.linear_cross_entropy(x, weight, ids, **how)
        if change:
            for array in (weight, bias, ids, counts):
                array[...] = 1
        (loss * loss).sum().backward()
        found.append(x.grad.numpy())
    np.testing.assert_array_equal(*found)
