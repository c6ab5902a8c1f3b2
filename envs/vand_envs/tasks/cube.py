"""Measurements of the cube that tasks share."""

import numpy as np

from vand_envs.simulation import Simulation
from vand_envs.typing import BoolArray, FloatArray

LIFT_HEIGHT_M = 0.05
"""Height of the cube above its rest on the tray at which it counts as lifted."""
REST_HEIGHT_M = 0.7485
"""Height of the resting cube's center: tray surface plus half an edge."""
HELD_DISTANCE_M = 0.05
"""Distance from the end effector to the center of a cube that is held."""
RELEASED_DISTANCE_M = 0.07
"""Distance from the end effector to a cube that was let go."""


def cube_relative_to(sim: Simulation, body: str) -> FloatArray:
    """Position of the cube relative to a body's origin, in world axes [m], (n, 3)."""
    return sim.xpos[:, sim.body_id("cube")] - sim.xpos[:, sim.body_id(body)]


def _distance_to_hand(sim: Simulation) -> FloatArray:
    """Distance from the end effector to the cube [m], (n,)."""
    gap = sim.xpos[:, sim.body_id("cube")] - sim.site_xpos[:, sim.ee_site]
    return np.asarray(np.linalg.norm(gap, axis=1))


def cube_held(sim: Simulation) -> BoolArray:
    """Whether the cube is between the fingers, (n,)."""
    return _distance_to_hand(sim) < HELD_DISTANCE_M


def cube_released(sim: Simulation) -> BoolArray:
    """Whether the hand is clear of the cube, (n,)."""
    return _distance_to_hand(sim) > RELEASED_DISTANCE_M


def cube_lifted(sim: Simulation) -> BoolArray:
    """Whether the hand holds the cube up, (n,)."""
    height = sim.xpos[:, sim.body_id("cube"), 2] - REST_HEIGHT_M
    return (height > LIFT_HEIGHT_M) & cube_held(sim)
