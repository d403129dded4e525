"""`tinyrnn.tools.check` and ``tinyrnn check``: good cells pass, and each check finds what it is there to
find.
"""

import json
import re
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import tinyrnn as tr
from tinyrnn.cli import main
from tinyrnn.compiler import referee, run
from tinyrnn.compiler.ir import Source
from tinyrnn.compiler.targets import numba as numba_target
from tinyrnn.nn import registry as plugins
from tinyrnn.tools import check as testing


class Elman(tr.Cell):
    """A good cell, to be spoilt."""

    states = ("h",)

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size)

    def step(self, x, h):
        return tr.tanh(x @ self.W + h @ self.U + self.b)


class Listed(Elman):
    def build(self, input_size, hidden_size):
        super().build(input_size, hidden_size)
        self.gains = [self.bias(hidden_size, init=1.0)]
        self.more = {"shift": self.bias(hidden_size)}

    def step(self, x, h):
        return super().step(x, h) * self.gains[0] + self.more["shift"]


class TooMany(Elman):
    def step(self, x, h):
        return super().step(x, h), h


class WrongShape(Elman):
    def step(self, x, h):
        return super().step(x, h)[:, :2]


wrong_tanh = tr.custom_vjp(tr.tanh)
wrong_tanh.defvjp(lambda x: (tr.tanh(x), x), lambda x, g: (0.9 * g * (1 - tr.tanh(x) ** 2),))


class WrongGradient(Elman):
    def step(self, x, h):
        return wrong_tanh(x @ self.W + h @ self.U)


class Unsaved(Elman):
    def build(self, input_size, hidden_size):
        super().build(input_size, hidden_size)
        self.gain = float(self.W.numpy().sum())

    def step(self, x, h):
        return super().step(x, h) * self.gain


class Random(Elman):
    def step(self, x, h):
        return super().step(x, h) + np.random.standard_normal()


class Huge(Elman):
    def step(self, x, h):
        return 50.0 + h + super().step(x, h)


class Deaf(Elman):
    def step(self, x, h):
        return h * self.b + 0.0 * (x @ self.W + h @ self.U)


class Exploding(Elman):
    def step(self, x, h):
        return h * 1.2 + x @ self.W + 0.0 * (h @ self.U + self.b)


class Raising(Elman):
    def step(self, x, h):
        raise KeyError("gone")


class Ranked(Elman):
    def step(self, x, h):
        return tr.tanh(x @ self.W + tr.sort(h @ self.U, axis=-1) * 0.1 + self.b)


@pytest.mark.parametrize(
    ("check", "cell", "said"),
    [
        ("states", TooMany, "returned 2 states"),
        ("states", WrongShape, r"step returned state 0 as \[3, 2\], it was given as \[3, 6\]"),
        ("states", Raising, "KeyError"),
        ("gradients", WrongGradient, "order 1"),
        ("saving", Unsaved, "keep every weight"),
        ("determinism", Random, "differ"),
        ("first loss", Huge, "initial states grow too large"),
        ("tiny text", Deaf, "it should be below"),
        ("long memory", Exploding, "it explodes"),
    ],
)
def test_what_is_wrong_is_found(check, cell, said):
    result = testing.run_check(check, cell, {})
    assert not result.passed
    assert re.search(said, result.detail), result.detail


class Summing(Elman):
    """Whose state is a sum of all that it ever read."""

    def step(self, x, h):
        return h + tr.tanh(x @ self.W + self.b + 0.0 * (h @ self.U))


def test_what_states_that_grow_are_trained_with():
    for cell, grows in ((Elman, False), (Summing, True)):
        result = testing.run_check("carried state", cell, {})
        assert result.passed and ("train it with --state reset" in result.detail) == grows, result.detail


def test_an_eager_cell_passes_and_says_why_it_is_eager():
    result = testing.run_check("compiled", Ranked, {})
    assert result.passed and result.detail.startswith("runs eagerly: the op argsort has no compiled form: ")
    assert re.search(r"\(argsort of \[\d, \d\] in `.*sort.*`, test_testing.py:\d+\)$", result.detail)


def test_a_step_that_the_compiler_gets_wrong_is_no_fault_of_the_cell(monkeypatch):
    forward = run.Runner._forward

    def wrong(self, *arguments):
        outs, memory = forward(self, *arguments)
        return [outs[0] + 1e-6, *outs[1:]], memory

    monkeypatch.setattr(run.Runner, "_forward", wrong)
    caught = testing.run_check("compiled", Elman, {})  # by the referee: the step runs eagerly, and is right
    assert caught.passed and "because of a fault of tinyrnn's compiler, not of the step" in caught.detail
    assert testing.run_check("gradients", Elman, {}).passed
    scan = sys.modules["tinyrnn.compiler.scan"]
    scan._plans.clear()
    scan._programs.clear()
    monkeypatch.setenv("TINYRNN_REFEREE", "0")
    result = testing.run_check("compiled", Elman, {})
    assert not result.passed and "a fault of tinyrnn's compiler, not of this cell" in result.detail
    scan._plans.clear()
    scan._programs.clear()


FORMS = {  # of a recurrence: told by the inputs beside x and the states
    "plain": lambda plan, flags, held: not flags and not plan.tables,
    "mask": lambda plan, flags, held: flags == 1 and not held,
    "resets": lambda plan, flags, held: flags == 1 and held,
    "mask and resets": lambda plan, flags, held: flags == 2,
    "rows of a table": lambda plan, flags, held: bool(plan.tables),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_fault_of_the_compiler_in_one_form_is_found(form, monkeypatch):
    backward, faults = run.Runner.backward, []

    def wrong(self, gs, memory):
        gradients = backward(self, gs, memory)
        sources = [at.source for at in self.slots]
        flags = sum(at.source is Source.X and at.index > 0 for at in self.slots)
        if FORMS[form](self.plan, flags, Source.HELD in sources):
            faults.append(numba_target.mode())
            gradients[0] = gradients[0] * (1 + 1e-6)
        return gradients

    monkeypatch.setenv("TINYRNN_REFEREE", "0")
    monkeypatch.setattr(run.Runner, "backward", wrong)
    result = testing.run_check("compiled", Elman, {})
    assert not result.passed and "a fault of tinyrnn's compiler, not of this cell" in result.detail
    assert set(faults) == {"numba" if form in ("plain", "mask and resets") else "python"}


def test_what_all_checks_compile(monkeypatch):
    """Two pairs of loops of the cell and one of lstm, of one precision: more would take long."""
    compiled, seen = numba_target.compiled, {}

    def compiling(module, loops, dtype, name):
        if numba_target.mode() == "numba":
            seen[module.__name__] = name, str(dtype)
        return compiled(module, loops, dtype, name)

    monkeypatch.setattr(numba_target, "compiled", compiling)
    assert all(r.passed for r in testing.check_cell(Elman))
    assert sorted(seen.values()) == [("elman", "float64")] * 2 + [("lstm", "float64")]


def test_what_was_checked_interpreted_is_checked_again_compiled(monkeypatch):
    check, modes = referee.check, []
    monkeypatch.setattr(referee, "check", lambda *a, **k: (modes.append(numba_target.mode()), check(*a, **k)))
    rnn, xs = tr.RNN(Elman, 3, 4, dtype="float64", seed=0), np.ones((3, 2, 3))
    with numba_target.interpreted():
        interpreted = rnn(xs)[0].numpy()
    assert np.allclose(rnn(xs)[0].numpy(), interpreted, atol=1e-12)
    assert modes == ["python", "numba"]


test_of_a_package = testing.cell_suite(Elman)


class Noisy(Elman):
    def step(self, x, h):
        return super().step(x, h) + 0.1 * tr.randn_like(h)


@pytest.mark.parametrize("check", ["states", "gradients", "masks and resets", "saving", "determinism"])
def test_a_cell_that_draws_random_numbers_is_checked(check):
    """The runs that are compared draw the same; a mistake is found as in any other cell."""
    result = testing.run_check(check, Noisy, {})
    assert result.passed, result.detail

    class Detached(Noisy):
        def step(self, x, h):
            return super().step(x.detach(), h)

    if check == "gradients":
        assert not testing.run_check(check, Detached, {}).passed


class Unused(Elman):
    def build(self, input_size, hidden_size):
        super().build(input_size, hidden_size)
        self.spare = self.bias(hidden_size)


@pytest.mark.parametrize("check", ["gradients", "compiled", "saving", "determinism"])
def test_a_parameter_that_the_step_does_not_use(check):
    assert testing.run_check(check, Unused, {}).passed


@pytest.mark.parametrize("check", ["gradients", "compiled", "saving"])
def test_parameters_in_lists_and_dicts(check):
    assert testing.run_check(check, Listed, {}).passed


def test_gradients_that_are_surrogates_are_said_and_not_compared():
    class Said(WrongGradient):
        surrogate_gradient = True

    assert not testing.run_check("gradients", WrongGradient, {}).passed
    result = testing.run_check("gradients", Said, {})
    assert result.passed and "surrogates" in result.detail


@pytest.mark.parametrize("name", plugins.registered())
def test_registered_cells_pass(name):
    result = CliRunner().invoke(main, ["check", name, "--json"])
    found = json.loads(result.stdout)
    assert result.exit_code == 0 and found["passed"], found
    assert [c["name"] for c in found["checks"]] == list(testing.CHECKS)
    assert "compiled, and equal" in found["checks"][2]["detail"]


def test_a_failing_cell_ends_with_code_1(monkeypatch):
    monkeypatch.setattr(plugins, "get_cell", lambda name: WrongShape)  # whatever its name
    result = CliRunner().invoke(main, ["check", "mine"])
    assert result.exit_code == 1 and "FAILED  states" in result.stdout and "mine fails" in result.stdout


def test_bad_arguments():
    for arguments, said in ((["gruu"], "did you mean gru?"), (["gru", "--cell-opt", "x"], "NAME=VALUE")):
        result = CliRunner().invoke(main, ["check", *arguments])
        assert result.exit_code == 2 and said in result.stderr
