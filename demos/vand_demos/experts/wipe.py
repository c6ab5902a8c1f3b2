"""Demonstrates wipe: stand before the board, lower the closed fingers, wipe circles."""

from dataclasses import dataclass

import numpy as np

from vand_demos.experts.circles import (
    FREQUENCY_SPREAD,
    RADIUS_SPREAD,
    Turns,
    circle_velocity,
    over_ground,
)
from vand_demos.experts.expert import ENDLESS, Script, register_expert
from vand_demos.experts.motion import HAND_GAIN, GoalController, Vector, View, position
from vand_demos.experts.skills import CLOSED, FUNNEL_SLOPE, OPEN, Skill, drive, keep_place, reach
from vand_envs.geometry import to_world
from vand_envs.robot import RobotSpec
from vand_envs.tasks.wipe import CIRCLES, CONTACT_GAP_M, RADIUS_M

FREQUENCY_HZ = 0.42
"""Mean wiping frequency."""
REACH_SPREAD_M, SIDE_SPREAD_M = 0.04, 0.08
"""How differently the base is placed before the board [m]."""
PRESS_M = 0.008
"""How far the commanded hand is kept below the real one: the contact force over stiffness."""
PRESS_GAIN = 5.0
"""Proportional gain of the pressure [1/s]."""
LIFT_MPS = 0.10
"""Velocity up where the hand is lower than it can be: its fingers have folded under it [m/s]."""
NEAR_M = 0.010
"""Height above the board at which the hand sets out on its circle, or stops on it."""
FREE_M = 0.08
"""Distance beside the circle, yet on the board, at which the hand may touch it."""
TURNS = (4.3, 7.0)
"""Range of the number of circles: the length of a demonstration tells nothing."""


@dataclass(frozen=True)
class Wiping:
    """How one demonstration wipes."""

    stand: Vector
    """Place of the base, x, y [m] and yaw [rad] in the world."""
    start: Vector
    """Where the hand comes down from, relative to the board's middle, in the base frame, (3,)."""
    radius: float
    """Radius of the circles [m]."""
    rate: float
    """Angular velocity [rad/s]."""

    @classmethod
    def draw(cls, motion: GoalController, view: View) -> "Wiping":
        """A way to wipe drawn from the demonstration's style: the same for `wipe` and `wipe-4`."""
        rng = motion.style.rng
        board = to_world(view["board_pos"][:2].astype(np.float64), view["base_pose"])
        reach_m = motion.robot.reach_m + rng.uniform(-REACH_SPREAD_M, REACH_SPREAD_M)
        side, yaw = rng.uniform(-SIDE_SPREAD_M, SIDE_SPREAD_M), np.pi / 2 + rng.uniform(-0.15, 0.15)
        angle = -np.pi / 2 + rng.uniform(-0.7, 0.7) - yaw  # the near side of the board
        hover = motion.robot.tip_offset_m + 0.06 + rng.uniform(0.0, 0.03)
        return cls(
            stand=np.array([board[0] + side, board[1] - reach_m, yaw]),
            start=np.array([RADIUS_M * np.cos(angle), RADIUS_M * np.sin(angle), hover]),
            radius=RADIUS_M * (1 + rng.uniform(-RADIUS_SPREAD, RADIUS_SPREAD)),
            rate=2 * np.pi * FREQUENCY_HZ * (1 + rng.uniform(-FREQUENCY_SPREAD, FREQUENCY_SPREAD)),
        )


def script(motion: GoalController, view: View, turns: tuple[float, float] = TURNS) -> Skill:
    """The whole demonstration, of a number of circles within a range."""
    wiping = Wiping.draw(motion, view)
    return (yield from wipe(motion, view, wiping, motion.style.rng.uniform(*turns)))


def wipe(motion: GoalController, view: View, wiping: Wiping, turns: float) -> Skill:
    """Drive to the board and wipe it; ends on the board after a number of circles."""
    stand = wiping.stand

    def above(v: View) -> Vector:
        return position(v, "board") + wiping.start

    # The fingers close at the board, not before: they must not tell the task on the way.
    view = yield from drive(motion, view, stand, gripper=OPEN)
    view = yield from reach(motion, view, above, base_world=stand, gripper=CLOSED, within=0.025)
    wiped = Turns(CIRCLES, motion.robot, view)
    while wiped.after(view) < turns:
        velocity = _circle(view, wiping, motion.robot)
        base = keep_place(motion, view, stand)
        view = yield motion.command(view, base_world=base, hand_velocity=velocity, gripper=CLOSED)
    return view


def _circle(view: View, wiping: Wiping, robot: RobotSpec) -> Vector:
    """Velocity of the hand round the circle with pressure; from far beside it up and back [m/s]."""
    gap = _gap(view, robot)
    offset = -view["board_rel"][:2].astype(np.float64)
    beside = abs(float(np.hypot(*offset)) - wiping.radius) - FREE_M
    if beside > 0:
        vertical = float(np.clip(HAND_GAIN * (FUNNEL_SLOPE * beside - gap), -0.15, 0.15))
    elif gap < -CONTACT_GAP_M:
        vertical = LIFT_MPS
    elif gap < CONTACT_GAP_M:
        vertical = _press(view)
    else:
        vertical = -float(np.clip(3.0 * gap, 0.06, 0.15))
    # No way round in the air: what is seen to be wiped is what counts.
    part = np.clip((NEAR_M - gap) / (NEAR_M - CONTACT_GAP_M), 0.0, 1.0)
    rate = part * wiping.rate
    round_it = circle_velocity(offset, wiping.radius, rate, robot.response_s)
    return np.append(over_ground(round_it, view), vertical)


def _press(view: View) -> float:
    """Vertical velocity that keeps the pressure [m/s]."""
    return float(np.clip(PRESS_GAIN * (-PRESS_M - view["ee_lag"][2]), -0.10, 0.10))


def _gap(view: View, robot: RobotSpec) -> float:
    """Height of the finger tips above the board [m]."""
    approach = view["ee_rot"][:3]
    return float(robot.tip_offset_m * approach[2] - view["board_rel"][2])


register_expert("wipe", Script(script, endless=lambda motion, view: script(motion, view, ENDLESS)))
