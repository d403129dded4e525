"""``tinyrnn plot``: learning curves."""

from pathlib import Path

import click

from .common import Command, option


@click.command("plot", cls=Command)
@click.argument("run", nargs=-1, required=True, type=click.Path())
@option("--out", type=click.Path(dir_okay=False), help="PNG file to write. Default: curve.png in the (first) run folder.")
def command(run, out):
    """Draw the loss of one or several RUNs against steps and against time."""
    from ..plotting import curves
    from ..runs import Run

    target = Path(out) if out else Path(run[0]) / "curve.png"
    curves([Run(r) for r in run], target)
    click.echo(target)
