"""The time loop: the one place where a step function is run over time, compiled where that is possible."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import kernels
from ..autograd import Tensor, expand_dims, isfinite, logical_or, not_equal, reshape, stack, unstack, where
from ..autograd.functional.gather import source_of
from ..autograd.linalg import PRECISIONS, ambient_precision, refuse_gradient
from ..autograd.pointwise import as_tensor
from ..autograd.tape import is_tracing, multiplying
from ..autograd.types import ArrayLike
from ..base import threads
from ..base.devices import is_cupy, to_device
from ..base.errors import InputError, ShapeError, TraceError
from ..base.options import Rule
from ..kernels.generator import Draw, Generator, Wanted, draws, in_step, is_in_step
from .ir import CompilerFault, CompileWarning, own_faults
from .lines import completed
from .record import Kept, as_rows, code_of, differing, next_states, of_rows, origin, owners, recorded

UNROLLED = 32  # steps of a scan in a step, at most: each is compiled for itself
_FLAG = Rule(bool)


def scan(
    step: Callable[..., Any],
    xs: ArrayLike | tuple[ArrayLike, ...],
    init: ArrayLike | tuple[ArrayLike, ...] | list[ArrayLike],
    *,
    mask: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    reverse: bool = False,
    return_states: bool = False,
    compile: bool | None = None,
    precision: str | None = None,
) -> tuple[Any, Any]:
    """Run ``step(x_t, *states)`` over the first axis of ``xs``.

    The step is recorded, and its tape compiled into one loop, forward and backward. A step that cannot be
    compiled runs eagerly, with a `CompileWarning` that says why. Compiled programs are kept: a step of the
    same form costs its recording. In a step, a scan of up to 32 steps is part of that step.

    Args:
        step: returns the next states (a Tensor, or a tuple in the order of ``init``); the first is the
            output. It may close over tensors, which may require gradients; Python numbers in it may be others
            at every call.
        xs: ``[T, B, F]``, time first; or a tuple of such: then ``step`` is given a tuple.
        init: the first states, an array ``[B, H]`` or a tuple of them. What has several axes of features, as
            ``[B, H, N]``, the step gets and returns so.
        mask: ``[T, B]``; where it is 0 the states are carried on unchanged, and what is not finite in ``xs``
            is taken for 0, so that no gradient becomes NaN by it.
        resets: ``[T, B]``; where it is 1 the states return to ``init`` before the step.
        reverse: run from the last step to the first.
        return_states: return every state over time instead of the first alone.
        compile: False runs eagerly, the reference; default: compiled, unless there is one step only, or the
            environment says ``TINYRNN_COMPILE=0``.
        precision: of the operands of products, for float32: "bfloat16", on a GPU also "tf32", on a CPU
            without gradients also "int8"; sums and states stay float32. Default: that of the `autocast`
            around, or what the arrays are.

    Returns:
        ``(ys, final)``: ys ``[T, B, H]`` (with ``return_states`` a tuple, one for each state), in the order
        of ``xs`` also when reversed; final in the form of ``init``.

    Raises:
        ShapeError: ``step`` returned another number of states, or a state changed shape; init is of another
            batch than xs; mask or resets do not fit.
        InputError: a precision that these arrays cannot have; a mask or resets with NaN.
    """
    several, single = isinstance(xs, tuple), not isinstance(init, tuple | list)
    given = [as_tensor(x) for x in xs] if isinstance(xs, tuple) else [as_tensor(xs)]
    init = tuple([as_tensor(s) for s in init]) if isinstance(init, tuple | list) else (as_tensor(init),)
    single_precision = given[0].dtype == np.float32
    if precision is None and single_precision:
        precision = ambient_precision()
    refuse_gradient(precision)
    possible = [p for p in PRECISIONS if p != ("int8" if given[0].device == "cuda" else "tf32")]
    if precision is not None and not (single_precision and precision in possible):
        mend = f"use {' or '.join(possible)} for float32 arrays, or leave it out"
        raise InputError(f"scan: precision {precision!r} of {given[0].dtype} on {given[0].device}: {mend}")
    shape = given[0].shape
    if len(shape) < 2 or not shape[0]:
        mend = "it must be [T, B, ...] with T of at least 1"
        raise ShapeError(f"scan: xs {list(shape)} has no time steps: {mend}")
    if any(x.shape[:2] != shape[:2] for x in given):
        shapes = ", ".join(str(list(x.shape)) for x in given)
        raise ShapeError(f"scan: xs {shapes} differ in time or batch, the first two axes")
    for i, s in enumerate(init):
        if s.ndim and s.shape[0] != shape[1]:  # which arithmetic might broadcast
            raise ShapeError(
                f"scan: state {i} is {list(s.shape)}, xs {list(shape)}: give both the same batch"
            )
    reverse, return_states = _FLAG.checked(reverse, "reverse"), _FLAG.checked(return_states, "return_states")
    flags = [_flags(name, values, given[0]) for name, values in (("mask", mask), ("resets", resets))]
    outputs = tuple(range(len(init))) if return_states else (0,)
    if (is_in_step() or is_tracing()) and shape[0] <= UNROLLED:
        columns, final = _unrolled(step, given, several, flags, init, reverse, outputs)
    elif is_tracing():
        raise TraceError(f"it runs a scan of {shape[0]} steps, of which up to {UNROLLED} can be compiled")
    else:
        if flags[0] is not None:
            given = [_without_masked(x, flags[0]) for x in given]
        if compile is None:  # a single step, as in generation, costs less than its recording
            compile = shape[0] > 1 and is_on()
        how = several, flags, init, compile, reverse, outputs, precision
        with multiplying((precision, True)):
            columns, final = _with_numbers(step, given, init, how)
    return tuple(columns) if return_states else columns[0], final[0] if single else tuple(final)


def _with_numbers(step, given, init, how):
    """`_scanned` with all random numbers that the step asks for."""
    asked: list[Draw] = []
    before: dict[Generator, tuple[int, int]] = {}
    while True:  # once more for each of them
        with draws() as drawn:
            noise = _drawn(asked, before, given[0], init)
            try:
                return _scanned(step, given, noise, *how)
            except Wanted as wanted:
                asked.append(wanted.draw)
                for generator, state in drawn.items():  # also what the step drew itself
                    generator.state = state


def _drawn(asked, before, xs, init):
    """The random numbers of all steps; each generator begins where it was ``before``, which is filled."""
    for draw in asked:
        before.setdefault(draw.generator, draw.generator.state)
    for generator, state in before.items():
        generator.state = state
    arrays = [draw.over_time(*xs.shape[:2]) for draw in asked]
    return [Tensor(to_device(a.astype(init[0].dtype), xs.device)) for a in arrays]


def _unrolled(step, given, several, flags, init, reverse, outputs):
    """A scan in a step: so many more equations of that step, random numbers and all."""
    flagged = [f for f in flags if f is not None]
    form = len(given) if several else 0, len(given), *[f is not None for f in flags]
    inner = _inner(step, *form, nested=True)
    return _eager(inner, [*given, *flagged], init, init, reverse, outputs)


def _scanned(step, given, noise, several, flags, init, compile, reverse, outputs, precision):
    """``(outputs over time, final states)``: `scan` of what it has looked at.

    Raises:
        Wanted: the step asks for random numbers that ``noise`` lacks.
    """
    found = reason = None
    flagged = [f for f in flags if f is not None]
    streams, form = [*given, *noise, *flagged], [f is not None for f in flags]
    form = len(given) if several else 0, len(given) + len(noise), *form
    held = () if flags[1] is None else init
    if compile:
        sizes = [x.shape[2:] for x in given], [s.shape[1:] for s in init]
        rows, states = of_rows(step, several, *sizes), tuple([as_rows(s, 1) for s in init])
        xs, inner = [as_rows(x, 2) for x in streams], _inner(rows, *form)
        call = Call(inner, xs, len(flagged), states, states[: len(held)], reverse, outputs, precision)
        with threads.alone():  # a few rows of the batch are recorded: waking BLAS's threads costs more
            found, reason = _compiled(step, call)
        if found and rows is not step:
            pairs = zip(outputs, found[0], strict=True)
            columns = [reshape(y, (*y.shape[:2], *init[k].shape[1:])) for k, y in pairs]
            found = columns, [reshape(s, like.shape) for s, like in zip(found[1], init, strict=True)]
    found = found or _eager(_inner(step, *form), streams, init, held, reverse, outputs)
    if reason:  # after the eager loop: where that raises an error, nothing else needs to be said
        _warn_once(step, reason)
    return found


def is_on() -> bool:
    """False where the environment asks for eager loops, by ``TINYRNN_COMPILE=0``."""
    return os.environ.get("TINYRNN_COMPILE") != "0"


def _flags(name, values, xs):
    """``[T, B]`` as a float tensor ``[T, B, 1]`` of ones and zeros, or None."""
    if values is None:
        return None
    values, dtype = as_tensor(values), xs.dtype if xs.dtype.kind == "f" else np.dtype(np.float32)
    data = values.data
    if data.shape != xs.shape[:2]:
        raise ShapeError(f"scan: {name} {list(data.shape)} must be [T, B] = {list(xs.shape[:2])}")
    if not is_cupy(data) and not is_tracing() and np.isnan(data).any():
        raise InputError(f"scan: {name} has NaN: give 0 and 1, or bools")
    if is_tracing() and values.node is not None:  # of a scan in a step, which has no values yet
        return expand_dims(not_equal(values, 0).astype(dtype), axis=2)
    return Tensor(to_device((data != 0).astype(dtype)[:, :, None], xs.device))


def _without_masked(x, live):
    """``x`` with 0 for what is not finite where ``live [T, B, 1]`` is 0: a gradient of 0 times that is NaN.
    Rows of a table stay what they are.
    """
    if x.dtype.kind != "f" or source_of(x) is not None:
        return x
    masked = live.data[:, :, 0] == 0
    if not is_cupy(masked) and np.isfinite(x.data[masked]).all():  # a GPU is not waited for
        return x
    return _finite(x, reshape(live, (*x.shape[:2], *[1] * (x.ndim - 2))))


def _finite(x, live):
    """``x`` with 0 for what is not finite where ``live`` is 0."""
    return where(logical_or(live, isfinite(x)), x, 0)


def _inner(step, several, flags, masked, reset, nested=False):
    """``step`` as a function of ``(xs, states, held)``; the first ``several`` of xs are a tuple for ``step``,
    then come its random numbers (of a ``nested`` scan: those of the step around it), and from ``flags`` on
    mask and resets.

    States return to ``held`` where fresh, and are carried on where not live.
    """

    def inner(xs, states, held):
        if reset:
            states = tuple([where(_flag(xs[-1], s), s0, s) for s0, s in zip(held, states, strict=True)])
        if masked and nested:
            xs = [*[_finite(x, _flag(xs[flags], x)) for x in xs[:flags]], *xs[flags:]]
        with contextlib.nullcontext() if nested else in_step(xs[several or 1 : flags]):
            new = next_states(step, xs[:several] if several else xs[0], states)
        if not masked:
            return new
        live = xs[flags]
        return tuple([where(_flag(live, s), n, s) for n, s in zip(new, states, strict=True)])

    return inner


def _flag(flag, state):
    """A flag ``[B, 1]`` with as many axes as a state."""
    return flag if state.ndim == 2 else reshape(flag, (-1, *[1] * (state.ndim - 1)))


def _eager(inner, streams, init, held, reverse, outputs):
    """The plain loop: the reference of the compiled one."""
    steps, states = list(zip(*map(unstack, streams), strict=True)), init
    over_time = [None] * len(steps)
    for t in reversed(range(len(steps))) if reverse else range(len(steps)):
        states = over_time[t] = inner(steps[t], states, held)
    return [stack([column[k] for column in over_time]) for k in outputs], states


# ------------------------------------------------------------------ compiled


_plans = Kept(128)  # what a recording says, and how it is called: its `Compiled`, or why it has none
_programs = Kept(64)  # the same, for all sizes of the batch that come to one program
_sources = Kept(256)  # of each step, the different loops that were compiled for it, and what was recorded
_warned = Kept(1024)


class Call(NamedTuple):
    """One call of `scan`: the step as `_inner` makes it, and what it is given; the last ``flags`` of
    ``streams`` are mask and resets.
    """

    inner: Callable
    streams: list
    flags: int
    init: tuple
    held: tuple
    reverse: bool
    outputs: tuple
    precision: str | None


def _compiled(step, call):
    """``(outputs, final states)`` by compiled loops and None, or None and why the step is to run eagerly."""
    recording = None
    try:
        recording, plan, looked_up = compiled_plan(call)
        form = len(call.streams), call.flags, bool(call.held), call.outputs
        _say_what_changes(step, recording, plan, form)
        return _run(plan, recording, call, looked_up, _name(step, short=True)), None
    except TraceError as error:
        return None, f"{_name(step)} runs eagerly: {error}"
    except CompilerFault as fault:
        why = f"because of a fault of tinyrnn's compiler, not of the step: {fault}"
        if recording is not None:
            from . import referee

            why += f"; please report it with {referee.report(recording, fault, call.reverse)}"
        return None, f"{_name(step)} runs eagerly {why}"


def _run(plan, recording, call, looked_up, name):
    """One call of a program; before its first use in this process, the referee's."""
    from .run import Runner

    try:
        with own_faults("running the loops"):
            given = call.streams, call.init, call.held, call.reverse, looked_up, call.precision
            runner = Runner(plan, recording.closures, recording.numbers, *given)
            if plan.fault is not None:
                raise CompilerFault(plan.fault)
            with kernels.notice.making(), multiplying((None, True)):
                _referee(plan, recording, call, looked_up, runner.keeps(), name)
            tensors = runner(name)
    except CompilerFault as fault:
        plan.fault = str(fault)
        raise
    return tensors[: len(plan.outputs)], tensors[len(plan.outputs) :]


def _referee(plan, recording, call, looked_up, gradients, name):
    """Check a program as the environment asks for it: at its first use, at every call, or never."""
    from . import referee
    from .targets.numba import mode

    def eager(xs, init, held, reverse):
        return _eager(call.inner, xs, init, held, reverse, plan.outputs)

    setting, who = referee.setting(), (recording.who, call.reverse, mode())
    if setting == "first" and not {(who, gradients), (who, True)} & plan.passed:
        problem = referee.small(recording, call.streams, call.flags, call.held, looked_up, call.reverse)
        referee.check(plan, recording, eager, problem, gradients, name)
        plan.passed.add((who, gradients))
    elif setting == "always":
        arrays = [[t.data for t in group] for group in (call.streams, call.init, call.held)]
        tables = {i: (table.data, ids) for i, (table, ids) in looked_up.items()}
        problem = referee.Problem(*arrays, tables, call.reverse, recording.device)
        referee.check(plan, recording, eager, problem, gradients, name)


def compiled_plan(call):
    """The recording of a step at this call, its `Compiled`, and table and ids of the streams that are looked
    up.

    Raises:
        TraceError: it cannot be compiled; the message says why.
    """
    streams, init, held = call.streams, call.init, call.held
    dtype = streams[0].dtype
    if dtype.char not in "fd" or any(t.dtype != dtype for t in (*streams, *init)):
        found = ", ".join(sorted({str(t.dtype) for t in (*streams, *init)}))
        mend = "bring both to float32, or both to float64, with astype()"
        raise TraceError(f"inputs and states are {found}: {mend}")
    for name, wanted, ndim, group in (("xs", "[T, B, F]", 3, streams), ("a state", "[B, H]", 2, init)):
        for t in group:
            if t.ndim != ndim:
                raise TraceError(f"{name} is {list(t.shape)}: give {wanted}, as by expand_dims")
            if not t.size:
                raise TraceError(f"{name} is {list(t.shape)}, which is empty")
    if any(t.device != streams[0].device for t in (*streams, *init)):
        raise TraceError("inputs and states are on two devices")
    looked_up = tables_of(streams)
    first = [tuple([x.data[0] for x in streams]), *[tuple([s.data for s in group]) for group in (init, held)]]
    recording = recorded(call.inner, *first)
    return recording, plan_of(recording, call.outputs, frozenset(looked_up), call.precision), looked_up


def tables_of(xs) -> dict:
    """Those of ``xs [T, B, F]`` that are rows of a smaller table: number -> (table, ids [T, B])."""
    found = {i: source_of(x) for i, x in enumerate(xs)}
    return {i: source for i, source in found.items() if source and len(source[0].data) < source[1].size}


def plan_of(recording, outputs, tabled, precision=None):
    """The `Compiled` of a recording: one for all recordings of the same program."""
    from .run import Compiled  # and Numba with it

    how = outputs, tabled, recording.device, precision if recording.device == "cuda" else None
    key = recording.key, how
    plan = _plans.get(key)
    if isinstance(plan, str):
        raise TraceError(plan)
    if plan is None:
        program = recording.program.fingerprint(), recording.by_hand, recording.dtype, how
        plan = _programs.get(program)
        if plan is None:
            try:
                with own_faults("planning the loops"), kernels.notice.making():
                    plan = _programs[program] = Compiled(recording, *how)
            except TraceError as error:
                error = completed(error, recording)
                _plans[key] = str(error)
                raise error
        _plans[key] = plan
    return plan


# ------------------------------------------------------------------ what is said


def _name(step, short=False) -> str:
    """The name of a step for messages; of a lambda with where it stands. ``short``: of a cell's step the
    cell's.
    """
    name, code = getattr(origin(step), "__qualname__", type(step).__qualname__), code_of(step)
    if short:
        return name.removesuffix(".step").rpartition(".")[2].lower()
    if "<lambda>" in name and code is not None:
        return f"<lambda> ({os.path.basename(code.co_filename)}, line {code.co_firstlineno})"
    return name


def _warn_once(step, message):
    """Warn, once for each step and reason (what stands in brackets is no other reason), of the line that
    called tinyrnn.
    """
    key = code_of(step) or _name(step), re.sub(r"\(.*?\)", "", message)
    if key not in _warned:
        _warned[key] = True
        frame, level = sys._getframe(1), 2
        while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "tinyrnn":
            frame, level = frame.f_back, level + 1
        warnings.warn(message, CompileWarning, stacklevel=level)


def forget_warnings():
    """From now on every warning is given anew."""
    _warned.clear()


def _say_what_changes(step, recording, plan, form):
    """Warn at the third compilation of one step: what is different from call to call. A function of ours has
    a program for each number of features, about which nobody can do anything.
    """
    if str(getattr(origin(step), "__module__", "")).startswith("tinyrnn.nn.functional."):
        return
    needs = tuple([c.needs_grad for c in plan.program.closures])
    form = form, str(recording.dtype), needs, frozenset(plan.tables)
    seen = _sources.get((code_of(step), owners(step), form), dict)
    source = plan.loops.source
    if source in seen or code_of(step) is None:
        return
    seen[source] = recording.key
    if len(seen) == 3:
        before, now = list(seen.values())[-2:]
        what = f"what changed since the last is {differing(before, now)}"
        _warn_once(step, f"{_name(step)} is compiled for the third time: {what}")
