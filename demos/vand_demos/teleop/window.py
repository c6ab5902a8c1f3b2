"""The native window: the robot, what to do next, and the keys that a session needs."""

from collections.abc import Mapping
from typing import Any

import glfw
import mujoco

from vand_demos.teleop.device import Event
from vand_demos.teleop.status import Status
from vand_demos.ui.native import BOTTOM_RIGHT, TOP_LEFT, NativeWindow, require_display
from vand_envs.robot import ROBOT_PREFIX

EVENT_KEYS: Mapping[int, tuple[Event, str]] = {
    glfw.KEY_ENTER: ("start", "Enter"),
    glfw.KEY_INSERT: ("save", "Insert"),
    glfw.KEY_DELETE: ("discard", "Delete"),
    glfw.KEY_PAGE_DOWN: ("fail", "Page Down"),
    glfw.KEY_F8: ("reset", "F8"),
    glfw.KEY_F9: ("undo", "F9"),
    glfw.KEY_F12: ("quit", "F12"),
    glfw.KEY_F11: ("save", "Insert, F11"),  # laptops have no Insert
}
"""Key -> what it asks for, and how all keys for it are called. The viewer uses none of them."""

_CAMERA = "chase"


class Window(NativeWindow):
    """The window of a session.

    Args:
        model: The world.

    Raises:
        VandError: There is no display.
    """

    def __init__(self, model: Any) -> None:
        require_display("--device web")
        super().__init__(model)
        with self.viewer.lock():
            self.viewer.cam.type = mujoco.mjtCamera.mjCAMERA_FIXED
            known = [model.camera(i).name for i in range(model.ncam)]
            camera = ROBOT_PREFIX + _CAMERA
            self.viewer.cam.fixedcamid = known.index(camera if camera in known else "overview")

    def show(
        self, status: Status, pose: Any, controls: Mapping[str, str], keys: Mapping[str, str]
    ) -> None:
        """Draw the robot, and say what to do.

        Args:
            status: How the session stands.
            pose: The robot, as `mujoco.MjData`.
            controls: How the device's parts stand, line by line.
            keys: What they do; shown unless the robot is driven, when it would hide the work.
        """
        below = {**controls, "keys": "shown while it is paused (Enter)"}
        if status.phase != "driving":
            events: dict[str, str] = dict(EVENT_KEYS.values())
            if not status.judged_by_person:
                del events["fail"]
            below = {**controls, **keys, **events}
        self.put(pose, {TOP_LEFT: _lines(status), BOTTOM_RIGHT: below})
        self.viewer.sync()


def events_of(keys: list[int]) -> tuple[Event, ...]:
    """Events of the pressed keys."""
    return tuple(EVENT_KEYS[key][0] for key in keys if key in EVENT_KEYS)


def _lines(status: Status) -> dict[str, str]:
    """Lines for the operator: heading -> text."""
    lines = {
        status.instruction: status.phase,
        "next": status.next_step,
        "message": status.message,
        "recorded": f"{status.saved} of {status.wanted}, {status.total} in the data set",
        "time": f"{status.time_s:.1f} s",
        "control": f"{status.measured_hz:.1f} of {status.rate_hz:.0f} steps a second"
        + ("" if status.keeps_up else ": this machine cannot keep up"),
    }
    if status.stage_names:
        lines["stages"] = f"{status.stages_done} of {len(status.stage_names)}"
    elif status.cycle_name is not None:
        lines[f"{status.cycle_name}s"] = status.wound
    return lines
