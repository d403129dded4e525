"""What the training loop and the commands need to know about a task: the protocol, and what most tasks have
in common.
"""

from dataclasses import dataclass
from types import MappingProxyType

from ..base.errors import InputError
from ..base.options import Options, option
from ..base.plugins import Group
from ..nn.rnn import RnnOptions
from .plan import Plan


@dataclass(frozen=True, kw_only=True)
class TaskOptions(RnnOptions):
    """The options that every task has, beside the `Plan`: those of the network, of the data, and the seed."""

    encoding: str = option("utf-8", "Encoding of the files.", "Data")
    val: str | None = option(
        None, "Data to validate on. Default: a part of what is trained on.", "Data", path=True
    )
    val_fraction: float = option(0.1, "Part kept for validation.", "Data", low=0, high=1, open_high=True)
    batch_size: int = option(64, "Sequences that are read side by side.", "Data", low=1)
    seed: int = option(0, "Same seed, same run.", "Run", low=0)


class Task:
    """Base of everything in ``TASKS``. A task holds the model that is trained and the data it is trained on.

    Beside what is here a task has ``model``, ``fingerprint`` (of the data), ``steps_per_epoch``,
    ``tokens_per_step``, ``shape`` (of a step, in words), ``introduction()`` (what is learned from),
    ``loss(step)`` (a Tensor) and ``evaluate(stop)`` (a dict with ``val_loss``, or None if ``stop()`` became
    true); and the class has

    - ``build(options, texts)``: the task that the options of ``tinyrnn train`` describe;
    - ``rebuild(meta)``: the model that a checkpoint's metadata (its ``describe()``) describes, with fresh
      weights;
    - ``evaluate_run(model, texts, run, options)``: what ``tinyrnn evaluate`` prints; ``options`` are None
      where not given;
    - ``predict(model, inputs, run, options)``: what ``tinyrnn predict`` prints, dicts one by one.
    """

    name = ""
    options = TaskOptions  # their class; its defaults are the task's own
    plan = Plan(steps=2000)  # how it is trained where nothing else is said
    evaluation = Options  # what `tinyrnn evaluate` can be told, and
    prediction = Options  # `tinyrnn predict`
    next_command = "predict"
    default_texts = ()  # what it is trained on where nothing is named
    in_nats = True  # the loss is minus the logarithm of a probability
    loss_name = "loss"  # on a picture's axis, with its unit
    unit = "tokens"  # what ``tokens_per_step`` counts
    drawn = MappingProxyType({})  # those of its own figures that are drawn beside the loss: names in words
    rise = 3.0  # a training loss of so many times the first means that the run diverged

    @classmethod
    def store(cls, data) -> tuple[str, str]:
        """Data from memory as a file that ``build`` reads: its suffix and its text.

        Raises:
            InputError: it is of no kind that the task reads.
        """
        raise InputError(f"task {cls.name} reads files: give their paths, not {type(data).__name__}")

    def planned(self, total):
        """The run will have ``total`` steps; None: time alone bounds it."""

    def state_arrays(self) -> dict:
        """Arrays that are carried from step to step, by name."""
        return {}

    def load_state_arrays(self, arrays: dict):
        """Continue from what ``state_arrays`` returned."""

    def conclude(self, run) -> list[str]:
        """Lines to print when training is over; draws the task's own pictures into the folder of ``run``."""
        return []

    def glimpse(self) -> dict:
        """What a logger shows beside the figures: texts, and arrays of any shape, by name.

        It changes nothing that training depends on.
        """
        return {}

    @classmethod
    def lines(cls, figures: dict):
        """What ``tinyrnn evaluate`` prints: the figures that are numbers, and remarks."""
        for name, value in figures.items():
            if isinstance(value, int | float):
                yield f"{name.replace('_', ' '):16} " + (
                    f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
                )
        yield from cls.remarks(figures)

    @staticmethod
    def remarks(figures: dict):
        """What to say beside the numbers."""
        return []

    @staticmethod
    def shown(prediction: dict) -> str:
        """A prediction as one line."""
        raise NotImplementedError


TASKS = Group("tinyrnn.tasks", "task", Task)


def get_task(name: str) -> type[Task]:
    """The task of a name; InputError with near matches if there is none."""
    return TASKS.entry(name).load()
