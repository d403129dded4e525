"""What stands on the terminal when a command is over: its lines, whole, and nothing of the live bar."""

import os
import re
import struct
import sys
from pathlib import Path

import pytest

import tinyrnn

pty = pytest.importorskip("pty")
pyte = pytest.importorskip("pyte")

# The command line, in a process where the third step says things in every way there is.
NOISY = r"""
import sys, time, warnings
import numba
from tinyrnn.base.errors import InputError
from tinyrnn.cli import main
from tinyrnn.kernels import notice
from tinyrnn.tasks.lm.task import LanguageModeling

fault = sys.argv.pop(1)
notice.PATIENCE = 0.0 if fault == "noise" else 60.0
loss = LanguageModeling.loss

def noisy(self, step):
    if step < 4:
        time.sleep(0.3)  # so that the bar is drawn
    if step == 2 and fault == "noise":
        print("a plugin prints")
        sys.stderr.write("and writes to the other stream\n")
        warnings.warn("a warning " + 12 * "that is long " + "indeed")
        with notice.compiling("something"):
            numba.njit(lambda x: x + 1)(1)
        time.sleep(0.3)
    if step == 3 and fault == "error":
        raise InputError("something is wrong: mend it")
    if step == 2 and fault == "sleep":
        time.sleep(1.5)
    return loss(self, step)

LanguageModeling.loss = noisy
main(sys.argv[1:])
"""
TINY = "--hidden 8 --embed 4 --batch-size 4 --seq-len 20 --steps 9 --eval-every 3 --warmup 0".split()
CHOSEN = "--cell gru --dropout 0.2 --lr 5e-3 --beta2 0.999".split()  # so that nothing else is


def terminal(arguments, columns, folder, press=None):
    """Run NOISY in a terminal of its own: the lines on its screen at the end, its exit code, all its output.

    Args:
        press: what to wait for in the output, and what to type then.
    """
    process, terminal = pty.fork()
    if not process:
        import fcntl
        import termios

        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 60, columns, 0, 0))
        os.chdir(folder)
        here = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR", "CI")}
        here["PYTHONPATH"] = str(Path(tinyrnn.__file__).parents[1])
        command = [sys.executable, "-c", NOISY, *arguments]
        os.execve(sys.executable, command, here | {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"})
    screen, output = pyte.Screen(columns, 60), b""
    stream = pyte.ByteStream(screen)
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # its end, on Linux
            data = b""
        if not data:
            break
        output += data
        stream.feed(data)
        if press and press[0] in output:
            os.write(terminal, press[1])
            press = None
    os.close(terminal)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    lines = [line.rstrip() for line in screen.display]
    return "\n".join(lines).rstrip().split("\n"), code, output.decode()


def without_notices(lines):
    """Lines but for those of kernels that the cache lacked."""
    return [line for line in lines if not re.fullmatch(r"compiling (?!something).*, once: \d+\.\d s", line)]


def assert_lines(lines, patterns):
    lines = without_notices(lines)
    assert len(lines) == len(patterns), "\n".join(lines)
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern, line), "\n".join(lines)


BEGINNING = [
    r"model       gru, 2 x 8, 1,\d+ parameters, float32 on cpu",
    r"data        2,600 tokens, vocabulary \d+ \(char\); 260 tokens for validation",
    r"training    9 steps; 4 streams x 20 steps; run r",
    r"first step  \d+\.\d s, loading or compiling kernels included",
]
EVALUATION = (
    r"step      {}  train \d\.\d{{4}}  validation \d\.\d{{4}} \(\d\.\d{{3}} bits\)  [\d,]+ tokens/s  \d+ s"
)


@pytest.mark.parametrize("columns", [80, 100])
def test_lines_above_the_live_bar_are_whole(tmp_path, text_file, columns):
    lines, code, output = terminal(
        ["noise", "train", "text.txt", *TINY, *CHOSEN, "--out", "r"], columns, tmp_path
    )
    assert code == 0, "\n".join(lines)
    assert "━" in output and re.search(r"step 2/9  loss \d\.\d{3}  \d\.\d{3} bits", output)
    at = next(i for i, line in enumerate(lines) if "a plugin prints" in line)
    first = next(i for i, line in enumerate(lines) if "UserWarning: a warning that" in line)
    last = next(i for i, line in enumerate(lines) if "indeed" in line)
    warning = "".join(lines[first : last + 1]).replace(" ", "")  # the terminal folds what is long
    assert warning.endswith("awarning" + 12 * "thatislong" + "indeed")
    said = ["a plugin prints", "and writes to the other stream"]
    assert lines[at : at + 2] == said
    assert_lines(
        lines[:first] + lines[last + 1 :],
        [
            *BEGINNING,
            *said,
            r"compiling something, once: \d+\.\d s",
            *[EVALUATION.format(step) for step in (3, 6, 9)],
            "r",
            "next: tinyrnn generate r",
        ],
    )


def test_an_error_leaves_a_clean_screen(tmp_path, text_file):
    lines, code, output = terminal(["error", "train", "text.txt", *TINY, *CHOSEN, "--out", "r"], 80, tmp_path)
    assert code == 2 and "━" in output
    assert_lines(lines, [*BEGINNING, EVALUATION.format(3), "Error: something is wrong: mend it"])


def test_an_interruption_leaves_a_clean_screen(tmp_path, text_file):
    press = (b"step 2/9", b"\x03")
    lines, code, output = terminal(
        ["sleep", "train", "text.txt", *TINY, *CHOSEN, "--out", "r"], 80, tmp_path, press
    )
    assert code == 130 and "━" in output and "^C" in output
    said = "interrupted at step 3, saved; go on with: tinyrnn train --resume r"
    assert_lines(lines, [*BEGINNING, said])


def test_a_comparison_leaves_its_lines_and_its_table(tmp_path, text_file):
    command = ["compare", "text.txt", "--cells", "gru,rnn", *TINY, "--out", "c"]
    lines, code, output = terminal(["quiet", *command], 80, tmp_path)
    assert code == 0 and "━" in output
    run = [BEGINNING[3], *[EVALUATION.format(step) for step in (3, 6, 9)]]
    rows = [f"{cell:14} seed 0  validation " + r"\d\.\d{4}" for cell in ("gru", "rnn")]
    assert_lines(
        lines,
        [
            *["gru, seed 0", *run, rows[0], "rnn, seed 0", *run, rows[1]],
            "",
            r"1,\d+ parameters and 9 steps each, 1 seed; loss \(nats a token\)",
            r"cell           hidden  parameters  validation   spread   tokens/s  seconds",
            *[r"(gru|rnn) +\d+ +1,\d+ +\d\.\d{4} +[\d,]+ +\d+"] * 2,
            "c",
        ],
    )


RECORD = {"step": 1100, "epoch": 1.0, "train_loss": 0.6259, "val_loss": 0.6694, "tokens_per_s": 123456.0,
          "seconds": 1234.0, "lr": 0.1}  # fmt: skip


@pytest.mark.parametrize("own", [{"accuracy": 0.73, "macro_f1": 0.72}, {"rmse": 47.5}, {"exact": 0.5}])
def test_an_evaluation_fits_eighty_columns(monkeypatch, capsys, own):
    from tinyrnn.training import report

    monkeypatch.setattr(report, "columns", lambda: 80)
    shown = report.Live()
    shown.unit = "tokens"
    shown.evaluated({**RECORD, **own})
    line = capsys.readouterr().out.rstrip("\n")
    assert len(line) <= 80 and line.endswith("1,234 s")
    assert all(f"{name.replace('_', ' ')} {value:.4f}" in line for name, value in own.items())


@pytest.mark.parametrize("width", [10, 30, 50, 76, 96, 200])
@pytest.mark.parametrize("compiling", [None, "compiling a cell with a name of many words, once"])
def test_the_bar_is_one_line_of_any_terminal(width, compiling):
    from types import SimpleNamespace

    from rich.console import Console

    from tinyrnn.training import report

    shown = report.Live()
    shown.trainer = SimpleNamespace(
        progress=lambda: 0.5, step=123_456, total=246_912, seconds=3600.0,
        task=SimpleNamespace(in_nats=True), tokens_per_second=lambda: 1e6,
    )  # fmt: skip
    shown.unit, shown.smooth, shown.compiling, shown.start = "tokens", 2.0, compiling, (0.0, 0.0)
    console = Console(width=width + 4)
    with console.capture() as captured:
        console.print(shown.bar(width))
    lines = captured.get().rstrip("\n").split("\n")
    assert len(lines) == 1 and len(lines[0].rstrip()) <= width and "step 123,4"[:width] in lines[0]
    if width >= 96 and not compiling:
        assert "2.885 bits  1,000,000 tokens/s" in lines[0] and "50%  1:00:00" in lines[0] and "━" in lines[0]


def test_cells_in_a_narrow_terminal(tmp_path):
    lines, code, _ = terminal(["quiet", "cells"], 60, tmp_path)
    assert code == 0 and all(len(line) <= 60 for line in lines)
    said = " ".join(" ".join(lines).split())
    assert "gru Gated recurrent unit. states h, 98,688 parameters, compiled, options reset_after" in said
    wide, _, _ = terminal(["quiet", "cells"], 200, tmp_path)
    assert wide[0].split() == "cell what states parameters path options package".split()
