"""Pictures with matplotlib (extra ``plot``)."""

from pathlib import Path

import numpy as np

from .errors import InputError
from .runs import Run


def _pyplot():
    try:
        import matplotlib
    except ImportError:
        raise InputError("plots need matplotlib: pip install 'tinyrnn[plot]'") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def curves(runs: list[Run], target: Path):
    """Validation (solid) and training loss (thin) of ``runs`` against steps and against seconds, as a PNG.

    Raises:
        InputError: matplotlib is missing, a run has no evaluation yet, or ``target`` cannot be written.
    """
    pyplot = _pyplot()
    logs = {run.path.name: run.read_log() for run in runs}
    for name, log in logs.items():
        if not log:
            raise InputError(f"run {name} has no evaluation yet: let it train to its first one")
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4), sharey=True, layout="constrained")
    for axis, x in zip(axes, ("step", "seconds"), strict=True):
        for i, (name, log) in enumerate(logs.items()):
            at, color = [r[x] for r in log], f"C{i}"
            axis.plot(at, [r["val_loss"] for r in log], color=color, marker="." if len(log) < 30 else None, label=name)
            axis.plot(at, [r["train_loss"] for r in log], color=color, linewidth=0.8, alpha=0.6)
        axis.set_xlabel(x)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("loss (nats a token)")
    axes[1].legend(title="thick: validation, thin: training")
    _save(figure, target)


def comparison(logs: dict, target: Path):
    """Validation loss against steps and against seconds, as a PNG: the mean over seeds, thin lines for each.

    Args:
        logs: a list of logs, one a seed, by cell.

    Raises:
        InputError: matplotlib is missing, or ``target`` cannot be written.
    """
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4), sharey=True, layout="constrained")
    for axis, x in zip(axes, ("step", "seconds"), strict=True):
        for i, (cell, runs) in enumerate(logs.items()):
            columns = [list(zip(*[(r[x], r["val_loss"]) for r in log], strict=True)) for log in runs]
            n = min(len(at) for at, _ in columns)
            at, loss = (np.mean([column[k][:n] for column in columns], axis=0) for k in (0, 1))
            axis.plot(at, loss, color=f"C{i}", marker="." if n < 30 else None, label=cell)
            for column in columns if len(columns) > 1 else ():
                axis.plot(*column, color=f"C{i}", linewidth=0.7, alpha=0.5)
        axis.set_xlabel(x)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("validation loss (nats a token)")
    axes[1].legend()
    _save(figure, target)


def _save(figure, target):
    try:
        figure.savefig(target, dpi=130)
    except OSError as error:
        raise InputError(f"{target} cannot be written ({error.strerror}): choose another --out") from None
    finally:
        _pyplot().close(figure)
