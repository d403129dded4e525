"""ONNX files."""

import json

from ...base.errors import InputError
from ...compiler.targets.onnx import Onnx
from . import How
from .step import Step


def write(model, target, how: How) -> dict:
    """The file."""
    return {target: to_onnx(model, how.weights == "int8")}


def to_onnx(model, in_bytes=False) -> bytes:
    """An ONNX file: ids int64 ``[B]`` and the states ``[B, size]`` to ``logits`` ``[B, vocabulary]`` and the
    new states.

    Its metadata holds the vocabulary and the states to begin with, as JSON. ``in_bytes``: matrices have 8
    bits, with a scale for each column (of an embedding, each row).

    Raises:
        InputError: onnx is not installed; 8 bits of a model that is not float32.
        TraceError: the cell cannot be compiled; `CompilerFault`: it uses what has no form there.
    """
    try:
        import onnx
    except ImportError:
        raise InputError("--format onnx needs onnx: pip install 'tinyrnn[onnx]'") from None
    target = Onnx(onnx, model.embedding.weight.dtype, "ids")
    step = Step(model, target, in_bytes)
    outputs = [("logits", len(model.vocabulary), step.logits)]
    outputs += [
        (f"new_{name}", size, new) for (name, size, _), new in zip(step.states, step.news, strict=True)
    ]
    facts = {
        "vocabulary": model.vocabulary.to_json(),
        "initial_states": {n: v.tolist() for n, _, v in step.states},
    }
    facts = {k: json.dumps(v, ensure_ascii=False) for k, v in facts.items()}
    return target.model([state[:2] for state in step.states], outputs, facts)
