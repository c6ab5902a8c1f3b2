"""Simulation: n copies of one world, stepped on a thread pool, with named (n, ...) views."""

import os
from collections.abc import Sequence

import mujoco
import numpy as np
from mujoco.batch import Batch

from vand_envs.errors import UsageError, VandError
from vand_envs.geometry import to_base_axes
from vand_envs.robot import ROBOT_PREFIX
from vand_envs.robots.base_reader import BaseReader
from vand_envs.typing import FloatArray, IntArray
from vand_envs.world import World, require_time_step

_POSITIONS = int(mujoco.mjtStage.mjSTAGE_POS)
_NOTHING = int(mujoco.mjtStage.mjSTAGE_NONE)


class Simulation:
    """n simulations of one world.

    The arrays are live views: state (`qpos`, `qvel`, `ctrl`, `wrench`) may be written, and is the
    simulation's at its next call; derived arrays (`xpos`, `xmat`) belong to the present state
    after every call. Results do not depend on n or on the number of threads, bit for bit.

    Args:
        world: The world to simulate.
        n: Number of simulations.
        control_dt_s: Duration of one control step [s], a multiple of the physics time step.
        num_threads: Threads to step on; 0 means one per processor.

    Raises:
        UsageError: The control step is no multiple of the physics step, one of them is out of
            range, or n is not positive.
    """

    def __init__(
        self, world: World, n: int, control_dt_s: float = 0.1, num_threads: int = 0
    ) -> None:
        if n < 1:
            raise UsageError(f"number of simulations: expected at least 1, got {n}")
        dt = float(world.model.opt.timestep)
        require_time_step("physics_dt_s", dt)  # the world may be a file's
        require_time_step("control_dt_s", control_dt_s)
        self.substeps = round(control_dt_s / dt)
        if self.substeps < 1 or abs(self.substeps * dt - control_dt_s) > 1e-9:
            raise UsageError(
                f"control_dt_s: expected a positive multiple of the physics step {dt} s,"
                f" got {control_dt_s}"
            )
        self.world = world
        self.model = world.model
        self.n = n
        self.control_dt_s = control_dt_s
        # One simulation gains nothing from a pool, and n simulations nothing from more than n.
        threads = min(num_threads, n) if num_threads else 0 if n > 1 else 1
        self.batch = Batch(world.model, n, threads)
        self._pool_of = None if threads == 1 else os.getpid()  # process that has the pool's threads
        self.state: FloatArray = self.batch.state  # (n, S), mjSTATE_INTEGRATION
        self.qpos: FloatArray = self.batch.bind("qpos")  # (n, nq)
        self.qvel: FloatArray = self.batch.bind("qvel")  # (n, nv)
        self.ctrl: FloatArray = self.batch.bind("ctrl")  # (n, nu)
        self.wrench: FloatArray = self.batch.bind("xfrc_applied")  # (n, nbody, 6) [N, N m], world
        self.xpos: FloatArray = self.batch.bind("xpos")  # (n, nbody, 3)
        self.xmat: FloatArray = self.batch.bind("xmat").reshape(n, -1, 3, 3)  # (n, nbody, 3, 3)
        self.site_xpos: FloatArray = self.batch.bind("site_xpos")  # (n, nsite, 3)
        self.site_xmat: FloatArray = self.batch.bind("site_xmat").reshape(n, -1, 3, 3)
        robot = world.robot
        self.base = BaseReader(self)
        # addresses of the base's joints: three of a planar base, of any other see `base`
        self.base_qpos, self.base_dofs = self.base.qpos_ids, self.base.dof_ids
        self.arm_qpos = self._qpos_ids(robot.arm_joints)
        self.arm_dofs = self._dof_ids(robot.arm_joints)
        grip = robot.gripper
        joints = (grip.joint,) if grip.kind != "none" else ()
        self.gripper_qpos, self.gripper_dofs = self._qpos_ids(joints), self._dof_ids(joints)
        self._opening_scale = grip.width_m / ((grip.joint_open - grip.joint_closed) or 1.0)
        self.ee_site = int(self.model.site(ROBOT_PREFIX + robot.ee_site).id)
        self.ee_body = int(self.model.site_bodyid[self.ee_site])
        self._body_ids = {self.model.body(i).name: i for i in range(self.model.nbody)}
        self._arm_jacobian: FloatArray | None = None
        self.reset()
        self.forward()

    def _qpos_ids(self, joints: Sequence[str]) -> IntArray:
        return np.array([self.model.joint(ROBOT_PREFIX + j).qposadr[0] for j in joints], np.int64)

    def _dof_ids(self, joints: Sequence[str]) -> IntArray:
        return np.array([self.model.joint(ROBOT_PREFIX + j).dofadr[0] for j in joints], np.int64)

    def gripper_opening(self) -> FloatArray:
        """Distance between the fingers [m], (n,); 0 without a gripper."""
        position = self.qpos[:, self.gripper_qpos].sum(axis=1)
        closed = self.world.robot.gripper.joint_closed
        return np.asarray(self._opening_scale * (position - closed if closed else position))

    def gripper_speed(self) -> FloatArray:
        """Speed at which the fingers open [m/s], (n,)."""
        return np.asarray(self._opening_scale * self.qvel[:, self.gripper_dofs].sum(axis=1))

    def joint_ids(self, joints: Sequence[str]) -> IntArray:
        """Ids of the robot's joints, (k,)."""
        return np.array([self.model.joint(ROBOT_PREFIX + j).id for j in joints], np.int64)

    def actuator_ids(self, actuators: Sequence[str]) -> IntArray:
        """Indices of the robot's actuators into `ctrl`, (k,)."""
        return np.array([self.model.actuator(ROBOT_PREFIX + a).id for a in actuators], np.int64)

    def reset(self, ids: IntArray | None = None) -> None:
        """Put simulations (all by default) into the model's default state."""
        self.batch.reset(ids, stage=_NOTHING)

    def forward(self, ids: IntArray | None = None) -> None:
        """Bring derived arrays up to date with a state that was written."""
        self.batch.forward(ids, stage=_POSITIONS)
        self._arm_jacobian = None

    def restore(self, states: FloatArray) -> None:
        """Put the simulations into recorded states, (n, S).

        Raises:
            VandError: The states are not of this world.
        """
        if states.shape != self.state.shape:
            raise VandError(
                f"states: expected shape {self.state.shape} for this world, got {states.shape}"
            )
        self.state[:] = states
        self.forward()

    def step(self, ctrl: FloatArray) -> None:
        """Advance every simulation by one control step.

        Position targets run from the previous controls to the new ones in equal substeps: a jump
        would whip the arm.

        Args:
            ctrl: Controls at the end of the step, (n, nu).

        Raises:
            VandError: They have several threads, and this process was forked after they were made.
        """
        if self._pool_of not in (None, os.getpid()):  # it would wait for them for ever
            raise VandError(
                "simulations on several threads cannot be stepped in a process that was forked"
                ' after they were made: make them there, or start it anew (`context="spawn"`)'
            )
        ramp = np.arange(1, self.substeps + 1) / self.substeps  # (K,)
        start = self.ctrl[:, None, :]  # (n, 1, nu)
        control = start + ramp[:, None] * (ctrl[:, None, :] - start)  # (n, K, nu)
        control[:, -1] = ctrl
        self.batch.rollout(self.substeps, control, record=())
        self.forward()

    def body_id(self, name: str) -> int:
        """Index of a body into `xpos` and `xmat`."""
        return self._body_ids[name]

    def arm_jacobian(self) -> FloatArray:
        """Jacobian of the end effector in the arm's joints, in base axes, (n, 6, J).

        Rows are linear [m] then angular [rad]. Computed once for each state: the observation of a
        state and the action that answers it both need it.
        """
        if self._arm_jacobian is None:
            point = self.site_xpos[:, self.ee_site]  # (n, 3)
            linear, angular = self.batch.jac(self.ee_body, point)  # (n, 3, nv) each
            world = np.stack([linear[..., self.arm_dofs], angular[..., self.arm_dofs]], 1)
            yaw = self.base.pose()[:, 2]
            rotated = to_base_axes(
                world.swapaxes(2, 3), np.cos(yaw)[:, None, None], np.sin(yaw)[:, None, None]
            )  # (n, 2, J, 3)
            jacobian = rotated.swapaxes(2, 3).reshape(self.n, 6, -1)
            # One memory layout for every n: numpy's products choose their order of summation by it.
            self._arm_jacobian = np.ascontiguousarray(jacobian)
        return self._arm_jacobian

    def data(self, i: int) -> mujoco.MjData:
        """A copy of simulation i with everything computed, to render it."""
        data = self.batch.get_data(i)
        mujoco.mj_forward(self.batch.get_model(i), data)
        return data
