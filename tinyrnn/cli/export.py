"""``tinyrnn export``: a trained language model for other libraries."""

import click

from ..training.screen import say
from .common import Command, allow_code_option, load_language_model, option, run_argument


@click.command("export", cls=Command)
@run_argument()
@option(
    "--format",
    "form",
    default="onnx",
    type=click.Choice(["onnx", "torch"]),
    help="An .onnx file, or a PyTorch module.",
)
@option(
    "--out",
    type=click.Path(dir_okay=False),
    help="File to write. Default: model.onnx or model.py in the folder of RUN.",
)
@allow_code_option()
def command(run, form, out, allow_code):
    """Write one step of RUN, from ids and states to logits and new states, for another library.

    Works for every cell that compiles: what is written comes from the tape of its step.
    """
    from safetensors.numpy import save

    from ..base.files import replace_file, replace_files
    from ..tools import export
    from ..training import runs

    model = load_language_model(run, allow_code, "export writes language models only")
    target = runs.output_file(out, run, "model.onnx" if form == "onnx" else "model.py")
    if form == "onnx":
        replace_file(target, export.to_onnx(model))
    else:
        weights = target.with_suffix(".safetensors")
        runs.refuse_foreign(
            weights, "model.safetensors"
        )  # even in a run folder: it may be the checkpoint that is exported
        source, arrays = export.to_torch(model, weights.name)
        replace_files({weights: save(arrays, {"tinyrnn": "export"}), target: source.encode()})
        say(weights)
    say(target)
