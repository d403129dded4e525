"""What can be trained: each task builds a model, feeds it and measures it. ``TASKS`` maps ``--task`` names to them."""

from .. import plugins, runs
from ..errors import InputError
from .classify import Classification
from .forecast import Forecasting
from .language_model import LanguageModeling
from .translate import Translation

TASKS = {task.name: task for task in (LanguageModeling, Classification, Forecasting, Translation)}


def load(run, *, allow_code=False):
    """The trained model of a run folder or checkpoint file, ready to use.

    Args:
        allow_code: run the Python file that the checkpoint names, where its cell is one of a file (``FILE.py:CLASS``).

    A language model has ``generate(prompt, length=..., temperature=...)``, a classifier ``predict(texts)``, a
    translator ``translate(texts)``.

    Raises:
        InputError: not a run, a damaged or newer checkpoint, its cell is in a file and ``allow_code`` is not given, or its
            cell's package is not installed (it says which).
    """
    tensors, meta = runs.load_tensors(runs.weights_file(run))
    if "task" not in meta:
        raise InputError(f"{run} holds the trainer's state, not a model: give the run folder")
    if not allow_code:
        plugins.refuse_code(meta["model"]["cell"], run)
    plugins.refuse_missing(meta)
    model = TASKS[meta["task"]].rebuild(meta)
    model.load_state_dict(tensors)
    return model.eval()
