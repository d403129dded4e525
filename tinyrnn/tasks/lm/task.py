"""Language models over characters, bytes or words."""

import math
from types import MappingProxyType

from ...autograd import matrix_transpose, no_grad, tensor
from ...base.errors import InputError
from ...kernels.generator import Generator
from ...nn import RNN, Dropout, Embedding, Linear, Module
from ...nn import registry as plugins
from ...nn.functional import cross_entropy, linear
from ...training.runs import Run
from ...training.task import Task
from ..text import corpus as corpora
from ..text import sources as text_sources
from ..text.vocabulary import from_json
from . import windows
from .sampling import generate

EVALUATION_TOKENS = 500_000  # so much of a long validation text is read at each evaluation while training


class LanguageModel(Module):
    """Embedding, recurrent layers, and a softmax over the vocabulary.

    Args:
        vocabulary: a `Vocabulary`.
        cell, cell_options, hidden, layers: of the `RNN`.
        dropout, recurrent_dropout, weight_drop, zoneout, variational: of the `RNN`; dropout also falls on the
            embedding and the last output.
        embed: width of the embedding.
        tie: the output layer uses the embedding's weights (Press & Wolf 2017); then ``embed`` must equal
            ``hidden``.
    """

    def __init__(
        self,
        vocabulary,
        *,
        cell="gru",
        cell_options=None,
        hidden,
        layers=1,
        embed,
        dropout=0.0,
        recurrent_dropout=0.0,
        weight_drop=0.0,
        zoneout=0.0,
        variational=False,
        tie=False,
        dtype="float32",
        seed=0,
    ):
        rates = dict(
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            weight_drop=weight_drop,
            zoneout=zoneout,
            variational=variational,
        )
        self.vocabulary = vocabulary
        self.settings = dict(
            cell=cell,
            cell_options=cell_options or {},
            hidden=hidden,
            layers=layers,
            embed=embed,
            tie=tie,
            dtype=dtype,
            **rates,
        )
        self.generator = Generator(seed)
        shared = {"dtype": dtype, "generator": self.generator}
        self.embedding = Embedding(len(vocabulary), embed, **shared)
        self.rnn = RNN(cell, embed, hidden, num_layers=layers, cell_options=cell_options, **rates, **shared)
        if tie and embed != self.rnn.output_size:
            width = self.rnn.output_size
            raise InputError(
                f"--tie shares the embedding with the output: --embed {embed} must equal the cell's output, {width}"
            )
        self.output = Linear(
            self.rnn.output_size, len(vocabulary), weight=self.embedding.weight if tie else None, **shared
        )
        self.dropout = Dropout(dropout, variational=variational, generator=self.generator)
        self.tie = tie

    def forward(self, ids, states=None):
        """Ids ``[T, B]`` and the states of the window before: ``(logits [T, B, vocabulary], states)``."""
        ys, states = self.rnn(self.dropout(self.embedding(ids)), states)
        return self.logits(self.dropout(ys)), states

    def logits(self, ys):
        if self.tie:
            return linear(ys, matrix_transpose(self.embedding.weight), self.output.bias)
        return self.output(ys)

    def step(self, ids, states):
        """One step for generation: ids ``[B]`` and states to ``(logits [B, vocabulary] as an array,
        states)``.
        """
        with no_grad():
            states = self.rnn.initial_state(len(ids)) if states is None else states
            y, states = self.rnn.step(self.embedding(ids), states)
            return self.logits(y).numpy(), states

    def token_loop(self):
        """The same as a compiled loop from token to token (`TokenLoop`), None where it cannot be compiled."""
        from ...compiler.generation import token_loop  # and Numba with it

        counts = [len(cell.states) for cell in self.rnn.cells]

        def step(x, *states):
            y, new = self.rnn.step(x, [tuple(states[sum(counts[:i]) :][:n]) for i, n in enumerate(counts)])
            return *[s for layer in new for s in layer], self.logits(y)

        states = [s for layer in self.rnn.initial_state(1) for s in layer]
        return token_loop(step, self.embedding.weight, states, f"generation with {self.settings['cell']}")

    def generate(self, prompt=None, *, length=200, **options) -> str:
        """Continue ``prompt``; see `tinyrnn.tasks.lm.sampling.generate` for the options. Returns prompt and
        continuation.
        """
        return "".join(generate(self, prompt, length=length, **options))

    def describe(self) -> dict:
        """Everything that ``LanguageModeling.rebuild`` needs besides the weights."""
        return {
            "task": LanguageModeling.name,
            "model": self.settings,
            "package": plugins.package_of(self.settings["cell"]),
            "vocabulary": self.vocabulary.to_json(),
        }


class LanguageModeling(Task):
    """The task ``lm``: predict the next token, with truncated back-propagation and carried state."""

    name = "lm"
    defaults = MappingProxyType({"level": "char", "steps": 2000})
    next_command = "generate"
    loss_name = "loss (nats a token)"
    default_texts = (text_sources.BUILTIN,)

    def __init__(self, model, train_tokens, val_tokens, *, batch_size, seq_len, seed, fingerprint=""):
        self.model, self.val_tokens, self.seq_len, self.fingerprint = model, val_tokens, seq_len, fingerprint
        self.windows = windows.Windows(train_tokens, batch_size, seq_len, seed)
        if len(val_tokens) < 2:
            raise InputError(
                "fewer than two tokens are left for validation: raise --val-fraction, or name a --val text"
            )
        self.states = None

    @classmethod
    def build(cls, options: dict, texts):
        """The task that the options of ``tinyrnn train`` describe, on ``texts``: files, folders, ``-``, or
        nothing.

        Raises:
            InputError: unknown cell or cell option, or a text that cannot be used.
        """
        cell_options = plugins.read_options(options["cell"], options["cell_opt"])
        corpus = read_corpus(options, text_sources.resolve(texts))
        if len(corpus.vocabulary) < 2:
            raise InputError(
                f"the text has one distinct symbol, {corpus.vocabulary.symbols[0]!r}: there is nothing to learn in it"
            )
        if options["val"]:
            train, val = corpus.tokens, _validation_file(options, corpus.vocabulary)
        else:
            train, val = corpus.split(options["val_fraction"])
        model = LanguageModel(
            corpus.vocabulary, cell_options=cell_options, **{k: options[k] for k in _MODEL if k in options}
        )
        shape = {k: options[k] for k in ("batch_size", "seq_len", "seed")}
        return cls(model, train, val, fingerprint=corpus.fingerprint, **shape)

    def introduction(self) -> str:
        """What is learned from."""
        vocabulary, train = self.model.vocabulary, len(self.windows.tokens)
        return (
            f"{train + len(self.val_tokens):,} tokens, vocabulary {len(vocabulary):,} ({vocabulary.level}); "
            f"{len(self.val_tokens):,} tokens for validation"
        )

    @property
    def shape(self) -> str:
        """Of a step, in words."""
        return f"{self.windows.batch_size} streams x {self.seq_len} steps"

    @staticmethod
    def rebuild(meta) -> LanguageModel:
        """The model that a checkpoint's metadata describes, with fresh weights."""
        return LanguageModel(from_json(meta["vocabulary"]), **meta["model"])

    @staticmethod
    def evaluate_run(model, texts, run, options) -> dict:
        """`evaluate` on files, folders or standard input, or on the validation part of the text of
        ``run``.
        """
        if not texts:
            return evaluate(model, validation_tokens(Run(run), model.vocabulary))
        settings = dict(
            level=model.vocabulary.level, encoding=options["encoding"] or "utf-8", vocabulary=model.vocabulary
        )
        return evaluate(model, corpora.load(text_sources.resolve(texts), **settings).tokens)

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
        logits, states = self.model(inputs, None if starts_epoch else self.states)
        self.states = [tuple(s.detach() for s in layer) for layer in states]
        return cross_entropy(logits, targets)

    def evaluate(self, stop=lambda: False) -> dict | None:
        """Validation figures, or None if ``stop()`` became true on the way."""
        figures = evaluate(self.model, self.val_tokens[:EVALUATION_TOKENS], stop=stop)
        return figures and {"val_loss": figures["loss"], "bits": figures["loss"] / math.log(2)}

    def state_arrays(self) -> dict:
        """The carried state as arrays by name."""
        return {
            f"{i}.{j}": state.numpy()
            for i, layer in enumerate(self.states or [])
            for j, state in enumerate(layer)
        }

    def load_state_arrays(self, arrays: dict):
        """Continue from what ``state_arrays`` returned."""
        layers, device = {}, self.model.embedding.weight.device
        for name in sorted(arrays, key=lambda n: tuple(map(int, n.split(".")))):
            layers.setdefault(int(name.split(".")[0]), []).append(tensor(arrays[name], device=device))
        self.states = [tuple(layer) for layer in layers.values()] or None


def evaluate(model: LanguageModel, tokens, *, batch_size=64, seq_len=100, stop=lambda: False) -> dict | None:
    """``loss`` (nats a token), ``perplexity``, ``bits_per_char`` and ``tokens`` over every token but the
    first.

    Returns None if ``stop()`` became true on the way.
    """
    if len(tokens) < 2:
        raise InputError("the text to evaluate on has fewer than two tokens: give a longer one")
    total, characters, states = 0.0, 0, None
    with model.evaluating():
        for inputs, targets, stream in windows.evaluation_windows(tokens, batch_size, seq_len):
            if stop():
                return None
            if stream == "last":
                states = [tuple(s[-1:] for s in layer) for layer in states]
            logits, states = model(inputs, states)
            total += cross_entropy(logits, targets, reduction="sum").item()
            characters += model.vocabulary.characters(targets.ravel())
    count = len(tokens) - 1
    loss = total / count
    return {
        "loss": loss,
        "perplexity": math.exp(min(loss, 700.0)),
        "bits_per_char": total / math.log(2) / max(characters, 1),
        "tokens": count,
    }


_MODEL = "cell hidden layers embed dropout recurrent_dropout weight_drop zoneout variational tie dtype seed".split()


def read_corpus(options, sources):
    """The corpus that the options of ``tinyrnn train`` describe."""
    return corpora.load(
        sources, options["level"], encoding=options["encoding"], vocab_size=options["vocab_size"]
    )


def _validation_file(options, vocabulary):
    source = text_sources.resolve([options["val"]])
    return corpora.load(source, options["level"], encoding=options["encoding"], vocabulary=vocabulary).tokens


def validation_tokens(run: Run, vocabulary):
    """The validation part of the text that a run was trained with.

    Raises:
        InputError: that text was standard input, is gone, or has changed since.
    """
    options = run.config["options"]
    if options["val"]:
        return _validation_file(options, vocabulary)
    if "-" in options["texts"]:
        raise InputError(
            "this run was trained on standard input, which is not kept: name a TEXT to evaluate on"
        )
    corpus = read_corpus(options, text_sources.resolve(options["texts"]))
    run.refuse_changed(corpus.fingerprint)
    return corpus.split(options["val_fraction"])[1]
