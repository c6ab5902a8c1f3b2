"""Actions in [-1, 1] -> controls: base twist, end-effector twist by differential IK, gripper."""

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from vand_envs.errors import unknown_name
from vand_envs.geometry import to_world_axes
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

TWIST_SIZES = (3, 6, 1)
"""Numbers in an action of mode `ee_twist`: twists of base and end effector, gripper."""

POSTURE_RATE = 1.0
"""Rate at which redundant motion returns the arm to its home posture [1/s]."""


class Controller:
    """Turns actions into controls for every simulation.

    Action modes, all numbers in [-1, 1]:

    - `ee_twist` (10): base twist in the base frame (3); linear and angular velocity of the end
      effector relative to the base, in the base frame (3 + 3); gripper (1, 1 is open).
    - `joint` (4 + J): base twist (3); lift and arm joint targets over their ranges (J); gripper.

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
        self._base = sim.actuator_ids(robot.base_actuators)
        self._arm = sim.actuator_ids(robot.arm_actuators)
        self._gripper = int(sim.actuator_ids((robot.gripper_actuator,))[0])
        self._base_speed = np.array(robot.max_base_speed)
        linear, angular = robot.max_ee_speed
        self._ee_speed = np.array([linear] * 3 + [angular] * 3)
        ranges = np.array([sim.model.actuator_ctrlrange[a] for a in self._arm])  # (J, 2)
        self._low, self._high = ranges[:, 0], ranges[:, 1]
        self._home = np.array(robot.home)
        self._weight = np.array(robot.posture_weight)
        self._leash = np.array(robot.leash)
        self._closed, self._open = robot.gripper_closed, robot.gripper_open

    @property
    def action_size(self) -> int:
        """Numbers in one action."""
        base, hand, gripper = TWIST_SIZES
        return base + (hand if self.mode == "ee_twist" else len(self._arm)) + gripper

    def hold(self, ids: IntArray) -> None:
        """Make the present positions of joints and gripper the targets."""
        sim = self._sim
        sim.ctrl[ids] = 0.0
        sim.ctrl[np.ix_(ids, self._arm)] = sim.qpos[np.ix_(ids, sim.arm_qpos)]
        sim.ctrl[ids, self._gripper] = sim.qpos[ids, sim.gripper_qpos]

    def controls(self, actions: npt.ArrayLike) -> FloatArray:
        """Controls that carry out actions for one control step.

        Args:
            actions: (n, action_size); numbers outside [-1, 1] are clipped.

        Returns:
            (n, nu) controls at the end of the step.
        """
        sim = self._sim
        action = np.clip(np.asarray(actions, np.float64), -1.0, 1.0)  # (n, A)
        base, gripper = action[:, :3], action[:, -1]
        yaw = sim.qpos[:, sim.base_qpos[2]]
        velocity = base * self._base_speed  # (n, 3), base axes
        ctrl = np.empty_like(sim.ctrl)
        ctrl[:, self._base] = to_world_axes(velocity, np.cos(yaw), np.sin(yaw))
        ctrl[:, self._arm] = self._targets(action)
        ctrl[:, self._gripper] = self._closed + (gripper + 1) / 2 * (self._open - self._closed)
        return ctrl

    def parts(self, actions: npt.ArrayLike) -> dict[str, Float32Array]:
        """Actions (n, A) in the terms of both modes: part name -> (n, .), in [-1, 1].

        Call before the step: the joint targets of a twist depend on the present state.
        """
        action = np.clip(np.asarray(actions, np.float64), -1.0, 1.0)  # (n, A)
        targets = self._targets(action)
        if self.mode == "ee_twist":
            twist = action[:, 3:-1]
            joint = self.normalize_targets(targets)
        else:
            step = targets - self._sim.ctrl[:, self._arm]
            motion = _apply(self._sim.arm_jacobian(), step)
            twist = np.clip(motion / self._sim.control_dt_s / self._ee_speed, -1.0, 1.0)
            joint = action[:, 3:-1].astype(np.float32)
        return {
            "base_twist": action[:, :3].astype(np.float32),
            "ee_twist": twist.astype(np.float32),
            "joint_targets": joint,
            "gripper": action[:, -1:].astype(np.float32),
        }

    def _targets(self, action: FloatArray) -> FloatArray:
        """Joint targets [m or rad] of actions (n, A) at the end of the step, (n, J)."""
        if self.mode == "ee_twist":
            return self._integrate(action[:, 3:-1] * self._ee_speed)
        goal = self._low + (action[:, 3:-1] + 1) / 2 * (self._high - self._low)
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
