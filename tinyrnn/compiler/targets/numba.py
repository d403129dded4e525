"""Loops over time for the CPU: Python source that Numba compiles, or that the interpreter runs."""

import contextlib
import functools
import os
from contextvars import ContextVar

import numba
import numpy as np

from ... import kernels
from ...base import threads
from ...kernels.pointwise import NUMPY_PRELUDE
from .. import loops
from ..ir import CompilerFault
from ..schedule import UNIT, Place

_OFFSETS = {"table": "{i}[t * B + b] * {w}", "rows": "(b - b0) * {w}", "unit": f"(b // {UNIT}) * {{w}}"}
_PRELUDES = {
    "numba": NUMPY_PRELUDE
    + "from tinyrnn.kernels.gemm import multiply_at as multiply\n"
    + "from tinyrnn.kernels.noalias import access\n"
    + "from tinyrnn.kernels.sampling import choose\n",
    "python": "import numpy as np\nfrom tinyrnn.kernels.plain import *\n\nF = np.{dtype}\n",
}


_interpreted = ContextVar("interpreted", default=False)


@contextlib.contextmanager
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
    if mode() == "numba" and not all(f.overloads for f in functions):
        what = f"{', '.join(loop.function for loop in loops)}; {np.dtype(dtype).name}"
        with kernels.notice.compiling(f"{name} ({what})"):
            for function, loop in zip(functions, loops, strict=True):
                function.compile(loop.signature(dtype))
    return functions


def token_loop(schedule, logits, count):
    """A loop that writes tokens: after each step the next of ``count`` is chosen, from the array
    ``logits``.
    """
    extra = {
        "ids": numba.int64[::1], "u": numba.float64[::1], "known": numba.int64, "banned": numba.int64,
        "temperature": numba.float64, "top_k": numba.int64, "top_p": numba.float64,
    }  # fmt: skip
    choice = f"choose({logits}.reshape(B, -1)[b], banned, temperature, top_k, top_p, u[t * B + b])"
    after = ["if t + 1 >= known:", " for b in range(b0, b1):", f"  ids[(t + 1) * B + b] = {choice}"]
    return Loop("generate", schedule, after=after, extra=extra)


class Loop(loops.Loop):
    """A loop as a Python function of (T, B, b0, b1, back, gemm, n, arrays...): rows b0 to b1 of the batch;
    ``gemm`` is where products are made, sizes and time steps come in ``n``, as `integers` lists them.

    Args:
        after: lines at the end of a step; ``extra``: arguments that they use, name -> Numba's type.
    """

    name = "numba"
    offsets = loops.Loop.offsets | _OFFSETS
    infinity = "F(np.inf)"

    def __init__(self, function, schedule, *, after=(), extra=None):
        self.after, self.extra = after, extra or {}
        super().__init__(function, schedule)

    def assigned(self, name, text, *, whole=False):
        return f"{name} = {text}"

    def load(self, place, column, first=0):
        return f"load{self.scope(place.array)}({place.array}, {self.index(place, column, first)})"

    def store(self, place, column, value, first=0):
        if place.add:
            value = f"{self.load(place, column, first)} + {value}"
        return f"store{self.scope(place.array)}({place.array}, {self.index(place, column, first)}, {value})"

    def pass_over(self, space, body, folds, groups=1, apart=1, after=()):
        if apart > 1:
            return self._pass_in_turns(space, body, folds, groups, apart, after)
        steps = [f"{name} = {step.format(name, value)}" for name, _, step, value in folds]
        lines = [f"{name} = {start}" for name, start, _, _ in folds]
        if space.width == 1:
            return lines + steps
        if not space.counters:
            return [*lines, f"for j in range({self.size(space.width)}):", *[f" {x}" for x in [*body, *steps]]]
        found, indent, passed, column = [], "", 1, ""
        for name, step, n in space.counters:
            if passed == groups:
                found += [indent + line for line in ([f"g = {column}"] if groups > 1 else []) + lines]
                fold = indent
            found.append(f"{indent}for {name} in range({self.size(n)}):")
            indent += " "
            passed *= n
            column = f"{column} * {self.size(n)} + {name}" if column else name
            column = f"({column})" if step > 1 and "+" in column else column
        found += [indent + line for line in [f"j = {column}", *body, *steps]]
        return found + [fold + line for line in after]

    def _pass_in_turns(self, space, body, folds, groups, apart, after):
        """A pass over groups whose columns take turns: what is made of each lies in a row of its own, so that
        columns are still read in their order.
        """
        rows, block = [], space.width // groups * apart
        for _ in folds:
            rows.append(Place(f"turns{len(self.schedule.scratch)}", "one", groups))
            self.schedule.scratch[rows[-1].array] = groups, False
        each_group = f"for g in range({self.size(groups)}):"
        found, indent, column, group = [each_group], "", [], []
        found += [f" {self.store(row, 'g', fold[1])}" for row, fold in zip(rows, folds, strict=True)]
        for name, step, n in space.counters:
            found.append(f"{indent}for {name} in range({self.size(n)}):")
            indent += " "
            column.append(f"{name} * {self.size(step)}" if step > 1 else name)
            at = step if step < apart else step // block * apart  # 0: it counts the columns of a group
            group += [f"{name} * {self.size(at)}" if at > 1 else name] if at else []
        lines = [f"j = {' + '.join(column)}", f"g = {' + '.join(group)}", *body]
        for row, (_, _, step, value) in zip(rows, folds, strict=True):
            lines.append(self.store(row, "g", step.format(self.load(row, "g"), value)))
        found += [*[indent + line for line in lines], each_group]
        found += [f" {name} = {self.load(row, 'g')}" for row, (name, *_) in zip(rows, folds, strict=True)]
        return [*found, *[f" {line}" for line in after]]

    def multiply(self, packed, product, operand, first, out):
        k, n = self.size(product.inputs[0].width), self.size(product.width)

        def corner(place):
            return "0" if place.kind == "rows" else self.offset_text(place).replace("b *", "b0 *")

        rows = f"{operand.array}, {corner(operand)} + {first}, {self.size(operand.width)}"
        result = f"{out.array}, {corner(out)}, {self.size(out.width)}"
        return f"multiply(gemm, {rows}, False, {packed}, {result}, b1 - b0, {k}, {n}, False)"

    def source(self) -> str:
        """The function."""
        lines = []
        for rows, products in self.stages:
            lines += ["for b in range(b0, b1):", *[f" {x}" for x in rows]] if rows else []
            lines += products
        arguments = ", ".join([*self.arguments(), *self.extra])
        head = [f"def {self.function}(T, B, b0, b1, back, gemm, n, {arguments}):"]
        scratch = [  # before the sizes are listed: it may name more of them
            f" {name} = np.empty({'(b1 - b0) * ' if across else ''}{self.size(width)}, F)"
            for name, (width, across) in self.schedule.scratch.items()
        ]
        names = [*self.sizes.values(), *self.steps.values()]
        head += [f" {name} = n[{k}]" for k, name in enumerate(names)]
        head += [f" {name} = numbers[{k}]" for k, name in sorted(self.numbers.items())]
        constants = enumerate(self.constants.values(), 1)
        head += [f" {name} = numbers[numbers.size - {k}]" for k, name in constants]
        first_to_last = "T - 1 - i if back else i"
        last_to_first = "i if back else T - 1 - i"
        head += [*scratch, " for i in range(T):"]
        head.append(f"  t = {last_to_first if self.schedule.backwards else first_to_last}")
        carried = [f"{a}, {b} = {b}, {a}" for a, b in self.schedule.carried]
        return "\n".join([*head, *[f"  {line}" for line in [*lines, *self.after, *carried]]])

    def arguments(self):
        return [a for a in super().arguments() if a not in self.extra]

    def signature(self, dtype) -> tuple:
        """Numba's types of the function's arguments."""
        dtypes = [np.dtype(np.int64 if a in self.ids.values() else dtype) for a in self.arguments()]
        arrays = [numba.from_dtype(d)[::1] for d in dtypes]
        first = [*[numba.int64] * 4, numba.boolean, numba.intp, numba.int64[::1]]
        return *first, *arrays, *self.extra.values()

    def gemm(self, dtype, precision) -> int:
        """Where the loop finds the product with a packed matrix."""
        return kernels.gemm.address(dtype, precision) if self.packed else 0


class Loops:
    """Loops that are one module, for arrays of one dtype; see `loops.Loops`."""

    arrays, unit = np, UNIT

    def __init__(self, loops, dtype, precision=None, file="scan"):
        self.file = file
        self.loops, self.dtype, self.precision = loops, dtype, dtype.name
        self.sources = {how: module_source(loops, dtype, how) for how in ("numba", "python")}

    @property
    def source(self):
        return self.sources[mode()]

    def compile(self, name, count=1, B=1):
        """The first ``count`` functions, for any ``B``, compiled or loaded; what has to be compiled is
        announced as ``name``.
        """
        module = load(self.file + "_python" * (mode() == "python"), self.source)
        return compiled(module, self.loops[:count], self.dtype, name)

    def matmul(self, a, b, precision=None):
        """A product outside of the loops."""
        return kernels.gemm.matmul(a, b, precision=precision)

    def matrices(self, loop, closures, precision=None):
        """What a loop multiplies by, by name: packed once, they may be part of its ``memory`` at any call in
        this precision.
        """
        return loop.matrices(closures, lambda b: kernels.gemm.packed_matrix(b, precision))

    def run(self, function, loop, memory, numbers, time_steps, T, B, reverse=False, extra=(), precision=None):
        """Call one loop in parts of the batch, one a thread; the same source serves every precision."""
        arrays = memory | {"numbers": np.array(loop.all_numbers(numbers), self.dtype)}
        if not memory.keys() >= set(loop.packed.values()):
            arrays |= self.matrices(loop, memory, precision)
        flat = [arrays[a].reshape(-1) for a in loop.arguments()]
        for name, a in zip(loop.arguments(), flat, strict=True):
            if not np.shares_memory(a, arrays[name]) and a.size:
                raise CompilerFault(f"{name} is not contiguous")
        n, compiled = np.array(loop.integers(time_steps), np.int64), hasattr(function, "signatures")
        gemm = loop.gemm(self.dtype, precision) if compiled else precision  # as `multiply` of either takes it

        def part(first, last):
            function(T, B, first * UNIT, min(last * UNIT, B), reverse, gemm, n, *flat, *extra)

        with contextlib.nullcontext() if compiled else np.errstate(all="ignore"):
            threads.split(-(-B // UNIT), part, at_least=T * UNIT * loop.work)
