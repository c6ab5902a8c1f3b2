"""The viewer in the browser: scene, time bar, controls, and the policy's memory."""

import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from vand_demos.system.interrupt import Interrupt
from vand_demos.ui import LOOPBACK
from vand_demos.ui.frames import FRAMES_PER_S, FrameClock
from vand_demos.ui.web_scene import add_scene, place_camera
from vand_demos.ui.web_server import invitation, web_server
from vand_robot.viewer.live_episodes import DIRECTIONS, PARTS
from vand_robot.viewer.memory_plot import SIZE, MemoryPlot
from vand_robot.viewer.player import SPEEDS, Player
from vand_robot.viewer.scene import SceneView

SLOW_S = 0.2
"""Time bar and plot are drawn anew after this time [s]."""

_BACK, _ON = "Back", "Forward"

_STYLE = """<title>vand-robot: replay</title>
<style>.mantine-Notifications-root { display: none; }</style>"""

_OWN_S = 0.6
"""The time bar does not move by itself for so long after somebody moved it [s]."""


def serve(
    session: Player,
    *,
    host: str = LOOPBACK,
    port: int = 0,
    announce: Callable[[str], None],
    stop: threading.Event | None = None,
) -> None:
    """Serve the page until the process is interrupted.

    Args:
        session: What is shown.
        host: Where to listen.
        port: Port; 0 takes a free one.
        announce: Told where the page is.
        stop: Ends it when set.

    Raises:
        UsageError: Nothing can listen there.
        KeyboardInterrupt: After Ctrl-C, when what was being drawn is drawn.
    """
    stop = stop or threading.Event()
    with Interrupt() as interrupt, web_server(host, port, overlay=_STYLE) as server:
        page = _Page(server, session)
        announce(invitation(server, host))
        timing = FrameClock(1.0 / FRAMES_PER_S)
        last = time.perf_counter()
        while not stop.is_set():
            interrupt.obey()
            page.obey()
            now = time.perf_counter()
            session.tick(min(now - last, 0.25))  # a long stop is no jump
            last = now
            page.draw()
            timing.wait()


class _Page:
    """The controls; what they ask for is done by the loop, one after the other."""

    def __init__(self, server: Any, session: Player) -> None:
        self._server, self._session = server, session
        self._asked: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._plot = MemoryPlot()
        self._drawn: tuple[Any, ...] = ()
        self._values: dict[str, Any] = {}  # what each control was last set to
        self._slow_at = self._moved_at = -np.inf
        self._set_up_scene()
        self._add_controls()
        self._refresh()

    def obey(self) -> None:
        """Do what was asked for since the last call."""
        while not self._asked.empty():
            self._session.attempt(self._asked.get())
            self._values.clear()
            self._slow_at = -np.inf

    def draw(self) -> None:
        """Show how the session stands."""
        session = self._session
        if not self._stage.is_current:
            self._set_up_scene()
        shown = (id(session.source.moments), session.time_s, session.moment)
        if shown != self._drawn:
            self._drawn = shown
            with self._server.atomic():
                self._scene.update_from_mjdata(self._stage.pose())
        if time.perf_counter() - self._slow_at >= SLOW_S:
            self._slow_at = time.perf_counter()
            self._refresh()

    def _set_up_scene(self) -> None:
        self._server.scene.reset()
        self._stage = SceneView(self._session)
        pose = self._stage.pose()
        place_camera(self._server, self._stage.model, pose, self._stage.camera)
        self._scene = add_scene(self._server, self._stage.model)
        self._scene.update_from_mjdata(pose)

    def _add_controls(self) -> None:
        session, gui = self._session, self._server.gui
        gui.main_panel.dock_right()
        gui.configure_theme(control_width="large", show_logo=False, show_share_button=False)
        self._heading = gui.add_markdown("")
        self._play = gui.add_button(
            "Play", hint="Keys: K plays or pauses, J and L step, N opens the next episode."
        )
        self._play.on_click(lambda _: self._ask(session.toggle))
        steps = gui.add_button_group("Step", (_BACK, _ON))
        steps.on_click(self._on_step)
        self._time = gui.add_slider(
            "Time [s]", min=0.0, max=1.0, step=session.source.control_dt_s, initial_value=0.0
        )
        self._time.on_update(self._on_time)
        self._speed = gui.add_dropdown(
            "Speed", [_speed(speed) for speed in SPEEDS], initial_value=_speed(session.speed)
        )
        self._speed.on_update(self._on_speed)
        live = session.live
        if live is not None:
            self._picture = gui.add_image(np.full((*SIZE[::-1], 3), 255, np.uint8), format="png")
            with gui.add_folder("Interfere"):
                self._instruction = gui.add_dropdown(
                    "Instruction", live.instructions, initial_value=session.moment.task
                )
                self._instruction.on_update(self._on_instruction)
                for part in PARTS:
                    pushes = gui.add_button_group(f"Push {part}", tuple(DIRECTIONS))
                    pushes.on_click(partial(self._on_push, part))
        with gui.add_folder("Episode"):
            self._task = gui.add_dropdown(
                "Task", session.source.tasks, initial_value=session.source.task
            )
            self._task.on_update(self._on_task)
            self._number = gui.add_number(
                "Seed" if live else "Number", initial_value=session.source.number, min=0, step=1
            )
            self._number.on_update(self._on_number)
            following = gui.add_button("Next seed" if live else "Next demonstration")
            following.on_click(lambda _: self._ask(session.next))
        self._add_keys()

    def _add_keys(self) -> None:
        session, gui = self._session, self._server.gui
        for label, key, act in (
            ("Play or pause", "K", session.toggle),
            ("A step on", "L", partial(session.step_by, 1)),
            ("A step back", "J", partial(session.step_by, -1)),
            ("Next episode", "N", session.next),
        ):
            gui.add_command(label, hotkey=key).on_trigger(lambda _, act=act: self._ask(act))

    def _ask(self, act: Callable[[], object]) -> None:
        self._asked.put(act)

    @staticmethod
    def _changed(event: Any) -> bool:
        """Whether a person changed a control, and not the loop."""
        return event.client_id is not None

    # Coroutines, because viser awaits these at once, and lets a thread call others some time later:
    # the control might then have another value.

    async def _on_step(self, event: Any) -> None:
        self._ask(partial(self._session.step_by, 1 if event.target.value == _ON else -1))

    async def _on_time(self, event: Any) -> None:
        if self._changed(event):
            self._moved_at = time.perf_counter()
            self._ask(partial(self._session.seek, float(event.target.value)))

    async def _on_speed(self, event: Any) -> None:
        if self._changed(event):
            speeds = {_speed(speed): speed for speed in SPEEDS}
            self._ask(partial(self._session.set_speed, speeds[event.target.value]))

    async def _on_task(self, event: Any) -> None:
        if self._changed(event):
            self._ask(partial(self._session.open, event.target.value, 0))

    async def _on_number(self, event: Any) -> None:
        if self._changed(event):
            number = int(event.target.value)
            self._ask(lambda: self._session.open(self._session.source.task, number))

    async def _on_instruction(self, event: Any) -> None:
        if self._changed(event):
            self._ask(partial(self._session.instruct, event.target.value))

    async def _on_push(self, part: str, event: Any) -> None:
        self._ask(partial(self._session.push, part, str(event.target.value)))

    def _set(self, control: Any, value: object) -> None:
        """Set a control to what holds, if that changed or somebody asked for a change.

        Not else: what a person has just chosen would be set back before it is heard.
        """
        if control.label not in self._values or self._values[control.label] != value:
            self._values[control.label] = control.value = value

    def _refresh(self) -> None:
        """Bring texts, controls and the plot up to date."""
        session, source = self._session, self._session.source
        with self._server.atomic():
            self._heading.content = _heading(session)
            self._play.label = "Play" if session.paused else "Pause"
            self._time.max = max(session.length_s, source.control_dt_s)
            if time.perf_counter() - self._moved_at > _OWN_S:
                self._time.value = round(session.step * source.control_dt_s, 6)
            self._set(self._task, source.task)
            self._set(self._number, source.number)
            self._set(self._speed, _speed(session.speed))
            if session.live:
                self._set(self._instruction, session.moment.task)
                self._picture.image = self._plot.draw(source.moments, session.step)


def _heading(session: Player) -> str:
    """What is shown, in words."""
    now = session.moment
    time_s = f"{session.time_s:.1f} of {session.length_s:.1f} s"
    lines = [
        f"#### {now.instruction[0].upper()}{now.instruction[1:]}",
        f"**{now.standing}** · {time_s}",
    ]
    title = session.source.title
    if session.live and session.live.touched:
        title += ", interfered with: not the evaluated episode"
    lines.append(title)
    if session.beside is not None:
        then, _, _ = session.frame(session.beside)
        lines.append(f"On the right: {session.beside.title}: {then.phase}")
    if session.message:
        lines.append(f"**{session.message}**")
    return "\n\n".join(lines)


def _speed(speed: float) -> str:
    return f"{speed:g} x"
