"""What others wrote does not command the reader's terminal; and a command starts and ends well whatever its
streams are.
"""

import io
import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import tinyrnn as tr
from tinyrnn import __main__ as program
from tinyrnn.base.errors import visible
from tinyrnn.cli import COMMANDS, main
from tinyrnn.training import screen
from tinyrnn.training.runs import RunFolder

HOSTILE = "a\x1b]0;title\x07\x1b[2J\x9b1mb\x7f\r\b\u202ec\u2066d"
TINY = "--hidden 4 --embed 4 --layers 1 --batch-size 2 --seq-len 8 --steps 2 --quiet".split()


class Terminal(io.StringIO):
    """A stream that says that it is one."""

    def isatty(self):
        return True


def run(monkeypatch, *arguments, terminal=True):
    """A command in this process: its exit code, and what its streams were given."""
    out, err = (Terminal(), Terminal()) if terminal else (io.StringIO(), io.StringIO())
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    return ended.value.code, out.getvalue(), err.getvalue()


def is_clean(text):
    return visible(text) == text


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Runs of a language model and of a classifier, of texts, labels and file names with what a terminal
    obeys.
    """
    folder = tmp_path_factory.mktemp("hostile")
    text = folder / "t\x1b[2J\u202ex.txt"
    text.write_text((HOSTILE + "\t the end\n") * 40, newline="")
    tr.train(text, **SETTINGS, out=folder / "lm", quiet=True)
    label = "yes\x1b[31m\u202e"
    data = folder / "films"  # a folder for each label needs no library that reads tables
    for name, film in [(label, "a good film"), ("no", "a bad film")]:
        (data / name).mkdir(parents=True)
        for i in range(20):
            (data / name / f"{i}.txt").write_text(film)
    short = {k: v for k, v in SETTINGS.items() if k != "seq_len"}
    tr.train(data, "classify", **short, out=folder / "classify", quiet=True)
    return folder


SETTINGS = dict(hidden=4, embed=4, layers=1, batch_size=2, seq_len=8, steps=2)


# ------------------------------------------------------------------ the terminal


def test_what_is_made_visible():
    shown = visible(HOSTILE)
    assert shown.startswith("a\\u001b]0;title\\u0007\\u001b[2J\\u009b1mb\\u007f\\u000d\\u0008\\u202ec")
    kept = "tab\tline\nÄ é \u0301 ни 漢字 \u200cfa\u200d👩\u200d💻\u00ad\\x1b"
    assert visible(kept) == kept
    controls = {chr(i) for i in [*range(32), *range(127, 160)]} - {"\t", "\n"}
    assert all(
        visible(c) != c for c in controls | set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    )
    odd = {"a": HOSTILE, "b": "\udc80"}
    assert json.loads(visible(json.dumps(odd, ensure_ascii=False))) == odd  # JSON stays what it was


@pytest.mark.parametrize("option", ["", "--raw"])
def test_generated_text(folder, monkeypatch, option):
    command = ["generate", folder / "lm", "--length", 300, "--seed", 1, "--temperature", 3]
    code, exact, _ = run(monkeypatch, *command, terminal=False)
    assert code == 0 and "\x1b" in exact and "\n" in exact  # another program gets what was generated
    code, shown, err = run(monkeypatch, *command, *[option] * bool(option))
    assert shown == (exact if option else visible(exact)) and is_clean(err)
    assert option or is_clean(shown)
    assert run(monkeypatch, *command, "--out", folder / f"o{option}")[0] == 0
    assert (folder / f"o{option}").read_bytes().decode() == exact.replace("\n", os.linesep)


@pytest.mark.parametrize("option", ["", "--json"])
def test_labels(folder, monkeypatch, option):
    command = ["predict", folder / "classify", "a good film \x1b[5m", *[option] * bool(option)]
    code, exact, _ = run(monkeypatch, *command, terminal=False)
    code, shown, _ = run(monkeypatch, *command)
    assert code == 0 and is_clean(shown) and "\\u001b" in shown
    assert option or "\x1b" in exact
    if option:
        assert json.loads(shown) == json.loads(exact)
    assert run(monkeypatch, *command, "--raw")[1] == exact


def test_names_and_messages(folder, monkeypatch):
    text, bad = next(folder.glob("t*.txt")), folder / "no\x1b[2J\u202e"
    for code, command in {
        0: ["evaluate", folder / "lm"],
        2: ["generate", bad],
        **{
            (0, n): c
            for n, c in enumerate([["evaluate", folder / "classify"], ["inspect", folder / "lm", text]])
        },
        **{(2, n): c for n, c in enumerate([["x\x1b[2J"], ["generate", "--\x1b[2J"], ["train", bad, *TINY]])},
    }.items():
        found, out, err = run(monkeypatch, *command)
        assert found == (code if isinstance(code, int) else code[0]), (command, err)
        assert is_clean(out) and is_clean(err) and out + err, command
    code, out, err = run(monkeypatch, "generate", bad, terminal=False)
    assert code == 2 and is_clean(err)  # standard error is for people, in a log file as well


def test_training_says_the_names_of_texts_and_runs(folder, monkeypatch, tmp_path):
    """Also above a live line, through rich's console."""
    text = next(folder.glob("t*.txt"))
    command = ["train", text, *TINY[:-1], "--eval-every", 1, "--out", tmp_path / "r\x1b[31mx"]
    code, out, err = run(monkeypatch, *command)
    rich = {"\x1b[?25l", "\x1b[?25h", "\x1b[2K", "\x1b[1A", "\r"}  # of the live line: cursor and erasing
    for sequence in rich:
        out, err = out.replace(sequence, ""), err.replace(sequence, "")
    out = "".join(out.split("\x1b[0m"))
    assert code == 0 and "\x1b[31mx" not in out + err and "\\u001b[31mx" in out


def test_no_command_passes_the_console_by():
    """Whatever is printed goes through `say`, which makes it visible."""
    for name in COMMANDS:
        source = main.callback.__code__.co_filename.replace("__init__", name.replace("-", "_"))
        code = Path(source).read_text(encoding="utf-8")
        assert not any(w in code for w in ("click.echo", "print(", "stdout.write", "secho")), name


def test_a_warning_is_visible_too(monkeypatch, capsys):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    monkeypatch.setattr(program, "_open_streams", lambda: warnings.warn_explicit)
    monkeypatch.setattr(sys, "argv", ["tinyrnn", "--version"])
    usual = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit):
            program.main()
    finally:
        signal.signal(signal.SIGINT, usual)
    assert is_clean(warnings.formatwarning("x\x1b[2J", UserWarning, "f\x1b.py", 1, "line"))


def test_a_library_without_streams(monkeypatch, folder):
    """As under pythonw, where they are None."""
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    screen.say("nobody hears")
    screen.note("nobody hears")
    assert tr.Run(folder / "lm").resume(steps=3).log


# ------------------------------------------------------------------ processes

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(tr.__file__).parents[1])}  # in any folder
PROGRAM = [sys.executable, "-m", "tinyrnn"]
posix = pytest.mark.skipif(os.name == "nt", reason="streams are closed as a POSIX shell does it")


@pytest.mark.sample(3)
@posix
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["train", "generate", "cells", "wrong usage"])
def test_closed_streams(folder, tmp_path, closed, command):
    text = next(folder.glob("t*.txt"))
    arguments = {
        "train": ["train", text, *TINY[:-1], "--out", tmp_path / "r"],
        "generate": ["generate", folder / "lm", "--length", "5"],
        "cells": ["cells"],
        "wrong usage": ["generate"],
    }[command]
    script = f'exec "$@" {closed}'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *PROGRAM, *arguments], capture_output=True, timeout=120, env=ENVIRONMENT
    )
    assert done.returncode == (2 if command == "wrong usage" else 0), done.stderr
    assert b"Traceback" not in done.stderr
    if command == "train":  # nothing that was printed went into a file of the run
        RunFolder(tmp_path / "r").read_log()
        assert tr.load(tmp_path / "r")


@posix
@pytest.mark.parametrize("command", [["generate", "lm", "--length", "50000"], ["cells"], ["--help"]])
def test_a_pipe_whose_reader_has_gone(folder, command):
    done = subprocess.run(
        ["bash", "-c", '"$@" | head -c 1; echo "${PIPESTATUS[0]}"', "bash", *PROGRAM, *command],
        capture_output=True, text=True, errors="replace", timeout=120, cwd=folder, env=ENVIRONMENT,
    )  # fmt: skip
    assert done.stderr.replace("\n", "") == "" or done.stderr.startswith("compiling")
    assert done.stdout[1:] in ("0\n", "1\n") and "Traceback" not in done.stderr


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full file")
@pytest.mark.parametrize("command", [["train", "--help"], ["cells"], ["--help"], ["--version"]])
def test_a_full_standard_output(command):
    done = subprocess.run(
        ["bash", "-c", '"$@" > /dev/full', "bash", *PROGRAM, *command],
        capture_output=True, text=True, timeout=120, env=ENVIRONMENT,
    )  # fmt: skip
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "No space left" in done.stderr


@posix
@pytest.mark.parametrize("wait", ["tinyrnn.cli", "numba", "tinyrnn.training.experiments", "numpy"])
def test_ctrl_c_while_importing(folder, wait):
    """A module's import sends the signal, as if the key had been pressed at that moment."""
    script = f"""
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what it leaves behind without

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {wait!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
sys.argv = ["tinyrnn", "generate", "lm", "--length", "5"]
from tinyrnn.__main__ import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=60,
        env=ENVIRONMENT,
    )
    assert done.returncode == 130 and "Traceback" not in done.stderr and done.stdout == ""


@posix
def test_the_installed_command_is_that_program():
    """Which catches Ctrl-C before anything heavy is imported."""
    script = (
        "import sys, tinyrnn.__main__; print(*[m for m in ('numpy', 'click', 'numba') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "\n"
