"""Optimisers, gradient clipping and learning-rate schedules. Defaults and update rules are PyTorch's.

An optimiser's ``state_dict`` holds NumPy arrays and numbers; loading it continues bit for bit.
"""

import math

import numpy as np

from . import kernels
from .errors import InputError
from .kernels.arrays import is_cupy


class Optimizer:
    """Base: ``params`` is a list of tensors; ``rule`` names the update and ``slots`` the arrays it keeps for each of them."""

    rule = ""
    slots: tuple[str, ...] = ()

    def __init__(self, params, lr, weight_decay=0.0):
        self.params = list(params)
        for p in self.params:
            if not p.data.flags.c_contiguous:
                p.data = p.data.copy(order="C")
        if not self.params:
            raise InputError("the optimiser was given no parameters: pass module.parameters()")
        if lr < 0 or weight_decay < 0:
            raise InputError(f"lr {lr} and weight_decay {weight_decay} must not be negative")
        self.lr, self.weight_decay = lr, weight_decay
        self.steps = 0
        self.state = {slot: [np.zeros_like(p.data) for p in self.params] for slot in self.slots}

    def step(self, scale=1.0):
        """Update every parameter that has a gradient; gradients count ``scale`` times (see ``clip_grad_norm``)."""
        self.steps += 1
        for i, p in enumerate(self.params):
            if p.grad is None:
                continue
            F = p.data.dtype.type
            slots = [self.state[slot][i].reshape(-1) for slot in self.slots]
            numbers = [x if isinstance(x, bool) else F(x) for x in (*self.numbers(), scale)]
            gradient = np.ascontiguousarray(p.grad.data).reshape(-1)
            kernel = self.rule + "_reference" if is_cupy(p.data) else self.rule
            getattr(kernels.updates, kernel)(p.data.reshape(-1), gradient, *slots, *numbers)
            p.mark_changed()

    def numbers(self) -> tuple:
        """The numbers that this optimiser's rule in ``kernels/updates.py`` takes after the arrays, at this step."""
        raise NotImplementedError

    def zero_grad(self):
        """Forget the gradients."""
        for p in self.params:
            p.grad = None

    def state_dict(self) -> dict:
        """``steps``, and arrays named ``slot.index``."""
        arrays = {f"{slot}.{i}": a.copy() for slot, rows in self.state.items() for i, a in enumerate(rows)}
        return {"steps": self.steps, **arrays}

    def load_state_dict(self, state: dict):
        """Continue from what ``state_dict`` returned; InputError if it belongs to other parameters."""
        own = {f"{slot}.{i}": a for slot, rows in self.state.items() for i, a in enumerate(rows)}
        if own.keys() | {"steps"} != state.keys() or any(a.shape != state[k].shape for k, a in own.items()):
            raise InputError(f"this optimiser state is not of {type(self).__name__} over these parameters")
        self.steps = int(state["steps"])
        for k, a in own.items():
            a[...] = state[k]


class SGD(Optimizer):
    """``m = momentum m + g; p -= lr m`` (Nesterov: ``p -= lr (g + momentum m)``; Sutskever et al. 2013)."""

    rule = "sgd"
    slots = ("momentum",)

    def __init__(self, params, lr=1e-3, *, momentum=0.0, nesterov=False, weight_decay=0.0):
        super().__init__(params, lr, weight_decay)
        self.momentum, self.nesterov = momentum, nesterov

    def numbers(self):
        return self.lr, self.momentum, self.nesterov, self.weight_decay


class RMSprop(Optimizer):
    """``v = alpha v + (1 - alpha) g^2; p -= lr g / (sqrt(v) + eps)`` (Tieleman & Hinton 2012), with optional momentum."""

    rule = "rmsprop"
    slots = ("square", "momentum")

    def __init__(self, params, lr=1e-2, *, alpha=0.99, eps=1e-8, momentum=0.0, weight_decay=0.0):
        super().__init__(params, lr, weight_decay)
        self.alpha, self.eps, self.momentum = alpha, eps, momentum

    def numbers(self):
        return self.lr, self.alpha, 1 - self.alpha, self.eps, self.momentum, self.weight_decay


class Adagrad(Optimizer):
    """``v += g^2; p -= lr g / (sqrt(v) + eps)`` (Duchi, Hazan & Singer 2011)."""

    rule = "adagrad"
    slots = ("square",)

    def __init__(self, params, lr=1e-2, *, eps=1e-10, weight_decay=0.0):
        super().__init__(params, lr, weight_decay)
        self.eps = eps

    def numbers(self):
        return self.lr, self.eps, self.weight_decay


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, algorithm 1); ``weight_decay`` is added to the gradient."""

    rule = "adam"
    slots = ("mean", "square")
    decoupled = False

    def __init__(self, params, lr=1e-3, *, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        super().__init__(params, lr, weight_decay)
        self.betas, self.eps = betas, eps

    def numbers(self):
        beta1, beta2 = self.betas
        corrections = 1 - beta1**self.steps, 1 - beta2**self.steps
        return self.lr, beta1, 1 - beta1, beta2, 1 - beta2, self.eps, self.weight_decay, self.decoupled, *corrections


class AdamW(Adam):
    """Adam with decoupled weight decay, ``p -= lr weight_decay p`` (Loshchilov & Hutter 2019, algorithm 2)."""

    decoupled = True

    def __init__(self, params, lr=1e-3, *, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
        super().__init__(params, lr, betas=betas, eps=eps, weight_decay=weight_decay)


OPTIMIZERS = {"sgd": SGD, "rmsprop": RMSprop, "adagrad": Adagrad, "adam": Adam, "adamw": AdamW}


def grad_norm(params) -> float:
    """Euclidean norm of all gradients together."""
    grads = [p.grad.data.reshape(-1) for p in params if p.grad is not None]
    return math.sqrt(math.fsum(float(g @ g) for g in grads))


def clip_grad_norm(params, max_norm) -> float:
    """Scale all gradients so that their common norm is at most ``max_norm`` (Pascanu et al. 2013, algorithm 1).

    Returns the norm before clipping.
    """
    params = list(params)
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
        name: one of ``SCHEDULES``. ``constant``; ``linear`` and ``cosine`` fall to 0 over the whole run; ``wsd`` (warm-up,
            stable, decay; Hu et al. 2024) stays constant, then falls linearly to 0 over the last part; ``step`` halves at
            each tenth of the second half; ``plateau`` halves after every third evaluation in a row without improvement.
        warmup: steps over which the rate first rises linearly.
        total: steps of the whole run; None where time bounds the run (see ``at``).
    """

    DECAY = 0.6  # part of the run over which wsd falls: chosen in docs/defaults.md
    PATIENCE = 3  # evaluations without improvement after which plateau halves

    def __init__(self, name, *, warmup=0, total=None):
        if name not in SCHEDULES:
            raise InputError(f"unknown schedule {name!r}: use one of {', '.join(SCHEDULES)}")
        self.name, self.warmup, self.total = name, warmup, total
        self.factor = 1.0  # of plateau

    @property
    def stable_until(self) -> int:
        """The step up to which the rate does not depend on ``total``, so that a longer run goes the same way."""
        if self.name in ("constant", "plateau") or self.total is None:
            return 10**18
        return {"wsd": int(self.total * (1 - self.DECAY)), "step": self.total // 2}.get(self.name, 0)

    def at(self, step: int, progress: float) -> float:
        """The factor for the step after ``step`` steps; ``progress`` in [0, 1] is how much of the run is over."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        return max(0.0, SCHEDULES[self.name](self, min(progress, 1.0)))

    def observe(self, bad_evaluations: int):
        """Tell ``plateau`` how many evaluations in a row, this one included, were no improvement."""
        if self.name == "plateau" and bad_evaluations and bad_evaluations % self.PATIENCE == 0:
            self.factor /= 2


SCHEDULES = {
    "constant": lambda s, u: 1.0,
    "linear": lambda s, u: 1 - u,
    "cosine": lambda s, u: 0.5 * (1 + math.cos(math.pi * u)),
    "wsd": lambda s, u: min(1.0, (1 - u) / s.DECAY),
    "step": lambda s, u: 0.5 ** max(0, int(20 * u) - 9),
    "plateau": lambda s, u: s.factor,
}
