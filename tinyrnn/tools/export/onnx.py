"""ONNX files: one for each graph of a model."""

import json

from ...base.errors import InputError
from ...compiler.targets.onnx import Onnx
from ...training import runs
from . import How, first_states, graphs_of


def write(model, target, how: How) -> dict:
    """The files: the last graph in ``target``, any other beside it as ``NAME-GRAPH.onnx``."""
    made = to_onnx(model, how.weights == "int8", how.sequence)
    *others, _ = made
    paths = [target.with_stem(f"{target.stem}-{name}") for name in others]
    for path in paths:
        runs.refuse_foreign(path, "model.onnx")
    return dict(zip([*paths, target], made.values(), strict=True))


def to_onnx(model, in_bytes=False, sequence=False) -> dict[str, bytes]:
    """An ONNX file of each of a model's graphs, by their names: of a language model ``step``, ids int64
    ``[B]`` and the states ``[B, size]`` to ``logits [B, symbols]`` and the new states.

    Their metadata holds the model's facts (vocabulary, labels, scaling) and the states to begin with, as
    JSON. ``in_bytes``: matrices have 8 bits, with a scale for each column (of an embedding, each row).
    ``sequence``: whole sequences where there would be one step.

    Raises:
        InputError: onnx is not installed; 8 bits of a model that is not float32; it cannot be written out.
        CompilerFault: it uses what has no form there.
    """
    try:
        import onnx
    except ImportError:
        raise InputError("--format onnx needs onnx: pip install 'tinyrnn[onnx]'") from None
    found = {}
    graphs = graphs_of(model, in_bytes, sequence)
    for name, graph in graphs.items():
        given = graph.inputs[0]
        target = Onnx(onnx, graph.dtype, given.name, int(given.over_time))
        made = target.graph(graph, in_bytes)
        outputs = {out: (item, made[out]) for out, item in graph.outputs.items()}
        facts = {"task": model.task, **model.facts()}
        if first := first_states(graphs, name):
            facts["initial_states"] = {state: row.tolist() for state, row in first.items()}
        told = {k: json.dumps(v, ensure_ascii=False) for k, v in facts.items()}
        found[name] = target.model(graph.inputs, outputs, told, name)
    return found
