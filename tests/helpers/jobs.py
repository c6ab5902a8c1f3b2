"""Jobs of an evaluation, of a few steps."""

import dataclasses
from contextlib import contextmanager

import pytest

from vand_robot.evaluation.jobs import RolloutWork, plan_jobs
from vand_robot.evaluation.perturbations import PERTURBATIONS
from vand_robot.evaluation.runner import Processes, run_cached

TASKS = ("stow-cube", "wipe")
DT = 0.1


def jobs_of(references, perturbations, **options):
    chosen = [PERTURBATIONS[name] for name in perturbations]
    planned = plan_jobs(TASKS, chosen, references, **{"episodes": 2, "control_dt_s": DT, **options})
    return [shortened(job) for job in planned]


def shortened(job, steps=12):
    """The job with episodes of a few steps."""
    first = job.first_instruction and dataclasses.replace(job.first_instruction, steps=5)
    return dataclasses.replace(job, steps=steps, first_instruction=first)


@contextmanager
def brief():
    """Evaluations that are begun in this process have episodes of three seconds, meanwhile."""

    def planned(*arguments, **options):
        return [shortened(job, steps=30) for job in plan_jobs(*arguments, **options)]

    with pytest.MonkeyPatch.context() as patch:
        for module in ("evaluation.evaluate", "workflows.evaluate"):
            patch.setattr(f"vand_robot.{module}.plan_jobs", planned)
        yield


def run_jobs(make_policy, jobs, folder, processes=1, progress=None):
    work = RolloutWork(make_policy, folder.references)
    return run_cached(jobs, work, folder, Processes(processes), progress)
