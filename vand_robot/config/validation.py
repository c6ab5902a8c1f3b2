"""Frozen dataclasses as the schema of what users write: YAML, `key=value` overrides, JSON.

OmegaConf reads and merges; the types decide what is allowed, so that every mistake is one line that
names the dotted key, what was expected and what came.
"""

import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml  # type: ignore[import-untyped]  # only for the errors that OmegaConf lets through
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vand_envs.errors import UsageError, unknown_name

T = TypeVar("T")


@dataclass(frozen=True)
class Range:
    """Bounds of a number, written beside its type: `Annotated[int, Range(1)]`."""

    low: float = -math.inf
    """Smallest allowed value."""
    high: float = math.inf
    """Largest allowed value."""
    open_high: bool = False
    """Whether `high` itself is excluded."""

    def __contains__(self, value: float) -> bool:
        """Whether a finite value lies within the bounds."""
        below = value < self.high if self.open_high else value <= self.high
        return math.isfinite(value) and self.low <= value and below

    def __str__(self) -> str:
        """The bounds in words, for messages."""
        if self.high == math.inf:
            return f">= {self.low:g}"
        return f"in [{self.low:g}, {self.high:g}{')' if self.open_high else ']'}"


Count = Annotated[int, Range(1)]
"""An integer >= 1."""
Amount = Annotated[float, Range(0)]
"""A number >= 0."""
Fraction = Annotated[float, Range(0, 1, open_high=True)]
"""A number in [0, 1)."""


def build(cls: type[T], values: Any, prefix: str = "") -> T:
    """Builds a dataclass from nested mappings; what is left out takes its default.

    Args:
        cls: The dataclass. Its fields are int, float, bool, str, Literal, `X | None`,
            `tuple[X, ...]`, `Mapping[str, Any]`, dataclasses, and numbers with a `Range`.
        values: Field name -> value.
        prefix: Dotted path of this mapping inside a larger one, for messages.

    Raises:
        UsageError: An unknown key, a wrong type or a value out of range, with its dotted key.
    """
    if not isinstance(values, Mapping):
        names = ", ".join(f.name for f in fields(typing.cast("Any", cls)))
        raise _mistyped(prefix.rstrip("."), f"keys below it ({names})", values)
    hints = typing.get_type_hints(cls, include_extras=True)
    for key in values:
        if key not in hints:
            known = [f"{prefix}{name}" for name in hints]
            raise unknown_name("configuration key", f"{prefix}{key}", known)
    return cls(**{k: _convert(hints[k], v, f"{prefix}{k}") for k, v in values.items()})


def to_dict(config: Any) -> dict[str, Any]:
    """A dataclass as nested dictionaries and lists: what JSON and YAML can hold."""
    return {f.name: _plain(getattr(config, f.name)) for f in fields(config)}


def to_yaml(config: Any) -> str:
    """A dataclass as YAML text that reads back to an equal one."""
    return OmegaConf.to_yaml(OmegaConf.create(to_dict(config)))


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one with dotted keys: `{"policy.cell": "gru", ...}`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        nested = isinstance(value, Mapping) and value
        flat |= flatten(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds; raises UsageError where it is missing or malformed."""
    try:
        content = OmegaConf.to_container(OmegaConf.load(path))
    except FileNotFoundError:
        raise UsageError(f"no configuration file {path}") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise UsageError(f"{path}, line {line}: not valid YAML, {error.problem}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise UsageError(f"{path}: cannot be read as YAML, {_one_line(error)}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected `key: value` lines, got a {type(content).__name__}")
    return typing.cast("dict[str, Any]", content)


def merge(base: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Lays `key=value` overrides over a mapping; lists replace, mappings merge.

    Where a mapping has a `name` and `options` and the name changes, the options start afresh:
    they belong to the name that they were written for.

    Args:
        base: Nested mapping.
        overrides: Dotted keys, values in YAML: `"policy.hidden_size=64"`.

    Raises:
        UsageError: An override that is not `key=value`, has `???` for a value, or lies below a key
            that has no keys.
    """
    for text in overrides:
        key, equals, _ = text.partition("=")
        if not key.strip() or not equals:
            raise UsageError(f"override {text!r}: expected key=value")
        try:
            layer = OmegaConf.from_dotlist([text])
            if OmegaConf.missing_keys(layer):  # `???`, which a merge would leave out silently
                raise UsageError(f"override {text!r}: expected a value, got '???'")
            base = _without_stale_options(base, OmegaConf.to_container(layer))
            merged = OmegaConf.merge(OmegaConf.create(dict(base)), layer)
            base = typing.cast("dict[str, Any]", OmegaConf.to_container(merged, resolve=True))
        except TypeError:  # a list laid over a mapping or the other way round
            raise UsageError(f"override {text!r}: does not fit what {key!r} is") from None
        except (yaml.YAMLError, OmegaConfBaseException) as error:
            raise UsageError(f"override {text!r}: {_one_line(error)}") from None
    return dict(base)


def _without_stale_options(base: Any, layer: Any) -> Any:
    if not isinstance(base, Mapping) or not isinstance(layer, Mapping):
        return base
    kept = {key: _without_stale_options(value, layer.get(key)) for key, value in base.items()}
    if "options" in kept and "name" in layer and layer["name"] != base.get("name"):
        del kept["options"]
    return kept


def _convert(hint: Any, value: Any, key: str) -> Any:
    """The value as the type asks; raises where it is something else."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if is_dataclass(hint):
        return build(typing.cast("type[Any]", hint), value, f"{key}.")
    if type(None) in args:  # `X | None`
        return None if value is None else _convert(args[0], value, key)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_convert(args[0], item, f"{key}[{i}]") for i, item in enumerate(value))
    if origin is Annotated:  # a number with its range
        number = float(value) if args[0] is float and type(value) is int else value
        if type(number) is not args[0] or number not in args[1]:
            raise _mistyped(key, _words(hint), value)
        return number
    if origin is Literal and value not in args:
        raise unknown_name(f"value of {key}:", str(value), args)
    if hint is float and type(value) is int:
        return float(value)
    if origin is not Literal and not isinstance(value, origin or hint):
        raise _mistyped(key, _words(hint), value)
    if isinstance(value, bool) and hint is int:  # a bool is an int to Python, not to a user
        raise _mistyped(key, _words(hint), value)
    return value


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
        return f"{_words(args[0])} {args[1]}"
    if origin is tuple:
        return f"a list, each item {_words(args[0])}"
    words = {int: "an integer", float: "a number", bool: "true or false", str: "text"}
    return words.get(hint, "`option: value` pairs" if origin is Mapping else str(hint))


def _one_line(error: BaseException) -> str:
    """The first line of a library's message."""
    return next(iter(str(error).splitlines()), type(error).__name__)
