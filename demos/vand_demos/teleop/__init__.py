"""People at the controls: devices, the episodes they drive, and the loop that keeps time."""

from vand_demos.episode import TELEOP_DEVICES
from vand_demos.teleop.device import Command, Event, TeleopDevice
from vand_demos.teleop.devices import DeviceOptions, open_device
from vand_demos.teleop.loop import run
from vand_demos.teleop.session import TeleopSession
from vand_demos.teleop.status import Status
from vand_demos.ui.frames import FrameClock

__all__ = [
    "TELEOP_DEVICES",
    "Command",
    "DeviceOptions",
    "Event",
    "FrameClock",
    "Status",
    "TeleopDevice",
    "TeleopSession",
    "open_device",
    "run",
]
