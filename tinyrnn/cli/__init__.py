"""The command line. One file a command; a command's imports happen when it runs."""

import ast
import difflib
import errno
import importlib
import io
import sys
from pathlib import Path

import click

from ..base.version import __version__
from ..training.screen import note
from .common import EXIT_INPUT, EXIT_INTERRUPTED, GroupedHelp, unwritten

COMMANDS = (
    "train generate evaluate predict robust cells new-cell new-task check compare bench inspect"
    " export import compress plot doctor"
).split()


class _Commands(GroupedHelp, click.Group):
    """Loads a command's file when it is asked for."""

    def main(self, *args, standalone_mode=True, **settings):
        """As click's, but interrupted at any time, also while a command is imported, it ends with exit code
        130; and what is said of wrong usage goes the way of all that is said.
        """
        try:
            code = super().main(*args, **settings, standalone_mode=False)
        except click.exceptions.Abort:  # click's word for Ctrl-C
            note("interrupted")
            code = EXIT_INTERRUPTED
        except click.ClickException as error:
            if not standalone_mode:
                raise
            said = io.StringIO()
            error.show(said)
            note(said.getvalue().rstrip("\n"))
            code = error.exit_code
        except OSError as error:  # of help: what a command does says it itself
            if standalone_mode and error.errno != errno.EPIPE:
                note(f"Error: {unwritten(error)}")
                code = EXIT_INPUT
            else:
                raise
        if not standalone_mode:
            return code
        sys.exit(code or 0)

    def list_commands(self, context):
        return list(COMMANDS)

    def get_command(self, context, name):
        if name not in COMMANDS:
            return None
        return importlib.import_module("." + name.replace("-", "_"), __package__).command

    def format_commands(self, context, formatter):
        """Their first sentences, read without importing them, which would take long."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _first_sentence(name)) for name in COMMANDS])

    def resolve_command(self, context, args):
        if args[0] not in COMMANDS and (near := difflib.get_close_matches(args[0], COMMANDS, n=1)):
            raise click.UsageError(f"there is no command {args[0]!r}: did you mean {near[0]}?", context)
        return super().resolve_command(context, args)


def _first_sentence(name):
    tree = ast.parse(_file(name).read_text(encoding="utf-8"))
    function = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "command")
    return " ".join(ast.get_docstring(function).split("\n\n")[0].split()).split(". ")[0].removesuffix(".")


def _file(name):
    return Path(__file__).with_name(f"{name.replace('-', '_')}.py")


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="tinyrnn")
def main():
    """Train recurrent networks on your text, and let them write.

    \b
    tinyrnn train text.txt              train; prints the run's folder
    tinyrnn generate runs/text-ln-gru      continue from what was learned

    Shell completion: eval "$(_TINYRNN_COMPLETE=bash_source tinyrnn)" (or zsh_source, fish_source).
    """
