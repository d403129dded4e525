"""From a program to the source of one loop over time.

Between two products of the step everything is done row by row, so that a row stays in the cache: a *stage* is
one pass over the rows, and ends with the products whose operands are then complete. Within a stage, a *turn*
is one pass over the columns: a sum over a row, or values laid side by side, must be complete before the next
turn can use them. A value is computed in the latest turn that serves all its users, and written to memory
only where another turn or stage needs it.
"""

import itertools
import re
from dataclasses import dataclass

import numba
import numpy as np

from ..autograd.tape import TABLE
from ..base.errors import TraceError
from ..kernels import noalias
from ..kernels.pointwise import NUMPY_PRELUDE, typed
from .ir import ROW_REDUCTIONS, CompilerFault, Kind, order
from .plan import is_cheap

BARRIERS = ROW_REDUCTIONS | {Kind.CONCAT}
_ALIKE = frozenset({Kind.SLICE, Kind.COPY})  # read where what they are made of is
_NAMED = frozenset({Kind.NUMBER, Kind.INPUT})
# rows of the batch that stay on one thread, and whose sums are added up in one place, whatever the number of
# threads
UNIT = 4


@dataclass(frozen=True)
class Place:
    """Where a value is in memory: an array of the loop, the kind of its offset, the width of the array's
    rows.

    ``add``: it is summed there; ``ids``: the array of ids by which rows of this one are looked up; ``first``:
        its first column.
    """

    array: str
    kind: str
    width: int
    add: bool = False
    ids: str = ""
    first: int = 0


# The first element of row b: {w} is the width, {s} the array's step in time (0 where every step overwrites
# the last), {i} the array of the ids by which rows of a table are looked up.
_OFFSETS = {
    "time": "t * {s} + b * {w}",
    "table": "{i}[t * B + b] * {w}",
    "old": "(t + back) * B * {w} + b * {w}",
    "new": "(t + 1 - back) * B * {w} + b * {w}",
    "batch": "b * {w}",
    "rows": "(b - b0) * {w}",
    "unit": f"(b // {UNIT}) * {{w}}",
    "one": "0",
    "number": "0",
}


def module_source(loops, dtype, mode="numba") -> str:
    """The module that holds ``loops``. Sizes are no part of it: cells of all hidden sizes share one
    compilation.

    ``mode`` "python": for the interpreter, to be read and stepped through.
    """
    scopes = max(len(loop.arrays) for loop in loops)
    if scopes > noalias.SCOPES:
        raise TraceError(
            f"the step needs {scopes} arrays, more than the {noalias.SCOPES} that a loop can have"
        )
    lines = [PRELUDES[mode].format(dtype=np.dtype(dtype).name)]
    lines += [f"load{k}, store{k} = access({k})" for k in range(scopes)]
    return "\n".join([*lines, "", "", *[f"@jit\n{loop.source()}\n\n" for loop in loops]])


PRELUDES = {
    "numba": NUMPY_PRELUDE
    + "from tinyrnn.kernels.gemm import multiply_packed as multiply\n"
    + "from tinyrnn.kernels.noalias import access\n"
    + "from tinyrnn.kernels.sampling import choose\n",
    "python": "import numpy as np\nfrom tinyrnn.kernels.plain import *\n\nF = np.{dtype}\n",
}


class Loop:
    """The source of one loop.

    Args:
        name: of the function.
        sinks: pairs (Value, Place): where values are to be stored.
        leaves: Value -> Place of what is in memory already.
        carried: pairs of arrays that are exchanged at the end of a step: what was written is read in the
            next.
        backwards: the loop goes against the direction of the recurrence.
        after: lines at the end of a step; ``extra``: names of arguments that they use.
    """

    def __init__(self, name, sinks, leaves, *, carried=(), backwards=False, after=(), extra=()):
        self.name, self.leaves, self.carried, self.backwards = name, leaves, carried, backwards
        self.after, self.extra = after, extra
        self.count = itertools.count()
        self.sinks = {}
        for value, place in sinks:
            self.sinks.setdefault(value, []).append(place)
        self.arrays, self.sizes, self.steps, self.ids, self.scratch, self.packed = {}, {}, {}, {}, {}, {}
        self.numbers, self.constants = {}, {}  # of the step, and of the program: their names
        self.values = order([v for v, _ in sinks], self.leaves.__contains__)
        self._schedule()
        self.lines = []
        for stage in range(self.stages):
            self._stage(stage)
        for array in itertools.chain(*carried):  # also of a state that is never read
            self.scope(array)

    # ------------------------------------------------------------------ what is computed when

    def _source(self, v):
        """What a slice or copy reads."""
        while v not in self.leaves and v not in self.copies and v.kind in _ALIKE:
            v = v.inputs[0]
        return v

    def _passes(self, v):
        """True for slices and copies: they are read where their source is."""
        return v.kind in _ALIKE and v not in self.copies

    def _schedule(self):
        """Give each value its position (stage, turn), and find what has to be stored."""
        self.position, self.users = {}, {}
        # A product reads its operand from memory, so a column that it needs at full width is written out.
        operands = [v.inputs[0] for v in self.values if v.kind is Kind.MATMUL and v not in self.leaves]
        self.copies = {x for x in operands if x.kind is Kind.COPY and x not in self.leaves}
        for v in self.values:
            for x in () if v in self.leaves else v.inputs:
                self.users.setdefault(self._source(x), []).append(v)
            self.position[v] = self._earliest(v)
        for v in reversed(
            self.values
        ):  # later, if all users are later and the inputs can still be read there
            users = [u for u in self.users.get(v, ()) if u in self.sinks or not self._passes(u)]
            if (
                self._movable(v)
                and users
                and v not in self.sinks
                and not any(u.kind is Kind.MATMUL for u in users)
            ):
                latest = min(self.position[u] for u in users)
                if latest > self.position[v] and all(self._anywhere(x) for x in v.inputs):
                    self.position[v] = latest
        acting = [(v, p[0]) for v, p in self.position.items() if self._acts(v)]
        self.stages = 1 + max(stage + (v.kind is Kind.MATMUL and v in self.sinks) for v, stage in acting)
        self.inline = {v for v in self.values if self._cheap(v, 4)}
        self.stored = {}
        for v in self.values:
            if v in self.leaves or v.kind in _NAMED or self._passes(v):
                continue
            if v.kind in (Kind.MATMUL, Kind.CONCAT) or self._is_read_elsewhere(v):
                self.stored[v] = self._storage(v)

    def _earliest(self, v):
        if v in self.leaves or v.kind in _NAMED:
            return 0, 0
        at = (0, 0)
        for x in v.inputs:
            source = self._source(x)
            stage, turn = self.position[source]
            if source in self.leaves:
                continue
            if source.kind is Kind.MATMUL:
                stage, turn = stage + 1, 0
            elif source.kind in BARRIERS and (not self._passes(v) or v in self.sinks):
                turn += 1
            at = max(at, (stage, turn))
        return at

    def _acts(self, v):
        """True for what needs a pass of its own: a store, a product, a reduction."""
        return v in self.sinks or v.kind in BARRIERS or v.kind is Kind.MATMUL

    def _movable(self, v):
        return v not in self.leaves and v.kind is Kind.POINTWISE

    def _anywhere(self, x):
        """True for what can be read in any later turn, stored for that as one number a row at most."""
        source = self._source(x)
        return (
            source in self.leaves
            or source.kind in (Kind.NUMBER, Kind.MATMUL)
            or not source.rows
            or source.width == 1
        )

    def _cheap(self, v, size):
        """True where computing ``v`` again costs no more than reading it."""
        if v in self.leaves or v.kind is Kind.NUMBER:
            return True
        if v.kind in _ALIKE:
            return self._cheap(v.inputs[0], size) or self._source(v).kind is Kind.MATMUL
        if not v.rows and self._movable(v):
            return True
        return self._movable(v) and is_cheap(v) and size > 0 and all(
            self._anywhere(x) and (self._source(x).kind is Kind.MATMUL or self._cheap(x, size - 1)) for x in v.inputs
        )  # fmt: skip

    def _is_read_elsewhere(self, v):
        if any(u.kind is Kind.MATMUL and self._source(u.inputs[0]) is v for u in self.users.get(v, ())):
            return True  # a product reads its operand from memory
        if v in self.inline or not v.rows:
            return False
        for u in self._readers(v):
            if self.position[u] != self.position[v] and not (
                v.width == 1 and self.position[u][0] == self.position[v][0]
            ):
                return True
        return False

    def _readers(self, v):
        """Users, looking through slices, copies and what is computed again at each use."""
        out, todo, seen = [], list(self.users.get(v, ())), set()
        while todo:
            u = todo.pop()
            if u in seen:
                continue
            seen.add(u)
            if self._passes(u) or (u in self.inline and u not in self.sinks):
                todo.extend(self.users.get(u, ()))
                if u in self.sinks:
                    out.append(u)
            else:
                out.append(u)
        return out

    def _storage(self, v):
        """A place for ``v``: where it is to be stored anyhow, or scratch for the rows of a thread, or for one
        row.
        """
        for place in self.sinks.get(v, ()):
            if not place.add and (v.kind is not Kind.MATMUL or place.kind == "batch"):
                return place
        stages = {self.position[u][0] for u in self._readers(v)} | {self.position[v][0]}
        across = (
            v.kind is Kind.MATMUL or len(stages) > 1 or any(u.kind is Kind.MATMUL for u in self._readers(v))
        )
        name = f"{'rows' if across else 'row'}{len(self.scratch)}"
        self.scratch[name] = (v.width, across)
        return Place(name, "rows" if across else "one", v.width)

    def _places(self, v):
        """Everywhere that ``v`` is to be written, each place once."""
        return [*dict.fromkeys([*([self.stored[v]] if v in self.stored else []), *self.sinks.get(v, ())])]

    # ------------------------------------------------------------------ source

    def size(self, n):
        """The name of an integer that is an argument: sizes are no part of the source."""
        if n in (0, 1):
            return str(n)
        return self.sizes.setdefault(n, f"n{len(self.sizes)}")

    def scope(self, array):
        return self.arrays.setdefault(array, len(self.arrays))

    def offset(self, place):
        """The name of the offset of row b in ``place``, defined once a pass over the rows."""
        step, text = self._offset(place)
        name = f"o_{place.kind}_{step or self.ids.get(place.array) or self.size(place.width)}_{self.size(place.width)}"
        if name not in self.offsets:
            self.offsets.add(name)
            self.head.append(f"{name} = {text}")
        return name

    def _offset(self, place):
        """The name of the step in time of ``place``, if it has one, and the text of the offset of its row
        b.
        """
        step = self.steps.setdefault(place.array, f"s_{place.array}") if place.kind == "time" else ""
        if place.ids:
            self.ids[place.array] = place.ids
        return step, _OFFSETS[place.kind].format(w=self.size(place.width), s=step, i=place.ids)

    def index(self, place, column, first):
        """The text of the index of a column of row b in ``place``."""
        first += place.first
        parts = [self.offset(place) if place.kind != "one" else "", column, self.size(first) if first else ""]
        return " + ".join(filter(None, parts)) or "0"

    def load(self, place, column, first=0):
        return f"load{self.scope(place.array)}({place.array}, {self.index(place, column, first)})"

    def store(self, place, column, value, first=0):
        if place.add:
            value = f"{self.load(place, column, first)} + {value}"
        return f"store{self.scope(place.array)}({place.array}, {self.index(place, column, first)}, {value})"

    def _stage(self, stage):
        self.offsets, self.head = set(), []
        self.row, self.row_names = [], {}
        turns = {
            p[1] for v, p in self.position.items() if p[0] == stage and (self._acts(v) or v in self.stored)
        }
        turns |= {
            0
            for v, p in self.position.items()
            if v.kind is Kind.MATMUL and v in self.sinks and p[0] + 1 == stage
        }
        for turn in sorted(turns):
            self._turn(stage, turn)
        if self.row:
            self.lines += ["for b in range(b0, b1):", *[f" {x}" for x in [*self.head, *self.row]]]
        for v in self.values:
            if v.kind is Kind.MATMUL and v not in self.leaves and self.position[v][0] == stage:
                self._product(v)

    def _product(self, v):
        operand, matrix = v.inputs
        source = self._source(operand)
        place = self.leaves.get(source) or self.stored.get(source)
        if place is None:
            raise CompilerFault(f"a product reads {operand!r}, which is not in memory")
        first = place.first + (operand.attr[0] if operand.kind is Kind.SLICE else 0)
        out = self.stored[v]
        packed = self.packed.setdefault((matrix, v.attr), f"packed{len(self.packed)}")
        self.scope(packed)

        def corner(p):
            return "0" if p.kind == "rows" else self._offset(p)[1].replace("b *", "b0 *")

        for p in (place, out):
            self.scope(p.array)
        k, n = self.size(operand.width), self.size(v.width)
        first = self.size(first)
        self.lines.append(
            f"multiply({place.array}, {corner(place)} + {first}, {self.size(place.width)}, {packed}, "
            f"{out.array}, {corner(out)}, {self.size(out.width)}, b1 - b0, {k}, {n}, False)"
        )

    def _turn(self, stage, turn):
        self.now = stage, turn
        here = [v for v in self.values if self.position[v] == (stage, turn)]
        effects = {}  # width -> list of (kind, value, extra)
        for v in here:
            if v in self.leaves or v.kind in _NAMED or self._passes(v):
                if v in self.sinks:
                    effects.setdefault(v.width, []).append(("store", v, self.sinks[v]))
                continue
            if v.kind in ROW_REDUCTIONS:
                effects.setdefault(v.inputs[0].width, []).append(("reduce", v, None))
            elif v.kind is Kind.CONCAT:
                at = 0
                for part in v.inputs:
                    effects.setdefault(part.width, []).append(("part", part, (self._places(v), at)))
                    at += part.width
            elif v.kind is not Kind.MATMUL and self._places(v):
                effects.setdefault(v.width, []).append(("store", v, self._places(v)))
        for v in self.values:  # a product that is wanted elsewhere too is copied in the next stage
            if v.kind is Kind.MATMUL and v in self.sinks and turn == 0 and self.position[v][0] + 1 == stage:
                rest = [p for p in self.sinks[v] if p != self.stored[v]]
                if rest:
                    effects.setdefault(v.width, []).append(("store", v, rest))
        for width in sorted(effects):
            self._columns(width, effects[width])

    def _columns(self, width, effects):
        """One pass over ``width`` columns."""
        wide = width > 1
        self.body, self.names = ([], {}) if wide else (self.row, self.row_names)
        column = "j" if wide else ""
        after = []
        for kind, v, extra in effects:
            if kind == "reduce":
                name = f"a{next(self.count)}"
                start = {Kind.ROWSUM: "F(0)", Kind.ROWMAX: "F(-np.inf)", Kind.ROWMIN: "F(np.inf)"}[v.kind]
                e = self.expression(v.inputs[0])
                self.row.append(f"{name} = {start}")
                step = {
                    Kind.ROWSUM: f"{name} + {e}",
                    Kind.ROWMAX: f"maximum({name}, {e})",
                    Kind.ROWMIN: f"minimum({name}, {e})",
                }[v.kind]
                self.body.append(f"{name} = {step}")
                after.append((v, name))
            else:
                places, first = (extra, 0) if kind == "store" else extra
                e = self.expression(v)
                for place in places:
                    self.body.append(self.store(place, column, e, first))
        if wide:
            self.row += [f"for j in range({self.size(width)}):", *[f" {x}" for x in self.body]]
        for v, name in after:
            self.row_names[v] = name
            for place in self._places(v):
                self.row.append(self.store(place, "", name))

    def expression(self, v):
        """A name or literal for ``v``; the lines that compute it are emitted where it is needed first."""
        if v.kind is Kind.NUMBER:
            return self.literal(v.attr)
        scalar = v.width == 1
        names, lines, column = (self.row_names, self.row, "") if scalar else (self.names, self.body, "j")
        if v in names:
            return names[v]
        place = self.leaves.get(v)
        if place is not None and place.kind == "number":
            return self.numbers.setdefault(place.first, f"number{place.first}")
        if (
            place is None
            and v in self.stored
            and (self.now != self.position[v] or v.kind in (Kind.MATMUL, Kind.CONCAT))
        ):
            place = self._readable(v)
        if place is not None:
            text = self.load(place, column)
        elif v.kind is Kind.SLICE:
            source = v.inputs[0]
            text = self.load(self.leaves.get(source) or self._readable(source), column, v.attr[0])
        elif v.kind is Kind.COPY:
            return self.expression(v.inputs[0])
        elif v.kind is Kind.POINTWISE:
            op = TABLE[v.attr]
            inputs = {a: self.expression(x) for a, x in zip(op.inputs, v.inputs, strict=True)}
            rule = typed(op.rule, "F({})".format)
            text = re.sub(r"\b(" + "|".join(inputs) + r")\b", lambda m: inputs[m[1]], rule)
        else:
            raise CompilerFault(f"{v!r} cannot be read where it is needed")
        name = f"{'u' if scalar else 'v'}{next(self.count)}"
        lines.append(f"{name} = {text}")
        names[v] = name
        return name

    def literal(self, x):
        """A number of the program: small ones stand in the source, others, as 1 / width, are arguments like
        sizes.
        """
        if not np.isfinite(x):
            return f"F(np.{x!r})".replace("np.-", "-np.")
        if x == round(x) and abs(x) <= 8:
            return f"F({x!r})"
        return self.constants.setdefault(x, f"constant{len(self.constants)}")

    def _readable(self, v):
        """Where ``v`` is stored, if it was written before what is being emitted now."""
        written = self.position[v][0] < self.now[0] if v.kind is Kind.MATMUL else self.position[v] < self.now
        if v not in self.stored or not written:
            raise CompilerFault(f"{v!r} is read before it is written")
        return self.stored[v]

    # ------------------------------------------------------------------ the whole function

    def source(self) -> str:
        """A function of (T, B, b0, b1, back, n, arrays...): sizes and time steps come in ``n``, as `integers`
        lists them.
        """
        lines = [f"def {self.name}(T, B, b0, b1, back, n, {', '.join([*self.arguments(), *self.extra])}):"]
        scratch = [  # before the sizes are listed: it may name more of them
            f" {name} = np.empty({'(b1 - b0) * ' if across else ''}{self.size(width)}, F)"
            for name, (width, across) in self.scratch.items()
        ]
        names = [*self.sizes.values(), *self.steps.values()]
        lines += [f" {name} = n[{k}]" for k, name in enumerate(names)]
        lines += [f" {name} = numbers[{k}]" for k, name in sorted(self.numbers.items())]
        lines += [
            f" {name} = numbers[numbers.size - {k + 1}]" for k, name in enumerate(self.constants.values())
        ]
        lines += scratch
        lines += [
            " for i in range(T):",
            f"  t = {'i if back else T - 1 - i' if self.backwards else 'T - 1 - i if back else i'}",
        ]
        lines += [f"  {line}" for line in self.lines]
        lines += [f"  {line}" for line in [*self.after, *[f"{a}, {b} = {b}, {a}" for a, b in self.carried]]]
        return "\n".join(lines)

    def arguments(self) -> list:
        """Names of the arrays the function takes, in order."""
        return [
            *[a for a in self.arrays if a not in self.scratch],
            *[i for i in dict.fromkeys(self.ids.values()) if i not in self.extra],
            "numbers",
        ]

    def signature(self, dtype) -> tuple:
        """Numba's types of the function's arguments."""
        flat = [
            numba.from_dtype(np.dtype(np.int64 if a in self.ids.values() else dtype))[::1]
            for a in self.arguments()
        ]
        return (*[numba.int64] * 4, numba.boolean, numba.int64[::1], *flat)

    def all_numbers(self, given) -> list:
        """What ``numbers`` holds: those that the step has at this call, and after them those of the
        program.
        """
        return [*given, *reversed(self.constants)]

    def integers(self, time_steps) -> list:
        """What ``n`` holds: every size, and the step in time of every array (``time_steps``: by array)."""
        return [*self.sizes, *[time_steps[a] for a in self.steps]]
