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
@allow_code_option()
def command(run, form, out, weights, allow_code):
    """Write RUN for another library, one step, from ids and states to logits and new states; or as a page.

    Works for every cell that compiles: what is written comes from the tape of its step.
    """
    from ..base.files import replace_files
    from ..tools.export import How, exported
    from ..training import runs
    from ..training.experiments import load

    model = load(run, allow_code=allow_code)
    target = runs.output_file(out, run, FORMS[form])
    files = exported(model, form, target, How(weights=weights))
    replace_files(files)
    for path in files:
        say(path)
