"""Trained models in fewer bytes: matrices in 8 bits, and matrices most of whose weights are 0."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..base.errors import InputError, few
from ..base.options import Options, option
from ..nn import RNN, Embedding
from ..training import experiments, pictures, runs
from ..training.origin import take_over
from ..training.packing import in_bytes, packed
from ..training.run import keywords, path_and_consent, paths_of, reporter
from ..training.runs import BEST, LAST, RunFolder, free_name, refuse_moved, save_tensors, weights_file
from ..training.screen import hushed
from ..training.trainer import Interrupted

PICTURE = "compress.png"
CALIBRATION = 16  # training steps whose gradients say how much each weight matters
CLIPS = np.linspace(1.0, 0.5, 26)  # where scales may end, in parts of the largest number
TIMED = 0.3  # seconds of each measurement of speed
# How a pruned model is trained on: so many times the run's steps and peak rate if none is given, and
# over which part of these steps its weights become 0. docs/compress.md has the measurements.
LENGTH, RATE, UNTIL = 2.0, 1.0, 0.3
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class CompressOptions(Options):
    """What is done, and how long a pruned model is trained on."""

    int8: bool = option(False, "Store matrices in 8 bits, with a scale for each column.", "Compression")
    prune: str | None = option(
        None,
        "Part of the weights of all matrices together that become 0; of several each is tried.",
        "Compression",
        metavar="X,Y,...",
    )
    steps: int | None = option(
        None, "Steps of training while and after pruning. Default: twice those of RUN.", "Pruning", low=1
    )
    lr: float | None = option(
        None, "Learning rate that they begin with, and that falls to 0. Default: the peak of RUN.", "Pruning",
        low=0, open_low=True,
    )  # fmt: skip

    @property
    def parts(self) -> list[float]:
        """What ``prune`` lists.

        Raises:
            InputError: nothing is to be done, a part is none, or steps of nothing are given.
        """
        if self.prune is None:
            if not self.int8:
                raise InputError("there is nothing to do: give --int8, --prune 0.8, or both")
            if self.steps or self.lr:
                raise InputError(
                    "--steps and --lr are of pruning: give --prune 0.8 as well, or leave them out"
                )
            return []
        try:
            found = [float(part) for part in self.prune.split(",")]
        except ValueError:
            found = [0.0]
        if not all(0 < part < 1 for part in found) or len(set(found)) < len(found):
            wanted = "give different numbers between 0 and 1, with commas between them, such as 0.5,0.8"
            raise InputError(f"--prune is {self.prune!r}: {wanted}")
        return found


class Compression:
    """One use of ``tinyrnn compress``.

    Args:
        run: the folder or checkpoint of a trained model.
        texts: its data, where that is elsewhere now.
        out: folder of the new run; of several, the folder that they are in. Default: beside ``run``.
        report: of the training after pruning.

    Raises:
        InputError: there is nothing to do, the data is gone, or the model cannot be compressed so.
    """

    def __init__(self, run, texts, options, *, out=None, report=None, device="cpu", allow_code=False):
        self.options, self.parts, self.report, self.device = options, options.parts, report, device
        self.path, self.folder = Path(run).resolve(), RunFolder(run)
        several = len(self.parts) > 1 or bool(self.options.int8 and self.parts)
        names = [f"prune{part:g}" for part in self.parts] or ["int8"]
        beside = self.folder.path.resolve()
        self.out = Path(out) if out else free_name(
            beside.with_name(f"{beside.name}-{'compressed' if several else names[0]}")
        )  # fmt: skip
        RunFolder.refuse_existing(self.out)
        self.places = {name: self.out / name if several else self.out for name in names}
        self.origin = experiments.load(run, allow_code=allow_code, device=device)
        self.facts = runs.load_tensors(weights_file(self.path))[1]
        if options.int8:
            self.origin.precision_with("int8")  # refuses other dtypes
            if "int8" in self.facts.get("compressed", {}):
                raise InputError(f"{run} is in 8 bits already: leave --int8 out")
        read = experiments.Configuration.read(self.folder)
        texts = [str(text) for text in texts] or read.texts
        if "-" in texts:
            raise InputError(
                f"{run} was trained on standard input, which is not kept: name the data after RUN"
            )
        refuse_moved(run, [text for text in texts if text not in read.task.default_texts], "after RUN")
        own = dict(cell=self.origin.settings["cell"], from_run=str(self.path))
        self.configuration = replace(
            read, texts=texts, origin=self.origin, options=replace(read.options, **own)
        )
        self.trainer: Any = None  # of the run that is being pruned
        self.loss_name = read.task.loss_name
        writes = hasattr(self.origin, "generate")
        self.speed = "symbols/s" if writes else "steps/s"  # of one sequence
        self.timed = "generation of one text" if writes else "recurrent layers alone, of one sequence"

    def rows(self) -> Iterator[Row]:
        """The model as it is, then each that was made of it: ``name``, ``path``, ``bytes`` of its file of
        weights, ``sparsity`` of its matrices, ``products`` (what they are multiplied in), ``steps_per_s``,
        ``loss`` on what the run validates on.
        """
        self.task = self.configuration.trainer(None, self.device).task
        if self.task.fingerprint != self.folder.config["fingerprint"]:
            raise InputError(f"{self.folder.path} was trained on other data: name that after RUN")
        take_over(self.task, self.origin, str(self.path))
        self.task.model.eval()
        yield self._row("original", self.path)
        if not self.parts:
            yield from self._in_bytes("int8", self.out, self.path)
        for part, (name, path) in zip(self.parts, self.places.items(), strict=False):
            self._pruned(part, path)
            self._weights_of(path)
            yield self._row(name, path)
            if self.options.int8:
                yield from self._in_bytes(f"{name}-int8", path.with_name(f"{path.name}-int8"), path)

    def _row(self, name, path, products=None) -> Row:
        model, file = self.task.model, weights_file(path)
        with _products(model, products):
            loss = self.task.evaluate()["val_loss"]
            speed = steps_per_second(model)
        matrices = model.matrices().values()
        zeros, size = sum(int((p.data == 0).sum()) for p in matrices), sum(p.size for p in matrices)
        return {
            "name": name, "path": str(path), "bytes": file.stat().st_size, "sparsity": round(zeros / size, 4),
            "products": products or model.precision or model.dtype, "steps_per_s": speed, "loss": loss,
        }  # fmt: skip

    def _weights_of(self, path):
        """Give the task's model the best weights of the run at ``path``."""
        file = weights_file(path)
        with runs.reading(file, runs.ANOTHER):
            runs.put_weights(self.task.model, runs.load_tensors(file)[0])

    # -------------------------------------------------------------- pruning

    def _pruned(self, part, path):
        """Train on with a growing part of the weights of its matrices at 0, into the new run ``path``."""
        own, last = self.configuration.plan, weights_file(self.path).with_name(LAST)
        trained = runs.load_tensors(last)[1] if last.exists() else self.facts
        steps = self.options.steps or max(1, round(LENGTH * trained["step"]))
        plan = own.changed(
            steps=steps, prune=part, prune_until=UNTIL, lr=self.options.lr or RATE * own.lr,
            schedule="linear", warmup=0, patience=None, eval_every=min(own.eval_every, max(1, steps // 4)),
        )  # fmt: skip
        configuration = replace(self.configuration, plan=plan)
        self.trainer = trainer = configuration.trainer(self.report, self.device)
        trainer.go_on_from(self.origin, str(self.path))
        stored = {"task": trainer.task.name, "options": configuration.entries(), "from": trainer.origin}
        trainer.start(path, {**stored, "fingerprint": trainer.task.fingerprint})
        how = f"{part:.1%} of all weights 0 from step {trainer.pruning.end:,} on"
        trainer.report.message(f"{path}: {steps:,} steps, learning rate {plan.lr:g} falling to 0; {how}")
        trainer.fit()

    # -------------------------------------------------------------- 8 bits

    def _in_bytes(self, name, path, source) -> Iterator[Row]:
        """Write the run ``path``: the weights of ``source``, which the task's model has, in 8 bits."""
        task, model = self.task, self.task.model
        weights, (_, facts) = model.state_dict(), runs.load_tensors(weights_file(source))
        axes = quantised_axes(model)
        clips, clipped = calibrated(task, axes)
        pairs = {n: in_bytes(weights[n], axis, clips[n]) for n, axis in axes.items()}
        model.load_state_dict({**weights, **{n: integers * scale for n, (integers, scale) in pairs.items()}})
        record = task.evaluate()
        stored, of_file = packed(
            {**weights, **{n: integers for n, (integers, _) in pairs.items()}},
            axes, {n: scale for n, (_, scale) in pairs.items()},
        )  # fmt: skip
        said = {
            "scale": "a column, of embeddings a row",
            "calibrated_on_steps": CALIBRATION,
            "clipped": clipped,
        }
        meta = {
            **model.describe(), "step": facts["step"], "val_loss": record["val_loss"], **of_file,
            "compressed": {**facts.get("compressed", {}), "int8": said},
        }  # fmt: skip
        config = {"task": task.name, "options": self.configuration.entries(), "fingerprint": task.fingerprint}
        config |= {"from": f"{source}: its matrices in 8 bits", "compressed": ["int8"]}
        made = RunFolder.create(path, config, lambda folder: save_tensors(folder / BEST, stored, meta))
        made.append_log({"step": facts["step"], "seconds": 0.0, **record})
        yield self._row(name, path)
        yield self._row(name, path, "int8")

    def draw(self, rows: list[Row]) -> Path:
        """Loss against bytes, as a PNG in the folder of what was made; its path.

        Raises:
            InputError: matplotlib is missing.
        """
        figure, (axis,) = pictures.canvas(figsize=(7, 4.5))
        shown = [row for row in rows if row["products"] != "int8"]
        for i, row in enumerate(shown):
            axis.plot(row["bytes"] / 1000, row["loss"], "o", color=f"C{i}", label=row["name"])
        axis.axhline(rows[0]["loss"], color="gray", **pictures.FAINT)
        axis.set_xlabel("file of weights (kB)")
        axis.set_ylabel(f"validation {self.loss_name}")
        axis.set_xlim(left=0)
        axis.ticklabel_format(axis="y", useOffset=False)
        losses = [row["loss"] for row in shown]
        # a difference that means nothing is not to look large
        least = max(0.02 * max(map(abs, losses)), 1e-3)
        margin = max(0.1 * (max(losses) - min(losses)), least)
        axis.set_ylim(min(losses) - margin, max(losses) + margin)
        axis.grid(alpha=0.3)
        pictures.legend_below(figure, [axis])
        figure.suptitle(f"{self.folder.path.resolve().name}: loss against size")
        pictures.save(figure, self.out / PICTURE)
        return self.out / PICTURE


def quantised_axes(model) -> dict[str, int]:
    """The matrices of a model, and along which axis of each the numbers of one scale lie: a column is what
    one output is summed of; of an embedding, a row is.
    """
    looked_up = {id(m.weight) for m in model.modules() if isinstance(m, Embedding)}
    return {n: p.ndim - 1 if id(p) in looked_up else p.ndim - 2 for n, p in model.matrices().items()}


def calibrated(task, axes) -> tuple[dict[str, np.ndarray], float]:
    """Where the scales of each matrix end, in parts of the largest number of a column, and the part of all
    columns in which something is cut off.

    Chosen for each column so that the outputs change least on `CALIBRATION` steps of the training data, to
    second order and as if weights were independent: sum F (w - q)^2, F the mean square of the gradient of the
    loss by w (the empirical Fisher information, of which the divergence of the outputs is a quadratic form).
    """
    model, matrices = task.model, task.model.matrices()
    seen = {name: np.zeros(matrices[name].shape) for name in axes}
    drawn = model.generator.state
    model.eval()
    task.load_state_arrays({})
    for step in range(CALIBRATION):
        model.zero_grad()
        task.loss(step).backward()
        for name in axes:
            if (slope := matrices[name].grad) is not None:
                seen[name] += np.square(slope.numpy(), dtype=np.float64)
    model.zero_grad()
    task.load_state_arrays({})
    model.generator.state = drawn
    clips, cut, count = dict[str, np.ndarray](), 0, 0
    for name, axis in axes.items():
        x, errors = matrices[name].numpy(), []
        for clip in CLIPS:
            integers, scale = in_bytes(x, axis, clip)
            errors.append((seen[name] * np.square(x - integers * scale)).sum(axis=axis, keepdims=True))
        best = np.argmin(errors, axis=0)  # of equal ones the first, which cuts off nothing
        clips[name], cut, count = CLIPS[best], cut + int((best > 0).sum()), count + best.size
    return clips, round(cut / max(1, count), 4)


@contextmanager
def _products(model, precision):
    """In this block the model multiplies in a precision of `WEIGHTS`; None: in its own."""
    before, model.weights = model.weights, precision
    try:
        yield
    finally:
        model.weights = before


def steps_per_second(model) -> float:
    """Of one sequence: symbols that a language model generates; of other models the steps of their recurrent
    layers, one after the other. The quickest of three measurements, since other programs only slow it down.
    """
    if hasattr(model, "generate"):

        def run(n):
            model.generate(length=n, seed=0, weights=model.weights)
    else:
        layers = [m for m in model.modules() if isinstance(m, RNN)]

        def run(n):
            with model.evaluating():
                for rnn in layers:
                    rnn(np.zeros((n, 1, rnn.cells[0].input_size), model.dtype))

    run(n := 64)  # which compiles
    speeds = list[float]()
    while len(speeds) < 3:
        began = time.perf_counter()
        run(n)
        took = time.perf_counter() - began
        if took < TIMED and n < 2**16:
            n *= 2
        else:
            speeds.append(n / took)
    return round(max(speeds), 1)


@keywords()
def compress(
    run: Any,
    data: Any = None,
    *,
    prune: Any = None,
    out: Any = None,
    device: str = "cpu",
    quiet: bool = False,
    **options: Any,
) -> list[Row]:
    """What ``tinyrnn compress`` does; the rows that it prints.

    Args:
        run: a `Run` or its path.
        data: what it was trained on, paths, where that is elsewhere now.
        prune: the part of the weights of all matrices together that become 0, or several.
        out: folder of the new run; of several, the folder that they are in.
        options: ``int8=True``; ``steps`` and ``lr`` of the training after pruning.

    Raises:
        InputError: there is nothing to do, the data is gone, or the model cannot be compressed so.
    """
    if unknown := options.keys() - CompressOptions.rules():
        raise InputError(f"compress has no option {min(unknown)!r}: it has {few(CompressOptions.rules())}")
    listed = prune if isinstance(prune, list | tuple) else [prune]
    given = CompressOptions(prune=None if prune is None else ",".join(map(str, listed)), **options)
    path, allow_code = path_and_consent(run)
    texts = [] if data is None else paths_of(data)
    if texts is None:
        raise InputError("data to compress with is read from files: give their paths")
    with hushed(quiet):
        how = dict(out=out, report=reporter(quiet), device=device, allow_code=allow_code)
        compression = Compression(path, texts, given, **how)
        try:
            rows = list(compression.rows())
        except Interrupted:
            saved = str(compression.trainer.run.path)
            raise KeyboardInterrupt(f"saved: Run({saved!r}).resume()") from None
        if pictures.available():
            compression.draw(rows)
        return rows
