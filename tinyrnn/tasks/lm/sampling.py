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
from ...training.screen import note
from ..model import WEIGHTS

STRETCH, NOTICEABLE = 256, 0.02  # tokens, seconds
IN_LOOP = ("temperature", "top_k", "top_p")  # what the compiled loop chooses by
COLDEST = 1e-6  # temperature but 0: below, quotients by it leave the finite
WINDOW = 64  # tokens that a penalty of repetition looks back
BESIDE = ("min_p", "typical_p", "repetition_penalty", "regex")  # what it does not know


def choose(
    logits, *, temperature=1.0, top_k=None, top_p=None, min_p=None, typical_p=None, u=0.0
) -> int:  # fmt: skip
    """One id from logits ``[n]``.

    Args:
        temperature: divides the logits; 0 takes the largest.
        top_k: only the k most probable take part.
        top_p: of those, only the most probable that together reach this probability (Holtzman et al. 2020).
        min_p: of those, only the ones that are at least so many times as probable as the most probable
            (Nguyen et al. 2024).
        typical_p: of those, only the ones whose surprise is nearest to the expected one and that together
            reach this probability (Meister et al. 2023, equation 9).
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
        kept = _reaching(kept, p, top_p)
    if min_p:
        kept = kept[p[kept] >= min_p * p[kept].max()]
    if typical_p is not None and typical_p < 1:
        kept = kept[p[kept] > 0]
        q = p[kept] / p[kept].sum()
        surprise = -np.log(q)
        kept = _reaching(
            kept[np.argsort(np.abs(surprise - (q * surprise).sum()), kind="stable")], p, typical_p
        )
    cumulative = np.cumsum(p[kept])
    return int(kept[min(np.searchsorted(cumulative, u * cumulative[-1], side="right"), len(kept) - 1)])


def _reaching(kept, p, part):
    """The first of ``kept`` that together have this ``part`` of the probability of all of them."""
    cumulative = np.cumsum(p[kept])
    return kept[: int(np.searchsorted(cumulative, part * cumulative[-1])) + 1]


class Choice:
    """The choice of one token after the other where what was written before plays a part.

    Args:
        vocabulary: of the model.
        ids: of the prompt.
        repetition_penalty: logits of what is among the last ``repetition_window`` tokens are divided by it
            where they are positive and multiplied where not (Keskar et al. 2019, section 4.1).
        regex: what is written, without the prompt and a space at its beginning, is the beginning of a text
            that this regular expression matches as a whole.
        options: of `choose`.

    Raises:
        InputError: ``regex`` is no regular expression, or its library is not installed; on the first call:
            no symbol of the vocabulary can begin a text that it matches.
    """

    def __init__(
        self, vocabulary, ids, *, repetition_penalty=None, repetition_window=WINDOW, regex=None, **options
    ):
        self.vocabulary, self.seen, self.options = vocabulary, list(map(int, ids)), options
        self.penalty, self.window = repetition_penalty, repetition_window
        self.pattern, self.text = None if regex is None else _pattern(regex), ""

    def __call__(self, logits, u) -> int | None:
        """An id, from logits ``[n]`` and a uniform number; None where nothing may follow."""
        logits = np.array(logits, np.float64)
        if self.vocabulary.unknown is not None:
            logits[self.vocabulary.unknown] = -np.inf  # a placeholder is no text
        if self.penalty is not None:
            recent = np.unique(self.seen[-self.window :])
            some = logits[recent]
            logits[recent] = np.where(some > 0, some / self.penalty, some * self.penalty)
        if self.pattern is not None:
            logits[~self._fitting()] = -np.inf
            if logits.max() == -np.inf:
                self.end("cannot be written with this model's vocabulary: give another")
                return None
        chosen = choose(logits, u=u, **self.options)
        self.seen.append(chosen)
        if self.pattern is not None:
            self.text = self.vocabulary.appended(self.text, chosen)
        return chosen

    def end(self, why):
        """Say it where the text ends without matching as a whole; InputError if nothing was written."""
        if self.pattern is None or (self.text and self.pattern.fullmatch(self.text.removeprefix(" "))):
            return
        name = f"--regex {shown(self.pattern.pattern)}"
        if not self.text:
            raise InputError(f"{name} {why}")
        note(f"what is written does not match {name} as a whole, which {why}")

    def _fitting(self):
        """Which symbols may follow."""
        fits = np.array([self._fits(i) for i in range(len(self.vocabulary))])
        if not self.text and self.pattern.fullmatch(" ", partial=True) is None:
            written = {self.vocabulary.appended("", i) for i in np.flatnonzero(fits)}
            fits &= written > {" "} or " " not in written  # a space that nothing may follow is none
        return fits

    def _fits(self, i):
        text = self.vocabulary.appended(self.text, i)
        if text is None:  # a part of a character
            return False
        return self.pattern.fullmatch(text.removeprefix(" "), partial=True) is not None


def _pattern(pattern):
    try:
        import regex  # which says whether a text is the beginning of one that matches; re does not
    except ImportError:
        raise InputError("--regex needs the library regex: pip install 'tinyrnn[regex]'") from None
    try:
        found = regex.compile(pattern)
    except regex.error as error:
        raise InputError(f"--regex {shown(pattern)} is no regular expression ({error}): mend it") from None
    if found.flags & regex.REVERSE:
        raise InputError(f"--regex {shown(pattern)} reads from the end, but text is written: take (?r) out")
    return found


_RULES = {
    "prompt": Rule(str, optional=True),
    "length": Rule(int, low=1),
    "temperature": Rule(float, low=0),
    "top_k": Rule(int, optional=True, low=1),
    "top_p": Rule(float, optional=True, low=0, open_low=True, high=1),
    "min_p": Rule(float, optional=True, low=0, high=1),
    "typical_p": Rule(float, optional=True, low=0, open_low=True, high=1),
    "repetition_penalty": Rule(float, optional=True, low=0.001, high=1000),
    "repetition_window": Rule(int, low=1),
    "regex": Rule(str, optional=True),
    "stop": Rule(str, optional=True),
    "num": Rule(int, low=1),
    "seed": Rule(int, optional=True, low=0),
    "weights": Rule(str, optional=True, choices=WEIGHTS),
}


def check_options(named=str, /, **options) -> dict:
    """The sampling options in their own types; InputError, which says a name by ``named``, for one that is
    out of range.
    """
    found = {name: _RULES[name].checked(value, named(name)) for name, value in options.items()}
    if 0 < found.get("temperature", 1) < COLDEST:
        mend = f"it must be 0, for the most probable symbol, or at least {COLDEST:g}"
        raise InputError(f"{named('temperature')} is {found['temperature']:g}: {mend}")
    if found.get("regex") is not None:
        _pattern(found["regex"])
    if found.get("repetition_window", WINDOW) != WINDOW and found.get("repetition_penalty") is None:
        idle = f"{named('repetition_window')} has no effect without {named('repetition_penalty')}"
        raise InputError(f"{idle}: give that too, or leave it out")
    if found.get("stop") == "":
        raise InputError(f"{named('stop')} is an empty text: leave it out, or give the text to end before")
    return found


def generate(model, prompt=None, **options):
    """Yield the prompt and then pieces of text as they are sampled: the one sample of `generate_many`."""
    return generate_many(model, prompt, **options)[0]


def generate_many(
    model, prompt=None, num=1, *, length=200, temperature=0.8, seed=None, stop=None, weights=None, **choice
):  # fmt: skip
    """For each of ``num`` samples an iterator that yields the prompt and then pieces of text as they are
    sampled, ``length`` tokens in all. They are sampled side by side, and what is not taken yet is kept.

    Args:
        model: has a ``vocabulary`` and ``step(ids [B], states) -> (logits [B, n], states)``; if it has a
            ``token_loop(batch, precision)`` that is not None, that is used.
        prompt: text to continue; its symbols outside the vocabulary are left out (or become ``<unk>``). None
            starts anywhere.
        temperature, choice: how; see `choose` and `Choice`.
        seed: the same seed gives the same text, sample i that of ``seed + i``; None a new one each time.
        stop: end before this string appears.
        weights: one of `WEIGHTS`, for a model of float32 on a CPU: in fewer bits they are read faster, and
            texts are others. None: as they are stored.

    Raises:
        InputError: an option out of range, or a prompt of which nothing is in the vocabulary.
        TypeError: an option that there is not.
    """
    if unknown := sorted(choice.keys() - _RULES.keys()):
        raise TypeError(f"generate has no option {unknown[0]!r}")
    given = dict(prompt=prompt, num=num, length=length, seed=seed, stop=stop, weights=weights)
    choice = check_options(**given, temperature=temperature, **choice)
    prompt, num, length, seed, stop, weights = map(choice.pop, given)
    ids, _ = encode_prompt(model.vocabulary, prompt)
    if choice.get("regex") is not None and model.vocabulary.whole:
        note("--regex: symbols that are parts of a character are not written, nor characters made of them")
    precision = None if weights is None else model.precision_with(weights)
    keys = [Generator(None if seed is None else seed + i).key() for i in range(num)]
    chosen = _chosen(model, ids, keys, length, precision, choice)
    texts = [_text(model.vocabulary, prompt, ids, c) for c in chosen]
    return [_stopped(text, stop, prompt is not None) for text in texts]


def encode_prompt(vocabulary, prompt: str | None):
    """Ids of a prompt and the symbols that the vocabulary lacks; without a prompt, one id to start from.

    Raises:
        InputError: the prompt is empty, or nothing of it is in the vocabulary.
    """
    if prompt is None:
        last = len(vocabulary) - 1
        return np.array([vocabulary.ids.get(vocabulary.line_end, last)]), []
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


def _chosen(model, ids, keys, length, precision, options):
    """For each key an iterator of the ``length`` ids that are sampled with it."""
    in_loop = all(options.get(name) is None for name in BESIDE)

    def alone(key):
        yield from _chosen(model, ids, [key], length, precision, options)[0]

    # on a GPU the loop writes one sequence
    if len(keys) > 1 and not (in_loop and getattr(model, "device", "cpu") == "cpu"):
        return [alone(key) for key in keys]
    loop = model.token_loop(len(keys), precision) if hasattr(model, "token_loop") else None
    if loop is None or not in_loop:
        choices = [Choice(model.vocabulary, ids, **options) for _ in keys]
        read = [_logits(model, precision) if loop is None else loop.read for _ in keys]
        return [_one_by_one(*of_one, ids, length) for of_one in zip(read, keys, choices, strict=True)]
    simple = {name: options.get(name) for name in IN_LOOP}
    rows = itertools.tee(_compiled(loop, keys, ids, model.vocabulary.unknown, simple), len(keys))
    several = [map(operator.itemgetter(i), of_all) for i, of_all in enumerate(rows)]
    return [itertools.islice(ids_of_one, length) for ids_of_one in several]


def _logits(model, precision):
    """A function from ids that are read to the logits ``[n]`` of what follows, op by op: the reference of
    `TokenLoop.read`.
    """
    states = None

    def read(ids):
        nonlocal states
        with autocast(precision):
            for i in ids:
                logits, states = model.step(np.array([i]), states)
        return logits[0]

    return read


def _one_by_one(read, key, choice, ids, length):
    for n in range(length):
        with threads.alone():
            logits = read(ids)
        i = choice(logits, float(kernels.random.uniform(key, 1, first=n)[0]))
        if i is None:
            return
        yield i
        ids = [i]
    choice.end("may need more than this --length")


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


def _stopped(pieces, stop, prompted):
    """The pieces up to where ``stop`` would appear, after the first if they are ``prompted``; holds back what
    may begin it.
    """
    if not stop:
        yield from pieces
        return
    held, first = "", prompted
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
