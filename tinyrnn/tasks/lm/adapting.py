"""Evaluation of a language model that goes on learning from what it has read: dynamic evaluation and a neural
cache. Both read the text as one sequence; each token is predicted before anything is learned from it.
"""

import contextlib
import itertools
import math

import numpy as np

from ...autograd import no_grad
from ...autograd.linalg import autocast
from ...base import threads
from ...base.devices import to_device
from ...base.errors import InputError
from ...nn.functional import cross_entropy
from .windows import LENGTH, evaluation_windows

# Of the authors' code: added to the root mean squares of gradients, which are a tenth of it or so in a
# trained model, so that steps are mostly along the gradient as it is.
EPSILON = 1e-3
STATISTICS = 100  # windows of training text whose gradients are looked at
STREAMS = 100  # they are read in


class Dynamic:
    """Dynamic evaluation (Krause et al. 2018, equations 7 to 9): after each window a step along its gradient,
    for every weight in units of the root mean square of its gradients over the training text, and back
    towards the trained weights where that is large.

    Args:
        model: a `LanguageModel`; its weights change until `restore`.
        train: token ids of training text.
        window: steps between changes.
        lr: η, the rate.
        decay: λ, the pull back.
    """

    def __init__(self, model, train, *, window: int, lr: float, decay: float):
        self.model, self.lr = model, lr
        self.weights = [p.data.copy() for p in model.parameters()]
        squares = [np.zeros_like(to_device(p.data, "cpu"), np.float64) for p in model.parameters()]
        whole = (w for w in evaluation_windows(train, STREAMS, window) if w[2] != "last")  # of one stream
        windows = list(itertools.islice(whole, STATISTICS))
        for inputs, targets, _ in windows:
            model.zero_grad()
            model.cost(inputs, targets)[0].backward()
            for square, p in zip(squares, model.parameters(), strict=True):
                if p.grad is not None:
                    square += to_device(p.grad.data, "cpu").astype(np.float64) ** 2
        roots = [np.sqrt(square / max(len(windows), 1)) for square in squares]
        mean = sum(float(r.sum()) for r in roots) / sum(r.size for r in roots)
        self.roots = [(r + EPSILON).astype(w.dtype) for r, w in zip(roots, self.weights, strict=True)]
        self.pulls = [
            np.minimum(decay * r / mean, 1.0).astype(w.dtype)
            for r, w in zip(roots, self.weights, strict=True)
        ]

    def learn(self, loss):
        """From the mean loss of a window."""
        self.model.zero_grad()
        loss.backward()
        for p, w, root, pull in zip(
            self.model.parameters(), self.weights, self.roots, self.pulls, strict=True
        ):
            back = pull * (w - p.data)  # from where it was, as the step along the gradient
            if p.grad is not None:
                p.data -= self.lr * p.grad.data / root
            p.data += back
            p.mark_changed()

    def restore(self):
        """The trained weights again."""
        for p, w in zip(self.model.parameters(), self.weights, strict=True):
            p.data[...] = w
            p.grad = None
            p.mark_changed()


class Cache:
    """A neural cache (Grave, Joulin & Usunier 2017, equations 2 to 4): part of the probability goes to what
    followed where the network's output was like it is now.

    Args:
        size: N, how many tokens back.
        theta: θ, how sharp that is.
        part: λ, of the probability.
    """

    def __init__(self, *, size: int, theta: float, part: float):
        self.size, self.theta, self.part = size, theta, part
        self.keys = self.followed = np.zeros(0)

    def mixed(self, outputs, targets, log_p) -> np.ndarray:
        """``log p`` of the targets ``[T]`` of a window with the cache, from the last layer's outputs ``[T,
        H]`` and ``log_p [T]`` without it.
        """
        T, before = len(targets), len(self.followed)
        if not before:
            self.keys = np.zeros((0, outputs.shape[1]))
        keys = np.concatenate([self.keys, outputs])
        followed = np.concatenate([self.followed, targets])
        scores = self.theta * outputs @ keys.T
        age = np.arange(T)[:, None] + before - np.arange(before + T)  # how long ago, 0: now
        scores[(age < 1) | (age > self.size)] = -np.inf
        largest = scores.max(axis=1, keepdims=True)
        weights = np.exp(scores - np.where(np.isfinite(largest), largest, 0.0))
        total = weights.sum(axis=1)
        same = (weights * (followed == targets[:, None])).sum(axis=1)
        self.keys, self.followed = keys[-self.size :], followed[-self.size :]
        part = np.where(total > 0, self.part, 0.0)  # of the first token there is no past
        return np.log((1 - part) * np.exp(log_p) + part * same / np.where(total > 0, total, 1.0))


def adapted_loss(model, tokens, window: int, dynamic: Dynamic | None, cache: Cache | None) -> float:
    """Mean negative log-likelihood in nats of every token but the first, read as one sequence; the state of a
    model that does not carry it begins anew as often as in `evaluate`.

    Raises:
        InputError: it left the finite.
    """
    total, states, read = 0.0, None, 0
    before = model.training
    model.eval()
    try:
        learning = contextlib.nullcontext() if dynamic is not None else no_grad()
        # what leaves the finite is told below
        with threads.alone(), learning, np.errstate(over="ignore", invalid="ignore"):
            for inputs, targets, _ in evaluation_windows(tokens, 1, window if dynamic else LENGTH):
                if not model.carries and read >= LENGTH:
                    states, read = None, 0
                read += len(inputs)
                with autocast(model.precision):
                    ys, states = model.outputs(inputs, states)
                    logits = model.logits(ys)
                    losses = cross_entropy(logits, targets, reduction="none")
                states = [tuple(s.detach() for s in layer) for layer in states]
                log_p = -to_device(losses.data, "cpu").astype(np.float64).reshape(-1)
                if cache is not None:
                    outputs = to_device(ys.data, "cpu").astype(np.float64).reshape(len(targets), -1)
                    total -= math.fsum(cache.mixed(outputs, targets[:, 0], log_p))
                else:
                    total -= math.fsum(log_p)
                if dynamic is not None:
                    dynamic.learn(losses.mean())
    finally:
        model.train(before)
        if dynamic is not None:
            dynamic.restore()
    if not math.isfinite(total):
        raise InputError(
            f"with what it learned on the way the model's loss became {total}: lower --dynamic-lr"
        )
    return total / (len(tokens) - 1)
