"""What the training loop and the commands need to know about a task: the protocol, and what most tasks have
in common.
"""

from types import MappingProxyType

from ..base.plugins import Group


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
    defaults = MappingProxyType({})  # in place of the defaults of `tinyrnn train`
    next_command = "predict"
    default_texts = ()  # what it is trained on where nothing is named
    in_nats = True  # the loss is minus the logarithm of a probability
    loss_name = "loss"  # on a picture's axis, with its unit
    unit = "tokens"  # what ``tokens_per_step`` counts
    drawn = MappingProxyType({})  # those of its own figures that are drawn beside the loss: names in words
    rise = 3.0  # a training loss of so many times the first means that the run diverged

    def state_arrays(self) -> dict:
        """Arrays that are carried from step to step, by name."""
        return {}

    def load_state_arrays(self, arrays: dict):
        """Continue from what ``state_arrays`` returned."""

    def conclude(self, run) -> list[str]:
        """Lines to print when training is over; draws the task's own pictures into the folder of ``run``."""
        return []

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
