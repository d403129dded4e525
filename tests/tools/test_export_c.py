"""Models as C: compiled without a warning, run, and compared with `Graph.run` and the models themselves."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import published
import pytest
from conftest import command_with_run

import tinyrnn as tr
from tinyrnn.autograd.tape import TABLE, apply
from tinyrnn.compiler.targets.c import library
from tinyrnn.kernels.references import bfloat16, quantised
from tinyrnn.nn.registry import registered
from tinyrnn.tasks.classify.model import Classifier
from tinyrnn.tasks.classify.signals import SignalClassifier
from tinyrnn.tasks.forecast.series import read_series
from tinyrnn.tasks.lm.task import LanguageModel
from tinyrnn.tasks.signals.features import Features
from tinyrnn.tasks.text.vocabulary import BytePairs, Bytes, Characters, Tokens, Words
from tinyrnn.tasks.translate.model import Translator
from tinyrnn.tools.export import How, exported, step_graph

CC = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
pytestmark = pytest.mark.skipif(CC is None, reason="there is no C compiler")
STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"]
STEPS = 1000
SANITIZERS = ["-O1", "-g", "-fsanitize=undefined,address", "-fno-sanitize-recover=all"]
SAFE = (
    CC is not None
    and subprocess.run(
        [CC, *SANITIZERS, "-x", "c", "-", "-o", "/dev/null"],
        input=b"int main(void) { return 0; }",
        capture_output=True,
    ).returncode
    == 0
)  # some compilers come without the sanitizers' libraries
CHECKED = SANITIZERS if SAFE else ["-O1"]


class Odd(tr.Cell):
    """States of several widths and axes, sums over rows, a row of a table that another state chooses."""

    states = ("h", "A", "n")

    def build(self, input_size, hidden_size):
        self.state_sizes = {"h": hidden_size, "A": (hidden_size, 3), "n": 1}
        self.W, self.U, self.b = self.affine(input_size, hidden_size)
        self.table = self.weight(4, hidden_size)
        self.V = self.weight(hidden_size, 3)

    def step(self, x, h, A, n):
        z = x @ self.W + h @ self.U + self.b + tr.sum(x, axis=-1, keepdims=True)
        row = tr.where(tr.floor(n * 4) < 2, self.table[1], self.table[2])
        key = tr.softmax(z @ self.V, axis=-1)
        A = 0.9 * A + tr.expand_dims(tr.tanh(z), axis=2) * tr.expand_dims(key, axis=1)
        read = tr.sum(A * tr.expand_dims(key, axis=1), axis=2)
        n = tr.sigmoid(tr.sum(z * z, axis=-1, keepdims=True) - n)
        return tr.tanh(read + row) / (1 + tr.max(abs(z), axis=-1, keepdims=True)), A, n


def language_model(cell="lstm", options=None, *, vocabulary=None, **more):
    shape = {"hidden": 24, "embed": 5, "layers": 2, "dtype": "float32", "seed": 1, **more}
    vocabulary = vocabulary or Characters.build(["abcde é?\n"], None)
    return LanguageModel(vocabulary, cell=cell, cell_options=options or {}, **shape).eval()


MODELS = {name.replace("-", "_"): (lambda name=name: language_model(name), {}) for name in registered()}
MODELS |= {
    "odd": (lambda: language_model(Odd), {}),
    "peephole": (lambda: language_model("lstm", {"peephole": True}), {}),
    "reset_after": (lambda: language_model("gru", {"reset_after": True}, zoneout=0.2), {}),
    "tied": (lambda: language_model("gru", tie=True, embed=24, layers=1), {}),
    "double_lstm": (lambda: language_model("lstm", dtype="float64"), {}),
    "bytes8": (lambda: language_model("lstm", hidden=20), {"weights": "int8"}),
    "tied8": (lambda: language_model("gru", tie=True, hidden=40, embed=40, layers=1), {"weights": "int8"}),
    "half": (lambda: language_model("ln-lstm", hidden=20), {"weights": "bfloat16"}),
}


def sources(model, folder, name, **how):
    for path, data in exported(model, "c", folder / f"{name}.c", How(**how)).items():
        path.write_bytes(data)


def compiled(folder, name, *options, compiler=CC):
    program = folder / f"{name}.out"
    command = [compiler, *options, str(folder / f"{name}.c"), "-o", str(program), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:3000]
    return program


def dequantised(graph, weights):
    """The graph with its matrices as they are in fewer bits."""
    for name, turned in graph.matrices.items():
        array = graph.constants[name]
        if weights == "bfloat16":
            graph.constants[name] = bfloat16(array)
        elif weights == "int8":
            looked = turned or any(getattr(n, "table", "") == name for n in graph.nodes)
            whole, scale = quantised(array, 1 if looked else 0, 127)
            graph.constants[name] = whole * scale
    return graph


IDS = np.random.default_rng(0).integers(0, 9, (STEPS, 1))


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    """All language models in one program: what it is given on its command line is how many steps to do."""
    folder = tmp_path_factory.mktemp("steps")
    models = {name: make() for name, (make, _) in MODELS.items()}
    for name, model in models.items():
        sources(model, folder, name, **MODELS[name][1])
    lines = ["#include <stdio.h>", "#include <stdlib.h>", *[f'#include "{name}.c"' for name in MODELS]]
    lines.append(f"static const int ids[] = {{{', '.join(map(str, IDS[:, 0]))}}};")
    for name in MODELS:
        lines += [
            f"static void do_{name}(int n) {{ static {name}_state m; {name}_init(&m, 1);",
            f"    for (int t = 0; t < n; t++) {{ const {name}_real *z = {name}_step(&m, ids[t]);",
            f"        for (int i = 0; i < {name.upper()}_SYMBOLS; i++)",
            "            { const double x = z[i]; fwrite(&x, sizeof x, 1, stdout); } } }",
        ]
    calls = "".join(f" do_{name}(n);" for name in MODELS)
    lines.append(f"int main(int c, char **v) {{ const int n = c > 1 ? atoi(v[1]) : 1;{calls} return 0; }}\n")
    (folder / "all.c").write_text("\n".join(lines))
    return folder, models


def in_float64(graph):
    graph.dtype, graph.constants = (
        np.dtype("float64"),
        {k: c.astype(float) for k, c in graph.constants.items()},
    )
    graph.states = {k: (start.astype(float), new) for k, (start, new) in graph.states.items()}
    return graph


def test_every_cell_over_many_steps(steps):
    """Logits are those of the graph but for 1e-5 of the largest. An untrained ln-lstm makes more of any
    rounding in so many steps: it is no further from float64 than the graph in float32 is.
    """
    folder, models = steps
    program = compiled(folder, "all", "-O1", "-g", *STRICT)
    found = np.frombuffer(subprocess.run([program, str(STEPS)], capture_output=True).stdout)
    found, unsteady = found.reshape(len(models), STEPS, 9), []
    for (name, model), logits in zip(models.items(), found, strict=True):
        weights = MODELS[name][1].get("weights")
        graph = dequantised(model.graphs(over_time=True)["step"], weights)
        n = STEPS if name.replace("_", "-") in [*registered(), "odd"] else 100
        right = graph.run(ids=IDS[:n])["logits"][:, 0]
        scale = abs(right).max()
        gap = abs(logits[:n] - right).max() / scale
        if not gap <= (1e-12 if name == "double_lstm" else 1e-5):  # nor NaN
            best = in_float64(graph).run(ids=IDS[:n])["logits"][:, 0]
            assert abs(logits[:n] - best).max() <= abs(right - best).max(), (name, gap)
            unsteady.append(name)
    assert unsteady in ([], ["ln_lstm"])


@pytest.mark.parametrize("compiler", ["g++", "clang", "clang++"])
def test_no_other_compiler_warns(steps, compiler):
    folder, _ = steps
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler}")
    language = ["-x", "c++", *STRICT[2:]] if compiler.endswith("++") else STRICT
    command = [compiler, *language, "-fsyntax-only", folder / "all.c"]
    assert subprocess.run(command, capture_output=True, text=True).stderr == ""


# ------------------------------------------------------------------ functions

EXTREMES = np.array([-200.0, -87.0, 88.5, 100.0, np.inf, -np.inf, np.nan, 0.0, 709.7, 710.5])
DRIVER = """
int main(void)
{
    tr_real x, y[3];
    while (fread(&x, sizeof x, 1, stdin) == 1) {
        y[0] = tr_exp(x), y[1] = tr_tanh(x), y[2] = tr_sigmoid(x);
        fwrite(y, sizeof x, 3, stdout);
    }
    return 0;
}
"""


@pytest.mark.parametrize(
    ("real", "dtype", "most"), [("float", np.float32, 2e-7), ("double", np.float64, 5e-16)]
)
def test_errors_of_functions(tmp_path, real, dtype, most):
    blocks = library(real)
    wanted = [blocks[name] for name in ("pick", "series", "split", "exp", "tanh", "sigmoid")]
    head = ["math.h", "stdint.h", "string.h", "stdio.h"]
    lines = [*[f"#include <{h}>" for h in head], f"typedef {real} tr_real;", "#define F(x) ((tr_real)(x))"]
    (tmp_path / "f.c").write_text("\n".join([*lines, *wanted, DRIVER]))
    random = np.random.default_rng(0)
    x = [
        random.uniform(-20, 20, 50_000),
        random.standard_normal(50_000) * 10.0 ** random.uniform(-6, 0, 50_000),
    ]
    x = np.concatenate([*x, EXTREMES]).astype(dtype)
    given = ran(compiled(tmp_path, "f", "-O1", *STRICT), given=x.tobytes())
    wide = x.astype(np.longdouble)
    with np.errstate(over="ignore", under="ignore"):
        right = np.stack([np.exp(wide), np.tanh(wide), 1 / (1 + np.exp(-wide))], axis=1)
        np.testing.assert_allclose(
            np.frombuffer(given, dtype).reshape(-1, 3), right.astype(dtype), rtol=most, atol=2e-38
        )


# ------------------------------------------------------------------ steps of scripts


class EveryOp(tr.Cell):
    """Every pointwise op with a rule."""

    DOMAINS = dict.fromkeys("log log2 log10 sqrt power log1p divide reciprocal remainder".split(), (0.2, 3.0))
    DOMAINS |= dict.fromkeys("acos asin atanh".split(), (-0.9, 0.9)) | {"acosh": (1.1, 3.0)}

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size)

    def step(self, x, h):
        z, total = x @ self.W + h @ self.U + self.b, 0.5 * h
        for op in [op for op in TABLE.values() if op.rule]:
            low, high = self.DOMAINS.get(op.name, (-1.5, 1.5))
            a, b = (low + (high - low) * tr.sigmoid(s * z + h) for s in (1, -2))
            total = total + tr.astype(apply(op, *[a, b, a + 0.5][: len(op.inputs)]), h.dtype) / 50
        return tr.tanh(total)


def test_published_cells_and_every_op(tmp_path):
    """Each cell of papers that tests have, which among them use every kind of value, in float64."""
    cells = {
        name.lower(): c
        for name, c in vars(published).items()
        if isinstance(c, type) and issubclass(c, tr.Cell)
    }
    cells = {n: c for n, c in cells.items() if c is not tr.Cell} | {
        "everyop": EveryOp,
        "odd": Odd,
        "lnlstm": "ln-lstm",
    }
    xs, rights = np.random.default_rng(1).standard_normal((20, 6)), {}
    lines = ["#include <stdio.h>"]
    for name, cell in cells.items():
        graph = step_graph(tr.RNN(cell, 6, 12, dtype="float64", seed=0))
        sources(graph, tmp_path, name)
        lines.append(f'#include "{name}.c"')
        states, rights[name] = {}, []
        for x in xs:
            out = graph.run(x=x[None], **states)
            rights[name].append(out["y"][0])
            states = {s: out[new] for s, (_, new) in graph.states.items()}
    lines += [
        f"static const double xs[] = {{{', '.join(map(repr, xs.ravel().tolist()))}}};",
        "int main(void) {",
    ]
    for name in cells:
        lines += [
            f"    static {name}_state s_{name}; {name}_reset(&s_{name});",
            f"    for (int t = 0; t < 20; t++) fwrite({name}_step(&s_{name}, xs + t * 6), sizeof(double), "
            f"{name.upper()}_OUTPUTS, stdout);",
        ]
    (tmp_path / "all.c").write_text("\n".join([*lines, "    return 0;", "}"]))
    program = compiled(tmp_path, "all", "-O0", *STRICT)
    found = np.frombuffer(subprocess.run([program], capture_output=True).stdout)
    for name, right in rights.items():
        own, found = found[: np.size(right)], found[np.size(right) :]
        np.testing.assert_allclose(own, np.ravel(right), rtol=1e-8, atol=1e-10, err_msg=name)
    assert len(cells) > 40 and not found.size


# ------------------------------------------------------------------ texts, and what is drawn


def ran(program, *arguments, given=None):
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, input=given, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


VOCABULARIES = {
    "chars": Characters.build(["To be, or not to be: é?\n"], None),
    "few": Characters.build(["to be or not to be é"], 6),
    "raw": Bytes(),
    "words": Words.build(['To be, or not to be: that\'s l’été, "42" ??= is\tit?\n'], None),
    "cased": Words.build(["To be or not to be\n"], None).in_any_case(True),
    "tokens": Tokens.build(["to be or not to be\nthat é"], None),
}
PROMPTS = ["To be, or  not\nTO Be", 'that\'s l’été  é\t"42"?? x', "é", " to\u2003be \n"]


@pytest.fixture(scope="module")
def writers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("writers")
    found = {}
    for name, vocabulary in VOCABULARIES.items():
        model = language_model("gru", vocabulary=vocabulary, layers=1, hidden=8)
        sources(model, folder, name, main=True)
        found[name] = model, compiled(folder, name, *(CHECKED if name == "words" else ["-O0"]), *STRICT)
    return found


@pytest.mark.parametrize("name", VOCABULARIES)
def test_a_text_goes_on_as_tinyrnn_writes_it(writers, name):
    """The same symbols are read, drawn from the same random numbers, and written, at any temperature."""
    model, program = writers[name]
    for prompt in PROMPTS:
        if not len(model.vocabulary.encode(prompt)):
            continue
        for how in (
            {"temperature": 0},
            {},
            {"top_k": 3},
            {"top_p": 0.4},
            {"top_k": 4, "top_p": 0.8, "temperature": 1.5},
        ):
            flags = [x for k, v in how.items() for x in ("--" + k.replace("_", "-"), v)]
            said = ran(program, "--length", 20, "--seed", 7, *flags, prompt).decode(errors="replace")
            assert said.rstrip("\ufffd\n") == model.generate(prompt, length=20, seed=7, **how).rstrip(
                "\ufffd\n"
            )
    said = ran(program, "--length", 9, "--seed", 3).decode(errors="replace")
    assert said.rstrip("\ufffd\n") == model.generate(length=9, seed=3).rstrip("\ufffd\n")


def test_valgrind_finds_nothing(writers):
    if shutil.which("valgrind") is None:
        pytest.skip("there is no valgrind")
    command = [
        "valgrind",
        "-q",
        "--error-exitcode=9",
        writers["chars"][1],
        "--length",
        "3",
        "--top-p",
        "0.5",
        "be",
    ]
    assert subprocess.run(command, capture_output=True).returncode == 0


def test_what_the_program_does_not_know_it_says(writers):
    _, program = writers["chars"]
    for arguments in (["--lenght", "3"], ["--seed"], ["xxx"]):
        done = subprocess.run([program, *arguments], capture_output=True, text=True)
        assert done.returncode == 2 and ("usage" in done.stderr or "no symbol of the prompt" in done.stderr)


# ------------------------------------------------------------------ the other tasks


SHAPE = dict(cell="lstm", hidden=10, layers=2, dtype="float32", seed=1)
TEXTS = ["To be, or  not", "", " that's l’été\n 42 é ?", "xyz", "to be " * 20]
ROWS = np.random.default_rng(3).standard_normal((30, 2)).astype(np.float32)


def classifiers():
    words, chars = VOCABULARIES["words"], VOCABULARIES["chars"]
    labels = ['yes "?"', "no\\", "véry long"]
    for pooling, two in (("mean", False), ("last", True), ("max", True), ("attention", True)):
        yield Classifier(words, labels, pooling=pooling, bidirectional=two, embed=6, max_length=50, **SHAPE)
    yield Classifier(chars, labels, [0.3, 0.5, 0.2], pooling="attention", embed=6, max_length=9, **SHAPE)
    yield Classifier(VOCABULARIES["tokens"], labels, embed=6, **SHAPE)


@pytest.mark.parametrize("weights", [None, "int8"])
def test_classifiers(tmp_path, weights):
    for i, model in list(enumerate(classifiers()))[:: 3 if weights else 1]:
        sources(model.eval(), tmp_path, f"c{i}", main=True, weights=weights)
        program = compiled(tmp_path, f"c{i}", *(CHECKED if i == 3 else ["-O0"]), *STRICT)
        graph = dequantised(model.graphs()["classify"], weights)
        right = np.array([graph.run(ids=model.encode(t)[:, None])["probabilities"][0] for t in TEXTS])
        if weights is None:
            np.testing.assert_allclose(right, model.predict(TEXTS), rtol=1e-5)
        for line, row in zip(ran(program, *TEXTS).decode().splitlines(), right, strict=True):
            rest, said = line.split(" :")
            found = [float(x.rpartition(" ")[2]) for x in rest.split("  ")]
            np.testing.assert_allclose(found, row, rtol=1e-5, atol=1e-6)
            assert said.strip() == " ".join(model.said(row[None])[0])


@pytest.mark.parametrize("two", [False, True])
def test_rows_of_numbers(tmp_path, two):
    features = Features(("x", "y"), 0, 40, 1, False, (0.1, 0.2), (2.0, 3.0))
    model = SignalClassifier(features, ["a", "b"], pooling="max", bidirectional=two, **SHAPE).eval()
    sources(model, tmp_path, "s", main=True, max_length=30)
    program = compiled(tmp_path, "s", "-O0", *STRICT)
    given = "\n".join(f"{a!r} {b!r}" for a, b in ROWS.tolist()).encode()
    found = [float(line.split()[1]) for line in ran(program, given=given).decode().splitlines()]
    np.testing.assert_allclose(found, model.predict([ROWS])[0], rtol=1e-5)
    assert ("S_MAX_LENGTH 30" in (tmp_path / "s.h").read_text()) == two
    done = subprocess.run([program], input=b"1 2 3", capture_output=True)
    assert done.returncode == 2 and b"the last row has 1 numbers: give 2" in done.stderr


@pytest.mark.parametrize("attention", ["luong", "bahdanau"])
def test_translators(tmp_path, attention):
    words, chars = VOCABULARIES["words"], VOCABULARIES["few"]
    # what these write is as long as may be, and also ends by itself
    shape = SHAPE | {"seed": {"luong": 4, "bahdanau": 2}[attention]}
    model = Translator(words, chars, attention=attention, max_length=40, embed=6, **shape).eval()
    sources(model, tmp_path, "t", main=True)
    text = (tmp_path / "t.c").read_text()
    more = 'for (id = 0; id < m.length; id++) printf("%.7f ", (double)m.weights[id]);'
    (tmp_path / "t.c").write_text(
        text.replace("        while (end > 0", f"        {more}\n        while (end > 0", 1)
    )
    program = compiled(tmp_path, "t", *(CHECKED if attention == "luong" else ["-O0"]), *STRICT)
    texts = [t for t in TEXTS if t]
    for line, source in zip(ran(program, *texts).decode().split("\n"), texts, strict=False):
        symbols, written, weights = model.attended(source)
        own = line.split(" ")[: len(symbols)]
        steps = min(len(written), 2 * len(symbols) + 20, 40)  # with the end symbol, where it was written
        np.testing.assert_allclose(np.array(own, float), weights[steps - 1], rtol=1e-5, atol=1e-6)
        assert " ".join(line.split(" ")[len(symbols) :]) == model.translate([source])[0]


@pytest.mark.parametrize("how", [
    {"dtype": "float64", "ensemble": 2}, {"difference": "1,6", "log": True, "head": "quantile"},
], ids=str)  # fmt: skip
def test_forecasters(tmp_path, how):
    t, rng = np.arange(90), np.random.default_rng(0)
    values = 50 + t / 3 + 8 * np.sin(2 * np.pi * t / 6) + rng.normal(0, 1, 90)
    shape = dict(horizon=5, window=18, season=6, hidden=4, layers=1, steps=2, threads=1, quiet=True)
    model = tr.train(values, "forecast", out=tmp_path / "run", **shape, **how).model
    for p in model.parameters():  # untrained networks say nothing
        p.assign_(p.numpy() + rng.normal(0, 0.3, p.shape))
    model.trust, model.even = 1.0, False
    sources(model, tmp_path, "f", main=True)
    program = compiled(tmp_path, "f", *(CHECKED if "ensemble" in how else ["-O0"]), *STRICT)
    np.savetxt(tmp_path / "f.csv", values, header="value", comments="")
    wanted = model.forecast(read_series(tmp_path / "f.csv"))[:, 0].T
    given = "\n".join(map(repr, values.tolist())).encode()
    found = [
        line.replace(" to ", "\t").split("\t") for line in ran(program, given=given).decode().splitlines()
    ]
    np.testing.assert_allclose(np.array(found, float), wanted, rtol=1e-4 if "log" in how else 1e-6)
    done = subprocess.run([program], input=b"1 2 3", capture_output=True)
    assert done.returncode == 2 and b"at least" in done.stderr


# ------------------------------------------------------------------ tables of products, and names


def test_rows_that_are_only_multiplied_are_a_table_where_that_is_small(tmp_path):
    model = language_model("lstm")
    graph = model.graphs(over_time=True)["step"]
    made = graph.tabled(1000)
    assert [n.out.width for n in made.nodes if hasattr(n, "table")] == [96]  # 9 symbols, four gates
    np.testing.assert_allclose(
        made.run(ids=IDS[:9])["logits"], graph.run(ids=IDS[:9])["logits"], rtol=1e-5, atol=1e-6
    )
    assert [n.out.width for n in graph.tabled(0).nodes if hasattr(n, "table")] == [5]
    sources(model, tmp_path, "m")
    assert "embedding_weight" not in (tmp_path / "m.c").read_text()


def test_sizes_are_those_of_the_compiler(tmp_path, capsys):
    sources(
        Translator(VOCABULARIES["words"], Bytes(), embed=6, max_length=30, **SHAPE).eval(),
        tmp_path,
        "my model-2",
    )
    told = capsys.readouterr().err
    text = '#include "my model-2.c"\n#include <stdio.h>\n'
    text += 'int main(void) { printf("%d", (int)sizeof(my_model_2_state)); return 0; }\n'
    (tmp_path / "all.c").write_text(text)
    assert f"the struct {int(ran(compiled(tmp_path, 'all', '-O0', *STRICT))):,};" in told


def test_the_command(tmp_path):
    run = command_with_run(tmp_path)
    result = run("export", tmp_path / "run", "--format", "c", "--main", "--weights", "int8")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [str(tmp_path / "run" / name) for name in ("model.h", "model.c")]
    assert "weights" in result.stderr and "the struct" in result.stderr
    program = compiled(tmp_path / "run", "model", "-O0", *STRICT)
    assert ran(program, "--length", 5, "--temperature", 0, "to").startswith(b"to")
    (tmp_path / "mine.h").write_text("int x;")
    for wrong, said in [
        (["--out", tmp_path / "mine.c"], "exists and is no model.h that tinyrnn made"),
        (["--out", tmp_path / "x.h"], "is the name of the header"),
        (["--max-length", 0], "--max-length"),
        (["--max-length", 9], "--max-length is for models that read sequences of numbers: leave it out"),
        (["--format", "onnx", "--main"], "--format onnx has no --main: leave it out"),
        (["--format", "torch", "--weights", "bfloat16"], "--format torch has no --weights bfloat16: leave"),
    ]:
        result = run("export", tmp_path / "run", "--format", "c", *wrong)
        assert result.exit_code == 2 and said in result.output


def test_the_example_of_an_effect(tmp_path):
    """What it learns in a few steps is far off; the program runs, and does what the network does."""
    script = Path(tr.__file__).parents[1] / "examples" / "effect.py"
    done = subprocess.run([sys.executable, script, tmp_path, "20"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (
        "error to signal of the program" in done.stdout and "times as fast as the sound lasts" in done.stdout
    )
    assert (tmp_path / "out.wav").stat().st_size == (tmp_path / "dry.wav").stat().st_size


def test_byte_pairs_are_written_but_not_read(tmp_path):
    pytest.importorskip("tokenizers")
    vocabulary = BytePairs.build(["to be or not to be, that is the question é"] * 3, 270)
    model = language_model("gru", vocabulary=vocabulary, layers=1, hidden=8)
    with pytest.raises(
        tr.InputError, match="--main reads text, of which C makes no byte pairs: leave it out"
    ):
        sources(model, tmp_path, "m", main=True)
    sources(model, tmp_path, "m")
    ids = vocabulary.encode("not to be é").tolist()
    lines = [
        '#include "m.c"',
        "#include <stdio.h>",
        f"static const int ids[] = {{{', '.join(map(str, ids))}}};",
    ]
    lines += ["int main(void) {", "    char text[M_LONGEST];", f"    for (int i = 0; i < {len(ids)}; i++)"]
    lines += [
        "        fwrite(text, 1, (size_t)m_decode(-1, ids[i], text), stdout);",
        "    return 0;",
        "}",
        "",
    ]
    (tmp_path / "all.c").write_text("\n".join(lines))
    assert ran(compiled(tmp_path, "all", "-O0", *STRICT)).decode() == "not to be é"
    assert "encode" not in (tmp_path / "m.h").read_text()


@pytest.mark.parametrize(("how", "said"), [
    ({"weights": "int8"}, "int8 weights are for models of float32"),
    ({"max_length": 5}, "--max-length is for models that read sequences of numbers"),
])  # fmt: skip
def test_what_cannot_be(tmp_path, how, said):
    with pytest.raises(tr.InputError, match=said):
        sources(language_model(dtype="float64"), tmp_path, "m", **how)


def test_graphs_that_are_no_step_of_rows(tmp_path):
    graph = language_model().graphs()["step"]
    with pytest.raises(tr.InputError, match="one input, rows of one step, and one output"):
        sources(graph, tmp_path, "m")


def test_the_program_of_the_page(tmp_path):
    """docs/deploy.md: it reads and draws as tinyrnn does."""
    page = (Path(tr.__file__).parents[1] / "docs" / "deploy.md").read_text(encoding="utf-8")
    program = page.partition("```c\n")[2].partition("```")[0].replace("The ", "to be")
    model = language_model()
    sources(model, tmp_path, "model")
    (tmp_path / "all.c").write_text(program.replace("model.h", "model.c"))
    said = ran(compiled(tmp_path, "all", "-O0", *STRICT)).decode()
    assert "to be" + said == model.generate("to be", length=100, temperature=0.8, seed=1)


def test_gates_become_vectors(tmp_path):
    """GCC 12 and later say so, of SSE2 alone: nothing in exp and tanh is a branch."""
    said = [
        subprocess.run([CC, f"-dump{what}"], capture_output=True, text=True)
        for what in ("version", "machine")
    ]
    version, machine = (done.stdout.strip() for done in said)
    if "gcc" not in CC or int(version.partition(".")[0] or 0) < 12 or not machine.startswith("x86_64"):
        pytest.skip("for GCC 12 and later on x86-64")
    sources(language_model("lstm"), tmp_path, "m")
    command = [CC, "-O3", "-fopt-info-vec-optimized", "-c", tmp_path / "m.c", "-o", tmp_path / "m.o"]
    said = subprocess.run(command, capture_output=True, text=True).stderr
    lines = (tmp_path / "m.c").read_text().splitlines()
    gates = [i for i, line in enumerate(lines, 1) if line.strip() == "for (int j = 0; j < 24; j++) {"]
    assert len(gates) == 2 and all(f"m.c:{i}:" in said for i in gates)
