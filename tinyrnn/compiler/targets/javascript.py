"""JavaScript: the loops of a `Graph` as functions on typed arrays."""

from . import written


class Loop(written.Loop):
    """A loop as a function."""

    name, infinity, division = "javascript", "Infinity", "/"  # (division of integers: see `column_of`)

    def assigned(self, name, text, *, whole=False):
        return f"const {name} = {text};"

    def literal(self, x):
        return repr(x)

    def variable(self, name, start):
        return f"let {name} = {start};"

    def counted(self, name, n):
        return f"for (let {name} = 0; {name} < {n}; {name}++) {{"

    def product(self, matrix, turned, row, out, depth, width):
        how = "multiplyTurned" if turned else "multiply"
        return f"{how}({row[0]}, {row[1]}, {matrix}, {out[0]}, {out[1]}, {depth}, {width});"
