"""Connectionist temporal classification: forward and backward sums over alignments (Graves et al. 2006), in
log space.
"""

import numpy as np

from .jit import jit


@jit
def _log_add(a, b):
    top, low = (a, b) if a > b else (b, a)
    return top if low == -np.inf else top + np.log1p(np.exp(low - top))


@jit
def _label(target, s, blank):
    """Element ``s`` of the target with blanks before, between and after its labels."""
    return blank if s % 2 == 0 else target[s // 2]


@jit
def _may_skip(target, s):
    """True where the blank before label ``s`` may be left out: another label stands before it."""
    return s % 2 == 1 and s >= 3 and target[s // 2] != target[s // 2 - 1]


@jit
def _forward(lp, target, T, S, blank, alpha):
    """Fill ``alpha [T, 2S + 1]`` (eq. 6 and 7) and return the negative log-likelihood (eq. 8)."""
    L = 2 * S + 1
    alpha[:T, :L] = -np.inf
    alpha[0, 0] = lp[0, blank]
    if S:
        alpha[0, 1] = lp[0, target[0]]
    for t in range(1, T):
        for s in range(L):
            a = alpha[t - 1, s]
            if s >= 1:
                a = _log_add(a, alpha[t - 1, s - 1])
            if _may_skip(target, s):
                a = _log_add(a, alpha[t - 1, s - 2])
            alpha[t, s] = a + lp[t, _label(target, s, blank)]
    return -(_log_add(alpha[T - 1, L - 1], alpha[T - 1, L - 2]) if S else alpha[T - 1, 0])


@jit
def _backward(lp, target, T, S, blank, alpha, loss, beta, grad):
    """``grad [T, C]``: minus the posterior probability of each label at each time (eq. 15, as a derivative by
    ``lp``).
    """
    L = 2 * S + 1
    beta[:L] = -np.inf  # beta without the label of its own time
    beta[L - 1] = 0
    if S:
        beta[L - 2] = 0
    for t in range(T - 1, -1, -1):
        if t < T - 1:
            for s in range(L):  # upwards, so that what is read is still that of t + 1
                b = beta[s] + lp[t + 1, _label(target, s, blank)]
                if s + 1 < L:
                    b = _log_add(b, beta[s + 1] + lp[t + 1, _label(target, s + 1, blank)])
                if s + 2 < L and _may_skip(target, s + 2):
                    b = _log_add(b, beta[s + 2] + lp[t + 1, _label(target, s + 2, blank)])
                beta[s] = b
        for s in range(L):
            grad[t, _label(target, s, blank)] -= np.exp(alpha[t, s] + beta[s] + loss)


@jit
def _batch(lp, targets, T, S, blank, losses, grad):
    alpha = np.empty((lp.shape[0], 2 * targets.shape[1] + 1))
    beta = np.empty(2 * targets.shape[1] + 1)
    for n in range(lp.shape[1]):
        row = np.ascontiguousarray(lp[:, n]).astype(np.float64)
        loss = _forward(row, targets[n], T[n], S[n], blank, alpha)
        losses[n] = loss
        if grad.size and loss < np.inf:
            _backward(row, targets[n], T[n], S[n], blank, alpha, loss, beta, grad[:, n])


def ctc(lp, targets, steps, lengths, blank, with_grad):
    """Losses ``[N]`` of ``lp [T, N, C]`` and, asked for, their derivatives ``[T, N, C]`` by ``lp``; sums run
    in float64.

    A target that has no alignment costs inf; its derivative is 0.
    """
    losses = np.empty(lp.shape[1], np.float64)
    grad = np.zeros(lp.shape if with_grad else (0, 0, 0), np.float64)
    integers = [np.ascontiguousarray(a, np.int64) for a in (targets, steps, lengths)]
    _batch(
        np.ascontiguousarray(lp, np.promote_types(lp.dtype, np.float32)),
        *integers,
        np.int64(blank),
        losses,
        grad,
    )
    return losses.astype(lp.dtype), grad.astype(lp.dtype)
