"""Errors of predictions over samples and steps, as a picture (extra ``plot``)."""

import numpy as np

from ..base.errors import InputError


def plot_errors(y_true, y_pred, ax=None):
    """A heat map of ``y_pred - y_true`` by sample (downwards) and step (to the right).

    Args:
        y_true, y_pred: ``[N, T]`` or lists of ``[T_i]``; steps that a sample lacks stay white.
        ax: matplotlib axes to draw the heat map on; None: a new figure, whose lower panel shows the mean
            error of each step and one standard deviation about it.

    Returns:
        The axes of the heat map; ``plot_errors(...).figure.savefig("errors.png")`` writes it.

    Raises:
        InputError: matplotlib is missing, or the values are not numbers of equal shapes.
    """
    try:
        from matplotlib import pyplot
    except ImportError:
        raise InputError("plots need matplotlib: pip install 'tinyrnn[plot]'") from None
    errors = _errors(y_true, y_pred)
    profile = None
    if ax is None:
        _, (ax, profile) = pyplot.subplots(
            2, 1, figsize=(8, 6), sharex=True, layout="constrained", height_ratios=(3, 1)
        )
    largest = np.nanmax(np.abs(errors)) or 1.0
    drawn = ax.imshow(
        errors, cmap="RdBu_r", vmin=-largest, vmax=largest, aspect="auto", interpolation="nearest"
    )
    ax.figure.colorbar(drawn, ax=ax, label="predicted - true")
    ax.set_ylabel("sample")
    ax.set_title(f"errors: mean {np.nanmean(errors):.3g}, standard deviation {np.nanstd(errors):.3g}")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.yaxis.get_major_locator().set_params(integer=True)
    (ax if profile is None else profile).set_xlabel("step")
    if profile is not None:
        steps, mean, spread = range(errors.shape[1]), np.nanmean(errors, axis=0), np.nanstd(errors, axis=0)
        profile.axhline(0, color="grey", linewidth=0.8)
        profile.fill_between(steps, mean - spread, mean + spread, alpha=0.25, linewidth=0, label="± 1 std")
        profile.plot(steps, mean, marker="." if len(mean) < 40 else None, label="mean")
        profile.set_ylabel("error")
        profile.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, borderpad=0)
    return ax


def _errors(y_true, y_pred):
    """Predicted minus true values ``[N, T]``, NaN where a sample has no such step."""
    if len(y_true) != len(y_pred) or not len(y_true):
        raise InputError(
            f"y_true has {len(y_true)} samples, y_pred {len(y_pred)}: give the same, at least one"
        )
    rows = []
    for i, (true, said) in enumerate(zip(y_true, y_pred, strict=True)):
        true, said = np.asarray(true, float), np.asarray(said, float)
        if true.ndim != 1 or true.shape != said.shape:
            shapes = f"y_true is {list(true.shape)}, y_pred {list(said.shape)}"
            raise InputError(f"sample {i}: {shapes}: give one value a step, of one output (y[..., k])")
        rows.append(said - true)
    errors = np.full((len(rows), max(map(len, rows))), np.nan)
    for row, values in zip(errors, rows, strict=True):
        row[: len(values)] = values
    return errors
