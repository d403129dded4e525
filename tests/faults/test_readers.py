"""What damaged data found, kind by kind: each is read, or refused in one sentence that names the file."""

import json
import os
import random
import re
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from tinyrnn.base.errors import InputError
from tinyrnn.cli import main
from tinyrnn.tasks.classify.reader import read_examples
from tinyrnn.tasks.forecast.series import read_series
from tinyrnn.tasks.forecast.task import Forecasting
from tinyrnn.tasks.text import corpus, sources
from tinyrnn.tasks.text.options import ReadingOptions
from tinyrnn.tasks.text.vocabulary import BytePairs
from tinyrnn.tasks.translate.reader import read_pairs
from tinyrnn.training.experiments import Configuration

READERS = {
    "lm": (".txt", lambda path: corpus.load(sources.resolve([path]))),
    "folder": ("", lambda path: corpus.load(sources.resolve([path]))),
    "csv": (".csv", lambda path: read_examples([path])),
    "jsonl": (".jsonl", lambda path: read_examples([path])),
    "forecast": (".csv", read_series),
    "translate": (".tsv", lambda path: read_pairs([path])),
}
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="has no such files")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYRNN_CACHE", str(tmp_path / "cache"))


@POSIX
@pytest.mark.parametrize(
    "what", ["pipe", "/dev/zero", "/dev/full", "loop", "nowhere", "long", "below a file"]
)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_refused_at_once(tmp_path, reader, what):
    ending, read = READERS[reader]
    path = tmp_path / f"x{ending}"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "long":
        path = tmp_path / ("a" * 300 + ending)
    elif what == "below a file":
        path.touch()
        path = path / f"y{ending}"
    else:
        path.symlink_to({"loop": path, "nowhere": tmp_path / "nothing"}.get(what, what))
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@POSIX
@pytest.mark.parametrize("what", ["pipe", "/dev/zero", "huge"])
def test_a_configuration_is_an_ordinary_file(tmp_path, what):
    path = tmp_path / "x.toml"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "huge":
        with path.open("wb") as file:
            file.truncate(10 * 10**9)  # refused at its first block, before memory is full
    else:
        path.symlink_to(what)
    result = CliRunner().invoke(main, ["train", "--config", str(path)])
    assert result.exit_code == 2 and "x.toml" in result.stderr and "Traceback" not in result.stderr


@POSIX
@pytest.mark.parametrize("reader", ["lm", "csv", "jsonl", "forecast", "translate"])
def test_a_huge_file_of_nothing_is_refused_at_its_first_block(tmp_path, reader):
    ending, read = READERS[reader]
    with (tmp_path / f"x{ending}").open("wb") as file:
        file.truncate(10 * 10**9)
    with pytest.raises(InputError, match="is a binary file"):
        read(tmp_path / f"x{ending}")


@pytest.mark.parametrize(
    "name", ["idna", "punycode", "unicode_escape", "raw_unicode_escape", "utf-8\n", "hex"]
)
def test_encodings_are_those_of_files(name):
    with pytest.raises(InputError, match="use an encoding of texts"):
        ReadingOptions(encoding=name)
    result = CliRunner().invoke(main, ["train", "--encoding", name, "x.txt"])
    assert result.exit_code == 2 and "use an encoding of texts" in result.stderr.splitlines()[-1]


@pytest.mark.parametrize("row", ["[" * 5000, '{"text": ' * 5000], ids=["list", "object"])
def test_nesting_without_end_in_json_lines(tmp_path, row):
    (tmp_path / "x.jsonl").write_text(row + "\n")
    with pytest.raises(InputError, match="x.jsonl row 1.*every row must be one JSON object"):
        read_examples([tmp_path / "x.jsonl"])


@pytest.mark.parametrize(
    "text",
    ["x = " + "[" * 5000, "a." * 5000 + "b = 1", "[train]\ncell-opt." + "a." * 3000 + "b = 1",
     "x = " + "9" * 5000, "train = " + "9" * 4000, "\0", "\udc80"],
    ids=["lists", "tables", "options", "digits", "a number for a table", "NUL", "bytes"],
)  # fmt: skip
def test_strange_configurations_are_one_sentence(tmp_path, text):
    (tmp_path / "x.toml").write_bytes(text.encode(errors="surrogateescape"))
    result = CliRunner().invoke(main, ["train", "--config", str(tmp_path / "x.toml")])
    said = result.stderr.splitlines()[-1]
    assert result.exit_code == 2 and said.startswith("Error: ") and "x.toml" in said and len(said) < 500


def test_a_configuration_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "x.toml").write_bytes(b"\xef\xbb\xbfhidden = 5\r\nlr = 'fast'\r\n")
    result = CliRunner().invoke(main, ["train", "--config", str(tmp_path / "x.toml")])
    assert "x.toml: lr is 'fast'" in result.stderr


@pytest.mark.parametrize("key", ["digest", "meta", "missing", "vocabulary", "dtype", "tokens", "symbols"])
@pytest.mark.parametrize("value", [None, 5, "x", [], {}, "nested"])
def test_a_damaged_cache_of_tokens_is_made_anew(tmp_path, text_file, key, value):
    before = corpus.load(sources.resolve([text_file]))
    (stored,) = (tmp_path / "cache" / "tokens").glob("*.json")
    found = json.loads(stored.read_text())
    within = next(
        part
        for part in (found, found["meta"], found["meta"]["vocabulary"])
        if isinstance(part, dict) and key in part
    )
    within[key] = value
    stored.write_text("[" * 5000 if value == "nested" else json.dumps(found))
    after = corpus.load(sources.resolve([text_file]))
    assert (
        np.array_equal(before.tokens, after.tokens) and before.vocabulary.symbols == after.vocabulary.symbols
    )
    assert before.fingerprint == after.fingerprint


def test_a_text_that_changes_while_it_is_read_is_refused(text_file, monkeypatch):
    """Else its new symbols, which the vocabulary lacks, would be left out in silence."""
    found = sources.resolve([text_file])
    encode = corpus.vocabularies.Characters.encode

    def changing(self, text):
        text_file.write_text("Quite another text.\n" * 50)
        return encode(self, text)

    monkeypatch.setattr(corpus.vocabularies.Characters, "encode", changing)
    with pytest.raises(InputError, match=r"text\.txt: changed while it was read"):
        corpus.load(found)


def test_a_text_that_vanishes_while_it_is_read(text_file):
    found = sources.resolve([text_file])
    text_file.unlink()
    with pytest.raises(InputError, match=r"text\.txt cannot be read"):
        corpus.load(found)


def test_no_text_takes_the_square_of_its_length():
    """A run without a space is one word for the library of byte pairs, which counts it in the square."""
    for text in ("a" * 100_000, "\n" * 100_000, "\N{COMBINING ACUTE ACCENT}" * 50_000):
        vocabulary = BytePairs.build(iter([text]), None)
        assert max(map(len, vocabulary.bytes)) <= 4 * BytePairs.LONGEST
        assert vocabulary.decode(vocabulary.encode(text)) == text


def test_byte_pairs_of_ordinary_texts_are_what_they_were():
    """Blocks are cut only where there is such a run."""
    words = random.Random(0).choices("the quick brown fox jumps over a lazy dog".split(), k=5000)
    text = " ".join(words)
    whole, cut = (BytePairs.build(iter(blocks), 300) for blocks in ([text], [text[:9000], text[9000:]]))
    assert len(text) > 2 * BytePairs.LONGEST and whole.to_json() != cut.to_json()
    longer = BytePairs.build(iter([text + " "]), 300)
    assert longer.symbols == whole.symbols


def series(tmp_path, *rows):
    path = tmp_path / "x.csv"
    path.write_text("\n".join(["date,v", *rows]) + "\n")
    return path


@pytest.mark.parametrize(
    ("number", "said"),
    [
        ("1e308", "is beyond 1e+100"),
        ("-1e101", "is beyond"),
        ("1e400", "beyond 1e+100"),
        ("nan", "is no number"),
    ],
)
def test_numbers_that_cannot_be_computed_with(tmp_path, number, said):
    path = series(tmp_path, "2012-01-01,1", f"2012-01-02,{number}", "2012-01-03,2")
    with pytest.raises(InputError, match="x.csv row 3: column 'v' holds .*" + re.escape(said)):
        read_series(path)


def test_a_series_has_several_rows(tmp_path):
    with pytest.raises(InputError, match=r"x\.csv has one row of data"):
        read_series(series(tmp_path, "2012-01-01,1"))
    with pytest.raises(InputError, match=r"x\.csv has no rows of data"):
        read_series(series(tmp_path))


def test_lags_beyond_the_series(tmp_path):
    path = series(tmp_path, *(f"2012-01-{i + 1:02},{i * i % 7}" for i in range(31)))
    options = dict(difference="99999999999", horizon=2, window=4, hidden=4)
    with pytest.raises(InputError, match=r"x\.csv: 31 rows are too few.*differences take 99999999999"):
        Configuration.make("forecast", [path], options).trainer(None, "cpu")


def test_values_far_beyond_those_of_training(tmp_path):
    """They would be infinite in float32."""
    path = series(
        tmp_path, *(f"2012-01-{i + 1:02},{i * i % 7 if i < 25 else 10.0 ** (3 * i)}" for i in range(31))
    )
    with pytest.raises(InputError, match=r"x\.csv: column 'v' goes more than 1e\+15 deviations beyond"):
        Configuration.make("forecast", [path], dict(horizon=2, window=4, hidden=4)).trainer(None, "cpu")


def test_a_window_of_one_row_holds_no_step(tmp_path):
    """Of its rows none is forecast from the one before: the loss was the mean of nothing."""
    with pytest.raises(InputError, match="window is 1: it must be an integer of at least 2"):
        Configuration.make("forecast", ["x.csv"], dict(window=1))


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_arrays_without_numbers(shape):
    with pytest.raises(InputError, match="the data of task forecast is"):
        Forecasting.store(np.zeros(shape))


def test_messages_stay_short_however_long_the_names_are(tmp_path):
    for name, read in (
        ("x.csv", lambda path: read_series(path, target="a")),
        ("y.csv", lambda p: read_examples([p])),
    ):
        (tmp_path / name).write_text(",".join(f"{i}{'b' * 300}" for i in range(2000)) + "\n1\n2\n")
        with pytest.raises(InputError) as caught:
            read(tmp_path / name)
        assert name in str(caught.value) and len(str(caught.value)) < 1500
