"""Optimisers, gradient clipping and learning-rate schedules. Defaults and update rules are PyTorch's.

An optimiser's ``state_dict`` holds NumPy arrays and numbers; loading it continues bit for bit.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from .. import kernels
from ..autograd import Tensor
from ..base import threads
from ..base.devices import array_module, beside, is_cupy, to_device
from ..base.errors import DeviceError, InputError, shown
from .checks import checked_flag, checked_integer, checked_number

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Optimizer",
    "RMSprop",
    "Schedule",
    "clip_grad_norm",
    "grad_norm",
]

Parameters = Iterable[Tensor] | Iterable[Mapping[str, Any]]
_GROUP = {"params", "lr", "weight_decay"}  # what a group of parameters may say


class _Flat:
    """Parameters of one dtype and device side by side in one buffer, with their gradients and what the
    optimiser keeps; ``group`` is that of all of them.
    """

    def __init__(self, params: list[Tensor], slots: Sequence[str], group: dict[str, Any]) -> None:
        self.params, self.group = params, group
        self.ends = list(itertools.accumulate(p.size for p in params))
        self.starts = [0, *self.ends[:-1]]
        xp = array_module(params[0].data)
        self.data = xp.concatenate([p.data.reshape(-1) for p in params])
        self.grad = xp.empty_like(self.data)
        self.state = {slot: xp.zeros_like(self.data) for slot in slots}
        self.views = self._views(self.data)
        for p, view in zip(params, self.views, strict=True):
            p.data = view

    def _views(self, flat: Any) -> list[Any]:
        stretches = zip(self.params, self.starts, self.ends, strict=True)
        return [flat[a:b].reshape(p.shape) for p, a, b in stretches]

    def gather(self) -> list[float]:
        """Copy the gradients in; sums of their squares."""
        on_gpu, total = is_cupy(self.data), []
        take = kernels.updates.take_reference if on_gpu else kernels.updates.take
        for p, view, a, b in zip(self.params, self.views, self.starts, self.ends, strict=True):
            if p.data is not view:  # somebody replaced it: it is brought back
                if is_cupy(p.data) != on_gpu:
                    raise DeviceError("a parameter changed its device: make the optimiser after module.to()")
                view[...] = p.data
                p.data = view
            if p.grad is not None:
                gradient = array_module(view).ascontiguousarray(p.grad.data).reshape(-1)
                total.append(take(gradient, self.grad[a:b]))
        if on_gpu and total:
            return [float(array_module(self.data).stack(total).sum())]  # the GPU is waited for once
        return list(map(float, total))

    def update(self, rule: str, numbers: Iterable[float]) -> None:
        """One pass of ``rule`` over every stretch of parameters that have gradients."""
        F = self.data.dtype.type
        numbers = [x if isinstance(x, bool) else F(x) for x in numbers]
        arrays = [self.data, self.grad, *self.state.values()]
        on_gpu, updates = is_cupy(self.data), kernels.updates
        function = updates.cuda(array_module(self.data), rule) if on_gpu else getattr(updates, rule)
        positions = range(len(self.params))
        for given, group in itertools.groupby(positions, lambda i: self.params[i].grad is not None):
            stretch = list(group)
            if given:
                start, end = self.starts[stretch[0]], self.ends[stretch[-1]]

                def part(i: int, j: int, o: int = start) -> None:
                    function(*[a[o + i : o + j] for a in arrays], *numbers)

                if on_gpu:
                    part(0, end - start)
                else:
                    threads.split(end - start, part, at_least=8)
                for i in stretch:
                    self.params[i].mark_changed()

    def named_state(self) -> list[tuple[str, list[Any]]]:
        """Pairs (slot, arrays) of views, one an array for each parameter."""
        return [(slot, self._views(flat)) for slot, flat in self.state.items()]


def checked_params(params: Iterable[Tensor]) -> list[Tensor]:
    """``params`` as a list of tensors; InputError where it is none."""
    listed = list(params) if isinstance(params, Iterable) and not isinstance(params, Tensor) else [None]
    if not all(isinstance(p, Tensor) for p in listed):
        raise InputError("parameters must be a list of tensors: pass module.parameters()")
    return cast(list[Tensor], listed)


def _checked_groups(params: Any) -> list[dict[str, Any]]:
    """``params`` as a list of groups, each with its list of tensors; InputError where it is neither."""
    listed = list(params) if isinstance(params, Iterable) and not isinstance(params, Tensor | Mapping) else []
    if not any(isinstance(group, Mapping) for group in listed):
        return [{"params": checked_params(listed or params)}]
    groups = []
    for group in listed:
        if not isinstance(group, Mapping) or "params" not in group or group.keys() - _GROUP:
            mend = "give dicts with params, and perhaps lr and weight_decay"
            raise InputError(f"a group of parameters is {shown(group)}: {mend}")
        numbers = {k: checked_number(f"{k} of a group", v) for k, v in group.items() if k != "params"}
        groups.append({"params": checked_params(group["params"]), **numbers})
    return groups


class Optimizer:
    """Base: ``rule`` names the update and ``slots`` the arrays it keeps for each parameter.

    The parameters of a group move into one buffer, of which their ``data`` become views, so that an update is
    one pass.

    Args:
        params: a list of tensors; or of groups, dicts with a list of tensors as ``params``, and with a
            ``weight_decay`` or ``lr`` of their own if they are to have one (`Module.parameter_groups` makes
            such). Setting ``lr`` later changes a group's own in proportion.
    """

    rule = ""
    slots: tuple[str, ...] = ()

    def __init__(self, params: Parameters, lr: float, weight_decay: float = 0.0) -> None:
        groups = _checked_groups(params)
        self.params = [p for group in groups for p in group["params"]]
        if not self.params:
            raise InputError("the optimiser was given no parameters: pass module.parameters()")
        if not all(p.is_leaf and p.requires_grad for p in self.params):
            mend = "pass tensors made with requires_grad=True, as module.parameters() are"
            raise InputError(
                f"a tensor that requires no gradient, or was computed, cannot be trained: {mend}"
            )
        if len({id(p) for p in self.params}) < len(self.params):
            raise InputError("the optimiser was given a parameter twice: pass module.parameters()")
        self.lr = checked_number("lr", lr)
        self.weight_decay = checked_number("weight_decay", weight_decay)
        self.steps, self._flats = 0, []
        for group in groups:
            if "lr" in group and not self.lr:
                raise InputError(
                    "a group of parameters has an lr, the optimiser has lr 0: give it one as well"
                )
            group["factor"] = group["lr"] / self.lr if "lr" in group else 1.0
            kinds: dict[Any, list[Tensor]] = {}
            for p in group["params"]:
                kinds.setdefault((p.dtype, p.device), []).append(p)
            self._flats += [_Flat(params, self.slots, group) for params in kinds.values()]

    def step(self, scale: float = 1.0, max_norm: float | None = None) -> float:
        """Update every parameter that has a gradient.

        Args:
            scale: how many times gradients count.
            max_norm: what their common norm is at most (0: any); if it is not finite, nothing is updated.

        Returns the norm before clipping.
        """
        norm = math.sqrt(math.fsum([square for flat in self._flats for square in flat.gather()]))
        if max_norm is not None and not math.isfinite(norm):
            return norm
        if max_norm and norm * scale > max_norm:
            scale = max_norm / norm
        self.steps += 1
        for flat in self._flats:
            decay = flat.group.get("weight_decay", self.weight_decay)
            flat.update(self.rule, (*self.numbers(self.lr * flat.group["factor"], decay), scale))
        return norm

    def numbers(self, lr: float, weight_decay: float) -> tuple[float, ...]:
        """The numbers that this optimiser's rule in ``kernels/updates.py`` takes after the arrays, at this
        step, for parameters with this rate and decay.
        """
        raise NotImplementedError

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for p in self.params:
            p.grad = None

    def _arrays(self) -> dict[str, Any]:
        """What is kept for each parameter, as views by the name ``slot.index``."""
        index = {id(p): i for i, p in enumerate(self.params)}
        return {
            f"{slot}.{index[id(p)]}": view
            for flat in self._flats
            for slot, views in flat.named_state()
            for p, view in zip(flat.params, views, strict=True)
        }

    def state_dict(self) -> dict[str, Any]:
        """``steps``, and arrays named ``slot.index``."""
        arrays = {k: to_device(a, "cpu") for k, a in self._arrays().items()}
        return {"steps": self.steps, **{k: np.array(a) for k, a in arrays.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned; InputError if it belongs to other parameters."""
        own = self._arrays()
        if own.keys() | {"steps"} != state.keys() or any(a.shape != state[k].shape for k, a in own.items()):
            raise InputError(f"this optimiser state is not of {type(self).__name__} over these parameters")
        self.steps = int(state["steps"])
        for k, a in own.items():
            a[...] = beside(state[k], a)


class SGD(Optimizer):
    """``m = momentum m + g; p -= lr m`` (Nesterov: ``p -= lr (g + momentum m)``; Sutskever et al. 2013)."""

    rule = "sgd"
    slots = ("momentum",)

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, weight_decay)
        self.momentum = checked_number("momentum", momentum, below=1)
        self.nesterov = checked_flag("nesterov", nesterov)

    def numbers(self, lr: float, weight_decay: float) -> tuple[float, ...]:
        return lr, self.momentum, self.nesterov, weight_decay


class RMSprop(Optimizer):
    """``v = alpha v + (1 - alpha) g^2; p -= lr g / (sqrt(v) + eps)`` (Tieleman & Hinton 2012), with optional
    momentum.
    """

    rule = "rmsprop"
    slots = ("square", "momentum")

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        *,
        alpha: float = 0.99,
        eps: float = 1e-8,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, weight_decay)
        self.alpha, self.eps = checked_number("alpha", alpha, below=1), checked_number("eps", eps)
        self.momentum = checked_number("momentum", momentum, below=1)

    def numbers(self, lr: float, weight_decay: float) -> tuple[float, ...]:
        return lr, self.alpha, 1 - self.alpha, self.eps, self.momentum, weight_decay


class Adagrad(Optimizer):
    """``v += g^2; p -= lr g / (sqrt(v) + eps)`` (Duchi, Hazan & Singer 2011)."""

    rule = "adagrad"
    slots = ("square",)

    def __init__(
        self, params: Parameters, lr: float = 1e-2, *, eps: float = 1e-10, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, lr, weight_decay)
        self.eps = checked_number("eps", eps)

    def numbers(self, lr: float, weight_decay: float) -> tuple[float, ...]:
        return lr, self.eps, weight_decay


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, algorithm 1); ``weight_decay`` is added to the gradient."""

    rule = "adam"
    slots = ("mean", "square")
    decoupled = False

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, weight_decay)
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise InputError(f"betas is {betas!r}: it must be a pair of numbers")
        self.betas = (
            checked_number("betas[0]", betas[0], below=1),
            checked_number("betas[1]", betas[1], below=1),
        )
        self.eps = checked_number("eps", eps)

    def numbers(self, lr: float, weight_decay: float) -> tuple[float, ...]:
        beta1, beta2 = self.betas
        corrections = 1 - beta1**self.steps, 1 - beta2**self.steps
        rates = beta1, 1 - beta1, beta2, 1 - beta2
        return (lr, *rates, self.eps, weight_decay, self.decoupled, *corrections)


class AdamW(Adam):
    """Adam with decoupled weight decay, ``p -= lr weight_decay p`` (Loshchilov & Hutter 2019, algorithm
    2).
    """

    decoupled = True

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas=betas, eps=eps, weight_decay=weight_decay)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": SGD,
    "rmsprop": RMSprop,
    "adagrad": Adagrad,
    "adam": Adam,
    "adamw": AdamW,
}


def grad_norm(params: Iterable[Tensor]) -> float:
    """Euclidean norm of all gradients together."""
    grads = [p.grad.data for p in params if p.grad is not None]
    return math.sqrt(math.fsum([float((g * g).sum()) for g in grads]))


def clip_grad_norm(params: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients so that their common norm is at most ``max_norm`` (Pascanu et al. 2013, algorithm
    1).

    Returns the norm before clipping.
    """
    params = checked_params(params)
    if max_norm != math.inf:  # which clips nothing
        checked_number("max_norm", max_norm)
    norm = grad_norm(params)
    if norm > max_norm:
        for p in params:
            if p.grad is not None:
                p.grad = p.grad * (max_norm / norm)
    return norm


# ------------------------------------------------------------------ schedules


class Schedule:
    """The learning rate as a factor in ``[0, 1]`` of its peak.

    Args:
        name: one of ``SCHEDULES``. ``constant``; ``linear`` and ``cosine`` fall to 0 over the whole run;
            ``wsd`` (warm-up, stable, decay; Hu et al. 2024) stays constant, then falls linearly to 0 over the
            last part; ``step`` halves at each tenth of the second half; ``exponential`` is multiplied by
            ``gamma`` at the end of each epoch from number ``hold`` on (Zaremba et al. 2014); ``plateau``
            halves after every third evaluation in a row without improvement.
        warmup: steps over which the rate first rises linearly.
        total: steps of the whole run; None where time bounds the run (see ``at``).
        gamma, hold, epoch: of ``exponential``; ``epoch`` is the length of one in steps.
    """

    DECAY = 0.6  # part of the run over which wsd falls: chosen in docs/defaults.md
    PATIENCE = 3  # evaluations without improvement after which plateau halves

    def __init__(
        self,
        name: str,
        *,
        warmup: int = 0,
        total: int | None = None,
        gamma: float = 0.5,
        hold: int = 4,
        epoch: int | None = None,
    ) -> None:
        if name not in SCHEDULES:
            raise InputError(f"unknown schedule {name!r}: use one of {', '.join(SCHEDULES)}")
        self.name, self.warmup = name, checked_integer("warmup", warmup, 0)
        self.total = total if total is None else checked_integer("total", total, 0)
        self.factor = 1.0  # of plateau
        self.gamma, self.hold = checked_number("gamma", gamma), checked_integer("hold", hold, 0)
        self.epoch = checked_integer("epoch", epoch or 1, 1)
        if name == "exponential" and epoch is None:
            raise InputError("the schedule exponential goes by epochs: give the steps of one as epoch")

    @property
    def stable_until(self) -> int:
        """The step up to which the rate does not depend on ``total``, so that a longer run goes the same
        way.
        """
        if self.name in ("constant", "exponential", "plateau") or self.total is None:
            return 10**18
        falls = {"wsd": int(self.total * (1 - self.DECAY)), "step": self.total // 2}.get(self.name)
        return 0 if falls is None else max(falls, self.warmup)  # nothing falls before it has risen

    def at(self, step: int, progress: float) -> float:
        """The factor for the step after ``step`` steps; ``progress`` in [0, 1] is how much of the run is
        over.
        """
        if step < self.warmup:
            return (step + 1) / self.warmup
        return max(0.0, SCHEDULES[self.name](self, min(progress, 1.0), step))

    def observe(self, bad_evaluations: int) -> None:
        """Tell ``plateau`` how many evaluations in a row, this one included, were no improvement."""
        if self.name == "plateau" and bad_evaluations and bad_evaluations % self.PATIENCE == 0:
            self.factor /= 2


SCHEDULES: dict[str, Callable[[Schedule, float, int], float]] = {  # by progress and by step
    "constant": lambda s, u, n: 1.0,
    "linear": lambda s, u, n: 1 - u,
    "cosine": lambda s, u, n: 0.5 * (1 + math.cos(math.pi * u)),
    "wsd": lambda s, u, n: min(1.0, (1 - u) / s.DECAY),
    "step": lambda s, u, n: 0.5 ** max(0, int(20 * u) - 9),
    "exponential": lambda s, u, n: float(s.gamma ** max(0, n // s.epoch + 1 - s.hold)),
    "plateau": lambda s, u, n: s.factor,
}
