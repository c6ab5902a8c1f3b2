"""The evaluation: rollouts on held-out seeds, judged by what the demonstrations show."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vand_envs import get_task
from vand_envs.seeds import TEST_SEED, VALIDATION_SEED
from vand_robot.evaluation.jobs import RolloutWork, plan_jobs
from vand_robot.evaluation.perturbations import NOMINAL, Perturbation
from vand_robot.evaluation.reference import TaskReference
from vand_robot.evaluation.results import Evaluation, collect
from vand_robot.evaluation.runner import ThisProcess, run_cached
from vand_robot.interface import Policy, State

PARTIAL_CREDIT = 0.01
"""Weight of partial progress in the validation score: it decides between equal success rates."""


def evaluate(
    policy: Policy[State],
    references: Mapping[str, TaskReference],
    tasks: Sequence[str],
    *,
    perturbations: Sequence[Perturbation] = (NOMINAL,),
    episodes: int = 50,
    first_seed: int = TEST_SEED,
    describe: Mapping[str, Any] | None = None,
    behaviors: bool = True,
    progress: Callable[[int, int], None] | None = None,
    num_threads: int = 0,
) -> Evaluation:
    """Evaluate a policy on tasks it was trained for, in this process.

    `vand_robot.workflows.evaluate` does the same in several processes and survives interruption.

    Args:
        policy: The policy.
        references: What the demonstrations show, by task.
        tasks: Task ids.
        perturbations: What interferes; nothing by default.
        episodes: Episodes of each task under each perturbation.
        first_seed: Seed of the first episode; the others follow it.
        describe: What is evaluated, for `results.json`.
        behaviors: Whether to judge every episode under every task's criteria.
        progress: Called after every control step with the steps done and all steps.
        num_threads: Threads of the simulations; 0 means one per processor.

    Returns:
        The evaluation: a function of the policy and the arguments, to the last bit.

    Raises:
        UsageError: An unknown task.
        VandError: There is no reference for a task.
    """
    dt = policy.spec.control_dt_s
    jobs = plan_jobs(
        tasks, perturbations, references, episodes=episodes, control_dt_s=dt, first_seed=first_seed
    )
    work = RolloutWork(lambda: policy, references, behaviors=behaviors, num_threads=num_threads)
    outcomes = run_cached(jobs, work, None, ThisProcess(torch_threads=None), progress)
    return collect(jobs, outcomes, references, control_dt_s=dt, suite="", describe=describe or {})


@dataclass(frozen=True)
class ValidationScore:
    """Scores a policy by rollouts on validation seeds, to choose among checkpoints."""

    references: Mapping[str, TaskReference]
    """What the demonstrations show, by task."""
    episodes: int
    """Rollouts of each task."""
    num_threads: int = 0
    """Threads of the simulations; 0 means one per processor."""

    def __call__(self, policy: Policy[State]) -> dict[str, float]:
        """Mean success rate over tasks as `score`, and each task's as `success/<task>`.

        The score has a small share of partial progress: stages done, or time in tolerance.
        """
        evaluation = evaluate(
            policy,
            self.references,
            list(self.references),
            episodes=self.episodes,
            first_seed=VALIDATION_SEED,
            behaviors=False,
            num_threads=self.num_threads,
        )
        rates, partial = {}, []
        for (_, task), outcome in evaluation.outcomes.items():
            rates[f"success/{task}"] = outcome.successes / len(outcome.rows)
            key = "stage_fraction" if get_task(task).stages else "in_tolerance"
            partial.append(float(np.mean([row[key] or 0.0 for row in outcome.rows])))
        score = (1 - PARTIAL_CREDIT) * float(np.mean(list(rates.values())))
        return {"score": score + PARTIAL_CREDIT * float(np.mean(partial)), **rates}
