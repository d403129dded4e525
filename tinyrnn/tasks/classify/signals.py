"""Classification of sequences of numbers: sound, sensors, gestures."""

import hashlib
import io
from pathlib import Path
from typing import ClassVar

import numpy as np

from ...autograd import Tensor, softmax, tensor
from ...base.compressed import inner_name
from ...base.errors import InputError, few, shown
from ...compiler.graph import Graph
from ...training.disturbances import hardened_numbers
from ...training.plan import Plan
from ...training.robustness import Numbers
from ...training.runs import RunFolder
from ...training.screen import hushed, note
from ..batches import padded
from ..signals import sound
from ..signals.features import Features, varied
from ..signals.reader import Signals, read_signals
from ..tables.files import is_table
from ..text.vocabulary import names
from .model import Classifier
from .options import OF_SOUNDS, OF_TABLES, OF_TEXTS, NumbersOptions, SoundOptions
from .task import Classification, figures, of_each_label


class SignalClassifier(Classifier):
    """Recurrent layers over scaled numbers or log-mel energies, pooling over time, and a softmax over labels.

    Args:
        features: what is read of a sequence, a `Features`.
        labels, pooling, settings: as of `Classifier`; dropout falls between layers and before the output.
    """

    def __init__(self, features, labels, *, pooling="mean", bidirectional=False, seed=0, **settings):
        super(Classifier, self).__init__(seed, settings, pooling=pooling, bidirectional=bidirectional)
        self.features = features
        self._read(features.width, labels)

    def forward(self, xs, mask):
        """Numbers and mask ``[T, B, width]``, ``[T, B]`` to logits ``[B, labels]``."""
        return self._said(xs if isinstance(xs, Tensor) else tensor(xs, device=self.device), mask)

    def graphs(self, *, over_time=True) -> dict:
        """``classify``: ``features [T, B, width]``, as `Features` makes them, to ``probabilities``."""
        graph = Graph.of(self)
        return self._written(graph, graph.rows("features", self.features.width, over_time=True))

    def encode(self, sequence):
        """`Features` of a sequence ``[N, channels]``, of sound ``[N]`` as `read_signals` gives it."""
        return self.features(sequence)

    def padded(self, sequences):
        """Encoded sequences and their mask, ``[T, B, width]`` and ``[T, B]``."""
        return padded(sequences, (self.features.width,), self.dtype)

    def predict(self, sequences, batch_size=64) -> np.ndarray:
        """Probabilities ``[sequences, labels]`` of ``[N, T, channels]``, or a list of ``[T_i, channels]``; of
        sound, a list of samples ``[T_i]`` at the rate ``features.rate``.
        """
        if (read := arrays_of(sequences)) is None:
            raise InputError(f"the sequences are {shown(sequences)}: give a list of arrays of numbers")
        read = [s if self.features.rate else s.reshape(len(s), -1) for s in read]
        wanted, shape = len(self.features.channels), "[T]" if self.features.rate else "[T, channels]"
        for i, s in enumerate(read):
            if (
                s.ndim != (1 if self.features.rate else 2)
                or not s.size
                or (s.ndim == 2 and s.shape[1] != wanted)
            ):
                raise InputError(f"sequence {i} has shape {list(s.shape)}: give {shape} of {wanted} channels")
        read = [sound.levelled(s) if self.features.rate else s.astype(np.float32) for s in read]
        return self.probabilities([self.encode(s) for s in read], batch_size)

    def probabilities(self, encoded, batch_size=64) -> np.ndarray:
        """Those of sequences that are encoded."""
        return softmax(tensor(self.logits(encoded, batch_size)), axis=-1).numpy()

    def inherited(self) -> dict:
        """Also how sequences become what is read."""
        read = {name: getattr(self.features, name) for name in ("bands", "joined", "deltas")}
        return {**super(Classifier, self).inherited(), **read}

    def rows(self) -> dict:
        """Those of labels."""
        return self.rows_of_labels()

    def facts(self) -> dict:
        """Labels and what is read."""
        kind = "sound" if self.features.rate else "numbers"
        return {"labels": self.labels, "inputs": kind, "features": self.features.stored()}


class NumbersClassification(Classification):
    """Labels of sequences of numbers: a long table, whose rows are steps (--id-column), or .npz."""

    inputs: ClassVar[str] = "numbers"  # what is classified
    options = NumbersOptions
    plan = Plan(lr=4e-3, steps=10_000, epochs=80.0, eval_every=100)
    unit = "steps"
    loss_name = "loss (nats a sequence)"
    next_input = "FILE.npz"
    varying: ClassVar[tuple[str, ...]] = ("speed", "shift")  # options that vary what is read
    idle: ClassVar[tuple[str, ...]] = (*OF_TEXTS, *OF_SOUNDS)  # options without effect

    def __init__(self, model, train, val, *, varying, seed, told=(), **rest):
        super().__init__(model, train, val, seed=seed, **rest)
        self.raw, self.seed, self.told = train[0], seed, list(told)
        self.varying_by = {name: strength for name, strength in varying.items() if strength}

    @classmethod
    def build(cls, options, texts, origin=None):
        """The task that the options of ``tinyrnn train`` describe, on the files ``texts``.

        Raises:
            InputError: data that cannot be used, too few sequences of a label, an unknown cell or option.
        """
        settings = options.settings()
        data, train, val, said = _parts(options, texts)
        if bool(data.rates[0]) != (cls.inputs == "sound"):
            raise InputError(f"{few(texts)}: these are no {cls.inputs}: leave --inputs out")
        kept = [] if origin is None else origin.labels
        labels = [*kept, *sorted(set(train[1]).difference(kept))]
        if len(labels) < 2:
            found = f"all {len(train[1]):,} sequences have the label {shown(labels[0])}"
            raise InputError(f"{few(texts)}: {found}: there is nothing to tell apart")
        rate = data.rates[0]
        features = Features(data.channels, rate, options.bands, options.joined, options.deltas)
        features = features.fitted(train[0])
        own = dict(pooling=options.pooling, bidirectional=options.bidirectional, seed=options.seed)
        model = SignalClassifier(features, labels, **own, **settings)
        rest = {"batch_size", "seed", "class_weights", "noise", "adversarial"} - {*cls.varying}
        made = cls(
            model, train, val, with_baseline=False,
            told=[*options.without_effect(cls.idle), *data.said, said],
            varying={k: getattr(options, k) for k in cls.varying}, fingerprint=_fingerprint(data),
            **{k: getattr(options, k) for k in sorted(rest)},
        )  # fmt: skip
        if texts and is_table(Path(texts[0])):
            made.next_input = f"FILE{Path(inner_name(Path(texts[0]))).suffix}"
        return made

    @staticmethod
    def rebuild(meta) -> SignalClassifier:
        """The model that a checkpoint's metadata describes, with fresh weights."""
        facts = Features.of(meta.get("features")), names(meta.get("labels"), "labels")
        return SignalClassifier.restored(NumbersOptions, meta["model"], *facts)

    def encoded(self, *parts):
        """What the model reads of each part of the sequences."""
        return [[self.model.encode(sequence) for sequence in part] for part in parts]

    def introduction(self) -> str:
        """What is learned from."""
        lengths = [len(s) for s in self.train + self.val]
        read = self.model.features
        seconds = _span([len(s) / read.rate for s in self.raw], ".2g") if read.rate else ""
        of_rate = f" of {read.rate:,} Hz, {seconds} s" if seconds else ""
        counts = [int(n) for n in np.bincount(self.targets, minlength=len(self.model.labels))]
        shown = few([f"{label} {n:,}" for label, n in zip(self.model.labels, counts, strict=True)], 10)
        return "; ".join(
            [
                f"{len(self.train):,} sequences{of_rate}, {len(self.val):,} for validation, {self.told[-1]}",
                *self.told[:-1],
                f"{read.words}: {_span(lengths)} steps of {read.width}",
                f"labels: {shown}",
            ]
        )

    def examples(self, step, batch):
        """The sequences of a batch, varied as the seed and the step say."""
        if not self.varying_by:
            return super().examples(step, batch)
        random = np.random.default_rng((self.seed, step))
        return [self.model.encode(varied(self.raw[i], random, **self.varying_by)) for i in batch]

    def hardened(self, cost, read):
        """The cost of numbers, made harder."""
        return hardened_numbers(cost, read, self.model, **self.hardening)

    @classmethod
    def evaluate_run(cls, model, texts, run, options) -> dict:
        """`figures` on the files ``texts``, or on the validation part of the data of ``run``."""
        return figures(model, *cls._encoded(model, texts, run, options))

    @classmethod
    def probe(cls, model, texts, run, options) -> Numbers:
        """What is read of the sequences."""
        encoded, targets = cls._encoded(model, texts, run, options)
        chosen = options.examples_of(len(encoded))
        values, mask = model.padded([encoded[i] for i in chosen])

        def said(values):
            with model.evaluating():
                logits = model(values, mask)
            return {
                "loss": cls.loss_of(logits, targets[chosen]).item(),
                "accuracy": float((logits.numpy().argmax(axis=-1) == targets[chosen]).mean()),
            }

        return Numbers(model, values, lambda values: cls.loss_of(model(values, mask), targets[chosen]), said)

    @classmethod
    def _encoded(cls, model, texts, run, options):
        """What is read, and labels, of files or of the validation part of the data of ``run``."""
        trained, files = cls.trained(run, options, texts)
        like = dict(channels=model.features.channels, rate=model.features.rate)
        if texts or trained.val:
            data = _told(read_signals(texts or [trained.val], trained, **like))
            found = data.values, data.of(trained.label_column, "--label-column")
        else:
            with hushed():  # training said it
                data, _, found, _ = _parts(trained, files, **like)
            RunFolder(run).refuse_changed(_fingerprint(data), "sequences of this run have")
        if strange := set(found[1]) - set(model.labels):
            has = f"{few(texts or files)} has the label {shown(min(strange))}"
            raise InputError(f"{has}, which the model does not know: remove its sequences")
        return [model.encode(s) for s in found[0]], np.array([model.labels.index(y) for y in found[1]])

    @classmethod
    def predict(cls, model, inputs, run, options):
        """The most probable label of each sequence, with the probabilities of all."""
        if list(inputs) == list(cls.default_inputs):
            raise InputError("there is nothing to predict from: name files of sequences after RUN")
        tables = any(is_table(Path(p)) for p in inputs)  # whose columns the run knows
        trained = cls.trained(run, options, inputs)[0] if tables else cls.options()
        like = dict(channels=model.features.channels, rate=model.features.rate)
        data = _told(read_signals(inputs, trained, labelled=False, **like))
        found = model.probabilities([model.encode(s) for s in data.values])
        for name, row in zip(data.names, found, strict=True):
            probabilities = {label: round(float(p), 6) for label, p in zip(model.labels, row, strict=True)}
            yield {"sequence": name, "label": model.labels[int(row.argmax())], "probabilities": probabilities}


class SoundClassification(NumbersClassification):
    """Labels of sounds: folders of .wav, named after labels, or a folder and --label-pattern."""

    inputs = "sound"
    options = SoundOptions
    plan = Plan(lr=4e-3, steps=10_000, epochs=100.0, eval_every=100)
    next_input = "FILE.wav"
    varying = ("speed", "shift", "noise")
    idle = (*OF_TEXTS, *OF_TABLES)


def arrays_of(data) -> list[np.ndarray] | None:
    """Sequences in memory, ``[N, T, channels]``, ``[N, T]`` or a list of ``[T_i]`` or ``[T_i, channels]``;
    None: they are something else.
    """
    listed = list(data) if isinstance(data, list | tuple | np.ndarray) and len(data) else []
    try:
        found = [np.asarray(s) for s in listed]
    except ValueError:  # lists of different lengths
        return None
    numeric = all(a.dtype.kind in "fiub" and a.ndim in (1, 2) and a.size for a in found)
    return found if found and numeric else None


def stored_arrays(data) -> bytes | None:
    """Sequences and their labels, ``(xs, ys)``, as ``.npz``; None: they are something else.

    Raises:
        InputError: there are more or fewer labels than sequences, or other numbers of channels.
    """
    if not isinstance(data, tuple) or len(data) != 2 or (xs := arrays_of(data[0])) is None:
        return None
    ys = np.asarray(data[1])
    if ys.shape != (len(xs),) or ys.dtype.kind not in "iuUb":
        raise InputError(
            f"there are {len(xs):,} sequences and labels {shown(data[1])}: give a text or an integer for each"
        )
    if len({s.shape[1:] for s in xs}) > 1:
        raise InputError(
            f"the sequences have shapes {few({s.shape for s in xs}, 3)}: give all the same channels"
        )
    file, lengths = io.BytesIO(), np.array([len(s) for s in xs])
    np.savez(file, x=np.concatenate(xs), lengths=lengths, y=ys)
    return file.getvalue()


def _told(data: Signals) -> Signals:
    """The same, when what was found is said."""
    for said in data.said:
        note(said)
    return data


def _span(values, form=",") -> str:
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} to {high}"


def _fingerprint(data: Signals):
    digest = hashlib.sha256(repr((data.channels, sorted(data.fields.items()))).encode(errors="replace"))
    for values in data.values:
        digest.update(values.tobytes())
    return f"classify-{len(data)}-{digest.hexdigest()[:16]}"


def _parts(options, texts, **like):
    """All sequences; those that train and those that validate, each with labels; and how they were parted."""
    data = read_signals(texts, options, **like)
    labels = data.of(options.label_column, "--label-column")
    if options.val:
        rest = dict(channels=data.channels, rate=data.rates[0])
        other = read_signals([options.val], options, **rest)
        val = other.values, other.of(options.label_column, "--label-column")
        train, said = (data.values, labels), f"of {options.val}"
    else:
        held, said = _held_out(data, labels, options, texts)
        train, val = [
            ([data.values[i] for i in part], [labels[i] for i in part])
            for part in ([i for i in range(len(data)) if (i in held) == kept] for kept in (False, True))
        ]
    if strange := set(val[1]) - set(train[1]):
        mend = "train on some of it too, or remove its sequences"
        raise InputError(f"the label {shown(min(strange))} is in the validation part alone ({said}): {mend}")
    return data, train, val, said


def _held_out(data, labels, options, texts):
    """Which sequences validate, and how they were chosen in words."""
    if options.hold_out is not None:
        name, _, values = options.hold_out.partition("=")
        wanted = {v.strip() for v in values.split(",")} - {""}
        found = data.of(name.strip(), "--hold-out")
        if missing := wanted - set(found) if wanted else {values}:
            there = f"no sequence has {name} {shown(min(missing))}: there are {few(sorted(set(found)))}"
            raise InputError(f"--hold-out is {options.hold_out}: {there}")
        held = {i for i, value in enumerate(found) if value in wanted}
        if len(held) == len(data):
            held_all = f"holds out all {len(data):,} sequences: name fewer values"
            raise InputError(f"--hold-out {options.hold_out} {held_all}")
        return held, f"those of {options.hold_out}"
    if options.group_column is not None:
        groups = data.of(options.group_column, "--group-column")
        order = np.random.default_rng(options.seed).permutation(sorted(set(groups))).tolist()
        if len(order) < 2:
            same = f"all have {options.group_column} {shown(order[0])}"
            raise InputError(f"{few(texts)}: {same}: leave --group-column out")
        chosen: list[str] = []
        enough = max(1, options.val_fraction * len(groups))
        while order[1:] and sum(g in chosen for g in groups) < enough:
            chosen.append(order.pop(0))
        return {
            i for i, g in enumerate(groups) if g in chosen
        }, f"those of {options.group_column} {few(sorted(chosen))}"
    held = of_each_label(labels, options.val_fraction, options.seed, texts)
    return held, f"{options.val_fraction:.0%} of each label"
