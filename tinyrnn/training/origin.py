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
    """What is ``given``, and what a run of ``task`` has from the model ``origin``: the options that say of
    what its weights are; of a model of the same task also those that may be changed, such as dropout.

    Raises:
        InputError: the task cannot go on from such a model, or what is given contradicts it.
    """
    source, kind = given["from_run"], origin.describe()["task"]
    if kind != task.name and kind not in task.starts:
        able = few((task.name, *task.starts))
        raise InputError(f"{source} is of task {kind}: --task {task.name} goes on from runs of {able}")
    if not hasattr(origin, "inherited"):
        raise InputError(f"{source} is of task {kind}, whose model is no TaskModel: start without --from")
    own, found = origin.inherited(), dict(given)
    if found.get("dtype") == "auto":  # it was decided when that run began
        del found["dtype"]
    for name, rule in task.options.rules().items():
        if name not in own or not (rule.inherited or kind == task.name):
            continue
        if name in found and rule.inherited:
            asked = rule.checked(found[name], name)
            if name == "cell":
                asked = registry.full_name(asked)
            elif name == "cell_opt":
                asked = registry.read_options(own["cell"], asked)
            if asked != own[name]:
                now, before = ("none" if v in (None, {}) else v for v in (asked, own[name]))
                said = f"{flag_of(name)} is {now}, but {source}, which the run goes on from, has {before}"
                raise InputError(f"{said}: leave {flag_of(name)} out, or start without --from")
        if name not in found or rule.inherited:
            found[name] = own[name]
    return found


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
    kind, own, weights = origin.describe()["task"], task.model.state_dict(), origin.state_dict()
    if kind == task.name and (strange := sorted(weights.keys() ^ own.keys())):
        raise InputError(f"{source} is of another model: weight {strange[0]!r} stands on one side only")
    rows, rows_before = task.model.rows(), origin.rows()
    wanted = [name for name in own if name.startswith(task.starts.get(kind, ("",)))]
    new: dict[str, int] = {}
    for name in wanted:
        what, names, axis = rows.get(name, ("", (), 0))
        before = list(rows_before[name][1]) if name in rows_before else []
        needed, found = list(own[name].shape), weights.get(name)
        if names:
            needed[axis] = len(before)
        if found is None or list(found.shape) != needed or found.dtype != own[name].dtype:
            has = "is missing" if found is None else f"is {found.dtype} {list(found.shape)}"
            needs = f"{own[name].dtype} {needed}"
            raise InputError(
                f"{source} is of another model: its weight {name!r} {has}, this one needs {needs}"
            )
        number = {symbol: i for i, symbol in enumerate(before)}
        known = [i for i, symbol in enumerate(names) if symbol in number]
        if list(names) == before:  # also where two have one name, as pieces of characters do
            own[name] = found
        else:
            into, read = np.moveaxis(own[name], axis, 0), np.moveaxis(found, axis, 0)
            into[known] = read[[number[names[i]] for i in known]]
        new[what] = max(new.get(what, 0), len(names) - len(known))
    task.model.load_state_dict(own)
    fresh = "".join(f", {count:,} new {what}" for what, count in new.items() if count)
    return f"{source}: {len(wanted)} of {len(own)} arrays{fresh}"
