"""What the compiler makes of a step: whether it is compiled, why not, and what it costs."""

from dataclasses import dataclass

from ..base.errors import TraceError
from ..kernels.generator import Generator, using
from .ir import CompilerFault, Kind, order
from .plan import depending_on_states
from .products import recorded_step
from .scan import plan_of

_FREE = frozenset(
    {Kind.INPUT, Kind.NUMBER, Kind.VIEW, Kind.COPY, Kind.CONCAT, Kind.LAID, Kind.DETACH, Kind.CAST}
)


@dataclass
class Report:
    """What the compiler makes of a step.

    Attributes:
        reason: why the step runs eagerly, None if it is compiled.
        flops: operations of one step of one sequence: two for each multiplication of a matrix product, one
            for each element that any other op makes; None where the step cannot be read.
        products: those of matrix products that depend on the states, and those of the others.
        fault: the reason is a fault of the compiler, not of the step.
    """

    reason: str | None
    flops: int | None = None
    products: tuple[int, int] | None = None
    fault: bool = False

    def __str__(self):
        return "compiled" if self.reason is None else f"eager: {self.reason}"


def report(step, x, states) -> Report:
    """The report on ``step(x, *states)``, for tensors ``x [B, F]`` and ``states [B, H]``. Nothing is compiled
    yet.
    """
    found = ()
    try:
        recording = recorded_step(step, x.data, [s.data for s in states])
        program = recording.program
        made = [v for v in order(program.news) if v.kind not in _FREE]
        by_state, products = depending_on_states(program), [0, 0]
        for v in made:
            if v.kind is Kind.MATMUL:
                products[v not in by_state] += 2 * v.inputs[0].width * v.width
        found = sum(v.width for v in made if v.kind is not Kind.MATMUL) + sum(products), tuple(products)
        plan_of(recording, (0,), frozenset())
    except TraceError as error:
        return Report(str(error), *found, fault=isinstance(error.__cause__, CompilerFault))
    except CompilerFault as error:
        return Report(
            f"a fault of tinyrnn's compiler, not of the step: {error}", *(found or (None, None)), fault=True
        )
    return Report(None, *found)


def report_cell(cell) -> Report:
    """`report` on the step of a `Cell`."""
    from ..autograd.functional import ones

    B = 2
    with using(Generator(0)):
        return report(cell.step, ones((B, cell.input_size), dtype=cell.dtype), cell.initial_state(B))
