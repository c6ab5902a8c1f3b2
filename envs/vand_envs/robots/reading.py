"""A robot's spec as plain values, as YAML and JSON hold them, and back; types decide."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

from vand_envs.errors import UsageError, unknown_name
from vand_envs.robot import RobotSpec

INTERNAL = ("identity", "folder", "record")
"""Fields that no file says: they follow from it."""


def to_mapping(value: Any) -> Any:
    """A spec, or a part of one, as mappings, lists, texts and numbers."""
    if dataclasses.is_dataclass(value):
        names = [item.name for item in dataclasses.fields(value) if item.name not in INTERNAL]
        return {name: to_mapping(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {key: to_mapping(item) for key, item in value.items()}
    return [to_mapping(item) for item in value] if isinstance(value, tuple | list) else value


def from_mapping(values: object, what: str) -> RobotSpec:
    """The spec that `to_mapping` gave.

    Args:
        values: The mapping.
        what: Where it is from, for messages.

    Raises:
        UsageError: A key is missing or unknown, or a value of another type.
    """
    return typing.cast("RobotSpec", _build(RobotSpec, values, what, ""))


def _build(cls: Any, values: object, what: str, path: str) -> Any:
    if not isinstance(values, Mapping):
        raise _mistyped(what, path, "`key: value` pairs", values)
    hints = typing.get_type_hints(cls)
    known = [item for item in dataclasses.fields(cls) if item.name not in INTERNAL]
    for key in values:
        if key not in [item.name for item in known]:
            names = [f"{path}{item.name}" for item in known]
            raise unknown_name(f"key of {what}", f"{path}{key}", names)
    for item in known:
        required = item.default is item.default_factory is dataclasses.MISSING
        if required and item.name not in values:
            raise UsageError(f"{what}: key {path + item.name!r} is missing")
    return cls(**{k: _convert(hints[k], v, what, f"{path}{k}") for k, v in values.items()})


def _convert(hint: Any, value: Any, what: str, path: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, what, f"{path}.")
    if origin is typing.Literal:
        if value not in args:
            raise unknown_name(f"value of {what}: {path}:", str(value), args)
        return value
    if origin is tuple:
        size = None if args[-1] is Ellipsis else len(args)
        if not isinstance(value, list | tuple) or size not in (None, len(value)):
            raise _mistyped(what, path, f"a list{'' if size is None else f' of {size}'}", value)
        return tuple(_convert(args[0], v, what, f"{path}[{i}]") for i, v in enumerate(value))
    if origin is not None and not isinstance(origin, types.UnionType):  # a mapping of texts
        if not isinstance(value, Mapping) or not all(isinstance(v, str) for v in value.values()):
            raise _mistyped(what, path, "`key: text` pairs", value)
        return dict(value)
    if hint is float and type(value) is int:
        value = float(value)
    if type(value) is not hint or (hint is float and not abs(value) < 1e9):
        words = {float: "a number", str: "a text", bool: "true or false", int: "an integer"}
        raise _mistyped(what, path, words[hint], value)
    return value


def _mistyped(what: str, path: str, expected: str, value: object) -> UsageError:
    where = f"{what}: key {path.rstrip('.')!r}" if path else what
    return UsageError(f"{where}: expected {expected}, got {value!r:.80}")
