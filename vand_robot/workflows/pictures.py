"""The figures of an evaluation."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from matplotlib.figure import Figure

from vand_envs import get_task
from vand_envs.errors import VandError
from vand_robot import figures
from vand_robot.evaluation.perturbations import NOMINAL
from vand_robot.evaluation.results import EvaluationResult
from vand_robot.evaluation.summary import Rollouts
from vand_robot.evaluation.target import EvaluationTarget
from vand_robot.report import Picture

SUCCESS = "success"
"""Stem of the chart of success rates."""


def draw_evaluation(
    result: EvaluationResult,
    rollouts: Sequence[Rollouts],
    target: EvaluationTarget,
    curve: Path | None,
) -> list[Picture]:
    """The figures of an evaluation.

    Args:
        result: The result.
        rollouts: The episodes that it was collected from.
        target: What was evaluated.
        curve: The run's `metrics.jsonl`, for the training curve, which is left out where that file
            cannot be drawn: an evaluation must not be lost for it.
    """
    chart = figures.success_chart(list(result.tasks), result.success_rates())
    pictures = [Picture(SUCCESS, "Success by task", chart)]
    for perturbation, matrix in result.confusion.items():
        rates = result.success_rates()[perturbation]
        episodes = next(iter(rates.values())).episodes  # of each task the same
        pictures.append(
            Picture(
                f"confusion-{perturbation}",
                "Behavior shown under each instruction",
                figures.confusion_matrix(matrix, episodes),
                perturbation=perturbation,
            )
        )
    pictures += [
        _task_picture(cell, target) for cell in rollouts if cell.job.perturbation == NOMINAL
    ]
    if curve is not None:
        with suppress(VandError):
            pictures.append(Picture("training", "Training", figures.training_curve(curve)))
    return pictures


def _task_picture(rollouts: Rollouts, target: EvaluationTarget) -> Picture:
    """Figure of a task without perturbation: stages against time, or the phase portrait."""
    task = get_task(rollouts.job.task)
    if task.kind == "periodic":
        figure = _phase_portrait(rollouts, target)
        return Picture(f"{task.id}-phase", "Phase portrait", figure, task=task.id)
    figure = figures.stage_completion(
        rollouts.result.stage_times_s, task.stage_names, task.horizon_s
    )
    return Picture(f"{task.id}-stages", "Stages against time", figure, task=task.id)


def _phase_portrait(rollouts: Rollouts, target: EvaluationTarget) -> Figure:
    task, result = get_task(rollouts.job.task), rollouts.result
    cycle, reference = task.cycle, target.references[task.id].cycle
    if cycle is None or reference is None or result.signal is None or result.valid is None:
        raise VandError(f"task {task.id!r}: its demonstrations show no cycle to draw")
    return figures.phase_portrait(
        list(result.signal),
        reference,
        target.control_dt_s,
        valid=list(result.valid),
        names=cycle.signal_names,
    )
