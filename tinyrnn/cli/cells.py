"""``tinyrnn cells``: what cells there are."""

import inspect
import json
import sys
import textwrap

import click

from ..training.screen import columns, is_terminal, say
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
        say(json.dumps(facts) if as_json else _page(facts))
        return
    entries = [_facts(entry) for entry in plugins.registered().values()]
    if as_json:
        say(json.dumps(entries))
        return
    lines = _table(entries)
    if is_terminal(sys.stdout) and max(map(len, lines)) > columns():
        lines = _paragraphs(entries, columns())
    say("\n".join(lines))
    say("parameters: of one layer of width 128 on inputs of width 128")
    say("details of one: tinyrnn cells NAME")


def _row(facts) -> dict:
    """What is shown of a cell in the list, as text by column."""
    if "error" in facts:
        return {"cell": facts["name"], "what": f"broken: {facts['error']}", "package": facts["package"]}
    return {
        "cell": facts["name"],
        "what": facts["summary"],
        "states": " ".join(facts["states"]),
        "parameters": f"{facts['parameters']:,}",
        "path": facts["path"].partition(":")[0],
        "options": " ".join(facts["options"]),
        "package": facts["package"],
    }


def _table(entries) -> list[str]:
    """A line a cell, as wide as it gets; what is broken has a sentence in place of figures."""
    rows = [_row(facts) for facts in entries]
    whole = [row for row in rows if "states" in row]
    widths = {c: max(map(len, [c, *[row[c] for row in whole]])) for c in (whole or rows)[0]}
    rows.insert(0, {c: c for c in widths})
    return ["  ".join(f"{text:{widths[c]}}" for c, text in row.items()).rstrip() for row in rows]


def _paragraphs(entries, width) -> list[str]:
    """The same for a narrow terminal: a cell is what it is, then its facts, indented."""
    lines, indent = [], max(len(facts["name"]) for facts in entries) + 2
    for row in map(_row, entries):
        name, what = row.pop("cell"), row.pop("what")
        if "parameters" in row:
            row |= {"states": f"states {row['states']}", "parameters": f"{row['parameters']} parameters"}
            row["options"] = row["options"] and f"options {row['options']}"
        for first, text in ((name, what), ("", ", ".join(filter(None, row.values())))):
            lines += textwrap.wrap(f"{first:{indent}}{text}", width, subsequent_indent=" " * indent)
    return lines


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
        "sizes": [shape[1:] for shape in layer.state_shapes(1)],
        "gates": {name: list(columns) for name, columns in layer.gate_columns().items()},
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


def _wrapped(doc, width) -> str:
    """A docstring as prose: paragraphs filled again, equations and other lines as they are, no backquotes."""
    blocks = []
    for block in doc.replace("``", "").split("\n\n"):
        lines = block.split("\n")
        left, equals, _ = lines[0].partition(" = ")
        as_it_is = (equals and left.count(" ") < 5) or any(line[:1] == " " for line in lines)
        blocks.append(block if as_it_is else textwrap.fill(block, width))
    return "\n\n".join(blocks)


def _page(facts):
    lines = [f"{facts['name']}  ({facts['package']})", "", _wrapped(facts["doc"], min(columns(), 100)), ""]
    states = [
        name + f" [{size[0]}, {', '.join(map(str, size[1:]))}]" * (len(size) > 1)
        for name, size in zip(facts["states"], facts["sizes"], strict=True)
    ]
    lines.append(f"states      {', '.join(states)}; the first is the output")
    if facts["gates"]:
        lines.append(
            "gates       " + "; ".join(f"{name}: {' '.join(g)}" for name, g in facts["gates"].items())
        )
    lines.append(f"parameters  {facts['parameters']:,} for a layer of width 128 on inputs of width 128")
    lines.append(f"flops       {facts['flops']:,} a token" if facts["flops"] else "flops       unknown")
    lines.append(f"path        {facts['path']}")
    for name, o in facts["options"].items():
        lines.append(f"option      --cell-opt {name}={o['default']}   ({o['type']})")
    return "\n".join(lines)
