"""The training loop: steps, evaluations, checkpoints, interruption and exact resumption. Knows tasks by their
protocol only.
"""

import math
import signal
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from .. import kernels
from ..base import threads
from ..base.devices import memory_full
from ..base.errors import Diverged, InputError, TooLargeError, shown
from ..base.options import Rule, taken
from ..nn.optim import OPTIMIZERS, Schedule
from . import runs
from .origin import take_over
from .packing import packed
from .plan import Plan
from .pruning import Pruning

CHECKPOINT_SECONDS = 60.0  # at most so much work is lost to a power cut
# The training loss is logged after each of the first steps, then as the mean over some: by steps, not
# seconds, so that the curves of equal runs are equal.
LOGGED_SINGLY, LOGGED_TOGETHER = 20, 10
MATRICES = "matrices"  # what weight decay acts on, as a checkpoint says it
LARGE_DECAY = 0.1  # a step that takes so much of each weight is likelier the cause than its gradient


def _clock() -> float:
    """The seconds that a run's time is made of. Making kernels is left out, wherever it happens (the first
    evaluation compiles, too): else two runs of as many minutes would be of different length, whichever cell
    is not in the cache yet the shorter.
    """
    spent = kernels.notice.seconds_spent()
    return time.perf_counter() - spent


class Interrupted(Exception):
    """Training was stopped by a signal; the checkpoint is saved."""


@contextmanager
def memory_for(sizes: str):
    """In this block a lack of memory is one sentence that names ``sizes``."""
    try:
        yield
    except MemoryError as error:
        raise TooLargeError(f"{memory_full(error)}: {sizes}: lower one of them") from error


class Reporter:
    """What a training run tells its caller; the command line overrides what it shows."""

    def message(self, text: str):
        """A sentence worth showing."""

    def started(self, trainer):
        """The first step is about to run."""

    def compiled(self, seconds: float):
        """The first step is done; it took this long, compilation included."""

    def stepped(self, trainer, loss: float):
        """A step is done."""

    def evaluated(self, record: dict):
        """An evaluation was logged."""

    def finished(self):
        """No more steps will follow."""


class Trainer:
    """Trains ``task`` by ``plan`` into a run folder.

    What a task is: `tinyrnn.training.task.Task`. Everything that the future of a run depends on is in
    ``trainer.safetensors``: loading it makes what follows equal, bit for bit, to a run that was never
    stopped.
    """

    def __init__(self, task, plan: Plan, report: Reporter | None = None, sizes: str = "the model"):
        self.task, self.plan, self.report, self.sizes = task, plan, report or Reporter(), sizes
        self.model = task.model
        self._optimise(MATRICES if plan.weight_decay else None)
        self.total = plan.total_steps(task.steps_per_epoch)
        task.planned(self.total)
        self.schedule = self._schedule(plan.warmup_steps(self.total), self.total)
        self.pruning = self._pruning()
        self.chosen = ""  # options that follow from the data and the time, as a command writes them
        self.origin = ""  # what a run that goes on from another has from it, in words
        self.run: Any = None  # the `RunFolder`, from `start` or `resume` on
        self.step = 0
        self.seconds = 0.0  # spent in steps and evaluations, by `_clock`, over all resumptions
        self.first_loss = None
        self.loss_sum, self.loss_count = 0.0, 0  # since the last evaluation on the grid
        self.recent = []  # training losses that are not logged yet
        self.evaluated_at = 0
        self.best, self.bad_evaluations = None, 0
        self._stop = threading.Event()
        # Since the last evaluation; the very first step also traces and checks.
        self._timed_steps, self._timed_seconds = -1, 0.0
        self._begun = False  # by this object, in a folder of its own

    def _optimise(self, decayed):
        """Make the optimiser; ``decayed``: what weight decay acts on, `MATRICES` or, as in runs of earlier
        versions, None: everything.
        """
        plan, self._decayed = self.plan, decayed
        params = self.model.parameter_groups(plan.weight_decay) if decayed else self.model.parameters()
        own: dict[str, Any] = {"betas": (0.9, plan.beta2)} if plan.optimizer in ("adam", "adamw") else {}
        self.optimizer = OPTIMIZERS[plan.optimizer](params, plan.lr, weight_decay=plan.weight_decay, **own)

    def _schedule(self, warmup, total):
        of = {"gamma": self.plan.gamma, "hold": self.plan.hold, "epoch": self.task.steps_per_epoch}
        return Schedule(self.plan.schedule, warmup=warmup, total=total, **of)

    def _pruning(self):
        """What prunes the model, if anything does."""
        if not self.plan.prune:
            return None
        if self.total is None:
            raise InputError("--prune needs a length in steps or passes: give --steps or --epochs")
        end = max(1, round(self.plan.prune_until * self.total))
        return Pruning(self.model, self.plan.prune, end)

    @property
    def is_pruned(self) -> bool:
        """Whether all weights that are to become 0 are: before that no model is the best."""
        return self.pruning is None or self.step >= self.pruning.end

    # -------------------------------------------------------------- the loop

    def start(self, path: Path, config: dict):
        """Make the run folder, complete with the untrained model, so that it can be loaded from its first
        moment.
        """

        self.run, self._begun = runs.RunFolder.create(path, config, self._fill), True
        self.run.lock()

    def start_in(self, run: runs.RunFolder):
        """Begin in a run folder that has a model and no data yet."""
        run.lock()
        self.run = run
        self._fill(run.path)

    def _fill(self, folder):
        self.save(folder)
        runs.save_tensors(folder / runs.LAST, *self._weights())

    def go_on_from(self, model, source: str):
        """Begin with the weights of ``model``, of the run or checkpoint ``source``; before `start`.

        Raises:
            InputError: it is another model, as `take_over` says.
        """
        drawn = self.model.generator.state
        with memory_for(self.sizes):
            self.first_loss = self.task.loss(0).item()  # untrained: that of a good model may well be trebled
        self.model.generator.state = drawn
        self.task.load_state_arrays({})
        self.origin = take_over(self.task, model, source)

    def fit(self):
        """Train until the plan is fulfilled.

        Raises:
            Interrupted: on Ctrl-C or SIGTERM, after saving.
            Diverged: the loss became NaN, infinite or ``task.rise`` times the first; the last good checkpoint
                stays.
            InputError: a file could not be written, or memory does not suffice.

        Any other error before the first step is done takes the run's new folder with it: there is nothing in
        it, and the same command can be given again.
        """
        self.run.lock()
        with self._signals(), threads.alone(), memory_for(self.sizes), ExitStack() as at_end:
            at_end.callback(self.run.unlock)
            if self.step and self.progress() >= 1:
                more = "give a larger --steps (or --epochs, --minutes) to go on"
                self.report.message(f"the run is complete at step {self.step}: {more}")
            self.run.rewind_log(self.evaluated_at)  # what follows is logged anew
            self.run.rewind_log(self.step, runs.TRAINING)
            self.report.started(self)
            try:
                self._loop()
            except (Interrupted, Diverged):
                raise
            except BaseException:
                if self._begun and not self.step:
                    self.run.discard()
                    self.report.message(f"nothing was trained: {self.run.path} is removed")
                raise
            finally:
                self.report.finished()

    def _loop(self):
        self.model.train()
        last_save = time.monotonic()
        while True:
            begins = self.origin and not self.step and self.best is None
            if begins or (self.step % self.plan.eval_every == 0 and self.evaluated_at < self.step):
                self._evaluate_on_grid()
                last_save = time.monotonic()
            if self._done():
                return self._finish()
            self._train_step()
            if self._stop.is_set():
                self._interrupt()
            if self.step == self.schedule.stable_until:
                self.save(self.run.path, runs.STABLE)
            if time.monotonic() - last_save > CHECKPOINT_SECONDS:
                self._checkpoint()
                last_save = time.monotonic()

    def progress(self) -> float:
        """Part of the run that is over, in [0, 1]."""
        by_steps = self.step / self.total if self.total else 0.0
        by_time = self.seconds / (60 * self.plan.minutes) if self.plan.minutes else 0.0
        return max(by_steps, by_time)

    def tokens_per_second(self) -> float:
        """Training speed since the last evaluation."""
        return (
            self._timed_steps * self.task.tokens_per_step / self._timed_seconds
            if self._timed_seconds
            else 0.0
        )

    @property
    def warmup_cut(self) -> str:
        """That the warm-up is shorter than was asked for, in words; empty: it is not."""
        now, asked = self.schedule.warmup, self.plan.warmup
        why = "no more than a tenth of the run"
        if now != self.plan.warmup_steps(self.total):
            why = "as the run began"
        return f"{now:,} step{'s' * (now != 1)}, {why}, not {asked:,}" if now < asked else ""

    def learning_rate(self) -> float:
        """Of the next step."""
        return self.plan.lr * self.schedule.at(self.step, self.progress())

    def _done(self):
        patience = self.plan.patience
        if patience is not None and self.bad_evaluations >= patience:
            self.report.message(f"stopped early: no better validation loss in {patience} evaluations")
            return True
        return self.progress() >= 1

    def _train_step(self):
        called, began = time.perf_counter(), _clock()
        loss_tensor = self.task.loss(self.step)
        loss = loss_tensor.item()
        self._check_loss(loss)
        self.optimizer.zero_grad()
        loss_tensor.backward()
        self.optimizer.lr = self.learning_rate()
        if self.pruning:
            self.pruning.mask_gradients()
        norm = self.optimizer.step(max_norm=self.plan.clip)
        if not math.isfinite(norm):
            raise Diverged(self._advice(f"the gradient became {norm}"))
        self.model.apply_constraints()
        self.step += 1
        if self.pruning:
            self.pruning.after(self.step)
        self.loss_sum, self.loss_count = self.loss_sum + loss, self.loss_count + 1
        took = _clock() - began
        self.seconds += took
        self._timed_steps += 1
        if self._timed_steps:
            self._timed_seconds += took
        else:
            self.report.compiled(time.perf_counter() - called)
        self._log_loss(loss)
        self.report.stepped(self, loss)

    def _log_loss(self, loss):
        self.recent.append(loss)
        if self.step <= LOGGED_SINGLY or self.step % LOGGED_TOGETHER == 0:
            record = {"step": self.step, "train_loss": math.fsum(self.recent) / len(self.recent)}
            record |= {"seconds": round(self.seconds, 3), "lr": self.optimizer.lr}
            self.run.append_log(record, runs.TRAINING)
            self.recent = []

    def _check_loss(self, loss):
        if self.first_loss is None and math.isfinite(loss):
            self.first_loss = loss
        if not math.isfinite(loss):
            raise Diverged(self._advice(f"the loss became {loss}"))
        # that of counts may be below 0, or near it: it is measured from the first one on, in units of 1 there
        if loss - self.first_loss > (self.task.rise - 1) * max(abs(self.first_loss), 1):
            raise Diverged(self._advice(f"the loss rose to {loss:.3f} from {self.first_loss:.3f}"))

    def _advice(self, what):
        plan = self.plan
        mends = [f"a lower --lr than {plan.lr:g}", "a smaller --clip" if plan.clip else "--clip 1"]
        if plan.lr * plan.weight_decay >= LARGE_DECAY:
            mends.insert(0, f"a smaller --weight-decay than {plan.weight_decay:g}")
        mends[:0] = self.task.steadier
        said = f"training stopped at step {self.step}: {what}: use {' or '.join(mends)}"
        return f"{said}; the last good checkpoint is in {self.run.path}"

    # -------------------------------------------------------------- evaluation and checkpoints

    def _evaluate(self):
        """Log an evaluation; the state of training is not touched."""
        began = _clock()
        figures = self.task.evaluate(self._stop.is_set)
        if figures is None:
            self._interrupt()
        self.seconds += _clock() - began
        if not math.isfinite(figures["val_loss"]):
            raise Diverged(self._advice(f"the validation loss became {figures['val_loss']}"))
        record = {
            "step": self.step,
            "epoch": round(self.step / self.task.steps_per_epoch, 4),
            "train_loss": self.loss_sum / self.loss_count if self.loss_count else None,
            **figures,
            "tokens_per_s": round(self.tokens_per_second(), 1),
            "seconds": round(self.seconds, 3),
            "lr": self.learning_rate(),
        }
        if self.pruning:
            record["sparsity"] = round(self.pruning.sparsity(self.step), 4)
        if self.is_pruned and (self.best is None or figures["val_loss"] < self.best):
            runs.save_tensors(self.run.path / runs.BEST, *self._weights(val_loss=figures["val_loss"]))
        self.run.append_log(record)
        self.report.evaluated(record)
        self._timed_steps, self._timed_seconds = min(self._timed_steps, 0), 0.0
        return figures["val_loss"]

    def _evaluate_on_grid(self):
        """An evaluation at a multiple of ``eval_every``: it counts for patience and schedule, and is
        checkpointed.
        """
        loss = self._evaluate()
        if self.is_pruned:
            better = self.best is None or loss < self.best
            self.best, self.bad_evaluations = (loss, 0) if better else (self.best, self.bad_evaluations + 1)
        self.schedule.observe(self.bad_evaluations)
        self.loss_sum, self.loss_count, self.evaluated_at = 0.0, 0, self.step
        self._checkpoint()

    def _finish(self):
        """Checkpoint, then a last evaluation if the run ends off the grid: a longer run would not have made
        it.
        """
        self._checkpoint()
        if self.evaluated_at < self.step or not self.step:
            self._evaluate()

    def _interrupt(self):
        self._checkpoint()
        raise Interrupted

    def _checkpoint(self):
        self.save(self.run.path)
        runs.save_tensors(self.run.path / runs.LAST, *self._weights())

    def _weights(self, **facts):
        weights, facts = self.model.state_dict(), {**self.model.describe(), "step": self.step, **facts}
        if self.pruning is None:
            return weights, facts
        weights, of_file = packed(weights, self.pruning.matrices)
        part = round(self.pruning.sparsity(self.step), 4)
        return weights, {**facts, **of_file, "compressed": {"sparsity": part}}

    def save(self, folder: Path, name=runs.TRAINER):
        """Write everything that the rest of the run depends on, weights included, as one file."""
        optimizer = self.optimizer.state_dict()
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"state.{k}": v for k, v in self.task.state_arrays().items()}
        tensors |= {f"optimizer.{k}": v for k, v in optimizer.items() if k != "steps"}
        if self.pruning:
            tensors |= {f"gone.{k}": v for k, v in self.pruning.arrays().items()}
        meta = {
            "position": {k: getattr(self, k) for k in _POSITION},
            "optimizer_steps": optimizer["steps"],
            "generator": [str(v) for v in self.model.generator.state],
            "schedule_factor": self.schedule.factor,
            "total": self.total,
            "warmup": [self.plan.warmup, self.schedule.warmup],
            **({"decayed": self._decayed} if self._decayed else {}),
            **({"pruned_at": self.pruning.end} if self.pruning else {}),
        }
        runs.save_tensors(folder / name, tensors, meta)

    # -------------------------------------------------------------- resumption

    def resume(self, run: runs.RunFolder, tensors: dict, meta: dict):
        """Take up ``run`` where its last checkpoint left it: what ``trainer.safetensors`` holds.

        If the run is now longer and its learning rate already fell towards the old end, it is taken up at the
        point where the fall began: what follows is then what a run of the new length would have done from the
        start, if its warm-up is as long. The warm-up stays as it was.

        Raises:
            InputError: the run is damaged, longer than it is to be, or being trained.
        """
        run.lock()
        self.run, self.origin = run, run.config.get("from", "")
        for name in (runs.LOG, runs.TRAINING):  # what is damaged is said before anything changes
            run.read_log(name)
        run.clean()
        file = run.path / runs.TRAINER
        with runs.reading(file, "start a new run"):
            meta = _checked(meta)
            step, planned = meta["position"]["step"], meta["total"]
            # earlier versions cut no warm-up short
            asked, warmup = meta.get("warmup", [self.plan.warmup] * 2)
            if asked == self.plan.warmup:
                self.schedule.warmup = warmup
        if self.total is not None and step > self.total:
            raise InputError(
                f"{run.path} is at step {step:,}, past the {self.total:,} that it is to have: "
                "give a greater length, or start a new run"
            )
        if planned != self.total:
            before = self._schedule(self.schedule.warmup, planned).stable_until
            common = min(before, self.schedule.stable_until)
            if step > common and before == common and (run.path / runs.STABLE).exists():
                file = run.path / runs.STABLE
                mend = "delete it, and the run goes on from its last checkpoint"
                tensors, meta = runs.load_tensors(file, mend)
                with runs.reading(file, mend):
                    meta = _checked(meta)
                kept = run.keep_best(step)
                self.report.message(
                    f"taking up the run at step {meta['position']['step']} of {step}, before its learning "
                    "rate began to fall; "
                    f"its best model so far stays as {kept}"
                )
            elif step > common:
                self.report.message(
                    f"the learning rate was planned for {planned} steps up to here, from now on for "
                    f"{self.total}"
                )
        with runs.reading(file, "start a new run"):
            self._restore(tensors, meta)

    def _restore(self, tensors, meta):
        part = {kind: {} for kind in ("model", "state", "optimizer", *["gone"] * bool(self.pruning))}
        for name, array in tensors.items():
            kind, _, rest = name.partition(".")
            if kind not in part:
                raise ValueError(f"{name!r} is nothing that a trainer keeps")
            part[kind][rest] = array
        if meta.get("decayed") != self._decayed:
            self._optimise(meta.get("decayed"))
        own = {k: v for k, v in self.optimizer.state_dict().items() if k != "steps"}
        runs.refuse_other(own, part["optimizer"], "optimiser's state", finite=False)
        runs.put_weights(self.model, part["model"])
        self.task.load_state_arrays(part["state"])
        self.optimizer.load_state_dict({"steps": meta["optimizer_steps"], **part["optimizer"]})
        if self.pruning:  # it ends as it was to when the run began, also if that is longer now
            if "pruned_at" not in meta:
                raise ValueError("it does not say until when it is pruned")
            self.pruning.end = meta["pruned_at"]
            self.pruning.load_arrays(part["gone"])
        self.model.generator.state = meta["generator"]
        for k, v in meta["position"].items():
            setattr(self, k, v)
        self.schedule.factor = meta["schedule_factor"]

    @contextmanager
    def _signals(self):
        """Let Ctrl-C and SIGTERM end the run after the current step; a second Ctrl-C ends it at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handler(number, frame):
            if self._stop.is_set() and number == signal.SIGINT:
                raise KeyboardInterrupt
            self._stop.set()

        previous = {s: signal.signal(s, handler) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for s, old in previous.items():
                signal.signal(s, old)


# What each line of the log holds beside the task's own figures.
RECORD = ("step", "epoch", "train_loss", "val_loss", "tokens_per_s", "seconds", "lr")
_COUNT, _NUMBER, _MAYBE = Rule(int, low=0), Rule(float), Rule(float, optional=True)
_POSITION = {
    "step": _COUNT,
    "seconds": Rule(float, low=0),
    "first_loss": _MAYBE,
    "loss_sum": _NUMBER,
    "loss_count": _COUNT,
    "recent": Rule(float, many=True),
    "evaluated_at": _COUNT,
    "best": _MAYBE,
    "bad_evaluations": _COUNT,
}
# What else is beside the arrays; what is missing in runs of earlier versions, and without weight decay.
_STATE = {
    "optimizer_steps": _COUNT,
    "generator": Rule(str, many=True),
    "schedule_factor": Rule(float, low=0),
    "total": Rule(int, optional=True, low=1),
    "warmup": Rule(int, many=True, low=0),
    "decayed": Rule(str, choices=(MATRICES,)),
    "pruned_at": Rule(int, low=1),
}


def _checked(meta: dict) -> dict:
    """What `Trainer.save` wrote beside the arrays; ValueError if it did not write that."""
    if isinstance(old := meta.pop("schedule", None), list) and old:  # so the first version had it
        meta["schedule_factor"] = old[0]
    position = taken(meta.pop("position", None), _POSITION, "position", lacking=("recent",))
    position["recent"] = list(position.get("recent", ()))
    found = taken(meta, _STATE, "state", lacking=("warmup", "decayed", "pruned_at"))
    seed = found["generator"]
    if len(seed) != 2 or not all(part.isdecimal() and len(part) <= 20 for part in seed):
        raise ValueError(f"its generator is {shown(seed)}, not two numbers")
    if len(found.get("warmup", (0, 0))) != 2:
        raise ValueError(f"its warmup is {shown(found['warmup'])}, not two numbers")
    if position["evaluated_at"] > position["step"]:
        raise ValueError(f"it was evaluated at step {position['evaluated_at']}, after its last")
    return {**found, "position": position}
