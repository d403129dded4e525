"""docs/tasks.md and the pages of the tasks: their commands run, on small data of the same form, and their
Python blocks too.
"""

import gzip
import importlib
import re
import shlex
import wave
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tinyrnn.cli import main
from tinyrnn.tasks.classify.options import OF_TEXTS
from tinyrnn.training.task import TASKS, get_task

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TEXT = (DOCS / "tasks.md").read_text(encoding="utf-8")
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((DOCS / "tasks").glob("*.md"))}
SHORT = ["--hidden", "8", "--steps", "2", "--layers", "1"]


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Every file that the page names, small."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    good, bad = "a lovely warm film .\n", "an awful cold bore .\n"
    rows = [(text.strip(), label) for text, label in ((good, "pos"), (bad, "neg")) for _ in range(20)]
    Path("reviews.csv").write_text(
        "id,text,label\n" + "".join(f"{i},{t},{y}\n" for i, (t, y) in enumerate(rows))
    )
    Path("fasttext.txt").write_text("".join(f"__label__{y} {t}\n" for t, y in rows))
    Path("notes.tsv").write_text("".join(f"{y}\t{t}\n" for t, y in rows))
    Path("topics.csv").write_text("text,label\n" + "".join(f'{t},"{y}, all"\n' for t, y in rows))
    Path("flags.csv").write_text("text,funny,sad\n" + "".join(f"{t},1,{int(y == 'neg')}\n" for t, y in rows))
    for label, text in (("spam", good), ("ham", bad)):
        (Path("mails") / label).mkdir(parents=True)
        for i in range(10):
            (Path("mails") / label / f"{i}.txt").write_text(text)
    Path("new-reviews.csv").write_text(
        "text,label\n" + "".join("a dull film,neg\na so so film,none\na gem,pos\n" for _ in range(20))
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
    novel = " ".join(f"word{n % 90 * (n % 7)}" for n in range(2000))
    Path("novel.txt").write_text(novel)
    Path("novel.txt.gz").write_bytes(gzip.compress(novel.encode()))
    for name, content in {"1.txt": novel, "2.txt": novel, "cover.png": "\0"}.items():
        Path("chapters").mkdir(exist_ok=True)
        (Path("chapters") / name).write_text(content)
    for i in range(30):
        label, index = i % 10, i // 10
        for speaker in ("ann", "theo"):
            sound = np.sin(np.arange(1600) * (0.1 + 0.2 * label)) + 0.1 * random.standard_normal(1600)
            path = Path("spoken-digits", f"{label}_{speaker}_{index}.wav")
            path.parent.mkdir(exist_ok=True)
            with wave.open(str(path), "wb") as file:
                file.setparams((1, 2, 8000, 0, "NONE", ""))
                file.writeframes((8000 * sound).astype("<i2").tobytes())
    rows = [(i, t, *random.standard_normal(2), "up down".split()[i % 2]) for i in range(20) for t in range(5)]
    Path("gestures.csv").write_text(
        "gesture,t,x,y,move\n" + "".join(f"{','.join(map(str, r))}\n" for r in rows)
    )
    x, part = random.standard_normal((20, 6, 3)), np.repeat(["train", "test"], 10)
    np.savez("vowels.npz", x=x, lengths=random.integers(3, 7, 20), y=np.arange(20) % 2, part=part)
    Path("english-french.tsv").write_text(
        "".join(f"I see {n} cats .\tJe vois {n} chats .\n" for n in range(40))
    )
    Path("phrases.csv").write_text(
        "English,French\n" + "".join(f'"Well, {n}","Bon, {n}"\n' for n in range(40))
    )
    for name, word in {"corpus.en": "see", "corpus.fr": "vois", "corpus2.fr": "regarde"}.items():
        Path(name).write_text("".join(f"{word} {n}\n" for n in range(40)))
    said = "{} B-PER\nmet O\nBo B-PER\nin O\nRome B-LOC\n. O\n\n"
    Path("names.conll").write_text("".join(said.format(name) for name in ("Ann", "Cy", "Di") * 8))
    if "tag" not in TASKS.installed:  # the package beside this one
        monkeypatch.syspath_prepend(ROOT / "plugins" / "tinyrnn-tag")
        monkeypatch.setattr(TASKS, "own", dict(TASKS.own))
        TASKS.register("tag", importlib.import_module("tinyrnn_tag").Tagging, "this test")
        choice = next(p.type for p in main.get_command(None, "train").params if p.name == "task")
        monkeypatch.setattr(choice, "choices", [*choice.choices, "tag"])
    return tmp_path


@pytest.mark.parametrize(
    "name", ["classify", "classify, numbers", "classify, sound", "forecast", "translate"]
)
def test_the_defaults_of_each_task_are_told(name):
    """Those that differ from what language models have."""
    row = next(line for line in TEXT.splitlines() if line.startswith(f"| {name} | "))
    name, _, kind = name.partition(", ")
    task, usual = get_task(name).on((), {"inputs": kind} if kind else {}), get_task("lm")
    own, shared = task.options.rules(), usual.options.rules()
    values = {k: own[k].default for k in own if k in shared and own[k].default != shared[k].default}
    values |= {k: v for k, v in task.plan.entries().items() if v not in (None, getattr(usual.plan, k))}
    values = {k: v for k, v in values.items() if not (kind and k in OF_TEXTS)}
    told = dict(part.lstrip("-").split(" ") for part in re.findall(r"`(.*?)`", row))
    assert told == {k.replace("_", "-"): v if isinstance(v, str) else f"{v:g}" for k, v in values.items()}


def test_every_task_has_its_page():
    assert PAGES.keys() == {"lm", "classify", "forecast", "translate", "tag"}
    for name, page in PAGES.items():
        assert f"](tasks/{name}.md)" in TEXT and f"`--task {name}`" in page.splitlines()[0]


def told(line, following):
    """What a command of a page is shown to print, up to the next command or what is left out."""
    shown = re.match(r"((?!\$ |\.\.\.).*\n)*", following)[0]
    return [s for s in shown.splitlines() if s.strip()]


@pytest.mark.parametrize("name", [*PAGES, "tasks"])
def test_commands_and_blocks_run(data, name):
    page, ran = PAGES.get(name, TEXT), 0
    for block in re.finditer(r"```(console|python)\n(.*?)```", page, re.DOTALL):
        if block[1] == "python":
            exec(compile(block[2], f"docs/tasks/{name}.md", "exec"), {})
            ran += 1
            continue
        for line in re.finditer(r"^\$ tinyrnn (.*)\n", block[2], re.MULTILINE):
            arguments = shlex.split(line[1].replace("--seed S", "--seed 0"))
            result = CliRunner().invoke(
                main, [*arguments, *(SHORT if arguments[0] in ("train", "compare") else [])]
            )
            assert result.exit_code == 0, f"{line[1]}\n{result.output}"
            for said in told(line[1], block[2][line.end() :]):
                if re.match(
                    r"[\w.]+( and [\w.]+)?: \d|folder ", said
                ):  # of what was read; figures are of other data
                    assert said in result.output.replace(f"{data}/", ""), said
            ran += 1
    assert ran > 0
