"""ONNX: one step as the nodes of a graph."""

import numpy as np

from ..ir import Kind, grouped
from . import Written

OPSET = 18


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


class Onnx(Written):
    """Values as names of results of nodes.

    Args:
        onnx: the package.
        batch: name of an input ``[B]``, which says how large the batch is.
    """

    name, opset = "onnx", OPSET

    def __init__(self, onnx, dtype, batch):
        super().__init__(dtype)
        self.onnx, self.batch, self.nodes = onnx, batch, []
        self.type = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    def node(self, kind, *inputs, **attributes):
        name = self.new_name()
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def integers(self, *values):
        name = f"integers_{'_'.join(map(str, values))}"
        self.constants[name] = np.array(values, np.int64)
        return name

    def scaled(self, name, integers, scales, axis):
        self.constants |= {f"{name}_int8": integers, f"{name}_scale": scales.reshape(-1)}
        self.opset = 19  # from which on evaluators know it
        return self.node("DequantizeLinear", f"{name}_int8", f"{name}_scale", axis=axis)

    def number(self, x):
        return self.constant(f"number_{x!r}", np.full((1, 1), x))

    def truth(self, x):
        return self.node("Cast", x, to=self.onnx.TensorProto.BOOL)

    def write(self, form, *operands):
        return self.node(form, *operands) if isinstance(form, str) else form(self, *operands)

    def rows(self, table, ids):
        """Rows of a table by their numbers."""
        return self.node("Gather", table, ids)

    def product(self, x, matrix, turned):
        return self.node("Gemm", x, matrix, transB=int(turned))

    def copy(self, x, width, rows):
        shape = self.integers(1, width)
        if rows:
            shape = self.node("Concat", self.node("Shape", self.batch), self.integers(width), axis=0)
        return self.node("Expand", x, shape)

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

    def model(self, inputs, outputs, facts=None) -> bytes:
        """The file of a graph of what was written.

        Args:
            inputs: pairs (name, width) besides the batch, which is int64.
            outputs: triples (name, width, what stands for it).
            facts: strings for its metadata.
        """
        helper = self.onnx.helper
        self.nodes += [helper.make_node("Identity", [value], [name]) for name, _, value in outputs]

        def rows(pairs):
            return [helper.make_tensor_value_info(name, self.type, ["B", width]) for name, width in pairs]

        batch = helper.make_tensor_value_info(self.batch, self.onnx.TensorProto.INT64, ["B"])
        constants = [self.onnx.numpy_helper.from_array(a, name) for name, a in self.constants.items()]
        results = rows((name, width) for name, width, _ in outputs)
        graph = helper.make_graph(self.nodes, "step", [batch, *rows(inputs)], results, constants)
        opsets = [helper.make_opsetid("", self.opset)]
        made = helper.make_model(graph, opset_imports=opsets, ir_version=9, producer_name="tinyrnn")
        helper.set_model_props(made, facts or {})
        self.onnx.checker.check_model(made, full_check=True)
        return made.SerializeToString()
