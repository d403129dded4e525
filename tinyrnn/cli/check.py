"""``tinyrnn check``: does a cell do what every cell must?"""

import dataclasses
import json

import click

from ..training.screen import say
from .common import EXIT_FAILED, Command, complete_cell, device_option, option


@click.command("check", cls=Command)
@click.argument("cell", shell_complete=complete_cell)
@option("--cell-opt", multiple=True, metavar="NAME=VALUE", help="Option of the cell; may be repeated.")
@device_option()
@option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(context, cell, cell_opt, device, as_json):
    """Check a CELL: gradients, compiled or why not, masks, saving, a tiny text, speed. Exit code 1 if it
    fails. With --device cuda also: its loops on the GPU, and in which form they run there.
    """
    from ..base.devices import chosen
    from ..nn import registry as plugins
    from ..tools import check as testing

    cell_class, options = plugins.get_cell(cell), plugins.read_options(cell, cell_opt)
    results = []
    on_gpu = list(testing.ON_A_GPU) if chosen(device) == "cuda" else []
    for result in testing.results_of([*testing.CHECKS, *on_gpu], cell_class, options):
        results.append(result)
        if not as_json:
            badge = ("ok    ", "green") if result.passed else ("FAILED", "red")
            say(f"  {result.name:17} {result.detail}", badge=badge)
    failed = sum(not r.passed for r in results)
    if as_json:
        say(
            json.dumps(
                {"cell": cell, "passed": not failed, "checks": [dataclasses.asdict(r) for r in results]}
            )
        )
    elif failed:
        say(f"{cell} fails {failed} of {len(results)} checks")
    if failed:
        context.exit(EXIT_FAILED)
