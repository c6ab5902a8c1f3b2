"""Stir the pot, clockwise, until told otherwise; never touch its wall."""

import numpy as np

from vand_envs.geometry import fingertips
from vand_envs.robot import RobotSpec
from vand_envs.tasks.base import Cycle, Loop, Task, register_task
from vand_envs.typing import BoolArray, FloatArray, Observation

# Constants

RADIUS_M = 0.06
"""Radius of the circles that the expert stirs."""
SOUP_LEVEL_M = 0.06
"""Height of the soup's surface above the pot's floor."""
WALL_RADIUS_M = 0.14
"""Inner radius of the pot."""
FINGER_RADIUS_M = 0.02
"""Half the diagonal of the closed fingers: how near the wall their middle can come."""

# Measurements


def in_soup(observation: Observation, robot: RobotSpec) -> BoolArray:
    """Whether the finger tips are in the soup, (...)."""
    tips = fingertips(observation, "pot", robot)
    inside = np.linalg.norm(tips[..., :2], axis=-1) < WALL_RADIUS_M
    return np.asarray(inside & (tips[..., 2] > 0.0) & (tips[..., 2] < SOUP_LEVEL_M))


# Cycle


def _phase_plane(observation: Observation, robot: RobotSpec) -> FloatArray:
    return fingertips(observation, "pot", robot)[..., :2]


def _clear_of_wall(observation: Observation, robot: RobotSpec) -> BoolArray:
    distance = np.linalg.norm(_phase_plane(observation, robot), axis=-1)
    return np.asarray(in_soup(observation, robot) & (distance < WALL_RADIUS_M - FINGER_RADIUS_M))


CIRCLES = Cycle(
    name="circle",
    signal_names=("x", "y"),
    unit="m",
    phase_plane=_phase_plane,
    valid=_clear_of_wall,
    radius=(0.5 * RADIUS_M, 1.5 * RADIUS_M),
    min_cycles=3,
    loops=(Loop(direction=-1),),
)

TASK = register_task(
    Task(
        id="stir",
        env_id="VandRobot/Stir-v0",
        instruction="stir the pot",
        horizon_s=30.0,
        cycle=CIRCLES,
    )
)
