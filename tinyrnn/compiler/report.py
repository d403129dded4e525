"""What the compiler makes of a step: whether it is compiled, why not, and what it costs."""

from dataclasses import dataclass

from ..errors import TraceError
from . import plan
from .program import order
from .scan import compiled_plan


@dataclass
class Report:
    """What the compiler makes of a step.

    Attributes:
        reason: why the step runs eagerly, None if it is compiled.
        flops: operations of one step of one sequence: two for each multiplication of a matrix product, one for each element
            that any other op makes; None where the step cannot be read.
        products: those of matrix products that depend on the states, and those of the others.
    """

    reason: str | None
    flops: int | None = None
    products: tuple[int, int] | None = None

    def __str__(self):
        return "compiled" if self.reason is None else f"eager: {self.reason}"


def report(step, x, states) -> Report:
    """The report on ``step(x, *states)``, for tensors ``x [B, F]`` and ``states [B, H]``. Nothing is compiled yet."""
    found = ()
    try:
        trace = plan.trace(lambda xs, *states: step(xs[0], *states), [x.data], [s.data for s in states], hoist=False)
        made = [v for v in order(trace.news) if v.op not in ("input", "number", "slice", "copy", "concat")]
        by_state, products = plan.depending_on_states(trace), [0, 0]
        for v in made:
            if v.op == "matmul":
                products[v not in by_state] += 2 * v.inputs[0].width * v.width
        found = sum(v.width for v in made if v.op != "matmul") + sum(products), tuple(products)
        compiled_plan(lambda xs, *states: step(xs[0], *states), [x[None]], tuple(states), (0,))
    except TraceError as error:
        return Report(str(error), *found)
    return Report(None, *found)


def report_cell(cell) -> Report:
    """`report` on the step of a `Cell`."""
    from ..functional import ones

    B = 2
    return report(cell.step, ones((B, cell.input_size), dtype=cell.dtype), cell.initial_state(B))
