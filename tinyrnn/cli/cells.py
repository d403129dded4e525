"""``tinyrnn cells``: what cells there are."""

import inspect
import json

import click

from .common import Command, complete_cell, option


@click.command("cells", cls=Command)
@click.argument("name", required=False, shell_complete=complete_cell)
@option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(name, as_json):
    """List the registered cells, or show one: its equations, options, states and parameters."""
    from ..nn import registry as plugins

    if name:
        facts = _facts(plugins.get_entry(name))
        plugins.get_cell(name)  # a broken one is an error here
        click.echo(json.dumps(facts) if as_json else _page(facts))
        return
    entries = [_facts(entry) for entry in plugins.registered().values()]
    if as_json:
        click.echo(json.dumps(entries))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("cell", "what", "states", "parameters", "path", "options", "package"):
        table.add_column(column)
    for f in entries:
        if "error" in f:
            table.add_row(f["name"], f"[red]broken: {f['error']}[/red]", "", "", "", "", f["package"])
            continue
        states, options, path = " ".join(f["states"]), " ".join(f["options"]), f["path"].partition(":")[0]
        table.add_row(f["name"], f["summary"], states, f"{f['parameters']:,}", path, options, f["package"])
    Console().print(table)
    click.echo("parameters: of one layer of width 128 on inputs of width 128. Details: tinyrnn cells NAME")


def _facts(entry) -> dict:
    from ..base.errors import InputError
    from ..compiler.report import report_cell
    from ..nn import registry as plugins

    facts = {"name": entry.name, "package": f"{entry.package} {entry.version}"}
    try:
        cell = entry.load()
    except InputError as error:
        return {**facts, "error": str(error)}
    doc, layer = inspect.getdoc(cell) or "", cell(128, 128)
    found = report_cell(layer)
    return {
        **facts,
        "summary": doc.split("\n", 1)[0],
        "doc": doc,
        "states": list(cell.states),
        "parameters": sum(p.size for p in layer.parameters()),
        "flops": found.flops,
        "options": {
            o.name: {
                "type": plugins.describe_type(o.annotation),
                "default": str(o.default).lower() if isinstance(o.default, bool) else o.default,
            }
            for o in plugins.options_of(cell).values()
        },
        "path": str(found),
    }


def _page(facts):
    lines = [f"{facts['name']}  ({facts['package']})", "", facts["doc"], ""]
    lines.append(f"states      {', '.join(facts['states'])}; the first is the output")
    lines.append(f"parameters  {facts['parameters']:,} for a layer of width 128 on inputs of width 128")
    lines.append(f"flops       {facts['flops']:,} a token" if facts["flops"] else "flops       unknown")
    lines.append(f"path        {facts['path']}")
    for name, o in facts["options"].items():
        lines.append(f"option      --cell-opt {name}={o['default']}   ({o['type']})")
    return "\n".join(lines)
