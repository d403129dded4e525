"""What the models of tasks have in common: their settings, and the recurrent layers made from them."""

from typing import Any

from ..autograd import Tensor
from ..autograd.types import ArrayLike
from ..kernels.generator import Generator
from ..nn import RNN, Module, registry
from ..nn.rnn import RnnOptions

RATES = ("dropout", "recurrent_dropout", "weight_drop", "zoneout", "variational")
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
        TypeError: an entry that is neither.
    """

    task = ""  # its name

    def __init__(self, seed: int, settings: dict[str, Any], **own: Any):
        if unknown := settings.keys() - RnnOptions.rules().keys() - {"cell_options"}:
            raise TypeError(f"{type(self).__name__} has no setting {min(unknown)!r}")
        cell_options = settings.get("cell_options") or {}
        self.settings = {**DEFAULTS, **settings, "cell_options": cell_options, **own}
        self.generator = Generator(seed)

    @property
    def device(self) -> str:
        """Where it computes: ``"cpu"`` or ``"cuda"``."""
        return self.parameters()[0].device

    @property
    def dtype(self) -> str:
        """Of weights and states."""
        return "float32" if self.settings["dtype"] == "bfloat16" else self.settings["dtype"]

    @property
    def shared(self) -> dict[str, Any]:
        """What all layers are given."""
        return {"dtype": self.dtype, "generator": self.generator}

    def recurrent(self, input_size: int, *, bidirectional: bool = False) -> RNN:
        """Recurrent layers by the settings."""
        of = self.settings
        rates = {name: of[name] for name in RATES}
        own = dict(num_layers=of["layers"], cell_options=of["cell_options"], bidirectional=bidirectional)
        own["precision"] = "bfloat16" if of["dtype"] == "bfloat16" else "tf32" if of["tf32"] else None
        return RNN(of["cell"], input_size, of["hidden"], **own, **rates, **self.shared)

    @staticmethod
    def embedded(embedding: Module, ids: ArrayLike) -> Tensor:
        """The vectors of ``ids``; vectors that stand in the place of ids, a Tensor of floats, stay as they
        are: whoever wants the gradient by them, or to move them, gives them.
        """
        return ids if isinstance(ids, Tensor) and ids.dtype.kind == "f" else embedding(ids)

    def facts(self) -> dict[str, Any]:
        """What rebuilds the model beside its settings, as a checkpoint keeps it."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """Everything that the task's ``rebuild`` needs besides the weights."""
        package = registry.package_of(self.settings["cell"])
        return {"task": self.task, "model": self.settings, "package": package, **self.facts()}
