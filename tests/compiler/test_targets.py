"""Every target through every kind of value, and through every registered cell against tensors."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import tinyrnn as tr
from tinyrnn.autograd.tape import TABLE, apply
from tinyrnn.compiler import targets
from tinyrnn.compiler.graph import Item
from tinyrnn.compiler.ir import SUMS, CompilerFault, Input, Kind, Source, Value, aliased, order, pointwise
from tinyrnn.compiler.products import recorded_step
from tinyrnn.compiler.record import as_rows
from tinyrnn.compiler.run import Compiled, Runner
from tinyrnn.compiler.targets import Target, Written
from tinyrnn.compiler.targets.c import Loop as CLoop
from tinyrnn.compiler.targets.cuda import Loop as CudaLoop
from tinyrnn.compiler.targets.javascript import Loop as JavaScriptLoop
from tinyrnn.compiler.targets.numba import Loop
from tinyrnn.compiler.targets.onnx import Onnx
from tinyrnn.compiler.targets.tensor import Tensors, environment, rows_of
from tinyrnn.compiler.targets.torch import Torch
from tinyrnn.kernels import plain as interpreted
from tinyrnn.kernels import scalar_math
from tinyrnn.nn.registry import registered

TARGETS = {t.name: t for t in (CLoop, CudaLoop, JavaScriptLoop, Loop, Onnx, Tensors, Torch)}
ONE_STEP = {Kind.INPUT, Kind.TURNED, *SUMS}  # inputs are given; the others stand in no forward program
LACKS = {  # on purpose: a kind that is in neither table fails here
    "tensor": {Kind.INPUT, *SUMS},  # are given, or left to the end
    "onnx": ONE_STEP,
    "torch": ONE_STEP,
    # Sums are left to the end, the others are rewritten before there is a loop.
    "numba": {Kind.TURNED, Kind.DETACH, Kind.CAST, *SUMS},
    "c": {Kind.TURNED, Kind.DETACH, Kind.CAST, *SUMS},  # its cells: tests/tools/test_export_c.py
    "javascript": {Kind.TURNED, Kind.DETACH, Kind.CAST, *SUMS},
    "cuda": {Kind.TURNED, Kind.DETACH, Kind.CAST, *SUMS},  # its cells: tests/gpu/test_loops.py
}


def test_every_file_of_targets_is_tested():
    files = {p.stem for p in Path(targets.__file__).parent.glob("*.py")} - {"__init__", "written"}
    assert files == set(TARGETS) == set(LACKS)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("name", TARGETS)
def test_every_target_has_every_kind_or_says_that_it_lacks_it(name, kind):
    target = TARGETS[name]
    assert (kind in target.kinds) != (kind in LACKS[name])
    if kind in LACKS[name]:
        v = Value(kind, (), 3, attr=Input(Source.STATE, 0) if kind is Kind.INPUT else None)
        with pytest.raises(CompilerFault, match=f"the target {name} has no form of {kind.name} "):
            target.value(SimpleNamespace(name=name, kinds=target.kinds), v)


def test_a_kind_that_a_target_lacks_is_named_on_the_way():
    class Small(Target):
        name = "small"
        kinds = {Kind.NUMBER: lambda self, v: v.attr}  # noqa: RUF012

    x = Value(Kind.INPUT, (), 3, True, Input(Source.X, 0))
    total = Value(Kind.ROWSUM, (x,), 1, True)
    with pytest.raises(
        CompilerFault, match=re.escape("the target small has no form of ROWSUM (rowsum [B, 1])")
    ):
        Small().walk([total], {x: 0})


# ------------------------------------------------------------------ cells


class Everything(tr.Cell):
    """Kinds and ops that the registered cells do not use."""

    states = ("h", "c")

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size)

    def step(self, x, h, c):
        z = x @ self.W + tr.clip(h, -0.5, 0.5) @ self.U + self.b
        slope = tr.grad(lambda h: (tr.sin(h)[:, :2] * tr.sin(h)[:, 1:3]).sum())(h)  # gradients of slices
        y = tr.softmax(z) + tr.max(slope, axis=-1, keepdims=True) - tr.min(z, axis=-1, keepdims=True)
        across = tr.reshape(z, (-1, 2, 2))
        y = y * tr.concat([tr.max(across, axis=1), tr.sum(across, axis=1)], axis=1)
        y = tr.concat([y[:, 1:], tr.sum(y, axis=-1, keepdims=True)], axis=1) * h.detach() + slope
        y = tr.cumsum(y, axis=1) * tr.prod(tr.cos(h), axis=1, keepdims=True)
        y = y + tr.take_along_axis(h, tr.argmax(h, axis=1, keepdims=True), axis=1)
        return tr.tanh(y), c * (z > 0).astype(c.dtype) * 0.25 + tr.isfinite(c) * tr.expm1(y)


def cell(name):
    options = {"everything": {}, "lstm": {"peephole": True}, "gru": {"reset_after": True}}
    make = Everything if name == "everything" else name
    rnn = tr.RNN(make, 5, 4, dtype="float64", seed=0, cell_options=options.get(name, {}))
    return rnn.cells[0]


class Step:
    """The step of a cell on random values, read; ``expected`` by tensors."""

    def __init__(self, cell, batch=3):
        draw = np.random.default_rng(0)
        self.x = draw.standard_normal((batch, 5))
        self.states = [draw.standard_normal(s.shape) for s in cell.initial_state(batch)]
        self.recording = recorded_step(cell.step, self.x, self.states)
        self.news = self.recording.program.news
        self.rows = {"input0": self.x} | {f"state{i}": as_rows(s, 1) for i, s in enumerate(self.states)}
        self.inputs = [v for v in order(self.news) if v.kind is Kind.INPUT]
        env = environment(self.inputs, {v.attr: self.tensor(v) for v in self.inputs})
        self.expected = [
            rows_of(v, env, s.shape, s.dtype).numpy() for v, s in zip(self.news, self.states, strict=True)
        ]
        eager = cell.step(tr.tensor(self.x), *map(tr.tensor, self.states))
        for right, found in zip(eager if isinstance(eager, tuple) else (eager,), self.expected, strict=True):
            np.testing.assert_allclose(found, right.numpy(), rtol=1e-12, atol=1e-14)

    def given(self, v):
        source, i = v.attr
        if source is Source.CLOSURE:
            return self.recording.closures[i].numpy()
        return (
            self.x
            if source is Source.X
            else (self.recording.numbers if source is Source.ARGUMENT else self.states)[i]
        )

    def tensor(self, v):
        return self.given(v) if v.attr.source is Source.ARGUMENT else tr.tensor(self.given(v))

    def named(self, target):
        """What stands for the inputs of the step in a target that writes."""
        made = {}
        for v in self.inputs:
            source, i = v.attr
            name = f"{source.value}{i}"
            if source is Source.CLOSURE:
                array = self.given(v)
                name = target.constant(name, array if v.height else array.reshape(-1, v.width))
            made[v] = target.number(self.given(v)) if source is Source.ARGUMENT else name
        return made


def by_numba(step, monkeypatch):
    recording = step.recording
    plan = Compiled(recording, tuple(range(len(step.states))), frozenset(), "cpu")
    xs, states = tr.tensor(step.x[None]), [tr.tensor(as_rows(s, 1)) for s in step.states]
    runner = Runner(plan, recording.closures, recording.numbers, [xs], states, (), False, {})
    found = [t.numpy() for t in runner("a cell")[len(states) :]]
    monkeypatch.setenv("TINYRNN_COMPILE", "python")
    for plain, t in zip(runner("a cell")[len(states) :], found, strict=True):
        np.testing.assert_allclose(plain.numpy(), t, rtol=1e-10, atol=1e-12)
    return found


def onnx_values(news, named, rows):
    """What ONNX makes of ``news``; ``rows``: name -> array of every input that is rows of the batch."""
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    target = Onnx(onnx, np.dtype(np.float64), "ids")
    made = target.walk(news, named(target))
    outputs = {
        f"new{i}": (Item("", (v.width,), False), name)
        for i, (v, name) in enumerate(zip(news, made, strict=True))
    }
    inputs = [Item("ids", (), False, 1), *[Item(n, a.shape[1:], False) for n, a in rows.items()]]
    graph = onnx.load_from_string(target.model(inputs, outputs))
    return ReferenceEvaluator(graph).run(None, {"ids": np.zeros(len(next(iter(rows.values()))), int), **rows})


def torch_values(news, named, rows):
    torch = pytest.importorskip("torch")
    target = Torch(np.dtype(np.float64))
    made = target.walk(news, named(target))
    lines = [f"def forward(self, ids, {', '.join(rows)}):", *target.lines, f"return {', '.join(made)},"]
    space = {"torch": torch}
    exec("\n    ".join(lines), space)
    module = SimpleNamespace(**{name: torch.tensor(a) for name, a in target.constants.items()})
    module.number = lambda x: torch.full((1, 1), x, dtype=torch.float64)
    arrays = [torch.tensor(a) for a in rows.values()]
    return [t.numpy() for t in space["forward"](module, arrays[0], *arrays)]


def by_onnx(step, _):
    return onnx_values(step.news, step.named, step.rows)


def by_torch(step, _):
    return torch_values(step.news, step.named, step.rows)


@pytest.mark.parametrize("name", [*registered(), "everything"])
@pytest.mark.parametrize("run", [by_numba, by_onnx, by_torch], ids=lambda f: f.__name__[3:])
def test_every_cell_against_tensors(name, run, monkeypatch):
    step = Step(cell(name))
    if name == "everything":
        assert {v.kind for v in order(step.news)} == set(Kind) - ONE_STEP | {Kind.INPUT}
    for found, right in zip(run(step, monkeypatch), step.expected, strict=True):
        right = as_rows(right, 1)
        np.testing.assert_allclose(np.broadcast_to(found, right.shape), right, rtol=1e-9, atol=1e-12)


# ------------------------------------------------------------------ ops


DOMAINS = dict.fromkeys("log log2 log10 sqrt power log1p divide reciprocal remainder".split(), (0.2, 3.0))
DOMAINS |= dict.fromkeys("acos asin atanh".split(), (-0.9, 0.9)) | {"acosh": (1.1, 3.0)}


def samples(op):
    draw = np.random.default_rng(1)
    low, high = DOMAINS.get(op.name, (-1.5, 1.5))
    arrays = [draw.uniform(low, high, (3, 4)).round(1) for _ in op.inputs]
    return [np.sort(arrays, axis=0)[i] for i in (1, 0, 2)] if op.name == "clip" else arrays


@pytest.mark.parametrize("values", [onnx_values, torch_values])
def test_every_pointwise_op_by_name_or_by_its_rule(values):
    """A new op with a scalar rule needs nothing in any target."""
    ops = [op for op in TABLE.values() if op.rule]
    assert len(ops) > 40 and {"isfinite", "clip"} & set(TARGETS["onnx"].ops) == set()
    for op in ops:
        arrays = samples(op)
        inputs = {
            Value(Kind.INPUT, (), 4, True, Input(Source.STATE, i)): f"state{i}" for i in range(len(arrays))
        }
        rows = dict(zip(inputs.values(), arrays, strict=True))
        with np.errstate(divide="ignore"):  # atan2 by the quotient, which is infinite on an axis
            (found,) = values([pointwise(op.name, *inputs)], lambda target, made=inputs: dict(made), rows)
        np.testing.assert_allclose(found, op.forward(*arrays), rtol=1e-6, atol=1e-7, err_msg=op.name)


def test_a_function_that_a_target_lacks_is_named():
    class Few(Written):
        name = "few"
        ops = {"add": "+"}  # noqa: RUF012

    for name, *operands in [("erf", "x"), ("power", "a", "b"), ("remainder", "a", "b")]:
        with pytest.raises(CompilerFault, match=f"few has no form of {name}: add it to its table"):
            Few(np.float64).op(name, *operands)


@pytest.mark.parametrize("way", ["compiled", "python"])
def test_every_pointwise_op_in_a_loop(way, monkeypatch):
    """Values and gradients of each op with a rule, by scan and by the eager loop."""
    if way == "python":
        monkeypatch.setenv("TINYRNN_COMPILE", "python")
    ops = [op for op in TABLE.values() if op.rule and op.vjps]
    monkeypatch.setenv("TINYRNN_REFEREE", "0")

    def step(x, h):
        total = 0.5 * h
        for i, op in enumerate(ops):
            low, high = DOMAINS.get(op.name, (-1.5, 1.5))
            a = low + (high - low) * tr.sigmoid(x[:, i : i + 1] + h)
            operands = [a, low + (high - low) * tr.sigmoid(h - x[:, i : i + 1]), a + 0.5][: len(op.inputs)]
            total = total + apply(op, *operands) / len(ops)
        return tr.tanh(total)

    xs, h = np.random.default_rng(5).standard_normal((3, 2, len(ops))), np.full((2, 4), 0.3)
    found = []
    for compiled in (True, False):
        x, start = tr.tensor(xs, requires_grad=True), tr.tensor(h, requires_grad=True)
        ys, _ = tr.scan(step, x, start, compile=compiled)
        (ys * ys).sum().backward()
        found.append([ys.detach(), x.grad, start.grad])
    for compiled, eager in zip(*found, strict=True):
        np.testing.assert_allclose(compiled, eager, rtol=1e-8, atol=1e-11)


def test_plain_functions_are_those_of_compiled_loops():
    assert set(scalar_math.FUNCTIONS) - {"log1p_unit"} <= set(interpreted.__all__)  # it serves others


def test_what_is_detached_is_detached_in_pytorch():
    x = Value(Kind.INPUT, (), 4, True, Input(Source.STATE, 0))
    target = Torch(np.float64)
    target.walk([aliased(Kind.DETACH, x)], {x: "state0"})
    assert target.lines == ["v1 = state0.detach()"]
