"""Loops of a `Graph` as functions in languages with braces, for one sequence: what C and JavaScript share.

Sizes are written out, since what is exported has no others. A function takes arrays by their names, in the
order of ``parameters``, and over time the number of steps ``T``.
"""

import re

from ...autograd.tape import TABLE
from .. import loops
from ..graph import Graph
from ..graph import Loop as Node
from ..ir import CompilerFault, Kind, Source, order
from ..schedule import Place, Schedule

_CALL = re.compile(r"\b([a-z][a-z0-9_]*)\(")


class Loop(loops.Loop):
    """A loop node of a graph as lines.

    Attributes:
        called: names of the functions that its lines call, as the scalar rules name them.
        products: name of a constant -> whether rows are multiplied by its transpose.
    """

    offsets = loops.Loop.offsets | {
        "time": "t * {w}", "table": "0", "batch": "0", "rows": "0", "unit": "0", "old": "0", "new": "0",
    }  # fmt: skip
    nests, in_order = False, True

    def __init__(self, node: Node):
        self.node = node
        self.called: set[str] = set()
        self.products: dict[str, bool] = {}
        leaves = {v: self._place(v) for v in order(node.values) if v.kind is Kind.INPUT}
        kind = "time" if node.over_time else "batch"
        places = [Place(out.name, kind, out.width) for out in node.outs]
        self.states = [(f"state{k}", f"next{k}", s) for k, s in enumerate(node.init)]
        places += [Place(new, "batch", s.width) for _, new, s in self.states]
        schedule = Schedule(list(zip(node.values, places, strict=True)), leaves)
        super().__init__(node.name, schedule)

    def _place(self, v):
        source, i = v.attr
        if source is Source.X:
            item = self.node.xs[i]
            return Place(item.name, "time" if item.over_time else "batch", v.width)
        if source is Source.STATE:
            return Place(f"state{i - len(self.node.outs)}", "batch", v.width)
        if source is Source.ARGUMENT:
            return Place("numbers", "number", 1, first=i)
        return Place(self.node.closed[v.attr], "one", v.width)

    # ------------------------------------------------------------------ what languages with braces share

    def size(self, n):
        return str(n)

    def literal(self, x: float) -> str:
        """A number of the language."""
        raise NotImplementedError

    def _number(self, v):
        x = v.attr
        if x != x or x - x != 0:
            return super()._number(v)
        return self.literal(x)

    def _leaf(self, v):
        if v.is_input(Source.ARGUMENT):
            return self.literal(self.node.closed[v.attr])
        return super()._leaf(v)

    def _pointwise(self, v):
        self.called |= set(_CALL.findall(TABLE[v.attr].rule))
        return super()._pointwise(v)

    kinds = loops.Loop.kinds | {Kind.INPUT: _leaf, Kind.NUMBER: _number, Kind.POINTWISE: _pointwise}

    def load(self, place, column, first=0):
        self.scope(place.array)
        return f"{place.array}[{self.index(place, column, first)}]"

    def store(self, place, column, value, first=0):
        self.scope(place.array)
        return f"{place.array}[{self.index(place, column, first)}] = {value};"

    def fold(self, name, step):
        """The line that goes on with a reduction."""
        return f"{name} = {step};"

    def variable(self, name, start):
        """The line that declares what a reduction is kept in."""
        raise NotImplementedError

    def counted(self, name, n):
        """The head of a counted loop."""
        raise NotImplementedError

    def pass_over(self, space, body, folds, groups=1, apart=1, after=()):
        width = space.width
        self.called |= {c for fold in folds for c in _CALL.findall(fold[2])}
        lines = [self.variable(name, start) for name, start, _, _ in folds]
        steps = [self.fold(name, step.format(name, value)) for name, _, step, value in folds]
        if width == 1:
            return [*lines, *steps]
        inside = [f"    {x}" for x in [*body, *steps]]
        if groups == 1:
            return [*lines, self.counted("j", width), *inside, "}"]
        n = width // groups
        far = f"({self.quotient('g', apart)} * {n} + k) * {apart} + g % {apart}"
        at = f"g * {n} + k" if apart == 1 else far
        each = [
            *lines,
            self.counted("k", n),
            "    " + self.assigned("j", at, whole=True),
            *inside,
            "}",
            *after,
        ]
        return [self.counted("g", groups), *[f"    {x}" for x in each], "}"]

    def multiply(self, packed, product, operand, first, out):
        matrix = product.inputs[1]
        name = self.node.closed.get(matrix.attr) if matrix.kind is Kind.INPUT else None
        if not isinstance(name, str):
            raise CompilerFault(f"{self.node.name} multiplies by what is no constant: {matrix!r}")
        self.products[name] = product.attr
        at = [
            " + ".join(x for x in (self.offset_text(operand), first) if x != "0") or "0",
            self.offset_text(out),
        ]
        return self.product(name, product.attr, (operand.array, at[0]), (out.array, at[1]),
                            product.inputs[0].width, product.width)  # fmt: skip

    def product(self, matrix, turned, row, out, depth, width):
        """The line of a product of a row, (array, offset), with a constant matrix."""
        raise NotImplementedError

    # ------------------------------------------------------------------ the function

    @property
    def lines(self) -> list[str]:
        """The lines of a step; names are those of a stage."""
        found: list[str] = []
        for rows, products in self.stages:
            found += ["{", *[f"    {x}" for x in rows], "}"] if rows and len(self.stages) > 1 else rows
            found += products
        return found

    @property
    def buffers(self) -> dict[str, int]:
        """Arrays of its own and their sizes: states before and after a step, and scratch."""
        found = {name: s.width for old, new, s in self.states for name in (old, new)}
        return found | {name: width for name, (width, _) in self.schedule.scratch.items()}

    @property
    def parameters(self) -> list[str]:
        """Arrays that it is given, in order: of xs, initial states, outs, final states and constants."""
        node = self.node
        items = [*node.xs, *node.init, *node.outs, *node.finals]
        closed = {name for name in node.closed.values() if isinstance(name, str)}
        used = [name for name in [*self.arrays, *self.products] if name in closed]
        return list(dict.fromkeys([*[x.name for x in items], *used]))


def loops_of(graph: Graph, kind: type[Loop]) -> dict[str, Loop]:
    """Its loops, by the names of their nodes."""
    return {node.name: kind(node) for node in graph.nodes if isinstance(node, Node)}
