"""Language models over characters, bytes or words."""

import math

import numpy as np

from ...autograd import tensor
from ...base.errors import InputError, few, shown
from ...nn.adaptive import chosen_cutoffs
from ...nn.gates import step_and_gates
from ...training.disturbances import hardened_text
from ...training.runs import RunFolder, refuse_other
from ...training.screen import note
from ...training.task import Task
from ..batches import padded
from ..text import corpus as corpora
from ..text import sources as text_sources
from ..text.options import ReadingOptions, TextRobustnessOptions
from ..text.robustness import Texts
from ..text.vocabulary import from_json
from . import windows
from .adapting import Cache, Dynamic, adapted_loss
from .model import LanguageModel
from .options import LanguageModelEvaluation, LanguageModelOptions
from .recommended import CHOSEN, recommended

# so much of a long validation text is read at each evaluation while training
EVALUATION_TOKENS = 500_000
_OF_MODEL = ("embed", "embed_dropout", "tie", "state", "softmax", "seed")
GLIMPSE = 200  # tokens that a logger shows
PROBED = 100  # tokens of a text that is disturbed


class LanguageModeling(Task):
    """Language models: they learn what comes next in a text, and go on writing.

    Data: text files, folders of them, or - for standard input; nothing: the documentation inside Python.
    From Python also an open text, io.StringIO(text).
    """

    name = "lm"
    options = LanguageModelOptions
    evaluation, robustness = LanguageModelEvaluation, TextRobustnessOptions
    next_command = "generate"
    loss_name = "loss (nats a token)"
    loss_options = ("level",)
    default_texts = (text_sources.BUILTIN,)
    in_memory = "an open text, such as io.StringIO(text)"
    chosen = CHOSEN

    def __init__(
        self,
        model,
        train_tokens,
        val_tokens,
        *,
        batch_size,
        seq_len,
        seed,
        fingerprint="",
        names="the text",
        jitter=True,
        **hardening,
    ):
        self.model, self.val_tokens, self.seq_len, self.fingerprint = model, val_tokens, seq_len, fingerprint
        if len(val_tokens) < 2:  # said first: a text too short for this is too short for any window
            raise InputError(
                f"{names}: {len(val_tokens)} of {len(train_tokens) + len(val_tokens)} tokens are left for "
                "validation, which needs two: give a longer text, raise --val-fraction, or name a --val text"
            )
        self.windows = windows.Windows(train_tokens, batch_size, seq_len, seed, names, jitter)
        self.wanted = batch_size
        self.states, self.hardening = None, hardening
        # unbounded states that are carried grow from window to window
        self.steadier = ("--state reset",) if model.carries else ()

    @classmethod
    def recommended(cls, texts, given):
        """By how much text and time there is; see `tinyrnn.tasks.lm.recommended`."""
        return recommended(texts, given)

    @classmethod
    def build(cls, options: LanguageModelOptions, texts, origin=None):
        """The task that the options of ``tinyrnn train`` describe, on ``texts``: files, folders, ``-``, or
        nothing.

        Raises:
            InputError: unknown cell or cell option, or a text that cannot be used.
        """
        settings = options.settings()
        if options.softmax == "adaptive" and options.level not in ("char", "word", "token"):
            numbered = f"--level {options.level} does not number symbols by frequency"
            raise InputError(f"{numbered}, as --softmax adaptive needs it: use --level word, token or char")
        sources = text_sources.resolve(texts)
        known = None if origin is None else origin.vocabulary
        corpus, names = read_corpus(options, sources, known), few(s.name for s in sources)
        if len(corpus.vocabulary) < 2:
            one = shown(corpus.vocabulary.symbols[0])
            raise InputError(f"{names} has one distinct symbol, {one}: there is nothing to learn in it")
        if options.val:
            train, val = corpus.tokens, _validation_file(options, corpus.vocabulary)
        else:
            train, val = corpus.split(options.val_fraction)
        own = {name: getattr(options, name) for name in _OF_MODEL}
        if options.softmax == "adaptive":
            counts = np.bincount(train, minlength=len(corpus.vocabulary))
            own["cutoffs"] = origin.settings["cutoffs"] if origin else chosen_cutoffs(counts, options.hidden)
            if not own["cutoffs"]:
                few_or_narrow = f"{names} has too few symbols, or --hidden {options.hidden} is too narrow,"
                raise InputError(f"{few_or_narrow} for --softmax adaptive: leave it out")
        model = LanguageModel(corpus.vocabulary, **own, **settings)
        if options.init_uniform is not None:
            for p in model.parameters():
                p.assign_(model.generator.uniform(-options.init_uniform, options.init_uniform, p.shape))
        names_of = ("batch_size", "seq_len", "seed", "noise", "adversarial", "jitter")
        shape = {k: getattr(options, k) for k in names_of}
        return cls(model, train, val, fingerprint=corpus.fingerprint, names=names, **shape)

    @classmethod
    def store(cls, data):
        """An open text, or an open file of utf-8 bytes."""
        if not hasattr(data, "read"):
            return super().store(data)
        try:
            text = data.read()
        except (OSError, ValueError) as error:  # it is closed, or written to
            raise InputError(f"{shown(data)} cannot be read ({error}): open it anew") from None
        if not isinstance(text, str):
            text = "".join(text_sources.decoded([text], "utf-8", shown(data)))
        return "txt", text

    def introduction(self) -> str:
        """What is learned from."""
        vocabulary, train = self.model.vocabulary, len(self.windows.tokens)
        said = (
            f"{train + len(self.val_tokens):,} tokens, vocabulary {len(vocabulary):,} ({vocabulary.level}); "
            f"{len(self.val_tokens):,} tokens for validation"
        )
        if self.windows.batch_size < self.wanted:
            said += f"; the text is too short for {self.wanted:,} streams (--batch-size)"
        if self.model.adaptive:
            sizes = [f"{n:,}" for n in np.diff([0, *self.model.output.cutoffs])]
            said += (
                f"; adaptive softmax: {sizes[0]} symbols, clusters of {' and '.join(sizes[1:])} rarer ones"
            )
        return said

    @property
    def shape(self) -> str:
        """Of a step, in words."""
        n = self.windows.batch_size
        return f"{n} stream{'s' * (n > 1)} x {self.seq_len} steps"

    @staticmethod
    def rebuild(meta) -> LanguageModel:
        """The model that a checkpoint's metadata describes, with fresh weights."""
        return LanguageModel.restored(LanguageModelOptions, meta["model"], from_json(meta.get("vocabulary")))

    @staticmethod
    def evaluate_run(model, texts, run, options) -> dict:
        """`evaluate` on files, folders or standard input, or on the validation part of the text of ``run``;
        with ``adapted_loss`` and ``adapted_perplexity`` if it is to learn or to remember on the way.
        """
        if options.dynamic and model.precision == "int8":
            raise InputError("--dynamic learns, which weights in int8 cannot: leave --weights out")
        tokens, names = _tokens(model, texts, run, options)
        adapting = options.dynamic or options.cache  # which reads from end to end: so that it compares
        if not adapting:
            _tell_fewer(options.streams, len(tokens))
        figures = evaluate(model, tokens, batch_size=1 if adapting else options.streams, names=names)
        if adapting:
            loss = _adapted(model, tokens, run, options)
            figures |= {"adapted_loss": loss, "adapted_perplexity": math.exp(min(loss, 700.0))}
        return figures

    @staticmethod
    def probe(model, texts, run, options) -> Texts:
        """Pieces of `PROBED` tokens, each read without what comes before it."""
        tokens, names = _tokens(model, texts, run, options)
        if len(tokens) < 2:
            raise InputError(f"{names} has fewer than two tokens to disturb: give a longer text")
        length = min(PROBED, len(tokens) - 1)
        starts = length * options.examples_of((len(tokens) - 1) // length)
        pieces = tokens[starts[:, None] + np.arange(length + 1)].astype(np.int64)

        def said(ids, mask, examples, places):
            following = [pieces[i, 1 + at] for i, at in zip(examples, places, strict=True)]
            return model(ids)[0], np.where(mask, padded(following)[0], -100)

        return Texts(model, model.embedding, model.vocabulary, list(pieces[:, :-1]), said)

    @staticmethod
    def predict(model, inputs, run, options):
        """A language model continues text."""
        raise InputError(f"{run} is a language model, which predicts no labels: use tinyrnn generate")

    @property
    def steps_per_epoch(self) -> int:
        return self.windows.per_epoch

    @property
    def tokens_per_step(self) -> int:
        return self.windows.batch_size * self.seq_len

    def loss(self, step: int):
        """The training loss of window ``step``, a Tensor in nats a token. Carries the state on, cut off from
        its past.
        """
        inputs, targets, starts_epoch = self.windows[step]
        before = self.states if self.model.carries and not starts_epoch else None

        def cost(read):
            loss, states = self.model.cost(read, targets, before)
            self.states = [tuple(s.detach() for s in layer) for layer in states]
            return loss

        return hardened_text(cost, inputs, self.model.embedding, self.model.generator, **self.hardening)

    def evaluate(self, stop=lambda: False) -> dict | None:
        """Validation figures, or None if ``stop()`` became true on the way."""
        figures = evaluate(self.model, self.val_tokens[:EVALUATION_TOKENS], stop=stop)
        return figures and {"val_loss": figures["loss"], "bits": figures["loss"] / math.log(2)}

    def glimpse(self) -> dict:
        """``text``, a sample; ``gates/LAYER.NUMBER`` ``[GLIMPSE, H]``, over the first validation tokens."""
        model = self.model
        before, values = model.training, {}
        model.eval()
        try:
            values["text"] = model.generate(length=GLIMPSE, seed=0)
            states = model.rnn.initial_state(1)
            for token in self.val_tokens[:GLIMPSE].astype(np.int64):
                x = model.embedding(token[None]).detach()
                _, states, layers = step_and_gates(model.rnn, x, states)
                for i, layer in enumerate(layers):
                    for j, gate in enumerate(layer):
                        values.setdefault(f"gates/{i}.{j}", []).append(gate[0])
        finally:
            model.train(before)
        return {name: value if name == "text" else np.stack(value) for name, value in values.items()}

    def state_arrays(self) -> dict:
        """The carried state as arrays by name."""
        return {
            f"{i}.{j}": state.numpy()
            for i, layer in enumerate(self.states or [])
            for j, state in enumerate(layer)
        }

    def load_state_arrays(self, arrays: dict):
        """Continue from what ``state_arrays`` returned; ValueError if it is of another model."""
        first = self.model.rnn.initial_state(self.windows.batch_size)
        own = {f"{i}.{j}": s.data for i, layer in enumerate(first) for j, s in enumerate(layer)}
        refuse_other(own if arrays else {}, arrays, "state")
        states = [tensor(arrays[name], device=self.model.device) for name in own if arrays]
        self.states = self.model.rnn.layered(states) if states else None


def evaluate(
    model: LanguageModel,
    tokens,
    *,
    batch_size=64,
    seq_len=windows.LENGTH,
    stop=lambda: False,
    names="the text",
) -> dict | None:
    """``loss`` (nats a token), ``perplexity``, ``bits_per_char`` and ``tokens`` over every token but the
    first; ``unknown``, where there are any: the part of them that stands for what the vocabulary lacks, whose
    spelling costs nothing.

    Returns None if ``stop()`` became true on the way.
    """
    if len(tokens) < 2:
        raise InputError(f"{names} has fewer than two tokens to evaluate on: give a longer text")
    total, characters, states = 0.0, 0, None
    with model.evaluating():
        for inputs, targets, stream in windows.evaluation_windows(tokens, batch_size, seq_len):
            if stop():
                return None
            if stream == "last":
                states = [tuple(s[-1:] for s in layer) for layer in states]
            loss, states = model.cost(inputs, targets, states if model.carries else None, reduction="sum")
            total += loss.item()
            characters += model.vocabulary.characters(targets.ravel())
    count, unknown = len(tokens) - 1, model.vocabulary.unknown
    loss, lacking = total / count, 0 if unknown is None else int((tokens[1:] == unknown).sum())
    return {
        "loss": loss,
        "perplexity": math.exp(min(loss, 700.0)),
        "bits_per_char": total / math.log(2) / max(characters, 1),
        "tokens": count,
        **({"unknown": lacking / count} if lacking else {}),
    }


def read_corpus(options: LanguageModelOptions, sources, known=None):
    """The corpus that the options of ``tinyrnn train`` describe; with the vocabulary ``known``, enlarged."""
    how = dict(encoding=options.encoding, vocab_size=options.vocab_size, vocabulary=known, grow=bool(known))
    return corpora.load(sources, options.level, **how, by_frequency=options.softmax == "adaptive")


def _adapted(model, tokens, run, options) -> float:
    dynamic = cache = None
    if options.dynamic:
        train = _training_text(model, run)
        of = {name: getattr(options, f"dynamic_{name}") for name in ("window", "lr", "decay")}
        dynamic = Dynamic(model, train, **of)
    if options.cache:
        cache = Cache(size=options.cache, theta=options.cache_theta, part=options.cache_lambda)
    return adapted_loss(model, tokens, options.dynamic_window, dynamic, cache)


def _training_text(model, run):
    try:
        return part_of(RunFolder(run), model.vocabulary, train=True)
    except InputError as error:  # which ends in what helps without --dynamic
        needed = "--dynamic needs the text of the run's training, for its statistics"
        mend = "have that in its file as it was, or leave --dynamic out"
        raise InputError(f"{str(error).rpartition(': ')[0]}; {needed}: {mend}") from None


def _tell_fewer(streams, tokens):
    """Say that so many ``streams``, which somebody asked for, are more than there are in a text."""
    fewer = windows.streams_of(tokens, streams, windows.LENGTH)
    if fewer < streams != LanguageModelEvaluation.streams:
        note(
            f"the text is too short for {streams:,} streams of {windows.LENGTH} symbols: it is read in "
            f"{fewer}"
        )


def _tokens(model, texts, run, options):
    """Of files, folders or standard input, or of the validation part of the text of ``run``; and what they
    are called.
    """
    if not texts:
        return part_of(RunFolder(run), model.vocabulary), "the text"
    vocabulary, encoding = model.vocabulary, options.encoding or "utf-8"
    sources = text_sources.resolve(texts)
    corpus = corpora.load(sources, vocabulary.level, encoding=encoding, vocabulary=vocabulary)
    return corpus.tokens, few(s.name for s in sources)


def _validation_file(options, vocabulary):
    source = text_sources.resolve([options.val])
    return corpora.load(source, options.level, encoding=options.encoding, vocabulary=vocabulary).tokens


def part_of(run: RunFolder, vocabulary, *, train: bool = False):
    """The validation part of the text that a run was trained with, or the one that it was trained on.

    Raises:
        InputError: that text was standard input, is gone, or has changed since.
    """
    options, texts = LanguageModeling.trained(run.path, ReadingOptions())
    if options.val and not train:
        return _validation_file(options, vocabulary)
    if not texts:
        raise InputError(
            "this run was made of a model from elsewhere and has no text: name a TEXT to evaluate on"
        )
    if "-" in texts:
        raise InputError(
            "this run was trained on standard input, which is not kept: name a TEXT to evaluate on"
        )
    corpus = read_corpus(options, text_sources.resolve(texts), vocabulary if options.from_run else None)
    run.refuse_changed(corpus.fingerprint)
    parts = (corpus.tokens, None) if options.val else corpus.split(options.val_fraction)
    return parts[0 if train else 1]
