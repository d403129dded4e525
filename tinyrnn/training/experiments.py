"""Runs by their configuration: begun, taken up again, loaded. What ``tinyrnn train``, ``tinyrnn compare`` and
`train` share.
"""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

from .. import kernels
from ..base.devices import chosen
from ..base.errors import InputError, near
from ..base.options import Rule, flag_of, path_of, taken
from ..nn import init, registry
from ..nn.registry import AllowCode
from . import origin as origins
from . import pictures, runs
from .plan import FIXED, LENGTHS, Plan
from .runs import RunFolder, free_name
from .screen import note
from .task import TASK, Task, TaskOptions, get_task, task_of, tasks_with
from .trainer import Reporter, Trainer, memory_for

WORTH_ROUNDING = 128  # width of layers from which bfloat16 is faster on a CPU that multiplies it
_TEXT = Rule(str)
_FACTS = {
    "task": _TEXT,
    "step": Rule(int, low=0),
    "val_loss": Rule(float),
}  # of a checkpoint, whatever its task
_PACKAGE = dict.fromkeys(("name", "version", "origin", "sha256"), _TEXT)


@dataclass(frozen=True)
class Configuration:
    """What a run is: stored in its ``config.json``."""

    task: type[Task]
    options: TaskOptions
    plan: Plan
    texts: list[str]
    origin: Any = None  # the model that the run goes on from
    chosen: str = ""  # what the task chose where nothing was given, as a command writes it

    @classmethod
    def make(
        cls, task: str, texts: Iterable[str], given: Mapping[str, Any], *, complete: bool = True
    ) -> Self:
        """From the name of a task and what is ``given`` of its options and of the plan; ``complete``: with
        what the task recommends for the rest.

        Raises:
            InputError: an option that the task does not have, or a value that it does not take.
        """
        texts = [str(text) for text in texts]
        found = get_task(task).on(texts, given)
        known, plan, asked = found.options.rules(), Plan.rules(), given
        rules = known | plan
        if unknown := [name for name in given if name not in rules]:
            others = " or ".join(f"--task {name}" for name in tasks_with(unknown))
            mend = f"give {others}" if others else near(unknown[0], sorted(rules))
            raise InputError(f"task {task} has no option {unknown[0]!r}: {mend}")
        sound = {k: v if k == "cell" else rules[k].checked(v, k) for k, v in given.items()}
        chosen = found.recommended(texts, sound) if complete else {}
        chosen = {k: v for k, v in chosen.items() if k not in given}
        if given.keys() & set(LENGTHS):
            chosen = {k: v for k, v in chosen.items() if k not in LENGTHS}
        given = {**chosen, **given}
        options = found.options(**{k: v for k, v in given.items() if k in known})
        # as it is found from any folder
        paths = {k: _absolute(getattr(options, k)) for k, rule in known.items() if rule.path}
        several = [
            path for given in paths.values() for path in (given if isinstance(given, tuple) else [given])
        ]
        options = replace(options, cell=registry.full_name(options.cell), **paths)
        texts = list(runs.TEXTS.checked(texts, "the data")) or list(found.default_texts)
        if nameless := [path for path in (*texts, *several) if path and not _is_text(path)]:
            raise InputError(f"{nameless[0]!r} is a name that no file of a run can hold: rename it")
        planned = found.plan.changed(**{k: v for k, v in given.items() if k in plan})
        if complete:
            options.refuse_idle(asked, planned)
        said = " ".join(f"{flag_of(name)} {value}" for name, value in chosen.items())
        return cls(found, options, planned, texts, chosen=said)

    @classmethod
    def read(cls, run: RunFolder) -> Self:
        """That of a run."""
        task, entries = task_of(run), run.options
        with runs.reading(run.path / runs.CONFIG, "restore it from a copy"):
            return cls(task, task.options.of(entries), Plan.of(entries), entries["texts"])

    def entries(self) -> dict[str, Any]:
        """As ``config.json`` holds them."""
        named = {"task": self.task.name, "texts": self.stored_texts}
        return {**named, **self.options.entries(), **self.plan.entries()}

    def _device(self, device: str) -> str:
        return chosen(device, self.options.hidden * self.options.batch_size)

    def decided(self, device: str) -> Self:
        """With the dtype that is faster on a device in the place of "auto", which is said."""
        if self.options.dtype != "auto":
            return self
        wide = self.options.hidden >= WORTH_ROUNDING
        fast = self._device(device) == "cuda" or (wide and kernels.tiles.pair_instruction())
        dtype: Literal["float32", "bfloat16"] = "bfloat16" if fast else "float32"
        note(f"dtype auto: {dtype}, the faster of bfloat16 and float32 here")
        return replace(self, options=replace(self.options, dtype=dtype))

    @property
    def stored_texts(self) -> list[str]:
        """``texts`` as they are found from any folder."""
        return [t if t in self.task.default_texts else _absolute(t) for t in self.texts]

    def trainer(self, report: Reporter | None, device: str) -> Trainer:
        """Reads the data and builds the model.

        Raises:
            InputError: data or a combination of options that cannot be used.
        """
        # before the data is read, which may take long
        device = self._device(device)
        if device == "cpu" and self.options.tf32:
            raise InputError("--tf32 needs a GPU: give --device cuda, or leave it out")
        with memory_for(self.options.sizes):
            task = origins.built(self.task, self.options, self.texts, self.origin)
            task.model.to(device)
            return Trainer(task, self.plan, report, self.options.sizes)


def _is_text(path):
    """Whether ``path`` has no bytes that stand for no character, as file names may."""
    return path == path.encode(errors="ignore").decode()


def _absolute(path):
    if isinstance(path, tuple):
        return tuple(map(_absolute, path))
    return path if path in (None, "-") else str(Path(path).resolve())


def task_name(task: str | None, from_run: Any) -> str:
    """That of a new run: ``task``, or where none is named that of the run which it goes on from, or else of a
    language model.
    """
    if task is None and from_run is not None:
        meta = runs.load_tensors(runs.weights_file(path_of(from_run, "from_run")))[1]
        task = _TEXT.checked(meta.get("task", TASK), "task")
    return TASK if task is None else task


def configured(
    task: str, texts: list[str], given: Mapping[str, Any], allow_code: AllowCode = False
) -> Configuration:
    """`Configuration.make` of a new run; where it goes on from another (``from_run``) with that one's model,
    and the options that it has from it.

    Raises:
        InputError: as `Configuration.make` and `load`; or what is given contradicts that run.
    """
    if (source := given.get("from_run")) is None:
        return Configuration.make(task, texts, given)
    if not texts:
        own = f"go on with its own: --resume {source}"
        raise InputError(f"--from {source} needs data to learn from: name some, or {own}")
    origin = load(source, allow_code=allow_code)
    given = origins.options_with(get_task(task).on(texts, given), origin, given)
    return replace(Configuration.make(task, texts, given), origin=origin)


def begin(configuration: Configuration, report=None, *, out=None, device="cpu") -> Trainer:
    """The trainer of a new run, its folder made.

    Raises:
        InputError: ``out`` exists, or the data or an option cannot be used.
    """
    if out:  # before the data is read, which may take long
        RunFolder.refuse_existing(Path(out))
    configuration = configuration.decided(device)
    trainer = configuration.trainer(report, device)
    first = (configuration.stored_texts or [configuration.task.name])[0]
    stem = "stdin" if first == "-" else Path(first).stem.replace(" ", "-")
    path = Path(out or free_name(Path("runs") / f"{stem}-{registry.short_name(configuration.options.cell)}"))
    stored = {"task": trainer.task.name, "options": configuration.entries()}
    if configuration.origin is not None:
        trainer.go_on_from(configuration.origin, configuration.options.from_run or "")
        stored["from"] = trainer.origin
        if trainer.task.held_out == "validation" and not configuration.options.val:
            trainer.report.message(
                "part of what validates may have been learned there: --val names other data"
            )
    trainer.chosen = configuration.chosen
    trainer.start(path, {**stored, "fingerprint": trainer.task.fingerprint})
    return trainer


def adopt(model: Any, out: Any, source: str) -> RunFolder:
    """A run folder of a ``model`` that was trained elsewhere, in ``source``. It has no data yet: who takes it
    up names some.

    Raises:
        InputError: ``out`` exists, or it is no model of a task.
    """
    if not hasattr(model, "inherited"):
        raise InputError(f"a {type(model).__name__} is no model of a task, which a run is made of")
    task = model.describe()["task"]
    given = origins.options_with(get_task(task), model, {"from_run": source})
    configuration = Configuration.make(task, [], given, complete=False)
    configuration = replace(configuration, options=replace(configuration.options, from_run=source))
    state = model.state_dict()
    with runs.reading(Path(source), "use another model"):
        runs.refuse_other(state, state, "weight")  # as whoever loads the run does

    def fill(folder):
        runs.save_tensors(folder / runs.LAST, state, {**model.describe(), "step": 0})

    said = {"task": task, "fingerprint": "", "from": f"{source}: {len(state)} arrays"}
    return RunFolder.create(Path(out), {**said, "options": {**configuration.entries(), "texts": []}}, fill)


def take_up(path, given, texts=(), report=None, *, device="cpu", allow_code: AllowCode = False) -> Trainer:
    """The trainer of the run at ``path``, where its last checkpoint left it.

    Args:
        given: options that the user gave now; those of the plan may differ from the run's, but for `FIXED`.
        texts: in place of the run's own.
        allow_code: run the Python file that the run names, where its cell is one of a file; or that file's
            path, where it is now. Needless if the cell is given now.

    Raises:
        InputError: an option that would make it another run, another text, a damaged run, one that is being
            trained, or a cell in a file that is neither allowed nor given.
    """
    run = RunFolder(path)
    run.lock()  # before the data is read, which may take long
    try:
        return _taken_up(run, given, texts, report, device, allow_code)
    except BaseException:
        run.unlock()
        raise


def _taken_up(run, given, texts, report, device, allow_code) -> Trainer:
    """`take_up`, of a run that is locked."""
    configuration = Configuration.read(run)
    cell, file = configuration.options.cell, runs.weights_file(run.path)
    with contextlib.ExitStack() as stack:
        if registry.has_code(cell) and "cell" in given:  # which is consent to the file as it is now
            with contextlib.suppress(InputError):  # a damaged checkpoint is told of where it is needed
                if not registry.package_of(cell)["sha256"].startswith(_package(file).get("sha256", "")):
                    note("the cell's file is another than in training: the run goes on with what it is now")
        elif registry.has_code(cell) or allow_code not in (True, False) or cell not in registry.registered():
            cell = registry.allowed(cell, allow_code, run.path)
            configuration = replace(configuration, options=replace(configuration.options, cell=cell))
            meta = {"package": _package(file), "model": {"cell": cell}}
            with runs.reading(file, runs.ANOTHER):
                registry.refuse_missing(meta)
                stack.enter_context(registry.as_in_training(meta))
        return _going_on(run, configuration, given, texts, report, device)


def _package(file):
    """Where the cell of the checkpoint ``file`` comes from; InputError if it does not say so."""
    meta = runs.load_tensors(file)[1]
    with runs.reading(file, runs.ANOTHER):  # old ones lack the last two
        return taken(meta.get("package"), _PACKAGE, "package", lacking=("origin", "sha256"))


def _going_on(run, configuration, given, texts, report, device) -> Trainer:
    if given.get("dtype") == "auto":  # it was decided when the run began
        given = {name: value for name, value in given.items() if name != "dtype"}
    now = Configuration.make(
        given.get("task", configuration.task.name),
        texts,
        {k: v for k, v in given.items() if k != "task"},
        complete=False,
    )
    before, after = configuration.entries(), now.entries()
    for name in ["task", *given]:  # the task first: another has other options
        if after[name] != before.get(name) and (name in FIXED or name not in Plan.rules()):
            option_name = flag_of(name)
            raise InputError(
                f"{run.path} was trained with {option_name} {before.get(name)}, not {after[name]}: "
                f"leave {option_name} out, or start a new run"
            )
    plan = configuration.plan.changed(**{name: after[name] for name in given if name in Plan.rules()})
    configuration = replace(configuration, plan=plan)
    changed = {name: value for name, value in given.items() if after[name] != before.get(name)}
    configuration.options.refuse_idle(changed, plan)
    if "compressed" in run.config:
        raise InputError(f"{run.path} was compressed, not trained: begin a new run with --from {run.path}")
    adopted = not run.config["fingerprint"] and not (run.path / runs.TRAINER).exists()
    tensors, meta = ({}, {}) if adopted else runs.load_tensors(run.path / runs.TRAINER, "start a new run")
    if adopted and not texts:
        raise InputError(f"{run.path} has no data yet: name some: tinyrnn train DATA --resume {run.path}")
    if not texts:
        own = [text for text in configuration.texts if text not in configuration.task.default_texts]
        runs.refuse_moved(run.path, own, f"before it: tinyrnn train DATA --resume {run.path}")
    if configuration.options.from_run:  # what has names in that one's model has the same numbers in its own
        file = run.path / runs.LAST
        weights, described = runs.load_tensors(file)
        with runs.reading(file, runs.ANOTHER), init.at_most(sum(a.nbytes for a in weights.values()), file):
            taken(described.get("model"), {"cell": _TEXT}, "model", others=True)
            described["model"]["cell"] = configuration.options.cell
            configuration = replace(configuration, origin=configuration.task.rebuild(described))
            if adopted:
                runs.put_weights(configuration.origin, weights)
    if adopted:
        configuration = replace(configuration, texts=list(texts))
        trainer = configuration.trainer(report, device)
        trainer.go_on_from(configuration.origin, configuration.options.from_run)
        told = {"options": configuration.entries(), "fingerprint": trainer.task.fingerprint}
        run.update_config(**told, **{"from": trainer.origin})
        trainer.start_in(run)
        return trainer
    with init.at_most(sum(a.nbytes for a in tensors.values()), run.path):
        trainer = replace(configuration, texts=list(texts) or configuration.texts).trainer(report, device)
    if trainer.task.fingerprint != run.config["fingerprint"]:
        raise InputError(
            f"{run.path} was trained on another text ({run.config['fingerprint']}, "
            f"now {trainer.task.fingerprint}): give the same text"
        )
    trainer.resume(run, tensors, meta)
    if trainer.progress() < 1:  # else nothing of it will happen
        run.update_config(options=configuration.entries())
    return trainer


def carry_out(trainer: Trainer, shown) -> list[str]:
    """Train, and draw ``curve.png`` where matplotlib is installed and there is something to draw; the lines
    that the task ends with.

    Args:
        shown: what introduces the run.

    Raises:
        Interrupted, Diverged, InputError, TooLargeError: as `Trainer.fit`.
    """
    shown.introduce(trainer)
    trainer.fit()
    if pictures.available() and trainer.run.read_log():
        with pictures.left_behind("curve.png"):
            pictures.curves([trainer.run], trainer.run.path / "curve.png")
    return trainer.task.conclude(trainer.run)


def load(run: str | Path, *, allow_code: AllowCode = False, device: str = "cpu") -> Any:
    """The trained model of a run folder or checkpoint file, ready to use.

    Args:
        allow_code: run the Python file that the checkpoint names, where its cell is one of a file
            (``FILE.py:CLASS``); or that file's path, where it is now. It must be what it was in training.
        device: where to compute, ``"cpu"``, ``"cuda"``, or ``"auto"``: on a GPU where there is one.

    A language model has ``generate(prompt, length=..., temperature=...)``, a classifier ``predict(texts)``, a
    translator ``translate(texts)``.

    Raises:
        InputError: not a run, a damaged or newer checkpoint, one whose weights are not all finite, its cell
            is in a file and ``allow_code`` is not given, or its cell's package is not installed (it says
            which).
    """
    device = chosen(device)
    file = runs.weights_file(path_of(run, "run"))
    tensors, meta = runs.load_tensors(file)
    if "task" not in meta:
        raise InputError(f"{run} holds the trainer's state, not a model: give the run folder")
    with runs.reading(file, runs.ANOTHER):
        taken(meta, _FACTS, "metadata", lacking=("step", "val_loss"), others=True)
        cell = taken(meta.get("model"), {"cell": _TEXT}, "model", others=True)["cell"]
        meta["model"]["cell"] = registry.allowed(cell, allow_code, "the checkpoint")
        taken(meta.get("package"), _PACKAGE, "package", lacking=("origin", "sha256"))  # old ones have none
        registry.refuse_missing(meta)
        with (
            registry.as_in_training(meta),
            init.at_most(sum(a.nbytes for a in tensors.values()), file),  # no more weights than bytes
        ):
            model = get_task(meta["task"]).on((), meta).rebuild(meta)
        runs.put_weights(model, tensors)
    return model.to(device).eval()
