"""Wipe the board in circles, counter-clockwise, until told otherwise."""

import numpy as np

from vand_envs.robot import VANDER
from vand_envs.tasks.base import Cycle, Task
from vand_envs.typing import BoolArray, FloatArray, Observation

# Constants

RADIUS_M = 0.10
"""Radius of the circles that the expert wipes."""
CONTACT_GAP_M = 0.005
"""Height of the finger tips above the board up to which they touch it: rubber and solver give."""
BOARD_RADIUS_M = 0.22
"""Radius of the board."""

# Measurements


def tip_on_board(observation: Observation) -> FloatArray:
    """Position of the finger tips relative to the board's centre, in world axes [m], (..., 3)."""
    approach = observation["ee_rot"][..., :3]
    tip = VANDER.tip_offset_m * approach - observation["board_rel"]  # (..., 3), base axes
    cos, sin = observation["base_pose"][..., 2], observation["base_pose"][..., 3]
    x, y, z = tip[..., 0], tip[..., 1], tip[..., 2]
    return np.stack([cos * x - sin * y, sin * x + cos * y, z], -1).astype(np.float64)


# Cycle


def _phase_plane(observation: Observation) -> FloatArray:
    return tip_on_board(observation)[..., :2]


def _in_contact(observation: Observation) -> BoolArray:
    tip = tip_on_board(observation)
    on_board = np.linalg.norm(tip[..., :2], axis=-1) < BOARD_RADIUS_M
    return np.asarray(on_board & (tip[..., 2] < CONTACT_GAP_M))


TASK = Task(
    id="wipe",
    env_id="VandRobot/Wipe-v0",
    instruction="wipe the board in circles",
    horizon_s=30.0,
    cycle=Cycle(
        signal_names=("x", "y"),
        unit="m",
        phase_plane=_phase_plane,
        valid=_in_contact,
        radius=(0.5 * RADIUS_M, 1.5 * RADIUS_M),
        direction=1,
        min_cycles=3,
    ),
)
