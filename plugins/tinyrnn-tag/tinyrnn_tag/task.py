"""The task ``tag``: one label a token."""

import importlib.util
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from types import MappingProxyType

import numpy as np

import tinyrnn as tr
from tinyrnn.tasks import Batches, Plan, RunFolder, Task, few, note, shown
from tinyrnn.tasks.text import digest, names, read_lines

from .model import Tagger
from .options import ColumnOptions, TagOptions
from .reader import Corpus, in_columns, read_corpus, tokens_of
from .schemes import bio, irregular, is_spelt, scheme_of, spans_of, spelling
from .words import Lexicon

LONG = 1000  # tokens of a sentence: with more, empty lines are missing


class Tagging(Task):
    """A label for each token: named entities, parts of speech, semantic roles.

    Data: files in columns as CoNLL has them, a token and its tag a row (--token-column, --tag-column), an
    empty line between sentences; or .jsonl with "tokens" and "tags". Entities are spelt BIO, IOB1, BIOES or
    BILOU. From Python also pairs (tokens, tags).
    """

    name = "tag"
    options = TagOptions
    plan = Plan(lr=3e-3, epochs=12.0, eval_every=200)
    evaluation = ColumnOptions
    prediction = ColumnOptions
    in_nats = False  # what a run is chosen by is not its training loss
    loss_name = "1 - F1, or wrong tags (part); training: nats a token"
    default_inputs = ("-",)
    next_input = "'a text'"
    in_memory = "pairs (tokens, tags) of lists of texts"
    drawn = MappingProxyType({"accuracy": "accuracy", "nats": "nats a token"})

    def __init__(self, model, train: Corpus, val: Corpus, options, *, fingerprint="", scheme="", left_out=()):
        self.model, self.train, self.val, self.fingerprint = model, train, val, fingerprint
        self.scheme, self.left_out = scheme, dict(left_out)
        self.targets = [model.numbers(tags) for tags in train.tags]
        self.batches = Batches(train.tokens, options.batch_size, options.seed)
        self.steps_per_epoch = self.batches.per_epoch
        self.shape = f"batches of {options.batch_size} sentences"
        self.tokens_per_step = options.batch_size * np.mean([len(s) for s in train.tokens])

    @classmethod
    def build(cls, options, texts):
        """The task that the options describe, on the files ``texts``.

        Raises:
            InputError: data that cannot be used, too few sentences, an unknown cell or option.
        """
        corpus = _read(options, texts)
        _spelling(corpus, texts)
        fingerprint, scheme = _fingerprint(corpus), scheme_of(corpus.tags)
        if scheme == "BIO" and (odd := irregular(corpus.tags)):
            corpus.left_out["the letter I at the beginning of an entity, read as B"] = odd
        _as_bio(corpus, scheme, texts)
        labels = sorted({tag for tags in corpus.tags for tag in tags})
        if len(labels) < 2:
            said = f"all tokens have the tag {shown(labels[0])}: there is nothing to tell apart"
            raise tr.InputError(f"{few(texts)}: {said}")
        train, val = (corpus, _held(options, scheme)) if options.val else _split(corpus, options, texts)
        if strange := {tag for tags in val.tags for tag in tags} - set(labels):
            has = f"{options.val} has the tag {shown(min(strange))}"
            raise tr.InputError(f"{has}, which the training data lacks: leave its sentences out")
        kept = ("embed", "characters", "affixes", "linear", "word_dropout", "seed")
        own = {name: getattr(options, name) for name in kept}
        model = Tagger(Lexicon.of(train.tokens), labels, **own, **options.settings())
        facts = dict(fingerprint=fingerprint, scheme=scheme, left_out=corpus.left_out)
        return cls(model, train, val, options, **facts)

    @classmethod
    def store(cls, data):
        """Pairs (tokens, tags)."""
        if isinstance(data, str | bytes | dict) or not isinstance(data, Iterable) or hasattr(data, "read"):
            return super().store(data)
        rows = []
        for i, pair in enumerate(data):
            listed = isinstance(pair, Iterable) and not isinstance(pair, str | bytes | dict)
            both = [[*x] if isinstance(x, list | tuple) else x for x in pair] if listed else []
            if len(both) != 2:
                raise tr.InputError(f"entry {i} of the data is {shown(pair)}: give pairs (tokens, tags)")
            try:
                rows.append(json.dumps(dict(zip(("tokens", "tags"), both, strict=True)), ensure_ascii=False))
            except TypeError:
                raise tr.InputError(f"entry {i} of the data is {shown(pair)}: give lists of texts") from None
        return "jsonl", "".join(f"{row}\n" for row in rows)

    @staticmethod
    def rebuild(meta) -> Tagger:
        """The model that a checkpoint's metadata describes, with fresh weights."""
        lexicon = Lexicon(*(names(meta.get(part), part) for part in ("words", "characters", "forms")))
        return Tagger.restored(TagOptions, meta["model"], lexicon, names(meta.get("labels"), "labels"))

    def introduction(self) -> str:
        """What is learned from."""
        tokens = sum(map(len, self.train.tokens))
        said = f"{len(self.train.tokens):,} sentences, {len(self.val.tokens):,} for validation"
        said += f"; {tokens:,} tokens"
        said += f", {len(self.model.lexicon.words) - 1:,} different words; "
        if self.scheme:
            kinds = Counter(kind for tags in self.train.tags for _, _, kind in spans_of(tags))
            said += f"entities in {self.scheme}: {few((f'{kind} {n:,}' for kind, n in kinds.most_common()))}"
        else:
            counts = Counter(tag for tags in self.train.tags for tag in tags)
            said += (
                f"{len(self.model.labels)} tags: {few((f'{tag} {n:,}' for tag, n in counts.most_common()))}"
            )
        for what, n in self.left_out.items():
            said += f"; {what}: {n:,}"
        if (longest := max(map(len, self.train.tokens))) > LONG:
            said += f"; the longest sentence has {longest:,} tokens: are there empty lines between sentences?"
        return said

    def loss(self, step: int):
        """The training loss of batch ``step``, nats a token, a Tensor."""
        chosen = self.batches[step]
        rows = [self.train.tokens[i] for i in chosen]
        return self.model.cost(rows, [self.targets[i] for i in chosen]) / sum(map(len, rows))

    def evaluate(self, stop=lambda: False) -> dict | None:
        """Validation figures, or None if ``stop()`` became true."""
        if stop():
            return None
        found = figures(self.model, self.val)
        return {"val_loss": 1 - found[chosen_by(self.model)]} | {
            k: found[k] for k in ("f1", "accuracy", "nats") if k in found
        }

    @staticmethod
    def evaluate_run(model, texts, run, options) -> dict:
        """`figures` on the files ``texts``, or on the validation part of the data of ``run``."""
        trained, files = Tagging.trained(run, options, texts)
        if texts or trained.val:
            corpus = _as_bio(_read(trained, texts or [trained.val]), model.entities, texts or [trained.val])
        else:
            whole = _read(trained, files)
            RunFolder(run).refuse_changed(_fingerprint(whole), "sentences of this run have")
            corpus = _split(_as_bio(whole, model.entities, files), trained, files)[1]
        found = figures(model, corpus)
        named = any(map(spans_of, corpus.tags))
        if named and importlib.util.find_spec("seqeval"):
            from seqeval.metrics import classification_report

            report = classification_report(corpus.tags, found["said"], output_dict=True, zero_division=0)
            found["types"] = {k: {n: float(x) for n, x in row.items()} for k, row in report.items()}
        del found["said"]
        return found

    @staticmethod
    def remarks(figures):
        """Precision, recall and F1 of each type, by seqeval."""
        if figures.get("unknown"):
            yield f"tags that the model does not know, all of them wrong: {figures['unknown']:,} tokens"
        if "types" in figures:
            width = max(map(len, figures["types"]))
            yield f"{'':{width}}  precision  recall      F1  entities"
            for kind, row in figures["types"].items():
                scores = f"{row['precision']:9.4f}  {row['recall']:6.4f}  {row['f1-score']:6.4f}"
                yield f"{kind:>{width}}  {scores}  {row['support']:8,.0f}"
        elif "f1" in figures and not importlib.util.find_spec("seqeval"):
            yield "for a table of the types: pip install seqeval"

    def conclude(self, run):
        """Whether the best model beats saying of each word the tag that it has most often."""
        counts = defaultdict(Counter)
        for tokens, tags in zip(self.train.tokens, self.train.tags, strict=True):
            for token, tag in zip(tokens, tags, strict=True):
                counts[token][tag] += 1
        often = Counter(tag for tags in self.train.tags for tag in tags).most_common(1)[0][0]
        usual = {token: found.most_common(1)[0][0] for token, found in counts.items()}
        said = [[usual.get(token, often) for token in tokens] for tokens in self.val.tokens]
        name = chosen_by(self.model)
        simple = scores(self.val.tags, said, self.model.entities)[name]
        best = max((record.get(name, 0.0) for record in run.read_log()), default=0.0)
        shown = {"f1": "an F1", "accuracy": "an accuracy"}[name]
        plain = f"saying of each word the tag that it has most often has {shown} of {simple:.4f}"
        if best > simple:
            return [f"{plain}, this model has {best:.4f}"]
        return [
            f"this model does not beat the most frequent tag of each word: {plain}; train longer or on more"
        ]

    @staticmethod
    def predict(model, inputs, run, options):
        """Tags and entities of texts, of lines of files of text, and of the sentences of files in columns."""
        rows: list[tuple[str, list[str], list[int]]] = []
        for given in inputs:
            if given != "-" and in_columns(given, options, model.labels):
                trained, _ = Tagging.trained(run, options, inputs)
                for tokens in _read(trained, [given], tagged=False).tokens:
                    starts = np.cumsum([0, *(len(token) + 1 for token in tokens[:-1])]).tolist()
                    rows.append((" ".join(tokens), tokens, starts))
                continue
            for text in read_lines([given], options.encoding or "utf-8"):
                found = tokens_of(text)
                rows.append((text, [token for token, _ in found], [start for _, start in found]))
        some = [i for i, (_, tokens, _) in enumerate(rows) if tokens]
        tell_unknown(model, [rows[i][1] for i in some])
        said = dict(zip(some, model.tagged([rows[i][1] for i in some]), strict=True))
        for i, (text, tokens, starts) in enumerate(rows):
            tags = said.get(i, [])
            prediction = {"text": text, "tokens": tokens, "tags": tags}
            if model.entities:
                prediction["spans"] = [
                    {"text": text[starts[a] : starts[b - 1] + len(tokens[b - 1])], "type": kind}
                    | {"from": starts[a], "to": starts[b - 1] + len(tokens[b - 1])}
                    for a, b, kind in spans_of(tags)
                ]
            yield prediction

    @staticmethod
    def shown(prediction):
        """The text, and below it a line an entity: text, type, where it begins and ends, in characters. Of
        other tags each token with its own.
        """
        if "spans" not in prediction:
            pairs = zip(prediction["tokens"], prediction["tags"], strict=True)
            return " ".join(f"{token}/{tag}" for token, tag in pairs)
        spans = ("{text}\t{type}\t{from}\t{to}".format_map(span) for span in prediction["spans"])
        return "\n\t".join([prediction["text"], *spans])


def chosen_by(model) -> str:
    """The figure that the best step is chosen by: the likelihood is at its best long before."""
    return "f1" if model.entities else "accuracy"


def figures(model, corpus, batch_size=64) -> dict:
    """``precision recall f1`` of entities, ``accuracy nats`` of tokens, and what is ``said``: the tags."""
    said = model.tagged(corpus.tokens)
    known = set(model.labels)
    asked = [i for i, tags in enumerate(corpus.tags) if known.issuperset(tags)]
    found = scores(corpus.tags, said, model.entities)
    total, count = 0.0, sum(len(corpus.tokens[i]) for i in asked)
    with model.evaluating():
        for some in (asked[i : i + batch_size] for i in range(0, len(asked), batch_size)):
            rows = [corpus.tokens[i] for i in some]
            total += model.cost(rows, [model.numbers(corpus.tags[i]) for i in some]).item()
    found["nats"] = total / count if count else None
    unknown = sum(tag not in known for tags in corpus.tags for tag in tags)
    return {**found, **({"unknown": unknown} if unknown else {}), "said": said}


def scores(true, said, entities) -> dict[str, float]:
    """``accuracy`` of tags; where they spell entities also ``precision recall f1``, of all types together: an
    entity is right if its ends and its type are.
    """
    pairs = [pair for a, b in zip(true, said, strict=True) for pair in zip(a, b, strict=True)]
    found = {"accuracy": sum(a == b for a, b in pairs) / len(pairs)}
    if not entities:
        return found
    there, named = (
        {(i, *span) for i, tags in enumerate(rows) for span in spans_of(tags)} for rows in (true, said)
    )
    hits = len(there & named)
    rates = {"precision": hits / max(len(named), 1), "recall": hits / max(len(there), 1)}
    return {**rates, "f1": 2 * hits / max(len(there) + len(named), 1), **found}


def tell_unknown(model, rows):
    """Say how many words were not there in training: they are read by their characters."""
    words = {token for tokens in rows for token in tokens}
    if unknown := [word for word in words if model.lexicon.is_unknown(word)]:
        part = f"{len(unknown):,} of {len(words):,} words"
        note(f"{part} were not seen in training: they are read by their characters alone")


def _read(options, paths, tagged=True) -> Corpus:
    how = dict(token_column=options.token_column, tag_column=options.tag_column, encoding=options.encoding)
    return read_corpus(paths, **how, tagged=tagged)


def _spelling(corpus, paths):
    """How the tags of ``corpus`` spell entities, as `spelling` has it; InputError where some do not."""
    try:
        return spelling(tag for tags in corpus.tags for tag in tags)
    except ValueError as error:
        mend = "mend it, or delete its row if that names the columns"
        raise tr.InputError(f"{few(paths)} {error}: {mend}") from None


def _as_bio(corpus, entities, paths) -> Corpus:
    """``corpus``, its entities spelt as BIO where there are ``entities``."""
    if entities:
        known = _spelling(corpus, paths)
        if other := Counter(tag for tags in corpus.tags for tag in tags if known.get(tag, tag) != tag):
            tag = min(other)
            corpus.left_out[f"tags spelt like {tag}, read as {known[tag]}"] = other.total()
            corpus.tags = [[known[tag] for tag in tags] for tags in corpus.tags]
        if strange := {tag for tags in corpus.tags for tag in tags if not is_spelt(tag)}:
            said = f"{few(paths)} has the tag {shown(min(strange))}"
            raise tr.InputError(f"{said}, which is no O, B-TYPE or I-TYPE as entities have: mend it")
        corpus.tags = [bio(tags) for tags in corpus.tags]
    return corpus


def _held(options, scheme) -> Corpus:
    return _as_bio(_read(options, [options.val]), scheme, [options.val])


def _fingerprint(corpus):
    rows = [" ".join(tokens) for tokens in corpus.tokens], [" ".join(tags) for tags in corpus.tags]
    return f"tag-{len(corpus.tokens)}-{digest(rows)}"


def _split(corpus, options, paths):
    """Sentences to train on and to validate on, chosen by the seed."""
    n = len(corpus.tokens)
    held = min(max(1, round(options.val_fraction * n)), n - 1)
    if n < 2:
        raise tr.InputError(f"{few(paths)}: there is one sentence only: give more, or name a --val file")
    order = np.random.default_rng(options.seed).permutation(n)
    return corpus.part(sorted(order[held:])), corpus.part(sorted(order[:held]))
