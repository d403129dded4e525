"""The command line: every command, every bad input, help, start-up time."""

import json
import subprocess
import sys
import time

import click
import pytest
from click.testing import CliRunner

import tinyrnn
from tinyrnn.cli import COMMANDS, main
from tinyrnn.nn import registry as plugins
from tinyrnn.tasks.model import WEIGHTS
from tinyrnn.training.trainer import runs

TINY = "--hidden 8 --embed 4 --batch-size 4 --seq-len 20 --steps 3 --quiet".split()


def invoke(*args, input=None):
    return CliRunner().invoke(main, list(map(str, args)), input=input)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A trained run, for commands that only read."""
    from conftest import TEXT

    folder = tmp_path_factory.mktemp("trained")
    text = folder / "text.txt"
    text.write_text(TEXT, encoding="utf-8")
    out = folder / "run"
    result = invoke(
        "train",
        text,
        "--hidden",
        16,
        "--embed",
        8,
        "--seq-len",
        20,
        "--steps",
        10,
        "--eval-every",
        5,
        "--out",
        out,
    )
    assert result.exit_code == 0, result.output
    return out


# ------------------------------------------------------------------ train


def test_train_prints_what_it_does_and_what_comes_next(tmp_path, text_file):
    result = invoke("train", text_file, *TINY[:-1], "--out", tmp_path / "run")
    lines = result.stdout.splitlines()
    chosen = lines.pop(1)
    assert lines[0].startswith("model       ln-gru, 2 x 8, ")
    assert "parameters, float32 on cpu" in lines[0]
    assert lines[1].startswith(
        f"data        2,600 tokens, vocabulary {len(set(text_file.read_text()))} (char)"
    )
    assert chosen.startswith("chosen      --cell ln-gru --dropout 0.05 --lr 0.01 --beta2 0.99"), lines
    assert "first step" in result.stdout
    assert "validation" in result.stdout
    assert lines[-2:] == [str(tmp_path / "run"), f"next: tinyrnn generate {tmp_path / 'run'}"]


def test_run_folder_is_complete(tmp_path, text_file):
    assert invoke("train", text_file, *TINY, "--out", tmp_path / "run").exit_code == 0
    names = {p.name for p in (tmp_path / "run").iterdir()}
    assert {
        "config.json",
        "best.safetensors",
        "last.safetensors",
        "trainer.safetensors",
        "log.jsonl",
        "curve.png",
    } <= names


def test_default_names_are_numbered_and_never_overwritten(tmp_path, text_file, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("runs/text-gru", "runs/text-gru-2"):
        assert invoke("train", text_file, *TINY, "--cell", "gru").stdout.strip() == name


def test_train_on_folders_standard_input_and_nothing(tmp_path, text_file, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert invoke("train", tmp_path, *TINY).exit_code == 0
    assert invoke("train", "-", *TINY, "--out", "piped", input=text_file.read_text()).exit_code == 0
    assert (
        invoke(
            "train", "--resume", "piped", "-", "--steps", 5, "--quiet", input=text_file.read_text()
        ).exit_code
        == 0
    )
    assert invoke("train", *TINY, "--batch-size", 1).stdout.strip() == "runs/python-docs-ln-gru"


def test_json_prints_the_log_and_nothing_else(tmp_path, text_file):
    result = invoke("train", text_file, *TINY[:-1], "--json", "--eval-every", 2, "--out", tmp_path / "run")
    assert [json.loads(line) for line in result.stdout.splitlines()] == runs.RunFolder(
        tmp_path / "run"
    ).read_log()


def test_validation_file(tmp_path, text_file):
    other = tmp_path / "val.txt"
    other.write_text("the lazy dog jumps. " * 10)
    assert invoke("train", text_file, *TINY, "--val", other, "--out", tmp_path / "run").exit_code == 0
    figures = json.loads(invoke("evaluate", tmp_path / "run", "--json").stdout)
    assert figures["tokens"] == 199


def test_options_from_a_file(tmp_path, text_file):
    config = tmp_path / "c.toml"
    config.write_text(
        '[train]\nhidden = 9\nbatch-size = 2\ncell = "lstm"\ncell-opt = { forget_bias = 0.5 }\n'
    )
    options = ["--config", config, "--embed", 4, "--seq-len", 20, "--steps", 1, "--quiet"]
    assert invoke("train", text_file, *options, "--out", tmp_path / "run").exit_code == 0
    stored = runs.RunFolder(tmp_path / "run").config["options"]
    assert (stored["hidden"], stored["batch_size"], stored["cell_opt"]) == (9, 2, ["forget_bias=0.5"])
    assert invoke("train", text_file, *options, "--hidden", 5, "--out", tmp_path / "other").exit_code == 0
    assert runs.RunFolder(tmp_path / "other").config["options"]["hidden"] == 5
    config.write_text("hiden = 9\n")
    result = invoke("train", text_file, "--config", config)
    assert result.exit_code == 2
    assert "hiden" in result.output


def test_resume_by_out_or_by_name(tmp_path, text_file):
    assert invoke("train", text_file, *TINY, "--out", tmp_path / "run").exit_code == 0
    for more in (["--resume", tmp_path / "run"], [text_file, "--out", tmp_path / "run", "--resume"]):
        result = invoke("train", *more, "--steps", 5)
        assert result.exit_code == 0, result.output
    assert runs.load_tensors(tmp_path / "run" / runs.TRAINER)[1]["position"]["step"] == 5


# ------------------------------------------------------------------ the other commands


def test_generate(run, tmp_path):
    result = invoke("generate", run, "--prompt", "the ", "--length", 30, "--seed", 1)
    assert result.stdout.startswith("the ")
    assert len(result.stdout) == 4 + 30 + 1
    assert invoke("generate", run, "--prompt", "the ", "--length", 30, "--seed", 1).stdout == result.stdout
    several = invoke(
        "generate", run, "--num", 3, "--length", 10, "--temperature", 0, "--top-k", 3, "--top-p", 0.9
    ).stdout
    assert [f"--- {i} ---" in several for i in (1, 2, 3, 4)] == [True, True, True, False]
    assert invoke("generate", run, "--length", 5, "--out", tmp_path / "t.txt").stdout == ""
    assert len((tmp_path / "t.txt").read_text()) == 6


def test_generate_several_samples_and_weights(run, tmp_path):
    def text(*options):
        result = invoke("generate", run, "--prompt", "the ", "--length", 40, *options)
        assert result.exit_code == 0, result.output
        return result.stdout

    alone = "".join(f"--- {i + 1} ---\n" + text("--seed", 7 + i) for i in range(5))
    assert text("--seed", 7, "--num", 5) == alone
    assert text("--seed", 7, "--num", 5, "--out", tmp_path / "t.txt") == ""
    assert (tmp_path / "t.txt").read_text() == alone
    for weights in ("float32", "bfloat16", "int8"):
        assert text("--weights", weights, "--seed", 1) == text("--weights", weights, "--seed", 1) != ""
    assert text("--weights", "float32", "--seed", 1) == text("--seed", 1)


def test_evaluate_with_weights_in_fewer_bits(run):
    found = {w: json.loads(invoke("evaluate", run, "--json", "--weights", w).stdout)["loss"] for w in WEIGHTS}
    assert found["float32"] == json.loads(invoke("evaluate", run, "--json").stdout)["loss"]
    assert len(set(found.values())) == 3 and max(found.values()) - min(found.values()) < 0.01


def test_weights_that_a_model_cannot_have(tmp_path, text_file):
    assert invoke("train", text_file, *TINY, "--dtype", "float64", "--out", tmp_path / "run").exit_code == 0
    for command in ("generate", "evaluate"):
        check_refusal(invoke(command, tmp_path / "run", "--weights", "int8"), "for models of float32 on cpu")


def test_generate_names_symbols_it_does_not_know(run):
    result = invoke("generate", run, "--prompt", "thé", "--length", 3)
    assert "'é' is not in this model's vocabulary: left out" in result.stderr
    assert result.exit_code == 0


def test_generate_interactively(run):
    result = invoke("generate", run, "--interactive", "--length", 5, input="the \n世\nfox\n\nnot read\n")
    assert "the " in result.stdout
    assert "no symbol" in result.stderr
    assert "fox" in result.stdout
    assert "not read" not in result.stdout


def test_generate_on_a_number_of_threads(run):
    said = [invoke("generate", run, "--length", 30, "--seed", 1, "--threads", n).stdout for n in (1, 2)]
    assert said[0] == said[1] != ""
    assert invoke("generate", run, "--threads", 0).exit_code == 2


def test_generate_streams(run):
    """The first symbols arrive while a long text is still being made."""
    command = [sys.executable, "-m", "tinyrnn", "generate", str(run), "--length", "1000000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert len(process.stdout.read(50)) == 50
    process.kill()
    process.communicate()


def test_evaluate(run, text_file):
    own = json.loads(invoke("evaluate", run, "--json").stdout)
    assert set(own) == {"loss", "perplexity", "bits_per_char", "tokens"}  # nothing is unknown
    assert own["loss"] == pytest.approx(runs.RunFolder(run).read_log()[-1]["val_loss"], rel=1e-3)
    assert own["tokens"] == 259
    assert "perplexity" in invoke("evaluate", run, text_file).stdout


def test_evaluate_notices_that_the_text_has_changed(tmp_path, text_file):
    assert invoke("train", text_file, *TINY, "--out", tmp_path / "run").exit_code == 0
    text_file.write_text(text_file.read_text().replace("fox", "cat"))
    check_refusal(invoke("evaluate", tmp_path / "run"), "has changed since it was trained")
    assert invoke("evaluate", tmp_path / "run", text_file).exit_code == 0


def test_cells():
    listed = invoke("cells").stdout
    assert all(name in listed for name in ("gru", "lstm", "rnn"))
    page = invoke("cells", "gru").stdout
    assert "--cell-opt reset_after=false" in page
    assert json.loads(invoke("cells", "lstm", "--json").stdout)["states"] == ["h", "c"]


def test_a_broken_plugin_is_listed_and_hurts_nobody(monkeypatch, tmp_path, text_file):
    from importlib.metadata import EntryPoint

    real = dict(plugins.registered())
    broken = EntryPoint("bad", "no_such_module_at_all:Cell", plugins.CELLS.name)
    foreign = EntryPoint("notcell", "collections:OrderedDict", plugins.CELLS.name)
    extra = {
        "bad": plugins.Entry(plugins.CELLS, "bad", "some-package", "1.0", (broken,)),
        "notcell": plugins.Entry(plugins.CELLS, "notcell", "some-package", "1.0", (foreign,)),
        "twice": plugins.Entry(plugins.CELLS, "twice", "one and two", "1.0", (broken, foreign)),
    }
    monkeypatch.setattr(plugins.CELLS, "registered", lambda: real | extra)
    monkeypatch.setattr(plugins, "registered", lambda: real | extra)
    assert "broken" in invoke("cells").stdout
    assert "broken" in invoke("doctor").stdout
    assert invoke("train", text_file, *TINY, "--out", tmp_path / "run").exit_code == 0
    for name, said in (
        ("bad", "cannot be imported"),
        ("notcell", "not a subclass"),
        ("twice", "one and two"),
    ):
        result = invoke("train", text_file, *TINY, "--cell", name, "--out", tmp_path / name)
        assert result.exit_code == 2
        assert said in result.output


def test_plot(run, tmp_path):
    result = invoke("plot", run, run, "--out", tmp_path / "p.png")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"


def test_doctor(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYRNN_CACHE", str(tmp_path / "cache"))
    shown = invoke("doctor").stdout
    rows = ("tinyrnn", "numba", "BLAS", "GPU", "cache", "gru, ln-gru", "pandas", "seqeval", "statsforecast")
    assert all(row in shown for row in rows)
    assert "products of bfloat16" in shown and "products of int8" in shown
    assert (tmp_path / "cache").exists()
    assert invoke("doctor", "--clear-cache").exit_code == 0
    assert not list((tmp_path / "cache").iterdir())


# ------------------------------------------------------------------ bad input


def make_bad(tmp_path):
    """Files that cannot be used, by name."""
    files = {"good": "the quick brown fox. " * 100, "empty": "", "short": "too short", "same": "a" * 5000}
    for name, text in files.items():
        (tmp_path / f"{name}.txt").write_text(text)
    (tmp_path / "binary.bin").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "latin.txt").write_bytes("Grüße ".encode("latin-1") * 500)
    (tmp_path / "folder").mkdir()
    (tmp_path / "taken").mkdir()
    return tmp_path


TRAIN = [
    (["missing.txt"], "missing.txt does not exist"),
    (["empty.txt"], "no text"),
    (["short.txt"], "give a longer text"),
    (["same.txt"], "one distinct symbol"),
    (["binary.bin"], "--level byte"),
    (["latin.txt"], "--encoding"),
    (["good.txt", "--encoding", "klingon"], "use an encoding of texts"),
    (["folder"], "no text file"),
    (["good.txt", "--cell", "lstmm"], "did you mean lstm"),
    (["good.txt", "--cell", "lstm", "--cell-opt", "forget=1"], "forget_bias"),
    (["good.txt", "--cell", "lstm", "--cell-opt", "forget_bias"], "NAME=VALUE"),
    (["good.txt", "--cell", "lstm", "--cell-opt", "forget_bias=lots"], "float"),
    (["good.txt", "--hidden", "0"], "--hidden"),
    (["good.txt", "--lr", "-1"], "--lr"),
    (["good.txt", "--dropout", "1"], "--dropout"),
    (["good.txt", "--val-fraction", "0"], "--val-fraction"),
    (["good.txt", "--val", "missing.txt"], "missing.txt does not exist"),
    (["good.txt", "--optimizer", "adamm"], "use one of"),
    (["good.txt", "--schedule", "cosin"], "use one of"),
    (["good.txt", "--tie", "--embed", "8", "--hidden", "16"], "--embed 8 must equal"),
    (["good.txt", "--out", "taken"], "never overwritten"),
    (["good.txt", "--device", "cuda"], "CuPy"),
    (["good.txt", "--config", "missing.toml"], "missing.toml"),
    (["--resume"], "--resume RUN"),
    (["--resume", "folder"], "not a run folder"),
]


@pytest.mark.parametrize("case", range(len(TRAIN)), ids=[" ".join(args) for args, _ in TRAIN])
def test_bad_input_to_train(tmp_path, monkeypatch, case):
    make_bad(tmp_path)
    monkeypatch.chdir(tmp_path)
    args, said = TRAIN[case]
    before = sorted(p.name for p in tmp_path.iterdir())
    result = invoke("train", *args)
    check_refusal(result, said)
    assert sorted(p.name for p in tmp_path.iterdir()) in (before, sorted([*before, "runs"]))
    assert not list(tmp_path.glob("runs/*"))


def check_refusal(result, said):
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert result.stderr.count("Error:") == 1


DAMAGES = {
    "truncated": lambda data: data[: len(data) // 2],
    "flipped": lambda data: data[:-100] + bytes([data[-100] ^ 0xFF]) + data[-99:],
    "empty": lambda data: b"",
    "other": lambda data: b"this is not a checkpoint",
    "newer": lambda data: data.replace(b'"format":"2"', b'"format":"9"'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checkpoints(run, tmp_path, damage):
    import shutil

    copy = shutil.copytree(run, tmp_path / "copy")
    for name in (runs.BEST, runs.LAST, runs.TRAINER):
        data = (copy / name).read_bytes()
        (copy / name).write_bytes(DAMAGES[damage](data))
        assert (copy / name).read_bytes() != data
    said = "upgrade" if damage == "newer" else "another checkpoint"
    for args in (["generate", copy], ["evaluate", copy]):
        check_refusal(invoke(*args), said)
    said = "upgrade" if damage == "newer" else "start a new run"  # there is no other
    check_refusal(invoke("train", "--resume", copy, "--steps", 20), said)
    shutil.copy(run / runs.TRAINER, copy)
    (copy / runs.STABLE).write_bytes(DAMAGES[damage]((run / runs.STABLE).read_bytes()))
    said = "upgrade" if damage == "newer" else "delete it"  # the run goes on without
    check_refusal(invoke("train", "--resume", copy, "--steps", 20), said)


OTHER = [
    (["generate", "RUN", "--prompt", ""], "prompt is empty"),
    (["generate", "RUN", "--prompt", "世界"], "no symbol of the prompt"),
    (["generate", "RUN", "--temperature", "-1"], "temperature is -1"),
    (["generate", "RUN", "--length", "0"], "--length is 0"),
    (["generate", "RUN", "--seed", "-1"], "--seed is -1: it must be an integer of at least 0"),
    (["generate", "RUN", "--temperature", "1e-310"], "--temperature is 1e-310: it must be 0, for the most"),
    (["generate", "RUN", "--regex", "é"], "cannot be written with this model's vocabulary: give another"),
    (["generate", "RUN", "--top-k", "0"], "--top-k is 0"),
    (["generate", "RUN", "--weights", "int4"], "'int4' is not one of 'float32', 'bfloat16', 'int8'"),
    (["generate", "RUN", "--num", "0"], "0 is not in the range"),
    (["generate", "RUN", "--top-p", "2"], "--top-p is 2"),
    (["generate", "RUN", "--out", "no/such/folder/t.txt"], "cannot be written"),
    (["generate", "nowhere"], "nowhere does not exist"),
    (["generate", "RUN/trainer.safetensors"], "give the run folder"),
    (["evaluate", "RUN", "nowhere.txt"], "nowhere.txt does not exist"),
    (["evaluate", "RUN/config.json"], "damaged or not a checkpoint"),
    (["cells", "gruu"], "did you mean gru"),
    (["plot", "nowhere"], "not a run folder"),
    (["plot", "RUN", "--out", "no/such/folder/p.png"], "cannot be written"),
    (["train", "--resume", "RUN", "--hidden", "32"], "was trained with --hidden 16, not 32"),
    (["train", "--resume", "RUN", "--cell", "lstm"], "was trained with --cell ln-gru, not lstm"),
    (["train", "--resume", "RUN", "OTHER"], "another text"),
    (["train", "--resume", "RUN", "--schedule", "never"], "use one of"),
]


@pytest.mark.parametrize("case", range(len(OTHER)), ids=[" ".join(args) for args, _ in OTHER])
def test_bad_input_to_other_commands(run, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.txt").write_text("quite another text. " * 100)
    args, said = OTHER[case]
    before = {p.name: p.read_bytes() for p in run.iterdir()}
    check_refusal(invoke(*[a.replace("RUN", str(run)).replace("OTHER", "other.txt") for a in args]), said)
    assert {p.name: p.read_bytes() for p in run.iterdir()} == before


def test_a_mistyped_command_gets_a_hint():
    result = invoke("trian")
    assert result.exit_code == 2
    assert "did you mean train?" in result.stderr


def test_debug_shows_the_traceback(tmp_path):
    result = invoke("train", tmp_path / "missing.txt", "--debug")
    assert isinstance(result.exception, tinyrnn.InputError)


def test_errors_of_the_real_process(tmp_path):
    process = subprocess.run(
        [sys.executable, "-m", "tinyrnn", "train", "missing.txt"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert process.returncode == 2
    assert (
        process.stderr
        == "Error: missing.txt does not exist: give a text file, a folder, or - for standard input\n"
    )


# ------------------------------------------------------------------ help and start-up


def test_every_command_and_option_has_help():
    for name in COMMANDS:
        command = main.get_command(None, name)
        assert command.help, name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{name} {parameter.name}"
        shown = invoke(name, "--help")
        assert shown.exit_code == 0
        assert "Usage" in shown.output


def test_shell_completion_offers_cells():
    from click.shell_completion import ShellComplete

    completion = ShellComplete(main, {}, "tinyrnn", "_TINYRNN_COMPLETE")
    assert [c.value for c in completion.get_completions(["train", "--cell"], "g")] == ["gru"]


@pytest.mark.parametrize(
    ("code", "limit"),
    [
        ("import tinyrnn", 0.25),
        ("from tinyrnn.cli import main; main(['--help'], standalone_mode=False)", 0.3),
    ],
)
def test_start_up_time(code, limit):
    """The best of five, generous to a busy machine; what must hold everywhere is that Numba is not
    imported.
    """
    times = []
    for _ in range(5):
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", f"{code}; import sys; assert 'numba' not in sys.modules"],
            capture_output=True,
            text=True,
        )
        times.append(time.perf_counter() - began)
        assert done.returncode == 0, done.stderr
    bare = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"])
    bare = time.perf_counter() - bare
    assert min(times) < 3 * limit + bare


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("seq_len = 5\nseq-len = 7", "'seq_len' stands there twice"),
        ("json = true\nas_json = false", "stands there twice"),
        ('config = "nothere.toml"', "'config' has no effect in a file"),
        ("debug = true", "'debug' has no effect in a file"),
    ],
)
def test_what_a_file_of_options_says_twice_or_in_vain(tmp_path, text_file, lines, said):
    file = tmp_path / "options.toml"
    file.write_text(lines)
    check_refusal(invoke("train", text_file, "--config", file, *TINY), said)


def test_two_runs_are_not_taken_for_one(run, tmp_path):
    result = invoke("train", "--resume", run, "--out", tmp_path / "other", *TINY)
    check_refusal(result, "name two runs")


@pytest.mark.parametrize("option", ["--stop", "--out"])
def test_empty_texts_of_options_are_none(run, option):
    check_refusal(
        invoke("generate", run, "--length", 3, option, ""),
        "is an empty" if option == "--stop" else "is empty",
    )


def test_evaluate_says_of_what_and_on_what(run, tmp_path):
    lines = invoke("evaluate", run).output.splitlines()
    assert lines[0].split(maxsplit=1) == ["model", f"{run / 'best.safetensors'}, of step 10"]
    assert lines[1].split(maxsplit=1) == ["data", f"the validation part of {run.parent / 'text.txt'}"]
    other = tmp_path / "other.txt"
    other.write_text("the quick § fox " * 20)
    result = invoke("evaluate", run / "last.safetensors", other)
    assert "last.safetensors, of step 10" in result.stdout and f"data             {other}" in result.stdout
    assert "left out: '§'" in result.stderr
    assert "left out: '§'" in invoke("inspect", run, "the § fox", "--out", tmp_path / "a.html").stderr


@pytest.mark.parametrize("task", [[], ["--task", "lm"]])
def test_a_table_is_not_taken_for_text_in_silence(tmp_path, task):
    table = tmp_path / "reviews.csv"
    table.write_text("text,label\n" + "a good film,pos\na bad film,neg\n" * 40)
    result = invoke("train", table, *task, *TINY, "--out", tmp_path / "run")
    assert ("give --task classify" in result.stderr) == (not task)


def test_sizes_of_cells_that_are_no_numbers(text_file, tmp_path):
    cell = ["--cell", "lstm", "--cell-opt", "forget_bias=nan"]
    result = invoke("train", text_file, *cell, *TINY, "--out", tmp_path / "run")
    check_refusal(result, "forget_bias=nan: it must be a finite number")
    small = ["--cells", "gru", "--params", 1, "--steps", 1, "--out", tmp_path / "compare"]
    check_refusal(invoke("compare", text_file, *small), "GRU has")
    assert "<class" not in invoke("compare", text_file, *small).stderr


def test_a_damaged_configuration_is_named_once(run, tmp_path):
    import shutil

    copy = shutil.copytree(run, tmp_path / "copy")
    (copy / runs.CONFIG).write_text("{")
    result = invoke("train", "--resume", copy)
    check_refusal(result, "cannot be used")
    assert result.stderr.count(runs.CONFIG) == 1


def test_short_terminals_show_the_speed(capsys, monkeypatch):
    """What gives way first is a word, then a figure."""
    from tinyrnn.training import report

    shown = report.Live()
    shown.unit = "tokens"
    record = dict(step=1000, epoch=1, train_loss=1.2345, val_loss=1.2345, bits=1.781)
    monkeypatch.setattr(report, "columns", lambda: 80)
    for seconds in (9, 99, 999):
        shown.evaluated(record | dict(tokens_per_s=99000, seconds=seconds, lr=1))
    lines = capsys.readouterr().out.splitlines()
    assert all("99,000 tokens/s" in line and len(line) <= 80 for line in lines), lines


def test_train_needs_no_arguments(monkeypatch):
    def begun(configuration, *_, **__):
        raise tinyrnn.InputError(f"this would train on {configuration.texts}")

    monkeypatch.setattr("tinyrnn.training.experiments.begin", begun)
    check_refusal(invoke("train"), "this would train on ['python-docs']")


def test_options_of_another_task_for_a_table_name_that_task(tmp_path):
    """Else a language model of characters would be trained for minutes."""
    (tmp_path / "mails.csv").write_text("id,mail,category\n" + "1,hello,a\n2,bye,b\n" * 30)
    columns = ["--text-column", "mail", "--label-column", "category"]
    result = invoke("train", str(tmp_path / "mails.csv"), *columns)
    assert result.exit_code == 2 and "give --task classify" in result.stderr
    assert "--label-column, --text-column of another task than lm" in result.stderr
    result = invoke("train", str(tmp_path / "mails.csv"), "--horizon", "3", "--season", "7")
    assert result.exit_code == 2 and "give --task forecast" in result.stderr
    out = ["--steps", "1", "--hidden", "4", "--seq-len", "8", "--out"]
    named = invoke("train", str(tmp_path / "mails.csv"), "--task", "lm", *columns, *out, str(tmp_path / "a"))
    assert named.exit_code == 0 and "--text-column has no effect" in named.stderr
    result = invoke("train", str(tmp_path / "mails.csv"), *out, str(tmp_path / "b"))
    assert result.exit_code == 0 and "is a table, read as plain text" in result.stderr


@pytest.mark.parametrize(("command", "said"), [
    (["evaluate", "RUN", "--dynamic-lr", 0.1], "--dynamic-lr has no effect without --dynamic: give that too"),
    (["evaluate", "RUN", "--cache-theta", 1], "--cache-theta has no effect without --cache: give that too"),
    (["generate", "RUN", "--repetition-window", 5], "--repetition-window has no effect without --repetition"),
    (["train", "TEXT", "--gamma", 0.5], "--gamma has no effect without --schedule exponential: give that"),
    (["train", "TEXT", "--optimizer", "sgd", "--beta2", 0.9], "--beta2 has no effect without --optimizer ad"),
    (["train", "TEXT", "--prune-until", 0.3], "--prune-until has no effect without --prune: give that too,"),
    (["train", "TEXT", "--level", "byte", "--vocab-size", 20], "--vocab-size has no effect without --level"),
    (["train", "TEXT", "--val", "TEXT", "--val-fraction", 0.5], "--val-fraction has no effect beside --val"),
    (["train", "TEXT", "--preset", "best", "--minutes", 3], "--preset has no effect beside --minutes:"),
    (["train", "TEXT", "--min-steps", 5, "--steps", 9], "--min-steps has no effect without --epochs"),
    (["train", "TEXT", "--init-uniform", 101], "--init-uniform': it must be a finite number of at least"),
    (["compare", "TEXT", "--cells", "gru", "--gamma", 0.5], "--gamma has no effect without --schedule expo"),
])  # fmt: skip
def test_an_option_without_the_one_that_it_is_of_is_an_error(command, said, run, text_file):
    places = {"RUN": run, "TEXT": text_file}
    result = invoke(*[places.get(c, c) for c in command])
    assert result.exit_code == 2 and said in " ".join(result.stderr.split())
