"""Vocabularies: from text to ids and back, at the level of characters, bytes, words, tokens or byte pairs."""

import codecs
import functools
import re
from collections import Counter

import numpy as np

from ...base.errors import InputError, few, shown
from ...base.files import parsed
from ...base.options import Rule, taken
from ...training.screen import note

_RULES = {
    "level": Rule(str),
    "unknown": Rule(int, optional=True, low=0),
    "any_case": Rule(bool),
}  # of a vocabulary that is stored
_CODE_POINTS = 0x110000  # of Unicode
_WORD = re.compile(r"\w")
UNKNOWN, UNKNOWN_WORD = "\N{REPLACEMENT CHARACTER}", "<unk>"


class Vocabulary:
    """Base: ``symbols`` is the list of strings by id; ``unknown`` the id that stands for all others, or
    None.
    """

    level = ""
    line_end = "\n"  # the symbol of one
    whole = False  # any text is made of its symbols: it never grows
    spaced = False  # symbols begin or end at spaces
    any_case = False  # a word that is none is read as one that differs in capitals alone

    def __init__(self, symbols, unknown=None):
        self.symbols, self.unknown = list(symbols), unknown
        self.ids = {s: i for i, s in enumerate(self.symbols)}
        self._lengths = self._table = None  # made when first needed

    @classmethod
    def check(cls, symbols) -> None:
        """ValueError unless ``symbols``, read from a file, are those of such a vocabulary."""
        names(symbols, "symbols")

    def __len__(self):
        return len(self.symbols)

    def encode(self, text: str) -> np.ndarray:
        """Ids of ``text``; symbols outside the vocabulary become ``unknown`` or, without one, are left
        out.
        """
        pieces = self.pieces(text)
        if self.any_case:
            pieces = [s if s in self.ids else self.cases.get(s.lower(), s) for s in pieces]
        found = (self.ids.get(s, self.unknown) for s in pieces)
        return np.fromiter((i for i in found if i is not None), np.int64)

    @functools.cached_property
    def cases(self) -> dict[str, str]:
        """Symbols by their small letters, where capitals do not matter."""
        return {s.lower(): s for s in self.symbols} if self.any_case else {}

    def has(self, piece: str) -> bool:
        """Whether it is read as a symbol."""
        return piece in self.ids or piece.lower() in self.cases

    def decode(self, ids) -> str:
        """The text of ``ids``."""
        return "".join(self.symbols[i] for i in ids)

    def decoder(self):
        """A function from one id to the text that it completes, for streaming."""
        return lambda i: self.symbols[i]

    def appended(self, text: str, i: int) -> str | None:
        """``text`` and symbol ``i`` after it; None if that is a part of a character."""
        return text + self.symbols[i]

    def missing(self, text: str) -> list[str]:
        """The distinct symbols of ``text`` that are outside the vocabulary, in order."""
        return [s for s in dict.fromkeys(self.pieces(text)) if not self.has(s)]

    def known(self, text: str) -> float:
        """The part of the symbols of ``text``, spaces aside, that are in the vocabulary; of none 0."""
        if self.whole:
            return float(bool(text.strip()))
        pieces = [s for s in self.pieces(_spaced(text)) if s.strip()]
        return sum(map(self.has, pieces)) / max(len(pieces), 1)

    def by_frequency(self, blocks):
        """The same symbols, numbered by how often they are in blocks of text, the most frequent first."""
        counts = np.zeros(len(self), np.int64)
        for block in blocks:
            counts += np.bincount(self.encode(block), minlength=len(self))
        order = np.argsort(-counts, kind="stable").tolist()
        unknown = None if self.unknown is None else order.index(self.unknown)
        return type(self)([self.symbols[i] for i in order], unknown)

    def enlarged(self, build, size):
        """These symbols, each with its number, and after them what others a vocabulary has that is made from
        new text.

        Args:
            build: makes that one.
            size: how many symbols were asked for, or None.

        Raises:
            InputError: it cannot grow, and another size was asked for.
        """
        if self.whole:
            if size not in (None, len(self)) and self.level == "bpe":
                kept = f"byte pairs are kept as they are, {len(self):,}, and any text is made of them"
                raise InputError(f"--vocab-size {size}: {kept}: leave it out, or start without --from")
            return self
        new = build()
        symbols, unknown = [*self.symbols, *(s for s in new.symbols if s not in self.ids)], self.unknown
        if unknown is None and new.unknown is not None:
            unknown = symbols.index(new.symbols[new.unknown])
        return type(self)(symbols, unknown).in_any_case(self.any_case)

    def in_any_case(self, any_case: bool):
        """This vocabulary; if ``any_case``, a word that is none of its symbols is read as one that differs in
        capitals alone.
        """
        self.any_case = any_case
        return self

    def characters(self, ids) -> int:
        """Number of characters in the text of ``ids``."""
        if self._lengths is None:
            self._lengths = np.array([len(s) for s in self.symbols])
        return int(self._lengths[ids].sum())

    def to_json(self) -> dict:
        """Everything needed to make it again."""
        said = {"any_case": True} if self.any_case else {}
        return {"level": self.level, "symbols": self.symbols, "unknown": self.unknown, **said}


class Characters(Vocabulary):
    """One symbol a character, in the order of their code points."""

    level = "char"

    @classmethod
    def check(cls, symbols):
        if long := [s for s in names(symbols, "symbols") if len(s) > 1]:
            raise ValueError(f"its symbol {shown(long[0])} is more than a character")

    def pieces(self, text):
        return text

    @classmethod
    def build(cls, blocks, size):
        counts = np.zeros(_CODE_POINTS, np.int64)
        for block in blocks:
            counts += np.bincount(_codes(block), minlength=_CODE_POINTS)
        found = np.flatnonzero(counts)
        if size is None or len(found) <= size:
            return cls(map(chr, found))
        counts[ord(UNKNOWN)] = 0
        kept = np.sort(np.argsort(-counts, kind="stable")[: size - 1])
        return cls([UNKNOWN, *map(chr, kept)], unknown=0)

    def encode(self, text):
        if self._table is None:
            self._table = np.full(_CODE_POINTS, -1 if self.unknown is None else self.unknown, np.int32)
            self._table[[ord(s) for s in self.symbols]] = np.arange(len(self))
        ids = self._table[_codes(text)].astype(np.int64)
        return ids[ids >= 0]


class Bytes(Vocabulary):
    """The 256 bytes: no text is outside the vocabulary."""

    level = "byte"
    whole = True

    def __init__(self, symbols=None, unknown=None):
        super().__init__(map(chr, range(256)))

    @classmethod
    def check(cls, symbols):
        if symbols is not None:
            raise ValueError("its bytes have symbols of their own")

    @classmethod
    def build(cls, blocks, size):
        return cls()

    def encode(self, text):
        data = text if isinstance(text, bytes) else _utf8(text)
        return np.frombuffer(data, np.uint8).astype(np.int64)

    def decode(self, ids):
        return bytes(int(i) for i in ids).decode(errors="replace")

    def appended(self, text, i):
        return text + chr(i) if i < 128 else None

    def decoder(self):
        incremental = codecs.getincrementaldecoder("utf-8")(errors="replace")
        return lambda i: incremental.decode(bytes([int(i)]))

    def missing(self, text):
        return []

    def characters(self, ids):
        ids = np.asarray(ids)
        return int(np.count_nonzero((ids & 0xC0) != 0x80))  # every byte but UTF-8's continuation bytes

    def to_json(self):
        return {"level": self.level}


class Words(Vocabulary):
    """Words with the space before them, punctuation and line ends: joined again they are the text.

    The most frequent ``size - 1`` (default 20,000 in all) are symbols, the rest is ``<unk>``.
    """

    level = "word"
    spaced = True
    OWN = (UNKNOWN_WORD,)  # symbols that are there in any case
    PIECES = re.compile(r"\n| ?\w+(?:['’]\w+)*| ?[^\w\s]|\s")
    SIZE = 20_000

    @classmethod
    def pieces(cls, text):
        return cls.PIECES.findall(text)

    @classmethod
    def build(cls, blocks, size):
        counts = Counter()
        for block in blocks:
            counts.update(cls.pieces(block))
        kept = [word for word, _ in counts.most_common((size or cls.SIZE) - 1)]
        return cls([*cls.OWN, *sorted(kept)], unknown=0)

    def appended(self, text, i):
        """With a space between two words, which no text lacks: else they were one."""
        symbol = self.symbols[i]
        return text + " " * bool(_WORD.match(text[-1:]) and _WORD.match(symbol)) + symbol

    def decode(self, ids):
        return "".join(map(self.decoder(), ids))

    def decoder(self):
        last = ""

        def decoded(i):
            nonlocal last
            last = self.appended(last, i)[len(last) :]
            return last

        return decoded


class Tokens(Words):
    """What stands between white space, as it stands, and the ends of lines: how corpora of words that others
    have prepared are read, whose published figures count these (Mikolov et al. 2010, Merity et al. 2017).

    ``<unk>`` and ``<eos>`` are always among the symbols; ``<eos>`` is a line end. Without a size all are
    symbols, else the most frequent ``size``.
    """

    level = "token"
    line_end = "<eos>"
    OWN = (UNKNOWN_WORD, line_end)

    @classmethod
    def pieces(cls, text):
        return text.replace("\n", f" {cls.line_end} ").split()

    @classmethod
    def build(cls, blocks, size):
        counts = Counter()
        for block in blocks:
            counts.update(cls.pieces(block))
        for given in cls.OWN:
            counts.pop(given, None)
        kept = [token for token, _ in counts.most_common(size and size - len(cls.OWN))]
        return cls([*cls.OWN, *sorted(kept)], unknown=0)

    def appended(self, text, i):
        if self.symbols[i] == self.line_end:
            return text + "\n"
        return text + " " * (text[-1:] not in ("", "\n")) + self.symbols[i]

    def characters(self, ids):
        if self._lengths is None:
            self._lengths = np.array([0 if s == self.line_end else len(s) + 1 for s in self.symbols])
        return super().characters(ids)


# How the library tokenizers writes bytes: printable ones as themselves, the others from 256 on.
_SHOWN = [*range(33, 127), *range(161, 173), *range(174, 256)]
_BYTES = {chr(b): b for b in _SHOWN} | {
    chr(256 + i): b for i, b in enumerate(b for b in range(256) if b not in _SHOWN)
}


class BytePairs(Vocabulary):
    """Byte-pair encoding (Sennrich, Haddow & Birch 2016) over bytes, by the library `tokenizers`: it can
    write any text.

    ``symbols`` is that library's description of it, a JSON string.
    """

    level = "bpe"
    whole = spaced = True
    SIZE = 4_000
    LONGEST = 10_000
    LONG = re.compile(rf"\S{{{LONGEST}}}|\s{{{LONGEST}}}")

    @classmethod
    def check(cls, symbols):
        """Only what `build` makes is read: the library's descriptions can do much more."""
        stored = parsed(symbols.encode()) if isinstance(symbols, str) else None
        if not isinstance(stored, dict):
            raise ValueError(f"its symbols are {shown(symbols)}: no description of byte pairs")
        model, splitting = (stored.get(part) for part in ("model", "pre_tokenizer"))
        whole = isinstance(model, dict) and isinstance(splitting, dict)
        if not whole or (model.get("type"), splitting.get("type")) != ("BPE", "ByteLevel"):
            raise ValueError("its symbols describe something else than byte pairs")
        used = {"version", "type", "model", "pre_tokenizer", "vocab", "merges"}
        if more := [name for name, value in (stored | model).items() if value and name not in used]:
            raise ValueError(f"its byte pairs come with {shown(more[0])}, which tinyrnn never writes")
        pieces = model.get("vocab") if isinstance(model.get("vocab"), dict) else {}
        numbered = sorted(i for i in pieces.values() if type(i) is int) == list(range(len(pieces)))
        if not pieces or not numbered or not all(pieces) or set("".join(pieces)) - _BYTES.keys():
            raise ValueError("its byte pairs are not numbered from 0 on, or are not made of bytes")
        merges = model.get("merges") if isinstance(model.get("merges"), list) else [None]
        pairs = [m.split(" ") if isinstance(m, str) else m for m in merges]  # as older libraries write them
        for pair in pairs:
            two = isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)
            if not two or not {*pair, "".join(pair)} <= pieces.keys():
                raise ValueError(f"its byte pairs are made of {shown(pair)}, which are not among them")

    def __init__(self, symbols, unknown=None):
        library = _tokenizers()
        try:
            self.tokenizer = library.Tokenizer.from_str(symbols)
        except Exception as error:  # the library has no error of its own
            raise ValueError(f"its byte pairs cannot be read: {error}") from None
        pieces = [self.tokenizer.id_to_token(i) for i in range(self.tokenizer.get_vocab_size())]
        self.bytes = [bytes(_BYTES[c] for c in piece) for piece in pieces]
        super().__init__(b.decode(errors="replace") for b in self.bytes)

    @classmethod
    def build(cls, blocks, size):
        if size is not None and size < 257:
            raise InputError(
                f"--vocab-size {size}: for --level bpe it must be at least 257, the bytes and a pair of them"
            )
        library = _tokenizers()
        tokenizer = library.Tokenizer(library.models.BPE())
        tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = library.pre_tokenizers.ByteLevel.alphabet()
        shape = dict(vocab_size=size or cls.SIZE, initial_alphabet=alphabet, show_progress=False)
        tokenizer.train_from_iterator(_cut(blocks), library.trainers.BpeTrainer(**shape))
        return cls(tokenizer.to_str())

    def encode(self, text):
        return np.array(self.tokenizer.encode(_utf8(text).decode()).ids, np.int64)

    def decode(self, ids):
        return b"".join(self.bytes[i] for i in ids).decode(errors="replace")

    def appended(self, text, i):
        return None if UNKNOWN in self.symbols[i] else text + self.symbols[i]

    def decoder(self):
        incremental = codecs.getincrementaldecoder("utf-8")(errors="replace")
        return lambda i: incremental.decode(self.bytes[i])

    def missing(self, text):
        return []

    def characters(self, ids):
        if self._lengths is None:
            self._lengths = np.array([sum(c & 0xC0 != 0x80 for c in b) for b in self.bytes])
        return int(self._lengths[ids].sum())

    def to_json(self):
        return {"level": self.level, "symbols": self.tokenizer.to_str()}


def _cut(blocks):
    """``blocks``, in parts where there is a run without a space, or of spaces, that is too long: what the
    library takes for one word is counted in the square of its length.
    """
    for block in blocks:
        parts = BytePairs.LONGEST if BytePairs.LONG.search(block) else max(len(block), 1)
        yield from (block[i : i + parts] for i in range(0, len(block), parts))


def _tokenizers():
    try:
        import tokenizers
    except ImportError:
        raise InputError("--level bpe needs tokenizers: pip install 'tinyrnn[bpe]'") from None
    return tokenizers


LEVELS = {c.level: c for c in (Characters, Bytes, Words, Tokens, BytePairs)}


def build_vocabulary(texts, level, size, known=None) -> Vocabulary:
    """Of single texts. Words that occur once are unknown: what stands for them in new texts must have been
    learned. With the vocabulary ``known`` that, enlarged.
    """
    if known is not None:
        return known.enlarged(lambda: build_vocabulary(texts, level, size), size)
    if LEVELS[level].spaced:
        texts = [_spaced(text) for text in texts]
    if level in ("word", "token"):
        counts = Counter(piece for text in texts for piece in LEVELS[level].pieces(text))
        often = len(LEVELS[level].OWN) + sum(n > 1 for n in counts.values())
        size = min(size or Words.SIZE, max(often, 2))
    elif level == "char":  # whose table of counts is too large for each text
        texts = ["".join(texts)]
    return LEVELS[level].build(texts, size)


def encode_text(vocabulary, text: str, max_length: int) -> np.ndarray:
    """At most ``max_length`` ids of a single text, one at least; for words its first word looks like any
    other.
    """
    return encode_texts(vocabulary, [text], max_length)[0][0]


def encode_texts(vocabulary, texts, max_length: int) -> tuple[list[np.ndarray], int]:
    """Of each text what `encode_text` gives, and how many were longer and are cut."""
    found, cut = [], 0
    for text in texts:
        ids = vocabulary.encode(_spaced(text) if vocabulary.spaced else text)
        cut += len(ids) > max_length
        found.append(ids[:max_length] if len(ids) else np.zeros(1, np.int64))
    return found, cut


def tell_cut(max_length: int, **counts: tuple[int, int]):
    """Say how many texts of each kind are cut: ``sources=(3, 100)``, 3 of 100."""
    if cut := [f"{n:,} of {total:,} {kind}" for kind, (n, total) in counts.items() if n]:
        note(f"cut after {max_length:,} symbols: {' and '.join(cut)}; --max-length of training says where")


def tell_unread(vocabulary, texts, places, outcome) -> list[dict]:
    """Say which texts hold nothing that a model with this vocabulary reads; of each text what its prediction
    says of that: ``{"unread": True}``, or nothing.
    """
    known = [vocabulary.known(text) for text in texts]
    if unread := [place for place, part in zip(places, known, strict=True) if not part]:
        what = "are no texts" if len(unread) > 1 else "is no text"
        note(f"{few(unread, 5)} {what} that the model knows a symbol of: {outcome}")
    return [{} if part else {"unread": True} for part in known]


def tell_missing(vocabulary, texts):
    """Say which symbols of ``texts`` a model with this vocabulary does not read."""
    tell_left_out(vocabulary, [s for s in vocabulary.missing("\n".join(map(_spaced, texts))) if s.strip()])


def tell_left_out(vocabulary, symbols):
    """Say that ``symbols`` are not in the vocabulary, and what becomes of them."""
    if missing := [repr(s) for s in symbols]:
        more = f" and {len(missing) - 5:,} more" if len(missing) > 5 else ""
        what = "left out" if vocabulary.unknown is None else "read as unknown"
        note(f"not in this model's vocabulary, {what}: {' '.join(missing[:5])}{more}")


def _spaced(text):
    """``text`` with one space before each word, the first too: a word is then the same wherever it stands."""
    return " " + " ".join(text.split())


def from_json(stored, what: str = "vocabulary") -> Vocabulary:
    """The vocabulary that ``to_json`` described.

    Raises:
        ValueError: it describes none.
        InputError: its level is unknown, or needs a package that is not installed.
    """
    found = dict(stored) if isinstance(stored, dict) else stored
    symbols = found.pop("symbols", None) if isinstance(stored, dict) else None
    found = taken(found, _RULES, what, lacking=("unknown", "any_case"))
    if found["level"] not in LEVELS:
        raise InputError(
            f"this model's text level {shown(found['level'])} is unknown to this version of tinyrnn: "
            "upgrade it"
        )
    kind, unknown = LEVELS[found["level"]], found.get("unknown")
    kind.check(symbols)
    if unknown is not None and unknown >= len(symbols or ()):
        raise ValueError(f"its unknown symbol is number {unknown}, which it does not have")
    return kind(symbols, unknown).in_any_case(found.get("any_case", False))


def names(stored, what: str) -> list[str]:
    """A list of different texts, one at least, that was read from a file as its ``what``; ValueError if it is
    none.
    """
    if not isinstance(stored, list) or not stored or not all(isinstance(s, str) and s for s in stored):
        raise ValueError(f"its {what} are {shown(stored)}: no list of texts")
    if len(set(stored)) < len(stored):
        raise ValueError(f"its {what} name something twice")
    return stored


def _utf8(text):
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"a text holds {text[error.start]!r}, half a character: mend it") from None


def _codes(text):
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
