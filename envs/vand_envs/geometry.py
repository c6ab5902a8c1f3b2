"""Frames in the plane: between the world and the robot's base, which is turned about z alone.

Every function takes any number of leading axes, and computes in the precision of what it is given.
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from vand_envs.robot import RobotSpec
from vand_envs.typing import FloatArray, Observation

Real = TypeVar("Real", np.float32, np.float64)
Angles = npt.NDArray[np.floating]
"""Cosine or sine of the base's yaw, or a base pose, in single or double precision."""


def to_base_axes(vectors: npt.NDArray[Real], cos: Angles, sin: Angles) -> npt.NDArray[Real]:
    """Rotate vectors (..., 2 or 3) from world axes to base axes.

    Args:
        vectors: Vectors in world axes, (..., 2) or (..., 3).
        cos: Cosine of the base's yaw, (...).
        sin: Sine of the base's yaw, (...).
    """
    x, y, *z = np.moveaxis(vectors, -1, 0)
    return np.stack([cos * x + sin * y, cos * y - sin * x, *z], -1)


def to_world_axes(vectors: npt.NDArray[Real], cos: Angles, sin: Angles) -> npt.NDArray[Real]:
    """Rotate vectors (..., 2 or 3) from base axes to world axes; the inverse of `to_base_axes`."""
    x, y, *z = np.moveaxis(vectors, -1, 0)
    return np.stack([cos * x - sin * y, sin * x + cos * y, *z], -1)


def to_base(points: FloatArray, base_pose: Angles) -> FloatArray:
    """Points on the floor of the world (..., 2) [m] in the base frame, (..., 2).

    Args:
        points: x and y in the world [m].
        base_pose: x, y [m], cosine and sine of the yaw, as observed, (..., 4).
    """
    offset: FloatArray = points - base_pose[..., :2]
    return to_base_axes(offset, base_pose[..., 2], base_pose[..., 3])


def to_world(points: npt.NDArray[Real], base_pose: Angles) -> npt.NDArray[Real]:
    """Points of the base frame (..., 2 or 3) [m] in the world; the inverse of `to_base`.

    Not `to_world_axes` plus the base's position: the sums are made in another order, and their
    last bits differ.
    """
    x, y, cos, sin = np.moveaxis(base_pose, -1, 0)
    ahead, left, *up = np.moveaxis(points, -1, 0)
    return np.stack([x + cos * ahead - sin * left, y + sin * ahead + cos * left, *up], -1)


def hand_path(observations: Observation) -> FloatArray:
    """Position of the end effector in the world, (..., 3) [m], from observations of (...)."""
    pose, hand = observations["base_pose"], observations["ee_pos"]
    return to_world(hand.astype(np.float64), pose.astype(np.float64))


def fingertips(observation: Observation, body: str, robot: RobotSpec) -> FloatArray:
    """Position of the finger tips relative to a body, in world axes [m], (..., 3).

    Args:
        observation: What is observed, (...).
        body: Name of the body.
        robot: The robot, for the length of its fingers.
    """
    approach = observation["ee_rot"][..., :3]
    tips = robot.tip_offset_m * approach - observation[f"{body}_rel"]  # (..., 3), base axes
    pose = observation["base_pose"]
    return to_world_axes(tips, pose[..., 2], pose[..., 3]).astype(np.float64)
