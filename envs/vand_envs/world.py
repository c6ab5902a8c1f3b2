"""The world: one scene with a robot in it, in which every task takes place."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import mujoco

from vand_envs.robot import ROBOT_PREFIX, VANDER, RobotSpec

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


@dataclass(frozen=True)
class World:
    """A compiled scene. Models are never modified after compilation, so worlds can be shared."""

    robot: RobotSpec
    model: mujoco.MjModel
    xml: str
    """The scene as one MJCF text, as stored in data sets."""


@cache
def make_world(robot: RobotSpec = VANDER, physics_dt_s: float = PHYSICS_DT_S) -> World:
    """Build the workshop with a robot on the dock.

    Args:
        robot: The robot to put into it.
        physics_dt_s: Physics time step [s].

    Returns:
        The compiled world, cached: equal arguments give the same object.
    """
    text = files("vand_envs").joinpath("assets", "workshop.xml").read_text("utf-8")
    scene = mujoco.MjSpec.from_string(text)
    scene.attach(robot.load(), prefix=ROBOT_PREFIX, frame=scene.worldbody.add_frame())
    scene.option.timestep = physics_dt_s
    model = scene.compile()
    return World(robot=robot, model=model, xml=scene.to_xml())
