"""Networks as the JSON that RTNeural reads (Chowdhury 2021), a library for sound in real time: layers with
weights as Keras has them, `python/model_utils.py` and `RTNeural/model_loader.h` in its repository.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ...base.errors import InputError
from ...base.version import __version__
from ...nn import RNN, Embedding, Linear, Module
from ...nn.counterparts import kind_of
from ...nn.pytorch import Array
from ...tasks.lm.model import LanguageModel
from ..keras import of_cell
from . import How

ACTIVATIONS = ("tanh", "relu", "sigmoid")  # of a dense layer


def write(model: Any, target: Path, how: How) -> dict[Path, bytes]:
    """The file, of a language model."""
    if how.weights == "int8":
        raise InputError("--weights int8: RTNeural's JSON holds floats: leave it out")
    if not isinstance(model, LanguageModel):
        raise InputError(f"RTNeural's JSON is of language models, not of the task {model.task}: use another")
    return {target: to_rtneural(model).encode()}


def to_rtneural(network: LanguageModel | Iterable[Module | str]) -> str:
    """The JSON of a network: layers in their order, ``[tr.RNN("lstm", 1, 32), tr.Linear(32, 1)]``, where the
    name of an activation, ``"tanh"``, may follow a `Linear`; or of a language model, whose input is 1 for the
    symbol that is read and 0 for the others, its output logits; its symbols stand beside the layers.

    Raises:
        InputError: RTNeural has no such layer or cell.
    """
    beside: dict[str, Any] = {}
    if isinstance(network, LanguageModel):
        if network.adaptive:
            raise InputError("an adaptive softmax cannot be exported: train with --softmax full")
        beside = {"symbols": network.vocabulary.symbols}
        weight = network.embedding.weight.numpy()
        out = weight.T if network.tie else network.output.weight.numpy()
        ends = _dense(weight, np.zeros(weight.shape[1])), _dense(out, network.output.bias.numpy())
        layers = [ends[0], *_recurrent(network.rnn), ends[1]]
        inputs = len(weight)
    else:
        layers, inputs = [], 0
        for part in network:
            layers += _layers(part, layers)
            inputs = inputs or (_inputs(part) if isinstance(part, Module) else 0)
    widths = [inputs] + [layer["shape"][-1] for layer in layers]
    for before, layer in zip(widths, layers, strict=False):
        if len(layer["weights"][0]) != before:
            needs = len(layer["weights"][0])
            raise InputError(
                f"a layer reads {needs} numbers, and the one before it gives {before}: mend the order"
            )
    if not layers:
        raise InputError("there is no layer to write: give some")
    head = {"made_by": f"tinyrnn {__version__}", "in_shape": [None, None, inputs]}
    return json.dumps({**head, "layers": layers, **beside}, ensure_ascii=False)


def _inputs(layer: Any) -> int:
    return layer.cells[0].input_size if isinstance(layer, RNN) else layer.weight.shape[0]


def _layers(part: Any, before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of one part of a network; the name of an activation goes to the layer ``before`` it."""
    if isinstance(part, RNN):
        return _recurrent(part)
    if isinstance(part, Linear):
        bias = np.zeros(part.weight.shape[1]) if part.bias is None else part.bias.numpy()
        return [_dense(part.weight.numpy(), bias)]
    if isinstance(part, Embedding):
        return [_dense(part.weight.numpy(), np.zeros(part.weight.shape[1]))]
    if part in ACTIVATIONS and before and before[-1]["type"] == "dense" and not before[-1]["activation"]:
        before[-1]["activation"] = part
        return []
    what = repr(part) if isinstance(part, str) else f"a {type(part).__name__}"
    known = f"RNN, Linear, Embedding, and after a Linear one of {', '.join(ACTIVATIONS)}"
    raise InputError(f"RTNeural has nothing for {what}: give {known}")


def _dense(weight: Array, bias: Array) -> dict[str, Any]:
    return _layer("dense", "", weight.shape[1], [weight, bias])


def _recurrent(rnn: RNN) -> list[dict[str, Any]]:
    if rnn.directions == 2:
        raise InputError(
            "RTNeural reads step by step, and this network from both ends: train in one direction"
        )
    if any(rnn.regulariser.zoneout):
        raise InputError("zoneout is part of the step, which RTNeural's cells have not: train without")
    layers = []
    for cell in rnn.cells:
        name, options = kind_of(cell)
        if name == "rnn":
            raise InputError("RTNeural has no simple recurrent cell: train with --cell lstm, or gru")
        if name == "gru" and not options["reset_after"]:
            mend = "train with --cell-opt reset_after=true"
            raise InputError(f"gru without reset_after has no counterpart in RTNeural: {mend}")
        layers.append(_layer(name, "tanh", cell.hidden_size, of_cell(cell.state_dict(), name, options)))
    return layers


def _layer(kind: str, activation: str, width: int, weights: list[Array]) -> dict[str, Any]:
    # The shortest decimals of float32, where it is that: they are read as the same numbers.
    said = [np.array([float(str(x)) for x in w.reshape(-1)]).reshape(w.shape).tolist() for w in weights]
    return {"type": kind, "activation": activation, "shape": [None, None, width], "weights": said}
