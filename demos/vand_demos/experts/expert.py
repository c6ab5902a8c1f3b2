"""Expert: runs a task's script on what the robot observes."""

from collections.abc import Callable

from vand_demos.experts.motion import GoalController, Style, Vector, View
from vand_demos.experts.skills import Skill
from vand_envs.robot import VANDER

Script = Callable[[GoalController, View], Skill]
"""A whole demonstration, as a skill."""


class Expert:
    """Demonstrates one episode. It sees observations only, and remembers by its script.

    Args:
        script: What to do.
        seed: Draws the style.
        control_dt_s: Duration of a step [s].
    """

    def __init__(self, script: Script, seed: int, control_dt_s: float) -> None:
        self._script = script
        self._motion = GoalController(VANDER, Style.draw(seed), control_dt_s)
        self._skill: Skill | None = None

    def act(self, view: View) -> Vector | None:
        """The next action (10,), mode `ee_twist`; None when the demonstration is over."""
        try:
            if self._skill is None:
                self._skill = self._script(self._motion, view)
                return next(self._skill)
            return self._skill.send(view)
        except StopIteration:
            return None
