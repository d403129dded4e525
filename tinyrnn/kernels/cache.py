"""The folder for what can be made again: kernels, generated source, token files."""

import os
import sys
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
