"""``tinyrnn inspect``: a page that shows what happens inside a trained language model."""

import click

from ..training.screen import say
from .common import Command, allow_code_option, load_language_model, option, run_argument


@click.command("inspect", cls=Command)
@run_argument()
@click.argument("text", type=click.Path())
@option(
    "--out",
    type=click.Path(dir_okay=False),
    help="HTML file to write. Default: inspect.html in the folder of RUN.",
)
@option("--length", default=1000, type=click.IntRange(min=2), help="Characters of TEXT that are read.")
@option("--encoding", default="utf-8", help="Encoding of the file.")
@allow_code_option()
def command(run, text, out, length, encoding, allow_code):
    """Write one self-contained HTML page about RUN reading TEXT, a file or the text itself.

    Units coloured over the text, gates (how open, and how often stuck), and how far back gradients flow.
    """
    from ..base.files import replace_file
    from ..tasks.text.options import ReadingOptions
    from ..tasks.text.sources import read_lines
    from ..tasks.text.vocabulary import tell_left_out
    from ..tools import inspection
    from ..training.runs import output_file

    ReadingOptions(encoding=encoding)  # which checks it
    model = load_language_model(run, allow_code, "inspect shows language models only")
    target = output_file(out, run, "inspect.html")
    read = "\n".join(read_lines([text], encoding))[:length]
    tell_left_out(model.vocabulary, model.vocabulary.missing(read))
    found = inspection.look(model, read)
    replace_file(target, inspection.page(found, f"{run}: {model.settings['cell']}").encode(errors="replace"))
    say(target)
