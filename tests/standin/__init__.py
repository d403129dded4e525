"""Where the stand-in for CuPy is found, and how: as the package ``cupy``, while a test uses it."""

import importlib
import sys
from pathlib import Path

_modules = {}


def modules():
    """Its modules by name, loaded once; they are in `sys.modules` only where a fixture put them."""
    if not _modules:
        kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "cupy"}
        sys.path.insert(0, str(Path(__file__).parent))
        try:
            importlib.import_module("cupy")
            _modules.update({n: m for n, m in sys.modules.items() if n.split(".")[0] == "cupy"})
        finally:
            sys.path.remove(str(Path(__file__).parent))
            for name in _modules:
                del sys.modules[name]
            sys.modules.update(kept)
    return _modules
