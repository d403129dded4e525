"""What can befall the input of a model: noise, mistakes of typists, losses, and an adversary that knows the
gradient. Functions of the data, a strength and a `Generator` alone; strength 0 changes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from ..autograd import Tensor, tensor
from ..autograd.functional import ones_like, zeros_like
from ..autograd.tape import backpropagate
from ..kernels.generator import Generator

Array = np.ndarray[Any, Any]
PGD_STEPS = 10
_ROWS = ("1234567890-=", "qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,./")  # of a keyboard, each half a key on
_BESIDE = ((0, -1), (0, 1), (-1, 0), (-1, 1), (1, -1), (1, 0))
KEYS = {
    key: "".join(
        _ROWS[r + down][i + on]
        for down, on in _BESIDE
        if 0 <= r + down < len(_ROWS) and 0 <= i + on < len(_ROWS[r + down])
    )
    for r, row in enumerate(_ROWS)
    for i, key in enumerate(row)
}
KEYS |= {key.upper(): near.upper() for key, near in KEYS.items() if key.isalpha()}


# ------------------------------------------------------------------ symbols


@dataclass(frozen=True)
class Symbols:
    """Texts as one array, each after the one before.

    ``ids [N]`` of a ``vocabulary``; ``texts [N]``, the number of the text that each is of, rising; ``places
    [N]``: how far in the undisturbed text one has come there, the place of the furthest symbol that was read.
    """

    ids: Array
    texts: Array
    places: Array
    vocabulary: Any

    @classmethod
    def of(cls, sequences: list[Array], vocabulary: Any) -> Self:
        """Undisturbed texts."""
        lengths = [len(s) for s in sequences]
        places = np.concatenate([np.arange(n) for n in lengths])
        return cls(np.concatenate(sequences), np.repeat(np.arange(len(lengths)), lengths), places, vocabulary)

    def split(self, values: Array) -> list[Array]:
        """``values [N, ...]`` by text; every disturbance leaves a symbol of each."""
        return np.split(values, np.flatnonzero(np.diff(self.texts)) + 1)

    def put(self, at: Array, ids: Array) -> Self:
        """With other symbols ``at`` some indices."""
        found = self.ids.copy()
        found[at] = ids
        return replace(self, ids=found)


def chosen(n: int, strength: float, generator: Generator) -> Array:
    """``round(strength * n)`` of n indices, all at most, rising; a greater strength keeps those of a
    smaller.
    """
    return np.sort(_order(n, generator)[: round(strength * n)])


def _order(n: int, generator: Generator) -> Array:
    """n indices in an order that is drawn."""
    return np.argsort(generator.uniform(0, 1, (n,)), kind="stable")


def others(ids: Array, symbols: int, generator: Generator) -> Array:
    """For each of ``ids`` another one, evenly of all the ``symbols`` that there are."""
    return (ids + generator.integers(1, max(symbols, 2), ids.shape)) % symbols


def substituted(text: Symbols, strength: float, generator: Generator) -> Symbols:
    """That share of the symbols is replaced by others at random."""
    at = chosen(len(text.ids), strength, generator)
    return text.put(at, others(text.ids[at], len(text.vocabulary), generator))


def mistyped(text: Symbols, strength: float, generator: Generator) -> Symbols:
    """In that share of the symbols one character is that of a key beside its own; where this is no symbol
    that the model knows or can call unknown, another symbol stands at random.
    """
    at = chosen(len(text.ids), strength, generator)
    ids = others(text.ids[at], len(text.vocabulary), generator)
    typed: dict[int, list[int]] = {}
    for n, (i, u) in enumerate(zip(text.ids[at].tolist(), generator.uniform(0, 1, at.shape), strict=True)):
        if i not in typed:
            typed[i] = _typed(text.vocabulary, i)
        if typed[i]:
            ids[n] = typed[i][int(u * len(typed[i]))]
    return text.put(at, ids)


def _typed(vocabulary: Any, i: int) -> list[int]:
    """What symbol ``i`` becomes where one of its characters is mistyped."""
    s = vocabulary.symbols[i]
    forms = [s[:k] + key + s[k + 1 :] for k, c in enumerate(s) for key in KEYS.get(c, "")]
    found = [vocabulary.ids.get(form, vocabulary.unknown) for form in forms]
    return [j for j in found if j is not None and j != i]


def dropped(text: Symbols, strength: float, generator: Generator) -> Symbols:
    """That share of the symbols is missing; the first of a text stays, so that no text is empty."""
    loose = np.flatnonzero(text.places > 0)
    gone = loose[_order(len(loose), generator)[: round(strength * len(text.ids))]]
    return replace(text, **{k: np.delete(getattr(text, k), gone) for k in ("ids", "texts", "places")})


def swapped(text: Symbols, strength: float, generator: Generator) -> Symbols:
    """So many swaps of neighbours, as a share of the symbols; none takes part in two."""
    pairs = np.flatnonzero(text.texts[1:] == text.texts[:-1])
    order = pairs[_order(len(pairs), generator)]
    free, at = np.ones(len(text.ids), bool), list[int]()
    for i in order.tolist():
        if len(at) == round(strength * len(text.ids)):
            break
        if free[i] and free[i + 1]:
            free[i : i + 2] = False
            at.append(i)
    first = np.array(sorted(at), np.int64)
    ids, places = text.ids.copy(), text.places.copy()
    ids[first], ids[first + 1] = text.ids[first + 1], text.ids[first]
    places[first] += 1  # the later of the two was read already
    return replace(text, ids=ids, places=places)


def inserted(text: Symbols, strength: float, generator: Generator) -> Symbols:
    """So many symbols, as a share of those there are, stand between them at random."""
    at = chosen(len(text.ids), strength, generator)
    new = generator.integers(0, len(text.vocabulary), at.shape)
    added = dict(ids=new, texts=text.texts[at], places=text.places[at])
    return replace(text, **{k: np.insert(getattr(text, k), at + 1, values) for k, values in added.items()})


def gains(gradient: Array, ids: Array, vectors: Array) -> Array:
    """``[n, symbols]``: how much the loss rises, to first order, where one of ``ids [n]`` is replaced by each
    symbol, from its ``gradient [n, width]`` by the embedded input (Ebrahimi et al. 2018, eq. 1).
    """
    return gradient @ vectors.T - (gradient * vectors[ids]).sum(axis=-1, keepdims=True)


def hotflip(text: Symbols, strength: float, gradients: Callable[[Symbols], Array], vectors: Array) -> Symbols:
    """That share of the symbols of each text is replaced, one after the other by the substitution that
    raises the loss most to first order, none twice (HotFlip: Ebrahimi et al. 2018, greedily).

    Args:
        gradients: of the loss of each text by the embedded symbols, ``[N, width]``.
        vectors: ``[symbols, width]``, the embeddings.
    """
    ends = np.cumsum([0, *(len(s) for s in text.split(text.ids))])
    left = np.diff(np.round(strength * ends)).astype(int)  # so that they are as many as is due in all
    flipped = np.zeros(len(text.ids), bool)
    while left.any():
        found, at, ids = gradients(text), list[int](), list[int]()
        for i in np.flatnonzero(left):
            part = slice(ends[i], ends[i + 1])
            rise = gains(found[part], text.ids[part], vectors)
            rise[flipped[part]] = -np.inf
            rise[np.arange(len(rise)), text.ids[part]] = -np.inf
            place, symbol = np.unravel_index(int(rise.argmax()), rise.shape)
            at.append(int(ends[i] + place))
            ids.append(int(symbol))
        text, flipped[at] = text.put(np.array(at), np.array(ids)), True
        left -= left > 0
    return text


# ------------------------------------------------------------------ numbers


def noisy(values: Array, strength: float, generator: Generator) -> Array:
    """Plus Gaussian noise of that standard deviation."""
    return values + generator.normal(0, strength, values.shape).astype(values.dtype)


def missing(values: Array, strength: float, generator: Generator) -> Array:
    """That share of them is 0, the mean of scaled values, which is what an unknown one is read as."""
    found = values.copy()
    found.flat[chosen(values.size, strength, generator)] = 0
    return found


def fgsm(values: Array, strength: float, gradient: Callable[[Array], tuple[float, Array]]) -> Array:
    """Each moved by ``strength`` to the side where the loss rises (Goodfellow, Shlens & Szegedy 2015); where
    the derivative is 0, not at all.

    Args:
        gradient: the loss of values, and its gradient by them.
    """
    return values + (strength * np.sign(gradient(values)[1])).astype(values.dtype)


def pgd(values: Array, strength: float, gradient: Callable[[Array], tuple[float, Array]]) -> Array:
    """Moved by at most ``strength`` each: of `PGD_STEPS` steps of projected ascent (Madry et al. 2018,
    section 2.1) that start where `fgsm` ends, the values with the greatest loss. (From a random point
    the ascent ended below `fgsm` where forecasts were attacked.)
    """
    best = at = fgsm(values, strength, gradient)
    most, slope = gradient(at)
    for _ in range(PGD_STEPS):
        moved = at + 2.5 * strength / PGD_STEPS * np.sign(slope)
        at = np.clip(moved, values - strength, values + strength).astype(values.dtype)
        loss, slope = gradient(at)
        if loss > most:
            best, most = at, loss
    return best


# ------------------------------------------------------------------ gradients, and training


def value_and_slope(cost: Callable[[Tensor], Tensor], values: Tensor) -> tuple[float, Tensor]:
    """``cost(values)``, a number, and its gradient by ``values`` alone: no parameter receives any."""
    leaf = values.detach()
    leaf.requires_grad = True
    found, slope = cost(leaf), None
    if found.node is not None and leaf.node is not None:
        slope = backpropagate([(found.node, ones_like(found))], targets={leaf.node}).get(leaf.node)
    return found.item(), zeros_like(values) if slope is None else slope


def hardened_text(
    cost: Callable[[Any], Tensor], ids: Array, embedding: Any, generator: Generator, *, noise: float = 0.0,
    adversarial: float = 0.0,
) -> Tensor:  # fmt: skip
    """``cost(ids)``, which takes vectors too, of a training step on ids ``[T, B]`` that is made harder.

    Args:
        noise: the probability of each symbol to be another one.
        adversarial: each of the B texts, embedded, is also moved by a vector of that norm along the gradient
            (Miyato, Dai & Goodfellow 2017, eq. 5 to 7); the mean of both costs is trained.
    """
    if noise:
        struck = generator.uniform(0, 1, ids.shape) < noise
        ids = np.where(struck, others(ids, len(embedding.weight), generator), ids)
    if not adversarial:
        return cost(ids)

    def along(slope):
        return slope / ((slope * slope).sum(axis=(0, 2), keepdims=True) + 1e-30).sqrt()

    return _with_adversary(cost, embedding(ids), adversarial, along)


def hardened_numbers(
    cost: Callable[[Any], Tensor], values: Array, model: Any, *, noise: float = 0.0, adversarial: float = 0.0
) -> Tensor:
    """``cost(values)`` of a training step of ``model`` that is made harder: by Gaussian noise, and by the
    mean with the cost of values moved by ``adversarial`` each along the gradient's sign (`fgsm`).
    """
    values = noisy(values, noise, model.generator) if noise else values
    if not adversarial:
        return cost(values)
    return _with_adversary(cost, tensor(values, device=model.device), adversarial, Tensor.sign)


def _with_adversary(cost, values, strength, along) -> Tensor:
    """The mean of the cost of values and of values moved (Goodfellow, Shlens & Szegedy 2015, section 6); the
    undisturbed cost is the last that is asked for.
    """
    _, slope = value_and_slope(cost, values)
    return (cost(values + strength * along(slope)) + cost(values)) / 2
