"""Whole graphs, written by targets that write operations by name: ONNX and PyTorch."""

from dataclasses import replace

from ..kernels.references import quantised
from .graph import Graph, Item, Lookup
from .ir import Input, Kind, Source, Value, order
from .targets import Written


class Whole(Written):
    """A target that writes each node of a `Graph` as operations on rows of the batch.

    A step without states, over time, is written for all times at once.

    Attributes:
        learned: name -> what stands for it, of those constants that the model learned.
    """

    learned: dict[str, str]

    def graph(self, graph: Graph, in_bytes: bool = False) -> dict[str, str]:
        """Write all nodes. ``in_bytes``: matrices have 8 bits, and a scale for each column of a product, each
        row of a table.

        Returns:
            name -> what stands for it, of the outputs.
        """
        self.whole, self.in_bytes = graph, in_bytes
        self.learned, self.by_rows = {}, graph.matrices
        made = {x.name: x.name for x in graph.inputs}
        for name, item in graph.fixed.items():
            made[name] = self.copy(self.constant(name, graph.constants[name]), item.width, True)
        for node in graph.nodes:
            if isinstance(node, Lookup):
                made[node.out.name] = self.rows(self.stored(node.table), made[node.ids.name])
                continue
            xs, init = [made[x.name] for x in node.xs], [made[s.name] for s in node.init]
            write = self.step if not node.over_time else self.loop if init else self.at_once
            names = [item.name for item in (*node.outs, *node.finals)]
            made |= zip(names, write(node, xs, init), strict=True)
        return {name: made[item.name] for name, item in graph.outputs.items()}

    def stored(self, name):
        """What stands for a constant of the graph."""
        if name not in self.learned:
            array = self.whole.constants[name]
            if name in self.by_rows:
                self.learned[name] = self.matrix(name, array.reshape(len(array), -1), self.by_rows[name])
            else:
                self.learned[name] = self.constant(name, array)
        return self.learned[name]

    def matrix(self, name, array, by_rows):
        """What stands for a matrix, of which in 8 bits each row, or each column, has a scale."""
        if not self.in_bytes:
            return self.constant(name, array)
        axis = 0 if by_rows else 1
        return self.scaled(name, *quantised(array, 1 - axis, 127), axis)

    def step(self, node, xs, states, made=()):
        """What stands for the values of a node's step, of what stands for the rows that it reads; ``made``,
        Value -> what stands for it, has what is known besides.
        """

        def given(v):
            source, i = v.attr
            if source is Source.ARGUMENT:
                return self.number(node.closed[v.attr])
            if source is Source.CLOSURE:
                return self.stored(node.closed[v.attr])
            return xs[i] if source is Source.X else states[i - len(node.outs)]

        made = dict(made)
        inputs = [v for v in order(node.values, made.__contains__) if v.kind is Kind.INPUT]
        found = self.walk(node.values, {v: given(v) for v in inputs if v not in made} | made)
        return [
            x if v.rows and v.width == item.width else self.copy(x, item.width, True)
            for x, v, item in zip(found, node.values, (*node.outs, *node.finals), strict=True)
        ]

    def rows(self, table: str, ids: str) -> str:
        """Rows of a table by their numbers."""
        raise NotImplementedError

    def loop(self, node, xs, init) -> list:
        """What stands for what a step makes over time, and for the last states.

        Products of what is read are made before, for all times at once.
        """
        over = {v for v in order(node.values) if v.is_input(Source.X) and node.xs[v.attr.index].over_time}
        early = [v for v in order(node.values) if v.kind is Kind.MATMUL and v.inputs[0] in over]
        outs = [Item("", (v.width,), True) for v in early]
        before = replace(node, values=early, outs=outs, finals=[], init=[])
        streams = dict(zip(early, self.at_once(before, xs, []), strict=True)) if early else {}
        read = [v for v in order(node.values, streams.__contains__) if v in over]
        if not streams and not read:  # it counts steps alone
            k = [x.over_time for x in node.xs].index(True)
            read = [Value(Kind.INPUT, (), node.xs[k].width, True, Input(Source.X, k))]
        return self.over_time(node, streams | {v: xs[v.attr.index] for v in read}, xs, init)

    def over_time(self, node, streams, xs, init) -> list:
        """The same, where ``streams`` are all values that differ from step to step, besides states -> what
        stands for them over time.
        """
        raise NotImplementedError

    def at_once(self, node, xs, init) -> list:
        """What stands for what a step without states makes over time."""
        raise NotImplementedError
