"""RobotSpec: all that the rest of the code may know about a robot; and the registry of robots."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from vand_envs.errors import UsageError, unknown_name

ROBOT_PREFIX = "robot/"
"""Names of the robot's elements in the world begin with this."""

EE_SITE = "vand_ee"
"""Site that is added to a model whose own does not mark the end effector as it is wanted."""

LEASH = 0.15
"""How far a joint's target may run ahead where a spec does not say [m or rad]."""

Vector3 = tuple[float, float, float]
BaseKind = Literal["planar", "differential", "fixed"]


@dataclass(frozen=True)
class Part:
    """One MJCF file of a robot."""

    file: str
    """MJCF file: PACKAGE:PATH in an installed package, or a path beside the YAML file."""
    prefix: str = ""
    """Put before every name of this part."""
    at: str = ""
    """Site or body of the parts before it to which it is attached; empty: the floor."""
    pos: Vector3 = (0.0, 0.0, 0.0)
    """Offset from there, along its axes [m]."""
    quat: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    """Rotation from there: a quaternion w, x, y, z."""
    remove: tuple[str, ...] = ()
    """Bodies of the file that are left out, with all that hangs on them."""


@dataclass(frozen=True)
class Base:
    """How the robot moves over the floor."""

    kind: BaseKind = "planar"
    """planar: two slides and a hinge; differential: two wheels, rolling; fixed: it does not."""
    joints: tuple[str, ...] = ()
    """planar: slide along x, slide along y, hinge about z."""
    actuators: tuple[str, ...] = ()
    """planar: of these joints, in world axes; differential: of the left and the right wheel."""
    control: Literal["velocity", "position"] = "velocity"
    """planar: kind of its actuators; wheels are always driven by velocity."""
    body: str = ""
    """differential: the body with the free joint, its origin on the floor between the wheels."""
    wheel_radius_m: float = 0.0
    """differential: radius of the two driven wheels [m]."""
    track_m: float = 0.0
    """differential: distance between the two driven wheels [m]."""
    casters: tuple[str, ...] = ()
    """differential: bodies that only carry it; they glide, as casters that roll shake the hand."""
    place: Vector3 = (0.0, 0.0, 0.0)
    """fixed: where it stands in the workshop, x, y [m] and yaw [rad]."""
    max_speed: Vector3 = (0.6, 0.6, 1.2)
    """Speed ahead, sideways [m/s] and turning [rad/s] at action 1."""


@dataclass(frozen=True)
class Arm:
    """The joints between base and hand, a lift among them. Its lists have one item for each."""

    joints: tuple[str, ...]
    """Joints from the base outwards, hinges or slides."""
    actuators: tuple[str, ...]
    """Position actuators of these joints [m or rad]."""
    home: tuple[float, ...]
    """Positions at the start of an episode, about [m or rad]."""
    posture_weight: tuple[float, ...] = ()
    """Mobility in inverse kinematics: larger moves more; empty: 1 each."""
    leash: tuple[float, ...] = ()
    """How far a target may run ahead of its joint [m or rad]; it bounds contact forces."""


@dataclass(frozen=True)
class Gripper:
    """The hand's fingers. A gripper of kind none has none of the rest."""

    kind: Literal["fingers", "tendon", "none"] = "none"
    """fingers: the control is a finger's position; tendon: in its own units; none: no gripper."""
    actuator: str = ""
    """The one actuator that opens and closes it."""
    joint: str = ""
    """Joint whose position tells how far it is open."""
    joints: tuple[str, ...] = ()
    """All joints that move with it, that one among them."""
    closed: float = 0.0
    """Control that closes it."""
    open: float = 0.0
    """Control that opens it fully."""
    joint_closed: float = 0.0
    """Position of the joint where the fingers meet [m or rad]."""
    joint_open: float = 0.0
    """Position of the joint where it is fully open [m or rad]."""
    width_m: float = 0.0
    """Distance between the fingers where it is fully open [m]."""
    stiffness_scale: float = 1.0
    """Factor on the stiffness of its actuator, where the model's own grip is too weak."""


@dataclass(frozen=True)
class EndEffector:
    """The point between the finger tips that actions move."""

    site: str = ""
    """Site at that point, or else a body."""
    body: str = ""
    """Body that it belongs to, where there is no such site."""
    pos: Vector3 = (0.0, 0.0, 0.0)
    """Offset from the site or body, along its axes [m]."""
    approach: Vector3 = (1.0, 0.0, 0.0)
    """Direction in which the fingers point, in the axes of site or body."""
    across: Vector3 = (0.0, 1.0, 0.0)
    """Direction in which the fingers open, in the same axes."""
    tip_offset_m: float = 0.0
    """Distance from that point to the ends of the closed fingers, along the approach [m]."""
    max_speed: tuple[float, float] = (0.5, 1.5)
    """Linear [m/s] and angular [rad/s] velocity at action 1."""


@dataclass(frozen=True)
class Camera:
    """A camera that is added to the model."""

    name: str
    """head or wrist, which can be observed, or any other name."""
    body: str
    """Body that carries it."""
    pos: Vector3
    """Place in the body's axes [m]."""
    xyaxes: tuple[float, ...] = (0.0, -1.0, 0.0, 0.0, 0.0, 1.0)
    """Directions to the right and up in the picture, in the body's axes: six numbers."""
    fovy: float = 70.0
    """Vertical field of view [degree]."""


@dataclass(frozen=True)
class RobotSpec:
    """A mobile manipulator or an arm: of what files it is made, and how it may be driven.

    Names are those in the robot's own MJCF with the prefixes of its parts, without the prefix that
    it gets in the world.
    """

    name: str
    """Identifies the robot in data sets and policies."""
    parts: tuple[Part, ...]
    """Its MJCF files, each attached to the ones before it."""
    base: Base
    """How it moves over the floor."""
    arm: Arm
    """Its arm."""
    gripper: Gripper
    """Its gripper."""
    end_effector: EndEffector
    """The point that actions move."""
    about: str = ""
    """The robot in a few words, for lists."""
    cameras: tuple[Camera, ...] = ()
    """Cameras to add; a model may have its own, called head and wrist."""
    touching: tuple[str, ...] = ()
    """Bodies that can touch the world; empty: all that can in its files."""
    gravity_compensation: bool = False
    """Whether the arm's weight is carried, as the controllers of real arms do."""
    travel_hand: Vector3 = (0.44, 0.0, 0.98)
    """Where experts carry the hand while they drive, clear of tables, in the base frame [m]."""
    reach_m: float = 0.50
    """Distance ahead of the base at which the hand works best [m]."""
    response_s: float = 0.10
    """Time from a command to the middle of the hand's answer [s]: how slow its servos are."""
    not_offered: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Task -> the reason why it is not offered for this robot."""
    identity: str = ""
    """Name under which data sets and policies know it; empty: its name. A file's holds a hash."""
    folder: str = field(default="", compare=False, repr=False)
    """Folder of the file that describes it, for parts beside it."""
    record: str = field(default="", compare=False, repr=False)
    """The spec as JSON with its meshes' hashes, where a data set or a policy brought it."""

    def __post_init__(self) -> None:
        """Raises UsageError where the lists do not fit together."""
        n = len(self.arm.joints)
        for name in ("actuators", "home", "posture_weight", "leash"):
            got = len(getattr(self.arm, name))
            if got != n and (got or name in ("actuators", "home")):
                raise self.mistake(f"arm.{name}", f"{n} items, one for each of its joints", got)
        wanted = {
            "planar": {"joints": 3, "actuators": 3},
            "differential": {"joints": 0, "actuators": 2},
            "fixed": {"joints": 0, "actuators": 0},
        }[self.base.kind]
        for name, count in wanted.items():
            got = len(getattr(self.base, name))
            if got != count:
                raise self.mistake(f"base.{name}", f"{count} of a {self.base.kind} base", got)
        if not self.parts:
            raise self.mistake("parts", "an MJCF file at least", "none")
        if not n:
            raise self.mistake("arm.joints", "a joint at least", "none")
        if self.base.kind == "differential" and not (
            self.base.wheel_radius_m > 0 and self.base.track_m > 0
        ):
            raise self.mistake("base.wheel_radius_m, base.track_m", "lengths above 0", "none")
        if self.gripper.kind != "none" and self.gripper.joint_open == self.gripper.joint_closed:
            raise self.mistake("gripper.joint_open", "another position than closed", "the same")

    def mistake(self, key: str, expected: str, got: object) -> UsageError:
        """The error for a key of the spec."""
        return UsageError(f"robot {self.name!r}: {key}: expected {expected}, got {got}")

    @property
    def id(self) -> str:
        """Name in data sets and policies: two robots of the same id are the same."""
        return self.identity or self.name

    @property
    def base_size(self) -> int:
        """Numbers of an action that move the base."""
        return {"planar": 3, "differential": 2, "fixed": 0}[self.base.kind]

    @property
    def base_axes(self) -> tuple[int, ...]:
        """Which of ahead, sideways, turning these numbers are."""
        axes: dict[str, tuple[int, ...]] = {"planar": (0, 1, 2), "differential": (0, 2)}
        return axes.get(self.base.kind, ())

    @property
    def gripper_size(self) -> int:
        """Numbers of an action that move the gripper."""
        return int(self.gripper.kind != "none")

    @property
    def ee_site(self) -> str:
        """Site of the end effector; its x axis is the direction of approach."""
        ee = self.end_effector
        plain = (ee.pos, ee.approach, ee.across) == ((0, 0, 0), (1, 0, 0), (0, 1, 0))
        return ee.site if ee.site and plain else EE_SITE

    @property
    def base_joints(self) -> tuple[str, ...]:
        """Joints of a planar base: slide along x, slide along y, hinge about z."""
        return self.base.joints

    @property
    def arm_joints(self) -> tuple[str, ...]:
        """Lift and arm joints, from the base outwards."""
        return self.arm.joints

    @property
    def home(self) -> tuple[float, ...]:
        """Home positions of `arm_joints` [m or rad]."""
        return self.arm.home

    @property
    def tip_offset_m(self) -> float:
        """Distance from the end effector to the ends of the fingers, along the approach [m]."""
        return self.end_effector.tip_offset_m

    @property
    def max_base_speed(self) -> Vector3:
        """Base twist at action 1 [m/s, m/s, rad/s]."""
        return self.base.max_speed

    @property
    def max_ee_speed(self) -> tuple[float, float]:
        """End-effector linear [m/s] and angular [rad/s] velocity at action 1."""
        return self.end_effector.max_speed


_ARM = ("lift", *(f"arm_{i}" for i in range(1, 8)))

VANDER = RobotSpec(
    name="vander",
    about="the built-in one: a planar base, a lift, an arm of seven joints, two fingers",
    parts=(Part("vand_envs:vander.xml"),),
    base=Base(joints=("base_x", "base_y", "base_yaw"), actuators=("base_x", "base_y", "base_yaw")),
    arm=Arm(
        joints=_ARM,
        actuators=_ARM,
        # the fingers point straight down: arm_2 + arm_4 + arm_6 = pi / 2
        home=(0.20, 0.0, -0.80, 0.0, 1.75, 0.0, 0.6208, 0.0),
        posture_weight=(0.3, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
        leash=(0.03, 0.10, 0.10, 0.12, 0.12, 0.20, 0.20, 0.20),
    ),
    gripper=Gripper(
        kind="fingers",
        actuator="gripper",
        joint="finger_left",
        joints=("finger_left", "finger_right"),
        closed=0.0,
        open=0.042,
        joint_closed=0.0,
        joint_open=0.042,
        width_m=0.084,
    ),
    end_effector=EndEffector(site="ee", tip_offset_m=0.015),
)
"""The built-in robot."""

DEFAULT_ROBOT = VANDER
"""The robot where none is named."""

ROBOTS: dict[str, RobotSpec] = {VANDER.name: VANDER}
"""Id -> robot."""


def register_robot(robot: RobotSpec) -> RobotSpec:
    """Make a robot known by its id.

    Raises:
        UsageError: The id is taken.
    """
    if robot.id in ROBOTS:
        raise UsageError(f"robot {robot.id!r} is registered already")
    ROBOTS[robot.id] = robot
    return robot


def get_robot(name: str) -> RobotSpec:
    """The robot of that id, a plugin's too.

    Raises:
        UsageError: There is none; the message names the nearest.
    """
    robots = known_robots()
    if name not in robots:
        raise unknown_name("robot", name, robots)
    return robots[name]


def known_robots() -> Mapping[str, RobotSpec]:
    """Id -> robot: the built-in ones, and those of plugins."""
    import vand_envs.robots  # noqa: PLC0415  (it registers the robots of this package)
    from vand_envs.tasks.registry import load_all_plugins  # noqa: PLC0415  (tasks need robots)

    del vand_envs
    load_all_plugins()
    return ROBOTS


def require_offered(robot: RobotSpec, task_id: str) -> None:
    """Check that a robot can be asked to do a task.

    Raises:
        UsageError: It cannot; the line says why.
    """
    if task_id in robot.not_offered:
        reason = robot.not_offered[task_id]
        raise UsageError(f"task {task_id!r} is not offered for robot {robot.name!r}: {reason}")
