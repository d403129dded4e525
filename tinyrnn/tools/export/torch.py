"""PyTorch modules, as source and a file of weights."""

import json

import numpy as np
from safetensors.numpy import save

from ...compiler.targets.torch import Torch
from ...training import runs
from . import How, first_states, graphs_of

HEAD = '''"""A model trained with tinyrnn ({cell}, {task}), in PyTorch.

{usage}
FACTS holds what is known beside the weights{symbols}.
What the model learned are parameters: it can be trained on.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

FACTS = json.loads({facts!r})
{tables}

class Model(torch.nn.Module):
    """The arrays that a module names in ``learned`` and ``fixed``, of the file of weights."""

    part, learned, fixed = "", [], []

    def __init__(self, weights=Path(__file__).parent / {weights!r}):
        super().__init__()
        arrays = load_file(weights)
        for name in self.learned + self.fixed:
            array = arrays[self.part + name]
            if self.part + name + ".scale" in arrays:  # stored in 8 bits
                array = array * arrays[self.part + name + ".scale"]
            if name in self.learned:
                self.register_parameter(name, torch.nn.Parameter(array))
            else:
                self.register_buffer(name, array)

    def number(self, x):
        like = next(self.parameters())
        return torch.full((1, 1), x, dtype=like.dtype, device=like.device)
'''
BODY = """

class {name}(Model):
    part = {part!r}
    learned = {learned}
    fixed = {fixed}
{start}
    def forward(self, {inputs}):
        {body}
        return {outputs}
"""
START = """
    def initial_states(self, batch):
        return [s.expand(batch, -1) for s in [{states}]]
"""


def write(model, target, how: How) -> dict:
    """The source, and the weights beside it."""
    arrays_file = target.with_suffix(".safetensors")
    # even in a run folder: it may be the checkpoint that is exported
    runs.refuse_foreign(arrays_file, "model.safetensors")
    source, arrays = to_torch(model, arrays_file.name, how.weights == "int8", how.sequence)
    return {arrays_file: save(arrays, {"tinyrnn": "export"}), target: source.encode()}


def to_torch(model, weights: str, in_bytes=False, sequence=False) -> tuple[str, dict]:
    """Source of a PyTorch module for each of a model's graphs, and their arrays, to be stored in the
    safetensors file named ``weights``; ``in_bytes`` and ``sequence`` as in `to_onnx`.

    Raises:
        InputError: 8 bits of a model that is not float32; it cannot be written out.
        CompilerFault: it uses what has no form there.
    """
    graphs = graphs_of(model, in_bytes, sequence)
    arrays: dict[str, np.ndarray] = {}
    classes, usage = [], []
    for name, graph in graphs.items():
        given = graph.inputs[0]
        target = Torch(graph.dtype, f"{given.name}.shape[{int(given.over_time)}]")
        made = target.graph(graph, in_bytes)
        starts = {f"initial_{state}": row for state, row in first_states(graphs, name).items()}
        own = target.constants | {n: np.ascontiguousarray(row) for n, row in starts.items()}
        part = f"{name}." if len(graphs) > 1 else ""
        arrays |= {part + n: array for n, array in own.items()}
        named = {n for n in own if not n.endswith(".scale")}
        fields = {
            "name": name.capitalize(),
            "part": part,
            "learned": sorted(named & target.learned.keys()),
            "fixed": sorted(named - target.learned.keys()),
            "start": START.format(states=", ".join(f"self.{n}" for n in starts)) if starts else "",
            "inputs": ", ".join(x.name for x in graph.inputs),
            "body": "\n        ".join(target.lines),
            "outputs": ", ".join(made[n] for n in graph.outputs),
        }
        classes.append(BODY.format(**fields))
        usage.append(_usage(name, graph, bool(starts)))
    tables = [n for n in ("vocabulary", "source", "target") if hasattr(model, n)]
    symbols = {
        "SYMBOLS" if n == "vocabulary" else f"{n.upper()}_SYMBOLS": getattr(model, n).symbols for n in tables
    }
    cell = model.settings["cell"]
    head = HEAD.format(
        cell=getattr(cell, "__name__", cell).rpartition(":")[2],  # without the path of its file
        task=model.task,
        usage="\n".join(usage),
        symbols=f"; ids are indices into {' or '.join(symbols)}" if symbols else "",
        facts=json.dumps({"task": model.task, **model.facts()}),
        tables="".join(f"{n} = {json.dumps(found)}\n" for n, found in symbols.items()),
        weights=weights,
    )
    return head + "".join(classes), arrays


def _usage(name, graph, begins):
    """How a module is called, as lines; ``begins``: it knows its first states."""
    new = {out for _, out in graph.states.values()} if begins else ()
    given = [x.name for x in graph.inputs if not (begins and x.name in graph.states)]
    seen = [n for n in graph.outputs if n not in new]
    shapes = {x.name: x for x in graph.inputs} | {n: graph.outputs[n] for n in seen}
    lines = [f"    {name} = {name.capitalize()}()"]
    if begins:
        lines.append(f"    states = {name}.initial_states(1)")
    more = ["*states"] * begins
    lines.append(f"    {', '.join([*seen, *more])} = {name}({', '.join([*given, *more])})")
    return "\n".join([*lines, *[f"        # {n} {_shape(item)}" for n, item in shapes.items()], ""])


def _shape(item):
    axes = [*["T"] * item.over_time, "B", *([] if item.count else [str(item.width)])]
    return f"{'int64 ' if item.count else ''}[{', '.join(axes)}]"
