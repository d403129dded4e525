"""The time loop: the one place where a step function is run over time."""

from ..autograd import Tensor, stack, unstack, where
from ..autograd.pointwise import as_tensor
from ..errors import ShapeError
from ..kernels.arrays import to_device


def scan(step, xs, init, *, mask=None, resets=None, reverse=False, return_states=False):
    """Run ``step(x_t, *states)`` over the first axis of ``xs``.

    Args:
        step: returns the next states (a Tensor, or a tuple in the order of ``init``); the first is the output.
        xs: ``[T, B, F]``, time first.
        init: the first states, a Tensor ``[B, H]`` or a tuple of them.
        mask: ``[T, B]``; where it is 0 the states are carried on unchanged.
        resets: ``[T, B]``; where it is 1 the states return to ``init`` before the step.
        reverse: run from the last step to the first.
        return_states: return every state over time instead of the first alone.

    Returns:
        ``(ys, final)``: ys ``[T, B, H]`` (with ``return_states`` a tuple, one for each state), in the order of ``xs`` also when
        reversed; final in the form of ``init``.

    Raises:
        ShapeError: ``step`` returned another number of states, or a state changed shape; mask or resets do not fit.
    """
    xs, single = as_tensor(xs), isinstance(init, Tensor)
    init = (init,) if single else tuple(init)
    T = xs.shape[0]
    if T == 0:
        raise ShapeError("scan: xs has no time steps: its first axis must be at least 1")
    live = _columns("mask", mask, xs)
    fresh = _columns("resets", resets, xs)
    x_of = unstack(xs)
    states, over_time = init, [None] * T
    for t in reversed(range(T)) if reverse else range(T):
        if fresh is not None:
            states = tuple(where(fresh[t], s0, s) for s0, s in zip(init, states, strict=True))
        new = step(x_of[t], *states)
        new = (new,) if isinstance(new, Tensor) else tuple(new)
        _check_states(new, states)
        states = new if live is None else tuple(where(live[t], n, s) for n, s in zip(new, states, strict=True))
        over_time[t] = states
    columns = tuple(
        stack(column) for column in (zip(*over_time, strict=True) if return_states else [[s[0] for s in over_time]])
    )
    return columns if return_states else columns[0], states[0] if single else states


def _columns(name, values, xs):
    """``[T, B]`` as T bool columns ``[B, 1]``, or None."""
    if values is None:
        return None
    data = as_tensor(values).data
    if data.shape != xs.shape[:2]:
        raise ShapeError(f"scan: {name} {list(data.shape)} must be [T, B] = {list(xs.shape[:2])}")
    data = to_device(data, xs.device)
    return [Tensor(column[:, None] != 0) for column in data]


def _check_states(new, old):
    if len(new) != len(old):
        raise ShapeError(f"step returned {len(new)} states, it was given {len(old)}: return one for each state, in their order")
    for i, (n, o) in enumerate(zip(new, old, strict=True)):
        if n.shape != o.shape:
            raise ShapeError(f"step returned state {i} as {list(n.shape)}, it was given as {list(o.shape)}")
