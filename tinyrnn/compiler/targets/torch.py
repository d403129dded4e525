"""PyTorch: graphs as lines of a method ``forward`` of a module.

The module has the constants as attributes, those with a ``NAME.scale`` multiplied by it. A method
``number(x)`` gives ``[1, 1]``.
"""

import math

from ..ir import Kind, grouped
from ..whole import Whole
from . import Written

_CALLS = dict.fromkeys(
    "add sign reciprocal sqrt exp exp2 log log2 log10 sin cos tan asin acos atan sinh cosh tanh asinh acosh "
    "atanh atan2 hypot remainder erf sigmoid relu floor ceil round abs maximum minimum".split()
) | {
    "subtract": "sub", "multiply": "mul", "divide": "div", "negative": "neg", "power": "pow",
    "softplus": "nn.functional.softplus",
}  # fmt: skip
_TESTS = {
    "equal": "eq", "less": "lt", "less_equal": "le", "greater": "gt", "greater_equal": "ge", "isnan": None,
    "isinf": None, "logical_and": None, "logical_or": None, "logical_xor": None, "logical_not": None,
}  # fmt: skip


def _form(text):
    return lambda self, v, *xs: self.write(text, *xs)


def _folded(function):
    def fold(self, v, x):
        if v.width == 1:
            return self.write(f"{{}}.{function}(dim=1, keepdim=True)", x)
        blocks = f"reshape(-1, {', '.join(map(str, grouped(v)))})"
        return self.write(f"{{}}.{blocks}.{function}(dim=2).reshape(-1, {v.width})", x)

    return fold


class Torch(Whole):
    """Values as names of local variables, or short expressions.

    Args:
        batch: expression of how many rows there are.
    """

    name = "torch"

    def __init__(self, dtype, batch="len(ids)"):
        super().__init__(dtype)
        self.lines, self.batch, self.indent = [], batch, ""

    def constant(self, name, array):
        return "self." + super().constant(name, array)

    def scaled(self, name, integers, scales, axis):
        self.constants |= {name: integers, f"{name}.scale": scales}
        return f"self.{name}"

    def number(self, x):
        return f"self.number({x!r})" if math.isfinite(x) else f"self.number(float('{x!r}'))"

    def write(self, form, *operands):
        name = self.new_name()
        self.line(f"{name} = {form.format(*operands, all=', '.join(map(str, operands)))}")
        return name

    def line(self, text):
        self.lines.append(self.indent + text)

    def rows(self, table, ids):
        return self.write("{}[{}]", table, ids)

    def product(self, x, matrix, turned):
        return self.write("{} @ {}.T" if turned else "{} @ {}", x, matrix)

    def copy(self, x, width, rows):
        return self.write("{}.expand({}, {})", x, self.batch if rows else -1, width)

    def in_blocks(self, x, outer):
        return self.write("{}.reshape(-1, {}, {}.shape[1] // {})", x, outer, x, outer)

    def _view(self, v, x):
        view = v.attr
        if view.is_slice:
            return self.write("{}[:, {}:{}]", x, view.offset, view.offset + v.width)
        columns = str(view.offset)
        for n, stride in view.axes:
            columns = f"({columns} + {stride} * torch.arange({n})).reshape(-1, 1)"
        return self.write("{}[:, {}.reshape(-1)]", x, columns)

    def _concat(self, v, *xs):
        if v.attr == 1:
            return self.write("torch.cat([{all}], dim=1)", *self.spread(v, xs))
        parts = [self.in_blocks(x, v.attr) for x in self.spread(v, xs)]
        joined = self.write("torch.cat([{all}], dim=2)", *parts)
        return self.write("{}.reshape(-1, {})", joined, v.width)

    # ------------------------------------------------------------------ over time

    def at_once(self, node, xs, init):
        longest = next(x for x, item in zip(xs, node.xs, strict=True) if item.over_time)
        flat = [
            self.write("{}.reshape(-1, {})", x, item.width)
            if item.over_time
            else self.write("{}.expand(len({}), -1, -1).reshape(-1, {})", x, longest, item.width)
            for x, item in zip(xs, node.xs, strict=True)
        ]
        before, self.batch = self.batch, f"len({flat[0]})"
        found = self.step(node, flat, init)
        self.batch = before
        return [self.write("{}.reshape(*{}.shape[:2], -1)", y, longest) for y in found]

    def over_time(self, node, streams, xs, init):
        outs = [self.write("[]") for _ in node.outs]
        states = [self.write("{}", s) for s in init]
        times = f"range(len({next(iter(streams.values()))}))"
        self.line(f"for t in {f'reversed({times})' if node.reverse else times}:  # {node.name}")
        before, self.indent = self.indent, self.indent + "    "
        found = self.step(node, xs, states, {v: self.write("{}[t]", x) for v, x in streams.items()})
        for out, y in zip(outs, found, strict=False):
            self.line(f"{out}.append({y})")
        self.line(f"{', '.join(states)} = {', '.join(found[len(outs) :])}")
        self.indent = before
        back = "[::-1]" if node.reverse else ""
        return [self.write("torch.stack({}{})", out, back) for out in outs] + states

    kinds = Written.kinds | {
        Kind.ROWSUM: _folded("sum"),
        Kind.ROWMAX: _folded("amax"),
        Kind.ROWMIN: _folded("amin"),
        Kind.ROWPROD: _folded("prod"),
        Kind.VIEW: _view,
        Kind.CONCAT: _concat,
        Kind.DETACH: _form("{}.detach()"),
    }
    ops = {  # noqa: RUF012
        "where": "torch.where({} != 0, {}, {})",
        **{op: f"torch.{name or op}({{all}})" for op, name in _CALLS.items()},
        **{op: f"torch.{name or op}({{all}}).to({{0}}.dtype)" for op, name in _TESTS.items()},
    }
