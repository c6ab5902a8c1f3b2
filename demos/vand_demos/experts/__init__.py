"""Scripted demonstrators, one per task, built from a few motion skills."""

from collections.abc import Callable

from vand_demos.experts import (
    drawer_stow,
    knock_3,
    patrol,
    press,
    stir,
    stow_cube,
    wipe,
    wipe_4,
)
from vand_demos.experts.disturbance import Disturbance, DisturbanceProcess
from vand_demos.experts.expert import Expert, Script
from vand_demos.experts.motion import GoalController, Style, View
from vand_demos.experts.skills import Skill
from vand_envs.errors import unknown_name
from vand_envs.tasks import press_abac, press_caba

SCRIPTS: dict[str, Script] = {
    "stow-cube": stow_cube.script,
    "press-abac": press.script(press_abac.ORDER),
    "press-caba": press.script(press_caba.ORDER),
    "drawer-stow": drawer_stow.script,
    "wipe": wipe.script,
    "stir": stir.script,
    "patrol": patrol.script,
    "wipe-4": wipe_4.script,
    "knock-3": knock_3.script,
}
"""Task id -> the script that demonstrates it."""


RHYTHMS: dict[str, Callable[[GoalController, View, tuple[float, float]], Skill]] = {
    "wipe": wipe.script,
    "stir": stir.script,
    "patrol": patrol.script,
}
"""Task without an end -> its script, which is told a range of cycles."""

ENDLESS = (1e9, 1e9)
"""Cycles that nobody waits for."""


def make_expert(
    task_id: str, seed: int, control_dt_s: float = 0.1, *, endless: bool = False
) -> Expert:
    """The expert that demonstrates a task, in a style drawn from the seed.

    Args:
        task_id: The task.
        seed: Draws the style.
        control_dt_s: Duration of a control step [s].
        endless: Whether a rhythm goes on for ever; a demonstration of one comes to an end.

    Raises:
        UsageError: No expert knows the task.
    """
    if task_id not in SCRIPTS:
        raise unknown_name("task", task_id, SCRIPTS)
    if endless and task_id in RHYTHMS:
        rhythm = RHYTHMS[task_id]
        return Expert(lambda motion, view: rhythm(motion, view, ENDLESS), seed, control_dt_s)
    return Expert(SCRIPTS[task_id], seed, control_dt_s)


__all__ = [
    "SCRIPTS",
    "Disturbance",
    "DisturbanceProcess",
    "Expert",
    "GoalController",
    "Script",
    "Skill",
    "Style",
    "View",
    "make_expert",
]
