"""Matrices that become sparse while they are trained: gradual magnitude pruning (Zhu & Gupta 2017)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..autograd import Tensor
from ..base.devices import array_module, beside, to_device
from ..nn import Module

EVERY = 10  # steps between two prunings


def sparsity(step: int, end: int, final: float, initial: float = 0.0, start: int = 0) -> float:
    """The part that is 0 after ``step`` steps: Zhu & Gupta 2017, equation 1, in which pruning goes from
    ``start`` = t0 to ``end`` = t0 + n dt.
    """
    over = min(max((step - start) / (end - start), 0.0), 1.0)
    return final + (initial - final) * (1 - over) ** 3


def densities(shapes: Sequence[tuple[int, ...]], part: float) -> list[float]:
    """The part of each matrix that is kept where a ``part`` of all their weights is: in proportion to the sum
    of its sides over their product, so that small matrices, in which each weight does more, keep more
    (Erdos-Renyi: Mocanu et al. 2018; Evci et al. 2020).
    """
    sizes, sides = [math.prod(s) for s in shapes], [math.prod(s[:-1]) + s[-1] for s in shapes]
    whole, left = set[int](), part * sum(sizes)
    while True:
        some = [i for i in range(len(shapes)) if i not in whole]
        factor = left / max(1, sum(sides[i] for i in some))
        if not (full := [i for i in some if factor * sides[i] > sizes[i]]):
            return [1.0 if i in whole else factor * sides[i] / max(1, sizes[i]) for i in range(len(shapes))]
        whole, left = whole | {*full}, left - sum(sizes[i] for i in full)


class Pruning:
    """Which weights of a model's matrices are 0, and stay so.

    Each matrix for itself loses its smallest weights, so that none is emptied because its numbers are small
    throughout, as layer normalisation allows; how many, `densities` says. What is gone gets no gradient and
    stays 0 exactly, whatever an optimiser's momentum or a cell's ``constrain`` says. Matrices that are not
    trained by gradients are left as they are.

    Args:
        final: the part of all weights of the matrices that is 0 in the end.
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
                p.grad = Tensor(_without(p.grad.data, gone))

    def after(self, step: int) -> None:
        """Prune if it is time after ``step`` steps, the last of which has left its gradients; and set to 0
        what is gone.
        """
        if step <= self.end and (step % EVERY == 0 or step == self.end):
            trained = {name: p for name, p in self.matrices.items() if p.grad is not None}
            kept = densities([p.shape for p in trained.values()], 1 - self.sparsity(step))
            for (name, p), part in zip(trained.items(), kept, strict=True):
                self.gone[name] = smallest(p.data, 1 - part, self.gone.get(name))
        for name, gone in self.gone.items():
            p = self.matrices[name]
            p.data[...] = _without(p.data, gone)
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
            self.gone[name] = beside(gone, p.data)


def _without(x: Any, gone: Any) -> Any:
    return array_module(x).where(gone, x.dtype.type(0), x)


def smallest(x: Any, part: float, gone: Any = None) -> Any:
    """Where the smallest numbers of ``x`` are, a ``part`` of all: exactly so many, and what is ``gone`` among
    them, however many that is.
    """
    size = np.abs(to_device(x, "cpu")).reshape(-1)
    found, count = np.zeros(size.size, bool), round(part * size.size)
    if gone is not None:
        before = to_device(gone, "cpu").reshape(-1)
        size[before], count = -1, max(count, int(before.sum()))
    if count:
        found[np.argpartition(size, count - 1)[:count]] = True
    return beside(found.reshape(x.shape), x)
