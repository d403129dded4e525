"""What a step's recurrent products multiply, so that it can be dropped: of any step, read from its tape."""

from . import compiled, plan
from .program import Value, order, pointwise


class RecurrentProducts:
    """The products ``s @ U`` of a step in which ``s`` depends on the states.

    Args:
        step: of ``(x, *states)``.
        x, states: tensors ``[B, F]`` and ``[B, H]`` of one time step.

    Attributes:
        widths: of the different ``s``.
        matrices: the different ``U``, tensors that the step closes over.

    Raises:
        TraceError: the step cannot be read from its tape.
    """

    def __init__(self, step, x, states):
        trace = plan.trace(lambda xs, *states: step(xs[0], *states), [x.data], [s.data for s in states], hoist=False)
        by_state = plan.depending_on_states(trace)
        products = [v for v in order(trace.news) if v.op == "matmul" and v.inputs[0] in by_state]
        closure = {v: t for t, v in trace.closure}
        factors = {v.inputs[0]: None for v in products}
        self._masks = [Value("input", (), s.width, True, ("m", k)) for k, s in enumerate(factors)]
        self._matrices = list({v.inputs[1]: None for v in products})
        self._closure, self._inputs = closure, [trace.reader.values[n] for n in (*trace.xs, *trace.states)]
        self._plain, self._masked = trace.news, _masked(trace.news, products, dict(zip(factors, self._masks, strict=True)))
        self.widths, self.matrices = [s.width for s in factors], [closure[m] for m in self._matrices]

    def step(self, x, states, masks, matrices):
        """Next states, with ``matrices`` for ``U``, and each ``s`` multiplied by one of ``masks`` ``[B, width]``, if any."""
        env = self._closure | dict(zip(self._inputs, (x, *states), strict=True))
        env |= dict(zip(self._matrices, matrices, strict=True)) | dict(zip(self._masks if masks else (), masks, strict=True))
        news = self._masked if masks else self._plain
        return tuple(compiled.rows_of(v, env, s) for v, s in zip(news, states, strict=True))


def _masked(roots, products, masks):
    """``roots`` with the left side of each of ``products`` multiplied by its mask."""
    done = {}
    for v in order(roots):
        inputs = tuple(done[x] for x in v.inputs)
        if v in products:
            inputs = pointwise("multiply", inputs[0], masks[v.inputs[0]]), inputs[1]
        done[v] = v if inputs == v.inputs else Value(v.op, inputs, v.width, v.rows, v.attr)
    return [done[r] for r in roots]
