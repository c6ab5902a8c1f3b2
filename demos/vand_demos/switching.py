"""Demonstrations in which the instruction changes on the way: one expert takes over from another.

The first expert begins its task. At a moment that the episode's seed draws, the robot is told
another one, and the expert of that goes on from whatever the state is then. What it finds is not
what it was written for: the hand may be in the pot, at the knob or around the cube, and the base
may stand anywhere. So it withdraws the hand first (`withdraw`), in the same way whatever comes
after: what the hand does then follows from what is seen.
"""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

import numpy as np

from vand_demos.experts.cube import carried, held
from vand_demos.experts.drawer_stow import holding_knob
from vand_demos.experts.expert import Demonstrator, Script
from vand_demos.experts.motion import GoalController, Vector, View
from vand_demos.experts.skills import CLOSED, OPEN, Skill, grip, reach
from vand_envs import Task, get_task
from vand_envs.errors import UsageError

SWITCH_SHARE = (0.25, 0.75)
"""Range of the moment of the change, as a share of the first task's horizon: around the half, when
the instruction changes in an evaluation."""
_STREAM = 3
"""Keeps the moment apart from what else is drawn from an episode's seed."""

CLOSED_M = 0.03
"""Opening of the gripper below which its fingers stay closed while the hand withdraws [m]."""
LET_GO_S = (0.3, 0.5)
"""Range of the time that the gripper is given to open [s]."""
CLEAR_M = 0.05
"""Distance from where it withdraws to at which the hand has done so [m]."""


NOT_OFFERED: Mapping[tuple[str, str], str] = MappingProxyType(
    {("drawer-stow", "stow-cube"): "by then the drawer may be closed on the cube"}
)
"""Two tasks, one after the other -> why the expert of the second cannot take over."""


def can_switch(first: str, second: str) -> bool:
    """Whether the expert of one task can take over from that of another."""
    return first != second and (first, second) not in NOT_OFFERED


def require_switchable(first: str, second: str) -> None:
    """Check that the expert of one task can take over from that of another.

    Raises:
        UsageError: It cannot; the line says why.
    """
    get_task(first), get_task(second)
    if first == second:
        raise UsageError(f"{first} to {second}: expected another task to switch to")
    if (reason := NOT_OFFERED.get((first, second))) is not None:
        raise UsageError(f"{first} to {second} is not offered: {reason}")


def switch_step(first: Task, seed: int, control_dt_s: float) -> int:
    """When the instruction changes in an episode [control step], at least 1.

    Args:
        first: The task that the robot is told at the beginning.
        seed: Seed of the episode.
        control_dt_s: Duration of a control step [s].
    """
    share = np.random.default_rng([seed, _STREAM]).uniform(*SWITCH_SHARE)
    return max(1, round(share * first.horizon_s / control_dt_s))


def taking_over(script: Script) -> Demonstrator:
    """The demonstration of a script that begins wherever another one was broken off."""

    def demonstrate(motion: GoalController, view: View) -> Skill:
        view = yield from withdraw(motion, view, keeps_cube=script.takes_cube)
        return (yield from script.demonstration(motion, view))

    return demonstrate


def withdraw(motion: GoalController, view: View, *, keeps_cube: bool) -> Skill:
    """Let go of what is held, draw the hand straight up, then to where it is carried.

    Args:
        motion: What carries it out.
        view: What is observed.
        keeps_cube: Whether a cube that is carried stays in the hand.
    """
    rng, base = motion.style.rng, _place_of_base(view)
    keeps = keeps_cube and carried(view)
    gripper = CLOSED if keeps or view["gripper"][0] < CLOSED_M else OPEN
    if holding_knob(view) or (held(view) and not keeps):
        gripper, duration_s = OPEN, rng.uniform(*LET_GO_S)
        view = yield from grip(
            motion, view, base_world=base, gripper=gripper, duration_s=duration_s
        )
    travel = motion.style.travel_hand
    up = np.append(view["ee_pos"][:2].astype(np.float64), max(travel[2], float(view["ee_pos"][2])))
    for goal in (up, travel):
        view = yield from reach(
            motion, view, partial(_fixed, goal), base_world=base, gripper=gripper, within=CLEAR_M
        )
    return view


def _fixed(goal: Vector, _view: View) -> Vector:
    return goal


def _place_of_base(view: View) -> Vector:
    """Where the base is, x, y [m] and yaw [rad] in the world."""
    x, y, cos, sin = view["base_pose"].astype(np.float64)
    return np.array([x, y, np.arctan2(sin, cos)])
