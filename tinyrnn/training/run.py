"""Training from Python: `train`, the twin of ``tinyrnn train``, and `Run`, what it returns."""

import functools
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

from ..base import threads as pool
from ..base.errors import Diverged, InputError, shown
from ..base.options import Options, path_of
from ..nn.registry import CONSENT, ELSEWHERE, AllowCode
from . import experiments
from .plan import Place
from .robustness import rows
from .runs import RunFolder, judged, keep_data, remove
from .screen import hushed
from .task import Task, get_task, task_of
from .trainer import Interrupted, Trainer

R = TypeVar("R", bound="Run")
PathLike = str | os.PathLike[str]
_PATHS = (str, os.PathLike)


# Flags in a message, with a value where it can be told from the sentence that goes on.
_RESUME = re.compile(r"--resume (\S+)")
_FLAG = re.compile(r"(?<![\w./-])--([a-z][a-z0-9-]*)(?: (?=\d))?")
_NAMED = re.compile(r"--(task|level|missing|device|dtype|schedule) (\w+)")
_COMMAND = re.compile(r"\btinyrnn (train|generate|evaluate|predict|robust)\b")


@contextmanager
def keywords() -> Iterator[None]:
    """In this block messages name keywords and methods where the command line has flags and commands."""
    try:
        yield
    except (InputError, Diverged) as error:
        text = str(error).replace(CONSENT, "tr.Run(path, allow_code=True)")
        text = text.replace(ELSEWHERE, "tr.Run(path, allow_code='FILE.py')")
        text = re.sub(r"--from(?![\w-])", "from_run=", text)
        text = _RESUME.sub(r"tr.Run('\1').resume()", text)
        text = _NAMED.sub(lambda found: f"{found[1]}={found[2]!r}", text)
        text = _FLAG.sub(lambda found: found[1].replace("-", "_") + "=", text)
        error.args = (_COMMAND.sub(r"\1()", text),)
        raise


class Run:
    """A run that was trained, by its folder.

    Args:
        path: of the folder, or of a checkpoint in it.
        allow_code: run the Python file that the run names, where its cell is one of a file; or that file's
            path, where it is now. Needless for what `train` returns, whose cell you named.

    Raises:
        InputError: it is no run.
    """

    def __init__(self, path: PathLike, *, allow_code: AllowCode = False) -> None:
        self._folder, self._allow_code = RunFolder(path), allow_code

    @classmethod
    @keywords()
    def of(cls, model: Any, path: PathLike, source: str = "another library") -> Self:
        """A run made of a model that was trained elsewhere, as `from_torch` gives it: all commands take it.
        ``tinyrnn train DATA --resume PATH`` trains it on.

        Args:
            path: of the folder to make.
            source: where the model is from, in words.

        Raises:
            InputError: ``path`` exists, or it is no model of a task.
        """
        return cls(experiments.adopt(model, path, source).path)

    @property
    def path(self) -> Path:
        """The folder."""
        return self._folder.path

    @property
    def options(self) -> dict[str, Any]:
        """What it was trained with: the task, the texts, the options of the task and of the plan."""
        return self._folder.options

    @functools.cached_property
    @keywords()
    def model(self) -> Any:
        """The best model so far, ready to use; see `load`."""
        return experiments.load(self.path, allow_code=self._allow_code)

    @property
    def log(self) -> list[dict[str, Any]]:
        """One dict an evaluation: step, epoch, train_loss, val_loss, tokens_per_s, seconds, lr, and the
        task's own.
        """
        return self._folder.read_log()

    @keywords()
    def evaluate(self, data: Any = None, **options: Any) -> dict[str, Any]:
        """The figures that ``tinyrnn evaluate`` prints, on ``data``, files or what `train` takes from memory,
        or on the validation part of the run's own.

        Raises:
            InputError: the data cannot be used, or the task has no such option.
        """
        task = self._task
        given = _checked(task.evaluation, options, f"task {task.name} is evaluated")
        with self._files(data) as texts:
            return task.evaluate_run(self.model, texts, self.path, given)

    @keywords()
    def robust(self, data: Any = None, **options: Any) -> list[dict[str, Any]]:
        """The figures that ``tinyrnn robust`` prints: a dict for each disturbance and strength, with
        ``kind``, ``strength`` and the task's figures; the first is that of the undisturbed data.

        Args:
            data: as in `evaluate`.
            options: ``kinds=["typo", "drop"], strengths=[0.05, 0.1], examples=200, seed=0``, and those of the
                task.

        Raises:
            InputError: as `evaluate`, or the task cannot be disturbed.
        """
        task = self._task
        for name in {"kinds", "strengths"} & {k for k, v in options.items() if not isinstance(v, str | None)}:
            several = options[name] if isinstance(options[name], Iterable) else [options[name]]
            options[name] = ",".join(map(str, several))
        given = _checked(task.robustness, options, f"task {task.name} is disturbed")
        with self._files(data) as texts:
            return list(rows(task.probe(self.model, texts, self.path, given), given))

    @keywords()
    def predict(self, inputs: Any = None, **options: Any) -> list[dict[str, Any]]:
        """What ``tinyrnn predict`` prints, a dict each: of a classifier or translator for each text of
        ``inputs`` and each line of a file that is named there; of a forecaster for each step after the end of
        the file, or of the run's own where none is named. A pandas frame or an array of numbers is read as a
        file of it would be.

        Raises:
            InputError: the inputs cannot be used, the task does not predict, or has no such option.
        """
        dimensions = getattr(inputs, "ndim", 0)
        if dimensions > 1 or (dimensions and not all(isinstance(x, str) for x in inputs)):
            with self._files(inputs) as texts:
                return self.predict(texts, **options)
        single = isinstance(inputs, (*_PATHS, bytes)) or not isinstance(inputs, Iterable)
        several: Any = [inputs] if single else inputs
        listed = [] if inputs is None else list(several)
        if wrong := [x for x in listed if not isinstance(x, _PATHS)]:
            raise InputError(f"{shown(wrong[0])} cannot be predicted from: give texts, or paths of files")
        task, texts = self._task, [os.fspath(x) for x in listed]
        if inputs is None and task.default_inputs:
            raise InputError("there is nothing to predict from: give texts, or paths of files")
        given = _checked(task.prediction, options, f"task {task.name} predicts")
        return list(task.predict(self.model, texts, self.path, given))

    @keywords()
    def generate(self, prompt: str | None = None, **options: Any) -> str | list[str]:
        """``prompt`` and what a language model continues it with: ``length=200, temperature=0.8, top_k=None,
        top_p=None, seed=None, stop=None, weights=None``; with ``num=16`` a list of so many, made together.

        Raises:
            InputError: it is no language model, or an option out of range.
        """
        if not hasattr(self.model, "generate"):
            raise InputError(f"{self.path} is no language model: use predict")
        return self.model.generate(prompt, **options)

    @keywords()
    def plot(self, out: PathLike | None = None) -> Path:
        """Draw the learning curve; the path of the picture, which is ``curve.png`` in the run's folder by
        default.

        Raises:
            InputError: matplotlib is missing, or there is no evaluation yet.
        """
        from .pictures import curves

        target = self.path / "curve.png" if out is None else path_of(out, "out")
        curves([self._folder], target)
        return target

    @keywords()
    def resume(self, *, device: str = "cpu", quiet: bool = False, **plan: Any) -> Self:
        """Go on training where the last checkpoint left the run, to another length:
        ``run.resume(steps=4000)``.

        Args:
            device: where to compute, ``"cpu"``, ``"cuda"`` or ``"auto"``; a run may change it.
            plan: as in `train`; what would make it another run is refused.
        """
        report = reporter(quiet)
        with hushed(quiet):
            trainer = experiments.take_up(
                self.path, plan, report=report, device=device, allow_code=self._allow_code
            )
            return _finished(type(self), trainer, report)

    @contextmanager
    def _files(self, data: Any) -> Iterator[list[str]]:
        """``data`` as paths: what comes from memory is a file in this block; None: those of the run."""
        if (texts := [] if data is None else paths_of(data)) is not None:
            yield texts
            return
        suffix, text = self._task.store(data)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"data.{suffix}")
            encoding = self.options.get("encoding", "utf-8")
            path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
            yield [str(path)]

    @property
    def _task(self) -> type[Task]:
        return task_of(self._folder)

    def __repr__(self) -> str:
        config, log = self._folder.config, self.log
        told = f"{config['task']}, {config['options']['cell']}"
        if log:
            best = min(judged(log), key=lambda record: record["val_loss"])
            told += (
                f", step {log[-1]['step']:,}, validation loss {best['val_loss']:.4f} at step {best['step']:,}"
            )
        return f"Run({str(self.path)!r}: {told})"


@keywords()
def train(
    data: Any = None,
    task: str | None = None,
    *,
    out: PathLike | None = None,
    device: str = "cpu",
    threads: int | None = None,
    quiet: bool = False,
    **options: Any,
) -> Run:
    """Train a model; the same run, to the last bit, as ``tinyrnn train`` with the same options.

    Args:
        data: a path or several, as the command takes them; or what a task reads from memory, which is stored
            as a file beside the run, so that it can be taken up again: for ``lm`` an open text
            (``io.StringIO(text)``), for ``classify`` pairs (text, label) or sequences and their
            labels (xs, ys), for ``translate`` pairs
            (source, target), for ``forecast`` an array ``[N]`` or ``[N, columns]``; for these three also a
            pandas frame.
        task: its name, which ``tinyrnn train --help`` lists; default: ``lm``, or that of ``from_run``.
        out: the run's folder; default: ``runs/DATA-CELL``, numbered if it exists.
        device: where to compute, ``"cpu"``, ``"cuda"``, or ``"auto"``: on a GPU where that gains.
        threads: to compute on; default: all cores.
        quiet: show nothing.
        options: those of the command, ``-`` as ``_``: ``cell="lstm", hidden=512, minutes=3``; ``cell_opt``
            takes a dict, ``from_run`` (in the command ``--from``) a path, or a `Run` with its consent to
            code.

    Raises:
        InputError: data or an option that cannot be used.
        Diverged: the loss left the finite; the last good checkpoint stays.
        KeyboardInterrupt: after the run was saved; ``Run(path).resume()`` goes on.

    Example:
        >>> run = tr.train("text.txt", cell="gru", minutes=3)
        >>> print(run.model.generate("The ", length=100))
    """
    place, origin = Place.of(dict(out=out, device=device, threads=threads)), options.get("from_run")
    if isinstance(origin, Run):
        options["from_run"] = origin.path
    task = experiments.task_name(task, options.get("from_run"))
    if place.threads:
        pool.set_threads(place.threads)
    report, kind, texts = reporter(quiet), get_task(task), [] if data is None else paths_of(data)
    trainer, made = None, list[Path]()
    with hushed(quiet):
        try:
            if texts is None:
                suffix, text = kind.store(data)
                made, texts = keep_data(text, suffix, kind.options.of(options).encoding)
            allow_code = path_and_consent(origin)[1]
            configuration = experiments.configured(task, texts, options, allow_code)
            trainer = experiments.begin(configuration, report, out=place.out, device=place.device)
            return _finished(Run, trainer, report)
        except BaseException:
            if not (trainer and trainer.run.path.exists()):  # then nothing needs what this call stored
                remove(made)
            raise


def reporter(quiet: bool) -> Any:
    """What shows a run to people, or nothing."""
    from .report import for_people  # and with it what draws in terminals

    return for_people(quiet)


def _finished(kind: type[R], trainer: Trainer, report: Any) -> R:
    try:
        said = experiments.carry_out(trainer, report)
    except Interrupted:
        raise KeyboardInterrupt(
            f"saved at step {trainer.step}: Run({str(trainer.run.path)!r}).resume()"
        ) from None
    for line in said:
        report.message(line)
    return kind(trainer.run.path, allow_code=True)  # its cell's code has just run


def path_and_consent(run: Any) -> tuple[Any, AllowCode]:
    """Of a `Run`, or of what is taken for its path: without consent to run code."""
    return (run.path, run._allow_code) if isinstance(run, Run) else (run, False)


def _checked(kind: type[Options], options: dict[str, Any], doing: str) -> Any:
    """``options`` of the class ``kind``; InputError for one that it lacks."""
    if unknown := options.keys() - kind.rules():
        raise InputError(f"{doing} without {min(unknown)!r}: leave it out")
    return kind(**options)


def _path(text: str) -> str:
    """``text``, if it can be one of a file."""
    if not {"\n", "\0"} & set(text) and len(os.path.basename(text)) < 256:
        return text
    raise InputError(f"{text[:20]!r}... is no path: to train on a text itself give io.StringIO(text)")


def paths_of(data: Any) -> list[str] | None:
    """The files that ``data`` names; None: it is something else."""
    listed = [data] if isinstance(data, _PATHS) else data
    if not isinstance(listed, list | tuple) or not all(isinstance(d, _PATHS) for d in listed):
        return None
    if not listed:
        raise InputError("the data is empty: give a path, several, or leave it out")
    return [_path(os.fspath(d)) for d in listed]
