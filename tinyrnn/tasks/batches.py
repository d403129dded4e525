"""Batches of sequences of different lengths: similar lengths together, padded, with masks."""

import numpy as np

from ..kernels.generator import mix

POOL = 50  # batches whose examples are sorted by length together


class Batches:
    """Training batches as a function of their number: each epoch shuffles anew, from the seed."""

    def __init__(self, sequences, batch_size, seed=0):
        self.sequences, self.batch_size, self.seed = sequences, batch_size, seed
        self.per_epoch = -(-len(sequences) // batch_size)
        self._epoch, self._order = None, None

    def __getitem__(self, k: int):
        """The indices of the examples of batch ``k``."""
        epoch, b = divmod(k, self.per_epoch)
        if epoch != self._epoch:
            random = np.random.default_rng(mix(mix(self.seed) + epoch))
            shuffled, size = random.permutation(len(self.sequences)), self.batch_size
            pools = [shuffled[i : i + POOL * size] for i in range(0, len(shuffled), POOL * size)]
            lengths = np.array([len(s) for s in self.sequences])
            pools = [pool[np.argsort(lengths[pool], kind="stable")] for pool in pools]
            batches = [pool[i : i + size] for pool in pools for i in range(0, len(pool), size)]
            self._epoch, self._order = epoch, [batches[i] for i in random.permutation(len(batches))]
        return self._order[b]


def padded(sequences, width=(), dtype=np.int64):
    """Ids ``[T, B]``, or features ``[T, B, *width]``, 0 after the end of a sequence, and the mask ``[T, B]``
    of what is not padding.
    """
    lengths = np.array([len(s) for s in sequences])
    steps = np.zeros((max(lengths.max(), 1), len(sequences), *width), dtype)
    for b, s in enumerate(sequences):
        steps[: len(s), b] = s
    return steps, np.arange(len(steps))[:, None] < lengths


def in_order(sequences, batch_size):
    """Indices in batches of similar length, each example once: for evaluation."""
    order = np.argsort([len(s) for s in sequences], kind="stable")
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
