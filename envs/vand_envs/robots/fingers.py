"""Positions of a gripper's joints at any opening: of fingers, or of a linkage that moves them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import mujoco
import numpy as np

from vand_envs.robot import ROBOT_PREFIX

if TYPE_CHECKING:
    from vand_envs.simulation import Simulation
    from vand_envs.typing import FloatArray
    from vand_envs.world import World

OPENINGS = 9
"""Openings at which a linkage's joints are found; between them they are interpolated."""
SETTLING_S = 0.6
"""Time in which a linkage comes to rest at an opening [s]."""


class FingerPoses:
    """Puts the gripper's joints to an opening.

    Args:
        simulation: The simulations.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._sim = simulation
        grip = simulation.world.robot.gripper
        joints = grip.joints or ((grip.joint,) if grip.joint else ())
        model = simulation.model
        self._qpos = [int(model.joint(ROBOT_PREFIX + name).qposadr[0]) for name in joints]
        self._closed, self._open = grip.joint_closed, grip.joint_open
        plain = grip.kind != "tendon"
        self._table = None if plain else _settled(simulation.world, tuple(self._qpos))

    def put(self, i: int, opening: float) -> None:
        """Open the gripper of simulation i by a share of its width."""
        if not self._qpos:
            return
        if self._table is None:
            self._sim.qpos[i, self._qpos] = self._closed + opening * (self._open - self._closed)
            return
        at = opening * (OPENINGS - 1)
        below = min(int(at), OPENINGS - 2)
        share = at - below
        row = (1 - share) * self._table[below] + share * self._table[below + 1]
        self._sim.qpos[i, self._qpos] = row


@lru_cache(maxsize=16)
def _settled(world: World, qpos: tuple[int, ...]) -> FloatArray:
    """Positions of a linkage's joints at each opening, from closed to open, (OPENINGS, k)."""
    model, grip = world.model, world.robot.gripper
    data = mujoco.MjData(model)
    actuator = model.actuator(ROBOT_PREFIX + grip.actuator).id
    arm = [model.actuator(ROBOT_PREFIX + name).id for name in world.robot.arm.actuators]
    joints = [model.joint(ROBOT_PREFIX + n).qposadr[0] for n in world.robot.arm.joints]
    data.qpos[joints] = data.ctrl[arm] = world.robot.arm.home
    rows = np.empty((OPENINGS, len(qpos)))
    for k in reversed(range(OPENINGS)):  # from open, as models are at rest
        data.ctrl[actuator] = grip.closed + k / (OPENINGS - 1) * (grip.open - grip.closed)
        mujoco.mj_step(model, data, round(SETTLING_S / model.opt.timestep))
        rows[k] = data.qpos[list(qpos)]
    return rows
