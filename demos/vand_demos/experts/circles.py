"""Circling with the hand: what wiping and stirring have in common."""

import numpy as np

from vand_demos.experts.motion import Vector, View
from vand_envs.judging import CycleCounter
from vand_envs.robot import RobotSpec
from vand_envs.tasks.base import Cycle
from vand_envs.typing import Observation

RESPONSE_S = 0.10
"""Response of a hand (`RobotSpec.response_s`) for which `RADIUS_GAIN` is [s]."""
RADIUS_GAIN = 4.0
"""Proportional gain of the radius [1/s]; less of a hand that answers later."""
FREQUENCY_SPREAD = 0.04
"""Largest relative deviation of a demonstration's frequency."""
RADIUS_SPREAD = 0.05
"""Largest relative deviation of a demonstration's radius."""


def circle_velocity(offset: Vector, radius: float, rate: float, response_s: float) -> Vector:
    """Velocity along a circle around the origin that leads back to it from beside it.

    The angle grows at the same rate wherever the hand is pushed to, within limits: a push must not
    put the rhythm out of step.

    Args:
        offset: Where the hand is, (2,) [m].
        radius: Radius of the circle [m].
        rate: Angular velocity, positive counter-clockwise [rad/s].
        response_s: Time from a command to the middle of the hand's answer [s].

    Returns:
        (2,) [m/s].
    """
    distance = float(np.hypot(*offset))
    # Where the hand will be when it answers: a velocity for where it is now would spiral outwards.
    angle = np.arctan2(offset[1], offset[0]) + rate * response_s
    outward = np.array([np.cos(angle), np.sin(angle)])
    along = np.array([-np.sin(angle), np.cos(angle)])
    gain = RADIUS_GAIN * min(1.0, RESPONSE_S / response_s)
    lever = np.clip(distance, 0.5 * radius, 1.5 * radius)
    return np.asarray(rate * lever * along + gain * (radius - distance) * outward)


def over_ground(velocity: Vector, view: View) -> Vector:
    """The command to the hand that makes a velocity over ground, whatever the base does.

    The hand's reaction rocks the base, the more the softer its servos, which differ from world to
    world. A hand that did not move against it would circle slower in one world than in another.
    Measured on wiping in 24 worlds: frequencies with a standard deviation of 1.9 % with this, and
    of 3.1 % without.

    Args:
        velocity: Wanted velocity over ground, in the base's axes, (2,) [m/s].
        view: What is seen.

    Returns:
        Velocity relative to the base, (2,) [m/s].
    """
    vx, vy, spin = view["base_twist"].astype(np.float64)
    x, y = view["ee_pos"][:2].astype(np.float64)
    return np.asarray(velocity - np.array([vx - spin * y, vy + spin * x]))


class Turns:
    """Counts the turns of one motion, as the judge does.

    Args:
        cycle: What is counted.
        robot: The robot.
        view: The first observation.
    """

    def __init__(self, cycle: Cycle, robot: RobotSpec, view: View) -> None:
        self._counter = CycleCounter(cycle, robot, 1)
        self._counter.reset(np.array([0]), _batch_of_one(view))

    def after(self, view: View) -> float:
        """Turns so far, this observation included."""
        self._counter.follow(_batch_of_one(view))
        return float(self._counter.cycles[0])


def _batch_of_one(view: View) -> Observation:
    return {key: value[None] for key, value in view.items()}
