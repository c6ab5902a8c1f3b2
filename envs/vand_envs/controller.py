"""Actions in [-1, 1] -> controls: base twist, end-effector twist by differential IK, gripper."""

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from vand_envs.errors import unknown_name
from vand_envs.geometry import to_world_axes
from vand_envs.robot import LEASH, RobotSpec
from vand_envs.simulation import Simulation
from vand_envs.typing import Float32Array, FloatArray, IntArray

ActionMode = Literal["ee_twist", "joint"]
ACTION_MODES: tuple[ActionMode, ...] = get_args(ActionMode)


def action_mode(name: str) -> ActionMode:
    """The action mode of that name.

    Raises:
        UsageError: There is none.
    """
    for mode in ACTION_MODES:
        if mode == name:
            return mode
    raise unknown_name("action mode", name, ACTION_MODES)


DAMPING = 0.03
"""Damping of the least-squares inverse [m, rad]: bounds joint speed near singularities."""

HAND_SIZE = 6
"""Numbers in an action of mode `ee_twist` that move the end effector."""

BASE_LEASH = 0.10
"""How far the target of a base that is driven by position may run ahead of it [m or rad]."""

POSTURE_RATE = 1.0
"""Rate at which redundant motion returns the arm to its home posture [1/s]."""


class Controller:
    """Turns actions into controls for every simulation.

    Action modes, all numbers in [-1, 1]:

    - `ee_twist` (B + 6 + G): base twist in the base frame (B: ahead, sideways, turning; of a
      differential drive ahead and turning; of a fixed base none); linear and angular velocity of
      the end effector relative to the base, in the base frame (3 + 3); gripper (1 is open), where
      there is one.
    - `joint` (B + J + G): base twist; lift and arm joint targets over their ranges (J); gripper.

    In mode `ee_twist` the joint targets are integrated from the twist by damped least squares; a
    joint that its limit stops is locked and the rest solved again, so that a saturated lift does
    not swallow the command. Targets stay within a leash of the joints, which bounds contact force.

    The only memory is the targets, which are the simulation's `ctrl`: restoring a state restores
    the controller.
    """

    def __init__(self, simulation: Simulation, mode: ActionMode = "ee_twist") -> None:
        sim, robot = simulation, simulation.world.robot
        self._sim = sim
        self.mode = action_mode(mode)
        self._base = sim.actuator_ids(robot.base.actuators)
        self._arm = sim.actuator_ids(robot.arm.actuators)
        self._robot, self._b = robot, robot.base_size
        grips = (robot.gripper.actuator,) * robot.gripper_size
        self._gripper = sim.actuator_ids(grips)  # (G,)
        self._base_speed = np.array([robot.max_base_speed[axis] for axis in robot.base_axes])
        linear, angular = robot.max_ee_speed
        self._ee_speed = np.array([linear] * 3 + [angular] * 3)
        ranges = arm_ranges(sim, robot)  # (J, 2)
        self._low, self._high = ranges[:, 0], ranges[:, 1]
        self._home = np.array(robot.home)
        self._weight = np.array(robot.arm.posture_weight or (1.0,) * len(self._arm))
        self._leash = np.array(robot.arm.leash or (LEASH,) * len(self._arm))
        self._closed, self._open = robot.gripper.closed, robot.gripper.open

    @property
    def action_size(self) -> int:
        """Numbers in one action."""
        hand = HAND_SIZE if self.mode == "ee_twist" else len(self._arm)
        return self._b + hand + len(self._gripper)

    def hold(self, ids: IntArray) -> None:
        """Make the present positions of joints and gripper the targets."""
        sim = self._sim
        sim.ctrl[ids] = 0.0
        sim.ctrl[np.ix_(ids, self._arm)] = sim.qpos[np.ix_(ids, sim.arm_qpos)]
        if len(self._gripper):
            sim.ctrl[ids, self._gripper[0]] = self._gripper_control(ids)
        if self._robot.base.control == "position" and self._robot.base.kind == "planar":
            sim.ctrl[np.ix_(ids, self._base)] = sim.base.pose()[ids]

    def controls(self, actions: npt.ArrayLike) -> FloatArray:
        """Controls that carry out actions for one control step.

        Args:
            actions: (n, action_size); numbers outside [-1, 1] are clipped.

        Returns:
            (n, nu) controls at the end of the step.
        """
        sim = self._sim
        action = np.clip(np.asarray(actions, np.float64), -1.0, 1.0)  # (n, A)
        ctrl = sim.ctrl.copy()  # actuators that the spec does not name keep what they have
        ctrl[:, self._base] = self._base_controls(action[:, : self._b] * self._base_speed)
        ctrl[:, self._arm] = self._targets(action)
        if len(self._gripper):
            wide = (action[:, -1] + 1) / 2
            ctrl[:, self._gripper[0]] = self._closed + wide * (self._open - self._closed)
        return ctrl

    def _base_controls(self, velocity: FloatArray) -> FloatArray:
        """Controls of the base's actuators for velocities (n, B) in base axes, (n, .)."""
        sim, base = self._sim, self._robot.base
        if base.kind == "differential":
            ahead, turn = velocity.T
            half = base.track_m / 2
            return np.stack([ahead - half * turn, ahead + half * turn], 1) / base.wheel_radius_m
        if base.kind == "fixed":
            return velocity
        pose = sim.base.pose()
        world = to_world_axes(velocity, np.cos(pose[:, 2]), np.sin(pose[:, 2]))
        if base.control == "velocity":
            return world
        target = sim.ctrl[:, self._base] + world * sim.control_dt_s
        return np.asarray(np.clip(target, pose - BASE_LEASH, pose + BASE_LEASH))

    def _gripper_control(self, ids: IntArray) -> FloatArray:
        """Controls at which the gripper stays as it is, (k,)."""
        grip = self._robot.gripper
        position = self._sim.qpos[ids, self._sim.gripper_qpos[0]]
        if (grip.closed, grip.open) == (grip.joint_closed, grip.joint_open):
            return np.asarray(position)
        share = (position - grip.joint_closed) / (grip.joint_open - grip.joint_closed)
        return np.asarray(grip.closed + np.clip(share, 0.0, 1.0) * (grip.open - grip.closed))

    def parts(self, actions: npt.ArrayLike) -> dict[str, Float32Array]:
        """Actions (n, A) in the terms of both modes: part name -> (n, .), in [-1, 1].

        Call before the step: the joint targets of a twist depend on the present state.
        """
        action = np.clip(np.asarray(actions, np.float64), -1.0, 1.0)  # (n, A)
        targets = self._targets(action)
        if self.mode == "ee_twist":
            twist = self._hand_part(action)
            joint = self.normalize_targets(targets)
        else:
            step = targets - self._sim.ctrl[:, self._arm]
            motion = _apply(self._sim.arm_jacobian(), step)
            twist = np.clip(motion / self._sim.control_dt_s / self._ee_speed, -1.0, 1.0)
            joint = self._hand_part(action).astype(np.float32)
        return {
            "base_twist": action[:, : self._b].astype(np.float32),
            "ee_twist": twist.astype(np.float32),
            "joint_targets": joint,
            "gripper": action[:, action.shape[1] - len(self._gripper) :].astype(np.float32),
        }

    def _hand_part(self, action: FloatArray) -> FloatArray:
        """What moves the hand: twist (n, 6) or joint targets (n, J)."""
        part: FloatArray = action[:, self._b : action.shape[1] - len(self._gripper)]
        return part

    def _targets(self, action: FloatArray) -> FloatArray:
        """Joint targets [m or rad] of actions (n, A) at the end of the step, (n, J)."""
        if self.mode == "ee_twist":
            return self._integrate(self._hand_part(action) * self._ee_speed)
        goal = self._low + (self._hand_part(action) + 1) / 2 * (self._high - self._low)
        position = self._sim.qpos[:, self._sim.arm_qpos]
        return np.asarray(np.clip(goal, position - self._leash, position + self._leash))

    def normalize_targets(self, targets: FloatArray) -> Float32Array:
        """Joint targets [m or rad], (n, J), over their ranges: in [-1, 1]."""
        unit = 2 * (targets - self._low) / (self._high - self._low) - 1
        return np.asarray(np.clip(unit, -1.0, 1.0), np.float32)

    def _integrate(self, twist: FloatArray) -> FloatArray:
        """Joint targets after one control step of an end-effector twist (n, 6) [m/s, rad/s]."""
        sim, dt = self._sim, self._sim.control_dt_s
        position = sim.qpos[:, sim.arm_qpos]  # (n, J)
        target = sim.ctrl[:, self._arm]  # (n, J)
        jacobian = sim.arm_jacobian()
        posture = (self._home - target) * min(POSTURE_RATE * dt, 1.0)  # (n, J)
        mobility = np.broadcast_to(self._weight, target.shape)
        step = _damped_step(jacobian, twist * dt, posture, mobility)
        stopped = (target + step > self._high) | (target + step < self._low)  # (n, J)
        if stopped.any():
            step = _damped_step(jacobian, twist * dt, posture, np.where(stopped, 0.0, mobility))
        goal = np.clip(target + step, position - self._leash, position + self._leash)
        return np.clip(goal, self._low, self._high)


def action_indices(robot: RobotSpec) -> list[int]:
    """Which numbers of a command (10,) to a robot with everything are an action of this one.

    The command is in mode `ee_twist`: base ahead, sideways, turning; the hand's twist; gripper.
    """
    hand = range(3, 3 + HAND_SIZE)
    return [*robot.base_axes, *hand, *range(hand.stop, hand.stop + robot.gripper_size)]


def arm_ranges(sim: Simulation, robot: RobotSpec) -> FloatArray:
    """Ranges of the arm's joint targets [m or rad], (J, 2)."""
    ranges = []
    for actuator, joint in zip(
        sim.actuator_ids(robot.arm.actuators), sim.joint_ids(robot.arm.joints), strict=True
    ):
        if sim.model.actuator_ctrllimited[actuator]:
            ranges.append(sim.model.actuator_ctrlrange[actuator])
        elif sim.model.jnt_limited[joint]:
            ranges.append(sim.model.jnt_range[joint])
        else:
            ranges.append(np.array([-2 * np.pi, 2 * np.pi]))
    return np.array(ranges)


def _damped_step(
    jacobian: FloatArray, motion: FloatArray, posture: FloatArray, mobility: FloatArray
) -> FloatArray:
    """Weighted damped least squares with a null-space motion.

    Minimizes |J s - motion|^2 + DAMPING^2 |W^{-1/2} (s - posture)|^2, with W = diag(mobility)
    (Nakamura & Hanafusa 1986, singularity-robust inverse): s = p + W J' (J W J' + l^2 I)^{-1}
    (motion - J p). A joint of mobility 0 does not move.

    Args:
        jacobian: (n, 6, J).
        motion: Displacement of the end effector, (n, 6).
        posture: Joint displacement wanted where the task leaves a choice, (n, J).
        mobility: (n, J), at least 0.

    Returns:
        Joint displacement, (n, J).
    """
    wanted = np.where(mobility > 0, posture, 0.0)
    weighted = jacobian * mobility[:, None, :]  # (n, 6, J)
    gram = weighted @ jacobian.transpose(0, 2, 1) + DAMPING**2 * np.eye(6)  # (n, 6, 6)
    residual = motion - _apply(jacobian, wanted)
    force = np.linalg.solve(gram, residual[..., None])  # (n, 6, 1)
    return np.asarray(wanted + np.matmul(weighted.transpose(0, 2, 1), force)[..., 0])


def _apply(matrices: FloatArray, vectors: FloatArray) -> FloatArray:
    """Matrices (n, a, b) times vectors (n, b), one by one, (n, a).

    matmul and not einsum: einsum sums in an order that depends on n, and an episode must not.
    """
    return np.asarray(np.matmul(matrices, vectors[..., None])[..., 0])
