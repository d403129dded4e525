"""What is exported for browsers: every cell under node against the reference of graphs; pages in Chromium."""

import base64
import dataclasses
import hashlib
import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from browser import CHROMIUM, Browser
from conftest import command_with_run

import tinyrnn as tr
from tinyrnn.autograd.tape import TABLE, apply
from tinyrnn.compiler.targets import javascript
from tinyrnn.kernels.pointwise import typed
from tinyrnn.nn.registry import registered
from tinyrnn.tasks.classify.model import Classifier
from tinyrnn.tasks.classify.signals import SignalClassifier
from tinyrnn.tasks.forecast.series import read_series
from tinyrnn.tasks.lm.model import LanguageModel
from tinyrnn.tasks.lm.sampling import choose
from tinyrnn.tasks.signals.features import Features
from tinyrnn.tasks.text import vocabulary
from tinyrnn.tasks.text.vocabulary import Characters
from tinyrnn.tasks.translate.model import Translator
from tinyrnn.tools.export import How, exported, html

STEPS = 100
TEMPLATES = Path(html.__file__).parents[1] / "templates" / "page"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="there is no node")


class Odd(tr.Cell):
    """Several widths, row sums, a state that is a matrix, rows of a table, quotients of columns; and the ops
    that no registered cell uses.
    """

    states = ("h", "M", "c")

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size)
        self.b.data[:] = 0.1  # which only a step may not do
        self.table = self.weight(3, hidden_size)
        self.start = self.bias(2 * hidden_size, init=0.3)
        self.V = self.weight(hidden_size, 2 * hidden_size)
        self.state_sizes = {"h": hidden_size, "M": (hidden_size, hidden_size), "c": 2 * hidden_size}

    def initial_state(self, batch_size):
        h, M, c = super().initial_state(batch_size)
        return h + 0.1, M, c + self.start

    def step(self, x, h, M, c):
        z = x @ self.W + tr.clip(h, -0.5, 0.5) @ self.U + self.b + x[:, :4] * 0.1
        M = 0.9 * M + 0.1 * h[:, :, None] * tr.tanh(z)[:, None, :]
        row = self.table[1] + tr.take(self.table, 2, axis=0) * tr.mean(z, axis=-1, keepdims=True)
        y = tr.softmax(z) + tr.max(z, axis=-1, keepdims=True) * row + tr.einsum("bij,bj->bi", M, h)
        y = y + tr.logaddexp(z, h) - tr.maximum(z, 0.2) / (1 + tr.erf(h)) + tr.softplus(z) ** 1.5
        across = tr.reshape(z, (-1, 2, 2))
        y = y * tr.concat([tr.max(across, axis=1), tr.sum(across, axis=1)], axis=1)
        y = y + tr.where(tr.logical_xor(z > 0.1, h > 0), tr.round(4 * z) / 8, tr.remainder(z, 0.7))
        c = 0.5 * c + tr.tanh(h @ self.V) + tr.flip(tr.concat([z, h], axis=1), axis=1) * tr.sign(c)
        h = tr.tanh(
            y + tr.cumsum(y, axis=1) * 0.1 + c[:, 2:6] @ tr.matrix_transpose(self.U) + x[:, -1:] * 0.1
        )
        return h, M, c


def lm(cell, dtype="float32", **more):
    shape = {"hidden": 4, "embed": 5, "layers": 2, "seed": 1, **more}
    return LanguageModel(Characters.build(["abcde"], None), cell=cell, dtype=dtype, **shape).eval()


CELLS = [(name, {}) for name in registered()]
CELLS += [
    ("lstm", {"peephole": True}),
    ("gru", {"reset_after": True}),
    ("rnn", {"activation": "relu"}),
    (Odd, {}),
]
DRIVER = """\
const given = JSON.parse(require("fs").readFileSync(0, "utf8")), kinds = {Float32Array, Float64Array};
const found = given.map(({source, name, kind, constants, steps, states}) => {
  const Real = kinds[kind], graphs = new Function(source + "; return graphs")();
  const fixed = Object.fromEntries(Object.entries(constants).map(([k, v]) => [k, Real.from(v.map(Number))]));
  const run = graphs[name](fixed, Real);
  let kept = Object.fromEntries(Object.entries(states).map(([k, v]) => [k, Real.from(v)]));
  return steps.map(inputs => {
    const read = Object.fromEntries(Object.entries(inputs).map(
      ([k, [ids, v]]) => [k, (ids ? Int32Array : Real).from(v)]));
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
    numbers = [
        [{k: np.array(v, float) for k, v in step.items()} for step in c] for c in json.loads(done.stdout)
    ]
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
            np.testing.assert_allclose(
                ours[name], row, rtol=rtol, atol=rtol * scale, err_msg=f"{name} {step}"
            )


@needs_node
def test_every_cell():
    """100 steps of each, in one node: in float32 within 1e-5, in float64 nearly to the last bit."""
    ids, cases, expected = np.random.default_rng(0).integers(0, 5, (STEPS, 1)), [], []
    for dtype in ("float32", "float64"):
        for cell, options in CELLS:
            wide = {} if cell is Odd else {"hidden": 9, "embed": 17}  # more than rows that go at once
            graphs = lm(cell, dtype, cell_options=options, **wide).graphs()
            steps = [{"ids": row} for row in ids]
            cases.append(case(graphs, "step", steps))
            expected.append((by_graph(graphs["step"], steps), 1e-5 if dtype == "float32" else 1e-11))
    for found, (right, rtol) in zip(by_node(*cases), expected, strict=True):
        agree(found, right, rtol)


@needs_node
def test_scalar_rules():
    """Every pointwise op on ordinary and extreme numbers, as tensors do it."""
    ordinary = np.random.default_rng(0).normal(0, 2, 40)
    xs = np.array([0.0, 0.5, -0.5, 1.5, 2.5, -2.5, 1.0, -1.0, 3e8, -40.0, np.inf, -np.inf, np.nan, *ordinary])
    cases, expected = [], []
    for name, op in TABLE.items():
        if op.rule is None:
            continue
        given = [xs] if len(op.inputs) == 1 else np.meshgrid(*[xs[:20]] * len(op.inputs))
        given = [g.ravel() for g in given]
        rule = typed(op.rule, "{}".format)
        cases.append((list(op.inputs), rule, [list(map(str, g.tolist())) for g in given]))
        with np.errstate(all="ignore"):
            expected.append((name, apply(op, *map(tr.tensor, given)).numpy().astype(float)))
    prelude = javascript.prelude(
        {f for op in TABLE.values() if op.rule for f in re.findall(r"(\w+)\(", op.rule)}
    )
    script = f"""{prelude}
    const number = s => s === "nan" ? NaN : s === "inf" ? Infinity : s === "-inf" ? -Infinity : Number(s)
    const given = JSON.parse(require("fs").readFileSync(0, "utf8"))
    console.log(JSON.stringify(given.map(([names, rule, arrays]) => {{
      const f = eval(`(${{names.join(", ")}}) => ${{rule}}`)
      return arrays[0].map((_, i) => String(Number(f(...arrays.map(a => number(a[i]))))))
    }})))"""
    done = subprocess.run([NODE, "-e", script], input=json.dumps(cases), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for (name, right), found in zip(expected, json.loads(done.stdout), strict=True):
        found = np.array([float(v.replace("Infinity", "inf")) for v in found])
        np.testing.assert_allclose(found, right, rtol=1e-12, atol=1e-15, err_msg=name)


@needs_node
def test_every_task():
    """Whole sequences: language models, classifiers of each pooling, and both attentions, odd cells too."""
    random, cases, expected = np.random.default_rng(1), [], []
    vocabulary = Characters.build(["abcdefg"], None)
    shape = dict(embed=5, hidden=4, seed=2, dtype="float64")
    readers = [lm("gru", "float64").graphs(over_time=True)["step"]]
    for pooling, both, cell in [
        ("last", True, "gru"),
        ("mean", False, Odd),
        ("max", True, Odd),
        ("attention", True, "lstm"),
    ]:
        model = Classifier(
            vocabulary, ["x", "y", "z"], pooling=pooling, bidirectional=both, cell=cell, layers=2, **shape
        )
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
            outputs = graphs["step"].run(
                ids=s["ids"], keys=memory["keys"], projected=memory["projected"], **states
            )
            states = {k: outputs["new_" + k] for k in states}
            right.append({k: np.ravel(v) for k, v in outputs.items()})
        expected.append(right)
    for found, right in zip(by_node(*cases), expected, strict=True):
        agree(found, right, 1e-10)


# ---------------------------------------------------------------------- text to ids and back

TEXTS = [
    "It's the café's 3rd naïve test_case, isn't it?\n\n  Two  spaces\tand a tab.",
    "Zürich – 12,5 % «oui» e\u0301 \u00a0 日本語 😀 x\x1fy\x85z",
    "  ", "THE END", "aaaaa hahaha", "don’t stop <unk> now\r\n",
]  # fmt: skip


def vocabularies():
    found = [Characters.build(TEXTS, None), Characters.build(TEXTS, 20), vocabulary.Bytes()]
    found += [vocabulary.Words.build(TEXTS[:2], None), vocabulary.Words.build(TEXTS, 6)]
    found += [vocabulary.Words(["<unk>", " the", "end", "The", " END"], 0).in_any_case(True)]
    found += [vocabulary.Tokens.build(TEXTS[:2], None)]
    if importlib.util.find_spec("tokenizers"):
        found.append(vocabulary.BytePairs.build(TEXTS * 5, 300))
    return found


@needs_node
def test_vocabularies():
    """Ids, what is missing, single texts and the text of ids are Python's, at every level."""
    given = [(html._stored(v), TEXTS) for v in vocabularies()]
    source = (TEMPLATES / "vocabulary.js").read_text(encoding="utf-8")
    script = f"""{source}
    const given = JSON.parse(require("fs").readFileSync(0, "utf8"))
    console.log(JSON.stringify(given.map(([stored, texts]) => texts.map(text => {{
      const v = new Vocabulary(stored), {{ids, missing}} = v.encode(text), decode = v.decoder()
      const back = ids.map(decode).join(""), other = v.decoder()
      return [ids, missing, v.encodeText(text, 7).ids, back, ids.toReversed().map(other).join(""), v.size]
    }}))))"""
    done = subprocess.run([NODE, "-e", script], input=json.dumps(given), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for v, found in zip(vocabularies(), json.loads(done.stdout), strict=True):
        for text, (ids, missing, single, back, turned, size) in zip(TEXTS, found, strict=True):
            right, decode, other = v.encode(text).tolist(), v.decoder(), v.decoder()
            assert (ids, missing, size) == (right, v.missing(text), len(v)), (v.level, text)
            assert single == vocabulary.encode_text(v, text, 7).tolist(), (v.level, text)
            assert back == "".join(map(decode, right)), (v.level, text)
            assert turned == "".join(map(other, right[::-1])), (v.level, text)


@needs_node
def test_choosing():
    """By the same random number what `choose` takes; what is banned never; the best few in order."""
    random, engine = np.random.default_rng(0), (TEMPLATES / "engine.js").read_text(encoding="utf-8")
    cases = [
        {
            "logits": random.normal(0, 3, 9).tolist(),
            "temperature": t,
            "topP": p,
            "u": random.uniform(size=40).tolist(),
        }
        for t in (0, 0.3, 1, 1.7)
        for p in (0.05, 0.5, 0.9, 1)
    ]
    script = f"""const graphs = {{}}; {engine.split("return async message")[0]}
    const given = JSON.parse(require("fs").readFileSync(0, "utf8"))
    const at = (one, banned, u) => {{ Math.random = () => u; return chosen(one.logits, one, banned) }}
    const drawn = (one, banned) => one.u.map(u => at(one, banned, u))
    const found = one => [drawn(one, null), drawn(one, 3), best(probabilities(one.logits), 4)]
    console.log(JSON.stringify(given.map(found)))
    process.exit()"""
    done = subprocess.run([NODE, "-e", script], input=json.dumps(cases), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for case, (free, banned, best) in zip(cases, json.loads(done.stdout), strict=True):
        how, logits = {"temperature": case["temperature"], "top_p": case["topP"]}, np.array(case["logits"])
        assert free == [choose(logits, u=u, **how) for u in case["u"]]
        without = np.where(np.arange(9) == 3, -np.inf, logits)
        assert banned == [choose(without, u=u, **how) for u in case["u"]] and 3 not in banned
        p = np.exp(logits - np.logaddexp.reduce(logits))
        np.testing.assert_array_equal([i for i, _ in best], np.argsort(-p)[:4])
        np.testing.assert_allclose([q for _, q in best], np.sort(p)[::-1][:4])


# ---------------------------------------------------------------------- pages


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    with Browser() as opened:
        yield opened


@pytest.fixture
def opened(browser, tmp_path, monkeypatch):
    """A function that exports a model and opens its page."""
    monkeypatch.setenv("TINYRNN_COMPILE", "python")

    def shown(model, weights="float32", **how):
        (made,) = exported(model, "html", tmp_path / "model.html", How(weights=weights)).items()
        made[0].write_bytes(made[1])
        browser.faults.clear()
        browser.open(made[0], **how)
        return browser

    yield shown
    assert not browser.faults and not text_of(browser, "#fault")


def writer(**more):
    """A language model that is sure enough of what it writes."""
    shape = dict(cell="gru", hidden=12, embed=12 if more.get("tie") else 8, layers=2, seed=3)
    model = LanguageModel(Characters.build(["abcdefgh .\n"], None), **shape, **more)
    model.output.weight.assign_(model.output.weight * 6)
    return model.eval()


def greedy(model, prompt, length):
    """What tinyrnn chooses at temperature 0, op by op, and the probabilities of that."""
    (states, ids, ps) = None, list(model.vocabulary.encode(prompt)), []
    for i in list(ids):
        logits, states = model.step(np.array([i]), states)
    for _ in range(length):
        ids.append(choose(logits[0], temperature=0))
        ps.append(np.exp(tr.log_softmax(logits).numpy()[0, ids[-1]]))
        logits, states = model.step(np.array(ids[-1:]), states)
    return model.vocabulary.decode(ids), ps


def set_value(browser, selector, value):
    browser.value(
        f"(e => {{ e.value = {json.dumps(value)}; e.dispatchEvent(new Event('input')) }})"
        f"(document.querySelector({json.dumps(selector)}))"
    )


def text_of(browser, selector):
    return browser.value(f"document.querySelector({json.dumps(selector)}).textContent")


def write(browser, prompt, length=60, temperature=0):
    browser.type("#prompt", prompt)
    set_value(browser, "#temperature", temperature)
    set_value(browser, "#length", length)
    browser.click("#go")
    browser.wait("!running && document.querySelector('#status').textContent.includes('symbols in')")


def test_a_language_model_s_page(opened):
    """Typed, waited for: what tinyrnn chooses; probabilities; the keyboard walks through the symbols."""
    model = writer()
    browser = opened(model)
    assert text_of(browser, "output[for=temperature]") == "0.8"
    write(browser, "bad cafe")
    text, ps = greedy(model, "bad cafe", 60)
    assert text_of(browser, "#text") == text
    np.testing.assert_allclose(browser.value("written.slice(8).map(one => one.p)"), ps, rtol=1e-4)
    shades = browser.value("text.spans.slice(8).map(e => Number(e.style.getPropertyValue('--surprise')))")
    np.testing.assert_allclose(shades, np.minimum(1, -np.log(ps) / np.log(1000)), atol=6e-4)
    drawn = "document.querySelector('#states canvas').getContext('2d').getImageData(0, 0, 20, 12).data"
    browser.wait(f"new Set({drawn}).size > 20")  # columns of many colours
    browser.value("document.querySelector('#text span').focus()")
    for key in ("ArrowRight", "End", "ArrowLeft"):
        browser.press(key)
    assert browser.value("document.activeElement === text.spans[66] && document.activeElement.tabIndex") == 0
    assert text_of(browser, "#symbol").startswith("Symbol 67, ") and "probability" in text_of(
        browser, "#symbol"
    )
    assert browser.value("document.querySelectorAll('#text [tabindex=\"0\"]').length") == 1


def test_8_bits_of_a_page(opened):
    """What a page in 8 bits writes is what the graph with those constants does, not what float32 does."""
    model = writer()
    browser = opened(model, "int8")
    write(browser, "bad cafe", 30)
    graph = html.in_8_bits(model.graphs())["step"]
    ids, ps, states = model.vocabulary.encode("bad cafe").tolist(), [], {}
    for t in range(38):
        outputs = graph.run(ids=np.array([ids[t]]), **states)
        states = {name: outputs[new] for name, (_, new) in graph.states.items()}
        p = np.exp(tr.log_softmax(outputs["logits"]).numpy()[0])
        if t >= 7 and t < 37:
            ids.append(int(p.argmax()))
            ps.append(p.max())
    assert text_of(browser, "#text") == model.vocabulary.decode(ids)
    found = browser.value("written.slice(8).map(one => one.p)")
    np.testing.assert_allclose(found, ps, rtol=1e-4)
    assert np.abs(np.array(found) - greedy(model, "bad cafe", 30)[1]).max() > 1e-4


def test_a_prompt_that_is_not_known(opened):
    browser = opened(writer())
    browser.type("#prompt", "aßéb")
    assert text_of(browser, "#told") == "Not in this model's vocabulary, left out: “ß” “é”."
    browser.type("#prompt", "ß")
    browser.click("#go")
    assert text_of(browser, "#told") == "The model knows no symbol of this prompt: use others."
    assert text_of(browser, "#text") == ""
    write(browser, "", 5)  # from a line's end, as tinyrnn does
    assert text_of(browser, "#text") == greedy(writer(), "\n", 5)[0]


def test_a_placeholder_is_never_written(opened):
    """Nor in a prompt left out: it is read as the unknown symbol, and so it is told."""
    known = Characters(["\N{REPLACEMENT CHARACTER}", *"abc\n"], unknown=0)
    model = LanguageModel(known, cell="gru", hidden=8, embed=4, seed=1)
    model.output.bias.assign_(np.array([9, 0, 0, 0, 0], np.float32))
    browser = opened(model.eval())
    browser.type("#prompt", "a?")
    assert text_of(browser, "#told") == "Not in this model's vocabulary, read as unknown: “?”."
    write(browser, "a?", 12)
    written = text_of(browser, "#text")
    assert len(written) == 14 and written[1] == known.symbols[0] and known.symbols[0] not in written[2:]


def test_it_stops_and_does_not_freeze(opened):
    slow = LanguageModel(Characters.build(["abcd"], None), cell="lstm", hidden=256, embed=8, layers=2).eval()
    browser = opened(slow)
    browser.type("#prompt", "abc")
    set_value(browser, "#length", 5000)
    browser.value(
        "window.frames_seen = 0; (function seen() { frames_seen++; requestAnimationFrame(seen) })()"
    )
    browser.click("#go")
    browser.wait("written.length > 50")
    browser.click("#stop")
    before = browser.value("written.length")
    assert text_of(browser, "#status").startswith("Stopped after ") and before < 5003
    browser.value("window.late = 0; heard = () => { late++ }")
    browser.value("new Promise(then => setTimeout(then, 300))")
    assert browser.value("late") <= 1  # what it was at
    assert browser.value("document.activeElement.id") == "go" and browser.value("frames_seen") > 2
    write(browser, "abc", 3)  # again
    assert browser.value("written.length") == 6


def test_a_fault_of_the_engine_is_told(browser, tmp_path):
    page = exported(writer(), "html", tmp_path / "model.html", How(weights="float32"))[
        tmp_path / "model.html"
    ]
    (tmp_path / "model.html").write_bytes(page)
    browser.open(tmp_path / "model.html")
    browser.value("start({job: 'write', ids: null}, () => {})")
    browser.wait("document.querySelector('#fault').textContent.startsWith('The model stopped: ')")


FORBIDDEN = "class { constructor() { setTimeout(() => this.onerror(new Event('error'))) } postMessage() {} }"


@pytest.mark.parametrize("worker", ["undefined", FORBIDDEN], ids=["none", "forbidden"])
def test_without_a_worker_the_page_computes(opened, browser, worker):
    script = browser.tell("Page.addScriptToEvaluateOnNewDocument", source=f"window.Worker = {worker}")
    try:
        model = writer()
        write(opened(model), "bad cafe", 40)
        assert text_of(browser, "#text") == greedy(model, "bad cafe", 40)[0]
    finally:
        browser.tell("Page.removeScriptToEvaluateOnNewDocument", identifier=script["identifier"])


def labelled(thresholds=None, **more):
    known, labels = Characters.build(["abcdefgh "], None), ["good", "bad", "so so"]
    shape = dict(hidden=8, embed=6, bidirectional=True, seed=5, max_length=30)
    model = Classifier(known, labels, thresholds, cell="lstm", **shape, **more)
    model.output.weight.assign_(model.output.weight * 8)
    return model.eval()


@pytest.mark.parametrize("thresholds", [None, [0.3, 0.6, 0.5]])
def test_a_classifier_s_page(opened, thresholds):
    model = labelled(thresholds, pooling="max")
    browser = opened(model)
    for text in ("bad cafe", "a", "hahaha geh"):
        browser.type("#input", text)
        browser.wait("!busy")
        p = model.predict([text])
        assert text_of(browser, "#label") == (", ".join(model.said(p)[0]) or "none of the labels")
        widths = browser.value(
            "Array.from(document.querySelectorAll('#bars i'), e => parseFloat(e.style.width))"
        )
        np.testing.assert_allclose(widths, 100 * p[0], atol=1e-2)
    for text, told in {
        "ßa": "left out: “ß”",
        "ß": "The model knows no symbol of this text",
        "abc" * 20: "Read up to symbol 30, where it is cut.",
    }.items():
        browser.type("#input", text)
        browser.wait(f"document.querySelector('#told').textContent.includes({told!r})")


def of_numbers(channels=("x", "y"), joined=2):
    random = np.random.default_rng(0)
    features = Features(channels, 0, 1, joined, True).fitted([random.normal(3, 2, (50, len(channels)))])
    model = SignalClassifier(features, ["up", "down"], cell="gru", hidden=6, layers=2, seed=1)
    model.output.weight.assign_(model.output.weight * 8)
    return model.eval()


def test_a_page_of_numbers(opened):
    """Pasted, as `predict` says of them; what is no row of numbers is told; one channel can be drawn."""
    model, random = of_numbers(), np.random.default_rng(1)
    browser = opened(model)
    for n, (gap, head) in enumerate([(", ", ""), (";", "x;y\n"), ("\t", "")]):
        sequence = random.normal(3, 2, (7 + n, 2))
        browser.type("#input", head + "\n".join(gap.join(map(str, row)) for row in sequence.tolist()))
        browser.wait("!busy && said")
        widths = browser.value(
            "Array.from(document.querySelectorAll('#bars i'), e => parseFloat(e.style.width))"
        )
        np.testing.assert_allclose(widths, 100 * model.predict([sequence])[0], atol=1e-2)
        told = "The first line, x y, was taken for names. " * bool(head)
        assert text_of(browser, "#told") == f"{told}Read: {7 + n} steps."
    for text, said in [
        ("1 2\n3 four", "Line 2: “four” is no number: mend it."),
        ("1 2\n3", "Line 2 has 1 numbers: give the 2 of a step (x, y)."),
    ]:
        browser.type("#input", text)
        assert text_of(browser, "#told") == said and text_of(browser, "#label") == "–"
    model = of_numbers(("x",), 1)
    browser = opened(model)
    browser.type("#input", "1, 2, 3, 4\n5")
    browser.wait("!busy && said")
    right = model.predict([np.arange(1.0, 6.0)[:, None]])[0]
    assert text_of(browser, "#label") == model.labels[right.argmax()]
    box = browser.value(
        "(b => [b.x, b.y, b.width, b.height])(document.querySelector('#plot').getBoundingClientRect())"
    )
    path = [(box[0] + box[2] * part, box[1] + box[3] * (0.8 - 0.5 * part)) for part in (0.2, 0.4, 0.7)]
    for kind, (x, y) in zip(["mousePressed", "mouseMoved", "mouseMoved"], path, strict=True):
        browser.tell("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    browser.tell("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, button="left", clickCount=1)
    drawn = np.array(browser.value("sequence"))[:, 0]
    assert len(drawn) == 100 and (np.diff(drawn) > 0).all() and 0 < drawn[0] < drawn[-1] < 6


@pytest.mark.parametrize("attention", ["luong", "bahdanau"])
def test_a_translator_s_page(opened, attention):
    known = Characters.build(["abcdefgh "], None)
    model = Translator(known, known, cell="gru", hidden=10, embed=6, attention=attention, seed=4)
    model.output.weight.assign_(model.output.weight * 8)
    model.output.bias.assign_(np.where(np.arange(10) == model.end, 2.0, 0.0).astype(np.float32))
    model.eval()
    browser = opened(model)
    for text in ("bad cafe", "hag", "a fee head"):
        browser.type("#input", text)
        browser.click("#go")
        browser.wait("document.querySelector('#status').textContent.includes('probability')")
        assert text_of(browser, "#said") == model.translate([text])[0]
        weights = model.attended(text)[2]  # one more, where it ends at the limit
        found = browser.value("written.map(one => Array.from(one.weights))")
        assert len(found) == len(weights) - (not browser.value("written.at(-1).end"))
        np.testing.assert_allclose(found, weights[: len(found)], atol=1e-5)
        browser.value("document.querySelector('#status').textContent = ''")
    browser.type("#input", "   ")
    browser.click("#go")
    assert text_of(browser, "#status") == "There is nothing to translate: type a text."


def forecaster(folder, **how):
    """A forecaster of a series with a season, whose networks say something, and the series."""
    t = np.arange(90)
    y = 100 + 0.5 * t + 20 * np.sin(2 * np.pi * t / 12) + np.random.default_rng(0).normal(0, 3, 90)
    (folder / "a.csv").write_text("y\n" + "\n".join(f"{v:.3f}" for v in y))
    shape = dict(horizon=5, window=24, hidden=4, steps=2, season=12, threads=1, quiet=True)
    model = tr.train(folder / "a.csv", "forecast", out=folder / "run", **shape, **how).model
    random = np.random.default_rng(1)
    for p in model.parameters():
        p.assign_(p.numpy() + random.normal(0, 0.3, p.shape).astype(p.dtype))
    model.trust, model.even = 1.0, False
    return model, read_series(folder / "a.csv")


@pytest.mark.parametrize("how", [{}, {"difference": "1", "log": True}], ids=str)
def test_a_forecaster_s_page(opened, tmp_path, monkeypatch, how):
    """Pasted from the middle of a season, as `forecast` says; too little, and what has no logarithm, is told;
    a curve that is drawn is a series.
    """
    monkeypatch.setenv("TINYRNN_COMPILE", "python")
    model, series = forecaster(tmp_path, **how)
    browser = opened(model)
    part = dataclasses.replace(series, **{n: getattr(series, n)[7:] for n in ("values", "dates", "known")})
    set_value(browser, "#place-0", 7)
    browser.type("#input", "y\n" + "\n".join(map(str, part.values[:, 0].tolist())))
    browser.wait("!busy && said")
    found = browser.value("[said.forecast, said.lower, said.upper].map(row => Array.from(row))")
    np.testing.assert_allclose(found, model.forecast(part)[:, 0], rtol=1e-5)
    assert text_of(browser, "#told") == "The first line, y, was taken for names. Read: 83 steps."
    assert browser.value("document.querySelectorAll('#rows tr').length") == 5
    browser.type("#input", "3 4 5")
    assert text_of(browser, "#told") == (
        f"Read: 3 steps. A forecast is made from {model.needed} values at least."
    )
    assert browser.value("said") is None and text_of(browser, "#rows") == ""
    if how:
        browser.type("#input", "1 2 0 " * 20)
        assert "The model reads logarithms: 0 has none" in text_of(browser, "#told")
    box = browser.value(
        "(b => [b.x, b.y, b.width, b.height])(document.querySelector('#plot').getBoundingClientRect())"
    )
    for kind, part in [("mousePressed", 0.2), ("mouseMoved", 0.5), ("mouseReleased", 0.5)]:
        where = dict(x=box[0] + box[2] * part, y=box[1] + box[3] * (0.7 - part))
        browser.tell("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **where)
    browser.wait("!busy && said")
    assert browser.value("series.length") == max(24, model.needed)


# ---------------------------------------------------------------------- for everybody, from nowhere else

MODELS = {
    "lm": lambda _: writer(),
    "classify": lambda _: labelled(),
    "numbers": lambda _: of_numbers(),
    "forecast": lambda folder: forecaster(folder)[0],
    "translate": lambda _: Translator(*[Characters.build(["ab"], None)] * 2, cell="gru", hidden=4, embed=3),
}


@pytest.mark.parametrize("task", MODELS)
def test_names_for_readers_of_the_screen_and_room_on_a_phone(opened, tmp_path, task):
    """Whatever can be used has a name, comes in the order of the page, and fits a phone in both themes."""
    model = MODELS[task](tmp_path)
    for dark in (False, True):
        browser = opened(model, width=390, height=844, dark=dark)
        nodes = browser.tell("Accessibility.getFullAXTree")["nodes"]
        used = {"textbox", "slider", "spinbutton", "button", "combobox", "listbox", "img", "region"}
        roles = [(n["role"]["value"], n.get("name", {}).get("value")) for n in nodes if not n["ignored"]]
        roles = [(role, name) for role, name in roles if role in used]
        assert len(roles) > 2 and all(name for _, name in roles), roles
        assert browser.value("document.documentElement.scrollWidth") <= 390
        order = browser.value(
            "Array.from(document.querySelectorAll('select, textarea, input, button'), e => e.tabIndex)"
        )
        assert set(order) == {0}
        page = browser.value("getComputedStyle(document.body).backgroundColor")
        assert page == ("rgb(22, 22, 22)" if dark else "rgb(255, 255, 255)")
    set_theme = "(e => { e.value = 'light'; e.onchange() })(document.querySelector('#theme'))"
    browser.value(set_theme)
    assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    browser.value("localStorage.clear()")


def luminance(rgb):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in np.asarray(rgb) / 255]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def contrast(a, b):
    low, high = sorted([luminance(a), luminance(b)])
    return (high + 0.05) / (low + 0.05)


def test_contrast():
    """WCAG 2.2 AA in both themes: 4.5 for text, also on the strongest shade, and 3 for edges and bars."""
    css = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    themes = [
        dict(re.findall(r"--([\w-]+): ([^;]+);", block)) for block in re.findall(r":root[^{]*{[^}]+}", css)
    ]
    assert len(themes) == 3 and themes[1] == themes[2]
    strengths = [float(x) for x in re.findall(r"calc\(([.\d]+) \*", css)]
    assert len(strengths) == 2
    for theme in themes[:2]:
        of = {k: [int(v[i : i + 2], 16) for i in (1, 3, 5)] for k, v in theme.items() if v[0] == "#"}
        for text, under in [("ink", "page"), ("soft", "page"), ("ink", "raised"), ("on-accent", "accent")]:
            assert contrast(of[text], of[under]) >= 4.5, (text, under)
        for edge in ("edge", "accent"):
            assert contrast(of[edge], of["page"]) >= 3, edge
        for name, strength in zip(("shade", "glow"), strengths, strict=True):
            over = np.array([int(c) for c in theme[name].split(",")]) * strength + np.array(of["page"]) * (
                1 - strength
            )
            assert contrast(of["ink"], over) >= 4.5, name


@pytest.mark.parametrize("task", MODELS)
def test_a_page_needs_nothing_from_outside(task, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYRNN_COMPILE", "python")
    model = MODELS[task](tmp_path)
    (text,) = exported(model, "html", tmp_path / "model.html", How(weights="int8")).values()
    text = text.decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1]
    assert policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy
    assert not re.search(r"https?:|//cdn|@import|url\(|<link|<img|<iframe|\bfetch\(|XMLHttp|WebSocket", text)
    for tag in ("style", "script", r'script id="engine"'):
        (own,) = re.findall(rf"<{tag}>(.*?)</{tag.split()[0]}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "{{" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)


def test_symbols_that_look_like_markup(opened):
    known = vocabulary.Tokens(
        ["<unk>", "<eos>", "</script>", "<!--<script>", "&amp;", "{{data}}", "\u2028"], 0
    )
    model = LanguageModel(known, cell="rnn", hidden=4, embed=3, seed=0)
    model.output.bias.assign_(np.array([-9, 0, 0, 0, 0, 0, 0], np.float32))
    browser = opened(model.eval())
    prompt = "</script> <!--<script> {{data}} &amp;"
    write(browser, prompt, 20)
    assert text_of(browser, "#text").strip() == greedy(model, prompt, 20)[0].strip()


# ---------------------------------------------------------------------- what weights are in, and the command


def test_weights_are_in_8_bits_where_that_changes_little(tmp_path, monkeypatch, capsys):
    def made(weights=None):
        (page,) = exported(writer(), "html", tmp_path / "model.html", How(weights=weights)).values()
        return page.decode(), capsys.readouterr().err

    page, said = made()
    assert "parameters; weights in int8" in page and '"scales"' in page
    assert re.search(
        r"weights in int8: 8 bits change what the model says by \S+ nats, 0.005 are allowed", said
    )
    page, said = made("float32")
    assert "parameters; weights in float32" in page and '"scales"' not in page and "8 bits" not in said
    monkeypatch.setattr(html, "TOLERANCE", 1e-9)
    page, said = made()
    assert "parameters; weights in float32" in page and "weights in float32: 8 bits change" in said


def test_which_way_scales_are():
    """Of tables, and of what rows are multiplied by the transpose of, each row has one."""
    graphs = [writer(tie=tie, **more).graphs()["step"] for tie, more in [(False, {}), (True, {})]]
    free, tied = map(html._by_rows, graphs)
    assert free["embedding_weight"] and not free["output_weight"] and not free["rnn_cells_0_U"]
    assert tied["embedding_weight"] and "output_weight" not in tied
    assert {n for n in free if graphs[0].constants[n].ndim < 2} == set()


def test_what_8_bits_change_is_measured():
    """Against the divergence written out, of the text that the model writes itself."""
    model = writer()
    page = html.PAGES["lm"](model)
    right, found = page.trial(page.graphs), page.trial(html.in_8_bits(page.graphs))
    assert right.shape == (200, 1, 11) and np.allclose(np.exp(right).sum(axis=-1), 1, atol=1e-5)
    assert 1e-6 < (np.exp(right) * (right - found)).sum(axis=-1).mean() < html.TOLERANCE


def test_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYRNN_COMPILE", "python")
    run = command_with_run(tmp_path)
    result = run("export", tmp_path / "run", "--format", "html")
    assert result.exit_code == 0 and result.stdout.splitlines()[-1] == str(tmp_path / "run" / "model.html")
    assert "bytes; the page has" in result.stderr
    (tmp_path / "mine.html").write_text("<p>mine")
    result = run("export", tmp_path / "run", "--format", "html", "--out", tmp_path / "mine.html")
    assert result.exit_code == 2 and "not overwritten" in result.output
    for _ in range(2):  # its own is replaced
        assert (
            run("export", tmp_path / "run", "--format", "html", "--out", tmp_path / "own.html").exit_code == 0
        )
    result = run("export", tmp_path / "run", "--format", "html", "--weights", "bfloat16")
    assert result.exit_code == 2


def test_models_without_a_page():
    model = SimpleNamespace(task="tag")
    with pytest.raises(tr.InputError, match="there is no page yet for models of the task tag"):
        html.write(model, None, How())
    with pytest.raises(tr.InputError, match="int8 weights are for models of float32 on cpu, not float64"):
        exported(writer(dtype="float64"), "html", TEMPLATES, How(weights="int8"))
    sound = Features(("sound",), 8000, 40, 1, False).fitted([np.random.default_rng(0).standard_normal(8000)])
    with pytest.raises(tr.InputError, match="a page cannot hear"):
        exported(SignalClassifier(sound, ["a", "b"], cell="gru", hidden=4), "html", TEMPLATES, How())
    with pytest.raises(tr.InputError, match="--format html has no --sequence: leave it out"):
        exported(writer(), "html", TEMPLATES, How(sequence=True))
    with pytest.raises(tr.InputError, match="--format html has no --weights bfloat16: leave it out"):
        exported(writer(), "html", TEMPLATES, How(weights="bfloat16"))
    shape = dict(cell="gru", hidden=4, embed=4)
    adaptive = LanguageModel(Characters.build(["abcdefgh"], None), softmax="adaptive", cutoffs=[4], **shape)
    with pytest.raises(tr.InputError, match="train with --softmax full"):
        exported(adaptive, "html", TEMPLATES, How())
