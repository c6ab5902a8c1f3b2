"""Teleoperation with the keyboard, in the native window.

The window tells when a key is pressed and never when it is released, so a press does not stand for
a motion but for a change of it: each adds to a velocity, which is shown, and the opposite key takes
it back. The velocity ends by itself when no key was pressed for a while.
"""

import time
from collections.abc import Mapping
from typing import Any

import glfw
import numpy as np

from vand_demos.teleop.device import SLOW, START_SPEED, Command
from vand_demos.teleop.devices import DeviceOptions
from vand_demos.teleop.status import Status
from vand_demos.teleop.window import EVENT_KEYS, Window, events_of

INCREMENT = 0.25
"""Change of a velocity by one press, as a share of the chosen speed."""

LATCH_S = 3.0
"""A velocity lasts so long after the last press [s]: nobody may be there."""

MOTION_KEYS: Mapping[int, tuple[int, float]] = {
    glfw.KEY_UP: (0, 1.0),
    glfw.KEY_DOWN: (0, -1.0),
    glfw.KEY_LEFT: (1, 1.0),
    glfw.KEY_RIGHT: (1, -1.0),
    glfw.KEY_9: (2, 1.0),
    glfw.KEY_6: (2, -1.0),
    glfw.KEY_HOME: (3, 1.0),
    glfw.KEY_END: (3, -1.0),
    glfw.KEY_MINUS: (3, 1.0),  # laptops have no Home and End
    glfw.KEY_EQUAL: (3, -1.0),
}
"""Key -> ahead, left, up or turn, and its direction."""

SWITCH_KEY, GRIPPER_KEY, STOP_KEY, SLOW_KEY = (
    glfw.KEY_PERIOD,
    glfw.KEY_8,
    glfw.KEY_7,
    glfw.KEY_F10,
)

_HELP = {
    "ahead, back": "Up, Down",
    "left, right": "Left, Right",
    "hand up, down": "9, 6",
    "turn left, right": "Home, End or - =",
    "base or hand": ".",
    "gripper": "8",
    "stop": "7",
    "slow": "F10",
}


def connect(options: DeviceOptions) -> "KeyboardDevice":
    """Open the window.

    Raises:
        VandError: There is no display.
    """
    return KeyboardDevice(Window(options.world.model), START_SPEED)


class KeyboardDevice:
    """Keys change velocities, of the base or of the hand."""

    def __init__(self, window: Window, speed: float) -> None:
        self._window, self._speed = window, speed
        self._hand = False
        self._velocity = np.zeros(4)  # ahead, left, up, turn
        self._gripper = 1.0
        self._slow = False
        self._last_press_s = -np.inf

    def read(self) -> Command:
        """Command of the keys."""
        if not self._window.is_open:
            return Command(gripper=self._gripper, events=("quit", "quit"), present=False)
        keys = self._window.pressed()
        for key in keys:
            self._press(key)
        if time.monotonic() - self._last_press_s > LATCH_S:
            self._velocity[:] = 0.0
        events = events_of(keys)
        ahead, left, up, turn = (float(v) for v in self._velocity)
        speed = self._speed * (SLOW if self._slow else 1.0)
        if self._hand:
            return Command(
                ee_linear=(ahead, left, up),
                ee_angular=(0.0, 0.0, turn),
                gripper=self._gripper,
                speed=speed,
                events=events,
            )
        return Command(
            base_twist=(ahead, left, turn),
            ee_linear=(0.0, 0.0, up),
            gripper=self._gripper,
            speed=speed,
            events=events,
        )

    def show(self, status: Status, pose: Any) -> None:
        """Draw the robot, and show the velocities."""
        ahead, left, up, turn = self._velocity
        state = {
            f"driving the {'hand' if self._hand else 'base'}": "slow" if self._slow else "",
            "ahead, left": f"{ahead:+.2f} {left:+.2f}",
            "up, turn": f"{up:+.2f} {turn:+.2f}",
        }
        self._window.show(status, pose, state, _HELP)

    def close(self) -> None:
        """Close the window."""
        self._window.close()

    def _press(self, key: int) -> None:
        if key in MOTION_KEYS:
            axis, sign = MOTION_KEYS[key]
            changed = self._velocity[axis] + sign * INCREMENT
            # Against the motion, the first press stops it.
            stops = self._velocity[axis] * sign < 0
            self._velocity[axis] = 0.0 if stops else np.clip(changed, -1.0, 1.0)
            self._last_press_s = time.monotonic()
        elif key in (SWITCH_KEY, STOP_KEY, *EVENT_KEYS):
            self._velocity[:] = 0.0
            self._hand ^= key == SWITCH_KEY
        elif key == GRIPPER_KEY:
            self._gripper = -self._gripper
        elif key == SLOW_KEY:
            self._slow = not self._slow
