"""What the models of tasks have in common: their settings, and the recurrent layers made from them."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self

from ..autograd import Tensor
from ..autograd.linalg import autocast
from ..autograd.types import ArrayLike
from ..base.errors import InputError
from ..base.options import taken
from ..compiler.graph import Graph
from ..kernels.generator import Generator
from ..nn import RNN, Module, registry
from ..nn.rnn import RnnOptions

RATES = ("dropout", "recurrent_dropout", "weight_drop", "zoneout", "variational")
WEIGHTS = "float32", "bfloat16", "int8"
DEFAULTS = {
    **dict.fromkeys(RATES, 0.0), "variational": False, "cell": "gru", "layers": 1, "dtype": "float32",
    "tf32": False,
}  # fmt: skip


class TaskModel(Module):
    """Base of the models of tasks.

    Args:
        seed: of the initial weights and of dropout.
        settings: entries of `RnnOptions.settings`, ``hidden`` among them, and the model's own; with the facts
            of ``facts`` they rebuild it.

    Raises:
        InputError: an entry that is neither.
    """

    task = ""  # its name

    def __init__(self, seed: int, settings: dict[str, Any], **own: Any):
        if unknown := settings.keys() - RnnOptions.rules().keys() - {"cell_options"}:
            raise InputError(f"{type(self).__name__} has no setting {min(unknown)!r}: leave it out")
        cell_options = {} if settings.get("cell_options") is None else settings["cell_options"]
        self.settings = {**DEFAULTS, **settings, "cell_options": cell_options, **own}
        self.generator, self.weights = Generator(seed), None  # one of WEIGHTS: how `evaluating` sees them

    @classmethod
    def restored(cls, options: type[RnnOptions], stored: Any, *facts: Any) -> Self:
        """The model with the settings of a checkpoint, with fresh weights. All settings are looked at before
        anything is made: each by the rule of its option among ``options``.

        Args:
            stored: as `describe` gives them as ``model``.
            facts: what the model takes before its settings.

        Raises:
            ValueError: they are no settings of this model, or lack one that decides its size.
            InputError: a value is not among those of its option.
        """
        parameters = inspect.signature(cls).parameters.values()
        own = {p.name: p.default is p.empty for p in parameters if p.kind is p.KEYWORD_ONLY}
        needed = {"hidden", *(name for name, without in own.items() if without)}
        known = {name: rule for name, rule in options.rules().items() if name in own or name in DEFAULTS}
        known |= {
            name: replace(options.rules()[name], optional=False) for name in needed & options.rules().keys()
        }
        beside = {"cell_options", *own} - known.keys()  # the cell and the model look at these
        rest = {name: stored[name] for name in beside if isinstance(stored, Mapping) and name in stored}
        found = {n: v for n, v in stored.items() if n not in rest} if rest else stored
        make: Any = cls
        return make(*facts, **taken(found, known, "model", lacking=known.keys() - needed), **rest)

    def inherited(self) -> dict[str, Any]:
        """Options that a run which goes on from this model has from it, by name: the settings."""
        return {**self.settings, "cell_opt": self.settings["cell_options"]}

    def rows(self) -> dict[str, tuple[str, Sequence[Any], int]]:
        """Of the weights in which something with a name has rows or columns, by their names: what that is, in
        words; the names, in order; and along which axis they are.
        """
        return {}

    @property
    def device(self) -> str:
        """Where it computes: ``"cpu"`` or ``"cuda"``."""
        return self.parameters()[0].device

    @property
    def dtype(self) -> str:
        """Of weights and states."""
        return "float32" if self.settings["dtype"] == "bfloat16" else self.settings["dtype"]

    def precision_with(self, weights: str | None) -> str | None:
        """Of the operands of products where weights are in another form than they are stored in.

        Args:
            weights: one of `WEIGHTS`; None: as they are stored.

        Raises:
            InputError: this model cannot have them there.
        """
        if weights is None or weights == self.dtype:
            return None
        if self.dtype != "float32" or self.device != "cpu":
            kind = f"{self.dtype} on {self.device}"
            raise InputError(
                f"{weights} weights are for models of float32 on cpu, not {kind}: leave them out"
            )
        return weights

    @property
    def precision(self) -> str | None:
        """Of the operands of products, where it is not that of ``dtype``."""
        if self.weights is not None:
            return self.precision_with(self.weights)
        tf32 = self.settings["tf32"] and self.device == "cuda"
        return "bfloat16" if self.settings["dtype"] == "bfloat16" else "tf32" if tf32 else None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with autocast(self.precision):
            return super().__call__(*args, **kwargs)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """As `Module.evaluating`, with products in the model's precision."""
        with super().evaluating(), autocast(self.precision):
            yield

    @property
    def shared(self) -> dict[str, Any]:
        """What all layers are given."""
        return {"dtype": self.dtype, "generator": self.generator}

    def recurrent(self, input_size: int, *, bidirectional: bool = False) -> RNN:
        """Recurrent layers by the settings."""
        of = self.settings
        rates = {name: of[name] for name in RATES}
        own = dict(num_layers=of["layers"], cell_options=of["cell_options"], bidirectional=bidirectional)
        return RNN(of["cell"], input_size, of["hidden"], **own, **rates, **self.shared)

    @staticmethod
    def embedded(embedding: Module, ids: ArrayLike) -> Tensor:
        """The vectors of ``ids``; vectors that stand in the place of ids, a Tensor of floats, stay as they
        are: whoever wants the gradient by them, or to move them, gives them.
        """
        return ids if isinstance(ids, Tensor) and ids.dtype.kind == "f" else embedding(ids)

    def graphs(self, *, over_time: bool = False) -> dict[str, Graph]:
        """What the model computes, as `Graph` objects by their names, for places where tinyrnn is not.

        Args:
            over_time: what can go step by step reads whole sequences too.

        Raises:
            InputError: it cannot be written out; the message says why.
        """
        raise InputError(f"models of the task {self.task} cannot be written out yet")

    def facts(self) -> dict[str, Any]:
        """What rebuilds the model beside its settings, as a checkpoint keeps it."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """Everything that the task's ``rebuild`` needs besides the weights."""
        package = registry.package_of(self.settings["cell"])
        return {"task": self.task, "model": self.settings, "package": package, **self.facts()}
