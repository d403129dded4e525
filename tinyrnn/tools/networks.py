"""Networks that were trained with another library: layers made of their weights, and language models of
layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..autograd.types import DType
from ..base.errors import InputError, few, shown
from ..base.files import parsed
from ..nn import RNN, Embedding, Linear, Module
from ..nn.counterparts import kind_of
from ..nn.pytorch import Array, Stack
from ..tasks.lm.model import LanguageModel
from ..tasks.text.vocabulary import UNKNOWN, UNKNOWN_WORD, Vocabulary, from_json
from ..training.screen import note

Layers = Mapping[str, Module]


def recurrent(stack: Stack, *, dropout: float = 0.0) -> RNN:
    """The layers that have these weights, in their precision."""
    dtype: DType = stack.cells[0]["W"].dtype
    shape: Any = dict(bidirectional=stack.directions == 2, dropout=dropout, dtype=dtype, seed=0)
    depth = len(stack.cells) // stack.directions
    made = RNN(stack.cell, *stack.sizes, num_layers=depth, cell_options=stack.options, **shape)
    for cell, arrays in zip(made.cells, stack.cells, strict=True):
        cell.load_state_dict(arrays)
    return made


def linear(weight: Array, bias: Array | None = None) -> Linear:
    """``weight [in, out]``, and a bias where there is one."""
    made = Linear(*weight.shape, bias=bias is not None, dtype=weight.dtype)
    made.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}))
    return made


def embedding(weight: Array) -> Embedding:
    """``weight [symbols, width]``."""
    made = Embedding(*weight.shape, dtype=weight.dtype)
    made.load_state_dict({"weight": weight})
    return made


def language_model(layers: Layers, tied: bool, symbols: Any, level: str | None) -> LanguageModel:
    """The language model of an embedding, recurrent layers and a linear output, of whatever names.

    Args:
        tied: the output has the embedding's weights.
        symbols, level: as `vocabulary_of` takes them.

    Raises:
        InputError: it is not one of each, they do not fit each other or the symbols, or it reads both ways.
    """
    found = []
    for kind, what in (
        (Embedding, "nn.Embedding"),
        (RNN, "nn.RNN, nn.LSTM or nn.GRU"),
        (Linear, "nn.Linear"),
    ):
        names = [name for name, layer in layers.items() if isinstance(layer, kind)]
        if len(names) != 1:
            has = f"{len(names)} ({few(names)})" if names else "none"
            raise InputError(f"a language model has one {what}, this network has {has}")
        found.append(layers[names[0]])
    embed, rnn, output = found
    assert isinstance(embed, Embedding)  # as found above: for type checkers
    assert isinstance(rnn, RNN)
    assert isinstance(output, Linear)
    count, width = embed.weight.shape
    if rnn.directions == 2:
        raise InputError(
            "the recurrent layers read from both ends: a language model reads from left to right"
        )
    sizes = [("embedding", width, "recurrent layers", rnn.cells[0].input_size)]
    sizes += [("recurrent layers", rnn.output_size, "output", output.weight.shape[0])]
    sizes += [("output", output.weight.shape[1], "embedding's symbols", count)]
    for one, size, other, needed in sizes:
        if size != needed:
            raise InputError(
                f"the {one} has the width {size}, the {other} {needed}: they do not fit together"
            )
    cell, options = kind_of(rnn.cells[0])
    rates: Any = dict(dropout=rnn.dropout.p, tie=tied, dtype=str(rnn.cells[0].dtype))
    shape: Any = dict(embed=width, hidden=rnn.hidden_size, layers=rnn.num_layers)
    vocabulary = vocabulary_of(symbols, level, count)
    model = LanguageModel(vocabulary, cell=cell, cell_options=options, **shape, **rates)
    state = {f"embedding.{name}": array for name, array in embed.state_dict().items()}
    state |= {f"rnn.{name}": array for name, array in rnn.state_dict().items()}
    state |= {
        f"output.{name}": array for name, array in output.state_dict().items() if not tied or name == "bias"
    }
    state.setdefault("output.bias", model.output.bias.numpy())  # it has none there: 0
    model.load_state_dict(state)
    unknown = "none" if vocabulary.unknown is None else repr(vocabulary.symbols[vocabulary.unknown])
    tie = ", output tied to the embedding" if tied else ""
    note(
        f"{cell} {rnn.num_layers} x {rnn.hidden_size}, embedding {width}{tie}; {count:,} symbols "
        f"({vocabulary.level}; {few(map(repr, vocabulary.symbols), 5)}; unknown: {unknown})"
    )
    return model.eval()


def read_symbols(path: str | None, level: str | None) -> Any:
    """The symbols in a file, as `vocabulary_of` takes them: of JSON what it holds, else its text, or where
    symbols are longer its lines.

    Raises:
        InputError: it cannot be read.
    """
    if path is None:
        return None
    try:
        text = Path(path).read_bytes().decode()
        if path.endswith(".json") and level != "bpe":
            return parsed(text.encode())
    except (OSError, ValueError) as error:
        raise InputError(f"the symbols in {path} cannot be read: {error}") from error
    return (
        text if level in (None, "char", "bpe") else text.removesuffix("\n").replace("\r\n", "\n").split("\n")
    )


def vocabulary_of(symbols: Any, level: str | None, count: int) -> Vocabulary:
    """The vocabulary of ``count`` symbols that a network was trained with.

    Args:
        symbols: a list of them by their numbers; a dict from symbols to numbers; a text in which each
            character stands once, by their numbers, or any text, whose distinct characters are numbered by
            code point, as ``sorted(set(text))`` does. None: the 256 bytes, if ``level`` is "byte".
        level: what a symbol is, as ``--level`` names it; None: "char", if each is one character.

    Raises:
        InputError: they are none, or of another number.
    """
    if isinstance(symbols, str) and level != "bpe":
        symbols = list(symbols) if len(set(symbols)) == len(symbols) else sorted(set(symbols))
    elif isinstance(symbols, Mapping):
        numbers = sorted(symbols.values()) if all(type(i) is int for i in symbols.values()) else None
        if numbers != list(range(len(symbols))):
            raise InputError("the symbols are not numbered from 0 on, each number once: give a list of them")
        symbols = sorted(symbols, key=symbols.__getitem__)
    elif isinstance(symbols, Sequence) and not isinstance(symbols, str | bytes):
        symbols = list(symbols)
    if level is None:
        if not isinstance(symbols, list) or not all(isinstance(s, str) and len(s) == 1 for s in symbols):
            kinds = "'token' (what stands between spaces), 'word' (with the space before it) or 'byte'"
            mend = f"say what they are (--level), level={kinds}"
            raise InputError(f"symbols is {shown(symbols)}, not one character each: {mend}")
        level = "char"
    stored: dict[str, Any] = {"level": level} if symbols is None else {"level": level, "symbols": symbols}
    if isinstance(symbols, list):
        marks = (UNKNOWN, UNKNOWN_WORD) if level != "char" else (UNKNOWN,)
        stored["unknown"] = next((symbols.index(mark) for mark in marks if mark in symbols), None)
    try:
        found = from_json(stored, "symbols")
    except ValueError as error:
        raise InputError(f"the symbols cannot be used: {error}") from None
    if len(found) != count:
        raise InputError(
            f"there are {len(found):,} symbols, but the network has {count:,}: give those it was trained with"
        )
    return found
