"""C99: the loops of a `Graph` as functions on arrays."""

import re

from . import written

_RENAMED = re.compile(r"\b([a-z][a-z0-9_]*)\(")
FUNCTIONS = {  # of scalar rules, where C has none or another; after what they are made of
    "sigmoid": "static tr_real tr_sigmoid(tr_real x) { return 1 / (1 + tr_exp(-x)); }",
    "maximum": "static tr_real tr_maximum(tr_real a, tr_real b) { return a > b || a != a ? a : b; }",
    "minimum": "static tr_real tr_minimum(tr_real a, tr_real b) { return a < b || a != a ? a : b; }",
    "sign": "static tr_real tr_sign(tr_real x) { return x > 0 ? (tr_real)1 : x < 0 ? (tr_real)-1 : x; }",
    "where": "static tr_real tr_where(tr_real c, tr_real a, tr_real b) { return c != 0 ? a : b; }",
}  # and so on: see the prelude


class Loop(written.Loop):
    """A loop as a function."""

    name, infinity, division = "c", "INFINITY", "/"

    def assigned(self, name, text, *, whole=False):
        text = _RENAMED.sub(lambda m: f"tr_{m[1]}(", text)
        return f"const {'int' if whole else 'tr_real'} {name} = {text};"

    def literal(self, x):
        return f"F({x!r})"

    def variable(self, name, start):
        return f"tr_real {name} = {start};"

    def fold(self, name, step):
        return super().fold(name, _RENAMED.sub(lambda m: f"tr_{m[1]}(", step))

    def counted(self, name, n):
        return f"for (int {name} = 0; {name} < {n}; {name}++) {{"

    def product(self, matrix, turned, row, out, depth, width):
        how = "tr_multiply_turned" if turned else "tr_multiply"
        at = [array if offset == "0" else f"{array} + {offset}" for array, offset in (row, out)]
        return f"{how}({at[0]}, {matrix}, {at[1]}, {depth}, {width});"
