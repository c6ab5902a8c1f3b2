"""Episodes put together into a result: rates, spreads of metrics, worst episodes, confusion."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vand_envs import get_task, task_ids
from vand_robot.evaluation.episodes import EpisodeMetrics
from vand_robot.evaluation.jobs import JobResult, RolloutJob
from vand_robot.evaluation.perturbations import SUITE_VERSION
from vand_robot.evaluation.results import (
    EvaluationResult,
    MetricSpread,
    PerturbationResult,
    PolicyFacts,
    StageRate,
    TaskResult,
    WorstEpisode,
)
from vand_robot.metrics.evaluation_metrics import IN_TOLERANCE, SHARES, STAGE_FRACTION, STAGES_DONE
from vand_robot.metrics.periodic import PeriodicTolerances
from vand_robot.metrics.sequential import success_at_k
from vand_robot.metrics.statistics import SuccessRate

NONE = "none"
"""Column of the confusion matrix for episodes that meet no task's criterion."""

WORST = 5
"""Worst episodes that a result names for each task and perturbation."""


@dataclass(frozen=True, eq=False)
class Rollouts:
    """All episodes of one task under one perturbation."""

    job: RolloutJob
    """The first of the jobs that they were run by."""
    result: JobResult
    """Joint result of all of them."""


def join_jobs(jobs: Sequence[RolloutJob], results: Sequence[JobResult]) -> list[Rollouts]:
    """Put jobs of the same task and perturbation together, in the order of the jobs."""
    parts: dict[tuple[str, str], list[JobResult]] = {}
    first: dict[tuple[str, str], RolloutJob] = {}
    for job, result in zip(jobs, results, strict=True):
        key = (job.perturbation.name, job.task)
        parts.setdefault(key, []).append(result)
        first.setdefault(key, job)
    return [Rollouts(job, _concatenate(parts[key])) for key, job in first.items()]


def _concatenate(parts: Sequence[JobResult]) -> JobResult:
    signals = [part.signal for part in parts if part.signal is not None]
    valids = [part.valid for part in parts if part.valid is not None]
    return JobResult(
        rows=tuple(row for part in parts for row in part.rows),
        stage_times_s=np.concatenate([part.stage_times_s for part in parts]),
        signal=np.concatenate(signals) if signals else None,
        valid=np.concatenate(valids) if valids else None,
    )


def collect(
    rollouts: Sequence[Rollouts], *, control_dt_s: float, suite: str, policy: PolicyFacts
) -> EvaluationResult:
    """The result of an evaluation.

    Args:
        rollouts: All episodes, by perturbation and task.
        control_dt_s: Duration of a control step [s].
        suite: Name of the suite.
        policy: What was evaluated.
    """
    found: dict[tuple[str, str], PerturbationResult] = {}
    for cell in rollouts:
        job = cell.job
        found[job.task, job.perturbation.name] = summarize(
            [EpisodeMetrics.from_row(row) for row in cell.result.rows],
            get_task(job.task).stage_names,
            horizon_s=round(job.steps * control_dt_s, 3),
        )
    perturbations = {cell.job.perturbation.name: cell.job.perturbation for cell in rollouts}
    return EvaluationResult(
        suite=suite,
        suite_version=SUITE_VERSION,
        first_seed=rollouts[0].job.seeds[0],
        policy=policy,
        perturbations={name: found.to_json() for name, found in perturbations.items()},
        tasks={
            task_id: _task_result(
                task_id, {name: r for (task, name), r in found.items() if task == task_id}
            )
            for task_id in dict.fromkeys(task for task, _ in found)
        },
        confusion={
            name: matrix
            for name in perturbations
            if (
                matrix := confusion(
                    {task: r.episodes for (task, other), r in found.items() if other == name},
                    task_ids(),
                )
            )
        },
        episodes=tuple(episode for result in found.values() for episode in result.episodes),
    )


def _task_result(task_id: str, perturbations: Mapping[str, PerturbationResult]) -> TaskResult:
    task = get_task(task_id)
    return TaskResult(task.instruction, task.kind, task.count, perturbations)


def summarize(
    episodes: Sequence[EpisodeMetrics], stage_names: Sequence[str], *, horizon_s: float
) -> PerturbationResult:
    """The result of one task under one perturbation.

    Args:
        episodes: At least one.
        stage_names: Of the task's stages; none if periodic.
        horizon_s: Length of the episodes [s].
    """
    first = episodes[0].metrics
    return PerturbationResult(
        horizon_s=horizon_s,
        success=SuccessRate.of([episode.success for episode in episodes]),
        stages=_stage_rates(episodes, stage_names),
        shares={
            name: SuccessRate.of([bool(episode.metrics[name]) for episode in episodes])
            for name in SHARES
            if name in first
        },
        metrics={
            name: spread([episode.metrics[name] for episode in episodes])
            for name in first
            if name not in SHARES
        },
        worst=worst(episodes),
        after=episodes[0].after,
        episodes=tuple(episodes),
    )


def _stage_rates(episodes: Sequence[EpisodeMetrics], names: Sequence[str]) -> tuple[StageRate, ...]:
    if not names:
        return ()
    shares = success_at_k([episode.metrics[STAGES_DONE] or 0 for episode in episodes], len(names))
    return tuple(
        StageRate(name, round(share * len(episodes)), float(share))
        for name, share in zip(names, shares, strict=True)
    )


def spread(values: Sequence[float | None]) -> MetricSpread:
    """Median and quartiles of the values that can be told."""
    known = [float(v) for v in values if v is not None and math.isfinite(v)]
    if not known:
        return MetricSpread(None, None, 0)
    low, middle, high = np.percentile(known, [25, 50, 75])
    return MetricSpread(float(middle), (float(low), float(high)), len(known))


def share_done(episode: EpisodeMetrics) -> float:
    """Progress of an episode: the share of its stages, or of the scored time in tolerance."""
    name = STAGE_FRACTION if STAGE_FRACTION in episode.metrics else IN_TOLERANCE
    return episode.metrics[name] or 0.0


def closeness(episode: EpisodeMetrics) -> float:
    """How near an episode came to the demonstrations, 0 to 1.

    Of a sequential task its progress; of a rhythm the share of the time in tolerance, times how
    small the errors of frequency, amplitude and orbit are beside their tolerances, in the mean.
    """
    tolerances = PeriodicTolerances()
    errors = {
        "frequency_error": tolerances.frequency,
        "amplitude_error": tolerances.amplitude,
        "orbit_error": tolerances.orbit,
    }
    near = [
        max(0.0, 1 - error / tolerance)
        for name, tolerance in errors.items()
        if (error := episode.metrics.get(name)) is not None
    ]
    return share_done(episode) * (sum(near) / len(errors) if IN_TOLERANCE in episode.metrics else 1)


def worst(episodes: Sequence[EpisodeMetrics], limit: int = WORST) -> tuple[WorstEpisode, ...]:
    """The failures that came least far, the worst first."""
    failed = [episode for episode in episodes if not episode.success]
    failed.sort(key=lambda episode: (share_done(episode), episode.seed))
    return tuple(
        WorstEpisode(
            seed=episode.seed,
            share=share_done(episode),
            achieved=episode.achieved or (),
            failures=episode.failures or (),
        )
        for episode in failed[:limit]
    )


def confusion(
    episodes: Mapping[str, Sequence[EpisodeMetrics]], behaviors: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Confusion matrix: how often the criterion of each task was met under each instruction.

    An episode may meet several, or none.

    Args:
        episodes: Instruction -> its episodes.
        behaviors: Ids of all tasks.

    Returns:
        Instruction -> task, or `none` -> episodes; empty where episodes were judged by their own
        task alone.
    """
    matrix = {}
    for instruction, own in episodes.items():
        achieved = [episode.achieved for episode in own if episode.achieved is not None]
        if len(achieved) < len(own):
            return {}
        matrix[instruction] = {
            **{name: sum(name in tasks for tasks in achieved) for name in behaviors},
            NONE: sum(not tasks for tasks in achieved),
        }
    return matrix
