"""``tinyrnn evaluate``: how well a trained model does."""

import json

import click

from ..training.screen import say
from .common import allow_code_option, device_option, option, run_argument, weights_option
from .options import TaskCommand, task_options


@click.command("evaluate", cls=TaskCommand.of("evaluation"))
@run_argument()
@click.argument("texts", nargs=-1, metavar="[TEXT]...", type=click.Path())
@device_option()
@weights_option("As generate --weights. Default: as in training.")
@allow_code_option()
@option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(context, run, allow_code, device, weights, texts, as_json, **options):
    """How well RUN does on TEXT (files, folders, - for standard input).

    A language model: loss, perplexity, bits per character. A classifier: accuracy, macro-F1, loss,
    confusion; of several labels a text also micro-F1 and the part that is exact. A forecaster: errors of a
    rolling-origin backtest beside those of naive forecasts. A translator: exact match, chrF, BLEU, loss.
    Without TEXT: on the validation part of what the run was trained with.
    """
    from ..training.experiments import load
    from ..training.runs import RunFolder, load_tensors, weights_file

    model = load(run, allow_code=allow_code, device=device)
    model.precision_with(weights)  # refuses, before anything is read
    model.weights = weights
    task, given = task_options(context, model, "evaluation", options)
    figures = task.evaluate_run(model, list(texts), run, given)
    if as_json:
        say(json.dumps(figures))
        return
    file, data = weights_file(run), ", ".join([*texts, *filter(None, [options.get("source")])])
    if not data:
        trained = RunFolder(run).options
        whole = ", ".join(trained["texts"] or [trained["source"]])
        data = trained.get("val") or f"the {task.held_out} part of {whole}"
    say(f"{'model':16} {file}, of step {load_tensors(file)[1]['step']:,}")
    say(f"{'data':16} {data}")
    for line in task.lines(figures):
        say(line)
