"""``tinyrnn export``: a trained model for other libraries and languages."""

import click

from ..tools.export import FORMS
from ..training.screen import say
from .common import Command, allow_code_option, option, run_argument, weights_option


@click.command("export", cls=Command)
@run_argument()
@option(
    "--format",
    "form",
    default="onnx",
    type=click.Choice([*FORMS]),
    help="An .onnx file, a PyTorch module, or C99 without dependencies.",
)
@option(
    "--out",
    type=click.Path(dir_okay=False),
    help="File to write. Default: model.onnx, model.py or model.c in the folder of RUN.",
)
@weights_option(
    "int8: matrices in 8 bits, a scale for each column, in a quarter of the space; in C also bfloat16, in "
    "half. Default: as they are."
)
@option("--main", is_flag=True, help="C has a main: cc model.c -lm && ./a.out TEXT.")
@option(
    "--max-length",
    type=click.IntRange(1, 10_000_000),
    help="Steps of a sequence of numbers that C has room for, where it remembers all. Default: 1000.",
)
@allow_code_option()
def command(run, form, out, weights, main, max_length, allow_code):
    """Write RUN for another library or language: of a language model one step, from ids and states to logits
    and new states.

    Works for every cell that compiles: what is written comes from the tape of its step.
    """
    from ..base.files import replace_files
    from ..tools.export import How, exported
    from ..training import runs
    from ..training.experiments import load

    model = load(run, allow_code=allow_code)
    target = runs.output_file(out, run, FORMS[form])
    files = exported(model, form, target, How(weights=weights, main=main, max_length=max_length))
    replace_files(files)
    for path in files:
        say(path)
