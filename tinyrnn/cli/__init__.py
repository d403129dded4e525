"""The command line. One file a command; a command's imports happen when it runs."""

import difflib
import importlib

import click

from ..base.version import __version__
from .common import GroupedHelp

COMMANDS = (
    "train",
    "generate",
    "evaluate",
    "predict",
    "cells",
    "new-cell",
    "check",
    "compare",
    "bench",
    "inspect",
    "export",
    "plot",
    "doctor",
)


class _Commands(GroupedHelp, click.Group):
    """Loads a command's file when it is asked for."""

    def list_commands(self, context):
        return list(COMMANDS)

    def get_command(self, context, name):
        if name not in COMMANDS:
            return None
        return importlib.import_module("." + name.replace("-", "_"), __package__).command

    def resolve_command(self, context, args):
        if args[0] not in COMMANDS and (near := difflib.get_close_matches(args[0], COMMANDS, n=1)):
            raise click.UsageError(f"there is no command {args[0]!r}: did you mean {near[0]}?", context)
        return super().resolve_command(context, args)


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="tinyrnn")
def main():
    """Train recurrent networks on your text, and let them write.

    \b
    tinyrnn train text.txt              train; prints the run's folder
    tinyrnn generate runs/text-gru      continue from what was learned

    Shell completion: eval "$(_TINYRNN_COMPLETE=bash_source tinyrnn)" (or zsh_source, fish_source).
    """
