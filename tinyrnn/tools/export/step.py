"""One step of a language model, from ids and states to logits and new states, as a target writes it."""

import numpy as np

from ...base.errors import InputError, TraceError
from ...compiler.ir import Kind, Source, order
from ...compiler.products import recorded_step
from ...kernels.references import quantised


class Step:
    """One step of a language model, written by a target.

    Attributes:
        logits: what stands for them.
        states: (name, width, values to begin with) of every state; ``news``: what stands for their next
            values.
    """

    def __init__(self, model, target, in_bytes):
        if model.task != "lm":
            raise InputError("this format writes language models only: use --format html")
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
