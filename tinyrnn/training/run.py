"""Training from Python: `train`, the twin of ``tinyrnn train``, and `Run`, what it returns."""

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

from ..base import threads as pool
from ..base.errors import InputError
from . import experiments
from .runs import RunFolder, write_atomically
from .task import get_task
from .trainer import Interrupted, Trainer

R = TypeVar("R", bound="Run")


class Run(RunFolder):
    """A run that was trained, by its folder.

    Args:
        path: of the folder, or of a checkpoint in it.
        allow_code: run the Python file that the run names, where its cell is one of a file; needless for what
            `train` returns, whose cell you named.

    Raises:
        InputError: it is no run.
    """

    def __init__(self, path: str | os.PathLike[str], *, allow_code: bool = False) -> None:
        super().__init__(path)
        self.allow_code = allow_code

    @functools.cached_property
    def model(self) -> Any:
        """The best model so far, ready to use; see `load`."""
        return experiments.load(self.path, allow_code=self.allow_code)

    @property
    def log(self) -> list[dict[str, Any]]:
        """One dict an evaluation: step, epoch, train_loss, val_loss, tokens_per_s, seconds, lr, and the
        task's own.
        """
        return self.read_log()

    def evaluate(self, data: Any = (), **options: Any) -> dict[str, Any]:
        """The figures that ``tinyrnn evaluate`` prints, on ``data`` or on the validation part of the run's
        own.

        Raises:
            InputError: the data cannot be used, or the task has no such option.
        """
        task = get_task(self.config["task"])
        if unknown := options.keys() - task.evaluation.rules():
            raise InputError(f"task {task.name} is evaluated without {min(unknown)!r}: leave it out")
        return task.evaluate_run(self.model, _paths(data), self.path, task.evaluation(**options))

    def plot(self, out: str | os.PathLike[str] | None = None) -> Path:
        """Draw the learning curve; the path of the picture, which is ``curve.png`` in the run's folder by
        default.

        Raises:
            InputError: matplotlib is missing, or there is no evaluation yet.
        """
        from .pictures import curves

        target = Path(out or self.path / "curve.png")
        curves([self], target)
        return target

    def resume(self, *, device: str = "cpu", quiet: bool = False, **plan: Any) -> Self:
        """Go on training where the run was left, to another length: ``run.resume(steps=4000)``.

        Args:
            device: where to compute, ``"cpu"`` or ``"cuda"``; a run may change it.
            plan: as in `train`; what would make it another run is refused.
        """
        report = _report(quiet)
        trainer = experiments.take_up(
            self.path, plan, report=report, device=device, allow_code=self.allow_code
        )
        return _finished(type(self), trainer, report, device)

    def __repr__(self) -> str:
        config, log = self.config, self.log
        told = f"{config['task']}, {config['options']['cell']}"
        if log:
            best = min(log, key=lambda record: record["val_loss"])
            told += (
                f", step {log[-1]['step']:,}, validation loss {best['val_loss']:.4f} at step {best['step']:,}"
            )
        return f"Run({str(self.path)!r}: {told})"


def train(
    data: Any = (),
    task: str = "lm",
    *,
    out: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    threads: int | None = None,
    quiet: bool = False,
    **options: Any,
) -> Run:
    """Train a model; the same run, to the last bit, as ``tinyrnn train`` with the same options.

    Args:
        data: a path or several, as the command takes them; or what a task reads from memory, which is stored
            as a file beside the run, so that it can be taken up again: for ``lm`` an open text
            (``io.StringIO(text)``), for ``classify`` pairs (text, label), for ``translate`` pairs
            (source, target), for ``forecast`` an array ``[N]`` or ``[N, columns]`` or a pandas frame.
        task: its name; ``tinyrnn train --help`` lists them.
        out: the run's folder; default: ``runs/DATA-CELL``, numbered if it exists.
        device: where to compute, ``"cpu"`` or ``"cuda"``.
        threads: to compute on; default: all cores.
        quiet: show nothing.
        options: those of the command, ``-`` as ``_``: ``cell="lstm", hidden=512, minutes=3``; ``cell_opt``
            takes a dict.

    Raises:
        InputError: data or an option that cannot be used.
        Diverged: the loss left the finite; the last good checkpoint stays.
        MemoryFullError: the memory of this machine, or of its GPU, is full.
        KeyboardInterrupt: after the run was saved; ``Run(path).resume()`` goes on.

    Example:
        >>> run = tr.train("text.txt", cell="gru", minutes=3)
        >>> print(run.model.generate("The ", length=100))
    """
    if threads:
        pool.set_threads(threads)
    report = _report(quiet)
    configuration = experiments.Configuration.make(task, _paths(data, get_task(task).store), options)
    trainer = experiments.begin(configuration, report, out=out, device=device)
    return _finished(Run, trainer, report, device)


def _report(quiet: bool) -> Any:
    from .report import for_people  # and with it what draws in terminals

    return for_people(quiet)


def _finished(kind: type[R], trainer: Trainer, report: Any, device: str) -> R:
    try:
        said = experiments.carry_out(trainer, report, device)
    except Interrupted:
        raise KeyboardInterrupt(
            f"saved at step {trainer.step}: Run({str(trainer.run.path)!r}).resume()"
        ) from None
    for line in said:
        report.message(line)
    return kind(trainer.run.path, allow_code=True)  # its cell's code has just run


def _path(text: str) -> str:
    """``text``, if it can be one of a file."""
    if not {"\n", "\0"} & set(text) and len(os.path.basename(text)) < 256:
        return text
    raise InputError(f"{text[:20]!r}... is no path: to train on a text itself give io.StringIO(text)")


def _paths(data: Any, store: Callable[[Any], tuple[str, str]] | None = None) -> list[str]:
    """The files of ``data``; what is in memory is stored first."""
    listed = [data] if isinstance(data, str | os.PathLike) else data
    if isinstance(listed, list | tuple) and all(isinstance(d, str | os.PathLike) for d in listed):
        return [_path(os.fspath(d)) for d in listed]
    if store is None:
        raise InputError("the data to evaluate on must be files: give their paths")
    suffix, text = store(data)
    name = f"data-{hashlib.sha256(text.encode()).hexdigest()[:8]}.{suffix}"
    path = Path("runs") / name
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, text.encode())
    return [str(path)]
