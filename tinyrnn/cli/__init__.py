"""Floor 5: the command line. One file a command; a command's imports happen when it runs."""

import importlib

import click

from .. import __version__
from .common import GroupedHelp

COMMANDS = ("train", "generate", "evaluate", "cells", "plot", "doctor")


class _Commands(GroupedHelp, click.Group):
    """Loads a command's file when it is asked for."""

    def list_commands(self, context):
        return list(COMMANDS)

    def get_command(self, context, name):
        if name not in COMMANDS:
            return None
        return importlib.import_module(f".{name}", __package__).command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="tinyrnn")
def main():
    """Train recurrent networks on your text, and let them write.

    \b
    tinyrnn train text.txt              train; prints the run's folder
    tinyrnn generate runs/text-lstm     continue from what was learned

    Shell completion: eval "$(_TINYRNN_COMPLETE=bash_source tinyrnn)" (or zsh_source, fish_source).
    """
