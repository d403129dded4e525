"""Matrices that become sparse while they are trained: gradual magnitude pruning (Zhu & Gupta 2017)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..autograd import Tensor
from ..base.devices import array_module, to_device
from ..nn import Module

EVERY = 10  # steps between two prunings


def sparsity(step: int, end: int, final: float, initial: float = 0.0, start: int = 0) -> float:
    """The part of a matrix that is 0 after ``step`` steps: Zhu & Gupta 2017, equation 1, in which pruning goes
    from ``start`` to ``end`` = t0 + n dt.
    """
    over = min(max((step - start) / (end - start), 0.0), 1.0)
    return final + (initial - final) * (1 - over) ** 3


class Pruning:
    """Which weights of a model's matrices are 0, and stay so.

    Each matrix for itself loses its smallest weights, so that none is emptied because its numbers are small
    throughout, as layer normalisation allows. What is gone gets no gradient and stays 0 exactly, whatever an
    optimiser's momentum or a cell's ``constrain`` says. Matrices that are not trained by gradients are left
    as they are.

    Args:
        final: the part of each matrix that is 0 in the end.
        end: the step from which on that is so.
    """

    def __init__(self, model: Module, final: float, end: int) -> None:
        self.final, self.end = final, end
        self.matrices = model.matrices()
        self.gone: dict[str, Any] = {}  # of each matrix where it is 0, from its first pruning on

    def sparsity(self, step: int) -> float:
        """After so many steps."""
        return sparsity(step, self.end, self.final)

    def mask_gradients(self) -> None:
        """Take away the gradients of what is gone, which would count in their norm."""
        for name, gone in self.gone.items():
            if (p := self.matrices[name]).grad is not None:
                p.grad = Tensor(array_module(gone).where(gone, p.grad.dtype.type(0), p.grad.data))

    def after(self, step: int) -> None:
        """Prune if it is time after ``step`` steps, the last of which has left its gradients; and set to 0
        what is gone.
        """
        if step <= self.end and (step % EVERY == 0 or step == self.end):
            for name, p in self.matrices.items():
                if p.grad is not None:
                    self.gone[name] = smallest(p.data, self.sparsity(step), self.gone.get(name))
        for name, gone in self.gone.items():
            p = self.matrices[name]
            array_module(gone).copyto(p.data, 0, where=gone)
            p.mark_changed()

    def arrays(self) -> dict[str, Any]:
        """What is gone, by the names of the matrices: a bit a weight."""
        return {name: np.packbits(to_device(gone, "cpu")) for name, gone in self.gone.items()}

    def load_arrays(self, arrays: Mapping[str, Any]) -> None:
        """Go on from what ``arrays`` returned; ValueError if it is of another model."""
        for name, bits in arrays.items():
            p = self.matrices.get(name)
            if p is None or bits.dtype != np.uint8 or bits.shape != (-(-p.size // 8),):
                raise ValueError(f"it is of another model: its pruning of {name!r} has another size")
            gone = np.unpackbits(bits, count=p.size).astype(bool).reshape(p.shape)
            self.gone[name] = to_device(gone, p.device)


def smallest(x: Any, part: float, gone: Any = None) -> Any:
    """Where the smallest numbers of ``x`` are, a ``part`` of all: exactly so many, and what is ``gone`` among
    them, however many that is.
    """
    xp, size = array_module(x), abs(x).reshape(-1)
    found, count = xp.zeros(x.size, bool), round(part * x.size)
    if gone is not None:
        size = xp.where(gone.reshape(-1), size.dtype.type(-1), size)
        count = max(count, int(gone.sum()))
    if count:
        found[xp.argpartition(size, count - 1)[:count]] = True
    return found.reshape(x.shape)
