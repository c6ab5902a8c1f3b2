"""The viewer in the browser: scene, time bar, controls, and the policy's memory."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from vand_demos.ui import LOOPBACK
from vand_demos.ui.markdown import plain
from vand_demos.ui.web_scene import HAND_VIEWS, add_scene, hand_view, look, place_camera
from vand_demos.ui.web_server import web_server
from vand_envs.robot import ROBOT_PREFIX
from vand_envs.robots.base_reader import heading
from vand_robot.viewer.base import BaseViewer
from vand_robot.viewer.episodes import EpisodeSource
from vand_robot.viewer.live_episodes import DIRECTIONS, PARTS
from vand_robot.viewer.memory_plot import SIZE, MemoryPlot
from vand_robot.viewer.player import SPEEDS, Player

_BACK, _ON = "Back", "Forward"
_ALL = "all"

_STYLE = """<title>vand-robot: replay</title>
<style>.mantine-Notifications-root { display: none; }</style>"""

_OBEY_S = 1.0 / 30.0
"""Time in a frame for what was asked for; one thing is done in any case [s]."""
_MOST_COMMANDS = 64
"""Requests that wait for the loop; a person does not make so many."""

_OWN_S = 0.6
"""The time bar does not move by itself for so long after somebody moved it [s]."""


class WebViewer(BaseViewer):
    """A page with the scene and its controls.

    What the controls ask for is done by the loop, one command after the other.

    Args:
        player: The player.
        host: Where to listen.
        port: Port; 0 takes a free one.
        announce: Told where the page is.
    """

    is_open = True  # until the process is interrupted
    address = ""
    """Where the page is, once it is served."""

    def __init__(
        self,
        player: Player,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        announce: Callable[[str], None] = print,
    ) -> None:
        super().__init__(player)
        self._host, self._port, self._announce = host, port, announce
        self._opened = contextlib.ExitStack()
        self._server: Any = None
        self._commands: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._plot = MemoryPlot()
        self._drawn: tuple[Any, ...] = ()
        self._labels: list[Any] = []
        self._marked: tuple[tuple[float, str], ...] = ()
        self._values: dict[str, Any] = {}  # what each control was last set to
        self._moved_at = -np.inf

    def open(self) -> None:
        """Begin to serve the page, and say where it is."""
        page = self._opened.enter_context(web_server(self._host, self._port, overlay=_STYLE))
        self._server, self.address = page.viser, page.address
        self.change_scene()
        self._add_controls()
        self._refresh()
        self._announce(page.invitation)

    def change_scene(self) -> None:
        """Put `self.scene` on the page."""
        self._server.scene.reset()
        pose = self.scene.pose()
        place_camera(self._server, self.scene.model, pose, self.scene.camera)
        camera = self._server.initial_camera
        self._overview = np.array(camera.position), np.array(camera.look_at)
        self._meshes = add_scene(self._server, self.scene.model)
        self._meshes.update_from_mjdata(pose)
        self._labels = [
            self._server.scene.add_label(
                f"/label/{i}", title, position=place, anchor="bottom-center"
            )
            for i, (title, place) in enumerate(self.scene.labels)
        ]

    def obey(self) -> None:
        """Do what was asked for, as much of it as there is time for in a frame."""
        end = time.perf_counter() + _OBEY_S
        while not self._commands.empty():
            self.player.attempt(self._commands.get())
            self._values.clear()
            self.refresh_soon()
            if (
                time.perf_counter() > end
            ):  # the rest in the next frame, unless the process is to end
                break

    def sync(self) -> None:
        """Draw the pose where it changed; now and then texts, controls and the plot."""
        player = self.player
        shown = (id(player.source.frames), player.time_s, player.frame)
        if shown != self._drawn:
            self._drawn = shown
            with self._server.atomic():
                self._meshes.update_from_mjdata(self.scene.pose())
                for label, (title, place) in zip(self._labels, self.scene.labels, strict=True):
                    label.position = place
                    if label.text != title:
                        label.text = title
        if self.refresh_is_due():
            self._refresh()

    def close(self) -> None:
        """Stop serving."""
        self._opened.close()

    def _add_controls(self) -> None:
        player, gui = self.player, self._server.gui
        gui.main_panel.dock_right()
        gui.configure_theme(control_width="large", show_logo=False, show_share_button=False)
        self._heading = gui.add_markdown("")
        self._play = gui.add_button(
            "Play", hint="Keys: K plays or pauses, J and L step, N opens the next episode."
        )
        self._play.on_click(lambda _: self._ask(player.toggle))
        steps = gui.add_button_group("Step", (_BACK, _ON))
        steps.on_click(self._on_step)
        self._time = gui.add_slider(
            "Time [s]",
            min=0.0,
            max=1.0,
            step=player.source.control_dt_s,
            initial_value=0.0,
            marks=((0.0, ""),),
        )
        self._time.on_update(self._on_time)
        self._speed = gui.add_dropdown(
            "Speed", [_speed(speed) for speed in SPEEDS], initial_value=_speed(player.speed)
        )
        self._speed.on_update(self._on_speed)
        looks = gui.add_button_group("Look", (_ALL, *HAND_VIEWS))
        looks.on_click(self._on_look)
        live = player.live
        if live is not None:
            self._picture = gui.add_image(np.full((*SIZE[::-1], 3), 255, np.uint8), format="png")
            with gui.add_folder("Interfere"):
                self._instruction = gui.add_dropdown(
                    "Instruction", live.instructions, initial_value=player.frame.task
                )
                self._instruction.on_update(self._on_instruction)
                for part in PARTS:
                    pushes = gui.add_button_group(f"Push {part}", tuple(DIRECTIONS))
                    pushes.on_click(partial(self._on_push, part))
        with gui.add_folder("Episode"):
            self._task = gui.add_dropdown(
                "Task", player.source.tasks, initial_value=player.source.task
            )
            self._task.on_update(self._on_task)
            self._number = gui.add_number(
                "Episode" if live else "Demonstration",
                initial_value=player.source.number,
                min=0,
                step=1,
            )
            self._number.on_update(self._on_number)
            following = gui.add_button("Next episode" if live else "Next demonstration")
            following.on_click(lambda _: self._ask(player.next))
        self._add_keys()

    def _add_keys(self) -> None:
        player, gui = self.player, self._server.gui
        for label, key, act in (
            ("Play or pause", "K", player.toggle),
            ("A step on", "L", partial(player.step_by, 1)),
            ("A step back", "J", partial(player.step_by, -1)),
            ("Next episode", "N", player.next),
        ):
            gui.add_command(label, hotkey=key).on_trigger(lambda _, act=act: self._ask(act))

    def _ask(self, command: Callable[[], object]) -> None:
        """Have the loop do something; what it cannot keep up with is not asked for."""
        if self._commands.qsize() < _MOST_COMMANDS:
            self._commands.put(command)

    @staticmethod
    def _changed(event: Any) -> bool:
        """Whether a person changed a control, and not the loop."""
        return event.client_id is not None

    # Coroutines, because viser awaits these at once, and lets a thread call others some time later:
    # the control might then have another value.

    async def _on_step(self, event: Any) -> None:
        self._ask(partial(self.player.step_by, 1 if event.target.value == _ON else -1))

    async def _on_look(self, event: Any) -> None:
        self._ask(partial(self._look, str(event.target.value)))

    def _look(self, view: str) -> None:
        """Have the pages look at the whole scene, or at the hand: a task may hide it elsewhere."""
        if view == _ALL:
            look(self._server, *self._overview)
            return
        model, pose, robot = self.scene.model, self.scene.pose(), self.player.source.world.robot
        hand = pose.site_xpos[model.site(ROBOT_PREFIX + robot.ee_site).id]
        yaw = heading(model, pose.qpos, robot)
        look(self._server, *hand_view(view, hand, float(yaw)))

    async def _on_time(self, event: Any) -> None:
        if self._changed(event):
            self._moved_at = time.perf_counter()
            self._ask(partial(self.player.seek, float(event.target.value)))

    async def _on_speed(self, event: Any) -> None:
        if self._changed(event):
            speeds = {_speed(speed): speed for speed in SPEEDS}
            self._ask(partial(self.player.set_speed, speeds[event.target.value]))

    async def _on_task(self, event: Any) -> None:
        if self._changed(event):
            self._ask(partial(self.player.open, event.target.value, 0))

    async def _on_number(self, event: Any) -> None:
        if self._changed(event):
            number = int(event.target.value)
            self._ask(lambda: self.player.open(self.player.source.task, number))

    async def _on_instruction(self, event: Any) -> None:
        if self._changed(event):
            self._ask(partial(self.player.instruct, event.target.value))

    async def _on_push(self, part: str, event: Any) -> None:
        self._ask(partial(self.player.push, part, str(event.target.value)))

    def _set(self, control: Any, value: object) -> None:
        """Set a control to the present value, if that changed or somebody asked for a change.

        Otherwise the control is left alone: what a person has just chosen would be set back before
        it is heard.
        """
        if control.label not in self._values or self._values[control.label] != value:
            self._values[control.label] = control.value = value

    def _mark_stages(self) -> None:
        """Mark on the time bar when the stages, or cycles, were completed."""
        marks = stage_marks(self.player.source)
        if marks != self._marked:
            self._marked = marks
            # viser sets marks when a slider is made, and has no public way to change them
            slider = self._time
            mark = type(slider._marks[0])  # noqa: SLF001
            slider._marks = tuple(mark(*m) for m in ((0.0, ""), *marks))  # noqa: SLF001

    def _refresh(self) -> None:
        """Bring texts, controls and the plot up to date."""
        player, source = self.player, self.player.source
        with self._server.atomic():
            self._heading.content = _heading(player)
            self._play.label = "Play" if player.paused else "Pause"
            self._time.max = max(player.length_s, source.control_dt_s)
            self._mark_stages()
            if time.perf_counter() - self._moved_at > _OWN_S:
                self._time.value = round(player.step * source.control_dt_s, 6)
            self._set(self._task, source.task)
            self._set(self._number, source.number)
            self._set(self._speed, _speed(player.speed))
            if player.live:
                self._set(self._instruction, player.frame.task)
                self._picture.image = self._plot.draw(source.frames, player.step)


def stage_marks(source: EpisodeSource) -> tuple[tuple[float, str], ...]:
    """When each stage, or whole cycle, was completed first: (time [s], its number)."""
    marks, most = [], 0
    for step, frame in enumerate(source.frames):
        cycle = frame.instructed.cycle
        done = frame.stages_done if cycle is None else max(frame.stages_done, int(frame.cycles))
        if done > most:
            marks.append((round(step * source.control_dt_s, 6), str(done)))
            most = done
    return tuple(marks)


def serve(
    player: Player,
    *,
    host: str = LOOPBACK,
    port: int = 0,
    announce: Callable[[str], None],
    stop: threading.Event | None = None,
) -> None:
    """Serve the page until the process is interrupted.

    Args:
        player: The player.
        host: Where to listen.
        port: Port; 0 takes a free one.
        announce: Told where the page is.
        stop: Ends it when set.

    Raises:
        UsageError: Nothing can listen there.
        KeyboardInterrupt: After Ctrl-C, when the frame in progress is drawn.
    """
    WebViewer(player, host=host, port=port, announce=announce).run(stop)


def _heading(player: Player) -> str:
    """Instruction, progress and source, in Markdown."""
    now = player.frame
    time_s = f"{player.time_s:.1f} of {player.length_s:.1f} s"
    lines = [
        f"#### {plain(now.instruction[:1].upper() + now.instruction[1:])}",
        f"**{plain(now.standing)}** · {time_s}",
    ]
    title = player.source.title
    if player.live and player.live.touched:
        title += ", interfered with: not the evaluated episode"
    lines.append(plain(title))
    if player.beside is not None:
        then, _, _ = player.around(player.beside)
        lines.append(f"On the right: {plain(player.beside.title)}: {plain(then.progress_text)}")
    if player.message:
        lines.append(f"**{plain(player.message)}**")
    return "\n\n".join(lines)


def _speed(speed: float) -> str:
    return f"{speed:g} x"
