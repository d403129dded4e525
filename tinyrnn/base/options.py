"""Options, said once: a frozen dataclass whose fields carry their help and their range.

From it come the flags of a command, the keywords of a function, the entries of a configuration file, the one
check of their values, and the tables in the docs.
"""

import codecs
import contextlib
import dataclasses
import math
import os
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar, Self, SupportsFloat

from .errors import InputError, shown

LARGEST = 2**64  # no integer of a size or a seed is as large
# Codecs for single names and literals, which are no encodings of files.
NOTATIONS = {
    "idna",
    "punycode",
    "unicode_escape",
    "unicode-escape",
    "raw_unicode_escape",
    "raw-unicode-escape",
}
PART: dict[str, Any] = dict(
    low=0, high=1, open_high=True
)  # of what may be a part of something, though not all of it


def option(default: Any, help: str, group: str, **rule: Any) -> Any:
    """A field of an `Options`; ``rule``: further fields of its `Rule`. A subclass that has another default
    alone writes just that: ``hidden: int = 128``.
    """
    return dataclasses.field(default=default, metadata={"help": help, "group": group, **rule})


@dataclass(frozen=True)
class Rule:
    """What values an option takes."""

    kind: type  # int, float, bool or str
    optional: bool = False  # None, which stands for a choice made later, is a value too
    many: bool = False  # a tuple of such values
    choices: tuple[str, ...] = ()
    default: Any = None
    help: str = ""
    group: str = ""
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False  # the ends themselves are no values
    open_high: bool = False
    metavar: str | None = None
    path: bool = False  # of a file
    encoding: bool = False  # of texts, by the name that Python has for it
    inherited: bool = False  # says what weights are of: a run that goes on from another has that one's
    # without effect but where another option has one of these values, or (none) not its default
    needs: tuple[str, tuple[str, ...]] | None = None
    replaced_by: str | None = None  # without effect where that other option has not its default

    def with_default(self, default: Any) -> Self:
        """The same rule with another default."""
        return dataclasses.replace(self, default=default)

    @property
    def bounds(self) -> str:
        """The range in words; empty: there is none."""
        bounds = []
        if self.low > -math.inf:
            bounds.append(f"above {self.low:,.12g}" if self.open_low else f"of at least {self.low:,.12g}")
        if self.high < math.inf:
            bounds.append(f"below {self.high:,.12g}" if self.open_high else f"at most {self.high:,.12g}")
        return " and ".join(bounds)

    @property
    def wanted(self) -> str:
        """What to give, in words."""
        if self.choices:
            return f"use one of {', '.join(self.choices)}"
        if self.encoding:
            return "use an encoding of texts, such as utf-8, latin-1 or cp1252"
        if self.kind not in (int, float):
            text = "the path of a file or folder" if self.path else "a text" + " or several" * self.many
            return f"it must be {text if self.kind is str else 'true or false'}"
        noun = "an integer" if self.kind is int else "a finite number"
        return f"it must be {noun} {self.bounds}".strip()

    def checked(self, value: Any, name: str) -> Any:
        """``value`` in its own type.

        Raises:
            InputError: it is not among the values; the message gives it the ``name`` and says which they are.
        """
        try:
            if self.many:
                return tuple(map(self._one, self.listed(value)))
            return None if value is None and self.optional else self._one(value)
        except OverflowError:
            raise InputError(f"{name} is {shown(value)}, which is too large: {self.wanted}") from None
        except (TypeError, ValueError, LookupError):
            raise self.refusal(value, name) from None

    def refusal(self, value: Any, name: str) -> InputError:
        """That ``value`` is not among the values."""
        paths = self.listed(value) if self.path and isinstance(value, str | list | tuple) else ()
        if long := [v for v in paths if isinstance(v, str) and not _is_short(v)]:
            part = shown(max(long[0].split(os.sep), key=len))
            return InputError(f"{name} has {part}, longer than a name or path can be: rename it")
        return InputError(f"{name} is {shown(value)}: {self.wanted}")

    def read(self, text: str, name: str) -> Any:
        """The value that a command line writes as ``text``; raises as `checked` does."""
        value: Any = text
        for kind in {int: (float, int), float: (float,)}.get(self.kind, ()):  # an integer stays exact
            with contextlib.suppress(ValueError):
                value = kind(text)
        return self.checked(value, name)

    @staticmethod
    def listed(value: Any) -> Iterable[Any]:
        """Several values; a dict, as a TOML file and Python write it, as ``NAME=VALUE``."""
        if isinstance(value, Mapping):
            if any(isinstance(v, Mapping | list | tuple) for v in value.values()):
                raise ValueError
            return [f"{name}={str(v).lower() if isinstance(v, bool) else v}" for name, v in value.items()]
        return (value,) if isinstance(value, str | os.PathLike) else () if value is None else value

    def _one(self, value: Any) -> Any:
        if self.kind is str:
            if self.path and isinstance(value, os.PathLike):
                value = os.fspath(value)
            if not isinstance(value, str) or (self.choices and value not in self.choices):
                raise ValueError
            if self.path and ("\0" in value or not value or not _is_short(value)):
                raise ValueError
            if self.path:
                os.fsencode(value)  # which half a character cannot be
            if self.encoding:
                if not value.isprintable() or codecs.lookup(value).name in NOTATIONS:
                    raise ValueError
                "a".encode(value)  # which the name of another kind of codec, such as hex, cannot do
            return value
        if self.kind is bool:
            if str(getattr(value, "dtype", "")) == "bool" and not value.ndim:  # one of NumPy
                return bool(value)
            if not isinstance(value, bool):
                raise ValueError
            return value
        if (
            isinstance(value, bool | str)
            or getattr(value, "ndim", None)
            or not isinstance(value, SupportsFloat)
        ):
            raise ValueError
        whole = isinstance(value, Integral) and self.kind is int  # and stays exact
        number: float = int(typing.cast(Any, value)) if whole else float(value)
        if self.kind is int and LARGEST <= abs(number) < math.inf:
            raise OverflowError
        low_fits = number > self.low if self.open_low else number >= self.low
        high_fits = number < self.high if self.open_high else number <= self.high
        if not (math.isfinite(number) and low_fits and high_fits):
            raise ValueError
        if self.kind is int:
            if number != int(number):
                raise ValueError
            return int(number)
        return number


def _is_short(path: str) -> bool:
    """Whether file systems can have such a path: 255 bytes a name."""
    return all(len(part.encode(errors="replace")) < 256 for part in path.split(os.sep)) and len(path) < 4096


def taken(
    stored: Any, rules: Mapping[str, Rule], what: str, *, lacking: Iterable[str] = (), others: bool = False
) -> dict[str, Any]:
    """The entries of ``stored``, which was read from a file as its ``what``: each by its rule.

    Args:
        lacking: entries that need not be there.
        others: there may be entries without a rule, which are not looked at.

    Raises:
        ValueError: it is no dict, lacks an entry, or has one without a rule.
        InputError: a value is not among those of its rule.
    """
    if not isinstance(stored, Mapping):
        raise ValueError(f"its {what} is {shown(stored)}, which has no entries")
    if not others and (strange := sorted(stored.keys() - rules.keys())):
        raise ValueError(f"its {what} has an entry {shown(strange[0])}, which is unknown")
    if missing := rules.keys() - stored.keys() - set(lacking):
        raise ValueError(f"its {what} lacks {min(missing)!r}")
    return {name: rule.checked(stored[name], name) for name, rule in rules.items() if name in stored}


def flag_of(name: str) -> str:
    """The flag of an option: of ``seq_len`` it is ``--seq-len``, of ``from_run`` (``from`` is Python's own)
    ``--from``.
    """
    return "--" + name.removesuffix("_run").replace("_", "-")


_PATH = Rule(str, path=True)


def path_of(value: Any, name: str = "path") -> Path:
    """A path that a function was given; InputError if it is none."""
    return Path(_PATH.checked(value, name))


@dataclass(frozen=True, kw_only=True)
class Options:
    """Base of dataclasses of options: every value is checked when one is made.

    Raises:
        InputError: a value is not among those that its option takes.
    """

    _rules: ClassVar[dict[str, Rule]]

    def __post_init__(self) -> None:
        for name, rule in self.rules().items():
            object.__setattr__(self, name, rule.checked(getattr(self, name), name))

    @classmethod
    def rules(cls) -> dict[str, Rule]:
        """The rule of each option, by name."""
        if "_rules" not in vars(cls):
            hints = typing.get_type_hints(cls)
            inherited: dict[str, Rule] = {}
            for base in reversed(cls.__mro__[1:]):
                inherited |= base.rules() if issubclass(base, Options) else {}
            cls._rules = {
                f.name: _rule(hints[f.name], f) if f.metadata else inherited[f.name].with_default(f.default)
                for f in dataclasses.fields(cls)
            }
        return cls._rules

    @classmethod
    def of(cls, entries: Mapping[str, Any]) -> Self:
        """From the entries of a configuration, which may hold others as well."""
        known = {name: entries[name] for name in cls.rules() if name in entries}
        # None stood for the default where a task had not said its own.
        return cls(**{n: v for n, v in known.items() if v is not None or cls.rules()[n].optional})

    def refuse_idle(self, given: Mapping[str, Any], *others: "Options") -> None:
        """InputError for an option that was ``given``, as another value than None, and has no effect as the
        rest is, here and in ``others``.
        """
        rules = {name: (rule, made) for made in (*others, self) for name, rule in made.rules().items()}

        def is_default(name: str) -> bool:
            rule, made = rules[name]
            return bool(getattr(made, name) == rule.default)

        for name, value in given.items():
            if value is None or name not in rules:
                continue
            rule = rules[name][0]
            if rule.needs is not None:
                other, values = rule.needs
                if getattr(rules[other][1], other) not in values if values else is_default(other):
                    wanted = f"{flag_of(other)} {' or '.join(values)}".rstrip()
                    mend = "give that too, or leave it out"
                    raise InputError(f"{flag_of(name)} has no effect without {wanted}: {mend}")
            if rule.replaced_by is not None and not is_default(rule.replaced_by):
                beside = f"{flag_of(name)} has no effect beside {flag_of(rule.replaced_by)}"
                raise InputError(f"{beside}: leave one of them out")

    def entries(self) -> dict[str, Any]:
        """As a configuration file holds them."""
        values = {name: getattr(self, name) for name in self.rules()}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}


def _rule(hint: Any, field: dataclasses.Field[Any]) -> Rule:
    default = None if field.default is MISSING else field.default
    optional = many = False
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        optional = True
        hint = next(a for a in typing.get_args(hint) if a is not type(None))
    if typing.get_origin(hint) is tuple:
        many, hint = True, typing.get_args(hint)[0]
    choices: tuple[str, ...] = ()
    if typing.get_origin(hint) is typing.Literal:
        choices, hint = typing.get_args(hint), str
    return Rule(hint, optional, many, choices, default, **field.metadata)
