"""Translation: any sequence of symbols to another, by an encoder and a decoder with attention."""

import importlib.util
from types import MappingProxyType

import numpy as np

from ...autograd import concat, tanh
from ...autograd.functional import log_softmax
from ...base.errors import InputError
from ...kernels.generator import Generator
from ...nn import RNN, Attention, Dropout, Embedding, Linear, Module
from ...nn import registry as plugins
from ...nn.functional import cross_entropy
from ...training.runs import Run
from ...training.task import Task
from ...training.trainer import Plan
from ..batches import Batches, in_order, padded
from ..text.sources import digest, read_lines
from ..text.vocabulary import build_vocabulary, encode_text, from_json
from .pictures import draw_attention
from .reader import read_pairs

EXACT_PAIRS = 200  # so many validation pairs are translated at each evaluation while training


class Translator(Module):
    """An encoder that reads the source, and a decoder that writes the target while it attends to what was
    read.

    Each state of a decoder layer starts at tanh of a linear layer of the encoder's final states of that
    layer. With attention ``luong`` the decoder's output asks for its context (Luong, Pham & Manning 2015), so
    that training runs over all of a target at once; with ``bahdanau`` the output before asks, and the cell
    reads the context (Bahdanau, Cho & Bengio 2015, A.2.2). Both go on with ``tanh(W [context; output])``
    (Luong eq. 5) and a softmax over the target's symbols and the end symbol, whose id is ``end``; it is also
    what the decoder is fed first.

    Args:
        source, target: vocabularies.
        attention: ``luong`` or ``bahdanau``.
        max_length: tokens of a source that are read, and of a target that are learned and written.
        settings: of both `RNN`; dropout also falls on the embeddings and before the output.
    """

    def __init__(
        self, source, target, *, cell, hidden, embed, layers=1, bidirectional=True, attention="luong", max_length=400,
        dropout=0.0, dtype="float32", seed=0, **settings,
    ):  # fmt: skip
        self.source, self.target, self.end, self.max_length = source, target, len(target), max_length
        sizes = dict(
            cell=cell,
            hidden=hidden,
            embed=embed,
            layers=layers,
            bidirectional=bidirectional,
            attention=attention,
        )
        self.settings = {**sizes, "max_length": max_length, "dropout": dropout, "dtype": dtype, **settings}
        self.generator = Generator(seed)
        shared = {"dtype": dtype, "generator": self.generator}
        stack = {"num_layers": layers, "dropout": dropout, **settings, **shared}
        self.source_embedding = Embedding(len(source), embed, **shared)
        self.target_embedding = Embedding(len(target) + 1, embed, **shared)
        self.encoder = RNN(cell, embed, hidden, bidirectional=bidirectional, **stack)
        width = self.encoder.output_size
        self.decoder = RNN(cell, embed + (width if attention == "bahdanau" else 0), hidden, **stack)
        self.bridges = [
            [Linear(self.encoder.directions * c.state_sizes[s], c.state_sizes[s], **shared) for s in c.states]
            for c in self.decoder.cells
        ]
        out = self.decoder.output_size
        self.attention = Attention(out, width, kind=attention, **shared)
        self.combine = Linear(width + out, out, **shared)
        self.output = Linear(out, len(target) + 1, **shared)
        self.dropout = Dropout(
            dropout, variational=settings.get("variational", False), generator=self.generator
        )

    def read(self, ids, mask):
        """Source ids and mask ``[S, B]`` to the memory that `step` looks at, and the decoder's first
        states.
        """
        keys, final = self.encoder(self.dropout(self.source_embedding(ids)), mask=mask)
        n, states = self.encoder.directions, []
        for layer, bridges in enumerate(self.bridges):
            ends = zip(
                *final[layer * n : (layer + 1) * n], strict=True
            )  # for each state those of all directions
            states.append(
                tuple(tanh(bridge(concat(end, axis=-1))) for bridge, end in zip(bridges, ends, strict=True))
            )
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
        vectors = tanh(self.combine(concat([context, ys], axis=-1)))
        return self.output(self.dropout(vectors)), states, weights

    def forward(self, ids, mask, inputs, sampling=0.0):
        """Logits ``[T, B, symbols + 1]`` and weights ``[T, B, S]`` of a decoder that is fed ``inputs [T,
        B]``.

        With probability ``sampling`` an input is the model's own best symbol of the step before (Bengio et
        al. 2015). That goes step by step, as ``bahdanau`` does always; weights are then dropped anew at each
        step.
        """
        memory, states = self.read(ids, mask)
        if self.attention.kind == "luong" and not sampling:
            logits, _, weights = self.step(inputs, states, memory)
            return logits, weights
        own = (
            self.generator.uniform(0, 1, inputs.shape) < sampling
            if sampling
            else np.zeros(inputs.shape, bool)
        )
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
                    return found
        return found

    def encode(self, text):
        """Ids of a source, one at least."""
        return encode_text(self.source, text, self.max_length)

    def scored(self, texts, *, beam=1, length_penalty=0.6, batch_size=64) -> list:
        """The translation of each text with its log-probability; see `search`. That of an empty text is
        empty.
        """
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

    def describe(self) -> dict:
        """Everything that ``Translation.rebuild`` needs besides the weights."""
        return {
            "task": Translation.name,
            "model": self.settings,
            "package": plugins.package_of(self.settings["cell"]),
            "source": self.source.to_json(),
            "target": self.target.to_json(),
        }


class Translation(Task):
    """The task ``translate``."""

    name = "translate"
    loss_name = "loss (nats a symbol)"
    drawn = MappingProxyType({"exact": "exact matches (part)"})
    # What `tinyrnn train --task translate` takes in place of the defaults for language models.
    defaults = MappingProxyType(
        dict(level="char", bidirectional=True, hidden=128, layers=1, lr=3e-3, steps=1500)
    )

    def __init__(self, model, train, val, *, batch_size, seed, sampling=0.0, length=None, fingerprint=""):
        self.model, self.fingerprint, self.sampling, self.raw_val = model, fingerprint, sampling, val
        self.train, self.val = _encoded(model, train), _encoded(model, val)
        self.batches = Batches([range(len(s) + len(t)) for s, t in self.train], batch_size, seed)
        self.tokens_per_step = batch_size * np.mean([len(s) + len(t) for s, t in self.train])
        self.steps_per_epoch, self.shape = self.batches.per_epoch, f"batches of {batch_size} pairs"
        self.total = length and length.total_steps(self.steps_per_epoch)
        if sampling and not self.total:
            raise InputError(
                "--scheduled-sampling rises over the length of a run: give that in --steps or --epochs"
            )

    @classmethod
    def build(cls, options, texts):
        """The task that the options of ``tinyrnn train`` describe, on the files ``texts``.

        Raises:
            InputError: data that cannot be used, too few pairs, an unknown cell or option.
        """
        cell_options = plugins.read_options(options["cell"], options["cell_opt"])
        train, val, fingerprint = _data(options, texts)
        source, target = (build_vocabulary(side, options["level"], options["vocab_size"]) for side in train)
        names = "cell hidden layers embed dropout recurrent_dropout weight_drop zoneout variational bidirectional attention"
        settings = {k: options[k] for k in (*names.split(), "max_length", "dtype", "seed")}
        model = Translator(source, target, cell_options=cell_options, **settings)
        length = Plan(**{k: options[k] for k in ("steps", "epochs")})
        shape = dict(
            batch_size=options["batch_size"], seed=options["seed"], sampling=options["scheduled_sampling"]
        )
        return cls(model, train, val, length=length, fingerprint=fingerprint, **shape)

    @staticmethod
    def rebuild(meta) -> Translator:
        """The model that a checkpoint's metadata describes, with fresh weights."""
        return Translator(from_json(meta["source"]), from_json(meta["target"]), **meta["model"])

    def introduction(self) -> str:
        """What is learned from."""
        source, target = self.model.source, self.model.target
        sizes = f"vocabularies {len(source):,} and {len(target):,} ({source.level})"
        return f"{len(self.train):,} pairs, {len(self.val):,} for validation; {sizes}"

    def loss(self, step: int):
        """The training loss of batch ``step``, nats a target symbol, the end symbol included, a Tensor.

        Scheduled sampling rises linearly, from 0 at the first step to its full value at the last of the run.
        """
        ids, mask, inputs, targets = _batch([self.train[i] for i in self.batches[step]], self.model.end)
        logits, _ = self.model(
            ids, mask, inputs, self.sampling and self.sampling * min(step / self.total, 1.0)
        )
        return cross_entropy(logits, targets)

    def evaluate(self, stop=lambda: False) -> dict | None:
        """Validation loss, and exact matches of the first `EXACT_PAIRS` pairs; None if ``stop()`` became
        true.
        """
        found = loss(self.model, self.val, stop=stop)
        if found is None:
            return None
        sources, targets = (side[:EXACT_PAIRS] for side in self.raw_val)
        return {"val_loss": found, "exact": _exact(self.model.translate(sources), targets)}

    @staticmethod
    def evaluate_run(model, texts, run, options) -> dict:
        """``exact chrf bleu loss`` on the files ``texts``, or on the validation part of the data of
        ``run``.
        """
        stored = Run(run).config["options"]
        stored["encoding"] = options["encoding"] or stored["encoding"]
        if texts or stored["val"]:
            sources, targets = _read(stored, texts or [stored["val"]])
        else:
            _, (sources, targets), fingerprint = _data(stored, stored["texts"])
            Run(run).refuse_changed(fingerprint, "pairs of this run have")
        found = model.translate(sources, beam=options["beam"], length_penalty=options["length_penalty"])
        figures = {"exact": _exact(found, targets), "chrf": None, "bleu": None}
        if importlib.util.find_spec("sacrebleu"):
            import sacrebleu

            figures["chrf"] = sacrebleu.corpus_chrf(found, [targets]).score
            figures["bleu"] = sacrebleu.corpus_bleu(found, [targets], force=True).score
        return {**figures, "loss": loss(model, _encoded(model, (sources, targets)))}

    @staticmethod
    def remarks(figures):
        """How to get the figures that are missing."""
        return ["for chrF and BLEU: pip install 'tinyrnn[translate]'"] if figures["bleu"] is None else []

    @staticmethod
    def predict(model, inputs, run, options):
        """The translation of each text or line."""
        lines = read_lines(inputs, options["encoding"] or "utf-8")
        how = {k: options[k] for k in ("beam", "length_penalty")}
        if options["plot"] and (first := next((line for line in lines if line.strip()), None)):
            draw_attention(*model.attended(first, **how), options["plot"])
        for line, (translation, score) in zip(lines, model.scored(lines, **how), strict=True):
            yield {"source": line, "translation": translation, "score": round(score, 6)}

    @staticmethod
    def shown(prediction):
        """The translation alone."""
        return prediction["translation"]


def loss(model, pairs, batch_size=64, stop=lambda: False) -> float | None:
    """Nats a target symbol over all encoded ``pairs``; None if ``stop()`` became true on the way."""
    total, count = 0.0, 0
    with model.evaluating():
        for batch in in_order([range(len(s) + len(t)) for s, t in pairs], batch_size):
            if stop():
                return None
            ids, mask, inputs, targets = _batch([pairs[i] for i in batch], model.end)
            total += cross_entropy(model(ids, mask, inputs)[0], targets, reduction="sum").item()
            count += (targets >= 0).sum()
    return total / int(count)


def _batch(pairs, end):
    """Source ids and mask ``[S, B]``, what the decoder is fed and what it is to say ``[T, B]``, -100 after
    the end.
    """
    ids, mask = padded([s for s, _ in pairs])
    inputs, _ = padded([[end, *t] for _, t in pairs])
    targets, live = padded([[*t, end] for _, t in pairs])
    return ids, mask, inputs, np.where(live, targets, -100)


def _encoded(model, pairs):
    """Ids of each pair."""
    return [
        (model.encode(s), encode_text(model.target, t, model.max_length)) for s, t in zip(*pairs, strict=True)
    ]


def _exact(found, targets):
    """The part of translations that is equal to the target, kinds of space aside."""
    return float(np.mean([a.split() == b.split() for a, b in zip(found, targets, strict=True)]))


def _read(options, texts):
    return read_pairs(texts, separator=options["separator"], encoding=options["encoding"])


def _data(options, texts):
    """Training and validation pairs, and a digest of all pairs that the split is made of."""
    pairs = _read(options, texts)
    fingerprint = f"translate-{len(pairs[0])}-{digest(pairs)}"
    if options["val"]:
        return pairs, _read(options, [options["val"]]), fingerprint
    # All targets of a source are on one side, so that what is held out has not been seen.
    sources = sorted(set(pairs[0]))
    if len(sources) < 10:
        raise InputError(
            f"there are {len(sources)} different sources: give 10 at least, or name a --val file"
        )
    n = max(1, round(options["val_fraction"] * len(sources)))
    held = {sources[i] for i in np.random.default_rng(options["seed"]).permutation(len(sources))[:n]}
    parts = [
        [pair for pair in zip(*pairs, strict=True) if (pair[0] in held) == kept] for kept in (False, True)
    ]
    return *[tuple(map(list, zip(*part, strict=True))) for part in parts], fingerprint
