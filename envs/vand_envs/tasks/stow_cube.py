"""Put the cube in the bin and go home. After the release, the way back looks like the way there."""

import numpy as np

from vand_envs.simulation import Simulation
from vand_envs.tasks.base import Stage, Task, register_task
from vand_envs.tasks.cube import cube_held, cube_lifted, cube_relative_to, cube_released
from vand_envs.tasks.home import robot_home
from vand_envs.typing import BoolArray

# Constants

BIN_HALF_WIDTH_M = 0.124
"""Inner half width of the bin."""
BIN_HEIGHT_M = 0.11
"""Height of the bin's rim above its floor."""

# Measurements


def _above_bin(sim: Simulation) -> BoolArray:
    offset = np.abs(cube_relative_to(sim, "bin")[:, :2])
    return np.asarray((offset < BIN_HALF_WIDTH_M).all(axis=1))


# Stages


def _held_over_bin(sim: Simulation) -> BoolArray:
    return _above_bin(sim) & cube_held(sim)


def _stowed(sim: Simulation) -> BoolArray:
    inside = _above_bin(sim) & (cube_relative_to(sim, "bin")[:, 2] < BIN_HEIGHT_M)
    return inside & cube_released(sim)


def _stowed_and_home(sim: Simulation) -> BoolArray:
    return _stowed(sim) & robot_home(sim)


TASK = register_task(
    Task(
        id="stow-cube",
        env_id="VandRobot/StowCube-v0",
        instruction="put the cube in the bin and go home",
        horizon_s=30.0,
        stages=(
            Stage("cube lifted", cube_lifted),
            Stage("cube over the bin", _held_over_bin),
            Stage("cube in the bin", _stowed),
            Stage("robot home", _stowed_and_home),
        ),
    )
)
