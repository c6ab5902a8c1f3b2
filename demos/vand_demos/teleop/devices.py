"""The devices there are, by name."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from vand_demos.episode import is_own_device
from vand_demos.teleop.device import TeleopDevice
from vand_demos.ui import LOOPBACK
from vand_envs.errors import UsageError
from vand_envs.tasks.registry import Registry
from vand_envs.world import World

BUILT_IN = ("web", "keyboard", "gamepad", "spacemouse")
"""Each is the module of that name in this package, whose `connect` opens it."""


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


Opener = Callable[[DeviceOptions], TeleopDevice]
"""Opens a device."""


def _opener(name: str) -> Opener:
    """The function that opens a built-in device; its module is imported then."""

    def connect(options: DeviceOptions) -> TeleopDevice:
        device: TeleopDevice = import_module(f"vand_demos.teleop.{name}").connect(options)
        return device

    return connect


TELEOP_DEVICES: Registry[Opener] = Registry("device")
"""Name -> what opens the device."""

for _name in BUILT_IN:
    TELEOP_DEVICES.add(_name, _opener(_name))
TELEOP_DEVICES.seal()


def register_device(name: str, connect: Opener) -> None:
    """Make a device of one's own known.

    Args:
        name: `NAMESPACE/NAME`, such as `mine/pedals`: data sets say with it who drove, and can be
            read where nobody knows the device.
        connect: What opens the device; raises `VandError` where it is not plugged in.

    Raises:
        UsageError: The name has another form, or is taken.
    """
    if not is_own_device(name):
        raise UsageError(f"device: expected NAMESPACE/NAME, such as 'mine/pedals', got {name!r}")
    TELEOP_DEVICES.add(name, connect)


def open_device(name: str, options: DeviceOptions) -> TeleopDevice:
    """Open the device of that name.

    Raises:
        UsageError: There is none.
        VandError: It is not plugged in, or what it needs is not installed.
    """
    return TELEOP_DEVICES[name](options)
