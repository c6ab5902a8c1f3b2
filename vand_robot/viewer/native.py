"""The viewer in MuJoCo's own window: keys for time and episodes, the mouse for pushes.

A body is pulled as in MuJoCo's own simulator: double-click it, then drag with Ctrl and the right
(force) or left (torque) button held.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import glfw
import mujoco
import numpy as np
from PIL import Image

from vand_demos.ui.native import BOTTOM_LEFT, TOP_LEFT, NativeWindow, require_display
from vand_envs.typing import FloatArray
from vand_robot.viewer.base import BaseViewer
from vand_robot.viewer.memory_plot import MemoryPlot
from vand_robot.viewer.player import Player

SKIP_S = 5.0
"""How far a key skips [s]."""

QUIT_KEY = glfw.KEY_F12
HIDE_KEY = glfw.KEY_PERIOD

_LABEL_LETTERS = 99
"""Longest label that MuJoCo draws."""
_PLOT_SHARE = 0.2
"""Width of the plot of the memory [of the window's]."""


class NativeViewer(BaseViewer):
    """A window with the scene, texts in its corners, and the plot of the policy's memory."""

    def __init__(self, player: Player) -> None:
        super().__init__(player)
        self._keys = key_actions(player)
        by_action = {action: name for name, _, action in self._keys.values()}  # the last name
        self._help = {name: action for action, name in by_action.items()}
        self._window: NativeWindow | None = None
        self._plot = MemoryPlot()
        self._pulled = 0  # frames that were known when the mouse last pulled
        self._has_quit = self._is_bare = False

    @property
    def window(self) -> NativeWindow:
        """The open window."""
        if self._window is None:
            raise RuntimeError("the viewer is not open")
        return self._window

    @property
    def is_open(self) -> bool:
        """See `BaseViewer`."""
        return self.window.is_open and not self._has_quit

    def open(self) -> None:
        """Open a window."""
        self._window = window = NativeWindow(self.scene.model)
        camera = self.scene.camera
        with window.viewer.lock():
            window.viewer.cam.type = mujoco.mjtCamera.mjCAMERA_FREE
            if camera == -1:
                mujoco.mjv_defaultFreeCamera(window.model, window.viewer.cam)
            else:
                _look_as(window.viewer.cam, window.model, self.scene.pose(), str(camera))

    def change_scene(self) -> None:
        """Open another window for another world."""
        self.close()
        self.open()

    def obey(self) -> None:
        """Do what the keys pressed since the last call say."""
        for key in self.window.pressed():
            if key in self._keys:
                self.player.attempt(self._keys[key][1])
            self._has_quit |= key == QUIT_KEY
            if key == HIDE_KEY:
                self._is_bare = not self._is_bare
                self.refresh_soon()

    def sync(self) -> None:
        """Let the mouse pull; draw the pose, how the player stands, and what the keys do."""
        self._pull()
        window, player = self.window, self.player
        texts = {TOP_LEFT: _lines(player), BOTTOM_LEFT: self._help}
        if self._is_bare:
            texts = {TOP_LEFT: dict([*_lines(player).items()][:1])}
        window.put(self.scene.pose(), texts)
        with window.viewer.lock():
            _write_labels(window.viewer.user_scn, self.scene.labels)
        if player.live is not None and self.refresh_is_due():
            self._show_memory()
        window.viewer.sync()

    def close(self) -> None:
        """Close the window."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def _pull(self) -> None:
        """Let the mouse pull for one control step, once in each."""
        live = self.player.live
        if live is None or self.player.paused or len(live.frames) == self._pulled:
            return
        self._pulled = len(live.frames)
        if (wrenches := _mouse_wrenches(self.window, live.world.model.nbody)) is not None:
            self.player.attempt(partial(self.player.pull, wrenches))

    def _show_memory(self) -> None:
        viewer = self.window.viewer
        frames = self.player.source.frames
        if self._is_bare or frames[-1].memory is None:  # hidden, or there is none
            viewer.clear_images()
            return
        if (port := viewer.viewport) is None:
            return
        drawn = Image.fromarray(self._plot.draw(frames, self.player.step))
        width = round(_PLOT_SHARE * port.width)
        picture = np.asarray(drawn.resize((width, round(width * drawn.height / drawn.width))))
        place = mujoco.MjrRect(port.left + port.width - width, port.bottom, *picture.shape[1::-1])
        viewer.set_images((place, np.ascontiguousarray(picture)))


def show(player: Player) -> None:
    """Show a window until somebody closes it.

    Args:
        player: The player.

    Raises:
        VandError: There is no display.
        KeyboardInterrupt: After Ctrl-C, when the frame in progress is drawn.
    """
    require_display("--viewer web")
    NativeViewer(player).run()


def key_actions(player: Player) -> dict[int, tuple[str, Callable[[], object], str]]:
    """Key (glfw code) -> its name, its action, and the action in words.

    MuJoCo's viewer uses none of these keys, but - and =, which change a speed that it does not use
    here. Where laptops lack a key, another does the same.
    """

    def instruct() -> None:
        live = player.live
        tasks = live.instructions if live else player.source.tasks
        at = tasks.index(player.frame.task) + 1
        player.instruct(tasks[at % len(tasks)])

    def other_task() -> None:
        tasks = player.source.tasks
        player.open(tasks[(tasks.index(player.source.task) + 1) % len(tasks)], 0)

    keys: dict[int, tuple[str, Callable[[], object], str]] = {
        glfw.KEY_ENTER: ("Enter", player.toggle, "play, pause"),
        glfw.KEY_UP: ("Up", partial(player.step_by, 1), "a step on"),
        glfw.KEY_DOWN: ("Down", partial(player.step_by, -1), "a step back"),
        glfw.KEY_9: ("9", lambda: player.seek(player.time_s + SKIP_S), f"{SKIP_S:g} s on"),
        glfw.KEY_8: ("8", lambda: player.seek(player.time_s - SKIP_S), f"{SKIP_S:g} s back"),
        glfw.KEY_INSERT: ("Insert", player.faster, "faster"),
        glfw.KEY_EQUAL: ("= or Insert", player.faster, "faster"),
        glfw.KEY_DELETE: ("Delete", partial(player.faster, -1), "slower"),
        glfw.KEY_MINUS: ("- or Delete", partial(player.faster, -1), "slower"),
        glfw.KEY_F8: ("F8", player.next, "next episode"),
        glfw.KEY_F9: ("F9", other_task, "next task"),
        HIDE_KEY: (".", lambda: None, "hide or show these texts"),
        QUIT_KEY: ("F12", player.pause, "quit"),
    }
    if player.live is not None:
        keys[glfw.KEY_6] = ("6", instruct, "next instruction, at once")
        keys[glfw.KEY_7] = ("7", partial(player.push, "base", "left"), "push the base")
    return keys


def _mouse_wrenches(window: NativeWindow, bodies: int) -> FloatArray | None:
    """Forces with which the mouse pulls the first bodies, (bodies, 6) [N, N m]; or None."""
    viewer, data = window.viewer, window.data
    with viewer.lock():
        if not viewer.perturb.active or viewer.perturb.select >= bodies:
            return None
        data.xfrc_applied[:] = 0.0
        mujoco.mjv_applyPerturbForce(window.model, data, viewer.perturb)
        wrenches: FloatArray = data.xfrc_applied[:bodies].copy()
        data.xfrc_applied[:] = 0.0
    return wrenches


def _write_labels(scene: Any, labels: list[tuple[str, FloatArray]]) -> None:
    """Write texts at places into what the viewer draws besides the model."""
    scene.ngeom = len(labels)
    for geom, (title, place) in zip(scene.geoms, labels, strict=False):
        mujoco.mjv_initGeom(
            geom,
            int(mujoco.mjtGeom.mjGEOM_LABEL),
            np.full(3, 0.01),
            place,
            np.eye(3).ravel(),
            np.ones(4, np.float32),
        )
        geom.label = title[:_LABEL_LETTERS]


def _look_as(view: Any, model: Any, data: Any, camera: str) -> None:
    """Put the free camera where a fixed one is, so that the mouse can turn it."""
    named = model.camera(camera).id
    ahead = -data.cam_xmat[named].reshape(3, 3)[:, 2]
    view.distance = max(float(ahead @ (model.stat.center - data.cam_xpos[named])), 0.1)
    view.lookat[:] = data.cam_xpos[named] + view.distance * ahead
    view.azimuth = np.degrees(np.arctan2(ahead[1], ahead[0]))
    view.elevation = np.degrees(np.arcsin(np.clip(ahead[2], -1.0, 1.0)))


def _lines(player: Player) -> dict[str, str]:
    """Texts of the window's corner: heading -> text."""
    now = player.frame
    lines = {
        now.instruction: now.standing,
        "time": f"{player.time_s:.1f} of {player.length_s:.1f} s, {player.speed:g} x"
        + (", paused" if player.paused else ""),
        "shown": player.source.title
        + (", interfered with" if player.live and player.live.touched else ""),
    }
    if player.beside is not None:
        then, _, _ = player.around(player.beside)
        lines["beside"] = f"{player.beside.title}: {then.progress_text}"
    if player.message:
        lines["message"] = player.message
    return lines
