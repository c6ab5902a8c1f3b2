"""Scripted demonstrators, one per task, built from a few motion skills."""

from vand_demos.experts import stow_cube, wipe
from vand_demos.experts.disturbance import Disturbance, DisturbanceProcess
from vand_demos.experts.expert import Expert, Script
from vand_demos.experts.motion import Motion, Style, View
from vand_demos.experts.skills import Skill
from vand_envs.errors import unknown_name

SCRIPTS: dict[str, Script] = {"stow-cube": stow_cube.script, "wipe": wipe.script}
"""Task id -> the script that demonstrates it."""


def make_expert(task_id: str, seed: int, control_dt_s: float = 0.1) -> Expert:
    """The expert that demonstrates a task, in a style drawn from the seed.

    Raises:
        UsageError: No expert knows the task.
    """
    if task_id not in SCRIPTS:
        raise unknown_name("task", task_id, SCRIPTS)
    return Expert(SCRIPTS[task_id], seed, control_dt_s)


__all__ = [
    "SCRIPTS",
    "Disturbance",
    "DisturbanceProcess",
    "Expert",
    "Motion",
    "Script",
    "Skill",
    "Style",
    "View",
    "make_expert",
]
