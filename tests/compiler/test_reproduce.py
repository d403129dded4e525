"""The script that is left for a report of a fault."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinyrnn as tr
from tinyrnn.compiler import referee
from tinyrnn.compiler.products import recorded_step


@pytest.mark.sample(2)
@pytest.mark.parametrize(("name", "options"), [("lstm", {"peephole": True}), ("gru", {})])
def test_it_runs_the_step_both_ways(name, options, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYRNN_CACHE", str(tmp_path))
    cell = tr.RNN(name, 5, 4, dtype="float64", seed=0, cell_options=options).cells[0]
    recording = recorded_step(cell.step, np.ones((3, 5)), [s.numpy() for s in cell.initial_state(3)])
    path = referee.report(recording, "h differs", False)
    assert "A fault of tinyrnn's compiler: h differs" in Path(path).read_text(encoding="utf-8")
    environment = os.environ | {"TINYRNN_COMPILE": "python", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, path], env=environment, capture_output=True, text=True, timeout=120
    )
    lines = [line[8:].split("gradients") for line in done.stdout.splitlines()]
    assert [line[:8] for line in done.stdout.splitlines()] == ["compiled", "eager   "], done.stderr
    for part in range(2):
        compiled, eager = [ast.literal_eval(line[part].strip()) for line in lines]
        assert len(compiled) >= len(cell.states) and min(compiled) > 0
        np.testing.assert_allclose(compiled, eager, rtol=1e-9)
