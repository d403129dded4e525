"""Rewrites of a program that loops need: views reach their sources, gradients of slices are laid side by
side.
"""

import functools
import itertools

import numpy as np

from ..autograd.tape import TABLE
from .ir import ALIASES, COMPARISONS, ROW_REDUCTIONS, Kind, Value, order, pieces
from .views import SEVERAL, blocks, part, view_of


def simplify(roots) -> list:
    """``roots`` rewritten: views of what lies in memory only, no ``place``, no needless copy, nothing
    twice.
    """
    rewriter, done, compared = _Rewriter(), {}, _compared(roots)
    for v in order(roots):
        found = done[v] = rewriter.rewritten(v, tuple(done[x] for x in v.inputs))
        if v in compared and found.kind is Kind.POINTWISE:
            done[v] = rewriter.laid(found, True)
    return [done[r] for r in roots]


def _compared(roots) -> set:
    """Values that are compared with their own largest or smallest: made twice they might differ in the last
    bit.
    """
    found = set()
    for v in order(roots):
        if v.kind is Kind.POINTWISE and v.attr in COMPARISONS:
            one, other = map(_base, v.inputs)
            for extreme, x in ((one, other), (other, one)):
                if extreme.kind in (Kind.ROWMAX, Kind.ROWMIN) and _base(extreme.inputs[0]) is x:
                    found.add(x)
    return found


def _base(v):
    while v.kind in (*ALIASES, Kind.VIEW, Kind.COPY):
        v = v.inputs[0]
    return v


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
        if kind is Kind.INDEX:
            return self.value(kind, (), v.width, False, v.attr)
        if kind in ALIASES:  # in a loop they are what they are made of
            return inputs[0]
        if kind is Kind.COPY:
            return self.copy(inputs[0], v.width, v.rows)
        if kind is Kind.VIEW:
            return self.view(inputs[0], v.attr)
        if kind is Kind.LAID:
            return self.laid(inputs[0], v.attr)
        if kind is Kind.CONCAT:
            flat = [p for x in inputs for p in (x.inputs if self.is_beside(x, v.attr) else (x,))]
            return self.value(Kind.CONCAT, tuple(flat), v.width, v.rows, v.attr)
        if kind in ROW_REDUCTIONS:
            return self.reduced(kind, inputs[0], v.width, v.attr)
        if kind is Kind.POINTWISE:
            return self.pointwise(v.attr, inputs, v.width)
        if kind in (Kind.MATMUL, Kind.OUTER):  # of rows, also where those became one number
            pairs = zip(inputs, v.inputs, strict=True)
            inputs = tuple([new if new.rows or not old.rows else self.spread(new) for new, old in pairs])
        if kind is Kind.MATMUL and inputs[0].kind is Kind.VIEW and not inputs[0].attr.is_slice:
            inputs = self.laid(inputs[0]), inputs[1]  # rows are multiplied as they lie in memory
        return self.value(kind, inputs, v.width, v.rows, v.attr)

    @staticmethod
    def is_beside(x, outer):
        """True for what lies side by side in so many blocks."""
        return x.kind is Kind.CONCAT and x.attr == outer

    def laid(self, x, everywhere=False):
        """``x`` as it is to lie in memory, each of its columns made once; ``everywhere``: the backward loop
        does not make it again.
        """
        return self.value(Kind.LAID, (x,), x.width, x.rows, everywhere)

    def spread(self, x):
        """``x`` for every row of the batch."""
        return self.value(Kind.COPY, (x,), x.width, True)

    def reduced(self, kind, x, width, apart):
        """A reduction over the columns of ``x`` to a width; of copies of one column it is that column, or a
        multiple of it.
        """
        one = x.inputs[0] if x.kind is Kind.COPY and x.inputs[0].width == 1 else x
        if one is x and x.width > width:
            return self.value(kind, (x,), width, x.rows, apart)
        if kind is Kind.ROWSUM and x.width > width:
            one = self.pointwise("multiply", (one, self.number(x.width // width)))
        if kind is Kind.ROWPROD and x.width > width:
            one = self.pointwise("power", (one, self.number(x.width // width)))
        return self.copy(one, width, x.rows)

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
        if op == "power" and numbers[1] in (1.0, 2.0, 3.0):
            factors = (inputs[0],) * int(numbers[1])
            product = functools.reduce(lambda a, b: self.pointwise("multiply", (a, b)), factors)
            return self.copy(product, width, rows)
        outers = {x.attr for x in inputs if x.kind is Kind.CONCAT}
        if op == "add" and len(outers) == 1 and all(x.width == width for x in inputs):
            (outer,) = outers
            parts = [p for x in inputs for p in (pieces(x, outer) if self.is_beside(x, outer) else [(0, x)])]
            return self.side_by_side(parts, width, rows, outer)
        if op == "multiply" and 1.0 in numbers:
            return self.copy(inputs[1 - numbers.index(1.0)], width, rows)
        if (op in ("add", "subtract") and numbers[1] == 0.0) or (op == "add" and numbers[0] == 0.0):
            return self.copy(inputs[0 if numbers[1] == 0.0 else 1], width, rows)
        own = max(x.width for x in inputs), any(x.rows for x in inputs)
        return self.copy(self.value(Kind.POINTWISE, inputs, *own, op), width, rows)

    def view(self, x, view):
        """The columns of ``x`` that a `View` has, taken from what ``x`` was made of where each is read
        once.
        """
        if view == part(0, x.width):
            return x
        if x.kind is Kind.COPY or x.width == 1:
            inner = x.inputs[0] if x.kind is Kind.COPY else x
            return self.copy(inner if inner.width == 1 else self.view(inner, view), view.width, x.rows)
        if x.kind in (Kind.VIEW, Kind.INDEX):
            both = view_of(x.attr.columns[view.columns])
            if both is not None and x.kind is Kind.INDEX:
                return self.value(x.kind, (), view.width, False, both)
            if both is not None:
                return self.view(x.inputs[0], both)
            x = self.laid(x)
        elif x.kind is Kind.CONCAT:
            found = self.of_pieces(x, view)
            if found is not None:
                return found
        elif x.kind is Kind.LAID and not x.attr and not view.repeats:
            return self.view(x.inputs[0], view)
        elif x.kind is Kind.POINTWISE and not view.repeats:
            inputs = [i if i.width == 1 else self.view(i, view) for i in x.inputs]
            return self.pointwise(x.attr, tuple(inputs), view.width)
        elif x.kind is Kind.POINTWISE:
            x = self.laid(x)
        return self.value(Kind.VIEW, (x,), view.width, x.rows, view)

    def cut(self, x, outer, first, last):
        """Columns ``first`` to ``last`` of each of the blocks of ``x``."""
        return self.view(x, blocks(outer, x.width // outer, first, last))

    def of_pieces(self, x, view):
        """A view of values side by side as views of these; None where it takes them apart too finely."""
        block, column = np.divmod(view.columns, x.width // x.attr)
        starts = np.array([a for a, _ in pieces(x, x.attr)])
        which = np.searchsorted(starts, column, "right") - 1
        widths = np.array([p.width // x.attr for p in x.inputs])
        columns = block * widths[which] + column - starts[which]
        for outer in range(view.width, 0, -1):
            if view.width % outer:
                continue
            rows = which.reshape(outer, -1)
            if (rows == rows[0]).all():
                break
        ends = [0, *(np.flatnonzero(np.diff(rows[0])) + 1), rows.shape[1]]
        if len(ends) > SEVERAL:
            return None
        parts = []
        for a, b in itertools.pairwise(ends):
            found = view_of(columns.reshape(outer, -1)[:, a:b])
            if found is None:
                return None
            parts.append(self.view(x.inputs[rows[0, a]], found))
        if len(parts) == 1:
            return parts[0]
        return self.value(Kind.CONCAT, tuple(parts), view.width, x.rows, outer)

    def side_by_side(self, placed, width, rows, outer=1):
        """The sum of ``placed``, pairs (first column in each of ``outer`` blocks, value), each zero
        elsewhere: values side by side.
        """
        block = width // outer
        spans = [(a, a + p.width // outer, p) for a, p in placed]
        bounds = sorted({0, block, *[a for a, _, _ in spans], *[b for _, b, _ in spans]})
        parts = []
        for a, b in itertools.pairwise(bounds):
            here = [self.cut(p, outer, a - at, b - at) for at, end, p in spans if at <= a and b <= end]
            made = here[0] if here else self.number(0.0)
            for other in here[1:]:
                made = self.pointwise("add", (made, other), (b - a) * outer)
            parts.append(self.copy(made, (b - a) * outer, rows))
        return parts[0] if len(parts) == 1 else self.value(Kind.CONCAT, tuple(parts), width, rows, outer)
