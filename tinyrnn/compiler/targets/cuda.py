"""Loops over time for a GPU: CUDA C++ that CuPy compiles, from the same `Schedule` as the loops of the CPU.

A loop is a sequence of *phases*: a pass over the rows of the batch, which are dealt to blocks of threads, or
the products after it, whose columns are. The same kernel runs in two forms:

- *persistent*: one cooperative launch for all steps. Blocks wait for each other at the end of a phase, and
  keep their columns of the matrices in shared memory where these fit;
- *phases*: one launch a phase. It needs nothing of the GPU and is the reference of the other.
"""

import functools
import importlib.resources
import itertools
import math
import os
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from ... import kernels
from ...base.devices import require_cupy
from ...kernels.pointwise import CUDA_PRELUDE
from ...kernels.quicker import rounded_product
from .. import loops
from ..ir import CompilerFault, Kind, Value
from ..save import OVER_TIME

TILES, ROWS = (8, 16, 32), (16, 32, 64)  # columns and rows of a product that a block takes at once
_DEPTH = 16  # see loops.cuh
_ACROSS = 32  # elements of shared memory for sums over a row


class Precision(NamedTuple):
    """What products are made of: PRECISION of loops.cuh, the bytes of a number of a matrix in shared memory,
    and about how many clock cycles a multiprocessor takes for a row times a column, a number of each.
    """

    number: int
    bytes: int
    cycles: float


_PRECISIONS = {
    "float64": Precision(0, 8, 0.1), "bfloat16": Precision(1, 2, 0.001), "tf32": Precision(2, 4, 0.002),
    "float32": Precision(3, 4, 0.006),
}  # fmt: skip

_ARRIVE, _WAIT = "GRID_ARRIVE(arrived)", "GRID_WAIT(arrived, goal)"
_HEAD = (
    "I T, I B, int back, I first, I last, int phase, int resident, I parts, unsigned *arrived, "
    "const I *n, I count"
)


@functools.cache
def _runtime() -> str:
    """What all loops call."""
    return importlib.resources.files("tinyrnn.kernels").joinpath("cuda/loops.cuh").read_text()


def module_source(loop, dtype, precision, tile, rows) -> str:
    """The translation unit of a loop. Sizes are no part of it but for those of a tile, and whether rows are
    read four numbers at once.
    """
    kind = {"f": "float", "d": "double"}[np.dtype(dtype).char]
    constants = {"TILE": tile, "ROWS": rows, "THREADS": loop.threads}
    constants["PRECISION"] = _PRECISIONS[precision].number
    constants["QUADS"] = int(all(n % 4 == 0 for p in loop.products for n in p.alignment))
    head = [f"typedef {kind} F;", *[f"#define {name} {value}" for name, value in constants.items()]]
    return "\n".join([*head, CUDA_PRELUDE, _runtime(), loop.source()])


def token_loop(schedule, logits, count):
    """A loop that writes tokens, as `numba.token_loop`; ``odds`` is scratch for their probabilities."""
    extra = {
        "ids": "I *", "u": "const double *", "known": "I ", "banned": "I ", "temperature": "double ",
        "top_k": "I ", "top_p": "double ", "odds": "double *",
    }  # fmt: skip
    loop = Loop("generate", schedule, extra=extra)
    how = f"{logits}, {loop.size(count)}, banned, temperature, top_k, top_p, u[t], odds, work"
    loop.after = [
        "if (blockIdx.x == 0 && t + 1 >= known) {",
        f"    const I chosen = choose({how});",
        "    if (threadIdx.x == 0) ids[t + 1] = chosen;",
        "}",
    ]
    return loop


class Product(NamedTuple):
    """A product of a loop: its matrix is ``[depth, groups * span]``, tiles are of units (see loops.cuh)."""

    value: Value
    groups: int
    span: int
    call: str  # up to what is done before it, and with the result
    stores: list  # lines that write it to memory
    keep: str  # what copies a block's tiles to shared memory
    alignment: tuple  # of the rows: widths of their array and of what is multiplied, first column

    def tiles(self, tile) -> int:
        """How many tiles of so many columns it has."""
        return -(-self.span // (tile // self.groups))


class Phase(NamedTuple):
    """What the blocks of a step do between two waits; ``once``: in the first step alone."""

    lines: list
    is_product: bool
    once: bool = False


class Loop(loops.Loop):
    """A loop as a kernel. Besides its arrays and their sizes it takes the steps from ``first`` to ``last``, a
    ``phase`` (-1: all), whether matrices are ``resident`` in shared memory, in how many ``parts`` rows are
    dealt to blocks, and what the grid waits at.
    """

    name = "cuda"
    offsets = loops.Loop.offsets | {
        "table": "__ldcg({i} + t * B + b) * {w}", "rows": "b * {w}", "unit": "b * {w}",
    }  # fmt: skip
    infinity, nests, in_order, division = "F(INFINITY)", False, False, "/"

    def __init__(self, function, schedule, *, extra=None):
        self.after, self.extra = [], extra or {}
        places = [p for group in schedule.sinks.values() for p in group] + list(schedule.stored.values())
        self.written = {p.array for p in places}.union(*schedule.carried)
        self.before = {}  # stage -> how many tiles the products so far have, as text
        self.products, self.reads_of, self.fetches_of, self.by_unit = [], {}, {}, False
        super().__init__(function, schedule)

    # ------------------------------------------------------------------ the language

    def offset_text(self, place):
        if place.kind == "one" and place.array in self.schedule.scratch:  # one row for each block
            return f"blockIdx.x * {self.size(place.width)}"
        return super().offset_text(place)

    def assigned(self, name, text, *, whole=False):
        return f"const {'I' if whole else 'F'} {name} = {text};"

    def load(self, place, column, first=0):
        if self.unit is not None and place == self.schedule.stored[self.unit]:
            return f"z[{first // self.groups_span}]"
        self.scope(place.array)
        at = f"{place.array} + {self.index(place, column, first)}"
        if place.array not in self.written:
            if place.kind == "time":
                self.fetches.append(f"PREFETCH({at});")
            return f"*({at})"
        self.reads.append((place, first if column in ("", "j") else math.inf))  # other columns than its own
        return f"__ldcg({at})"

    def store(self, place, column, value, first=0):
        self.scope(place.array)
        at = f"{place.array} + {self.index(place, column, first)}"
        line = f"ADD({at}, {value});" if place.add else f"*({at}) = {value};"
        return line if column else f"if (threadIdx.x == 0) {line}"

    def turn_begins(self):
        if self.row:  # what other threads of the block wrote is read from here on
            self.row.append("__syncthreads();")

    def pass_over(self, space, body, folds, groups=1, apart=1, after=()):
        if self.unit is not None or self.by_unit:
            return body
        width = space.width
        if width == 1:
            return [f"const F {name} = {step.format(start, value)};" for name, start, step, value in folds]
        lines = [f"F {name} = {start};" for name, start, _, _ in folds]
        if groups > 1:  # each by one thread
            n, a = self.size(width // groups), self.size(apart)
            each = [
                f"for (I k = 0; k < {n}; k++) {{",
                f"    const I j = (g / {a} * {n} + k) * {a} + g % {a};",
                *[f"    {x}" for x in body],
            ]
            each += [f"    {name} = {step.format(name, value)};" for name, _, step, value in folds]
            each = [*lines, *each, "}", *after]
            return [f"over_columns({self.size(groups)}, [&](I g) {{", *[f"    {x}" for x in each], "});"]
        lines.append(f"over_columns({self.size(width)}, [&](I j) {{")
        lines += [f"    {x}" for x in body]
        lines += [f"    {name} = {step.format(name, value)};" for name, _, step, value in folds]
        lines.append("});")
        for name, _, step, _ in folds:
            together = f"[](F a, F b) {{ return {step.format('a', 'b')}; }}"
            lines.append(f"{name} = over_block({name}, across, {together});")
        return lines

    def multiply(self, packed, product, operand, first, out):
        stage = self.schedule.position[product][0]
        width = product.width
        span = self._unit_width(stage + 1) or width
        groups, before = width // span, self.before.get(stage, "0")
        self.before[stage] = f"{before} + tiles<{groups}>({self.size(span)}, parts)"
        kept, depth = f"kept{len(self.products)}", self.size(product.inputs[0].width)
        matrix = f"{depth}, {self.size(span)}, {packed}, {kept}"
        call = (
            f"multiply<{groups}>({operand.array} + {self.offset_text(operand)} + {first}, "
            f"{self.size(operand.width)}, B, {matrix}, resident, parts, {before}, work"
        )
        at = f"{out.array} + {self.offset_text(out)} + j"
        stores = [f"({at})[{k} * {self.size(span)}] = z[{k}];" for k in range(groups)]
        keep = f"keep<{groups}>({packed}, {depth}, {self.size(span)}, parts, {before}, {kept})"
        alignment = operand.width, product.inputs[0].width, self.schedule.operand(product)[1]
        self.products.append(Product(product, groups, span, call, stores, keep, alignment))
        return self.products[-1]

    # ------------------------------------------------------------------ a product and what follows it

    def _rows(self, stage):
        self.groups_span = self._unit_width(stage)
        self.unit = self.schedule.products_of(stage - 1)[0] if self.groups_span else None
        self.reads, self.fetches = self.reads_of.setdefault(stage, []), []
        lines = super()._rows(stage)
        if self.fetches:
            self.fetches_of[stage] = [*lines[: len(self.offset_names)], *self.fetches]
        return lines

    def _one_pass(self, stage):
        """The width of the only pass over the columns of a stage, None where it has several or sums up."""
        turns = list(self.schedule.turns(stage).values()) if 0 <= stage < self.schedule.stages else []
        if len(turns) != 1 or len(turns[0]) != 1:
            return None
        (((width, *_), effects),) = turns[0].items()
        return None if width == 1 or any(e.reduces or e.outer > 1 for e in effects) else width

    def _unit_width(self, stage):
        """The width of a stage whose every value is made, unit by unit, of the same units of the one product
        before it; None where it is not so.
        """
        products, width = self.schedule.products_of(stage - 1), self._one_pass(stage)
        if len(products) != 1 or width is None:
            return None
        (v,) = products
        if v.width % width or v.width // width > TILES[0]:
            return None

        def by_unit(u):
            if u.kind is Kind.VIEW:
                return u.width == width and u.attr.is_slice and u.attr.offset % width == 0
            return v.width == width or u.kind is Kind.MATMUL  # which reads it from memory

        return width if all(by_unit(u) for u in self.schedule.values if v in u.inputs) else None

    def _rows_of_next_step(self):
        """The rows that every step begins with, unit by unit, as the blocks of the last product may do them
        for the next step at once. None where a block would need what others write, or overwrite what they
        need.
        """
        schedule, partner = self.schedule, {}
        for a, b in schedule.carried:
            partner |= {a: b, b: a}
        last = max([schedule.position[v][0] for v in schedule.products], default=-1)
        products, after, width = schedule.products_of(last), last + 1, self._one_pass(0)
        if len(products) != 1 or not width or width != (self._unit_width(after) or products[0].width):
            return None
        if after < schedule.stages and self.stages[after][0] and not self._unit_width(after):
            return None
        self.by_unit, self.reads_of[0] = True, []
        lines = self._rows(0)
        self.by_unit = False
        written = {  # as it is called in this step
            partner.get(p.array, p.array) for p in self._written_first() if p.kind not in OVER_TIME
        }
        others = [(p, first) for p, first in self.reads_of.get(after, ()) if p.array in written]
        own = all(p.first + first == 0 and p.width == width for p, first in [*self.reads_of[0], *others])
        return lines if own and schedule.operand(products[0])[0].array not in written else None

    # ------------------------------------------------------------------ the whole kernel

    @functools.cached_property
    def phases(self) -> list:
        """What every step does, in order."""
        found, next_rows = [], None if self.after else self._rows_of_next_step()
        for stage, (rows, products) in enumerate(self.stages):
            if rows and not self._unit_width(stage):
                body = ["for (I b = blockIdx.x; b < B; b += gridDim.x) {", *[f"    {x}" for x in rows]]
                found.append(
                    Phase([*body, "    __syncthreads();", "}"], False, stage == 0 and bool(next_rows))
                )
            lines = []
            for p in products:
                fused = self._unit_width(stage + 1)
                use = self.stages[stage + 1][0] if fused else []
                stores = p.stores if not fused or self._is_read_later(p.value, stage + 1) else []
                use, fetch = [*stores, *use], self.fetches_of.get(stage + 1, []) if fused else []
                if next_rows and p is self.products[-1]:
                    lines += [f"const I t_next = {self._time('(i + 1)')};"]
                    lines += [
                        f"F *const {a}_next = {b}, *const {b}_next = {a};" for a, b in self.schedule.carried
                    ]
                    names = [name for pair in self.schedule.carried for name in pair]
                    known = ["const I t = t_next;", *[f"F *const {name} = {name}_next;" for name in names]]
                    use += ["if (i + 1 < T) {", *[f"    {x}" for x in [*known, *next_rows]], "}"]
                    next_fetch = ["const I t = t_next;", *self.fetches_of.get(0, [])]
                    fetch = [*fetch, "if (i + 1 < T) {", *[f"    {x}" for x in next_fetch], "}"]
                lines += [f"{p.call}, [&](I b, I j) {{", *[f"    {x}" for x in fetch], "},"]
                lines += ["[&](I b, I j, const F *z) {", *[f"    {x}" for x in use], "});"]
            if lines:  # of all rows: they begin where row 0 does
                found.append(Phase(["const I b = 0;", *lines], True))
        return [*found, Phase(self.after, True)] if self.after else found

    @functools.cached_property
    def threads(self) -> int:
        """Of a block: more for passes over rows, where each does little; fewer have more registers."""
        return 256 if all(p.is_product or p.once for p in self.phases) else 512

    @property
    def waits(self) -> list[bool]:
        """For each phase, whether the next reads what other blocks wrote."""
        following = [*self.phases[1:], *self.phases[:1]]
        return [a.is_product or b.is_product for a, b in zip(self.phases, following, strict=True)]

    @functools.cached_property
    def arrives_early(self) -> bool:
        """True where a step begins with a pass over rows that makes nothing which the products after it
        multiply: blocks say before it that their last step is done, and wait after it.
        """
        passes = [not p.is_product for p in [*self.phases[:2], self.phases[-1]]]
        if passes != [True, False, True] or self.phases[0].once or self._unit_width(1):
            return False
        schedule, written = self.schedule, {p.array for p in self._written_first()}
        return not any(schedule.operand(v)[0].array in written for v in schedule.products_of(0))

    def _written_first(self):
        """The places that the first stage of a step writes to."""
        schedule = self.schedule
        made = [v for v in schedule.values if schedule.position[v][0] == 0]
        stored = [schedule.stored[v] for v in made if v in schedule.stored]
        return [*itertools.chain.from_iterable(schedule.sinks.get(v, ()) for v in made), *stored]

    def _is_read_later(self, v, stage):
        """True where more than the rows of ``stage`` read a product."""
        schedule = self.schedule
        return v in schedule.sinks or any(schedule.position[u][0] != stage for u in schedule.readers(v))

    def _time(self, i):
        """The text of the time of step ``i``."""
        return f"back ? {i} : T - 1 - {i}" if self.schedule.backwards else f"back ? T - 1 - {i} : {i}"

    def source(self) -> str:
        """The kernel."""
        lines, early = [f"const I t = {self._time('i')};"], self.arrives_early
        for k, phase in enumerate(self.phases):
            now = "i == 0 && " if phase.once else ""
            lines += [f"if ({now}(phase < 0 || phase == {k})) {{", *[f"    {x}" for x in phase.lines], "}"]
            arrives, waits = (f"if ({now}phase < 0) {half};" for half in (_ARRIVE, _WAIT))
            lines += [arrives] * (self.waits[k] and not (early and k == 0)) + [waits] * self.waits[k]
        lines += [f"if (phase < 0) {_ARRIVE};"] * early
        exchange = [f"{{ F *other = {a}; {a} = {b}; {b} = other; }}" for a, b in self.schedule.carried]
        head = ["DYNAMIC_SHARED(F, shared);", f"F *across = shared, *work = shared + {_ACROSS};"]
        names = [*self.sizes.values(), *self.steps.values()]
        head += ["unsigned goal = 0;", *[f"const I {name} = n[{k}];" for k, name in enumerate(names)]]
        head += [f"const F {name} = numbers[{k}];" for k, name in sorted(self.numbers.items())]
        head += [f"const F {x} = numbers[count - {k}];" for k, x in enumerate(self.constants.values(), 1)]
        head.append("W *kept0 = reinterpret_cast<W *>(work + blockDim.x / 32 / SPLIT * WORK);")
        head += [f"W *kept{k + 1} = resident ? {p.keep} : kept{k};" for k, p in enumerate(self.products)]
        head += ["__syncthreads();", *[f"if (first % 2) {x}" for x in exchange]]
        head += [f"if (phase < 0) {_ARRIVE};"] * early
        inner = [*head, "for (I i = first; i < last; i++) {", *[f"    {x}" for x in [*lines, *exchange]], "}"]
        arrays = [self._parameter(a) for a in [*self.arguments(), *self.schedule.scratch]]
        arguments = ", ".join([_HEAD, *arrays, *[f"{kind}{name}" for name, kind in self.extra.items()]])
        first = f'extern "C" __global__ void __launch_bounds__(THREADS, 1) {self.function}({arguments}) {{'
        return "\n".join([first, *[f"    {x}" for x in inner], "}\n"])

    def arguments(self):
        return [a for a in super().arguments() if a not in self.extra]

    def _parameter(self, array):
        if array in self.ids.values():
            return f"const I *__restrict__ {array}"
        written = array in self.written or array in self.schedule.scratch
        return f"F *__restrict__ {array}" if written else f"const F *__restrict__ {array}"

    def tiles(self, tile) -> int:
        """The largest number of tiles of a phase's products."""
        by_stage: Counter = Counter()
        for p in self.products:
            by_stage[self.schedule.position[p.value][0]] += p.tiles(tile)
        return max(by_stage.values(), default=0)


class Shape(NamedTuple):
    """How products are dealt: columns and rows of a tile, and parts of the rows."""

    tile: int
    rows: int
    parts: int


class Launch(NamedTuple):
    """How a loop is launched: its kernel, blocks, threads of each, bytes of shared memory, in one launch or
    one a phase, whether matrices stay in shared memory, and parts of the rows.
    """

    kernel: Any
    blocks: int
    threads: int
    shared: int
    persistent: bool
    resident: bool
    parts: int


class Loops:
    """Loops that are one module, for arrays of one dtype; see `numba.Loops`."""

    unit = 1  # rows of the batch whose sums are added up in one place

    def __init__(self, loops, dtype, precision=None, file="scan"):
        self.loops, self.dtype, self.precision = loops, np.dtype(dtype), precision or np.dtype(dtype).name
        self.arrays = require_cupy("cuda")
        device = self.arrays.cuda.Device().attributes
        self.processors = device["MultiProcessorCount"]
        self.shared = device["MaxSharedMemoryPerBlockOptin"]
        self.forms, self.uploaded = {}, {}

    def compile(self, name, count=1, B=1):
        """How the first ``count`` loops are launched for so many rows of the batch; what has to be compiled
        is announced as ``name``.
        """
        how = B, os.environ.get("TINYRNN_CUDA_LOOP") == "phases"
        wanted = [loop for loop in self.loops[:count] if (loop.function, *how) not in self.forms]
        if wanted:
            with kernels.notice.compiling(name):
                self.forms |= {(loop.function, *how): self._launch(loop, *how) for loop in wanted}
        return [self.forms[loop.function, *how] for loop in self.loops[:count]]

    def matmul(self, a, b, precision=None):
        """A product outside of the loops."""
        return rounded_product(a, b, precision) if precision else self.arrays.matmul(a, b)

    def shared_bytes(self, loop, shape, blocks, threads) -> tuple[int, int]:
        """What a block of threads works on, and the matrices that it can keep there; see loops.cuh."""
        parts = threads // 32 // (2 if loop.threads > 256 and shape.rows > 16 else 1)  # of the inner sum
        work = self.dtype.itemsize * (_ACROSS + parts * shape.rows * (shape.tile + 4))
        kept = 0
        for p in loop.products:
            column = -(-p.value.inputs[0].width // _DEPTH) * _DEPTH + _DEPTH
            count = -(-p.tiles(shape.tile) * shape.parts // blocks)
            kept += count * column * shape.tile * _PRECISIONS[self.precision].bytes
        return work, kept

    def blocks(self, loop, shape, B) -> int:
        """How many blocks a loop has work for, as many as run at once at most."""
        return max(1, min(self.processors, max(loop.tiles(shape.tile) * shape.parts, B)))

    def shape(self, loop, B) -> Shape:
        """The tile for which the products of a step take the least time, by a rough count of cycles: of
        multiplying, of reading rows (40 bytes a cycle), and of reading columns that do not fit in shared
        memory, which takes about twice that.
        """
        best = math.inf, Shape(TILES[0], ROWS[0], 1)
        depth = max([p.value.inputs[0].width for p in loop.products], default=0)
        for tile, rows in itertools.product(TILES, ROWS):
            tiles, wanted = max(1, loop.tiles(tile)), -(-B // rows)
            shape = Shape(tile, rows, max(1, min(wanted, self.processors // tiles)))
            rounds = -(-tiles * shape.parts // self.processors) * -(-wanted // shape.parts)
            fits = (
                sum(self.shared_bytes(loop, shape, self.blocks(loop, shape, B), loop.threads)) <= self.shared
            )
            reads = self.dtype.itemsize / 40 * (rows + (0 if fits else 2 * tile))
            cycles = rounds * (depth * (rows * tile * _PRECISIONS[self.precision].cycles + reads) + 1000)
            best = min(best, (cycles, shape))
        return best[1]

    def source(self, loop, shape) -> str:
        """What is compiled of a loop."""
        return module_source(loop, self.dtype, self.precision, shape.tile, shape.rows)

    def _launch(self, loop, B, phases):
        shape, threads = self.shape(loop, B), loop.threads
        kernel, blocks = _kernel(self.source(loop, shape), loop.function), self.blocks(loop, shape, B)
        while self.shared_bytes(loop, shape, blocks, threads)[0] > self.shared and threads > 64:
            threads //= 2  # of a GPU with little shared memory
        work, kept = self.shared_bytes(loop, shape, blocks, threads)
        for size in [] if phases else [work + kept, work]:
            if size <= self.shared:
                kernel.max_dynamic_shared_size_bytes = size
                occupancy = self.arrays.cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor
                at_once = occupancy(kernel.kernel.ptr, threads, size)
                if at_once * self.processors >= blocks:  # CuPy would shrink the grid without a word
                    return Launch(kernel, blocks, threads, size, True, size > work, shape.parts)
        return Launch(kernel, blocks, threads, work, False, False, shape.parts)

    def upload(self, numbers, dtype):
        """Numbers as an array on the GPU; the same ones are sent once."""
        key = tuple(numbers), dtype
        if key not in self.uploaded:
            if len(self.uploaded) >= 64:
                self.uploaded.clear()
            self.uploaded[key] = self.arrays.asarray(np.array(numbers or [0], dtype))
        return self.uploaded[key]

    def matrices(self, loop, closures, precision=None):
        """What a loop multiplies by, by name."""
        return loop.matrices(closures, self.arrays.ascontiguousarray)

    def described(self, B) -> list[str]:
        """How each loop runs for so many rows of the batch, in words."""
        said = []
        for loop, form in zip(self.loops, self.compile("loops", len(self.loops), B), strict=True):
            waits = sum(w and not p.once for w, p in zip(loop.waits, loop.phases, strict=True))
            often = {0: "never", 1: "once a step", 2: "twice a step"}.get(waits, f"{waits} times a step")
            how = f"one launch for all steps, the grid waits {often}"
            if not form.persistent:
                how = f"{len(loop.phases)} launches a step"
            where = "in shared memory" if form.resident else "read from memory"
            matrices = f", matrices {where}" if loop.products else ""
            said.append(f"{loop.function}: {how}{matrices}, {form.blocks} blocks")
        return said

    def run(self, form, loop, memory, numbers, time_steps, T, B, reverse=False, extra=(), precision=None):
        """Call one loop, as `compile` said, which its source says the precision of."""
        xp = self.arrays
        form.kernel.max_dynamic_shared_size_bytes = form.shared
        all_numbers = loop.all_numbers(numbers)
        arrays = memory | {"numbers": self.upload(all_numbers, self.dtype)}
        if not memory.keys() >= set(loop.packed.values()):
            arrays |= self.matrices(loop, memory)
        arrays |= {
            name: xp.empty((B if across else form.blocks, width), self.dtype)
            for name, (width, across) in loop.schedule.scratch.items()
        }
        given = [arrays[name] for name in [*loop.arguments(), *loop.schedule.scratch]]
        if not all(a.flags.c_contiguous for a in given):
            raise CompilerFault("an array is not contiguous")
        n, arrived = self.upload(loop.integers(time_steps), np.int64), xp.zeros(1, np.uint32)
        I, flag = np.int64, np.int32  # noqa: E741 (as in the kernel)
        rest = arrived, n, I(len(all_numbers)), *given, *extra

        def launch(first, last, phase):
            how = flag(phase), flag(form.resident), I(form.parts)
            form.kernel(
                (form.blocks,),
                (form.threads,),
                (I(T), I(B), flag(reverse), I(first), I(last), *how, *rest),
                shared_mem=form.shared,
            )

        if form.persistent:
            launch(0, T, -1)
            return
        for i in range(T):
            for k, phase in enumerate(loop.phases):
                if i == 0 or not phase.once:
                    launch(i, i + 1, k)


@functools.lru_cache(maxsize=512)
def _kernel(source, function):
    module = require_cupy("cuda").RawModule(
        code=source, options=("-std=c++17",), enable_cooperative_groups=True
    )
    return module.get_function(function)
