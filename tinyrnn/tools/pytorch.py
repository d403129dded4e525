"""Networks from PyTorch and for PyTorch, as `nn.Module` objects and by the names of its weights."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..autograd.functional import creation
from ..base.errors import InputError, few
from ..nn import RNN, Embedding, Linear, Module
from ..nn.counterparts import torch_kind, torch_of_cell
from ..nn.module import read_weights
from ..nn.pytorch import Activation, Array, array_of, prefixes, stack_of, suffix
from ..training.screen import note

TAKEN = "nn.RNN, nn.LSTM, nn.GRU, nn.Embedding and nn.Linear"


def from_torch(
    x: Any, /, *, symbols: Any = None, level: str | None = None, activation: Activation | None = None
) -> Any:
    """What is PyTorch's, here.

    A tensor becomes a `Tensor` over the same memory, on the CPU or a GPU, without a copy or a gradient.

    A layer (``nn.RNN``, ``nn.LSTM``, ``nn.GRU`` of any depth and direction, ``nn.Embedding``, ``nn.Linear``)
    becomes ours, with copies of its weights; a module that is made of such a dict of them by name. Of a state
    dict, or a safetensors file with PyTorch's names (``weight_ih_l0``), the recurrent layers are made.

    With ``symbols`` it is a language model: one embedding, recurrent layers, one linear output, found by what
    they are, whatever their names. It generates, and ``tr.Run.of(model, path)`` keeps it as a run.

    Args:
        x: a tensor, a module, a state dict, or a path.
        symbols: of a language model, by their numbers: a list, a dict from symbols to numbers, or a text: one
            in which each character stands once, or any, whose characters are those of ``sorted(set(text))``.
        level: what a symbol is, as in ``tinyrnn train --level``; default: one character.
        activation: of ``nn.RNN`` in a state dict, which does not tell it: ``"tanh"`` or ``"relu"``.

    Raises:
        InputError: something has no counterpart here, or the symbols are not those of the network; a tensor
            that requires a gradient.
    """
    nn = sys.modules.get("torch.nn")
    if nn is not None and isinstance(x, nn.Module):
        layers, tied = _of_module(nn, x)
    elif isinstance(x, Mapping | str | os.PathLike):
        state = x if isinstance(x, Mapping) else _read(x)
        layers, tied = _of_state(state, activation, symbols is not None or level is not None)
    else:
        return creation.from_torch(x)
    if symbols is None and level is None:
        return layers.get("", layers)
    from .networks import language_model

    return language_model(layers, tied, symbols, level)


def to_torch(x: Any, /) -> Any:
    """What is ours, in PyTorch.

    A tensor becomes one of PyTorch's over the same memory, on the CPU or a GPU, without a copy or a gradient;
    `RNN`, `Embedding` and `Linear` ``nn.LSTM`` and so on, with copies of their weights; a language model, or
    a `Run` of one, a module of ``embedding``, ``rnn`` and ``output``: ``logits, states = module(ids,
    states)``, ids ``[T, B]``, with the symbols by their numbers as ``symbols``.

    Raises:
        GradientError: ``x`` is a tensor on the tape; ``InputError``: PyTorch is not installed, or has no such
            layer or cell.
    """
    if not isinstance(x, Module):
        from ..training.run import Run

        if not isinstance(x, Run):
            return creation.to_torch(x)
        x = x.model
    try:
        import torch
    except ImportError as error:
        raise InputError("to_torch: PyTorch is not installed: pip install torch") from error
    if isinstance(x, RNN | Linear | Embedding):
        return _layer_to(torch, x)
    from ..tasks.lm.model import LanguageModel

    if not isinstance(x, LanguageModel) or x.adaptive:
        what = "a model with an adaptive softmax" if isinstance(x, LanguageModel) else f"a {type(x).__name__}"
        raise InputError(
            f"to_torch: {what} is not known there: give an RNN, Embedding, Linear or language model"
        )
    output = _linear_to(
        torch, np.transpose(x.embedding.weight.numpy()) if x.tie else x.output.weight.numpy(), x.output.bias
    )
    parts = [_layer_to(torch, x.embedding), _layer_to(torch, x.rnn), output]
    made = _module_class()(*parts, x.embed_dropout.p, x.dropout.p, x.vocabulary.symbols)
    if x.tie:
        made.output.weight = made.embedding.weight
    return made.train(x.training)


# ------------------------------------------------------------------ from PyTorch


def _read(path: str | os.PathLike[str]) -> dict[str, Array]:
    """The weights in a file; InputError as `read_weights`."""
    if os.fspath(path).endswith((".pt", ".pth", ".bin", ".ckpt")):
        how = "safetensors.torch.save_file(model.state_dict(), 'NAME.safetensors')"
        raise InputError(f"{path}: files of torch.save are pickle, which is not read: write it by {how}")
    return read_weights(path)


def _of_module(nn: Any, module: Any) -> tuple[dict[str, Module], bool]:
    """Its layers by name, and whether a linear one has an embedding's weights."""
    layers, left = {}, dict(module.named_parameters())
    known = {}
    for name, child in module.named_modules():
        if type(child) in (nn.RNN, nn.LSTM, nn.GRU, nn.Embedding, nn.Linear):
            own = dict(child.named_parameters())
            ids = {id(p) for p in own.values()}
            left = {n: p for n, p in left.items() if id(p) not in ids}
            state = {n: array_of(n, p) for n, p in own.items()}
            layers[name], known[name] = _layer_of(nn, name or type(child).__name__, child, state), child
    if left or not layers:
        what = f"holds {few(left)}" if left else "holds none of them"
        raise InputError(f"from_torch takes modules made of {TAKEN}, and {type(module).__name__} {what}")
    weights = [
        {id(child.weight) for child in known.values() if isinstance(child, kind)}
        for kind in (nn.Embedding, nn.Linear)
    ]
    return layers, bool(weights[0] & weights[1])


def _layer_of(nn: Any, name: str, layer: Any, state: dict[str, Array]) -> Module:
    """One of ours, for one of PyTorch's and its weights."""
    from . import networks

    if isinstance(layer, nn.Linear):
        return networks.linear(state["weight"].T, state.get("bias"))
    if isinstance(layer, nn.Embedding):
        for option in ("max_norm", "scale_grad_by_freq"):
            if getattr(layer, option):
                raise InputError(f"{name} has {option}, which no embedding here has: train without")
        if layer.padding_idx is not None:
            note(f"{name}: row {layer.padding_idx} (padding_idx) is a row like the others here, and learns")
        return networks.embedding(state["weight"])
    if layer.batch_first:
        note(f"{name}: inputs and outputs are [T, B, F] here, time first, not batch_first")
    activation: Activation | None = getattr(layer, "nonlinearity", None)
    return networks.recurrent(stack_of(state, activation), dropout=layer.dropout)


def _of_state(
    given: Mapping[str, Any], activation: Activation | None, whole: bool
) -> tuple[dict[str, Module], bool]:
    """The layers that a state dict is of, and whether its output has the embedding's weights; ``whole``:
    all of a language model, else recurrent layers alone.
    """
    from . import networks

    state = {name: array_of(name, value) for name, value in given.items()}
    found = prefixes(state)
    if len(found) != 1:
        several = (
            f"of {len(found)} ({few(found)})" if found else "of none: names such as weight_ih_l0 are missing"
        )
        raise InputError(f"the weights must be of one stack of recurrent layers, and are {several}")
    names = [name for name in state if prefixes([name])]
    stack = stack_of({name.removeprefix(found[0]): state.pop(name) for name in names}, activation)
    rnn = networks.recurrent(stack)
    if not whole:
        if state:
            more = "of a language model give symbols= too, else the weights of recurrent layers alone"
            raise InputError(f"beside recurrent layers there are {few(state)}: {more}")
        return {"": rnn}, False
    source, target = _ends(state, stack.sizes[0], rnn.output_size)
    embedding = state.pop(f"{source}weight")
    output = state.pop(f"{target}weight") if target else embedding
    biases = [f"{target}bias"] if target else [name for name in state if name.endswith("bias")][:1]
    bias = next((state.pop(name) for name in biases if name in state), None)
    if state:
        raise InputError(
            f"a language model has an embedding, recurrent layers and an output, not {few(state)}"
        )
    layers = {"embedding": networks.embedding(embedding), "output": networks.linear(output.T, bias)}
    return {**layers, "rnn": rnn}, embedding.shape == output.shape and np.array_equal(embedding, output)


def _ends(state: dict[str, Array], inputs: int, outputs: int) -> tuple[str, str]:
    """How the names of the weights of the embedding and the output begin; the second is empty where the
    output has no weights of its own, since a file keeps tied ones once.
    """
    matrices = {
        name.removesuffix("weight"): a.shape
        for name, a in state.items()
        if name.endswith("weight") and a.ndim == 2
    }
    sources = [n for n, shape in matrices.items() if shape[1] == inputs and f"{n}bias" not in state]
    targets = [n for n, shape in matrices.items() if shape[1] == outputs]
    pairs = [(a, b) for a in sources for b in targets if a != b]
    if any(np.array_equal(state[f"{a}weight"], state[f"{b}weight"]) for a, b in pairs):  # they are tied
        pairs = pairs[:1]
    if len(pairs) > 1:  # their shapes are the same
        pairs = [(a, b) for a, b in pairs if "emb" in a.lower() and "emb" not in b.lower()]
    if len(matrices) == 1 and inputs == outputs:
        return next(iter(matrices)), ""
    if len(pairs) != 1:
        mend = "give the module, or let the name of the embedding alone hold 'emb'"
        raise InputError(
            f"which weights are embedding and output cannot be told from {few(matrices)}: {mend}"
        )
    return pairs[0]


# ------------------------------------------------------------------ to PyTorch


def _layer_to(torch: Any, layer: Module) -> Any:
    """One of PyTorch's, with copies of the weights."""
    if isinstance(layer, Linear):
        return _linear_to(torch, layer.weight.numpy(), layer.bias)
    if isinstance(layer, Embedding):
        weight = _tensor(torch, layer.weight.numpy())
        return torch.nn.Embedding.from_pretrained(weight, freeze=False)
    assert isinstance(layer, RNN)
    kind, options = torch_kind(layer.cells[0])
    of = layer.regulariser
    if any(of.zoneout):
        raise InputError(
            f"to_torch: zoneout is part of the step, and nn.{kind.upper()} has none: train without"
        )
    if of.recurrent_dropout or of.weight_drop or of.variational:
        note(
            f"to_torch: nn.{kind.upper()} has no recurrent_dropout, weight_drop or variational, "
            "which matter in training alone"
        )
    shape = dict(num_layers=layer.num_layers, bidirectional=layer.directions == 2)
    shape |= {"nonlinearity": options["activation"]} if kind == "rnn" else {}
    dtype = getattr(torch, str(layer.cells[0].dtype))
    first = layer.cells[0]
    rate = layer.dropout.p if layer.num_layers > 1 else 0.0  # between layers: else it means nothing
    made = getattr(torch.nn, kind.upper())(
        first.input_size, first.hidden_size, dropout=rate, dtype=dtype, **shape
    )
    state = {
        part + suffix(i, layer.directions): _tensor(torch, array)
        for i, cell in enumerate(layer.cells)
        for part, array in torch_of_cell(cell).items()
    }
    made.load_state_dict(state)
    return made.train(layer.training)


def _linear_to(torch: Any, weight: Array, bias: Any) -> Any:
    made = torch.nn.Linear(*weight.shape, bias=bias is not None, dtype=getattr(torch, str(weight.dtype)))
    state = {"weight": weight.T} | ({} if bias is None else {"bias": bias.numpy()})
    made.load_state_dict({name: _tensor(torch, array) for name, array in state.items()})
    return made


def _tensor(torch: Any, array: Array) -> Any:
    return torch.from_numpy(np.array(array, order="C"))


@functools.cache
def _module_class() -> Any:
    """The class of language models, made when PyTorch is there."""
    import torch

    class LanguageModel(torch.nn.Module):
        """``logits, states = module(ids, states)``: ids ``[T, B]``; states of ``rnn``, or None."""

        def __init__(
            self, embedding: Any, rnn: Any, output: Any, p_in: float, p_out: float, symbols: Any
        ) -> None:
            super().__init__()
            self.embedding, self.rnn, self.output = embedding, rnn, output
            self.dropout_in, self.dropout_out = torch.nn.Dropout(p_in), torch.nn.Dropout(p_out)
            self.symbols = list(symbols)

        def forward(self, ids: Any, states: Any = None) -> Any:
            ys, states = self.rnn(self.dropout_in(self.embedding(ids)), states)
            return self.output(self.dropout_out(ys)), states

    return LanguageModel
