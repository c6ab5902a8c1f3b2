"""Jobs of an evaluation: how they are planned, and that perturbation and seed alone matter."""

import dataclasses

import pytest

from tests.helpers.jobs import DT, TASKS, jobs_of
from vand_envs.errors import UsageError, VandError
from vand_envs.seeds import TEST_SEED
from vand_robot.evaluation.jobs import plan_jobs, run_job
from vand_robot.evaluation.perturbations import NOMINAL, PERTURBATIONS, FirstInstruction
from vand_robot.evaluation.rollout import POLICY_BATCH_SIZE
from vand_robot.policies.checkpoint import load_policy


def test_plan_gives_every_task_its_perturbations(references):
    jobs = plan_jobs(TASKS, PERTURBATIONS.values(), references, episodes=2, control_dt_s=DT)
    cells = [(job.perturbation.name, job.task) for job in jobs]
    assert ("long", "wipe") in cells
    assert ("long", "stow-cube") not in cells
    steps = {cell: job.steps for cell, job in zip(cells, jobs, strict=True)}
    assert steps["long", "wipe"] == 5 * references["wipe"].median_steps
    assert steps["nominal", "stow-cube"] == 300
    switched = next(job for job in jobs if job.perturbation.name == "switch")
    assert switched.task == "stow-cube"
    first = switched.first_instruction
    assert first == FirstInstruction("wipe", round(0.5 * steps["nominal", "wipe"]))
    assert switched.steps == first.steps + 300


def test_jobs_are_as_large_as_a_policy_acts_for_at_once(references):
    jobs = plan_jobs(
        ["wipe"], [NOMINAL], references, episodes=POLICY_BATCH_SIZE + 2, control_dt_s=DT
    )
    assert [len(job.seeds) for job in jobs] == [POLICY_BATCH_SIZE, 2]
    assert jobs[1].seeds[0] == TEST_SEED + POLICY_BATCH_SIZE


def test_plan_refuses_what_cannot_be_evaluated(references):
    with pytest.raises(UsageError, match="did you mean 'wipe'"):
        plan_jobs(["wip"], [NOMINAL], references, episodes=1, control_dt_s=DT)
    with pytest.raises(VandError, match="was not trained on it"):
        plan_jobs(["stir"], [NOMINAL], references, episodes=1, control_dt_s=DT)
    with pytest.raises(UsageError, match="perturbations long: none applies to stow-cube"):
        plan_jobs(["stow-cube"], [PERTURBATIONS["long"]], references, episodes=1, control_dt_s=DT)


def test_an_episode_is_a_function_of_perturbation_and_seed(run, references):
    """Not of how many others there are, nor of their order."""
    policy = load_policy(run)
    for job in jobs_of(references, ["sensor", "slip", "push", "switch"]):
        if job.task == "wipe":
            both = run_job(policy, job, references)
            second = dataclasses.replace(job, seeds=job.seeds[1:])
            (row,) = run_job(policy, second, references).rows
            assert row == both.rows[1]
