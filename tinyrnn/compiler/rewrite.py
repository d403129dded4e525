"""Rewrites of a program that loops need: slices reach their sources, gradients of slices are laid side by
side.
"""

import itertools

from ..autograd.tape import TABLE
from .ir import ALIASES, ROW_REDUCTIONS, Kind, Value, order, pieces


def simplify(roots) -> list:
    """``roots`` rewritten: slices of inputs, products and reductions only, no ``place``, no needless copy,
    nothing twice.
    """
    rewriter, done = _Rewriter(), {}
    for v in order(roots):
        done[v] = rewriter.rewritten(v, tuple(done[x] for x in v.inputs))
    return [done[r] for r in roots]


class _Rewriter:
    def __init__(self):
        self.made = {}

    def value(self, kind, inputs=(), width=1, rows=True, attr=None):
        """The one Value of this description."""
        key = kind, inputs, width, rows, attr
        if key not in self.made:
            self.made[key] = Value(kind, inputs, width, rows, attr)
        return self.made[key]

    def number(self, x):
        x = float(x)
        return self.made.setdefault(repr(x), Value(Kind.NUMBER, (), 1, False, x))  # 0.0 is not -0.0

    def rewritten(self, v, inputs):
        """``v`` with rewritten ``inputs``, rewritten itself."""
        kind = v.kind
        if kind is Kind.INPUT:  # one for each form in which an input is used
            return self.made.setdefault((v.attr, v.width, v.rows, v.height), v)
        if kind is Kind.NUMBER:
            return self.number(v.attr)
        if kind in ALIASES:  # in a loop they are what they are made of
            return inputs[0]
        if kind is Kind.COPY:
            return self.copy(inputs[0], v.width, v.rows)
        if kind is Kind.SLICE:
            return self.cut(inputs[0], *v.attr)
        if kind is Kind.PLACE:
            return self.side_by_side([(v.attr, inputs[0])], v.width, v.rows)
        if kind is Kind.CONCAT:
            flat = tuple([p for x in inputs for p in (x.inputs if x.kind is Kind.CONCAT else (x,))])
            return flat[0] if len(flat) == 1 else self.value(Kind.CONCAT, flat, v.width, v.rows)
        if kind in ROW_REDUCTIONS:
            return self.reduced(kind, inputs[0])
        if kind is Kind.POINTWISE:
            return self.pointwise(v.attr, inputs, v.width)
        if kind in (Kind.MATMUL, Kind.OUTER):  # of rows, also where those became one number
            pairs = zip(inputs, v.inputs, strict=True)
            inputs = tuple([new if new.rows or not old.rows else self.spread(new) for new, old in pairs])
        return self.value(kind, inputs, v.width, v.rows, v.attr)

    def spread(self, x):
        """``x`` for every row of the batch."""
        return self.value(Kind.COPY, (x,), x.width, True)

    def reduced(self, kind, x):
        """A reduction over the columns of ``x``; of copies of one column it is that column, or a multiple of
        it.
        """
        one = x.inputs[0] if x.kind is Kind.COPY and x.inputs[0].width == 1 else x
        if one is x and x.width > 1:
            return self.value(kind, (x,), 1, x.rows)
        if kind is Kind.ROWSUM and x.width > 1:
            one = self.pointwise("multiply", (one, self.number(x.width)))
        return self.copy(one, 1, x.rows)

    def copy(self, x, width, rows):
        """``x`` at a width, and for every row of the batch if ``rows``."""
        x = x.inputs[0] if x.kind is Kind.COPY else x
        if (x.width == width and x.rows == rows) or (x.kind is Kind.NUMBER and width == 1):
            return x
        return self.value(Kind.COPY, (x,), width, rows)

    def pointwise(self, op, inputs, width=None):
        """A pointwise value. One column serves as well as its copies, and what numbers alone give is a
        number.
        """
        width, rows = width or max(x.width for x in inputs), any(x.rows for x in inputs)
        inputs = tuple([x.inputs[0] if x.kind is Kind.COPY else x for x in inputs])
        numbers = [x.attr if x.kind is Kind.NUMBER else None for x in inputs]
        if None not in numbers:
            return self.copy(self.number(TABLE[op].forward(*numbers)), width, rows)
        joined = any(x.kind is Kind.CONCAT for x in inputs) and all(x.width == width for x in inputs)
        if op == "add" and joined:
            return self.side_by_side([piece for x in inputs for piece in pieces(x)], width, rows)
        if op == "multiply" and 1.0 in numbers:
            return self.copy(inputs[1 - numbers.index(1.0)], width, rows)
        if (op in ("add", "subtract") and numbers[1] == 0.0) or (op == "add" and numbers[0] == 0.0):
            return self.copy(inputs[0 if numbers[1] == 0.0 else 1], width, rows)
        own = max(x.width for x in inputs), any(x.rows for x in inputs)
        return self.copy(self.value(Kind.POINTWISE, inputs, *own, op), width, rows)

    def cut(self, x, first, last):
        """Columns ``first`` to ``last`` of ``x``, taken from what ``x`` was made of."""
        width = last - first
        if (first, last) == (0, x.width):
            return x
        if x.kind is Kind.COPY:
            inner = x.inputs[0]
            return self.copy(inner if inner.width == 1 else self.cut(inner, first, last), width, x.rows)
        if x.kind is Kind.SLICE:
            return self.value(Kind.SLICE, x.inputs, width, x.rows, (x.attr[0] + first, x.attr[0] + last))
        if x.kind is Kind.CONCAT:
            touched = [(a, p) for a, p in pieces(x) if a < last and first < a + p.width]
            parts = [self.cut(p, max(first - a, 0), min(last - a, p.width)) for a, p in touched]
            return parts[0] if len(parts) == 1 else self.value(Kind.CONCAT, tuple(parts), width, x.rows)
        if x.kind is Kind.POINTWISE:
            inputs = [i if i.width == 1 else self.cut(i, first, last) for i in x.inputs]
            return self.pointwise(x.attr, tuple(inputs), width)
        return self.value(Kind.SLICE, (x,), width, x.rows, (first, last))

    def side_by_side(self, placed, width, rows):
        """The sum of ``placed``, pairs (first column, value), each zero elsewhere: values side by side."""
        bounds = sorted({0, width} | {a for a, _ in placed} | {a + p.width for a, p in placed})
        parts = []
        for a, b in itertools.pairwise(bounds):
            here = [self.cut(p, a - at, b - at) for at, p in placed if at <= a and b <= at + p.width]
            part = here[0] if here else self.number(0.0)
            for other in here[1:]:
                part = self.pointwise("add", (part, other), b - a)
            parts.append(self.copy(part, b - a, rows))
        return parts[0] if len(parts) == 1 else self.value(Kind.CONCAT, tuple(parts), width, rows)
