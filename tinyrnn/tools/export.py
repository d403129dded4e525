"""Trained language models for other libraries: one step, from ids and states to logits and new states.

What is written comes from the tape of each cell's step, as the compiled loop does: so every cell can be
exported that compiles.
"""

import json

import numpy as np

from ..base.errors import InputError
from ..compiler.ir import ROW_REDUCTIONS, Kind, Source, order
from ..compiler.products import recorded_step

OPSET = 18
_SIMPLE = {  # ops that both have: name in ONNX, in PyTorch
    "add": ("Add", "add"), "subtract": ("Sub", "sub"), "multiply": ("Mul", "mul"), "divide": ("Div", "div"),
    "sign": ("Sign", "sign"), "negative": ("Neg", "neg"), "reciprocal": ("Reciprocal", "reciprocal"),
    "sqrt": ("Sqrt", "sqrt"), "exp": ("Exp", "exp"),
    "log": ("Log", "log"), "sin": ("Sin", "sin"), "cos": ("Cos", "cos"), "tanh": ("Tanh", "tanh"), "erf": ("Erf", "erf"),
    "sigmoid": ("Sigmoid", "sigmoid"), "softplus": ("Softplus", "nn.functional.softplus"), "relu": ("Relu", "relu"),
    "floor": ("Floor", "floor"), "ceil": ("Ceil", "ceil"), "round": ("Round", "round"), "abs": ("Abs", "abs"),
    "maximum": ("Max", "maximum"), "minimum": ("Min", "minimum"), "power": ("Pow", "pow"),
}  # fmt: skip
_TESTS = {  # those that give a truth value, which is carried on as 0 or 1
    "equal": ("Equal", "eq"), "less": ("Less", "lt"), "less_equal": ("LessOrEqual", "le"), "greater": ("Greater", "gt"),
    "greater_equal": ("GreaterOrEqual", "ge"), "isnan": ("IsNaN", "isnan"), "isinf": ("IsInf", "isinf"),
}  # fmt: skip
_LOGIC = {"logical_and": "And", "logical_or": "Or", "logical_xor": "Xor", "logical_not": "Not"}
_REDUCTIONS = {
    Kind.ROWSUM: ("ReduceSum", "sum"), Kind.ROWMAX: ("ReduceMax", "amax"), Kind.ROWMIN: ("ReduceMin", "amin"),
}  # fmt: skip
_COMPOSED = {  # in simpler ones
    "square": lambda op, x: op("multiply", x, x),
    "expm1": lambda op, x: op("subtract", op("exp", x), 1.0),
    "log1p": lambda op, x: op("log", op("add", x, 1.0)),
    "clip": lambda op, x, low, high: op("minimum", op("maximum", x, low), high),
    "not_equal": lambda op, x, y: op("subtract", 1.0, op("equal", x, y)),
    "logaddexp": lambda op, x, y: op(
        "add", op("maximum", x, y), op("softplus", op("negative", op("abs", op("subtract", x, y))))
    ),
}


class _Emitter:
    """Walks the programs of a model's cells; a subclass says how one operation is written, by names of its
    operands.
    """

    def __init__(self, model):
        self.model, self.constants, self.count = model, {}, 0
        self.dtype = model.embedding.weight.dtype
        model.eval()
        x = self.write("row", self.constant("embedding", model.embedding.weight.numpy()), "ids")
        self.states, self.news = [], []  # (name, width, initial values), names
        for layer, cell in enumerate(model.rnn.cells):
            x = self._cell(layer, cell, x)
        weight = model.embedding.weight.numpy().T if model.tie else model.output.weight.numpy()
        y = self.write("matmul", x, self.constant("output_weight", weight), False)
        self.logits = self.op("add", y, self.constant("output_bias", model.output.bias.numpy()[None]))

    def constant(self, name, array):
        """A named array."""
        self.constants[name] = np.ascontiguousarray(array, self.dtype)
        return name

    def name(self):
        """A new one."""
        self.count += 1
        return f"v{self.count}"

    def op(self, op, *inputs):
        """A pointwise operation of names and numbers."""
        if op in _COMPOSED:
            return _COMPOSED[op](self.op, *inputs)
        return self.write(op, *[self.number(i) if isinstance(i, float) else i for i in inputs])

    def _cell(self, layer, cell, x):
        init = cell.initial_state(1)
        row = np.zeros((1, cell.input_size), self.dtype)
        recording = recorded_step(
            _plain(self.model.rnn.cell_step(cell, row, init)), row, [s.numpy() for s in init]
        )
        names = {}
        for s, name in zip(init, cell.states, strict=True):
            self.states.append((f"{name}_{layer}", s.shape[1], s.numpy()[0]))
        own = self.states[-len(init) :]
        for v in order(recording.program.news):
            inputs = [names[u] for u in v.inputs]
            if v.kind is Kind.NUMBER:
                names[v] = self.number(v.attr)
            elif v.kind is Kind.INPUT:
                names[v] = self._input(layer, cell, x, own, recording, *v.attr)
            elif v.kind is Kind.MATMUL:
                names[v] = self.write("matmul", *inputs, bool(v.attr))
            elif v.kind is Kind.SLICE:
                names[v] = self.write("slice", *inputs, *v.attr)
            elif v.kind is Kind.COPY:
                names[v] = self.write("copy", *inputs, v.width, v.rows)
            elif v.kind is Kind.CONCAT:
                parts = [
                    names[u] if u.rows or not v.rows else self.write("copy", names[u], u.width, True)
                    for u in v.inputs
                ]
                names[v] = self.write("concat", parts)
            elif v.kind in ROW_REDUCTIONS:
                names[v] = self.write(v.kind, *inputs)
            elif v.kind is Kind.POINTWISE:
                names[v] = self.op(v.attr, *inputs)
            else:  # detached, or a truth value as a number: here it is carried as one anyway
                names[v] = inputs[0]
        self.news += [names[v] for v in recording.program.news]
        return names[recording.program.news[0]]

    def _input(self, layer, cell, x, own, recording, source, i):
        """The name of an input of a cell's step."""
        if source is Source.ARGUMENT:
            return self.number(recording.numbers[i])
        if source is not Source.CLOSURE:
            return x if source is Source.X else own[i][0]
        tensor = recording.closures[i]  # a parameter, or something made of parameters alone
        name = next((n for n, p in cell.named_parameters() if p is tensor), f"constant_{i}").replace(".", "_")
        array = tensor.numpy()
        return self.constant(f"layer_{layer}_{name}", array.reshape(1, -1) if array.ndim < 2 else array)


def _plain(step):
    """A step of ``((x,), *states)`` as one of ``(x, *states)``."""
    return lambda x, *states: step((x,), *states)


class _Onnx(_Emitter):
    def __init__(self, model, onnx):
        self.onnx, self.nodes, self.kind = (
            onnx,
            [],
            onnx.helper.np_dtype_to_tensor_dtype(model.embedding.weight.dtype),
        )
        super().__init__(model)

    def node(self, kind, *inputs, **attributes):
        name = self.name()
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def integers(self, *values):
        name = f"integers_{'_'.join(map(str, values))}"
        self.constants[name] = np.array(values, np.int64)
        return name

    def number(self, x):
        return self.constant(f"number_{x!r}", np.full((1, 1), x))

    def write(self, op, *inputs):
        if op in _SIMPLE:
            return self.node(_SIMPLE[op][0], *inputs)
        if op in _TESTS:
            return self.node("Cast", self.node(_TESTS[op][0], *inputs), to=self.kind)
        if op in _LOGIC:
            bools = [self.node("Cast", i, to=self.onnx.TensorProto.BOOL) for i in inputs]
            return self.node("Cast", self.node(_LOGIC[op], *bools), to=self.kind)
        if op in _REDUCTIONS:
            return self.node(_REDUCTIONS[op][0], inputs[0], self.integers(1), keepdims=1)
        x, *rest = inputs
        if op == "where":
            return self.node("Where", self.node("Cast", x, to=self.onnx.TensorProto.BOOL), *rest)
        if op == "row":
            return self.node("Gather", x, *rest)
        if op == "matmul":
            return self.node("Gemm", x, rest[0], transB=int(rest[1]))
        if op == "slice":
            return self.node("Slice", x, self.integers(rest[0]), self.integers(rest[1]), self.integers(1))
        if op == "place":
            return self.node("Pad", x, self.integers(0, rest[0], 0, rest[1]))
        if op == "concat":
            return self.node("Concat", *x, axis=1)
        if op == "copy":
            shape = self.integers(1, rest[0])
            if rest[1]:
                shape = self.node("Concat", self.node("Shape", "ids"), self.integers(rest[0]), axis=0)
            return self.node("Expand", x, shape)
        raise InputError(f"the cell uses {op}, which has no ONNX form here: use --format torch")


class _Torch(_Emitter):
    def __init__(self, model):
        self.lines = []
        super().__init__(model)

    def constant(self, name, array):
        return "self." + super().constant(name, array)

    def number(self, x):
        return f"self.number({x!r})"

    def write(self, op, *inputs):
        x, *rest = inputs
        if op in _SIMPLE:
            text = f"torch.{_SIMPLE[op][1]}({', '.join(inputs)})"
        elif op in _TESTS:
            text = f"torch.{_TESTS[op][1]}({', '.join(inputs)}).to(self.embedding.dtype)"
        elif op in _LOGIC:
            text = f"torch.{op}({', '.join(inputs)}).to(self.embedding.dtype)"
        elif op in _REDUCTIONS:
            text = f"{x}.{_REDUCTIONS[op][1]}(dim=1, keepdim=True)"
        else:
            text = {
                "where": "torch.where({0} != 0, {1}, {2})",
                "row": "{0}[{1}]",
                "matmul": "{0} @ {1}.T" if rest and rest[-1] is True else "{0} @ {1}",
                "slice": "{0}[:, {1}:{2}]",
                "place": "torch.nn.functional.pad({0}, ({1}, {2}))",
                "concat": "torch.cat([{joined}], dim=1)",
                "copy": "{0}.expand(len(ids) if {2} else -1, {1})",
            }.get(op)
            if text is None:
                raise InputError(f"the cell uses {op}, which has no PyTorch form here")
            text = text.format(*inputs, joined=", ".join(x) if op == "concat" else "")
        name = self.name()
        self.lines.append(f"{name} = {text}")
        return name


def to_onnx(model) -> bytes:
    """An ONNX file: ids int64 ``[B]`` and the states ``[B, size]`` to ``logits`` ``[B, vocabulary]`` and the
    new states.

    Its metadata holds the vocabulary and the states to begin with, as JSON.

    Raises:
        InputError: onnx is not installed, or the cell uses an op that has no form there.
        TraceError: the cell cannot be compiled.
    """
    try:
        import onnx
        from onnx import helper, numpy_helper
    except ImportError:
        raise InputError("--format onnx needs onnx: pip install 'tinyrnn[onnx]'") from None
    e = _Onnx(model, onnx)
    outputs = [("logits", len(model.vocabulary), e.logits)]
    outputs += [(f"new_{name}", size, new) for (name, size, _), new in zip(e.states, e.news, strict=True)]
    for name, _, value in outputs:
        e.nodes.append(helper.make_node("Identity", [value], [name]))
    inputs = [helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, ["B"])]
    inputs += [helper.make_tensor_value_info(name, e.kind, ["B", size]) for name, size, _ in e.states]
    results = [helper.make_tensor_value_info(name, e.kind, ["B", size]) for name, size, _ in outputs]
    constants = [numpy_helper.from_array(a, name) for name, a in e.constants.items()]
    graph = helper.make_graph(e.nodes, "step", inputs, results, constants)
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9, producer_name="tinyrnn"
    )
    facts = {
        "vocabulary": model.vocabulary.to_json(),
        "initial_states": {n: v.tolist() for n, _, v in e.states},
    }
    helper.set_model_props(made, {k: json.dumps(v, ensure_ascii=False) for k, v in facts.items()})
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString()


def to_torch(model, weights: str) -> tuple[str, dict]:
    """Source of a PyTorch module that does the same, and its arrays, to be stored in the safetensors file
    named ``weights``.

    Raises:
        InputError: the cell uses an op that has no form there; ``TraceError``: it cannot be compiled.
    """
    e = _Torch(model)
    names = [name for name, _, _ in e.states]
    arrays = e.constants | {f"initial_{name}": np.ascontiguousarray(value) for name, _, value in e.states}
    body = "\n        ".join(e.lines)
    source = f'''"""One step of a language model trained with tinyrnn ({type(model.rnn.cells[0]).__name__}), in PyTorch.

    model = Step()
    states = model.initial_states(1)
    logits, *states = model(ids, *states)  # ids int64 [B]; states [B, size]: {", ".join(names)}

The ids are indices into SYMBOLS. All arrays but the initial states are parameters: the module can be trained on.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file

SYMBOLS = {json.dumps(model.vocabulary.symbols, ensure_ascii=True)}


class Step(torch.nn.Module):
    def __init__(self, weights=Path(__file__).parent / {weights!r}):
        super().__init__()
        for name, array in load_file(weights).items():
            if name.startswith("initial_"):
                self.register_buffer(name, array)
            else:
                self.register_parameter(name, torch.nn.Parameter(array))

    def number(self, x):
        return torch.full((1, 1), x, dtype=self.embedding.dtype, device=self.embedding.device)

    def initial_states(self, batch):
        return [s.expand(batch, -1) for s in ({", ".join(f"self.initial_{name}" for name in names)},)]

    def forward(self, ids, {", ".join(names)}):
        {body}
        return {", ".join([e.logits, *e.news])}
'''
    return source, arrays
