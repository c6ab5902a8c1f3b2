"""Motion skills from which the experts are built.

A skill is a generator: it yields an action (A,), is sent the next view, and returns when it is
done. So a task's script reads from top to bottom, and remembers where it is without any variable
for the stage.
"""

from collections.abc import Callable, Generator

import numpy as np

from vand_demos.experts.motion import GoalController, Vector, View, base_error

Skill = Generator[Vector, View, View]
"""Yields actions, is sent views, returns the last view."""

OPEN, CLOSED = 1.0, -1.0

DOCK = np.zeros(3)
"""Place of the docked base, x, y [m] and yaw [rad] in the world."""

STANDING_M = 0.10
"""Distance from its place beyond which the base drives back while the hand works [m]."""

WHEELS_STANDING_M = 0.20
"""The same of a base on two wheels, which has to turn first."""

RESTING = (0.10, 0.15)
"""Distance [m] and heading error [rad] of the base from its goal within which it rests there."""

FUNNEL_SLOPE = 3.0
"""Height above the target for each meter beside it."""

WHEELS_WITHIN = (0.07, 0.06)
"""Distance [m] and heading error [rad] within which a robot that cannot move sideways has arrived:
a small distance to its side would cost it two turns on the spot."""

STILL_SPEED = 0.04
"""Base speed [m/s, rad/s] below which the robot stands still."""


def drive(
    motion: GoalController,
    view: View,
    goal_world: Vector,
    *,
    gripper: float,
    within: tuple[float, float] = (0.03, 0.05),
) -> Skill:
    """Drive the base to x, y [m], yaw [rad], within a distance and a heading error."""
    kind = motion.robot.base.kind
    if kind == "fixed":
        return view
    if kind == "differential":
        within = max(within[0], WHEELS_WITHIN[0]), max(within[1], WHEELS_WITHIN[1])
    while True:
        distance, turn = base_error(view, goal_world)
        if distance < within[0] and turn < within[1]:
            return view
        view = yield motion.command(
            view, base_world=goal_world, hand=motion.style.travel_hand, gripper=gripper
        )


def reach(
    motion: GoalController,
    view: View,
    target: Callable[[View], Vector],
    *,
    base_world: Vector,
    gripper: float,
    yaw: Callable[[View], float] = lambda _: 0.0,
    within: float = 0.012,
) -> Skill:
    """Bring the hand to a target (3,) that may move, within a distance [m]."""
    while True:
        goal = target(view)
        if float(np.linalg.norm(goal - view["ee_pos"])) < within:
            return view
        view = yield motion.command(
            view,
            base_world=stand_still(motion, view, base_world),
            hand=goal,
            hand_yaw=yaw(view),
            gripper=gripper,
        )


def grip(
    motion: GoalController,
    view: View,
    *,
    base_world: Vector,
    gripper: float,
    duration_s: float,
    yaw: float = 0.0,
) -> Skill:
    """Open or close the gripper with the hand kept where it is."""
    goal = view["ee_pos"].astype(np.float64)
    for _ in range(max(1, round(duration_s / motion.dt))):
        view = yield motion.command(
            view,
            base_world=stand_still(motion, view, base_world),
            hand=goal,
            hand_yaw=yaw,
            gripper=gripper,
        )
    return view


def rest(
    motion: GoalController, view: View, base_world: Vector, *, gripper: float, duration_s: float
) -> Skill:
    """Stay at the goal for a time, and then until the robot is still, and there."""
    left = max(1, round(duration_s / motion.dt))
    fixed = motion.robot.base.kind == "fixed"
    while left > 0 or not (fixed or (is_still(view) and _is_at(view, base_world))):
        left -= 1
        view = yield motion.command(
            view, base_world=base_world, hand=motion.style.travel_hand, gripper=gripper
        )
    return view


def raise_hand(motion: GoalController, view: View, base_world: Vector) -> Skill:
    """Let go and bring the hand to about where it is carried, the base at its place."""
    return (
        yield from reach(
            motion,
            view,
            lambda _: motion.style.travel_hand,
            base_world=base_world,
            gripper=OPEN,
            within=0.10,
        )
    )


def go_home(motion: GoalController, view: View) -> Skill:
    """Drive to the dock and rest there for a while, which differs between demonstrations."""
    view = yield from drive(motion, view, DOCK, gripper=OPEN, within=(0.05, 0.06))
    duration_s = motion.style.rng.uniform(1.0, 2.5)
    return (yield from rest(motion, view, DOCK, gripper=OPEN, duration_s=duration_s))


def stand_still(motion: GoalController, view: View, base_world: Vector) -> Vector | None:
    """The base's goal while the hand works: none, unless it was pushed out of reach of its place.

    Where it stands differs from one demonstration to the next, for no reason that can be seen: to
    hold it there would be a label that nothing observed explains.
    """
    wheels = motion.robot.base.kind == "differential"
    far_m = WHEELS_STANDING_M if wheels else STANDING_M
    return base_world if base_error(view, base_world)[0] > far_m else None


def keep_place(motion: GoalController, view: View, base_world: Vector) -> Vector | None:
    """The base's goal while the hand follows a rhythm: its place, where it can keep to it.

    A base on two wheels would have to turn to the side to come back by a few centimeters.
    """
    if motion.robot.base.kind == "differential":
        return stand_still(motion, view, base_world)
    return base_world


def funnel(view: View, target: Vector, free_m: float, height_m: float) -> Vector:
    """A target (3,) to come down to only where it is right below: raised by how far beside it is.

    Args:
        view: What is observed.
        target: Where to get to.
        free_m: Distance beside it that does not matter [m].
        height_m: Largest height above it [m].

    Returns:
        The raised target, (3,).
    """
    beside = float(np.linalg.norm((target - view["ee_pos"])[:2]))
    raised = min(height_m, FUNNEL_SLOPE * max(0.0, beside - free_m))
    return np.asarray(target + np.array([0.0, 0.0, raised]))


def _is_at(view: View, base_world: Vector) -> bool:
    """Whether the base is about at its goal: a push may have moved it while it rested."""
    distance, turn = base_error(view, base_world)
    return distance < RESTING[0] and turn < RESTING[1]


def is_still(view: View) -> bool:
    """Whether the base stands still [m/s, rad/s]."""
    return bool(np.abs(view["base_twist"]).max() < STILL_SPEED)
