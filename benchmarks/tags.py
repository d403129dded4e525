"""The task tag beside a conditional random field of sklearn-crfsuite, on equal splits. Run: python
benchmarks/tags.py [TRAIN TEST]... [options of tinyrnn train]

Without files: parts of speech of ../shared/data/tags/ewt-pos.conll, the first 80 % to learn from and the rest
to test, and the noisy names of wnut17-train.conll, tested on wnut17-dev.conll. What tags do is told by
accuracy, and by entity F1 (seqeval) where they spell entities.

The task keeps a tenth of what it learns from to choose its best step, so it learns from less. The field has
the features of its tutorial (the word, its ends of two and three letters, its shape, and those of its
neighbours) and, of four pairs of penalties, the one that does best ON THE TEST PART, which flatters it.
Needs: pip install ./plugins/tinyrnn-tag[seqeval] sklearn-crfsuite
"""

import tempfile
import time
from pathlib import Path

import timing

import tinyrnn as tr

SHARED = Path(__file__).parents[2] / "shared" / "data" / "tags"
PENALTIES = (0.1, 0.1), (0.0, 1.0), (0.05, 0.01), (0.01, 0.1)  # of L1 and L2


def features(tokens, i):
    """Of the token ``i``, as the tutorial of sklearn-crfsuite has them, without the parts of speech."""
    word = tokens[i]
    found = {"bias": 1.0, "lower": word.lower(), "[-3:]": word[-3:], "[-2:]": word[-2:]}
    found |= {"upper": word.isupper(), "title": word.istitle(), "digit": word.isdigit()}
    for name, at in (("-1", i - 1), ("+1", i + 1)):
        if 0 <= at < len(tokens):
            word = tokens[at]
            found |= {f"{name}:lower": word.lower(), f"{name}:title": word.istitle()}
            found[f"{name}:upper"] = word.isupper()
        else:
            found["begins" if at < 0 else "ends"] = True
    return found


def score(corpus, said):
    """Entity F1 where tags spell entities, else accuracy."""
    from seqeval.metrics import f1_score
    from tinyrnn_tag.schemes import scheme_of

    if scheme_of(corpus.tags):
        return f1_score(corpus.tags, said)
    pairs = [pair for rows in zip(corpus.tags, said, strict=True) for pair in zip(*rows, strict=True)]
    return sum(a == b for a, b in pairs) / len(pairs)


def field(train, test):
    """The best score of the field, its penalties, and seconds."""
    import sklearn_crfsuite

    began = time.perf_counter()
    rows, asked = (
        [[features(tokens, i) for i in range(len(tokens))] for tokens in corpus.tokens]
        for corpus in (train, test)
    )
    found = {}
    for c1, c2 in PENALTIES:
        crf = sklearn_crfsuite.CRF(c1=c1, c2=c2, max_iterations=100, all_possible_transitions=True)
        crf.fit(rows, train.tags)
        found[c1, c2] = score(test, crf.predict(asked))
    best = max(found, key=found.get)
    return found[best], best, (time.perf_counter() - began) / len(PENALTIES)


def parts(folder):
    """The pairs of files that are shared."""
    from tinyrnn_tag.reader import read_corpus

    whole = read_corpus([SHARED / "ewt-pos.conll"])
    edge = len(whole.tokens) * 4 // 5
    files = Path(folder, "ewt-pos-train.conll"), Path(folder, "ewt-pos-test.conll")
    for file, part in zip(files, (range(edge), range(edge, len(whole.tokens))), strict=True):
        corpus = whole.part(part)
        rows = (zip(*pair, strict=True) for pair in zip(corpus.tokens, corpus.tags, strict=True))
        file.write_text("\n".join("".join(f"{a}\t{b}\n" for a, b in row) for row in rows), encoding="utf-8")
    return [files, (SHARED / "wnut17-train.conll", SHARED / "wnut17-dev.conll")]


def main():
    parser = timing.parser(__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    given, more = parser.parse_known_args()
    from tinyrnn_tag.reader import read_corpus
    from tinyrnn_tag.schemes import scheme_of

    options = dict(zip([o.removeprefix("--").replace("-", "_") for o in more[::2]], more[1::2], strict=True))
    options = {k: float(v) if "." in v else int(v) if v.isdigit() else v for k, v in options.items()}
    with tempfile.TemporaryDirectory() as folder:
        pairs = list(zip(given.files[::2], given.files[1::2], strict=True)) or parts(folder)
        for train_file, test_file in pairs:
            train, test = read_corpus([train_file]), read_corpus([test_file])
            what = "entity F1" if scheme_of(train.tags) else "accuracy"
            print(f"{train_file.name} -> {test_file.name}: {what}", flush=True)
            found, penalties, seconds = field(train, test)
            print(
                f"  CRF (sklearn-crfsuite, penalties {penalties}): {found:.4f}, {seconds:.0f} s", flush=True
            )
            for seed in range(given.seeds):
                run = tr.train(
                    train_file,
                    "tag",
                    out=Path(folder, f"{train_file.stem}-{seed}"),
                    quiet=True,
                    seed=seed,
                    **options,
                )
                said = run.model.tagged(test.tokens)
                seconds = run.log[-1]["seconds"]
                print(f"  tinyrnn, seed {seed}: {score(test, said):.4f}, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    timing.run(main)
