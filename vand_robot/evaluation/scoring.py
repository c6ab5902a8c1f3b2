"""Scores of a rollout: one row of metrics for each episode, judged by the demonstrations."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vand_envs import Task, get_task
from vand_envs.errors import VandError
from vand_envs.judging import TaskProgress
from vand_envs.typing import BoolArray, FloatArray
from vand_robot.evaluation.reference import PATH_DT_S, TaskReference
from vand_robot.evaluation.rollout import Rollout
from vand_robot.metrics.periodic import recovery_time, score_periodic
from vand_robot.metrics.reference_cycle import ReferenceCycle
from vand_robot.metrics.sequential import jerk, path_distance, stages_in_order

Row = dict[str, Any]
"""One episode: metric -> value; None where it cannot be told."""


def score(rollout: Rollout, reference: TaskReference) -> tuple[Row, ...]:
    """One row of metrics for each episode of a rollout.

    `vand_robot.metrics.evaluation_metrics` describes the metrics.

    Raises:
        VandError: The demonstrations of a periodic task show no cycle to judge by.
    """
    rows = (
        _score_cycle(rollout, reference)
        if rollout.task.kind == "periodic"
        else _score_stages(rollout, reference)
    )
    return tuple(
        {"task": rollout.task.id, "seed": seed, **row}
        for seed, row in zip(rollout.seeds, rows, strict=True)
    )


def done(task: Task, progress: TaskProgress) -> BoolArray:
    """Whether a task is done by its own criteria, (n,).

    A task that counts is judged at the end: an episode that goes on counting has failed.
    """
    return progress.success if task.count is None else progress.at_end


def achieved_tasks(
    rollout: Rollout, references: Mapping[str, TaskReference], rows: tuple[Row, ...]
) -> list[list[str]]:
    """The tasks that each episode achieves: those whose criterion of success it meets.

    Args:
        rollout: The episodes, with judgments by the criteria of other tasks.
        references: What the demonstrations show, by task; periodic tasks that it lacks are judged
            by their minimum of cycles.
        rows: The scores under the task's own criteria.

    Returns:
        Task ids for each episode: the instructed one first, then those of `rollout.also_tracked`.
    """
    found = [[rollout.task.id] if row["success"] else [] for row in rows]
    for task_id, progress in rollout.also_tracked.items():
        task = get_task(task_id)
        holds = done(task, progress).copy()
        if task.kind == "periodic" and task_id in references:
            signal, valid = phase_plane(rollout, task)
            for i in np.flatnonzero(holds):  # a rhythm has the minimum of cycles at least
                holds[i] = score_periodic(
                    signal[i],
                    rollout.control_dt_s,
                    _cycle(task_id, references[task_id]),
                    valid=valid[i],
                ).success
        for i in np.flatnonzero(holds):
            found[i].append(task_id)
    return found


def phase_plane(rollout: Rollout, task: Task) -> tuple[FloatArray, BoolArray]:
    """The judged motion in a task's phase plane, (n, T, 2), and whether it counts, (n, T)."""
    if task.cycle is None:
        raise ValueError(f"task {task.id!r} has no cycle")
    signal = task.cycle.phase_plane(rollout.judged, rollout.robot)  # (T, n, 2)
    valid = task.cycle.valid(rollout.judged, rollout.robot)  # (T, n)
    return signal.swapaxes(0, 1), valid.swapaxes(0, 1)


def _score_stages(rollout: Rollout, reference: TaskReference) -> list[Row]:
    stages_done = stages_in_order(rollout.stage_times_s).tolist()
    success, times = done(rollout.task, rollout.progress), rollout.success_s
    paths = rollout.hand_paths()
    typical = float(np.median(reference.times_s)) if reference.times_s else np.nan
    return [
        {
            "success": bool(success[i]),
            "success_once": bool(rollout.progress.success[i]),
            "success_at_end": bool(rollout.progress.at_end[i]),
            "stages_done": stages_done[i],
            "stage_fraction": stages_done[i] / len(rollout.task.stage_names),
            "out_of_order": int(rollout.progress.out_of_order[i]),
            **_counted(rollout, i),
            "time_s": _known(times[i]),
            "relative_time": _known(times[i] / typical),
            "path_distance": _path_distance(paths[i], times[i], rollout.control_dt_s, reference),
            "jerk": _known(jerk(paths[i], rollout.control_dt_s)),
        }
        for i in range(len(rollout.seeds))
    ]


def _counted(rollout: Rollout, i: int) -> Row:
    """Metrics of tasks that count: count, whether it is right, base on its dock, base at rest."""
    if rollout.task.count is None:
        return {}
    count = float(rollout.progress.count[i])
    return {
        "count": count,
        "count_right": bool(abs(count - rollout.task.count) < 0.5),
        "returned": bool(rollout.returned[i]),
        "still": bool(rollout.still[i]),
    }


def _path_distance(
    path: FloatArray, time_s: float, dt: float, reference: TaskReference
) -> float | None:
    """Distance to the nearest demonstration [m], of a successful episode up to its success."""
    if not reference.paths:
        return None
    end = len(path) if np.isnan(time_s) else round(time_s / dt) + 1
    return path_distance(path[: end : max(1, round(PATH_DT_S / dt))], reference.paths)


def _score_cycle(rollout: Rollout, reference: TaskReference) -> list[Row]:
    cycle = _cycle(rollout.task.id, reference)
    signal, valid = phase_plane(rollout, rollout.task)
    dt = rollout.control_dt_s
    rows = []
    for i in range(len(rollout.seeds)):
        judged = score_periodic(signal[i], dt, cycle, valid=valid[i])
        numbers = judged.as_dict()
        row = {"success": numbers.pop("success"), **numbers}
        row["failures"] = " ".join(numbers["failures"])
        if rollout.pushes_s:
            times = [
                recovery_time(signal[i], dt, cycle, push_s - rollout.start * dt, valid=valid[i])
                for push_s in rollout.pushes_s[i]
                if push_s >= judged.onset_s + rollout.start * dt
            ]
            back = [time for time in times if np.isfinite(time)]
            row["recovery_s"] = float(np.median(back)) if back else None
            row["recovered"] = len(back) / len(times) if times else None
        rows.append(row)
    return rows


def _cycle(task_id: str, reference: TaskReference) -> ReferenceCycle:
    cycle = reference.cycle
    if cycle is None:
        raise VandError(f"task {task_id!r}: its demonstrations show no cycle to judge by")
    return cycle


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
