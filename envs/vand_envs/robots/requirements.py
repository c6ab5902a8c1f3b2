"""Checks of a compiled robot: whether its actuators take what the controller gives them."""

from typing import Any

import mujoco
import numpy as np

from vand_envs.robot import ROBOT_PREFIX, RobotSpec
from vand_envs.robots.base_reader import base_joints

_SCALARS = (int(mujoco.mjtJoint.mjJNT_SLIDE), int(mujoco.mjtJoint.mjJNT_HINGE))
_FREE = int(mujoco.mjtJoint.mjJNT_FREE)


def require_drivable(robot: RobotSpec, model: Any) -> None:
    """Check kinds of joints and actuators.

    Raises:
        UsageError: One is of another kind than the spec says.
    """
    for name in (*robot.arm.joints, *robot.base.joints, *robot.gripper.joints):
        if int(model.joint(ROBOT_PREFIX + name).type[0]) not in _SCALARS:
            raise robot.mistake(f"joint {name!r}", "a hinge or a slide", "another kind")
    for joint, actuator in zip(robot.arm.joints, robot.arm.actuators, strict=True):
        _require_servo(robot, model, "arm.actuators", actuator, "position", joint)
    kind = robot.base.control if robot.base.kind == "planar" else "velocity"
    joints = robot.base.joints or (None,) * len(robot.base.actuators)
    for base_joint, actuator in zip(joints, robot.base.actuators, strict=True):
        _require_servo(robot, model, "base.actuators", actuator, kind, base_joint)
    if robot.base.kind == "differential":
        joint_id = base_joints(model, robot)[0]
        if joint_id < 0 or int(model.jnt_type[joint_id]) != _FREE:
            raise robot.mistake("base.body", "a body with a free joint", robot.base.body)


def _require_servo(
    robot: RobotSpec, model: Any, key: str, name: str, kind: str, joint: str | None
) -> None:
    i = model.actuator(ROBOT_PREFIX + name).id
    gain, bias = model.actuator_gainprm[i, 0], model.actuator_biasprm[i, :3]
    which = {"position": 1, "velocity": 2}[kind]
    if gain <= 0 or not np.isclose(-bias[which], gain, rtol=0.02):
        raise robot.mistake(
            f"{key}: {name!r}", f"a {kind} actuator", f"gain {gain:g}, bias {bias.tolist()}"
        )
    if joint is None:
        return
    driven = int(model.actuator_trnid[i, 0])
    if driven != model.joint(ROBOT_PREFIX + joint).id:
        raise robot.mistake(
            f"{key}: {name!r}", f"one that moves joint {joint!r}", model.joint(driven).name
        )
