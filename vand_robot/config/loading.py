"""Configurations from YAML files and `key=value` overrides, and back to YAML.

OmegaConf merges, and resolves `${key}`.
"""

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # it ships no type information
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vand_demos.system.files import read_regular
from vand_demos.system.yaml_core import dump_yaml, parse_yaml
from vand_envs.errors import UsageError
from vand_robot.config.library import missing_data
from vand_robot.config.schema import TrainConfig
from vand_robot.config.validation import build, to_dict


def load_config(path: str | Path | None = None, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a run's configuration.

    Args:
        path: YAML file, or None for the defaults.
        overrides: `key=value` texts, as `merge` takes them.

    Returns:
        The configuration. Relative `data` paths of the YAML are resolved: against the working
        directory first, then against the YAML's own folder.

    Raises:
        UsageError: Missing or malformed YAML, an unknown key, a wrong type, a missing data file.
    """
    base = {} if path is None else read_yaml(Path(path))
    merged = merge(base, overrides)
    config = build(TrainConfig, merged)
    if path is None or merged.get("data") != base.get("data"):
        return config  # the paths come from the command line
    return dataclasses.replace(
        config, data=tuple(_resolve(p, Path(path), config) for p in config.data)
    )


def to_yaml(config: Any) -> str:
    """A dataclass as YAML text that reads back to an equal one."""
    return dump_yaml(to_dict(config))


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises:
        UsageError: It is missing, malformed, or holds something else.
    """
    try:
        content = parse_yaml(_read_text(path))
        if isinstance(content, Mapping):
            content = OmegaConf.to_container(OmegaConf.create(dict(content)), resolve=True)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise UsageError(f"{path}, line {line}: not valid YAML, {error.problem}") from None
    except _UNREADABLE as error:
        raise UsageError(f"{path}: cannot be read as YAML, {_one_line(error)}") from None
    if not isinstance(content, dict):
        kind = "nothing" if content is None else f"a {type(content).__name__}"
        raise UsageError(f"{path}: expected `key: value` lines, got {kind}")
    return typing.cast("dict[str, Any]", content)


def _read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        UsageError: There is none.
        VandError: It is no regular file, or cannot be read.
        ValueError: It is not UTF-8.
    """
    if not path.exists():
        raise UsageError(f"no configuration file {path}")
    return read_regular(path).decode()


def merge(base: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Lay `key=value` overrides over a mapping; lists replace, mappings merge.

    Where the `name` in a mapping changes, its other keys are dropped first: they are options of the
    name that they were written for.

    Args:
        base: Nested mapping.
        overrides: Dotted keys, values in YAML: `"policy.hidden_size=64"`.

    Raises:
        UsageError: An override that is not `key=value`, whose value is not YAML or `???`, or that
            lies below a key that has no keys.
    """
    for text in overrides:
        key, equals, value = text.partition("=")
        if not key.strip() or not equals:
            raise UsageError(f"override {text!r}: expected key=value")
        try:
            layer = OmegaConf.create()
            OmegaConf.update(layer, key.strip(), parse_yaml(value))
            if OmegaConf.missing_keys(layer):  # `???`, which a merge would leave out silently
                raise UsageError(f"override {text!r}: expected a value, got '???'")
            base = _without_stale_options(base, OmegaConf.to_container(layer))
            merged = OmegaConf.merge(OmegaConf.create(dict(base)), layer)
            base = typing.cast("dict[str, Any]", OmegaConf.to_container(merged, resolve=True))
        except (TypeError, IndexError):  # a list laid over a mapping or the other way round
            raise UsageError(f"override {text!r}: does not fit what {key!r} is") from None
        except yaml.MarkedYAMLError as error:
            hint = f"text with special characters needs quotes: {key}='\"...\"'"
            raise UsageError(
                f"override {text!r}: not valid YAML, {error.problem}; {hint}"
            ) from None
        except _UNREADABLE as error:
            raise UsageError(f"override {text!r}: {_one_line(error)}") from None
    return dict(base)


def _resolve(data: str, config_path: Path, config: TrainConfig) -> str:
    beside = config_path.parent / data
    for candidate in (Path(data), beside):
        if candidate.exists():
            return str(candidate)
    raise missing_data(config_path, data, config)


def _without_stale_options(base: Any, layer: Any) -> Any:
    """A mapping without the options of a `name` that the layer replaces."""
    if not isinstance(base, Mapping) or not isinstance(layer, Mapping):
        return base
    if "name" in layer and layer["name"] != base.get("name"):
        return {}
    return {key: _without_stale_options(value, layer.get(key)) for key, value in base.items()}


_UNREADABLE = (OSError, ValueError, RecursionError, yaml.YAMLError, OmegaConfBaseException)
"""Errors of text that is no YAML: not UTF-8, a number of too many digits, nested too deep."""


def _one_line(error: BaseException) -> str:
    """The first line of a library's message."""
    return next(iter(str(error).splitlines()), type(error).__name__)
