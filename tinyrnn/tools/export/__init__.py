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

from ...base.errors import InputError
from ...base.files import replace_files
from ...compiler.graph import Graph

FORMS = {  # and what their files are called
    "onnx": "model.onnx", "torch": "model.py", "rtneural": "model.json", "c": "model.c", "html": "model.html",
}  # fmt: skip
TAKES = {  # options that not every form has
    "onnx": ("--sequence",), "torch": ("--sequence",), "c": ("--main", "--max-length", "--weights bfloat16"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class How:
    """How a model is written.

    Attributes:
        weights: "int8": matrices in 8 bits, a scale for each column; of C also "bfloat16"; None: as they are,
            in pages in 8 bits where that changes little.
        main: C has a ``main``.
        max_length: steps of a sequence of numbers that C has room for; None: 1,000.
        sequence: what goes step by step reads whole sequences.
    """

    weights: str | None = None
    main: bool = False
    max_length: int | None = None
    sequence: bool = False


def exported(model: Any, form: str, target: Path, how: How) -> dict[Path, bytes]:
    """The files of a model in one of `FORMS`, the main one ``target``.

    Raises:
        InputError: it has none in that form; the message says why.
        TraceError: the cell cannot be compiled; `CompilerFault`: it uses what has no form there.
    """
    beside = {"--main": how.main, "--max-length": how.max_length, "--sequence": how.sequence}
    beside["--weights bfloat16"] = how.weights == "bfloat16"
    for name in [name for name, given in beside.items() if given and name not in TAKES.get(form, ())]:
        raise InputError(f"--format {form} has no {name}: leave it out")
    return importlib.import_module(f".{form}", __name__).write(model, target, how)


def graphs_of(model: Any, in_bytes: bool, sequence: bool) -> dict[str, Graph]:
    """The graphs of a model out of training, by their names; states are the last of what they take and give.

    Raises:
        InputError: it cannot be written out so.
    """
    model.precision_with("int8" if in_bytes else None)  # refuses other dtypes
    model.eval()
    graphs = model.graphs(over_time=sequence)
    step_by_step = [g for g in graphs.values() if g.states]
    if sequence and not any(x.count and x.over_time for g in step_by_step for x in g.inputs):
        wanted = "its step reads what it said before" if step_by_step else "it reads whole sequences as it is"
        raise InputError(
            f"--sequence is for language models; of the task {model.task}, {wanted}: leave it out"
        )
    for graph in graphs.values():  # states, and what they are next, come last
        new = {name for _, name in graph.states.values()}
        graph.inputs.sort(key=lambda x: x.name in graph.states)
        graph.outputs = dict(sorted(graph.outputs.items(), key=lambda named: named[0] in new))
    return graphs


def first_states(graphs: dict[str, Graph], name: str) -> dict[str, Any]:
    """What the states of one of a model's graphs are to begin with, unless another graph makes them."""
    made = {out for other, graph in graphs.items() if other != name for out in graph.outputs}
    return {state: row for state, (row, _) in graphs[name].states.items() if state not in made}


def step_graph(rnn: Any, output: Callable[..., Any] | None = None) -> Graph:
    """One step of a network of a script: rows ``x`` and its states to ``y``, which ``output``, a layer, makes
    of what an `RNN` gives.

    Raises:
        InputError: the step cannot be written out; the message says why.
    """
    graph = Graph.of(rnn, rnn.cells[0].dtype)
    xs = graph.rows("x", rnn.cells[0].input_size)
    ys, _ = rnn.into(graph, xs, rnn.states_into(graph), keep=True)
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
