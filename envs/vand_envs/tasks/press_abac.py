"""Press A, B, A, C. Above A, nothing but memory tells whether B or C comes next."""

from vand_envs.tasks.base import Task, register_task
from vand_envs.tasks.buttons import presses

ORDER = "ABAC"

TASK = register_task(
    Task(
        id="press-abac",
        env_id="VandRobot/PressABAC-v0",
        instruction="press A, B, A, C",
        horizon_s=25.0,
        stages=presses(ORDER),
    )
)
