"""Pictures with matplotlib (extra ``plot``)."""

from pathlib import Path

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
    try:
        figure.savefig(target, dpi=130)
    except OSError as error:
        raise InputError(f"{target} cannot be written ({error.strerror}): choose another --out") from None
    finally:
        pyplot.close(figure)
