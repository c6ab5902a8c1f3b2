"""Motion: turns goals for base and hand into actions.

An action follows from what is seen at that moment and from the goal, and from nothing else; what
smooths the motion is the robot. An expert that limits the change of its own action makes labels
that follow from the label before, and so from the velocity that is observed: a policy then learns
to go on as it goes, and stands still where it stands still (measured: with such a limit policies
stopped centimeters beside the cube).

Positions are in meters in the robot's base frame unless a name says `world`; the hand points down.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vand_envs.controller import action_indices
from vand_envs.geometry import to_base, to_base_axes
from vand_envs.robot import DEFAULT_ROBOT, RobotSpec

Vector = npt.NDArray[np.float64]
View = Mapping[str, npt.NDArray[np.float32]]
"""Observation of one robot: key -> (d,)."""

BASE_GAIN = 2.0
"""Proportional gain of base position and heading [1/s]."""
HAND_GAIN = 4.0
"""Proportional gain of hand position [1/s]."""
TURN_GAIN = 3.0
"""Proportional gain of hand orientation [1/s]."""

AHEAD_GAIN = 2.0
"""Proportional gain of the distance ahead, of a base with two wheels [1/s]."""
AIM_GAIN = 2.5
"""Proportional gain of the direction [1/s]."""
STEER_GAIN = 4.0
"""Proportional gain of the direction along a path [1/s]."""
THERE_M = 0.05
"""Distance from a place within which the base only turns to the heading that is wanted [m]."""
MAX_TURN = 1.4
"""Largest turning speed [rad/s]."""

TRAVEL_SPREAD_M = 0.03
"""Largest difference from where the hand is carried (`RobotSpec.travel_hand`), along each axis [m]:
where the hand sets out from must not tell how far it has to go."""


@dataclass(frozen=True)
class Style:
    """How one demonstration is driven: no two are alike."""

    base_speed: float
    """Base speed [m/s]."""
    hand_speed: float
    """Hand speed [m/s]."""
    travel_hand: Vector
    """Where the hand is carried while driving, clear of tables and of the column, (3,) [m]."""
    rng: np.random.Generator
    """For whatever else varies along the way."""

    @classmethod
    def draw(cls, seed: int, robot: RobotSpec = DEFAULT_ROBOT) -> "Style":
        """A style drawn from a seed, for a robot."""
        rng = np.random.default_rng([seed, 1])
        return cls(
            base_speed=rng.uniform(0.40, 0.52),
            hand_speed=rng.uniform(0.28, 0.40),
            travel_hand=np.array(robot.travel_hand)
            + rng.uniform(-TRAVEL_SPREAD_M, TRAVEL_SPREAD_M, 3),
            rng=rng,
        )


class GoalController:
    """Follows goals with limited speed.

    Args:
        robot: The robot.
        style: How to drive.
        dt: Duration of a step [s].
    """

    def __init__(self, robot: RobotSpec, style: Style, dt: float) -> None:
        self.robot = robot
        self.style = style
        self.dt = dt
        self._kept = action_indices(robot)
        # a speed of zero is an axis that the base lacks, which no action has
        self._base_scale = np.array([speed or 1.0 for speed in robot.max_base_speed])
        self._hand_scale = np.array([robot.max_ee_speed[0]] * 3 + [robot.max_ee_speed[1]] * 3)

    def command(
        self,
        view: View,
        *,
        base_world: Vector | None = None,
        base_velocity: Vector | None = None,
        hand: Vector | None = None,
        hand_velocity: Vector | None = None,
        hand_yaw: float = 0.0,
        gripper: float = 1.0,
    ) -> Vector:
        """One action.

        Args:
            view: What the robot observes.
            base_world: Goal of the base: x, y [m] and yaw [rad] in the world; None stops it.
            base_velocity: Velocity of the base along x, y of the world [m/s], its heading kept at
                0; with `base_world` None.
            hand: Goal of the end effector; None leaves its position to `hand_velocity`.
            hand_velocity: Velocity of the end effector [m/s]; with `hand` None.
            hand_yaw: Direction of the gripper about the vertical [rad].
            gripper: 1 opens, -1 closes.

        Returns:
            (A,) in [-1, 1], mode `ee_twist`.
        """
        wheels = self.robot.base.kind == "differential"
        base = np.zeros(3) if base_world is None else self._to_base_goal(view, base_world)
        if base_velocity is not None:
            velocity = to_base_axes(base_velocity, *view["base_pose"][2:])
            base = steer(velocity) if wheels else np.append(velocity, _turn_to(view, 0.0))
        if hand is not None:
            # Height and place are limited apart: a long way down must not slow the aiming.
            velocity = HAND_GAIN * (hand - view["ee_pos"])
            speed = self.style.hand_speed
            hand_velocity = np.append(
                _limit(velocity[:2], speed), np.clip(velocity[2], -speed, speed)
            )
        linear = np.zeros(3) if hand_velocity is None else hand_velocity
        turn = _limit(TURN_GAIN * pointing_down_error(view, hand_yaw), 1.2)
        wanted = np.concatenate([base / self._base_scale, [*linear, *turn] / self._hand_scale])
        return self.robot_action(np.append(np.clip(wanted, -1.0, 1.0), gripper))

    def robot_action(self, command: Vector) -> Vector:
        """The action (A,) of this robot for a command (10,) to one with everything.

        Args:
            command: Base ahead, sideways, turning; hand's twist (6); gripper.
        """
        return command[self._kept]

    def _to_base_goal(self, view: View, goal_world: Vector) -> Vector:
        """Base twist towards a goal in the world [m/s, rad/s]."""
        offset = to_base(goal_world[:2], view["base_pose"])
        if self.robot.base.kind == "differential":
            return drive_to(offset, _turn_to(view, goal_world[2]), self.style.base_speed)
        linear = _limit(BASE_GAIN * offset, self.style.base_speed)
        return np.append(linear, _turn_to(view, goal_world[2]))


def position(view: View, body: str) -> Vector:
    """Position of a body in the base frame, (3,)."""
    return np.asarray(view["ee_pos"] + view[f"{body}_rel"], np.float64)


def base_error(view: View, goal_world: Vector) -> tuple[float, float]:
    """Distance [m] and heading error [rad] of the base from its goal."""
    heading = np.arctan2(view["base_pose"][3], view["base_pose"][2])
    turn = (goal_world[2] - heading + np.pi) % (2 * np.pi) - np.pi
    return float(np.linalg.norm(goal_world[:2] - view["base_pose"][:2])), abs(float(turn))


def pointing_down_error(view: View, yaw: float) -> Vector:
    """Rotation that would make the hand point down with the given yaw [rad], (3,).

    The axis of the rotation times the sine of its angle: the antisymmetric part of its matrix.
    """
    x_axis, y_axis = view["ee_rot"][:3].astype(np.float64), view["ee_rot"][3:].astype(np.float64)
    cos, sin = np.cos(yaw), np.sin(yaw)
    wanted = np.array([[0, -sin, cos], [0, cos, sin], [-1, 0, 0]])  # columns: the hand's axes
    now = np.stack([x_axis, y_axis, _cross(x_axis, y_axis)])  # rows: the hand's axes
    turn = wanted @ now  # (3, 3)
    return 0.5 * np.array(
        [turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]
    )


def drive_to(offset: Vector, turn: float, speed: float) -> Vector:
    """Base twist ahead, sideways, turning [m/s, rad/s] towards a place, and there to a heading.

    It goes ahead or backwards, whichever needs the smaller turn.

    Args:
        offset: The place in the base frame, (2,) [m].
        turn: Turning speed towards the heading that is wanted there [rad/s].
        speed: Largest speed [m/s].
    """
    distance = float(np.hypot(*offset))
    if distance < THERE_M:
        return np.array([0.0, 0.0, turn])
    way = 1.0 if offset[0] >= 0 else -1.0
    aside = float(np.arctan2(way * offset[1], way * offset[0]))  # in +-pi/2
    along = max(0.0, 1.0 - 2.0 * abs(aside))  # no way ahead while the direction is far off
    ahead = way * min(AHEAD_GAIN * distance, speed) * along
    return np.array([ahead, 0.0, np.clip(AIM_GAIN * aside, -MAX_TURN, MAX_TURN)])


def steer(velocity: Vector) -> Vector:
    """Base twist (3,) [m/s, rad/s] that goes on along a velocity in the base frame, (2,) [m/s]."""
    aside = float(np.arctan2(velocity[1], velocity[0]))
    ahead = float(np.hypot(*velocity)) * max(0.0, np.cos(aside))
    return np.array([ahead, 0.0, np.clip(STEER_GAIN * aside, -MAX_TURN, MAX_TURN)])


def _turn_to(view: View, yaw: float) -> float:
    """Angular velocity that turns the base to a heading [rad/s]."""
    heading = np.arctan2(view["base_pose"][3], view["base_pose"][2])
    turn = (yaw - heading + np.pi) % (2 * np.pi) - np.pi
    return float(np.clip(BASE_GAIN * turn, -0.9, 0.9))


def _cross(a: Vector, b: Vector) -> Vector:
    """Cross product (3,); numpy's is slow for single vectors."""
    return np.array(
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    )


def _limit(vector: Vector, largest: float) -> Vector:
    """The vector, shortened to a largest length."""
    length = float(np.linalg.norm(vector))
    return vector if length <= largest else vector * (largest / length)
