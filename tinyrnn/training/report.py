"""What a run shows while it trains."""

import json
import math
import sys
import textwrap
from contextlib import ExitStack
from datetime import timedelta

from rich.progress_bar import ProgressBar
from rich.table import Table

from .. import kernels
from .screen import columns, in_notebook, is_terminal, live_line, note, say
from .trainer import RECORD, Reporter


class Quiet(Reporter):
    """Nothing."""

    def introduce(self, trainer):
        """What is about to be trained, on what."""


class Json(Quiet):
    """The log's records as JSON lines; everything else goes to standard error."""

    def evaluated(self, record):
        say(json.dumps(record))

    def message(self, text):
        note(text)


class Plain(Quiet):
    """Lines, for people and log files."""

    def introduce(self, trainer):
        task, model = trainer.task, trainer.model
        size = sum(p.size for p in model.parameters())
        settings = model.settings
        step = f", from step {trainer.step}" if trainer.step else ""
        steps = [f"{trainer.total:,} steps"] if trainer.total else []
        minutes = (
            [f"{trainer.plan.minutes:g} minutes{' at most' * len(steps)}"] if trainer.plan.minutes else []
        )
        length = ", ".join(steps + minutes)
        sizes = f"{settings['layers']} x {settings['hidden']}, {size:,} parameters"
        self.fact("model", f"{settings['cell']}, {sizes}, {settings['dtype']} on {trainer.task.model.device}")
        if model.precision == "bfloat16" and model.device == "cpu" and not kernels.tiles.pair_instruction():
            self.fact(
                "precision", "this processor has no products of bfloat16: float32 ones of rounded numbers"
            )
        if trainer.chosen:
            self.fact("chosen", f"{trainer.chosen} (by data and time; give others to change them)")
        if trainer.origin:
            self.fact("from", trainer.origin)
        self.fact("data", task.introduction())
        self.fact("training", f"{length}{step}; {task.shape}; run {trainer.run.path}")
        if trainer.warmup_cut:
            self.fact("warm-up", trainer.warmup_cut)

    def fact(self, name, text):
        """A line of the introduction."""
        say(f"{name:11} {text}")

    def started(self, trainer):
        self.unit = trainer.task.unit

    def compiled(self, seconds):
        self.fact("first step", f"{seconds:.1f} s, loading or compiling kernels included")

    def evaluated(self, record):
        say(self.line(record))

    def line(self, record, validation="validation", with_speed=True):
        """An evaluation in words."""
        speed = record["tokens_per_s"] if with_speed else 0
        speed = f"{speed:,.0f} {self.unit}/s  " if speed else ""
        train = "      " if record["train_loss"] is None else f"{record['train_loss']:.4f}"
        own = {k: v for k, v in record.items() if k not in RECORD}
        more = f" ({own.pop('bits'):.3f} bits)" if "bits" in own else ""
        more += "".join(f"  {name.replace('_', ' ')} {value:.4f}" for name, value in own.items())
        losses = f"train {train}  {validation} {record['val_loss']:.4f}{more}"
        return f"step {record['step']:>6,}  {losses}  {speed}{record['seconds']:,.0f} s"

    def message(self, text):
        say(text)


class Live(Plain):
    """Lines that fit the terminal, above a live bar."""

    def __init__(self):
        self.open = ExitStack()

    def fact(self, name, text):
        whole = dict(break_long_words=False, break_on_hyphens=False)  # paths stay in one piece
        say(textwrap.fill(f"{name:11} {text}", max(32, columns()), subsequent_indent=12 * " ", **whole))

    def started(self, trainer):
        super().started(trainer)
        self.trainer, self.smooth, self.compiling = trainer, None, None
        self.start = trainer.progress(), trainer.seconds
        usual, kernels.notice.listener = kernels.notice.listener, self
        self.open.callback(setattr, kernels.notice, "listener", usual)
        self.go_on = self.open.enter_context(live_line(self.bar))

    def stepped(self, trainer, loss):
        self.smooth = loss if self.smooth is None else 0.95 * self.smooth + 0.05 * loss
        self.go_on()

    def began(self, name):
        """Something compiles for long (`kernels.notice`)."""
        self.compiling = f"compiling {name}, once"

    def ended(self, name, seconds):
        """It is done."""
        self.compiling = None
        note(f"compiling {name}, once: {seconds:.1f} s")

    def evaluated(self, record):
        forms = [
            self.line(record),
            self.line(record, "val"),
            self.line(record, with_speed=False),
            self.line(record, "val", with_speed=False),
        ]
        say(next((line for line in forms if len(line) <= columns()), forms[-1]))

    def bar(self, width):
        """The live line: what is most telling, as far as it fits, and a bar if there is room."""
        trainer, part = self.trainer, min(self.trainer.progress(), 1.0)
        of = f"/{trainer.total:,}" if trainer.total else ""
        words = [f"step {trainer.step:,}{of}"]
        if self.compiling:
            words.append(self.compiling)
        elif self.smooth is not None:
            words.append(f"loss {self.smooth:.3f}")
            if trainer.task.in_nats:
                words.append(f"{self.smooth / math.log(2):.3f} bits")
            if speed := trainer.tokens_per_second():
                words.append(f"{speed:,.0f} {self.unit}/s")
        end = f"{part:4.0%}" + self._left(part)
        while len("  ".join([*words, end])) > width and len(words) > 1:
            words.pop()
        text = "  ".join(words)
        line, room = Table.grid(padding=(0, 1)), min(40, width - len(text) - len(end) - 2)
        if room < 5:
            line.add_row(f"{text}  {end}"[:width])
        else:
            line.add_row(text, ProgressBar(total=1.0, completed=part, width=room), end)
        return line

    def _left(self, part):
        """How long the run will still take, if it goes on as since it was started."""
        part_before, seconds_before = self.start
        if part <= part_before:
            return ""
        left = (1 - part) * (self.trainer.seconds - seconds_before) / (part - part_before)
        return f"  {timedelta(seconds=round(left))}"

    def finished(self):
        self.open.close()


def for_people(quiet: bool = False) -> Quiet:
    """A live line in a terminal or a notebook, else lines."""
    if quiet:
        return Quiet()
    return Live() if is_terminal(sys.stdout) or in_notebook() else Plain()
