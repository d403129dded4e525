"""Pictures with matplotlib (extra ``plot``)."""

import io
from pathlib import Path

import numpy as np

from ..base.errors import InputError
from ..base.files import replace_file
from .runs import RunFolder


def _pyplot():
    try:
        import matplotlib
    except ImportError:
        raise InputError("plots need matplotlib: pip install 'tinyrnn[plot]'") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def curves(runs: list[RunFolder], target: Path):
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
            axis.plot(
                at,
                [r["val_loss"] for r in log],
                color=color,
                marker="." if len(log) < 30 else None,
                label=name,
            )
            axis.plot(at, [r["train_loss"] for r in log], color=color, linewidth=0.8, alpha=0.6)
        axis.set_xlabel(x)
        axis.grid(alpha=0.3)
    tokens = all(run.config["task"] == "lm" for run in runs)
    axes[0].set_ylabel("loss (nats a token)" if tokens else "loss")
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


def attention(source: list[str], target: list[str], weights, path):
    """What each symbol of ``target`` (downwards) attended to in ``source``, as a PNG: weights ``[target,
    source]``.

    Raises:
        InputError: matplotlib is missing, or ``path`` cannot be written.
    """
    pyplot = _pyplot()
    width = 1.5 + 0.25 * len(source) + 0.06 * max(map(len, target))
    figure, axis = pyplot.subplots(figsize=(max(width, 3), 1.5 + 0.25 * len(target)), layout="constrained")
    axis.imshow(weights, cmap="Greys", vmin=0, vmax=1)
    turned = 90 if max(map(len, source)) > 2 else 0
    axis.set_xticks(range(len(source)), [s.strip() or "␣" for s in source], rotation=turned)
    axis.set_yticks(range(len(target)), [s.strip() or "␣" for s in target])
    axis.xaxis.tick_top()
    _save(figure, path)


def forecasts(series, column, parts, rows, target):
    """The last ``rows`` of a `Series` and forecasts over them, as a PNG.

    Args:
        parts: pairs of dates ``[H]`` and of value, lower and upper end of the interval ``[3, H]``.

    Raises:
        InputError: matplotlib is missing, or ``target`` cannot be written.
    """
    pyplot = _pyplot()
    figure, axis = pyplot.subplots(figsize=(11, 4), layout="constrained")
    known = slice(max(0, len(series) - rows), None)
    axis.plot(
        series.dates[known],
        series.values[known, series.columns.index(column)],
        color="black",
        lw=1,
        label=column,
    )
    for i, (dates, (value, lower, upper)) in enumerate(parts):
        marker = "." if len(dates) == 1 else None
        axis.plot(dates, value, color="C0", lw=1.2, marker=marker, label="forecast" if i == 0 else None)
        ends = axis.fill_between if len(dates) > 1 else axis.vlines
        ends(
            dates,
            lower,
            upper,
            color="C0",
            alpha=0.2,
            linewidth=0 if len(dates) > 1 else 2,
            label="" if i else "interval",
        )
    axis.axvline(series.dates[-1], color="grey", lw=0.8, ls=":")
    axis.grid(alpha=0.3)
    axis.legend(loc="upper left")
    _save(figure, target)


def errors(dates, values, column, target):
    """Forecasts minus true values ``[origins, horizon]`` as a heat map: origins to the right, steps ahead
    upwards, as a PNG.
    """
    pyplot = _pyplot()
    figure, axis = pyplot.subplots(figsize=(11, 3.2), layout="constrained")
    largest = np.abs(values).max() or 1.0
    horizon = np.arange(1, values.shape[1] + 1)
    drawn = axis.pcolormesh(
        dates, horizon, values.T, cmap="RdBu_r", vmin=-largest, vmax=largest, shading="nearest"
    )
    figure.colorbar(drawn, label=f"forecast - {column}")
    axis.set_xlabel("forecast from")
    axis.set_ylabel("steps ahead")
    _save(figure, target)


def _save(figure, target):
    target, picture = Path(target), io.BytesIO()
    form = target.suffix[1:] or "png"
    try:
        figure.savefig(
            picture, format=form, dpi=130, metadata={"Software": "tinyrnn"} if form == "png" else None
        )
        replace_file(target, picture.getvalue())
    except OSError as error:
        raise InputError(f"{target} cannot be written ({error.strerror}): choose another --out") from None
    finally:
        _pyplot().close(figure)
