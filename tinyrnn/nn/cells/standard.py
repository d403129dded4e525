"""Which cells are what other libraries have as one operation."""

from typing import Any

import numpy as np

from ...autograd import Tensor
from ...autograd.pointwise import as_tensor
from ...autograd.types import ArrayLike
from ...compiler.graph import Standard
from .. import Cell
from .gru import GRU
from .lstm import LSTM
from .rnn import RNN

ACTIVATIONS = {"tanh": "Tanh", "relu": "Relu", "sigmoid": "Sigmoid"}


def standard(cell: Cell) -> Standard | None:
    """What ``cell`` is, None if it is of any other class: a subclass may have another step."""
    if type(cell) is RNN:
        name = ACTIVATIONS[cell.activation.__name__]
        return _standard("RNN", "h", cell.W, cell.U, cell.b, activation=name)
    if type(cell) is LSTM:
        rows = {"i": cell.p_i, "f": cell.p_f, "o": cell.p_o} if cell.peephole else {}
        peepholes = {gate: p.numpy() for gate, p in rows.items()} or None
        return _standard("LSTM", "ifgo", cell.W, cell.U, cell.b, peepholes=peepholes)
    if type(cell) is not GRU:
        return None
    if not cell.reset_after:
        R = np.concatenate([cell.U.numpy(), cell.U_n.numpy()], axis=1)
        return _standard("GRU", "rzn", cell.W, R, cell.b)
    found = _standard("GRU", "rzn", cell.W, cell.U, cell.b, reset_after=True)
    found.b_R[2 * cell.hidden_size :] = cell.b_hn.numpy()
    return found


def _standard(kind: str, gates: str, W: Tensor, R: ArrayLike, b: Tensor, **more: Any) -> Standard:
    return Standard(kind, gates, W.numpy(), as_tensor(R).numpy(), b.numpy(), np.zeros_like(b.numpy()), **more)
