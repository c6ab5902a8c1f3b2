"""Drive figures of eight around the pillars, until told otherwise.

The loops share a straight corridor between the pillars, driven in the same direction whichever loop
comes next: there position and velocity do not tell, memory must.
"""

import numpy as np

from vand_envs.robot import RobotSpec
from vand_envs.tasks.base import Cycle, Loop, Task, register_task
from vand_envs.typing import BoolArray, FloatArray, Observation

# Constants

MIDDLE = (-1.80, 0.0)
"""The point between the pillars, in the world [m]."""
PILLAR_M = 0.42
"""Distance of each pillar from the middle, along y."""
NEAREST_M, FARTHEST_M = 0.30, 0.90
"""Distance from the nearest pillar within which driving counts: the base's half width and the
pillar's radius, and somewhat more than the farthest point of the expert's loops."""

# Cycle


def _from_middle(observation: Observation, _robot: RobotSpec) -> FloatArray:
    """Position of the base relative to the middle [m], (..., 2)."""
    return np.asarray(observation["base_pose"][..., :2] - np.array(MIDDLE), np.float64)


def _around_pillar(observation: Observation, robot: RobotSpec) -> BoolArray:
    x, y = np.moveaxis(_from_middle(observation, robot), -1, 0)
    distance = np.hypot(x, np.abs(y) - PILLAR_M)
    return np.asarray((distance > NEAREST_M) & (distance < FARTHEST_M))


TASK = register_task(
    Task(
        id="patrol",
        env_id="VandRobot/Patrol-v0",
        instruction="drive figures of eight around the pillars",
        horizon_s=50.0,
        cycle=Cycle(
            name="figure of eight",
            signal_names=("x", "y"),
            unit="m",
            phase_plane=_from_middle,
            valid=_around_pillar,
            radius=(NEAREST_M, FARTHEST_M),
            min_cycles=1,
            loops=(
                Loop(center=(0.0, PILLAR_M), direction=-1),
                Loop(center=(0.0, -PILLAR_M), direction=1),
            ),
        ),
    )
)
