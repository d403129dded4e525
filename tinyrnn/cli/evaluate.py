"""``tinyrnn evaluate``: loss of a trained model on text."""

import json

import click
from click.core import ParameterSource

from .common import Command, data_options, option, run_argument


@click.command("evaluate", cls=Command)
@run_argument()
@click.argument("texts", nargs=-1, metavar="[TEXT]...", type=click.Path())
@data_options
@option("--text-column", help="Of classify: column of the texts. Default: as in training.")
@option("--label-column", help="Of classify: column of the labels. Default: as in training.")
@option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(context, run, texts, encoding, as_json, **columns):
    """How well RUN does on TEXT (files, folders, - for standard input).

    A language model: loss, perplexity, bits per character. A classifier: accuracy, macro-F1, loss, confusion. Without TEXT: on
    the validation part of what the run was trained with.
    """
    from ..runs import Run
    from ..tasks import classify, language_model, load

    model = load(run)
    if isinstance(model, classify.Classifier):
        if context.get_parameter_source("encoding") != ParameterSource.DEFAULT:
            columns["encoding"] = encoding
        figures = classify.evaluate(model, list(texts), Run(run).config, columns)
    else:
        figures = language_model.evaluate_on(model, list(texts), run, encoding)
    if as_json:
        click.echo(json.dumps(figures))
        return
    for name, value in figures.items():
        if name not in ("confusion", "labels"):
            shown = f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
            click.echo(f"{name.replace('_', ' '):16} {shown}")
    if "confusion" in figures:
        labels = figures["labels"]
        width = max(6, *map(len, labels))
        click.echo(f"confusion        rows: true, columns: predicted, {' '.join(labels)}")
        for label, row in zip(labels, figures["confusion"], strict=True):
            click.echo(f"{label:>{width}} " + " ".join(f"{n:6}" for n in row))
