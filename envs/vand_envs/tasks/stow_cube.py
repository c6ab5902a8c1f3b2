"""Put the cube in the bin and go home. After the release, the way back looks like the way there."""

import numpy as np

from vand_envs.simulation import Simulation
from vand_envs.tasks.base import Stage, Task
from vand_envs.typing import BoolArray, FloatArray

# Constants

LIFT_HEIGHT_M = 0.05
"""Height of the cube above its rest on the tray at which it counts as lifted."""
REST_HEIGHT_M = 0.7485
"""Height of the resting cube's centre: tray surface plus half an edge."""
HELD_DISTANCE_M = 0.05
"""Distance from the end effector to the centre of a cube that is held."""
RELEASED_DISTANCE_M = 0.07
"""Distance from the end effector to a cube that was let go."""
BIN_HALF_WIDTH_M = 0.124
"""Inner half width of the bin."""
BIN_HEIGHT_M = 0.11
"""Height of the bin's rim above its floor."""
HOME_DISTANCE_M = 0.15
"""Distance of the base from the dock at which it is home."""
HOME_ANGLE_RAD = 0.25
"""Heading error at which it is home."""
STILL_SPEED = 0.08
"""Base speed [m/s, rad/s] at which it is still."""

# Measurements


def _cube_to_hand(sim: Simulation) -> FloatArray:
    """Distance from the end effector to the cube [m], (n,)."""
    gap = sim.xpos[:, sim.body_id("cube")] - sim.site_xpos[:, sim.ee_site]
    return np.asarray(np.linalg.norm(gap, axis=1))


def _cube_in_bin_frame(sim: Simulation) -> FloatArray:
    """Position of the cube relative to the bin's floor [m], (n, 3)."""
    return sim.xpos[:, sim.body_id("cube")] - sim.xpos[:, sim.body_id("bin")]


def _above_bin(sim: Simulation) -> BoolArray:
    offset = np.abs(_cube_in_bin_frame(sim)[:, :2])
    return np.asarray((offset < BIN_HALF_WIDTH_M).all(axis=1))


def robot_home(sim: Simulation) -> BoolArray:
    """Whether the base stands still on the dock, (n,)."""
    pose, speed = sim.qpos[:, sim.base_qpos], sim.qvel[:, sim.base_dofs]
    heading = np.abs((pose[:, 2] + np.pi) % (2 * np.pi) - np.pi)
    near = np.linalg.norm(pose[:, :2], axis=1) < HOME_DISTANCE_M
    still = (np.abs(speed) < STILL_SPEED).all(axis=1)
    return np.asarray(near & (heading < HOME_ANGLE_RAD) & still)


# Stages


def _lifted(sim: Simulation) -> BoolArray:
    height = sim.xpos[:, sim.body_id("cube"), 2] - REST_HEIGHT_M
    return (height > LIFT_HEIGHT_M) & (_cube_to_hand(sim) < HELD_DISTANCE_M)


def _held_over_bin(sim: Simulation) -> BoolArray:
    return _above_bin(sim) & (_cube_to_hand(sim) < HELD_DISTANCE_M)


def _stowed(sim: Simulation) -> BoolArray:
    inside = _above_bin(sim) & (_cube_in_bin_frame(sim)[:, 2] < BIN_HEIGHT_M)
    return inside & (_cube_to_hand(sim) > RELEASED_DISTANCE_M)


def _stowed_and_home(sim: Simulation) -> BoolArray:
    return _stowed(sim) & robot_home(sim)


TASK = Task(
    id="stow-cube",
    env_id="VandRobot/StowCube-v0",
    instruction="put the cube in the bin and go home",
    horizon_s=30.0,
    stages=(
        Stage("cube lifted", _lifted),
        Stage("cube over the bin", _held_over_bin),
        Stage("cube in the bin", _stowed),
        Stage("robot home", _stowed_and_home),
    ),
)
