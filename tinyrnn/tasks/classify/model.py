"""A classifier of texts."""

import numpy as np

from ...autograd import softmax
from ...nn import Dropout, Embedding, Linear
from ...nn.pooling import pooled
from ..batches import in_order, padded
from ..model import TaskModel
from ..text.memory import texts_of
from ..text.vocabulary import encode_text


class Classifier(TaskModel):
    """Embedding, recurrent layers, pooling over time, and a softmax over the labels.

    Args:
        vocabulary, labels: what texts and labels are made of.
        pooling: see `pooled`.
        max_length: tokens of a text that are read.
        settings: of `RNN`; dropout also falls on the embedding and before the output.
    """

    task = "classify"

    def __init__(
        self,
        vocabulary,
        labels,
        *,
        embed,
        pooling="mean",
        max_length=400,
        bidirectional=False,
        seed=0,
        **settings,
    ):
        own = dict(embed=embed, pooling=pooling, max_length=max_length, bidirectional=bidirectional)
        super().__init__(seed, settings, **own)
        self.vocabulary, self.max_length = vocabulary, max_length
        self.embedding = Embedding(len(vocabulary), embed, **self.shared)
        self.dropout = Dropout(
            self.settings["dropout"], variational=self.settings["variational"], generator=self.generator
        )
        self._read(embed, labels)

    def _read(self, width, labels):
        """Make all that follows vectors of a width."""
        self.labels, self.pooling = list(labels), self.settings["pooling"]
        self.rnn = self.recurrent(width, bidirectional=self.settings["bidirectional"])
        self.score = Linear(self.rnn.output_size, 1, **self.shared) if self.pooling == "attention" else None
        self.output = Linear(self.rnn.output_size, len(self.labels), **self.shared)
        self.output_dropout = Dropout(self.settings["dropout"], generator=self.generator)

    def forward(self, ids, mask):
        """Ids (or vectors, see `embedded`) and mask ``[T, B]`` to logits ``[B, labels]``."""
        return self._said(self.dropout(self.embedded(self.embedding, ids)), mask)

    def _said(self, vectors, mask):
        """Logits of vectors ``[T, B, width]``."""
        ys, final = self.rnn(vectors, mask=mask)
        return self.output(self.output_dropout(pooled(self.pooling, self.rnn, ys, final, mask, self.score)))

    @staticmethod
    def padded(sequences):
        """Encoded examples and their mask, both ``[T, B]``."""
        return padded(sequences)

    def encode(self, text):
        """Ids of a text, one at least; for words its first word looks like any other."""
        return encode_text(self.vocabulary, text, self.max_length)

    def predict(self, texts, batch_size=64) -> np.ndarray:
        """Probabilities ``[texts, labels]``."""
        sequences = [self.encode(text) for text in texts_of(texts)]
        found = np.zeros((len(sequences), len(self.labels)), np.float32)
        with self.evaluating():
            for batch in in_order(sequences, batch_size):
                found[batch] = softmax(self(*self.padded([sequences[i] for i in batch])), axis=-1).numpy()
        return found

    def facts(self) -> dict:
        """Labels and vocabulary."""
        return {"labels": self.labels, "vocabulary": self.vocabulary.to_json()}
