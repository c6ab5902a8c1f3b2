"""The command that lists the tasks."""

from vand_envs import get_task, task_ids
from vand_envs.robot import DEFAULT_ROBOT
from vand_robot.cli import console
from vand_robot.cli.options import Json, Robot
from vand_robot.config.robots import find_robot


def tasks_command(robot: Robot = DEFAULT_ROBOT.name, json: Json = False) -> None:
    """List the tasks: id, kind, instruction, stages or cycle."""
    missing = find_robot(robot).not_offered
    known = [get_task(task_id) for task_id in task_ids() if task_id not in missing]
    if json:
        console.print_json(
            [
                {
                    "id": task.id,
                    "kind": task.kind,
                    "instruction": task.instruction,
                    "env_id": task.env_id,
                    "horizon_s": task.horizon_s,
                    "stages": list(task.stage_names),
                }
                for task in known
            ]
        )
        return
    console.print_table(
        "Tasks",
        ("id", "kind", "instruction", "stages, or the cycle's plane"),
        [
            [
                task.id,
                task.kind,
                task.instruction,
                " > ".join(task.stage_names)
                if task.stages or task.cycle is None
                else f"{' and '.join(task.cycle.signal_names)} [{task.cycle.unit}]",
            ]
            for task in known
        ],
    )
    for task_id, reason in missing.items():
        console.out.print(f"not offered for {robot}: {task_id}: {reason}")
