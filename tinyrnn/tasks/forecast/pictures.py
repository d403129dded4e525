"""Pictures of forecasts."""

import numpy as np

from ...training.pictures import canvas, save


def draw_forecasts(series, column, parts, rows, target, *, interval, title):
    """The last ``rows`` of a `Series` and forecasts over them, each joined to the value it was made after, as
    a PNG.

    Args:
        parts: pairs of dates ``[H]`` and of value, lower and upper end of the interval ``[3, H]``.
        interval: part of the future values that it is to contain.

    Raises:
        InputError: matplotlib is missing, or ``target`` cannot be written.
    """
    figure, (axis,) = canvas(figsize=(11, 4))
    values = series.values[:, series.columns.index(column)]
    known = slice(max(0, len(series) - rows), None)
    axis.plot(series.dates[known], values[known], color="black", lw=1, label=column)
    for i, (dates, said) in enumerate(parts):
        last = np.searchsorted(series.dates, dates[0]) - 1
        dates = np.concatenate([series.dates[last : last + 1], dates])
        value, lower, upper = np.concatenate([np.full((3, 1), values[last]), said], axis=1)
        axis.plot(dates, value, color="C0", lw=1.2, label=None if i else "forecast")
        name = None if i else f"{interval:.0%} interval".replace("%", " %")
        axis.fill_between(dates, lower, upper, color="C0", alpha=0.2, linewidth=0, label=name)
    axis.axvline(series.dates[-1], color="grey", lw=0.8, ls=":", label="end of the series")
    _date_axis(axis, series)
    axis.set_ylabel(column)
    axis.set_title(title)
    axis.grid(alpha=0.3)
    figure.legend(loc="outside right upper")
    save(figure, target)


def draw_errors(series, origins, errors, column, target):
    """Forecasts minus true values ``[origins, horizon]`` as a heat map: ``origins``, rows of a `Series`, to
    the right, steps ahead upwards, as a PNG.
    """
    figure, (axis,) = canvas(figsize=(11, 3.2))
    largest = np.abs(errors).max() or 1.0
    _date_axis(axis, series)
    at = np.asarray(axis.convert_xunits(series.dates), float)
    # Each forecast has the place until the next one's date; edges, so that a single one has a place, too.
    right = np.append(at, 2 * at[-1] - at[-2])[origins[-1] + 1]
    edges = np.append(at[origins], right), np.arange(errors.shape[1] + 1) + 0.5
    drawn = axis.pcolormesh(*edges, errors.T, cmap="RdBu_r", vmin=-largest, vmax=largest)
    figure.colorbar(drawn, label=f"forecast minus {column}")
    axis.set_xlabel(f"{axis.get_xlabel()} of the first step that is forecast")
    axis.locator_params(axis="y", integer=True, min_n_ticks=1)
    axis.set_ylabel("steps ahead")
    axis.set_title("Errors of the forecasts of the test part (red: too high, blue: too low)")
    save(figure, target)


def _date_axis(axis, series):
    if series.dates.dtype.kind != "M":
        axis.set_xlabel("row")
        return
    from matplotlib import dates

    axis.xaxis_date()
    locator = dates.AutoDateLocator()
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, show_offset=False))
    axis.set_xlabel("date")
