"""Whether a robot can be driven: what is found when everything is tried once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

from vand_demos.experts import EXPERTS, Disturbance
from vand_demos.experts.demonstrate import demonstrate
from vand_envs import World, make_world, task_ids
from vand_envs.controller import Controller
from vand_envs.errors import unknown_name
from vand_envs.robot import ROBOT_PREFIX, RobotSpec
from vand_envs.robots.kinematics import hand_pose
from vand_envs.seeds import VALIDATION_SEED
from vand_envs.simulation import Simulation
from vand_envs.typing import FloatArray

HEIGHTS_M = (0.74, 0.80, 0.88, 0.98)
"""Heights at which the hand must get to places ahead of the base [m]."""
AHEAD_M, ASIDE_M = (-0.08, 0.0, 0.08), (-0.12, 0.0, 0.12)
"""These places, from where the hand works best [m]: the spread of the experts."""
MISS_M, MISS_RAD = 0.005, 0.05
"""Largest distance from a place, and angle from pointing down, at which it is reached."""
SAG_M = 0.01
"""Largest distance by which the hand may sink while it is told to stay [m]."""
SLOW = 0.7
"""Share of a commanded speed that the base must reach."""
REACHED = 0.95
"""Share of the places that must be reached."""
GOOD_RATE = 0.8
"""Share of successful demonstrations below which a task cannot be offered."""

STATIONS_HERE = (
    ("cube", (0.0, 0.0, 0.03)),
    ("bin", (0.0, 0.0, 0.15)),
    ("drawer", (0.0, 0.0, 0.0)),
    ("board", (0.0, 0.0, 0.02)),
    ("pot", (0.0, 0.0, 0.05)),
    ("button_a", (0.0, 0.0, 0.02)),
    ("button_b", (0.0, 0.0, 0.02)),
    ("button_c", (0.0, 0.0, 0.02)),
    ("knock_plate", (0.0, 0.0, 0.02)),
)
"""Bodies that the hand works at, and where above them its finger tips get [m]."""


@dataclass(frozen=True)
class Finding:
    """One line of a check."""

    text: str
    """The line."""
    good: bool = True
    """Whether it is as it must be."""
    successes: int = 0
    """Of a task's expert: episodes that succeeded."""
    episodes: int = 0
    """Of a task's expert: episodes tried; 0 of any other line."""


def check_robot(
    robot: RobotSpec,
    tasks: Sequence[str] | None = None,
    episodes: int = 4,
    *,
    first_seed: int = VALIDATION_SEED,
    num_threads: int = 0,
) -> Iterator[Finding]:
    """Try a robot.

    Args:
        robot: The robot.
        tasks: Tasks whose experts are tried; None: all that are offered.
        episodes: Episodes of each; 0: none.
        first_seed: Seed of the first episode; each task has the same ones.
        num_threads: Threads to simulate on; 0: one per processor.

    Yields:
        What was found.

    Raises:
        UsageError: Its spec names something that its files lack, or there is no such task.
        VandError: A package is missing, or a file is no model.
    """
    for task in tasks or ():
        if task not in task_ids():
            raise unknown_name("task", task, task_ids())
    world = make_world(robot)
    yield _actuators(world)
    yield _workspace(world)
    yield from _stations(world)
    yield _gravity(world)
    if robot.base.kind != "fixed":
        yield _driving(world)
    for task in tasks or task_ids():
        if task in robot.not_offered:
            yield Finding(f"task {task}: not offered: {robot.not_offered[task]}")
        elif episodes and task in EXPERTS:
            yield _expert(robot, task, range(first_seed, first_seed + episodes), num_threads)


def _actuators(world: World) -> Finding:
    robot, model = world.robot, world.model
    mass = model.body_subtreemass[_root(world)]
    named = len(robot.base.actuators) + len(robot.arm.actuators) + robot.gripper_size
    own = [model.actuator(i).name for i in range(model.nu)]
    grip = robot.gripper.kind if robot.gripper_size else "no gripper"
    return Finding(
        f"model: {len(robot.parts)} files, {mass:.0f} kg; {named} of {len(own)} actuators are"
        f" driven: base {robot.base.kind} ({len(robot.base.actuators)}), arm"
        f" ({len(robot.arm.actuators)} joints), {grip}",
    )


def _root(world: World) -> int:
    model = world.model
    joint = model.joint(ROBOT_PREFIX + world.robot.arm.joints[0])
    body = int(joint.bodyid[0])
    return int(model.body_rootid[body])


def _workspace(world: World) -> Finding:
    robot = world.robot
    misses = []
    for height in HEIGHTS_M:
        for ahead in AHEAD_M:
            for aside in ASIDE_M:
                target = np.array([robot.reach_m + ahead, aside, height + robot.tip_offset_m])
                pose = hand_pose(world, target)
                misses.append((pose.miss_m, pose.miss_rad))
    found = np.array(misses)  # (K, 2)
    reached = (found[:, 0] < MISS_M) & (found[:, 1] < MISS_RAD)
    return Finding(
        f"reach: {reached.sum()} of {len(found)} places around {robot.reach_m:g} m ahead, pointing"
        f" down, {min(HEIGHTS_M):g} to {max(HEIGHTS_M):g} m high; the worst is missed by"
        f" {1000 * found[:, 0].max():.0f} mm and {found[:, 1].max():.2f} rad",
        bool(reached.mean() >= REACHED),
    )


def _stations(world: World) -> Iterator[Finding]:
    """What the hand reaches of the stations: from ahead of each, or from where the robot stands."""
    robot, model = world.robot, world.model
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    far = []
    for body, above in STATIONS_HERE:
        place = data.xpos[model.body(body).id] + above
        place[2] += robot.tip_offset_m
        if robot.base.kind == "fixed":
            place[:2] = _in_base_axes(place[:2], robot)
        else:
            place[:2] = robot.reach_m, 0.0
        pose = hand_pose(world, place)
        if pose.miss_m >= MISS_M or pose.miss_rad >= MISS_RAD:
            far.append(f"{body} ({1000 * pose.miss_m:.0f} mm, {pose.miss_rad:.2f} rad)")
    if not far:
        yield Finding(f"stations: all {len(STATIONS_HERE)} are within reach")
    elif robot.base.kind == "fixed" and len(far) < len(STATIONS_HERE):
        yield Finding(f"stations: out of reach: {', '.join(far)}; the others are within")
    else:
        yield Finding(f"stations: out of reach: {', '.join(far)}", good=False)


def _in_base_axes(point: FloatArray, robot: RobotSpec) -> FloatArray:
    x, y, yaw = robot.base.place
    cos, sin = np.cos(yaw), np.sin(yaw)
    ahead, left = point[0] - x, point[1] - y
    return np.array([cos * ahead + sin * left, cos * left - sin * ahead])


def _gravity(world: World) -> Finding:
    sim = Simulation(world, 1)
    site = world.model.site(ROBOT_PREFIX + world.robot.ee_site).id
    sim.qpos[:, sim.arm_qpos] = world.robot.home
    sim.forward()
    controller = Controller(sim)
    controller.hold(np.array([0]))
    before = sim.site_xpos[0, site].copy()
    for _ in range(20):
        sim.step(sim.ctrl.copy())
    sag = before - sim.site_xpos[0, site]
    moved = float(np.linalg.norm(sag))
    carried = "carried" if world.robot.gravity_compensation else "as in its files"
    return Finding(
        f"gravity: the arm's weight is {carried}; told to stay for 2 s, the hand moves by"
        f" {1000 * moved:.1f} mm, {1000 * sag[2]:.1f} mm of it down",
        moved < SAG_M,
    )


def _driving(world: World) -> Finding:
    robot = world.robot
    texts, good = [], True
    for k, axis in enumerate(robot.base_axes):
        sim = Simulation(world, 1)
        sim.qpos[:, sim.arm_qpos] = robot.home
        sim.forward()
        controller = Controller(sim)
        controller.hold(np.array([0]))
        action = np.zeros((1, controller.action_size))
        action[0, k] = 0.5
        for _ in range(20):
            sim.step(controller.controls(action))
        reached = float(abs(sim.base.velocity()[0, axis]))
        wanted = 0.5 * robot.max_base_speed[axis]
        good &= reached >= SLOW * wanted
        unit = "rad/s" if axis == 2 else "m/s"
        texts.append(
            f"{('ahead', 'sideways', 'turning')[axis]} {reached:.2f} of {wanted:.2f} {unit}"
        )
    return Finding(f"base: after 2 s at half speed: {', '.join(texts)}", good)


def _expert(robot: RobotSpec, task: str, seeds: range, num_threads: int) -> Finding:
    demonstrations = demonstrate(
        task,
        seeds,
        disturbance=Disturbance(),
        parallel=min(len(seeds), 16),
        num_threads=num_threads,
        robot=robot,
    )
    shown = [(bool(one.success), len(one) * one.control_dt_s) for one in demonstrations]
    done = sum(success for success, _ in shown)
    length = np.median([duration_s for _, duration_s in shown])
    return Finding(
        f"task {task}: the expert succeeded in {done} of {len(seeds)} episodes,"
        f" {length:.0f} s long",
        done >= GOOD_RATE * len(seeds),
        done,
        len(seeds),
    )
