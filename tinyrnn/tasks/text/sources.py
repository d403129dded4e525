"""Where text comes from: files, folders, standard input, or the documentation that ships inside Python."""

import codecs
import hashlib
import itertools
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ...base.compressed import ENDINGS as COMPRESSED
from ...base.compressed import unpacked
from ...base.errors import InputError, TooLargeError, few
from ...base.files import make_cache_folder, opened, replace_file, temporary_folder
from ...training.screen import note

BUILTIN = "python-docs"  # stands for the default corpus where a source's name is stored
CHUNK = 1 << 22
SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval", "unsup"}
ENDINGS = (".txt", ".csv", ".tsv", ".jsonl")  # of files that a name is looked for


def digest(columns) -> str:
    """Of two columns of text, row by row: other data has another one."""
    return hashlib.sha256(
        "\0".join(f"{a}\1{b}" for a, b in zip(*columns, strict=True)).encode(errors="surrogatepass")
    ).hexdigest()[:16]


def markless(encoding: str) -> str:
    """The encoding that reads the same and drops a byte-order mark."""
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


def decoded(blocks: Iterable[bytes], encoding: str, name, *mends: str) -> Iterator[str]:
    """The text of blocks of bytes, block by block, its line ends as they are.

    Args:
        mends: what to do about bytes that are no text in ``encoding``, and about NUL, which texts do not
            hold.

    Raises:
        InputError: there are such.
    """
    undecodable, binary = mends or ("name its --encoding", "give a file of text, or its --encoding")
    decoder = codecs.getincrementaldecoder(markless(encoding))()
    position = 0
    for block in itertools.chain(blocks, [b""]):
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeError as error:
            near = position + getattr(error, "start", 0)
            said = f"{name} is not {encoding} text (near byte {near}): {undecodable}"
            raise InputError(said) from None
        if "\0" in text:
            raise InputError(f"{name} is a binary file (it holds a NUL character): {binary}")
        position += len(block)
        yield text


def raw_blocks(path: Path) -> Iterator[bytes]:
    """The bytes of a file, or of what is compressed in it, in blocks of bounded size; raises as `unpacked`
    does.
    """
    with unpacked(path) as file:
        while raw := file.read(CHUNK):
            yield raw


def text_of(path: Path, encoding: str, *mends: str) -> str:
    """A whole file, its line ends as they are; raises as `opened` and `decoded` do."""
    try:
        return "".join(decoded(raw_blocks(path), encoding, path, *mends))
    except MemoryError:
        raise TooLargeError(f"{path} does not fit into memory: give a part of it") from None


def with_line_ends(text: str) -> str:
    """The same with every ``\\r\\n`` as ``\\n``, and every ``\\r`` where no line ends otherwise, as on a
    Macintosh of old.
    """
    text = text.replace("\r\n", "\n")
    return text if "\n" in text.rstrip("\r") else text.replace("\r", "\n")


def lines_of(text: str) -> list[str]:
    """Lines that end in ``\\n`` or ``\\r\\n``, in ``\\r`` where none does; no other space ends a line (as it
    would in ``str.splitlines``).
    """
    lines = with_line_ends(text).split("\n")
    return lines if lines[-1] else lines[:-1]


def standard_input() -> bytes:
    """All of it; whoever sits before a terminal is told that it is waited for."""
    if sys.stdin.isatty():
        note("reading standard input: type lines of text, then Ctrl-D (on Windows Ctrl-Z and Enter)")
    return sys.stdin.buffer.read()


_LIKE_A_FILE = re.compile(r"\w[\w-]*\.[a-z]\w{1,4}")


def read_lines(inputs, encoding) -> list[str]:
    """Each of ``inputs`` as a line, or the lines of the file that it names; ``-`` names standard input.

    Raises:
        InputError: a file is not text in ``encoding``, there is nothing in a text or file, or what looks like
            the name of a file is none.
    """
    lines = []
    for given in inputs:
        if given == "-" or os.path.isfile(given):
            name = "standard input" if given == "-" else given
            blocks = [standard_input()] if given == "-" else raw_blocks(Path(given))
            text = "".join(decoded(blocks, encoding, name))
            if not text.strip():
                raise InputError(f"{name} is empty: there is no text in it")
            lines += lines_of(text)
        elif not given:
            raise InputError("a text is empty: give one with something in it, or leave it out")
        elif _names_file(given):
            mend = "give the path of one, a text, or on standard input (-) a text that looks like a path"
            raise InputError(f"{given} is no file: {mend}")
        else:
            if _LIKE_A_FILE.fullmatch(given):
                note(f"{given} is no file: it is read as a text")
            lines.append(given)
    return lines


def _names_file(given: str) -> bool:
    """Whether it is rather the name of a file than a text: by its ending, as that of a folder, or as one word
    in a folder that is there (``9/10`` and ``and/or`` are texts).
    """
    folder = os.path.dirname(given)
    inside = folder and not any(c.isspace() for c in given) and os.path.isdir(folder)
    name = given.lower()
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    return name.endswith(ENDINGS) or name != given.lower() or bool(inside) or os.path.isdir(given)


@dataclass(frozen=True)
class Source:
    """One text: a file, and the name it is shown by."""

    name: str
    path: Path

    def stamp(self) -> list:
        """What changes when the file's content does."""
        with opened(self.path) as file:
            info = os.fstat(file.fileno())
        return [info.st_size, info.st_mtime_ns, info.st_ctime_ns]

    def blocks(self, encoding: str):
        """The text in blocks of bounded size; every kind of line end becomes ``\\n``.

        Raises:
            InputError: the file is not text in ``encoding``.
        """
        held = ""
        mends = "name its --encoding, or use --level byte", "use --level byte"
        for decoded_block in decoded(raw_blocks(self.path), encoding, self.name, *mends):
            # "\r\n" may be cut by the block's end
            text = held + decoded_block
            held = "\r" if text.endswith("\r") else ""
            if text := text[: len(text) - len(held)].replace("\r\n", "\n").replace("\r", "\n"):
                yield text
        if held:
            yield "\n"


def resolve(texts) -> list[Source]:
    """The sources behind TEXT arguments: nothing is the default corpus, ``-`` is standard input, folders are
    searched.

    Raises:
        InputError: a path does not exist or cannot be read, or a folder holds no text file.
    """
    if not texts or list(texts) == [BUILTIN]:
        return [Source(BUILTIN, _stored(builtin_text().encode()))]
    sources = []
    for text in map(str, texts):
        path = Path(text)
        if text == "-":
            sources.append(Source("standard input", _stored(standard_input())))
        elif os.path.isdir(path):
            sources += _folder(path)
        elif not os.path.exists(path):
            raise InputError(f"{text} does not exist: give a text file, a folder, or - for standard input")
        elif not os.access(path, os.R_OK):
            raise InputError(f"{text} cannot be read: check its permissions")
        else:
            sources.append(Source(text, path))
    return sources


def builtin_text() -> str:
    """The English language reference that every CPython carries for its help()."""
    from pydoc_data.topics import topics

    return "\n\n".join(topics[key].strip() for key in sorted(topics)) + "\n"


def _folder(folder: Path) -> list[Source]:
    if not (texts := texts_below(folder)):
        raise InputError(f"folder {folder} holds no text file: give a folder with readable text files")
    return [Source(str(p), p) for p in texts]


def refuse_splits(path: Path, labels: Iterable[str]) -> None:
    """InputError where folders that are taken for labels are the parts of a data set."""
    if (found := sorted(set(labels))) and all(name.lower() in SPLITS for name in found):
        parts = f"{path} holds {few(found)}, which are parts of a data set and no labels"
        raise InputError(f"{parts}: give the one to train on, and --val for the one to validate on")


def texts_below(folder: Path) -> list[Path]:
    """The files of text in a folder and those in it, in order. What is left out is told, with the reason.

    Raises:
        InputError: as `found_below`.
    """
    texts, left_out = found_below(folder)
    if left_out:
        said = "; ".join(f"{len(names):,} {why} ({few(names, 3)})" for why, names in left_out.items())
        note(f"folder {folder}: {len(texts):,} files of text; left out: {said}")
    return texts


def found_below(folder: Path) -> tuple[list[Path], dict[str, list[str]]]:
    """The files of text in a folder and those in it, in order; and what is left out, reason -> names.

    Raises:
        InputError: a folder or a file cannot be read.
    """

    def refuse(error):
        raise InputError(f"folder {error.filename} cannot be read: {error.strerror}")

    texts, left_out = list[Path](), dict[str, list[str]]()
    for parent, folders, files in os.walk(folder, onerror=refuse):
        for name in sorted(folders + files):
            path = Path(parent) / name
            if name.startswith("."):
                why = "hidden"
            elif name in folders and not path.is_symlink():
                continue
            else:
                why = "links to folders" if name in folders else _no_text(path)
            if why:
                left_out.setdefault(why, []).append(os.path.relpath(path, folder))
            else:
                texts.append(path)
        folders[:] = sorted(f for f in folders if not f.startswith("."))
    return texts, left_out


def _no_text(path: Path) -> str:
    """Why a file cannot be read as text; empty: it can."""
    if not path.is_file():
        return "no files"
    with opened(path) as file:  # whoever may not read it is told
        start = file.read(8192)
    if path.suffix.lower() in COMPRESSED:
        try:
            with unpacked(path) as file:
                start = file.read(8192)
        except InputError:
            return "archives of several files, or damaged"
    return "binary" if b"\0" in start else ""


def _stored(data: bytes) -> Path:
    """``data`` as a file of the cache, named by its content."""
    name = hashlib.sha256(data).hexdigest()[:24] + ".txt"
    try:
        path = make_cache_folder("texts") / name
        if not path.exists() or path.stat().st_size != len(data):
            replace_file(path, data)
    except OSError:  # a cache that cannot be written
        path = temporary_folder() / name
        path.write_bytes(data)
    return path
