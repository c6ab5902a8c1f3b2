"""Demonstrates drawer-stow: pull the drawer open, drop the cube into it, push it shut.

Whatever fails is seen and done again: a knob that was missed, a cube that was lost. The hand comes
to the knob and leaves it in the same way, whether it opens or closes the drawer.
"""

from collections.abc import Callable

import numpy as np

from vand_demos.experts.cube import (
    carried,
    drop,
    fetch,
    held,
    out_of_reach,
    put_down,
    stand_before,
)
from vand_demos.experts.expert import Script, register_expert
from vand_demos.experts.motion import GoalController, Vector, View, position
from vand_demos.experts.skills import (
    CLOSED,
    OPEN,
    Skill,
    drive,
    funnel,
    grip,
    reach,
    stand_still,
)
from vand_envs.geometry import to_base_axes, to_world, to_world_axes
from vand_envs.tasks.drawer_stow import CLOSED_KNOB_M, INSIDE_HALF_WIDTH_M, INSIDE_X_M, INSIDE_Z_M

FARTHER_M = 0.06
"""How much farther ahead of the base than where the hand works best the knob of the closed drawer
is. It is the same for both ways: the base need not move on the way, and where it stands does not
tell which way it is."""
SPREAD_M = (0.05, 0.08)
"""How differently the base is placed before it, along and across."""
GRIP_HEIGHT_M = 0.005
"""Height of the hand above the middle of the knob that it grips."""
AIM_M = 0.010
"""Distance beside the knob at which the hand may come down to it."""
KNOB_HELD_M = 0.022
"""Distance of the hand from the place where it grips beyond which it has lost the knob."""
PULL_M, PUSH_M = 0.21, -0.03
"""Openings that the hand pulls and pushes for: beyond the stops, so that it comes to rest there."""
PULLED_M, PUSHED_M = 0.172, 0.005
"""Openings at which it has done so: the drawer is at a stop. A hand that let go where the drawer
counts as open or closed would leave no margin to whoever copies it."""
OPENED_M, SHUT_M = 0.15, 0.008
"""Openings at which the drawer need not be pulled open, or pushed shut, any more."""
HOLD_S = (0.2, 0.5)
"""Range of the time for which it is held against its stop [s]."""
SLIDE_AHEAD_M = 0.05
"""How far ahead of the knob the hand's goal is at most: faster, the knob slips from the fingers."""
DROP_M = np.array([0.135, 0.0, -0.025])
"""Where the hand lets go of the cube, from the knob: the part that is clear of the cabinet."""
DROP_SPREAD_M = 0.02
"""Largest difference from it, along and across."""
DROP_FREE_M = 0.02
"""Distance beside that place at which the hand may come down into the drawer."""


def script(motion: GoalController, view: View) -> Skill:
    """The whole demonstration."""
    while not _cube_inside(view):
        if out_of_reach(view):
            return view
        if not _open(view):
            if carried(view):  # the hand must be free to pull
                view = yield from put_down(motion, view)
            view = yield from _slide(motion, view, PULL_M, _pulled)
            continue
        if not carried(view):
            view = yield from fetch(motion, view)
        if held(view):
            view = yield from drop(
                motion, view, _drop_place, spread_m=DROP_SPREAD_M, free_m=DROP_FREE_M, height_m=0.15
            )
    while not _shut(view):
        view = yield from _slide(motion, view, PUSH_M, _pushed)
    for _ in range(round(motion.style.rng.uniform(1.0, 2.0) / motion.dt)):
        view = yield motion.command(view, hand=motion.style.travel_hand)
    return view


def _slide(
    motion: GoalController, view: View, opening: float, there: Callable[[View], bool]
) -> Skill:
    """Grip the knob, move it to a stop, hold it there, let go, draw the hand back."""
    rng = motion.style.rng
    reach_m = motion.robot.reach_m + FARTHER_M
    stand = stand_before(np.array(CLOSED_KNOB_M), rng, reach_m, spread_m=SPREAD_M)
    hover = 0.10 + rng.uniform(0.0, 0.04)

    def around_knob(v: View) -> Vector:
        return funnel(v, _grip_place(v), AIM_M, hover)

    view = yield from drive(motion, view, stand, gripper=OPEN)
    view = yield from reach(
        motion, view, around_knob, base_world=stand, gripper=OPEN, yaw=_yaw, within=0.010
    )
    view = yield from grip(
        motion,
        view,
        base_world=stand,
        gripper=CLOSED,
        duration_s=rng.uniform(0.4, 0.6),
        yaw=_yaw(view),
    )
    hold = round(rng.uniform(*HOLD_S) / motion.dt)
    while holding_knob(view) and hold > 0:
        hold -= there(view)
        way = np.clip(_opening(view) - opening, -SLIDE_AHEAD_M, SLIDE_AHEAD_M)
        view = yield motion.command(
            view,
            base_world=stand_still(motion, view, stand),
            hand=_grip_place(view)
            + to_base_axes(np.array([way, 0.0, 0.0]), *view["base_pose"][2:]),
            hand_yaw=_yaw(view),
            gripper=CLOSED,
        )
    view = yield from grip(
        motion,
        view,
        base_world=stand,
        gripper=OPEN,
        duration_s=rng.uniform(0.3, 0.5),
        yaw=_yaw(view),
    )
    raised = view["ee_pos"] + np.array([0.0, 0.0, 0.10 + rng.uniform(0.0, 0.04)])
    view = yield from reach(
        motion, view, lambda _: raised, base_world=stand, gripper=OPEN, yaw=_yaw, within=0.03
    )
    travel = motion.style.travel_hand
    return (
        yield from reach(motion, view, lambda _: travel, base_world=stand, gripper=OPEN, within=0.1)
    )


def _opening(view: View) -> float:
    """How far the drawer is open [m]."""
    knob = to_world(view["drawer_pos"].astype(np.float64), view["base_pose"])
    return float(CLOSED_KNOB_M[0] - knob[0])


def _open(view: View) -> bool:
    return _opening(view) > OPENED_M


def _shut(view: View) -> bool:
    return _opening(view) < SHUT_M


def _pulled(view: View) -> bool:
    return _opening(view) > PULLED_M


def _pushed(view: View) -> bool:
    return _opening(view) < PUSHED_M


def _grip_place(view: View) -> Vector:
    return np.asarray(position(view, "drawer") + np.array([0.0, 0.0, GRIP_HEIGHT_M]))


def holding_knob(view: View) -> bool:
    """Whether the hand is where it grips the knob."""
    return float(np.linalg.norm(_grip_place(view) - view["ee_pos"])) < KNOB_HELD_M


def _yaw(view: View) -> float:
    """Yaw of the hand whose fingers open across the drawer's way [rad]."""
    return float(-np.arctan2(view["base_pose"][3], view["base_pose"][2]))


def _drop_place(view: View) -> Vector:
    return np.asarray(position(view, "drawer") + to_base_axes(DROP_M, *view["base_pose"][2:]))


def _cube_inside(view: View) -> bool:
    """Whether the cube lies in the drawer, and the hand has let go of it."""
    offset = (view["cube_rel"] - view["drawer_rel"]).astype(np.float64)
    x, y, z = to_world_axes(offset, *view["base_pose"][2:])
    return (
        INSIDE_X_M[0] < x < INSIDE_X_M[1]
        and abs(y) < INSIDE_HALF_WIDTH_M
        and z < INSIDE_Z_M
        and not held(view)
    )


register_expert("drawer-stow", Script(script, takes_cube=True))
