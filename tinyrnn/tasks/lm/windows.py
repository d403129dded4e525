"""Contiguous streams for truncated back-propagation through time (Williams & Peng 1990).

The tokens are cut into ``batch_size`` streams of equal length that are read side by side, ``seq_len`` steps
at a time. Window ``k + 1`` continues where window ``k`` ended, in every stream, so the state is carried from
window to window.
"""

import numpy as np

from ...base.errors import InputError
from ...kernels.generator import mix


class Windows:
    """Training windows as a function of their number, so that a run can be taken up anywhere.

    With ``jitter`` each epoch starts at another offset below ``seq_len``, drawn from the seed: windows are
        then cut differently every time.
    """

    def __init__(self, tokens, batch_size, seq_len, seed=0, names="the text", jitter=True):
        if len(tokens) < seq_len + 1:
            raise InputError(
                f"{names} has {len(tokens)} training tokens, fewer than one window needs ({seq_len} + 1): "
                f"use a longer text or --seq-len {max(1, (len(tokens) - 1) // 2)}"
            )
        self.tokens, self.seq_len, self.seed = tokens, seq_len, seed
        # a short text gets fewer streams rather than shorter windows
        self.batch_size = max(1, min(batch_size, (len(tokens) - 1) // (2 * seq_len)))
        slack = min(seq_len - 1, len(tokens) - 1 - self.batch_size * seq_len) if jitter else 0
        self.offsets = slack + 1
        self.length = (len(tokens) - 1 - slack) // self.batch_size
        self.per_epoch = self.length // seq_len

    def __getitem__(self, k: int):
        """Window ``k``: ``(inputs, targets, starts_epoch)``, ids int64 ``[T, B]``; targets are the inputs one
        step on.
        """
        epoch, w = divmod(k, self.per_epoch)
        offset = mix(mix(self.seed) + epoch) % self.offsets
        starts = offset + np.arange(self.batch_size) * self.length + w * self.seq_len
        ids = self.tokens[starts[None, :] + np.arange(self.seq_len + 1)[:, None]].astype(np.int64)
        return ids[:-1], ids[1:], w == 0


LENGTH = 100  # steps that are evaluated at once


def streams_of(tokens, batch_size, seq_len):
    """How many streams a text of so many ``tokens`` is evaluated in, ``batch_size`` at most."""
    return max(1, min(batch_size, (tokens - 1) // seq_len))


def evaluation_windows(tokens, batch_size, seq_len):
    """Every token but the first as a target exactly once: yields ``(inputs, targets, stream)``, ids ``[t,
    b]``.

    ``stream`` says how the state goes on: "carry", or "last" for the remainder, which continues the last
        stream alone.
    """
    n = len(tokens) - 1
    batch_size = streams_of(n + 1, batch_size, seq_len)
    length = n // batch_size
    starts = np.arange(batch_size)[None, :] * length
    for w in range(0, length, seq_len):
        rows = np.arange(min(seq_len, length - w) + 1)[:, None] + w
        ids = tokens[starts + rows].astype(np.int64)
        yield ids[:-1], ids[1:], "carry"
    if batch_size * length < n:
        ids = tokens[batch_size * length :].astype(np.int64)[:, None]
        yield ids[:-1], ids[1:], "last"
