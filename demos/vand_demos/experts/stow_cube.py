"""Demonstrates stow-cube: fetch the cube, drop it into the bin, go home; refetch a lost cube."""

import numpy as np

from vand_demos.experts.motion import Motion, Vector, View, to_world
from vand_demos.experts.skills import (
    CLOSED,
    OPEN,
    Skill,
    drive,
    funnel,
    grip,
    reach,
    rest,
)

REACH_M = 0.50
"""Distance ahead of the base at which the hand works best."""
REACH_SPREAD_M, SIDE_SPREAD_M = 0.08, 0.12
"""How differently the base is placed before the cube from one demonstration to the next [m]. Where
the base always stops at the same spot, the hand always stops at the same place before it, and that
is what a policy then learns: to reach for the place and not for the cube."""
AIM_M = 0.008
"""Distance beside the cube at which the hand may come down to it."""
BIN_FREE_M = 0.05
"""Distance beside the middle of the bin at which the hand may come down into it."""
HELD_M = 0.045
"""Distance from the hand at which the cube is taken to be held."""
OUT_OF_REACH_M = 0.55
"""Height below which the cube cannot be fetched [m]."""
DOCK = np.zeros(3)


def script(motion: Motion, view: View) -> Skill:
    """The whole demonstration."""
    while not _in_bin(view):
        if float(view["cube_pos"][2]) < OUT_OF_REACH_M:
            return view  # knocked off the table: this demonstration has failed
        view = yield from _fetch(motion, view)
        if _holding(view):
            view = yield from _deliver(motion, view)
    view = yield from drive(motion, view, DOCK, gripper=OPEN, within=(0.05, 0.06))
    return (
        yield from rest(
            motion, view, DOCK, gripper=OPEN, duration_s=motion.style.rng.uniform(1.0, 2.5)
        )
    )


def _fetch(motion: Motion, view: View) -> Skill:
    rng = motion.style.rng
    cube = to_world(view, view["cube_pos"][:2].astype(np.float64))
    stand = _stand_before(cube, rng)
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


def _deliver(motion: Motion, view: View) -> Skill:
    rng = motion.style.rng
    target = to_world(view, view["bin_pos"][:2].astype(np.float64))
    stand = _stand_before(target, rng)
    drop = np.array([*rng.uniform(-0.03, 0.03, 2), 0.15 + rng.uniform(0.0, 0.02)])

    def into(v: View) -> Vector:
        return funnel(v, np.asarray(v["bin_pos"] + drop), BIN_FREE_M, 0.15)

    view = yield from drive(motion, view, stand, gripper=CLOSED)
    view = yield from reach(motion, view, into, base_world=stand, gripper=CLOSED, within=0.02)
    view = yield from grip(
        motion, view, base_world=stand, gripper=OPEN, duration_s=rng.uniform(0.5, 0.7)
    )
    return (
        yield from reach(
            motion,
            view,
            lambda _: motion.style.travel_hand,
            base_world=stand,
            gripper=OPEN,
            within=0.10,
        )
    )


def _stand_before(target_world: Vector, rng: np.random.Generator) -> Vector:
    """A place of the base, x, y [m] and yaw [rad], from which the hand reaches a target (2,)."""
    reach_m = REACH_M + rng.uniform(-REACH_SPREAD_M, REACH_SPREAD_M)
    side = rng.uniform(-SIDE_SPREAD_M, SIDE_SPREAD_M)
    return np.array([target_world[0] - reach_m, target_world[1] + side, rng.uniform(-0.15, 0.15)])


def cube_yaw(view: View) -> float:
    """Yaw of the hand that aligns it with the nearest side of the cube [rad], in +-pi/4."""
    cos, sin = view["cube_rot"][0], view["cube_rot"][1]
    return float((np.arctan2(sin, cos) + np.pi / 4) % (np.pi / 2) - np.pi / 4)


def _holding(view: View) -> bool:
    return float(np.linalg.norm(view["cube_rel"])) < HELD_M


def _in_bin(view: View) -> bool:
    return float(np.linalg.norm((view["cube_pos"] - view["bin_pos"])[:2])) < 0.13
