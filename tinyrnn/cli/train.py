"""``tinyrnn train``: from data to a run folder."""

import contextlib
import inspect
import itertools
import shlex
import tomllib
from pathlib import Path

import click
from click.core import ParameterSource

from ..base.errors import InputError, few, near, shown
from ..base.options import flag_of
from ..training.plan import Place, Plan
from ..training.screen import say
from ..training.task import TASK, TASKS, get_task, task_of, tasks_with
from .common import EXIT_INTERRUPTED, Command, allow_code_option, complete_cell, note, option
from .options import chosen, flags, rule_of

task_option = option(
    "--task", default=TASK, type=click.Choice(list(TASKS.registered())), group="Run", help="What is learned."
)


class TrainCommand(Command):
    """Has the options of the task that its arguments name, beside those of every task."""

    def parse_args(self, context, args):
        file = value_of(args, "--config")
        try:
            entries = _config(file)
            name = value_of(args, "--task") or entries.get("task") or _resumed(args)
            name = name or _gone_on_from(args, entries) or TASK
            get_task(str(name))
            context.meta["tinyrnn.task"] = name
            known = {p.name: p for p in self.get_params(context)}
            for key, value in entries.items():
                if key not in known:
                    table = "of tables there is [train] alone, and it need not be named; "
                    mend = f"{table if isinstance(value, dict | list) else ''}{near(key, known)}"
                    raise InputError(f"{file}: there is no option {shown(key)}: {mend}")
                entries[key] = rule_of(known[key]).checked(value, f"{file}: {key}")
        except InputError as error:
            raise click.UsageError(str(error), context) from None
        context.default_map = {**(context.default_map or {}), **entries}
        return super().parse_args(context, args)

    def get_params(self, context):
        if "tinyrnn.flags" not in context.meta:  # it is asked for several times
            own = [*flags(Place.rules()), *super().get_params(context)]
            with contextlib.suppress(InputError):  # `parse_args` has said it
                own = [*task_flags(context.meta.get("tinyrnn.task", TASK)), *own]
            flags_of_tasks = own + foreign_flags({each.name for each in own})
            if "tinyrnn.task" not in context.meta:
                return flags_of_tasks
            context.meta["tinyrnn.flags"] = flags_of_tasks
        return context.meta["tinyrnn.flags"]

    def format_help_text(self, context, formatter):
        """What is true of every task, what the task says of itself, and which task is broken."""
        super().format_help_text(context, formatter)
        name = context.meta.get("tinyrnn.task", TASK)
        with contextlib.suppress(InputError), formatter.section(f"Task {name}"):
            for paragraph in (inspect.getdoc(get_task(name)) or "").replace("``", "").split("\n\n"):
                formatter.write_text(paragraph)
        for problem in TASKS.broken():  # cells would be imported for it, and NumPy with them
            with formatter.section("Broken plugin"):
                formatter.write_text(problem)


def task_flags(name):
    """The flags of a task and of the plan, the shared ones first; their defaults are the task's."""
    task = get_task(name)
    plan = {k: rule.with_default(getattr(task.plan, k)) for k, rule in Plan.rules().items()}
    of: dict[str, dict] = {"cell": dict(shell_complete=complete_cell)}
    for name in task.chosen:
        of[name] = {**of.get(name, {}), "show_default": "by text and time"}
    return flags({**task.options.rules(), **plan}, of=of)


def foreign_flags(known):
    """Flags of other tasks' options: not shown, and without effect, but no error: one file of options may
    serve several tasks.
    """
    found = {}
    for entry in TASKS.registered().values():
        with contextlib.suppress(InputError):  # a broken task hurts those alone who use it
            rules = entry.load().options.rules()
            found |= {name: rule for name, rule in rules.items() if name not in known}
    return flags(found, hidden=True)


def value_of(args, name):
    """The last value that ``args`` give the option ``name``, read before the options of the task are
    known.
    """
    found = None
    for arg, following in itertools.zip_longest(args, args[1:]):
        if arg == "--":
            break
        if arg == name:
            found = following
        elif arg.startswith(f"{name}="):
            found = arg.removeprefix(f"{name}=")
    return found


def _resumed(args):
    """The task of the run that ``args`` take up."""
    from ..training.runs import CONFIG, RunFolder

    if any(arg.partition("=")[0] == "--resume" for arg in args):
        for path in (value_of(args, "--out"), value_of(args, "--resume")):
            if path and (Path(path) / CONFIG).is_file():
                return task_of(RunFolder(path)).name
    return None


def _gone_on_from(args, entries):
    """The task of the run that ``args``, or the ``entries`` of a file of options, go on from."""
    if (source := value_of(args, "--from") or entries.get("from_run")) is None:
        return None
    from ..training.experiments import task_name

    return task_name(None, source)


def _config(path):
    """A TOML file's entries, under the names of options."""
    if path is None:
        return {}
    from ..tasks.text.sources import lines_of, text_of

    utf8 = "save it as utf-8"
    try:
        text = text_of(Path(path), "utf-8", utf8, utf8)
    except InputError as error:
        raise InputError(f"--config {error}") from None
    try:
        entries = tomllib.loads("\n".join(lines_of(text)))
    except (ValueError, RecursionError) as error:
        mend = "write lines like hidden = 256 (a run's config.json is no such file: --resume takes it up)"
        raise InputError(f"--config {path} is no TOML ({error}): {mend}") from None
    entries = entries.get("train", entries)
    if not isinstance(entries, dict):
        raise InputError(f"--config {path}: train is {shown(entries)}: write a table, [train]")
    names, found = {"json": "as_json", "text": "texts", "from": "from_run"}, {}
    for key, value in entries.items():
        name = names.get(key, key.replace("-", "_"))
        if name in found:
            raise InputError(
                f"--config {path}: {shown(name)} stands there twice, once as {shown(key)}: delete one"
            )
        if name in ("config", "debug", "help"):
            raise InputError(f"--config {path}: {key!r} has no effect in a file: leave it out")
        found[name] = value
    return found


@click.command("train", cls=TrainCommand)
@click.argument("texts", nargs=-1, metavar="[TEXT]...", type=click.Path())
@task_option
@option(
    "--resume",
    is_flag=False,
    flag_value="",
    metavar="[RUN]",
    group="Run",
    help="Go on with RUN (or with --out) from its last checkpoint, exactly.",
)
@allow_code_option(group="Run")
@option(
    "--config",
    type=click.Path(),
    metavar="FILE.toml",
    group="Run",
    help="Take options from a file that holds lines like: hidden = 256",
)
@option(
    "--logger",
    multiple=True,
    type=click.Choice(["csv", "tensorboard"]),
    group="Run",
    help="Log to log.csv or for TensorBoard as well, in the run's folder; may be repeated.",
)
@option(
    "--json",
    "as_json",
    is_flag=True,
    group="Run",
    help="Print the log's JSON objects as lines, nothing else.",
)
@option("--quiet", is_flag=True, group="Run", help="Print the run's path only.")
@click.pass_context
def command(
    context, texts, task, threads, device, out, resume, allow_code, config, as_json, quiet, logger, **options
):
    """Train a model on TEXT: files, folders, or - for standard input.

    Without TEXT a language model learns the documentation that ships inside Python. Ctrl-C saves and stops;
    --resume goes on. Shown are the options of every task and those of the task that --task names, which is lm
    (a language model) where nothing is said: tinyrnn train --task forecast --help.
    """
    from ..base import threads as pool
    from ..nn.registry import CELLS, has_code
    from ..tasks.tables.files import is_table
    from ..training import experiments, loggers, report

    if not quiet:
        for problem in TASKS.broken() + CELLS.broken():
            note(f"broken: {problem}")
    texts, resume = _resume_or_text(list(texts), resume, out)
    if threads:
        pool.set_threads(threads)
    of_task = context.meta["tinyrnn.task"]
    given = chosen(context, options)
    if resume is None and of_task == TASK and context.get_parameter_source("task") == ParameterSource.DEFAULT:
        _refuse_language([text for text in texts if is_table(Path(text))], given)
    given = _own(given, of_task)
    shown = report.Json() if as_json else report.for_people(quiet)
    report_to = loggers.Together([*loggers.make(logger), shown])
    if resume is None:
        configuration = experiments.configured(of_task, texts, given, allow_code)
        trainer = experiments.begin(configuration, report_to, out=out, device=device)
    else:
        given |= chosen(context, {"task": task})
        trainer = experiments.take_up(resume, given, texts, report_to, device=device, allow_code=allow_code)
    code = " --allow-code" * has_code(trainer.task.model.settings["cell"])
    with going_on(context, trainer, f"tinyrnn train --resume {shlex.quote(str(trainer.run.path))}{code}"):
        said = experiments.carry_out(trainer, shown)
    if as_json:
        return
    say(trainer.run.path)
    if not quiet:
        for line in said:
            say(line)
        task, run = trainer.task, shlex.quote(str(trainer.run.path))
        say(f"next: tinyrnn {task.next_command} {run}{f' {task.next_input}'.rstrip()}{code}")


def _refuse_language(tables, given):
    """Say of ``tables`` for which no task is named that they are read as text; InputError if options are
    ``given`` that other tasks have.
    """
    foreign = given.keys() - get_task(TASK).options.rules().keys() - Plan.rules().keys()
    if tables and foreign:
        tasks = " or ".join(f"--task {task}" for task in tasks_with(foreign))
        few_flags = few(map(flag_of, sorted(foreign)), 3)
        raise InputError(f"{tables[0]} is a table, and {few_flags} of another task than {TASK}: give {tasks}")
    if tables:
        other = "for labels of texts give --task classify, for a series of numbers --task forecast"
        note(f"{tables[0]} is a table, read as plain text by a language model: {other}")


def _own(given, task):
    """What is ``given`` without the options of other tasks, each of which is told."""
    known = {*get_task(task).options.rules(), *Plan.rules()}
    for name in given.keys() - known:
        note(f"{flag_of(name)} has no effect: it is an option of other tasks than {task}")
    return {k: v for k, v in given.items() if k in known}


@contextlib.contextmanager
def going_on(context, trainer, again):
    """On an interruption end the command and say what goes on."""
    from ..training.trainer import Interrupted

    try:
        yield
    except Interrupted:
        note(f"interrupted at step {trainer.step}, saved; go on with: {again}")
        context.exit(EXIT_INTERRUPTED)


def _resume_or_text(texts, resume, out):
    """``--resume`` takes an optional RUN; what follows it may also be the first TEXT."""
    if resume and out:
        from ..training.runs import CONFIG

        if (Path(resume) / CONFIG).is_file():
            raise click.UsageError(f"--resume {resume} and --out {out} name two runs: give one of them")
        return [resume, *texts], out
    if resume == "" and not out:
        raise click.UsageError("--resume needs to know the run: --resume RUN, or --out RUN --resume")
    return texts, out if resume == "" else resume
