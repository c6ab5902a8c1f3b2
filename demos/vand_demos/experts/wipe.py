"""Demonstrates wipe: stand before the board, lower the closed fingers, wipe circles."""

import numpy as np

from vand_demos.experts.motion import Motion, Vector, View, to_world
from vand_demos.experts.skills import CLOSED, OPEN, Skill, drive, reach
from vand_envs.robot import VANDER
from vand_envs.tasks.wipe import CONTACT_GAP_M, RADIUS_M

FREQUENCY_HZ = 0.38
"""Mean wiping frequency; each demonstration has its own, within FREQUENCY_SPREAD."""
FREQUENCY_SPREAD = 0.04
"""Largest relative deviation of a demonstration's frequency."""
RADIUS_SPREAD = 0.05
"""Largest relative deviation of a demonstration's radius."""
REACH_M = 0.50
"""Distance ahead of the base at which the board's centre is kept."""
RESPONSE_S = 0.10
"""Time from a command to the middle of the hand's answer [s]."""
PRESS_M = 0.005
"""How far the commanded hand is kept below the real one: the contact force over stiffness."""
CYCLES = (4.0, 7.0)
"""Range of the number of circles: the length of a demonstration tells nothing."""


def script(motion: Motion, view: View) -> Skill:
    """The whole demonstration."""
    rng = motion.style.rng
    board = to_world(view, view["board_pos"][:2].astype(np.float64))
    reach_m = REACH_M + rng.uniform(-0.03, 0.05)
    yaw = np.pi / 2 + rng.uniform(-0.15, 0.15)
    stand = np.array([board[0] + rng.uniform(-0.08, 0.08), board[1] - reach_m, yaw])
    start = -np.pi / 2 + rng.uniform(-0.7, 0.7) - yaw  # the near side of the board, base frame
    offset = RADIUS_M * np.array([np.cos(start), np.sin(start)])
    hover = VANDER.tip_offset_m + 0.06 + rng.uniform(0.0, 0.03)

    def above(v: View) -> Vector:
        return np.add(v["board_pos"], [*offset, hover])

    # The fingers close at the board, not before: they must not tell the task on the way.
    view = yield from drive(motion, view, stand, gripper=OPEN)
    view = yield from reach(motion, view, above, base_world=stand, gripper=CLOSED, within=0.025)
    radius = RADIUS_M * (1 + rng.uniform(-RADIUS_SPREAD, RADIUS_SPREAD))
    rate = 2 * np.pi * FREQUENCY_HZ * (1 + rng.uniform(-FREQUENCY_SPREAD, FREQUENCY_SPREAD))
    steps = round(rng.uniform(*CYCLES) * 2 * np.pi / rate / motion.dt)
    while steps > 0:
        touching = _gap(view) < CONTACT_GAP_M
        steps -= touching
        velocity = _circle(view, radius, rate) if touching else _lower(view)
        view = yield motion.command(view, base_world=stand, hand_velocity=velocity, gripper=CLOSED)
    return view


def _circle(view: View, radius: float, rate: float) -> Vector:
    """Velocity along the circle, counter-clockwise, that keeps radius and pressure [m/s]."""
    x, y = -view["board_rel"][:2].astype(np.float64)
    distance = float(np.hypot(x, y))
    # Where the hand will be when it answers: a velocity for where it is now would spiral outwards.
    angle = np.arctan2(y, x) + rate * RESPONSE_S
    outward, along = (
        np.array([np.cos(angle), np.sin(angle)]),
        np.array([-np.sin(angle), np.cos(angle)]),
    )
    planar = rate * radius * along + 3.0 * (radius - distance) * outward
    return np.append(planar, _press(view))


def _press(view: View) -> float:
    """Vertical velocity that keeps the pressure [m/s]."""
    return float(np.clip(3.0 * (-PRESS_M - view["ee_lag"][2]), -0.08, 0.08))


def _lower(view: View) -> Vector:
    """Velocity down to the board [m/s], slower near it."""
    return np.array([0.0, 0.0, -np.clip(2.0 * _gap(view), 0.02, 0.15)])


def _gap(view: View) -> float:
    """Height of the finger tips above the board [m]."""
    approach = view["ee_rot"][:3]
    return float(VANDER.tip_offset_m * approach[2] - view["board_rel"][2])
