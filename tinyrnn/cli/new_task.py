"""``tinyrnn new-task``: begin a package with a task of one's own."""

import click

from ..training.screen import say
from .common import Command, option


@click.command("new-task", cls=Command)
@click.argument("name")
@option("--out", type=click.Path(), default=".", help="Folder to write the package into.")
def command(name, out):
    """Write a package tinyrnn-NAME: a task with its options, reader and model, its entry point, tests and
    README.
    """
    from ..tools.scaffold import write_package

    folder = write_package(name, "task", out)
    say(folder)
    say(
        f'next: pip install -e "{folder}[test]", then edit {next(folder.glob("*.py"))} and: '
        f"tinyrnn train --task {name} --help"
    )
