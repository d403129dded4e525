"""JavaScript: the loops of a `Graph` as functions on typed arrays."""

import math
import re
from collections.abc import Iterable, Mapping

from ..graph import Graph, Lookup
from ..graph import Loop as Node
from . import written

_LITERAL = re.compile(r"\bF\((-?[\d.]+(?:e[-+]?\d+)?)\)")
_OF_MATH = frozenset(
    "abs acos acosh asin asinh atan atan2 atanh ceil cos cosh exp expm1 floor hypot log log10 log1p log2 sin"
    " sinh sqrt tan tanh".split()
)
FUNCTIONS = {  # of scalar rules, where Math has none or another; what they call stands before them
    "maximum": "const maximum = Math.max;",
    "minimum": "const minimum = Math.min;",
    "sign": "const sign = Math.sign;",
    "sigmoid": "const sigmoid = x => 1 / (1 + Math.exp(-x));",
    "softplus": "const softplus = x => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));",
    "where": "const where = (c, a, b) => c != 0 ? a : b;",
    "mod": "const mod = (a, b) => { const r = a % b; return r != 0 && (r < 0) != (b < 0) ? r + b : r; };",
    "round": """\
function round(x) { // halves to even
  const down = Math.floor(x), rest = x - down;
  return rest < 0.5 || (rest == 0.5 && down % 2 == 0) ? down : rest >= 0.5 ? down + 1 : x;
}""",
    "pow": "const pow = (a, b) => a === 1 || (a === -1 && Math.abs(b) === Infinity) ? 1 : Math.pow(a, b);",
    "logaddexp": """\
function logaddexp(a, b) {
  return a == b ? a + Math.LN2 : Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b)));
}""",
    "erf": """\
function erf(x) { // by the series whose terms have one sign (Abramowitz & Stegun 7.1.6)
  if (!(Math.abs(x) < 6)) return Math.sign(x);
  let term = x, sum = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) sum += term *= 2 * x * x / (2 * n + 1);
  return 2 / Math.sqrt(Math.PI) * Math.exp(-x * x) * sum;
}""",
    "F": "const F = Number;",
}
PRODUCTS = """\
let sums = new Float64Array(0);

// out[to...] = row[at...] of depth numbers, times a matrix of depth rows, eight of them at a time
function multiply(row, at, matrix, out, to, depth, width) {
  if (sums.length < width) sums = new Float64Array(width);
  sums.fill(0, 0, width);
  let i = 0, m0 = 0;
  for (; i + 8 <= depth; i += 8, m0 += 8 * width) {
    const m1 = m0 + width, m2 = m1 + width, m3 = m2 + width, m4 = m3 + width;
    const m5 = m4 + width, m6 = m5 + width, m7 = m6 + width;
    const x0 = row[at + i], x1 = row[at + i + 1], x2 = row[at + i + 2], x3 = row[at + i + 3];
    const x4 = row[at + i + 4], x5 = row[at + i + 5], x6 = row[at + i + 6], x7 = row[at + i + 7];
    for (let j = 0; j < width; j++) {
      sums[j] += x0 * matrix[m0 + j] + x1 * matrix[m1 + j] + x2 * matrix[m2 + j] + x3 * matrix[m3 + j]
        + x4 * matrix[m4 + j] + x5 * matrix[m5 + j] + x6 * matrix[m6 + j] + x7 * matrix[m7 + j];
    }
  }
  for (; i < depth; i++, m0 += width) {
    const x = row[at + i];
    for (let j = 0; j < width; j++) sums[j] += x * matrix[m0 + j];
  }
  for (let j = 0; j < width; j++) out[to + j] = sums[j];
}

// the same, times the transpose of a matrix of width rows
function multiplyTurned(row, at, matrix, out, to, depth, width) {
  if (sums.length < width) sums = new Float64Array(width);
  for (let j = 0, m = 0; j < width; j++, m += depth) {
    let a = 0, b = 0, c = 0, d = 0, i = 0;
    for (; i + 4 <= depth; i += 4) {
      a += row[at + i] * matrix[m + i];
      b += row[at + i + 1] * matrix[m + i + 1];
      c += row[at + i + 2] * matrix[m + i + 2];
      d += row[at + i + 3] * matrix[m + i + 3];
    }
    for (; i < depth; i++) a += row[at + i] * matrix[m + i];
    sums[j] = a + b + c + d;
  }
  for (let j = 0; j < width; j++) out[to + j] = sums[j];
}

// the rows of a table that ids name
function lookUp(table, width, ids, out) {
  ids.forEach((id, t) => out.set(table.subarray(id * width, (id + 1) * width), t * width));
}"""


class Loop(written.Loop):
    """A loop as a function, which holds its buffers."""

    name, infinity = "javascript", "Infinity"

    def quotient(self, a, b):
        return f"({a} / {b} | 0)"

    def assigned(self, name, text, *, whole=False):
        return f"const {name} = {self._plain(text)};"

    def literal(self, x):
        x = float(x)
        text = repr(x) if math.isfinite(x) else "NaN" if x != x else f"{'-' * (x < 0)}Infinity"
        return f"({text})" if text[0] == "-" else text.removesuffix(".0")

    def variable(self, name, start):
        return f"let {name} = {self._plain(start)};"

    def fold(self, name, step):
        return super().fold(name, self._plain(step))

    def store(self, place, column, value, first=0):
        return super().store(place, column, self._plain(value), first)

    def counted(self, name, n):
        return f"for (let {name} = 0; {name} < {n}; {name}++) {{"

    def product(self, matrix, turned, row, out, depth, width):
        how = "multiplyTurned" if turned else "multiply"
        return f"{how}({row[0]}, {row[1]}, {matrix}, {out[0]}, {out[1]}, {depth}, {width});"

    def _plain(self, text):
        """Without the type around numbers, which all have the same."""
        text = _LITERAL.sub(lambda m: self.literal(float(m[1])), text)
        self.called |= {"F"} if "F(" in text else set()
        return text

    @property
    def source(self) -> str:
        """``const NAME = FUNCTION;``, a function of its parameters, of which those over time have T rows."""
        node, times = self.node, "let t = 0; t < T; t++"
        buffers = [f"{name} = new Real({width})" for name, width in self.buffers.items()]
        inside = [f"{old}.set({s.name});" for old, _, s in self.states]
        after = [f"{old}.set({new});" for old, new, _ in self.states]
        if node.over_time:
            times = "let t = T - 1; t >= 0; t--" if node.reverse else times
            inside += [f"for ({times}) {{", *[f"    {x}" for x in [*self.lines, *after]], "}"]
        else:
            inside += [*self.lines, *after]
        inside += [f"{f.name}.set({old});" for (old, _, _), f in zip(self.states, node.finals, strict=True)]
        head = [f"    const {', '.join(buffers)};"] if buffers else []
        parameters = ", ".join(["T", *self.parameters])
        body = [f"const {node.name} = (() => {{", *head, f"    return ({parameters}) => {{"]
        return "\n".join([*body, *[f"        {x}" for x in inside], "    };", "})();"])


def constants_of(graph: Graph) -> list[str]:
    """Names of the constants that what is written of a graph may read: of all that its nodes name."""
    read = [n.table for n in graph.nodes if isinstance(n, Lookup)] + [*graph.fixed]
    for node in graph.nodes:
        read += (
            [name for name in node.closed.values() if isinstance(name, str)] if isinstance(node, Node) else []
        )
    return list(dict.fromkeys(read))


def source(graphs: Mapping[str, Graph]) -> str:
    """A script that defines ``graphs``: for each a function of ``(constants, Real)``, its constants as arrays
    by their names and the class of arrays, that returns a function of its inputs, an object of arrays by
    their names, to its outputs. One sequence: rows ``[width]``, over time ``[T * width]``, ids too.
    """
    loops = {name: written.loops_of(graph, Loop) for name, graph in graphs.items()}
    parts = [_graph(name, graph, loops[name]) for name, graph in graphs.items()]
    called = set().union(*[loop.called for of_one in loops.values() for loop in of_one.values()])
    return "\n\n".join([prelude(called), PRODUCTS, "const graphs = {};", *parts]) + "\n"


def prelude(called: Iterable[str]) -> str:
    """The scalar functions that are called."""
    native = sorted(set(called) & _OF_MATH)
    own = [FUNCTIONS[name] for name in sorted(set(called) - _OF_MATH)]
    return "\n".join([f"const {{{', '.join(native)}}} = Math;"] * bool(native) + own)


def _graph(name, graph, loops):
    names = constants_of(graph)
    inputs = [x.name for x in graph.inputs]
    timed = next((x for x in graph.inputs if x.over_time), None)
    steps = "1" if timed is None else f"{timed.name}.length" + f" / {timed.width}" * (timed.width > 1)
    kept, lines = [], []
    for node in graph.nodes:
        made = [node.out] if isinstance(node, Lookup) else [*node.outs, *node.finals]
        for item in made:
            new = f"{item.name} = new Real({f'T * {item.width}' if item.over_time else item.width})"
            (lines if item.over_time else kept).append(f"const {new};")
        if isinstance(node, Lookup):
            lines.append(f"lookUp({node.table}, {node.out.width}, {node.ids.name}, {node.out.name});")
        else:
            lines.append(f"{node.name}({', '.join(['T', *loops[node.name].parameters])});")
    outputs = ", ".join(f"{key}: {item.name}.slice()" for key, item in graph.outputs.items())
    head = [f"const {{{', '.join(names)}}} = constants;"] if names else []
    body = [*head, *[x for loop in loops.values() for x in loop.source.split("\n")], *kept]
    body += [f"return ({{{', '.join(inputs)}}}) => {{", f"    const T = {steps};"]
    body += [*[f"    {x}" for x in lines], f"    return {{{outputs}}};", "};"]
    return "\n".join([f"graphs.{name} = (constants, Real) => {{", *[f"    {x}" for x in body], "};"])
