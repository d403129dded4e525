"""``tinyrnn generate``: text from a trained model."""

import itertools
import os
import sys

import click

from ..training.screen import note, say
from .common import (
    Command,
    allow_code_option,
    any_symbol_output,
    device_option,
    load_language_model,
    option,
    raw_option,
    refuse_existing,
    run_argument,
    weights_option,
    write_out,
)


@click.command("generate", cls=Command)
@run_argument()
@option("--prompt", metavar="TEXT", group="Text", help="Text to continue. Default: start anywhere.")
@option("--length", default=500, group="Text", help="How many symbols to generate.")
@option("--num", default=1, type=click.IntRange(min=1), group="Text", help="How many samples, made together.")
@option("--stop", metavar="TEXT", group="Text", help="End a sample before this text.")
@option(
    "--temperature",
    default=0.8,
    group="Choice",
    help="Below 1: likely symbols more often; 0: always the likeliest.",
)
@option("--top-k", type=int, group="Choice", help="Choose among the K most likely symbols.")
@option(
    "--top-p", type=float, group="Choice", help="Choose among the likely symbols that reach this probability."
)
@option(
    "--min-p", type=float, group="Choice", help="Leave out symbols this much less likely than the likeliest."
)
@option("--typical-p", type=float, group="Choice", help="Choose among the least surprising that reach this.")
@option("--repetition-penalty", type=float, group="Choice", help="Above 1 against symbols just written.")
@option("--repetition-window", default=64, group="Choice", help="How many symbols that looks back.")
@option("--regex", metavar="PATTERN", group="Choice", help="Write only what can still match as a whole.")
@option(
    "--seed",
    type=int,
    group="Choice",
    help="The same seed gives the same text. Default: a new one each time.",
)
@weights_option(
    "In bfloat16 and int8 they are read faster; the text is another, hardly worse (see evaluate). "
    "Default: as they are stored, which is float32 also after --dtype bfloat16.",
    group="Choice",
)
@option("--interactive", is_flag=True, help="Ask for prompts until an empty line or the end of input.")
@option("--out", type=click.Path(dir_okay=False), help="Write to this new file instead of the terminal.")
@option("--threads", type=click.IntRange(min=1), help="Threads to compute on. Default: all cores.")
@raw_option()
@device_option()
@allow_code_option()
def command(run, prompt, num, interactive, out, threads, raw, device, allow_code, seed, **settings):
    """Write text with the model of RUN, a run folder or checkpoint.

    Streams as it samples. Example: tinyrnn generate runs/text-ln-gru --prompt "The " --temperature 0.7
    """
    from ..base import threads as pool
    from ..base.options import flag_of
    from ..tasks.lm import sampling

    if threads:
        pool.set_threads(threads)
    any_symbol_output()
    refuse_existing(out)
    sampling.check_options(flag_of, seed=seed, **settings)
    model = load_language_model(run, allow_code, "use tinyrnn predict", device)

    def sample(prompt, num, index, write):
        for symbol in sampling.encode_prompt(model.vocabulary, prompt)[1]:
            what = "read as unknown" if model.vocabulary.unknown is not None else "left out"
            note(f"prompt: {symbol!r} is not in this model's vocabulary: {what}")
        first = None if seed is None else seed + index
        for i, pieces in enumerate(sampling.generate_many(model, prompt, num, seed=first, **settings)):
            if num > 1:
                write(f"--- {i + 1} ---\n")
            for piece in pieces:
                write(piece)
            write("\n")

    def show(text):
        say(text, raw=raw, end="")  # which flushes

    if interactive:
        _converse(lambda text, i: sample(text, 1, i, show))
        return
    texts = []
    write = texts.append if out else show
    sample(prompt, num, 0, write)
    if out:
        write_out(out, "".join(texts).replace("\n", os.linesep))


def _converse(answer):
    from ..base.errors import InputError

    for i in itertools.count():
        note("prompt (empty line ends):")
        text = sys.stdin.readline().rstrip("\n")
        if not text:
            return
        try:
            answer(text, i)
        except InputError as error:  # a bad prompt must not end the conversation
            note(f"Error: {error}")
