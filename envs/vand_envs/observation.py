"""Observations: a flat dictionary of float32 arrays, the same for every task.

Nothing in it tells the phase, the stage, the count or the time: memory is the policy's job.
"""

from collections.abc import Iterable

import numpy as np

from vand_envs.geometry import to_base_axes
from vand_envs.simulation import Simulation
from vand_envs.typing import Float32Array, FloatArray
from vand_envs.world import MOVABLES, STATIONS, World

_ROBOT_PARTS = {
    "base_pose": 4,
    "base_twist": 3,
    "joint_pos": None,
    "joint_vel": None,
    "gripper": 2,
    "ee_pos": 3,
    "ee_rot": 6,
    "ee_lag": 3,
}
"""Key -> size; None is the number of the robot's joints, J. Pose x, y [m], cos and sin of yaw, in
the world; twist in the base frame [m/s, rad/s]; lift and arm positions and velocities [m, rad];
gripper opening [m] and its speed [m/s]; end-effector position [m] and orientation (first two
columns of its rotation) in the base frame; how far the commanded end effector is ahead of the real
one [m], in base axes: what a robot feels of contact forces."""

_MOVABLE_PARTS = {"pos": 3, "rot": 6, "rel": 3}
_STATION_PARTS = {"pos": 2, "rel": 3}


def _body_parts(movables: Iterable[str], stations: Iterable[str]) -> dict[str, int]:
    """Key -> size of what is observed of bodies."""
    return {
        **{f"{body}_{part}": k for body in movables for part, k in _MOVABLE_PARTS.items()},
        **{f"{body}_{part}": k for body in stations for part, k in _STATION_PARTS.items()},
    }


_BODY_PARTS = _body_parts(MOVABLES, STATIONS)
"""Key -> size, in the workshop. `<body>_pos` is the body's position in the base frame (of stations,
whose height is always the same, x and y only), `<body>_rel` its position relative to the end
effector, in base axes [m]; `<body>_rot` its orientation in the base frame (first two columns of the
rotation)."""

ROBOT_KEYS: tuple[str, ...] = tuple(_ROBOT_PARTS)
"""What a robot knows of itself, in any world; all else but `instruction` tells of bodies."""

OBSERVATION_KEYS: tuple[str, ...] = (*ROBOT_KEYS, *_BODY_PARTS, "instruction")


def observation_sizes(world: World) -> dict[str, int]:
    """Key -> size of what is observed in a world, but for `instruction`, a number for each task."""
    joints = len(world.robot.arm_joints)
    own = {key: joints if size is None else size for key, size in _ROBOT_PARTS.items()}
    return {**own, **_body_parts(world.movables, world.stations)}


class Observer:
    """Reads observations off a simulation."""

    def __init__(self, simulation: Simulation) -> None:
        sim, robot = simulation, simulation.world.robot
        self._sim = sim
        self._arm = sim.actuator_ids(robot.arm.actuators)
        world = sim.world
        self._keys, self._movables = (*world.movables, *world.stations), len(world.movables)
        bodies = (*world.movables.values(), *world.stations.values())
        self._bodies = np.array([sim.body_id(body) for body in bodies], np.int64)
        self._parts = _body_parts(world.movables, world.stations)

    def observe(self) -> dict[str, Float32Array]:
        """Observation of the present state: key -> fresh (n, d) array, without `instruction`."""
        sim = self._sim
        base = sim.base.pose()  # (n, 3)
        cos, sin = np.cos(base[:, 2]), np.sin(base[:, 2])
        arm = sim.qpos[:, sim.arm_qpos]  # (n, J)
        lag = sim.ctrl[:, self._arm] - arm  # (n, J)
        points = sim.xpos[:, self._bodies]  # (n, K, 3)
        ee = sim.site_xpos[:, sim.ee_site]  # (n, 3)
        floor = np.concatenate([base[:, :2], np.zeros((sim.n, 1))], 1)  # (n, 3)
        vectors = np.concatenate(
            [
                ee[:, None] - floor[:, None],
                points - floor[:, None],
                points - ee[:, None],
                sim.site_xmat[:, sim.ee_site, :, :2].transpose(0, 2, 1),
                *(sim.xmat[:, b, :, :2].transpose(0, 2, 1) for b in self._bodies[: self._movables]),
            ],
            axis=1,
        )  # (n, 1 + 2 K + 2 + 2 M, 3), world axes
        vectors = to_base_axes(vectors, cos[:, None], sin[:, None])
        k = len(self._bodies)
        velocity = sim.base.velocity()  # (n, 3), world axes
        twist = to_base_axes(velocity, cos, sin)
        observation: dict[str, FloatArray] = {
            "base_pose": np.stack([base[:, 0], base[:, 1], cos, sin], 1),
            "base_twist": twist,
            "joint_pos": arm,
            "joint_vel": sim.qvel[:, sim.arm_dofs],
            "gripper": np.stack([sim.gripper_opening(), sim.gripper_speed()], 1),
            "ee_pos": vectors[:, 0],
            "ee_lag": np.matmul(sim.arm_jacobian()[:, :3], lag[..., None])[..., 0],
            "ee_rot": vectors[:, 1 + 2 * k : 3 + 2 * k].reshape(sim.n, 6),
        }
        for i, body in enumerate(self._keys):
            observation[f"{body}_pos"] = vectors[:, 1 + i, : self._parts[f"{body}_pos"]]
            if i < self._movables:
                start = 3 + 2 * k + 2 * i
                observation[f"{body}_rot"] = vectors[:, start : start + 2].reshape(sim.n, 6)
            observation[f"{body}_rel"] = vectors[:, 1 + k + i]
        return {key: value.astype(np.float32) for key, value in observation.items()}
