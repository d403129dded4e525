"""The program of one step, read from its recorded tape.

`Reader` turns the nodes of that tape into `Value`s: rows [B, w] of the batch (or one row [1, w] that is the same for the whole
batch), made by a handful of operations that loops can be emitted from. What is not one of them raises `TraceError`, and the
step runs eagerly.
"""

import itertools

import numpy as np

from ..autograd.tape import ITEM, Tensor
from ..errors import TraceError


class Value:
    """One value of the program.

    ``op`` is the name of a pointwise op, or one of: ``input`` (``attr``: kind and number), ``number`` (``attr``), ``matmul``
    (rows times an input matrix; ``attr`` True: transposed), ``outer`` (rows^T rows, over the batch), ``total`` (sum over the
    batch), ``rowsum`` ``rowmax`` ``rowmin`` (to width 1), ``slice`` (``attr``: first and last column), ``concat``,
    ``place`` (``attr``: first column; zeros elsewhere), ``copy`` (to a width, or to every row), ``turned`` (transposed).
    """

    __slots__ = ("op", "inputs", "width", "rows", "attr")

    def __init__(self, op, inputs=(), width=1, rows=True, attr=None):
        self.op, self.inputs, self.width, self.rows, self.attr = op, tuple(inputs), width, rows, attr

    def __repr__(self):
        return f"{self.op}{'' if self.attr is None else self.attr}[{'B' if self.rows else 1},{self.width}]"


REDUCTIONS = {"sum": "rowsum", "max": "rowmax", "min": "rowmin", "mean": "rowsum"}


def pointwise(op, *inputs):
    """A pointwise value of ``inputs`` (Values or numbers)."""
    inputs = [x if isinstance(x, Value) else number(x) for x in inputs]
    return Value(op, inputs, max(x.width for x in inputs), any(x.rows for x in inputs))


def number(x):
    """A constant."""
    return Value("number", (), 1, False, float(x))


class Reader:
    """Turns nodes into Values; the same node always into the same Value.

    Args:
        batch: size of the batch in the recorded step.
        closure: function(Tensor) -> Value, for tensors that the step closes over or makes of such.
        is_closed: function(Node) -> bool: True for what depends on nothing that changes over time.
    """

    def __init__(self, batch, closure, is_closed):
        self.batch, self.closure, self.is_closed = batch, closure, is_closed
        self.values = {}  # node -> Value; of an op with several outputs: a list
        self.in_derivative = False

    def give(self, node, value):
        """Say what ``node`` stands for."""
        self.values[node] = value

    def read(self, x):
        """The Value of an operand: a tensor or a number."""
        if not isinstance(x, Tensor):
            return number(x)
        if x.node is None:
            return self.constant(x)
        return self.node(x.node, x)

    def constant(self, x):
        """A tensor that no recorded op made: the step closes over it, or a derivative made it (zeros, ones)."""
        first = x.data.reshape(-1)[:1]
        if self.in_derivative and x.size and (x.data == first).all():
            return number(first[0]) if x.ndim < 2 else Value("copy", (number(first[0]),), x.shape[-1], False)
        return self.closure(x)

    def node(self, node, x=None):
        """The Value of a node, reading what it was made of first (no recursion: tapes are long)."""
        todo = [(node, x)]
        while todo:
            current, tensor = todo[-1]
            if current in self.values:
                todo.pop()
                continue
            if current.op is None or (tensor is not None and self.is_closed(current)):  # None: reached through one of its items
                self.values[current] = self.closure(tensor)
                continue
            missing = [(n, t) for n, t in self.operands(current) if n not in self.values]
            if missing:
                todo.extend(missing)
                continue
            self.values[current] = self.lower(current)
        return self.values[node]

    def operands(self, node):
        """(node, tensor) of the inputs of ``node``."""
        if node.op is ITEM:
            return [(node.parents[0], None)]
        return [(x.node, x) for x in node.saved if isinstance(x, Tensor) and x.node is not None]

    def lower(self, node):
        """The Value of one node whose operands have been read."""
        if node.op is ITEM:
            return self.values[node.parents[0]][node.params["i"]]
        name, params = node.op.name, node.params
        inputs = [self.read(x) for x in node.saved]
        shapes = [np.shape(x.data) if isinstance(x, Tensor) else () for x in node.saved]
        if node.op.rule:
            self.check_rows(name, inputs, shapes, node.shape)
            return pointwise(name, *inputs)
        if name in REDUCTIONS:
            return self.reduce(name, inputs, shapes, params["axis"])
        method = getattr(self, f"_{name}", None)
        if method is None:
            raise TraceError(f"the op {name} has no compiled form")
        return method(node, inputs, shapes, params)

    def check_rows(self, name, inputs, shapes, shape):
        """Values are rows [B, w]: an axis of its own for anything else has no place in a loop."""
        if len(shape) > 2 or (any(len(s) == 1 and v.rows for s, v in zip(shapes, inputs, strict=True)) and len(shape) == 2):
            raise TraceError(f"{name} combines shapes {[list(s) for s in shapes]}: a step must work on [batch, features]")

    # ------------------------------------------------------------------ shapes

    def _reshape(self, node, inputs, shapes, params):
        (x,), new, old = inputs, node.shape, shapes[0]
        if [n for n in new if n != 1] == [n for n in old if n != 1] and len(new) <= 2:
            if x.rows and x.width == 1 and len(new) == 2 and new[1] == self.batch and self.batch > 1:
                raise TraceError("a column of the batch is made a row: a step must work on [batch, features]")
            return x
        raise TraceError(f"reshape from {list(old)} to {list(new)} has no compiled form")

    def _broadcast_to(self, node, inputs, shapes, params):
        (x,), new = inputs, node.shape
        if len(new) == 2 and (new[0] == self.batch or not x.rows):
            return Value("copy", (x,), new[1], x.rows or new[0] == self.batch)
        if len(new) <= 1 and not x.rows:
            return Value("copy", (x,), new[0] if new else 1, False)
        raise TraceError(f"broadcast to {list(new)} has no compiled form")

    def _astype(self, node, inputs, shapes, params):
        return Value("copy", inputs, inputs[0].width, inputs[0].rows)

    _detach = _astype  # what flows back is not the program's: the tape of the derivative does not pass it

    def _split(self, node, inputs, shapes, params):
        self.last_axis("split", params["axis"], shapes[0])
        x, cuts = inputs[0], [0, *params["points"], inputs[0].width]
        return [_slice(x, a, b) for a, b in itertools.pairwise(cuts)]

    def _concat(self, node, inputs, shapes, params):
        self.last_axis("concat", params["axis"], shapes[0])
        rows = any(x.rows for x in inputs)
        return Value("concat", inputs, sum(x.width for x in inputs), rows)

    def _getitem(self, node, inputs, shapes, params):
        return _slice(inputs[0], *self.columns(params["key"], shapes[0], inputs[0]))

    def _place(self, node, inputs, shapes, params):
        into = params["into"]
        first, _ = self.columns(params["key"], into, inputs[0])
        return Value("place", inputs, into[-1] if into else 1, inputs[0].rows, first)

    def columns(self, key, shape, x):
        """First and last column that ``key`` picks from ``shape``; only whole rows and plain slices of columns are known."""
        key = [k for k in (key if isinstance(key, tuple) else (key,)) if k is not None]
        key = [slice(k, k + 1 or None) if isinstance(k, int) else k for k in key]
        if Ellipsis in key:
            i = key.index(Ellipsis)
            key[i : i + 1] = [slice(None)] * (len(shape) - len(key) + 1)
        key += [slice(None)] * (len(shape) - len(key))
        whole = [isinstance(k, slice) and k.indices(n) == (0, n, 1) for k, n in zip(key, shape, strict=True)]
        if all(whole):
            return 0, x.width
        if all(whole[:-1]) and isinstance(key[-1], slice) and (len(shape) == 2 or not x.rows):
            first, last, step = key[-1].indices(shape[-1])
            if step == 1 and first < last:
                return first, last
        raise TraceError("indexing other than slices of the feature axis has no compiled form")

    def last_axis(self, name, axis, shape):
        if axis != len(shape) - 1 or len(shape) > 2:
            raise TraceError(f"{name} along axis {axis} of {list(shape)} has no compiled form: use the feature axis")

    # ------------------------------------------------------------------ products and reductions

    def _permute_dims(self, node, inputs, shapes, params):
        if params["axes"] == (0, 1) or len(shapes[0]) < 2:
            return inputs[0]
        if params["axes"] == (1, 0):
            x = self.matrix(inputs[0], node.saved[0])
            return Value("turned", (x,), shapes[0][0], x.rows)
        raise TraceError("transposing more than a matrix has no compiled form")

    def _matmul(self, node, inputs, shapes, params):
        a, b = inputs
        if len(shapes[0]) != 2 or len(shapes[1]) != 2:
            raise TraceError(f"matmul of shapes {[list(s) for s in shapes]} has no compiled form: use [batch, k] @ [k, n]")
        if a.op == "turned" and a.inputs[0].rows and b.rows:
            return Value("outer", (a.inputs[0], b), shapes[1][1], False)
        turned = b.op == "turned"
        matrix = b.inputs[0] if turned else self.matrix(b, node.saved[1])
        if matrix.op != "input" or matrix.rows:
            raise TraceError("a product with a matrix that changes over time has no compiled form")
        if not a.rows:
            raise TraceError("a product that does not depend on the step stands in its derivative")
        return Value("matmul", (a, matrix), shapes[1][1], True, turned)

    def matrix(self, x, tensor):
        """A closed-over tensor as a matrix, also where it has as many rows as the batch."""
        return self.closure(tensor, matrix=True) if x.op == "input" and x.attr[0] == "c" and x.rows else x

    def reduce(self, name, inputs, shapes, axis):
        """A sum, mean, max or min over columns, over the batch, or over both."""
        (x,), shape = inputs, shapes[0]
        axis = tuple(range(len(shape))) if axis is None else axis
        over_rows = 0 in axis and (len(shape) == 2 or x.rows) and shape[0] == self.batch and x.rows
        over_columns = (len(shape) == 2 and 1 in axis) or (len(shape) == 1 and not x.rows)
        count = 1
        if over_columns and x.width == 1 and x.op != "copy" and shape[-1] == 1:
            over_columns = False  # one column: nothing to sum
        if over_columns:
            count *= shape[-1]
            x = Value(REDUCTIONS[name], (_wide(x, shape[-1]),), 1, x.rows)
        if over_rows:
            if REDUCTIONS[name] != "rowsum":
                raise TraceError(f"{name} over the batch has no compiled form")
            count *= shape[0]
            x = Value("total", (x,), x.width, False)
        return pointwise("multiply", x, 1 / count) if name == "mean" and count != 1 else x

    def exponentials(self, x):
        """exp of ``x`` less its largest element, the sum of that, and the largest element."""
        top = Value("rowmax", (x,), 1, x.rows)
        e = pointwise("exp", pointwise("subtract", x, top))
        return e, Value("rowsum", (e,), 1, x.rows), top

    def _softmax(self, node, inputs, shapes, params):
        e, total, _ = self.exponentials(inputs[0])
        return pointwise("divide", e, total)

    def _logsumexp(self, node, inputs, shapes, params):
        _, total, top = self.exponentials(inputs[0])
        return pointwise("add", pointwise("log", total), top)

    def _log_softmax(self, node, inputs, shapes, params):
        return pointwise("subtract", inputs[0], self._logsumexp(node, inputs, shapes, params))


def _slice(x, first, last):
    return x if (first, last) == (0, x.width) else Value("slice", (x,), last - first, x.rows, (first, last))


def _wide(x, width):
    """``x`` at full width: a reduction must see how many columns it has."""
    return x if x.width == width else Value("copy", (x,), width, x.rows)


def order(roots, ends=lambda value: False) -> list:
    """All values that ``roots`` are made of, inputs first; not what values for which ``ends`` holds are made of."""
    done, out = set(), []
    for root in roots:
        todo = [(root, False)]
        while todo:
            v, ready = todo.pop()
            if ready:
                out.append(v)
            elif v not in done:
                done.add(v)
                todo.append((v, True))
                if not ends(v):
                    todo.extend((x, False) for x in v.inputs if x not in done)
    return out
