"""Jobs of an evaluation, of a few steps."""

import dataclasses

from vand_robot.evaluation.jobs import RolloutWork, plan_jobs
from vand_robot.evaluation.perturbations import PERTURBATIONS
from vand_robot.evaluation.runner import Processes, run_cached

TASKS = ("stow-cube", "wipe")
DT = 0.1


def jobs_of(references, perturbations, **options):
    chosen = [PERTURBATIONS[name] for name in perturbations]
    planned = plan_jobs(TASKS, chosen, references, **{"episodes": 2, "control_dt_s": DT, **options})
    short = []
    for job in planned:
        first = job.first_instruction and dataclasses.replace(job.first_instruction, steps=5)
        short.append(dataclasses.replace(job, steps=12, first_instruction=first))
    return short


def run_jobs(make_policy, jobs, folder, processes=1, progress=None):
    work = RolloutWork(make_policy, folder.references)
    return run_cached(jobs, work, folder, Processes(processes), progress)
