"""What all commands share: grouped help, errors as one sentence, exit codes."""

import errno
import sys
from pathlib import Path

import click

from ..base.errors import Diverged, InputError, TinyrnnError
from ..training.plan import Place
from ..training.screen import note

EXIT_FAILED, EXIT_INPUT, EXIT_INTERRUPTED = 1, 2, 130


class GroupedHelp:
    """Shows options under the headings given by ``option(..., group=...)``."""

    def format_options(self, context, formatter):
        groups = {}
        for parameter in self.get_params(context):
            record = parameter.get_help_record(context)
            if record is not None and isinstance(parameter, click.Option):
                groups.setdefault(getattr(parameter, "group", "Options"), []).append(record)
        for heading in sorted(groups, key=lambda h: h == "Options"):
            with formatter.section(heading):
                formatter.write_dl(groups[heading])
        if isinstance(self, click.Group):
            self.format_commands(context, formatter)


class Command(GroupedHelp, click.Command):
    """A command whose deliberate errors end in one sentence and an exit code; ``--debug`` shows the
    traceback.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        settings = dict(is_flag=True, expose_value=False, callback=_debug, help="Show tracebacks.")
        self.params.append(click.Option(["--debug"], **settings))

    def invoke(self, context):
        for parameter in self.get_params(context):
            if isinstance(parameter.type, click.Path):
                value = context.params.get(parameter.name)
                if "" in (value if isinstance(value, tuple) else [value]):
                    named = (
                        parameter.opts[0] if isinstance(parameter, click.Option) else parameter.name.upper()
                    )
                    raise click.UsageError(f"{named} is empty: give a path, or leave it out", context)
        if code := context.params.pop("code", None):
            context.params["allow_code"] = code
        try:
            return super().invoke(context)
        except (TinyrnnError, OSError, MemoryError) as error:
            if context.meta.get("tinyrnn.debug") or (
                isinstance(error, OSError) and error.errno == errno.EPIPE
            ):
                raise
            said = str(error)
            if isinstance(error, OSError):
                said = unwritten(error)
            elif not isinstance(error, TinyrnnError):
                from ..base.devices import memory_full

                said = f"{memory_full(error)}: use a smaller --batch-size, --hidden or --seq-len"
            note(f"Error: {said}")
            context.exit(EXIT_FAILED if isinstance(error, Diverged) else EXIT_INPUT)
        except KeyboardInterrupt:
            note("interrupted")
            context.exit(EXIT_INTERRUPTED)


def unwritten(error: OSError) -> str:
    """What is said of a file that no command gave a sentence of its own."""
    return f"{error}: check the file, its permissions and the space left on the disk"


def _debug(context, parameter, value):
    context.meta["tinyrnn.debug"] = value


class GroupedOption(click.Option):
    """An option with a heading on the help page, and the bounds of its values there."""

    def __init__(self, *args, group="Options", bounds="", **kwargs):
        super().__init__(*args, **kwargs)
        self.group, self.bounds = group, bounds

    def get_help_record(self, context):
        record = super().get_help_record(context)
        if record is None or not self.bounds:
            return record
        name, text = record
        said = self.bounds.removeprefix("of ")
        return name, f"{text[:-1]}; {said}]" if text.endswith("]") else f"{text}  [{said}]"


def option(*names, **kwargs):
    """``click.option`` with a ``group`` for the help page, where its default is shown too."""
    return click.option(*names, cls=GroupedOption, show_default=True, **kwargs)


def run_argument():
    """The argument RUN: a run folder or a checkpoint file."""
    return click.argument("run", type=click.Path())


def allow_code_option(**kwargs):
    """The options ``--allow-code`` and ``--code FILE.py``: consent to run the file that a run names as its
    cell's, there or where it is now. A command gets both as ``allow_code``.
    """
    here = option(
        "--allow-code",
        is_flag=True,
        help="Run the Python file that RUN names, if its cell is in a file.",
        **kwargs,
    )
    elsewhere = option(
        "--code",
        type=click.Path(),
        metavar="FILE.py",
        help="The same, where that file is now; it must be what it was in training.",
        **kwargs,
    )
    return lambda command: here(elsewhere(command))


def raw_option():
    """The option ``--raw``: a terminal gets control characters as they are."""
    return option(
        "--raw",
        is_flag=True,
        help="Show control characters as they are, which a terminal obeys. Default: made visible there.",
    )


def device_option():
    """The option ``--device``."""
    rule = Place.rules()["device"]
    return option("--device", type=click.Choice(rule.choices), default="cpu", help="Where to compute.")


def weights_option(help, choices=("float32", "bfloat16", "int8"), **kwargs):
    """The option ``--weights``; its values are among `tasks.model.WEIGHTS`."""
    return option("--weights", type=click.Choice(choices), help=help, **kwargs)


def any_symbol_output():
    """Show a mark in the place of a symbol that the terminal's encoding lacks: a model may generate any
    character.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def refuse_existing(out: str | None):
    """InputError if there is a file ``out``; a device or a pipe may be there."""
    if out and (Path(out).is_file() or (Path(out).is_symlink() and not Path(out).exists())):
        raise InputError(f"{out} exists and is not overwritten: choose another --out")


def write_out(out: str, text: str):
    """Write the file ``out``, whole or not at all; InputError if that cannot be."""
    from ..base.files import replace_file

    try:
        if Path(out).exists():  # a device or a pipe
            Path(out).write_bytes(text.encode())
        else:
            replace_file(Path(out), text.encode())
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror}): choose another --out") from None


def load_language_model(run, allow_code, hint, device="cpu"):
    """The language model of ``run``; of any other model an InputError that ends in ``hint``."""
    from ..training.experiments import load

    model = load(run, allow_code=allow_code, device=device)
    if not hasattr(model, "generate"):
        raise InputError(f"{run} is no language model: {hint}")
    return model


def complete_cell(context, parameter, incomplete):
    """Names of registered cells, for shell completion."""
    from ..nn.registry import registered

    return [name for name in registered() if name.startswith(incomplete)]
