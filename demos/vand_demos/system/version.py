"""Versions of the software, as they are recorded with data and checkpoints."""

from importlib.metadata import PackageNotFoundError, version

from vand_demos.system.machine import machine_facts


def software_version(package: str = "vand-robot") -> str:
    """The version of an installed package; `"0+unknown"` in a source tree never installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "0+unknown"


def made_by() -> dict[str, str]:
    """What makes a recording here, and its last bits depend on: versions, and the machine."""
    software = {name: software_version(name) for name in ("vand-robot", "mujoco", "numpy")}
    return {**software, **machine_facts()}
