"""Demonstrates patrol: drive to the pillars, then around the left and the right one in turn."""

from itertools import cycle

import numpy as np

from vand_demos.experts.expert import ENDLESS, Script, register_expert
from vand_demos.experts.motion import GoalController, Vector, View
from vand_demos.experts.skills import OPEN, Skill, drive
from vand_envs.tasks.patrol import MIDDLE, PILLAR_M

CORRIDOR_M = 0.20
"""Half the length of the straight part between the pillars that both loops share."""
SPEED_M_S = (0.46, 0.50)
"""Range of the speed along the loops."""
RESPONSE_S = 0.12
"""Time from a command to the middle of the base's answer [s]."""
PATH_GAIN = 2.5
"""Proportional gain of the distance from the path [1/s]."""
EIGHTS = (1.5, 2.4)
"""Range of the number of figures of eight: the length of a demonstration tells nothing."""
LEFT, RIGHT = 1, -1


def script(
    motion: GoalController,
    view: View,
    eights: tuple[float, float] = EIGHTS,
    sides: tuple[int, ...] = (LEFT, RIGHT),
) -> Skill:
    """The whole demonstration.

    Args:
        motion: Drives.
        view: The first observation.
        eights: Range of the number of figures of eight.
        sides: Sides of the loops, over and over.
    """
    rng = motion.style.rng
    speed = rng.uniform(*SPEED_M_S)
    length = 2 * (4 * CORRIDOR_M + 2 * np.pi * PILLAR_M)  # of a figure of eight [m]
    left_s = rng.uniform(*eights) * length / speed
    entry = np.array([MIDDLE[0] + CORRIDOR_M, MIDDLE[1], rng.uniform(-0.1, 0.1)])
    view = yield from drive(motion, view, entry, gripper=OPEN, within=(0.20, 0.20))
    loops = cycle(sides)
    side, returning = next(loops), False
    while left_s > 0:
        left_s -= motion.dt
        ahead, aside = _place(view, side)
        returning |= aside > PILLAR_M
        if returning and ahead < 0 and aside < PILLAR_M / 2:  # past the middle
            side, returning = next(loops), False
        view = yield motion.command(
            view,
            base_velocity=_follow(view, side, speed),
            hand=motion.style.travel_hand,
            gripper=OPEN,
        )
    return view


def _place(view: View, side: int) -> Vector:
    """Where the base is: ahead of the middle along the corridor, and aside towards a pillar [m].

    In these coordinates both loops are the same: through the corridor towards -x, and back.
    """
    x, y = view["base_pose"][:2].astype(np.float64) - MIDDLE
    return np.array([-x, side * y])


def _follow(view: View, side: int, speed: float) -> Vector:
    """Velocity in the world that follows the loop of one side, or leads back to it [m/s]."""
    place = _place(view, side)
    # Where the base will be when it answers: a velocity for where it is now would swing wide.
    along, _ = _path(place + RESPONSE_S * speed * _path(place)[0])
    _, back = _path(place)
    ahead, aside = speed * along + PATH_GAIN * back
    return np.array([-ahead, side * aside])


def _path(place: Vector) -> tuple[Vector, Vector]:
    """Direction of the loop and the way to its nearest point, (2,) and (2,), at a place (2,).

    The loop keeps a distance of PILLAR_M from a line of twice CORRIDOR_M through the pillar.
    """
    line = np.array([np.clip(place[0], -CORRIDOR_M, CORRIDOR_M), PILLAR_M])
    offset = place - line
    distance = max(float(np.hypot(*offset)), 1e-6)
    outward = offset / distance
    along = np.array([-outward[1], outward[0]])
    return along, (PILLAR_M - distance) * outward


register_expert(
    "patrol", Script(script, endless=lambda motion, view: script(motion, view, ENDLESS))
)
