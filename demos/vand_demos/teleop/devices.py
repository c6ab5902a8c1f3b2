"""The devices there are, by name."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from vand_demos.episode import TELEOP_DEVICES
from vand_demos.teleop.device import TeleopDevice
from vand_demos.ui import LOOPBACK
from vand_envs.errors import unknown_name
from vand_envs.world import World


@dataclass(frozen=True)
class DeviceOptions:
    """Options of all devices; each takes those that concern it."""

    world: World
    """World that is shown and driven."""
    host: str = LOOPBACK
    """Where to serve a page."""
    port: int = 0
    """On which port; 0 takes a free one."""
    mapping: Path | None = None
    """File that says what the parts of the device do."""
    announce: Callable[[str], None] = print
    """Tells the operator how to get at the controls."""


def open_device(name: str, options: DeviceOptions) -> TeleopDevice:
    """Open the device of that name.

    Raises:
        UsageError: There is none.
        VandError: It is not plugged in, or what it needs is not installed.
    """
    if name not in TELEOP_DEVICES:
        raise unknown_name("device", name, TELEOP_DEVICES)
    device: TeleopDevice = import_module(f"vand_demos.teleop.{name}").connect(options)
    return device
