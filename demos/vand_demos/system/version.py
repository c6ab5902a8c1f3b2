"""Versions of the software, as they are recorded with data and checkpoints."""

from importlib.metadata import PackageNotFoundError, version


def software_version(package: str = "vand-robot") -> str:
    """The version of an installed package; `"0+unknown"` in a source tree never installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "0+unknown"
