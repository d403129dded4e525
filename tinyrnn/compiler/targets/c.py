"""C99, and C++ as well: a `Graph` as functions on one struct, which holds all that changes.

Names begin with ``tr_`` here; whoever writes the file puts another prefix there. What no model changes,
functions of numbers and products, stands in ``kernels/c``.
"""

import functools
import importlib.resources
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...kernels.references import bfloat16, quantised
from ..graph import Graph, Item, Lookup
from ..graph import Loop as Node
from ..ir import Kind, order
from . import written

_CALL = re.compile(r"\b([a-z][a-z0-9_]*)\(")
_USED = re.compile(r"\btr_(\w+)\(")
_BLOCK = re.compile(r"^static inline \w+ tr_(\w+)\(", re.M)
_LIBM = dict.fromkeys(
    "sqrt exp expm1 log log1p log2 log10 pow sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh erf "
    "floor ceil hypot atan2 fmod".split()
) | {"round": "rint", "abs": "fabs"}  # and their names in C, where those are others
_TWO = frozenset({"pow", "hypot", "atan2", "fmod"})
PANEL = 32  # see kernels/c/common.c
FORMS = {  # of weights: their type in C, and what makes a number of one
    "": ("tr_real", "{}"),
    "_bfloat16": ("uint16_t", "tr_from_bfloat16({})"),
    "_int8": ("int8_t", "(tr_real){}"),
}


def _prefixed(text):
    """With the names of functions as C has them."""
    return _CALL.sub(r"tr_\1(", text)


class Loop(written.Loop):
    """One step of a loop as a function of rows: `Functions` goes through time.

    Args:
        named: C's names of the graph's constants, as they are.
        multiplied: (constant, whether rows are multiplied by its transpose) -> the function of the product,
            and the matrix as that takes it.
    """

    name, infinity, division = "c", "INFINITY", "/"
    offsets = written.Loop.offsets | {"time": "0"}

    def __init__(
        self, node: Node, named: dict[str, str], multiplied: dict[tuple[str, bool], tuple[str, str]]
    ):
        self.named, self.multiplied = named, multiplied
        super().__init__(node)

    def assigned(self, name, text, *, whole=False):
        return f"const {'int' if whole else 'tr_real'} {name} = {_prefixed(text)};"

    def literal(self, x):
        return (
            f"F({x!r})" if x - x == 0 else f"F({'NAN' if x != x else '-INFINITY' if x < 0 else 'INFINITY'})"
        )

    def variable(self, name, start):
        return f"tr_real {name} = {start};"

    def fold(self, name, step):
        return super().fold(name, _prefixed(step))

    def counted(self, name, n):
        return f"for (int {name} = 0; {name} < {n}; {name}++) {{"

    def load(self, place, column, first=0):
        self.scope(place.array)
        return f"{self.named.get(place.array, place.array)}[{self.index(place, column, first)}]"

    def product(self, matrix, turned, row, out, depth, width):
        function, name = self.multiplied[matrix, turned]
        row, out = (array if offset == "0" else f"{array} + {offset}" for array, offset in (row, out))
        line = f"{function}({row}, {name}, {out}, {depth}, {width});"
        return line + f" tr_scale({name}_scale, {out}, {width});" * function.endswith("_int8")

    @functools.cached_property
    def arguments_of(self) -> dict[str, bool]:
        """What a step is given, by name: whether it is written."""
        node = self.node
        items = dict.fromkeys([x.name for x in node.xs], False)
        items |= {old: False for old, _, _ in self.states} | {out.name: True for out in node.outs}
        items |= {new: True for _, new, _ in self.states} | dict.fromkeys(self.schedule.scratch, True)
        return {name: items[name] for name in items if name in self.arrays and name not in self.named}

    def definition(self, name) -> str:
        """The function."""
        given = [f"{'' if w else 'const '}tr_real *TR_R {n}" for n, w in self.arguments_of.items()]
        body = [f"    {line}" for line in self.lines]
        return "\n".join([f"static void {name}({', '.join(given)})", "{", *body, "}"])


@dataclass
class Unit:
    """What a file of C is made of.

    Attributes:
        fields: of the struct, by name: type, how many as text, how many bytes, what they are in words.
        arrays: of weights, by name: their type, what stands between the braces, how many bytes.
        room: how many numbers ``work`` has, which functions have for themselves.
        steps: how many the field of that name has for each step of a sequence.
    """

    dtype: Any
    most: int  # steps of a sequence
    weights: str | None = None
    fields: dict[str, tuple[str, str, int, str]] = field(default_factory=dict)
    arrays: dict[str, tuple[str, str, int, int]] = field(default_factory=dict)
    known: dict[str, np.ndarray] = field(default_factory=dict)
    functions: list[str] = field(default_factory=list)
    room: int = 0
    steps: int = 0

    @property
    def real(self) -> str:
        return {"f": "float", "d": "double"}[np.dtype(self.dtype).char]

    def field(self, name: str, width: int, words: str, *, over_time=False, kind="tr_real") -> str:
        """The place of numbers in the struct; those of every step of a sequence if ``over_time``."""
        size = {"tr_real": np.dtype(self.dtype).itemsize, "int": 4, "double": 8, "uint64_t": 8}[kind] * width
        count = f"TR_MAX_LENGTH * {width}".removesuffix(" * 1") if over_time else str(width)
        self.fields[name] = kind, count, size * (self.most if over_time else 1), words
        return f"m->{name}"

    def constant(self, name: str, array: np.ndarray, form="", axis=0, *, panels=False) -> str:
        """The name of an array of weights; in 8 bits of each row (axis 0) or column (1) with a scale.

        ``panels``: columns lie in panels of 32, one after the other, and one of what is left.
        """
        while name in self.known and not np.array_equal(self.known[name], array, equal_nan=True):
            name += "_"
        if name not in self.known:
            self.known[name] = array
            if form == "_int8":
                array, scale = quantised(np.ascontiguousarray(array), 1 - axis, 127)
                self.table(f"{name}_scale", "tr_real", scale)
            if panels:
                parts = [array[:, i : i + PANEL].ravel() for i in range(0, array.shape[1], PANEL)]
                array = np.concatenate(parts)
            if form == "_bfloat16":
                array = (bfloat16(array).view(np.uint32) >> 16).astype(np.uint16)
            self.table(name, FORMS[form][0], array)
        return f"tr_{name}"

    def finish(self):
        """Add the fields that functions share."""
        if self.steps:
            self.field("steps", self.steps, "of all steps, until functions return", over_time=True)
        if self.room:
            self.field("work", self.room, "of functions, until they return")

    def table(self, name: str, kind: str, array: np.ndarray):
        """Constants of a type."""
        words: Any = array.reshape(-1).astype(str)
        if array.dtype.kind == "f":
            names, suffix = (
                {"nan": "NAN", "inf": "INFINITY", "-inf": "-INFINITY"},
                "f" * (array.dtype.itemsize == 4),
            )
            words = [names.get(w) or w + suffix for w in words]
        self.arrays[name] = kind, _wrapped(words), array.size, array.nbytes

    @property
    def bytes_of_weights(self) -> int:
        return sum(size for *_, size in self.arrays.values())

    def source(self, rest: str) -> str:
        """Weights, and the functions that those of the unit and ``rest`` need, in order."""
        blocks = library(self.real)
        wanted, todo = set(), set(_USED.findall("\n".join([*self.functions, rest])))
        while todo:
            name = todo.pop()
            if name in blocks and name not in wanted:
                wanted.add(name)
                todo |= set(_USED.findall(blocks[name]))
        sized = [
            f"static const {kind} tr_{name}[{n}] = {{\n{text}\n}};"
            for name, (kind, text, n, _) in self.arrays.items()
        ]
        return "\n\n".join([*sized, *[b for name, b in blocks.items() if name in wanted], *self.functions])


def _number(x, suffix="") -> str:
    """A number, or as NumPy writes it, as C does."""
    return {"nan": "NAN", "inf": "INFINITY", "-inf": "-INFINITY"}.get(str(x)) or f"{x}{suffix}"


def _wrapped(words, most=110) -> str:
    """Words with commas between them, in lines."""
    lines, line = [], "   "
    for word in words:
        if len(line) + len(word) + 2 > most:
            lines.append(line)
            line = "   "
        line += f" {word},"
    return "\n".join([*lines, line]).removesuffix(",")


@functools.cache
def library(real: str) -> dict[str, str]:
    """Name of a function -> its text, those that it calls before it."""
    folder, found = importlib.resources.files("tinyrnn.kernels").joinpath("c"), {}
    suffix = "f" * (real == "float")
    for name, own in _LIBM.items():
        two = name in _TWO
        given = "tr_real a, tr_real b" if two else "tr_real x"
        body = f"{{ return {own or name}{suffix}({'a, b' if two else 'x'}); }}"
        found[name] = f"static inline tr_real tr_{name}({given}) {body}"
    for part in (real, "common"):
        for block in re.split(r"\n\n(?=static|/\*)", folder.joinpath(f"{part}.c").read_text()):
            for form, (kind, wide) in FORMS.items():
                text = re.sub(r"tr_wide\((\w+\[[^]]*\])\)", lambda m, w=wide: w.format(m[1]), block)
                text = re.sub(
                    r"tr_(multiply_turned|multiply|fetch)\b", rf"tr_\1{form}", text.replace("tr_weight", kind)
                )
                for name in _BLOCK.findall(text)[:1]:  # none: what stands at the head of the file
                    found.pop(name, None)  # of libm, where there is a polynomial
                    found[name] = text.strip()
    return found


class Functions:
    """A graph as functions on the struct ``m`` of a unit.

    What can be computed while a sequence comes in, step by step, is done by ``tr_run_NAME_feed``; the rest by
    ``tr_run_NAME``, of ``m->length`` steps. Both are given the graph's inputs that are not over time and no
    states: ``feed`` what is of one step. ``tr_run_NAME_start`` sets states as they are before the first.

    Args:
        streamed: inputs over time that come in step by step; the others are whole, as ``places`` says.
        places: of inputs and outputs, by name: where they are in C. (Of an output, by the name that the graph
            gives it.)

    Attributes:
        starts: whether there is a ``tr_run_NAME_start``; whole: what is remembered of all steps.
    """

    def __init__(self, unit: Unit, name: str, graph: Graph, *, streamed=(), places=None, alone=True):
        self.unit, self.name, self.graph, self.streamed = unit, name, graph, set(streamed)
        self.own = "" if alone else f"{name}_"
        self.places = dict(places or {})
        self.lookups = {n.out.name: n for n in graph.nodes if isinstance(n, Lookup)}
        self.nodes = [n for n in graph.nodes if isinstance(n, Node)]
        self._store()
        self.loops = {n.name: Loop(n, self.named, self.multiplied) for n in self.nodes}
        self._part()
        self._place()
        for node in self.nodes:
            unit.functions.append(self.loops[node.name].definition(f"tr_{self.own}{node.name}"))
        self._write()

    # ------------------------------------------------------------------ how weights are stored

    def _store(self):
        """Give the unit the constants: what is looked up in or read number by number as it is, what rows are
        multiplied by in panels. What is a matrix, and not read so, has the unit's form.
        """
        graph, unit = self.graph, self.unit
        looked = {n.table for n in self.lookups.values()}
        read, products = {*graph.fixed}, set()
        for node in self.nodes:
            products |= {*node.matrices.items()}
            for v in order(node.values):
                inputs = v.inputs[: 1 if v.kind is Kind.MATMUL else None]
                read |= {node.closed.get(x.attr) for x in inputs if x.kind is Kind.INPUT}
            read |= {node.closed.get(v.attr) for v in node.values if v.kind is Kind.INPUT}
        form = f"_{unit.weights}" if unit.weights else ""
        self.forms = {name: "" if name in read else form for name in graph.constants}
        self.named, self.multiplied = {}, {}
        for name in [name for name in graph.constants if name in looked | read]:
            self.named[name] = unit.constant(name, graph.constants[name], self.forms[name])
        for name, turned in sorted(products):
            own = self.forms[name]
            if turned and name in looked:  # stored once
                self.multiplied[name, turned] = f"tr_multiply_turned{own}", self.named[name]
                continue
            array = graph.constants[name].T if turned else graph.constants[name]
            as_it_is = f"{name}_panels" if name in self.named else name
            self.multiplied[name, turned] = (
                f"tr_multiply{own}",
                unit.constant(as_it_is, array, own, 1, panels=True),
            )

    # ------------------------------------------------------------------ what is done when

    def _part(self):
        """Which nodes are for every step that comes in, and what is remembered of all steps."""
        known = set(self.streamed)
        known |= {n.out.name for n in self.lookups.values() if n.ids.name in known}
        fixed, self.fed = {*self.graph.fixed, *self.graph.states}, []
        for node in self.nodes:
            over, once = [x for x in node.xs if x.over_time], [x for x in node.xs if not x.over_time]
            comes = all(x.name in known for x in over) and all(x.name in fixed for x in [*once, *node.init])
            if over and comes and not node.reverse:
                self.fed.append(node)
                known |= {out.name for out in node.outs}
        self.rest = [n for n in self.nodes if n not in self.fed]
        read = {x.name for node in self.rest for x in node.xs if x.over_time}
        seen = {item.name for item in self.graph.outputs.values() if item.over_time}
        self.whole = {*read, *seen} | {x.name for x in self.graph.inputs if x.over_time} - self.streamed
        self.kept_ids = {n.ids.name for n in self.lookups.values() if n.out.name in self.whole}
        self.whole |= self.kept_ids

    def _place(self):
        """Give every item its place."""
        graph, self.at = self.graph, {name: self.named[name] for name in self.graph.fixed}
        self.after = []  # outputs that are copied to where they are to be
        for x in graph.inputs:
            if x.name in self.places:
                self.at[x.name] = self.places[x.name]
            elif x.name in graph.states:
                self.at[x.name] = self.unit.field(x.name, x.width, "state")
            elif x.name in self.whole:
                self.at[x.name] = self.unit.field(
                    x.name, x.width, "what came in", over_time=True, kind="int" if x.count else "tr_real"
                )
            else:
                self.at[x.name] = x.name  # an argument
        wanted, taken = (
            {item.name: name for name, item in graph.outputs.items() if name in self.places},
            set(),
        )
        last = {x.name: i for i, node in enumerate(self.rest) for x in node.xs}
        last |= {item.name: len(self.rest) for item in graph.outputs.values()}
        busy: list[tuple[int, int, int]] = []  # of ``steps``: until which node, and where
        for node in self.nodes:
            for item in (*node.outs, *node.finals):
                if item.name in wanted:
                    self.at[item.name] = self.places[wanted[item.name]]
                    taken.add(wanted[item.name])
                    continue
                over = item.over_time and item.name in self.whole
                if over and node in self.rest:
                    now = self.rest.index(node)
                    self.at[item.name] = self._shared(busy, item.width, now, last[item.name])
                    continue
                words = "state" if item in node.finals and node in self.fed else f"made by {node.name}"
                self.at[item.name] = self.unit.field(self.own + item.name, item.width, words, over_time=over)
        for state, (_, name) in graph.states.items():
            if name in graph.outputs:
                self.after.append((self.at[state], graph.outputs[name]))
        for name, item in graph.outputs.items():
            if name in self.places and name not in taken:
                self.after.append((self.places[name], item))

    def _shared(self, busy, width, now, until):
        """A place among those of steps that later nodes use again: the first that nothing has which is read
        at the node ``now`` or later.
        """
        first = 0
        for _, begin, end in sorted([b for b in busy if b[0] >= now], key=lambda b: b[1]):
            first = first if begin >= first + width else max(first, end)
        busy.append((until, first, first + width))
        self.unit.steps = max(self.unit.steps, first + width)
        return f"m->steps + (size_t)TR_MAX_LENGTH * {first}" if first else "m->steps"

    # ------------------------------------------------------------------ functions

    def _write(self):
        unit, graph = self.unit, self.graph
        given = [
            f"int {x.name}" if x.count else f"const tr_real *{x.name}"
            for x in graph.inputs
            if x.name not in graph.states and not x.over_time and x.name not in self.places
        ]
        coming = [
            f"int {x.name}" if x.count else f"const tr_real *{x.name}"
            for x in graph.inputs
            if x.name in self.streamed
        ]
        start = [self._copied(self._pointer(f, None), self._pointer(i, None), f.width)
                 for node in self.fed for f, i in zip(node.finals, node.init, strict=True)]  # fmt: skip
        for name, (value, _) in graph.states.items():
            if name in self.places:
                continue
            if value.any():
                start.append(
                    self._copied(
                        self.at[name], unit.constant(f"start_{name}", value.astype(graph.dtype)), value.size
                    )
                )
            else:
                start.append(f"memset({self.at[name]}, 0, {value.size} * sizeof(tr_real));")
        self.starts = bool(start)
        if start:
            self._function("start", [], start)
        if self.streamed:
            lines = []
            for x in graph.inputs:
                if x.name in self.streamed & self.whole:
                    into = f"{self.at[x.name]} + m->length * {x.width}"
                    lines.append(
                        f"{self.at[x.name]}[m->length] = {x.name};"
                        if x.count
                        else self._copied(into, x.name, x.width)
                    )
            for node in self.fed:
                lines += self._once(node, "m->length", node.finals)
            self._function("feed", coming, lines)
        lines = []
        for node in self.rest:
            lines += self._over_time(node) if node.over_time else self._once(node, None, None)
        lines += [
            self._copied(into, self._pointer(item, None), item.width, item.over_time)
            for into, item in self.after
        ]
        if lines:
            self._function("", given, lines)

    def _function(self, part, given, lines):
        name = "_".join(filter(None, ["tr_run", self.name, part]))
        head = f"static void {name}({', '.join(['tr_state *m', *given])})"
        self.unit.functions.append("\n".join([head, "{", *[f"    {line}" for line in lines], "}"]))

    @staticmethod
    def _copied(into, what, width, over_time=False):
        return f"memcpy({into}, {what}, {'(size_t)m->length * ' * over_time}{width} * sizeof(tr_real));"

    def _pointer(self, item: Item, t):
        """Where an item is at the step ``t``."""
        at = self.at[item.name]
        return (
            at
            if t is None or not item.over_time or item.name not in self.whole
            else f"{at} + {t} * {item.width}"
        )

    def _given(self, node, t):
        """Lines that find what a node reads, and where it is: rows of tables are made floats."""
        lines, where = [], {}
        for x in dict.fromkeys(node.xs):
            looked = self.lookups.get(x.name)
            if looked is None or x.name not in self.loops[node.name].arguments_of:
                where[x.name] = self._pointer(x, t) if looked is None else ""
                continue
            i = (
                f"{self.at[looked.ids.name]}[{t}]"
                if looked.ids.name in self.kept_ids and t == "t"
                else looked.ids.name
            )
            table, form = self.named[looked.table], self.forms[looked.table]
            row = f"{table} + (size_t){i} * {x.width}"
            if not form:
                where[x.name] = row
                continue
            where[x.name] = into = self._scratch(x.width)
            lines.append(f"tr_fetch{form}({row}, {into}, {x.width});")
            if form == "_int8":
                lines.append(f"for (int j = 0; j < {x.width}; j++) ({into})[j] *= {table}_scale[{i}];")
        return lines, where

    def _scratch(self, width):
        at = self.used
        self.used += -(-width // 16) * 16
        self.unit.room = max(self.unit.room, self.used)
        return f"m->work + {at}" if at else "m->work"

    def _called(self, node, where):
        loop = self.loops[node.name]
        where = where | {name: self._scratch(width) for name, (width, _) in loop.schedule.scratch.items()}
        given = [where[name] for name in loop.arguments_of]
        return f"tr_{self.own}{node.name}({', '.join(given)});"

    def _once(self, node, t, old):
        """One step; ``old``: items that hold the states from step to step, else they are as the node says."""
        self.used, loop = 0, self.loops[node.name]
        lines, where = self._given(node, t)
        where |= {out.name: self._pointer(out, t) for out in node.outs}
        copies = []
        for (before, after, item), begin, final in zip(loop.states, node.init, node.finals, strict=True):
            where[before] = self._pointer(begin if old is None else final, None)
            where[after] = self._pointer(final, None) if old is None else self._scratch(item.width)
            if old is not None:
                copies.append(self._copied(where[before], where[after], item.width))
        return [*lines, self._called(node, where), *copies]

    def _over_time(self, node):
        self.used, loop = 0, self.loops[node.name]
        begin, turn, end = [], [], []
        where = {}
        for (before, after, item), first, final in zip(loop.states, node.init, node.finals, strict=True):
            where |= {before: before, after: after}
            begin += [f"tr_real *{name} = {self._scratch(item.width)};" for name in (before, after)]
            begin.append(self._copied(before, self._pointer(first, None), item.width))
            turn += [f"{{ tr_real *const other = {before}; {before} = {after}; {after} = other; }}"]
            end.append(self._copied(self._pointer(final, None), before, item.width))
        lines, given = self._given(node, "t")
        where |= given | {out.name: self._pointer(out, "t") for out in node.outs}
        head = (
            "for (int t = m->length - 1; t >= 0; t--) {"
            if node.reverse
            else "for (int t = 0; t < m->length; t++) {"
        )
        inside = [f"    {x}" for x in [*lines, self._called(node, where), *turn]]
        return ["{", *[f"    {x}" for x in [*begin, head, *inside, "}", *end]], "}"]
