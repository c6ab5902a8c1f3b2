"""Frozen dataclasses as the schema of nested mappings: configurations, the JSON of checkpoints.

The types decide what is allowed, so that every mistake is one line that names the dotted key, what
was expected and what came. A regularizer is a typed union: its `name` chooses the recipe, and the
recipe's own fields are the keys beside it, `{name: vand, beta: 1e-3}`.

This is not done by pydantic. Strict, it refuses mappings for dataclasses; it ignores unknown keys
unless every dataclass is marked, those of `vand_robot.nn` too; and it names one bound of a range
instead of the range, so that the messages would have to be made from the types all the same.
"""

import math
import types
import typing
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, Literal, TypeVar

from vand_envs.errors import UsageError, unknown_name
from vand_envs.tasks.registry import load_all_plugins
from vand_robot.nn import REGULARIZERS, Range, Regularizer

T = TypeVar("T")

UNIONS: Mapping[type, Mapping[str, type]] = {Regularizer: REGULARIZERS}
"""Base class -> its variants, by the `name` that chooses one in a configuration."""


Count = Annotated[int, Range(1)]
"""An integer >= 1."""
Amount = Annotated[float, Range(0)]
"""A number >= 0."""
Fraction = Annotated[float, Range(0, 1)]
"""A number in [0, 1)."""


def build(cls: type[T], values: Any, prefix: str = "") -> T:
    """Build a dataclass from nested mappings; keys that are left out take their defaults.

    Args:
        cls: The dataclass, or a base class in `UNIONS`. The fields are int, float, bool, str,
            Literal, unions of these and None, `tuple[X, ...]`, `Mapping[str, X]`, dataclasses,
            and numbers with a `Range`.
        values: Field name -> value.
        prefix: Dotted path of this mapping inside a larger one, for messages.

    Raises:
        UsageError: An unknown key, a wrong type or a value out of range, with its dotted key.
    """
    kind = "configuration key"
    where = prefix.rstrip(".")
    if cls in UNIONS:
        load_all_plugins()
        variants = UNIONS[cls]
        if not isinstance(values, Mapping) or "name" not in values:
            raise _mistyped(where, f"a name ({', '.join(variants)}) and its options", values)
        name = str(values["name"])
        if name not in variants:
            raise unknown_name(f"value of {prefix}name:", name, variants)
        values = {key: value for key, value in values.items() if key != "name"}
        cls, kind = variants[name], f"option of {name!r}:"
    if not isinstance(values, Mapping):
        names = ", ".join(f.name for f in fields(typing.cast("Any", cls)))
        raise _mistyped(where, f"keys below it ({names})", values)
    hints = typing.get_type_hints(cls, include_extras=True)
    for key in values:
        if key not in hints:
            raise unknown_name(kind, f"{prefix}{key}", [f"{prefix}{name}" for name in hints])
    for item in fields(typing.cast("Any", cls)):
        if item.name not in values and item.default is item.default_factory is MISSING:
            raise UsageError(f"{kind} {prefix + item.name!r} is missing")
    arguments = {k: _convert(hints[k], v, f"{prefix}{k}") for k, v in values.items()}
    try:
        return cls(**arguments)
    except ValueError as error:  # a bound, or a rule between options, that the class itself checks
        raise UsageError(f"configuration key {where!r}: {error}") from None


def to_dict(config: Any) -> dict[str, Any]:
    """A dataclass as nested dictionaries and lists, which JSON and YAML can hold.

    `build` makes an equal dataclass of it.
    """
    names = (
        {variant: name for name, variant in variants.items()}.get(type(config))
        for base, variants in UNIONS.items()
        if isinstance(config, base)
    )
    name = next(names, None)
    values = {f.name: _plain(getattr(config, f.name)) for f in fields(config)}
    return values if name is None else {"name": name, **values}


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one with dotted keys: `{"policy.cell": "gru", ...}`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        nested = isinstance(value, Mapping) and value
        flat |= flatten(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def _convert(hint: Any, value: Any, key: str) -> Any:
    """Return the value as the type asks; raise UsageError where it is something else."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if is_dataclass(hint):
        return build(typing.cast("type[Any]", hint), value, f"{key}.")
    if origin in (typing.Union, types.UnionType):
        return _convert_union(hint, value, key)
    if origin is tuple:
        return _convert_list(hint, value, key)
    if origin is Literal:
        if value not in args:
            raise unknown_name(f"value of {key}:", str(value), args)
        return value
    if origin is Annotated:
        return _convert_number(hint, value, key)
    kind = origin or hint
    if kind is Mapping and isinstance(value, Mapping) and args[1] is not Any:
        value = {str(name): _convert(args[1], x, f"{key}.{name}") for name, x in value.items()}
    if kind is float and type(value) is int:
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
        raise _mistyped(key, _words(hint), value)  # a bool is an int to Python, not to a user
    return value


def _convert_number(hint: Any, value: Any, key: str) -> Any:
    """Return the value as a number within its bounds, or None where the type allows it."""
    kind, bounds = typing.get_args(hint)
    with suppress(UsageError):
        number = _convert(kind, value, key)
        if number is None or number in bounds:
            return number
    raise _mistyped(key, _words(hint), value)


def _convert_list(hint: Any, value: Any, key: str) -> tuple[Any, ...]:
    """Return the value as a tuple; one text is a list of texts with commas between them."""
    (item, *_) = typing.get_args(hint)
    if item is str and isinstance(value, str) and value.strip():
        value = [part.strip() for part in value.split(",")]
    if not isinstance(value, list | tuple):
        raise _mistyped(key, _words(hint), value)
    return tuple(_convert(item, part, f"{key}[{i}]") for i, part in enumerate(value))


def _convert_union(hint: Any, value: Any, key: str) -> Any:
    """Return the value as the first member of the union that accepts it."""
    for member in typing.get_args(hint):
        if is_dataclass(member) and isinstance(value, Mapping):
            return _convert(member, value, key)  # its own message says more
        if member is not type(None):
            try:
                return _convert(member, value, key)
            except UsageError:
                continue
        if value is None:
            return None
    raise _mistyped(key, _words(hint), value)


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return to_dict(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _mistyped(key: str, expected: str, value: Any) -> UsageError:
    where = f"configuration key {key!r}" if key else "configuration"
    return UsageError(f"{where}: expected {expected}, got {value!r}")


def _words(hint: Any) -> str:
    """A type in words, for messages."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        bounds = args[1]
        above = f"{'>' if bounds.open_low else '>='} {bounds.low:g}"
        return f"{_words(args[0])} {above if bounds.high == math.inf else f'in {bounds}'}"
    if origin is tuple:
        return f"a list, each item {_words(args[0])}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_words(member) for member in args if member is not type(None))
    if origin is Literal:
        return " or ".join(map(repr, args))
    words = {int: "an integer", float: "a number", bool: "true or false", str: "text"}
    return words.get(hint, "`option: value` pairs" if origin is Mapping else str(hint))
