"""docs/tasks.md: its commands run, on small data of the same form, and its Python blocks too."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tinyrnn.cli import main
from tinyrnn.training.task import get_task

TEXT = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
SECTIONS = re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]
SHORT = ["--hidden", "8", "--steps", "2", "--layers", "1"]


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Every file that the page names, small."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    good, bad = "a lovely warm film .\n", "an awful cold bore .\n"
    Path("reviews.csv").write_text(
        "text,label\n" + "".join(f"{good.strip()},pos\n{bad.strip()},neg\n" for _ in range(20))
    )
    for folder, files in {
        "rt-polarity": ("rt.pos", "rt.neg"),
        "names": ("Italian.txt", "Korean.txt"),
    }.items():
        Path(folder).mkdir()
        for name, line in zip(files, (good, bad), strict=True):
            (Path(folder) / name).write_text(line * 20, encoding="latin-1")
    months, days = np.datetime64("1990-01") + np.arange(144), np.datetime64("2020-01-01") + np.arange(400)
    values = np.exp(
        np.arange(144) / 50 + np.sin(np.arange(144) * np.pi / 6) / 4 + 0.02 * random.standard_normal(144)
    )
    Path("airline-passengers.csv").write_text(
        "Month,Passengers\n" + "".join(f"{d},{v}\n" for d, v in zip(months, values, strict=True))
    )
    rows = zip(days, *random.standard_normal((2, 400)), strict=True)
    Path("weather.csv").write_text("date,temp_max,wind\n" + "".join(f"{d},{a},{b}\n" for d, a, b in rows))
    shops = [(d, shop, random.poisson(9), i % 3 // 2) for shop in "ab" for i, d in enumerate(days[:97])]
    Path("shops.csv").write_text(
        "date,shop,sales,promo\n" + "".join(f"{d},{s},{v},{p}\n" for d, s, v, p in shops[:90] + shops[97:187])
    )
    Path("promotions.csv").write_text(
        "date,shop,promo\n" + "".join(f"{d},{s},{p}\n" for d, s, _, p in shops[90:97] + shops[187:])
    )
    dates = [f"{d}/{m}/{y}" for d, m, y in random.integers(10, 20, (60, 3))]
    Path("dates.txt").write_text("".join(f"{d:12}_{'-'.join(d.split('/')[::-1])}\n" for d in dates))
    Path("novel.txt").write_text(" ".join(f"word{n % 90 * (n % 7)}" for n in range(2000)))
    Path("english-french.tsv").write_text(
        "".join(f"I see {n} cats .\tJe vois {n} chats .\n" for n in range(40))
    )
    return tmp_path


@pytest.mark.parametrize("name", ["classify", "forecast", "translate"])
def test_the_defaults_of_each_task_are_told(name):
    """Those that differ from what language models have."""
    row = next(line for line in TEXT.splitlines() if line.startswith(f"| {name} | "))
    task, usual = get_task(name), get_task("lm")
    own, shared = task.options.rules(), usual.options.rules()
    values = {k: own[k].default for k in own if k in shared and own[k].default != shared[k].default}
    values |= {k: v for k, v in task.plan.entries().items() if v not in (None, getattr(usual.plan, k))}
    told = dict(part.lstrip("-").split(" ") for part in re.findall(r"`(.*?)`", row))
    assert told == {k.replace("_", "-"): v if isinstance(v, str) else f"{v:g}" for k, v in values.items()}


@pytest.mark.parametrize(
    "section", SECTIONS, ids=[s.split("\n")[0].split(":")[0].replace(" ", "-") for s in SECTIONS]
)
def test_commands_and_blocks_run(data, section):
    ran = 0
    for block in re.findall(r"```console\n(.*?)```", section, re.DOTALL):
        for line in re.findall(r"^\$ tinyrnn (.*)$", block, re.MULTILINE):
            arguments = shlex.split(line.replace("--seed S", "--seed 0"))
            result = CliRunner().invoke(main, [*arguments, *(SHORT if arguments[0] == "train" else [])])
            assert result.exit_code == 0, f"{line}\n{result.output}"
            ran += 1
    for block in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
        exec(compile(block, "docs/tasks.md", "exec"), {})
        ran += 1
    assert ran > 0
