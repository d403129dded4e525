"""``tinyrnn compress``: a trained model in fewer bytes."""

import json
import shlex

import click

from ..training.screen import note, say
from .common import EXIT_INTERRUPTED, Command, allow_code_option, device_option, option, run_argument
from .options import flags


class _CompressCommand(Command):
    def get_params(self, context):
        from ..tools.compress import CompressOptions

        return [*flags(CompressOptions.rules()), *super().get_params(context)]


@click.command("compress", cls=_CompressCommand)
@run_argument()
@click.argument("texts", nargs=-1, metavar="[TEXT]...", type=click.Path())
@option("--out", type=click.Path(), help="Folder of what is made. Default: RUN-int8, RUN-prune0.8 ...")
@device_option()
@option("--threads", type=click.IntRange(min=1), help="Threads to compute on. Default: all cores.")
@allow_code_option()
@option("--json", "as_json", is_flag=True, help="Print one JSON object a row, nothing else.")
@click.pass_context
def command(context, run, texts, out, device, threads, allow_code, as_json, **options):
    """Make of RUN a run in fewer bytes: of matrices in 8 bits, or of matrices most of whose weights are 0.

    What is made is a run like any other. Printed are bytes, steps a second and loss, before and after;
    compress.png draws loss against size. TEXT: what RUN was trained on, where that is elsewhere now.

    \b
    tinyrnn compress RUN --int8
    tinyrnn compress RUN --prune 0.5,0.8,0.9 --int8
    """
    from ..base import threads as pool
    from ..tools.compress import Compression, CompressOptions
    from ..training import pictures, report
    from ..training.trainer import Interrupted

    if threads:
        pool.set_threads(threads)
    shown = report.for_people(quiet=as_json)
    how = dict(out=out, report=shown, device=device, allow_code=allow_code)
    compression, rows = Compression(run, texts, CompressOptions(**options), **how), []
    try:
        for row in compression.rows():
            rows.append(row)
            if as_json:
                say(json.dumps(row))
    except Interrupted:
        trainer = compression.trainer
        again = f"tinyrnn train --resume {shlex.quote(str(trainer.run.path))}"
        note(f"interrupted at step {trainer.step}, saved; go on with: {again}")
        context.exit(EXIT_INTERRUPTED)
    finally:  # of a sweep that is interrupted what there is
        if len(rows) > 1 and not as_json:
            _tell(rows, compression)
    if not as_json:
        for path in dict.fromkeys(row["path"] for row in rows[1:]):
            say(path)
    if pictures.available():
        (note if as_json else say)(compression.draw(rows))
    else:
        note("for a picture: pip install 'tinyrnn[plot]', then the same command")


def _tell(rows, compression):
    """The rows as a table."""
    form, first = "{:20} {:9} {:>11} {:>5} {:>8} {:>10} {:>9} {:>9}", rows[0]
    say(form.format("", "products", "bytes", "", "zeros", compression.speed, "loss", "change"))
    for row in rows:
        part, change = row["bytes"] / first["bytes"], row["loss"] - first["loss"]
        figures = f"{row['bytes']:,}", f"{part:.0%}", f"{row['sparsity']:.1%}", f"{row['steps_per_s']:,.0f}"
        changed = "" if row is first else f"{change:+.4f}"
        say(form.format(row["name"], row["products"], *figures, f"{row['loss']:.4f}", changed).rstrip())
    say(f"loss: validation {compression.loss_name}; {compression.speed}: {compression.timed}")
