"""Demonstrates knock-3: knock three times, keep the hand still above the mark, go home."""

import numpy as np

from vand_demos.experts.expert import Script, register_expert
from vand_demos.experts.motion import GoalController, Vector, View, position
from vand_demos.experts.skills import (
    CLOSED,
    OPEN,
    Skill,
    drive,
    funnel,
    go_home,
    raise_hand,
    stand_still,
)
from vand_envs.geometry import to_world
from vand_envs.robot import RobotSpec
from vand_envs.tasks.knock_3 import CONTACT_GAP_M, KNOCK_RADIUS_M, KNOCKS

REACH_SPREAD_M, SIDE_SPREAD_M, YAW_SPREAD_RAD = 0.06, 0.10, 0.15
"""How differently the base is placed before the mark from one demonstration to the next."""
HOVER_M = 0.07
"""Height of the finger tips above the mark between the knocks and while waiting."""
NEAR_M = 0.006
"""Difference from that height at which they have come to it."""
AIM_M = 0.025
"""Distance beside the mark's middle at which the fingers may come down on it."""
PUSH_M = 0.025
"""How far below the table the hand strikes: what is left of its speed when it meets it."""
WAIT_S = (1.9, 2.1)
"""Range of the time from the last knock to setting out for home [s]."""


def script(motion: GoalController, view: View) -> Skill:
    """The whole demonstration."""
    rng = motion.style.rng
    mark = to_world(view["knock_plate_pos"].astype(np.float64), view["base_pose"])
    reach_m = motion.robot.reach_m + rng.uniform(-REACH_SPREAD_M, REACH_SPREAD_M)
    side = rng.uniform(-SIDE_SPREAD_M, SIDE_SPREAD_M)
    yaw = rng.uniform(-YAW_SPREAD_RAD, YAW_SPREAD_RAD)
    stand = np.array([mark[0] - reach_m, mark[1] + side, yaw])
    view = yield from drive(motion, view, stand, gripper=OPEN)
    # The hand comes to where it hovers first: how the arm is bent tells the first knock otherwise.
    view = yield from _hover(motion, view, stand)
    for knock in range(KNOCKS):
        view = yield from _strike(motion, view, stand)
        if knock < KNOCKS - 1:
            view = yield from _hover(motion, view, stand)
    for _ in range(round(rng.uniform(*WAIT_S) / motion.dt)):
        view = yield _act(motion, view, _above(motion, view, HOVER_M), stand)
    view = yield from raise_hand(motion, view, stand)
    return (yield from go_home(motion, view))


def _strike(motion: GoalController, view: View, stand: Vector) -> Skill:
    """Bring the closed fingers down until a knock counts; to go on would be to knock twice."""
    while _gap(view, motion.robot) > CONTACT_GAP_M or _beside(view) > KNOCK_RADIUS_M:
        goal = funnel(view, _above(motion, view, -PUSH_M), AIM_M, HOVER_M + PUSH_M)
        view = yield _act(motion, view, goal, stand)
    return view


def _hover(motion: GoalController, view: View, stand: Vector) -> Skill:
    """Bring the fingers to the height at which they hover."""
    while abs(_gap(view, motion.robot) - HOVER_M) > NEAR_M:
        view = yield _act(motion, view, _above(motion, view, HOVER_M), stand)
    return view


def _act(motion: GoalController, view: View, hand: Vector, stand: Vector) -> Vector:
    return motion.command(
        view, base_world=stand_still(motion, view, stand), hand=hand, gripper=CLOSED
    )


def _above(motion: GoalController, view: View, height: float) -> Vector:
    """Where the hand is when its finger tips are at a height above the mark, (3,)."""
    return np.add(position(view, "knock_plate"), [0.0, 0.0, motion.robot.tip_offset_m + height])


def _beside(view: View) -> float:
    """Distance of the hand from above the mark's middle [m]."""
    return float(np.linalg.norm(view["knock_plate_rel"][:2]))


def _gap(view: View, robot: RobotSpec) -> float:
    """Height of the finger tips above the table [m]."""
    approach = view["ee_rot"][:3]
    return float(robot.tip_offset_m * approach[2] - view["knock_plate_rel"][2])


register_expert("knock-3", Script(script))
