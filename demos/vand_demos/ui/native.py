"""MuJoCo's own window, as far as teleoperation and replay share it."""

import copy
import queue
import threading
import warnings
from collections.abc import Mapping
from typing import Any

import glfw
import mujoco
import mujoco.viewer

from vand_envs.errors import VandError

CLOSING_S = 10.0
"""Time that the viewer is given to close [s]."""

TOP_LEFT = mujoco.mjtGridPos.mjGRID_TOPLEFT
BOTTOM_LEFT = mujoco.mjtGridPos.mjGRID_BOTTOMLEFT
BOTTOM_RIGHT = mujoco.mjtGridPos.mjGRID_BOTTOMRIGHT
_SMALL = mujoco.mjtFontScale.mjFONTSCALE_100


def require_display(otherwise: str) -> None:
    """Make sure that a window can be opened: MuJoCo's viewer would wait for ever.

    Args:
        otherwise: What to use without a display, as one types it.

    Raises:
        VandError: There is no display.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", glfw.GLFWError)  # which says less than the line below
        ready = glfw.init()
    if not ready:
        raise VandError(
            "the native window needs a display (DISPLAY is not set, or nothing answers there);"
            f" without one, use {otherwise}"
        )


class NativeWindow:
    """MuJoCo's passive viewer. It tells of key presses only, so nothing in it can be held.

    Args:
        model: The world, as `mujoco.MjModel`; left as it was.
    """

    def __init__(self, model: Any) -> None:
        self._keys: queue.SimpleQueue[int] = queue.SimpleQueue()  # filled by the viewer's thread
        self.model = copy.copy(model)
        # Without a graphics card, shadows take several times as long as all the rest.
        self.model.vis.quality.shadowsize = 0
        self.data = mujoco.MjData(self.model)
        others = set(threading.enumerate())
        self.viewer = mujoco.viewer.launch_passive(
            self.model,
            self.data,
            key_callback=self._keys.put,
            show_left_ui=False,
            show_right_ui=False,
        )
        self._threads = set(threading.enumerate()) - others

    @property
    def is_open(self) -> bool:
        """Whether nobody has closed it."""
        return bool(self.viewer.is_running())

    def pressed(self) -> list[int]:
        """Keys pressed since the last call (glfw codes), in their order."""
        keys = []
        while not self._keys.empty():
            keys.append(self._keys.get())
        return keys

    def put(self, pose: Any, texts: Mapping[Any, Mapping[str, str]]) -> None:
        """Set what `self.viewer.sync()` shows next.

        Args:
            pose: The world, as `mujoco.MjData`.
            texts: Corner -> heading -> text, line by line.
        """
        with self.viewer.lock():
            mujoco.mj_copyData(self.data, self.model, pose)
        self.viewer.set_texts(
            [
                (_SMALL, corner, "\n".join(lines), "\n".join(lines.values()))
                for corner, lines in texts.items()
            ]
        )

    def close(self) -> None:
        """Close it."""
        self.viewer.close()
        for thread in self._threads:  # one that still draws when Python ends is a crash
            thread.join(CLOSING_S)
