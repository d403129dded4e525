"""Text from a language model, one token at a time."""

import itertools
import operator
import time

import numpy as np

from ... import kernels
from ...autograd.linalg import autocast
from ...base import threads
from ...base.errors import InputError, shown
from ...base.options import Rule
from ...kernels.generator import Generator
from ..model import WEIGHTS

STRETCH, NOTICEABLE = 256, 0.02  # tokens, seconds


def choose(logits, *, temperature=1.0, top_k=None, top_p=None, u=0.0) -> int:
    """One id from logits ``[n]``.

    Args:
        temperature: divides the logits; 0 takes the largest.
        top_k: only the k most probable take part.
        top_p: of those, only the most probable that together reach this probability (Holtzman et al. 2020).
        u: uniform random number in [0, 1).
    """
    if temperature == 0:
        return int(np.argmax(logits))
    z = logits.astype(np.float64) / temperature
    p = np.exp(z - z.max())
    kept = np.arange(p.size)
    if top_k is not None or (top_p is not None and top_p < 1):
        kept = np.argsort(-p, kind="stable")[:top_k]
    if top_p is not None and top_p < 1:
        cumulative = np.cumsum(p[kept])
        kept = kept[: int(np.searchsorted(cumulative, top_p * cumulative[-1])) + 1]
    cumulative = np.cumsum(p[kept])
    return int(kept[min(np.searchsorted(cumulative, u * cumulative[-1], side="right"), len(kept) - 1)])


_RULES = {
    "prompt": Rule(str, optional=True),
    "length": Rule(int, low=1),
    "temperature": Rule(float, low=0),
    "top_k": Rule(int, optional=True, low=1),
    "top_p": Rule(float, optional=True, low=0, open_low=True, high=1),
    "stop": Rule(str, optional=True),
    "num": Rule(int, low=1),
    "weights": Rule(str, optional=True, choices=WEIGHTS),
}


def check_options(**options):
    """InputError for a sampling option out of range."""
    for name, value in options.items():
        _RULES[name].checked(value, name)
    if options.get("stop") == "":
        raise InputError("stop is an empty text: leave it out, or give the text to end before")


def generate(model, prompt=None, **options):
    """Yield the prompt and then pieces of text as they are sampled: the one sample of `generate_many`."""
    return generate_many(model, prompt, **options)[0]


def generate_many(
    model, prompt=None, num=1, *, length=200, temperature=0.8, top_k=None, top_p=None, seed=None, stop=None,
    weights=None,
):  # fmt: skip
    """For each of ``num`` samples an iterator that yields the prompt and then pieces of text as they are
    sampled, ``length`` tokens in all. They are sampled side by side, and what is not taken yet is kept.

    Args:
        model: has a ``vocabulary`` and ``step(ids [B], states) -> (logits [B, n], states)``; if it has a
            ``token_loop(batch, precision)`` that is not None, that is used.
        prompt: text to continue; its symbols outside the vocabulary are left out (or become ``<unk>``). None
            starts anywhere.
        temperature, top_k, top_p: see `choose`.
        seed: the same seed gives the same text, sample i that of ``seed + i``; None a new one each time.
        stop: end before this string appears.
        weights: one of `WEIGHTS`, for a model of float32 on a CPU: in fewer bits they are read faster, and
            texts are others. None: as they are stored.

    Raises:
        InputError: an option out of range, or a prompt of which nothing is in the vocabulary.
    """
    choice = dict(temperature=temperature, top_k=top_k, top_p=top_p)
    check_options(prompt=prompt, num=num, length=length, stop=stop, weights=weights, **choice)
    ids, _ = encode_prompt(model.vocabulary, prompt)
    precision = None if weights is None else model.precision_with(weights)
    keys = [Generator(None if seed is None else seed + i).key() for i in range(num)]
    chosen = [itertools.islice(c, length) for c in _chosen(model, ids, keys, precision, choice)]
    return [_stopped(_text(model.vocabulary, prompt, ids, c), stop) for c in chosen]


def encode_prompt(vocabulary, prompt: str | None):
    """Ids of a prompt and the symbols that the vocabulary lacks; without a prompt, one id to start from.

    Raises:
        InputError: the prompt is empty, or nothing of it is in the vocabulary.
    """
    if prompt is None:
        start = next((s for s in ("\n", "<eos>") if s in vocabulary.ids), vocabulary.symbols[-1])
        return np.array([vocabulary.ids[start]]), []
    if not prompt:
        raise InputError("the prompt is empty: leave it out to start anywhere, or give some text")
    ids = vocabulary.encode(prompt)
    missing = vocabulary.missing(prompt)
    if not len(ids):
        raise InputError(f"no symbol of the prompt {shown(prompt)} is in this model's vocabulary: use others")
    return ids, missing


def _text(vocabulary, prompt, ids, chosen):
    decode = vocabulary.decoder()
    for i in ids:  # what follows depends on them
        decode(i)
    first = next(chosen)  # compiles the loop, which may be told: not amid text
    if prompt is not None:
        yield prompt
    for i in itertools.chain([first], chosen):
        yield decode(i)


def _chosen(model, ids, keys, precision, options):
    """For each key an iterator of the ids that are sampled with it."""
    given = ids, model.vocabulary.unknown, options  # a placeholder is no text

    def alone(key):
        yield from _chosen(model, ids, [key], precision, options)[0]

    if len(keys) > 1 and getattr(model, "device", "cpu") != "cpu":  # where the loop writes one sequence
        return [alone(key) for key in keys]
    loop = model.token_loop(len(keys), precision) if hasattr(model, "token_loop") else None
    if loop is None:
        return [_eager(model, key, precision, *given) for key in keys]
    rows = itertools.tee(_compiled(loop, keys, *given), len(keys))
    return [map(operator.itemgetter(i), of_all) for i, of_all in enumerate(rows)]


def _eager(model, key, precision, ids, banned, options):
    """Ids one after the other, op by op: the reference of the compiled loop."""
    states = None

    def step(i):
        with autocast(precision):
            return model.step(np.array([i]), states)

    for i in ids:
        logits, states = step(i)
    for n in itertools.count():
        row = logits[0]
        if banned is not None:
            row = row.copy()
            row[banned] = -np.inf
        i = choose(row, u=float(kernels.random.uniform(key, 1, first=n)[0]), **options)
        yield i
        logits, states = step(i)


def _compiled(loop, keys, ids, banned, options):
    """The same by a `TokenLoop`, for all keys at once, in stretches of up to `STRETCH` tokens that take no
    longer than a person notices.
    """
    given, done, n = np.repeat(np.asarray(ids, np.int64)[:, None], len(keys), axis=1), 0, 1
    while True:
        known, began = len(given), time.perf_counter()
        u = np.zeros((known - 1 + n, len(keys)))
        for i, key in enumerate(keys):
            u[known - 1 :, i] = kernels.random.uniform(key, n, first=done)
        buffer = np.concatenate([given, np.zeros((n, len(keys)), np.int64)])
        with threads.alone():
            loop(buffer, known, u, banned=-1 if banned is None else banned, **options)
        yield from buffer[known:].tolist()
        given, done = buffer[-1:], done + n
        n = min(2 * n, STRETCH) if time.perf_counter() - began < NOTICEABLE else max(n // 2, 1)


def _stopped(pieces, stop):
    """The pieces up to where ``stop`` would appear after the first (the prompt); holds back what may begin
    it.
    """
    if not stop:
        yield from pieces
        return
    held, first = "", True
    for piece in pieces:
        if first:
            first = False
            yield piece
            continue
        held += piece
        if stop in held:
            yield held[: held.index(stop)]
            return
        safe = max(len(held) - len(stop) + 1, 0)
        yield held[:safe]
        held = held[safe:]
    yield held
