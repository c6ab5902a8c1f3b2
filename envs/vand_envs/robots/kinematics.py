"""Inverse kinematics of one pose: where a robot's hand can be, for `robots check`."""

from dataclasses import dataclass

import mujoco
import numpy as np

from vand_envs.robot import LEASH, ROBOT_PREFIX, RobotSpec
from vand_envs.typing import FloatArray
from vand_envs.world import World

STEPS = 120
"""Steps of the iteration."""
DAMPING = 0.03
"""Damping of the least-squares inverse [m, rad], as the controller's."""


@dataclass(frozen=True)
class HandPose:
    """A pose of the arm, and how far it misses what was asked for."""

    joints: FloatArray
    """Positions of the arm's joints [m or rad], (J,)."""
    miss_m: float
    """Distance of the hand from its place [m]."""
    miss_rad: float
    """Angle from pointing down with the yaw that was asked for [rad]."""


def hand_pose(world: World, target: FloatArray, yaw: float = 0.0) -> HandPose:
    """Bring the hand to a place, pointing down, by damped least squares from home.

    Args:
        world: The world with the robot.
        target: Where the hand shall be, in the frame of a base at the origin of the robot's place.
        yaw: Direction of the gripper about the vertical [rad].
    """
    model, robot = world.model, world.robot
    data = mujoco.MjData(model)
    arm, dofs, ranges = _arm(model, robot)
    data.qpos[arm] = robot.home
    site = model.site(ROBOT_PREFIX + robot.ee_site).id
    x, y, turn = robot.base.place if robot.base.kind == "fixed" else (0.0, 0.0, 0.0)
    cos, sin = np.cos(turn), np.sin(turn)
    goal = np.array(
        [x + cos * target[0] - sin * target[1], y + sin * target[0] + cos * target[1], target[2]]
    )
    cos, sin = np.cos(yaw + turn), np.sin(yaw + turn)
    wanted = np.array([[0, -sin, cos], [0, cos, sin], [-1, 0, 0]])  # columns: the hand's axes
    weight = np.array(robot.arm.posture_weight or (1.0,) * len(arm))
    jac = np.empty((2, 3, model.nv))
    best = HandPose(np.array(robot.home), np.inf, np.inf)
    for _ in range(STEPS):
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        offset = goal - data.site_xpos[site]
        turned = wanted @ data.site_xmat[site].reshape(3, 3).T
        quat, angle = np.empty(4), np.empty(3)
        mujoco.mju_mat2Quat(quat, turned.ravel())
        mujoco.mju_quat2Vel(angle, quat, 1.0)
        miss = float(np.linalg.norm(offset)), float(np.linalg.norm(angle))
        if miss[0] + 0.1 * miss[1] < best.miss_m + 0.1 * best.miss_rad:
            best = HandPose(data.qpos[arm].copy(), *miss)
        mujoco.mj_jacSite(model, data, jac[0], jac[1], site)
        j = jac[:, :, dofs].reshape(6, -1)
        error = np.concatenate([_short(offset, 0.1), _short(angle, 0.3)])
        step = _damped(j, error, weight)
        blocked = (data.qpos[arm] + step > ranges[:, 1]) | (data.qpos[arm] + step < ranges[:, 0])
        step = _damped(j, error, np.where(blocked, 1e-9, weight))
        data.qpos[arm] = np.clip(data.qpos[arm] + np.clip(step, -2 * LEASH, 2 * LEASH), *ranges.T)
    return best


def _damped(jacobian: FloatArray, error: FloatArray, weight: FloatArray) -> FloatArray:
    weighted = jacobian * weight
    gram = weighted @ jacobian.T + DAMPING**2 * np.eye(6)
    return np.asarray(weighted.T @ np.linalg.solve(gram, error))


def _short(vector: FloatArray, most: float) -> FloatArray:
    return np.asarray(vector * min(1.0, most / max(float(np.linalg.norm(vector)), 1e-9)))


def _arm(model: mujoco.MjModel, robot: RobotSpec) -> tuple[list[int], list[int], FloatArray]:
    """Addresses of the arm's positions and velocities, and its ranges (J, 2)."""
    joints = [model.joint(ROBOT_PREFIX + name) for name in robot.arm.joints]
    ranges = [
        joint.range if model.jnt_limited[joint.id] else (-2 * np.pi, 2 * np.pi) for joint in joints
    ]
    return (
        [int(joint.qposadr[0]) for joint in joints],
        [int(joint.dofadr[0]) for joint in joints],
        np.array(ranges, np.float64),
    )
