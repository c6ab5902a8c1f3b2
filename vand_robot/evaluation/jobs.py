"""Jobs of an evaluation: episodes of one task under one perturbation that are run side by side."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np

from vand_envs import get_task, task_ids
from vand_envs.errors import UsageError, VandError
from vand_envs.seeds import TEST_SEED
from vand_envs.typing import BoolArray, Float32Array, FloatArray
from vand_robot.evaluation.perturbations import (
    NOMINAL,
    FirstInstruction,
    Perturbation,
    known_tasks,
)
from vand_robot.evaluation.reference import TaskReference
from vand_robot.evaluation.rollout import POLICY_BATCH_SIZE, Rollout, rollout
from vand_robot.evaluation.runner import Progress, Work
from vand_robot.evaluation.scoring import Row, achieved_tasks, phase_plane, score
from vand_robot.interface import Policy, State

PolicyMaker = Callable[[], Policy[Any]]
"""Function that makes a policy, in each process; it can be pickled."""


@dataclass(frozen=True)
class RolloutJob:
    """Episodes of one task under one perturbation that are run side by side."""

    task: str
    """The task that is judged."""
    perturbation: Perturbation
    """Disturbance of the episodes."""
    seeds: tuple[int, ...]
    """Seeds of the episodes."""
    steps: int
    """Length of the episodes [control step]."""
    first_instruction: FirstInstruction | None = None
    """The instruction that comes before that of the task; None where nothing does."""

    @property
    def told_first(self) -> str:
        """The task that the policy is told at the beginning."""
        return self.task if self.first_instruction is None else self.first_instruction.task

    @property
    def switch(self) -> tuple[int, str] | None:
        """The step at which the instruction changes, and the task that it changes to."""
        first = self.first_instruction
        return None if first is None else (first.steps, self.task)

    @property
    def name(self) -> str:
        """A short description, the stem of a file's name."""
        return f"{self.perturbation.name}-{self.task}-{self.seeds[0]}-{len(self.seeds)}"


@dataclass(frozen=True, eq=False)
class JobResult:
    """Result of a job: what is kept of its episodes."""

    rows: tuple[Row, ...]
    """One for each episode."""
    stage_times_s: FloatArray
    """When each stage was completed in order, (n, S) [s]; nan where it was not."""
    signal: Float32Array | None = None
    """Motion in the phase plane of a periodic task, (n, T, 2); only where nothing disturbs it."""
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
    """Plan the jobs of an evaluation.

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
    seeds = range(first_seed, first_seed + episodes)
    known, jobs = known_tasks(references), []
    for perturbation, task_id in product(wanted, tasks):
        task = get_task(task_id)
        if not perturbation.applies(task, known):
            continue
        first = perturbation.first_instruction(task, references, control_dt_s)
        steps = perturbation.steps(task, references[task_id], control_dt_s)
        if first is not None:
            steps += first.steps
        jobs += [
            RolloutJob(task_id, perturbation, tuple(seeds[i : i + POLICY_BATCH_SIZE]), steps, first)
            for i in range(0, episodes, POLICY_BATCH_SIZE)
        ]
    if not jobs:
        names = ", ".join(perturbation.name for perturbation in wanted)
        raise UsageError(f"perturbations {names}: none applies to {', '.join(tasks)}")
    return jobs


def play(
    policy: Policy[State],
    job: RolloutJob,
    *,
    also_track: Sequence[str] = (),
    num_threads: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Rollout:
    """Roll out the episodes of a job; see `rollout`."""
    return rollout(
        policy,
        job.told_first,
        job.seeds,
        job.steps,
        perturbation=job.perturbation,
        switch=job.switch,
        also_track=also_track,
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
        The result: a function of policy and job, to the last bit.
    """
    others = [task for task in task_ids() if task != job.task] if behaviors else []
    episodes = play(policy, job, also_track=others, num_threads=num_threads, progress=progress)
    labels = {"perturbation": job.perturbation.name}
    if job.first_instruction is not None:
        labels["after"] = job.first_instruction.task
    rows = score(episodes, references[job.task])
    if behaviors:
        achieved = achieved_tasks(episodes, references, rows)
        rows = tuple(
            {**row, "achieved": " ".join(names)} for row, names in zip(rows, achieved, strict=True)
        )
    signal = valid = None
    if episodes.task.kind == "periodic" and job.perturbation == NOMINAL:
        plane, valid = phase_plane(episodes, episodes.task)
        signal = plane.astype(np.float32)
    rows = tuple({"task": row["task"], **labels, **row} for row in rows)
    return JobResult(rows, episodes.stage_times_s, signal, valid)


@dataclass(frozen=True)
class RolloutWork(Work[RolloutJob, JobResult]):
    """Rollout and scoring of the jobs of an evaluation, see `run_job`."""

    make_policy: PolicyMaker
    """Makes the policy."""
    references: Mapping[str, TaskReference]
    """References from the demonstrations, by task."""
    behaviors: bool = True
    """Whether to judge every episode under every task's criteria."""
    num_threads: int = 1
    """Threads of the simulations; 0 means one per processor."""
    to_go_on: ClassVar[str] = "--resume goes on"

    def prepare(self) -> Callable[[RolloutJob, Progress | None], JobResult]:
        """As `Work.prepare`."""
        policy = self.make_policy()

        def run(job: RolloutJob, progress: Progress | None) -> JobResult:
            return run_job(
                policy,
                job,
                self.references,
                behaviors=self.behaviors,
                num_threads=self.num_threads,
                progress=progress,
            )

        return run

    def size(self, job: RolloutJob) -> int:
        """As `Work.size`: its control steps."""
        return job.steps
