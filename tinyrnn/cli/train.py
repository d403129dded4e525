"""``tinyrnn train``: from text to a run folder."""

import sys
import tomllib
from pathlib import Path

import click
from click.core import ParameterSource

from .common import EXIT_INTERRUPTED, Command, allow_code_option, complete_cell, note, option

_POSITIVE = click.IntRange(min=1)
_ABOVE_0, _FROM_0 = click.FloatRange(0, min_open=True), click.IntRange(min=0)
_LEVEL = click.Choice(["char", "byte", "word", "bpe"])
_POOLING = click.Choice(["last", "mean", "max", "attention"])
_PART = click.FloatRange(0, 1, max_open=True)
_INSIDE = click.FloatRange(0, 1, min_open=True, max_open=True)
_MISSING = click.Choice(["error", "interpolate"])
_ATTENTION = click.Choice(["luong", "bahdanau"])

# Options that say where and how to run, not what: they are not part of the run's configuration.
OUTSIDE = set("texts out resume config as_json quiet threads device allow_code logger".split())


def _read_config(context, parameter, path):
    """Make a TOML file's entries the defaults of the options they name."""
    if path is None:
        return None
    try:
        entries = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{path}: {error}") from None
    entries = entries.get("train", entries)
    known = {p.name: p for p in context.command.params} | {"json": None}
    for key in list(entries):
        name = key.replace("-", "_")
        if name not in known:
            raise click.BadParameter(f"{path}: there is no option {key!r}: see tinyrnn train --help")
        entries[{"json": "as_json", "text": "texts"}.get(name, name)] = entries.pop(key)
    if isinstance(entries.get("cell_opt"), dict):
        entries["cell_opt"] = [f"{k}={v}" for k, v in entries["cell_opt"].items()]
    context.default_map = {**(context.default_map or {}), **entries}
    return path


@click.command("train", cls=Command)
@click.argument("texts", nargs=-1, metavar="[TEXT]...", type=click.Path())
@option(
    "--task",
    default="lm",
    type=click.Choice(["lm", "classify", "forecast", "translate"]),
    group="Model",
    help="lm: language model; classify: labels; forecast: time series; translate: sequence to sequence.",
)
@option(
    "--cell",
    default="gru",
    group="Model",
    shell_complete=complete_cell,
    help="Recurrent cell, or FILE.py:CLASS; see tinyrnn cells.",
)
@option(
    "--cell-opt",
    multiple=True,
    metavar="NAME=VALUE",
    group="Model",
    help="Option of the cell; may be repeated.",
)
@option("--hidden", default=256, type=_POSITIVE, group="Model", help="Width of each recurrent layer.")
@option("--layers", default=2, type=_POSITIVE, group="Model", help="Recurrent layers.")
@option("--embed", default=64, type=_POSITIVE, group="Model", help="Width of the embedding.")
@option(
    "--dropout", default=0.2, type=_PART, group="Model", help="Dropped part of embedding and layer outputs."
)
@option(
    "--recurrent-dropout",
    default=0.0,
    type=_PART,
    group="Model",
    help="Dropped part of what recurrent products see.",
)
@option(
    "--weight-drop", default=0.0, type=_PART, group="Model", help="Dropped part of the recurrent weights."
)
@option(
    "--zoneout", default=0.0, type=_PART, group="Model", help="Part of the states that keeps its old value."
)
@option(
    "--variational",
    is_flag=True,
    group="Model",
    help="Both dropouts drop the same at every step of a window.",
)
@option(
    "--tie",
    is_flag=True,
    group="Model",
    help="Output layer shares the embedding's weights (needs --embed = --hidden).",
)
@option(
    "--bidirectional/--no-bidirectional",
    group="Model",
    help="Read from both ends. Default: translate alone does.",
)
@option(
    "--dtype", default="float32", type=click.Choice(["float32", "float64"]), group="Model", help="Precision."
)
@option("--level", type=_LEVEL, group="Data", help="What one symbol is. Default: char; classify: word.")
@option(
    "--vocab-size",
    type=click.IntRange(min=2),
    group="Data",
    help="Most frequent symbols. Default: all; words 20,000; bpe 4,000.",
)
@option("--encoding", default="utf-8", group="Data", help="Encoding of the files.")
@option("--val", type=click.Path(), group="Data", help="Text to validate on. Default: the end of TEXT.")
@option("--val-fraction", default=0.1, type=_PART, group="Data", help="Part of TEXT kept for validation.")
@option(
    "--max-length",
    default=400,
    type=_POSITIVE,
    group="Data",
    help="Of classify, translate: tokens of a text that are read.",
)
@option(
    "--seq-len", default=100, type=_POSITIVE, group="Data", help="Steps that gradients flow back (window)."
)
@option("--batch-size", default=64, type=_POSITIVE, group="Data", help="Streams read side by side.")
@option("--text-column", default="text", group="Labels", help="Column of the texts.")
@option("--label-column", default="label", group="Labels", help="Column of the labels.")
@option("--pooling", default="mean", type=_POOLING, group="Labels", help="How steps become one.")
@option(
    "--class-weights",
    type=click.Choice(["balanced"]),
    group="Labels",
    help="balanced: rare labels count more.",
)
@option(
    "--target", metavar="COLUMN", group="Series", help="Column to forecast. Default: the only numeric one."
)
@option(
    "--columns",
    metavar="A,B",
    group="Series",
    help="Columns to forecast it from, itself included. Default: all numeric ones.",
)
@option("--date-column", metavar="COLUMN", group="Series", help="Default: the first that holds dates.")
@option("--horizon", default=12, type=_POSITIVE, group="Series", help="Steps to forecast.")
@option(
    "--window",
    type=_POSITIVE,
    group="Series",
    help="Steps to forecast from. Default: two seasons, at most 60.",
)
@option(
    "--season", type=_POSITIVE, group="Series", help="Steps a season. Default: from the dates, for months 12."
)
@option(
    "--difference",
    metavar="LAGS",
    group="Series",
    help="Such as 1 or 1,12; 0: none. Default: what calms the series most.",
)
@option(
    "--log/--no-log",
    default=None,
    group="Series",
    help="Work on logarithms. Default: if swings grow with the level.",
)
@option(
    "--interval",
    default=0.9,
    type=_INSIDE,
    group="Series",
    help="Part of the future values inside the prediction interval.",
)
@option(
    "--missing",
    default="error",
    type=_MISSING,
    group="Series",
    help="What to do with cells that hold no number.",
)
@option("--teacher-forced", is_flag=True, group="Series", help="Train on true values only, one step ahead.")
@option(
    "--attention", default="luong", type=_ATTENTION, group="Translation", help="luong (fast) or bahdanau."
)
@option(
    "--scheduled-sampling",
    default=0.0,
    type=_PART,
    group="Translation",
    help="Part of its own symbols it is fed at the end.",
)
@option(
    "--separator",
    metavar="TEXT",
    group="Translation",
    help="Between the two sides of a line. Default: a tab.",
)
@option(
    "--steps", type=_POSITIVE, group="Length", help="Length in steps. Default: 2000, if no length is given."
)
@option("--epochs", type=_ABOVE_0, group="Length", help="Length in passes over the text.")
@option("--minutes", type=_ABOVE_0, group="Length", help="Length in time (not repeatable to the bit).")
@option(
    "--patience", type=_POSITIVE, group="Length", help="Stop after so many evaluations without a better one."
)
@option(
    "--eval-every",
    default=250,
    type=_POSITIVE,
    group="Length",
    help="Steps between evaluations and checkpoints.",
)
@option("--optimizer", default="adamw", group="Optimisation", help="sgd, rmsprop, adagrad, adam or adamw.")
@option("--lr", default=5e-3, type=_ABOVE_0, group="Optimisation", help="Peak learning rate.")
@option(
    "--schedule", default="wsd", group="Optimisation", help="constant, linear, cosine, wsd, step or plateau."
)
@option(
    "--warmup",
    default=100,
    type=_FROM_0,
    group="Optimisation",
    help="Steps over which the rate rises at first.",
)
@option(
    "--clip",
    default=1.0,
    type=click.FloatRange(0),
    group="Optimisation",
    help="Largest gradient norm; 0 is off.",
)
@option(
    "--weight-decay",
    default=0.0,
    type=click.FloatRange(0),
    group="Optimisation",
    help="Pull of the weights towards 0.",
)
@option("--seed", default=0, type=_FROM_0, group="Run", help="Same seed, same run.")
@option("--threads", type=_POSITIVE, group="Run", help="Threads to compute on. Default: all cores.")
@option("--device", default="cpu", type=click.Choice(["cpu", "cuda"]), group="Run", help="Where to compute.")
@option(
    "--out",
    type=click.Path(),
    group="Run",
    help="Folder of the run. Default: runs/TEXT-CELL, numbered if it exists.",
)
@option(
    "--resume",
    is_flag=False,
    flag_value="",
    metavar="[RUN]",
    group="Run",
    help="Go on with RUN (or with --out), exactly.",
)
@allow_code_option(group="Run")
@option(
    "--config",
    type=click.Path(),
    metavar="FILE.toml",
    is_eager=True,
    callback=_read_config,
    group="Run",
    help="Take options from a file that holds lines like: hidden = 256",
)
@option(
    "--logger",
    multiple=True,
    type=click.Choice(["csv", "tensorboard"]),
    group="Run",
    help="Log to log.csv or for TensorBoard as well, in the run's folder; may be repeated.",
)
@option(
    "--json",
    "as_json",
    is_flag=True,
    group="Run",
    help="Print the log's JSON objects as lines, nothing else.",
)
@option("--quiet", is_flag=True, group="Run", help="Print the run's path only.")
@click.pass_context
def command(context, **options):
    """Train a model on TEXT: files, folders, or - for standard input.

    Without TEXT it learns the documentation that ships inside Python. Ctrl-C saves and stops; --resume goes
    on. The defaults below are those of language models; other tasks have some of their own (docs/tasks.md).
    """
    from ..base import threads
    from ..training import experiments, loggers
    from ..training.task import get_task
    from . import report

    options["config"] = None
    texts, options = _resume_or_text(options)
    if options["threads"]:
        threads.set_threads(options["threads"])
    shown = report.Live if sys.stdout.isatty() else report.Plain
    shown = (report.Json if options["as_json"] else report.Quiet if options["quiet"] else shown)()
    report_to = loggers.Together([*loggers.make(options["logger"]), shown])
    configuration, device = configuration_of(options), options["device"]
    if options["resume"] is None:
        chosen = {k for k in configuration if context.get_parameter_source(k) != ParameterSource.DEFAULT}
        own = get_task(options["task"]).defaults
        configuration |= {k: v for k, v in own.items() if k not in chosen and k not in experiments.LENGTHS}
        trainer = experiments.begin(configuration, texts, report_to, out=options["out"], device=device)
    else:
        given = {
            k: v
            for k, v in configuration.items()
            if context.get_parameter_source(k) != ParameterSource.DEFAULT
        }
        allow = options["allow_code"]
        trainer = experiments.take_up(
            options["resume"], given, texts, report_to, device=device, allow_code=allow
        )
    shown.introduce(trainer, device)
    fit(context, trainer, f"tinyrnn train --resume {trainer.run.path}")
    experiments.draw_curve(trainer.run)
    said = trainer.task.conclude(trainer.run)
    if options["as_json"]:
        return
    click.echo(trainer.run.path)
    if not options["quiet"]:
        for line in said:
            click.echo(line)
        click.echo(f"next: tinyrnn {trainer.task.next_command} {trainer.run.path}")


def fit(context, trainer, again):
    """Train; on an interruption end the command and say what goes on."""
    from ..training.trainer import Interrupted

    try:
        trainer.fit()
    except Interrupted:
        note(f"interrupted at step {trainer.step}, saved; go on with: {again}")
        context.exit(EXIT_INTERRUPTED)


def _resume_or_text(options):
    """``--resume`` takes an optional RUN; what follows it may also be the first TEXT."""
    texts, resume = list(options["texts"]), options["resume"]
    if resume and options["out"]:
        texts, resume = [resume, *texts], options["out"]
    elif resume == "":
        if not options["out"]:
            raise click.UsageError("--resume needs to know the run: --resume RUN, or --out RUN --resume")
        resume = options["out"]
    return texts, {**options, "resume": resume}


def configuration_of(options):
    """The options that belong to the run, as stored in its config.json."""
    stored = {k: list(v) if isinstance(v, tuple) else v for k, v in options.items() if k not in OUTSIDE}
    return {**stored, "val": options["val"] and str(Path(options["val"]).resolve())}
