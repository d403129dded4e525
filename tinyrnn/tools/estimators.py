"""Estimators with scikit-learn's conventions (extra ``sklearn``): labels and values of sequences, or of their
steps.
"""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, check_random_state, column_or_1d

from ..autograd import permute_dims, reshape, softmax, take
from ..base import threads
from ..base.errors import Diverged, InputError
from ..kernels.generator import Generator
from ..nn import RNN, Dropout, Linear, Module
from ..nn.checks import checked_choice, checked_flag, checked_integer, checked_number, checked_rate
from ..nn.functional import cross_entropy, mse_loss
from ..nn.optim import Adam, Schedule
from ..nn.pooling import POOLINGS, pooled
from ..nn.registry import get_cell
from ..tasks.batches import Batches, in_order, padded
from . import sequences

PREDICTED = 256  # sequences that are predicted together


class SequenceNetwork(Module):
    """Recurrent layers and one linear layer: a row for each step, or for each sequence by ``pooling``.

    It is pickled as its settings and weights, so that a cell comes back as any cell is found.
    """

    def __init__(
        self, cell, inputs, hidden, outputs, *, pooling, seed, dtype="float32", dropout=0.0, **settings
    ):
        self.settings = {**settings, "cell": cell, "inputs": inputs, "hidden": hidden, "outputs": outputs}
        self.settings |= {"pooling": pooling, "seed": seed, "dtype": dtype, "dropout": dropout}
        shared = {"dtype": dtype, "generator": Generator(seed)}
        self.pooling = pooling
        self.rnn = RNN(cell, inputs, hidden, dropout=dropout, **settings, **shared)
        self.dropout = Dropout(dropout, generator=shared["generator"])
        self.score = Linear(self.rnn.output_size, 1, **shared) if pooling == "attention" else None
        self.output = Linear(self.rnn.output_size, outputs, **shared)

    def forward(self, batch, masked):
        """A list of ``[T_i, inputs]`` to rows ``[n, outputs]``: of all steps of the first sequence, of the
        second and so on, or one a sequence.

        ``masked``: the sequences have different lengths.
        """
        xs, mask = padded(batch, batch[0].shape[1:], batch[0].dtype)
        ys, final = self.rnn(xs, mask=mask if masked else None)
        if self.pooling is None:
            rows = reshape(permute_dims(ys, (1, 0, 2)), (-1, ys.shape[2]))
            rows = take(rows, np.flatnonzero(mask.T), axis=0) if masked else rows
        else:
            rows = pooled(self.pooling, self.rnn, ys, final, mask, self.score)
        return self.output(self.dropout(rows))

    def __getstate__(self):
        return {"settings": self.settings, "weights": self.state_dict()}

    def __setstate__(self, state):
        self.__init__(**state["settings"])
        self.load_state_dict(state["weights"])


@dataclass(kw_only=True, eq=False, repr=False)
class SequenceEstimator(BaseEstimator):
    """Base of the estimators: options, training, what comes out of the network.

    Args:
        cell: a registered name (``"gru"``) or a `Cell` subclass.
        cell_options: the cell's options, for example ``{"forget_bias": 0.0}``.
        hidden_size, num_layers, bidirectional: of `RNN`.
        dropout: probability of dropping an output between layers and before the last one while training.
        pooling: how the steps of a sequence become one row: ``last``, ``mean``, ``max`` or ``attention``;
            None: they do not, each step has its own. ``auto``: None where each step has a target, else
            ``last``.
        lr: the learning rate of Adam; it rises over the first twentieth of all steps, and falls linearly to 0
            over the last six tenths.
        batch_size: sequences of a step of training.
        epochs: passes over the training data.
        clip: the gradients' common norm at most; 0: any.
        validation_fraction: part of the samples that is held out; the weights of the epoch with the least
            loss on it are kept. 0: all samples are trained on, and the last weights are kept.
        patience: training stops after so many epochs without a lower validation loss; None: never.
        standardise: scale each feature to mean 0 and standard deviation 1 over all steps of the training
            samples; a regressor's targets likewise (predictions are scaled back). Constant ones are shifted
            only.
        random_state: of initial weights, batches, dropout and the held-out part; the same integer gives the
            same bits.
        dtype: ``"float32"`` or ``"float64"``.
        verbose: print a line an epoch.

    After ``fit``: ``n_features_in_`` (features of a step), ``per_step_`` (whether each step has a target),
    ``history_`` (lists ``train_loss`` and ``val_loss``,
    one entry an epoch: nats, or mean squared errors of the scaled targets), ``network_``, for frames whose
    columns are features ``feature_names_in_``.
    """

    cell: str | type = "gru"
    cell_options: dict | None = None
    hidden_size: int = 64
    num_layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.0
    pooling: str | None = "auto"
    lr: float = 1e-2
    batch_size: int = 32
    epochs: int = 40
    clip: float = 1.0
    validation_fraction: float = 0.0
    patience: int | None = None
    standardise: bool = True
    random_state: int | np.random.RandomState | None = None
    dtype: str = "float32"
    verbose: bool = False

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def fit(self, X, y):
        """Train on sequences ``X`` (`read_sequences` says in what forms) and targets ``y``; returns self.

        Raises:
            InputError: an option, ``X`` or ``y`` cannot be used.
            Diverged: the loss became NaN or infinite.
        """
        for name, check in OPTIONS.items():
            check(name, getattr(self, name))
        if self.patience is not None and not self.validation_fraction:
            raise InputError("patience needs held-out samples: give a validation_fraction, for example 0.1")
        for name in ("network_", "feature_names_in_"):  # of an earlier fit, should this one fail
            vars(self).pop(name, None)
        xs, _ = sequences.read_sequences(X)
        targets = sequences.read_targets(y, X)
        if len(targets) != len(xs):
            raise InputError(f"X has {len(xs)} samples, y has {len(targets)}: give one entry of y a sample")
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        order = np.random.default_rng(seed).permutation(len(xs))
        held = math.ceil(self.validation_fraction * len(xs))
        if held == len(xs):
            raise InputError(f"validation_fraction holds out all {held} samples: give more, or 0")
        targets, outputs = self._encode(targets, [len(x) for x in xs], order[held:])
        self.n_features_in_ = xs[0].shape[1]
        if (names := sequences.feature_names(X)) is not None:
            self.feature_names_in_ = names
        self.input_mean_, self.input_scale_ = self._moments("X", [xs[i] for i in order[held:]])
        self._masked = len({len(x) for x in xs}) > 1
        network = SequenceNetwork(
            self.cell,
            self.n_features_in_,
            int(self.hidden_size),
            outputs,
            num_layers=int(self.num_layers),
            bidirectional=self.bidirectional,
            dropout=self.dropout,
            pooling=None if self.per_step_ else "last" if self.pooling == "auto" else self.pooling,
            cell_options=self.cell_options,
            dtype=self.dtype,
            seed=seed,
        )
        xs = self._scaled("X", xs, self.input_mean_, self.input_scale_)
        train, val = ([(xs[i], targets[i]) for i in part] for part in (order[held:], order[:held]))
        with threads.alone(), np.errstate(over="ignore", invalid="ignore"):  # which end in `Diverged`
            self._train(network, train, val, seed)
        self.network_ = network
        return self

    def _train(self, network, train, val, seed):
        least, best, stale = math.inf, None, 0
        batches = Batches([x for x, _ in train], self.batch_size, seed)
        total = self.epochs * batches.per_epoch
        optimizer = Adam(network.parameters(), self.lr)
        schedule = Schedule("wsd", warmup=total // 20, total=total)
        self.history_ = {"train_loss": [], "val_loss": []}
        for epoch in range(self.epochs):
            sums = np.zeros(2)
            for step in range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch):
                loss, count = self._batch_loss(network, [train[i] for i in batches[step]])
                optimizer.zero_grad()
                loss.backward()
                optimizer.lr = self.lr * schedule.at(step, step / total)
                norm = optimizer.step(max_norm=self.clip)
                network.apply_constraints()
                if not math.isfinite(loss.item() + norm):
                    raise Diverged(
                        f"the loss or its gradient became infinite in epoch {epoch + 1}: use a lower lr"
                    )
                sums += loss.item() * count, count
            self.history_["train_loss"].append(sums[0] / sums[1])
            line = f"epoch {epoch + 1:4}  train {sums[0] / sums[1]:.4f}"
            if val:
                loss = self._validate(network, val)
                self.history_["val_loss"].append(loss)
                line += f"  validation {loss:.4f}"
                stale += 1
                if loss < least:
                    least, best, stale = loss, network.state_dict(), 0
            if self.verbose:
                print(line)
            if stale == self.patience:
                break
        if best:
            network.load_state_dict(best)
        network.eval()

    def _batch_loss(self, network, batch):
        """The mean loss of pairs (sequence, targets), and of how many targets."""
        xs, targets = zip(*batch, strict=True)
        targets = np.concatenate(targets)
        return self._loss(network(xs, self._masked), targets), len(targets)

    def _validate(self, network, val):
        with network.evaluating():
            parts = [
                self._batch_loss(network, [val[i] for i in batch])
                for batch in in_order([x for x, _ in val], PREDICTED)
            ]
        return sum(loss.item() * count for loss, count in parts) / sum(count for _, count in parts)

    def _outputs(self, X):
        """The network's rows ``[T_i, outputs]`` or ``[1, outputs]`` a sample; whether X was one array."""
        check_is_fitted(self, "network_")
        xs, whole = sequences.read_sequences(X)
        names, fitted = sequences.feature_names(X), getattr(self, "feature_names_in_", None)
        if xs[0].shape[1] != self.n_features_in_:
            raise InputError(
                f"X has {xs[0].shape[1]} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input: give those that it was fitted on"
            )
        if names is not None and fitted is not None and list(names) != list(fitted):
            raise InputError(f"X has the columns {list(names)}: give {list(fitted)}, as it was fitted on")
        xs = self._scaled("X", xs, self.input_mean_, self.input_scale_)
        outputs = [None] * len(xs)
        masked = self._masked or len({len(x) for x in xs}) > 1
        with threads.alone(), self.network_.evaluating():
            for batch in in_order(xs, PREDICTED):
                rows = self.network_([xs[i] for i in batch], masked).numpy().astype(np.float64)
                ends = np.cumsum([len(xs[i]) if self.per_step_ else 1 for i in batch])
                for i, part in zip(batch, np.split(rows, ends[:-1]), strict=True):
                    outputs[i] = part
        return outputs, whole

    def _moments(self, name, arrays):
        """Mean and scale of each column of ``arrays [n_i, K]`` of X or y together."""
        rows = np.concatenate(arrays)
        if not self.standardise:
            return np.zeros(rows.shape[1]), np.ones(rows.shape[1])
        with np.errstate(over="ignore", invalid="ignore"):
            mean, scale = rows.mean(axis=0), np.where(np.ptp(rows, axis=0) == 0, 1.0, rows.std(axis=0))
        if not np.isfinite([mean, scale]).all():
            largest = float(np.abs(rows).max())
            raise InputError(f"{name} holds {largest:.3g}, too large to be standardised: scale it")
        return mean, scale

    def _scaled(self, name, arrays, mean, scale):
        """``arrays`` of X or y as the network sees them; InputError for what is too large for its dtype."""
        with np.errstate(over="ignore"):
            scaled = [((array - mean) / scale).astype(self.dtype) for array in arrays]
        for i, array in enumerate(scaled):
            if not np.isfinite(array).all():
                raise InputError(
                    f"{name}: sample {i} is too large for {self.dtype}: scale it, or use float64"
                )
        return scaled

    def score(self, X, y, sample_weight=None):
        """Accuracy, or a regressor's R^2; where each step has a target, over all steps together."""
        said, true = self.predict(X), sequences.read_targets(y, X)
        if len(true) != len(said):
            raise InputError(f"X has {len(said)} samples, y has {len(true)}: give one entry of y a sample")
        if self.per_step_:
            lengths = [len(part) for part in said]
            true, said = np.concatenate(_step_targets(true, lengths)), np.concatenate(said)
            sample_weight = None if sample_weight is None else np.repeat(sample_weight, lengths)
        return self._metric(true, said, sample_weight=sample_weight)

    def _joined(self, parts, whole):
        """One part a sample as it is returned: ``[N, ...]``, or a list of steps if X was a list."""
        if self.per_step_:
            return np.stack(parts) if whole else parts
        return np.concatenate(parts)


_count = partial(checked_integer, least=1)
OPTIONS = {
    "cell": lambda name, value: get_cell(value),
    "hidden_size": _count,
    "num_layers": _count,
    "batch_size": _count,
    "epochs": _count,
    "patience": lambda name, value: value is None or _count(name, value),
    "dropout": checked_rate,
    "validation_fraction": checked_rate,
    "bidirectional": checked_flag,
    "standardise": checked_flag,
    "verbose": checked_flag,
    "clip": checked_number,
    "lr": partial(checked_number, positive=True),
    "pooling": lambda name, value: value is None or checked_choice(name, value, ("auto", *POOLINGS)),
    "dtype": partial(checked_choice, choices=("float32", "float64")),
}


def _step_targets(targets, lengths):
    """Targets of each step as one array a sample; InputError if there are more or fewer than steps."""
    arrays = [np.asarray(target) for target in targets]
    for i, (array, length) in enumerate(zip(arrays, lengths, strict=True)):
        if array.ndim not in (1, 2) or len(array) != length:
            shape = f"y has shape {list(array.shape)}, X has {length} steps"
            raise InputError(f"sample {i}: {shape}: give one target a step")
    return arrays


class _Labels(SequenceEstimator):
    _metric = staticmethod(accuracy_score)
    _loss = staticmethod(cross_entropy)

    def _classes(self, labels):
        """Ids of ``labels [n]``; they are remembered in ``classes_``."""
        if labels.dtype == object and any(label is None for label in labels):
            raise InputError("y contains None: give each sample a label, or leave it out")
        if labels.dtype.kind == "f" and not np.isfinite(labels).all():
            raise InputError("y contains NaN or infinity: give each sample a label")
        try:
            self.classes_, ids = np.unique(labels, return_inverse=True)
        except TypeError:
            raise InputError(
                "y mixes labels of different types: make them all strings or all numbers"
            ) from None
        check_classification_targets(labels)
        if len(self.classes_) < 2:
            raise InputError(
                f"y has one class only, {self.classes_.tolist()[0]!r}: give samples of at least two classes"
            )
        return ids

    def predict(self, X):
        """The most probable labels; see the class for the shape."""
        outputs, whole = self._outputs(X)
        return self._joined([self.classes_[part.argmax(axis=-1)] for part in outputs], whole)

    def predict_proba(self, X):
        """Probabilities, shaped like `predict` with one more axis, in the order of ``classes_``."""
        outputs, whole = self._outputs(X)
        return self._joined([softmax(part, axis=-1).numpy() for part in outputs], whole)


class SequenceClassifier(ClassifierMixin, _Labels):
    """A label for each sequence: ``fit(X, y)`` with labels ``y [N]`` of any type, ``predict`` gives ``[N]``.

    Options and attributes: `SequenceEstimator`; and ``classes_``, the labels in order.
    """

    per_step_ = False
    score = SequenceEstimator.score

    def _encode(self, targets, lengths, train):
        if self.pooling is None:
            raise InputError("pooling is None, but a sequence has one label: use another, or SequenceTagger")
        return list(self._classes(column_or_1d(targets, warn=True))[:, None]), len(self.classes_)


class SequenceTagger(_Labels):
    """A label for each step: ``fit(X, y)`` with a list of label sequences ``[T_i]``, or labels ``[N, T]``.

    ``predict`` gives ``[N, T]`` if X is one array, else a list of ``[T_i]``. Options and attributes:
    `SequenceEstimator`; and ``classes_``, the labels in order.
    """

    per_step_ = True

    def _encode(self, targets, lengths, train):
        if self.pooling not in ("auto", None):
            raise InputError(f"pooling is {self.pooling!r}, but each step has a label: use 'auto'")
        labels = [column_or_1d(steps) for steps in _step_targets(targets, lengths)]
        if len({"U" if a.dtype.kind in "OUS" else "n" for a in labels}) > 1:
            raise InputError("y mixes labels of different types: make them all strings or all numbers")
        ids = self._classes(np.concatenate(labels))
        return np.split(ids, np.cumsum(lengths)[:-1]), len(self.classes_)


class SequenceRegressor(RegressorMixin, SequenceEstimator):
    """Numbers for each sequence or for each step.

    ``fit(X, y)`` with ``y [N]`` or ``[N, K]``: a sequence has one value or K. With ``y [N, T]``,
    ``[N, T, K]`` or a list of ``[T_i]`` or ``[T_i, K]`` each step has them. So ``[N, K]`` with ``K = T`` is
    read as one value a step, unless ``pooling`` says how steps become one row. ``predict`` gives what ``y``
    was, a list for steps if X is a list.

    Options and attributes: `SequenceEstimator`.
    """

    score = SequenceEstimator.score
    _metric = staticmethod(r2_score)
    _loss = staticmethod(mse_loss)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _encode(self, targets, lengths, train):
        arrays = [sequences.numbers(target, "y", i) for i, target in enumerate(targets)]
        axes, widths = {a.ndim for a in arrays}, {a.shape[-1] if a.ndim else 1 for a in arrays}
        fits = axes == {1} and [len(a) for a in arrays] == lengths
        ragged = axes == {2} or fits or (axes == {1} and len(widths) > 1)
        self.per_step_ = self.pooling is None or (self.pooling == "auto" and ragged)
        if self.per_step_:
            arrays = _step_targets(arrays, lengths)
        self._single = axes == ({1} if self.per_step_ else {0})
        if not self._single and (axes != ({2} if self.per_step_ else {1}) or len(widths) > 1):
            needed = (
                "[N, T] or [N, T, K]" if self.per_step_ else "[N] or [N, K] (pooling=None: a value a step)"
            )
            raise InputError(
                f"y has targets of different or wrong shapes, such as {list(arrays[0].shape)}: give {needed}"
            )
        arrays = [a.reshape(len(a) if self.per_step_ else 1, -1) for a in arrays]
        self.target_mean_, self.target_scale_ = self._moments("y", [arrays[i] for i in train])
        return self._scaled("y", arrays, self.target_mean_, self.target_scale_), arrays[0].shape[1]

    def predict(self, X):
        """Values in the units of ``y``; see the class for the shape."""
        outputs, whole = self._outputs(X)
        parts = [part * self.target_scale_ + self.target_mean_ for part in outputs]
        return self._joined([part[..., 0] for part in parts] if self._single else parts, whole)
