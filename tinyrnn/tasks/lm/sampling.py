"""Text from a language model, one token at a time."""

import itertools
import time

import numpy as np

from ... import kernels
from ...base import threads
from ...base.errors import InputError, shown
from ...base.options import Rule
from ...kernels.generator import Generator

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
}


def check_options(**options):
    """InputError for a sampling option out of range."""
    for name, value in options.items():
        _RULES[name].checked(value, name)
    if options.get("stop") == "":
        raise InputError("stop is an empty text: leave it out, or give the text to end before")


def generate(
    model, prompt=None, *, length=200, temperature=0.8, top_k=None, top_p=None, seed=None, stop=None
):
    """Yield the prompt and then pieces of text as they are sampled, ``length`` tokens in all.

    Args:
        model: has a ``vocabulary`` and ``step(ids [B], states) -> (logits [B, n], states)``; if it has a
            ``token_loop()`` that is not None, that is used.
        prompt: text to continue; its symbols outside the vocabulary are left out (or become ``<unk>``). None
            starts anywhere.
        temperature, top_k, top_p: see `choose`.
        seed: the same seed gives the same text; None a new one each time.
        stop: end before this string appears.

    Raises:
        InputError: an option out of range, or a prompt of which nothing is in the vocabulary.
    """
    choice = dict(length=length, temperature=temperature, top_k=top_k, top_p=top_p)
    check_options(prompt=prompt, stop=stop, **choice)
    ids, _ = encode_prompt(model.vocabulary, prompt)
    return _stopped(_stream(model, prompt, ids, generator=Generator(seed), **choice), stop)


def encode_prompt(vocabulary, prompt: str | None):
    """Ids of a prompt and the symbols that the vocabulary lacks; without a prompt, one id to start from.

    Raises:
        InputError: the prompt is empty, or nothing of it is in the vocabulary.
    """
    if prompt is None:
        start = "\n" if "\n" in vocabulary.ids else vocabulary.symbols[-1]
        return vocabulary.encode(start), []
    if not prompt:
        raise InputError("the prompt is empty: leave it out to start anywhere, or give some text")
    ids = vocabulary.encode(prompt)
    missing = vocabulary.missing(prompt)
    if not len(ids):
        raise InputError(f"no symbol of the prompt {shown(prompt)} is in this model's vocabulary: use others")
    return ids, missing


def _stream(model, prompt, ids, *, length, generator, **options):
    decode, banned = model.vocabulary.decoder(), model.vocabulary.unknown  # a placeholder is no text
    loop = model.token_loop() if hasattr(model, "token_loop") else None
    given = ids, banned, generator.key(), options
    chosen = _eager(model, *given) if loop is None else _compiled(loop, *given)
    chosen = itertools.islice(chosen, length)
    first = next(chosen)  # compiles the loop, which may be told: not amid text
    if prompt is not None:
        yield prompt
    for i in itertools.chain([first], chosen):
        yield decode(i)


def _eager(model, ids, banned, key, options):
    """Ids one after the other, op by op: the reference of the compiled loop."""
    states = None
    for i in ids:
        logits, states = model.step(np.array([i]), states)
    for n in itertools.count():
        row = logits[0]
        if banned is not None:
            row = row.copy()
            row[banned] = -np.inf
        i = choose(row, u=float(kernels.random.uniform(key, 1, first=n)[0]), **options)
        yield i
        logits, states = model.step(np.array([i]), states)


def _compiled(loop, ids, banned, key, options):
    """The same by a `TokenLoop`, in stretches of up to `STRETCH` tokens that take no longer than a person
    notices.
    """
    given, done, n = np.asarray(ids, np.int64), 0, 1
    while True:
        known, began = len(given), time.perf_counter()
        u = np.concatenate([np.zeros(known - 1), kernels.random.uniform(key, n, first=done)])
        buffer = np.concatenate([given, np.zeros(n, np.int64)])
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
