"""The task tag: what is read, what tags mean, what is learned, what is printed; and its errors."""

import ast
import gzip
import importlib.util
import itertools
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tinyrnn_tag.model import Tagger
from tinyrnn_tag.options import ColumnOptions, TagOptions
from tinyrnn_tag.reader import in_columns, read_corpus, tokens_of
from tinyrnn_tag.schemes import bio, forbidden, irregular, scheme_of, spans_of, spelling
from tinyrnn_tag.task import scores
from tinyrnn_tag.words import Lexicon, forms

import tinyrnn as tr
from tinyrnn.cli import main
from tinyrnn.tasks import TaskOptions

PACKAGE = Path(__file__).parents[1]
SHARED = PACKAGE.parents[2] / "shared" / "data" / "tags"
SEQEVAL = importlib.util.find_spec("seqeval")
TWO = [["A", "dog"], ["barks"]], [["DET", "NOUN"], ["VERB"]]  # what the texts below say

# ------------------------------------------------------------------ reading


@pytest.mark.parametrize(("text", "how"), [
    ("A\tDET\ndog\tNOUN\n\nbarks\tVERB\n", {}),
    ("A DET\ndog NOUN\n\nbarks VERB", {}),
    ("A  DET\r\ndog NOUN\r\n\r\nbarks VERB\r\n", {}),
    ("\n\nA\tDET\ndog\tNOUN\n\t\n \nbarks\tVERB\n\n", {}),  # a line of a tab or a space is empty
    ("-DOCSTART- -X-\n\nA DET\ndog NOUN\n-DOCSTART- -X-\nbarks VERB\n", {}),
    ("# text = A dog\nA\tDET\ndog\tNOUN\n\n# text = barks\nbarks\tVERB\n", {}),
    ("# A dog\nA DET\ndog NOUN\n\nbarks VERB\n", {}),
    ("A x y DET\ndog x y NOUN\n\nbarks x y VERB\n", {}),  # CoNLL 2003: the last
    ("1\tA\tDET\tx\n2\tdog\tNOUN\tx\n\n1\tbarks\tVERB\tx\n", dict(token_column=2, tag_column=3)),
    ("\ufeffA\tDET\ndog\tNOUN\n\nbarks\tVERB\n", {}),
])  # fmt: skip
def test_columns(tmp_path, text, how):
    path = tmp_path / "a.conll"
    path.write_text(text, encoding="utf-8", newline="")
    corpus = read_corpus([path], **how)
    assert (corpus.tokens, corpus.tags) == TWO
    packed = tmp_path / "a.txt.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_corpus([packed], **how) == corpus


def test_tokens_that_begin_with_a_hash_are_no_comments(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("# 1\n# NOUN\n#topic NOUN\ncat NOUN\n# newdoc\n")
    corpus = read_corpus([path])
    assert corpus.tokens == [["#", "#topic", "cat"]]
    assert corpus.left_out == {"comments": 2}
    path.write_text("a O\n#topic B-LOC\n")  # the only one of its tag
    assert read_corpus([path]).tags == [["O", "B-LOC"]]


def test_universal_dependencies(tmp_path):
    rest = "\t_" * 6
    rows = [f"1-2\tdon't\t_\t_{rest}", f"1\tdo\tdo\tAUX{rest}", f"2\tn't\tnot\tPART{rest}"]
    path = tmp_path / "a.conllu"
    path.write_text("\n".join(["# sent_id = 1", *rows, f"2.1\tgo\tgo\tVERB{rest}"]) + "\n")
    corpus = read_corpus([path])
    assert (corpus.tokens, corpus.tags) == ([["do", "n't"]], [["AUX", "PART"]])
    assert corpus.left_out == {"comments": 1, "words of several words, or of none": 2}
    assert read_corpus([path], tag_column=3).tags == [["do", "not"]]


def test_json_lines(tmp_path):
    path, text = tmp_path / "a.jsonl", '{"tokens": ["A", "d\u2028g"], "tags": ["DET", "NOUN"], "id": 4}\n\n'
    path.write_text(text, encoding="utf-8")
    assert read_corpus([path]).tokens == [["A", "d\u2028g"]]
    path.write_text('{"tokens": ["A", "dog"]}\n')
    assert read_corpus([path], tagged=False).tokens == [["A", "dog"]]


@pytest.mark.parametrize(("name", "text", "said"), [
    ("a.conll", "A\tDET\ndog\n", r"a.conll row 2 has 1 column, row 1 has 2: mend it"),
    ("a.conll", "A DET\n\nthe dog NOUN\n", r"row 3 has 3 columns, row 1 has 2"),
    ("a.conll", "A\ndog\n", r"a.conll has one column: give a token and its tag a row"),
    ("a.conll", "A\tDET\ndog\t \tNOUN\n", "row 2 has 3 columns"),
    ("a.conll", "A\tDET\ndog\t \n", "row 2: the tag is empty: fill it, or delete the row"),
    ("a.conll", "\n\n", r"a.conll: there are no sentences: give files with a token and its tag a line"),
    ("a.conll", "# nothing\n", "there are no sentences"),
    ("a.jsonl", '{"tokens": ["A"], "tags": ["X", "Y"]}\n', "row 1 has 1 tokens and 2 tags"),
    ("a.jsonl", '{"tokens": "A"}\n', "row 1: 'tokens' is 'A': write"),
    ("a.jsonl", '{"tokens": ["A"]}\n', "row 1: 'tags' is None: write"),
    ("a.jsonl", "[1]\n", "row 1: 'tokens' is None"),
    ("a.jsonl", "{\n", "row 1: .*: every row must be one JSON object"),
])  # fmt: skip
def test_bad_files_are_named(tmp_path, name, text, said):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(tr.InputError, match=said):
        read_corpus([path])


def test_bad_columns_and_paths(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text("A DET\n")
    for how, said in (
        (dict(tag_column=3), "row 1 has 2 columns: --tag-column 3 is not among them"),
        (dict(token_column=2), "has its tags in the column of its tokens, 2"),
    ):
        with pytest.raises(tr.InputError, match=said):
            read_corpus([path], **how)
    for given, said in (((), "needs data"), ((tmp_path,), "is a folder"), ((tmp_path / "b",), "not exist")):
        with pytest.raises(tr.InputError, match=said):
            read_corpus(given)


# ------------------------------------------------------------------ what tags mean

SPELT = {  # [New York] [Berlin] and [Ada] . of types LOC, LOC, PER
    "BIO": "B-LOC I-LOC B-LOC O B-PER O",
    "IOB1": "I-LOC I-LOC B-LOC O I-PER O",
    "BIOES": "B-LOC E-LOC S-LOC O S-PER O",
    "BILOU": "B-LOC L-LOC U-LOC O U-PER O",
    "BMES": "B-LOC E-LOC S-LOC O S-PER O B-LOC M-LOC E-LOC",
    "BMEWO": "B_LOC E_LOC W_LOC O W_PER O B_LOC M_LOC E_LOC",
    "a mixture of schemes (BEU)": "B-LOC E-LOC U-LOC O U-PER O",
}
OTHER = {  # the same, spelt in other ways
    "B_LOC I_LOC B_LOC O B_PER O": "BIO",
    "LOC-B LOC-I LOC-B O PER-B O": "BIO",
    "LOC_B LOC_E LOC_S O PER_S O": "BIOES",
}


@pytest.mark.parametrize("scheme", SPELT)
def test_schemes(scheme):
    tags = SPELT[scheme].split()
    assert scheme_of([tags]) == scheme
    usual = [spelling(tags)[tag] for tag in tags]
    assert spans_of(usual)[:3] == [(0, 2, "LOC"), (2, 3, "LOC"), (4, 5, "PER")]
    assert bio(usual)[:6] == SPELT["BIO"].split()
    assert bio(usual)[6:] == ["B-LOC", "I-LOC", "I-LOC"][: len(tags) - 6]


@pytest.mark.parametrize("tags", OTHER)
def test_other_spellings(tags):
    assert scheme_of([tags.split()]) == OTHER[tags]
    assert bio([spelling(tags.split())[tag] for tag in tags.split()]) == SPELT["BIO"].split()


def test_tags_without_types_and_tags_of_no_known_spelling():
    tags = "B M E S B E".split()  # of words, in Chinese
    assert scheme_of([tags]) == "BMES"
    assert spans_of([spelling(tags)[tag] for tag in tags]) == [(0, 3, "SPAN"), (3, 4, "SPAN"), (4, 6, "SPAN")]
    for tags in ("B-PER I-PER O tag", "B_PER I_PER NOUN", "PER-B PER-I LOC"):
        with pytest.raises(ValueError, match="has tags of entities such as .*, and the tag (tag|NOUN|LOC)"):
            scheme_of([tags.split()])
        assert spelling(tags.split(), strict=False) == {}


@pytest.mark.parametrize("name", ["a.tsv", "a.txt"])
def test_a_first_row_that_names_the_columns(tmp_path, name):
    path = tmp_path / name
    path.write_text("token\tner_tag\nAnn\tB-PER\nran\tO\n")
    corpus = read_corpus([path])
    assert (corpus.tokens, corpus.tags) == ([["Ann", "ran"]], [["B-PER", "O"]])
    assert corpus.left_out == {"rows that name the columns (token ner_tag)": 1}
    path.write_text("word\tNOUN\nAnn\tPROPN\n")
    assert read_corpus([path]).tokens == [["word", "Ann"]]


def test_columns_of_numbers_are_no_tokens(tmp_path):
    path, rest = tmp_path / "a.txt", "\t_" * 6
    path.write_text(f"1\tA\ta\tDET{rest}\n2\tdog\tdog\tNOUN{rest}\n\n1\tbarks\tbark\tVERB{rest}\n")
    corpus = read_corpus([path])
    assert (corpus.tokens, corpus.tags) == TWO
    path.write_text("1\tA\tDET\n2\tdog\tNOUN\n\n1\tbarks\tVERB\n")
    with pytest.raises(tr.InputError, match="its first column numbers the tokens: say --token-column"):
        read_corpus([path])
    corpus = read_corpus([path], token_column=2)
    assert (corpus.tokens, corpus.tags) == TWO


@pytest.mark.parametrize(("text", "found"), [
    ("Ann\tB-PER\nran\tO\n", True), ("Ann B_PER\nran O\n\nBo B_PER\n", True), ("a DET\ndog NOUN\n", True),
    ("Ann ran\nBo met Lee\n", False), ("Ann ran\nBo slept\n", False), ("Paris\nRome\n", False),
    ("Ann\tx\nran\ty\n", None), ("Ann\nran\n\nBo\n", None),
])  # fmt: skip
def test_what_predict_reads_as_columns(tmp_path, text, found):
    path = tmp_path / "a.txt"
    path.write_text(text)
    assert in_columns(str(path), ColumnOptions(token_column=1), []) is True
    if found is not None:
        assert in_columns(str(path), ColumnOptions(), ["DET", "NOUN"]) is found
        return
    with pytest.raises(tr.InputError, match="may hold a token a row, or a text a row: say --token-column 1"):
        in_columns(str(path), ColumnOptions(), ["DET", "NOUN"])


@pytest.mark.parametrize(("tags", "scheme"), [
    ("DET NOUN", ""), ("O O", ""), ("B-LOC NOUN", ""), ("X-LOC O", ""), ("B-a-b I-a-b", "BIO"),
    ("B-LOC O I-PER", "BIO"), ("I-LOC O", "IOB1"), ("B- O", ""),
])  # fmt: skip
def test_what_is_no_scheme_is_tags(tags, scheme):
    assert scheme_of([tags.split()]) == scheme


def test_entities_that_begin_with_i_are_counted_and_read():
    tags = "B-LOC O I-PER I-PER I-LOC".split()
    assert irregular([tags]) == 2
    assert bio(tags) == "B-LOC O B-PER I-PER B-LOC".split()


def test_figures_are_those_of_seqeval():
    metrics = pytest.importorskip("seqeval.metrics")
    draw, kinds = np.random.default_rng(0), ["O", "O", "O", "B-A", "I-A", "B-B", "I-B"]
    true, said = ([draw.choice(kinds, n).tolist() for n in range(1, 60)] for _ in range(2))
    found = scores(true, said, True)
    for name in ("precision", "recall", "f1"):
        expected = getattr(metrics, f"{name}_score")(true, said)
        assert found[name] == pytest.approx(expected, rel=1e-12)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(true, said))
    assert metrics.f1_score(list(map(bio, true)), list(map(bio, said))) == pytest.approx(found["f1"])


def test_tags_that_bio_does_not_allow_are_never_said():
    labels = ["B-A", "B-B", "I-A", "I-B", "O"]
    between, _ = forbidden(labels)
    for a, b in itertools.product(range(5), repeat=2):
        tags = bio([labels[a]])[0], labels[b]
        assert between[a, b] == (irregular([tags]) > 0), tags
    model = Tagger(Lexicon.of([["x"]]), labels, embed=4, hidden=4, layers=1, seed=1)
    model.crf.transitions.assign_(5 * (labels == np.array(labels)) * np.eye(5)[:, ::-1])  # would break it
    model.output.bias.assign_(np.array([0, 0, 3.0, 3, 0]))
    rows = model.tagged([["x"] * n for n in range(1, 9)])
    assert [len(row) for row in rows] == [*range(1, 9)]
    assert irregular(rows) == 0


def test_tokens_of_a_text():
    text = "It's @ann: see https://a.b/c, a well-known 1,234.5 #tag..."
    expected = "It 's @ann : see https://a.b/c, a well-known 1,234.5 #tag ...".split()
    assert [token for token, _ in tokens_of(text)] == expected
    assert all(text[start:].startswith(token) for token, start in tokens_of(text))


def test_forms_of_words():
    assert forms("Ab-2019")[0] == "shape Xx-00"
    assert forms("Ab-2019")[1:] == ["^1 a", "^2 ab", "^3 ab-", "1$ 0", "2$ 00", "3$ 000", "4$ 0000"]


def test_rare_words_are_unknown_in_training():
    sentences = [[f"w{chr(97 + i // 26)}{chr(97 + i % 26)}"] for i in range(600)] + [["often"]] * 9
    lexicon = Lexicon.of(sentences)
    small = dict(embed=3, hidden=2, layers=1, characters=0, affixes=0, linear=False)
    model = Tagger(lexicon, ["A", "B"], **small, word_dropout=1.0)
    words = lexicon.read([s for s in sentences if s != ["often"]])
    unknown = lambda words: (model.features(words).numpy() == model.words.weight.numpy()[0]).all(axis=1)  # noqa: E731
    assert 0.4 < unknown(words).mean() < 0.6  # 1 / (1 + 1)
    often = np.mean([unknown(lexicon.read([["often"]])).item() for _ in range(600)])
    assert 0.05 < often < 0.15  # 1 / (1 + 9)
    with model.evaluating():
        assert not unknown(words).any() and unknown(lexicon.read([["new"]])).all()


def test_a_word_that_is_spelt_as_unknown_ones_are():
    lexicon = Lexicon.of([["a", "<unk>", "<UNK>", "W" * 50]])
    assert lexicon.words == ["<unk>", "a", "w" * 50]
    words = lexicon.read([["<unk>", "a"], ["W" * 50]])
    assert words.ids.tolist() == [0, 1, 2] and words.characters.shape == (20, 3)


# ------------------------------------------------------------------ learning


def sentences(n, seed, names):
    """People greet people, and live in towns: ``Ann Lee met Bo . She lives in Aville .``"""
    draw, rows = np.random.default_rng(seed), []
    person = lambda: [str(draw.choice(names)).title() for _ in range(draw.integers(1, 3))]  # noqa: E731
    for _ in range(n):
        a, b, town = person(), person(), str(draw.choice(names)).title() + "ville"
        tokens = [*a, "met", *b, "in", town, "."]
        tags = bio(["I-PER"] * len(a) + ["O"] + ["I-PER"] * len(b) + ["O", "S-LOC", "O"])
        rows.append((tokens, tags))
    return rows


NAMES = ["".join(s) for s in itertools.product("bdfgk", "aeiou", "lmnrst", "aio")]
SMALL = dict(hidden=16, embed=8, characters=8, affixes=4, steps=60, eval_every=20, warmup=0, lr=0.02)


def written(path, rows):
    path.write_text("".join("".join(f"{a} {b}\n" for a, b in zip(*row, strict=True)) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tag")
    data = written(folder / "train.conll", sentences(200, 0, NAMES[:300]))
    return tr.train(data, "tag", out=folder / "run", quiet=True, **SMALL), folder


def test_entities_of_unknown_names_are_found(trained):
    run, folder = trained
    new = written(folder / "new.conll", sentences(60, 1, NAMES[300:]))  # names that were never there
    found = run.evaluate(new)
    assert found["f1"] > 0.9 and found["accuracy"] > 0.9
    if SEQEVAL:
        assert set(found["types"]) == {"LOC", "PER", "micro avg", "macro avg", "weighted avg"}
        assert found["types"]["micro avg"]["f1-score"] == pytest.approx(found["f1"])
    text = "Bali met Kora in Gunoville."
    (said,) = run.predict(text)
    assert said["tokens"] == "Bali met Kora in Gunoville .".split()
    assert [(s["text"], s["type"], s["from"], s["to"]) for s in said["spans"]] == [
        ("Bali", "PER", 0, 4), ("Kora", "PER", 9, 13), ("Gunoville", "LOC", 17, 26)
    ]  # fmt: skip
    assert all(text[s["from"] : s["to"]] == s["text"] for s in said["spans"])


def test_the_best_step_is_that_of_the_best_f1(trained):
    run, _ = trained
    assert all(r["val_loss"] == pytest.approx(1 - r["f1"]) for r in run.log)
    assert run.evaluate()["f1"] == max(r["f1"] for r in run.log)  # on what it validates on


def test_a_resumed_run_is_that_which_was_never_stopped(trained, tmp_path):
    _, folder = trained
    options = SMALL | dict(steps=30, schedule="constant")
    whole = tr.train(folder / "train.conll", "tag", out=tmp_path / "a", quiet=True, **options)
    part = tr.train(folder / "train.conll", "tag", out=tmp_path / "b", quiet=True, **options | dict(steps=17))
    part.resume(steps=30, quiet=True)
    states = [tr.load(r.path / "last.safetensors").state_dict() for r in (whole, part)]
    for name, weight in states[0].items():
        np.testing.assert_array_equal(weight, states[1][name], err_msg=name)


def test_commands(trained, tmp_path):
    run, folder = trained

    def said(*arguments, code=0, **how):
        result = CliRunner().invoke(main, [*map(str, arguments)], **how)
        assert result.exit_code == code, result.output
        return result.output

    shown = said("evaluate", run.path)
    told = (
        "precision  recall      F1  entities" if SEQEVAL else "for a table of the types: pip install seqeval"
    )
    assert told in shown
    lines = said(
        "predict", run.path, "Bola met Kumi in Rasaville.", "...", "-", input="Ann met\n\n"
    ).splitlines()
    assert "Bola\tPER\t0\t4" in [line.strip() for line in lines]
    rows = said("predict", run.path, "--json", folder / "train.conll").splitlines()
    rows = [json.loads(row) for row in rows if row.startswith("{")]
    assert len(rows) == 200 and rows[0]["text"] == " ".join(rows[0]["tokens"])
    for row in rows:
        for span in row["spans"]:
            assert row["text"][span["from"] : span["to"]] == span["text"]
    none = written(tmp_path / "none.conll", [(["it", "rains"], ["O", "O"])])
    assert "types" not in json.loads(said("evaluate", run.path, none, "--json"))  # a table of nothing
    assert "does not exist" in said("train", "--task", "tag", folder / "missing.conll", code=2)
    assert "does not exist" in said("predict", run.path, "none.jsonl", code=2)


def test_parts_of_speech(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = {"DET": ["a", "the"], "NOUN": ["dog", "cat", "bird"], "VERB": ["sees", "likes"]}
    draw = np.random.default_rng(0)
    order = ["DET", "NOUN", "VERB", "DET", "NOUN"]
    rows = [([str(draw.choice(words[tag])) for tag in order], order) for _ in range(60)]
    run = tr.train(
        rows, "tag", out=tmp_path / "run", quiet=True, **SMALL | dict(linear=False, characters=0, affixes=0)
    )
    assert run.evaluate()["accuracy"] > 0.95 and "f1" not in run.evaluate()
    (said,) = run.predict("The dog sees a cat")
    assert said["tags"] == order and "spans" not in said
    shown = CliRunner().invoke(main, ["predict", str(run.path), "the dog sees"]).output
    assert "the/DET dog/NOUN sees/VERB" in shown
    other = written(tmp_path / "other.conll", [(["a", "dog"], ["DET", "X"]), (["a"], ["DET"])])
    found = run.evaluate(other)
    assert found["unknown"] == 1 and found["accuracy"] <= 2 / 3  # what it cannot say counts as wrong


def test_what_is_said_of_the_data(tmp_path):
    rows = [*sentences(20, 0, NAMES), (["x", "y"], ["O", "I-PER"])]
    data = written(tmp_path / "a.conll", rows)
    data.write_text("# first\n" + data.read_text())
    result = CliRunner().invoke(main, ["train", "--task", "tag", str(data), "--steps", "2", "--hidden", "4",
                                       "--out", str(tmp_path / "run")])  # fmt: skip
    assert result.exit_code == 0, result.output
    for part in ("19 sentences, 2 for validation", "entities in BIO: PER", "comments: 1",
                 "the letter I at the beginning of an entity, read as B: 1",
                 "saying of each word the tag that it has most often"):  # fmt: skip
        assert part in result.output


@pytest.mark.parametrize(("train", "val", "said"), [
    ("a X\n\nb X\n", None, "all tokens have the tag 'X': there is nothing to tell apart"),
    ("a X\nb Y\n", None, "there is one sentence only: give more, or name a --val file"),
    ("a X\nb Y\n", "a Z\n", "val.conll has the tag 'Z', which the training data lacks"),
    ("a B-X\nb O\n", "a NOUN\n", "val.conll has the tag 'NOUN', which is no O, B-TYPE or I-TYPE"),
])  # fmt: skip
def test_data_that_cannot_be_learned_from(tmp_path, monkeypatch, train, val, said):
    monkeypatch.chdir(tmp_path)
    Path("train.conll").write_text(train)
    if val:
        Path("val.conll").write_text(val)
    arguments = ["train", "--task", "tag", "train.conll", *(["--val", "val.conll"] if val else [])]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2 and said in result.output


def test_two_sentences_are_one_to_learn_from_and_one_to_validate_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [(["a", "b"], ["X", "Y"]), (["b"], ["Y"])]
    options = SMALL | dict(steps=2, val_fraction=0.9)
    assert len(tr.train(rows, "tag", out=tmp_path / "run", quiet=True, **options).log) == 1


@pytest.mark.parametrize("data", [[("a", "b", "c")], [(["a"], ["b", "c"])], ["ab"], [([1], ["X"])], 5])
def test_data_from_memory_that_cannot_be_read(tmp_path, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(tr.InputError):
        tr.train(data, "tag", out=tmp_path / "run", quiet=True)


def test_a_checkpoint_that_was_changed_is_refused(trained):
    run, _ = trained
    described = run.model.describe()
    rebuild = type(run)._task.fget(run).rebuild
    assert rebuild(described).labels == run.model.labels
    for change in (dict(labels=[]), dict(labels=["A", "A"]), dict(words=5), dict(forms=[1])):
        with pytest.raises((ValueError, tr.InputError)):
            rebuild({**described, **change})


README = (PACKAGE / "README.md").read_text(encoding="utf-8")


def test_the_commands_and_blocks_of_the_readme_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(Path("train.conll"), sentences(120, 0, NAMES))
    written(Path("dev.conll"), sentences(20, 1, NAMES))
    small = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    lines = re.findall(r"^\$ tinyrnn (.*)$", README, re.MULTILINE)
    for line in lines:
        arguments = shlex.split(line)
        result = CliRunner().invoke(main, [*arguments, *(small if arguments[0] == "train" else [])])
        assert result.exit_code == 0, f"{line}\n{result.output}"
    assert len(lines) == 4
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(compile(block, "README.md", "exec"), {})


def test_the_readme_tells_the_defaults():
    told = dict(re.findall(r"^\| `--([a-z-]+)` \| (\S+) \|", README, re.MULTILINE))
    usual, own = TaskOptions.rules(), TagOptions.rules()
    changed = {k for k in own if k not in usual or own[k].default != usual[k].default}
    assert told.keys() == {k.replace("_", "-") for k in changed if own[k].default is not None}
    for name, value in told.items():
        default = own[name.replace("-", "_")].default
        assert value == (
            "yes" if default is True else default if isinstance(default, str) else f"{default:g}"
        )


def test_it_is_written_with_what_is_public():
    for file in (PACKAGE / "tinyrnn_tag").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            module = node.module or "" if isinstance(node, ast.ImportFrom) and not node.level else ""
            if module.startswith("tinyrnn"):
                assert module in ("tinyrnn.tasks", "tinyrnn.tasks.text"), f"{file.name}: {module}"


@pytest.mark.shared
def test_corpora_are_read_whole():
    if not SHARED.is_dir():
        pytest.skip("needs the corpora in shared/data")
    for name, count, scheme in (
        ("ewt-pos", 2001, ""), ("wnut17-train", 3394, "BIO"), ("wnut17-dev", 1009, "BIO")
    ):  # fmt: skip
        corpus = read_corpus([SHARED / f"{name}.conll"])
        assert (len(corpus.tokens), scheme_of(corpus.tags), corpus.left_out) == (count, scheme, {})


def test_it_is_compressed(trained, tmp_path):
    run, _ = trained
    rows = tr.compress(run, int8=True, prune=0.5, steps=4, out=tmp_path / "out", quiet=True)
    assert [row["name"] for row in rows] == ["original", "prune0.5", "prune0.5-int8", "prune0.5-int8"]
    assert rows[0]["bytes"] > rows[1]["bytes"] > 1.5 * rows[2]["bytes"]  # its words take room, too
    made = tr.Run(tmp_path / "out" / "prune0.5-int8")
    assert made.evaluate().keys() == run.evaluate().keys() and made.predict(["a text"])
