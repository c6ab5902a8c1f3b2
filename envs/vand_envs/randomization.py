"""Randomization of the initial state and of physical parameters: ranges, and how they are applied.

The draw is a function of the episode's seed alone, and the same for every task: one world, many
instructions.
"""

from collections.abc import Sequence

import mujoco
import numpy as np

from vand_envs.errors import require_integer
from vand_envs.robots.base_reader import base_body
from vand_envs.robots.fingers import FingerPoses
from vand_envs.simulation import Simulation
from vand_envs.typing import FloatArray, IntArray

START_POSITION_M = 0.25
"""Largest offset of the base from the dock, along x and y."""
START_YAW_RAD = 0.50
"""Largest heading at the start."""
ARM_OFFSET_RAD = 0.08
"""Largest offset of each arm joint from its home position."""
LIFT_OFFSET_M = 0.05
"""Largest offset of the lift from its home position."""
CUBE_AREA_M = (0.07, 0.12)
"""Largest offset of the cube from the middle of the tray, along x and y."""
CUBE_YAW_RAD = 0.5
"""Largest rotation of the cube."""
CUBE_MASS_KG = (0.08, 0.30)
"""Range of the cube's mass."""
FRICTION_SCALE = (0.85, 1.15)
"""Range of the factor on the sliding friction of cube and board."""
BASE_LATENCY_S = (0.06, 0.16)
"""Range of the time constant with which the base follows its commanded velocity: a planar one that
is driven by velocity; others answer as their model does."""

CUBE_REST_M = 0.0285
"""Height of the resting cube's center above the table top."""

_SLIDE = int(mujoco.mjtJoint.mjJNT_SLIDE)

_FRICTION_GEOMS = ("cube", "board_top")


def require_seed(seed: object) -> int:
    """An episode's seed, of any integer type, as Python's.

    Raises:
        UsageError: It is no integer, or negative.
    """
    return require_integer("seed", seed, 0)


class Randomizer:
    """Puts simulations into the initial state of an episode."""

    def __init__(self, simulation: Simulation) -> None:
        sim = self._sim = simulation
        model, robot = sim.model, sim.world.robot
        batch = sim.batch
        self._home = np.array(robot.home)
        slides = model.jnt_type[sim.joint_ids(robot.arm_joints)] == _SLIDE
        self._lift_and_arm = np.where(slides, LIFT_OFFSET_M, ARM_OFFSET_RAD)  # (J,)
        limited = model.jnt_limited[sim.joint_ids(robot.arm_joints), None] != 0  # (J, 1)
        ranges = model.jnt_range[sim.joint_ids(robot.arm_joints)]  # (J, 2)
        self._arm_range = np.where(limited, ranges, [-np.inf, np.inf])
        self._fingers = FingerPoses(sim)
        self._cube_qpos = int(model.joint("cube").qposadr[0])
        self._cube = sim.body_id("cube")
        self._tray = model.body("tray").pos.copy()
        self._mass: FloatArray = batch.expand("body_mass")  # (n, nbody)
        self._inertia: FloatArray = batch.expand("body_inertia")  # (n, nbody, 3)
        self._friction: FloatArray = batch.expand("geom_friction")  # (n, ngeom, 3)
        self._gain: FloatArray = batch.expand("actuator_gainprm")  # (n, nu, 10)
        self._bias: FloatArray = batch.expand("actuator_biasprm")  # (n, nu, 10)
        self._geoms = [int(model.geom(name).id) for name in _FRICTION_GEOMS]
        self._base = sim.actuator_ids(robot.base.actuators)
        driven = base_body(model, robot)
        robot_mass = float(model.body_subtreemass[driven])
        # The yaw servo's inertia, about the base's axis, is about that of its chassis.
        yaw_inertia = float(model.body_inertia[driven].max())
        self._servo_base = (robot.base.kind, robot.base.control) == ("planar", "velocity")
        self._base_inertia = np.array([robot_mass, robot_mass, yaw_inertia])

    def apply(self, ids: IntArray, seeds: Sequence[int]) -> None:
        """Write the initial state and physical parameters of episodes with these seeds.

        Args:
            ids: Simulations to write, sorted, (k,).
            seeds: A seed for each, non-negative.
        """
        sim = self._sim
        sim.reset(ids)
        for i, seed in zip(ids, seeds, strict=True):
            self._apply_one(int(i), np.random.default_rng(seed))
        sim.batch.set_const(ids)

    def _apply_one(self, i: int, rng: np.random.Generator) -> None:
        sim, model = self._sim, self._sim.model
        x, y = rng.uniform(-START_POSITION_M, START_POSITION_M, 2)
        sim.base.place(i, x, y, rng.uniform(-START_YAW_RAD, START_YAW_RAD))
        arm = self._home + rng.uniform(-1, 1, len(self._home)) * self._lift_and_arm
        sim.qpos[i, sim.arm_qpos] = np.clip(arm, self._arm_range[:, 0], self._arm_range[:, 1])
        # Any opening: what the fingers do at the start must not tell the task.
        self._fingers.put(i, rng.random())
        yaw = rng.uniform(-CUBE_YAW_RAD, CUBE_YAW_RAD)
        xy = self._tray[:2] + rng.uniform(-1, 1, 2) * np.array(CUBE_AREA_M)
        pose = [*xy, self._tray[2] + CUBE_REST_M, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
        sim.qpos[i, self._cube_qpos : self._cube_qpos + 7] = pose

        mass = rng.uniform(*CUBE_MASS_KG)
        ratio = mass / model.body_mass[self._cube]
        self._mass[i, self._cube] = mass
        self._inertia[i, self._cube] = ratio * model.body_inertia[self._cube]
        scale = rng.uniform(*FRICTION_SCALE)
        self._friction[i, self._geoms, 0] = scale * model.geom_friction[self._geoms, 0]
        if not self._servo_base:
            return
        gain = self._base_inertia / rng.uniform(*BASE_LATENCY_S)  # (3,), velocity servo
        self._gain[i, self._base, 0] = gain
        self._bias[i, self._base, 2] = -gain
