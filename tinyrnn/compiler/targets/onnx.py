"""ONNX: graphs as the nodes of a graph, loops as Scan or as its operators RNN, LSTM and GRU."""

import contextlib

import numpy as np

from ...kernels.references import quantised
from ..ir import Kind, grouped
from ..whole import Whole
from . import Written

OPSET = 18
GATES = {"RNN": "h", "LSTM": "iofg", "GRU": "zrn"}  # in the order of its operators, by our names


def _test(kind):
    """A node that gives a truth value."""
    return lambda self, *xs: self.node("Cast", self.node(kind, *xs), to=self.type)


def _logic(kind):
    """A node that takes and gives truth values."""
    return lambda self, *xs: self.node("Cast", self.node(kind, *map(self.truth, xs)), to=self.type)


def _remainder(self, a, b):
    rest = self.node("Mod", a, b, fmod=1)  # of the sign of a
    other_sign = self.op("less", self.op("multiply", rest, b), self.number(0.0))
    return self.op("where", other_sign, self.op("add", rest, b), rest)


def _reduction(kind):
    def reduced(self, v, x):
        if v.width == 1:
            return self.node(kind, x, self.integers(1), keepdims=1)
        blocks = self.node("Reshape", x, self.integers(-1, *grouped(v)))
        found = self.node(kind, blocks, self.integers(2), keepdims=0)
        return self.node("Reshape", found, self.integers(-1, v.width))

    return reduced


class Onnx(Whole):
    """Values as names of results of nodes.

    Args:
        onnx: the package.
        batch: name of what says how many rows there are, and on which axis.
    """

    name, opset = "onnx", OPSET

    def __init__(self, onnx, dtype, batch, axis=0):
        super().__init__(dtype)
        self.onnx, self.batch, self.nodes = onnx, (batch, axis), []
        self.outer = self.nodes  # those of no body of a loop
        self.type = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    def node(self, kind, *inputs, **attributes):
        name = self.new_name()
        self.append(kind, inputs, [name], **attributes)
        return name

    def append(self, kind, inputs, outputs, **attributes):
        # Named, since onnxruntime 1.20 names what it fuses after its nodes and refuses two of one name.
        node = self.onnx.helper.make_node(kind, list(inputs), outputs, f"{kind}_{outputs[0]}", **attributes)
        self.nodes.append(node)

    def integers(self, *values):
        name = f"integers_{'_'.join(map(str, values))}"
        self.constants[name] = np.array(values, np.int64)
        return name

    def scaled(self, name, integers, scales, axis):
        self.constants |= {f"{name}_int8": integers, f"{name}_scale": scales.reshape(-1)}
        self.opset = 19  # from which on evaluators know it
        with self.into(self.outer):  # once, not at every step
            return self.node("DequantizeLinear", f"{name}_int8", f"{name}_scale", axis=axis)

    @contextlib.contextmanager
    def into(self, nodes, batch=None):
        """Nodes that are written go to other ones, and the batch is that of something else."""
        before = self.nodes, self.batch
        self.nodes, self.batch = nodes, batch or self.batch
        try:
            yield
        finally:
            self.nodes, self.batch = before

    def number(self, x):
        return self.constant(f"number_{x!r}", np.full((1, 1), x))

    def truth(self, x):
        return self.node("Cast", x, to=self.onnx.TensorProto.BOOL)

    def write(self, form, *operands):
        return self.node(form, *operands) if isinstance(form, str) else form(self, *operands)

    def rows(self, table, ids):
        return self.node("Gather", table, ids)

    def product(self, x, matrix, turned):
        return self.node("Gemm", x, matrix, transB=int(turned))

    def copy(self, x, width, rows):
        if not rows:
            return self.node("Expand", x, self.integers(1, width))
        return self.node("Expand", x, self.lengthened(self.sizes(*self.batch), width))

    def sizes(self, x, axis, count=1):
        """How long axes of ``x`` are."""
        return self.node("Shape", x, start=axis, end=axis + count)

    def lengthened(self, sizes, *more):
        """Sizes, and others behind them."""
        return self.node("Concat", sizes, self.integers(*more), axis=0)

    def in_blocks(self, x, outer, width):
        return self.node("Reshape", x, self.integers(-1, outer, width // outer))

    def _view(self, v, x):
        first, view = v.attr.offset, v.attr
        if view.is_slice:
            return self.node("Slice", x, *map(self.integers, (first, first + v.width, 1)))
        name = f"columns_{view.name}"
        self.constants[name] = view.columns.astype(np.int64)
        return self.node("Gather", x, name, axis=1)

    def _concat(self, v, *xs):
        xs = self.spread(v, xs)
        if v.attr == 1:
            return self.node("Concat", *xs, axis=1)
        xs = [self.in_blocks(x, v.attr, p.width) for x, p in zip(xs, v.inputs, strict=True)]
        return self.node("Reshape", self.node("Concat", *xs, axis=2), self.integers(-1, v.width))

    kinds = Written.kinds | {
        Kind.ROWSUM: _reduction("ReduceSum"),
        Kind.ROWMAX: _reduction("ReduceMax"),
        Kind.ROWMIN: _reduction("ReduceMin"),
        Kind.ROWPROD: _reduction("ReduceProd"),
        Kind.VIEW: _view,
        Kind.CONCAT: _concat,
        Kind.DETACH: lambda self, v, x: x,  # there are no gradients
    }
    ops = {  # noqa: RUF012
        "add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div", "negative": "Neg", "abs": "Abs",
        "power": "Pow", "reciprocal": "Reciprocal", "sqrt": "Sqrt", "exp": "Exp", "log": "Log", "sin": "Sin",
        "cos": "Cos", "tanh": "Tanh", "erf": "Erf", "sigmoid": "Sigmoid", "softplus": "Softplus",
        "relu": "Relu", "sign": "Sign", "floor": "Floor", "ceil": "Ceil", "round": "Round",
        "maximum": "Max", "minimum": "Min", "tan": "Tan", "asin": "Asin", "acos": "Acos", "atan": "Atan",
        "sinh": "Sinh", "cosh": "Cosh", "asinh": "Asinh", "acosh": "Acosh", "atanh": "Atanh",
        "remainder": _remainder,
        "where": lambda self, c, a, b: self.node("Where", self.truth(c), a, b),
        "equal": _test("Equal"), "less": _test("Less"), "less_equal": _test("LessOrEqual"),
        "greater": _test("Greater"), "greater_equal": _test("GreaterOrEqual"), "isnan": _test("IsNaN"),
        "isinf": _test("IsInf"), "logical_and": _logic("And"), "logical_or": _logic("Or"),
        "logical_xor": _logic("Xor"), "logical_not": _logic("Not"),
    }  # fmt: skip

    # ------------------------------------------------------------------ over time

    def at_once(self, node, xs, init):
        longest = next(x for x, item in zip(xs, node.xs, strict=True) if item.over_time)
        flat = []
        for x, item in zip(xs, node.xs, strict=True):
            if not item.over_time:
                x = self.node("Expand", x, self.lengthened(self.sizes(longest, 0), 1, 1))
            flat.append(self.node("Reshape", x, self.integers(-1, item.width)))
        of_one = next(x for x, item in zip(flat, node.xs, strict=True) if item.over_time)
        with self.into(self.nodes, (of_one, 0)):
            found = self.step(node, flat, init)
        sizes = self.sizes(longest, 0, 2)
        return [
            self.node("Reshape", y, self.lengthened(sizes, item.width))
            for y, item in zip(found, node.outs, strict=True)
        ]

    def loop(self, node, xs, init):
        # Evaluators have the operators for float32 alone.
        known = node.standard and self.type == self.onnx.TensorProto.FLOAT
        return self._standard(node, xs, init) if known else super().loop(node, xs, init)

    def over_time(self, node, streams, xs, init):
        helper, nodes = self.onnx.helper, []

        def rows(names, items):
            pairs = zip(names, items, strict=True)
            return [helper.make_tensor_value_info(n, self.type, [None, item.width]) for n, item in pairs]

        with self.into(nodes):
            given = {v: self.new_name() for v in streams}
            states = [self.new_name() for _ in init]
            found = [self.node("Identity", y) for y in self.step(node, xs, states, given)]
        count = len(node.outs)
        inputs = rows(states, node.init) + rows(given.values(), given)
        outputs = rows(found[count:], node.finals) + rows(found[:count], node.outs)
        ways = {"scan_input_directions": streams, "scan_output_directions": node.outs}
        more: dict = {name: [int(node.reverse)] * len(of) for name, of in ways.items() if of}
        more["body"] = helper.make_graph(nodes, node.name, inputs, outputs)
        results = [self.new_name() for _ in found]
        ordered = [*results[count:], *results[:count]]
        self.append("Scan", [*init, *streams.values()], ordered, num_scan_inputs=len(streams), **more)
        return results

    def _standard(self, node, xs, init):
        """The operator of a `Standard` cell: its gates in another order, matrices transposed."""
        cell, (x,) = node.standard, xs
        of = [cell.gates.index(g) for g in GATES[cell.kind]]
        width = node.init[0].width
        columns = np.concatenate([np.arange(width) + k * width for k in of])
        parts = [
            self._turned(f"{node.name}_{name}", matrix[:, columns])
            for name, matrix in (("W", cell.W), ("R", cell.R))
        ]
        biases = np.concatenate([cell.b[columns], cell.b_R[columns]])[None]
        parts.append(self.constant(f"{node.name}_B", biases))
        states = [self.node("Unsqueeze", s, self.integers(0)) for s in init]
        more = {"direction": "reverse" if node.reverse else "forward", "hidden_size": width}
        if cell.kind == "RNN":
            more["activations"] = [cell.activation]
        if cell.kind == "GRU":
            more["linear_before_reset"] = int(cell.reset_after)
        inputs = [x, *parts, "", *states]
        if cell.peepholes is not None:
            rows = np.concatenate([cell.peepholes[g] for g in "iof"])[None]
            inputs.append(self.constant(f"{node.name}_P", rows))
        names = [self.new_name() for _ in (x, *init)]
        self.append(cell.kind, inputs, names, **more)
        return [
            self.node("Squeeze", name, self.integers(axis))
            for name, axis in zip(names, (1, *[0] * len(init)), strict=True)
        ]

    def _turned(self, name, matrix):
        """What stands for a matrix ``[rows, columns]`` as ``[1, columns, rows]``."""
        if not self.in_bytes:
            return self.constant(name, matrix.T[None])
        integers, scales = quantised(matrix, 0, 127)
        return self.scaled(name, np.ascontiguousarray(integers.T[None]), scales, 1)

    # ------------------------------------------------------------------ the file

    def model(self, inputs, outputs, facts=None, name="step") -> bytes:
        """The file of what was written.

        Args:
            inputs: `Item`s.
            outputs: name -> (Item, what stands for it).
            facts: strings for its metadata.
        """
        helper = self.onnx.helper
        for out, (_, value) in outputs.items():
            self.append("Identity", [value], [out])

        def info(name, item):
            kind, shape = (self.onnx.TensorProto.INT64, []) if item.count else (self.type, [item.width])
            return helper.make_tensor_value_info(name, kind, [*["T"] * item.over_time, "B", *shape])

        constants = [self.onnx.numpy_helper.from_array(a, name) for name, a in self.constants.items()]
        given = [info(x.name, x) for x in inputs]
        results = [info(name, item) for name, (item, _) in outputs.items()]
        graph = helper.make_graph(self.nodes, name, given, results, constants)
        opsets = [helper.make_opsetid("", self.opset)]
        made = helper.make_model(graph, opset_imports=opsets, ir_version=9, producer_name="tinyrnn")
        helper.set_model_props(made, facts or {})
        self.onnx.checker.check_model(made, full_check=True)
        return made.SerializeToString()
