"""How tags spell entities, stretches of tokens of a type: BIO, IOB1, BIOES, BILOU, BMES and BMEWO; with the
letter before the type or behind it, with ``-`` or ``_`` between them, or with no types at all.

Ramshaw & Marcus 1995 (IOB1: ``B-`` only where an entity follows on one of its type), Tjong Kim Sang &
Veenstra 1999 (BIO, also IOB2: every entity begins with ``B-``), Ratinov & Roth 2009 (BILOU, or BIOES: ends
and single tokens have letters of their own).
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np

OUTSIDE = "O"
SPELT = re.compile(r"([BIESLU])-(.+)", re.DOTALL)
ENDS, SINGLE = "EL", "SU"  # of BIOES and of BILOU
Span = tuple[int, int, str]  # first token, the one after the last, type


_LETTERS = dict(zip("BIESLUMW", "BIESLUIS", strict=True))  # as they are read here
_FORMS = tuple(
    re.compile(form, re.DOTALL)
    for form in (r"(?P<letter>[BIESLUMW])[-_](?P<type>.+)", r"(?P<type>.+)[-_](?P<letter>[BIESLUMW])",
                 r"(?P<letter>[BIESLUMW])(?P<type>)")
)  # fmt: skip
UNTYPED = "SPAN"  # the type of what has none


def scheme_of(rows: Sequence[Sequence[str]]) -> str:
    """The scheme of the tags of sentences, by name; empty: they spell no entities.

    Raises:
        ValueError: as `spelling`.
    """
    used = {tag for tags in rows for tag in tags}
    known = spelling(used)
    letters = {found["letter"] for found in _matches(used) or ()}
    if not known:
        return ""
    if letters <= set("BI"):
        rows = [[known[tag] for tag in tags] for tags in rows]
        pairs = [pair for tags in rows for pair in zip([OUTSIDE, *tags], tags)]  # noqa: B905
        apart = [before[2:] == tag[2:] for before, tag in pairs if tag.startswith("B-")]
        return "IOB1" if irregular(rows) and all(apart) else "BIO"
    names = ("BIOES", "BILOU", "BMES", "BMEWO")
    return next((n for n in names if letters <= set(n)), f"a mixture of schemes ({''.join(sorted(letters))})")


def _matches(used: Iterable[str], strict: bool = True) -> list[re.Match[str]] | None:
    """How tags are spelt; None: they are no entities."""
    tags = set(used) - {OUTSIDE}
    for form in _FORMS:
        found = [match for tag in sorted(tags) if (match := form.fullmatch(tag))]
        begun, inside = (
            {match["type"] for match in found if match["letter"] in letters} for letters in ("B", "IMEL")
        )
        usual = form is _FORMS[0] and all(SPELT.fullmatch(tag) for tag in tags)
        if found and len(found) == len(tags) and (usual or begun & inside or (begun and OUTSIDE in used)):
            return found
        if strict and begun & inside - {""} and len(found) < len(tags):
            odd = min(tags - {match[0] for match in found})
            raise ValueError(f"has tags of entities such as {found[0][0]}, and the tag {odd}")
    return None


def spelling(used: Iterable[str], strict: bool = True) -> dict[str, str]:
    """Each of these tags as ``O``, or as one of `SPELT`; empty: they spell no entities, of which one at least
    must be there.

    Raises:
        ValueError: ``strict``, and some are those of entities, others are not.
    """
    found = _matches(set(used), strict) or ()
    known = {each[0]: f"{_LETTERS[each['letter']]}-{each['type'] or UNTYPED}" for each in found}
    return known and {OUTSIDE: OUTSIDE, **known}


def is_spelt(tag: str) -> bool:
    """Whether a tag can be one of entities."""
    return tag == OUTSIDE or SPELT.fullmatch(tag) is not None


def spells_entities(tags: Iterable[str]) -> bool:
    """Whether these tags of BIO, one that is not ``O`` among them, can be those of entities."""
    used = set(tags) - {OUTSIDE}
    return bool(used) and all(map(is_spelt, used))


def irregular(rows: Iterable[Sequence[str]]) -> int:
    """Entities that do not begin with the letter that BIO has for it."""
    return sum(tags[start][0] == "I" for tags in rows for start, _, _ in spans_of(tags))


def spans_of(tags: Sequence[str]) -> list[Span]:
    """The entities of a sentence. An entity goes on as long as its type does and nothing begins or has ended,
    as in conlleval: so tags that break their scheme are read too.
    """
    spans: list[Span] = []
    start, kind, open_ = 0, "", False
    for i, tag in enumerate([*tags, OUTSIDE]):
        found = SPELT.fullmatch(tag)
        letter, now = (found[1], found[2]) if found else ("", "")
        goes_on = open_ and now == kind and letter and letter not in f"B{SINGLE}"
        if open_ and not goes_on:
            spans.append((start, i, kind))
        if letter and not goes_on:
            start, kind = i, now
        open_ = bool(letter) and letter not in f"{ENDS}{SINGLE}"
        if letter and not open_:
            spans.append((start, i + 1, kind))
    return spans


def bio(tags: Sequence[str]) -> list[str]:
    """The same entities as BIO, whatever the scheme."""
    said = [OUTSIDE] * len(tags)
    for start, end, kind in spans_of(tags):
        said[start:end] = [f"B-{kind}", *[f"I-{kind}"] * (end - start - 1)]
    return said


def forbidden(labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Of BIO: ``[K, K]`` whether the tag of the column may not follow on that of the row, and ``[K]`` whether
    a tag may not be the first of a sentence.
    """
    inside = np.array([tag.startswith("I-") for tag in labels])
    kinds = np.array([tag[2:] for tag in labels])
    return inside & (kinds[:, None] != kinds), inside
