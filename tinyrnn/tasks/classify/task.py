"""Classification of texts: sentiment and other labels."""

import math
from types import MappingProxyType

import numpy as np

from ...autograd.functional import softmax
from ...base.errors import InputError
from ...kernels.generator import Generator
from ...nn import RNN, Dropout, Embedding, Linear, Module
from ...nn import registry as plugins
from ...nn.functional import cross_entropy
from ...nn.pooling import pooled
from ...training.runs import Run
from ...training.task import Task
from ..batches import Batches, in_order, padded
from ..text.sources import digest, read_lines
from ..text.vocabulary import build_vocabulary, encode_text, from_json
from .reader import read_examples


class Classifier(Module):
    """Embedding, recurrent layers, pooling over time, and a softmax over the labels.

    Args:
        vocabulary, labels: what texts and labels are made of.
        pooling: see `pooled`.
        max_length: tokens of a text that are read.
        settings: of `RNN`; dropout also falls on the embedding and before the output.
    """

    def __init__(
        self, vocabulary, labels, *, hidden, embed, layers=1, pooling="mean", max_length=400, dropout=0.0, dtype="float32",
        seed=0, **settings,
    ):  # fmt: skip
        self.vocabulary, self.labels, self.pooling, self.max_length = (
            vocabulary,
            list(labels),
            pooling,
            max_length,
        )
        sizes = dict(hidden=hidden, embed=embed, layers=layers, pooling=pooling, max_length=max_length)
        self.settings = {**sizes, "dropout": dropout, "dtype": dtype, **settings}
        self.generator = Generator(seed)
        shared = {"dtype": dtype, "generator": self.generator}
        variational = settings.get("variational", False)
        self.embedding = Embedding(len(vocabulary), embed, **shared)
        self.rnn = RNN(
            settings.pop("cell"), embed, hidden, num_layers=layers, dropout=dropout, **settings, **shared
        )
        self.dropout = Dropout(dropout, variational=variational, generator=self.generator)
        self.score = Linear(self.rnn.output_size, 1, **shared) if pooling == "attention" else None
        self.output = Linear(self.rnn.output_size, len(self.labels), **shared)
        self.output_dropout = Dropout(dropout, generator=self.generator)

    def forward(self, ids, mask):
        """Ids and mask ``[T, B]`` to logits ``[B, labels]``."""
        ys, final = self.rnn(self.dropout(self.embedding(ids)), mask=mask)
        return self.output(self.output_dropout(pooled(self.pooling, self.rnn, ys, final, mask, self.score)))

    def encode(self, text):
        """Ids of a text, one at least; for words its first word looks like any other."""
        return encode_text(self.vocabulary, text, self.max_length)

    def predict(self, texts, batch_size=64) -> np.ndarray:
        """Probabilities ``[texts, labels]``."""
        sequences = [self.encode(text) for text in texts]
        found = np.zeros((len(sequences), len(self.labels)), np.float32)
        with self.evaluating():
            for batch in in_order(sequences, batch_size):
                found[batch] = softmax(self(*padded([sequences[i] for i in batch])), axis=-1).numpy()
        return found

    def describe(self) -> dict:
        """Everything that ``Classification.rebuild`` needs besides the weights."""
        return {
            "task": Classification.name,
            "model": self.settings,
            "labels": self.labels,
            "package": plugins.package_of(self.settings["cell"]),
            "vocabulary": self.vocabulary.to_json(),
        }


class Classification(Task):
    """The task ``classify``."""

    name = "classify"
    # What `tinyrnn train --task classify` takes in place of the defaults for language models.
    defaults = MappingProxyType(
        dict(level="word", hidden=128, layers=1, embed=128, dropout=0.5, lr=2e-3, epochs=4.0, eval_every=100)
    )

    def __init__(self, model, train, val, *, batch_size, seed, class_weights=None, fingerprint=""):
        self.model, self.fingerprint = model, fingerprint
        index = {label: i for i, label in enumerate(model.labels)}
        (self.train, self.targets), (self.val, self.val_targets) = [
            ([model.encode(text) for text in texts], np.array([index[label] for label in labels]))
            for texts, labels in (train, val)
        ]
        self.batches = Batches(self.train, batch_size, seed)
        self.tokens_per_step = batch_size * np.mean([len(s) for s in self.train])
        self.weights = None
        if (
            class_weights == "balanced"
        ):  # as in scikit-learn: inverse to a label's frequency, 1 on average over examples
            counts = np.bincount(self.targets, minlength=len(index))
            self.weights = (len(self.targets) / (len(index) * np.maximum(counts, 1))).astype(
                model.settings["dtype"]
            )

    @classmethod
    def build(cls, options, texts):
        """The task that the options of ``tinyrnn train`` describe, on the files ``texts``.

        Raises:
            InputError: data that cannot be used, too few examples of a label, an unknown cell or option.
        """
        cell_options = plugins.read_options(options["cell"], options["cell_opt"])
        reading = dict(
            text_column=options["text_column"],
            label_column=options["label_column"],
            encoding=options["encoding"],
        )
        data = read_examples(texts, **reading)
        labels = sorted(set(data[1]))
        if options["val"]:
            train, val = data, read_examples([options["val"]], **reading)
            if strange := set(val[1]) - set(labels):
                raise InputError(
                    f"{options['val']} has the label {strange.pop()!r}, which the training data lacks: remove its rows"
                )
        else:
            train, val = _split(*data, options["val_fraction"], options["seed"])
        vocabulary = build_vocabulary(train[0], options["level"], options["vocab_size"])
        names = "cell hidden layers embed dropout recurrent_dropout weight_drop zoneout variational bidirectional pooling"
        settings = {k: options[k] for k in (*names.split(), "max_length", "dtype", "seed")}
        model = Classifier(vocabulary, labels, cell_options=cell_options, **settings)
        shape = {k: options[k] for k in ("batch_size", "seed", "class_weights")}
        return cls(model, train, val, fingerprint=_fingerprint(data), **shape)

    @staticmethod
    def rebuild(meta) -> Classifier:
        """The model that a checkpoint's metadata describes, with fresh weights."""
        return Classifier(from_json(meta["vocabulary"]), meta["labels"], **meta["model"])

    def introduction(self) -> str:
        """What is learned from."""
        counts = np.bincount(self.targets, minlength=len(self.model.labels))
        shown = ", ".join(
            f"{label} {n:,}" for label, n in zip(self.model.labels[:6], counts[:6], strict=True)
        )
        more = f" and {len(counts) - 6} more" if len(counts) > 6 else ""
        return (
            f"{len(self.train):,} examples, {len(self.val):,} for validation; vocabulary {len(self.model.vocabulary):,} "
            f"({self.model.vocabulary.level}); labels: {shown}{more}"
        )

    @property
    def shape(self) -> str:
        """Of a step, in words."""
        return f"batches of {self.batches.batch_size}"

    @property
    def steps_per_epoch(self) -> int:
        return self.batches.per_epoch

    def loss(self, step: int):
        """The training loss of batch ``step``, a Tensor."""
        batch = self.batches[step]
        logits = self.model(*padded([self.train[i] for i in batch]))
        return cross_entropy(logits, self.targets[batch], self.weights)

    def evaluate(self, stop=lambda: False) -> dict | None:
        """Validation figures, or None if ``stop()`` became true."""
        if stop():
            return None
        found = figures(self.model, self.val, self.val_targets)
        return {"val_loss": found["loss"], "accuracy": found["accuracy"], "macro_f1": found["macro_f1"]}

    @staticmethod
    def evaluate_run(model, texts, run, options) -> dict:
        """`figures` on the files ``texts``, or on the validation part of the data of ``run``."""
        stored = Run(run).config["options"]
        reading = {k: options.get(k) or stored[k] for k in ("text_column", "label_column", "encoding")}
        if texts or stored["val"]:
            data = read_examples(texts or [stored["val"]], **reading)
        else:
            whole = read_examples(stored["texts"], **reading)
            Run(run).refuse_changed(_fingerprint(whole), "examples of this run have")
            data = _split(*whole, stored["val_fraction"], stored["seed"])[1]
        if strange := set(data[1]) - set(model.labels):
            raise InputError(
                f"the data has the label {strange.pop()!r}, which the model does not know: remove its rows"
            )
        targets = np.array([model.labels.index(label) for label in data[1]])
        return figures(model, [model.encode(text) for text in data[0]], targets)

    @staticmethod
    def remarks(figures):
        """The confusion matrix."""
        labels = figures["labels"]
        width = max(6, *map(len, labels))
        yield f"confusion        rows: true, columns: predicted, {' '.join(labels)}"
        for label, row in zip(labels, figures["confusion"], strict=True):
            yield f"{label:>{width}} " + " ".join(f"{n:6}" for n in row)

    @staticmethod
    def predict(model, inputs, run, options):
        """The most probable label of each text or line, with the probabilities of all."""
        lines = read_lines(inputs, options["encoding"] or "utf-8")
        for text, row in zip(lines, model.predict(lines) if lines else (), strict=True):
            probabilities = {name: round(float(p), 6) for name, p in zip(model.labels, row, strict=True)}
            yield {"text": text, "label": model.labels[int(row.argmax())], "probabilities": probabilities}

    @staticmethod
    def shown(prediction):
        """Label, the five highest probabilities, text."""
        shown = sorted(prediction["probabilities"].items(), key=lambda pair: -pair[1])[:5]
        return "\t".join(
            [prediction["label"], " ".join(f"{name}={p:.3f}" for name, p in shown), prediction["text"]]
        )


def figures(model, sequences, targets, batch_size=64) -> dict:
    """``accuracy macro_f1 loss confusion labels`` of a model; confusion ``[true][predicted]``, counts."""
    count, total = len(model.labels), 0.0
    confusion = np.zeros((count, count), np.int64)
    with model.evaluating():
        for batch in in_order(sequences, batch_size):
            logits = model(*padded([sequences[i] for i in batch]))
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


def _fingerprint(data):
    texts, labels = data
    return f"classify-{len(set(labels))}-{len(texts)}-{digest(data)}"


def _split(texts, labels, fraction, seed):
    """Training and validation examples; of each label the same part, chosen by the seed."""
    random, held = np.random.default_rng(seed), set()
    for label in sorted(set(labels)):
        where_it_is = [i for i, y in enumerate(labels) if y == label]
        if len(where_it_is) < 2:
            raise InputError(f"the label {label!r} has one example only: give it more, or remove it")
        n = max(1, round(fraction * len(where_it_is)))
        held.update(random.permutation(where_it_is)[:n].tolist())
    parts = [[i for i in range(len(texts)) if (i in held) == kept] for kept in (False, True)]
    return [([texts[i] for i in part], [labels[i] for i in part]) for part in parts]
