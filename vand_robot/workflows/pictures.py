"""The figures of an evaluation."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from vand_envs import get_task
from vand_envs.errors import VandError
from vand_robot import figures
from vand_robot.evaluation.results import Evaluation
from vand_robot.report import Picture

SUCCESS = "success"
"""Stem of the chart of success rates."""


def draw(evaluation: Evaluation, results: Mapping[str, Any], metrics: Path | None) -> list[Picture]:
    """The figures of an evaluation.

    Args:
        evaluation: The evaluation.
        results: The content of its `results.json`.
        metrics: The run's `metrics.jsonl`, for the training curve, which is left out where that
            file cannot be drawn: an evaluation must not be lost for it.
    """
    pictures = [Picture(SUCCESS, "Success by task", figures.success_chart(results))]
    for perturbation, matrix in results["confusion"].items():
        pictures.append(
            Picture(
                f"confusion-{perturbation}",
                "Behavior shown under each instruction",
                figures.confusion_matrix(matrix, _episodes(results, perturbation)),
                perturbation=perturbation,
            )
        )
    for job in evaluation.jobs:
        figure = _portrait(evaluation, job.task) if job.perturbation.name == "nominal" else None
        if figure is not None:
            kind = get_task(job.task).kind
            stem, title = ("phase", "Phase portrait") if kind == "periodic" else _STAGES
            pictures.append(Picture(f"{job.task}-{stem}", title, figure, task=job.task))
    if metrics is not None:
        with suppress(VandError):
            pictures.append(Picture("training", "Training", figures.training_curve(metrics)))
    return pictures


_STAGES = ("stages", "Stages against time")


def _episodes(results: Mapping[str, Any], perturbation: str) -> int:
    """Episodes of each task under a perturbation."""
    return int(
        next(
            task["perturbations"][perturbation]["episodes"]
            for task in results["tasks"].values()
            if perturbation in task["perturbations"]
        )
    )


def _portrait(evaluation: Evaluation, task_id: str) -> Figure:
    """How a task went under nominal perturbations: stages against time, or the phase portrait."""
    task, outcome = get_task(task_id), evaluation.outcomes["nominal", task_id]
    task_reference = evaluation.references[task_id]
    if task.kind == "sequential":
        horizon_s = task.horizon_s
        return figures.stage_completion(outcome.stage_times_s, task.stage_names, horizon_s)
    cycle, reference = task.cycle, task_reference.cycle
    if cycle is None or reference is None or outcome.signal is None or outcome.valid is None:
        raise VandError(f"task {task_id!r}: its demonstrations show no cycle to draw")
    return figures.phase_portrait(
        list(outcome.signal),
        reference,
        evaluation.control_dt_s,
        valid=list(outcome.valid),
        names=cycle.signal_names,
    )
