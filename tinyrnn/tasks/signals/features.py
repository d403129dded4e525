"""What a network sees of a sequence of numbers: scaled channels, or of sound log-mel energies; and sequences
that are varied while it is trained.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np

from ...base.errors import InputError, few, shown
from ...base.options import Rule, taken
from . import sound

WIDEST = 1_000_000  # numbers of a step
HIGHEST = 10_000_000  # samples a second
_RULES = {
    "channels": Rule(str, many=True),
    "rate": Rule(int, low=0, high=HIGHEST),
    "bands": Rule(int, low=1, high=1000),
    "joined": Rule(int, low=1, high=1000),
    "deltas": Rule(bool),
    "mean": Rule(float, many=True),
    "deviation": Rule(float, many=True, low=0, open_low=True),
}


@dataclass(frozen=True)
class Features:
    """From a sequence to rows ``[T, width]``.

    ``channels``: what the numbers of a step are, in words; ``rate``: samples a second of sound, else 0;
    ``bands``: of sound; ``joined``: steps that are read together as one; ``deltas``: how each channel changes
    is read too; ``mean`` and ``deviation`` of all that, in the training part.
    """

    channels: tuple[str, ...]
    rate: int
    bands: int
    joined: int
    deltas: bool
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    @classmethod
    def of(cls, stored: Any) -> Self:
        """As a checkpoint keeps it. Raises ValueError, InputError."""
        found = cls(**taken(stored, _RULES, "features"))
        numbers = len(found.channels) * (1 + found.deltas) * (found.bands if found.rate else 1)
        if not len(found.mean) == len(found.deviation) == numbers or found.width > WIDEST:
            raise ValueError(f"its features have {len(found.mean)} means for {numbers} numbers a step")
        return found

    def stored(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def fitted(self, sequences: list[np.ndarray]) -> Self:
        """With the means and deviations of sequences."""
        rows = np.concatenate([self._rows(s) for s in sequences]).astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            mean, deviation = rows.mean(axis=0), rows.std(axis=0)
        if not np.isfinite(deviation).all():
            raise InputError(f"the numbers reach {shown(float(np.abs(rows).max()))}: scale them")
        return replace(
            self, mean=tuple(mean.tolist()), deviation=tuple(np.where(deviation > 0, deviation, 1.0).tolist())
        )

    @property
    def width(self) -> int:
        """Numbers of a step that the network reads."""
        return len(self.mean) * self.joined

    def __call__(self, sequence: np.ndarray) -> np.ndarray:
        """``[T, width]`` float32 of a sequence ``[N, channels]``, of sound ``[N]``; one step at least."""
        rows = (self._rows(sequence) - np.array(self.mean)) / np.array(self.deviation)
        if rest := -len(rows) % self.joined:
            rows = np.concatenate([rows, np.repeat(rows[-1:], rest, axis=0)])
        return rows.reshape(-1, self.width).astype(np.float32)

    def _rows(self, sequence):
        rows = sound.log_mel(sequence, self.rate, self.bands) if self.rate else sequence
        if self.deltas:
            ends = np.concatenate([rows[:1], rows, rows[-1:]])
            rows = np.concatenate([rows, (ends[2:] - ends[:-2]) / 2], axis=1)
        return rows

    @property
    def words(self) -> str:
        """What is read, in words."""
        hop = 1000 * sound.HOP
        read = (
            f"log-mel energies of {self.bands} bands every {hop:g} ms"
            if self.rate
            else f"{len(self.channels)} channels"
        )
        if not self.rate and len(self.channels) < 9:
            read += f" ({few(self.channels)})"
        return (
            read
            + " and how they change" * self.deltas
            + f", {self.joined} steps read as one" * (self.joined > 1)
        )


def varied(
    sequence: np.ndarray, random: np.random.Generator, *, speed=0.0, shift=0.0, noise=0.0
) -> np.ndarray:
    """The same sequence as it might have been.

    Args:
        sequence: ``[N]`` or ``[N, channels]``.
        speed: it is up to that part faster or slower (and, if it is sound, higher or lower).
        shift: it begins up to that part of its length later (the first value stands before it) or earlier.
        noise: in its standard deviations; how loud is drawn between a thirtieth of that and all, evenly in
            decibels.
    """
    if speed:
        at = np.arange(0, max(len(sequence) - 1, 1e-9), random.uniform(1 - speed, 1 + speed))
        below = at.astype(int)
        part = (at - below).astype(sequence.dtype).reshape(-1, *[1] * (sequence.ndim - 1))
        above = np.minimum(below + 1, len(sequence) - 1)
        sequence = sequence[below] * (1 - part) + sequence[above] * part
    if shift:
        k = round(random.uniform(-shift, shift) * len(sequence))
        sequence = np.concatenate([np.repeat(sequence[:1], k, axis=0), sequence]) if k > 0 else sequence[-k:]
    if noise:
        loud = noise * 30 ** random.uniform(-1, 0) * sequence.std(axis=0)
        sequence = sequence + (loud * random.standard_normal(sequence.shape)).astype(sequence.dtype)
    return sequence
