"""Compressed files (``.gz .bz2 .xz .zip``), read as what is in them."""

import bz2
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import IO, Any

from .errors import InputError, few
from .files import opened

_STREAMS: dict[bytes, Callable[[Any], Any]] = {  # by how files begin
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
_ZIP = b"PK"
ENDINGS = (".gz", ".bz2", ".xz", ".zip")
_DAMAGE = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, gzip.BadGzipFile, NotImplementedError)


def inner_name(path: Path) -> str:
    """The name of what is in a file: ``a.csv`` of ``a.csv.gz``, of an archive that of its only member, of any
    other file its own.

    Raises:
        InputError: as `unpacked` does.
    """
    if path.suffix.lower() == ".zip":
        with opened(path) as file, _refusing(path), zipfile.ZipFile(file) as archive:
            return PurePath(_only_member(path, archive)).name
    return path.stem if path.suffix.lower() in ENDINGS else path.name


@contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """A block that reads the bytes of a file that a user named; of a compressed one those that are in it.

    Raises:
        InputError: as `tinyrnn.base.files.opened`; it is damaged, encrypted, or an archive of several files.
    """
    ending = path.suffix.lower()
    with opened(path) as file:
        start = file.read(6)
        file.seek(0)
        found = next((how for begin, how in _STREAMS.items() if start.startswith(begin)), None)
        tar = Path(path.stem if ending in ENDINGS else path).suffix.lower() == ".tar"
        if tar or ending in (".tgz", ".tbz2", ".txz"):
            raise InputError(
                f"{path} is an archive of files: unpack it, and give the folder or one of the files"
            )
        if ending == ".zip" and start.startswith(_ZIP):
            with (
                _refusing(path),
                zipfile.ZipFile(file) as archive,
                archive.open(_only_member(path, archive)) as member,
            ):
                yield member
        elif found is not None:
            with _refusing(path), found(file) as stream:
                yield stream
        elif ending in ENDINGS and start:
            raise InputError(f"{path} ends in {ending} and is no such file: rename it, or fetch it again")
        else:
            yield file


def _only_member(path: Path, archive: zipfile.ZipFile) -> str:
    names = [n for n in archive.namelist() if not n.endswith("/") and not _is_hidden(n)]
    if len(names) != 1:
        holds = f"holds {len(names)} files ({few(names, 3)})" if names else "holds no file"
        raise InputError(f"{path} {holds}: unpack it, and give the folder or one of the files")
    if archive.getinfo(names[0]).flag_bits & 1:
        raise InputError(f"{path} is encrypted: unpack it first")
    return names[0]


def _is_hidden(name: str) -> bool:
    return name.startswith("__MACOSX/") or PurePath(name).name.startswith(".")


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise InputError(f"{path} is damaged or cut short ({error}): fetch or pack it again") from None
