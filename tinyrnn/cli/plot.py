"""``tinyrnn plot``: learning curves."""

import click

from ..training.screen import say
from .common import Command, option


@click.command("plot", cls=Command)
@click.argument("run", nargs=-1, required=True, type=click.Path())
@option(
    "--out",
    type=click.Path(dir_okay=False),
    help="PNG file to write. Default: curve.png in the (first) run folder.",
)
def command(run, out):
    """Draw the loss of one or several RUNs against steps and against time."""
    from ..training.pictures import curves
    from ..training.runs import RunFolder, output_file

    target = output_file(out, run[0], "curve.png")
    curves([RunFolder(r) for r in run], target)
    say(target)
