"""Write docs/options.md, the options of `tinyrnn train`, from their dataclasses. With --check: exit 1 if it
is not current.
"""

import sys
from pathlib import Path

from tinyrnn.base.options import Rule, flag_of
from tinyrnn.training.plan import Place, Plan
from tinyrnn.training.task import TASKS, TaskOptions

PAGE = Path(__file__).with_name("options.md")
HEAD = """# Options of training

Made by `python docs/make_options.py`. The same dataclasses give the flags of `tinyrnn train`, the keywords of
`tr.train` (with `_` for `-`), the entries of a `--config` file and of a run's `config.json`, and the checks of
their values. In the command a task's own options are shown by `tinyrnn train --task NAME --help`.

## A configuration file

`tinyrnn train text.txt --config small.toml` takes options from a TOML file. Keys are options without their dashes (`seq-len` or
`seq_len`); what the command line says comes before it. The lines may stand under `[train]`, beside the tables of other programs.

```toml
task = "lm"
cell = "lstm"
cell-opt = { peephole = true }
hidden = 128
layers = 1
minutes = 3
```
"""


def row(name: str, rule: Rule, default) -> str:
    """A line of a table."""
    values = (
        " ".join(f"`{c}`" for c in rule.choices)
        or {bool: "yes or no", str: "text"}.get(rule.kind)
        or rule.wanted.removeprefix("it must be ")
    )
    shown = (
        ""
        if default in (None, ())
        else {True: "yes", False: "no"}.get(default, default)
        if isinstance(default, bool)
        else default
    )
    return f"| `{flag_of(name)}` | {values} | {shown} | {rule.help.replace('|', '/')} |"


def table(rules: dict[str, Rule], defaults=None, chosen=()) -> list[str]:
    """Of options; ``defaults``: an object that has them as attributes; ``chosen``: those that a task chooses."""
    lines = ["| option | values | default | |", "|---|---|---|---|"]
    for name, rule in rules.items():
        default = getattr(defaults, name) if defaults else rule.default
        lines.append(row(name, rule, "by text and time" if name in chosen else default))
    return lines


def page() -> str:
    """The whole of it."""
    lines = [HEAD, "## Of every task", "", *table(TaskOptions.rules()), "", *table(Plan.rules())]
    lines += ["", "Not stored with a run:", "", *table(Place.rules())]
    for name, entry in TASKS.registered().items():
        if entry.package != "tinyrnn":
            continue
        task, plan = entry.load(), Plan.rules()
        shared = TaskOptions.rules()
        own = {
            k: r
            for k, r in task.options.rules().items()
            if k not in shared or r.default != shared[k].default or k in task.chosen
        }
        changed = {k: plan[k] for k in plan if getattr(task.plan, k) != plan[k].default or k in task.chosen}
        lines += [
            "",
            f"## `--task {name}`",
            "",
            *table(own, chosen=task.chosen),
            "",
            "The plan where nothing else is said:",
            "",
        ]
        lines += table(changed, task.plan, task.chosen)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")
