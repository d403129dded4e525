"""What ``tinyrnn train`` shows while it runs. Imported when the command runs: it needs the trainer."""

import json
import math

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ..training.trainer import RECORD, Reporter
from .common import note


class Quiet(Reporter):
    """Nothing."""

    def introduce(self, trainer, device):
        """What is about to be trained, on what."""


class Json(Quiet):
    """The log's records as JSON lines; everything else goes to standard error."""

    def evaluated(self, record):
        click.echo(json.dumps(record))

    def message(self, text):
        note(text)


class Plain(Quiet):
    """Lines, for people and log files."""

    def introduce(self, trainer, device):
        task, model = trainer.task, trainer.model
        size = sum(p.size for p in model.parameters())
        settings = model.settings
        step = f", from step {trainer.step}" if trainer.step else ""
        length = f"{trainer.total:,} steps" if trainer.total else f"{trainer.plan.minutes:g} minutes"
        click.echo(
            f"model       {settings['cell']}, {settings['layers']} x {settings['hidden']}, {size:,} "
            "parameters, "
            f"{settings['dtype']} on {device}"
        )
        click.echo(f"data        {task.introduction()}")
        click.echo(f"training    {length}{step}; {task.shape}; run {trainer.run.path}")

    def compiled(self, seconds):
        click.echo(f"first step  {seconds:.1f} s, loading or compiling kernels included")

    def evaluated(self, record):
        speed = f"{record['tokens_per_s']:,.0f} tokens/s  " if record["tokens_per_s"] else ""
        train = "      " if record["train_loss"] is None else f"{record['train_loss']:.4f}"
        own = {k: v for k, v in record.items() if k not in RECORD}
        more = f" ({own.pop('bits'):.3f} bits)" if "bits" in own else ""
        more += "".join(f"  {name.replace('_', ' ')} {value:.4f}" for name, value in own.items())
        losses = f"train {train}  validation {record['val_loss']:.4f}{more}"
        click.echo(f"step {record['step']:>6,}  {losses}  {speed}{record['seconds']:,.0f} s")

    def message(self, text):
        click.echo(text)


class Live(Plain):
    """Plain lines above a live bar."""

    def started(self, trainer):
        columns = (
            TextColumn("{task.fields[text]}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
        )
        self.progress = Progress(*columns, transient=True, refresh_per_second=4)
        self.bar = self.progress.add_task("", total=1.0, completed=trainer.progress(), text="")
        self.smooth = None
        self.progress.start()

    def stepped(self, trainer, loss):
        self.smooth = loss if self.smooth is None else 0.95 * self.smooth + 0.05 * loss
        of = f"/{trainer.total:,}" if trainer.total else ""
        bits = f"{self.smooth / math.log(2):.3f} bits  " if trainer.task.in_nats else ""
        text = f"step {trainer.step:,}{of}  loss {self.smooth:.3f}  {bits}"
        self.progress.update(
            self.bar, completed=trainer.progress(), text=text + f"{trainer.tokens_per_second():,.0f} tokens/s"
        )

    def finished(self):
        self.progress.stop()
