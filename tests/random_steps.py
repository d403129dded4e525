"""Random recurrences, compiled against eager: whole cases as recipes, each written out as the source of a
script.

A `Case` is plain data: a list of instructions, sizes, and the form of the call. `source` writes it as Python,
so that a failing case can be read, pasted into a file and run; every recipe is valid (an instruction that
finds nothing it fits is left out). `check` runs it with ``compile=True`` and with ``compile=False`` and
compares outputs, final states and all gradients.

    python tests/random_steps.py --count 20000 --python      # the loops as plain Python, with
    TINYRNN_COMPILE=python python tests/random_steps.py --count 300 --compiled      # really compiled python
    tests/random_steps.py --case "Case(...)"          # one, as a search printed it

The referee of the compiler would hide its faults, so that both run with TINYRNN_REFEREE=0.
"""

import argparse
import itertools
import os
import re
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

import hypothesis
import numpy as np
from hypothesis import strategies as st

LIMIT = (
    6.0  # what is estimated to grow beyond is scaled down: values stay where comparisons are well conditioned
)
TOLERANCE = {"float64": 1e-9, "float32": 2e-3}  # of the largest element of what is compared
NOISE = {"float64": (1e-12, -3e-12, 2e-11), "float32": (1e-6, -3e-6, 1e-5)}


@dataclass(frozen=True)
class Case:
    """One recurrence and one to three calls of it. The default of everything is its simplest form."""

    recipe: tuple = ()  # instructions of the step: (name of one of INSTRUCTIONS, three numbers that choose)
    updates: tuple = ((0, 0, 0),)  # for each state: (number of one of UPDATES, two numbers that choose)
    widths: tuple = (3,)  # of the states
    features: int = 2
    batch: int = 2
    steps: int = 2
    dtype: str = "float64"
    inputs: str = "plain"  # one of INPUTS: "turned" are batch first and transposed, "table" rows of one
    starts: str = "drawn"  # the first states, one of STARTS: "learned" is one row for the whole batch
    tupled: bool = False  # a single state is given as a tuple of one
    mask: bool = False
    resets: bool = False
    reverse: bool = False
    return_states: bool = False
    output_losses: tuple = (0,)  # numbers of OUTPUT_LOSSES
    final_losses: tuple = (1,)  # numbers of FINAL_LOSSES
    frozen: int = 0  # bit i: the i-th tensor that is drawn needs no gradient
    again: tuple = ()  # further calls: pairs (batch, number)
    second_order: bool = False
    gathered: bool = False  # what the step makes and nothing uses is added to the first state


# ------------------------------------------------------------------ what steps are made of
# Templates: {a} {b} {c} are rows [B, n]; the other entry says how large the result may be (None: as large as
# {a}).

UNARY = [
    ("tr.tanh({a})", 1),
    ("0.5 * {a}", None),
    ("tr.sigmoid({a})", 1),
    ("{a} * 0.7 + 0.1", None),
    ("1 - {a}", None),
    ("tr.relu({a})", None),
    ("tr.exp(-tr.square({a}))", 1),
    ("tr.softplus({a})", None),
    ("tr.abs({a})", None),
    ("tr.sign({a} - 0.05) * {a}", None),
    ("-{a}", None),
    ("{a}.clip(-0.7, 0.6)", 0.7),
    ("tr.clip({a}, -0.8, None)", None),
    ("tr.gelu({a})", None),
    ("tr.silu({a})", None),
    ("tr.elu({a})", None),
    ("tr.leaky_relu({a})", None),
    ("tr.sin({a})", 1),
    ("tr.cos({a})", 1),
    ("tr.log1p(tr.abs({a}))", None),
    ("tr.log({a} * {a} + 0.5)", None),
    ("tr.sqrt({a} * {a} + 0.5)", None),
    ("tr.tanh({a}) ** 2", 1),
    ("tr.tanh({a}) ** 3", 1),
    ("tr.sigmoid({a}) ** 0.5", 1),
    ("tr.square(tr.sin({a}))", 1),
    ("1 / ({a} * {a} + 1.5)", 1),
    ("tr.reciprocal(tr.sigmoid({a}) + 1)", 1),
    ("2 * {a} / 3", None),
    ("{a} - 2", None),
    ("tr.where({a} > 0.1, {a}, 0.5 * {a})", None),
    ("tr.expm1(tr.minimum({a}, 0.7))", 2),
    ("tr.erf({a})", 1),
]
BINARY = [
    ("{a} + {b}", lambda a, b: a + b),
    ("{a} * {b}", lambda a, b: a * b),
    ("{a} - {b}", lambda a, b: a + b),
    ("tr.sigmoid({a}) * {b}", lambda a, b: b),
    ("{a} / ({b} * {b} + 1.5)", lambda a, b: a),
    ("tr.maximum({a}, {b})", max),
    ("tr.minimum({a}, 0.9 * {b})", max),
    ("tr.where({a} > {b}, {a} * {b}, {b})", lambda a, b: a * b),
    ("tr.where({b} < 0.05, {a}, 0.3)", max),
    ("tr.logaddexp({a}, {b})", lambda a, b: max(a, b) + 0.7),
    ("0.9 * {a} + 0.1 * {b}", max),
]
BOOLS = [
    "({a} > 0) * {b}",
    "(({a} > 0) + ({b} > 0)) * 0.5",
    "({a} > 0.1).astype(dtype) * {b}",
    "(({a} > {b}) + ({c} > 0.2)) * {c}",
    "~({a} > {b}) * {c}",
    "tr.where(~({a} > 0.1), {b}, 0.5 * {c})",
    "tr.where(({a} > 0) & ({b} < 0.5), {b}, 0.3)",
    "tr.where(tr.logical_or({a} > 0.4, {b} > 0.1), {a}, {b})",
    "tr.logical_xor({a} > 0, {b} > 0) * {c}",
    "(({a} > 0) * ({b} > 0) + 1) * {c}",
    "({a} != 0) * {b}",
    "(({a} > 0) == ({b} > 0)) * {c}",
    "({a} > -0.2) * 2 * {b}",
    "({a} > 0).sum(axis=1, keepdims=True) * 0.2 * {b}",
    "({a} > 0).mean(axis=-1, keepdims=True) * {b}",
    "tr.where({a} > 0, 1, 2) * {b}",
    "tr.maximum({a} > 0, {b} > 0) * {c}",
]
CASTS = [
    '{a}.astype("float32").astype(dtype)',
    '(3 * {a}).astype("int64") * {b}',
    "{a}.astype(bool) * {b}",
    '{a}.astype("float64").astype(dtype)',
    '({a} > 0).astype("int64") * {b}',
    '(3 * {a}).astype("int64").astype(dtype) * 0.1 + {b}',
    '({a} * 0.5).astype("float16").astype(dtype)',
]
REDUCTIONS = [
    ("{a}.sum(axis=1, keepdims=True)", lambda a, n: a * n),
    ("{a}.mean(axis=-1, keepdims=True)", lambda a, n: a),
    ("tr.max({a}, axis=1, keepdims=True)", lambda a, n: a),
    ("tr.min({a}, axis=-1, keepdims=True)", lambda a, n: a),
    ("tr.var({a}, axis=-1, keepdims=True)", lambda a, n: a * a),
    ("tr.logsumexp({a}, axis=1, keepdims=True)", lambda a, n: a + 2),
    ("tr.std({a} + x[:, :1], axis=-1, keepdims=True)", lambda a, n: a + 1),
]
NORMALISERS = [
    ("tr.softmax({a})", 1),
    ("tr.softmax({a}, axis=1) * {a}", None),
    ("tr.log_softmax({a})", 5),
    ("{a} - tr.mean({a}, axis=-1, keepdims=True)", None),
    ("tr.layer_norm({a}, {n}, {g}, {r})", 2),
    ("({a} - {a}.mean(axis=1, keepdims=True)) / tr.sqrt(tr.var({a}, axis=1, keepdims=True) + 0.1) * {g}", 2),
    ("{a} / ({a}.max(axis=1, keepdims=True) + 8)", 1),
    ("tr.layer_norm({a}, {n})", 2),
]
FLAT = [  # 1-D values [B]
    ("{a}.sum(axis=1)", lambda a, n: a * n),
    ("{a}[:, -1]", lambda a, n: a),
    ("{a}.mean(axis=-1)", lambda a, n: a),
    ("{a}[..., 0]", lambda a, n: a),
    ("{a}[:, 0:1].squeeze(1)", lambda a, n: a),
    ("tr.max({a}, axis=1)", lambda a, n: a),
    ("tr.min({a}, axis=-1)", lambda a, n: a),
    ("tr.logsumexp({a}, axis=-1)", lambda a, n: a + 2),
    ("{a}[:, 0] * {a}[:, -1]", lambda a, n: a * a),
    ("tr.var({a}, axis=1)", lambda a, n: a * a),
    ("tr.reshape({a}[:, :1], (-1,))", lambda a, n: a),
    ("({a} * {a}).sum(axis=-1)", lambda a, n: a * a * n),
]
FLAT_OPS = [
    "tr.tanh({u})",
    "{u} * {w}",
    "{u} + 0.5 * {w}",
    "tr.exp(-tr.square({u}))",
    "{u} * s0",
    "{u} * e0",
    "{u} - e0 * {w}",
    "tr.where({u} > {w}, {u}, 0.5)",
    "{u}.detach() * {w}",
]
COLUMNS = [  # from [B] to [B, 1]
    "{u}[:, None]",
    "{u}.reshape(-1, 1)",
    "tr.expand_dims({u}, axis=1)",
    "tr.expand_dims({u}, axis=-1)",
    "tr.reshape({u}, (x.shape[0], 1))",
    "{u}[:, np.newaxis]",
    "{u}[..., None]",
]
CUTS = [  # columns of rows; {n} is the width, of at least 2
    ("{a}[:, 1:]", lambda n: n - 1),
    ("{a}[:, :1]", lambda n: 1),
    ("{a}[:, : {n} - 1]", lambda n: n - 1),
    ("{a}[..., -1:]", lambda n: 1),
    ("{a}[:, 0:1]", lambda n: 1),
    ("{a}[:, :-1] * {a}[:, 1:]", lambda n: n - 1),
    ("{a}[:, 1:2] + {a}[:, 0:1]", lambda n: 1),
    ("{a}[:, -2:]", lambda n: 2),
    ("{a}[:, ::-1]", lambda n: n),
    ("{a}[:, ::2]", lambda n: -(-n // 2)),
    ("{a}[:, None, :].squeeze(1)", lambda n: n),
]
# Features of two axes, of rows {a} [B, n] and {b} [B, m], and back: the width is that of {a}, of {b}, or of
# both.
OUTER = "({a}[:, :, None] * {b}[:, None, :])"
SPACES = [
    (f"{OUTER}.sum(axis=2)", "a"),
    (f"tr.tanh({OUTER}).sum(axis=1)", "b"),
    ("tr.einsum('bi,bj->bij', {a}, {b}).max(axis=1)", "b"),
    (f"tr.min(tr.tanh({OUTER}), axis=-1)", "a"),
    ("tr.softmax({a}[:, :, None] + {b}[:, None, :], axis=1).mean(axis=2)", "a"),
    ("tr.logsumexp({a}[:, :, None] - {b}[:, None, :], axis=2)", "a"),
    (f"tr.permute_dims(tr.sin({OUTER}), (0, 2, 1)).reshape(-1, {{n}} * {{m}})", "both"),
    (f"tr.reshape({OUTER}, (-1, {{m}}, {{n}})).sum(axis=1)", "a"),
    (f"{OUTER}[:, ::-1, -1]", "a"),
    (f"{OUTER}[..., 0, ::-1]", "b"),
    (f"tr.roll({OUTER}, 1, axis=1).sum(axis=1)", "b"),
    (f"tr.roll(tr.tanh({OUTER}), -1, axis=2)[:, 0]", "b"),
    ("({a}[:, :, None] @ tr.tanh({b})[:, None, :] @ {b}[:, :, None])[:, :, 0]", "a"),
    (f"tr.einsum('bi,bij->bj', tr.sigmoid({{a}}), {OUTER})", "b"),
    (f"tr.einsum('bij,bj,bi->bi', {OUTER}, {{b}}, {{a}})", "a"),
    ("tr.flip(tr.stack([{a}, tr.tanh({a})], axis=2), axis=1).reshape(-1, 2 * {n})[:, ::2]", "a"),
    ("tr.stack([{a}, {a} * 0.5, tr.cos({a})], axis=1)[:, ::2].sum(axis=1)", "a"),
    (f"tr.concat([{OUTER}, {{a}}[:, :, None]], axis=2).sum(axis=2)", "a"),
    (f"tr.split({OUTER}, [1], axis=1)[0].reshape(-1, {{m}})", "b"),
    ("tr.pad({a}[:, 1:], ((0, 0), (0, 1))) if {n} > 1 else {a}", "a"),
    (f"tr.swapaxes(tr.exp(-tr.square({OUTER})), 1, 2).mean(axis=-1)", "b"),
    (f"tr.where({OUTER} > 0.1, {{a}}[:, :, None], {{b}}[:, None, :]).sum(axis=1)", "b"),
    (f"({OUTER} * {{weight}}).sum(axis=2)", "a"),
    (f"({OUTER} @ {{square}}).sum(axis=1)", "b"),
    ("(tr.tanh({b}[:, None, :] * {memory}) * {memory}).sum(axis=1)", "b"),
    ("tr.einsum('bsi,bs->bi', {memory}, tr.softmax(tr.einsum('bi,bsi->bs', {b}, {memory})))", "b"),
    ("tr.cumsum({a}, axis=-1)", "a"),
    (f"tr.cumsum({OUTER}, axis=1).max(axis=2)", "a"),
    ("tr.cumprod(1 + 0.1 * tr.sin({a}.detach()), axis=1)", "a"),
    ("tr.prod(tr.cos({a}), axis=1, keepdims=True) * {a}", "a"),
    (f"tr.prod(tr.cos({OUTER}), axis=1)", "b"),
    ("{a} * tr.take_along_axis({b}, tr.argmax({b}, axis=1, keepdims=True), axis=1)", "a"),
    (f"{OUTER}[np.arange(x.shape[0]), tr.argmin({{a}}, axis=1)]", "b"),
    (f"tr.take_along_axis({OUTER}, tr.argmax({OUTER}, axis=1, keepdims=True), axis=1)[:, 0]", "b"),
    ("{square}[tr.argmax({b}, axis=1)] + {b}", "b"),
    ("tr.where(tr.any({a} > 0.2, axis=1, keepdims=True), {b}, tr.cos({b}))", "b"),
    ("{a} * tr.count_nonzero({b} > 0, axis=1, keepdims=True).astype(dtype) * 0.1", "a"),
    ("tr.tile({a}, (1, 3))[:, {n} : 2 * {n}]", "a"),
    ("tr.repeat({a}, 2, axis=1)[:, :{n}]", "a"),
    ("tr.stack([{a}, tr.tanh({a}), 2 * {a}])[1:].max(axis=0)", "a"),
    (f"tr.permute_dims({OUTER}, (1, 0, 2)).sum(axis=0)", "b"),
    ("tr.einsum('kbi,ij->bj', tr.stack([{b}, tr.sin({b})]), {square})", "b"),
    ("(tr.stack([{b}, tr.sin({b})]) @ {square})[1]", "b"),
    ("({b}.T * tr.cos({b}).T + {weight}[:1].T).T", "b"),
    (
        "tr.scan(lambda z, h: tr.tanh(z + h), tr.stack([{b}, tr.sin({b}), 0.5 * {b}]), {b})[0].mean(axis=0)",
        "b",
    ),
    (
        "tr.scan(lambda z, h: h * tr.cos(z @ {square}), tr.broadcast_to({b}, (3, x.shape[0], {m})), {b})[1]",
        "b",
    ),
    ("tr.norm(1 + {a} * {a}, axis=1, keepdims=True) * {b}", "b"),
]
JOINS = [
    ("tr.concat([{a}, {b}], axis=-1)", lambda a, b, f: a + b),
    ("tr.concat([x, {a}], axis=-1)[:, {f}:]", lambda a, b, f: a),
    ("tr.concat([{a}, {b}], axis=1)[:, {n}:]", lambda a, b, f: b),
    ("tr.concat([{b}, x, {a}], axis=-1)", lambda a, b, f: a + b + f),
    ("tr.concat([{a}, {a}[:, :1], {b}], axis=-1)", lambda a, b, f: a + 1 + b),
    ("tr.concat([{a}, d0], axis=-1)", lambda a, b, f: a + 1),
    ("tr.concat([{a}, {k0}, {b}], axis=1)", lambda a, b, f: a + a + b),
    ("tr.stack([{a}[:, 0], {b}[:, -1]], axis=1)", lambda a, b, f: 2),
]
CLOSURES = [  # {g} {r}: rows [n]; {o}: [1, n]; s0: []; {k0} {k1}: [B, n]; d0 d1: [B, 1]
    "{a} * {g}",
    "{a} + {g}",
    "{a} * {g} + {r}",
    "{a} + {o}",
    "{a} * {o}",
    "{a} * s0",
    "{a} + {k0}",
    "{a} + {k0} + {k1}",
    "{a} * {k0} + {k1}",
    "{a} * d0",
    "{a} + d0 + d1",
    "{a} + {k0} * {g}",
    "{a} + {k0}.detach() * {g}",
    "{a} * tr.sigmoid({g})",
    "{a} + tr.tanh({k0})",
    "({a} + {k0} + {k1}) * {g} + d0",
    "{a} + {outside}",
    "tr.exp(-tr.exp({g})) * {a}",
    "{a} - {g}.detach()",
    "{a} * tr.mean({g}) + tr.sum({o} * {o}) * 0.1",
]
CONSTANTS = [
    "{a} + tr.ones((B, {n}), dtype=dtype)",
    "{a} + tr.zeros_like({a})",
    "{a} * tr.full_like({a}, 0.3)",
    "{a} + np.linspace(-0.5, 0.5, {n}).astype(dtype)",
    "{a} * np.linspace(-1, 1, B * {n}).reshape(B, {n}).astype(dtype)",
    "{a} + tr.ones((1, {n}), dtype=dtype)",
    "{a} / x.shape[0]",
    "({a} if x.shape[0] > 5 else 0.5 * {a})",
    "{a} * number",
    "{a} / (1 + number)",
    "number * {a} + (1 - number)",
    "{a} * (0.1 * len(x))",
    "{a} + 0.1 * {a}.shape[0]",
    "{a} * tr.tensor(number, dtype)",
    "tr.where({a} > number, {a}, number * {a})",
]
UNTAPED = [  # what the tape does not record: lines that make {q} [B, n]
    ["with tr.no_grad():", "    {q} = tr.tanh({a})"],
    ["{q} = tr.tensor(np.tanh({a}.data))"],
    ["{q} = tr.tensor({a}.detach())"],
    ["{q} = {a}.detach().numpy() * {a}"],
    ["{q} = {a} + 0.1 * tr.randn({a}.shape, generator=noisy, dtype=dtype)"],
    ["{q} = {a} * float(number > 0.3) * (float({a}.detach().data.sum()) > 0)"],
]
# [k, n] matrices, of parameters: {w} [k, n], {v} [k, n], {t} [n, k], {m} [k, n + 2], {l} [k + 2, n], ...
MATRICES = [
    "{w}",
    "{w}",
    "{t}.T",
    "tr.tanh({w})",
    "({w} * {keep})",
    "{m}[:, 1 : {n} + 1]",
    "{l}[1:-1]",
    "({low} @ {rank})",
    "({w} / tr.sqrt((({w} * {w}).sum(axis=0, keepdims=True)) + 0.1))",
    "({w} / tr.sqrt((({w} * {w}).sum(axis=1, keepdims=True)) + 0.1))",
    "tr.softmax({w}, axis=-1)",
    "{w}.detach()",
    "{beside}",
    "tr.concat([{v}, {w}], axis=1)[:, {n} :]",
    "{still}",
    "tr.matrix_transpose({t})",
    "({w} * {g})",
    "tr.split({two}, 2, axis=-1)[1]",
    "tr.tanh({t}.T)",
    "{turned}",
    "({w} + {v})",
    "tr.where({w} > 0, {w}, 0.1 * {v})",
]
UPDATES = [  # of a state {s} [B, n], by {p}, a product of width n; {a} is a value of width n
    "tr.tanh({p} + 0.5 * {s})",
    "0.9 * {s} + {p}",
    "0.5 * {s} + 0.5 * {a}",
    "{s}",
    "{other}",
    "{input}",
    "{before}",
    "tr.zeros_like({s})",
    "{k0}",
    "tr.sigmoid({p}) * {s} + (1 - tr.sigmoid({p})) * {a}",
    "{a}",
    "0.5 * {p}",
    "{k0} + {s} * {g}",
    "tr.tanh({a}) * {s}.detach() + {p}",
]
OUTPUT_LOSSES = [
    "({o} * {weights}).sum()",
    "",
    "({o}[-1] * {last}).sum()",
    "({o} * {o}).sum()",
    "({o}[:, :, ::-1] * {weights}).sum()",
    "(tr.permute_dims({o}, (2, 1, 0)) * {turned}).sum()",
    "{o}.mean()",
    "{o}[:, 0].sum()",
]
FINAL_LOSSES = [
    "({o} * {weights}).sum()",
    "",
    "({o}.T * {turned}).sum()",
    "({o}.mean(axis=0) * {last}).sum()",
    "({o}[:, ::-1] * {weights}).sum()",
    "({o} * {o}).sum()",
    "{o}.sum()",
    "({o}.T @ {o}).sum()",
    "(tr.concat([{o}, {o}], axis=1) * tr.concat([{o}, 1 - {o}], axis=1)).sum()",
]


class Rows(NamedTuple):
    """A value of the step: its name, its width, and how large its elements may be."""

    name: str
    width: int
    bound: float


class Writer:
    """Writes the step of a case, and what it closes over."""

    def __init__(self, case):
        self.case, self.single = case, all(batch == case.batch for batch, _ in case.again)
        self.lines, self.before = [], []
        self.drawn = {}  # what was asked for -> name
        self.count = itertools.count()
        self.frozen = case.frozen
        self.flat = []  # 1-D values
        self.used = set()  # names of values that something is made of
        self.matrices = {}  # (rows, columns) -> the last matrix of a product

    # -- what a step closes over

    def needs_gradient(self):
        """Whether the next tensor that is drawn does."""
        bit, self.frozen = self.frozen & 1, self.frozen >> 1
        return not bit

    def draw(self, letter, *shape, grad=None):
        """The name of a drawn tensor, the same for the same letter and shape."""
        key = letter, shape
        if key not in self.drawn:
            name = letter if letter in ("s0", "d0", "d1", "e0") else f"{letter}{len(self.drawn)}"
            grad = self.needs_gradient() if grad is None else grad
            sizes = "".join(f", {n}" for n in shape)
            self.drawn[key] = name
            self.before.append(f'{name} = draw("{name}"{sizes}{"" if grad else ", grad=False"})')
        return self.drawn[key]

    def outside(self, width):
        """A row [width] that is computed from a parameter, before the step."""
        key = "outside", width
        if key not in self.drawn:
            row = self.draw("g", width)
            self.drawn[key] = f"outside{len(self.drawn)}"
            self.before.append(f"{self.drawn[key]} = 0.5 * tr.tanh({row})")
        return self.drawn[key]

    def fill(self, template, **known):
        """``template`` with its operands; what it closes over is drawn for the width ``n``."""
        n = known.get("n", 1)
        made = {
            "g": lambda: self.draw("g", n),
            "r": lambda: self.draw("r", n),
            "o": lambda: self.draw("o", 1, n),
            "k0": lambda: self.draw("c", "B", n),
            "k1": lambda: self.draw("k", "B", n),
            "outside": lambda: self.outside(n),
        }
        for name in re.findall(r"\{(\w+)\}", template):
            if name not in known:
                known[name] = made[name]()
        for name, shape in (("s0", ()), ("d0", ("B", 1)), ("d1", ("B", 1)), ("e0", ("B",))):
            if re.search(rf"\b{name}\b", template):
                self.draw(name, *shape)
        if re.search(r"\bnoisy\b", template):
            line = "noisy = tr.Generator(3)"
            self.before += [] if line in self.before else [line]
        return template.format(**known)

    def matrix(self, rows, columns, form):
        """The text of a matrix [rows, columns]."""
        if form % len(MATRICES) == 1 and (rows, columns) in self.matrices:
            return self.matrices[rows, columns]
        template = MATRICES[form % len(MATRICES)]
        known = {"n": columns}
        made = {
            "w": lambda: self.draw("W", rows, columns),
            "v": lambda: self.draw("V", rows, columns),
            "t": lambda: self.draw("W", columns, rows),
            "m": lambda: self.draw("M", rows, columns + 2),
            "l": lambda: self.draw("L", rows + 2, columns),
            "low": lambda: self.draw("A", rows, 2),
            "rank": lambda: self.draw("A", 2, columns),
            "two": lambda: self.draw("D", rows, 2 * columns),
            "still": lambda: self.draw("N", rows, columns, grad=False),
            "keep": lambda: f"(np.arange({rows * columns}).reshape({rows}, {columns}) % 3 > 0)",
            "beside": lambda: self.beside(rows, columns),
            "turned": lambda: self.beside(rows, columns, turned=True),
        }
        for name in re.findall(r"\{(\w+)\}", template):
            if name in made and name not in known:
                known[name] = made[name]()
        text = self.fill(template, **known)
        self.matrices[rows, columns] = text
        return text

    def beside(self, rows, columns, turned=False):
        """A matrix that is computed from a parameter, before the step."""
        key = "beside", rows, columns, turned
        if key not in self.drawn:
            text = (
                f"{self.draw('W', columns, rows)}.T"
                if turned
                else f"tr.tanh({self.draw('W', rows, columns)}) / 2"
            )
            self.drawn[key] = f"beside{len(self.drawn)}"
            self.before.append(f"{self.drawn[key]} = {text}")
        return self.drawn[key]

    # -- values of the step

    def let(self, text, width, bound):
        """Give ``text`` a name; what may be large is scaled down. It becomes the newest value."""
        if bound > LIMIT:
            scale = float(f"{LIMIT / 3 / bound:.2g}")
            text, bound = f"{scale} * ({text})", LIMIT / 3
        value = Rows(f"v{next(self.count)}", width, bound)
        self.lines.append(f"{value.name} = {text}")
        self.pool.append(value)
        return value

    def pick(self, i, widths=None, least=1):
        """A value of one of the given widths, None if there is none. An even ``i`` prefers what has no use
        yet.
        """
        fit = [v for v in reversed(self.pool) if v.width >= least and (widths is None or v.width in widths)]
        if i % 2 == 0:
            i, fit = i // 2, [v for v in fit if v.name not in self.used] or fit
        if not fit:
            return None
        self.used.add(fit[i % len(fit)].name)
        return fit[i % len(fit)]

    def instruction(self, name, i, j, k):
        getattr(self, f"_{name}")(i, j, k)

    def _unary(self, i, j, k):
        a = self.pick(i)
        template, bound = UNARY[j % len(UNARY)]
        text = self.fill(template, a=a.name, n=a.width)
        self.let(text, a.width, (a.bound + 2 if bound is None else bound))

    def _binary(self, i, j, k):
        a = self.pick(i)
        b = self.pick(k, (a.width, 1))
        template, bound = BINARY[j % len(BINARY)]
        if b is not None:
            self.let(template.format(a=a.name, b=b.name), a.width, bound(a.bound, b.bound))

    def _reversed_binary(self, i, j, k):
        """A column first, and what is wide second."""
        a = self.pick(i)
        b = self.pick(k, (a.width, 1))
        template, bound = BINARY[j % len(BINARY)]
        self.let(template.format(a=b.name, b=a.name), a.width, bound(b.bound, a.bound))

    def cast(self, text):
        """In single precision a bool times a Python float is not: it is brought back."""
        return text if self.case.dtype == "float64" else f"({text}).astype(dtype)"

    def _bools(self, i, j, k):
        a = self.pick(i)
        b, c = self.pick(k, (a.width,)), self.pick(i + k, (a.width,))
        text = BOOLS[j % len(BOOLS)].format(a=a.name, b=b.name, c=c.name)
        self.let(self.cast(text), a.width, 2 * max(a.bound, b.bound, c.bound))

    def _casts(self, i, j, k):
        a = self.pick(i)
        b = self.pick(k, (a.width,))
        text = CASTS[j % len(CASTS)].format(a=a.name, b=b.name)
        self.let(self.cast(text), a.width, 3 * a.bound * b.bound + b.bound)

    def _product(self, i, j, k):
        a = self.pick(i)
        n = (*self.case.widths, self.case.features, 1 + k % 6)[k % (2 + len(self.case.widths))]
        self.let(f"{a.name} @ {self.matrix(a.width, n, j)}", n, a.bound * a.width**0.5)

    def _product_of_input(self, i, j, k):
        n = self.case.widths[k % len(self.case.widths)]
        x = ("x", "x.detach()", "x", "x[:, :1]", "tr.tanh(x)")[i % 5]
        width = 1 if i % 5 == 3 else self.case.features
        self.let(f"{x} @ {self.matrix(width, n, j)}", n, width**0.5)

    def _space(self, i, j, k):
        """Features of two axes."""
        a, b = self.pick(i), self.pick(k)
        template, width = SPACES[j % len(SPACES)]
        n, m = a.width, b.width
        made = {
            "weight": lambda: self.draw("w", n, m),
            "square": lambda: self.draw("Q", m, m),
            "memory": lambda: self.draw("memory", "B", 3, m),
        }
        known = {name: make() for name, make in made.items() if f"{{{name}}}" in template}
        text = template.format(a=a.name, b=b.name, n=n, m=m, **known)
        bound = (max(a.bound, 1) * max(b.bound, 1)) ** 2 * max(n, m) * 2
        self.let(text, {"a": n, "b": m, "both": n * m}[width], bound)

    def _two_products(self, i, j, k):
        """Two matrices, one left side."""
        a, n = self.pick(i), self.case.widths[k % len(self.case.widths)]
        left, right = self.matrix(a.width, n, j), self.draw("V", a.width, n)
        self.let(f"tr.tanh({a.name} @ {left}) * ({a.name} @ {right})", n, a.bound * a.width**0.5)

    def _product_of_parts(self, i, j, k):
        a = self.pick(i, least=2)
        b = self.pick(k)
        n = self.case.widths[j % len(self.case.widths)]
        if a is None:
            return
        if k % 2:
            text, width = f"tr.concat([{b.name}, {a.name}], axis=-1)", a.width + b.width
        else:
            text, width = f"{a.name}[:, {k // 2 % 2} : {a.width - 1 + k // 2 % 2}]", a.width - 1
        self.let(f"{text} @ {self.matrix(width, n, j)}", n, max(a.bound, b.bound) * width**0.5)

    def _linear(self, i, j, k):
        a, n = self.pick(i), self.case.widths[k % len(self.case.widths)]
        self.let(
            f"tr.linear({a.name}, {self.matrix(a.width, n, j)}, {self.draw('g', n)})",
            n,
            a.bound * a.width**0.5 + 1,
        )

    def _reduce(self, i, j, k):
        a = self.pick(i)
        template, bound = REDUCTIONS[j % len(REDUCTIONS)]
        self.let(template.format(a=a.name), 1, bound(a.bound, a.width))

    def _normalise(self, i, j, k):
        a = self.pick(i, least=2)
        if a is not None:
            template, bound = NORMALISERS[j % len(NORMALISERS)]
            self.let(
                self.fill(template, a=a.name, n=a.width), a.width, 2 * a.bound if bound is None else bound
            )

    def flatten(self, i, j):
        a = self.pick(i)
        template, bound = FLAT[j % len(FLAT)]
        return Rows(template.format(a=a.name), 0, bound(a.bound, a.width))

    def let_flat(self, text, bound):
        if bound > LIMIT:
            text, bound = f"{LIMIT / 3 / bound:.2g} * ({text})", LIMIT / 3
        value = Rows(f"u{next(self.count)}", 0, bound)
        self.lines.append(f"{value.name} = {text}")
        self.flat.append(value)

    def _flat(self, i, j, k):
        u = self.flatten(i, j)
        self.let_flat(u.name, u.bound)

    def _flat_op(self, i, j, k):
        if not self.flat:
            self._flat(i, j, k)
        u, w = self.flat[-1 - i % len(self.flat)], self.flat[-1 - k % len(self.flat)]
        self.let_flat(
            self.fill(FLAT_OPS[j % len(FLAT_OPS)], u=u.name, w=w.name), u.bound * w.bound + u.bound + 1
        )

    def _column(self, i, j, k):
        if not self.flat:
            self._flat(k, i, j)
        u = self.flat[-1 - i % len(self.flat)]
        self.let(COLUMNS[j % len(COLUMNS)].format(u=u.name), 1, u.bound)

    def _less_a_column(self, i, j, k):
        """As in ``h - h.sum(axis=1)[:, None]``: a column made and used in one expression."""
        a, u = self.pick(i), self.flatten(i + j // 3, j)
        column = COLUMNS[k % len(COLUMNS)].format(u=f"({u.name})" if " " in u.name else u.name)
        sign = "+-*"[k % 3]
        self.let(f"{a.name} {sign} 0.3 * {column}", a.width, a.bound * u.bound + a.bound)

    def _collision(self, i, j, k):
        """A 1-D value [B] with what is as wide as the batch is high: NumPy lays it along the columns."""
        a = self.pick(i, (self.case.batch,))
        u = self.flatten(k, j)
        if a is None or not self.single:
            return
        if k % 2:
            self.let_flat(f"{u.name} * {self.draw('g', a.width)}", u.bound)
        else:
            self.let(f"{a.name} + 0.2 * {u.name}", a.width, a.bound + u.bound)

    def _detach(self, i, j, k):
        a = self.pick(i)
        text = (
            "{a}.detach()",
            "{a}.detach() * {a}",
            "{a} + tr.tanh({a}).detach()",
            "({a} - {a}.detach()) + 0.5 * {a}",
        )
        self.let(text[j % len(text)].format(a=a.name), a.width, a.bound + a.bound)

    def _cut(self, i, j, k):
        a = self.pick(i, least=2)
        if a is not None:
            template, width = CUTS[j % len(CUTS)]
            self.let(template.format(a=a.name, n=a.width), width(a.width), a.bound * max(a.bound, 2))

    def _range(self, i, j, k):
        a = self.pick(i, least=2)
        if a is not None:
            first = j % a.width
            last = first + 1 + k % (a.width - first)
            self.let(f"{a.name}[:, {first}:{last}]", last - first, a.bound)

    def _split(self, i, j, k):
        a = self.pick(i, least=2)
        if a is None:
            return
        parts = next(n for n in (2, 3, 5, a.width) if a.width % n == 0)
        cuts = str(parts) if j % 2 else str([1])
        widths = [a.width // parts] * parts if j % 2 else [1, a.width - 1]
        names = [f"v{next(self.count)}" for _ in widths]
        self.lines.append(f"{', '.join(names)} = tr.split({a.name}, {cuts}, axis=-1)")
        values = [Rows(name, n, a.bound) for name, n in zip(names, widths, strict=True)]
        self.pool += values if k % 2 else values[::-1]

    def _join(self, i, j, k):
        a, b = self.pick(i), self.pick(k)
        template, width = JOINS[j % len(JOINS)]
        f = self.case.features
        if width(a.width, b.width, f) <= 20:
            text = self.fill(template, a=a.name, b=b.name, n=a.width, f=f)
            self.let(text, width(a.width, b.width, f), max(a.bound, b.bound))

    def _closure(self, i, j, k):
        a = self.pick(i)
        self.let(self.fill(CLOSURES[j % len(CLOSURES)], a=a.name, n=a.width), a.width, a.bound + 2)

    def _constant(self, i, j, k):
        a = self.pick(i)
        self.let(self.fill(CONSTANTS[j % len(CONSTANTS)], a=a.name, n=a.width), a.width, a.bound + 1)

    def _anchor(self, i, j, k):
        """A first state, closed over."""
        letter, n = [*zip("hcm", self.case.widths, strict=False)][j % len(self.case.widths)]
        a = self.pick(i, (n,))
        self.let(f"{a.name} {'+*'[k % 2]} 0.5 * {letter}_first", n, a.bound + 1)

    def _untaped(self, i, j, k):
        a = self.pick(i)
        value = Rows(f"v{next(self.count)}", a.width, 2 * a.bound)
        lines = UNTAPED[j % len(UNTAPED)]
        self.lines += [self.fill(line, a=a.name, q=value.name) for line in lines]
        self.pool.append(value)

    # -- the whole

    def update(self, number, form, i, j):
        """The name of the new state ``number``."""
        old, n = self.states[number], self.case.widths[number]
        template = UPDATES[form % len(UPDATES)]
        a = self.pick(i)
        known = {"s": old.name, "n": n}
        if "{p}" in template:
            known["p"] = f"{a.name} @ {self.matrix(a.width, n, j)}"
        if "{a}" in template:
            same = self.pick(i, (n,))
            known["a"] = same.name
        alike = [s for s in self.states if s.width == n]
        known["other"] = alike[j % len(alike)].name
        inputs = self.case.features
        known["input"] = "x" if inputs == n else f"x[:, :{n}]" if inputs > n else old.name
        same = [name for name, width in zip(self.new, self.case.widths, strict=False) if width == n]
        known["before"] = same[-1] if same else old.name
        text = self.fill(template, **known)
        if re.fullmatch(r"\w+", text):
            return text
        name = f"new_{old.name}"
        self.lines.append(f"{name} = {text}")
        return name

    def gather(self):
        """Add what has no use to the first state: nothing that the recipe says is without a consequence."""
        n, terms = self.case.widths[0], []
        for v in [v for v in (*self.pool, *self.flat) if v.name not in {*self.used, *self.new, "x", "z"}]:
            if v.name not in [s.name for s in self.states]:
                terms.append(
                    f"0.2 * {v.name}{'[:, None]' if not v.width else '' if v.width in (1, n) else '[:, -1:]'}"
                )
        if terms:
            self.lines.append(f"gathered = {' + '.join([self.new[0], *terms])}")
            self.new[0] = "gathered"

    def step(self, name):
        """The lines of the step, and before them those of what it closes over."""
        case = self.case
        self.states = [Rows(letter, n, 1.5) for letter, n in zip("hcm", case.widths, strict=False)]
        names = ", ".join(s.name for s in self.states)
        self.pool = [*reversed(self.states)]
        if case.inputs in ("two", "table and plain"):
            self.lines.append("x, z = xz")
            self.pool.insert(0, Rows("z", case.widths[0], 1))
            head = f"def {name}(xz, {names}):"
        else:
            head = f"def {name}(x, {names}):"
        self.pool.insert(0, Rows("x", case.features, 1))
        for instruction in case.recipe:
            self.instruction(*instruction)
        self.new = []
        for k, (form, i, j) in enumerate(case.updates[: len(case.widths)]):
            self.new.append(self.update(k, form, i, j))
        if case.gathered:
            self.gather()
        self.lines.append(f"return {', '.join(self.new)}")
        return [*self.before, "", head, *[f"    {line}" for line in self.lines]]


def source(case, name="step") -> str:
    """The case as a script: a function ``run``, and under ``__main__`` its calls compiled and eager."""
    writer = Writer(case)
    two, single = case.inputs in ("two", "table and plain"), len(case.widths) == 1 and not case.tupled
    before = []

    def draw(name, *shape):
        grad = "" if writer.needs_gradient() else ", grad=False"
        return f'draw("{name}"{"".join(f", {n}" for n in shape)}{grad})'

    if "table" in case.inputs:
        rows = 40 if case.inputs == "large table" else 3
        before += [
            f"table = {draw('table', rows, case.features)}",
            f"xs = tr.embedding(integers({rows}, T, B), table)",
        ]
    elif case.inputs == "turned":
        before.append(f"xs = tr.permute_dims({draw('xs', 'B', 'T', case.features)}, (1, 0, 2))")
    else:
        before.append(f"xs = {draw('xs', 'T', 'B', case.features)}")
    if two:
        before.append(f"zs = {draw('zs', 'T', 'B', case.widths[0])}")
    for letter, n in zip("hcm", case.widths, strict=False):
        if case.starts == "learned":
            first = f"tr.broadcast_to({draw(letter, 1, n)}, (B, {n}))"
        elif case.starts == "zeros":
            first = f"tr.zeros((B, {n}), dtype=dtype)"
        elif case.starts == "turned":
            first = f"{draw(letter, n, 'B')}.T"
        else:
            first = draw(letter, "B", n)
        before.append(f"{letter}_first = {first}")
    states = [f"{letter}_first" for letter in "hcm"[: len(case.widths)]]
    before.append(f"init = {states[0] if single else '(' + ', '.join(states) + ',)'}")
    step = writer.step(name)
    options = ["mask=integers(3, T, B) > 0"] * case.mask + ["resets=integers(4, T, B) == 0"] * case.resets
    options += ["reverse=True"] * case.reverse + ["return_states=True"] * case.return_states
    call = ", ".join([name, "(xs, zs)" if two else "xs", "init", *options, "compile=compile"])
    after = [f"ys, final = tr.scan({call})"]
    columns = [f"ys[{k}]" for k in range(len(case.widths))] if case.return_states else ["ys"]
    finals = ["final"] if single else [f"final[{k}]" for k in range(len(case.widths))]
    losses = []
    for outs, forms, templates in (
        (columns, case.output_losses, OUTPUT_LOSSES),
        (finals, case.final_losses, FINAL_LOSSES),
    ):
        for k, o in enumerate(outs):
            losses.append((templates[forms[k % len(forms)] % len(templates)], o))
    terms = []
    for template, o in (
        losses if any(template for template, _ in losses) else [(OUTPUT_LOSSES[0], columns[0])]
    ):
        n = len(terms)
        sizes = {
            "weights": f"fixed({n}, *{o}.shape)",
            "turned": f"fixed({n}, *{o}.shape[::-1])",
            "last": f"fixed({n}, *{o}.shape[1:])",
        }
        terms += [template.format(o=o, **sizes)] if template else []
    after.append(f"loss = {' + '.join(terms)}")
    body = [*before, *step, "", *after, f"return results([{', '.join([*columns, *finals])}], loss, leaves)"]
    calls = [(case.batch, 0.5), *case.again]
    return _SCRIPT.format(
        dtype=case.dtype,
        steps=case.steps,
        body="\n".join(f"    {line}".rstrip() for line in body),
        results=_SECOND_ORDER if case.second_order else _FIRST_ORDER,
        calls=calls,
    )


_SCRIPT = '''\
import numpy as np

import tinyrnn as tr

CALLS = {calls}  # batch size, a Python number

{results}

def run(compile, B, number, noise=0.0):
    """Outputs, final states and gradients, by name. With noise all that is drawn is a little different."""
    T, dtype, leaves, chosen = {steps}, "{dtype}", {{}}, np.random.default_rng(7)

    def draw(name, *shape, grad=True):
        random = np.random.default_rng([*name.encode()])
        values = random.uniform(-1, 1, shape)
        values = values * (1 + noise * random.uniform(-1, 1, shape))
        leaves[name] = tr.tensor(values, dtype, requires_grad=grad)
        return leaves[name]

    def fixed(seed, *shape):
        return np.random.default_rng(seed).uniform(-1, 1, shape).astype(dtype)

    def integers(below, *shape):
        return chosen.integers(0, below, shape)

{body}


if __name__ == "__main__":
    for call in CALLS:
        compiled, eager = run(True, *call), run(False, *call)
        for name in eager:
            gap = np.abs(np.asarray(compiled[name]) - np.asarray(eager[name])).max(initial=0)
            print(call, name, "differs by", gap)
'''
_FIRST_ORDER = """
def results(outs, loss, leaves):
    if loss.requires_grad:
        loss.backward()
    found = {f"output {k}": o.numpy().copy() for k, o in enumerate(outs)}
    grads = {k: np.zeros(p.shape) if p.grad is None else p.grad.numpy() for k, p in leaves.items()}
    return found | {f"gradient of {k}": g for k, g in grads.items()}
"""
_SECOND_ORDER = '''
def results(outs, loss, leaves):
    """Outputs and second derivatives: gradients of a sum of the squares of all gradients."""
    found = {f"output {k}": o.numpy().copy() for k, o in enumerate(outs)}
    if loss.requires_grad:
        loss.backward(create_graph=True)
    slopes = [p.grad for p in leaves.values() if p.grad is not None]
    for k, p in leaves.items():
        found[f"gradient of {k}"] = np.zeros(p.shape) if p.grad is None else p.grad.numpy().copy()
        if p.requires_grad:
            p.grad = None
    total = sum((g * g).sum() for g in slopes)
    if slopes and total.requires_grad:
        total.backward()
    grads = {k: np.zeros(p.shape) if p.grad is None else p.grad.numpy() for k, p in leaves.items()}
    return found | {f"second of {k}": g for k, g in grads.items()}
'''


# ------------------------------------------------------------------ drawing cases

INSTRUCTIONS = (
    "unary binary product product_of_input closure reduce flat column less_a_column detach cut range split "
    "join normalise bools two_products product_of_parts space space anchor linear flat_op collision "
    "reversed_binary constant "
    "unary binary product product_of_input closure less_a_column detach join product_of_parts constant"
).split()
RARE = ("casts", "untaped")  # most of these cannot be compiled: enough of them to see that they are right
INPUTS = ("plain", "turned", "table", "large table", "two", "table and plain")
STARTS = ("drawn", "learned", "zeros", "turned")
_small = st.integers(0, 40)


def instructions():
    """One instruction of a recipe."""
    return st.tuples(st.sampled_from(INSTRUCTIONS), _small, _small, _small)


@st.composite
def cases(draw):
    """Whole cases, of which at least seven in ten should be compiled."""
    features, count = draw(st.integers(1, 6)), draw(st.sampled_from([1, 1, 2, 2, 3]))
    first = draw(st.integers(1, 6))
    widths = (
        first,
        *draw(st.lists(st.sampled_from([first, first, 1, 2, 4]), min_size=count - 1, max_size=count - 1)),
    )
    batches = st.sampled_from(
        [2, 1, first, features, 1, 3, *range(3, 10), 9]
    )  # sizes that are equal may be mistaken for each other
    recipe = draw(st.lists(instructions(), min_size=1, max_size=8))
    if draw(st.integers(0, 11)) == 11:
        place = draw(st.integers(0, len(recipe)))
        recipe.insert(place, (draw(st.sampled_from(RARE)), *draw(st.tuples(_small, _small, _small))))
    batch = draw(batches)
    forms = st.sampled_from([*range(len(UPDATES)), 0, 1, 1, 0])
    others = st.tuples(st.one_of(batches, batches, st.just(batch)), st.sampled_from([0.5, 0.7, 0.25, 1.0]))
    again = draw(st.one_of(st.just(()), st.lists(others, min_size=1, max_size=2)))
    return Case(
        recipe=tuple(recipe),
        updates=tuple(draw(st.tuples(forms, st.integers(0, 6), _small)) for _ in widths),
        widths=widths,
        features=features,
        batch=batch,
        steps=draw(st.sampled_from([2, 3, 1, 4])),
        dtype=draw(st.sampled_from(["float64", "float64", "float64", "float32"])),
        inputs=draw(st.sampled_from(("plain", *INPUTS))),
        starts=draw(st.sampled_from(("drawn", "drawn", *STARTS))),
        tupled=draw(st.booleans()),
        mask=draw(st.booleans()),
        resets=draw(st.booleans()),
        reverse=draw(st.booleans()),
        return_states=draw(st.booleans()),
        output_losses=tuple(draw(st.lists(st.integers(0, 7), min_size=1, max_size=3))),
        final_losses=tuple(draw(st.lists(st.sampled_from([1, *range(9)]), min_size=1, max_size=3))),
        frozen=draw(st.one_of(st.just(0), st.integers(0, 2**10 - 1))),
        again=tuple(again),
        second_order=draw(st.integers(0, 14)) == 14,
        gathered=draw(st.sampled_from([False, True, True])),
    )


def each_once():
    """A small case for each entry of the tables, by name: nothing is left to chance alone."""
    tables = {
        "unary": UNARY,
        "binary": BINARY,
        "reversed_binary": BINARY,
        "bools": BOOLS,
        "casts": CASTS,
        "reduce": REDUCTIONS,
        "normalise": NORMALISERS,
        "flat": FLAT,
        "flat_op": FLAT_OPS,
        "column": COLUMNS,
        "less_a_column": FLAT,
        "cut": CUTS,
        "join": JOINS,
        "space": SPACES,
        "closure": CLOSURES,
        "constant": CONSTANTS,
        "untaped": UNTAPED,
        "product": MATRICES,
        "product_of_input": MATRICES,
    }
    plain = dict(widths=(3, 3), updates=((0, 0, 0), (0, 0, 0)), batch=3, final_losses=(0,))
    for name, entries in tables.items():
        then = (("column", 0, 0, 0), ("binary", 1, 1, 0)) if name in ("flat", "flat_op") else ()
        for j in range(len(entries)):
            recipe = (("binary", 1, 0, 1), (name, 0, j, j), *then)
            yield f"{name} {j}", Case(recipe=recipe, again=((7, 0.7),), gathered=True, **plain)
            if name in ("closure", "constant", "column"):  # what may take the size of the batch for another
                sizes = {"batch": 1, "again": ((4, 0.7), (3, 0.5), (9, 0.5), (1, 0.5))}
                yield f"{name} {j}, batches", Case(recipe=recipe, gathered=True, **plain | sizes)
    for name in (
        "two_products",
        "product_of_parts",
        "linear",
        "detach",
        "range",
        "split",
        "anchor",
        "collision",
    ):
        for j, k in itertools.product(range(4), range(2)):
            again = () if name == "collision" else ((7, 0.7),)
            yield f"{name} {j}.{k}", Case(recipe=(("unary", 0, 0, 0), (name, 0, j, k)), again=again, **plain)
    for form, k in itertools.product(range(len(UPDATES)), range(2)):
        updates = ((form, 0, 0), (0, 0, 0)) if k else ((0, 0, 0), (form, 1, 1))
        yield f"update {form}.{k}", Case(**plain | {"updates": updates, "return_states": True})
    for j in range(max(len(OUTPUT_LOSSES), len(FINAL_LOSSES))):
        for steps in (2, 3):
            yield (
                f"loss {j}.{steps}",
                Case(**plain | {"output_losses": (j,), "final_losses": (j,), "steps": steps}),
            )
    for inputs, starts in itertools.product(INPUTS, STARTS):
        recipe = (("product_of_input", 0, 0, 0), ("product", 0, 0, 0))
        form = dict(inputs=inputs, starts=starts, mask=True, resets=True, reverse=starts == "learned")
        yield f"{inputs}, {starts}", Case(recipe=recipe, **form, **plain)


# ------------------------------------------------------------------ checking one

_runs = itertools.count()


class Wrong(AssertionError):
    """The compiled step is not what the eager one is; the message holds the source of the case."""


def check(case) -> str:
    """``"compiled"``, or ``"eager"`` if a `CompileWarning` said so, or ``"ill-conditioned"``.

    A case is ill-conditioned if the eager loop gives something else for inputs that differ in their last
    digits.

    Raises:
        Wrong: a value or a gradient differs, the compiled step raises, or the compiler says that it is at
            fault.
    """
    from tinyrnn.compiler import CompileWarning

    # A name of its own for each step: what is warned of once a step is warned of each time.
    text = source(case, f"step_{next(_runs)}")
    namespace = {"__name__": "random_step"}
    exec(compile(text, "<random step>", "exec"), namespace)
    run, reasons = namespace["run"], []
    for call in namespace["CALLS"]:
        expected = run(False, *call)
        if not all(np.isfinite(v).all() for v in expected.values()):
            return "ill-conditioned"
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", CompileWarning)
            try:
                found = run(True, *call)
            except Exception as error:
                trace = "".join(traceback.format_exception(error)[-3:])
                raise Wrong(f"call {call} raises when compiled:\n{trace}\n{text}") from error
        reasons += [str(w.message) for w in seen]
        if fault := next((r for r in reasons if re.search(r"\bfault\b", r)), None):
            raise Wrong(f"call {call}: {fault}\n\n{text}")
        problem = difference(found, expected, TOLERANCE[case.dtype])
        if problem:
            for noise in NOISE[case.dtype]:
                if difference(run(False, *call, noise=noise), expected, TOLERANCE[case.dtype]):
                    return "ill-conditioned"
            raise Wrong(f"call {call}: {problem}\n\n{text}")
    check.reasons = reasons
    return "eager" if reasons else "compiled"


def difference(found, expected, tolerance):
    """What differs between two results, in words; None if nothing does."""
    floor = 1e-3 * max(1.0, *(np.abs(v).max(initial=0) for v in expected.values()))
    for name, right in expected.items():
        if np.shape(found[name]) != np.shape(right):
            return f"{name} has the shape {np.shape(found[name])} for {np.shape(right)}"
        scale = max(np.abs(right).max(initial=0), floor)
        error = np.abs(np.asarray(found[name], "float64") - right).max(initial=0)
        if not error <= tolerance * scale:
            return f"{name} differs by {error:.3g}, its largest element is {np.abs(right).max(initial=0):.3g}"
    return None


def is_wrong(case) -> bool:
    """Whether `check` raises."""
    try:
        check(case)
    except Wrong:
        return True
    return False


def shrunk(case) -> Case:
    """The simplest case that is still wrong: instructions left out, fields brought to their defaults, while
    it stays so.
    """
    simple = Case()
    changed = True
    while changed:
        changed = False
        for candidate in itertools.chain(
            (
                replace(case, recipe=case.recipe[:k] + case.recipe[k + 1 :])
                for k in reversed(range(len(case.recipe)))
            ),
            (
                replace(case, recipe=(*case.recipe[:k], (name, *new), *case.recipe[k + 1 :]))
                for k, (name, *old) in enumerate(case.recipe)
                for new in ([0, old[1], 0], [0, *old[1:]], [*old[:2], 0], [old[0], 0, old[2]])
                if new != old
            ),
            (
                replace(case, widths=case.widths[:-1], updates=case.updates[:-1])
                for _ in range(len(case.widths) > 1)
            ),
            (
                replace(case, updates=(*case.updates[:k], (0, i, 0), *case.updates[k + 1 :]))
                for k, (form, i, j) in enumerate(case.updates)
                if (form, j) != (0, 0)
            ),
            (
                replace(case, **{f.name: getattr(simple, f.name)})
                for f in fields(Case)
                if f.name not in ("recipe", "widths", "updates")
                and getattr(case, f.name) != getattr(simple, f.name)
            ),
        ):
            if is_wrong(candidate):
                case, changed = candidate, True
                break
    return case


def is_wrong_alone(case) -> bool:
    """Whether the case is wrong in a process of its own; if not, it was given a program kept from another
    step.
    """
    command = [sys.executable, __file__, "--case", repr(case), "--here"]
    return subprocess.run(command, capture_output=True, check=False, timeout=600).returncode != 0


def search(count, seed, *, shrink=False, report=print) -> Counter:
    """`check` on ``count`` cases; each wrong one is reported. Returns how often each answer was given."""
    counts, reasons = Counter(), Counter()

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        derandomize=False,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(cases())
    def each(case):
        if os.environ.get("TINYRNN_COMPILE") != "python":  # what corrupts memory ends the process
            (Path(tempfile.gettempdir()) / "tinyrnn-random-step.py").write_text(
                source(case), encoding="utf-8"
            )
        try:
            answer = check(case)
            if answer == "eager":
                reasons.update(r.partition(": ")[2] for r in set(check.reasons))
        except Wrong as wrong:
            answer = "wrong"
            report(f"# ---------------- case {counts.total()}: {case}\n{wrong}")
            if not is_wrong_alone(case):
                report(
                    "# ---- right in a process of its own: it was given a program that was kept from another "
                    "step"
                )
            elif shrink:
                least = shrunk(case)
                try:
                    check(least)
                except Wrong as wrong:
                    report(f"# ---- shrunk: {least}\n{wrong}")
        except (
            Exception
        ) as error:  # the eager loop raises: a recipe that is not valid is a fault of this file
            answer = "invalid"
            report(
                f"# ---------------- case {counts.total()}: {type(error).__name__}: {error}\n{source(case)}"
            )
        counts[answer] += 1

    each()
    search.reasons = reasons
    return counts


def main():
    parser = argparse.ArgumentParser(description="Random recurrences, compiled against eager.")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shrink", action="store_true", help="simplify what is wrong")
    parser.add_argument("--case", help="check this one: Case(...), as it was printed")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--here", action="store_true", help="as the environment says")
    how.add_argument(
        "--python", action="store_true", help="run the generated loops as plain Python (default)"
    )
    how.add_argument("--compiled", action="store_true", help="compile them")
    arguments = parser.parse_args()
    if not arguments.here:
        os.environ["TINYRNN_REFEREE"] = "0"
        os.environ["TINYRNN_COMPILE"] = "1" if arguments.compiled else "python"
    if arguments.case:
        print(check(eval(arguments.case, {"Case": Case})))
        return 0
    counts = search(arguments.count, arguments.seed, shrink=arguments.shrink)
    for reason, n in search.reasons.most_common(12):
        print(f"{n:6} eager: {reason}")
    print(", ".join(f"{n} {answer}" for answer, n in counts.most_common()), "of", counts.total())
    return 1 if counts["wrong"] or counts["invalid"] else 0


if __name__ == "__main__":
    sys.exit(main())
