"""The evaluation: rollouts on held-out seeds, judged by what the demonstrations show."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vand_envs import task_ids
from vand_envs.errors import UsageError, unknown_name
from vand_envs.seeds import TEST_SEED, VALIDATION_SEED
from vand_robot.evaluation.jobs import RolloutWork, plan_jobs
from vand_robot.evaluation.perturbations import NOMINAL, PERTURBATIONS, Perturbation
from vand_robot.evaluation.reference import TaskReference
from vand_robot.evaluation.results import EvaluationResult, PolicyFacts
from vand_robot.evaluation.runner import ThisProcess, run_cached
from vand_robot.evaluation.summary import collect, join_jobs, share_done
from vand_robot.evaluation.target import load_target
from vand_robot.interface import Policy, State

PARTIAL_CREDIT = 0.01
"""Weight of partial progress in the validation score: it decides between equal success rates."""


def evaluate(
    policy: str | Path | Policy[State],
    tasks: Sequence[str] = (),
    *,
    references: Mapping[str, TaskReference] | None = None,
    perturbations: Sequence[str | Perturbation] = (NOMINAL,),
    episodes: int = 50,
    first_seed: int = TEST_SEED,
    behaviors: bool = True,
    progress: Callable[[int, int], None] | None = None,
    num_threads: int = 0,
) -> EvaluationResult:
    """Evaluate a policy on tasks it was trained for, in this process; nothing is written.

    `vand-robot evaluate` gives the same numbers, in several processes, survives interruption, and
    writes figures and a report.

    Args:
        policy: Folder of a run or of one of its checkpoints, or a policy.
        tasks: Task ids; by default all that there are references for.
        references: References from the demonstrations, by task. A run's checkpoint carries its own.
        perturbations: Perturbations, or names of `PERTURBATIONS`; nominal alone by default.
        episodes: Episodes of each task under each perturbation.
        first_seed: Seed of the first episode; the others follow it.
        behaviors: Whether to judge every episode under every task's criteria.
        progress: Called after every control step with the steps done and all steps.
        num_threads: Threads of the simulations; 0 means one per processor.

    Returns:
        The result: a function of the policy and the arguments, to the last bit.

    Raises:
        UsageError: No such run, no references, an unknown task or perturbation, or no episodes.
        VandError: There is no reference for a task, or a checkpoint is damaged.
    """
    if episodes < 1:
        raise UsageError(f"episodes: expected at least 1, got {episodes}")
    chosen = [_perturbation(perturbation) for perturbation in perturbations]
    acting: Policy[Any]
    threads: int | None = None
    if isinstance(policy, str | Path):
        target = load_target(Path(policy))
        acting, facts, known = target.make_policy(), target.facts, references or target.references
        threads = 1  # as in the processes of the command: sums depend on it
    elif references is None:
        raise UsageError("references: needed to judge a policy that was not read from a run")
    else:
        acting, facts, known = policy, PolicyFacts(type(policy).__name__), references
    dt = acting.spec.control_dt_s
    jobs = plan_jobs(
        tuple(tasks) or [task for task in task_ids() if task in known],
        chosen,
        known,
        episodes=episodes,
        control_dt_s=dt,
        first_seed=first_seed,
    )
    work = RolloutWork(lambda: acting, known, behaviors=behaviors, num_threads=num_threads)
    results = run_cached(jobs, work, None, ThisProcess(torch_threads=threads), progress)
    return collect(join_jobs(jobs, results), control_dt_s=dt, suite="", policy=facts)


def _perturbation(given: str | Perturbation) -> Perturbation:
    if isinstance(given, Perturbation):
        return given
    if given not in PERTURBATIONS:
        raise unknown_name("perturbation", given, PERTURBATIONS)
    return PERTURBATIONS[given]


@dataclass(frozen=True)
class ValidationScore:
    """Scores a policy by rollouts on validation seeds, to choose among checkpoints."""

    references: Mapping[str, TaskReference]
    """References from the demonstrations, by task."""
    episodes: int
    """Rollouts of each task."""
    num_threads: int = 0
    """Threads of the simulations; 0 means one per processor."""

    def __call__(self, policy: Policy[State]) -> dict[str, float]:
        """Mean success rate over tasks as `score`, and each task's as `success/<task>`.

        The score has a small share of partial progress: stages done, or time in tolerance.
        """
        result = evaluate(
            policy,
            list(self.references),
            references=self.references,
            episodes=self.episodes,
            first_seed=VALIDATION_SEED,
            behaviors=False,
            num_threads=self.num_threads,
        )
        rates = {task: entry.success_rate for task, entry in result.tasks.items()}
        partial = [
            float(np.mean([share_done(episode) for episode in entry.nominal.episodes]))
            for entry in result.tasks.values()
        ]
        score = (1 - PARTIAL_CREDIT) * float(np.mean(list(rates.values())))
        return {
            "score": score + PARTIAL_CREDIT * float(np.mean(partial)),
            **{f"success/{task}": rate for task, rate in rates.items()},
        }
