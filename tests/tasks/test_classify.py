"""The task classify: reading labelled texts, batches of different lengths, the model, the commands."""

import bz2
import csv
import gzip
import json
import re
import shlex

import numpy as np
import pytest
from click.testing import CliRunner

import tinyrnn as tr
from tinyrnn.cli import main
from tinyrnn.tasks.batches import Batches, in_order, padded
from tinyrnn.tasks.classify import baseline, scores
from tinyrnn.tasks.classify import task as classify
from tinyrnn.tasks.classify.options import ClassifyOptions
from tinyrnn.tasks.classify.reader import read_examples
from tinyrnn.tasks.tables.options import TableOptions
from tinyrnn.tasks.text.vocabulary import Words, from_json
from tinyrnn.training.experiments import Configuration
from tinyrnn.training.plan import Plan

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
        ("a.csv", "", "is empty: there are no rows in it"),
        ("a.csv", "text,text,label\na,b,c\n", "has 2 columns 'text': rename all but one"),
        ("a.jsonl", '{"text": ["a"], "label": "x"}\n', "row 1: column 'text' holds ['a'], which is no text"),
        ("a.jsonl", "{}\n", "has no column 'text': name its columns"),
    ],
)
def test_cells_that_are_no_texts(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(tr.InputError) as caught:
        read_examples([path])
    assert said in str(caught.value)


# ------------------------------------------------------------------ tables as people have them


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_texts_of_tables_are_whole(tmp_path):
    with pytest.raises(tr.InputError, match="row 3 has 3 cells, the first row has 2: put texts in double"):
        read_examples([write(tmp_path / "a.csv", "label,text\n0,fine\n1,I saw it, and it was great\n")])
    rest = "0,so\n1,a, b\n1,c, d, e\n0,f, g\n"  # most rows are wrong, and the columns known all the same
    with pytest.raises(tr.InputError, match="row 3 has 3 cells"):
        read_examples([write(tmp_path / "a.csv", f"label,text\n{rest}")])
    long, odd = "word " * 40_000, "a\rb\u2028c\td, e"
    texts = [long.strip(), odd, "two\nlines, and"]
    rows = "".join(f'{i},"{t}"\n' for i, t in enumerate(texts))
    assert read_examples([write(tmp_path / "b.csv", f"label,text\n{rows}")]) == (texts, ["0", "1", "2"])
    rows = "".join(
        json.dumps({"text": t, "label": i}, ensure_ascii=False) + "\n" for i, t in enumerate(texts)
    )
    assert read_examples([write(tmp_path / "b.jsonl", rows)]) == (texts, ["0", "1", "2"])
    big = '"' + "one\ntwo\n" * 40_000 + '"'  # longer than what ways to read a file are tried on
    found = read_examples([write(tmp_path / "c.csv", f'text,label\n{big},x\n"say ""a"", b",y\n')])[0]
    assert found == [big.strip('"').strip(), 'say "a", b']


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_separators_of_texts(tmp_path, capsys, separator):
    text = separator.join(("text", "label")) + f"\ngood{separator}pos\nbad, really{separator}neg\n"
    found = (["good", "bad, really"], ["pos", "neg"])
    assert read_examples([write(tmp_path / "a.csv", text)]) == found
    assert "columns separated by" in capsys.readouterr().err
    how = TableOptions(separator=separator)
    assert read_examples([write(tmp_path / "a.txt", text)], how=how) == found
    several = text.replace(separator, " @@ ")
    assert read_examples([write(tmp_path / "a.txt", several)], how=TableOptions(separator=" @@ ")) == found


def test_columns_by_number_where_the_first_row_is_data(tmp_path):
    path = write(tmp_path / "a.csv", "0,good\n1,bad\n")
    how = TableOptions(header=False)
    assert read_examples([path], text_column="2", label_column="1", how=how) == (["good", "bad"], ["0", "1"])
    with pytest.raises(tr.InputError, match="or say --no-header where the first row is data"):
        read_examples([path], text_column="2", label_column="1")


def test_other_columns_are_told(table, capsys):
    read_examples([table])
    assert "60 rows, columns text, label; left out: id" in capsys.readouterr().err


def test_parquet_excel_and_compressed(tmp_path):
    import pandas as pd

    frame = pd.DataFrame({"text": ["good", "bad"], "label": [1, 0]})
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_excel(tmp_path / "a.xlsx", index=False)
    write(tmp_path / "a.csv.gz", gzip.compress(frame.to_csv(index=False).encode()))
    write(tmp_path / "a.jsonl.bz2", bz2.compress(frame.to_json(orient="records", lines=True).encode()))
    for name in ("a.parquet", "a.xlsx", "a.csv.gz", "a.jsonl.bz2"):
        assert read_examples([tmp_path / name]) == (["good", "bad"], ["1", "0"])


def test_a_folder_per_label(tmp_path, capsys):
    files = {"pos/1.txt": "a fine\n\nfilm", "pos/b/2.txt": "good", "neg/1.txt": "bad", "neg/e.txt": " "}
    files |= {"neg/x.png": b"\0\1", "pos/.DS_Store": "x", "README.md": "about"}
    for name, text in files.items():
        write(tmp_path / "f" / name, text)
    write(tmp_path / "f/neg/2.txt.gz", gzip.compress(b"poor"))
    found = read_examples([tmp_path / "f"])
    assert sorted(zip(*found, strict=True)) == [
        ("a fine\n\nfilm", "pos"), ("bad", "neg"), ("good", "pos"), ("poor", "neg"),
    ]  # fmt: skip
    said = capsys.readouterr().err
    assert "its folders are labels; left out: README.md" in said
    assert "neg: 3 files of text; left out: 1 binary (x.png)" in said and "1 empty files are left out" in said
    assert "1 hidden (.DS_Store)" in said
    for name in ("a.txt", "b.txt.gz", "more/c.txt"):
        write(tmp_path / "g" / name, gzip.compress(b"y\n") if name.endswith("gz") else "x\n")
    assert read_examples([tmp_path / "g"]) == (["x", "y"], ["a", "b"])
    assert "its files are labels; left out: more" in capsys.readouterr().err
    write(tmp_path / "g" / "t.csv", "text,label\nx,y\n")
    with pytest.raises(tr.InputError, match=r"g holds the table t\.csv"):
        read_examples([tmp_path / "g"])


def test_several_labels_from_memory(tmp_path):
    import pandas as pd

    pairs = [("good", ["a"]), ("both", ["a", "b"]), ("none", [])]
    for data in (pairs, [(t, tuple(w)) for t, w in pairs], pd.DataFrame(pairs, columns=["text", "label"])):
        suffix, text = classify.Classification.store(data)
        found = read_examples([write(tmp_path / f"m.{suffix}", text)])
        assert found == (["good", "both", "none"], [("a",), ("a", "b"), ()])
    for wrong in ([("a", [1])], [(["a"], "b")], [(["a"], ["b"])], [("a",)]):
        with pytest.raises(tr.InputError, match="entry 0 of the data"):
            classify.Classification.store(wrong)


def test_lines_of_fasttext(tmp_path):
    path = write(tmp_path / "a.txt", "__label__pos a fine film\n\n__label__neg\tbad , really\n")
    assert read_examples([path]) == (["a fine film", "bad , really"], ["pos", "neg"])
    write(path, "__label__a __label__b both\n__label__a one\n")
    assert read_examples([path]) == (["both", "one"], [("a", "b"), ("a",)])
    for text, said in (
        ("__label__a x\nno label\n", "row 2 has no label"),
        ("__label__a x\n__label__b\n", "row 2 has no text"),
    ):
        with pytest.raises(tr.InputError, match=said):
            read_examples([write(path, text)])


# ------------------------------------------------------------------ several labels


def test_several_labels_of_a_text(tmp_path):
    found = ["good", "both", "none"], [("a",), ("a", "b"), ()]
    text = 'text,label\ngood,a\nboth,"a, b"\nnone,\n'
    assert read_examples([write(tmp_path / "a.csv", text)], multi_label=",") == found
    flags = "text,a,b\ngood,1,0\nboth,true,1.0\nnone,0,no\n"
    assert read_examples([write(tmp_path / "b.csv", flags)], label_column="a,b") == found
    rows = "".join(json.dumps({"text": t, "label": w}) + "\n" for t, w in zip(*found, strict=True))
    assert read_examples([write(tmp_path / "c.jsonl", rows)]) == found
    with pytest.raises(
        tr.InputError, match="row 3: column 'b' holds '2': of several columns of labels each holds 0"
    ):
        read_examples([write(tmp_path / "b.csv", "text,a,b\ngood,1,0\nboth,1,2\n")], label_column="a,b")
    with pytest.raises(tr.InputError, match="--multi-label is empty"):
        read_examples([tmp_path / "a.csv"], multi_label="")


@pytest.mark.parametrize("seed", range(3))
def test_scores_and_thresholds_of_several_labels(seed):
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(seed)
    true = random.integers(0, 2, (40, 3)) * [1, 1, 0]
    said = random.integers(0, 2, (40, 3)) * [1, 1, 0]
    found = scores.of_several(true, said)
    assert found["micro_f1"] == pytest.approx(metrics.f1_score(true, said, average="micro"))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(true[:, :2], said[:, :2], average="macro"))
    assert found["exact"] == pytest.approx(metrics.accuracy_score(true, said))
    probabilities = np.round(0.3 * true + 0.7 * random.uniform(0, 1, true.shape), 1)  # with equal ones
    thresholds = scores.best_thresholds(probabilities, true)
    for j in range(2):
        f1 = [
            metrics.f1_score(true[:, j], probabilities[:, j] >= t, zero_division=0)
            for t in np.linspace(0.05, 1, 20)
        ]
        own = metrics.f1_score(true[:, j], probabilities[:, j] >= thresholds[j])
        assert own == pytest.approx(max(f1)) and 0 < thresholds[j] < 1
    assert scores.best_thresholds(probabilities, 0 * true).tolist() == [0.5] * 3


def tagged(folder, rows=40):
    """Texts with any of the labels fun and warm, as one column and as two."""
    words = {"fun": "great laughs", "warm": "lovely hearts"}
    found = [[w for i, w in enumerate(words) if n >> i & 1] for n in range(rows)]
    texts = [" ".join(["a film", *[words[w] for w in each], f"{n % 5}"]) for n, each in enumerate(found)]
    one = write(
        folder / "one.csv",
        "text,label\n" + "".join(f"{t},{'|'.join(w)}\n" for t, w in zip(texts, found, strict=True)),
    )
    flags = "".join(f"{t},{int('fun' in w)},{int('warm' in w)}\n" for t, w in zip(texts, found, strict=True))
    return one, write(folder / "two.csv", f"text,fun,warm\n{flags}")


def test_a_run_of_several_labels(tmp_path):
    one, two = tagged(tmp_path)
    options = [*SMALL, "--steps", 60, "--lr", 0.02, "--no-baseline"]
    result = invoke("train", one, *options, "--multi-label", "|", "--out", tmp_path / "one")
    assert result.exit_code == 0 and "labels: fun 18, warm 18; 1.00 labels a text" in result.output, (
        result.output
    )
    assert (
        invoke("train", two, *options, "--label-column", "fun,warm", "--out", tmp_path / "two").exit_code == 0
    )
    found = json.loads(invoke("evaluate", tmp_path / "one", one, "--json").stdout)
    assert list(found) == ["exact", "micro_f1", "macro_f1", "loss", "counts", "labels", "thresholds"]
    assert found["exact"] == found["micro_f1"] == 1.0 and found["counts"] == [[20, 20, 20]] * 2
    assert json.loads(invoke("evaluate", tmp_path / "two", two, "--json").stdout) == found  # the same run
    log = [json.loads(line) for line in (tmp_path / "one" / "log.jsonl").read_text().splitlines()]
    assert {"val_loss", "micro_f1", "macro_f1"} <= log[-1].keys()
    model = tr.load(tmp_path / "one")
    assert model.thresholds.tolist() == found["thresholds"] and all(0 < t < 1 for t in found["thresholds"])
    texts = ["a film great laughs lovely hearts", "great laughs", "a film"]
    lines = invoke("predict", tmp_path / "one", *texts).stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["fun,warm", "fun", ""]
    rows = [
        json.loads(line) for line in invoke("predict", tmp_path / "one", two, "--json").stdout.splitlines()
    ]
    assert [r["labels"] for r in rows[:4]] == [[], ["fun"], ["warm"], ["fun", "warm"]]
    said = invoke("evaluate", tmp_path / "one").stdout
    assert "micro f1         1.0000" in said and "from probability" in said
    robust = invoke("robust", tmp_path / "one", "--kinds", "drop", "--strengths", "0.5")
    assert robust.exit_code == 0 and "accuracy" in robust.output
    p, true = model.predict(texts), np.array([[1, 1], [1, 0], [0, 0]])
    own = classify.figures(model, [model.encode(t) for t in texts], true)
    assert own["loss"] == pytest.approx(-np.log(np.where(true, p, 1 - p)).sum(axis=1).mean(), rel=1e-4)


def test_a_run_of_several_labels_is_resumed_exactly(tmp_path):
    one, _ = tagged(tmp_path)
    options = [
        *SMALL,
        "--multi-label",
        "|",
        "--schedule",
        "constant",
        "--warmup",
        1,
        "--quiet",
        "--no-baseline",
    ]
    options += ["--class-weights", "balanced"]
    invoke("train", one, *options, "--steps", 30, "--out", tmp_path / "whole")
    invoke("train", one, *options, "--steps", 11, "--out", tmp_path / "parts")
    assert invoke("train", "--resume", tmp_path / "parts", "--steps", 30, "--quiet").exit_code == 0
    two = [tr.load(tmp_path / name / "last.safetensors") for name in ("whole", "parts")]
    a, b = (m.state_dict() for m in two)
    assert all((a[k] == b[k]).all() for k in a) and (two[0].thresholds == two[1].thresholds).all()


def test_labels_of_another_kind_are_refused(tmp_path, table):
    one, _ = tagged(tmp_path)
    run = tmp_path / "r"
    invoke("train", one, *SMALL, "--multi-label", "|", "--steps", 1, "--quiet", "--no-baseline", "--out", run)
    assert "has the label 'neg', which the model does not know" in invoke("evaluate", run, table).output
    invoke("train", table, *SMALL, "--steps", 1, "--quiet", "--out", tmp_path / "s")
    result = invoke("evaluate", tmp_path / "s", one, "--multi-label", "|")
    assert result.exit_code == 2 and "has texts of several labels, in training each had one" in result.output
    from tinyrnn.tasks.classify.task import Classification

    meta = tr.load(run).describe()
    for wrong in ([0.5], [0.5, 2], "x", [0.5, None], [0.5, float("nan")]):
        with pytest.raises(ValueError, match="no probability for each label"):
            Classification.rebuild({**meta, "thresholds": wrong})


# ------------------------------------------------------------------ what is said beside


def test_a_simple_classifier_that_wins_is_told(tmp_path, table):
    pytest.importorskip("sklearn")
    run = tmp_path / "run"
    said = "TF-IDF with logistic regression, on the same examples: accuracy 1.0000, macro F1 1.0000"
    wins = "this model does not beat that: use it in its place"
    result = invoke("train", table, *SMALL, "--steps", 1, "--out", run)
    assert said in result.output and wins in result.output
    assert said in invoke("evaluate", run, "--baseline").output and said not in invoke("evaluate", run).output
    found = json.loads(invoke("evaluate", run, table, "--baseline", "--json").output.splitlines()[-1])
    assert found["baseline"]["accuracy"] == 1.0
    result = invoke("train", table, *SMALL, "--steps", 60, "--lr", 0.02, "--out", tmp_path / "b")
    assert said in result.output and wins not in result.output
    result = invoke("train", table, *SMALL, "--steps", 1, "--no-baseline", "--out", tmp_path / "c")
    assert "TF-IDF" not in result.output
    one, _ = tagged(tmp_path)
    result = invoke("train", one, *SMALL, "--multi-label", "|", "--steps", 1, "--out", tmp_path / "d")
    assert "on the same examples: exact 1.0000, micro F1 1.0000, macro F1 1.0000" in result.output


def test_a_simple_classifier_reads_what_the_model_reads():
    pytest.importorskip("sklearn")
    train, val = (
        (["ab", "ba", "abab", "baba"] * 5, np.array([0, 1, 0, 1] * 5)),
        (["ababab", "bababa"], np.array([0, 1])),
    )
    assert baseline.baseline(train, val, "char")["accuracy"] == 1.0
    assert baseline.baseline(train, val, "word")["accuracy"] == 0.5
    assert baseline.is_quick(["a" * 1000], range(2)) and not baseline.is_quick(["a" * 1000], range(10_000))


def test_a_simple_classifier_without_its_library(tmp_path, table, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.feature_extraction.text", None)
    result = invoke("train", table, *SMALL, "--steps", 1, "--baseline", "--out", tmp_path / "r")
    assert (
        result.exit_code == 2
        and "--baseline needs scikit-learn: pip install 'tinyrnn[sklearn]'" in result.output
    )


def test_predict_reads_tables_as_evaluate_does(tmp_path, table):
    run = tmp_path / "run"
    data = write(tmp_path / "d.csv", table.read_text().replace("text", "review").replace(",", ";"))
    options = ["--text-column", "review", "--steps", 1, "--quiet", "--no-baseline", "--out", run]
    assert invoke("train", data, *SMALL, *options).exit_code == 0
    rows = [json.loads(line) for line in invoke("predict", run, data, "--json").stdout.splitlines()]
    assert [r["text"] for r in rows] == [t.replace(",", ";") for t in GOOD * 5 + BAD * 5]
    assert list(rows[0]) == ["row", "text", "label", "probabilities"] and rows[0]["row"] == 2
    other = write(tmp_path / "o.tsv", "a\tb\nx\tdull\n")
    rows = [
        json.loads(line)
        for line in invoke("predict", run, other, "--text-column", "b", "--json").stdout.splitlines()
    ]
    assert [r["text"] for r in rows] == ["dull"]
    assert "has no column 'review'" in invoke("predict", run, other).output


def test_texts_of_which_nothing_is_known_are_told(tmp_path, table):
    run = tmp_path / "run"
    invoke("train", table, *SMALL, "--steps", 1, "--max-length", 3, "--quiet", "--no-baseline", "--out", run)
    new = write(tmp_path / "new.csv", 'text,label\ngreat qqq,\n"",x\nzzz yyy,\n')
    result = invoke("predict", run, new, "--json")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [r.get("unread", False) for r in rows] == [False, True, True]
    places = f"{new} row 3, {new} row 4 are no texts that the model knows a symbol of"
    assert places in result.stderr.replace("\n", "")
    result = invoke("predict", run, "-", input="dull\n\nzzz\n")
    assert "standard input line 2, standard input line 3 are no texts" in result.stderr
    assert len(result.stdout.splitlines()) == 3
    assert "'zzz' is no text that the model knows" in invoke("predict", run, "zzz", "dull").stderr
    said = invoke("predict", run, write(tmp_path / "f.txt", "__label__pos dull\n"), "--json").stdout
    assert json.loads(said)["text"] == "dull"
    assert "known" not in invoke("predict", run, "dull").stderr
    assert "cut after 3 symbols: 1 of 2 texts" in invoke("predict", run, "a fine great film", "dull").stderr
    assert "cut after 3 symbols" in invoke("evaluate", run).stderr


def test_predictions_as_a_table_with_the_rows_that_they_are_of(tmp_path, table):
    """A number a cell, and what joins them to where they come from: row, id, file."""
    rows = table.read_text().splitlines()
    data = write(
        tmp_path / "d.csv", "\n".join(["key," + rows[0], *(f"m{i},{r}" for i, r in enumerate(rows[1:]))])
    )
    run, out = tmp_path / "run", tmp_path / "said.csv"
    assert (
        invoke("train", data, *SMALL, "--steps", 1, "--quiet", "--no-baseline", "--out", run).exit_code == 0
    )
    result = invoke("predict", run, data, "--id-column", "key", "--out", out)
    assert result.exit_code == 0 and result.stdout == f"{out}\n", result.output
    said = list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
    assert list(said[0]) == ["row", "id", "text", "label", "probability_neg", "probability_pos"]
    assert [(r["row"], r["id"]) for r in said] == [(str(i + 2), f"m{i}") for i in range(len(rows) - 1)]
    assert [r["text"] for r in said] == GOOD * 5 + BAD * 5 and len(said) == 60  # which hold commas
    assert all(float(r["probability_neg"]) + float(r["probability_pos"]) == pytest.approx(1) for r in said)
    found = tr.Run(run).predict([data, data, "dull"], id_column="key")
    assert found[60]["file"] == str(data) and found[61]["id"] == "m1" and "row" not in found[-1]
    assert "has no column 'kye'" in invoke("predict", run, data, "--id-column", "kye").stderr
    several = classify.Classification.cells({"text": "a", "labels": ["x", "y"], "probabilities": {"x": 0.5}})
    assert several == {"text": "a", "labels": "x,y", "probability_x": 0.5}


def test_small_data_has_as_many_steps_as_it_needs(tmp_path, table):
    """And what would help is a command that works."""

    def built(**given):
        return Configuration.make("classify", [table], {"hidden": 4, **given}).trainer(None, "cpu")

    assert built().total == 600
    assert built(epochs=4).total == 4 * built().task.steps_per_epoch == 4
    assert built(steps=3).total == 3
    old = Plan.of({"epochs": 4.0})  # of an earlier version
    assert old.total_steps(1) == 4


def test_the_command_that_trains_longer_is_told_where_that_may_help(tmp_path, table):
    pytest.importorskip("sklearn")
    small = [*SMALL, "--lr", 1e-6, "--eval-every", 1]
    result = invoke("train", table, *small, "--epochs", 1, "--out", tmp_path / "a b")
    said = re.search(r"does not beat that: use it in its place, or train longer: tinyrnn (.*)", result.output)
    command = shlex.split(said[1])
    assert command == ["train", "--resume", str(tmp_path / "a b"), "--epochs", "3"]
    result = invoke(*command)
    assert result.exit_code == 0 and tr.Run(tmp_path / "a b").log[-1]["epoch"] == pytest.approx(3)
    lines = list(classify._beside({"accuracy": 0.5}, {"accuracy": 0.6}))
    assert lines[-1].endswith("use it in its place, or train on more examples")


def test_words_are_known_in_capitals_and_without(tmp_path, capsys):
    pairs = [("Wonderful , just Wonderful", "pos"), ("awful , just awful", "neg")] * 9
    run = tr.train(pairs, "classify", out=tmp_path / "r", hidden=4, embed=4, steps=1, quiet=True)
    same = run.predict(["wonderful", "Wonderful", "WONDERFUL", "Awful", "awful"])
    assert [r["probabilities"] for r in same[:2]] == [same[2]["probabilities"]] * 2
    assert same[3]["probabilities"] == same[4]["probabilities"] != same[0]["probabilities"]
    assert "not in this model's vocabulary" not in capsys.readouterr().err
    assert not any("unread" in r for r in same)
    old = run.model.vocabulary.to_json()
    assert old.pop("any_case") is True
    assert from_json(old).missing("wonderful awful") == ["wonderful"]  # as in runs of earlier versions


def test_a_mistyped_file_is_told(tmp_path, table, capsys):
    run = tmp_path / "run"
    assert (
        invoke("train", table, *SMALL, "--steps", 1, "--quiet", "--no-baseline", "--out", run).exit_code == 0
    )
    assert "l.tx is no file: it is read as a text" in invoke("predict", run, "l.tx").stderr
    assert "is no file" not in invoke("predict", run, "fine. great", "3.5", "e.g.", "U.S.").stderr


def test_a_missing_column_is_all_that_is_said(tmp_path, table):
    run = tmp_path / "run"
    assert (
        invoke("train", table, *SMALL, "--steps", 1, "--quiet", "--no-baseline", "--out", run).exit_code == 0
    )
    result = invoke("predict", run, write(tmp_path / "o.csv", "mail;Monat\nx;1\ny;2\n"))
    assert result.stderr.startswith("Error: ") and "has no column 'text'" in result.stderr
    assert invoke("evaluate", run).stderr == ""


@pytest.mark.parametrize(("files", "said"), [
    ({"train/pos/1.txt": "a", "train/neg/1.txt": "b", "test/pos/1.txt": "c"}, "are parts of a data set"),
    ({"notes.md": "x", "pos.txt": "a", "neg.txt": "b"}, "holds notes.md beside files of .txt: give it their"),
    ({"pos/a.csv": "x,y\n1,2\n", "neg/b.txt": "b"}, "holds the table a.csv"),
])  # fmt: skip
def test_what_in_folders_is_no_label(tmp_path, files, said):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(tr.InputError, match=said):
        read_examples([tmp_path])


def test_what_is_left_out_of_folders_is_said(tmp_path, capsys):
    for name in ("README.md", "LICENSE", "pos.txt", "neg.txt"):
        (tmp_path / name).write_text(name)
    assert read_examples([tmp_path])[1] == ["neg", "pos"]
    assert "left out: LICENSE, README.md" in capsys.readouterr().err
    for name in ("a/pos/x/1.txt", "a/neg/y/1.txt"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(name)
    assert read_examples([tmp_path / "a"])[1] == ["neg", "pos"]
    assert "texts of the folders x, y have the labels of those they are in" in capsys.readouterr().err


def test_lists_of_labels_in_tables_of_text(tmp_path):
    path = tmp_path / "a.csv"
    for labels, found in (
        ('"[\'x\', \'y\']",[\'y\']', [("x", "y"), ("y",)]), ('"[""x""]",[]', [("x",), ()])
    ):  # fmt: skip
        first, second = labels.rsplit(",", 1)
        path.write_text(f"text,label\na,{first}\nb,{second}\n")
        for multi in (None, ","):
            assert read_examples([path], multi_label=multi)[1] == found
    path.write_text("text,label\na,[x]\nb,[y]\n")
    assert read_examples([path])[1] == ["[x]", "[y]"]
    with pytest.raises(tr.InputError, match=r"holds '\[x\]': write a list of labels"):
        read_examples([path], multi_label=",")
    path.write_text("text,label\na,[x;y]\nb,y\n")
    with pytest.raises(tr.InputError, match=r"holds '\[x;y\]', a list, which others are not"):
        read_examples([path], multi_label=";")
