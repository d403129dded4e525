"""Trained models for places where tinyrnn is not: one module for each form, found by its name.

What is written comes from the tapes of the steps, as compiled loops do: so every cell can be exported that
compiles. A module has ``write(model, target, how)``, which returns the files, path -> bytes, the one that is
named last, and may `note` what there is to say of them.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# and what their files are called
FORMS = {"onnx": "model.onnx", "torch": "model.py", "rtneural": "model.json", "html": "model.html"}


@dataclass(frozen=True, kw_only=True)
class How:
    """How a model is written.

    Attributes:
        weights: "int8": matrices in 8 bits, a scale for each column; None: as they are, in pages in 8 bits
            where that changes little.
    """

    weights: str | None = None


def exported(model: Any, form: str, target: Path, how: How) -> dict[Path, bytes]:
    """The files of a model in one of `FORMS`, the main one ``target``.

    Raises:
        InputError: it has none in that form; the message says why.
        TraceError: the cell cannot be compiled; `CompilerFault`: it uses what has no form there.
    """
    return importlib.import_module(f".{form}", __name__).write(model, target, how)
