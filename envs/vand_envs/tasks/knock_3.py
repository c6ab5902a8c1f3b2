"""Knock on the table three times, wait two seconds, go home: a count, then a time.

Between the knocks and while it waits the hand is above the same place at the same height: nothing
but memory tells how many knocks were made, and how long ago the last one was.
"""

import numpy as np

from vand_envs.simulation import Simulation
from vand_envs.tasks.base import Stage, Task, register_task
from vand_envs.tasks.home import robot_home
from vand_envs.typing import BoolArray, FloatArray

# Constants

KNOCKS = 3
KNOCK_RADIUS_M = 0.075
"""Distance from the middle of the mark at which a knock counts: its radius and 2 cm."""
CONTACT_GAP_M = 0.005
"""Height of the finger tips above the table up to which they touch it: rubber and solver give."""
RAISED_M = 0.025
"""Height to which they are raised between two knocks: one knock is not to be counted twice."""
CLOSED_M = 0.02
"""Opening of the gripper below which it is closed: it is the closed fingers that knock."""
LEFT_M = 0.20
"""Distance of the finger tips from the mark at which they have left it."""
ARRIVED_M = 0.12
"""Distance at which they are back."""
LEAVING_S = (1.6, 3.4)
"""When the mark is left, after the third knock [s]: two seconds of waiting and half a second on the
way, give or take 0.9 s."""

# Measurements


def _tip_on_plate(sim: Simulation) -> FloatArray:
    """Position of the finger tips relative to the mark's center [m], (n, 3)."""
    approach = sim.site_xmat[:, sim.ee_site, :, 0]  # (n, 3)
    tip = sim.site_xpos[:, sim.ee_site] + sim.world.robot.tip_offset_m * approach
    return tip - sim.xpos[:, sim.body_id("knock_plate")]


def _tip_distance(sim: Simulation) -> FloatArray:
    return np.asarray(np.linalg.norm(_tip_on_plate(sim), axis=1))


# Stages


def _knocking(sim: Simulation) -> BoolArray:
    tip = _tip_on_plate(sim)
    beside = np.linalg.norm(tip[:, :2], axis=1)
    closed = sim.gripper_opening() < CLOSED_M
    return np.asarray((tip[:, 2] < CONTACT_GAP_M) & (beside < KNOCK_RADIUS_M) & closed)


def _raised(sim: Simulation) -> BoolArray:
    return _tip_on_plate(sim)[:, 2] > RAISED_M


def _left(sim: Simulation) -> BoolArray:
    return _tip_distance(sim) > LEFT_M


def _back(sim: Simulation) -> BoolArray:
    return _tip_distance(sim) < ARRIVED_M


TASK = register_task(
    Task(
        id="knock-3",
        env_id="VandRobot/Knock3-v0",
        instruction="knock on the table three times, wait two seconds, go home",
        horizon_s=25.0,
        stages=(
            *(
                Stage(f"knock {k}", _knocking, until=_raised, exact=True)
                for k in range(1, KNOCKS + 1)
            ),
            Stage("left after two seconds", _left, until=_back, after_s=LEAVING_S),
            Stage("robot home", robot_home),
        ),
        count=KNOCKS,
    )
)
