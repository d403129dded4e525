"""``tinyrnn bench``: how fast a cell is on this machine."""

import json

import click

from ..training.screen import say
from .common import Command, complete_cell, device_option, option

_SIZE = click.IntRange(min=1)


@click.command("bench", cls=Command)
@option("--cell", default="lstm", shell_complete=complete_cell, help="Recurrent cell, or FILE.py:CLASS.")
@option("--cell-opt", multiple=True, metavar="NAME=VALUE", help="Option of the cell; may be repeated.")
@option("--hidden", default=256, type=_SIZE, help="Width of each recurrent layer.")
@option("--layers", default=1, type=_SIZE, help="Recurrent layers.")
@option("--embed", default=128, type=_SIZE, help="Width of the embedding.")
@option("--vocab-size", default=65, type=click.IntRange(min=2), help="Symbols.")
@option("--batch-size", default=64, type=_SIZE, help="Streams read side by side.")
@option("--seq-len", default=50, type=_SIZE, help="Steps of a window.")
@option("--threads", type=_SIZE, help="Threads to compute on. Default: all cores.")
@option("--rounds", default=7, type=_SIZE, help="Turns that each contender takes; the medians are shown.")
@option(
    "--against",
    type=click.Choice(["torch"]),
    help="A peer to measure beside: PyTorch's layer of the same size.",
)
@option(
    "--dtype",
    "dtypes",
    type=click.Choice(["float32", "bfloat16"]),
    multiple=True,
    help="Precision of products; may be repeated. Default: both.",
)
@device_option()
@option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    cell, cell_opt, against, rounds, dtypes, as_json, vocab_size, batch_size, seq_len, device, **sizes
):
    """Measure tokens a second: forward, training step, generation; and the part of this machine's GEMM peak
    in float32.
    """
    import importlib.util

    from ..base.devices import chosen
    from ..base.errors import InputError
    from ..nn import registry as plugins
    from ..tools.bench import DTYPES, Workload, bench

    if against and importlib.util.find_spec("torch") is None:
        raise InputError("--against torch needs PyTorch: pip install torch")
    options = plugins.read_options(cell, cell_opt)
    shape = dict(vocabulary=vocab_size, batch=batch_size, length=seq_len, device=chosen(device))
    work = Workload(cell, tuple(options.items()), **shape, **sizes)
    found = bench(work, dtypes=dtypes or DTYPES, against_torch=bool(against), rounds=rounds)
    if as_json:
        say(json.dumps({"cell": cell, **sizes, **shape, **found}))
        return
    say(
        f"{cell}, {sizes['layers']} x {sizes['hidden']}, embedding {sizes['embed']}, vocabulary "
        f"{vocab_size}; {batch_size} streams x {seq_len} steps on {shape['device']}; "
        f"GEMM peak {found['peak'] / 1e9:.0f} GFLOP/s"
    )
    names = {"forward": "forward", "train": "training step", "generate": "generation"}
    for row in found["rows"]:
        line = f"{names[row['what']]:14} {row['dtype']:9} {row['tinyrnn']:>10,.0f} tokens/s"
        line += f"  {row['fraction']:4.0%} of GEMM peak" if row["fraction"] else " " * 18
        peers = [
            f"{name} {speed:,.0f} (ratio {row['tinyrnn'] / speed:.2f})"
            if speed
            else f"{name} cannot run here"
            for name, speed in row["torch"].items()
        ]
        say((f"{line}  PyTorch " + ", ".join(peers) if peers else line).rstrip())
