"""Where the robot's base is, whatever kind it is of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mujoco
import numpy as np

from vand_envs.robot import ROBOT_PREFIX, RobotSpec

if TYPE_CHECKING:
    from vand_envs.simulation import Simulation
    from vand_envs.typing import FloatArray, IntArray

_FREE = int(mujoco.mjtJoint.mjJNT_FREE)


def base_joints(model: Any, robot: RobotSpec, prefix: str = ROBOT_PREFIX) -> list[int]:
    """Ids of the joints that carry the base: three of a planar one, a free one, or none."""
    if robot.base.kind == "differential":
        return [int(model.body(prefix + robot.base.body).jntadr[0])]
    return [int(model.joint(prefix + name).id) for name in robot.base.joints]


def base_body(model: Any, robot: RobotSpec, prefix: str = ROBOT_PREFIX) -> int:
    """Id of the body that drives; of a fixed robot, that of its arm's first joint's parent."""
    joints = base_joints(model, robot, prefix)
    if joints:
        return int(model.jnt_bodyid[joints[-1]])
    first = model.joint(prefix + robot.arm.joints[0]).bodyid[0]
    return int(model.body_parentid[first])


def heading(model: Any, qpos: FloatArray, robot: RobotSpec, prefix: str = ROBOT_PREFIX) -> float:
    """Yaw of the base [rad] in positions (nq,)."""
    joints = base_joints(model, robot, prefix)
    if not joints:
        return robot.base.place[2]
    start = int(model.jnt_qposadr[joints[-1]])
    if robot.base.kind == "planar":
        return float(qpos[start])
    return float(_yaw(qpos[None, start + 3 : start + 7])[0])


class BaseReader:
    """Reads and writes the base of n simulations.

    Args:
        simulation: The simulations.
    """

    def __init__(self, simulation: Simulation) -> None:
        robot, model = simulation.world.robot, simulation.model
        self._sim = simulation
        self.kind = robot.base.kind
        self.body = base_body(model, robot)
        """Body that drives, into `xpos` and `wrench`."""
        joints = base_joints(model, robot)
        self.qpos_ids: IntArray = np.array([model.jnt_qposadr[j] for j in joints], np.int64)
        self.dof_ids: IntArray = np.array([model.jnt_dofadr[j] for j in joints], np.int64)
        self._place = np.tile(np.array(robot.base.place, np.float64), (simulation.n, 1))
        self._still = np.zeros((simulation.n, 3))

    def pose(self) -> FloatArray:
        """x, y [m] and yaw [rad] in the world, (n, 3)."""
        if self.kind == "planar":
            planar: FloatArray = self._sim.qpos[:, self.qpos_ids]
            return planar
        if self.kind == "fixed":
            return self._place.copy()
        start = self.qpos_ids[0]
        free = self._sim.qpos[:, start : start + 7]
        return np.concatenate([free[:, :2], _yaw(free[:, 3:])[:, None]], 1)

    def velocity(self) -> FloatArray:
        """Velocity along x, y [m/s] and about z [rad/s] of the world, (n, 3)."""
        if self.kind == "planar":
            planar: FloatArray = self._sim.qvel[:, self.dof_ids]
            return planar
        if self.kind == "fixed":
            return self._still.copy()
        start = self.dof_ids[0]
        return np.asarray(self._sim.qvel[:, [start, start + 1, start + 5]])

    def place(self, i: int, x: float, y: float, yaw: float) -> None:
        """Put the base of simulation i somewhere; a fixed one stays."""
        if self.kind == "planar":
            self._sim.qpos[i, self.qpos_ids] = [x, y, yaw]
        elif self.kind == "differential":
            start = self.qpos_ids[0]
            self._sim.qpos[i, start : start + 2] = [x, y]
            turn = [np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
            self._sim.qpos[i, start + 3 : start + 7] = turn


def _yaw(quat: FloatArray) -> FloatArray:
    """Yaw [rad] of unit quaternions w, x, y, z, (n, 4)."""
    w, x, y, z = quat.T
    return np.asarray(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))
