"""A classifier of texts."""

import numpy as np

from ...autograd import sigmoid, softmax, tensor
from ...compiler.graph import Graph
from ...nn import Dropout, Embedding, Linear
from ...nn.pooling import pooled, pooled_into
from ..batches import in_order, padded
from ..model import TaskModel
from ..text.memory import texts_of
from ..text.vocabulary import encode_text


class Classifier(TaskModel):
    """Embedding, recurrent layers, pooling over time, and a softmax over the labels, or where a text has any
    number of them a sigmoid for each.

    Args:
        vocabulary, labels: what texts and labels are made of.
        thresholds: of each label the probability from which it is said, where a text has any number of them;
            None: it has one.
        pooling: see `pooled`.
        max_length: tokens of a text that are read.
        settings: of `RNN`; dropout also falls on the embedding and before the output.
    """

    task = "classify"

    def __init__(
        self,
        vocabulary,
        labels,
        thresholds=None,
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
        self._read(embed, labels, thresholds)

    def _read(self, width, labels, thresholds=None):
        """Make all that follows vectors of a width."""
        self.labels, self.pooling = list(labels), self.settings["pooling"]
        self.thresholds = None if thresholds is None else np.array(thresholds, np.float64)
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

    def graphs(self, *, over_time=True) -> dict:
        """``classify``: ``ids [T, B]`` to ``probabilities`` of the labels."""
        graph = Graph.of(self)
        ids = graph.ids("ids", len(self.vocabulary), over_time=True)
        return self._written(graph, graph.lookup(self.embedding.weight, ids))

    def _written(self, graph, vectors):
        ys, final = self.rnn.into(graph, vectors)
        row = pooled_into(graph, self.pooling, self.rnn, ys, final, self.score)
        # no more of the model, which a recording would look through
        output, one = self.output, self.thresholds is None

        def probabilities(row):
            return softmax(output(row), axis=-1) if one else sigmoid(output(row))

        graph.output("probabilities", graph.call(probabilities, row))
        return {"classify": graph}

    def _probable(self, logits):
        return softmax(logits, axis=-1) if self.thresholds is None else sigmoid(logits)

    @staticmethod
    def padded(sequences):
        """Encoded examples and their mask, both ``[T, B]``."""
        return padded(sequences)

    def encode(self, text):
        """Ids of a text, one at least; for words its first word looks like any other."""
        return encode_text(self.vocabulary, text, self.max_length)

    def predict(self, texts, batch_size=64) -> np.ndarray:
        """Probabilities ``[texts, labels]``; each row adds up to 1 where a text has one label."""
        sequences = [self.encode(text) for text in texts_of(texts)]
        return self._probable(tensor(self.logits(sequences, batch_size))).numpy()

    def logits(self, sequences, batch_size=64) -> np.ndarray:
        """Of encoded examples ``[examples, labels]``, nothing dropped."""
        found = np.zeros((len(sequences), len(self.labels)), self.dtype)
        with self.evaluating():
            for batch in in_order(sequences, batch_size) if sequences else ():
                found[batch] = self(*self.padded([sequences[i] for i in batch])).numpy()
        return found

    def said(self, probabilities) -> list[list[str]]:
        """Of each row of probabilities the labels: the most probable one, or all from their thresholds on."""
        if self.thresholds is None:
            return [[self.labels[i]] for i in probabilities.argmax(axis=1)]
        return [
            [label for label, yes in zip(self.labels, row, strict=True) if yes]
            for row in (probabilities >= self.thresholds).tolist()
        ]

    def inherited(self) -> dict:
        """Also the level of its vocabulary."""
        return {**super().inherited(), "level": self.vocabulary.level}

    def rows(self) -> dict:
        """Those of symbols and labels."""
        return {"embedding.weight": ("symbols", self.vocabulary.symbols, 0), **self.rows_of_labels()}

    def rows_of_labels(self) -> dict:
        """As `rows`, of labels alone."""
        return {"output.weight": ("labels", self.labels, 1), "output.bias": ("labels", self.labels, 0)}

    def facts(self) -> dict:
        """Labels, vocabulary, and thresholds if there are any."""
        thresholds = {} if self.thresholds is None else {"thresholds": self.thresholds.tolist()}
        return {"labels": self.labels, "vocabulary": self.vocabulary.to_json(), **thresholds}
