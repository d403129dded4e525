"""Nothing that tinyrnn does opens a connection: not its import, not a run from data to export."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tinyrnn as tr

# In a process where whatever would reach the network raises, whoever calls it.
SCRIPT = """
import sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        raise RuntimeError(f"the network is used: {event} {arguments}")

sys.addaudithook(refuse)
import importlib.util
import socket

if sys.argv[1] == "connect":
    socket.create_connection(("localhost", 9))

from pathlib import Path

from click.testing import CliRunner

import tinyrnn as tr
from tinyrnn.cli import main

Path("text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 20)
tiny = "--hidden 4 --embed 4 --layers 1 --batch-size 2 --seq-len 8 --steps 2 --out run"
commands = [
    f"train text.txt {tiny}", "train --resume run --steps 3", "generate run --length 5", "evaluate run",
    "inspect run text.txt", "export run --format torch", "plot run", "cells", "doctor", "compare --help",
]
if importlib.util.find_spec("onnx"):
    commands.append("export run --format onnx")
if not importlib.util.find_spec("matplotlib"):
    commands.remove("plot run")
for command in commands:
    result = CliRunner().invoke(main, command.split())
    assert result.exit_code == 0, (command, result.output, result.exception)
tr.load("run").generate("the ", length=3)
print("done")
"""


@pytest.mark.parametrize("what", ["work", "connect"])
def test_no_network_is_used(tmp_path, what):
    environment = {**os.environ, "PYTHONPATH": str(Path(tr.__file__).parents[1])}
    command = [sys.executable, "-c", SCRIPT, what]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    if what == "connect":  # the test sees a connection where there is one
        assert "the network is used: socket" in done.stderr
    else:
        assert done.stdout == "done\n", done.stderr
