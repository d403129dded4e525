"""Where text comes from: files, folders, standard input, or the documentation that ships inside Python."""

import codecs
import hashlib
import itertools
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...base.errors import InputError
from ...base.files import make_cache_folder, replace_file, temporary_folder

BUILTIN = "python-docs"  # stands for the default corpus where a source's name is stored
CHUNK = 1 << 22


def check_encoding(encoding: str):
    """InputError if Python knows no such encoding."""
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise InputError(f"unknown encoding {encoding!r}: use for example utf-8, latin-1 or cp1252") from None


def digest(columns) -> str:
    """Of two columns of text, row by row: other data has another one."""
    return hashlib.sha256("\0".join(f"{a}\1{b}" for a, b in zip(*columns, strict=True)).encode()).hexdigest()[
        :16
    ]


def markless(encoding: str) -> str:
    """The encoding that reads the same and drops a byte-order mark."""
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


@contextmanager
def decoding(path, encoding):
    """A block that reads the file ``path``, in the encoding that is given: InputError if it is not text in
    that encoding.
    """
    check_encoding(encoding)
    try:
        yield markless(encoding)
    except UnicodeError as error:
        near = getattr(error, "start", 0)
        raise InputError(f"{path} is not {encoding} text (near byte {near}): name its --encoding") from None


def read_lines(inputs, encoding) -> list[str]:
    """Each of ``inputs`` as a line, or the lines of the file that it names; without any, those of standard
    input.

    Raises:
        InputError: a file is not text in ``encoding``.
    """
    check_encoding(encoding)
    if not inputs:
        return [line.rstrip("\n") for line in sys.stdin]
    lines = []
    for given in inputs:
        if not os.path.isfile(given):
            lines.append(given)
            continue
        with decoding(given, encoding) as known:
            lines += Path(given).read_text(encoding=known).splitlines()
    return lines


@dataclass(frozen=True)
class Source:
    """One text: a file, and the name it is shown by."""

    name: str
    path: Path

    def stamp(self) -> list:
        """What changes when the file's content does."""
        info = self.path.stat()
        return [info.st_size, info.st_mtime_ns, info.st_ctime_ns]

    def blocks(self, encoding: str):
        """The text in blocks of bounded size; every kind of line end becomes ``\\n``.

        Raises:
            InputError: the file is not text in ``encoding``.
        """
        decoder = codecs.getincrementaldecoder(markless(encoding))()
        position, held = 0, ""
        for raw in itertools.chain(self.raw_blocks(), [b""]):
            try:
                text = held + decoder.decode(raw, final=not raw)
            except UnicodeError as error:
                near = position + getattr(error, "start", 0)
                raise InputError(
                    f"{self.name} is not {encoding} text (near byte {near}): name its --encoding, or use "
                    "--level byte"
                ) from None
            position += len(raw)
            if "\0" in text:
                raise InputError(f"{self.name} is a binary file (it holds a NUL character): use --level byte")
            # "\r\n" may be cut by the block's end
            held = "\r" if raw and text.endswith("\r") else ""
            text = text[: len(text) - len(held)].replace("\r\n", "\n").replace("\r", "\n")
            if text:
                yield text

    def raw_blocks(self):
        """The bytes in blocks of bounded size."""
        with self.path.open("rb") as file:
            while raw := file.read(CHUNK):
                yield raw


def resolve(texts) -> list[Source]:
    """The sources behind TEXT arguments: nothing is the default corpus, ``-`` is standard input, folders are
    searched.

    Raises:
        InputError: a path does not exist or cannot be read, or a folder holds no text file.
    """
    if not texts or list(texts) == [BUILTIN]:
        from pydoc_data.topics import (
            topics,  # the English language reference that every CPython carries for its help()
        )

        text = "\n\n".join(topics[key].strip() for key in sorted(topics)) + "\n"
        return [Source(BUILTIN, _stored(text.encode()))]
    sources = []
    for text in map(str, texts):
        path = Path(text)
        if text == "-":
            sources.append(Source("standard input", _stored(sys.stdin.buffer.read())))
        elif path.is_dir():
            sources += _folder(path)
        elif not path.exists():
            raise InputError(f"{text} does not exist: give a text file, a folder, or - for standard input")
        elif not os.access(path, os.R_OK):
            raise InputError(f"{text} cannot be read: check its permissions")
        else:
            sources.append(Source(text, path))
    return sources


def _folder(folder: Path) -> list[Source]:
    def refuse(error):
        raise InputError(f"folder {error.filename} cannot be read: {error.strerror}")

    found = []
    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        found += [Path(parent) / f for f in sorted(files) if not f.startswith(".")]
    texts = [Source(str(p), p) for p in found if p.is_file() and not _looks_binary(p)]
    if not texts:
        raise InputError(f"folder {folder} holds no text file: give a folder with readable text files")
    return texts


def _looks_binary(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b"\0" in file.read(8192)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


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
