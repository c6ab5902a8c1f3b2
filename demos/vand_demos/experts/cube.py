"""Skills of handling the cube: fetch it from wherever it lies, drop it into something."""

from collections.abc import Callable

import numpy as np

from vand_demos.experts.motion import GoalController, Vector, View, position
from vand_demos.experts.skills import CLOSED, OPEN, Skill, drive, funnel, grip, raise_hand, reach
from vand_envs.geometry import to_world
from vand_envs.tasks.cube import REST_HEIGHT_M

REACH_SPREAD_M, SIDE_SPREAD_M = 0.08, 0.12
"""How differently the base is placed before the cube from one demonstration to the next [m]. Where
the base always stops at the same spot, the hand always stops at the same place before it, and that
is what a policy then learns: to reach for the place and not for the cube."""
AIM_M = 0.008
"""Distance beside the cube at which the hand may come down to it."""
HELD_M = 0.045
"""Distance from the hand at which the cube is taken to be held."""
CARRIED_M = 0.03
"""Height of the cube above its rest on the tray from which on a held one is carried [m]."""
PUT_DOWN_M = np.array([0.0, 0.0, 0.04])
"""Where the hand lets go of a cube that it puts down, from the middle of the tray."""
OUT_OF_REACH_M = 0.55
"""Height below which the cube cannot be fetched [m]."""


def fetch(motion: GoalController, view: View) -> Skill:
    """Drive to the cube, grip it and lift it; whether it is `held` then has to be seen."""
    rng = motion.style.rng
    cube = to_world(view["cube_pos"][:2].astype(np.float64), view["base_pose"])
    stand = stand_before(cube, rng, motion.robot.reach_m)
    hover = 0.09 + rng.uniform(0.0, 0.04)

    def cube_below(v: View) -> Vector:
        return funnel(v, v["cube_pos"].astype(np.float64), AIM_M, hover)

    view = yield from drive(motion, view, stand, gripper=OPEN)
    view = yield from reach(
        motion, view, cube_below, base_world=stand, gripper=OPEN, yaw=cube_yaw, within=0.008
    )
    yaw = cube_yaw(view)
    view = yield from grip(
        motion, view, base_world=stand, gripper=CLOSED, duration_s=rng.uniform(0.5, 0.7), yaw=yaw
    )
    lifted = view["ee_pos"] + np.array([0.0, 0.0, 0.14 + rng.uniform(0.0, 0.04)])
    return (
        yield from reach(
            motion, view, lambda _: lifted, base_world=stand, gripper=CLOSED, within=0.03
        )
    )


def drop(
    motion: GoalController,
    view: View,
    place: Callable[[View], Vector],
    *,
    spread_m: float,
    free_m: float,
    height_m: float,
) -> Skill:
    """Drive to a place, lower the held cube to it, let go, and draw the hand back.

    Args:
        motion: What carries it out.
        view: What is observed.
        place: Where the hand lets go, in the base frame, (3,) [m].
        spread_m: Largest difference from it, along and across, between demonstrations.
        free_m: Distance beside it at which the hand may come down.
        height_m: Height above it from which the hand comes down.
    """
    rng = motion.style.rng
    there = to_world(place(view)[:2], view["base_pose"])
    stand = stand_before(there, rng, motion.robot.reach_m)
    offset = np.array([*rng.uniform(-spread_m, spread_m, 2), rng.uniform(0.0, 0.02)])

    def into(v: View) -> Vector:
        return funnel(v, place(v) + offset, free_m, height_m)

    view = yield from drive(motion, view, stand, gripper=CLOSED)
    view = yield from reach(motion, view, into, base_world=stand, gripper=CLOSED, within=0.02)
    view = yield from grip(
        motion, view, base_world=stand, gripper=OPEN, duration_s=rng.uniform(0.5, 0.7)
    )
    return (yield from raise_hand(motion, view, stand))


def put_down(motion: GoalController, view: View) -> Skill:
    """Put a cube that is carried down on the tray."""
    return (
        yield from drop(
            motion,
            view,
            lambda v: np.asarray(position(v, "tray") + PUT_DOWN_M),
            spread_m=0.03,
            free_m=0.03,
            height_m=0.10,
        )
    )


def stand_before(
    target_world: Vector,
    rng: np.random.Generator,
    reach_m: float,
    *,
    spread_m: tuple[float, float] = (REACH_SPREAD_M, SIDE_SPREAD_M),
) -> Vector:
    """A place of the base, x, y [m] and yaw [rad], from which the hand reaches a target (2,)."""
    ahead = reach_m + rng.uniform(-spread_m[0], spread_m[0])
    side = rng.uniform(-spread_m[1], spread_m[1])
    return np.array([target_world[0] - ahead, target_world[1] + side, rng.uniform(-0.15, 0.15)])


def cube_yaw(view: View) -> float:
    """Yaw of the hand that aligns it with the nearest side of the cube [rad], in +-pi/4."""
    cos, sin = view["cube_rot"][0], view["cube_rot"][1]
    return float((np.arctan2(sin, cos) + np.pi / 4) % (np.pi / 2) - np.pi / 4)


def held(view: View) -> bool:
    """Whether the cube is between the fingers."""
    return float(np.linalg.norm(view["cube_rel"])) < HELD_M


def carried(view: View) -> bool:
    """Whether the cube is between the fingers, off the table."""
    return held(view) and float(view["cube_pos"][2]) > REST_HEIGHT_M + CARRIED_M


def out_of_reach(view: View) -> bool:
    """Whether the cube was knocked off the table: the demonstration has failed."""
    return float(view["cube_pos"][2]) < OUT_OF_REACH_M
