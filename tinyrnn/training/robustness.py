"""How a trained model's figures change under disturbances of growing strength."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..autograd import Tensor, tensor
from ..base.errors import InputError, near
from ..base.options import Options, option
from ..kernels.generator import Generator
from . import disturbances

Row = dict[str, Any]  # kind, strength, and the figures


@dataclass(frozen=True, kw_only=True)
class RobustnessOptions(Options):
    """What is tried, and on how much."""

    kinds: str | None = option(
        None, "Disturbances to try. Default: all that the task has.", "Disturbances", metavar="A,B,..."
    )
    strengths: str | None = option(
        None, "How strong. Default: texts 0.02,0.05,0.1,0.2; numbers 0.05,0.1,0.2,0.5.", "Disturbances",
        metavar="X,Y,...",
    )  # fmt: skip
    examples: int = option(
        200, "Texts, pairs or windows (of a series, of 100 symbols) at most.", "Disturbances", low=1
    )
    seed: int = option(0, "Same seed, same examples and disturbances.", "Disturbances", low=0)

    def examples_of(self, count: int) -> Any:
        """Which of ``count`` examples are looked at, rising."""
        return disturbances.chosen(count, min(1.0, self.examples / count), Generator(self.seed))


class Probe:
    """Examples with which a task's robustness is measured.

    ``kinds`` of disturbances, by name what each does; those of ``shares`` have a share as their strength.
    """

    kinds: ClassVar[dict[str, str]] = {}
    shares: ClassVar[frozenset[str]] = frozenset()
    strengths: ClassVar[tuple[float, ...]] = ()

    data: Any  # undisturbed

    def disturbed(self, kind: str, strength: float, generator: Generator) -> Any:
        """``data``, disturbed."""
        raise NotImplementedError

    def figures(self, data: Any) -> dict[str, float]:
        """How well the model does on them."""
        raise NotImplementedError


class Numbers(Probe):
    """Inputs that are numbers, in units of the standard deviation that they had in training.

    Args:
        model: that reads them.
        values: ``[T, B, columns]``.
        cost: of values, a Tensor: what an adversary raises.
        figures: of values.
    """

    kinds: ClassVar = {
        "noise": "Gaussian noise, in standard deviations of the training",
        "missing": "a share of the values is missing, and read as the mean",
        "fgsm": "each value moved by so many standard deviations where the loss rises (one step)",
        "pgd": f"the same in {disturbances.PGD_STEPS} more steps",
    }
    shares = frozenset({"missing"})
    strengths = (0.05, 0.1, 0.2, 0.5)

    def __init__(
        self, model: Any, values: Any, cost: Callable[[Tensor], Tensor], figures: Callable[[Any], Any]
    ) -> None:
        self.model, self.data, self.cost, self._figures = model, values, cost, figures

    def figures(self, data):
        return self._figures(data)

    def disturbed(self, kind, strength, generator):
        if kind in ("noise", "missing"):
            disturb = disturbances.noisy if kind == "noise" else disturbances.missing
            return disturb(self.data, strength, generator)
        attack = disturbances.fgsm if kind == "fgsm" else disturbances.pgd
        return attack(self.data, strength, self.slope)

    def slope(self, values):
        """The cost, and its gradient by values."""
        cost, slope = disturbances.value_and_slope(self.cost, tensor(values, device=self.model.device))
        return cost, slope.numpy()


def rows(probe: Probe, options: RobustnessOptions) -> Iterator[Row]:
    """The figures of the undisturbed examples, then of each kind and strength; each draws from a stream of
    its own, so that a row is the same whatever else is tried.

    Raises:
        InputError: a kind that the task does not have, a strength that is none.
    """
    listed = [part.strip() for part in (options.kinds or ",".join(probe.kinds)).split(",")]
    if strange := [kind for kind in listed if kind not in probe.kinds]:
        raise InputError(f"--kinds has {strange[0]!r}: {near(strange[0], probe.kinds, 'this task has')}")
    strengths = probe.strengths if options.strengths is None else _numbers(options.strengths)
    if (most := max(strengths)) > 1 and (shares := [kind for kind in listed if kind in probe.shares]):
        raise InputError(f"--strengths has {most:g}, and that of {shares[0]} is a share: give at most 1")
    yield {"kind": "none", "strength": 0.0, **probe.figures(probe.data)}
    for kind in listed:
        for strength in strengths:
            data = probe.disturbed(kind, strength, Generator(options.seed))
            yield {"kind": kind, "strength": strength, **probe.figures(data)}


def _numbers(text: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = [-1.0]
    if not all(0 <= x < np.inf for x in found):
        raise InputError(
            f"--strengths is {text!r}: give numbers of at least 0 between commas, such as 0.05,0.1"
        )
    return found


def grid(found: list[Row]) -> tuple[list[str], list[float], dict[str, dict[float, Row]]]:
    """Names of the figures, the strengths, and by kind and strength the row; each kind has the undisturbed
    one as strength 0.
    """
    by_kind: dict[str, dict[float, Row]] = {}
    for row in found[1:]:
        by_kind.setdefault(row["kind"], {0.0: found[0]})[row["strength"]] = row
    names = [name for name in found[0] if name not in ("kind", "strength")]
    return names, sorted({row["strength"] for row in found}), by_kind
