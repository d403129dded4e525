"""Choosing symbols and streaming text."""

import numpy as np
import pytest

import tinyrnn as tr
from tinyrnn import sampling
from tinyrnn.data.vocabulary import Bytes, Characters

LOGITS = np.log(np.array([0.1, 0.5, 0.3, 0.1], np.float32))


def draws(n=4000, **options):
    u = np.random.default_rng(0).random(n)
    return np.bincount([sampling.choose(LOGITS, u=x, **options) for x in u], minlength=4) / n


def test_temperature():
    np.testing.assert_allclose(draws(), [0.1, 0.5, 0.3, 0.1], atol=0.02)
    p = np.array([0.1, 0.5, 0.3, 0.1]) ** 2
    np.testing.assert_allclose(draws(temperature=0.5), p / p.sum(), atol=0.02)
    assert draws(temperature=0).tolist() == [0, 1, 0, 0]


def test_top_k_and_top_p():
    np.testing.assert_allclose(draws(top_k=2), [0, 0.625, 0.375, 0], atol=0.02)
    assert draws(top_k=1).tolist() == [0, 1, 0, 0]
    np.testing.assert_allclose(draws(top_p=0.7), [0, 0.625, 0.375, 0], atol=0.02)
    assert draws(top_p=0.4).tolist() == [0, 1, 0, 0]
    np.testing.assert_allclose(draws(top_p=1.0), [0.1, 0.5, 0.3, 0.1], atol=0.02)


class Cycle:
    """A model that always continues "abcd" in a circle."""

    vocabulary = Characters("abcd")

    def step(self, ids, states):
        return 50.0 * np.eye(4, dtype=np.float32)[(ids + 1) % 4], None


def test_generate_streams_prompt_and_continuation():
    pieces = list(sampling.generate(Cycle(), "ab", length=5, temperature=0))
    assert pieces == ["ab", "c", "d", "a", "b", "c"]


def test_stop_string_is_held_back():
    assert "".join(sampling.generate(Cycle(), "a", length=50, stop="da")) == "abc"
    assert "".join(sampling.generate(Cycle(), "da", length=3, stop="zz")) == "dabcd"


def test_symbols_outside_the_vocabulary_are_skipped():
    assert "".join(sampling.generate(Cycle(), "aéb", length=1)) == "aébc"
    with pytest.raises(tr.InputError, match="no symbol"):
        sampling.generate(Cycle(), "é")


def test_bytes_stream_whole_characters():
    class Euro:
        vocabulary = Bytes()

        def step(self, ids, states):
            following = {0xE2: 0x82, 0x82: 0xAC}.get(int(ids[0]), 0xE2)
            return 50.0 * np.eye(256, dtype=np.float32)[[following]], None

    assert "".join(sampling.generate(Euro(), "x", length=7, temperature=0)) == "x€€"


@pytest.mark.parametrize(
    "bad", [{"length": 0}, {"temperature": -1}, {"temperature": float("nan")}, {"top_k": 0}, {"top_p": 0.0}]
)
def test_options_out_of_range(bad):
    with pytest.raises(tr.InputError):
        sampling.generate(Cycle(), "a", **bad)


def test_a_seed_fixes_the_text():
    class Uniform(Cycle):
        def step(self, ids, states):
            return np.zeros((1, 4), np.float32), None

    texts = ["".join(sampling.generate(Uniform(), "a", length=40, seed=s)) for s in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
