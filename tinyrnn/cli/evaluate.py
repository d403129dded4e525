"""``tinyrnn evaluate``: loss of a trained model on text."""

import json

import click

from .common import Command, data_options, option, run_argument


@click.command("evaluate", cls=Command)
@run_argument()
@click.argument("texts", nargs=-1, metavar="[TEXT]...", type=click.Path())
@data_options
@option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(run, texts, encoding, as_json):
    """Loss, perplexity and bits per character of RUN on TEXT (files, folders, - for standard input).

    Without TEXT: on the validation part of the text that the run was trained with.
    """
    from ..data import corpus, sources
    from ..runs import Run
    from ..tasks import load
    from ..tasks.language_model import evaluate, validation_tokens

    model = load(run)
    if texts:
        settings = dict(level=model.vocabulary.level, encoding=encoding, vocabulary=model.vocabulary)
        tokens = corpus.load(sources.resolve(texts), **settings).tokens
    else:
        tokens = validation_tokens(Run(run).config, model.vocabulary)
    figures = evaluate(model, tokens)
    if as_json:
        click.echo(json.dumps(figures))
        return
    for name, value in figures.items():
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
        click.echo(f"{name.replace('_', ' '):16} {shown}")
