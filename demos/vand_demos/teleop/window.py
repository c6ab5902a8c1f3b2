"""The native window: the robot, what to do next, and the keys that a session needs."""

import copy
import queue
import threading
from collections.abc import Mapping
from typing import Any

import glfw
import mujoco
import mujoco.viewer

from vand_demos.teleop.device import Event
from vand_demos.teleop.status import Status
from vand_envs.errors import VandError

EVENT_KEYS: Mapping[int, tuple[Event, str]] = {
    glfw.KEY_ENTER: ("start", "Enter"),
    glfw.KEY_INSERT: ("save", "Insert"),
    glfw.KEY_DELETE: ("discard", "Delete"),
    glfw.KEY_F8: ("reset", "F8"),
    glfw.KEY_F9: ("undo", "F9"),
    glfw.KEY_F12: ("quit", "F12"),
}
"""Key -> what it asks for, and how it is called. The viewer uses none of them."""

CLOSING_S = 10.0
"""Time that the viewer is given to close [s]."""

_CAMERA = "chase"
_TOP_LEFT = mujoco.mjtGridPos.mjGRID_TOPLEFT
_BOTTOM_RIGHT = mujoco.mjtGridPos.mjGRID_BOTTOMRIGHT
_SMALL = mujoco.mjtFontScale.mjFONTSCALE_100


class Window:
    """MuJoCo's own viewer. It tells of presses only, so nothing here can be held.

    Args:
        model: The world.

    Raises:
        VandError: There is no display.
    """

    def __init__(self, model: Any) -> None:
        if not glfw.init():  # the viewer would wait for ever
            raise VandError("the native window needs a display; without one, use --device web")
        self._keys: queue.SimpleQueue[int] = queue.SimpleQueue()  # filled by the viewer's thread
        model = copy.copy(model)
        # Without a graphics card, shadows take several times as long as all the rest.
        model.vis.quality.shadowsize = 0
        self._model, self._data = model, mujoco.MjData(model)
        others = set(threading.enumerate())
        self._viewer = mujoco.viewer.launch_passive(
            model,
            self._data,
            key_callback=self._keys.put,
            show_left_ui=False,
            show_right_ui=False,
        )
        self._threads = set(threading.enumerate()) - others
        with self._viewer.lock():
            self._viewer.cam.type = mujoco.mjtCamera.mjCAMERA_FIXED
            self._viewer.cam.fixedcamid = model.camera(f"robot/{_CAMERA}").id

    def pressed(self) -> list[int]:
        """Keys pressed since the last call (glfw codes), in their order."""
        keys = []
        while not self._keys.empty():
            keys.append(self._keys.get())
        return keys

    @property
    def is_open(self) -> bool:
        """Whether nobody has closed it."""
        return bool(self._viewer.is_running())

    def show(self, status: Status, pose: Any, controls: Mapping[str, str]) -> None:
        """Draw the robot, and say what to do.

        Args:
            status: How the session stands.
            pose: The robot, as `mujoco.MjData`.
            controls: What the device's parts do, or how they stand, line by line.
        """
        with self._viewer.lock():
            mujoco.mj_copyData(self._data, self._model, pose)
        lines = _lines(status)
        help_ = dict(controls)
        help_.update(EVENT_KEYS.values())
        self._viewer.set_texts(
            [
                (_SMALL, _TOP_LEFT, "\n".join(lines), "\n".join(lines.values())),
                (_SMALL, _BOTTOM_RIGHT, "\n".join(help_), "\n".join(help_.values())),
            ]
        )
        self._viewer.sync()

    def close(self) -> None:
        """Close it."""
        self._viewer.close()
        for thread in self._threads:  # one that still draws when Python ends is a crash
            thread.join(CLOSING_S)


def events_of(keys: list[int]) -> tuple[Event, ...]:
    """What the pressed keys ask for."""
    return tuple(EVENT_KEYS[key][0] for key in keys if key in EVENT_KEYS)


def _lines(status: Status) -> dict[str, str]:
    """What to tell an operator: heading -> text."""
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
        lines[f"{status.cycle_name}s"] = f"{status.cycles:.1f} of {status.cycles_needed}"
    return lines
