"""What tasks read as text: nothing of it is lost in silence, and what is no text is refused."""

import io
import json
import sys
from types import SimpleNamespace

import pytest

import tinyrnn as tr
from tinyrnn.tasks.classify.reader import read_examples
from tinyrnn.tasks.forecast.series import read_series
from tinyrnn.tasks.text.options import ReadingOptions
from tinyrnn.tasks.text.sources import lines_of, read_lines, resolve
from tinyrnn.tasks.text.vocabulary import build_vocabulary, tell_missing
from tinyrnn.tasks.translate.reader import read_pairs
from tinyrnn.training.task import TaskOptions

ODD = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"  # what str.splitlines takes for the end of a line


def readers(folder, text):
    """Each reader, with ``text`` within the data that it reads."""

    def written(name, whole):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(whole.encode())
        return path

    rows = [{"text": text, "label": "x"}, {"text": "b", "label": "y"}]
    table = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    written("labels/x.txt", f"{text}\n")
    written("labels/y.txt", "b\n")
    return {
        "csv": lambda: read_examples([written("a.csv", f'text,label\n"{text}",x\nb,y\n')])[0],
        "tsv": lambda: read_examples([written("a.tsv", f'text\tlabel\n"{text}"\tx\nb\ty\n')])[0],
        "jsonl": lambda: read_examples([written("a.jsonl", table)])[0],
        "folder": lambda: read_examples([folder / "labels"])[0],
        "pairs": lambda: read_pairs([written("pairs.txt", f"{text}\tx\nb\ty\n")])[0],
        "lines": lambda: read_lines([str(written("lines.txt", f"{text}\nb\n"))], "utf-8"),
    }


READERS = ("csv", "tsv", "jsonl", "folder", "pairs", "lines")


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("symbol", ODD)
def test_no_odd_space_ends_a_line(tmp_path, name, symbol):
    if name == "jsonl" and symbol < " ":
        pytest.skip("JSON has no such character in a text")
    assert readers(tmp_path, f"one{symbol}text")[name]() == [f"one{symbol}text", "b"]


@pytest.mark.parametrize("name", READERS)
def test_a_binary_file_is_refused(tmp_path, name):
    if name == "jsonl":
        pytest.skip("JSON writes it in another way")
    with pytest.raises(tr.InputError, match="is a binary file"):
        readers(tmp_path, "one\0text")[name]()
    (tmp_path / "s.csv").write_bytes(b"date,v\n2020-01,1\0\n")
    with pytest.raises(tr.InputError, match="is a binary file"):
        read_series(tmp_path / "s.csv")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_kind(tmp_path, end):
    assert lines_of(f"a{end}{end}b{end}") == ["a", "", "b"] and lines_of("") == [] and lines_of("a") == ["a"]
    (tmp_path / "p.txt").write_bytes(f"a\tb{end}c\td".encode())
    assert read_pairs([tmp_path / "p.txt"]) == (["a", "c"], [("b",), ("d",)])


@pytest.mark.parametrize(("name", "text", "said"), [
    ("a.csv", "text,label\na, b,x\n", "row 2 has 3 cells, the first row has 2: put texts in double quotes"),
    ("a.csv", "text,label,text\na,x,b\n", "has 2 columns 'text': rename all but one"),
])  # fmt: skip
def test_what_would_be_lost_is_refused(tmp_path, name, text, said):
    (tmp_path / name).write_bytes(text.encode())
    with pytest.raises(tr.InputError) as error:
        read_examples([tmp_path / name])
    assert said in str(error.value)


@pytest.mark.parametrize("encoding", ["foo", "hex", "rot13", "undefined", "", "a\0b", "\udcff"])
def test_encodings_that_are_none(encoding):
    for kind in (TaskOptions, ReadingOptions):
        with pytest.raises(tr.InputError, match="use an encoding of texts, such as utf-8"):
            kind(encoding=encoding)


@pytest.mark.parametrize("level", ["byte", "bpe"])
def test_half_a_character_is_no_text(level):
    vocabulary = build_vocabulary(["some text " * 20], level, 270)
    with pytest.raises(tr.InputError, match=r"holds '\\ud800', half a character"):
        vocabulary.encode("a\ud800b")


# ------------------------------------------------------------------ texts, or names of files


@pytest.mark.parametrize("given", [
    "reviws.csv", "reviews.TXT", "no/such/reviews.tsv", "my reviews.jsonl", "data/reviws", "./reviws", "data",
])  # fmt: skip
def test_what_looks_like_a_file_and_is_none(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    with pytest.raises(tr.InputError, match="is no file: give the path of one, a text, or on standard input"):
        read_lines([given], "utf-8")


@pytest.mark.parametrize("given", [
    "a lovely film", "12/3/1970", "and/or", " ", "txt", "8/27/75", "a / b", "e.g.", "x" * 999, "a\0b",
])  # fmt: skip
def test_texts_are_texts(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    assert read_lines([given], "utf-8") == [given]


class Terminal(io.TextIOWrapper):
    def isatty(self):
        return True


@pytest.mark.parametrize("kind", [Terminal, io.TextIOWrapper])
def test_a_terminal_is_told_that_it_is_waited_for(monkeypatch, capsys, kind):
    for read in (lambda: read_lines(["-"], "utf-8"), lambda: resolve(["-"])):
        monkeypatch.setattr(sys, "stdin", kind(io.BytesIO(b"one\ntwo\n")))
        read()
        assert ("reading standard input" in capsys.readouterr().err) == (kind is Terminal)


def test_standard_input_has_an_encoding_too(monkeypatch):
    data = io.BytesIO("Grüße\n".encode("latin-1"))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=data, isatty=bool))
    with pytest.raises(tr.InputError, match="standard input is not utf-8 text"):
        read_lines(["-"], "utf-8")
    data.seek(0)
    assert read_lines(["-"], "latin-1") == ["Grüße"]


def test_symbols_that_a_model_does_not_know_are_told(capsys):
    tell_missing(build_vocabulary(["abc"], "char", None), ["abc", "axé", "y z"])
    assert "not in this model's vocabulary, left out: 'x' 'é' 'y' 'z'" in capsys.readouterr().err
    tell_missing(build_vocabulary(["abc"], "char", None), ["abc", "cab"])
    assert capsys.readouterr().err == ""
    tell_missing(build_vocabulary(["a b c d a b c d"], "word", None), ["a b", "  a\tb\te f g h i j k\n"])
    assert "read as unknown: ' e' ' f' ' g' ' h' ' i' and 2 more" in capsys.readouterr().err


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    small = dict(hidden=8, embed=4, steps=1, batch_size=4, quiet=True)
    (folder / "a.csv").write_text("text,label\n" + "good film,x\nbad film,y\n" * 10)
    (folder / "a.tsv").write_text("".join(f"{i}\t{i}\n" for i in range(20)))
    return {
        "table": tr.train(folder / "a.csv", "classify", out=folder / "c", **small),
        "pair": tr.train(folder / "a.tsv", "translate", out=folder / "t", **small),
    }


def test_tables_are_predicted_from_by_their_column(runs):
    data = {name: run.options["texts"][0] for name, run in runs.items()}
    assert [r["text"] for r in runs["table"].predict(data["table"])] == ["good film", "bad film"] * 10
    assert [r["source"] for r in runs["pair"].predict(data["pair"])] == [str(i) for i in range(20)]
    with pytest.raises(tr.InputError, match=r"'0\\t0' is a pair of texts: give its first side alone"):
        runs["pair"].predict("0\t0")
    with pytest.raises(tr.InputError, match="is no file"):
        runs["table"].predict("reviws.csv")
    with pytest.raises(tr.InputError, match="is no file"):
        runs["table"].predict("reviws.csv.gz")


@pytest.mark.parametrize("texts", ["one text", 5, None, [5], ["a", None], b"ab"])
def test_models_take_lists_of_texts(runs, texts):
    for call in (runs["table"].model.predict, runs["pair"].model.translate):
        with pytest.raises(tr.InputError, match="give a list of texts"):
            call(texts)
