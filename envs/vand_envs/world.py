"""The world: one scene with a robot in it, in which every task takes place."""

import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import mujoco
import numpy as np

from vand_envs.errors import UsageError
from vand_envs.robot import DEFAULT_ROBOT, ROBOT_PREFIX, RobotSpec

MOVABLES = ("cube",)
"""Bodies with a free joint: observed with their orientation."""

STATIONS = (
    "tray",
    "bin",
    "board",
    "button_a",
    "button_b",
    "button_c",
    "drawer",
    "pot",
    "pillar_left",
    "pillar_right",
    "knock_plate",
)
"""Bodies that tasks take place at, fixed but for the travel of buttons and drawer: observed by
position, in the robot's frame."""

PHYSICS_DT_S = 0.005
"""Physics time step [s]."""

TIME_STEPS_S = (1e-5, 1.0)
"""Range of time steps, of physics and of control [s]: with shorter ones the physics steps of one
control step fill the memory, with longer ones the control rate is less than one a second."""


@dataclass(frozen=True)
class World:
    """A compiled scene. Models are never modified after compilation, so worlds can be shared."""

    robot: RobotSpec
    model: mujoco.MjModel
    xml: str
    """The scene as one MJCF text, as stored in data sets."""


def require_time_step(name: str, value_s: object) -> None:
    """Check a time step [s] that goes by that name.

    Raises:
        UsageError: It is no number in `TIME_STEPS_S`.
    """
    low, high = TIME_STEPS_S
    number = value_s if isinstance(value_s, float | int | np.floating | np.integer) else math.nan
    if not low <= number <= high:  # NaN is not between them
        raise UsageError(
            f"{name}: expected a time step from {low:g} to {high:g} s, got {value_s!r}"
        )


@cache
def make_world(robot: RobotSpec = DEFAULT_ROBOT, physics_dt_s: float = PHYSICS_DT_S) -> World:
    """Build the workshop with a robot on the dock.

    Args:
        robot: The robot to put into it.
        physics_dt_s: Physics time step [s].

    Returns:
        The compiled world, cached: equal arguments give the same object.

    Raises:
        UsageError: There is no such time step.
    """
    require_time_step("physics_dt_s", physics_dt_s)
    text = files("vand_envs").joinpath("assets", "workshop.xml").read_text("utf-8")
    scene = mujoco.MjSpec.from_string(text)
    scene.attach(robot.load(), prefix=ROBOT_PREFIX, frame=scene.worldbody.add_frame())
    scene.option.timestep = physics_dt_s
    model = scene.compile()
    return World(robot=robot, model=model, xml=scene.to_xml())
