"""What a step's recurrent products multiply, so that it can be dropped: of any step, read from its tape."""

from ..autograd import Tensor
from ..base.devices import beside
from ..base.errors import TraceError
from ..kernels.generator import Wanted, in_step, step_draw
from .ir import CompilerFault, Input, Kind, Source, Value, numbered, order, pointwise, rebuilt
from .plan import depending_on_states
from .record import as_rows, next_states, of_rows, recorded
from .targets.tensor import environment, rows_of


def recorded_step(step, x, states):
    """The `Recording` of ``step(x, *states)`` on arrays ``[B, F]`` and ``[B, H]``; its random numbers are
    further xs, listed as its ``draws``.

    Raises:
        TraceError: it has no compiled form.
    """
    rows = of_rows(step, False, [x.shape[1:]], [s.shape[1:] for s in states])
    states, draws, noise = tuple([as_rows(s, 1) for s in states]), [], []

    def inner(xs, states, held):
        with in_step(xs[1:]):
            return next_states(rows, xs[0], states)

    while True:
        try:
            recording = recorded(inner, (as_rows(x, 1), *noise), states)
            recording.program  # noqa: B018  raises where it has none
            recording.draws = draws
            return recording
        except CompilerFault as fault:
            raise TraceError(f"a fault of tinyrnn's compiler, not of the step: {fault}") from fault
        except Wanted as wanted:
            draws.append(wanted.draw)
            state = wanted.draw.generator.state
            array = wanted.draw.over_time(1, len(x))[0]
            wanted.draw.generator.state = state  # recording draws nothing
            noise.append(as_rows(beside(array.astype(x.dtype), x), 1))


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
        recording = recorded_step(step, x.data, [s.data for s in states])
        program, self._dtype = recording.program, recording.dtype
        values, by_state = order(program.news), depending_on_states(program)
        products = [v for v in values if v.kind is Kind.MATMUL and v.inputs[0] in by_state]
        factors = list(dict.fromkeys(v.inputs[0] for v in products))
        masks = [Value(Kind.INPUT, (), s.width, True, Input(Source.HELD, k)) for k, s in enumerate(factors)]
        self._draws = recording.draws
        self._inputs = [v for v in values if v.kind is Kind.INPUT]
        self._tensors = numbered(Source.CLOSURE, recording.closures)
        self._tensors |= numbered(Source.ARGUMENT, recording.numbers)
        self._matrices = list({v.inputs[1]: None for v in products})
        self._plain, self._masked = (
            program.news,
            _masked(program.news, products, dict(zip(factors, masks, strict=True))),
        )
        self._masks = masks
        self.widths = [s.width for s in factors]
        self.matrices = [self._tensors[m.attr] for m in self._matrices]

    def step(self, x, states, masks, matrices):
        """Next states, with ``matrices`` for ``U``, and each ``s`` multiplied by one of ``masks`` ``[B,
        width]``, if any.
        """
        noise = [self._noise(draw, x, states[0].dtype) for draw in self._draws]
        given = self._tensors | numbered(Source.X, [x, *noise]) | numbered(Source.STATE, states)
        env = environment(self._inputs, given) | dict(zip(self._matrices, matrices, strict=True))
        if masks:
            env |= dict(zip(self._masks, masks, strict=True))
        news = self._masked if masks else self._plain
        return tuple([rows_of(v, env, s.shape, self._dtype) for v, s in zip(news, states, strict=True)])

    @staticmethod
    def _noise(draw, x, dtype):
        found = step_draw(draw.kind, (len(x), *draw.shape), draw.generator)
        if found is None:
            found = Tensor(beside(draw.over_time(1, len(x))[0].astype(dtype), x.data))
        return as_rows(found, 1)


def _masked(roots, products, masks):
    """``roots`` with the left side of each of ``products`` multiplied by its mask."""
    done = {}
    for v in order(roots):
        if v not in products:
            done |= rebuilt([v], {x: done[x] for x in v.inputs})
            continue
        left = pointwise("multiply", done[v.inputs[0]], masks[v.inputs[0]])
        done[v] = Value(v.kind, (left, v.inputs[1]), v.width, v.rows, v.attr)
    return [done[r] for r in roots]
