"""A device of axes and buttons beside the native window: what gamepad and SpaceMouse share."""

from collections.abc import Callable, Mapping
from typing import Any

from vand_demos.teleop.device import EVENTS, SLOW, Command, Event
from vand_demos.teleop.mapping import InputMapping
from vand_demos.teleop.status import Status
from vand_demos.teleop.window import Window, events_of

Inputs = Mapping[str, float]
"""Name of an axis or a button -> where it is, in [-1, 1]."""


class MappedDevice:
    """Reads inputs, and the keys of the window, for whoever has one hand there.

    Args:
        window: Shows the robot.
        mapping: What the inputs do.
        inputs: Gives the inputs; None while the device is unplugged.
        release: Lets go of the device.
        speed: Share of full speed.
    """

    def __init__(
        self,
        window: Window,
        mapping: InputMapping,
        inputs: Callable[[], Inputs | None],
        release: Callable[[], None],
        speed: float,
    ) -> None:
        self._window, self._mapping, self._speed = window, mapping, speed
        self._inputs, self._release = inputs, release
        self._down: set[str] = set()  # actions whose input is pressed
        self._gripper, self._slow, self._plugged = 1.0, False, True

    def read(self) -> Command:
        """Command of the inputs."""
        if not self._window.is_open:
            return Command(gripper=self._gripper, events=("quit", "quit"), present=False)
        inputs = self._inputs()
        self._plugged = inputs is not None
        events = (*events_of(self._window.pressed()), *self._presses(inputs or {}))
        x = [float(number) for number in self._mapping.twist(inputs or {})]
        return Command(
            base_twist=(x[0], x[1], x[2]),
            ee_linear=(x[3], x[4], x[5]),
            ee_angular=(x[6], x[7], x[8]),
            gripper=self._gripper,
            speed=self._speed * (SLOW if self._slow else 1.0),
            events=events,
            present=self._plugged,
        )

    def show(self, status: Status, pose: Any) -> None:
        """Draw the robot, and say what does what."""
        state = "slow" if self._slow else "full speed"
        state = state if self._plugged else "UNPLUGGED"
        self._window.show(status, pose, {"device": state}, self._mapping.help)

    def close(self) -> None:
        """Let go of device and window."""
        self._release()
        self._window.close()

    def _presses(self, inputs: Inputs) -> list[Event]:
        """Events of inputs that were not pressed before."""
        down = {
            action
            for action, name in self._mapping.actions.items()
            if abs(inputs.get(name, 0.0)) > 0.5
        }
        fresh, self._down = down - self._down, down
        self._gripper *= -1.0 if "gripper" in fresh else 1.0
        self._slow ^= "slow" in fresh
        return [action for action in EVENTS if action in fresh]
