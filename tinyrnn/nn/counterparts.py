"""Which of our cells other libraries have as well, and the weights of these as PyTorch has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..autograd import relu, tanh
from ..base.errors import InputError
from . import registry
from .cell import Cell
from .pytorch import BIASES, GATES, PARTS, Array, array_of, cell_of_torch, suffix


def kind_of(cell: Cell) -> tuple[str, dict[str, Any]]:
    """The name of a built-in cell that other libraries have, and its options.

    Raises:
        InputError: they have no such cell.
    """
    of: Any = cell
    name = next((n for n in GATES.values() if type(cell) is registry.get_cell(n)), "")
    if name == "lstm" and not of.peephole:
        return name, {}
    if name == "gru":
        return name, {"reset_after": of.reset_after}
    if name == "rnn" and of.activation in (tanh, relu):
        return name, {"activation": "tanh" if of.activation is tanh else "relu"}
    what = {"lstm": "lstm with a peephole", "rnn": "rnn with a sigmoid"}.get(name, type(cell).__name__)
    raise InputError(
        f"the cell {what} has no counterpart there: lstm, gru, and rnn with tanh or relu have one"
    )


def torch_kind(cell: Cell) -> tuple[str, dict[str, Any]]:
    """`kind_of`, of cells that PyTorch has: its GRU is that with ``reset_after``."""
    name, options = kind_of(cell)
    if options.get("reset_after") is False:
        mend = "make it with cell_options={'reset_after': True} (in a command --cell-opt reset_after=true)"
        raise InputError(f"gru without reset_after has no counterpart in PyTorch: {mend}")
    return name, options


def torch_of_cell(cell: Cell) -> dict[str, Array]:
    """Of one of our cells ``weight_ih weight_hh bias_ih bias_hh``; InputError as `torch_kind`."""
    name, _ = torch_kind(cell)
    own = cell.state_dict()
    b_hh = np.zeros_like(own["b"])
    if name == "gru":
        b_hh[-cell.hidden_size :] = own["b_hn"]
    return {"weight_ih": own["W"].T, "weight_hh": own["U"].T, "bias_ih": own["b"], "bias_hh": b_hh}


def renamed(cells: Sequence[Cell], directions: int, state: Mapping[str, Any]) -> dict[str, Any]:
    """A state dict of `RNN` of one of ``nn.RNN``, ``nn.LSTM`` or ``nn.GRU``; what has another name stays."""
    found = dict(state)
    for i, cell in enumerate(cells):
        end = suffix(i, directions)
        own = {part: array_of(part + end, found.pop(part + end)) for part in PARTS if part + end in found}
        if own.keys() >= PARTS - BIASES:
            here = cell_of_torch(torch_kind(cell)[0], own)
            found |= {f"cells.{i}.{name}": array for name, array in here.items()}
    return found
