"""One folder a task, each whole: options, reader, model, figures. Found by the entry-point group
``tinyrnn.tasks``.

What a task of one's own is written with is here: `Task` and its options, the base of its model, batches, the
folder of a run, how messages show names and values; in `tinyrnn.tasks.text`, how files of text are read.
"""

from ..base.errors import few, shown
from ..base.options import Options, option
from ..training.plan import Plan
from ..training.runs import RunFolder
from ..training.screen import note
from ..training.task import Task, TaskOptions
from .batches import Batches, in_order, padded
from .model import TaskModel

__all__ = ["Batches", "Options", "Plan", "RunFolder", "Task", "TaskModel", "TaskOptions"]
__all__ += ["few", "in_order", "note", "option", "padded", "shown"]
