"""``tinyrnn compare``: cells on equal terms."""

import json
import sys

import click

from ..base.errors import InputError
from ..training.experiments import Configuration
from ..training.plan import Place
from ..training.screen import is_terminal, note, say
from ..training.task import TASKS
from .common import Command, option
from .options import chosen, flags
from .train import TASK, going_on, task_flags, task_option, value_of

# What a comparison sets for each run, or does not have.
_OWN = {"cell", "cell_opt", "seed", "tie", "from_run"}


class CompareCommand(Command):
    """Has the options that all runs of a comparison share, of the task that its arguments name."""

    def parse_args(self, context, args):
        name = value_of(args, "--task")
        context.meta["tinyrnn.task"] = name if name in TASKS.registered() else TASK
        return super().parse_args(context, args)

    def get_params(self, context):
        where = {name: rule for name, rule in Place.rules().items() if name != "out"}
        own = [p for p in task_flags(context.meta.get("tinyrnn.task", TASK)) if p.name not in _OWN]
        return [*own, *flags(where), *super().get_params(context)]


@click.command("compare", cls=CompareCommand)
@click.argument("texts", nargs=-1, metavar="[TEXT]...", type=click.Path())
@task_option
@option(
    "--cells",
    required=True,
    metavar="A,B,...",
    group="Comparison",
    help="Names of cells, or FILE.py:CLASS; a cell's options follow it in [ ]: gru[reset_after=true].",
)
@option(
    "--seeds",
    default=1,
    type=click.IntRange(min=1),
    group="Comparison",
    help="Runs of each cell, with seeds 0, 1, ...",
)
@option(
    "--params",
    type=click.IntRange(min=1),
    group="Comparison",
    help="Parameters of every model. Default: those of the first cell at --hidden.",
)
@option(
    "--out",
    default="runs/compare",
    type=click.Path(),
    group="Comparison",
    help="Folder of the comparison; its runs are reused and taken up.",
)
@option("--json", "as_json", is_flag=True, group="Run", help="Print one JSON object, nothing else.")
@click.pass_context
def command(context, texts, task, cells, seeds, params, out, threads, device, as_json, **options):
    """Train several cells on TEXT with the same number of parameters, data, seeds and length; print a table,
    draw a plot.

    Runs that the folder holds are not repeated, and interrupted ones go on: the same command again finishes a
    comparison.
    """
    from ..base import threads as pool
    from ..base.errors import Diverged
    from ..tools.compare import PICTURE, Comparison
    from ..training import report

    if threads:
        pool.set_threads(threads)
    # what suits one cell is recommended to none: all are trained alike
    given = chosen(context, options)
    configuration = Configuration.make(task, texts, given, complete=False)
    configuration.options.refuse_idle(given, configuration.plan)
    wanted = cells_in(cells)
    comparison = Comparison(configuration, wanted, seeds, out, budget=params, device=device)
    shown = report.for_people(quiet=as_json or not is_terminal(sys.stdout))
    cut = ""
    for name, seed, trainer, done in comparison.runs(shown):
        if trainer.warmup_cut and not cut:
            cut = trainer.warmup_cut
            note(f"warm-up: {cut}")
        end = "  (was there already)" if done else ""
        try:
            if not done:
                shown.message(f"{name}, seed {seed}")
                with going_on(context, trainer, "the same command"):
                    trainer.fit()
        except Diverged:  # one cell's failure is a result, too
            comparison.diverged.add(trainer.run.path)
            end = f"  diverged at step {trainer.step}"
        if not as_json:
            losses = [r["val_loss"] for r in trainer.run.read_log()]
            say(f"{name:14} seed {seed}  validation {f'{min(losses):.4f}' if losses else '-'}{end}")
    found = comparison.result()
    if as_json:
        say(json.dumps(found))
        return
    share = f"{found['budget']:,} parameters and {comparison.length()} each"
    say(f"\n{share}, {seeds} seed{'s' * (seeds > 1)}; {configuration.task.loss_name}")
    width = max([14, *[len(row["cell"]) for row in found["cells"]]])
    form = f"{{:{width}}} {{:>6}} {{:>11}} {{:>11}} {{:>8}} {{:>10}} {{:>8}}"
    say(form.format("cell", "hidden", "parameters", "validation", "spread", "tokens/s", "seconds"))
    for row in found["cells"]:
        spread = "" if row["val_loss_std"] is None else f"{row['val_loss_std']:.4f}"
        speed = "" if row["tokens_per_s"] is None else f"{row['tokens_per_s']:,.0f}"
        loss = "diverged" if row["val_loss"] is None else f"{row['val_loss']:.4f}"
        sizes = row["cell"], row["hidden"], f"{row['parameters']:,}"
        say(form.format(*sizes, loss, spread, speed, f"{row['seconds']:,.0f}"))
    say(comparison.out)
    if not (comparison.out / PICTURE).exists():
        note("for a plot: pip install 'tinyrnn[plot]', then the same command")


def cells_in(text):
    """The cells of ``a,b[x=1,y=2]``: pairs (name, ``["x=1", "y=2"]``)."""
    parts, depth = [""], 0
    for symbol in text:
        depth += (symbol == "[") - (symbol == "]")
        if depth not in (0, 1):
            break
        if symbol == "," and not depth:
            parts.append("")
        else:
            parts[-1] += symbol
    if depth:
        raise InputError(f"--cells {text!r} has a bracket that is not closed: write gru,lstm[forget_bias=0]")
    named = [part.strip().partition("[")[::2] for part in parts if part.strip()]
    return [(name, [o.strip() for o in given.rstrip("]").split(",") if o.strip()]) for name, given in named]
