"""The attacks themselves, in a very short form; long: ``python tests/faults/run.py --minutes M``."""

import math
import os
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
if sys.platform != "linux":
    pytest.skip("the attacks fork and read /proc", allow_module_level=True)

import data
import kills
import run
from processes import Process, killed_at

from tinyrnn.base.files import PARTIAL
from tinyrnn.training import runs


def test_a_dozen_kills(tmp_path, monkeypatch):
    monkeypatch.setattr(kills, "KINDS", {name: kills.KINDS[name] for name in ("lm", "classify")})
    counts, breaches = kills.kill(math.inf, seed=5, number=12, work=tmp_path / "work")
    assert not breaches and counts["kills"] >= 12 and counts[kills.ENDS] >= 3
    assert counts[kills.LOADS] >= 3 and not (tmp_path / "work").exists()


def test_three_hundred_damaged_files(tmp_path):
    counts, outside = data.fuzz(math.inf, seed=7, number=300, work=tmp_path / "work")
    assert not outside
    assert (
        counts[data.READ] + counts[data.REFUSED] == 300 and min(counts[data.READ], counts[data.REFUSED]) > 50
    )
    assert counts["MiB"] < 2 * data.MEMORY >> 20


def test_what_is_outside_is_found(tmp_path, monkeypatch):
    """A reader that raises, leaks a warning, never ends, or dies: the harness says so, and goes on."""
    state = type("State", (), {})()
    faults = [lambda: 1 / 0, lambda: os.kill(os.getpid(), signal.SIGKILL), signal.pause, lambda: None]
    kinds = [data.OUTSIDE, data.OUTSIDE, data.OUTSIDE, data.READ]

    def case(seed, state):
        try:
            faults[seed]()
        except ArithmeticError as error:
            return data.OUTSIDE, repr(error)
        return data.READ, ""

    state.work = tmp_path
    monkeypatch.setattr(data, "run_case", case)
    monkeypatch.setattr(data, "SECONDS", 2.0)
    found = list(data.forked(0, 4, state))
    assert [kind for _, kind, _, _ in found] == kinds and [seed for seed, *_ in found] == [0, 1, 2, 3]
    assert "ZeroDivisionError" in found[0][2] and "died (-9)" in found[1][2] and "did not end" in found[2][2]


def test_other_weights_at_the_end_are_found(tmp_path, monkeypatch):
    """A trial fails where the generator of dropout is not restored."""
    from tinyrnn.training.trainer import Trainer

    restore = Trainer._restore

    def forgetful(self, tensors, meta):
        restore(self, tensors, {**meta, "generator": ["1", "2"]})

    monkeypatch.setattr(Trainer, "_restore", forgetful)
    monkeypatch.setattr(kills, "KINDS", {"lm": kills.KINDS["lm"]})
    kills.whole.cache_clear()
    _, breaches = kills.kill(math.inf, seed=0, number=6, work=tmp_path / "work")
    assert any("other than alone" in breach and str(tmp_path) in breach for breach in breaches)
    kills.whole.cache_clear()


def test_a_comparison_finishes_runs_that_were_killed_after_their_last_step(tmp_path, monkeypatch):
    """Before the last of their files is written they are no result."""
    work = tmp_path / "work"
    kills.write_data(work / "data")
    kind = kills.KINDS["compare"]
    alone = kills.whole("compare", work)
    for number in range(alone.operations - 45, alone.operations, 9):
        out = work / str(number)
        kills.start(kind.train, out, killed_at(out, number)).wait()
        assert kills.start(kind.train, out).wait().code == 0
        assert kills.contents(kind, out) == alone.contents, number


@pytest.mark.parametrize("found", [[], ["data 3: it fell"]])
def test_the_exit_code_says_whether_anything_is_outside(monkeypatch, capsys, found):
    monkeypatch.setattr(
        sys, "argv", ["run.py", "--minutes", "1", "--only", "data", "--seed", "4", "--processes", "1"]
    )
    monkeypatch.setattr(run, "data", lambda seconds, seed: ({"read": 5}, found))
    with pytest.raises(SystemExit) as end:
        run.main()
    assert end.value.code == len(found)
    out, err = capsys.readouterr()
    assert "data, seeds 4:" in out and ("it fell" in err) == bool(found)


def test_what_a_creation_leaves_that_was_killed_when_it_was_done_is_removed(tmp_path):
    """By taking up the run, and by the same comparison again: nothing is created beside it then."""
    work = tmp_path / "work"
    kills.write_data(work / "data")
    for name, again in (("lm", kills.KINDS["lm"].resume), ("compare", kills.KINDS["compare"].train)):
        out = work / name
        assert kills.start(kills.KINDS[name].train, out).wait().code == 0
        left = (work if name == "lm" else out) / f".x.abcdef01{runs.CREATING}"
        left.touch()
        assert kills.start(again, out).wait().code == 0
        assert not left.exists() and not kills.leftovers(out)


def test_folders_of_killed_creations_are_removed_by_the_next_and_no_other(tmp_path, text_file):
    (tmp_path / ".run.abcdef01").mkdir()
    (tmp_path / ".run.abcdef01" / f".config.json.x{PARTIAL}").touch()
    (tmp_path / f".run.abcdef01{runs.CREATING}").touch()
    (tmp_path / ".run.notmine1").mkdir()
    (tmp_path / ".run.notmine1" / "diary.txt").touch()
    (tmp_path / ".other.abcdefgh").mkdir()
    living = tmp_path / ".run.11111111"
    living.mkdir()
    lock, _ = runs.lock_file(tmp_path / f".run.11111111{runs.CREATING}")
    ended = Process(
        ["train", text_file, "--steps", "1", "--hidden", "4", "--out", tmp_path / "run", "--quiet"]
    ).wait()
    assert ended.code == 0, ended.said
    lock.close()
    left = {p.name for p in tmp_path.iterdir() if p.is_dir()}
    assert left == {"run", ".run.notmine1", ".other.abcdefgh", ".run.11111111"}
    assert not (tmp_path / "run" / runs.LOCK).exists()
