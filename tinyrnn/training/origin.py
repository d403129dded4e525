"""Going on from a trained model: which options a new run has from it, and which weights."""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..base.errors import InputError, few
from ..base.options import flag_of
from ..nn import registry
from .task import Task


def options_with(task: type[Task], origin: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """What is ``given``, and what a run of ``task`` has from the model ``origin`` beside: the options that say
    what its weights are of; of a model of the same task also those that may be changed, such as dropout.

    Raises:
        InputError: the task cannot go on from such a model, or what is given contradicts it.
    """
    source, kind = given["from_run"], origin.task
    if kind != task.name and kind not in task.starts:
        able = few((task.name, *task.starts))
        raise InputError(f"{source} is of task {kind}: --task {task.name} goes on from runs of {able}")
    own, given = origin.inherited(), dict(given)
    if given.get("dtype") == "auto":  # it was decided when that run began
        del given["dtype"]
    for name, rule in task.options.rules().items():
        if name not in own or not (rule.inherited or kind == task.name):
            continue
        value = own[name]
        if name in given and rule.inherited:
            asked = rule.checked(given[name], name)
            if name == "cell":
                asked = registry.full_name(asked)
            elif name == "cell_opt":
                asked = registry.read_options(own["cell"], asked)
            if asked != value:
                flag, has = flag_of(name), "none" if value in (None, {}) else value
                which = "none" if asked in (None, {}) else asked
                raise InputError(
                    f"{flag} is {which}, but {source}, which the run goes on from, has {has}: leave {flag} "
                    "out, or start without --from"
                )
        if name not in given or rule.inherited:
            given[name] = value
    return given


def built(task: type[Task], options: Any, texts: list[str], origin: Any) -> Task:
    """The task; of a run that goes on from another, with what that one's model has names for."""
    if origin is None or len(inspect.signature(task.build).parameters) < 3:
        return task.build(options, texts)
    return task.build(options, texts, origin)


def take_over(task: Task, origin: Any, source: str) -> str:
    """Overwrite the weights of the task's model by those of ``origin``, rows and columns by the names of what
    they are of; what has no counterpart stays as it was drawn. Returns in words what was taken.

    Raises:
        InputError: the models differ in anything but such rows.
    """
    model, wanted = task.model, task.starts.get(origin.task, ("",))
    weights, new = origin.state_dict(), dict[str, int]()
    taken, whole = model.state_dict(), origin.task == task.name
    if whole and (strange := sorted(weights.keys() ^ taken.keys())):
        raise InputError(f"{source} is of another model: weight {strange[0]!r} stands on one side only")
    chosen = [name for name in taken if name.startswith(wanted)]
    for name in chosen:
        found, wide = weights.get(name), taken[name]
        what, names, axis = model.rows().get(name, ("", [], 0))
        _, before, _ = origin.rows().get(name, ("", [], 0))
        numbers = {symbol: i for i, symbol in enumerate(before)}
        pairs = [(i, numbers[s]) for i, s in enumerate(names) if s in numbers]
        if names == before:  # also where two have one name, as parts of characters do
            pairs = [(i, i) for i in range(len(names))]
        shape = list(wide.shape)
        if names:
            shape[axis] = len(before)
        if found is None or list(found.shape) != shape or found.dtype != wide.dtype:
            is_there = "is missing" if found is None else f"is {found.dtype} {list(found.shape)}"
            raise InputError(
                f"{source} cannot be gone on from: its weight {name!r} {is_there}, {wide.dtype} {shape} is needed"
            )
        if names:
            into, read = zip(*pairs, strict=True) if pairs else ((), ())
            np.moveaxis(wide, axis, 0)[list(into)] = np.moveaxis(found, axis, 0)[list(read)]
            new[what] = max(new.get(what, 0), len(names) - len(pairs))
        else:
            taken[name] = found
    model.load_state_dict(taken)
    fresh = "".join(f", {count:,} new {what}" for what, count in new.items() if count)
    return f"{source}: {len(chosen)} of {len(taken)} arrays{fresh}"
