"""``tinyrnn predict``: labels, forecasts and translations."""

import json
from pathlib import Path

import click

from ..training.screen import say
from .common import allow_code_option, any_symbol_output, device_option, option, raw_option, run_argument
from .options import TaskCommand, task_options


@click.command("predict", cls=TaskCommand.of("prediction"))
@run_argument()
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@device_option()
@allow_code_option()
@option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@raw_option()
@click.pass_context
def command(context, run, allow_code, device, inputs, as_json, raw, **options):
    """What RUN says to each INPUT.

    A classifier: the most probable label, with probabilities, and a translator: the translation, of a text or
    of the lines of a file (- or nothing: standard input). A forecaster: the steps after the end of a CSV file
    (default: the one it was trained on).
    """
    from ..training.experiments import load
    from ..training.runs import refuse_foreign

    if options.get("plot"):
        refuse_foreign(Path(options["plot"]), "curve.png")
    model = load(run, allow_code=allow_code, device=device)
    task, given = task_options(context, model, "prediction", options)
    any_symbol_output()
    for prediction in task.predict(model, list(inputs or task.default_inputs), run, given):
        shown = json.dumps(prediction, ensure_ascii=False) if as_json else task.shown(prediction)
        say(shown, raw=raw)
