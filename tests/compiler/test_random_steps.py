"""Random recurrences (`random_steps`): compiled equals eager, values and all gradients; the loops run as
plain Python.
"""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import random_steps
from hypothesis import HealthCheck, Phase, given, settings

EXAMPLES, COMPILED = 300, 0.7  # how many, and the part of them that must not have been left to the eager loop
EACH = dict(random_steps.each_once())


@pytest.fixture(autouse=True)
def plain_python_without_a_referee(monkeypatch):
    """The referee would hide a fault of the compiler."""
    monkeypatch.setenv("TINYRNN_COMPILE", "python")
    monkeypatch.setenv("TINYRNN_REFEREE", "0")


def counted(count):
    """Check so many random cases; returns how often each answer was given."""
    counts = Counter()

    @settings(max_examples=count, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
    @given(random_steps.cases())
    def each(case):
        try:
            counts[random_steps.check(case)] += 1
        except random_steps.Wrong:
            random_steps.check(random_steps.shrunk(case))  # the simplest that is wrong is shown
            raise

    each()
    return counts


def test_random_steps():
    counts = counted(EXAMPLES)
    assert counts["compiled"] >= COMPILED * counts.total(), counts
    assert counts["ill-conditioned"] <= 0.02 * counts.total(), counts


@pytest.mark.sample(3)
@pytest.mark.parametrize("name", EACH)
def test_each_kind_of_instruction(name):
    assert random_steps.check(EACH[name]) != "ill-conditioned"


@pytest.mark.slow
def test_random_steps_really_compiled(monkeypatch):
    monkeypatch.setenv("TINYRNN_COMPILE", "1")
    assert counted(5)["compiled"] >= 1


def test_with_the_referee_the_result_is_always_right(monkeypatch):
    monkeypatch.setenv("TINYRNN_REFEREE", "always")
    counted(30)


def test_a_case_is_a_script_that_runs(tmp_path):
    script = tmp_path / "case.py"
    script.write_text(random_steps.source(EACH["closure 7"]), encoding="utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "differs by" in done.stdout, done.stderr


def test_a_wrong_result_is_found_and_shrunk(monkeypatch):
    """A gradient of the eager loop is made wrong for steps with a certain instruction: the case is reduced to
    that one.
    """
    compare = random_steps.difference
    wrong = random_steps.Case(
        recipe=(("unary", 0, 0, 0), ("closure", 0, 7, 0), ("product", 0, 0, 0)), mask=True, steps=4
    )

    def difference(found, expected, tolerance):
        closes_over_two = sum(name.startswith(("gradient of c", "gradient of k")) for name in expected) >= 2
        return (
            "made wrong" if closes_over_two and found is not expected else compare(found, expected, tolerance)
        )

    monkeypatch.setattr(random_steps, "difference", difference)
    monkeypatch.setattr(random_steps, "NOISE", {"float64": ()})
    with pytest.raises(random_steps.Wrong, match="made wrong"):
        random_steps.check(wrong)
    least = random_steps.shrunk(wrong)
    assert least.recipe == (("closure", 0, 7, 0),) and not least.mask and least.steps == 2


def test_the_command_line():
    file = Path(random_steps.__file__)
    command = [sys.executable, file, "--count", "15", "--python"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=file.parents[1])
    assert done.returncode == 0 and done.stdout.rstrip().endswith("of 15"), done.stdout + done.stderr
