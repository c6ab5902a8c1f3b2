"""The ready-made configurations, and the command that records demonstrations for one of them."""

from collections.abc import Mapping
from pathlib import Path

from vand_envs.errors import UsageError, did_you_mean
from vand_robot.config.schema import TrainConfig

RECORDED = "demos.hdf5"
"""Data set that the recording command is to make."""
EPISODES = 50
"""Demonstrations of each task that it records: enough for a policy that works."""


def ready_made_folder(package: Path = Path(__file__).parents[1]) -> Path:
    """The folder of the ready-made configurations: in the package, or beside it in a checkout.

    A folder `configs` beside an installed package is somebody else's.
    """
    inside, checkout = package / "configs", package.parent
    is_checkout = not inside.is_dir() and (checkout / "pyproject.toml").is_file()
    return checkout / "configs" if is_checkout else inside


def ready_made() -> dict[str, Path]:
    """Name -> file of every ready-made configuration."""
    return {path.stem: path for path in sorted(ready_made_folder().glob("*.yaml"))}


def find_config(name: str) -> Path:
    """The YAML file that a user means by a path or by the name of a ready-made one.

    Raises:
        UsageError: It is neither.
    """
    return _find("configuration", name, ready_made())


def find_sweep(name: str) -> Path:
    """The sweep's YAML file that a user means by a path or by the name of a ready-made one.

    Raises:
        UsageError: It is neither.
    """
    folder = ready_made_folder() / "sweeps"
    return _find("sweep", name, {path.stem: path for path in sorted(folder.glob("*.yaml"))})


def _find(kind: str, name: str, known: Mapping[str, Path]) -> Path:
    path = Path(name)
    if path.is_file():
        return path
    if name in known:
        return known[name]
    raise UsageError(
        f"no {kind} file {name!r}{did_you_mean(path.stem, known)}; ready-made: {', '.join(known)}"
    )


def recording_command(config: TrainConfig) -> str:
    """The command that records demonstrations for a configuration, as `RECORDED`."""
    task = config.tasks[0] if len(config.tasks) == 1 else "all"
    images = config.policy.images.keys
    cameras = f" --images {','.join(images)} --image-size 48x48" if images else ""
    return f"vand-robot record {task} --episodes {EPISODES} --out {RECORDED}{cameras}"


def missing_data(path: Path, data: str, config: TrainConfig) -> UsageError:
    """The error for a configuration's file of demonstrations that does not exist.

    Args:
        path: The configuration's file.
        data: What it says.
        config: The configuration. Of a ready-made one the message says how to record its data.
    """
    if path.parent != ready_made_folder():
        return UsageError(f"{path}: data: no file {data!r}, nor {str(path.parent / data)!r}")
    return UsageError(
        f"{path.stem}: no file {data!r} to learn from; record one and train with data={RECORDED}:"
        f" {recording_command(config)}"
    )
