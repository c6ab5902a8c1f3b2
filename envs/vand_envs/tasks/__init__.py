"""The tasks of the workshop, one file each. A task is registered by the file that defines it."""

from importlib import import_module

from vand_envs.tasks.base import (
    TASKS,
    Cycle,
    Loop,
    Stage,
    Task,
    get_task,
    register_task,
    task_ids,
)

BUILT_IN = (
    "stow_cube",
    "press_abac",
    "press_caba",
    "drawer_stow",
    "wipe",
    "stir",
    "patrol",
    "wipe_4",
    "knock_3",
)
"""Modules of this folder that register a task. Their order is that of the instruction's one-hot
code: a new one is added at the end."""

for _module in BUILT_IN:
    import_module(f"{__name__}.{_module}")
TASKS.seal()

__all__ = ["TASKS", "Cycle", "Loop", "Stage", "Task", "get_task", "register_task", "task_ids"]
