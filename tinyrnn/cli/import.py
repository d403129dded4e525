"""``tinyrnn import``: a language model that was trained with another library, as a run."""

import click

from ..base.errors import InputError
from ..base.options import path_of
from ..training.screen import say
from .common import Command, option


@click.command("import", cls=Command)
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@option(
    "--symbols",
    type=click.Path(exists=True, dir_okay=False),
    help="Its symbols by their numbers: a JSON list, or dict from symbols to numbers; or a text, whose "
    "distinct characters are numbered by code point; of other levels one a line. --level byte needs none.",
)
@option(
    "--level",
    type=click.Choice(["char", "byte", "word", "token", "bpe"]),
    help="What a symbol is. Default: char, if each is one character.",
)
@option(
    "--activation",
    type=click.Choice(["tanh", "relu"]),
    help="Of a simple recurrent network, which its weights do not tell.",
)
@option("--out", type=click.Path(), required=True, help="Folder of the run to make.")
def command(file, symbols, level, activation, out):
    """Make a run of a language model that was trained with PyTorch or Keras.

    FILE holds the weights of one embedding, recurrent layers and one linear output: safetensors with
    PyTorch's names, as safetensors.torch.save_file(model.state_dict(), FILE) writes them, or the .weights.h5
    of Keras 3. The run generates, is evaluated on a TEXT, and trained on by tinyrnn train DATA --resume RUN.
    """
    from ..tools.networks import read_symbols
    from ..training.experiments import adopt
    from ..training.runs import RunFolder

    if symbols is None and level != "byte":
        raise InputError("name the symbols that it was trained with: --symbols FILE, or --level byte")
    RunFolder.refuse_existing(path_of(out, "--out"))
    said = dict(symbols=read_symbols(symbols, level), level=level, activation=activation)
    if file.endswith((".h5", ".hdf5")):
        from ..tools.keras import from_keras as read
    else:
        from ..tools.pytorch import from_torch as read
    model = read(file, **said)
    say(adopt(model, out, str(path_of(file).resolve())).path)
