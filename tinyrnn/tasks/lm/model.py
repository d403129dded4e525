"""A language model over characters, bytes, words or byte pairs."""

import numpy as np

from ...autograd import matrix_transpose, no_grad, tensor
from ...autograd.linalg import autocast
from ...base.errors import InputError
from ...compiler.graph import Graph
from ...nn import AdaptiveLogSoftmaxWithLoss, Dropout, Embedding, Linear, Module
from ...nn.functional import linear, linear_cross_entropy
from ..model import TaskModel
from .sampling import generate_many


class TiedLinear(Module):
    """The output layer that shares the embedding's weights ``[symbols, width]`` (Press & Wolf 2017)."""

    def __init__(self, weight):
        self.weight = weight
        self.bias = tensor(np.zeros(len(weight)), weight.dtype, requires_grad=True)

    def forward(self, x):
        """``[..., width]`` to ``[..., symbols]``."""
        return linear(x, matrix_transpose(self.weight), self.bias)


class LanguageModel(TaskModel):
    """Embedding, recurrent layers, and a softmax over the vocabulary.

    Args:
        vocabulary: a `Vocabulary`.
        cell, cell_options, hidden, layers: of the `RNN`.
        dropout, recurrent_dropout, weight_drop, zoneout, variational: of the `RNN`; dropout also falls on the
            embedding and the last output.
        embed: width of the embedding.
        embed_dropout: of the embedding alone; None: ``dropout``.
        state: "carry": a window of training or evaluation goes on from the state of the one before; "reset":
            it begins with none.
        tie: the output layer uses the embedding's weights (Press & Wolf 2017); then ``embed`` must equal
            ``hidden``.
        softmax: "full", or "adaptive", which needs ``cutoffs`` and a vocabulary by falling frequency (see
            `AdaptiveLogSoftmaxWithLoss`) and cannot be tied.
    """

    task = "lm"

    def __init__(
        self, vocabulary, *, embed, embed_dropout=None, tie=False, state="carry", softmax="full",
        cutoffs=None, seed=0, **settings,
    ):  # fmt: skip
        self.adaptive = softmax == "adaptive"
        of_output = {"softmax": softmax, "cutoffs": cutoffs} if self.adaptive else {}
        own = dict(embed=embed, embed_dropout=embed_dropout, tie=tie, state=state, **of_output)
        super().__init__(seed, settings, **own)
        self.vocabulary, self.tie, self.carries = vocabulary, tie, state == "carry"
        # docs/defaults.md: 1 learns faster; but as an output layer such weights would be too sure at first
        self.embedding = Embedding(len(vocabulary), embed, std=None if tie else 1.0, **self.shared)
        self.rnn = self.recurrent(embed)
        width = self.rnn.output_size
        if tie and embed != width:
            raise InputError(
                f"--tie shares the embedding with the output: --embed {embed} must equal the cell's output, "
                f"{width}"
            )
        if self.adaptive:
            if tie:
                raise InputError("--softmax adaptive has no weights that --tie could share: leave one out")
            self.output = AdaptiveLogSoftmaxWithLoss(width, len(vocabulary), cutoffs, **self.shared)
        elif tie:
            self.output = TiedLinear(self.embedding.weight)
        else:
            self.output = Linear(width, len(vocabulary), **self.shared)
        how = {"variational": self.settings["variational"], "generator": self.generator}
        self.dropout = Dropout(self.settings["dropout"], **how)
        rate = self.settings["dropout"] if embed_dropout is None else embed_dropout
        self.embed_dropout = Dropout(rate, **how)

    def forward(self, ids, states=None):
        """Ids ``[T, B]`` (or vectors, see `embedded`) and the states of the window before: ``(logits [T, B,
        vocabulary], states)``.
        """
        ys, states = self.outputs(ids, states)
        return self.logits(ys), states

    def outputs(self, ids, states):
        """Of the last layer ``[T, B, width]``, dropout applied, and the states after them."""
        ys, states = self.rnn(self.embed_dropout(self.embedded(self.embedding, ids)), states)
        return self.dropout(ys), states

    def cost(self, ids, targets, states=None, *, reduction="mean"):
        """Cross-entropy with ``targets [T, B]`` in nats, and the states: ``(loss, states)``. Of a large
        vocabulary the logits are not all in memory at once.
        """
        with autocast(self.precision):
            ys, states = self.outputs(ids, states)
            if self.adaptive:
                found = self.output(ys, targets)
                return found.loss if reduction == "mean" else -found.output.sum(), states
            weight = matrix_transpose(self.output.weight) if self.tie else self.output.weight
            how = dict(linear_bias=self.output.bias, reduction=reduction)
            return linear_cross_entropy(ys, weight, targets, **how), states

    def logits(self, ys):
        """``[..., symbols]`` from outputs of the last layer; of an adaptive softmax log-probabilities."""
        return self.output.log_prob(ys) if self.adaptive else self.output(ys)

    def step(self, ids, states):
        """One step for generation: ids ``[B]`` and states to ``(logits [B, vocabulary] as an array,
        states)``.
        """
        with no_grad():
            states = self.rnn.initial_state(len(ids)) if states is None else states
            y, states = self.rnn.step(self.embedding(ids), states)
            return self.logits(y).numpy(), states

    def token_loop(self, batch=1, precision=None):
        """The same as a compiled loop from token to token (`TokenLoop`), None where it cannot be compiled."""
        from ...compiler.generation import token_loop  # and Numba with it

        def step(x, *states):
            y, new = self.rnn.step(x, self.rnn.layered(states))
            return *self.rnn.flat(new), self.logits(y)

        states = self.rnn.flat(self.rnn.initial_state(1))
        name = f"generation with {self.settings['cell']}"
        return token_loop(step, self.embedding.weight, states, name, batch, precision)

    def graphs(self, *, over_time=False) -> dict:
        """``step``: ``ids`` and the states, as ``NAME_LAYER``, to ``logits`` and ``new_NAME_LAYER``."""
        if self.adaptive:
            raise InputError("an adaptive softmax cannot be written out: train with --softmax full")
        graph = Graph.of(self)
        xs = graph.lookup(self.embedding.weight, graph.ids("ids", len(self.vocabulary), over_time=over_time))
        ys, _ = self.rnn.into(graph, xs, self.rnn.states_into(graph), keep=True)
        output = self.output  # and no more of the model, which a recording would look through

        def logits(ys):
            return output(ys)

        graph.output("logits", graph.call(logits, ys))
        return {"step": graph}

    def generate(self, prompt=None, *, num=None, **options) -> str | list[str]:
        """Continue ``prompt``; see `tinyrnn.tasks.lm.sampling.generate_many` for the options. Returns prompt
        and continuation; with ``num`` a list of so many.
        """
        texts = [
            "".join(pieces) for pieces in generate_many(self, prompt, 1 if num is None else num, **options)
        ]
        return texts[0] if num is None else texts

    def inherited(self) -> dict:
        """Also those of its vocabulary, and that it reads one way."""
        own = {"level": self.vocabulary.level, "softmax": "adaptive" if self.adaptive else "full"}
        return {**super().inherited(), **own, "bidirectional": False}

    def rows(self) -> dict:
        """Those of symbols; in an adaptive softmax new ones are of the last cluster."""
        symbols = self.vocabulary.symbols
        last = {"output.weight": ("symbols", symbols, 1), "output.bias": ("symbols", symbols, 0)}
        if self.adaptive:
            *_, low, _ = self.output.cutoffs
            last = {f"output.tail.{len(self.output.tail) - 1}.1.weight": ("symbols", symbols[low:], 1)}
        return {"embedding.weight": ("symbols", symbols, 0), **last}

    def facts(self) -> dict:
        """The vocabulary."""
        return {"vocabulary": self.vocabulary.to_json()}
