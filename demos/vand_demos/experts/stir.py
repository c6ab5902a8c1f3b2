"""Demonstrates stir: stand before the pot, dip the closed fingers into it, stir clockwise."""

import numpy as np

from vand_demos.experts.circles import (
    FREQUENCY_SPREAD,
    RADIUS_SPREAD,
    Turns,
    circle_velocity,
    over_ground,
)
from vand_demos.experts.expert import ENDLESS, Script, pressing, register_expert
from vand_demos.experts.motion import HAND_GAIN, GoalController, Vector, View, position
from vand_demos.experts.skills import CLOSED, OPEN, Skill, drive, keep_place, reach
from vand_envs.geometry import to_world
from vand_envs.robot import RobotSpec
from vand_envs.tasks.stir import CIRCLES, RADIUS_M, in_soup

FREQUENCY_HZ = 0.45
"""Mean stirring frequency."""
REACH_SPREAD_M, SIDE_SPREAD_M = 0.05, 0.10
"""How differently the base is placed before the pot [m]."""
DEPTH_M = 0.03
"""Height of the finger tips above the pot's floor while stirring."""
HOVER_M = 0.16
"""Height of the finger tips above the pot's floor before they dip in: above the rim."""
FREE_M = 0.03
"""Distance beside the circle at which the fingers may go down: they stay clear of the wall."""
FUNNEL_SLOPE = 2.5
"""Height above the depth for each meter further beside the circle."""
TURNS = (4.5, 8.0)
"""Range of the number of circles: the length of a demonstration tells nothing."""


def script(motion: GoalController, view: View, turns: tuple[float, float] = TURNS) -> Skill:
    """The whole demonstration, of a number of circles within a range."""
    rng = motion.style.rng
    pot = to_world(view["pot_pos"][:2].astype(np.float64), view["base_pose"])
    reach_m = motion.robot.reach_m + rng.uniform(-REACH_SPREAD_M, REACH_SPREAD_M)
    side, yaw = rng.uniform(-SIDE_SPREAD_M, SIDE_SPREAD_M), np.pi / 2 + rng.uniform(-0.15, 0.15)
    stand = np.array([pot[0] + side, pot[1] - reach_m, yaw])
    angle = -np.pi / 2 + rng.uniform(-0.7, 0.7) - yaw  # the near side of the pot, base frame
    hover = motion.robot.tip_offset_m + HOVER_M + rng.uniform(0.0, 0.03)
    start = np.array([RADIUS_M * np.cos(angle), RADIUS_M * np.sin(angle), hover])
    radius = RADIUS_M * (1 + rng.uniform(-RADIUS_SPREAD, RADIUS_SPREAD))
    rate = -2 * np.pi * FREQUENCY_HZ * (1 + rng.uniform(-FREQUENCY_SPREAD, FREQUENCY_SPREAD))

    # The fingers close at the pot, not before: they must not tell the task on the way.
    view = yield from drive(motion, view, stand, gripper=OPEN)
    view = yield from reach(
        motion,
        view,
        lambda v: position(v, "pot") + start,
        base_world=stand,
        gripper=CLOSED,
        within=0.025,
    )
    stirred = Turns(CIRCLES, motion.robot, view)
    wanted = rng.uniform(*turns)
    while stirred.after(view) < wanted:
        velocity = _stir(view, radius, rate, motion.robot)
        base = keep_place(motion, view, stand)
        view = yield motion.command(view, base_world=base, hand_velocity=velocity, gripper=CLOSED)
    return view


def _stir(view: View, radius: float, rate: float, robot: RobotSpec) -> Vector:
    """Velocity of the hand round the pot; up out of it where the wall is near [m/s]."""
    x, y, height = -view["pot_rel"].astype(np.float64)
    round_it = circle_velocity(np.array([x, y]), radius, rate, robot.response_s)
    planar = over_ground(round_it, view)
    beside = max(0.0, abs(float(np.hypot(x, y)) - radius) - FREE_M)
    goal = robot.tip_offset_m + min(DEPTH_M + FUNNEL_SLOPE * beside, HOVER_M)
    return np.append(planar, np.clip(HAND_GAIN * (goal - height), -0.20, 0.20))


def _in_contact(view: View, robot: RobotSpec) -> bool:
    """Whether the hand presses on something or is in the pot."""
    return pressing(view, robot) or bool(in_soup(view, robot))


register_expert(
    "stir",
    Script(
        script, endless=lambda motion, view: script(motion, view, ENDLESS), in_contact=_in_contact
    ),
)
