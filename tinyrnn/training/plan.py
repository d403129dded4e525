"""How long and how to train, and where."""

from dataclasses import dataclass
from typing import Any, Literal, Self

from ..base.options import PART, Options, option

LENGTHS = ("steps", "epochs", "minutes")
FIXED = (
    "optimizer",
    "weight_decay",
    "beta2",
    "prune",
    "prune_until",
)  # what a resumed run may not change: all else it may


@dataclass(frozen=True, kw_only=True)
class Place(Options):
    """Where a run is kept and computed: no part of its configuration."""

    out: str | None = option(
        None, "Folder of the run. Default: runs/TEXT-CELL, numbered if it exists.", "Run", path=True
    )
    device: Literal["cpu", "cuda", "auto"] = option(
        "cpu", "Where to compute; auto: on a GPU where there is one and the model is large enough.", "Run"
    )
    threads: int | None = option(None, "Threads to compute on. Default: all cores.", "Run", low=1)


@dataclass(frozen=True, kw_only=True)
class Plan(Options):
    """How long and how to train: the options of ``tinyrnn train`` that every task has."""

    steps: int | None = option(
        None, "Length in steps; of several lengths the first that is reached ends the run.", "Length", low=1
    )
    epochs: float | None = option(None, "Length in passes over the data.", "Length", low=0, open_low=True)
    min_steps: int = option(
        0, "Steps at least, where passes over the data are the length.", "Length", low=0, needs=("epochs", ())
    )
    minutes: float | None = option(
        None, "Length in time (not repeatable to the bit).", "Length", low=0, open_low=True
    )
    patience: int | None = option(
        None, "Stop after so many evaluations without a better one.", "Length", low=1
    )
    eval_every: int = option(250, "Steps between evaluations and checkpoints.", "Length", low=1)
    optimizer: Literal["sgd", "rmsprop", "adagrad", "adam", "adamw"] = option(
        "adamw", "Rule that turns gradients into steps.", "Optimisation"
    )
    lr: float = option(5e-3, "Peak learning rate.", "Optimisation", low=0, open_low=True)
    schedule: Literal["constant", "linear", "cosine", "wsd", "step", "exponential", "plateau"] = option(
        "wsd", "How the rate goes on from its peak.", "Optimisation"
    )
    gamma: float = option(
        0.5, "Factor of each pass under --schedule exponential.", "Optimisation",
        low=0, open_low=True, high=1, needs=("schedule", ("exponential",)),
    )  # fmt: skip
    hold: int = option(
        4, "Passes at its peak before that.", "Optimisation", low=0, needs=("schedule", ("exponential",))
    )
    warmup: int = option(
        100, "Steps over which the rate rises at first: at most a tenth of all.", "Optimisation", low=0
    )
    beta2: float = option(
        0.999, "Memory of the squares of gradients, of adam and adamw.", "Optimisation", **PART,
        needs=("optimizer", ("adam", "adamw")),
    )  # fmt: skip
    clip: float = option(1.0, "Largest gradient norm; 0 is off.", "Optimisation", low=0)
    weight_decay: float = option(
        0.0, "Pull of matrices, not biases or gains, towards 0.", "Optimisation", low=0
    )
    prune: float = option(
        0.0,
        "Part of the weights of all matrices together that become 0, the smallest of each first.",
        "Optimisation",
        **PART,
    )
    prune_until: float = option(
        0.5, "Part of the run after which they all are.", "Optimisation", low=0, open_low=True, high=1,
        needs=("prune", ()),
    )  # fmt: skip

    def changed(self, **given: Any) -> Self:
        """This plan with what is ``given``; a length that is given is the only one."""
        lengths = {**dict.fromkeys(LENGTHS), "min_steps": 0} if given.keys() & set(LENGTHS) else {}
        return type(self)(**{**self.entries(), **lengths, **given})

    def total_steps(self, steps_per_epoch: int) -> int | None:
        """The run's length in steps; None where time alone bounds it."""
        least = max(1, self.min_steps)
        bounds = [self.steps, self.epochs and max(least, round(self.epochs * steps_per_epoch))]
        return min((b for b in bounds if b), default=None)

    def warmup_steps(self, total: int | None) -> int:
        """Steps of warm-up in a run of ``total`` steps: a tenth of them at most."""
        return self.warmup if total is None else min(self.warmup, total // 10)
