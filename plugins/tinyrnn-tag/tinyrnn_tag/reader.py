"""Sentences with tags: files in columns, as those of CoNLL's shared tasks, and JSON lines."""

import json
import os
import re
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import tinyrnn as tr
from tinyrnn.tasks import few, shown
from tinyrnn.tasks.text import inner_name, lines_of, text_of

from .schemes import is_spelt, spelling

COLUMNS = (
    ".conll",
    ".conllu",
    ".tsv",
    ".iob",
    ".iob2",
    ".bio",
    ".col",
    ".tags",
)  # endings of files in columns
LINES = (".jsonl", ".ndjson")
UNIVERSAL = ".conllu"  # of Universal Dependencies: ten columns, the word in the second, its tag in the fourth
WANTED = "files with a token and its tag a line and empty lines between sentences, or .jsonl"
_TOKENS = ("token", "tokens", "word", "words", "form")  # a first row of these and of
_TAGS = ("tag", "tags", "label", "labels", "ner", "ner_tag", "ner_tags", "pos", "pos_tag", "upos", "xpos")
_RANGE = re.compile(r"\d+[-.]\d+")  # numbers a word that stands for several, or one that is not there


@dataclass
class Corpus:
    """Sentences: ``tokens`` and ``tags``, lists of lists of texts, and how much was left out, by kind."""

    tokens: list[list[str]] = field(default_factory=list)
    tags: list[list[str]] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)

    def add(self, tokens, tags):
        if tokens:
            self.tokens.append(tokens)
            self.tags.append(tags)

    def part(self, chosen):
        """The sentences of these numbers."""
        return Corpus([self.tokens[i] for i in chosen], [self.tags[i] for i in chosen])

    def leave_out(self, what):
        self.left_out[what] = self.left_out.get(what, 0) + 1


def in_columns(path: str, options, labels) -> bool:
    """Whether a file is read as one in columns, or of JSON lines, where lines of text are read as well: by
    its ending, by ``--token-column``, or as all its rows end in tags, ``labels`` or those of entities.

    Raises:
        InputError: it may be either.
    """
    if not os.path.isfile(path):
        return path.lower().endswith((*COLUMNS, *LINES))
    if inner_name(Path(path)).lower().endswith((*COLUMNS, *LINES)) or options.token_column is not None:
        return True
    lines = lines_of(text_of(Path(path), options.encoding or "utf-8"))
    rows = [cells for _, line, cells in _cells(lines) if line.strip() and line[0] != "#"]
    rows = [cells for cells in rows if not _is_mark(cells)]
    widths, tabs = {len(cells) for cells in rows}, any("\t" in line.strip() for line in lines)
    if len(widths) != 1:
        return False
    width, tags = widths.pop(), {cells[-1].strip() for cells in rows}
    if width > 1 and (_is_universal(rows) or tags <= {*labels} or spelling(tags, strict=False)):
        return True
    apart = "" in [line.strip() for line in lines[:-1]]
    if (width > 1 and tabs) or (width == 1 and apart and len(rows) > 2):
        may = f"{path} may hold a token a row, or a text a row"
        raise tr.InputError(f"{may}: say --token-column 1, or give texts on standard input (-)")
    return False


def read_corpus(paths, *, token_column=None, tag_column=None, encoding="utf-8", tagged=True) -> Corpus:
    """The sentences of files.

    Args:
        token_column, tag_column: from 1; None: the first and the last, of ``.conllu`` files the second and
            the fourth.
        tagged: False: tags are not looked at, and need not be there.

    Raises:
        InputError: names file and row of what cannot be read, or says that there is nothing in it.
    """
    if not paths:
        raise tr.InputError(f"--task tag needs data: {WANTED}")
    corpus = Corpus()
    for path in map(Path, paths):
        if not path.is_file():
            raise tr.InputError(
                f"{path} {'is a folder' if path.is_dir() else 'does not exist'}: give {WANTED}"
            )
        rows, name = lines_of(text_of(path, encoding)), inner_name(path).lower()
        if name.endswith(LINES):
            _json_lines(corpus, path, rows, tagged)
        else:
            universal = name.endswith(UNIVERSAL)
            columns = (token_column or (2 if universal else None), tag_column or (4 if universal else None))
            _columns(corpus, path, rows, columns, tagged)
    if not corpus.tokens:
        raise tr.InputError(f"{few(paths)}: there are no sentences: give {WANTED}")
    return corpus


def _columns(corpus, path, lines, columns, tagged):
    """Rows of cells between tabs, or where there are none between spaces.

    A row that begins with ``#`` is a comment, unless it has as many cells as others and a tag that others
    have too, or one of entities: ``#`` and ``#topic`` are tokens.
    """
    rows = _cells(lines)
    plain = [(n, cells) for n, line, cells in rows if line.strip() and line[0] != "#" and not _is_mark(cells)]
    if not plain:
        return
    if columns[0] is None and _is_universal([cells for _, cells in plain]):
        columns = (2, columns[1] or 4)
    elif columns[0] is None:
        _refuse_numbered(path, [cells[0] for _, cells in plain])
        columns = (1, columns[1])
    place = _place(path, *plain[0], columns, tagged)
    named = [plain[0][1][i].strip().lower() for i in place]
    tags = [cells[place[1]].strip().lower() for _, cells in plain if len(cells) > place[1]]
    if named[0] in _TOKENS and named[1] in _TAGS and tags.count(named[1]) == 1 < len(plain):
        rows = [row for row in rows if row[0] != plain[0][0]]
        corpus.leave_out(f"rows that name the columns ({' '.join(named)})")
        plain = plain[1:]
    first, cells = plain[0]
    width, tags = len(cells), {c[place[1]] for _, c in plain if len(c) == len(cells)}
    is_tag = lambda cell: cell in tags or is_spelt(cell)  # noqa: E731
    tokens: list[str] = []
    said: list[str] = []
    for n, line, cells in [*rows, (0, "", [])]:
        if not line.strip() or _is_mark(cells):
            corpus.add(tokens, said)
            tokens, said = [], []
        elif line[0] == "#" and not (len(cells) == width and (not tagged or is_tag(cells[place[1]]))):
            corpus.leave_out("comments")
        elif len(cells) != width:
            has = f"{path} row {n} has {_count(len(cells))}, row {first} has {width}"
            raise tr.InputError(f"{has}: mend it, one token and its tag a row")
        elif width == 10 and _RANGE.fullmatch(cells[0]):
            corpus.leave_out("words of several words, or of none")
        else:
            token, tag = (cells[i].strip() for i in place)
            for what, cell in (("token", token), ("tag", tag)):
                if not cell and (tagged or what == "token"):
                    raise tr.InputError(f"{path} row {n}: the {what} is empty: fill it, or delete the row")
            tokens.append(token)
            said.append(tag)


def _cells(lines):
    """Number, line and cells of each row: between tabs, or where there are none between spaces."""
    split = (lambda line: line.split("\t")) if any("\t" in x.strip() for x in lines) else str.split
    return [(n, line, split(line)) for n, line in enumerate(lines, 1)]


def _is_universal(rows):
    """Whether rows of cells are those of Universal Dependencies: ten, the number of the word in the first."""
    return all(len(cells) == 10 and re.fullmatch(r"\d+([-.]\d+)?", cells[0]) for cells in rows)


def _refuse_numbered(path, cells):
    """InputError where the first column has the numbers of tokens in place of tokens."""
    follows = (b in ("0", "1") or ((a + b).isdecimal() and int(b) == int(a) + 1) for a, b in pairwise(cells))
    if len(cells) > 2 and cells[0] in ("0", "1") and all(follows):
        mend = "say --token-column, and --tag-column"
        raise tr.InputError(f"{path}: its first column numbers the tokens: {mend}")


def _is_mark(cells):
    """Whether a row marks the beginning of a document."""
    return bool(cells) and cells[0] == "-DOCSTART-"


def _count(n):
    return f"{n} column{'s' * (n != 1)}"


def _place(path, n, cells, columns, tagged):
    """Where token and tag are among the cells of a row, from 0."""
    token, tag = columns[0], columns[1] or len(cells)
    for name, column in (("--token-column", token), ("--tag-column", tag))[: 1 + tagged]:
        if column > len(cells):
            raise tr.InputError(f"{path} row {n} has {_count(len(cells))}: {name} {column} is not among them")
    if tagged and token == tag:
        what = "has one column" if len(cells) == 1 else f"has its tags in the column of its tokens, {token}"
        raise tr.InputError(
            f"{path} {what}: give a token and its tag a row, or --token-column and --tag-column"
        )
    return token - 1, min(tag, len(cells)) - 1


def _json_lines(corpus, path, lines, tagged):
    for n, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise tr.InputError(f"{path} row {n}: {error}: every row must be one JSON object") from None
        names = ("tokens", "tags")[: 1 + tagged]
        found = [row.get(name) if isinstance(row, dict) else None for name in names]
        for name, texts in zip(names, found, strict=True):
            if not isinstance(texts, list) or not all(isinstance(t, str) and t.strip() for t in texts):
                said = f"{path} row {n}: {name!r} is {shown(texts)}"
                raise tr.InputError(f'{said}: write {{"tokens": ["A", "dog"], "tags": ["DET", "NOUN"]}}')
        if tagged and len(found[0]) != len(found[1]):
            said = f"{path} row {n} has {len(found[0])} tokens and {len(found[1])} tags"
            raise tr.InputError(f"{said}: give each token its tag")
        corpus.add(found[0], found[1] if tagged else [""] * len(found[0]))


PIECES = re.compile(r"https?://\S+|[@#]\w+|\d+(?:[.,:]\d+)+|\w+(?:-\w+)*|['’]\w+|\.\.\.|[^\w\s]")


def tokens_of(text: str) -> list[tuple[str, int]]:
    """Tokens of a text, and where each begins: words, numbers, addresses, ``'s``; punctuation by itself."""
    return [(found[0], found.start()) for found in PIECES.finditer(text)]
