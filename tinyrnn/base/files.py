"""Where files that can be made again are kept, and how a file is replaced: whole or not at all."""

import atexit
import errno
import functools
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

PARTIAL = ".tinyrnn-partial"  # ends the names of files that are being written
_NO_DIGEST = "0" * 64
_DIGEST = re.compile(rb'"digest":"([0-9a-f]{64})"')  # inside a text of the metadata its quotes are escaped
MARKER = "CACHEDIR.TAG"  # https://bford.info/cachedir: programs that make backups pass over such a folder
_TAG = b"""Signature: 8a477f597d28d172789f06886806bc55
# This folder was made by tinyrnn: all that tinyrnn keeps in it is made again when needed.
# tinyrnn doctor --clear-cache deletes that, and nothing else.
"""
# The sub-folders of the cache, and what tinyrnn writes there (names relative to the sub-folder): nothing else
# is deleted.
_PYTHON = r"{name}\.py|__pycache__/{name}\.[\w-]+\.pyc(\.\d+)?"
_MADE = {
    "kernels": r"[0-9a-f]{16}/[^/]+\.nb[ic](\.tmp\.[0-9a-f]+)?",
    "generated": _PYTHON.format(name=r"\w+_[0-9a-f]{16}"),
    "texts": r"[0-9a-f]{24}\.txt",
    "tokens": r"[0-9a-f]{24}\.(bin|json)|tmp\w{8}/tokens",
    "reports": _PYTHON.format(name=r"fault_[0-9a-f]+"),
}


def cache_folder() -> Path:
    """The user's cache folder for tinyrnn; the environment variable ``TINYRNN_CACHE`` overrides it."""
    if own := _folder_in("TINYRNN_CACHE"):
        return own
    if sys.platform == "win32":
        base = _folder_in("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = _folder_in("XDG_CACHE_HOME") or Path.home() / ".cache"
    return base / "tinyrnn"


def _folder_in(variable: str) -> Path | None:
    """The folder that an environment variable names; one that is empty counts as unset."""
    value = os.environ.get(variable, "")
    return Path(value) if value.strip() else None


def make_cache_folder(part: str = "") -> Path:
    """The cache folder's sub-folder ``part``, made if it is not there. Raises OSError.

    A folder that tinyrnn makes, or finds empty, gets the marker. One that holds anything else does not: it
    may be somebody's project, which backups must not pass over.
    """
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.iterdir()):
        replace_file(folder / MARKER, _TAG)
    made = folder / part
    made.mkdir(parents=True, exist_ok=True)
    return made


def cache_size() -> int:
    """Bytes in what tinyrnn keeps in the cache folder."""
    parts = (cache_folder() / part for part in _MADE)
    return sum(path.stat().st_size for part in parts for path in part.rglob("*") if path.is_file())


def clear_cache() -> tuple[dict[str, int], list[str]]:
    """Delete what tinyrnn made in the cache folder, and nothing else; links are not followed.

    Returns:
        How many files were deleted, by sub-folder; and what else the folder holds, which is left as it is.
        Raises OSError.
    """
    folder = cache_folder()
    if not folder.is_dir():
        return {}, []
    deleted: dict[str, int] = {}
    left: list[str] = []
    marker = folder / MARKER
    marked = marker.is_file() and not marker.is_symlink() and b"made by tinyrnn" in marker.read_bytes()
    for part, made in _MADE.items():
        path = folder / part
        if path.is_symlink():
            if marked:  # in our own cache a link stands for a sub-folder: it goes, what it leads to stays
                path.unlink()
                deleted[part] = 1
        elif path.is_dir() and (count := _sweep(path, re.compile(made), marked)):
            deleted[part] = count
    if marked:
        marker.unlink()
        deleted[MARKER] = 1
    for path in sorted(folder.iterdir()):
        inside = path.name in _MADE and path.is_dir() and not path.is_symlink()
        left += [f"{path.name}/{p.name}" for p in sorted(path.iterdir())] if inside else [path.name]
    return deleted, left


def _sweep(folder: Path, made: re.Pattern[str], marked: bool, above: str = "") -> int:
    """Delete the files in ``folder`` and the folders in it whose names ``made`` matches, and the folders that
    this empties.
    """
    deleted = 0
    for path in list(folder.iterdir()):
        if path.is_symlink():
            continue
        if path.is_dir():
            deleted += 0 if above else _sweep(path, made, marked, f"{path.name}/")
        elif made.fullmatch(_whole_name(above + path.name)):
            path.unlink()
            deleted += 1
    if (deleted or marked) and not any(folder.iterdir()):
        folder.rmdir()
    return deleted


def _whole_name(name: str) -> str:
    """Of a file that `replace_file` was writing when its process was killed: the name that it would have
    got.
    """
    partial = re.fullmatch(r"(.*/)?\.([^/]+)\.\w{8}" + re.escape(PARTIAL), name)
    return (partial[1] or "") + partial[2] if partial else name


@functools.cache
def temporary_folder() -> Path:
    """Stands in for a cache folder that cannot be written; removed when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="tinyrnn-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def replace_file(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path``: a reader, also after a crash, sees the old content or the new. Raises
    OSError.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~umask())  # mkstemp's files are readable by their owner alone
        os.replace(temporary, path)
    except BaseException:  # also on Ctrl-C: no half-written file may stay
        os.unlink(temporary)
        raise


def is_safetensors(path: Path) -> bool:
    """Whether a file of tensors is at ``path``: after the size of its header that begins, a JSON object."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(9)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") <= path.stat().st_size


def read_file(path: Path) -> bytes:
    """What is in a file. Raises OSError, also for a folder, a pipe or a device, of which there is no end."""
    if path.exists() and not path.is_file():
        raise OSError("it is no file")
    return path.read_bytes()


def parsed(text: bytes) -> Any:
    """What JSON says. Raises ValueError: it is none, is nested too deeply, or holds half a character."""
    try:
        found = json.loads(text.decode())
        json.dumps(found, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return found


def digest_of(entries: dict[str, Any]) -> str:
    """SHA-256 of what JSON can say."""
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()


def sealed(data: bytes) -> bytes:
    """A safetensors file with a ``digest`` in its metadata: SHA-256 of the whole file, in which the digest
    itself stands as zeros.
    """
    data = sorted_header(data, digest=_NO_DIGEST)
    digest = hashlib.sha256(data).hexdigest()
    return data.replace(f'"digest":"{_NO_DIGEST}"'.encode(), f'"digest":"{digest}"'.encode(), 1)


def is_whole(data: bytes) -> bool | None:
    """Whether a safetensors file is as `sealed` left it; None: it bears no digest."""
    found = _DIGEST.search(data, 8, 8 + int.from_bytes(data[:8], "little"))
    if found is None:
        return None
    blank = data[: found.start(1)] + _NO_DIGEST.encode() + data[found.end(1) :]
    return hashlib.sha256(blank).hexdigest() == found[1].decode()


def sorted_header(data: bytes, **more: str) -> bytes:
    """A safetensors file with ``more`` entries in its metadata, and all of them in order: the library writes
    them in another order in each process, and equal runs are to have equal files.
    """
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    if entries := header.pop("__metadata__", {}) | more:  # which come first, as the library has them
        header = {"__metadata__": dict(sorted(entries.items())), **header}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def lock_file(path: Path) -> tuple[IO[str] | None, str]:
    """The file at ``path``, open and locked by the operating system for as long as it is open: a process that
    is killed loses it. Or None and the number of the process that has it. Raises OSError.
    """
    while True:
        file = path.open("a+", encoding="ascii")
        try:
            _lock(file)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip()
            file.close()
            if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                raise  # locks are beyond this file system
            return None, holder
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            break
        file.close()  # who had it removed it meanwhile
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file, ""


def _lock(file: IO[str]) -> None:
    if sys.platform == "win32":
        import msvcrt

        file.seek(1 << 20)  # behind what is written: a locked part cannot be read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        return
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def umask() -> int:
    """The process's file mode mask, which can be read only by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
