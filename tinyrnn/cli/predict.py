"""``tinyrnn predict``: labels for new texts."""

import json
import sys
from pathlib import Path

import click

from .common import Command, any_symbol_output, option, run_argument


@click.command("predict", cls=Command)
@run_argument()
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@option("--encoding", default="utf-8", help="Encoding of files.")
@option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def command(run, inputs, encoding, as_json):
    """The most probable label of each INPUT, with probabilities: a text, or a file of lines; default: standard input."""
    from ..data.sources import check_encoding
    from ..errors import InputError
    from ..tasks import load
    from ..tasks.classify import Classifier

    check_encoding(encoding)
    model = load(run)
    if not isinstance(model, Classifier):
        raise InputError(f"{run} is a language model, which predicts no labels: use tinyrnn generate")
    lines = []
    for given in inputs:
        if Path(given).is_file():
            try:
                lines += Path(given).read_text(encoding=encoding).splitlines()
            except UnicodeDecodeError as error:
                raise InputError(f"{given} is not {encoding} text (near byte {error.start}): name its --encoding") from None
        else:
            lines.append(given)
    lines = lines if inputs else [line.rstrip("\n") for line in sys.stdin]
    any_symbol_output()
    for text, row in zip(lines, model.predict(lines) if lines else (), strict=True):
        label = model.labels[int(row.argmax())]
        probabilities = {name: round(float(p), 6) for name, p in zip(model.labels, row, strict=True)}
        if as_json:
            click.echo(json.dumps({"text": text, "label": label, "probabilities": probabilities}, ensure_ascii=False))
            continue
        shown = sorted(probabilities.items(), key=lambda pair: -pair[1])[:5]
        click.echo("\t".join([label, " ".join(f"{name}={p:.3f}" for name, p in shown), text]))
