"""What the compiler makes of a step: whether it is compiled, why not, and what it costs."""

from dataclasses import dataclass

from ..errors import TraceError
from . import plan
from .program import order
from .scan import compiled_plan


@dataclass
class Report:
    """``reason``: why the step runs eagerly, None if it is compiled; ``flops``: operations of one step of one sequence."""

    reason: str | None
    flops: int | None

    def __str__(self):
        return "compiled" if self.reason is None else f"eager: {self.reason}"


def report(step, x, states) -> Report:
    """The report on ``step(x, *states)``, for tensors ``x [B, F]`` and ``states [B, H]``. Nothing is compiled yet.

    ``flops`` counts two for each multiplication of a matrix product, and one for each element that any other op makes.
    """
    flops = None
    try:
        trace = plan.trace(lambda xs, *states: step(xs[0], *states), [x.data], [s.data for s in states], hoist=False)
        made = [v for v in order(trace.news) if v.op not in ("input", "number", "slice", "copy", "concat")]
        flops = sum(2 * v.inputs[0].width * v.width if v.op == "matmul" else v.width for v in made)
        compiled_plan(lambda xs, *states: step(xs[0], *states), [x[None]], tuple(states), (0,))
    except TraceError as error:
        return Report(str(error), flops)
    return Report(None, flops)


def report_cell(cell) -> Report:
    """`report` on the step of a `Cell`."""
    from ..functional import ones

    B = 2
    return report(cell.step, ones((B, cell.input_size), dtype=cell.dtype), cell.initial_state(B))
