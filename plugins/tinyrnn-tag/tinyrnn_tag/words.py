"""What a tagger sees of a word: the word itself, its characters, its shape, its beginning and its end."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from tinyrnn.tasks import padded

UNKNOWN = "<unk>"
LONGEST = 20  # characters of a word that are spelt: the first and the last halves of longer ones
FORMS = ("shape", "^1", "^2", "^3", "1$", "2$", "3$", "4$")  # of a word's forms, in this order


def norm(token: str) -> str:
    """A word as it is looked up: in small letters, digits as 0."""
    return re.sub(r"\d", "0", token.lower())


def forms(token: str) -> list[str]:
    """Shape (kinds of characters, long runs cut: ``Xxx-00``), beginnings and ends of a word: `FORMS`."""
    kinds = "".join(
        "X" if c.isupper() else "x" if c.isalpha() else "0" if c.isdigit() else c for c in token[:LONGEST]
    )
    word = norm(token)
    parts = [
        re.sub(r"(.)\1+", r"\1\1", kinds),
        *(word[:n] for n in (1, 2, 3)),
        *(word[-n:] for n in (1, 2, 3, 4)),
    ]
    return [f"{kind} {part}" for kind, part in zip(FORMS, parts, strict=True)]


class Words(NamedTuple):
    """Sentences as a model reads them: U different words, and where they stand."""

    ids: Any  # [U]
    characters: Any  # [L, U]
    spelt: Any  # [L, U], the mask
    forms: Any  # [U, forms]
    places: Any  # [T, B], which of the U
    mask: Any  # [T, B]


class Lexicon:
    """Words, characters and forms of words by number; 0 is whatever is not among them."""

    def __init__(self, words, characters, forms, counts=()):
        self.words, self.characters, self.forms = list(words), list(characters), list(forms)
        self.counts = np.array(counts or np.ones(len(self.words)))
        self._tables = [{s: i for i, s in enumerate(t)} for t in (self.words, self.characters, self.forms)]
        self._seen: dict[str, Any] = {}

    @classmethod
    def of(cls, sentences: Iterable[list[str]]):
        """Of what is trained on; a character or form that one word alone has is unknown."""
        tokens = Counter(token for sentence in sentences for token in sentence)
        words, characters, found = Counter(), Counter(), Counter()
        for token, n in tokens.items():
            words[norm(token)] += n
            characters.update(set(token))
            found.update(forms(token))
        kept = sorted(words.keys() - {UNKNOWN})
        twice = [[UNKNOWN, *sorted(s for s, n in counts.items() if n > 1)] for counts in (characters, found)]
        return cls([UNKNOWN, *kept], *twice, [1, *(words[w] for w in kept)])

    def _ids(self, token):
        if token not in self._seen:
            words, characters, found = self._tables
            half = LONGEST // 2
            spelt = token if len(token) <= LONGEST else token[:half] + token[-half:]
            self._seen[token] = (
                words.get(norm(token), 0),
                [characters.get(c, 0) for c in spelt],
                [found.get(f, 0) for f in forms(token)],
            )
        return self._seen[token]

    def is_unknown(self, token: str) -> bool:
        """Whether a word was not there in training."""
        return not self._ids(token)[0]

    def to_json(self) -> dict:
        """Everything needed to make it again, to use it."""
        return {"words": self.words, "characters": self.characters, "forms": self.forms}

    def read(self, sentences) -> Words:
        """`Words` of lists of tokens."""
        place: dict[str, int] = {}
        places, mask = padded([[place.setdefault(t, len(place)) for t in s] for s in sentences])
        ids, characters, found = zip(*map(self._ids, place), strict=True)
        return Words(np.array(ids), *padded(characters), np.array(found), places, mask)
