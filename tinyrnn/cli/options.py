"""From `Options` to the flags of a command."""

import contextlib

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from ..base.errors import InputError, shown
from ..base.options import Rule, flag_of
from ..training.task import TASKS, get_task
from .common import Command, GroupedOption


class RuleType(click.ParamType):
    """Values by the one check that every way in has."""

    def __init__(self, rule: Rule):
        self.rule = rule
        self.name = {int: "integer", float: "number", str: "path" if rule.path else "text"}[rule.kind]

    def convert(self, value, parameter, context):
        try:
            read = self.rule.read if isinstance(value, str) else self.rule.checked
            found = read(value, "it")
        except InputError:
            given = value if str(value).isprintable() else shown(value)
            self.fail(f"{self.rule.wanted}, not {given}", parameter, context)
        return found[0] if self.rule.many else found  # click makes the tuple

    def shell_complete(self, context, parameter, incomplete):
        if self.rule.path:
            return click.Path().shell_complete(context, parameter, incomplete)
        return [CompletionItem(c) for c in self.rule.choices if c.startswith(incomplete)]


def flag(name: str, rule: Rule, **settings) -> click.Option:
    """The flag of an option: ``--seq-len``, for a yes or no also ``--no-...``."""
    text = flag_of(name)
    if rule.kind is bool:
        own = dict(is_flag=True, show_default=rule.default is not None)
        names = [f"{text}/--no-{text[2:]}"]
        return GroupedOption(names, default=rule.default, help=rule.help, group=rule.group, **own, **settings)
    return GroupedOption(
        [text, name],
        type=RuleType(rule),
        default=rule.default,
        multiple=rule.many,
        metavar=rule.metavar or (f"[{'|'.join(rule.choices)}]" if rule.choices else None),
        help=rule.help,
        group=rule.group,
        bounds=rule.bounds,
        **{"show_default": rule.default is not None and not rule.many, **settings},
    )


def flags(rules: dict[str, Rule], of: dict | None = None, **settings) -> list[click.Option]:
    """One for each, with ``settings``; ``of``: further settings of single ones, by name."""
    return [flag(name, rule, **settings, **(of or {}).get(name, {})) for name, rule in rules.items()]


def rule_of(parameter: click.Parameter) -> Rule:
    """What a file of options may hold for a parameter, whether or not it was made from a rule."""
    if isinstance(parameter.type, RuleType):
        return parameter.type.rule
    kind: type = bool if getattr(parameter, "is_flag", False) else str
    if isinstance(parameter.type, click.types.IntParamType):
        kind = int
    many = getattr(parameter, "multiple", False) or parameter.nargs == -1
    return Rule(kind, False, many, (), None, "", "")


class TaskCommand(Command):
    """A command on a trained model: has the options that any task has for it, the task's own under its
    name.
    """

    role = ""  # of the options: the attribute of a task that is their class

    @classmethod
    def of(cls, role: str) -> type["TaskCommand"]:
        """The class for the options of one role."""
        return type(cls.__name__, (cls,), {"role": role})

    def get_params(self, context):
        found: dict[str, click.Option] = {}
        for entry in TASKS.registered().values():
            with contextlib.suppress(InputError):  # a broken task hurts those alone who use it
                for each in flags(getattr(entry.load(), self.role).rules()):
                    found.setdefault(each.name, each)
        return [*found.values(), *super().get_params(context)]


def task_options(context, model, role, options):
    """The task of a model, and its options of a role from those that were given.

    Raises:
        InputError: one was given that the task does not have.
    """
    facts = model.describe()
    name = facts["task"]
    task = get_task(name).on((), facts)
    kind, given = getattr(task, role), chosen(context, options)
    if foreign := [k for k in given if k not in kind.rules()]:
        raise InputError(
            f"{flag_of(foreign[0])} is not for task {name}, which this model is of: leave it out"
        )
    made = kind(**given)
    made.refuse_idle(given)
    return task, made


def chosen(context, options):
    """Those that the command line or a file gave."""
    return {k: v for k, v in options.items() if context.get_parameter_source(k) != ParameterSource.DEFAULT}
