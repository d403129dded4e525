"""``tinyrnn evaluate``: how well a trained model does."""

import json

import click

from .common import Command, allow_code_option, decoding_options, option, run_argument


@click.command("evaluate", cls=Command)
@run_argument()
@click.argument("texts", nargs=-1, metavar="[TEXT]...", type=click.Path())
@option("--encoding", help="Encoding of the files. Default: utf-8, for data other than text as in training.")
@option("--text-column", help="Of classify: column of the texts. Default: as in training.")
@option("--label-column", help="Of classify: column of the labels. Default: as in training.")
@decoding_options
@allow_code_option()
@option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(run, allow_code, texts, as_json, **options):
    """How well RUN does on TEXT (files, folders, - for standard input).

    A language model: loss, perplexity, bits per character. A classifier: accuracy, macro-F1, loss, confusion.
    A forecaster: errors of a rolling-origin backtest beside those of naive forecasts. A translator: exact
    match, chrF, BLEU, loss. Without
    TEXT: on the validation part of what the run was trained with.
    """
    from ..training.experiments import load
    from ..training.task import get_task

    model = load(run, allow_code=allow_code)
    task = get_task(model.describe()["task"])
    figures = task.evaluate_run(model, list(texts), run, options)
    if as_json:
        click.echo(json.dumps(figures))
        return
    for line in task.lines(figures):
        click.echo(line)
