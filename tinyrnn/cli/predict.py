"""``tinyrnn predict``: labels, forecasts and translations."""

import json
from pathlib import Path

import click

from ..base.errors import InputError
from ..training.screen import say
from .common import (
    allow_code_option,
    any_symbol_output,
    device_option,
    option,
    raw_option,
    refuse_existing,
    run_argument,
    write_out,
)
from .options import TaskCommand, task_options

_SEPARATORS = {".csv": ",", ".tsv": "\t"}


@click.command("predict", cls=TaskCommand.of("prediction"))
@run_argument()
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@device_option()
@allow_code_option()
@option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@option(
    "--out",
    type=click.Path(dir_okay=False),
    metavar="FILE.csv",
    help="Write a table: .csv, or .tsv with tabs.",
)
@raw_option()
@click.pass_context
def command(context, run, allow_code, device, inputs, as_json, out, raw, **options):
    """What RUN says to each INPUT.

    A classifier: the most probable label, with probabilities, and a translator: the translation, of a text or
    of the lines of a file (- or nothing: standard input). A forecaster: the steps after the end of a CSV file
    (default: the one it was trained on).
    """
    from ..training.experiments import load
    from ..training.runs import refuse_foreign

    if out and Path(out).suffix.lower() not in (*_SEPARATORS, ""):
        raise InputError(f"--out {out} is no name of a table: let it end in .csv or .tsv")
    refuse_existing(out)
    if options.get("plot"):
        refuse_foreign(Path(options["plot"]), "curve.png")
    model = load(run, allow_code=allow_code, device=device)
    task, given = task_options(context, model, "prediction", options)
    any_symbol_output()
    predictions = task.predict(model, list(inputs or task.default_inputs), run, given)
    if out:
        write_out(out, _table(map(task.cells, predictions), _SEPARATORS.get(Path(out).suffix.lower(), ",")))
        say(out)
        return
    for prediction in predictions:
        shown = json.dumps(prediction, ensure_ascii=False) if as_json else task.shown(prediction)
        say(shown, raw=raw)


def _table(rows, separator):
    """Rows as a text whose first line names the columns."""
    import csv
    import io

    rows, file = list(rows), io.StringIO(newline="")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = csv.DictWriter(file, columns, delimiter=separator, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return file.getvalue()
