"""A corpus as one memory-mapped array of token ids, made once and kept in the cache."""

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...base.errors import InputError, few
from ...base.files import digest_of, make_cache_folder, replace_file, temporary_folder
from ...base.version import __version__
from . import vocabulary as vocabularies
from .sources import Source, raw_blocks


@dataclass
class Corpus:
    """Token ids of all sources, one after the other, and what they are ids of."""

    tokens: (
        np.ndarray
    )  # [n], the smallest unsigned integer type that holds the vocabulary; memory-mapped where possible
    vocabulary: vocabularies.Vocabulary
    fingerprint: str  # digest of the tokens: another text has another one
    missing: list[str]  # the symbols of the text that a vocabulary that was given lacks, which is told

    def split(self, fraction: float):
        """Training tokens and the last ``fraction`` of the text for validation, as views."""
        cut = len(self.tokens) - int(len(self.tokens) * fraction)
        return self.tokens[:cut], self.tokens[cut:]


def load(
    sources: list[Source],
    level="char",
    *,
    encoding="utf-8",
    vocab_size=None,
    vocabulary=None,
    grow=False,
    by_frequency=False,
) -> Corpus:
    """Tokenise ``sources``, or take them from the cache if neither they nor the settings changed.

    Files are read in blocks, twice (vocabulary, tokens), so neither text nor tokens need fit into memory.

    Args:
        vocabulary: use this one instead of building one from the text; with ``grow`` enlarged by what it
            lacks.
        by_frequency: number its symbols by falling frequency, of characters or words.

    Raises:
        InputError: undecodable or binary text, no text at all.
    """
    given = vocabulary.to_json() if vocabulary else None
    # The name is that of the sources and settings, so that a changed source replaces its old tokens; the
    # stamps tell.
    settings = [
        __version__,
        "missing",
        level,
        encoding,
        vocab_size,
        given,
        [str(s.path.resolve()) for s in sources],
        *["by frequency"] * by_frequency,
        *["grow"] * grow,
    ]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:24]
    stamps = [s.stamp() for s in sources]

    def tokenised(folder):
        if (cached := _open(folder, key, stamps)) is not None:
            return cached
        with tempfile.TemporaryDirectory(dir=folder) as work:
            how = encoding, vocab_size, vocabulary, grow, by_frequency
            meta = _tokenise(sources, level, *how, Path(work) / "tokens") | {"stamps": stamps}
            os.replace(Path(work) / "tokens", folder / f"{key}.bin")
            replace_file(
                folder / f"{key}.json", json.dumps({"meta": meta, "digest": digest_of(meta)}).encode()
            )
        return _open(folder, key, stamps)

    try:
        corpus = tokenised(make_cache_folder("tokens"))
    except OSError:  # a cache that cannot be written
        folder = temporary_folder()
        try:
            corpus = tokenised(folder)
        except OSError as error:
            said = f"{folder} cannot be written ({error.strerror or error})"
            raise InputError(f"{said}: make room, or set TMPDIR to another folder") from None
    if corpus is None or [s.stamp() for s in sources] != stamps:
        names = few(s.name for s in sources)
        raise InputError(f"{names}: changed while it was read: try again when nothing writes to it")
    vocabularies.tell_left_out(corpus.vocabulary, corpus.missing)
    return corpus


def _open(folder: Path, key: str, stamps: list) -> Corpus | None:
    """The cached corpus, or None if its files do not belong together."""
    try:
        stored = json.loads((folder / f"{key}.json").read_bytes())
        meta = stored["meta"]
        if stored["digest"] != digest_of(meta):  # damaged; what follows is as it was written
            return None
        tokens = np.memmap(folder / f"{key}.bin", np.dtype(meta["dtype"]), mode="r")
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return None
    if len(tokens) != meta["tokens"] or meta["stamps"] != stamps:
        return None
    vocabulary = vocabularies.from_json(meta["vocabulary"])
    return Corpus(tokens, vocabulary, meta["fingerprint"], meta["missing"])


def _tokenise(sources, level, encoding, vocab_size, vocabulary, grow, by_frequency, path: Path) -> dict:
    given, missing = vocabulary is not None and not grow, dict[str, int]()

    def build():
        found = vocabularies.LEVELS[level].build(_blocks(sources, level, encoding), vocab_size)
        return found.by_frequency(_blocks(sources, level, encoding)) if by_frequency else found

    if not given:
        vocabulary = vocabulary.enlarged(build, vocab_size) if vocabulary else build()
    dtype = np.min_scalar_type(max(len(vocabulary) - 1, 1))
    digest, total = hashlib.sha256(), 0
    with path.open("wb") as file:
        for block in _blocks(sources, vocabulary.level, encoding):
            ids = vocabulary.encode(block).astype(dtype)
            if given and level != "byte":
                missing |= dict.fromkeys(vocabulary.missing(block))
            file.write(ids)
            digest.update(ids)
            total += len(ids)
        if total == 0:  # an empty file cannot be mapped
            names = few(s.name for s in sources)
            raise InputError(
                f"{names}: there is no text in it: give a text of at least a few hundred characters"
            )
    fingerprint = f"{level}-{len(vocabulary)}-{total}-{digest.hexdigest()[:16]}"
    return {
        "dtype": dtype.name,
        "tokens": total,
        "vocabulary": vocabulary.to_json(),
        "fingerprint": fingerprint,
        "missing": list(missing),
    }


def _blocks(sources, level, encoding):
    """Blocks of all sources; between texts a line end, and words are never cut."""
    line_end, spaced = b"\n" if level == "byte" else "\n", vocabularies.LEVELS[level].spaced
    for i, source in enumerate(sources):
        held = last = line_end[:0]
        for block in raw_blocks(source.path) if level == "byte" else source.blocks(encoding):
            last = block
            if spaced:  # hold back the last word: it may go on, and it begins with its space
                block = held + block
                cut = max(block.rfind(" "), block.rfind("\n"), 0)
                block, held = block[:cut], block[cut:]
            if block:
                yield block
        if held:
            yield held
        if i + 1 < len(sources) and last and not last.endswith(line_end):
            yield line_end
