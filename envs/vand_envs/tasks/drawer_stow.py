"""Open the drawer, put the cube in, close it.

A half-open drawer with the hand at its knob is passed both ways, alike but for the motion: what was
done with the cube says which way it has to go.
"""

import numpy as np

from vand_envs.simulation import Simulation
from vand_envs.tasks.base import Stage, Task, register_task
from vand_envs.tasks.cube import cube_lifted, cube_relative_to, cube_released
from vand_envs.typing import BoolArray, FloatArray

# Constants

CLOSED_KNOB_M = (1.23, 1.20)
"""Where the knob of the closed drawer is in the world, x and y; the drawer slides out along -x."""
OPEN_M = 0.14
"""Opening at which the drawer is open, of the 0.18 m that it slides."""
CLOSED_M = 0.015
"""Opening below which it is closed."""
INSIDE_X_M = (0.05, 0.245)
"""Inside of the drawer, behind its knob: from its front to its back."""
INSIDE_HALF_WIDTH_M = 0.113
"""Inside of the drawer, to either side of its knob."""
INSIDE_Z_M = -0.03
"""Height above the middle of the knob at which the cube's middle is below the rim: all of it is
inside then."""

# Measurements


def drawer_opening(sim: Simulation) -> FloatArray:
    """How far the drawer is open [m], (n,)."""
    return np.asarray(CLOSED_KNOB_M[0] - sim.xpos[:, sim.body_id("drawer"), 0])


def _cube_inside(sim: Simulation) -> BoolArray:
    x, y, z = cube_relative_to(sim, "drawer").T
    within_walls = (x > INSIDE_X_M[0]) & (x < INSIDE_X_M[1]) & (np.abs(y) < INSIDE_HALF_WIDTH_M)
    return np.asarray(within_walls & (z < INSIDE_Z_M))


# Stages


def _open(sim: Simulation) -> BoolArray:
    return drawer_opening(sim) >= OPEN_M


def _stowed(sim: Simulation) -> BoolArray:
    return _cube_inside(sim) & cube_released(sim)


def _stowed_and_closed(sim: Simulation) -> BoolArray:
    return _stowed(sim) & (drawer_opening(sim) < CLOSED_M)


TASK = register_task(
    Task(
        id="drawer-stow",
        env_id="VandRobot/DrawerStow-v0",
        instruction="open the drawer, put the cube in, close it",
        horizon_s=45.0,
        stages=(
            Stage("drawer open", _open),
            Stage("cube lifted", cube_lifted),
            Stage("cube in the drawer", _stowed),
            Stage("drawer closed", _stowed_and_closed),
        ),
    )
)
