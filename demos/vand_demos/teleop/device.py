"""Interface of a teleoperation device: it gives the operator's commands and shows the result."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np

from vand_demos.teleop.status import Status, Vector3
from vand_envs.controller import action_indices
from vand_envs.robot import DEFAULT_ROBOT, RobotSpec
from vand_envs.typing import Float32Array

Event = Literal["start", "save", "fail", "discard", "undo", "reset", "show", "quit"]
"""Event that an operator asks for. `start`: begin to drive; then pause, and go on. `save`: the
episode is good. `fail`: keep it as a failure, where a person judges. `discard`: do not keep it; on
to another start. `undo`: take back the last one
saved. `reset`: the same start again. `show`: the expert does it once from here, which is not
recorded. `quit`: end the session."""

EVENTS: tuple[Event, ...] = get_args(Event)

START_SPEED = 0.6
"""Share of full speed that a device begins with."""

SLOW = 0.3
"""Share of the speed in slow mode."""

STILL: Vector3 = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Command:
    """Command of the operator at one control step."""

    base_twist: Vector3 = STILL
    """Velocity of the base in its own frame: ahead, left, turn left; each in [-1, 1]."""
    ee_linear: Vector3 = STILL
    """Velocity of the end effector relative to the base, in the base frame: ahead, left, up; each
    in [-1, 1]."""
    ee_angular: Vector3 = STILL
    """Its angular velocity about the same axes, each in [-1, 1]."""
    gripper: float = 1.0
    """1 is open, -1 closed."""
    speed: float = 1.0
    """Share of full speed, in (0, 1]."""
    events: tuple[Event, ...] = ()
    """Events since the last command, in their order."""
    present: bool = True
    """Whether somebody is there: False when the page was closed or the device unplugged."""

    def action(self, speed_limit: float = 1.0, robot: RobotSpec = DEFAULT_ROBOT) -> Float32Array:
        """The action in mode `ee_twist`, (A,) in [-1, 1].

        Args:
            speed_limit: Share of full speed that is never exceeded.
            robot: The robot; what it cannot do is left out.
        """
        twist = np.array([*self.base_twist, *self.ee_linear, *self.ee_angular])  # (9,)
        scaled = np.clip(twist, -1.0, 1.0) * min(self.speed, speed_limit)
        command = np.append(scaled, np.clip(self.gripper, -1.0, 1.0))  # (10,)
        return command[action_indices(robot)].astype(np.float32)

    @property
    def moves(self) -> bool:
        """Whether any motion of base or end effector is wanted."""
        return any((*self.base_twist, *self.ee_linear, *self.ee_angular))


class TeleopDevice(Protocol):
    """Drives a session. `read` and `show` are called from one thread and must not wait."""

    def read(self) -> Command:
        """Command of the operator now. Called once in a control step, at its beginning."""

    def show(self, status: Status, pose: Any) -> None:
        """Show how the session stands, and the robot.

        Args:
            status: What to say.
            pose: `mujoco.MjData` with positions of bodies, geoms and sites; it is the device's to
                draw, not to keep: the next call brings the same object in another pose.
        """

    def close(self) -> None:
        """Let go of everything."""
