"""`tr.custom_vjp` in steps: what the backward function does is part of the program."""

import warnings

import numpy as np
import pytest

import tinyrnn as tr
from tinyrnn.compiler.ir import CompileWarning
from tinyrnn.compiler.scan import forget_warnings
from tinyrnn.compiler.targets.numba import interpreted

H, T = 4, 3


def by_hand(forward, backward):
    rule = tr.custom_vjp(lambda *args: forward(*args)[0])
    rule.defvjp(forward, backward)
    return rule


def agree(step, batch=3, weights=()):
    """Compiled without a word, and equal to the eager loop, gradients and all."""
    found, draw = [], np.random.default_rng(batch)
    given = draw.standard_normal((T, batch, H)), np.full((batch, H), 0.3)
    forget_warnings()
    for compile in (True, False):
        leaves = [*[tr.tensor(a, requires_grad=True) for a in given], *weights]
        for w in weights:
            w.grad = None
        with interpreted(), warnings.catch_warnings():
            warnings.simplefilter("ignore", CompileWarning)  # of the third program of one step
            warnings.filterwarnings("error", ".*runs eagerly", CompileWarning)
            ys, _ = tr.scan(step, *leaves[:2], compile=compile)
        (ys * ys).sum().backward()
        found.append([ys.numpy(), *[t.grad.numpy() for t in leaves]])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    return found[0]


@pytest.mark.parametrize("kind", ["number", "clip", "tensor"])
def test_another_number_in_the_backward_function_is_another_program(kind):
    U, slopes = tr.tensor(np.random.default_rng(0).standard_normal((H, H)), requires_grad=True), []
    for c in (1.0, 25.0, 0.1):
        constant = tr.tensor(c, "float64")
        backward = {
            "number": lambda v, g, c=c: (g / (1 + c * abs(v)) ** 2,),
            "clip": lambda v, g, c=c: (tr.clip(g, -c, c),),
            "tensor": lambda v, g, constant=constant: (g * constant,),
        }[kind]
        spike = by_hand(lambda v: ((v > 0).astype(v.dtype), v), backward)
        slopes.append(agree(lambda x, h, spike=spike: 0.5 * h + spike(x + h @ U), weights=[U])[1])
    assert not np.allclose(slopes[0], slopes[1]) and not np.allclose(slopes[0], slopes[2])


def test_numbers_that_are_arguments():
    twice = by_hand(lambda a, c: (a * c, c), lambda c, g: (2 * c * g, None))
    for rate in (0.3, 0.9, 2, 3):
        agree(lambda x, h, rate=rate: tr.tanh(twice(h, rate) + x))
    agree(lambda x, h: tr.tanh(twice(h, 0.3) + twice(x, 0.7)))


@pytest.mark.parametrize(
    "backward",
    [
        lambda _, g: (g / len(g),),
        lambda _, g: (2 * g if g.shape[0] > 3 else 3 * g,),
        lambda _, g: (g / sum(1 for _ in g),),  # which no name in the code tells
    ],
    ids=["len", "shape", "counted"],
)
def test_the_size_of_the_batch_in_the_backward_function(backward):
    doubled = by_hand(lambda a: (2 * a, None), backward)
    for batch in (3, 2, 5, 1):
        agree(lambda x, h: tr.tanh(doubled(h) + x), batch)


@pytest.mark.parametrize("batch", [3, 1])
def test_what_is_closed_over_and_given_to_nothing_else(batch):
    draw = np.random.default_rng(1)
    b, U = (tr.tensor(draw.standard_normal(s), requires_grad=True) for s in ((H,), (H, H)))
    scaled = by_hand(lambda a, w: (a * w, (a, w)), lambda s, g: (g * s[1], (g * s[0]).sum(axis=0)))
    product = by_hand(lambda a, w: (a @ w, (a, w)), lambda s, g: (g @ s[1].T, s[0].T @ g))
    agree(lambda x, h: tr.tanh(scaled(h, b) + x), batch, [b])
    agree(lambda x, h: tr.tanh(product(h, U) + x), batch, [U])
    agree(lambda x, h: tr.tanh(product(h, U) + x @ U), batch, [U])


def test_a_gradient_that_fits_one_sequence_alone():
    one = tr.tensor(np.ones((1, H)), requires_grad=True)
    scaled = by_hand(lambda a, w: (a * w, (a, w)), lambda s, g: (g * s[1], g * s[0]))
    agree(lambda x, h: tr.tanh(scaled(h, one) + x), 1, [one])


def test_two_rules_of_one_forward_function():
    def forward(v):
        return (v > 0).astype(v.dtype), v

    first = by_hand(forward, lambda v, g: (g / (1 + abs(v)) ** 2,))
    second = by_hand(forward, lambda v, g: (g * tr.exp(-abs(v)),))
    one = agree(lambda x, h: 0.5 * h + first(x + h))
    assert not np.allclose(one[1], agree(lambda x, h: 0.5 * h + second(x + h))[1])


def test_a_backward_function_that_leaves_a_trace_runs_eagerly_and_leaves_none():
    calls = []

    def backward(_, g):
        calls.append(1)
        return (g * len(calls),)

    counting, found = by_hand(lambda a: (2 * a, None), backward), []
    forget_warnings()
    for compile in (True, False):
        calls.clear()
        x = tr.tensor(np.ones((T, 2, H)), requires_grad=True)
        with interpreted(), warnings.catch_warnings():
            warnings.simplefilter("ignore", CompileWarning)
            tr.scan(lambda x, h: tr.tanh(counting(h) + x), x, tr.zeros((2, H)), compile=compile)[
                0
            ].sum().backward()
        found.append((len(calls), x.grad.numpy()))
    assert found[0][0] == found[1][0]
    np.testing.assert_array_equal(found[0][1], found[1][1])
