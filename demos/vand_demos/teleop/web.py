"""Teleoperation in the browser: a gizmo at the gripper, buttons and keys that are held.

viser shows the scene and the gizmo. Its buttons and keys report no release, so the page has its
own, which talk over a web socket beside viser's: the page says twenty times a second what is held,
and a page that is silent is gone.
"""

import asyncio
import contextlib
import json
import time
from concurrent.futures import Future, wait
from dataclasses import asdict, dataclass
from importlib.resources import files
from threading import Lock
from typing import Any, cast

import mujoco
import numpy as np
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from vand_demos.system.json_record import JsonRecord, parse_json
from vand_demos.teleop.device import EVENTS, SLOW, START_SPEED, Command, Event
from vand_demos.teleop.devices import DeviceOptions
from vand_demos.teleop.gizmo import product, pull, rotation_between
from vand_demos.teleop.status import Status, Vector3
from vand_demos.ui.web_scene import HAND_VIEWS, add_scene, hand_view, look, place_camera
from vand_demos.ui.web_server import web_server
from vand_envs.errors import VandError
from vand_envs.robot import ROBOT_PREFIX
from vand_envs.robots.base_reader import heading
from vand_envs.typing import FloatArray, IntArray

SILENCE_S = 0.5
"""The robot stands still when the page was not heard of for so long [s]: it draws slowly, maybe."""
GONE_S = 5.0
"""After this much silence [s] the page is gone; one that is closed is gone at once."""

HOLDS: dict[str, tuple[int, float]] = {
    "ahead": (0, 1.0),
    "back": (0, -1.0),
    "left": (1, 1.0),
    "right": (1, -1.0),
    "turn_left": (2, 1.0),
    "turn_right": (2, -1.0),
    "hand_ahead": (3, 1.0),
    "hand_back": (3, -1.0),
    "hand_left": (4, 1.0),
    "hand_right": (4, -1.0),
    "hand_up": (5, 1.0),
    "hand_down": (5, -1.0),
    "hand_turn_left": (8, 1.0),
    "hand_turn_right": (8, -1.0),
}
"""Button that can be held -> index into the twist (9,), and the sign."""

GOODBYE_S = 0.3
"""Time that pages are given to hear that the session is over [s]."""
SLOWEST = 0.01
"""Least speed that a page may ask for [of full speed]."""

_SOURCE = "page"
_MOST_EVENTS = 16
"""Events that wait for the loop; more than a person can ask for in a control step."""
_CAMERA = "overview"
_VIEW_EVENTS = tuple(f"view {name}" for name in (*HAND_VIEWS, _CAMERA))

_MARK_COLOR = (240, 90, 20)
_MARK_GAP_M, _MARK_HEIGHT_M, _MARK_RADIUS_M = 0.07, 0.10, 0.035
_SIDES = 16
"""The mark above the place of the next step: a cone that points at it from above."""

_GIZMO = "/gripper_gizmo"
_GIZMO_SCALE = 0.16


def connect(options: DeviceOptions) -> "WebDevice":
    """Serve the page and say where it is.

    Raises:
        UsageError: Nothing can listen on that host and port.
    """
    return WebDevice(options)


class WebDevice:
    """One page drives, the first that came. Others watch, and take its place once it is gone."""

    def __init__(self, options: DeviceOptions) -> None:
        self._robot = options.world.robot
        self._model = options.world.model
        self._speed = START_SPEED
        self._lock = Lock()  # what follows is shared with the server's thread
        self._pages: list[ServerConnection] = []  # the first one drives
        self._numbers: dict[ServerConnection, str] = {}
        self._heard = -np.inf  # when the driving page was last heard of, monotonic [s]
        self._page = _PageState()  # what it said last
        self._telling: dict[ServerConnection, Future[None]] = {}
        self._events: list[Event] = []
        self._gripper = 1.0
        self._view: str | None = None  # asked for, not yet shown
        self._dragged = False
        self._target: FloatArray = np.zeros(3)  # where the gizmo was dragged to, world [m]
        self._target_quat: FloatArray = np.array([1.0, 0.0, 0.0, 0.0])

        self._open = contextlib.ExitStack()
        overlay = files("vand_demos").joinpath("teleop", "page.html").read_text("utf-8")
        page = self._open.enter_context(
            web_server(
                options.host,
                options.port,
                overlay=overlay,
                channels={"pilot": self._converse},
                drives=self._drives,
                left=self._let_go,
            )
        )
        self.address = page.address
        """Where the page is."""
        self._server = page.viser
        self._site = int(self._model.site(ROBOT_PREFIX + self._robot.ee_site).id)
        data = mujoco.MjData(self._model)
        mujoco.mj_forward(self._model, data)
        self._observe(data)
        self._grab_quat, self._grab_ee_quat = self._target_quat, self._ee_quat
        place_camera(self._server, self._model, data, _CAMERA)
        camera = self._server.initial_camera
        self._overview = np.array(camera.position), np.array(camera.look_at)
        self._scene = add_scene(self._server, self._model)
        self._gizmo = self._server.scene.add_transform_controls(
            _GIZMO, scale=_GIZMO_SCALE, depth_test=False, line_width=4.0
        )
        self._gizmo.on_update(self._on_drag)
        self._target_mark = self._server.scene.add_mesh_simple(
            "/target",
            *_arrow(),
            color=_MARK_COLOR,
            opacity=0.85,
            cast_shadow=False,
            receive_shadow=False,
            visible=False,
        )
        options.announce(page.invitation)

    def read(self) -> Command:
        """Command of the page now."""
        with self._lock:
            events, self._events = tuple(self._events), []
            silence = time.monotonic() - self._heard
            present = silence < GONE_S and self._page.visible
            if not present:
                self._dragged = False
            if not present or silence > SILENCE_S:
                return Command(gripper=self._gripper, events=events, present=present)
            twist = np.zeros(9)
            for name in self._page.held:
                index, sign = HOLDS[name]
                twist[index] += sign
            if self._dragged:
                linear, angular = pull(
                    self._robot,
                    self._target - self._ee_pos,
                    rotation_between(self._ee_quat, self._target_ee_quat()),
                    self._yaw,
                )
                twist[3:] += [*linear, *angular]
            twist = np.clip(twist, -1.0, 1.0)
            return Command(
                base_twist=_vector(twist[:3]),
                ee_linear=_vector(twist[3:6]),
                ee_angular=_vector(twist[6:]),
                gripper=self._gripper,
                speed=self._page.speed * (SLOW if self._page.slow else 1.0),
                events=events,
            )

    def show(self, status: Status, pose: Any) -> None:
        """Move the scene and tell the pages."""
        self._observe(pose)
        with self._server.atomic():
            self._scene.update_from_mjdata(pose)
            if not self._dragged:
                self._gizmo.position = self._ee_pos
                self._gizmo.wxyz = self._heading()
            self._target_mark.visible = status.target is not None
            if status.target is not None:
                self._target_mark.position = status.target
        if self._view is not None:
            self._look(self._view)
            self._view = None
        with self._lock:
            pages, sent_ms = list(self._pages), self._page.sent_ms
        content = {
            **asdict(status),
            "next_step": status.next_step,
            "wound": status.wound,
            "keeps_up": status.keeps_up,
            "gripper": self._gripper,
            "sent_ms": sent_ms,
        }
        for i, page in enumerate(pages):
            if page not in self._telling or self._telling[page].done():  # else it is slow
                self._telling[page] = self._tell(page, {**content, "pilot": i == 0})
        self._telling = {page: told for page, told in self._telling.items() if page in pages}

    def close(self) -> None:
        """Say goodbye to the pages and stop serving."""
        with self._lock:
            pages = list(self._pages)
        goodbye = {"ended": "The session is over. You can close this page."}
        wait([self._tell(page, goodbye) for page in pages], timeout=GOODBYE_S)
        self._open.close()

    def _observe(self, pose: Any) -> None:
        """Remember where the hand is."""
        self._ee_pos: FloatArray = pose.site_xpos[self._site].copy()
        quat = np.empty(4)
        mujoco.mju_mat2Quat(quat, pose.site_xmat[self._site])
        self._ee_quat: FloatArray = quat
        self._yaw = heading(self._model, pose.qpos, self._robot)

    def _look(self, view: str) -> None:
        """Move the camera of every page."""
        place = hand_view(view, self._ee_pos, self._yaw) if view in HAND_VIEWS else self._overview
        look(self._server, *place)

    def _heading(self) -> FloatArray:
        """Orientation of the base: the gizmo's axes are ahead, left and up."""
        return np.array([np.cos(self._yaw / 2), 0.0, 0.0, np.sin(self._yaw / 2)])

    def _target_ee_quat(self) -> FloatArray:
        """Orientation that the hand is dragged to: turned as the gizmo was since it was grabbed."""
        turn = np.empty(4)
        mujoco.mju_negQuat(turn, self._grab_quat)
        return product(product(self._target_quat, turn), self._grab_ee_quat)

    async def _on_drag(self, event: Any) -> None:
        """Follow the gizmo; on the server's thread."""
        with self._lock:
            self._target = np.array(event.target.position, np.float64)
            self._target_quat = np.array(event.target.wxyz, np.float64)
            if event.phase == "start":
                self._grab_quat, self._grab_ee_quat = self._target_quat, self._ee_quat
                self._dragged = True
            elif event.phase == "end":
                self._dragged = False

    def _drives(self, number: str) -> bool:
        """Whether the page of that number is the one that drives; on the server's thread."""
        with self._lock:
            return bool(self._pages) and self._numbers[self._pages[0]] == number

    def _let_go(self, number: str) -> None:
        """End what a page drags that is gone; on the server's thread."""
        if self._drives(number):
            with self._lock:
                self._dragged = False

    async def _converse(self, page: ServerConnection, number: str) -> None:
        """Listen to one page until it goes; on the server's thread."""
        with self._lock:
            self._pages.append(page)
            self._numbers[page] = number
        try:
            await page.send(json.dumps({"speed": self._speed}))
            async for text in page:
                self._hear(page, text)
        except ConnectionClosed:
            pass
        finally:
            with self._lock:
                if self._pages[0] is page:
                    self._heard, self._dragged = -np.inf, False
                self._pages.remove(page)
                del self._numbers[page]

    def _hear(self, page: ServerConnection, text: str | bytes) -> None:
        try:
            said = _PageState.of(text)
        except VandError:
            return  # not from our page
        with self._lock:
            if self._pages[0] is not page:
                if time.monotonic() - self._heard < GONE_S:
                    return
                self._pages.remove(page)
                self._pages.insert(0, page)
                self._dragged = False  # by the page before
            self._page, self._heard = said, time.monotonic()
            if said.event == "gripper":
                self._gripper = -self._gripper
            elif said.event in _VIEW_EVENTS:
                self._view = said.event.removeprefix("view ")
            elif said.event and len(self._events) < _MOST_EVENTS:
                self._events.append(cast("Event", said.event))

    def _tell(self, page: ServerConnection, content: dict[str, Any]) -> Future[None]:
        """Send to a page without waiting for it."""

        async def send() -> None:
            with contextlib.suppress(ConnectionClosed):
                await page.send(json.dumps(content))

        return asyncio.run_coroutine_threadsafe(send(), self._server.get_event_loop())


def _arrow() -> tuple[FloatArray, IntArray]:
    """A cone that points down to the origin: vertices (N, 3) [m] and triangles (M, 3)."""
    turn = np.linspace(0.0, 2 * np.pi, _SIDES, endpoint=False)
    top = _MARK_GAP_M + _MARK_HEIGHT_M
    ring = np.stack(
        [_MARK_RADIUS_M * np.cos(turn), _MARK_RADIUS_M * np.sin(turn), np.full(_SIDES, top)], 1
    )
    vertices = np.concatenate([[[0.0, 0.0, _MARK_GAP_M], [0.0, 0.0, top]], ring])
    here, beside = 2 + np.arange(_SIDES), 2 + (np.arange(_SIDES) + 1) % _SIDES
    side = np.stack([np.zeros(_SIDES, int), beside, here], 1)
    lid = np.stack([np.ones(_SIDES, int), here, beside], 1)
    return vertices, np.concatenate([side, lid])


@dataclass(frozen=True)
class _PageState:
    """What a page says: what is held there, and what was asked for."""

    held: tuple[str, ...] = ()
    event: str = ""
    speed: float = START_SPEED
    slow: bool = False
    visible: bool = False
    sent_ms: float | None = None

    @classmethod
    def of(cls, text: str | bytes) -> "_PageState":
        """Read a message of the page.

        Raises:
            VandError: It is something else.
        """
        said = JsonRecord.of(_SOURCE, parse_json(text, _SOURCE))
        event = said.optional_text("event") or ""
        if event not in ("", "gripper", *_VIEW_EVENTS, *EVENTS):
            raise said.mistake("event", "an event")
        return cls(
            tuple(name for name in said.text_list("held") if name in HOLDS),
            event,
            said.number("speed", SLOWEST, 1.0),
            said.flag("slow"),
            said.flag("visible"),
            said.number("sent_ms"),
        )


def _vector(array: FloatArray) -> Vector3:
    x, y, z = (float(number) for number in array)
    return x, y, z
