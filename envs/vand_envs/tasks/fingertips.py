"""Where the finger tips are: what wiping and stirring are measured by."""

import numpy as np

from vand_envs.robot import VANDER
from vand_envs.typing import FloatArray, Observation


def tips_from(observation: Observation, body: str) -> FloatArray:
    """Position of the finger tips relative to a body, in world axes [m], (..., 3)."""
    approach = observation["ee_rot"][..., :3]
    tip = VANDER.tip_offset_m * approach - observation[f"{body}_rel"]  # (..., 3), base axes
    cos, sin = observation["base_pose"][..., 2], observation["base_pose"][..., 3]
    x, y, z = tip[..., 0], tip[..., 1], tip[..., 2]
    return np.stack([cos * x - sin * y, sin * x + cos * y, z], -1).astype(np.float64)
