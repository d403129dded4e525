"""Conditional random fields against brute force over all tags, finite differences, and PyTorch."""

import itertools

import numpy as np
import pytest

import tinyrnn as tr

T, B, K = 5, 4, 3
LENGTHS = np.array([5, 3, 1, 4])
MASK = np.arange(T)[:, None] < LENGTHS
draw = np.random.default_rng(0)
WEIGHTS = draw.normal(size=(K, K)), draw.normal(size=K), draw.normal(size=K)
SCORES, TAGS = 2 * draw.normal(size=(T, B, K)), draw.integers(0, K, (T, B))


def brute_force(scores, transitions, start, end):
    """The score of every path through ``scores [T, K]``."""
    return {
        path: start[path[0]]
        + end[path[-1]]
        + sum(scores[t, k] for t, k in enumerate(path))
        + sum(transitions[pair] for pair in itertools.pairwise(path))
        for path in itertools.product(range(scores.shape[1]), repeat=len(scores))
    }


@pytest.mark.parametrize("n", range(B))
def test_losses_and_best_tags_are_those_of_all_paths(n):
    paths = brute_force(SCORES[: LENGTHS[n], n], *WEIGHTS)
    expected = np.log(sum(map(np.exp, paths.values()))) - paths[tuple(TAGS[: LENGTHS[n], n])]
    losses = tr.crf_loss(SCORES, TAGS, *WEIGHTS, MASK, reduction="none").numpy()
    assert losses[n] == pytest.approx(expected, rel=1e-12)
    decoded = tr.crf_decode(SCORES, *WEIGHTS, MASK)
    assert tuple(decoded[n]) == max(paths, key=paths.get)


def test_probabilities_of_all_tags_add_up_to_one():
    everything = np.array(list(itertools.product(range(K), repeat=T))).T  # [T, 243]
    scores = np.repeat(SCORES[:, :1], everything.shape[1], axis=1)
    losses = tr.crf_loss(scores, everything, *WEIGHTS, reduction="none").numpy()
    assert np.exp(-losses).sum() == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_gradients_of_first_and_second_order(reduction):
    def loss(scores, *weights):
        return tr.crf_loss(scores, TAGS, *weights, MASK, reduction=reduction)

    tr.check_grad(loss, SCORES, *WEIGHTS, order=2)


def test_what_stands_after_the_end_has_no_influence():
    junk = np.where(MASK[..., None], SCORES, np.nan)
    tags = np.where(MASK, TAGS, 99)
    x = tr.tensor(junk, requires_grad=True)
    loss = tr.crf_loss(x, tags, *WEIGHTS, MASK)
    assert loss.item() == tr.crf_loss(SCORES, TAGS, *WEIGHTS, MASK).item()
    loss.backward()
    assert (x.grad.numpy()[~MASK] == 0).all() and np.isfinite(x.grad.numpy()).all()
    for a, b in zip(tr.crf_decode(junk, *WEIGHTS, MASK), tr.crf_decode(SCORES, *WEIGHTS, MASK), strict=True):
        np.testing.assert_array_equal(a, b)
    for n, length in enumerate(LENGTHS):  # and a sequence has the tags that it has alone
        alone = tr.crf_decode(SCORES[:length, n : n + 1], *WEIGHTS)[0]
        np.testing.assert_array_equal(tr.crf_decode(SCORES, *WEIGHTS, MASK)[n], alone)


def test_scores_far_from_zero_do_not_overflow():
    far = np.float32(1e4) * SCORES.astype("float32")
    weights = [w.astype("float32") for w in WEIGHTS]
    best = tr.crf_decode(far, *weights, MASK)
    tags = np.zeros((T, B), int)
    for n, row in enumerate(best):
        tags[: len(row), n] = row
    loss = tr.crf_loss(far, tags, *weights, MASK, reduction="none").numpy()
    assert np.isfinite(loss).all() and loss.max() < 0.1  # the best tags have all the probability


def test_forbidden_transitions_are_not_taken():
    transitions = np.where(np.eye(K), 0, -np.inf)  # all steps have the same tag
    for row in tr.crf_decode(SCORES, transitions, *WEIGHTS[1:], MASK):
        assert len(set(row.tolist())) == 1


def test_the_layer_learns_what_follows_on_what():
    """Tags that the emissions say nothing of: 0 1 2 0 1 2."""
    crf = tr.CRF(3, generator=tr.Generator(0))
    assert {n: p.shape for n, p in crf.named_parameters()} == {
        "start_transitions": (3,), "end_transitions": (3,), "transitions": (3, 3)
    }  # fmt: skip
    assert all(0 < np.abs(p.numpy()).max() <= 0.1 for p in crf.parameters())
    tags = np.arange(7)[:, None] % 3 + np.zeros((1, 2), int)
    emissions = np.zeros((7, 2, 3), "float32")
    optimizer = tr.optim.Adam(crf.parameters(), lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        loss = crf(emissions, tags)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2
    assert crf.decode(emissions)[0].tolist() == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize(("call", "error", "said"), [
    (lambda: tr.crf_loss(SCORES[0], TAGS, *WEIGHTS), tr.ShapeError, r"\[4, 3\] must be \[T, N, K\]"),
    (lambda: tr.crf_loss(SCORES, TAGS[1:], *WEIGHTS), tr.ShapeError, "need integer class ids"),
    (lambda: tr.crf_loss(SCORES, TAGS + 0.0, *WEIGHTS), tr.ShapeError, "need integer class ids"),
    (lambda: tr.crf_loss(SCORES, TAGS - 1, *WEIGHTS), tr.InputError, "run from -1"),
    (lambda: tr.crf_loss(SCORES, TAGS + 1, *WEIGHTS), tr.InputError, "there are 3 classes"),
    (lambda: tr.crf_loss(SCORES, TAGS, WEIGHTS[1], *WEIGHTS[1:]), tr.ShapeError, r"transitions \[3\]"),
    (lambda: tr.crf_decode(SCORES, *WEIGHTS, MASK[1:]), tr.ShapeError, r"mask \[4, 4\] must be \[5, 4\]"),
    (lambda: tr.crf_decode(SCORES, *WEIGHTS, ~MASK), tr.InputError, "1 for the first steps"),
    (lambda: tr.crf_decode(SCORES, *WEIGHTS, MASK & (LENGTHS > 1)), tr.InputError, "one at least"),
    (lambda: tr.crf_decode(SCORES * np.nan, *WEIGHTS), tr.InputError, "NaN"),
    (lambda: tr.crf_loss(SCORES, TAGS, *WEIGHTS, reduction="all"), tr.InputError, "reduction"),
    (lambda: tr.CRF(0), tr.InputError, "num_tags"),
])  # fmt: skip
def test_errors(call, error, said):
    with pytest.raises(error, match=said):
        call()


@pytest.mark.parity
@pytest.mark.parametrize("masked", [False, True])
def test_losses_and_gradients_are_those_of_pytorch(masked):
    torch = pytest.importorskip("torch")
    arrays = [SCORES, *WEIGHTS]
    ours = [tr.tensor(a, requires_grad=True) for a in arrays]
    tr.crf_loss(ours[0], TAGS, *ours[1:], MASK if masked else None).backward()
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    scores, between, start, end = theirs
    losses = []
    for n in range(B):
        length = LENGTHS[n] if masked else T
        tags, alpha = TAGS[:length, n], start + scores[0, n]
        told = start[tags[0]] + end[tags[-1]] + scores[range(length), n, tags].sum()
        told = told + between[tags[:-1], tags[1:]].sum()
        for t in range(1, length):
            alpha = torch.logsumexp(alpha[:, None] + between, 0) + scores[t, n]
        losses.append(torch.logsumexp(alpha + end, 0) - told)
    torch.stack(losses).mean().backward()
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-10, atol=1e-12)
