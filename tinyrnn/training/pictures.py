"""Learning curves with matplotlib (extra ``plot``), and what every picture needs: matplotlib, a file."""

import importlib.util
import io
import math
import sys
import textwrap
from contextlib import contextmanager
from pathlib import Path

from ..base.errors import InputError, visible
from ..base.files import replace_file
from .robustness import grid
from .runs import RunFolder, judged
from .screen import note
from .task import task_of

LABEL = 40  # characters of an axis' name on a line
FAINT = dict(linewidth=0.8, alpha=0.5)  # lines behind the ones that matter


def available() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def canvas(columns=1, **settings):
    """A figure of ``columns`` panels side by side, and their axes in a list.

    Raises:
        InputError: matplotlib is missing.
    """
    if not available():
        raise InputError("plots need matplotlib: pip install 'tinyrnn[plot]'")
    from matplotlib.figure import Figure  # not pyplot, whose figures are the user's

    figure = Figure(layout="constrained", **settings)
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def save(figure, target):
    """Write ``figure``, by default as a PNG that says that tinyrnn made it.

    Raises:
        InputError: ``target`` cannot be written.
    """
    target, picture = Path(target), io.BytesIO()
    form = target.suffix[1:] or "png"
    for text in figure.texts:
        text.set_parse_math(False)  # names are shown as they are: $ begins no formula
    for axes in figure.axes:
        fixed = [axis for axis in (axes.xaxis, axes.yaxis) if hasattr(axis.get_major_formatter(), "seq")]
        ticks = [label for axis in fixed for label in axis.get_ticklabels()]
        legend = axes.get_legend().get_texts() if axes.get_legend() else ()
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts, *legend, *ticks):
            text.set_parse_math(False)
    try:
        figure.savefig(
            picture, format=form, dpi=130, metadata={"Software": "tinyrnn"} if form == "png" else None
        )
        replace_file(target, picture.getvalue())
    except OSError as error:
        raise InputError(f"{target} cannot be written ({error.strerror}): choose another --out") from None


@contextmanager
def left_behind(names: str):
    """A block that draws what a run leaves behind: the run is done, whatever goes wrong with its pictures."""
    try:
        yield
    except Exception as error:  # matplotlib, fonts, the disk
        note(f"{names} could not be drawn ({type(error).__name__}: {error}): the run itself is whole")


def line(axis, at, values, **style):
    """A line of ``values``; of a single one a point, its value above it."""
    few = len(values) < 30 and "alpha" not in style
    marks = ("o" if len(values) == 1 else ".") if few else None
    axis.plot(at, values, **{"marker": marks, **style})
    if len(values) == 1:
        above = dict(textcoords="offset points", xytext=(0, 7), ha="center", color=style.get("color"))
        axis.annotate(f"{values[0]:.4g}", (at[0], values[0]), **above)
        axis.margins(x=0.08, y=0.15)
        axis.update_datalim([(0, values[0])])  # so that where it is can be seen


def time_unit(longest: float) -> tuple[float, str]:
    """In what a time axis that reaches ``longest`` seconds is shown: a number of seconds, and its name."""
    return next((u for u in ((3600.0, "hours"), (60.0, "minutes")) if longest >= 3 * u[0]), (1.0, "seconds"))


def loss_panels(axes, longest: float, loss_name: str):
    """Name the axes of two panels, losses against steps and against seconds; returns how to get the place
    of a record on each.
    """
    unit, name = time_unit(longest)
    axes[1].sharey(axes[0])
    for axis, label in zip(axes, ("step", f"training time ({name})"), strict=True):
        axis.set_xlabel(label)
        axis.set_ylabel(textwrap.fill(loss_name, LABEL))
        axis.grid(alpha=0.3)
        axis.locator_params(axis="x", nbins=7)
    axes[0].locator_params(axis="x", integer=True)
    return lambda record: record["step"], lambda record: record["seconds"] / unit


def legend_below(figure, axes):
    """One legend for all panels, where it covers nothing; what is in several is named once."""
    named = {
        name: handle for axis in axes for handle, name in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    if named:
        figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=min(len(named), 4))


def _number(figure) -> float:
    """A figure of a log as it is drawn; NaN, which is not, for what is no number."""
    number = isinstance(figure, int | float) and abs(figure) <= sys.float_info.max
    return float(figure) if number else math.nan


def curves(runs: list[RunFolder], target: Path):
    """Validation and training loss (thin) of ``runs`` against steps and against seconds, as a PNG; beside
    them the task's own figures.

    Raises:
        InputError: matplotlib is missing, the losses have different units, a run has no evaluation yet, or
            ``target`` cannot be written.
    """
    names, logs = [visible(run.path.resolve().name) for run in runs], [run.read_log() for run in runs]
    if len(set(names)) < len(names):
        names = [visible(str(run.path)) for run in runs]
    for name, log in zip(names, logs, strict=True):
        if not log:
            raise InputError(f"run {name} has no evaluation yet: let it train to its first one")
    tasks = [task_of(run) for run in runs]
    units = [task.loss_unit(run.options) for task, run in zip(tasks, runs, strict=True)]
    if strange := [(name, unit) for name, unit in zip(names, units, strict=True) if unit != units[0]]:
        one, other = f"{names[0]} has a {units[0]}", "{} a {}".format(*strange[0])
        raise InputError(f"{one}, {other}: runs whose losses have different units are plotted one by one")
    records = [record for log in logs for record in log]
    drawn = {k: words for k, words in tasks[0].drawn.items() if any(k in record for record in records)}
    figure, axes = canvas(3 if drawn else 2, figsize=(15 if drawn else 11, 4))
    longest = max(log[-1]["seconds"] for log in logs)
    places = loss_panels(axes[:2], longest, tasks[0].loss_name)
    for i, (run, name, log) in enumerate(zip(runs, names, logs, strict=True)):
        color, training = f"C{i}", run.training_losses()
        best = min(r["val_loss"] for r in judged(log))
        label = f"{name}, best validation {best:.4g}" if len(runs) > 1 else f"validation, best {best:.4g}"
        for axis, place in zip(axes, places, strict=False):
            style = dict(color=color, label="training" if len(runs) == 1 else None)
            losses = [r["train_loss"] for r in training]
            line(axis, [place(r) for r in training], losses, **style, **(FAINT if len(losses) > 1 else {}))
            line(axis, [place(r) for r in log], [r["val_loss"] for r in log], color=color, label=label)
        for k, word in enumerate(drawn):
            marks: dict = dict(color=color, linestyle=("--", ":", "-.")[k % 3])
            if len(log) == 1:  # marks of their own, the later the smaller: equal values hide no other
                marks |= dict(marker=("o", "x", "+")[k % 3], markersize=9 - 2 * k, linestyle="none")
                marks |= dict(color=f"C{i + k}") if len(runs) == 1 else {}
            label = drawn[word] if len(runs) == 1 else f"{name}, {drawn[word]}"
            values = [_number(r.get(word)) for r in log]
            line(axes[2], [r["step"] for r in log], values, label=label, **marks)
    if drawn:
        axes[2].sharex(axes[0])
        axes[2].set_xlabel("step")
        axes[2].set_ylabel(textwrap.fill("validation " + " and ".join(drawn.values()), LABEL))
        shown = [y for one in axes[2].lines for y in one.get_ydata() if not math.isnan(y)]
        if shown and min(shown) >= 0 and max(shown) <= 1 < axes[2].get_ylim()[1]:  # parts, never more than 1
            axes[2].set_ylim(None if min(shown) < max(shown) else 0, 1.02)
        axes[2].grid(alpha=0.3)
    legend_below(figure, axes)
    figure.suptitle(f"Learning curve of {name}" if len(runs) == 1 else "Learning curves (thin: training)")
    save(figure, target)


def robustness(rows, title: str, target: Path):
    """The figures of `tinyrnn.training.robustness.rows` against strength, a line a disturbance, as a PNG.

    Raises:
        InputError: matplotlib is missing, or ``target`` cannot be written.
    """
    names, _, by_kind = grid(rows)
    figure, axes = canvas(len(names), figsize=(5.5 * len(names), 4))
    for axis, name in zip(axes, names, strict=True):
        for i, (kind, at) in enumerate(by_kind.items()):
            # those below are wider, so that lines that coincide are seen
            style = dict(color=f"C{i}", label=kind, linewidth=1.2 + 5 * (1 - (i + 1) / len(by_kind)))
            line(axis, sorted(at), [at[s][name] for s in sorted(at)], **style)
        axis.set_xlabel("strength")
        axis.set_ylabel(name)
        axis.grid(alpha=0.3)
    legend_below(figure, axes)
    figure.suptitle(title)
    save(figure, target)
