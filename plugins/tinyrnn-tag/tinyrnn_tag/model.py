"""A tagger: words and how they are spelt, bidirectional recurrent layers, a conditional random field."""

import numpy as np

import tinyrnn as tr
from tinyrnn.tasks import TaskModel, in_order

from .schemes import forbidden, spells_entities
from .words import FORMS, Lexicon, Words


class Tagger(TaskModel):
    """A bidirectional recurrent network over words with a conditional random field over its outputs (Huang,
    Xu & Yu 2015; Lample et al. 2016), to whose scores the forms of words add theirs directly, as in Cheng et
    al. 2016, "Wide & deep learning".

    Args:
        lexicon: what words are made of.
        labels: the tags; of entities as BIO.
        embed: width of the embedding of words.
        characters: width of the network that spells words, in one direction; 0: none.
        affixes: width of the embeddings of shape, beginnings and ends of words; 0: none.
        linear: score tags by the forms of a word and of its neighbours too.
        word_dropout: a word seen n times is unknown in training with probability ``a / (a + n)`` (Kiperwasser
            & Goldberg 2016, section 4.1).
        settings: of `RNN`; dropout falls on what the layers read and on their outputs.
    """

    task = "tag"

    def __init__(
        self,
        lexicon: Lexicon,
        labels,
        *,
        embed,
        characters=32,
        affixes=16,
        linear=True,
        word_dropout=1.0,
        seed=0,
        **settings,
    ):
        own = dict(embed=embed, characters=characters, affixes=affixes, linear=linear)
        super().__init__(seed, settings, **own, word_dropout=word_dropout)
        self.lexicon, self.labels = lexicon, list(labels)
        self.index = {tag: i for i, tag in enumerate(self.labels)}
        self.entities = spells_entities(self.labels)
        dropped = dict(variational=self.settings["variational"], generator=self.generator)
        self.words = tr.Embedding(len(lexicon.words), embed, **self.shared)
        if characters:
            self.characters = tr.Embedding(len(lexicon.characters), characters, **self.shared)
            cell, options = self.settings["cell"], self.settings["cell_options"]
            shape = dict(bidirectional=True, cell_options=options, **self.shared)
            self.speller = tr.RNN(cell, characters, characters, **shape)
        if affixes:
            self.affixes = tr.Embedding(len(lexicon.forms), affixes, **self.shared)
        size = embed + (self.speller.output_size if characters else 0) + len(FORMS) * affixes
        self.rnn = self.recurrent(size, bidirectional=True)
        self.dropout, self.output_dropout = (
            tr.Dropout(self.settings["dropout"], **dropped) for _ in range(2)
        )
        self.output = tr.Linear(self.rnn.output_size, len(self.labels), **self.shared)
        if linear:  # tags of the word before, of the word itself, and of the word after
            count = len(lexicon.forms) + len(lexicon.words)
            self.linear = tr.Embedding(count, 3 * len(self.labels), **self.shared)
            self.linear.weight.assign_(np.zeros(self.linear.weight.shape))
        self.crf = tr.CRF(len(self.labels), **self.shared)

    def features(self, words: Words):
        """What is read of each different word, ``[U, size]``."""
        ids = words.ids
        if self.training and (a := self.settings["word_dropout"]):
            struck = self.generator.uniform(0, 1, ids.shape) < a / (a + self.lexicon.counts[ids])
            ids = np.where(struck, 0, ids)
        parts = [self.words(ids)]
        if self.settings["characters"]:
            _, final = self.speller(self.characters(words.characters), mask=words.spelt)
            parts += [states[0] for states in final]
        if self.settings["affixes"]:
            parts.append(self.affixes(words.forms).reshape(len(ids), -1))
        return tr.concat(parts, axis=-1)

    def forward(self, words: Words):
        """Emissions ``[T, B, labels]``."""
        ys, _ = self.rnn(self.dropout(tr.embedding(words.places, self.features(words))), mask=words.mask)
        scores = self.output(self.output_dropout(ys))
        return scores + self._linear(words) if self.settings["linear"] else scores

    def _linear(self, words: Words):
        """What the forms of a word, of that before and of that after say of its tag, ``[T, B, labels]``."""
        ids = np.concatenate([words.forms, words.ids[:, None] + len(self.lexicon.forms)], axis=1)
        weights = self.linear(ids)
        place = dict(dtype=self.dtype, device=self.device)
        if self.training:  # half of the forms are not there
            there = self.generator.uniform(0, 1, (*ids.shape, 1)) < 0.5
            weights = weights * tr.asarray(2.0 * there, **place)
        said = tr.embedding(words.places, weights.sum(axis=1)) * tr.asarray(words.mask[:, :, None], **place)
        after, own, before = tr.split(
            said, 3, axis=-1
        )  # of a word: on the tags of its neighbours and its own
        edge = tr.zeros((1, *own.shape[1:]), **place)
        return own + tr.concat([edge, after[:-1]]) + tr.concat([before[1:], edge])

    def numbers(self, tags):
        """Tags as ids."""
        return [self.index[tag] for tag in tags]

    def cost(self, sentences, targets):
        """The loss (nats) of ids of tags, of all sentences together, a Tensor."""
        words = self.lexicon.read(sentences)
        ids = np.zeros(words.mask.shape, np.int64)
        for b, row in enumerate(targets):
            ids[: len(row), b] = row
        return self.crf(self(words), ids, words.mask, reduction="sum")

    def tagged(self, sentences, batch_size=64) -> list[list[str]]:
        """The best tags of sentences, lists of tokens; those of entities are such that BIO allows them."""
        found: list[list[str]] = [[]] * len(sentences)
        if self.entities:
            between, start = (np.where(never, -np.inf, 0.0) for never in forbidden(self.labels))
        else:
            between = start = np.zeros(1)
        with self.evaluating():
            between, start = (
                self.crf.transitions.numpy() + between,
                self.crf.start_transitions.numpy() + start,
            )
            for batch in in_order(sentences, batch_size):
                words = self.lexicon.read([sentences[i] for i in batch])
                rows = tr.crf_decode(self(words), between, start, self.crf.end_transitions, words.mask)
                for i, row in zip(batch, rows, strict=True):
                    found[i] = [self.labels[k] for k in row]
        return found

    def facts(self) -> dict:
        """Tags, and what words are made of."""
        return {"labels": self.labels, **self.lexicon.to_json()}
