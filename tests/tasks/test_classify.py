"""The task classify: reading labelled texts, batches of different lengths, the model, the commands."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import tinyrnn as tr
from tinyrnn.cli import main
from tinyrnn.tasks.batches import Batches, in_order, padded
from tinyrnn.tasks.classify import task as classify
from tinyrnn.tasks.classify.options import ClassifyOptions
from tinyrnn.tasks.classify.reader import read_examples
from tinyrnn.tasks.text.vocabulary import Words

GOOD = [
    "a fine film",
    "what a lovely , warm story",
    "great fun",
    "fine acting and a great script",
    "lovely",
    "warm and great",
]
BAD = [
    "a dull film",
    "what a poor , cold story",
    "awful bore",
    "poor acting and an awful script",
    "dull",
    "cold and awful",
]
SMALL = [
    "--task",
    "classify",
    "--hidden",
    "12",
    "--embed",
    "8",
    "--batch-size",
    "8",
    "--eval-every",
    "20",
    "--dropout",
    "0.1",
]


def invoke(*arguments, **more):
    return CliRunner().invoke(main, [str(a) for a in arguments], **more)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "films.csv"
    rows = [(t, y) for texts, y in ((GOOD, "pos"), (BAD, "neg")) for t in texts * 5]
    path.write_text("id,text,label\n" + "".join(f'{i},"{t}",{y}\n' for i, (t, y) in enumerate(rows)))
    return path


# ------------------------------------------------------------------ reading


def test_every_form_of_data_says_the_same(tmp_path, table):
    texts, labels = read_examples([table])
    assert len(texts) == 60 and texts[1] == "what a lovely , warm story" and set(labels) == {"pos", "neg"}
    (tmp_path / "f.tsv").write_text(
        "label\ttext\n" + "".join(f"{y}\t{t}\n" for t, y in zip(texts, labels, strict=True))
    )
    rows = [{"body": t, "y": y} for t, y in zip(texts, labels, strict=True)]
    (tmp_path / "f.jsonl").write_text("\n".join(map(json.dumps, rows)))
    folder = tmp_path / "folder"
    folder.mkdir()
    for label in ("pos", "neg"):
        (folder / f"films.{label}").write_text(
            "\n\n".join(t for t, y in zip(texts, labels, strict=True) if y == label)
        )
    (folder / ".hidden").write_text("not this")
    assert read_examples([tmp_path / "f.tsv"]) == (texts, labels)
    assert read_examples([tmp_path / "f.jsonl"], text_column="body", label_column="y") == (texts, labels)
    assert sorted(zip(*read_examples([folder]), strict=True)) == sorted(
        (t, f"films.{y}") for t, y in zip(texts, labels, strict=True)
    )


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "a.csv",
            "text,lable\nx,1\n",
            r"a.csv has no column 'label': choose --label-column from 'text', 'lable'",
        ),
        (
            "a.csv",
            "text,label\nx,1\n ,2\n",
            r"a.csv row 3: column 'text' is empty: fill it, or delete the row",
        ),
        ("a.csv", "text,label\nx,1\ny,\n", "row 3: column 'label' is empty"),
        ("a.csv", "text,label\nx,1\ny\n", "row 3 has 1 cells, the first row has 2"),
        (
            "a.csv",
            "text,label\nx,1\ny,1\n",
            "all 2 examples have the label '1': there is nothing to tell apart",
        ),
        ("a.csv", "text,label\n", "has no rows of data"),
        ("a.csv", 'text,label\n"x" y,1\n"a,b",2\n', "a.csv row 2: .*: mend the quotes"),
        ("a.jsonl", '{"text": "x", "label": 1}\n{"text": ', "a.jsonl row 2"),
        ("a.jsonl", "[1]\n", "row 1"),
        ("a.jsonl", '{"text": "x"}\n', "has no column 'label': choose --label-column from 'text'"),
        ("a.txt", "x", "is not known: give a table .*, lines of fastText, or a folder"),
        ("a.csv", b"text,label\n\xff\xfe,1\n", "not utf-8 text .* name its --encoding"),
    ],
)
def test_bad_data_is_one_sentence_that_names_row_and_column(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(tr.InputError, match=said):
        read_examples([path])
    result = invoke("train", path, *SMALL, "--out", tmp_path / "run")
    assert result.exit_code == 2 and "Traceback" not in result.output and not (tmp_path / "run").exists()


def test_no_data_missing_files_and_lonely_labels(tmp_path, table):
    assert "needs data" in invoke("train", *SMALL).output
    assert "does not exist" in invoke("train", tmp_path / "x.csv", *SMALL).output
    result = invoke("train", table, *SMALL, "--encoding", "nope")
    assert result.exit_code == 2 and "use an encoding of texts, such as utf-8" in result.output
    with table.open("a") as file:
        file.write("99,odd,maybe\n")
    assert "'maybe' has one example only" in invoke("train", table, *SMALL, "--out", tmp_path / "r").output


# ------------------------------------------------------------------ batches


def test_each_example_once_an_epoch_and_similar_lengths_together():
    random = np.random.default_rng(0)
    sequences = [np.zeros(n, np.int64) for n in random.integers(1, 100, 1000)]
    batches = Batches(sequences, 16, seed=3)
    epochs = [[batches[e * batches.per_epoch + b] for b in range(batches.per_epoch)] for e in range(2)]
    for epoch in epochs:
        assert sorted(np.concatenate(epoch).tolist()) == list(range(1000))
    assert any((a[:4] != b[:4]).any() for a, b in zip(*epochs, strict=True))
    spread = np.mean([np.ptp([len(sequences[i]) for i in batch]) for batch in epochs[0]])
    assert spread < 5
    again = Batches(sequences, 16, seed=3)
    assert (again[70] == batches[70]).all() and sorted(
        np.concatenate(in_order(sequences, 16)).tolist()
    ) == list(range(1000))


def test_padding():
    ids, mask = padded([np.array([5]), np.array([1, 2, 3])])
    assert ids.tolist() == [[5, 1], [0, 2], [0, 3]] and mask.tolist() == [
        [True, True],
        [False, True],
        [False, True],
    ]


# ------------------------------------------------------------------ the model


def model(**settings):
    vocabulary = Words.build([" " + " ".join(GOOD + BAD)], 40)
    return classify.Classifier(
        vocabulary, ["neg", "pos"], **{"cell": "lstm", "hidden": 6, "embed": 5, "seed": 1, **settings}
    )


@pytest.mark.parametrize("pooling", ClassifyOptions.rules()["pooling"].choices)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_changes_nothing(pooling, bidirectional):
    m = model(pooling=pooling, bidirectional=bidirectional, layers=2, dtype="float64")
    together = m.predict(GOOD + BAD)
    np.testing.assert_allclose(together.sum(axis=1), 1, rtol=1e-6)
    for i, text in enumerate(GOOD + BAD):
        np.testing.assert_allclose(m.predict([text])[0], together[i], rtol=1e-5)


@pytest.mark.parametrize("pooling", ClassifyOptions.rules()["pooling"].choices)
def test_it_learns(pooling):
    m = model(pooling=pooling, bidirectional=True).train()
    texts, targets = [m.encode(t) for t in GOOD + BAD], np.array([1] * 6 + [0] * 6)
    optimizer = tr.optim.Adam(m.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        tr.cross_entropy(m(*padded(texts)), targets).backward()
        optimizer.step(max_norm=1.0)
    assert classify.figures(m, texts, targets)["accuracy"] == 1.0
    assert (m.predict(["a lovely film", "a dull film"]).argmax(axis=1) == [1, 0]).all()


def test_a_checkpoint_is_evaluated_like_its_run(tmp_path, table):
    assert invoke("train", table, *SMALL, "--steps", "2", "--quiet", "--out", tmp_path / "run").exit_code == 0
    for data in ([], [table]):
        found = [
            invoke("evaluate", tmp_path / "run" / name, *data, "--json") for name in ("", "best.safetensors")
        ]
        assert found[0].exit_code == 0 and found[0].stdout == found[1].stdout


def test_data_that_changed_is_not_evaluated_as_if_it_were_held_out(tmp_path, table):
    assert invoke("train", table, *SMALL, "--steps", "2", "--quiet", "--out", tmp_path / "run").exit_code == 0
    table.write_text(table.read_text() + "99,great fun,pos\n")
    result = invoke("evaluate", tmp_path / "run")
    assert (
        result.exit_code == 2
        and "examples of this run have changed since it was trained: name a TEXT" in result.output
    )


def test_figures_by_hand():
    m = model()
    sequences, targets = [m.encode(t) for t in GOOD + BAD], np.array([1, 0] * 6)
    found, p = classify.figures(m, sequences, targets, batch_size=5), m.predict(GOOD + BAD)
    said = p.argmax(axis=1)
    confusion = np.array([[((targets == t) & (said == s)).sum() for s in (0, 1)] for t in (0, 1)])
    assert found["confusion"] == confusion.tolist() and found["labels"] == ["neg", "pos"]
    assert found["accuracy"] == pytest.approx((targets == said).mean())
    f1 = [2 * confusion[k, k] / max(confusion[k].sum() + confusion[:, k].sum(), 1) for k in (0, 1)]
    assert found["macro_f1"] == pytest.approx(np.mean(f1))
    assert found["loss"] == pytest.approx(-np.log(p[np.arange(12), targets]).mean(), rel=1e-5)


def test_words_are_the_same_wherever_they_stand_and_texts_are_cut():
    m = model(max_length=3)
    assert m.encode("film fine")[1] == m.encode("fine film")[0] and len(m.encode("a fine film and more")) == 3
    assert len(m.encode("")) == 1 and m.predict(["", "zzz"]).shape == (2, 2)


# ------------------------------------------------------------------ the commands


def test_train_evaluate_predict(tmp_path, table):
    run = tmp_path / "run"
    result = invoke(
        "train", table, *SMALL, "--steps", 60, "--lr", 0.02, "--class-weights", "balanced", "--out", run
    )
    assert result.exit_code == 0, result.output
    assert "60 examples" not in result.output and "54 examples, 6 for validation" in result.output
    assert "labels: neg 27, pos 27" in result.output and f"next: tinyrnn predict {run}" in result.output
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] == 60 and {"val_loss", "accuracy", "macro_f1", "train_loss"} <= log[-1].keys()
    found = json.loads(invoke("evaluate", run, "--json").stdout)
    assert set(found) == {"accuracy", "macro_f1", "loss", "confusion", "labels"} and found["accuracy"] == 1.0
    assert json.loads(invoke("evaluate", run, table, "--json").stdout)["accuracy"] > 0.95
    assert "confusion" in invoke("evaluate", run).stdout
    lines = invoke("predict", run, "a lovely film", "awful").stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["pos", "neg"] and "pos=" in lines[0]
    (tmp_path / "new.txt").write_text("dull\ngreat\n")
    rows = [
        json.loads(line)
        for line in invoke("predict", run, tmp_path / "new.txt", "--json").stdout.splitlines()
    ]
    assert [row["label"] for row in rows] == ["neg", "pos"] and sum(
        rows[0]["probabilities"].values()
    ) == pytest.approx(1, abs=1e-4)
    assert invoke("predict", run, input="warm\n").stdout.startswith("pos")
    assert tr.load(run).predict(["great"]).shape == (1, 2)


def test_resuming_is_exact(tmp_path, table):
    options = [
        *SMALL,
        "--bidirectional",
        "--pooling",
        "attention",
        "--schedule",
        "constant",
        "--quiet",
        "--warmup",
        1,
    ]
    invoke("train", table, *options, "--steps", 30, "--out", tmp_path / "whole")
    invoke("train", table, *options, "--steps", 11, "--out", tmp_path / "parts")
    assert invoke("train", "--resume", tmp_path / "parts", "--steps", 30, "--quiet").exit_code == 0
    one, two = (tr.load(tmp_path / name / "last.safetensors").state_dict() for name in ("whole", "parts"))
    assert all((one[k] == two[k]).all() for k in one)


def test_the_wrong_command_for_a_run(tmp_path, table):
    text = tmp_path / "text.txt"
    text.write_text("some text to learn. " * 50)
    invoke("train", table, *SMALL, "--steps", 2, "--out", tmp_path / "c")
    invoke(
        "train", text, "--hidden", 8, "--embed", 4, "--seq-len", 10, "--steps", 2, "--out", tmp_path / "lm"
    )
    result = invoke("generate", tmp_path / "c")
    assert result.exit_code == 2 and "is no language model: use tinyrnn predict" in result.output
    result = invoke("predict", tmp_path / "lm", "x")
    assert (
        result.exit_code == 2
        and "is a language model, which predicts no labels: use tinyrnn generate" in result.output
    )
    table.write_text(table.read_text().replace("pos", "maybe"))
    assert "films.csv has the label 'maybe'" in invoke("evaluate", tmp_path / "c", table).output
    result = invoke("train", "--resume", tmp_path / "c", "--steps", 4)
    assert result.exit_code == 2 and "was trained on another text" in result.output


@pytest.mark.shared
@pytest.mark.slow
def test_surnames(corpora, tmp_path):
    """Characters of names of 18 languages: far above the largest class (47 %)."""
    result = invoke(
        "train",
        corpora / "names",
        "--task",
        "classify",
        "--level",
        "char",
        "--epochs",
        2,
        "--out",
        tmp_path / "r",
    )
    assert result.exit_code == 0, result.output
    assert json.loads(invoke("evaluate", tmp_path / "r", "--json").stdout)["accuracy"] > 0.6


def test_what_is_no_better_than_the_most_frequent_label_says_so(tmp_path):
    """After training and at evaluation, as a forecaster says it of naive forecasts."""
    path = tmp_path / "noise.csv"
    path.write_text("text,label\n" + "a film,rare\n" * 20 + "a film,often\n" * 60)
    out = tmp_path / "run"
    said = "does not beat the most frequent label: always saying 'often' has an accuracy of 0.7500"
    result = invoke("train", path, *SMALL, "--steps", 3, "--out", out)
    assert said in result.output
    assert said in invoke("evaluate", out).output
    path.write_text("text,label\n" + "bad,rare\n" * 20 + "good,often\n" * 60)
    result = invoke("train", path, *SMALL, "--steps", 60, "--lr", 0.02, "--out", tmp_path / "b")
    assert "does not beat" not in result.output + invoke("evaluate", tmp_path / "b").output


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "", "is empty: give a file whose first row"),
        ("a.csv", "text,text,label\na,b,c\n", "has 2 columns 'text': rename all but one"),
        ("a.jsonl", '{"text": ["a"], "label": "x"}\n', "row 1: column 'text' holds ['a'], which is no text"),
        ("a.jsonl", '{"text": "a", "label": true}\n', "row 1: column 'label' holds True, which is no text"),
        ("a.jsonl", "{}\n", "has no column 'text': name its columns"),
    ],
)
def test_cells_that_are_no_texts(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(tr.InputError) as caught:
        read_examples([path])
    assert said in str(caught.value)
