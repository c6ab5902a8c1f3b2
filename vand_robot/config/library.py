"""The ready-made configurations, wherever the package is: in a checkout or installed."""

from pathlib import Path

from vand_envs.errors import UsageError, did_you_mean

_PACKAGE = Path(__file__).parents[1]
FOLDERS = (_PACKAGE / "configs", _PACKAGE.parent / "configs")
"""Where they lie: in an installed package beside this file, in a checkout at its root."""


def ready_made() -> dict[str, Path]:
    """Name -> file of every ready-made configuration."""
    found = (path for folder in FOLDERS if folder.is_dir() for path in folder.glob("*.yaml"))
    return {path.stem: path for path in sorted(found)}


def find_config(name: str) -> Path:
    """The YAML file that a user means by a path or by the name of a ready-made one.

    Raises:
        UsageError: It is neither.
    """
    path = Path(name)
    if path.is_file():
        return path
    known = ready_made()
    if name in known:
        return known[name]
    raise UsageError(
        f"no configuration file {name!r}{did_you_mean(path.stem, known)};"
        f" ready-made: {', '.join(known)}"
    )
