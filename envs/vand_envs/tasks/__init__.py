"""The tasks of the workshop, one file each."""

from vand_envs.errors import unknown_name
from vand_envs.tasks import (
    drawer_stow,
    knock_3,
    patrol,
    press_abac,
    press_caba,
    stir,
    stow_cube,
    wipe,
    wipe_4,
)
from vand_envs.tasks.base import Cycle, Stage, Task

TASKS: tuple[Task, ...] = (
    stow_cube.TASK,
    press_abac.TASK,
    press_caba.TASK,
    drawer_stow.TASK,
    wipe.TASK,
    stir.TASK,
    patrol.TASK,
    wipe_4.TASK,
    knock_3.TASK,
)
"""Every task; their order is that of the instruction's one-hot code."""


def task_ids() -> tuple[str, ...]:
    """Ids of all tasks, in the order of the instruction's one-hot code."""
    return tuple(task.id for task in TASKS)


def get_task(task_id: str) -> Task:
    """The task of that id.

    Raises:
        UsageError: There is none; the message names the nearest.
    """
    for task in TASKS:
        if task.id == task_id:
            return task
    raise unknown_name("task", task_id, task_ids())


__all__ = ["TASKS", "Cycle", "Stage", "Task", "get_task", "task_ids"]
