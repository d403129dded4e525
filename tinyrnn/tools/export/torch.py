"""PyTorch modules, as source and a file of weights."""

import json

import numpy as np
from safetensors.numpy import save

from ...compiler.targets.torch import Torch
from ...training import runs
from . import How
from .step import Step


def write(model, target, how: How) -> dict:
    """The source, and the weights beside it."""
    arrays_file = target.with_suffix(".safetensors")
    # even in a run folder: it may be the checkpoint that is exported
    runs.refuse_foreign(arrays_file, "model.safetensors")
    source, arrays = to_torch(model, arrays_file.name, how.weights == "int8")
    return {arrays_file: save(arrays, {"tinyrnn": "export"}), target: source.encode()}


def to_torch(model, weights: str, in_bytes=False) -> tuple[str, dict]:
    """Source of a PyTorch module that does the same, and its arrays, to be stored in the safetensors file
    named ``weights``; ``in_bytes`` as in `to_onnx`.

    Raises:
        InputError: 8 bits of a model that is not float32.
        TraceError: the cell cannot be compiled; `CompilerFault`: it uses what has no form there.
    """
    target = Torch(model.embedding.weight.dtype)
    step = Step(model, target, in_bytes)
    names = [name for name, _, _ in step.states]
    initial = {f"initial_{name}": np.ascontiguousarray(value) for name, _, value in step.states}
    arrays, body = target.constants | initial, "\n        ".join(target.lines)
    cell = type(model.rnn.cells[0]).__name__
    source = f'''"""One step of a language model trained with tinyrnn ({cell}), in PyTorch.

    model = Step()
    states = model.initial_states(1)
    logits, *states = model(ids, *states)  # ids int64 [B]; states [B, size]: {", ".join(names)}

The ids are indices into SYMBOLS. All arrays but the initial states are parameters: \
the module can be trained on.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file

SYMBOLS = {json.dumps(model.vocabulary.symbols, ensure_ascii=True)}


class Step(torch.nn.Module):
    def __init__(self, weights=Path(__file__).parent / {weights!r}):
        super().__init__()
        arrays = load_file(weights)
        for name, array in arrays.items():
            if name + ".scale" in arrays:  # stored in 8 bits
                array = array * arrays[name + ".scale"]
            if name.startswith("initial_"):
                self.register_buffer(name, array)
            elif not name.endswith(".scale"):
                self.register_parameter(name, torch.nn.Parameter(array))

    def number(self, x):
        return torch.full((1, 1), x, dtype=self.embedding.dtype, device=self.embedding.device)

    def initial_states(self, batch):
        return [s.expand(batch, -1) for s in ({", ".join(f"self.initial_{name}" for name in names)},)]

    def forward(self, ids, {", ".join(names)}):
        {body}
        return {", ".join([step.logits, *step.news])}
'''
    return source, arrays
