"""An encoder and a decoder with attention: any sequence of symbols to another."""

import math

import numpy as np

from ...autograd import concat, log_softmax, pad, permute_dims, reshape, tanh, tensor
from ...autograd.functional import zeros
from ...base.errors import InputError
from ...compiler.graph import Graph
from ...nn import Attention, Dropout, Embedding, Linear
from ...nn.rnn import joined
from ..batches import in_order, padded
from ..model import TaskModel
from ..text.memory import texts_of
from ..text.vocabulary import encode_text


def _with_spare(length):
    """How many places the memory of a loop has for a source of a length: at most an eighth more, and not
    many different numbers, each of which takes the compiler a moment. They are odd, and 7 or more: where two
    of its sizes are equal a loop is another one, and the others are even mostly, or the gates of a cell.
    """
    step = max(2, 2 ** (length.bit_length() - 4))
    return max(7, -(-(length - 1) // step) * step + 1)


def _begun(bridge, end, own):
    """A state of the decoder, from those of the encoder in all directions."""
    rows = concat([reshape(e, (len(own), -1)) for e in end], axis=-1)
    return own + reshape(tanh(bridge(rows)), own.shape)


class Translator(TaskModel):
    """An encoder that reads the source, and a decoder that writes the target while it attends to what was
    read.

    Each state of a decoder layer starts at tanh of a linear layer of the encoder's final states of that
    layer, added to its cell's own initial state (0 for most cells). With attention ``luong`` the decoder's
    output asks for its context (Luong, Pham & Manning 2015), so that training runs over all of a target at
    once; with ``bahdanau`` the output before asks, and the cell reads the context (Bahdanau, Cho & Bengio
    2015, A.2.2): attention and all layers are one loop. Both go on with ``tanh(W [context; output])`` (Luong
    eq. 5) and a softmax over the target's symbols and the end symbol, whose id is ``end``; it is also what
    the decoder is fed first.

    Args:
        source, target: vocabularies.
        attention: ``luong`` or ``bahdanau``.
        max_length: tokens of a source that are read, and of a target that are learned and written.
        settings: of both `RNN`; dropout also falls on the embeddings and before the output.
    """

    task = "translate"

    def __init__(
        self,
        source,
        target,
        *,
        embed,
        bidirectional=True,
        attention="luong",
        max_length=400,
        seed=0,
        **settings,
    ):
        own = dict(embed=embed, bidirectional=bidirectional, attention=attention, max_length=max_length)
        super().__init__(seed, settings, **own)
        self.source, self.target, self.end, self.max_length = source, target, len(target), max_length
        self.source_embedding = Embedding(len(source), embed, **self.shared)
        self.target_embedding = Embedding(len(target) + 1, embed, **self.shared)
        self.encoder = self.recurrent(embed, bidirectional=bidirectional)
        width = self.encoder.output_size
        self.decoder = self.recurrent(embed + (width if attention == "bahdanau" else 0))
        self.bridges = [
            [
                Linear(self.encoder.directions * width, width, **self.shared)
                for width in map(math.prod, c.state_shapes(1))
            ]
            for c in self.decoder.cells
        ]
        out = self.decoder.output_size
        self.attention = Attention(out, width, kind=attention, **self.shared)
        self.combine = Linear(width + out, out, **self.shared)
        self.output = Linear(out, len(target) + 1, **self.shared)
        variational = self.settings["variational"]
        self.dropout = Dropout(self.settings["dropout"], variational=variational, generator=self.generator)

    def read(self, ids, mask):
        """Source ids (or vectors, see `embedded`) and mask ``[S, B]`` to the memory that `step` looks at, and
        the decoder's first states.
        """
        keys, final = self.encoder(self.dropout(self.embedded(self.source_embedding, ids)), mask=mask)
        n, states = self.encoder.directions, []
        for layer, first in enumerate(self.decoder.initial_state(mask.shape[1])):
            ends = zip(*final[layer * n : (layer + 1) * n], strict=True)
            states.append(tuple(map(_begun, self.bridges[layer], ends, first)))
        return (keys, mask, self.attention.project(keys)), states

    def step(self, ids, states, memory):
        """Go on by the symbols ``ids [T, B]``: any number of steps with ``luong``, one (T = 1) with
        ``bahdanau``.

        Returns:
            ``(logits [T, B, symbols + 1], states, weights [T, B, S])``.
        """
        xs, early = self.dropout(self.target_embedding(ids)), self.attention.kind == "bahdanau"
        if early:
            context, weights = self.attention(states[-1][0][None], *memory)
            xs = concat([xs, context], axis=-1)
        ys, states = self.decoder(xs, states)
        if not early:
            context, weights = self.attention(ys, *memory)
        return self.logits(context, ys), states, weights

    def logits(self, context, ys):
        """``[T, B, symbols + 1]`` of contexts and the decoder's outputs."""
        return self.output(self.dropout(tanh(self.combine(concat([context, ys], axis=-1)))))

    def in_one_loop(self, ids, states, memory):
        """``(logits, weights)`` of ``step`` over all of ``ids [T, B]``, with ``bahdanau``."""
        xs, length = self.dropout(self.target_embedding(ids)), len(memory[1])
        spare = _with_spare(length) - length
        keys, mask, projected = memory
        seen = tensor(np.pad(mask != 0, ((0, spare), (0, 0))).T, device=xs.device)
        keys, projected = (
            permute_dims(pad(m, ((0, spare), (0, 0), (0, 0))), (1, 0, 2)) for m in (keys, projected)
        )

        look = self.attention.look  # and no more of the model, which a recording would look through

        def attending(x, states, *before):
            context, weights = look(states[-1][0], keys, seen, projected)
            return concat([x, context], axis=-1), context, weights

        of = dict(dtype=keys.dtype, device=xs.device)
        first = zeros(keys[:, 0].shape, **of), zeros(seen.shape, **of)
        ys, (contexts, weights), _ = self.decoder.driven(attending, xs, states, first)
        return self.logits(contexts, ys), weights[:, :, :length]

    def forward(self, ids, mask, inputs, sampling=0.0):
        """Logits ``[T, B, symbols + 1]`` and weights ``[T, B, S]`` of a decoder that is fed ``inputs [T,
        B]``.

        With probability ``sampling`` an input is the model's own best symbol of the step before (Bengio et
        al. 2015). That goes step by step, and weights are then dropped anew at each step.
        """
        memory, states = self.read(ids, mask)
        if not sampling:
            if self.attention.kind == "bahdanau":
                return self.in_one_loop(inputs, states, memory)
            logits, _, weights = self.step(inputs, states, memory)
            return logits, weights
        own = self.generator.uniform(0, 1, inputs.shape) < sampling
        found, fed, start = [], inputs[:1], self.generator.state
        for t in range(len(inputs)):
            if self.dropout.variational:
                self.generator.state = start  # the same is dropped at each step
            logits, states, weights = self.step(fed, states, memory)
            found.append((logits, weights))
            fed = inputs[t + 1 : t + 2]
            if own[t + 1 : t + 2].any():
                fed = np.where(own[t + 1 : t + 2], logits.numpy().argmax(axis=-1), fed)
        return tuple(concat(parts, axis=0) for parts in zip(*found, strict=True))

    def graphs(self, *, over_time=False) -> dict:
        """``read``: ``ids [S, B]`` of a source to ``keys`` and ``projected [S, B, ...]`` and the first
        states; ``step``: ``ids [B]``, these and the states to ``logits [B, symbols + 1]``, ``weights [S, B,
        1]`` and the next states.
        """
        read, step = Graph.of(self), Graph.of(self)
        ids = read.ids("ids", len(self.source), over_time=True)
        keys, final = self.encoder.into(read, read.lookup(self.source_embedding.weight, ids))
        read.output("keys", keys)
        read.output("projected", projected := read.call(self.attention.project, keys))
        n, init = self.encoder.directions, self.decoder.states_into(step)
        for layer, first in enumerate(self.decoder.initial_state(1)):
            ends = zip(*final[layer * n : (layer + 1) * n], strict=True)
            for state, bridge, end, own in zip(init[layer], self.bridges[layer], ends, first, strict=True):

                def begun(own, *end, bridge=bridge):
                    return _begun(bridge, end, own)

                read.output(state.name, read.call(begun, read.constant(own), *end))
        fed = step.ids("ids", self.end + 1, over_time=False)
        xs = step.lookup(self.target_embedding.weight, fed)
        keys, projected = (
            step.rows(name, item.shape, over_time=True)
            for name, item in (("keys", keys), ("projected", projected))
        )
        early = self.attention.kind == "bahdanau"
        if early:
            context, weights = self.attention.into(step, init[-1][0], keys, projected)
            xs = step.call(joined, xs, context)
        ys, _ = self.decoder.into(step, xs, init, keep=True)
        if not early:
            context, weights = self.attention.into(step, ys, keys, projected)
        output, combine = self.output, self.combine  # no more of the model: a recording looks through it

        def logits(context, ys):
            return output(tanh(combine(concat([context, ys], axis=-1))))

        step.output("logits", step.call(logits, context, ys))
        step.output("weights", weights)
        return {"read": read, "step": step}

    def search(self, sources, beam=1, length_penalty=0.6) -> list:
        """The best target of each source, a list of ids, with its log-probability, by beam search; beam 1 is
        greedy.

        Hypotheses that end leave the beam, which is then narrower. Of them the one of highest ``log p / ((5 +
        n) / 6)^penalty`` is best, n its symbols with the end symbol (Wu et al. 2016, eq. 14 without
        coverage). A target has at most ``2 * source + 20`` symbols, and at most ``max_length``. Unknown words
        are never written.
        """
        n, k, symbols, unknown = len(sources), beam, self.end + 1, self.target.unknown
        limits = np.minimum([2 * len(s) + 20 for s in sources], self.max_length)[:, None]
        best, found = np.full((n, 1), -np.inf), [None] * n
        scores = np.where(np.arange(k) == 0, np.zeros((n, 1)), -np.inf)  # -inf: there is no such hypothesis
        places, said = np.full((n, 1), k), np.full((1, n * k), self.end)
        with self.evaluating():
            memory, states = self.read(*padded(sources))
            rows = np.repeat(np.arange(n), k)
            memory = [m[:, rows] for m in memory]
            for t in range(1, limits.max() + 1):
                logits, states, _ = self.step(
                    said[-1:], [tuple(s[rows] for s in layer) for layer in states], memory
                )
                grown = log_softmax(logits).numpy()[0].astype(np.float64)
                if unknown is not None:
                    grown[:, unknown] = -np.inf
                grown = (grown + scores.reshape(-1, 1)).reshape(n, -1)
                kept = np.argpartition(-grown, k - 1, axis=1)[:, :k]
                kept = np.take_along_axis(
                    kept, np.argsort(-np.take_along_axis(grown, kept, 1), axis=1, kind="stable"), 1
                )
                scores = np.where(np.arange(k) < places, np.take_along_axis(grown, kept, 1), -np.inf)
                parents, ids = np.divmod(kept, symbols)
                rows = (np.arange(n)[:, None] * k + parents).ravel()
                said = np.concatenate([said[:, rows], ids.reshape(1, -1)])
                ended = ((ids == self.end) | (t >= limits)) & (scores > -np.inf)
                penalty = ((5 + t) / 6) ** length_penalty
                for i, j in zip(*np.nonzero(ended), strict=True):
                    if scores[i, j] / penalty > best[i, 0]:
                        written = said[1:, i * k + j].tolist()
                        best[i, 0], found[i] = (
                            scores[i, j] / penalty,
                            (written[: t - (ids[i, j] == self.end)], scores[i, j]),
                        )
                places -= ended.sum(axis=1, keepdims=True)
                reach = scores / np.maximum(
                    penalty, ((5 + limits) / 6) ** length_penalty
                )  # no continuation gets above that
                scores = np.where(ended | (reach <= best), -np.inf, scores)
                if not (scores > -np.inf).any():
                    break
        if None in found:
            raise InputError(
                "this model's probabilities are no numbers: use an earlier checkpoint of the run"
            )
        return found

    def encode(self, text):
        """Ids of a source, one at least."""
        return encode_text(self.source, text, self.max_length)

    def scored(self, texts, *, beam=1, length_penalty=0.6, batch_size=64) -> list:
        """The translation of each text with its log-probability; see `search`. That of an empty text is
        empty.
        """
        texts = texts_of(texts)
        found, sequences = [("", 0.0)] * len(texts), [self.encode(text) for text in texts]
        for batch in in_order(sequences, batch_size):
            batch = [i for i in batch if texts[i].strip()]
            results = self.search([sequences[i] for i in batch], beam, length_penalty) if batch else ()
            for i, (ids, score) in zip(batch, results, strict=True):
                found[i] = self.target.decode(ids).strip(), float(score)
        return found

    def translate(self, texts, **options) -> list[str]:
        """The translation of each text; options: of `scored`."""
        return [text for text, _ in self.scored(texts, **options)]

    def attended(self, text, *, beam=1, length_penalty=0.6):
        """Symbols of a text, symbols of its translation and ``"end"``, and the weights ``[target, source]``
        between them.
        """
        ids = self.encode(text)
        written, _ = self.search([ids], beam, length_penalty)[0]
        with self.evaluating():
            _, weights = self(*padded([ids]), np.array([self.end, *written])[:, None])
        return (
            [self.source.decode([i]) for i in ids],
            [*(self.target.decode([i]) for i in written), "end"],
            weights.numpy()[:, 0],
        )

    def inherited(self) -> dict:
        """Also the levels of its vocabularies."""
        levels = {"level": self.source.level, "target_level": self.target.level}
        return {**super().inherited(), **levels}

    def rows(self) -> dict:
        """Those of symbols, the end symbol of targets among them."""
        said = "symbols of targets", [*self.target.symbols, None]
        return {
            "source_embedding.weight": ("symbols of sources", self.source.symbols, 0),
            "target_embedding.weight": (*said, 0),
            "output.weight": (*said, 1),
            "output.bias": (*said, 0),
        }

    def facts(self) -> dict:
        """Both vocabularies."""
        return {"source": self.source.to_json(), "target": self.target.to_json()}
