"""Options: one check of every value, whichever way it comes in."""

import inspect
import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Literal

import pytest
from click.testing import CliRunner

import tinyrnn as tr
from tinyrnn.base.errors import InputError
from tinyrnn.base.options import Options, flag_of, option
from tinyrnn.base.plugins import Entry
from tinyrnn.cli import main
from tinyrnn.nn.registry import CELLS
from tinyrnn.training.experiments import Configuration
from tinyrnn.training.plan import Plan
from tinyrnn.training.task import TASKS, Task, TaskOptions

CLASSES = [Plan, *(entry.load().options for entry in TASKS.registered().values())]
NUMBERS = [(cls, name) for cls in CLASSES for name, rule in cls.rules().items() if rule.kind in (int, float)]


@dataclass(frozen=True, kw_only=True)
class Example(Options):
    """One of each kind."""

    width: int = option(3, "A width.", "Group", low=1)
    part: float = option(0.5, "A part.", "Group", low=0, high=1, open_low=True, open_high=True)
    maybe: float | None = option(None, "Perhaps.", "Group")
    kind: Literal["a", "b"] = option("a", "A choice.", "Group")
    names: tuple[str, ...] = option((), "Several.", "Group")
    wanted: bool | None = option(None, "Yes or no.", "Group")


@pytest.mark.parametrize(("given", "said"), [
    (dict(width=0), "width is 0: it must be an integer of at least 1"),
    (dict(width=1.5), "an integer"),
    (dict(width="3"), "an integer"),
    (dict(width=True), "an integer"),
    (dict(width=None), "an integer"),
    (dict(part=1), "above 0 and below 1"),
    (dict(part=math.nan), "part is nan: it must be a finite number"),
    (dict(maybe=math.inf), "a finite number"),
    (dict(maybe=[1]), "a finite number"),
    (dict(kind="c"), "kind is 'c': use one of a, b"),
    (dict(kind=None), "use one of a, b"),
    (dict(names=[3]), "a text"),
    (dict(wanted=1), "true or false"),
])  # fmt: skip
def test_what_is_refused(given, said):
    with pytest.raises(InputError, match=said):
        Example(**given)


def test_another_default_alone_keeps_the_rule():
    @dataclass(frozen=True, kw_only=True)
    class Wider(Example):
        width: int = 9
        names: tuple[str, ...] = ("x",)

    old, new = Example.rules(), Wider.rules()
    assert Wider().entries() == Example().entries() | dict(width=9, names=["x"])
    assert new == old | dict(width=old["width"].with_default(9), names=old["names"].with_default(("x",)))
    with pytest.raises(InputError, match="width is 0: it must be an integer of at least 1"):
        Wider(width=0)


def test_values_get_their_type():
    made = Example(width=4.0, part=0.25, maybe=2, names={"x": True, "y": 0.5}, wanted=False)
    assert made.entries() == dict(
        width=4, part=0.25, maybe=2.0, kind="a", names=["x=true", "y=0.5"], wanted=False
    )
    assert type(made.width) is int
    assert type(made.maybe) is float
    assert Example.of(made.entries() | {"something": "else", "kind": None}) == made


@pytest.mark.parametrize(("cls", "name"), NUMBERS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "x", [1]])
def test_no_number_may_be_infinite_or_no_number(cls, name, value):
    with pytest.raises(InputError, match=name):
        cls(**{name: value})


@pytest.mark.parametrize("task", TASKS.registered())
def test_the_command_refuses_what_the_dataclass_refuses(task):
    kind = TASKS.entry(task).load().options
    for name, rule in {**kind.rules(), **Plan.rules()}.items():
        if rule.kind in (int, float):
            arguments = ["train", "none", "--task", task, f"--{name.replace('_', '-')}", "nan"]
            result = CliRunner().invoke(main, arguments)
            assert result.exit_code == 2, name
            assert rule.wanted in " ".join(result.output.split()), name


@pytest.mark.parametrize("task", TASKS.registered())
def test_every_option_is_a_flag_with_help(task):
    page = " ".join(CliRunner().invoke(main, ["train", "--task", task, "--help"]).output.split())
    kind = TASKS.entry(task).load().options
    for name, rule in {**kind.rules(), **Plan.rules()}.items():
        assert f"{flag_of(name)} " in page
        assert rule.help
    other = {n for t in TASKS.registered() for n in TASKS.entry(t).load().options.rules()} - set(kind.rules())
    for name in other:
        assert f"--{name.replace('_', '-')} " not in page


def test_an_option_of_another_task_has_no_effect_and_that_is_said():
    result = CliRunner().invoke(main, ["train", "none.csv", "--task", "forecast", "--tie", "--embed", "7"])
    assert "--tie has no effect: it is an option of other tasks than forecast" in result.output
    assert "--embed has no effect" in result.output


def test_what_has_an_effect_is_taken(tmp_path):
    """By another value of the run that goes on, by a default of the task, and of targets."""
    (tmp_path / "a.txt").write_text("a bad cab, a dab\n" * 60)
    small = dict(hidden=8, embed=4, layers=1, batch_size=4, seq_len=20, quiet=True)
    run = tr.train(tmp_path / "a.txt", out=tmp_path / "run", schedule="exponential", epochs=1, **small)
    assert run.resume(gamma=0.4, epochs=2, quiet=True).options["gamma"] == 0.4
    with pytest.raises(tr.InputError, match="gamma= has no effect without schedule='exponential'"):
        tr.train(tmp_path / "a.txt", out=tmp_path / "wsd", steps=1, **small).resume(gamma=0.9)
    texts = [str(tmp_path / "a.txt")]
    assert Configuration.make("classify", texts, {"min_steps": 5}).plan.min_steps == 5
    Configuration.make("translate", texts, {"level": "byte", "target_level": "word", "vocab_size": 20})
    Configuration.make("lm", texts, {"level": "byte", "vocab_size": None})


def test_what_all_tasks_share_is_shared():
    for entry in TASKS.registered().values():
        assert issubclass(entry.load().options, TaskOptions)


@pytest.mark.parametrize(("text", "said"), [
    ("variational = 1", "variational is 1: it must be true or false"),
    ("hidden = '8'", "hidden is '8': it must be an integer"),
    ("threads = 1.5", "threads is 1.5: it must be an integer"),
    ("quiet = 'x'", "quiet is 'x': it must be true or false"),
    ("train = 5", "write a table"),
    ("task = 5", "unknown task '5'"),
    ("hiden = 5", "there is no option 'hiden': did you mean hidden"),
    ("[train]\nbatch-sise = 5", "there is no option 'batch_sise': did you mean batch_size"),
    ("horzion = 5", "there is no option 'horzion': did you mean horizon"),  # of another task
    ("device = 'gpu'", "device is 'gpu': use one of cpu, cuda"),
    ("out = 5", "out is 5: it must be the path of a file or folder"),
    ("val = 5", "val is 5: it must be the path of a file or folder"),
    ("cell_opt = 5", "cell_opt is 5: it must be a text"),
])  # fmt: skip
def test_a_file_of_options_is_checked_as_well(tmp_path, text, said):
    (tmp_path / "c.toml").write_text(text)
    result = CliRunner().invoke(main, ["train", "none", "--config", str(tmp_path / "c.toml")])
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


class _Broken(Task):
    options = 5


def _leaves():
    raise SystemExit(3)


@pytest.mark.parametrize(("load", "said"), [
    (lambda: _Broken, "has no options that are TaskOptions"),
    (_leaves, "cannot be imported: SystemExit"),
    (lambda: dict, "is not a subclass"),
])  # fmt: skip
def test_a_broken_task_hurts_those_alone_who_use_it(monkeypatch, load, said):
    point = SimpleNamespace(value="somewhere:Broken", load=load)
    broken = Entry(TASKS, "broken", "some-package", "1.0", (point,))
    monkeypatch.setitem(TASKS.own, "broken", broken)
    for name in ("train", "evaluate", "predict", "compare"):
        assert CliRunner().invoke(main, [name, "--help"]).exit_code == 0
    result = CliRunner().invoke(main, ["train", "--task", "broken", "x"])
    assert result.exit_code == 2
    assert said in result.output


@pytest.mark.parametrize("group", [TASKS, CELLS])
def test_what_is_broken_is_told_where_it_is_missed(monkeypatch, text_file, tmp_path, group):
    point = SimpleNamespace(value="somewhere:Broken", load=_leaves)
    monkeypatch.setitem(group.own, "broken", Entry(group, "broken", "some-package", "1.0", (point,)))
    said = f"{group.noun} 'broken' of package some-package cannot be imported: SystemExit: 3"
    small = "--hidden 8 --embed 4 --batch-size 4 --seq-len 20 --steps 1".split()
    train = ["train", str(text_file), *small, "--out"]
    pages = [["train", "--help"]] if group is TASKS else []  # a page of help imports no cell
    for arguments in (["doctor"], *pages, [*train, str(tmp_path / "a")]):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        assert " ".join(result.output.split()).count(said) == 1
    result = CliRunner().invoke(main, [*train, str(tmp_path / "b"), "--quiet"])
    assert result.exit_code == 0 and said not in result.output


@pytest.mark.parametrize("task", TASKS.registered())
def test_help_says_what_the_data_of_a_task_looks_like(task):
    page = CliRunner().invoke(main, ["train", "--task", task, "--help"]).output
    first, data = inspect.getdoc(TASKS.entry(task).load()).split("\n\n")
    assert data.startswith("Data: ")
    assert "".join(f"Task {task}: {first} {data}".split()) in "".join(page.split())  # wherever it is wrapped


def test_a_task_that_two_packages_claim(monkeypatch):
    points = (SimpleNamespace(value="a:A"), SimpleNamespace(value="b:B"))
    monkeypatch.setitem(TASKS.own, "lm", Entry(TASKS, "lm", "a and b", "1.0", points))
    result = CliRunner().invoke(main, ["train", "x"])
    assert result.exit_code == 2
    assert "is registered by a and b: uninstall all but one of them" in result.output
