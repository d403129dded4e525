"""The gates of any cell: the sigmoids of its equations, read from the tape of its step."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..autograd import Tensor
from ..autograd.tape import ITEM
from ..base.devices import to_device
from ..compiler import next_states
from .rnn import RNN


def step_and_gates(rnn: RNN, x: Tensor, states: Sequence[Any]) -> tuple[Tensor, list[Any], list[list[Any]]]:
    """One step of an `RNN`, and what its gates were.

    Args:
        x: ``[B, input_size]``, not recorded.
        states: of each layer, as from ``rnn.initial_state(B)``.

    Returns:
        The output ``[B, H]`` and the next states, cut off from the tape, and for each layer the values
        ``[B, n]`` of its sigmoids, in the order of the cell's equations.
    """
    new, gates = [], []
    for cell, old in zip(rnn.cells, states, strict=True):
        old = [s.detach() for s in old]  # a state's own past, or how it was made, holds no gate of this step
        layer = next_states(rnn.cell_step(cell, x, old), (x,), old)
        sigmoids = [node.output[0] for node in _nodes(layer) if _name(node) == "sigmoid"]
        gates.append([np.array(to_device(gate, "cpu")) for gate in sigmoids])
        new.append(tuple(s.detach() for s in layer))
        x = new[-1][0]
    return x, new, gates


def gate_names(rnn: RNN, x: Tensor, states: Sequence[Any]) -> list[list[str]]:
    """For each layer the names of the sigmoids that `step_and_gates` gives, as the cell has them by
    `Cell.name_gates`; empty where none is known.

    A sigmoid has the name of the columns that reach it by sums and products alone, if these are those of one
    gate: so ``o`` is found in ``sigmoid(o + p c)`` too, whatever went into c.
    """
    found = []
    for cell, old in zip(rnn.cells, states, strict=True):
        layer = next_states(rnn.cell_step(cell, x, old), (x,), [s.detach() for s in old])
        own = dict(cell.named_parameters())
        gated = {own[name].node: len(columns) for name, columns in cell.gate_columns().items()}
        numbers = [
            {
                part.params["i"]
                for part in _linear(node)
                if part.op is ITEM
                and any(gated.get(n) == len(part.parents[0].shape) for n in _linear(part.parents[0]))
            }
            for node in _nodes(layer)
            if _name(node) == "sigmoid"
        ]
        found.append([cell.gate_names[min(n)] if len(n) == 1 else "" for n in numbers])
        x = layer[0].detach()
    return found


def _linear(node: Any) -> Iterator[Any]:
    """The nodes that ``node`` is made of by sums and products, down to where something else is done."""
    left, seen = list(node.parents), set[Any]()
    while left:
        node = left.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            left += node.parents if _name(node) in ("add", "subtract", "multiply", "matmul") else ()


def _name(node: Any) -> str:
    return str(getattr(node.op, "name", ""))


def _nodes(tensors: Sequence[Tensor]) -> list[Any]:
    """All nodes that ``tensors`` were made by, in order."""
    found: dict[int, Any] = {}
    left: list[Any] = [t.node for t in tensors]
    while left:
        node = left.pop()
        if node is not None and node.number not in found:
            found[node.number] = node
            left += node.parents
    return [found[number] for number in sorted(found)]
