"""Looking inside a model: values of units, gates and gradient norms against the equations written out; the
page.
"""

import base64
import hashlib
import json
import re

import numpy as np
import pytest
from conftest import command_with_run

import tinyrnn as tr
from tinyrnn.tasks.lm.task import LanguageModel
from tinyrnn.tasks.text.vocabulary import Characters
from tinyrnn.tools import inspection

TEXT = "abcacbbac"


def make(cell="gru", layers=2, **options):
    vocabulary = Characters.build(["abc"], None)
    return LanguageModel(
        vocabulary, cell=cell, hidden=4, layers=layers, embed=3, dtype="float64", seed=1, cell_options=options
    )


def test_outputs_and_surprise_are_the_model_s():
    model = make()
    found = inspection.look(model, TEXT)
    ids = model.vocabulary.encode(TEXT)
    with model.evaluating():
        xs = model.embedding(ids[:, None])
        ys, _ = model.rnn(xs)
        losses = tr.cross_entropy(model.logits(ys)[:-1, 0], ids[1:], reduction="none")
    np.testing.assert_allclose(found["layers"][1]["outputs"], ys.numpy()[:, 0])
    np.testing.assert_allclose(found["surprise"], losses.numpy())
    assert found["symbols"] == list(TEXT) and len(found["layers"]) == 2


def test_gates_are_the_sigmoids_of_the_equations():
    model = make(layers=1)
    (layer,) = inspection.look(model, TEXT)["layers"]
    cell = model.rnn.cells[0]
    p = {name: t.numpy() for name, t in cell.named_parameters()}
    gates, h = [], np.zeros(4)
    for i in model.vocabulary.encode(TEXT):
        x = model.embedding.weight.numpy()[i] @ p["W"] + p["b"]
        rz = 1 / (1 + np.exp(-(x[:8] + h @ p["U"])))
        gates.append(rz)
        n = np.tanh(x[8:] + (rz[:4] * h) @ p["U_n"])
        z = rz[4:]
        h = z * h + (1 - z) * n
    np.testing.assert_allclose(layer["outputs"][-1], h)
    gates = np.array(gates)
    found = np.concatenate([np.atleast_2d(g["mean"]) for g in layer["gates"]])
    assert {round(v, 9) for v in found[:, -1]} == {
        round(v, 9) for v in (gates[-1, :4].mean(), gates[-1, 4:].mean())
    }
    assert all(
        g["open"].shape == (4,) and ((g["open"] >= 0) & (g["open"] + g["closed"] <= 1)).all()
        for g in layer["gates"]
    )


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_flow_is_the_norm_of_the_gradient(cell):
    model = make(cell, layers=1)
    flow = inspection.look(model, TEXT, flow_steps=5)["layers"][0]["flow"]
    ids = model.vocabulary.encode(TEXT)
    states = model.rnn.initial_state(1)
    for i in ids[:6]:  # after the sixth symbol two are read and the ninth is told
        _, states = model.rnn.step(model.embedding(np.array([i])), states)

    def loss(*layer):
        states = [layer]
        for i in ids[6:8]:
            y, states = model.rnn.step(model.embedding(np.array([i])), states)
        return tr.cross_entropy(model.logits(y), ids[8:])

    slopes = tr.grad(loss, argnums=tuple(range(len(states[0]))))(*[s.detach() for s in states[0]])
    slopes = slopes if isinstance(slopes, tuple) else (slopes,)
    assert len(flow) == 5
    assert flow[-3] == pytest.approx(np.sqrt(sum((s.numpy() ** 2).sum() for s in slopes)))


def test_the_page_holds_all_of_it_and_asks_for_nothing():
    model = make()
    found = inspection.look(model, TEXT)
    found["symbols"][0], found["symbols"][1] = "</script>", "<!--<script>"
    page = inspection.page(found, "a <b> title")
    assert not re.search(r"https?:|url\(|@import|\bsrc=|\bhref=", page) and page.count("</script>") == 2
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert data["symbols"][:2] == ["</script>", "<!--<script>"] and len(data["layers"]) == 2
    packed = data["layers"][1]["outputs"]
    values = np.frombuffer(base64.b64decode(packed["bytes"]), np.int8).reshape(9, 4) / 127 * packed["scale"]
    np.testing.assert_allclose(values, found["layers"][1]["outputs"], atol=packed["scale"] / 250)


def test_the_page_lets_its_own_script_and_style_run_and_nothing_else():
    """The policy names their digests; what the data brings is only ever a text."""
    found = inspection.look(make(), TEXT)
    hostile = "<!--<script>{{data}}{{script}}</script><style>*{}</style><img src=x onerror=alert(1)>-->"
    found["symbols"] = [hostile for _ in found["symbols"]]
    page = inspection.page(found, hostile)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy.start() < page.index("<style>") < page.index("<script>") and page.count("<!--") == 0
    for tag in ("script", "style"):
        (own,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy[1] and "unsafe" not in policy[1]
        assert hostile not in own
    assert policy[1].startswith("default-src 'none'") and "base-uri 'none'" in policy[1]
    block = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1]
    assert "<" not in block and json.loads(block)["title"] == hostile
    # Nothing in the page needs what the policy forbids.
    assert not re.search(r"<[^>]*\s(style|on\w+)=", page.replace(block, ""))


def test_the_command(tmp_path):
    text, run = tmp_path / "a.txt", command_with_run(tmp_path)
    assert run("inspect", tmp_path / "run", text).stdout.strip() == str(tmp_path / "run" / "inspect.html")
    assert run("inspect", tmp_path / "run", "to be", "--out", tmp_path / "p.html").exit_code == 0
    assert (
        "to be" not in (tmp_path / "p.html").read_text()
        and '"t", "o", " ", "b"' in (tmp_path / "p.html").read_text()
    )
    result = run("inspect", tmp_path / "run", "t")
    assert result.exit_code == 2 and "needs at least two symbols" in result.output
