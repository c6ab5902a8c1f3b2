"""The world: one scene with a robot in it, in which every task takes place."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import mujoco
import numpy as np

from vand_envs.errors import UsageError, VandError
from vand_envs.robot import DEFAULT_ROBOT, ROBOT_PREFIX, RobotSpec
from vand_envs.robots.assembly import assemble
from vand_envs.robots.records import record_of, require_own_folder, require_same_files
from vand_envs.robots.requirements import require_drivable

if TYPE_CHECKING:
    from vand_envs.scenes.scene import Scene

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


@dataclass(frozen=True, eq=False)
class World:
    """A compiled scene. Models are never modified after compilation, so worlds can be shared."""

    robot: RobotSpec
    model: mujoco.MjModel
    xml: str
    """The scene as one MJCF text, as stored in data sets."""
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Contents of the mesh files that the text names."""
    record: str = ""
    """The robot's spec and what its meshes are, as JSON; empty of the built-in robot."""
    movables: Mapping[str, str] = field(default_factory=lambda: {body: body for body in MOVABLES})
    """First part of the observation's keys -> body, of those observed with their orientation."""
    stations: Mapping[str, str] = field(default_factory=lambda: {body: body for body in STATIONS})
    """The same of those that stay where they are, or nearly."""
    scene: "Scene | None" = None
    """Somebody's scene that it is; None: the workshop."""


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


def make_world(
    robot: RobotSpec = DEFAULT_ROBOT,
    physics_dt_s: float = PHYSICS_DT_S,
    scene: "Scene | None" = None,
) -> World:
    """Build the workshop with a robot on the dock, or a scene of one's own with a robot in it.

    Args:
        robot: The robot to put into it.
        physics_dt_s: Physics time step [s]; of a scene the longest, as its own may be shorter.
        scene: The scene; None: the workshop.

    Returns:
        The compiled world, cached: equal arguments give the same object.

    Raises:
        UsageError: There is no such time step, or the robot's files lack what its spec names.
        VandError: A package with the robot's files is missing, or they are no model.
    """
    require_time_step("physics_dt_s", physics_dt_s)
    return built_world(robot, physics_dt_s, scene)


@cache
def built_world(robot: RobotSpec, physics_dt_s: float, scene: "Scene | None") -> World:
    """The world of `make_world`, one for all ways to write its arguments."""
    if scene is not None:
        from vand_envs.scenes.building import build  # noqa: PLC0415  (it makes a World)

        return build(scene, robot, physics_dt_s)
    require_own_folder(robot)
    parts = assemble(robot)
    require_same_files(robot, parts)
    text = files("vand_envs").joinpath("assets", "workshop.xml").read_text("utf-8")
    spec = mujoco.MjSpec.from_string(text)
    x, y, yaw = robot.base.place
    frame = spec.worldbody.add_frame()
    if (x, y, yaw) != (0, 0, 0):
        frame.pos, frame.quat = [x, y, 0], [math.cos(yaw / 2), 0, 0, math.sin(yaw / 2)]
    spec.attach(parts.spec, prefix=ROBOT_PREFIX, frame=frame)
    spec.option.timestep = physics_dt_s
    spec.assets = dict(parts.assets)
    try:
        model = spec.compile()
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise VandError(f"robot {robot.name!r}: does not compile: {reason}") from None
    require_drivable(robot, model)
    return World(
        robot=robot,
        model=model,
        xml=spec.to_xml(),
        files=parts.assets,
        record=record_of(robot, parts),
    )
