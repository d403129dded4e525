"""Classification of texts: sentiment and other labels."""

import math
from pathlib import Path
from types import MappingProxyType

import numpy as np

from ...autograd.pointwise import constant
from ...base.errors import InputError, few, shown
from ...nn.functional import cross_entropy
from ...training.disturbances import hardened_text
from ...training.plan import Plan
from ...training.robustness import Probe
from ...training.runs import RunFolder
from ...training.task import Task
from ..batches import Batches, in_order
from ..text.memory import json_lines, pairs_of
from ..text.options import ReadingOptions
from ..text.robustness import Texts
from ..text.sources import digest, read_lines
from ..text.vocabulary import build_vocabulary, from_json, names, tell_missing
from .model import Classifier
from .options import ClassifyOptions, LabelReadingOptions, LabelRobustnessOptions
from .reader import TABLES, read_examples


class Classification(Task):
    """Labels of texts: sentiment, language, topic.

    Data: .csv, .tsv or .jsonl files with columns text and label (or --text-column, --label-column), or a
    folder of text files whose names are the labels of their lines. From Python also pairs (text, label).
    """

    name = "classify"
    options = ClassifyOptions
    plan = Plan(lr=2e-3, epochs=4.0, eval_every=100)
    evaluation = LabelReadingOptions
    prediction = ReadingOptions
    robustness = LabelRobustnessOptions
    loss_name = "loss (nats an example)"
    default_inputs = ("-",)
    next_input = "'a text'"
    in_memory = "pairs (text, label) of texts, or a frame with columns of these names"
    drawn = MappingProxyType({"accuracy": "accuracy", "macro_f1": "macro F1"})
    loss_of = staticmethod(cross_entropy)

    def __init__(
        self, model, train, val, *, batch_size, seed, class_weights=None, fingerprint="", **hardening
    ):
        self.model, self.fingerprint, self.hardening = model, fingerprint, hardening
        index = {label: i for i, label in enumerate(model.labels)}
        (self.train, self.targets), (self.val, self.val_targets) = [
            ([model.encode(text) for text in texts], np.array([index[label] for label in labels]))
            for texts, labels in (train, val)
        ]
        self.batches = Batches(self.train, batch_size, seed)
        self.steps_per_epoch, self.shape = self.batches.per_epoch, f"batches of {batch_size}"
        self.tokens_per_step = batch_size * np.mean([len(s) for s in self.train])
        self.weights = None
        if (
            class_weights == "balanced"
        ):  # as in scikit-learn: inverse to a label's frequency, 1 on average over examples
            counts = np.bincount(self.targets, minlength=len(index))
            self.weights = (len(self.targets) / (len(index) * np.maximum(counts, 1))).astype(model.dtype)

    @classmethod
    def build(cls, options, texts):
        """The task that the options of ``tinyrnn train`` describe, on the files ``texts``.

        Raises:
            InputError: data that cannot be used, too few examples of a label, an unknown cell or option.
        """
        settings = options.settings()
        columns = dict(text_column=options.text_column, label_column=options.label_column)
        data = read_examples(texts, **columns, encoding=options.encoding)
        labels = sorted(set(data[1]))
        if options.val:
            train, val = data, read_examples([options.val], **columns, encoding=options.encoding)
            if strange := set(val[1]) - set(labels):
                has = f"{options.val} has the label {shown(min(strange))}"
                raise InputError(f"{has}, which the training data lacks: remove its rows")
        else:
            train, val = _split(*data, options.val_fraction, options.seed, texts)
        vocabulary = build_vocabulary(train[0], options.level, options.vocab_size)
        own = {k: getattr(options, k) for k in ("embed", "pooling", "max_length", "bidirectional", "seed")}
        model = Classifier(vocabulary, labels, **own, **settings)
        names = ("batch_size", "seed", "class_weights", "noise", "adversarial")
        shape = {k: getattr(options, k) for k in names}
        return cls(model, train, val, fingerprint=_fingerprint(data), **shape)

    @classmethod
    def store(cls, data):
        """Pairs (text, label), or a pandas frame with columns of those names."""
        rows = pairs_of(data, "text", "label")
        return super().store(data) if rows is None else ("jsonl", json_lines(rows))

    @staticmethod
    def rebuild(meta) -> Classifier:
        """The model that a checkpoint's metadata describes, with fresh weights."""
        facts = from_json(meta.get("vocabulary")), names(meta.get("labels"), "labels")
        return Classifier.restored(ClassifyOptions, meta["model"], *facts)

    def introduction(self) -> str:
        """What is learned from."""
        counts = np.bincount(self.targets, minlength=len(self.model.labels))
        shown = ", ".join(
            f"{label} {n:,}" for label, n in zip(self.model.labels[:6], counts[:6], strict=True)
        )
        more = f" and {len(counts) - 6} more" if len(counts) > 6 else ""
        return (
            f"{len(self.train):,} examples, {len(self.val):,} for validation; vocabulary "
            f"{len(self.model.vocabulary):,} "
            f"({self.model.vocabulary.level}); labels: {shown}{more}"
        )

    def loss(self, step: int):
        """The training loss of batch ``step``, a Tensor."""
        batch = self.batches[step]
        read, mask = self.model.padded(self.examples(step, batch))

        def cost(read):
            logits = self.model(read, mask)
            weights = None if self.weights is None else constant(self.weights, logits)
            return cross_entropy(logits, self.targets[batch], weights)

        return self.hardened(cost, read)

    def examples(self, step, batch):
        """What is read of a batch, the indices of its examples, in a step."""
        return [self.train[i] for i in batch]

    def hardened(self, cost, read):
        """The cost of what is read, made harder."""
        return hardened_text(cost, read, self.model.embedding, self.model.generator, **self.hardening)

    def evaluate(self, stop=lambda: False) -> dict | None:
        """Validation figures, or None if ``stop()`` became true."""
        if stop():
            return None
        found = figures(self.model, self.val, self.val_targets)
        return {"val_loss": found["loss"], "accuracy": found["accuracy"], "macro_f1": found["macro_f1"]}

    @staticmethod
    def evaluate_run(model, texts, run, options) -> dict:
        """`figures` on the files ``texts``, or on the validation part of the data of ``run``."""
        return figures(model, *_encoded(model, texts, run, options))

    @staticmethod
    def probe(model, texts, run, options) -> Probe:
        """Texts."""
        sequences, targets = _encoded(model, texts, run, options)
        chosen = options.examples_of(len(sequences))

        def said(ids, mask, examples, places):
            return model(ids, mask), targets[chosen][examples]

        return Texts(model, model.embedding, model.vocabulary, [sequences[i] for i in chosen], said)

    @staticmethod
    def remarks(figures):
        """The confusion matrix."""
        labels = figures["labels"]
        width = max(6, *map(len, labels))
        yield f"confusion        rows: true, columns: predicted, {' '.join(labels)}"
        for label, row in zip(labels, figures["confusion"], strict=True):
            yield f"{label:>{width}} " + " ".join(f"{n:6}" for n in row)
        yield from _no_better(labels, np.sum(figures["confusion"], axis=1), figures["accuracy"])

    def conclude(self, run):
        """Whether the best model beats saying the most frequent label."""
        best = min(run.read_log(), key=lambda record: record["val_loss"], default=None)
        counts = np.bincount(self.val_targets, minlength=len(self.model.labels))
        if best is None or not isinstance(best.get("accuracy"), float):
            return []
        return list(_no_better(self.model.labels, counts, best["accuracy"]))

    @staticmethod
    def predict(model, inputs, run, options):
        """The most probable label of each text or line, with the probabilities of all."""
        lines = read_lines(inputs, options.encoding or "utf-8")
        for table in (given for given in inputs if Path(given).suffix.lower() in TABLES):
            raise InputError(f"{table} is a table: give its texts alone, one a line; evaluate reads tables")
        tell_missing(model.vocabulary, lines)
        for text, row in zip(lines, model.predict(lines) if lines else (), strict=True):
            probabilities = {name: round(float(p), 6) for name, p in zip(model.labels, row, strict=True)}
            yield {"text": text, "label": model.labels[int(row.argmax())], "probabilities": probabilities}

    @staticmethod
    def shown(prediction):
        """Label, the five highest probabilities, text or name."""
        shown = sorted(prediction["probabilities"].items(), key=lambda pair: -pair[1])[:5]
        return "\t".join(
            [
                prediction["label"],
                " ".join(f"{name}={p:.3f}" for name, p in shown),
                prediction.get("text", prediction.get("sequence")),
            ]
        )


def _encoded(model, texts, run, options):
    """Ids and labels of the files ``texts``, or of the validation part of the data of ``run``."""
    trained, files = Classification.trained(run, options, texts)
    reading = {k: getattr(trained, k) for k in ("text_column", "label_column", "encoding")}
    if texts or trained.val:
        data = read_examples(texts or [trained.val], **reading)
    else:
        whole = read_examples(files, **reading)
        RunFolder(run).refuse_changed(_fingerprint(whole), "examples of this run have")
        data = _split(*whole, trained.val_fraction, trained.seed, files)[1]
    if strange := set(data[1]) - set(model.labels):
        has = f"{few(files)} has the label {shown(min(strange))}"
        raise InputError(f"{has}, which the model does not know: remove its rows")
    targets = np.array([model.labels.index(label) for label in data[1]])
    return [model.encode(text) for text in data[0]], targets


def figures(model, sequences, targets, batch_size=64) -> dict:
    """``accuracy macro_f1 loss confusion labels`` of a model; confusion ``[true][predicted]``, counts."""
    count, total = len(model.labels), 0.0
    confusion = np.zeros((count, count), np.int64)
    with model.evaluating():
        for batch in in_order(sequences, batch_size):
            logits = model(*model.padded([sequences[i] for i in batch]))
            total += cross_entropy(logits, targets[batch], reduction="sum").item()
            np.add.at(confusion, (targets[batch], logits.numpy().argmax(axis=-1)), 1)
    hits, true, said = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    f1 = 2 * hits / np.maximum(true + said, 1)
    return {
        "accuracy": float(hits.sum() / confusion.sum()),
        "macro_f1": float(f1[true + said > 0].mean()),
        "loss": total / math.fsum(true),
        "confusion": confusion.tolist(),
        "labels": model.labels,
    }


def _no_better(labels, counts, accuracy):
    """A line if ``accuracy`` is no more than that of always saying the label that has the highest of
    ``counts``.
    """
    share = counts.max() / counts.sum()
    if accuracy <= share:
        always = f"always saying {labels[int(counts.argmax())]!r} has an accuracy of {share:.4f}"
        yield f"this model does not beat the most frequent label: {always}; train longer or on more examples"


def _fingerprint(data):
    texts, labels = data
    return f"classify-{len(set(labels))}-{len(texts)}-{digest(data)}"


def _split(texts, labels, fraction, seed, names):
    """Training and validation examples; of each label the same part, chosen by the seed."""
    held = of_each_label(labels, fraction, seed, names)
    parts = [[i for i in range(len(texts)) if (i in held) == kept] for kept in (False, True)]
    return [([texts[i] for i in part], [labels[i] for i in part]) for part in parts]


def of_each_label(labels, fraction, seed, names) -> set[int]:
    """Which examples validate: of each label the same part, one at least, chosen by the seed.

    Raises:
        InputError: a label has one example only.
    """
    random, held = np.random.default_rng(seed), set[int]()
    for label in sorted(set(labels)):
        where_it_is = [i for i, y in enumerate(labels) if y == label]
        if len(where_it_is) < 2:
            said = f"the label {shown(label)} has one example only: give it more, or remove it"
            raise InputError(f"{few(names)}: {said}")
        n = max(1, round(fraction * len(where_it_is)))
        held.update(random.permutation(where_it_is)[:n].tolist())
    return held
