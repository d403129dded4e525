"""CTC decoding against brute force over all alignments, and the two examples that decode."""

import itertools
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

import tinyrnn as tr

ROOT = Path(__file__).parents[2]


def along(*path, classes=3):
    """Log-probabilities ``[T, 1, classes]`` whose best path is ``path``."""
    return np.log(0.1 + 0.6 * np.eye(classes)[list(path)])[:, None]


def labels_of(path, blank):
    """What a path spells: repeats merged, blanks dropped."""
    return tuple(k for k, _ in itertools.groupby(path) if k != blank)


def brute_force(lp, blank):
    """The log-probability of every labelling, summed over all paths of ``lp [T, C]``."""
    found = {}
    for path in itertools.product(range(lp.shape[1]), repeat=len(lp)):
        score, labels = lp[np.arange(len(lp)), path].sum(), labels_of(path, blank)
        found[labels] = np.logaddexp(found.get(labels, -np.inf), score)
    return found


@pytest.mark.parametrize(
    ("path", "blank", "expected"),
    [
        ((1, 1, 2), 0, [1, 2]),
        ((1, 0, 1, 1), 0, [1, 1]),  # a blank keeps equal labels apart
        ((0, 0, 0), 0, []),
        ((0, 2, 2, 0), 0, [2]),
        ((0, 2, 2, 0), 2, [0, 0]),
        ((0, 1, 2, 2, 1), 2, [0, 1, 1]),
        ((), 0, []),
    ],
)
def test_best_paths_by_hand(path, blank, expected):
    (labels,) = tr.ctc_greedy_decode(along(*path), blank=blank)
    assert labels.dtype == np.int64 and labels.tolist() == expected == list(labels_of(path, blank))


def test_paths_together_beat_the_best_path():
    lp = np.log(
        [[[0.4, 0.6]], [[0.4, 0.6]]]
    )  # class 1 is the blank, 0.36 in all; label 0 has 0.16 + 0.24 + 0.24
    assert tr.ctc_greedy_decode(lp, blank=1)[0].tolist() == []
    ((labels, score),) = tr.ctc_beam_decode(lp, blank=1)
    assert labels.tolist() == [0] and np.isclose(score, np.log(0.64))


@pytest.mark.parametrize("seed", range(12))
def test_a_wide_beam_finds_the_most_probable_labels(seed):
    rng = np.random.default_rng(seed)
    T, blank = 1 + seed % 5, seed % 3
    lp = tr.log_softmax(rng.standard_normal((T, 2, 3)))
    for n, (labels, score) in enumerate(tr.ctc_beam_decode(lp, blank=blank, beam_width=1000)):
        found = brute_force(lp.numpy()[:, n], blank)
        assert tuple(labels) == max(found, key=found.get)
        assert np.isclose(score, found[tuple(labels)], rtol=1e-12)
        loss = tr.ctc_loss(lp[:, n : n + 1], labels[None], [T], [len(labels)], blank=blank, reduction="sum")
        assert np.isclose(score, -loss.item(), rtol=1e-12)


def test_a_narrow_beam_gives_a_lower_bound():
    lp = tr.log_softmax(np.random.default_rng(0).standard_normal((40, 3, 8)))
    for width in (1, 3, 10, 100):
        pairs = tr.ctc_beam_decode(lp, beam_width=width)
        losses = [
            tr.ctc_loss(lp[:, n : n + 1], y[None], [40], [len(y)], reduction="sum").item()
            for n, (y, _) in enumerate(pairs)
        ]
        scores = np.array([score for _, score in pairs])
        assert (scores <= -np.array(losses) + 1e-9).all()


def test_padding_is_not_read():
    lp = np.concatenate([along(1, 2, 2, 1), along(2, 1, 0, 0), along(0, 1, 2, 2)], axis=1).astype(np.float32)
    lengths = np.array([3, 1, 0])
    padded = np.where(np.arange(4)[:, None, None] < lengths[:, None], lp, np.nan)
    assert [y.tolist() for y in tr.ctc_greedy_decode(padded, lengths)] == [[1, 2], [2], []]
    pairs = tr.ctc_beam_decode(tr.asarray(padded), tr.asarray(lengths))
    assert [y.tolist() for y, _ in pairs] == [[1, 2], [2], []]
    for n, (labels, score) in enumerate(pairs):
        alone = tr.ctc_beam_decode(lp[: lengths[n], n : n + 1])[0]
        assert labels.tolist() == alone[0].tolist() and score == alone[1]
    assert pairs[2][1] == 0  # nothing to read is surely nothing


def test_probabilities_of_zero_and_very_small_ones():
    with np.errstate(divide="ignore"):
        sure = np.log(np.eye(3)[[1, 1, 0, 1, 2]])[:, None]
    ((labels, score),) = tr.ctc_beam_decode(sure)
    assert labels.tolist() == [1, 1, 2] and score == 0
    ((labels, score),) = tr.ctc_beam_decode(np.full((2000, 1, 4), -500.0))
    assert -1e6 <= score < -990_000 and set(labels) <= {1, 2, 3}


@pytest.mark.parametrize("decode", [tr.ctc_greedy_decode, tr.ctc_beam_decode])
@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        ((np.zeros((4, 3)),), {}, r"log_probs \[4, 3\] must be \[T, N, C\]"),
        ((np.zeros((4, 1, 3)),), {"blank": 3}, "the blank 3 must be one of the 3 classes, from 0 to 2"),
        ((np.zeros((4, 1, 3)),), {"blank": -1}, "the blank -1 must be one of"),
        ((np.zeros((4, 1, 3)), [5]), {}, "input lengths must be from 0 to 4"),
        ((np.zeros((4, 1, 3)), [-1]), {}, "input lengths must be from 0 to 4"),
        ((np.zeros((4, 1, 3)), [4, 4]), {}, r"1 sequences need 1 input lengths, got \[2\]"),
        ((np.full((4, 1, 3), np.nan),), {}, "a step that is NaN or infinite in all classes"),
        ((np.full((4, 1, 3), -np.inf),), {}, "a step that is NaN or infinite in all classes"),
    ],
)
def test_bad_input_is_one_sentence(decode, arguments, options, said):
    with pytest.raises((tr.InputError, tr.ShapeError), match=f"^{decode.__name__}: .*{said}"):
        decode(*arguments, **options)


def test_a_beam_of_no_width():
    with pytest.raises(
        tr.InputError, match="^ctc_beam_decode: beam_width is 0: it must be an integer of at least 1$"
    ):
        tr.ctc_beam_decode(np.zeros((4, 1, 3)), beam_width=0)


# ------------------------------------------------------------------ the examples


def example(name, *arguments):
    script = ROOT / "examples" / f"{name}.py"
    return subprocess.run(
        [sys.executable, script, *map(str, arguments)], capture_output=True, text=True, timeout=300
    )


@pytest.mark.slow
def test_morse_runs():
    done = example("morse", 2, 20)
    assert done.returncode == 0, done.stderr
    assert "character error rate" in done.stdout


def test_spoken_digits_run(tmp_path):
    random = np.random.default_rng(0)
    for digit in (1, 2):
        for index in range(4):
            wave_ = np.sin(np.arange(3000) * (0.1 + 0.2 * digit)) + 0.1 * random.standard_normal(3000)
            with wave.open(str(tmp_path / f"{digit}_me_{index}.wav"), "wb") as file:
                file.setparams((1, 2, 8000, 0, "NONE", ""))
                file.writeframes((8000 * wave_).astype("<i2").tobytes())
    done = example("spoken_digits", tmp_path, 2)
    assert done.returncode == 0, done.stderr
    assert "prefix beam: " in done.stdout and "of 4 words right" in done.stdout
    (tmp_path / "3_me_0.wav").write_bytes(b"no sound")
    done = example("spoken_digits", tmp_path, 2)
    assert (
        done.returncode == 2
        and "3_me_0.wav is not a WAV file" in done.stderr
        and done.stderr.count("\n") == 1
    )
    done = example("spoken_digits")
    assert done.returncode == 2 and done.stderr.startswith("name a folder")
