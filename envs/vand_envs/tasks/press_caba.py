"""Press C, A, B, A. Above A, nothing but memory tells whether B comes next or all is done."""

from vand_envs.tasks.base import Task, register_task
from vand_envs.tasks.buttons import presses

ORDER = "CABA"

TASK = register_task(
    Task(
        id="press-caba",
        env_id="VandRobot/PressCABA-v0",
        instruction="press C, A, B, A",
        horizon_s=25.0,
        stages=presses(ORDER),
    )
)
