"""``tinyrnn new-cell``: begin a package with a cell of one's own."""

import click

from ..training.screen import say
from .common import Command, option


@click.command("new-cell", cls=Command)
@click.argument("name")
@option(
    "--template",
    default="minimal",
    type=click.Choice(["minimal", "lstm-like", "linear"]),
    help="What to start from.",
)
@option("--out", type=click.Path(), default=".", help="Folder to write the package into.")
def command(name, template, out):
    """Write a package tinyrnn-NAME: a cell of a few equations, with its entry point, tests and README."""
    from ..tools.scaffold import write_package

    folder = write_package(name, template, out)
    module = next(folder.glob("*.py"))
    say(folder)
    say(f'next: pip install -e "{folder}[test]", then edit {module} and: tinyrnn check {name}')
