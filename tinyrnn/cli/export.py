"""``tinyrnn export``: a trained language model for other libraries."""

import click

from ..training.screen import say
from .common import Command, allow_code_option, load_language_model, option, run_argument, weights_option


@click.command("export", cls=Command)
@run_argument()
@option(
    "--format",
    "form",
    default="onnx",
    type=click.Choice(["onnx", "torch", "rtneural"]),
    help="An .onnx file, a PyTorch module, or the JSON of RTNeural (lstm, and gru with reset_after).",
)
@option(
    "--out",
    type=click.Path(dir_okay=False),
    help="File to write. Default: model.onnx, model.py or model.json in the folder of RUN.",
)
@weights_option(
    "int8: matrices in 8 bits, a scale for each column, in a quarter of the space. Default: as they are.",
    choices=("float32", "int8"),
)
@allow_code_option()
def command(run, form, out, weights, allow_code):
    """Write one step of RUN, from ids and states to logits and new states, for another library.

    Works for every cell that compiles: what is written comes from the tape of its step.
    """
    from safetensors.numpy import save

    from ..base.errors import InputError
    from ..base.files import replace_file, replace_files
    from ..tools import export
    from ..training import runs

    model = load_language_model(run, allow_code, "export writes language models only")
    in_bytes = weights == "int8"
    names = {"onnx": "model.onnx", "torch": "model.py", "rtneural": "model.json"}
    target = runs.output_file(out, run, names[form])
    if form == "rtneural":
        from ..tools.rtneural import to_rtneural

        if in_bytes:
            raise InputError("--weights int8: RTNeural's JSON holds floats: leave it out")
        replace_file(target, to_rtneural(model).encode())
    elif form == "onnx":
        replace_file(target, export.to_onnx(model, in_bytes))
    else:
        arrays_file = target.with_suffix(".safetensors")
        runs.refuse_foreign(
            arrays_file, "model.safetensors"
        )  # even in a run folder: it may be the checkpoint that is exported
        source, arrays = export.to_torch(model, arrays_file.name, in_bytes)
        replace_files({arrays_file: save(arrays, {"tinyrnn": "export"}), target: source.encode()})
        say(arrays_file)
    say(target)
