"""tinyrnn: recurrent networks on a small tape-based autograd core.

``import tinyrnn as tr`` gives differentiable NumPy (``tr.tensor``, ``tr.tanh``, ``tr.grad`` ...), cells and
layers (``tr.Cell``, ``tr.RNN`` ...), optimisers (``tr.optim``) and trained models (``tr.load``).

What is public stands in ``front.py``, which is imported when one of its names is first asked for: a command's
help needs none of them.
"""

from __future__ import annotations

import importlib
import importlib.util

from .base.version import __version__ as __version__

TYPE_CHECKING = False  # as typing has it, whose import an interruption would meet before there is a command
if TYPE_CHECKING:
    from typing import Any

_LATER = {  # where it is
    "compress": ".tools.compress",
    "load": ".training.experiments", "Run": ".training.run", "train": ".training.run",
    "from_torch": ".tools.pytorch", "to_torch": ".tools.pytorch",
    "from_keras": ".tools.keras", "to_keras": ".tools.keras",
}  # fmt: skip

if TYPE_CHECKING:
    from .front import *
    from .front import __all__ as __all__
else:  # a checker would take every name for one of these

    def __getattr__(name: str) -> Any:
        if name in _LATER:
            return getattr(importlib.import_module(_LATER[name], __name__), name)
        if name == "__all__" or not name.startswith("__"):  # what else Python asks any module for is not here
            if name.isidentifier() and importlib.util.find_spec(f"{__name__}.{name}"):
                return importlib.import_module(f".{name}", __name__)
            front = importlib.import_module(".front", __name__)
            globals().update(
                {k: v for k, v in vars(front).items() if k in front.__all__}, __all__=front.__all__
            )
            if name in globals():
                return globals()[name]
        from .base.elsewhere import missing

        raise AttributeError(missing(f"module {__name__!r}", name))


def __dir__() -> list[str]:
    return sorted([*importlib.import_module(".front", __name__).__all__, "__version__"])
