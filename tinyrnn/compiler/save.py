"""Where every value of both loops is in memory, and what the forward loop saves for the backward loop.

The forward loop saves what the backward loop cannot make again by cheap pointwise ops of what it has anyway.
Weight
gradients are products over time and batch, left to the end: for those the loops leave both factors over time.
"""

import dataclasses
import itertools

from .ir import CUSTOM, SUMS, CompilerFault, Input, Kind, Source, Value, order, rebuilt, widened
from .ir import number as constant
from .plan import backward, hoist, is_cheap, simplified, used_inputs
from .schedule import Place, Schedule, input_place

_KINDS = {  # of the places of inputs, where they are always the same
    Source.X: "time", Source.STATE: "old", Source.HELD: "batch", Source.STREAM: "time", Source.GRAD: "batch",
    Source.GRAD_OUTPUT: "time",
}  # fmt: skip


OVER_TIME = frozenset({"time", "old", "new"})  # kinds of places that hold every step


def is_sum(v):
    """True for what is summed over time and batch: left to the end."""
    return v.kind in SUMS


class Saved:
    """What the two loops of one program do, and their arrays.

    Args:
        recording: of the step.
        outputs: which states are returned over time.
        tabled: the numbers of those xs that are rows of a table; ``tables``: for each stream the x whose rows
            it is made of.

    Attributes:
        program: what the step says, with hoisted values as streams: for tensor ops. The loops are made of its
            simplified twin.
    """

    def __init__(self, recording, outputs, tabled):
        self.outputs, self.dtype = outputs, recording.dtype
        self.program, new = hoist(recording.program, recording.reader.makers, tabled)
        back = backward(self.program, recording, new, outputs)
        self.has_custom = any(v.attr == CUSTOM for v in order(self.program.roots))
        self.tables = {i: h.table for i, h in enumerate(self.program.hoisted) if h.table is not None}
        looped, self.back = self._in_rows(*simplified(self.program, back))
        self.news, self.widths = looped.news, looped.widths
        self.inputs = used_inputs(looped, self.back)
        # Also what the loops do not need, for tensor ops: those of `program`, which nothing has simplified.
        self.read = {v.attr for v in [*self.inputs, *order(self.program.news)] if v.kind is Kind.INPUT}
        self._names = itertools.count()
        self._plan_backward()
        carried = [(f"grad{k}", f"grad_next{k}") for k in range(len(self.news))]
        self.forward = Schedule([*self._new_states(), *self.saved.items()], self._input_places())
        self.backward = Schedule(self.sinks, self.places, carried=carried, backwards=True)

    def _in_rows(self, program, back):
        """Both programs with operands of products that are rows of a table brought together: a product reads
        rows as they lie.
        """
        roots, given = [*program.news, *back.values()], {}
        for v in order(roots):
            x = source = v.inputs[0] if v.kind is Kind.MATMUL else v
            while source.kind is Kind.VIEW:
                source = source.inputs[0]
            if x is not v and source.is_input(Source.STREAM) and source.attr.index in self.tables:
                laid = Value(Kind.LAID, (x,), x.width, x.rows, True)
                given[v] = Value(v.kind, (laid, v.inputs[1]), v.width, v.rows, v.attr)
        new = rebuilt(roots, given)
        news = tuple([new[v] for v in program.news])
        return dataclasses.replace(program, news=news), {at: new[v] for at, v in back.items()}

    def _new(self, word) -> str:
        """A name that no other array has."""
        return f"{word}{next(self._names)}"

    def _new_states(self):
        return [(v, Place(f"state{k}", "new", v.width)) for k, v in enumerate(self.news)]

    def _input_places(self, *, backwards=False):
        """Where inputs are while a step runs."""
        places = {}
        for v in self.inputs:
            source, i = v.attr
            tabled = source is Source.STREAM and i in self.tables
            if backwards or source not in (Source.GRAD, Source.GRAD_OUTPUT):
                places[v] = input_place(v, _KINDS, f"ids{i}" if tabled else "")
        return places

    def _plan_backward(self):
        """Sinks and places of the backward loop; what the forward loop must save; what is left to the end."""
        back, forward = self.back, set(order(self.news))
        self.saved, self.factors, self.sums = {}, {}, {}
        inputs = self._input_places(backwards=True)
        new_places = {v: p for v, p in self._new_states() if v not in inputs}
        roots = []
        for k, w in enumerate(self.widths):
            v = back.get(Input(Source.STATE, k), constant(0.0))  # of which nothing flows back to this state
            roots.append((widened(v, w, True), Place(f"grad_next{k}", "batch", w)))
        self.gradients, self.shared, over_time = {}, {}, {}
        for at, v in back.items():
            if at.source in (Source.STREAM, Source.X):
                if v not in over_time:  # streams that are added have one gradient
                    over_time[v] = Place(f"grad_{at.source.value}{at.index}", "time", v.width)
                    roots.append((v, over_time[v]))
                self.gradients[at] = over_time[v], v.width
            elif v.rows and at.source is not Source.STATE:
                self.gradients[at] = Place(self._new("sum"), "batch", v.width, add=True), v.width
                roots.append((v, self.gradients[at][0]))
            elif at.source is Source.CLOSURE:
                self.shared[at] = v
        shared = list(self.shared.values())
        left_to_the_end = [v for v in order(shared, is_sum) if is_sum(v)]
        for v in left_to_the_end:
            for x in v.inputs if v.kind is Kind.OUTER else ():
                self._factor(x, forward, inputs, new_places, over_time, roots)
        roots, over_time = self._joined(left_to_the_end, roots, over_time)
        for v in left_to_the_end:
            if v.kind is Kind.TOTAL and v.inputs[0] in over_time:  # it is kept for each step anyway
                self.sums[v] = over_time[v.inputs[0]]
            elif v.kind is Kind.TOTAL:
                self.sums[v] = Place(self._new("sum"), "unit", v.width, add=True)
                roots.append((widened(v.inputs[0], v.width, True), self.sums[v]))
        self._save(forward, inputs, new_places, [v for v, _ in roots])
        self.sinks = roots
        self.places = inputs | new_places | self.saved
        self._verify()

    def _verify(self):
        """Raise `CompilerFault` unless each array has one use, and what is left to the end has both factors
        over time.
        """
        uses = {}
        for place in [*self.places.values(), *[p for _, p in self.sinks]]:
            width = None if place.kind == "one" else place.width  # a matrix may be one row as well
            use = place.kind.replace("new", "old"), width, place.add
            if uses.setdefault(place.array, use) != use and place.array != "numbers":
                raise CompilerFault(f"the array {place.array} is {uses[place.array]} and {use}")
        written = sorted([(p.array, p.first, p.first + v.width) for v, p in self.sinks])
        for (array, _, last), (other, first, _) in itertools.pairwise(written):
            if array == other and first < last:
                raise CompilerFault(f"{array} is written twice")
        for v, p in self.factors.items():
            if p.kind not in OVER_TIME:
                raise CompilerFault(f"{v!r} is a factor over time, and lies in {p}")

    def _factor(self, x, forward, inputs, new_places, over_time, roots):
        """A place over time for one side of a product over time and batch."""
        if x in self.factors:
            return
        held = inputs.get(x) or new_places.get(x)
        if held is not None and held.kind in OVER_TIME:
            self.factors[x] = held
        elif x in over_time:
            self.factors[x] = over_time[x]
        elif x in forward and x.rows and held is None:
            self.factors[x] = self.saved[x] = Place(self._new("saved"), "time", x.width)
        else:
            self.factors[x] = over_time[x] = Place(self._new("factor"), "time", x.width)
            roots.append((widened(x, x.width, True), self.factors[x]))

    def _joined(self, sums, roots, over_time):
        """Lay right sides of products with the same left side in one array, so that they are one product."""
        groups, moved = {}, {}
        for v in sums:
            if v.kind is Kind.OUTER and v.inputs[1] in over_time:
                groups.setdefault(v.inputs[0], {})[v.inputs[1]] = None
        for rights in groups.values():
            rights = [v for v in rights if over_time[v] not in moved]
            ends = list(itertools.accumulate(v.width for v in rights))
            name = self._new("joined")
            for v, end in zip(rights, ends, strict=True) if len(rights) > 1 else ():
                place = over_time[v]
                moved[place] = dataclasses.replace(place, array=name, width=ends[-1], first=end - v.width)
        self.factors = {v: moved.get(p, p) for v, p in self.factors.items()}
        self.gradients = {at: (moved.get(p, p), width) for at, (p, width) in self.gradients.items()}
        return [(v, moved.get(p, p)) for v, p in roots], {v: moved.get(p, p) for v, p in over_time.items()}

    def _save(self, forward, inputs, new_places, roots):
        """Decide which values of the forward loop are saved: what cannot be made again cheaply from what is
        there anyway.
        """
        available = set(inputs) | set(new_places) | set(self.saved)
        needed, seen, todo = set(), set(), list(roots)
        while todo:
            v = todo.pop()
            if v in seen or v in available:
                continue
            seen.add(v)
            if v in forward:
                needed.add(v)
            else:
                todo.extend(v.inputs)

        def cheap(v):
            if v in available or v.kind in (Kind.NUMBER, Kind.INDEX):
                return True
            laid = v.kind is Kind.LAID and not v.attr
            return (is_cheap(v) or v.kind is Kind.VIEW or laid) and all(cheap(x) for x in v.inputs)

        for v in order(self.news):
            if v in needed and not cheap(v):
                self.saved[v] = Place(self._new("saved"), "time", v.width)
                available.add(v)
