"""Runs by their configuration: begun, or taken up again. What ``tinyrnn train`` and ``tinyrnn compare``
share.

A configuration is a dict of the options of ``tinyrnn train`` that belong to a run; it is stored in the run's
``config.json``.
"""

import importlib.util
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..base.devices import require_cupy
from ..base.errors import InputError
from ..nn import registry
from . import runs
from .runs import Run, free_name
from .task import get_task
from .trainer import Plan, Trainer

LENGTHS = ("steps", "epochs", "minutes")
# What a resumed run may change; all else would make it another run.
CHANGEABLE = {*LENGTHS, "lr", "schedule", "warmup", "clip", "eval_every", "patience"}


def begin(configuration, texts, report, *, out=None, device="cpu"):
    """The trainer of a new run, its folder made. ``texts``: files, folders, ``-``, or nothing.

    Raises:
        InputError: ``out`` exists, or a text or an option cannot be used.
    """
    if out:  # before the text is read, which may take long
        Run.refuse_existing(Path(out))
    configuration = with_length({**configuration, "cell": registry.full_name(configuration["cell"])})
    configuration["texts"] = [s if s == "-" else str(Path(s).resolve()) for s in texts]
    configuration["texts"] = configuration["texts"] or list(get_task(configuration["task"]).default_texts)
    task = get_task(configuration["task"]).build(configuration, texts)
    trainer = _trainer(task, configuration, report, device)
    stem = "stdin" if texts == ["-"] else Path(configuration["texts"][0]).stem.replace(" ", "-")
    path = Path(out or free_name(Path("runs") / f"{stem}-{registry.short_name(configuration['cell'])}"))
    trainer.start(path, {"task": task.name, "options": configuration, "fingerprint": task.fingerprint})
    return trainer


def with_length(configuration) -> dict:
    """``configuration``, with the task's default length if it has none."""
    if any(configuration[k] is not None for k in LENGTHS):
        return dict(configuration)
    defaults = get_task(configuration["task"]).defaults
    return {**configuration, **{k: defaults[k] for k in LENGTHS if k in defaults}}


def take_up(path, given, texts, report, *, device="cpu", allow_code=False):
    """The trainer of the run at ``path``, where its last checkpoint left it.

    Args:
        given: entries of the configuration that the user gave now; some may differ from the run's
            (`CHANGEABLE`).
        texts: in place of the run's own.
        allow_code: run the Python file that the run names, where its cell is one of a file; needless if it is
            given now.

    Raises:
        InputError: an entry that would make it another run, another text, a damaged run, or a cell in a file
            that is neither allowed nor given.
    """
    run = Run(path)
    stored = run.config
    configuration = dict(stored["options"])
    if "cell" in given:
        given = {**given, "cell": registry.full_name(given["cell"])}
    for name, value in given.items():
        if value != configuration.get(name) and name not in CHANGEABLE:
            option_name = "--" + name.replace("_", "-")
            raise InputError(
                f"{run.path} was trained with {option_name} {configuration.get(name)}, not {value}: "
                f"leave {option_name} out, or start a new run"
            )
    if not allow_code and "cell" not in given:
        registry.refuse_code(configuration["cell"], run.path)
    if given.keys() & set(LENGTHS):
        configuration |= dict.fromkeys(LENGTHS)
    configuration |= {k: v for k, v in given.items() if k in CHANGEABLE}
    task = get_task(stored["task"]).build(configuration, texts or configuration["texts"])
    if task.fingerprint != stored["fingerprint"]:
        raise InputError(
            f"{run.path} was trained on another text ({stored['fingerprint']}, now {task.fingerprint}): give the same text"
        )
    trainer = _trainer(task, configuration, report, device)
    trainer.resume(run)
    run.update_config(options=configuration)
    return trainer


def _trainer(task, configuration, report, device):
    if device != "cpu":
        require_cupy(device)
        task.model.to(device)
    return Trainer(task, Plan(**{f.name: configuration[f.name] for f in fields(Plan)}), report)


def draw_curve(run):
    """``curve.png`` in the run folder, where matplotlib is installed and there is something to draw."""
    if importlib.util.find_spec("matplotlib") and run.read_log():
        from .pictures import curves

        curves([run], run.path / "curve.png")


def load(run: str | Path, *, allow_code: bool = False) -> Any:
    """The trained model of a run folder or checkpoint file, ready to use.

    Args:
        allow_code: run the Python file that the checkpoint names, where its cell is one of a file
            (``FILE.py:CLASS``).

    A language model has ``generate(prompt, length=..., temperature=...)``, a classifier ``predict(texts)``, a
    translator ``translate(texts)``.

    Raises:
        InputError: not a run, a damaged or newer checkpoint, its cell is in a file and ``allow_code`` is not
            given, or its cell's package is not installed (it says which).
    """
    tensors, meta = runs.load_tensors(runs.weights_file(run))
    if "task" not in meta:
        raise InputError(f"{run} holds the trainer's state, not a model: give the run folder")
    if not allow_code:
        registry.refuse_code(meta["model"]["cell"], run)
    registry.refuse_missing(meta)
    task: Any = get_task(meta["task"])
    model = task.rebuild(meta)
    model.load_state_dict(tensors)
    return model.eval()
