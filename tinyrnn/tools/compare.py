"""Cells on equal terms: the same parameter budget, text, seeds and length for each; a table, a JSON file and
a plot.
"""

import functools
import json
import math
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..base.errors import InputError
from ..nn import registry
from ..training import experiments, pictures
from ..training.plan import LENGTHS
from ..training.runs import (
    CONFIG,
    LAST,
    RunFolder,
    clean,
    judged,
    load_tensors,
    refuse_foreign,
    write_atomically,
)

RESULT, PICTURE = "compare.json", "compare.png"


def parameters(task, facts, cell, options, hidden) -> int:
    """How many parameters a model has that differs in its cell and its width alone.

    Args:
        facts: `describe` of the model, which is of ``task``.
        cell: its name; ``options``: the cell's own.
    """
    settings = {**facts["model"], "cell": cell, "cell_options": options, "hidden": hidden}
    return sum(p.size for p in task.rebuild({**facts, "model": settings}).parameters())


def hidden_for(budget, count, name) -> int:
    """The hidden size with which a model comes nearest to ``budget`` parameters.

    Args:
        count: of parameters by hidden size; ``name``: of the cell.

    Raises:
        InputError: the smallest model has more.
    """
    low, high = 1, 2
    while count(high) < budget:
        low, high = high, 2 * high
    if count(low) > budget:
        raise InputError(
            f"{name} has {count(low):,} parameters at hidden size 1, more than {budget:,}: raise --params"
        )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) <= budget else (low, middle)
    return min(low, high, key=lambda hidden: abs(count(hidden) - budget))


def _is_complete(trainer) -> bool:
    """Whether all of its run is written: killed after the last step it leaves an older ``last.safetensors``,
    or a log without the last evaluation.
    """
    if not trainer.step or trainer.progress() < 1:
        return False
    log, last = trainer.run.read_log(), load_tensors(trainer.run.path / LAST)[1]
    return bool(log) and log[-1]["step"] == last["step"] == trainer.step


class Comparison:
    """One comparison and its folder.

    Args:
        configuration: of all runs; ``cell``, ``cell_opt``, ``hidden`` and ``seed`` are set for each.
        cells: pairs (name, options as ``NAME=VALUE`` strings).
        seeds: how many runs a cell has.
        out: the folder; runs that it holds are reused, or taken up where they stopped.
        budget: parameters of every model; None: those of the first cell at the configuration's ``hidden``.
    """

    def __init__(self, configuration, cells, seeds, out, *, budget=None, device="cpu"):
        if not cells:
            raise InputError("--cells names no cell: give several, with commas between them")
        if getattr(configuration.options, "softmax", "") == "adaptive":
            raise InputError("--softmax adaptive has other parameters than a comparison counts: leave it out")
        if "-" in configuration.texts:
            raise InputError(
                "a comparison reads its text once for every run, which standard input cannot: give a file"
            )
        names = [registry.short_name(name) for name, _ in cells]
        if twice := {n for n in names if names.count(n) > 1}:
            raise InputError(f"--cells names {twice.pop()} twice: name each cell once")
        self.configuration, self.device = configuration.decided(device), device
        self.cells, self.out = cells, Path(out)
        refuse_foreign(self.out / RESULT, RESULT)
        if not (self.out / RESULT).exists():  # then this is no picture of a comparison either
            refuse_foreign(self.out / PICTURE, PICTURE)
        self.seeds, self.budget, self.sizes, self.counts = range(seeds), budget, {}, {}
        self.diverged = set()  # folders of runs whose loss left the finite

    def runs(self, report):
        """The runs, begun or taken up in turn: yields (name, seed, trainer, done); the caller is to ``fit``
        them.
        """
        clean(self.out)
        options, task = self.configuration.options, self.configuration.task
        facts = task.build(options, self.configuration.texts).model.describe()
        for name, pairs in self.cells:
            own = registry.full_name(name), registry.read_options(name, pairs)
            count = functools.cache(functools.partial(parameters, task, facts, *own))
            if self.budget is None:
                self.budget = count(options.hidden)
            self.sizes[name] = hidden_for(self.budget, count, registry.get_cell(name).__name__)
            self.counts[name] = count(self.sizes[name])
        for seed in self.seeds:  # a comparison that is cut short has all cells on some seeds
            for name, pairs in self.cells:
                own = dict(cell=registry.full_name(name), cell_opt=pairs, hidden=self.sizes[name], seed=seed)
                configuration = replace(self.configuration, options=replace(options, **own))
                path = self._path(name, seed)
                if (path / CONFIG).exists():
                    self._refuse_other(RunFolder(path), configuration)
                    given = {**configuration.options.entries(), **configuration.plan.entries()}
                    trainer = experiments.take_up(
                        path, given, configuration.texts, report, device=self.device
                    )
                else:
                    trainer = experiments.begin(configuration, report, out=path, device=self.device)
                yield registry.short_name(name), seed, trainer, _is_complete(trainer)

    def _refuse_other(self, run, configuration):
        """InputError if a run of the folder was made with other options, or longer, than this comparison's
        are to be.
        """
        read = experiments.Configuration.read(run)
        now, before = configuration.options.entries(), read.options.entries()
        if other := [name for name in now if now[name] != before[name]]:
            name = other[0].replace("_", "-")
            raise InputError(
                f"{run.path} was trained with --{name} {before[other[0]]}, in this comparison it is "
                f"{now[other[0]]}: give the options that the folder's runs have, or another --out"
            )
        trained = read.plan
        for name in LENGTHS:
            now, before = getattr(self.configuration.plan, name), getattr(trained, name)
            if now is not None and before is not None and before > now:
                raise InputError(
                    f"{run.path} was trained for {before:g} {name}, this comparison is for {now:g}: "
                    f"give --{name} {before:g}, or another --out"
                )

    def _path(self, name, seed):
        return self.out / f"{registry.short_name(name)}-{seed}"

    def result(self) -> dict:
        """What the runs of the folder show, the best cell first; also written to ``compare.json`` and
        drawn.
        """
        rows = []
        for name, pairs in self.cells:
            runs = [RunFolder(self._path(name, seed)) for seed in self.seeds]
            logs = [run.read_log() for run in runs]
            failed = any(run.path in self.diverged for run in runs)
            best = [] if failed else [min(r["val_loss"] for r in judged(log)) for log in logs]
            speeds = [r["tokens_per_s"] for log in logs for r in log if r.get("tokens_per_s")]
            rows.append(
                {
                    "cell": registry.short_name(name),
                    "cell_opt": list(pairs),
                    "hidden": self.sizes[name],
                    "parameters": self.counts[name],
                    "val_loss": None if failed else statistics.fmean(best),
                    "val_loss_std": statistics.stdev(best) if len(best) > 1 else None,
                    "tokens_per_s": statistics.median(speeds) if speeds else None,
                    "seconds": statistics.fmean(log[-1]["seconds"] if log else 0.0 for log in logs),
                    "runs": [
                        {
                            "seed": seed,
                            "path": run.path.name,
                            "val_loss": min((r["val_loss"] for r in judged(log)), default=None),
                        }
                        for seed, run, log in zip(self.seeds, runs, logs, strict=True)
                    ],
                }
            )
        rows.sort(key=lambda row: math.inf if row["val_loss"] is None else row["val_loss"])
        found = {
            "budget": self.budget,
            "seeds": len(self.seeds),
            "configuration": self.configuration.entries(),
            "cells": rows,
        }
        write_atomically(self.out / RESULT, (json.dumps(found, indent=1) + "\n").encode())
        if pictures.available():
            self._draw(rows)
        return found

    def length(self) -> str:
        """Of each run, in words."""
        given = [(getattr(self.configuration.plan, name), name) for name in LENGTHS]
        return ", at most ".join(f"{value:,g} {name}" for value, name in given if value is not None)

    def _draw(self, rows):
        """Validation loss against steps and against seconds: the mean over seeds, thin lines for each."""
        logs = {
            row["cell"]: [RunFolder(self.out / r["path"]).read_log() for r in row["runs"]] for row in rows
        }
        logs = {cell: runs for cell, runs in logs.items() if all(runs)}
        figure, axes = pictures.canvas(2, figsize=(11, 4.2))
        longest = max((log[-1]["seconds"] for runs in logs.values() for log in runs), default=0.0)
        places = pictures.loss_panels(axes, longest, f"validation {self.configuration.task.loss_name}")
        losses = {row["cell"]: row["val_loss"] for row in rows}
        for i, (cell, runs) in enumerate(logs.items()):
            n = min(map(len, runs))
            said = "diverged" if losses[cell] is None else f"best {losses[cell]:.4g}"
            for axis, place in zip(axes, places, strict=True):
                x, y = ([[f(r) for r in log] for log in runs] for f in (place, lambda r: r["val_loss"]))
                mean = [np.mean([column[:n] for column in columns], axis=0) for columns in (x, y)]
                pictures.line(axis, *mean, color=f"C{i}", label=f"{cell}, {said}")
                for one in zip(x, y, strict=True) if len(runs) > 1 else ():
                    axis.plot(*one, color=f"C{i}", **pictures.FAINT)
        pictures.legend_below(figure, axes)
        texts = ", ".join(Path(t).name for t in self.configuration.texts)
        seeds = f", mean of {len(self.seeds)} seeds" if len(self.seeds) > 1 else ""
        figure.suptitle(f"{texts}: {self.budget:,} parameters and {self.length()} each{seeds}")
        with pictures.left_behind(PICTURE):
            pictures.save(figure, self.out / PICTURE)
