"""From a `Schedule` to the source of a loop over time: what all languages of loops share.

A target subclasses `Loop` and says how its language assigns, counts, loads, stores, adds up a row and
multiplies by a matrix; which value is computed where, and under which name, is decided here, once.
"""

import functools
import itertools
import math
import re
from typing import ClassVar, NamedTuple

from ..autograd.tape import TABLE
from ..kernels.pointwise import typed
from .ir import TRUTHS, Kind
from .targets import Target
from .views import View, part

_FOLDS = {  # of a row: what it begins with, and a step
    Kind.ROWSUM: ("F(0)", "{} + {}"),
    Kind.ROWMAX: ("-{inf}", "maximum({}, {})"),
    Kind.ROWMIN: ("{inf}", "minimum({}, {})"),
    Kind.ROWPROD: ("F(1)", "{} * {}"),
}


class Space(NamedTuple):
    """The columns of a pass as nested counts: ``sizes``, the last counts fastest."""

    sizes: tuple[int, ...]

    @classmethod
    def of(cls, width, groups, apart, views):
        """That in which every one of ``views`` has a counter for each of its axes, and groups of columns that
        are so far apart have theirs; one count where there is none.
        """
        own = {1, apart, width // groups * apart}
        suffixes = own | {s for view in views if not view.is_slice for s in view.suffixes}
        found = sorted(suffixes - {width}, reverse=True)
        chain = [width, *found]
        if any(a % b for a, b in itertools.pairwise(chain)):
            found = sorted(own - {width}, reverse=True)
            chain = [width, *found]
        return cls(tuple([a // b for a, b in itertools.pairwise(chain)]) or (1,))

    @property
    def width(self) -> int:
        return math.prod(self.sizes)

    @property
    def counters(self) -> list:
        """(name, columns that one count stands for, size) of each; none where there is only one."""
        if len(self.sizes) == 1:
            return []
        steps = [math.prod(self.sizes[k + 1 :]) for k in range(len(self.sizes))]
        return [(f"j{k}", step, n) for k, (step, n) in enumerate(zip(steps, self.sizes, strict=True))]


def into(effect) -> View:
    """Where the columns of a part go that is stored in blocks."""
    width = effect.value.width // effect.outer
    return View(0, ((effect.outer, effect.block), (width, 1)))


class Loop(Target):
    """The source of one loop.

    Args:
        function: its name.
        schedule: what it computes, when, and where.

    Attributes:
        offsets: kind of a place -> the first element of row b: ``{w}`` is the width, ``{s}`` the array's step
            in time (0 where every step overwrites the last), ``{i}`` the array of the ids by which rows of a
            table are looked up.
        infinity: a number of the language.
        nests: a pass may count in nested loops; else columns of views are computed by division.
        in_order: the passes of a turn run one after the other; else all that they write is read in the next
            turn only.
        stages: for each stage the lines of its pass over the rows, and what `multiply` made of its products.
    """

    offsets: ClassVar[dict[str, str]] = {  # and "table", "rows", "unit", as the target lays rows out
        "time": "t * {s} + b * {w}",
        "old": "(t + back) * B * {w} + b * {w}",
        "new": "(t + 1 - back) * B * {w} + b * {w}",
        "batch": "b * {w}",
        "one": "0",
        "number": "0",
    }
    infinity: str
    nests, in_order, division = True, True, "//"

    def __init__(self, function, schedule):
        self.function, self.schedule = function, schedule
        self.count = itertools.count()
        self.arrays, self.sizes, self.steps, self.ids, self.packed = {}, {}, {}, {}, {}
        self.numbers, self.constants = {}, {}  # of the step, and of the program: their names
        self.stages = [(self._rows(stage), self._products_of(stage)) for stage in range(schedule.stages)]
        for array in itertools.chain(*schedule.carried):  # also of a state that is never read
            self.scope(array)

    # ------------------------------------------------------------------ the language

    def quotient(self, a, b) -> str:
        """The text of a quotient of integers, rounded down, in parentheses."""
        return f"({a} {self.division} {b})"

    def assigned(self, name, text, *, whole=False) -> str:
        """The line that gives a new name to a value; ``whole``: to an integer."""
        raise NotImplementedError

    def load(self, place, column, first=0) -> str:
        """What reads a column of row b."""
        raise NotImplementedError

    def store(self, place, column, value, first=0) -> str:
        """The line that writes a column of row b."""
        raise NotImplementedError

    def pass_over(self, space, body, folds, groups=1, apart=1, after=()) -> list:
        """The lines of a pass over the columns of a `Space`.

        ``folds``: (name, first value, next value as text of the name and of the column's) of each reduction
        that it makes, of all columns or of those of each of ``groups``, which are ``apart``; for each group,
        ``g``, the lines ``after`` stand where its reductions have their names.
        """
        raise NotImplementedError

    def multiply(self, packed, product, operand, first, out) -> str:
        """The line of a product: the rows in ``operand`` from column ``first`` times ``packed``, into
        ``out``.
        """
        raise NotImplementedError

    # ------------------------------------------------------------------ names

    def size(self, n):
        """The name of an integer that is an argument: sizes are no part of the source."""
        if n in (0, 1):
            return str(n)
        return self.sizes.setdefault(n, f"n{len(self.sizes)}")

    def scope(self, array):
        return self.arrays.setdefault(array, len(self.arrays))

    def offset(self, place):
        """The name of the offset of row b in ``place``, defined once a pass over the rows."""
        text, width = self.offset_text(place), self.size(place.width)
        name = f"o_{place.kind}_{self.steps.get(place.array) or self.ids.get(place.array) or width}_{width}"
        self.offset_names[name] = text
        return name

    def offset_text(self, place):
        """The text of the offset of row b in ``place``."""
        step = self.steps.setdefault(place.array, f"s_{place.array}") if place.kind == "time" else ""
        if place.ids:
            self.ids[place.array] = place.ids
        return self.offsets[place.kind].format(w=self.size(place.width), s=step, i=place.ids)

    def index(self, place, column, first):
        """The text of the index of a column of row b in ``place``."""
        first += place.first
        row = "" if self.offset_text(place) == "0" else self.offset(place)
        return " + ".join(filter(None, [row, column, self.size(first) if first else ""])) or "0"

    # ------------------------------------------------------------------ passes

    def _rows(self, stage):
        """The lines of a stage's pass over the rows."""
        self.offset_names, self.row, self.row_names = {}, [], {}
        for turn, passes in self.schedule.turns(stage).items():
            self.now, self.made_here = (stage, turn), {}
            self.turn_begins()
            for pass_, effects in passes.items():  # in an order that does not depend on their sizes
                self._columns(*pass_, effects)
        offsets = [self.assigned(*offset, whole=True) for offset in self.offset_names.items()]
        return [*offsets, *self.row] if self.row else []

    def _products_of(self, stage):
        return [self._product(v) for v in self.schedule.products_of(stage)]

    def turn_begins(self):
        """What was written in earlier turns is read from here on."""

    def _product(self, v):
        (place, first), out = self.schedule.operand(v), self.schedule.stored[v]
        packed = self.packed.setdefault((v.inputs[1], v.attr), f"packed{len(self.packed)}")
        for array in (packed, place.array, out.array):
            self.scope(array)
        return self.multiply(packed, v, place, self.size(first), out)

    def _columns(self, width, groups, apart, effects):
        """One pass over ``width`` columns, of so many groups that are reduced each; see `Schedule.turns`."""
        wide = width > 1
        self.body, self.names = ([], {}) if wide else (self.row, self.row_names)
        views = [view for e in effects for view in self._views(e.value.inputs[0] if e.reduces else e.value)]
        views += [into(e) for e in effects if e.outer > 1]
        self.space = Space.of(width, groups, apart, views) if self.nests else Space((width,))
        column, folds, after, each = "j" if wide else "", [], [], []
        for effect in effects:
            v, places, first, reduces = effect[:4]
            if reduces:
                name, (start, step) = f"a{next(self.count)}", _FOLDS[v.kind]
                folds.append((name, start.format(inf=self.infinity), step, self.expression(v.inputs[0])))
                after.append((v, name, places))
            else:
                e = self.expression(v)
                at = self.column_of(into(effect)) if effect.outer > 1 else column
                self.body += [self.store(place, at, e, first) for place in places]
        if groups > 1:
            each = [self.store(place, "g", name) for v, name, places in after for place in places]
        if wide or folds:
            self.row += self.pass_over(self.space, self.body if wide else [], folds, groups, apart, each)
        for v, name, places in after if groups == 1 else ():
            self.row_names[v] = name
            self.row += [self.store(place, "", name) for place in places]
        whole = [e for e in effects if self.in_order and wide and not e.reduces and not e.block]
        self.made_here |= {e.value: p for e in whole for p in e.places if not p.add and not e.first}

    def _views(self, v):
        """The views that are read where ``v`` is computed; of what is read as it is, a slice."""
        found, todo, seen = [], [v], set()
        while todo:
            u = todo.pop()
            if u in seen or u.width == 1:
                continue
            seen.add(u)
            if u in self.schedule.leaves or self._is_read(u):
                found.append(part(0, u.width))
                continue
            if u.kind in (Kind.VIEW, Kind.INDEX):
                found.append(u.attr)
            elif u.kind in (Kind.POINTWISE, Kind.COPY):
                todo += u.inputs
        return found

    def column_of(self, view):
        """The text of the column that a `View` has for the column that a pass is at, less its offset."""
        if view.is_slice:
            return "j"
        counters, terms = self.space.counters, []
        for (n, stride), suffix in zip(view.axes, view.suffixes, strict=True):
            if stride == 0 or n == 1:
                continue
            own = [c for c in counters if suffix <= c[1] < n * suffix and c[1] % suffix == 0]
            if math.prod(size for _, _, size in own) == n:
                parts = [(name, stride * (step // suffix)) for name, step, _ in own]
            else:  # by division
                text = "j" if suffix == 1 else self.quotient("j", self.size(suffix))
                whole = n * suffix == self.space.width
                parts = [(text if whole else f"({text} % {self.size(n)})", stride)]
            terms += [
                (stride < 0, text if abs(by) == 1 else f"{text} * {self.size(abs(by))}") for text, by in parts
            ]
        text = "".join(f" {'-' if minus else '+'} {term}" for minus, term in terms)
        return text.removeprefix(" + ").removeprefix(" ") or "0"

    # ------------------------------------------------------------------ values

    def expression(self, v):
        """A name or literal for ``v``; the lines that compute it are emitted where it is needed first."""
        names = self.row_names if v.width == 1 else self.names
        if v in names:
            return names[v]
        schedule = self.schedule
        if v in schedule.leaves and v.kind is not Kind.NUMBER:
            return self._leaf(v)
        return self._stored(v) if self._is_read(v) else self.value(v)

    def _is_read(self, v):
        """True for what an earlier turn stored, or an earlier pass of this one and that is not as quickly
        computed again.
        """
        schedule = self.schedule
        if v in schedule.stored and self.now != schedule.position[v]:
            return True
        return v in self.made_here and v not in schedule.inline

    def _named(self, v, text):
        """A new name for the value ``text``."""
        scalar = v.width == 1
        name = f"{'u' if scalar else 'v'}{next(self.count)}"
        (self.row if scalar else self.body).append(self.assigned(name, text))
        (self.row_names if scalar else self.names)[v] = name
        return name

    def _loaded(self, v, place, first=0, column="j"):
        return self._named(v, self.load(place, "" if v.width == 1 else column, first))

    def _leaf(self, v):
        place = self.schedule.leaves[v]
        if place.kind == "number":
            return self.numbers.setdefault(place.first, f"number{place.first}")
        return self._loaded(v, place)

    def _stored(self, v):
        return self._loaded(v, self.made_here.get(v) or self.schedule.readable(v, self.now))

    def _view(self, v):
        source = v.inputs[0]
        place = self.schedule.leaves.get(source) or self.schedule.readable(source, self.now)
        return self._loaded(v, place, v.attr.offset, self.column_of(v.attr))

    def _index(self, v):
        column = "0" if v.width == 1 else self.column_of(v.attr)
        return self._named(v, f"F({column} + {self.size(v.attr.offset)})")

    def _pointwise(self, v):
        op = TABLE[v.attr]
        inputs = {a: self.expression(x) for a, x in zip(op.inputs, v.inputs, strict=True)}
        rule = typed(op.rule, "F({})".format)
        rule = f"F({rule})" if v.attr in TRUTHS else rule  # numbers like others, also for the interpreter
        return self._named(v, re.sub(r"\b(" + "|".join(inputs) + r")\b", lambda m: inputs[m[1]], rule))

    def _number(self, v):
        """Small numbers of the program stand in the source, others, as 1 / width, are arguments like
        sizes.
        """
        x = v.attr
        if x != x or x - x != 0:
            return f"({self.infinity} - {self.infinity})" if x != x else f"{'-' * (x < 0)}{self.infinity}"
        if x == round(x) and abs(x) <= 8:
            return f"F({x!r})"
        return self.constants.setdefault(x, f"constant{len(self.constants)}")

    kinds = {  # noqa: RUF012
        Kind.INPUT: _leaf,
        Kind.NUMBER: _number,
        Kind.INDEX: _index,
        Kind.POINTWISE: _pointwise,
        Kind.VIEW: _view,
        Kind.COPY: lambda self, v: self.expression(v.inputs[0]),
        **dict.fromkeys((Kind.MATMUL, Kind.CONCAT, Kind.LAID, *_FOLDS), _stored),
    }

    # ------------------------------------------------------------------ what it is called with

    def arguments(self) -> list:
        """Names of the arrays the function takes, in order."""
        arrays = [a for a in self.arrays if a not in self.schedule.scratch]
        return [*arrays, *dict.fromkeys(self.ids.values()), "numbers"]

    def all_numbers(self, given) -> list:
        """What ``numbers`` holds: those that the step has at this call, and after them those of the
        program.
        """
        return [*given, *reversed(self.constants)]

    def integers(self, time_steps) -> list:
        """What ``n`` holds: every size, and the step in time of every array (``time_steps``: by array)."""
        return [*self.sizes, *[time_steps[a] for a in self.steps]]

    def matrices(self, closures, packed) -> dict:
        """The matrices of the loop's products, by name, from arrays of what the step closes over; each as
        ``packed`` makes it of the matrix by which rows are multiplied.
        """
        found = {p: (closures[f"closure{m.attr.index}"], turned) for (m, turned), p in self.packed.items()}
        return {p: packed(c.T if turned else c) for p, (c, turned) in found.items()}

    @functools.cached_property
    def work(self) -> int:
        """About how many operations a step takes for each row of the batch."""
        products = sum(v.inputs[0].width * v.width for v in self.schedule.products)
        places = [p for group in self.schedule.sinks.values() for p in group]
        return products + 50 * sum(p.width for p in places if p.kind in ("new", "batch") and not p.add)
