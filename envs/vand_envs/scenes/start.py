"""How an episode in a scene begins."""

from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np

from vand_envs.randomization import ARM_OFFSET_RAD, LIFT_OFFSET_M
from vand_envs.robot import ROBOT_PREFIX, RobotSpec
from vand_envs.robots.base_reader import base_joints
from vand_envs.robots.fingers import FingerPoses
from vand_envs.scenes.scene import Scene
from vand_envs.simulation import Simulation
from vand_envs.typing import FloatArray, IntArray

_SLIDE = int(mujoco.mjtJoint.mjJNT_SLIDE)
_FREE = int(mujoco.mjtJoint.mjJNT_FREE)


class SceneStart:
    """Puts simulations of a scene into the initial state of an episode.

    The draw is a function of the episode's seed alone: arm and gripper as in the workshop, base and
    free bodies beside their places by the scene's spread. Nothing physical is drawn: what a
    scene's masses and friction are is for whoever made it to say.

    Args:
        simulation: The simulations.
        scene: Their scene.
    """

    def __init__(self, simulation: Simulation, scene: Scene) -> None:
        sim = self._sim = simulation
        model, robot = sim.model, sim.world.robot
        self._spread_m, self._place = scene.options.spread_m, scene.options.place
        self._home = self.home(model, robot, scene)
        joints = sim.joint_ids(robot.arm_joints)
        slides = model.jnt_type[joints] == _SLIDE
        self._offset = np.where(slides, LIFT_OFFSET_M, ARM_OFFSET_RAD)  # (J,)
        limited = model.jnt_limited[joints, None] != 0  # (J, 1)
        self._range = np.where(limited, model.jnt_range[joints], [-np.inf, np.inf])  # (J, 2)
        self._fingers = FingerPoses(sim)
        base = base_joints(model, robot)
        self._free = [
            int(model.jnt_qposadr[j])
            for j in range(model.njnt)
            if model.jnt_type[j] == _FREE and j not in base
        ]

    @staticmethod
    def home(model: Any, robot: RobotSpec, scene: Scene) -> FloatArray:
        """Positions (nq,) with the robot at its place, its arm at home, all else as in the file."""
        qpos: FloatArray = model.qpos0.copy()
        arm = [model.joint(ROBOT_PREFIX + name).qposadr[0] for name in robot.arm_joints]
        qpos[arm] = robot.home
        x, y, yaw = scene.options.place
        base = base_joints(model, robot)
        if robot.base.kind == "planar":
            qpos[[model.jnt_qposadr[j] for j in base]] = x, y, yaw
        elif robot.base.kind == "differential":
            start = model.jnt_qposadr[base[0]]
            qpos[start : start + 2] = x, y
            qpos[start + 3 : start + 7] = np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)
        return qpos

    def apply(self, ids: IntArray, seeds: Sequence[int]) -> None:
        """Write the initial states of episodes with these seeds into simulations `ids`, (k,)."""
        self._sim.reset(ids)
        for i, seed in zip(ids, seeds, strict=True):
            self._apply_one(int(i), np.random.default_rng(seed))
        self._sim.batch.set_const(ids)

    def _apply_one(self, i: int, rng: np.random.Generator) -> None:
        sim = self._sim
        sim.qpos[i] = self._home
        x, y, yaw = self._place
        ahead, left = rng.uniform(-self._spread_m, self._spread_m, 2)
        sim.base.place(i, x + ahead, y + left, yaw)
        arm = sim.qpos[i, sim.arm_qpos] + rng.uniform(-1, 1, len(self._offset)) * self._offset
        sim.qpos[i, sim.arm_qpos] = np.clip(arm, self._range[:, 0], self._range[:, 1])
        self._fingers.put(i, rng.random())
        for start in self._free:
            sim.qpos[i, start : start + 2] += rng.uniform(-self._spread_m, self._spread_m, 2)
