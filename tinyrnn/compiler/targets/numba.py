"""Loops over time for the CPU: from a `Schedule` to Python source that Numba compiles, or that the
interpreter runs.
"""

import functools
import itertools
import os
import re
from contextlib import contextmanager
from contextvars import ContextVar

import numba
import numpy as np

from ... import kernels
from ...autograd.tape import TABLE
from ...kernels.pointwise import NUMPY_PRELUDE, typed
from ..ir import Kind
from ..schedule import UNIT
from . import Target

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
_FOLDS = {  # of a row: what it begins with, and a step
    Kind.ROWSUM: ("F(0)", "{} + {}"),
    Kind.ROWMAX: ("F(-np.inf)", "maximum({}, {})"),
    Kind.ROWMIN: ("F(np.inf)", "minimum({}, {})"),
}
_PRELUDES = {
    "numba": NUMPY_PRELUDE
    + "from tinyrnn.kernels.gemm import multiply_at as multiply\n"
    + "from tinyrnn.kernels.noalias import access\n"
    + "from tinyrnn.kernels.sampling import choose\n",
    "python": "import numpy as np\nfrom tinyrnn.kernels.plain import *\n\nF = np.{dtype}\n",
}


_interpreted = ContextVar("interpreted", default=False)


@contextmanager
def interpreted():
    """In this block loops run by the interpreter: they are generated and do the same, but nothing is
    compiled.
    """
    token = _interpreted.set(True)
    try:
        yield
    finally:
        _interpreted.reset(token)


def mode() -> str:
    """How loops run: ``"numba"``, or ``"python"``, by the interpreter, where they are to be `interpreted` or
    the environment says ``TINYRNN_COMPILE=python``.
    """
    return "python" if _interpreted.get() or os.environ.get("TINYRNN_COMPILE") == "python" else "numba"


def module_source(loops, dtype, mode="numba") -> str:
    """The module that holds ``loops``. Sizes are no part of it: cells of all hidden sizes share one
    compilation.

    ``mode`` "python": for the interpreter, to be read and stepped through.
    """
    scopes = max(len(loop.arrays) for loop in loops)
    lines = [_PRELUDES[mode].format(dtype=np.dtype(dtype).name)]
    lines += [f"load{k}, store{k} = access({k}, {scopes})" for k in range(scopes)]
    return "\n".join([*lines, "", "", *[f"@jit\n{loop.source()}\n\n" for loop in loops]])


@functools.lru_cache(maxsize=512)
def load(name, source):
    """The module of generated loops, from a file of the cache that is called ``name``."""
    return kernels.jit.load_source(name, source)


def compiled(module, loops, dtype, name) -> list:
    """The functions of ``loops``, compiled or loaded from the cache; announced as ``name``."""
    functions = [getattr(module, loop.function) for loop in loops]
    if mode() == "numba" and not all(f.signatures for f in functions):
        with kernels.notice.compiling(name):
            for function, loop in zip(functions, loops, strict=True):
                function.compile(loop.signature(dtype))
    return functions


class Loop(Target):
    """The source of one loop.

    Args:
        function: its name.
        schedule: what it computes, when, and where.
        after: lines at the end of a step; ``extra``: arguments that they use, name -> Numba's type.
    """

    def __init__(self, function, schedule, *, after=(), extra=None):
        self.function, self.schedule, self.after, self.extra = function, schedule, after, extra or {}
        self.count = itertools.count()
        self.arrays, self.sizes, self.steps, self.ids, self.packed = {}, {}, {}, {}, {}
        self.numbers, self.constants = {}, {}  # of the step, and of the program: their names
        self.lines = []
        for stage in range(schedule.stages):
            self._stage(stage)
        for array in itertools.chain(*schedule.carried):  # also of a state that is never read
            self.scope(array)

    def size(self, n):
        """The name of an integer that is an argument: sizes are no part of the source."""
        if n in (0, 1):
            return str(n)
        return self.sizes.setdefault(n, f"n{len(self.sizes)}")

    def scope(self, array):
        return self.arrays.setdefault(array, len(self.arrays))

    # ------------------------------------------------------------------ memory

    def offset(self, place):
        """The name of the offset of row b in ``place``, defined once a pass over the rows."""
        step, text = self._offset(place)
        width = self.size(place.width)
        name = f"o_{place.kind}_{step or self.ids.get(place.array) or width}_{width}"
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

    # ------------------------------------------------------------------ passes

    def _stage(self, stage):
        self.offsets, self.head = set(), []
        self.row, self.row_names = [], {}
        for turn in self.schedule.turns(stage):
            self.now = stage, turn
            for width, effects in sorted(self.schedule.effects(stage, turn).items()):
                self._columns(width, effects)
        if self.row:
            self.lines += ["for b in range(b0, b1):", *[f" {x}" for x in [*self.head, *self.row]]]
        for v in self.schedule.products:
            if self.schedule.position[v][0] == stage:
                self._product(v)

    def _product(self, v):
        (place, first), out = self.schedule.operand(v), self.schedule.stored[v]
        packed = self.packed.setdefault((v.inputs[1], v.attr), f"packed{len(self.packed)}")
        for array in (packed, place.array, out.array):
            self.scope(array)
        k, n, first = self.size(v.inputs[0].width), self.size(v.width), self.size(first)

        def corner(p):
            return "0" if p.kind == "rows" else self._offset(p)[1].replace("b *", "b0 *")

        self.lines.append(
            f"multiply(gemm, {place.array}, {corner(place)} + {first}, {self.size(place.width)}, False, "
            f"{packed}, {out.array}, {corner(out)}, {self.size(out.width)}, b1 - b0, {k}, {n}, False)"
        )

    def _columns(self, width, effects):
        """One pass over ``width`` columns."""
        wide = width > 1
        self.body, self.names = ([], {}) if wide else (self.row, self.row_names)
        column, after = "j" if wide else "", []
        for v, places, first, reduces in effects:
            if reduces:
                name, (start, step) = f"a{next(self.count)}", _FOLDS[v.kind]
                e = self.expression(v.inputs[0])
                self.row.append(f"{name} = {start}")
                self.body.append(f"{name} = {step.format(name, e)}")
                after.append((v, name, places))
            else:
                e = self.expression(v)
                self.body += [self.store(place, column, e, first) for place in places]
        if wide:
            self.row += [f"for j in range({self.size(width)}):", *[f" {x}" for x in self.body]]
        for v, name, places in after:
            self.row_names[v] = name
            self.row += [self.store(place, "", name) for place in places]

    # ------------------------------------------------------------------ values

    def expression(self, v):
        """A name or literal for ``v``; the lines that compute it are emitted where it is needed first."""
        names = self.row_names if v.width == 1 else self.names
        if v in names:
            return names[v]
        schedule = self.schedule
        if v in schedule.leaves and v.kind is not Kind.NUMBER:
            return self._leaf(v)
        if v in schedule.stored and self.now != schedule.position[v]:
            return self._stored(v)
        return self.value(v)

    def _named(self, v, text):
        """A new name for the value ``text``."""
        scalar = v.width == 1
        name = f"{'u' if scalar else 'v'}{next(self.count)}"
        (self.row if scalar else self.body).append(f"{name} = {text}")
        (self.row_names if scalar else self.names)[v] = name
        return name

    def _loaded(self, v, place, first=0):
        return self._named(v, self.load(place, "" if v.width == 1 else "j", first))

    def _leaf(self, v):
        place = self.schedule.leaves[v]
        if place.kind == "number":
            return self.numbers.setdefault(place.first, f"number{place.first}")
        return self._loaded(v, place)

    def _stored(self, v):
        return self._loaded(v, self.schedule.readable(v, self.now))

    def _slice(self, v):
        source = v.inputs[0]
        place = self.schedule.leaves.get(source) or self.schedule.readable(source, self.now)
        return self._loaded(v, place, v.attr[0])

    def _pointwise(self, v):
        op = TABLE[v.attr]
        inputs = {a: self.expression(x) for a, x in zip(op.inputs, v.inputs, strict=True)}
        rule = typed(op.rule, "F({})".format)
        return self._named(v, re.sub(r"\b(" + "|".join(inputs) + r")\b", lambda m: inputs[m[1]], rule))

    def _number(self, v):
        """Small numbers of the program stand in the source, others, as 1 / width, are arguments like
        sizes.
        """
        x = v.attr
        if not np.isfinite(x):
            return f"F(np.{x!r})".replace("np.-", "-np.")
        if x == round(x) and abs(x) <= 8:
            return f"F({x!r})"
        return self.constants.setdefault(x, f"constant{len(self.constants)}")

    name = "numba"
    kinds = {  # noqa: RUF012
        Kind.INPUT: _leaf,
        Kind.NUMBER: _number,
        Kind.POINTWISE: _pointwise,
        Kind.SLICE: _slice,
        Kind.COPY: lambda self, v: self.expression(v.inputs[0]),
        **dict.fromkeys((Kind.MATMUL, Kind.CONCAT, *_FOLDS), _stored),
    }

    # ------------------------------------------------------------------ the whole function

    def source(self) -> str:
        """A function of (T, B, b0, b1, back, gemm, n, arrays...): ``gemm`` is where products are made, sizes
        and time steps come in ``n``, as `integers` lists them.
        """
        arguments = ", ".join([*self.arguments(), *self.extra])
        lines = [f"def {self.function}(T, B, b0, b1, back, gemm, n, {arguments}):"]
        scratch = [  # before the sizes are listed: it may name more of them
            f" {name} = np.empty({'(b1 - b0) * ' if across else ''}{self.size(width)}, F)"
            for name, (width, across) in self.schedule.scratch.items()
        ]
        names = [*self.sizes.values(), *self.steps.values()]
        lines += [f" {name} = n[{k}]" for k, name in enumerate(names)]
        lines += [f" {name} = numbers[{k}]" for k, name in sorted(self.numbers.items())]
        constants = enumerate(self.constants.values(), 1)
        lines += [f" {name} = numbers[numbers.size - {k}]" for k, name in constants]
        first_to_last = "T - 1 - i if back else i"
        last_to_first = "i if back else T - 1 - i"
        lines += [*scratch, " for i in range(T):"]
        lines.append(f"  t = {last_to_first if self.schedule.backwards else first_to_last}")
        carried = [f"{a}, {b} = {b}, {a}" for a, b in self.schedule.carried]
        return "\n".join([*lines, *[f"  {line}" for line in [*self.lines, *self.after, *carried]]])

    def arguments(self) -> list:
        """Names of the arrays the function takes, in order."""
        arrays = [a for a in self.arrays if a not in self.schedule.scratch]
        return [*arrays, *[i for i in dict.fromkeys(self.ids.values()) if i not in self.extra], "numbers"]

    def signature(self, dtype) -> tuple:
        """Numba's types of the function's arguments."""
        dtypes = [np.dtype(np.int64 if a in self.ids.values() else dtype) for a in self.arguments()]
        arrays = [numba.from_dtype(d)[::1] for d in dtypes]
        return (
            *[numba.int64] * 4,
            numba.boolean,
            numba.intp,
            numba.int64[::1],
            *arrays,
            *self.extra.values(),
        )

    def gemm(self, dtype) -> int:
        """Where the loop finds the product with a packed matrix."""
        return kernels.gemm.address(dtype) if self.packed and mode() == "numba" else 0

    def packed_matrices(self, closures) -> dict:
        """The matrices of the loop's products as the packed product reads them, by name, from arrays of what
        the step closes over.
        """
        matrices = {p: (closures[f"closure{m.attr.index}"], turned) for (m, turned), p in self.packed.items()}
        return {p: kernels.gemm.packed_matrix(c.T if turned else c) for p, (c, turned) in matrices.items()}

    def all_numbers(self, given) -> list:
        """What ``numbers`` holds: those that the step has at this call, and after them those of the
        program.
        """
        return [*given, *reversed(self.constants)]

    def integers(self, time_steps) -> list:
        """What ``n`` holds: every size, and the step in time of every array (``time_steps``: by array)."""
        return [*self.sizes, *[time_steps[a] for a in self.steps]]
