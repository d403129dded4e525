"""Where files that can be made again are kept, and how a file is replaced: whole or not at all."""

import atexit
import functools
import os
import shutil
import sys
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """The user's cache folder for tinyrnn; the environment variable ``TINYRNN_CACHE`` overrides it."""
    if "TINYRNN_CACHE" in os.environ:
        return Path(os.environ["TINYRNN_CACHE"])
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "tinyrnn"


@functools.cache
def temporary_folder() -> Path:
    """Stands in for a cache folder that cannot be written; removed when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="tinyrnn-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def replace_file(path: Path, data: bytes):
    """Put ``data`` at ``path``: a reader, also after a crash, sees the old content or the new. Raises OSError."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
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


def umask() -> int:
    """The process's file mode mask, which can be read only by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
