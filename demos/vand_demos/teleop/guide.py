"""Guidance for an operator: the next step of a task in words, where it is done, and contact."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from vand_demos.teleop.status import Vector3
from vand_envs import TaskBatch
from vand_envs.tasks.base import Cycle
from vand_envs.tasks.cube import HELD_DISTANCE_M
from vand_envs.tasks.home import on_dock
from vand_envs.tasks.patrol import TASK as PATROL
from vand_envs.tasks.stir import CIRCLES as STIRRING
from vand_envs.tasks.wipe import CIRCLES as WIPING
from vand_envs.typing import FloatArray, Observation

FAR_M = 0.9
"""Horizontal distance of base and target beyond which one must drive first [m]."""
AT_M = 0.06
"""Distance of hand and target at which the hand is there [m]."""
CLOSED_M = 0.03
"""Opening of the gripper below which it is closed [m]."""


@dataclass(frozen=True)
class Hint:
    """The next step of the present episode."""

    text: str
    """The next thing to do, without a full stop; empty where nobody wrote it down."""
    target: Vector3 | None = None
    """Where, in the world [m]."""
    contact: bool | None = None
    """Of a periodic motion, whether it counts at present; None elsewhere."""


class _Scene:
    """Where things are in the one simulation of a batch."""

    def __init__(self, batch: TaskBatch) -> None:
        sim = batch.simulation
        self._sim = sim
        self._hand = sim.site_xpos[0, sim.ee_site]
        self._tips = self._hand + sim.world.robot.tip_offset_m * sim.site_xmat[0, sim.ee_site, :, 0]
        self.closed = bool(sim.gripper_opening()[0] < CLOSED_M)
        self.holds_cube = float(np.linalg.norm(self._hand - self._at("cube"))) < HELD_DISTANCE_M
        self.docked = bool(on_dock(sim)[0])

    def _at(self, body: str) -> FloatArray:
        place: FloatArray = self._sim.xpos[0, self._sim.body_id(body)]
        return place

    def place(self, body: str) -> Vector3:
        """Where a body is, in the world [m]."""
        x, y, z = (float(number) for number in self._at(body))
        return x, y, z

    def is_far(self, body: str) -> bool:
        """Whether one must drive to get the hand there."""
        base = self._sim.base.pose()[0, :2]
        return float(np.linalg.norm(self._at(body)[:2] - base)) > FAR_M

    def hand_is_at(self, body: str) -> bool:
        """Whether the hand is around a body."""
        return float(np.linalg.norm(self._hand - self._at(body))) < AT_M

    def tips_are_over(self, body: str, within: float = AT_M) -> bool:
        """Whether the finger tips are above a body, at any height."""
        return float(np.linalg.norm((self._tips - self._at(body))[:2])) < within


def next_hint(batch: TaskBatch, observation: Observation) -> Hint:
    """The next step of the episode of a batch of one.

    Args:
        batch: The simulation, of a task.
        observation: Its present observation, key -> (1, d).
    """
    if batch.task.judged_by_person:
        return Hint("")
    task, progress, scene = batch.task, batch.progress, _Scene(batch)
    done, names = int(progress.stages_done[0]), task.stage_names
    cycle = task.cycle
    if cycle is not None and (not names or done < (task.count or 0)):
        contact = bool(cycle.valid(observation, batch.world.robot)[0])
        total = task.count or cycle.min_cycles
        return _cycle_hint(cycle, scene, contact, float(progress.cycles[0]), total)
    if done < len(names):
        for beginning, (body, say) in _STAGES.items():
            if names[done].startswith(beginning):
                return Hint(say(scene), scene.place(body))
    return Hint("")


def _cycle_hint(cycle: Cycle, scene: _Scene, contact: bool, cycles: float, total: int) -> Hint:
    for known, body, approach, how in _CYCLES:
        if cycle is known:
            text = approach(scene, contact)
            if not text and cycles < -0.1:
                text = f"The other way round: {how}"
            number = int(max(cycles, 0.0)) + 1
            return Hint(
                text or f"{cycle.name.capitalize()} {number} of {total}, {how}",
                scene.place(body),
                contact,
            )
    return Hint("", contact=contact)


def _wiping(scene: _Scene, contact: bool) -> str:
    if scene.is_far("board"):
        return "Drive to the round board"
    if not scene.closed:
        return "Close the gripper: the closed fingers wipe"
    if not scene.tips_are_over("board", 0.2):
        return "Move the fingers over the board"
    return "" if contact else "Lower the fingers until they touch the board"


def _stirring(scene: _Scene, contact: bool) -> str:
    if scene.is_far("pot"):
        return "Drive to the pot"
    if not scene.closed:
        return "Close the gripper: the closed fingers stir"
    if not scene.tips_are_over("pot", 0.12):
        return "Move the fingers over the pot"
    return "" if contact else "Lower the fingers into the soup, clear of the wall"


def _patrolling(scene: _Scene, contact: bool) -> str:  # noqa: ARG001  (one form for all)
    return "" if contact else "Drive between the two pillars"


_CYCLES: tuple[tuple[Cycle | None, str, Callable[[_Scene, bool], str], str], ...] = (
    (WIPING, "board", _wiping, "counter-clockwise as seen from above"),
    (STIRRING, "pot", _stirring, "clockwise as seen from above"),
    (
        PATROL.cycle,
        "pillar_left",
        _patrolling,
        "clockwise around the marked pillar, counter-clockwise around the other",
    ),
)
"""Cycle, the body that it is done at, what comes before it ("" when nothing does), and its way
round."""


def _lift(scene: _Scene) -> str:
    if scene.holds_cube:
        return "Lift the cube" if scene.closed else "Close the gripper"
    if scene.is_far("cube"):
        return "Drive to the cube on the table"
    return "Open the gripper" if scene.closed else "Lower the open hand around the cube"


def _carry(scene: _Scene) -> str:
    return "Carry the cube to the bin" if scene.is_far("bin") else "Move the cube over the bin"


def _drop(scene: _Scene) -> str:
    if scene.holds_cube:
        return "Lower the cube into the bin and open the gripper"
    return "Move the hand away from the cube"


def _stow(scene: _Scene) -> str:
    if not scene.holds_cube:
        return "Move the hand away from the cube"
    if scene.is_far("drawer"):
        return "Carry the cube to the drawer"
    return "Lower the cube into the drawer, behind its front, and open the gripper"


def _open_drawer(scene: _Scene) -> str:
    if scene.is_far("drawer"):
        return "Drive to the drawer"
    if not scene.hand_is_at("drawer"):
        return "Move the open hand around the drawer's knob"
    return "Pull the drawer open" if scene.closed else "Close the gripper on the knob"


def _close_drawer(scene: _Scene) -> str:
    return "Drive to the drawer" if scene.is_far("drawer") else "Push the drawer shut"


def _go_home(scene: _Scene) -> str:
    if scene.docked:
        return "Stand still, with the hand lifted"
    return "Lift the hand and drive back onto the dock, facing as at the start"


def _knock(scene: _Scene) -> str:
    if scene.is_far("knock_plate"):
        return "Drive to the table"
    if not scene.closed:
        return "Close the gripper"
    if not scene.tips_are_over("knock_plate"):
        return "Move the closed fingers over the mark on the table"
    return "Knock: touch the mark, and lift the fingers again"


def _leave(scene: _Scene) -> str:  # noqa: ARG001  (one form for all)
    return "Keep the hand above the mark for two seconds, then move it away"


def _presser(letter: str) -> Callable[[_Scene], str]:
    """The steps to a press of a button."""
    body = f"button_{letter.lower()}"

    def press(scene: _Scene) -> str:
        if scene.is_far(body):
            return f"Drive to the console; next is button {letter}"
        if not scene.closed:
            return "Close the gripper: the closed fingers press"
        if not scene.tips_are_over(body, 0.04):
            return f"Move the fingers over button {letter}, without touching the others"
        return f"Press button {letter} and let go"

    return press


_STAGES: Mapping[str, tuple[str, Callable[[_Scene], str]]] = {
    "cube lifted": ("cube", _lift),
    "cube over the bin": ("bin", _carry),
    "cube in the bin": ("bin", _drop),
    "drawer open": ("drawer", _open_drawer),
    "cube in the drawer": ("drawer", _stow),
    "drawer closed": ("drawer", _close_drawer),
    "knock": ("knock_plate", _knock),
    "left after": ("knock_plate", _leave),
    "robot home": ("dock", _go_home),
    **{f"{letter} pressed": (f"button_{letter.lower()}", _presser(letter)) for letter in "ABC"},
}
"""Beginning of a stage's name -> the body that it is done at, and the next step of it."""
