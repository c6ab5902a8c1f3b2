"""RobotSpec: all that the rest of the code may know about a robot."""

from dataclasses import dataclass
from importlib.resources import files

import mujoco

from vand_envs.errors import UsageError, unknown_name

ROBOT_PREFIX = "robot/"
"""Names of the robot's elements in the world begin with this."""


@dataclass(frozen=True)
class RobotSpec:
    """A mobile manipulator: how its parts are named and how it may be driven.

    Names are those in the robot's own MJCF, without the prefix it gets in the world.
    """

    name: str
    """Identifies the robot in data sets and checkpoints."""
    mjcf: str
    """File name of the MJCF in `vand_envs/assets`."""
    base_joints: tuple[str, str, str]
    """Planar base: slide along x, slide along y, hinge about z."""
    base_actuators: tuple[str, str, str]
    """Velocity actuators of the base joints [m/s, m/s, rad/s], in world axes."""
    arm_joints: tuple[str, ...]
    """Lift and arm joints, from the base outwards."""
    arm_actuators: tuple[str, ...]
    """Position actuators of `arm_joints` [m or rad]."""
    gripper_joint: str
    """Joint whose position is half the gripper's opening [m]."""
    gripper_actuator: str
    """Position actuator of the gripper."""
    gripper_closed: float
    """Control that closes the gripper."""
    gripper_open: float
    """Control that opens it fully."""
    ee_site: str
    """Site between the finger tips; its x axis is the direction of approach."""
    tip_offset_m: float
    """Distance from the ee site to the ends of the fingers, along the approach [m]."""
    home: tuple[float, ...]
    """Home positions of `arm_joints` [m or rad]."""
    posture_weight: tuple[float, ...]
    """Mobility of each of `arm_joints` in inverse kinematics: larger moves more, dimensionless."""
    leash: tuple[float, ...]
    """How far a joint's target may run ahead of the joint [m or rad]; bounds contact forces."""
    max_base_speed: tuple[float, float, float]
    """Base twist at action 1 [m/s, m/s, rad/s]."""
    max_ee_speed: tuple[float, float]
    """End-effector linear [m/s] and angular [rad/s] velocity at action 1."""

    def load(self) -> mujoco.MjSpec:
        """The robot's MJCF as an `MjSpec`, to be attached to a world."""
        return mujoco.MjSpec.from_string(
            files("vand_envs").joinpath("assets", self.mjcf).read_text("utf-8")
        )


_ARM = ("lift", *(f"arm_{i}" for i in range(1, 8)))

VANDER = RobotSpec(
    name="vander",
    mjcf="vander.xml",
    base_joints=("base_x", "base_y", "base_yaw"),
    base_actuators=("base_x", "base_y", "base_yaw"),
    arm_joints=_ARM,
    arm_actuators=_ARM,
    gripper_joint="finger_left",
    gripper_actuator="gripper",
    gripper_closed=0.0,
    gripper_open=0.042,
    ee_site="ee",
    tip_offset_m=0.015,
    # the fingers point straight down: arm_2 + arm_4 + arm_6 = pi / 2
    home=(0.20, 0.0, -0.80, 0.0, 1.75, 0.0, 0.6208, 0.0),
    posture_weight=(0.3, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    leash=(0.03, 0.10, 0.10, 0.12, 0.12, 0.20, 0.20, 0.20),
    max_base_speed=(0.6, 0.6, 1.2),
    max_ee_speed=(0.5, 1.5),
)
"""The built-in robot."""

DEFAULT_ROBOT = VANDER
"""The robot where none is named."""

ROBOTS: dict[str, RobotSpec] = {VANDER.name: VANDER}
"""Name -> robot."""


def register_robot(robot: RobotSpec) -> RobotSpec:
    """Make a robot known by its name.

    Raises:
        UsageError: The name is taken.
    """
    if robot.name in ROBOTS:
        raise UsageError(f"robot {robot.name!r} is registered already")
    ROBOTS[robot.name] = robot
    return robot


def get_robot(name: str) -> RobotSpec:
    """The robot of that name, a plugin's too.

    Raises:
        UsageError: There is none; the message names the nearest.
    """
    from vand_envs.tasks.registry import load_all_plugins  # noqa: PLC0415  (tasks need robots)

    if name not in ROBOTS:
        load_all_plugins()
    if name not in ROBOTS:
        raise unknown_name("robot", name, ROBOTS)
    return ROBOTS[name]
