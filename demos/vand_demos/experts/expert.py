"""Experts: the script of each task, and what runs a script on what the robot observes."""

from collections.abc import Callable
from dataclasses import dataclass

from vand_demos.experts.motion import GoalController, Style, Vector, View
from vand_demos.experts.skills import Skill
from vand_envs.robot import DEFAULT_ROBOT, RobotSpec
from vand_envs.tasks.registry import Registry

PRESSING_M = 0.003
"""How far the commanded hand is below the real one when it presses on something [m]."""

ENDLESS = (1e9, 1e9)
"""Range of cycles that means "never stop"."""

Demonstrator = Callable[[GoalController, View], Skill]
"""Function that gives a whole demonstration as a skill, from how to move and the first view."""


def pressing(view: View, robot: RobotSpec) -> bool:  # noqa: ARG001  (`Script.in_contact`)
    """Whether the hand presses on something."""
    return bool(-view["ee_lag"][2] > PRESSING_M)


@dataclass(frozen=True)
class Script:
    """How a task is demonstrated."""

    demonstration: Demonstrator
    """The whole demonstration; one of a periodic task stops after some cycles."""
    endless: Demonstrator | None = None
    """Of a periodic task, the same without an end."""
    in_contact: Callable[[View, RobotSpec], bool] = pressing
    """Whether the hand is where a disturbance must be weak (`Disturbance.in_contact`)."""
    takes_cube: bool = False
    """Whether it goes on with a cube that is in the hand already."""


EXPERTS: Registry[Script] = Registry("expert")
"""Task id -> the script that demonstrates it."""


def register_expert(task_id: str, script: Script) -> Script:
    """Make a script the one that demonstrates a task.

    Raises:
        UsageError: The task has a script already.
    """
    EXPERTS.add(task_id, script)
    return script


class Expert:
    """Demonstrates one episode. It sees observations only, and remembers by its script.

    Args:
        demonstration: What to do.
        seed: Draws the style.
        control_dt_s: Duration of a step [s].
        robot: The robot that it drives.
    """

    def __init__(
        self,
        demonstration: Demonstrator,
        seed: int,
        control_dt_s: float,
        robot: RobotSpec = DEFAULT_ROBOT,
    ) -> None:
        self._demonstration = demonstration
        self._motion = GoalController(robot, Style.draw(seed, robot), control_dt_s)
        self._skill: Skill | None = None

    def act(self, view: View) -> Vector | None:
        """The next action (A,), mode `ee_twist`; None when the demonstration is over."""
        try:
            if self._skill is None:
                self._skill = self._demonstration(self._motion, view)
                return next(self._skill)
            return self._skill.send(view)
        except StopIteration:
            return None


def make_expert(
    task_id: str,
    seed: int,
    control_dt_s: float = 0.1,
    *,
    robot: RobotSpec = DEFAULT_ROBOT,
    endless: bool = False,
) -> Expert:
    """The expert that demonstrates a task, in a style drawn from the seed.

    Args:
        task_id: The task.
        seed: Draws the style.
        control_dt_s: Duration of a control step [s].
        robot: The robot that it drives.
        endless: Whether a periodic task goes on for ever; a demonstration of one comes to an end.

    Raises:
        UsageError: No expert knows the task.
    """
    script = EXPERTS[task_id]
    chosen = script.endless if endless and script.endless else script.demonstration
    return Expert(chosen, seed, control_dt_s, robot)
