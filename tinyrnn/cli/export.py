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
    help="An .onnx file, a PyTorch module, the JSON of RTNeural (lstm, and gru with reset_after), or a page "
    "that runs the model in a browser.",
)
@option(
    "--out",
    type=click.Path(dir_okay=False),
    help="File to write. Default: model.onnx, model.py, model.json or model.html in the folder of RUN.",
)
@weights_option(
    "int8: matrices in 8 bits, a scale for each column, in a quarter of the space. Default: as they are; "
    "in a page int8 where that changes little.",
    choices=("float32", "int8"),
)
@option(
    "--sequence",
    is_flag=True,
    help="Of a language model whole sequences, ids [T, B]. Default: one step, ids [B].",
)
@allow_code_option()
def command(run, form, out, weights, sequence, allow_code):
    """Write what RUN computes, from ids or numbers to logits or probabilities, for another library, or RUN as
    a page.

    Works for every cell that compiles: what is written comes from the tape of its step. A translator is two
    files, the reader of sources beside the step.
    """
    from ..base.files import replace_files
    from ..tools.export import How, exported
    from ..training import runs
    from ..training.experiments import load

    model = load(run, allow_code=allow_code)
    target = runs.output_file(out, run, FORMS[form])
    files = exported(model, form, target, How(weights=weights, sequence=sequence))
    replace_files(files)
    for path in files:
        say(path)
