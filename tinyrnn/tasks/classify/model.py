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
        self.vocabulary, self.labels, self.pooling, self.max_length = (
            vocabulary,
            list(labels),
            pooling,
            max_length,
        )
        dropout, variational = self.settings["dropout"], self.settings["variational"]
        self.embedding = Embedding(len(vocabulary), embed, **self.shared)
        self.rnn = self.recurrent(embed, bidirectional=bidirectional)
        self.dropout = Dropout(dropout, variational=variational, generator=self.generator)
        self.score = Linear(self.rnn.output_size, 1, **self.shared) if pooling == "attention" else None
        self.output = Linear(self.rnn.output_size, len(self.labels), **self.shared)
        self.output_dropout = Dropout(dropout, generator=self.generator)

    def forward(self, ids, mask):
        """Ids (or vectors, see `embedded`) and mask ``[T, B]`` to logits ``[B, labels]``."""
        ys, final = self.rnn(self.dropout(self.embedded(self.embedding, ids)), mask=mask)
        return self.output(self.output_dropout(pooled(self.pooling, self.rnn, ys, final, mask, self.score)))

    def encode(self, text):
        """Ids of a text, one at least; for words its first word looks like any other."""
        return encode_text(self.vocabulary, text, self.max_length)

    def predict(self, texts, batch_size=64) -> np.ndarray:
        """Probabilities ``[texts, labels]``."""
        sequences = [self.encode(text) for text in texts_of(texts)]
        found = np.zeros((len(sequences), len(self.labels)), np.float32)
        with self.evaluating():
            for batch in in_order(sequences, batch_size):
                found[batch] = softmax(self(*padded([sequences[i] for i in batch])), axis=-1).numpy()
        return found

    def inherited(self) -> dict:
        """Also the level of its vocabulary."""
        return {**super().inherited(), "level": self.vocabulary.level}

    def rows(self) -> dict:
        """Those of symbols and labels."""
        of_labels = {"output.weight": ("labels", self.labels, 1), "output.bias": ("labels", self.labels, 0)}
        return {"embedding.weight": ("symbols", self.vocabulary.symbols, 0), **of_labels}

    def facts(self) -> dict:
        """Labels and vocabulary."""
        return {"labels": self.labels, "vocabulary": self.vocabulary.to_json()}
