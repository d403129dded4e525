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
    help="An .onnx file, a PyTorch module, the JSON of RTNeural (lstm, and gru with reset_after), C99 "
    "without dependencies, or a page that runs the model in a browser.",
)
@option(
    "--out",
    type=click.Path(dir_okay=False),
    help="File to write. Default: model.onnx, model.py, model.json, model.c or model.html in the folder of "
    "RUN.",
)
@weights_option(
    "int8: matrices in 8 bits, a scale for each column, in a quarter of the space; in C also bfloat16, in "
    "half. Default: as they are; in a page int8 where that changes little."
)
@option("--main", is_flag=True, help="C has a main: cc model.c -lm && ./a.out TEXT.")
@option(
    "--max-length",
    type=click.IntRange(1, 10_000_000),
    help="Steps of a sequence of numbers that C has room for, where it remembers all. Default: 1000.",
)
@option(
    "--sequence",
    is_flag=True,
    help="Of a language model whole sequences, ids [T, B]. Default: one step, ids [B].",
)
@allow_code_option()
def command(run, form, out, weights, main, max_length, sequence, allow_code):
    """Write what RUN computes, from ids or numbers to logits or probabilities, for another library or
    language, or RUN as a page.

    Works for every cell that compiles: what is written comes from the tape of its step. A translator is two
    files, the reader of sources beside the step.
    """
    from ..base.files import replace_files
    from ..tools.export import How, exported
    from ..training import runs
    from ..training.experiments import load

    model = load(run, allow_code=allow_code)
    target = runs.output_file(out, run, FORMS[form])
    how = How(weights=weights, main=main, max_length=max_length, sequence=sequence)
    files = exported(model, form, target, how)
    replace_files(files)
    for path in files:
        say(path)
