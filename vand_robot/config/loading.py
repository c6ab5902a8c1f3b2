"""From YAML files and overrides to a configuration."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from vand_envs.errors import UsageError
from vand_robot.config import validation
from vand_robot.config.schema import TrainConfig


def load_config(path: str | Path | None = None, overrides: Sequence[str] = ()) -> TrainConfig:
    """Reads a run's configuration.

    Args:
        path: YAML file, or None for the defaults.
        overrides: `key=value` texts, as `vand_robot.config.validation.merge` takes them.

    Returns:
        The configuration. Relative `data` paths of the YAML are resolved: against the working
        directory first, then against the YAML's own folder.

    Raises:
        UsageError: Missing or malformed YAML, an unknown key, a wrong type, a missing data file.
    """
    base = {} if path is None else validation.read_yaml(Path(path))
    merged = validation.merge(base, overrides)
    config = validation.build(TrainConfig, merged)
    if path is None or merged.get("data") != base.get("data"):
        return config  # the paths come from the command line
    return dataclasses.replace(config, data=tuple(_resolve(p, Path(path)) for p in config.data))


def override(config: TrainConfig, overrides: Sequence[str]) -> TrainConfig:
    """The configuration with `key=value` overrides applied; errors as in `load_config`."""
    return validation.build(TrainConfig, validation.merge(validation.to_dict(config), overrides))


def _resolve(data: str, config_path: Path) -> str:
    beside = config_path.parent / data
    for candidate in (Path(data), beside):
        if candidate.exists():
            return str(candidate)
    raise UsageError(f"{config_path}: data: no file {data!r}, nor {str(beside)!r}")
