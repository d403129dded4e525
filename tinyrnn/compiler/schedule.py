"""When each value of a loop over time is computed, and where it is kept: the same for every target that emits
loops.

Between two products of the step everything is done row by row, so that a row stays in the cache: a *stage* is
one pass over the rows, and ends with the products whose operands are then complete. Within a stage, a *turn*
is one pass over the columns: a sum over a row, or values laid side by side, must be complete before the next
turn can use them. A value is computed in the latest turn that serves all its users, and written to memory
only where another turn or stage needs it.
"""

from dataclasses import dataclass
from typing import NamedTuple

from .ir import ROW_REDUCTIONS, CompilerFault, Kind, Source, Value, order, pieces
from .plan import is_cheap

BARRIERS = ROW_REDUCTIONS | {Kind.CONCAT, Kind.LAID}
_ALIKE = frozenset({Kind.VIEW, Kind.COPY})  # read where what they are made of is
_NAMED = frozenset({Kind.NUMBER, Kind.INDEX, Kind.INPUT})
# rows of the batch that stay on one thread, and whose sums are added up in one place, whatever the number of
# threads
UNIT = 4


@dataclass(frozen=True)
class Place:
    """Where a value is in memory: an array of the loop, the kind of its offset, the width of the array's
    rows.

    Kinds: ``time`` and ``table`` (rows by the time, or by ids), ``old`` and ``new`` (states before and after
    the step), ``batch``, ``rows`` (of one thread), ``unit`` (one row for `UNIT` rows of the batch), ``one``
    (row), ``number``.

    ``add``: it is summed there; ``ids``: the array of ids by which rows of this one are looked up;
    ``first``: its first column.
    """

    array: str
    kind: str
    width: int
    add: bool = False
    ids: str = ""
    first: int = 0


def input_place(v, kinds, ids="") -> Place:
    """Where an input of a program is in a loop.

    Args:
        kinds: Source -> the kind of its places; numbers and what is closed over are alike in all loops.
        ids: the array of ids by which its rows are looked up, where it is a table.
    """
    source, i = v.attr
    if source is Source.ARGUMENT:
        return Place("numbers", "number", 1, first=i)
    closed = "batch" if v.rows else "one"
    kind = "table" if ids else closed if source is Source.CLOSURE else kinds[source]
    return Place(f"{source.value}{i}", kind, v.width, ids=ids)


class Effect(NamedTuple):
    """What a pass over columns does: ``value`` is stored in ``places``, at columns from ``first`` of each of
    ``outer`` blocks of a ``block``; or, if it ``reduces``, its input is reduced to it, and then it is stored.
    """

    value: Value
    places: list
    first: int = 0
    reduces: bool = False
    outer: int = 1
    block: int = 0


class Schedule:
    """What one loop computes, when, and where.

    Args:
        sinks: pairs (Value, Place): where values are to be stored.
        leaves: Value -> Place of what is in memory already.
        carried: pairs of arrays that are exchanged at the end of a step: what was written is read in the
            next.
        backwards: the loop goes against the direction of the recurrence.

    Attributes:
        values: all, inputs first; ``position``: of each, (stage, turn).
        stored: Value -> Place of what is kept in memory.
        scratch: name of an array -> (width, for all rows of a thread, not for one).
    """

    def __init__(self, sinks, leaves, *, carried=(), backwards=False):
        self.leaves, self.carried, self.backwards = leaves, carried, backwards
        self.sinks, self.scratch = {}, {}
        for value, place in sinks:
            self.sinks.setdefault(value, []).append(place)
        self.values = order([v for v, _ in sinks], leaves.__contains__)
        self.products = [v for v in self.values if v.kind is Kind.MATMUL and v not in leaves]
        self._schedule()

    def source(self, v):
        """What a slice or copy reads."""
        while self._passes(v) and v not in self.leaves:
            v = v.inputs[0]
        return v

    def _passes(self, v):
        """True for slices and copies: they are read where their source is."""
        return v.kind in _ALIKE and v not in self.copies

    def _schedule(self):
        """Give each value its position (stage, turn), and find what has to be stored."""
        self.position, self.users = {}, {}
        # A product reads its operand from memory, so a column that it needs at full width is written out.
        operands = [v.inputs[0] for v in self.products]
        self.copies = {x for x in operands if x.kind is Kind.COPY and x not in self.leaves}
        for v in self.values:
            for x in () if v in self.leaves else v.inputs:
                self.users.setdefault(self.source(x), []).append(v)
            self.position[v] = self._earliest(v)
        for v in reversed(self.values):
            self._delay(v)
        acting = [(v, p[0]) for v, p in self.position.items() if self._acts(v)]
        self.stages = 1 + max(stage + (v.kind is Kind.MATMUL and v in self.sinks) for v, stage in acting)
        self.inline = {v for v in self.values if self._cheap(v, 4)}
        self.stored = {}
        for v in self.values:
            if not self._is_read_in_place(v) and (
                v.kind in (Kind.MATMUL, Kind.CONCAT, Kind.LAID) or self._is_read_elsewhere(v)
            ):
                self.stored[v] = self._storage(v)

    def _is_read_in_place(self, v):
        """True for what has no place of its own: it is in memory already, a number, or part of another
        value.
        """
        return v in self.leaves or v.kind in _NAMED or self._passes(v)

    def _earliest(self, v):
        if v in self.leaves or v.kind in _NAMED:
            return 0, 0
        at = (0, 0)
        for x in v.inputs:
            source = self.source(x)
            stage, turn = self.position[source]
            if source in self.leaves:
                continue
            if source.kind is Kind.MATMUL:
                stage, turn = stage + 1, 0
            elif source.kind in BARRIERS and (not self._passes(v) or v in self.sinks):
                turn += 1
            at = max(at, (stage, turn))
        return at

    def _delay(self, v):
        """Move ``v`` to a later position if all its users are later and its inputs can still be read
        there.
        """
        users = [u for u in self.users.get(v, ()) if u in self.sinks or not self._passes(u)]
        stays = not self._movable(v) or v in self.sinks or any(u.kind is Kind.MATMUL for u in users)
        if users and not stays:
            latest = min(self.position[u] for u in users)
            if latest > self.position[v] and all(self._anywhere(x) for x in v.inputs):
                self.position[v] = latest

    def _acts(self, v):
        """True for what needs a pass of its own: a store, a product, a reduction."""
        return v in self.sinks or v.kind in BARRIERS or v.kind is Kind.MATMUL

    def _movable(self, v):
        return v not in self.leaves and v.kind is Kind.POINTWISE

    def _anywhere(self, x):
        """True for what can be read in any later turn, stored for that as one number a row at most, or made
        there of what lies in memory.
        """
        source = self.source(x)
        held = source in self.leaves or source.kind in (Kind.NUMBER, Kind.INDEX, Kind.MATMUL)
        return held or not source.rows or source.width == 1 or self._cheap_of_leaves(source)

    def _cheap_of_leaves(self, v):
        known = all(x in self.leaves or x.kind in (Kind.NUMBER, Kind.INDEX) for x in v.inputs)
        return known and self._movable(v) and is_cheap(v)

    def _cheap(self, v, size):
        """True where computing ``v`` again costs no more than reading it."""
        if v in self.leaves or v.kind in (Kind.NUMBER, Kind.INDEX):
            return True
        if v.kind in _ALIKE:
            return self._cheap(v.inputs[0], size) or self.source(v).kind is Kind.MATMUL
        if not v.rows and self._movable(v):
            return True
        if not self._movable(v) or not is_cheap(v) or size == 0 or not all(map(self._anywhere, v.inputs)):
            return False
        return all(self.source(x).kind is Kind.MATMUL or self._cheap(x, size - 1) for x in v.inputs)

    def _is_read_elsewhere(self, v):
        if any(u.kind is Kind.MATMUL and self.source(u.inputs[0]) is v for u in self.users.get(v, ())):
            return True  # a product reads its operand from memory
        if v in self.inline or not v.rows:
            return False
        here = self.position[v]
        there = [self.position[u] for u in self.readers(v)]
        return any(at != here and not (v.width == 1 and at[0] == here[0]) for at in there)

    def readers(self, v):
        """Users, looking through slices, copies and what is computed again at each use."""
        out, todo, seen = [], list(self.users.get(v, ())), set()
        while todo:
            u = todo.pop()
            if u in seen:
                continue
            seen.add(u)
            through = self._passes(u) or (u in self.inline and u not in self.sinks)
            if through:
                todo.extend(self.users.get(u, ()))
            if not through or u in self.sinks:
                out.append(u)
        return out

    def _storage(self, v):
        """A place for ``v``: where it is to be stored anyhow, or scratch for the rows of a thread, or for one
        row.
        """
        for place in self.sinks.get(v, ()):
            if not place.add and (v.kind is not Kind.MATMUL or place.kind == "batch"):
                return place
        readers = self.readers(v)
        stages = {self.position[u][0] for u in [v, *readers]}
        across = len(stages) > 1 or any(u.kind is Kind.MATMUL for u in [v, *readers])
        name = f"{'rows' if across else 'row'}{len(self.scratch)}"
        self.scratch[name] = (v.width, across)
        return Place(name, "rows" if across else "one", v.width)

    # ------------------------------------------------------------------ what emitters ask

    def products_of(self, stage) -> list:
        """The products that a stage ends with."""
        return [v for v in self.products if self.position[v][0] == stage]

    def turns(self, stage) -> dict:
        """What a stage does: turn, in order -> (width, groups, apart) -> list of `Effect`, for each pass over
        so many columns; with more than one group, those of each group are reduced, which are so many columns
        apart.
        """
        turns: dict = {}

        def add(turn, width, v, places, *how):
            effect = Effect(v, places, *how)
            groups = (v.width, v.attr or 1) if effect.reduces else (1, 1)
            turns.setdefault(turn, {}).setdefault((width, *groups), []).append(effect)

        for v in self.values:
            at, turn = self.position[v]
            if at != stage:
                continue
            places = self._places(v)
            if self._is_read_in_place(v):
                if v in self.sinks:
                    add(turn, v.width, v, self.sinks[v])
            elif v.kind in ROW_REDUCTIONS:
                add(turn, v.inputs[0].width, v, places, 0, True)
            elif v.kind is Kind.LAID:
                add(turn, v.width, v.inputs[0], places)
            elif v.kind is Kind.CONCAT:
                for first, part in pieces(v, v.attr):
                    add(turn, part.width, part, places, first, False, v.attr, v.width // v.attr)
            elif v.kind is not Kind.MATMUL and places:
                add(turn, v.width, v, places)
        for v in self.products:  # one that is wanted elsewhere too is copied in the next stage
            rest = [p for p in self.sinks.get(v, ()) if p != self.stored[v]]
            if rest and self.position[v][0] + 1 == stage:
                add(0, v.width, v, rest)
        for passes in turns.values():
            self._merge(passes)
        return dict(sorted(turns.items()))

    @staticmethod
    def _merge(passes):
        """What is only stored is stored by a pass that reduces as many columns in groups, if there is one."""
        for (width, groups, _), effects in list(passes.items()):
            alone = passes.get((width, 1, 1), ()) if groups > 1 else ()
            effects += [e for e in alone if not e.reduces]
            if alone:
                passes[width, 1, 1] = [e for e in alone if e.reduces]
        for key in [key for key, effects in passes.items() if not effects]:
            del passes[key]

    def _places(self, v):
        """Everywhere that ``v`` is to be written, each place once."""
        return [*dict.fromkeys([*([self.stored[v]] if v in self.stored else []), *self.sinks.get(v, ())])]

    def readable(self, v, now):
        """Where ``v`` is stored, if it was written before what is emitted at the position ``now``."""
        at = self.position[v]
        written = at[0] < now[0] if v.kind is Kind.MATMUL else at < now
        if v not in self.stored or not written:
            raise CompilerFault(f"{v!r} is read before it is written")
        return self.stored[v]

    def operand(self, product):
        """Where a product finds its operand: a place and the first column."""
        x = product.inputs[0]
        source = self.source(x)
        place = self.leaves.get(source) or self.stored.get(source)
        if place is None:
            raise CompilerFault(f"a product reads {x!r}, which is not in memory")
        return place, place.first + (x.attr.offset if x.kind is Kind.VIEW else 0)
