"""Texts, disturbed symbol by symbol, for all tasks that read them."""

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from ...nn.functional import cross_entropy
from ...training import disturbances
from ...training.robustness import Probe
from ..batches import in_order, padded

BATCH = 64  # texts that are read side by side


class Texts(Probe):
    """Texts as ids of a ``vocabulary``, which a model reads through an ``embedding``.

    Args:
        said: of ids ``[T, B]`` (or vectors ``[T, B, width]``), mask ``[T, B]``, the numbers of the B texts,
            and for each how far in the undisturbed text each of its symbols is (see `Symbols`): logits
            ``[..., n]`` and what is true, ids ``[...]``, -100 where nothing is asked.
    """

    kinds: ClassVar = {
        "typo": "symbols of keys beside the right ones",
        "replace": "other symbols at random",
        "drop": "symbols left out",
        "swap": "neighbours swapped",
        "insert": "random symbols put between",
        "hotflip": "symbols replaced where and by what raises the loss most, by its gradient",
    }
    shares = frozenset(kinds)
    strengths = (0.02, 0.05, 0.1, 0.2)
    random: ClassVar[dict[str, Callable[..., Any]]] = {
        "typo": disturbances.mistyped,
        "replace": disturbances.substituted,
        "drop": disturbances.dropped,
        "swap": disturbances.swapped,
        "insert": disturbances.inserted,
    }

    def __init__(self, model, embedding, vocabulary, sequences, said):
        self.model, self.embedding, self.said = model, embedding, said
        self.data = disturbances.Symbols.of(sequences, vocabulary)

    def disturbed(self, kind, strength, generator):
        """`Symbols`."""
        if kind in self.random:
            return self.random[kind](self.data, strength, generator)
        vectors = self.embedding.weight.numpy()[: len(self.data.vocabulary)]
        return disturbances.hotflip(self.data, strength, self.slopes, vectors)

    def figures(self, data):
        """``loss`` (nats) and ``accuracy`` of what is said of each text, or at each of its symbols."""
        total, hits, count = 0.0, 0, 0
        with self.model.evaluating():
            for batch, ids, mask, places in self._batches(data):
                logits, true = self.said(ids, mask, batch, places)
                total += cross_entropy(logits, true, reduction="sum").item()
                hits += int((logits.numpy().argmax(axis=-1) == true).sum())
                count += int((true >= 0).sum())
        return {"loss": total / count, "accuracy": hits / count}

    def slopes(self, data):
        """``[N, width]``: the gradient of each text's loss by its embedded symbols."""
        found = [None] * (data.texts[-1] + 1)
        for batch, ids, mask, places in self._batches(data):
            cost = functools.partial(self._cost, mask, batch, places)
            _, slope = disturbances.value_and_slope(cost, self.embedding(ids))
            for b, i in enumerate(batch):
                found[i] = slope.numpy()[mask[:, b], b]
        return np.concatenate(found)

    def _cost(self, mask, batch, places, vectors):
        return cross_entropy(*self.said(vectors, mask, batch, places), reduction="sum")

    def _batches(self, data):
        sequences, places = data.split(data.ids), data.split(data.places)
        for batch in in_order(sequences, BATCH):
            ids, mask = padded([sequences[i] for i in batch])
            yield batch, ids, mask, [places[i] for i in batch]
