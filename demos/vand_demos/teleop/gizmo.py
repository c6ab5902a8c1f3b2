"""From where a hand is dragged to, to the velocity that takes it there."""

import mujoco
import numpy as np

from vand_demos.teleop.status import Vector3
from vand_envs.geometry import to_base_axes
from vand_envs.robot import RobotSpec
from vand_envs.typing import FloatArray

PULL = 4.0
"""Velocity for each unit of distance [1/s]: the hand closes in with a time constant of 0.25 s."""


def pull(
    robot: RobotSpec, offset: FloatArray, rotation: FloatArray, yaw: float
) -> tuple[Vector3, Vector3]:
    """Velocities that close an offset, no faster than the robot's own limits.

    Args:
        robot: The robot.
        offset: From the end effector to where it shall be, world axes [m], (3,).
        rotation: Likewise as a rotation vector, world axes [rad], (3,).
        yaw: Heading of the base [rad].

    Returns:
        Linear and angular velocity in the base frame, each of a length of at most 1.
    """
    cos, sin = np.cos(yaw), np.sin(yaw)
    parts = []
    for vector, limit in zip((offset, rotation), robot.max_ee_speed, strict=True):
        speed = to_base_axes(PULL / limit * np.asarray(vector), cos, sin)
        x, y, z = speed / max(1.0, float(np.linalg.norm(speed)))
        parts.append((float(x), float(y), float(z)))
    return parts[0], parts[1]


def rotation_between(start: FloatArray, end: FloatArray) -> FloatArray:
    """Rotation vector, world axes [rad], (3,), that takes one orientation to another.

    Args:
        start: Unit quaternion w, x, y, z, (4,).
        end: Likewise.
    """
    inverse, turn, vector = np.empty(4), np.empty(4), np.empty(3)
    mujoco.mju_negQuat(inverse, np.asarray(start, np.float64))
    mujoco.mju_mulQuat(turn, np.asarray(end, np.float64), inverse)
    mujoco.mju_quat2Vel(vector, turn, 1.0)
    return vector


def product(left: FloatArray, right: FloatArray) -> FloatArray:
    """Quaternion of one rotation after the other, (4,)."""
    result = np.empty(4)
    mujoco.mju_mulQuat(result, np.asarray(left, np.float64), np.asarray(right, np.float64))
    return result
