"""The task translate: reading pairs, attention, the model, scheduled sampling, search, the commands."""

import gzip
import itertools
import json
import re
import sys
import warnings

import numpy as np
import pytest
from click.testing import CliRunner

import tinyrnn as tr
from tinyrnn.cli import main
from tinyrnn.compiler.ir import CompileWarning
from tinyrnn.compiler.targets.numba import interpreted
from tinyrnn.tasks.tables.options import TableOptions
from tinyrnn.tasks.text.vocabulary import Characters, Words, build_vocabulary, encode_text
from tinyrnn.tasks.translate import task as translate
from tinyrnn.tasks.translate.reader import read_pairs
from tinyrnn.tasks.translate.task import Translation, Translator
from tinyrnn.training import report

scan_module = sys.modules[tr.scan.__module__]  # whose function tr.scan is
KINDS = ["luong", "bahdanau"]
SMALL = "--task translate --hidden 16 --embed 8 --batch-size 8 --eval-every 20 --dropout 0.1".split()
WORDS = ["".join(w) for n in (1, 2, 3) for w in itertools.product("abc", repeat=n)]


def invoke(*arguments, code=0, **more):
    result = CliRunner().invoke(main, [str(a) for a in arguments], **more)
    assert result.exit_code == code and "Traceback" not in result.output, result.output
    return result


@pytest.fixture
def pairs_file(tmp_path):
    """Short strings and the same backwards."""
    path = tmp_path / "pairs.tsv"
    path.write_text("\n".join(f"{w} \t{w[::-1]}\tby me" for w in WORDS))
    return path


@pytest.fixture
def eager(monkeypatch):
    """Loops run op by op, which gives the same and has nothing to compile."""
    monkeypatch.setenv("TINYRNN_COMPILE", "0")


# ------------------------------------------------------------------ reading


def read(*paths, **options):
    """Sources, and the targets of each as one text."""
    sources, references = read_pairs(
        paths,
        how=TableOptions(separator=options.pop("separator", None), header=options.pop("header", None)),
        **options,
    )
    return sources, [" | ".join(all_of) for all_of in references]


def test_what_a_line_may_look_like(tmp_path):
    (tmp_path / "a").write_text("\ufeffone \t un\n\n  \ntwo\t deux\tby me", encoding="utf-8")
    (tmp_path / "b").write_text("x _ y _ z\n")
    (tmp_path / "c").write_text('he said "x" ||| il dit\n"a | b" ||| c\n')
    assert read(tmp_path / "a", tmp_path / "a") == (["one", "two"] * 2, ["un", "deux"] * 2)
    assert read(tmp_path / "a", separator="\\t") == (["one", "two"], ["un", "deux"])
    assert read(tmp_path / "b", separator="_") == (["x"], ["y"])
    assert read(tmp_path / "c", separator=" ||| ") == (['he said "x"', '"a | b"'], ["il dit", "c"])


def test_a_table_of_pairs(tmp_path, capsys):
    rows = 'Go.,Va !\n"Well, go","Eh bien, ""va"""\nhello,bonjour\n'
    path, found = tmp_path / "a.csv", (["Go.", "Well, go", "hello"], ["Va !", 'Eh bien, "va"', "bonjour"])
    path.write_text(rows)
    assert read(path) == read(path, separator=",") == found  # the first row is a pair
    for header in (
        "source,target",
        "English,French",
        "en,fr",
        "English words/sentences,French words/sentences",
    ):
        path.write_text(f"{header}\n{rows}")
        assert read(path) == found
        assert f"the first row ({header.replace(',', ', ')}) names the columns" in capsys.readouterr().err
        assert read(path, header=False)[0][0] == header.split(",")[0]
    path.write_text(f"it,es\n{rows}")
    assert read(path)[0][0] == "it"
    path.write_text(f"this,that\n{rows}")
    assert read(path, header=True) == found and read(path)[0][0] == "this"
    path.write_text("Go.,Va !\nWell, go,Eh bien\nhello,bonjour\n")
    with pytest.raises(
        tr.InputError, match="row 2 has 3 cells, the first row has 2: put texts in double quotes"
    ):
        read(path)


def test_columns_of_pairs_by_name(tmp_path, capsys):
    path = tmp_path / "a.csv"
    path.write_text("id,target,source,other\n1,un,one,le un\n2,deux,two,\n")
    assert read(path) == (["one", "two"], ["un", "deux"])
    assert "columns source, target; left out: id, other" in capsys.readouterr().err
    assert read(path, target_column="target,other") == (["one", "two"], ["un | le un", "deux"])
    (tmp_path / "b.jsonl").write_text('{"translation": {"en": "a", "fr": "b"}}\n')
    with pytest.raises(tr.InputError, match="has one column: give a table with one of sources and one of"):
        read(tmp_path / "b.jsonl")
    with pytest.raises(tr.InputError, match="has no column 'sorce': choose --source-column from"):
        read(path, source_column="sorce")
    (tmp_path / "a.jsonl").write_text('{"en": "a\\tb\\nc", "fr": "x\u2028y"}\n', encoding="utf-8")
    assert read(tmp_path / "a.jsonl") == (["a\tb\nc"], ["x\u2028y"])


def test_tabs_in_quotes_and_returns_are_parts_of_texts(tmp_path):
    (tmp_path / "a.tsv").write_bytes(b'"a\tb"\tc\nd\te\tby "me"\n')
    assert read(tmp_path / "a.tsv") == (["a\tb", "d"], ["c", "e"])
    (tmp_path / "b.tsv").write_bytes(b'"so he said\tx\n"well"\t"y"\nand left"\tz\n')  # quotes of texts
    assert read(tmp_path / "b.tsv") == (['"so he said', '"well"', 'and left"'], ["x", '"y"', "z"])
    (tmp_path / "c.tsv").write_bytes(b"a\rb\tc\r\nd\te\r\n")
    assert read(tmp_path / "c.tsv") == (["a\rb", "d"], ["c", "e"])
    long = "word " * 40_000
    (tmp_path / "d.tsv").write_text(f"{long}\tx\ny\tz\n")
    assert read(tmp_path / "d.tsv") == ([long.strip(), "y"], ["x", "z"])
    late = [f"a{i}\tb" for i in range(60_000)] + ['"so\tx', 'it"\ty']  # far behind what a way is tried on
    (tmp_path / "e.tsv").write_text("\n".join(late))
    assert read(tmp_path / "e.tsv")[0][-2:] == ['"so', 'it"']


def test_files_line_by_line(tmp_path, capsys):
    (tmp_path / "a.en").write_text('one, "two"\n\nthree\tfour\n')
    (tmp_path / "a.fr").write_text("un\n\ntrois")
    with gzip.open(tmp_path / "b.fr.gz", "wt") as file:
        file.write("UN\n\n\n")
    files = dict(source=str(tmp_path / "a.en"), targets=[str(tmp_path / "a.fr")])
    assert read(**files) == (['one, "two"', "three\tfour"], ["un", "trois"])
    assert "3 lines each, paired line by line" in capsys.readouterr().err
    files["targets"].append(str(tmp_path / "b.fr.gz"))
    assert read(**files) == (['one, "two"', "three\tfour"], ["un | UN", "trois"])
    (tmp_path / "a.fr").write_text("un\n")
    with pytest.raises(tr.InputError, match=r"a\.en has 3 lines, .*a\.fr has 1: line by line"):
        read(**files)
    with pytest.raises(tr.InputError, match="--source and --target go together"):
        read(source=files["source"])
    (tmp_path / "a.fr").write_text("un\n\n\n")
    with pytest.raises(tr.InputError, match=r"a\.en row 3: the target is empty"):
        read(source=files["source"], targets=files["targets"][:1])


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        ("a\tb\n\nonly\n", [], r"pairs row 3 has 1 cells, the first row has 2: mend or delete the row"),
        (
            "only\n",
            [],
            r"pairs row 1 has no tab between source and target: 'only': mend it, or give --separator",
        ),
        ("a\tb\n", ["--separator", "|"], r"row 1 has no '\|' between"),
        ("a\tb\n \tb\n", [], "row 2: the source is empty: fill it, or delete the row"),
        ("a\tb\nb\t\tc\n", [], "row 2: the target is empty"),
        ("\n\n", [], "is empty: there are no rows in it"),
        ("a\tb\n" * 20, [], "there are 1 different sources: give 10 at least, or name a --val file"),
        (b"a\t\xff\n", [], "is not utf-8 text .* name its --encoding"),
        ("a\tb\n", ["--separator", ""], "--separator is empty"),
        (
            "".join(f"{w}\tb\n" for w in WORDS),
            "--scheduled-sampling 0.5 --minutes 1".split(),
            "in --steps or --epochs",
        ),
        ("".join(f"{w}\tb\n" for w in WORDS), "--val nowhere".split(), "does not exist or is no file"),
    ],
)
def test_bad_data_is_one_sentence_that_names_file_and_row(tmp_path, content, options, said):
    path = tmp_path / "pairs"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    result = invoke("train", path, *SMALL, *options, "--out", tmp_path / "run", code=2)
    assert re.search(said, result.output), result.output
    assert not (tmp_path / "run").exists() and len(result.output.strip().splitlines()) == 1


def test_no_data_and_missing_files(tmp_path):
    assert "--task translate needs data" in invoke("train", *SMALL, code=2).output
    for path in (tmp_path / "x.tsv", tmp_path):
        assert "does not exist or is no file" in invoke("train", path, *SMALL, code=2).output


# ------------------------------------------------------------------ attention


@pytest.mark.parametrize("kind", KINDS)
def test_attention_is_that_of_the_papers(kind):
    random, (T, S, B, Q, K, A) = np.random.default_rng(0), (3, 4, 2, 5, 6, 7)
    attention = tr.Attention(Q, K, kind=kind, attention_size=A, dtype="float64", generator=tr.Generator(1))
    queries, keys = random.standard_normal((T, B, Q)), random.standard_normal((S, B, K))
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0]]).T
    context, weights = (y.numpy() for y in attention(tr.asarray(queries), tr.asarray(keys), mask))
    W = {name: p.numpy() for name, p in attention.named_parameters()}
    for t, b in itertools.product(range(T), range(B)):
        n = int(mask[:, b].sum())
        if kind == "luong":
            scores = [queries[t, b] @ (keys[s, b] @ W["keys.weight"]) for s in range(n)]
        else:
            q = queries[t, b] @ W["queries.weight"] + W["keys.bias"]
            scores = [np.tanh(q + keys[s, b] @ W["keys.weight"]) @ W["score.weight"][:, 0] for s in range(n)]
        expected = np.exp(scores) / np.exp(scores).sum()
        np.testing.assert_allclose(weights[t, b], [*expected, *[0] * (S - n)], rtol=1e-12)
        np.testing.assert_allclose(context[t, b], expected @ keys[:n, b], rtol=1e-12)
    with pytest.raises(tr.InputError, match="unknown attention 'x': use luong or bahdanau"):
        tr.Attention(1, 1, kind="x")


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_attention(kind):
    random = np.random.default_rng(0)
    attention = tr.Attention(3, 2, kind=kind, attention_size=4, dtype="float64", generator=tr.Generator(1))
    mask = np.array([[1, 1], [1, 0], [1, 0]])

    def contexts(queries, keys, W):
        attention.keys.weight = W
        return attention(queries, keys, mask)

    tr.check_grad(
        contexts, *[random.standard_normal(s) for s in ((2, 2, 3), (3, 2, 2), attention.keys.weight.shape)]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_one_query_inside_of_a_loop_is_one_of_many(kind):
    random = np.random.default_rng(0)
    attention = tr.Attention(3, 2, kind=kind, attention_size=4, dtype="float64", generator=tr.Generator(1))
    mask, found = np.array([[1, 1], [1, 0], [1, 0]]), []
    given = [random.standard_normal(s) for s in ((4, 2, 3), (3, 2, 2))]
    for in_loop in (True, False):
        queries, keys = (tr.tensor(a, requires_grad=True) for a in given)
        if in_loop:
            held = [tr.permute_dims(t, (1, 0, 2)) for t in (keys, attention.project(keys))]
            seen = tr.tensor(mask.T != 0)
            first = tr.zeros((2, 2)), tr.zeros((2, 3))
            with interpreted(), warnings.catch_warnings():
                warnings.simplefilter("error", CompileWarning)
                (contexts, weights), _ = tr.scan(
                    lambda x, *old, k=held, s=seen: attention.look(x, k[0], s, k[1]),
                    queries,
                    first,
                    return_states=True,
                )
        else:
            contexts, weights = attention(queries, keys, mask)
        (contexts * contexts).sum().backward()
        found.append([contexts.numpy(), weights.numpy(), queries.grad.numpy(), keys.grad.numpy()])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


# ------------------------------------------------------------------ the model


def model(kind="luong", symbols="abc", scale=1.0, **settings):
    sizes = dict(cell="gru", hidden=6, embed=5, attention=kind, dtype="float64", seed=1)
    vocabulary = Characters.build([symbols], None)
    made = Translator(vocabulary, vocabulary, **{**sizes, **settings}).eval()
    for p in made.parameters():
        p.assign_(scale * p.numpy())
    return made


def batch(m, *pairs):
    return translate._batch(translate._encoded(m, tuple(zip(*pairs, strict=True))), m.end)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_padding_changes_nothing(kind, cell, eager):
    m = model(kind, cell=cell, layers=2, scale=2.0)
    pairs = [("abcab", "c"), ("a", "cbba"), ("bb", "ab")]
    ids, mask, inputs, targets = batch(m, *pairs)
    together = m(ids, mask, inputs)[0].numpy()
    total = translate.loss(m, translate._encoded(m, tuple(zip(*pairs, strict=True))))
    alone = [m(*batch(m, pair)[:3])[0].numpy()[:, 0] for pair in pairs]
    for b, logits in enumerate(alone):
        np.testing.assert_allclose(together[: len(logits), b], logits, rtol=1e-10, atol=1e-12)
    counts = (targets >= 0).sum(axis=0)
    single = [
        tr.cross_entropy(logits, targets[:n, b]).item()
        for b, (logits, n) in enumerate(zip(alone, counts, strict=True))
    ]
    assert total == pytest.approx(np.average(single, weights=counts), rel=1e-10)
    assert total == pytest.approx(tr.cross_entropy(together, targets).item(), rel=1e-10)
    sources = [m.encode(s) for s, _ in pairs]
    for found, (ids, score) in zip(m.search(sources, 3), [m.search([s], 3)[0] for s in sources], strict=True):
        assert found[0] == ids and found[1] == pytest.approx(score)


def test_luong_at_once_equals_step_by_step():
    m = model(layers=2, bidirectional=False, dtype="float32")
    ids, mask, inputs, _ = batch(m, ("abc", "ba"), ("a", "ccb"))
    logits, weights = m(ids, mask, inputs)
    memory, states = m.read(ids, mask)
    for t in range(len(inputs)):
        now, states, seen = m.step(inputs[t : t + 1], states, memory)
        np.testing.assert_allclose(now.numpy()[0], logits.numpy()[t], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(seen.numpy()[0], weights.numpy()[t], rtol=1e-5, atol=1e-6)


def step_by_step(m, ids, mask, inputs):
    """What one loop gives, by the plain equations; what is drawn, at each step again."""
    memory, states = m.read(ids, mask)
    found, start = [], m.generator.state
    for t in range(len(inputs)):
        m.generator.state = start
        logits, states, weights = m.step(inputs[t : t + 1], states, memory)
        found.append((logits, weights))
    return tuple(tr.concat(parts, axis=0) for parts in zip(*found, strict=True))


def outcome(m, forward, ids, mask, inputs, targets, seed=7):
    """Logits, weights, and the gradient of everything by the loss, and by the weights."""
    m.generator.state = seed, 0
    for p in m.parameters():
        p.grad = None
    logits, weights = forward(m, ids, mask, inputs)
    (tr.cross_entropy(logits, targets) + (weights * weights).sum()).backward()
    return [logits.numpy(), weights.numpy(), *[p.grad.numpy() for p in m.parameters()]]


LOOPS = {
    "gru": dict(),
    "lstm, one direction": dict(cell="lstm", bidirectional=False),
    "three layers": dict(layers=3, cell="rnn"),
    "peepholes, two layers": dict(layers=2, cell="lstm", cell_options={"peephole": True}),
    "the same is dropped": dict(
        layers=2, dropout=0.3, recurrent_dropout=0.3, weight_drop=0.2, variational=True
    ),
}


@pytest.mark.parametrize("settings", LOOPS.values(), ids=LOOPS)
@pytest.mark.parametrize("pairs", [[("abcab", "c"), ("a", "cbba"), ("bb", "ab")], [("ab", "ca")]], ids=len)
def test_one_loop_equals_step_by_step(settings, pairs):
    m, given = model("bahdanau", scale=2.0, **settings).train(), batch(model(), *pairs)
    with interpreted(), warnings.catch_warnings():
        warnings.simplefilter("error", CompileWarning)
        found = outcome(m, type(m).__call__, *given)
    for a, b in zip(found, outcome(m, step_by_step, *given), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_one_loop_with_everything_that_regularises(monkeypatch):
    """Compiled as eager; others are dropped at other calls, the same from the same state."""
    rates = dict(dropout=0.3, recurrent_dropout=0.3, weight_drop=0.2, zoneout=0.2, layers=2, cell="lstm")
    m, given = model("bahdanau", **rates).train(), batch(model(), ("abca", "cab"), ("b", "cc"))
    plain = outcome(model("bahdanau", layers=2, cell="lstm").train(), type(m).__call__, *given)
    with interpreted(), warnings.catch_warnings():
        warnings.simplefilter("error", CompileWarning)
        found, other = outcome(m, type(m).__call__, *given), outcome(m, type(m).__call__, *given, seed=8)
    assert not np.allclose(found[0], other[0]) and not np.allclose(found[0], plain[0])
    monkeypatch.setenv("TINYRNN_COMPILE", "0")
    for a, b in zip(found, outcome(m, type(m).__call__, *given), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_the_loop_of_a_decoder_is_compiled(monkeypatch):
    """Not one loop of a training step runs op by op, and a batch of other sizes needs no other program."""
    plans, run = [], scan_module._run
    monkeypatch.setattr(scan_module, "_run", lambda plan, *of: plans.append(plan) or run(plan, *of))
    m = model("bahdanau", hidden=16, embed=6, dtype="float32", layers=2, dropout=0.1).train()
    for pairs in ([("abcab", "c"), ("a", "cbba")], [("abcabca", "ccc"), ("a", "c"), ("b", "cc")]):
        ids, mask, inputs, targets = batch(m, *pairs)
        with warnings.catch_warnings():
            warnings.simplefilter("error", CompileWarning)
            tr.cross_entropy(m(ids, mask, inputs)[0], targets).backward()
    assert len(plans) == 2 * 5 and all(plan.fault is None and plan.passed for plan in plans)
    assert plans[4].widths[:2] == (16, 16)  # of both layers: the decoder's
    assert plans[4].loops.source == plans[9].loops.source


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_sources_of_all_lengths_share_one_loop(cell, monkeypatch):
    """Shorter and longer than any row is wide, in batches of any size."""
    plans, run = [], scan_module._run
    monkeypatch.setattr(scan_module, "_run", lambda plan, *of: plans.append(plan) or run(plan, *of))
    m, sources = model("bahdanau", hidden=16, embed=8, cell=cell), set()
    for length in (1, 2, 5, 8, 16, 17, 31, 40, 128):
        mask = np.arange(length)[:, None] < [length, 1]
        with interpreted():
            weights = m(np.zeros((length, 2), int), mask, np.zeros((2, 2), int))[1]
        assert weights.shape == (2, 2, length)
        np.testing.assert_allclose(weights.numpy().sum(axis=2), 1)
        sources.add(plans[-1].loops.source)
    assert len(sources) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_the_whole(kind, eager):
    m = model(kind, hidden=2, embed=2, symbols="ab").train()
    ids, mask, inputs, targets = batch(m, ("ab", "b"), ("b", "aa"))
    names, start = [n for n, _ in m.named_parameters()], [p.numpy().copy() for p in m.parameters()]

    def loss(*values):
        for name, value in zip(names, values, strict=True):
            owner, parts = m, name.split(".")
            for part in parts[:-1]:
                owner = owner[int(part)] if part.isdigit() else getattr(owner, part)
            setattr(owner, parts[-1], value)
        return tr.cross_entropy(m(ids, mask, inputs)[0], targets)

    tr.check_grad(loss, *start, order=1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("variational", [False, True])
def test_regularisation_step_by_step(kind, variational, eager):
    rates = dict(dropout=0.3, recurrent_dropout=0.3, weight_drop=0.2, zoneout=0.1, variational=variational)
    m = model(kind, layers=2, **rates).train()
    same = batch(m, ("ab", "bbbb"))[:3]
    logits = m(*same, 1e-12)[0].numpy()
    state = m.generator.state
    assert (m(*same, 1e-12)[0].numpy() != logits).any()
    m.generator.state = state
    again = m(*same, 1e-12)[0].numpy()
    m.generator.state = state
    np.testing.assert_array_equal(m(*same, 1e-12)[0].numpy(), again)
    assert np.isfinite(again).all()


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_to_write_backwards(kind):
    random = np.random.default_rng(0)
    words = sorted({"".join(random.choice([*"abcd"], random.integers(1, 5))) for _ in range(150)})
    m = model(kind, symbols="abcd", hidden=32, embed=12, dtype="float32")
    task = Translation(
        m, (words, [(w[::-1],) for w in words]), (words, [(w,) for w in words]), batch_size=32, seed=0
    )
    m.train()
    optimizer = tr.optim.Adam(m.parameters(), 0.01)
    for step in range(120):
        optimizer.zero_grad()
        task.loss(step).backward()
        optimizer.step(max_norm=1.0)
    assert np.mean([a == b[::-1] for a, b in zip(m.translate(words), words, strict=True)]) > 0.98
    source, target, weights = m.attended("abcd")
    assert source == [*"abcd"] and target == [*"dcba", "end"] and weights.shape == (5, 4)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)


# ------------------------------------------------------------------ scheduled sampling


@pytest.mark.parametrize("kind", KINDS)
def test_sampling_always_feeds_its_own_symbols(kind):
    m = model(kind, scale=3.0).train()
    ids, mask, inputs, _ = batch(m, ("abc", "aaaaaa"), ("b", "ccccc"))
    logits = m(ids, mask, inputs, 1.0)[0].numpy()
    memory, states = m.read(ids, mask)
    fed = inputs[:1]
    for expected in logits:
        now, states, _ = m.step(fed, states, memory)
        np.testing.assert_array_equal(now.numpy()[0], expected)
        fed = now.numpy().argmax(axis=-1)
    assert (m(ids, mask, inputs)[0].numpy() != logits).any()


def test_sampling_rises_to_its_value_over_the_run():
    given = []
    pairs = WORDS, [(w,) for w in WORDS]
    task = Translation(model(), pairs, pairs, batch_size=8, seed=0, sampling=0.5)
    task.planned(40)
    task.model = lambda ids, mask, inputs, p: given.append(p) or (tr.zeros((*inputs.shape, 4)), None)
    task.model.end, task.model.source_embedding, task.model.generator = 3, None, None
    for step in (0, 10, 20, 40, 50):
        task.loss(step)
    assert given == [0, 0.125, 0.25, 0.5, 0.5]


# ------------------------------------------------------------------ search


def log_probs(m, source, said):
    """Of each symbol after the first, the second ... ``[len(said), symbols + 1]``."""
    ids, mask = translate.padded([m.encode(source)])
    return tr.log_softmax(m(ids, mask, np.array([m.end, *said[:-1]])[:, None])[0]).numpy()[:, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_beam_1_is_greedy(kind, eager):
    m = model(kind, scale=2.0, layers=2, cell="lstm")
    sources = [m.encode(w) for w in WORDS]
    for source, (ids, score) in zip(sources, m.search(sources, 1), strict=True):
        memory, states = m.read(source[:, None], np.ones((len(source), 1), bool))
        fed, written, total = np.full((1, 1), m.end), [], 0.0
        while fed[0, 0] != m.end or not written:
            logits, states, _ = m.step(fed, states, memory)
            fed = logits.numpy().argmax(axis=-1)
            total += tr.log_softmax(logits).numpy()[0, 0, fed[0, 0]]
            written.append(int(fed[0, 0]))
            if len(written) == 2 * len(source) + 20:
                break
        assert ids == [i for i in written if i != m.end] and score == pytest.approx(total)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("penalty", [0.0, 0.6, 2.0, -1.0])
def test_a_wide_beam_finds_the_best_of_all_targets(seed, penalty, eager):
    m = model(symbols="ab", scale=3.0, seed=seed, max_length=4)
    m.output.bias.assign_([0, 0, -2.0 * seed])
    sources = ["ab", "b", "aab"]
    for source, (ids, score) in zip(
        sources, m.search([m.encode(s) for s in sources], 40, penalty), strict=True
    ):
        best = (-np.inf,)
        for n in range(5):
            for written in itertools.product((0, 1), repeat=n):
                said = [*written, m.end][:4]
                total = log_probs(m, source, said)[np.arange(len(said)), said].sum()
                best = max(best, (total / ((5 + len(said)) / 6) ** penalty, total, list(written)))
        assert ids == best[2] and score == pytest.approx(best[1])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("beam", [2, 3])
def test_a_narrow_beam_is_that_of_plain_lists(seed, beam, eager):
    m, sources = model(symbols="abc", scale=3.0, seed=seed, max_length=6), ["ab", "c", "aab", "cccc"]
    m.output.bias.assign_([0, 0, 0, -1.0])
    for source, (ids, score) in zip(
        sources, m.search([m.encode(s) for s in sources], beam, 0.6), strict=True
    ):
        live, ended = [(0.0, [])], []
        for t in range(1, 7):
            grown = [
                (s + p, [*w, i]) for s, w in live for i, p in enumerate(log_probs(m, source, [*w, m.end])[-1])
            ]
            kept = sorted(grown, reverse=True)[: beam - len(ended)]
            ended += [(s / ((5 + t) / 6) ** 0.6, s, w) for s, w in kept if w[-1] == m.end or t == 6]
            live = [(s, w) for s, w in kept if w[-1] != m.end]
        _, total, written = max(ended)
        assert ids == [i for i in written if i != m.end] and score == pytest.approx(total)


def test_words_are_joined_and_unknown_ones_are_never_written():
    vocabulary = build_vocabulary(["a fine day", "a day", "fine day, fine"], "word", None)
    assert isinstance(vocabulary, Words) and set(vocabulary.symbols) == {"<unk>", " a", " fine", " day"}
    m = Translator(vocabulary, vocabulary, cell="gru", hidden=4, embed=3, seed=0)
    m.output.bias.assign_([9, 1, 1, 1, 0])  # <unk> would be likeliest
    found = m.translate(["a fine day", "  ", ""], beam=2)
    assert (
        found[1:] == ["", ""]
        and set(found[0].split()) <= {"a", "fine", "day"}
        and found[0] == found[0].strip()
    )
    assert len(encode_text(vocabulary, "", 5)) == 1


# ------------------------------------------------------------------ the commands


@pytest.mark.parametrize("kind", KINDS)
def test_train_evaluate_predict(tmp_path, pairs_file, kind, monkeypatch):
    run = tmp_path / "run"
    options = ["--steps", 40, "--lr", 0.01, "--attention", kind, "--val", pairs_file, "--out", run]
    result = invoke("train", pairs_file, *SMALL, *options)
    assert "39 pairs, 39 for validation; vocabularies 3 and 3 (char)" in result.output
    assert f"next: tinyrnn predict {run}" in result.output
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] == 40 and {"val_loss", "exact", "train_loss"} <= log[-1].keys()
    figures = json.loads(invoke("evaluate", run, "--json", "--beam", 2).stdout)
    assert (
        list(figures) == ["exact", "chrf", "bleu", "loss"]
        and 0 <= figures["exact"] <= 1
        and figures["chrf"] > 5
    )
    assert json.loads(invoke("evaluate", run, pairs_file, "--json", "--beam", 2).stdout) == figures
    with monkeypatch.context() as without:
        without.setattr("importlib.util.find_spec", lambda name: None)
        said = invoke("evaluate", run).stdout
    assert "pip install 'tinyrnn[translate]'" in said and "bleu  " not in said and "exact" in said
    assert "pip" not in invoke("evaluate", run).stdout
    lines = [
        json.loads(line)
        for line in invoke("predict", run, "abc", " ", "zz", "--json", "--beam", 3).stdout.splitlines()
    ]
    assert list(lines[0]) == ["source", "translation", "score"] and lines[0]["score"] < 0
    assert lines[1] == {"source": " ", "translation": "", "score": 0.0, "unread": True} and lines[2]["unread"]
    picture = tmp_path / "seen.png"
    translations = invoke("predict", run, "--plot", picture, input="\nabc\n").stdout.splitlines()
    assert picture.stat().st_size > 1000 and translations == tr.load(run).translate(["", "abc"])
    assert (
        "cannot be written"
        in invoke("predict", run, "abc", "--plot", tmp_path / "no" / "x.png", code=2).output
    )


def test_what_is_held_out_has_not_been_seen(tmp_path, pairs_file):
    with pairs_file.open("a") as file:
        file.write("".join(f"\n{w}\tx" for w in WORDS))
    invoke("train", pairs_file, *SMALL, "--steps", 1, "--out", tmp_path / "run", "--quiet")
    options = json.loads((tmp_path / "run" / "config.json").read_text())["options"]
    (train, _), (held, _), _ = translate._data(translate.TranslateOptions.of(options), [pairs_file])
    assert len(train) == 70 and len(held) == 8 and not set(train) & set(held)
    pairs_file.write_text(pairs_file.read_text().replace("x", "y"))
    assert (
        "have changed since it was trained: name a TEXT"
        in invoke("evaluate", tmp_path / "run", code=2).output
    )
    assert (
        "was trained on another text"
        in invoke("train", "--resume", tmp_path / "run", "--steps", 2, code=2).output
    )


@pytest.mark.parametrize("kind", KINDS)
def test_resuming_is_exact(tmp_path, pairs_file, kind, monkeypatch):
    options = [
        *SMALL,
        "--attention",
        kind,
        "--scheduled-sampling",
        0.8,
        "--variational",
        "--steps",
        24,
        "--quiet",
    ]
    invoke("train", pairs_file, *options, "--out", tmp_path / "whole")
    with monkeypatch.context() as interrupted:
        interrupted.setattr(
            report.Quiet, "stepped", lambda self, trainer, loss: trainer.step == 11 and trainer._stop.set()
        )
        invoke("train", pairs_file, *options, "--out", tmp_path / "parts", code=130)
    invoke("train", "--resume", tmp_path / "parts", "--quiet")
    one, two = (tr.load(tmp_path / name / "last.safetensors").state_dict() for name in ("whole", "parts"))
    assert all((one[k] == two[k]).all() for k in one)


def test_several_references_of_a_source(tmp_path, pairs_file):
    """Each is learned from; an exact match is one with any, chrF and BLEU take all."""
    path, run = tmp_path / "more.csv", tmp_path / "run"
    path.write_text(
        "source,target,other\n" + "".join(f"{w},{w[::-1]},{w if len(w) > 2 else ''}\n" for w in WORDS)
    )
    options = ["--target-column", "target,other", "--steps", 1, "--val", path, "--out", run]
    assert "66 pairs, 66 for validation" in invoke("train", path, *SMALL, *options).output
    found = json.loads(invoke("evaluate", run, "--json").stdout)
    model, sources = tr.load(run), WORDS
    said = model.translate(sources)
    references = [[w[::-1], w] if len(w) > 2 else [w[::-1]] for w in WORDS]
    assert found["exact"] == np.mean([s in all_of for s, all_of in zip(said, references, strict=True)])
    sacrebleu = pytest.importorskip("sacrebleu")
    streams = [[r[0] for r in references], [r[1] if len(r) > 1 else None for r in references]]
    assert found["chrf"] == pytest.approx(sacrebleu.corpus_chrf(said, streams).score)
    assert read(path)[1] == [w[::-1] for w in WORDS]
    assert translate._exact(["b a", "c", "x"], [("a", "b  a"), ("c",), ("y", "z")]) == pytest.approx(2 / 3)


def test_a_run_on_two_files(tmp_path):
    (tmp_path / "a.x").write_text("".join(f"{w}\n" for w in WORDS))
    (tmp_path / "a.y").write_text("".join(f"{w[::-1]}\n" for w in WORDS))
    run, files = tmp_path / "run", ["--source", tmp_path / "a.x", "--target", tmp_path / "a.y"]
    result = invoke("train", *SMALL, *files, "--steps", 2, "--out", run)
    assert "35 pairs, 4 for validation" in result.output and "the first: " in result.output
    stored = json.loads((run / "config.json").read_text())["options"]
    assert stored["source"] == str(tmp_path / "a.x") and stored["target"] == [str(tmp_path / "a.y")]
    own = json.loads(invoke("evaluate", run, "--json").stdout)
    assert json.loads(invoke("evaluate", run, "--json", *files).stdout)["loss"] != own["loss"]
    invoke("train", "--resume", run, "--steps", 3, "--quiet")
    assert "go together" in invoke("evaluate", run, *files[:2], code=2).output
    own_files = dict(source=tmp_path / "a.x", target=tmp_path / "a.y", out=tmp_path / "p", quiet=True)
    small = dict(steps=2, hidden=16, embed=8, batch_size=8, eval_every=20, dropout=0.1)
    python = tr.train(task="translate", **own_files, **small)
    assert python.evaluate()["loss"] == pytest.approx(own["loss"])


def test_what_is_cut_is_counted(tmp_path, pairs_file):
    result = invoke("train", pairs_file, *SMALL, "--steps", 1, "--max-length", 2, "--out", tmp_path / "r")
    counts = [
        re.search(rf"(\d+) of (\d+) {of} sources and \1 of \2 {of} targets", result.output)
        for of in ("training", "validation")
    ]
    assert sum(int(c[1]) for c in counts) == 27 and sum(int(c[2]) for c in counts) == 39
    assert (
        "cut after 2 symbols: 27 of 39 sources and 27 of 39 targets"
        in invoke("evaluate", tmp_path / "r", pairs_file).output
    )
    assert "cut after 2 symbols: 1 of 2 sources" in invoke("predict", tmp_path / "r", "abc", "a").output
    assert "cut" not in invoke("predict", tmp_path / "r", "ab", "a").output


def test_predict_reads_lines_standard_input_and_tables(tmp_path, pairs_file, capsys):
    run = tmp_path / "r"
    invoke("train", pairs_file, *SMALL, "--steps", 1, "--out", run)
    for given in (["-"], []):
        result = invoke("predict", run, *given, "--json", input="ab\n-\nzz\n")
        assert [json.loads(line)["source"] for line in result.stdout.splitlines()] == ["ab", "-", "zz"]
        assert (
            "standard input line 2, standard input line 3 are no texts that the model knows" in result.stderr
        )
    table = [
        json.loads(line)["source"]
        for line in invoke("predict", run, pairs_file, "--json").stdout.splitlines()
    ]
    assert table == WORDS
    other = tmp_path / "o.csv"
    other.write_text("target,source\nx,ab\ny,ba\n")
    lines = invoke("predict", run, other, "--json").stdout.splitlines()
    assert [json.loads(line)["source"] for line in lines] == ["ab", "ba"]
    lines = invoke("predict", run, other, "--json", "--source-column", "target").stdout.splitlines()
    assert [json.loads(line)["source"] for line in lines] == ["x", "y"]
    assert "'zz' is no text that the model knows a symbol of" in invoke("predict", run, "zz", "ab").stderr


def test_pairs_from_memory_hold_anything(tmp_path):
    pairs = [(f"{w}\t{w}", f"{w}\n\r{w}") for w in WORDS]
    run = tr.train(pairs, "translate", hidden=8, embed=4, steps=1, quiet=True, out=tmp_path / "r")
    kept = read_pairs(run.options["texts"])
    assert list(zip(kept[0], [all_of[0] for all_of in kept[1]], strict=True)) == pairs


def test_each_side_has_a_level_of_its_own(tmp_path, eager):
    """Letters to phonemes: what is written are tokens, whatever their names are."""
    path = tmp_path / "said.tsv"
    path.write_text("".join(f"{w}\t{' '.join(c.upper() + '1' for c in w)}\n" for w in WORDS))
    out = tmp_path / "run"
    told = invoke("train", path, *SMALL, "--target-level", "token", "--steps", 2, "--out", out).output
    assert "vocabularies 3 and 5 (char and token)" in told
    model = tr.load(out)
    assert set(model.source.symbols) == set("abc")
    assert set(model.target.symbols) == {"<unk>", "<eos>", "A1", "B1", "C1"}
    assert model.target.decode(model.target.encode("A1 B1")) == "A1 B1"
    again = tr.train(path, "translate", from_run=out, steps=1, out=tmp_path / "more", quiet=True)
    assert again.model.target.symbols == model.target.symbols
    refused = invoke("train", path, "--from", out, "--target-level", "char", "--steps", 1, code=2).output
    assert "--target-level is char" in refused
    units = [
        Translation.loss_unit(o) for o in ({"level": "char", "target_level": "token"}, {"level": "token"})
    ]
    assert units[0] == units[1] != Translation.loss_unit({"level": "char"})


@pytest.mark.parametrize(("text", "columns"), [
    ("id,en,fr\n1,a,b\n2,c,d\n", {}), (",en,fr\n0,a,b\n1,c,d\n", {}), ("en,fr,de\na,b,c\nc,d,c\n", None),
    ("en,fr,de\na,x,b\nc,x,d\n", dict(source_column="en", target_column="de")),
    ("note,source,target\nx,a,b\nx,c,d\n", {}), ("1,a,7,b\n2,c,8,d\n", None),
    ("1,a,7,b\n2,c,8,d\n", dict(source_column="2", target_column="4", how=TableOptions(header=False))),
    ("a,b,x\nc,d,x\n", {}), ("key,x,y\n1,a,b\n2,c,d\n", None),
    ("de,en,x\nb,a,x\nd,c,x\n", dict(source_column="en")),
])  # fmt: skip
def test_which_columns_are_sides(tmp_path, text, columns):
    path = tmp_path / "a.csv"
    path.write_text(text)
    if columns is not None:
        assert read_pairs([path], **columns) == (["a", "c"], [("b",), ("d",)])
        return
    with pytest.raises(tr.InputError, match="choose --source-column and --target-column from its columns"):
        read_pairs([path])
