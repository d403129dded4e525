"""Rewrites of a program that loops need: slices reach their sources, gradients of slices are laid side by side."""

import itertools

from ..autograd.tape import TABLE
from .program import Value, order


def simplify(roots) -> list:
    """``roots`` rewritten: slices of inputs, products and reductions only, no ``place``, no needless copy, nothing twice."""
    rewriter, done = _Rewriter(), {}
    for v in order(roots):
        done[v] = rewriter.rewritten(v, tuple(done[x] for x in v.inputs))
    return [done[r] for r in roots]


class _Rewriter:
    def __init__(self):
        self.made = {}

    def value(self, op, inputs=(), width=1, rows=True, attr=None):
        """The one Value of this description."""
        key = op, tuple(map(id, inputs)), width, rows, attr
        if key not in self.made:
            self.made[key] = Value(op, inputs, width, rows, attr)
        return self.made[key]

    def number(self, x):
        return self.value("number", (), 1, False, float(x))

    def rewritten(self, v, inputs):
        """``v`` with rewritten ``inputs``, rewritten itself."""
        if v.op == "input":
            return v
        if v.op == "number":
            return self.number(v.attr)
        if v.op == "copy":
            return self.copy(inputs[0], v.width, v.rows)
        if v.op == "slice":
            return self.cut(inputs[0], *v.attr)
        if v.op == "place":
            return self.side_by_side([(v.attr, inputs[0])], v.width, v.rows)
        if v.op == "concat":
            flat = [p for x in inputs for p in (x.inputs if x.op == "concat" else (x,))]
            return flat[0] if len(flat) == 1 else self.value("concat", tuple(flat), v.width, v.rows)
        if v.op in ("rowsum", "rowmax", "rowmin") and inputs[0].op == "copy" and inputs[0].inputs[0].width == 1:
            x = inputs[0].inputs[0]
            return self.pointwise("multiply", (x, self.number(inputs[0].width))) if v.op == "rowsum" else x
        if v.op in TABLE and TABLE[v.op].rule:
            return self.pointwise(v.op, inputs, v.width)
        return self.value(v.op, inputs, v.width, v.rows, v.attr)

    def copy(self, x, width, rows):
        """``x`` at a width, and for every row of the batch if ``rows``."""
        x = x.inputs[0] if x.op == "copy" else x
        if (x.width == width and x.rows == rows) or (x.op == "number" and width == 1):
            return x
        return self.value("copy", (x,), width, rows)

    def pointwise(self, op, inputs, width=None):
        """A pointwise value. One column serves as well as its copies, and what numbers alone give is a number."""
        width = width or max(x.width for x in inputs)
        rows = any(x.rows for x in inputs)
        inputs = tuple(x.inputs[0] if x.op == "copy" else x for x in inputs)
        numbers = [x.attr if x.op == "number" else None for x in inputs]
        if None not in numbers:
            return self.copy(self.number(TABLE[op].forward(*numbers)), width, rows)
        if op == "add" and any(x.op == "concat" for x in inputs) and all(x.width == width for x in inputs):
            return self.side_by_side([piece for x in inputs for piece in _pieces(x)], width, rows)
        if op == "multiply" and 1.0 in numbers:
            return self.copy(inputs[1 - numbers.index(1.0)], width, rows)
        if (op in ("add", "subtract") and numbers[1] == 0.0) or (op == "add" and numbers[0] == 0.0):
            return self.copy(inputs[0 if numbers[1] == 0.0 else 1], width, rows)
        return self.copy(self.value(op, inputs, max(x.width for x in inputs), any(x.rows for x in inputs)), width, rows)

    def cut(self, x, first, last):
        """Columns ``first`` to ``last`` of ``x``, taken from what ``x`` was made of."""
        width = last - first
        if (first, last) == (0, x.width):
            return x
        if x.op == "copy":
            inner = x.inputs[0]
            return self.copy(inner if inner.width == 1 else self.cut(inner, first, last), width, x.rows)
        if x.op == "slice":
            return self.value("slice", x.inputs, width, x.rows, (x.attr[0] + first, x.attr[0] + last))
        if x.op == "concat":
            parts = [
                self.cut(p, max(first - a, 0), min(last - a, p.width))
                for a, p in _pieces(x)
                if a < last and first < a + p.width
            ]
            return parts[0] if len(parts) == 1 else self.value("concat", tuple(parts), width, x.rows)
        if x.op in TABLE and TABLE[x.op].rule:
            return self.pointwise(x.op, tuple(i if i.width == 1 else self.cut(i, first, last) for i in x.inputs), width)
        return self.value("slice", (x,), width, x.rows, (first, last))

    def side_by_side(self, pieces, width, rows):
        """The sum of ``pieces``, pairs (first column, value), each zero elsewhere: values side by side."""
        bounds = sorted({0, width} | {a for a, _ in pieces} | {a + p.width for a, p in pieces})
        parts = []
        for a, b in itertools.pairwise(bounds):
            here = [self.cut(p, a - at, b - at) for at, p in pieces if at <= a and b <= at + p.width]
            part = here[0] if here else self.number(0.0)
            for other in here[1:]:
                part = self.pointwise("add", (part, other), b - a)
            parts.append(self.copy(part, b - a, rows))
        return parts[0] if len(parts) == 1 else self.value("concat", tuple(parts), width, rows)


def _pieces(x):
    """Pairs (first column, value) of what lies side by side in ``x``."""
    pieces, at = [], 0
    for part in x.inputs if x.op == "concat" else (x,):
        pieces.append((at, part))
        at += part.width
    return pieces
