"""Choosing symbols and streaming text."""

import re

import numpy as np
import pytest

import tinyrnn as tr
from tinyrnn import kernels
from tinyrnn.base import threads
from tinyrnn.compiler.targets import numba
from tinyrnn.nn import registry as plugins
from tinyrnn.tasks.lm import sampling
from tinyrnn.tasks.lm.task import LanguageModel
from tinyrnn.tasks.model import WEIGHTS
from tinyrnn.tasks.text.vocabulary import Bytes, Characters, Tokens, Words

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


def test_min_p():
    np.testing.assert_allclose(draws(min_p=0.3), [0, 0.625, 0.375, 0], atol=0.02)
    np.testing.assert_allclose(draws(min_p=0.15), [0.1, 0.5, 0.3, 0.1], atol=0.02)
    assert draws(min_p=1).tolist() == [0, 1, 0, 0]


def test_typical_p():
    """The expected surprise is 1.168 nats; that of 0.3 is the nearest to it, then 0.5, then those of 0.1."""
    assert draws(typical_p=0.29).tolist() == [0, 0, 1, 0]
    np.testing.assert_allclose(draws(typical_p=0.7), [0, 0.625, 0.375, 0], atol=0.02)
    np.testing.assert_allclose(draws(typical_p=1.0), [0.1, 0.5, 0.3, 0.1], atol=0.02)


def test_repetition_penalty():
    choice = sampling.Choice(
        Characters("abcd"), [0], repetition_penalty=2.0, repetition_window=2, temperature=0
    )
    logits = np.array([1.0, 0.9, 0.4, -0.1])
    assert [choice(logits, 0.5) for _ in range(4)] == [1, 0, 0, 1]
    negative = sampling.Choice(Characters("ab"), [0], repetition_penalty=2.0, temperature=0)
    assert negative(np.array([-0.6, -1.0]), 0.5) == 1  # -1.2 now


class Any:
    """A model for which every symbol is as likely."""

    def __init__(self, vocabulary):
        self.vocabulary = vocabulary

    def step(self, ids, states):
        return np.zeros((1, len(self.vocabulary)), np.float32), None


@pytest.mark.parametrize(
    ("vocabulary", "pattern"),
    [
        (Characters("0123456789-ab"), r"\d{4}-[01]\d-(ab|b)"),
        (Bytes(), r"\d{4}-[01]\d-(ab|b)"),
        (Words(["<unk>", " the", " cat", " dog", "."], 0), r"the (cat|dog) the dog\."),
        (Tokens(["<unk>", "<eos>", "the", "cat", "dog"], 0), r"the (cat|dog)\nthe the dog\n"),
    ],
)
def test_what_is_written_matches_a_regular_expression(vocabulary, pattern):
    for seed in range(5):
        text = "".join(sampling.generate(Any(vocabulary), length=60, seed=seed, regex=pattern))
        assert re.fullmatch(pattern, text.removeprefix(" "))  # and ends where nothing may follow
    first = "".join(sampling.generate(Any(vocabulary), length=2, seed=0, regex=pattern))
    assert 0 < len(first) < len(text)


@pytest.mark.parametrize("vocabulary", [Characters("a c"), Words(["<unk>", " a", " b"], 0), Bytes()])
def test_a_pattern_that_cannot_be_written_is_told(vocabulary):
    with pytest.raises(tr.InputError, match="--regex '\\[é\\]\\+' cannot be written with this model's voc"):
        list(sampling.generate(Any(vocabulary), "a", length=3, regex="[é]+"))


def test_a_text_that_does_not_match_as_a_whole_is_told(capsys):
    def written(pattern, length, vocabulary=None, **options):
        model = Any(vocabulary or Characters("abc"))
        text = "".join(sampling.generate(model, length=length, seed=0, regex=pattern, **options))
        return text, capsys.readouterr().err

    assert written("a{3}", 3) == written("a{3}", 9) == ("aaa", "")
    text, said = written("a{3}", 2)
    assert text == "aa" and "does not match --regex 'a{3}' as a whole, which may need more than thi" in said
    text, said = written("a{3}é", 9)
    assert text == "aaa" and "which cannot be written with this model's vocabulary: give another" in said
    assert written("a{3}", 9, stop="aa") == ("", "")
    text, said = written("[ab]{3}", 3, Bytes())
    assert len(text) == 3 and "symbols that are parts of a character are not written" in said


def test_numbers_are_taken_as_the_rules_take_them():
    assert "".join(sampling.generate(Cycle(), "a", length=3.0, seed=1.0, temperature=0)) == "abcd"
    for wrong in ({"seed": "a"}, {"seed": -1}, {"seed": 0.5}, {"length": 2.5}, {"num": "2"}):
        with pytest.raises(tr.InputError, match=f"^{next(iter(wrong))} is "):
            sampling.generate_many(Cycle(), "a", **wrong)


def test_bad_choices():
    with pytest.raises(tr.InputError, match="temperature is 1e-310: it must be 0, for the most probable sym"):
        sampling.generate(Cycle(), "a", temperature=1e-310)
    assert "".join(sampling.generate(Cycle(), "a", temperature=1e-6, min_p=0.1, length=3)) == "abcd"
    for wrong in (
        {"min_p": 2}, {"typical_p": 0}, {"repetition_penalty": 0}, {"repetition_penalty": 1001},
        {"repetition_penalty": 1e-4}, {"regex": "(a"}, {"regex": "(?r)ab"},
    ):  # fmt: skip
        with pytest.raises(tr.InputError, match=next(iter(wrong))):
            sampling.generate(Cycle(), "a", **wrong)
    with pytest.raises(TypeError, match="no option 'top_q'"):
        sampling.generate(Cycle(), "a", top_q=1)


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
    assert "".join(sampling.generate(Cycle(), length=9, stop="abc")) == ""  # there is no prompt


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


# ------------------------------------------------------------------ the compiled loop

VOCABULARY = Characters("abcdefghij\n")


def language_model(**settings):
    return LanguageModel(VOCABULARY, **{"hidden": 12, "embed": 6, "layers": 2, "seed": 1, **settings}).eval()


def texts(model, monkeypatch, prompt="abc", **options):
    """The text by the compiled loop, and op by op."""
    assert model.token_loop() is not None
    compiled = model.generate(prompt, seed=3, **options)
    monkeypatch.setenv("TINYRNN_COMPILE", "0")
    assert model.token_loop() is None
    eager = model.generate(prompt, seed=3, **options)
    monkeypatch.delenv("TINYRNN_COMPILE")
    return compiled, eager


@pytest.mark.sample(2)
@pytest.mark.parametrize("cell", plugins.registered())
@pytest.mark.parametrize(
    "settings", [{}, {"zoneout": 0.3, "dropout": 0.5}, {"tie": True, "embed": 12, "dtype": "float64"}]
)
def test_the_compiled_loop_writes_what_the_eager_one_writes(cell, settings, monkeypatch):
    compiled, eager = texts(language_model(cell=cell, **settings), monkeypatch, length=150, temperature=1.5)
    assert compiled == eager and len(set(compiled)) > 5


CHOICES = {
    "min_p": 0.05, "typical_p": 0.9, "repetition_penalty": 1.3, "regex": "[a-e]+([f-j][a-e]+)*"
}  # fmt: skip


@pytest.mark.parametrize("named", [*CHOICES, "all"])
def test_choices_outside_of_the_loop(named, monkeypatch):
    options = CHOICES if named == "all" else {named: CHOICES[named]}
    compiled, eager = texts(language_model(), monkeypatch, length=60, temperature=1.5, **options)
    assert compiled == eager and len(set(compiled)) > 4
    if "regex" in options:
        assert re.fullmatch(CHOICES["regex"] + "[f-j]?", compiled.removeprefix("abc"))


def test_what_the_loop_can_choose_it_chooses(monkeypatch):
    """As the command gives the options, and several samples side by side."""
    made = []
    monkeypatch.setattr(sampling, "_one_by_one", lambda *given: made.append(given) or iter([0] * 9))
    usual = dict(min_p=None, typical_p=None, repetition_penalty=None, repetition_window=64, regex=None)
    model = language_model()
    for num in (1, 3):
        sampling.generate_many(model, "abc", num, length=5, top_k=3, **usual)
    assert not made
    list(map(next, sampling.generate_many(model, "abc", 3, length=5, **usual | {"min_p": 0.1})))
    assert len(made) == 3


def test_a_product_of_a_product_of_the_token(monkeypatch):
    class Deep(tr.Cell):
        def build(self, input_size, hidden_size):
            self.A, self.B = self.weight(input_size, hidden_size), self.weight(hidden_size, hidden_size)
            self.U = self.weight(hidden_size, hidden_size)

        def step(self, x, h):
            p = tr.tanh(x @ self.A)
            return tr.tanh(p + p @ self.B + h @ self.U)

    compiled, eager = texts(language_model(cell=Deep), monkeypatch, length=60)
    assert compiled == eager


def test_a_state_that_is_never_read(monkeypatch):
    class Memory(tr.Cell):
        states = ("h", "c")

        def build(self, input_size, hidden_size):
            self.W = self.weight(input_size, hidden_size)

        def step(self, x, h, c):
            c = 0.5 * c + x @ self.W
            return tr.tanh(c), c

    compiled, eager = texts(language_model(cell=Memory), monkeypatch, length=60)
    assert compiled == eager


@pytest.mark.parametrize(
    "options", [{"temperature": 0}, {"top_k": 3}, {"top_p": 0.5}, {"top_k": 4, "top_p": 0.9}, {"stop": "h"}]
)
def test_sampling_options_in_the_compiled_loop(options, monkeypatch):
    compiled, eager = texts(language_model(), monkeypatch, length=100, **options)
    assert compiled == eager


def test_a_long_prompt_and_stretches_of_any_length(monkeypatch):
    for length in (1, 2, 7, sampling.STRETCH * 2 + 3):
        compiled, eager = texts(
            language_model(layers=1), monkeypatch, prompt="abcdefghij" * 30, length=length
        )
        assert compiled == eager and len(compiled) == 300 + length


def test_the_placeholder_for_unknown_symbols_is_never_written():
    vocabulary = Words.build(["a b c d e f g h"], 5)
    model = LanguageModel(vocabulary, hidden=8, embed=8).eval()
    model.output.bias.assign_(np.where(np.arange(len(vocabulary)) == vocabulary.unknown, 100.0, 0.0))
    assert vocabulary.symbols[vocabulary.unknown] not in model.generate("a", length=50, seed=0)


def test_a_cell_that_cannot_be_compiled_generates_all_the_same():
    class Ranked(tr.Cell):
        def build(self, input_size, hidden_size):
            self.W, self.U, self.b = self.affine(input_size, hidden_size)

        def step(self, x, h):
            return tr.tanh(x @ self.W + tr.sort(h @ self.U, axis=-1) * 0.1 + self.b)

    model = language_model(cell=Ranked)
    assert model.token_loop() is None and len(model.generate("a", length=20, seed=0)) == 21


@pytest.mark.parametrize(
    "options",
    [{}, {"top_k": 3}, {"top_k": 100}, {"top_p": 0.6}, {"top_k": 5, "top_p": 0.3}, {"temperature": 0}],
)
def test_the_compiled_choice_equals_its_reference(options):
    rng = np.random.default_rng(0)
    for k in range(300):
        logits = rng.standard_normal(9).astype(np.float32).round(k % 3)  # with ties
        u, banned = rng.random(), int(rng.integers(-1, 9))
        row = np.where(np.arange(9) == banned, -np.inf, logits) if banned >= 0 else logits
        how = {"temperature": 0.7, **options}
        expected = sampling.choose(row, u=u, **how)
        top_k, top_p = how.get("top_k", 0), how.get("top_p", 1.0)
        assert kernels.sampling.choose(logits, banned, float(how["temperature"]), top_k, top_p, u) == expected


def test_what_compiles_is_told_before_the_text(capsys):
    """A notice amid the prompt and what follows it would be read as part of the text."""

    class Model:
        vocabulary = Characters("ab")

        def token_loop(self, batch, precision):
            def loop(buffer, known, u, **options):
                print("[compiling]", end="")
                buffer[known:] = 1

            return loop

    for piece in sampling.generate(Model(), "ab", length=3):
        print(piece, end="")
    assert capsys.readouterr().out.startswith("[compiling]ab")


# ------------------------------------------------------------------ weights in fewer bits, several samples


def single_model(**settings):
    return language_model(dtype="float32", hidden=40, embed=24, **settings)


def logits_after(model, ids, precision, compile, monkeypatch):
    """Of one sequence: by the compiled loop, or op by op."""
    if not compile:
        states = None
        with tr.autocast(precision):
            for i in ids:
                found, states = model.step(np.array([i]), states)
        return found[0]
    loop = model.token_loop(1, precision)
    loop(np.append(ids, 0)[:, None].copy(), len(ids), np.zeros((len(ids), 1)))
    return loop.spare[-1][0]


@pytest.mark.sample(4)
@pytest.mark.parametrize("cell", plugins.registered())
def test_fewer_bits_in_the_compiled_loop_and_op_by_op(cell, monkeypatch):
    """In a loop the first layer's inputs are float32: a table, made once."""
    model, ids = single_model(cell=cell), np.random.default_rng(0).integers(0, 11, 25)
    exact = logits_after(model, ids, None, True, monkeypatch)
    for precision, most in (("bfloat16", 0.02), ("int8", 0.05)):
        compiled, eager = (logits_after(model, ids, precision, c, monkeypatch) for c in (True, False))
        scale = np.abs(exact).max()
        assert 0 < np.abs(compiled - exact).max() <= most * scale
        assert 0 < np.abs(eager - exact).max() <= most * scale
        with numba.interpreted():
            plain = logits_after(model, ids, precision, True, monkeypatch)
        assert np.abs(plain - compiled).max() <= 0.3 * most * scale


def test_weights_of_generate(monkeypatch):
    model = single_model(layers=1)
    for p in model.rnn.parameters():  # so that it has more of an opinion than a new one
        p.assign_(4 * p.numpy())
    texts = {w: model.generate("abc", seed=3, length=300, weights=w) for w in (None, *WEIGHTS)}
    assert texts[None] == texts["float32"] and len(set(texts.values())) == 3
    assert model.generate("abc", seed=3, length=300) == texts[None]  # nothing of it stays
    monkeypatch.setenv("TINYRNN_COMPILE", "0")
    eager = [model.generate("abc", seed=3, length=300, weights=w) for w in WEIGHTS]
    assert eager[0] == texts[None] and len(set(eager)) == 3
    trained = language_model(dtype="bfloat16", layers=1)
    assert trained.generate("a", seed=1, weights="float32") == trained.generate("a", seed=1)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_weights_that_a_model_cannot_have(weights, standin):
    with pytest.raises(
        tr.InputError, match=f"{weights} weights are for models of float32 on cpu, not float64"
    ):
        language_model(dtype="float64").generate("a", weights=weights)
    with pytest.raises(tr.InputError, match="weights is 'int4'"):
        single_model().generate("a", weights="int4")
    if weights != "float32":
        with pytest.raises(tr.InputError, match="not float32 on cuda: leave them out"):
            single_model().to("cuda").generate("a", weights=weights)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("n", [1, 2])
def test_samples_side_by_side_are_those_alone(weights, n):
    model, before = single_model(cell="lstm"), threads.threads()
    how = dict(length=600, stop="ab", weights=weights, temperature=1.2)
    alone = [model.generate("abc", seed=5 + i, **how) for i in range(9)]
    threads.set_threads(n)
    try:
        assert model.generate("abc", seed=5, num=9, **how) == alone
        assert model.generate("abc", seed=5, num=1, **how) == alone[:1]
    finally:
        threads.set_threads(before)
    assert len(set(map(len, alone))) > 3  # each has its own end
    assert len(set(model.generate(num=3, length=50))) == 3


def test_samples_op_by_op_and_on_a_gpu(monkeypatch, standin):
    model = language_model(layers=1)
    right = model.generate("abc", seed=5, num=3, length=20)
    assert model.to("cuda").generate("abc", seed=5, num=3, length=20) == right
    monkeypatch.setenv("TINYRNN_COMPILE", "0")
    assert model.to("cpu").generate("abc", seed=5, num=3, length=20) == right


def test_samples_stream_in_any_order():
    model = single_model()
    right = model.generate("abc", seed=5, num=3, length=300)
    samples = sampling.generate_many(model, "abc", 3, seed=5, length=300)
    found = ["".join(next(s) for _ in range(5)) for s in samples]
    found = ["".join([begun, *rest]) for begun, rest in zip(found, samples, strict=True)]
    assert found == right
    with pytest.raises(tr.InputError, match="num is 0"):
        model.generate("abc", num=0)


def test_generation_has_its_own_precision_whatever_is_around():
    """The tables of a loop are made in that of the arrays, and it is compiled all the same."""
    model = single_model()
    outside, text = model.token_loop(), model.generate("abc", length=30, seed=1)
    with tr.autocast("bfloat16"):
        inside = model.token_loop()
        assert model.generate("abc", length=30, seed=1) == text
    assert inside is not None and inside.arrays.keys() == outside.arrays.keys()
    for name in outside.loop.arguments():
        if name.startswith("stream"):  # the tables
            np.testing.assert_array_equal(inside.arrays[name], outside.arrays[name])
    assert any(name.startswith("stream") for name in outside.arrays)
