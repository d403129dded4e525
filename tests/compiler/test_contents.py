"""The table of docs/compile.md: each row is run, and compiled or not as it says."""

import re
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest

import tinyrnn as tr
from tinyrnn.compiler import CompileWarning
from tinyrnn.compiler.targets.numba import interpreted

PAGE = (Path(__file__).parents[2] / "docs" / "compile.md").read_text(encoding="utf-8")
TABLE = re.search(r"^\| what \| in a step \| compiled \|\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)[1]
ROWS = re.findall(r"^\| .*?\| `(.+?)` \| (.+) \|$", TABLE, re.MULTILINE)
COMPILED = [code for code, said in ROWS if said == "yes"]
EAGER = [(code, re.match(r"eager: `(.+?)`", said)[1]) for code, said in ROWS if said.startswith("eager: ")]
T, B, F, H, N, S = 4, 5, 3, 4, 3, 6
FORMS = {
    "plain": {},
    "reversed, mask and resets": dict(
        reverse=True, mask=np.arange(T * B).reshape(T, B) % 3 > 0, resets=np.eye(T, B)
    ),
}


@pytest.fixture(autouse=True)
def anew():
    sys.modules["tinyrnn.compiler.scan"].forget_warnings()


def by_hand(forward, backward):
    f = tr.custom_vjp(forward)
    f.defvjp(lambda v: (forward(v), v), backward)
    return f


def closed_over():
    """What the page says that the rows close over; and the tensors that gradients flow to."""
    rng = np.random.default_rng(0)
    shapes = dict(W=(F, H), gates=(F, 2 * H), V=(F, N), U=(H, H), P=(N, 2), A=(H, N), b=(H,), g=(H,))
    shapes |= dict(rows=(B, H), keys=(B, S, H))
    tensors = {n: tr.tensor(rng.standard_normal(s) / 2, requires_grad=True) for n, s in shapes.items()}
    gru = tr.RNN("gru", F, H, dtype="float64", seed=0).cells[0]
    others = dict(
        tr=tr,
        np=np,
        live=np.arange(B * S).reshape(B, S) % 4 > 0,
        noise=tr.Generator(0),
        rate=0.9,
        training=True,
        gru=gru,
        spike=by_hand(lambda v: (v > 0).astype(v.dtype), lambda v, g: (g / (1 + abs(v)) ** 2,)),
        rounded=by_hand(tr.round, lambda v, g: (g,)),
        clipped=by_hand(lambda v: 1 * v, lambda v, g: (tr.clip(g, -0.1, 0.1),)),
        log=[],
        held=types.SimpleNamespace(last=None),
        buffer=np.zeros(H),
        numbers=iter(np.arange(1.0, 100)),
    )
    return tensors | others, [*tensors.values(), *gru.parameters()]


def results(code, compile, **form):
    """Outputs, and the gradients of everything, of the row ``code``."""
    names, leaves = closed_over()
    exec(f"def step(x, h, M):\n    {code}\n    return h, M", names)
    rng = np.random.default_rng(1)
    given = [rng.standard_normal(s) / 2 for s in ((T, B, F), (B, H), (B, H, N))]
    xs, *init = (tr.tensor(a, requires_grad=True) for a in given)
    ys, final = tr.scan(names["step"], xs, tuple(init), return_states=True, compile=compile, **form)
    (sum(((i + 1) * y * y).sum() for i, y in enumerate(ys)) + sum(f.sum() for f in final)).backward()
    gradients = [np.zeros(t.shape) if t.grad is None else t.grad.numpy() for t in (xs, *init, *leaves)]
    return [t.numpy() for t in (*ys, *final)] + gradients


def agree(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def compiled(code, form):
    with interpreted(), warnings.catch_warnings():
        warnings.simplefilter("error", CompileWarning)
        agree(results(code, True, **FORMS[form]), results(code, False, **FORMS[form]))


def test_every_row_is_read():
    assert len(ROWS) == len(TABLE.splitlines()) == len(COMPILED) + len(EAGER) > 60
    assert len({code for code, _ in ROWS}) == len(ROWS)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("code", COMPILED)
def test_what_is_compiled(code, form):
    compiled(code, form)


@pytest.mark.parametrize(("code", "why"), EAGER)
def test_what_runs_eagerly(code, why):
    with interpreted(), pytest.warns(CompileWarning, match=f"runs eagerly: .*{re.escape(why)}"):
        found = results(code, True)
    agree(found, results(code, False))


def test_a_row_that_is_not_as_it_says_is_found():
    with pytest.raises(CompileWarning):
        compiled(EAGER[0][0], "plain")
    with interpreted(), pytest.raises(AssertionError):
        agree(results(COMPILED[0], True), results(COMPILED[1], False))
