"""``tinyrnn predict``: labels, forecasts and translations."""

import json
from pathlib import Path

import click

from .common import Command, allow_code_option, any_symbol_output, decoding_options, option, run_argument


@click.command("predict", cls=Command)
@run_argument()
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@option("--encoding", help="Encoding of files. Default: utf-8, for series as in training.")
@decoding_options
@option(
    "--plot",
    type=click.Path(dir_okay=False),
    metavar="FILE.png",
    help="Draw the forecast, or what each symbol attended to.",
)
@allow_code_option()
@option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def command(run, allow_code, inputs, as_json, **options):
    """What RUN says to each INPUT.

    A classifier: the most probable label, with probabilities, and a translator: the translation, of a text or
    of the lines of a file (default: standard input). A forecaster: the steps after the end of a CSV file
    (default: the one it was trained on).
    """
    from ..training.experiments import load
    from ..training.runs import refuse_foreign
    from ..training.task import get_task

    if options["plot"]:
        refuse_foreign(Path(options["plot"]), "curve.png")
    model = load(run, allow_code=allow_code)
    task = get_task(model.describe()["task"])
    any_symbol_output()
    for prediction in task.predict(model, list(inputs), run, options):
        click.echo(json.dumps(prediction, ensure_ascii=False) if as_json else task.shown(prediction))
