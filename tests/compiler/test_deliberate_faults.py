"""The test of the tests: faults are put into a copy of the compiler, one at a time, and each must be found.

Most by random recurrences, without the referee; those that no recurrence can show, by the tests of findings.
With the referee
a fault must cost speed, never truth: the same recurrences are then right.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# name: (file, what stands there, the fault (several of both: at once); how it is found: random recurrences,
# or a selection of test_compiler_findings)
FAULTS = {
    "two sums have one name": ("save", 'f"{word}{next(self._names)}"', 'f"{word}0"', None),
    "a factor is taken from one step": ("save", 'frozenset({"time", "old", "new"})', 'frozenset({"time", "old", "new", "batch"})', None),
    "a column is read as a row": ("read", 'role = "b" if "b" in here else', 'role = "f" if back == 1 and "b" in here else', None),
    "what is off the tape is frozen": ("record", "        if touched or (", "        if touched and (", None),
    "the size of the batch is not seen": (
        "record",
        ("if not reach.asks_size:", "return same and whole.numbers == other.numbers and"),
        ("if True:", "return same and"),
        None,
    ),
    "detach is lost": ("read", "return Read(aliased(Kind.DETACH, x.value), x.axes)", "return x", None),
    "detach is lost outside of the loop": ("targets/tensor", "lambda self, v, x: x.detach()", "lambda self, v, x: x", None),
    "a gradient is laid out otherwise": ("run", 'np.array(g.data, order="C")', "np.array(g.data)", None),
    "one row for the batch is taken for rows": ("read", '"1" if n == 1 else role for', '"1" if n == 1 and role != "b" else role for', None),
    "outputs are views": ("run", "[0 if self.reverse else T].copy()", "[0 if self.reverse else T]", "changed"),
    "outputs may change": ("run", "if any(version[0] > number", "if False and any(version[0] > number", "changed"),
    "hooks are baked in": ("plan", ", hooks=False)", ")", "hook"),
    "flags have two axes": ("scan", "return flag if state.ndim == 2 else", "return flag if state.ndim else", "axes"),
    "numbers are those of the program": ("run", "loop.all_numbers(self.numbers)", "loop.all_numbers([0.123] * len(self.numbers))", None),
    "a slice of what is joined": ("rewrite", "self.cut(p, max(first - a, 0)", "self.cut(p, max(a - first, 0)", None),
    "gradients of slices overlap": ("rewrite", "for other in here[1:]:", "for other in here[2:]:", None),
    "rows of the batch are hoisted": ("plan", "if product and not any(_is_held(u) for u in order([v])):", "if product:", None),
    "a stream of its own table": ("run", "a.reshape(ids.size, -1), ids.reshape(-1)", "a.reshape(ids.size, -1), ids.reshape(-1)[::-1]", None),
    "the first step in reverse": ("run", '(place.kind == "new") != self.reverse', 'place.kind == "new"', None),
    "carried on the wrong way": ("scan", "where(_flag(live, s), n, s)", "where(_flag(live, s), s, n)", "mask"),
    "one gradient too few": ("plan", "sources = [Source.GRAD, Source.GRAD_OUTPUT][: 1 + (k in outputs)]", "sources = [Source.GRAD]", None),
    "a product is read at once": ("schedule", "stage, turn = stage + 1, 0", "stage, turn = stage, turn + 1", None),
    "casts are dropped": (  # two checks refuse them
        ("read", "record"),
        ('if dtype.kind in "iu" and was.kind == "f":', "    _refuse_other_values(whole)\n    before, seen"),
        ("if False:", "    before, seen"),
        None,
    ),
}  # fmt: skip
QUICK = ("gradients of slices overlap",)

SEARCH = """
import sys
sys.path.insert(0, {tests!r})
import hypothesis, random_steps

@hypothesis.seed(0)
@hypothesis.settings(
    max_examples=int(sys.argv[1]), database=None, deadline=None, phases=[hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck), report_multiple_bugs=False,
)
@hypothesis.given(random_steps.cases())
def search(case):
    random_steps.check(case)

try:
    for _, case in random_steps.each_once():
        random_steps.check(case)
    search()
except random_steps.Wrong as wrong:  # the first that is found will do
    print("found:", str(wrong)[:200])
    sys.exit(1)
"""


@pytest.fixture
def faulty(tmp_path):
    """A function that makes a copy of the package with one fault in it, and returns the environment that
    imports it.
    """

    def make(name):
        files, before, after, _ = FAULTS[name]
        shutil.copytree(ROOT / "tinyrnn", tmp_path / "tinyrnn", ignore=shutil.ignore_patterns("__pycache__"))
        before, after = [(x,) if isinstance(x, str) else x for x in (before, after)]
        files = (files,) * len(before) if isinstance(files, str) else files
        for file, what, fault in zip(files, before, after, strict=True):
            path = tmp_path / "tinyrnn" / "compiler" / f"{file}.py"
            text = path.read_text(encoding="utf-8")
            assert text.count(what) == 1, f"{what!r} stands {text.count(what)} times in {file}.py"
            path.write_text(text.replace(what, fault), encoding="utf-8")
        return os.environ | {"PYTHONPATH": str(tmp_path), "TINYRNN_COMPILE": "python", "TINYRNN_REFEREE": "0"}

    return make


def search(environment, count):
    command = [
        sys.executable,
        "-W",
        "ignore::UserWarning",
        "-c",
        SEARCH.format(tests=str(ROOT / "tests")),
        str(count),
    ]
    # Not where the package itself lies: the copy is to be imported.
    return subprocess.run(
        command, env=environment, cwd=environment["PYTHONPATH"], capture_output=True, text=True, timeout=1200
    )


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in FAULTS]
)
def test_a_deliberate_fault_is_found(name, faulty, tmp_path):
    environment, selection = faulty(name), FAULTS[name][3]
    if selection is None:
        done = search(environment, 400)
    else:
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            "-k",
            f"({selection}) and no",
            "-m",
            "slow or not slow",
        ]
        command += [
            str(Path(__file__).with_name("test_compiler_findings.py")),
            "-c",
            str(ROOT / "pyproject.toml"),
        ]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=1200
        )
    assert done.returncode == 1, f"{name} was not found\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


RIGHT = """
import sys, warnings
sys.path.insert(0, {tests!r})
import random_steps
warnings.simplefilter("ignore")
for name, case in list(random_steps.each_once())[::6]:
    step = {{}}
    exec(random_steps.source(case), step)
    for call in step["CALLS"]:
        problem = random_steps.difference(step["run"](True, *call), step["run"](False, *call), 1e-3)
        assert problem is None, (name, call, problem)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [n for n, fault in FAULTS.items() if fault[0] in ("save", "rewrite", "schedule", "run")]
)
def test_with_the_referee_a_fault_costs_speed_alone(name, faulty):
    """What the compiler gets wrong runs eagerly: every value and gradient is right."""
    environment = faulty(name) | {"TINYRNN_REFEREE": "first"}
    command = [sys.executable, "-c", RIGHT.format(tests=str(ROOT / "tests"))]
    done = subprocess.run(
        command, env=environment, cwd=environment["PYTHONPATH"], capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stderr[-2000:]
