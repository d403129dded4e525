"""Classification of texts: sentiment and other labels."""

import shlex
from types import MappingProxyType

import numpy as np

from ...autograd import sigmoid, stack, tensor
from ...autograd.functional import zeros_like
from ...autograd.pointwise import constant
from ...base.errors import InputError, few, shown
from ...nn.functional import binary_cross_entropy_with_logits, cross_entropy
from ...training.disturbances import hardened_text
from ...training.plan import Plan
from ...training.robustness import Probe
from ...training.runs import RunFolder, judged, refuse_other
from ...training.screen import hushed
from ...training.task import Task
from ..batches import Batches
from ..tables.files import frame_lines, texts_of_inputs
from ..text.memory import pair_lines
from ..text.robustness import Texts
from ..text.sources import digest
from ..text.vocabulary import (
    build_vocabulary,
    encode_texts,
    from_json,
    names,
    tell_cut,
    tell_missing,
    tell_unread,
)
from . import baseline, scores
from .model import Classifier
from .options import ClassifyOptions, LabelEvaluationOptions, LabelPredictionOptions, LabelRobustnessOptions
from .reader import PREFIX, read_examples, split_labels, text_table

MORE = "train on more examples"  # where nothing says that to train longer would help


class Classification(Task):
    """Labels of texts: sentiment, language, topic.

    Data: tables (.csv, .tsv, .jsonl, .parquet, .xlsx) with columns text and label (or --text-column,
    --label-column); lines of fastText (__label__pos a text); a folder of text files whose names are the
    labels of their lines, or of folders whose names are the labels of their files. From Python also pairs
    (text, label). Texts with several labels: --multi-label , or several columns of 0 and 1.
    """

    name = "classify"
    options = ClassifyOptions
    plan = Plan(lr=2e-3, epochs=4.0, min_steps=600, eval_every=100)
    evaluation = LabelEvaluationOptions
    prediction = LabelPredictionOptions
    robustness = LabelRobustnessOptions
    loss_name = "loss (nats an example)"
    default_inputs = ("-",)
    next_input = "'a text'"
    in_memory = "pairs (text, label) or (text, [labels]), or a frame with columns of texts and labels"
    drawn = MappingProxyType({"accuracy": "accuracy", "micro_f1": "micro F1", "macro_f1": "macro F1"})
    starts = MappingProxyType({"lm": ("embedding.", "rnn.")})
    loss_of = staticmethod(cross_entropy)

    def __init__(
        self,
        model,
        train,
        val,
        *,
        batch_size,
        seed,
        class_weights=None,
        fingerprint="",
        with_baseline=None,
        **hardening,
    ):
        self.model, self.fingerprint, self.hardening = model, fingerprint, hardening
        self.texts, self.with_baseline = (train[0], val[0]), with_baseline
        self.targets, self.val_targets = (_targets(model, labels) for _, labels in (train, val))
        self.train, self.val = self.encoded(*self.texts)
        self.batches = Batches(self.train, batch_size, seed)
        self.steps_per_epoch, self.shape = self.batches.per_epoch, f"batches of {batch_size}"
        self.tokens_per_step = batch_size * np.mean([len(s) for s in self.train])
        self.weights = None
        if class_weights == "balanced":
            total, counts = len(self.targets), np.maximum(_counts(model, self.targets), 1)
            # as in scikit-learn: inverse to a label's frequency, 1 on average over examples; of several
            # labels those that a text has, by how many texts lack each
            weights = total / (len(counts) * counts) if self.single else (total - counts) / counts
            self.weights = weights.astype(model.dtype)

    def encoded(self, *parts):
        """What the model reads of each part of the examples."""
        found = [encode_texts(self.model.vocabulary, texts, self.model.max_length) for texts in parts]
        tell_cut(self.model.max_length, texts=(sum(cut for _, cut in found), sum(map(len, parts))))
        return [sequences for sequences, _ in found]

    @property
    def single(self) -> bool:
        """Whether each text has one label."""
        return self.model.thresholds is None

    @classmethod
    def build(cls, options, texts, origin=None):
        """The task that the options of ``tinyrnn train`` describe, on the files ``texts``.

        Raises:
            InputError: data that cannot be used, too few examples of a label, an unknown cell or option.
        """
        settings = options.settings()
        data, train, val = _parts(options, texts)
        several = isinstance(data[1][0], tuple)
        kept = [] if origin is None else getattr(origin, "labels", [])
        found = {label for each in data[1] for label in (each if several else [each])}
        labels = [*kept, *sorted(found.difference(kept))]
        known = None if origin is None else origin.vocabulary
        vocabulary = build_vocabulary(train[0], options.level, options.vocab_size, known)
        if known is None:
            vocabulary.in_any_case(options.level == "word")
        own = {k: getattr(options, k) for k in ("embed", "pooling", "max_length", "bidirectional", "seed")}
        model = Classifier(vocabulary, labels, [0.5] * len(labels) if several else None, **own, **settings)
        if options.val:
            val = val[0], _known(model, val[1], [options.val], "the training data lacks")
        names = ("batch_size", "seed", "class_weights", "noise", "adversarial")
        shape = {k: getattr(options, k) for k in names} | {"with_baseline": options.baseline}
        return cls(model, train, val, fingerprint=_fingerprint(data), **shape)

    @classmethod
    def store(cls, data):
        """Pairs (text, label) or (text, list of labels), or a pandas frame, whose columns are chosen as those
        of a file.
        """
        lines = frame_lines(data) or pair_lines(data, "text", "label", several=True)
        return super().store(data) if lines is None else ("jsonl", lines)

    @staticmethod
    def rebuild(meta) -> Classifier:
        """The model that a checkpoint's metadata describes, with fresh weights."""
        labels, thresholds = names(meta.get("labels"), "labels"), meta.get("thresholds")
        if thresholds is not None:
            known = isinstance(thresholds, list) and all(isinstance(t, int | float) for t in thresholds)
            if not known or len(thresholds) != len(labels) or not all(0 <= t <= 1 for t in thresholds):
                raise ValueError(f"its thresholds are {shown(thresholds)}: no probability for each label")
        facts = from_json(meta.get("vocabulary")), labels, thresholds
        return Classifier.restored(ClassifyOptions, meta["model"], *facts)

    def introduction(self) -> str:
        """What is learned from."""
        counts = _counts(self.model, self.targets)
        shown = ", ".join(
            f"{label} {n:,}" for label, n in zip(self.model.labels[:6], counts[:6], strict=True)
        )
        several = "" if self.single else f"; {counts.sum() / len(self.targets):.2f} labels a text"
        more = f" and {len(counts) - 6} more" if len(counts) > 6 else ""
        return (
            f"{len(self.train):,} examples, {len(self.val):,} for validation; vocabulary "
            f"{len(self.model.vocabulary):,} "
            f"({self.model.vocabulary.level}); labels: {shown}{more}{several}"
        )

    def loss(self, step: int):
        """The training loss of batch ``step``, a Tensor."""
        batch = self.batches[step]
        read, mask = self.model.padded(self.examples(step, batch))

        def cost(read):
            logits = self.model(read, mask)
            weights = None if self.weights is None else constant(self.weights, logits)
            if self.single:
                return cross_entropy(logits, self.targets[batch], weights)
            return _loss_of_several(logits, self.targets[batch], pos_weight=weights) / len(batch)

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
        logits = self.model.logits(self.val)
        if not self.single:  # they are kept with the weights
            self.model.thresholds = scores.best_thresholds(sigmoid(tensor(logits)).numpy(), self.val_targets)
        found = _figures(self.model, logits, self.val_targets)
        return {"val_loss": found["loss"], **{k: found[k] for k in self.drawn if k in found}}

    def state_arrays(self):
        """The thresholds, if there are any."""
        return {} if self.single else {"thresholds": self.model.thresholds}

    def load_state_arrays(self, arrays):
        """Continue from what ``state_arrays`` returned; ValueError if it is of another model. Nothing is a
        beginning.
        """
        if arrays:
            refuse_other(self.state_arrays(), arrays, "state")
            self.model.thresholds = np.array(arrays["thresholds"], np.float64)

    @staticmethod
    def evaluate_run(model, texts, run, options) -> dict:
        """`figures` on the files ``texts``, or on the validation part of the data of ``run``."""
        raw, targets = _data(model, texts, run, options)
        found = figures(model, _encoded(model, raw), targets)
        if options.baseline:
            _, (learned, labels), _ = _parts(*Classification.trained(run, options))
            train = learned, _targets(model, labels)
            found["baseline"] = baseline.baseline(train, (raw, targets), model.vocabulary.level)
        return found

    @staticmethod
    def probe(model, texts, run, options) -> Probe:
        """Texts; of several labels each is right or wrong."""
        raw, targets = _data(model, texts, run, options)
        sequences, chosen = _encoded(model, raw), options.examples_of(len(raw))

        def said(ids, mask, examples, places):
            logits = model(ids, mask)
            if targets.ndim > 1:
                logits = stack([zeros_like(logits), logits], axis=-1)
            return logits, targets[chosen][examples]

        return Texts(model, model.embedding, model.vocabulary, [sequences[i] for i in chosen], said)

    @staticmethod
    def remarks(figures):
        """The confusion matrix, or of several labels how often each is true, said, and both."""
        labels = figures["labels"]
        width = max(6, *map(len, labels))
        if "confusion" in figures:
            yield f"confusion        rows: true, columns: predicted, {' '.join(labels)}"
            for label, row in zip(labels, figures["confusion"], strict=True):
                yield f"{label:>{width}} " + " ".join(f"{n:6}" for n in row)
            yield from _no_better(labels, np.sum(figures["confusion"], axis=1), figures["accuracy"])
        else:
            yield f"{'':{width}}   true   said  right  from probability"
            for label, row, least in zip(labels, figures["counts"], figures["thresholds"], strict=True):
                yield f"{label:>{width}} " + " ".join(f"{n:6}" for n in row) + f"  {least:.3f}"
        if "baseline" in figures:
            yield from _beside(figures, figures["baseline"])

    def conclude(self, run):
        """Whether the best model beats saying the most frequent label, and a simple classifier."""
        log = run.read_log()
        best = min(judged(log), key=lambda record: record["val_loss"], default=None)
        if best is None or not isinstance(best.get("macro_f1"), float):
            return []
        said, more = [], MORE
        if best is log[-1] and best["step"]:  # it was still learning
            epochs = -(-3 * best["step"] // self.steps_per_epoch)
            more = f"train longer: tinyrnn train --resume {shlex.quote(str(run.path))} --epochs {epochs}"
        if self.single:
            counts = _counts(self.model, self.val_targets)
            said += _no_better(self.model.labels, counts, best["accuracy"], more)
        wanted, texts = self.with_baseline, self.texts
        if wanted is None and best["step"]:  # an untrained model has nothing to be compared with
            wanted = baseline.is_quick(texts[0] + texts[1], self.model.labels)
        if wanted:
            train, val = (texts[0], self.targets), (texts[1], self.val_targets)
            said += _beside(best, baseline.baseline(train, val, self.model.vocabulary.level), more)
        return said

    @staticmethod
    def predict(model, inputs, run, options):
        """The most probable label of each text, line or row of a table, with the probabilities of all; or all
        labels that reach their thresholds.
        """

        def table_of(path):
            trained, _ = Classification.trained(run, options, [path])
            column = trained.text_column
            return text_table(path, column, trained.encoding, trained), column

        read = texts_of_inputs(inputs, table_of, options.encoding or "utf-8", options.id_column)
        lines, places, rows = read
        texts = [split_labels(line)[1] if line.startswith(PREFIX) else line for line in lines]
        tell_missing(model.vocabulary, texts)
        unread = tell_unread(model.vocabulary, texts, places, "what is said of them means nothing")
        probabilities = model.predict(texts) if texts else np.zeros((0, len(model.labels)))
        tell_cut(
            model.max_length, texts=(encode_texts(model.vocabulary, texts, model.max_length)[1], len(texts))
        )
        for where, text, nothing, labels, found in zip(
            rows, texts, unread, model.said(probabilities), probabilities, strict=True
        ):
            named = {name: round(float(p), 6) for name, p in zip(model.labels, found, strict=True)}
            said = {"label": labels[0]} if model.thresholds is None else {"labels": labels}
            yield {**where, "text": text, **said, **nothing, "probabilities": named}

    @classmethod
    def cells(cls, prediction):
        """Labels with commas between."""
        joined = {"labels": ",".join(prediction["labels"])} if "labels" in prediction else {}
        return super().cells(prediction | joined)

    @staticmethod
    def shown(prediction):
        """Label, the five highest probabilities, text or name."""
        labels = ",".join(prediction["labels"]) if "labels" in prediction else prediction["label"]
        shown = sorted(prediction["probabilities"].items(), key=lambda pair: -pair[1])[:5]
        return "\t".join(
            [
                labels,
                " ".join(f"{name}={p:.3f}" for name, p in shown),
                prediction.get("text", prediction.get("sequence")),
            ]
        )


def _read(options, texts):
    """`read_examples` by the options of training."""
    names = ("text_column", "label_column", "multi_label", "encoding")
    return read_examples(texts, **{k: getattr(options, k) for k in names}, how=options)


def _parts(options, texts):
    """All examples of the files ``texts``, those to learn from, and those to validate on."""
    data = _read(options, texts)
    if options.val:
        return data, data, _read(options, [options.val])
    return data, *_split(*data, options.val_fraction, options.seed, texts)


def _known(model, labels, files, lack="the model does not know"):
    """``labels``, if the model knows them, in its form."""
    if model.thresholds is not None:
        labels = [label if isinstance(label, tuple) else (label,) for label in labels]
    elif any(isinstance(label, tuple) for label in labels):
        raise InputError(
            f"{few(files)} has texts of several labels, in training each had one: give such data"
        )
    found = {label for each in labels for label in (each if model.thresholds is not None else [each])}
    if strange := found - set(model.labels):
        raise InputError(f"{few(files)} has the label {shown(min(strange))}, which {lack}: remove its rows")
    return labels


def _targets(model, labels):
    """Labels by number ``[N]``; where texts have several, 0 and 1 ``[N, labels]``."""
    index = {label: i for i, label in enumerate(model.labels)}
    if model.thresholds is None:
        return np.array([index[label] for label in labels])
    found = np.zeros((len(labels), len(index)), np.int64)
    for row, each in zip(found, labels, strict=True):
        row[[index[label] for label in each]] = 1
    return found


def _counts(model, targets):
    """How often each label is true."""
    return targets.sum(axis=0) if targets.ndim > 1 else np.bincount(targets, minlength=len(model.labels))


def _data(model, texts, run, options):
    """Texts and what is true of them: of the files ``texts``, or of the validation part of the data of
    ``run``.
    """
    trained, files = Classification.trained(run, options, texts)
    if texts or trained.val:
        data = _read(trained, texts or [trained.val])
    else:
        with hushed():  # training said it
            whole, _, data = _parts(trained, files)
        RunFolder(run).refuse_changed(_fingerprint(whole), "examples of this run have")
    return data[0], _targets(model, _known(model, data[1], files))


def _encoded(model, texts):
    """Ids of each text."""
    sequences, cut = encode_texts(model.vocabulary, texts, model.max_length)
    tell_cut(model.max_length, texts=(cut, len(texts)))
    return sequences


def figures(model, sequences, targets, batch_size=64) -> dict:
    """`scores` of a model, with ``loss``, nats an example, and ``labels``."""
    return _figures(model, model.logits(sequences, batch_size), targets)


def _figures(model, logits, targets) -> dict:
    if model.thresholds is None:
        loss = cross_entropy(logits, targets).item()
        found = scores.of_one(targets, logits.argmax(axis=-1), len(model.labels))
        last = {"confusion": found.pop("confusion"), "labels": model.labels}
    else:
        loss = _loss_of_several(tensor(logits), targets).item() / len(targets)
        found = scores.of_several(targets, sigmoid(tensor(logits)).numpy() >= model.thresholds)
        last = {
            "counts": found.pop("counts"),
            "labels": model.labels,
            "thresholds": model.thresholds.tolist(),
        }
    return {**found, "loss": loss, **last}


def _loss_of_several(logits, targets, **weights):
    """The summed loss of labels that are true or not, each by itself."""
    true = constant(targets.astype(logits.dtype), logits)
    return binary_cross_entropy_with_logits(logits, true, reduction="sum", **weights)


def _no_better(labels, counts, accuracy, more=MORE):
    """A line if ``accuracy`` is no more than that of always saying the label that has the highest of
    ``counts``.
    """
    share = counts.max() / counts.sum()
    if accuracy <= share:
        always = f"always saying {labels[int(counts.argmax())]!r} has an accuracy of {share:.4f}"
        yield f"this model does not beat the most frequent label: {always}; {more}"


def _beside(found, simple, more=MORE):
    """The figures of the simple classifier, and a line if those of the model, ``found``, are no better."""
    names = [name for name in ("accuracy", "exact", "micro_f1", "macro_f1") if name in simple]
    words = ", ".join(f"{name.replace('_', ' ').replace('f1', 'F1')} {simple[name]:.4f}" for name in names)
    yield f"{baseline.NAME}, on the same examples: {words}"
    decisive = "accuracy" if "accuracy" in simple else "micro_f1"
    if found[decisive] < simple[decisive]:
        yield f"this model does not beat that: use it in its place, or {more}"


def _fingerprint(data):
    texts, labels = data
    return f"classify-{len(set(labels))}-{len(texts)}-{digest(data)}"


def _split(texts, labels, fraction, seed, names):
    """Training and validation examples; of each label the same part, chosen by the seed; where texts have
    several, of all.
    """
    several = isinstance(labels[0], tuple)
    held = of_each_label([None] * len(labels) if several else labels, fraction, seed, names)
    parts = [[i for i in range(len(texts)) if (i in held) == kept] for kept in (False, True)]
    return [([texts[i] for i in part], [labels[i] for i in part]) for part in parts]


def of_each_label(labels, fraction, seed, names) -> set[int]:
    """Which examples validate: of each label the same part, one at least, chosen by the seed.

    Raises:
        InputError: a label has one example only.
    """
    random, held = np.random.default_rng(seed), set[int]()
    for label in sorted(set(labels), key=str):
        where_it_is = [i for i, y in enumerate(labels) if y == label]
        if len(where_it_is) < 2:
            said = f"the label {shown(label)} has one example only: give it more, or remove it"
            raise InputError(f"{few(names)}: {said}")
        n = max(1, round(fraction * len(where_it_is)))
        held.update(random.permutation(where_it_is)[:n].tolist())
    return held
