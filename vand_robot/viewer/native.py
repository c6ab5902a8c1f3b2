"""The viewer in MuJoCo's own window: keys for time and episodes, the mouse for pushes.

A body is pulled as in MuJoCo's own simulator: double-click it, then drag with Ctrl and the right
(force) or left (torque) button held.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import glfw
import mujoco
import numpy as np

from vand_demos.system.interrupt import Interrupt
from vand_demos.ui.frames import FRAMES_PER_S, FrameClock
from vand_demos.ui.native import BOTTOM_LEFT, TOP_LEFT, NativeWindow, require_display
from vand_envs.typing import FloatArray
from vand_robot.viewer.memory_plot import MemoryPlot
from vand_robot.viewer.player import Player
from vand_robot.viewer.scene import SceneView

SKIP_S = 5.0
"""How far a key skips [s]."""

QUIT_KEY = glfw.KEY_F12

_PLOT_S = 0.2  # The plot of the memory is drawn anew after this time.


def show(session: Player) -> None:
    """Show a window until somebody closes it.

    Args:
        session: What is shown.

    Raises:
        VandError: There is no display.
        KeyboardInterrupt: After Ctrl-C, when what was being drawn is drawn.
    """
    require_display("--viewer web")
    keys = key_actions(session)
    with Interrupt() as interrupt:
        window = _Window(SceneView(session))
        timing, last = FrameClock(1.0 / FRAMES_PER_S), time.perf_counter()
        done = 0  # control steps in which the mouse had its say
        try:
            while window.is_open:
                interrupt.obey()
                for key in window.pressed():
                    if key == QUIT_KEY:
                        return
                    if key in keys:
                        session.attempt(keys[key][1])
                now = time.perf_counter()
                session.tick(min(now - last, 0.25))  # a long stop is no jump
                last = now
                if not window.stage.is_current:  # another world: another window
                    window.close()
                    window = _Window(SceneView(session))
                live = session.live
                if live is not None and not session.paused and len(live.moments) != done:
                    done = len(live.moments)
                    if (wrenches := window.pulled(live.world.model.nbody)) is not None:
                        session.attempt(partial(session.pull, wrenches))
                window.show(session, {name: about for name, _, about in keys.values()})
                timing.wait()
        finally:
            window.close()


def key_actions(session: Player) -> dict[int, tuple[str, Callable[[], object], str]]:
    """Key (glfw code) -> how it is called, what it does, and that in words.

    MuJoCo's viewer uses none of them.
    """

    def instruct() -> None:
        live = session.live
        tasks = live.instructions if live else session.source.tasks
        at = tasks.index(session.moment.task) + 1
        session.instruct(tasks[at % len(tasks)])

    def other_task() -> None:
        tasks = session.source.tasks
        session.open(tasks[(tasks.index(session.source.task) + 1) % len(tasks)], 0)

    keys: dict[int, tuple[str, Callable[[], object], str]] = {
        glfw.KEY_ENTER: ("Enter", session.toggle, "play, pause"),
        glfw.KEY_UP: ("Up", partial(session.step_by, 1), "a step on"),
        glfw.KEY_DOWN: ("Down", partial(session.step_by, -1), "a step back"),
        glfw.KEY_9: ("9", lambda: session.seek(session.time_s + SKIP_S), f"{SKIP_S:g} s on"),
        glfw.KEY_8: ("8", lambda: session.seek(session.time_s - SKIP_S), f"{SKIP_S:g} s back"),
        glfw.KEY_INSERT: ("Insert", session.faster, "faster"),
        glfw.KEY_DELETE: ("Delete", partial(session.faster, -1), "slower"),
        glfw.KEY_F8: ("F8", session.next, "next episode"),
        glfw.KEY_F9: ("F9", other_task, "next task"),
        QUIT_KEY: ("F12", session.pause, "quit"),
    }
    if session.live is not None:
        keys[glfw.KEY_6] = ("6", instruct, "next instruction, at once")
        keys[glfw.KEY_7] = ("7", partial(session.push, "base", "left"), "push the base")
    return keys


class _Window(NativeWindow):
    """The window of a stage."""

    def __init__(self, stage: SceneView) -> None:
        super().__init__(stage.model)
        self.stage = stage
        self._plot, self._plotted = MemoryPlot(), -np.inf
        if stage.camera != -1:
            with self.viewer.lock():
                self.viewer.cam.type = mujoco.mjtCamera.mjCAMERA_FREE
                _look_as(self.viewer.cam, self.model, stage.pose(), str(stage.camera))

    def pulled(self, bodies: int) -> FloatArray | None:
        """Forces with which the mouse pulls the first bodies, (bodies, 6) [N, N m]; or None."""
        with self.viewer.lock():
            if not self.viewer.perturb.active or self.viewer.perturb.select >= bodies:
                return None
            self.data.xfrc_applied[:] = 0.0
            mujoco.mjv_applyPerturbForce(self.model, self.data, self.viewer.perturb)
            wrenches: FloatArray = self.data.xfrc_applied[:bodies].copy()
            self.data.xfrc_applied[:] = 0.0
        return wrenches

    def show(self, session: Player, keys: dict[str, str]) -> None:
        """Draw how the session stands, and what the keys do."""
        self.put(self.stage.pose(), {TOP_LEFT: _lines(session), BOTTOM_LEFT: keys})
        if session.live is not None and time.perf_counter() - self._plotted > _PLOT_S:
            self._plotted = time.perf_counter()
            self._show_memory(session)
        self.viewer.sync()

    def _show_memory(self, session: Player) -> None:
        picture = self._plot.draw(session.source.moments, session.step)
        height, width = picture.shape[:2]
        port = self.viewer.viewport
        if port is not None and port.width > 1.6 * width:
            place = mujoco.MjrRect(port.left + port.width - width, port.bottom, width, height)
            self.viewer.set_images((place, np.ascontiguousarray(picture)))


def _look_as(view: Any, model: Any, data: Any, camera: str) -> None:
    """Put the free camera where a fixed one is, so that the mouse can turn it."""
    named = model.camera(camera).id
    ahead = -data.cam_xmat[named].reshape(3, 3)[:, 2]
    view.distance = max(float(ahead @ (model.stat.center - data.cam_xpos[named])), 0.1)
    view.lookat[:] = data.cam_xpos[named] + view.distance * ahead
    view.azimuth = np.degrees(np.arctan2(ahead[1], ahead[0]))
    view.elevation = np.degrees(np.arcsin(np.clip(ahead[2], -1.0, 1.0)))


def _lines(session: Player) -> dict[str, str]:
    """How the session stands: heading -> text."""
    now = session.moment
    lines = {
        now.instruction: now.standing,
        "time": f"{session.time_s:.1f} of {session.length_s:.1f} s, {session.speed:g} x"
        + (", paused" if session.paused else ""),
        "shown": session.source.title
        + (", interfered with" if session.live and session.live.touched else ""),
    }
    if session.beside is not None:
        then, _, _ = session.frame(session.beside)
        lines["beside"] = f"{session.beside.title}: {then.phase}"
    if session.message:
        lines["message"] = session.message
    return lines
