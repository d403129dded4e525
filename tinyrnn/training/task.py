"""What the training loop and the commands need to know about a task: the protocol, and what most tasks have
in common.
"""

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self, cast

from ..autograd import Tensor
from ..base.errors import InputError, shown
from ..base.options import PART, Options, option
from ..base.plugins import Group
from ..nn.rnn import RnnOptions
from .plan import Plan
from .robustness import Probe, RobustnessOptions
from .runs import CONFIG, RunFolder, reading, refuse_moved, refuse_other

TASK = "lm"  # where none is named


@dataclass(frozen=True, kw_only=True)
class TaskOptions(RnnOptions):
    """The options that every task has, beside the `Plan`: those of the network, of the data, and the seed."""

    encoding: str = option("utf-8", "Encoding of the files.", "Data", encoding=True)
    val: str | None = option(
        None, "Data to validate on. Default: a part of what is trained on.", "Data", path=True
    )
    val_fraction: float = option(0.1, "Part kept for validation.", "Data", **PART, replaced_by="val")
    batch_size: int = option(64, "Sequences that are read side by side.", "Data", low=1)
    seed: int = option(0, "Same seed, same run.", "Run", low=0)
    from_run: str | None = option(
        None,
        "Start from the weights of a trained run or checkpoint; what its network is made of is kept.",
        "Run",
        metavar="RUN",
        path=True,
    )

    @property
    def sizes(self) -> str:
        """What takes memory, in words."""
        found = {n: getattr(self, n) for n, rule in self.rules().items() if rule.kind is int and n != "seed"}
        return ", ".join(f"{name} {n:,}" for name, n in found.items() if n is not None)


class Task:
    """Base of what can be trained: it holds the model that is trained and the data it is trained on.

    The docstring of a subclass is what ``tinyrnn train --task NAME --help`` says of it: a line, and after a
    blank one what its data looks like. It has a ``name``, its classes of options, the methods that raise
    `NotImplementedError` here, and on its objects

    - ``model``, a `Module` with ``settings``, ``generator`` and ``describe()`` (see
      `tinyrnn.tasks.TaskModel`);
    - ``fingerprint``, a text that is another for other data;
    - ``steps_per_epoch``; ``tokens_per_step``, in ``unit``; ``shape`` of a step, in words.
    """

    name: ClassVar[str] = ""
    options: ClassVar[type[TaskOptions]] = TaskOptions  # its defaults are the task's own
    plan: ClassVar[Plan] = Plan(steps=2000)  # how it is trained where nothing else is said
    evaluation: ClassVar[type[Options]] = Options  # what `tinyrnn evaluate` can be told, and
    prediction: ClassVar[type[Options]] = Options  # `tinyrnn predict`, and
    robustness: ClassVar[type[RobustnessOptions]] = RobustnessOptions  # `tinyrnn robust`
    next_command: ClassVar[str] = "predict"  # what to try after training, and
    next_input: str = ""  # on what, as a shell reads it; empty: it needs none
    held_out: ClassVar[str] = "validation"  # the part that it is evaluated on where no data is named
    default_texts: ClassVar[tuple[str, ...]] = ()  # what it is trained on where nothing is named
    in_nats: ClassVar[bool] = True  # the loss is minus the logarithm of a probability
    loss_name: ClassVar[str] = "loss"  # on a picture's axis, with its unit
    loss_options: ClassVar[tuple[str, ...]] = ()  # that decide what it counts
    unit: ClassVar[str] = "tokens"  # what ``tokens_per_step`` counts
    default_inputs: ClassVar[tuple[str, ...]] = ()  # what `tinyrnn predict` takes where nothing is named
    in_memory: ClassVar[str] = ""  # what ``store`` takes, in words
    chosen: ClassVar[tuple[str, ...]] = ()  # options that ``recommended`` chooses where they are not given
    # those of its own figures that are drawn beside the loss: names in words
    drawn: ClassVar[Mapping[str, str]] = MappingProxyType({})
    # other tasks whose runs it can start from: how the names of those weights begin that it takes
    starts: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType({})
    steadier: Sequence[str] = ()  # options that may keep it from diverging, beside a lower rate
    rise: ClassVar[float] = 3.0  # a training loss of so many times the first, or 1, means that it diverged

    model: Any
    fingerprint: str
    shape: str
    steps_per_epoch: int
    tokens_per_step: float

    @classmethod
    def on(cls, texts: Sequence[str], entries: Mapping[str, Any]) -> "type[Task]":
        """The task on the files ``texts``: this one, or for data of another kind one of the same name with
        other defaults; ``entries``: of its options, or of a checkpoint's metadata.
        """
        return cls

    @classmethod
    def build(cls, options: Any, texts: Sequence[str], origin: Any = None) -> Self:
        """The task on the files ``texts``, with ``options`` of the class of that name.

        Where a run goes on from another, ``origin`` is that one's model: what it has names for (symbols,
        labels) is kept, what is new in the data comes behind it, and `TaskModel.rows` says which weights that
        is about; they are copied afterwards. A task without such names need not take ``origin``.

        Raises:
            InputError: data that cannot be used, an unknown cell or option.
        """
        raise NotImplementedError

    @staticmethod
    def rebuild(meta: dict[str, Any]) -> Any:
        """The model that a checkpoint's metadata (its ``describe()``) describes, with fresh weights.

        Raises:
            ValueError, InputError: it describes none. Metadata is anybody's: a value is looked at before it
                is used, as `tinyrnn.tasks.TaskModel.restored` does with the settings.
        """
        raise NotImplementedError

    def introduction(self) -> str:
        """What is learned from, in words."""
        raise NotImplementedError

    def loss(self, step: int) -> Tensor:
        """The training loss of a step, counted from 0."""
        raise NotImplementedError

    def evaluate(self, stop: Callable[[], bool] = lambda: False) -> dict[str, Any] | None:
        """Validation figures, ``val_loss`` among them; None if ``stop()`` became true on the way."""
        raise NotImplementedError

    @staticmethod
    def evaluate_run(model: Any, texts: Sequence[str], run: Any, options: Any) -> dict[str, Any]:
        """The figures that ``tinyrnn evaluate`` prints: on ``texts``, or on what the folder ``run`` validates
        on; ``options`` of the class ``evaluation``.
        """
        raise NotImplementedError

    @staticmethod
    def probe(model: Any, texts: Sequence[str], run: Any, options: Any) -> Probe:
        """What ``tinyrnn robust`` disturbs: examples of ``texts``, or of what the folder ``run`` validates
        on; ``options`` of the class ``robustness``. A task that leaves it as it is has no such figures.
        """
        raise InputError(f"{run} is of a task that cannot be disturbed: use tinyrnn evaluate")

    @staticmethod
    def predict(model: Any, inputs: Sequence[str], run: Any, options: Any) -> Iterable[dict[str, Any]]:
        """What ``tinyrnn predict`` prints, dicts one by one; ``options`` of the class ``prediction``. A task
        that predicts nothing leaves it as it is.
        """
        raise InputError(f"{run} is of a task that predicts nothing: use tinyrnn evaluate")

    @staticmethod
    def shown(prediction: dict[str, Any]) -> str:
        """A prediction as one line."""
        raise NotImplementedError

    @classmethod
    def cells(cls, prediction: dict[str, Any]) -> dict[str, Any]:
        """A prediction as a row of a table, by the names of its columns: one number a column, fractions with
        8 digits; lists as JSON.
        """
        found = dict[str, Any]()
        for name, value in prediction.items():
            if name == "probabilities":
                found |= {f"probability_{label}": p for label, p in value.items()}
            else:
                value = json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value
                found[name] = float(f"{value:.8g}") if isinstance(value, float) else value
        return found

    @classmethod
    def trained(cls, run: Any, given: Options, texts: Sequence[str] = ()) -> tuple[Any, list[str]]:
        """The options that the folder ``run`` was trained with, but for what is ``given`` now; and ``texts``,
        or if there are none those that it was trained on.

        Raises:
            InputError: these are no longer there.
        """
        stored = RunFolder(run).options
        of_data = given.rules().keys() - RobustnessOptions.rules()  # a seed of disturbances is no run's
        now = {n: v for n, v in given.entries().items() if n in of_data and v not in (None, "", [])}
        with reading(RunFolder(run).path / CONFIG, "restore it from a copy"):
            options, own = cls.options.of(stored | now), stored["texts"]
        if not texts:
            validated = [options.val] if options.val else own
            refuse_moved(run, [t for t in validated if t not in cls.default_texts], "after RUN")
        return options, list(texts) or own

    @classmethod
    def recommended(cls, texts: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
        """Options of the task and the plan that follow from the data and the time, for those that are not
        ``given``: the names in ``chosen``, whose defaults are of `compare` alone.
        """
        return {}

    @classmethod
    def store(cls, data: Any) -> tuple[str, str | bytes]:
        """Data from memory as a file that ``build`` reads: its suffix and its text or bytes.

        Raises:
            InputError: it is of no kind that the task reads.
        """
        more = f", or {cls.in_memory}" if cls.in_memory else ""
        raise InputError(f"the data of task {cls.name} is {shown(data)}: give paths of files{more}")

    @classmethod
    def loss_unit(cls, options: Mapping[str, Any]) -> str:
        """What the loss of a run with these options is in, in words: curves of others are no neighbours."""
        return ", ".join([cls.loss_name, *(f"{name} {options.get(name)}" for name in cls.loss_options)])

    def planned(self, total: int | None) -> None:
        """The run will have ``total`` steps; None: time alone bounds it."""

    def state_arrays(self) -> dict[str, Any]:
        """Arrays that are carried from step to step, by name."""
        return {}

    def load_state_arrays(self, arrays: dict[str, Any]) -> None:
        """Continue from what ``state_arrays`` returned; ValueError if it is of another model."""
        refuse_other({}, arrays, "state")

    def conclude(self, run: Any) -> list[str]:
        """Lines to print when training is over; draws the task's own pictures into the folder of ``run``."""
        return []

    def glimpse(self) -> dict[str, Any]:
        """What a logger shows beside the figures: texts, and arrays of any shape, by name.

        It changes nothing that training depends on.
        """
        return {}

    @classmethod
    def lines(cls, figures: dict[str, Any]) -> Iterable[str]:
        """What ``tinyrnn evaluate`` prints: the figures that are numbers, and remarks."""
        for name, value in figures.items():
            if isinstance(value, int | float):
                shown = f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
                yield f"{name.replace('_', ' '):16} {shown}"
        yield from cls.remarks(figures)

    @staticmethod
    def remarks(figures: dict[str, Any]) -> Iterable[str]:
        """What to say beside the numbers."""
        return []


class _Tasks(Group):
    def problem(self, found: Any) -> str:
        kinds = dict(
            options=TaskOptions, evaluation=Options, prediction=Options, robustness=RobustnessOptions
        )
        for name, kind in kinds.items():
            own = getattr(found, name)
            if not (isinstance(own, type) and issubclass(own, kind)):
                return f"has no {name} that are {kind.__name__}: {own!r}"
        return "" if isinstance(found.plan, Plan) else f"has no plan that is a Plan: {found.plan!r}"


TASKS = _Tasks("tinyrnn.tasks", "task", Task)


def get_task(name: str) -> type[Task]:
    """The task of a name; InputError with near matches if there is none."""
    return TASKS.entry(name).load()


def tasks_with(names: Iterable[str]) -> list[str]:
    """The tasks that have most of the options of these ``names``; none: no task has any."""
    found = dict[str, int]()
    for name, entry in TASKS.registered().items():
        with contextlib.suppress(InputError):  # a broken task hurts those alone who use it
            found[name] = len(cast(type[Task], entry.load()).options.rules().keys() & set(names))
    most = max(found.values(), default=0)
    return [name for name, n in found.items() if n == most > 0]


def task_of(run: RunFolder) -> type[Task]:
    """The task that a run is of."""
    with reading(run.path / CONFIG, "restore it from a copy"):
        stored = run.config["options"]
        return get_task(run.config["task"]).on(stored.get("texts", ()), stored)
