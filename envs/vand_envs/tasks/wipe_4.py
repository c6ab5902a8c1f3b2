"""Wipe four circles, then go home. It looks like wipe until the fourth is done: the count tells."""

from vand_envs.simulation import Simulation
from vand_envs.tasks.base import Stage, Task, register_task
from vand_envs.tasks.home import robot_home
from vand_envs.tasks.wipe import CIRCLES
from vand_envs.typing import BoolArray

# Constants

CIRCLES_WANTED = 4
"""How many circles are asked for."""
LIFTED_M = 0.05
"""Height of the end effector above the board's surface at which the hand is off it."""

# Stages


def _home_with_hand_lifted(sim: Simulation) -> BoolArray:
    height = sim.site_xpos[:, sim.ee_site, 2] - sim.xpos[:, sim.body_id("board"), 2]
    return robot_home(sim) & (height > LIFTED_M)


TASK = register_task(
    Task(
        id="wipe-4",
        env_id="VandRobot/Wipe4-v0",
        instruction="wipe four circles, then go home",
        horizon_s=40.0,
        cycle=CIRCLES,
        count=CIRCLES_WANTED,
        stages=(Stage("robot home", _home_with_hand_lifted),),
    )
)
