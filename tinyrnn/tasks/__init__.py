"""One folder a task, each whole: options, reader, model, figures. Found by the entry-point group
``tinyrnn.tasks``.

What a task of one's own is written with is here: `Task` and its options, the base of its model, batches, and
the folder of a run.
"""

from ..base.options import option
from ..training.plan import Plan
from ..training.runs import RunFolder
from ..training.task import Task, TaskOptions
from .batches import Batches, in_order, padded
from .model import TaskModel

__all__ = ["Batches", "Plan", "RunFolder", "Task", "TaskModel", "TaskOptions", "in_order", "option", "padded"]
