"""Observers that write what happens in a training run to where other programs read it (``--logger``).

A logger is a `Reporter` that only looks: weights and log are the same with it and without.
"""

import csv
import io
import time
from contextlib import ExitStack

from ..base.errors import InputError
from . import runs
from .trainer import RECORD, Reporter

EVENTS = "tensorboard"  # the folder in the run's folder


class Together(Reporter):
    """Several reporters as one: each is told everything, in their order."""

    def __init__(self, reporters):
        self.reporters = list(reporters)

    def finished(self):
        with ExitStack() as all_of_them:  # also where one of them fails
            for reporter in reversed(self.reporters):
                all_of_them.callback(reporter.finished)


def _tell(name):
    def tell(self, *arguments):
        for reporter in self.reporters:
            getattr(reporter, name)(*arguments)

    return tell


# What a Reporter is told in the future, Together is told too.
for _name in [n for n in vars(Reporter) if not n.startswith("_") and n not in vars(Together)]:
    setattr(Together, _name, _tell(_name))


class Csv(Reporter):
    """``log.csv``: the records of ``log.jsonl`` as a table.

    It is written whole from the log, so it holds what the log holds: also of a run that was resumed, or that
    had no ``log.csv`` before.
    """

    def started(self, trainer):
        self.run = trainer.run
        self._write()

    def evaluated(self, record):
        self._write()

    def _write(self):
        records, table = self.run.read_log(), io.StringIO()
        columns = dict.fromkeys([name for record in records for name in record] or RECORD)
        writer = csv.DictWriter(table, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
        runs.write_atomically(self.run.path / runs.TABLE, table.getvalue().encode())


class TensorBoard(Reporter):
    """An event file in the folder ``tensorboard`` of the run, for ``tensorboard --logdir runs``.

    At each evaluation: the figures of the log as scalars, weights and gradients (of the last step, before
    clipping) as histograms, and what the task lets one glimpse of (`Task.glimpse`): of a language model a
    sample of text and its gates. A resumed run goes on in a new event file, which tells TensorBoard to drop
    what was logged after the step that it was taken up at.

    Raises:
        InputError: the package tensorboard is not installed.
    """

    def __init__(self):
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.plugins.histogram.summary_v2 import histogram_pb
            from tensorboard.plugins.scalar.summary_v2 import scalar_pb
            from tensorboard.plugins.text.summary_v2 import text_pb
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError:
            raise InputError(
                "--logger tensorboard needs tensorboard: pip install 'tinyrnn[tensorboard]'"
            ) from None
        self._open, self._events = EventFileWriter, event_pb2
        self._summary, self._kinds = summary_pb2.Summary, (scalar_pb, histogram_pb, text_pb)

    def started(self, trainer):
        self.trainer = trainer
        self.writer = self._open(str(trainer.run.path / EVENTS))
        start = self._events.SessionLog(status=self._events.SessionLog.START)
        self._write(trainer.evaluated_at + 1, session_log=start)

    def evaluated(self, record):
        scalar, histogram, text = self._kinds
        parts = [scalar(k, v) for k, v in record.items() if k != "step" and v is not None]
        for name, p in self.trainer.model.named_parameters():
            parts.append(histogram(f"weights/{name}", p.numpy()))
            if p.grad is not None:
                parts.append(histogram(f"gradients/{name}", p.grad.numpy()))
        for name, value in self.trainer.task.glimpse().items():
            parts.append(text(name, value) if isinstance(value, str) else histogram(name, value))
        summary = self._summary(value=[value for part in parts for value in part.value])
        self._write(record["step"], summary=summary)
        self.writer.flush()

    def finished(self):
        self.writer.close()

    def _write(self, step, **what):
        self.writer.add_event(self._events.Event(wall_time=time.time(), step=step, **what))


LOGGERS = {"csv": Csv, "tensorboard": TensorBoard}


def make(names) -> list[Reporter]:
    """The loggers of these names (`LOGGERS`), each once.

    Raises:
        InputError: an unknown name, or a package that one of them needs is not installed.
    """
    if unknown := [name for name in names if name not in LOGGERS]:
        raise InputError(f"unknown logger {unknown[0]!r}: use one of {', '.join(LOGGERS)}")
    return [LOGGERS[name]() for name in dict.fromkeys(names)]
