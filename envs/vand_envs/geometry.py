"""Frames in the plane: between the world and the robot's base."""

import numpy as np

from vand_envs.typing import FloatArray, Observation


def hand_path(observations: Observation) -> FloatArray:
    """Position of the end effector in the world, (..., 3) [m], from observations of (...)."""
    x, y, cos, sin = np.moveaxis(observations["base_pose"].astype(np.float64), -1, 0)
    ahead, left, up = np.moveaxis(observations["ee_pos"].astype(np.float64), -1, 0)
    return np.stack([x + cos * ahead - sin * left, y + sin * ahead + cos * left, up], -1)


def to_base_axes(vectors: FloatArray, cos: FloatArray, sin: FloatArray) -> FloatArray:
    """Rotate vectors (..., 3) about z by minus the yaw whose cosine and sine are (...)."""
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    return np.stack([cos * x + sin * y, cos * y - sin * x, z], -1)
