"""What an evaluation consists of: episodes of one task under one perturbation, run side by side."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vand_envs import get_task, task_ids
from vand_envs.errors import UsageError, VandError
from vand_envs.seeds import TEST_SEED
from vand_envs.typing import BoolArray, Float32Array, FloatArray
from vand_robot.evaluation.perturbations import (
    NOMINAL,
    InstructionSwitch,
    LongHorizon,
    Perturbation,
    task_before,
)
from vand_robot.evaluation.reference import TaskReference
from vand_robot.evaluation.rollout import POLICY_BATCH_SIZE, Rollout, rollout
from vand_robot.evaluation.scoring import Row, achieved_tasks, phase_plane, score
from vand_robot.interface import Policy, State

PERIODIC_HORIZON = 3.0
"""Periodic tasks are rolled out for this multiple of the demonstrations' median length."""


@dataclass(frozen=True)
class RolloutJob:
    """Episodes of one task under one perturbation that are run side by side."""

    task: str
    """The task that is judged."""
    perturbation: Perturbation
    """What interferes."""
    seeds: tuple[int, ...]
    """Of the episodes."""
    steps: int
    """Length of the episodes [control step]."""
    before: tuple[str, int] | None = None
    """The instruction that comes first, and until which step."""

    @property
    def name(self) -> str:
        """What it is, as the stem of a file's name."""
        return f"{self.perturbation.name}-{self.task}-{self.seeds[0]}-{len(self.seeds)}"


@dataclass(frozen=True, eq=False)
class JobResult:
    """What is kept of episodes of one task under one perturbation."""

    rows: tuple[Row, ...]
    """One for each episode."""
    stage_times_s: FloatArray
    """When each stage was completed in order, (n, S) [s]; nan where it was not."""
    signal: Float32Array | None = None
    """Under nominal perturbations, the motion in a periodic task's phase plane, (n, T, 2)."""
    valid: BoolArray | None = None
    """Whether that motion counts, (n, T)."""

    @property
    def successes(self) -> int:
        """Number of successful episodes."""
        return sum(bool(row["success"]) for row in self.rows)


def plan_jobs(
    tasks: Sequence[str],
    perturbations: Iterable[Perturbation],
    references: Mapping[str, TaskReference],
    *,
    episodes: int,
    control_dt_s: float,
    first_seed: int = TEST_SEED,
) -> list[RolloutJob]:
    """What an evaluation consists of.

    Jobs are as large as a policy acts for at once, counted from the first seed on, so that an
    episode has the same neighbors however many are asked for.

    Args:
        tasks: Task ids; one that is named again counts once.
        perturbations: Those that do not apply to a task are left out for it; repeats count once.
        references: What the demonstrations show, by every task that the policy was trained for.
        episodes: Episodes of each task under each perturbation.
        control_dt_s: Duration of a control step [s].
        first_seed: Seed of the first episode; the others follow it.

    Returns:
        The jobs, by perturbation, then task, then seed.

    Raises:
        UsageError: An unknown task, or no perturbation applies to any of the tasks.
        VandError: There is no reference for a task.
    """
    tasks = tuple(dict.fromkeys(tasks))
    for task_id in tasks:
        if get_task(task_id).id not in references:
            raise VandError(
                f"task {task_id!r}: the policy was not trained on it"
                f" (trained on: {', '.join(references) or 'none'})"
            )
    wanted = tuple(dict.fromkeys(perturbations))
    known = [task for task in task_ids() if task in references]
    seeds = range(first_seed, first_seed + episodes)
    jobs = []
    for perturbation in wanted:
        for task_id in tasks:
            before = (
                task_before(task_id, known) if isinstance(perturbation, InstructionSwitch) else None
            )
            if not perturbation.applies(get_task(task_id)):
                continue
            if isinstance(perturbation, InstructionSwitch) and before is None:
                continue
            steps = horizon_steps(task_id, references[task_id], control_dt_s, perturbation)
            prefix = None
            if before is not None and isinstance(perturbation, InstructionSwitch):
                first = horizon_steps(before, references[before], control_dt_s)
                prefix = (before, round(perturbation.after * first))
                steps += prefix[1]
            jobs += [
                RolloutJob(
                    task_id, perturbation, tuple(seeds[i : i + POLICY_BATCH_SIZE]), steps, prefix
                )
                for i in range(0, episodes, POLICY_BATCH_SIZE)
            ]
    if not jobs:
        names = ", ".join(perturbation.name for perturbation in wanted)
        raise UsageError(f"perturbations {names}: none applies to {', '.join(tasks)}")
    return jobs


def horizon_steps(
    task_id: str,
    task_reference: TaskReference,
    control_dt_s: float,
    perturbation: Perturbation = NOMINAL,
) -> int:
    """Control steps of a rollout: a task's horizon, or a multiple of its demonstrations' length."""
    task = get_task(task_id)
    if task.kind == "periodic":
        multiple = (
            perturbation.horizon if isinstance(perturbation, LongHorizon) else PERIODIC_HORIZON
        )
        return round(multiple * task_reference.median_steps)
    return round(task.horizon_s / control_dt_s)


def play(
    policy: Policy[State],
    job: RolloutJob,
    *,
    judges: Sequence[str] = (),
    num_threads: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Rollout:
    """Roll out the episodes of a job; see `rollout`."""
    first = job.task if job.before is None else job.before[0]
    return rollout(
        policy,
        first,
        job.seeds,
        job.steps,
        perturbation=job.perturbation,
        switch=None if job.before is None else (job.before[1], job.task),
        judges=judges,
        num_threads=num_threads,
        progress=progress,
    )


def run_job(
    policy: Policy[State],
    job: RolloutJob,
    references: Mapping[str, TaskReference],
    *,
    behaviors: bool = True,
    num_threads: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> JobResult:
    """Roll out the episodes of a job, and score them.

    Args:
        policy: The policy.
        job: What to run.
        references: What the demonstrations show, by task.
        behaviors: Whether to judge every episode under every task's criteria.
        num_threads: Threads of the simulations; 0 means one per processor.
        progress: Called after every control step with the steps done and all steps.

    Returns:
        What is kept: a function of policy and job, to the last bit.
    """
    others = [task for task in task_ids() if task != job.task] if behaviors else []
    run = play(policy, job, judges=others, num_threads=num_threads, progress=progress)
    labels = {"perturbation": job.perturbation.name}
    if job.before is not None:
        labels["after"] = job.before[0]
    rows = score(run, references[job.task])
    if behaviors:
        found = achieved_tasks(run, references, rows)
        rows = tuple({**row, "shown": " ".join(it)} for row, it in zip(rows, found, strict=True))
    signal = valid = None
    if run.task.kind == "periodic" and job.perturbation == NOMINAL:
        plane, valid = phase_plane(run, run.task)
        signal = plane.astype(np.float32)
    rows = tuple({"task": row["task"], **labels, **row} for row in rows)
    return JobResult(rows, run.stage_times_s, signal, valid)
