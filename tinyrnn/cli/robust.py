"""``tinyrnn robust``: how well a trained model does on disturbed data."""

import json
import sys

import click

from .common import allow_code_option, device_option, option, run_argument
from .options import TaskCommand, task_options


@click.command("robust", cls=TaskCommand.of("robustness"))
@run_argument()
@click.argument("texts", nargs=-1, metavar="[TEXT]...", type=click.Path())
@device_option()
@allow_code_option()
@option(
    "--out",
    type=click.Path(dir_okay=False),
    help="PNG file to draw. Default: robust.png in the folder of RUN.",
)
@option("--json", "as_json", is_flag=True, help="Print one JSON object a row; only --out draws then.")
@click.pass_context
def command(context, run, allow_code, device, texts, out, as_json, **options):
    """How the figures of RUN change on TEXT (as for evaluate) that is disturbed more and more.

    Texts: typo, replace, drop, swap, insert (strength: a share of the symbols), and hotflip, replaced where
    the gradient says that it hurts most. Series: noise, fgsm, pgd (standard deviations of the training),
    missing (a share).
    """
    from ..training import pictures
    from ..training.experiments import load
    from ..training.robustness import rows
    from ..training.runs import output_file
    from ..training.screen import note, say, show

    draws = out or not as_json
    target = output_file(out, run, "robust.png") if draws else None
    if out and not pictures.available():
        pictures.canvas()  # which says what it needs
    model = load(run, allow_code=allow_code, device=device)
    task, given = task_options(context, model, "robustness", options)
    found = []
    try:
        for row in _shown(rows(task.probe(model, list(texts), run, given), given), not as_json):
            found.append(row)
            if as_json:
                say(json.dumps(row))
    finally:  # of a sweep that is interrupted what there is
        if len(found) > 1 and not as_json:
            show(*_tables(found))
    if draws and pictures.available():
        pictures.robustness(found, f"{task.name}, {model.settings['cell']}: disturbed", target)
        note(target) if as_json else say(target)
    elif draws:
        note("for a picture: pip install 'tinyrnn[plot]', then the same command")


def _shown(found, live):
    """Rows as they come; in a terminal, if ``live``, with a line that says how far it is."""
    from rich.text import Text

    from ..training.screen import is_terminal, live_line

    if not (live and is_terminal(sys.stdout)):
        yield from found
        return
    said = "undisturbed"
    with live_line(lambda columns: Text(said[:columns])) as go_on:
        for count, row in enumerate(found):
            said = f"{count} done; the last: {row['kind']} {row['strength']:g}" if count else said
            go_on()
            yield row


def _tables(found):
    """The rows with a column for each strength, and, for narrow terminals, with a row for each."""
    from rich.table import Column, Table

    from ..training.robustness import grid

    names, strengths, by_kind = grid(found)
    heads = "disturbance", "figure", "undisturbed", *(f"{s:g}" for s in strengths if s)
    wide = Table(*(Column(head, no_wrap=True) for head in heads))
    high = Table(*(Column(head, no_wrap=True) for head in ("disturbance", "strength", *names)))
    for kind, at in by_kind.items():
        for name in names:
            figures = (f"{at[s][name]:.4g}" if s in at else "" for s in strengths)
            wide.add_row(kind, name, *figures, end_section=name == names[-1])
        for s in sorted(at):
            high.add_row(kind, f"{s:g}" if s else "undisturbed", *(f"{at[s][name]:.4g}" for name in names))
        high.add_section()
    return wide, high
