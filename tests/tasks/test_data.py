"""Sources, vocabularies, the token cache, and windows."""

import bz2
import gzip
import io
import json
import lzma
import os
import sys
import tarfile
import zipfile

import numpy as np
import pytest

import tinyrnn as tr
from tinyrnn.tasks.lm import windows
from tinyrnn.tasks.text import corpus, sources, vocabulary


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYRNN_CACHE", str(tmp_path / "cache"))


def write(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def load(*paths, **options):
    return corpus.load(sources.resolve([str(p) for p in paths]), **options)


MIXED = "Grüße, 世界!\nA naïve café\r\nold mac\rend 🙂\n"


@pytest.mark.parametrize("level", ["char", "byte", "word", "token", "bpe"])
def test_tokens_decode_to_the_text(tmp_path, level):
    c = load(write(tmp_path / "a.txt", MIXED), level=level)
    text = c.vocabulary.decode(c.tokens)
    expected = MIXED if level == "byte" else MIXED.replace("\r\n", "\n").replace("\r", "\n")
    assert text == expected
    decode = c.vocabulary.decoder()
    assert "".join(decode(i) for i in c.tokens) == expected
    assert c.vocabulary.characters(c.tokens) == len(expected)
    again = vocabulary.from_json(c.vocabulary.to_json())
    assert again.decode(c.tokens) == expected


@pytest.mark.parametrize("level", ["char", "word", "token", "bpe"])
@pytest.mark.parametrize("chunk", [1, 2, 3, 7])
def test_block_borders_change_nothing(tmp_path, monkeypatch, level, chunk):
    whole = load(write(tmp_path / "a.txt", MIXED * 3), level=level)
    monkeypatch.setattr(sources, "CHUNK", chunk)
    cut = load(write(tmp_path / "b.txt", MIXED * 3), level=level)
    assert cut.vocabulary.symbols == whole.vocabulary.symbols
    np.testing.assert_array_equal(cut.tokens, whole.tokens)


def test_prepared_corpora_are_counted_as_others_count_them(tmp_path):
    """As the Penn Treebank is written: a space before each line and before its end, ``<unk>`` a token."""
    text = " the <unk> of N 's co. \n the end of the \n"
    c = load(write(tmp_path / "a.txt", text), level="token")
    assert len(c.tokens) == len(text.replace("\n", "<eos>").split()) == 12
    assert c.vocabulary.symbols == ["<unk>", "<eos>", "'s", "N", "co.", "end", "of", "the"]
    assert c.vocabulary.decode(c.tokens) == "the <unk> of N 's co.\nthe end of the\n"
    assert c.vocabulary.encode("a <unk> the\n").tolist() == [0, 0, 7, 1]
    two = load(write(tmp_path / "a.txt", text), level="token", vocab_size=4)
    assert two.vocabulary.symbols == ["<unk>", "<eos>", "of", "the"]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-8-sig"])
def test_encodings(tmp_path, encoding):
    c = load(write(tmp_path / "a.txt", "Grüße und Äpfel", encoding), encoding=encoding)
    assert c.vocabulary.decode(c.tokens) == "Grüße und Äpfel"


def test_byte_order_mark_is_no_text(tmp_path):
    c = load(write(tmp_path / "a.txt", "abc", "utf-8-sig"))
    assert c.vocabulary.symbols == ["a", "b", "c"]


def test_tokens_take_the_smallest_type(tmp_path):
    assert load(write(tmp_path / "a.txt", "abc")).tokens.dtype == np.uint8
    many = "".join(map(chr, range(0x4E00, 0x4E00 + 300)))
    assert load(write(tmp_path / "b.txt", many)).tokens.dtype == np.uint16


def test_tokens_are_memory_mapped(tmp_path):
    assert isinstance(load(write(tmp_path / "a.txt", "abc")).tokens, np.memmap)


def test_folders_are_read_in_order_without_hidden_or_binary_files(tmp_path):
    folder = tmp_path / "f"
    for name, text in {
        "b.txt": "two",
        "a/x.txt": "one\n",
        ".hidden": "no",
        ".git/config": "no",
        "c.bin": "\0\1",
    }.items():
        write(folder / name, text)
    c = load(folder)
    assert c.vocabulary.decode(c.tokens) == "two\none\n"


def test_the_cache_notices_a_changed_file(tmp_path):
    path = write(tmp_path / "a.txt", "abcabc")
    first = load(path)
    assert load(path).fingerprint == first.fingerprint
    write(path, "abcabd")
    second = load(path)
    assert second.vocabulary.decode(second.tokens) == "abcabd"
    assert second.fingerprint != first.fingerprint
    assert len(list((tmp_path / "cache" / "tokens").glob("*.bin"))) == 1


def test_a_damaged_token_file_is_made_again(tmp_path):
    path = write(tmp_path / "a.txt", "abcabc")
    load(path)
    (binary,) = (tmp_path / "cache" / "tokens").glob("*.bin")
    binary.write_bytes(b"x")
    c = load(path)
    assert c.vocabulary.decode(c.tokens) == "abcabc"


def test_without_a_cache_tokens_go_to_the_temporary_folder(tmp_path, monkeypatch):
    blocked = write(tmp_path / "blocked", "a file")
    monkeypatch.setenv("TINYRNN_CACHE", str(blocked / "cache"))
    c = load(write(tmp_path / "a.txt", "abc"))
    assert c.vocabulary.decode(c.tokens) == "abc"


def test_vocabulary_size_keeps_the_most_frequent(tmp_path):
    path = write(tmp_path / "a.txt", "aaa bbb c")
    assert load(path, vocab_size=4).vocabulary.unknown is None
    c = load(path, vocab_size=3)
    assert c.vocabulary.symbols == [vocabulary.UNKNOWN, "a", "b"]
    assert c.vocabulary.decode(c.tokens) == "aaa�bbb��"
    words = load(write(tmp_path / "b.txt", "the cat and the dog and the end"), level="word", vocab_size=3)
    assert words.vocabulary.symbols == ["<unk>", " and", " the"]


def test_symbols_outside_the_vocabulary(tmp_path):
    c = load(write(tmp_path / "a.txt", "hello"))
    assert c.vocabulary.missing("hölle ö") == ["ö", " "]
    assert c.vocabulary.decode(c.vocabulary.encode("hölle")) == "hlle"


def test_the_default_corpus_is_python_documentation():
    c = corpus.load(sources.resolve([]))
    text = c.vocabulary.decode(c.tokens[:200_000])
    assert len(c.tokens) > 400_000
    assert "assignment" in text


@pytest.mark.shared
def test_thousands_of_chinese_characters(corpora):
    c = load(corpora / "tang-poems.txt")
    assert len(c.vocabulary) > 4000
    assert c.tokens.dtype == np.uint16
    assert c.vocabulary.decode(c.tokens) == (corpora / "tang-poems.txt").read_text(encoding="utf-8")


# ------------------------------------------------------------------ windows


def test_windows_continue_each_other_and_cover_the_text():
    tokens = np.arange(1000, dtype=np.uint16)
    w = windows.Windows(tokens, batch_size=4, seq_len=10, seed=3)
    assert (w.batch_size, w.per_epoch) == (4, 24)
    seen = []
    for k in range(w.per_epoch):
        x, y, fresh = w[k]
        assert x.shape == y.shape == (10, 4)
        assert fresh == (k == 0)
        np.testing.assert_array_equal(y, x + 1)
        if k:
            np.testing.assert_array_equal(x[0], last + 1)  # noqa: F821 (set below)
        last = x[-1]  # noqa: F841
        seen += x.ravel().tolist()
    assert len(set(seen)) == len(seen) == 960


def test_epochs_start_at_other_offsets_that_depend_on_the_seed_alone():
    tokens = np.arange(1000)
    a, b, c = (windows.Windows(tokens, 4, 10, seed) for seed in (0, 0, 1))
    starts = [a[e * a.per_epoch][0][0, 0] for e in range(20)]
    assert len(set(starts)) > 3
    assert starts == [b[e * b.per_epoch][0][0, 0] for e in range(20)]
    assert starts != [c[e * c.per_epoch][0][0, 0] for e in range(20)]


@pytest.mark.parametrize("n", [11, 12, 21, 57, 100, 999])
@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_any_text_of_one_window_trains(n, batch_size):
    w = windows.Windows(np.arange(n), batch_size, 10, seed=5)
    for k in range(3 * w.per_epoch):
        x, y, _ = w[k]
        assert x.shape == (10, w.batch_size)
        assert x.min() >= 0
        assert y.max() < n


@pytest.mark.parametrize("n", [2, 5, 10, 11, 57, 100, 1001])
@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_evaluation_sees_every_token_once(n, batch_size):
    targets = np.concatenate(
        [y.ravel() for _, y, _ in windows.evaluation_windows(np.arange(n), batch_size, 10)]
    )
    np.testing.assert_array_equal(np.sort(targets), np.arange(1, n))


def test_a_text_shorter_than_a_window_is_an_error():
    with pytest.raises(tr.InputError, match="--seq-len 5"):
        windows.Windows(np.arange(11), 4, 100)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind here")
def test_unreadable_folder(tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir(mode=0)
    with pytest.raises(tr.InputError, match="cannot be read"):
        sources.resolve([str(folder)])


def test_byte_pairs(tmp_path):
    text = "the theatre there, these themes: " * 20 + "Ünï ☃ 詩 \t\n"
    corpus = load(write(tmp_path / "a.txt", text), level="bpe", vocab_size=270)
    v = corpus.vocabulary
    assert (
        len(v) == 270
        and v.decode(corpus.tokens) == text
        and " the" in v.symbols
        and len(corpus.tokens) < len(text) / 2
    )
    assert v.characters(corpus.tokens) == len(text) and v.missing("☂") == []
    decode = v.decoder()
    assert "".join(decode(i) for i in corpus.tokens) == text
    again = vocabulary.from_json(json.loads(json.dumps(v.to_json())))
    np.testing.assert_array_equal(again.encode("☂ theatre"), v.encode("☂ theatre"))
    assert again.decode(again.encode("☂ theatre")) == "☂ theatre"
    with pytest.raises(tr.InputError, match="--vocab-size 100: for --level bpe it must be at least 257"):
        load(write(tmp_path / "a.txt", text), level="bpe", vocab_size=100)


def test_byte_pairs_without_their_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(tr.InputError, match=r"--level bpe needs tokenizers: pip install 'tinyrnn\[bpe\]'"):
        load(write(tmp_path / "a.txt", "some text"), level="bpe")


def test_what_a_given_vocabulary_lacks_is_told_also_from_the_cache(tmp_path, capsys):
    known = load(write(tmp_path / "a.txt", "abc" * 50)).vocabulary
    path = write(tmp_path / "b.txt", "abxcay" * 9)
    for _ in range(2):  # the second time from the cache
        assert load(path, vocabulary=known).missing == ["x", "y"]
        assert "not in this model's vocabulary, left out: 'x' 'y'" in capsys.readouterr().err


def test_nothing_is_no_text(tmp_path):
    empty = write(tmp_path / "empty.txt", " \n")
    for given, said in (([""], "a text is empty"), ([str(empty)], "there is no text in it")):
        with pytest.raises(tr.InputError, match=said):
            sources.read_lines(given, "utf-8")


# ------------------------------------------------------------------ compressed, and mixed folders


def zipped(*names):
    def pack(data):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name in names:
                archive.writestr(name, data)
        return file.getvalue()

    return pack


PACKED = {
    "a.txt.gz": gzip.compress,
    "a.txt.bz2": bz2.compress,
    "a.txt.xz": lzma.compress,
    "a.zip": zipped("in/a.txt", "__MACOSX/._a.txt"),
}


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("level", ["char", "byte", "word", "token"])
def test_a_compressed_text_is_what_is_in_it(tmp_path, name, level):
    path, plain = tmp_path / name, write(tmp_path / "plain.txt", MIXED)
    path.write_bytes(PACKED[name](MIXED.encode()))
    assert load(path, level=level).fingerprint == load(plain, level=level).fingerprint
    assert sources.read_lines([str(path)], "utf-8") == sources.read_lines([str(plain)], "utf-8")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(tr.InputError, match=rf"{name} is damaged"):
        load(path)
    with pytest.raises(tr.InputError, match="is no file"):
        sources.read_lines(["nowhere.txt.gz"], "utf-8")


def test_archives_of_several_files_are_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped("a.txt", "b.txt")(b"text"))
    write(tmp_path / "x.txt", "text")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "x.txt", "x.txt")
    (tmp_path / "a.tgz").write_bytes((tmp_path / "a.tar.gz").read_bytes())
    for name in ("a.zip", "a.tar.gz", "a.tgz"):
        with pytest.raises(tr.InputError, match=r"unpack it, and give the folder or one of the files"):
            load(tmp_path / name)


def test_what_a_folder_leaves_out_is_told(tmp_path, capsys):
    folder = tmp_path / "f"
    write(folder / "a.txt", "one\n")
    (folder / "b.txt.gz").write_bytes(gzip.compress(b"two\n"))
    assert load(folder).vocabulary.decode(load(folder).tokens) == "one\ntwo\n"
    assert capsys.readouterr().err == ""  # nothing was left out
    for name in ("c.png", "d.png", "in/e.png", "in/f.png"):
        write(folder / name, "\0")
    (folder / "g.png.gz").write_bytes(gzip.compress(b"\0"))
    (folder / "h.zip").write_bytes(zipped("a.txt", "b.txt")(b"text"))
    (folder / "i.txt.bz2").write_bytes(b"BZh9 no such file")
    write(folder / ".hidden", "no")
    write(folder / ".git/config", "no")
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe")
    assert load(folder).vocabulary.decode(load(folder).tokens) == "one\ntwo\n"
    said = capsys.readouterr().err
    assert f"folder {folder}: 2 files of text; left out: " in said
    assert "2 hidden (.git, .hidden)" in said and "5 binary (c.png, d.png, g.png.gz and 2 more)" in said
    assert "2 archives of several files, or damaged (h.zip, i.txt.bz2)" in said
    assert not hasattr(os, "mkfifo") or "1 no files (pipe)" in said
    for path in (folder / "a.txt", folder / "b.txt.gz"):
        path.unlink()
    with pytest.raises(tr.InputError, match="holds no text file"):
        load(folder)


def test_a_lone_return_ends_a_line_only_where_nothing_else_does():
    assert sources.lines_of("a\rb\nc\r\nd\r") == ["a\rb", "c", "d\r"]
    assert sources.lines_of("a\rb\r") == ["a", "b"] and sources.lines_of("a\r") == ["a"]


@pytest.mark.parametrize("level", ["char", "byte", "word", "token", "bpe"])
def test_the_part_of_a_text_that_is_known(level):
    v = vocabulary.build_vocabulary(["some good text " * 20] * 2, level, None)
    assert v.known("some text") == 1 and v.known("") == v.known(" \n") == 0
    assert v.known("some qqq") == {"char": 4 / 7, "word": 0.5, "token": 0.5}.get(level, 1)
