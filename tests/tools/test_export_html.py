"""What is exported for browsers: every cell under node against the reference of graphs; pages in Chromium."""

import json
import shutil
import subprocess

import numpy as np
import pytest

import tinyrnn as tr
from tinyrnn.compiler.targets import javascript
from tinyrnn.nn.registry import registered
from tinyrnn.tasks.classify.model import Classifier
from tinyrnn.tasks.lm.model import LanguageModel
from tinyrnn.tasks.text.vocabulary import Characters
from tinyrnn.tasks.translate.model import Translator

STEPS = 100
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="there is no node")


class Odd(tr.Cell):
    """Several widths, row sums, a state that is a matrix, rows of a table, quotients of columns; and the ops
    that no registered cell uses.
    """

    states = ("h", "M", "c")

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size)
        self.table = self.weight(3, hidden_size)
        self.start = self.bias(2 * hidden_size, init=0.3)
        self.V = self.weight(hidden_size, 2 * hidden_size)
        self.state_sizes = {"h": hidden_size, "M": (hidden_size, hidden_size), "c": 2 * hidden_size}

    def initial_state(self, batch_size):
        h, M, c = super().initial_state(batch_size)
        return h + 0.1, M, c + self.start

    def step(self, x, h, M, c):
        z = x @ self.W + tr.clip(h, -0.5, 0.5) @ self.U + self.b
        M = 0.9 * M + 0.1 * h[:, :, None] * tr.tanh(z)[:, None, :]
        row = self.table[1] + tr.take(self.table, 2, axis=0) * tr.mean(z, axis=-1, keepdims=True)
        y = tr.softmax(z) + tr.max(z, axis=-1, keepdims=True) * row + tr.einsum("bij,bj->bi", M, h)
        y = y + tr.logaddexp(z, h) - tr.maximum(z, 0.2) / (1 + tr.erf(h)) + tr.softplus(z) ** 1.5
        across = tr.reshape(z, (-1, 2, 2))
        y = y * tr.concat([tr.max(across, axis=1), tr.sum(across, axis=1)], axis=1)
        y = y + tr.where(tr.logical_xor(z > 0.1, h > 0), tr.round(4 * z) / 8, tr.remainder(z, 0.7))
        c = 0.5 * c + tr.tanh(h @ self.V) + tr.flip(tr.concat([z, h], axis=1), axis=1) * tr.sign(c)
        h = tr.tanh(y + tr.cumsum(y, axis=1) * 0.1 + c[:, 2:6] @ tr.matrix_transpose(self.U))
        return h, M, c


def lm(cell, dtype="float32", **more):
    shape = {"hidden": 4, "embed": 5, "layers": 2, "seed": 1, **more}
    return LanguageModel(Characters.build(["abcde"], None), cell=cell, dtype=dtype, **shape).eval()


CELLS = [(name, {}) for name in registered()]
CELLS += [("lstm", {"peephole": True}), ("gru", {"reset_after": True}), ("rnn", {"activation": "relu"}), (Odd, {})]
DRIVER = """\
const given = JSON.parse(require("fs").readFileSync(0, "utf8")), kinds = {Float32Array, Float64Array};
const found = given.map(({source, name, kind, constants, steps, states}) => {
  const Real = kinds[kind], graphs = new Function(source + "; return graphs")();
  const fixed = Object.fromEntries(Object.entries(constants).map(([k, v]) => [k, Real.from(v.map(Number))]));
  const run = graphs[name](fixed, Real);
  let kept = Object.fromEntries(Object.entries(states).map(([k, v]) => [k, Real.from(v)]));
  return steps.map(inputs => {
    const read = Object.fromEntries(Object.entries(inputs).map(([k, [ids, v]]) => [k, (ids ? Int32Array : Real).from(v)]));
    const outputs = run({...kept, ...read});
    for (const k in kept) kept[k] = outputs["new_" + k];
    return Object.fromEntries(Object.entries(outputs).map(([k, v]) => [k, Array.from(v, String)]));
  });
});
process.stdout.write(JSON.stringify(found));
"""


def case(graphs, name, steps):
    """What the driver takes: a graph, and its inputs at each call."""
    graph = graphs[name]
    ids = {x.name for x in graph.inputs if x.count}
    return {
        "source": javascript.source(graphs), "name": name,
        "kind": "Float32Array" if graph.dtype == np.float32 else "Float64Array",
        "constants": {k: [str(float(x)).replace("inf", "Infinity") for x in graph.constants[k].ravel()]
                      for k in javascript.constants_of(graph)},
        "states": {k: start.tolist() for k, (start, _) in graph.states.items()},
        "steps": [{k: [k in ids, np.asarray(v).ravel().tolist()] for k, v in s.items()} for s in steps],
    }  # fmt: skip


def by_node(*cases):
    done = subprocess.run([NODE, "-e", DRIVER], input=json.dumps(cases), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    numbers = [[{k: np.array(v, float) for k, v in step.items()} for step in c] for c in json.loads(done.stdout)]
    return numbers


def by_graph(graph, steps):
    """The outputs of a graph at each call, one sequence."""
    states, found = {}, []
    for inputs in steps:
        given = {x.name: inputs[x.name] for x in graph.inputs if x.name in inputs}
        timed = {x.name: given[x.name][:, None] for x in graph.inputs if x.over_time}
        outputs = graph.run(**states, **given | timed)
        states = {k: outputs[new] for k, (_, new) in graph.states.items()}
        found.append({k: np.ravel(v) for k, v in outputs.items()})
    return found


def agree(found, right, rtol):
    for step, (ours, theirs) in enumerate(zip(found, right, strict=True)):
        assert ours.keys() == theirs.keys()
        for name, row in theirs.items():
            scale = max(np.abs(row).max(), 1e-3)
            np.testing.assert_allclose(ours[name], row, rtol=rtol, atol=rtol * scale, err_msg=f"{name} {step}")


@needs_node
def test_every_cell():
    """100 steps of each, in one node: in float32 within 1e-5, in float64 nearly to the last bit."""
    ids, cases, expected = np.random.default_rng(0).integers(0, 5, (STEPS, 1)), [], []
    for dtype in ("float32", "float64"):
        for cell, options in CELLS:
            graphs = lm(cell, dtype, cell_options=options).graphs()
            steps = [{"ids": row} for row in ids]
            cases.append(case(graphs, "step", steps))
            expected.append((by_graph(graphs["step"], steps), 1e-5 if dtype == "float32" else 1e-11))
    for found, (right, rtol) in zip(by_node(*cases), expected, strict=True):
        agree(found, right, rtol)


@needs_node
def test_every_task():
    """Whole sequences: language models, classifiers of each pooling, and both attentions, odd cells among them."""
    random, cases, expected = np.random.default_rng(1), [], []
    vocabulary = Characters.build(["abcdefg"], None)
    shape = dict(embed=5, hidden=4, seed=2, dtype="float64")
    readers = [lm("gru", "float64").graphs(over_time=True)["step"]]
    for pooling, both, cell in [("last", True, "gru"), ("mean", False, Odd), ("max", True, Odd), ("attention", True, "lstm")]:
        model = Classifier(vocabulary, ["x", "y", "z"], pooling=pooling, bidirectional=both, cell=cell, layers=2, **shape)
        readers.append(model.eval().graphs()["classify"])
    for graph in readers:
        ids = random.integers(0, 5, 23)
        cases.append(case({"read": graph}, "read", [{"ids": ids}, {"ids": ids[:9]}]))
        expected.append(by_graph(graph, [{"ids": ids}, {"ids": ids[:9]}]))
    for attention, cell in [("luong", "gru"), ("bahdanau", "lstm"), ("bahdanau", Odd)]:
        graphs = Translator(vocabulary, vocabulary, attention=attention, cell=cell, **shape).eval().graphs()
        ids = random.integers(0, 7, 11)
        cases.append(case(graphs, "read", [{"ids": ids}]))
        expected.append(by_graph(graphs["read"], [{"ids": ids}]))
        memory = graphs["read"].run(ids=ids[:, None])
        given = {k: memory[k][:, 0] for k in ("keys", "projected")}
        first = {k: memory[k][0] for k in graphs["step"].states}
        steps = [{"ids": ids[t : t + 1], **given, **(first if t == 0 else {})} for t in range(6)]
        cases.append(case(graphs, "step", steps))
        states, right = {k: memory[k] for k in graphs["step"].states}, []
        for s in steps:
            outputs = graphs["step"].run(ids=s["ids"], keys=memory["keys"], projected=memory["projected"], **states)
            states = {k: outputs["new_" + k] for k in states}
            right.append({k: np.ravel(v) for k, v in outputs.items()})
        expected.append(right)
    for found, right in zip(by_node(*cases), expected, strict=True):
        agree(found, right, 1e-10)
