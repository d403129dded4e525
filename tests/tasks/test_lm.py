"""Language modelling: what is evaluated while training."""

import numpy as np
import pytest

from tinyrnn.tasks.lm import task
from tinyrnn.tasks.text.vocabulary import Words, build_vocabulary


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
