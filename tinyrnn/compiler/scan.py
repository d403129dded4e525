"""The time loop: the one place where a step function is run over time, compiled where that is possible."""

import os
import warnings

import numpy as np

from ..autograd import Tensor, stack, unstack, where
from ..autograd.pointwise import as_tensor
from ..errors import ShapeError, TraceError
from ..kernels.arrays import to_device
from . import plan


class CompileWarning(UserWarning):
    """A step runs eagerly although it was to be compiled; the message says why."""


def scan(step, xs, init, *, mask=None, resets=None, reverse=False, return_states=False, compile=None):
    """Run ``step(x_t, *states)`` over the first axis of ``xs``.

    The step is recorded once, and its tape compiled into one loop, forward and backward. A step that cannot be compiled runs
    eagerly, with a `CompileWarning` that says why. Compiled programs are kept: a step of the same form costs its recording.

    Args:
        step: returns the next states (a Tensor, or a tuple in the order of ``init``); the first is the output. It may close
            over tensors, which may require gradients; Python numbers in it are part of the program.
        xs: ``[T, B, F]``, time first.
        init: the first states, a Tensor ``[B, H]`` or a tuple of them.
        mask: ``[T, B]``; where it is 0 the states are carried on unchanged.
        resets: ``[T, B]``; where it is 1 the states return to ``init`` before the step.
        reverse: run from the last step to the first.
        return_states: return every state over time instead of the first alone.
        compile: False runs eagerly, the reference; default: compiled, unless there is one step only, or the environment says
            ``TINYRNN_COMPILE=0``.

    Returns:
        ``(ys, final)``: ys ``[T, B, H]`` (with ``return_states`` a tuple, one for each state), in the order of ``xs`` also when
        reversed; final in the form of ``init``.

    Raises:
        ShapeError: ``step`` returned another number of states, or a state changed shape; mask or resets do not fit.
    """
    several, single = isinstance(xs, tuple), isinstance(init, Tensor)
    given = [as_tensor(x) for x in xs] if several else [as_tensor(xs)]
    init = (init,) if single else tuple(as_tensor(s) for s in init)
    shape = given[0].shape
    if len(shape) < 2 or not shape[0]:
        raise ShapeError(f"scan: xs {list(shape)} has no time steps: it must be [T, B, ...] with T of at least 1")
    if any(x.shape[:2] != shape[:2] for x in given):
        raise ShapeError(f"scan: xs {', '.join(str(list(x.shape)) for x in given)} differ in time or batch, the first two axes")
    flags = [_flags(name, values, given[0]) for name, values in (("mask", mask), ("resets", resets))]
    streams = [*given, *[f for f in flags if f is not None]]
    inner = _inner(step, init, len(given) if several else 0, flags[0] is not None, flags[1] is not None)
    outputs = tuple(range(len(init))) if return_states else (0,)
    found = None
    if compile is None:  # a single step, as in generation, costs less than its recording
        compile = shape[0] > 1 and is_on()
    if compile:
        try:
            name = _name(step).removesuffix(".step").rpartition(".")[2].lower()
            found = _compiled(inner, streams, init, reverse, outputs, name)
        except TraceError as error:
            _warn_once(step, error)
    columns, final = found or _eager(inner, streams, init, reverse, outputs)
    return tuple(columns) if return_states else columns[0], final[0] if single else tuple(final)


def is_on() -> bool:
    """False where the environment asks for eager loops, by ``TINYRNN_COMPILE=0``."""
    return os.environ.get("TINYRNN_COMPILE") != "0"


def _flags(name, values, xs):
    """``[T, B]`` as a float tensor ``[T, B, 1]`` of ones and zeros, or None."""
    if values is None:
        return None
    data = as_tensor(values).data
    if data.shape != xs.shape[:2]:
        raise ShapeError(f"scan: {name} {list(data.shape)} must be [T, B] = {list(xs.shape[:2])}")
    dtype = xs.dtype if xs.dtype.kind == "f" else np.dtype(np.float32)
    return Tensor(to_device((data != 0).astype(dtype)[:, :, None], xs.device))


def _inner(step, init, several, masked, reset):
    """``step`` as a function of one tuple ``(x..., [live], [fresh])``, of which the first ``several`` are a tuple for ``step``.

    States return to ``init`` where fresh, and are carried on where not live.
    """

    def inner(xs, *states):
        if reset:
            states = tuple(where(xs[-1], s0, s) for s0, s in zip(init, states, strict=True))
        new = plan.next_states(step, xs[:several] if several else xs[0], states)
        live = xs[several or 1] if masked else None
        return tuple(where(live, n, s) for n, s in zip(new, states, strict=True)) if masked else new

    return inner


def _eager(step, streams, init, reverse, outputs):
    """The plain loop: the reference of the compiled one."""
    steps, states = list(zip(*map(unstack, streams), strict=True)), init
    over_time = [None] * len(steps)
    for t in reversed(range(len(steps))) if reverse else range(len(steps)):
        states = over_time[t] = step(steps[t], *states)
    return [stack([column[k] for column in over_time]) for k in outputs], states


_plans = {}  # what makes two steps the same program: the program (None: a step that is another one on another batch)
FEW = 3  # rows of the batch that a step is recorded on
_warned = set()


def _name(step):
    return getattr(step, "__qualname__", repr(step))


def _compiled(step, streams, init, reverse, outputs, name):
    """The same by compiled loops; raises `TraceError` where that cannot be."""
    from . import compiled  # and Numba with it

    found, trace, looked_up = compiled_plan(step, streams, init, outputs)
    tensors = compiled.Runner(found, trace, streams, init, reverse, looked_up)(name)
    return tensors[: len(outputs)], tensors[len(outputs) :]


def compiled_plan(step, streams, init, outputs):
    """The `Compiled` of a step of ``((x, ...), *states)``, its trace at this call, and the streams that are looked up.

    Raises:
        TraceError: it cannot be compiled; the message says why.
    """
    from . import compiled

    dtype, batch = streams[0].dtype, streams[0].shape[1]
    if dtype.char not in "fd" or any(t.dtype != dtype for t in (*streams, *init)):
        found = ", ".join(sorted({str(t.dtype) for t in (*streams, *init)}))
        raise TraceError(f"inputs and states are {found}: bring both to float32, or both to float64, with astype()")
    if any(s.ndim != 2 or s.shape[0] != batch for s in init) or any(x.ndim != 3 or not x.size for x in streams):
        raise TraceError("inputs are not [T, B, F] or states not [B, H]")
    if any(t.device != "cpu" for t in (*streams, *init)):
        raise TraceError("the arrays are on a GPU")
    sources = compiled.sources(streams)

    def traced(rows):
        """The step recorded on so many rows of the batch, and what makes it a program."""
        trace = plan.trace(step, [x.data[0, :rows] for x in streams], [s.data[:rows] for s in init], tabled=sources)
        looked_up = {i: sources[x] for i, x in trace.tables.items()}
        return trace, looked_up, (plan.signature(trace), outputs, dtype, frozenset(looked_up))

    found = None
    if batch > 2 * FEW:  # cheap, and as good, if the step neither knows nor closes over the size of the batch
        try:
            trace, looked_up, key = traced(FEW)
        except (ShapeError, TraceError):
            key = None
        if key is not None and key not in _plans:
            _plans[key] = compiled.Compiled(trace, outputs, frozenset(looked_up)) if traced(batch)[2] == key else None
        found = _plans.get(key)
    if found is None:
        trace, looked_up, key = traced(batch)
        found = _plans[key] = _plans.get(key) or compiled.Compiled(trace, outputs, frozenset(looked_up))
    return found, trace, looked_up


def _warn_once(step, error):
    key = _name(step), str(error)
    if key not in _warned:
        _warned.add(key)
        warnings.warn(f"{key[0]} runs eagerly: {error}", CompileWarning, stacklevel=3)
