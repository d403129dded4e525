"""Where files that can be made again are kept, and how a file is replaced: whole or not at all."""

import atexit
import contextlib
import errno
import functools
import hashlib
import json
import os
import re
import shlex
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .errors import InputError, TooLargeError, shown

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
    variable, usual = {"win32": ("LOCALAPPDATA", "AppData/Local"), "darwin": ("", "Library/Caches")}.get(
        sys.platform, ("XDG_CACHE_HOME", ".cache")
    )
    try:
        return (_folder_in(variable) or Path.home() / usual) / "tinyrnn"
    except RuntimeError:  # a user without HOME whom the system does not know, as in some containers
        return Path(tempfile.gettempdir()) / f"tinyrnn-{getattr(os, 'getuid', int)()}"


def _folder_in(variable: str) -> Path | None:
    """The folder that an environment variable names; one that is empty counts as unset."""
    value = os.environ.get(variable, "")
    return Path(value) if value.strip() else None


class SharedFolder(PermissionError):
    """A cache folder where somebody else could have put what would be run; ``strerror`` says so and what to
    do.
    """


def refuse_shared(part: str = "") -> None:
    """Raise `SharedFolder` if the cache folder or one on the way to its sub-folder ``part`` is somebody
    else's, or others can write to it: kernels are stored as pickles, and whoever writes one has his code run
    by whoever reads it.

    On Windows nothing is asked: the usual folder lies in the user's profile, where nobody else can write.
    """
    folders = [cache_folder()]
    folders += [folders[0].joinpath(*Path(part).parts[: n + 1]) for n in range(len(Path(part).parts))]
    for folder in folders if hasattr(os, "geteuid") else ():
        try:
            found = folder.stat()
        except FileNotFoundError:
            return
        if found.st_uid not in (0, os.geteuid()):  # the superuser could change Python itself
            said = f"{folder} belongs to somebody else, and code that it holds would be run"
            raise SharedFolder(errno.EPERM, f"{said}: set TINYRNN_CACHE to a folder of your own")
        if found.st_mode & 0o022:
            said = f"others can write to {folder}, and code that it holds would be run"
            raise SharedFolder(errno.EPERM, f"{said}: chmod -R go-w {shlex.quote(str(folder))}")


def make_cache_folder(part: str = "") -> Path:
    """The cache folder's sub-folder ``part``, made if it is not there, open to nobody else.

    A folder that tinyrnn makes, or finds empty, gets the marker. One that holds anything else does not: it
    may be somebody's project, which backups must not pass over.

    Raises:
        SharedFolder: it is not safe to run what it holds.
        OSError: it cannot be made.
    """
    root = cache_folder()
    for folder in dict.fromkeys((root, root / part)):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        refuse_shared(part)
        if folder != root and folder.stat().st_mode & 0o077 and not folder.is_symlink():
            with contextlib.suppress(PermissionError):  # the superuser's, for all to read
                folder.chmod(0o700)  # of an earlier version, which made it as the umask had it
        if not any(folder.iterdir()):
            replace_file(folder / MARKER, _TAG)
    return root / part


def cache_size() -> int:
    """Bytes in what tinyrnn keeps in the cache folder."""
    parts = (cache_folder() / part for part in _MADE)
    return sum(path.stat().st_size for part in parts for path in part.rglob("*") if path.is_file())


def clear_cache() -> tuple[dict[str, int], list[str]]:
    """Delete what tinyrnn made in the cache folder, and nothing else: files whose names are of its forms, in
    folders that bear its marker or lie in one that does. Links are not followed.

    Returns:
        How many files were deleted, by sub-folder; and what else the folder holds, which is left as it is.
        Raises OSError.
    """
    root = cache_folder()
    if not root.is_dir():
        return {}, []
    deleted: dict[str, int] = {}
    left: list[str] = []
    marked = _is_marked(root)
    for part, made in _MADE.items():
        path = root / part
        if path.is_symlink():
            if marked:  # in our own cache a link stands for a sub-folder: it goes, what it leads to stays
                path.unlink(missing_ok=True)
                deleted[part] = 1
        elif path.is_dir() and (marked or _is_marked(path)):
            if count := _sweep(path, re.compile(made)):
                deleted[part] = count
            _remove_marker(path)
    if marked:
        _remove_marker(root)
        deleted[MARKER] = 1
    for path in sorted(root.iterdir()):
        inside = path.name in _MADE and path.is_dir() and not path.is_symlink()
        left += [f"{path.name}/{p.name}" for p in sorted(path.iterdir())] if inside else [path.name]
    return deleted, left


def _is_marked(folder: Path) -> bool:
    marker = folder / MARKER
    return marker.is_file() and not marker.is_symlink() and b"made by tinyrnn" in marker.read_bytes()


def _remove_marker(folder: Path) -> None:
    """Of a folder that was cleared, and a sub-folder that this empties."""
    if _is_marked(folder):
        (folder / MARKER).unlink(missing_ok=True)
    if folder != cache_folder():
        _remove_if_empty(folder)


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # another process puts something there, or was quicker
        folder.rmdir()


def _sweep(folder: Path, made: re.Pattern[str], above: str = "") -> int:
    """Delete the files in ``folder`` and the folders in it whose names ``made`` matches, and the folders in
    it that are empty then; how many files.
    """
    deleted = 0
    for path in list(folder.iterdir()):
        if path.is_symlink():
            continue
        if path.is_dir():
            if not above:
                deleted += _sweep(path, made, f"{path.name}/")
                _remove_if_empty(path)
        elif made.fullmatch(_whole_name(above + path.name)):
            path.unlink(missing_ok=True)
            deleted += 1
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
    """Put ``data`` at ``path``: a reader, also after a crash, sees the old content or the new. A link there
    is replaced, not followed. Raises OSError, which names ``path``.
    """
    replace_files({path: data})


def replace_files(files: dict[Path, bytes]) -> None:
    """As `replace_file`, for several that are of use only together, the last of which names the others: a
    reader never sees that one beside others than it was written with. Raises OSError.
    """
    written: dict[Path, str] = {}
    path = Path()
    try:
        for path, data in files.items():  # all that takes room comes first
            descriptor, written[path] = tempfile.mkstemp(
                dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL
            )
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(written[path], 0o666 & ~umask())  # mkstemp's files are readable by their owner alone
        if len(files) > 1:
            path.unlink(missing_ok=True)
        for path in files:
            os.replace(written[path], path)
            del written[path]
    except BaseException as error:  # also on Ctrl-C: no half-written file may stay
        for temporary in written.values():
            os.unlink(temporary)
        if isinstance(error, OSError):
            error.filename = str(path)
        raise


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A block that reads the bytes of a file that a user named.

    Raises:
        InputError: it is gone or cannot be read, or is a folder, a pipe or a device, which may never end.
        TooLargeError: what is read of it does not fit into memory.
    """
    if "\0" in str(path):
        raise InputError(f"{shown(str(path))} is no path: give that of a file")
    try:
        with _regular(path) as file:
            yield file
    except OSError as error:
        said = error.strerror or error
        raise InputError(f"{path} cannot be read ({said}): check that it is there, and a file") from None
    except MemoryError:
        raise TooLargeError(f"{path} does not fit into memory: give a part of it") from None


@contextmanager
def _regular(path: Path) -> Iterator[IO[bytes]]:
    """A file that is open for reading. Raises OSError, also for a pipe or a device."""

    def without_waiting(path: str, flags: int) -> int:
        return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for who writes to it

    with open(path, "rb", opener=without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError("it is a pipe or a device, no file")
        yield file


def is_safetensors(path: Path) -> bool:
    """Whether a file of tensors is at ``path``: after the size of its header that begins, a JSON object."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(9)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") <= path.stat().st_size


def read_file(path: Path) -> bytes:
    """What is in a file. Raises OSError, also for a folder, a pipe or a device, of which there is no end."""
    with _regular(path) as file:
        try:
            return file.read()
        except MemoryError:
            raise OSError("it does not fit into memory") from None


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
    is killed loses it. Or None and the number of the process that has it.

    Raises:
        OSError: it cannot be locked, or there is something else: a link, a file that holds more than the
            number of a process.
    """

    def itself(path: str, flags: int) -> int:
        return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)

    while True:
        file = open(path, "a+", encoding="latin-1", opener=itself)  # noqa: SIM115 (it stays open)
        file.seek(0)
        if re.fullmatch(r"\d*\n?", file.read(32)) is None or os.fstat(file.fileno()).st_nlink > 1:
            file.close()
            raise OSError(errno.EEXIST, "it is no lock of tinyrnn's")
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
