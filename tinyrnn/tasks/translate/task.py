"""Translation: any sequence of symbols to another, by an encoder and a decoder with attention."""

import importlib.util
import itertools
import math
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from ...base.errors import InputError, few, shown
from ...nn.functional import cross_entropy
from ...training.disturbances import hardened_text
from ...training.plan import Plan
from ...training.runs import RunFolder
from ...training.screen import hushed
from ...training.task import Task
from ..batches import Batches, in_order, padded
from ..tables.files import frame_lines, texts_of_inputs
from ..text.memory import pair_lines
from ..text.robustness import Texts
from ..text.sources import digest
from ..text.vocabulary import build_vocabulary, encode_texts, from_json, tell_cut, tell_missing, tell_unread
from .model import Translator
from .options import (
    TranslateOptions,
    TranslationPredictionOptions,
    TranslationReadingOptions,
    TranslationRobustnessOptions,
)
from .pictures import draw_attention
from .reader import read_pairs, source_of

EXACT_PAIRS = 200  # so many validation pairs are translated at each evaluation while training


class Translation(Task):
    """Texts to texts: translation, and any sequence of symbols to another.

    Data: text files with one pair a line, source and target between them a tab (or --separator); tables
    (.csv, .tsv, .jsonl, .parquet, .xlsx) with a column each; two files line by line (--source, --target).
    From Python also pairs (source, target).
    """

    name = "translate"
    options = TranslateOptions
    plan = Plan(lr=3e-3, epochs=6.0, min_steps=1500, minutes=30.0)
    evaluation = TranslationReadingOptions
    prediction = TranslationPredictionOptions
    robustness = TranslationRobustnessOptions
    loss_name = "loss (nats a symbol)"
    default_inputs = ("-",)
    next_input = "'a text'"
    in_memory = "pairs (source, target) of texts, or a frame with columns of sources and targets"
    drawn = MappingProxyType({"exact": "exact matches (part)"})

    def __init__(self, model, train, val, *, batch_size, seed, sampling=0.0, fingerprint="", **hardening):
        self.model, self.fingerprint, self.sampling, self.raw_val = model, fingerprint, sampling, val
        self.first = train[0][0], train[1][0][0]
        self.train = _encoded(model, _flat(train), "training ")
        self.val = _encoded(model, _flat(val), "validation ")
        self.batches = Batches([range(len(s) + len(t)) for s, t in self.train], batch_size, seed)
        self.tokens_per_step = batch_size * np.mean([len(s) + len(t) for s, t in self.train])
        self.steps_per_epoch, self.shape = self.batches.per_epoch, f"batches of {batch_size} pairs"
        self.total, self.hardening = None, hardening

    def planned(self, total):
        """Scheduled sampling rises over the length of the run."""
        if self.sampling and not total:
            raise InputError(
                "--scheduled-sampling rises over the length of a run: give that in --steps or --epochs"
            )
        self.total = total

    @classmethod
    def build(cls, options: TranslateOptions, texts, origin=None):
        """The task that the options of ``tinyrnn train`` describe, on the files ``texts``.

        Raises:
            InputError: data that cannot be used, too few pairs, an unknown cell or option.
        """
        settings = options.settings()
        train, val, fingerprint = _data(options, texts)
        known = (None, None) if origin is None else (origin.source, origin.target)
        levels = options.level, options.target_level or options.level
        source, target = (
            build_vocabulary(side, level, options.vocab_size, own)
            for side, level, own in zip(_flat(train), levels, known, strict=True)
        )
        own = {k: getattr(options, k) for k in ("embed", "bidirectional", "attention", "max_length", "seed")}
        model = Translator(source, target, **own, **settings)
        shape = {k: getattr(options, k) for k in ("batch_size", "seed", "noise", "adversarial")}
        shape["sampling"] = options.scheduled_sampling
        return cls(model, train, val, fingerprint=fingerprint, **shape)

    @classmethod
    def loss_unit(cls, options):
        """By the level of targets."""
        return f"{cls.loss_name}, level {options.get('target_level') or options.get('level')}"

    @classmethod
    def store(cls, data):
        """Pairs (source, target), or a pandas frame, whose columns are chosen as those of a file."""
        if (lines := frame_lines(data) or pair_lines(data, "source", "target")) is None:
            return super().store(data)
        if "\\u0000" in lines:
            raise InputError("a text to translate may hold no NUL: replace it by a space")
        return "jsonl", lines

    @staticmethod
    def rebuild(meta) -> Translator:
        """The model that a checkpoint's metadata describes, with fresh weights."""
        facts = [from_json(meta.get(side), side) for side in ("source", "target")]
        return Translator.restored(TranslateOptions, meta["model"], *facts)

    def introduction(self) -> str:
        """What is learned from."""
        source, target = self.model.source, self.model.target
        levels = " and ".join(dict.fromkeys([source.level, target.level]))
        sizes = f"vocabularies {len(source):,} and {len(target):,} ({levels})"
        first = f"{shown(self.first[0])} -> {shown(self.first[1])}"
        return f"{len(self.train):,} pairs, {len(self.val):,} for validation; {sizes}; the first: {first}"

    def loss(self, step: int):
        """The training loss of batch ``step``, nats a target symbol, the end symbol included, a Tensor.

        Scheduled sampling rises linearly, from 0 at the first step to its full value at the last of the run.
        """
        ids, mask, inputs, targets = _batch([self.train[i] for i in self.batches[step]], self.model.end)
        sampling = self.sampling and self.sampling * min(step / self.total, 1.0)

        def cost(read):
            return cross_entropy(self.model(read, mask, inputs, sampling)[0], targets)

        model = self.model
        return hardened_text(cost, ids, model.source_embedding, model.generator, **self.hardening)

    def evaluate(self, stop=lambda: False) -> dict | None:
        """Validation loss, and exact matches of the first `EXACT_PAIRS` pairs; None if ``stop()`` became
        true.
        """
        found = loss(self.model, self.val, stop=stop)
        if found is None:
            return None
        if not math.isfinite(found):  # nor has a translation a probability
            return {"val_loss": found, "exact": 0.0}
        sources, references = (side[:EXACT_PAIRS] for side in self.raw_val)
        return {"val_loss": found, "exact": _exact(self.model.translate(sources), references)}

    @staticmethod
    def evaluate_run(model, texts, run, options) -> dict:
        """``exact chrf bleu loss`` on the files ``texts``, or on the validation part of the data of
        ``run``.
        """
        pairs = sources, references = _pairs(texts, run, options)
        found = model.translate(sources, **options.search())
        figures = {"exact": _exact(found, references), "chrf": None, "bleu": None}
        if importlib.util.find_spec("sacrebleu"):
            import sacrebleu

            streams = list(itertools.zip_longest(*references))  # None: a source has no further reference
            figures["chrf"] = sacrebleu.corpus_chrf(found, streams).score
            figures["bleu"] = sacrebleu.corpus_bleu(found, streams, force=True).score
        return {**figures, "loss": loss(model, _encoded(model, _flat(pairs)))}

    @staticmethod
    def probe(model, texts, run, options) -> Texts:
        """The sources of pairs; what is said is each next symbol of the target, those before it given."""
        pairs = _encoded(model, _flat(_pairs(texts, run, options)))
        pairs = [pairs[i] for i in options.examples_of(len(pairs))]

        def said(ids, mask, examples, places):
            _, _, inputs, targets = _batch([pairs[i] for i in examples], model.end)
            return model(ids, mask, inputs)[0], targets

        return Texts(model, model.source_embedding, model.source, [source for source, _ in pairs], said)

    @staticmethod
    def remarks(figures):
        """How to get the figures that are missing."""
        return ["for chrF and BLEU: pip install 'tinyrnn[translate]'"] if figures["bleu"] is None else []

    @staticmethod
    def predict(model, inputs, run, options):
        """The translation of each text, line, or row of a table."""

        def table_of(path):
            trained, _ = Translation.trained(run, options, [path])
            return source_of(path, trained.source_column, trained.target_column, trained.encoding, trained)

        how = options.search()
        read = texts_of_inputs(inputs, table_of, options.encoding or "utf-8", options.id_column)
        lines, places, rows = read
        plain = (line for line, row in zip(lines, rows, strict=True) if not row)
        if pair := next((line for line in plain if "\t" in line.strip()), None):
            raise InputError(f"{shown(pair)} is a pair of texts: give its first side alone, or use evaluate")
        tell_missing(model.source, lines)
        unread = tell_unread(model.source, lines, places, "their translations mean nothing")
        tell_cut(
            model.max_length, sources=(encode_texts(model.source, lines, model.max_length)[1], len(lines))
        )
        if options.plot and (first := next((line for line in lines if line.strip()), None)):
            draw_attention(*model.attended(first, **how), options.plot)
        scored = model.scored(lines, **how)
        for row, line, nothing, (translation, score) in zip(rows, lines, unread, scored, strict=True):
            yield {**row, "source": line, "translation": translation, "score": round(score, 6), **nothing}

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


def _flat(pairs):
    """Sources and targets, a source as often as it has targets."""
    several = [(source, target) for source, all_of in zip(*pairs, strict=True) for target in all_of]
    return [source for source, _ in several], [target for _, target in several]


def _encoded(model, pairs, of=""):
    """Ids of each pair of a source and a target; how many texts are cut is said, ``of`` what."""
    sides = zip((model.source, model.target), pairs, strict=True)
    ids, cut = zip(*(encode_texts(v, side, model.max_length) for v, side in sides), strict=True)
    kinds = zip(("sources", "targets"), cut, strict=True)
    tell_cut(model.max_length, **{of + kind: (n, len(ids[0])) for kind, n in kinds})
    return list(zip(*ids, strict=True))


def _exact(found, references):
    """The part of translations that are equal to any of their references, kinds of space aside."""
    hits = [
        any(said.split() == each.split() for each in all_of)
        for said, all_of in zip(found, references, strict=True)
    ]
    return float(np.mean(hits))


def _read(options, texts, *, line_by_line=False):
    """Of the files ``texts``; ``line_by_line``: of those that ``--source`` and ``--target`` name, too."""
    files = dict(source=options.source, targets=options.target) if line_by_line else {}
    columns = dict(source_column=options.source_column, target_column=options.target_column)
    return read_pairs(texts, encoding=options.encoding, how=options, **columns, **files)


def _pairs(texts, run, options):
    """Of the files ``texts`` or of those that the options name, or of the validation part of the data of
    ``run``.
    """
    named = bool(options.source or options.target)
    trained, files = Translation.trained(run, options, texts or [*options.target] if named else texts)
    if texts or named:
        given = replace(trained, source=options.source, target=options.target)
        return _read(given, texts, line_by_line=named)
    if trained.val:
        return _read(trained, [trained.val])
    with hushed():  # training said it
        _, pairs, fingerprint = _data(trained, files)
    RunFolder(run).refuse_changed(fingerprint, "pairs of this run have")
    return pairs


def _data(options, texts):
    """Training and validation pairs, and a digest of all pairs that the split is made of."""
    pairs = _read(options, texts, line_by_line=True)
    told = pairs[0], ["\x1e".join(all_of) for all_of in pairs[1]]
    fingerprint = f"translate-{len(pairs[0])}-{digest(told)}"
    if options.val:
        return pairs, _read(options, [options.val]), fingerprint
    # All targets of a source are on one side, so that what is held out has not been seen.
    sources = sorted(set(pairs[0]))
    if len(sources) < 10:
        said = f"there are {len(sources)} different sources: give 10 at least, or name a --val file"
        raise InputError(f"{few([*texts, *filter(None, [options.source])])}: {said}")
    n = max(1, round(options.val_fraction * len(sources)))
    held = {sources[i] for i in np.random.default_rng(options.seed).permutation(len(sources))[:n]}
    parts = [
        [pair for pair in zip(*pairs, strict=True) if (pair[0] in held) == kept] for kept in (False, True)
    ]
    return *[tuple(map(list, zip(*part, strict=True))) for part in parts], fingerprint
