"""Where many tasks end: the robot standing still on its dock."""

import numpy as np

from vand_envs.simulation import Simulation
from vand_envs.typing import BoolArray

HOME_DISTANCE_M = 0.15
"""Distance of the base from the dock at which it is home."""
HOME_ANGLE_RAD = 0.25
"""Heading error at which it is home."""
STILL_SPEED = 0.08
"""Base speed [m/s, rad/s] at which it is still."""


def on_dock(sim: Simulation) -> BoolArray:
    """Whether the base is on the dock, (n,)."""
    if sim.world.robot.base.kind == "fixed":
        return np.ones(sim.n, np.bool_)  # it is where it belongs
    pose = sim.base.pose()
    heading = np.abs((pose[:, 2] + np.pi) % (2 * np.pi) - np.pi)
    near = np.linalg.norm(pose[:, :2], axis=1) < HOME_DISTANCE_M
    return np.asarray(near & (heading < HOME_ANGLE_RAD))


def still(sim: Simulation) -> BoolArray:
    """Whether the base stands still, (n,)."""
    return np.asarray((np.abs(sim.base.velocity()) < STILL_SPEED).all(axis=1))


def robot_home(sim: Simulation) -> BoolArray:
    """Whether the base stands still on the dock, (n,)."""
    return on_dock(sim) & still(sim)
