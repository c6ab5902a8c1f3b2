"""Wipe the board in circles, counter-clockwise, until told otherwise."""

import numpy as np

from vand_envs.geometry import fingertips
from vand_envs.robot import RobotSpec
from vand_envs.tasks.base import Cycle, Task, register_task
from vand_envs.typing import BoolArray, FloatArray, Observation

# Constants

RADIUS_M = 0.10
"""Radius of the circles that the expert wipes."""
CONTACT_GAP_M = 0.005
"""Distance of the finger tips from the board's surface at which they touch it: rubber and solver
give."""
BOARD_RADIUS_M = 0.22
"""Radius of the board."""

# Cycle


def _phase_plane(observation: Observation, robot: RobotSpec) -> FloatArray:
    return fingertips(observation, "board", robot)[..., :2]


def _in_contact(observation: Observation, robot: RobotSpec) -> BoolArray:
    tips = fingertips(observation, "board", robot)
    on_board = np.linalg.norm(tips[..., :2], axis=-1) < BOARD_RADIUS_M
    return np.asarray(on_board & (np.abs(tips[..., 2]) < CONTACT_GAP_M))


CIRCLES = Cycle(
    name="circle",
    signal_names=("x", "y"),
    unit="m",
    phase_plane=_phase_plane,
    valid=_in_contact,
    radius=(0.25 * RADIUS_M, BOARD_RADIUS_M),
    min_cycles=3,
)

TASK = register_task(
    Task(
        id="wipe",
        env_id="VandRobot/Wipe-v0",
        instruction="wipe the board in circles",
        horizon_s=30.0,
        cycle=CIRCLES,
    )
)
