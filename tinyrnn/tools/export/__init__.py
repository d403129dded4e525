"""Trained models for places where tinyrnn is not: one module for each form, found by its name.

What is written comes from the tapes of the steps, as compiled loops do: so every cell can be exported that
compiles. A module has ``write(model, target, how)``, which returns the files, path -> bytes, the one that is
named last, and may `note` what there is to say of them.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...base.errors import InputError
from ...base.files import replace_files
from ...compiler.graph import Graph

FORMS = {"onnx": "model.onnx", "torch": "model.py", "c": "model.c"}  # and what their files are called


@dataclass(frozen=True, kw_only=True)
class How:
    """How a model is written.

    Attributes:
        weights: "int8": matrices in 8 bits, a scale for each column; of C also "bfloat16"; None: as they are.
        main: C has a ``main``.
        max_length: steps of a sequence of numbers that C has room for; None: 1,000.
    """

    weights: str | None = None
    main: bool = False
    max_length: int | None = None


def exported(model: Any, form: str, target: Path, how: How) -> dict[Path, bytes]:
    """The files of a model in one of `FORMS`, the main one ``target``.

    Raises:
        InputError: it has none in that form; the message says why.
        TraceError: the cell cannot be compiled; `CompilerFault`: it uses what has no form there.
    """
    if form in ("onnx", "torch"):
        if not hasattr(model, "generate"):
            raise InputError(f"--format {form} writes language models only: use another format")
        beside = {"--main": how.main, "--max-length": how.max_length, "bfloat16": how.weights == "bfloat16"}
        for name in [name for name, given in beside.items() if given]:
            raise InputError(f"--format {form} has no {name}: leave it out")
    return importlib.import_module(f".{form}", __name__).write(model, target, how)


def step_graph(rnn: Any, output: Callable[..., Any] | None = None) -> Graph:
    """One step of a network of a script: rows ``x`` and its states to ``y``, which ``output``, a layer, makes
    of what an `RNN` gives.

    Raises:
        InputError: the step cannot be written out; the message says why.
    """
    names = {id(p): name.replace(".", "_") for name, p in rnn.named_parameters()}
    graph = Graph(np.dtype(rnn.cells[0].dtype), names)
    init = [
        tuple(graph.state(f"{name}_{i}", s) for name, s in zip(cell.states, layer, strict=True))
        for i, (cell, layer) in enumerate(zip(rnn.cells, rnn.initial_state(1), strict=True))
    ]
    ys, final = rnn.into(graph, graph.rows("x", rnn.cells[0].input_size), init)
    for item, new in zip(rnn.flat(init), rnn.flat(final), strict=True):
        graph.keep(item, new)
    graph.output("y", ys if output is None else graph.call(lambda y: output(y), ys))
    return graph


def write_step(path: Any, rnn: Any, output: Callable[..., Any] | None = None, **how: Any) -> list[Path]:
    """Write one step of a network of a script, as `step_graph` has it, in C.

    Args:
        path: of the source; the header stands beside it.
        how: of `How`.
    """
    replace_files(files := exported(step_graph(rnn, output), "c", Path(path), How(**how)))
    return [*files]
