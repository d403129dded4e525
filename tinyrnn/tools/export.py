"""Trained language models for other libraries: one step, from ids and states to logits and new states.

What is written comes from the tape of each cell's step, as the compiled loop does: so every cell can be
exported that compiles.
"""

import json

import numpy as np

from ..base.errors import InputError, TraceError
from ..compiler.ir import Kind, Source, order
from ..compiler.products import recorded_step
from ..compiler.targets.onnx import Onnx
from ..compiler.targets.torch import Torch
from ..kernels.references import quantised


class _Step:
    """One step of a language model, written by a target.

    Attributes:
        logits: what stands for them.
        states: (name, width, values to begin with) of every state; ``news``: what stands for their next
            values.
    """

    def __init__(self, model, target, in_bytes):
        if model.adaptive:
            raise InputError("an adaptive softmax cannot be exported: train with --softmax full")
        model.precision_with("int8" if in_bytes else None)  # refuses other dtypes
        model.eval()
        self.model, self.target, self.states, self.news = model, target, [], []
        self.in_bytes = in_bytes
        x = target.rows(self._matrix("embedding", model.embedding.weight.numpy(), 0), "ids")
        for layer, cell in enumerate(model.rnn.cells):
            x = self._cell(layer, cell, x)
        weight = model.embedding.weight.numpy().T if model.tie else model.output.weight.numpy()
        y = target.product(x, self._matrix("output_weight", weight, 1), False)
        bias = target.constant("output_bias", model.output.bias.numpy()[None])
        self.logits = target.op("add", y, bias)

    def _matrix(self, name, array, axis):
        """What stands for a matrix, of which in 8 bits each row (axis 0) or each column (1) has a scale."""
        if not self.in_bytes:
            return self.target.constant(name, array)
        return self.target.scaled(name, *quantised(np.ascontiguousarray(array), 1 - axis, 127), axis)

    def _cell(self, layer, cell, x):
        """Write the step of a cell; returns what stands for its output."""
        init = [s.numpy() for s in cell.initial_state(1)]
        row = np.zeros((1, cell.input_size), init[0].dtype)
        step = self.model.rnn.cell_step(cell, row, cell.initial_state(1))
        recording = recorded_step(lambda x, *states: step((x,), *states), row, init)
        if recording.draws:
            raise TraceError("the cell draws random numbers, which an exported step cannot")
        rows = [s.reshape(1, -1) for s in init]
        own = [(f"{name}_{layer}", s.shape[1], s[0]) for s, name in zip(rows, cell.states, strict=True)]
        named = {id(p): name.replace(".", "_") for name, p in cell.named_parameters()}

        def given(v):
            """What stands for an input of the cell's step."""
            source, i = v.attr
            if source is Source.ARGUMENT:
                return self.target.number(recording.numbers[i])
            if source is not Source.CLOSURE:
                return x if source is Source.X else own[i][0]
            tensor = recording.closures[i]  # a parameter, or something made of parameters alone
            array, name = tensor.numpy(), named.get(id(tensor), f"constant_{i}")
            if not v.height and array.shape != (1, v.width):
                array, name = array.reshape(1, -1), name + "_row" * (array.ndim > 1)
            name = f"layer_{layer}_{name}"
            return self._matrix(name, array, 1) if v in matrices else self.target.constant(name, array)

        program = recording.program
        matrices = {v.inputs[1] for v in order(program.news) if v.kind is Kind.MATMUL}
        made = {v: given(v) for v in order(program.news) if v.kind is Kind.INPUT}
        news = self.target.walk(program.news, made)
        self.states += own
        self.news += news
        return news[0]


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
    step = _Step(model, target, in_bytes)
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


def to_torch(model, weights: str, in_bytes=False) -> tuple[str, dict]:
    """Source of a PyTorch module that does the same, and its arrays, to be stored in the safetensors file
    named ``weights``; ``in_bytes`` as in `to_onnx`.

    Raises:
        InputError: 8 bits of a model that is not float32.
        TraceError: the cell cannot be compiled; `CompilerFault`: it uses what has no form there.
    """
    target = Torch(model.embedding.weight.dtype)
    step = _Step(model, target, in_bytes)
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
