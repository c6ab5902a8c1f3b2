"""The options of a regularizer as data, and the one check of their values.

The fields of a recipe, a frozen dataclass, are the only source: the annotation gives the type and,
as `Annotated[float, Range(0, 1)]`, the bounds; the docstring below the field is its help. From them
come the check that every recipe makes when it is built, `OptionInfo` for whoever generates a
configuration, and the messages.
"""

from __future__ import annotations

import ast
import inspect
import math
import textwrap
import types
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from functools import cache
from itertools import pairwise
from numbers import Integral, Real
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Range:
    """Bounds of a number, written beside its type."""

    low: float = -math.inf
    """Smallest allowed value."""

    high: float = math.inf
    """Bound above."""

    open_low: bool = False
    """Whether `low` itself is excluded."""

    open_high: bool = True
    """Whether `high` itself is excluded."""

    def __contains__(self, value: float) -> bool:
        """Whether a number lies within the bounds; NaN does not."""
        above = value > self.low if self.open_low else value >= self.low
        return above and (value < self.high if self.open_high else value <= self.high)

    def __str__(self) -> str:
        """The bounds as an interval, for messages."""
        left, right = "[("[self.open_low], "])"[self.open_high]
        return f"{left}{self.low:g}, {self.high:g}{right}"


@dataclass(frozen=True)
class OptionInfo:
    """An option of a regularizer, for whoever generates a configuration or a form from it."""

    name: str
    """Name of the constructor's argument."""

    type: Any
    """`float`, `int`, `bool` or `str`; what else the annotation says for a type of one's own."""

    default: Any
    """Value when left out; `dataclasses.MISSING` if it may not be left out."""

    optional: bool = False
    """Whether None is allowed too."""

    range: Range | None = None
    """Bounds of a number; None for none."""

    choices: tuple[str, ...] = ()
    """The values that a text may have; empty: any."""

    help: str = ""
    """One line, the first sentence of the field's docstring; empty where the source is missing."""


def options_of_class(recipe: Any) -> tuple[OptionInfo, ...]:
    """List the options of a recipe's class.

    Args:
        recipe: a dataclass.

    Returns:
        One for each field of the constructor, in its order.
    """
    return _options(recipe)


@cache
def _options(recipe: Any) -> tuple[OptionInfo, ...]:
    """See `options_of_class`; reading a class takes a millisecond, so it is done once."""
    try:
        hints = get_type_hints(recipe, include_extras=True)
    except NameError:  # a type that only a type checker can see: its fields are not checked
        hints = {f.name: f.type for f in fields(recipe)}
    helps: dict[str, str] = {}
    for base in reversed(recipe.__mro__):
        helps |= _field_docstrings(base)
    return tuple(
        _option(f.name, hints[f.name], _default(f), helps.get(f.name, ""))
        for f in fields(recipe)
        if f.init
    )


def check_options(recipe: Any) -> None:
    """Check the values of a recipe's fields against their types and bounds.

    Args:
        recipe: an instance of a dataclass.

    Raises:
        ValueError: if a value is of another type, out of bounds or not among the choices.
    """
    for option in options_of_class(type(recipe)):
        check_value(option, getattr(recipe, option.name))


def check_value(option: OptionInfo, value: Any) -> None:
    """Check one value.

    Raises:
        ValueError: if it is of another type, out of bounds or not among the choices.
    """
    if value is None and option.optional:
        return
    if option.type is bool:
        if not isinstance(value, bool):
            raise ValueError(f"{option.name} must be True or False; got {value!r}")
    elif option.choices:
        if not isinstance(value, str) or value not in option.choices:
            raise ValueError(
                f"{option.name} must be one of {', '.join(option.choices)}; got {value!r}"
                f"{did_you_mean(value, option.choices)}"
            )
    elif option.type in (int, float):
        _check_number(option, value)


def _check_number(option: OptionInfo, value: Any) -> None:
    number = value  # as it is: an integer may be too large for a float
    kind, wanted = (Integral, "an integer") if option.type is int else (Real, "a number")
    bounds = "" if option.range is None else f" in {option.range}"
    if isinstance(value, bool) or not isinstance(value, kind):
        raise ValueError(  # noqa: TRY004  (as for all that is wrong with an option)
            f"{option.name} must be {wanted}{bounds}; got {value!r}"
        )
    if option.range is not None and number not in option.range:
        raise ValueError(f"{option.name} must lie{bounds}; got {value!r}")


def require_known(kind: str, name: Any, known: Iterable[str]) -> None:
    """Raise ValueError, with the nearest name, unless a name is known.

    Args:
        kind: what is named, for the message.
        name: the name.
        known: all names there are.
    """
    known = tuple(known)
    if not isinstance(name, str) or name not in known:
        hint = did_you_mean(name, known)
        raise ValueError(f"unknown {kind} {name!r}{hint}; known: {', '.join(known)}")


def did_you_mean(value: Any, known: Iterable[str]) -> str:
    """Return ", did you mean 'x'?" for the nearest known text, or nothing."""
    near = get_close_matches(value, list(known), 1) if isinstance(value, str) else []
    return f", did you mean {near[0]!r}?" if near else ""


def _option(name: str, hint: Any, default: Any, text: str) -> OptionInfo:
    bounds: Range | None = None
    optional = False
    while True:
        if get_origin(hint) is Annotated:
            inner, *extras = get_args(hint)
            bounds = next((extra for extra in extras if isinstance(extra, Range)), bounds)
            hint = inner
        elif get_origin(hint) in (Union, types.UnionType) and type(None) in get_args(hint):
            optional = True
            others = tuple(part for part in get_args(hint) if part is not type(None))
            hint = Union[others]  # noqa: UP007  (of a tuple that is known only here)
        else:
            break
    if get_origin(hint) is Literal:
        return OptionInfo(name, str, default, optional, bounds, get_args(hint), text)
    return OptionInfo(name, hint, default, optional, bounds, (), text)


def _default(field: Any) -> Any:
    if field.default is MISSING and field.default_factory is not MISSING:
        return field.default_factory()
    return field.default


def _field_docstrings(cls: type) -> dict[str, str]:
    """First sentences of the docstrings below a class's own fields; none without its source."""
    try:
        (node,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return {}
    found: dict[str, str] = {}
    body = node.body if isinstance(node, ast.ClassDef) else []
    for field, after in pairwise(body):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        value = after.value if isinstance(after, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            found[field.target.id] = _first_sentence(value.value)
    return found


def _first_sentence(text: str) -> str:
    line = " ".join(text.split())
    end = line.find(". ")
    return line if end < 0 else line[: end + 1]
