"""The gates of any cell: the sigmoids of its equations, read from the tape of its step."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autograd import Tensor
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
        layer = next_states(rnn.cell_step(cell, x, old), (x,), old)
        sigmoids = [node.output[0] for node in _nodes(layer) if _name(node) == "sigmoid"]
        gates.append([np.array(to_device(gate, "cpu")) for gate in sigmoids])
        new.append(tuple(s.detach() for s in layer))
        x = new[-1][0]
    return x, new, gates


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
